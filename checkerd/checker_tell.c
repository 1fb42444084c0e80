/*
 * checker_tell.c - to people: of servers, and of ourselves.
 *
 * Transitions are a line each, at warning or notice; a storm of them in one
 * pool is ten lines, and then one a second.  Own faults are a line in ten
 * seconds.  Must not change what it tells of.
 */
#include "checker_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"

#define LINES_A_STORM 10
#define FAULT_EACH (10 * SECOND)
#define GARBAGE_EACH (60 * SECOND)

/* Storms ------------------------------------------------------------------- */

static bool
is_bad(enum tell_kind kind)
{
	return kind == TELL_HELD || kind == TELL_DOWN ||
	    kind == TELL_UNRESOLVED || kind == TELL_ASTRAY ||
	    kind == TELL_DEGRADED || kind == TELL_STALE;
}

void
tell_at(bool bad, const char *text)
{
	if (bad)
		log_warning("%s", text);
	else
		log_notice("%s", text);
}

/* The lines that were held back, as one; false if there are none. */
static bool
tell_rest(struct pool *p)
{
	static const char *const what[TELL_KINDS] = { "UNKNOWN", "UP",
		"RECOVERING", "HELD", "DOWN", "not resolved", "resolved again",
		"whose names lead elsewhere", "moved", "degraded",
		"whole again", "in another admin state", "on their way back",
		"with old values" };
	struct tell *t = &p->tell;
	struct line l = { 0 };
	bool bad = false;
	const char *sep = " ";

	if (t->held_back == 0)
		return false;
	line_value(&l, "pool", p->roster.pool);
	for (int k = TELL_KINDS - 1; k >= 0; k--) {
		if (t->rest[k] == 0)
			continue;
		line_add(&l, "%s%u%s %s", sep, t->rest[k], sep[0] == ' ' ?
		    " more servers" : "", what[k]);
		sep = ", ";
		bad |= is_bad((enum tell_kind)k);
	}
	line_add(&l, ", first: %s", t->first);
	tell_at(bad, l.text);
	memset(t->rest, 0, sizeof t->rest);
	t->held_back = 0;
	return true;
}

static void
second_start(struct pool *p)
{
	ev_timer_set(&p->tell.second, 1., 0.);
	ev_timer_start(p->c->loop, &p->tell.second);
}

/* A storm that goes on is one line a second, until a second is quiet. */
static void
on_second(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct pool *p = timer->data;

	(void)loop;
	(void)events;
	if (tell_rest(p))
		second_start(p);
	else
		p->tell.lines = 0;
}

void
tell_init(struct pool *p)
{
	ev_timer_init(&p->tell.second, on_second, 0., 0.);
	p->tell.second.data = p;
}

void
tell_stop(struct pool *p)
{
	ev_timer_stop(p->c->loop, &p->tell.second);
	tell_rest(p);
}

static void
tell_line(struct pool *p, enum tell_kind kind, const struct line *l)
{
	struct tell *t = &p->tell;

	if (!ev_is_active(&t->second))
		second_start(p);
	if (t->lines < LINES_A_STORM) {
		t->lines++;
		tell_at(is_bad(kind), l->text);
		return;
	}
	if (t->held_back++ == 0)
		memcpy(t->first, l->text, sizeof t->first);
	t->rest[kind]++;
}

/* Events ------------------------------------------------------------------- */

static enum tell_kind
kind_of(uint32_t verdict)
{
	switch (verdict) {
	case MCSHM_UP:
		return TELL_UP;
	case MCSHM_HELD:
		return TELL_HELD;
	case MCSHM_DOWN:
		return TELL_DOWN;
	case MCSHM_RECOVERING:
		return TELL_RECOVERING;
	}
	return TELL_UNKNOWN;
}

/* " until=2026-11-23T06:00Z" */
static void
line_date(struct line *l, const char *key, uint64_t real)
{
	const time_t when = (time_t)real;
	char text[40];
	struct tm tm;

	if (gmtime_r(&when, &tm) == NULL ||
	    strftime(text, sizeof text, "%Y-%m-%dT%H:%MZ", &tm) == 0)
		return;
	line_value(l, key, text);
}

/* What speaks for a result, beside its name. */
static void
line_evidence(struct line *l, const struct watch *w, const struct finding *f)
{
	const struct probe_result *r = f->probe;

	if (r->reason == MCSHM_R_TLS_FAILED || r->reason ==
	    MCSHM_R_TLS_UNTRUSTED) {
		if (r->why != NULL)
			line_value(l, "error", r->why);
	} else if (f->reason == MCSHM_R_WRONG_VERSION) {
		line_value(l, "version", r->told->version);
		line_value(l, "expected", w->pool->expect_version);
	} else if ((f->reason == MCSHM_R_GARBAGE ||
	    f->reason == MCSHM_R_ERROR_REPLY) && r->said[0] != '\0') {
		line_value(l, "said", r->said);
	} else if (r->sys_errno != 0) {
		line_value(l, "error", strerror(r->sys_errno));
	}
}

