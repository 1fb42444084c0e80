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

/* Time that goes on from look to look, by too much for any deadline. */
static uint64_t
stepping_clock(void)
{
	return now += 7;
}

/* The writer is always faster. */
static uint64_t
restless_clock(void)
{
	mkfile_publish(&file);
	return now;
}

static void
start_as(uint32_t n, uint32_t dead, unsigned flags)
{
	mkfile_make(&file, MCSHM_SCHEME_MAGLEV, NULL, n);
	file.h->dead = dead;
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	assert_int_equal(mcshm_open(&m, "web", flags), MCSHM_OK);
	m->clock = fake_clock;
}

static void
start(uint32_t n)
{
	start_as(n, MCSHM_DEAD_REHASH, 0);
}

/* A new file with as many servers; it is met in a second. */
static void
replace(uint32_t n)
{
	struct mkfile next;

	mkfile_make(&next, MCSHM_SCHEME_MAGLEV, NULL, n);
	mkfile_beat(&next, now);
	mkfile_replace(&next, &file, path);
	file = next;
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
	start_as(SERVERS, MCSHM_DEAD_MISS, 0);
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

	(void)state;
	start(SERVERS);
	home = old = pick("AAA");
	failed(&home);
	assert_true(suspect_any(m));
	replace(SERVERS + 1);
	later(SECOND);
	home = pick("AAA");
	/* Nor do they cost picks anything there. */
	assert_false(suspect_any(m));
	assert_int_equal(home.slot, home.home);
	assert_int_equal(mcshm_failed(m, &old), MCSHM_EROSTER);
	assert_int_equal(pick("AAA").slot, home.slot);
	failed(&home);
	assert_int_not_equal(pick("AAA").slot, home.slot);
}

/* Nobody vouches for the file; what this process knows, it knows. */
static void
test_suspect_in_a_stale_file(void **state)
{
	struct mcshm_choice home, first, c;

	(void)state;
	start_as(SERVERS, MCSHM_DEAD_MISS, 0);
	assert_int_equal(mcshm_ctl(m, MCSHM_SUSPECT_TIME, 1000 * SECOND), 0);
	home = pick("AAA");
	failed(&home);
	assert_int_equal(mcshm_pick(m, "AAA", 3, &c), MCSHM_EMISS);
	now += file.h->stale_after + SECOND;
	c = pick("AAA");
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(c.home, home.slot);
	assert_int_not_equal(c.slot, home.slot);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, &first, 1), 1);
	assert_int_equal(first.slot, c.slot);
	assert_int_equal(first.flags, MCSHM_BLIND);
}

/* Another thread looked at the clock after us, and marked a server. */
static void
test_mark_from_the_future(void **state)
{
	struct mcshm_choice home;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	failed(&home);
	now--;
	assert_int_not_equal(pick("AAA").slot, home.slot);
	assert_true(suspect_any(m));
	now++;
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

/* What draining says of a server comes second to what is known of it. */
static void
test_candidates_draining(void **state)
{
	struct mcshm_choice all[SERVERS], c[SERVERS];

	(void)state;
	start(SERVERS);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, all, SERVERS), SERVERS);
	mkfile_set(&file, all[0].slot, MCSHM_DOWN, MCSHM_DRAIN);
	mkfile_set(&file, all[1].slot, MCSHM_HELD, MCSHM_DRAIN);
	mkfile_set(&file, all[2].slot, MCSHM_RECOVERING, MCSHM_DRAIN);
	mkfile_publish(&file);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, SERVERS),
	    SERVERS - 2);
	for (uint32_t i = 0; i < SERVERS - 3; i++) {
		assert_int_equal(c[i].slot, all[3 + i].slot);
		assert_int_equal(c[i].flags, 0);
	}
	assert_int_equal(c[SERVERS - 3].slot, all[1].slot);
	assert_int_equal(c[SERVERS - 3].flags, MCSHM_SILENT | MCSHM_DRAINED);
}

static void
test_candidates_writer_never_rests(void **state)
{
	struct mcshm_choice c[SERVERS];
	uint32_t seen = 0;

	(void)state;
	start(SERVERS);
	m->clock = restless_clock;
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, SERVERS), SERVERS);
	for (uint32_t i = 0; i < SERVERS; i++) {
		assert_int_equal(c[i].flags, MCSHM_BLIND);
		seen |= 1u << c[i].slot;
	}
	assert_int_equal(seen, (1u << SERVERS) - 1);
	m->clock = fake_clock;
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, SERVERS), SERVERS);
	assert_int_equal(c[0].flags, 0);
}

/* The stack as another caller may have left it. */
static __attribute__((noinline)) void
scribble(void)
{
	volatile unsigned char room[16384];

	for (size_t i = 0; i < sizeof room; i++)
		room[i] = 0xff;
}

