/*
 * test_doubt.c - lives of a loop: late, asleep, in another time; and how many
 * silent servers are many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "doubt.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define TICK (250 * MS)
#define REAL (1750000000 * SECOND)	/* of the first moment, as BOOTTIME */
#define COUNT(a) (sizeof (a) / sizeof (a)[0])

static const struct doubt_rule shipped = {
	.after = 500 * MS, .lasts = 5 * SECOND,
};

/* A host on which a loop runs. */
struct host {
	struct doubt_clocks now;
	struct doubt d;
	uint64_t turn;			/* of the loop, the last one */
};

static struct host
host_init(void)
{
	struct host h = { .now = { 100 * SECOND, 90 * SECOND, REAL } };

	h.d = doubt_init(&h.now, h.now.boot + TICK);
	h.turn = h.now.boot;
	return h;
}

static void
pass(struct host *h, uint64_t time)
{
	h->now.boot += time;
	h->now.mono += time;
	h->now.real += time;
}

/* As the checker does: a turn, and where it comes to that a look; a tick. */
static void
turn(struct host *h, bool tick)
{
	if (doubt_is_late(&h->d, &shipped, h->now.boot))
		h->d = doubt_look(h->d, &shipped, h->turn, &h->now,
		    h->now.boot + TICK);
	if (tick)
		h->d = doubt_look(h->d, &shipped, h->d.looked.boot, &h->now,
		    h->now.boot + TICK);
	h->turn = h->now.boot;
}

static void
run(struct host *h, uint64_t time)
{
	for (; time >= TICK; time -= TICK) {
		pass(h, TICK);
		turn(h, true);
	}
}

static void
test_a_loop_in_time_never_doubts(void **state)
{
	struct host h = host_init();
	uint64_t jitter = 1;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		jitter = jitter * UINT64_C(6364136223846793005) + 1;
		pass(&h, TICK + jitter % shipped.after);
		/* Slewed by NTP, as fast as it does: 500 ppm. */
		h.now.real += TICK / 2000;
		turn(&h, true);
		assert_false(h.d.tilt);
	}
	assert_int_equal(h.d.tilts, 0);
	assert_false(doubt_covers(&h.d, 0, UINT64_MAX));
}

/* Exactly `after` is in time; a nanosecond more is not. */
static void
test_late(void **state)
{
	struct host h = host_init();

	(void)state;
	pass(&h, TICK + shipped.after);
	turn(&h, true);
	assert_false(h.d.tilt);
	pass(&h, TICK + shipped.after + 1);
	turn(&h, true);
	assert_true(h.d.tilt);
	assert_int_equal(h.d.sign, DOUBT_LATE);
	assert_int_equal(h.d.by, shipped.after + 1);
	assert_int_equal(h.d.tilts, 1);
	assert_int_equal(h.d.until, h.now.boot + shipped.lasts);
}

/* A turn that is so late that the time is looked at, by the nanosecond; and one
 * before its time is not. */
static void
test_a_turn_is_late(void **state)
{
	const struct host h = host_init();
	const uint64_t planned = h.d.planned;

	(void)state;
	assert_int_equal(planned, h.now.boot + TICK);
	assert_false(doubt_is_late(&h.d, &shipped, h.now.boot));
	assert_false(doubt_is_late(&h.d, &shipped, planned));
	assert_false(doubt_is_late(&h.d, &shipped, planned + shipped.after));
	assert_true(doubt_is_late(&h.d, &shipped, planned + shipped.after + 1));
}

/* It is known before anything that was due in that turn is judged. */
static void
test_what_it_covers(void **state)
{
	struct host h = host_init();
	uint64_t before, after;

	(void)state;
	run(&h, SECOND);
	pass(&h, 100 * MS);
	turn(&h, false);
	before = h.now.boot;
	pass(&h, 3 * SECOND);
	turn(&h, false);
	after = h.now.boot;
	assert_true(h.d.tilt);
	assert_int_equal(h.d.by, 3 * SECOND - 150 * MS);
	/* A probe that was over before it, one from before it, one in it. */
	assert_false(doubt_covers(&h.d, before - SECOND, before));
	assert_true(doubt_covers(&h.d, before - SECOND, after));
	assert_true(doubt_covers(&h.d, before + SECOND, after));
	/* One that begins in the time that is left, however long it takes. */
	assert_true(doubt_covers(&h.d, after + 4999 * MS, after + 6 * SECOND));
	assert_false(doubt_covers(&h.d, after + 5 * SECOND,
	    after + 6 * SECOND));

	run(&h, 4750 * MS);
	assert_true(h.d.tilt);
	run(&h, TICK);
	assert_false(h.d.tilt);
	/* That is still so when it is over. */
	assert_true(doubt_covers(&h.d, after, after + SECOND));
	run(&h, 100 * SECOND);
	assert_int_equal(h.d.tilts, 1);
	assert_true(doubt_covers(&h.d, after, after + SECOND));
}

