/*
 * test_mcproto.c - replies and requests, whole, in pieces, and as noise.
 *
 * Every piece is fed from memory of its own, exactly as long: a sanitizer then
 * sees each byte too many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mcproto.h"

#define COUNT(a) (sizeof (a) / sizeof (a)[0])

#define OK MCSHM_R_OK
#define MAXCONNS MCSHM_R_MAXCONNS
#define UNAUTHENTICATED MCSHM_R_UNAUTHENTICATED
#define ERROR_REPLY MCSHM_R_ERROR_REPLY
#define GARBAGE MCSHM_R_GARBAGE
#define MORE MCPROTO_MORE

#define BYTES(s) s, sizeof s - 1

static const struct reply {
	const char *bytes;
	size_t len;
	int result;
	const char *version;
} replies[] = {
	{ BYTES("VERSION 1.6.18\r\n"), OK, "1.6.18" },
	{ BYTES("VERSION 1.4.5_4_gaa7839e\r\n"), OK, "1.4.5_4_gaa7839e" },
	{ BYTES("VERSION 1.6.18 (a proxy)\r\n"), OK, "1.6.18 (a proxy)" },
	{ BYTES("VERSION 0123456789012345678901234567890\r\n"), OK,
	  "0123456789012345678901234567890" },
	{ BYTES("VERSION 0123456789012345678901234567890X\r\n"), OK,
	  "0123456789012345678901234567890" },
	/* It is alive, and speaks the protocol; who wants more? */
	{ BYTES("VERSION \r\n"), OK, "" },
	{ BYTES("VERSION\r\n"), OK, "" },

	{ BYTES("ERROR Too many open connections\r\n"), MAXCONNS, NULL },
	{ BYTES("CLIENT_ERROR unauthenticated\r\n"), UNAUTHENTICATED, NULL },
	{ BYTES("ERROR\r\n"), ERROR_REPLY, NULL },
	{ BYTES("ERROR Too many\r\n"), ERROR_REPLY, NULL },
	{ BYTES("ERROR too many open connections\r\n"), ERROR_REPLY, NULL },
	{ BYTES("ERROR \r\n"), ERROR_REPLY, NULL },
	{ BYTES("CLIENT_ERROR bad command line format\r\n"), ERROR_REPLY,
	  NULL },
	{ BYTES("CLIENT_ERROR unauthenticatedly\r\n"), ERROR_REPLY, NULL },
	{ BYTES("CLIENT_ERROR\r\n"), ERROR_REPLY, NULL },
	{ BYTES("SERVER_ERROR out of memory storing object\r\n"), ERROR_REPLY,
	  NULL },
	{ BYTES("SERVER_ERROR\r\n"), ERROR_REPLY, NULL },

	/* Not yet. */
	{ BYTES(""), MORE, NULL },
	{ BYTES("V"), MORE, NULL },
	{ BYTES("VERSION"), MORE, NULL },
	{ BYTES("VERSION "), MORE, NULL },
	{ BYTES("VERSION 1.6.18"), MORE, NULL },
	{ BYTES("VERSION 1.6.18\r"), MORE, NULL },
	{ BYTES("VERSION\r"), MORE, NULL },
	{ BYTES("E"), MORE, NULL },
	{ BYTES("ERROR\r"), MORE, NULL },
	{ BYTES("ERROR Too many"), MORE, NULL },
	{ BYTES("CLIENT_ERR"), MORE, NULL },

	/* Somebody else. */
	{ BYTES("HTTP/1.1 400 Bad Request\r\n"), GARBAGE, NULL },
	{ BYTES("H"), GARBAGE, NULL },
	{ BYTES("<html>"), GARBAGE, NULL },
	{ BYTES("-ERR unknown command 'version'\r\n"), GARBAGE, NULL },
	{ BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"), GARBAGE, NULL },
	{ BYTES("\x15\x03\x01\x00\x02\x02\x46"), GARBAGE, NULL },
	{ BYTES("\x15"), GARBAGE, NULL },
	{ BYTES("\x81\x0b\0\0"), GARBAGE, NULL },
	{ BYTES("\0"), GARBAGE, NULL },

	/* Nearly. */
	{ BYTES("\r\n"), GARBAGE, NULL },
	{ BYTES("\r"), GARBAGE, NULL },
	{ BYTES("\n"), GARBAGE, NULL },
	{ BYTES(" VERSION 1.6.18\r\n"), GARBAGE, NULL },
	{ BYTES("version\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION 1.6.18\n"), GARBAGE, NULL },
	{ BYTES("VERSION 1.6\r18\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION 1.6\r\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION 1\0006\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION \x1b[31m1.6\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION \xff\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION \x7f\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION\t1.6\r\n"), GARBAGE, NULL },
	{ BYTES("VERSIONS 1.6\r\n"), GARBAGE, NULL },
	{ BYTES("VERSIONS"), GARBAGE, NULL },
	{ BYTES("VERS\r"), GARBAGE, NULL },
	{ BYTES("VERSI\r\n"), GARBAGE, NULL },
	{ BYTES("ERRORS\r\n"), GARBAGE, NULL },
	{ BYTES("ERRATUM"), GARBAGE, NULL },
	{ BYTES("SERVER_ERRORS"), GARBAGE, NULL },
	{ BYTES("MN\r\n"), GARBAGE, NULL },
	{ BYTES("END\r\n"), GARBAGE, NULL },
	{ BYTES("STORED\r\n"), GARBAGE, NULL },
};

