/*
 * test_dump.c - mc-shmdump's facts: reading, checking, shares, routes, words.
 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "dump_check.h"
#include "dump_clients.h"
#include "dump_find.h"
#include "dump_keys.h"
#include "dump_pool.h"
#include "dump_route.h"
#include "dump_words.h"
#include "mkfile.h"
#include "mkplace.h"
#include "scheme_inline.h"

#define NS_S UINT64_C(1000000000)

/* A directory for each test, and a pool in it. */
struct nest {
	char dir[64], path[96];
	struct mkfile made;
	struct dump_file file;
	struct dump_pool pool;
	struct dump_trouble trouble;
};

/*
 * The program's pread(2): `times` times, the writer overtakes it in the middle
 * of a section, and rewrites that section.
 */
static struct {
	struct mkfile *made;
	size_t section_size;
	unsigned times;
} overtaking;

static ssize_t
read_at(int fd, void *p, size_t len, off_t off)
{
	const struct iovec v = { p, len };

	return preadv(fd, &v, 1, off);
}

ssize_t
pread(int fd, void *p, size_t len, off_t off)
{
	const size_t half = len / 2;

	if (overtaking.times == 0 || len != overtaking.section_size)
		return read_at(fd, p, len, off);
	overtaking.times--;
	assert_int_equal(read_at(fd, p, half, off), half);
	for (unsigned i = 0; i < 2; i++) {
		mkfile_entry(overtaking.made, 0)->rtt_us++;
		mkfile_entry(overtaking.made, 39)->rtt_us++;
		mkfile_publish(overtaking.made);
	}
	assert_int_equal(read_at(fd, (char *)p + half, len - half,
	    off + (off_t)half), len - half);
	return (ssize_t)len;
}

static int
nest_open(void **state)
{
	struct nest *n = calloc(1, sizeof *n);
	const char *tmp = getenv("MC_TEST_TMP");

	assert_non_null(n);
	snprintf(n->dir, sizeof n->dir, "%s/test_dump.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(n->dir));
	snprintf(n->path, sizeof n->path, "%s/web.mcshm", n->dir);
	*state = n;
	return 0;
}

static int
nest_close(void **state)
{
	struct nest *n = *state;

	overtaking.times = 0;
	dump_pool_free(&n->pool);
	dump_file_free(&n->file);
	if (n->made.p != NULL)
		mkfile_free(&n->made);
	unlink(n->path);
	assert_int_equal(rmdir(n->dir), 0);
	free(n);
	return 0;
}

static struct dump_time
now(void)
{
	struct dump_time t = { .boot = mkfile_boottime(),
		.real = UINT64_C(1800000000) * NS_S };

	mcshm_boot_id(t.boot_id);
	return t;
}

/* The made pool, on disk and read. */
static void
nest_read_at(struct nest *n, struct dump_time t)
{
	dump_pool_free(&n->pool);
	dump_file_free(&n->file);
	assert_int_equal(dump_file_read(&n->file, n->path, &n->trouble), 0);
	assert_int_equal(dump_pool_init(&n->pool, &n->file, t), 0);
}

static void
nest_read(struct nest *n)
{
	nest_read_at(n, now());
}

static double
sum_now(const struct dump_pool *p)
{
	double sum = 0;

	for (uint32_t i = 0; i < p->servers; i++)
		sum += p->server[i].now;
	return sum;
}

static void
assert_near(double a, double b, double by)
{
	if (fabs(a - b) > by)
		fail_msg("%.9f is not %.9f", a, b);
}

/* Words -------------------------------------------------------------------- */

static void
test_ages(void **state)
{
	static const struct {
		uint64_t s;
		const char *text;
	} ages[] = {
		{ 0, "0s" }, { 43, "43s" }, { 60, "1m00s" }, { 270, "4m30s" },
		{ 3599, "59m59s" }, { 7500, "2h05m" }, { 46800, "13h" },
		{ 86400, "1d" }, { 187200, "2d4h" }, { 1036800 + 3600, "12d" },
	};
	char text[DUMP_SHORT];

	(void)state;
	for (size_t i = 0; i < sizeof ages / sizeof *ages; i++) {
		dump_age(text, ages[i].s * NS_S + 1);
		assert_string_equal(text, ages[i].text);
	}
	dump_age(text, UINT64_MAX);
	dump_seconds(text, NS_S / 10);
	assert_string_equal(text, "0.1 s");
	dump_seconds(text, 192 * NS_S);
	assert_string_equal(text, "3m12s");
}

static void
test_percents(void **state)
{
	static const struct {
		double share;
		const char *text;
	} percents[] = {
		{ 0, "0" }, { 1, "100%" }, { 0.9996, "100%" },
		{ 0.9949, "99.5%" }, { 0.017, "1.7%" }, { 0.0012, "0.12%" },
		{ 0.00006, "0.006%" }, { 0.000001, "<.001%" },
		{ 0.00999, "1.0%" }, { 0.000999, "0.10%" },
	};
	char text[DUMP_SHORT];

	(void)state;
	for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
		dump_percent(text, percents[i].share);
		assert_string_equal(text, percents[i].text);
		assert_true(strlen(text) <= 6);
	}
}

static void
test_rtts(void **state)
{
	static const struct {
		uint32_t us;
		const char *text;
	} rtts[] = {
		{ 1, "1us" }, { 412, "412us" }, { 1234, "1.2ms" },
		{ 99949, "99.9ms" }, { 99950, "100ms" }, { 1230000, "1.23s" },
	};
	char text[DUMP_SHORT];

	(void)state;
	for (size_t i = 0; i < sizeof rtts / sizeof *rtts; i++) {
		dump_rtt(text, rtts[i].us);
		assert_string_equal(text, rtts[i].text);
	}
}

static void
test_when(void **state)
{
	/* 2026-11-22 03:06:41 in a zone that is an hour ahead. */
	const uint64_t t = UINT64_C(1795313201) * NS_S;
	char text[DUMP_SHORT], date[40];

	(void)state;
	setenv("TZ", "XXY-1", 1);
	tzset();
	dump_when(text, t - 270 * NS_S, t);
	assert_string_equal(text, "03:02:11");
	dump_when(text, t - 46800 * NS_S, t);
	assert_string_equal(text, "Sat 14:06");
	dump_when(text, t - 12 * 86400 * NS_S, t);
	assert_string_equal(text, "2026-11-10");
	/* The same day of another year is another day. */
	dump_when(text, t - 365 * 86400 * NS_S, t);
	assert_string_equal(text, "2025-11-22");
	dump_date(date, t);
	assert_string_equal(date, "2026-11-22 03:06:41 +0100");
	dump_date(date, UINT64_MAX);
}

static void
test_cut(void **state)
{
	char text[64];

	(void)state;
	dump_cut(text, 10, "cache-0007");
	assert_string_equal(text, "cache-0007");
	dump_cut(text, 10, "cache-00007");
	assert_string_equal(text, "cach..0007");
	dump_cut(text, 4, "abcdef");
	assert_string_equal(text, "a..f");
	dump_cut(text, 0, "abc");
	assert_string_equal(text, "");
}

