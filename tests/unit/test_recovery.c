/*
 * test_recovery.c - returns of servers: what each answer comes to; and every
 * way in which two hosts, their lost answers and other people can meet at one
 * server, against the laws that none of them may break.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "recovery.h"

#define MS UINT64_C(1000000)
#ifdef __SANITIZE_ADDRESS__		/* five times slower, and it looks for
					 * other things */
#define SPARSE 4u
#else
#define SPARSE 1u
#endif
#define SECOND (1000 * MS)
#define COUNT(a) (sizeof (a) / sizeof (a)[0])

/* One server, one return -------------------------------------------------- */

/* Before: asked at 100 s, gone at 105 s, last tried in vain at 114 s. */
static const struct recovery_identity before = { .pid = 11, .start = 5000,
	.clock = 6000, .cmd_flush = 3, .curr_items = 9, .at = 100 * SECOND };
static const struct recovery_outage outage = { .since = 105 * SECOND,
	.failed = 114 * SECOND, .before = &before, .used = true,
	.host = "we" };
static const struct recovery_rule none = { .slack = SECOND, .pause = SECOND };
static const struct recovery_rule flush = { .flush = true, .slack = SECOND,
	.pause = SECOND };
static const struct recovery_rule stays = { .flush = true, .stay = true,
	.slack = SECOND, .pause = SECOND };

/* A server that answers. */
struct one {
	struct recovery r;
	struct recovery_rule rule;
	struct recovery_outage outage;
	struct mcproto_told told;
	struct mcproto_mark mark;	/* as it was left there */
	uint32_t asks;
	const char *by;
	bool due, may_flush, left;
	bool forgets;			/* what is stored */
	bool full;			/* of connections */
	uint64_t lag;			/* s, of its clock */
};

static struct one
one_new(const struct recovery_rule *rule)
{
	struct one o = { .rule = *rule, .outage = outage, .due = true,
		.may_flush = true };

	o.told.stats = (struct mcproto_stats){ .pid = 11, .uptime = 1015,
		.time = 6015, .cmd_flush = 3, .curr_items = 9, .whole = true };
	return o;
}

/* Its clock is 5900 s ahead of ours. */
static uint32_t
one_asks(struct one *o, uint64_t now)
{
	const struct recovery_now n = { .now = now, .due = o->due,
		.may_flush = o->may_flush, .left = o->left };

	o->asks = recovery_asks(&o->r, &o->rule, &n, &o->mark);
	return o->asks;
}

static enum recovery_event
one_learn(struct one *o, uint64_t now)
{
	const struct recovery_look look = { .asks = o->asks,
		.told = &o->told, .began = now, .ended = now + MS,
		.full = o->full };
	enum recovery_event event;

	o->told.answered = o->asks;
	o->told.stats.uptime += now / SECOND + 5900 - o->lag -
	    o->told.stats.time;
	o->told.stats.time = now / SECOND + 5900 - o->lag;
	event = recovery_learn(&o->r, &o->rule, &o->outage, &look, &o->by);
	if (o->asks & MCPROTO_ASK_WITNESS && !o->told.refused && !o->forgets)
		o->told.witness = true;
	return event;
}

/* It is flushed, and that is counted. */
static void
one_flush(struct one *o)
{
	o->told.stats.cmd_flush++;
	o->told.witness = false;
}

/* A probe at that second. */
static enum recovery_event
one_probe(struct one *o, uint64_t s)
{
	one_asks(o, s * SECOND);
	return one_learn(o, s * SECOND);
}

static struct mcproto_mark
mark_of(const char *host, uint64_t since, uint64_t time, uint64_t gap)
{
	struct mcproto_mark m = { .time = time, .since = since, .gap = gap };

	strcpy(m.host, host);
	return m;
}

static void
test_it_is_identified(void **state)
{
	const struct mcproto_stats s = { .pid = 7, .uptime = 10, .time = 50,
		.cmd_flush = 2, .curr_items = 3, .whole = true };
	const struct recovery_identity is = recovery_identity(&s, 99);
	struct recovery_identity later = is;

	(void)state;
	assert_int_equal(is.pid, 7);
	assert_int_equal(is.start, 40);
	assert_int_equal(is.clock, 50);
	assert_int_equal(is.cmd_flush, 2);
	assert_int_equal(is.curr_items, 3);
	assert_int_equal(is.at, 99);
	later.start += 2;
	assert_false(recovery_is_new(&is, &later));
	assert_false(recovery_is_new(&later, &is));
	later.start++;
	assert_true(recovery_is_new(&is, &later));
	assert_true(recovery_is_new(&later, &is));
	later = is;
	later.pid++;
	assert_false(recovery_is_new(&is, &later));
	later.start++;
	assert_true(recovery_is_new(&is, &later));
	later.clock = 0;	/* it was not known */
	assert_false(recovery_is_new(&later, &is));
}

/* What a first answer comes to, without a rule and with one. */
static void
test_first_answers(void **state)
{
	static const struct {
		const char *about;
		uint64_t pid, uptime, cmd_flush;
		uint32_t returned, flushing;	/* none; flush-if-stale */
	} rows[] = {
		{ "the same process", 11, 1015, 3,
		  MCSHM_RETURNED_SAME, MCSHM_RETURNED_SAME },
		{ "restarted in the outage", 12, 4, 0,
		  MCSHM_RETURNED_RESTARTED, MCSHM_RETURNED_RESTARTED },
		{ "restarted as it began, counted from 2", 12, 13, 0,
		  MCSHM_RETURNED_RESTARTED, MCSHM_RETURNED_RESTARTED },
		{ "restarted before it, and used since", 12, 14, 0,
		  MCSHM_RETURNED_UNKNOWN, MCSHM_RETURNED_UNKNOWN },
		{ "memcached -e: another pid, one start", 12, 1015, 0,
		  MCSHM_RETURNED_SAME, MCSHM_RETURNED_SAME },
		{ "another server, older", 11, 3000, 0,
		  MCSHM_RETURNED_UNKNOWN, MCSHM_RETURNED_UNKNOWN },
		{ "flushed, be it meanwhile: nobody knows", 11, 1015, 4,
		  MCSHM_RETURNED_SAME, MCSHM_RETURNED_SAME },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows) * 2; i++) {
		const bool flushing = i % 2;
		struct one o = one_new(flushing ? &flush : &none);
		const uint32_t want = flushing ? rows[i / 2].flushing :
		    rows[i / 2].returned;

		o.told.stats.pid = rows[i / 2].pid;
		o.told.stats.uptime = rows[i / 2].uptime;
		o.told.stats.cmd_flush = rows[i / 2].cmd_flush;
		one_probe(&o, 115);
		if (o.r.returned != want)
			fail_msg("%s: %#x is not %#x", rows[i / 2].about,
			    o.r.returned, want);
		assert_int_equal(recovery_cleared(&o.r), !flushing ||
		    want == MCSHM_RETURNED_RESTARTED);
	}
}

static void
test_risks(void **state)
{
	(void)state;
	assert_false(recovery_is_risk(0));
	assert_false(recovery_is_risk(MCSHM_RETURNED_RESTARTED));
	assert_true(recovery_is_risk(MCSHM_RETURNED_SAME));
	assert_true(recovery_is_risk(MCSHM_RETURNED_UNKNOWN));
	assert_false(recovery_is_risk(MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED));
	assert_true(recovery_is_risk(MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_OUR_FAULT));
	assert_true(recovery_is_risk(MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_REFUSED));
	assert_true(recovery_is_risk(MCSHM_RETURNED_RESTARTED |
	    MCSHM_RETURNED_OUR_FAULT));
	assert_true(recovery_is_risk(MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED | MCSHM_RETURNED_OUR_FAULT));
}

/* on_recovery = none: not a byte but "stats". */
static void
test_none_leaves_nothing_in_it(void **state)
{
	struct one o = one_new(&none);

	(void)state;
	assert_int_equal(one_asks(&o, 115 * SECOND), MCPROTO_ASK_STATS);
	assert_int_equal(one_learn(&o, 115 * SECOND), RECOVERY_KEPT);
	assert_int_equal(one_asks(&o, 116 * SECOND), 0);
	assert_true(recovery_cleared(&o.r));

	o = one_new(&none);	/* an answer without statistics */
	o.told.stats.whole = false;
	one_probe(&o, 115);
	assert_int_equal(one_asks(&o, 116 * SECOND), MCPROTO_ASK_STATS);
}

/* From the first answer to the flush, alone. */
static void
test_the_whole_way(void **state)
{
	struct one o = one_new(&flush);
	uint64_t s = 115;

	(void)state;
	assert_int_equal(one_probe(&o, s), RECOVERY_KEPT);
	assert_int_equal(o.asks, MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS);
	/* 10 s of outage, 1 of slack. */
	assert_int_equal(o.r.late, 126 * SECOND + 2 * MS);
	assert_int_equal(one_asks(&o, 116 * SECOND), MCPROTO_ASK_STATS |
	    MCPROTO_ASK_MARKS | MCPROTO_ASK_MARK | MCPROTO_ASK_WITNESS);
	assert_int_equal(o.mark.since, 0);
	assert_int_equal(o.mark.time, 6015 + 2 + 12);
	o.told.note[3] = o.mark;
	strcpy(o.told.note[3].host, "we");
	for (s = 116; !(o.asks & MCPROTO_ASK_LOCK); s++) {
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
		assert_false(recovery_cleared(&o.r));
		assert_int_equal(o.r.step, RECOVERY_WAIT);
	}
	assert_int_equal(s - 1, 130);	/* by its clock, 6029 is over */
	o.told.locked = true;
	assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
	o.told.locked = false;
	assert_int_equal(one_asks(&o, s * SECOND),
	    MCPROTO_ASK_FLUSH | MCPROTO_ASK_FLUSHED | MCPROTO_ASK_RELOCK);
	o.told.flushed = true;
	assert_int_equal(one_learn(&o, s * SECOND), RECOVERY_SENT);
	assert_false(recovery_cleared(&o.r));
	one_flush(&o);
	assert_int_equal(one_probe(&o, s), RECOVERY_FLUSHED);
	assert_int_equal(o.asks & MCPROTO_ASK_LOCK, 0);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED);
	/* Not before it is verified; then nobody needs the lock. */
	assert_int_equal(one_asks(&o, (s + 1) * SECOND), MCPROTO_ASK_FLUSHED);
	assert_true(o.mark.time >= o.r.late_clock);
	recovery_lost(&o.r, o.asks);
	assert_int_equal(one_asks(&o, (s + 1) * SECOND), MCPROTO_ASK_FLUSHED);
	one_learn(&o, (s + 1) * SECOND);
	assert_int_equal(one_asks(&o, (s + 2) * SECOND), MCPROTO_ASK_UNLOCK);
	one_learn(&o, (s + 2) * SECOND);
	assert_int_equal(one_asks(&o, (s + 3) * SECOND), 0);
}

/* At the end of its waiting, its lock tried for in vain. */
static struct one
one_late(const struct recovery_rule *rule)
{
	struct one o = one_new(rule);

	for (uint64_t s = 115; s <= 130; s++)
		one_probe(&o, s);
	assert_true(o.asks & MCPROTO_ASK_LOCK);
	assert_int_equal(o.r.step, RECOVERY_WAIT);
	return o;
}

