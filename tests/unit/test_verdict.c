/*
 * test_verdict.c - lives of servers, as two strings; and every short life, and
 * many long ones, against the obvious implementation with counters and clocks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "verdict.h"

#define MS UINT64_C(1000000)
#define SECOND (1000 * MS)
#define COUNT(a) (sizeof (a) / sizeof (a)[0])

/* The defaults. */
static const struct verdict_rule shipped = {
	.rise = 3, .fall = 3, .ratio_bad = 5, .ratio_of = 20,
	.hold_after = SECOND, .rehash_after = 5 * SECOND,
	.min_down_time = 5 * SECOND,
};
/* A classic checker: nothing but rise and fall. */
static const struct verdict_rule classic = {
	.rise = 2, .fall = 3, .hold_after = 0, .rehash_after = 0,
};
static const struct verdict_rule no_ratio = {
	.rise = 3, .fall = 3, .hold_after = SECOND, .rehash_after = 5 * SECOND,
	.min_down_time = 5 * SECOND,
};
static const struct verdict_rule hasty = {
	.rise = 1, .fall = 1, .hold_after = SECOND,
};
static const struct verdict_rule slow_to_hold = {
	.rise = 3, .fall = 3, .hold_after = 2 * SECOND,
	.rehash_after = 5 * SECOND,
};
/* Silence never matters but by ratio. */
static const struct verdict_rule lossy = {
	.rise = 2, .fall = 64, .ratio_bad = 3, .ratio_of = 6,
	.hold_after = 3600 * SECOND, .rehash_after = 3600 * SECOND,
};
static const struct verdict_rule lossy_rehash = {
	.rise = 2, .fall = 64, .ratio_bad = 3, .ratio_of = 6,
	.hold_after = 3600 * SECOND, .rehash_after = 0,
};
static const struct verdict_rule both_at_once = {
	.rise = 1, .fall = 3, .hold_after = SECOND, .rehash_after = SECOND,
};
static const struct verdict_rule patient = {
	.rise = 64, .fall = 64, .hold_after = 3600 * SECOND,
	.rehash_after = 3600 * SECOND,
};
/* What it has may be old; and it is not DOWN for long. */
static const struct verdict_rule careful = {
	.rise = 3, .fall = 3, .hold_after = SECOND, .rehash_after = 5 * SECOND,
	.min_down_time = 2 * SECOND, .recovery = 3 * SECOND,
};
/* Three outages within 100 s: 10 s, then 20, then 40, and no longer. */
static const struct verdict_rule damped = {
	.rise = 1, .fall = 1, .hold_after = SECOND, .flap_hold = 10 * SECOND,
	.flap_hold_max = 40 * SECOND, .flap_window = 100 * SECOND,
};

static struct verdict_probe
at(enum verdict_class class, uint64_t began, uint64_t ended)
{
	return (struct verdict_probe){ .class = class, .cleared = true,
	    .began = began, .ended = ended };
}

/* Time goes on by itself: the next probe starts 250 ms after the last one's
 * start, or when that has ended. */
struct clock {
	uint64_t due;
};

/*
 * '+' answers after 1 ms, 't' times out after 750 ms, 'x' is refused, 'e' a
 * wrong answer, 'l' our own fault, 'o' silence that may be ours; 'n' answers,
 * and is not cleared; 'f' answers, and was restarted.
 */
static struct verdict_probe
probe_of(char c, struct clock *clock)
{
	struct verdict_probe p = { .began = clock->due };

	p.ended = p.began + (c == 't' ? 750 * MS : MS);
	clock->due += c == 't' ? 750 * MS : 250 * MS;
	p.wrong = c == 'e';
	p.cleared = c != 'n';
	p.fresh_start = c == 'f';
	p.class = strchr("+nf", c) != NULL ? VERDICT_GOOD :
	    c == 't' ? VERDICT_SILENCE :
	    c == 'l' ? VERDICT_LOCAL :
	    c == 'o' ? VERDICT_VOID : VERDICT_PROOF;
	return p;
}

static char
letter(const struct verdict *v)
{
	return v->state < 5 ? "?UHDR"[v->state] : '!';
}

/* '.' lets a second pass. */
static struct verdict
live(const char *probes, const struct verdict_rule *rule, char *states)
{
	struct verdict v = verdict_init(SECOND);
	struct clock clock = { SECOND };

	for (; *probes != '\0'; probes++) {
		if (*probes == '.') {
			clock.due += SECOND;
		} else {
			const struct verdict_probe p =
			    probe_of(*probes, &clock);

			v = verdict_step(v, rule, &p);
		}
		*states++ = *probes == '.' ? '.' : letter(&v);
	}
	*states = '\0';
	return v;
}

