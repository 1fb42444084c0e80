/*
 * test_scheme_ring.c - rings, their index, and pymemcache's rendezvous.
 *
 * Oracles: answers of the real clients for all compatible schemes, libmemcached
 * itself, the rules of the peers written once more as they have them (floats,
 * qsort, whole texts), and a plain search.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <libmemcached/memcached.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hash.h"
#include "mcshm.h"
#include "mkplace.h"
#include "scheme.h"
#include "scheme_inline.h"
#include "scheme_rendezvous.h"
#include "scheme_ring.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

#define KETAMA MCSHM_SCHEME_LIBMEMCACHED_KETAMA
#define WEIGHTED MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED
#define TWEMPROXY MCSHM_SCHEME_TWEMPROXY_KETAMA
#define PHP MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT
#define DALLI MCSHM_SCHEME_DALLI
#define RENDEZVOUS MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS
#define RENDEZVOUS_BYTES MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint32_t
ring_find(const struct scheme_place *p, uint32_t h)
{
	const struct scheme_ring ring = scheme_ring(p);

	return scheme_ring_first(&ring, h);
}

/* Placements -------------------------------------------------------------- */

static struct scheme_setting
setting(uint32_t scheme, uint32_t hash)
{
	struct scheme_setting s = mkplace_setting(scheme);

	if (hash != 0) {
		s.hash = hash;
		s.points_hash = scheme_default_points_hash(scheme, hash);
	}
	return s;
}

/* Server i: 10.0.0.1 and on. */
static void
host_of(uint32_t i, char host[32])
{
	snprintf(host, 32, "10.%u.%u.%u", i / 62500, i / 250 % 250,
	    i % 250 + 1);
}

/* n servers with that port; weight: NULL, or of each. */
static struct mkplace *
pool_new(struct scheme_setting set, uint32_t n, uint32_t port,
    uint32_t (*weight)(uint32_t))
{
	struct mkplace *p = mkplace_new(&set, n, weight);

	assert_true(scheme_setting_valid(&set));
	for (uint32_t i = 0; i < n; i++) {
		char host[32];
		const struct scheme_where w = { "", host, MCSHM_KIND_IPV4,
			port };

		host_of(i, host);
		p->server[i].len = (size_t)scheme_ident(set.scheme, &w,
		    p->ident[i]);
	}
	mkplace_build(p);
	return p;
}

/* Weights only, to be counted. */
#define MOST 3000u
struct weights {
	struct scheme_plan plan;
	struct scheme_server server[MOST];
};

static struct weights *
weights_new(uint32_t scheme, uint32_t weight)
{
	struct weights *w = calloc(1, sizeof *w);

	assert_non_null(w);
	w->plan.set = setting(scheme, 0);
	w->plan.server = w->server;
	for (uint32_t i = 0; i < MOST; i++)
		w->server[i] = (struct scheme_server){ "x", 1, weight };
	return w;
}

static uint32_t
home(const struct mkplace *p, const void *key, size_t len)
{
	const struct scheme_key k = scheme_key(&p->plan.set, key, len);

	return scheme_home(&p->place, &k);
}

static uint32_t
weight_123(uint32_t i)
{
	return i + 1;
}

static uint32_t
weight_mixed(uint32_t i)
{
	return 1 + i % 7 * 3;
}

static uint32_t
weight_wild(uint32_t i)
{
	uint64_t random = i * 7919 + 1;

	next_random(&random);
	return 1 + next_random(&random) % 1000;
}

/* Answers of the real clients --------------------------------------------- */

static const char *const keys[] = {
	"foo", "bar", "baz", "user:42", "session:abc"
};

#define HASH(name) MCSHM_HASH_##name

