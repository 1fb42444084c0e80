/*
 * checker_return.c - one server: may one that was DOWN be trusted again?
 *
 * Between probes and recovery.h, which knows what follows from what.  Learns who
 * a server is while it is UP, and keeps that as it was while it is not; has the
 * way back gone, step by step; leaves our mark where others look for it.  Says
 * of a verdict that its server is another one now, or one of before, but must
 * not step it; and must not touch a server whose pool does not want it.
 */
#include "checker_engine.h"

#include <string.h>

#define MARK_EACH (5 * SECOND)
#define LAG (SECOND / 2)	/* between a server's going and the first probe
				 * that fails, beside the interval */
#define RISK_FOR (86400 * SECOND)
#define MINUTE (60 * SECOND)
#define TURN (20 * SECOND)	/* one that is not flushed by then may be ill */
#define TURN_KEPT (5 * SECOND)	/* while nobody asks for one, and two probes */

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

/* It came back since w answered first: whatever cleared it clears both. */
static bool
is_back_with(const struct watch *w, const struct watch *other)
{
	const uint64_t first = w->returning.recovery.first;

	return first != 0 && other->entry.verdict.back_since >= first;
}

/* In its own pool it may stand twice, for its weight, and comes back twice; but
 * where the other one is in use, its clients have what they stored. */
