/*
 * hostile_file.c - pool files that are damaged, or made to do harm, as they lie
 * there: cut short, a byte flipped, fields and words at their limits, other
 * versions.
 *
 * What must be refused, and what must be called damaged, is worked out here
 * from mcshm(5), not from the code that decides it.
 */
#include "hostile_family.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hostile.h"

#define UNREADABLE 3			/* mc-shmdump's exit code */
#define MODULA MCSHM_SCHEME_LIBMEMCACHED_MODULA
#define MAGLEV MCSHM_SCHEME_MAGLEV
#define KETAMA MCSHM_SCHEME_LIBMEMCACHED_KETAMA

/* A file that is there, changed in place between cases. */
struct paper {
	int fd;
	uint64_t size;
};

static struct paper
paper_lay(const struct mkfile *f, const char *path)
{
	mkfile_write(f, path, f->size);
	return (struct paper){ open(path, O_RDWR | O_CLOEXEC), f->size };
}

static void
paper_put(const struct paper *p, const void *from, size_t len, uint64_t off)
{
	must(pwrite(p->fd, from, len, (off_t)off) == (ssize_t)len, "pwrite");
}

/* Cut short ---------------------------------------------------------------- */

void
family_truncated(const struct hostile_plan *p)
{
	const uint32_t step = plan_of(p, 509, 1, 1);
	const uint32_t dump = plan_of(p, 4, 13, 1);
	struct mkfile f;
	struct paper paper;

	hostile_small(&f);
	paper = paper_lay(&f, p->path);
	for (uint64_t len = paper.size; len-- > 0;) {
		if (len % step != 0)
			continue;
		hostile_case("cut to %u of %u bytes", (unsigned)len,
		    (unsigned)paper.size);
		must(ftruncate(paper.fd, (off_t)len) == 0, "ftruncate");
		must(hostile_read(p->path, true) == MCSHM_EDAMAGED,
		    "not refused as damaged");
		if (len / step % dump == 0)
			must(hostile_dump(p->path, VIEW_VERIFY) == UNREADABLE,
			    "mc-shmdump reads it");
	}
	close(paper.fd);
	mkfile_free(&f);
}

/* A byte flipped ----------------------------------------------------------- */

static bool
in(uint64_t off, uint64_t from, uint64_t len)
{
	return from <= off && off < from + len;
}

/* Under the header's sum, or that itself. */
static bool
in_header_sum(uint64_t off)
{
	return in(off, MCSHM_SUM_A_OFF, MCSHM_SUM_A_LEN + 8) ||
	    in(off, MCSHM_SUM_B_OFF, MCSHM_SUM_B_LEN);
}

static bool
in_other_sums(const struct mcshm_header *h, uint64_t off)
{
	return in(off, h->roster_off, h->servers * h->roster_stride) ||
	    in(off, h->buckets_off, 2 * h->buckets) ||
	    in(off, h->ring_off, 8 * (uint64_t)h->ring_points) ||
	    (h->ring_index_bits > 0 && in(off, h->ring_index_off,
		4 * ((UINT64_C(1) << h->ring_index_bits) + 1))) ||
	    in(off, h->section_off[h->generation & 1],
		h->entries_off + h->servers * h->entry_stride);
}

static void
flip(const struct hostile_plan *p, const struct mkfile *f,
    const struct paper *paper, uint64_t off, uint8_t mask, bool views)
{
	const bool damage = in_header_sum(off) || in_other_sums(f->h, off);
	const uint8_t was = f->p[off], is = was ^ mask;
	int err, code = UNREADABLE;

	hostile_case("byte %u: %02x for %02x", (unsigned)off, is, was);
	paper_put(paper, &is, 1, off);
	err = hostile_read(p->path, true);
	if (off == 12 || off == 13)		/* the version's minor half */
		must(err == MCSHM_EDAMAGED, "open says %d", err);
	else if (in(off, 12, 12))		/* major; incompat */
		must(err == MCSHM_EVERSION, "open says %d", err);
	else
		must(err == (in_header_sum(off) ? MCSHM_EDAMAGED : 0),
		    "open says %d", err);
	if (views)
		code = hostile_dump_all(p->path);
	else if (damage)		/* a file that is shown takes longer */
		code = hostile_dump(p->path, VIEW_VERIFY);
	if (damage)
		must(code == UNREADABLE, "mc-shmdump ends with %d", code);
	paper_put(paper, &was, 1, off);
}

