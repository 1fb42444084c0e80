/*
 * test_run.c - what a caller finds out by itself: suspect marks, reports,
 * resubmitting; and candidates.
 *
 * Files are mkfile's; time is a variable; the caller's function is a script.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mkfile.h"
#include "reader.h"

#define SECOND UINT64_C(1000000000)
#define SERVERS 8u

static char dir[64], path[96];
static struct mkfile file;
static struct mcshm *m;
static uint64_t now;

static uint64_t
fake_clock(void)
{
	return now;
}

static void
start(uint32_t n)
{
	mkfile_make(&file, MCSHM_SCHEME_MAGLEV, NULL, n);
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_OK);
	m->clock = fake_clock;
}

static int
set_up(void **state)
{
	(void)state;
	strcpy(dir, "/dev/shm/test_run.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/web.mcshm", dir);
	setenv("MCSHM_DIR", dir, 1);
	return 0;
}

static int
tear_down(void **state)
{
	char command[100];

	(void)state;
	mcshm_close(m);
	m = NULL;
	mkfile_free(&file);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command);
}

static void
later(uint64_t ns)
{
	now += ns;
	mkfile_beat(&file, now);
}

static struct mcshm_choice
pick(const char *key)
{
	struct mcshm_choice c;

	assert_int_equal(mcshm_pick(m, key, strlen(key), &c), MCSHM_OK);
	return c;
}

static void
failed(const struct mcshm_choice *c)
{
	assert_int_equal(mcshm_failed(m, c), MCSHM_OK);
}

/* Suspects ---------------------------------------------------------------- */

static void
test_suspect_is_passed_over(void **state)
{
	struct mcshm_choice home, c;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	assert_int_equal(home.slot, home.home);
	failed(&home);
	c = pick("AAA");
	assert_int_equal(c.home, home.home);
	assert_int_not_equal(c.slot, home.slot);
	assert_true(c.tries > 0);
	for (int i = 0; i < 1000; i++) {
		char key[16];
		struct mcshm_choice one;

		snprintf(key, sizeof key, "k%d", i);
		one = pick(key);
		assert_int_not_equal(one.slot, home.slot);
		if (one.home != home.slot)
			assert_int_equal(one.slot, one.home);
	}
}

static void
test_suspect_for_a_time(void **state)
{
	struct mcshm_choice home;

	(void)state;
	start(SERVERS);
	assert_int_equal(mcshm_ctl(m, MCSHM_SUSPECT_TIME, 3 * SECOND), 0);
	home = pick("AAA");
	failed(&home);
	later(3 * SECOND - 1);
	assert_int_not_equal(pick("AAA").slot, home.slot);
	later(1);
	assert_int_equal(pick("AAA").slot, home.slot);
	assert_false(suspect_any(m));
}

static void
test_suspect_until_a_good_probe(void **state)
{
	struct mcshm_choice home;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	failed(&home);
	later(SECOND);
	/* It began before: says nothing. */
	mkfile_entry(&file, home.slot)->good_began = now - SECOND;
	mkfile_publish(&file);
	assert_int_not_equal(pick("AAA").slot, home.slot);
	mkfile_entry(&file, home.slot)->good_began = now - SECOND + 1;
	mkfile_publish(&file);
	assert_int_equal(pick("AAA").slot, home.slot);
	assert_false(suspect_any(m));
}

static void
test_all_suspect_is_none(void **state)
{
	struct mcshm_choice c[SERVERS], home;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, SERVERS), SERVERS);
	for (uint32_t i = 0; i < SERVERS; i++) {
		failed(&c[i]);
		if (i + 1 < SERVERS)
			assert_int_equal(pick("AAA").slot, c[i + 1].slot);
	}
	assert_int_equal(pick("AAA").slot, home.slot);
	assert_int_equal(pick("AAA").tries, 0);
}

