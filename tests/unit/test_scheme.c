/*
 * test_scheme.c - keys to servers: hashes, placements, the chain, the tail.
 *
 * The oracles are libhashkit and libmemcached where there are such, else a
 * second writing of the rule, in floating point and 128 bits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libhashkit/hashkit.h>
#include <libmemcached/memcached.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash_one_at_a_time.h"
#include "hash_xxh3.h"
#include "mcshm.h"
#include "scheme.h"
#include "scheme_inline.h"

#define MAGLEV MCSHM_SCHEME_MAGLEV
#define MODULA MCSHM_SCHEME_LIBMEMCACHED_MODULA

/* A placement in memory of its own ---------------------------------------- */

#define MANY 1024u			/* servers at most, here */

struct memory {
	uint64_t usable[MANY / 64], held[MANY / 64], ready[MANY / 64];
	struct mcshm_roster roster[MANY];
	uint16_t bucket[1048583];
};

struct pool {
	struct memory *memory;
	struct scheme_place place;
	struct scheme_server server[MANY];
	char ident[MANY][32];
};

static void
pool_build(struct pool *p)
{
	const uint32_t scheme = p->place.scheme, n = p->place.servers;
	void *scratch = malloc(scheme_scratch(scheme, n) + 1);

	scheme_build(scheme, p->server, n, p->memory->bucket, scratch);
	free(scratch);
	for (uint32_t i = 0; i < n; i++) {
		struct mcshm_roster *r = &p->memory->roster[i];

		r->ident_hash = scheme_text_hash(p->server[i].ident,
		    p->server[i].len);
		r->weight = p->server[i].weight;
	}
}

static uint32_t
weight_one(uint32_t i)
{
	(void)i;
	return 1;
}

static struct pool *
pool_new(uint32_t scheme, uint32_t n, uint32_t (*weight)(uint32_t))
{
	struct pool *p = calloc(1, sizeof *p);

	/* The mask wants a power of two. */
	p->memory = calloc(1, 4 << 20);
	assert_true(sizeof *p->memory <= 4 << 20);
	p->place = (struct scheme_place){
		.base = (unsigned char *)p->memory,
		.mask = (4 << 20) - 1,
		.buckets_off = offsetof(struct memory, bucket),
		.bits_off = offsetof(struct memory, usable),
		.roster_off = offsetof(struct memory, roster),
		.scheme = scheme,
		.hash = scheme_default_hash(scheme),
		.servers = n,
		.words = MANY / 64,
		.buckets = scheme_buckets(scheme, n),
		.roster_stride = sizeof(struct mcshm_roster),
	};
	for (uint32_t i = 0; i < n; i++) {
		snprintf(p->ident[i], sizeof p->ident[i], "10.1.%u.%u:11211",
		    i / 200, i % 200 + 1);
		p->server[i] = (struct scheme_server){ p->ident[i],
			strlen(p->ident[i]), weight(i) };
	}
	pool_build(p);
	return p;
}

static void
pool_free(struct pool *p)
{
	free(p->memory);
	free(p);
}

enum { DOWN, USABLE, HELD };

static void
set(struct pool *p, uint32_t i, int state)
{
	const uint64_t bit = UINT64_C(1) << i % 64;
	struct memory *m = p->memory;

	m->usable[i / 64] &= ~bit;
	m->held[i / 64] &= ~bit;
	if (state == USABLE)
		m->usable[i / 64] |= bit;
	if (state == HELD)
		m->held[i / 64] |= bit;
}

static void
set_all(struct pool *p, int state)
{
	for (uint32_t i = 0; i < p->place.servers; i++)
		set(p, i, state);
}

static int
state_of(const struct pool *p, uint32_t i)
{
	if (p->memory->usable[i / 64] >> i % 64 & 1)
		return USABLE;
	return p->memory->held[i / 64] >> i % 64 & 1 ? HELD : DOWN;
}

static uint64_t
key(const struct pool *p, unsigned i)
{
	char text[32];
	const int len = snprintf(text, sizeof text, "user:%u", i);

	return scheme_key(p->place.hash, text, (size_t)len);
}

/* Names ------------------------------------------------------------------- */

