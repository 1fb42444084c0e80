/*
 * hostile_field.c - a good file, every field of its header, every text in it,
 * and what to put there.
 */
#include "hostile_family.h"

#include <stdio.h>
#include <string.h>

void
hostile_small_of(struct mkfile *f, uint32_t scheme)
{
	static const struct mkfile_server v[] = {
		{ "", "10.9.0.1", MCSHM_KIND_IPV4, 11211, 1 },
		{ "two", "cache2.example.net", MCSHM_KIND_NAME, 11211, 3 },
		{ "", "/run/memcached.sock", MCSHM_KIND_UNIX, 0, 1 },
		{ "four", "2001:db8::4", MCSHM_KIND_IPV6, 11211, 1 },
	};

	mkfile_make(f, scheme, v, 4);
	mkfile_set(f, 1, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(f, 3, MCSHM_HELD, MCSHM_READY);
	snprintf(f->h->pool, sizeof f->h->pool, "web");
	mkfile_seal(f);
}

void
hostile_small(struct mkfile *f)
{
	hostile_small_of(f, MCSHM_SCHEME_LIBMEMCACHED_MODULA);
}

#define FIELD(name) { #name, offsetof(struct mcshm_header, name), \
	sizeof ((struct mcshm_header *)0)->name }

static const struct hostile_field fields[] = {
	FIELD(magic), FIELD(endian), FIELD(version), FIELD(incompat),
	FIELD(compat), FIELD(file_id[0]), FIELD(file_id[1]), FIELD(file_size),
	FIELD(header_size), FIELD(page_size), FIELD(scheme), FIELD(hash),
	FIELD(servers), FIELD(words), FIELD(buckets), FIELD(bitmap_off),
	FIELD(buckets_off), FIELD(section_off[0]), FIELD(section_off[1]),
	FIELD(roster_id), FIELD(header_sum), FIELD(generation),
	FIELD(heartbeat), FIELD(boot_id[0]), FIELD(boot_id[1]), FIELD(pid),
	FIELD(pid_start), FIELD(epoch), FIELD(beats), FIELD(publishes),
	FIELD(sync_errors), FIELD(sync_worst), FIELD(local_errors),
	FIELD(tilts), FIELD(clean_exit), FIELD(config_loaded),
	FIELD(stale_after), FIELD(dead), FIELD(failover_ttl),
	FIELD(points_hash), FIELD(hash_flags), FIELD(hash_tag),
	FIELD(roster_stride), FIELD(roster_off), FIELD(section_size),
	FIELD(spare_off), FIELD(entries_off), FIELD(entry_stride),
	FIELD(ring_points), FIELD(ring_off), FIELD(ring_index_off),
	FIELD(ring_index_bits), FIELD(fixed_pad), FIELD(roster_sum),
	FIELD(table_sum), FIELD(created),
	{ "pool", offsetof(struct mcshm_header, pool), 8 },
	{ "fixed_spare", offsetof(struct mcshm_header, fixed_spare), 8 },
	{ "daemon_version", offsetof(struct mcshm_header, daemon_version), 8 },
	{ "host", offsetof(struct mcshm_header, host), 8 },
	{ "config", offsetof(struct mcshm_header, config), 8 },
	{ "report", offsetof(struct mcshm_header, report), 8 },
	{ "text_spare", offsetof(struct mcshm_header, text_spare), 8 },
};

int
hostile_field(struct hostile_field *f, unsigned i)
{
	if (i >= sizeof fields / sizeof *fields)
		return 0;
	*f = fields[i];
	return 1;
}

int
hostile_value(uint64_t *v, uint64_t was, uint32_t size, unsigned i)
{
	const unsigned bits = size * 8;
	const uint64_t max = UINT64_MAX >> (64 - bits);
	const uint64_t values[] = { 0, 1, 2, 7, max, max - 1, max - 7,
		max >> 1, (max >> 1) - 3, (max >> 1) + 1, max - 4095,
		was + 1, was - 1, was + 8, was - 8, was + 4096, was - 4096,
		was * 2, was / 2, was ^ 1, was ^ (max >> 1) ^ max,
		UINT64_C(1) << 26, UINT64_C(1) << 24, UINT64_C(1) << 22,
		16384, 16385, 65536, 22, 23, 31, 32 };

	if (i >= sizeof values / sizeof *values)
		return 0;
	*v = values[i] & max;
	return 1;
}

void
hostile_set(struct mkfile *f, const struct hostile_field *field, uint64_t v)
{
	memcpy(f->p + field->off, &v, field->size);
	if (field->off != offsetof(struct mcshm_header, header_sum))
		f->h->header_sum = mcshm_header_sum(f->h);
}

#define TEXT(part, type, name, own) { #name, part, \
	offsetof(struct type, name), sizeof ((struct type *)0)->name, own }

static const struct hostile_text texts[] = {
	TEXT(TEXT_HEADER, mcshm_header, pool, '!'),
	TEXT(TEXT_HEADER, mcshm_header, fixed_spare, '$'),
	TEXT(TEXT_HEADER, mcshm_header, daemon_version, '&'),
	TEXT(TEXT_HEADER, mcshm_header, host, '*'),
	TEXT(TEXT_HEADER, mcshm_header, config, '@'),
	TEXT(TEXT_HEADER, mcshm_header, text_spare, '^'),
	TEXT(TEXT_ROSTER, mcshm_roster, name, '`'),
	TEXT(TEXT_ROSTER, mcshm_roster, host, '~'),
	TEXT(TEXT_ROSTER, mcshm_roster, ident, '{'),
	TEXT(TEXT_ROSTER, mcshm_roster, spare, '}'),
	TEXT(TEXT_ENTRY, mcshm_entry, server_version, '<'),
	/* A time, which stands behind a text. */
	TEXT(TEXT_ENTRY, mcshm_entry, admin_since, '>'),
	TEXT(TEXT_ENTRY, mcshm_entry, admin_who, '?'),
	TEXT(TEXT_ENTRY, mcshm_entry, admin_why, '|'),
	/* A number, which does. */
	TEXT(TEXT_ENTRY, mcshm_entry, addresses, ';'),
};

int
hostile_text(struct hostile_text *t, unsigned i)
{
	if (i >= sizeof texts / sizeof *texts)
		return 0;
	*t = texts[i];
	return 1;
}

void
hostile_fill(struct mkfile *f, const struct hostile_text *t, uint32_t slot,
    const char *what, size_t len)
{
	unsigned char *p = t->part == TEXT_HEADER ? (unsigned char *)f->h :
	    t->part == TEXT_ROSTER ? (unsigned char *)mkfile_roster(f, slot) :
	    (unsigned char *)mkfile_entry(f, slot);

	for (uint32_t i = 0; i < t->size; i++)
		p[t->off + i] = (unsigned char)what[i % len];
}
