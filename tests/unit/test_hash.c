/*
 * test_hash.c - the key hashes, and the digests behind points.
 *
 * Oracles: the vectors of the RFC and of FIPS, SMHasher's verification numbers,
 * answers of the real libraries, libhashkit itself for keys of any bytes and
 * length, and for plain chars that are unsigned a second writing with such.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <libhashkit/hashkit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash.h"
#include "hash_xxh3.h"
#include "mcshm_format.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define LONGEST 300

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* A key in memory of its own size, so that ASan sees a byte too many. */
static unsigned char *
random_key(uint64_t *random, size_t len, unsigned char mask)
{
	unsigned char *key = malloc(len + !len);

	assert_non_null(key);
	for (size_t i = 0; i < len; i++)
		key[i] = (unsigned char)(next_random(random) >> 24) & mask;
	return key;
}

/* Known answers ----------------------------------------------------------- */

/* libhashkit's algorithms by their numbers there. */
static const struct {
	uint32_t hash;
	hashkit_hash_algorithm_t peer;
} same[] = {
	{ MCSHM_HASH_ONE_AT_A_TIME, HASHKIT_HASH_DEFAULT },
	{ MCSHM_HASH_MD5, HASHKIT_HASH_MD5 },
	{ MCSHM_HASH_CRC, HASHKIT_HASH_CRC },
	{ MCSHM_HASH_FNV1_64, HASHKIT_HASH_FNV1_64 },
	{ MCSHM_HASH_FNV1A_64, HASHKIT_HASH_FNV1A_64 },
	{ MCSHM_HASH_FNV1_32, HASHKIT_HASH_FNV1_32 },
	{ MCSHM_HASH_FNV1A_32, HASHKIT_HASH_FNV1A_32 },
	{ MCSHM_HASH_HSIEH, HASHKIT_HASH_HSIEH },
	{ MCSHM_HASH_MURMUR, HASHKIT_HASH_MURMUR },
	{ MCSHM_HASH_MURMUR3, HASHKIT_HASH_MURMUR3 },
	{ MCSHM_HASH_JENKINS, HASHKIT_HASH_JENKINS },
};

/* In the order of the table above. */
static const struct {
	const char *key;
	uint32_t flags;
	uint32_t hash[ROWS(same)];
} known[] = {
	{ "a", 0, { 0xca2e9442, 0xb975c10c, 0x68b7, 0x8601b7be, 0x8601ec8c,
	    0x050c5d7e, 0xe40c292c, 0x93642e87, 0x4b41757c, 0x8872dbc8,
	    0xe0a38690 } },
	{ "foo", 0, { 0x238678dd, 0xdb18bdac, 0x0c73, 0x6ba13533, 0xfed9d577,
	    0x408f5e13, 0xa9f37ed7, 0x76d4d427, 0xc4e0338f, 0xa5f500b2,
	    0x99f84f99 } },
	{ "bar", 0, { 0x80409109, 0x191db537, 0x76ff, 0x6bad3880, 0x1339461a,
	    0x1e99b620, 0x76b77d1a, 0x82f73143, 0x1ecb8583, 0x08dd6829,
	    0x779604bb } },
	{ "user:42", 0, { 0x303f6fea, 0x18dfda56, 0x646f, 0xf2829cd0,
	    0xdcd221c2, 0xf7f67db0, 0x2f6b7b82, 0xae4b9fa9, 0x5f6eb68a,
	    0x8d19b667, 0xc4c6bc92 } },
	{ "session:abc", 0, { 0xc360bd00, 0x0d7b6032, 0x4405, 0x3665126d,
	    0x7b271d79, 0xa9a42d8d, 0x24740259, 0x105de493, 0x30cf58dc,
	    0x86fe2472, 0x941eeee2 } },
	{ "0123456789abcdef", 0, { 0xf02202c7, 0x8daf3240, 0x68c4, 0x3b82ecc1,
	    0xe5ad677d, 0x9e1b6f41, 0x87bc333d, 0xb89ff08b, 0x02923d2d,
	    0x62b4d995, 0xe022e949 } },
	{ "caf\xc3\xa9", 0, { 0xd99c709e, 0xe47f1107, 0x18ad, 0x8a06fef1,
	    0xcef6bb89, 0xd682f171, 0x7572c049, 0xde3f8855, 0xda11981f,
	    0x235552a0, 0xcb6225ad } },
	{ "caf\xc3\xa9", MCSHM_HASH_UNSIGNED, { 0x9096adf2, 0xe47f1107,
	    0x18ad, 0x8a0640f1, 0xcfa40d89, 0x6683d371, 0xa82b5049,
	    0xde3f8855, 0xda11981f, 0x235552a0, 0xcb6225ad } },
};