/* Nothing of the file reaches the terminal but printable ASCII. */
static void
test_text_is_harmless(void **state)
{
	char text[DUMP_LABEL], field[4] = { 'a', 'b', 'c', 'd' };

	(void)state;
	dump_text(text, sizeof text, "a\033[2J\x9b\xc3\xa4\n", 64);
	assert_string_equal(text, "a\\x1b[2J\\x9b\\xc3\\xa4\\x0a");
	dump_text(text, sizeof text, field, sizeof field);
	assert_string_equal(text, "abcd");
	dump_text(text, 10, "ab\377\377", 64);	/* never half of one */
	assert_string_equal(text, "ab\\xff");
}

static void
test_history(void **state)
{
	/* Oldest first: + t x e +, and more bits than there were probes. */
	struct mcshm_entry e = { .history = 0xff11, .proof = 0x06,
		.wrong = 0x02, .probes = 5 };
	char text[65];

	(void)state;
	dump_history(text, &e, 64);
	assert_string_equal(text, "+txe+");
	dump_history(text, &e, 3);
	assert_string_equal(text, "xe+");
	e.probes = UINT64_MAX;
	dump_history(text, &e, 100);
	assert_int_equal(strlen(text), 64);
	e.probes = 0;
	dump_history(text, &e, 64);
	assert_string_equal(text, "");
}

/* What is known of it goes with it; what is not is not guessed at. */
static void
test_degraded(void **state)
{
	static const struct { unsigned bit; const char *bare, *full; } v[] = {
		{ 0, "some of its threads do not answer",
		  "1 of 4 workers silent" },
		{ 3, "too many open connections",
		  "too many open connections: 99 of 100" },
		{ 5, "slow: 0us, usually 0us", "slow: 150ms, usually 200us" },
		{ 10, "its name leads elsewhere, and is not followed",
		  "its name leads elsewhere, and is not followed" },
		{ 63, "in a way that is newer than this mc-shmdump (bit 63)",
		  "in a way that is newer than this mc-shmdump (bit 63)" },
	};
	const struct mcshm_entry bare = { 0 }, full = { .threads = 4,
		.workers_stuck = 1, .connections = 99, .max_connections = 100,
		.rtt_avg_us = 150000, .rtt_usual_us = 200 };
	/* Of an earlier look; and of a certificate. */
	const struct mcshm_entry few = { .connections = 1,
		.max_connections = 20 }, ends = { .tls_expiry = 1609459200 },
	    old = { .tls_expiry = 1609459200,
		.result = MCSHM_R_TLS_UNTRUSTED };
	static const struct { unsigned bit; const char *says[4]; } more[] = {
		{ 3, { "too many open connections",
		  "too many open connections: it takes 20",
		  "too many open connections",
		  "too many open connections" } },
		{ 7, { "TLS fails with new connections to it",
		  "TLS fails with new connections to it",
		  "its certificate ends on 2021-01-01, or TLS fails with new "
		  "connections to it",
		  "its certificate, good until 2021-01-01, is not trusted: its "
		  "time, its name or its authority, as the log says" } },
	};
	char text[DUMP_SENTENCE], name[DUMP_SHORT];

	(void)state;
	for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
		const struct mcshm_entry *const e[] = { &bare, &few, &ends,
			&old };

		for (size_t j = 0; j < sizeof e / sizeof e[0]; j++) {
			dump_degraded_text(text, e[j], more[i].bit);
			assert_string_equal(text, more[i].says[j]);
		}
	}
	for (size_t i = 0; i < sizeof v / sizeof v[0]; i++) {
		dump_degraded_text(text, &bare, v[i].bit);
		assert_string_equal(text, v[i].bare);
		dump_degraded_text(text, &full, v[i].bit);
		assert_string_equal(text, v[i].full);
	}
	dump_degraded(name, 2);
	assert_string_equal(name, "clock-stuck");
	dump_degraded(name, 63);
	assert_string_equal(name, "63");
}

static void
test_labels(void **state)
{
	struct mcshm_roster r = { .kind = MCSHM_KIND_IPV6, .port = 11211,
		.host = "::1" };
	struct mcshm_address a = { .kind = MCSHM_KIND_IPV6, .port = 7,
		.scope = 2, .ip = { 0xfe, 0x80, [15] = 1 } };
	char text[DUMP_LABEL];

	(void)state;
	dump_label(text, &r);
	assert_string_equal(text, "[::1]:11211");
	dump_resolved(text, &a, &r);
	assert_string_equal(text, "[fe80::1%2]:7");
	a = (struct mcshm_address){ .kind = MCSHM_KIND_IPV4, .port = 8,
		.ip = { 127, 0, 0, 1 } };
	dump_resolved(text, &a, &r);
	assert_string_equal(text, "127.0.0.1:8");
	a.kind = MCSHM_KIND_NONE;
	dump_resolved(text, &a, &r);
	assert_string_equal(text, "not resolved");
	r = (struct mcshm_roster){ .kind = MCSHM_KIND_UNIX, .host = "/run/m" };
	dump_label(text, &r);
	assert_string_equal(text, "/run/m");
	strcpy(r.name, "cache\a");
	dump_label(text, &r);
	assert_string_equal(text, "cache\\x07");
	/* No end in any field. */
	memset(r.name, 'n', sizeof r.name);
	memset(r.host, 'h', sizeof r.host);
	dump_label(text, &r);
	assert_int_equal(strlen(text), 64);
	dump_address(text, &r);
	assert_int_equal(strlen(text), 255);
}

/* Reading ------------------------------------------------------------------ */

static void
test_reads_what_was_written(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 70);
	mkfile_set(&n->made, 66, MCSHM_DOWN, MCSHM_READY);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_int_equal(n->file.lock, DUMP_LOCK_HELD);
	assert_int_equal(n->pool.servers, 70);
	assert_int_equal(n->pool.usable, 69);
	assert_int_equal(n->pool.server[66].rank, DUMP_DOWN);
	assert_false(n->pool.server[66].usable);
	assert_int_equal(n->pool.generation, n->made.h->generation);
	mkfile_set(&n->made, 66, MCSHM_UP, MCSHM_READY);
	mkfile_set(&n->made, 3, MCSHM_HELD, MCSHM_READY);
	mkfile_publish(&n->made);
	nest_read(n);
	assert_int_equal(n->pool.server[66].rank, DUMP_HEALTHY);
	assert_true(n->pool.server[3].held);
	assert_int_equal(n->file.active, n->made.h->generation & 1);
}

static void
expect_trouble(struct nest *n, bool damaged, const char *text)
{
	struct dump_file f;

	assert_int_equal(dump_file_read(&f, n->path, &n->trouble), -1);
	if (strstr(n->trouble.text, text) == NULL)
		fail_msg("'%s' is not '%s'", n->trouble.text, text);
	assert_int_equal(n->trouble.damaged, damaged);
}

