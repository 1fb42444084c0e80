/*
 * scheme_choose.c - the way of a key: home, chain, tail; pure.
 *
 * Each scheme goes past a server that is down as its client does, where that
 * moves nobody else's keys; the others, and ours, by salted tries:
 *
 *   try t      mix(h + t * 0x9e3779b97f4a7c15), scaled to the buckets
 *   the tail   of the servers that are usable or held, the one with the
 *              smallest -log2(u) / weight, where u = mix(mix(h) ^ ident_hash),
 *              read as a fraction of 2^64: highest random weight.  Ties: the
 *              larger u, then the lower slot.
 *
 * All of it in integers, so that every machine and language agrees.
 */
#include <string.h>

#include "hash.h"
#include "mcshm.h"
#include "scheme.h"
#include "scheme_inline.h"
#include "scheme_rendezvous.h"

#define WEIGHT_MAX 1000u
#define DECIMAL_MAX 10		/* digits of a uint32_t */

/* How it goes on from there. */
enum chain {
	CHAIN_SALT,
	CHAIN_RING,		/* the next point of another server */
	CHAIN_DECIMAL,		/* crc(decimal(h) decimal(t - 1)) */
	CHAIN_SUM,		/* h += crc(decimal(t) key) */
	CHAIN_SUFFIX,		/* hash(key "-" decimal(t - 1)) */
	CHAIN_PREFIX,		/* crc32(decimal(t - 1) key) */
	CHAIN_NONE,		/* all tail */
};

/* Tries before the tail, and with them the whole way, are part of the file's
 * format. */
static const struct way {
	enum scheme_lookup lookup;
	enum chain chain;
	uint32_t tries;
	bool weights;		/* of the tail */
} ways[MCSHM_SCHEMES] = {
	[MCSHM_SCHEME_MAGLEV] = { SCHEME_LOOKUP_SCALE, CHAIN_SALT, 32, true },
	[MCSHM_SCHEME_LIBMEMCACHED_MODULA] =
	    { SCHEME_LOOKUP_MODULO, CHAIN_SALT, 32, false },
	[MCSHM_SCHEME_LIBMEMCACHED_KETAMA] =
	    { SCHEME_LOOKUP_RING, CHAIN_RING, 256, false },
	[MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED] =
	    { SCHEME_LOOKUP_RING, CHAIN_RING, 256, true },
	[MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET] =
	    { SCHEME_LOOKUP_MASK, CHAIN_SALT, 32, false },
	[MCSHM_SCHEME_TWEMPROXY_KETAMA] =
	    { SCHEME_LOOKUP_RING, CHAIN_RING, 256, true },
	[MCSHM_SCHEME_TWEMPROXY_MODULA] =
	    { SCHEME_LOOKUP_MODULO, CHAIN_SALT, 32, true },
	[MCSHM_SCHEME_CACHE_MEMCACHED] =
	    { SCHEME_LOOKUP_MODULO, CHAIN_SUM, 20, true },
	[MCSHM_SCHEME_PYTHON_MEMCACHED] =
	    { SCHEME_LOOKUP_NOT_0, CHAIN_DECIMAL, 9, true },
	[MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS] =
	    { SCHEME_LOOKUP_RENDEZVOUS, CHAIN_NONE, 0, false },
	[MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES] =
	    { SCHEME_LOOKUP_RENDEZVOUS, CHAIN_NONE, 0, false },
	[MCSHM_SCHEME_PHP_MEMCACHE_STANDARD] =
	    { SCHEME_LOOKUP_FOLD, CHAIN_SUFFIX, 20, true },
	[MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT] =
	    { SCHEME_LOOKUP_MODULO, CHAIN_SUFFIX, 20, true },
	[MCSHM_SCHEME_DALLI] =
	    { SCHEME_LOOKUP_RING_BEHIND, CHAIN_PREFIX, 19, true },
};

/* Bounds of a ring's walk; a server has a run of a few points, seldom more. */
#define RUN_MAX 64u

/* Salted tries where the scheme is not known: a file cannot say so. */
static const struct way *
way_of(const struct scheme_place *p)
{
	const uint32_t scheme = p->set.scheme;

	return &ways[scheme < MCSHM_SCHEMES ? scheme : 0];
}

