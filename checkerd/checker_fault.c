/*
 * checker_fault.c - one server: what is wrong with one that answers.
 *
 * Between probes, scans and faults.h, which knows what follows from what.  A
 * fault whose policy is `down` becomes the reason of a probe that was answered,
 * as a proof; the rest is the verdict's.  Must not step one.
 *
 * Scans are begun after a probe, never by a timer: no server has more of them
 * than probes, and LOOKS bounds those of all servers together.
 */
#include "checker_engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOKS 8u
static_assert(LOOKS * SCAN_MOST == CHECKER_SCANNED, "main lets us have them");

static void look_done(struct scan *s, const struct scan_result *r);

int
fault_open(struct checker *c)
{
	c->look = calloc(LOOKS, sizeof *c->look);
	return c->look != NULL ? 0 : ENOMEM;
}

void
fault_close(struct checker *c)
{
	free(c->look);
	c->look = NULL;
}

uint32_t
fault_asks(struct watch *w)
{
	w->stats_asked = faults_wants_stats(&w->faults, &w->pool->faults,
	    w->pool->c->now);
	return w->stats_asked ? MCPROTO_ASK_STATS : 0;
}

bool
fault_wants_kept(const struct watch *w)
{
	return (w->faults.bits & (MCSHM_DEGRADED_LISTENER_STUCK |
	    MCSHM_DEGRADED_MAXCONNS)) != 0;
}

/* Into the entry, where it is seen; and told, if it is new. */
static void
fault_show(struct watch *w)
{
	const struct faults *f = &w->faults;
	struct publish_entry *e = &w->entry;
	const uint64_t was = e->degraded;

	e->degraded = (was & ~(uint64_t)FAULTS_BITS) | f->bits;
	e->threads = f->threads;
	e->connections = f->connections;
	e->max_connections = f->max_connections;
	e->workers_stuck = f->bits & MCSHM_DEGRADED_WORKER_STUCK ?
	    f->stuck : 0;
	e->rtt_usual_us = f->usual / 1000 < UINT32_MAX ?
	    (uint32_t)(f->usual / 1000) : UINT32_MAX;
	/* Its certificate was to end soon, and has: another story. */
	if (e->degraded != was || ((was & MCSHM_DEGRADED_TLS) &&
	    w->tls_why != NULL && w->tls_why != w->tls_told))
		tell_degraded(w, was);
	w->tls_told = w->tls_why;
}

/* Scans -------------------------------------------------------------------- */

static struct look *
look_free(const struct checker *c)
{
	for (uint32_t i = 0; i < LOOKS; i++)
		if (c->look[i].watch == NULL)
			return &c->look[i];
	return NULL;
}

/* Only what answers can be scanned; and what is DOWN for a fault of its own, so
 * that its end is seen. */
static bool
fault_may_scan(const struct watch *w)
{
	const uint32_t state = w->entry.verdict.state;

	return w->look == NULL && w->entry.addresses != 0 &&
	    (state == MCSHM_UP || (state == MCSHM_DOWN &&
	    faults_down(&w->faults, &w->pool->faults) != MCSHM_R_OK));
}

static void
look_start(struct look *l, struct watch *w, uint32_t connections)
{
	struct probe_task like;
	struct scan_task task = { .connections = connections };

	if (!task_try(w, &w->entry.address[0], &like))
		return;
	task.place = (struct conn_place){ (struct sockaddr *)&like.to,
		like.len, like.from, like.from_len, like.tls };
	task.connect_timeout = like.connect_timeout;
	/* Is it so?  A packet that was lost has time to come again. */
	task.timeout = like.timeout * (w->faults.bad != 0 ? 2 : 1);
	task.login = like.terms != NULL && like.terms->user != NULL;
	task.terms = like.terms;
	l->watch = w;
	l->began = checker_clock(CLOCK_BOOTTIME);
	w->look = l;
	scan_init(&l->scan, w->pool->c->loop, look_done);
	scan_start(&l->scan, &task);
}

static void
fault_scan(struct watch *w, uint64_t now)
{
	struct look *look = look_free(w->pool->c);
	bool crowded;
	uint32_t n;

	if (look == NULL || !fault_may_scan(w))
		return;
	n = faults_wants_scan(&w->faults, &w->pool->faults, now, &crowded);
	if (crowded)
		tell_debug(w, "no thread scan: it would take more than 80 % "
		    "of the server's connections");
	if (n != 0)
		look_start(look, w, n);
}

