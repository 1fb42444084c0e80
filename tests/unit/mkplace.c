/*
 * mkplace.c - placements for tests; see mkplace.h.
 */
#include "mkplace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *
zeros(size_t size)
{
	void *p = calloc(1, size > 0 ? size : 1);

	if (p == NULL)
		abort();
	return p;
}

struct scheme_setting
mkplace_setting(uint32_t scheme)
{
	const uint32_t hash = scheme_default_hash(scheme);

	return (struct scheme_setting){ .scheme = scheme, .hash = hash,
		.points_hash = scheme_default_points_hash(scheme, hash) };
}

bool
mkplace_some(struct scheme_setting *set, unsigned i)
{
	static const struct scheme_setting more[] = {
		{ MCSHM_SCHEME_LIBMEMCACHED_MODULA, MCSHM_HASH_CRC,
		  MCSHM_HASH_CRC, 0, 0 },
		{ MCSHM_SCHEME_LIBMEMCACHED_KETAMA, MCSHM_HASH_CRC,
		  MCSHM_HASH_MD5, 0, 0 },
		{ MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET, MCSHM_HASH_MURMUR,
		  MCSHM_HASH_MURMUR, 0, 0 },
		{ MCSHM_SCHEME_TWEMPROXY_KETAMA, MCSHM_HASH_JENKINS,
		  MCSHM_HASH_MD5, 0, 'e' | '5' << 8 },
		{ MCSHM_SCHEME_TWEMPROXY_MODULA, MCSHM_HASH_CRC16,
		  MCSHM_HASH_CRC16, 0, 0 },
		{ MCSHM_SCHEME_PHP_MEMCACHE_STANDARD, MCSHM_HASH_FNV1A_32,
		  MCSHM_HASH_FNV1A_32, MCSHM_HASH_UNSIGNED, 0 },
	};
	const unsigned schemes = MCSHM_SCHEMES - 1;

	if (i < schemes)
		*set = mkplace_setting(i + 1);
	else if (i - schemes < sizeof more / sizeof *more)
		*set = more[i - schemes];
	else
		return false;
	return true;
}

/* Room -------------------------------------------------------------------- */

static uint64_t
room(uint64_t *end, uint64_t size)
{
	const uint64_t at = *end;

	*end = (at + size + 63) / 64 * 64;
	return at;
}

/* Where everything lies, in a power of two. */
static void
lay_out(struct mkplace *p)
{
	const struct scheme_size *s = &p->size;
	const uint32_t n = p->plan.n, words = (n + 63) / 64;
	uint64_t end = 0, size = 4096;
	struct scheme_place place = { .set = p->plan.set, .servers = n,
		.words = words, .buckets = s->buckets,
		.ring_points = s->points, .ring_index_bits = s->index_bits,
		.roster_stride = sizeof(struct mcshm_roster) };

	place.bits_off = room(&end, 3 * 8 * (uint64_t)words);
	place.roster_off = room(&end, n * sizeof(struct mcshm_roster));
	place.buckets_off = room(&end, 2 * (uint64_t)s->buckets);
	place.ring_off = room(&end, 8 * (uint64_t)s->points);
	place.ring_index_off = room(&end,
	    4 * ((UINT64_C(1) << s->index_bits) + 1));
	while (size < end)
		size *= 2;
	p->memory = zeros(size);
	place.base = p->memory;
	place.mask = size - 1;
	p->place = place;
	p->usable = (void *)(p->memory + place.bits_off);
	p->held = p->usable + words;
	p->ready = p->held + words;
	p->roster = (void *)(p->memory + place.roster_off);
	p->bucket = (void *)(p->memory + place.buckets_off);
	p->ring = (void *)(p->memory + place.ring_off);
	p->index = (void *)(p->memory + place.ring_index_off);
}

/* Making ------------------------------------------------------------------ */

void
mkplace_build(struct mkplace *p)
{
	struct scheme_tables tables;

	free(p->memory);
	if (!scheme_measure(&p->plan, &p->size))
		abort();
	lay_out(p);
	for (uint32_t i = 0; i < p->plan.n; i++) {
		p->roster[i].ident_hash = scheme_text_hash(p->server[i].ident,
		    p->server[i].len);
		p->roster[i].weight = p->server[i].weight;
	}
	tables = (struct scheme_tables){ p->bucket, p->ring, p->index,
		zeros(p->size.scratch) };
	scheme_build(&p->plan, &p->size, &tables);
	free(tables.scratch);
}

struct mkplace *
mkplace_new(const struct scheme_setting *set, uint32_t n,
    uint32_t (*weight)(uint32_t i))
{
	struct mkplace *p = zeros(sizeof *p);

	p->server = zeros(n * sizeof *p->server);
	p->ident = zeros(n * sizeof *p->ident);
	for (uint32_t i = 0; i < n; i++) {
		char host[32];
		const struct scheme_where where = { "", host, MCSHM_KIND_IPV4,
			11211 };
		int len;

		snprintf(host, sizeof host, "10.1.%u.%u", i / 200,
		    i % 200 + 1);
		len = scheme_ident(set->scheme, &where, p->ident[i]);
		if (len < 0)
			abort();
		p->server[i] = (struct scheme_server){ p->ident[i],
			(size_t)len, weight != NULL ? weight(i) : 1 };
	}
	p->plan = (struct scheme_plan){ .set = *set, .server = p->server,
		.n = n };
	mkplace_build(p);
	return p;
}

void
mkplace_free(struct mkplace *p)
{
	free(p->memory);
	free(p->ident);
	free(p->server);
	free(p);
}

/* States ------------------------------------------------------------------ */

void
mkplace_set(struct mkplace *p, uint32_t i, enum mkplace_state state)
{
	const uint64_t bit = UINT64_C(1) << i % 64;

	p->usable[i / 64] &= ~bit;
	p->held[i / 64] &= ~bit;
	if (state == MKPLACE_USABLE)
		p->usable[i / 64] |= bit;
	if (state == MKPLACE_HELD)
		p->held[i / 64] |= bit;
}

void
mkplace_set_all(struct mkplace *p, enum mkplace_state state)
{
	for (uint32_t i = 0; i < p->plan.n; i++)
		mkplace_set(p, i, state);
}

enum mkplace_state
mkplace_state(const struct mkplace *p, uint32_t i)
{
	if (p->usable[i / 64] >> i % 64 & 1)
		return MKPLACE_USABLE;
	return p->held[i / 64] >> i % 64 & 1 ? MKPLACE_HELD : MKPLACE_DOWN;
}

struct scheme_key
mkplace_key(const struct mkplace *p, char text[32], unsigned i)
{
	const int len = snprintf(text, 32, "user:%u", i);

	return scheme_key(&p->place.set, text, (size_t)len);
}