enum scheme_lookup
scheme_lookup(uint32_t scheme)
{
	return scheme < MCSHM_SCHEMES ? ways[scheme].lookup :
	    SCHEME_LOOKUP_SCALE;
}

bool
scheme_has_ring(uint32_t scheme)
{
	const enum scheme_lookup lookup = scheme_lookup(scheme);

	return lookup == SCHEME_LOOKUP_RING ||
	    lookup == SCHEME_LOOKUP_RING_BEHIND;
}

/* Tables that a lookup does not use may be there or not. */
bool
scheme_fits(const struct mcshm_header *h)
{
	if (h->scheme >= MCSHM_SCHEMES)
		return true;
	switch (ways[h->scheme].lookup) {
	case SCHEME_LOOKUP_RING:
	case SCHEME_LOOKUP_RING_BEHIND:
		return h->ring_points > 0;
	case SCHEME_LOOKUP_RENDEZVOUS:
		return h->ring_points >= 2 * (uint64_t)h->servers;
	default:
		return h->buckets > 0;
	}
}

struct scheme_place
scheme_place_of(const unsigned char *base, uint64_t mask,
    const struct mcshm_header *h)
{
	return (struct scheme_place){
		.base = base, .mask = mask,
		.buckets_off = h->buckets_off, .roster_off = h->roster_off,
		.ring_off = h->ring_off, .ring_index_off = h->ring_index_off,
		.set = scheme_setting_of(h),
		.servers = h->servers, .words = h->words,
		.buckets = h->buckets, .ring_points = h->ring_points,
		.ring_index_bits = h->ring_index_bits,
		.roster_stride = h->roster_stride,
	};
}

/* Keys -------------------------------------------------------------------- */

/* The bytes between the first opening and the next closing one, if any. */
static void
key_tag(uint32_t tag, const void **p, size_t *len)
{
	const unsigned char *from, *to;

	from = memchr(*p, (int)(tag & 0xff), *len);
	if (from == NULL)
		return;
	from++;
	to = memchr(from, (int)(tag >> 8),
	    *len - (size_t)(from - (const unsigned char *)*p));
	if (to == NULL || to == from)
		return;
	*p = from;
	*len = (size_t)(to - from);
}

/* twemproxy does not hash an empty key: 0. */
static bool
key_is_0(const struct scheme_setting *s, size_t len)
{
	return len == 0 && (s->scheme == MCSHM_SCHEME_TWEMPROXY_KETAMA ||
	    s->scheme == MCSHM_SCHEME_TWEMPROXY_MODULA);
}

struct scheme_key
scheme_key(const struct scheme_setting *s, const void *p, size_t len)
{
	struct scheme_key k = { .p = p, .len = len };

	if (key_is_0(s, len))
		return k;
	if (s->hash_tag != 0 && len > 0)
		key_tag(s->hash_tag, &p, &len);
	k.h = hash_key(s->hash, s->hash_flags, p, len);
	return k;
}

/* Home -------------------------------------------------------------------- */

static uint32_t
bound(const struct scheme_place *p, uint32_t slot)
{
	return slot < p->servers ? slot : 0;
}

/* The slot of the bucket for h; buckets may be anything, 0 too. */
static uint32_t
bucket_slot(const struct scheme_place *p, enum scheme_lookup lookup,
    uint64_t h)
{
	return bound(p, scheme_bucket(p, scheme_bucket_at(lookup,
	    p->buckets > 0 ? p->buckets : 1, h)));
}

/* The point for h. */
static uint32_t
ring_at(const struct scheme_place *p, enum scheme_lookup lookup, uint32_t h)
{
	const struct scheme_ring r = scheme_ring(p);

	return scheme_ring_at(&r, lookup, h);
}

static uint32_t
ring_slot(const struct scheme_place *p, uint32_t at)
{
	return p->ring_points > 0 ? bound(p, scheme_point_slot(p, at)) : 0;
}

/* Contests ---------------------------------------------------------------- */