static const struct {
	const char *about;
	const struct verdict_rule *rule;
	const char *probes, *states;
} lives[] = {
	{ "the first success decides", &shipped,
	  "+++", "UUU" },
	{ "failures out of UNKNOWN need fall as ever", &shipped,
	  "xx+", "??U" },
	{ "fall out of UNKNOWN", &shipped,
	  "xxx", "??D" },
	{ "silence out of UNKNOWN", &shipped,
	  "tt", "?H" },
	{ "fall", &shipped,
	  "+xxx", "UUUD" },
	{ "an answer forgives", &shipped,
	  "+xx+xx+", "UUUUUUU" },
	{ "a wrong answer is proof", &shipped,
	  "+exe", "UUUD" },
	{ "one unanswered probe is nothing, however long", &hasty,
	  "+t....+", "UU....U" },
	{ "our own fault is nothing", &shipped,
	  "l+llllll", "?UUUUUUU" },
	{ "and does not part proofs", &shipped,
	  "+xlxlx", "UUUUUD" },
	{ "nor answers", &shipped,
	  "xxx......+l+l+", "??D......DDDDU" },
	{ "nor silences: on both sides nobody answered", &shipped,
	  "+tltl", "UUUHH" },
	{ "each time", &shipped,
	  "+ltltltltltltltlt+", "UUUUHHHHHHHHHHDDDD" },
	{ "but while it lasts nobody knows", &shipped,
	  "+tl......ttttttt", "UUU......HHHHHDD" },
	{ "nor in all that time", &shipped,
	  "+tllltll..tt", "UUUUUHHH..HH" },
	{ "what was before goes on behind it", &shipped,
	  "+tt...ltt", "UUH...HDD" },
	{ "two at least", &hasty,
	  "+tl....l+", "UUU....UU" },
	{ "where no time is asked for", &classic,
	  "+tlt", "UUUD" },
	{ "HELD stays HELD", &shipped,
	  "+ttlllll....l+", "UUHHHHHH....HU" },
	{ "silence before it is part of a ratio", &lossy,
	  "+t+tl+t+", "UUUUUUHU" },
	{ "silence that may be ours is void", &shipped,
	  "o+oooooo", "?UUUUUUU" },
	{ "and does not part proofs", &shipped,
	  "+xoxox", "UUUUUD" },
	{ "silence after it is another", &shipped,
	  "+to......tt", "UUU......UH" },
	{ "however long a silence was before", &shipped,
	  "+tt...otttttttt", "UUH...HHHHHHHDD" },
	{ "two at least, since then", &hasty,
	  "+tot+", "UUUUU" },
	{ "also where no time is asked for", &classic,
	  "+tott", "UUUUD" },
	{ "also with a proof between", &no_ratio,
	  "+txot..x", "UUUUU..U" },
	{ "one of many", &shipped,
	  "+toootoo..tt", "UUUUUUUU..UH" },
	{ "HELD stays HELD with it", &shipped,
	  "+ttooooo....o+", "UUHHHHHH....HU" },
	{ "the silence before it is no part of a ratio; others are", &lossy,
	  "+t+to+tt", "UUUUUUUH" },
	{ "no part", &lossy,
	  "+t+to+t+", "UUUUUUUU" },
	{ "silence: HELD at once when due, one answer ends it", &shipped,
	  "+tt+", "UUHU" },
	{ "silence to the end", &shipped,
	  "+tttttttt", "UUHHHHHDD" },
	{ "the proof between does not reset the silence", &no_ratio,
	  "+txt", "UUUH" },
	{ "one silence among proofs is not two", &no_ratio,
	  "+xtx..x", "UUUU..U" },
	{ "hold_after may come due with a proof", &slow_to_hold,
	  "+tt.x", "UUU.H" },
	{ "a silence of five seconds at the second probe", &shipped,
	  "+t....t", "UU....D" },
	{ "proof in HELD counts to fall", &shipped,
	  "+ttxxx", "UUHHHD" },
	{ "an answer in between starts it all over", &shipped,
	  "+tt+tt+tt", "UUHUUHUUH" },
	{ "proof after long silence: rehash is due", &shipped,
	  "+tt....x", "UUH....D" },
	{ "rise, and min_down_time, from the last failure on", &shipped,
	  "+xxx+++...+++++", "UUUDDDD...DDDDU" },
	{ "rise in a row", &shipped,
	  "xxx......++x+++", "??D......DDDDDU" },
	{ "min_down_time over, rise not", &shipped,
	  "xxx......++", "??D......DD" },
	{ "what failed before does not count against it later", &shipped,
	  "xxx......+++xx", "??D......DDUUU" },
	{ "a classic checker", &classic,
	  "+xxxx+x++", "UUUDDDDDU" },
	{ "no rehash_after: DOWN when HELD is due", &classic,
	  "+tt", "UUD" },
	{ "no damping", &hasty,
	  "+x+x+", "UDUDU" },
	{ "ratio by proof", &shipped,
	  "+x+x+x+x+x", "UUUUUUUUUD" },
	{ "ratio with a silence in it", &shipped,
	  "+x+x+t+x+x", "UUUUUUUUUH" },
	{ "and one answer ends that too; seen begins anew", &shipped,
	  "+t+t+t+t+t+t+t+t+t+t", "UUUUUUUUUHUUUUUUUUUH" },
	{ "ratio: the last six only", &lossy,
	  "+t+t+++t+t", "UUUUUUUUUU" },
	{ "ratio: one more of them", &lossy,
	  "+t+t+t", "UUUUUH" },
	{ "ratio with rehash_after 0", &lossy_rehash,
	  "+t+t+t++", "UUUUUDDU" },
	{ "hold and rehash due at once", &both_at_once,
	  "+tt", "UUD" },
	{ "who is not cleared stays DOWN, whatever rise and time say", &shipped,
	  "xxx......nnnnn+", "??D......DDDDDU" },
	{ "to be cleared is for the DOWN", &shipped,
	  "n+nttn", "UUUUHU" },
	{ "restarted and empty: two answers, no waiting", &shipped,
	  "xxxff", "??DDU" },
	{ "in a row", &shipped,
	  "xxxfxff", "??DDDDU" },
	{ "the newest has to say so", &shipped,
	  "xxxf+f", "??DDDU" },
	{ "rise may be less", &hasty,
	  "xf", "DU" },
	{ "RECOVERING from the first answer on, as long as the outage was",
	  &careful,
	  /* From 1 s to 3.751 s; until 6.502 s. */
	  "xxx..+++++++++++++", "??D..RRRRRRRRRRRRU" },
	/* From 10.751 s to 13.751 s. */
	{ "or as long as recovery is", &careful,
	  "xxx.........+.+.+++", "??D.........R.R.RRU" },
	{ "rise in a row, the first answer counts", &careful,
	  "xxx..+...++", "??D..R...RU" },
	{ "a lost packet does not begin it anew", &careful,
	  "xxx..+t..+++", "??D..RR..RRU" },
	{ "nor one proof", &careful,
	  "xxx..+x..+++", "??D..RR..RRU" },
	{ "fall proofs do", &careful,
	  "xxx..+xxx+..++", "??D..RRRDR..RR" },
	{ "what would be HELD was never to be waited for", &careful,
	  "xxx..+tt+", "??D..RRDR" },
	{ "long after it began, not before it is cleared", &careful,
	  "xxx..+...nnnn+", "??D..R...RRRRU" },
	{ "not trusted, but restarted: nothing is on its way", &careful,
	  "xxxff", "??DRU" },
	{ "seen to be so at the second answer", &careful,
	  "xxx+f", "??DRU" },
	{ "what may be our own silence is nothing", &careful,
	  "xxx..+totot...+++", "??D..RRRRRR...RRU" },
	{ "two outages are nothing", &damped,
	  "+x+x+", "UDUDU" },
	{ "three are", &damped,
	  "+x+x+x+++", "UDUDUDDDD" },
	{ "for ten seconds", &damped,
	  "+x+x+x.........+++++", "UDUDUD.........DDDUU" },
	{ "restarted or not", &damped,
	  "+x+x+x.........fffff", "UDUDUD.........DDDUU" },
	{ "then for twenty", &damped,
	  "+x+x+x..........+x..........+..........+",
	  "UDUDUD..........UD..........D..........U" },
	{ "each hundred seconds one is forgotten", &damped,
	  "+x+"
	  ".................................................."
	  "..................................................+x+x+",
	  "UDU"
	  ".................................................."
	  "..................................................UDUDU" },
	{ "but one", &damped,
	  "+x+x+"
	  ".................................................."
	  "..................................................+x+x+",
	  "UDUDU"
	  ".................................................."
	  "..................................................UDUDD" },
	{ "64 in a row is still a row", &patient,
	  "+"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
	  "+", "U"
	  "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUU"
	  "UUUUUUUUUUUUUUUUUUUUUUUUUUUUUUUD"
	  "D" },
};

static void
test_lives(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lives); i++) {
		char got[128];

		live(lives[i].probes, lives[i].rule, got);
		if (strcmp(got, lives[i].states) != 0)
			fail_msg("%s: %s\nwant %s\ngot  %s", lives[i].about,
			    lives[i].probes, lives[i].states, got);
	}
}

/* 30 failed probes, then recovery: the window is full of old failures. */
static void
outage(const char *failure, const char *want)
{
	char probes[128] = "+", got[128], seen[8] = "";
	size_t n = 0;

	for (int i = 0; i < 30; i++)
		strcat(probes, failure);
	for (int i = 0; i < 40; i++)
		strcat(probes, "+");
	strcat(probes, "x+x+x+x+");
	live(probes, &shipped, got);
	for (size_t i = 0; got[i] != '\0'; i++)
		if ((n == 0 || seen[n - 1] != got[i]) && n < sizeof seen - 1)
			seen[n++] = got[i];
	if (strcmp(seen, want) != 0)
		fail_msg("outage of %s: want %s, got %s", failure, want, seen);
}

static void
test_no_flapping_after_an_outage(void **state)
{
	(void)state;
	outage("t", "UHDU");
	outage("x", "UDU");
}