static void
test_signs_follow_each_other(void **state)
{
	struct host h = host_init();
	uint64_t from;

	(void)state;
	from = h.now.boot;
	for (int i = 0; i < 5; i++) {
		pass(&h, 2 * SECOND);
		turn(&h, true);
		assert_true(h.d.tilt);
	}
	/* One TILT, from before the first to some time after the last. */
	assert_int_equal(h.d.tilts, 1);
	assert_int_equal(h.d.from, from);
	assert_int_equal(h.d.until, h.now.boot + shipped.lasts);
	assert_int_equal(h.d.by, 2 * SECOND - TICK);
	run(&h, 5 * SECOND);
	assert_false(h.d.tilt);
	pass(&h, 2 * SECOND);
	turn(&h, true);
	assert_int_equal(h.d.tilts, 2);
	assert_int_equal(h.d.from, h.now.boot - 2 * SECOND);
}

static void
test_the_host_slept(void **state)
{
	struct host h = host_init();

	(void)state;
	run(&h, SECOND);
	h.now.boot += shipped.after;
	h.now.real += shipped.after;
	turn(&h, true);
	assert_false(h.d.tilt);
	h.now.boot += 3600 * SECOND;
	h.now.real += 3600 * SECOND;
	pass(&h, 10 * MS);
	turn(&h, false);
	assert_true(h.d.tilt);
	assert_int_equal(h.d.sign, DOUBT_SLEPT);
	assert_int_equal(h.d.by, 3600 * SECOND);
	run(&h, 6 * SECOND);
	assert_false(h.d.tilt);
	assert_int_equal(h.d.tilts, 1);
}

/* BOOTTIME and MONOTONIC are the same until then, give or take how they were
 * read. */
static void
test_a_host_that_never_slept(void **state)
{
	struct host h = host_init();

	(void)state;
	h.now.mono = h.now.boot;
	h.d = doubt_init(&h.now, h.now.boot + TICK);
	for (uint64_t i = 0; i < 100; i++) {
		pass(&h, TICK);
		h.now.mono = h.now.boot + i % 3 - 1;
		h.now.real = REAL + h.now.boot + i % 5 - 2;
		h.d.looked.real = REAL + h.d.looked.boot;
		turn(&h, true);
		assert_false(h.d.tilt);
	}
	h.now.boot += SECOND;
	h.now.real += SECOND;
	turn(&h, true);
	assert_int_equal(h.d.sign, DOUBT_SLEPT);
	assert_in_range(h.d.by, SECOND - 5, SECOND + 5);
}

/* A VM that was suspended: only the wall clock tells, when it is set right. */
static void
check_jump(int64_t by, bool tilt)
{
	struct host h = host_init();

	run(&h, SECOND);
	h.now.real += (uint64_t)by;
	pass(&h, TICK);
	turn(&h, true);
	assert_int_equal(h.d.tilt, tilt);
	if (!tilt)
		return;
	assert_int_equal(h.d.sign, DOUBT_JUMPED);
	assert_int_equal(h.d.by, by > 0 ? by : -by);
	assert_int_equal(h.d.from, h.now.boot - TICK);
	run(&h, 6 * SECOND);
	assert_false(h.d.tilt);
	assert_int_equal(h.d.tilts, 1);
}

static void
test_the_clock_was_set(void **state)
{
	(void)state;
	check_jump((int64_t)(60 * SECOND), true);
	check_jump(-(int64_t)(60 * SECOND), true);
	check_jump((int64_t)(501 * MS), true);
	check_jump(-(int64_t)(501 * MS), true);
	check_jump((int64_t)(500 * MS), false);
	check_jump(-(int64_t)(500 * MS), false);
}