/* The high half of a * a, with nothing wider than 64 bits. */
static uint64_t
square_high(uint64_t a)
{
	const uint64_t high = a >> 32, low = a & UINT32_MAX;
	const uint64_t middle = high * low;

	return high * high + ((middle + (low * low >> 33)) >> 31);
}

/*
 * -log2(u / 2^64) in units of 2^-32, 1 at least: the whole part from the place
 * of the first bit, then one bit for each squaring.
 */
static uint64_t
minus_log2(uint64_t u)
{
	const unsigned zeros = (unsigned)__builtin_clzll(u | 1);
	uint64_t m = (u | 1) << zeros;
	uint64_t log2 = (uint64_t)(63 - zeros) << 32;

	for (uint64_t bit = UINT64_C(1) << 31; bit > 0; bit >>= 1) {
		m = square_high(m);
		if (m >> 63)
			log2 |= bit;
		else
			m <<= 1;
	}
	return (UINT64_C(64) << 32) - log2;
}

/* A server in a contest: the tail's, or that of a scheme which is all tail. */
struct entrant {
	uint64_t u;
	uint32_t weight, slot;
};

/* The key as the contest needs it, in room or NULL: once for all entrants. */
static const struct scheme_rendezvous_key *
contest_key(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_rendezvous_key *room)
{
	if (way_of(p)->lookup != SCHEME_LOOKUP_RENDEZVOUS)
		return NULL;
	scheme_rendezvous_key(room, p->set.scheme, k);
	return room;
}

static struct entrant
entrant(const struct scheme_place *p, const struct scheme_key *k,
    const struct scheme_rendezvous_key *r, uint32_t slot)
{
	const uint64_t off = p->roster_off + (uint64_t)slot * p->roster_stride;
	uint64_t ident;
	uint32_t weight = 1;

	if (r != NULL)
		return (struct entrant){
			scheme_rendezvous_score(p, r, slot), 1, slot };
	ident = scheme_load(p->base, p->mask,
	    off + offsetof(struct mcshm_roster, ident_hash));
	if (way_of(p)->weights)
		weight = scheme_load32(p->base, p->mask,
		    off + offsetof(struct mcshm_roster, weight));
	weight = weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
	return (struct entrant){
		scheme_mix(scheme_mix(k->h) ^ ident), weight, slot };
}

/* Whether a beats b, a having the higher slot.  Logarithms only where weights
 * and numbers disagree. */
static bool
entrant_beats(const struct entrant *a, const struct entrant *b)
{
	uint64_t costs_a, costs_b;

	if (a->weight <= b->weight && a->u <= b->u)
		return false;
	if (a->weight >= b->weight && a->u > b->u)
		return true;
	costs_a = minus_log2(a->u) * b->weight;
	costs_b = minus_log2(b->u) * a->weight;
	return costs_a != costs_b ? costs_a < costs_b : a->u > b->u;
}

/* Who may enter: 64 servers of them. */
typedef uint64_t entrants_fn(const struct scheme_place *p, const void *of,
    uint32_t word);

static uint64_t
cut(const struct scheme_place *p, uint32_t word, uint64_t bits)
{
	const uint32_t here = p->servers - word * 64;

	return here < 64 ? bits & ((UINT64_C(1) << here) - 1) : bits;
}

/* The best one's slot; p->servers where nobody entered. */
static uint32_t
contest(const struct scheme_place *p, const struct scheme_key *k,
    entrants_fn *entrants, const void *of)
{
	struct scheme_rendezvous_key room;
	const struct scheme_rendezvous_key *r = contest_key(p, k, &room);
	struct entrant best = { 0, 0, p->servers };

	for (uint32_t w = 0; w * 64 < p->servers; w++) {
		uint64_t bits = cut(p, w, entrants(p, of, w));

		for (; bits != 0; bits &= bits - 1) {
			const struct entrant e = entrant(p, k, r,
			    w * 64 + (uint32_t)__builtin_ctzll(bits));

			if (best.weight == 0 || entrant_beats(&e, &best))
				best = e;
		}
	}
	return best.slot;
}

static uint64_t
all_enter(const struct scheme_place *p, const void *of, uint32_t word)
{
	(void)p;
	(void)of;
	(void)word;
	return UINT64_MAX;
}