static void
test_times(void **state)
{
	char got[32];
	struct verdict v;

	(void)state;
	v = live("", &shipped, got);
	assert_int_equal(v.since, SECOND);
	assert_int_equal(v.probes, 0);

	/* Probes at 1000, 1250, 1500, 1750 ms, 1 ms each. */
	v = live("+xxx", &shipped, got);
	assert_int_equal(v.since, 1751 * MS);
	assert_int_equal(v.down_since, 1751 * MS);
	assert_int_equal(v.back_since, 0);
	assert_int_equal(v.silent_since, 0);
	assert_int_equal(v.seen, 0);

	v = live("+xxx.....+++", &shipped, got);
	assert_int_equal(v.since, 7501 * MS);
	assert_int_equal(v.down_since, 1751 * MS);
	assert_int_equal(v.back_since, 7501 * MS);

	v = live("+xtt", &shipped, got);
	assert_int_equal(v.silent_since, 1500 * MS);
	assert_int_equal(v.since, 3000 * MS);
	assert_int_equal(v.down_since, 0);

	v = live("+tt+", &shipped, got);
	assert_int_equal(v.silent_since, 0);
	assert_int_equal(v.back_since, 0);
	assert_int_equal(v.since, 2751 * MS);
}

static void
test_outage(void **state)
{
	char got[32];
	struct verdict v;

	(void)state;
	/* 1000, 1250, 2000, 2750 ms; the last ends at 3500. */
	v = live("+xtt", &shipped, got);
	assert_int_equal(v.state, MCSHM_HELD);
	assert_int_equal(v.failing_since, 1250 * MS);
	assert_int_equal(v.outage_since, 0);
	assert_int_equal(v.flaps, 0);

	v = live("+xttxxx", &shipped, got);
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_int_equal(v.outage_since, 1250 * MS);
	assert_int_equal(v.flaps, 1);
	assert_int_equal(v.flapped, v.down_since);
	assert_int_equal(v.hold_until, 0);

	/* All one outage, and DOWN since it began. */
	v = live("+xxx..+++xxx.+", &careful, got);
	assert_string_equal(got, "UUUD..RRRRRD.R");
	assert_int_equal(v.outage_since, 1250 * MS);
	assert_int_equal(v.down_since, 1751 * MS);
	assert_int_equal(v.back_since, 0);
	assert_int_equal(v.flaps, 1);
	assert_int_equal(v.since, 6501 * MS);
	v = live("+xxx..+++xxx.+......++", &careful, got);
	assert_int_equal(v.state, MCSHM_UP);
	assert_int_equal(v.back_since, v.since);
	assert_int_equal(v.outage_since, 1250 * MS);

	/* Failures that are forgiven, or ours, are no part of it. */
	v = live("+xx+xxx", &shipped, got);
	assert_int_equal(v.outage_since, 2000 * MS);
	v = live("+ttoxxx", &shipped, got);
	assert_int_equal(v.outage_since, 3000 * MS);
	v = live("+txtoxxx", &shipped, got);
	assert_int_equal(v.outage_since, 1250 * MS);
	v = live("+ttlxxx", &shipped, got);
	assert_int_equal(v.outage_since, 1250 * MS);
	v = verdict_forget(live("+tt", &shipped, got));
	assert_int_equal(v.failing_since, 0);
}

static void
test_flaps(void **state)
{
	const struct verdict_probe x = at(VERDICT_PROOF,
	    200 * SECOND, 200 * SECOND);
	struct verdict_probe good;
	struct verdict_rule rule = damped;
	struct verdict v = { .state = MCSHM_UP, .flaps = 2,
	    .flapped = 190 * SECOND };
	struct verdict w = verdict_step(v, &rule, &x);
	static const uint64_t holds[] = { 0, 0, 10, 20, 40, 40, 40 };

	char got[16];

	(void)state;
	assert_int_equal(w.flaps, 3);
	assert_true(verdict_flapping(&w) && !verdict_flapping(&v));
	assert_int_equal(w.hold_until, 210 * SECOND);
	for (uint32_t i = 0; i < COUNT(holds); i++) {
		v.flaps = i;
		w = verdict_step(v, &rule, &x);
		assert_int_equal(w.hold_until, holds[i] == 0 ? 0 :
		    (200 + holds[i]) * SECOND);
	}
	v.flaps = UINT32_MAX;
	w = verdict_step(v, &rule, &x);
	assert_int_equal(w.flaps, UINT32_MAX);
	assert_int_equal(w.hold_until, 240 * SECOND);

	/* Half a window is kept for the next one. */
	v.flaps = 5;
	v.flapped = 50 * SECOND;
	v.state = MCSHM_DOWN;
	w = verdict_step(v, &rule, &x);
	assert_int_equal(w.flaps, 4);
	assert_int_equal(w.flapped, 150 * SECOND);

	/* Off, and off while it lasts. */
	v.state = MCSHM_UP;
	rule.flap_hold = 0;
	w = verdict_step(v, &rule, &x);
	assert_int_equal(w.hold_until, 0);
	v = live("+x+x+x++", &damped, got);
	assert_int_equal(v.state, MCSHM_DOWN);
	good = at(VERDICT_GOOD, 4 * SECOND, 4 * SECOND);
	v = verdict_step(v, &rule, &good);
	assert_int_equal(v.state, MCSHM_UP);

	/* What somebody else says of a time that never comes. */
	v = live("+x+x+x", &damped, got);
	v.hold_until = UINT64_MAX;
	good = at(VERDICT_GOOD, 60 * SECOND, 60 * SECOND);
	v = verdict_step(v, &damped, &good);
	assert_int_equal(v.state, MCSHM_UP);
}

