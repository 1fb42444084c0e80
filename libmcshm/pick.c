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

#include "hash.h"
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
cache_place(struct reader_cache *cache, const struct scheme_place *p)
{
	uint64_t word[READER_PLACE_WORDS];

	memcpy(word, p, sizeof word);
	for (size_t i = 0; i < READER_PLACE_WORDS; i++)
		STORE(place[i], word[i]);
}

/*
 * Word by word to where it is read, and not by way of another copy: what was
 * stored in words and is loaded in pairs of them has to wait for the stores.
 */
static inline void
cached_place(const struct mcshm *m, struct scheme_place *p)
{
	const struct reader_cache *cache = reader_cache(m);

#pragma GCC unroll 32
	for (size_t i = 0; i < READER_PLACE_WORDS; i++) {
		const uint64_t word = LOAD(place[i]);

		memcpy((unsigned char *)p + 8 * i, &word, sizeof word);
	}
}

static void
cache_clear(struct reader_cache *cache)
{
	STORE(native, 0);
	STORE(generation, 0);
}

static bool
is_native(const struct scheme_place *p)
{
	return p->set.scheme == MCSHM_SCHEME_MAGLEV &&
	    p->set.hash == MCSHM_HASH_XXH3 && p->buckets > 0;
}

/* Its offsets and sizes as they are, whatever the others are: as in
 * is_cachable(). */
static bool
is_ring_bounded(const struct scheme_place *p)
{
	const uint64_t index = (UINT64_C(4) << MCSHM_MAX_INDEX_BITS);

	return p->ring_points <= MCSHM_MAX_POINTS &&
	    p->ring_off <= MCSHM_MAX_FILE -
		MCSHM_MAX_POINTS * sizeof(struct mcshm_point) &&
	    p->ring_index_bits <= MCSHM_MAX_INDEX_BITS &&
	    p->ring_index_off <= MCSHM_MAX_FILE - index;
}

static bool
is_simple(const struct scheme_place *p)
{
	return p->set.hash_tag == 0 && p->set.hash != MCSHM_HASH_XXH3 &&
	    scheme_lookup(p->set.scheme) != SCHEME_LOOKUP_RENDEZVOUS &&
	    is_ring_bounded(p);
}

/* Always all of it: a pick may meet words of another generation than it thinks,
 * before it fails its check, and each has to be good by itself. */
static void
cache_simple(struct reader_cache *cache, const struct scheme_place *p)
{
	const struct scheme_ring none = { p->base, p->base, 0, 32 };
	const struct scheme_ring r = is_ring_bounded(p) ? scheme_ring(p) : none;

	STORE(simple, is_simple(p));
	STORE(lookup, scheme_lookup(p->set.scheme));
	STORE(hash, p->set.hash);
	STORE(hash_flags, p->set.hash_flags);
	STORE(ring_at, r.point);
	STORE(ring_index_at, r.index);
	STORE(ring_points, r.points);
	STORE(ring_shift, r.shift);
}

static void
cache_store(struct reader_cache *cache, uint64_t g, const struct reader_view *v)
{
	struct scheme_place place = v->place;
	const struct scheme_place *p = &place;

	place.suspect = NULL;	/* who suspects goes without the cache */
	atomic_thread_fence(memory_order_release);	/* [P] */
	cache_clear(cache);
	STORE(buckets_at, p->base + p->buckets_off);
	STORE(usable_at, p->base + p->bits_off);
	STORE(roster, v->roster);
	STORE(buckets, p->buckets);
	STORE(servers, p->servers);
	cache_place(cache, p);
	cache_simple(cache, p);
	atomic_store_explicit(&cache->generation, g,
	    memory_order_release);			/* [Q] */
	atomic_store_explicit(&cache->native, is_native(p) ? g : 0,
	    memory_order_release);			/* [Q] */
}

/* Whether offsets can be used as they are, with buckets and servers as the
 * only bounds.  Where none is usable no key shall be hashed. */
static bool
is_cachable(uint64_t g, const struct reader_view *v)
{
	const struct scheme_place *p = &v->place;

	return !(g & MCSHM_RETIRED) && !(v->flags & MCSHM_SECTION_FAIL_OPEN) &&
	    !p->blind && v->usable > 0 && p->servers > 0 &&
	    p->buckets_off % 2 == 0 && p->bits_off % 8 == 0 &&
	    p->buckets <= MCSHM_MAX_BUCKETS &&
	    p->buckets_off <= MCSHM_MAX_FILE - 2 * MCSHM_MAX_BUCKETS &&
	    p->bits_off <= MCSHM_MAX_FILE - MCSHM_MAX_SERVERS / 8;
}