static struct watch *
look_end(struct look *l)
{
	struct watch *w = l->watch;

	l->watch = NULL;
	w->look = NULL;
	return w;
}

static void
look_done(struct scan *s, const struct scan_result *r)
{
	struct look *l = (struct look *)((char *)s -
	    offsetof(struct look, scan));
	struct watch *w = look_end(l);
	struct faults_scan one = { .asked = r->asked,
		.answered = r->answered, .silent = r->silent,
		.unreached = r->unreached, .full = r->full, .proof = r->proof,
		.no_tls = r->no_tls, .failed = r->failed, .began = l->began,
		.ended = checker_clock(CLOCK_BOOTTIME) };

	if (doubt_covered(w->pool->c, one.began, one.ended))
		one.failed++;		/* of our own */
	if (r->no_tls != 0 && r->why != NULL) {
		w->tls_why = r->why;
		w->tls_cert = false;
	}
	faults_scan(&w->faults, &w->pool->faults, &one);
	fault_show(w);
	watch_publish(w, false);
}

void
fault_stop(struct watch *w)
{
	if (w->look == NULL)
		return;
	scan_drop(&w->look->scan);
	look_end(w->look);
}

void
fault_reconnect(struct watch *w)
{
	fault_stop(w);
	faults_retry(&w->faults, &w->pool->faults, w->pool->c->now);
}

void
fault_rest(struct watch *w)
{
	fault_stop(w);
	faults_forget(&w->faults);
	w->faults.begun = false;
	w->entry.degraded &= ~(uint64_t)FAULTS_BITS;
	w->entry.workers_stuck = 0;
}

/* Probes ------------------------------------------------------------------- */

static void
fault_begin(struct watch *w, uint64_t now)
{
	const struct publish_entry *e = &w->entry;
	char label[272];

	server_label(label, watch_server(w));
	faults_begin(&w->faults, &w->pool->faults, e->degraded,
	    (uint64_t)e->rtt_usual_us * 1000, schedule_mix(w->pool->c->host,
	    schedule_text(label)), now);
}

bool
fault_tls_ends(const struct watch *w)
{
	const struct publish_entry *e = &w->entry;

	return e->tls_expiry != 0 && checker_clock(CLOCK_REALTIME) / SECOND +
	    TLS_ENDS_SOON > e->tls_expiry;
}

static struct faults_stats
stats_of(const struct mcproto_stats *s)
{
	return (struct faults_stats){ .pid = s->pid,
		.uptime = s->uptime, .time = s->time,
		.threads = s->threads, .connections = s->curr_connections,
		.max_connections = s->max_connections,
		.store_no_memory = s->store_no_memory,
		.deaf = s->listen_disabled_num != 0 &&
		    s->accepting_conns == 0 };
}

void
fault_finding(struct watch *w, struct finding *f)
{
	const struct probe_result *r = f->probe;
	const struct faults_rule *rule = &w->pool->faults;
	const struct mcproto_told *told = r->told;
	const struct faults_stats stats = stats_of(&told->stats);
	const bool refused = r->reason == MCSHM_R_TLS_FAILED &&
	    f->class == VERDICT_LOCAL;
	const struct faults_probe one = {
		.reason = refused ? MCSHM_R_TLS_FAILED : f->reason,
		.class = f->class, .fresh = r->fresh, .kept = r->kept,
		.timed = !f->doubtful && !r->partial, .busy = f->busy,
		.stats_asked = w->stats_asked,
		.canary = (told->answered & MCPROTO_ASK_CANARY) != 0,
		.tls_ends = fault_tls_ends(w),
		.stats = told->stats.whole ? &stats : NULL,
		.began = f->began, .ended = f->ended };
	enum mcshm_reason why;

	if (!w->faults.begun)
		fault_begin(w, f->ended);
	faults_probe(&w->faults, rule, &one);
	fault_show(w);
	why = faults_down(&w->faults, rule);
	if (f->class == VERDICT_GOOD && why != MCSHM_R_OK) {
		f->reason = why;
		f->class = VERDICT_PROOF;
	}
	fault_scan(w, f->ended);
}
