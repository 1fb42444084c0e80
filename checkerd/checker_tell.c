/*
 * checker_tell.c - to people and to the supervisor.
 *
 * Transitions are a line each, at warning or notice; a storm of them in one
 * pool is ten lines, and then one a second.  Own faults are a line in ten
 * seconds.  The supervisor gets READY once, STATUS when it changed,
 * WATCHDOG while the loop is in time.  Must not change what it tells of.
 */
#include "checker_engine.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "scheme.h"

#define LINES_A_STORM 10
#define FAULT_EACH (10 * SECOND)
#define GARBAGE_EACH (60 * SECOND)

/* Lines -------------------------------------------------------------------- */

/* A line under construction: what does not fit is cut. */
struct line {
	size_t len;
	char text[1024];
};

static void __attribute__((format(printf, 2, 3)))
line_add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, sizeof l->text - l->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	l->len += (size_t)n;
	if (l->len >= sizeof l->text)
		l->len = sizeof l->text - 1;
}

static void
line_value(struct line *l, const char *key, const char *value)
{
	char quoted[600];

	line_add(l, "%s%s=%s", l->len != 0 ? " " : "", key,
	    log_quote(quoted, sizeof quoted, value));
}

static void
line_server(struct line *l, const struct watch *w)
{
	char label[272];

	server_label(label, watch_server(w));
	line_value(l, "server", label);
	line_value(l, "pool", w->pool->roster.pool);
}

/* Where the server is probed: a name's address, not the name. */
static void
line_address(struct line *l, const struct watch *w)
{
	struct address a = watch_server(w)->address;
	const struct mcshm_address *to = &w->entry.address[0];
	char text[ADDRESS_TEXT];

	if (a.kind == MCSHM_KIND_NAME && w->entry.addresses != 0) {
		a.kind = to->kind;
		inet_ntop(to->kind == MCSHM_KIND_IPV6 ? AF_INET6 : AF_INET,
		    to->ip, a.host, sizeof a.host);
	}
	address_format(text, &a);
	line_value(l, "address", text);
}

/* A number that will get a name, in a later version. */
static void
line_reason(struct line *l, const char *key, uint32_t reason)
{
	const char *name = mcshm_reason_name(reason);

	if (name != NULL)
		line_value(l, key, name);
	else
		line_add(l, " %s=%u", key, reason);
}

/* Storms ------------------------------------------------------------------- */

static bool
is_bad(enum tell_kind kind)
{
	return kind == TELL_HELD || kind == TELL_DOWN ||
	    kind == TELL_UNRESOLVED;
}

static void
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
	static const char *const what[TELL_KINDS] = { "UNKNOWN", "UP", "HELD",
		"DOWN", "not resolved", "resolved again" };
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
	}
	return TELL_UNKNOWN;
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
	if (now->since >= was->since)
		line_add(&l, " was_for=%.1fs",
		    (double)(now->since - was->since) / 1e9);
	if (kind == TELL_UP)
		line_add(&l, " rtt=%uus", e->rtt_us);
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
	if (r->sys_errno != 0)
		line_value(&l, "error", strerror(r->sys_errno));
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

/* Not the server's fault, and seldom one server's alone. */
void
tell_fault(struct watch *w, int sys_errno)
{
	struct checker *c = w->pool->c;
	struct line l = { 0 };

	if (c->fault_told != 0 && c->now - c->fault_told < FAULT_EACH)
		return;
	line_server(&l, w);
	line_value(&l, "error", strerror(sys_errno));
	line_add(&l, " faults=%llu",
	    (unsigned long long)(c->local_errors - c->faults_told));
	log_warning("own fault, probed nothing: %s", l.text);
	c->fault_told = c->now;
	c->faults_told = c->local_errors;
}

void
tell_name(struct watch *w, enum tell_kind kind, const char *why)
{
	struct line l = { 0 };

	line_server(&l, w);
	line_value(&l, "name", watch_server(w)->address.host);
	line_value(&l, "resolved", kind == TELL_RESOLVED ? "yes" : "no");
	if (why != NULL)
		line_value(&l, "error", why);
	if (w->entry.addresses != 0 && kind == TELL_UNRESOLVED)
		line_address(&l, w);
	tell_line(w->pool, kind, &l);
}

