/*
 * checker_watch.c - one server: due -> probe -> verdict -> publish.
 *
 * A probe's result goes one way, through watch_done(): counted, stepped,
 * published, told, and the next one is due.  Nothing else steps a verdict; one
 * of a server that rests is forgotten.  Must not know how a probe is done, nor
 * what a verdict follows from.
 */
#include "checker_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HURRY (SECOND / 4)

static const enum verdict_class class_of[MCSHM_R_COUNT] = {
#define X(number, id, name, class, text) [number] = VERDICT_##class,
	MCSHM_REASONS(X)
#undef X
};

const struct server *
watch_server(const struct watch *w)
{
	return &w->pool->roster.servers.v[w->i];
}

bool
watch_is_probed(const struct watch *w)
{
	return w->entry.admin != MCSHM_MAINT;
}

bool
watch_is_good(enum mcshm_reason reason)
{
	return class_of[reason] == VERDICT_GOOD;
}

void
watch_due(struct watch *w, uint64_t at)
{
	struct checker *c = w->pool->c;

	ev_timer_stop(c->loop, &w->due);
	ev_timer_set(&w->due, at > c->now ? (double)(at - c->now) / 1e9 : 0.,
	    0.);
	ev_timer_start(c->loop, &w->due);
	w->due_at = at;
}

void
watch_publish(struct watch *w, bool now)
{
	publish_set(w->pool->publish, w->i, &w->entry);
	if (now)
		pool_publish(w->pool);
}

void
watch_told(struct watch *w)
{
	if (w->told)
		return;
	w->told = true;
	w->pool->untold--;
	if (!w->inherited)
		w->pool->awaited--;
	pool_first_results(w->pool);
}

void
watch_changed(struct watch *w, const struct verdict *was)
{
	w->entry.transitions++;
	w->pool->changed = true;
	watch_publish(w, true);
	tell_changed(w, was);
}

static void
watch_own_fault(struct watch *w, const struct finding *f)
{
	struct checker *c = w->pool->c;

	w->entry.local_errors++;
	c->local_errors++;
	for (uint32_t i = 0; i < c->pools; i++)
		publish_faults(c->pool[i]->publish, c->local_errors,
		    c->doubt.tilts);
	tell_fault(w, f);
}

static uint32_t
us_of(uint64_t ns)
{
	return ns / 1000 < UINT32_MAX ? (uint32_t)(ns / 1000) : UINT32_MAX;
}

/* How much of the time that it took may be our own: what came may have waited
 * until a turn of ours was over; on the way to a new connection, several times. */
static uint64_t
watch_own(const struct watch *w, const struct finding *f)
{
	if (f->probe->fresh)
		return w->pool->c->late - w->late;
	return f->busy < SECOND / 1000 ? 0 : f->busy;
}

/*
 * What is ours is left out.  Where most of it may be, the server took that long
 * at most: this is of use where it seemed to take longer, or is not known yet.
 */
static void
watch_timed(struct watch *w, const struct finding *f)
{
	struct publish_entry *e = &w->entry;
	const uint64_t took = f->ended > f->began ? f->ended - f->began : 0;
	const uint64_t own = watch_own(w, f);
	const uint64_t least = took > own ? took - own : 0;
	const bool vague = least < took / 2;
	const uint32_t rtt = us_of(vague ? took : least);

	if (vague && e->rtt_avg_us != 0 && rtt >= e->rtt_avg_us)
		return;
	e->rtt_us = rtt;
	if (e->rtt_avg_us == 0 || (w->vague && !vague)) {
		e->rtt_avg_us = rtt;
		w->vague = vague;
	} else {
		e->rtt_avg_us += (uint32_t)(((int64_t)rtt -
		    (int64_t)e->rtt_avg_us) / 8);
	}
	if (us_of(least) > e->rtt_max_us)
		e->rtt_max_us = us_of(least);
}

static void
watch_answered(struct watch *w, const struct finding *f)
{
	w->entry.good_began = f->began;
	if (!f->doubtful && !f->probe->partial)
		watch_timed(w, f);
}

/* Our own fault is no reason why a server is believed to be silent or dead. */
void
watch_reason(struct watch *w, enum mcshm_reason reason)
{
	if (class_of[reason] != VERDICT_LOCAL ||
	    verdict_usable(&w->entry.verdict))
		w->entry.reason = reason;
}

/* What was believed of it stays, for want of better. */
void
watch_unseen(struct watch *w, uint64_t began)
{
	if (w->entry.unseen_since == 0)
		w->entry.unseen_since = began;
}

/* Our own fault; but another address may have what this one has not. */
static bool
is_unrouted(const struct finding *f)
{
	const int err = f->probe->sys_errno;

	return f->class == VERDICT_LOCAL && (err == ENETUNREACH ||
	    err == EHOSTUNREACH || err == EAFNOSUPPORT);
}

/* Does it answer where it is?  Its name is asked again, if not. */
static void
watch_heard(struct watch *w, const struct finding *f)
{
	w->unheard = f->class != VERDICT_GOOD;
	w->unrouted = is_unrouted(f);
}

