/*
 * faults.c - what is wrong with a server that answers?
 *
 * Pure: time is an argument.
 */
#include "faults.h"
#include "span.h"

#include <stddef.h>

#define SOON (2 * SECOND)	/* the next look, while in doubt */
#define MOMENT (SECOND / 4)	/* in which a server that was full may not be */
#define CLOCK_STANDS (3 * SECOND)	/* it shows seconds; two may be one */
#define CALM 3			/* looks until memory is well again */
#define CLEAN 2			/* scans until workers are */
#define MET 8			/* times as many connections as it has workers,
				 * by ones: one in 3000 is told well wrongly */
#define FRESH 4			/* new connections in a row: all are new */
#define LOOK 4u			/* connections, of who says no threads */
#define ROOM_PERCENT 80		/* of its connections, ours included */
#define PUT_OFF 6		/* doublings of stats_interval */
#define ANSWERS 256		/* that make the usual time of one */

static void
put_bit(struct faults *f, uint64_t bit, bool on)
{
	f->bits = on ? f->bits | bit : f->bits & ~bit;
}

/* Begin, end --------------------------------------------------------------- */

/* What a fault that was believed by an earlier daemon needs: a look at it. */
static bool
is_seen_by_scan(uint64_t bits)
{
	return (bits & (MCSHM_DEGRADED_WORKER_STUCK |
	    MCSHM_DEGRADED_LISTENER_STUCK | MCSHM_DEGRADED_MAXCONNS)) != 0;
}

static bool
has_stats(const struct faults_rule *r)
{
	return r->stats_interval != 0 && !r->connects;
}

/* Nobody wants to know of stuck workers, or how many there are. */
static bool
is_blind(const struct faults_rule *r)
{
	return r->scan_interval == 0 || !has_stats(r) ||
	    (r->ignored & MCSHM_DEGRADED_WORKER_STUCK) != 0;
}

/* By these rules nobody looks for them: nothing would ever clear them. */
static uint64_t
unsought(const struct faults_rule *r)
{
	uint64_t bits = r->ignored;

	if (is_blind(r))
		bits |= MCSHM_DEGRADED_WORKER_STUCK;
	if (!has_stats(r))
		bits |= MCSHM_DEGRADED_CLOCK_STUCK;
	if (!has_stats(r) && !r->canary)
		bits |= MCSHM_DEGRADED_NO_MEMORY;
	if (r->slow_threshold == 0)
		bits |= MCSHM_DEGRADED_SLOW;
	return bits;
}

/* What nobody looks for is neither believed nor in doubt. */
static void
keep_sought(struct faults *f, const struct faults_rule *r)
{
	const uint64_t not = unsought(r);

	f->bits &= ~not;
	if (not & MCSHM_DEGRADED_WORKER_STUCK)
		f->bad = f->stuck = 0;
	if (not & MCSHM_DEGRADED_LISTENER_STUCK)
		f->unanswered = f->waiting = 0;
	if (not & MCSHM_DEGRADED_CLOCK_STUCK)
		f->still = 0;
	if (not & MCSHM_DEGRADED_MAXCONNS)
		f->full = false;
	if (not & MCSHM_DEGRADED_NO_MEMORY)
		f->scarce = false;
}

void
faults_begin(struct faults *f, const struct faults_rule *r, uint64_t bits,
    uint64_t usual, uint64_t phase, uint64_t now)
{
	*f = (struct faults){ .begun = true, .usual = usual,
		.bits = bits & FAULTS_BITS,
		.full = (bits & MCSHM_DEGRADED_MAXCONNS) != 0,
		.scarce = (bits & MCSHM_DEGRADED_NO_MEMORY) != 0,
		.answers = usual != 0 ? ANSWERS : 0 };
	keep_sought(f, r);
	if (r->stats_interval != 0) {
		f->stats_at = now;
		f->phase = 1 + phase % r->stats_interval;
	}
	if (r->scan_interval != 0)
		f->scan_at = now + phase % r->scan_interval;
	if (is_seen_by_scan(f->bits))
		f->scan_at = now;
}