static void
test_known(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(known); i++)
		for (size_t j = 0; j < ROWS(same); j++)
			assert_int_equal(hash_key(same[j].hash, known[i].flags,
			    known[i].key, strlen(known[i].key)),
			    known[i].hash[j]);
	/* twemproxy's own two, pymemcache's, and ours. */
	assert_int_equal(hash_key(MCSHM_HASH_CRC16, 0, "123456789", 9),
	    0x869031c3);
	assert_int_equal(hash_key(MCSHM_HASH_CRC32A, 0, "123456789", 9),
	    0xcbf43926);
	assert_int_equal(hash_key(MCSHM_HASH_MURMUR3_ZERO, 0, "foo", 3),
	    0xf6a5c420);
	assert_int_equal(hash_key(MCSHM_HASH_MURMUR3_ZERO, 0, "bar", 3),
	    0x450e998d);
	assert_int_equal(hash_key(MCSHM_HASH_MURMUR3_ZERO, 0, "user:42", 7),
	    0xc7a6a375);
	assert_true(hash_key(MCSHM_HASH_XXH3, 0, "", 0) ==
	    UINT64_C(0x2d06800538d394c2));
	assert_true(hash_key(MCSHM_HASH_XXH3, 0, "foo", 3) ==
	    hash_xxh3("foo", 3, 0));
}

/* Numbers that are no key hash. */
static void
test_unknown(void **state)
{
	(void)state;
	assert_int_equal(hash_key(0, 0, "foo", 3), 0);
	assert_int_equal(hash_key(MCSHM_HASH_SHA1, 0, "foo", 3), 0);
	assert_int_equal(hash_key(MCSHM_HASHES, 0, "foo", 3), 0);
	assert_int_equal(hash_key(UINT32_MAX, 0, "foo", 3), 0);
}

/* The same as libhashkit on this machine, whatever its plain chars are. */
static void
test_as_libhashkit(void **state)
{
	const uint32_t flags = (char)-1 > 0 ? MCSHM_HASH_UNSIGNED : 0;
	uint64_t random = 42;

	(void)state;
	for (size_t len = 0; len <= LONGEST; len++)
		for (int round = 0; round < 20; round++) {
			unsigned char *key = random_key(&random, len,
			    round % 2 ? 0xff : 0x7f);

			for (size_t j = 0; j < ROWS(same); j++) {
				if (!libhashkit_has_algorithm(same[j].peer))
					continue;
				assert_int_equal(
				    hash_key(same[j].hash, flags, key, len),
				    libhashkit_digest((char *)key, len,
					same[j].peer));
			}
			free(key);
		}
}

/* Plain chars ------------------------------------------------------------- */

/* Byte i as a char that is signed or not. */
static uint32_t
plain(const unsigned char *key, size_t i, uint32_t flags)
{
	signed char c;

	if (flags & MCSHM_HASH_UNSIGNED)
		return key[i];
	memcpy(&c, key + i, 1);
	return (uint32_t)c;
}

static uint32_t
by_one_at_a_time(const unsigned char *key, size_t len, uint32_t flags)
{
	uint32_t v = 0;

	for (size_t i = 0; i < len; i++) {
		v += plain(key, i, flags);
		v += v << 10;
		v ^= v >> 6;
	}
	v += v << 3;
	v ^= v >> 11;
	return v + (v << 15);
}

/* In all 64 bits, chars as wide as that, too. */
static uint32_t
by_fnv(const unsigned char *key, size_t len, uint32_t flags, uint64_t v,
    uint64_t prime, bool a)
{
	for (size_t i = 0; i < len; i++) {
		const uint64_t c = (uint64_t)(int64_t)(int32_t)
		    plain(key, i, flags);

		v = a ? (v ^ c) * prime : v * prime ^ c;
	}
	return (uint32_t)v;
}

static uint32_t
by_hsieh(const unsigned char *key, size_t len, uint32_t flags)
{
	uint32_t v = 0, high;
	size_t i;

	for (i = 0; i + 4 <= len; i += 4) {
		v += key[i] + 256u * key[i + 1];
		high = key[i + 2] + 256u * key[i + 3];
		v = v << 16 ^ (high << 11 ^ v);
		v += v >> 11;
	}
	if (len - i >= 2)
		v += key[i] + 256u * key[i + 1];
	if (len - i == 3) {
		v ^= v << 16;
		v ^= plain(key, i + 2, flags) << 18;
		v += v >> 11;
	} else if (len - i == 2) {
		v ^= v << 11;
		v += v >> 17;
	} else if (len - i == 1) {
		v += key[i];
		v ^= v << 10;
		v += v >> 1;
	}
	v ^= v << 3;
	v += v >> 5;
	v ^= v << 4;
	v += v >> 17;
	v ^= v << 25;
	return v + (v >> 6);
}

#define START_64 UINT64_C(0xcbf29ce484222325)
#define PRIME_64 UINT64_C(0x100000001b3)
#define START_32 UINT32_C(2166136261)
#define PRIME_32 UINT32_C(16777619)

