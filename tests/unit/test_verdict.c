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

/* Time goes on by itself: the next probe starts 250 ms after the last one's
 * start, or when that has ended. */
struct clock {
	uint64_t due;
};

/*
 * '+' answers after 1 ms, 't' times out after 750 ms, 'x' is refused, 'e' a
 * wrong answer, 'l' our own fault.
 */
static struct verdict_probe
probe_of(char c, struct clock *clock)
{
	struct verdict_probe p = { .began = clock->due };

	p.ended = p.began + (c == 't' ? 750 * MS : MS);
	clock->due += c == 't' ? 750 * MS : 250 * MS;
	p.wrong = c == 'e';
	p.class = c == '+' ? VERDICT_GOOD :
	    c == 't' ? VERDICT_SILENCE :
	    c == 'l' ? VERDICT_LOCAL : VERDICT_PROOF;
	return p;
}

static char
letter(const struct verdict *v)
{
	return v->state < 4 ? "?UHD"[v->state] : '!';
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
	{ "while it lasts nobody knows: silence after it is another", &shipped,
	  "+tl......tt", "UUU......UH" },
	{ "however long a silence was before", &shipped,
	  "+tt...ltttttttt", "UUH...HHHHHHHDD" },
	{ "two at least, since then", &hasty,
	  "+tlt+", "UUUUU" },
	{ "also where no time is asked for", &classic,
	  "+tltt", "UUUUD" },
	{ "also with a proof between", &no_ratio,
	  "+txlt..x", "UUUUU..U" },
	{ "one of many", &shipped,
	  "+tllltll..tt", "UUUUUUUU..UH" },
	{ "HELD stays HELD", &shipped,
	  "+ttlllll....l+", "UUHHHHHH....HU" },
	{ "the silence before it is no part of a ratio; others are", &lossy,
	  "+t+tl+tt", "UUUUUUUH" },
	{ "no part", &lossy,
	  "+t+tl+t+", "UUUUUUUU" },
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

/* All that our own fault changes is the silence that it came into. */
static void
test_local(void **state)
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
	const struct verdict_probe local = { VERDICT_LOCAL, true,
	    9 * SECOND, 10 * SECOND };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char got[32];
		struct verdict v = live(cases[i].probes, &shipped, got);
		const struct verdict w = verdict_step(v, &shipped, &local);

		v.silent_since = 0;
		v.seen = cases[i].seen;
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

	w = v;
	w.state = MCSHM_RECOVERING;
	w = verdict_inherit(w, checked, checked, gap);
	assert_int_equal(w.state, MCSHM_DOWN);
}

