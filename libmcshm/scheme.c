/*
 * scheme.c - how a key becomes a server; pure.
 *
 * The salted tries and the tail are the same in both schemes:
 *
 *   try t      mix(h + t * 0x9e3779b97f4a7c15), scaled to the buckets
 *   the tail   of the servers that are usable or held, the one with the
 *              smallest -log2(u) / weight, where u = mix(mix(h) ^ ident_hash),
 *              read as a fraction of 2^64: highest random weight.  Ties: the
 *              larger u, then the lower slot.
 *
 * All of it in integers, so that every machine and language agrees.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "hash_one_at_a_time.h"
#include "hash_xxh3.h"
#include "mcshm.h"
#include "scheme.h"
#include "scheme_inline.h"
#include "scheme_maglev.h"

#define WEIGHT_MAX 1000u

/* One row is all there is to know of a scheme, but its code. */
static const struct scheme {
	const char *name;
	uint32_t scheme, hash;
	bool repeats, weights, names;
} schemes[] = {
	{ "maglev", MCSHM_SCHEME_MAGLEV, MCSHM_HASH_XXH3,
	    false, true, true },
	{ "libmemcached-modula", MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	    MCSHM_HASH_ONE_AT_A_TIME, true, false, false },
};

static const struct {
	const char *name;
	uint32_t hash;
} hashes[] = {
	{ "xxh3", MCSHM_HASH_XXH3 },
	{ "one_at_a_time", MCSHM_HASH_ONE_AT_A_TIME },
};

#define ROWS(table) (sizeof(table) / sizeof *(table))

/* Names ------------------------------------------------------------------- */

static const struct scheme *
scheme_row(uint32_t scheme)
{
	for (size_t i = 0; i < ROWS(schemes); i++)
		if (schemes[i].scheme == scheme)
			return &schemes[i];
	return NULL;
}

uint32_t
scheme_by_name(const char *name)
{
	for (size_t i = 0; i < ROWS(schemes); i++)
		if (strcmp(schemes[i].name, name) == 0)
			return schemes[i].scheme;
	return 0;
}

const char *
scheme_name(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row ? row->name : NULL;
}

uint32_t
scheme_hash_by_name(const char *name)
{
	for (size_t i = 0; i < ROWS(hashes); i++)
		if (strcmp(hashes[i].name, name) == 0)
			return hashes[i].hash;
	return 0;
}

const char *
scheme_hash_name(uint32_t hash)
{
	for (size_t i = 0; i < ROWS(hashes); i++)
		if (hashes[i].hash == hash)
			return hashes[i].name;
	return NULL;
}

uint32_t
scheme_default_hash(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row ? row->hash : 0;
}

bool
scheme_takes_hash(uint32_t scheme, uint32_t hash)
{
	return hash != 0 && scheme_default_hash(scheme) == hash;
}

bool
scheme_allows_repeats(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->repeats;
}

bool
scheme_has_weights(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->weights;
}

int
scheme_ident(uint32_t scheme, const char *name, const char *address,
    char ident[272])
{
	const struct scheme *row = scheme_row(scheme);
	const bool named = row && row->names && name[0] != '\0';
	const int len = snprintf(ident, 272, "%s", named ? name : address);

	return len < 272 ? len : -1;
}

/* Placement --------------------------------------------------------------- */

uint32_t
scheme_buckets(uint32_t scheme, uint32_t n)
{
	switch (scheme) {
	case MCSHM_SCHEME_MAGLEV:
		return scheme_maglev_buckets();
	case MCSHM_SCHEME_LIBMEMCACHED_MODULA:
		return n;
	default:
		return 0;
	}
}

size_t
scheme_scratch(uint32_t scheme, uint32_t n)
{
	return scheme == MCSHM_SCHEME_MAGLEV ? scheme_maglev_scratch(n) : 0;
}

