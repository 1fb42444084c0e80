/*
 * test_faults.c - what is wrong with a server that answers: one look at a time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "faults.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define WORKER MCSHM_DEGRADED_WORKER_STUCK
#define LISTENER MCSHM_DEGRADED_LISTENER_STUCK
#define CLOCK MCSHM_DEGRADED_CLOCK_STUCK
#define MAXCONNS MCSHM_DEGRADED_MAXCONNS
#define MEMORY MCSHM_DEGRADED_NO_MEMORY
#define SLOW MCSHM_DEGRADED_SLOW
#define LOGIN MCSHM_DEGRADED_UNAUTHENTICATED
#define TLS MCSHM_DEGRADED_TLS

static const enum verdict_class class_of[MCSHM_R_COUNT] = {
#define X(number, id, name, class, text) [number] = VERDICT_##class,
	MCSHM_REASONS(X)
#undef X
};

/* A server under watch, with the defaults of the ini, and the time. */
struct bed {
	struct faults f;
	struct faults_rule rule;
	uint64_t now;
	struct faults_stats stats;	/* what it would say */
	bool stops;			/* its clock does */
};

static struct bed
bed_of(uint64_t ignored, uint64_t down)
{
	struct bed b = { .now = 1000 * S,
		.rule = { .stats_interval = 10 * S, .scan_interval = 30 * S,
		    .slow_threshold = 100 * MS, .ignored = ignored,
		    .down = down },
		.stats = { .pid = 4711, .uptime = 500, .time = 1700000000,
		    .threads = 4,
		    .connections = 10, .max_connections = 1024 } };

	faults_begin(&b.f, &b.rule, 0, 0, 7 * S, b.now);
	return b;
}

static void
pass(struct bed *b, uint64_t ns)
{
	const uint64_t seconds = (b->now + ns) / S - b->now / S;

	b->now += ns;
	if (b->stops)
		return;
	b->stats.uptime += seconds;
	b->stats.time += seconds;
}

/* A probe that takes this long; stats as asked for. */
static void
probe_as(struct bed *b, enum mcshm_reason reason, bool fresh, bool kept,
    uint64_t took)
{
	const bool asks = faults_wants_stats(&b->f, &b->rule, b->now);
	const bool good = class_of[reason] == VERDICT_GOOD &&
	    reason != MCSHM_R_MAXCONNS;
	struct faults_probe p = { .reason = reason, .class = class_of[reason],
		.fresh = fresh, .kept = kept, .timed = true,
		.stats_asked = asks, .began = b->now };

	pass(b, took);
	p.ended = b->now;
	p.stats = asks && good ? &b->stats : NULL;
	faults_probe(&b->f, &b->rule, &p);
}

static void
probe(struct bed *b, enum mcshm_reason reason)
{
	probe_as(b, reason, false, false, MS);
}

/* A second with a good probe at its end. */
static void
second(struct bed *b)
{
	pass(b, S - MS);
	probe(b, MCSHM_R_OK);
}

static void
seconds(struct bed *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		second(b);
}

/* The fresh one is silent, beside a kept one that is not. */
static void
fresh_silent(struct bed *b)
{
	probe_as(b, MCSHM_R_TIMEOUT, true, true, 750 * MS);
}

static uint32_t
scan_due(struct bed *b)
{
	bool crowded;

	return faults_wants_scan(&b->f, &b->rule, b->now, &crowded);
}

static void
scan_of(struct bed *b, const struct faults_scan *like)
{
	struct faults_scan s = *like;

	s.began = b->now;
	pass(b, s.answered == s.asked ? 2 * MS : 750 * MS);
	s.ended = b->now;
	faults_scan(&b->f, &b->rule, &s);
}

/* What is due is made, and so many are silent. */
static uint32_t
scan(struct bed *b, uint32_t silent)
{
	const uint32_t n = scan_due(b);

	if (n != 0)
		scan_of(b, &(struct faults_scan){ .asked = n,
		    .answered = n - (silent < n ? silent : n),
		    .silent = silent < n ? silent : n });
	return n;
}

static void
until_scan(struct bed *b)
{
	for (unsigned i = 0; scan_due(b) == 0; i++) {
		assert_true(i < 100);
		second(b);
	}
}

/* A well server, with stats and one scan behind it. */
static struct bed
bed_well(uint64_t ignored, uint64_t down)
{
	struct bed b = bed_of(ignored, down);

	seconds(&b, 20);
	if (b.rule.ignored & WORKER)
		return b;
	until_scan(&b);
	assert_int_equal(scan(&b, 0), 4);
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(b.f.threads, 4);
	return b;
}

/* Looks: when ------------------------------------------------------------- */

static void
test_stats_are_spread_and_regular(void **state)
{
	struct bed b = bed_of(0, 0);
	const struct faults before = { 0 };
	unsigned asked = 0;

	(void)state;
	assert_true(faults_wants_stats(&before, &b.rule, b.now));
	assert_false(faults_wants_stats(&b.f, &b.rule, b.now + 100 * S));
	second(&b);			/* it answers */
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
	second(&b);			/* who it is */
	assert_int_equal(b.f.threads, 4);
	assert_false(faults_wants_stats(&b.f, &b.rule, b.now + 7 * S - MS));
	pass(&b, 7 * S + MS);		/* the phase */
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
	for (unsigned i = 0; i < 100; i++) {
		asked += faults_wants_stats(&b.f, &b.rule, b.now + S - MS);
		second(&b);
	}
	assert_in_range(asked, 9, 11);
	assert_int_equal(b.f.connections, 10);
	assert_int_equal(b.f.max_connections, 1024);
}

/* A good one, whose stats do not come if they were asked for. */
static void
unanswered_stats(struct bed *b, enum mcshm_reason reason)
{
	const struct faults_probe p = { .reason = reason,
		.class = VERDICT_GOOD, .began = b->now, .ended = b->now,
		.stats_asked = faults_wants_stats(&b->f, &b->rule, b->now) };

	faults_probe(&b->f, &b->rule, &p);
}

static void
test_who_hangs_up_on_stats_is_asked_less(void **state)
{
	struct bed b = bed_of(0, 0);
	unsigned asked = 0;

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		bool asks;

		pass(&b, S);
		asks = faults_wants_stats(&b.f, &b.rule, b.now);
		asked += asks;
		probe(&b, asks ? MCSHM_R_CLOSED : MCSHM_R_OK);
	}
	assert_in_range(asked, 5, 15);
	assert_int_equal(b.f.bits, 0);
	/* And as before, once it answers. */
	seconds(&b, 700);
	assert_int_equal(b.f.refused, 0);
}

static void
test_a_killed_server_is_no_reason_to_ask_less(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	while (!faults_wants_stats(&b.f, &b.rule, b.now))
		pass(&b, S);
	probe(&b, MCSHM_R_REFUSED);
	assert_int_equal(b.f.refused, 0);
	assert_false(faults_wants_stats(&b.f, &b.rule, b.now));
	probe(&b, MCSHM_R_OK);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
}

/* A login that was refused, and is not any more. */
static void
test_who_lets_us_in_is_asked_at_once(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		pass(&b, S);
		unanswered_stats(&b, MCSHM_R_UNAUTHENTICATED);
	}
	assert_in_range(b.f.refused, 5, 6);
	/* The listener does not ask who we are. */
	probe_as(&b, MCSHM_R_MAXCONNS, true, true, MS);
	assert_int_equal(b.f.bits, LOGIN);
	assert_false(faults_wants_stats(&b.f, &b.rule, b.now));
	unanswered_stats(&b, MCSHM_R_OK);
	assert_int_equal(b.f.refused, 0);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
}

