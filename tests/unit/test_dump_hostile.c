/*
 * test_dump_hostile.c - a file that somebody made to harm mc-shmdump: every
 * checksum is right, and anything may stand behind it.
 *
 * Whatever comes out, it comes out soon, stays within the private copy (run
 * under AddressSanitizer to see that) and is printable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dump_detail.h"
#include "dump_json.h"
#include "dump_picture.h"
#include "mkfile.h"

#define ROUNDS 1000

static uint64_t
random_word(void)
{
	static const uint64_t odd[] = { 0, 1, 7, 8, 63, 64, 255, 4096, 65535,
		65536, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX,
		UINT64_MAX - 7, UINT64_C(1) << 63, UINT64_C(1) << 40 };
	const uint64_t any = (uint64_t)random() << 33 ^
	    (uint64_t)random() << 11 ^ (uint64_t)random();

	switch (random() % 3) {
	case 0:
		return odd[(size_t)random() % (sizeof odd / sizeof *odd)];
	case 1:
		return any >> random() % 64;
	default:
		return any;
	}
}

/* A few bytes, half a word or a word, somewhere in len bytes at p. */
static void
spoil(unsigned char *p, size_t len, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		const uint64_t word = random_word();
		const size_t most = (size_t)1 << random() % 4;
		const size_t size = most < len ? most : len;
		const size_t at = (size_t)random() % (len / size) * size;

		memcpy(p + at, &word, size);
	}
}

static void
spoil_section(struct mkfile *f, unsigned which)
{
	struct mcshm_header *h = f->h;
	unsigned char *p = f->p + h->section_off[which];
	struct mcshm_section *head = (void *)p;
	const uint32_t slot = (uint32_t)random() % h->servers;

	if (random() % 4 == 0)
		spoil(p, h->section_size, 20);
	spoil(p + h->entries_off + (size_t)slot * h->entry_stride,
	    sizeof(struct mcshm_entry), 40);
	head->generation = h->generation;
	head->sum = mcshm_section_sum(p, h, h->file_id);
}

/* One that gets through all checks, more often than not. */
static void
spoil_file(struct mkfile *f)
{
	struct mcshm_header *h = f->h;
	const struct mcshm_header whole = *h;
	struct mcshm_header changed;

	if (random() % 2 == 0)
		spoil(f->p + whole.roster_off, (size_t)whole.servers *
		    whole.roster_stride, 30);
	spoil_section(f, 0);
	spoil_section(f, 1);
	if (random() % 8 == 0 && whole.buckets > 0)
		spoil(f->p + whole.buckets_off, whole.buckets * 2, 1);
	if (random() % 8 == 0 && whole.ring_points > 0)
		spoil(f->p + whole.ring_off, whole.ring_points * 8, 1);
	if (random() % 16 == 0 && whole.ring_index_bits > 0)
		spoil(f->p + whole.ring_index_off,
		    (size_t)4 << whole.ring_index_bits, 1);
	if (random() % 2 == 0)		/* what the publisher writes */
		spoil((unsigned char *)h + 256, 128, 5);
	if (random() % 2 == 0)		/* texts */
		spoil((unsigned char *)h + 1104, 864, 50);
	if (random() % 4 == 0)		/* all of it */
		spoil((unsigned char *)h, sizeof *h, 1);
	if (random() % 2 == 0)		/* dead, ttl, times, the pool's name */
		spoil((unsigned char *)h + 384, 16, 1);
	/* Sums where the whole one says, under the header as it is. */
	changed = *h;
	*h = whole;
	changed.roster_sum = mcshm_sum(f->p + whole.roster_off,
	    (size_t)whole.servers * whole.roster_stride, 0);
	changed.table_sum = mkfile_table_sum(f);
	*h = changed;
	memcpy(h->magic, MCSHM_MAGIC_BYTES, sizeof h->magic);
	h->header_sum = mcshm_header_sum(h);
}

static void
assert_printable(const char *text, size_t size)
{
	assert_int_equal(strlen(text), size);
	for (; *text != 0; text++)
		assert_true(*text == '\n' || (*text >= ' ' && *text < 0x7f));
}

static void
show_texts(const struct dump_pool *p, const struct dump_parts *parts,
    const struct dump_keys *k)
{
	struct dump_look look = { .host = "h" };
	struct dump_legend legend = { 0 };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	dump_picture(out, p, &look, &legend);
	look.all = true;
	dump_picture(out, p, &look, &legend);
	dump_picture_legend(out, &look, &legend, dump_pool_exit(p));
	for (uint32_t i = 0; i < p->servers; i++)
		dump_detail(out, p, &p->server[i]);
	dump_detail_parts(out, p->file, parts);
	if (p->placed)
		dump_keys_text(out, p, k);
	fclose(out);
	assert_printable(text, size);
	free(text);
}

static void
show_json(const struct dump_pool *p, const struct dump_parts *parts,
    const struct dump_keys *k)
{
	struct dump_json *j = dump_json_begin("h");
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	dump_json_pool(j, p, NULL, k, parts, NULL);
	assert_int_equal(dump_json_end(j, out, dump_pool_exit(p)), 0);
	fclose(out);
	assert_printable(text, size);
	free(text);
}

/* As mc-shmdump does it; true if there was something to show. */
static bool
show(const char *path, const struct dump_keys *k)
{
	struct dump_time now = { .boot = mkfile_boottime(),
		.real = UINT64_C(1800000000000000000) };
	struct dump_trouble t;
	struct dump_parts parts;
	struct dump_file f;
	struct dump_pool p;
	bool damaged;

	if (dump_file_read(&f, path, &t) < 0)
		return false;
	mcshm_boot_id(now.boot_id);
	parts = dump_check_parts(&f);
	damaged = dump_check_damage(&f, &parts, &t);
	if (!damaged) {
		assert_int_equal(dump_pool_init(&p, &f, now), 0);
		show_texts(&p, &parts, k);
		show_json(&p, &parts, k);
		dump_pool_free(&p);
	}
	dump_file_free(&f);
	return !damaged;
}

static void
test_hostile_files(void **state)
{
	struct dump_keys k = { 0 };
	char path[] = "/tmp/test_dump_hostile.XXXXXX";
	unsigned shown = 0;

	(void)state;
	srandom(4711);
	close(mkstemp(path));
	for (int i = 0; i < 20; i++)
		dump_keys_add(&k, &i, sizeof i);
	for (int i = 0; i < ROUNDS; i++) {
		struct mkfile f;
		size_t size;

		/* Of all schemes, and seldom of the one that takes long. */
		mkfile_make(&f, i % 16 == 0 ? MCSHM_SCHEME_MAGLEV :
		    2 + (uint32_t)i % (MCSHM_SCHEMES - 2), NULL,
		    1 + (uint32_t)random() % 70);
		size = f.h->file_size;
		spoil_file(&f);
		/* RETIRED costs a tenth of a second; once is enough. */
		if (i > 0)
			f.h->generation &= ~MCSHM_RETIRED;
		mkfile_write(&f, path, size);
		shown += show(path, &k);
		mkfile_free(&f);
	}
	dump_keys_free(&k);
	unlink(path);
	/* A test that is turned away at the door tests little. */
	assert_true(shown > ROUNDS / 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hostile_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