static struct one
one_locked(const struct recovery_rule *rule)
{
	struct one o = one_late(rule);

	o.told.locked = true;
	assert_int_equal(one_probe(&o, 131), RECOVERY_LOCKED);
	o.told.locked = false;
	return o;
}

static void
test_it_waits_no_longer_than_tcp(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	one_probe(&o, 1005);
	assert_int_equal(o.r.late, 1005 * SECOND + MS + RECOVERY_MOST);
}

/* Silence that may have been ours was silence: what was void counts. */
static void
test_it_was_gone_for_longer(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	o.outage.gone = 95 * SECOND;
	one_probe(&o, 115);
	assert_int_equal(o.r.late, (115 + 20 + 1) * SECOND + 2 * MS);
	o = one_new(&flush);
	o.outage.gone = 95 * SECOND;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 18;
	assert_int_equal(one_probe(&o, 115), RECOVERY_RESTARTED);
}

static void
test_somebody_else_flushes(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	one_flush(&o);
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_string_equal(o.by, "");
	assert_true(recovery_cleared(&o.r));

	/* Before our first look past late: the marker says it. */
	o = one_new(&flush);
	o.due = false;
	for (uint64_t s = 115; s <= 120; s++)
		one_probe(&o, s);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock;
	one_flush(&o);
	assert_int_equal(one_probe(&o, 130), RECOVERY_FLUSHED_BY);
	assert_string_equal(o.by, "they");
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED);

	/* Too early: sets may have come after it. */
	o = one_new(&flush);
	for (uint64_t s = 115; s <= 120; s++)
		one_probe(&o, s);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock - 1;
	one_flush(&o);
	assert_int_equal(one_probe(&o, 130), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
}

/* The first answer was another daemon's, at 115 s: sets from before it can come
 * until 126 s.  A marker of then covers, one of before does not. */
static void
test_another_daemon_waited(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	o.outage.first = 115 * SECOND;
	strcpy(o.told.marker.host, "them");
	o.told.marker.time = 6027;
	assert_int_equal(one_probe(&o, 130), RECOVERY_KEPT);
	assert_int_equal(o.r.late, 126 * SECOND);
	assert_false(recovery_cleared(&o.r));

	o = one_new(&flush);
	o.outage.first = 115 * SECOND;
	strcpy(o.told.marker.host, "them");
	o.told.marker.time = 6028;
	assert_int_equal(one_probe(&o, 130), RECOVERY_FLUSHED_BY);
	assert_true(recovery_cleared(&o.r));

	/* It has stood still for 5 s since: who knows when that was set. */
	o = one_new(&flush);
	o.outage.first = 115 * SECOND;
	strcpy(o.told.marker.host, "them");
	o.told.marker.time = 6024;
	one_asks(&o, 130 * SECOND);
	o.told.stats.time = 6025;
	o.told.answered = o.asks;
	assert_int_equal(recovery_learn(&o.r, &o.rule, &o.outage,
	    &(struct recovery_look){ .asks = o.asks, .told = &o.told,
	    .began = 130 * SECOND, .ended = 130 * SECOND }, &o.by),
	    RECOVERY_KEPT);
}

/* It was asked for its statistics alone, for the rule was another one then: what
 * other hosts say of it is not known yet. */
static void
test_it_is_not_judged_without_marks(void **state)
{
	struct one o = one_new(&none);

	(void)state;
	one_asks(&o, 115 * SECOND);
	assert_int_equal(o.asks, MCPROTO_ASK_STATS);
	o.rule = flush;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	assert_int_equal(one_learn(&o, 115 * SECOND), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, 0);
	o.told.mark[2] = mark_of("they", 6009, 6018, 2);
	assert_int_equal(one_probe(&o, 116), RECOVERY_OURS);
	assert_true(recovery_is_risk(o.r.returned));
	/* From its first answer on, whatever that said. */
	assert_int_equal(o.r.first, 115 * SECOND + MS);
}

/*
 * The server's clock has stayed behind ours in the outage (its machine stood
 * still), and what it says of itself comes when the wait is over: what a process
 * shows now it did not show before, so that its clock does not have to come to
 * where it would be.
 */
static void
test_its_clock_fell_behind(void **state)
{
	const uint64_t lags[] = { 0, 5, 1200 };

	(void)state;
	for (size_t i = 0; i < COUNT(lags) * 2; i++) {
		const bool midway = i % 2;
		struct one o = one_new(&flush);
		uint64_t s = 140;

		if (midway)		/* it was stopped while it waited */
			one_probe(&o, 115);
		else			/* another daemon waited */
			o.outage.first = 115 * SECOND;
		o.lag = lags[i / 2];
		one_probe(&o, s);
		assert_true(o.r.late_clock <= o.r.seen.clock + 3);
		for (; s < 160 && !(o.asks & MCPROTO_ASK_LOCK); s++)
			one_probe(&o, s);
		assert_in_range(s, 141, 148);
		o.told.locked = true;
		assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
	}
}

static void
test_a_lock_without_need_is_given_back(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	one_flush(&o);
	o.told.locked = true;
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_int_equal(one_asks(&o, 132 * SECOND), MCPROTO_ASK_SEEN |
	    MCPROTO_ASK_UNLOCK);
	one_learn(&o, 132 * SECOND);
	assert_int_equal(one_asks(&o, 133 * SECOND), 0);
}

/* It may come when the lock is another host's: it is not sent again. */
static void
test_a_lost_unlock_is_not_sent_again(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	one_flush(&o);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock;
	o.told.locked = true;
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_int_equal(one_asks(&o, 132 * SECOND), MCPROTO_ASK_UNLOCK);
	recovery_lost(&o.r, o.asks);
	assert_int_equal(one_asks(&o, 132 * SECOND + 250 * MS), 0);
}

static void
test_it_waits_for_who_waits(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	strcpy(o.told.note[5].host, "they");
	o.told.note[5].time = 6035;	/* 135 s */
	o.told.locked = true;		/* we had the lock as they came */
	assert_int_equal(one_probe(&o, 131), RECOVERY_WAITS);
	assert_string_equal(o.by, "they");
	assert_int_equal(o.r.step, RECOVERY_WAIT);
	o.told.locked = false;
	assert_true(one_asks(&o, 132 * SECOND) & MCPROTO_ASK_UNLOCK);
	one_learn(&o, 132 * SECOND);
	assert_int_equal(one_asks(&o, 134 * SECOND) & (MCPROTO_ASK_LOCK |
	    MCPROTO_ASK_UNLOCK), 0);
	assert_true(one_asks(&o, 136 * SECOND) & MCPROTO_ASK_LOCK);
	/* A mark is no note, and neither is nonsense. */
	o.told.mark[4] = (struct mcproto_mark){ .host = "others",
		.since = 6030, .time = 6050, .gap = 1 };
	o.told.note[5].time = 6135 + 126;
	one_learn(&o, 136 * SECOND);
	assert_true(one_asks(&o, 137 * SECOND) & MCPROTO_ASK_LOCK);
}

/* Our own note says what we knew when we left it: by now we may know better. */
static void
test_it_does_not_wait_for_itself(void **state)
{
	struct one o = one_new(&flush);
	uint64_t s = 115;

	(void)state;
	one_probe(&o, s);
	strcpy(o.told.note[3].host, "we");
	o.told.note[3].time = o.r.late_clock + 1;
	for (s = 116; !(o.asks & MCPROTO_ASK_LOCK); s++)
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
	assert_true(one_asks(&o, s * SECOND) & MCPROTO_ASK_LOCK);
	assert_in_range(5900 + s - 1, o.r.late_clock, o.r.late_clock + 1);
	assert_false(o.asks & MCPROTO_ASK_MARK);
}

/* Who is cleared without a flush waits no more, and says so: a note of his own
 * that is over; nobody else's is touched. */
static void
test_its_note_ends_with_it(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	one_probe(&o, 115);
	assert_true(one_asks(&o, 116 * SECOND) & MCPROTO_ASK_MARK);
	/* Left with the very probe that clears it. */
	o.told.mark[0] = mark_of("they", 5000, 6020, 2);
	assert_int_equal(one_learn(&o, 116 * SECOND), RECOVERY_OURS);
	assert_true(one_asks(&o, 117 * SECOND) & MCPROTO_ASK_MARK);
	assert_int_equal(o.mark.since, 0);
	assert_in_range(o.mark.time, 1, 6017);
	recovery_lost(&o.r, o.asks);
	assert_true(one_asks(&o, 118 * SECOND) & MCPROTO_ASK_MARK);
	one_learn(&o, 118 * SECOND);
	assert_int_equal(one_asks(&o, 119 * SECOND), 0);

	o = one_new(&flush);	/* a longer one has its place by now */
	one_probe(&o, 115);
	one_probe(&o, 116);
	o.told.mark[0] = mark_of("they", 5000, 6020, 2);
	o.told.note[3] = mark_of("others", 0, 6090, 0);
	one_asks(&o, 117 * SECOND);
	o.asks &= ~(uint32_t)MCPROTO_ASK_MARK;
	assert_int_equal(one_learn(&o, 117 * SECOND), RECOVERY_OURS);
	assert_int_equal(one_asks(&o, 118 * SECOND), 0);

	o = one_new(&flush);	/* it was there */
	one_probe(&o, 115);
	o.told.note[3] = mark_of("we", 0, 6029, 0);
	one_probe(&o, 116);
	o.told.mark[0] = mark_of("they", 5000, 6020, 2);
	assert_int_equal(one_probe(&o, 117), RECOVERY_OURS);
	assert_int_equal(one_asks(&o, 118 * SECOND), MCPROTO_ASK_MARK);
}

/* One of them is ill, comes back again and again, and waits anew each time. */
static void
test_it_waits_for_nobody_for_ever(void **state)
{
	struct one o = one_late(&flush);
	uint64_t s = 131;

	(void)state;
	strcpy(o.told.note[5].host, "they");
	for (; s < 500; s++) {
		o.told.note[5].time = 5900 + s + 20;
		assert_int_equal(one_probe(&o, s), s == 131 ? RECOVERY_WAITS :
		    RECOVERY_QUIET);
		if (s > 131 && o.asks & MCPROTO_ASK_LOCK)
			break;
	}
	assert_in_range(s, 131 + 100, 131 + 122);
}

static void
test_our_note_is_written_once(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	one_probe(&o, 115);
	assert_true(one_asks(&o, 117 * SECOND) & MCPROTO_ASK_MARK);
	strcpy(o.told.note[0].host, "they");
	o.told.note[0].time = o.r.late_clock - 1;
	one_learn(&o, 117 * SECOND);
	assert_true(one_asks(&o, 118 * SECOND) & MCPROTO_ASK_MARK);
	o.told.note[0].time++;
	one_learn(&o, 118 * SECOND);
	assert_false(one_asks(&o, 120 * SECOND) & MCPROTO_ASK_MARK);
}