/* Homes of the keys over 10.0.0.1 to 10.0.0.3. */
static const struct {
	uint32_t scheme, hash, points, port;
	uint32_t (*weight)(uint32_t);
	const char *homes;
} known[] = {
	{ MCSHM_SCHEME_LIBMEMCACHED_MODULA, 0, 0, 11211, NULL, "01100" },
	{ MCSHM_SCHEME_LIBMEMCACHED_MODULA, HASH(CRC), 0, 11211, NULL,
	    "11011" },
	{ KETAMA, 0, 0, 11211, NULL, "20110" },
	{ KETAMA, HASH(MD5), 0, 11211, NULL, "12122" },
	{ KETAMA, HASH(MD5), HASH(ONE_AT_A_TIME), 11211, NULL, "22122" },
	{ WEIGHTED, 0, 0, 11211, NULL, "11002" },
	{ WEIGHTED, 0, 0, 11212, NULL, "01112" },
	{ WEIGHTED, 0, 0, 11211, weight_123, "11112" },
	{ WEIGHTED, HASH(FNV1A_64), 0, 11211, NULL, "12200" },
	{ TWEMPROXY, 0, 0, 11211, NULL, "12200" },
	{ RENDEZVOUS, 0, 0, 11211, NULL, "21102" },
	{ RENDEZVOUS_BYTES, 0, 0, 11211, NULL, "12010" },
};

static void
test_known_homes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(known); i++) {
		struct scheme_setting set =
		    setting(known[i].scheme, known[i].hash);
		struct mkplace *p;

		if (known[i].points != 0)
			set.points_hash = known[i].points;
		p = pool_new(set, 3, known[i].port, known[i].weight);
		for (size_t k = 0; k < ROWS(keys); k++)
			assert_int_equal(home(p, keys[k], strlen(keys[k])),
			    known[i].homes[k] - '0');
		mkplace_free(p);
	}
}

/* The same with tries, and how many of them the client has at most. */
static const struct {
	uint32_t scheme, tries;
	const char *walk[ROWS(keys)];
} known_walks[] = {
	{ MCSHM_SCHEME_PYTHON_MEMCACHED, 9,
	    { "1100", "1200", "0112", "1011", "1212" } },
	{ MCSHM_SCHEME_CACHE_MEMCACHED, 20,
	    { "1020", "1222", "0120", "1010", "1211" } },
	{ MCSHM_SCHEME_PHP_MEMCACHE_STANDARD, 20,
	    { "1220", "1220", "0221", "1022", "1100" } },
	{ PHP, 20, { "0011", "0122", "0121", "1011", "0002" } },
	{ DALLI, 19, { "21", "00", "00", "11", "10" } },
};

static void
check_walk(const struct mkplace *p, const char *key, const char *want,
    uint32_t tries)
{
	const struct scheme_key k = scheme_key(&p->plan.set, key, strlen(key));
	struct scheme_walk w;
	uint32_t t = 0;

	scheme_walk(&p->place, &k, &w);
	assert_int_equal(w.slot, scheme_home(&p->place, &k));
	for (; t < strlen(want); t++) {
		assert_int_equal(w.tries, t);
		assert_int_equal(w.slot, want[t] - '0');
		assert_true(scheme_walk_next(&p->place, &k, &w));
	}
	while (scheme_walk_next(&p->place, &k, &w))
		t++;
	assert_int_equal(t, tries);
}

static void
test_known_walks(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(known_walks); i++) {
		struct mkplace *p = pool_new(
		    setting(known_walks[i].scheme, 0), 3, 11211, NULL);

		for (size_t k = 0; k < ROWS(keys); k++)
			check_walk(p, keys[k], known_walks[i].walk[k],
			    known_walks[i].tries);
		mkplace_free(p);
	}
}

/* A map of the site's. */
static void
test_known_buckets(void **state)
{
	static const uint16_t map[] = { 0, 1, 2, 0, 1, 2, 0, 1 };
	struct mkplace *p = pool_new(
	    setting(MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET, 0), 3, 11211,
	    NULL);

	(void)state;
	p->plan.map = map;
	p->plan.maps = ROWS(map);
	mkplace_build(p);
	for (size_t k = 0; k < ROWS(keys); k++)
		assert_int_equal(home(p, keys[k], strlen(keys[k])),
		    "21220"[k] - '0');
	mkplace_free(p);
}