/* tilt_for = 0: only the time in which nobody looked. */
static void
test_it_need_not_last(void **state)
{
	const struct doubt_rule rule = { .after = 500 * MS };
	struct doubt_clocks now = { SECOND, SECOND, REAL };
	struct doubt d = doubt_init(&now, SECOND + TICK);

	(void)state;
	now = (struct doubt_clocks){ 3 * SECOND, 3 * SECOND,
	    REAL + 2 * SECOND };
	d = doubt_look(d, &rule, SECOND, &now, 3 * SECOND + TICK);
	assert_true(d.tilt);
	assert_true(doubt_covers(&d, 2 * SECOND, 4 * SECOND));
	assert_false(doubt_covers(&d, 3 * SECOND, 4 * SECOND));
	now = (struct doubt_clocks){ 3 * SECOND + TICK, 3 * SECOND + TICK,
	    REAL + 2 * SECOND + TICK };
	d = doubt_look(d, &rule, 3 * SECOND, &now, 4 * SECOND);
	assert_false(d.tilt);
}

/* The host stalls for a second, and runs for so many; how often until that is
 * worn out, 0: it is not within a thousand times. */
static unsigned
stalls(struct host *h, uint64_t runs)
{
	for (unsigned n = 1; n <= 1000; n++) {
		pass(h, SECOND);
		turn(h, false);
		run(h, runs);
		if (h->d.worn)
			return n;
	}
	return 0;
}

/* Each four of its five seconds count; 60 are the most. */
static void
test_stalls_without_end(void **state)
{
	struct host h = host_init();
	uint64_t from, until;

	(void)state;
	assert_int_equal(stalls(&h, 4 * SECOND), 60 / 4);
	assert_true(h.d.tilt);
	assert_int_equal(h.d.tilts, 1);
	from = h.now.boot;
	/* What was before that is void, and nothing from then on, */
	assert_true(h.d.until <= from);
	assert_int_equal(doubt_silence(&h.d, 0, from - SECOND, from),
	    DOUBT_SAYS_NOTHING);
	assert_int_equal(doubt_silence(&h.d, 0, from, from + SECOND),
	    DOUBT_SAYS);
	/* but what overlaps the next stall, */
	run(&h, 500 * MS);
	from = h.now.boot;
	pass(&h, SECOND);
	turn(&h, false);
	until = h.now.boot;
	assert_int_equal(h.d.from, from);
	assert_int_equal(h.d.until, until);
	assert_true(doubt_covers(&h.d, until - 1, until + SECOND));
	assert_int_equal(doubt_silence(&h.d, 0, from - 1, until),
	    DOUBT_SAYS_LESS);
	assert_int_equal(doubt_silence(&h.d, from - SECOND, until - 1,
	    until + SECOND), DOUBT_SAYS_LESS);
	/* and a silence goes on behind it. */
	assert_false(doubt_covers(&h.d, until, until + SECOND));
	assert_int_equal(doubt_silence(&h.d, 0, until, until + SECOND),
	    DOUBT_SAYS);
	assert_int_equal(doubt_silence(&h.d, from - SECOND, until,
	    until + SECOND), DOUBT_SAYS);
	assert_true(h.d.tilt);
	run(&h, 4750 * MS);
	assert_true(h.d.tilt);
	run(&h, TICK);
	assert_false(h.d.tilt);
	assert_true(h.d.worn);
	assert_int_equal(h.d.tilts, 1);
}

/* It is as it was when four times as long was well. */
static void
test_stalls_that_end(void **state)
{
	struct host h = host_init();
	uint64_t began;

	(void)state;
	assert_int_not_equal(stalls(&h, 4 * SECOND), 0);
	pass(&h, SECOND);
	turn(&h, false);
	run(&h, 5 * SECOND);
	began = h.now.boot;
	while (h.d.worn) {
		run(&h, TICK);
		assert_true(h.now.boot - began < 300 * SECOND);
	}
	assert_in_range(h.now.boot - began, 230 * SECOND, 250 * SECOND);
	/* What was silent over the last of them goes on to count. */
	assert_int_equal(doubt_silence(&h.d, SECOND, h.now.boot - SECOND,
	    h.now.boot), DOUBT_SAYS);
	pass(&h, SECOND);
	turn(&h, false);
	assert_int_equal(h.d.until, h.now.boot + shipped.lasts);
	assert_int_equal(h.d.since, h.d.from);
	assert_int_equal(doubt_silence(&h.d, h.d.from - SECOND,
	    h.d.until + SECOND, h.d.until + 2 * SECOND), DOUBT_SAYS_NOTHING);
	assert_int_equal(doubt_silence(&h.d, 0, h.d.until,
	    h.d.until + SECOND), DOUBT_SAYS);
	assert_int_equal(stalls(&h, 4 * SECOND), 60 / 4);
}

