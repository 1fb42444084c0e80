/*
 * fuzz_reports.c - datagrams from whoever can write to the socket for reports,
 * from the fuzzer.
 *
 * What is taken is a report by all that the format says, and comes out as it
 * came in, within its bounds; what is behind the report, or behind the pool's
 * name, makes no difference; and the socket says the same as the parser.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define POOL offsetof(struct mcshm_report, pool)

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_reports: %s\n", what);
	abort();
}

/* From a copy to the byte: who reads beyond it is seen. */
static bool
parse(struct report *r, const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size + (size == 0));
	bool taken;

	must(p != NULL, "memory");
	if (size > 0)
		memcpy(p, data, size);
	memset(r, 0xee, sizeof *r);
	taken = reports_parse(r, p, size);
	free(p);
	return taken;
}

/* Once more, by what the format says, byte by byte. */
static bool
is_report(const uint8_t *data, size_t size)
{
	const uint32_t magic = MCSHM_REPORT_MAGIC, version = 1;
	size_t name = 0;

	if (size < 80 || memcmp(data, &magic, 4) != 0 ||
	    memcmp(data + 4, &version, 4) != 0)
		return false;
	while (name < 64 && data[POOL + name] != 0)
		name++;
	return 1 <= name && name <= MCSHM_POOL_MAX;
}

static bool
is_same(const struct report *a, const struct report *b)
{
	return a->ident_hash == b->ident_hash && strcmp(a->pool, b->pool) == 0;
}

static void
check_values(const struct report *r, const uint8_t *data)
{
	must(memchr(r->pool, 0, sizeof r->pool) != NULL, "a pool without end");
	must(memcmp(&r->ident_hash, data + 8, 8) == 0, "another server");
	must(memcmp(r->pool, data + POOL, strlen(r->pool) + 1) == 0,
	    "another pool");
}

/* No more than the report, and nothing but zeros behind the pool's name. */
static void
check_rest(const struct report *r, const uint8_t *data)
{
	struct mcshm_report bare;
	struct report again;

	memcpy(&bare, data, sizeof bare);
	for (size_t i = strlen(r->pool); i < sizeof bare.pool; i++)
		bare.pool[i] = 0;
	must(parse(&again, (const uint8_t *)&bare, sizeof bare) &&
	    is_same(r, &again), "what comes behind it matters");
	must(!parse(&again, data, sizeof bare - 1), "it is taken without end");
}

/* The same by way of a socket, which stays empty. */
static void
check_socket(const uint8_t *data, size_t size, const struct report *r,
    bool taken)
{
	static int pair[2] = { -1, -1 };
	struct reports socket;
	struct report one;
	enum reports_got got;

	if (pair[0] == -1)
		must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) ==
		    0, "socketpair");
	reports_init(&socket);
	socket.fd = pair[0];
	must(send(pair[1], data, size, 0) == (ssize_t)size, "send");
	got = reports_read(&socket, &one);
	must(got == (taken ? REPORTS_ONE : REPORTS_GARBAGE),
	    "the socket says something else");
	must(!taken || is_same(r, &one), "another report from the socket");
	must(reports_read(&socket, &one) == REPORTS_NONE,
	    "two reports from one datagram");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct report r;
	const bool taken = parse(&r, data, size);

	must(taken == is_report(data, size), "taken or not, by mistake");
	if (taken) {
		check_values(&r, data);
		check_rest(&r, data);
	}
	check_socket(data, size, &r, taken);
	return 0;
}
