/*
 * fuzz_mcproto.c - bytes from a memcached, and from a client, from the fuzzer.
 *
 * The verdict does not depend on how the bytes came in pieces; garbage is
 * garbage as soon as nothing else can come of it; a version is a text that may
 * be printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mcproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_mcproto: %s\n", what);
	abort();
}

static void
check_version(const char version[32])
{
	must(memchr(version, 0, 32) != NULL, "a version without end");
	for (; *version != 0; version++)
		must(' ' <= *version && *version <= '~',
		    "a version that can not be printed");
}

/* In pieces of 1 to most bytes, by the bits of r; *used: up to the result. */
static int
in_pieces(const char *p, size_t len, size_t most, uint32_t r, size_t *used,
    char version[32])
{
	struct mcproto_reply reply = { 0 };
	int got = MCPROTO_MORE;

	for (*used = 0; *used < len && got == MCPROTO_MORE;) {
		size_t n = 1 + r % most;

		r = r * 1664525 + 1013904223;
		n = n < len - *used ? n : len - *used;
		got = mcproto_feed(&reply, p + *used, n, version);
		*used += n;
		must(reply.len <= sizeof reply.line, "beyond its line");
	}
	return got;
}

static void
client(const char *p, size_t len, uint32_t r)
{
	char v1[32] = "", v2[32] = "", v3[32] = "";
	size_t end, used;
	const int each = in_pieces(p, len, 1, r, &end, v1);
	const int pieces = in_pieces(p, end, 1 + r % 40, r, &used, v2);
	const int whole = in_pieces(p, len, len + 1, (uint32_t)len, &used, v3);

	must(each >= MCPROTO_MORE && each < MCSHM_R_COUNT, "no reason");
	/* Up to the byte that decided, pieces do not matter. */
	must(pieces == each, "other pieces, another result");
	if (each == MCSHM_R_OK) {
		check_version(v1);
		must(strcmp(v1, v2) == 0, "another version");
	}
	/* And what is beyond it makes garbage of all. */
	if (end == len)
		must(whole == each, "in one piece it is something else");
	else
		must(whole == MCSHM_R_GARBAGE, "more than one line is good");
}

static void
server(const char *p, size_t len)
{
	size_t used, again;
	const enum mcproto_command c = mcproto_request(p, len, &used);

	must(used <= len, "used more than there is");
	must((c == MCPROTO_INCOMPLETE) == (used == 0), "incomplete, and used");
	if (used == 0) {
		must(len == 0 || memchr(p, '\n', len) == NULL,
		    "a line that is overlooked");
		return;
	}
	must(p[used - 1] == '\n', "ends in the middle of a line");
	must(mcproto_request(p, used, &again) == c && again == used,
	    "what comes after it matters");
	for (size_t cut = 0; cut < used && cut < 64; cut++)
		must(mcproto_request(p, cut, &again) == MCPROTO_INCOMPLETE,
		    "complete before its end");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *p;
	uint32_t r;

	if (size < 4)
		return 0;
	memcpy(&r, data, 4);
	/* A copy to the byte: who reads beyond it is seen. */
	p = malloc(size - 4 + (size == 4));
	must(p != NULL, "memory");
	memcpy(p, data + 4, size - 4);
	client(p, size - 4, r);
	server(p, size - 4);
	free(p);
	return 0;
}
