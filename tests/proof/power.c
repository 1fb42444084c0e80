/*
 * power.c - what a power loss may leave of a pool file, all of it, and what
 * comes back from it.
 *
 *	power JOURNAL DIRECTORY LIMIT EVERY mc-shmdump
 *
 * Reads the journal of a real daemon (power_record.c).  At every point where
 * something becomes durable, and at the end, it takes each page of the file in
 * any of the versions that it had since it was last durable, each name with any
 * of the changes since the directory was, makes such files in DIRECTORY, and
 * recovers: by the library's open and snapshot, by the daemon's publish_open()
 * in the same boot and in another one, by mc-shmdump --verify.
 *
 * The answer has to be one whole state that was published, no older than the
 * last one whose publication had come to its end.  Damage is an answer only
 * after an msync that gave an error.  LIMIT: cases a point, where there would be
 * more, drawn by lot; EVERY: how many cases between two that are shown to
 * mc-shmdump, kept for the real daemon, and recovered in another boot.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mcshm.h"
#include "power.h"
#include "publish_image.h"

#define NONE UINT32_MAX
#define PAGES 256u		/* of a file */
#define FILES 256u
#define OPS 8u			/* changes of names between two fsyncs */
#define SECOND UINT64_C(1000000000)
#define OTHER_BOOT UINT64_C(0x1111111111111111)

extern char **environ;

struct version {
	unsigned char byte[POWER_PAGE];
};

struct page {
	struct version *v;	/* v[0]: durable */
	uint32_t n;
	bool lost;		/* an msync failed: the kernel may have dropped
				 * it, and calls it clean */
};

/* A state that was published: the whole section. */
struct state {
	uint64_t generation;
	unsigned char *section;
};

struct file {
	struct page page[PAGES];
	uint32_t pages;
	struct state *state;
	uint32_t states;
};

struct op {
	uint32_t kind, at;	/* at: the name, where it is one */
	uint32_t file;		/* created, or moved to the path, */
	uint32_t other;		/* in exchange for this */
};

struct power {
	const char *dir, *shmdump;
	char path[256], tmp[256];
	uint64_t limit, every, seed;
	struct file file[FILES];
	uint32_t name[POWER_NAMES];	/* durable, */
	uint32_t live[POWER_NAMES];	/* and as the daemon sees them */
	struct op op[OPS];
	uint32_t ops;
	/* This case. */
	uint32_t pick[PAGES];
	/* All of them. */
	uint64_t points, cases, old, new, unmade, damaged, rebooted, verified;
	uint64_t states, failures, kept;
};

/* Small things ------------------------------------------------------------- */

static void
die(const char *what)
{
	fprintf(stderr, "power: %s\n", what);
	exit(1);
}

static void *
need(void *p)
{
	if (p == NULL)
		die("no memory");
	return p;
}

static uint64_t
draw(struct power *p)
{
	p->seed ^= p->seed << 13;
	p->seed ^= p->seed >> 7;
	return p->seed ^= p->seed << 17;
}

static struct publish_time
now(void)
{
	struct timespec b, r;

	clock_gettime(CLOCK_BOOTTIME, &b);
	clock_gettime(CLOCK_REALTIME, &r);
	return (struct publish_time){
		.boot = (uint64_t)b.tv_sec * SECOND + (uint64_t)b.tv_nsec,
		.real = (uint64_t)r.tv_sec * SECOND + (uint64_t)r.tv_nsec };
}

static void
failed(struct power *p, uint32_t path, const char *what)
{
	if (p->failures++ >= 10)
		return;
	printf("FAILED at point %" PRIu64 ", case %" PRIu64 ": %s; pages in "
	    "versions", p->points, p->cases, what);
	for (uint32_t i = 0; path != NONE && i < p->file[path].pages; i++)
		printf(" %u/%u", p->pick[i] + 1, p->file[path].page[i].n);
	printf("\n");
}

/* Content ------------------------------------------------------------------ */

static const struct version *
newest(const struct file *f, uint32_t page)
{
	return &f->page[page].v[f->page[page].n - 1];
}

static struct mcshm_header
header_in(const struct version *v)
{
	struct mcshm_header h;

	memcpy(&h, v, sizeof h);
	return h;
}

