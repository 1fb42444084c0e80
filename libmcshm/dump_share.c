/*
 * dump_share.c - which part of the keys lives where, and goes where now.
 *
 * A key whose home is usable stays there, and a key whose home is silent goes
 * nowhere; only the others are sampled, and their share is spread in the
 * sample's proportions.  So with all servers up nothing is an estimate, and the
 * shares add up in any case.
 */
#include "dump_share.h"

#include <stdlib.h>
#include <string.h>

#include "dump_home.h"
#include "dump_route.h"
#include "mcshm.h"

/* Sampling ends when so many keys away from home were seen, or so many keys in
 * all: a bound in time, for pools of any size. */
#define SAMPLES_AWAY 16384u
#define SAMPLES_MAX (UINT32_C(1) << 20)

/* What became of the sampled keys that have no usable home. */
struct sample {
	const struct dump_pool *pool;
	double *to;		/* keys for each slot */
	double placed, held, missed;
	uint32_t keys;		/* taken so far */
	uint32_t each;		/* of a stretch of a ring */
	uint32_t stretches;	/* that are away */
	uint32_t step, at;	/* one in so many of these */
};

static bool
is_away(const struct dump_pool *p, const struct scheme_key *k)
{
	const struct dump_server *home = &p->server[scheme_home(&p->place, k)];

	return !home->usable && !home->held;
}

/* 8 bytes of the n-th sample key: they look random, the same in every run. */
static uint64_t
sample_bytes(uint32_t n)
{
	uint64_t z = (n + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void
sample_one(struct sample *s, const struct scheme_key *k, double weight)
{
	struct dump_route r;

	dump_route_key(&r, s->pool, k);
	if (r.error == MCSHM_EHELD) {
		s->held += weight;
	} else if (r.error != MCSHM_OK) {
		s->missed += weight;
	} else {
		s->to[r.slot[r.steps - 1]] += weight;
		s->placed += weight;
	}
}

/* Sums of CRCs, as Cache::Memcached's chain has them, go another way for each
 * length of a key; the others do not care. */
static size_t
sample_length(const struct dump_pool *p, uint32_t n)
{
	return p->place.set.scheme == MCSHM_SCHEME_CACHE_MEMCACHED ?
	    4 + n % 13 : 8;
}

/* Keys as they come. */
static void
sample_keys(struct sample *s)
{
	const struct dump_pool *p = s->pool;
	uint32_t away = 0;

	while (s->keys < SAMPLES_MAX && away < SAMPLES_AWAY) {
		const uint32_t n = s->keys++;
		const uint64_t z[2] = { sample_bytes(n), sample_bytes(~n) };
		const struct scheme_key k = scheme_key(&p->place.set, z,
		    sample_length(p, n));

		if (!is_away(p, &k))
			continue;
		away++;
		sample_one(s, &k, 1);
	}
}

/* Keys of stretches that are away.  Their bytes have nothing to do with their
 * hash, which no chain could tell. */
static void
sample_stretch(void *arg, const struct dump_stretch *stretch)
{
	struct sample *s = arg;
	struct scheme_key k = { "", 0, stretch->h };
	uint64_t z;

	if (!is_away(s->pool, &k) || s->at++ % s->step != 0)
		return;
	for (uint32_t i = 0; i < s->each; i++) {
		z = sample_bytes(s->keys++);
		k = (struct scheme_key){ &z, sizeof z, stretch->h };
		sample_one(s, &k, stretch->part / s->each);
	}
}

static void
count_stretch(void *arg, const struct dump_stretch *stretch)
{
	const struct scheme_key k = { "", 0, stretch->h };
	struct sample *s = arg;

	s->stretches += is_away(s->pool, &k);
}

/* Where every server is ranked anew, those that are left are equal. */
static void
sample_equal(struct sample *s)
{
	const struct dump_pool *p = s->pool;

	if (!p->blind && p->file->h.dead != MCSHM_DEAD_REHASH) {
		s->missed = 1;
		return;
	}
	for (uint32_t i = 0; i < p->servers; i++) {
		s->to[i] = p->server[i].usable;
		s->placed += p->server[i].usable;
		s->held += p->server[i].held && !p->server[i].usable;
	}
}

static void
sample_all(struct sample *s)
{
	const struct dump_pool *p = s->pool;
	const uint32_t hash = p->place.set.hash;

	if (scheme_lookup(p->place.set.scheme) == SCHEME_LOOKUP_RENDEZVOUS) {
		sample_equal(s);
	} else if (!scheme_has_ring(p->place.set.scheme) ||
	    hash == MCSHM_HASH_CRC || hash == MCSHM_HASH_CRC16) {
		sample_keys(s);
	} else {
		dump_home_each(p, count_stretch, s);
		s->each = 1 + SAMPLES_AWAY / (s->stretches + 1);
		s->step = 1 + s->stretches / SAMPLES_AWAY;
		dump_home_each(p, sample_stretch, s);
	}
}

/* A share so small that no sample met it goes to all, by their own shares. */
static void
spread_evenly(struct dump_pool *p, double share)
{
	double at_home = 0;

	for (uint32_t i = 0; i < p->servers; i++)
		at_home += p->server[i].now;
	if (at_home > 0)
		for (uint32_t i = 0; i < p->servers; i++)
			p->server[i].now *= 1 + share / at_home;
	else
		p->missed += share;
}

static void
spread(struct dump_pool *p, const struct sample *s, double share)
{
	const double all = s->placed + s->held + s->missed;
	const double one = all > 0 ? share / all : 0;

	for (uint32_t i = 0; i < p->servers; i++)
		p->server[i].now += s->to[i] * one;
	p->rehashed = s->placed * one;
	p->held += s->held * one;
	p->missed = s->missed * one;
	if (all <= 0 && p->usable > 0) {
		p->rehashed = share;
		spread_evenly(p, share);
	}
}

/* What stays at home, or goes nowhere; the rest is returned. */
static double
keep_home(struct dump_pool *p)
{
	double away = 0;

	p->held = 0;
	for (uint32_t i = 0; i < p->servers; i++) {
		struct dump_server *s = &p->server[i];

		s->now = s->usable ? s->home : 0;
		if (s->held && !s->usable)
			p->held += s->home;
		else if (!s->usable)
			away += s->home;
	}
	return away;
}

int
dump_share(struct dump_pool *p)
{
	struct sample s = { .pool = p };
	double away;

	if (dump_home(p) < 0)
		return -1;
	if (p->usable == 0) {		/* answered without hashing */
		p->missed = 1;
		return 0;
	}
	away = keep_home(p);
	if (away <= 0)
		return 0;
	s.to = calloc(p->servers, sizeof *s.to);
	if (s.to == NULL)
		return -1;
	sample_all(&s);
	spread(p, &s, away);
	free(s.to);
	return 0;
}