static void
test_names(void **state)
{
	char ident[272];
	char long_address[300];

	(void)state;
	assert_int_equal(scheme_by_name("maglev"), MAGLEV);
	assert_int_equal(scheme_by_name("libmemcached-modula"), MODULA);
	assert_int_equal(scheme_by_name("modula"), 0);
	assert_string_equal(scheme_name(MAGLEV), "maglev");
	assert_string_equal(scheme_name(MODULA), "libmemcached-modula");
	assert_null(scheme_name(77));
	assert_int_equal(scheme_hash_by_name("xxh3"), MCSHM_HASH_XXH3);
	assert_int_equal(scheme_hash_by_name("one_at_a_time"),
	    MCSHM_HASH_ONE_AT_A_TIME);
	assert_int_equal(scheme_hash_by_name(""), 0);
	assert_null(scheme_hash_name(0));
	assert_true(scheme_takes_hash(MAGLEV, MCSHM_HASH_XXH3));
	assert_false(scheme_takes_hash(MAGLEV, MCSHM_HASH_ONE_AT_A_TIME));
	assert_false(scheme_takes_hash(MODULA, MCSHM_HASH_XXH3));
	assert_false(scheme_takes_hash(77, 0));
	assert_false(scheme_allows_repeats(MAGLEV));
	assert_true(scheme_allows_repeats(MODULA));
	assert_true(scheme_has_weights(MAGLEV));
	assert_false(scheme_has_weights(MODULA));
	assert_int_equal(scheme_buckets(77, 3), 0);
	assert_int_equal(scheme_buckets(MODULA, 77), 77);
	/* One size, or a site that grows loses its caches on the way. */
	assert_int_equal(scheme_buckets(MAGLEV, 1), 262147);
	assert_int_equal(scheme_buckets(MAGLEV, MCSHM_MAX_SERVERS), 262147);

	assert_int_equal(scheme_ident(MAGLEV, "c1", "h:1", ident), 2);
	assert_string_equal(ident, "c1");
	assert_int_equal(scheme_ident(MAGLEV, "", "h:1", ident), 3);
	assert_string_equal(ident, "h:1");
	scheme_ident(MODULA, "c1", "h:1", ident);
	assert_string_equal(ident, "h:1");
	memset(long_address, 'x', sizeof long_address);
	long_address[271] = '\0';
	assert_int_equal(scheme_ident(MODULA, "", long_address, ident), 271);
	long_address[271] = 'x';
	long_address[299] = '\0';
	assert_int_equal(scheme_ident(MODULA, "", long_address, ident), -1);
}

/* Hashes ------------------------------------------------------------------ */

static void
test_known_hashes(void **state)
{
	static const struct {
		const char *key;
		uint32_t hash;
	} known[] = {
		{ "a", 0xca2e9442 }, { "foo", 0x238678dd },
		{ "bar", 0x80409109 }, { "user:42", 0x303f6fea },
		{ "session:abc", 0xc360bd00 },
		{ "0123456789abcdef", 0xf02202c7 },
		{ "caf\xc3\xa9", 0xd99c709e },	/* signed chars */
		{ "", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++)
		assert_int_equal(hash_one_at_a_time(known[i].key,
		    strlen(known[i].key)), known[i].hash);
	/* From the XXH3 sources' own sanity checks. */
	assert_true(hash_xxh3("", 0, 0) == UINT64_C(0x2d06800538d394c2));
	assert_true(scheme_key(MCSHM_HASH_XXH3, "foo", 3) ==
	    hash_xxh3("foo", 3, 0));
}

/* Any bytes, any length: the same as libhashkit on this machine, where plain
 * char is signed. */
static void
test_hash_as_libhashkit(void **state)
{
	unsigned char bytes[256];
	uint64_t random = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		const size_t len = random % sizeof bytes;

		for (size_t j = 0; j < sizeof bytes; j++)
			bytes[j] = (unsigned char)((random = scheme_mix(
			    random + 1)) >> 7 & (i % 2 ? 0xff : 0x7f));
		if ((char)-1 > 0 && i % 2)
			continue;
		assert_int_equal(hash_one_at_a_time(bytes, len),
		    libhashkit_digest((char *)bytes, len,
			HASHKIT_HASH_DEFAULT));
	}
}