void
faults_forget(struct faults *f)
{
	const struct faults was = *f;

	*f = (struct faults){ .begun = was.begun, .threads = was.threads,
		.connections = was.connections,
		.max_connections = was.max_connections,
		.stats_at = was.refused != 0 ? 0 : was.stats_at,
		.scan_at = was.scan_at, .phase = was.phase,
		.timed = was.timed, .answers = was.answers,
		.usual = was.usual };
}

void
faults_retry(struct faults *f, const struct faults_rule *r, uint64_t now)
{
	if (f->refused == 0)
		return;
	f->refused = 0;
	f->stats_at = r->stats_interval != 0 ? now : 0;
}

/* Stats -------------------------------------------------------------------- */

bool
faults_wants_stats(const struct faults *f, const struct faults_rule *r,
    uint64_t now)
{
	if (!f->begun)
		return r->stats_interval != 0;
	return f->alive && f->stats_at != 0 && now >= f->stats_at;
}

/*
 * Two looks, the first three seconds after the clock has last moved and the
 * second one two seconds later: a machine that was asleep between two stats has
 * a clock that seems to have stood, and moves now.
 */
static void
learn_clock(struct faults *f, const struct faults_stats *s,
    const struct faults_probe *p)
{
	if (s->uptime == 0 && s->time == 0)
		return;
	if (s->uptime != f->uptime || s->time != f->time) {
		f->uptime = s->uptime;
		f->time = s->time;
		f->moved = p->ended;
		f->still = 0;
		put_bit(f, MCSHM_DEGRADED_CLOCK_STUCK, false);
		return;
	}
	if (p->began < f->moved + CLOCK_STANDS ||
	    (f->still != 0 && p->began < f->still_at + SOON))
		return;
	f->still_at = p->ended;
	if (f->still++ != 0) {
		f->still = 1;
		put_bit(f, MCSHM_DEGRADED_CLOCK_STUCK, true);
	}
}

static void
memory_calm(struct faults *f)
{
	if (!f->scarce || ++f->calm < CALM)
		return;
	f->scarce = false;
	put_bit(f, MCSHM_DEGRADED_NO_MEMORY, false);
}

/* A single value may have been one that no server has room for. */
static void
memory_short(struct faults *f)
{
	if (f->scarce)
		put_bit(f, MCSHM_DEGRADED_NO_MEMORY, true);
	f->scarce = true;
	f->calm = 0;
}

/* Others' values, too: our own, which are a look each, are in the count. */
static bool
count_grew(const struct faults *f, const struct faults_stats *s)
{
	return f->counted && s->store_no_memory > f->no_memory &&
	    s->store_no_memory - f->no_memory > f->ours;
}

/* A value of one size may be stored where others are not: where stats come, it
 * takes these to say that all is well. */
static void
learn_memory(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	const bool refused = p->reason == MCSHM_R_NO_MEMORY;

	f->ours += refused && f->ours < UINT32_MAX;
	if (refused || (p->stats != NULL && count_grew(f, p->stats)))
		memory_short(f);
	else if (p->stats != NULL || (p->canary && p->class == VERDICT_GOOD &&
	    (!has_stats(r) || !f->counted || f->refused != 0)))
		memory_calm(f);
	if (p->stats == NULL)
		return;
	f->no_memory = p->stats->store_no_memory;
	f->counted = true;
	f->ours = 0;
}

static bool
memory_doubted(const struct faults *f)
{
	return f->scarce && f->calm == 0;
}

/* No new connection is let in.  If it is so again, and none was since, that was
 * no matter of a moment. */
static void
turned_away(struct faults *f, uint64_t now)
{
	if (f->full)
		put_bit(f, MCSHM_DEGRADED_MAXCONNS, true);
	else
		f->scan_at = now + MOMENT;
	f->full = true;
}

