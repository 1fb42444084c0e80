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

#include "hash.h"
#include "mcshm_format.h"
#include "scheme.h"

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

/* The slot of a bucket, or of a point. */
static inline uint32_t
scheme_bucket(const struct scheme_place *p, uint32_t i)
{
	return scheme_load16(p->base, p->mask, p->buckets_off + 2 * (uint64_t)i);
}

static inline uint32_t
scheme_point(const struct scheme_place *p, uint32_t i)
{
	return scheme_load32(p->base, p->mask, p->ring_off +
	    i * (uint64_t)sizeof(struct mcshm_point) +
	    offsetof(struct mcshm_point, point));
}

static inline uint32_t
scheme_point_slot(const struct scheme_place *p, uint32_t i)
{
	return scheme_load32(p->base, p->mask, p->ring_off +
	    i * (uint64_t)sizeof(struct mcshm_point) +
	    offsetof(struct mcshm_point, slot));
}

static inline uint32_t
scheme_not_0(uint32_t h)
{
	return h != 0 ? h : 1;
}

/* The bucket, of n > 0, that h goes to. */
static inline uint32_t
scheme_bucket_at(enum scheme_lookup lookup, uint32_t n, uint64_t h)
{
	const uint32_t low = (uint32_t)h;

	switch (lookup) {
	case SCHEME_LOOKUP_SCALE:
		return scheme_scale(h, n);
	case SCHEME_LOOKUP_MASK:
		return low & (n - 1);
	case SCHEME_LOOKUP_NOT_0:
		return scheme_not_0(low) % n;
	case SCHEME_LOOKUP_FOLD:
		return scheme_not_0(hash_crc15(low)) % n;
	default:
		return low % n;
	}
}

/* A ring, cut to what lies inside of its memory: needs no mask any more. */
struct scheme_ring {
	const unsigned char *point, *index;
	uint32_t points;
	uint32_t shift;			/* from h to its cell; 32: no index */
};

static inline struct scheme_ring
scheme_ring(const struct scheme_place *p)
{
	const uint64_t at = p->ring_off & p->mask & ~UINT64_C(7);
	const uint64_t index_at = p->ring_index_off & p->mask & ~UINT64_C(3);
	const uint64_t room = (p->mask - at + 1) / sizeof(struct mcshm_point);
	const uint32_t bits = p->ring_index_bits;
	const bool indexed = 0 < bits && bits < 32 &&
	    (p->mask - index_at + 1) / 4 >> bits > 0;

	return (struct scheme_ring){ p->base + at, p->base + index_at,
		p->ring_points < room ? p->ring_points : (uint32_t)room,
		indexed ? 32 - bits : 32 };
}

static inline uint32_t
scheme_ring_point(const struct scheme_ring *r, uint32_t i)
{
	return mcshm_load32(r->point + offsetof(struct mcshm_point, point) +
	    i * (uint64_t)sizeof(struct mcshm_point));
}

static inline uint32_t
scheme_ring_slot(const struct scheme_ring *r, uint32_t i)
{
	return mcshm_load32(r->point + offsetof(struct mcshm_point, slot) +
	    i * (uint64_t)sizeof(struct mcshm_point));
}

/* The first of [at, to) that is h or more. */
static inline uint32_t
scheme_ring_halve(const struct scheme_ring *r, uint32_t at, uint32_t to,
    uint32_t h)
{
	while (at < to) {
		const uint32_t middle = at + (to - at) / 2;

		if (scheme_ring_point(r, middle) < h)
			at = middle + 1;
		else
			to = middle;
	}
	return at;
}

/*
 * The first point that is h or more; r->points where there is none.  The index
 * gives the first point with h's leading bits, and the one looked for is that
 * or one of the next few.  Four at a time are compared and counted, without a
 * branch that the hash decides: a processor would guess that wrong for every
 * other key, and could not begin with the next key meanwhile.  Where points
 * crowd (hashes of 15 bits) what is left is halved.
 */
#define SCHEME_RING_STRIDE 4u
#define SCHEME_RING_STRIDES 4

static inline uint32_t
scheme_ring_first(const struct scheme_ring *r, uint32_t h)
{
	uint32_t at = 0;

	if (r->shift < 32)
		at = mcshm_load32(r->index + 4 * (uint64_t)(h >> r->shift));
	at = at < r->points ? at : r->points;
	for (int i = 0; i < SCHEME_RING_STRIDES &&
	    r->points - at >= SCHEME_RING_STRIDE; i++) {
		const uint32_t less = (scheme_ring_point(r, at) < h) +
		    (scheme_ring_point(r, at + 1) < h) +
		    (scheme_ring_point(r, at + 2) < h) +
		    (scheme_ring_point(r, at + 3) < h);

		at += less;
		if (less < SCHEME_RING_STRIDE)
			return at;
	}
	return scheme_ring_halve(r, at, r->points, h);
}

/* The point that h belongs to; 0 on a ring without points. */
static inline uint32_t
scheme_ring_at(const struct scheme_ring *r, enum scheme_lookup lookup,
    uint32_t h)
{
	uint32_t i;

	if (lookup == SCHEME_LOOKUP_RING) {
		i = scheme_ring_first(r, h);
		return i < r->points ? i : 0;
	}
	i = h < UINT32_MAX ? scheme_ring_first(r, h + 1) : r->points;
	if (i == 0)
		i = r->points;
	return i > 0 ? i - 1 : 0;
}

#endif
