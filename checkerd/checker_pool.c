/*
 * checker_pool.c - one pool: first results, flags, events of its publisher.
 *
 * Must not judge servers; it counts those who have been judged.
 */
#include "checker_engine.h"

#include <stdio.h>
#include <string.h>

#define ANSWERS_APART (SECOND / 50)	/* news that change no verdict */

static bool
is_usable(const struct publish_entry *e)
{
	return e->admin == MCSHM_READY &&
	    (e->open || verdict_usable(&e->verdict));
}

void
pool_count(struct pool *p)
{
	struct pool_count n = { 0 };

	p->untold = p->awaited = 0;
	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		const struct watch *w = p->watch[i];
		const uint32_t verdict = w->entry.verdict.state;

		n.usable += is_usable(&w->entry);
		n.drain += w->entry.admin == MCSHM_DRAIN;
		n.maint += w->entry.admin == MCSHM_MAINT;
		if (!watch_is_probed(w))
			continue;
		n.held += verdict == MCSHM_HELD;
		n.down += verdict == MCSHM_DOWN;
		n.recovering += verdict == MCSHM_RECOVERING;
		p->untold += !w->told;
		p->awaited += !w->told && !w->inherited;
	}
	p->count = n;
}

static uint64_t
flags_now(struct pool *p)
{
	uint64_t flags = doubt_flags(p);

	if (p->untold == 0) {
		flags |= MCSHM_SECTION_SWEPT;
		p->inherits = false;
	} else if (p->inherits) {
		flags |= MCSHM_SECTION_INHERITED;
	}
	return flags;
}

void
pool_flags(struct pool *p)
{
	const uint64_t flags = flags_now(p);

	if (flags == p->flags)
		return;
	p->flags = flags;
	publish_flags(p->publish, flags);
}

void
pool_fail_open(struct pool *p, const uint64_t *open)
{
	p->flags = flags_now(p);
	publish_fail_open(p->publish, p->flags, open);
}

/* Three probes in a row at the longest jitter: one or two may fail on this
 * side, and the next is as good as ever. */
uint64_t
pool_unseen_after(const struct pool *p)
{
	const uint64_t most = p->timeout > p->connect_timeout ? p->timeout :
	    p->connect_timeout;

	return p->verdict.hold_after + 3 * (p->schedule.interval + most);
}

static void
pool_exchange(struct pool *p)
{
	ev_timer_stop(p->c->loop, &p->patience);
	p->added = false;
	publish_exchange(p->publish);
}

void
pool_first_results(struct pool *p)
{
	p->changed = true;
	pool_flags(p);
	if (p->added && p->awaited == 0)
		pool_exchange(p);
}

static void
on_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	pool_exchange(timer->data);
}

void
pool_exchange_soon(struct pool *p)
{
	const uint64_t most = p->timeout > p->connect_timeout ? p->timeout :
	    p->connect_timeout;

	p->added = true;
	ev_timer_init(&p->patience, on_patience, (double)most / 1e9, 0.);
	p->patience.data = p;
	if (p->awaited == 0)
		pool_exchange(p);
	else
		ev_timer_start(p->c->loop, &p->patience);
}

void
pool_publish(struct pool *p)
{
	ev_timer_stop(p->c->loop, &p->answers);
	p->published = p->c->now;
	publish_now(p->publish);
}

static void
on_answers(struct ev_loop *loop, ev_timer *timer, int events)
{
	(void)loop;
	(void)events;
	pool_publish(timer->data);
}

void
pool_answers(struct pool *p)
{
	const uint64_t now = p->c->now;

	if (p->published == 0 || now - p->published >= ANSWERS_APART) {
		pool_publish(p);
	} else if (!ev_is_active(&p->answers)) {
		ev_timer_set(&p->answers, (double)ANSWERS_APART / 1e9, 0.);
		ev_timer_start(p->c->loop, &p->answers);
	}
}

static void
pool_events(struct pool *p)
{
	struct publish_event e;

	while (publish_event(p->publish, &e)) {
		tell_event(p, &e);
		if (e.kind == PUBLISH_FAILED && e.vain)
			snprintf(p->trouble, sizeof p->trouble, "%s: %s",
			    e.what, strerror(e.error));
	}
}

static void
on_events(struct ev_loop *loop, ev_io *io, int events)
{
	struct pool *p = io->data;

	(void)loop;
	(void)events;
	pool_events(p);
	p->changed = true;	/* how far readers are */
}

/* Why not is told before that they are not. */
enum publish_progress
pool_progress(struct pool *p)
{
	const enum publish_progress progress = publish_progress(p->publish);

	if (progress == PUBLISH_VAIN)
		pool_events(p);
	return progress;
}

void
pool_watch_events(struct pool *p)
{
	ev_io_init(&p->events, on_events, publish_fd(p->publish), EV_READ);
	p->events.data = p;
	ev_init(&p->answers, on_answers);
	p->answers.data = p;
	ev_io_start(p->c->loop, &p->events);
}

void
pool_unwatch_events(struct pool *p)
{
	ev_io_stop(p->c->loop, &p->events);
	ev_timer_stop(p->c->loop, &p->patience);
	ev_timer_stop(p->c->loop, &p->answers);
}