static void
test_inherited_evidence_does_not_count(void **state)
{
	const struct verdict_probe x = { VERDICT_PROOF, false,
	    100 * SECOND, 100 * SECOND + MS };
	const struct verdict_probe t = { VERDICT_SILENCE, false,
	    100 * SECOND, 101 * SECOND };
	const struct verdict_probe good = { VERDICT_GOOD, false,
	    100 * SECOND, 100 * SECOND + MS };
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

/* It was not probed for a while: evidence of before counts no more. */
static void
test_forget(void **state)
{
	const struct verdict_probe x = { VERDICT_PROOF, false,
	    100 * SECOND, 100 * SECOND + MS };
	const struct verdict_probe t = { VERDICT_SILENCE, false,
	    100 * SECOND, 101 * SECOND };
	char got[32];
	struct verdict v = live("+xxt", &shipped, got), w = verdict_forget(v);

	(void)state;
	assert_int_equal(w.seen, 0);
	assert_int_equal(w.silent_since, 0);
	w.seen = v.seen;
	w.silent_since = v.silent_since;
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
	const struct verdict_probe good = { VERDICT_GOOD, false, MS, 2 * MS };
	const struct verdict_probe t = { VERDICT_SILENCE, false, MS, 2 * MS };
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
	const struct verdict_probe good = { VERDICT_GOOD, true, MS, 2 * MS };
	const struct verdict v = verdict_step(verdict_init(0), &shipped, &good);

	(void)state;
	assert_int_equal(v.wrong, 0);
}

/* The obvious implementation ---------------------------------------------- */

struct obvious {
	char state;			/* ? U H D */
	char *life;			/* '+', 'x', 't': all n of them; 'v':
					 * was 't', and is void */
	int n, from;			/* from: since the state changed */
	int goods, proofs, silences;	/* in a row since then; silences with
					 * proofs between them */
	uint64_t since, down_since, back_since;
	uint64_t silent_since;
	bool silent;			/* no success since silent_since */
};

static void
obvious_change(struct obvious *o, char to, uint64_t now)
{
	if (o->state == to)
		return;
	if (o->state == 'D')
		o->back_since = now;
	if (to == 'D')
		o->down_since = now;
	o->state = to;
	o->since = now;
	o->from = o->n;
	o->goods = o->proofs = o->silences = 0;
}

static void
obvious_count(struct obvious *o, char c, uint64_t began)
{
	o->life[o->n++] = c;
	o->goods = c == '+' ? o->goods + 1 : 0;
	o->proofs = c == 'x' ? o->proofs + 1 : 0;
	if (c == '+') {
		o->silences = 0;
		o->silent = false;
	} else if (c == 't') {
		o->silences++;
		if (!o->silent)
			o->silent_since = began;
		o->silent = true;
	}
}

/* Whatever was silent since the last answer: it may have been us. */
static void
obvious_local(struct obvious *o)
{
	o->silent = false;
	o->silences = 0;
	for (int i = o->n - 1; i >= 0 && o->life[i] != '+'; i--)
		if (o->life[i] == 't')
			o->life[i] = 'v';
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
	const bool held = o->state == 'H' || obvious_ratio(o, r, "xt") ||
	    (o->silences >= 2 && now - o->silent_since >= r->hold_after);
	const bool rehash = r->rehash_after == 0 ||
	    (o->silent && now - o->silent_since >= r->rehash_after);

	if (o->state == 'D')
		return;
	if (o->proofs >= r->fall || obvious_ratio(o, r, "x"))
		obvious_change(o, 'D', now);
	else if (held)
		obvious_change(o, rehash ? 'D' : 'H', now);
}

static void
obvious_step(struct obvious *o, const struct verdict_rule *r,
    const struct verdict_probe *p)
{
	if (p->class == VERDICT_LOCAL) {
		obvious_local(o);
		return;
	}
	obvious_count(o, p->class == VERDICT_GOOD ? '+' :
	    p->class == VERDICT_PROOF ? 'x' : 't', p->began);
	if (p->class != VERDICT_GOOD)
		obvious_failed(o, r, p->ended);
	else if (o->state != 'D' || (o->goods >= r->rise &&
	    p->ended - o->since >= r->min_down_time))
		obvious_change(o, 'U', p->ended);
}

static bool
obvious_in_transition(const struct obvious *o)
{
	const char newest = o->n > 0 ? o->life[o->n - 1] : ' ';

	return o->state == '?' || o->state == 'H' ||
	    (o->state == 'U' && newest != '+') ||
	    (o->state == 'D' && newest == '+');
}

static bool
agree(const struct verdict *v, const struct obvious *o)
{
	return letter(v) == o->state && v->since == o->since &&
	    v->down_since == o->down_since && v->back_since == o->back_since &&
	    v->silent_since == (o->silent ? o->silent_since : 0) &&
	    v->probes == (uint64_t)o->n &&
	    verdict_in_transition(v) == obvious_in_transition(o) &&
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
	    "(ms): %.*s: %c, obviously %c", r->rise, r->fall, r->ratio_bad,
	    r->ratio_of, (unsigned)(r->hold_after / MS),
	    (unsigned)(r->rehash_after / MS), (unsigned)(r->min_down_time / MS),
	    now->o.n, now->o.life, letter(&now->v), now->o.state);
}

#define SHORT_LIFE 10

static void
every_life(const struct verdict_rule *rule, const struct pair *before,
    int left)
{
	if (left == 0)
		return;
	for (const char *c = "+xtl"; *c != '\0'; c++) {
		struct pair now = *before;
		char life[SHORT_LIFE];

		memcpy(life, before->o.life, sizeof life);
		now.o.life = life;
		pair_step(&now, rule, *c);
		every_life(rule, &now, left - 1);
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

		every_life(&rules[i], &birth, SHORT_LIFE);
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

		every_life(&rule, &birth, 6);
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
			mostly = "++xtel"[roll(seed, 6)];
		now.clock.due += roll(seed, 8) ? 0 : roll(seed, 2000) * MS;
		pair_step(&now, rule, roll(seed, 5) ? mostly :
		    "+xtel"[roll(seed, 5)]);
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

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_no_flapping_after_an_outage),
		cmocka_unit_test(test_times),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_usable),
		cmocka_unit_test(test_in_transition),
		cmocka_unit_test(test_inherit),
		cmocka_unit_test(test_inherited_evidence_does_not_count),
		cmocka_unit_test(test_forget),
		cmocka_unit_test(test_clock_behind),
		cmocka_unit_test(test_wrong_is_proof),
		cmocka_unit_test(test_every_life_of_ten),
		cmocka_unit_test(test_every_life_of_six_by_many_rules),
		cmocka_unit_test(test_long_lives),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
