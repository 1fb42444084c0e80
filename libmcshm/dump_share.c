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

#include "dump_route.h"
#include "mcshm.h"

/* Sampling ends when so many keys away from home were seen, or so many keys in
 * all: a bound in time, for pools of any size. */
#define SAMPLES_AWAY 16384u
#define SAMPLES_MAX (UINT32_C(1) << 20)

/* What became of the sampled keys that have no usable home. */
struct sample {
	uint32_t *to;		/* keys for each slot */
	uint32_t placed, held, missed;
};

static int
count_home(struct dump_pool *p)
{
	const uint16_t *bucket = dump_file_buckets(p->file);
	const uint32_t buckets = p->file->h.buckets;
	uint32_t *count = calloc(p->servers, sizeof *count);

	if (count == NULL)
		return -1;
	for (uint32_t i = 0; i < buckets; i++)
		if (bucket[i] < p->servers)
			count[bucket[i]]++;
	for (uint32_t i = 0; i < p->servers; i++)
		p->server[i].home = (double)count[i] / buckets;
	free(count);
	return 0;
}

/* The n-th sample key's hash, taken by the pool's own key hash: 8 bytes that
 * look random, the same in every run. */
static uint64_t
sample_hash(const struct dump_pool *p, uint32_t n)
{
	uint64_t z = (n + UINT64_C(1)) * UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return scheme_key(p->place.hash, &z, sizeof z);
}

static void
sample_one(struct sample *s, const struct dump_pool *p, uint64_t h)
{
	struct dump_route r;

	dump_route_hash(&r, p, h);
	if (r.error == MCSHM_EHELD) {
		s->held++;
	} else if (r.error != MCSHM_OK) {
		s->missed++;
	} else {
		s->to[r.slot[r.steps - 1]]++;
		s->placed++;
	}
}

static void
sample_all(struct sample *s, const struct dump_pool *p)
{
	uint32_t away = 0;

	for (uint32_t i = 0; i < SAMPLES_MAX && away < SAMPLES_AWAY; i++) {
		const uint64_t h = sample_hash(p, i);
		const struct dump_server *home =
		    &p->server[scheme_try(&p->place, h, 0)];

		if (home->usable || home->held)
			continue;
		away++;
		sample_one(s, p, h);
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
	const uint32_t all = s->placed + s->held + s->missed;
	const double one = all > 0 ? share / all : 0;

	for (uint32_t i = 0; i < p->servers; i++)
		p->server[i].now += s->to[i] * one;
	p->rehashed = s->placed * one;
	p->held += s->held * one;
	p->missed = s->missed * one;
	if (all == 0 && p->usable > 0) {
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
	struct sample s = { 0 };
	double away;

	if (count_home(p) < 0)
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
	sample_all(&s, p);
	spread(p, &s, away);
	free(s.to);
	return 0;
}
