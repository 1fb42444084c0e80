/*
 * step_watch.c - looks, by the library's own functions, and what is wrong with
 * what was seen.
 */
#include "step_watch.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "reader.h"

static uint64_t clock_now;

void
watch_time(uint64_t boot)
{
	clock_now = boot;
}

static uint64_t
still_clock(void)
{
	return clock_now;
}

static bool wrong(struct watch *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool
wrong(struct watch *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->why, sizeof w->why, fmt, ap);
	va_end(ap);
	return false;
}

/* Looking ------------------------------------------------------------------ */

static bool
take_picks(struct watch *w, struct seen *s)
{
	for (unsigned i = 0; i < SCENE_KEYS; i++) {
		char key[SCENE_KEY_LEN];
		const size_t len = scene_key(key, i);

		s->err[i] = mcshm_pick(w->m, key, len, &s->choice[i]);
		if (i == 0 && w->what == WATCH_PICKS)
			s->roster = s->choice[0].roster;
		if (s->choice[i].roster != s->roster)
			return wrong(w, "pick %u: roster %#jx in a look at "
			    "roster %#jx", i, (uintmax_t)s->choice[i].roster,
			    (uintmax_t)s->roster);
	}
	return true;
}

static bool
take_states(struct watch *w, struct seen *s, bool status)
{
	const int n = mcshm_snapshot(w->m, s->state, SCENE_SERVERS,
	    sizeof s->state[0], status ? &s->status : NULL,
	    status ? sizeof s->status : 0);

	s->servers = mcshm_servers(w->m, s->server, SCENE_SERVERS,
	    sizeof s->server[0], &s->roster);
	if (n < 0 || s->servers < 0)
		return wrong(w, "mcshm_snapshot: %s; mcshm_servers: %s",
		    n < 0 ? mcshm_strerror(n) : "fine",
		    s->servers < 0 ? mcshm_strerror(s->servers) : "fine");
	if (n != s->servers || (status && s->status.roster != s->roster))
		return wrong(w, "%d states, %d servers; rosters %#jx and %#jx "
		    "in one look", n, s->servers, (uintmax_t)s->status.roster,
		    (uintmax_t)s->roster);
	return true;
}

/* The server of each choice is the one that the list has there. */
static bool
check_choices(struct watch *w, const struct seen *s)
{
	for (unsigned i = 0; i < SCENE_KEYS; i++) {
		const struct mcshm_choice *c = &s->choice[i];
		struct mcshm_server one;
		const int err = mcshm_server(w->m, c, &one, sizeof one);

		if (err != 0 || c->slot >= (uint32_t)s->servers ||
		    c->home >= (uint32_t)s->servers ||
		    memcmp(&one, &s->server[c->slot], sizeof one) != 0)
			return wrong(w, "pick %u: slot %u of %d: %s", i,
			    c->slot, s->servers, err != 0 ?
			    mcshm_strerror(err) : "another server");
	}
	return true;
}

static bool
take(struct watch *w, struct seen *s, bool alive)
{
	memset(s, 0, sizeof *s);
	if (w->what == WATCH_PICKS)
		return take_picks(w, s);
	if (!take_states(w, s, w->what == WATCH_ALL) || !take_picks(w, s) ||
	    !check_choices(w, s))
		return false;
	if (w->what == WATCH_ALL && s->status.alive != alive &&
	    !(w->lost && w->stage == BEFORE))
		return wrong(w, "alive is %d", s->status.alive);
	return true;
}

/* Judging ------------------------------------------------------------------ */

/* What only the run can tell is no part of a stage. */
static void
level(struct seen *s)
{
	for (unsigned i = 0; i < SCENE_KEYS; i++)
		s->choice[i].roster = 0;
	s->status.roster = s->status.generation = 0;
	s->status.heartbeat_age = 0;
	s->status.alive = 0;
	s->status.pid = 0;
}

/* Where a look differs from what is expected; "" where it does not. */
static const char *
difference(char text[80], const struct watch *w, const struct seen *s,
    const struct seen *e)
{
	text[0] = 0;
	for (unsigned i = 0; i < SCENE_KEYS; i++)
		if (s->err[i] != e->err[i] || memcmp(&s->choice[i],
			&e->choice[i], sizeof e->choice[i]) != 0)
			snprintf(text, 80, "key %u (%d, slot %u not %d, %u; "
			    "flags %#x)", i, s->err[i], s->choice[i].slot,
			    e->err[i], e->choice[i].slot, s->choice[i].flags);
	if (w->what == WATCH_PICKS)
		return text;
	if (s->servers != e->servers)
		snprintf(text, 80, "%d servers", s->servers);
	for (int i = 0; i < SCENE_SERVERS; i++)
		if (memcmp(&s->server[i], &e->server[i],
			sizeof e->server[i]) != 0)
			snprintf(text, 80, "server %d", i);
	for (int i = 0; i < SCENE_SERVERS; i++)
		if (memcmp(&s->state[i], &e->state[i],
			sizeof e->state[i]) != 0)
			snprintf(text, 80, "state %d", i);
	if (w->what == WATCH_ALL &&
	    memcmp(&s->status, &e->status, sizeof e->status) != 0)
		snprintf(text, 80, "status (usable %u, stale %u, follow_error "
		    "%d)", s->status.usable, s->status.stale,
		    s->status.follow_error);
	return text;
}

