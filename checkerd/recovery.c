/*
 * recovery.c - may a server that was DOWN be trusted again?
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 *
 * Each step looks at what the last answer said, and at nothing that was hoped
 * for: a flush that we sent counts no more than one of which we only see that
 * it was made.
 */
#include <string.h>

#include "recovery_marks.h"
#include "span.h"

#define LOCK_GOOD (5 * SECOND)		/* half of its TTL: the rest is for a
					 * request under way */
#define LOOKS 3u			/* in vain, then it can not do it */
#define WITNESS_GOOD (280 * SECOND)	/* of its TTL; it ends in whole seconds */
#define WITNESS_AGAIN (200 * SECOND)
#define STANDS (5 * SECOND)		/* a clock, then it is not rounding */
#define UNVERIFIED 1u			/* a marker's since */
#define SOON 5u				/* s; hosts see one moment so far apart,
					 * at most */

/* Asks --------------------------------------------------------------------- */

/* Nobody waits any more, or may yet say that it was us, whom we wait for: one
 * that is ill would keep the server from all. */
static bool
others_waited(const struct recovery *r, uint64_t clock)
{
	return clock >= span_most(r->until, r->row) ||
	    clock >= r->late_clock + RECOVERY_MOST / SECOND;
}

/* Nobody waits, nor do we, by the server's clock. */
static bool
all_waited(const struct recovery *r, uint64_t clock)
{
	return r->based && clock >= r->late_clock && others_waited(r, clock);
}

static bool
may_lock(const struct recovery *r, const struct recovery_now *now)
{
	return r->step == RECOVERY_WAIT && !r->given_up && now->due &&
	    now->may_flush &&
	    all_waited(r, recovery_clock_least(&r->seen, now->now));
}

/* Others are to know until when we wait. */
static bool
wants_note(const struct recovery *r, const struct recovery_now *now)
{
	return !r->given_up && now->now < r->late &&
	    r->until < r->late_clock && r->noted < r->late_clock;
}

/* Nothing in the server shows yet that it was flushed since. */
static bool
wants_witness(const struct recovery *r, const struct recovery_now *now)
{
	return !r->blind && (!r->witness ||
	    span_passed(r->witnessed, now->now) >= WITNESS_AGAIN);
}

static uint32_t
asks_look(struct recovery *r, const struct recovery_now *now,
    struct mcproto_mark *mark)
{
	uint32_t asks = MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS;

	if (r->unlock)
		asks |= MCPROTO_ASK_UNLOCK;
	else if (may_lock(r, now))
		asks |= MCPROTO_ASK_LOCK;
	if (wants_note(r, now)) {
		*mark = (struct mcproto_mark){ .time = r->late_clock };
		asks |= MCPROTO_ASK_MARK;
	}
	if (wants_witness(r, now))
		asks |= MCPROTO_ASK_WITNESS;
	return asks;
}

static bool
lock_is_good(const struct recovery *r, uint64_t now)
{
	return span_passed(r->locked, now) <= LOCK_GOOD;
}

/* With a lock that is still good; nobody else is to begin before it is known
 * what has come of it. */
static uint32_t
asks_flush(struct recovery *r, const struct recovery_now *now,
    struct mcproto_mark *mark)
{
	if (now->due && now->may_flush && lock_is_good(r, now->now)) {
		*mark = (struct mcproto_mark){ .time = r->seen.clock,
			.since = UNVERIFIED };
		return MCPROTO_ASK_FLUSH | MCPROTO_ASK_FLUSHED |
		    MCPROTO_ASK_RELOCK;
	}
	r->unlock = lock_is_good(r, now->now);
	r->step = RECOVERY_WAIT;
	return asks_look(r, now, mark);
}

/* Restarted, and empty when it was back: is it used since, and not by us? */
static uint32_t
asks_left(const struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_now *now)
{
	if (!now->left || !rule->flush ||
	    r->returned != MCSHM_RETURNED_RESTARTED ||
	    span_passed(r->seen.at, now->now) < rule->pause)
		return 0;
	return MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS;
}

/* What it is left with: the marker, then no lock, and no note for which others
 * would wait. */
