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
#define LOGIN_REFUSED MCSHM_R_LOGIN_REFUSED
#define NO_MEMORY MCSHM_R_NO_MEMORY
#define WRONG_VALUE MCSHM_R_WRONG_VALUE
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

static const struct mcproto_terms terms = {
	.user = "ann", .password = "secret", .canary_key = "mc:canary",
	.canary_size = 20, .maintenance_key = "rest", .host = "web01" };
#define CANARY "mc:canarymc:canarymc"	/* its value */
static const struct mcproto_mark flushed = { .time = 3 };
static const struct mcproto_once once = { .canary = 7, .mark = &flushed };

static void
expect(struct mcproto_reply *r, uint32_t asks)
{
	mcproto_expect(r, asks);
	r->canary = once.canary;
}

static int
feed(struct mcproto_reply *r, const char *bytes, size_t len)
{
	char *piece = malloc(len ? len : 1);
	int result;

	assert_non_null(piece);
	memcpy(piece, bytes, len);
	result = mcproto_feed(r, &terms, len ? piece : piece + 1, len);
	free(piece);
	return result;
}

/* The pieces end where cuts has a 1 (bit i: after byte i); a result ends it. */
static int
feed_pieces(struct mcproto_reply *r, const char *bytes, size_t len,
    uint64_t cuts)
{
	size_t from = 0;
	int result = MORE;

	for (size_t i = 0; i < len && result == MORE; i++) {
		if (i + 1 < len && !(cuts >> (i % 64) & 1))
			continue;
		result = feed(r, bytes + from, i + 1 - from);
		from = i + 1;
	}
	return result;
}

static void
check(const struct reply *c, uint64_t cuts, const char *how)
{
	const char *version = c->version != NULL ? c->version : "";
	struct mcproto_reply r;
	int result;

	expect(&r, MCPROTO_ASK_VERSION);
	result = feed_pieces(&r, c->bytes, c->len, cuts);
	if (c->len == 0)
		result = feed(&r, "", 0);
	if (result != c->result)
		fail_msg("\"%s\" %s: want %d, got %d", c->bytes, how,
		    c->result, result);
	if (strcmp(r.told.version, version) != 0)
		fail_msg("\"%s\" %s: version \"%s\"", c->bytes, how,
		    r.told.version);
}

/* What it was, for people: the first line that is no answer. */
static void
test_what_was_said(void **state)
{
	static const struct {
		uint32_t asks;
		const char *bytes, *said;
	} cases[] = {
		{ MCPROTO_ASK_VERSION, "VERSION 1\r\n", "" },
		{ MCPROTO_ASK_VERSION, "HTTP/1.1 400 Bad Request\r\nServer: x",
		    "HTTP/1.1 400 Bad Request" },
		{ MCPROTO_ASK_VERSION, "\025\003\001\r\n",
		    "\025\003\001" },
		{ MCPROTO_ASK_VERSION, "ERROR\r\n", "ERROR" },
		{ MCPROTO_ASK_VERSION, "SERVER_ERROR out of memory\r\n",
		    "SERVER_ERROR out of memory" },
		{ MCPROTO_ASK_VERSION, "VERSION 1\r\nVERSION 2\r\n",
		    "VERSION 2" },
		{ MCPROTO_ASK_VERSION | MCPROTO_ASK_MN,
		    "VERSION 1\r\nwhat?\r\n", "what?" },
		{ MCPROTO_ASK_VERSION, "0123456789012345678901234567890123456"
		    "78901234567890\r\n",
		    "0123456789012345678901234567890123456789" },
	};
	struct mcproto_reply r;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		expect(&r, cases[i].asks);
		feed(&r, cases[i].bytes, strlen(cases[i].bytes));
		assert_string_equal(r.said, cases[i].said);
		/* How much of it is there may be all that came so far. */
		expect(&r, cases[i].asks);
		feed_pieces(&r, cases[i].bytes, strlen(cases[i].bytes),
		    ~UINT64_C(0));
		assert_memory_equal(r.said, cases[i].said, strlen(r.said));
	}
	expect(&r, MCPROTO_ASK_VERSION);
	feed(&r, "\0\0x", 3);
	assert_string_equal(r.said, "??x");
}

static void
test_replies(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(replies); i++)
		check(&replies[i], 0, "at once");
	for (size_t i = 0; i < COUNT(beyond); i++) {
		struct mcproto_reply r;

		expect(&r, MCPROTO_ASK_VERSION);
		assert_int_equal(feed(&r, beyond[i].bytes, beyond[i].len),
		    beyond[i].result);
	}
}

