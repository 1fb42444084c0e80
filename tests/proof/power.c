/*
 * power.c - what a power loss may leave of a pool file, all of it.
 *
 *	power JOURNAL DIRECTORY LIMIT EVERY mc-shmdump
 *
 * Reads the journal of a real daemon (power_record.c).  At every point where
 * something becomes durable, and at the end, it takes each page of the file in
 * any of the versions that it had since it was last durable, each name with any
 * of the changes since the directory was, and recovers from that
 * (power_recover.c); and from some where a page is torn between two sectors.
 *
 * LIMIT: cases a point, where there would be more, drawn by lot; EVERY: how
 * many cases between two that are looked at in all ways, and kept for the real
 * daemon.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "power_disk.h"
#include "publish_image.h"

/* Small things ------------------------------------------------------------- */

void
power_die(const char *what)
{
	fprintf(stderr, "power: %s\n", what);
	exit(1);
}

void *
power_need(void *p)
{
	if (p == NULL)
		power_die("no memory");
	return p;
}

uint64_t
power_draw(struct power *p)
{
	p->seed ^= p->seed << 13;
	p->seed ^= p->seed >> 7;
	return p->seed ^= p->seed << 17;
}

void
power_failed(struct power *p, uint32_t path, const char *what)
{
	if (p->failures++ >= 10)
		return;
	printf("FAILED at point %" PRIu64 ", case %" PRIu64 ": %s; pages in "
	    "versions", p->points, p->cases, what);
	for (uint32_t i = 0; path != POWER_NONE && i < p->file[path].pages; i++)
		printf(" %u/%u", p->pick[i] + 1, p->file[path].page[i].n);
	if (p->torn.page != POWER_NONE)
		printf("; page %u from sector %u on in version %u",
		    p->torn.page, p->torn.sectors, p->torn.rest + 1);
	printf("\n");
}

/* Content ------------------------------------------------------------------ */

const struct power_version *
power_newest(const struct power_file *f, uint32_t page)
{
	return &f->page[page].v[f->page[page].n - 1];
}

struct mcshm_header
power_header(const struct power_version *v)
{
	struct mcshm_header h;

	memcpy(&h, v, sizeof h);
	return h;
}

bool
power_this_boot(const struct mcshm_header *h)
{
	uint64_t id[2];

	mcshm_boot_id(id);
	return memcmp(id, h->boot_id, sizeof id) == 0;
}

/* The section of this parity, in the newest versions. */
static unsigned char *
section_now(const struct power_file *f, const struct mcshm_header *h,
    uint64_t g)
{
	const uint64_t off = h->section_off[g & 1];
	unsigned char *section = power_need(malloc(h->section_size));

	if (off % POWER_PAGE != 0 || h->section_size % POWER_PAGE != 0 ||
	    (off + h->section_size) / POWER_PAGE > f->pages)
		power_die("a section that is not in its file");
	for (uint64_t i = 0; i < h->section_size / POWER_PAGE; i++)
		memcpy(section + i * POWER_PAGE,
		    power_newest(f, (uint32_t)(off / POWER_PAGE + i)),
		    POWER_PAGE);
	return section;
}

bool
power_file_failed(const struct power_file *f)
{
	for (uint32_t i = 0; i < f->pages; i++)
		if (f->page[i].lost)
			return true;
	return false;
}

/* The flip: what is in the section now has been published. */
static void
publish_seen(struct power *p, struct power_file *f, uint64_t g)
{
	const struct mcshm_header h = power_header(power_newest(f, 0));
	struct power_state *s;

	f->state = power_need(realloc(f->state,
	    (f->states + 1) * sizeof *f->state));
	s = &f->state[f->states++];
	*s = (struct power_state){ g, section_now(f, &h, g) };
	p->states++;
	if (!image_section_whole(s->section, &h) ||
	    ((struct mcshm_section *)(void *)s->section)->generation != g)
		power_failed(p, POWER_NONE, "published before it was whole");
}

