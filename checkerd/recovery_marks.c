/*
 * recovery_marks.c - what is known of a server from before, and by others.
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 *
 * Its own clock, which process it is, and the marks and notes of other hosts in
 * it.  All rounding goes against what a mark is to prove.
 */
#include <string.h>

#include "recovery_marks.h"
#include "span.h"

#define SAME_START 2u			/* s */
#define UPTIME_AHEAD 3u			/* s; memcached begins to count at 2 */
#define CLOCK_STEADY 1u			/* s beside rounding, */
#define CLOCK_DRIFT 2000u		/* and 1 s in so many */
#define WAIT_MOST 125u			/* s; a note for longer is no note */
#define RENEWED 9u			/* s; a mark that is older is its host's
					 * last: 5 s, an interval, rounding */

/* Clocks ------------------------------------------------------------------- */

/* The server's clock at a time; or a little before that. */
uint64_t
recovery_clock_least(const struct recovery_identity *is, uint64_t at)
{
	if (at >= is->at)
		return is->clock + (at - is->at) / SECOND;
	return span_passed((is->at - at + SECOND - 1) / SECOND, is->clock);
}

/* Or a little after that: the rest of its second, and it may have read its
 * clock a while before its answer was here. */
uint64_t
recovery_clock_most(const struct recovery_identity *is, uint64_t at)
{
	if (at >= is->at)
		return is->clock + 2 + (at - is->at + SECOND - 1) / SECOND;
	return span_passed((is->at - at) / SECOND, is->clock + 2);
}

/* Identity ----------------------------------------------------------------- */

struct recovery_identity
recovery_identity(const struct mcproto_stats *stats, uint64_t at)
{
	return (struct recovery_identity){ .pid = stats->pid,
		.start = span_passed(stats->uptime, stats->time),
		.clock = stats->time, .cmd_flush = stats->cmd_flush,
		.curr_items = stats->curr_items, .at = at };
}

/*
 * By the start: memcached -e goes on with its items under another pid, and with
 * the very start that it had.  Under one pid, starts may be rounded.
 */
bool
recovery_is_new(const struct recovery_identity *was,
    const struct recovery_identity *is)
{
	const uint64_t apart = is->start > was->start ?
	    is->start - was->start : was->start - is->start;

	return was->clock != 0 &&
	    apart > (was->pid == is->pid ? SAME_START : 0);
}

bool
recovery_is_same(const struct recovery_identity *was,
    const struct recovery_identity *is)
{
	return was->clock != 0 && !recovery_is_new(was, is);
}

/* Counters go on as long as the process does. */
bool
recovery_is_counting(const struct recovery_identity *was,
    const struct recovery_identity *is)
{
	return recovery_is_same(was, is) && was->pid == is->pid;
}

/* Failures that are void may have been its own, all the same. */
uint64_t
recovery_began(const struct recovery_outage *o)
{
	return o->gone != 0 && o->gone < o->since ? o->gone : o->since;
}

/*
 * Another process, and it began during the outage.  One that is older, and that
 * we never saw, is another server by now: who knows what it has.  Where nothing
 * is known from before, it has to have begun in it for certain.
 */
bool
recovery_is_newborn(const struct recovery_outage *o,
    const struct recovery_identity *is)
{
	if (o->since == 0)
		return false;
	if (o->before->clock == 0)
		return is->start != 0 && span_passed(is->start, is->clock) + 2 <
		    span_passed(o->since, is->at) / SECOND;
	return recovery_is_new(o->before, is) &&
	    span_passed(is->start, is->clock) <=
	    span_passed(recovery_began(o), is->at) / SECOND + UPTIME_AHEAD;
}

/* Marks -------------------------------------------------------------------- */

static bool
is_note(const struct mcproto_mark *m)
{
	return m->host[0] != '\0' && m->since == 0;
}

static bool
is_by(const struct mcproto_mark *m, const char *host)
{
	return strcmp(m->host, host) == 0;
}

/* Until when other hosts wait, as notes in the server say, and who for the
 * longest.  Our own is no matter here: it says what we knew when we left it. */
uint64_t
recovery_notes_until(const struct mcproto_told *told, const char *host,
    const char **by)
{
	uint64_t until = 0;

	for (uint32_t i = 0; i < MCPROTO_MARKS; i++) {
		const struct mcproto_mark *m = &told->note[i];

		if (is_note(m) && !is_by(m, host) && m->time > until &&
		    m->time <= told->stats.time + WAIT_MOST) {
			until = m->time;
			*by = m->host;
		}
	}
	return until;
}

/* What our own says; 0: it is not there. */
uint64_t
recovery_note_of(const struct mcproto_told *told, const char *host)
{
	uint64_t until = 0;

	for (uint32_t i = 0; i < MCPROTO_MARKS; i++) {
		const struct mcproto_mark *m = &told->note[i];

		if (is_note(m) && is_by(m, host) && m->time > until)
			until = m->time;
	}
	return until;
}

/*
 * Its clock has gone on as ours has.  Else it was stopped, with all that is on
 * it, or stands still: then times in marks mean nothing.
 */
static bool
is_steady(const struct recovery_outage *o, const struct recovery_look *look)
{
	const uint64_t time = look->told->stats.time;
	const uint64_t off = CLOCK_STEADY +
	    span_passed(o->before->at, look->ended) / SECOND / CLOCK_DRIFT;

	return time + off >= recovery_clock_least(o->before, look->began) &&
	    time <= recovery_clock_most(o->before, look->ended) + off;
}

