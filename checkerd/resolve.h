/*
 * resolve.h - names to addresses, beside the loop.
 *
 * getaddrinfo(3) in a few threads of its own: a name server that hangs holds
 * up a thread, and no probe.  Asking and fetching answers are for one thread,
 * the loop's.
 */
#ifndef RESOLVE_H
#define RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm_format.h"	/* struct mcshm_address */

struct resolve;

struct resolve_answer {
	uint64_t cookie;		/* as asked */
	int error;			/* 0, or getaddrinfo's EAI_... */
	uint32_t n;			/* addresses, IPv4 first, sorted so that
					 * the same set compares equal */
	struct mcshm_address address[MCSHM_ADDRESSES];
};

/* threads: how many names may be looked up at the same time; they start when
 * they are first needed.  0 or an errno. */
int resolve_open(struct resolve **r, unsigned threads);
/* Does not wait for threads that hang in a name server: they end with the
 * process, and answers that they still get are thrown away. */
void resolve_close(struct resolve *r);

/* Readable when there is an answer to fetch: watch it with the loop. */
int resolve_fd(const struct resolve *r);
/* Queue a name (copied).  0 or ENOMEM: no memory, or no thread to be had. */
int resolve_ask(struct resolve *r, uint64_t cookie, const char *host,
    uint32_t port);
/* One answer, false when there is none left (and fd is unreadable again). */
bool resolve_fetch(struct resolve *r, struct resolve_answer *a);

#endif