/* A file that no longer says what it said when it was opened: no bit counts
 * that is in none of its words. */
static void
test_candidates_few_words(void **state)
{
	struct mcshm_choice c[200];

	(void)state;
	start(200);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 200), 200);
	((struct mcshm_header *)file.map)->words = 1;
	scribble();
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 200), 64);
	for (int i = 0; i < 64; i++)
		assert_true(c[i].slot < 64);
}

/* Bitmaps that contradict each other: each server once, in the first class that
 * it is of. */
static void
test_candidates_are_distinct(void **state)
{
	const uint64_t all = (1u << SERVERS) - 1;
	struct mcshm_choice c[4 * SERVERS], home;
	unsigned char *word;

	(void)state;
	start(SERVERS);
	home = pick("AAA");
	failed(&home);
	mkfile_set_all(&file, MCSHM_HELD, MCSHM_DRAIN);
	mkfile_publish(&file);
	word = file.map + file.h->section_off[file.h->generation & 1] +
	    file.h->bitmap_off;
	mcshm_store(word, all);			/* usable */
	mcshm_store(word + 8, all);		/* held */
	mcshm_store(word + 16, 0);		/* ready */
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 4 * SERVERS),
	    SERVERS);
	for (uint32_t i = 0; i < SERVERS; i++)
		assert_int_equal(c[i].flags,
		    i < SERVERS - 1 ? 0 : MCSHM_SUSPECT);
	assert_int_equal(c[SERVERS - 1].slot, home.slot);
	mcshm_store(word, all >> 1);
	assert_int_equal(mcshm_candidates(m, "AAA", 3, c, 4 * SERVERS),
	    SERVERS);
	assert_int_equal(c[SERVERS - 1].slot, SERVERS - 1);
	assert_int_equal(c[SERVERS - 1].flags, MCSHM_SILENT);
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
	/* While the request is on its way. */
	void (*meanwhile)(uint32_t slot);
};

static int
try(void *arg, const struct mcshm_choice *c, const struct mcshm_server *s,
    uint64_t timeout_ns)
{
	struct script *script = arg;

	assert_int_equal(c->slot, s->slot);
	assert_true(s->addrlen > 0);
	assert_true(timeout_ns > 0);
	script->asked[script->n++ % 16] = c->slot;
	script->left = timeout_ns;
	if (script->meanwhile != NULL)
		script->meanwhile(c->slot);
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
	struct script s = { .n = 0 };
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
	struct script s = { .n = 0 };
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
	struct script s = { .n = 0 };
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
	struct script s = { .n = 0 };

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
	struct script s = { .n = 0 };
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

/* What the function says of itself, to the number. */
static void
test_run_own_errors(void **state)
{
	static const struct { int said, got; } row[] = {
		{ MCSHM_TRY_OWN, MCSHM_TRY_OWN },
		{ MCSHM_TRY_OWN - 1, MCSHM_TRY_OWN - 1 },
		{ INT32_MIN, INT32_MIN },
		{ MCSHM_TRY_OWN + 1, MCSHM_EINVAL },
		{ MCSHM_TRY_FAILED - 1, MCSHM_EINVAL },
		{ MCSHM_TRY_UNSENT + 1, MCSHM_EINVAL },
		{ -1, MCSHM_EINVAL },
		{ INT32_MAX, INT32_MAX },
	};
	struct script s = { .n = 0 };

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		for (uint32_t slot = 0; slot < SERVERS; slot++)
			s.result[slot] = row[i].said;
		assert_int_equal(run(&s, "BBB", MCSHM_REPEATABLE), row[i].got);
		assert_int_equal(s.n, 1);
		assert_false(suspect_any(m));
	}
}

/* Where the pool lets no key move, a failure is an error: also where it leaves
 * no mark. */
static void
test_run_where_keys_stay(void **state)
{
	struct script s = { .n = 0 };

	(void)state;
	start_as(SERVERS, MCSHM_DEAD_MISS, 0);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	for (uint32_t i = 0; i < SERVERS; i++)
		s.result[i] = MCSHM_TRY_UNSENT;
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, 1);
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EMISS);
	assert_int_equal(s.n, 0);
	later(11 * SECOND);
	mcshm_ctl(m, MCSHM_SUSPECT_TIME, 0);
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, 1);
}

/* Who wants no marks goes on to the next server all the same. */
static void
test_run_without_marks(void **state)
{
	struct script s = { .n = 0 };
	struct mcshm_choice all[SERVERS];

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	mcshm_ctl(m, MCSHM_SUSPECT_TIME, 0);
	assert_int_equal(mcshm_candidates(m, "BBB", 3, all, SERVERS), SERVERS);
	s.result[all[0].slot] = s.result[all[1].slot] = MCSHM_TRY_UNSENT;
	for (int i = 0; i < 2; i++) {
		assert_int_equal(run(&s, "BBB", 0), 0);
		assert_int_equal(s.n, 3);
		for (int j = 0; j < 3; j++)
			assert_int_equal(s.asked[j], all[j].slot);
		assert_false(suspect_any(m));
	}
}

