/*
 * test_course.c - what a name says, answer by answer: o has the address in use,
 * n does not, and e does not either, but leads to yet another one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "course.h"

#define S UINT64_C(1000000000)
#define APART (5 * S)
#define HOUR (3600 * S)

static uint64_t now = 1000 * S;

/* One each so many seconds: is it to be followed then? */
static bool
says(struct course *c, const char *answers, uint64_t seconds)
{
	for (; *answers != '\0'; answers++) {
		now += seconds * S;
		course_step(c, *answers == 'o' ? COURSE_AGREES :
		    *answers == 'n' ? COURSE_DENIES : COURSE_ANEW, APART, now);
	}
	return course_is_sure(c, now);
}

static void
test_a_move_takes_two_answers(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_false(says(&c, "ooo", 5));
	assert_false(says(&c, "n", 5));
	assert_true(says(&c, "n", 5));
	assert_false(course_wavers(&c));
	course_moved(&c, true);
	assert_false(course_is_sure(&c, now));
	assert_false(says(&c, "oo", 5));
	assert_false(course_wavers(&c));
	/* The first thing that is heard of it, too. */
	c = (struct course){ 0 };
	assert_false(says(&c, "n", 3600));
	assert_true(says(&c, "n", 3600));
}

static void
test_answers_of_a_moment_are_one(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_false(says(&c, "onnnn", 1));	/* in four seconds */
	assert_true(says(&c, "nn", 1));
}

static void
test_answers_in_turn_move_nobody(void **state)
{
	struct course c = { 0 };

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		assert_false(says(&c, i % 2 ? "n" : "o", 60));
	assert_true(course_wavers(&c));
}

/* The more often it turns, the more answers it takes, and the more time. */
static void
test_who_wavers_is_doubted(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_false(says(&c, "onono", 5));
	assert_int_equal(c.turns, 2);
	assert_false(says(&c, "nnnnnnn", 5));
	assert_true(says(&c, "n", 5));
	assert_false(says(&c, "ono", 5));
	assert_int_equal(c.turns, 4);
	/* Ten minutes, sixteen times; and sixteen answers. */
	assert_false(says(&c, "nnnnnnnnnnnnnnn", 1000));
	assert_true(says(&c, "n", 1000));
	assert_true(course_wavers(&c));
	for (unsigned i = 0; i < 100; i++)
		says(&c, "on", 5);
	assert_int_equal(c.turns, 8);
	for (unsigned i = 1; i < 511; i++)
		assert_false(says(&c, "n", 5));
	assert_true(says(&c, "n", 5));
}

static void
test_each_time_elsewhere_is_a_contradiction(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_false(says(&c, "one", 60));
	assert_int_equal(c.turns, 1);
	assert_false(says(&c, "nn", 60));
	assert_true(says(&c, "n", 60));
	assert_false(says(&c, "ennnnnn", 60));
	assert_int_equal(c.turns, 2);
	assert_true(says(&c, "n", 60));
}

static void
test_who_agrees_for_long_is_believed_again(void **state)
{
	struct course c = { 0 };

	(void)state;
	says(&c, "ononono", 5);
	assert_int_equal(c.turns, 3);
	for (unsigned i = 0; i < 79; i++)
		says(&c, "o", 60);
	assert_true(course_wavers(&c));
	says(&c, "o", 60);
	assert_false(course_wavers(&c));
	assert_true(says(&c, "nn", 5));
	/* Not by a few answers, however long they are good for. */
	says(&c, "ono", 3600);
	says(&c, "oooooo", 3600);
	assert_true(course_wavers(&c));
	says(&c, "o", 3600);
	assert_false(course_wavers(&c));
}

/* Two zones, and each is asked for a while. */
/* What is mended need not trouble anybody until it is forgotten. */
static void
test_who_agrees_for_a_while_is_calm(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_true(course_is_calm(&c, now));
	for (int i = 0; i < 20; i++)
		says(&c, "no", 60);
	assert_false(course_is_calm(&c, now));
	for (int i = 0; i < 79; i++)
		says(&c, "o", 60);
	assert_false(course_is_calm(&c, now));
	says(&c, "o", 60);
	assert_true(course_is_calm(&c, now));
	assert_true(course_wavers(&c));
	says(&c, "n", 60);
	assert_false(course_is_calm(&c, now));
	/* Time alone does not do. */
	says(&c, "o", 60);
	for (int i = 0; i < 14; i++)
		says(&c, "o", 3600);
	assert_false(course_is_calm(&c, now));
	says(&c, "o", 3600);
	assert_true(course_is_calm(&c, now));
}