/* DOWN, and no proof speaks for it. */
static void
test_silent(void **state)
{
	static const struct {
		const char *probes;
		bool silent;
	} cases[] = {
		{ "+tttttttt", true }, { "+ttttttttt", true },
		{ "+tttttt", false },			/* HELD */
		{ "+xxx", false }, { "+xxxtttt", false },
		{ "+ttxtttttt", false }, { "+ttxxx", false },
		{ "+xx+tttttttt", true },
		{ "+ttttttttx", false }, { "+ttttttttxttt", false },
		{ "+tttttttt++", true },		/* not UP yet */
		{ "+tttttttt+t", true }, { "+tttttttt+x", false },
		{ "+ttttttttlt", true },
		{ "+xxx......++", false }, { "", false }, { "+", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char got[32];
		const struct verdict v = live(cases[i].probes, &shipped, got);

		if (verdict_silent(&v) != cases[i].silent)
			fail_msg("%s", cases[i].probes);
	}
}

static void
test_silent_for_ages(void **state)
{
	char probes[256] = "+xx+", got[256];
	struct verdict v;

	(void)state;
	memset(probes + 4, 't', 200);
	v = live(probes, &shipped, got);
	assert_true(verdict_silent(&v));
	/* Stopped, and its host switched off later. */
	memcpy(probes, "+xxx", 4);
	v = live(probes, &shipped, got);
	assert_false(verdict_silent(&v));
	/* It answered meanwhile, and was not UP. */
	memset(probes + 4, 'n', 100);
	v = live(probes, &shipped, got);
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_false(verdict_silent(&v));
	/* One proof, long after it went DOWN. */
	memset(probes, 't', 200);
	probes[100] = 'x';
	v = live(probes, &shipped, got);
	assert_false(verdict_silent(&v));
	/* Silent, and then answering for long. */
	memcpy(probes, "+xx+", 4);
	memset(probes + 4, 't', 20);
	memset(probes + 24, 'n', 180);
	v = live(probes, &shipped, got);
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_true(verdict_silent(&v));
}

/* What was proven of an outage is over with it; or with who had it. */
static void
test_proven(void **state)
{
	const struct verdict_probe t = at(VERDICT_SILENCE, 30 * SECOND,
	    31 * SECOND);
	const struct verdict_probe x = at(VERDICT_PROOF, 40 * SECOND,
	    40 * SECOND);
	char got[64];
	struct verdict v;

	(void)state;
	v = live("+xxx......+++", &shipped, got);
	assert_int_equal(v.state, MCSHM_UP);
	assert_false(v.proven);
	v = live("+xxx......+++tttttttt", &shipped, got);
	assert_true(verdict_silent(&v));
	v = live("+xxx..+xx+.t", &careful, got);
	assert_int_equal(v.state, MCSHM_RECOVERING);
	assert_true(v.proven);
	v = live("+xxx..+tt", &careful, got);
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_false(verdict_silent(&v));

	/* Nobody looked: of a server that is not DOWN it counts no more. */
	v = verdict_forget(live("+xx", &shipped, got));
	assert_false(v.proven);
	v = live("+xxx", &shipped, got);
	assert_true(verdict_forget(v).proven);
	assert_true(verdict_inherit(v, SECOND, 9 * SECOND, SECOND).proven);

	/* Another has its place: until that one fails, for better or worse. */
	v = verdict_replace(v);
	assert_false(verdict_silent(&v));
	v = verdict_step(v, &shipped, &t);
	assert_true(verdict_silent(&v));
	v = verdict_step(v, &shipped, &t);
	v = verdict_step(v, &shipped, &x);
	v = verdict_step(v, &shipped, &t);
	assert_false(verdict_silent(&v));
}

static void
test_unanswered(void **state)
{
	static const struct {
		const char *probes;
		bool yes;
	} cases[] = {
		{ "", false }, { "+", false }, { "+t", true }, { "+x", false },
		{ "+tx", true }, { "+t+", false }, { "+tl", true },
		{ "+to", false },
		{ "+tt", true }, { "+tttttttt", false }, { "tt", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char got[32];
		const struct verdict v = live(cases[i].probes, &shipped, got);

		assert_int_equal(verdict_unanswered(&v), cases[i].yes);
	}
}

static void
test_failures(void **state)
{
	char got[128], probes[128] = "xxx";

	(void)state;
	for (unsigned i = 0; i < 70; i++) {
		const struct verdict v = live(probes, &shipped, got);

		assert_int_equal(v.state, MCSHM_DOWN);
		assert_int_equal(verdict_failures(&v), i < 64 ? i : 64);
		strcat(probes, i % 2 ? "x" : "t");
	}
	assert_int_equal(verdict_failures(&(struct verdict){
	    .state = MCSHM_DOWN, .history = 1, .seen = 3 }), 0);
}

static void
test_words(void **state)
{
	char got[32];
	const struct verdict v = live("+xelt+t", &shipped, got);

	(void)state;
	assert_int_equal(v.probes, 6);
	assert_int_equal(v.history, 0x22);	/* +xet+t: 100010 */
	assert_int_equal(v.proof, 0x18);	/*         011000 */
	assert_int_equal(v.wrong, 0x08);	/*         001000 */
	assert_int_equal(v.seen, 0x1f);		/* the first made it UP */
}

/* A local result changes nothing; but until the next look no time passes. */
static void
test_local(void **state)
{
	static const char *const probes[] = { "", "+", "+x", "+xt", "+tt" };
	const struct verdict_probe local = { .class = VERDICT_LOCAL,
	    .wrong = true, .began = 9 * SECOND, .ended = 10 * SECOND };
	const struct verdict_probe later = { .class = VERDICT_LOCAL,
	    .began = 11 * SECOND, .ended = 12 * SECOND };
	const struct verdict_probe x = at(VERDICT_PROOF, 20 * SECOND,
	    20 * SECOND);

	(void)state;
	for (size_t i = 0; i < COUNT(probes); i++) {
		char got[32];
		const struct verdict v = live(probes[i], &shipped, got);
		struct verdict_probe blind = { .class = VERDICT_BLIND };
		struct verdict w = verdict_step(v, &shipped, &local), u;

		assert_int_equal(w.blind_since, 9 * SECOND);
		w.blind_since = 0;
		assert_memory_equal(&v, &w, sizeof v);
		w.blind_since = 9 * SECOND;
		w = verdict_step(w, &shipped, &later);
		assert_int_equal(w.silent_since, v.silent_since == 0 ? 0 :
		    v.silent_since + 2 * SECOND);
		/* Some of it we did not look: the same. */
		blind.began = later.began;
		u = verdict_step(v, &shipped, &local);
		u = verdict_step(u, &shipped, &blind);
		assert_memory_equal(&u, &w, sizeof u);
		w = verdict_step(w, &shipped, &x);
		assert_int_equal(w.blind_since, 0);
		assert_int_equal(w.silent_since, v.silent_since == 0 ? 0 :
		    v.silent_since + 11 * SECOND);
	}
}

/* All that it changes is the silence that it came into. */
static void
test_void(void **state)
{
	static const struct {
		const char *probes;
		uint64_t seen;		/* after it */
	} cases[] = {
		{ "", 0 }, { "+", 0 }, { "+x", 0x1 }, { "+xtt", 0 },
		{ "+xt", 0x2 },		/* xt: the proof stays */
		{ "+t+", 0x3 },		/* that silence is over */
		{ "+t+xt", 0xe },
		{ "xxx......+", 0x1 },
	};
	const struct verdict_probe ours = { .class = VERDICT_VOID,
	    .wrong = true, .began = 9 * SECOND, .ended = 10 * SECOND };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char got[32];
		struct verdict v = live(cases[i].probes, &shipped, got);
		const struct verdict w = verdict_step(v, &shipped, &ours);

		v.silent_since = 0;
		v.seen = cases[i].seen;
		if ((v.proof & ((v.history & -v.history) - 1)) == 0)
			v.failing_since = 0;
		if (memcmp(&v, &w, sizeof v) != 0)
			fail_msg("\"%s\": seen 0x%llx", cases[i].probes,
			    (unsigned long long)w.seen);
	}
}

static void
test_usable(void **state)
{
	(void)state;
	for (uint32_t s = 0; s < 6; s++) {
		const struct verdict v = { .state = s };

		assert_int_equal(verdict_usable(&v),
		    s == MCSHM_UNKNOWN || s == MCSHM_UP);
		assert_int_equal(verdict_out(&v),
		    s == MCSHM_DOWN || s == MCSHM_RECOVERING);
	}
}

static void
test_in_transition(void **state)
{
	static const struct {
		const char *probes;
		bool yes;
	} cases[] = {
		{ "", true }, { "x", true }, { "+", false }, { "+x", true },
		{ "+x+", false }, { "+t", true }, { "+tt", true },
		{ "+tt+", false }, { "xxx", false }, { "xxx+", true },
		{ "xxx+x", false }, { "+l", false }, { "+xl", true },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char got[32];
		const struct verdict v = live(cases[i].probes, &shipped, got);

		if (verdict_in_transition(&v) != cases[i].yes)
			fail_msg("\"%s\" is %sin transition", cases[i].probes,
			    cases[i].yes ? "not " : "");
	}
}

/* Two more failures would be fall; after a gap it takes three again. */
static void
test_inherit(void **state)
{
	char got[32];
	const struct verdict v = live("+xxt", &shipped, got);
	const uint64_t checked = 10 * SECOND, gap = 2 * SECOND;
	struct verdict w = verdict_inherit(v, checked, 12 * SECOND, gap);

	(void)state;
	assert_int_equal(w.silent_since, v.silent_since + 2 * SECOND);
	w.silent_since = v.silent_since;
	assert_memory_equal(&v, &w, sizeof v);

	w = verdict_inherit(v, checked, 12 * SECOND + 1, gap);
	assert_int_equal(w.seen, 0);
	assert_int_equal(w.silent_since, 0);
	assert_int_equal(w.state, v.state);
	assert_int_equal(w.since, v.since);
	assert_int_equal(w.history, v.history);
	assert_int_equal(w.probes, v.probes);

	w = verdict_inherit(v, 13 * SECOND, 12 * SECOND, gap);
	assert_int_equal(w.seen, 0);

	/* Who left it kept no failing_since. */
	w = v;
	w.failing_since = 0;
	w = verdict_inherit(w, checked, 12 * SECOND, gap);
	assert_int_equal(w.failing_since, v.silent_since);
	w = live("+xx", &shipped, got);
	w.failing_since = 0;
	w = verdict_inherit(w, checked, 12 * SECOND, gap);
	assert_int_equal(w.failing_since, checked);

	/* It goes on to be RECOVERING, but not after a gap. */
	w = v;
	w.state = MCSHM_RECOVERING;
	w = verdict_inherit(w, checked, 12 * SECOND, gap);
	assert_int_equal(w.state, MCSHM_RECOVERING);
	assert_int_equal(w.since, v.since);
	assert_int_equal(w.seen, v.seen);
	w = verdict_inherit(w, checked, 12 * SECOND + 1, gap);
	assert_int_equal(w.state, MCSHM_DOWN);
	w.state = MCSHM_RECOVERING + 1;
	w = verdict_inherit(w, checked, checked, gap);
	assert_int_equal(w.state, MCSHM_DOWN);
}

/* Nobody looked for 8 s: a silence before and one after are no long one. */
static void
test_inherited_silence(void **state)
{
	const struct verdict_probe t = at(VERDICT_SILENCE, 20 * SECOND,
	    20 * SECOND + 750 * MS);
	struct verdict v = verdict_init(SECOND);
	struct verdict_probe one = at(VERDICT_GOOD, 10 * SECOND, 10 * SECOND);

	(void)state;
	v = verdict_step(v, &shipped, &one);
	one = at(VERDICT_SILENCE, 11 * SECOND, 11 * SECOND + 750 * MS);
	v = verdict_step(v, &shipped, &one);
	assert_int_equal(v.state, MCSHM_UP);
	v = verdict_inherit(v, one.ended, 20 * SECOND, 10 * SECOND);
	v = verdict_step(v, &shipped, &t);
	assert_int_equal(v.state, MCSHM_HELD);
	assert_int_equal(v.silent_since, 19 * SECOND + 250 * MS);
	assert_int_equal(v.failing_since, 11 * SECOND);
}

static void
test_inherited_evidence_does_not_count(void **state)
{
	const struct verdict_probe x = at(VERDICT_PROOF,
	    100 * SECOND, 100 * SECOND + MS);
	const struct verdict_probe t = at(VERDICT_SILENCE,
	    100 * SECOND, 101 * SECOND);
	const struct verdict_probe good = at(VERDICT_GOOD,
	    100 * SECOND, 100 * SECOND + MS);
	char got[32];
	struct verdict v = live("+xx", &shipped, got);

	(void)state;
	v = verdict_inherit(v, SECOND, 100 * SECOND, 10 * SECOND);
	v = verdict_step(v, &shipped, &x);
	v = verdict_step(v, &shipped, &x);
	assert_int_equal(v.state, MCSHM_UP);
	v = verdict_step(v, &shipped, &x);
	assert_int_equal(v.state, MCSHM_DOWN);

	/* HELD stays; its silence begins anew. */
	v = live("+tt", &shipped, got);
	v = verdict_inherit(v, SECOND, 100 * SECOND, 10 * SECOND);
	v = verdict_step(v, &shipped, &t);
	assert_int_equal(v.state, MCSHM_HELD);
	assert_int_equal(v.silent_since, 100 * SECOND);

	/* DOWN asks for rise again. */
	v = live("xxx......++", &shipped, got);
	v = verdict_inherit(v, SECOND, 100 * SECOND, 10 * SECOND);
	v = verdict_step(v, &shipped, &good);
	v = verdict_step(v, &shipped, &good);
	assert_int_equal(v.state, MCSHM_DOWN);
	v = verdict_step(v, &shipped, &good);
	assert_int_equal(v.state, MCSHM_UP);
}

/* Nobody looks any more. */
static void
test_unseen(void **state)
{
	static const struct { uint32_t is, becomes; } row[] = {
		{ MCSHM_UNKNOWN, MCSHM_UNKNOWN }, { MCSHM_UP, MCSHM_UNKNOWN },
		{ MCSHM_HELD, MCSHM_DOWN }, { MCSHM_DOWN, MCSHM_DOWN },
		{ MCSHM_RECOVERING, MCSHM_RECOVERING } };
	const uint64_t now = 100 * SECOND;

	(void)state;
	for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
		const struct verdict v = { .state = row[i].is, .since = SECOND,
			.down_since = SECOND };
		const struct verdict u = verdict_unseen(v, now);
		const bool other = row[i].is != row[i].becomes;

		assert_int_equal(u.state, row[i].becomes);
		assert_int_equal(u.since, other ? now : SECOND);
		assert_int_equal(u.down_since, row[i].is == MCSHM_HELD ? now :
		    SECOND);
	}
}