static void
flips(const struct hostile_plan *p, const struct mkfile *f, uint64_t from,
    uint64_t to)
{
	static const uint8_t masks[] = { 0xff, 0x01, 0x80 };
	const struct paper paper = paper_lay(f, p->path);
	const uint32_t step = plan_of(p, 61, 1, 1);
	const uint32_t patterns = plan_of(p, 1, 1, 3);
	const uint32_t views = plan_of(p, 7, 101, 3);
	uint32_t n = 0;

	for (uint64_t off = from; off < to; off += step)
		for (uint32_t i = 0; i < patterns; i++, n++) {
			/* RETIRED costs mc-shmdump a tenth of a second. */
			const uint8_t mask = masks[(n + i) % 3];

			flip(p, f, &paper, off, mask, n % views == 0);
		}
	close(paper.fd);
}

/* All of a file without a ring; of one that has it, that and its index. */
void
family_flipped(const struct hostile_plan *p)
{
	struct mkfile f;

	hostile_small(&f);
	/* The active section is the first. */
	f.h->generation &= ~UINT64_C(1);
	mkfile_seal(&f);
	flips(p, &f, 0, f.size);
	mkfile_free(&f);
	hostile_small_of(&f, KETAMA);
	flips(p, &f, f.h->ring_off, f.h->section_off[0]);
	mkfile_free(&f);
}

/* Fields ------------------------------------------------------------------- */

typedef unsigned __int128 wide;		/* where nothing can overflow */

static bool
lies(wide off, wide size, wide from, wide to)
{
	return from <= off && off + size <= to;
}

/* Where there is no ring, nobody asks for its index. */
static bool
ring_sound(const struct mcshm_header *h)
{
	const wide cells = ((wide)1 << (h->ring_index_bits & 31)) + 1;

	if (h->ring_points == 0)
		return h->buckets > 0;
	return h->ring_points <= 1 << 22 && h->ring_off % 8 == 0 &&
	    lies(h->ring_off, (wide)8 * h->ring_points, h->header_size,
		h->file_size) &&
	    (h->ring_index_bits == 0 || (h->ring_index_bits <= 22 &&
		h->ring_index_off % 4 == 0 &&
		lies(h->ring_index_off, 4 * cells, h->header_size,
		    h->file_size)));
}

/* Everything that h names lies where it may, each at its own size. */
static bool
geometry_sound(const struct mcshm_header *h)
{
	const wide n = h->servers, to = h->file_size, size = h->section_size;
	const wide a = h->section_off[0], b = h->section_off[1];

	return n >= 1 && n <= MCSHM_MAX_SERVERS &&
	    h->words == (h->servers + 63) / 64 && ring_sound(h) &&
	    to <= MCSHM_MAX_FILE && sizeof *h <= h->header_size &&
	    lies(h->roster_off, n * h->roster_stride, h->header_size, to) &&
	    lies(h->buckets_off, (wide)2 * h->buckets, h->header_size, to) &&
	    lies(a, size, h->header_size, to) &&
	    lies(b, size, h->header_size, to) &&
	    (a + size <= b || b + size <= a) && a % 4096 == 0 &&
	    b % 4096 == 0 &&
	    lies(h->bitmap_off, (wide)24 * h->words, 64, size) &&
	    lies(h->entries_off, n * h->entry_stride, 0, size) &&
	    h->entry_stride >= sizeof(struct mcshm_entry) &&
	    h->roster_stride >= sizeof(struct mcshm_roster);
}

static int
expected_error(const struct mcshm_header *h, uint64_t size)
{
	if (memcmp(h->magic, MCSHM_MAGIC_BYTES, 8) != 0 ||
	    h->endian != MCSHM_ENDIAN)
		return MCSHM_EDAMAGED;
	if (h->version >> 16 != 1 || h->incompat != 0)
		return MCSHM_EVERSION;
	if (h->header_sum != mcshm_header_sum(h) || h->file_size > size ||
	    !geometry_sound(h) || h->generation == 0)
		return MCSHM_EDAMAGED;
	return 0;
}