/* What was silent, was by other rules; and was a look, if this is why. */
static void
learn_deaf(struct faults *f, bool deaf, uint64_t now)
{
	const bool silent = f->unanswered != 0 || f->waiting != 0;

	if (f->deaf != deaf)
		f->unanswered = f->waiting = 0;
	f->deaf = deaf;
	if (!deaf)
		return;
	f->full |= silent;
	turned_away(f, now);
}

/* Nobody listens there any more: what comes next is another process. */
static bool
is_gone(enum mcshm_reason reason)
{
	return reason == MCSHM_R_REFUSED || reason == MCSHM_R_NO_SOCKET;
}

static uint32_t
count_of(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* In a container all processes have the same pid: time tells, then. */
static bool
is_another(const struct faults *f, const struct faults_stats *s)
{
	return s->uptime < f->uptime ||
	    (f->pid != 0 && s->pid != 0 && s->pid != f->pid);
}

static void
learn_stats(struct faults *f, const struct faults_stats *s,
    const struct faults_probe *p)
{
	if (is_another(f, s))
		faults_forget(f);
	f->pid = s->pid;
	f->threads = count_of(s->threads);
	f->connections = count_of(s->connections);
	f->max_connections = count_of(s->max_connections);
	learn_deaf(f, s->deaf, p->ended);
	learn_clock(f, s, p);
}

/*
 * Where a probe that asks for stats fails, the asking may be why (a proxy that
 * hangs up on what it does not know): put it off, twice as long each time.
 */
static void
plan_stats(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	const bool doubt = f->still != 0 || f->unanswered != 0 ||
	    memory_doubted(f);
	uint64_t wait = r->stats_interval;

	if (wait == 0) {
		f->stats_at = 0;
		return;
	}
	if (f->stats_at == 0 || f->stats_at > p->ended + (wait << PUT_OFF))
		f->stats_at = p->ended;		/* another rule */
	if (p->class == VERDICT_GOOD && p->stats != NULL) {
		if (f->phase != 0)
			wait = span_least(wait, f->phase);
		f->refused = 0;
		f->phase = 0;
		f->stats_at = p->ended + wait;
	} else if (p->stats_asked && !is_gone(p->reason) &&
	    (p->class == VERDICT_GOOD || p->class == VERDICT_PROOF)) {
		f->refused += f->refused < PUT_OFF;
		f->stats_at = p->ended + (wait << f->refused);
	}
	if (doubt && f->refused == 0)
		f->stats_at = span_least(f->stats_at, p->ended + SOON);
}

/* New connections ---------------------------------------------------------- */

/* As many as it has workers find all of them, in turn. */
static uint32_t
scan_size(const struct faults *f)
{
	return f->threads == 0 ? LOOK : f->threads < FAULTS_SCAN_MOST ?
	    f->threads : FAULTS_SCAN_MOST;
}

static bool
has_room(const struct faults *f, uint32_t more)
{
	return f->max_connections == 0 || ((uint64_t)f->connections + more) *
	    100 <= (uint64_t)f->max_connections * ROOM_PERCENT;
}

static bool
in_doubt(const struct faults *f)
{
	return f->unanswered != 0 || f->bad != 0 || f->full ||
	    is_seen_by_scan(f->bits);
}

uint32_t
faults_wants_scan(struct faults *f, const struct faults_rule *r, uint64_t now,
    bool *crowded)
{
	const bool doubt = in_doubt(f);

	*crowded = false;
	if (!f->alive || f->waiting != 0 || f->scan_at == 0 || now < f->scan_at)
		return 0;
	if (!doubt && (f->threads < 2 || is_blind(r)))
		return 0;		/* one worker: that of each probe */
	if (f->full)
		return 1;
	if (has_room(f, scan_size(f))) {
		f->crowded = false;
		return scan_size(f);
	}
	*crowded = !f->crowded;
	f->crowded = true;
	if (!doubt)
		f->scan_at = now + r->scan_interval;
	return doubt ? 1 : 0;
}

/* New connections are not answered.  More of them than there are workers, and
 * it is no worker: it is who deals them out. */
static void
listener_silent(struct faults *f, uint32_t connections)
{
	const uint32_t workers = scan_size(f);

	if (f->deaf) {
		f->full = true;
		put_bit(f, MCSHM_DEGRADED_MAXCONNS, true);
		put_bit(f, MCSHM_DEGRADED_LISTENER_STUCK, false);
		return;
	}
	f->unanswered += f->unanswered <= workers ? connections : 0;
	if (f->unanswered > workers)
		put_bit(f, MCSHM_DEGRADED_LISTENER_STUCK, true);
}

static void
listener_answers(struct faults *f)
{
	f->unanswered = f->waiting = 0;
	f->deaf = f->full = false;
	put_bit(f, MCSHM_DEGRADED_LISTENER_STUCK, false);
	put_bit(f, MCSHM_DEGRADED_MAXCONNS, false);
}

/* When the next scan is due: soon, or when its interval is over. */
static void
plan_scan(struct faults *f, const struct faults_rule *r, uint64_t now)
{
	const uint64_t every = r->scan_interval;

	if (in_doubt(f))
		f->scan_at = now + (every != 0 ? span_least(every, SOON) : SOON);
	else
		f->scan_at = every != 0 ? now + every : 0;
}

/* Some workers do not answer, and some do.  Others' connections come in
 * between, and get a worker's turn: what is sure is the smaller number. */
static void
workers_silent(struct faults *f, uint32_t silent)
{
	if (f->bad != 0) {
		f->stuck = f->bad < silent ? f->bad : silent;
		put_bit(f, MCSHM_DEGRADED_WORKER_STUCK, true);
	}
	f->bad = silent;
	f->clean = 0;
	f->met = 0;
}

static void
workers_well(struct faults *f)
{
	f->stuck = 0;
	put_bit(f, MCSHM_DEGRADED_WORKER_STUCK, false);
}

static void
workers_answer(struct faults *f)
{
	f->bad = 0;
	f->clean += f->clean < CLEAN;
	if (f->clean >= CLEAN)
		workers_well(f);
}

/*
 * Where there is no room for a scan, new connections come one at a time, and
 * others' between them: each meets any worker.  So many in a row, and they have
 * met the stuck one, if there still was one.
 */
static void
workers_met(struct faults *f, uint32_t answered)
{
	if ((f->bits & MCSHM_DEGRADED_WORKER_STUCK) == 0)
		return;
	f->met += answered;
	if (f->met >= MET * scan_size(f))
		workers_well(f);
}

/* Some of the new connections were answered; one for each worker, if all. */
static void
learn_workers(struct faults *f, const struct faults_rule *r,
    const struct faults_scan *s, bool all)
{
	const bool first = f->bad == 0;

	listener_answers(f);
	if (!all && s->answered == s->asked)
		workers_met(f, s->answered);
	if (!all)
		f->bad = 0;
	else if (s->silent != 0)
		workers_silent(f, s->silent);
	else if (s->unreached == 0)
		workers_answer(f);
	plan_scan(f, r, s->ended);
	if (first && f->bad != 0)	/* is it so? */
		f->scan_at = s->ended;
}

/* It may refuse a certificate of ours: that says nothing of who takes new
 * connections, and something of TLS. */
static void
learn_tls(struct faults *f, const struct faults_scan *s)
{
	if (s->no_tls != 0) {
		f->no_tls = true;
		put_bit(f, MCSHM_DEGRADED_TLS, true);
	} else if (s->answered != 0) {
		f->no_tls = false;	/* the next answer takes the bit away */
	}
}

void
faults_scan(struct faults *f, const struct faults_rule *r,
    const struct faults_scan *s)
{
	const bool all = !is_blind(r) && f->threads != 0 &&
	    s->asked >= scan_size(f);

	plan_scan(f, r, s->ended);
	learn_tls(f, s);
	/* Where only some are let in, it may be one of several who answer. */
	if (s->failed != 0 || s->no_tls != 0 ||
	    (s->proof != 0 && s->answered + s->full != 0))
		return;
	if (s->full == s->asked) {
		turned_away(f, s->ended);
	} else if (s->full == 0 && s->answered != 0) {
		learn_workers(f, r, s, all);
	} else if (s->full == 0) {
		f->waiting = s->asked;
		f->waiting_since = s->began;
		f->met = 0;
	}
	keep_sought(f, r);
}

/* Probes ------------------------------------------------------------------- */

/* An average of many answers, which no single one moves far. */
static void
learn_usual(struct faults *f, uint64_t took)
{
	const uint64_t counts = f->usual == 0 ? took :
	    span_least(took, 2 * f->usual);

	f->answers += f->answers < ANSWERS;
	f->usual = f->usual - f->usual / f->answers + counts / f->answers;
}

/*
 * Hysteresis, against the threshold or four times the usual, whichever is
 * more.  One answer counts with one and a half times that at most: it takes
 * three or four slow ones in a row.  Slow is who is it for certain, whatever
 * the time was that we took ourselves.
 */
static void
learn_time(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	const uint64_t limit = span_most(r->slow_threshold, 4 * f->usual);
	const uint64_t took = p->ended > p->began ? p->ended - p->began : 0;
	const uint64_t most = span_least(took > p->busy ? took - p->busy : 0,
	    limit + limit / 2);

	if (r->slow_threshold == 0) {
		put_bit(f, MCSHM_DEGRADED_SLOW, false);
	} else {
		f->recent = f->recent == 0 ? span_least(most, limit / 2) :
		    f->recent - f->recent / 4 + most / 4;
		if (f->recent > limit)
			put_bit(f, MCSHM_DEGRADED_SLOW, true);
		else if (f->recent < limit / 2)
			put_bit(f, MCSHM_DEGRADED_SLOW, false);
	}
	if ((f->bits & MCSHM_DEGRADED_SLOW) == 0)
		learn_usual(f, took);
}

/* Is it a time of those that count?  The others' history is of no use to them:
 * it begins anew. */
static bool
counts_by_time(struct faults *f, const struct faults_probe *p)
{
	const uint8_t kind = p->fresh ? FAULTS_TIMED_FRESH : FAULTS_TIMED_KEPT;

	f->fresh = !p->fresh ? 0 : f->fresh + (f->fresh < FRESH);
	if (!p->timed || (p->fresh && f->fresh < FRESH))
		return false;
	if (f->timed != kind && f->timed != FAULTS_TIMED_NONE) {
		f->recent = f->usual = 0;
		f->answers = 0;
	}
	f->timed = kind;
	return true;
}

static void
learn_login(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	const uint64_t was = f->bits & MCSHM_DEGRADED_UNAUTHENTICATED;
	const bool unknown = p->reason == MCSHM_R_UNAUTHENTICATED ||
	    p->reason == MCSHM_R_LOGIN_REFUSED;

	put_bit(f, MCSHM_DEGRADED_UNAUTHENTICATED, unknown);
	if (was != 0 && !unknown)
		faults_retry(f, r, p->ended);
}

static void
learn_answer(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	learn_login(f, r, p);
	if (p->fresh) {
		f->untrusted = p->reason == MCSHM_R_TLS_UNTRUSTED;
		f->no_tls = false;
	}
	put_bit(f, MCSHM_DEGRADED_TLS, f->untrusted || f->no_tls ||
	    p->tls_ends);
	if (counts_by_time(f, p))
		learn_time(f, r, p);
}

/* It is answered on a connection of old, or on a new one. */
static void
learn_listener(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	if (p->reason == MCSHM_R_MAXCONNS) {
		f->unanswered = f->waiting = 0;
		turned_away(f, p->ended);
	} else if (p->fresh) {
		listener_answers(f);
		workers_met(f, 1);
	} else if (f->waiting != 0 && p->began >= f->waiting_since) {
		listener_silent(f, f->waiting);
		f->waiting = 0;
		plan_scan(f, r, p->ended);
	}
}

/* Was this new connection not let in, or left to wait?  Who says something
 * wrong on it has taken it. */
static bool
is_unanswered(const struct faults_probe *p)
{
	return p->class == VERDICT_SILENCE || is_gone(p->reason) ||
	    p->reason == MCSHM_R_RESET || p->reason == MCSHM_R_CLOSED;
}

/* A new connection that failed with an answer, or for TLS. */
static void
learn_wrong(struct faults *f, const struct faults_probe *p)
{
	if (p->reason == MCSHM_R_TLS_FAILED) {
		f->no_tls = true;
		put_bit(f, MCSHM_DEGRADED_TLS, true);
	} else {
		listener_answers(f);
	}
}

/*
 * A new connection is silent or not let in, and an old one is there to be
 * asked: look at once, with connections and with stats.  That may be a server's
 * end, too, of which the old one will tell.  Where it is an old one that is
 * silent, it may be a worker; but more often it is the network, for many
 * servers at once, and they shall not be met with a storm of connections when
 * it is back.
 */
static void
learn_failure(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	if (p->fresh)
		f->met = 0;
	if (!p->fresh || !p->kept) {
		f->unanswered = f->waiting = 0;
		f->alive = false;
		return;
	}
	if (!is_unanswered(p)) {
		learn_wrong(f, p);
		return;
	}
	if (unsought(r) & MCSHM_DEGRADED_LISTENER_STUCK)
		return;
	listener_silent(f, 1);
	f->scan_at = p->ended;
	if (f->stats_at != 0 && f->refused == 0)
		f->stats_at = p->ended;
}

/* Due by the rules of now, which a reload may have made others; never later
 * than they say. */
static void
keep_scan_due(struct faults *f, const struct faults_rule *r, uint64_t now)
{
	const uint64_t at = f->scan_at;

	plan_scan(f, r, now);
	if (at != 0 && at < f->scan_at)
		f->scan_at = at;
}

void
faults_probe(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p)
{
	if (is_gone(p->reason) && !p->kept)
		faults_forget(f);
	if (p->stats != NULL)
		learn_stats(f, p->stats, p);
	learn_memory(f, r, p);
	if (p->class == VERDICT_GOOD) {
		f->alive = true;
		if (p->reason != MCSHM_R_MAXCONNS)	/* from the listener */
			learn_answer(f, r, p);
		learn_listener(f, r, p);
	} else if (p->class == VERDICT_SILENCE || p->class == VERDICT_PROOF) {
		learn_failure(f, r, p);
	} else if (p->class == VERDICT_LOCAL &&
	    p->reason == MCSHM_R_TLS_FAILED) {	/* for a certificate of ours */
		learn_wrong(f, p);
	}
	keep_sought(f, r);
	keep_scan_due(f, r, p->ended);
	plan_stats(f, r, p);
}

enum mcshm_reason
faults_down(const struct faults *f, const struct faults_rule *r)
{
	static const struct { uint64_t bit; enum mcshm_reason reason; } of[] = {
		{ MCSHM_DEGRADED_WORKER_STUCK, MCSHM_R_WORKER_STUCK },
		{ MCSHM_DEGRADED_LISTENER_STUCK, MCSHM_R_LISTENER_STUCK },
		{ MCSHM_DEGRADED_CLOCK_STUCK, MCSHM_R_CLOCK_STUCK },
		{ MCSHM_DEGRADED_MAXCONNS, MCSHM_R_MAXCONNS },
		{ MCSHM_DEGRADED_NO_MEMORY, MCSHM_R_NO_MEMORY },
		{ MCSHM_DEGRADED_SLOW, MCSHM_R_SLOW } };

	for (unsigned i = 0; i < sizeof of / sizeof of[0]; i++)
		if (f->bits & r->down & of[i].bit)
			return of[i].reason;
	return MCSHM_R_OK;
}