static void
test_suspect_and_held(void **state)
{
	struct mcshm_choice home, c;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	failed(&home);
	mkfile_set(&file, home.slot, MCSHM_HELD, MCSHM_READY);
	mkfile_publish(&file);
	assert_int_equal(mcshm_pick(m, "AAA", 3, &c), MCSHM_EHELD);
	assert_int_equal(c.slot, home.slot);
}

static void
test_suspect_and_policy(void **state)
{
	struct mcshm_choice home, c;

	(void)state;
	mkfile_make(&file, MCSHM_SCHEME_MAGLEV, NULL, SERVERS);
	file.h->dead = MCSHM_DEAD_MISS;
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_OK);
	m->clock = fake_clock;
	home = pick("AAA");
	failed(&home);
	assert_int_equal(mcshm_pick(m, "AAA", 3, &c), MCSHM_EMISS);
	assert_int_equal(c.slot, home.slot);
}

static void
test_no_suspects(void **state)
{
	struct mcshm_choice home;

	(void)state;
	start(SERVERS);
	assert_int_equal(mcshm_ctl(m, MCSHM_SUSPECT_TIME, 0), 0);
	home = pick("AAA");
	failed(&home);
	assert_int_equal(pick("AAA").slot, home.slot);
}

/* Marks are of a roster: in another one a slot is another server. */
static void
test_new_roster(void **state)
{
	struct mcshm_choice home, old;
	struct mkfile next;

	(void)state;
	start(SERVERS);
	home = old = pick("AAA");
	failed(&home);
	mkfile_make(&next, MCSHM_SCHEME_MAGLEV, NULL, SERVERS + 1);
	mkfile_beat(&next, now);
	mkfile_replace(&next, &file, path);
	file = next;
	later(SECOND);
	home = pick("AAA");
	assert_int_equal(home.slot, home.home);
	assert_int_equal(mcshm_failed(m, &old), MCSHM_EROSTER);
	assert_int_equal(pick("AAA").slot, home.slot);
	failed(&home);
	assert_int_not_equal(pick("AAA").slot, home.slot);
}

static void
test_child_inherits(void **state)
{
	struct mcshm_choice home;
	pid_t pid;
	int status;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	failed(&home);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		struct mcshm_choice c;

		_exit(mcshm_pick(m, "AAA", 3, &c) != MCSHM_OK ||
		    c.slot == home.slot);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void *
suspicious_thread(void *arg)
{
	struct mcshm_choice c;
	char key[16];

	(void)arg;
	for (int i = 0; i < 3000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		if (mcshm_pick(m, key, strlen(key), &c) == MCSHM_OK &&
		    i % 50 == 0)
			mcshm_failed(m, &c);
	}
	return NULL;
}

/* Marking, pruning and filling the cache at once; TSan watches. */
static void
test_threads(void **state)
{
	pthread_t t[4];
	struct mcshm_choice home;

	(void)state;
	start(SERVERS);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL,
		    suspicious_thread, NULL), 0);
	for (int i = 0; i < 200; i++)
		mkfile_publish(&file);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	later(11 * SECOND);
	home = pick("AAA");
	assert_int_equal(home.slot, home.home);
	assert_false(suspect_any(m));
	pick("AAA");
	failed(&home);
	assert_int_not_equal(pick("AAA").slot, home.slot);
}

/* Candidates -------------------------------------------------------------- */

static void
test_candidates_follow_picks(void **state)
{
	struct mcshm_choice c[SERVERS + 1], one;

	(void)state;
	start(SERVERS);
	for (int i = 0; i < 200; i++) {
		char key[16];
		const int len = snprintf(key, sizeof key, "k%d", i);

		assert_int_equal(mcshm_candidates(m, key, (size_t)len, c,
		    SERVERS + 1), SERVERS);
		for (uint32_t j = 0; j < SERVERS; j++) {
			one = pick(key);
			assert_int_equal(one.slot, c[j].slot);
			assert_int_equal(one.home, c[j].home);
			assert_int_equal(one.roster, c[j].roster);
			assert_int_equal(c[j].flags, 0);
			if (j + 1 == SERVERS)
				break;
			mkfile_set(&file, c[j].slot, MCSHM_DOWN, MCSHM_READY);
			mkfile_publish(&file);
		}
		mkfile_set_all(&file, MCSHM_UP, MCSHM_READY);
		mkfile_publish(&file);
	}
}

