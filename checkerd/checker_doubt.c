/*
 * checker_doubt.c - ourselves: TILT, awareness, failing open.
 *
 * What is decided in doubt.c and failopen.c is applied here: silence that may
 * be our own doing is made void, servers are waited for, the silent ones are
 * used all the same.  Must not know how a server is probed, nor step a verdict.
 */
#include "checker_engine.h"

#include <time.h>

#define TICK (SECOND / 4)
#define TILT_EACH (60 * SECOND)

static struct doubt_clocks
clocks_read(void)
{
	return (struct doubt_clocks){ .boot = checker_clock(CLOCK_BOOTTIME),
		.mono = checker_clock(CLOCK_MONOTONIC),
		.real = checker_clock(CLOCK_REALTIME) };
}

/* One server ---------------------------------------------------------------- */

static void
swap_count(uint32_t *count, bool *counted, bool counts)
{
	*count += counts;
	*count -= *counted;
	*counted = counts;
}

/* By now; what it was when it was taken out says nothing of that. */
static bool
is_silent(const struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;

	return verdict_silent(v) && (v->history & 1) == 0 &&
	    (w->told || !w->recalled);
}

/* Those in whose favour can be doubted: not one that answers again. */
static void
doubt_count(struct watch *w)
{
	const struct publish_entry *e = &w->entry;
	const bool probed = watch_is_probed(w);
	struct doubted *d = &w->pool->doubted;

	swap_count(&d->probed, &w->counted.probed, probed);
	swap_count(&d->unanswered, &w->counted.unanswered,
	    probed && verdict_unanswered(&e->verdict));
	swap_count(&d->ready, &w->counted.ready, e->admin == MCSHM_READY);
	swap_count(&d->silent, &w->counted.silent, e->admin == MCSHM_READY &&
	    is_silent(w));
}

static bool
is_open(const struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;

	return w->pool->failopen.state == FAILOPEN_OPEN &&
	    (v->state == MCSHM_HELD || verdict_silent(v));
}

/* One pool ------------------------------------------------------------------ */

static uint64_t
open_since(const struct pool *p)
{
	return p->failopen.state == FAILOPEN_OPEN ? p->failopen.since : 0;
}

/* Flag and servers in one generation: a client sees none without the other. */
static void
open_publish(struct pool *p)
{
	uint64_t open[MCSHM_MAX_WORDS] = { 0 };

	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		struct watch *w = p->watch[i];

		w->entry.open = is_open(w);
		if (w->entry.open)
			open[i / 64] |= UINT64_C(1) << (i & 63);
	}
	publish_fail_open_since(p->publish, open_since(p));
	pool_fail_open(p, open);
}

static bool
failopen_again(struct pool *p)
{
	const enum failopen_state was = p->failopen.state;

	p->failopen = failopen_step(p->failopen, &p->failopen_rule,
	    p->doubted.ready, p->doubted.silent, p->c->now);
	return p->failopen.state != was;
}

static void
failopen_check(struct pool *p)
{
	const enum failopen_state was = p->failopen.state;

	if (!failopen_again(p))
		return;
	open_publish(p);
	p->changed = true;
	tell_fail_open(p, was);
}

static void
awareness_check(struct pool *p)
{
	const uint32_t was = p->awareness;

	p->awareness = doubt_awareness(was, p->awareness_most,
	    p->doubted.probed, p->doubted.unanswered);
	if (p->awareness == was)
		return;
	publish_awareness(p->publish, p->awareness);
	if (was == 0 || p->awareness == 0)
		tell_awareness(p);
}

/* A server that clients used all the time is not kept from them because it
 * answers again: it is not RECOVERING, and is used until it is UP.  Nor is one
 * that others had all the time: it will not be flushed. */
struct verdict_rule
doubt_rule(const struct watch *w)
{
	const struct pool *p = w->pool;
	struct verdict_rule rule = p->verdict;

	rule.rehash_after = doubt_patience(rule.rehash_after, p->awareness);
	if (return_was_open(w) ||
	    w->returning.recovery.returned & MCSHM_RETURNED_OUR_FAULT)
		rule.recovery = 0;
	return rule;
}

uint64_t
doubt_flags(const struct pool *p)
{
	return (p->c->doubt.tilt ? MCSHM_SECTION_TILT : 0) |
	    (p->failopen.state == FAILOPEN_OPEN ? MCSHM_SECTION_FAIL_OPEN : 0);
}

bool
doubt_is_calm(const struct pool *p)
{
	return doubt_flags(p) == 0;
}

void
doubt_recount(struct pool *p)
{
	p->doubted = (struct doubted){ 0 };
	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		p->watch[i]->counted = (struct counted){ 0 };
		doubt_count(p->watch[i]);
	}
}

