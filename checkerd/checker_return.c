/*
 * checker_return.c - one server: may one that was DOWN be trusted again?
 *
 * Between probes and recovery.h, which knows what follows from what.  Learns who
 * a server is while it is UP, and keeps that as it was while it is not; has the
 * way back gone, step by step; leaves our mark where others look for it.  Must
 * not step a verdict, and must not touch a server whose pool does not want it.
 */
#include "checker_engine.h"

#include <string.h>

#define MARK_EACH (5 * SECOND)
#define LAG (SECOND / 2)	/* between a server's going and the first probe
				 * that fails, beside the interval */
#define RISK_FOR (86400 * SECOND)
#define MINUTE (60 * SECOND)

static struct recovery_rule
rule_of(const struct watch *w)
{
	const struct pool *p = w->pool;

	return (struct recovery_rule){
		.flush = p->returns.flush && !w->returning.elsewhere &&
		    !w->returning.open,
		.stay = p->returns.stay,
		.slack = p->schedule.interval + LAG,
		.pause = p->schedule.interval };
}

/* Answers that are no further apart are in a row: longer than what makes it
 * HELD, so that a probe that fails ends none. */
static uint64_t
gap_of(const struct pool *p)
{
	const uint64_t every = p->schedule.interval;

	return p->verdict.hold_after > every ? p->verdict.hold_after + every :
	    2 * every;
}

/* Servers that others use, too ---------------------------------------------- */

static bool
same_place(const struct watch *a, const struct watch *b)
{
	const struct mcshm_address *at = &a->entry.address[0];

	if (a->entry.addresses == 0 || b->entry.addresses == 0 ||
	    at->kind != b->entry.address[0].kind)
		return false;
	if (at->kind == MCSHM_KIND_UNIX)
		return strcmp(watch_server(a)->address.host,
		    watch_server(b)->address.host) == 0;
	return memcmp(at, &b->entry.address[0], sizeof *at) == 0;
}

/* In its own pool it may stand twice, for its weight, and comes back twice; but
 * where the other one is in use, its clients have what they stored. */
static bool
is_shared_with(const struct watch *w, const struct watch *other)
{
	return w != other && same_place(w, other) && (w->pool != other->pool ||
	    !verdict_out(&other->entry.verdict));
}

/* The pool of ours that it stands in as another server, too; NULL: none. */
static const struct pool *
other_pool(const struct watch *w)
{
	const struct checker *c = w->pool->c;

	for (uint32_t i = 0; i < c->pools; i++) {
		const struct pool *p = c->pool[i];

		for (uint32_t j = 0; j < p->roster.servers.n; j++)
			if (is_shared_with(w, p->watch[j]))
				return p;
	}
	return NULL;
}

/* The rate ------------------------------------------------------------------ */

static bool
is_recent(uint64_t when, uint64_t now)
{
	return when != 0 && when <= now && now - when < MINUTE;
}

/* Whoever flushed it: the databases feel them all. */
static bool
was_flushed(const struct watch *w, uint64_t now)
{
	return is_recent(w->returning.flushed, now) ||
	    is_recent(w->entry.flushed, now);
}

static void
flushes_count(struct pool *p)
{
	const uint64_t now = p->c->now;

	if (p->counted_at != 0 && now - p->counted_at < SECOND)
		return;
	p->counted_at = now;
	p->flushes = 0;
	for (uint32_t i = 0; i < p->roster.servers.n; i++)
		p->flushes += was_flushed(p->watch[i], now);
}

static bool
is_within_rate(struct watch *w)
{
	struct pool *p = w->pool;
	const uint64_t most = (uint64_t)p->roster.servers.n *
	    p->returns.percent / 100;

	flushes_count(p);
	return was_flushed(w, p->c->now) || p->flushes < (most != 0 ? most : 1);
}

static void
flush_noted(struct watch *w)
{
	const uint64_t now = w->pool->c->now;

	w->pool->flushes += !was_flushed(w, now);
	w->returning.flushed = now;
}

/* Asks ---------------------------------------------------------------------- */

/* It would be UP with a good answer now, if it were cleared. */
static bool
is_due(const struct watch *w, uint64_t now)
{
	const struct verdict_rule rule = doubt_rule(w);
	const struct verdict_probe one = { .class = VERDICT_GOOD,
		.cleared = true, .began = now, .ended = now };

	return verdict_step(w->entry.verdict, &rule, &one).state == MCSHM_UP;
}

/* Why it is not flushed, though it could be; once. */
static bool
may_flush(struct watch *w)
{
	const bool calm = doubt_is_calm(w->pool);
	const bool may = calm && is_within_rate(w);

	if (!may && !w->returning.told_wait)
		tell_return(w, false, calm ? "flush waits, as many servers of "
		    "the pool as flush_percent allows were flushed within a "
		    "minute" : "flush waits, this host is in TILT or the pool "
		    "fails open", NULL, 0);
	w->returning.told_wait = !may;
	w->returning.waits = may ? 0 : calm ? MCSHM_RETURNED_WAITS_RATE :
	    MCSHM_RETURNED_WAITS_CALM;
	return may;
}