/* However time goes on between two looks at it; try() sees that no timeout is
 * 0. */
static void
test_run_deadline(void **state)
{
	struct script s = { .n = 0 };

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	mcshm_ctl(m, MCSHM_RESUBMIT_MAX, 16);
	for (uint32_t i = 0; i < SERVERS; i++)
		s.result[i] = MCSHM_TRY_UNSENT;
	m->clock = stepping_clock;
	for (uint64_t deadline = 1; deadline < 600; deadline++) {
		mcshm_ctl(m, MCSHM_RESUBMIT_DEADLINE, deadline);
		assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
		assert_in_range(s.n, 1, SERVERS);
		assert_true(s.left <= deadline);
		later(11 * SECOND);
	}
	assert_int_equal(s.n, SERVERS);
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
	snprintf(to.sun_path, sizeof to.sun_path, "%s/.report", dir);
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
	    "/nowhere/at/all/.report");
	home = pick("AAA");
	failed(&home);
	assert_int_equal(reports(fd, &r), 1);
	close(fd);
}

/* Whoever makes the file says where it goes; never into another's socket. */
static void
test_report_to_a_checker_only(void **state)
{
	static const char *const not[] = { "%s/log", "%s/.report/log",
		"%s/.repor", "%s/x.report" };
	char *said;
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct mcshm_report r;

	(void)state;
	start(SERVERS);
	said = (char *)file.map + offsetof(struct mcshm_header, report);
	snprintf(to.sun_path, sizeof to.sun_path, "%s/.report", dir);
	assert_int_equal(mkdir(to.sun_path, 0755), 0);
	for (size_t i = 0; i < sizeof not / sizeof *not; i++) {
		const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		struct mcshm_choice home;

		snprintf(to.sun_path, sizeof to.sun_path, not[i], dir);
		snprintf(said, sizeof to.sun_path, "%s", to.sun_path);
		assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to),
		    0);
		later(SECOND);
		home = pick("AAA");
		failed(&home);
		assert_int_equal(reports(fd, &r), 0);
		close(fd);
		unlink(to.sun_path);
	}
	snprintf(to.sun_path, sizeof to.sun_path, "%s/.report", dir);
	rmdir(to.sun_path);
}

/* An address of another server changes: the slots are the same servers. */
static void
readdress(uint32_t slot)
{
	mkfile_entry(&file, (slot + 1) % SERVERS)->address[0].ip[3]++;
	file.address_epoch++;
	mkfile_publish(&file);
}

static void
test_run_new_address(void **state)
{
	struct script s = { .meanwhile = readdress };
	struct mcshm_report r;
	uint32_t asked = 0;
	int fd;

	(void)state;
	start(SERVERS);
	fd = listen_for_reports();
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	mcshm_ctl(m, MCSHM_RESUBMIT_MAX, 16);
	for (uint32_t i = 0; i < SERVERS; i++)
		s.result[i] = MCSHM_TRY_UNSENT;
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, SERVERS);
	for (uint32_t i = 0; i < s.n; i++)
		asked |= 1u << s.asked[i];
	assert_int_equal(asked, (1u << SERVERS) - 1);
	assert_int_equal(reports(fd, &r), SERVERS);
	close(fd);
	assert_true(suspect_any(m));
}

/* The mark of a request that was overtaken by an address stands. */
static void
test_mark_under_a_new_address(void **state)
{
	struct mcshm_choice home, c;

	(void)state;
	start(SERVERS);
	home = pick("BBB");
	readdress(home.slot);
	c = pick("BBB");
	assert_int_not_equal(c.roster, home.roster);
	failed(&home);
	assert_int_not_equal(pick("BBB").slot, home.slot);
	readdress(home.slot);
	assert_int_not_equal(pick("BBB").slot, home.slot);
}

/* All of it is another one: what failed says nothing about who is there. */
static void
new_file(uint32_t slot)
{
	(void)slot;
	replace(SERVERS);
	later(SECOND);
}

static void
test_run_new_roster(void **state)
{
	struct script s = { .meanwhile = new_file };
	struct mcshm_choice home, c;

	(void)state;
	start(SERVERS);
	mcshm_ctl(m, MCSHM_RESUBMIT_ON_ERROR, 1);
	mcshm_ctl(m, MCSHM_RESUBMIT_DEADLINE, 60 * SECOND);
	home = pick("BBB");
	for (uint32_t i = 0; i < SERVERS; i++)
		s.result[i] = MCSHM_TRY_UNSENT;
	assert_int_equal(run(&s, "BBB", 0), MCSHM_EFAILED);
	assert_int_equal(s.n, 3);
	for (uint32_t i = 0; i < s.n; i++)
		assert_int_equal(s.asked[i], home.slot);
	c = pick("BBB");
	assert_int_equal(c.slot, home.slot);
	assert_int_not_equal(c.roster, home.roster);
	s.meanwhile = NULL;
	s.result[home.slot] = 5;
	assert_int_equal(mcshm_run(m, "BBB", 3, 0, try, &s, &c), 5);
	assert_int_equal(c.slot, home.slot);
}

