/*
 * test_publish.c - pool files: made, attached to, published into, exchanged,
 * lost and found, by the real writer; seen by the real reader.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "mcshm.h"
#include "mkfile.h"
#include "mkplace.h"
#include "publish.h"
#include "publish_image.h"

#define SECOND UINT64_C(1000000000)

static char dir[64], path[96];

/*
 * The writer's msync(2), watched: when a section is synced, it must not be the
 * active one yet.  (By its generation: the flip has not come if the file's own
 * is still the one before.)
 */
static _Atomic unsigned synced_sections, synced_too_late;

int
msync(void *at, size_t len, int flags)
{
	const struct mcshm_section *section = at;
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mcshm_header h;

	if (fd >= 0 && pread(fd, &h, sizeof h, 0) == sizeof h &&
	    len == h.section_size) {
		/* (Larger than the header, or the two look alike.) */
		synced_sections++;
		if (mcshm_load(&section->generation) != h.generation + 1)
			synced_too_late++;
	}
	if (fd >= 0)
		close(fd);
	return (int)syscall(SYS_msync, at, len, flags);
}

/*
 * The writer's renameat2(2): where there is a gate, each says that it is there
 * and waits until all may pass.
 */
static struct gate {
	int say, wait;
} gate = { -1, -1 };

int
renameat2(int from_dir, const char *from, int to_dir, const char *to,
    unsigned flags)
{
	char c = 'g';

	if (gate.say != -1) {
		if (write(gate.say, &c, 1) != 1 ||
		    read(gate.wait, &c, 1) != 0)
			_exit(1);
		gate.say = -1;		/* once */
	}
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
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
nap(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

/* Until cond, 10 s at most; then the assertion that follows says what. */
#define WAIT(cond) \
	for (int nap_ = 0; nap_ < 10000 && !(cond); nap_++) \
		nap()

static int
setup(void **state)
{
	const char *tmp = getenv("MC_TEST_TMP");

	(void)state;
	snprintf(dir, sizeof dir, "%s/test_publish.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) == -1)
		return -1;
	snprintf(path, sizeof path, "%s/web.mcshm", dir);
	return 0;
}

static int
teardown(void **state)
{
	char cmd[128];

	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd) == 0 ? 0 : -1;
}

/* A roster of servers s0.. by name; first: the number of the first one. */
static struct publish_roster
roster(uint32_t first, uint32_t n, bool backwards)
{
	struct publish_roster r = { .pool = "web",
		.set = { .scheme = MCSHM_SCHEME_MAGLEV,
		    .hash = MCSHM_HASH_XXH3, .points_hash = MCSHM_HASH_XXH3 },
		.stale_after = 30 * SECOND };

	for (uint32_t i = 0; i < n; i++) {
		const uint32_t id = first + (backwards ? n - 1 - i : i);
		struct server s = { .weight = 1 };

		snprintf(s.name, sizeof s.name, "s%u", id);
		s.address.kind = MCSHM_KIND_IPV4;
		s.address.port = 11211;
		snprintf(s.address.host, sizeof s.address.host, "10.1.%u.%u",
		    id / 250, id % 250 + 1);
		assert_int_equal(servers_add(&r.servers, &s), 0);
	}
	return r;
}

static struct publish_about about = { .version = "1.2.3", .host = "app17",
	.config = "/etc/x.ini" };

static struct publish *
open_ok(struct publish_roster *r)
{
	struct publish_trouble t;
	struct publish *p = NULL;

	if (publish_open(&p, path, r, &about, now(), &t) != 0)
		fail_msg("publish_open: %s: %s", t.what, strerror(t.error));
	return p;
}

static struct publish *
start_ok(struct publish_roster *r)
{
	struct publish *p = open_ok(r);

	assert_int_equal(publish_start(p), 0);
	return p;
}

static struct mcshm *
reader(void)
{
	struct mcshm *m = NULL;
	const int err = mcshm_open(&m, path, 0);

	if (err != 0)
		fail_msg("mcshm_open: %s", mcshm_strerror(err));
	return m;
}

static struct mcshm_status
status(struct mcshm *m)
{
	struct mcshm_status st;

	assert_true(mcshm_snapshot(m, NULL, 0, 0, &st, sizeof st) >= 0);
	return st;
}

static struct mcshm_state
state_of(struct mcshm *m, uint32_t i)
{
	struct mcshm_state v[512];

	assert_true(mcshm_snapshot(m, v, 512, sizeof *v, NULL, 0) > (int)i);
	return v[i];
}

static struct publish_entry
entry(uint32_t state)
{
	struct publish_entry e = { .verdict = verdict_init(7), .checked = 9,
		.reason = state == MCSHM_DOWN ? MCSHM_R_REFUSED : 0,
		.failures = 3, .rtt_us = 123, .server_version = "1.6.18" };

	e.verdict.state = state;
	e.verdict.probes = 5;
	e.verdict.history = 0x17;
	e.verdict.since = now().boot;
	return e;
}

static void
say(struct publish *p, uint32_t i, uint32_t state)
{
	const struct publish_entry e = entry(state);

	publish_set(p, i, &e);
	publish_now(p);
}

static struct mcshm_header
header(void)
{
	struct mcshm_header h;
	const int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &h, sizeof h, 0), sizeof h);
	close(fd);
	return h;
}

static void
poke(uint64_t offset, const void *p, size_t len)
{
	const int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, p, len, (off_t)offset), (ssize_t)len);
	close(fd);
}

/* A beat that is late enough for news that are no verdicts. */
static void
beat_late(struct publish *p)
{
	struct publish_time t = now();

	t.boot += SECOND;
	publish_beat(p, t);
}

static ino_t
inode(void)
{
	struct stat st;

	return stat(path, &st) == 0 ? st.st_ino : 0;
}

/* The next event; beats until there is one. */
static struct publish_event
event(struct publish *p)
{
	struct publish_event ev = { .kind = 99 };

	for (int i = 0; i < 10000 && !publish_event(p, &ev); i++) {
		if (i % 20 == 19)
			publish_beat(p, now());
		nap();
	}
	return ev;
}

static unsigned
files(void)
{
	char cmd[128], n[16] = "";
	FILE *f;

	snprintf(cmd, sizeof cmd, "ls -A '%s' | wc -l", dir);
	f = popen(cmd, "r");
	assert_non_null(f);
	assert_non_null(fgets(n, sizeof n, f));
	pclose(f);
	return (unsigned)atoi(n);
}

/* Tests ------------------------------------------------------------------- */

