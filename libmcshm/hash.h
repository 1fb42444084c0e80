/*
 * hash.h - the key hashes of memcached's clients, each as its client has it.
 *
 * Pure.  Known answers: tests/unit/test_hash.c, from the libraries themselves.
 */
#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

/* By enum mcshm_hash and MCSHM_HASH_UNSIGNED; 0 for one that is no key hash.
 * All but XXH3 give 32 bits at most. */
uint64_t hash_key(uint32_t hash, uint32_t flags, const void *p, size_t len);

/*
 * Those that go on from where they were: f(f(start, a), b) is the hash of a
 * and b as one text.  CRC32: IEEE, start with 0.  FNV-1a: start with
 * HASH_FNV1A_32_START.
 */
#define HASH_FNV1A_32_START UINT32_C(0x811c9dc5)
uint32_t hash_crc32(uint32_t crc, const void *p, size_t len);
uint32_t hash_fnv1a_32(uint32_t v, uint32_t flags, const void *p, size_t len);
/* The 15 bits that libmemcached, Perl and Python take of it. */
static inline uint32_t
hash_crc15(uint32_t crc)
{
	return crc >> 16 & 0x7fff;
}

/* The whole digests, for points of a ring. */
void hash_md5(const void *p, size_t len, uint32_t word[4]);	/* as they
				 * stand in the digest, little-endian */
void hash_sha1(const void *p, size_t len, uint32_t word[5]);	/* big-endian */

/* MurmurHash3_x86_32. */
uint32_t hash_murmur3(const void *p, size_t len, uint32_t seed);

/* What else is behind hash_key(), each in its unit; flags as there. */
uint32_t hash_md5_first(const void *p, size_t len);
uint32_t hash_crc16(const void *p, size_t len);
uint32_t hash_fnv1_32(const void *p, size_t len, uint32_t flags);
uint32_t hash_fnv1_64_low(const void *p, size_t len, uint32_t flags);
uint32_t hash_fnv1a_64_low(const void *p, size_t len, uint32_t flags);
uint32_t hash_hsieh(const void *p, size_t len, uint32_t flags);
uint32_t hash_one_at_a_time(const void *p, size_t len, uint32_t flags);
uint32_t hash_lookup3(const void *p, size_t len, uint32_t start);
uint32_t hash_murmur2(const void *p, size_t len, uint32_t start);

#endif