static void
cache_fill(struct mcshm *m, uint64_t g, const struct reader_view *v)
{
	struct reader_cache *cache = reader_cache(m);

	if (LOAD(generation) == g || !is_cachable(g, v) || suspect_any(m) ||
	    atomic_exchange_explicit(&cache->filling, 1, memory_order_acquire))
		return;
	/* Never over what belongs to a later one: readers may be at it. */
	if (mcshm_read_ok(reader_generation(m), g))
		cache_store(cache, g, v);
	/* Who marks a server stores the mark first and forgets then; with both
	 * fences one of the two sees what the other did. */
	atomic_thread_fence(memory_order_seq_cst);
	if (suspect_any(m))
		cache_clear(cache);
	atomic_store_explicit(&cache->filling, 0, memory_order_release);
}

void
pick_forget(struct mcshm *m)
{
	atomic_thread_fence(memory_order_seq_cst);
	cache_clear(reader_cache(m));
}

/* The slow path ----------------------------------------------------------- */

/*
 * One key in 256 looks at the clock though its home is usable, so that a
 * process which meets no dead server still finds out that its file is an
 * orphan.  By bits that decide no bucket: maglev goes by the high ones.
 */
static inline bool
is_sample(uint64_t h)
{
	return (h & 0xff000000) == 0;
}

/* Of other schemes, where the high bits may decide, or be none: hashes may have
 * 15 bits only. */
