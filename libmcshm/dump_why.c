/*
 * dump_why.c - why a server is as it is, and what to expect of it, in words.
 *
 * Pure.
 */
#include "dump_why.h"

#include <string.h>

#include "dump_words.h"
#include "mcshm.h"

#define NS_S UINT64_C(1000000000)
#define LATE_MOST (120 * NS_S)	/* TCP's longest pause */

/* The last failure, and what follows from it. */
static void
why_reason(struct dump_line *l, const struct mcshm_entry *e)
{
	const char *outlook = dump_reason_outlook(e->reason);

	if (e->reason == MCSHM_R_OK)
		return;
	dump_line_words(l, "; ", dump_reason_text(e->reason));
	if (outlook != NULL)
		dump_line_words(l, "; ", outlook);
	/* One that wants TLS hangs up on who has none, and the other way
	 * round. */
	if ((e->reason == MCSHM_R_RESET || e->reason == MCSHM_R_CLOSED) &&
	    e->good_began == 0 && e->rtt_us == 0)
		dump_line_words(l, "; ", "never answered: is there TLS at one "
		    "end only?");
}

/* A probe that failed on this side says nothing of the server. */
static void
why_local(struct dump_line *l, const struct mcshm_entry *e)
{
	if (e->result != e->reason && (e->result == MCSHM_R_LOCAL ||
	    e->result == MCSHM_R_UNRESOLVED ||
	    e->result == MCSHM_R_TILT)) {
		dump_line_words(l, "; ", "now:");
		dump_line_words(l, " ", dump_reason_text(e->result));
	}
}

static unsigned
good_in_a_row(const struct mcshm_entry *e)
{
	const uint64_t bad = ~e->history;
	const unsigned run = bad == 0 ? 64 : (unsigned)__builtin_ctzll(bad);

	return e->probes < run ? (unsigned)e->probes : run;
}

/* Silent, and picks use it: keys that nobody will find elsewhere. */
static void
why_open(struct dump_line *l, const struct dump_pool *p,
    const struct dump_server *s)
{
	if (s->usable && p->fail_open && !p->blind)
		dump_line_words(l, "; ", "used all the same: too many are "
		    "silent");
}

/* It answers, and is kept out for all that. */
static bool
why_flaps(struct dump_line *l, const struct dump_pool *p,
    const struct mcshm_entry *e)
{
	const uint64_t left = dump_pool_left(p, e->hold_until);
	char text[96], rest[DUMP_SHORT];

	if (left == 0)
		return false;
	dump_seconds(rest, left);
	snprintf(text, sizeof text, "held for flapping: went down %u times, "
	    "not used for another %s", (unsigned)e->flaps, rest);
	dump_line_words(l, "; ", text);
	return true;
}

static void
why_down(struct dump_line *l, const struct dump_pool *p,
    const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;
	const unsigned good = good_in_a_row(e);
	const char *past = dump_reason_past(e->reason);
	char text[64];

	if (good == 0) {
		why_reason(l, e);
		why_open(l, p, s);
		return;
	}
	if (past != NULL)
		dump_line_words(l, "; ", past);
	why_open(l, p, s);
	snprintf(text, sizeof text, "answers again (%u in a row)", good);
	dump_line_words(l, "; ", text);
	if (!why_flaps(l, p, e))
		dump_line_words(l, ": ", "waits for rise and min_down_time");
}

/* As long as it was away, sets may arrive that are as old. */
static uint64_t
late_left(const struct dump_pool *p, const struct mcshm_entry *e)
{
	const uint64_t away = e->since > e->outage_since ?
	    e->since - e->outage_since : 0;

	return dump_pool_left(p, e->since + (away < LATE_MOST ? away :
	    LATE_MOST));
}

/* Its time is over, and it is not flushed yet. */
static void
why_waits(struct dump_line *l, uint64_t returned)
{
	if (returned & MCSHM_RETURNED_WAITS_RATE)
		dump_line_words(l, "; ", "waits, as many of the pool as "
		    "flush_percent allows were flushed within a minute, or "
		    "go before it");
	if (returned & MCSHM_RETURNED_WAITS_CALM)
		dump_line_words(l, "; ", "waits, this host is in TILT or the "
		    "pool fails open");
	if (returned & MCSHM_RETURNED_WAITS_HOST)
		dump_line_words(l, "; ", "waits for another host that is not "
		    "ready for it");
	if (returned & MCSHM_RETURNED_WAITS_LOCK)
		dump_line_words(l, "; ", "waits, another host has the lock");
	if (returned & MCSHM_RETURNED_WAITS_SERVER)
		dump_line_words(l, "; ", "waits, the server tells nothing of "
		    "itself, or its clock stands still");
	if (returned & MCSHM_RETURNED_WAITS_KEY)
		dump_line_words(l, "; ", "waits, it would erase the "
		    "maintenance key");
}

static void
why_recovering(struct dump_line *l, const struct dump_pool *p,
    const struct mcshm_entry *e)
{
	const uint64_t left = late_left(p, e);
	const uint64_t kept = e->returned & ~(uint64_t)MCSHM_RETURNED_WAITS;
	char text[96], rest[DUMP_SHORT];

	dump_line_words(l, "; ", "answers again, not trusted yet");
	why_flaps(l, p, e);
	if (e->returned & MCSHM_RETURNED_REFUSED) {
		dump_line_words(l, "; ", "can not be flushed, waits for a "
		    "restart");
		return;
	}
	if (kept == 0)
		why_waits(l, e->returned);
	if (kept != MCSHM_RETURNED_SAME && kept != MCSHM_RETURNED_UNKNOWN)
		return;
	dump_seconds(rest, left);
	if (left != 0)
		snprintf(text, sizeof text, "has what it had: to be flushed "
		    "after another %s", rest);
	else
		snprintf(text, sizeof text, "has what it had: to be flushed "
		    "by one of the next probes");
	dump_line_words(l, "; ", text);
	why_waits(l, e->returned);
}