static void
check_plain(const unsigned char *key, size_t len, uint32_t flags)
{
	assert_int_equal(hash_key(MCSHM_HASH_ONE_AT_A_TIME, flags, key, len),
	    by_one_at_a_time(key, len, flags));
	assert_int_equal(hash_key(MCSHM_HASH_FNV1_64, flags, key, len),
	    by_fnv(key, len, flags, START_64, PRIME_64, false));
	assert_int_equal(hash_key(MCSHM_HASH_FNV1A_64, flags, key, len),
	    by_fnv(key, len, flags, START_64, PRIME_64, true));
	assert_int_equal(hash_key(MCSHM_HASH_FNV1_32, flags, key, len),
	    by_fnv(key, len, flags, START_32, PRIME_32, false));
	assert_int_equal(hash_key(MCSHM_HASH_FNV1A_32, flags, key, len),
	    by_fnv(key, len, flags, START_32, PRIME_32, true));
	assert_int_equal(hash_key(MCSHM_HASH_HSIEH, flags, key, len),
	    by_hsieh(key, len, flags));
}

/* Both kinds of char; the others do not look at the flag. */
static void
test_plain_chars(void **state)
{
	static const uint32_t others[] = { MCSHM_HASH_XXH3, MCSHM_HASH_MD5,
		MCSHM_HASH_CRC, MCSHM_HASH_MURMUR, MCSHM_HASH_MURMUR3,
		MCSHM_HASH_JENKINS, MCSHM_HASH_CRC16, MCSHM_HASH_CRC32A,
		MCSHM_HASH_MURMUR3_ZERO };
	uint64_t random = 43;

	(void)state;
	for (size_t len = 0; len <= LONGEST; len++) {
		unsigned char *key = random_key(&random, len, 0xff);

		check_plain(key, len, 0);
		check_plain(key, len, MCSHM_HASH_UNSIGNED);
		for (size_t i = 0; i < ROWS(others); i++)
			assert_true(hash_key(others[i], 0, key, len) ==
			    hash_key(others[i], MCSHM_HASH_UNSIGNED, key, len));
		free(key);
	}
}

/* Wherever a key stands, it is the same key. */
static void
test_unaligned(void **state)
{
	uint64_t random = 44;

	(void)state;
	for (size_t len = 0; len <= 70; len++) {
		unsigned char *key = random_key(&random, len, 0xff);
		unsigned char room[70 + 8];

		for (size_t off = 0; off < 8; off++) {
			memcpy(room + off, key, len);
			for (uint32_t h = 1; h < MCSHM_HASHES; h++)
				assert_true(hash_key(h, 0, room + off, len) ==
				    hash_key(h, 0, key, len));
		}
		free(key);
	}
}

/* Sums that go on --------------------------------------------------------- */

static uint32_t
by_crc32(const unsigned char *key, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= key[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
	}
	return ~crc;
}

/* What is shifted out of the 16 bits stays, above them. */
static uint32_t
by_crc16(const unsigned char *key, size_t len)
{
	uint32_t crc = 0;

	for (size_t i = 0; i < len; i++) {
		uint32_t low = (crc & 0xffff) ^ (uint32_t)key[i] << 8;

		for (int bit = 0; bit < 8; bit++)
			low = low & 0x8000 ? low << 1 ^ 0x11021 : low << 1;
		crc = (crc << 8 & 0xffff0000) | (low & 0xffff);
	}
	return crc;
}

static void
test_going_on(void **state)
{
	uint64_t random = 45;

	(void)state;
	for (size_t len = 0; len <= LONGEST; len++) {
		unsigned char *key = random_key(&random, len, 0xff);
		const size_t part = len > 0 ? next_random(&random) % len : 0;
		const uint32_t crc = hash_crc32(0, key, len);

		assert_int_equal(crc, by_crc32(key, len));
		assert_int_equal(crc, hash_crc32(hash_crc32(0, key, part),
		    key + part, len - part));
		assert_int_equal(hash_crc15(crc),
		    hash_key(MCSHM_HASH_CRC, 0, key, len));
		assert_int_equal(hash_crc16(key, len), by_crc16(key, len));
		for (uint32_t flags = 0; flags < 2; flags++)
			assert_int_equal(hash_fnv1a_32(hash_fnv1a_32(
			    HASH_FNV1A_32_START, flags, key, part), flags,
			    key + part, len - part),
			    hash_key(MCSHM_HASH_FNV1A_32, flags, key, len));
		free(key);
	}
}

/* Digests ----------------------------------------------------------------- */