static void
test_what_is_no_pool_file(void **state)
{
	struct nest *n = *state;
	char other[128];
	int fd;

	expect_trouble(n, false, "no such file");
	assert_int_equal(mkfifo(n->path, 0644), 0);
	expect_trouble(n, false, "not a regular file");
	unlink(n->path);
	assert_int_equal(mkdir(n->path, 0755), 0);
	expect_trouble(n, false, "a directory; --directory DIR shows all");
	rmdir(n->path);
	assert_int_equal(symlink("/dev/null", n->path), 0);
	expect_trouble(n, false, "symbolic link");
	unlink(n->path);
	fd = open(n->path, O_RDWR | O_CREAT, 0644);
	expect_trouble(n, false, "empty");
	assert_int_equal(write(fd, "MCSHM", 5), 5);
	expect_trouble(n, false, "too short");
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, 8192), 0);
	expect_trouble(n, false, "nobody has filled it");
	assert_int_equal(pwrite(fd, "#!/bin/sh", 9, 0), 9);
	expect_trouble(n, false, "not a pool file");
	close(fd);
	snprintf(other, sizeof other, "%s/none/web.mcshm", n->dir);
	assert_int_equal(dump_file_read(&n->file, other, &n->trouble), -1);
}

/* One word of the header, with the checksum made right again. */
struct harm {
	size_t off, len;
	uint64_t value;
	bool damaged;
	const char *text;
};
#define HARM(field, value, damaged, text) { \
	offsetof(struct mcshm_header, field), \
	sizeof ((struct mcshm_header *)0)->field, value, damaged, text }

static const struct harm harms[] = {
	HARM(endian, 0x04030201, false, "byte order"),
	HARM(version, 2 << 16, false, "format 2.0"),
	HARM(incompat, 1, false, "newer"),
	HARM(generation, 0, false, "nobody has published"),
	HARM(generation, MCSHM_RETIRED, false, "nobody has published"),
	HARM(file_size, UINT64_MAX, true, "larger"),
	HARM(file_size, (64 << 20) + 1, true, "larger"),
	HARM(file_size, 1 << 20, true, "truncated"),
	HARM(header_size, 0, true, "size is wrong"),
	HARM(header_size, UINT32_MAX, true, "size is wrong"),
	HARM(page_size, 0, true, "page size"),
	HARM(page_size, 4097, true, "page size"),
	HARM(servers, 0, true, "0 servers"),
	HARM(servers, UINT32_MAX, true, "servers"),
	HARM(servers, 65, true, "bitmaps of"),
	HARM(words, 0, true, "bitmaps of"),
	HARM(words, UINT32_MAX, true, "bitmaps of"),
	HARM(buckets, 0, true, "0 buckets"),
	HARM(buckets, UINT32_MAX, true, "buckets"),
	HARM(buckets, 1 << 24, true, "table lies outside"),
	HARM(scheme, MCSHM_SCHEME_DALLI, true, "no placement for 5"),
	HARM(scheme, MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS, true, "no placement"),
	HARM(buckets_off, UINT64_MAX - 7, true, "table lies outside"),
	HARM(buckets_off, 4097, true, "table lies outside"),
	HARM(roster_stride, 760, true, "roster records"),
	HARM(roster_stride, UINT32_MAX - 7, true, "roster lies outside"),
	HARM(roster_off, UINT64_MAX - 7, true, "roster lies outside"),
	HARM(roster_off, 4097, true, "roster lies outside"),
	HARM(entry_stride, 632, true, "section entries"),
	HARM(entry_stride, UINT32_MAX - 7, true, "entries lie outside"),
	HARM(entries_off, 0, true, "entries lie outside"),
	HARM(entries_off, UINT32_MAX - 7, true, "entries lie outside"),
	HARM(bitmap_off, 0, true, "bitmaps lie outside"),
	HARM(bitmap_off, UINT32_MAX - 7, true, "bitmaps lie outside"),
	HARM(bitmap_off, 65, true, "bitmaps lie outside"),
	HARM(section_size, 0, true, "bitmaps lie outside"),
	HARM(section_size, UINT64_MAX - 7, true, "section 0 lies outside"),
	HARM(section_off[0], 0, true, "section 0 lies outside"),
	HARM(section_off[1], 4096 + 8, true, "section 1 lies outside"),
	HARM(section_off[1], UINT64_MAX - 4095, true, "section 1 lies"),
	HARM(header_sum, 1, true, "checksum"),
};

/* Of a file that has a ring. */
static const struct harm ring_harms[] = {
	HARM(buckets, 1 << 24, true, "table lies outside"),
	HARM(ring_points, UINT32_MAX, true, "a ring of 4294967295 points"),
	HARM(ring_points, MCSHM_MAX_POINTS, true, "ring lies outside"),
	HARM(ring_points, 0, true, "0 buckets"),
	HARM(scheme, MCSHM_SCHEME_MAGLEV, true, "no placement for 5"),
	HARM(scheme, MCSHM_SCHEME_LIBMEMCACHED_MODULA, true, "no placement"),
	HARM(ring_off, 0, true, "ring lies outside"),
	HARM(ring_off, 4097, true, "ring lies outside"),
	HARM(ring_off, UINT64_MAX - 7, true, "ring lies outside"),
	HARM(ring_index_bits, 23, true, "index is of 23 bits"),
	HARM(ring_index_bits, UINT32_MAX, true, "index is of"),
	HARM(ring_index_bits, 22, true, "index lies outside"),
	HARM(ring_index_off, 0, true, "index lies outside"),
	HARM(ring_index_off, 4098, true, "index lies outside"),
	HARM(ring_index_off, UINT64_MAX - 3, true, "index lies outside"),
};

static void
do_harm(struct mkfile *f, const struct harm *harm)
{
	memcpy(f->p + harm->off, &harm->value, harm->len);
	if (harm->off != offsetof(struct mcshm_header, header_sum))
		f->h->header_sum = mcshm_header_sum(f->h);
}

static void
do_harms(struct nest *n, const struct harm *v, size_t harms_of)
{
	for (size_t i = 0; i < harms_of; i++) {
		const struct mcshm_header before = *n->made.h;

		do_harm(&n->made, &v[i]);
		mkfile_write(&n->made, n->path, before.file_size);
		expect_trouble(n, v[i].damaged, v[i].text);
		*n->made.h = before;
	}
}

static void
test_damaged_headers(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_LIBMEMCACHED_KETAMA, NULL, 5);
	do_harms(n, ring_harms, sizeof ring_harms / sizeof *ring_harms);
	mkfile_free(&n->made);
	mkfile_make(&n->made, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 5);
	do_harms(n, harms, sizeof harms / sizeof *harms);
	/* Without a ring, what would say where it is means nothing. */
	n->made.h->ring_off = 1;
	n->made.h->ring_index_bits = 99;
	mkfile_seal(&n->made);
	mkfile_write(&n->made, n->path, n->made.h->file_size);
	nest_read(n);
	mkfile_write(&n->made, n->path, n->made.h->file_size - 1);
	expect_trouble(n, true, "truncated");
	mkfile_write(&n->made, n->path, n->made.h->file_size);
	nest_read(n);
}

/* Flip one byte; the part that it lies in is named. */
static void
expect_part(struct nest *n, uint64_t off, const char *text)
{
	struct dump_parts parts;
	bool damaged;

	n->made.p[off] ^= 0x10;
	mkfile_write(&n->made, n->path, n->made.h->file_size);
	dump_file_free(&n->file);
	assert_int_equal(dump_file_read(&n->file, n->path, &n->trouble), 0);
	parts = dump_check_parts(&n->file);
	damaged = dump_check_damage(&n->file, &parts, &n->trouble);
	assert_int_equal(damaged, text != NULL);
	if (text != NULL)
		assert_string_equal(n->trouble.text, text);
	else
		assert_int_equal(parts.section[1 - n->file.active],
		    DUMP_PART_UNFINISHED);
	n->made.p[off] ^= 0x10;
}

