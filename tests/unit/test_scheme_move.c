/*
 * test_scheme_move.c - which keys move when servers go and come, and where to.
 *
 * All schemes, by one property from which the rest follows: each key has an
 * order of all servers that nothing changes, and lives on the first of them
 * that is not down.  So no key of a usable server ever moves, no key leaves a
 * server because another one went or came that it would not rather have, all
 * is as before when a server is back, somebody is found while there is
 * anybody, and two processes that see the same verdicts agree.
 *
 * Where the keys of a dead server go is statistics: chi-square where a scheme
 * draws anew, the exact arcs where it goes on along a ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mcshm.h"
#include "mkplace.h"
#include "scheme_inline.h"

#define DOWN MKPLACE_DOWN
#define USABLE MKPLACE_USABLE
#define HELD MKPLACE_HELD

#define MANY 300u		/* servers at most, here */

static uint32_t
weight_mixed(uint32_t i)
{
	return 1 + i % 7 * 3;
}

/* The order --------------------------------------------------------------- */

struct order {
	uint32_t n;
	struct scheme_choice c[MANY];
};

/* All servers in the order of a key. */
static void
order_of(struct order *o, const struct mkplace *p, const struct scheme_key *k)
{
	uint64_t set[MANY / 64 + 1];
	struct scheme_order walk;
	struct scheme_choice c;

	memset(set, 0xff, sizeof set);
	scheme_order(&walk, &p->place, k, set);
	for (o->n = 0; scheme_order_next(&walk, &c); o->n++) {
		assert_true(o->n < p->plan.n);
		o->c[o->n] = c;
	}
}

/* The order may not know who is down: that is what a place without bitmaps is
 * for.  Its first is the home, each server is in it once. */
static void
check_order(const struct order *o, const struct mkplace *p,
    const struct scheme_key *k)
{
	bool seen[MANY] = { false };

	assert_int_equal(o->n, p->plan.n);
	assert_int_equal(o->c[0].slot, scheme_home(&p->place, k));
	for (uint32_t i = 0; i < o->n; i++) {
		assert_int_equal(o->c[i].home, o->c[0].slot);
		assert_true(i == 0 ? o->c[i].tries == 0 :
		    o->c[i].tries >= o->c[i - 1].tries);
		assert_false(seen[o->c[i].slot]);
		seen[o->c[i].slot] = true;
	}
}

/* The property itself. */
static void
check_first(const struct order *o, const struct mkplace *p,
    const struct scheme_key *k)
{
	struct scheme_choice c;
	const int err = scheme_pick(&p->place, k, &c);
	uint32_t i = 0;

	while (i < o->n && mkplace_state(p, o->c[i].slot) == DOWN)
		i++;
	assert_int_equal(c.home, o->c[0].slot);
	if (i == o->n) {
		assert_int_equal(err, MCSHM_ENONE);
		return;
	}
	assert_int_equal(err, mkplace_state(p, o->c[i].slot) == USABLE ?
	    MCSHM_OK : MCSHM_EHELD);
	assert_int_equal(c.slot, o->c[i].slot);
	assert_int_equal(c.tries, o->c[i].tries);
}

/* Every state of a small pool. */
static void
all_states(struct mkplace *p, unsigned keys)
{
	const uint32_t n = p->plan.n;
	uint32_t states = 1;

	for (uint32_t i = 0; i < n; i++)
		states *= 3;
	for (unsigned i = 0; i < keys; i++) {
		char text[32];
		const struct scheme_key k = mkplace_key(p, text, i);
		struct order o;

		order_of(&o, p, &k);
		check_order(&o, p, &k);
		for (uint32_t s = 0; s < states; s++) {
			for (uint32_t j = 0, left = s; j < n; j++, left /= 3)
				mkplace_set(p, j,
				    (enum mkplace_state)(left % 3));
			check_first(&o, p, &k);
		}
	}
}

static void
test_all_states(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++)
		for (uint32_t n = 1; n <= 6; n++) {
			struct mkplace *p = mkplace_new(&set, n,
			    weight_mixed);

			all_states(p, 20);
			mkplace_free(p);
		}
}

/* Up to all but a few down, some held. */
static void
random_state(struct mkplace *p, uint64_t seed)
{
	const uint64_t down = scheme_mix(seed) % 101;
	const uint64_t held = scheme_mix(seed + 1) % 3 * 10;

	for (uint32_t i = 0; i < p->plan.n; i++) {
		const uint64_t r = scheme_mix(seed * 1000003 + i);

		mkplace_set(p, i, r % 100 < down ? DOWN :
		    r / 100 % 100 < held ? HELD : USABLE);
	}
}