/* Nothing but mcshm_refresh() goes on to another file. */
static void
test_nofollow(void **state)
{
	struct script s = { .n = 0 };
	struct mcshm_choice old, c, new;

	(void)state;
	start_as(SERVERS, MCSHM_DEAD_REHASH, MCSHM_NOFOLLOW);
	old = pick("BBB");
	replace(SERVERS);
	for (int i = 0; i < 2; i++) {
		later(SECOND);
		assert_int_equal(mcshm_candidates(m, "BBB", 3, &c, 1), 1);
		assert_int_equal(c.roster, old.roster);
		s.n = 0;
		assert_int_equal(mcshm_run(m, "BBB", 3, 0, try, &s, &c), 0);
		assert_int_equal(c.roster, old.roster);
		/* Then once more, when it is stale, too. */
		now += file.h->stale_after + SECOND;
	}
	failed(&old);
	assert_int_equal(mcshm_candidates(m, "BBB", 3, &c, 1), 1);
	assert_int_equal(c.roster, old.roster);
	assert_int_not_equal(c.slot, old.slot);
	later(SECOND);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(mcshm_candidates(m, "BBB", 3, &new, 1), 1);
	assert_int_not_equal(new.roster, old.roster);
	assert_int_equal(new.slot, old.slot);
	assert_int_equal(mcshm_failed(m, &old), MCSHM_EROSTER);
}

/* In a child that has closed all that it did not open. */
static void
test_report_after_fork(void **state)
{
	struct mcshm_choice home;
	struct mcshm_report r;
	int fd, status;
	pid_t pid;

	(void)state;
	start(SERVERS);
	fd = listen_for_reports();
	home = pick("AAA");
	failed(&home);
	assert_int_equal(reports(fd, &r), 1);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		if (close_range(3, ~0u, 0) == -1)
			_exit(1);
		now += SECOND / 4;
		_exit(mcshm_failed(m, &home) != MCSHM_OK);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(reports(fd, &r), 1);
	close(fd);
}

static void *
cancelled_thread(void *arg)
{
	struct mcshm_choice *c = arg;

	pthread_cancel(pthread_self());
	c->flags = mcshm_failed(m, c) == MCSHM_OK ? 77 : 0;
	pthread_testcancel();
	return NULL;
}

/* The lowest descriptor that is free. */
static int
next_descriptor(void)
{
	const int fd = dup(STDERR_FILENO);

	assert_int_not_equal(fd, -1);
	close(fd);
	return fd;
}

static void
test_report_of_a_cancelled_thread(void **state)
{
	struct mcshm_choice home;
	struct mcshm_report r;
	pthread_t t;
	void *ended;
	int fd, next;

	(void)state;
	start(SERVERS);
	fd = listen_for_reports();
	home = pick("AAA");
	next = next_descriptor();
	assert_int_equal(pthread_create(&t, NULL, cancelled_thread, &home), 0);
	pthread_join(t, &ended);
	assert_ptr_equal(ended, PTHREAD_CANCELED);
	assert_int_equal(next_descriptor(), next);
	assert_int_equal(home.flags, 77);
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
		TEST(test_suspect_in_a_stale_file),
		TEST(test_mark_from_the_future),
		TEST(test_child_inherits),
		TEST(test_threads),
		TEST(test_candidates_follow_picks),
		TEST(test_candidates_classes),
		TEST(test_candidates_stale),
		TEST(test_candidates_draining),
		TEST(test_candidates_writer_never_rests),
		TEST(test_candidates_few_words),
		TEST(test_candidates_are_distinct),
		TEST(test_server_state),
		TEST(test_run_off),
		TEST(test_run_on),
		TEST(test_run_once),
		TEST(test_run_bounds),
		TEST(test_run_policies),
		TEST(test_run_own_errors),
		TEST(test_run_where_keys_stay),
		TEST(test_run_without_marks),
		TEST(test_run_deadline),
		TEST(test_ctl),
		TEST(test_report),
		TEST(test_report_beside_the_file),
		TEST(test_report_to_a_checker_only),
		TEST(test_report_after_fork),
		TEST(test_report_of_a_cancelled_thread),
		TEST(test_reports_are_few),
		TEST(test_run_new_address),
		TEST(test_mark_under_a_new_address),
		TEST(test_run_new_roster),
		TEST(test_nofollow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