static void
test_damaged_parts(void **state)
{
	struct nest *n = *state;
	const struct mcshm_header *h;
	unsigned active;
	uint64_t last;			/* byte of a section's entries */

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 7);
	h = n->made.h;
	active = h->generation & 1;
	last = h->entries_off + 7 * (uint64_t)h->entry_stride - 1;
	expect_part(n, h->roster_off + 40,
	    "damaged: roster: checksum is wrong");
	expect_part(n, h->roster_off + 7 * sizeof(struct mcshm_roster) - 1,
	    "damaged: roster: checksum is wrong");
	expect_part(n, h->buckets_off, "damaged: table: checksum is wrong");
	expect_part(n, h->buckets_off + 2 * h->buckets - 1,
	    "damaged: table: checksum is wrong");
	expect_part(n, h->section_off[active], active ?
	    "damaged: section 1 (active): checksum is wrong" :
	    "damaged: section 0 (active): checksum is wrong");
	expect_part(n, h->section_off[active] + last, active ?
	    "damaged: section 1 (active): checksum is wrong" :
	    "damaged: section 0 (active): checksum is wrong");
	/* Of the other section it is no damage. */
	expect_part(n, h->section_off[1 - active] + last, NULL);
}

static void
test_damaged_ring(void **state)
{
	static const char text[] = "damaged: table: checksum is wrong";
	struct nest *n = *state;
	const struct mcshm_header *h;

	mkfile_make(&n->made, MCSHM_SCHEME_DALLI, NULL, 7);
	h = n->made.h;
	expect_part(n, h->ring_off, text);
	expect_part(n, h->ring_off + 8 * (uint64_t)h->ring_points - 1, text);
	expect_part(n, h->ring_index_off, text);
	expect_part(n, h->ring_index_off +
	    4 * ((UINT64_C(1) << h->ring_index_bits) + 1) - 1, text);
}

/* Another word in ring or index, under a right sum. */
static void
expect_ring(struct nest *n, void *at, uint32_t value, enum dump_part part)
{
	uint32_t *word = at;
	const uint32_t was = *word;

	*word = value;
	mkfile_seal(&n->made);
	mkfile_write(&n->made, n->path, n->made.h->file_size);
	dump_file_free(&n->file);
	assert_int_equal(dump_file_read(&n->file, n->path, &n->trouble), 0);
	assert_int_equal(dump_check_parts(&n->file).table, part);
	*word = was;
}

static void
test_impossible_rings(void **state)
{
	struct nest *n = *state;
	const struct mcshm_header *h;
	struct mcshm_point *ring;
	uint32_t *cell, cells;

	mkfile_make(&n->made, MCSHM_SCHEME_TWEMPROXY_KETAMA, NULL, 7);
	h = n->made.h;
	ring = (void *)(n->made.p + h->ring_off);
	cell = (void *)(n->made.p + h->ring_index_off);
	cells = UINT32_C(1) << h->ring_index_bits;
	assert_true(h->ring_index_bits > 0);
	expect_ring(n, &ring[9].slot, 7, DUMP_PART_VALUES);
	expect_ring(n, &ring[9].slot, 6, DUMP_PART_OK);
	expect_ring(n, &ring[9].point, ring[8].point - 1, DUMP_PART_VALUES);
	expect_ring(n, &ring[9].point, ring[10].point + 1, DUMP_PART_VALUES);
	expect_ring(n, &ring[9].point, ring[9].point, DUMP_PART_OK);
	expect_ring(n, &cell[0], 1, DUMP_PART_VALUES);
	expect_ring(n, &cell[cells / 2], cell[cells / 2] + 1,
	    DUMP_PART_VALUES);
	expect_ring(n, &cell[cells / 2], cell[cells / 2] - 1,
	    DUMP_PART_VALUES);
	expect_ring(n, &cell[cells], h->ring_points - 1, DUMP_PART_VALUES);
}

/* Right sums over values that can not be. */
static void
test_impossible_values(void **state)
{
	struct nest *n = *state;
	struct mcshm_section *s;
	struct mcshm_header *h;
	struct dump_parts p;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 7);
	h = n->made.h;
	*(uint16_t *)(void *)(n->made.p + h->buckets_off + 2000) = 7;
	h->table_sum = mcshm_sum(n->made.p + h->buckets_off, 2 * h->buckets,
	    0);
	h->header_sum = mcshm_header_sum(h);
	s = (void *)(n->made.p + h->section_off[h->generation & 1]);
	s->usable = 8;
	s->sum = mcshm_section_sum(s, h, h->file_id);
	mkfile_write(&n->made, n->path, h->file_size);
	assert_int_equal(dump_file_read(&n->file, n->path, &n->trouble), 0);
	p = dump_check_parts(&n->file);
	assert_int_equal(p.table, DUMP_PART_VALUES);
	assert_int_equal(p.section[n->file.active], DUMP_PART_VALUES);
	assert_int_equal(p.roster, DUMP_PART_OK);
}

static void
test_inactive_section(void **state)
{
	struct nest *n = *state;
	struct dump_parts p;
	unsigned char *other;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 3);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	p = dump_check_parts(&n->file);
	assert_int_equal(p.section[1 - n->file.active], DUMP_PART_OK);
	other = n->made.map + n->made.h->section_off[1 - n->file.active];
	other[100] ^= 1;
	nest_read(n);
	p = dump_check_parts(&n->file);
	assert_int_equal(p.section[1 - n->file.active], DUMP_PART_BUSY);
	assert_false(dump_check_damage(&n->file, &p, &n->trouble));
	memset(other, 0, n->made.h->section_size);
	nest_read(n);
	p = dump_check_parts(&n->file);
	assert_int_equal(p.section[1 - n->file.active], DUMP_PART_UNUSED);
}

static void
assert_one_moment(const struct nest *n)
{
	struct dump_parts p = dump_check_parts(&n->file);
	struct dump_trouble t = { .text = "" };

	if (dump_check_damage(&n->file, &p, &t))
		fail_msg("%s", t.text);
	assert_int_equal(dump_file_section(&n->file,
	    n->file.active)->generation, n->file.h.generation);
}

static void
test_overtaken(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 40);
	mkfile_create(&n->made, n->path);
	overtaking.made = &n->made;
	overtaking.section_size = n->made.h->section_size;
	for (unsigned times = 0; times < 8; times++) {
		overtaking.times = times;
		dump_file_free(&n->file);
		assert_int_equal(dump_file_read(&n->file, n->path,
		    &n->trouble), 0);
		assert_int_equal(overtaking.times, 0);
		assert_one_moment(n);
		assert_true(n->file.h.generation == n->made.h->generation);
	}
	overtaking.times = 1000;
	dump_file_free(&n->file);
	assert_int_equal(dump_file_read(&n->file, n->path, &n->trouble), -1);
	overtaking.times = 0;
	assert_string_equal(n->trouble.text, "changes too fast to be read");
}

static void *
publish_on(void *arg)
{
	struct nest *n = ((void **)arg)[0];
	_Atomic bool *stop = ((void **)arg)[1];

	for (unsigned i = 0; !*stop; i++) {
		mkfile_set_all(&n->made, i % 2 ? MCSHM_DOWN : MCSHM_UP,
		    MCSHM_READY);
		mkfile_publish(&n->made);
	}
	return NULL;
}

