/*
 * test_format.c - the file's layout by bytes written by hand, the sums by known
 * answers, and the writer's steps.
 *
 * Version 1 is for ever: a test here that fails means another version.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "hash_xxh3.h"
#include "mcshm.h"
#include "mcshm_format.h"

/* A number at an offset, as this machine stores it. */
static void
put(unsigned char *p, size_t off, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		const size_t at = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ?
		    i : size - 1 - i;

		p[off + at] = (unsigned char)(value >> 8 * i);
	}
}

static void
test_header(void **state)
{
	unsigned char b[1968] = { 'M', 'C', 'S', 'H', 'M', 0x1a, '\r', '\n' };
	struct mcshm_header h;

	(void)state;
	put(b, 8, 0x01020304, 4);
	put(b, 12, 0x00010000, 4);
	put(b, 48, 0x1122334455667788, 8);
	put(b, 64, 1, 4);
	put(b, 68, 2, 4);
	put(b, 72, 3, 4);
	put(b, 84, 4, 4);
	put(b, 88, 5, 8);
	put(b, 104, 6, 8);
	put(b, 112, 7, 8);
	put(b, 120, 8, 8);
	put(b, 128, 9, 8);
	put(b, 256, 10, 8);
	put(b, 272, 11, 8);
	put(b, 352, 12, 8);
	put(b, 384, 13, 8);
	put(b, 396, 14, 4);
	put(b, 412, 15, 4);
	put(b, 440, 16, 4);
	put(b, 480, 17, 8);
	memcpy(b + 496, "web", 4);
	memcpy(b + 1136, "host", 5);
	memcpy(b + 1200, "/etc/x", 7);
	memcpy(&h, b, sizeof h);
	assert_memory_equal(h.magic, MCSHM_MAGIC_BYTES, 8);
	assert_int_equal(h.endian, MCSHM_ENDIAN);
	assert_int_equal(h.version, MCSHM_FORMAT_VERSION);
	assert_true(h.file_size == UINT64_C(0x1122334455667788));
	assert_int_equal(h.scheme, 1);
	assert_int_equal(h.hash, 2);
	assert_int_equal(h.servers, 3);
	assert_int_equal(h.bitmap_off, 4);
	assert_int_equal(h.buckets_off, 5);
	assert_int_equal(h.section_off[1], 6);
	assert_int_equal(h.roster_id, 7);
	assert_int_equal(h.header_sum, 8);
	assert_int_equal(h.generation, 9);
	assert_int_equal(h.heartbeat, 10);
	assert_int_equal(h.boot_id[1], 11);
	assert_int_equal(h.clean_exit, 12);
	assert_int_equal(h.stale_after, 13);
	assert_int_equal(h.failover_ttl, 14);
	assert_int_equal(h.roster_stride, 15);
	assert_int_equal(h.entry_stride, 16);
	assert_int_equal(h.table_sum, 17);
	assert_string_equal(h.pool, "web");
	assert_string_equal(h.host, "host");
	assert_string_equal(h.config, "/etc/x");
}

static void
test_section_and_entry(void **state)
{
	unsigned char b[768] = { 0 };
	struct mcshm_section s;
	struct mcshm_entry e;
	struct mcshm_roster r;

	(void)state;
	put(b, 0, 1, 4);
	put(b, 4, 2, 4);
	put(b, 8, 3, 8);
	put(b, 16, 1, 8);
	put(b, 24, 5, 8);
	put(b, 32, 6, 4);
	put(b, 56, 7, 8);
	memcpy(&s, b, sizeof s);
	assert_int_equal(s.usable, 1);
	assert_int_equal(s.held, 2);
	assert_int_equal(s.address_epoch, 3);
	assert_int_equal(s.flags, MCSHM_SECTION_FAIL_OPEN);
	assert_int_equal(s.generation, 5);
	assert_int_equal(s.ready, 6);
	assert_int_equal(s.sum, 7);

	memset(b, 0, sizeof b);
	put(b, 0, 3, 4);
	put(b, 4, 1, 4);
	put(b, 8, 4, 4);
	put(b, 24, 5, 8);
	put(b, 88, 6, 8);
	put(b, 112, 7, 4);
	put(b, 136, 8, 8);
	memcpy(b + 224, "1.6.18", 7);
	put(b, 368, 1, 4);
	put(b, 376, 4, 2);
	put(b, 378, 11211, 2);
	memcpy(b + 384, "\x0a\x01\x00\x07", 4);
	memcpy(&e, b, sizeof e);
	assert_int_equal(e.verdict, MCSHM_DOWN);
	assert_int_equal(e.admin, MCSHM_DRAIN);
	assert_int_equal(e.reason, MCSHM_R_TIMEOUT);
	assert_int_equal(e.history, 5);
	assert_int_equal(e.checked, 6);
	assert_int_equal(e.rtt_us, 7);
	assert_int_equal(e.failures, 8);
	assert_string_equal(e.server_version, "1.6.18");
	assert_int_equal(e.addresses, 1);
	assert_int_equal(e.address[0].kind, MCSHM_KIND_IPV4);
	assert_int_equal(e.address[0].port, 11211);
	assert_int_equal(e.address[0].ip[3], 7);

	memset(b, 0, sizeof b);
	put(b, 0, 1, 8);
	put(b, 8, 2, 4);
	put(b, 12, 3, 4);
	put(b, 16, 6, 4);
	memcpy(b + 32, "c1", 3);
	memcpy(b + 96, "::1", 4);
	memcpy(b + 352, "[::1]:3", 8);
	memcpy(&r, b, sizeof r);
	assert_int_equal(r.ident_hash, 1);
	assert_int_equal(r.weight, 2);
	assert_int_equal(r.port, 3);
	assert_int_equal(r.kind, MCSHM_KIND_IPV6);
	assert_string_equal(r.name, "c1");
	assert_string_equal(r.host, "::1");
	assert_string_equal(r.ident, "[::1]:3");
}

