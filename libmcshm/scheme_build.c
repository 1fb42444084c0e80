/*
 * scheme_build.c - placements: which bucket or point belongs to whom; pure.
 *
 * For the daemon; clients find them in the file.
 */
#include <assert.h>
#include <string.h>

#include "scheme.h"
#include "scheme_maglev.h"
#include "scheme_rendezvous.h"
#include "scheme_ring.h"

/* Buckets of pecl-memcache's consistent hashing. */
#define PHP_BUCKETS 1024u

enum table {
	TABLE_NONE,
	TABLE_MAGLEV,
	TABLE_ROSTER,		/* a bucket a server */
	TABLE_LIST,		/* a server as often as it weighs */
	TABLE_LIST_BY_NAME,	/* the same in the order of their names */
	TABLE_MAP,		/* the site's, else as ROSTER */
	TABLE_RING,		/* points instead of buckets */
	TABLE_RING_BUCKETS,	/* buckets cut out of a ring */
	TABLE_RENDEZVOUS,
};

static const unsigned char tables[MCSHM_SCHEMES] = {
	[MCSHM_SCHEME_MAGLEV] = TABLE_MAGLEV,
	[MCSHM_SCHEME_LIBMEMCACHED_MODULA] = TABLE_ROSTER,
	[MCSHM_SCHEME_LIBMEMCACHED_KETAMA] = TABLE_RING,
	[MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED] = TABLE_RING,
	[MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET] = TABLE_MAP,
	[MCSHM_SCHEME_TWEMPROXY_KETAMA] = TABLE_RING,
	[MCSHM_SCHEME_TWEMPROXY_MODULA] = TABLE_LIST_BY_NAME,
	[MCSHM_SCHEME_CACHE_MEMCACHED] = TABLE_LIST,
	[MCSHM_SCHEME_PYTHON_MEMCACHED] = TABLE_LIST,
	[MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS] = TABLE_RENDEZVOUS,
	[MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES] = TABLE_RENDEZVOUS,
	[MCSHM_SCHEME_PHP_MEMCACHE_STANDARD] = TABLE_LIST,
	[MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT] = TABLE_RING_BUCKETS,
	[MCSHM_SCHEME_DALLI] = TABLE_RING,
};

static enum table
table_of(const struct scheme_plan *p)
{
	const uint32_t scheme = p->set.scheme;

	return scheme < MCSHM_SCHEMES ? tables[scheme] : TABLE_NONE;
}

static uint64_t
weights(const struct scheme_plan *p)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->n; i++)
		sum += p->server[i].weight;
	return sum;
}

/* Sizes ------------------------------------------------------------------- */

static uint64_t
buckets(const struct scheme_plan *p)
{
	switch (table_of(p)) {
	case TABLE_MAGLEV:
		return scheme_maglev_buckets();
	case TABLE_ROSTER:
		return p->n;
	case TABLE_LIST:
	case TABLE_LIST_BY_NAME:
		return weights(p);
	case TABLE_MAP:
		return p->maps > 0 ? p->maps : p->n;
	case TABLE_RING_BUCKETS:
		return PHP_BUCKETS;
	default:
		return 0;
	}
}

bool
scheme_measure(const struct scheme_plan *p, struct scheme_size *s)
{
	const enum table table = table_of(p);
	const uint64_t n = buckets(p);
	uint32_t points = 0;

	*s = (struct scheme_size){ 0 };
	assert(1 <= p->n && p->n <= MCSHM_MAX_SERVERS);
	if (table == TABLE_NONE || n > MCSHM_MAX_BUCKETS)
		return false;
	s->buckets = (uint32_t)n;
	if (table == TABLE_MAGLEV)
		s->scratch = scheme_maglev_scratch(p->n);
	if (table == TABLE_LIST_BY_NAME)
		s->scratch = p->n * sizeof(uint16_t);
	if (table == TABLE_RENDEZVOUS)
		s->points = scheme_rendezvous_points(p->n);
	if (table != TABLE_RING && table != TABLE_RING_BUCKETS)
		return true;
	points = scheme_ring_points(p);
	s->scratch = points * sizeof(struct mcshm_point);
	if (table == TABLE_RING_BUCKETS)
		s->scratch *= 2;
	else
		s->points = points;
	s->index_bits = table == TABLE_RING ? scheme_ring_index_bits(points) : 0;
	return 0 < points && points <= MCSHM_MAX_POINTS;
}