/* All of one publication, whatever the writer does meanwhile. */
static void
test_reads_one_moment(void **state)
{
	struct nest *n = *state;
	_Atomic bool stop = false;
	void *arg[2] = { n, &stop };
	pthread_t writer;
	unsigned good = 0;

	mkfile_make(&n->made, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 40);
	mkfile_create(&n->made, n->path);
	assert_int_equal(pthread_create(&writer, NULL, publish_on, arg), 0);
	while (good < 500) {
		dump_file_free(&n->file);
		if (dump_file_read(&n->file, n->path, &n->trouble) < 0) {
			assert_string_equal(n->trouble.text,
			    "changes too fast to be read");
			continue;
		}
		assert_one_moment(n);
		good++;
	}
	stop = true;
	pthread_join(writer, NULL);
}

static void
test_retired(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 3);
	mkfile_set(&n->made, 1, MCSHM_DOWN, MCSHM_READY);
	mkfile_create(&n->made, n->path);
	mcshm_write_retire(n->made.map +
	    offsetof(struct mcshm_header, generation));
	nest_read(n);
	assert_true(n->file.retired);
	assert_true(n->pool.blind);
	assert_int_equal(n->pool.usable, 3);
	assert_int_equal(n->pool.generation >> 63, 0);
	assert_int_equal(dump_pool_exit(&n->pool), 2);
}

static void
test_who_may_be_believed(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 3);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_null(n->file.refused);
	assert_int_equal(dump_pool_exit(&n->pool), 0);
	assert_int_equal(chmod(n->path, 0664), 0);
	nest_read(n);
	assert_non_null(n->file.refused);
	assert_int_equal(dump_pool_exit(&n->pool), 2);
	if (geteuid() != 0)
		return;
	assert_int_equal(chmod(n->path, 0644), 0);
	assert_int_equal(chown(n->path, 65534, -1), 0);
	nest_read(n);
	assert_non_null(n->file.refused);
	assert_int_equal(chown(n->dir, 65534, -1), 0);
	nest_read(n);
	assert_null(n->file.refused);
	assert_int_equal(chmod(n->dir, 0777), 0);
	nest_read(n);
	assert_non_null(n->file.refused);
}

/* The checker -------------------------------------------------------------- */

static void
test_stale(void **state)
{
	static const struct {
		int64_t age;		/* of the heartbeat, ms */
		bool stale;
	} cases[] = {
		{ 0, false }, { 29999, false }, { 30001, true },
		{ 100000, true }, { -900, false }, { -1100, true },
	};
	struct nest *n = *state;
	struct dump_time t;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 4);
	mkfile_set(&n->made, 0, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&n->made, 1, MCSHM_HELD, MCSHM_READY);
	mkfile_set(&n->made, 2, MCSHM_UP, MCSHM_MAINT);
	mkfile_create(&n->made, n->path);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		t = now();
		t.boot = n->made.h->heartbeat +
		    (uint64_t)(cases[i].age * 1000000);
		nest_read_at(n, t);
		assert_int_equal(n->pool.stale, cases[i].stale);
		assert_int_equal(n->pool.hung, cases[i].stale);
		/* Verdicts are ignored then, the operator is not. */
		assert_int_equal(n->pool.usable, cases[i].stale ? 3 : 1);
		assert_int_equal(n->pool.server[1].held, !cases[i].stale);
		assert_int_equal(dump_pool_exit(&n->pool),
		    cases[i].stale ? 2 : 1);
	}
}

static void
test_other_boot(void **state)
{
	struct nest *n = *state;
	struct dump_time t = now();
	uint64_t real;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 2);
	mkfile_create(&n->made, n->path);
	t.boot_id[1] ^= 1;
	nest_read_at(n, t);
	assert_true(n->pool.rebooted && n->pool.stale);
	assert_int_equal(dump_pool_exit(&n->pool), 2);
	/* Times are told by the section's own pair of clocks. */
	assert_false(dump_pool_real(&n->pool, 1, &real));
	t.boot_id[0] = t.boot_id[1] = 0;
	nest_read_at(n, t);
	assert_false(n->pool.rebooted || n->pool.stale);
	mkfile_beat(&n->made, 0);
	nest_read(n);
	assert_true(n->pool.never && n->pool.stale);
}

static void
test_dead(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 2);
	mkfile_write(&n->made, n->path, n->made.h->file_size);
	nest_read(n);
	assert_int_equal(n->file.lock, DUMP_LOCK_FREE);
	assert_false(n->pool.alive || n->pool.stale || n->pool.hung);
	assert_int_equal(dump_pool_exit(&n->pool), 2);
}

static void
test_exit_codes(void **state)
{
	static const struct {
		uint32_t verdict, admin;	/* of one of two servers */
		enum dump_exit code;
	} cases[] = {
		{ MCSHM_UP, MCSHM_READY, 0 }, { MCSHM_UNKNOWN, MCSHM_READY, 0 },
		{ MCSHM_UP, MCSHM_MAINT, 0 }, { MCSHM_DOWN, MCSHM_MAINT, 0 },
		{ MCSHM_DOWN, MCSHM_DRAIN, 0 }, { MCSHM_HELD, MCSHM_READY, 1 },
		{ MCSHM_DOWN, MCSHM_READY, 1 },
		{ MCSHM_RECOVERING, MCSHM_READY, 1 }, { 99, MCSHM_READY, 1 },
	};
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 2);
	mkfile_create(&n->made, n->path);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mkfile_set(&n->made, 1, cases[i].verdict, cases[i].admin);
		mkfile_publish(&n->made);
		nest_read(n);
		assert_int_equal(dump_pool_exit(&n->pool), cases[i].code);
	}
	mkfile_entry(&n->made, 0)->degraded = 4;
	mkfile_set(&n->made, 1, MCSHM_UP, MCSHM_READY);
	mkfile_publish(&n->made);
	nest_read(n);
	assert_int_equal(dump_pool_exit(&n->pool), 1);
	mkfile_set_all(&n->made, MCSHM_DOWN, MCSHM_READY);
	mkfile_publish(&n->made);
	nest_read(n);
	assert_int_equal(dump_pool_exit(&n->pool), 2);
	n->made.flags = MCSHM_SECTION_FAIL_OPEN;
	mkfile_set_all(&n->made, MCSHM_UP, MCSHM_READY);
	mkfile_publish(&n->made);
	nest_read(n);
	assert_int_equal(dump_pool_exit(&n->pool), 2);
}

/* Old values alone page nobody: there is nothing to do but to wait.  A flush
 * that was refused, and an outage that was ours, do. */