static uint32_t
asks_done(const struct recovery *r, struct mcproto_mark *mark)
{
	uint32_t asks = r->unlock ? MCPROTO_ASK_UNLOCK : 0;

	if (r->sign) {
		*mark = (struct mcproto_mark){ .time = r->flushed };
		return r->add ? asks | MCPROTO_ASK_SEEN :
		    r->ours ? MCPROTO_ASK_FLUSHED : asks | MCPROTO_ASK_FLUSHED;
	}
	if (r->unnote) {
		*mark = (struct mcproto_mark){ .time = r->seen.clock };
		asks |= MCPROTO_ASK_MARK;
	}
	return asks;
}

uint32_t
recovery_asks(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_now *now, struct mcproto_mark *mark)
{
	/* By now it may be another host's. */
	r->unlock = r->unlock && lock_is_good(r, now->now);
	if (!rule->flush && r->step != RECOVERY_DONE)
		return MCPROTO_ASK_STATS;
	switch ((enum recovery_step)r->step) {
	case RECOVERY_NONE:
		return MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS;
	case RECOVERY_WAIT:
		if ((!now->due || r->given_up) && !wants_note(r, now) &&
		    span_passed(r->seen.at, now->now) < rule->pause)
			return 0;
		return asks_look(r, now, mark);
	case RECOVERY_FLUSH:
		return asks_flush(r, now, mark);
	case RECOVERY_VERIFY:
		return MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS;
	case RECOVERY_DONE:
		return asks_done(r, mark) | asks_left(r, rule, now);
	}
	return 0;
}

/* Answers ------------------------------------------------------------------ */

static enum recovery_event
done(struct recovery *r, uint32_t returned, enum recovery_event event)
{
	r->step = RECOVERY_DONE;
	r->unnote = r->left > r->seen.clock;
	r->returned |= returned;
	return event;
}

/* It can not be flushed, or it can not be known. */
static enum recovery_event
give_up(struct recovery *r, const struct recovery_rule *rule, uint32_t returned,
    enum recovery_event event)
{
	const bool told = r->given_up;

	r->given_up = true;
	if (!rule->flush || !rule->stay)
		return done(r, returned, event);
	r->returned |= returned;
	r->step = RECOVERY_WAIT;
	return told ? RECOVERY_QUIET : event;
}

/* It can, after all. */
static void
take_up(struct recovery *r, uint32_t returned)
{
	r->given_up = r->stopped = r->dumb = false;
	r->returned &= ~returned;
}

static void
begin(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_outage *o, const struct recovery_look *look)
{
	const uint64_t first = o->first != 0 && o->first < look->ended ?
	    o->first : look->ended;
	const uint64_t wait = span_passed(recovery_began(o), first) + rule->slack;

	r->step = RECOVERY_WAIT;
	r->first = first;
	r->late = first + (wait < RECOVERY_MOST ? wait : RECOVERY_MOST);
}

/* It has no connection left for us: told once, where nothing else is in the
 * way. */
static enum recovery_event
learn_full(struct recovery *r, const struct recovery_look *look)
{
	if (!look->full || r->full || look->began < r->late)
		return RECOVERY_QUIET;
	r->full = true;
	return RECOVERY_FULL;
}

/* One that is slow to tell may yet do so, while it has to wait anyway; one that
 * is full may soon be less so, as our clients are elsewhere. */
static enum recovery_event
learn_nothing(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_look *look)
{
	if (r->untold == 0)
		r->untold = look->began;
	if (look->began < (look->full ? span_most(r->late, r->untold) +
	    RECOVERY_MOST : r->late) &&
	    (look->told->refused & MCPROTO_ASK_STATS) == 0)
		return learn_full(r, look);
	if (++r->mute < LOOKS)
		return RECOVERY_QUIET;
	r->mute = LOOKS;
	r->dumb |= !r->given_up;
	return give_up(r, rule, MCSHM_RETURNED_UNKNOWN, RECOVERY_MUTE);
}

static enum recovery_event
learn_flush(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_look *look)
{
	const bool answered = look->told->answered & MCPROTO_ASK_FLUSH;

	r->step = RECOVERY_WAIT;
	r->tried |= !answered || look->told->flushed;
	if (!answered)
		return RECOVERY_QUIET;	/* as one that was lost */
	if (!look->told->flushed) {
		r->unlock = true;
		return give_up(r, rule, MCSHM_RETURNED_REFUSED,
		    RECOVERY_REFUSED);
	}
	r->step = RECOVERY_VERIFY;
	r->said_ok = true;
	r->idle = 0;
	return RECOVERY_SENT;
}

