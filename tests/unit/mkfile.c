/*
 * mkfile.c - pool files for tests; see mkfile.h.
 *
 * On purpose not the daemon's code: two writers that agree are worth more than
 * one.
 */
#include "mkfile.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "scheme.h"

#define PAGE 4096u

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

static void *
zeros(size_t size)
{
	void *p = calloc(1, size);

	must(p != NULL, "calloc");
	return p;
}

static uint64_t
whole_pages(uint64_t n)
{
	return (n + PAGE - 1) / PAGE * PAGE;
}

uint64_t
mkfile_boottime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Geometry ---------------------------------------------------------------- */

static struct mcshm_header
geometry(uint32_t scheme, uint32_t n)
{
	struct mcshm_header h = { .magic = MCSHM_MAGIC_BYTES };

	h.endian = MCSHM_ENDIAN;
	h.version = MCSHM_FORMAT_VERSION;
	h.header_size = PAGE;
	h.page_size = PAGE;
	h.scheme = scheme;
	h.hash = scheme_default_hash(scheme);
	h.points_hash = h.hash;
	h.servers = n;
	h.words = (n + 63) / 64;
	h.buckets = scheme_buckets(scheme, n);
	h.roster_off = PAGE;
	h.roster_stride = sizeof(struct mcshm_roster);
	h.buckets_off = h.roster_off + (uint64_t)n * h.roster_stride;
	h.bitmap_off = sizeof(struct mcshm_section);
	h.spare_off = h.bitmap_off + MCSHM_BITMAPS * h.words * 8;
	h.entries_off = h.spare_off + MCSHM_SECTION_SPARE * 8;
	h.entry_stride = sizeof(struct mcshm_entry);
	h.section_size = whole_pages(
	    h.entries_off + (uint64_t)n * h.entry_stride);
	h.section_off[0] = whole_pages(h.buckets_off + 2 * (uint64_t)h.buckets);
	h.section_off[1] = h.section_off[0] + h.section_size;
	h.file_size = h.section_off[1] + h.section_size;
	h.stale_after = UINT64_C(30000000000);
	return h;
}

struct mcshm_roster *
mkfile_roster(const struct mkfile *f, uint32_t slot)
{
	return (void *)(f->p + f->h->roster_off +
	    (size_t)slot * sizeof(struct mcshm_roster));
}

/* Of section 0, which all are made from. */
struct mcshm_entry *
mkfile_entry(const struct mkfile *f, uint32_t slot)
{
	return (void *)(f->p + f->h->section_off[0] + f->h->entries_off +
	    (size_t)slot * sizeof(struct mcshm_entry));
}

/* Content ----------------------------------------------------------------- */

static void
set_server(struct mkfile *f, uint32_t slot, const struct mkfile_server *s)
{
	struct mcshm_roster *r = mkfile_roster(f, slot);
	struct mcshm_entry *e = mkfile_entry(f, slot);
	char address[300];

	r->weight = s->weight;
	r->port = s->port;
	r->kind = s->kind;
	snprintf(r->name, sizeof r->name, "%s", s->name);
	snprintf(r->host, sizeof r->host, "%s", s->host);
	snprintf(address, sizeof address,
	    s->kind == MCSHM_KIND_UNIX ? "%s" :
	    s->kind == MCSHM_KIND_IPV6 ? "[%s]:%u" : "%s:%u",
	    s->host, s->port);
	must(scheme_ident(f->h->scheme, s->name, address, r->ident) >= 0,
	    "scheme_ident");
	r->ident_hash = scheme_text_hash(r->ident, strlen(r->ident));
	e->address[0].kind = (uint16_t)s->kind;
	e->address[0].port = (uint16_t)s->port;
	if (s->kind == MCSHM_KIND_IPV4)
		inet_pton(AF_INET, s->host, e->address[0].ip);
	if (s->kind == MCSHM_KIND_IPV6)
		inet_pton(AF_INET6, s->host, e->address[0].ip);
	e->addresses = s->kind != MCSHM_KIND_NAME;
}

