/*
 * pick.c - what a pick costs, beside the least that any placement table can
 * cost: XXH3 of the key, inlined, and one load from a table of the same size.
 *
 *	pick [-q]		rows of the table
 *	pick count SIDE N	SIDE (floor, least or pick) once over all keys,
 *				N servers; for callgrind, which counts what
 *				happens in measure_SIDE()
 *
 * Both sides have the same keys, in the same process, in turns of a fraction
 * of a millisecond; the best turn of each counts, as other work on the machine
 * can only slow a turn down.  The keys come in another order in each round, the
 * same for both sides: else the branch predictor learns by heart how long each
 * of them is, and which of them is away from home.
 *
 * The library is called as an application does, in libmcshm.so.  How much of
 * the difference is the price of a call and of a choice in a struct, and how
 * much that of verdicts which may change at any time, is seen beside least.c, a
 * library function without verdicts.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "keys.h"
#include "least.h"
#include "mcshm.h"
#include "pool.h"
#include "scheme_inline.h"
#include "scheme_maglev.h"

#define KEYS 8192u		/* a power of two */

struct side {
	struct keys_one *key;
	uint16_t *table;	/* of the floor, */
	uint32_t buckets;
	struct least least;	/* and as least.c takes it */
	struct mcshm *m;	/* of the pick */
	uint32_t away;		/* keys that are not at home */
	uint32_t first, step;	/* their order; step is odd */
	uint64_t sink;
};

static inline const struct keys_one *
key_at(const struct side *s, uint32_t i)
{
	return &s->key[(s->first + i * s->step) % KEYS];
}

static inline uint32_t
bucket(const struct side *s, uint32_t i)
{
	const struct keys_one *k = key_at(s, i);
	const uint64_t h = XXH3_64bits(k->text, k->len);

	return (uint32_t)XXH_mult64to128(h, s->buckets).high64;
}

static inline uint32_t
wait_for(uint32_t slot)
{
	__asm__("" : "+r" (slot));
	return slot >> 16;
}

static __attribute__((noinline)) void
measure_floor(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		sum += s->table[bucket(s, i)];
	s->sink += sum;
}

/* The same, each key after the answer to the one before: `wait` is 0, but the
 * processor has to see that for itself. */
static __attribute__((noinline)) void
measure_floor_waiting(struct side *s)
{
	uint32_t slot = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		slot = s->table[bucket(s, i + wait_for(slot))];
	s->sink += slot;
}

static __attribute__((noinline)) void
measure_least(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		const struct keys_one *k = key_at(s, i);
		struct mcshm_choice c;

		if (least_pick(&s->least, k->text, k->len, &c) < 0)
			errx(1, "%s: no server", k->text);
		sum += c.slot;
	}
	s->sink += sum;
}

static __attribute__((noinline)) void
measure_pick(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		const struct keys_one *k = key_at(s, i);
		struct mcshm_choice c;

		if (mcshm_pick(s->m, k->text, k->len, &c) < 0)
			errx(1, "%s: no server", k->text);
		sum += c.slot;
	}
	s->sink += sum;
}

static __attribute__((noinline)) void
measure_pick_waiting(struct side *s)
{
	struct mcshm_choice c = { 0 };

	for (uint32_t i = 0; i < KEYS; i++) {
		const struct keys_one *k = key_at(s, i + wait_for(c.slot));

		if (mcshm_pick(s->m, k->text, k->len, &c) < 0)
			errx(1, "%s: no server", k->text);
	}
	s->sink += c.slot;
}

/* A reading of the clock that tells stale from fresh. */
static __attribute__((noinline)) void
measure_clock(struct side *s)
{
	struct timespec t;

	for (uint32_t i = 0; i < KEYS; i++) {
		clock_gettime(CLOCK_BOOTTIME, &t);
		s->sink += (uint64_t)t.tv_nsec;
	}
}

static void
best(double *least, void (*measure)(struct side *), struct side *s)
{
	const uint64_t began = bench_ns();
	double ns;

	measure(s);
	ns = (double)(bench_ns() - began) / KEYS;
	if (*least == 0 || ns < *least)
		*least = ns;
}

