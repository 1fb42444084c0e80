/*
 * power_recover.c - one case of what a power loss may leave: its files, and
 * what comes back from them: by the library's open and snapshot, by the
 * daemon's publish_open() in the same boot and in another one, by mc-shmdump
 * --verify.
 *
 * The answer has to be one whole state that was published, no older than the
 * last one whose publication had come to its end.  Damage is an answer only
 * after an msync that gave an error, where no section is whole; then all begins
 * with UNKNOWN.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "mcshm.h"
#include "power_disk.h"
#include "publish_image.h"

#define SECOND UINT64_C(1000000000)
#define OTHER_BOOT UINT64_C(0x1111111111111111)
#define SERVERS 64u
#define UNREADABLE 3		/* mc-shmdump's exit code */

extern char **environ;

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

/* Files of this case ------------------------------------------------------- */

/* A page as this case has it, torn or not. */
static void
case_page(struct power_version *to, const struct power *p,
    const struct power_file *f, uint32_t page)
{
	const struct power_version *v = f->page[page].v;
	const uint32_t cut = p->torn.page == page ?
	    p->torn.sectors * POWER_SECTOR : POWER_PAGE;

	memcpy(to->byte, v[p->pick[page]].byte, cut);
	if (cut < POWER_PAGE)
		memcpy(to->byte + cut, v[p->torn.rest].byte + cut,
		    POWER_PAGE - cut);
}

static void
put_page(int fd, const struct power_version *v)
{
	if (write(fd, v, sizeof *v) != sizeof *v)
		power_die("cannot write a case");
}

static int
create(const char *path)
{
	const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
	    0644);

	if (fd == -1)
		power_die("cannot write a case");
	return fd;
}

static void
put_file(const char *path, const struct power *p, const struct power_file *f)
{
	const int fd = create(path);
	struct power_version v;

	for (uint32_t i = 0; i < f->pages; i++) {
		case_page(&v, p, f, i);
		put_page(fd, &v);
	}
	close(fd);
}

/* What nobody reads may be anything. */
static void
put_any(const char *path, struct power *p, const struct power_file *f)
{
	const int fd = create(path);

	for (uint32_t i = 0; i < f->pages; i++)
		put_page(fd, &f->page[i].v[power_draw(p) % f->page[i].n]);
	close(fd);
}

static void
put_case(struct power *p, const uint32_t name[POWER_NAMES])
{
	unlink(p->path);
	unlink(p->tmp);
	if (name[POWER_PATH] != POWER_NONE)
		put_file(p->path, p, &p->file[name[POWER_PATH]]);
	if (name[POWER_TMP] != POWER_NONE)
		put_any(p->tmp, p, &p->file[name[POWER_TMP]]);
}

/* Whether the section of this parity is whole in this case. */
static bool
case_whole(const struct power *p, const struct power_file *f, uint64_t g)
{
	const struct mcshm_header h = power_header(power_newest(f, 0));
	const uint32_t first = (uint32_t)(h.section_off[g & 1] / POWER_PAGE);
	const uint32_t pages = (uint32_t)(h.section_size / POWER_PAGE);
	struct power_version *section =
	    power_need(malloc(pages * sizeof *section));
	bool whole;

	for (uint32_t i = 0; i < pages; i++)
		case_page(&section[i], p, f, first + i);
	whole = image_section_whole((unsigned char *)section, &h);
	free(section);
	return whole;
}

static struct mcshm_header
case_header(const struct power *p, const struct power_file *f)
{
	struct power_version v;

	case_page(&v, p, f, 0);
	return power_header(&v);
}

/* What has to come back ---------------------------------------------------- */

static const struct power_state *
state_find(const struct power_file *f, uint64_t least,
    const unsigned char *section, uint64_t size)
{
	for (uint32_t i = 0; i < f->states; i++)
		if (f->state[i].generation >= least &&
		    memcmp(f->state[i].section, section, size) == 0)
			return &f->state[i];
	return NULL;
}

static const struct power_state *
state_of(const struct power_file *f, uint64_t generation)
{
	for (uint32_t i = 0; i < f->states; i++)
		if (f->state[i].generation == generation)
			return &f->state[i];
	return NULL;
}