void
doubt_inherit(struct pool *p, const struct publish_left *left)
{
	const uint64_t now = p->c->now;
	uint64_t since = 0;

	if (left->flags & MCSHM_SECTION_FAIL_OPEN)
		since = left->fail_open != 0 ? left->fail_open : now;
	doubt_recount(p);
	p->failopen = failopen_inherit(since, &p->failopen_rule,
	    p->doubted.ready, p->doubted.silent, now);
	for (uint32_t i = 0; i < p->roster.servers.n; i++)
		p->watch[i]->entry.open = is_open(p->watch[i]);
}

void
doubt_begin(struct pool *p, bool anew)
{
	publish_fail_open_since(p->publish, open_since(p));
	if (anew && p->failopen.state != FAILOPEN_SHUT)
		tell_fail_open(p, FAILOPEN_SHUT);
}

void
doubt_verdict(struct watch *w)
{
	struct publish_entry *e = &w->entry;

	if (verdict_flapping(&e->verdict))
		e->degraded |= MCSHM_DEGRADED_FLAPPING;
	else
		e->degraded &= ~(uint64_t)MCSHM_DEGRADED_FLAPPING;
	doubt_count(w);
	failopen_check(w->pool);
	e->open = is_open(w);
}

/* All of it ----------------------------------------------------------------- */

static void
tilt_publish(struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++) {
		struct pool *p = c->pool[i];

		publish_faults(p->publish, c->local_errors, c->doubt.tilts);
		pool_flags(p);
		pool_publish(p);
		p->changed = true;
	}
}

/* When it begins and ends, and again while it lasts; where one follows another,
 * that they do, and the end of all. */
static bool
tilt_is_news(const struct checker *c, const struct doubt *was)
{
	const struct doubt *d = &c->doubt;

	if (d->worn != was->worn && !d->worn)
		return true;
	if (d->tilt && d->looked.boot - c->tilt_told >= TILT_EACH)
		return true;
	return d->worn ? d->tilt && !c->worn_told : d->tilt != was->tilt;
}

/* Of a sign alone only probes that overlap it are void; but who was silent
 * before it was not, in it, for all we know. */
static void
doubt_skip(struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++) {
		struct pool *p = c->pool[i];

		for (uint32_t j = 0; j < p->roster.servers.n; j++) {
			struct publish_entry *e = &p->watch[j]->entry;

			e->verdict = verdict_blind(e->verdict, c->doubt.from);
		}
	}
}

/* seen: when the loop was last known to serve what was due. */
static void
doubt_now(struct checker *c, uint64_t seen)
{
	const struct doubt_clocks now = clocks_read();
	const struct doubt was = c->doubt;

	c->doubt = doubt_look(c->doubt, &c->tilt, seen, &now,
	    now.boot + TICK);
	if (c->doubt.bare && c->doubt.signs == now.boot)
		doubt_skip(c);
	if (c->doubt.tilt != was.tilt)
		tilt_publish(c);
	if (!tilt_is_news(c, &was))
		return;
	c->tilt_told = now.boot;
	c->worn_told = c->doubt.worn;
	tell_tilt(c, &was);
}

/* All that is due is due at once, and would be for ever. */
static void
doubt_spread(struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++)
		for (uint32_t j = 0; j < c->pool[i]->roster.servers.n; j++)
			watch_spread(c->pool[i]->watch[j]);
}

void
doubt_turn(struct checker *c, uint64_t last)
{
	if (!doubt_is_late(&c->doubt, &c->tilt, c->now))
		return;
	doubt_now(c, last);
	doubt_spread(c);
}

static void
on_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct checker *c = timer->data;
	const bool second = ++c->ticks % (SECOND / TICK) == 0;

	(void)loop;
	(void)events;
	doubt_now(c, c->doubt.looked.boot);
	for (uint32_t i = 0; i < c->pools; i++) {
		failopen_check(c->pool[i]);
		if (second)
			awareness_check(c->pool[i]);
	}
}

void
doubt_start(struct checker *c)
{
	const struct doubt_clocks now = clocks_read();

	c->doubt = doubt_init(&now, now.boot + TICK);
	ev_timer_init(&c->tick, on_tick, (double)TICK / 1e9,
	    (double)TICK / 1e9);
	c->tick.data = c;
	ev_timer_start(c->loop, &c->tick);
}

void
doubt_stop(struct checker *c)
{
	ev_timer_stop(c->loop, &c->tick);
}

bool
doubt_covered(const struct checker *c, uint64_t began, uint64_t ended)
{
	return doubt_covers(&c->doubt, began, ended);
}

void
doubt_finding(struct watch *w, struct finding *f)
{
	const struct checker *c = w->pool->c;
	enum doubt_worth worth;

	f->doubtful = doubt_covered(c, f->began, f->ended);
	if (f->class != VERDICT_SILENCE)
		return;
	worth = doubt_silence(&c->doubt, w->entry.verdict.silent_since,
	    f->began, f->ended);
	if (worth == DOUBT_SAYS)
		return;
	f->class = worth == DOUBT_SAYS_LESS ? VERDICT_BLIND : VERDICT_VOID;
	f->reason = MCSHM_R_TILT;
}
