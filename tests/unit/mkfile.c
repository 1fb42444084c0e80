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

/* Behind the roster: buckets, and a ring and its index where there are such.
 * Returns where they end. */
static uint64_t
geometry_tables(struct mcshm_header *h, const struct scheme_size *size)
{
	uint64_t end = h->roster_off + (uint64_t)h->servers * h->roster_stride;

	h->buckets = size->buckets;
	h->buckets_off = end;
	end += 2 * (uint64_t)h->buckets;
	h->ring_points = size->points;
	h->ring_index_bits = size->index_bits;
	if (h->ring_points > 0) {
		h->ring_off = (end + 63) / 64 * 64;
		end = h->ring_off + 8 * (uint64_t)h->ring_points;
	}
	if (h->ring_index_bits > 0) {
		h->ring_index_off = end;
		end += 4 * ((UINT64_C(1) << h->ring_index_bits) + 1);
	}
	return end;
}

static struct mcshm_header
geometry(const struct scheme_setting *set, uint32_t n,
    const struct scheme_size *size)
{
	struct mcshm_header h = { .magic = MCSHM_MAGIC_BYTES };

	h.endian = MCSHM_ENDIAN;
	h.version = MCSHM_FORMAT_VERSION;
	h.header_size = PAGE;
	h.page_size = PAGE;
	h.scheme = set->scheme;
	h.hash = set->hash;
	h.points_hash = set->points_hash;
	h.hash_flags = set->hash_flags;
	h.hash_tag = set->hash_tag;
	h.servers = n;
	h.words = (n + 63) / 64;
	h.roster_off = PAGE;
	h.roster_stride = sizeof(struct mcshm_roster);
	h.bitmap_off = sizeof(struct mcshm_section);
	h.spare_off = h.bitmap_off + MCSHM_BITMAPS * h.words * 8;
	h.entries_off = h.spare_off + MCSHM_SECTION_SPARE * 8;
	h.entry_stride = sizeof(struct mcshm_entry);
	h.section_size = whole_pages(
	    h.entries_off + (uint64_t)n * h.entry_stride);
	h.section_off[0] = whole_pages(geometry_tables(&h, size));
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

struct scheme_place
mkfile_place(const struct mkfile *f)
{
	const struct mcshm_header *h = f->h;

	return (struct scheme_place){
		.base = f->p, .mask = UINT64_MAX,
		.buckets_off = h->buckets_off,
		.bits_off = h->section_off[0] + h->bitmap_off,
		.roster_off = h->roster_off,
		.ring_off = h->ring_off, .ring_index_off = h->ring_index_off,
		.set = { h->scheme, h->hash, h->points_hash, h->hash_flags,
		    h->hash_tag },
		.servers = h->servers, .words = h->words,
		.buckets = h->buckets, .ring_points = h->ring_points,
		.ring_index_bits = h->ring_index_bits,
		.roster_stride = h->roster_stride,
	};
}

/* Content ----------------------------------------------------------------- */

/* What the roster is made from, and what of it a scheme looks at. */
struct draft {
	struct mkfile_server *v;
	char (*host)[32], (*ident)[272];
	struct scheme_server *server;
	struct scheme_plan plan;
	struct scheme_size size;
};

/* v, or NULL: the usual ones. */
static void
draft_servers(struct draft *d, const struct mkfile_server *v, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct mkfile_server plain = { "", d->host[i],
			MCSHM_KIND_IPV4, 11211, 1 };

		snprintf(d->host[i], sizeof d->host[i], "10.9.%u.%u", i / 250,
		    i % 250 + 1);
		d->v[i] = v != NULL ? v[i] : plain;
	}
}

static void
draft_init(struct draft *d, const struct scheme_setting *set,
    const struct mkfile_server *v, uint32_t n)
{
	d->v = zeros(n * sizeof *d->v);
	d->host = zeros(n * sizeof *d->host);
	d->ident = zeros(n * sizeof *d->ident);
	d->server = zeros(n * sizeof *d->server);
	draft_servers(d, v, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct scheme_where where = { d->v[i].name, d->v[i].host,
			d->v[i].kind, d->v[i].port };
		const int len = scheme_ident(set->scheme, &where, d->ident[i]);

		must(len >= 0, "scheme_ident");
		d->server[i] = (struct scheme_server){ d->ident[i],
			(size_t)len, d->v[i].weight };
	}
	d->plan = (struct scheme_plan){ .set = *set, .server = d->server,
		.n = n };
	must(scheme_measure(&d->plan, &d->size), "scheme_measure");
}

