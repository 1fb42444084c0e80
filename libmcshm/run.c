/*
 * run.c - what the caller finds out by itself: mcshm_failed(), options, and
 * mcshm_run(), which goes on to the next server.
 *
 * Knows nothing of connections and protocols: those are the caller's.
 */
#include "reader.h"

#define TRIES_MAX 16u
/* New rosters between picking a server and learning its address. */
#define ROSTERS_MAX 4

/* A roster without its addresses' epoch: a slot is the same server for the life
 * of a file, wherever it moves. */
static bool
same_roster(uint64_t a, uint64_t b)
{
	return (a & ~MCSHM_ROSTER_EPOCH) == (b & ~MCSHM_ROSTER_EPOCH);
}

/* Is the server of this choice still the one in its slot? */
static int
check_choice(const struct mcshm *m, const struct mcshm_choice *c)
{
	struct reader_view v;

	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(m));

		if (g == 0)
			continue;
		reader_view(m, g, &v);
		if (mcshm_read_ok(reader_generation(m), g))
			return same_roster(v.roster, c->roster) &&
			    c->slot < v.place.servers ?
			    MCSHM_OK : MCSHM_EROSTER;
	}
	return reader_failed(m);
}

int
mcshm_failed(struct mcshm *m, const struct mcshm_choice *c)
{
	int err;

	if (m == NULL || c == NULL)
		return MCSHM_EINVAL;
	err = check_choice(m, c);
	if (err != MCSHM_OK)
		return err;
	suspect_mark(m, c->roster, c->slot);
	report_send(m, c->slot);
	return MCSHM_OK;
}

int
mcshm_ctl(struct mcshm *m, int option, uint64_t value)
{
	struct reader_options *o;

	if (m == NULL)
		return MCSHM_EINVAL;
	o = &m->options;
	if (option == MCSHM_RESUBMIT_ON_ERROR && value <= 1)
		o->resubmit = value != 0;
	else if (option == MCSHM_RESUBMIT_MAX && 1 <= value &&
	    value <= TRIES_MAX)
		o->tries = (uint32_t)value;
	else if (option == MCSHM_RESUBMIT_DEADLINE && value > 0)
		o->deadline = value;
	else if (option == MCSHM_SUSPECT_TIME && value <= INT64_MAX)
		o->suspect_time = value;
	else if (option == MCSHM_REPORTS && value <= 1)
		o->reports = value != 0;
	else
		return MCSHM_EINVAL;
	return MCSHM_OK;
}

/* One mcshm_run() call. */
struct run {
	struct mcshm *m;
	const void *key;
	size_t len;
	unsigned flags;
	uint64_t began;
	/* Those that failed in this call: where all are suspect, a pick comes
	 * back to one of them. */
	struct mcshm_choice failed[TRIES_MAX];
	uint32_t tries;
};

static uint64_t
time_left(const struct run *r)
{
	const uint64_t spent = r->m->clock() - r->began;

	return spent < r->m->options.deadline ?
	    r->m->options.deadline - spent : 0;
}

static bool
was_tried(const struct run *r, const struct mcshm_choice *c)
{
	for (uint32_t i = 0; i < r->tries; i++)
		if (same_roster(r->failed[i].roster, c->roster) &&
		    r->failed[i].slot == c->slot)
			return true;
	return false;
}

/* Where all servers are suspect, picks take no notice of that, and come back to
 * the same one: then the next in order, if the pool lets keys move. */
static int
next_candidate(struct run *r, struct mcshm_choice *c)
{
	const uint32_t asked = MCSHM_SILENT | MCSHM_DRAINED;
	struct mcshm_choice v[TRIES_MAX + 1];
	const int n = mcshm_candidates(r->m, r->key, r->len, v, TRIES_MAX + 1);

	if (reader_load32(r->m, READER_HEADER(dead)) != MCSHM_DEAD_REHASH)
		return MCSHM_EFAILED;
	for (int i = 0; i < n; i++)
		if (!(v[i].flags & asked) && !was_tried(r, &v[i])) {
			*c = v[i];
			return MCSHM_OK;
		}
	return MCSHM_EFAILED;
}

/* The next server that was not tried. */
static int
next_server(struct run *r, struct mcshm_choice *c, struct mcshm_server *s)
{
	int err = MCSHM_EROSTER;

	for (int i = 0; i < ROSTERS_MAX && err == MCSHM_EROSTER; i++) {
		err = mcshm_pick(r->m, r->key, r->len, c);
		if (err == MCSHM_OK && was_tried(r, c))
			err = next_candidate(r, c);
		if (err == MCSHM_OK)
			err = mcshm_server(r->m, c, s, sizeof *s);
	}
	return err;
}

static bool
may_go_on(const struct run *r, int result)
{
	const struct reader_options *o = &r->m->options;

	return o->resubmit && r->tries < o->tries &&
	    (result == MCSHM_TRY_UNSENT || (r->flags & MCSHM_REPEATABLE));
}

static bool
is_failure(int result)
{
	return result == MCSHM_TRY_UNSENT || result == MCSHM_TRY_FAILED;
}

int
mcshm_run(struct mcshm *m, const void *key, size_t len, unsigned flags,
    mcshm_try_fn *fn, void *arg, struct mcshm_choice *out)
{
	struct run r = { m, key, len, flags, 0, { { 0 } }, 0 };
	struct mcshm_choice own, *c = out != NULL ? out : &own;
	struct mcshm_server s;
	uint64_t left;
	int err;

	if (m == NULL || fn == NULL || (key == NULL && len > 0) ||
	    (flags & ~MCSHM_REPEATABLE) != 0)
		return MCSHM_EINVAL;
	r.began = m->clock();
	do {
		err = next_server(&r, c, &s);
		left = time_left(&r);
		/* After a failure that is the news: it may have been carried
		 * out all the same. */
		if (r.tries > 0 && (err != MCSHM_OK || left == 0))
			return MCSHM_EFAILED;
		if (err != MCSHM_OK)
			return err;
		/* Never 0, which would mean for ever to many. */
		err = fn(arg, c, &s, left > 0 ? left : 1);
		if (!is_failure(err))
			return err >= 0 || err <= MCSHM_TRY_OWN ?
			    err : MCSHM_EINVAL;
		mcshm_failed(m, c);
		r.failed[r.tries++] = *c;
	} while (may_go_on(&r, err));
	return MCSHM_EFAILED;
}