void
scheme_build(uint32_t scheme, const struct scheme_server *server, uint32_t n,
    uint16_t *bucket, void *scratch)
{
	assert(1 <= n && n <= MCSHM_MAX_SERVERS);
	assert(scheme_row(scheme) != NULL);

	if (scheme == MCSHM_SCHEME_MAGLEV) {
		scheme_maglev_build(server, n, bucket, scratch);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		bucket[i] = (uint16_t)i;
}

/* Choice ------------------------------------------------------------------ */

uint64_t
scheme_key(uint32_t hash, const void *key, size_t len)
{
	return hash == MCSHM_HASH_ONE_AT_A_TIME ?
	    hash_one_at_a_time(key, len) : hash_xxh3(key, len, 0);
}

uint64_t
scheme_text_hash(const void *p, size_t len)
{
	return hash_xxh3(p, len, 0);
}

/* Slots are the servers' numbers whatever the table says: callers index their
 * own arrays with them. */
uint32_t
scheme_try(const struct scheme_place *p, uint64_t h, uint32_t t)
{
	const uint32_t b = scheme_bucket(p->scheme, h, t, p->buckets);
	const uint32_t slot = scheme_load16(p->base, p->mask,
	    p->buckets_off + 2 * (uint64_t)b);

	return slot < p->servers ? slot : 0;
}

static uint64_t
bitmap_off(const struct scheme_place *p, unsigned bitmap)
{
	return p->bits_off + (uint64_t)bitmap * p->words * 8;
}

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

/* A server in the tail's contest. */
struct entrant {
	uint64_t u;
	uint32_t weight, slot;
};

static struct entrant
entrant(const struct scheme_place *p, uint64_t mixed, uint32_t slot)
{
	const uint64_t off = p->roster_off + (uint64_t)slot * p->roster_stride;
	const uint64_t ident = scheme_load(p->base, p->mask,
	    off + offsetof(struct mcshm_roster, ident_hash));
	uint32_t weight = 1;

	if (p->scheme == MCSHM_SCHEME_MAGLEV)
		weight = scheme_load32(p->base, p->mask,
		    off + offsetof(struct mcshm_roster, weight));
	weight = weight < 1 ? 1 : weight > WEIGHT_MAX ? WEIGHT_MAX : weight;
	return (struct entrant){ scheme_mix(mixed ^ ident), weight, slot };
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

static uint64_t
live_word(const struct scheme_place *p, uint32_t w)
{
	const uint64_t off = w * UINT64_C(8);
	const uint32_t here = p->servers - w * 64;
	uint64_t live;

	if (p->blind)
		live = scheme_load(p->base, p->mask,
		    bitmap_off(p, MCSHM_BITMAP_READY) + off);
	else
		live = scheme_load(p->base, p->mask,
			   bitmap_off(p, MCSHM_BITMAP_USABLE) + off) |
		    scheme_load(p->base, p->mask,
			bitmap_off(p, MCSHM_BITMAP_HELD) + off);
	return here < 64 ? live & ((UINT64_C(1) << here) - 1) : live;
}

/* The server that the tail finds; p->servers if there is none. */
static uint32_t
tail(const struct scheme_place *p, uint64_t h)
{
	const uint64_t mixed = scheme_mix(h);
	struct entrant best = { 0, 0, p->servers };

	for (uint32_t w = 0; w * 64 < p->servers; w++) {
		uint64_t live = live_word(p, w);

		for (; live != 0; live &= live - 1) {
			const uint32_t slot =
			    w * 64 + (uint32_t)__builtin_ctzll(live);
			const struct entrant e = entrant(p, mixed, slot);

			if (best.weight == 0 || entrant_beats(&e, &best))
				best = e;
		}
	}
	return best.slot;
}

static bool
is_usable(const struct scheme_place *p, uint32_t slot)
{
	return scheme_bit(p->base, p->mask, bitmap_off(p,
	    p->blind ? MCSHM_BITMAP_READY : MCSHM_BITMAP_USABLE), slot);
}

static bool
is_held(const struct scheme_place *p, uint32_t slot)
{
	return !p->blind && scheme_bit(p->base, p->mask,
	    bitmap_off(p, MCSHM_BITMAP_HELD), slot);
}

int
scheme_pick(const struct scheme_place *p, uint64_t h, struct scheme_choice *c)
{
	c->home = scheme_try(p, h, 0);
	c->slot = c->home;
	for (c->tries = 0;; c->tries++) {
		if (is_usable(p, c->slot))
			return MCSHM_OK;
		if (is_held(p, c->slot))
			return MCSHM_EHELD;
		if (c->tries == SCHEME_TRIES)
			break;
		c->slot = scheme_try(p, h, c->tries + 1);
	}
	c->tries++;
	c->slot = tail(p, h);
	if (c->slot < p->servers)
		return is_usable(p, c->slot) ? MCSHM_OK : MCSHM_EHELD;
	c->slot = c->home;
	return MCSHM_ENONE;
}