static bool
same_states(const struct power_state *s, const struct mcshm_header *h,
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
	const struct power_file *f = &p->file[path];
	const struct mcshm_header h = power_header(power_newest(f, 0));
	struct mcshm_state v[SERVERS];
	struct mcshm_status st;
	const struct power_state *s;
	struct mcshm *m;
	int err = mcshm_open(&m, p->path, 0);

	if (err != 0) {
		power_failed(p, path, mcshm_strerror(err));
		return;
	}
	err = mcshm_snapshot(m, v, SERVERS, sizeof *v, &st, sizeof st);
	mcshm_close(m);
	/* It has no sums to tell by; but it comes this far. */
	if (power_file_failed(f))
		return;
	s = err >= 0 && st.generation >= least ?
	    state_of(f, st.generation) : NULL;
	if (s == NULL)
		power_failed(p, path,
		    "the library has no state that was published");
	else if (!same_states(s, &h, v))
		power_failed(p, path,
		    "the library gives a torn or invented state");
}

static struct publish_roster
roster_of(const struct power *p, uint32_t path)
{
	const struct power_file *f = &p->file[path];
	const struct mcshm_header h = power_header(power_newest(f, 0));
	const size_t size = image_fixed_size(&h);
	unsigned char *fixed = power_need(malloc(size));
	struct publish_roster r = {
		.set = scheme_setting_of(&h),
		.dead = h.dead, .failover_ttl = h.failover_ttl,
		.stale_after = h.stale_after };

	for (uint32_t i = 0; i < size / POWER_PAGE; i++)
		memcpy(fixed + (size_t)i * POWER_PAGE, power_newest(f, i),
		    POWER_PAGE);
	if (image_servers(&r.servers, fixed, &h) != 0)
		power_die("a roster that makes no sense");
	memcpy(r.pool, h.pool, sizeof r.pool - 1);
	free(fixed);
	return r;
}

static bool
same_left(const struct publish_left *left, const struct power_state *s,
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
		power_die("no file after a daemon has opened it");
	if (st.st_ino == ino) {
		section = power_need(malloc(h->section_size));
		if (pread(fd, section, h->section_size,
			(off_t)h->section_off[h->generation & 1]) !=
		    (ssize_t)h->section_size)
			power_die("a file without its section");
	}
	close(fd);
	return section;
}

/* Whole, and about to be published: what there is after an msync failed for the
 * last one. */
static bool
is_next(const struct power_file *f, const unsigned char *section,
    const struct mcshm_header *h)
{
	const struct mcshm_section *head = (const void *)section;

	return image_section_whole(section, h) &&
	    head->generation == power_header(power_newest(f, 0)).generation + 1;
}

/* Whoever opens it now is told that nothing is known. */
static void
check_unknown(struct power *p, uint32_t path, const char *what)
{
	struct mcshm_state v[SERVERS];
	struct mcshm *m = NULL;
	int n = -1;

	if (mcshm_open(&m, p->path, 0) == 0)
		n = mcshm_snapshot(m, v, SERVERS, sizeof *v, NULL, 0);
	for (int i = 0; i < n; i++)
		if (v[i].verdict != MCSHM_UNKNOWN)
			n = -1;
	if (n <= 0)
		power_failed(p, path, what);
	mcshm_close(m);
}

/* The daemon has put a new file in the place of what it found. */
static void
check_damaged(struct power *p, uint32_t path, const struct publish_left *left)
{
	const struct power_file *f = &p->file[path];

	p->damaged++;
	if (!power_file_failed(f))
		power_failed(p, path, "a file that was damaged");
	else if (case_whole(p, f, 0) || case_whole(p, f, 1))
		power_failed(p, path, "a whole state is thrown away");
	else if (left->entry != NULL)
		power_failed(p, path, "the daemon inherits from damage");
	check_unknown(p, path, "after damage not all is UNKNOWN");
}

/* What the daemon attached to, or has made in its place. */
static void
check_attached(struct power *p, uint32_t path, uint64_t least, ino_t ino,
    const struct publish_left *left)
{
	const struct power_file *f = &p->file[path];
	const struct power_state *s;
	struct mcshm_header h;
	unsigned char *section = section_at(p, ino, &h);

	if (section == NULL) {
		check_damaged(p, path, left);
		return;
	}
	s = state_find(f, power_file_failed(f) ? 0 : least, section,
	    h.section_size);
	if (s == NULL && power_file_failed(f) && is_next(f, section, &h))
		p->new++;
	else if (s == NULL)
		power_failed(p, path,
		    "the daemon takes a torn or invented state");
	else if (left->entry != NULL && !same_left(left, s, &h))
		power_failed(p, path, "the daemon inherits another state");
	else if ((left->entry != NULL) != power_this_boot(&h))
		power_failed(p, path, left->entry != NULL ?
		    "the daemon inherits from another boot" :
		    "the daemon forgets what it could inherit");
	else if (left->entry != NULL && f->foreign && s == &f->state[0])
		power_failed(p, path,
		    "another boot's verdicts look like this one's");
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
	power_failed(p, path, t.what);
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
		power_failed(p, path, "the temporary name is still there");
	servers_free(&r.servers);
}