/* Everything about a result but the verdict. */
static void
watch_record(struct watch *w, const struct finding *f)
{
	struct publish_entry *e = &w->entry;

	e->result = f->reason;
	e->checked = f->ended;
	e->began = f->began;
	watch_heard(w, f);
	if (f->class != VERDICT_GOOD)
		watch_reason(w, f->reason);
	if (f->class == VERDICT_PROOF || f->class == VERDICT_SILENCE)
		e->failures++;
	if (f->class == VERDICT_LOCAL)
		watch_own_fault(w, f);
	if (f->class == VERDICT_LOCAL)
		watch_unseen(w, f->began);
	else if (f->class != VERDICT_VOID && f->class != VERDICT_BLIND)
		e->unseen_since = 0;
	if (f->class == VERDICT_GOOD)
		watch_answered(w, f);
	if (f->probe->told->version[0] != '\0')
		memcpy(e->server_version, f->probe->told->version,
		    sizeof e->server_version);
}

static enum schedule_pace
watch_pace(const struct watch *w)
{
	if (admin_is_resting(w))	/* nothing is to be decided */
		return SCHEDULE_STEADY;
	if (verdict_in_transition(&w->entry.verdict))
		return SCHEDULE_FAST;
	return w->entry.verdict.state == MCSHM_DOWN ? SCHEDULE_DOWN :
	    SCHEDULE_STEADY;
}

/* When the probe after one of these times is due.  A flush has few seconds from
 * one step to the next, whatever the intervals. */
static uint64_t
watch_next(const struct watch *w, uint64_t began, uint64_t ended)
{
	struct schedule_rule rule = w->pool->schedule;

	if (return_hurries(w) && rule.fast_interval > HURRY)
		rule.fast_interval = HURRY;
	return schedule_next(&rule, watch_pace(w),
	    verdict_failures(&w->entry.verdict), began, ended,
	    checker_random(w->pool->c));
}

/* The next probe now, but no sooner than fast_interval after the last. */
static void
watch_early(struct watch *w)
{
	const uint64_t at = schedule_early(&w->pool->schedule, w->began,
	    w->pool->c->now);

	if (at < w->due_at)
		watch_due(w, at);
}

/* The only place where a verdict is stepped. */
static void
watch_step(struct watch *w, const struct finding *f)
{
	const struct verdict_rule rule = doubt_rule(w);
	const struct verdict was = w->entry.verdict;
	const uint64_t degraded = w->entry.degraded;
	const struct verdict_probe one = { .class = f->class,
		.wrong = f->reason == MCSHM_R_GARBAGE ||
		    f->reason == MCSHM_R_ERROR_REPLY ||
		    f->reason == MCSHM_R_WRONG_VERSION ||
		    f->reason == MCSHM_R_WRONG_VALUE,
		.cleared = f->cleared, .fresh_start = f->fresh_start,
		.began = f->began, .ended = f->ended };

	w->entry.verdict = verdict_step(was, &rule, &one);
	doubt_verdict(w);
	if (w->entry.verdict.state != was.state) {
		if (w->entry.verdict.state == MCSHM_UP)
			w->entry.reason = 0;
		watch_changed(w, &was);
	} else {
		watch_publish(w, false);
		if (w->replies)		/* who reported it waits for this */
			pool_answers(w->pool);
	}
	if (w->entry.degraded != degraded)	/* it flaps, or no more */
		tell_degraded(w, degraded);
}

/* It is in maintenance by its own word: only that is looked after. */
static void
watch_rested(struct watch *w, const struct finding *f)
{
	w->entry.began = f->began;
	w->entry.checked = f->ended;
	w->entry.result = f->reason;
	watch_heard(w, f);
	w->entry.unseen_since = 0;
	w->reported = false;
	return_dropped(w);	/* it may have been asked for more */
	tell_probe(w, f);
	watch_publish(w, false);
	watch_told(w);
	watch_due(w, watch_next(w, f->began, f->ended));
	name_check(w);		/* it may be moved, and that is why it rests */
}

static void
watch_done(struct probe *p, const struct probe_result *r)
{
	struct watch *w = (struct watch *)((char *)p -
	    offsetof(struct watch, probe));
	struct finding f = { .probe = r, .reason = r->reason,
		.class = class_of[r->reason], .began = w->began,
		.ended = w->pool->c->turned, .busy = w->pool->c->busy };

	task_finding(w, &f);
	if (admin_finding(w, &f)) {
		watch_rested(w, &f);
		return;
	}
	w->found = &f;
	doubt_finding(w, &f);
	fault_finding(w, &f);
	return_finding(w, &f);
	watch_record(w, &f);
	tell_probe(w, &f);
	watch_step(w, &f);
	w->found = NULL;
	watch_told(w);
	watch_due(w, watch_next(w, w->began, f.ended));
	name_check(w);		/* and it may be due sooner */
	if (w->reported)	/* while the probe was under way */
		watch_reported(w);
}

/* The kept connection ended: that proves nothing, but is worth a look. */
static void
watch_lost(struct probe *p)
{
	struct watch *w = (struct watch *)((char *)p -
	    offsetof(struct watch, probe));

	tell_debug(w, "kept connection ended, probing early");
	return_lost(w);
	watch_early(w);
}

