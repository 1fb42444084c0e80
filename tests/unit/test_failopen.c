/*
 * test_failopen.c - lives of a pool whose servers fall silent; and every short
 * life against the obvious implementation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "failopen.h"

#define SECOND UINT64_C(1000000000)
#define START (1000 * SECOND)
#define COUNT(a) (sizeof (a) / sizeof (a)[0])

static const struct failopen_rule shipped = {
	.percent = 50, .max = 60 * SECOND,
};

static char
letter(const struct failopen *f)
{
	return "-OB"[f->state];
}

static void
test_when_it_opens(void **state)
{
	static const struct {
		uint32_t percent, servers, silent;
		bool open;
	} cases[] = {
		{ 50, 0, 0, false }, { 50, 4, 4, false }, { 50, 5, 2, false },
		{ 50, 5, 3, true }, { 50, 6, 3, false }, { 50, 6, 4, true },
		{ 50, 16384, 8192, false }, { 50, 16384, 8193, true },
		{ 0, 10, 10, false }, { 1, 100, 1, false }, { 1, 100, 2, true },
		{ 1, 16384, 163, false }, { 1, 16384, 164, true },
		{ 99, 100, 99, false }, { 99, 100, 100, true },
		{ 100, 10, 10, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct failopen_rule rule = {
			.percent = cases[i].percent, .max = SECOND };
		const struct failopen f = failopen_step((struct failopen){ 0 },
		    &rule, cases[i].servers, cases[i].silent, START);

		if ((f.state == FAILOPEN_OPEN) != cases[i].open)
			fail_msg("%u%%, %u of %u", cases[i].percent,
			    cases[i].silent, cases[i].servers);
	}
}

/* Letters and for how many seconds: 'a' above, 'b' at or below. */
static const struct {
	const char *about, *life, *states;
} lives[] = {
	{ "a blip is closed ten seconds after it",
	  "b1 a3 b13", "-1 O13 -3" },
	{ "ten in a row",
	  "a1 b9 a1 b13", "O21 -3" },
	{ "believed after a minute, closed after ten seconds below",
	  "a70 b12 a1", "O60 B20 -2 O1" },
	{ "not believed while it is about to close",
	  "a57 b12", "O67 -2" },
	{ "but if it goes on then",
	  "a57 b5 a2", "O62 B2" },
	{ "believed for as long as it lasts",
	  "a70 b10 a60 b12", "O60 B90 -2" },
};

static void
spell(const char *runs, char *letters)
{
	int n = 0, used;
	unsigned times;
	char c;

	for (; sscanf(runs, " %c%u%n", &c, &times, &used) == 2; runs += used)
		while (times-- > 0)
			letters[n++] = c;
	letters[n] = '\0';
}

static void
live(const char *life, const struct failopen_rule *rule, char *states)
{
	struct failopen f = { 0 };
	uint64_t now = START;

	for (; *life != '\0'; life++, now += SECOND) {
		f = failopen_step(f, rule, 10, *life == 'a' ? 6 : 5, now);
		*states++ = letter(&f);
	}
	*states = '\0';
}

static void
test_lives(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lives); i++) {
		char life[256], got[256], want[256];

		spell(lives[i].life, life);
		spell(lives[i].states, want);
		live(life, &shipped, got);
		if (strcmp(got, want) != 0)
			fail_msg("%s:\n     %s\nwant %s\ngot  %s",
			    lives[i].about, life, want, got);
	}
}

static void
test_off(void **state)
{
	const struct failopen_rule never = { .percent = 50, .max = 0 };
	const struct failopen_rule off = { .percent = 0, .max = SECOND };
	struct failopen f = { 0 };
	char got[32];

	(void)state;
	live("aaaaabbbbbbbbbbbbaa", &never, got);
	assert_string_equal(got, "-------------------");
	live("aaaaabbbbbbbbbbbbaa", &off, got);
	assert_string_equal(got, "-------------------");

	/* A reload that turns it off, or takes servers away, shuts it. */
	f = failopen_step(f, &shipped, 10, 10, START);
	assert_int_equal(f.state, FAILOPEN_OPEN);
	assert_int_equal(failopen_step(f, &off, 10, 10, START).state,
	    FAILOPEN_SHUT);
	assert_int_equal(failopen_step(f, &never, 10, 10, START).state,
	    FAILOPEN_SHUT);
	assert_int_equal(failopen_step(f, &shipped, 4, 4, START).state,
	    FAILOPEN_SHUT);
}