static void
test_modula_as_libmemcached(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 101; n += n < 10 ? 1 : 13) {
		struct pool *p = pool_new(MODULA, n, weight_one);
		memcached_st *mc = memcached_create(NULL);

		for (uint32_t i = 0; i < n; i++)
			memcached_server_add(mc, p->ident[i], 11211);
		for (unsigned i = 0; i < 2000; i++) {
			char text[32];
			const int len = snprintf(text, sizeof text, "user:%u",
			    i);

			assert_int_equal(scheme_try(&p->place, key(p, i), 0),
			    memcached_generate_hash(mc, text, (size_t)len));
		}
		memcached_free(mc);
		pool_free(p);
	}
}

static void
test_scale(void **state)
{
	static const uint64_t ends[] = { 0, 1, UINT32_MAX,
		UINT64_C(1) << 32, UINT64_MAX - 1, UINT64_MAX };
	static const uint32_t sizes[] = { 0, 1, 2, 3, 65537, 262147, 1048583,
		1 << 24, UINT32_MAX };
	__extension__ typedef unsigned __int128 wide;

	(void)state;
	for (size_t i = 0; i < 20000; i++)
		for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
			const uint64_t h = i < 6 ? ends[i] : scheme_mix(i);

			assert_int_equal(scheme_scale(h, sizes[j]),
			    (uint32_t)((wide)h * sizes[j] >> 64));
		}
}

/* The table --------------------------------------------------------------- */

static uint32_t
weight_mixed(uint32_t i)
{
	return 1 + i % 7 * 3;
}

static uint32_t
weight_extreme(uint32_t i)
{
	return i == 0 ? 1 : 1000;
}

static uint32_t
weight_one_heavy(uint32_t i)
{
	return i == 0 ? 1000 : 1;
}

/* Shares follow weights to one bucket, and nobody has none. */
static void
check_shares(uint32_t n, uint32_t (*weight)(uint32_t))
{
	struct pool *p = pool_new(MAGLEV, n, weight);
	const uint32_t buckets = p->place.buckets;
	uint32_t *got = calloc(n, sizeof *got);
	double sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += weight(i);
	for (uint32_t b = 0; b < buckets; b++) {
		assert_true(p->memory->bucket[b] < n);
		got[p->memory->bucket[b]]++;
	}
	for (uint32_t i = 0; i < n; i++) {
		const double want = buckets * (weight(i) / sum);

		assert_true(got[i] >= 1);
		assert_true(fabs(got[i] - want) <= 1.5 + want * 0.002);
	}
	free(got);
	pool_free(p);
}

static void
test_shares(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 7, 64, 65, 256, 257, 1000 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		check_shares(sizes[i], weight_one);
		check_shares(sizes[i], weight_mixed);
		check_shares(sizes[i], weight_extreme);
		check_shares(sizes[i], weight_one_heavy);
	}
}

/* The most servers there can be; weights that leave the first less than half
 * a bucket. */
static void
test_most_servers(void **state)
{
	const uint32_t n = MCSHM_MAX_SERVERS, m = scheme_buckets(MAGLEV, n);
	struct scheme_server *server = calloc(n, sizeof *server);
	char (*ident)[16] = calloc(n, sizeof *ident);
	uint16_t *bucket = malloc(m * sizeof *bucket);
	void *scratch = malloc(scheme_scratch(MAGLEV, n));
	bool *seen = calloc(n, sizeof *seen);

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		const int len = snprintf(ident[i], sizeof ident[i], "s%u", i);

		server[i] = (struct scheme_server){ ident[i], (size_t)len,
			weight_extreme(i) };
	}
	scheme_build(MAGLEV, server, n, bucket, scratch);
	for (uint32_t b = 0; b < m; b++) {
		assert_true(bucket[b] < n);
		seen[bucket[b]] = true;
	}
	for (uint32_t i = 0; i < n; i++)
		assert_true(seen[i]);
	free(seen);
	free(scratch);
	free(bucket);
	free(ident);
	free(server);
}