static void
test_create(void **state)
{
	struct publish_roster r = roster(0, 5, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	const struct mcshm_status st = status(m);
	struct mcshm_header h = header();
	struct stat sb;

	(void)state;
	assert_int_equal(st.servers, 5);
	assert_int_equal(st.usable, 5);		/* UNKNOWN is usable */
	assert_int_equal(st.alive, 1);
	assert_int_equal(st.stale, 0);
	assert_int_equal(st.pid, getpid());
	assert_int_equal(state_of(m, 4).verdict, MCSHM_UNKNOWN);
	assert_true(h.generation >> 40 == 1 || h.generation >> 41 == 0);
	assert_true(h.generation > UINT64_C(1) << 39);	/* random, not 0 */
	assert_string_equal(h.daemon_version, "1.2.3");
	assert_string_equal(h.host, "app17");
	assert_string_equal(h.pool, "web");
	assert_int_equal(stat(path, &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0644);
	assert_int_equal((uint64_t)sb.st_size, h.file_size);
	/* Written, not a hole: a store must not meet a full disk. */
	assert_true((uint64_t)sb.st_blocks * 512 >= h.file_size);
	assert_int_equal(files(), 1);
	mcshm_close(m);
	publish_close(p);
	assert_int_equal(header().clean_exit, 1);
	servers_free(&r.servers);
}

static void
test_verdict_at_once_counters_with_the_beat(void **state)
{
	struct publish_roster r = roster(0, 5, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct publish_entry e = entry(MCSHM_UP);
	struct mcshm_state got;
	uint64_t g;

	(void)state;
	say(p, 3, MCSHM_DOWN);
	WAIT(state_of(m, 3).verdict == MCSHM_DOWN);
	got = state_of(m, 3);
	assert_int_equal(got.verdict, MCSHM_DOWN);
	assert_int_equal(got.usable, 0);
	assert_int_equal(got.reason, MCSHM_R_REFUSED);
	assert_int_equal(got.history, 0x17);
	assert_int_equal(got.failures, 3);
	assert_int_equal(status(m).usable, 4);
	g = status(m).generation;

	/* No publish_now(): waits for the beat, and is there after it. */
	e.rtt_us = 777;
	publish_set(p, 2, &e);
	for (int i = 0; i < 50; i++)
		nap();
	assert_int_equal(status(m).generation, g);
	/* Nor with one that comes too early: once a second is enough. */
	for (int i = 0; i < 50; i++) {
		publish_beat(p, now());
		nap();
	}
	assert_int_equal(status(m).generation, g);
	beat_late(p);
	WAIT(status(m).generation != g);
	assert_int_equal(status(m).generation, g + 1);
	assert_int_equal(state_of(m, 2).rtt_us, 777);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_section_is_synced_before_the_flip(void **state)
{
	struct publish_roster r = roster(0, 30, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();

	(void)state;
	synced_sections = synced_too_late = 0;
	for (uint32_t i = 0; i < 6; i++) {
		const uint32_t as = i & 1 ? MCSHM_UP : MCSHM_DOWN;

		say(p, 0, as);
		WAIT(state_of(m, 0).verdict == as);
	}
	assert_true(synced_sections >= 6);
	assert_int_equal(synced_too_late, 0);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_beat_rewrites_no_section(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm_header a, b;

	(void)state;
	publish_beat(p, now());		/* what was due from the start */
	WAIT(header().publishes == 1);
	a = header();
	for (int i = 1; i <= 5; i++) {
		struct publish_time t = now();

		t.boot += (uint64_t)i * SECOND;
		publish_beat(p, t);
		WAIT(header().heartbeat == t.boot);
		b = header();
		assert_int_equal(b.heartbeat, t.boot);
	}
	assert_int_equal(b.generation, a.generation);
	assert_int_equal(b.publishes, a.publishes);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_restart_keeps_inode_and_verdicts(void **state)
{
	struct publish_roster r = roster(0, 5, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	const struct publish_left *left;
	const ino_t ino = inode();
	uint64_t g, roster_id;

	(void)state;
	say(p, 1, MCSHM_DOWN);
	WAIT(state_of(m, 1).verdict == MCSHM_DOWN);
	publish_close(p);
	assert_int_equal(status(m).alive, 0);
	g = status(m).generation;
	roster_id = status(m).roster;

	p = open_ok(&r);
	left = publish_left(p);
	assert_true(left->kept);
	assert_int_equal(left->servers.n, 5);
	assert_non_null(left->entry);
	assert_int_equal(left->entry[1].verdict.state, MCSHM_DOWN);
	assert_int_equal(left->entry[1].verdict.history, 0x17);
	assert_int_equal(left->entry[1].rtt_us, 123);
	assert_string_equal(left->entry[1].server_version, "1.6.18");
	assert_int_equal(left->entry[0].verdict.state, MCSHM_UNKNOWN);
	assert_int_equal(publish_start(p), 0);
	assert_int_equal(status(m).roster, roster_id);
	say(p, 2, MCSHM_HELD);
	WAIT(state_of(m, 2).verdict == MCSHM_HELD);
	assert_int_equal(state_of(m, 2).held, 1);
	assert_int_equal(state_of(m, 1).verdict, MCSHM_DOWN);
	assert_int_equal(inode(), ino);
	assert_true(status(m).generation > g);
	assert_int_equal(status(m).alive, 1);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

/* Another roster: old readers stay served, then follow; nobody moves that
 * need not. */
static void
test_exchange(void **state)
{
	struct publish_roster r = roster(0, 20, false);
	struct publish_roster more = roster(0, 21, true);
	struct publish_entry e[21];
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader(), *stay = NULL;
	struct publish_event ev;
	const ino_t ino = inode();
	uint64_t g;

	(void)state;
	assert_int_equal(mcshm_open(&stay, path, MCSHM_NOFOLLOW), 0);
	for (uint32_t i = 0; i < 21; i++)
		e[i] = entry(MCSHM_UP);
	e[20] = entry(MCSHM_DOWN);		/* s0, backwards */
	assert_int_equal(publish_roster(p, &more, &about, e), 0);
	say(p, 19, MCSHM_DOWN);			/* s1, before the exchange */
	WAIT(state_of(m, 1).verdict == MCSHM_DOWN);
	assert_int_equal(state_of(m, 1).verdict, MCSHM_DOWN);
	assert_int_equal(status(m).servers, 20);
	assert_int_equal(inode(), ino);
	g = status(m).generation;

	publish_exchange(p);
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_EXCHANGED);
	assert_int_equal(ev.before, 20);
	assert_int_equal(ev.after, 21);
	assert_true(ev.moved > 0.02 && ev.moved < 0.08);	/* 1 in 21 */
	assert_true(inode() != ino);
	assert_int_equal(status(m).servers, 21);
	assert_true(status(m).generation > g);
	assert_int_equal(state_of(m, 20).verdict, MCSHM_DOWN);
	assert_int_equal(state_of(m, 19).verdict, MCSHM_DOWN);
	assert_int_equal(state_of(m, 3).verdict, MCSHM_UP);
	assert_int_equal(files(), 1);

	assert_int_equal(status(stay).servers, 20);
	assert_true(status(stay).generation & MCSHM_RETIRED);
	assert_int_equal(mcshm_refresh(stay), 1);
	assert_int_equal(status(stay).servers, 21);
	mcshm_close(stay);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
	servers_free(&more.servers);
}

static bool
report_is(const char *socket)
{
	const struct mcshm_header h = header();

	return strcmp(h.report, socket) == 0;
}

static void
await_report(const char *socket)
{
	WAIT(report_is(socket));
	assert_true(report_is(socket));
}

/* Where reports go to: at once, and nothing else is touched; also in the file
 * that is next, and in one made anew. */
static void
test_report(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish_roster more = roster(0, 4, false);
	struct publish_entry e[4];
	struct publish *p = start_ok(&r);
	const uint64_t sum = header().header_sum;
	char longest[sizeof header().report + 8];
	char cut[sizeof header().report];

	(void)state;
	for (uint32_t i = 0; i < 4; i++)
		e[i] = entry(MCSHM_UP);
	assert_true(report_is(""));
	publish_report(p, "/a/longer/path/.report");
	await_report("/a/longer/path/.report");
	publish_report(p, "/b/.report");
	await_report("/b/.report");
	assert_true(header().report[12] == '\0');
	assert_true(header().header_sum == sum);

	assert_int_equal(publish_roster(p, &more, &about, e), 0);
	publish_report(p, "/c/.report");
	publish_exchange(p);
	assert_int_equal(event(p).kind, PUBLISH_EXCHANGED);
	assert_true(report_is("/c/.report"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(event(p).kind, PUBLISH_REMADE);
	assert_true(report_is("/c/.report"));

	memset(longest, 'x', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	snprintf(cut, sizeof cut, "%.111s", longest);
	publish_report(p, longest);
	await_report(cut);
	publish_report(p, "");
	await_report("");
	publish_report(p, "/d/.report");
	await_report("/d/.report");
	publish_close(p);
	/* The next daemon takes none. */
	p = start_ok(&more);
	assert_true(report_is(""));
	publish_close(p);
	servers_free(&r.servers);
	servers_free(&more.servers);
}

static void
test_equal_roster_keeps_the_file(void **state)
{
	struct publish_roster r = roster(0, 7, false);
	struct publish_entry e[7];
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	const ino_t ino = inode();
	struct publish_event ev;

	(void)state;
	for (uint32_t i = 0; i < 7; i++)
		e[i] = entry(MCSHM_DOWN);
	assert_int_equal(publish_roster(p, &r, &about, e), 0);
	publish_exchange(p);
	beat_late(p);
	WAIT(status(m).usable == 0);
	assert_int_equal(status(m).usable, 0);
	assert_int_equal(inode(), ino);
	assert_false(publish_event(p, &ev));
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

/* At a start with another roster: states by name and address. */
static void
test_restart_with_another_roster(void **state)
{
	struct publish_roster r = roster(0, 5, false);
	struct publish_roster other = roster(3, 5, false);	/* s3 .. s7 */
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();

	(void)state;
	say(p, 4, MCSHM_DOWN);
	WAIT(state_of(m, 4).verdict == MCSHM_DOWN);
	publish_close(p);
	p = open_ok(&other);
	assert_false(publish_left(p)->kept);
	assert_int_equal(publish_left(p)->servers.n, 5);
	assert_int_equal(publish_start(p), 0);
	publish_beat(p, now());
	assert_int_equal(status(m).servers, 5);
	publish_exchange(p);
	assert_int_equal(event(p).kind, PUBLISH_EXCHANGED);
	assert_int_equal(state_of(m, 1).verdict, MCSHM_DOWN);	/* s4 */
	assert_int_equal(state_of(m, 0).verdict, MCSHM_UNKNOWN);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
	servers_free(&other.servers);
}

static void
test_second_daemon(void **state)
{
	struct publish_roster r = roster(0, 2, false);
	struct publish *p = start_ok(&r), *q = NULL;
	struct publish_trouble t;

	(void)state;
	assert_int_equal(publish_open(&q, path, &r, &about, now(), &t), -1);
	assert_int_equal(t.error, EWOULDBLOCK);
	assert_int_equal(t.pid, getpid());
	assert_non_null(strstr(t.what, path));
	publish_close(p);
	servers_free(&r.servers);
}

/*
 * Several that start at once.  Each has a say: 'g' at the gate, if there is
 * one, then 'w': has the file, 'l': another has it, or '?'.  None ends before
 * all have said it.
 */
#define STARTERS 4

struct start {
	int said[2], gate[2], end[2];
	pid_t pid[STARTERS];
};

static char
open_in_child(void)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish_trouble t;
	struct publish *p;

	if (publish_open(&p, path, &r, &about, now(), &t) == 0)
		return 'w';
	return t.error == EWOULDBLOCK ? 'l' : '?';
}

static void
starter(const struct start *s, bool gated)
{
	char c;

	alarm(30);		/* whatever it meets, the others are heard */
	close(s->gate[1]);
	close(s->end[1]);
	if (gated)
		gate = (struct gate){ s->said[1], s->gate[0] };
	c = open_in_child();
	if (write(s->said[1], &c, 1) != 1)
		_exit(1);
	/* So that the end of one that dies is heard. */
	close(s->said[1]);
	_exit(read(s->end[0], &c, 1) == 0 ? 0 : 1);
}

static void
start_together(struct start *s, bool gated)
{
	assert_int_equal(pipe2(s->said, O_CLOEXEC), 0);
	assert_int_equal(pipe2(s->gate, O_CLOEXEC), 0);
	assert_int_equal(pipe2(s->end, O_CLOEXEC), 0);
	for (int i = 0; i < STARTERS; i++) {
		s->pid[i] = fork();
		assert_true(s->pid[i] >= 0);
		if (s->pid[i] == 0)
			starter(s, gated);
	}
	close(s->said[1]);
	close(s->gate[0]);
	close(s->end[0]);
}

struct says {
	int ready, won, lost;
};

/* The next n. */
static struct says
hear(const struct start *s, int n)
{
	struct says says = { 0 };
	char c;

	while (n-- > 0 && read(s->said[0], &c, 1) == 1) {
		says.ready += c == 'g';
		says.won += c == 'w';
		says.lost += c == 'l';
	}
	return says;
}

static void
one_has_it(bool gated)
{
	struct says at_gate = { 0 }, says;
	struct start s;

	unlink(path);
	start_together(&s, gated);
	if (gated)
		at_gate = hear(&s, STARTERS);
	close(s.gate[1]);
	says = hear(&s, STARTERS);
	close(s.end[1]);
	close(s.said[0]);
	for (int i = 0; i < STARTERS; i++)
		assert_int_equal(waitpid(s.pid[i], NULL, 0), s.pid[i]);
	if (says.won != 1 || says.lost != STARTERS - 1)
		fail_msg("%d of %d daemons have the file, %d know that they "
		    "have not", says.won, STARTERS, says.lost);
	assert_int_equal(at_gate.ready, gated ? STARTERS : 0);
	assert_int_equal(files(), 1);
}

/* However many start at once on a path without a file: one has it, the others
 * are told so. */
static void
test_started_together(void **state)
{
	(void)state;
	for (int round = 0; round < 5; round++)
		one_has_it(false);
}

/* The same where all have a first file to put there before the first does. */
static void
test_created_together(void **state)
{
	(void)state;
	one_has_it(true);
}

static void
test_removed_and_made_anew(void **state)
{
	struct publish_roster r = roster(0, 4, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	uint64_t g;

	(void)state;
	say(p, 0, MCSHM_DOWN);
	WAIT(state_of(m, 0).verdict == MCSHM_DOWN);
	g = status(m).generation;
	assert_int_equal(unlink(path), 0);
	publish_beat(p, now());
	assert_int_equal(event(p).kind, PUBLISH_REMADE);
	assert_int_equal(state_of(m, 0).verdict, MCSHM_DOWN);
	assert_true(status(m).generation > g);
	assert_int_equal(status(m).alive, 1);
	say(p, 1, MCSHM_DOWN);
	WAIT(state_of(m, 1).verdict == MCSHM_DOWN);
	assert_int_equal(state_of(m, 1).verdict, MCSHM_DOWN);

	/* With the directory. */
	assert_int_equal(teardown(NULL), 0);
	publish_beat(p, now());
	assert_int_equal(event(p).kind, PUBLISH_REMADE);
	assert_true(inode() != 0);
	assert_int_equal(state_of(m, 1).verdict, MCSHM_DOWN);
	assert_int_equal(status(m).alive, 1);

	/* A copy put over it (mv), which nobody holds: exchanged. */
	g = status(m).generation;
	{
		char cmd[512];

		snprintf(cmd, sizeof cmd, "cp '%s' '%s.x' && mv '%s.x' '%s'",
		    path, path, path, path);
		assert_int_equal(system(cmd), 0);
	}
	publish_beat(p, now());
	assert_int_equal(event(p).kind, PUBLISH_REMADE);
	assert_true(header().generation > g);
	assert_int_equal(files(), 1);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

/* What stands in the directory's place can not be opened as one: told, tried
 * again, and no descriptor but our own is touched meanwhile. */
static void
test_directory_is_a_file(void **state)
{
	struct publish_roster r = roster(0, 2, false);
	struct publish *p = start_ok(&r);
	struct publish_event ev;
	struct stat before, after;
	FILE *f;

	(void)state;
	assert_int_equal(fstat(STDIN_FILENO, &before), 0);
	assert_int_equal(teardown(NULL), 0);
	f = fopen(dir, "w");
	assert_non_null(f);
	fclose(f);
	publish_beat(p, now());
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_FAILED);
	assert_int_equal(ev.error, ENOTDIR);
	assert_int_equal(fstat(STDIN_FILENO, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(event(p).kind, PUBLISH_REMADE);
	assert_int_equal(files(), 1);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_foreign_files(void **state)
{
	struct publish_roster r = roster(0, 2, false);
	struct publish_trouble t;
	struct publish *p;
	FILE *f;

	(void)state;
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("a text of somebody's, longer than 136 bytes: ....................."
	    "..................................................................."
	    "......................\n", f);
	fclose(f);
	assert_int_equal(publish_open(&p, path, &r, &about, now(), &t), -1);
	assert_int_equal(t.error, EEXIST);
	assert_non_null(strstr(t.what, "not a pool file"));
	assert_int_equal(unlink(path), 0);

	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(publish_open(&p, path, &r, &about, now(), &t), -1);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_int_equal(publish_open(&p, path, &r, &about, now(), &t), -1);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("/nowhere", path), 0);
	assert_int_equal(publish_open(&p, path, &r, &about, now(), &t), -1);
	assert_int_equal(unlink(path), 0);

	/* An empty one is nobody's. */
	f = fopen(path, "w");
	assert_non_null(f);
	fclose(f);
	publish_close(start_ok(&r));
	assert_int_equal(header().servers, 2);
	servers_free(&r.servers);
}

static void
cut(const char *content, size_t len, uid_t owner)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(content, 1, len, f), len);
	fclose(f);
	assert_int_equal(chmod(path, 0644), 0);
	if (owner != geteuid())
		assert_int_equal(chown(path, owner, (gid_t)-1), 0);
}

/* What somebody's hand has left of a file of ours; of others' it says what to
 * do. */
static void
test_cut_files(void **state)
{
	struct publish_roster r = roster(0, 2, false);
	struct publish_trouble t;
	struct publish *p;
	char left[100] = MCSHM_MAGIC_BYTES;

	(void)state;
	for (size_t len = 8; len <= sizeof left; len += 92) {
		cut(left, len, geteuid());
		publish_close(start_ok(&r));
		assert_int_equal(header().servers, 2);
		assert_int_equal(files(), 1);
	}
	cut(left, 7, geteuid());
	assert_int_equal(publish_open(&p, path, &r, &about, now(), &t), -1);
	assert_non_null(strstr(t.what, "not a pool file"));
	if (geteuid() == 0) {
		cut(left, sizeof left, 4711);
		assert_int_equal(publish_open(&p, path, &r, &about, now(), &t),
		    -1);
		assert_int_equal(t.error, EEXIST);
		assert_non_null(strstr(t.what, "uid 4711's; remove it"));
	}
	servers_free(&r.servers);
}

static bool
others_reach(void)
{
	const pid_t pid = fork();
	int how;

	if (pid == 0)
		_exit(setuid(65534) == 0 && access(dir, X_OK) == 0 ? 0 : 1);
	return waitpid(pid, &how, 0) == pid && how == 0;
}

/* Started as root once, and then as it should be. */
static void
test_file_of_another_user(void **state)
{
	struct publish_roster r = roster(0, 2, false);
	struct publish_trouble t;
	struct publish *p;
	int how;
	pid_t pid;

	(void)state;
	/* He may have no way to where tests are. */
	if (geteuid() != 0 || !others_reach())
		skip();
	publish_close(start_ok(&r));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		if (setuid(65534) != 0 ||
		    publish_open(&p, path, &r, &about, now(), &t) != -1 ||
		    t.error != EACCES ||
		    strstr(t.what, "uid 0's (root), and we are uid 65534; "
			"remove it") == NULL)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &how, 0), pid);
	assert_int_equal(how, 0);
	servers_free(&r.servers);
}

/* A daemon that starts with another roster leaves what it found, until it has
 * told of the same servers. */
static void
test_left_with_another_roster(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish_roster less = roster(0, 2, false);
	struct publish_entry e[2] = { entry(MCSHM_DOWN), entry(MCSHM_UP) };
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	uint64_t before;

	(void)state;
	say(p, 0, MCSHM_DOWN);
	say(p, 2, MCSHM_DOWN);
	WAIT(status(m).usable == 1);
	publish_close(p);
	before = header().generation;

	p = open_ok(&less);
	assert_int_equal(publish_roster(p, &less, &about, e), 0);
	assert_int_equal(publish_start(p), 0);
	WAIT(header().generation != before);
	assert_int_equal(header().generation, before + 1);
	assert_int_equal(state_of(m, 0).verdict, MCSHM_DOWN);
	assert_int_equal(state_of(m, 2).verdict, MCSHM_DOWN);
	assert_int_equal(status(m).usable, 1);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
	servers_free(&less.servers);
}

/* Damage is replaced, with the count continued; its readers follow. */
static void
test_damage(void **state)
{
	static const struct { uint64_t offset; uint32_t v; } damage[] = {
		{ offsetof(struct mcshm_header, servers), 99 },
		{ offsetof(struct mcshm_header, version), 7u << 16 },
		{ offsetof(struct mcshm_header, file_size), 4096 },
		/* May have any value: only the sum can tell. */
		{ offsetof(struct mcshm_header, failover_ttl), 5 },
		{ 4096 + 352, 0x41414141 },	/* roster: ident of slot 0 */
		{ 4096 + 3 * 768 + 100, 0x00010002 },	/* table */
	};
	struct publish_roster r = roster(0, 3, false);

	(void)state;
	for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
		struct mcshm_header h;
		struct publish *p;

		publish_close(start_ok(&r));
		h = header();
		poke(damage[i].offset, &damage[i].v, sizeof damage[i].v);
		p = open_ok(&r);
		assert_null(publish_left(p)->entry);
		assert_int_equal(publish_start(p), 0);
		assert_true(header().generation > h.generation);
		assert_int_equal(header().servers, 3);
		assert_int_equal(files(), 1);
		publish_close(p);
	}
	servers_free(&r.servers);
}

static void
test_damaged_sections(void **state)
{
	const uint64_t garbage = UINT64_C(0x4242424242424242);
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct mcshm_header h;
	ino_t ino;

	(void)state;
	say(p, 0, MCSHM_DOWN);
	WAIT(state_of(m, 0).verdict == MCSHM_DOWN);
	publish_close(p);
	h = header();
	ino = inode();
	/* The active one: the other is the last good state. */
	poke(h.section_off[h.generation & 1] + 800, &garbage, 8);
	p = open_ok(&r);
	assert_int_equal(inode(), ino);
	assert_int_equal(header().generation, h.generation + 1);
	assert_int_equal(publish_left(p)->entry[0].verdict.state,
	    MCSHM_UNKNOWN);
	publish_abandon(p);
	/* Both: a new file. */
	poke(h.section_off[0] + 800, &garbage, 8);
	poke(h.section_off[1] + 800, &garbage, 8);
	p = open_ok(&r);
	assert_true(inode() != ino);
	assert_null(publish_left(p)->entry);
	assert_true(status(m).generation > h.generation);	/* followed */
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

/* With every sum right: what no daemon writes is no roster, and nothing is made
 * of it. */
static void
test_hostile_roster(void **state)
{
	static const struct {
		size_t off, len;
		uint32_t value;
	} harm[] = {
		{ offsetof(struct mcshm_roster, host), 1, 0 },
		{ offsetof(struct mcshm_roster, kind), 4, MCSHM_KIND_NONE },
		{ offsetof(struct mcshm_roster, kind), 4, 3 },
		{ offsetof(struct mcshm_roster, kind), 4, 7 },
		{ offsetof(struct mcshm_roster, kind), 4, UINT32_MAX },
		{ offsetof(struct mcshm_roster, port), 4, 65536 },
		{ offsetof(struct mcshm_roster, weight), 4, 0 },
	};
	struct publish_roster r = roster(0, 3, false);

	(void)state;
	for (size_t i = 0; i < sizeof harm / sizeof *harm; i++) {
		unsigned char record[3 * sizeof(struct mcshm_roster)];
		struct mcshm_header h;
		struct publish *p;
		ino_t ino;
		int fd;

		publish_close(start_ok(&r));
		ino = inode();
		h = header();
		fd = open(path, O_RDONLY);
		assert_int_equal(pread(fd, record, sizeof record,
		    (off_t)h.roster_off), (ssize_t)sizeof record);
		close(fd);
		memcpy(record + sizeof(struct mcshm_roster) + harm[i].off,
		    &harm[i].value, harm[i].len);
		h.roster_sum = mcshm_sum(record, sizeof record, 0);
		h.header_sum = mcshm_header_sum(&h);
		poke(h.roster_off, record, sizeof record);
		poke(0, &h, sizeof h);
		p = start_ok(&r);
		assert_true(inode() != ino);
		publish_close(p);
	}
	servers_free(&r.servers);
}

/* A table of buckets, and a scheme that wants a ring, or records. */
static void
test_tables_of_another_scheme(void **state)
{
	static const struct scheme_setting set[] = {
		{ MCSHM_SCHEME_LIBMEMCACHED_KETAMA, MCSHM_HASH_MD5,
		    MCSHM_HASH_MD5, 0, 0 },
		{ MCSHM_SCHEME_DALLI, MCSHM_HASH_CRC32A, MCSHM_HASH_SHA1, 0,
		    0 },
		{ MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS, MCSHM_HASH_MURMUR3_ZERO,
		    MCSHM_HASH_MURMUR3_ZERO, 0, 0 },
	};
	struct publish_roster r = roster(0, 3, false);

	(void)state;
	for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
		struct mcshm_header h;
		struct publish *p;
		ino_t ino;

		publish_close(start_ok(&r));
		ino = inode();
		h = header();
		h.scheme = set[i].scheme;
		h.hash = set[i].hash;
		h.points_hash = set[i].points_hash;
		assert_true(scheme_setting_valid(&set[i]));
		h.header_sum = mcshm_header_sum(&h);
		poke(0, &h, sizeof h);
		p = open_ok(&r);
		assert_true(inode() != ino);
		publish_abandon(p);
	}
	servers_free(&r.servers);
}

static void
test_retired_is_never_attached(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct mcshm_header h;
	uint64_t g;
	ino_t ino;

	(void)state;
	publish_close(start_ok(&r));
	h = header();
	ino = inode();
	g = (h.generation + 2) | MCSHM_RETIRED;
	poke(offsetof(struct mcshm_header, generation), &g, 8);
	publish_close(start_ok(&r));
	assert_true(inode() != ino);
	assert_true(header().generation > h.generation + 2);
	assert_int_equal(header().generation & MCSHM_RETIRED, 0);
	servers_free(&r.servers);
}

static void
test_another_boot(void **state)
{
	const uint64_t id = 42;
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();

	(void)state;
	say(p, 0, MCSHM_DOWN);
	WAIT(state_of(m, 0).verdict == MCSHM_DOWN);
	publish_close(p);
	poke(offsetof(struct mcshm_header, boot_id), &id, 8);
	assert_int_equal(status(m).rebooted, 1);
	assert_int_equal(status(m).stale, 1);
	p = open_ok(&r);
	assert_true(publish_left(p)->kept);
	assert_null(publish_left(p)->entry);
	assert_int_equal(publish_start(p), 0);
	assert_int_equal(state_of(m, 0).verdict, MCSHM_UNKNOWN);
	assert_int_equal(status(m).rebooted, 0);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_leftovers_are_swept(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	char tmp[128], other[128];
	struct mcshm *m;
	struct publish *p;
	struct stat st;

	(void)state;
	snprintf(tmp, sizeof tmp, "%s/.web.tmp.4711", dir);
	snprintf(other, sizeof other, "%s/.web2.tmp.4711", dir);
	publish_close(start_ok(&r));
	m = reader();
	assert_int_equal(rename(path, tmp), 0);
	assert_int_equal(link(tmp, other), 0);
	p = start_ok(&r);
	assert_int_equal(stat(tmp, &st), -1);
	assert_int_equal(stat(other, &st), 0);	/* another pool's business */
	/* Its reader was told, and follows. */
	assert_int_equal(status(m).alive, 1);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

/* Of the active section, wherever that is. */
static uint64_t
spare_word(unsigned word)
{
	const struct mcshm_header h = header();
	const int fd = open(path, O_RDONLY);
	uint64_t value = 0;

	assert_int_equal(pread(fd, &value, sizeof value,
	    (off_t)(h.section_off[h.generation & 1] + h.spare_off +
	    8 * word)), sizeof value);
	close(fd);
	return value;
}

/* Beats until it is so; at most 10 s. */
static void
wait_progress(struct publish *p, enum publish_progress wanted)
{
	for (int i = 0; i < 1000 && publish_progress(p) != wanted; i++) {
		publish_beat(p, now());
		for (int n = 0; n < 10; n++)
			nap();
	}
	assert_int_equal(publish_progress(p), wanted);
}

/* A roster that can not be published: nobody looks at servers that only the old
 * one has. */
static void
test_vain_roster(void **state)
{
	struct publish_roster r = roster(0, 5, false);
	struct publish_roster less = roster(3, 2, false);
	struct publish_entry e[5] = { entry(MCSHM_UP), entry(MCSHM_UP) };
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct rlimit old, few;
	struct publish_event ev;

	(void)state;
	wait_progress(p, PUBLISH_DONE);
	for (uint32_t i = 0; i < 5; i++)
		say(p, i, i == 1 ? MCSHM_DOWN : i == 2 ? MCSHM_HELD : MCSHM_UP);
	WAIT(state_of(m, 4).verdict == MCSHM_UP);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	few = old;
	few.rlim_cur = 4096;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);

	assert_int_equal(publish_roster(p, &less, &about, e), 0);
	assert_int_not_equal(publish_progress(p), PUBLISH_DONE);
	publish_exchange(p);
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_FAILED);
	assert_true(ev.vain);
	wait_progress(p, PUBLISH_VAIN);
	WAIT(spare_word(MCSHM_SPARE_VAIN) != 0);
	assert_int_equal(state_of(m, 0).verdict, MCSHM_UNKNOWN);
	assert_int_equal(state_of(m, 0).usable, 1);
	assert_int_equal(state_of(m, 1).verdict, MCSHM_DOWN);
	assert_int_equal(state_of(m, 2).verdict, MCSHM_DOWN);
	assert_int_equal(state_of(m, 3).verdict, MCSHM_UP);
	assert_int_equal(status(m).usable, 3);

	/* The next one says so again. */
	assert_int_equal(publish_roster(p, &less, &about, e), 0);
	publish_exchange(p);
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_FAILED);
	wait_progress(p, PUBLISH_VAIN);

	/* Back to what readers have: nothing waits any more. */
	for (uint32_t i = 0; i < 5; i++)
		e[i] = entry(MCSHM_UP);
	assert_int_equal(publish_roster(p, &r, &about, e), 0);
	publish_exchange(p);
	wait_progress(p, PUBLISH_DONE);
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_WORKS);
	WAIT(spare_word(MCSHM_SPARE_VAIN) == 0 && status(m).usable == 5);
	assert_int_equal(spare_word(MCSHM_SPARE_VAIN), 0);
	assert_int_equal(state_of(m, 0).verdict, MCSHM_UP);

	/* In vain once more, and then there is room. */
	assert_int_equal(publish_roster(p, &less, &about, e), 0);
	publish_exchange(p);
	assert_int_equal(event(p).kind, PUBLISH_FAILED);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	wait_progress(p, PUBLISH_DONE);
	assert_int_equal(event(p).kind, PUBLISH_EXCHANGED);
	assert_int_equal(event(p).kind, PUBLISH_WORKS);
	assert_int_equal(status(m).servers, 2);
	WAIT(spare_word(MCSHM_SPARE_VAIN) == 0);
	assert_int_equal(spare_word(MCSHM_SPARE_VAIN), 0);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
	servers_free(&less.servers);
}

static void
test_no_room(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish_roster more = roster(0, 300, false);
	struct publish_entry *e = calloc(300, sizeof *e);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct rlimit old, few;
	struct publish_event ev;

	(void)state;
	assert_non_null(e);
	for (uint32_t i = 0; i < 300; i++)
		e[i] = entry(MCSHM_UP);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	few = old;
	few.rlim_cur = 500000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &few), 0);
	assert_int_equal(publish_roster(p, &more, &about, e), 0);
	publish_exchange(p);
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_FAILED);
	assert_int_equal(ev.error, EFBIG);
	assert_int_equal(files(), 1);
	/* The old one goes on: a verdict of a server that stayed. */
	say(p, 2, MCSHM_DOWN);
	WAIT(state_of(m, 2).verdict == MCSHM_DOWN);
	assert_int_equal(state_of(m, 2).verdict, MCSHM_DOWN);
	assert_int_equal(status(m).servers, 3);
	/* Room again: by itself. */
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	publish_beat(p, now());
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_EXCHANGED);
	ev = event(p);
	assert_int_equal(ev.kind, PUBLISH_WORKS);
	assert_int_equal(status(m).servers, 300);
	assert_int_equal(state_of(m, 2).verdict, MCSHM_DOWN);
	mcshm_close(m);
	publish_close(p);
	free(e);
	servers_free(&r.servers);
	servers_free(&more.servers);
}

static void
test_remove_and_abandon(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct mcshm_choice c;

	(void)state;
	publish_remove(p);
	assert_int_equal(files(), 0);
	assert_int_equal(mcshm_pick(m, "k", 1, &c), 0);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(status(m).superseded, 1);
	mcshm_close(m);

	publish_abandon(open_ok(&r));		/* made here: goes */
	assert_int_equal(files(), 0);
	publish_close(start_ok(&r));
	publish_abandon(open_ok(&r));		/* found: stays */
	assert_int_equal(files(), 1);
	assert_int_equal(header().clean_exit, 1);
	servers_free(&r.servers);
}

/* A file that clients refuse is no use to anybody. */
static void
test_mode_is_mended(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct stat st;

	(void)state;
	publish_close(start_ok(&r));
	assert_int_equal(chmod(path, 0666), 0);
	publish_close(start_ok(&r));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	mcshm_close(reader());
	servers_free(&r.servers);
}

/* Also where every daemon is process 1. */
static void
test_epoch_counts_daemons(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish *p;
	struct mcshm_header h;

	(void)state;
	publish_close(start_ok(&r));
	h = header();
	assert_int_equal(h.epoch, 1);
	p = start_ok(&r);
	assert_int_equal(header().epoch, 2);
	assert_true(header().pid_start > h.pid_start);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_unknown_states_are_down(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct publish_entry e = entry(MCSHM_RECOVERING);

	(void)state;
	publish_set(p, 0, &e);
	e = entry(MCSHM_RECOVERING + 1);
	publish_set(p, 1, &e);
	publish_now(p);
	WAIT(status(m).usable == 1);
	publish_close(p);
	p = open_ok(&r);
	assert_int_equal(publish_left(p)->entry[0].verdict.state,
	    MCSHM_RECOVERING);
	assert_int_equal(publish_left(p)->entry[1].verdict.state, MCSHM_DOWN);
	publish_abandon(p);
	mcshm_close(m);
	servers_free(&r.servers);
}

static void
count_removed(void *arg, const char *where)
{
	unsigned *n = arg;

	assert_string_equal(where, path);
	++*n;
}

/* Pools that the ini has lost while nobody was there to notice. */
static void
test_clean(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	const char *const keep[] = { path };
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	unsigned n = 0;

	(void)state;
	assert_int_equal(publish_clean(dir, about.config, NULL, 0,
	    count_removed, &n), 0);		/* held */
	publish_close(p);
	assert_int_equal(publish_clean(dir, about.config, keep, 1,
	    count_removed, &n), 0);		/* still wanted */
	assert_int_equal(publish_clean(dir, "/etc/another.ini", NULL, 0,
	    count_removed, &n), 0);		/* not ours */
	assert_int_equal(files(), 1);
	assert_int_equal(publish_clean(dir, about.config, NULL, 0,
	    count_removed, &n), 1);
	assert_int_equal(n, 1);
	assert_int_equal(files(), 0);
	assert_true(status(m).generation & MCSHM_RETIRED);
	mcshm_close(m);
	servers_free(&r.servers);
}

/* What a foreign hand does to a section is gone after the next two news. */
static void
test_sections_are_scrubbed(void **state)
{
	const uint64_t garbage = UINT64_C(0x4242424242424242);
	struct publish_roster r = roster(0, 100, false);
	struct publish *p = start_ok(&r);
	struct publish_entry e = entry(MCSHM_UP);
	struct mcshm *m = reader();
	struct publish_time t = now();
	struct mcshm_header h;

	(void)state;
	say(p, 7, MCSHM_DOWN);
	WAIT(state_of(m, 7).verdict == MCSHM_DOWN);
	mcshm_close(m);
	h = header();
	for (unsigned i = 0; i < 2; i++)
		poke(h.section_off[i] + h.entries_off + 50 * 640 + 24,
		    &garbage, 8);
	for (unsigned i = 0; i < 2; i++) {
		publish_set(p, 3, &e);
		t.boot += SECOND;
		publish_beat(p, t);
		WAIT(header().generation == h.generation + 1 + i);
	}
	publish_close(p);
	p = open_ok(&r);
	assert_int_equal(publish_left(p)->entry[50].verdict.history, 0);
	assert_int_equal(publish_left(p)->entry[7].verdict.state, MCSHM_DOWN);
	/* The active one was whole. */
	assert_int_equal(header().generation, h.generation + 2);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_address_epoch(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct publish_entry e = entry(MCSHM_UP);
	uint64_t before;

	(void)state;
	e.addresses = 1;
	e.address[0] = (struct mcshm_address){ .kind = MCSHM_KIND_IPV4,
		.port = 1, .ip = { 127, 0, 0, 1 } };
	publish_set(p, 1, &e);
	publish_now(p);
	WAIT(state_of(m, 1).verdict == MCSHM_UP);
	before = status(m).roster;
	e.rtt_us = 5;
	publish_set(p, 1, &e);
	publish_now(p);
	WAIT(state_of(m, 1).rtt_us == 5);
	assert_int_equal(status(m).roster, before);
	e.address[0].ip[3] = 2;
	publish_set(p, 1, &e);
	publish_now(p);
	WAIT(status(m).roster != before);
	assert_int_equal(status(m).roster, before + 1);
	assert_int_equal(mcshm_refresh(m), 1);
	/* Others beside the one in use are no client's. */
	before = status(m).roster;
	e.addresses = 2;
	e.address[1] = e.address[0];
	e.address[1].ip[3] = 3;
	e.rtt_us = 6;
	publish_set(p, 1, &e);
	publish_now(p);
	WAIT(state_of(m, 1).rtt_us == 6);
	assert_int_equal(status(m).roster, before);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

static void
test_admin_bits(void **state)
{
	struct publish_roster r = roster(0, 4, false);
	struct publish_entry e = entry(MCSHM_UP);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();

	(void)state;
	e.admin = MCSHM_DRAIN;
	publish_set(p, 0, &e);
	e.admin = MCSHM_MAINT;
	publish_set(p, 1, &e);
	e = entry(MCSHM_HELD);
	e.admin = MCSHM_DRAIN;
	publish_set(p, 2, &e);
	publish_now(p);
	WAIT(status(m).usable == 1);
	assert_int_equal(status(m).usable, 1);
	assert_int_equal(state_of(m, 0).verdict, MCSHM_UP);
	assert_int_equal(state_of(m, 0).usable, 0);
	assert_int_equal(state_of(m, 2).held, 0);
	assert_int_equal(state_of(m, 3).usable, 1);
	mcshm_close(m);
	publish_close(p);
	servers_free(&r.servers);
}

struct looks {
	struct mcshm *m;
	_Atomic bool over;
	uint32_t servers;
	uint64_t looks, open, wrong;
};

/* All are DOWN: usable are all with the flag, and none without. */
static void *
look_for_half(void *arg)
{
	struct looks *l = arg;

	while (!atomic_load(&l->over)) {
		struct mcshm_status st;

		if (mcshm_snapshot(l->m, NULL, 0, 0, &st, sizeof st) < 0)
			continue;
		l->looks++;
		l->open += st.fail_open;
		l->wrong += st.usable != (st.fail_open ? l->servers : 0);
	}
	return NULL;
}

static void
test_failing_open_is_one_generation(void **state)
{
	struct publish_roster r = roster(0, 200, false);
	struct publish *p = start_ok(&r);
	struct looks l = { .m = reader(), .servers = 200 };
	uint64_t open[4] = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX };
	const uint64_t shut[4] = { 0 };
	const struct publish_entry e = entry(MCSHM_DOWN);
	pthread_t thread;

	(void)state;
	for (uint32_t i = 0; i < 200; i++)
		publish_set(p, i, &e);
	publish_now(p);
	WAIT(status(l.m).usable == 0);
	assert_int_equal(pthread_create(&thread, NULL, look_for_half, &l), 0);
	for (int i = 0; i < 2000; i++) {
		publish_now(p);		/* the thread is at it already */
		if (i % 2 == 0)
			publish_fail_open(p, MCSHM_SECTION_FAIL_OPEN, open);
		else
			publish_fail_open(p, 0, shut);
		if (i % 50 == 0)
			nap();
	}
	publish_fail_open(p, MCSHM_SECTION_FAIL_OPEN, open);
	WAIT(status(l.m).fail_open);
	nap();
	atomic_store(&l.over, true);
	pthread_join(thread, NULL);
	assert_true(l.looks > 0);
	assert_int_equal(l.wrong, 0);

	/* One in the middle is not. */
	open[1] &= ~UINT64_C(4);
	publish_fail_open(p, MCSHM_SECTION_FAIL_OPEN, open);
	WAIT(status(l.m).usable == 199);
	assert_int_equal(state_of(l.m, 66).usable, 0);
	assert_int_equal(state_of(l.m, 66).verdict, MCSHM_DOWN);
	assert_int_equal(state_of(l.m, 65).usable, 1);
	mcshm_close(l.m);
	publish_close(p);
	servers_free(&r.servers);
}

/* What of an outage is known goes on where a daemon takes over. */
static void
test_outages_are_left(void **state)
{
	struct publish_roster r = roster(0, 3, false);
	struct publish *p = start_ok(&r);
	struct mcshm *m = reader();
	struct publish_entry e = entry(MCSHM_DOWN);
	const struct publish_left *left;
	const uint64_t open[1] = { 2 };

	(void)state;
	e.verdict.outage_since = 11;
	e.failed_began = 13;
	e.gone_began = 10;
	e.unseen_since = 15;
	e.at_since = 16;
	e.came_from = (struct mcshm_address){ .port = 17 };
	e.verdict.flapped = 12;
	e.verdict.hold_until = 13;
	e.verdict.flaps = 14;
	e.verdict.proven = true;
	publish_set(p, 1, &e);
	e.verdict.proven = false;
	e.verdict.newcomer = true;
	e.verdict.state = MCSHM_UP;
	publish_set(p, 2, &e);
	publish_awareness(p, 2);
	publish_fail_open(p, MCSHM_SECTION_FAIL_OPEN, open);
	WAIT(status(m).fail_open);
	assert_int_equal(status(m).usable, 3);
	mcshm_close(m);
	publish_close(p);

	p = open_ok(&r);
	left = publish_left(p);
	assert_int_equal(left->flags, MCSHM_SECTION_FAIL_OPEN);
	assert_int_equal(left->entry[1].verdict.outage_since, 11);
	assert_int_equal(left->entry[1].failed_began, 13);
	assert_int_equal(left->entry[1].gone_began, 10);
	assert_int_equal(left->entry[1].unseen_since, 15);
	assert_int_equal(left->entry[1].at_since, 16);
	assert_int_equal(left->entry[1].came_from.port, 17);
	assert_int_equal(left->entry[1].verdict.flapped, 12);
	assert_int_equal(left->entry[1].verdict.hold_until, 13);
	assert_int_equal(left->entry[1].verdict.flaps, 14);
	assert_int_equal(left->entry[0].verdict.flaps, 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(left->entry[i].verdict.proven, i == 1);
		assert_int_equal(left->entry[i].verdict.newcomer, i == 2);
	}
	/* That is for the new one to say. */
	assert_false(left->entry[1].open);
	publish_abandon(p);
	servers_free(&r.servers);
}

static void
test_awareness(void **state)
{
	struct publish_roster r = roster(0, 70, false);
	struct publish *p = start_ok(&r);

	(void)state;
	assert_int_equal(spare_word(MCSHM_SPARE_AWARENESS), 0);
	publish_awareness(p, 3);
	beat_late(p);
	WAIT(spare_word(MCSHM_SPARE_AWARENESS) == 3);
	assert_int_equal(spare_word(MCSHM_SPARE_AWARENESS), 3);
	publish_close(p);
	servers_free(&r.servers);
}

/* Publishing from the loop as fast as it can while rosters change. */
static void
test_hurry(void **state)
{
	struct publish_roster a = roster(0, 50, false);
	struct publish_roster b = roster(10, 70, true);
	struct publish *p = start_ok(&a);
	struct mcshm *m = reader();
	struct publish_entry e[70];
	struct publish_event ev;
	unsigned exchanged = 0;
	uint64_t g = 0;

	(void)state;
	for (uint32_t i = 0; i < 70; i++)
		e[i] = entry(MCSHM_UP);
	for (unsigned i = 0; i < 200; i++) {
		struct publish_roster *r = i & 1 ? &a : &b;

		assert_int_equal(publish_roster(p, r, &about, e), 0);
		for (uint32_t k = 0; k < r->servers.n; k++)
			say(p, k, MCSHM_UP);
		publish_exchange(p);
		publish_beat(p, now());
		if (i % 10 >= 8) {
			WAIT(status(m).servers == r->servers.n);
			assert_int_equal(status(m).servers, r->servers.n);
		}
		while (publish_event(p, &ev))
			exchanged += ev.kind == PUBLISH_EXCHANGED;
		assert_true(status(m).generation >= g);
		g = status(m).generation;
	}
	assert_true(exchanged > 0);
	WAIT(status(m).servers == 50);
	assert_int_equal(status(m).servers, 50);
	mcshm_close(m);
	publish_close(p);
	assert_int_equal(files(), 1);
	servers_free(&a.servers);
	servers_free(&b.servers);
}

/* Schemes ----------------------------------------------------------------- */

/* The loop's heartbeat waits while keys are counted. */
static void
test_sample_is_bounded(void **state)
{
	static const uint32_t servers[] = { 1, 10, 100, 1000, 5000, 16384 };
	uint32_t last = UINT32_MAX;

	(void)state;
	for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
		struct mcshm_header h = { .servers = servers[i],
			.scheme = MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS };
		const uint32_t keys = image_sample_keys(&h);

		assert_true(keys >= 400 && keys <= 50000 && keys <= last);
		assert_true((uint64_t)keys * servers[i] <= 2 << 22);
		h.scheme = MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES;
		assert_int_equal(image_sample_keys(&h), keys);
		h.scheme = MCSHM_SCHEME_LIBMEMCACHED_KETAMA;
		assert_int_equal(image_sample_keys(&h), 50000);
		last = keys;
	}
}

/* Publish roster r in the place of the last one; what is told of it. */
static struct publish_event
event_of(struct publish *p, const struct publish_roster *r)
{
	struct publish_entry e[7];

	for (uint32_t i = 0; i < 7; i++)
		e[i] = entry(MCSHM_UP);
	assert_int_equal(publish_roster(p, r, &about, e), 0);
	publish_exchange(p);
	return event(p);
}

/* An event says on which terms keys were placed, and are. */
static void
test_event_has_terms(void **state)
{
	uint16_t each[] = { 0, 1, 2, 3, 4, 5, 6 }, map[] = { 1, 0, 2, 3 };
	struct publish_roster r = roster(0, 7, false);
	struct publish *p = start_ok(&r);
	struct publish_event ev;

	(void)state;
	r.set = (struct scheme_setting){
		MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET, MCSHM_HASH_MD5,
		MCSHM_HASH_MD5, 0, 0 };
	r.dead = MCSHM_DEAD_MISS;
	ev = event_of(p, &r);
	assert_int_equal(ev.kind, PUBLISH_EXCHANGED);
	assert_int_equal(ev.was.set.scheme, MCSHM_SCHEME_MAGLEV);
	assert_int_equal(ev.is.set.scheme, r.set.scheme);
	assert_int_equal(ev.was.set.hash, MCSHM_HASH_XXH3);
	assert_int_equal(ev.is.set.hash, MCSHM_HASH_MD5);
	assert_int_equal(ev.was.dead, MCSHM_DEAD_REHASH);
	assert_int_equal(ev.is.dead, MCSHM_DEAD_MISS);
	/* A map that says what is so without one is none. */
	r.map = each;
	r.maps = 7;
	r.failover_ttl = 60;
	ev = event_of(p, &r);
	assert_true(ev.was.map == 0 && ev.is.map == 0);
	assert_int_equal(ev.was.failover_ttl, 0);
	assert_int_equal(ev.is.failover_ttl, 60);
	r.map = map;
	r.maps = 4;
	ev = event_of(p, &r);
	assert_true(ev.was.map == 0 && ev.is.map != 0);
	map[3] = 6;
	assert_true(event_of(p, &r).is.map != ev.is.map);
	publish_close(p);
	servers_free(&r.servers);
}

static const uint16_t site_map[] = { 0, 1, 2, 3, 3, 2, 1, 0 };

/* Seven servers, of some weight; where there can be one, with a map. */
static struct publish_roster
roster_of(const struct scheme_setting *set)
{
	struct publish_roster r = roster(0, 7, false);

	r.set = *set;
	for (uint32_t i = 0; i < 7; i++)
		r.servers.v[i].weight = 1 + i % 3;
	if (!scheme_takes_map(set->scheme))
		return r;
	r.map = malloc(sizeof site_map);
	assert_non_null(r.map);
	memcpy(r.map, site_map, sizeof site_map);
	r.maps = sizeof site_map / sizeof *site_map;
	return r;
}

/* The same servers, as mkfile wants them. */
static void
make_same(struct mkfile *f, const struct publish_roster *r)
{
	struct mkfile_server v[7];

	for (uint32_t i = 0; i < 7; i++) {
		const struct server *s = &r->servers.v[i];

		v[i] = (struct mkfile_server){ s->name, s->address.host,
			s->address.kind, s->address.port, s->weight };
	}
	mkfile_make_as(f, &r->set, v, 7);
	memcpy(f->h->pool, r->pool, sizeof r->pool);
}

/* All that never changes, but who and when. */
static void
assert_same_file(const unsigned char *a, const unsigned char *b)
{
	const struct mcshm_header *h = (const void *)a;
	struct mcshm_header x = *h, y = *(const struct mcshm_header *)b;

	x.file_id[0] = y.file_id[0];
	x.file_id[1] = y.file_id[1];
	x.roster_id = y.roster_id;
	x.created = y.created;
	/* Sections may be laid out as one likes. */
	x.section_size = y.section_size;
	x.spare_off = y.spare_off;
	x.entries_off = y.entries_off;
	assert_memory_equal((char *)&x + MCSHM_SUM_A_OFF,
	    (char *)&y + MCSHM_SUM_A_OFF, MCSHM_SUM_A_LEN);
	assert_memory_equal((char *)&x + MCSHM_SUM_B_OFF,
	    (char *)&y + MCSHM_SUM_B_OFF, MCSHM_SUM_B_LEN);
	assert_memory_equal(a + h->roster_off, b + h->roster_off,
	    h->section_off[0] - h->roster_off);
}

/* The daemon's file is the one that mkfile, which knows nothing of the daemon's
 * code, makes of the same roster. */
static void
test_two_writers(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct publish_roster r = roster_of(&set);
		struct mkfile f;
		unsigned char *daemon;
		FILE *in;

		free(r.map);		/* mkfile makes none */
		r.map = NULL;
		r.maps = 0;
		publish_close(start_ok(&r));
		make_same(&f, &r);
		daemon = malloc(f.size);
		in = fopen(path, "re");
		assert_non_null(in);
		assert_int_equal(fread(daemon, 1, f.size, in), f.size);
		assert_int_equal(fgetc(in), EOF);
		fclose(in);
		assert_same_file(daemon, f.p);
		free(daemon);
		mkfile_free(&f);
		publish_roster_free(&r);
		unlink(path);
	}
}

/* Is the file that is there the one for this roster? */
static bool
is_kept(struct publish_roster *r)
{
	struct publish *p = open_ok(r);
	const bool kept = publish_left(p)->kept;

	publish_close(p);
	return kept;
}

static void
check_kept(const struct publish_roster *r)
{
	struct publish_roster other;

#define CHANGED(change) do {						\
	assert_int_equal(publish_roster_copy(&other, r), 0);		\
	change;								\
	assert_false(is_kept(&other));					\
	publish_roster_free(&other);					\
} while (0)
	assert_int_equal(publish_roster_copy(&other, r), 0);
	assert_true(is_kept(&other));
	publish_roster_free(&other);
	CHANGED(other.dead = MCSHM_DEAD_MISS);
	CHANGED(other.failover_ttl = 60);
	CHANGED(other.set.hash_flags ^= MCSHM_HASH_UNSIGNED);
	if (scheme_takes_hash_tag(r->set.scheme))
		CHANGED(other.set.hash_tag = '[' | ']' << 8);
	if (r->maps > 0) {
		CHANGED(other.map[3] = 4);
		CHANGED(other.maps = 4);
		CHANGED(other.maps = 0);
	}
	if (scheme_has_weights(r->set.scheme) &&
	    !scheme_takes_map(r->set.scheme))
		CHANGED((assert_int_equal(servers_own(&other.servers), 0),
		    other.servers.v[2].weight = 40));
	assert_int_equal(publish_roster_copy(&other, r), 0);
	assert_true(is_kept(&other));
	publish_roster_free(&other);
#undef CHANGED
}

static void
test_attach_by_scheme(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct publish_roster r = roster_of(&set);

		publish_close(start_ok(&r));
		check_kept(&r);
		publish_roster_free(&r);
		unlink(path);
	}
}

/* A file that was removed is made anew from what is left of it: its mapping. */
static void
test_made_anew_by_scheme(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++) {
		struct publish_roster r = roster_of(&set);
		struct mcshm_header before, after;
		struct publish *p;

		r.dead = MCSHM_DEAD_MISS;
		r.failover_ttl = 60;
		p = start_ok(&r);
		before = header();
		assert_int_equal(unlink(path), 0);
		publish_beat(p, now());
		assert_int_equal(event(p).kind, PUBLISH_REMADE);
		after = header();
		assert_true(after.roster_id != before.roster_id);
		assert_int_equal(after.dead, MCSHM_DEAD_MISS);
		assert_int_equal(after.failover_ttl, 60);
		assert_memory_equal(&after.stale_after, &before.stale_after,
		    offsetof(struct mcshm_header, created) -
		    offsetof(struct mcshm_header, stale_after));
		publish_close(p);
		assert_true(is_kept(&r));
		publish_roster_free(&r);
		unlink(path);
	}
}

