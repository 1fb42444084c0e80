/*
 * hash_xxh3.c - XXH3, 64 bits; pure.
 *
 * Inline, so that nothing that is linked from here needs libxxhash at run
 * time.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash_xxh3.h"

uint64_t
hash_xxh3(const void *p, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(p, len, seed);
}