static void
test_candidates_classes(void **state)
{
	struct mcshm_choice all[SERVERS], c[SERVERS];

	(void)state;
	start(SERVERS);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, all, SERVERS), SERVERS);
	mkfile_set(&file, all[0].slot, MCSHM_UP, MCSHM_DRAIN);
	mkfile_set(&file, all[1].slot, MCSHM_HELD, MCSHM_READY);
	mkfile_set(&file, all[2].slot, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, all[3].slot, MCSHM_UP, MCSHM_MAINT);
	mkfile_publish(&file);
	failed(&all[4]);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, SERVERS), 6);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(c[i].slot, all[5 + i].slot);
		assert_int_equal(c[i].flags, 0);
	}
	assert_int_equal(c[3].slot, all[4].slot);
	assert_int_equal(c[3].flags, MCSHM_SUSPECT);
	assert_int_equal(c[4].slot, all[1].slot);
	assert_int_equal(c[4].flags, MCSHM_SILENT);
	assert_int_equal(c[5].slot, all[0].slot);
	assert_int_equal(c[5].flags, MCSHM_DRAINED);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 2), 2);
	assert_int_equal(c[1].slot, all[6].slot);
	mkfile_set_all(&file, MCSHM_DOWN, MCSHM_READY);
	mkfile_publish(&file);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 2), MCSHM_ENONE);
}

static void
test_candidates_stale(void **state)
{
	struct mcshm_choice c[SERVERS];

	(void)state;
	start(SERVERS);
	mkfile_set_all(&file, MCSHM_DOWN, MCSHM_READY);
	mkfile_publish(&file);
	now += file.h->stale_after + SECOND;
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, SERVERS), SERVERS);
	assert_int_equal(c[0].flags, MCSHM_BLIND);
	assert_int_equal(c[0].slot, c[0].home);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_candidates(NULL, "AAA", 3, c, 1), MCSHM_EINVAL);
}

static void
test_server_state(void **state)
{
	struct mcshm_choice home;
	struct mcshm_state st;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	mkfile_entry(&file, home.slot)->down_since = 5;
	mkfile_entry(&file, home.slot)->back_since = 7;
	mkfile_publish(&file);
	assert_int_equal(mcshm_server_state(m, &home, &st, sizeof st), 0);
	assert_int_equal(st.verdict, MCSHM_UP);
	assert_int_equal(st.down_since, 5);
	assert_int_equal(st.back_since, 7);
	home.roster += 1;
	assert_int_equal(mcshm_server_state(m, &home, &st, sizeof st),
	    MCSHM_EROSTER);
}

/* Resubmit ---------------------------------------------------------------- */

/* Which servers fail, and how; and who was asked. */
struct script {
	int result[SERVERS];		/* by slot */
	uint32_t asked[16], n;
	uint64_t takes, left;
};

static int
try(void *arg, const struct mcshm_choice *c, const struct mcshm_server *s,
    uint64_t timeout_ns)
{
	struct script *script = arg;

	assert_int_equal(c->slot, s->slot);
	assert_true(s->addrlen > 0);
	script->asked[script->n++ % 16] = c->slot;
	script->left = timeout_ns;
	later(script->takes);
	return script->result[c->slot];
}

static int
run(struct script *s, const char *key, unsigned flags)
{
	s->n = 0;
	return mcshm_run(m, key, strlen(key), flags, try, s, NULL);
}

