/*
 * checker_supervise.c - to the supervisor: READY once, STATUS when it changed,
 * WATCHDOG while the loop is in time.
 *
 * Must not change what it tells of.
 */
#include "checker_line.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "log.h"

static void
status_pool(struct line *l, const struct pool *p)
{
	const struct pool_count *n = &p->count;
	const struct { uint32_t n; const char *what; } part[] = {
		{ n->down, "DOWN" }, { n->recovering, "RECOVERING" },
		{ n->held, "HELD" },
		{ n->drain, "DRAIN" }, { n->maint, "MAINT" } };
	const char *sep = ": ";

	line_add(l, "%s%s %u/%u usable%s", l->len != 0 ? "; " : "",
	    p->roster.pool, n->usable, p->roster.servers.n,
	    p->failopen.state == FAILOPEN_OPEN ? " (FAILS OPEN)" : "");
	for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
		if (part[i].n == 0)
			continue;
		line_add(l, "%s%u %s", sep, part[i].n, part[i].what);
		sep = ", ";
	}
}

/* The first pool whose clients are not on what was read; the log has all. */
static void
status_vain(struct line *l, const struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++) {
		struct pool *p = c->pool[i];

		if (pool_progress(p) != PUBLISH_VAIN)
			continue;
		line_add(l, "%spool %s's file is still the old one: %.250s",
		    c->reloaded ? "reloaded, but " : "", p->roster.pool,
		    p->trouble[0] != '\0' ? p->trouble : "see the log");
		return;
	}
}

static void
status_make(const struct checker *c, char status[512])
{
	struct line l = { 0 };

	status_vain(&l, c);
	for (uint32_t i = 0; i < c->pools; i++)
		status_pool(&l, c->pool[i]);
	if (c->pools == 0)
		line_add(&l, "no pools");
	if (c->doubt.tilt)
		line_add(&l, "; TILT");
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

/* What it waits for is not lost: a queue that is full will have room again. */
static void
tell_owed(struct checker *c)
{
	char status[512];

	if (c->owes_reloading != 0 && !notify_send(c->notify,
	    "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)c->owes_reloading))
		return;
	c->owes_reloading = 0;
	status_make(c, status);
	if (!c->owes_ready && strcmp(status, c->status) == 0) {
		c->owes_status = false;
		return;
	}
	if (!notify_send(c->notify, "%sSTATUS=%s",
	    c->owes_ready ? "READY=1\n" : "", status))
		return;
	memcpy(c->status, status, sizeof c->status);
	c->owes_ready = c->owes_status = false;
}

static bool
all_had_results(const struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++)
		if (c->pool[i]->awaited != 0)
			return false;
	return true;
}

/* Readers are on what was read, or can not be for the time being: who waits for
 * that shall not wait for ever. */
static bool
all_settled(const struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++)
		if (c->pool[i]->added ||
		    pool_progress(c->pool[i]) == PUBLISH_PENDING)
			return false;
	return true;
}

void
supervise_settle(struct checker *c)
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
	if (!c->ready && ((all_had_results(c) && all_settled(c)) ||
	    !ev_is_active(&c->grace)))
		c->ready = c->owes_ready = true;
	if (c->reloading && all_settled(c)) {
		c->reloading = false;
		c->owes_ready = true;
	}
	c->owes_status |= changed && c->ready;
	if (c->owes_ready || c->owes_status || c->owes_reloading != 0)
		tell_owed(c);
}

void
supervise_reloading(struct checker *c)
{
	c->reloaded = true;
	if (!c->ready)		/* its first READY is still to come */
		return;
	c->reloading = true;
	c->owes_reloading = checker_clock(CLOCK_MONOTONIC) / 1000;
	if (notify_send(c->notify, "RELOADING=1\nMONOTONIC_USEC=%llu",
	    (unsigned long long)c->owes_reloading))
		c->owes_reloading = 0;
}

void
supervise_refused(struct checker *c)
{
	if (!c->reloading)
		return;
	c->reloading = false;
	c->owes_ready = c->owes_reloading != 0 || !notify_send(c->notify,
	    "READY=1\nSTATUS=reload refused, the old configuration stays; %s",
	    c->status);
}

/*
 * Four looks in the time that the supervisor allows.  A look that comes late
 * says that the loop hangs now and then, and is not passed on; it takes three
 * of them in a row to be killed.
 */
void
supervise_feed(struct checker *c)
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
