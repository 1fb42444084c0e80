/*
 * choose.c - what a pick costs in a fleet's own scheme, beside the client that
 * it is compatible with: libmemcached's memcached_generate_hash(), the same
 * keys, the same servers, the same hash, and, key for key, the same answers,
 * which is seen first.
 *
 *	choose [-q]		rows of the table
 *	choose count SIDE N	SIDE (ours, peer) once over all keys, ketama,
 *				N servers; for callgrind, which counts what
 *				happens in measure_SIDE()
 *
 * Both sides take turns of a few hundred microseconds, in the processor time of
 * this thread; what counts is the median of each.  Keys come in another order
 * in each round, the same for both.
 *
 * With servers down: libmemcached has ejected them, where its distribution goes
 * on to others.  Where it has no such rule its row is that of all up.  Answers
 * are not compared then if there are weights: a server's points are its share
 * of those that are left, in single precision, so that libmemcached moves keys
 * of servers that are well.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "choose_peer.h"
#include "keys.h"
#include "mcshm.h"
#include "pool.h"

#define KEYS 4096u		/* a power of two */
#define ROUNDS_MAX 400u
#define MAPS 1024u

struct scene {
	const char *name;
	uint32_t scheme, hash, points_hash;
	double goal;		/* at most so much of libmemcached's time, all
				 * up; 0: the row informs */
};

static const struct scene scenes[] = {
	{ "libmemcached-ketama", MCSHM_SCHEME_LIBMEMCACHED_KETAMA,
	    MCSHM_HASH_ONE_AT_A_TIME, MCSHM_HASH_ONE_AT_A_TIME, 1 / 3. },
	{ "libmemcached-ketama, md5", MCSHM_SCHEME_LIBMEMCACHED_KETAMA,
	    MCSHM_HASH_MD5, MCSHM_HASH_MD5, 1 / 1.5 },
	{ "libmemcached-ketama-weighted",
	    MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED,
	    MCSHM_HASH_MD5, MCSHM_HASH_MD5, 1 / 1.5 },
	{ "twemproxy-ketama", MCSHM_SCHEME_TWEMPROXY_KETAMA,
	    MCSHM_HASH_FNV1A_64, MCSHM_HASH_MD5, 1 / 3. },
	{ "libmemcached-modula", MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	    MCSHM_HASH_ONE_AT_A_TIME, MCSHM_HASH_ONE_AT_A_TIME, 0 },
	{ "libmemcached-virtual-bucket",
	    MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET,
	    MCSHM_HASH_ONE_AT_A_TIME, MCSHM_HASH_ONE_AT_A_TIME, 0 },
	{ "twemproxy-modula", MCSHM_SCHEME_TWEMPROXY_MODULA,
	    MCSHM_HASH_FNV1A_64, MCSHM_HASH_FNV1A_64, 0 },
	{ "cache-memcached", MCSHM_SCHEME_CACHE_MEMCACHED,
	    MCSHM_HASH_CRC, MCSHM_HASH_CRC, 0 },
	{ "python-memcached", MCSHM_SCHEME_PYTHON_MEMCACHED,
	    MCSHM_HASH_CRC, MCSHM_HASH_CRC, 0 },
	{ "php-memcache-standard", MCSHM_SCHEME_PHP_MEMCACHE_STANDARD,
	    MCSHM_HASH_CRC32A, MCSHM_HASH_CRC32A, 0 },
	{ "php-memcache-consistent", MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT,
	    MCSHM_HASH_CRC32A, MCSHM_HASH_CRC32A, 0 },
	{ "dalli", MCSHM_SCHEME_DALLI,
	    MCSHM_HASH_CRC32A, MCSHM_HASH_SHA1, 0 },
};
#define SCENES (sizeof scenes / sizeof *scenes)

struct side {
	struct keys_one key[KEYS];
	uint16_t map[MAPS];
	uint32_t first, step;	/* the keys' order; step is odd */
	struct pool pool;
	struct mcshm *m;
	memcached_st *peer;	/* NULL: none to compare with */
	uint64_t sink;
};

static inline const struct keys_one *
key_at(const struct side *s, uint32_t i)
{
	return &s->key[(s->first + i * s->step) % KEYS];
}

static uint32_t
pick(struct side *s, const struct keys_one *k)
{
	struct mcshm_choice c;

	if (mcshm_pick(s->m, k->text, k->len, &c) < 0)
		errx(1, "%s: no server", k->text);
	return c.slot;
}

static __attribute__((noinline)) void
measure_ours(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < KEYS; i++)
		sum += pick(s, key_at(s, i));
	s->sink += sum;
}

static __attribute__((noinline)) void
measure_peer(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < KEYS; i++) {
		const struct keys_one *k = key_at(s, i);

		sum += memcached_generate_hash(s->peer, k->text, k->len);
	}
	s->sink += sum;
}

static bool
scene_has_ring(const struct scene *scene)
{
	return scheme_has_ring(scene->scheme);
}

/* Setting the scene ------------------------------------------------------- */