/* Longer than the line. */
static const struct reply beyond[] = {
	{ BYTES("VERSION 1.6.18\r\nVERSION 1.6.18\r\n"), GARBAGE, NULL },
	{ BYTES("VERSION 1.6.18\r\nX"), GARBAGE, NULL },
	{ BYTES("VERSION 1.6.18\r\n\0"), GARBAGE, NULL },
	{ BYTES("ERROR\r\nERROR\r\n"), GARBAGE, NULL },
};

static int
feed(struct mcproto_reply *r, const char *bytes, size_t len, char version[32])
{
	char *piece = malloc(len ? len : 1);
	int result;

	assert_non_null(piece);
	memcpy(piece, bytes, len);
	result = mcproto_feed(r, len ? piece : piece + 1, len, version);
	free(piece);
	return result;
}

/* The pieces end where cuts has a 1 (bit i: after byte i); a result ends it. */
static int
feed_pieces(const struct reply *c, uint64_t cuts, char version[32])
{
	struct mcproto_reply r = { 0 };
	size_t from = 0;
	int result = MORE;

	for (size_t i = 0; i < c->len && result == MORE; i++) {
		if (i + 1 < c->len && !(cuts >> (i % 64) & 1))
			continue;
		result = feed(&r, c->bytes + from, i + 1 - from, version);
		from = i + 1;
	}
	return result;
}

static void
check(const struct reply *c, int result, const char *version, const char *how)
{
	if (result != c->result)
		fail_msg("\"%s\" %s: want %d, got %d", c->bytes, how,
		    c->result, result);
	if (c->version != NULL && strcmp(version, c->version) != 0)
		fail_msg("\"%s\" %s: version \"%s\"", c->bytes, how, version);
	if (c->version == NULL && strcmp(version, "untouched") != 0)
		fail_msg("\"%s\" %s: touched the version", c->bytes, how);
}

static void
test_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(replies); i++) {
		struct mcproto_reply r = { 0 };
		char version[32] = "untouched";

		check(&replies[i], feed(&r, replies[i].bytes, replies[i].len,
		    version), version, "at once");
	}
	for (size_t i = 0; i < COUNT(beyond); i++) {
		struct mcproto_reply r = { 0 };
		char version[32] = "untouched";

		check(&beyond[i], feed(&r, beyond[i].bytes, beyond[i].len,
		    version), version, "at once");
	}
}

static void
test_any_pieces_give_the_same(void **state)
{
	uint64_t cuts = UINT64_C(0x9e3779b97f4a7c15);

	(void)state;
	for (size_t i = 0; i < COUNT(replies); i++) {
		char version[32] = "untouched";

		check(&replies[i], feed_pieces(&replies[i], ~UINT64_C(0),
		    version), version, "bytewise");
		for (size_t j = 0; j < replies[i].len; j++) {
			strcpy(version, "untouched");
			check(&replies[i], feed_pieces(&replies[i],
			    UINT64_C(1) << j % 64, version), version,
			    "in two pieces");
		}
		for (int j = 0; j < 500; j++) {
			cuts ^= cuts << 13;
			cuts ^= cuts >> 7;
			cuts ^= cuts << 17;
			strcpy(version, "untouched");
			check(&replies[i], feed_pieces(&replies[i], cuts,
			    version), version, "in pieces");
		}
	}
}

/* Nothing came: not an answer, not an end. */
static void
test_nothing_changes_nothing(void **state)
{
	struct mcproto_reply r = { 0 };
	char version[32] = "untouched";

	(void)state;
	assert_int_equal(feed(&r, "", 0, version), MORE);
	assert_int_equal(feed(&r, "VERSION 1\r", 10, version), MORE);
	assert_int_equal(feed(&r, "", 0, version), MORE);
	assert_int_equal(feed(&r, "\n", 1, version), OK);
	assert_string_equal(version, "1");
}

/* A line of n bytes with its end; whole, or byte by byte. */
static int
long_line(size_t n, bool bytewise)
{
	char line[1000], version[32];
	const struct reply c = { line, n, OK, NULL };

	memset(line, 'v', sizeof line);
	memcpy(line, "VERSION ", 8);
	line[n - 2] = '\r';
	line[n - 1] = '\n';
	return feed_pieces(&c, bytewise ? ~UINT64_C(0) : 0, version);
}