/* The section of this parity, in the newest versions. */
static unsigned char *
section_now(const struct file *f, const struct mcshm_header *h, uint64_t g)
{
	const uint64_t off = h->section_off[g & 1];
	unsigned char *section = need(malloc(h->section_size));

	if (off % POWER_PAGE != 0 || h->section_size % POWER_PAGE != 0 ||
	    (off + h->section_size) / POWER_PAGE > f->pages)
		die("a section that is not in its file");
	for (uint64_t i = 0; i < h->section_size / POWER_PAGE; i++)
		memcpy(section + i * POWER_PAGE,
		    newest(f, (uint32_t)(off / POWER_PAGE + i)), POWER_PAGE);
	return section;
}

/* The disk may have less than has been published. */
static bool
file_failed(const struct file *f)
{
	for (uint32_t i = 0; i < f->pages; i++)
		if (f->page[i].lost)
			return true;
	return false;
}

/* The flip: what is in the section now has been published. */
static void
publish_seen(struct power *p, struct file *f, uint64_t g)
{
	const struct mcshm_header h = header_in(newest(f, 0));
	struct state *s;

	f->state = need(realloc(f->state, (f->states + 1) * sizeof *f->state));
	s = &f->state[f->states++];
	*s = (struct state){ g, section_now(f, &h, g) };
	p->states++;
	if (!image_section_whole(s->section, &h) ||
	    ((struct mcshm_section *)(void *)s->section)->generation != g)
		failed(p, NONE, "published before it was whole");
}

static void
take_page(struct power *p, struct file *f, uint64_t at, FILE *in)
{
	struct page *page = &f->page[at];
	const uint64_t was = f->pages > 0 ?
	    header_in(newest(f, 0)).generation : 0;
	uint64_t g;

	if (at >= PAGES)
		die("a file that is too large");
	for (; f->pages <= at; f->pages++)	/* nobody wrote it: zeros */
		f->page[f->pages] = (struct page){
			need(calloc(1, sizeof *page->v)), 1, false };
	page->v = need(realloc(page->v, (page->n + 1) * sizeof *page->v));
	if (fread(&page->v[page->n++], POWER_PAGE, 1, in) != 1)
		die("the journal ends in a page");
	page->lost = false;
	g = header_in(newest(f, 0)).generation;
	if (at == 0 && g != was && g != 0 && (g & MCSHM_RETIRED) == 0)
		publish_seen(p, f, g);
}

static void
page_synced(struct page *page)
{
	if (page->lost)
		return;
	page->v[0] = page->v[page->n - 1];
	page->n = 1;
}

/* Files of this case ------------------------------------------------------- */

static void
put_file(const char *path, const struct file *f, const uint32_t *pick)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0644);
	bool ok = fd != -1;

	for (uint32_t i = 0; ok && i < f->pages; i++)
		ok = write(fd, &f->page[i].v[pick[i]], POWER_PAGE) ==
		    POWER_PAGE;
	if (!ok || close(fd) != 0)
		die("cannot write a case");
}

static void
put_case(struct power *p, const uint32_t name[POWER_NAMES])
{
	uint32_t any[PAGES];
	const struct file *f;

	unlink(p->path);
	unlink(p->tmp);
	if (name[POWER_PATH] != NONE)
		put_file(p->path, &p->file[name[POWER_PATH]], p->pick);
	if (name[POWER_TMP] == NONE)
		return;
	f = &p->file[name[POWER_TMP]];
	for (uint32_t i = 0; i < f->pages; i++)
		any[i] = (uint32_t)(draw(p) % f->page[i].n);
	put_file(p->tmp, f, any);
}

/* What has to come back ---------------------------------------------------- */

static const struct state *
state_find(const struct file *f, uint64_t least, const unsigned char *section,
    uint64_t size)
{
	for (uint32_t i = 0; i < f->states; i++)
		if (f->state[i].generation >= least &&
		    memcmp(f->state[i].section, section, size) == 0)
			return &f->state[i];
	return NULL;
}

static const struct state *
state_of(const struct file *f, uint64_t generation)
{
	for (uint32_t i = 0; i < f->states; i++)
		if (f->state[i].generation == generation)
			return &f->state[i];
	return NULL;
}

static bool
same_states(const struct state *s, const struct mcshm_header *h,
    const struct mcshm_state *v)
{
	for (uint32_t i = 0; i < h->servers; i++) {
		struct publish_entry e;

		image_get(&e, s->section, h, i);
		if (v[i].verdict != e.verdict.state ||
		    v[i].admin != e.admin || v[i].since != e.verdict.since ||
		    v[i].history != e.verdict.history ||
		    v[i].probes != e.verdict.probes ||
		    v[i].failures != e.failures || v[i].checked != e.checked ||
		    v[i].rtt_us != e.rtt_us || v[i].reason != e.reason)
			return false;
	}
	return true;
}