/* Building ---------------------------------------------------------------- */

static void
build_roster(const struct scheme_plan *p, uint16_t *bucket)
{
	for (uint32_t i = 0; i < p->n; i++)
		bucket[i] = (uint16_t)i;
}

static void
build_list(const struct scheme_plan *p, const uint16_t *order,
    uint16_t *bucket)
{
	for (uint32_t i = 0; i < p->n; i++) {
		const uint32_t slot = order != NULL ? order[i] : i;

		for (uint32_t w = p->server[slot].weight; w > 0; w--)
			*bucket++ = (uint16_t)slot;
	}
}

/* The order in which twemproxy has its servers, whatever its configuration
 * says: shorter names first. */
static bool
name_before(const struct scheme_plan *p, uint32_t a, uint32_t b)
{
	const struct scheme_server *v = &p->server[a], *w = &p->server[b];

	if (v->len != w->len)
		return v->len < w->len;
	return memcmp(v->ident, w->ident, v->len) < 0;
}

static void
swap(uint16_t *a, uint16_t *b)
{
	const uint16_t was = *a;

	*a = *b;
	*b = was;
}

/* Down in the heap of the last name, below at. */
static void
sift(const struct scheme_plan *p, uint16_t *heap, uint32_t at, uint32_t n)
{
	for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && name_before(p, heap[child],
		    heap[child + 1]))
			child++;
		if (!name_before(p, heap[at], heap[child]))
			return;
		swap(&heap[at], &heap[child]);
	}
}

static void
sort_by_name(const struct scheme_plan *p, uint16_t *order)
{
	build_roster(p, order);
	for (uint32_t i = p->n / 2; i-- > 0;)
		sift(p, order, i, p->n);
	for (uint32_t n = p->n; n > 1; n--) {
		swap(&order[0], &order[n - 1]);
		sift(p, order, 0, n - 1);
	}
}

/* Points of the same value, of which there are few, stand in that order. */
static void
ties_by_name(const struct scheme_plan *p, struct mcshm_point *ring, uint32_t n)
{
	for (uint32_t i = 1; i < n; i++)
		for (uint32_t j = i; j > 0 &&
		    ring[j].point == ring[j - 1].point &&
		    name_before(p, ring[j].slot, ring[j - 1].slot); j--) {
			const uint32_t slot = ring[j].slot;

			ring[j].slot = ring[j - 1].slot;
			ring[j - 1].slot = slot;
		}
}

/* Bucket i is cut out where i of 1024 parts of the circle are over. */
static void
build_ring_buckets(const struct scheme_plan *p, uint16_t *bucket,
    struct mcshm_point *ring)
{
	const uint32_t n = scheme_ring_points(p);
	const uint32_t step = UINT32_MAX / PHP_BUCKETS;
	uint32_t at = 0;

	scheme_ring_build(p, ring, n, ring + n);
	for (uint32_t i = 0; i < PHP_BUCKETS; i++) {
		while (at < n && ring[at].point < i * step)
			at++;
		bucket[i] = (uint16_t)ring[at < n ? at : 0].slot;
	}
}

void
scheme_build(const struct scheme_plan *p, const struct scheme_size *s,
    const struct scheme_tables *t)
{
	switch (table_of(p)) {
	case TABLE_MAGLEV:
		scheme_maglev_build(p->server, p->n, t->bucket, t->scratch);
		return;
	case TABLE_MAP:
		if (p->maps == 0)
			build_roster(p, t->bucket);
		else
			memcpy(t->bucket, p->map, p->maps * sizeof *p->map);
		return;
	case TABLE_LIST:
		build_list(p, NULL, t->bucket);
		return;
	case TABLE_LIST_BY_NAME:
		sort_by_name(p, t->scratch);
		build_list(p, t->scratch, t->bucket);
		return;
	case TABLE_RING:
		scheme_ring_build(p, t->ring, s->points, t->scratch);
		if (p->set.scheme == MCSHM_SCHEME_TWEMPROXY_KETAMA)
			ties_by_name(p, t->ring, s->points);
		scheme_ring_index(t->ring, s->points, t->index, s->index_bits);
		return;
	case TABLE_RING_BUCKETS:
		build_ring_buckets(p, t->bucket, t->scratch);
		return;
	case TABLE_RENDEZVOUS:
		scheme_rendezvous_build(p, t->ring);
		return;
	default:
		build_roster(p, t->bucket);
	}
}
