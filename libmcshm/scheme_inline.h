/*
 * scheme_inline.h - the few steps that scheme.c and the hot path of pick.c
 * share, so that there is one of each.  Pure.
 *
 * Numbers here are part of the format: who changes one moves every key.
 */
#ifndef SCHEME_INLINE_H
#define SCHEME_INLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm_format.h"

/* The whole part of h * n / 2^64, exactly; n < 2^32.  Never a division. */
static inline uint32_t
scheme_scale(uint64_t h, uint32_t n)
{
	return (uint32_t)(((h >> 32) * n +
	    ((h & UINT32_MAX) * n >> 32)) >> 32);
}

/* Any number to one that looks random; the finalizer of splitmix64. */
static inline uint64_t
scheme_mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* The bucket of try t; buckets may be anything, 0 too. */
static inline uint32_t
scheme_bucket(uint32_t scheme, uint64_t h, uint32_t t, uint32_t buckets)
{
	if (t > 0)
		return scheme_scale(
		    scheme_mix(h + t * UINT64_C(0x9e3779b97f4a7c15)), buckets);
	if (scheme == MCSHM_SCHEME_LIBMEMCACHED_MODULA)
		return buckets > 0 ? (uint32_t)h % buckets : 0;
	return scheme_scale(h, buckets);
}

/* Loads that no offset can lead out of the memory; mask: its size less 1. */
static inline uint64_t
scheme_load(const unsigned char *base, uint64_t mask, uint64_t off)
{
	return mcshm_load(base + (off & mask & ~UINT64_C(7)));
}

static inline uint32_t
scheme_load32(const unsigned char *base, uint64_t mask, uint64_t off)
{
	return mcshm_load32(base + (off & mask & ~UINT64_C(3)));
}

static inline uint16_t
scheme_load16(const unsigned char *base, uint64_t mask, uint64_t off)
{
	return mcshm_load16(base + (off & mask & ~UINT64_C(1)));
}

/* Bit i of the bitmap at off. */
static inline bool
scheme_bit(const unsigned char *base, uint64_t mask, uint64_t off, uint32_t i)
{
	return scheme_load(base, mask, off + i / 64 * 8) >> i % 64 & 1;
}

#endif