/* The library in the same boot, before any daemon. */
static void
check_library(struct power *p, uint32_t path, uint64_t least)
{
	const struct file *f = &p->file[path];
	const struct mcshm_header h = header_in(newest(f, 0));
	struct mcshm_state v[64];
	struct mcshm_status st;
	const struct state *s;
	struct mcshm *m;
	int err = mcshm_open(&m, p->path, 0);

	if (err != 0) {
		failed(p, path, mcshm_strerror(err));
		return;
	}
	err = mcshm_snapshot(m, v, 64, sizeof *v, &st, sizeof st);
	mcshm_close(m);
	if (file_failed(f))	/* it has no sums to tell by; but this far */
		return;
	s = err >= 0 && st.generation >= least ?
	    state_of(f, st.generation) : NULL;
	if (s == NULL)
		failed(p, path, "the library has no state that was published");
	else if (!same_states(s, &h, v))
		failed(p, path, "the library gives a torn or invented state");
}

static struct publish_roster
roster_of(const struct power *p, uint32_t path)
{
	const struct file *f = &p->file[path];
	const struct mcshm_header h = header_in(newest(f, 0));
	const size_t size = image_fixed_size(&h);
	unsigned char *fixed = need(malloc(size));
	struct publish_roster r = { .scheme = h.scheme, .hash = h.hash,
		.stale_after = h.stale_after };

	for (uint32_t i = 0; i < size / POWER_PAGE; i++)
		memcpy(fixed + (size_t)i * POWER_PAGE, newest(f, i),
		    POWER_PAGE);
	if (image_servers(&r.servers, fixed, &h) != 0)
		die("a roster that makes no sense");
	memcpy(r.pool, h.pool, sizeof r.pool - 1);
	free(fixed);
	return r;
}

static bool
same_left(const struct publish_left *left, const struct state *s,
    const struct mcshm_header *h)
{
	for (uint32_t i = 0; i < h->servers; i++) {
		struct publish_entry e;

		image_get(&e, s->section, h, i);
		if (left->entry[i].verdict.state != e.verdict.state ||
		    left->entry[i].verdict.history != e.verdict.history ||
		    left->entry[i].verdict.since != e.verdict.since)
			return false;
	}
	return true;
}

/* The active section of what lies at the path now; NULL: it is another file
 * than `ino`. */
static unsigned char *
section_at(const struct power *p, ino_t ino, struct mcshm_header *h)
{
	const int fd = open(p->path, O_RDONLY | O_CLOEXEC);
	unsigned char *section = NULL;
	struct stat st;

	if (fd == -1 || fstat(fd, &st) != 0 ||
	    pread(fd, h, sizeof *h, 0) != sizeof *h)
		die("no file after a daemon has opened it");
	if (st.st_ino == ino) {
		section = need(malloc(h->section_size));
		if (pread(fd, section, h->section_size,
			(off_t)h->section_off[h->generation & 1]) !=
		    (ssize_t)h->section_size)
			die("a file without its section");
	}
	close(fd);
	return section;
}

/* Whole, and about to be published: what there is after an msync failed for the
 * last one. */
static bool
is_next(const struct file *f, const unsigned char *section,
    const struct mcshm_header *h)
{
	const struct mcshm_section *head = (const void *)section;

	return image_section_whole(section, h) &&
	    head->generation == header_in(newest(f, 0)).generation + 1;
}

/* What the daemon attached to, or has made in its place. */
static void
check_attached(struct power *p, uint32_t path, uint64_t least, ino_t ino,
    const struct publish_left *left)
{
	const struct file *f = &p->file[path];
	const struct state *s;
	struct mcshm_header h;
	unsigned char *section = section_at(p, ino, &h);

	if (section == NULL) {
		p->damaged++;
		if (!file_failed(f))
			failed(p, path, "a file that was damaged");
		return;
	}
	s = state_find(f, file_failed(f) ? 0 : least, section, h.section_size);
	if (s == NULL && file_failed(f) && is_next(f, section, &h))
		p->new++;
	else if (s == NULL)
		failed(p, path, "the daemon takes a torn or invented state");
	else if (left->entry != NULL && !same_left(left, s, &h))
		failed(p, path, "the daemon inherits another state");
	else if (left->entry == NULL && h.boot_id[0] != 0 && h.boot_id[1] != 0)
		failed(p, path, "the daemon forgets what it could inherit");
	else if (s->generation == least)
		p->old++;
	else
		p->new++;
	free(section);
}

