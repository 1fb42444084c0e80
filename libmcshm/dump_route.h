/*
 * dump_route.h - the way of one key: home, each rehash step, and its end.
 *
 * Pure.
 */
#ifndef DUMP_ROUTE_H
#define DUMP_ROUTE_H

#include "dump_pool.h"

struct dump_route {
	uint32_t slot[SCHEME_TRIES + 2];	/* as tried; home first */
	uint32_t steps;				/* of them; 1 or more */
	int error;		/* 0: the last one answers; else as
				 * mcshm_pick() would say it */
};

/* p->placed must hold. */
void dump_route_key(struct dump_route *r, const struct dump_pool *p,
    const void *key, size_t len);
/* The same for a hash. */
void dump_route_hash(struct dump_route *r, const struct dump_pool *p,
    uint64_t h);

#endif