/* Nobody looked from one probe to the next: nobody was silent. */
static void
test_blind(void **state)
{
	const struct verdict_probe t = at(VERDICT_SILENCE,
	    100 * SECOND, 100 * SECOND + MS);
	char got[32];
	struct verdict v = live("+tt", &shipped, got), w;

	(void)state;
	w = verdict_blind(v, 4 * SECOND);
	w = verdict_blind(w, 5 * SECOND);	/* not sooner again */
	assert_int_equal(w.blind_since, 4 * SECOND);
	w = verdict_step(w, &shipped, &t);
	assert_int_equal(w.silent_since, v.silent_since + 96 * SECOND);
	assert_int_equal(w.blind_since, 0);
	assert_int_not_equal(w.state, MCSHM_DOWN);
	v = verdict_step(v, &shipped, &t);
	assert_int_equal(v.state, MCSHM_DOWN);
}

/* It was not probed for a while: evidence of before counts no more. */
static void
test_forget(void **state)
{
	const struct verdict_probe x = at(VERDICT_PROOF,
	    100 * SECOND, 100 * SECOND + MS);
	const struct verdict_probe t = at(VERDICT_SILENCE,
	    100 * SECOND, 101 * SECOND);
	char got[32];
	struct verdict v = live("+xxt", &shipped, got), w = verdict_forget(v);

	(void)state;
	assert_int_equal(w.seen, 0);
	assert_int_equal(w.silent_since, 0);
	w.seen = v.seen;
	w.silent_since = v.silent_since;
	w.failing_since = v.failing_since;
	w.proven = v.proven;
	assert_memory_equal(&v, &w, sizeof v);

	/* A silence of 98 seconds, with a pause in it, is none. */
	v = verdict_forget(live("+t", &shipped, got));
	v = verdict_step(v, &shipped, &t);
	assert_int_equal(v.state, MCSHM_UP);
	v = verdict_forget(live("+tt", &shipped, got));
	v = verdict_step(v, &shipped, &t);
	assert_int_equal(v.state, MCSHM_HELD);

	v = verdict_forget(live("+xx", &shipped, got));
	v = verdict_step(v, &shipped, &x);
	assert_int_equal(v.state, MCSHM_UP);
}