static void
random_states(struct mkplace *p, unsigned keys, unsigned states)
{
	for (unsigned i = 0; i < keys; i++) {
		char text[32];
		const struct scheme_key k = mkplace_key(p, text, i);
		struct order o;

		order_of(&o, p, &k);
		check_order(&o, p, &k);
		for (unsigned s = 0; s < states; s++) {
			random_state(p, i * states + s);
			check_first(&o, p, &k);
		}
	}
}

static void
test_random_states(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++)
		for (uint32_t n = 40; n <= MANY; n += 130) {
			struct mkplace *p = mkplace_new(&set, n,
			    weight_mixed);

			random_states(p, 40, 25);
			mkplace_free(p);
		}
}

/* The servers of a key go one after the other, and come back in another
 * order; who is left is always the next of its order. */
static void
go_and_come(struct mkplace *p, const struct scheme_key *k)
{
	struct order o;

	mkplace_set_all(p, USABLE);
	order_of(&o, p, k);
	for (uint32_t i = 0; i < o.n; i++) {
		check_first(&o, p, k);
		mkplace_set(p, o.c[i].slot, DOWN);
	}
	check_first(&o, p, k);
	for (uint32_t i = 0; i < o.n; i++) {
		mkplace_set(p, o.c[(i * 7 + 3) % o.n].slot, USABLE);
		check_first(&o, p, k);
	}
}

static void
test_one_after_the_other(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *p = mkplace_new(&set, 50, weight_mixed);

		for (unsigned j = 0; j < 100; j++) {
			char text[32];
			const struct scheme_key k = mkplace_key(p, text, j);

			go_and_come(p, &k);
		}
		mkplace_free(p);
	}
}

/* Of some servers only: in the same order as among all. */
static void
check_subset(const struct mkplace *p, const struct scheme_key *k,
    const uint64_t *some)
{
	uint64_t set[MANY / 64 + 1];
	struct scheme_order walk;
	struct scheme_choice c;
	struct order o;

	order_of(&o, p, k);
	memcpy(set, some, sizeof set);
	scheme_order(&walk, &p->place, k, set);
	for (uint32_t i = 0; i < o.n; i++) {
		if (!(some[o.c[i].slot / 64] >> o.c[i].slot % 64 & 1))
			continue;
		assert_true(scheme_order_next(&walk, &c));
		assert_memory_equal(&c, &o.c[i], sizeof c);
	}
	assert_false(scheme_order_next(&walk, &c));
}

static void
test_order_of_some(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *p = mkplace_new(&set, 100, weight_mixed);

		for (unsigned j = 0; j < 100; j++) {
			uint64_t some[MANY / 64 + 1];
			char text[32];
			const struct scheme_key k = mkplace_key(p, text, j);

			for (uint64_t w = 0; w <= MANY / 64; w++)
				some[w] = scheme_mix(j * 10 + w) &
				    scheme_mix(j * 10 + w + 5) &
				    (j % 2 ? scheme_mix(j) : UINT64_MAX);
			check_subset(p, &k, some);
		}
		mkplace_free(p);
	}
}

/* The same file elsewhere in memory, in another process, say. */
static void
test_elsewhere(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *a = mkplace_new(&set, 70, weight_mixed);
		struct mkplace *b = mkplace_new(&set, 70, weight_mixed);

		assert_memory_equal(a->memory, b->memory, a->place.mask + 1);
		assert_ptr_not_equal(a->memory, b->memory);
		for (unsigned j = 0; j < 500; j++) {
			char text[2][32];
			const struct scheme_key ka = mkplace_key(a, text[0], j);
			const struct scheme_key kb = mkplace_key(b, text[1], j);
			struct scheme_choice ca, cb;

			random_state(a, j / 20);
			random_state(b, j / 20);
			assert_int_equal(scheme_pick(&a->place, &ka, &ca),
			    scheme_pick(&b->place, &kb, &cb));
			assert_memory_equal(&ca, &cb, sizeof ca);
		}
		mkplace_free(a);
		mkplace_free(b);
	}
}

/* Where they go ----------------------------------------------------------- */

#define DRAWS 60000u
#define HASHES 4294967296.0

/* Keys that are not at home. */
struct spread {
	double got[MANY];
	double sum;
};

/* How many keys differ in what a chain knows of them. */
static uint32_t
draws(const struct mkplace *p)
{
	switch (p->place.set.hash) {
	case MCSHM_HASH_CRC:
		return p->place.set.scheme == MCSHM_SCHEME_CACHE_MEMCACHED ?
		    DRAWS : UINT32_C(1) << 15;
	case MCSHM_HASH_CRC16:
		return UINT32_C(1) << 16;
	default:
		return DRAWS;
	}
}

/*
 * A key of 8 to 47 bytes.  Where the chain goes on from the hash alone, that is
 * one of all that there are, each of them once: how good the hash is, is not
 * asked here.
 */