/* After a real power loss it is another boot: nothing is inherited. */
static void
check_reboot(struct power *p, uint32_t path)
{
	const uint64_t boot = OTHER_BOOT;
	struct publish_roster r = roster_of(p, path);
	const int fd = open(p->path, O_WRONLY | O_CLOEXEC);
	struct publish *publish;

	if (fd == -1 || pwrite(fd, &boot, sizeof boot,
		offsetof(struct mcshm_header, boot_id)) != sizeof boot)
		power_die("cannot write another boot id");
	close(fd);
	publish = attach(p, path, &r);
	if (publish != NULL) {
		if (publish_left(publish)->entry != NULL)
			power_failed(p, path,
			    "verdicts of another boot are inherited");
		if (publish_start(publish) != 0)
			power_die("no thread");
		check_unknown(p, path,
		    "another boot does not start from UNKNOWN");
		publish_close(publish);
	}
	servers_free(&r.servers);
	p->rebooted++;
}

static int
run_tool(const struct power *p)
{
	char *argv[] = { (char *)(uintptr_t)p->shmdump,
		(char *)(uintptr_t)"--json", (char *)(uintptr_t)"--verify",
		(char *)(uintptr_t)p->path, NULL };
	posix_spawn_file_actions_t quiet;
	pid_t pid;
	int st;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawn(&pid, p->shmdump, &quiet, NULL, argv, environ) != 0 ||
	    waitpid(pid, &st, 0) != pid || !WIFEXITED(st))
		power_die("mc-shmdump does not run");
	posix_spawn_file_actions_destroy(&quiet);
	return WEXITSTATUS(st);
}

/* It says damaged where that is so, and nowhere else; then the file is kept as
 * it is, for the real daemon. */
static void
check_tool(struct power *p, uint32_t path)
{
	const struct power_file *f = &p->file[path];
	const bool whole = case_whole(p, f, case_header(p, f).generation);
	char kept[300];

	if ((run_tool(p) == UNREADABLE) != !whole)
		power_failed(p, path, whole ? "mc-shmdump calls it damaged" :
		    "mc-shmdump does not call it damaged");
	p->verified++;
	snprintf(kept, sizeof kept, "%s/kept%" PRIu64, p->dir, p->kept++);
	put_file(kept, p, f);
}

/* Nothing has the path yet, or nothing any more; an unfinished file may be
 * there. */
static void
check_unmade(struct power *p)
{
	struct publish_roster r = { .pool = "web",
		.set = { .scheme = MCSHM_SCHEME_LIBMEMCACHED_MODULA,
		    .hash = MCSHM_HASH_ONE_AT_A_TIME,
		    .points_hash = MCSHM_HASH_ONE_AT_A_TIME },
		.stale_after = SECOND };
	const struct server s = { .weight = 1, .address = {
		.kind = MCSHM_KIND_IPV4, .port = 11211, .host = "10.1.0.1" } };
	struct publish *publish;

	if (servers_add(&r.servers, &s) != 0)
		power_die("no memory");
	publish = attach(p, POWER_NONE, &r);
	if (publish != NULL) {
		check_unknown(p, POWER_NONE, "a first file is not UNKNOWN");
		publish_abandon(publish);
	}
	if (access(p->tmp, F_OK) == 0)
		power_failed(p, POWER_NONE,
		    "the temporary name is still there");
	servers_free(&r.servers);
	p->unmade++;
}

/* Cases -------------------------------------------------------------------- */

static void
check_made(struct power *p, const uint32_t name[POWER_NAMES], bool more)
{
	const uint32_t path = name[POWER_PATH];
	const struct power_file *f = &p->file[path];
	const uint64_t least = power_header(&f->page[0].v[0]).generation;

	if ((case_header(p, f).generation & MCSHM_RETIRED) != 0) {
		power_failed(p, path, "a retired file under the path");
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

void
power_recover(struct power *p, const uint32_t name[POWER_NAMES])
{
	const bool more = p->cases++ % p->every == 0;

	p->torns += p->torn.page != POWER_NONE;
	put_case(p, name);
	if (name[POWER_PATH] == POWER_NONE)
		check_unmade(p);
	else
		check_made(p, name, more);
}