/* The mail's second table: the error is returned, the next call is rehashed. */
static void
test_run_off(void **state)
{
	struct script s = { { 0 }, { 0 }, 0, 0, 0 };
	struct mcshm_choice home;

	(void)state;
	start(SERVERS);
	home = pick("BBB");
	s.result[home.slot] = MCSHM_TRY_UNSENT;
	assert_int_equal(run(&s, "BBB", MCSHM_REPEATABLE), MCSHM_EFAILED);
	assert_int_equal(s.n, 1);
	assert_int_equal(run(&s, "BBB", 0), 0);
	assert_int_equal(s.n, 1);
	assert_int_not_equal(s.asked[0], home.slot);
}

/* The third one: the same call goes on. */
static void
test_run_on(void **state)
{
	struct script s = { { 0 }, { 0 }, 0, 0, 0 };
	struct mcshm_choice all[SERVERS], c;

	(void)state;
	start(SERVERS);
	assert_int_equal(mcshm_candidates(m, "BBB", 3, all, SERVERS), SERVERS);
	assert_int_equal(mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1), 0);
	s.result[all[0].slot] = MCSHM_TRY_UNSENT;
	s.result[all[1].slot] = MCSHM_TRY_FAILED;
	s.result[all[2].slot] = 5;
	assert_int_equal(mcshm_run(m, "BBB", 3, MCSHM_REPEATABLE, try, &s, &c),
	    5);
	assert_int_equal(s.n, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(s.asked[i], all[i].slot);
	assert_int_equal(c.slot, all[2].slot);
}

/* What may not be repeated is not, once bytes were sent. */
static void
test_run_once(void **state)
{
	struct script s = { { 0 }, { 0 }, 0, 0, 0 };
	struct mcshm_choice all[SERVERS];

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	assert_int_equal(mcshm_candidates(m, "BBB", 3, all, SERVERS), SERVERS);
	s.result[all[0].slot] = MCSHM_TRY_UNSENT;
	s.result[all[1].slot] = MCSHM_TRY_FAILED;
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, 2);
}

static void
test_run_bounds(void **state)
{
	struct script s = { { 0 }, { 0 }, 0, 0, 0 };

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	for (uint32_t i = 0; i < SERVERS; i++)
		s.result[i] = MCSHM_TRY_UNSENT;
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, 3);		/* the default */
	later(11 * SECOND);
	mcshm_ctl(m, MCSHM_RESUBMIT_MAX, 16);
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, SERVERS);		/* all, and each once */
	for (uint32_t i = 0; i < s.n; i++)
		for (uint32_t j = 0; j < i; j++)
			assert_int_not_equal(s.asked[i], s.asked[j]);
	/* All are suspect now: the same again. */
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, SERVERS);
	later(11 * SECOND);
	mcshm_ctl(m, MCSHM_RESUBMIT_DEADLINE, 2 * SECOND);
	s.takes = SECOND;
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, 2);
	assert_int_equal(s.left, SECOND);
}

static void
test_run_policies(void **state)
{
	struct script s = { { 0 }, { 0 }, 0, 0, 0 };
	struct mcshm_choice c, home;

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	home = pick("BBB");
	s.result[home.slot] = MCSHM_TRY_OWN - 7;
	assert_int_equal(run(&s, "BBB", MCSHM_REPEATABLE), MCSHM_TRY_OWN - 7);
	assert_int_equal(s.n, 1);
	assert_false(suspect_any(m));
	mkfile_set(&file, home.slot, MCSHM_HELD, MCSHM_READY);
	mkfile_publish(&file);
	assert_int_equal(mcshm_run(m, "BBB", 3, 0, try, &s, &c), MCSHM_EHELD);
	assert_int_equal(c.slot, home.slot);
	mkfile_set_all(&file, MCSHM_DOWN, MCSHM_READY);
	mkfile_publish(&file);
	assert_int_equal(run(&s, "BBB", 0), MCSHM_ENONE);
	assert_int_equal(s.n, 0);
}

