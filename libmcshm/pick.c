/*
 * pick.c - mcshm_pick(): the one function whose speed matters.
 *
 * Straight to the answer where all is as nearly always: a generation that was
 * met before, a home that is usable.  Whatever else there may be is
 * pick_slowly()'s, which begins anew.  Neither locks, allocates or (but by
 * follow.c) makes a system call.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "reader.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct key {
	const void *p;
	size_t len;
};

/* The cache --------------------------------------------------------------- */

#define LOAD(field) atomic_load_explicit(&cache->field, memory_order_relaxed)
#define STORE(field, v) \
	atomic_store_explicit(&cache->field, v, memory_order_relaxed)

static void
cache_store(struct reader_cache *cache, uint64_t g, const struct reader_view *v)
{
	const struct scheme_place *p = &v->place;
	const bool native = p->scheme == MCSHM_SCHEME_MAGLEV &&
	    p->hash == MCSHM_HASH_XXH3;

	atomic_thread_fence(memory_order_release);	/* [P] */
	STORE(native, 0);
	STORE(generation, 0);
	STORE(buckets_at, p->base + p->buckets_off);
	STORE(usable_at, p->base + p->bits_off);
	STORE(roster, v->roster);
	STORE(buckets, p->buckets);
	STORE(servers, p->servers);
	STORE(scheme, p->scheme);
	STORE(hash, p->hash);
	STORE(roster_at, p->roster_off);
	STORE(roster_stride, p->roster_stride);
	STORE(words, p->words);
	atomic_store_explicit(&cache->generation, g,
	    memory_order_release);			/* [Q] */
	atomic_store_explicit(&cache->native, native ? g : 0,
	    memory_order_release);			/* [Q] */
}

/* Whether offsets can be used as they are, with buckets and servers as the
 * only bounds.  Where none is usable no key shall be hashed. */
static bool
is_cachable(uint64_t g, const struct reader_view *v)
{
	const struct scheme_place *p = &v->place;

	return !(g & MCSHM_RETIRED) && !(v->flags & MCSHM_SECTION_FAIL_OPEN) &&
	    !p->blind && v->usable > 0 && p->servers > 0 && p->buckets > 0 &&
	    p->buckets_off % 2 == 0 && p->bits_off % 8 == 0 &&
	    p->buckets <= MCSHM_MAX_BUCKETS &&
	    p->buckets_off <= MCSHM_MAX_FILE - 2 * MCSHM_MAX_BUCKETS &&
	    p->bits_off <= MCSHM_MAX_FILE - MCSHM_MAX_SERVERS / 8;
}

static void
cache_fill(struct mcshm *m, uint64_t g, const struct reader_view *v)
{
	struct reader_cache *cache = reader_cache(m);

	if (LOAD(generation) == g || !is_cachable(g, v) ||
	    atomic_exchange_explicit(&cache->filling, 1, memory_order_acquire))
		return;
	/* Never over what belongs to a later one: readers may be at it. */
	if (mcshm_read_ok(reader_generation(m), g))
		cache_store(cache, g, v);
	atomic_store_explicit(&cache->filling, 0, memory_order_release);
}

/* The slow path ----------------------------------------------------------- */

/*
 * One key in 256 looks at the clock though its home is usable, so that a
 * process which meets no dead server still finds out that its file is an
 * orphan.  By bits that decide no bucket: maglev goes by the high ones, modula
 * more or less by the low ones.
 */
static inline bool
is_sample(uint64_t h)
{
	return (h & 0xff000000) == 0;
}

/* What the pool says about keys whose home is down. */
static int
dead_policy(const struct mcshm *m)
{
	switch (reader_load32(m, READER_HEADER(dead))) {
	case MCSHM_DEAD_MISS:
		return MCSHM_EMISS;
	case MCSHM_DEAD_ERROR:
		return MCSHM_EDOWN;
	default:
		return MCSHM_OK;
	}
}