/*
 * What another host's row of answers has to go along with.  By the server's
 * clock, rounded against the row.
 */
struct span {
	uint64_t from, to;		/* in the outage for certain */
	uint64_t least;			/* s of that; */
	bool gaps;			/* and more than the row's own gaps */
	uint64_t until;			/* it has to reach till there */
	uint64_t begin;			/* it has not begun by then */
	uint64_t lasted;		/* ns; 0: not known */
};

/*
 * The outage was ours only if others reached the server during it, and to its
 * end.  A row that stops before says that the server was lost for them, too:
 * from then on their clients stored elsewhere as ours did, and they will flush
 * it as we shall.  (Or it is only not known yet that the row goes on: the mark
 * is renewed while we wait.)  One that began in it has to go along with half of
 * it: a short one may only say that the server was back before we saw it, or
 * that its host is new.  Who knows nothing of the server from before takes any
 * answer in the outage for one.
 */
static struct span
span_of(const struct recovery *r, const struct recovery_outage *o)
{
	const bool known = o->before->clock != 0;
	const struct recovery_identity *clock = known ? o->before : &r->seen;
	struct span s = { .from = recovery_clock_most(clock, o->since),
		.to = recovery_clock_least(clock, o->failed), .gaps = known };

	if (known) {
		s.least = (span_passed(s.from, s.to) + 1) / 2;
		s.until = recovery_clock_most(clock, o->failed);
		s.begin = recovery_clock_least(clock, o->since);
		s.lasted = span_passed(o->since, o->failed);
	}
	return s;
}

/* Of a process that began in it: since then.  What it has, it has from those
 * who reached it, however short that was. */
static struct span
span_of_newborn(const struct recovery *r, const struct recovery_outage *o,
    bool to_the_end)
{
	return (struct span){ .from = r->seen.start,
		.to = recovery_clock_least(&r->seen, o->failed),
		.until = to_the_end ? recovery_clock_most(&r->seen,
		    o->failed) : 0 };
}

/* Another host's. */
static bool
is_row(const struct mcproto_mark *m, const char *host)
{
	return m->host[0] != '\0' && m->since != 0 && m->gap != 0 &&
	    !is_by(m, host);
}

/* It was there before the outage, and goes on in it: to the end of it if it gets
 * to `until`.  How long that is our own clock knows, and rounds nothing. */
static bool
goes_through(const struct mcproto_mark *m, const struct span *s)
{
	return m->since <= s->begin && m->time > s->begin &&
	    m->time >= s->until && s->lasted / SECOND >= m->gap &&
	    s->lasted > m->gap * SECOND;
}

static bool
goes_along(const struct mcproto_mark *m, const struct span *s)
{
	const uint64_t both = span_passed(m->since > s->from ? m->since : s->from,
	    m->time < s->to ? m->time : s->to);

	return goes_through(m, s) || (both > 0 && both >= s->least &&
	    m->time >= s->until && (!s->gaps || both >= m->gap));
}

/* Another host whose row does; NULL: none, as far as can be seen. */
static const char *
host_along(const struct mcproto_told *told, const char *host,
    const struct span *s)
{
	for (uint32_t i = 0; i < MCPROTO_MARKS; i++) {
		const struct mcproto_mark *m = &told->mark[i];

		if (is_row(m, host) && goes_along(m, s))
			return m->host;
	}
	return NULL;
}

/* Until when a row that would do, if it went on to the end, may yet be said to:
 * its mark is renewed by then.  0: there is none.  *by: whose. */
static uint64_t
row_until(const struct mcproto_told *told, const char *host,
    const struct span *whole, const char **by)
{
	struct span s = *whole;
	uint64_t until = 0;

	s.until = 0;
	for (uint32_t i = 0; i < MCPROTO_MARKS; i++) {
		const struct mcproto_mark *m = &told->mark[i];

		if (is_row(m, host) && goes_along(m, &s) &&
		    m->time + RENEWED > until) {
			until = m->time + RENEWED;
			*by = m->host;
		}
	}
	return until;
}

/* Who reached it meanwhile; NULL: nobody, as far as can be seen.  *maybe: who
 * may yet say so. */
const char *
recovery_reached_by(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look, const char **maybe)
{
	const bool newborn = recovery_is_newborn(o, &r->seen);
	const struct span s = newborn ? span_of_newborn(r, o, true) :
	    span_of(r, o);

	r->row = 0;
	if (o->failed == 0 || (!newborn && o->before->clock != 0 &&
	    !is_steady(o, look)))
		return NULL;
	r->row = row_until(look->told, o->host, &s, maybe);
	return host_along(look->told, o->host, &s);
}

const char *
recovery_used_by(const struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look)
{
	const struct span s = span_of_newborn(r, o, false);

	return o->failed != 0 ? host_along(look->told, o->host, &s) : NULL;
}

/*
 * It began in the outage, and others have stored in it while our clients stored
 * elsewhere: it is not empty, though nothing in it is from before.  It stays so
 * when their marks have ended.
 */
bool
recovery_is_used(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look)
{
	if (recovery_used_by(r, o, look) != NULL)
		r->used = r->seen;
	return recovery_is_same(&r->used, &r->seen);
}