/* It went DOWN again since its first answer. */
static void
forget_relapse(struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;

	if (v->state == MCSHM_DOWN && w->returning.recovery.first != 0 &&
	    w->returning.recovery.first < v->since)
		w->returning.recovery = (struct recovery){ 0 };
}

static uint32_t
asks_out(struct watch *w)
{
	struct returning *b = &w->returning;
	const struct recovery_rule rule = rule_of(w);
	struct recovery_now now = { .now = w->pool->c->now };
	uint32_t asks;

	forget_relapse(w);
	b->waits = 0;
	if (rule.flush && !recovery_cleared(&b->recovery))
		now.due = is_due(w, now.now);
	now.may_flush = now.due && now.now >= b->recovery.late && may_flush(w);
	asks = recovery_asks(&b->recovery, &rule, &now, &b->mark);
	if (asks & MCPROTO_ASK_FLUSH)
		flush_noted(w);
	return asks;
}

static uint64_t
mark_each(const struct pool *p)
{
	const uint64_t soon = p->verdict.rehash_after > p->schedule.interval ?
	    p->verdict.rehash_after : p->schedule.interval;

	return soon < MARK_EACH ? soon : MARK_EACH;
}

static uint32_t
asks_usual(struct watch *w)
{
	struct returning *b = &w->returning;
	const struct pool *p = w->pool;
	const uint64_t now = p->c->now;
	uint32_t asks = 0;

	if (b->ask && (p->faults.stats_interval != 0 || p->returns.flush))
		asks |= MCPROTO_ASK_STATS;
	if (recovery_cleared(&b->recovery)) {
		const struct recovery_rule rule = rule_of(w);
		const struct recovery_now n = { .now = now };

		asks |= recovery_asks(&b->recovery, &rule, &n, &b->mark);
	}
	/* One of the two at a time: the marker first. */
	if (p->returns.flush && !(asks & MCPROTO_ASK_FLUSHED) &&
	    now - b->marked >= mark_each(p) && recovery_vouch(&b->mark,
	    &b->contact, &w->entry.identity, gap_of(p))) {
		asks |= MCPROTO_ASK_MARK;
		b->marked = now;
	}
	return asks;
}

/* Another server has its place, and did not answer there yet: it has nothing to
 * come back from. */
static bool
is_returning(const struct watch *w)
{
	return verdict_out(&w->entry.verdict) && !w->entry.verdict.newcomer;
}

uint32_t
return_asks(struct watch *w)
{
	/* What only connects asks nobody who he is, but before a flush. */
	if (w->pool->asking->words.asks == 0 && !w->pool->returns.flush)
		w->returning.asks = 0;
	else if (is_returning(w))
		w->returning.asks = asks_out(w);
	else
		w->returning.asks = asks_usual(w);
	return w->returning.asks;
}

void
return_lost(struct watch *w)
{
	w->returning.ask = true;
}

void
return_dropped(struct watch *w)
{
	recovery_lost(&w->returning.recovery, w->returning.asks);
	w->returning.asks = 0;
}

/* But for the rate: databases felt the flush of the old one. */
void
return_replace(struct watch *w)
{
	struct publish_entry *e = &w->entry;

	w->returning = (struct returning){ .ask = true,
		.flushed = w->returning.flushed };
	e->identity = (struct recovery_identity){ 0 };
	e->returned = 0;
	e->flushed = 0;
	e->degraded &= ~(uint64_t)MCSHM_DEGRADED_STALE_RISK;
}

/* Answers ------------------------------------------------------------------- */

static void
risk_show(struct watch *w)
{
	struct publish_entry *e = &w->entry;

	if (recovery_is_risk((uint32_t)e->returned))
		e->degraded |= MCSHM_DEGRADED_STALE_RISK;
	else
		e->degraded &= ~(uint64_t)MCSHM_DEGRADED_STALE_RISK;
}

static void
tell_shared(struct watch *w)
{
	const struct pool *other = other_pool(w);

	tell_return(w, true, other == w->pool ? "came back with what it had, "
	    "is not flushed because another server of the pool has its address "
	    "(flush_shared = no): old values are possible" : "came back with "
	    "what it had, is not flushed because another pool has it too "
	    "(flush_shared = no): old values are possible", other != NULL ?
	    other->roster.pool : NULL, 0);
}

