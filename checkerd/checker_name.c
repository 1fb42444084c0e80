/*
 * checker_name.c - one server: its name -> the address in use.
 *
 * A name that does not resolve is our own fault until proven otherwise: it
 * steps no verdict, and addresses once known stay.  Asked when the server is
 * new, when the answer is too old, again 1 s to 60 s after each failure, and as
 * often while the server does not answer: it may have moved.  Where an answer
 * says that it has, within a minute: a second one is to say so.
 *
 *	entry.address[0]	in use: probed, and what clients get
 *	entry.address[1..]	what else the name leads to
 *
 * The address in use stays in use while it does its work.  Another one has to
 * answer first, a trial beside the probes that go on (make before break), when
 *
 *	the server is not reached	each of the others in turn
 *	the name leads elsewhere	as well: who answers lies, maybe, and
 *	(astray)			the server is well where it was; only
 *					when it says so for long enough
 *
 * A server that is reached and answers wrong, or not well, does so wherever it
 * is reached.
 *
 * Only where the name leads elsewhere, and the server is DOWN where it was or
 * was never seen there, it is given up without a trial: somebody else may get
 * its address.  Nobody moves to where another server of the pool is; but one
 * that the pool has twice, by one name or by two, moves by both.
 *
 * A move is no result, and steps no verdict.  But one that is astray is another
 * server afterwards: it has its predecessor's state until it answers, and else
 * nothing of it.  Where the name leads back to the server before that one, it is
 * that one again, and comes back as from an outage, RECOVERING where it was UP:
 * it may have what it had.
 */
#include "checker_engine.h"

#include <stdlib.h>
#include <string.h>

#define BACK_OFF_LEAST SECOND
#define BACK_OFF_MOST (60 * SECOND)
#define TTL_LEAST 5u			/* s */
#define TTL_MOST 3600u
#define TTL_NOT_KNOWN 60u
#define TTL_CONFIRM 60u			/* at most, for a second look */
#define APART_MOST (5 * SECOND)		/* answers that count as two */
#define TRIALS_AT_ONCE 128u		/* of all servers */
#define TRIAL_MOST (8 * SECOND)		/* between two, while it is well, or
					 * after a move */

/* One try at another address of the server. */
struct trial {
	struct watch *watch;
	struct probe probe;
	struct mcshm_address to;
	uint32_t turn;			/* which of the others */
	uint32_t failed;		/* in a row */
	uint64_t next;			/* none before; but if it is needed */
};

static uint64_t
doubled(uint64_t wait, uint32_t times, uint64_t most)
{
	while (times-- > 0 && wait < most)
		wait *= 2;
	return wait < most ? wait : most;
}

/* Names that were asked together shall not be asked together for ever. */
static uint64_t
back_off(struct watch *w, uint32_t failures)
{
	const uint64_t wait = doubled(BACK_OFF_LEAST, failures - 1,
	    BACK_OFF_MOST);

	return wait - checker_random(w->pool->c) % (wait / 8);
}

/* Later, not sooner: a cache on the way has a new answer by then. */
static uint64_t
spread(struct watch *w, uint64_t wait)
{
	return wait + checker_random(w->pool->c) % (wait / 8);
}

static uint64_t
good_for(struct watch *w, uint32_t ttl)
{
	if (ttl == RESOLVE_NO_TTL)
		ttl = TTL_NOT_KNOWN;
	ttl = ttl < TTL_LEAST ? TTL_LEAST : ttl > TTL_MOST ? TTL_MOST : ttl;
	return spread(w, ttl * SECOND);
}

/* Who is probed more often is asked for a second look sooner. */
static uint64_t
answers_apart(const struct watch *w)
{
	const uint64_t apart = 5 * w->pool->schedule.interval;

	return apart < APART_MOST ? apart : APART_MOST;
}

/* The newest probe that counts found nobody there. */
static bool
is_failing(const struct watch *w)
{
	const struct verdict *v = &w->entry.verdict;

	return v->probes != 0 && (v->history & 1) == 0;
}

