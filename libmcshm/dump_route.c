/*
 * dump_route.c - the way of one key: home, each rehash step, and its end.
 *
 * scheme_pick() decides, here as in every client; this only writes down what it
 * went past.
 */
#include "dump_route.h"

#include "mcshm.h"

/* The policy for keys of a server that is neither usable nor held; nobody can
 * apply it while verdicts are not believed. */
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

static void
chain(struct dump_route *r, const struct dump_pool *p, uint64_t h)
{
	struct scheme_choice c;

	r->error = scheme_pick(&p->place, h, &c);
	for (uint32_t t = 1; t < c.tries; t++)
		r->slot[r->steps++] = scheme_try(&p->place, h, t);
	if (c.tries > 0)
		r->slot[r->steps++] = c.slot;
}

void
dump_route_hash(struct dump_route *r, const struct dump_pool *p, uint64_t h)
{
	r->slot[0] = scheme_try(&p->place, h, 0);
	r->steps = 1;
	r->error = p->usable == 0 ? MCSHM_ENONE : policy(p, r->slot[0]);
	if (r->error == MCSHM_OK)
		chain(r, p, h);
}

void
dump_route_key(struct dump_route *r, const struct dump_pool *p,
    const void *key, size_t len)
{
	dump_route_hash(r, p, scheme_key(p->place.hash, key, len));
}
