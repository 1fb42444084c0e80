/*
 * hash_sha1.c - SHA-1 (FIPS 180-4), for the points of dalli's ring; pure.
 *
 * Only the daemon computes it, when it builds a placement: short, not fast.
 */
#include "hash.h"
#include "hash_inline.h"

static uint32_t
load_big(const unsigned char *p)
{
	return __builtin_bswap32(hash_load32(p));
}

static uint32_t
choose(unsigned t, uint32_t b, uint32_t c, uint32_t d)
{
	if (t < 20)
		return (b & c) | (~b & d);
	if (t >= 40 && t < 60)
		return (b & c) | (b & d) | (c & d);
	return b ^ c ^ d;
}

static void
block(uint32_t state[5], const unsigned char *byte)
{
	static const uint32_t constant[4] = {
		0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6
	};
	uint32_t w[80], a = state[0], b = state[1], c = state[2];
	uint32_t d = state[3], e = state[4];

	for (unsigned t = 0; t < 16; t++)
		w[t] = load_big(byte + 4 * t);
	for (unsigned t = 16; t < 80; t++)
		w[t] = hash_rotate(
		    w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
	for (unsigned t = 0; t < 80; t++) {
		const uint32_t next = hash_rotate(a, 5) + choose(t, b, c, d) +
		    e + constant[t / 20] + w[t];

		e = d;
		d = c;
		c = hash_rotate(b, 30);
		b = a;
		a = next;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
	state[4] += e;
}

void
hash_sha1(const void *p, size_t len, uint32_t word[5])
{
	const unsigned char *byte = p;
	const uint64_t bits = (uint64_t)len * 8;
	unsigned char last[128] = { 0 };
	size_t size;

	word[0] = 0x67452301;
	word[1] = 0xefcdab89;
	word[2] = 0x98badcfe;
	word[3] = 0x10325476;
	word[4] = 0xc3d2e1f0;
	for (; len >= 64; len -= 64, byte += 64)
		block(word, byte);
	if (len > 0)
		memcpy(last, byte, len);
	last[len] = 0x80;
	size = len < 56 ? 64 : 128;
	for (unsigned i = 0; i < 8; i++)
		last[size - 1 - i] = (unsigned char)(bits >> 8 * i);
	for (size_t i = 0; i < size; i += 64)
		block(word, last + i);
}