/* Where it is, it is of no use to us.  What the verdict knows of one that rests
 * by its own word is from before. */
static bool
is_unheard(const struct watch *w)
{
	return w->unrouted || (admin_is_resting(w) ? w->unheard :
	    is_failing(w));
}

/* And another address may help. */
static bool
is_unreached(const struct watch *w)
{
	const struct publish_entry *e = &w->entry;

	if (w->unrouted)
		return true;
	switch (admin_is_resting(w) ? e->result : e->reason) {
	case MCSHM_R_REFUSED:
	case MCSHM_R_RESET:
	case MCSHM_R_CLOSED:
	case MCSHM_R_TIMEOUT:
	case MCSHM_R_CONNECT_TIMEOUT:
	case MCSHM_R_UNREACHABLE:
		return is_unheard(w);
	default:
		return false;
	}
}

/* The question ------------------------------------------------------------- */

/* With no address to probe, the timer of probes is free to wait for one. */
static void
name_failed(struct watch *w, const char *why)
{
	struct publish_entry *e = &w->entry;

	w->unanswered++;
	w->ask_at = w->pool->c->now + back_off(w, w->unanswered);
	if (w->unanswered == 1)
		tell_name(w, TELL_UNRESOLVED, why);
	if (e->addresses != 0)
		return;
	e->result = MCSHM_R_UNRESOLVED;
	watch_reason(w, MCSHM_R_UNRESOLVED);
	watch_unseen(w, w->pool->c->now);
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

/* It does not answer: has it moved?  At once, then ever more seldom. */
static bool
search_due(struct watch *w)
{
	if (!is_unheard(w)) {
		w->searched = 0;
		return false;
	}
	if (w->unanswered != 0 || w->pool->c->now - w->asked <
	    doubled(BACK_OFF_LEAST, w->searched, BACK_OFF_MOST))
		return false;
	w->searched++;
	return true;
}

/* The move ----------------------------------------------------------------- */

/* The name leads to the address in use: for now, where it wavers. */
static void
name_on_course(struct watch *w)
{
	w->astray = false;
	if (course_is_calm(&w->course, w->pool->c->now))
		w->entry.degraded &= ~(uint64_t)MCSHM_DEGRADED_ADDRESS;
	if (w->trial != NULL)
		w->trial->failed = 0;
}

/* Its name is another server's now.  Failures and faults of the old one say
 * nothing of that, nor does what it may have kept. */
static void
name_left(struct watch *w, uint32_t at)
{
	struct publish_entry *e = &w->entry;
	const struct mcshm_address was = e->address[at];

	e->address[at] = e->address[--e->addresses];
	memset(&e->address[e->addresses], 0, sizeof e->address[0]);
	e->rtt_avg_us = e->rtt_usual_us = 0;
	return_replace(w, &was);
	name_on_course(w);
}

/* Its keys may have to be kept from where it is now. */
static void
name_moved(struct watch *w, const struct verdict *was,
    const struct mcshm_address *from)
{
	tell_move(w, from);
	if (w->entry.verdict.state == was->state) {
		watch_publish(w, true);
		return;
	}
	doubt_verdict(w);
	watch_changed(w, was);
}

static uint64_t
trial_wait(const struct watch *w, uint32_t times)
{
	const uint64_t interval = w->pool->schedule.interval;

	return doubled(interval, times,
	    interval > TRIAL_MOST ? interval : TRIAL_MOST);
}

/* entry.address[at] is in use from now on; the one that was is one of the
 * others, or none any more.  Where trials see more than probes it would move on
 * and on: only the first move of an outage is made in haste. */
static void
name_move(struct watch *w, uint32_t at)
{
	struct publish_entry *e = &w->entry;
	const struct mcshm_address was = e->address[0];
	const struct verdict believed = e->verdict;

	e->address[0] = e->address[at];
	e->address[at] = was;
	fault_rest(w);		/* that was of the old one */
	watch_moved(w, w->moves == 0);
	course_moved(&w->course, !is_unheard(w));
	w->unrouted = false;
	e->came_from = was;
	e->at_since = w->pool->c->now;
	if (w->astray)
		name_left(w, at);
	w->settle_until = w->pool->c->now + trial_wait(w, w->moves);
	w->moves++;
	name_moved(w, &believed, &was);
}

/* Nobody is left where it was, and the name does not lead there: it must not
 * come back by somebody else's taking its address. */
static bool
is_given_up(const struct watch *w)
{
	const uint32_t state = w->entry.verdict.state;

	return w->astray && (state == MCSHM_DOWN || state == MCSHM_UNKNOWN);
}

static bool
is_at(const struct watch *w, const struct mcshm_address *one)
{
	const struct publish_entry *e = &w->entry;

	return e->addresses != 0 &&
	    memcmp(&e->address[0], one, sizeof *one) == 0;
}

/* They are one server that the pool has twice: by one name, or the other went
 * ahead from where both were, and this one still is. */
static bool
is_twin(const struct watch *w, const struct watch *other)
{
	return address_equal(&watch_server(w)->address,
	    &watch_server(other)->address) ||
	    (is_at(w, &other->entry.came_from) &&
	    w->entry.at_since < other->entry.at_since);
}

/* Another server of the pool is there: a name server that gives one answer for
 * all names, most likely.  But who is given up where it is has no claim. */
static bool
is_taken(const struct watch *w, const struct mcshm_address *one)
{
	const struct pool *p = w->pool;

	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		const struct watch *other = p->watch[i];

		if (i != w->i && is_at(other, one) && !is_given_up(other) &&
		    !is_twin(w, other))
			return true;
	}
	return false;
}