/* twemproxy does not hash an empty key; the others do. */
static void
test_empty_key(void **state)
{
	(void)state;
	for (uint32_t i = 1; i < MCSHM_SCHEMES; i++) {
		const struct scheme_setting set = setting(i, 0);
		const uint64_t h = scheme_key(&set, "", 0).h;

		if (i == TWEMPROXY || i == MCSHM_SCHEME_TWEMPROXY_MODULA)
			assert_true(h == 0);
		else
			assert_true(h == hash_key(set.hash, 0, "", 0));
	}
}

/* How many points --------------------------------------------------------- */

/* libmemcached's words, each step in memory: as wide as a float, no wider. */
static uint32_t
points_in_floats(uint32_t weight, uint64_t weights, uint32_t n)
{
	volatile float w = (float)weight, sum = (float)weights, v;

	assert_int_equal(FLT_MANT_DIG, 24);
	v = w / sum;
	v = v * 160;
	v = v / 4;
	v = v * (float)n;
	v = v + 0.0000000001F;
	return (uint32_t)floor((double)v) * 4;
}

/* Of equal servers: all numbers of them.  Where the quotient is a bit too
 * small it is 156. */
static void
test_points_of_equals(void **state)
{
	struct weights *w = weights_new(WEIGHTED, 1);
	uint32_t fewer = 0;

	(void)state;
	for (uint32_t n = 1; n <= MOST; n++) {
		const uint32_t each = points_in_floats(1, n, n);

		w->plan.n = n;
		assert_true(each == 160 || each == 156);
		assert_int_equal(scheme_ring_points(&w->plan), n * each);
		fewer += each < 160;
		if (n == 25 || n == 47 || n == 50 || n == 55 || n == 61 ||
		    n == 71 || n == 94 || n == 100)
			assert_int_equal(each, 156);
		else if (n < 100)
			assert_int_equal(each, 160);
	}
	assert_true(fewer > 100);
	free(w);
}

static uint64_t
sum_of(const struct scheme_plan *p)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->n; i++)
		sum += p->server[i].weight;
	return sum;
}

static void
check_points(const struct mkplace *p)
{
	const uint32_t n = p->plan.n;
	const uint64_t sum = sum_of(&p->plan);
	uint32_t *got = calloc(n, sizeof *got);

	for (uint32_t i = 0; i < p->size.points; i++) {
		assert_true(p->ring[i].slot < n);
		got[p->ring[i].slot]++;
	}
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t w = p->server[i].weight;

		if (p->plan.set.scheme == DALLI)
			assert_int_equal(got[i], (uint32_t)floor(
			    (double)(UINT64_C(160) * n * w) / (double)sum));
		else if (p->plan.set.scheme == KETAMA)
			assert_int_equal(got[i], 100);
		else
			assert_int_equal(got[i], points_in_floats(w, sum, n));
	}
	free(got);
}

/* Weights from 1 to 1000: each step of the rule rounds somewhere. */
static void
test_points_by_weight(void **state)
{
	static const uint32_t schemes[] = { WEIGHTED, TWEMPROXY, DALLI,
		KETAMA };

	(void)state;
	for (size_t s = 0; s < ROWS(schemes); s++)
		for (uint32_t n = 2; n <= 1000; n += 1 + n / 5) {
			struct mkplace *p = pool_new(setting(schemes[s], 0), n,
			    11211, n % 2 ? weight_wild : weight_mixed);

			check_points(p);
			mkplace_free(p);
		}
}

/* The same of the sum alone, for many more sets of weights. */
static void
test_points_of_many_weights(void **state)
{
	struct weights *w = weights_new(WEIGHTED, 1);
	uint64_t random = 46;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		const uint32_t most = round % 3 ? 1000 : UINT32_MAX;
		const uint32_t n = 1 + (uint32_t)(next_random(&random) % 300);
		uint64_t sum, points = 0;

		w->plan.n = n;
		for (uint32_t i = 0; i < n; i++)
			w->server[i].weight = 1 +
			    (uint32_t)(next_random(&random) % most);
		sum = sum_of(&w->plan);
		for (uint32_t i = 0; i < n; i++)
			points += points_in_floats(w->server[i].weight, sum,
			    n);
		assert_int_equal(scheme_ring_points(&w->plan), points);
	}
	free(w);
}

/* Where points are -------------------------------------------------------- */