static void
test_who_is_asked_in_another_way_is_asked_at_once(void **state)
{
	struct bed b = bed_well(0, 0);
	uint64_t due = b.f.stats_at;

	(void)state;
	faults_retry(&b.f, &b.rule, b.now);	/* it refused nothing */
	assert_int_equal(b.f.stats_at, due);
	for (unsigned i = 0; i < 1000; i++) {
		pass(&b, S);
		unanswered_stats(&b, MCSHM_R_OK);
	}
	assert_false(faults_wants_stats(&b.f, &b.rule, b.now));
	faults_retry(&b.f, &b.rule, b.now);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
	/* Or it is another process. */
	for (unsigned i = 0; i < 1000; i++) {
		pass(&b, S);
		unanswered_stats(&b, MCSHM_R_OK);
	}
	probe(&b, MCSHM_R_REFUSED);
	second(&b);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
}

static void
test_scans_are_regular(void **state)
{
	struct bed b = bed_well(0, 0);
	unsigned scans = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		second(&b);
		scans += scan(&b, 0) != 0;
	}
	assert_in_range(scans, 9, 10);
}

static void
test_no_scan_without_threads_or_answers(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	for (b.stats.threads = 0; b.stats.threads < 2; b.stats.threads++)
		for (unsigned i = 0; i < 100; i++) {
			second(&b);
			assert_int_equal(scan_due(&b), 0);
		}
	b.stats.threads = 2;
	seconds(&b, 20);
	assert_int_equal(scan_due(&b), 2);
	b.stats.threads = 4;
	seconds(&b, 20);
	assert_int_equal(scan_due(&b), 4);
	probe(&b, MCSHM_R_TIMEOUT);
	assert_int_equal(scan_due(&b), 0);
	probe(&b, MCSHM_R_RESET);
	assert_int_equal(scan_due(&b), 0);
}

static void
test_a_crowded_server_is_not_scanned(void **state)
{
	struct bed b = bed_well(0, 0);
	unsigned told = 0;
	bool crowded;

	(void)state;
	b.stats.max_connections = 100;
	b.stats.connections = 77;
	seconds(&b, 11);
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(faults_wants_scan(&b.f, &b.rule, b.now,
		    &crowded), 0);
		told += crowded;
		second(&b);
	}
	assert_int_equal(told, 1);
	b.f.scan_at = b.now;		/* the next one as if it was made */
	assert_int_equal(scan_due(&b), 0);
	assert_int_equal(b.f.scan_at, b.now + b.rule.scan_interval);
	b.stats.connections = 76;	/* and four are eighty */
	seconds(&b, 11);
	until_scan(&b);
	assert_int_equal(scan(&b, 0), 4);
	/* Where there is doubt, one connection is taken. */
	b.stats.connections = 90;
	seconds(&b, 11);
	fresh_silent(&b);
	assert_int_equal(scan_due(&b), 1);
}

static void
test_many_threads_are_scanned_in_part(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	b.stats.threads = 1000;
	seconds(&b, 11);
	until_scan(&b);
	assert_int_equal(scan_due(&b), FAULTS_SCAN_MOST);
}

static void
test_intervals_of_a_reload_count(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	b.rule.scan_interval = b.rule.stats_interval = 0;
	for (unsigned i = 0; i < 100; i++) {
		second(&b);
		assert_int_equal(scan_due(&b), 0);
		assert_false(faults_wants_stats(&b.f, &b.rule, b.now));
	}
	b.rule.scan_interval = b.rule.stats_interval = S;
	seconds(&b, 2);
	assert_int_not_equal(scan_due(&b), 0);
	pass(&b, S);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
}

/* What nobody looks for any more would be believed for ever. */
static void
test_a_reload_ends_what_is_not_looked_for(void **state)
{
	const uint64_t all = WORKER | CLOCK | MEMORY | SLOW;
	static const struct {
		uint64_t stats, scan, slow;
		bool canary, connects;
		uint64_t left;
	} v[] = {
		{ 10 * S, 30 * S, 100 * MS, false, false,
		    WORKER | CLOCK | MEMORY | SLOW },
		{ 10 * S, 0, 100 * MS, false, false, CLOCK | MEMORY | SLOW },
		{ 0, 30 * S, 100 * MS, false, false, SLOW },
		{ 0, 30 * S, 100 * MS, true, false, MEMORY | SLOW },
		{ 10 * S, 30 * S, 0, false, false, WORKER | CLOCK | MEMORY },
		{ 10 * S, 30 * S, 100 * MS, false, true, SLOW },
		{ 0, 0, 0, false, false, 0 } };

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct bed b = bed_well(0, 0);
		struct faults inherited;

		b.f.bits = all;
		b.f.bad = b.f.stuck = 1;
		b.f.recent = S;
		b.rule.stats_interval = v[i].stats;
		b.rule.scan_interval = v[i].scan;
		b.rule.slow_threshold = v[i].slow;
		b.rule.canary = v[i].canary;
		b.rule.connects = v[i].connects;
		faults_begin(&inherited, &b.rule, all, 0, 0, b.now);
		assert_int_equal(inherited.bits, v[i].left);
		probe(&b, MCSHM_R_TIMEOUT);
		assert_int_equal(b.f.bits, v[i].left);
		if (v[i].left & WORKER)
			continue;
		seconds(&b, 20);
		assert_int_equal(b.f.bits & WORKER, 0);
		assert_int_equal(b.f.bad, 0);
		if (v[i].scan == 0)
			assert_int_equal(scan_due(&b), 0);
	}
}

/* Nor is it in doubt, of which something else would follow. */
static void
test_a_reload_ends_doubts(void **state)
{
	static const struct { uint64_t ignored; bool still, full, scarce; }
	    v[] = { { 0, true, true, true }, { CLOCK, false, true, true },
		{ MAXCONNS, true, false, true },
		{ MEMORY, true, true, false } };

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct bed b = bed_well(0, 0);

		b.f.still = 1;
		b.f.full = b.f.scarce = true;
		b.f.stats_at = b.now + 100 * S;
		b.rule.ignored = v[i].ignored;
		second(&b);
		assert_int_equal(b.f.still, v[i].still);
		assert_int_equal(b.f.full, v[i].full);
		assert_int_equal(b.f.scarce, v[i].scarce);
	}
}

/* Workers ------------------------------------------------------------------ */

static void
test_a_stuck_worker_takes_two_scans(void **state)
{
	struct bed b = bed_well(0, 0);
	unsigned scans = 0;

	(void)state;
	until_scan(&b);
	assert_int_equal(scan(&b, 1), 4);
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(scan_due(&b), 4);	/* at once */
	scan(&b, 1);
	assert_int_equal(b.f.bits, WORKER);
	assert_int_equal(b.f.stuck, 1);
	/* It is looked after, every other second. */
	for (unsigned i = 0; i < 60; i++) {
		second(&b);
		scans += scan(&b, 1) != 0;
	}
	assert_in_range(scans, 18, 31);
	assert_int_equal(b.f.bits, WORKER);
	/* Until it is clean, twice. */
	until_scan(&b);
	scan(&b, 0);
	assert_int_equal(b.f.bits, WORKER);
	assert_int_equal(scan_due(&b), 0);
	until_scan(&b);
	scan(&b, 0);
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(b.f.stuck, 0);
	seconds(&b, 25);
	assert_int_equal(scan_due(&b), 0);
}

