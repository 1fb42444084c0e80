/*
 * test_schedule.c - bounds, spread, sameness; and schedule and verdict
 * together: how long after a server's end does the pool know?
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schedule.h"
#include "verdict.h"

#define US UINT64_C(1000)
#define MS (1000 * US)
#define SECOND (1000 * MS)
#define COUNT(a) (sizeof (a) / sizeof (a)[0])
#define SLOT (10 * MS)		/* of intervals from 200 ms on */

/* The defaults. */
static const struct schedule_rule shipped = {
	.interval = SECOND, .fast_interval = 250 * MS,
	.down_interval = SECOND, .jitter = 10,
};

/* xorshift64: the same each time. */
static uint64_t
dice(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* Hashes ------------------------------------------------------------------ */

/* Whichever bit goes in, about half of those that come out must differ. */
static void
check_avalanche(bool second)
{
	uint64_t seed = 42;

	for (unsigned bit = 0; bit < 64; bit++) {
		unsigned flipped = 0;

		for (int i = 0; i < 256; i++) {
			const uint64_t a = dice(&seed), b = dice(&seed);
			const uint64_t flip = UINT64_C(1) << bit;

			flipped += (unsigned)__builtin_popcountll(
			    schedule_mix(a, b) ^ (second ?
			    schedule_mix(a, b ^ flip) :
			    schedule_mix(a ^ flip, b)));
		}
		assert_in_range(flipped, 256 * 30, 256 * 34);
	}
}

static void
test_mix(void **state)
{
	(void)state;
	check_avalanche(false);
	check_avalanche(true);
	assert_true(schedule_mix(1, 2) != schedule_mix(2, 1));
	assert_true(schedule_mix(0, 0) != 0);
}

/* Pinned: hosts with another version of the daemon, or another byte order,
 * spread their probes as one all the same. */
static void
test_the_same_for_ever(void **state)
{
	(void)state;
	assert_true(schedule_mix(0, 0) == UINT64_C(0x48218226ff3cd4bf));
	assert_true(schedule_mix(1, 2) == UINT64_C(0x81a5c1377856b73));
	assert_true(schedule_text("") == UINT64_C(0xf52a15e9a9b5e89b));
	assert_true(schedule_text("10.1.0.7:11211") ==
	    UINT64_C(0x8c83eacd847189bc));
}

static void
test_text(void **state)
{
	(void)state;
	assert_true(schedule_text("a") != schedule_text("b"));
	assert_true(schedule_text("ab") != schedule_text("ba"));
	assert_true(schedule_text("\xff") != schedule_text("\x7f"));
	assert_true(schedule_text("a") == schedule_text("a"));
}

/* The first probe --------------------------------------------------------- */

/*
 * 1000 phases into ten drawers: 100 each, standard deviation 9.5.  Where the
 * mixing is bad there are empty ones.
 */
static void
check_phases(const struct schedule_rule *r, bool many_hosts)
{
	const uint64_t now = 77 * SECOND;
	const uint64_t within = r->interval < SECOND ? r->interval : SECOND;
	unsigned drawer[10] = { 0 };

	for (int i = 0; i < 1000; i++) {
		char text[32];
		uint64_t many, one, at;

		snprintf(text, sizeof text, "10.1.%d.%d:11211", i / 250,
		    i % 250);
		many = schedule_text(text);
		one = schedule_text("the other side");
		at = many_hosts ? schedule_first(r, many, one, now) :
		    schedule_first(r, one, many, now);
		assert_in_range(at, now, now + within - 1);
		drawer[(at - now) * 10 / within]++;
	}
	for (size_t i = 0; i < COUNT(drawer); i++)
		assert_in_range(drawer[i], 60, 140);
}

static void
test_first_is_spread(void **state)
{
	static const uint64_t intervals[] = { 100 * MS, SECOND, 30 * SECOND };

	(void)state;
	for (size_t i = 0; i < COUNT(intervals); i++) {
		const struct schedule_rule r = { .interval = intervals[i] };

		check_phases(&r, true);
		check_phases(&r, false);
	}
}

static void
test_first_is_the_same(void **state)
{
	(void)state;
	assert_int_equal(schedule_first(&shipped, 1, 2, SECOND),
	    schedule_first(&shipped, 1, 2, SECOND));
	assert_int_equal(schedule_first(&shipped, 1, 2, SECOND) + SECOND,
	    schedule_first(&shipped, 1, 2, 2 * SECOND));
}

/* The next one ------------------------------------------------------------ */

static void
test_next_start_to_start(void **state)
{
	struct schedule_rule r = shipped;
	const uint64_t b = 9 * SECOND, e = b + MS;

	(void)state;
	r.jitter = 0;
	r.down_interval = 5 * SECOND;
	for (uint64_t random = 0; random < 3; random++) {
		assert_int_equal(b + SECOND,
		    schedule_next(&r, SCHEDULE_STEADY, 0, b, e, ~random));
		assert_int_equal(b + 250 * MS,
		    schedule_next(&r, SCHEDULE_FAST, 9, b, e, random));
		assert_int_equal(b + 5 * SECOND,
		    schedule_next(&r, SCHEDULE_DOWN, 9, b, e, random));
	}
}

static void
test_next_never_before_the_end(void **state)
{
	const uint64_t b = 9 * SECOND, e = b + 750 * MS;

	(void)state;
	for (uint64_t random = 0; random < 100; random++) {
		const uint64_t r = random * UINT64_C(0x123456789abcdef);

		assert_int_equal(e,
		    schedule_next(&shipped, SCHEDULE_FAST, 0, b, e, r));
		assert_int_equal(e + SLOT,
		    schedule_next(&shipped, SCHEDULE_FAST, 0, b, e + 1, r));
	}
}

/* While DOWN: half as much more each time, up to the most. */
static void
test_down_backs_off(void **state)
{
	static const uint64_t ms[] = { 1000, 1500, 2250, 3375, 5000, 5000 };
	struct schedule_rule r = shipped;

	(void)state;
	r.jitter = 0;
	r.down_interval_max = 5 * SECOND;
	for (unsigned i = 0; i < COUNT(ms); i++)
		assert_in_range(schedule_next(&r, SCHEDULE_DOWN, i, SECOND,
		    SECOND, 0), SECOND + ms[i] * MS - SLOT / 2,
		    SECOND + ms[i] * MS + SLOT / 2);
	assert_int_equal(schedule_next(&r, SCHEDULE_DOWN, UINT32_MAX, SECOND,
	    SECOND, 0), 6 * SECOND);
	assert_int_equal(schedule_next(&r, SCHEDULE_STEADY, 9, SECOND, SECOND,
	    0), 2 * SECOND);
	/* None where the most is less, or not said. */
	for (r.down_interval_max = 0; r.down_interval_max <= SECOND;
	    r.down_interval_max += SECOND / 2)
		assert_int_equal(schedule_next(&r, SCHEDULE_DOWN, 9, SECOND,
		    SECOND, 0), 2 * SECOND);
}

/* Twenty at least in an interval, none longer than 10 ms, and whatever pools
 * there are, they meet. */
static void
test_slots(void **state)
{
	static const struct {
		uint64_t interval, slot;
	} cases[] = {
		{ 3600 * SECOND, 10 * MS }, { SECOND, 10 * MS },
		{ 200 * MS, 10 * MS }, { 199 * MS, 5 * MS },
		{ 100 * MS, 5 * MS }, { 50 * MS, 2500 * US },
		{ 10 * MS, 312500 },
	};
	uint64_t seed = 3;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct schedule_rule r = { .interval = cases[i].interval,
		    .jitter = 10 };

		unsigned odd = 0;

		assert_int_equal(10 * MS % cases[i].slot, 0);
		for (int j = 0; j < 1000; j++) {
			const uint64_t now = SECOND + dice(&seed) % SECOND;
			const uint64_t next = schedule_next(&r,
			    SCHEDULE_STEADY, 0, now, now + 1, dice(&seed));
			const uint64_t first = schedule_first(&r, dice(&seed),
			    1, now);

			assert_int_equal(next % cases[i].slot, 0);
			assert_true(next > now);
			assert_int_equal(first % cases[i].slot, 0);
			assert_true(first >= now);
			odd += next / cases[i].slot & 1;
		}
		assert_in_range(odd, 300, 700);
	}
}