static int
point_order(const void *left, const void *right)
{
	const struct mcshm_point *a = left, *b = right;

	if (a->point != b->point)
		return a->point < b->point ? -1 : 1;
	return a->slot < b->slot ? -1 : a->slot > b->slot;
}

/* The points of a server, written once more. */
static uint32_t
plain_points(const struct mkplace *p, uint32_t slot, uint32_t n,
    struct mcshm_point *to)
{
	const uint32_t scheme = p->plan.set.scheme;
	uint32_t got = 0;

	for (uint32_t j = 0; got < n; j++) {
		char text[300];
		const size_t len = (size_t)snprintf(text, sizeof text, "%s%c%u",
		    p->ident[slot], scheme == DALLI ? ':' : '-', j);
		uint32_t word[5], words = 1;

		if (scheme == WEIGHTED || scheme == TWEMPROXY) {
			hash_md5(text, len, word);
			words = 4;
		} else if (scheme == DALLI) {
			hash_sha1(text, len, word);
		} else {
			word[0] = (uint32_t)hash_key(p->plan.set.points_hash,
			    0, text, len);
		}
		for (uint32_t w = 0; w < words; w++)
			to[got++] = (struct mcshm_point){ word[w], slot };
	}
	return got;
}

static uint32_t
points_each(uint32_t scheme, uint32_t n)
{
	return scheme == KETAMA ? 100 : scheme == DALLI || scheme == PHP ?
	    160 : points_in_floats(1, n, n);
}

/* The whole ring, of equal servers. */
static void
check_ring(uint32_t scheme, uint32_t hash, uint32_t n)
{
	struct mkplace *p = pool_new(setting(scheme, hash), n, 11213, NULL);
	const uint32_t each = points_each(scheme, n), all = n * each;
	struct mcshm_point *want = calloc(all, sizeof *want);
	struct mcshm_point *got = calloc(2 * all, sizeof *got);
	uint32_t points = 0;

	for (uint32_t i = 0; i < n; i++)
		points += plain_points(p, i, each, want + points);
	assert_int_equal(points, all);
	assert_int_equal(scheme_ring_points(&p->plan), all);
	qsort(want, all, sizeof *want, point_order);
	scheme_ring_build(&p->plan, got, all, got + all);
	assert_memory_equal(got, want, all * sizeof *want);
	if (p->size.points > 0 && scheme != TWEMPROXY)
		assert_memory_equal(p->ring, want, all * sizeof *want);
	free(got);
	free(want);
	mkplace_free(p);
}

static void
test_rings(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 1000; n += 1 + n / 2) {
		check_ring(KETAMA, 0, n);
		check_ring(KETAMA, MCSHM_HASH_CRC, n);
		check_ring(WEIGHTED, 0, n);
		check_ring(TWEMPROXY, 0, n);
		check_ring(PHP, 0, n);
		check_ring(PHP, MCSHM_HASH_FNV1A_32, n);
		check_ring(DALLI, 0, n);
	}
}

/* pecl-memcache's buckets, from its ring by a plain search. */
static void
test_php_buckets(void **state)
{
	struct mkplace *p = pool_new(setting(PHP, 0), 40, 11211, weight_mixed);
	const uint32_t points = scheme_ring_points(&p->plan);
	struct mcshm_point *ring = calloc(2 * points, sizeof *ring);

	(void)state;
	assert_int_equal(points, 160 * sum_of(&p->plan));
	assert_int_equal(p->size.buckets, 1024);
	scheme_ring_build(&p->plan, ring, points, ring + points);
	for (uint32_t i = 0; i < 1024; i++) {
		uint32_t at = 0;

		while (at < points && ring[at].point < i * (0xffffffff / 1024))
			at++;
		assert_int_equal(scheme_bucket(&p->place, i),
		    ring[at % points].slot);
	}
	free(ring);
	mkplace_free(p);
}

