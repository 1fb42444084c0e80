/*
 * ours.c - the servers that we choose, for the tests that ask a peer the same.
 *
 * set scheme NAME		and hash, points_hash, hash_tag XY, unsigned,
 *				map I I I ...: as in the ini
 * set order			the tries are all servers in the key's order,
 *				not the scheme's own chain
 * set digest			the hash itself, in two halves (two tries)
 * set pool PATH		no servers: what mcshm_pick() says of this file
 * set home			... of the key's home, whoever is usable
 *
 * One try is where the key ends.  Must decide nothing: all of it is in
 * libmcshm, and placements are in private memory instead of in a file.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "mcshm.h"
#include "request.h"
#include "scheme.h"

struct ours {
	struct scheme_plan plan;
	struct scheme_server *server;
	char (*ident)[272];
	uint16_t *map;

	struct scheme_place place;
	unsigned char *memory;		/* what base points to */
	uint64_t *set;			/* for scheme_order() */

	struct mcshm *pool;
};

/* What is asked for ------------------------------------------------------- */

static uint32_t
kind_of(const char *host)
{
	struct in6_addr address;

	if (host[0] == '/')
		return MCSHM_KIND_UNIX;
	if (inet_pton(AF_INET, host, &address) == 1)
		return MCSHM_KIND_IPV4;
	if (inet_pton(AF_INET6, host, &address) == 1)
		return MCSHM_KIND_IPV6;
	return MCSHM_KIND_NAME;
}

static void
plan_servers(struct ours *o, const struct request *r)
{
	o->ident = calloc(r->servers, sizeof *o->ident);
	o->server = calloc(r->servers, sizeof *o->server);
	for (uint32_t i = 0; i < r->servers; i++) {
		const struct request_server *s = &r->server[i];
		const struct scheme_where where = {
			s->name, s->host, kind_of(s->host), s->port };
		const int len =
		    scheme_ident(o->plan.set.scheme, &where, o->ident[i]);

		if (len < 0)
			request_fail("ours: no identity of %s", s->host);
		o->server[i] = (struct scheme_server){
			o->ident[i], (size_t)len, s->weight };
	}
	o->plan.server = o->server;
	o->plan.n = r->servers;
}

static uint32_t
hash_setting(const struct request *r, const char *word, uint32_t other)
{
	const char *name = request_setting(r, word);

	return name ? scheme_hash_by_name(name) : other;
}

static void
plan_setting(struct scheme_setting *s, const struct request *r)
{
	const char *scheme = request_setting(r, "scheme");
	const char *tag = request_setting(r, "hash_tag");

	s->scheme = scheme_by_name(scheme ? scheme : "");
	s->hash = hash_setting(r, "hash", scheme_default_hash(s->scheme));
	s->points_hash = hash_setting(r, "points_hash",
	    scheme_default_points_hash(s->scheme, s->hash));
	s->hash_flags = request_setting(r, "unsigned") ?
	    MCSHM_HASH_UNSIGNED : 0;
	if (tag != NULL && strlen(tag) == 2)
		s->hash_tag = (unsigned char)tag[0] |
		    (uint32_t)(unsigned char)tag[1] << 8;
	if (!scheme_setting_valid(s))
		request_fail("ours: %s can not be set so", scheme);
}

static void
plan_map(struct ours *o, const struct request *r)
{
	const char *map = request_setting(r, "map");

	if (map == NULL)
		return;
	o->map = calloc(strlen(map) + 1, sizeof *o->map);
	for (char *end; *map != '\0'; map = end)
		o->map[o->plan.maps++] = (uint16_t)strtoul(map, &end, 10);
	o->plan.map = o->map;
}

/* The placement ----------------------------------------------------------- */

static uint64_t
take(uint64_t *size, uint64_t bytes)
{
	const uint64_t at = *size;

	*size += (bytes + 63) / 64 * 64;
	return at;
}

/* Where everything lies; the mask wants a power of two. */
static void
place_lay(struct ours *o, const struct scheme_size *s)
{
	const uint32_t n = o->plan.n;
	uint64_t size = 0, room = 4096;

	o->place = (struct scheme_place){
		.set = o->plan.set, .servers = n, .words = (n + 63) / 64,
		.buckets = s->buckets, .ring_points = s->points,
		.ring_index_bits = s->index_bits,
		.roster_stride = sizeof(struct mcshm_roster),
	};
	o->place.bits_off = take(&size, 3 * 8 * (uint64_t)o->place.words);
	o->place.roster_off = take(&size,
	    (uint64_t)n * sizeof(struct mcshm_roster));
	o->place.buckets_off = take(&size, 2 * (uint64_t)s->buckets);
	o->place.ring_off = take(&size,
	    (uint64_t)s->points * sizeof(struct mcshm_point));
	o->place.ring_index_off = take(&size,
	    4 * ((UINT64_C(1) << s->index_bits) + 1));
	while (room < size)
		room *= 2;
	o->memory = aligned_alloc(4096, room);
	if (o->memory == NULL)
		request_fail("ours: no memory");
	memset(o->memory, 0, room);
	o->place.base = o->memory;
	o->place.mask = room - 1;
}