/* A client of the file chooses by the map. */
static void
test_map(void **state)
{
	const struct scheme_setting set =
	    mkplace_setting(MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET);
	struct publish_roster r = roster_of(&set);
	struct mcshm_choice c;
	struct publish *p;
	struct mcshm *m;

	(void)state;
	p = start_ok(&r);
	m = reader();
	assert_int_equal(header().buckets, 8);
	for (unsigned i = 0; i < 1000; i++) {
		const struct scheme_key k = scheme_key(&set, &i, sizeof i);

		assert_int_equal(mcshm_pick(m, &i, sizeof i, &c), 0);
		assert_int_equal(c.slot, site_map[k.h % 8]);
	}
	mcshm_close(m);
	publish_close(p);
	publish_roster_free(&r);
}

int
main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_create),
		T(test_verdict_at_once_counters_with_the_beat),
		T(test_section_is_synced_before_the_flip),
		T(test_beat_rewrites_no_section),
		T(test_restart_keeps_inode_and_verdicts),
		T(test_exchange), T(test_report),
		T(test_equal_roster_keeps_the_file),
		T(test_restart_with_another_roster),
		T(test_second_daemon),
		T(test_started_together),
		T(test_created_together),
		T(test_removed_and_made_anew),
		T(test_directory_is_a_file),
		T(test_foreign_files),
		T(test_cut_files),
		T(test_file_of_another_user),
		T(test_left_with_another_roster),
		T(test_damage),
		T(test_damaged_sections),
		T(test_hostile_roster),
		T(test_tables_of_another_scheme),
		T(test_retired_is_never_attached),
		T(test_another_boot),
		T(test_leftovers_are_swept),
		T(test_vain_roster),
		T(test_no_room),
		T(test_remove_and_abandon),
		T(test_mode_is_mended),
		T(test_epoch_counts_daemons),
		T(test_unknown_states_are_down),
		T(test_clean),
		T(test_sections_are_scrubbed),
		T(test_address_epoch),
		T(test_admin_bits),
		T(test_failing_open_is_one_generation),
		T(test_outages_are_left),
		T(test_awareness),
		T(test_hurry),
		T(test_sample_is_bounded),
		T(test_event_has_terms),
		T(test_two_writers),
		T(test_attach_by_scheme),
		T(test_made_anew_by_scheme),
		T(test_map),
	};

	if (argc > 1)			/* one test, by its name */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}