static void
test_ctl(void **state)
{
	(void)state;
	start(SERVERS);
	assert_int_equal(mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 2),
	    MCSHM_EINVAL);
	assert_int_equal(mcshm_ctl(m, MCSHM_RESUBMIT_MAX, 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_ctl(m, MCSHM_RESUBMIT_MAX, 17), MCSHM_EINVAL);
	assert_int_equal(mcshm_ctl(m, MCSHM_RESUBMIT_DEADLINE, 0),
	    MCSHM_EINVAL);
	assert_int_equal(mcshm_ctl(m, 99, 1), MCSHM_EINVAL);
	assert_int_equal(mcshm_ctl(NULL, MCSHM_REPORTS, 1), MCSHM_EINVAL);
}

/* Reports ----------------------------------------------------------------- */

/* The checker's end. */
static int
listen_for_reports(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX,
	    SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_not_equal(fd, -1);
	snprintf(to.sun_path, sizeof to.sun_path, "%s/r", dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
	snprintf((char *)file.map + offsetof(struct mcshm_header, report),
	    sizeof to.sun_path, "%s", to.sun_path);
	return fd;
}

static unsigned
reports(int fd, struct mcshm_report *last)
{
	unsigned n = 0;

	while (recv(fd, last, sizeof *last, 0) == sizeof *last)
		n++;
	return n;
}

static void
test_report(void **state)
{
	struct mcshm_choice home;
	struct mcshm_report r;
	int fd;

	(void)state;
	start(SERVERS);
	fd = listen_for_reports();
	home = pick("AAA");
	failed(&home);
	failed(&home);
	assert_int_equal(reports(fd, &r), 1);
	assert_int_equal(r.magic, MCSHM_REPORT_MAGIC);
	assert_int_equal(r.version, 1);
	assert_string_equal(r.pool, file.h->pool);
	assert_int_equal(r.ident_hash,
	    mkfile_roster(&file, home.slot)->ident_hash);
	later(SECOND / 4);
	failed(&home);
	assert_int_equal(reports(fd, &r), 1);
	mcshm_ctl(m, MCSHM_REPORTS, 0);
	later(SECOND);
	failed(&home);
	assert_int_equal(reports(fd, &r), 0);
	close(fd);
}

/* Where the checker's directory is mounted elsewhere. */
static void
test_report_beside_the_file(void **state)
{
	struct mcshm_choice home;
	struct mcshm_report r;
	int fd;

	(void)state;
	start(SERVERS);
	fd = listen_for_reports();
	strcpy((char *)file.map + offsetof(struct mcshm_header, report),
	    "/nowhere/at/all/r");
	home = pick("AAA");
	failed(&home);
	assert_int_equal(reports(fd, &r), 1);
	close(fd);
}

static void
test_reports_are_few(void **state)
{
	struct mcshm_report r;
	unsigned n = 0;
	int fd;

	(void)state;
	start(100);
	fd = listen_for_reports();
	for (uint32_t i = 0; i < 100; i++) {
		struct mcshm_choice c = pick("AAA");

		c.slot = i;
		failed(&c);
		n += reports(fd, &r);
	}
	assert_int_equal(n, 20);
	close(fd);
	/* Nobody there: nothing happens. */
	later(SECOND);
	{
		const struct mcshm_choice c = pick("AAA");

		failed(&c);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_suspect_is_passed_over),
		TEST(test_suspect_for_a_time),
		TEST(test_suspect_until_a_good_probe),
		TEST(test_all_suspect_is_none),
		TEST(test_suspect_and_held),
		TEST(test_suspect_and_policy),
		TEST(test_no_suspects),
		TEST(test_new_roster),
		TEST(test_child_inherits),
		TEST(test_threads),
		TEST(test_candidates_follow_picks),
		TEST(test_candidates_classes),
		TEST(test_candidates_stale),
		TEST(test_server_state),
		TEST(test_run_off),
		TEST(test_run_on),
		TEST(test_run_once),
		TEST(test_run_bounds),
		TEST(test_run_policies),
		TEST(test_ctl),
		TEST(test_report),
		TEST(test_report_beside_the_file),
		TEST(test_reports_are_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