static void
test_exit_code_of_a_risk(void **state)
{
	static const struct {
		uint64_t degraded, returned;
		enum dump_exit code;
	} cases[] = {
		{ MCSHM_DEGRADED_STALE_RISK, MCSHM_RETURNED_SAME, 0 },
		{ MCSHM_DEGRADED_STALE_RISK, MCSHM_RETURNED_UNKNOWN, 0 },
		{ MCSHM_DEGRADED_STALE_RISK,
		  MCSHM_RETURNED_SAME | MCSHM_RETURNED_REFUSED, 1 },
		{ MCSHM_DEGRADED_STALE_RISK,
		  MCSHM_RETURNED_SAME | MCSHM_RETURNED_OUR_FAULT, 1 },
		{ MCSHM_DEGRADED_STALE_RISK | MCSHM_DEGRADED_SLOW,
		  MCSHM_RETURNED_SAME, 1 },
		{ MCSHM_DEGRADED_SLOW, MCSHM_RETURNED_SAME, 1 },
	};
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 2);
	mkfile_create(&n->made, n->path);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		mkfile_entry(&n->made, 0)->degraded = cases[i].degraded;
		mkfile_entry(&n->made, 0)->returned = cases[i].returned;
		mkfile_publish(&n->made);
		nest_read(n);
		assert_int_equal(n->pool.server[0].rank, DUMP_DEGRADED);
		assert_int_equal(dump_pool_exit(&n->pool), cases[i].code);
	}
	/* Beside one that is slow. */
	mkfile_entry(&n->made, 0)->degraded = MCSHM_DEGRADED_STALE_RISK;
	mkfile_entry(&n->made, 1)->degraded = MCSHM_DEGRADED_SLOW;
	mkfile_publish(&n->made);
	nest_read(n);
	assert_int_equal(dump_pool_exit(&n->pool), 1);
}

/* Keys --------------------------------------------------------------------- */

static void
test_shares_all_up(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 3);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	for (uint32_t i = 0; i < 3; i++) {
		assert_near(n->pool.server[i].home, 1.0 / 3, 1e-12);
		assert_near(n->pool.server[i].now, 1.0 / 3, 1e-12);
	}
	assert_true(n->pool.rehashed == 0 && n->pool.held == 0 &&
	    n->pool.missed == 0);
}

static void
test_shares_by_weight(void **state)
{
	static const struct mkfile_server v[] = {
		{ "a", "10.0.0.1", MCSHM_KIND_IPV4, 1, 1 },
		{ "b", "10.0.0.2", MCSHM_KIND_IPV4, 1, 3 },
	};
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, v, 2);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_near(n->pool.server[0].home, 0.25, 0.01);
	assert_near(n->pool.server[1].now, 0.75, 0.01);
}

/* What so many keys really do, by the library. */
static void
shares_by_picking(struct mcshm *m, double *to, uint32_t n, double *held)
{
	const uint32_t keys = 200000;

	memset(to, 0, n * sizeof *to);
	*held = 0;
	for (uint32_t i = 0; i < keys; i++) {
		struct mcshm_choice c;
		const uint64_t key[2] = { scheme_mix(i), i };
		int err = mcshm_pick(m, key, 5 + i % 12, &c);

		if (err == MCSHM_EHELD)
			*held += 1.0 / keys;
		else if (err == MCSHM_OK)
			to[c.slot] += 1.0 / keys;
	}
}

static void
test_shares_are_what_picks_do(void **state)
{
	struct nest *n = *state;
	struct scheme_setting set;
	struct mcshm *m;
	double to[20], held;

	for (unsigned s = 0; mkplace_some(&set, s); s++) {
		/* All keys of this one meet the same few servers. */
		if (scheme_has_ring(set.scheme) &&
		    set.hash == MCSHM_HASH_CRC)
			continue;
		mkfile_make_as(&n->made, &set, NULL, 20);
		for (uint32_t i = 0; i < 7; i++)
			mkfile_set(&n->made, 2 * i, i < 4 ? MCSHM_DOWN :
			    MCSHM_HELD, MCSHM_READY);
		mkfile_set(&n->made, 15, MCSHM_UP, MCSHM_DRAIN);
		mkfile_create(&n->made, n->path);
		nest_read(n);
		assert_int_equal(mcshm_open(&m, n->path, 0), 0);
		shares_by_picking(m, to, 20, &held);
		for (uint32_t i = 0; i < 20; i++)
			assert_near(n->pool.server[i].now, to[i], 0.006);
		assert_near(n->pool.held, held, 0.006);
		assert_near(sum_now(&n->pool) + n->pool.held +
		    n->pool.missed, 1, 1e-9);
		assert_true(n->pool.rehashed > 0.15);
		mcshm_close(m);
		mkfile_free(&n->made);
	}
}

/* Of weighted servers, when all are up: as hashes fall that are tried one by
 * one, or many of them. */
static void
check_homes(struct nest *n)
{
	const struct scheme_setting *set = &n->pool.place.set;
	const uint32_t few = set->hash == MCSHM_HASH_CRC ? 1 << 15 :
	    set->hash == MCSHM_HASH_CRC16 ? 1 << 16 : 0;
	const uint32_t all = few != 0 ? few : 400000;
	double got[13] = { 0 }, sum = 0;

	for (uint32_t i = 0; i < all; i++) {
		const uint64_t bytes = scheme_mix(i);
		struct scheme_key k = scheme_key(set, &bytes, sizeof bytes);

		if (few != 0)
			k.h = i;
		got[scheme_home(&n->pool.place, &k)] += 1.0 / all;
	}
	for (uint32_t i = 0; i < 13; i++) {
		const struct dump_server *s = &n->pool.server[i];

		assert_near(s->home, got[i], few != 0 ? 1e-9 : 0.004);
		assert_near(s->home, s->now, 0);
		sum += s->home;
	}
	assert_near(sum, 1, 1e-9);
}

static void
test_homes(void **state)
{
	struct nest *n = *state;
	struct mkfile_server v[13];
	char host[13][24];
	struct scheme_setting set;

	for (uint32_t i = 0; i < 13; i++) {
		snprintf(host[i], sizeof host[i], "10.1.0.%u", i + 1);
		v[i] = (struct mkfile_server){ "", host[i], MCSHM_KIND_IPV4,
			11211, 1 + i % 3 * 2 };
	}
	for (unsigned s = 0; mkplace_some(&set, s); s++) {
		mkfile_make_as(&n->made, &set, v, 13);
		mkfile_create(&n->made, n->path);
		nest_read(n);
		check_homes(n);
		mkfile_free(&n->made);
	}
}

static void
test_shares_of_one_in_many(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 3000);
	mkfile_set(&n->made, 2999, MCSHM_DOWN, MCSHM_READY);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_near(n->pool.server[2999].now, 0, 0);
	assert_near(n->pool.rehashed, n->pool.server[2999].home, 1e-9);
	assert_near(sum_now(&n->pool), 1, 1e-9);
}

static void
test_shares_all_down(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 300);
	mkfile_set_all(&n->made, MCSHM_DOWN, MCSHM_READY);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_near(n->pool.missed, 1, 0);
	assert_near(sum_now(&n->pool), 0, 0);
	mkfile_set(&n->made, 17, MCSHM_UP, MCSHM_READY);
	mkfile_publish(&n->made);
	nest_read(n);
	assert_near(n->pool.server[17].now, 1, 1e-9);
}

