/*
 * reader.c - a process that reads a pool all the time, for the soak.
 *
 *	reader watch POOL		each state that the file ever shows
 *	reader pick POOL KEYS RATE	picks k0 .. kKEYS-1, RATE a second
 *
 * Says on stdout, a line each, what it saw and when (ns of CLOCK_BOOTTIME: two
 * of them, and it was so at some time between).  Both begin a roster with
 *
 *	R ROSTER NAME@PORT ...		in slot order
 *
 * and go on with, while watching,
 *
 *	T FROM TO ROSTER GENERATION PID AGE ALIVE STALE FAIL_OPEN SUPERSEDED
 *	V SLOT VERDICT ADMIN USABLE HELD SINCE DOWN BACK PROBES FAILURES
 *		for each server that changed since the last T, for all of them
 *		once a second
 * and, while picking, with one line for each 50 ms,
 *
 *	W FROM TO ROSTER PICKS WORST NONE BITS ...
 *		BITS of each slot in hex, see below; WORST: ns of one pick
 *
 * Must not judge what it sees: what may be is the model's business.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mcshm.h"

#define SERVERS_MAX 512
#define MS INT64_C(1000000)
#define WINDOW (50 * MS)
#define BURST (5 * MS)
#define SECOND (1000 * MS)

enum {
	ANSWERED = 1,		/* the answer to a key */
	ANSWERED_BLIND = 2,	/* the same, with nobody who vouches for it */
	AWAY = 4,		/* a key of this home was sent elsewhere */
	AWAY_BLIND = 8,
	HELD = 16,		/* a key that leads here is a miss */
	OTHER = 32		/* any other error where this is home */
};

struct reader {
	struct mcshm *m;
	struct mcshm_server server[SERVERS_MAX];
	struct mcshm_state state[SERVERS_MAX], last[SERVERS_MAX];
	uint64_t roster;
	uint32_t servers;
	uint32_t bits[SERVERS_MAX];
	bool fresh;			/* nothing is in last */
};

static int64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * SECOND + (int64_t)t.tv_nsec;
}

static unsigned
port_of(const struct mcshm_server *s)
{
	/* sin_port and sin6_port stand at the same place. */
	return ntohs(((const struct sockaddr_in *)&s->addr)->sin_port);
}

/* Learn the roster that is there now; false: it can not be had. */
static bool
learn(struct reader *r)
{
	const int n = mcshm_servers(r->m, r->server, SERVERS_MAX,
	    sizeof *r->server, &r->roster);

	if (n < 0 || n > SERVERS_MAX) {
		r->roster = 0;
		return false;
	}
	r->servers = (uint32_t)n;
	r->fresh = true;
	printf("R %" PRIx64, r->roster);
	for (int i = 0; i < n; i++)
		printf(" %s@%u", r->server[i].name, port_of(&r->server[i]));
	printf("\n");
	return true;
}

/* Watching ---------------------------------------------------------------- */

static bool
same(const struct mcshm_state *a, const struct mcshm_state *b)
{
	return a->verdict == b->verdict && a->admin == b->admin &&
	    a->usable == b->usable && a->held == b->held &&
	    a->since == b->since;
}

static void
print_state(uint32_t slot, const struct mcshm_state *v)
{
	printf("V %" PRIu32 " %u %u %u %u %" PRIu64 " %" PRIu64 " %" PRIu64
	    " %" PRIu64 " %" PRIu64 "\n", slot, v->verdict, v->admin,
	    v->usable, v->held, v->since, v->down_since, v->back_since,
	    v->probes, v->failures);
}

static void
print_states(struct reader *r, bool all)
{
	for (uint32_t i = 0; i < r->servers; i++) {
		if (all || r->fresh || !same(&r->state[i], &r->last[i]))
			print_state(i, &r->state[i]);
		r->last[i] = r->state[i];
	}
	r->fresh = false;
}

/* One look; the generation seen, 0: none. */
static uint64_t
look(struct reader *r, bool all)
{
	struct mcshm_status st;
	const int64_t from = now_ns();
	const int n = mcshm_snapshot(r->m, r->state, SERVERS_MAX,
	    sizeof *r->state, &st, sizeof st);
	const int64_t to = now_ns();

	if (n < 0)
		return 0;
	if (st.roster != r->roster && !learn(r))
		return 0;
	if (st.roster != r->roster || (uint32_t)n != r->servers)
		return 0;		/* replaced just now: look again */
	printf("T %" PRId64 " %" PRId64 " %" PRIx64 " %" PRIu64 " %" PRId64
	    " %" PRIu64 " %u %u %u %u\n", from, to, st.roster, st.generation,
	    st.pid, st.heartbeat_age, st.alive, st.stale, st.fail_open,
	    st.superseded);
	print_states(r, all);
	return st.generation;
}