/* The order of the servers is nothing to maglev. */
static void
test_order(void **state)
{
	struct pool *a = pool_new(MAGLEV, 50, weight_mixed);
	struct pool *b = pool_new(MAGLEV, 50, weight_mixed);
	struct scheme_choice ca, cb;

	(void)state;
	for (uint32_t i = 0; i < 50; i++)
		b->server[i] = a->server[(i * 7 + 3) % 50];
	pool_build(b);
	for (uint32_t i = 0; i < 50; i++) {
		set(a, (i * 7 + 3) % 50, i % 4);
		set(b, i, i % 4);
	}
	for (unsigned i = 0; i < 20000; i++) {
		const uint64_t h = key(a, i);
		const int err = scheme_pick(&a->place, h, &ca);

		assert_int_equal(err, scheme_pick(&b->place, h, &cb));
		assert_int_equal(ca.tries, cb.tries);
		assert_string_equal(a->server[ca.home].ident,
		    b->server[cb.home].ident);
		assert_string_equal(a->server[ca.slot].ident,
		    b->server[cb.slot].ident);
	}
	pool_free(a);
	pool_free(b);
}

/* One of n is removed: its keys move, and few others.  Measured: 0.24 % at 10,
 * 0.46 at 64, 0.32 at 256, 0.21 at 1000; weighted up to 0.6. */
static void
check_disruption(uint32_t n, uint32_t (*weight)(uint32_t))
{
	struct pool *p = pool_new(MAGLEV, n, weight);
	const uint32_t gone = n / 2, m = p->place.buckets;
	uint16_t *before = malloc(m * sizeof *before);
	uint32_t moved = 0, own = 0;

	memcpy(before, p->memory->bucket, m * sizeof *before);
	for (uint32_t i = gone; i + 1 < n; i++)
		p->server[i] = p->server[i + 1];
	p->place.servers = n - 1;
	assert_int_equal(scheme_buckets(MAGLEV, n - 1), m);
	pool_build(p);
	for (uint32_t b = 0; b < m; b++) {
		const uint32_t now = p->memory->bucket[b];

		if (before[b] == gone)
			own++;
		else if (before[b] != now + (now >= gone))
			moved++;
	}
	assert_true(own > 0);
	assert_true(moved < m * 0.01);
	free(before);
	pool_free(p);
}

static void
test_disruption(void **state)
{
	static const uint32_t sizes[] = { 3, 10, 64, 65, 66, 100, 256, 257,
		1000 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		check_disruption(sizes[i], weight_one);
		check_disruption(sizes[i], weight_mixed);
	}
}