static uint32_t
slot_of(const struct scheme_place *p, const struct scheme_key *k,
    enum scheme_lookup lookup, uint64_t h)
{
	switch (lookup) {
	case SCHEME_LOOKUP_RING:
	case SCHEME_LOOKUP_RING_BEHIND:
		return ring_slot(p, ring_at(p, lookup, (uint32_t)h));
	case SCHEME_LOOKUP_RENDEZVOUS:
		return bound(p, contest(p, k, all_enter, NULL));
	default:
		return bucket_slot(p, lookup, h);
	}
}

uint32_t
scheme_home(const struct scheme_place *p, const struct scheme_key *k)
{
	return slot_of(p, k, way_of(p)->lookup, k->h);
}

/* The chain --------------------------------------------------------------- */

static size_t
decimal(char text[DECIMAL_MAX], uint32_t n)
{
	size_t len = 1;

	for (uint32_t m = n; m >= 10; m /= 10)
		len++;
	for (size_t i = len; i-- > 0; n /= 10)
		text[i] = (char)('0' + n % 10);
	return len;
}

static uint32_t
crc_decimal(uint32_t crc, uint32_t n)
{
	char text[DECIMAL_MAX];

	return hash_crc32(crc, text, decimal(text, n));
}

/* hash(key "-" decimal(n)) */
static uint32_t
hash_suffixed(const struct scheme_place *p, const struct scheme_key *k,
    uint32_t n)
{
	const uint32_t flags = p->set.hash_flags, h = (uint32_t)k->h;
	char text[1 + DECIMAL_MAX] = "-";
	const size_t len = 1 + decimal(text + 1, n);

	if (p->set.hash == MCSHM_HASH_CRC32A)
		return hash_crc32(h, text, len);
	return hash_fnv1a_32(h, flags, text, len);
}

/* The next point that is not of the same server. */
static uint32_t
ring_next(const struct scheme_place *p, uint32_t at)
{
	const uint32_t slot = ring_slot(p, at);

	for (uint32_t i = 0; i < RUN_MAX && ring_slot(p, at) == slot; i++)
		at = at + 1 < p->ring_points ? at + 1 : 0;
	return at;
}

/* The hash of try t, from that of the one before. */
static uint64_t
chain_hash(const struct scheme_place *p, const struct scheme_key *k,
    enum chain chain, uint64_t h, uint32_t t)
{
	switch (chain) {
	case CHAIN_DECIMAL:
		return hash_crc15(crc_decimal(
		    crc_decimal(0, scheme_not_0((uint32_t)h)), t - 1));
	case CHAIN_SUM:
		return h + hash_crc15(
		    hash_crc32(crc_decimal(0, t), k->p, k->len));
	case CHAIN_SUFFIX:
		return hash_suffixed(p, k, t - 1);
	case CHAIN_PREFIX:
		return hash_crc32(crc_decimal(0, t - 1), k->p, k->len);
	default:
		return scheme_mix(k->h + t * UINT64_C(0x9e3779b97f4a7c15));
	}
}

void
scheme_walk(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_walk *w)
{
	const struct way *way = way_of(p);

	*w = (struct scheme_walk){ .h = k->h };
	if (way->chain == CHAIN_RING) {
		w->at = ring_at(p, way->lookup, (uint32_t)k->h);
		w->slot = ring_slot(p, w->at);
	} else {
		w->slot = slot_of(p, k, way->lookup, k->h);
	}
}

bool
scheme_walk_next(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_walk *w)
{
	const struct way *way = way_of(p);

	if (w->tries >= way->tries)
		return false;
	w->tries++;
	if (way->chain == CHAIN_RING) {
		w->at = ring_next(p, w->at);
		w->slot = ring_slot(p, w->at);
		return true;
	}
	w->h = chain_hash(p, k, way->chain, w->h, w->tries);
	w->slot = slot_of(p, k, way->chain == CHAIN_SALT ?
	    SCHEME_LOOKUP_SCALE : way->lookup, w->h);
	return true;
}

/* The tail ---------------------------------------------------------------- */