static void
place(struct mkfile *f)
{
	const uint32_t n = f->h->servers;
	struct scheme_server *v = zeros(n * sizeof *v);
	void *scratch = zeros(scheme_scratch(f->h->scheme, n) + 1);

	for (uint32_t i = 0; i < n; i++) {
		const struct mcshm_roster *r = mkfile_roster(f, i);

		v[i] = (struct scheme_server){ r->ident, strlen(r->ident),
			r->weight };
	}
	scheme_build(f->h->scheme, v, n, (void *)(f->p + f->h->buckets_off),
	    scratch);
	free(scratch);
	free(v);
}

void
mkfile_make(struct mkfile *f, uint32_t scheme, const struct mkfile_server *v,
    uint32_t n)
{
	const struct mcshm_header h = geometry(scheme, n);
	uint64_t random[4];
	char host[32];

	*f = (struct mkfile){ .fd = -1, .size = h.file_size };
	f->p = zeros(f->size);
	f->h = (struct mcshm_header *)f->p;
	*f->h = h;
	must(getrandom(random, sizeof random, 0) == sizeof random, "random");
	f->h->file_id[0] = random[0];
	f->h->file_id[1] = random[1];
	f->h->roster_id = (random[2] | UINT64_C(1) << 63) & ~MCSHM_ROSTER_EPOCH;
	f->h->generation = (random[3] & 0xffffffffff) + 2;
	f->h->heartbeat = mkfile_boottime();
	f->h->pid = (uint64_t)getpid();
	mcshm_boot_id(f->h->boot_id);
	for (uint32_t i = 0; i < n; i++) {
		const struct mkfile_server plain = { "", host, MCSHM_KIND_IPV4,
			11211, 1 };

		snprintf(host, sizeof host, "10.9.%u.%u", i / 250, i % 250 + 1);
		set_server(f, i, v != NULL ? &v[i] : &plain);
	}
	mkfile_set_all(f, MCSHM_UP, MCSHM_READY);
	place(f);
	mkfile_seal(f);
}

void
mkfile_copy(struct mkfile *f, const struct mkfile *from)
{
	*f = *from;
	f->p = zeros(f->size);
	memcpy(f->p, from->p, f->size);
	f->h = (struct mcshm_header *)f->p;
	f->map = NULL;
	f->fd = -1;
}

void
mkfile_free(struct mkfile *f)
{
	if (f->map != NULL)
		munmap(f->map, f->map_size);
	if (f->fd != -1)
		close(f->fd);
	free(f->p);
	*f = (struct mkfile){ .fd = -1 };
}

void
mkfile_set(struct mkfile *f, uint32_t slot, uint32_t verdict, uint32_t admin)
{
	mkfile_entry(f, slot)->verdict = verdict;
	mkfile_entry(f, slot)->admin = admin;
}

void
mkfile_set_all(struct mkfile *f, uint32_t verdict, uint32_t admin)
{
	for (uint32_t i = 0; i < f->h->servers; i++)
		mkfile_set(f, i, verdict, admin);
}

/* Sums -------------------------------------------------------------------- */

static void
finish_section(struct mkfile *f, uint64_t generation)
{
	unsigned char *p = f->p + f->h->section_off[0];
	struct mcshm_section *s = (void *)p;
	uint64_t *usable = (void *)(p + f->h->bitmap_off);
	uint64_t *held = usable + f->h->words, *ready = held + f->h->words;

	*s = (struct mcshm_section){ .flags = f->flags,
		.address_epoch = f->address_epoch, .generation = generation };
	memset(usable, 0, MCSHM_BITMAPS * f->h->words * 8);
	for (uint32_t i = 0; i < f->h->servers; i++) {
		const struct mcshm_entry *e = mkfile_entry(f, i);
		const bool is_ready = e->admin == MCSHM_READY;
		const uint64_t bit = UINT64_C(1) << i % 64;

		if (is_ready && (e->verdict <= MCSHM_UP ||
			    (f->flags & MCSHM_SECTION_FAIL_OPEN))) {
			usable[i / 64] |= bit;
			s->usable++;
		} else if (is_ready && e->verdict == MCSHM_HELD) {
			held[i / 64] |= bit;
			s->held++;
		}
		if (is_ready) {
			ready[i / 64] |= bit;
			s->ready++;
		}
		s->down += e->verdict == MCSHM_DOWN;
	}
	s->published = f->h->heartbeat;
	s->sum = mcshm_section_sum(p, f->h, f->h->file_id);
}