/* It has what it had, or may have. */
static enum recovery_event
learn_kept(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_outage *o)
{
	const bool told = r->returned != 0;

	if (!told)
		r->returned = recovery_is_same(o->before, &r->seen) ?
		    MCSHM_RETURNED_SAME : MCSHM_RETURNED_UNKNOWN;
	if (rule->flush)
		return told ? RECOVERY_QUIET : RECOVERY_KEPT;
	r->unlock = r->step == RECOVERY_FLUSH;
	return done(r, 0, RECOVERY_KEPT);
}

/*
 * Each look gives a bound, and rounding makes two of them: the less will do, so
 * that what was said in a note stays true.  A clock that has made a jump is
 * another matter.
 */
static void
learn_late_clock(struct recovery *r, uint64_t clock)
{
	if (r->late_clock == 0 || clock != r->late_clock + 1)
		r->late_clock = clock;
}

/*
 * What another daemon waited for may be over for a while.  Counted back from now
 * that is too low where the clock has stood still since, counted on from before
 * where it has made a jump; and too high where it has stayed behind, for what a
 * process shows now it did not show before.
 */
static uint64_t
late_clock_then(const struct recovery *r, const struct recovery_outage *o)
{
	const uint64_t now = r->seen.clock + 2;
	const uint64_t seen = recovery_clock_most(&r->seen, r->late);
	const uint64_t before = recovery_clock_most(o->before, r->late);

	if (o->first == 0 || o->before->clock == 0)
		return now;
	return span_most(seen, before) < now ? span_most(seen, before) : now;
}

/* It has fallen behind what was counted on, beside rounding. */
static bool
is_behind(const struct recovery *r)
{
	return r->late_clock > r->seen.clock + 3;
}

static void
learn_late(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look)
{
	if (look->began < r->late)
		learn_late_clock(r, r->seen.clock + 2 +
		    (r->late - look->began + SECOND - 1) / SECOND);
	else if (r->late_clock == 0 || is_behind(r))
		r->late_clock = late_clock_then(r, o);
}

/*
 * Is our witness there?  Where it can not be stored, or is always gone by the
 * next look, there is none.
 */
static void
learn_witness(struct recovery *r, const struct recovery_look *look)
{
	const bool asked = look->told->answered & look->asks &
	    MCPROTO_ASK_WITNESS;

	r->witness = look->told->witness;
	if (r->witness)
		r->unseen = 0;
	else if (r->stored && ++r->unseen >= LOOKS)
		r->blind = true;
	r->stored = asked && !(look->told->refused & MCPROTO_ASK_WITNESS);
	if (r->stored)
		r->witnessed = look->began;
	else if (asked)
		r->blind = true;
}

/*
 * What to compare with: the last look that nothing old can follow, and at which
 * our witness was there.  One that is gone, and no flush was counted, proves
 * nothing.
 */
static void
learn_base(struct recovery *r, const struct recovery_look *look)
{
	if (look->began < r->late)
		return;
	if (r->blind && r->based)
		return;
	r->based = look->told->witness || r->blind;
	r->base = r->seen;
}

/*
 * People have set its counters back ("stats reset"), or it goes on as another
 * process: what was counted before is no base any more.  If that came between
 * our flush and this look nothing shows that it was made; it is made once more,
 * and nobody uses it yet.
 */
static void
learn_anew(struct recovery *r, const struct recovery_look *look)
{
	const bool gone = r->step == RECOVERY_VERIFY && !r->blind &&
	    !look->told->witness && r->seen.cmd_flush == r->base.cmd_flush;

	if (!r->based || !recovery_is_same(&r->base, &r->seen) ||
	    (r->base.pid == r->seen.pid && !gone &&
	    r->seen.cmd_flush >= r->base.cmd_flush))
		return;
	r->based = false;
	if (r->step != RECOVERY_VERIFY || look->told->witness ||
	    ++r->anew >= LOOKS)
		return;
	r->step = RECOVERY_WAIT;
	r->unlock = true;
}

/*
 * A flush since then.  The count alone is no proof: memcached counts one that it
 * refuses (-F), and one that is to come (flush_all 3600).  What it had, our
 * witness, has to be gone, too; without one, our own flush has to be said to be
 * done.
 */