static void
tell_kept(struct watch *w, const struct recovery_rule *rule, uint64_t now)
{
	const struct recovery *r = &w->returning.recovery;

	if (rule->flush)
		tell_return(w, false, "came back with what it had, is flushed "
		    "before it is UP", NULL, r->late > now ? r->late - now : 0);
	else if (w->returning.elsewhere)
		tell_shared(w);
	else if (w->returning.open && w->pool->returns.flush &&
	    recovery_is_risk(r->returned))
		tell_return(w, true, "came back with what it had, is not "
		    "flushed because the pool fails open, and clients used it "
		    "all the time: old values are possible", NULL, 0);
	else if (recovery_is_risk(r->returned))
		tell_return(w, true, "came back with what it had: old values "
		    "are possible", NULL, 0);
	else
		tell_return(w, false, "came back, and was flushed meanwhile",
		    NULL, 0);
}

static void
tell_step(struct watch *w, const struct recovery_rule *rule,
    enum recovery_event event, const char *by, uint64_t now)
{
	switch (event) {
	case RECOVERY_QUIET:
		return;
	case RECOVERY_RESTARTED:
		tell_return(w, false, "was restarted, and began empty", NULL,
		    0);
		return;
	case RECOVERY_KEPT:
		tell_kept(w, rule, now);
		return;
	case RECOVERY_OURS:
		tell_return(w, true, "is not flushed, another host reached it "
		    "all the time: old values are possible for clients of this "
		    "host", by, 0);
		return;
	case RECOVERY_STRANGE:
		tell_return(w, true, "is not flushed, it was never UP on this "
		    "host: old values are possible", NULL, 0);
		return;
	case RECOVERY_WAITS:
		tell_return(w, false, "flush waits for another host", by, 0);
		return;
	case RECOVERY_LOCKED:
		tell_debug(w, "lock is ours, to be flushed");
		return;
	case RECOVERY_SENT:
		tell_debug(w, "flushed, to be verified");
		return;
	case RECOVERY_FLUSHED:
		tell_return(w, false, "was flushed by us", NULL, 0);
		return;
	case RECOVERY_FLUSHED_BY:
		tell_return(w, false, by[0] != '\0' ?
		    "was flushed by another host" : "was flushed by somebody",
		    by[0] != '\0' ? by : NULL, 0);
		return;
	case RECOVERY_REFUSED:
	case RECOVERY_MUTE:
		break;
	}
	tell_return(w, true, event == RECOVERY_MUTE ? rule->flush &&
	    rule->stay ? "tells nothing of itself, and stays RECOVERING" :
	    "tells nothing of itself: old values are possible" : rule->stay ?
	    "can not be flushed (memcached -F?), and stays RECOVERING" :
	    "can not be flushed (memcached -F?): old values are possible",
	    NULL, 0);
}

/* Its time is over, and what is missing. */
static uint32_t
waits_for(const struct watch *w, const struct mcproto_told *told, uint64_t now)
{
	const struct returning *b = &w->returning;
	const struct recovery *r = &b->recovery;

	if (recovery_cleared(r) || r->given_up || r->step != RECOVERY_WAIT ||
	    now < r->late || r->returned == 0)
		return 0;
	if (b->waits != 0)
		return b->waits;
	if (r->seen.clock < r->until)
		return MCSHM_RETURNED_WAITS_HOST;
	return b->asks & MCPROTO_ASK_LOCK && !told->locked ?
	    MCSHM_RETURNED_WAITS_LOCK : 0;
}

/* The start of the last probe in vain; or of an earlier daemon's. */
static uint64_t
last_failed(const struct watch *w)
{
	const struct publish_entry *e = &w->entry;

	if (w->returning.failed != 0)
		return w->returning.failed;
	return w->inherited && (e->verdict.history & 1) == 0 ? e->began : 0;
}

static void
learn_return(struct watch *w, const struct finding *f)
{
	struct returning *b = &w->returning;
	const struct recovery_outage outage = { .gone = b->good,
		.since = w->entry.verdict.outage_since, .failed = last_failed(w),
		.before = &w->entry.identity, .used = b->used,
		.host = w->pool->asking->words.host };
	const struct recovery_look look = { b->asks, f->probe->told, f->began,
		f->ended };
	struct recovery_rule rule;
	enum recovery_event event;
	const char *by;

	if (b->recovery.first == 0)
		b->elsewhere = w->pool->returns.flush &&
		    !w->pool->returns.shared && other_pool(w) != NULL;
	rule = rule_of(w);
	event = recovery_learn(&b->recovery, &rule, &outage, &look, &by);
	if (event == RECOVERY_SENT || event == RECOVERY_FLUSHED)
		w->entry.flushed = f->ended;
	if (event == RECOVERY_FLUSHED || event == RECOVERY_FLUSHED_BY)
		flush_noted(w);
	if (b->recovery.returned != 0)
		w->entry.returned = b->recovery.returned |
		    waits_for(w, look.told, f->ended);
	else if (w->pool->asking->words.asks == 0 && !rule.flush)
		w->entry.returned = MCSHM_RETURNED_UNKNOWN;
	risk_show(w);
	if (b->asks & MCPROTO_ASK_LOCK && event == RECOVERY_QUIET)
		tell_debug(w, "to be flushed, and another host has the lock");
	tell_step(w, &rule, event, by, f->ended);
}

