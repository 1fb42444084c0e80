/*
 * dump_home.h - which part of the keys has its home where.
 *
 * Pure.  Exact: buckets are counted, arcs of a ring are added up, hashes of few
 * values tried one by one.  Where all servers are ranked for each key anew,
 * every one of them has the same part.
 */
#ifndef DUMP_HOME_H
#define DUMP_HOME_H

#include "dump_pool.h"

/* Sets home of all servers; 0, or -1: no memory. */
int dump_home(struct dump_pool *p);

/* Neighbouring hashes with one home, `part` of all hashes. */
struct dump_stretch {
	uint64_t h;		/* the first one */
	double part;
};
typedef void dump_stretch_fn(void *arg, const struct dump_stretch *s);

/* All of them, where the placement is a ring; none where it is not. */
void dump_home_each(const struct dump_pool *p, dump_stretch_fn *fn, void *arg);

#endif