static int
chain(const struct mcshm *m, const struct scheme_place *p, uint64_t h,
    struct mcshm_choice *c)
{
	struct scheme_choice sc;
	const int err = scheme_pick(p, h, &sc);

	c->home = sc.home;
	c->slot = sc.slot;
	/* A chain that went on has found its home neither usable nor held. */
	if (sc.tries > 0 && !(c->flags & MCSHM_BLIND)) {
		const int policy = dead_policy(m);

		if (policy != MCSHM_OK) {
			c->slot = sc.home;
			return policy;
		}
	}
	c->tries = sc.tries;
	if (sc.slot != sc.home)
		c->failover_ttl =
		    reader_load32(m, READER_HEADER(failover_ttl));
	return err;
}

/* The home is usable, and this key is not one that looks anyway: staleness
 * could not change the answer. */
static bool
needs_no_clock(const struct scheme_place *p, uint64_t h)
{
	return !is_sample(h) && scheme_bit(p->base, p->mask, p->bits_off,
	    scheme_try(p, h, 0));
}

/* The answer by what is there now; it counts if the generation is still g. */
static int
answer(const struct mcshm *m, const struct key *k, struct reader_view *v,
    struct mcshm_choice *c, bool *stale)
{
	struct scheme_place *p = &v->place;
	uint64_t h = 0;
	const bool hopeless = v->usable == 0;

	if (!hopeless)
		h = scheme_key(p->hash, k->p, k->len);
	*stale = !p->blind && (hopeless || !needs_no_clock(p, h)) &&
	    reader_is_stale(m);
	p->blind = p->blind || *stale;
	*c = (struct mcshm_choice){ .roster = v->roster };
	if (p->blind || (v->flags & MCSHM_SECTION_FAIL_OPEN))
		c->flags = MCSHM_BLIND;
	if (p->servers == 0 || (p->blind ? v->ready : v->usable) == 0)
		return MCSHM_ENONE;
	if (hopeless)
		h = scheme_key(p->hash, k->p, k->len);
	return chain(m, p, h, c);
}

static int
answer_strictly(struct mcshm *m, const struct key *k, struct mcshm_choice *c,
    bool *stale)
{
	struct reader_view v;
	int err = reader_failed(m);

	*c = (struct mcshm_choice){ 0 };
	*stale = false;
	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(m));

		if (g == 0)
			continue;
		reader_view(m, g, &v);
		err = answer(m, k, &v, c, stale);
		if (mcshm_read_ok(reader_generation(m), g)) {
			cache_fill(m, g, &v);
			return err;
		}
	}
	/* Every bit that was read was true an instant ago. */
	if (c->roster != 0)
		c->flags |= MCSHM_BLIND;
	return err;
}

static __attribute__((noinline)) int
pick_slowly(struct mcshm *m, const void *p, size_t len, struct mcshm_choice *c)
{
	const struct key k = { p, len };
	bool stale;
	int err;

	reader_catch_up(m);
	err = answer_strictly(m, &k, c, &stale);
	if (stale && !(m->flags & MCSHM_NOFOLLOW) && reader_look(m))
		err = answer_strictly(m, &k, c, &stale);
	return err;
}

/* The fast path ----------------------------------------------------------- */

/*
 * The answer where the key's bucket leads to a usable server: *c, and true.
 * The cache is that of generation g.
 */
static inline __attribute__((always_inline)) bool
pick_home(const struct mcshm *m, uint64_t g, uint32_t bucket,
    struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);
	const uint32_t slot = mcshm_load16(LOAD(buckets_at) +
	    2 * (uint64_t)bucket);
	uint64_t roster;

	/* Nobody has summed up the table since the file was mapped. */
	if (unlikely(slot >= LOAD(servers)))
		return false;
	if (!(mcshm_load(LOAD(usable_at) + slot / 64 * 8) >> slot % 64 & 1))
		return false;
	roster = LOAD(roster);
	if (unlikely(!mcshm_read_ok(reader_generation(m), g)))
		return false;
	*c = (struct mcshm_choice){
		.roster = roster, .slot = slot, .home = slot };
	return true;
}