/* Of two bounds that rounding makes, the one that others may have read. */
static void
test_the_end_of_waiting_by_its_clock(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	one_probe(&o, 115);
	assert_int_equal(o.r.late_clock, 6029);
	one_asks(&o, 116 * SECOND + 500 * MS);
	one_learn(&o, 116 * SECOND + 500 * MS);
	assert_int_equal(o.r.late_clock, 6028);
	one_probe(&o, 118);
	assert_int_equal(o.r.late_clock, 6028);
	/* A clock that has made a jump. */
	o.told.stats.time -= 20;
	o.told.stats.uptime -= 20;
	one_asks(&o, 119 * SECOND);
	o.told.stats.time += 40;
	o.told.stats.uptime += 40;
	recovery_learn(&o.r, &o.rule, &o.outage, &(struct recovery_look){
	    .asks = o.asks, .told = &o.told, .began = 119 * SECOND,
	    .ended = 119 * SECOND }, &o.by);
	assert_int_equal(o.r.late_clock, 6038 + 2 + 8);

	/* Its first look comes after that. */
	o = one_new(&flush);
	o.asks = 0;
	one_learn(&o, 115 * SECOND);
	one_probe(&o, 140);
	assert_int_equal(o.r.late_clock, 6042);
	assert_false(o.r.based);
	/* No lock before, as a flush then would not do for others. */
	assert_false(one_asks(&o, 141 * SECOND) & MCPROTO_ASK_LOCK);
	one_learn(&o, 141 * SECOND);
	assert_true(o.r.based);
	assert_true(one_asks(&o, 143 * SECOND) & MCPROTO_ASK_LOCK);
}

static void
test_not_due_not_calm(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	o.due = false;
	one_asks(&o, 132 * SECOND);
	assert_int_equal(o.asks & MCPROTO_ASK_LOCK, 0);
	o.due = true;
	o.may_flush = false;
	one_asks(&o, 132 * SECOND);
	assert_int_equal(o.asks & MCPROTO_ASK_LOCK, 0);

	/* Calm no more, with the lock: it goes back, and we look on. */
	o = one_locked(&flush);
	o.may_flush = false;
	one_asks(&o, 132 * SECOND);
	assert_int_equal(o.asks, MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS |
	    MCPROTO_ASK_UNLOCK);
	one_learn(&o, 132 * SECOND);
	assert_int_equal(o.r.step, RECOVERY_WAIT);
}

static void
test_an_old_lock_is_none(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	one_asks(&o, 137 * SECOND);
	assert_int_equal(o.asks, MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS |
	    MCPROTO_ASK_LOCK);
	o = one_locked(&flush);
	one_asks(&o, 136 * SECOND);
	assert_int_equal(o.asks, MCPROTO_ASK_FLUSH |
	    MCPROTO_ASK_FLUSHED | MCPROTO_ASK_RELOCK);
}

static void
test_looks_are_rare_while_it_waits(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	o.due = false;
	one_probe(&o, 115);
	/* Its note is to be left at once. */
	assert_true(one_asks(&o, 115 * SECOND + 10 * MS) & MCPROTO_ASK_MARK);
	strcpy(o.told.note[0].host, "we");
	o.told.note[0].time = o.r.late_clock;
	one_learn(&o, 115 * SECOND + 10 * MS);
	assert_int_equal(one_asks(&o, 115 * SECOND + 900 * MS), 0);
	assert_int_equal(one_learn(&o, 115 * SECOND + 900 * MS),
	    RECOVERY_QUIET);
	assert_int_not_equal(one_asks(&o, 116 * SECOND + 12 * MS), 0);
}

static void
test_it_refuses(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_REFUSED);
	assert_int_equal(one_asks(&o, 133 * SECOND), MCPROTO_ASK_UNLOCK);

	/* It stays, until it is restarted, or flushed all the same. */
	o = one_locked(&stays);
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	for (uint64_t s = 133; s < 200; s += 2) {
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
		assert_false(o.asks & (MCPROTO_ASK_LOCK | MCPROTO_ASK_FLUSH));
		assert_false(recovery_cleared(&o.r));
	}
	one_flush(&o);
	assert_int_equal(one_probe(&o, 201), RECOVERY_FLUSHED_BY);
	assert_false(recovery_is_risk(o.r.returned));
	assert_true(recovery_cleared(&o.r));
}

/* "SERVER_ERROR out of memory storing object" */
static void
test_no_memory_for_a_lock(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	o.told.refused = MCPROTO_ASK_LOCK;
	assert_int_equal(one_probe(&o, 131), RECOVERY_LOCKED);
	assert_int_equal(one_asks(&o, 132 * SECOND),
	    MCPROTO_ASK_FLUSH | MCPROTO_ASK_FLUSHED | MCPROTO_ASK_RELOCK);
}

/* memcached counts a flush that it refuses, and one that is to come. */
static void
test_a_count_is_no_proof(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	o.told.stats.cmd_flush++;
	assert_int_equal(one_probe(&o, 131), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));

	/* Ours: OK, counted, and all is there. */
	o = one_locked(&flush);
	o.told.flushed = true;
	assert_int_equal(one_probe(&o, 132), RECOVERY_SENT);
	o.told.stats.cmd_flush++;
	assert_int_equal(one_probe(&o, 133), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, 134), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, 135), RECOVERY_REFUSED);
	assert_true(recovery_is_risk(o.r.returned));

	/* Refused, counted; later what is left of that is no flush. */
	o = one_locked(&stays);
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	o.told.stats.cmd_flush++;
	for (uint64_t s = 133; s < 150; s++)
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));

	/* A witness that is gone without a count proves nothing, nor does one
	 * that went before. */
	o = one_late(&flush);
	o.told.witness = false;
	o.forgets = true;
	assert_int_equal(one_probe(&o, 131), RECOVERY_QUIET);
	o.told.stats.cmd_flush++;
	assert_int_equal(one_probe(&o, 132), RECOVERY_QUIET);

	/* It has ended by itself. */
	o = one_late(&flush);
	one_flush(&o);
	assert_int_equal(one_probe(&o, 116 + 281), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
}

/* Where it stores nothing, our own word and the count have to do. */
static void
test_no_witness_can_be_had(void **state)
{
	for (unsigned refuses = 0; refuses < 2; refuses++) {
		struct one o = one_new(&flush);

		o.forgets = true;
		if (refuses)
			o.told.refused = MCPROTO_ASK_WITNESS;
		for (uint64_t s = 115; s < 140; s++)
			one_probe(&o, s);
		assert_true(o.asks & MCPROTO_ASK_LOCK);
		o.told.stats.cmd_flush++;	/* of others: who knows */
		o.told.locked = true;
		assert_int_equal(one_probe(&o, 141), RECOVERY_LOCKED);
		o.told.locked = false;
		o.told.flushed = true;
		assert_int_equal(one_probe(&o, 142), RECOVERY_SENT);
		o.told.stats.cmd_flush++;
		assert_int_equal(one_probe(&o, 143), RECOVERY_FLUSHED);
	}
	(void)state;
}

/* It says OK, and nothing is counted. */
static void
test_a_flush_that_is_none(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	o.told.flushed = true;
	assert_int_equal(one_probe(&o, 132), RECOVERY_SENT);
	assert_int_equal(one_probe(&o, 133), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, 134), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, 135), RECOVERY_REFUSED);
	assert_true(recovery_is_risk(o.r.returned));
}

static void
test_a_lost_flush(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	one_asks(&o, 132 * SECOND);
	recovery_lost(&o.r, o.asks);
	assert_int_equal(o.r.step, RECOVERY_WAIT);
	one_flush(&o);
	strcpy(o.told.marker.host, "we");
	o.told.marker.time = 6031;
	assert_int_equal(one_probe(&o, 133), RECOVERY_FLUSHED);

	o = one_locked(&flush);		/* it never got there */
	one_asks(&o, 132 * SECOND);
	recovery_lost(&o.r, o.asks);
	assert_int_equal(one_probe(&o, 133), RECOVERY_QUIET);
	assert_true(one_asks(&o, 134 * SECOND) & MCPROTO_ASK_LOCK);
	assert_false(recovery_cleared(&o.r));
}

static void
test_it_is_mute(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	o.told.stats.whole = false;
	o.told.refused = MCPROTO_ASK_STATS;
	assert_int_equal(one_probe(&o, 115), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, 116), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, 117), RECOVERY_MUTE);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_UNKNOWN);

	o = one_new(&flush);		/* it may yet say something */
	o.told.stats.whole = false;
	for (uint64_t s = 115; s < 129; s++) {
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
		assert_false(recovery_cleared(&o.r));
	}
	assert_int_equal(one_probe(&o, 129), RECOVERY_MUTE);

	o = one_new(&stays);
	o.told.stats.whole = false;
	for (uint64_t s = 115; s < 140; s++)
		one_probe(&o, s);
	assert_false(recovery_cleared(&o.r));

	o = one_new(&none);
	o.told.stats.whole = false;
	o.told.refused = MCPROTO_ASK_STATS;
	for (uint64_t s = 115; s < 118; s++)
		one_probe(&o, s);
	assert_true(recovery_cleared(&o.r));
}

static void
test_it_is_restarted_while_it_waits(void **state)
{
	struct one o = one_locked(&stays);

	(void)state;
	o.due = false;
	o.told.stats.pid = 99;
	o.told.stats.cmd_flush = 0;
	o.told.stats.uptime = 3;
	assert_int_equal(one_probe(&o, 140), RECOVERY_RESTARTED);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_RESTARTED);
}

/* It waits for times by a clock that does not go on. */
static void
test_its_clock_stands_still(void **state)
{
	const struct recovery_rule *rules[] = { &flush, &stays };

	(void)state;
	for (unsigned i = 0; i < COUNT(rules); i++) {
		struct one o = one_new(rules[i]);
		enum recovery_event event = RECOVERY_QUIET;
		uint64_t s = 115;

		one_probe(&o, s);
		assert_false(recovery_stands(&o.r));
		while (event == RECOVERY_QUIET && ++s < 500) {
			struct recovery_look look = { .told = &o.told,
				.began = s * SECOND,
				.ended = s * SECOND + MS };

			look.asks = one_asks(&o, s * SECOND);
			assert_false(look.asks & MCPROTO_ASK_LOCK);
			o.told.answered = look.asks;
			o.told.witness = true;
			event = recovery_learn(&o.r, &o.rule, &o.outage,
			    &look, &o.by);
			assert_true(s < 121 || recovery_stands(&o.r));
		}
		assert_int_equal(event, RECOVERY_STOPPED);
		assert_in_range(s, 126 + 120, 126 + 122);
		assert_true(recovery_is_risk(o.r.returned));
		assert_int_equal(recovery_cleared(&o.r), i == 0);
		if (i == 0)
			continue;
		{	/* Or the rule is another one. */
			struct one p = o;
			const struct recovery_look look = { .told = &p.told,
				.asks = MCPROTO_ASK_STATS |
				    MCPROTO_ASK_MARKS, .began = s * SECOND +
				    SECOND, .ended = s * SECOND + SECOND };

			p.rule = flush;
			assert_int_equal(recovery_learn(&p.r, &p.rule,
			    &p.outage, &look, &p.by), RECOVERY_STOPPED);
			assert_true(recovery_cleared(&p.r));
		}
		/* It goes on. */
		s += 2;
		one_probe(&o, s);
		assert_false(recovery_stands(&o.r));
		assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME);
		one_probe(&o, ++s);
		assert_true(one_asks(&o, ++s * SECOND) & MCPROTO_ASK_LOCK);
	}
}

