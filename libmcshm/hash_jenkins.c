/*
 * hash_jenkins.c - Bob Jenkins' hashes: one-at-a-time and lookup3; pure.
 *
 * One-at-a-time: "Hash functions", Dr. Dobb's Journal, September 1997.
 * libmemcached's default, twemproxy's one_at_a_time.  Lookup3's hashlittle:
 * burtleburtle.net/bob/c/lookup3.c, 2006; clients start it with 13.
 */
#include "hash.h"
#include "hash_inline.h"

static inline uint32_t
one_at_a_time(const unsigned char *byte, size_t len, uint32_t flags)
{
	uint32_t v = 0;

	for (size_t i = 0; i < len; i++) {
		v += hash_char(byte[i], flags);
		v += v << 10;
		v ^= v >> 6;
	}
	v += v << 3;
	v ^= v >> 11;
	v += v << 15;
	return v;
}

uint32_t
hash_one_at_a_time(const void *p, size_t len, uint32_t flags)
{
	if (flags & MCSHM_HASH_UNSIGNED)
		return one_at_a_time(p, len, MCSHM_HASH_UNSIGNED);
	return one_at_a_time(p, len, 0);
}

struct lookup3 {
	uint32_t a, b, c;
};

static inline void
lookup3_mix(struct lookup3 *s)
{
	s->a = (s->a - s->c) ^ hash_rotate(s->c, 4);
	s->c += s->b;
	s->b = (s->b - s->a) ^ hash_rotate(s->a, 6);
	s->a += s->c;
	s->c = (s->c - s->b) ^ hash_rotate(s->b, 8);
	s->b += s->a;
	s->a = (s->a - s->c) ^ hash_rotate(s->c, 16);
	s->c += s->b;
	s->b = (s->b - s->a) ^ hash_rotate(s->a, 19);
	s->a += s->c;
	s->c = (s->c - s->b) ^ hash_rotate(s->b, 4);
	s->b += s->a;
}

static inline uint32_t
lookup3_final(struct lookup3 *s)
{
	s->c = (s->c ^ s->b) - hash_rotate(s->b, 14);
	s->a = (s->a ^ s->c) - hash_rotate(s->c, 11);
	s->b = (s->b ^ s->a) - hash_rotate(s->a, 25);
	s->c = (s->c ^ s->b) - hash_rotate(s->b, 16);
	s->a = (s->a ^ s->c) - hash_rotate(s->c, 4);
	s->b = (s->b ^ s->a) - hash_rotate(s->a, 14);
	return (s->c ^ s->b) - hash_rotate(s->b, 24);
}

/* Word i of the last 12 bytes or less, with zeros behind them. */
static inline uint32_t
lookup3_word(const unsigned char *byte, size_t len, size_t i)
{
	if (len >= 4 * i + 4)
		return hash_load32(byte + 4 * i);
	return len > 4 * i ? hash_load_few(byte + 4 * i, len - 4 * i) : 0;
}

uint32_t
hash_lookup3(const void *p, size_t len, uint32_t start)
{
	const unsigned char *byte = p;
	const uint32_t all = UINT32_C(0xdeadbeef) + (uint32_t)len + start;
	struct lookup3 s = { all, all, all };

	if (len == 0)
		return s.c;
	for (; len > 12; len -= 12, byte += 12) {
		s.a += hash_load32(byte);
		s.b += hash_load32(byte + 4);
		s.c += hash_load32(byte + 8);
		lookup3_mix(&s);
	}
	s.a += lookup3_word(byte, len, 0);
	s.b += lookup3_word(byte, len, 1);
	s.c += lookup3_word(byte, len, 2);
	return lookup3_final(&s);
}