/* Times that are still to come have lasted for no time, not for ages. */
static void
test_clock_behind(void **state)
{
	const struct verdict_probe good = at(VERDICT_GOOD,
	    MS, 2 * MS);
	const struct verdict_probe t = at(VERDICT_SILENCE,
	    MS, 2 * MS);
	char got[32];
	struct verdict v = live("xxx", &shipped, got);

	(void)state;
	for (int i = 0; i < 5; i++)
		v = verdict_step(v, &shipped, &good);
	assert_int_equal(v.state, MCSHM_DOWN);

	v = live("+t", &shipped, got);
	v = verdict_step(v, &shipped, &t);
	assert_int_equal(v.state, MCSHM_UP);
}

/* Words agree with each other, whatever the caller says. */
static void
test_wrong_is_proof(void **state)
{
	struct verdict_probe good = at(VERDICT_GOOD, MS, 2 * MS);
	struct verdict v;

	(void)state;
	good.wrong = true;
	v = verdict_step(verdict_init(0), &shipped, &good);
	assert_int_equal(v.wrong, 0);
}

/* The obvious implementation ---------------------------------------------- */

struct obvious {
	char state;			/* ? U H D R */
	char *life;			/* '+', 'x', 't': all n of them; 'v':
					 * was 't', and is void */
	int n, from;			/* from: since the state changed */
	int goods, proofs, silences;	/* in a row since then; silences with
					 * proofs between them */
	uint64_t since, down_since, back_since;
	uint64_t silent_since;
	uint64_t blind, lost;		/* since when nobody looks, 0; and for
					 * how long nobody did, in a silence */
	bool silent;			/* no success since silent_since */
	uint64_t began[1000];		/* of each in life */
	uint64_t outage_since;
	uint64_t flapped, hold;
	int flaps;
	int open;			/* failures before it are void, all */
	int answered;			/* all before the last answer when it
					 * was not out */
};

static bool
obvious_out(const struct obvious *o)
{
	return o->state == 'D' || o->state == 'R';
}

/* It is called for each probe, and no two windows pass between two. */
static void
obvious_forget(struct obvious *o, const struct verdict_rule *r, uint64_t now)
{
	while (o->flaps > 0 && r->flap_window > 0 && now > o->flapped &&
	    now - o->flapped >= r->flap_window) {
		o->flaps--;
		o->flapped += r->flap_window;
	}
}

static void
obvious_outage(struct obvious *o, const struct verdict_rule *r, uint64_t now)
{
	o->down_since = now;
	o->flaps++;
	o->flapped = now;
	o->hold = o->flaps < 3 ? 0 : r->flap_hold;
	for (int i = 3; i < o->flaps && o->hold < r->flap_hold_max; i++)
		o->hold *= 2;
	if (o->hold > r->flap_hold_max)
		o->hold = r->flap_hold_max;
	/* The first failure behind the last answer. */
	for (int i = o->n - 1; i >= o->open && o->life[i] != '+'; i--)
		o->outage_since = o->began[i];
}

static void
obvious_change(struct obvious *o, const struct verdict_rule *r, char to,
    uint64_t now)
{
	const bool was_out = obvious_out(o);

	if (o->state == to)
		return;
	o->state = to;
	o->since = now;
	o->from = o->n;
	o->goods = o->proofs = o->silences = 0;
	if (to == 'R') {
		o->from--;
		o->goods = 1;
	}
	if (was_out && !obvious_out(o))
		o->back_since = now;
	if (!was_out && obvious_out(o))
		obvious_outage(o, r, now);
}

static void
obvious_count(struct obvious *o, char c, uint64_t began)
{
	o->began[o->n] = began;
	o->life[o->n++] = c;
	o->goods = c == '+' ? o->goods + 1 : 0;
	o->proofs = c == 'x' ? o->proofs + 1 : 0;
	if (c == '+') {
		o->silences = 0;
		o->silent = false;
	} else if (c == 't') {
		o->silences++;
		if (!o->silent) {
			o->silent_since = began;
			o->lost = 0;
		}
		o->silent = true;
	}
}

/* Whatever was silent since the last answer: it may have been us. */
static void
obvious_void(struct obvious *o)
{
	bool proof = false;

	o->silent = false;
	o->silences = 0;
	for (int i = o->n - 1; i >= o->open && o->life[i] != '+'; i--) {
		proof |= o->life[i] == 'x';
		if (o->life[i] == 't')
			o->life[i] = 'v';
	}
	if (!proof)
		o->open = o->n;
}

/* Is the ratio reached by probes of these kinds? */
static bool
obvious_ratio(const struct obvious *o, const struct verdict_rule *r,
    const char *kinds)
{
	int found = 0;

	for (int i = o->n - 1; i >= o->from && i >= o->n - r->ratio_of; i--)
		found += strchr(kinds, o->life[i]) != NULL;
	return r->ratio_of > 0 && found >= r->ratio_bad;
}

static void
obvious_failed(struct obvious *o, const struct verdict_rule *r, uint64_t now)
{
	const uint64_t silence = now - o->silent_since - o->lost;
	const bool held = o->state == 'H' || obvious_ratio(o, r, "xt") ||
	    (o->silences >= 2 && silence >= r->hold_after);
	const bool rehash = r->rehash_after == 0 ||
	    (o->silent && silence >= r->rehash_after);

	if (o->state == 'D')
		return;
	if (o->proofs >= r->fall || obvious_ratio(o, r, "x"))
		obvious_change(o, r, 'D', now);
	else if (held)
		obvious_change(o, r, rehash || o->state == 'R' ? 'D' : 'H',
		    now);
}

static void
obvious_good(struct obvious *o, const struct verdict_rule *r,
    const struct verdict_probe *p)
{
	const uint64_t now = p->ended, outage = o->since - o->outage_since;
	int rise = r->rise;

	if (!obvious_out(o)) {
		obvious_change(o, r, 'U', now);
		return;
	}
	if (o->state == 'D' && r->recovery > 0) {
		obvious_change(o, r, 'R', now);
		return;
	}
	if (p->fresh_start && rise > 2)
		rise = 2;
	if (o->goods < rise || !p->cleared || now < o->down_since + o->hold)
		return;
	if (!p->fresh_start && now - o->down_since < r->min_down_time)
		return;
	if (!p->fresh_start && o->state == 'R' && now - o->since <
	    (outage < r->recovery ? outage : r->recovery))
		return;
	obvious_change(o, r, 'U', now);
}