static void
test_line_length(void **state)
{
	(void)state;
	for (int bytewise = 0; bytewise < 2; bytewise++) {
		assert_int_equal(long_line(MCPROTO_LINE_MAX - 1, bytewise), OK);
		assert_int_equal(long_line(MCPROTO_LINE_MAX, bytewise), OK);
		assert_int_equal(long_line(MCPROTO_LINE_MAX + 1, bytewise),
		    GARBAGE);
		assert_int_equal(long_line(1000, bytewise), GARBAGE);
	}
}

/* A line that can not end in time is not waited for. */
static void
test_full_without_end(void **state)
{
	struct mcproto_reply r = { 0 };
	char line[MCPROTO_LINE_MAX], version[32];

	(void)state;
	memset(line, 'v', sizeof line);
	memcpy(line, "VERSION ", 8);
	assert_int_equal(feed(&r, line, sizeof line - 1, version), MORE);
	assert_int_equal(feed(&r, "v", 1, version), GARBAGE);
}

static char
noise(uint64_t *seed)
{
	/* Much of what the parser looks for, some of anything. */
	static const char likely[] = "VERSION ERROR CLIENT_ERROR\r\n\r\n\r\n";

	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 60 ? likely[(*seed >> 32) % (sizeof likely - 1)] :
	    (char)(*seed >> 40);
}

static const char *const starts[] = {
	"", "VERSION ", "ERROR", "CLIENT_ERROR ", "SERVER_ERROR x",
	"ERROR Too many open connections", "VERSION 1.6.18\r",
};

/* Noise behind a start that is right: a result, or more, and in bounds. */
static void
test_noise(void **state)
{
	uint64_t seed = 99;

	(void)state;
	for (int i = 0; i < 30000; i++) {
		const char *start = starts[i % COUNT(starts)];
		char line[600], whole[32] = "", pieces[32] = "";
		struct reply c = { line, strlen(start), 0, NULL };
		int a, b;

		memcpy(line, start, c.len);
		for (int n = (unsigned char)noise(&seed) + 1; n > 0; n--) {
			line[c.len++] = noise(&seed);
			if (line[c.len - 1] == '\n')
				break;
		}
		a = feed_pieces(&c, 0, whole);
		b = feed_pieces(&c, seed, pieces);
		assert_int_equal(a, b);
		assert_true(a == MORE || (a >= 0 && a < MCSHM_R_COUNT));
		assert_string_equal(whole, pieces);
		assert_true(memchr(whole, '\0', sizeof whole) != NULL);
	}
}

/* Server's side ----------------------------------------------------------- */

static const struct {
	const char *bytes;
	size_t len;
	enum mcproto_command command;
	size_t used;
} requests[] = {
	{ BYTES("version\r\n"), MCPROTO_VERSION, 9 },
	{ BYTES("version\n"), MCPROTO_VERSION, 8 },
	{ BYTES("mn\r\n"), MCPROTO_MN, 4 },
	{ BYTES("stats\r\n"), MCPROTO_STATS, 7 },
	{ BYTES("quit\r\n"), MCPROTO_QUIT, 6 },
	{ BYTES("version\r\nmn\r\n"), MCPROTO_VERSION, 9 },
	{ BYTES("stats settings\r\n"), MCPROTO_OTHER, 16 },
	{ BYTES("VERSION\r\n"), MCPROTO_OTHER, 9 },
	{ BYTES("versions\r\n"), MCPROTO_OTHER, 10 },
	{ BYTES("get a\r\n"), MCPROTO_OTHER, 7 },
	{ BYTES("version\0\r\n"), MCPROTO_OTHER, 10 },
	{ BYTES("\r\n"), MCPROTO_OTHER, 2 },
	{ BYTES("\n"), MCPROTO_OTHER, 1 },
	{ BYTES(""), MCPROTO_INCOMPLETE, 0 },
	{ BYTES("version"), MCPROTO_INCOMPLETE, 0 },
	{ BYTES("version\r"), MCPROTO_INCOMPLETE, 0 },
};

static void
test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		const size_t len = requests[i].len;
		char *bytes = malloc(len ? len : 1);
		size_t used = 999;

		assert_non_null(bytes);
		memcpy(bytes, requests[i].bytes, len);
		assert_int_equal(mcproto_request(bytes, len, &used),
		    requests[i].command);
		assert_int_equal(used, requests[i].used);
		free(bytes);
	}
}

/* Both sides of the protocol mean the same. */
static void
test_own_request(void **state)
{
	size_t used;

	(void)state;
	assert_int_equal(strlen(mcproto_version_request),
	    MCPROTO_VERSION_REQUEST_LEN);
	assert_int_equal(mcproto_request(mcproto_version_request,
	    MCPROTO_VERSION_REQUEST_LEN, &used), MCPROTO_VERSION);
	assert_int_equal(used, MCPROTO_VERSION_REQUEST_LEN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_any_pieces_give_the_same),
		cmocka_unit_test(test_nothing_changes_nothing),
		cmocka_unit_test(test_line_length),
		cmocka_unit_test(test_full_without_end),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_own_request),
	};

	return cmocka_run_group_tests_name("mcproto", tests, NULL, NULL);
}