static void
test_who_moves_back_wavers(void **state)
{
	struct course c = { 0 };
	unsigned moves = 0;

	(void)state;
	says(&c, "o", 5);
	for (unsigned i = 0; i < 100; i++) {
		/* Twelve answers for where it is not. */
		for (unsigned k = 0; k < 12; k++) {
			if (!says(&c, "n", 5))
				continue;
			moves++;
			course_moved(&c, true);
			break;
		}
		says(&c, "oooooooooooo", 5);
	}
	assert_in_range(moves, 2, 4);
	assert_true(course_wavers(&c));
}

/* The second move is in doubt; not where nobody was left to be, nor when the
 * first one was confirmed for long. */
static void
test_who_has_just_moved_is_doubted(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_true(says(&c, "onn", 60));
	course_moved(&c, true);
	assert_false(says(&c, "onn", 60));
	assert_true(says(&c, "nn", 60));
	c = (struct course){ 0 };
	says(&c, "onn", 60);
	course_moved(&c, false);
	assert_true(says(&c, "onn", 60));
	c = (struct course){ 0 };
	says(&c, "onn", 60);
	course_moved(&c, true);
	assert_true(says(&c, "ooooooooooonn", 60));
	assert_false(course_wavers(&c));
}

/* A name that leads to one of some places, asked as a checker does: soon again
 * while it may have moved, and a cache says the same then. */
struct name {
	struct course course;
	unsigned in_use, last;
	unsigned moves;
	bool astray;
};

static void
name_says(struct name *n, unsigned place)
{
	struct course *c = &n->course;

	course_step(c, place == n->in_use ? COURSE_AGREES :
	    n->astray && place != n->last ? COURSE_ANEW : COURSE_DENIES,
	    APART, now);
	n->astray = place != n->in_use;
	n->last = place;
	if (!course_is_sure(c, now))
		return;
	n->in_use = place;
	n->astray = false;
	n->moves++;
	course_moved(c, true);
}

/* Answers that are good for so long, from 0 on for a time. */
static void
name_lives(struct name *n, unsigned places, uint64_t ttl, uint64_t time)
{
	static uint64_t x = 88172645463325252;
	const uint64_t end = now + time;
	unsigned place;

	while (now < end) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		place = places == 0 ? 99 : (unsigned)(x % places);
		name_says(n, place);
		for (uint64_t at = 60 * S; at < ttl && n->astray &&
		    !course_wavers(&n->course); at += 60 * S) {
			now += 60 * S;
			name_says(n, place);
			now -= 60 * S;
		}
		now += ttl;
	}
}

/* A few moves in the first two weeks, and none in the year after that. */
static void
test_at_random_it_stays(void **state)
{
	static const unsigned places[] = { 2, 3, 4, 16, 100 };
	static const unsigned ttls[] = { 5, 60, 300, 600, 3600 };

	(void)state;
	for (unsigned i = 0; i < 25; i++) {
		struct name n = { 0 };
		unsigned days[2];

		for (unsigned k = 0; k < 2; k++) {
			name_lives(&n, places[i / 5], ttls[i % 5] * S,
			    (k == 0 ? 14 : 365) * 24 * HOUR);
			days[k] = n.moves;
		}
		assert_in_range(days[0], 0, 4);
		assert_int_equal(days[1], days[0]);
	}
}

/* Whatever it said before, who moves is followed. */
static void
test_a_move_is_followed_in_time(void **state)
{
	static const struct {
		unsigned ttl, hours;
	} tests[] = { { 5, 1 }, { 60, 9 }, { 300, 43 }, { 2400, 44 },
		{ 3600, 44 } };

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct name n = { 0 };

		name_lives(&n, 16, tests[i].ttl * S, 100 * 24 * HOUR);
		assert_int_equal(n.course.turns, 8);
		name_lives(&n, 0, tests[i].ttl * S, tests[i].hours * HOUR);
		assert_int_equal(n.in_use, 99);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(test_##name)
		T(a_move_takes_two_answers),
		T(answers_of_a_moment_are_one),
		T(answers_in_turn_move_nobody),
		T(who_wavers_is_doubted),
		T(each_time_elsewhere_is_a_contradiction),
		T(who_agrees_for_long_is_believed_again),
		T(who_agrees_for_a_while_is_calm),
		T(who_moves_back_wavers),
		T(who_has_just_moved_is_doubted),
		T(at_random_it_stays),
		T(a_move_is_followed_in_time),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