/* libmemcached's own choice; it aborts at 101 servers. */
static void
check_libmemcached(uint32_t scheme, uint32_t n, uint32_t (*weight)(uint32_t))
{
	struct mkplace *p = pool_new(setting(scheme, 0), n, 11211 + n % 2,
	    weight);
	memcached_st *mc = memcached_create(NULL);

	memcached_behavior_set(mc, scheme == KETAMA ?
	    MEMCACHED_BEHAVIOR_KETAMA : MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
	for (uint32_t i = 0; i < n; i++) {
		char host[32];

		host_of(i, host);
		memcached_server_add_with_weight(mc, host,
		    (in_port_t)(11211 + n % 2), p->server[i].weight);
	}
	for (unsigned i = 0; i < 3000; i++) {
		char key[32];
		const size_t len = (size_t)snprintf(key, sizeof key, "key:%u",
		    i);

		assert_int_equal(home(p, key, len),
		    memcached_generate_hash(mc, key, len));
	}
	memcached_free(mc);
	mkplace_free(p);
}

static void
test_as_libmemcached(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 100; n += n < 5 ? 1 : 19) {
		check_libmemcached(KETAMA, n, NULL);
		check_libmemcached(WEIGHTED, n, NULL);
		check_libmemcached(WEIGHTED, n, weight_mixed);
	}
}

/* The most servers there can be: an end that is not far, and all in order. */
static void
test_most_servers(void **state)
{
	static const uint32_t schemes[] = { WEIGHTED, DALLI };

	(void)state;
	for (size_t s = 0; s < ROWS(schemes); s++) {
		struct mkplace *p = pool_new(setting(schemes[s], 0),
		    MCSHM_MAX_SERVERS, 11211, NULL);
		const struct mcshm_point *ring = p->ring;
		uint32_t ties = 0;

		assert_true(p->size.points > 156 * MCSHM_MAX_SERVERS - 1);
		for (uint32_t i = 1; i < p->size.points; i++) {
			assert_true(point_order(&ring[i - 1], &ring[i]) <= 0);
			ties += ring[i - 1].point == ring[i].point;
		}
		assert_true(ties > 0);
		mkplace_free(p);
	}
}

/* More than a file may have. */
static void
test_too_many_points(void **state)
{
	struct weights *w = weights_new(PHP, 1000);
	struct scheme_size size;

	(void)state;
	w->plan.n = 26;
	assert_true(scheme_measure(&w->plan, &size));
	w->plan.n = 27;
	assert_int_equal(scheme_ring_points(&w->plan), 0);
	assert_false(scheme_measure(&w->plan, &size));
	free(w);
}

/* Points of the same value: the first server has what comes before them, and
 * dalli's last one what comes behind. */
static void
test_ties(void **state)
{
	static const struct mcshm_point ring[] = {
		{ 10, 2 }, { 20, 0 }, { 20, 1 }, { 20, 2 }, { 30, 1 }
	};
	unsigned char memory[256] = { 0 };
	struct scheme_place p = { .base = memory, .mask = sizeof memory - 1,
		.servers = 3, .ring_points = ROWS(ring) };
	static const struct {
		uint32_t scheme, h, slot;
	} want[] = {
		{ WEIGHTED, 0, 2 }, { WEIGHTED, 10, 2 }, { WEIGHTED, 11, 0 },
		{ WEIGHTED, 20, 0 }, { WEIGHTED, 21, 1 }, { WEIGHTED, 31, 2 },
		{ WEIGHTED, UINT32_MAX, 2 },
		{ DALLI, 0, 1 }, { DALLI, 9, 1 }, { DALLI, 10, 2 },
		{ DALLI, 19, 2 }, { DALLI, 20, 2 }, { DALLI, 29, 2 },
		{ DALLI, 30, 1 }, { DALLI, UINT32_MAX, 1 },
	};

	(void)state;
	memcpy(memory, ring, sizeof ring);
	for (size_t i = 0; i < ROWS(want); i++) {
		const struct scheme_key k = { NULL, 0, want[i].h };

		p.set = setting(want[i].scheme, 0);
		assert_int_equal(scheme_home(&p, &k), want[i].slot);
	}
}

/* The search -------------------------------------------------------------- */

