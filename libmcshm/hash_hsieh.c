/*
 * hash_hsieh.c - Paul Hsieh's SuperFastHash, from its description at
 * www.azillionmonkeys.com/qed/hash.html; pure.
 *
 * Clients start it with 0, where Hsieh starts with the length.  Of the bytes
 * that are left at the end they take a third one as a plain char.
 */
#include "hash.h"
#include "hash_inline.h"

static inline uint32_t
load16(const unsigned char *p)
{
	return p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t
rest(uint32_t h, const unsigned char *byte, size_t len, uint32_t flags)
{
	switch (len) {
	case 3:
		h += load16(byte);
		h ^= h << 16;
		h ^= hash_char(byte[2], flags) << 18;
		return h + (h >> 11);
	case 2:
		h += load16(byte);
		h ^= h << 11;
		return h + (h >> 17);
	case 1:
		h += byte[0];
		h ^= h << 10;
		return h + (h >> 1);
	default:
		return h;
	}
}

uint32_t
hash_hsieh(const void *p, size_t len, uint32_t flags)
{
	const unsigned char *byte = p;
	uint32_t h = 0;

	for (; len >= 4; len -= 4, byte += 4) {
		const uint32_t v = hash_load32(byte);

		h += v & 0xffff;
		h = h << 16 ^ (v >> 16) << 11 ^ h;
		h += h >> 11;
	}
	h = rest(h, byte, len, flags);
	h ^= h << 3;
	h += h >> 5;
	h ^= h << 4;
	h += h >> 17;
	h ^= h << 25;
	return h + (h >> 6);
}
