/*
 * hammer_write.c - the daemon's publish.c, driven through its own interface.
 *
 * Of a round, all entries are in the mailbox before the thread may take them;
 * the next round begins when this one is visible.  So rounds are never mixed by
 * the driver: a reader that sees two has found a fault.
 */
#include "hammer.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static struct publish_time
now(void)
{
	struct timespec b, r;

	clock_gettime(CLOCK_BOOTTIME, &b);
	clock_gettime(CLOCK_REALTIME, &r);
	return (struct publish_time){
		.boot = (uint64_t)b.tv_sec * 1000000000 + (uint64_t)b.tv_nsec,
		.real = (uint64_t)r.tv_sec * 1000000000 +
		    (uint64_t)r.tv_nsec };
}

static void
watch_again(struct writer *w)
{
	const int err = mcshm_refresh(w->watch);

	if (err < 0)
		hammer_fault(w->board, "the writer can not follow itself: %s",
		    mcshm_strerror(err));
}

void
writer_open(struct writer *w, struct board *b, unsigned roster)
{
	static const struct publish_about about = { .version = "1" };
	struct publish_roster r = fact_roster(roster);
	struct publish_trouble t;

	*w = (struct writer){ .board = b, .roster = roster,
		.round = b->round };
	if (publish_open(&w->p, b->path, &r, &about, now(), &t) != 0 ||
	    publish_start(w->p) != 0 ||
	    mcshm_open(&w->watch, b->path, 0) != 0) {
		fprintf(stderr, "hammer: %s: %s\n", t.what, strerror(t.error));
		exit(1);
	}
	servers_free(&r.servers);
}

static void
set_all(struct writer *w)
{
	const uint32_t n = fact_servers(w->roster);

	w->round++;
	for (uint32_t i = 0; i < n; i++) {
		const struct publish_entry e = fact_entry(w->round, i);

		publish_set(w->p, i, &e);
	}
}

/* For readers that may not ask the library which roster this is. */
static void
tell_roster(struct writer *w)
{
	const uint64_t i = w->board->replaced + w->board->removed;
	struct mcshm_choice c;

	mcshm_pick(w->watch, "k", 1, &c);
	w->board->known[i % 64].file = 0;
	w->board->known[i % 64].roster = w->roster;
	w->board->known[i % 64].file = c.roster & ROSTER_BITS;
}

/* The thread has published it when a reader sees it. */
static bool
is_visible(struct writer *w)
{
	struct mcshm_state v;

	return mcshm_snapshot(w->watch, &v, 1, sizeof v, NULL, 0) > 0 &&
	    v.checked == w->round;
}

void
writer_publish(struct writer *w)
{
	set_all(w);
	publish_now(w->p);
	while (!is_visible(w) && !w->board->over)
		sched_yield();
	w->board->round = w->round;
	w->board->publishes++;
}

/* Until the thread has told of this; it works with the beat. */
static void
await(struct writer *w, enum publish_kind kind)
{
	struct publish_event ev = { .kind = PUBLISH_WORKS };

	for (unsigned i = 0; ev.kind != kind && !w->board->over; i++) {
		const struct timespec t = { .tv_nsec = 100000 };

		if (i % 100 == 0)
			publish_beat(w->p, now());
		if (!publish_event(w->p, &ev))
			nanosleep(&t, NULL);
		else if (ev.kind == PUBLISH_FAILED)
			hammer_fault(w->board, "%s: %s", ev.what,
			    strerror(ev.error));
	}
	watch_again(w);
}

void
writer_replace(struct writer *w, unsigned roster)
{
	static const struct publish_about about = { .version = "1" };
	const uint32_t n = fact_servers(roster);
	struct publish_roster r = fact_roster(roster);
	struct publish_entry *e = calloc(n, sizeof *e);

	w->round++;
	for (uint32_t i = 0; i < n; i++)
		e[i] = fact_entry(w->round, i);
	if (publish_roster(w->p, &r, &about, e) != 0)
		abort();
	w->roster = roster;
	publish_exchange(w->p);
	await(w, PUBLISH_EXCHANGED);
	w->board->round = w->round;
	w->board->replaced++;
	tell_roster(w);
	free(e);
	servers_free(&r.servers);
}

void
writer_remove(struct writer *w)
{
	if (unlink(w->board->path) != 0)
		hammer_fault(w->board, "unlink: %s", strerror(errno));
	await(w, PUBLISH_REMADE);
	w->board->removed++;
	tell_roster(w);
}

void
writer_close(struct writer *w)
{
	mcshm_close(w->watch);
	publish_close(w->p);
}