static struct scheme_place
cached_place(const struct mcshm *m)
{
	const struct reader_cache *cache = reader_cache(m);
	const unsigned char *base = reader_base(m);

	return (struct scheme_place){
		.base = base,
		.mask = READER_MASK,
		.buckets_off = (uint64_t)(LOAD(buckets_at) - base),
		.bits_off = (uint64_t)(LOAD(usable_at) - base),
		.roster_off = LOAD(roster_at),
		.scheme = LOAD(scheme),
		.hash = LOAD(hash),
		.servers = LOAD(servers),
		.words = LOAD(words),
		.buckets = LOAD(buckets),
		.roster_stride = LOAD(roster_stride),
	};
}

/*
 * Where pick_home() has not found it, or the key looks at the clock: the whole
 * chain, from what is known of generation g.  The key's hash comes in
 * c->roster: one more register would cost those who need none of this.
 */
static __attribute__((noinline)) int
pick_away(struct mcshm *m, const void *key, size_t len, struct mcshm_choice *c,
    uint64_t g)
{
	const struct reader_cache *cache = reader_cache(m);
	const struct scheme_place place = cached_place(m);
	const uint64_t h = c->roster;

	*c = (struct mcshm_choice){ .roster = LOAD(roster) };
	if (likely(!reader_is_stale(m))) {
		const int err = chain(m, &place, h, c);

		if (likely(mcshm_read_ok(reader_generation(m), g)))
			return err;
	}
	return pick_slowly(m, key, len, c);
}

static inline uint64_t
cached(const _Atomic uint64_t *generation)
{
	return atomic_load_explicit(generation, memory_order_acquire);
}

/* Other schemes, and keys that are very long. */
static __attribute__((noinline)) int
pick_any(struct mcshm *m, const void *key, size_t len, struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);
	const uint64_t g = mcshm_read_begin(reader_generation(m));

	if (likely(g == cached(&cache->generation) && g != 0)) {
		const uint64_t h = scheme_key(LOAD(hash), key, len);
		const uint32_t bucket = scheme_bucket(LOAD(scheme), h, 0,
		    LOAD(buckets));

		c->roster = h;
		if (!is_sample(h) && pick_home(m, g, bucket, c))
			return MCSHM_OK;
		return pick_away(m, key, len, c, g);
	}
	return pick_slowly(m, key, len, c);
}

/* scheme_scale(), by one multiplication where the machine has it. */
static inline uint32_t
scale(uint64_t h, uint32_t n)
{
	return (uint32_t)XXH_mult64to128(h, n).high64;
}

static inline __attribute__((always_inline)) int
pick_native(struct mcshm *m, uint64_t g, const void *key, size_t len,
    struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);
	const uint64_t h = XXH3_64bits(key, len);

	c->roster = h;
	if (likely(!is_sample(h)) &&
	    likely(pick_home(m, g, scale(h, LOAD(buckets)), c)))
		return MCSHM_OK;
	return pick_away(m, key, len, c, g);
}

/* XXH3 is another function for each range of lengths: with the shortest only
 * in it, mcshm_pick() needs next to no stack. */
static __attribute__((noinline, flatten)) int
pick_native_long(struct mcshm *m, const void *key, size_t len,
    struct mcshm_choice *c, uint64_t g)
{
	if (len <= 16 || len > 128)
		__builtin_unreachable();
	return pick_native(m, g, key, len, c);
}

__attribute__((flatten)) int
mcshm_pick(struct mcshm *m, const void *key, size_t len, struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);
	const uint64_t g = mcshm_read_begin(reader_generation(m));

	if (unlikely(g != cached(&cache->native) || g == 0 || len > 128))
		return pick_any(m, key, len, c);
	if (len > 16)
		return pick_native_long(m, key, len, c, g);
	return pick_native(m, g, key, len, c);
}