static bool
is_flushed(const struct recovery *r, const struct recovery_look *look,
    uint64_t witnessed)
{
	if (!r->based || !recovery_is_counting(&r->base, &r->seen) ||
	    r->seen.cmd_flush <= r->base.cmd_flush)
		return false;
	return r->blind ? r->said_ok : !look->told->witness &&
	    span_passed(witnessed, look->ended) < WITNESS_GOOD;
}

/* A marker, and it is verified. */
static bool
is_signed(const struct mcproto_mark *marker)
{
	return marker->host[0] != '\0' && marker->since == 0;
}

/* Somebody flushed it when nothing old could follow. */
static bool
is_covered(const struct recovery *r, const struct recovery_look *look,
    uint64_t witnessed)
{
	const struct mcproto_mark *marker = &look->told->marker;

	return is_flushed(r, look, witnessed) || (look->began >= r->late &&
	    is_signed(marker) && marker->time >= r->late_clock);
}

/*
 * It was seen that it was flushed, and others may have to know.  A marker that
 * is not verified came right behind the flush: it says when that was, more
 * exactly than our last look before it.
 */
static void
learn_sign(struct recovery *r, const struct mcproto_mark *marker)
{
	const bool there = marker->host[0] != '\0';

	r->sign = r->based && !is_signed(marker);
	r->add = !there && !r->ours;
	r->flushed = there && marker->time <= r->seen.clock ?
	    span_most(marker->time, r->base.clock) : r->base.clock;
}

/* Nothing has to be flushed any more.  Who did it has the lock until the marker
 * is there. */
static enum recovery_event
learn_covered(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look, const char **by)
{
	const struct mcproto_mark *marker = &look->told->marker;
	const char *host = marker->host[0] != '\0' ? marker->host :
	    look->told->owner;

	r->ours = r->step == RECOVERY_VERIFY || (r->tried &&
	    (host[0] == '\0' || strcmp(host, o->host) == 0));
	r->unlock = look->told->locked ||
	    (r->ours && is_signed(marker));
	learn_sign(r, marker);
	if (!r->ours) {
		*by = host;
		r->theirs = host[0] != '\0' ? look->ended : 0;
	}
	return done(r, MCSHM_RETURNED_FLUSHED, r->ours ? RECOVERY_FLUSHED :
	    RECOVERY_FLUSHED_BY);
}

/* Where there is no memory for a lock (memcached -M), nobody has one: to flush
 * twice is better than never to be UP again. */
static bool
may_go_on(const struct mcproto_told *told)
{
	return told->locked || (told->refused & MCPROTO_ASK_LOCK) != 0;
}

static enum recovery_event
learn_lock(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_look *look)
{
	if (r->step == RECOVERY_VERIFY && ++r->idle >= LOOKS)
		return give_up(r, rule, MCSHM_RETURNED_REFUSED,
		    RECOVERY_REFUSED);
	if (!may_go_on(look->told))
		return RECOVERY_QUIET;
	if (!all_waited(r, r->seen.clock)) {
		r->unlock = look->told->locked;
		return RECOVERY_QUIET;
	}
	r->locked = look->began;
	r->step = RECOVERY_FLUSH;
	return RECOVERY_LOCKED;
}

/* Nothing but somebody else is in the way. */
static enum recovery_event
learn_waits(struct recovery *r, const struct recovery_look *look,
    const char *waits, const char **by)
{
	if (r->waits || r->given_up || look->began < r->late ||
	    r->seen.clock < r->late_clock ||
	    others_waited(r, r->seen.clock))
		return RECOVERY_QUIET;
	r->waits = true;
	*by = waits;
	return RECOVERY_WAITS;
}

/* It is not ours to flush: others had it meanwhile, or it was never used from
 * here.  QUIET: *by may have had it, as is not known yet. */
static enum recovery_event
learn_foreign(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look, const char **by)
{
	const char *host = recovery_reached_by(r, o, look, by);

	if (host == NULL && (o->before->clock != 0 || o->used))
		return RECOVERY_QUIET;
	r->unlock = look->told->locked;
	if (host == NULL) {
		*by = "";
		return done(r, 0, RECOVERY_STRANGE);
	}
	if (recovery_is_newborn(o, &r->seen))
		r->returned = MCSHM_RETURNED_RESTARTED;
	*by = host;
	return done(r, MCSHM_RETURNED_OUR_FAULT, RECOVERY_OURS);
}