/* "Too many open connections": it may soon have one for us. */
static void
test_it_is_full(void **state)
{
	struct one o = one_new(&flush);
	uint64_t s = 115;

	(void)state;
	o.full = true;
	o.told.stats.whole = false;
	for (; s < 127; s++)
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
	assert_int_equal(one_probe(&o, s), RECOVERY_FULL);
	for (s = 128; s < 126 + 121; s++) {
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
		assert_false(recovery_cleared(&o.r));
	}
	one_probe(&o, s++);
	one_probe(&o, s++);
	assert_int_equal(one_probe(&o, s), RECOVERY_MUTE);
	assert_true(recovery_cleared(&o.r));

	/* Full for a moment, long after its time: that is not for long. */
	o = one_late(&flush);
	o.due = false;
	o.full = true;
	o.told.stats.whole = false;
	for (s = 400; s < 420; s++)
		one_probe(&o, s);
	assert_false(recovery_cleared(&o.r));
	o.full = false;
	o.told.stats.whole = true;
	assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME);
}

/* It stays as long as it tells nothing, and is flushed when it does. */
static void
test_it_tells_in_the_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const bool full = i % 2, known = i / 2;
		struct one o = one_new(&stays);
		enum recovery_event event = RECOVERY_QUIET;
		uint64_t s = 115;

		if (known)
			assert_int_equal(one_probe(&o, s++), RECOVERY_KEPT);
		o.full = full;
		o.told.stats.whole = false;
		for (; s < 300; s++)
			if (one_probe(&o, s) == RECOVERY_MUTE)
				event = RECOVERY_MUTE;
		assert_int_equal(event, RECOVERY_MUTE);
		assert_false(recovery_cleared(&o.r));
		assert_true(o.r.returned & MCSHM_RETURNED_UNKNOWN);
		o.full = false;
		o.told.stats.whole = true;
		one_probe(&o, s++);
		assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME);
		for (; s < 320 && !(o.asks & MCPROTO_ASK_LOCK); s++)
			one_probe(&o, s);
		assert_in_range(s, 301, 310);
		o.told.locked = true;
		assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
	}
}

/* What stays by one rule is used by the next, unless that is not its end. */
static void
test_it_stays_no_longer(void **state)
{
	struct one o = one_locked(&stays);

	(void)state;
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	o.rule = flush;
	assert_int_equal(one_probe(&o, 133), RECOVERY_REFUSED);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_REFUSED);

	o = one_locked(&stays);		/* flushed by people, in that second */
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	o.rule = flush;
	one_flush(&o);
	assert_int_equal(one_probe(&o, 133), RECOVERY_FLUSHED_BY);
	assert_false(recovery_is_risk(o.r.returned));

	o = one_new(&stays);		/* it tells nothing */
	o.told.stats.whole = false;
	for (uint64_t s = 115; s < 140; s++)
		one_probe(&o, s);
	assert_false(recovery_cleared(&o.r));
	o.rule = flush;
	assert_int_equal(one_probe(&o, 140), RECOVERY_MUTE);
	assert_true(recovery_cleared(&o.r));
}

/* What it refused it is not asked for again. */
static void
test_a_refusal_is_not_taken_back(void **state)
{
	struct one o = one_locked(&stays);

	(void)state;
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	o.told.stats.whole = false;
	for (uint64_t s = 133; s < 300; s++)
		one_probe(&o, s);
	o.told.stats.whole = true;
	for (uint64_t s = 300; s < 310; s++) {
		assert_int_equal(one_probe(&o, s), RECOVERY_QUIET);
		assert_false(o.asks & MCPROTO_ASK_LOCK);
	}
}

/* They were back before us, flushed it for both, and use it: that one look of
 * ours came late does not make it our fault. */
static void
test_flushed_for_us_and_used(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	one_flush(&o);
	o.told.mark[1] = mark_of("they", 5000, 6040, 2);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock;
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED);
	assert_false(recovery_is_risk(o.r.returned));
	/* A marker that is not for us says nothing of that. */
	o = one_late(&flush);
	one_flush(&o);
	o.told.witness = true;
	o.told.mark[1] = mark_of("they", 5000, 6040, 2);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock - 1;
	assert_int_equal(one_probe(&o, 131), RECOVERY_OURS);
}

/* Who flushed it may be gone before he has left his marker: who sees that it
 * was done adds one; where he has his, that stays. */
static void
test_it_is_signed_by_who_saw_it(void **state)
{
	struct one o = one_late(&flush);
	const uint64_t clock = o.r.base.clock;

	(void)state;
	one_flush(&o);
	strcpy(o.told.owner, "they");
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_string_equal(o.by, "they");
	assert_int_equal(one_asks(&o, 132 * SECOND), MCPROTO_ASK_SEEN);
	assert_int_equal(o.mark.time, clock);
	recovery_lost(&o.r, o.asks);
	assert_int_equal(one_asks(&o, 133 * SECOND), MCPROTO_ASK_SEEN);
	one_learn(&o, 133 * SECOND);
	/* Nor is the lock ours to give back. */
	assert_int_equal(one_asks(&o, 134 * SECOND), 0);

	o = one_late(&flush);		/* but one that we just got is */
	one_flush(&o);
	o.told.locked = true;
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_int_equal(one_asks(&o, 132 * SECOND), MCPROTO_ASK_SEEN |
	    MCPROTO_ASK_UNLOCK);

	o = one_late(&flush);
	one_flush(&o);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock;
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_int_equal(one_asks(&o, 132 * SECOND), 0);
}

/* Who flushed it says that he did, though another host was faster to see it,
 * and signed his marker; and nobody needs the lock. */
static void
test_our_flush_is_signed_by_others(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	o.told.flushed = true;
	assert_int_equal(one_probe(&o, 132), RECOVERY_SENT);
	one_flush(&o);
	o.told.marker = mark_of("they", 0, o.r.base.clock, 0);
	assert_int_equal(one_probe(&o, 133), RECOVERY_FLUSHED);
	assert_string_equal(o.by, "");
	assert_int_equal(o.r.theirs, 0);
	assert_int_equal(one_asks(&o, 134 * SECOND), MCPROTO_ASK_UNLOCK);
	one_learn(&o, 134 * SECOND);
	assert_int_equal(one_asks(&o, 135 * SECOND), 0);
}

/* The marker that comes behind a flush says when that was, not that it was. */
static void
test_a_marker_is_to_be_verified(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	assert_true(one_asks(&o, 132 * SECOND) & MCPROTO_ASK_FLUSHED);
	assert_int_equal(o.mark.time, o.r.seen.clock);
	assert_int_not_equal(o.mark.since, 0);
	/* It was refused, or is: nobody takes that for a flush. */
	o = one_late(&flush);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock + 1;
	o.told.marker.since = 1;
	assert_int_equal(one_probe(&o, 131), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
	/* Where it is seen, its time goes into the one that counts. */
	one_flush(&o);
	o.told.marker.time = o.r.seen.clock + 1;
	assert_int_equal(one_probe(&o, 133), RECOVERY_FLUSHED_BY);
	assert_string_equal(o.by, "they");
	assert_int_equal(one_asks(&o, 134 * SECOND), MCPROTO_ASK_FLUSHED);
	assert_int_equal(o.mark.time, o.told.marker.time);
	assert_int_equal(o.mark.since, 0);
	one_learn(&o, 134 * SECOND);
	assert_int_equal(one_asks(&o, 135 * SECOND), 0);
}

/* "stats reset" between the flush and the look that is to verify it: that it
 * was made can not be seen, and it is made once more. */
static void
test_its_counters_are_set_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		const bool blind = i % 2, anew = i / 2;
		struct one o = one_new(&stays);
		uint64_t s = 115;

		o.told.stats.cmd_flush = 7;
		o.forgets = blind;
		for (; s < 150 && !(o.asks & MCPROTO_ASK_LOCK); s++)
			one_probe(&o, s);
		o.told.locked = true;
		assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
		o.told.locked = false;
		o.told.flushed = true;
		assert_int_equal(one_probe(&o, s), RECOVERY_SENT);
		o.told.witness = false;
		o.told.stats.cmd_flush = 0;
		if (anew)		/* memcached -e, that went on */
			o.told.stats.pid = 12;
		assert_int_equal(one_probe(&o, ++s), RECOVERY_QUIET);
		assert_int_equal(o.r.step, RECOVERY_WAIT);
		assert_true(one_asks(&o, ++s * SECOND) & MCPROTO_ASK_UNLOCK);
		one_learn(&o, s * SECOND);
		for (s++; s < 200 && !(o.asks & MCPROTO_ASK_LOCK); s++)
			one_probe(&o, s);
		o.told.locked = true;
		assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
		o.told.locked = false;
		assert_int_equal(one_probe(&o, s), RECOVERY_SENT);
		one_flush(&o);
		assert_int_equal(one_probe(&o, ++s), RECOVERY_FLUSHED);
		assert_false(recovery_is_risk(o.r.returned));
	}
}

/* Its count was 0 before the flush, and is so again: that our witness is gone
 * says what happened, and it is made once more. */
static void
test_its_first_flush_is_set_back(void **state)
{
	struct one o = one_new(&stays);
	uint64_t s = 115;

	(void)state;
	o.told.stats.cmd_flush = 0;
	for (; s < 150 && !(o.asks & MCPROTO_ASK_LOCK); s++)
		one_probe(&o, s);
	o.told.locked = true;
	assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
	o.told.locked = false;
	o.told.flushed = true;
	assert_int_equal(one_probe(&o, s), RECOVERY_SENT);
	o.told.witness = false;
	assert_int_equal(one_probe(&o, ++s), RECOVERY_QUIET);
	assert_int_equal(o.r.step, RECOVERY_WAIT);
	assert_true(one_asks(&o, ++s * SECOND) & MCPROTO_ASK_UNLOCK);
	one_learn(&o, s * SECOND);
	for (s++; s < 200 && !(o.asks & MCPROTO_ASK_LOCK); s++)
		one_probe(&o, s);
	o.told.locked = true;
	assert_int_equal(one_probe(&o, s), RECOVERY_LOCKED);
	o.told.locked = false;
	assert_int_equal(one_probe(&o, s), RECOVERY_SENT);
	one_flush(&o);
	assert_int_equal(one_probe(&o, ++s), RECOVERY_FLUSHED);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED);
}

/* Again and again: whoever does that, it is not flushed for ever. */
static void
test_its_counters_are_always_set_back(void **state)
{
	struct one o = one_late(&flush);
	unsigned flushes = 0;

	(void)state;
	o.told.flushed = true;
	for (uint64_t s = 131; s < 180 && !recovery_cleared(&o.r); s++) {
		one_asks(&o, s * SECOND);
		o.told.locked = (o.asks & MCPROTO_ASK_LOCK) != 0;
		flushes += (o.asks & MCPROTO_ASK_FLUSH) != 0;
		if (o.asks & MCPROTO_ASK_FLUSH) {
			o.told.witness = false;
			o.told.stats.cmd_flush = 0;
		} else if (o.r.step == RECOVERY_WAIT) {
			o.told.stats.cmd_flush = 5;
		}
		one_learn(&o, s * SECOND);
	}
	assert_true(recovery_cleared(&o.r));
	assert_in_range(flushes, 2, 3);
	assert_true(o.r.returned & MCSHM_RETURNED_REFUSED);
}