static void
take_page(struct power *p, struct power_file *f, uint64_t at, FILE *in)
{
	struct power_page *page = &f->page[at];
	const uint64_t was = f->pages > 0 ?
	    power_header(power_newest(f, 0)).generation : 0;
	uint64_t g;

	if (at >= POWER_PAGES)
		power_die("a file that is too large");
	for (; f->pages <= at; f->pages++)	/* nobody wrote it: zeros */
		f->page[f->pages] = (struct power_page){
			power_need(calloc(1, sizeof *page->v)), 1, false };
	page->v = power_need(realloc(page->v, (page->n + 1) * sizeof *page->v));
	if (fread(&page->v[page->n++], POWER_PAGE, 1, in) != 1)
		power_die("the journal ends in a page");
	page->lost = false;
	g = power_header(power_newest(f, 0)).generation;
	if (at == 0 && g != was && g != 0 && (g & MCSHM_RETIRED) == 0)
		publish_seen(p, f, g);
}

static void
page_synced(struct power_page *page)
{
	if (page->lost)
		return;
	page->v[0] = page->v[page->n - 1];
	page->n = 1;
}

/* Cases -------------------------------------------------------------------- */

/* The next combination; false: that was the last. */
static bool
pick_next(struct power *p, const struct power_file *f)
{
	for (uint32_t i = 0; i < f->pages; i++) {
		if (++p->pick[i] < f->page[i].n)
			return true;
		p->pick[i] = 0;
	}
	return false;
}

static uint64_t
combinations(const struct power *p, const struct power_file *f)
{
	uint64_t n = 1;

	for (uint32_t i = 0; i < f->pages && n <= p->limit; i++)
		n *= f->page[i].n;
	return n;
}

/* One page ahead of (or behind) all the others. */
static void
check_corners(struct power *p, const uint32_t name[POWER_NAMES])
{
	const struct power_file *f = &p->file[name[POWER_PATH]];

	for (uint32_t one = 0; one < 2 * f->pages; one++) {
		const bool ahead = one < f->pages;

		if (f->page[one % f->pages].n == 1)
			continue;
		for (uint32_t i = 0; i < f->pages; i++)
			p->pick[i] = (i == one % f->pages) == ahead ?
			    f->page[i].n - 1 : 0;
		power_recover(p, name);
	}
}

static void
pick_any(struct power *p, const struct power_file *f)
{
	for (uint32_t i = 0; i < f->pages; i++)
		p->pick[i] = (uint32_t)(power_draw(p) % f->page[i].n);
}

/* A page whose head is newer than the rest, or older. */
static void
check_torn_page(struct power *p, const uint32_t name[POWER_NAMES],
    uint32_t page, bool newer)
{
	const struct power_file *f = &p->file[name[POWER_PATH]];
	const uint32_t last = f->page[page].n - 1;
	const uint32_t most = POWER_PAGE / POWER_SECTOR - 1;

	if (last == 0)
		return;
	pick_any(p, f);
	p->pick[page] = newer ? last : 0;
	p->torn.page = page;
	p->torn.rest = newer ? 0 : last;
	p->torn.sectors = 1 + (uint32_t)(power_draw(p) % most);
	power_recover(p, name);
	p->torn.page = POWER_NONE;
}

/* A disk writes sectors: each page torn between two of them, among any versions
 * of the others. */
static void
check_torn(struct power *p, const uint32_t name[POWER_NAMES])
{
	const uint32_t pages = p->file[name[POWER_PATH]].pages;

	for (uint64_t i = 0; i < 1 + p->limit / 1000; i++)
		for (uint32_t page = 0; page < pages; page++) {
			check_torn_page(p, name, page, false);
			check_torn_page(p, name, page, true);
		}
}

