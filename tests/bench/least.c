/*
 * least.c - a stand-in for mcshm_pick() that knows nothing of verdicts.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "least.h"

int
least_pick(const struct least *l, const void *key, size_t len,
    struct mcshm_choice *c)
{
	const uint64_t h = XXH3_64bits(key, len);
	const uint32_t slot =
	    l->table[XXH_mult64to128(h, l->buckets).high64];

	*c = (struct mcshm_choice){ .roster = 1, .slot = slot, .home = slot };
	return MCSHM_OK;
}