/* Every other second; more often only if the rules say so. */
static void
test_how_soon_a_fault_is_looked_at(void **state)
{
	static const struct { uint64_t interval, soon; } v[] = {
		{ 30 * S, 2 * S }, { S, S }, { 0, 2 * S } };

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct bed b = bed_well(0, 0);

		b.rule.scan_interval = v[i].interval;
		b.f.bits = LISTENER;
		b.f.scan_at = b.now;
		scan_of(&b, &(struct faults_scan){ .asked = 4, .proof = 4 });
		assert_int_equal(b.f.scan_at, b.now + v[i].soon);
	}
}

static void
test_one_bad_scan_is_nothing(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	until_scan(&b);
	scan(&b, 2);
	scan(&b, 0);
	assert_int_equal(b.f.bits, 0);
	seconds(&b, 25);
	assert_int_equal(scan_due(&b), 0);
}

/* Others' connections get workers' turns: the number may differ. */
static void
test_the_smaller_number_of_stuck_workers_is_sure(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	until_scan(&b);
	scan(&b, 3);
	scan(&b, 2);
	assert_int_equal(b.f.stuck, 2);
	until_scan(&b);
	scan(&b, 3);
	assert_int_equal(b.f.stuck, 2);
	until_scan(&b);
	scan(&b, 3);
	assert_int_equal(b.f.stuck, 3);
}

/* Not many servers at once, when the network is back. */
static void
test_a_silence_asks_for_no_scan(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	probe_as(&b, MCSHM_R_TIMEOUT, false, false, 750 * MS);
	probe_as(&b, MCSHM_R_TIMEOUT, true, false, 750 * MS);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(scan_due(&b), 0);
}

static void
test_lost_packets_are_no_stuck_worker(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		until_scan(&b);
		scan_of(&b, &(struct faults_scan){ .asked = 4, .answered = 3,
		    .unreached = 1 });
		assert_int_equal(b.f.bits, 0);
	}
	/* They say nothing either way. */
	until_scan(&b);
	scan(&b, 1);
	scan(&b, 1);
	assert_int_equal(b.f.bits, WORKER);
	for (unsigned i = 0; i < 5; i++)
		scan_of(&b, &(struct faults_scan){ .asked = 4, .answered = 3,
		    .unreached = 1 });
	assert_int_equal(b.f.bits, WORKER);
}

static void
test_a_void_scan_says_nothing(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	until_scan(&b);
	scan(&b, 1);
	scan_of(&b, &(struct faults_scan){ .asked = 4, .answered = 2,
	    .silent = 1, .failed = 1 });
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(scan_due(&b), 0);	/* soon, not at once */
	until_scan(&b);
	scan(&b, 1);
	assert_int_equal(b.f.bits, WORKER);
	/* We filled it up ourselves. */
	scan_of(&b, &(struct faults_scan){ .asked = 4, .answered = 3,
	    .full = 1 });
	assert_int_equal(b.f.bits, WORKER);
}

/* Its clients hang, and come again: a stuck worker fills a server up. */
static void
test_a_stuck_worker_of_a_crowded_server(void **state)
{
	struct bed b = bed_well(0, 0);
	unsigned looks = 0;

	(void)state;
	until_scan(&b);
	scan(&b, 1);
	scan(&b, 1);
	b.stats.connections = 1000;
	seconds(&b, 11);
	for (unsigned i = 0; i < 200; i++) {	/* each fourth is silent */
		second(&b);
		if (scan_due(&b) == 0)
			continue;
		assert_int_equal(scan(&b, looks++ % 4 == 0), 1);
		second(&b);			/* and the kept one is not */
		assert_int_equal(b.f.bits, WORKER);
	}
	assert_in_range(looks, 100, 200);
	for (looks = 0; b.f.bits != 0; looks++) {
		assert_true(looks < 40);
		until_scan(&b);
		scan(&b, 0);
	}
	assert_in_range(looks, 25, 32);
	seconds(&b, 20);
	assert_int_equal(scan_due(&b), 0);
}

static void
test_new_connections_of_probes_meet_workers_too(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	until_scan(&b);
	scan(&b, 1);
	scan(&b, 1);
	b.stats.connections = 1000;
	seconds(&b, 11);
	for (unsigned i = 0; i < 31; i++)
		probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, WORKER);
	fresh_silent(&b);
	for (unsigned i = 0; i < 31; i++)
		probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, WORKER);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, 0);
	/* Nor do they count from before a scan that found it again. */
	until_scan(&b);
	b.stats.connections = 10;
	seconds(&b, 11);
	b.f.bits = WORKER;
	for (unsigned i = 0; i < 31; i++)
		probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(scan(&b, 1), 4);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, WORKER);
}

/* Listener ----------------------------------------------------------------- */

static void
test_a_stuck_listener_is_seen_beside_the_kept_connection(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	fresh_silent(&b);
	assert_int_equal(b.f.bits, 0);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
	assert_int_equal(scan(&b, 4), 4);	/* at once */
	assert_int_equal(b.f.bits, 0);		/* does the kept one answer? */
	assert_int_equal(scan_due(&b), 0);
	second(&b);
	assert_int_equal(b.f.bits, LISTENER);
	/* Looked after, until new connections are answered. */
	until_scan(&b);
	scan(&b, 4);
	second(&b);
	assert_int_equal(b.f.bits, LISTENER);
	until_scan(&b);
	scan(&b, 0);
	assert_int_equal(b.f.bits, 0);
}

/* Where it does not answer them, or they are off, that is no reason to. */
static void
test_stats_at_once_for_a_listener(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	b.f.stats_at = b.now + 100 * S;
	fresh_silent(&b);
	assert_int_equal(b.f.stats_at, b.now);
	b = bed_well(0, 0);
	b.f.stats_at = b.now + 100 * S;
	b.f.refused = 3;
	fresh_silent(&b);
	assert_true(b.f.stats_at > b.now + 90 * S);
	b = bed_well(0, 0);
	b.rule.stats_interval = b.f.stats_at = 0;
	fresh_silent(&b);
	assert_int_equal(b.f.stats_at, 0);
}

static void
test_a_fresh_probe_that_is_answered_ends_it(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	fresh_silent(&b);
	scan(&b, 4);
	second(&b);
	assert_int_equal(b.f.bits, LISTENER);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(b.f.unanswered, 0);
}

static void
test_a_lone_silent_connection_is_nothing(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	fresh_silent(&b);
	scan(&b, 0);
	second(&b);
	assert_int_equal(b.f.bits, 0);
	/* Nor are two, with two of four workers stuck. */
	fresh_silent(&b);
	second(&b);
	scan(&b, 2);
	assert_int_equal(b.f.unanswered, 0);
	scan(&b, 2);
	assert_int_equal(b.f.bits, WORKER);
}

static void
test_a_server_that_is_silent_has_no_stuck_listener(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	fresh_silent(&b);
	scan(&b, 4);
	for (unsigned i = 0; i < 5; i++) {
		probe_as(&b, MCSHM_R_TIMEOUT, false, false, 750 * MS);
		probe_as(&b, MCSHM_R_TIMEOUT, true, false, 750 * MS);
	}
	assert_int_equal(b.f.bits, 0);
	/* Back, it is well. */
	seconds(&b, 3);
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(b.f.unanswered, 0);
}

static void
test_without_threads_it_takes_more(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	b.rule.stats_interval = b.rule.scan_interval = 0;
	seconds(&b, 20);
	fresh_silent(&b);
	assert_int_equal(scan(&b, 9), 4);
	second(&b);
	assert_int_equal(b.f.bits, LISTENER);
	/* Scans are off: its workers are nobody's business. */
	until_scan(&b);
	scan(&b, 1);
	assert_int_equal(b.f.bits, 0);
	seconds(&b, 100);
	assert_int_equal(scan_due(&b), 0);
}