static void
test_dead_policy(void **state)
{
	static const struct {
		uint32_t dead;
		int error;
	} cases[] = { { MCSHM_DEAD_REHASH, MCSHM_OK },
		{ MCSHM_DEAD_MISS, MCSHM_EMISS },
		{ MCSHM_DEAD_ERROR, MCSHM_EDOWN } };
	struct nest *n = *state;
	struct dump_route r;

	for (size_t i = 0; i < 3 * (MCSHM_SCHEMES - 1); i++) {
		mkfile_make(&n->made, 1 + (uint32_t)i / 3, NULL, 4);
		n->made.h->dead = cases[i % 3].dead;
		mkfile_set(&n->made, 2, MCSHM_DOWN, MCSHM_READY);
		mkfile_create(&n->made, n->path);
		nest_read(n);
		for (uint32_t j = 0; ; j++) {
			const struct scheme_key k =
			    scheme_key(&n->pool.place.set, &j, sizeof j);

			dump_route_key(&r, &n->pool, &k);
			if (r.slot[0] == 2)
				break;
		}
		assert_int_equal(r.error, cases[i % 3].error);
		assert_int_equal(r.steps > 1, i % 3 == 0);
		assert_near(n->pool.missed,
		    i % 3 == 0 ? 0 : n->pool.server[2].home, 1e-9);
		mkfile_free(&n->made);
	}
}

/* While it fails open, who is silent is usable; all others are down for
 * certain, or taken out, and the policy is theirs. */
static void
test_dead_policy_of_fail_open(void **state)
{
	struct nest *n = *state;

	for (uint32_t scheme = 1; scheme < MCSHM_SCHEMES; scheme++) {
		mkfile_make(&n->made, scheme, NULL, 4);
		n->made.h->dead = MCSHM_DEAD_MISS;
		n->made.flags = MCSHM_SECTION_FAIL_OPEN;
		mkfile_set(&n->made, 2, MCSHM_UP, MCSHM_MAINT);
		mkfile_create(&n->made, n->path);
		nest_read(n);
		assert_near(n->pool.missed, n->pool.server[2].home, 1e-9);
		assert_near(n->pool.rehashed, 0, 1e-9);
		mkfile_free(&n->made);
	}
}

/* One route, against the library's pick of the same key. */
static void
compare_route(const struct dump_pool *p, struct mcshm *m, const char *key)
{
	struct mcshm_choice c;
	struct dump_route r;
	const int err = mcshm_pick(m, key, strlen(key), &c);
	const struct scheme_key k =
	    scheme_key(&p->place.set, key, strlen(key));

	dump_route_key(&r, p, &k);
	assert_int_equal(r.error, err);
	if (err == MCSHM_ENONE) {
		assert_int_equal(r.steps, 1);
		return;
	}
	assert_int_equal(r.slot[0], c.home);
	assert_int_equal(r.slot[r.steps - 1], c.slot);
	if (err == MCSHM_OK)
		assert_int_equal(dump_route_tries(&r), c.tries);
	for (uint32_t i = 0; i + 1 < r.steps; i++)
		assert_false(p->server[r.slot[i]].usable ||
		    p->server[r.slot[i]].held);
}

static void
compare_routes(struct nest *n, const struct scheme_setting *set,
    uint32_t servers)
{
	struct mcshm *m;
	char key[16];

	mkfile_make_as(&n->made, set, NULL, servers);
	for (uint32_t i = 0; i < servers; i++)
		mkfile_set(&n->made, i, (uint32_t)random() % 4,
		    random() % 8 == 0 ? MCSHM_MAINT : MCSHM_READY);
	n->made.h->dead = (uint32_t)random() % 3;
	n->made.flags = random() % 3 == 0 ? MCSHM_SECTION_FAIL_OPEN : 0;
	if (random() % 3 == 0)		/* stale: verdicts do not count */
		mkfile_beat(&n->made, mkfile_boottime() - 40 * NS_S);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_int_equal(mcshm_open(&m, n->path, 0), 0);
	for (int i = 0; i < 200; i++) {
		snprintf(key, sizeof key, "k%ld", random());
		compare_route(&n->pool, m, key);
	}
	mcshm_close(m);
	mkfile_free(&n->made);
}

static void
test_routes_are_picks(void **state)
{
	struct scheme_setting set;

	srandom(42);
	for (unsigned i = 0; mkplace_some(&set, i); i++)
		for (uint32_t n = 1; n <= 40; n += i < 2 ? 1 : 4)
			compare_routes(*state, &set, n);
}

/* Each step of a way, to a server that is left of many; one is left out where
 * all are ranked, and more would have to be written down than there is room. */
static void
check_long_route(const struct dump_pool *p, const struct scheme_key *k)
{
	const uint32_t last = p->servers - 1;
	struct scheme_choice c;
	struct scheme_walk w;
	struct dump_route r;
	uint32_t i = 1;

	dump_route_key(&r, p, k);
	assert_int_equal(r.error, MCSHM_OK);
	assert_int_equal(scheme_pick(&p->place, k, &c), MCSHM_OK);
	assert_int_equal(dump_route_tries(&r), c.tries);
	assert_true(r.steps <= DUMP_STEPS);
	assert_int_equal(r.slot[r.steps - 1], last);
	scheme_walk(&p->place, k, &w);
	assert_int_equal(r.slot[0], w.slot);
	while (i + 1 < r.steps && scheme_walk_next(&p->place, k, &w))
		assert_int_equal(r.slot[i++], w.slot);
	if (i > 1 || r.steps <= 2) {
		assert_int_equal(r.left_out, 0);
		return;
	}
	assert_int_equal(r.left_out > 0, dump_route_tries(&r) >= DUMP_STEPS);
	for (; i + 1 < r.steps; i++)
		assert_int_not_equal(r.slot[i], r.slot[i - 1]);
}

static void
test_long_routes(void **state)
{
	struct nest *n = *state;
	struct scheme_setting set;

	for (unsigned s = 0; mkplace_some(&set, s); s++) {
		mkfile_make_as(&n->made, &set, NULL, 600);
		mkfile_set_all(&n->made, MCSHM_DOWN, MCSHM_READY);
		mkfile_set(&n->made, 599, MCSHM_UP, MCSHM_READY);
		mkfile_create(&n->made, n->path);
		nest_read(n);
		for (uint32_t i = 0; i < 50; i++) {
			const struct scheme_key k =
			    scheme_key(&n->pool.place.set, &i, sizeof i);

			check_long_route(&n->pool, &k);
		}
		mkfile_free(&n->made);
	}
}

static void
test_unknown_scheme(void **state)
{
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, NULL, 3);
	n->made.h->scheme = 77;
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_false(n->pool.placed);
	assert_int_equal(n->pool.usable, 3);
}

static void
test_find_server(void **state)
{
	static const struct mkfile_server v[] = {
		{ "a", "10.0.0.1", MCSHM_KIND_IPV4, 1, 1 },
		{ "", "10.0.0.2", MCSHM_KIND_IPV4, 1, 1 },
		/* Somebody's idea of a name. */
		{ "10.0.0.1:1", "10.0.0.3", MCSHM_KIND_IPV4, 1, 1 },
	};
	struct nest *n = *state;

	mkfile_make(&n->made, MCSHM_SCHEME_MAGLEV, v, 3);
	mkfile_create(&n->made, n->path);
	nest_read(n);
	assert_int_equal(dump_pool_find(&n->pool, "a")->slot, 0);
	assert_int_equal(dump_pool_find(&n->pool, "10.0.0.2:1")->slot, 1);
	assert_int_equal(dump_pool_find(&n->pool, "10.0.0.1:1")->slot, 2);
	assert_int_equal(dump_pool_find(&n->pool, "10.0.0.3:1")->slot, 2);
	assert_null(dump_pool_find(&n->pool, "b"));
}