static void
check_names(struct power *p, const uint32_t name[POWER_NAMES])
{
	const struct power_file *f;

	memset(p->pick, 0, sizeof p->pick);
	if (name[POWER_PATH] == POWER_NONE) {
		power_recover(p, name);
		return;
	}
	f = &p->file[name[POWER_PATH]];
	check_torn(p, name);
	memset(p->pick, 0, sizeof p->pick);
	if (combinations(p, f) <= p->limit) {
		do
			power_recover(p, name);
		while (pick_next(p, f));
		return;
	}
	p->drawn++;
	check_corners(p, name);
	for (uint64_t i = 0; i < p->limit; i++) {
		pick_any(p, f);
		power_recover(p, name);
	}
}

/* The file at the path has been through all of this; another one, or none, is
 * beside it. */
static void
check_beside(struct power *p, const uint32_t name[POWER_NAMES])
{
	if (name[POWER_PATH] != POWER_NONE)
		pick_any(p, &p->file[name[POWER_PATH]]);
	power_recover(p, name);
}

/* Names -------------------------------------------------------------------- */

static void
op_apply(uint32_t name[POWER_NAMES], const struct power_op *o)
{
	switch (o->kind) {
	case POWER_CREATE:
		name[o->at] = o->file;
		return;
	case POWER_UNLINK:
		name[o->at] = POWER_NONE;
		return;
	case POWER_RENAME:
		name[POWER_PATH] = o->file;
		if (name[POWER_TMP] == o->file)
			name[POWER_TMP] = POWER_NONE;
		return;
	case POWER_EXCHANGE:
		name[POWER_PATH] = o->file;
		name[POWER_TMP] = o->other;
		return;
	}
}

/* The power is lost here: with any of the changes of names. */
static void
check_point(struct power *p)
{
	uint32_t seen[1u << POWER_OPS][POWER_NAMES], n = 0;

	p->points++;
	for (uint32_t set = 0; set < 1u << p->ops; set++) {
		uint32_t name[POWER_NAMES], i;
		bool path = false, both = false;

		memcpy(name, p->name, sizeof name);
		for (i = 0; i < p->ops; i++)
			if (set >> i & 1)
				op_apply(name, &p->op[i]);
		for (i = 0; i < n; i++) {
			path |= seen[i][POWER_PATH] == name[POWER_PATH];
			both |= memcmp(seen[i], name, sizeof name) == 0;
		}
		if (both)
			continue;
		memcpy(seen[n++], name, sizeof name);
		if (path)
			check_beside(p, name);
		else
			check_names(p, name);
	}
}

/* The journal -------------------------------------------------------------- */

/* Until it has the path nobody reads it, and the daemon writes what it likes:
 * its first state is what is in it then. */
static void
take_first(struct power *p)
{
	struct power_file *f = &p->file[p->live[POWER_TMP]];

	while (f->states > 0)
		free(f->state[--f->states].section);
	publish_seen(p, f, power_header(power_newest(f, 0)).generation);
}

static void
take_op(struct power *p, const struct power_record *r)
{
	struct power_op o = { r->kind, (uint32_t)r->at, r->file, POWER_NONE };

	if (p->ops == POWER_OPS)
		power_die("too many changes of names without an fsync");
	if (r->kind == POWER_RENAME || r->kind == POWER_EXCHANGE) {
		o.file = p->live[POWER_TMP];
		o.other = p->live[POWER_PATH];
		take_first(p);
	}
	op_apply(p->live, &o);
	p->op[p->ops++] = o;
}

static void
take_sync(struct power *p, const struct power_record *r)
{
	struct power_file *f = &p->file[r->file];
	const uint64_t first = r->kind == POWER_SYNC ? r->at / POWER_PAGE : 0;
	const uint64_t end = r->kind == POWER_SYNC ?
	    (r->at + r->size + POWER_PAGE - 1) / POWER_PAGE : f->pages;

	check_point(p);
	for (uint64_t i = first; i < end && i < f->pages; i++)
		page_synced(&f->page[i]);
}

static void
take_failure(struct power *p, const struct power_record *r)
{
	struct power_file *f = &p->file[r->file];
	const uint64_t end = (r->at + r->size) / POWER_PAGE;

	check_point(p);
	for (uint64_t i = r->at / POWER_PAGE; i < end && i < f->pages; i++)
		f->page[i].lost = f->page[i].n > 1;
}