void
mkfile_seal(struct mkfile *f)
{
	struct mcshm_header *h = f->h;

	if (f->unsealed)
		return;
	h->roster_sum = mcshm_sum(f->p + h->roster_off,
	    (size_t)h->servers * h->roster_stride, 0);
	h->table_sum = mcshm_sum(f->p + h->buckets_off,
	    2 * (size_t)h->buckets, 0);
	h->header_sum = mcshm_header_sum(h);
	finish_section(f, h->generation & ~MCSHM_RETIRED);
	memcpy(f->p + h->section_off[1], f->p + h->section_off[0],
	    h->section_size);
}

/* On disk ----------------------------------------------------------------- */

static void
temporary(char tmp[PATH_MAX], const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	must(snprintf(tmp, PATH_MAX, "%.*s.%s.tmp.%ld", (int)(name - path),
		 path, name, (long)getpid()) < PATH_MAX, "path");
}

void
mkfile_write(const struct mkfile *f, const char *path, size_t size)
{
	char tmp[PATH_MAX];
	int fd;

	temporary(tmp, path);
	fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	must(fd != -1, tmp);
	must(fchmod(fd, 0644) == 0, "fchmod");
	must(pwrite(fd, f->p, size, 0) == (ssize_t)size, "pwrite");
	close(fd);
	must(rename(tmp, path) == 0, path);
}

static void
attach(struct mkfile *f, const char *path)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = MCSHM_LOCK_BYTE, .l_len = 1 };

	f->fd = open(path, O_RDWR | O_CLOEXEC);
	must(f->fd != -1, path);
	must(fcntl(f->fd, F_OFD_SETLK, &lock) == 0, "lock");
	f->map_size = f->h->file_size;
	f->map = mmap(NULL, f->map_size, PROT_READ | PROT_WRITE, MAP_SHARED,
	    f->fd, 0);
	must(f->map != MAP_FAILED, "mmap");
}

void
mkfile_create(struct mkfile *f, const char *path)
{
	mkfile_seal(f);
	mkfile_write(f, path, f->h->file_size);
	attach(f, path);
}

void
mkfile_publish(struct mkfile *f)
{
	unsigned char *word =
	    f->map + offsetof(struct mcshm_header, generation);
	const uint64_t g = mcshm_write_begin(word);
	const uint64_t at = f->h->section_off[(g + 1) & 1];
	const unsigned char *from = f->p + f->h->section_off[0];

	f->h->generation = g + 1;
	finish_section(f, g + 1);
	for (size_t i = 0; i < f->h->section_size; i += 8)
		mcshm_store(f->map + at + i, mcshm_load(from + i));
	mcshm_write_flip(word, g);
}

void
mkfile_beat(struct mkfile *f, uint64_t boottime)
{
	f->h->heartbeat = boottime;
	if (f->map != NULL)
		mcshm_store(f->map + offsetof(struct mcshm_header, heartbeat),
		    boottime);
}

void
mkfile_replace(struct mkfile *f, struct mkfile *old, const char *path)
{
	unsigned char *word =
	    old->map + offsetof(struct mcshm_header, generation);
	char tmp[PATH_MAX];

	must(snprintf(tmp, sizeof tmp, "%s.new", path) < PATH_MAX, "path");
	f->h->generation = mcshm_generation_after(mcshm_load(word));
	mkfile_create(f, tmp);
	must(renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_EXCHANGE) == 0,
	    path);
	mcshm_write_retire(word);
	must(unlink(tmp) == 0, tmp);
	mkfile_free(old);
}
