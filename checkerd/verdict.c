/*
 * verdict.c - from single results to a belief about a server.
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 *
 * There are no counters.  A life is 64-bit words, newest probe in bit 0, and
 * every rule is a mask and a test on them, so that no counter can disagree with
 * the history, a reload may change any rule, and what is published is all that
 * there is.  Rules look at probes since the state last changed only (seen): a
 * server that came back would else be judged by the outage that it came from.
 * For the same reason silences go out of it when they turn out to be ours.
 */
#include <assert.h>

#include "verdict.h"

/* A mask of the newest n probes. */
static uint64_t
newest(unsigned n)
{
	assert(1 <= n && n <= 64);
	return ~UINT64_C(0) >> (64 - n);
}

static bool
all(uint64_t bits, unsigned n)
{
	return (~bits & newest(n)) == 0;
}

static unsigned
count(uint64_t bits)
{
	return (unsigned)__builtin_popcountll(bits);
}

/* How many of the newest probes have a 1, without a gap. */
static unsigned
run(uint64_t bits)
{
	return ~bits == 0 ? 64 : (unsigned)__builtin_ctzll(~bits);
}

/* A time that is still to come has not passed at all. */
static uint64_t
passed(uint64_t since, uint64_t now)
{
	return now > since ? now - since : 0;
}

static bool
ratio_reached(uint64_t bad, const struct verdict_rule *rule)
{
	return rule->ratio_of != 0 &&
	    count(bad & newest(rule->ratio_of)) >= rule->ratio_bad;
}

static bool
silent_for(const struct verdict *v, uint64_t time, uint64_t now)
{
	return v->silent_since != 0 && passed(v->silent_since, now) >= time;
}

/*
 * Nobody should wait for it any more.  One unanswered probe is not enough,
 * however long it took: a lost packet is nothing.
 */
static bool
hold_due(const struct verdict *v, const struct verdict_rule *rule, uint64_t now)
{
	const uint64_t failed = ~v->history & v->seen;
	const unsigned n = run(failed);

	if (v->state == MCSHM_HELD)
		return true;
	if (n >= 2 && count(failed & ~v->proof & newest(n)) >= 2 &&
	    silent_for(v, rule->hold_after, now))
		return true;
	return ratio_reached(failed, rule);
}

static uint32_t
after_failure(const struct verdict *v, const struct verdict_rule *rule,
    uint64_t now)
{
	const uint64_t proof = v->proof & v->seen;

	if (v->state == MCSHM_DOWN)
		return MCSHM_DOWN;
	if (all(proof, rule->fall) || ratio_reached(proof, rule))
		return MCSHM_DOWN;
	if (!hold_due(v, rule, now))
		return v->state;
	if (rule->rehash_after == 0 || silent_for(v, rule->rehash_after, now))
		return MCSHM_DOWN;
	return MCSHM_HELD;
}

/* Only DOWN asks for more than one answer: its keys have moved, and will have
 * to move again. */
static uint32_t
after_good(const struct verdict *v, const struct verdict_rule *rule,
    uint64_t now)
{
	if (v->state != MCSHM_DOWN)
		return MCSHM_UP;
	if (all(v->history & v->seen, rule->rise) &&
	    passed(v->since, now) >= rule->min_down_time)
		return MCSHM_UP;
	return MCSHM_DOWN;
}

static void
record(struct verdict *v, const struct verdict_probe *probe)
{
	const bool good = probe->class == VERDICT_GOOD;
	const bool proof = probe->class == VERDICT_PROOF;

	v->probes++;
	v->history = v->history << 1 | good;
	v->proof = v->proof << 1 | proof;
	v->wrong = v->wrong << 1 | (proof && probe->wrong);
	v->seen = v->seen << 1 | 1;
	if (good)
		v->silent_since = 0;
	else if (!proof && v->silent_since == 0)
		v->silent_since = probe->began;
}

static void
change(struct verdict *v, uint32_t state, uint64_t now)
{
	if (v->state == MCSHM_DOWN)
		v->back_since = now;
	if (state == MCSHM_DOWN)
		v->down_since = now;
	v->state = state;
	v->since = now;
	v->seen = 0;
}

struct verdict
verdict_init(uint64_t now)
{
	return (struct verdict){ .state = MCSHM_UNKNOWN, .since = now };
}

/* Failures since the last answer were silent, maybe, because of us. */
static void
void_silence(struct verdict *v)
{
	const uint64_t open = (v->history & -v->history) - 1;

	v->seen &= ~open | v->proof;
	v->silent_since = 0;
}

struct verdict
verdict_step(struct verdict v, const struct verdict_rule *rule,
    const struct verdict_probe *probe)
{
	uint32_t state;

	if (probe->class == VERDICT_LOCAL) {
		void_silence(&v);
		return v;
	}
	record(&v, probe);
	state = probe->class == VERDICT_GOOD ?
	    after_good(&v, rule, probe->ended) :
	    after_failure(&v, rule, probe->ended);
	if (state != v.state)
		change(&v, state, probe->ended);
	return v;
}

struct verdict
verdict_forget(struct verdict v)
{
	v.seen = 0;
	v.silent_since = 0;
	return v;
}

struct verdict
verdict_inherit(struct verdict v, uint64_t checked, uint64_t now,
    uint64_t max_gap)
{
	/* RECOVERING, or what a newer daemon may have left: not usable. */
	if (v.state > MCSHM_DOWN)
		v.state = MCSHM_DOWN;
	/* A last probe in the future is as good as none. */
	if (checked > now || now - checked > max_gap)
		return verdict_forget(v);
	return v;
}

bool
verdict_usable(const struct verdict *v)
{
	return v->state == MCSHM_UNKNOWN || v->state == MCSHM_UP;
}

bool
verdict_in_transition(const struct verdict *v)
{
	const bool good = v->history & 1;

	switch (v->state) {
	case MCSHM_UP:
		return v->probes != 0 && !good;
	case MCSHM_DOWN:
		return v->probes != 0 && good;
	default:
		return true;
	}
}
