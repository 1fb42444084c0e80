/*
 * resolve.h - names to addresses, beside the loop.
 *
 * In a thread of its own, or a few: a name server that hangs holds up no probe.
 * There are two ways, and a build has one of them:
 *
 *	resolve_cares.c	c-ares asks the name servers itself, many names at a
 *			time, and learns how long an answer is good for
 *	resolve_libc.c	getaddrinfo(3), a thread for each name under way; it
 *			keeps to itself how long its answers are good for
 *
 * Asking and fetching answers are for one thread, the loop's.
 */
#ifndef RESOLVE_H
#define RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm_format.h"	/* struct mcshm_address */

/* Of a name; more are cut: so many may not be all. */
#define RESOLVE_ADDRESSES 32
#define RESOLVE_NO_TTL UINT32_MAX	/* nobody said */

struct resolve;

struct resolve_answer {
	uint64_t cookie;		/* as asked */
	const char *error;		/* why there is none; NULL: it is */
	uint32_t ttl;			/* s that it is good for */
	uint32_t unknown;		/* MCSHM_KIND_IPV4 or _IPV6: it was not
					 * asked for that, or in vain; 0: both
					 * are known */
	uint32_t n;			/* addresses, IPv4 first, sorted so that
					 * the same set compares equal */
	struct mcshm_address address[RESOLVE_ADDRESSES];
};

/* at_once: how many names may be looked up at the same time; the way may take
 * fewer.  Threads start when they are first needed.  0 or an errno. */
int resolve_open(struct resolve **r, unsigned at_once);
/* Does not wait for name servers: what they still answer is thrown away. */
void resolve_close(struct resolve *r);

/* Readable when there is an answer to fetch: watch it with the loop. */
int resolve_fd(const struct resolve *r);
/* Queue a name (copied).  0 or ENOMEM: no memory, or no thread to be had. */
int resolve_ask(struct resolve *r, uint64_t cookie, const char *host,
    uint32_t port);
/* One answer, false when there is none left (and fd is unreadable again). */
bool resolve_fetch(struct resolve *r, struct resolve_answer *a);

#endif
