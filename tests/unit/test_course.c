/*
 * test_course.c - what a name says, answer by answer: o has the address in use,
 * n does not, and b has one besides that was left a while ago.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "course.h"

#define S UINT64_C(1000000000)

static uint64_t now = 1000 * S;

/* One each so many seconds: is it to be followed then? */
static bool
says(struct course *c, const char *answers, uint64_t seconds)
{
	for (; *answers != '\0'; answers++) {
		now += seconds * S;
		course_step(c, *answers != 'o', *answers == 'b', now);
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
	course_moved(&c);
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

/* The more often it turns, the more answers it takes, up to ten minutes. */
static void
test_who_wavers_is_doubted(void **state)
{
	struct course c = { 0 };

	(void)state;
	assert_false(says(&c, "onono", 5));
	assert_int_equal(c.turns, 2);
	assert_false(says(&c, "nnnnnnn", 5));
	assert_true(says(&c, "n", 5));
	assert_false(says(&c, "ononono", 5));
	assert_false(says(&c, "nn", 300));
	assert_true(says(&c, "n", 300));
	assert_true(course_wavers(&c));
	for (unsigned i = 0; i < 100; i++)
		says(&c, "on", 5);
	assert_false(says(&c, "nnnnnnnnnnnnnnnnnnnnnnnn", 5));
}

static void
test_who_agrees_for_long_is_believed_again(void **state)
{
	struct course c = { 0 };

	(void)state;
	says(&c, "ononono", 5);
	assert_int_equal(c.turns, 3);
	says(&c, "ooooooooo", 60);
	assert_true(course_wavers(&c));
	says(&c, "o", 60);
	assert_false(course_wavers(&c));
	assert_true(says(&c, "nn", 5));
}

/* Two zones, and each is asked for a while. */
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
			if (!says(&c, moves == 0 ? "n" : "b", 5))
				continue;
			moves++;
			course_moved(&c);
			break;
		}
		says(&c, "oooooooooooo", 5);
	}
	assert_in_range(moves, 2, 4);
	assert_true(course_wavers(&c));
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
		T(who_agrees_for_long_is_believed_again),
		T(who_moves_back_wavers),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
