/*
 * dump_home.c - which part of the keys has its home where.
 *
 * scheme_home() says whose a hash is; this only adds up how many hashes there
 * are of each kind.
 */
#include "dump_home.h"

#include <stdlib.h>

/* Values of a 32-bit hash. */
#define HASHES 4294967296.0

/* Hashes of few values ---------------------------------------------------- */

/* Those that can be tried one by one: so many, so far to the left; 0: not
 * that. */
struct few {
	uint32_t n;
	unsigned shift;
};

static struct few
few_of(const struct dump_pool *p)
{
	const struct scheme_setting *set = &p->place.set;
	const enum scheme_lookup lookup = scheme_lookup(set->scheme);
	struct few few = { 0, 0 };

	if (set->hash == MCSHM_HASH_CRC)
		few.n = UINT32_C(1) << 15;
	else if (set->hash == MCSHM_HASH_CRC16)
		few.n = UINT32_C(1) << 16;
	else if (lookup == SCHEME_LOOKUP_FOLD)
		few = (struct few){ UINT32_C(1) << 15, 16 };
	else if (lookup == SCHEME_LOOKUP_MASK)
		/* A mask: all that it can leave. */
		for (few.n = 1; few.n < p->place.buckets; )
			few.n *= 2;
	return few;
}

static void
try_each(struct dump_pool *p, struct few few)
{
	const double part = 1.0 / few.n;

	for (uint32_t i = 0; i < few.n; i++) {
		const struct scheme_key k = { "", 0,
			(uint64_t)i << few.shift };

		p->server[scheme_home(&p->place, &k)].home += part;
	}
}

/* Rings ------------------------------------------------------------------- */

static void
stretch(dump_stretch_fn *fn, void *arg, uint64_t from, uint64_t to)
{
	const struct dump_stretch s = { from, (double)(to - from) / HASHES };

	if (from < to)
		fn(arg, &s);
}

/* A point's own hash belongs to what is before it, or to what is behind it. */
void
dump_home_each(const struct dump_pool *p, dump_stretch_fn *fn, void *arg)
{
	const struct mcshm_point *ring = dump_file_ring(p->file);
	const unsigned own =
	    scheme_lookup(p->place.set.scheme) == SCHEME_LOOKUP_RING;
	uint64_t at = 0;

	if (!scheme_has_ring(p->place.set.scheme))
		return;
	for (uint32_t i = 0; i < p->place.ring_points; i++) {
		const uint64_t end = (uint64_t)ring[i].point + own;

		stretch(fn, arg, at, end);
		at = end > at ? end : at;
	}
	stretch(fn, arg, at, UINT64_C(1) << 32);
}

static void
add_stretch(void *arg, const struct dump_stretch *s)
{
	struct dump_pool *p = arg;
	const struct scheme_key k = { "", 0, s->h };

	p->server[scheme_home(&p->place, &k)].home += s->part;
}

/* Buckets ----------------------------------------------------------------- */

static int
count_buckets(struct dump_pool *p)
{
	const uint16_t *bucket = dump_file_buckets(p->file);
	const uint32_t buckets = p->place.buckets;
	uint32_t *count = calloc(p->servers, sizeof *count);

	if (count == NULL)
		return -1;
	for (uint32_t i = 0; i < buckets; i++)
		if (bucket[i] < p->servers)
			count[bucket[i]]++;
	for (uint32_t i = 0; i < p->servers; i++)
		p->server[i].home = buckets > 0 ?
		    (double)count[i] / buckets : i == 0;
	free(count);
	return 0;
}

int
dump_home(struct dump_pool *p)
{
	const struct few few = few_of(p);

	for (uint32_t i = 0; i < p->servers; i++)
		p->server[i].home = 0;
	if (few.n > 0)
		try_each(p, few);
	else if (scheme_has_ring(p->place.set.scheme))
		dump_home_each(p, add_stretch, p);
	else if (scheme_lookup(p->place.set.scheme) !=
	    SCHEME_LOOKUP_RENDEZVOUS)
		return count_buckets(p);
	else
		for (uint32_t i = 0; i < p->servers; i++)
			p->server[i].home = 1.0 / p->servers;
	return 0;
}