/* The first of the others, from that one on, that is not taken; 0: none. */
static uint32_t
other_free(const struct watch *w, uint32_t turn)
{
	const uint32_t others = w->entry.addresses - 1;

	for (uint32_t i = 0; i < others; i++) {
		const uint32_t at = 1 + (turn + i) % others;

		if (!is_taken(w, &w->entry.address[at]))
			return at;
	}
	return 0;
}

/* It stays where it is, for now. */
static void
name_stays(struct watch *w)
{
	if (!w->astray || w->entry.degraded & MCSHM_DEGRADED_ADDRESS)
		return;
	w->entry.degraded |= MCSHM_DEGRADED_ADDRESS;
	watch_publish(w, false);
	tell_name(w, TELL_ASTRAY, course_wavers(&w->course) ?
	    "its answers contradict each other" : NULL);
}

/* It does its work where it is: is there no doubt that it is to go?  A probe
 * that failed is enough to believe a name that does not waver. */
static bool
is_to_follow(const struct watch *w)
{
	const bool well = course_wavers(&w->course) && !w->unrouted ?
	    verdict_usable(&w->entry.verdict) : !is_unheard(w);

	return !well || course_is_sure(&w->course, w->pool->c->now);
}

static bool
wants_another(const struct watch *w)
{
	return w->astray ? is_to_follow(w) : is_unreached(w);
}

/* The trial ---------------------------------------------------------------- */

static void
trial_failed(struct trial *t)
{
	struct watch *w = t->watch;

	t->next = w->pool->c->now + trial_wait(w, t->failed);
	t->failed++;
	name_stays(w);
}

/* No worse than what is in use: a server that wants a login wants it wherever
 * it is. */
static bool
trial_is_good(const struct trial *t, const struct probe_result *r)
{
	const struct watch *w = t->watch;

	return (r->reason == MCSHM_R_OK || (watch_is_good(r->reason) &&
	    r->reason == (enum mcshm_reason)w->entry.result)) &&
	    task_is_expected(w->pool, r->told) && !is_taken(w, &t->to);
}