/* Each look is one connection, where there is no room for more. */
static void
test_a_stuck_listener_of_a_crowded_server(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	b.stats.connections = 1000;
	seconds(&b, 11);
	fresh_silent(&b);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(b.f.bits, 0);
		until_scan(&b);
		assert_int_equal(scan(&b, 1), 1);
		/* It is judged by a probe that began since, not before. */
		faults_probe(&b.f, &b.rule, &(struct faults_probe){
		    .reason = MCSHM_R_OK, .class = VERDICT_GOOD,
		    .began = b.now - 10 * S, .ended = b.now });
		assert_int_equal(b.f.waiting, 1);
		pass(&b, 100 * S);
		assert_int_equal(scan_due(&b), 0);
		second(&b);
		assert_int_equal(b.f.waiting, 0);
	}
	assert_int_equal(b.f.bits, LISTENER);
}

/* New connections that fail ------------------------------------------------ */

/* Refused, say, beside a kept one that is still there. */
static void
fresh_fails(struct bed *b, enum mcshm_reason reason)
{
	probe_as(b, reason, true, true, MS);
}

static void
scan_fails(struct bed *b)
{
	const uint32_t n = scan_due(b);

	assert_int_not_equal(n, 0);
	scan_of(b, &(struct faults_scan){ .asked = n, .proof = n });
}

/* Who listens is gone: a socket's file was removed, a firewall rejects. */
static void
test_new_connections_that_fail_are_a_stuck_listener(void **state)
{
	static const enum mcshm_reason how[] = { MCSHM_R_REFUSED,
		MCSHM_R_NO_SOCKET, MCSHM_R_RESET, MCSHM_R_CLOSED };

	(void)state;
	for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
		struct bed b = bed_well(0, LISTENER);

		fresh_fails(&b, how[i]);
		assert_int_equal(b.f.bits, 0);
		scan_fails(&b);			/* at once */
		assert_int_equal(b.f.bits, 0);	/* is it its end? */
		second(&b);
		assert_int_equal(b.f.bits, LISTENER);
		assert_int_equal(faults_down(&b.f, &b.rule),
		    MCSHM_R_LISTENER_STUCK);
		/* Still so; then not. */
		until_scan(&b);
		scan_fails(&b);
		second(&b);
		fresh_fails(&b, how[i]);
		second(&b);
		assert_int_equal(b.f.bits, LISTENER);
		until_scan(&b);
		scan(&b, 0);
		assert_int_equal(b.f.bits, 0);
	}
}

/* Somebody has taken it, and said something. */
static void
test_a_wrong_answer_is_no_stuck_listener(void **state)
{
	static const enum mcshm_reason how[] = { MCSHM_R_WRONG_VALUE,
		MCSHM_R_ERROR_REPLY, MCSHM_R_GARBAGE, MCSHM_R_WRONG_VERSION };

	(void)state;
	for (unsigned i = 0; i < sizeof how / sizeof how[0]; i++) {
		struct bed b = bed_well(0, LISTENER);

		for (unsigned n = 0; n < 20; n++) {
			fresh_fails(&b, how[i]);
			second(&b);
		}
		assert_int_equal(b.f.bits, 0);
		assert_int_equal(b.f.unanswered, 0);
		assert_int_equal(scan_due(&b), 0);
		/* Nor is one that was believed any more. */
		fresh_fails(&b, MCSHM_R_REFUSED);
		scan_fails(&b);
		second(&b);
		assert_int_equal(b.f.bits, LISTENER);
		fresh_fails(&b, how[i]);
		assert_int_equal(b.f.bits, 0);
	}
}

/* That is our own fault, with a kept connection or without: it is shown, and
 * nothing else is learnt. */
static void
test_our_certificate_is_refused(void **state)
{
	struct bed b = bed_well(0, LISTENER);
	struct faults_probe p = { .reason = MCSHM_R_TLS_FAILED,
		.class = VERDICT_LOCAL, .fresh = true };

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		p.kept = i % 2 == 0;
		p.began = p.ended = b.now;
		faults_probe(&b.f, &b.rule, &p);
		assert_int_equal(b.f.bits, TLS);
		assert_true(b.f.alive);
		assert_int_equal(b.f.unanswered, 0);
	}
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, 0);
	/* Another fault of ours says nothing of TLS. */
	p.reason = MCSHM_R_LOCAL;
	faults_probe(&b.f, &b.rule, &p);
	assert_int_equal(b.f.bits, 0);
}

/* It may refuse our certificate, which has ended: all of its pool do. */
static void
test_tls_that_fails_is_no_stuck_listener(void **state)
{
	struct bed b = bed_well(0, LISTENER);

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		fresh_fails(&b, MCSHM_R_TLS_FAILED);
		assert_int_equal(b.f.bits, TLS);
		second(&b);
		assert_int_equal(b.f.bits, TLS);
	}
	until_scan(&b);
	scan_of(&b, &(struct faults_scan){ .asked = 4, .no_tls = 4 });
	assert_int_equal(b.f.waiting, 0);
	second(&b);
	scan_of(&b, &(struct faults_scan){ .asked = 4, .proof = 1,
	    .no_tls = 3 });
	assert_int_equal(b.f.waiting, 0);
	second(&b);
	assert_int_equal(b.f.bits, TLS);
	assert_int_equal(faults_down(&b.f, &b.rule), MCSHM_R_OK);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, 0);
	/* By scans alone: it is seen, and so is its end. */
	scan_of(&b, &(struct faults_scan){ .asked = 4, .no_tls = 1,
	    .answered = 3 });
	assert_int_equal(b.f.bits, TLS);
	second(&b);
	assert_int_equal(b.f.bits, TLS);
	scan_of(&b, &(struct faults_scan){ .asked = 4, .answered = 4 });
	second(&b);
	assert_int_equal(b.f.bits, 0);
}

/* Whom nobody wants to know of is not looked after, and not more often than
 * the rules say. */
static void
test_a_listener_that_is_ignored_is_not_looked_after(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct bed b = bed_well(LISTENER, 0);
		unsigned scans = 0, begun = 0;

		if (i == 1)
			b.rule.scan_interval = 0;
		for (unsigned n = 0; n < 600; n++) {
			if (n % 10 == 0)
				fresh_fails(&b, MCSHM_R_REFUSED);
			second(&b);
			if (scan_due(&b) != 0) {
				scan_fails(&b);
				scans++;
				begun += b.f.waiting != 0;
			}
		}
		assert_int_equal(b.f.bits, 0);
		assert_int_equal(begun, 0);
		assert_in_range(scans, i == 0 ? 15 : 0, i == 0 ? 20 : 0);
	}
}

/* By scans alone, where probes make no new connections. */
static void
test_scans_that_fail_are_a_stuck_listener(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	until_scan(&b);
	scan_fails(&b);
	second(&b);
	assert_int_equal(b.f.bits, 0);
	until_scan(&b);
	scan_fails(&b);
	second(&b);
	assert_int_equal(b.f.bits, LISTENER);
	/* Some of the new ones are answered: it says nothing either way. */
	scan_of(&b, &(struct faults_scan){ .asked = 4, .answered = 2,
	    .proof = 2 });
	assert_int_equal(b.f.bits, LISTENER);
	assert_int_equal(b.f.waiting, 0);
	until_scan(&b);
	scan_of(&b, &(struct faults_scan){ .asked = 4, .full = 2, .proof = 2 });
	assert_int_equal(b.f.bits, LISTENER);
	assert_false(b.f.full);
}

/* It was killed between, and the kept connection's end not seen yet: the next
 * probe tells, and nothing is left of that. */
