/*
 * choose_peer.h - libmemcached, set up to choose as one of our schemes does.
 *
 * Whatever fails ends the program.
 */
#ifndef BENCH_CHOOSE_PEER_H
#define BENCH_CHOOSE_PEER_H

#include <stdint.h>

#include <libmemcached-1.0/memcached.h>

#include "scheme.h"

/* libmemcached can have no larger ring. */
#define CHOOSE_PEER_RING 100u

/* n servers of pool_host(); map: where each of `maps` buckets is, NULL: the
 * scheme has none.  NULL: libmemcached does not know the scheme, or can not
 * have so many servers with it. */
memcached_st *choose_peer(const struct scheme_setting *set, uint32_t n,
    const uint16_t *map, uint32_t maps);

/* Whether keys of an ejected server go to another one. */
bool choose_peer_ejects(uint32_t scheme);
/* Every step-th server fails, and is ejected for this day. */
void choose_peer_eject(memcached_st *m, uint32_t n, uint32_t step);

#endif