/* How often it went down, and for how long it is kept there. */
static void
line_flaps(struct line *l, const struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;
	const uint64_t now = w->pool->c->now;

	line_add(l, " outages=%u", v->flaps);
	if (v->hold_until > now)
		line_add(l, " hold=%.1fs", (double)(v->hold_until - now) / 1e9);
}

void
tell_changed(struct watch *w, const struct verdict *was)
{
	const struct publish_entry *e = &w->entry;
	const struct verdict *now = &e->verdict;
	const enum tell_kind kind = kind_of(now->state);
	struct line l = { 0 };

	line_server(&l, w);
	line_value(&l, "state", mcshm_verdict_name(now->state));
	line_value(&l, "was", mcshm_verdict_name(was->state));
	if (is_bad(kind))
		line_reason(&l, "reason", e->reason);
	if (is_bad(kind) && w->found != NULL && w->found->reason == e->reason)
		line_evidence(&l, w, w->found);
	if (now->since >= was->since)
		line_add(&l, " was_for=%.1fs",
		    (double)(now->since - was->since) / 1e9);
	if (kind == TELL_UP)
		line_add(&l, " rtt=%uus", e->rtt_us);
	if (kind == TELL_DOWN && verdict_flapping(now))
		line_flaps(&l, w);
	line_address(&l, w);
	tell_line(w->pool, kind, &l);
}

void
tell_probe(const struct watch *w, const struct finding *f)
{
	const struct probe_result *r = f->probe;
	const struct publish_entry *e = &w->entry;
	const enum checker_log log = w->pool->c->log_probes;
	struct line l = { 0 };

	if (log == CHECKER_LOG_NONE || !log_wants(LOG_LEVEL_INFO) ||
	    (log == CHECKER_LOG_FAILURES && e->good_began == e->began))
		return;
	line_server(&l, w);
	line_reason(&l, "result", f->reason);
	line_add(&l, " took=%.3fms connection=%s",
	    (double)(e->checked - e->began) / 1e6, r->fresh ? "new" : "kept");
	line_evidence(&l, w, f);
	log_info("%s", l.text);
}

/* For who wants to know why it does what it does. */
void
tell_debug(const struct watch *w, const char *what)
{
	struct line l = { 0 };

	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	line_server(&l, w);
	line_address(&l, w);
	log_debug("%s: %s", what, l.text);
}

void
tell_admin(struct watch *w, uint32_t was)
{
	const struct publish_entry *e = &w->entry;
	struct line l = { 0 };

	line_server(&l, w);
	line_value(&l, "admin", mcshm_admin_name(e->admin));
	line_value(&l, "was", mcshm_admin_name(was));
	if (e->admin_who[0] != '\0') {
		line_value(&l, "who", e->admin_who);
		line_value(&l, "why", e->admin_why);
	}
	line_address(&l, w);
	tell_line(w->pool, TELL_ADMIN, &l);
}

/* Once a pool: they are as old as each other, most likely. */
void
tell_no_mn(const struct watch *w)
{
	struct line l = { 0 };

	line_server(&l, w);
	line_address(&l, w);
	log_warning("answers mn with an error: a memcached before 1.5.19, or "
	    "none; write probe = version: %s", l.text);
}

void
tell_ended(const struct pool *p, struct tls_span good)
{
	const bool begins = checker_clock(CLOCK_REALTIME) / SECOND < good.from;
	struct line l = { 0 };

	line_value(&l, "pool", p->roster.pool);
	line_date(&l, begins ? "from" : "until", begins ? good.from :
	    good.until);
	log_err("our certificate %s, and servers that refuse us for it are not "
	    "judged any more; put a new one at tls_cert, and reload: %s",
	    begins ? "is not good yet" : "has ended", l.text);
}

void
tell_soon(const struct pool *p, struct tls_span good)
{
	struct line l = { 0 };

	line_value(&l, "pool", p->roster.pool);
	line_date(&l, "until", good.until);
	log_warning("our certificate ends soon; put a new one at tls_cert, and "
	    "reload: %s", l.text);
}

/* Not the server's fault, and seldom one server's alone. */
void
tell_fault(struct watch *w, const struct finding *f)
{
	const struct probe_result *r = f->probe;
	const bool tls = r->reason == MCSHM_R_TLS_FAILED;
	struct checker *c = w->pool->c;
	struct line l = { 0 };

	if (c->fault_told != 0 && c->now - c->fault_told < FAULT_EACH)
		return;
	line_server(&l, w);
	line_evidence(&l, w, f);
	line_add(&l, " faults=%llu",
	    (unsigned long long)(c->local_errors - c->faults_told));
	log_warning("own fault, %s: %s", tls ? "our certificate is not taken, "
	    "or missed" : "probed nothing", l.text);
	c->fault_told = c->now;
	c->faults_told = c->local_errors;
}