static void
judge(const struct hostile_plan *p, const struct mkfile *f, uint64_t size,
    bool views)
{
	const int want = expected_error(f->h, size);
	const int got = hostile_read(p->path, true);
	int code;

	/* There may be more reasons than the geometry. */
	if (want != 0)
		must(got == want, "open says %d, not %d", got, want);
	if (views)
		code = hostile_dump_all(p->path);
	else if (got != 0)		/* a file that is shown takes longer */
		code = hostile_dump(p->path, VIEW_VERIFY);
	else
		return;
	/* What clients refuse must not look well to those who look why. */
	if (got != 0 && got != MCSHM_EVERSION)
		must(code == UNREADABLE, "clients refuse it (%d), mc-shmdump "
		    "shows it (%d)", got, code);
}

static uint64_t
field_value(const struct mkfile *f, const struct hostile_field *field)
{
	uint64_t v = 0;

	memcpy(&v, f->p + field->off, field->size);
	return v;
}

static void
fields_of(const struct hostile_plan *p, struct mkfile *f, const char *what)
{
	const struct mcshm_header was = *f->h;
	const struct paper paper = paper_lay(f, p->path);
	struct hostile_field field;
	const uint32_t views = plan_of(p, 40, 20, 1);
	const uint32_t step = plan_of(p, 3, 1, 1);
	uint64_t v;
	unsigned n = 0;

	for (unsigned i = 0; hostile_field(&field, i); i++)
		for (unsigned j = 0; hostile_value(&v, field_value(f, &field),
			field.size, j); j += step) {
			hostile_case("%s: %s = %#llx", what, field.name,
			    (unsigned long long)v);
			hostile_set(f, &field, v);
			paper_put(&paper, f->h, sizeof *f->h, 0);
			judge(p, f, paper.size, n++ % views == 0);
			*f->h = was;
		}
	close(paper.fd);
}

static uint64_t
next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

/* Several at once: one field makes up for another. */
static void
fields_together(const struct hostile_plan *p, struct mkfile *f)
{
	const struct mcshm_header was = *f->h;
	const struct paper paper = paper_lay(f, p->path);
	const uint32_t rounds = plan_of(p, 100, 3000, 200000);
	uint64_t r = 88172645463325252;

	for (uint32_t i = 0; i < rounds; i++) {
		const unsigned n = 2 + next_random(&r) % 3;

		hostile_case("fields together, round %u", i);
		for (unsigned k = 0; k < n; k++) {
			struct hostile_field field;
			uint64_t v;

			/* From file_size on: what the sum covers. */
			while (!hostile_field(&field, next_random(&r) % 64) ||
			    field.off < 48 ||
			    field.off == offsetof(struct mcshm_header,
				header_sum))
				;
			while (!hostile_value(&v, field_value(f, &field),
				field.size, next_random(&r) % 40))
				;
			hostile_set(f, &field, v);
		}
		/* RETIRED costs mc-shmdump a tenth of a second. */
		f->h->generation &= ~MCSHM_RETIRED;
		paper_put(&paper, f->h, sizeof *f->h, 0);
		judge(p, f, paper.size, i % 50 == 0);
		*f->h = was;
	}
	close(paper.fd);
}

void
family_fields(const struct hostile_plan *p)
{
	struct mkfile f;

	hostile_small(&f);
	fields_of(p, &f, "modula");
	fields_together(p, &f);
	mkfile_free(&f);
	hostile_small_of(&f, KETAMA);
	fields_of(p, &f, "ketama");
	fields_together(p, &f);
	mkfile_free(&f);
	hostile_small_of(&f, MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS);
	fields_of(p, &f, "rendezvous");
	mkfile_free(&f);
	mkfile_make(&f, MAGLEV, NULL, 70);
	fields_of(p, &f, "maglev");
	mkfile_free(&f);
}

/* Words -------------------------------------------------------------------- */

