/*
 * hash_inline.h - what several hashes do alike: load words, rotate them, take
 * bytes as plain chars.  Pure; for hash_*.c and scheme_rendezvous.c.
 *
 * Words are little-endian and may stand anywhere.  Nothing here reads a byte
 * that it was not given.
 */
#ifndef HASH_INLINE_H
#define HASH_INLINE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mcshm_format.h"

static inline uint32_t
hash_load32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ?
	    __builtin_bswap32(v) : v;
}

/* The last n bytes, 1 to 3, as the low ones of a word; no branch. */
static inline uint32_t
hash_load_few(const unsigned char *p, size_t n)
{
	return p[0] | (uint32_t)p[n / 2] << n / 2 * 8 |
	    (uint32_t)p[n - 1] << (n - 1) * 8;
}

static inline uint32_t
hash_rotate(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

/* Murmur3's parts, for who goes on from where a hash was. */
static inline uint32_t
hash_murmur3_word(uint32_t v)
{
	return hash_rotate(v * UINT32_C(0xcc9e2d51), 15) *
	    UINT32_C(0x1b873593);
}

static inline uint32_t
hash_murmur3_step(uint32_t h, uint32_t v)
{
	h = hash_rotate(h ^ hash_murmur3_word(v), 13);
	return h * 5 + UINT32_C(0xe6546b64);
}

/* h: with the length added to it. */
static inline uint32_t
hash_murmur3_end(uint32_t h)
{
	h = (h ^ h >> 16) * UINT32_C(0x85ebca6b);
	h = (h ^ h >> 13) * UINT32_C(0xc2b2ae35);
	return h ^ h >> 16;
}

/*
 * Several makers added plain chars.  Those are signed on x86, so that a byte
 * from 0x80 on is a negative number, and unsigned on ARM and POWER.  Which of
 * the two a fleet has stands in its file, and holds on every machine.  A loop
 * that is to be fast is there twice, once for each.
 */
static inline uint32_t
hash_char(unsigned char byte, uint32_t flags)
{
	return flags & MCSHM_HASH_UNSIGNED ? byte : (uint32_t)(int8_t)byte;
}

#endif
