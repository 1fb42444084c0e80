/*
 * scheme.h - how a key becomes a server: key hash, placement, rehash rule.
 *
 * Pure: no file, no handle, no clock, no allocation.  Linked into the daemon
 * (which builds placements), the library (which picks from them) and
 * mc-shmdump (which shows the steps).
 *
 *	key --hash--> h --home--> bucket --table--> slot        try 0: home
 *	              h --mix(h, t)--> bucket --table--> slot   try 1..SCHEME_TRIES
 *	              h --highest random weight over what is left  the tail
 *
 * The chain stops at the first server that keys may not leave: a usable one is
 * the answer, a HELD one is MCSHM_EHELD.  The tail finds one of the two for
 * certain where there is one.
 */
#ifndef SCHEME_H
#define SCHEME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcshm_format.h"

/* Salted tries before the tail; part of the format of both schemes. */
#define SCHEME_TRIES 32u

/*
 * A placement, wherever it lies: in a mapped file, or in private memory.
 * Every access is base + (offset & mask), rounded down to its size, so that no
 * content of the file can lead it elsewhere.
 */
struct scheme_place {
	const unsigned char *base;
	uint64_t mask;			/* size of the memory, less 1 */
	uint64_t buckets_off;
	uint64_t bits_off;		/* of the usable bitmap */
	uint64_t roster_off;
	uint32_t scheme, hash;
	uint32_t servers, words, buckets;
	uint32_t roster_stride;
	bool blind;			/* usable = the ready bitmap, none held */
};

struct scheme_choice {
	uint32_t slot, home, tries;
};

/* What of a server a scheme looks at, to build a placement. */
struct scheme_server {
	const char *ident;
	size_t len;
	uint32_t weight;
};

/* A scheme's name as in the ini, and back; 0 or NULL if there is none. */
uint32_t scheme_by_name(const char *name);
const char *scheme_name(uint32_t scheme);
uint32_t scheme_hash_by_name(const char *name);
const char *scheme_hash_name(uint32_t hash);
/* The hash that the scheme takes when the ini names none; whether it can take
 * this one; whether one address may stand there under several names. */
uint32_t scheme_default_hash(uint32_t scheme);
bool scheme_takes_hash(uint32_t scheme, uint32_t hash);
bool scheme_allows_repeats(uint32_t scheme);
/* Whether weights mean anything to it. */
bool scheme_has_weights(uint32_t scheme);

/*
 * The text that the scheme hashes for a server, written to ident[272]; its
 * length, or -1 if it does not fit.  maglev: the name if there is one, else the
 * address; libmemcached-modula: hashes no text, has the address.
 * address: host:port, [v6]:port or the unix path.
 */
int scheme_ident(uint32_t scheme, const char *name, const char *address,
    char ident[272]);

/*
 * Buckets of a placement of n servers (1..MCSHM_MAX_SERVERS), and the bytes of
 * working memory that scheme_build() wants; buckets is 0 where the scheme is
 * not known.
 */
uint32_t scheme_buckets(uint32_t scheme, uint32_t n);
size_t scheme_scratch(uint32_t scheme, uint32_t n);
/*
 * Fill bucket[scheme_buckets()] with slots 0..n-1.  scratch: as many bytes as
 * scheme_scratch() said, aligned as malloc does it.  The result depends on
 * identities and weights, never on the order of the servers, in maglev; in
 * libmemcached-modula it is the order of the servers.
 */
void scheme_build(uint32_t scheme, const struct scheme_server *server,
    uint32_t n, uint16_t *bucket, void *scratch);

/* The key's hash, as all functions below take it. */
uint64_t scheme_key(uint32_t hash, const void *key, size_t len);

/* The slot of try t: 0 is the home, 1..SCHEME_TRIES are salted. */
uint32_t scheme_try(const struct scheme_place *p, uint64_t h, uint32_t t);

/*
 * The whole chain.  0; MCSHM_EHELD (c->slot is the silent server); MCSHM_ENONE
 * only if neither bitmap holds anybody in spite of the counts.  c->tries is
 * SCHEME_TRIES + 1 where the tail decided.
 */
int scheme_pick(const struct scheme_place *p, uint64_t h,
    struct scheme_choice *c);

/* XXH3-64 of a text, seed 0: identities in the roster. */
uint64_t scheme_text_hash(const void *p, size_t len);

#endif