/* Other terms ------------------------------------------------------------- */

static void
line_change(struct line *l, const char *key, const char *was, const char *is)
{
	if (strcmp(was, is) != 0)
		line_add(l, " %s=%s->%s", key, was, is);
}

static void
line_tags(struct line *l, uint32_t was, uint32_t is)
{
	char text[2][5] = { "none", "none" };
	const uint32_t tag[2] = { was, is };

	for (int i = 0; i < 2; i++)
		if (tag[i] != 0)
			snprintf(text[i], sizeof text[i], "%c%c",
			    (int)(tag[i] & 0xff), (int)(tag[i] >> 8));
	line_change(l, "hash_tag", text[0], text[1]);
}

static void
line_seconds(struct line *l, const char *key, uint32_t was, uint32_t is)
{
	if (was != is)
		line_add(l, " %s=%us->%us", key, was, is);
}

static const char *
chars_word(const struct scheme_setting *set)
{
	return set->hash_flags & MCSHM_HASH_UNSIGNED ? "unsigned" : "signed";
}

/* As the ini says it. */
static const char *
dead_word(uint32_t dead)
{
	switch (dead) {
	case MCSHM_DEAD_MISS:
		return "miss";
	case MCSHM_DEAD_ERROR:
		return "error";
	default:
		return "rehash";
	}
}

/* What places keys, in the words of the ini.  A ring's hash is said where it
 * is not the key's. */
static void
line_placement(struct line *l, const struct publish_terms *was,
    const struct publish_terms *is)
{
	const struct scheme_setting *a = &was->set, *b = &is->set;

	line_change(l, "scheme", scheme_name(a->scheme),
	    scheme_name(b->scheme));
	line_change(l, "hash", scheme_hash_name(a->hash),
	    scheme_hash_name(b->hash));
	if (a->points_hash != a->hash || b->points_hash != b->hash)
		line_change(l, "points_hash", scheme_hash_name(a->points_hash),
		    scheme_hash_name(b->points_hash));
	line_change(l, "hash_chars", chars_word(a), chars_word(b));
	line_tags(l, a->hash_tag, b->hash_tag);
	if (was->map != is->map)
		line_add(l, " buckets=changed");
}

/* True: keys are placed in another way. */
static bool
line_terms(struct line *l, const struct publish_terms *was,
    const struct publish_terms *is)
{
	const size_t before = l->len;
	size_t placed;

	line_placement(l, was, is);
	placed = l->len;
	line_change(l, "dead", dead_word(was->dead), dead_word(is->dead));
	line_seconds(l, "failover_ttl", was->failover_ttl, is->failover_ttl);
	return placed != before;
}

static void
tell_exchanged(const struct pool *p, const struct publish_event *e)
{
	struct line l = { 0 };

	line_add(&l, "pool %s: %u -> %u servers, %.1f %% of keys get "
	    "another home", p->roster.pool, e->before, e->after,
	    e->moved * 100);
	tell_at(line_terms(&l, &e->was, &e->is), l.text);
}

void
tell_event(const struct pool *p, const struct publish_event *e)
{
	switch (e->kind) {
	case PUBLISH_EXCHANGED:
		tell_exchanged(p, e);
		return;
	case PUBLISH_REMADE:
		log_warning("pool %s: file was gone or not ours, made anew "
		    "file=%s", p->roster.pool, p->path);
		return;
	case PUBLISH_FAILED:
		log_err("pool %s: cannot publish, tried again each heartbeat: "
		    "%s: %s", p->roster.pool, e->what, strerror(e->error));
		return;
	case PUBLISH_WORKS:
		log_notice("pool %s: publishes again", p->roster.pool);
		return;
	}
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

void
tell_moved(const struct pool *p, const struct pool *old, bool same)
{
	const struct publish_terms was = publish_roster_terms(&old->roster);
	const struct publish_terms is = publish_roster_terms(&p->roster);
	struct line l = { 0 };
	size_t head;
	bool placed;

	line_add(&l, "pool %s: %u -> %u servers", p->roster.pool,
	    old->roster.servers.n, p->roster.servers.n);
	head = l.len;
	placed = line_terms(&l, &was, &is);
	if (!same || l.len != head)
		tell_at(placed, l.text);
	log_warning("pool %s: file is now %s; clients that have the old one "
	    "open fall back to all READY servers until they open the new one",
	    p->roster.pool, p->path);
}

/* Supervisor --------------------------------------------------------------- */

static void
status_pool(struct line *l, const struct pool *p)
{
	const struct pool_count *n = &p->count;
	const struct { uint32_t n; const char *what; } part[] = {
		{ n->down, "DOWN" }, { n->held, "HELD" },
		{ n->drain, "DRAIN" }, { n->maint, "MAINT" } };
	const char *sep = ": ";

	line_add(l, "%s%s %u/%u usable", l->len != 0 ? "; " : "",
	    p->roster.pool, n->usable, p->roster.servers.n);
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		if (part[i].n == 0)
			continue;
		line_add(l, "%s%u %s", sep, part[i].n, part[i].what);
		sep = ", ";
	}
}