static void
test_a_server_that_was_killed_has_no_stuck_listener(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct bed b = bed_well(0, 0);

		fresh_fails(&b, MCSHM_R_REFUSED);
		if (i & 1)
			scan_fails(&b);
		if (i & 2)		/* or it is back already */
			probe_as(&b, MCSHM_R_OK, true, false, MS);
		else
			probe_as(&b, MCSHM_R_REFUSED, true, false, MS);
		assert_int_equal(b.f.bits, 0);
		assert_int_equal(b.f.unanswered, 0);
		assert_int_equal(b.f.waiting, 0);
		if (!(i & 2))
			assert_int_equal(scan_due(&b), 0);
		seconds(&b, 3);
		assert_int_equal(b.f.bits, 0);
	}
}

/* One that fails is no reason to forget what is known of the process. */
static void
test_what_is_known_outlives_a_new_connection_that_fails(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	until_scan(&b);
	scan(&b, 1);
	scan(&b, 1);
	assert_int_equal(b.f.bits, WORKER);
	fresh_fails(&b, MCSHM_R_REFUSED);
	assert_int_equal(b.f.bits, WORKER);
	fresh_fails(&b, MCSHM_R_NO_SOCKET);
	assert_int_equal(b.f.bits, WORKER);
	probe(&b, MCSHM_R_REFUSED);
	assert_int_equal(b.f.bits, 0);
}

/* Clock -------------------------------------------------------------------- */

static void
test_a_frozen_clock_takes_two_looks(void **state)
{
	struct bed b = bed_well(0, CLOCK);
	unsigned looks = 0;

	(void)state;
	b.stops = true;
	for (unsigned i = 0, doubts = 0; b.f.bits == 0; i++) {
		assert_true(i < 30);
		looks += faults_wants_stats(&b.f, &b.rule, b.now + S - MS);
		second(&b);
		doubts += b.f.still != 0;
		assert_true(doubts <= 4);	/* looked at soon */
	}
	assert_in_range(looks, 2, 4);
	assert_int_equal(b.f.bits, CLOCK);
	assert_int_equal(faults_down(&b.f, &b.rule), MCSHM_R_CLOCK_STUCK);
	seconds(&b, 30);
	assert_int_equal(b.f.bits, CLOCK);
	b.stops = false;
	seconds(&b, 4);			/* it is looked after */
	assert_int_equal(b.f.bits, 0);
}

/* The machine was asleep between two looks; it moves by the time of another. */
static void
test_a_clock_that_only_rested_is_well(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	b.stops = true;
	while (b.f.still == 0)
		second(&b);
	b.stops = false;
	for (unsigned i = 0; i < 20; i++) {
		second(&b);
		assert_int_equal(b.f.bits, 0);
	}
	assert_int_equal(b.f.still, 0);
}

static void
test_looks_in_the_same_second_prove_nothing(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	b.rule.stats_interval = 100 * MS;
	for (unsigned i = 0; i < 100; i++) {
		pass(&b, 99 * MS);
		probe(&b, MCSHM_R_OK);
		assert_int_equal(b.f.still, 0);
	}
	/* Frozen, it takes five seconds, however often we look. */
	b.stops = true;
	for (unsigned i = 0; i < 49; i++) {
		pass(&b, 99 * MS);
		probe(&b, MCSHM_R_OK);
	}
	assert_int_equal(b.f.bits, 0);
	for (unsigned i = 0; i < 12; i++) {
		pass(&b, 99 * MS);
		probe(&b, MCSHM_R_OK);
	}
	assert_int_equal(b.f.bits, CLOCK);
}

static void
test_who_tells_no_time_has_no_clock(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	b.stops = true;
	b.stats.uptime = b.stats.time = 0;
	seconds(&b, 100);
	assert_int_equal(b.f.bits, 0);
}

static void
canary(struct bed *b, enum mcshm_reason reason)
{
	const struct faults_probe p = { .reason = reason,
		.class = class_of[reason], .canary = true, .began = b->now,
		.ended = b->now + MS };

	faults_probe(&b->f, &b->rule, &p);
}

/* Either of its two clocks may be all that it tells, or all that moves. */
static void
test_half_a_clock(void **state)
{
	static const struct {
		bool uptime, time;	/* it tells, */
		unsigned uptimes, times;	/* which go on by */
		bool bit;
	} v[] = { { true, false, 0, 0, true }, { false, true, 0, 0, true },
		{ true, false, 1, 0, false }, { false, true, 0, 1, false },
		{ true, true, 1, 0, false }, { true, true, 0, 1, false },
		{ true, true, 0, 0, true } };

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct bed b = bed_of(0, 0);

		b.stops = true;
		b.stats.uptime *= v[i].uptime;
		b.stats.time *= v[i].time;
		for (unsigned n = 0; n < 60; n++) {
			b.stats.uptime += v[i].uptimes;
			b.stats.time += v[i].times;
			b.f.stats_at = b.now;
			second(&b);
		}
		assert_int_equal(b.f.bits, v[i].bit ? CLOCK : 0);
	}
}

/* Connections, memory ------------------------------------------------------ */

static void
greeted(struct bed *b)
{
	probe_as(b, MCSHM_R_MAXCONNS, true, true, MS);
}

static void
full_scan(struct bed *b, uint32_t asked)
{
	scan_of(b, &(struct faults_scan){ .asked = asked, .full = asked });
}

static void
test_the_greeting_is_maxconns(void **state)
{
	struct bed b = bed_well(0, MAXCONNS);

	(void)state;
	greeted(&b);
	assert_int_equal(b.f.bits, 0);
	seconds(&b, 1);			/* the kept one says nothing of it */
	assert_int_equal(scan_due(&b), 1);
	full_scan(&b, 1);
	assert_int_equal(b.f.bits, MAXCONNS);
	assert_int_equal(faults_down(&b.f, &b.rule), MCSHM_R_MAXCONNS);
	seconds(&b, 1);
	assert_int_equal(b.f.bits, MAXCONNS);
	/* Looked after: turned away again, then not. */
	until_scan(&b);
	assert_int_equal(scan_due(&b), 1);
	full_scan(&b, 1);
	assert_int_equal(b.f.bits, MAXCONNS);
	until_scan(&b);
	scan(&b, 0);
	assert_int_equal(b.f.bits, 0);
	/* Or by greetings alone; who is silent meanwhile waits for nothing. */
	b.f.waiting = 4;
	greeted(&b);
	assert_int_equal(b.f.waiting, 0);
	greeted(&b);
	assert_int_equal(b.f.bits, MAXCONNS);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, 0);
	/* It is looked at without thread scans, too. */
	b.rule.scan_interval = 0;
	greeted(&b);
	second(&b);
	assert_int_equal(scan_due(&b), 1);
}

static void
test_one_greeting_is_nothing(void **state)
{
	struct bed b = bed_well(0, MAXCONNS);

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		greeted(&b);
		assert_int_equal(b.f.bits, 0);
		assert_int_equal(scan_due(&b), 0);	/* a moment later */
		second(&b);
		assert_int_equal(scan(&b, 0), 1);
		seconds(&b, 5);
		assert_int_equal(scan_due(&b), 0);
		greeted(&b);		/* or a new connection is let in */
		probe_as(&b, MCSHM_R_OK, true, false, MS);
		assert_int_equal(b.f.bits, 0);
		assert_false(b.f.full);
	}
	/* The same of a whole scan. */
	until_scan(&b);
	full_scan(&b, 4);
	assert_int_equal(b.f.bits, 0);
	second(&b);
	assert_int_equal(scan_due(&b), 1);
	full_scan(&b, 1);
	assert_int_equal(b.f.bits, MAXCONNS);
}