static uint32_t
find_plainly(const struct mcshm_point *ring, uint32_t points, uint32_t h)
{
	uint32_t from = 0, to = points;

	while (from < to) {
		const uint32_t middle = (from + to) / 2;

		if (ring[middle].point < h)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static void
check_find(const struct mkplace *p)
{
	const struct mcshm_point *ring = p->ring;
	const uint32_t n = p->size.points;
	uint64_t random = 47;

	for (uint32_t i = 0; i < n; i += 1 + i / 500)
		for (uint32_t off = 0; off < 3; off++) {
			const uint32_t h = ring[i].point + off - 1;

			assert_int_equal(ring_find(&p->place, h),
			    find_plainly(ring, n, h));
		}
	for (unsigned i = 0; i < 3000; i++) {
		const uint32_t h = i < 2 ? i - 1 :
		    (uint32_t)(next_random(&random) >> 20);

		assert_int_equal(ring_find(&p->place, h),
		    find_plainly(ring, n, h));
	}
}

/* With the index that the ring has, with others, with none. */
static void
test_find(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 1000; n += 1 + n / 2) {
		struct mkplace *p = pool_new(setting(WEIGHTED, 0), n, 11211,
		    NULL);

		check_find(p);
		for (uint32_t bits = p->size.index_bits; bits-- > 1;) {
			scheme_ring_index(p->ring, p->size.points, p->index,
			    bits);
			p->place.ring_index_bits = bits;
			check_find(p);
		}
		p->place.ring_index_bits = 0;
		check_find(p);
		mkplace_free(p);
	}
}

/* Points of 15 bits are all in the first cell. */
static void
test_find_crowded(void **state)
{
	struct mkplace *p;

	(void)state;
	for (uint32_t n = 1; n <= 100; n += 1 + n / 2) {
		p = pool_new(setting(KETAMA, MCSHM_HASH_CRC), n, 11211, NULL);
		assert_true(p->ring[p->size.points - 1].point <= 0x7fff);
		check_find(p);
		mkplace_free(p);
	}
}

/* A cell's number says what the cell is. */
static void
test_index(void **state)
{
	struct mkplace *p = pool_new(setting(WEIGHTED, 0), 10, 11211, NULL);
	const uint32_t bits = p->size.index_bits, cells = 1u << bits;

	(void)state;
	assert_int_equal(bits, 10);
	for (uint32_t i = 0; i < cells; i++)
		assert_int_equal(p->index[i], find_plainly(p->ring,
		    p->size.points, i << (32 - bits)));
	assert_int_equal(p->index[cells], p->size.points);
	mkplace_free(p);
	/* More than one point a cell, and three at most. */
	assert_int_equal(scheme_ring_index_bits(1), 1);
	assert_int_equal(scheme_ring_index_bits(480), 8);
	assert_int_equal(scheme_ring_index_bits(15600), 13);
	assert_int_equal(scheme_ring_index_bits(3 << 14), 14);
	assert_int_equal(scheme_ring_index_bits((3 << 14) + 1), 15);
	assert_int_equal(scheme_ring_index_bits(160000), 16);
	assert_int_equal(scheme_ring_index_bits(MCSHM_MAX_POINTS), 21);
}

/* As large as the mask says, and nothing behind it. */
static uint32_t *
guarded(size_t size)
{
	unsigned char *p = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + size, size, PROT_NONE), 0);
	return (uint32_t *)p;
}

/* Whatever stands there: within the memory, an end, and a slot of the pool. */
static void
test_hostile(void **state)
{
	const size_t size = 65536;
	uint32_t *memory = guarded(size);
	uint64_t random = 48;

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		const uint64_t fill = next_random(&random);
		struct scheme_place p = { .base = (unsigned char *)memory,
			.mask = size - 1, .ring_off = next_random(&random),
			.ring_index_off = next_random(&random),
			.ring_points = (uint32_t)next_random(&random) >>
			    next_random(&random) % 32,
			.ring_index_bits = next_random(&random) % 41,
			.servers = 1 + next_random(&random) % 300 };
		struct scheme_walk w;
		struct scheme_key k;

		for (size_t j = i % 7; j < size / 4; j += 1 + i % 97)
			memory[j] = i % 4 == 0 ? (uint32_t)fill :
			    (uint32_t)next_random(&random) >> i % 29;
		p.set = setting(1 + i % (MCSHM_SCHEMES - 1), 0);
		k = scheme_key(&p.set, &fill, sizeof fill);
		assert_true(ring_find(&p, (uint32_t)fill) <=
		    p.ring_points);
		scheme_walk(&p, &k, &w);
		do
			assert_true(w.slot < p.servers);
		while (scheme_walk_next(&p, &k, &w));
	}
	munmap(memory, 2 * size);
}

