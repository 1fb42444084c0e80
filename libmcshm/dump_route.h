/*
 * dump_route.h - the way of one key: home, each rehash step, and its end.
 *
 * Pure.
 */
#ifndef DUMP_ROUTE_H
#define DUMP_ROUTE_H

#include "dump_pool.h"

/* Room for the longest chain that a scheme has, with home and tail. */
#define DUMP_STEPS 258u

struct dump_route {
	uint64_t h;			/* the key's hash */
	uint32_t slot[DUMP_STEPS];	/* as tried: home first, the end last */
	uint32_t steps;			/* of them; 1 or more */
	uint32_t left_out;		/* more that were tried just before the
					 * last one; only of a scheme that ranks
					 * all servers */
	int error;		/* 0: the last one answers; else as
				 * mcshm_pick() would say it */
};

/* Servers tried after the home. */
static inline uint32_t
dump_route_tries(const struct dump_route *r)
{
	return r->steps - 1 + r->left_out;
}

/* p->placed must hold. */
void dump_route_key(struct dump_route *r, const struct dump_pool *p,
    const struct scheme_key *k);

#endif