static void
test_one_look_at_who_does_not_listen_is_nothing(void **state)
{
	struct bed b = bed_well(0, MAXCONNS);

	(void)state;
	b.stats.deaf = true;
	b.f.stats_at = b.now;
	second(&b);
	assert_int_equal(b.f.bits, 0);
	b.stats.deaf = false;
	second(&b);
	assert_int_equal(scan(&b, 0), 1);
	assert_int_equal(b.f.bits, 0);
	/* Or it is so again. */
	b.stats.deaf = true;
	b.f.stats_at = b.now;
	second(&b);
	second(&b);
	assert_int_equal(scan(&b, 1), 1);
	second(&b);
	assert_int_equal(b.f.bits, MAXCONNS);
}

static void
test_who_does_not_listen_any_more_is_full_not_stuck(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	b.stats.deaf = true;
	fresh_silent(&b);
	assert_int_equal(b.f.bits, 0);
	scan(&b, 4);
	second(&b);			/* with stats */
	assert_int_equal(b.f.bits, MAXCONNS);
	for (unsigned i = 0; i < 10; i++) {
		until_scan(&b);
		assert_int_equal(scan(&b, 4), 1);
		second(&b);
		assert_int_equal(b.f.bits, MAXCONNS);
	}
	/* What waits to be judged was by other rules. */
	until_scan(&b);
	b.f.unanswered = 4;
	scan(&b, 4);
	b.stats.deaf = false;
	b.f.stats_at = b.now;
	second(&b);
	assert_int_equal(b.f.bits, MAXCONNS);
	until_scan(&b);
	scan(&b, 0);
	assert_int_equal(b.f.bits, 0);
	/* A probe's connection, or a scan's, was a look already. */
	for (int i = 0; i < 2; i++) {
		b = bed_well(0, 0);
		until_scan(&b);
		if (i == 0)
			fresh_silent(&b);
		else
			assert_int_equal(scan(&b, 4), 4);
		b.stats.deaf = true;
		b.f.stats_at = b.now;
		second(&b);
		assert_int_equal(b.f.bits, MAXCONNS);
	}
}

static void
until_looked(struct bed *b)
{
	for (unsigned i = 0, looked = 0; !looked; i++) {
		assert_true(i < 100);
		looked = faults_wants_stats(&b->f, &b->rule, b->now + S - MS);
		second(b);
	}
}

static void
test_want_of_memory_is_what_grows(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	b.stats.store_no_memory = 1000;	/* long ago */
	seconds(&b, 30);
	assert_int_equal(b.f.bits, 0);
	b.stats.store_no_memory++;
	until_looked(&b);
	assert_int_equal(b.f.bits, 0);
	b.stats.store_no_memory++;
	seconds(&b, 3);			/* it is looked at soon */
	assert_int_equal(b.f.bits, MEMORY);
	seconds(&b, 10);
	b.stats.store_no_memory++;
	until_looked(&b);
	until_looked(&b);
	until_looked(&b);
	assert_int_equal(b.f.bits, MEMORY);
	until_looked(&b);		/* the third calm one */
	assert_int_equal(b.f.bits, 0);
	assert_false(b.f.scarce);
}

/* One set by a client, of a value that is too large for its class. */
static void
test_one_failed_set_is_nothing(void **state)
{
	struct bed b = bed_of(0, MEMORY);
	unsigned looks = 0;

	(void)state;
	seconds(&b, 30);
	for (unsigned i = 0; i < 5; i++) {
		b.stats.store_no_memory++;
		for (unsigned k = 0; k < 60; k++) {
			looks += faults_wants_stats(&b.f, &b.rule,
			    b.now + S - MS);
			second(&b);
			assert_int_equal(b.f.bits, 0);
		}
	}
	assert_in_range(looks, 30, 40);
	/* Now and then one: it is. */
	for (unsigned i = 0; i < 40; i++) {
		b.stats.store_no_memory += i % 10 == 0;
		second(&b);
	}
	assert_int_equal(b.f.bits, MEMORY);
}

/* What a canary met is in the count, too, and was one event. */
static void
test_a_canary_is_not_counted_twice(void **state)
{
	struct bed b = bed_of(0, MEMORY);
	struct faults_probe p = { .reason = MCSHM_R_NO_MEMORY,
		.class = VERDICT_GOOD, .canary = true, .stats = &b.stats };

	(void)state;
	b.rule.canary = true;
	b.stats.store_no_memory = 1000;		/* long ago */
	seconds(&b, 30);
	while (!faults_wants_stats(&b.f, &b.rule, b.now))
		pass(&b, S);
	second(&b);			/* the next look is in ten seconds */
	canary(&b, MCSHM_R_NO_MEMORY);
	b.stats.store_no_memory++;
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now + 3 * S));
	until_looked(&b);
	assert_int_equal(b.f.bits, 0);
	seconds(&b, 60);
	assert_false(b.f.scarce);
	/* In one probe. */
	b.stats.store_no_memory++;
	p.stats_asked = true;
	p.began = p.ended = b.now;
	faults_probe(&b.f, &b.rule, &p);
	assert_int_equal(b.f.bits, 0);
	/* A client's beside it. */
	canary(&b, MCSHM_R_OK);
	b.stats.store_no_memory++;
	until_looked(&b);
	assert_int_equal(b.f.bits, MEMORY);
	/* Of two, one was ours. */
	b = bed_of(0, MEMORY);
	b.rule.canary = true;
	seconds(&b, 30);
	canary(&b, MCSHM_R_NO_MEMORY);
	b.stats.store_no_memory += 2;
	until_looked(&b);
	assert_int_equal(b.f.bits, MEMORY);
}

static void
test_a_canary_that_is_not_stored(void **state)
{
	struct bed b = bed_of(0, MEMORY);

	(void)state;
	b.rule.stats_interval = 0;
	b.rule.canary = true;
	canary(&b, MCSHM_R_NO_MEMORY);
	assert_int_equal(b.f.bits, 0);
	canary(&b, MCSHM_R_NO_MEMORY);
	assert_int_equal(b.f.bits, MEMORY);
	assert_int_equal(faults_down(&b.f, &b.rule), MCSHM_R_NO_MEMORY);
	canary(&b, MCSHM_R_OK);
	canary(&b, MCSHM_R_OK);
	canary(&b, MCSHM_R_NO_MEMORY);
	canary(&b, MCSHM_R_OK);
	canary(&b, MCSHM_R_OK);
	assert_int_equal(b.f.bits, MEMORY);
	canary(&b, MCSHM_R_OK);
	assert_int_equal(b.f.bits, 0);
}

/* A value of one size is stored: that all are is for stats to say, where these
 * come. */
static void
test_when_a_canary_ends_want_of_memory(void **state)
{
	static const struct {
		uint64_t stats_interval;
		bool counted, refused, canary, good, ends;
	} v[] = {
		{ 10 * S, true, false, true, true, false },
		{ 0, true, false, true, true, true },
		{ 10 * S, false, false, true, true, true },
		{ 10 * S, true, true, true, true, true },
		{ 0, true, false, false, true, false },
		{ 0, true, false, true, false, false } };

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct bed b = bed_of(0, 0);

		b.rule.canary = true;
		b.rule.stats_interval = v[i].stats_interval;
		b.f.bits = MEMORY;
		b.f.scarce = true;
		b.f.counted = v[i].counted;
		b.f.refused = v[i].refused;
		for (unsigned n = 0; n < 3; n++) {
			const struct faults_probe p = {
				.reason = v[i].good ? MCSHM_R_OK :
				    MCSHM_R_GARBAGE,
				.class = v[i].good ? VERDICT_GOOD :
				    VERDICT_PROOF,
				.canary = v[i].canary, .began = b.now,
				.ended = b.now };

			assert_int_equal(b.f.bits, MEMORY);
			faults_probe(&b.f, &b.rule, &p);
		}
		assert_int_equal(b.f.bits, v[i].ends ? 0 : MEMORY);
	}
}