/* Rendezvous -------------------------------------------------------------- */

/* Characters of a text, as numbers, in a plain way: what is no UTF-8 is the
 * byte itself. */
static size_t
plain_characters(const unsigned char *p, size_t len, unsigned char *to)
{
	static const struct {
		unsigned char mask, first;
		uint32_t least;
	} kinds[] = {
		{ 0xe0, 0xc0, 0x80 }, { 0xf0, 0xe0, 0x800 },
		{ 0xf8, 0xf0, 0x10000 },
	};
	size_t n = 0;

	for (size_t i = 0; i < len;) {
		uint32_t code = p[i];
		size_t used = 1;

		for (size_t k = 0; k < ROWS(kinds); k++) {
			uint32_t c = p[i] & ~kinds[k].mask & 0xff;
			size_t j = 1;

			if ((p[i] & kinds[k].mask) != kinds[k].first)
				continue;
			for (; j < k + 2 && i + j < len &&
			    (p[i + j] & 0xc0) == 0x80; j++)
				c = c << 6 | (p[i + j] & 0x3f);
			if (j == k + 2 && c >= kinds[k].least &&
			    c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)) {
				code = c;
				used = j;
			}
		}
		to[n++] = (unsigned char)code;
		i += used;
	}
	return n;
}

/* As Python prints bytes. */
static size_t
plain_bytes(const unsigned char *p, size_t len, unsigned char *to)
{
	const char quote = len > 0 && memchr(p, '\'', len) != NULL &&
	    memchr(p, '"', len) == NULL ? '"' : '\'';
	char *at = (char *)to;

	at += sprintf(at, "b%c", quote);
	for (size_t i = 0; i < len; i++)
		if (p[i] == '\\' || p[i] == quote)
			at += sprintf(at, "\\%c", p[i]);
		else if (p[i] == '\t' || p[i] == '\n' || p[i] == '\r')
			at += sprintf(at, "\\%c", p[i] == '\t' ? 't' :
			    p[i] == '\n' ? 'n' : 'r');
		else if (p[i] < ' ' || p[i] > '~')
			at += sprintf(at, "\\x%02x", p[i]);
		else
			*at++ = (char)p[i];
	*at++ = quote;
	return (size_t)(at - (char *)to);
}

static uint32_t
plain_score(const struct mkplace *p, const unsigned char *key, size_t len,
    uint32_t slot)
{
	unsigned char *text = malloc(300 + 4 * len);
	size_t n;
	uint32_t score;

	n = plain_characters((unsigned char *)p->ident[slot],
	    p->server[slot].len, text);
	text[n++] = '-';
	n += p->plan.set.scheme == RENDEZVOUS ?
	    plain_characters(key, len, text + n) :
	    plain_bytes(key, len, text + n);
	score = hash_murmur3(text, n, 0);
	free(text);
	return score;
}

/* Scores, and the home, for a key. */
static void
check_rendezvous(const struct mkplace *p, const unsigned char *key, size_t len)
{
	const struct scheme_key k = scheme_key(&p->plan.set, key, len);
	struct scheme_rendezvous_key r;
	uint32_t best = 0, best_score = 0;

	scheme_rendezvous_key(&r, p->plan.set.scheme, &k);
	for (uint32_t i = 0; i < p->plan.n; i++) {
		const uint32_t score = plain_score(p, key, len, i);

		assert_int_equal(
		    scheme_rendezvous_score(&p->place, &r, i) >> 32, score);
		if (i == 0 || score > best_score ||
		    (score == best_score &&
			strcmp(p->ident[i], p->ident[best]) > 0)) {
			best = i;
			best_score = score;
		}
	}
	assert_int_equal(scheme_home(&p->place, &k), best);
}

