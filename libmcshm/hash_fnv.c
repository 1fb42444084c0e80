/*
 * hash_fnv.c - the FNV hashes of Fowler, Noll and Vo (IETF draft-eastlake-fnv,
 * www.isthe.com/chongo/tech/comp/fnv), FNV-1 and FNV-1a; pure.
 *
 * Of the 64-bit ones the clients keep the low 32 bits, and those depend on
 * nothing above them: so 32 bits are all that is computed.
 */
#include "hash.h"
#include "hash_inline.h"

#define PRIME_32 UINT32_C(0x01000193)
#define START_64_LOW UINT32_C(0x84222325)	/* of 0xcbf29ce484222325 */
#define PRIME_64_LOW UINT32_C(0x1b3)		/* of 0x100000001b3 */

static inline uint32_t
fnv1_chars(uint32_t v, uint32_t prime, uint32_t flags,
    const unsigned char *byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		v = v * prime ^ hash_char(byte[i], flags);
	return v;
}

static inline uint32_t
fnv1a_chars(uint32_t v, uint32_t prime, uint32_t flags,
    const unsigned char *byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		v = (v ^ hash_char(byte[i], flags)) * prime;
	return v;
}

static inline uint32_t
fnv1(uint32_t v, uint32_t prime, uint32_t flags, const void *p, size_t len)
{
	if (flags & MCSHM_HASH_UNSIGNED)
		return fnv1_chars(v, prime, MCSHM_HASH_UNSIGNED, p, len);
	return fnv1_chars(v, prime, 0, p, len);
}

static inline uint32_t
fnv1a(uint32_t v, uint32_t prime, uint32_t flags, const void *p, size_t len)
{
	if (flags & MCSHM_HASH_UNSIGNED)
		return fnv1a_chars(v, prime, MCSHM_HASH_UNSIGNED, p, len);
	return fnv1a_chars(v, prime, 0, p, len);
}

uint32_t
hash_fnv1_32(const void *p, size_t len, uint32_t flags)
{
	return fnv1(HASH_FNV1A_32_START, PRIME_32, flags, p, len);
}

uint32_t
hash_fnv1a_32(uint32_t v, uint32_t flags, const void *p, size_t len)
{
	return fnv1a(v, PRIME_32, flags, p, len);
}

uint32_t
hash_fnv1_64_low(const void *p, size_t len, uint32_t flags)
{
	return fnv1(START_64_LOW, PRIME_64_LOW, flags, p, len);
}

uint32_t
hash_fnv1a_64_low(const void *p, size_t len, uint32_t flags)
{
	return fnv1a(START_64_LOW, PRIME_64_LOW, flags, p, len);
}