void
tell_name(struct watch *w, enum tell_kind kind, const char *why)
{
	struct line l = { 0 };

	line_server(&l, w);
	line_value(&l, "name", watch_server(w)->address.host);
	line_value(&l, "resolved", kind == TELL_UNRESOLVED ? "no" : "yes");
	if (why != NULL)
		line_value(&l, "error", why);
	if (w->entry.addresses != 0 && kind != TELL_RESOLVED)
		line_address(&l, w);
	/* Where nobody answers; it stays where it is. */
	if (kind == TELL_ASTRAY)
		line_resolved(&l, "elsewhere", w, &w->entry.address[1]);
	tell_line(w->pool, kind, &l);
}

/* "worker-stuck,slow", or "none" */
static void
line_degraded(struct line *l, const char *key, uint64_t bits)
{
	const char *sep = "";

	line_add(l, " %s=%s", key, bits == 0 ? "none" : "");
	for (unsigned i = 0; i < 64; i++) {
		const char *name = mcshm_degraded_name(i);

		if ((bits >> i & 1) == 0)
			continue;
		line_add(l, "%s", sep);
		if (name != NULL)
			line_add(l, "%s", name);
		else
			line_add(l, "%u", i);
		sep = ",";
	}
}

/* Stats that are older than the probe say how many it takes, but not how many
 * there are. */
static void
line_connections(struct line *l, const struct watch *w)
{
	const struct publish_entry *e = &w->entry;

	if (e->max_connections == 0)
		return;
	if (w->found != NULL && w->found->probe->told->stats.whole)
		line_add(l, " connections=%u/%u", e->connections,
		    e->max_connections);
	else
		line_add(l, " max_connections=%u", e->max_connections);
}

static void
line_tls(struct line *l, const struct watch *w)
{
	const struct asking *a = w->pool->asking;

	if (w->tls_why != NULL)
		line_value(l, "error", w->tls_why);
	if (w->tls_why != NULL && !w->tls_cert)
		return;
	if (w->tls_why != NULL)
		line_value(l, "name", asking_name(a, watch_server(w)));
	if (w->entry.tls_expiry != 0)
		line_date(l, "until", w->entry.tls_expiry);
}

/* What goes with a bit, as far as it is known. */
static void
line_detail(struct line *l, const struct watch *w)
{
	const struct publish_entry *e = &w->entry;

	if (e->workers_stuck != 0)
		line_add(l, " workers=%u/%u", e->workers_stuck, e->threads);
	if (e->degraded & MCSHM_DEGRADED_MAXCONNS)
		line_connections(l, w);
	if ((e->degraded & MCSHM_DEGRADED_LISTENER_STUCK) && e->reason != 0)
		line_reason(l, "reason", e->reason);	/* how they failed */
	if (e->degraded & MCSHM_DEGRADED_SLOW)
		line_add(l, " rtt=%uus usual=%uus", e->rtt_us,
		    e->rtt_usual_us);
	if (e->degraded & MCSHM_DEGRADED_UNAUTHENTICATED)
		line_value(l, "login", w->pool->asking->words.user[0] == '\0' ?
		    "none" : "refused");
	if (e->degraded & MCSHM_DEGRADED_TLS)
		line_tls(l, w);
	if (e->degraded & MCSHM_DEGRADED_FLAPPING)
		line_flaps(l, w);
}

void
tell_degraded(struct watch *w, uint64_t was)
{
	const struct publish_entry *e = &w->entry;
	struct line l = { 0 };

	line_server(&l, w);
	line_degraded(&l, "degraded", e->degraded);
	line_degraded(&l, "was", was);
	line_detail(&l, w);
	line_address(&l, w);
	tell_line(w->pool, (e->degraded & ~was) != 0 || e->degraded == was ?
	    TELL_DEGRADED : TELL_WHOLE, &l);
}

static void
line_returned(struct line *l, uint64_t returned)
{
	static const char *const names[] = {
#define X(bit, id, name, text) [bit] = name,
		MCSHM_RETURNED_BITS(X)
#undef X
	};
	const char *sep = " returned=";

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if ((returned >> i & 1) == 0)
			continue;
		line_add(l, "%s%s", sep, names[i]);
		sep = ",";
	}
}