static void
obvious_step(struct obvious *o, const struct verdict_rule *r,
    const struct verdict_probe *p)
{
	if (o->blind != 0)
		o->lost += p->began - o->blind;
	o->blind = p->class == VERDICT_LOCAL ? p->began : 0;
	if (p->class == VERDICT_LOCAL)
		return;
	if (p->class == VERDICT_VOID) {
		obvious_void(o);
		return;
	}
	obvious_count(o, p->class == VERDICT_GOOD ? '+' :
	    p->class == VERDICT_PROOF ? 'x' : 't', p->began);
	obvious_forget(o, r, p->ended);
	if (p->class != VERDICT_GOOD)
		obvious_failed(o, r, p->ended);
	else
		obvious_good(o, r, p);
	if (p->class == VERDICT_GOOD && !obvious_out(o))
		o->answered = o->n;
}

/* DOWN, and no proof among all that failed since it was last in use. */
static bool
obvious_silent(const struct obvious *o)
{
	for (int i = o->answered; i < o->n; i++)
		if (o->life[i] == 'x')
			return false;
	return o->state == 'D';
}

static bool
obvious_in_transition(const struct obvious *o)
{
	const char newest = o->n > 0 ? o->life[o->n - 1] : ' ';

	return strchr("?HR", o->state) != NULL ||
	    (o->state == 'U' && newest != '+') ||
	    (o->state == 'D' && newest == '+');
}

static bool
agree(const struct verdict *v, const struct obvious *o)
{
	return letter(v) == o->state && v->since == o->since &&
	    v->down_since == o->down_since && v->back_since == o->back_since &&
	    v->silent_since == (o->silent ? o->silent_since + o->lost : 0) &&
	    v->outage_since == o->outage_since &&
	    v->flaps == (uint32_t)o->flaps && v->flapped == o->flapped &&
	    (v->hold_until == 0 ? o->hold == 0 :
		v->hold_until == o->down_since + o->hold) &&
	    v->probes == (uint64_t)o->n &&
	    verdict_in_transition(v) == obvious_in_transition(o) &&
	    verdict_silent(v) == obvious_silent(o) &&
	    verdict_usable(v) == (o->state == '?' || o->state == 'U');
}

/* The same life, told to both. */
struct pair {
	struct verdict v;
	struct obvious o;
	struct clock clock;
};

static struct pair
pair_init(char *life)
{
	return (struct pair){ verdict_init(SECOND),
	    { .state = '?', .life = life, .since = SECOND }, { SECOND } };
}

static void
pair_step(struct pair *now, const struct verdict_rule *r, char c)
{
	const struct verdict_probe p = probe_of(c, &now->clock);

	now->v = verdict_step(now->v, r, &p);
	obvious_step(&now->o, r, &p);
	if (agree(&now->v, &now->o))
		return;
	fail_msg("rise %u fall %u ratio %u/%u hold %u rehash %u min_down %u "
	    "recovery %u flap %u to %u in %u (ms): %.*s, then %c: %c, "
	    "obviously %c", r->rise, r->fall, r->ratio_bad, r->ratio_of,
	    (unsigned)(r->hold_after / MS), (unsigned)(r->rehash_after / MS),
	    (unsigned)(r->min_down_time / MS), (unsigned)(r->recovery / MS),
	    (unsigned)(r->flap_hold / MS), (unsigned)(r->flap_hold_max / MS),
	    (unsigned)(r->flap_window / MS), now->o.n, now->o.life, c,
	    letter(&now->v), now->o.state);
}

#define SHORT_LIFE 10

static void
every_life(const struct verdict_rule *rule, const char *letters,
    const struct pair *before, int left)
{
	if (left == 0)
		return;
	for (const char *c = letters; *c != '\0'; c++) {
		struct pair now = *before;
		char life[SHORT_LIFE];

		memcpy(life, before->o.life, sizeof life);
		now.o.life = life;
		pair_step(&now, rule, *c);
		every_life(rule, letters, &now, left - 1);
	}
}

static void
test_every_life_of_ten(void **state)
{
	static const struct verdict_rule rules[] = {
		{ .rise = 2, .fall = 2, .ratio_bad = 3, .ratio_of = 5,
		  .hold_after = SECOND, .rehash_after = 3 * SECOND,
		  .min_down_time = 700 * MS },
		{ .rise = 3, .fall = 3, .hold_after = SECOND,
		  .rehash_after = 2 * SECOND },
		{ .rise = 1, .fall = 2, .ratio_bad = 4, .ratio_of = 9,
		  .hold_after = 2 * SECOND, .min_down_time = SECOND },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rules); i++) {
		char life[SHORT_LIFE] = "";
		const struct pair birth = pair_init(life);

		every_life(&rules[i], "+xtl", &birth, SHORT_LIFE);
		every_life(&rules[i], "+xtlo", &birth, SHORT_LIFE - 2);
	}
}

/* With who comes back, and how. */
static void
test_every_life_of_who_comes_back(void **state)
{
	static const struct verdict_rule rules[] = {
		{ .rise = 2, .fall = 1, .hold_after = SECOND,
		  .rehash_after = 2 * SECOND, .recovery = 700 * MS },
		{ .rise = 3, .fall = 2, .hold_after = SECOND,
		  .min_down_time = 600 * MS, .recovery = 10 * SECOND },
		{ .rise = 1, .fall = 1, .hold_after = SECOND,
		  .flap_hold = 400 * MS, .flap_hold_max = 600 * MS,
		  .flap_window = 2 * SECOND },
		{ .rise = 1, .fall = 1, .ratio_bad = 2, .ratio_of = 4,
		  .recovery = 300 * MS, .flap_hold = 300 * MS,
		  .flap_hold_max = 2 * SECOND, .flap_window = SECOND },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rules); i++) {
		char life[SHORT_LIFE] = "";
		const struct pair birth = pair_init(life);

		every_life(&rules[i], "+xtlnf", &birth, 7);
		every_life(&rules[i], "+xtf", &birth, SHORT_LIFE - 1);
	}
}

/* 4 x 4 x 5 x 6 x 2 rules. */
static void
test_every_life_of_six_by_many_rules(void **state)
{
	static const struct { uint64_t hold, rehash; } waits[] = {
		{ 0, 0 }, { 0, SECOND }, { SECOND, 0 }, { SECOND, SECOND },
		{ 700 * MS, 2 * SECOND }, { 2 * SECOND, 3 * SECOND },
	};
	static const struct { uint8_t bad, of; } ratios[] = {
		{ 0, 0 }, { 1, 1 }, { 2, 3 }, { 3, 64 }, { 4, 4 },
	};

	(void)state;
	for (unsigned i = 0; i < 4 * 4 * 5 * 6 * 2; i++) {
		const unsigned ratio = i / 16 % 5, wait = i / 80 % 6;
		const struct verdict_rule rule = {
			.rise = (uint8_t)(1 + i % 4),
			.fall = (uint8_t)(1 + i / 4 % 4),
			.ratio_bad = ratios[ratio].bad,
			.ratio_of = ratios[ratio].of,
			.hold_after = waits[wait].hold,
			.rehash_after = waits[wait].rehash,
			.min_down_time = i / 480 * 900 * MS,
		};
		char life[SHORT_LIFE] = "";
		const struct pair birth = pair_init(life);

		every_life(&rule, "+xtl", &birth, 6);
	}
}

