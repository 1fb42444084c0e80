/*
 * scheme_ring.h - rings of points, as libmemcached, twemproxy, dalli and
 * pecl-memcache build them.  Pure; for the daemon: who looks a point up has
 * scheme_inline.h.
 */
#ifndef SCHEME_RING_H
#define SCHEME_RING_H

#include "scheme.h"

/* Points that the ring of this plan has; 0: more than a file can hold. */
uint32_t scheme_ring_points(const struct scheme_plan *p);
/* Bits of an index for so many points. */
uint32_t scheme_ring_index_bits(uint32_t points);
/* scratch: as large as the ring. */
void scheme_ring_build(const struct scheme_plan *p, struct mcshm_point *ring,
    uint32_t points, void *scratch);
void scheme_ring_index(const struct mcshm_point *ring, uint32_t points,
    uint32_t *index, uint32_t bits);

#endif