static uint64_t
shuffle(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void
test_any_pieces_give_the_same(void **state)
{
	uint64_t cuts = UINT64_C(0x9e3779b97f4a7c15);

	(void)state;
	for (size_t i = 0; i < COUNT(replies); i++) {
		check(&replies[i], ~UINT64_C(0), "bytewise");
		for (size_t j = 0; j < replies[i].len; j++)
			check(&replies[i], UINT64_C(1) << j % 64,
			    "in two pieces");
		for (int j = 0; j < 500; j++)
			check(&replies[i], shuffle(&cuts), "in pieces");
	}
}

/* Nothing came: not an answer, not an end. */
static void
test_nothing_changes_nothing(void **state)
{
	struct mcproto_reply r;

	(void)state;
	expect(&r, MCPROTO_ASK_VERSION);
	assert_int_equal(feed(&r, "", 0), MORE);
	assert_int_equal(feed(&r, "VERSION 1\r", 10), MORE);
	assert_int_equal(feed(&r, "", 0), MORE);
	assert_int_equal(feed(&r, "\n", 1), OK);
	assert_string_equal(r.told.version, "1");
}

/* A line of n bytes with its end; whole, or byte by byte. */
static int
long_line(size_t n, bool bytewise)
{
	char line[1000];
	struct mcproto_reply r;

	memset(line, 'v', sizeof line);
	memcpy(line, "VERSION ", 8);
	line[n - 2] = '\r';
	line[n - 1] = '\n';
	expect(&r, MCPROTO_ASK_VERSION);
	return feed_pieces(&r, line, n, bytewise ? ~UINT64_C(0) : 0);
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
	struct mcproto_reply r;
	char line[MCPROTO_LINE_MAX];

	(void)state;
	memset(line, 'v', sizeof line);
	memcpy(line, "VERSION ", 8);
	expect(&r, MCPROTO_ASK_VERSION);
	assert_int_equal(feed(&r, line, sizeof line - 1), MORE);
	assert_int_equal(feed(&r, "v", 1), GARBAGE);
}

/* Several asks ------------------------------------------------------------ */

#define A(ask) MCPROTO_ASK_##ask
#define CANARY_GOOD "STORED\r\nVALUE mc:canary:7 0 20\r\n" CANARY \
	"\r\nEND\r\nDELETED\r\n"

static const struct talk {
	uint32_t asks;
	const char *bytes;
	int result;
	uint32_t answered, refused;
} talks[] = {
	{ A(MN), "MN\r\n", OK, A(MN), 0 },
	{ A(MN), "MN \r\n", GARBAGE, 0, 0 },
	{ A(MN), "MNX", GARBAGE, 0, 0 },
	{ A(MN), "VERSION 1\r\n", GARBAGE, 0, 0 },
	/* Before 1.5.19. */
	{ A(MN), "ERROR\r\n", ERROR_REPLY, A(MN), A(MN) },
	{ A(VERSION) | A(MN), "VERSION 1\r\nMN\r\n", OK, A(VERSION) | A(MN),
	  0 },
	{ A(VERSION) | A(MN), "VERSION 1\r\n", MORE, A(VERSION), 0 },
	{ A(VERSION) | A(MN), "MN\r\n", GARBAGE, 0, 0 },

	{ A(CANARY), CANARY_GOOD, OK, A(CANARY), 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 4294967295 20\r\n" CANARY
	  "\r\nEND\r\nNOT_FOUND\r\n", OK, A(CANARY), 0 },
	{ A(CANARY), "STORED\r\nEND\r\nNOT_FOUND\r\n", WRONG_VALUE, A(CANARY),
	  0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 20\r\nmc:canarymc:canarymC"
	  "\r\nEND\r\nDELETED\r\n", WRONG_VALUE, A(CANARY), 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 19\r\nmc:canarymc:canarym"
	  "\r\nEND\r\nDELETED\r\n", WRONG_VALUE, A(CANARY), 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 21\r\nmc:canarymc:canarymc:"
	  "\r\nEND\r\nDELETED\r\n", WRONG_VALUE, A(CANARY), 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 0\r\n\r\nEND\r\nDELETED\r\n",
	  WRONG_VALUE, A(CANARY), 0 },
	{ A(CANARY), "SERVER_ERROR out of memory storing object\r\nEND\r\n"
	  "NOT_FOUND\r\n", NO_MEMORY, A(CANARY), 0 },
	{ A(CANARY), "SERVER_ERROR object too large for cache\r\nEND\r\n"
	  "NOT_FOUND\r\n", NO_MEMORY, A(CANARY), 0 },
	{ A(CANARY), "NOT_STORED\r\nEND\r\nNOT_FOUND\r\n", NO_MEMORY,
	  A(CANARY), 0 },
	/* Not stored: an old value is no wrong one. */
	{ A(CANARY), "NOT_STORED\r\nVALUE mc:canary:7 0 1\r\nx\r\nEND\r\n"
	  "DELETED\r\n", NO_MEMORY, A(CANARY), 0 },
	{ A(CANARY), "ERROR\r\nEND\r\nNOT_FOUND\r\n", ERROR_REPLY, A(CANARY),
	  A(CANARY) },
	{ A(CANARY), "ERROR\r\nERROR\r\nERROR\r\n", ERROR_REPLY, A(CANARY),
	  A(CANARY) },
	/* The graver of the two. */
	{ A(CANARY), "NOT_STORED\r\nEND\r\nERROR\r\n", ERROR_REPLY, A(CANARY),
	  A(CANARY) },
	{ A(CANARY), "STORED\r\nVALUE other 0 20\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:6 0 20\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:77 0 20\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary 0 20\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 -1\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 1073741825\r\n", GARBAGE, 0,
	  0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 99999999999999999999\r\n",
	  GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 1\r\nxx", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 1\r\nx\rx", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 1\r\nx\r\nVALUE mc:canary:7 0 1"
	  "\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "STORED\r\nSTORED\r\n", GARBAGE, 0, 0 },
	{ A(CANARY), "END\r\n", GARBAGE, 0, 0 },

	/* Login: its answer, then the others'. */
	{ A(LOGIN) | A(VERSION), "STORED\r\nVERSION 1\r\n", OK,
	  A(LOGIN) | A(VERSION), 0 },
	/* No login is wanted; it may be full, or know no "set". */
	{ A(LOGIN) | A(VERSION), "SERVER_ERROR out of memory\r\nVERSION 1\r\n",
	  OK, A(LOGIN) | A(VERSION), A(LOGIN) },
	{ A(LOGIN) | A(VERSION), "ERROR\r\nVERSION 1\r\n", OK,
	  A(LOGIN) | A(VERSION), A(LOGIN) },
	{ A(LOGIN) | A(VERSION), "CLIENT_ERROR authentication failure\r\n",
	  LOGIN_REFUSED, 0, 0 },
	{ A(LOGIN) | A(VERSION), "CLIENT_ERROR bad authentication token "
	  "format\r\n", LOGIN_REFUSED, 0, 0 },
	/* memcached 1.6.18 answers what was refused together once. */
	{ A(LOGIN) | A(VERSION), "CLIENT_ERROR unauthenticated\r\n",
	  LOGIN_REFUSED, 0, 0 },
	{ A(LOGIN) | A(VERSION), "STORED\r\nCLIENT_ERROR unauthenticated\r\n",
	  LOGIN_REFUSED, A(LOGIN), 0 },
	{ A(LOGIN) | A(VERSION), "CLIENT_ERROR authentication failure\r\n"
	  "CLIENT_ERROR unauthenticated\r\n", LOGIN_REFUSED, 0, 0 },
	{ A(VERSION) | A(CANARY), "CLIENT_ERROR unauthenticated\r\n",
	  UNAUTHENTICATED, 0, 0 },
	{ A(LOGIN) | A(VERSION), "ERROR Too many open connections\r\n",
	  MAXCONNS, 0, 0 },

	/* What is asked beside the probe may be refused. */
	{ A(VERSION) | A(STATS), "VERSION 1\r\nERROR\r\n", OK,
	  A(VERSION) | A(STATS), A(STATS) },
	{ A(STATS), "ERROR\r\n", ERROR_REPLY, A(STATS), A(STATS) },
	{ A(VERSION) | A(MAINTENANCE), "VERSION 1\r\nSERVER_ERROR x\r\n", OK,
	  A(VERSION) | A(MAINTENANCE), A(MAINTENANCE) },
	{ A(VERSION) | A(MAINTENANCE), "ERROR\r\nEND\r\n", ERROR_REPLY,
	  A(VERSION) | A(MAINTENANCE), A(VERSION) },
	{ A(MAINTENANCE), "ERROR\r\n", OK, A(MAINTENANCE), A(MAINTENANCE) },
	{ A(VERSION) | A(FLUSH), "VERSION 1\r\nOK\r\n", OK,
	  A(VERSION) | A(FLUSH), 0 },
	{ A(VERSION) | A(FLUSH), "VERSION 1\r\nCLIENT_ERROR flush_all not "
	  "allowed\r\n", OK, A(VERSION) | A(FLUSH), A(FLUSH) },
	{ A(LOCK) | A(STATS) | A(UNLOCK), "STORED\r\nEND\r\nDELETED\r\n", OK,
	  A(LOCK) | A(STATS) | A(UNLOCK), 0 },
	{ A(LOCK) | A(STATS) | A(UNLOCK), "NOT_STORED\r\nEND\r\nNOT_FOUND\r\n",
	  OK, A(LOCK) | A(STATS) | A(UNLOCK), 0 },
	{ A(VERSION) | A(STATS) | A(FLUSHED) | A(MARK), "VERSION 1\r\n"
	  "STAT pid 1\r\nEND\r\nSTORED\r\nSTORED\r\n", OK,
	  A(VERSION) | A(STATS) | A(FLUSHED) | A(MARK), 0 },
	{ A(MAINTENANCE), "VALUE rest 0 3\r\na\r\n\r\nEND\r\n", OK,
	  A(MAINTENANCE), 0 },
	{ A(MAINTENANCE), "VALUE rest 0 3 7\r\n", GARBAGE, 0, 0 },
	{ A(MAINTENANCE), "STORED\r\n", GARBAGE, 0, 0 },
	{ A(STATS), "STAT pid 1\r\nSTAT\r\nSTAT x\r\nEND\r\n", OK,
	  A(STATS), 0 },
	{ A(STATS), "STATS pid 1\r\n", GARBAGE, 0, 0 },
	/* Others say what they like there. */
	{ A(STATS), "STAT pid \x01\r\nEND\r\n", OK, A(STATS), 0 },
	{ A(STATS), "STAT \xc3\xa9\t\r \x1b[31m\r\r\nEND\r\n", OK, A(STATS),
	  0 },
	{ A(STATS), "STAT pid 1\nEND\r\n", OK, A(STATS), 0 },
	{ A(STATS), "STAT \nSTAT\r\n", MORE, 0, 0 },
	{ A(STATS), "STAT\xc3", GARBAGE, 0, 0 },
	{ A(STATS), "STAT x\r\n\xc3", GARBAGE, 0, 0 },
	{ A(VERSION) | A(STATS), "VERSION 1\r\nSTAT v {\n  x: 1 }\r\n",
	  GARBAGE, 0, 0 },
	{ A(STATS), "STAT pid 1\r\n", MORE, 0, 0 },
};

static void
check_talk(const struct talk *c, uint64_t cuts, const struct mcproto_told *same)
{
	struct mcproto_reply r;
	int result;

	expect(&r, c->asks);
	result = feed_pieces(&r, c->bytes, strlen(c->bytes), cuts);
	if (result != c->result)
		fail_msg("%x \"%s\": want %d, got %d", c->asks, c->bytes,
		    c->result, result);
	if (result == GARBAGE)
		return;
	if (r.told.answered != c->answered || r.told.refused != c->refused)
		fail_msg("%x \"%s\": answered %x, refused %x", c->asks,
		    c->bytes, r.told.answered, r.told.refused);
	if (same != NULL)
		assert_memory_equal(&r.told, same, sizeof *same);
}

static void
test_talks(void **state)
{
	uint64_t cuts = 77;

	(void)state;
	for (size_t i = 0; i < COUNT(talks); i++) {
		const struct talk *c = &talks[i];
		struct mcproto_reply r;

		check_talk(c, 0, NULL);
		expect(&r, c->asks);
		feed(&r, c->bytes, strlen(c->bytes));
		check_talk(c, ~UINT64_C(0), &r.told);
		for (int j = 0; j < 200; j++)
			check_talk(c, shuffle(&cuts), &r.told);
	}
}

/* Bytes behind the last answer are nobody's; behind one that ends it all, they
 * are not looked at. */
static void
test_beyond(void **state)
{
	char text[400];

	(void)state;
	for (size_t i = 0; i < COUNT(talks); i++) {
		const struct talk *c = &talks[i];
		struct mcproto_reply r;
		int result;

		if (c->result == MORE || c->result == GARBAGE)
			continue;
		snprintf(text, sizeof text, "%sERROR\r\n", c->bytes);
		expect(&r, c->asks);
		result = feed(&r, text, strlen(text));
		assert_int_equal(result, r.asks == 0 ? (int)GARBAGE :
		    c->result);
	}
}

static void
told(struct mcproto_reply *r, uint32_t asks, const char *bytes)
{
	expect(r, asks);
	assert_int_equal(feed(r, bytes, strlen(bytes)), OK);
}

static void
test_stats(void **state)
{
	static const char text[] = "STAT pid 4711\r\nSTAT uptime 5\r\n"
	    "STAT time 1700000000\r\nSTAT version 1.6.18\r\n"
	    "STAT libevent 2.1.12-stable\r\nSTAT rusage_user 0.5\r\n"
	    "STAT max_connections 1024\r\nSTAT curr_connections 2\r\n"
	    "STAT rejected_connections 3\r\nSTAT cmd_flush 9\r\n"
	    "STAT accepting_conns 1\r\nSTAT listen_disabled_num 6\r\n"
	    "STAT threads 4\r\nSTAT curr_items 8\r\nSTAT evictions 7\r\n"
	    "STAT store_no_memory 18446744073709551615\r\n"
	    "STAT evictions 18446744073709551616\r\nEND\r\n";
	struct mcproto_reply r;
	const struct mcproto_stats *s = &r.told.stats;

	(void)state;
	told(&r, MCPROTO_ASK_STATS, text);
	assert_int_equal(s->pid, 4711);
	assert_int_equal(s->uptime, 5);
	assert_int_equal(s->time, 1700000000);
	assert_int_equal(s->max_connections, 1024);
	assert_int_equal(s->curr_connections, 2);
	assert_int_equal(s->rejected_connections, 3);
	assert_int_equal(s->cmd_flush, 9);
	assert_int_equal(s->accepting_conns, 1);
	assert_int_equal(s->listen_disabled_num, 6);
	assert_int_equal(s->threads, 4);
	assert_int_equal(s->curr_items, 8);
	assert_int_equal(s->evictions, 7);	/* not what is no number */
	assert_true(s->store_no_memory == UINT64_MAX);
	assert_true(s->whole);
	assert_string_equal(r.told.version, "1.6.18");
	expect(&r, MCPROTO_ASK_VERSION | MCPROTO_ASK_STATS);
	assert_int_equal(feed(&r, "VERSION 1\r\nSTAT pid 1\r\nERROR\r\n", 30),
	    OK);
	assert_false(s->whole);
}

/*
 * A value of any length and any bytes (mcrouter: its whole command line) hides
 * nothing that comes after it, and is not itself taken for one of ours.
 */
static void
test_long_stats(void **state)
{
	static const size_t lengths[] = { 1, MCPROTO_LINE_MAX - 9,
		MCPROTO_LINE_MAX - 8, MCPROTO_LINE_MAX - 7, 5000, 200000 };
	static const char after[] = "\r\nSTAT pid 7\r\nEND\r\n";
	static char text[210000];
	struct mcproto_reply r;

	(void)state;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		const size_t n = lengths[i];

		memcpy(text, "STAT x ", 7);
		memset(text + 7, i % 2 ? '\xc3' : 'x', n);
		strcpy(text + 7 + n, after);
		told(&r, MCPROTO_ASK_STATS, text);
		assert_int_equal(r.told.stats.pid, 7);
		assert_true(r.told.stats.whole);
		expect(&r, MCPROTO_ASK_STATS);
		assert_int_equal(feed_pieces(&r, text, strlen(text),
		    ~UINT64_C(0)), OK);
		assert_int_equal(r.told.stats.pid, 7);
	}
	/* A number that is cut is another one. */
	memcpy(text, "STAT pid ", 9);
	memset(text + 9, ' ', MCPROTO_LINE_MAX - 10);
	strcpy(text + MCPROTO_LINE_MAX - 1, "12\r\nEND\r\n");
	told(&r, MCPROTO_ASK_STATS, text);
	assert_int_equal(r.told.stats.pid, 0);
	/* What a terminal would obey is no version. */
	told(&r, MCPROTO_ASK_STATS, "STAT version \x1b[31m\r\nEND\r\n");
	assert_string_equal(r.told.version, "");
}

/* But not for ever. */
static void
test_endless_stats(void **state)
{
	static const char *const endless[] = { "STAT x ", "x", "STAT x\r\n",
		"STAT x\r\n", "STAT\r\n", "STAT\r\n" };
	struct mcproto_reply r;

	(void)state;
	for (size_t i = 0; i < COUNT(endless); i += 2) {
		size_t fed = strlen(endless[i]);
		int got;

		expect(&r, MCPROTO_ASK_STATS);
		got = feed(&r, endless[i], fed);
		for (; got == MORE; fed += strlen(endless[i + 1]))
			got = feed(&r, endless[i + 1],
			    strlen(endless[i + 1]));
		assert_int_equal(got, GARBAGE);
		assert_true(fed > MCPROTO_REPLY_MAX &&
		    fed < MCPROTO_REPLY_MAX + 100);
	}
}

/* And not forgiven, however good it began; nor is the same value again. */
static void
test_endless_values(void **state)
{
	static const struct {
		uint32_t asks;
		const char *begins, *goes_on;
		size_t most;
	} cases[] = {
		{ A(VERSION) | A(MAINTENANCE), "VERSION 1\r\n",
		  "VALUE rest 0 1\r\nx\r\n", 100 },
		{ A(VERSION) | A(MARKS), "VERSION 1\r\n",
		  "VALUE mc-checkerd:note:3 0 1\r\nx\r\n", 100 },
		{ A(VERSION) | A(MARKS), "VERSION 1\r\n"
		  "VALUE mc-checkerd:witness:web01 0 1\r\n1\r\n",
		  "VALUE mc-checkerd:lock 0 1\r\nx\r\n", 200 },
		{ A(VERSION) | A(MAINTENANCE), "VERSION 1\r\n"
		  "VALUE rest 0 1048577\r\n", "x", 100 },
		{ A(VERSION) | A(MARKS), "VERSION 1\r\n"
		  "VALUE mc-checkerd:mark:0 0 1073741824\r\n", "xxxxxxx", 100 },
		{ A(CANARY), "STORED\r\nVALUE mc:canary:7 0 1073741824\r\n",
		  "x", 100 },
		{ A(VERSION) | A(STATS), "VERSION 1\r\n", "STAT x\r\n",
		  MCPROTO_REPLY_MAX + 100 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *more = cases[i].begins;
		struct mcproto_reply r;
		size_t fed = 0;
		int got;

		expect(&r, cases[i].asks);
		do {
			got = feed(&r, more, strlen(more));
			fed += strlen(more);
			more = cases[i].goes_on;
		} while (got == MORE && fed <= cases[i].most);
		if (got != GARBAGE || fed > cases[i].most ||
		    mcproto_enough(&r))
			fail_msg("%zu: %d after %zu bytes", i, got, fed);
	}
}

/* Each of them once, in any order. */
static void
test_many_values(void **state)
{
	static char text[MCPROTO_REPLY_MAX];
	struct mcproto_reply r;
	size_t n = 0;

	(void)state;
	for (int i = 7; i >= 0; i--)
		n += (size_t)sprintf(text + n, "VALUE mc-checkerd:note:%d 0 1"
		    "\r\nx\r\nVALUE mc-checkerd:mark:%d 0 1\r\nx\r\n", i, i);
	n += (size_t)sprintf(text + n, "VALUE mc-checkerd:witness:web01 0 1\r\n"
	    "1\r\nVALUE mc-checkerd:lock 0 1\r\nx\r\n"
	    "VALUE mc-checkerd:flushed 0 1\r\nx\r\nEND\r\n");
	told(&r, A(MARKS), text);
	/* What one ask has found is no matter of the next. */
	snprintf(text, sizeof text, "%sVALUE rest 0 1\r\nx\r\nEND\r\n"
	    "VALUE mc-checkerd:mark:0 0 1\r\nx\r\nEND\r\n", CANARY_GOOD);
	told(&r, A(CANARY) | A(MAINTENANCE) | A(MARKS), text);
}

/* As large as a value can be, and there is more to the reply: that counts. */
static void
test_large_value(void **state)
{
	static const char stats[] = "STAT pid 4711\r\n";
	static char text[2 * MCPROTO_VALUE_MAX - 1000];
	struct mcproto_reply r;
	size_t n;

	(void)state;
	n = (size_t)sprintf(text, "VERSION 1\r\nVALUE rest 0 %u\r\n",
	    MCPROTO_VALUE_MAX);
	memset(text + n, 'x', MCPROTO_VALUE_MAX);
	n += MCPROTO_VALUE_MAX;
	n += (size_t)sprintf(text + n, "\r\nEND\r\n");
	while (n < sizeof text - 30) {
		memcpy(text + n, stats, sizeof stats - 1);
		n += sizeof stats - 1;
	}
	strcpy(text + n, "END\r\n");
	told(&r, A(VERSION) | A(MAINTENANCE) | A(STATS), text);
	assert_int_equal(r.told.maintenance, MCPROTO_KEY_MAINT);
	assert_true(r.told.stats.whole);
}

/* What is said at accept, before any TLS. */
static void
test_turns_away(void **state)
{
	static const char says[] = "ERROR Too many open connections\r\n";

	(void)state;
	assert_true(mcproto_turns_away(BYTES(says)));
	assert_true(mcproto_turns_away(BYTES(
	    "ERROR Too many open connections\r\nX")));
	for (size_t n = 0; n < sizeof says - 1; n++)
		assert_false(mcproto_turns_away(says, n));
	assert_false(mcproto_turns_away(BYTES("ERROR\r\n")));
	assert_false(mcproto_turns_away(BYTES("ERROR Too many\r\n")));
	assert_false(mcproto_turns_away(BYTES(
	    "ERROR Too many open connectionss\r\n")));
	assert_false(mcproto_turns_away(BYTES("VERSION 1\r\n")));
}

/* What the probe is about is answered, and only what was asked along is
 * missing. */
static void
test_enough(void **state)
{
	static const struct {
		uint32_t asks;
		const char *bytes;
		bool enough;
	} cases[] = {
		{ A(VERSION) | A(STATS), "VERSION 1\r\n", true },
		{ A(VERSION) | A(STATS), "VERSION 1\r\nX", true },
		{ A(VERSION) | A(STATS), "VERSION 1\r\nV", false },
		{ A(VERSION) | A(STATS), "VERSION 1\r\nVERSION 1\r\n", false },
		{ A(MN) | A(STATS), "MN\r\nMN\r\n", false },
		{ A(VERSION) | A(STATS), "VERSION 1", false },
		{ A(VERSION) | A(STATS), "ERROR\r\nSTAT x\r\n", true },
		{ A(VERSION), "VERSION 1\r\n", false },
		{ A(VERSION) | A(MN) | A(STATS), "VERSION 1\r\n", false },
		{ A(CANARY) | A(STATS), CANARY_GOOD, true },
		{ A(CANARY) | A(STATS), "NOT_STORED\r\nEND\r\n", false },
		{ A(STATS) | A(MARK), "STAT x\r\n", false },
		{ A(STATS) | A(MARK), "STAT x\r\nEND\r\n", true },
		{ A(LOGIN) | A(VERSION), "STORED\r\n", false },
		{ A(MAINTENANCE), "VALUE rest 0 1\r\n", false },
		{ A(MAINTENANCE) | A(MARK), "END\r\n", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mcproto_reply r;

		expect(&r, cases[i].asks);
		feed(&r, cases[i].bytes, strlen(cases[i].bytes));
		if (mcproto_enough(&r) != cases[i].enough)
			fail_msg("%x \"%s\"", cases[i].asks, cases[i].bytes);
	}
}

static void
test_maintenance(void **state)
{
	static const struct {
		const char *value;
		enum mcproto_maintenance says;
	} cases[] = {
		{ "drain", MCPROTO_KEY_DRAIN },
		{ "DRAIN\r\n", MCPROTO_KEY_DRAIN },
		{ "drain \n", MCPROTO_KEY_DRAIN },
		{ "drained", MCPROTO_KEY_MAINT }, { "", MCPROTO_KEY_MAINT },
		{ "maint", MCPROTO_KEY_MAINT },
		{ "END\r\n", MCPROTO_KEY_MAINT },
		{ "Ann, since 9 am", MCPROTO_KEY_MAINT },
	};
	struct mcproto_reply r;
	char text[8192], value[4096];

	(void)state;
	told(&r, MCPROTO_ASK_MAINTENANCE, "END\r\n");
	assert_int_equal(r.told.maintenance, MCPROTO_NO_KEY);
	for (size_t i = 0; i < COUNT(cases); i++) {
		snprintf(text, sizeof text, "VALUE rest 0 %zu\r\n%s\r\nEND\r\n",
		    strlen(cases[i].value), cases[i].value);
		told(&r, MCPROTO_ASK_MAINTENANCE, text);
		assert_int_equal(r.told.maintenance, cases[i].says);
		expect(&r, MCPROTO_ASK_MAINTENANCE);
		assert_int_equal(feed_pieces(&r, text, strlen(text),
		    ~UINT64_C(0)), OK);
		assert_int_equal(r.told.maintenance, cases[i].says);
	}
	/* Longer than what is kept of it. */
	memset(value, ' ', sizeof value);
	memcpy(value, "drain", 5);
	for (size_t n = MCPROTO_LINE_MAX - 2; n <= sizeof value; n *= 2) {
		snprintf(text, sizeof text, "VALUE rest 0 %zu\r\n%.*s\r\n"
		    "END\r\n", n, (int)n, value);
		told(&r, MCPROTO_ASK_MAINTENANCE, text);
		assert_int_equal(r.told.maintenance, n <= MCPROTO_LINE_MAX ?
		    MCPROTO_KEY_DRAIN : MCPROTO_KEY_MAINT);
	}
}

static void
test_lock_and_flush(void **state)
{
	struct mcproto_reply r;

	(void)state;
	told(&r, MCPROTO_ASK_LOCK, "STORED\r\n");
	assert_true(r.told.locked);
	told(&r, MCPROTO_ASK_LOCK, "NOT_STORED\r\n");
	assert_false(r.told.locked);
	told(&r, MCPROTO_ASK_LOCK, "SERVER_ERROR out of memory\r\n");
	assert_false(r.told.locked);
	told(&r, MCPROTO_ASK_FLUSH, "OK\r\n");
	assert_true(r.told.flushed);
	told(&r, MCPROTO_ASK_FLUSH, "CLIENT_ERROR flush_all not allowed\r\n");
	assert_false(r.told.flushed);
	assert_int_equal(r.told.refused, MCPROTO_ASK_FLUSH);
}

/* What a host wrote is what another reads; a mark of nobody's is none. */
static void
test_marks(void **state)
{
	const struct mcproto_mark m = { .time = 1700000000, .since = 12,
		.gap = UINT64_MAX };
	char buf[MCPROTO_REQUEST_MAX], text[2 * sizeof buf];
	struct mcproto_call call;
	struct mcproto_reply r;
	const size_t n = mcproto_write(buf, sizeof buf, MCPROTO_ASK_MARK,
	    &terms, &(struct mcproto_once){ .mark = &m });
	size_t used;

	(void)state;
	assert_int_equal(mcproto_request(buf, n, &used, &call), MCPROTO_SET);
	assert_int_equal(used, n);
	snprintf(text, sizeof text, "VALUE %.*s 0 %zu\r\n%.*s\r\n"
	    "VALUE mc-checkerd:mark:7 0 3\r\na b\r\nEND\r\n",
	    (int)call.key_len, call.key, call.value_len, (int)call.value_len,
	    call.value);
	told(&r, MCPROTO_ASK_MARKS, text);
	for (size_t i = 0, found = 0; i < MCPROTO_MARKS; i++) {
		if (r.told.mark[i].host[0] == '\0')
			continue;
		assert_int_equal(found++, 0);
		assert_string_equal(r.told.mark[i].host, "web01");
		assert_true(r.told.mark[i].time == m.time);
		assert_true(r.told.mark[i].since == m.since);
		assert_true(r.told.mark[i].gap == m.gap);
	}
	expect(&r, MCPROTO_ASK_MARKS);
	assert_int_equal(feed(&r, "VALUE mc-checkerd:mark:8 0 1\r\n", 30),
	    GARBAGE);
	expect(&r, MCPROTO_ASK_MARKS);
	assert_int_equal(feed(&r, "VALUE mc-checkerd:witness:web02 0 1\r\n",
	    37), GARBAGE);
}

/* A note has a key of its own, so that no mark takes its place. */
static void
test_notes(void **state)
{
	const struct mcproto_mark note = { .time = 17 };
	char buf[MCPROTO_REQUEST_MAX];
	struct mcproto_call call;
	struct mcproto_reply r;
	const size_t n = mcproto_write(buf, sizeof buf, MCPROTO_ASK_MARK,
	    &terms, &(struct mcproto_once){ .mark = &note });
	size_t used;

	(void)state;
	assert_int_equal(mcproto_request(buf, n, &used, &call), MCPROTO_SET);
	assert_memory_equal(call.key, "mc-checkerd:note:", 17);
	told(&r, MCPROTO_ASK_MARKS, "VALUE mc-checkerd:note:7 0 9\r\n"
	    "we 17 0 0\r\nVALUE mc-checkerd:mark:7 0 10\r\n"
	    "they 3 2 1\r\nEND\r\n");
	assert_string_equal(r.told.note[7].host, "we");
	assert_int_equal(r.told.note[7].time, 17);
	assert_string_equal(r.told.mark[7].host, "they");
	assert_false(r.told.witness);
	told(&r, MCPROTO_ASK_MARKS, "VALUE mc-checkerd:witness:web01 0 1\r\n"
	    "1\r\nEND\r\n");
	assert_true(r.told.witness);
	assert_string_equal(r.told.owner, "");
	told(&r, MCPROTO_ASK_MARKS, "VALUE mc-checkerd:lock 0 4\r\n"
	    "them\r\nEND\r\n");
	assert_string_equal(r.told.owner, "them");
}

/* Requests ---------------------------------------------------------------- */

static void
assert_request(uint32_t asks, const char *want)
{
	char buf[MCPROTO_REQUEST_MAX];
	const size_t n = mcproto_write(buf, sizeof buf, asks, &terms, &once);

	assert_int_equal(n, strlen(want));
	assert_memory_equal(buf, want, n);
	/* No byte less will do, and none beyond is touched. */
	memset(buf, '~', sizeof buf);
	assert_int_equal(mcproto_write(buf, n - 1, asks, &terms, &once), 0);
	assert_int_equal(buf[n - 1], '~');
	assert_int_equal(mcproto_write(buf, n, asks, &terms, &once), n);
	assert_int_equal(buf[n], '~');
}

static void
test_requests_written(void **state)
{
	(void)state;
	assert_request(A(VERSION), "version\r\n");
	assert_request(A(MN), "mn\r\n");
	assert_request(A(STATS), "stats\r\n");
	assert_request(A(LOGIN) | A(VERSION),
	    "set mc-checkerd:login 0 -1 10\r\nann secret\r\nversion\r\n");
	assert_request(A(CANARY), "set mc:canary:7 0 60 20\r\n" CANARY "\r\n"
	    "get mc:canary:7\r\ndelete mc:canary:7\r\n");
	assert_request(A(VERSION) | A(MAINTENANCE),
	    "version\r\nget rest\r\n");
	assert_request(A(LOCK) | A(STATS) | A(UNLOCK),
	    "add mc-checkerd:lock 0 10 5\r\nweb01\r\nstats\r\n"
	    "delete mc-checkerd:lock\r\n");
	assert_request(A(FLUSH), "flush_all\r\n");
	assert_request(A(FLUSHED), "set mc-checkerd:flushed 0 300 11\r\n"
	    "web01 3 0 0\r\n");
	assert_request(A(SEEN), "add mc-checkerd:flushed 0 300 11\r\n"
	    "web01 3 0 0\r\n");
	assert_request(A(FLUSH) | A(RELOCK) | A(WITNESS), "flush_all\r\n"
	    "set mc-checkerd:witness:web01 0 300 1\r\n1\r\n"
	    "add mc-checkerd:lock 0 10 5\r\nweb01\r\n");
}

/* All of it at its largest fits where it is said to. */
static void
test_request_fits(void **state)
{
	static char buf[MCPROTO_REQUEST_MAX + MCPROTO_CANARY_MAX];
	const struct mcproto_mark m = { .time = UINT64_MAX,
		.since = UINT64_MAX, .gap = UINT64_MAX };
	char user[256], key[251], canary[201], host[MCPROTO_HOST_MAX + 1];
	struct mcproto_terms t = { user, user, canary, MCPROTO_CANARY_MAX, key,
		host };

	(void)state;
	memset(user, 'u', sizeof user);
	memset(key, 'k', sizeof key);
	memset(canary, 'c', sizeof canary);
	canary[200] = '\0';
	memset(host, 'h', sizeof host);
	user[255] = key[250] = host[MCPROTO_HOST_MAX] = '\0';
	assert_int_not_equal(mcproto_write(buf, sizeof buf, MCPROTO_ASKS, &t,
	    &(struct mcproto_once){ UINT32_MAX, &m }), 0);
}

/* Written, read by the other half, answered, and read again. */
static void
test_both_halves(void **state)
{
	static const enum mcproto_command want[] = { MCPROTO_SET,
		MCPROTO_VERSION, MCPROTO_MN, MCPROTO_SET, MCPROTO_GET,
		MCPROTO_DELETE, MCPROTO_GET, MCPROTO_GET, MCPROTO_ADD,
		MCPROTO_STATS, MCPROTO_DELETE, MCPROTO_FLUSH, MCPROTO_SET,
		MCPROTO_SET, MCPROTO_SET, MCPROTO_ADD, MCPROTO_ADD,
		MCPROTO_INCOMPLETE };
	const struct mcproto_mark m = { .time = 1 };
	const struct mcproto_once all = { .canary = 12, .mark = &m };
	char buf[MCPROTO_REQUEST_MAX];
	const size_t n = mcproto_write(buf, sizeof buf, MCPROTO_ASKS, &terms,
	    &all);
	size_t at = 0, used, i = 0;
	struct mcproto_call call;

	(void)state;
	do {
		assert_true(i < COUNT(want));
		assert_int_equal(mcproto_request(buf + at, n - at, &used,
		    &call), want[i]);
		if (i == 2)
			assert_int_equal(at + used + 26 + 20 + 2,
			    mcproto_canary_set(MCPROTO_ASKS, &terms, &all));
		at += used;
	} while (want[i++] != MCPROTO_INCOMPLETE);
	assert_int_equal(at, n);
}

/* Noise ------------------------------------------------------------------- */

static char
noise(uint64_t *seed)
{
	/* Much of what the parser looks for, some of anything. */
	static const char likely[] = "VERSION ERROR CLIENT_ERROR STORED END "
	    "VALUE mc:canary:7 0 20 STAT pid 1\r\n\r\n\r\n";

	shuffle(seed);
	return *seed >> 60 ? likely[(*seed >> 32) % (sizeof likely - 1)] :
	    (char)(*seed >> 40);
}

static const char *const starts[] = {
	"", "VERSION ", "ERROR", "CLIENT_ERROR ", "SERVER_ERROR x",
	"ERROR Too many open connections", "VERSION 1.6.18\r",
	"VERSION 1\r\nSTORED\r\n", "VERSION 1\r\nSTORED\r\nVALUE mc:canary:7 0 ",
	"VERSION 1\r\n" CANARY_GOOD, "VERSION 1\r\n" CANARY_GOOD
	"VALUE rest 0 3\r\n", "VERSION 1\r\n" CANARY_GOOD "END\r\nSTAT pid 1",
};

/* Noise behind a start that is right: a result, or more, and in bounds. */
static void
test_noise(void **state)
{
	const uint32_t asks = A(VERSION) | A(CANARY) | A(MAINTENANCE) |
	    A(STATS);
	uint64_t seed = 99;

	(void)state;
	for (int i = 0; i < 30000; i++) {
		const char *start = starts[i % COUNT(starts)];
		const uint32_t which = i % 2 ? asks : A(VERSION);
		struct mcproto_reply whole, pieces;
		char text[600];
		size_t len = strlen(start);
		int a, b;

		memcpy(text, start, len);
		for (int n = (unsigned char)noise(&seed) + 1; n > 0; n--)
			text[len++] = noise(&seed);
		expect(&whole, which);
		expect(&pieces, which);
		a = feed(&whole, text, len);
		b = feed_pieces(&pieces, text, len, shuffle(&seed));
		assert_true(a == MORE || (a >= 0 && a < MCSHM_R_COUNT));
		/* Whole, it is seen that something follows the last answer. */
		if (a != b)
			assert_true(a == GARBAGE && pieces.asks == 0);
		assert_true(memchr(whole.told.version, '\0', 32) != NULL);
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
	{ BYTES("flush_all\r\n"), MCPROTO_FLUSH, 11 },
	{ BYTES("version\r\nmn\r\n"), MCPROTO_VERSION, 9 },
	{ BYTES("stats settings\r\n"), MCPROTO_OTHER, 16 },
	{ BYTES("VERSION\r\n"), MCPROTO_OTHER, 9 },
	{ BYTES("versions\r\n"), MCPROTO_OTHER, 10 },
	{ BYTES("get a\r\n"), MCPROTO_GET, 7 },
	{ BYTES("get a b\r\n"), MCPROTO_GET, 9 },
	{ BYTES("get\r\n"), MCPROTO_OTHER, 5 },
	{ BYTES("get \r\n"), MCPROTO_OTHER, 6 },
	{ BYTES("delete a\r\n"), MCPROTO_DELETE, 10 },
	{ BYTES("set a 0 0 1\r\nx\r\n"), MCPROTO_SET, 16 },
	{ BYTES("add a 0 -1 0\r\n\r\n"), MCPROTO_ADD, 16 },
	{ BYTES("set a 0 0 1\r\nx\r"), MCPROTO_INCOMPLETE, 0 },
	{ BYTES("set a 0 0 1\r\n"), MCPROTO_INCOMPLETE, 0 },
	{ BYTES("set a 0 0 1\r\nxyz"), MCPROTO_OTHER, 13 },
	{ BYTES("set a 0 0\r\nx\r\n"), MCPROTO_OTHER, 11 },
	{ BYTES("set a 0 0 1 x\r\nx\r\n"), MCPROTO_OTHER, 15 },
	{ BYTES("set a 0 0 9999999\r\nx\r\n"), MCPROTO_OTHER, 19 },
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
		struct mcproto_call call;
		size_t used = 999;
		int command;

		assert_non_null(bytes);
		memcpy(bytes, requests[i].bytes, len);
		command = mcproto_request(bytes, len, &used, &call);
		if (command != (int)requests[i].command ||
		    used != requests[i].used)
			fail_msg("\"%s\": %d, %zu", requests[i].bytes, command,
			    used);
		free(bytes);
	}
}

static void
test_request_arguments(void **state)
{
	struct mcproto_call call;
	size_t used;

	(void)state;
	mcproto_request("set key 3 -7 4\r\n1\r\n2\r\n", 24, &used, &call);
	assert_int_equal(call.key_len, 3);
	assert_memory_equal(call.key, "key", 3);
	assert_int_equal(call.exptime, -7);
	assert_int_equal(call.value_len, 4);
	assert_memory_equal(call.value, "1\r\n2", 4);
	mcproto_request("get  a bb\r\n", 11, &used, &call);
	assert_int_equal(call.key_len, 4);
	assert_memory_equal(call.key, "a bb", 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_what_was_said),
		cmocka_unit_test(test_any_pieces_give_the_same),
		cmocka_unit_test(test_nothing_changes_nothing),
		cmocka_unit_test(test_line_length),
		cmocka_unit_test(test_full_without_end),
		cmocka_unit_test(test_talks),
		cmocka_unit_test(test_beyond),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_long_stats),
		cmocka_unit_test(test_endless_stats),
		cmocka_unit_test(test_endless_values),
		cmocka_unit_test(test_many_values),
		cmocka_unit_test(test_large_value),
		cmocka_unit_test(test_turns_away),
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_maintenance),
		cmocka_unit_test(test_lock_and_flush),
		cmocka_unit_test(test_marks),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_requests_written),
		cmocka_unit_test(test_request_fits),
		cmocka_unit_test(test_both_halves),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_request_arguments),
	};

	return cmocka_run_group_tests_name("mcproto", tests, NULL, NULL);
}
