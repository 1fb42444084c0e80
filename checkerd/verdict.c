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
 * For the same reason silences go out of it when they may have been ours.
 */
#include <assert.h>

#include "verdict.h"
#include "span.h"

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
static bool
ratio_reached(uint64_t bad, const struct verdict_rule *rule)
{
	return rule->ratio_of != 0 &&
	    count(bad & newest(rule->ratio_of)) >= rule->ratio_bad;
}

static bool
silent_for(const struct verdict *v, uint64_t time, uint64_t now)
{
	return v->silent_since != 0 && span_passed(v->silent_since, now) >= time;
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
	if (v->state == MCSHM_RECOVERING)
		return MCSHM_DOWN;	/* there are no keys to be kept */
	if (rule->rehash_after == 0 || silent_for(v, rule->rehash_after, now))
		return MCSHM_DOWN;
	return MCSHM_HELD;
}

bool
verdict_out(const struct verdict *v)
{
	return v->state == MCSHM_DOWN || v->state == MCSHM_RECOVERING;
}

/* It went down too often; rules may have changed since that was said. */
static bool
is_held_back(const struct verdict *v, const struct verdict_rule *rule,
    uint64_t now)
{
	return rule->flap_hold != 0 && now < v->hold_until &&
	    span_passed(v->down_since, now) < rule->flap_hold_max;
}

/* A set that a client gave up on is sent again after pauses that double: the
 * last one can arrive as long after the outage as that has lasted. */
static bool
is_recovered(const struct verdict *v, const struct verdict_rule *rule,
    uint64_t now)
{
	const uint64_t outage = span_passed(v->outage_since, v->since);

	return span_passed(v->since, now) >=
	    (outage < rule->recovery ? outage : rule->recovery);
}

/* What was sent to a server before it was restarted is lost with it. */
static bool
may_return(const struct verdict *v, const struct verdict_rule *rule,
    const struct verdict_probe *probe)
{
	const uint64_t now = probe->ended;
	const bool empty = probe->fresh_start;

	if (!probe->cleared || is_held_back(v, rule, now) ||
	    !all(v->history & v->seen, empty && rule->rise > 2 ? 2 :
		rule->rise))
		return false;
	return empty || (is_recovered(v, rule, now) &&
	    span_passed(v->down_since, now) >= rule->min_down_time);
}

/* Only one that is out is asked for more than one answer: its keys have moved,
 * and will have to move again. */
static uint32_t
after_good(const struct verdict *v, const struct verdict_rule *rule,
    const struct verdict_probe *probe)
{
	if (!verdict_out(v) || v->newcomer)
		return MCSHM_UP;
	if (v->state == MCSHM_DOWN && rule->recovery != 0)
		return MCSHM_RECOVERING;
	return may_return(v, rule, probe) ? MCSHM_UP : v->state;
}

/* For as long as we could not look, nobody was silent. */
static void
look(struct verdict *v, uint64_t now)
{
	if (v->blind_since != 0 && v->silent_since != 0)
		v->silent_since += span_passed(v->blind_since, now);
	v->blind_since = 0;
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
	if (good) {
		v->silent_since = v->failing_since = 0;
		return;
	}
	if (v->failing_since == 0) {
		v->failing_since = probe->began;
		if (v->newcomer)	/* that was of its predecessor */
			v->proven = false;
	}
	v->proven |= proof;
	if (!proof && v->silent_since == 0)
		v->silent_since = probe->began;
}

static void
forget_flaps(struct verdict *v, const struct verdict_rule *rule, uint64_t now)
{
	uint64_t n;

	if (rule->flap_window == 0 || v->flaps == 0)
		return;
	n = span_passed(v->flapped, now) / rule->flap_window;
	if (n > v->flaps)
		n = v->flaps;
	v->flaps -= (uint32_t)n;
	v->flapped += n * rule->flap_window;
}

static uint64_t
flap_hold(uint32_t flaps, const struct verdict_rule *rule)
{
	uint64_t hold = rule->flap_hold;

	for (uint32_t n = VERDICT_FLAPS; n < flaps &&
	    hold < rule->flap_hold_max; n++)
		hold *= 2;
	return hold < rule->flap_hold_max ? hold : rule->flap_hold_max;
}

static void
begin_outage(struct verdict *v, const struct verdict_rule *rule, uint64_t now)
{
	v->down_since = now;
	v->outage_since = v->failing_since;
	v->flaps += v->flaps < UINT32_MAX;
	v->flapped = now;
	v->hold_until = rule->flap_hold != 0 && verdict_flapping(v) ?
	    now + flap_hold(v->flaps, rule) : 0;
}