/* For ever: another number here, and every key of every pool moves. */
static void
test_golden(void **state)
{
	static const struct {
		uint32_t scheme, n;
		uint64_t sum;
	} golden[] = {
		{ MAGLEV, 1, UINT64_C(0x11484497f5a0b3fd) },
		{ MAGLEV, 5, UINT64_C(0x4391d8245023d053) },
		{ MAGLEV, 100, UINT64_C(0x89d2d32c743c172e) },
		{ MAGLEV, 1000, UINT64_C(0xcf60efce17e58a92) },
		{ MODULA, 5, UINT64_C(0x0f7bb951bc3b77dd) },
		{ MODULA, 1000, UINT64_C(0xda9ea2e67316fcf7) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
		struct pool *p = pool_new(golden[i].scheme, golden[i].n,
		    weight_mixed);
		uint64_t sum = 0;

		for (uint32_t b = 0; b < p->place.buckets; b++)
			sum = scheme_mix(sum + p->memory->bucket[b]);

		/* Homes, salted tries and tails. */
		for (uint32_t k = 0; k < golden[i].n; k++)
			set(p, k, k % 17 == 0 ? USABLE : k % 17 == 5 ?
			    HELD : DOWN);
		for (unsigned k = 0; k < 5000; k++) {
			struct scheme_choice c;
			const int err = scheme_pick(&p->place, key(p, k), &c);

			sum = scheme_mix(sum + (err == MCSHM_OK));
			sum = scheme_mix(sum + c.home);
			sum = scheme_mix(sum + c.slot);
			sum = scheme_mix(sum + c.tries);
		}
		if (sum != golden[i].sum)
			print_message("row %zu: 0x%016llx\n", i,
			    (unsigned long long)sum);
		assert_true(sum == golden[i].sum);
		pool_free(p);
	}
}

/* The chain --------------------------------------------------------------- */

/* The rule once more, with logarithms from libm. */
static uint32_t
tail_by_libm(const struct pool *p, uint64_t h)
{
	uint32_t best = p->place.servers;
	long double least = 0;

	for (uint32_t i = 0; i < p->place.servers; i++) {
		const uint64_t u = scheme_mix(scheme_mix(h) ^
		    p->memory->roster[i].ident_hash);
		const long double weight =
		    p->place.scheme == MAGLEV ? p->server[i].weight : 1;
		const long double cost =
		    -log2l((long double)(u | 1) / 18446744073709551616.0L) /
		    weight;

		if (state_of(p, i) != DOWN &&
		    (best == p->place.servers || cost < least)) {
			best = i;
			least = cost;
		}
	}
	return best;
}

static void
check_pick(const struct pool *p, uint64_t h)
{
	struct scheme_choice c = { 99, 99, 99 };
	const int err = scheme_pick(&p->place, h, &c);
	uint32_t t = 0, slot = scheme_try(&p->place, h, 0);

	assert_int_equal(c.home, slot);
	while (t < SCHEME_TRIES && state_of(p, slot) == DOWN)
		slot = scheme_try(&p->place, h, ++t);
	if (state_of(p, slot) == DOWN) {
		slot = tail_by_libm(p, h);
		t++;
	}
	assert_int_equal(c.tries, t);
	if (slot == p->place.servers) {
		assert_int_equal(err, MCSHM_ENONE);
		return;
	}
	assert_int_equal(c.slot, slot);
	assert_int_equal(err,
	    state_of(p, slot) == USABLE ? MCSHM_OK : MCSHM_EHELD);
}

/* Every state of every small pool: keys of usable servers stay, of held ones
 * too, and where there is one of the two, one is found. */
static void
check_all_states(uint32_t scheme, uint32_t n)
{
	struct pool *p = pool_new(scheme, n, weight_mixed);
	uint32_t states = 1;

	for (uint32_t i = 0; i < n; i++)
		states *= 3;
	for (uint32_t s = 0; s < states; s++) {
		for (uint32_t i = 0, left = s; i < n; i++, left /= 3)
			set(p, i, (int)(left % 3));
		for (unsigned k = 0; k < 40; k++)
			check_pick(p, key(p, k));
	}
	pool_free(p);
}

static void
test_all_states(void **state)
{
	(void)state;
	for (uint32_t n = 1; n <= 8; n++) {
		check_all_states(MAGLEV, n);
		check_all_states(MODULA, n);
	}
}

/* Large pools of which few are left: the tail's work. */
static void
test_tail(void **state)
{
	(void)state;
	for (uint32_t n = 63; n <= 1000; n = n * 3 - 60) {
		struct pool *p = pool_new(MAGLEV, n, weight_mixed);

		for (uint32_t left = 0; left < 4; left++) {
			set_all(p, DOWN);
			for (uint32_t i = 0; i < left; i++)
				set(p, n - 1 - i * 7, i == 1 ? HELD : USABLE);
			for (unsigned k = 0; k < 3000; k++)
				check_pick(p, key(p, k));
		}
		pool_free(p);
	}
}

static void
test_blind(void **state)
{
	struct pool *p = pool_new(MAGLEV, 70, weight_one);
	struct scheme_choice c;

	(void)state;
	set_all(p, HELD);
	p->place.blind = true;
	for (unsigned k = 0; k < 1000; k++)
		assert_int_equal(scheme_pick(&p->place, key(p, k), &c),
		    MCSHM_ENONE);
	p->memory->ready[1] = 1 << 5;
	for (unsigned k = 0; k < 1000; k++) {
		assert_int_equal(scheme_pick(&p->place, key(p, k), &c), 0);
		assert_int_equal(c.slot, 69);
	}
	/* Slots that do not exist are nobody. */
	p->memory->ready[1] = UINT64_MAX << 6;
	p->memory->ready[2] = UINT64_MAX;
	for (unsigned k = 0; k < 1000; k++)
		assert_int_equal(scheme_pick(&p->place, key(p, k), &c),
		    MCSHM_ENONE);
	pool_free(p);
}

/* Keys of servers that are down go to the others by weight: chi-square of the
 * counts with as many degrees of freedom as others, bound at about 6 sigma. */
static void
check_spread(struct pool *p, bool tail_only)
{
	const uint32_t n = p->place.servers;
	uint32_t *got = calloc(n, sizeof *got);
	double sum = 0, weights = 0, chi = 0, others = 0;
	struct scheme_choice c;

	for (unsigned k = 0; k < 200000; k++) {
		if (scheme_pick(&p->place, key(p, k), &c) != MCSHM_OK ||
		    c.tries == 0 || (tail_only && c.tries <= SCHEME_TRIES))
			continue;
		got[c.slot]++;
		sum++;
	}
	for (uint32_t i = 0; i < n; i++)
		if (state_of(p, i) == USABLE)
			weights += p->place.scheme == MAGLEV ?
			    p->server[i].weight : 1;
	for (uint32_t i = 0; i < n; i++) {
		const double w =
		    p->place.scheme == MAGLEV ? p->server[i].weight : 1;
		const double want = sum * w / weights;

		if (state_of(p, i) != USABLE)
			continue;
		chi += (got[i] - want) * (got[i] - want) / want;
		others++;
	}
	others--;
	assert_true(sum > 5000);
	assert_true(chi < others + 6 * sqrt(2 * others) + 6);
	free(got);
}

static void
test_spread(void **state)
{
	(void)state;
	for (uint32_t scheme = MAGLEV; scheme <= MODULA; scheme++) {
		struct pool *p = pool_new(scheme, 12, weight_mixed);

		set_all(p, USABLE);
		set(p, 3, DOWN);
		check_spread(p, false);
		set(p, 6, DOWN);
		set(p, 0, DOWN);
		check_spread(p, false);
		pool_free(p);

		p = pool_new(scheme, 1000, weight_mixed);
		for (uint32_t i = 0; i < 10; i++)
			set(p, i * 41 + 1, USABLE);
		check_spread(p, true);
		pool_free(p);
	}
}

/* Whatever is in the memory, and wherever it points: within the memory, a slot
 * of the pool, and an end.  The memory is exactly as large as the mask says,
 * so that ASan sees what is outside. */
static void
test_hostile(void **state)
{
	const size_t size = 65536;
	uint64_t *memory = malloc(size), random = 7;
	struct scheme_choice c;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t r[8];
		struct scheme_place p;

		for (size_t j = 0; j < size / 8; j += 1 + i % 64)
			memory[j] = random = scheme_mix(random + j);
		for (int j = 0; j < 8; j++)
			r[j] = random = scheme_mix(random + 1);
		p = (struct scheme_place){
			.base = (unsigned char *)memory, .mask = size - 1,
			.buckets_off = r[0], .bits_off = r[1],
			.roster_off = r[2], .scheme = r[3] % 4,
			.hash = r[3] >> 32 & 3,
			.servers = r[4] % (MCSHM_MAX_SERVERS + 1),
			.words = r[5] % (MCSHM_MAX_WORDS + 1),
			.buckets = i % 5 ? (uint32_t)r[6] : 0,
			.roster_stride = (uint32_t)r[7], .blind = r[7] >> 63,
		};
		if (i % 7 == 0)
			memset(memory, 0, size);
		scheme_pick(&p, scheme_key(p.hash, r, sizeof r), &c);
		assert_true(c.home < p.servers || c.home == 0);
		assert_true(c.slot < p.servers || c.slot == 0);
		assert_true(c.tries <= SCHEME_TRIES + 1);
	}
	free(memory);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_known_hashes),
		cmocka_unit_test(test_hash_as_libhashkit),
		cmocka_unit_test(test_modula_as_libmemcached),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_shares),
		cmocka_unit_test(test_most_servers),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_disruption),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_all_states),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_blind),
		cmocka_unit_test(test_spread),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
