/*
 * scheme.h - how a key becomes a server: key hash, placement, rehash rule.
 *
 * Pure: no file, no handle, no clock, no allocation.  Linked into the daemon
 * (which builds placements), the library (which picks from them) and
 * mc-shmdump (which shows the steps).
 *
 *	key --hash--> h --placement--> slot		the home
 *	the scheme's own chain of tries			scheme_walk_next()
 *	highest random weight over what is left		the tail
 *
 * A pick stops at the first server that keys may not leave: a usable one is
 * the answer, a HELD one is MCSHM_EHELD.  The tail finds one of the two for
 * certain where there is one.
 *
 * scheme.c	names, settings, identities: a row of its table is all that
 *		there is to know of a scheme, but its placement
 * scheme_build.c	placements, for the daemon
 * scheme_choose.c	home, chain, tail; for all
 */
#ifndef SCHEME_H
#define SCHEME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcshm_format.h"

/* What makes two pools send a key the same way, besides their servers. */
struct scheme_setting {
	uint32_t scheme;	/* enum mcshm_scheme */
	uint32_t hash;		/* enum mcshm_hash, of the key */
	uint32_t points_hash;	/* of the points of a ring */
	uint32_t hash_flags;	/* MCSHM_HASH_UNSIGNED */
	uint32_t hash_tag;	/* two bytes, the first one low; 0: none */
};

/* Names and settings (scheme.c) ------------------------------------------- */

/* A scheme's or hash's name as in the ini, and back; 0 or NULL: there is none.
 * Hashes have second names ("default"); the first one comes back. */
uint32_t scheme_by_name(const char *name);
const char *scheme_name(uint32_t scheme);
uint32_t scheme_hash_by_name(const char *name);
const char *scheme_hash_name(uint32_t hash);

/* The hash that the scheme takes when the ini names none; whether it can take
 * this one. */
uint32_t scheme_default_hash(uint32_t scheme);
bool scheme_takes_hash(uint32_t scheme, uint32_t hash);
/* The same of ring points, by the key's hash: most schemes leave no choice. */
uint32_t scheme_default_points_hash(uint32_t scheme, uint32_t hash);
bool scheme_takes_points_hash(uint32_t scheme, uint32_t hash, uint32_t points);
/* Whether the key may have a tag that is hashed in its place. */
bool scheme_takes_hash_tag(uint32_t scheme);
/* Whether the site's own list of buckets is its placement. */
bool scheme_takes_map(uint32_t scheme);
/* Whether one address may stand there under several names; whether weights
 * mean anything to it. */
bool scheme_allows_repeats(uint32_t scheme);
bool scheme_has_weights(uint32_t scheme);

/* Can a file say this?  All of the above at once. */
bool scheme_setting_valid(const struct scheme_setting *s);
/* What a private copy of a header says; whether this version knows it. */
struct scheme_setting scheme_setting_of(const struct mcshm_header *h);
bool scheme_known(const struct mcshm_header *h);

/* Where a server is, as written: enum mcshm_kind, port 0 where it has none. */
struct scheme_where {
	const char *name;	/* "": none was given */
	const char *host;	/* IPv6 without brackets, or the unix path */
	uint32_t kind, port;
};

/*
 * The text that the scheme knows a server by, written to ident[272]; its
 * length, or -1 if it does not fit.  mc-checkerd.ini(5) has a table of them.
 */
int scheme_ident(uint32_t scheme, const struct scheme_where *w,
    char ident[272]);

/* XXH3-64 of a text, seed 0: identities in the roster. */
uint64_t scheme_text_hash(const void *p, size_t len);

/* Placement (scheme_build.c) ---------------------------------------------- */

/* What of a server a scheme looks at, to build a placement. */
struct scheme_server {
	const char *ident;
	size_t len;
	uint32_t weight;
};

/* What a placement is made from; n is 1..MCSHM_MAX_SERVERS. */
struct scheme_plan {
	struct scheme_setting set;
	const struct scheme_server *server;
	uint32_t n;
	const uint16_t *map;	/* scheme_takes_map(): slots, each below n */
	uint32_t maps;		/* of them; 0: none was given */
};

/* How large it will be. */
struct scheme_size {
	uint32_t buckets;
	uint32_t points, index_bits;	/* 0: no ring, no index */
	size_t scratch;		/* bytes of working memory */
};