static void
side_open(struct side *s, struct pool *p, uint32_t n, uint32_t down)
{
	int e;

	*s = (struct side){ .step = 1,
		.buckets = scheme_maglev_buckets() };
	s->key = calloc(KEYS, sizeof *s->key);
	s->table = calloc(s->buckets, sizeof *s->table);
	if (s->key == NULL || s->table == NULL)
		err(1, "calloc");
	keys_make(s->key, KEYS);
	for (uint32_t i = 0; i < s->buckets; i++)
		s->table[i] = (uint16_t)(scheme_mix(i) % n);
	s->least = (struct least){ s->table, s->buckets };
	pool_open(p, n);
	for (uint32_t i = 0; i < down; i++)
		pool_verdict(p, i * (n / down), MCSHM_DOWN);
	pool_publish_wait(p);
	if ((e = mcshm_open(&s->m, p->path, 0)) < 0)
		errx(1, "%s: %s", p->path, mcshm_strerror(e));
	for (uint32_t i = 0; i < KEYS; i++) {
		struct mcshm_choice c = { 0 };

		mcshm_pick(s->m, s->key[i].text, s->key[i].len, &c);
		s->away += c.slot != c.home;
	}
	if (down > 0 && s->away == 0)
		errx(1, "%u servers are down, and no key moved", down);
}

static void
side_close(struct side *s, struct pool *p)
{
	mcshm_close(s->m);
	pool_close(p);
	free(s->table);
	free(s->key);
}

struct best {
	double floor, least, pick;		/* ns a key */
	double floor_waiting, pick_waiting;
	double clock;
};

static struct best
measure(struct side *s, struct pool *p, unsigned rounds)
{
	struct best b = { 0 };

	for (unsigned i = 0; i < rounds; i++) {
		s->first = (uint32_t)rand();
		s->step = (uint32_t)rand() | 1;
		best(&b.floor, measure_floor, s);
		best(&b.least, measure_least, s);
		best(&b.pick, measure_pick, s);
		best(&b.floor_waiting, measure_floor_waiting, s);
		best(&b.pick_waiting, measure_pick_waiting, s);
		if (i % 16 == 0)
			best(&b.clock, measure_clock, s);
		if (i % 1024 == 1023)
			pool_publish_wait(p);
	}
	return b;
}

/* away: ns of clock readings a key, which are allowed beside the goal. */
static void
row(const char *what, double pick, double floor, double away, bool goal)
{
	const double ratio = (pick - away) / floor;

	bench_row(what, bench_time(pick), bench_time(floor), ratio,
	    goal ? "<= 1.3" : NULL, ratio, 1.3);
}

static void
compare(uint32_t n, uint32_t down, unsigned rounds)
{
	struct best b;
	struct pool p;
	struct side s;
	double away;
	char what[64];

	side_open(&s, &p, n, down);
	b = measure(&s, &p, rounds);
	away = b.clock * s.away / KEYS;
	snprintf(what, sizeof what, "pick, %u servers%s", n,
	    down ? ", 10 % down" : "");
	row(what, b.pick, b.floor, away, true);
	row("  against the same in a library", b.pick, b.least, away, false);
	row("  each after the one before", b.pick_waiting, b.floor_waiting,
	    away, true);
	if (down && n == 1000)
		printf("  (10 %% down: the ratio is without the clock readings"
		    " of the %.0f %% away from home, %s)\n",
		    100. * s.away / KEYS, bench_time(b.clock));
	side_close(&s, &p);
}

static int
count(const char *which, uint32_t n)
{
	struct pool p;
	struct side s;

	if (n < 1 || n > 1000)
		errx(64, "servers: 1 to 1000");
	side_open(&s, &p, n, 0);
	if (strcmp(which, "floor") == 0)
		measure_floor(&s);
	else if (strcmp(which, "least") == 0)
		measure_least(&s);
	else
		measure_pick(&s);
	side_close(&s, &p);
	printf("%u\n", KEYS);
	return 0;
}

int
main(int argc, char **argv)
{
	static const uint32_t pools[] = { 10, 100, 1000 };
	const unsigned rounds = bench_is_quick(argc, argv) ? 100 : 5000;

	if (argc == 4 && strcmp(argv[1], "count") == 0)
		return count(argv[2], (uint32_t)atoi(argv[3]));
	for (size_t i = 0; i < 3; i++) {
		compare(pools[i], 0, rounds);
		compare(pools[i], pools[i] / 10, rounds);
	}
	return 0;
}
