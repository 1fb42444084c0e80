/*
 * rule.c - the rules of all schemes a second time; see rule.h.
 */
#include "rule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 wide;

/* Hashes of texts --------------------------------------------------------- */

static uint32_t
crc32(const char *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ UINT32_C(0xedb88320) :
			    crc >> 1;
	}
	return ~crc;
}

static uint32_t
crc15(const char *p, size_t len)
{
	return crc32(p, len) >> 16 & 0x7fff;
}

static uint32_t
fnv1a(const char *p, size_t len, bool is_unsigned)
{
	uint32_t v = UINT32_C(2166136261);

	for (size_t i = 0; i < len; i++) {
		v ^= is_unsigned ? (unsigned char)p[i] :
		    (uint32_t)(signed char)p[i];
		v *= UINT32_C(16777619);
	}
	return v;
}

static uint32_t
rotate(uint32_t v, int n)
{
	return v << n | v >> (32 - n);
}

static uint32_t
murmur3(const unsigned char *p, size_t len)
{
	uint32_t h = 0;

	for (size_t i = 0; i < len; i += 4) {
		uint32_t w = 0;

		for (size_t j = 0; j < 4 && i + j < len; j++)
			w |= (uint32_t)p[i + j] << 8 * j;
		w = rotate(w * UINT32_C(0xcc9e2d51), 15) *
		    UINT32_C(0x1b873593);
		h ^= w;
		if (i + 4 <= len)
			h = rotate(h, 13) * 5 + UINT32_C(0xe6546b64);
	}
	h ^= (uint32_t)len;
	h = (h ^ h >> 16) * UINT32_C(0x85ebca6b);
	h = (h ^ h >> 13) * UINT32_C(0xc2b2ae35);
	return h ^ h >> 16;
}

static uint64_t
mix(uint64_t z)
{
	z ^= z >> 30;
	z *= UINT64_C(13787848793156543929);
	z ^= z >> 27;
	z *= UINT64_C(10723151780598845931);
	return z ^ z >> 31;
}

/* Texts ------------------------------------------------------------------- */

struct text {
	char p[1200];
	size_t len;
};

static void
put(struct text *t, const void *p, size_t len)
{
	if (len > sizeof t->p - t->len)
		abort();
	memcpy(t->p + t->len, p, len);
	t->len += len;
}

static void
put_number(struct text *t, uint64_t n)
{
	char digits[24];
	const int len = snprintf(digits, sizeof digits, "%llu",
	    (unsigned long long)n);

	put(t, digits, (size_t)len);
}

/* Of bytes without quotes and backslashes, as Python prints them. */
static void
put_python(struct text *t, const struct scheme_key *k)
{
	const unsigned char *p = k->p;
	char escape[5];

	put(t, "b'", 2);
	for (size_t i = 0; i < k->len; i++) {
		snprintf(escape, sizeof escape, "\\x%02x", p[i]);
		if (p[i] == '\'' || p[i] == '"' || p[i] == '\\')
			abort();
		if (' ' <= p[i] && p[i] < 0x7f)
			put(t, &p[i], 1);
		else if (p[i] == '\t' || p[i] == '\n' || p[i] == '\r')
			put(t, p[i] == '\t' ? "\\t" : p[i] == '\n' ? "\\n" :
			    "\\r", 2);
		else
			put(t, escape, 4);
	}
	put(t, "'", 1);
}

/* Places ------------------------------------------------------------------ */

static uint32_t
scaled(const struct mkplace *p, uint64_t h)
{
	return p->bucket[(uint32_t)((wide)h * p->place.buckets >> 64)];
}

static uint32_t
salted(const struct mkplace *p, const struct scheme_key *k, uint32_t t)
{
	return scaled(p, mix(k->h + t * UINT64_C(11400714819323198485)));
}

/* The point of this hash. */
static uint32_t
at_or_behind(const struct mkplace *p, uint64_t h)
{
	for (uint32_t i = 0; i < p->place.ring_points; i++)
		if (p->ring[i].point >= h)
			return i;
	return 0;
}