static ino_t
inode(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

static struct publish *
attach(struct power *p, uint32_t path, struct publish_roster *r)
{
	static const struct publish_about about = { .version = "0" };
	struct publish_trouble t;
	struct publish *publish;

	if (publish_open(&publish, p->path, r, &about, now(), &t) == 0)
		return publish;
	failed(p, path, t.what);
	return NULL;
}

static void
check_daemon(struct power *p, uint32_t path, uint64_t least)
{
	struct publish_roster r = roster_of(p, path);
	const ino_t ino = inode(p->path);
	struct publish *publish = attach(p, path, &r);

	if (publish != NULL) {
		check_attached(p, path, least, ino, publish_left(publish));
		publish_abandon(publish);
	}
	if (access(p->tmp, F_OK) == 0)
		failed(p, path, "the temporary name is still there");
	servers_free(&r.servers);
}

/* After a real power loss it is another boot: nothing is inherited. */
static void
check_reboot(struct power *p, uint32_t path)
{
	const uint64_t boot = OTHER_BOOT;
	struct publish_roster r = roster_of(p, path);
	const int fd = open(p->path, O_WRONLY | O_CLOEXEC);
	struct mcshm_state v[64];
	struct publish *publish;
	struct mcshm *m = NULL;
	int n = -1;

	if (fd == -1 || pwrite(fd, &boot, sizeof boot,
		offsetof(struct mcshm_header, boot_id)) != sizeof boot)
		die("cannot write another boot id");
	close(fd);
	publish = attach(p, path, &r);
	if (publish != NULL && publish_left(publish)->entry != NULL)
		failed(p, path, "verdicts of another boot are inherited");
	if (publish != NULL && publish_start(publish) == 0 &&
	    mcshm_open(&m, p->path, 0) == 0)
		n = mcshm_snapshot(m, v, 64, sizeof *v, NULL, 0);
	for (int i = 0; i < n; i++)
		if (v[i].verdict != MCSHM_UNKNOWN)
			n = -1;
	if (n <= 0)
		failed(p, path, "another boot does not start from UNKNOWN");
	mcshm_close(m);
	if (publish != NULL)
		publish_close(publish);
	servers_free(&r.servers);
	p->rebooted++;
}

/* mc-shmdump --verify; then as it is, for the real daemon. */
static void
check_tool(struct power *p, uint32_t path)
{
	char *argv[] = { (char *)(uintptr_t)p->shmdump,
		(char *)(uintptr_t)"--json", (char *)(uintptr_t)"--verify",
		p->path, NULL };
	posix_spawn_file_actions_t quiet;
	char kept[300];
	pid_t pid;
	int st;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, p->shmdump, &quiet, NULL, argv, environ) != 0 ||
	    waitpid(pid, &st, 0) != pid || !WIFEXITED(st))
		die("mc-shmdump does not run");
	posix_spawn_file_actions_destroy(&quiet);
	if (WEXITSTATUS(st) > (file_failed(&p->file[path]) ? 3 : 2))
		failed(p, path, "mc-shmdump calls it damaged");
	p->verified++;
	snprintf(kept, sizeof kept, "%s/kept%" PRIu64, p->dir, p->kept++);
	put_file(kept, &p->file[path], p->pick);
}

/* Cases -------------------------------------------------------------------- */

static void
check_case(struct power *p, const uint32_t name[POWER_NAMES])
{
	const uint32_t path = name[POWER_PATH];
	const bool more = p->cases % p->every == 0;
	uint64_t least;

	p->cases++;
	put_case(p, name);
	if (path == NONE) {
		p->unmade++;
		return;
	}
	least = header_in(&p->file[path].page[0].v[0]).generation;
	if ((header_in(&p->file[path].page[0].v[p->pick[0]]).generation &
		MCSHM_RETIRED) != 0) {
		failed(p, path, "a retired file under the path");
		return;
	}
	if (more)
		check_tool(p, path);
	check_library(p, path, least);
	check_daemon(p, path, least);
	if (more) {
		put_case(p, name);
		check_reboot(p, path);
	}
}

/* The next combination; false: that was the last. */
static bool
pick_next(struct power *p, const struct file *f)
{
	for (uint32_t i = 0; i < f->pages; i++) {
		if (++p->pick[i] < f->page[i].n)
			return true;
		p->pick[i] = 0;
	}
	return false;
}

static uint64_t
combinations(const struct power *p, const struct file *f)
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
	const struct file *f = &p->file[name[POWER_PATH]];

	for (uint32_t one = 0; one < 2 * f->pages; one++) {
		const bool ahead = one < f->pages;

		if (f->page[one % f->pages].n == 1)
			continue;
		for (uint32_t i = 0; i < f->pages; i++)
			p->pick[i] = (i == one % f->pages) == ahead ?
			    f->page[i].n - 1 : 0;
		check_case(p, name);
	}
}

