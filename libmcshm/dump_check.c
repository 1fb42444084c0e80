/*
 * dump_check.c - is this a pool file, and is it whole?
 *
 * Pure: looks at private copies only.  Believes nothing in them: every sum and
 * product here is checked before it is used, or can not overflow.
 */
#include "dump_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool
foreign(struct dump_trouble *t, const char *text)
{
	t->damaged = false;
	snprintf(t->text, sizeof t->text, "%s", text);
	return false;
}

static bool __attribute__((format(printf, 2, 3)))
damaged(struct dump_trouble *t, const char *fmt, ...)
{
	int n = snprintf(t->text, sizeof t->text, "damaged: ");
	va_list ap;

	t->damaged = true;
	va_start(ap, fmt);
	vsnprintf(t->text + n, sizeof t->text - (size_t)n, fmt, ap);
	va_end(ap);
	return false;
}

static bool
all_zero(const void *p, size_t len)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < len; i++)
		if (c[i] != 0)
			return false;
	return true;
}

static bool
inside(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* Where words are loaded, so that none lies across two. */
static bool
aligned(uint64_t off)
{
	return off % 8 == 0;
}

static bool
check_kind(const struct mcshm_header *h, struct dump_trouble *t)
{
	if (all_zero(h->magic, sizeof h->magic))
		return foreign(t, "not a pool file, or nobody has filled it "
		    "yet");
	if (memcmp(h->magic, MCSHM_MAGIC_BYTES, sizeof h->magic) != 0)
		return foreign(t, "not a pool file");
	if (h->endian != MCSHM_ENDIAN)
		return foreign(t, "a pool file of a machine with another byte "
		    "order");
	if (h->version >> 16 != MCSHM_FORMAT_MAJOR) {
		t->damaged = false;
		snprintf(t->text, sizeof t->text, "format %u.%u; this "
		    "mc-shmdump reads %u.x", (unsigned)(h->version >> 16),
		    (unsigned)(h->version & 0xffff), MCSHM_FORMAT_MAJOR);
		return false;
	}
	if (mcshm_header_sum(h) != h->header_sum)
		return damaged(t, "header: checksum is wrong");
	if (h->incompat != 0)
		return foreign(t, "has a feature that is newer than this "
		    "mc-shmdump");
	return true;
}

static bool
check_size(const struct mcshm_header *h, uint64_t size, struct dump_trouble *t)
{
	if (h->file_size > MCSHM_MAX_FILE)
		return damaged(t, "header: larger than any pool file");
	if (size < h->file_size)
		return damaged(t, "truncated: %llu of %llu bytes are there",
		    (unsigned long long)size,
		    (unsigned long long)h->file_size);
	if (h->page_size < 4096 || h->page_size > MCSHM_MAX_FILE ||
	    (h->page_size & (h->page_size - 1)) != 0)
		return damaged(t, "header: the page size is none");
	if (h->header_size < sizeof *h || h->header_size > h->file_size ||
	    h->header_size % h->page_size != 0)
		return damaged(t, "header: its size is wrong");
	if (h->roster_id == 0 || (h->roster_id & MCSHM_ROSTER_EPOCH) != 0)
		return damaged(t, "header: the roster's id is none");
	return true;
}

static bool
check_counts(const struct mcshm_header *h, struct dump_trouble *t)
{
	if (h->servers == 0 || h->servers > MCSHM_MAX_SERVERS)
		return damaged(t, "header: %u servers", (unsigned)h->servers);
	if (h->words != (h->servers + 63) / 64)
		return damaged(t, "header: bitmaps of %u words for %u servers",
		    (unsigned)h->words, (unsigned)h->servers);
	if (h->buckets + (uint64_t)h->ring_points == 0 ||
	    h->buckets > MCSHM_MAX_BUCKETS)
		return damaged(t, "header: %u buckets", (unsigned)h->buckets);
	if (!scheme_fits(h))
		return damaged(t, "header: %u buckets and %u points are no "
		    "placement for %u servers", (unsigned)h->buckets,
		    (unsigned)h->ring_points, (unsigned)h->servers);
	if (h->roster_stride < sizeof(struct mcshm_roster) ||
	    !aligned(h->roster_stride))
		return damaged(t, "header: roster records of %u bytes",
		    (unsigned)h->roster_stride);
	if (h->entry_stride < sizeof(struct mcshm_entry) ||
	    !aligned(h->entry_stride))
		return damaged(t, "header: section entries of %u bytes",
		    (unsigned)h->entry_stride);
	return true;
}

/* Where there is no ring, nobody looks for its index. */
static bool
check_ring(const struct mcshm_header *h, struct dump_trouble *t)
{
	if (h->ring_points == 0)
		return true;
	if (h->ring_points > MCSHM_MAX_POINTS)
		return damaged(t, "header: a ring of %u points",
		    (unsigned)h->ring_points);
	if (!aligned(h->ring_off) || h->ring_off < h->header_size ||
	    !inside(h->ring_off, sizeof(struct mcshm_point) *
		(uint64_t)h->ring_points, h->file_size))
		return damaged(t, "header: the ring lies outside");
	if (h->ring_index_bits == 0)
		return true;
	if (h->ring_index_bits > MCSHM_MAX_INDEX_BITS)
		return damaged(t, "header: the ring's index is of %u bits",
		    (unsigned)h->ring_index_bits);
	if (h->ring_index_off % 4 != 0 || h->ring_index_off < h->header_size ||
	    !inside(h->ring_index_off, mcshm_index_size(h->ring_index_bits),
		h->file_size))
		return damaged(t, "header: the ring's index lies outside");
	return true;
}

static bool
check_fixed(const struct mcshm_header *h, struct dump_trouble *t)
{
	const uint64_t roster = (uint64_t)h->servers * h->roster_stride;

	if (!aligned(h->roster_off) || h->roster_off < h->header_size ||
	    !inside(h->roster_off, roster, h->file_size))
		return damaged(t, "header: the roster lies outside");
	if (!aligned(h->buckets_off) || h->buckets_off < h->header_size ||
	    !inside(h->buckets_off, 2ull * h->buckets, h->file_size))
		return damaged(t, "header: the table lies outside");
	return check_ring(h, t);
}

/* Of both: they have the same size, and so the same inside. */
static bool
check_sections(const struct mcshm_header *h, struct dump_trouble *t)
{
	const uint64_t bits = (uint64_t)h->words * 8 * MCSHM_BITMAPS;
	const uint64_t entries = (uint64_t)h->servers * h->entry_stride;

	for (int i = 0; i < 2; i++)
		if (h->section_off[i] < h->header_size ||
		    h->section_off[i] % h->page_size != 0 ||
		    !inside(h->section_off[i], h->section_size, h->file_size))
			return damaged(t, "header: section %d lies outside", i);
	if (h->section_size % h->page_size != 0)
		return damaged(t, "header: the sections are not whole pages");
	if (inside(h->section_off[0], 1, h->section_off[1] + h->section_size) &&
	    inside(h->section_off[1], 1, h->section_off[0] + h->section_size))
		return damaged(t, "header: the sections overlap");
	if (!aligned(h->bitmap_off) ||
	    h->bitmap_off < sizeof(struct mcshm_section) ||
	    !inside(h->bitmap_off, bits, h->section_size))
		return damaged(t, "header: the bitmaps lie outside of their "
		    "section");
	if (!aligned(h->spare_off) || !inside(h->spare_off,
	    MCSHM_SECTION_SPARE * 8, h->section_size))
		return damaged(t, "header: the spare words lie outside of "
		    "their section");
	if (!aligned(h->entries_off) ||
	    h->entries_off < sizeof(struct mcshm_section) ||
	    !inside(h->entries_off, entries, h->section_size))
		return damaged(t, "header: the entries lie outside of their "
		    "section");
	return true;
}

bool
dump_check_header(const struct mcshm_header *h, uint64_t size,
    struct dump_trouble *t)
{
	return check_kind(h, t) && check_size(h, size, t) &&
	    check_counts(h, t) && check_fixed(h, t) && check_sections(h, t);
}

/* Parts -------------------------------------------------------------------- */

static enum dump_part
roster_part(const struct dump_file *f)
{
	const uint64_t len = (uint64_t)f->h.servers * f->h.roster_stride;

	return mcshm_sum(dump_file_roster(f, 0), len, 0) == f->h.roster_sum ?
	    DUMP_PART_OK : DUMP_PART_SUM;
}

static bool
buckets_right(const struct dump_file *f)
{
	const uint16_t *bucket = dump_file_buckets(f);

	for (uint32_t i = 0; i < f->h.buckets; i++)
		if (bucket[i] >= f->h.servers)
			return false;
	return true;
}

static bool
ring_right(const struct dump_file *f)
{
	const struct mcshm_point *ring = dump_file_ring(f);

	for (uint32_t i = 0; i < f->h.ring_points; i++)
		if (ring[i].slot >= f->h.servers ||
		    (i > 0 && ring[i].point < ring[i - 1].point))
			return false;
	return true;
}

/* Each cell is the first point whose leading bits are its number or more. */
static bool
index_right(const struct dump_file *f)
{
	const struct mcshm_header *h = &f->h;
	const struct mcshm_point *ring = dump_file_ring(f);
	const uint32_t *cell = dump_file_ring_index(f);
	uint32_t at = 0;

	if (h->ring_index_bits == 0)
		return true;
	for (uint32_t i = 0; i >> h->ring_index_bits == 0; i++) {
		while (at < h->ring_points &&
		    ring[at].point >> (32 - h->ring_index_bits) < i)
			at++;
		if (cell[i] != at)
			return false;
	}
	return cell[UINT32_C(1) << h->ring_index_bits] == h->ring_points;
}

/* What is in the ring's place where the scheme has no ring, is its own. */
static enum dump_part
table_part(const struct dump_file *f)
{
	const struct mcshm_header *h = &f->h;

	if (mcshm_table_sum(f->image, h) != h->table_sum)
		return DUMP_PART_SUM;
	if (!buckets_right(f))
		return DUMP_PART_VALUES;
	if (!scheme_has_ring(h->scheme))
		return DUMP_PART_OK;
	return h->ring_points > 0 && ring_right(f) && index_right(f) ?
	    DUMP_PART_OK : DUMP_PART_VALUES;
}

static bool
section_whole(const struct dump_file *f, unsigned section)
{
	const struct mcshm_section *s = dump_file_section(f, section);

	return s->generation != 0 && s->sum ==
	    mcshm_section_sum(s, &f->h, f->h.file_id);
}

/* Its counts are what picks look at first. */
static bool
counts_agree(const struct dump_file *f)
{
	const struct mcshm_section *s = dump_file_section(f, f->active);

	return s->usable == dump_file_count(f, MCSHM_BITMAP_USABLE) &&
	    s->held == dump_file_count(f, MCSHM_BITMAP_HELD) &&
	    s->ready == dump_file_count(f, MCSHM_BITMAP_READY);
}

static enum dump_part
active_part(const struct dump_file *f)
{
	if (!section_whole(f, f->active))
		return DUMP_PART_SUM;
	return counts_agree(f) ? DUMP_PART_OK : DUMP_PART_VALUES;
}

static enum dump_part
inactive_part(const struct dump_file *f)
{
	const unsigned section = 1 - f->active;

	if (section_whole(f, section))
		return DUMP_PART_OK;
	if (all_zero(dump_file_section(f, section), f->h.section_size))
		return DUMP_PART_UNUSED;
	return f->lock == DUMP_LOCK_FREE ?
	    DUMP_PART_UNFINISHED : DUMP_PART_BUSY;
}

struct dump_parts
dump_check_parts(const struct dump_file *f)
{
	struct dump_parts p = { .roster = roster_part(f),
		.table = table_part(f) };

	p.section[f->active] = active_part(f);
	p.section[1 - f->active] = inactive_part(f);
	return p;
}

const char *
dump_part_text(enum dump_part part)
{
	switch (part) {
	case DUMP_PART_OK:
		return "ok";
	case DUMP_PART_SUM:
		return "checksum is wrong";
	case DUMP_PART_VALUES:
		return "values can not be right";
	case DUMP_PART_UNUSED:
		return "not used yet";
	case DUMP_PART_BUSY:
		return "being written";
	case DUMP_PART_UNFINISHED:
		return "unfinished";
	}
	return "?";
}

static bool
part_damaged(enum dump_part part)
{
	return part == DUMP_PART_SUM || part == DUMP_PART_VALUES;
}

bool
dump_check_damage(const struct dump_file *f, const struct dump_parts *p,
    struct dump_trouble *t)
{
	const struct {
		const char *name;
		enum dump_part part;
	} v[] = {
		{ "roster", p->roster }, { "table", p->table },
		{ f->active == 0 ? "section 0 (active)" : "section 1 (active)",
		    p->section[f->active] },
	};
	char all[sizeof t->text - 16];
	size_t n = 0;

	for (size_t i = 0; i < sizeof v / sizeof *v; i++)
		if (part_damaged(v[i].part))
			n += (size_t)snprintf(all + n, sizeof all - n,
			    "%s%s: %s", n > 0 ? "; " : "", v[i].name,
			    dump_part_text(v[i].part));
	return n > 0 && !damaged(t, "%s", all);
}
