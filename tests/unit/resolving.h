/*
 * resolving.h - asking, and waiting for the answer, for the tests of both ways
 * to resolve.
 */
#ifndef RESOLVING_H
#define RESOLVING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>

#include "resolve.h"

#define PATIENCE 20000		/* ms; nothing there takes a second */

static bool
readable(const struct resolve *r, int ms)
{
	struct pollfd p = { .fd = resolve_fd(r), .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

static struct resolve_answer
answer(struct resolve *r)
{
	struct resolve_answer a;

	do
		assert_true(readable(r, PATIENCE));
	while (!resolve_fetch(r, &a));
	return a;
}

static struct resolve_answer
ask(struct resolve *r, const char *host)
{
	struct resolve_answer a;

	assert_int_equal(resolve_ask(r, 7, host, 11211), 0);
	a = answer(r);
	assert_true(a.cookie == 7);
	return a;
}

static void
assert_address(const struct mcshm_address *a, const char *want)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(a->kind == MCSHM_KIND_IPV4 ? AF_INET : AF_INET6, a->ip, text,
	    sizeof text);
	assert_string_equal(text, want);
	assert_int_equal(a->port, 11211);
}

#endif
