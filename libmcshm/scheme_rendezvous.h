/*
 * scheme_rendezvous.h - highest random weight as pymemcache has it: each server
 * scores murmur3("node-key"), the best one has the key.  Pure.
 */
#ifndef SCHEME_RENDEZVOUS_H
#define SCHEME_RENDEZVOUS_H

#include "scheme.h"

/* What the ring's place in the file holds for it: two records a server, the
 * state of the hash after "node-". */
uint32_t scheme_rendezvous_points(uint32_t n);
void scheme_rendezvous_build(const struct scheme_plan *p,
    struct mcshm_point *ring);

/*
 * A key as pymemcache formats it, character by character: a str is itself, of
 * bytes it is what Python would print, b'...'.  Escapes come out of pending,
 * the low byte first.
 */
struct scheme_rendezvous_text {
	const unsigned char *at, *end;
	uint32_t pending;
	unsigned char quote;		/* 0: a str, or the end */
};

/* Formatted once for all servers, but for what is longer than a piece: that is
 * formatted again for each of them. */
#define SCHEME_RENDEZVOUS_PIECE 256u
struct scheme_rendezvous_key {
	struct scheme_rendezvous_text rest;
	uint32_t len;
	unsigned char piece[SCHEME_RENDEZVOUS_PIECE + 4];
};
/* The key's bytes must stay where they are. */
void scheme_rendezvous_key(struct scheme_rendezvous_key *r, uint32_t scheme,
    const struct scheme_key *k);

/* The score of a server for a key, ties already settled: no two servers have
 * the same one. */
uint64_t scheme_rendezvous_score(const struct scheme_place *p,
    const struct scheme_rendezvous_key *r, uint32_t slot);

#endif