/* False: the scheme is not known, or this would be too large for a file. */
bool scheme_measure(const struct scheme_plan *p, struct scheme_size *s);

/* Fill them: s->buckets, s->points, and 2^index_bits + 1 where index_bits is
 * not 0.  scratch: as aligned as malloc does it. */
struct scheme_tables {
	uint16_t *bucket;
	struct mcshm_point *ring;
	uint32_t *index;
	void *scratch;
};
void scheme_build(const struct scheme_plan *p, const struct scheme_size *s,
    const struct scheme_tables *t);

/* Choice (scheme_choose.c) ------------------------------------------------ */

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
	uint64_t ring_off, ring_index_off;
	/* Servers not to be taken although they are usable: words of a bitmap
	 * in private memory; NULL: none. */
	const _Atomic uint64_t *suspect;
	struct scheme_setting set;
	uint32_t servers, words, buckets;
	uint32_t ring_points, ring_index_bits;
	uint32_t roster_stride;
	uint32_t blind;			/* usable = the ready bitmap, none held */
};

/* A key, and what it hashes to under a setting. */
struct scheme_key {
	const void *p;
	size_t len;
	uint64_t h;
};
struct scheme_key scheme_key(const struct scheme_setting *s, const void *p,
    size_t len);

struct scheme_choice {
	uint32_t slot, home, tries;
};

/* How a hash finds its slot. */
enum scheme_lookup {
	SCHEME_LOOKUP_SCALE,		/* bucket h * buckets / 2^64 */
	SCHEME_LOOKUP_MODULO,		/* bucket h % buckets */
	SCHEME_LOOKUP_MASK,		/* bucket h & (buckets - 1) */
	SCHEME_LOOKUP_NOT_0,		/* as MODULO, but 0 is taken for 1 */
	SCHEME_LOOKUP_FOLD,		/* as NOT_0, of 15 bits of h */
	SCHEME_LOOKUP_RING,		/* the first point >= h */
	SCHEME_LOOKUP_RING_BEHIND,	/* the last point <= h */
	SCHEME_LOOKUP_RENDEZVOUS,	/* the best score */
};
enum scheme_lookup scheme_lookup(uint32_t scheme);

/* Whether the placement is a ring of points. */
bool scheme_has_ring(uint32_t scheme);

/* Whether tables of the sizes that a header gives can be a placement of its
 * servers' keys; where the scheme is not known, nobody can tell. */
bool scheme_fits(const struct mcshm_header *h);

/* The placement in a file's content, by a private copy of its header; without
 * bitmaps. */
struct scheme_place scheme_place_of(const unsigned char *base, uint64_t mask,
    const struct mcshm_header *h);

/* The key's server when all are up.  Slots that come back are below servers
 * whatever the tables say: callers index their own arrays with them. */
uint32_t scheme_home(const struct scheme_place *p, const struct scheme_key *k);

/* The chain, one try after the other.  Set up by scheme_walk(), which finds
 * the home; scheme_walk_next(): the next try, false when the chain is over and
 * the tail has to decide. */
struct scheme_walk {
	uint64_t h;
	uint32_t at;		/* the point, on a ring */
	uint32_t tries;		/* 0: slot is the home */
	uint32_t slot;
};
void scheme_walk(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_walk *w);
bool scheme_walk_next(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_walk *w);

/*
 * The whole way.  0; MCSHM_EHELD (c->slot is the silent server); MCSHM_ENONE
 * only if neither bitmap holds anybody in spite of the counts.  Where the tail
 * decided, c->tries is one more than the chain has; in a scheme that is all
 * tail, as many as there are servers that the key would rather have.
 */
int scheme_pick(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_choice *c);

/*
 * The servers of a set in the key's order of preference, each once: what
 * scheme_pick() would give if the ones before were down.  set: a bit a
 * server, in private memory, where each one that comes back is taken out.
 */
struct scheme_order {
	const struct scheme_place *place;
	const struct scheme_key *key;
	uint64_t *set;
	struct scheme_walk walk;
	uint32_t home;
	bool over;		/* the chain is */
};
void scheme_order(struct scheme_order *o, const struct scheme_place *p,
    const struct scheme_key *k, uint64_t *set);
/* False: the set is empty. */
bool scheme_order_next(struct scheme_order *o, struct scheme_choice *c);

#endif