/* Slots make no interval longer: 1000 probes come out even. */
static void
test_slots_do_not_drift(void **state)
{
	uint64_t seed = 5, at = 9 * SECOND;

	(void)state;
	for (int i = 0; i < 10000; i++)
		at = schedule_next(&shipped, SCHEDULE_STEADY, 0, at + 50 * US,
		    at + 150 * US, dice(&seed));
	/* Standard deviation: 100 x 58 ms. */
	assert_in_range(at - 9 * SECOND, 9980 * SECOND, 10020 * SECOND);
}

static void
check_jitter(uint64_t interval, uint32_t percent)
{
	const struct schedule_rule r = { .interval = interval,
	    .jitter = percent };
	const uint64_t spread = interval / 100 * percent;
	uint64_t seed = 7, least = UINT64_MAX, most = 0;
	unsigned drawer[10] = { 0 };

	for (int i = 0; i < 10000; i++) {
		/* Anywhere in a slot: what comes of it is even again. */
		const uint64_t b = SECOND + dice(&seed) % SLOT;
		uint64_t at = schedule_next(&r, SCHEDULE_STEADY, 0, b, b,
		    dice(&seed)) - b;

		assert_in_range(at, interval - spread - SLOT / 2,
		    interval + spread + SLOT / 2);
		if (at < interval - spread)
			at = interval - spread;
		if (at > interval + spread)
			at = interval + spread;
		least = at < least ? at : least;
		most = at > most ? at : most;
		drawer[(at - (interval - spread)) * 10 / (2 * spread + 1)]++;
	}
	assert_true(least < interval - spread + spread / 100);
	assert_true(most > interval + spread - spread / 100);
	for (size_t i = 0; i < COUNT(drawer); i++)
		assert_in_range(drawer[i], 880, 1120);
}