static int
watch(struct reader *r)
{
	const struct timespec moment = { 0, BURST };
	int64_t told = 0;

	for (;;) {
		const bool all = now_ns() - told >= SECOND;
		const uint64_t seen = look(r, all);
		uint64_t now;

		if (fflush(stdout) != 0)
			return 0;
		if (all && seen != 0)
			told = now_ns();
		if (seen == 0)
			nanosleep(&moment, NULL);
		else
			mcshm_wait(r->m, seen, 50 * MS, &now);
	}
}

/* Picking ----------------------------------------------------------------- */

struct window {
	int64_t from, worst;
	uint64_t picks, none;
};

static void
note(struct reader *r, const struct mcshm_choice *c, int err)
{
	const bool blind = c->flags & MCSHM_BLIND;

	if (err == MCSHM_EHELD)
		r->bits[c->slot] |= HELD;
	else if (err != 0)
		r->bits[c->home] |= OTHER;
	else
		r->bits[c->slot] |= blind ? ANSWERED_BLIND : ANSWERED;
	if (err != 0 && err != MCSHM_EHELD)
		return;
	if (c->slot != c->home)
		r->bits[c->home] |= blind ? AWAY_BLIND : AWAY;
}

static void
print_window(struct reader *r, const struct window *w, int64_t to)
{
	printf("W %" PRId64 " %" PRId64 " %" PRIx64 " %" PRIu64 " %" PRId64
	    " %" PRIu64, w->from, to, r->roster, w->picks, w->worst, w->none);
	for (uint32_t i = 0; i < r->servers; i++)
		printf(" %" PRIx32, r->bits[i]);
	printf("\n");
	memset(r->bits, 0, sizeof r->bits);
}

static void
pick_one(struct reader *r, struct window *w, unsigned key)
{
	struct mcshm_choice c = { .home = UINT32_MAX, .slot = UINT32_MAX };
	char text[16];
	const int len = snprintf(text, sizeof text, "k%u", key);
	const int64_t began = now_ns();
	const int err = mcshm_pick(r->m, text, (size_t)len, &c);
	const int64_t took = now_ns() - began;

	if (took > w->worst)
		w->worst = took;
	w->picks++;
	if (c.roster != r->roster && c.roster != 0) {
		print_window(r, w, began);
		*w = (struct window){ .from = began };
		learn(r);
		return;			/* asked again with the next round */
	}
	if (err == MCSHM_ENONE || c.home >= r->servers ||
	    ((err == 0 || err == MCSHM_EHELD) && c.slot >= r->servers))
		w->none++;
	else
		note(r, &c, err);
}

static int
pick(struct reader *r, unsigned keys, unsigned rate)
{
	const struct timespec pause = { 0, BURST };
	const unsigned burst = rate / (unsigned)(SECOND / BURST) + 1;
	struct window w = { .from = now_ns() };
	unsigned key = 0;

	for (;;) {
		for (unsigned i = 0; i < burst; i++, key = (key + 1) % keys)
			pick_one(r, &w, key);
		if (now_ns() - w.from >= WINDOW) {
			print_window(r, &w, now_ns());
			w = (struct window){ .from = now_ns() };
			if (fflush(stdout) != 0)
				return 0;
		}
		nanosleep(&pause, NULL);
	}
}

int
main(int argc, char **argv)
{
	static struct reader r;
	const bool picks = argc == 5 && strcmp(argv[1], "pick") == 0;
	int err;

	if (!picks && (argc != 3 || strcmp(argv[1], "watch") != 0)) {
		fprintf(stderr, "usage: reader watch POOL"
		    " | pick POOL KEYS RATE\n");
		return 64;
	}
	err = mcshm_open(&r.m, argv[2], 0);
	if (err != 0) {
		fprintf(stderr, "reader: %s: %s\n", argv[2],
		    mcshm_strerror(err));
		return 69;
	}
	learn(&r);
	return picks ? pick(&r, (unsigned)strtoul(argv[3], NULL, 10),
	    (unsigned)strtoul(argv[4], NULL, 10)) : watch(&r);
}
