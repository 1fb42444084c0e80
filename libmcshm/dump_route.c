/*
 * dump_route.c - the way of one key: home, each rehash step, and its end.
 *
 * scheme_pick() decides, here as in every client; this only writes down what it
 * went past.
 */
#include "dump_route.h"

#include <string.h>

#include "mcshm.h"

/* The policy for keys of a server that is neither usable nor held; nobody can
 * apply it where nobody vouches for that. */
static int
policy(const struct dump_pool *p, uint32_t home)
{
	const struct dump_server *s = &p->server[home];

	if (p->blind || s->usable || s->held)
		return MCSHM_OK;
	switch (p->file->h.dead) {
	case MCSHM_DEAD_MISS:
		return MCSHM_EMISS;
	case MCSHM_DEAD_ERROR:
		return MCSHM_EDOWN;
	default:
		return MCSHM_OK;
	}
}

/* A step, if there is room for it and for the end. */
static bool
step(struct dump_route *r, uint32_t slot)
{
	if (r->steps + 1 >= DUMP_STEPS)
		return false;
	r->slot[r->steps++] = slot;
	return true;
}

/* Where there is no chain: those that the key would rather have. */
static void
ranks(struct dump_route *r, const struct dump_pool *p,
    const struct scheme_key *k, uint32_t tries)
{
	uint64_t all[MCSHM_MAX_WORDS];
	struct scheme_order o;
	struct scheme_choice c;

	memset(all, 0xff, sizeof all);
	scheme_order(&o, &p->place, k, all);
	scheme_order_next(&o, &c);		/* the home */
	while (r->steps < tries && scheme_order_next(&o, &c))
		if (!step(r, c.slot))
			break;
}

static void
way(struct dump_route *r, const struct dump_pool *p,
    const struct scheme_key *k, struct scheme_walk *w)
{
	struct scheme_choice c;
	bool chain = false;

	r->error = scheme_pick(&p->place, k, &c);
	while (w->tries + 1 < c.tries && scheme_walk_next(&p->place, k, w)) {
		step(r, w->slot);
		chain = true;
	}
	if (!chain)
		ranks(r, p, k, c.tries);
	if (c.tries == 0)
		return;
	r->left_out = c.tries - r->steps;
	r->slot[r->steps++] = c.slot;
}

void
dump_route_key(struct dump_route *r, const struct dump_pool *p,
    const struct scheme_key *k)
{
	struct scheme_walk w;

	scheme_walk(&p->place, k, &w);
	r->h = k->h;
	r->slot[0] = w.slot;
	r->steps = 1;
	r->left_out = 0;
	r->error = p->usable == 0 ? MCSHM_ENONE : policy(p, w.slot);
	if (r->error == MCSHM_OK)
		way(r, p, k, &w);
}