/* While the pool fails open clients use it, and go on to; where that ends before
 * it is UP, its keys move after all, and it comes back as others do. */
static void
find_open(struct watch *w)
{
	struct returning *b = &w->returning;

	if (b->open && !w->entry.open)
		b->recovery = (struct recovery){ 0 };
	if (b->recovery.first == 0)
		b->open = w->entry.open;
}

/* It answers, and is not trusted yet.  One that has no connection left for us
 * will have one, and say who it is. */
static void
find_out(struct watch *w, struct finding *f)
{
	struct returning *b = &w->returning;

	forget_relapse(w);
	find_open(w);
	if (f->probe->reason == MCSHM_R_MAXCONNS)
		recovery_lost(&b->recovery, b->asks);
	else
		learn_return(w, f);
	f->fresh_start = b->recovery.returned & MCSHM_RETURNED_RESTARTED;
	f->cleared = !rule_of(w).flush || recovery_cleared(&b->recovery);
	b->ask = true;		/* who it is, once it is UP */
	b->judge = !recovery_cleared(&b->recovery);
}

/* Who it was at a look since it came back, before any flush of ours; NULL: there
 * was none yet. */
static const struct recovery_identity *
since_back(const struct watch *w)
{
	const struct recovery *r = &w->returning.recovery;

	if (w->entry.identity.at > w->entry.verdict.back_since)
		return &w->entry.identity;
	return r->seen.clock != 0 && !r->tried ? &r->seen : NULL;
}

/* What it had is gone by now, or has expired.  One that refuses to be flushed
 * counts it all the same. */
static bool
risk_is_over(const struct watch *w, const struct recovery_identity *is,
    uint64_t now)
{
	const struct recovery_identity *was = since_back(w);
	const uint64_t back = w->entry.verdict.back_since;

	if (is != NULL && was != NULL && (recovery_is_new(was, is) ||
	    (was->pid == is->pid && was->cmd_flush < is->cmd_flush &&
	    (w->entry.returned & MCSHM_RETURNED_REFUSED) == 0)))
		return true;
	return now > back && now - back >= RISK_FOR;
}

static void
risk_check(struct watch *w, const struct recovery_identity *is, uint64_t now)
{
	if ((w->entry.degraded & MCSHM_DEGRADED_STALE_RISK) == 0 ||
	    !risk_is_over(w, is, now))
		return;
	w->entry.degraded &= ~(uint64_t)MCSHM_DEGRADED_STALE_RISK;
	tell_return(w, false, "has no old values any more", NULL, 0);
}

/* It answers, as it did. */
static void
find_usual(struct watch *w, const struct finding *f)
{
	const struct mcproto_told *told = f->probe->told;
	struct returning *b = &w->returning;
	struct recovery_identity is;

	b->used = true;
	b->good = f->began;
	if (recovery_cleared(&b->recovery))
		recovery_tidied(&b->recovery, b->asks);
	if (b->asks & MCPROTO_ASK_STATS)
		b->ask = false;
	if (!told->stats.whole) {
		risk_check(w, NULL, f->ended);
		return;
	}
	if (b->judge && !rule_of(w).flush)
		learn_return(w, f);
	b->judge = false;
	is = recovery_identity(&told->stats, f->ended);
	risk_check(w, &is, f->ended);
	if (w->entry.identity.clock == 0)	/* it may live elsewhere now */
		b->contact.since = b->contact.last;
	w->entry.identity = is;
	b->ask = false;
}

static void
find_nothing(struct watch *w, const struct finding *f)
{
	struct returning *b = &w->returning;

	recovery_lost(&b->recovery, b->asks);
	w->entry.returned &= ~(uint64_t)MCSHM_RETURNED_WAITS;
	if (f->class != VERDICT_LOCAL && f->class != VERDICT_VOID)
		b->failed = f->began;
	if (w->entry.verdict.state == MCSHM_DOWN)
		b->recovery = (struct recovery){ 0 };
}

void
return_finding(struct watch *w, struct finding *f)
{
	const bool good = f->class == VERDICT_GOOD;

	f->cleared = true;
	recovery_contact(&w->returning.contact, f->began,
	    good && !f->doubtful, w->entry.verdict.state == MCSHM_UP,
	    gap_of(w->pool));
	if (!good)
		find_nothing(w, f);
	else if (is_returning(w))
		find_out(w, f);
	else
		find_usual(w, f);
}