static void
test_since(void **state)
{
	struct failopen f = { 0 };

	(void)state;
	f = failopen_step(f, &shipped, 10, 6, START);
	assert_int_equal(f.since, START);
	f = failopen_step(f, &shipped, 10, 7, START + SECOND);
	assert_int_equal(f.since, START);
	assert_int_equal(f.below_since, 0);
	f = failopen_step(f, &shipped, 10, 5, START + 2 * SECOND);
	assert_int_equal(f.below_since, START + 2 * SECOND);
	/* A clock that is behind lets no time pass. */
	f = failopen_step(f, &shipped, 10, 5, START);
	assert_int_equal(f.state, FAILOPEN_OPEN);
	f = failopen_step(f, &shipped, 10, 5, START + 12 * SECOND);
	assert_int_equal(f.state, FAILOPEN_SHUT);
	assert_int_equal(f.since, START + 12 * SECOND);
}

/* The obvious implementation: the whole life is known. ---------------------- */

static char
obvious(const char *life, int n, unsigned max)
{
	char state = '-';
	int since = 0;

	for (int i = 0; i < n; i++) {
		const bool above = life[i] == 'a';
		int below = 0;

		while (below <= i && life[i - below] == 'b')
			below++;
		if (state == '-' && above) {
			state = 'O';
			since = i;
		} else if (state != '-' && below > 10) {
			state = '-';
		} else if (state == 'O' && above &&
		    (unsigned)(i - since) >= max) {
			state = 'B';
		}
	}
	return state;
}

/* Seconds of all kinds, with three spells of nine in each life. */
static void
test_every_life(void **state)
{
	const struct failopen_rule rule = { .percent = 50, .max = 7 * SECOND };

	(void)state;
	for (unsigned bits = 0; bits < 1u << 12; bits++) {
		char life[64], got[64];
		int n = 0;

		for (int i = 0; i < 12; i++) {
			const int times = i % 4 == 3 ? 9 : 1;

			for (int j = 0; j < times; j++)
				life[n++] = bits >> i & 1 ? 'a' : 'b';
		}
		life[n] = '\0';
		live(life, &rule, got);
		for (int i = 1; i <= n; i++)
			if (got[i - 1] != obvious(life, i, 7))
				fail_msg("%.*s: %c, obviously %c", i, life,
				    got[i - 1], obvious(life, i, 7));
	}
}

/* What it was, and for how long, goes on with another daemon. */
static void
test_inherit(void **state)
{
	const uint64_t now = START + 50 * SECOND;
	const struct failopen_rule off = { .percent = 50 };
	struct failopen f = failopen_inherit(START, &shipped, 10, 6, now);

	(void)state;
	assert_int_equal(f.state, FAILOPEN_OPEN);
	assert_int_equal(f.since, START);
	assert_int_equal(failopen_left(&f, &shipped, now), 10 * SECOND);
	assert_int_equal(failopen_left(&f, &shipped, now + 11 * SECOND), 0);
	f = failopen_inherit(START, &shipped, 10, 6, START + 60 * SECOND);
	assert_int_equal(f.state, FAILOPEN_BELIEVED);
	assert_int_equal(failopen_left(&f, &shipped, f.since), 0);

	/* Few are silent by now: closed as ever, not at once. */
	f = failopen_inherit(START, &shipped, 10, 5, now);
	assert_int_equal(f.state, FAILOPEN_OPEN);
	assert_int_equal(f.below_since, now);

	/* It did not, any more or yet. */
	f = failopen_inherit(0, &shipped, 10, 6, now);
	assert_int_equal(f.state, FAILOPEN_BELIEVED);
	assert_int_equal(f.since, now);
	f = failopen_inherit(0, &shipped, 10, 5, now);
	assert_int_equal(f.state, FAILOPEN_SHUT);

	/* Other rules, and what somebody else says of a time to come. */
	f = failopen_inherit(START, &off, 10, 6, now);
	assert_int_equal(f.state, FAILOPEN_SHUT);
	f = failopen_inherit(START, &shipped, 4, 4, now);
	assert_int_equal(f.state, FAILOPEN_SHUT);
	f = failopen_inherit(UINT64_MAX, &shipped, 10, 6, now);
	assert_int_equal(f.state, FAILOPEN_OPEN);
	assert_int_equal(f.since, now);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_when_it_opens),
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_every_life),
		cmocka_unit_test(test_inherit),
	};

	return cmocka_run_group_tests_name("failopen", tests, NULL, NULL);
}