void
tell_return(struct watch *w, bool bad, const char *what, const char *by,
    uint64_t wait)
{
	const struct recovery_identity *is = &w->returning.recovery.seen;
	struct line l = { 0 };

	line_add(&l, "%s:", what);
	line_server(&l, w);
	line_returned(&l, w->entry.returned);
	if (by != NULL)
		line_value(&l, "by", by);
	if (wait != 0)
		line_add(&l, " wait=%.1fs", (double)wait / 1e9);
	if (is->clock != 0)
		line_add(&l, " pid=%llu uptime=%llus items=%llu flushes=%llu",
		    (unsigned long long)is->pid,
		    (unsigned long long)(is->clock - is->start),
		    (unsigned long long)is->curr_items,
		    (unsigned long long)is->cmd_flush);
	line_address(&l, w);
	tell_line(w->pool, bad ? TELL_STALE : TELL_RETURNED, &l);
}

void
tell_move(struct watch *w, const struct mcshm_address *was)
{
	struct line l = { 0 };

	line_server(&l, w);
	line_value(&l, "name", watch_server(w)->address.host);
	line_address(&l, w);
	line_resolved(&l, "was", w, was);
	tell_line(w->pool, TELL_MOVED, &l);
}

/* Ourselves --------------------------------------------------------------- */

void
tell_tilt(const struct checker *c, const struct doubt *was)
{
	const struct doubt *d = &c->doubt;
	const double lasted = (double)(d->looked.boot - d->since) / 1e9;

	if (was->worn && !d->worn)
		log_notice("TILT no longer again and again, and silence counts "
		    "for nothing in the next one tilts=%llu",
		    (unsigned long long)d->tilts);
	else if (!d->tilt)
		log_notice("TILT is over: began with %s by=%.1fs lasted=%.1fs",
		    doubt_sign_text(d->sign), (double)d->by / 1e9, lasted);
	else if (d->worn)
		log_warning("TILT again and again, silence counts but for the "
		    "time in which we did not look: began with %s by=%.1fs "
		    "lasts=%.1fs tilts=%llu", doubt_sign_text(d->sign),
		    (double)d->by / 1e9, lasted, (unsigned long long)d->tilts);
	else if (was->tilt)
		log_warning("TILT goes on, silence counts for nothing: began "
		    "with %s by=%.1fs lasts=%.1fs", doubt_sign_text(d->sign),
		    (double)d->by / 1e9, lasted);
	else
		log_warning("TILT, silence counts for nothing: %s by=%.1fs "
		    "tilt_for=%.1fs", doubt_sign_text(d->sign),
		    (double)d->by / 1e9, (double)c->tilt.lasts / 1e9);
}

void
tell_awareness(const struct pool *p)
{
	const struct doubted *n = &p->doubted;

	if (p->awareness != 0)
		log_warning("pool %s: many are silent at once, it may be us: "
		    "they are waited for up to %u times as long silent=%u "
		    "servers=%u", p->roster.pool, p->awareness_most + 1,
		    n->unanswered, n->probed);
	else
		log_notice("pool %s: silent servers are waited for as usual "
		    "again silent=%u servers=%u", p->roster.pool,
		    n->unanswered, n->probed);
}

void
tell_fail_open(const struct pool *p, enum failopen_state was)
{
	const struct doubted *n = &p->doubted;

	if (p->failopen.state == FAILOPEN_OPEN)
		log_err("pool %s: FAILS OPEN, too many are silent: those are "
		    "used all the same silent=%u servers=%u for=%.1fs",
		    p->roster.pool, n->silent, n->ready,
		    (double)failopen_left(&p->failopen, &p->failopen_rule,
			p->c->now) / 1e9);
	else if (p->failopen.state == FAILOPEN_BELIEVED)
		log_warning("pool %s: fails open no longer, and believes that "
		    "they are DOWN silent=%u servers=%u", p->roster.pool,
		    n->silent, n->ready);
	else if (was == FAILOPEN_OPEN)
		log_notice("pool %s: fails open no longer, few are silent "
		    "silent=%u servers=%u", p->roster.pool, n->silent,
		    n->ready);
}

void
tell_deaf(const struct checker *c, int error)
{
	struct line l = { 0 };

	line_value(&l, "directory", c->hearing.directory);
	line_value(&l, "error", strerror(error));
	log_warning("clients cannot report failures, no socket: %s", l.text);
}

void
tell_hears(const struct checker *c)
{
	struct line l = { 0 };

	line_value(&l, "socket", c->hearing.reports.path);
	log_notice("clients can report failures again: %s", l.text);
}

/* Reports of a pool or server that is no more are nobody's fault, and no
 * reason for a line. */
void
tell_garbage(struct checker *c)
{
	struct hearing *h = &c->hearing;

	if (h->garbage_told != 0 && c->now - h->garbage_told < GARBAGE_EACH)
		return;
	log_warning("somebody sends what is no report: garbage=%llu "
	    "unknown=%llu", (unsigned long long)h->garbage,
	    (unsigned long long)h->unknown);
	h->garbage_told = c->now;
	h->garbage = h->unknown = 0;
}