/* A night is not longer than a moment; nor is a stall now and then too much. */
static void
test_what_does_not_wear_out(void **state)
{
	struct host h = host_init();

	(void)state;
	for (int i = 0; i < 11; i++) {
		pass(&h, 3600 * SECOND);
		turn(&h, false);
		run(&h, 5 * SECOND);
		assert_false(h.d.worn);
	}
	assert_int_equal(h.d.tilts, 11);
	run(&h, 240 * SECOND);
	assert_int_equal(h.d.spent, 0);
	assert_int_equal(stalls(&h, 26 * SECOND), 0);
	assert_int_not_equal(stalls(&h, 20 * SECOND), 0);
	/* One TILT after the other, with hardly a moment between. */
	h = host_init();
	assert_in_range(stalls(&h, 6 * SECOND), 12, 13);
	/* Late all the time: there is nothing beside it. */
	h = host_init();
	for (int i = 0; i < 1000; i++) {
		pass(&h, SECOND);
		turn(&h, true);
	}
	assert_false(h.d.worn);
	assert_int_equal(h.d.tilts, 1);
}

static void
test_words(void **state)
{
	(void)state;
	for (int i = DOUBT_LATE; i <= DOUBT_JUMPED; i++)
		for (int j = i; j <= DOUBT_JUMPED; j++)
			assert_int_equal(i == j, strcmp(
			    doubt_sign_text((enum doubt_sign)i),
			    doubt_sign_text((enum doubt_sign)j)) == 0);
	assert_string_equal(doubt_sign_text(DOUBT_LATE), "the loop was late");
}

/* Awareness --------------------------------------------------------------- */

static void
test_many(void **state)
{
	static const struct {
		uint32_t servers, silent;
		bool many;
	} cases[] = {
		{ 0, 0, false }, { 4, 4, false }, { 5, 2, false },
		{ 5, 3, true }, { 5, 5, true }, { 11, 2, false },
		{ 12, 3, true }, { 13, 3, false }, { 13, 4, true },
		{ 100, 24, false }, { 100, 25, true }, { 101, 25, false },
		{ 16384, 4095, false }, { 16384, 4096, true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(doubt_awareness(0, 3, cases[i].servers,
		    cases[i].silent), cases[i].many);
}

static void
test_score(void **state)
{
	uint32_t score = 0;

	(void)state;
	for (uint32_t second = 1; second < 10; second++) {
		score = doubt_awareness(score, 3, 10, 3);
		assert_int_equal(score, second < 3 ? second : 3);
	}
	for (uint32_t second = 1; second < 10; second++) {
		score = doubt_awareness(score, 3, 10, 2);
		assert_int_equal(score, second < 3 ? 3 - second : 0);
	}
	assert_int_equal(doubt_awareness(0, 0, 10, 10), 0);
	/* After a reload. */
	assert_int_equal(doubt_awareness(8, 3, 10, 10), 3);
	assert_int_equal(doubt_awareness(8, 0, 10, 10), 0);
	assert_int_equal(doubt_awareness(8, 3, 10, 0), 3);
}

/* Never shorter, and nothing that was at once is not. */
static void
test_patience(void **state)
{
	(void)state;
	assert_int_equal(doubt_patience(5 * SECOND, 0), 5 * SECOND);
	assert_int_equal(doubt_patience(5 * SECOND, 3), 20 * SECOND);
	assert_int_equal(doubt_patience(0, 8), 0);
	assert_int_equal(doubt_patience(3600 * SECOND, 8), 9 * 3600 * SECOND);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_loop_in_time_never_doubts),
		cmocka_unit_test(test_late),
		cmocka_unit_test(test_a_turn_is_late),
		cmocka_unit_test(test_what_it_covers),
		cmocka_unit_test(test_signs_follow_each_other),
		cmocka_unit_test(test_the_host_slept),
		cmocka_unit_test(test_a_host_that_never_slept),
		cmocka_unit_test(test_the_clock_was_set),
		cmocka_unit_test(test_it_need_not_last),
		cmocka_unit_test(test_stalls_without_end),
		cmocka_unit_test(test_stalls_that_end),
		cmocka_unit_test(test_what_does_not_wear_out),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_score),
		cmocka_unit_test(test_patience),
	};

	return cmocka_run_group_tests_name("doubt", tests, NULL, NULL);
}