/* They choose alike, or what is measured here would mean nothing. */
static void
same_answers(struct side *s, const struct scene *scene)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		const struct keys_one *k = &s->key[i];
		const uint32_t ours = pick(s, k);
		const uint32_t theirs =
		    memcached_generate_hash(s->peer, k->text, k->len);

		if (ours != theirs)
			errx(1, "%s: %s: %u here, %u there", scene->name,
			    k->text, (unsigned)ours, (unsigned)theirs);
	}
}

static struct scheme_setting
setting(const struct scene *scene)
{
	return (struct scheme_setting){ .scheme = scene->scheme,
		.hash = scene->hash, .points_hash = scene->points_hash };
}

static void
side_open(struct side *s, const struct scene *scene, uint32_t n)
{
	struct pool_plan plan = { .set = setting(scene), .unnamed = true };
	int e;

	*s = (struct side){ .step = 1 };
	keys_make(s->key, KEYS);
	for (uint32_t i = 0; i < MAPS; i++)
		s->map[i] = (uint16_t)(i % n);
	if (scheme_takes_map(scene->scheme)) {
		plan.map = s->map;
		plan.maps = MAPS;
	}
	pool_open_as(&s->pool, n, &plan);
	if ((e = mcshm_open(&s->m, s->pool.path, 0)) < 0)
		errx(1, "%s: %s", s->pool.path, mcshm_strerror(e));
	s->peer = choose_peer(&plan.set, n, s->map, MAPS);
	if (s->peer != NULL)
		same_answers(s, scene);
}

static void
side_down(struct side *s, const struct scene *scene, uint32_t n, uint32_t step)
{
	for (uint32_t i = 0; i < n; i += step)
		pool_verdict(&s->pool, i, MCSHM_DOWN);
	pool_publish_wait(&s->pool);
	if (s->peer == NULL || !choose_peer_ejects(scene->scheme))
		return;
	choose_peer_eject(s->peer, n, step);
	if (!scheme_has_weights(scene->scheme))
		same_answers(s, scene);
}

static void
side_close(struct side *s)
{
	if (s->peer != NULL)
		memcached_free(s->peer);
	mcshm_close(s->m);
	pool_close(&s->pool);
}

/* Measuring --------------------------------------------------------------- */

static double
turn(void (*measure)(struct side *), struct side *s)
{
	const uint64_t began = bench_cpu_ns();

	measure(s);
	return (double)(bench_cpu_ns() - began) / KEYS;
}

static void
row(struct side *s, const char *what, double goal, unsigned rounds)
{
	double ours[ROUNDS_MAX], peer[ROUNDS_MAX], ratio = 0;
	char text[16];

	for (unsigned i = 0; i < rounds; i++) {
		s->first = (uint32_t)rand();
		s->step = (uint32_t)rand() | 1;
		ours[i] = turn(measure_ours, s);
		if (s->peer != NULL)
			peer[i] = turn(measure_peer, s);
	}
	ours[0] = bench_quantile(ours, rounds, 0.5);
	if (s->peer != NULL) {
		peer[0] = bench_quantile(peer, rounds, 0.5);
		ratio = ours[0] / peer[0];
	}
	snprintf(text, sizeof text, "<= %.2f", goal);
	bench_row(what, bench_time(ours[0]),
	    s->peer != NULL ? bench_time(peer[0]) : "-", ratio,
	    s->peer != NULL && goal > 0 ? text : NULL, ratio, goal);
}

static void
compare(const struct scene *scene, uint32_t n, unsigned rounds)
{
	static struct side s;
	char what[64];

	side_open(&s, scene, n);
	snprintf(what, sizeof what, "%s, %u servers", scene->name, (unsigned)n);
	row(&s, what, scene->goal, rounds);
	side_down(&s, scene, n, 10);
	row(&s, "  10 % down", 0, rounds);
	side_close(&s);
}

static int
count(const char *which, uint32_t n)
{
	static struct side s;

	if (n < 1 || n > CHOOSE_PEER_RING)
		errx(64, "servers: 1 to %u", CHOOSE_PEER_RING);
	side_open(&s, &scenes[0], n);
	if (strcmp(which, "ours") == 0)
		measure_ours(&s);
	else
		measure_peer(&s);
	side_close(&s);
	printf("%u\n", KEYS);
	return 0;
}

int
main(int argc, char **argv)
{
	static const uint32_t pools[] = { 10, 100, 1000 };
	const unsigned rounds = bench_is_quick(argc, argv) ? 10 : ROUNDS_MAX;

	if (argc == 4 && strcmp(argv[1], "count") == 0)
		return count(argv[2], (uint32_t)atoi(argv[3]));
	/* Where there is no ring the number of servers makes no difference. */
	for (size_t i = 0; i < SCENES; i++)
		for (size_t j = 0; j < 3; j++)
			if (scene_has_ring(&scenes[i]) || pools[j] == 100)
				compare(&scenes[i], pools[j], rounds);
	return 0;
}