static inline bool
is_sample_of(uint32_t hash, uint64_t h)
{
	return is_sample(hash == MCSHM_HASH_XXH3 ? h :
	    h * UINT64_C(0x9e3779b97f4a7c15) >> 32);
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
chain(const struct mcshm *m, const struct scheme_place *p,
    const struct scheme_key *k, struct mcshm_choice *c)
{
	struct scheme_choice sc;
	const int err = scheme_pick(p, k, &sc);

	c->home = sc.home;
	c->slot = sc.slot;
	/* A chain that went on has found its home neither usable nor held.
	 * Also where the checker fails open: that one is down for certain. */
	if (sc.tries > 0 && !p->blind) {
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

static bool
is_suspect(const struct scheme_place *p, uint32_t slot)
{
	return p->suspect != NULL && (atomic_load_explicit(
	    &p->suspect[slot / 64], memory_order_relaxed) >> slot % 64 & 1);
}

/* The home is usable and not suspect, and this key is not one that looks
 * anyway: staleness could not change the answer. */
static bool
needs_no_clock(const struct scheme_place *p, const struct scheme_key *k)
{
	const uint32_t home = scheme_home(p, k);

	return !is_sample_of(p->set.hash, k->h) &&
	    scheme_bit(p->base, p->mask, p->bits_off, home) &&
	    !is_suspect(p, home);
}

/* The answer by what is there now; it counts if the generation is still g.  No
 * key is hashed where nobody is usable. */
static int
answer(struct mcshm *m, const struct key *in, struct reader_view *v,
    struct mcshm_choice *c, bool *stale)
{
	struct scheme_place *p = &v->place;
	struct scheme_key k = { NULL, 0, 0 };
	const bool hopeless = v->usable == 0;

	if (!hopeless)
		k = scheme_key(&p->set, in->p, in->len);
	p->suspect = suspect_words(m, v);
	*stale = !p->blind && (hopeless || !needs_no_clock(p, &k)) &&
	    reader_is_stale(m);
	p->blind = p->blind || *stale;
	*c = (struct mcshm_choice){ .roster = v->roster };
	if (p->blind || (v->flags & MCSHM_SECTION_FAIL_OPEN))
		c->flags = MCSHM_BLIND;
	if (p->servers == 0 || (p->blind ? v->ready : v->usable) == 0)
		return MCSHM_ENONE;
	if (hopeless)
		k = scheme_key(&p->set, in->p, in->len);
	suspect_apply(m, v);
	return chain(m, p, &k, c);
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

/* The answer where the home is a usable server: *c, and true.  The cache is
 * that of generation g. */
static inline __attribute__((always_inline)) bool
pick_slot(const struct mcshm *m, uint64_t g, uint32_t slot,
    struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);
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

static inline __attribute__((always_inline)) bool
pick_bucket(const struct mcshm *m, uint64_t g, uint32_t bucket,
    struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);

	return pick_slot(m, g, mcshm_load16(LOAD(buckets_at) +
	    2 * (uint64_t)bucket), c);
}

/*
 * Where that has not found it, or the key looks at the clock: the whole chain,
 * from what is known of generation g.
 */
static int
pick_chain(struct mcshm *m, const struct scheme_place *p,
    const struct scheme_key *k, struct mcshm_choice *c, uint64_t g)
{
	const struct reader_cache *cache = reader_cache(m);

	*c = (struct mcshm_choice){ .roster = LOAD(roster) };
	if (likely(!reader_is_stale(m))) {
		const int err = chain(m, p, k, c);

		if (likely(mcshm_read_ok(reader_generation(m), g)))
			return err;
	}
	return pick_slowly(m, k->p, k->len, c);
}

/* The key's hash comes in c->roster: one more register would cost those who
 * need none of this. */
static __attribute__((noinline)) int
pick_away(struct mcshm *m, const void *key, size_t len, struct mcshm_choice *c,
    uint64_t g)
{
	const struct scheme_key k = { key, len, c->roster };
	struct scheme_place place;

	cached_place(m, &place);
	return pick_chain(m, &place, &k, c, g);
}

static inline uint64_t
cached(const _Atomic uint64_t *generation)
{
	return atomic_load_explicit(generation, memory_order_acquire);
}

static inline __attribute__((always_inline)) uint32_t
simple_home(const struct reader_cache *cache, enum scheme_lookup lookup,
    uint64_t h)
{
	const uint32_t n = LOAD(buckets);

	if (lookup == SCHEME_LOOKUP_RING ||
	    lookup == SCHEME_LOOKUP_RING_BEHIND) {
		const struct scheme_ring r = { LOAD(ring_at),
			LOAD(ring_index_at), LOAD(ring_points),
			LOAD(ring_shift) };

		return scheme_ring_slot(&r,
		    scheme_ring_at(&r, lookup, (uint32_t)h));
	}
	return mcshm_load16(LOAD(buckets_at) +
	    2 * (uint64_t)scheme_bucket_at(lookup, n > 0 ? n : 1, h));
}

static inline __attribute__((always_inline)) bool
pick_simple(struct mcshm *m, uint64_t g, uint64_t h, enum scheme_lookup lookup,
    struct mcshm_choice *c)
{
	return likely(!is_sample_of(MCSHM_HASHES, h)) && likely(pick_slot(m, g,
	    simple_home(reader_cache(m), lookup, h), c));
}

/* What is not simple, and native keys that are very long. */
static __attribute__((noinline)) int
pick_other(struct mcshm *m, const void *key, size_t len,
    struct mcshm_choice *c, uint64_t g)
{
	struct scheme_place p;
	struct scheme_key k;

	cached_place(m, &p);
	k = scheme_key(&p.set, key, len);
	if (!is_sample_of(p.set.hash, k.h) &&
	    pick_slot(m, g, scheme_home(&p, &k), c))
		return MCSHM_OK;
	return pick_chain(m, &p, &k, c, g);
}

/* Other schemes than the native one.  Of an empty key some of them say that its
 * hash is 0. */
static __attribute__((noinline)) int
pick_any(struct mcshm *m, const void *key, size_t len, struct mcshm_choice *c)
{
	const struct reader_cache *cache = reader_cache(m);
	const uint64_t g = mcshm_read_begin(reader_generation(m));
	enum scheme_lookup lookup;
	uint64_t h;

	if (unlikely(g != cached(&cache->generation) || g == 0))
		return pick_slowly(m, key, len, c);
	if (!LOAD(simple) || len == 0)
		return pick_other(m, key, len, c, g);
	h = hash_key(LOAD(hash), LOAD(hash_flags), key, len);
	lookup = LOAD(lookup);
	/* Twice, so that the most usual one has no further questions. */
	if (lookup == SCHEME_LOOKUP_RING ?
	    pick_simple(m, g, h, SCHEME_LOOKUP_RING, c) :
	    pick_simple(m, g, h, lookup, c))
		return MCSHM_OK;
	c->roster = h;
	return pick_away(m, key, len, c, g);
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
	    likely(pick_bucket(m, g, scale(h, LOAD(buckets)), c)))
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