/* All sums as they should be, so that what is behind them is looked at. */
static void
make_believable(struct mkfile *f)
{
	struct mcshm_header *h = f->h;

	h->roster_sum = mcshm_sum(f->p + h->roster_off,
	    (size_t)h->servers * h->roster_stride, 0);
	h->table_sum = mkfile_table_sum(f);
	for (unsigned i = 0; i < 2; i++) {
		unsigned char *section = f->p + h->section_off[i];

		((struct mcshm_section *)(void *)section)->sum =
		    mcshm_section_sum(section, h, h->file_id);
	}
	h->header_sum = mcshm_header_sum(h);
}

/* Points in their order, and cells that lead to where the hashes begin which
 * their numbers are the first bits of. */
static bool
ring_in_order(const struct mkfile *f)
{
	const struct mcshm_header *h = f->h;
	const struct mcshm_point *ring = (const void *)(f->p + h->ring_off);
	const uint32_t *cell = (const void *)(f->p + h->ring_index_off);
	const uint32_t cells = UINT32_C(1) << h->ring_index_bits;

	for (uint32_t i = 0; i < h->ring_points; i++)
		if (ring[i].slot >= h->servers ||
		    (i > 0 && ring[i].point < ring[i - 1].point))
			return false;
	for (uint32_t c = 0; c <= cells; c++) {
		const uint64_t from =
		    (uint64_t)c << (32 - h->ring_index_bits);
		uint32_t i = 0;

		while (i < h->ring_points && ring[i].point < from)
			i++;
		if (cell[c] != i)
			return false;
	}
	return true;
}

/* Every bucket has a server, every point, too. */
static bool
table_sound(const struct mkfile *f)
{
	const uint16_t *bucket = (const void *)(f->p + f->h->buckets_off);

	for (uint32_t i = 0; i < f->h->buckets; i++)
		if (bucket[i] >= f->h->servers)
			return false;
	return f->h->scheme != KETAMA || ring_in_order(f);
}

static void
words_in(const struct hostile_plan *p, struct mkfile *f, const char *what,
    uint64_t from, uint64_t len)
{
	const uint32_t step = plan_of(p, 32, 8, 8);
	const uint32_t some = plan_of(p, 7, 3, 1);
	const struct paper paper = paper_lay(f, p->path);
	unsigned n = 0;

	for (uint64_t off = from; off + 8 <= from + len; off += step) {
		uint64_t was, v;

		memcpy(&was, f->p + off, 8);
		for (unsigned j = n % some; hostile_value(&v, was, 8, j);
		     j += some) {
			hostile_case("%s: word %u = %#llx", what,
			    (unsigned)(off - from), (unsigned long long)v);
			memcpy(f->p + off, &v, 8);
			make_believable(f);
			paper_put(&paper, f->p, f->h->file_size, 0);
			must(hostile_read(p->path, true) == 0, "not opened");
			if (!table_sound(f))
				must(hostile_dump(p->path, VIEW_VERIFY) ==
				    UNREADABLE, "mc-shmdump believes it");
			if (n++ % plan_of(p, 10, 40, 1) == 0)
				hostile_dump_all(p->path);
			memcpy(f->p + off, &was, 8);
		}
	}
	make_believable(f);
	close(paper.fd);
}

/* Far more of the same; some of them. */
static void
words_of_ring(const struct hostile_plan *p, uint32_t scheme, const char *what)
{
	struct mkfile f;
	const struct mcshm_header *h;

	hostile_small_of(&f, scheme);
	h = f.h;
	words_in(p, &f, what, h->ring_off, 64);
	words_in(p, &f, what, h->ring_off + 8 * (h->ring_points / 2), 16);
	words_in(p, &f, what, h->ring_off + 8 * (h->ring_points - 1), 8);
	if (h->ring_index_bits > 0) {
		words_in(p, &f, "index", h->ring_index_off & ~UINT64_C(7), 64);
		words_in(p, &f, "its end", (h->ring_index_off +
		    (UINT64_C(4) << h->ring_index_bits)) & ~UINT64_C(7), 8);
	}
	mkfile_free(&f);
}

