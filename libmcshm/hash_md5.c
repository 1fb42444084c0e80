/*
 * hash_md5.c - MD5 (RFC 1321), as a key hash and for the points of rings; pure.
 *
 * For speed, not for secrets.  A key of up to 55 bytes is one block, and the
 * time of a block is the length of its longest chain of dependent steps; so
 * functions of three words are written as sums whose terms wait for as little
 * as possible.
 */
#include "hash.h"
#include "hash_inline.h"

/* The RFC's F, G, H and I.  In the first two no bit is set in both terms. */
#define F(b, c, d) ((~(b) & (d)) + ((b) & (c)))
#define G(b, c, d) ((~(d) & (c)) + ((d) & (b)))
#define H(b, c, d) ((c) ^ (d) ^ (b))
#define I(b, c, d) ((c) ^ (~(d) | (b)))

#define STEP(mix, a, b, c, d, word, constant, turn)			\
	(a) = (b) + hash_rotate(					\
	    (a) + (word) + UINT32_C(constant) + mix(b, c, d), turn)

/* Four steps of a round with the words i, i + step, ... */
#define FOUR(mix, i, step, k1, k2, k3, k4, turn1, turn2, turn3, turn4)	\
	STEP(mix, a, b, c, d, w[(i) & 15], k1, turn1);			\
	STEP(mix, d, a, b, c, w[((i) + (step)) & 15], k2, turn2);	\
	STEP(mix, c, d, a, b, w[((i) + 2 * (step)) & 15], k3, turn3);	\
	STEP(mix, b, c, d, a, w[((i) + 3 * (step)) & 15], k4, turn4)

#define F4(i, k1, k2, k3, k4) FOUR(F, i, 1, k1, k2, k3, k4, 7, 12, 17, 22)
#define G4(i, k1, k2, k3, k4) FOUR(G, i, 5, k1, k2, k3, k4, 5, 9, 14, 20)
#define H4(i, k1, k2, k3, k4) FOUR(H, i, 3, k1, k2, k3, k4, 4, 11, 16, 23)
#define I4(i, k1, k2, k3, k4) FOUR(I, i, 7, k1, k2, k3, k4, 6, 10, 15, 21)

__attribute__((always_inline)) static inline void
steps(uint32_t state[4], const uint32_t w[16])
{
	uint32_t a = state[0], b = state[1], c = state[2], d = state[3];

	F4(0, 0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee);
	F4(4, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501);
	F4(8, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be);
	F4(12, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821);

	G4(1, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa);
	G4(5, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8);
	G4(9, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed);
	G4(13, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a);

	H4(5, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c);
	H4(1, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70);
	H4(13, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05);
	H4(9, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665);

	I4(0, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039);
	I4(12, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1);
	I4(8, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1);
	I4(4, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391);

	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += d;
}

static void
block(uint32_t state[4], const uint32_t w[16])
{
	steps(state, w);
}

/* Whole blocks; where the rest begins. */
static const unsigned char *
blocks(uint32_t state[4], const unsigned char *byte, size_t len)
{
	uint32_t w[16];

	for (; len >= 64; len -= 64, byte += 64) {
		for (size_t i = 0; i < 16; i++)
			w[i] = hash_load32(byte + 4 * i);
		block(state, w);
	}
	return byte;
}

/* The rest, the bit behind it, zeros. */
static inline void
pad(uint32_t w[16], const unsigned char *byte, size_t len)
{
	const size_t few = len % 4;

	memset(w, 0, 16 * sizeof *w);
	for (size_t i = 0; i < len / 4; i++)
		w[i] = hash_load32(byte + 4 * i);
	w[len / 4] = UINT32_C(0x80) << few * 8;
	if (few > 0)
		w[len / 4] |= hash_load_few(byte + len - few, few);
}

static inline void
start(uint32_t state[4])
{
	state[0] = UINT32_C(0x67452301);
	state[1] = UINT32_C(0xefcdab89);
	state[2] = UINT32_C(0x98badcfe);
	state[3] = UINT32_C(0x10325476);
}

void
hash_md5(const void *p, size_t len, uint32_t word[4])
{
	const unsigned char *rest;
	uint32_t w[16];

	start(word);
	rest = blocks(word, p, len);
	pad(w, rest, len % 64);
	if (len % 64 >= 56) {
		block(word, w);
		memset(w, 0, sizeof w);
	}
	w[14] = (uint32_t)len << 3;
	w[15] = (uint32_t)((uint64_t)len >> 29);
	block(word, w);
}

/* The first word of a short key's digest.  The last steps make only the other
 * words: compilers leave them out. */
uint32_t
hash_md5_first(const void *p, size_t len)
{
	uint32_t word[4], w[16];

	if (len >= 56) {
		hash_md5(p, len, word);
		return word[0];
	}
	start(word);
	pad(w, p, len);
	w[14] = (uint32_t)len << 3;
	steps(word, w);
	return word[0];
}