/* A lock that is ours, or of no use, is not kept for an interval. */
static void
test_who_has_the_lock_hurries(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	assert_false(recovery_hurries(&o.r));
	o = one_locked(&flush);
	assert_true(recovery_hurries(&o.r));
	o.told.flushed = true;
	assert_int_equal(one_probe(&o, 132), RECOVERY_SENT);
	assert_true(recovery_hurries(&o.r));
	one_flush(&o);
	assert_int_equal(one_probe(&o, 132), RECOVERY_FLUSHED);
	assert_false(recovery_hurries(&o.r));

	o = one_late(&flush);
	strcpy(o.told.note[5].host, "they");
	o.told.note[5].time = 6045;
	o.told.locked = true;
	one_probe(&o, 131);
	assert_true(recovery_hurries(&o.r));
}

/* Empty when it was back; and then others use it, and we do not. */
static void
test_a_new_process_is_left_to_others(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	assert_int_equal(one_probe(&o, 115), RECOVERY_RESTARTED);
	assert_int_equal(one_asks(&o, 120 * SECOND), 0);
	o.left = true;
	assert_int_equal(one_asks(&o, 115 * SECOND + 500 * MS), 0);
	assert_int_equal(one_probe(&o, 120), RECOVERY_QUIET);
	assert_int_equal(o.asks, MCPROTO_ASK_STATS | MCPROTO_ASK_MARKS);
	o.told.mark[1] = mark_of("we", 6016, 6024, 2);
	assert_int_equal(one_probe(&o, 124), RECOVERY_QUIET);
	assert_false(recovery_is_risk(o.r.returned));
	o.told.mark[2] = mark_of("they", 6016, 6024, 2);
	assert_int_equal(one_probe(&o, 126), RECOVERY_LEFT);
	assert_string_equal(o.by, "they");
	assert_int_equal(o.r.returned, MCSHM_RETURNED_RESTARTED |
	    MCSHM_RETURNED_OUR_FAULT);
	assert_true(recovery_is_risk(o.r.returned));
	assert_true(recovery_cleared(&o.r));
	/* Once; and it is not flushed. */
	assert_int_equal(one_asks(&o, 130 * SECOND), 0);

	o = one_new(&flush);	/* restarted once more, and not used since */
	o.left = true;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	assert_int_equal(one_probe(&o, 115), RECOVERY_RESTARTED);
	o.told.mark[2] = mark_of("they", 6016, 6024, 2);
	o.told.stats.pid = 13;
	o.told.stats.uptime = 0;
	o.told.stats.time = 6025;
	assert_int_equal(one_probe(&o, 126), RECOVERY_QUIET);
	assert_false(recovery_is_risk(o.r.returned));

	o = one_new(&none);	/* without a rule nothing is asked */
	o.left = true;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	assert_int_equal(one_probe(&o, 115), RECOVERY_RESTARTED);
	assert_int_equal(one_asks(&o, 120 * SECOND), 0);
}

/* Others flushed it and use it, and we wait on for something of our own. */
static void
test_it_is_left_to_others(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	one_flush(&o);
	strcpy(o.told.marker.host, "they");
	o.told.marker.time = o.r.late_clock;
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_false(recovery_is_left(&o.r, 133 * SECOND, 2 * SECOND));
	assert_false(recovery_is_risk(o.r.returned));
	assert_true(recovery_is_left(&o.r, 134 * SECOND, 2 * SECOND));
	assert_false(recovery_is_left(&o.r, 140 * SECOND, 2 * SECOND));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_FLUSHED | MCSHM_RETURNED_OUR_FAULT);
	assert_true(recovery_is_risk(o.r.returned));

	o = one_late(&flush);	/* by people: who uses it, nobody says */
	one_flush(&o);
	assert_int_equal(one_probe(&o, 131), RECOVERY_FLUSHED_BY);
	assert_false(recovery_is_left(&o.r, 140 * SECOND, 2 * SECOND));
}

/* Who goes before others: whose time is over, or almost, and who can be. */
static void
test_who_is_next(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	assert_false(recovery_is_next(&o.r, 115 * SECOND));
	one_probe(&o, 115);
	assert_false(recovery_is_next(&o.r, 116 * SECOND));
	one_probe(&o, 121);
	assert_false(recovery_is_next(&o.r, 121 * SECOND));
	assert_true(recovery_is_next(&o.r, 125 * SECOND));
	strcpy(o.told.note[1].host, "they");
	o.told.note[1].time = 6060;
	one_probe(&o, 131);
	assert_false(recovery_is_next(&o.r, 132 * SECOND));
	assert_true(recovery_is_next(&o.r, 160 * SECOND));
	o = one_locked(&stays);
	assert_true(recovery_is_next(&o.r, 131 * SECOND));
	assert_int_equal(one_probe(&o, 132), RECOVERY_REFUSED);
	assert_false(recovery_is_next(&o.r, 133 * SECOND));
}