/*
 * A clock that stands still never comes to the end of our wait, nor to that of
 * anything that others left there; and where times mean nothing, no flush can be
 * known to come after anything.  It may go on yet, and then so do we.
 */
static void
learn_clock(struct recovery *r, const struct recovery_look *look)
{
	if (r->seen.clock == look->told->stats.time)
		return;
	r->moved = look->began;
	if (r->stopped)
		take_up(r, MCSHM_RETURNED_REFUSED);
}

/* It tells who it is. */
static void
learn_told(struct recovery *r, const struct recovery_look *look)
{
	r->mute = 0;
	r->untold = 0;
	if (r->dumb)
		take_up(r, MCSHM_RETURNED_UNKNOWN);
	if (look->told->locked)
		r->locked = look->began;
	learn_clock(r, look);
	r->seen = recovery_identity(&look->told->stats, look->ended);
}

static enum recovery_event
learn_stopped(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_look *look)
{
	if (r->given_up || span_passed(span_most(r->moved, r->late), look->began) <
	    RECOVERY_MOST)
		return RECOVERY_QUIET;
	r->stopped = true;
	return give_up(r, rule, MCSHM_RETURNED_REFUSED, RECOVERY_STOPPED);
}

/* What of ours is in it: our note, as it was before this look, and after. */
static void
learn_note(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look)
{
	const uint32_t set = look->told->answered & ~look->told->refused &
	    look->asks & MCPROTO_ASK_MARK;

	r->noted = recovery_note_of(look->told, o->host);
	r->left = set != 0 ? r->late_clock : r->noted;
}

/* It has to be flushed; *by: who may have a word in that. */
static enum recovery_event
learn_due(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_outage *o, const struct recovery_look *look,
    const char **by)
{
	const char *waits = *by;
	enum recovery_event event;

	*by = "";
	r->until = recovery_notes_until(look->told, o->host, &waits);
	learn_anew(r, look);
	learn_base(r, look);
	/* It was to stay, and the rule is another one now. */
	if (r->given_up && !rule->stay)
		return give_up(r, rule, 0, r->stopped ? RECOVERY_STOPPED :
		    RECOVERY_REFUSED);
	event = learn_lock(r, rule, look);
	if (event == RECOVERY_QUIET)
		event = learn_stopped(r, rule, look);
	return event != RECOVERY_QUIET ? event :
	    learn_waits(r, look, waits, by);
}

/* It may have old values: unless it was flushed in time, whoever else reached
 * it, or it was others who had it all the time. */
static enum recovery_event
learn_old(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_outage *o, const struct recovery_look *look,
    const char **by)
{
	const uint64_t witnessed = r->witnessed;
	enum recovery_event event;

	learn_late(r, o, look);
	learn_witness(r, look);
	if (is_covered(r, look, witnessed))
		return learn_covered(r, o, look, by);
	event = learn_foreign(r, o, look, by);
	return event != RECOVERY_QUIET ? event :
	    learn_due(r, rule, o, look, by);
}

static enum recovery_event
learn_look(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_outage *o, const struct recovery_look *look,
    const char **by)
{
	enum recovery_event kept, event;

	learn_told(r, look);
	r->unlock = false;
	learn_note(r, o, look);
	if (recovery_is_newborn(o, &r->seen) && !recovery_is_used(r, o, look)) {
		r->returned = 0;
		return done(r, MCSHM_RETURNED_RESTARTED, RECOVERY_RESTARTED);
	}
	kept = learn_kept(r, rule, o);
	if (r->step == RECOVERY_DONE)
		return kept;
	event = learn_old(r, rule, o, look, by);
	return kept != RECOVERY_QUIET && r->step != RECOVERY_DONE ? kept :
	    event;
}

/* Empty when it was back, and others use it while our clients store elsewhere:
 * it is not flushed for that, as they would lose what they have. */
static enum recovery_event
learn_left(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look, const char **by)
{
	struct recovery_outage on = *o;
	const char *host;

	if (r->returned != MCSHM_RETURNED_RESTARTED ||
	    !(look->asks & MCPROTO_ASK_MARKS) || !look->told->stats.whole)
		return RECOVERY_QUIET;
	r->seen = recovery_identity(&look->told->stats, look->ended);
	on.failed = look->began;
	host = recovery_used_by(r, &on, look);
	if (host == NULL)
		return RECOVERY_QUIET;
	r->returned |= MCSHM_RETURNED_OUR_FAULT;
	*by = host;
	return RECOVERY_LEFT;
}