static void
change(struct verdict *v, uint32_t state, const struct verdict_rule *rule,
    uint64_t now)
{
	const bool was_out = verdict_out(v);

	v->state = state;
	v->since = now;
	/* What makes it RECOVERING is the first answer of rise. */
	v->seen = state == MCSHM_RECOVERING;
	if (was_out && !verdict_out(v))
		v->back_since = now;
	else if (!was_out && verdict_out(v))
		begin_outage(v, rule, now);
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
	if ((open & v->proof) == 0)
		v->failing_since = 0;
}

struct verdict
verdict_step(struct verdict v, const struct verdict_rule *rule,
    const struct verdict_probe *probe)
{
	uint32_t state;

	look(&v, probe->began);
	if (probe->class == VERDICT_LOCAL || probe->class == VERDICT_BLIND) {
		v.blind_since = probe->began;
		return v;
	}
	if (probe->class == VERDICT_VOID) {
		void_silence(&v);
		return v;
	}
	record(&v, probe);
	forget_flaps(&v, rule, probe->ended);
	state = probe->class == VERDICT_GOOD ? after_good(&v, rule, probe) :
	    after_failure(&v, rule, probe->ended);
	if (state != v.state)
		change(&v, state, rule, probe->ended);
	if (probe->class != VERDICT_GOOD)
		return v;
	v.newcomer = false;
	if (!verdict_out(&v))
		v.proven = false;
	return v;
}

struct verdict
verdict_forget(struct verdict v)
{
	v.seen = 0;
	v.silent_since = v.failing_since = v.blind_since = 0;
	v.proven &= verdict_out(&v);
	return v;
}

struct verdict
verdict_blind(struct verdict v, uint64_t since)
{
	if (v.blind_since == 0)
		v.blind_since = since;
	return v;
}

struct verdict
verdict_unseen(struct verdict v, uint64_t now)
{
	if (v.state == MCSHM_UP) {
		v.state = MCSHM_UNKNOWN;
		v.since = now;
	} else if (v.state == MCSHM_HELD) {
		v.state = MCSHM_DOWN;
		v.since = v.down_since = now;
	}
	return v;
}

struct verdict
verdict_replace(struct verdict v)
{
	v = verdict_forget(v);
	v.outage_since = v.flapped = v.hold_until = 0;
	v.flaps = 0;
	v.newcomer = true;
	return v;
}

struct verdict
verdict_rejoin(struct verdict v, uint64_t outage, bool recovering, uint64_t now)
{
	v = verdict_replace(v);
	v.outage_since = outage;
	v.newcomer = !recovering;
	if (!recovering)
		v.back_since = now;
	else if (v.state != MCSHM_DOWN) {
		v.state = MCSHM_RECOVERING;
		v.since = v.down_since = now;
	}
	return v;
}

struct verdict
verdict_inherit(struct verdict v, uint64_t checked, uint64_t now,
    uint64_t max_gap)
{
	/* What a newer daemon may have left: not usable. */
	if (v.state > MCSHM_RECOVERING)
		v.state = MCSHM_DOWN;
	/* Not kept by who left it; it began no later than that. */
	if (v.failing_since == 0 && !v.newcomer && v.probes != 0 &&
	    !(v.history & 1))
		v.failing_since = v.silent_since != 0 ? v.silent_since :
		    checked;
	/* A last probe in the future is as good as none. */
	if (checked > now || now - checked > max_gap) {
		if (v.state == MCSHM_RECOVERING)
			v.state = MCSHM_DOWN;
		return verdict_forget(v);
	}
	if (v.silent_since != 0)
		v.silent_since += now - checked;
	return v;
}

bool
verdict_usable(const struct verdict *v)
{
	return v->state == MCSHM_UNKNOWN || v->state == MCSHM_UP;
}

/* An answer does not end it: keys that are kept by other means must not move
 * before it is UP.  Nor does time: a host that is switched off, long after its
 * server was stopped, does not make that a silent one. */
bool
verdict_silent(const struct verdict *v)
{
	return v->state == MCSHM_DOWN && !v->proven;
}

bool
verdict_unanswered(const struct verdict *v)
{
	return v->silent_since != 0 && !verdict_out(v);
}

bool
verdict_flapping(const struct verdict *v)
{
	return v->flaps >= VERDICT_FLAPS;
}

unsigned
verdict_failures(const struct verdict *v)
{
	return run(~v->history & v->seen);
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