static void
draft_free(struct draft *d)
{
	free(d->v);
	free(d->host);
	free(d->ident);
	free(d->server);
}

static void
set_server(struct mkfile *f, uint32_t slot, const struct draft *d)
{
	const struct mkfile_server *s = &d->v[slot];
	struct mcshm_roster *r = mkfile_roster(f, slot);
	struct mcshm_entry *e = mkfile_entry(f, slot);

	r->weight = s->weight;
	r->port = s->port;
	r->kind = s->kind;
	snprintf(r->name, sizeof r->name, "%s", s->name);
	snprintf(r->host, sizeof r->host, "%s", s->host);
	memcpy(r->ident, d->ident[slot], sizeof r->ident);
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
place(struct mkfile *f, const struct draft *d)
{
	const struct scheme_tables tables = {
		.bucket = (void *)(f->p + f->h->buckets_off),
		.ring = (void *)(f->p + f->h->ring_off),
		.index = (void *)(f->p + f->h->ring_index_off),
		.scratch = zeros(d->size.scratch + 1),
	};

	scheme_build(&d->plan, &d->size, &tables);
	free(tables.scratch);
}

static void
set_ids(struct mkfile *f)
{
	uint64_t random[4];

	must(getrandom(random, sizeof random, 0) == sizeof random, "random");
	f->h->file_id[0] = random[0];
	f->h->file_id[1] = random[1];
	f->h->roster_id = (random[2] | UINT64_C(1) << 63) & ~MCSHM_ROSTER_EPOCH;
	f->h->generation = (random[3] & 0xffffffffff) + 2;
	f->h->heartbeat = mkfile_boottime();
	f->h->pid = (uint64_t)getpid();
	mcshm_boot_id(f->h->boot_id);
}

void
mkfile_make_as(struct mkfile *f, const struct scheme_setting *set,
    const struct mkfile_server *v, uint32_t n)
{
	struct scheme_setting own = *set;
	struct mcshm_header h;
	struct draft d;

	if (own.hash == 0)
		own.hash = scheme_default_hash(own.scheme);
	if (own.points_hash == 0)
		own.points_hash = scheme_default_points_hash(own.scheme,
		    own.hash);
	draft_init(&d, &own, v, n);
	h = geometry(&own, n, &d.size);
	*f = (struct mkfile){ .fd = -1, .size = h.file_size };
	f->p = zeros(f->size);
	f->h = (struct mcshm_header *)f->p;
	*f->h = h;
	set_ids(f);
	for (uint32_t i = 0; i < n; i++)
		set_server(f, i, &d);
	mkfile_set_all(f, MCSHM_UP, MCSHM_READY);
	place(f, &d);
	draft_free(&d);
	mkfile_seal(f);
}

void
mkfile_make(struct mkfile *f, uint32_t scheme, const struct mkfile_server *v,
    uint32_t n)
{
	const struct scheme_setting set = { .scheme = scheme };

	mkfile_make_as(f, &set, v, n);
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

/* Silent, where the checker fails open: as the checker does it. */
static bool
is_open(const struct mkfile *f, const struct mcshm_entry *e)
{
	return (f->flags & MCSHM_SECTION_FAIL_OPEN) &&
	    (e->verdict == MCSHM_HELD ||
	    (e->verdict == MCSHM_DOWN && !(e->proof & 1)));
}

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

		if (is_ready && (e->verdict <= MCSHM_UP || is_open(f, e))) {
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

uint64_t
mkfile_table_sum(const struct mkfile *f)
{
	const struct mcshm_header *h = f->h;
	uint64_t sum = mcshm_sum(f->p + h->buckets_off,
	    2 * (size_t)h->buckets, 0);

	if (h->ring_points == 0)
		return sum;
	sum = mcshm_sum(f->p + h->ring_off, 8 * (size_t)h->ring_points, sum);
	if (h->ring_index_bits == 0)
		return sum;
	return mcshm_sum(f->p + h->ring_index_off,
	    4 * (((size_t)1 << h->ring_index_bits) + 1), sum);
}

void
mkfile_seal(struct mkfile *f)
{
	struct mcshm_header *h = f->h;

	if (f->unsealed)
		return;
	h->roster_sum = mcshm_sum(f->p + h->roster_off,
	    (size_t)h->servers * h->roster_stride, 0);
	h->table_sum = mkfile_table_sum(f);
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