void
family_words(const struct hostile_plan *p)
{
	struct mcshm_header *h;
	struct mkfile f;

	hostile_small(&f);
	h = f.h;
	words_in(p, &f, "roster", h->roster_off, h->roster_stride);
	words_in(p, &f, "last of the roster",
	    h->roster_off + (h->servers - 1) * h->roster_stride, 640);
	words_in(p, &f, "table", h->buckets_off, 2 * h->buckets);
	for (unsigned i = 0; i < 2; i++) {
		const uint64_t at = h->section_off[h->generation & 1];

		words_in(p, &f, "head", at, 64 + 24 * h->words);
		words_in(p, &f, "entry", at + h->entries_off, 480);
		words_in(p, &f, "last entry", at + h->entries_off +
		    (h->servers - 1) * h->entry_stride, 480);
		h->generation ^= 1;
	}
	mkfile_free(&f);
	words_of_ring(p, KETAMA, "ring");
	words_of_ring(p, MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS, "records");
}

/* Versions ----------------------------------------------------------------- */

static void
one_version(const struct hostile_plan *p, struct mkfile *f, const char *what,
    int want)
{
	const struct paper paper = paper_lay(f, p->path);
	int got, code;

	hostile_case("%s", what);
	got = hostile_read(p->path, true);
	must(got == want, "open says %d, not %d", got, want);
	code = hostile_dump_all(p->path);
	must((code == UNREADABLE) == (want != 0), "mc-shmdump ends with %d",
	    code);
	close(paper.fd);
}

static void
swap(unsigned char *p, unsigned size)
{
	for (unsigned i = 0; i < size / 2; i++) {
		const unsigned char c = p[i];

		p[i] = p[size - 1 - i];
		p[size - 1 - i] = c;
	}
}

/* As a machine of the other byte order has it. */
static void
other_endian(struct mkfile *f)
{
	struct hostile_field field;

	for (unsigned i = 1; hostile_field(&field, i); i++)
		swap(f->p + field.off, field.size);
}

/* All of the file is another, but what stands there in every version. */
static void
far_future(struct mkfile *f)
{
	for (uint64_t i = 16; i < f->size; i++)
		if (!in(i, offsetof(struct mcshm_header, generation), 8))
			f->p[i] = (unsigned char)(i * 131 + 7);
	f->h->version = 2u << 16;
}

static void
bits(const struct hostile_plan *p, struct mkfile *f, uint64_t *word,
    const char *name, int want)
{
	for (unsigned i = 0; i < 64; i++) {
		char what[64];

		snprintf(what, sizeof what, "%s bit %u", name, i);
		*word = UINT64_C(1) << i;
		f->h->header_sum = mcshm_header_sum(f->h);
		one_version(p, f, what, want);
	}
	*word = 0;
}

void
family_versions(const struct hostile_plan *p)
{
	static const struct {
		uint32_t version;
		int want;
	} versions[] = { { 0, MCSHM_EVERSION }, { 1, MCSHM_EVERSION },
		{ 0xffff, MCSHM_EVERSION }, { 0x10000, 0 }, { 0x10001, 0 },
		{ 0x1ffff, 0 }, { 0x20000, MCSHM_EVERSION },
		{ 0xffff0000, MCSHM_EVERSION },
		{ UINT32_MAX, MCSHM_EVERSION } };
	struct mkfile f;

	hostile_small(&f);
	for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
		char what[64];

		snprintf(what, sizeof what, "version %x", versions[i].version);
		f.h->version = versions[i].version;
		f.h->header_sum = mcshm_header_sum(f.h);
		one_version(p, &f, what, versions[i].want);
	}
	f.h->version = MCSHM_FORMAT_VERSION;
	bits(p, &f, &f.h->incompat, "incompat", MCSHM_EVERSION);
	bits(p, &f, &f.h->compat, "compat", 0);
	other_endian(&f);
	one_version(p, &f, "other byte order", MCSHM_EDAMAGED);
	mkfile_free(&f);
	hostile_small(&f);
	far_future(&f);
	one_version(p, &f, "far future", MCSHM_EVERSION);
	mkfile_free(&f);
}