/* memcached -e, while it waits: counters begin anew, items do not. */
static void
test_its_counters_begin_anew(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	o.told.stats.pid = 99;
	o.told.stats.cmd_flush = 0;
	assert_int_equal(one_probe(&o, 131), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
	o.told.stats.pid = 11;
	o.told.stats.cmd_flush = 4;	/* of another process: no growth */
	assert_int_equal(one_probe(&o, 132), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
	o.told.stats.cmd_flush = 5;
	o.told.witness = false;
	assert_int_equal(one_probe(&o, 133), RECOVERY_FLUSHED_BY);
}

/* A reload: on_recovery = none, with a flush on its way. */
static void
test_the_rule_changes(void **state)
{
	struct one o = one_locked(&flush);

	(void)state;
	o.rule = none;
	assert_int_equal(one_probe(&o, 132), RECOVERY_KEPT);
	assert_int_equal(o.asks, MCPROTO_ASK_STATS);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME);
	/* The lock is not left to others' waiting. */
	assert_int_equal(one_asks(&o, 133 * SECOND), MCPROTO_ASK_UNLOCK);
	one_learn(&o, 133 * SECOND);
	assert_int_equal(one_asks(&o, 134 * SECOND), 0);
	/* By now it may be another host's. */
	o = one_locked(&flush);
	o.rule = none;
	assert_int_equal(one_probe(&o, 138), RECOVERY_KEPT);
	assert_int_equal(one_asks(&o, 139 * SECOND), 0);
	/* So it may where the next probe is late. */
	o = one_locked(&flush);
	o.rule = none;
	assert_int_equal(one_probe(&o, 132), RECOVERY_KEPT);
	assert_int_equal(one_asks(&o, 139 * SECOND), 0);
}

/* Marks -------------------------------------------------------------------- */

static void
test_contact(void **state)
{
	struct recovery_contact c = { 0 };
	struct mcproto_mark m;

	(void)state;
	recovery_contact(&c, 100 * SECOND, true, RECOVERY_UP, 2 * SECOND);
	recovery_contact(&c, 102 * SECOND, true, RECOVERY_UP, 2 * SECOND);
	assert_int_equal(c.since, 100 * SECOND);
	assert_int_equal(c.last, 102 * SECOND);
	recovery_contact(&c, 105 * SECOND, true, RECOVERY_UP, 2 * SECOND);
	assert_int_equal(c.since, 105 * SECOND);
	for (uint64_t s = 106; s < 120; s++)
		recovery_contact(&c, s * SECOND, true, RECOVERY_UP, 2 * SECOND);
	assert_true(recovery_vouch(&m, &c, &before, 1500 * MS));
	assert_int_equal(m.since, 6000 + 5 + 2);
	assert_int_equal(m.time, 6000 + 19);
	assert_int_equal(m.gap, 2);
	recovery_contact(&c, 120 * SECOND, false, RECOVERY_UP, 2 * SECOND);
	assert_true(recovery_vouch(&m, &c, &before, 1500 * MS));
	recovery_contact(&c, 121 * SECOND, false, RECOVERY_AWAITED, 2 * SECOND);
	assert_false(recovery_vouch(&m, &c, &before, SECOND));
	recovery_contact(&c, 122 * SECOND, true, RECOVERY_UP, 2 * SECOND);
	assert_false(recovery_vouch(&m, &c, &before, SECOND));
	/* Silent, and it answers: its clients have waited. */
	recovery_contact(&c, 123 * SECOND, true, RECOVERY_AWAITED, 2 * SECOND);
	assert_int_equal(c.since, 122 * SECOND);
	assert_int_equal(c.last, 123 * SECOND);
	/* Who answers and is not UP is not used: by whom waits for its flush,
	 * too. */
	for (uint64_t s = 124; s < 140; s++)
		recovery_contact(&c, s * SECOND, true, RECOVERY_OUT,
		    2 * SECOND);
	assert_false(recovery_vouch(&m, &c, &before, SECOND));
	recovery_contact(&c, 140 * SECOND, true, RECOVERY_UP, 2 * SECOND);
	assert_int_equal(c.since, 140 * SECOND);
}

/* The outage: 105 s to 114 s, 6005 to 6014 by its clock, or a second more. */
static void
test_whose_fault(void **state)
{
	static const struct {
		const char *about;
		const char *host;
		uint64_t since, time, gap;
		bool ours;
	} rows[] = {
		{ "answers all the time", "they", 5000, 6017, 2, true },
		{ "the last of them in the outage: lost for them, too",
		  "they", 5000, 6011, 2, false },
		{ "maybe in it, by rounding", "they", 5000, 6015, 2, false },
		{ "only before it", "they", 5000, 6004, 2, false },
		{ "as it began", "they", 5000, 6008, 2, false },
		{ "since we were back", "they", 6014, 6030, 2, false },
		{ "since it was back, before we saw it", "they", 6012, 6030, 2,
		  false },
		{ "begun in it, for half of it", "they", 6010, 6030, 2, true },
		{ "for less than half of it", "they", 6011, 6030, 1, false },
		{ "gaps as long as the outage", "they", 5000, 6017, 9, false },
		{ "and longer", "they", 5000, 6017, UINT64_MAX, false },
		{ "gaps shorter than it", "they", 5000, 6017, 8, true },
		{ "begun before it for certain", "they", 6005, 6017, 8, true },
		{ "maybe in it", "they", 6006, 6017, 8, false },
		{ "gaps almost as long", "they", 5000, 6017, 7, true },
		{ "our own", "we", 5000, 6017, 2, false },
		{ "a note", "they", 0, 6017, 0, false },
		{ "none", "", 5000, 6017, 2, false },
		{ "no gap", "they", 5000, 6017, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct one o = one_new(&flush);
		const enum recovery_event want = rows[i].ours ? RECOVERY_OURS :
		    RECOVERY_KEPT;

		o.told.mark[6] = mark_of(rows[i].host, rows[i].since,
		    rows[i].time, rows[i].gap);
		if (one_probe(&o, 115) != want)
			fail_msg("%s", rows[i].about);
		assert_string_equal(o.by, rows[i].ours ? rows[i].host : "");
		assert_int_equal(recovery_cleared(&o.r), rows[i].ours);
		assert_true(recovery_is_risk(o.r.returned));
	}
}

/* However long a row is: one that ends in our outage says that the server was
 * lost for its host, too.  Nor is one enough that began when most was over. */
static void
test_a_long_outage(void **state)
{
	static const struct {
		uint64_t since, time;
		bool ours;
	} rows[] = {
		{ 5000, 6080, false }, { 6020, 6100, false },
		{ 5000, 6107, true }, { 6050, 6107, true },
		{ 6080, 6107, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct one o = one_new(&flush);

		o.outage.failed = 204 * SECOND;
		o.told.mark[6] = mark_of("they", rows[i].since, rows[i].time,
		    2);
		assert_int_equal(one_probe(&o, 205), rows[i].ours ?
		    RECOVERY_OURS : RECOVERY_KEPT);
	}
}

/* The second in which it asks for the lock, after an outage of 4 s; 0: it never
 * does. */
static uint64_t
locks_at(struct one *o)
{
	for (uint64_t s = 115; s < 150; s++) {
		one_probe(o, s);
		if (recovery_cleared(&o->r))
			return 0;
		if (o->asks & MCPROTO_ASK_LOCK)
			return s;
	}
	return 0;
}

static struct one
one_short(void)
{
	struct one o = one_new(&flush);

	o.rule.slack = 0;
	o.outage.since = 111 * SECOND;
	o.outage.failed = 114 * SECOND + 900 * MS;
	return o;
}

/* A row that would do, if it went on: its mark is renewed before long, and a
 * flush waits for that; but for no row that has ended. */
static void
test_a_row_may_go_on(void **state)
{
	struct one o = one_short();
	const uint64_t alone = locks_at(&o);

	(void)state;
	assert_in_range(alone, 120, 123);
	o = one_short();		/* it did not: 6016 is 9 s old */
	o.told.mark[3] = mark_of("they", 5000, 6016, 1);
	assert_in_range(locks_at(&o), 125, 126);
	assert_string_equal(o.by, "");
	o = one_short();		/* over before the outage, or for less
					 * than half of it, or ours */
	o.told.mark[3] = mark_of("they", 5000, 6011, 1);
	o.told.mark[4] = mark_of("others", 6014, 6016, 1);
	o.told.mark[5] = mark_of("we", 5000, 6016, 1);
	assert_int_equal(locks_at(&o), alone);
	o = one_short();		/* it did */
	o.told.mark[3] = mark_of("they", 5000, 6016, 1);
	for (uint64_t s = 115; s < 124; s++)
		if (one_probe(&o, s) == RECOVERY_WAITS)
			assert_string_equal(o.by, "they");
	assert_true(o.r.waits);
	assert_false(recovery_cleared(&o.r));
	assert_false(recovery_is_next(&o.r, 119 * SECOND));
	o.told.mark[3].time = 6023;
	assert_int_equal(one_probe(&o, 124), RECOVERY_OURS);
}

/* Restarted in the outage, and used by others since: it is not empty. */
static void
test_a_new_process_that_others_use(void **state)
{
	struct one o = one_new(&flush);

	(void)state;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;	/* 6007 */
	o.told.mark[2] = mark_of("they", 6009, 6018, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_OURS);
	assert_string_equal(o.by, "they");
	assert_int_equal(o.r.returned, MCSHM_RETURNED_RESTARTED |
	    MCSHM_RETURNED_OUR_FAULT);
	assert_true(recovery_is_risk(o.r.returned));
	assert_true(recovery_cleared(&o.r));

	/* Not before it was back here. */
	o = one_new(&flush);
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	o.told.mark[2] = mark_of("they", 6014, 6018, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_RESTARTED);
	assert_false(recovery_is_risk(o.r.returned));

	/* Their word does not reach as far yet. */
	o = one_new(&flush);
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	o.told.mark[2] = mark_of("they", 6009, 6012, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_UNKNOWN);
	o.told.mark[2].time = 6018;
	assert_int_equal(one_probe(&o, 118), RECOVERY_OURS);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_RESTARTED |
	    MCSHM_RETURNED_OUR_FAULT);

	/* They lost it, too, and their mark is gone: what they stored is not.
	 * Till it is restarted once more. */
	o = one_new(&flush);
	o.told.stats.pid = 12;
	o.told.stats.uptime = 8;
	o.told.mark[2] = mark_of("they", 6009, 6012, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
	memset(o.told.mark, 0, sizeof o.told.mark);
	assert_int_equal(one_probe(&o, 116), RECOVERY_QUIET);
	assert_false(recovery_cleared(&o.r));
	o.told.stats.pid = 13;
	o.told.stats.uptime = 1;
	assert_int_equal(one_probe(&o, 118), RECOVERY_RESTARTED);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_RESTARTED);
}

/* Seen later on, too; but a lock is given back. */
static void
test_our_fault_is_found_late(void **state)
{
	struct one o = one_late(&flush);

	(void)state;
	o.told.mark[0] = mark_of("they", 5000, 6020, 2);
	o.told.locked = true;
	assert_int_equal(one_probe(&o, 131), RECOVERY_OURS);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_SAME |
	    MCSHM_RETURNED_OUR_FAULT);
	assert_int_equal(one_asks(&o, 132 * SECOND), MCPROTO_ASK_UNLOCK);
}

/* A machine that was stopped: what marks say came from clocks that went on. */
static void
test_a_clock_that_stood_still(void **state)
{
	struct one o = one_new(&flush);
	struct recovery_identity later = before;

	(void)state;
	later.clock += 8;	/* it is 8 s behind that now */
	o.outage.before = &later;
	o.told.mark[0] = mark_of("they", 5000, 6025, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
	later.clock -= 16;
	o = one_new(&flush);
	o.outage.before = &later;
	o.told.mark[0] = mark_of("they", 5000, 6025, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
}

/* A host that is new, or whose file is lost: as long as it knows nothing of the
 * server, it must not empty what others use. */
static void
test_without_a_past(void **state)
{
	static const struct recovery_identity nobody;
	struct one o = one_new(&flush);

	(void)state;
	o.outage.before = &nobody;	/* outage: 6007 to 6013 for certain */
	o.told.mark[0] = mark_of("they", 6010, 6012, 9);
	assert_int_equal(one_probe(&o, 115), RECOVERY_OURS);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_UNKNOWN |
	    MCSHM_RETURNED_OUR_FAULT);

	o = one_new(&flush);		/* reached before, and since */
	o.outage.before = &nobody;
	o.told.mark[0] = mark_of("they", 5000, 6004, 2);
	o.told.mark[1] = mark_of("others", 6015, 6030, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
	assert_false(recovery_cleared(&o.r));

	o = one_new(&flush);		/* it was never UP here */
	o.outage.before = &nobody;
	o.outage.used = false;
	assert_int_equal(one_probe(&o, 115), RECOVERY_STRANGE);
	assert_true(recovery_cleared(&o.r));
	assert_int_equal(o.r.returned, MCSHM_RETURNED_UNKNOWN);
	assert_true(recovery_is_risk(o.r.returned));

	o = one_new(&flush);		/* but it began in the meantime */
	o.outage.before = &nobody;
	o.outage.used = false;
	o.told.stats.uptime = 7;
	assert_int_equal(one_probe(&o, 115), RECOVERY_RESTARTED);

	o = one_new(&flush);		/* nor is known when it was gone */
	o.outage.before = &nobody;
	o.outage.since = 0;
	o.told.stats.uptime = 7;
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
	o = one_new(&flush);
	o.outage.since = 0;
	o.told.stats.pid = 12;
	o.told.stats.uptime = 7;
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
	assert_int_equal(o.r.returned, MCSHM_RETURNED_UNKNOWN);

	o = one_new(&flush);
	o.outage.failed = 0;
	o.told.mark[0] = mark_of("they", 1, 7000, 2);
	assert_int_equal(one_probe(&o, 115), RECOVERY_KEPT);
}

static uint64_t
draw(uint64_t *seed, uint64_t below)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed % below;
}

/* Statistics as they come with a delay of up to a second, of a server whose
 * clock began at some moment. */
static struct recovery_identity
asked(uint64_t *seed, uint64_t began, uint64_t phase)
{
	const uint64_t read = began + draw(seed, 800) * MS;

	return (struct recovery_identity){ .pid = 1, .start = 1,
		.clock = 1000 + (read + phase) / SECOND,
		.at = read + draw(seed, 200) * MS };
}

/*
 * Another host's answers, with gaps and failures, and our outage, anywhere: who
 * takes the blame for it must be right that the other host had answers in half
 * of it, till its end.  And where the other host had answers all along, that is
 * seen.
 */
static void
test_blame_is_never_wrong(void **state)
{
	uint64_t seed = 7, ours = 0, missed = 0, all = 0;

	(void)state;
	for (unsigned run = 0; run < 200000 / SPARSE; run++) {
		const uint64_t phase = draw(&seed, SECOND);
		const uint64_t gap = (1 + draw(&seed, 3)) * SECOND;
		const uint64_t since = 100 * SECOND +
		    draw(&seed, 10000) * MS;
		const uint64_t failed = since + draw(&seed, 12000) * MS;
		const uint64_t faulty = draw(&seed, 2);
		const struct recovery_identity was = asked(&seed,
		    since - draw(&seed, 9000) * MS - SECOND, phase);
		const struct recovery_outage o = { .since = since,
			.failed = failed, .before = &was, .used = true,
			.host = "we" };
		struct recovery_contact c = { 0 };
		struct recovery_look look = { .asks = MCPROTO_ASK_STATS |
			MCPROTO_ASK_MARKS };
		struct mcproto_told told = { 0 };
		struct recovery r = { 0 };
		struct recovery_identity is, theirs = { 0 };
		const char *by;
		bool whole = true;
		uint64_t t = 90 * SECOND;
		const uint64_t until = since + draw(&seed, 15000) * MS;

		for (; t < until; t += MS + draw(&seed, gap - MS)) {
			const bool good = !faulty || draw(&seed, 8) != 0;

			recovery_contact(&c, t, good, RECOVERY_UP, gap);
			whole &= good;
			if (good && draw(&seed, 5) == 0)
				theirs = asked(&seed, t, phase);
		}
		if (theirs.clock == 0 || !recovery_vouch(&told.mark[1], &c,
		    &theirs, gap))
			continue;
		strcpy(told.mark[1].host, "they");
		is = asked(&seed, failed + draw(&seed, 3000) * MS, phase);
		told.stats = (struct mcproto_stats){ .pid = 1,
			.uptime = is.clock - 1, .time = is.clock,
			.whole = true };
		look.told = &told;
		look.began = is.at - 1;
		look.ended = is.at;
		all++;
		if (recovery_learn(&r, &flush, &o, &look, &by) ==
		    RECOVERY_OURS) {
			assert_true(c.last >= failed);
			assert_true(2 * (failed - (c.since > since ? c.since :
			    since)) >= failed - since);
			ours++;
		} else if (whole && until > failed + gap + 5 * SECOND &&
		    failed - since > gap) {
			missed++;
		}
	}
	assert_true(all > 50000 / SPARSE);
	assert_true(ours > all / 20);
	assert_int_equal(missed, 0);
}

/* One of two hosts is cut off ---------------------------------------------- */

/* When what happens, on whose clock: all may fall anywhere. */
struct cut {
	uint64_t phase;			/* of the server's clock */
	uint64_t interval;
	uint64_t from, to;		/* we are cut off; are tried again */
	uint64_t known;			/* what we knew of it is from then */
	uint64_t theirs, marks;		/* their probes, and marks: first */
};

static struct mcproto_stats
stats_at(const struct cut *k, uint64_t at)
{
	const uint64_t clock = 5900 + (at + k->phase) / SECOND;

	return (struct mcproto_stats){ .pid = 11, .uptime = clock - 5000,
		.time = clock, .cmd_flush = 3, .curr_items = 9, .whole = true };
}

/* Their mark, as it is in the server then: renewed each 5 s, with the last
 * answer before. */
static struct mcproto_mark
theirs_at(const struct cut *k, uint64_t at)
{
	const uint64_t set = k->marks + (at - k->marks) / (5 * SECOND) *
	    (5 * SECOND);
	const uint64_t last = k->theirs + (set - 1 - k->theirs) / k->interval *
	    k->interval;
	const struct mcproto_stats known = stats_at(k, set - 7 * SECOND);
	const struct recovery_identity is = recovery_identity(&known,
	    set - 7 * SECOND);
	const struct recovery_contact c = { .since = k->theirs, .last = last };
	struct mcproto_mark m = { 0 };

	assert_true(recovery_vouch(&m, &c, &is, SECOND + k->interval));
	strcpy(m.host, "they");
	return m;
}

static uint64_t
later_of(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Our probes, the outage as they see it, and the way back to its end; false:
 * we go for the flush. */
static bool
cut_comes_back(const struct cut *k)
{
	const struct mcproto_stats known = stats_at(k, k->known);
	const struct recovery_identity was = recovery_identity(&known,
	    k->known);
	struct one o = one_new(&flush);
	uint64_t at = k->from;

	o.rule.slack = k->interval + SECOND / 2;
	o.rule.pause = k->interval;
	o.outage.before = &was;
	o.outage.gone = at > k->interval ? at - k->interval : 0;
	o.outage.since = at;
	/* One after the other until it is DOWN, and then rarely. */
	for (; at < k->from + 5 * SECOND; at += 750 * MS)
		o.outage.failed = at;
	for (at = later_of(at, k->to); !recovery_cleared(&o.r);
	    at += 250 * MS) {
		struct recovery_look look = { .told = &o.told, .began = at,
			.ended = at + MS };

		look.asks = one_asks(&o, at);
		if (look.asks & (MCPROTO_ASK_LOCK | MCPROTO_ASK_FLUSH))
			return false;
		if (look.asks == 0)
			continue;
		o.told.stats = stats_at(k, at);
		o.told.mark[2] = theirs_at(k, at);
		o.told.answered = look.asks;
		recovery_learn(&o.r, &o.rule, &o.outage, &look, &o.by);
		o.told.witness |= (look.asks & MCPROTO_ASK_WITNESS) != 0;
	}
	return (o.r.returned & MCSHM_RETURNED_OUR_FAULT) != 0;
}

/* Beside a host whose answers go through all of the outage, nothing is flushed,
 * be it as short as one can be that reached DOWN. */
static void
test_cut_off_alone(void **state)
{
	uint64_t seed = 11;

	(void)state;
	for (unsigned run = 0; run < 20000 / SPARSE; run++) {
		const uint64_t cut = 5500 * MS + draw(&seed, 7000) * MS;
		struct cut k = { .phase = draw(&seed, SECOND),
			.interval = SECOND,
			.from = 200 * SECOND + draw(&seed, 1000) * MS };

		k.to = k.from + cut;
		k.known = k.from - 11 * SECOND + draw(&seed, 10000) * MS;
		k.theirs = k.from - 12 * SECOND + draw(&seed, 1000) * MS;
		k.marks = k.from - 6 * SECOND + draw(&seed, 5000) * MS;
		if (!cut_comes_back(&k))
			fail_msg("run %u: flushed after %u ms", run,
			    (unsigned)(cut / MS));
	}
}

/* Two hosts at one server ------------------------------------------------- */
/*
 * Every way in which they meet, tick by tick: who asks first, what gets there,
 * which answers are lost, who is slow, and what others do.  The server does
 * what memcached does.
 */
#define TICK (500 * MS)
#define HOSTS 2
#define HORIZON 400		/* ticks; nobody needs that long */

struct server {
	uint64_t cmd_flush;
	uint8_t owner;			/* of the lock, 1 + host; 0: free */
	uint16_t unlocks;		/* tick */
	struct mcproto_mark note[HOSTS], marker;
	bool witness[HOSTS];
	uint16_t flushed;		/* tick of the last flush, 0: none */
	uint64_t pid, start;
};

struct host {
	struct recovery r;
	uint16_t up;			/* tick, 0: not yet */
	uint16_t first;			/* tick of the first answer, 0 */
	uint16_t covered;		/* by the flush of that tick */
};

/* What may still go wrong. */
struct budget {
	uint8_t lost, slow, flushes, restarts, resets, kills;
};

struct world {
	struct server s;
	struct host h[HOSTS];
	struct budget left;
	uint16_t tick;
	bool disturbed;			/* something was lost, or was done by
					 * other people */
};

struct walk {
	struct recovery_outage outage[HOSTS];
	uint16_t back[HOSTS];		/* tick of the first answer */
	uint16_t length;		/* of the first one's outage, ticks */
	uint64_t phase;			/* of the server's clock */
	uint64_t *seen;			/* hashes of worlds */
	size_t size, count;
	uint64_t sure;			/* ns; a flush that comes so much later
					 * is one for another host, too */
	uint64_t ups, flushes, doubles;
	uint16_t longest;
};

static const char *const names[HOSTS] = { "ann", "bob" };

static uint64_t
hash_of(const void *p, size_t len)
{
	const unsigned char *c = p;
	uint64_t h = UINT64_C(14695981039346656037);

	for (size_t i = 0; i < len; i++)
		h = (h ^ c[i]) * UINT64_C(1099511628211);
	return h != 0 ? h : 1;
}

/* True: it was there. */
static bool
met(struct walk *k, const struct world *w)
{
	const uint64_t h = hash_of(w, sizeof *w);
	size_t i = (h ^ h >> 29) & (k->size - 1);

	for (; k->seen[i] != 0; i = (i + 1) & (k->size - 1))
		if (k->seen[i] == h)
			return true;
	k->seen[i] = h;
	assert_true(++k->count < k->size / 2);
	return false;
}

static uint64_t
time_of(uint16_t tick)
{
	return 1000 * SECOND + tick * TICK;
}

static uint64_t
server_clock(const struct walk *k, uint16_t tick)
{
	return 500 + (time_of(tick) + k->phase) / SECOND;
}

/* A flush that everybody who waited is served by. */
static void
server_flush(struct walk *k, struct world *w, unsigned who)
{
	struct server *s = &w->s;

	s->cmd_flush++;
	s->owner = 0;
	memset(s->note, 0, sizeof s->note);
	memset(s->witness, 0, sizeof s->witness);
	memset(&s->marker, 0, sizeof s->marker);
	s->flushed = w->tick;
	k->flushes++;
	/* Nobody who is UP by a flush that does for the other, too (and late
	 * enough to be sure, in whole seconds), loses what it has stored since;
	 * but where answers were lost. */
	if (who < HOSTS && w->h[1 - who].up != 0 &&
	    w->h[1 - who].covered != 0 && w->h[who].r.late != 0 &&
	    time_of(w->h[1 - who].covered) >= w->h[who].r.late + k->sure) {
		k->doubles++;
		assert_true(w->disturbed);
	}
}

/* In the order of their bits. */
static void
server_does(struct walk *k, struct world *w, unsigned who, uint32_t asks,
    const struct mcproto_mark *mark, struct mcproto_told *told)
{
	struct server *s = &w->s;

	memset(told, 0, sizeof *told);
	told->answered = asks;
	if (s->owner != 0 && w->tick >= s->unlocks)
		s->owner = 0;
	if (asks & MCPROTO_ASK_MARKS) {
		if (s->owner != 0)
			strcpy(told->owner, names[s->owner - 1]);
		memcpy(told->note, s->note, sizeof s->note);
		told->witness = s->witness[who];
		told->marker = s->marker;
	}
	if (asks & MCPROTO_ASK_LOCK && s->owner == 0) {
		s->owner = (uint8_t)(1 + who);
		s->unlocks = (uint16_t)(w->tick + 20);
		told->locked = true;
	}
	if (asks & MCPROTO_ASK_STATS)
		told->stats = (struct mcproto_stats){ .pid = s->pid,
			.uptime = server_clock(k, w->tick) - s->start,
			.time = server_clock(k, w->tick),
			.cmd_flush = s->cmd_flush, .whole = true };
	if (asks & MCPROTO_ASK_UNLOCK)
		s->owner = 0;
	if (asks & MCPROTO_ASK_FLUSH) {
		server_flush(k, w, who);
		told->flushed = true;
	}
	if (asks & MCPROTO_ASK_FLUSHED || (asks & MCPROTO_ASK_SEEN &&
	    s->marker.host[0] == '\0')) {
		s->marker = *mark;
		strcpy(s->marker.host, names[who]);
	}
	if (asks & MCPROTO_ASK_MARK) {
		s->note[who] = *mark;
		strcpy(s->note[who].host, names[who]);
	}
	s->witness[who] |= (asks & MCPROTO_ASK_WITNESS) != 0;
	if (asks & MCPROTO_ASK_RELOCK && s->owner == 0) {
		s->owner = (uint8_t)(1 + who);
		s->unlocks = (uint16_t)(w->tick + 20);
	}
}

/* It is UP: nothing old is in it, and nothing old can come. */
static void
host_is_up(struct walk *k, struct world *w, unsigned who)
{
	struct host *h = &w->h[who];

	h->up = w->tick;
	h->covered = w->s.flushed;
	k->ups++;
	assert_false(h->r.returned & MCSHM_RETURNED_REFUSED);
	if (h->r.returned & MCSHM_RETURNED_RESTARTED)
		assert_int_equal(w->s.pid, 2);
	else
		assert_true(w->s.flushed != 0 &&
		    time_of(w->s.flushed) >= h->r.late);
	if (w->tick - k->back[who] > k->longest)
		k->longest = (uint16_t)(w->tick - k->back[who]);
}

enum fate { SLOW, FINE, LOST_BEFORE, LOST_AFTER, KILLED, FATES };

/* One probe, or none.  False: that can not be. */
static bool
host_turn(struct walk *k, struct world *w, unsigned who, enum fate fate)
{
	static const struct recovery_rule rule = { .flush = true,
		.slack = TICK, .pause = 2 * TICK };
	struct host *h = &w->h[who];
	const uint64_t now = time_of(w->tick);
	const struct recovery_now n = { .now = now, .due = h->r.late != 0 &&
		now >= h->r.late, .may_flush = true };
	struct mcproto_mark mark = { 0 };
	struct mcproto_told told;
	struct recovery_look look = { .told = &told, .began = now,
		.ended = now + MS };
	const char *by;

	struct recovery_outage o = k->outage[who];

	if (h->up != 0 && h->r.step == RECOVERY_DONE && !h->r.unlock &&
	    !h->r.sign)
		return fate == FINE;
	if (w->tick < k->back[who])
		return fate == FINE;
	/* Another daemon, and all that the file of the last one said. */
	if (fate == KILLED) {
		h->r = (struct recovery){ 0 };
		w->disturbed = true;
		return h->up == 0 && w->left.kills-- > 0;
	}
	o.first = h->first != 0 ? time_of(h->first) + MS : 0;
	if (fate == SLOW)
		return w->left.slow-- > 0;
	if (fate != FINE && w->left.lost-- == 0)
		return false;
	look.asks = recovery_asks(&h->r, &rule, &n, &mark);
	if (look.asks == 0 && fate != FINE)
		return false;
	if (fate != LOST_BEFORE)
		server_does(k, w, who, look.asks, &mark, &told);
	if (fate != FINE) {
		recovery_lost(&h->r, look.asks);
		w->disturbed = true;
		return true;
	}
	recovery_learn(&h->r, &rule, &o, &look, &by);
	if (h->first == 0)
		h->first = w->tick;
	if (h->up == 0 && recovery_cleared(&h->r) &&
	    (n.due || h->r.returned & MCSHM_RETURNED_RESTARTED))
		host_is_up(k, w, who);
	return true;
}

/* What other people do. */
static bool
others_turn(struct walk *k, struct world *w, unsigned what)
{
	if (what == 0)
		return true;
	w->disturbed = true;
	if (what == 1) {
		if (w->left.flushes-- == 0)
			return false;
		server_flush(k, w, HOSTS);
		return true;
	}
	if (what == 2) {
		if (w->left.resets-- == 0)
			return false;
		w->s.cmd_flush = 0;
		return true;
	}
	if (w->left.restarts-- == 0)
		return false;
	memset(&w->s, 0, sizeof w->s);
	w->s.pid = 2;
	w->s.start = server_clock(k, w->tick) - 2;
	return true;
}

static void
walk_on(struct walk *k, const struct world *from)
{
	bool over = true;

	for (unsigned i = 0; i < HOSTS; i++)
		over &= from->h[i].up != 0;
	/* Who came in time was waited for. */
	if (over && !from->disturbed && k->back[1] - k->back[0] <= k->length)
		assert_int_equal(from->s.cmd_flush, 1);
	if (over || met(k, from))
		return;
	assert_true(from->tick < HORIZON);
	for (unsigned way = 0; way < 2 * FATES * FATES * 4; way++) {
		const unsigned first = way % 2;
		const enum fate fate[2] = { (enum fate)(way / 2 % FATES),
			(enum fate)(way / 2 / FATES % FATES) };
		struct world w;

		if ((fate[0] == KILLED || fate[1] == KILLED) &&
		    from->left.kills == 0)
			continue;
		w = *from;
		w.tick++;
		if (host_turn(k, &w, first, fate[0]) &&
		    others_turn(k, &w, way / 2 / FATES / FATES) &&
		    host_turn(k, &w, 1 - first, fate[1]))
			walk_on(k, &w);
	}
}

/* Outages of so many ticks; the second answer comes so much later. */
static void
walk_from(struct walk *k, uint16_t a, uint16_t b, uint16_t later,
    uint64_t phase, struct budget budget)
{
	const struct recovery_identity was = { .pid = 1, .start = 100,
		.clock = 1000, .at = 500 * SECOND };
	const uint16_t length[HOSTS] = { a, b };
	struct world w;

	memset(&w, 0, sizeof w);
	w.s.pid = 1;
	w.s.start = 100;
	w.left = budget;
	w.tick = 10;
	k->phase = phase;
	k->length = a;
	for (unsigned i = 0; i < HOSTS; i++) {
		k->back[i] = (uint16_t)(11 + i * later);
		k->outage[i] = (struct recovery_outage){ .since =
			time_of(k->back[i]) - length[i] * TICK,
			.failed = time_of(k->back[i]) - TICK,
			.before = &was, .used = true,
			.host = names[i] };
	}
	memset(k->seen, 0, k->size * sizeof *k->seen);
	k->count = 0;
	walk_on(k, &w);
}

static void
walk_all(const struct budget *budget, size_t budgets, struct walk *k,
    unsigned step)
{
	static const uint16_t lengths[][2] = { { 2, 2 }, { 1, 6 }, { 6, 1 },
		{ 4, 5 } };

	for (size_t i = 0; i < COUNT(lengths); i++)
		for (unsigned later = 0; later < 12; later += step * SPARSE)
			for (size_t b = 0; b < budgets; b++)
				walk_from(k, lengths[i][0], lengths[i][1],
				    (uint16_t)later, b % 2 ? 300 * MS : 0,
				    budget[b]);
}

static struct walk
walk_new(size_t size)
{
	struct walk k = { .size = size, .sure = 2 * SECOND };

	k.seen = calloc(size, sizeof *k.seen);
	assert_non_null(k.seen);
	return k;
}

/* Undisturbed, however they meet: one flush does for both where it can, and
 * both are UP soon. */
static void
test_two_hosts(void **state)
{
	static const struct budget budget[] = { { .slow = 2 }, { .slow = 3 } };
	struct walk k = walk_new(1 << 20);

	(void)state;
	walk_all(budget, COUNT(budget), &k, 1);
	assert_true(k.ups > 1000 / SPARSE);
	assert_true(k.flushes > 0);
	assert_int_equal(k.doubles, 0);
	assert_true(k.longest <= 40);
	free(k.seen);
}

/* Answers are lost. */
static void
test_two_hosts_lose_answers(void **state)
{
	static const struct budget budget[] = { { .lost = 2 }, { .lost = 2,
		.slow = 1 } };
	struct walk k = walk_new(1 << 22);

	(void)state;
	walk_all(budget, COUNT(budget), &k, 3);
	assert_true(k.ups > 10000 / SPARSE);
	/* Not longer than locks that nobody knows of, one after another. */
	assert_true(k.longest <= 40 + 2 * 22);
	free(k.seen);
}

/* Daemons are killed, and others go on: what was flushed for both is not
 * flushed once more by who does not know it any more. */
static void
test_two_hosts_are_killed(void **state)
{
	static const struct budget budget[] = { { .kills = 1 },
		{ .kills = 2 } };
	struct walk k = walk_new(1 << 22);

	(void)state;
	k.sure = 5 * SECOND;	/* it counts its wait's end from one look */
	walk_all(budget, COUNT(budget), &k, 3);
	assert_true(k.ups > 1000 / SPARSE);
	assert_int_equal(k.doubles, 0);
	assert_true(k.longest <= 40 + 2 * 22);
	free(k.seen);
}

/* People set its counters back. */
static void
test_two_hosts_and_no_count(void **state)
{
	static const struct budget budget[] = { { .resets = 2 },
		{ .resets = 1, .lost = 1 } };
	struct walk k = walk_new(1 << 22);

	(void)state;
	walk_all(budget, COUNT(budget), &k, 3);
	assert_true(k.ups > 1000 / SPARSE);
	assert_true(k.longest <= 40 + 2 * 22);
	free(k.seen);
}

/* People flush it, and restart it. */
static void
test_two_hosts_and_other_people(void **state)
{
	static const struct budget budget[] = { { .flushes = 1, .lost = 1 },
		{ .restarts = 1, .lost = 1 }, { .flushes = 1, .restarts = 1 } };
	struct walk k = walk_new(1 << 22);

	(void)state;
	walk_all(budget, COUNT(budget), &k, 3);
	assert_true(k.ups > 10000 / SPARSE);
	free(k.seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_is_identified),
		cmocka_unit_test(test_first_answers),
		cmocka_unit_test(test_risks),
		cmocka_unit_test(test_none_leaves_nothing_in_it),
		cmocka_unit_test(test_the_whole_way),
		cmocka_unit_test(test_it_waits_no_longer_than_tcp),
		cmocka_unit_test(test_it_was_gone_for_longer),
		cmocka_unit_test(test_somebody_else_flushes),
		cmocka_unit_test(test_another_daemon_waited),
		cmocka_unit_test(test_a_lock_without_need_is_given_back),
		cmocka_unit_test(test_a_lost_unlock_is_not_sent_again),
		cmocka_unit_test(test_it_waits_for_who_waits),
		cmocka_unit_test(test_it_does_not_wait_for_itself),
		cmocka_unit_test(test_its_note_ends_with_it),
		cmocka_unit_test(test_it_waits_for_nobody_for_ever),
		cmocka_unit_test(test_a_count_is_no_proof),
		cmocka_unit_test(test_no_witness_can_be_had),
		cmocka_unit_test(test_our_note_is_written_once),
		cmocka_unit_test(test_the_end_of_waiting_by_its_clock),
		cmocka_unit_test(test_not_due_not_calm),
		cmocka_unit_test(test_an_old_lock_is_none),
		cmocka_unit_test(test_looks_are_rare_while_it_waits),
		cmocka_unit_test(test_it_refuses),
		cmocka_unit_test(test_no_memory_for_a_lock),
		cmocka_unit_test(test_a_flush_that_is_none),
		cmocka_unit_test(test_a_lost_flush),
		cmocka_unit_test(test_it_is_mute),
		cmocka_unit_test(test_it_is_restarted_while_it_waits),
		cmocka_unit_test(test_its_clock_stands_still),
		cmocka_unit_test(test_it_is_full),
		cmocka_unit_test(test_it_stays_no_longer),
		cmocka_unit_test(test_flushed_for_us_and_used),
		cmocka_unit_test(test_it_is_signed_by_who_saw_it),
		cmocka_unit_test(test_our_flush_is_signed_by_others),
		cmocka_unit_test(test_a_marker_is_to_be_verified),
		cmocka_unit_test(test_its_counters_are_set_back),
		cmocka_unit_test(test_its_first_flush_is_set_back),
		cmocka_unit_test(test_its_counters_are_always_set_back),
		cmocka_unit_test(test_who_has_the_lock_hurries),
		cmocka_unit_test(test_a_new_process_is_left_to_others),
		cmocka_unit_test(test_it_is_left_to_others),
		cmocka_unit_test(test_who_is_next),
		cmocka_unit_test(test_its_counters_begin_anew),
		cmocka_unit_test(test_the_rule_changes),
		cmocka_unit_test(test_it_is_not_judged_without_marks),
		cmocka_unit_test(test_its_clock_fell_behind),
		cmocka_unit_test(test_it_tells_in_the_end),
		cmocka_unit_test(test_a_refusal_is_not_taken_back),
		cmocka_unit_test(test_a_row_may_go_on),
		cmocka_unit_test(test_contact),
		cmocka_unit_test(test_whose_fault),
		cmocka_unit_test(test_a_long_outage),
		cmocka_unit_test(test_a_new_process_that_others_use),
		cmocka_unit_test(test_our_fault_is_found_late),
		cmocka_unit_test(test_a_clock_that_stood_still),
		cmocka_unit_test(test_without_a_past),
		cmocka_unit_test(test_blame_is_never_wrong),
		cmocka_unit_test(test_cut_off_alone),
		cmocka_unit_test(test_two_hosts),
		cmocka_unit_test(test_two_hosts_lose_answers),
		cmocka_unit_test(test_two_hosts_are_killed),
		cmocka_unit_test(test_two_hosts_and_no_count),
		cmocka_unit_test(test_two_hosts_and_other_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