static void
check_names(struct power *p, const uint32_t name[POWER_NAMES])
{
	const struct file *f;

	memset(p->pick, 0, sizeof p->pick);
	if (name[POWER_PATH] == NONE) {
		check_case(p, name);
		return;
	}
	f = &p->file[name[POWER_PATH]];
	if (combinations(p, f) <= p->limit) {
		do
			check_case(p, name);
		while (pick_next(p, f));
		return;
	}
	check_corners(p, name);
	for (uint64_t i = 0; i < p->limit; i++) {
		for (uint32_t j = 0; j < f->pages; j++)
			p->pick[j] = (uint32_t)(draw(p) % f->page[j].n);
		check_case(p, name);
	}
}

/* Names -------------------------------------------------------------------- */

static void
op_apply(uint32_t name[POWER_NAMES], const struct op *o)
{
	switch (o->kind) {
	case POWER_CREATE:
		name[o->at] = o->file;
		return;
	case POWER_UNLINK:
		name[o->at] = NONE;
		return;
	case POWER_RENAME:
		name[POWER_PATH] = o->file;
		if (name[POWER_TMP] == o->file)
			name[POWER_TMP] = NONE;
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
	uint32_t seen[1u << OPS][POWER_NAMES], n = 0;

	p->points++;
	for (uint32_t set = 0; set < 1u << p->ops; set++) {
		uint32_t name[POWER_NAMES], i;

		memcpy(name, p->name, sizeof name);
		for (i = 0; i < p->ops; i++)
			if (set >> i & 1)
				op_apply(name, &p->op[i]);
		for (i = 0; i < n; i++)
			if (seen[i][POWER_PATH] == name[POWER_PATH])
				break;
		if (i < n)
			continue;
		memcpy(seen[n++], name, sizeof name);
		check_names(p, name);
	}
}

/* The journal -------------------------------------------------------------- */

/* Until it has the path nobody reads it, and the daemon writes what it likes:
 * its first state is what is in it then. */
static void
take_first(struct power *p)
{
	struct file *f = &p->file[p->live[POWER_TMP]];

	while (f->states > 0)
		free(f->state[--f->states].section);
	publish_seen(p, f, header_in(newest(f, 0)).generation);
}

static void
take_op(struct power *p, const struct power_record *r)
{
	struct op o = { r->kind, (uint32_t)r->at, r->file, NONE };

	if (p->ops == OPS)
		die("too many changes of names without an fsync");
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
	struct file *f = &p->file[r->file];
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
	struct file *f = &p->file[r->file];
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
take(struct power *p, const struct power_record *r, FILE *in)
{
	if (r->file != NONE && r->file >= FILES)
		die("too many files");
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
	default:
		take_op(p, r);
	}
}

int
main(int argc, char **argv)
{
	struct power *p = need(calloc(1, sizeof *p));
	struct power_record r;
	FILE *in;

	if (argc != 6) {
		fprintf(stderr, "usage: power JOURNAL DIRECTORY LIMIT EVERY "
		    "mc-shmdump\n");
		return 64;
	}
	in = need(fopen(argv[1], "rb"));
	p->dir = argv[2];
	p->limit = strtoull(argv[3], NULL, 10);
	p->every = strtoull(argv[4], NULL, 10);
	p->shmdump = argv[5];
	p->seed = 88172645463325252u;
	memset(p->name, 0xff, sizeof p->name);		/* NONE */
	memset(p->live, 0xff, sizeof p->live);
	snprintf(p->path, sizeof p->path, "%s/web.mcshm", p->dir);
	snprintf(p->tmp, sizeof p->tmp, "%s/.web.tmp.4000000", p->dir);
	while (fread(&r, sizeof r, 1, in) == 1)
		take(p, &r, in);
	check_point(p);
	fclose(in);
	unlink(p->path);
	unlink(p->tmp);
	printf("power     %" PRIu64 " states published, %" PRIu64 " points, %"
	    PRIu64 " cases: %" PRIu64 " the last durable state, %" PRIu64
	    " a newer one, %" PRIu64 " no file yet, %" PRIu64 " damaged; %"
	    PRIu64 " in another boot, %" PRIu64 " by mc-shmdump\n",
	    p->states, p->points, p->cases, p->old, p->new, p->unmade,
	    p->damaged, p->rebooted, p->verified);
	return p->failures != 0 || p->cases == 0;
}