static void
test_numbers(void **state)
{
	(void)state;
	assert_int_equal(MCSHM_SCHEME_MAGLEV, 1);
	assert_int_equal(MCSHM_SCHEME_LIBMEMCACHED_MODULA, 2);
	assert_int_equal(MCSHM_HASH_XXH3, 1);
	assert_int_equal(MCSHM_HASH_ONE_AT_A_TIME, 2);
	assert_int_equal(MCSHM_R_REFUSED, 1);
	assert_int_equal(MCSHM_R_NO_SOCKET, 13);
	assert_int_equal(MCSHM_BITMAP_USABLE, 0);
	assert_int_equal(MCSHM_BITMAP_HELD, 1);
	assert_int_equal(MCSHM_BITMAP_READY, 2);
	assert_true(MCSHM_MAX_FILE % 65536 == 0);
	assert_true((MCSHM_MAX_FILE & (MCSHM_MAX_FILE - 1)) == 0);
}

/* Whether a byte of the header is under its sum. */
static void
test_header_sum(void **state)
{
	struct mcshm_header h = { .magic = MCSHM_MAGIC_BYTES };
	unsigned char *b = (unsigned char *)&h;
	const uint64_t before = mcshm_header_sum(&h);

	(void)state;
	for (size_t i = 0; i < sizeof h; i++) {
		const bool fixed = i < 120 || (384 <= i && i < 1104);

		b[i] ^= 0x10;
		assert_true((mcshm_header_sum(&h) != before) == fixed);
		b[i] ^= 0x10;
	}
	assert_true(before == hash_xxh3(b + 384, 720, hash_xxh3(b, 120, 0)));
}

static void
test_section_sum(void **state)
{
	/* Two entries of 1280 bytes, and 512 behind them. */
	const struct mcshm_header h = { .servers = 2, .entries_off = 1024,
		.entry_stride = 1280, .section_size = 4096 };
	uint64_t section[512], id[2] = { 1, 2 }, before;
	unsigned char *b = (unsigned char *)section;

	(void)state;
	for (size_t i = 0; i < 512; i++)
		section[i] = i * i;
	before = mcshm_section_sum(section, &h, id);
	assert_true(before == mcshm_front_sum(section, 1024, id) +
	    mcshm_entry_sum(b + 1024, 1280, 0) +
	    mcshm_entry_sum(b + 2304, 1280, 1));
	for (size_t i = 0; i < sizeof section; i++) {
		const bool own = (56 <= i && i < 64) || i >= 3584;

		b[i] ^= 1;
		assert_true((mcshm_section_sum(section, &h, id) == before) ==
		    own);
		b[i] ^= 1;
	}
	/* Two entries that have changed places. */
	for (size_t i = 0; i < 160; i++) {
		const uint64_t w = section[128 + i];

		section[128 + i] = section[288 + i];
		section[288 + i] = w;
	}
	assert_true(mcshm_section_sum(section, &h, id) != before);
	id[1]++;
	assert_true(mcshm_section_sum(section, &h, id) != before);
	/* Seeds chain. */
	assert_true(mcshm_sum(section, 100, 0) != mcshm_sum(section, 100, 1));
}

/* A count never repeats, and the active section is what the last bit says. */
static void
test_generation(void **state)
{
	uint64_t word[2] = { 6, 0 }, g, next;

	(void)state;
	g = mcshm_write_begin(word);
	assert_int_equal(g, 6);
	assert_int_equal(mcshm_read_begin(word), 6);
	assert_true(mcshm_read_ok(word, 6));
	mcshm_write_flip(word, g);
	assert_int_equal(word[0], 7);
	assert_false(mcshm_read_ok(word, 6));

	mcshm_write_retire(word);
	assert_true(word[0] == (MCSHM_RETIRED | 9));
	assert_int_equal(word[0] & 1, 1);	/* section 1 as before */
	next = mcshm_generation_after(word[0]);
	assert_true(next > 9 && next % 2 == 0 && !(next & MCSHM_RETIRED));
	assert_true((uint32_t)next != (uint32_t)word[0]);
	/* Again, by who sweeps up: the count is the successor's by now. */
	mcshm_write_retire(word);
	assert_true(word[0] == (MCSHM_RETIRED | 9));

	memcpy(word, "\x01\x00\x00\x00\x00\x00\x00\x02", 8);
	assert_int_equal(*(unsigned char *)mcshm_generation_low(word) +
	    ((unsigned char *)mcshm_generation_low(word))[3],
	    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 1 : 2);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_section_and_entry),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_header_sum),
		cmocka_unit_test(test_section_sum),
		cmocka_unit_test(test_generation),
	};

	if (argc > 1)			/* one test, by its name */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
