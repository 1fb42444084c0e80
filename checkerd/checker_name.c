/*
 * checker_name.c - one server: its name -> its addresses.
 *
 * A name that does not resolve is our own fault until proven otherwise: it
 * steps no verdict, and addresses once known stay in use.  Asked when the
 * server is new, again 1 s to 60 s after each failure, and each minute while
 * the server is DOWN: it may have moved.
 */
#include "checker_engine.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define BACK_OFF_LEAST SECOND
#define BACK_OFF_MOST (60 * SECOND)
#define DOWN_EACH (60 * SECOND)

static uint64_t
back_off(struct watch *w)
{
	uint64_t wait = BACK_OFF_LEAST;

	for (uint32_t i = 1; i < w->unanswered && wait < BACK_OFF_MOST; i++)
		wait *= 2;
	if (wait > BACK_OFF_MOST)
		wait = BACK_OFF_MOST;
	/* Names that failed together shall not ask together for ever. */
	return wait - checker_random(w->pool->c) % (wait / 8);
}

/* With no address to probe, the timer of probes is free to wait for one. */
static void
name_failed(struct watch *w, const char *why)
{
	struct publish_entry *e = &w->entry;

	w->unanswered++;
	w->ask_at = w->pool->c->now + back_off(w);
	if (w->unanswered == 1)
		tell_name(w, TELL_UNRESOLVED, why);
	if (e->addresses != 0)
		return;
	e->result = MCSHM_R_UNRESOLVED;
	watch_reason(w, MCSHM_R_UNRESOLVED);
	e->local_errors++;
	watch_publish(w, false);
	watch_due(w, w->ask_at);
	watch_told(w);
}

void
name_ask(struct watch *w)
{
	struct checker *c = w->pool->c;
	const struct address *a = &watch_server(w)->address;
	struct question *q;

	if (w->question != NULL)
		return;
	w->asked = c->now;
	w->ask_at = 0;
	q = malloc(sizeof *q);
	if (q == NULL ||
	    resolve_ask(c->resolve, (uintptr_t)q, a->host, a->port) != 0) {
		free(q);
		name_failed(w, "out of memory or threads");
		return;
	}
	q->watch = w;
	w->question = q;
	LIST_INSERT_HEAD(&c->questions, q, list);
}

void
name_check(struct watch *w)
{
	const uint64_t now = w->pool->c->now;

	if (watch_server(w)->address.kind != MCSHM_KIND_NAME)
		return;
	if ((w->ask_at != 0 && now >= w->ask_at) ||
	    (w->entry.verdict.state == MCSHM_DOWN &&
	    now - w->asked >= DOWN_EACH))
		name_ask(w);
}

void
name_forget(struct watch *w)
{
	if (w->question != NULL)
		w->question->watch = NULL;
	w->question = NULL;
}

/* The server now lives elsewhere: nothing is known of it there. */
static void
name_moved(struct watch *w)
{
	const struct verdict was = w->entry.verdict;
	const uint64_t now = w->pool->c->now;

	probe_drop(&w->probe);
	w->entry.reason = 0;
	w->entry.verdict = verdict_init(now);
	if (was.state != MCSHM_UNKNOWN)
		watch_changed(w, &was);
	else
		watch_publish(w, true);
	watch_due(w, schedule_early(&w->pool->schedule, w->began, now));
}

static void
name_resolved(struct watch *w, const struct resolve_answer *a)
{
	struct publish_entry *e = &w->entry;
	const size_t one = sizeof a->address[0];
	const bool first = e->addresses == 0;
	const bool moved = !first && memcmp(a->address, e->address, one) != 0;

	if (e->addresses == a->n &&
	    memcmp(a->address, e->address, a->n * one) == 0)
		return;
	memset(e->address, 0, sizeof e->address);
	memcpy(e->address, a->address, a->n * one);
	e->addresses = a->n;
	tell_debug(w, moved ? "name has another address" : "name resolved");
	if (moved) {
		name_moved(w);
		return;
	}
	watch_publish(w, true);
	if (first)
		watch_first(w, w->pool->added);
}

static void
name_answered(struct watch *w, const struct resolve_answer *a)
{
	w->question = NULL;
	if (a->error != 0) {
		name_failed(w, gai_strerror(a->error));
		return;
	}
	if (w->unanswered != 0)
		tell_name(w, TELL_RESOLVED, NULL);
	w->unanswered = 0;
	w->ask_at = 0;
	name_resolved(w, a);
}

void
name_answers(struct checker *c)
{
	struct resolve_answer a;

	while (resolve_fetch(c->resolve, &a)) {
		struct question *q = (struct question *)(uintptr_t)a.cookie;

		if (q->watch != NULL)
			name_answered(q->watch, &a);
		LIST_REMOVE(q, list);
		free(q);
	}
}