/* xorshift64: the same lives each time. */
static uint64_t
dice(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static unsigned
roll(uint64_t *seed, unsigned sides)
{
	return (unsigned)(dice(seed) >> 32) % sides;
}

/*
 * Up to 62: a silence that is more than 64 probes ago is forgotten by the
 * words, and would not be by counters.
 */
static struct verdict_rule
random_rule(uint64_t *seed)
{
	struct verdict_rule r = {
		.rise = (uint8_t)(1 + roll(seed, roll(seed, 2) ? 5 : 62)),
		.fall = (uint8_t)(1 + roll(seed, roll(seed, 2) ? 5 : 62)),
		.hold_after = roll(seed, 5) * roll(seed, 1000) * MS,
		.min_down_time = roll(seed, 9) * roll(seed, 1000) * MS,
	};

	if (roll(seed, 3) > 0) {
		r.ratio_of = (uint8_t)(1 + roll(seed, 64));
		r.ratio_bad = (uint8_t)(1 + roll(seed, r.ratio_of));
	}
	if (roll(seed, 4) > 0)
		r.rehash_after = r.hold_after +
		    roll(seed, 9) * roll(seed, 1000) * MS;
	if (roll(seed, 2) > 0)
		r.recovery = roll(seed, 20) * roll(seed, 1000) * MS;
	if (roll(seed, 2) > 0) {
		r.flap_hold = roll(seed, 20) * roll(seed, 1000) * MS;
		r.flap_hold_max = r.flap_hold * (1 + roll(seed, 9));
	}
	r.flap_window = (1 + roll(seed, 99)) * SECOND;
	return r;
}

/* A life in spells: mostly one kind, now and then another. */
static void
random_life(uint64_t *seed, const struct verdict_rule *rule, char *life,
    int length)
{
	struct pair now = pair_init(life);
	char mostly = '+';

	for (int i = 0; i < length; i++) {
		if (roll(seed, 12) == 0)
			mostly = "++xtelnfo"[roll(seed, 9)];
		now.clock.due += roll(seed, 8) ? 0 : roll(seed, 2000) * MS;
		pair_step(&now, rule, roll(seed, 5) ? mostly :
		    "+xtelnfo"[roll(seed, 8)]);
	}
}

static void
test_long_lives(void **state)
{
	uint64_t seed = UINT64_C(0x123456789abcdef1);

	(void)state;
	for (int i = 0; i < 10000; i++) {
		const struct verdict_rule rule = random_rule(&seed);
		char life[1000];

		random_life(&seed, &rule, life, sizeof life);
	}
}

/* The first answer of a server that took the place of one that was DOWN. */
static void
test_replaced(void **state)
{
	const struct verdict_probe bad = { .class = VERDICT_PROOF,
		.began = 20 * SECOND, .ended = 20 * SECOND };
	const struct verdict_probe good = { .class = VERDICT_GOOD,
		.began = 21 * SECOND, .ended = 21 * SECOND };
	struct verdict_rule rule = shipped;
	char got[16];
	struct verdict v = live("+xxx", &rule, got);

	(void)state;
	rule.recovery = rule.min_down_time = 60 * SECOND;
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_int_equal(verdict_step(v, &rule, &good).state,
	    MCSHM_RECOVERING);
	v.flaps = VERDICT_FLAPS;
	v.hold_until = 1000 * SECOND;
	v = verdict_replace(v);
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_int_equal(v.flaps, 0);
	assert_int_equal(v.flapped, 0);
	assert_int_equal(v.hold_until, 0);
	assert_int_equal(v.outage_since, 0);
	assert_true(v.newcomer);
	v = verdict_step(v, &rule, &bad);
	assert_int_equal(v.state, MCSHM_DOWN);
	v = verdict_step(v, &rule, &good);
	assert_int_equal(v.state, MCSHM_UP);
	assert_false(v.newcomer);
	assert_false(verdict_flapping(&v));
	for (int i = 0; i < 3; i++)
		v = verdict_step(v, &rule, &bad);
	assert_int_equal(v.state, MCSHM_DOWN);
	assert_int_equal(verdict_step(v, &rule, &good).state,
	    MCSHM_RECOVERING);
}

/* So it is for a daemon that takes it over before that answer. */
static void
test_replaced_and_inherited(void **state)
{
	const struct verdict_probe good = { .class = VERDICT_GOOD,
		.began = 5 * SECOND, .ended = 5 * SECOND };
	char got[16];
	struct verdict v = verdict_replace(live("+xxx", &careful, got));

	(void)state;
	for (uint64_t gap = 1; gap <= 3; gap += 2) {
		const struct verdict w = verdict_inherit(v, 2 * SECOND,
		    4 * SECOND, gap * SECOND);

		assert_int_equal(w.state, MCSHM_DOWN);
		assert_int_equal(verdict_step(w, &careful, &good).state,
		    MCSHM_UP);
	}
}

/* A name leads back to one that was left: as out of use since then. */
static void
test_rejoined(void **state)
{
	const struct verdict_probe good = { .class = VERDICT_GOOD,
		.cleared = true, .began = 21 * SECOND, .ended = 21 * SECOND };
	struct verdict_probe late = good;
	struct verdict_rule rule = shipped;
	char got[16];
	struct verdict v = live("+++", &rule, got), w;

	(void)state;
	rule.recovery = 60 * SECOND;
	w = verdict_rejoin(v, 10 * SECOND, true, 20 * SECOND);
	assert_int_equal(w.state, MCSHM_RECOVERING);
	assert_int_equal(w.since, 20 * SECOND);
	for (int i = 0; i < 9; i++)
		w = verdict_step(w, &rule, &good);
	assert_int_equal(w.state, MCSHM_RECOVERING);
	late.began = late.ended = 30 * SECOND;
	w = verdict_step(w, &rule, &late);
	assert_int_equal(w.state, MCSHM_UP);
	assert_int_equal(w.back_since, 30 * SECOND);

	/* Nobody wants it to be flushed: in use, and back since now. */
	w = verdict_rejoin(v, 10 * SECOND, false, 20 * SECOND);
	assert_int_equal(w.state, MCSHM_UP);
	assert_int_equal(w.back_since, 20 * SECOND);
	assert_int_equal(w.outage_since, 10 * SECOND);

	/* One that does not answer there yet stays DOWN, and is no newcomer. */
	v = live("+xxx", &rule, got);
	w = verdict_rejoin(v, SECOND, true, 20 * SECOND);
	assert_int_equal(w.state, MCSHM_DOWN);
	assert_int_equal(verdict_step(w, &rule, &good).state,
	    MCSHM_RECOVERING);
	w = verdict_rejoin(v, SECOND, false, 20 * SECOND);
	assert_int_equal(verdict_step(w, &rule, &good).state, MCSHM_UP);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_no_flapping_after_an_outage),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_flaps),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_silent_for_ages),
		cmocka_unit_test(test_proven),
		cmocka_unit_test(test_unanswered),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_void),
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_in_transition),
		cmocka_unit_test(test_inherit),
		cmocka_unit_test(test_inherited_evidence_does_not_count),
		cmocka_unit_test(test_inherited_silence),
		cmocka_unit_test(test_blind),
		cmocka_unit_test(test_unseen),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_clock_behind),
		cmocka_unit_test(test_wrong_is_proof),
		cmocka_unit_test(test_every_life_of_ten),
		cmocka_unit_test(test_every_life_of_who_comes_back),
		cmocka_unit_test(test_every_life_of_six_by_many_rules),
		cmocka_unit_test(test_long_lives),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_replaced_and_inherited),
		cmocka_unit_test(test_rejoined),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