static void
test_jitter_is_even(void **state)
{
	(void)state;
	check_jitter(10 * SECOND, 10);
	check_jitter(SECOND, 50);
	check_jitter(3600 * SECOND, 50);
}

static void
test_early(void **state)
{
	const uint64_t b = 9 * SECOND;

	(void)state;
	assert_int_equal(schedule_early(&shipped, 0, 5), 5);
	assert_int_equal(schedule_early(&shipped, b, b), b + 250 * MS);
	assert_int_equal(schedule_early(&shipped, b, b + 249 * MS),
	    b + 250 * MS);
	assert_int_equal(schedule_early(&shipped, b, b + 251 * MS),
	    b + 251 * MS);
}

/* With the verdict -------------------------------------------------------- */

static const struct verdict_rule rule = {
	.rise = 3, .fall = 3, .ratio_bad = 5, .ratio_of = 20,
	.hold_after = SECOND, .rehash_after = 5 * SECOND,
	.min_down_time = 5 * SECOND,
};
#define TIMEOUT (750 * MS)
#define CONNECT_TIMEOUT (1500 * MS)
#define RTT (100 * US)

/* What happens to the server, or to the network before it. */
enum trouble { STOPPED, KILLED, BLIP };

struct world {
	enum trouble trouble;
	uint64_t from, to;
	bool connected;
};

static bool
troubled(const struct world *w, uint64_t t)
{
	return w->from <= t && t < w->to;
}

/*
 * The packets of a blip are lost, and sent again as Linux does: data after
 * 200 and 600 ms, a SYN after 1 s.  Returns when one gets through.
 */
