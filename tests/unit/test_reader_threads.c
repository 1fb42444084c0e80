/*
 * test_reader_threads.c - many threads on one handle, while a writer publishes
 * and replaces the file under them.  Made for TSan; true without it too.
 *
 * There are two rosters, in turn.  In each generation exactly one server is
 * DOWN, 0 or 1: so a key has its home, or one of two places that are known
 * beforehand, and any snapshot has all but one usable.  An answer that mixes
 * two generations or two files is none of these.
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
#include <sys/stat.h>
#include <unistd.h>

#include "mkfile.h"
#include "reader.h"

#define KEYS 64u
#define READERS 4u
#define ROUNDS 800u		/* generations; each other is a new file */

static char dir[64], path[96];
static struct mcshm *m;
static struct mkfile made[2], file;
static _Atomic bool over;
static _Atomic uint64_t picks, followed, failures;
static _Atomic int first_failure;

/* It is time for everything, each time. */
static uint64_t
fast_clock(void)
{
	static _Atomic uint64_t now;

	return atomic_fetch_add(&now, 2 * READER_SECOND);
}

/* What may be answered in roster r. */
static const uint32_t sizes[2] = { 5, 60 };
static struct mcshm_choice expected[2][2][KEYS];	/* [roster][down] */

static size_t
key_text(char key[32], unsigned k)
{
	return (size_t)snprintf(key, 32, "session:%u", k);
}

static int
pick(unsigned k, struct mcshm_choice *c)
{
	char key[32];

	return mcshm_pick(m, key, key_text(key, k), c);
}

static void
make(struct mkfile *f, unsigned roster)
{
	mkfile_make(f, MCSHM_SCHEME_MAGLEV, NULL, sizes[roster]);
	f->h->roster_id = (roster + 1) * (MCSHM_ROSTER_EPOCH + 1);
	f->h->stale_after = UINT64_MAX;
	mkfile_set(f, 0, MCSHM_DOWN, MCSHM_READY);
	mkfile_beat(f, 1);
}

static void
publish(unsigned down)
{
	mkfile_set(&file, down, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, 1 - down, MCSHM_UP, MCSHM_READY);
	mkfile_publish(&file);
}

static void
replace(unsigned roster)
{
	struct mkfile next;

	mkfile_copy(&next, &made[roster]);
	mkfile_replace(&next, &file, path);
	file = next;
}

static void
check_at(bool is_right, int line)
{
	if (is_right)
		return;
	if (failures++ == 0)
		first_failure = line;
}
#define check(is_right) check_at(is_right, __LINE__)

static void
check_name(const struct mcshm_server *s, unsigned slot)
{
	char name[32];

	snprintf(name, sizeof name, "10.9.0.%u:11211", slot + 1);
	check(s->slot == slot && strcmp(s->name, name) == 0);
}

static void
check_server(const struct mcshm_choice *c)
{
	struct mcshm_server s;
	const int err = mcshm_server(m, c, &s, sizeof s);

	check(err == MCSHM_OK || err == MCSHM_EROSTER || err == MCSHM_EAGAIN);
	if (err == MCSHM_OK)
		check_name(&s, c->slot);
}

static void
check_pick(unsigned k, const char *key, size_t len, struct mcshm_choice *last)
{
	struct mcshm_choice c;
	unsigned roster;

	check(mcshm_pick(m, key, len, &c) == MCSHM_OK);
	*last = c;
	roster = c.roster == 2 * (MCSHM_ROSTER_EPOCH + 1);
	check(c.roster == (roster + 1) * (MCSHM_ROSTER_EPOCH + 1));
	/* Eight times overtaken: bits of different moments, it says so. */
	if (c.flags & MCSHM_BLIND)
		return;
	check(c.home == expected[roster][0][k].home);
	check(c.slot == expected[roster][0][k].slot ||
	    c.slot == expected[roster][1][k].slot);
}

static void
check_snapshot(void)
{
	struct mcshm_state v[60];
	struct mcshm_status st;
	const int n = mcshm_snapshot(m, v, 60, sizeof *v, &st, sizeof st);
	int down = 0;

	if (n == MCSHM_EAGAIN)
		return;
	check(n == 5 || n == 60);
	for (int i = 0; i < n; i++) {
		check(v[i].usable == (v[i].verdict == MCSHM_UP));
		down += !v[i].usable;
	}
	check(down == 1);
	check((int)st.usable == n - 1);
}

static void
check_servers(void)
{
	struct mcshm_server v[60];
	uint64_t roster;
	const int n = mcshm_servers(m, v, 60, sizeof *v, &roster);

	if (n == MCSHM_EAGAIN)
		return;
	check(n == 5 || n == 60);
	check(roster == (n == 60 ? 2 : 1) * (MCSHM_ROSTER_EPOCH + 1));
	for (int i = 0; i < n; i++)
		check_name(&v[i], (unsigned)i);
}

/* The first one asks for everything, the second for the server of each choice;
 * the others do hardly anything but pick.  So an exchange of files meets some
 * of them in the middle of each. */
static void *
reader(void *arg)
{
	const unsigned *number = arg;
	char key[KEYS][32];
	size_t len[KEYS];
	uint64_t last = 0;

	for (unsigned k = 0; k < KEYS; k++)
		len[k] = key_text(key[k], k);
	for (unsigned i = 0; !over; i++) {
		struct mcshm_choice c;

		check_pick(i % KEYS, key[i % KEYS], len[i % KEYS], &c);
		if (c.roster != last)
			followed++;
		last = c.roster;
		if (*number > 1 && i % 256 != 0)
			continue;
		check_server(&c);
		picks++;
		if (*number > 0)
			continue;
		check_snapshot();
		check_servers();
		check(mcshm_refresh(m) >= 0);
	}
	return NULL;
}

/* Whether enough has been read since: the writer does not run away. */
static void
let_them_read(uint64_t before)
{
	while (picks < before + READERS)
		usleep(10);
}

static void
learn(void)
{
	for (unsigned roster = 0; roster < 2; roster++) {
		replace(roster);
		for (unsigned down = 0; down < 2; down++) {
			publish(down);
			for (unsigned k = 0; k < KEYS; k++)
				assert_int_equal(pick(k,
				    &expected[roster][down][k]), MCSHM_OK);
		}
	}
}

static void
test_threads(void **state)
{
	pthread_t thread[READERS];
	unsigned number[READERS];

	(void)state;
	make(&made[0], 0);
	make(&made[1], 1);
	mkfile_copy(&file, &made[1]);
	mkfile_create(&file, path);
	assert_int_equal(mcshm_open(&m, path, 0), MCSHM_OK);
	m->clock = fast_clock;
	learn();
	for (unsigned i = 0; i < READERS; i++) {
		number[i] = i;
		assert_int_equal(pthread_create(&thread[i], NULL, reader,
		    &number[i]), 0);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint64_t before = picks;

		if (i % 2 == 1)
			replace(i / 2 % 2);
		else
			publish(i / 2 % 2);
		if (i % 3 == 0)
			let_them_read(before);
	}
	over = true;
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(thread[i], NULL);
	if (failures > 0)
		fail_msg("%d failures, the first in line %d", (int)failures,
		    first_failure);
	assert_true(followed > ROUNDS / 16);
	assert_int_equal(m->follow_error, 0);
	mcshm_close(m);
	mkfile_free(&file);
	mkfile_free(&made[0]);
	mkfile_free(&made[1]);
}

static int
setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_reader_threads.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(path, sizeof path, "%s/web.mcshm", dir);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