static void
trial_done(struct probe *p, const struct probe_result *r)
{
	struct trial *t = (struct trial *)((char *)p -
	    offsetof(struct trial, probe));
	struct watch *w = t->watch;
	const struct publish_entry *e = &w->entry;
	const bool good = trial_is_good(t, r);
	uint32_t at = 1;

	w->pool->c->trials--;
	probe_drop(p);		/* the next probe makes its own connection */
	if (!good) {
		trial_failed(t);
		return;
	}
	t->failed = 0;
	while (at < e->addresses &&
	    memcmp(&e->address[at], &t->to, sizeof t->to) != 0)
		at++;
	/* What it was for may be over by now. */
	if (at < e->addresses && wants_another(w))
		name_move(w, at);
}

/* It has no connection that could be lost. */
static void
trial_lost(struct probe *p)
{
	(void)p;
}

static struct trial *
trial_of(struct watch *w)
{
	if (w->trial != NULL)
		return w->trial;
	w->trial = calloc(1, sizeof *w->trial);
	if (w->trial == NULL)
		return NULL;
	w->trial->watch = w;
	if (probe_init(&w->trial->probe, w->pool->c->probes, trial_done,
	    trial_lost, NULL) != 0) {
		free(w->trial);
		w->trial = NULL;
	}
	return w->trial;
}

static void
name_try(struct watch *w)
{
	struct checker *c = w->pool->c;
	struct probe_task task;
	struct trial *t;
	uint32_t at;

	if (w->entry.addresses < 2 || c->trials >= TRIALS_AT_ONCE ||
	    c->now < w->settle_until || !wants_another(w))
		return;
	t = trial_of(w);
	if (t == NULL || probe_busy(&t->probe) ||
	    (!is_unheard(w) && c->now < t->next))
		return;
	at = other_free(w, t->turn);
	if (at == 0) {
		trial_failed(t);
		return;
	}
	t->turn = at;
	t->to = w->entry.address[at];
	if (!task_try(w, &t->to, &task))
		return;
	c->trials++;
	probe_start(&t->probe, &task);
}

/* To another address, if it is time to and there is a good one. */
static void
name_follow(struct watch *w)
{
	uint32_t at;

	if (!is_given_up(w)) {
		name_try(w);
		return;
	}
	at = other_free(w, 0);
	if (at != 0)
		name_move(w, at);
	else
		name_stays(w);
}

/* After each probe --------------------------------------------------------- */

void
name_check(struct watch *w)
{
	const uint64_t now = w->pool->c->now;

	if (watch_server(w)->address.kind != MCSHM_KIND_NAME ||
	    w->entry.addresses == 0)
		return;
	if (search_due(w) || (w->ask_at != 0 && now >= w->ask_at))
		name_ask(w);
	if (!is_unheard(w) && now >= w->settle_until)
		w->moves = 0;
	name_follow(w);
}

void
name_forget(struct watch *w)
{
	if (w->question != NULL)
		w->question->watch = NULL;
	w->question = NULL;
	if (w->trial == NULL)
		return;
	if (probe_busy(&w->trial->probe))
		w->pool->c->trials--;
	probe_close(&w->trial->probe);
	free(w->trial);
	w->trial = NULL;
}

/* The answer --------------------------------------------------------------- */

static bool
answer_has(const struct resolve_answer *a, const struct mcshm_address *one)
{
	for (uint32_t i = 0; i < a->n; i++)
		if (memcmp(&a->address[i], one, sizeof *one) == 0)
			return true;
	return false;
}

/* The name does not lead there any more.  An answer that knows only one family
 * says nothing of the other; nor one that was cut of what was cut. */
static bool
answer_denies(const struct resolve_answer *a, const struct mcshm_address *one)
{
	return one->kind != a->unknown && a->n < RESOLVE_ADDRESSES &&
	    !answer_has(a, one);
}