static struct scheme_key
draw(const struct mkplace *p, uint64_t bytes[6], uint32_t i)
{
	struct scheme_key k;

	for (uint64_t j = 0; j < 6; j++)
		bytes[j] = scheme_mix(i * UINT64_C(6) + j);
	k = scheme_key(&p->place.set, bytes, 8 + bytes[0] % 40);
	if (draws(p) < DRAWS)
		k.h = i;
	else if (p->place.set.hash == MCSHM_HASH_CRC32A ||
	    p->place.set.hash == MCSHM_HASH_FNV1A_32)
		k.h = (uint32_t)scheme_mix(i);
	return k;
}

/* least: of the tries that count. */
static void
spread_of(struct spread *s, const struct mkplace *p, uint32_t least)
{
	*s = (struct spread){ .sum = 0 };
	for (uint32_t i = 0; i < draws(p); i++) {
		uint64_t bytes[6];
		const struct scheme_key k = draw(p, bytes, i);
		struct scheme_choice c;

		assert_int_equal(scheme_pick(&p->place, &k, &c), MCSHM_OK);
		if (c.slot == c.home || c.tries < least)
			continue;
		s->got[c.slot]++;
		s->sum++;
	}
}

/* What part of them each usable server should have had, from anything that is
 * in proportion to it: the rest is 0. */
static void
among_usable(double share[MANY], const struct mkplace *p)
{
	double all = 0;

	for (uint32_t i = 0; i < p->plan.n; i++)
		if (mkplace_state(p, i) == USABLE)
			all += share[i];
	for (uint32_t i = 0; i < p->plan.n; i++)
		share[i] = mkplace_state(p, i) == USABLE ? share[i] / all : 0;
}

/* Chi-square, with a bound at about 6 sigma. */
static void
assert_spread(const struct spread *s, const struct mkplace *p,
    const double share[MANY])
{
	double chi = 0, others = -1, bound;

	for (uint32_t i = 0; i < p->plan.n; i++) {
		const double want = s->sum * share[i];

		if (share[i] <= 0) {
			assert_true(s->got[i] <= 0);
			continue;
		}
		chi += (s->got[i] - want) * (s->got[i] - want) / want;
		others++;
	}
	bound = others + 6 * sqrt(2 * others) + 6;
	if (s->sum < 500 || !(chi < bound))
		fail_msg("%s, hash %s: %.0f keys, chi-square %.1f of %.0f",
		    scheme_name(p->place.set.scheme),
		    scheme_hash_name(p->place.set.hash), s->sum, chi, bound);
}

/* Everybody's part between these multiples of what it should be. */
static void
assert_near(const struct spread *s, const struct mkplace *p,
    const double share[MANY], double least, double most)
{
	for (uint32_t i = 0; i < p->plan.n; i++) {
		const double part = s->got[i] / (s->sum * share[i]);

		if (share[i] > 0 && (part < least || part > most))
			fail_msg("%s, hash %s: server %u has %.2f times its "
			    "part", scheme_name(p->place.set.scheme),
			    scheme_hash_name(p->place.set.hash), i, part);
	}
}

static void
by_weight(double share[MANY], const struct mkplace *p)
{
	for (uint32_t i = 0; i < p->plan.n; i++)
		share[i] = scheme_has_weights(p->place.set.scheme) ?
		    p->server[i].weight : 1;
	among_usable(share, p);
}

/* As the tables have it, of which each try is a draw. */
static void
by_table(double share[MANY], const struct mkplace *p)
{
	const uint32_t n = p->place.ring_points;

	memset(share, 0, MANY * sizeof *share);
	for (uint32_t i = 0; i < p->place.buckets; i++)
		share[p->bucket[i]]++;
	/* dalli's arcs lie behind their points. */
	for (uint32_t i = 0; p->place.set.scheme == MCSHM_SCHEME_DALLI &&
	    i < n; i++)
		share[p->ring[i].slot] +=
		    p->ring[(i + 1) % n].point - p->ring[i].point;
	among_usable(share, p);
}

static void
down_of(struct mkplace *p, bool several)
{
	mkplace_set_all(p, USABLE);
	mkplace_set(p, 3, DOWN);
	if (several) {
		mkplace_set(p, 6, DOWN);
		mkplace_set(p, 0, DOWN);
	}
}

static bool
is_loose(uint32_t scheme)
{
	return scheme == MCSHM_SCHEME_CACHE_MEMCACHED ||
	    scheme == MCSHM_SCHEME_PHP_MEMCACHE_STANDARD ||
	    scheme == MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT;
}

static bool
is_along_ring(uint32_t scheme)
{
	return scheme_has_ring(scheme) && scheme != MCSHM_SCHEME_DALLI;
}

/*
 * Salted tries, and the chains of clients whose tries have little to do with
 * each other: by weight, and to the last digit as the tables have it.
 */