/* Bytes of a kind: letters, all, mostly quotes, mostly UTF-8. */
static void
random_bytes(uint64_t *random, unsigned kind, unsigned char *p, size_t len)
{
	static const char quotes[] = "'\"\\\t\n\r ab\x7f";
	static const char utf8[] = "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
	    "a\xed\xa0\x80\xe0\x9f\xbf\xf4\x90\xc0\xaf\xff";

	for (size_t i = 0; i < len; i++) {
		const uint32_t r = (uint32_t)(next_random(random) >> 16);

		p[i] = (unsigned char)(kind == 0 ? 'a' + r % 26 :
		    kind == 1 ? r :
		    kind == 2 ? (unsigned)quotes[r % (sizeof quotes - 1)] :
		    r % 8 == 0 ? r >> 8 :
		    (unsigned char)utf8[i % (sizeof utf8 - 1)]);
	}
}

static void
check_all_keys(struct mkplace *p)
{
	uint64_t random = 49;

	for (size_t len = 0; len <= 600; len += len < 300 ? 1 : 37)
		for (unsigned kind = 0; kind < 4; kind++) {
			unsigned char *key = malloc(len + !len);

			random_bytes(&random, kind, key, len);
			check_rendezvous(p, key, len);
			free(key);
		}
}

static void
test_rendezvous(void **state)
{
	(void)state;
	for (uint32_t scheme = RENDEZVOUS; scheme <= RENDEZVOUS_BYTES;
	     scheme++)
		for (uint32_t n = 1; n <= 10; n += 3) {
			struct mkplace *p = pool_new(setting(scheme, 0), n,
			    n == 4 ? 80 : 11211, NULL);

			assert_int_equal(p->size.points, 2 * n);
			check_all_keys(p);
			mkplace_free(p);
		}
}

/* Servers whose names end at any place of a word, some not in ASCII; short
 * keys that do not fill one. */
static void
test_rendezvous_names(void **state)
{
	static const char *const names[] = { "/a", "/ab", "/abc", "/abcd",
		"/abcde", "/caf\xc3\xa9", "/\xe2\x82\xac", "/\xff" };
	struct mkplace *p = pool_new(setting(RENDEZVOUS, 0), ROWS(names),
	    11211, NULL);

	(void)state;
	for (uint32_t i = 0; i < ROWS(names); i++) {
		strcpy(p->ident[i], names[i]);
		p->server[i].len = strlen(names[i]);
	}
	mkplace_build(p);
	check_all_keys(p);
	mkplace_free(p);
}

/* Of two equal scores the greater string's is higher. */
static void
test_rendezvous_ties(void **state)
{
	const uint32_t n = 1000;
	struct mkplace *p = pool_new(setting(RENDEZVOUS, 0), n, 11211, NULL);
	const struct scheme_key k = scheme_key(&p->plan.set, "foo", 3);
	struct scheme_rendezvous_key r;
	bool *seen = calloc(n, sizeof *seen);

	(void)state;
	scheme_rendezvous_key(&r, RENDEZVOUS, &k);
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t rank = (uint32_t)
		    scheme_rendezvous_score(&p->place, &r, i);
		uint32_t smaller = 0;

		for (uint32_t j = 0; j < n; j++)
			smaller += strcmp(p->ident[j], p->ident[i]) < 0;
		assert_int_equal(rank, smaller);
		assert_false(seen[rank]);
		seen[rank] = true;
	}
	free(seen);
	mkplace_free(p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known_homes),
		cmocka_unit_test(test_known_walks),
		cmocka_unit_test(test_known_buckets),
		cmocka_unit_test(test_empty_key),
		cmocka_unit_test(test_points_of_equals),
		cmocka_unit_test(test_points_by_weight),
		cmocka_unit_test(test_points_of_many_weights),
		cmocka_unit_test(test_rings),
		cmocka_unit_test(test_php_buckets),
		cmocka_unit_test(test_as_libmemcached),
		cmocka_unit_test(test_most_servers),
		cmocka_unit_test(test_too_many_points),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_find_crowded),
		cmocka_unit_test(test_index),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_rendezvous),
		cmocka_unit_test(test_rendezvous_names),
		cmocka_unit_test(test_rendezvous_ties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