static void
place_roster(struct ours *o, const struct request *r)
{
	struct mcshm_roster *roster =
	    (struct mcshm_roster *)(o->memory + o->place.roster_off);
	uint64_t *usable = (uint64_t *)(o->memory + o->place.bits_off);

	for (uint32_t i = 0; i < r->servers; i++) {
		roster[i].ident_hash = scheme_text_hash(o->server[i].ident,
		    o->server[i].len);
		roster[i].weight = o->server[i].weight;
		if (!r->server[i].down)
			usable[i / 64] |= UINT64_C(1) << i % 64;
	}
}

static void
place_build(struct ours *o)
{
	struct scheme_size s;
	struct scheme_tables t;

	if (!scheme_measure(&o->plan, &s))
		request_fail("ours: too large");
	place_lay(o, &s);
	t = (struct scheme_tables){
		.bucket = (uint16_t *)(o->memory + o->place.buckets_off),
		.ring = (struct mcshm_point *)(o->memory + o->place.ring_off),
		.index = (uint32_t *)(o->memory + o->place.ring_index_off),
		.scratch = malloc(s.scratch + 1),
	};
	scheme_build(&o->plan, &s, &t);
	free(t.scratch);
}

static void
ours_close(struct ours *o)
{
	mcshm_close(o->pool);
	free(o->ident);
	free(o->server);
	free(o->map);
	free(o->memory);
	free(o->set);
	*o = (struct ours){ 0 };
}

static void
ours_open(struct ours *o, const struct request *r)
{
	const char *pool = request_setting(r, "pool");
	int rc;

	if (pool != NULL) {
		rc = mcshm_open(&o->pool, pool, 0);
		if (rc != 0)
			request_fail("ours: %s: %s", pool, mcshm_strerror(rc));
		return;
	}
	plan_setting(&o->plan.set, r);
	if (request_setting(r, "digest"))
		return;
	plan_servers(o, r);
	plan_map(o, r);
	place_build(o);
	place_roster(o, r);
	o->set = calloc(o->place.words, sizeof *o->set);
}

/* Answers ----------------------------------------------------------------- */

typedef void answer_fn(struct ours *o, struct request *r, uint32_t i,
    const char *key, size_t len);

static void
answer_pick(struct ours *o, struct request *r, uint32_t i, const char *key,
    size_t len)
{
	const struct scheme_key k = scheme_key(&o->place.set, key, len);
	struct scheme_choice c;

	if (scheme_pick(&o->place, &k, &c) == 0)
		request_answer(r, i, 0, c.slot);
}

static void
answer_chain(struct ours *o, struct request *r, uint32_t i, const char *key,
    size_t len)
{
	const struct scheme_key k = scheme_key(&o->place.set, key, len);
	struct scheme_walk w;
	uint32_t t = 0;

	scheme_walk(&o->place, &k, &w);
	do
		request_answer(r, i, t++, w.slot);
	while (t < r->tries && scheme_walk_next(&o->place, &k, &w));
}

static void
answer_order(struct ours *o, struct request *r, uint32_t i, const char *key,
    size_t len)
{
	const struct scheme_key k = scheme_key(&o->place.set, key, len);
	struct scheme_order order;
	struct scheme_choice c;

	memset(o->set, 0, o->place.words * sizeof *o->set);
	for (uint32_t s = 0; s < o->place.servers; s++)
		o->set[s / 64] |= UINT64_C(1) << s % 64;
	scheme_order(&order, &o->place, &k, o->set);
	for (uint32_t t = 0; t < r->tries && scheme_order_next(&order, &c); t++)
		request_answer(r, i, t, c.slot);
}

static void
answer_digest(struct ours *o, struct request *r, uint32_t i, const char *key,
    size_t len)
{
	const uint64_t h = scheme_key(&o->plan.set, key, len).h;

	request_answer(r, i, 0, h & 0xffff);
	request_answer(r, i, 1, h >> 16 & 0xffff);
}

static void
answer_pool(struct ours *o, struct request *r, uint32_t i, const char *key,
    size_t len)
{
	struct mcshm_choice c;
	const int rc = mcshm_pick(o->pool, key, len, &c);

	if (rc == MCSHM_EINVAL || rc == MCSHM_ENOENT)
		request_fail("ours: mcshm_pick: %s", mcshm_strerror(rc));
	if (request_setting(r, "home"))
		request_answer(r, i, 0, c.home);
	else if (rc == 0)
		request_answer(r, i, 0, c.slot);
}

static answer_fn *
answer_of(const struct ours *o, const struct request *r)
{
	if (o->pool != NULL)
		return answer_pool;
	if (request_setting(r, "digest"))
		return answer_digest;
	if (request_setting(r, "order"))
		return answer_order;
	return r->tries > 1 ? answer_chain : answer_pick;
}

int
main(void)
{
	struct request r = { 0 };
	struct ours o = { 0 };

	while (request_next(&r)) {
		if (r.changed) {
			ours_close(&o);
			ours_open(&o, &r);
		}
		if (r.store)
			request_fail("ours: stores nothing");
		for (uint32_t i = 0; i < r.count; i++) {
			size_t len;
			const char *key = request_key(&r, i, &len);

			answer_of(&o, &r)(&o, &r, i, key, len);
		}
		request_done(&r);
	}
	ours_close(&o);
	request_free(&r);
	return 0;
}