static void
test_key_files(void **state)
{
	char text[] = "a\n\nlonger key\r\n\xff\xfe\n\r\nlast";
	struct dump_keys k = { 0 };
	FILE *f = fmemopen(text, sizeof text - 1, "r");

	(void)state;
	assert_int_equal(dump_keys_read(&k, f), 0);
	fclose(f);
	assert_int_equal(k.n, 4);
	assert_string_equal(k.v[1].bytes, "longer key");
	assert_int_equal(k.v[2].len, 2);
	assert_string_equal(k.v[3].bytes, "last");
	dump_keys_free(&k);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(dump_keys_add(&k, "key", 3), 0);
	assert_int_equal(k.n, 1000);
	dump_keys_free(&k);
}

/* Paths, processes --------------------------------------------------------- */

static void
touch(const char *dir, const char *name, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void
untouch(const char *dir, const char *name)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	assert_int_equal(remove(path), 0);
}

static void
test_find_paths(void **state)
{
	static const char *const names[] = { "web.mcshm", "a.mcshm", ".mcshm",
		".web.tmp.1", ".x.mcshm", "web.mcshmx" };
	struct nest *n = *state;
	struct dump_paths p = { 0 };

	for (size_t i = 0; i < 6; i++)
		touch(n->dir, names[i], "");
	assert_int_equal(dump_find_all(&p, n->dir), 0);
	assert_int_equal(p.n, 2);
	assert_non_null(strstr(p.v[0], "/a.mcshm"));
	assert_string_equal(p.v[1], n->path);
	dump_find_free(&p);
	for (size_t i = 0; i < 6; i++)
		untouch(n->dir, names[i]);
	assert_int_equal(dump_find_all(&p, "/nonexistent"), -1);
	assert_null(dump_find_one(&p, "/d", "web-1.a"));
	assert_string_equal(p.v[0], "/d/web-1.a.mcshm");
	assert_null(dump_find_one(&p, "/d", "./x"));
	assert_string_equal(p.v[1], "./x");
	assert_null(dump_find_one(&p, "/d", "web-1.a"));
	assert_null(dump_find_one(&p, "/d", "/d/web-1.a.mcshm"));
	assert_int_equal(p.n, 2);
	assert_non_null(dump_find_one(&p, "/d", ".web"));
	assert_non_null(dump_find_one(&p, "/d", ""));
	assert_non_null(dump_find_one(&p, "/d", "web 1"));
	assert_non_null(dump_find_one(&p, "/d",
	    "a2345678901234567890123456789012345678901"));
	dump_find_free(&p);
}

/* A process of a /proc that is made here. */
static void
fake_process(const char *dir, const char *pid, const char *command,
    const char *maps)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, pid);
	assert_int_equal(mkdir(path, 0755), 0);
	touch(path, "comm", command);
	touch(path, "maps", maps);
}

static void
unfake_process(const char *dir, const char *pid)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, pid);
	untouch(path, "comm");
	untouch(path, "maps");
	assert_int_equal(rmdir(path), 0);
}

static void
test_clients(void **state)
{
	struct nest *n = *state;
	struct dump_clients c;
	char maps[1024];

	touch(n->dir, "web.mcshm", "x");
	fake_process(n->dir, "7", "idle\n",
	    "1-2 r-xp 00000000 00:1a 99   /usr/bin/x\n"
	    "3-4 rw-p 00000000 00:00 0   [heap]\nnonsense\n");
	/* By number from another mount; twice is once. */
	fake_process(n->dir, "10", "php-fpm\033\n",
	    "1-2 r--s 00000000 00:1a 4711   /box/web.mcshm\n"
	    "2-3 r--s 00000000 00:1a 4711   /box/web.mcshm\n"
	    "5-6 r--s 00000000 00:1a 4712   /box/other.mcshm\n");
	snprintf(maps, sizeof maps,
	    "1-2 rw-s 00000000 00:1a 4711   %s\n"
	    "2-3 rw-s 00000000 00:1a 4700   %s/.web.tmp.9 (deleted)\n",
	    n->path, n->dir);
	fake_process(n->dir, "9", "mc-checkerd\n", maps);
	snprintf(maps, sizeof maps,
	    "1-2 r--s 00000000 00:1a 4700   %s (deleted)\n"
	    "1-2 r--s 00000000 00:1a 4709   %sx (deleted)\n",
	    n->path, n->path);
	fake_process(n->dir, "11", "python3\n", maps);
	assert_int_equal(dump_clients_scan(&c, n->dir, n->path, 0x1a, 4711),
	    0);
	assert_int_equal(c.n, 4);
	assert_int_equal(c.v[0].pid, 9);
	assert_true(c.v[0].checker && !c.v[0].orphaned);
	assert_true(c.v[1].orphaned);
	assert_int_equal(c.v[2].pid, 10);
	assert_string_equal(c.v[2].command, "php-fpm\\x1b");
	assert_false(c.v[2].checker || c.v[2].orphaned);
	assert_int_equal(c.v[3].pid, 11);
	assert_true(c.v[3].orphaned);
	dump_clients_free(&c);
	unfake_process(n->dir, "7");
	unfake_process(n->dir, "9");
	unfake_process(n->dir, "10");
	unfake_process(n->dir, "11");
}

#define IN_NEST(test) cmocka_unit_test_setup_teardown(test, nest_open, \
	nest_close)

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_percents),
		cmocka_unit_test(test_rtts),
		cmocka_unit_test(test_when),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_text_is_harmless),
		cmocka_unit_test(test_history),
		cmocka_unit_test(test_degraded),
		cmocka_unit_test(test_labels),
		IN_NEST(test_reads_what_was_written),
		IN_NEST(test_what_is_no_pool_file),
		IN_NEST(test_damaged_headers),
		IN_NEST(test_damaged_parts),
		IN_NEST(test_damaged_ring),
		IN_NEST(test_impossible_rings),
		IN_NEST(test_impossible_values),
		IN_NEST(test_inactive_section),
		IN_NEST(test_overtaken),
		IN_NEST(test_reads_one_moment),
		IN_NEST(test_retired),
		IN_NEST(test_who_may_be_believed),
		IN_NEST(test_stale),
		IN_NEST(test_other_boot),
		IN_NEST(test_dead),
		IN_NEST(test_exit_codes),
		IN_NEST(test_exit_code_of_a_risk),
		IN_NEST(test_shares_all_up),
		IN_NEST(test_shares_by_weight),
		IN_NEST(test_shares_are_what_picks_do),
		IN_NEST(test_homes),
		IN_NEST(test_shares_of_one_in_many),
		IN_NEST(test_shares_all_down),
		IN_NEST(test_dead_policy),
		IN_NEST(test_dead_policy_of_fail_open),
		IN_NEST(test_routes_are_picks),
		IN_NEST(test_long_routes),
		IN_NEST(test_unknown_scheme),
		IN_NEST(test_find_server),
		cmocka_unit_test(test_key_files),
		IN_NEST(test_find_paths),
		IN_NEST(test_clients),
	};

	if (argc > 1)			/* one test, by its name */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