/* Slow --------------------------------------------------------------------- */

static void
answers(struct bed *b, unsigned n, uint64_t took)
{
	for (unsigned i = 0; i < n; i++) {
		probe_as(b, MCSHM_R_OK, false, false, took);
		pass(b, S - took);
	}
}

static void
test_slow_takes_several_answers(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	answers(&b, 50, MS / 5);
	answers(&b, 1, 700 * MS);	/* one is nothing */
	assert_int_equal(b.f.bits, 0);
	answers(&b, 20, MS / 5);
	answers(&b, 2, 700 * MS);
	assert_int_equal(b.f.bits, 0);
	answers(&b, 4, 700 * MS);
	assert_int_equal(b.f.bits, SLOW);
	/* It is not fed meanwhile: slow stays slow. */
	answers(&b, 3000, 700 * MS);
	assert_int_equal(b.f.bits, SLOW);
	assert_true(b.f.usual < 40 * MS);
	/* It leaves at half the threshold. */
	answers(&b, 50, 80 * MS);
	assert_int_equal(b.f.bits, SLOW);
	answers(&b, 20, MS);
	assert_int_equal(b.f.bits, 0);
}

static void
test_slow_is_against_its_own_history(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	answers(&b, 500, 150 * MS);	/* far away, as ever */
	assert_int_equal(b.f.bits, 0);
	answers(&b, 20, 500 * MS);
	assert_int_equal(b.f.bits, 0);
	answers(&b, 20, 740 * MS);
	assert_int_equal(b.f.bits, SLOW);
	b.rule.slow_threshold = 0;
	answers(&b, 1, 740 * MS);
	assert_int_equal(b.f.bits, 0);
}

static void
test_what_is_not_its_time_does_not_count(void **state)
{
	struct bed b = bed_of(0, 0);
	struct faults_probe p = { .reason = MCSHM_R_OK,
		.class = VERDICT_GOOD, .timed = false };

	(void)state;
	answers(&b, 50, MS);
	for (unsigned i = 0; i < 20; i++) {	/* new connections */
		probe_as(&b, MCSHM_R_OK, true, false, 700 * MS);
		p.began = b.now;
		p.ended = b.now + 700 * MS;
		faults_probe(&b.f, &b.rule, &p);
	}
	assert_int_equal(b.f.bits, 0);
	assert_true(b.f.usual < 2 * MS);
}

/* Where there are no others they do; connecting is in them, and was ever. */
static void
test_where_all_connections_are_new_their_times_count(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		probe_as(&b, MCSHM_R_OK, true, false, 40 * MS);
	assert_int_equal(b.f.bits, 0);
	assert_in_range(b.f.usual, 30 * MS, 50 * MS);
	for (unsigned i = 0; i < 10; i++)
		probe_as(&b, MCSHM_R_OK, true, false, 700 * MS);
	assert_int_equal(b.f.bits, SLOW);
	for (unsigned i = 0; i < 30; i++)
		probe_as(&b, MCSHM_R_OK, true, false, 40 * MS);
	assert_int_equal(b.f.bits, 0);
}

static void
test_times_of_new_and_kept_connections_do_not_mix(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	answers(&b, 300, MS);
	for (unsigned i = 0; i < 100; i++) {	/* each other one is new */
		probe_as(&b, MCSHM_R_OK, true, false, 90 * MS);
		answers(&b, 1, MS);
	}
	assert_true(b.f.usual < 2 * MS);
	for (unsigned i = 0; i < 20; i++)	/* all are, from now on */
		probe_as(&b, MCSHM_R_OK, true, false, 90 * MS);
	assert_in_range(b.f.usual, 80 * MS, 100 * MS);
	answers(&b, 20, MS);			/* and none is */
	assert_true(b.f.usual < 2 * MS);
	assert_int_equal(b.f.bits, 0);
	/* What an earlier daemon learnt is of the kind that is met. */
	faults_begin(&b.f, &b.rule, 0, 300 * MS, 0, b.now);
	for (unsigned i = 0; i < 20; i++)
		probe_as(&b, MCSHM_R_OK, true, false, 350 * MS);
	assert_in_range(b.f.usual, 300 * MS, 320 * MS);
}

/* We may have been as late as that ourselves. */
static void
test_a_busy_loop_makes_nobody_slow(void **state)
{
	struct bed b = bed_of(0, 0);
	struct faults_probe p = { .reason = MCSHM_R_OK, .timed = true,
		.class = VERDICT_GOOD, .busy = 650 * MS };

	(void)state;
	answers(&b, 50, MS);
	for (unsigned i = 0; i < 20; i++) {
		p.began = b.now;
		p.ended = b.now + 700 * MS;
		faults_probe(&b.f, &b.rule, &p);
		pass(&b, S);
	}
	assert_int_equal(b.f.bits, 0);
	p.busy = 400 * MS;
	for (unsigned i = 0; i < 20; i++) {
		p.began = b.now;
		p.ended = b.now + 5000 * MS;
		faults_probe(&b.f, &b.rule, &p);
		pass(&b, S);
	}
	assert_int_equal(b.f.bits, SLOW);
}

static void
test_a_first_answer_that_is_slow_is_forgotten(void **state)
{
	struct bed b = bed_of(0, 0);

	(void)state;
	answers(&b, 1, 700 * MS);
	answers(&b, 300, MS);
	assert_int_equal(b.f.bits, 0);
	assert_true(b.f.usual < 4 * MS);
	assert_true(b.f.usual > MS / 2);
}

/* Reasons, policies -------------------------------------------------------- */

static void
test_logins_and_certificates_come_with_the_answer(void **state)
{
	struct bed b = bed_of(0, 0);
	struct faults_probe ends = { .reason = MCSHM_R_OK,
		.class = VERDICT_GOOD, .tls_ends = true };

	(void)state;
	probe(&b, MCSHM_R_UNAUTHENTICATED);
	assert_int_equal(b.f.bits, LOGIN);
	probe(&b, MCSHM_R_LOGIN_REFUSED);
	assert_int_equal(b.f.bits, LOGIN);
	probe(&b, MCSHM_R_TIMEOUT);
	assert_int_equal(b.f.bits, LOGIN);
	probe(&b, MCSHM_R_OK);
	assert_int_equal(b.f.bits, 0);
	/* Only a handshake shows a certificate. */
	probe_as(&b, MCSHM_R_TLS_UNTRUSTED, true, false, MS);
	probe(&b, MCSHM_R_OK);
	assert_int_equal(b.f.bits, TLS);
	probe_as(&b, MCSHM_R_OK, true, false, MS);
	assert_int_equal(b.f.bits, 0);
	faults_probe(&b.f, &b.rule, &ends);
	assert_int_equal(b.f.bits, TLS);
}

static void
test_what_is_ignored_is_never_set(void **state)
{
	const uint64_t all = WORKER | LISTENER | CLOCK | MAXCONNS | MEMORY |
	    SLOW;
	struct bed b = bed_of(all, all);

	(void)state;
	b.stops = true;
	for (unsigned i = 0; i < 100; i++) {
		b.stats.store_no_memory++;
		second(&b);
		probe_as(&b, MCSHM_R_MAXCONNS, true, false, MS);
		answers(&b, 5, 700 * MS);
		assert_int_equal(b.f.bits, 0);
		fresh_silent(&b);
		if (scan_due(&b) != 0)
			scan(&b, i % 2 ? 1 : 4);
		second(&b);
		assert_int_equal(b.f.bits, 0);
		assert_int_equal(faults_down(&b.f, &b.rule), MCSHM_R_OK);
	}
	/* And no scan is made for a bit that nobody wants. */
	b = bed_of(WORKER, 0);
	for (unsigned i = 0; i < 100; i++) {
		second(&b);
		assert_int_equal(scan_due(&b), 0);
	}
}