/* Before the others are those of this answer. */
static enum course_says
answer_says(const struct watch *w, const struct resolve_answer *a)
{
	const struct publish_entry *e = &w->entry;

	if (!answer_denies(a, &e->address[0]))
		return COURSE_AGREES;
	if (!w->astray)
		return COURSE_DENIES;
	for (uint32_t i = 1; i < e->addresses; i++)
		if (!answer_denies(a, &e->address[i]))
			return COURSE_DENIES;
	return COURSE_ANEW;
}

/* Does it lead to the address in use?  An answer that may be of no use for that
 * says nothing.  True: the entry has changed. */
static bool
name_course(struct watch *w, const struct resolve_answer *a,
    enum course_says says)
{
	const bool denies = says != COURSE_AGREES;
	const uint64_t was = w->entry.degraded;

	if (!denies && !answer_has(a, &w->entry.address[0]))
		return false;
	course_step(&w->course, says, answers_apart(w), w->pool->c->now);
	if (!denies)
		name_on_course(w);
	w->astray = denies;
	if (course_wavers(&w->course))
		name_stays(w);
	return w->entry.degraded != was;
}

/* The others that the name leads to, behind the one in use.  True: there is
 * something new among them. */
static bool
name_others(struct watch *w, const struct resolve_answer *a)
{
	struct publish_entry *e = &w->entry;
	struct mcshm_address list[MCSHM_ADDRESSES] = { e->address[0] };
	uint32_t n = 1;
	bool same;

	for (uint32_t i = 0; i < a->n && n < MCSHM_ADDRESSES; i++)
		if (memcmp(&a->address[i], &list[0], sizeof list[0]) != 0)
			list[n++] = a->address[i];
	for (uint32_t i = 1; i < e->addresses && n < MCSHM_ADDRESSES; i++)
		if (e->address[i].kind == a->unknown)
			list[n++] = e->address[i];
	same = n == e->addresses && memcmp(list, e->address, sizeof list) == 0;
	memcpy(e->address, list, sizeof list);
	e->addresses = n;
	return !same;
}

static void
name_found(struct watch *w, const struct resolve_answer *a)
{
	w->entry.address[0] = a->address[0];
	w->entry.addresses = 1;
	w->entry.at_since = w->pool->c->now;
	name_others(w, a);
	name_on_course(w);
	tell_debug(w, "name resolved");
	watch_publish(w, true);
	watch_first(w, w->pool->added);
}

static void
name_resolved(struct watch *w, const struct resolve_answer *a)
{
	enum course_says says;
	bool changed;

	if (w->entry.addresses == 0) {
		name_found(w, a);
		return;
	}
	says = answer_says(w, a);
	changed = name_others(w, a);
	changed |= name_course(w, a, says);
	if (changed) {
		tell_debug(w, w->astray ? "name leads elsewhere" :
		    "name has other addresses beside");
		if (w->trial != NULL)
			w->trial->next = 0;	/* somebody new to try */
		watch_publish(w, true);
	}
	if (changed || is_given_up(w))
		name_follow(w);
}

/* Until when what it says is believed.  That the server is elsewhere has to be
 * said again, and does not wait for an hour.  It may be the same answer then,
 * out of a cache: that is a second look, too.  Where it wavers, many looks at
 * one answer would pass for many answers. */
static uint64_t
answer_until(struct watch *w, uint32_t ttl)
{
	const uint64_t now = w->pool->c->now;
	uint64_t wait;

	if (!w->astray || course_wavers(&w->course) ||
	    course_is_sure(&w->course, now))
		return now + good_for(w, ttl);
	wait = (ttl < TTL_CONFIRM ? ttl : TTL_CONFIRM) * SECOND;
	return now + spread(w, wait > answers_apart(w) ? wait :
	    answers_apart(w));
}

static void
name_answered(struct watch *w, const struct resolve_answer *a)
{
	w->question = NULL;
	if (a->error != NULL) {
		name_failed(w, a->error);
		return;
	}
	if (w->unanswered != 0)
		tell_name(w, TELL_RESOLVED, NULL);
	w->unanswered = 0;
	name_resolved(w, a);
	w->ask_at = answer_until(w, a->ttl);
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