static void
status_make(const struct checker *c, char status[512])
{
	struct line l = { 0 };

	for (uint32_t i = 0; i < c->pools; i++)
		status_pool(&l, c->pool[i]);
	if (c->pools == 0)
		line_add(&l, "no pools");
	snprintf(status, 512, "%.511s", l.text);
}

/* The one thing that an operator gets out of bed for. */
static void
tell_none(struct pool *p)
{
	const bool none = p->count.usable == 0;

	if (none == p->none)
		return;
	p->none = none;
	if (none)
		log_err("pool %s: no server is usable servers=%u",
		    p->roster.pool, p->roster.servers.n);
	else
		log_notice("pool %s: usable again usable=%u servers=%u",
		    p->roster.pool, p->count.usable, p->roster.servers.n);
}

static void
tell_status(struct checker *c, const char *state)
{
	char status[512];

	status_make(c, status);
	if (state[0] == '\0' && strcmp(status, c->status) == 0)
		return;
	memcpy(c->status, status, sizeof c->status);
	notify_send(c->notify, "%sSTATUS=%s", state, status);
}

static bool
all_had_results(const struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++)
		if (c->pool[i]->awaited != 0)
			return false;
	return true;
}

static bool
all_exchanged(const struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++)
		if (c->pool[i]->added)
			return false;
	return true;
}

void
tell_settle(struct checker *c)
{
	bool changed = false;

	for (uint32_t i = 0; i < c->pools; i++) {
		struct pool *p = c->pool[i];

		if (!p->changed)
			continue;
		p->changed = false;
		pool_count(p);
		tell_none(p);
		changed = true;
	}
	if (!c->ready && (all_had_results(c) || !ev_is_active(&c->grace))) {
		c->ready = true;
		tell_status(c, "READY=1\n");
	} else if (c->reloading && all_exchanged(c)) {
		c->reloading = false;
		tell_status(c, "READY=1\n");
	} else if (changed && c->ready) {
		tell_status(c, "");
	}
}

void
tell_reloading(struct checker *c)
{
	if (!c->ready)		/* its first READY is still to come */
		return;
	c->reloading = true;
	notify_send(c->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)(checker_clock(CLOCK_MONOTONIC) / 1000));
}

void
tell_refused(struct checker *c)
{
	if (!c->reloading)
		return;
	c->reloading = false;
	notify_send(c->notify, "READY=1\nSTATUS=reload refused, the old "
	    "configuration stays; %s", c->status);
}

/*
 * Four looks in the time that the supervisor allows.  A look that comes late
 * says that the loop hangs now and then, and is not passed on; it takes three
 * of them in a row to be killed.
 */
void
tell_feed(struct checker *c)
{
	const uint64_t now = checker_clock(CLOCK_BOOTTIME);
	const uint64_t step = c->notify->watchdog / 4;

	if (now <= c->feed_at + step / 2)
		notify_send(c->notify, "WATCHDOG=1");
	c->feed_at = now + step;
	ev_timer_stop(c->loop, &c->feed);
	ev_timer_set(&c->feed, (double)step / 1e9, 0.);
	ev_timer_start(c->loop, &c->feed);
}