static uint32_t
at_or_before(const struct mkplace *p, uint64_t h)
{
	for (uint32_t i = p->place.ring_points; i-- > 0; )
		if (p->ring[i].point <= h)
			return i;
	return p->place.ring_points - 1;
}

/* Chains ------------------------------------------------------------------ */

static uint32_t
salt_way(const struct mkplace *p, const struct scheme_key *k, uint32_t home,
    uint32_t *slot)
{
	slot[0] = home;
	for (uint32_t t = 1; t <= 32; t++)
		slot[t] = salted(p, k, t);
	return 33;
}

/* On to the next other server; it may be one that was met before. */
static uint32_t
ring_way(const struct mkplace *p, const struct scheme_key *k, uint32_t *slot)
{
	uint32_t at = at_or_behind(p, k->h);

	slot[0] = p->ring[at].slot;
	for (uint32_t t = 1; t <= 256; t++) {
		for (int i = 0; i < 64 && p->ring[at].slot == slot[t - 1]; i++)
			at = (at + 1) % p->place.ring_points;
		slot[t] = p->ring[at].slot;
	}
	return 257;
}

static uint32_t
cache_memcached_way(const struct mkplace *p, const struct scheme_key *k,
    uint32_t *slot)
{
	uint64_t h = crc15(k->p, k->len);

	slot[0] = p->bucket[h % p->place.buckets];
	for (uint32_t t = 1; t <= 20; t++) {
		struct text text = { .len = 0 };

		put_number(&text, t);
		put(&text, k->p, k->len);
		h += crc15(text.p, text.len);
		slot[t] = p->bucket[h % p->place.buckets];
	}
	return 21;
}

/* "or 1" */
static uint32_t
python_hash(const char *p, size_t len)
{
	return crc15(p, len) != 0 ? crc15(p, len) : 1;
}

static uint32_t
python_way(const struct mkplace *p, const struct scheme_key *k, uint32_t *slot)
{
	uint32_t h = python_hash(k->p, k->len);

	slot[0] = p->bucket[h % p->place.buckets];
	for (uint32_t t = 1; t <= 9; t++) {
		struct text text = { .len = 0 };

		put_number(&text, h);
		put_number(&text, t - 1);
		h = python_hash(text.p, text.len);
		slot[t] = p->bucket[h % p->place.buckets];
	}
	return 10;
}

static uint32_t
php_hash(const struct mkplace *p, const struct text *t)
{
	if (p->place.set.hash == MCSHM_HASH_CRC32A)
		return crc32(t->p, t->len);
	return fnv1a(t->p, t->len,
	    p->place.set.hash_flags & MCSHM_HASH_UNSIGNED);
}

static uint32_t
php_way(const struct mkplace *p, const struct scheme_key *k, uint32_t *slot)
{
	for (uint32_t t = 0; t <= 20; t++) {
		struct text text = { .len = 0 };
		uint32_t h;

		put(&text, k->p, k->len);
		if (t > 0) {
			put(&text, "-", 1);
			put_number(&text, t - 1);
		}
		h = php_hash(p, &text);
		if (p->place.set.scheme == MCSHM_SCHEME_PHP_MEMCACHE_STANDARD)
			h = h >> 16 & 0x7fff ? h >> 16 & 0x7fff : 1;
		slot[t] = p->bucket[h % p->place.buckets];
	}
	return 21;
}

static uint32_t
dalli_way(const struct mkplace *p, const struct scheme_key *k, uint32_t *slot)
{
	for (uint32_t t = 0; t <= 19; t++) {
		struct text text = { .len = 0 };

		if (t > 0)
			put_number(&text, t - 1);
		put(&text, k->p, k->len);
		slot[t] = p->ring[at_or_before(p,
		    crc32(text.p, text.len))].slot;
	}
	return 20;
}