static void
why_held(struct dump_line *l, const struct dump_pool *p,
    const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;
	char text[96], age[DUMP_SHORT];
	uint64_t ns;

	why_reason(l, e);
	if (dump_pool_age(p, e->silent_since, &ns)) {
		dump_seconds(age, ns);
		snprintf(text, sizeof text, "silent for %s", age);
		dump_line_words(l, "; ", text);
	}
	why_open(l, p, s);
	if (!s->usable)
		dump_line_words(l, "; ", "its keys are misses and stored "
		    "nowhere until it answers or is DOWN");
}

static void
admin_until(struct dump_line *l, const struct dump_pool *p, uint64_t until)
{
	char when[DUMP_SHORT], text[40];

	if (until == 0 || until > UINT64_MAX / NS_S)
		return;
	/* Minutes are enough for a plan. */
	dump_when(when, until * NS_S, p->time.real);
	if (strlen(when) == 8 && when[2] == ':')
		when[5] = 0;
	snprintf(text, sizeof text, "until %s", when);
	dump_line_words(l, " ", text);
}

static void
why_out(struct dump_line *l, const struct dump_pool *p,
    const struct mcshm_entry *e)
{
	char who[4 * sizeof e->admin_who + 1], why[4 * sizeof e->admin_why + 1];

	DUMP_FIELD(who, e->admin_who);
	DUMP_FIELD(why, e->admin_why);
	dump_line_words(l, "; ", "by");
	dump_line_words(l, " ", who[0] != 0 ? who : "the operator");
	admin_until(l, p, e->admin_until);
	if (why[0] != 0) {
		dump_line_words(l, "", ": \"");
		dump_line_words(l, "", why);
		dump_line_words(l, "", "\"");
	}
	if (e->admin == MCSHM_DRAIN)
		dump_line_words(l, "; ", "probed, not picked");
	if (e->admin == MCSHM_DRAIN && e->verdict == MCSHM_DOWN) {
		dump_line_words(l, "; ", "DOWN:");
		dump_line_words(l, " ", dump_reason_text(e->reason));
	}
}

/* One of these is why somebody has to look at it; the last one is not. */
static void
why_not_flushed(struct dump_line *l, uint64_t returned)
{
	if (returned & MCSHM_RETURNED_REFUSED)
		dump_line_words(l, "; ", "it can not be flushed");
	if (returned & MCSHM_RETURNED_OUR_FAULT)
		dump_line_words(l, "; ", "another host reached it meanwhile");
	if (returned & MCSHM_RETURNED_SHARED)
		dump_line_words(l, "; ", "not flushed, since another pool or "
		    "name has it, too");
}

static void
why_degraded(struct dump_line *l, const struct mcshm_entry *e)
{
	const char *sep = " ";
	char text[DUMP_SENTENCE];

	dump_line_words(l, "; ", "DEGRADED:");
	for (unsigned bit = 0; bit < 64; bit++) {
		if ((e->degraded >> bit & 1) == 0)
			continue;
		dump_degraded_text(text, e, bit);
		dump_line_words(l, sep, text);
		sep = "; ";
	}
	if (e->degraded & MCSHM_DEGRADED_STALE_RISK)
		why_not_flushed(l, e->returned);
	if (e->result != MCSHM_R_OK)
		dump_line_words(l, "; ", dump_reason_text(e->result));
}

static void
why_unseen(struct dump_line *l, const struct dump_pool *p,
    const struct mcshm_entry *e)
{
	char text[64], age[DUMP_SHORT];
	uint64_t ns;

	if (dump_pool_age(p, e->unseen_since, &ns)) {
		dump_seconds(age, ns);
		snprintf(text, sizeof text, "not looked at for %s:", age);
		dump_line_words(l, "; ", text);
	}
	dump_line_words(l, " ", e->result == MCSHM_R_UNRESOLVED ?
	    dump_reason_text(e->result) : "a fault of this host");
	dump_line_words(l, ", ", "see the log");
}

static void
why_unknown(struct dump_line *l, const struct mcshm_entry *e)
{
	if (e->result != MCSHM_R_OK)
		dump_line_words(l, "; ", dump_reason_text(e->result));
	dump_line_words(l, "; ", "not decided yet: picks use it");
}

static void
why_failing(struct dump_line *l, const struct mcshm_entry *e)
{
	dump_line_words(l, "; ", "the last probe failed:");
	dump_line_words(l, " ", dump_reason_text(e->reason));
}

bool
dump_why(struct dump_line *l, const struct dump_pool *p,
    const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;

	switch (s->rank) {
	case DUMP_DOWN:
		why_down(l, p, s);
		break;
	case DUMP_HELD:
		why_held(l, p, s);
		break;
	case DUMP_RECOVERING:
		why_recovering(l, p, e);
		break;
	case DUMP_ODD:
		dump_line_words(l, "; ", "not usable, for a reason that is "
		    "newer than this mc-shmdump");
		break;
	case DUMP_UNSEEN:
		why_unseen(l, p, e);
		break;
	case DUMP_OUT:
		why_out(l, p, e);
		break;
	case DUMP_DEGRADED:
		why_degraded(l, e);
		break;
	case DUMP_UNKNOWN:
		why_unknown(l, e);
		break;
	case DUMP_FAILING:
		why_failing(l, e);
		break;
	default:
		return false;
	}
	if (s->rank != DUMP_UNKNOWN && s->rank != DUMP_OUT &&
	    s->rank != DUMP_UNSEEN)
		why_local(l, e);
	return true;
}