/* Words as the bytes that they stand for, in hexadecimal. */
static void
check_digest(const uint32_t *word, size_t words, bool big, const char *want)
{
	char got[2 * 20 + 1];

	for (size_t i = 0; i < 4 * words; i++)
		snprintf(got + 2 * i, 3, "%02x",
		    word[i / 4] >> 8 * (big ? 3 - i % 4 : i % 4) & 0xff);
	assert_string_equal(got, want);
}

static void
check_md5(const char *text, const char *want)
{
	const size_t len = strlen(text);
	uint32_t word[4];

	hash_md5(text, len, word);
	check_digest(word, 4, false, want);
	assert_int_equal(hash_md5_first(text, len), word[0]);
}

static void
check_sha1(const char *text, const char *want)
{
	uint32_t word[5];

	hash_sha1(text, strlen(text), word);
	check_digest(word, 5, true, want);
}

/* RFC 1321, A.5. */
static void
test_md5(void **state)
{
	(void)state;
	check_md5("", "d41d8cd98f00b204e9800998ecf8427e");
	check_md5("a", "0cc175b9c0f1b6a831c399e269772661");
	check_md5("abc", "900150983cd24fb0d6963f7d28e17f72");
	check_md5("message digest", "f96b697d7cb7938d525a2f31aaf161d0");
	check_md5("abcdefghijklmnopqrstuvwxyz",
	    "c3fcd3d76192e4007dfb496cca67e13b");
	check_md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	    "0123456789", "d174ab98d277d9f5a5611c2c9f419d9f");
	check_md5("1234567890123456789012345678901234567890"
	    "1234567890123456789012345678901234567890",
	    "57edf4a22be3c955ac49da2e2107b67a");
}

/* FIPS 180's examples. */
static void
test_sha1(void **state)
{
	char *many = malloc(1000001);

	(void)state;
	check_sha1("", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	check_sha1("abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
	check_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	    "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
	memset(many, 'a', 1000000);
	many[1000000] = '\0';
	check_sha1(many, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
	free(many);
}

static void
put_words(unsigned char *p, const uint32_t *word, size_t words, bool big)
{
	for (size_t i = 0; i < 4 * words; i++)
		p[i] = (unsigned char)(word[i / 4] >>
		    8 * (big ? 3 - i % 4 : i % 4));
}

/* All lengths up to 300, by the digest of all digests, from Python's hashlib:
 * where blocks begin and end. */
static void
test_digests_of_all_lengths(void **state)
{
	unsigned char md5[301 * 16], sha1[301 * 20], text[LONGEST];
	uint32_t word[5];

	(void)state;
	for (unsigned i = 0; i < LONGEST; i++)
		text[i] = (unsigned char)(i * 131 + 7 * (i >> 3) +
		    (i * i >> 5));
	for (size_t len = 0; len <= LONGEST; len++) {
		unsigned char *key = malloc(len + !len);

		memcpy(key, text, len);
		hash_md5(key, len, word);
		assert_int_equal(hash_md5_first(key, len), word[0]);
		put_words(md5 + 16 * len, word, 4, false);
		hash_sha1(key, len, word);
		put_words(sha1 + 20 * len, word, 5, true);
		free(key);
	}
	hash_md5(md5, sizeof md5, word);
	check_digest(word, 4, false, "4d716085201e8827ccc2e99c21a054dc");
	hash_sha1(sha1, sizeof sha1, word);
	check_digest(word, 5, true,
	    "7b89fb9f2f08304ff226db653b2afd5dbf7da4e2");
}

/* SMHasher's -------------------------------------------------------------- */

static uint32_t
murmur2_seeded(const void *p, size_t len, uint32_t seed)
{
	return hash_murmur2(p, len, seed ^ (uint32_t)len);
}

/*
 * SMHasher's verification: the hash of the hashes of the keys {}, {0}, {0, 1},
 * ... with the seeds 256, 255, ...  Its number stands beside each hash there.
 */
static uint32_t
verification(uint32_t (*hash)(const void *, size_t, uint32_t))
{
	unsigned char key[256], hashes[4 * 256];

	for (unsigned i = 0; i < 256; i++) {
		const uint32_t h = hash(key, i, 256 - i);

		put_words(hashes + 4 * i, &h, 1, false);
		key[i] = (unsigned char)i;
	}
	return hash(hashes, sizeof hashes, 0);
}

static void
test_verification(void **state)
{
	(void)state;
	assert_int_equal(verification(hash_murmur3), 0xb0f57ee3);
	assert_int_equal(verification(murmur2_seeded), 0x27864c1e);
	assert_int_equal(verification(hash_lookup3), 0x3d83917a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_as_libhashkit),
		cmocka_unit_test(test_plain_chars),
		cmocka_unit_test(test_unaligned),
		cmocka_unit_test(test_going_on),
		cmocka_unit_test(test_md5),
		cmocka_unit_test(test_sha1),
		cmocka_unit_test(test_digests_of_all_lengths),
		cmocka_unit_test(test_verification),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