/* Contests ---------------------------------------------------------------- */

static uint32_t
python_score(const struct mkplace *p, const struct scheme_key *k, uint32_t i)
{
	struct text text = { .len = 0 };

	put(&text, p->server[i].ident, p->server[i].len);
	put(&text, "-", 1);
	if (p->place.set.scheme == MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES)
		put_python(&text, k);
	else
		put(&text, k->p, k->len);
	return murmur3((unsigned char *)text.p, text.len);
}

static bool
is_python(const struct mkplace *p)
{
	return p->place.set.scheme == MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS ||
	    p->place.set.scheme == MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES;
}

static bool
python_beats(const struct mkplace *p, const struct scheme_key *k, uint32_t a,
    uint32_t b)
{
	const uint32_t of_a = python_score(p, k, a);
	const uint32_t of_b = python_score(p, k, b);

	return of_a != of_b ? of_a > of_b :
	    strcmp(p->server[a].ident, p->server[b].ident) > 0;
}

static long double
cost(const struct mkplace *p, const struct scheme_key *k, uint32_t i)
{
	const uint64_t u = mix(mix(k->h) ^ p->roster[i].ident_hash);
	const long double weight = scheme_has_weights(p->place.set.scheme) ?
	    p->server[i].weight : 1;

	return -log2l((long double)(u | 1) / 18446744073709551616.0L) /
	    weight;
}

static bool
beats(const struct mkplace *p, const struct scheme_key *k, uint32_t a,
    uint32_t b)
{
	return is_python(p) ? python_beats(p, k, a, b) :
	    cost(p, k, a) < cost(p, k, b);
}

uint32_t
rule_tail(const struct mkplace *p, const struct scheme_key *k)
{
	const uint32_t n = p->plan.n;
	uint32_t best = n;

	for (uint32_t i = 0; i < n; i++)
		if (mkplace_state(p, i) != MKPLACE_DOWN &&
		    (best == n || beats(p, k, i, best)))
			best = i;
	return best;
}

uint32_t
rule_tail_tries(const struct mkplace *p, const struct scheme_key *k,
    uint32_t steps, uint32_t slot)
{
	uint32_t n = 0;

	if (!is_python(p))
		return steps;
	for (uint32_t i = 0; i < p->plan.n; i++)
		n += i != slot && beats(p, k, i, slot);
	return n;
}

static uint32_t
python_home(const struct mkplace *p, const struct scheme_key *k)
{
	uint32_t best = 0;

	for (uint32_t i = 1; i < p->plan.n; i++)
		if (beats(p, k, i, best))
			best = i;
	return best;
}

uint32_t
rule_way(const struct mkplace *p, const struct scheme_key *k,
    uint32_t slot[RULE_STEPS])
{
	switch (p->place.set.scheme) {
	case MCSHM_SCHEME_MAGLEV:
		return salt_way(p, k, scaled(p, k->h), slot);
	case MCSHM_SCHEME_LIBMEMCACHED_MODULA:
	case MCSHM_SCHEME_TWEMPROXY_MODULA:
		return salt_way(p, k, p->bucket[k->h % p->place.buckets],
		    slot);
	case MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET:
		return salt_way(p, k, p->bucket[k->h & (p->place.buckets - 1)],
		    slot);
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA:
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED:
	case MCSHM_SCHEME_TWEMPROXY_KETAMA:
		return ring_way(p, k, slot);
	case MCSHM_SCHEME_CACHE_MEMCACHED:
		return cache_memcached_way(p, k, slot);
	case MCSHM_SCHEME_PYTHON_MEMCACHED:
		return python_way(p, k, slot);
	case MCSHM_SCHEME_PHP_MEMCACHE_STANDARD:
	case MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT:
		return php_way(p, k, slot);
	case MCSHM_SCHEME_DALLI:
		return dalli_way(p, k, slot);
	default:
		slot[0] = python_home(p, k);
		return 1;
	}
}