static bool
is_shared_with(const struct watch *w, const struct watch *other)
{
	return w != other && same_place(w, other) && (w->pool != other->pool ||
	    (!verdict_out(&other->entry.verdict) && !is_back_with(w, other)));
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

/* It is not to be flushed for that.  A reload may add such a pool, or a name
 * lead there, at any time. */
static bool
find_elsewhere(struct watch *w)
{
	struct returning *b = &w->returning;

	b->elsewhere |= w->pool->returns.flush && !w->pool->returns.shared &&
	    other_pool(w) != NULL;
	return b->elsewhere;
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

/* That, or another host is about to: it has the lock.  For a minute, for a lock
 * that stays is nobody's. */
static bool
is_counted(const struct watch *w, uint64_t now)
{
	return was_flushed(w, now) || is_recent(w->returning.foreign, now);
}

static uint64_t
flushes_most(const struct pool *p)
{
	const uint64_t most = (uint64_t)p->roster.servers.n *
	    p->returns.percent / 100;

	return most != 0 ? most : 1;
}

/* By the maintenance key in it, which a flush would erase. */
static bool
is_kept_out(const struct watch *w)
{
	return w->key_admin.admin != MCSHM_READY;
}

static bool
is_in_turn(const struct watch *w, uint64_t now)
{
	return verdict_out(&w->entry.verdict) && watch_is_probed(w) &&
	    rule_of(w).flush && !is_kept_out(w) && !is_counted(w, now) &&
	    recovery_is_next(&w->returning.recovery, now);
}

/*
 * What is left of the rate is for the first servers of those whose time has come
 * or will in a moment, in the order of the roster.  So all hosts that see the
 * same flush the same servers, and those locks agree on one host for each; if
 * each went for any, they would be as many as there are hosts before one has
 * seen a flush.  One whose turn leads to nothing does not hold up the rest.
 */
static void
turns_give(struct pool *p)
{
	const uint64_t now = p->c->now, most = flushes_most(p);
	uint64_t room = most > p->flushes ? most - p->flushes : 0;

	p->turn = p->roster.servers.n;
	for (uint32_t i = p->roster.servers.n; i-- > 0; )
		if (!is_in_turn(p->watch[i], now))
			p->watch[i]->returning.turn_at = 0;
	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		struct watch *w = p->watch[i];

		if (!is_in_turn(w, now))
			continue;
		if (room == 0 && p->turn > i)
			p->turn = i;
		if (room == 0)
			w->returning.turn_at = 0;
		else if (w->returning.turn_at == 0)
			w->returning.turn_at = now;
		room -= room != 0 && now - w->returning.turn_at < TURN;
	}
}

/* A while in which nothing was to be flushed, or might be, was nobody's turn. */
static void
turns_end(struct pool *p)
{
	for (uint32_t i = 0; i < p->roster.servers.n; i++)
		p->watch[i]->returning.turn_at = 0;
}

static void
flushes_count(struct pool *p)
{
	const uint64_t now = p->c->now;

	if (p->counted_at != 0 && now - p->counted_at < SECOND)
		return;
	if (now - p->counted_at > TURN_KEPT + 2 * p->schedule.fast_interval)
		turns_end(p);
	p->counted_at = now;
	p->flushes = 0;
	for (uint32_t i = 0; i < p->roster.servers.n; i++)
		p->flushes += is_counted(p->watch[i], now);
	turns_give(p);
}

/* One that was flushed just now may be once more: that costs nothing. */
static bool
is_within_rate(struct watch *w)
{
	struct pool *p = w->pool;
	const uint64_t now = p->c->now;
	uint64_t others;

	flushes_count(p);
	if (was_flushed(w, now))
		return true;
	others = p->flushes - (p->flushes != 0 && is_counted(w, now));
	return others < flushes_most(p) && w->i < p->turn;
}

static void
flush_noted(struct watch *w)
{
	const uint64_t now = w->pool->c->now;

	w->pool->flushes += !is_counted(w, now);
	w->returning.flushed = now;
}

static void
lock_noted(struct watch *w, const char *owner)
{
	struct returning *b = &w->returning;
	const uint64_t now = w->pool->c->now;
	const bool foreign = owner[0] != '\0' &&
	    strcmp(owner, w->pool->asking->words.host) != 0;

	if (foreign && b->foreign != 0)
		return;
	if (is_counted(w, now) && w->pool->flushes != 0)
		w->pool->flushes--;
	b->foreign = foreign ? now : 0;
	w->pool->flushes += is_counted(w, now);
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

/* Why it is not flushed, though it could be; 0: it may be. */
static uint32_t
flush_waits(struct watch *w)
{
	if (is_kept_out(w))
		return MCSHM_RETURNED_WAITS_KEY;
	if (!doubt_is_calm(w->pool))
		return MCSHM_RETURNED_WAITS_CALM;
	return is_within_rate(w) ? 0 : MCSHM_RETURNED_WAITS_RATE;
}

static void
tell_waits(struct watch *w)
{
	switch (w->returning.waits) {
	case MCSHM_RETURNED_WAITS_KEY:
		tell_return(w, false, "flush waits, it would erase the "
		    "maintenance key in the server", NULL, 0);
		return;
	case MCSHM_RETURNED_WAITS_CALM:
		tell_return(w, false, "flush waits, this host is in TILT or "
		    "the pool fails open", NULL, 0);
		return;
	default:
		tell_return(w, false, "flush waits, as many servers of the "
		    "pool as flush_percent allows were flushed within a "
		    "minute, or go before it", NULL, 0);
	}
}

/* Told once. */
static bool
may_flush(struct watch *w)
{
	struct returning *b = &w->returning;

	b->waits = flush_waits(w);
	if (b->waits != 0 && !b->told_wait)
		tell_waits(w);
	b->told_wait = b->waits != 0;
	return b->waits == 0;
}

bool
return_hurries(const struct watch *w)
{
	return verdict_out(&w->entry.verdict) &&
	    recovery_hurries(&w->returning.recovery);
}

/* How it came back says nothing of another time. */
void
return_forget(struct watch *w)
{
	struct returning *b = &w->returning;

	b->recovery = (struct recovery){ 0 };
	b->elsewhere = b->open = false;
	b->turn_at = 0;
	w->entry.returned = 0;
}

/* It went DOWN since its first answer, or since it came back last. */
static void
forget_relapse(struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;

	if (v->state != MCSHM_DOWN || w->returning.recovery.first >= v->since)
		return;
	return_forget(w);
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
	now.left = now.now > b->recovery.first + gap_of(w->pool);
	asks = recovery_asks(&b->recovery, &rule, &now, &b->mark);
	if (asks & (MCPROTO_ASK_LOCK | MCPROTO_ASK_FLUSH) &&
	    find_elsewhere(w))
		return MCPROTO_ASK_STATS;	/* enough to clear it, and
						 * then to unlock it */
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
	/* One at a time: the marker or the end of our note first. */
	if (p->returns.flush &&
	    !(asks & (MCPROTO_ASK_FLUSHED | MCPROTO_ASK_SEEN |
		MCPROTO_ASK_MARK)) &&
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

/* Its name may lead there again.  One that never said who it was is nobody. */
static void
left_keep(struct watch *w, const struct mcshm_address *at)
{
	const struct publish_entry *e = &w->entry;

	if (e->identity.clock == 0)
		return;
	w->left = (struct left){ .at = *at, .identity = e->identity,
		.gone = e->good_began, .since = w->pool->c->now };
	if (is_returning(w)) {
		w->left.gone = e->gone_began;
		w->left.since = e->verdict.outage_since;
	}
}

/* What it had when it was left it may still have.  Others may have used it all
 * the time: for us, it was out of reach until now. */
static void
left_rejoin(struct watch *w, const struct left *left)
{
	const uint64_t now = w->pool->c->now;
	struct publish_entry *e = &w->entry;

	e->identity = left->identity;
	e->failed_began = now;
	e->gone_began = left->gone;
	w->returning.used = w->returning.judge = true;
	e->verdict = verdict_rejoin(e->verdict, left->since,
	    w->pool->returns.flush, now);
}

/* But for the rate: databases felt the flush of the old one. */
void
return_replace(struct watch *w, const struct mcshm_address *was)
{
	struct publish_entry *e = &w->entry;
	const struct left left = w->left;

	left_keep(w, was);
	w->returning = (struct returning){ .ask = true,
		.flushed = w->returning.flushed };
	e->identity = (struct recovery_identity){ 0 };
	e->returned = 0;
	e->flushed = e->failed_began = e->gone_began = 0;
	e->degraded &= ~(uint64_t)MCSHM_DEGRADED_STALE_RISK;
	if (left.identity.clock != 0 &&
	    memcmp(&left.at, &e->address[0], sizeof left.at) == 0)
		left_rejoin(w, &left);
	else
		e->verdict = verdict_replace(e->verdict);
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

/* What is told of a step; and where the rule lets it stay RECOVERING. */
static const struct step_words {
	enum { STEP_QUIET, STEP_DEBUG, STEP_NOTICE, STEP_WARNING } level;
	const char *text, *stays;
} step_words[] = {
	[RECOVERY_RESTARTED] = { STEP_NOTICE, "was restarted, and began empty",
		NULL },
	[RECOVERY_OURS] = { STEP_WARNING, "is not flushed, another host "
		"reached it meanwhile: old values are possible for clients of "
		"this host", NULL },
	[RECOVERY_STRANGE] = { STEP_WARNING, "is not flushed, it was never UP "
		"on this host: old values are possible", NULL },
	[RECOVERY_WAITS] = { STEP_NOTICE, "flush waits for another host", NULL },
	[RECOVERY_LOCKED] = { STEP_DEBUG, "lock is ours, to be flushed", NULL },
	[RECOVERY_SENT] = { STEP_DEBUG, "flushed, to be verified", NULL },
	[RECOVERY_FLUSHED] = { STEP_NOTICE, "was flushed by us", NULL },
	[RECOVERY_FLUSHED_BY] = { STEP_NOTICE, "was flushed by another host",
		NULL },
	[RECOVERY_LEFT] = { STEP_WARNING, "was restarted, and another host "
		"uses it, and is not UP here yet: old values are possible for "
		"clients of this host", NULL },
	[RECOVERY_FULL] = { STEP_WARNING, "has no connection left for us, so "
		"that it is not known what it has", NULL },
	[RECOVERY_STOPPED] = { STEP_WARNING, "can not be flushed, for its "
		"clock stands still: old values are possible",
		"can not be flushed, for its clock stands still; it stays "
		"RECOVERING" },
	[RECOVERY_REFUSED] = { STEP_WARNING,
		"can not be flushed (memcached -F?): old values are possible",
		"can not be flushed (memcached -F?), and stays RECOVERING" },
	[RECOVERY_MUTE] = { STEP_WARNING,
		"tells nothing of itself: old values are possible",
		"tells nothing of itself, and stays RECOVERING" },
};

/* by: another host, or "" where nobody, or nobody knows who. */
static void
tell_step(struct watch *w, const struct recovery_rule *rule,
    enum recovery_event event, const char *by, uint64_t now)
{
	const struct step_words *words = &step_words[event];
	const char *text = words->text;

	if (event == RECOVERY_KEPT) {
		tell_kept(w, rule, now);
		return;
	}
	if (words->stays != NULL && rule->flush && rule->stay)
		text = words->stays;
	if (event == RECOVERY_FLUSHED_BY && by[0] == '\0')
		text = "was flushed by somebody";
	if (words->level == STEP_DEBUG)
		tell_debug(w, text);
	else if (words->level != STEP_QUIET)
		tell_return(w, words->level == STEP_WARNING, text,
		    by[0] != '\0' ? by : NULL, 0);
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
	if (r->untold != 0 || recovery_stands(r))
		return MCSHM_RETURNED_WAITS_SERVER;
	if (b->waits != 0)
		return b->waits;
	if (r->seen.clock < r->until || r->seen.clock < r->row)
		return MCSHM_RETURNED_WAITS_HOST;
	return b->asks & MCPROTO_ASK_LOCK && !told->locked ?
	    MCSHM_RETURNED_WAITS_LOCK : 0;
}

/* What it comes back as, and what it waits for, for all to see. */
static void
returned_show(struct watch *w, const struct recovery_look *look)
{
	const struct recovery *r = &w->returning.recovery;
	const bool flush = rule_of(w).flush;

	if (r->returned != 0)
		w->entry.returned = r->returned |
		    waits_for(w, look->told, look->ended) |
		    (w->returning.elsewhere ? MCSHM_RETURNED_SHARED : 0);
	else if (flush && !recovery_cleared(r) && r->untold != 0)
		w->entry.returned = MCSHM_RETURNED_WAITS_SERVER;
	else if (w->pool->asking->words.asks == 0 && !flush)
		w->entry.returned = MCSHM_RETURNED_UNKNOWN;
	risk_show(w);
}

static void
learn_return(struct watch *w, const struct finding *f)
{
	struct returning *b = &w->returning;
	const struct verdict *v = &w->entry.verdict;
	const struct recovery_outage outage = { .gone = w->entry.gone_began,
		.since = v->outage_since, .failed = w->entry.failed_began,
		.first = v->state == MCSHM_RECOVERING ? v->since : 0,
		.before = &w->entry.identity, .used = b->used,
		.host = w->pool->asking->words.host };
	const bool full = f->reason == MCSHM_R_MAXCONNS;
	const struct recovery_look look = { .asks = full ? MCPROTO_ASK_STATS :
		b->asks, .told = f->probe->told, .began = f->began,
		.ended = f->ended, .full = full };
	struct recovery_rule rule;
	enum recovery_event event;
	const char *by;

	if (b->recovery.first == 0)
		find_elsewhere(w);
	rule = rule_of(w);
	event = recovery_learn(&b->recovery, &rule, &outage, &look, &by);
	if (look.asks & MCPROTO_ASK_MARKS)
		lock_noted(w, look.told->owner);
	if (event == RECOVERY_SENT || event == RECOVERY_FLUSHED)
		w->entry.flushed = f->ended;
	if (event == RECOVERY_FLUSHED || event == RECOVERY_FLUSHED_BY)
		flush_noted(w);
	returned_show(w, &look);
	if (b->asks & MCPROTO_ASK_LOCK && event == RECOVERY_QUIET)
		tell_debug(w, "to be flushed, and another host has the lock");
	tell_step(w, &rule, event, by, f->ended);
}

/* Others have flushed it and use it, and something of our own (flap_hold, a
 * probe that failed) keeps our clients from it. */
static void
find_left(struct watch *w, uint64_t now)
{
	struct recovery *r = &w->returning.recovery;

	if (!recovery_cleared(r) ||
	    !recovery_is_left(r, now, gap_of(w->pool)))
		return;
	w->entry.returned |= r->returned;
	risk_show(w);
	tell_return(w, true, "was flushed by another host and is used by "
	    "others, and is not UP here yet: old values are possible for "
	    "clients of this host", NULL, 0);
}

/*
 * Clients used it all the time: it is used all the same, and went DOWN as the
 * pool failed open, or since.  The keys of one that was DOWN before that were
 * elsewhere: it has old values, and that others are silent, too, makes it no
 * better.
 */
bool
return_was_open(const struct watch *w)
{
	const struct pool *p = w->pool;

	return w->entry.open && w->entry.verdict.down_since + gap_of(p) >=
	    p->failopen.since;
}

/* While the pool fails open clients use it, and go on to; where that ends before
 * it is UP, its keys move after all, and it comes back as others do. */
static void
find_open(struct watch *w)
{
	struct returning *b = &w->returning;

	if (b->open && !w->entry.open)
		return_forget(w);
	if (b->recovery.first == 0)
		b->open = return_was_open(w);
}

/* It answers, and is not trusted yet.  One that has no connection left for us
 * will have one, and say who it is. */
static void
find_out(struct watch *w, struct finding *f)
{
	struct returning *b = &w->returning;

	forget_relapse(w);
	find_open(w);
	if (f->reason == MCSHM_R_MAXCONNS)
		recovery_lost(&b->recovery, b->asks);
	if (f->reason != MCSHM_R_MAXCONNS || rule_of(w).flush)
		learn_return(w, f);
	find_left(w, f->ended);
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

/* Somebody flushed it while it was UP: databases feel that, too.  Who does so
 * again and again shall not keep the others from their flush: that counts for
 * half of the time. */
static void
find_flushed(struct watch *w, const struct recovery_identity *is, uint64_t now)
{
	const struct recovery_identity *was = &w->entry.identity;
	const uint64_t last = w->returning.flushed;

	if (w->pool->returns.flush && is_recent(was->at, now) &&
	    !recovery_is_new(was, is) && was->pid == is->pid &&
	    was->cmd_flush < is->cmd_flush && !was_flushed(w, now) &&
	    (last == 0 || now - last >= 2 * MINUTE) &&
	    (w->entry.returned & MCSHM_RETURNED_REFUSED) == 0)
		flush_noted(w);
}

/* It answers, as it did. */
static void
find_usual(struct watch *w, const struct finding *f)
{
	const struct mcproto_told *told = f->probe->told;
	struct returning *b = &w->returning;
	struct recovery_identity is;

	b->used = true;
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
	find_flushed(w, &is, f->ended);
	if (w->entry.identity.clock == 0)	/* it may live elsewhere now */
		b->contact.since = b->contact.last;
	w->entry.identity = is;
	b->ask = false;
}

/* One that answers and is DOWN is used all the same while the pool fails open. */
static enum recovery_use
use_of(const struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;

	if (v->state == MCSHM_UP)
		return RECOVERY_UP;
	return verdict_out(v) && !w->entry.open ? RECOVERY_OUT :
	    RECOVERY_AWAITED;
}

static void
find_nothing(struct watch *w, const struct finding *f)
{
	struct returning *b = &w->returning;

	recovery_lost(&b->recovery, b->asks);
	/* By the answer that made it UP, if none came after it. */
	b->used |= w->entry.verdict.state == MCSHM_UP;
	if (!verdict_out(&w->entry.verdict))
		w->entry.gone_began = w->entry.good_began;
	w->entry.returned &= ~(uint64_t)MCSHM_RETURNED_WAITS;
	if (f->class == VERDICT_PROOF || f->class == VERDICT_SILENCE)
		w->entry.failed_began = f->began;
	if (w->entry.verdict.state != MCSHM_DOWN)
		return;
	return_forget(w);
}

void
return_finding(struct watch *w, struct finding *f)
{
	const bool good = f->class == VERDICT_GOOD;

	f->cleared = true;
	recovery_contact(&w->returning.contact, f->began,
	    good && !f->doubtful, use_of(w), gap_of(w->pool));
	if (!good)
		find_nothing(w, f);
	else if (is_returning(w))
		find_out(w, f);
	else
		find_usual(w, f);
}