static uint64_t
through(const struct world *w, uint64_t began)
{
	static const uint64_t again[2][3] = {
		{ 0, SECOND, SECOND },		/* SYN */
		{ 0, 200 * MS, 600 * MS },	/* data */
	};

	for (int i = 0; i < 3; i++)
		if (!troubled(w, began + again[w->connected][i]))
			return began + again[w->connected][i];
	return UINT64_MAX;
}

static struct verdict_probe
probe(struct world *w, uint64_t began)
{
	struct verdict_probe p = { .class = VERDICT_GOOD, .cleared = true,
	    .began = began, .ended = began + RTT };

	if (w->trouble == KILLED && troubled(w, began)) {
		p.class = VERDICT_PROOF;
	} else if (w->trouble == STOPPED && troubled(w, began)) {
		/* The kernel goes on to accept: no connect timeout. */
		p.class = VERDICT_SILENCE;
		p.ended = began + TIMEOUT;
	} else if (w->trouble == BLIP && through(w, began) == UINT64_MAX) {
		p.class = VERDICT_SILENCE;
		p.ended = began + (w->connected ? TIMEOUT : CONNECT_TIMEOUT);
	} else if (w->trouble == BLIP) {
		p.ended = through(w, began) + RTT;
	}
	w->connected = p.class == VERDICT_GOOD;
	return p;
}

/* When it first was in a state after the trouble, 0: never. */
struct story {
	uint64_t held, down, up;
	unsigned changes;
	unsigned probes;
};

static void
note(struct story *s, const struct verdict *v)
{
	uint64_t *first = v->state == MCSHM_HELD ? &s->held :
	    v->state == MCSHM_DOWN ? &s->down : &s->up;

	s->changes++;
	if (*first == 0)
		*first = v->since;
}

static uint64_t
next_due(const struct schedule_rule *r, const struct verdict *v,
    const struct world *w, const struct verdict_probe *last, uint64_t random)
{
	const enum schedule_pace pace = verdict_in_transition(v) ?
	    SCHEDULE_FAST :
	    v->state == MCSHM_DOWN ? SCHEDULE_DOWN : SCHEDULE_STEADY;
	const uint64_t due = schedule_next(r, pace, verdict_failures(v),
	    last->began, last->ended, random);
	uint64_t early;

	/* The idle connection of a killed server ends. */
	if (w->trouble != KILLED || w->from < last->ended || w->from >= due)
		return due;
	early = schedule_early(r, last->began, w->from);
	return early < due ? early : due;
}

static struct story
run(uint32_t jitter, uint64_t seed, enum trouble trouble, uint64_t from,
    uint64_t length)
{
	struct schedule_rule r = shipped;
	struct world w = { trouble, from, from + length, false };
	struct verdict v = verdict_init(SECOND);
	struct story s = { 0 };
	uint64_t due = SECOND;

	r.jitter = jitter;
	while (due < from + length + 60 * SECOND && due < from + 100 * SECOND) {
		const struct verdict_probe p = probe(&w, due);
		const uint32_t before = v.state;

		v = verdict_step(v, &rule, &p);
		if (v.state != before && p.ended >= from)
			note(&s, &v);
		s.probes++;
		due = next_due(&r, &v, &w, &p, dice(&seed));
	}
	return s;
}

#define FOR_EVER (1000 * SECOND)
#define PHASES 500

/*
 * The trouble comes at any phase of an interval.  slack: of jitter, on top of
 * one steady interval (100 ms), or of two fast ones (25 ms each); and each due
 * is in a slot.
 */
static void
check_times(enum trouble trouble, uint32_t jitter)
{
	const uint64_t slack = jitter * 10 * MS, fast = jitter * 5 * MS;

	for (uint64_t i = 0; i < PHASES; i++) {
		const uint64_t from = 20 * SECOND + i * SECOND / PHASES;
		const struct story s = run(jitter, i + 1, trouble, from,
		    FOR_EVER);

		if (trouble == STOPPED) {
			assert_int_equal(s.changes, 2);
			assert_in_range(s.held - from, 1500 * MS - 2 * SLOT,
			    2500 * MS + slack + 2 * SLOT);
			assert_in_range(s.down - from, 5250 * MS - 6 * SLOT,
			    6250 * MS + slack + 6 * SLOT);
		} else {
			assert_int_equal(s.changes, 1);
			assert_in_range(s.down - from,
			    500 * MS - fast - 2 * SLOT,
			    750 * MS + fast + 2 * SLOT);
		}
	}
}