/*
 * A client that met a failure proves nothing either: all that it gets is the
 * next probe early.  One that is under way may have begun before the failure,
 * so another one follows it.  No client uses a server that is DOWN, and who
 * asks for it all the same does not make us look more often.
 */
void
watch_reported(struct watch *w)
{
	if (!watch_is_probed(w) || w->entry.addresses == 0 ||
	    verdict_out(&w->entry.verdict))
		return;
	if (!w->reported)
		tell_debug(w, "a client reports a failure, probing early");
	w->reported = true;
	if (ev_is_active(&w->due))
		watch_early(w);
}

static void
watch_begin(struct watch *w)
{
	w->began = checker_refresh(w->pool->c);
	w->late = w->pool->c->late;
}

/* It was put off, and nothing asked: waiting for us is no silence of the
 * server's, and none of its time. */
static void
watch_began(struct probe *p)
{
	watch_begin((struct watch *)((char *)p -
	    offsetof(struct watch, probe)));
}

static void
watch_probe(struct watch *w)
{
	struct probe_task task;

	if (!task_make(w, &task)) {	/* inherited, and not to be used */
		w->entry.addresses = 0;
		name_ask(w);
		return;
	}
	watch_begin(w);
	w->replies = w->reported;
	w->reported = false;
	probe_start(&w->probe, &task);
}

static void
on_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct watch *w = timer->data;

	(void)loop;
	(void)events;
	if (w->entry.addresses == 0)
		name_ask(w);
	else
		watch_probe(w);
}

void
watch_first(struct watch *w, bool hurry)
{
	const struct pool *p = w->pool;
	const struct checker *c = p->c;
	char label[272];
	uint64_t at;

	server_label(label, watch_server(w));
	at = schedule_first(&p->schedule, c->host, schedule_mix(
	    schedule_text(p->roster.pool), schedule_text(label)), c->now);
	if (hurry)
		at = c->now + (at - c->now) / 8;
	watch_due(w, at);
}

void
watch_spread(struct watch *w)
{
	if (ev_is_pending(&w->due))
		watch_first(w, false);
}

void
watch_start(struct watch *w, bool hurry)
{
	if (watch_server(w)->admin == MCSHM_MAINT)
		return;
	if (watch_server(w)->address.kind == MCSHM_KIND_NAME)
		name_ask(w);
	if (w->entry.addresses != 0)
		watch_first(w, hurry);
}

bool
watch_is_started(const struct watch *w)
{
	return ev_is_active(&w->due) || probe_busy(&w->probe) ||
	    w->question != NULL;
}

void
watch_stop(struct watch *w)
{
	ev_timer_stop(w->pool->c->loop, &w->due);
	probe_drop(&w->probe);
	fault_stop(w);
	name_forget(w);
}

void
watch_rest(struct watch *w)
{
	if (probe_busy(&w->probe))
		return_dropped(w);
	watch_stop(w);
	w->reported = false;
	w->entry.verdict = verdict_forget(w->entry.verdict);
	w->entry.unseen_since = 0;
	fault_rest(w);
	watch_publish(w, false);
}

void
watch_moved(struct watch *w, bool early)
{
	const uint64_t now = w->pool->c->now;

	if (probe_busy(&w->probe))
		return_dropped(w);
	probe_drop(&w->probe);
	watch_due(w, early ? schedule_early(&w->pool->schedule, w->began, now) :
	    watch_next(w, w->began, now));
}

void
watch_reconnect(struct watch *w, struct tls_peer *peer)
{
	const bool asking = w->question != NULL;

	fault_reconnect(w);
	if (probe_busy(&w->probe))
		watch_moved(w, true);
	probe_drop(&w->probe);
	name_forget(w);		/* a trial of it, too */
	tls_peer_free(w->peer);
	w->peer = peer;
	w->tls_why = NULL;
	if (asking)
		name_ask(w);
}

void
watch_again(struct watch *w)
{
	const uint64_t now = w->pool->c->now;

	if (!ev_is_active(&w->due) || w->entry.addresses == 0)
		return;		/* its end will make the next one due */
	watch_due(w, watch_next(w, w->began != 0 ? w->began : now, now));
}

struct watch *
watch_new(struct pool *pool, const struct server *server, uint64_t now)
{
	struct watch *w = calloc(1, sizeof *w);

	if (w == NULL)
		return NULL;
	w->pool = pool;
	w->entry.verdict = verdict_init(now);
	w->entry.admin = server->admin;
	w->returning.ask = true;
	if (address_literal(&server->address, &w->entry.address[0]))
		w->entry.addresses = 1;
	if (probe_init(&w->probe, pool->c->probes, watch_done,
	    watch_lost, watch_began) != 0) {
		free(w);
		return NULL;
	}
	ev_timer_init(&w->due, on_due, 0., 0.);
	w->due.data = w;
	return w;
}

void
watch_free(struct watch *w)
{
	if (w == NULL)
		return;
	watch_stop(w);
	probe_close(&w->probe);
	tls_peer_free(w->peer);
	free(w);
}
