/*
 * hostile_large.c - pool files as large as they can be: by size, by servers,
 * and with a part that ends where the largest file does, which is where the
 * range of a handle ends.
 */
#include "hostile_family.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hostile.h"

#define UNREADABLE 3			/* mc-shmdump's exit code */

static void
put(int fd, const void *from, size_t len, uint64_t off)
{
	must(pwrite(fd, from, len, (off_t)off) == (ssize_t)len, "pwrite");
}

static int
lay(const struct mkfile *f, const char *path)
{
	mkfile_write(f, path, f->size);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* By size and servers ------------------------------------------------------ */

/* A small file's content at the head of a hole of so many bytes. */
static void
hole(const struct hostile_plan *p, struct mkfile *f, uint64_t size,
    uint64_t file_size, int want)
{
	const int fd = lay(f, p->path);
	int got;

	hostile_case("%llu bytes, %llu by the header", (unsigned long long)size,
	    (unsigned long long)file_size);
	f->h->file_size = file_size;
	f->h->header_sum = mcshm_header_sum(f->h);
	put(fd, f->h, sizeof *f->h, 0);
	must(ftruncate(fd, (off_t)size) == 0, "no sparse file of %llu "
	    "bytes: not on this file system", (unsigned long long)size);
	got = hostile_read(p->path, true);
	must(got == want, "open says %d, not %d", got, want);
	must((hostile_dump_all(p->path) == UNREADABLE) == (want != 0),
	    "mc-shmdump disagrees");
	f->h->file_size = f->size;
	close(fd);
}

static void
most_servers(const struct hostile_plan *p, uint32_t scheme)
{
	const uint32_t rounds = plan_of(p, 1, 4, 2000);
	struct mkfile f;
	int fd;

	hostile_case("%u servers", MCSHM_MAX_SERVERS);
	mkfile_make(&f, scheme, NULL, MCSHM_MAX_SERVERS);
	fd = lay(&f, p->path);
	must(hostile_read(p->path, true) == 0, "not opened");
	if (p->depth != DEPTH_REDUCED)
		must(hostile_dump_all(p->path) != UNREADABLE, "not shown");
	for (uint32_t i = 0; i < rounds; i++) {
		const uint64_t off = f.h->header_size + (uint64_t)i *
		    UINT64_C(2654435761) %
		    (f.h->file_size - f.h->header_size);
		const uint8_t wrong = f.p[off] ^ (uint8_t)(1 + i % 255);

		hostile_case("%u servers, byte %llu", MCSHM_MAX_SERVERS,
		    (unsigned long long)off);
		put(fd, &wrong, 1, off);
		must(hostile_read(p->path, true) == 0, "not opened");
		put(fd, &f.p[off], 1, off);
	}
	close(fd);
	mkfile_free(&f);
}

void
family_large(const struct hostile_plan *p)
{
	struct mkfile f;
	uint64_t size;

	hostile_small(&f);
	size = f.h->file_size;
	hole(p, &f, size + 1, size, 0);
	hole(p, &f, MCSHM_MAX_FILE, MCSHM_MAX_FILE, 0);
	hole(p, &f, MCSHM_MAX_FILE + 1, MCSHM_MAX_FILE, 0);
	hole(p, &f, MCSHM_MAX_FILE + 4096, MCSHM_MAX_FILE + 4096,
	    MCSHM_EDAMAGED);
	hole(p, &f, UINT64_C(1) << 40, size, 0);
	hole(p, &f, UINT64_C(1) << 40, UINT64_C(1) << 40, MCSHM_EDAMAGED);
	hole(p, &f, size, UINT64_C(1) << 63, MCSHM_EDAMAGED);
	mkfile_free(&f);
	most_servers(p, MCSHM_SCHEME_LIBMEMCACHED_MODULA);
	if (p->depth == DEPTH_REDUCED)
		return;
	most_servers(p, MCSHM_SCHEME_MAGLEV);
	most_servers(p, MCSHM_SCHEME_LIBMEMCACHED_KETAMA);
}

/* Where the largest file ends ---------------------------------------------- */

/* A section of f as the geometry of h has it. */
static void
put_section(int fd, const struct mkfile *f, const struct mcshm_header *h,
    unsigned i)
{
	const unsigned char *was = f->p + f->h->section_off[0];
	unsigned char *p = calloc(1, h->section_size);
	uint64_t sum;

	must(p != NULL, "memory");
	memcpy(p, was, sizeof(struct mcshm_section));
	memcpy(p + h->bitmap_off, was + f->h->bitmap_off,
	    MCSHM_BITMAPS * 8 * (size_t)h->words);
	memcpy(p + h->entries_off, was + f->h->entries_off,
	    (size_t)h->servers * h->entry_stride);
	sum = mcshm_section_sum(p, h, h->file_id);
	memcpy(p + offsetof(struct mcshm_section, sum), &sum, sizeof sum);
	put(fd, p, h->section_size, h->section_off[i]);
	free(p);
}

/* The content of f, where h wants it. */
static void
put_all(int fd, const struct mkfile *f, struct mcshm_header *h)
{
	must(ftruncate(fd, 0) == 0 &&
	    ftruncate(fd, (off_t)h->file_size) == 0, "ftruncate");
	put_section(fd, f, h, 0);
	put_section(fd, f, h, 1);
	put(fd, f->p + f->h->roster_off,
	    (size_t)h->servers * h->roster_stride, h->roster_off);
	put(fd, f->p + f->h->buckets_off, 2 * (size_t)h->buckets,
	    h->buckets_off);
	h->header_sum = mcshm_header_sum(h);
	put(fd, h, sizeof *h, 0);
}

/* Both say the same of all servers, and choose the same ones. */
static void
check_same(struct mcshm *a, struct mcshm *b, uint32_t servers)
{
	struct mcshm_server s[2][16] = { 0 };
	struct mcshm_state v[2][16] = { 0 };

	must(mcshm_servers(a, s[0], 16, sizeof **s, NULL) == (int)servers &&
	    mcshm_servers(b, s[1], 16, sizeof **s, NULL) == (int)servers &&
	    memcmp(s[0], s[1], sizeof s[0]) == 0, "another list");
	must(mcshm_snapshot(a, v[0], 16, sizeof **v, NULL, 0) ==
	    (int)servers &&
	    mcshm_snapshot(b, v[1], 16, sizeof **v, NULL, 0) ==
	    (int)servers && memcmp(v[0], v[1], sizeof v[0]) == 0,
	    "another state");
	for (uint32_t k = 0; k < 500; k++) {
		struct mcshm_choice c[2];

		must(mcshm_pick(a, &k, sizeof k, &c[0]) ==
		    mcshm_pick(b, &k, sizeof k, &c[1]) &&
		    memcmp(&c[0], &c[1], sizeof c[0]) == 0, "another choice");
	}
}

/* The file of a, with this geometry. */
static void
last(const struct hostile_plan *p, const struct mkfile *f, struct mcshm *a,
    const char *what, struct mcshm_header h)
{
	struct mcshm *b = NULL;
	int fd;

	hostile_case("%s at the end of the largest file", what);
	fd = lay(f, p->path);
	put_all(fd, f, &h);
	must(hostile_read(p->path, true) == 0, "not opened");
	must(mcshm_open(&b, p->path, 0) == 0, "not opened");
	check_same(a, b, h.servers);
	mcshm_close(b);
	must(hostile_dump_all(p->path) != UNREADABLE, "not shown");
	close(fd);
}

void
family_last(const struct hostile_plan *p)
{
	const uint64_t end = MCSHM_MAX_FILE;
	struct mcshm_header h, one;
	char path[200];
	struct mcshm *a = NULL;
	struct mkfile f;
	uint64_t size;

	hostile_case("the small file");
	hostile_small(&f);
	snprintf(path, sizeof path, "%s/as-it-is.mcshm", p->dir);
	mkfile_write(&f, path, f.size);
	must(mcshm_open(&a, path, 0) == 0, "not opened");
	h = *f.h;
	h.file_size = end;
	size = h.section_size;

	one = h;
	one.roster_off = end - h.servers * h.roster_stride;
	last(p, &f, a, "the roster", one);
	one = h;
	one.buckets_off = end - 2 * h.buckets;
	last(p, &f, a, "the table", one);
	for (unsigned i = 0; i < 2; i++) {
		one = h;
		one.section_off[i] = end - size;
		one.section_off[!i] = end - 2 * size;
		one.entries_off = (uint32_t)size - h.servers * h.entry_stride;
		last(p, &f, a, "entries", one);
		one.entries_off = h.entries_off;
		one.bitmap_off = (uint32_t)size - 24 * h.words;
		last(p, &f, a, "bitmaps", one);
	}
	mcshm_close(a);
	mkfile_free(&f);
}
