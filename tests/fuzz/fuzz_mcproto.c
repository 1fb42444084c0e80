/*
 * fuzz_mcproto.c - bytes from a memcached, and from a client, from the fuzzer.
 *
 * What was asked comes from it, too.  The result does not depend on how the
 * bytes came in pieces; garbage is garbage as soon as nothing else can come of
 * it; texts that were learnt may be printed.  And all that is asked is read as
 * it was written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mcproto.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mcproto_terms terms = {
	.user = "u", .password = "p", .canary_key = "ca", .canary_size = 7,
	.maintenance_key = "mk", .host = "h" };
static const struct mcproto_mark mark = { .time = 1, .since = 2, .gap = 3 };
static const struct mcproto_once once = { .canary = 7, .mark = &mark };

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_mcproto: %s\n", what);
	abort();
}

static void
check_text(const char *text, size_t size)
{
	must(memchr(text, 0, size) != NULL, "a text without end");
	for (; *text != 0; text++)
		must(' ' <= *text && *text <= '~',
		    "a text that can not be printed");
}

static void
check_told(const struct mcproto_reply *r, uint32_t asks)
{
	const struct mcproto_told *t = &r->told;

	must((t->answered & ~asks) == 0, "an answer to what was not asked");
	must((t->refused & ~asks) == 0, "refused what was not asked");
	must((t->answered & r->asks) == 0, "answered, and waited for");
	must(!mcproto_enough(r) || (r->asks != 0 && r->asks != asks &&
	    r->noted < MCSHM_R_COUNT), "enough of what was not answered");
	check_text(t->version, sizeof t->version);
	for (size_t i = 0; i < MCPROTO_MARKS; i++)
		check_text(t->mark[i].host, sizeof t->mark[i].host);
	for (size_t i = 0; i < MCPROTO_MARKS; i++)
		check_text(t->note[i].host, sizeof t->note[i].host);
	check_text(t->owner, sizeof t->owner);
	check_text(t->marker.host, sizeof t->marker.host);
}

/* In pieces of 1 to most bytes, by the bits of seed; *used: up to the
 * result. */
static int
in_pieces(struct mcproto_reply *r, uint32_t asks, const char *p, size_t len,
    size_t most, uint32_t seed, size_t *used)
{
	int got = MCPROTO_MORE;

	mcproto_expect(r, asks);
	r->canary = once.canary;
	for (*used = 0; *used < len && got == MCPROTO_MORE;) {
		size_t n = 1 + seed % most;

		seed = seed * 1664525 + 1013904223;
		n = n < len - *used ? n : len - *used;
		got = mcproto_feed(r, &terms, p + *used, n);
		*used += n;
		must(r->len <= sizeof r->line, "beyond its line");
	}
	return got;
}

static void
client(const char *p, size_t len, uint32_t asks, uint32_t seed)
{
	static struct mcproto_reply r1, r2, r3;
	size_t end, used;
	const int each = in_pieces(&r1, asks, p, len, 1, seed, &end);
	const int pieces = in_pieces(&r2, asks, p, end, 1 + seed % 40, seed,
	    &used);
	const int whole = in_pieces(&r3, asks, p, len, len + 1,
	    (uint32_t)len, &used);

	must(each >= MCPROTO_MORE && each < MCSHM_R_COUNT, "no reason");
	/* Up to the byte that decided, pieces do not matter. */
	must(pieces == each, "other pieces, another result");
	must(memcmp(&r1.told, &r2.told, sizeof r1.told) == 0,
	    "other pieces, told something else");
	check_told(&r1, asks);
	/* And what is beyond the last answer makes garbage of all. */
	if (end == len || r1.asks != 0)
		must(whole == each, "in one piece it is something else");
	else
		must(whole == MCSHM_R_GARBAGE, "more than the answers is good");
}

static void
server(const char *p, size_t len)
{
	struct mcproto_call call, other;
	size_t used, again;
	const enum mcproto_command c = mcproto_request(p, len, &used, &call);

	must(used <= len, "used more than there is");
	must((c == MCPROTO_INCOMPLETE) == (used == 0), "incomplete, and used");
	must(call.key == NULL || (call.key >= p && call.key_len <= used &&
	    call.key + call.key_len <= p + used), "a key elsewhere");
	must(call.value == NULL || (call.value >= p &&
	    call.value + call.value_len + 2 == p + used), "a value elsewhere");
	if (used == 0)
		return;
	must(p[used - 1] == '\n', "ends in the middle of a line");
	/* A line whose value is none is judged by what follows it. */
	must(c == MCPROTO_OTHER || (mcproto_request(p, used, &again,
	    &other) == c && again == used), "what comes after it matters");
	for (size_t cut = 0; call.value == NULL && cut < used && cut < 64;
	    cut++)
		if (memchr(p, '\n', cut) == NULL)
			must(mcproto_request(p, cut, &again, &other) ==
			    MCPROTO_INCOMPLETE, "complete before its end");
}

/* The other half understands each byte of what is asked. */
static void
written(uint32_t asks)
{
	char buf[MCPROTO_REQUEST_MAX + 7];
	const size_t n = mcproto_write(buf, sizeof buf, asks, &terms, &once);
	struct mcproto_call call;
	size_t at = 0, used;

	must(n != 0, "does not fit");
	for (; at < n; at += used)
		must(mcproto_request(buf + at, n - at, &used, &call) !=
		    MCPROTO_OTHER && used != 0, "not understood");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t seed, asks;
	char *p;

	if (size < 4)
		return 0;
	memcpy(&seed, data, 4);
	/* Often the plain one. */
	asks = seed >> 31 ? seed & MCPROTO_ASKS : 0;
	if (asks == 0)
		asks = MCPROTO_ASK_VERSION;
	/* A copy to the byte: who reads beyond it is seen. */
	p = malloc(size - 4 + (size == 4));
	must(p != NULL, "memory");
	memcpy(p, data + 4, size - 4);
	client(p, size - 4, asks, seed);
	server(p, size - 4);
	written(asks);
	free(p);
	return 0;
}