static void
take_names(struct power *p)
{
	check_point(p);
	for (uint32_t i = 0; i < p->ops; i++)
		op_apply(p->name, &p->op[i]);
	p->ops = 0;
}

static void
take_found(struct power *p, const struct power_record *r)
{
	struct power_file *f = &p->file[r->file];
	struct mcshm_header h;

	if (f->pages == 0)
		power_die("found nothing");
	for (uint32_t i = 0; i < f->pages; i++)
		page_synced(&f->page[i]);
	p->name[POWER_PATH] = p->live[POWER_PATH] = r->file;
	h = power_header(power_newest(f, 0));
	f->foreign = !power_this_boot(&h);
}

static void
take(struct power *p, const struct power_record *r, FILE *in)
{
	if (r->file != POWER_NONE && r->file >= POWER_FILES)
		power_die("too many files");
	switch (r->kind) {
	case POWER_DATA:
		take_page(p, &p->file[r->file], r->at, in);
		return;
	case POWER_SYNC:
	case POWER_FSYNC:
		take_sync(p, r);
		return;
	case POWER_FAILED:
		take_failure(p, r);
		return;
	case POWER_DIRSYNC:
		take_names(p);
		return;
	case POWER_SIZE:
		return;
	case POWER_FOUND:
		take_found(p, r);
		return;
	default:
		take_op(p, r);
	}
}

static void
take_all(struct power *p, const char *path)
{
	FILE *in = fopen(path, "rb");
	struct power_record r;
	size_t n;

	if (in == NULL)
		power_die("no journal");
	while ((n = fread(&r, 1, sizeof r, in)) == sizeof r)
		take(p, &r, in);
	if (n != 0)
		power_die("the journal ends in a record");
	fclose(in);
	check_point(p);
}

static void
power_free(struct power *p)
{
	for (uint32_t i = 0; i < POWER_FILES; i++) {
		struct power_file *f = &p->file[i];

		while (f->pages > 0)
			free(f->page[--f->pages].v);
		while (f->states > 0)
			free(f->state[--f->states].section);
		free(f->state);
	}
	free(p);
}

/* 0, or 1: something was not as it should be. */
static int
report(const struct power *p)
{
	printf("power     %" PRIu64 " states published, %" PRIu64 " points (%"
	    PRIu64 " by lot), %" PRIu64 " cases: %" PRIu64 " the last durable "
	    "state, %" PRIu64 " a newer one, %" PRIu64 " no file, %" PRIu64
	    " damaged; %" PRIu64 " with a torn page, %" PRIu64 " in another "
	    "boot, %" PRIu64 " by mc-shmdump\n", p->states, p->points,
	    p->drawn, p->cases, p->old, p->new, p->unmade, p->damaged,
	    p->torns, p->rebooted, p->verified);
	return p->failures != 0 || p->cases == 0;
}

int
main(int argc, char **argv)
{
	struct power *p;
	int code;

	if (argc != 6) {
		fprintf(stderr, "usage: power JOURNAL DIRECTORY LIMIT EVERY "
		    "mc-shmdump\n");
		return 64;
	}
	p = power_need(calloc(1, sizeof *p));
	p->dir = argv[2];
	p->limit = strtoull(argv[3], NULL, 10);
	p->every = strtoull(argv[4], NULL, 10);
	p->shmdump = argv[5];
	p->seed = 88172645463325252u;
	p->torn.page = POWER_NONE;
	memset(p->name, 0xff, sizeof p->name);		/* POWER_NONE */
	memset(p->live, 0xff, sizeof p->live);
	snprintf(p->path, sizeof p->path, "%s/web.mcshm", p->dir);
	snprintf(p->tmp, sizeof p->tmp, "%s/.web.tmp.4000000", p->dir);
	take_all(p, argv[1]);
	unlink(p->path);
	unlink(p->tmp);
	code = report(p);
	power_free(p);
	return code;
}