/* Two stages can say the same: then the file's name for itself tells them
 * apart. */
static bool
is_same_state(struct watch *w, uint64_t roster, uint64_t generation)
{
	if (w->restated && roster == w->roster && generation > w->generation)
		w->generation = generation;
	return roster == w->roster && generation == w->generation;
}

/* From the stage seen last to a later one. */
static bool
check_progress(struct watch *w, enum stage stage, uint64_t roster,
    uint64_t generation)
{
	const bool file = ((roster ^ w->roster) & ~MCSHM_ROSTER_EPOCH) != 0;
	const uint64_t next = w->replaced ?
	    mcshm_generation_after(w->generation) : w->generation + 1;

	if (stage == AFTER && file != w->replaced)
		return wrong(w, "the new state is %s file",
		    file ? "another" : "in the same");
	if (w->what != WATCH_ALL)
		return true;
	if (stage == AFTER && generation != next)
		return wrong(w, "generation %#jx after %#jx",
		    (uintmax_t)generation, (uintmax_t)w->generation);
	if (!w->bereft && generation <= w->generation)
		return wrong(w, "generation went back, to %#jx from %#jx",
		    (uintmax_t)generation, (uintmax_t)w->generation);
	return true;
}

static bool
judge(struct watch *w, struct seen *s)
{
	const uint64_t roster = s->roster, generation = s->status.generation;
	char text[STAGES][80] = { "", "", "" };

	if ((generation & MCSHM_RETIRED) != 0)
		return wrong(w, "RETIRED, and not followed");
	level(s);
	for (enum stage i = w->stage; i <= w->limit; i++) {
		if (difference(text[i], w, s, &w->expect[i])[0] != 0)
			continue;
		if (w->roster == 0)
			;		/* its first look */
		else if (i == w->stage &&
		    is_same_state(w, roster, generation))
			return true;
		else if (i == w->stage)
			continue;
		else if (!check_progress(w, i, roster, generation))
			return false;
		w->stage = i;
		w->roster = roster;
		w->generation = generation;
		return true;
	}
	return wrong(w, "torn or gone back: seen last %d, may see %d, but "
	    "(0) %s (1) %s (2) %s, roster %#jx (was %#jx)", w->stage, w->limit,
	    text[0], text[1], text[2], (uintmax_t)roster,
	    (uintmax_t)w->roster);
}

bool
watch_look(struct watch *w, bool alive)
{
	struct seen s;

	return take(w, &s, alive) && judge(w, &s);
}

/* Longer ------------------------------------------------------------------- */

bool
watch_open(struct watch *w, const char *name, enum watch_what what,
    const struct play *play, const struct seen expect[STAGES])
{
	int err;

	*w = (struct watch){ .name = name, .what = what, .expect = expect,
		.limit = AFTER,
		.lost = play->scene->deed >= DEED_REMOVED,
		.replaced = play->scene->deed != DEED_PUBLISH };
	err = mcshm_open(&w->m, play->path,
	    what == WATCH_STAY ? MCSHM_NOFOLLOW : 0);
	if (err != 0)
		return wrong(w, "mcshm_open: %s", mcshm_strerror(err));
	w->m->clock = still_clock;
	return true;
}

void
watch_close(struct watch *w)
{
	mcshm_close(w->m);
	w->m = NULL;
}

/* A process that only picks learns from the clock that its file is an orphan:
 * whatever it answers in that moment is BLIND, and no matter here. */
static void
let_it_get_stale(struct watch *w)
{
	struct mcshm_choice c;

	clock_now += 40 * READER_SECOND;
	for (unsigned i = 0; i < SCENE_KEYS; i++) {
		char key[SCENE_KEY_LEN];

		mcshm_pick(w->m, key, scene_key(key, i), &c);
	}
	clock_now -= 40 * READER_SECOND;
}

bool
watch_until(struct watch *w, enum stage stage, bool alive)
{
	for (int i = 0; i < 6; i++) {
		if (w->what == WATCH_STAY && mcshm_refresh(w->m) < 0)
			return wrong(w, "cannot follow");
		if (!watch_look(w, alive))
			return false;
		if (w->stage == stage)
			return true;
		clock_now += READER_SECOND / 5;
		/* Only where no daemon can reach its inode to retire it. */
		if (i == 3 && w->orphan)
			let_it_get_stale(w);
	}
	return wrong(w, "does not get to see stage %d, stays at %d", stage,
	    w->stage);
}
