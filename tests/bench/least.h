/*
 * least.h - a stand-in for mcshm_pick() that knows nothing of verdicts.
 */
#ifndef BENCH_LEAST_H
#define BENCH_LEAST_H

#include <stddef.h>
#include <stdint.h>

#include "mcshm.h"

struct least {
	const uint16_t *table;
	uint32_t buckets;
};

/* What mcshm_pick() would cost if all servers were always up: XXH3, one load,
 * the same answer filled in; in a shared library of its own. */
int least_pick(const struct least *l, const void *key, size_t len,
    struct mcshm_choice *c);

#endif
