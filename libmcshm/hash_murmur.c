/*
 * hash_murmur.c - Austin Appleby's MurmurHash2 and MurmurHash3_x86_32 (public
 * domain, github.com/aappleby/smhasher); pure.
 */
#include "hash.h"
#include "hash_inline.h"

/* As Appleby has it, but for the length: he starts with seed ^ len. */
uint32_t
hash_murmur2(const void *p, size_t len, uint32_t start)
{
	const uint32_t m = UINT32_C(0x5bd1e995);
	const unsigned char *byte = p;
	uint32_t h = start;

	for (; len >= 4; len -= 4, byte += 4) {
		uint32_t k = hash_load32(byte) * m;

		k = (k ^ k >> 24) * m;
		h = h * m ^ k;
	}
	if (len > 0)
		h = (h ^ hash_load_few(byte, len)) * m;
	h = (h ^ h >> 13) * m;
	return h ^ h >> 15;
}

uint32_t
hash_murmur3(const void *p, size_t len, uint32_t seed)
{
	const unsigned char *byte = p;
	const uint32_t all = (uint32_t)len;
	uint32_t h = seed;

	for (; len >= 4; len -= 4, byte += 4)
		h = hash_murmur3_step(h, hash_load32(byte));
	if (len > 0)
		h ^= hash_murmur3_word(hash_load_few(byte, len));
	return hash_murmur3_end(h ^ all);
}