enum recovery_event
recovery_learn(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_outage *outage, const struct recovery_look *look,
    const char **by)
{
	*by = "";
	if (r->step == RECOVERY_DONE) {
		recovery_tidied(r, look->asks);
		return learn_left(r, outage, look, by);
	}
	if (r->step == RECOVERY_NONE)
		begin(r, rule, outage, look);
	if (look->asks & MCPROTO_ASK_FLUSH)
		return learn_flush(r, rule, look);
	if (!(look->asks & MCPROTO_ASK_STATS))
		return RECOVERY_QUIET;
	if (!look->told->stats.whole)
		return learn_nothing(r, rule, look);
	if (rule->flush && !(look->asks & MCPROTO_ASK_MARKS))
		return RECOVERY_QUIET;	/* asked for under another rule */
	return learn_look(r, rule, outage, look, by);
}

void
recovery_lost(struct recovery *r, uint32_t asks)
{
	if (asks & MCPROTO_ASK_FLUSH) {
		r->tried = true;
		r->step = RECOVERY_WAIT;
	}
	if (asks & MCPROTO_ASK_UNLOCK)
		r->unlock = false;
}

void
recovery_tidied(struct recovery *r, uint32_t asks)
{
	if (asks & MCPROTO_ASK_UNLOCK)
		r->unlock = false;
	if (asks & MCPROTO_ASK_MARK)
		r->unnote = false;
	if (asks & (MCPROTO_ASK_FLUSHED | MCPROTO_ASK_SEEN)) {
		r->sign = false;
		r->unlock |= r->ours;
	}
}

bool
recovery_cleared(const struct recovery *r)
{
	return r->step == RECOVERY_DONE;
}

bool
recovery_is_next(const struct recovery *r, uint64_t now)
{
	const uint64_t clock = recovery_clock_least(&r->seen, now) + SOON;

	if (r->step == RECOVERY_FLUSH || r->step == RECOVERY_VERIFY)
		return true;
	return r->step == RECOVERY_WAIT && !r->given_up &&
	    r->late_clock != 0 && clock >= r->late_clock &&
	    others_waited(r, clock);
}

bool
recovery_hurries(const struct recovery *r)
{
	return r->step == RECOVERY_FLUSH || r->step == RECOVERY_VERIFY ||
	    r->unlock;
}

bool
recovery_stands(const struct recovery *r)
{
	return r->seen.clock != 0 && span_passed(r->moved, r->seen.at) >= STANDS;
}

bool
recovery_is_left(struct recovery *r, uint64_t now, uint64_t gap)
{
	if (r->theirs == 0 || span_passed(r->theirs, now) <= gap)
		return false;
	r->theirs = 0;
	r->returned |= MCSHM_RETURNED_OUR_FAULT;
	return true;
}

/* What others stored while our clients were elsewhere is not flushed for us. */
bool
recovery_is_risk(uint32_t returned)
{
	if ((returned & MCSHM_RETURNED_OUR_FAULT) != 0)
		return true;
	return (returned & (MCSHM_RETURNED_SAME | MCSHM_RETURNED_UNKNOWN |
	    MCSHM_RETURNED_REFUSED)) != 0 &&
	    (returned & (MCSHM_RETURNED_RESTARTED |
		MCSHM_RETURNED_FLUSHED)) == 0;
}

/* While it is UP ----------------------------------------------------------- */

void
recovery_contact(struct recovery_contact *c, uint64_t began, bool good,
    enum recovery_use use, uint64_t gap)
{
	if (use == RECOVERY_OUT || (!good && use != RECOVERY_UP))
		*c = (struct recovery_contact){ 0 };
	if (use == RECOVERY_OUT || !good)
		return;
	if (c->last == 0 || span_passed(c->last, began) > gap)
		c->since = began;
	c->last = began;
}

bool
recovery_vouch(struct mcproto_mark *mark, const struct recovery_contact *c,
    const struct recovery_identity *is, uint64_t gap)
{
	if (is->clock == 0 || c->last == 0)
		return false;
	*mark = (struct mcproto_mark){
		.time = recovery_clock_least(is, c->last),
		.since = recovery_clock_most(is, c->since),
		.gap = (gap + SECOND - 1) / SECOND };
	return mark->since < mark->time;
}