static void
test_stopped_server(void **state)
{
	(void)state;
	check_times(STOPPED, 0);
	check_times(STOPPED, 10);
}

static void
test_killed_server(void **state)
{
	(void)state;
	check_times(KILLED, 0);
	check_times(KILLED, 10);
}

/* Of all phases, how many went as far as DOWN?  None may stay there. */
static unsigned
blips(uint64_t length, uint32_t jitter)
{
	unsigned down = 0;

	for (uint64_t i = 0; i < PHASES; i++) {
		const uint64_t from = 20 * SECOND + i * SECOND / PHASES;
		const struct story s = run(jitter, i + 1, BLIP, from, length);

		/* UP, HELD, UP; or UP, HELD, DOWN, UP; or nothing. */
		assert_int_equal(s.changes,
		    (s.held != 0) + (s.down != 0) + (s.up != 0));
		assert_true((s.held == 0 && s.down == 0) ||
		    s.up > from + length);
		if (s.down != 0)
			assert_true(s.up - s.down >= rule.min_down_time);
		down += s.down != 0;
	}
	return down;
}

static void
test_blips(void **state)
{
	(void)state;
	for (uint32_t jitter = 0; jitter <= 10; jitter += 10) {
		assert_int_equal(blips(500 * MS, jitter), 0);
		assert_int_equal(blips(2 * SECOND, jitter), 0);
		assert_int_equal(blips(3 * SECOND, jitter), 0);
		assert_int_equal(blips(4 * SECOND, jitter), 0);
		/* And this one can fail. */
		assert_int_equal(blips(8 * SECOND, jitter), PHASES);
	}
}

/* A stopped server that goes on after 4 s answers at once: not DOWN either. */
static void
test_short_stop(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < PHASES; i++) {
		const uint64_t from = 20 * SECOND + i * SECOND / PHASES;
		const struct story s = run(10, i + 1, STOPPED, from,
		    4 * SECOND);

		assert_true(s.held != 0 && s.down == 0 && s.up != 0);
		assert_true(s.up - (from + 4 * SECOND) <= TIMEOUT + RTT);
	}
}

/* A killed server that is back after 10 s: three answers, then UP for good. */
static void
test_restart(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < PHASES; i++) {
		const uint64_t from = 20 * SECOND + i * SECOND / PHASES;
		const struct story s = run(10, i + 1, KILLED, from,
		    10 * SECOND);

		assert_int_equal(s.changes, 2);
		assert_in_range(s.up - (from + 10 * SECOND),
		    450 * MS - 2 * SLOT, (1100 + 2 * 275 + 1) * MS + 3 * SLOT);
	}
}

/* A hung server is not asked more often than one that answers. */
static void
test_a_hung_server_is_not_hammered(void **state)
{
	const struct story s = run(10, 1, STOPPED, 20 * SECOND, FOR_EVER);

	(void)state;
	assert_in_range(s.probes, 110, 130);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mix),
		cmocka_unit_test(test_the_same_for_ever),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_first_is_spread),
		cmocka_unit_test(test_first_is_the_same),
		cmocka_unit_test(test_next_start_to_start),
		cmocka_unit_test(test_next_never_before_the_end),
		cmocka_unit_test(test_down_backs_off),
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_slots_do_not_drift),
		cmocka_unit_test(test_jitter_is_even),
		cmocka_unit_test(test_early),
		cmocka_unit_test(test_stopped_server),
		cmocka_unit_test(test_killed_server),
		cmocka_unit_test(test_blips),
		cmocka_unit_test(test_short_stop),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_a_hung_server_is_not_hammered),
	};

	return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