static uint64_t
bitmap_word(const struct scheme_place *p, unsigned bitmap, uint32_t word)
{
	return scheme_load(p->base, p->mask, p->bits_off +
	    ((uint64_t)bitmap * p->words + word) * 8);
}

static uint64_t
usable_word(const struct scheme_place *p, uint32_t word)
{
	const uint64_t usable = bitmap_word(p, p->blind ?
	    MCSHM_BITMAP_READY : MCSHM_BITMAP_USABLE, word);

	if (p->suspect == NULL)
		return usable;
	return usable & ~atomic_load_explicit(&p->suspect[word],
	    memory_order_relaxed);
}

static uint64_t
live_enter(const struct scheme_place *p, const void *of, uint32_t word)
{
	(void)of;
	if (p->blind)
		return usable_word(p, word);
	return usable_word(p, word) | bitmap_word(p, MCSHM_BITMAP_HELD, word);
}

static bool
is_usable(const struct scheme_place *p, uint32_t slot)
{
	return usable_word(p, slot / 64) >> slot % 64 & 1;
}

static bool
is_held(const struct scheme_place *p, uint32_t slot)
{
	return !p->blind &&
	    (bitmap_word(p, MCSHM_BITMAP_HELD, slot / 64) >> slot % 64 & 1);
}

/* How many the key would rather have than this one. */
static uint32_t
better(const struct scheme_place *p, const struct scheme_key *k, uint32_t slot)
{
	struct scheme_rendezvous_key room;
	const struct scheme_rendezvous_key *r = contest_key(p, k, &room);
	const uint64_t u = entrant(p, k, r, slot).u;
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->servers; i++)
		n += entrant(p, k, r, i).u > u;
	return n;
}

static uint32_t
tail_tries(const struct scheme_place *p, const struct scheme_key *k,
    uint32_t slot)
{
	const struct way *way = way_of(p);

	return way->chain == CHAIN_NONE ? better(p, k, slot) : way->tries + 1;
}

int
scheme_pick(const struct scheme_place *p, const struct scheme_key *k,
    struct scheme_choice *c)
{
	struct scheme_walk w;

	scheme_walk(p, k, &w);
	c->home = w.slot;
	do {
		c->slot = w.slot;
		c->tries = w.tries;
		if (is_usable(p, w.slot))
			return MCSHM_OK;
		if (is_held(p, w.slot))
			return MCSHM_EHELD;
	} while (scheme_walk_next(p, k, &w));
	c->slot = contest(p, k, live_enter, NULL);
	if (c->slot < p->servers) {
		c->tries = tail_tries(p, k, c->slot);
		return is_usable(p, c->slot) ? MCSHM_OK : MCSHM_EHELD;
	}
	c->tries = way_of(p)->tries + 1;
	c->slot = c->home;
	return MCSHM_ENONE;
}

/* The order of a set ------------------------------------------------------ */

void
scheme_order(struct scheme_order *o, const struct scheme_place *p,
    const struct scheme_key *k, uint64_t *set)
{
	*o = (struct scheme_order){ .place = p, .key = k, .set = set };
	scheme_walk(p, k, &o->walk);
	o->home = o->walk.slot;
}

static bool
take(struct scheme_order *o, uint32_t slot)
{
	uint64_t *word = &o->set[slot / 64];
	const uint64_t bit = UINT64_C(1) << slot % 64;
	const bool there = (*word & bit) != 0;

	*word &= ~bit;
	return there;
}

static uint64_t
set_enter(const struct scheme_place *p, const void *of, uint32_t word)
{
	const uint64_t *set = of;

	(void)p;
	return set[word];
}

bool
scheme_order_next(struct scheme_order *o, struct scheme_choice *c)
{
	uint32_t slot;

	while (!o->over) {
		*c = (struct scheme_choice){
			o->walk.slot, o->home, o->walk.tries };
		o->over = !scheme_walk_next(o->place, o->key, &o->walk);
		if (take(o, c->slot))
			return true;
	}
	slot = contest(o->place, o->key, set_enter, o->set);
	if (slot >= o->place->servers)
		return false;
	take(o, slot);
	*c = (struct scheme_choice){
		slot, o->home, tail_tries(o->place, o->key, slot) };
	return true;
}