static void
test_each_policy_has_its_reason(void **state)
{
	static const struct { uint64_t bit; enum mcshm_reason reason; } v[] = {
		{ WORKER, MCSHM_R_WORKER_STUCK },
		{ LISTENER, MCSHM_R_LISTENER_STUCK },
		{ CLOCK, MCSHM_R_CLOCK_STUCK }, { MAXCONNS, MCSHM_R_MAXCONNS },
		{ MEMORY, MCSHM_R_NO_MEMORY }, { SLOW, MCSHM_R_SLOW },
		{ LOGIN, MCSHM_R_OK }, { TLS, MCSHM_R_OK } };

	(void)state;
	for (unsigned i = 0; i < sizeof v / sizeof v[0]; i++) {
		struct faults f = { .bits = v[i].bit };
		const struct faults_rule degraded = { .down = 0 };
		const struct faults_rule down = { .down = v[i].bit };
		const struct faults_rule other = { .down = ~v[i].bit };

		assert_int_equal(faults_down(&f, &degraded), MCSHM_R_OK);
		assert_int_equal(faults_down(&f, &other), MCSHM_R_OK);
		assert_int_equal(faults_down(&f, &down),
		    v[i].reason);
	}
}

/* Other processes ---------------------------------------------------------- */

static void
test_another_process_begins_well(void **state)
{
	struct bed b = bed_well(0, 0);

	(void)state;
	b.f.bits = WORKER | LISTENER | CLOCK | MEMORY;
	b.f.stuck = 1;
	probe(&b, MCSHM_R_RESET);	/* that may be anything */
	assert_int_not_equal(b.f.bits, 0);
	probe(&b, MCSHM_R_REFUSED);
	assert_int_equal(b.f.bits, 0);
	assert_int_equal(b.f.stuck, 0);
	assert_int_equal(b.f.threads, 4);
	/* Or it was seen by its clock alone. */
	seconds(&b, 25);
	b.f.bits = WORKER;
	b.stats.uptime = 1;
	seconds(&b, 25);
	assert_int_equal(b.f.bits, 0);
	/* Or by its pid, where nobody looked for longer than the old one was
	 * up; and it has another count. */
	b.f.bits = WORKER;
	b.stats.pid++;
	b.stats.store_no_memory = 7;
	b.f.stats_at = b.now;
	second(&b);
	assert_int_equal(b.f.bits, 0);
	seconds(&b, 25);
	assert_int_equal(b.f.bits, 0);
	assert_false(b.f.scarce);
	/* It may not say. */
	b.f.bits = LISTENER;
	b.stats.pid = 0;
	seconds(&b, 1);
	assert_int_equal(b.f.pid, 4712);
	b.f.stats_at = b.now;
	second(&b);
	assert_int_equal(b.f.bits, LISTENER);
}

static void
test_an_earlier_daemons_faults_are_looked_at(void **state)
{
	struct bed b = bed_of(SLOW, 0);

	(void)state;
	faults_begin(&b.f, &b.rule, WORKER | CLOCK | SLOW |
	    MCSHM_DEGRADED_STALE_RISK, 300000, 7 * S, b.now);
	assert_int_equal(b.f.bits, WORKER | CLOCK);
	assert_int_equal(b.f.usual, 300000);
	second(&b);
	assert_true(faults_wants_stats(&b.f, &b.rule, b.now));
	second(&b);
	assert_int_equal(b.f.bits, WORKER);	/* it tells the time */
	assert_int_equal(scan(&b, 0), 4);
	until_scan(&b);
	scan(&b, 0);
	assert_int_equal(b.f.bits, 0);
	faults_begin(&b.f, &b.rule, MAXCONNS | MEMORY, 0, 7 * S, b.now);
	second(&b);
	assert_int_equal(scan(&b, 0), 1);
	assert_int_equal(b.f.bits, MEMORY);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(b.f.bits, MEMORY);
		until_looked(&b);
	}
	assert_int_equal(b.f.bits, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(test_##name)
		T(stats_are_spread_and_regular),
		T(who_hangs_up_on_stats_is_asked_less),
		T(a_killed_server_is_no_reason_to_ask_less),
		T(who_lets_us_in_is_asked_at_once),
		T(who_is_asked_in_another_way_is_asked_at_once),
		T(scans_are_regular),
		T(no_scan_without_threads_or_answers),
		T(a_crowded_server_is_not_scanned),
		T(many_threads_are_scanned_in_part),
		T(intervals_of_a_reload_count),
		T(a_reload_ends_what_is_not_looked_for),
		T(a_reload_ends_doubts),
		T(a_stuck_worker_takes_two_scans),
		T(how_soon_a_fault_is_looked_at),
		T(one_bad_scan_is_nothing),
		T(the_smaller_number_of_stuck_workers_is_sure),
		T(a_silence_asks_for_no_scan),
		T(lost_packets_are_no_stuck_worker),
		T(a_void_scan_says_nothing),
		T(a_stuck_worker_of_a_crowded_server),
		T(new_connections_of_probes_meet_workers_too),
		T(a_stuck_listener_is_seen_beside_the_kept_connection),
		T(stats_at_once_for_a_listener),
		T(a_fresh_probe_that_is_answered_ends_it),
		T(a_lone_silent_connection_is_nothing),
		T(a_server_that_is_silent_has_no_stuck_listener),
		T(without_threads_it_takes_more),
		T(a_stuck_listener_of_a_crowded_server),
		T(new_connections_that_fail_are_a_stuck_listener),
		T(a_wrong_answer_is_no_stuck_listener),
		T(tls_that_fails_is_no_stuck_listener),
		T(our_certificate_is_refused),
		T(a_listener_that_is_ignored_is_not_looked_after),
		T(scans_that_fail_are_a_stuck_listener),
		T(a_server_that_was_killed_has_no_stuck_listener),
		T(what_is_known_outlives_a_new_connection_that_fails),
		T(a_frozen_clock_takes_two_looks),
		T(a_clock_that_only_rested_is_well),
		T(looks_in_the_same_second_prove_nothing),
		T(who_tells_no_time_has_no_clock),
		T(half_a_clock),
		T(the_greeting_is_maxconns),
		T(one_greeting_is_nothing),
		T(one_look_at_who_does_not_listen_is_nothing),
		T(who_does_not_listen_any_more_is_full_not_stuck),
		T(want_of_memory_is_what_grows),
		T(one_failed_set_is_nothing),
		T(a_canary_is_not_counted_twice),
		T(a_canary_that_is_not_stored),
		T(when_a_canary_ends_want_of_memory),
		T(slow_takes_several_answers),
		T(slow_is_against_its_own_history),
		T(what_is_not_its_time_does_not_count),
		T(where_all_connections_are_new_their_times_count),
		T(times_of_new_and_kept_connections_do_not_mix),
		T(a_busy_loop_makes_nobody_slow),
		T(a_first_answer_that_is_slow_is_forgotten),
		T(logins_and_certificates_come_with_the_answer),
		T(what_is_ignored_is_never_set),
		T(each_policy_has_its_reason),
		T(another_process_begins_well),
		T(an_earlier_daemons_faults_are_looked_at),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