static void
check_drawn(struct mkplace *p)
{
	const uint32_t scheme = p->place.set.scheme;
	struct spread s;
	double share[MANY];

	spread_of(&s, p, 0);
	by_weight(share, p);
	if (scheme != MCSHM_SCHEME_DALLI)
		assert_spread(&s, p, share);
	else
		assert_near(&s, p, share, 0.7, 1.4);
	if (scheme == MCSHM_SCHEME_MAGLEV || scheme == MCSHM_SCHEME_DALLI) {
		by_table(share, p);
		assert_spread(&s, p, share);
	}
}

static void
test_spread_drawn(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *p = mkplace_new(&set, 12, weight_mixed);

		for (int several = 0; several < 2; several++) {
			down_of(p, several);
			if (!is_loose(set.scheme) &&
			    !is_along_ring(set.scheme))
				check_drawn(p);
		}
		mkplace_free(p);
	}
}

/*
 * The tries of the others hang together: Cache::Memcached's are sums of CRCs,
 * and those of pecl-memcache, hashes of texts that differ in one digit.  Ours
 * are theirs, key for key; so it is no more than seen that nobody is flooded.
 */
static void
test_spread_of_loose_chains(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *p = mkplace_new(&set, 12, weight_mixed);

		for (int several = 0; several < 2; several++) {
			struct spread s;
			double share[MANY];

			down_of(p, several);
			spread_of(&s, p, 0);
			by_table(share, p);
			if (is_loose(set.scheme))
				assert_near(&s, p, share, 0.6, 1.7);
		}
		mkplace_free(p);
	}
}

/* A ring of which a hash of 15 bits meets but the first few points. */
static bool
is_stuck(const struct scheme_setting *set)
{
	return is_along_ring(set->scheme) && set->hash == MCSHM_HASH_CRC;
}

/* The owner of the next point of a usable server. */
static uint32_t
heir(const struct mkplace *p, uint32_t at)
{
	while (mkplace_state(p, p->ring[at].slot) != USABLE)
		at = at + 1 < p->place.ring_points ? at + 1 : 0;
	return p->ring[at].slot;
}

/* Each arc, the hashes up to its point, goes on to the next one. */
static void
by_arcs(double share[MANY], const struct mkplace *p)
{
	const uint32_t n = p->place.ring_points;

	memset(share, 0, MANY * sizeof *share);
	for (uint32_t i = 0; i < n; i++)
		if (mkplace_state(p, p->ring[i].slot) != USABLE)
			share[heir(p, i)] += p->ring[i].point -
			    p->ring[i > 0 ? i - 1 : n - 1].point;
	among_usable(share, p);
}

/* Exactly so; and what that means for those who inherit: a few dozen arcs each,
 * or in a large pool one or two. */
static void
check_along_ring(struct mkplace *p, double least, double most)
{
	struct spread s;
	double share[MANY];

	spread_of(&s, p, 0);
	by_arcs(share, p);
	assert_spread(&s, p, share);
	by_weight(share, p);
	assert_near(&s, p, share, least, most);
}

static void
test_spread_along_ring(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *p;

		if (!is_along_ring(set.scheme) || is_stuck(&set))
			continue;
		p = mkplace_new(&set, 12, weight_mixed);
		for (int several = 0; several < 2; several++) {
			down_of(p, several);
			check_along_ring(p, 0.3, 3);
		}
		mkplace_free(p);
		p = mkplace_new(&set, 100, NULL);
		down_of(p, true);
		check_along_ring(p, 0, 8);
		mkplace_free(p);
	}
}

/* Three of many are left: the tail decides, by weight. */
static void
check_tail(struct mkplace *p)
{
	const struct scheme_key k = { "", 0, 1 };
	struct scheme_walk w;
	struct spread s;
	double share[MANY];

	mkplace_set_all(p, DOWN);
	for (uint32_t j = 1; j <= 3; j++)
		mkplace_set(p, 41 * j, USABLE);
	scheme_walk(&p->place, &k, &w);
	while (scheme_walk_next(&p->place, &k, &w))
		;
	spread_of(&s, p, w.tries + 1);
	by_weight(share, p);
	if (p->place.set.scheme == MCSHM_SCHEME_CACHE_MEMCACHED)
		assert_near(&s, p, share, 0.9, 1.1);
	else
		assert_spread(&s, p, share);
}

static void
test_spread_of_tail(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct mkplace *p = mkplace_new(&set, MANY, weight_mixed);

		if (!is_stuck(&set))
			check_tail(p);
		mkplace_free(p);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_states),
		cmocka_unit_test(test_random_states),
		cmocka_unit_test(test_one_after_the_other),
		cmocka_unit_test(test_order_of_some),
		cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_spread_drawn),
		cmocka_unit_test(test_spread_of_loose_chains),
		cmocka_unit_test(test_spread_along_ring),
		cmocka_unit_test(test_spread_of_tail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
