/*
 * hash.c - which hash a number of the file means; pure.
 *
 * What a client's maker chose to start a hash with is here; the hashes are in
 * units of their own.
 */
#include "hash.h"

#include "hash_xxh3.h"
#include "mcshm_format.h"

/* libmemcached's, for both of Murmur's. */
#define MURMUR_SEED(len) (UINT32_C(0xdeadbeef) * (uint32_t)(len))
#define JENKINS_START 13

uint64_t
hash_key(uint32_t hash, uint32_t flags, const void *p, size_t len)
{
	switch (hash) {
	case MCSHM_HASH_XXH3:
		return hash_xxh3(p, len, 0);
	case MCSHM_HASH_ONE_AT_A_TIME:
		return hash_one_at_a_time(p, len, flags);
	case MCSHM_HASH_MD5:
		return hash_md5_first(p, len);
	case MCSHM_HASH_CRC:
		return hash_crc15(hash_crc32(0, p, len));
	case MCSHM_HASH_FNV1_64:
		return hash_fnv1_64_low(p, len, flags);
	case MCSHM_HASH_FNV1A_64:
		return hash_fnv1a_64_low(p, len, flags);
	case MCSHM_HASH_FNV1_32:
		return hash_fnv1_32(p, len, flags);
	case MCSHM_HASH_FNV1A_32:
		return hash_fnv1a_32(HASH_FNV1A_32_START, flags, p, len);
	case MCSHM_HASH_HSIEH:
		return hash_hsieh(p, len, flags);
	case MCSHM_HASH_MURMUR:
		return hash_murmur2(p, len, MURMUR_SEED(len) ^ (uint32_t)len);
	case MCSHM_HASH_MURMUR3:
		return hash_murmur3(p, len, MURMUR_SEED(len));
	case MCSHM_HASH_JENKINS:
		return hash_lookup3(p, len, JENKINS_START);
	case MCSHM_HASH_CRC16:
		return hash_crc16(p, len);
	case MCSHM_HASH_CRC32A:
		return hash_crc32(0, p, len);
	case MCSHM_HASH_MURMUR3_ZERO:
		return hash_murmur3(p, len, 0);
	default:
		return 0;
	}
}
