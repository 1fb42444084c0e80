/*
 * publish_image.c - a pool file's content, in private memory.
 *
 * Pure but for memory; the only place that knows what of a belief goes where.
 */
#include "publish_image.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scheme.h"

static uint64_t
round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The sections: head, three bitmaps, spare words, entries. */
static void
layout_section(struct mcshm_header *h)
{
	h->words = (h->servers + 63) / 64;
	h->bitmap_off = sizeof(struct mcshm_section);
	h->spare_off = h->bitmap_off + MCSHM_BITMAPS * h->words * 8;
	h->entries_off = (uint32_t)round_up(
	    h->spare_off + MCSHM_SECTION_SPARE * 8, 128);
	h->entry_stride = sizeof(struct mcshm_entry);
	h->section_size = round_up(
	    h->entries_off + (uint64_t)h->servers * h->entry_stride,
	    h->page_size);
}

/* Roster, buckets, ring, index; where they end. */
static uint64_t
layout_fixed(struct mcshm_header *h, const struct scheme_size *size)
{
	uint64_t end;

	h->roster_stride = sizeof(struct mcshm_roster);
	h->roster_off = h->header_size;
	h->buckets = size->buckets;
	h->buckets_off = h->roster_off +
	    (uint64_t)h->servers * h->roster_stride;
	end = h->buckets_off + 2ull * h->buckets;
	h->ring_points = size->points;
	h->ring_index_bits = size->index_bits;
	if (size->points == 0)
		return end;
	h->ring_off = round_up(end, 64);
	end = h->ring_off + size->points * sizeof(struct mcshm_point);
	if (size->index_bits == 0)
		return end;
	h->ring_index_off = end;
	return end + mcshm_index_size(size->index_bits);
}

bool
image_layout(struct mcshm_header *h, uint32_t n,
    const struct scheme_size *size, uint32_t page)
{
	memset(h, 0, sizeof *h);
	if (n == 0 || n > MCSHM_MAX_SERVERS ||
	    size->buckets > MCSHM_MAX_BUCKETS ||
	    size->points > MCSHM_MAX_POINTS ||
	    size->index_bits > MCSHM_MAX_INDEX_BITS ||
	    (size->points == 0 && size->index_bits > 0))
		return false;
	memcpy(h->magic, MCSHM_MAGIC_BYTES, sizeof h->magic);
	h->endian = MCSHM_ENDIAN;
	h->version = MCSHM_FORMAT_VERSION;
	h->page_size = page;
	h->header_size = (uint32_t)round_up(sizeof *h, page);
	h->servers = n;
	h->section_off[0] = round_up(layout_fixed(h, size), page);
	layout_section(h);
	h->section_off[1] = h->section_off[0] + h->section_size;
	h->file_size = h->section_off[1] + h->section_size;
	return h->file_size <= MCSHM_MAX_FILE;
}

size_t
image_fixed_size(const struct mcshm_header *h)
{
	return h->section_off[0];
}

static void
set_roster(struct mcshm_roster *r, const struct server *s, uint32_t scheme)
{
	const struct scheme_where where = { s->name, s->address.host,
		s->address.kind, s->address.port };
	const int len = scheme_ident(scheme, &where, r->ident);

	assert(len > 0 && len < (int)sizeof r->ident);
	r->ident_hash = scheme_text_hash(r->ident, (size_t)len);
	r->weight = s->weight;
	r->port = s->address.port;
	r->kind = s->address.kind;
	memcpy(r->name, s->name, strlen(s->name));
	memcpy(r->host, s->address.host, strlen(s->address.host));
}

/* What the fixed parts are made with: gone when they are there. */
struct making {
	struct mcshm_roster *roster;
	struct scheme_server *server;
	struct scheme_plan plan;
	struct scheme_size size;
	void *scratch;
};

static void
making_free(struct making *m)
{
	free(m->roster);
	free(m->server);
	free(m->scratch);
}

static int
making_init(struct making *m, const struct publish_roster *r)
{
	const uint32_t n = r->servers.n;

	*m = (struct making){ 0 };
	if (n == 0 || n > MCSHM_MAX_SERVERS)
		return EINVAL;
	m->roster = calloc(n, sizeof *m->roster);
	m->server = calloc(n, sizeof *m->server);
	if (m->roster == NULL || m->server == NULL)
		return ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		set_roster(&m->roster[i], &r->servers.v[i], r->set.scheme);
		m->server[i] = (struct scheme_server){ m->roster[i].ident,
			strlen(m->roster[i].ident), m->roster[i].weight };
	}
	m->plan = (struct scheme_plan){ r->set, m->server, n, r->map, r->maps };
	if (!scheme_measure(&m->plan, &m->size))
		return EINVAL;
	m->scratch = malloc(m->size.scratch + 1);
	return m->scratch != NULL ? 0 : ENOMEM;
}

static void
fill_header(struct mcshm_header *h, const struct publish_roster *r)
{
	h->scheme = r->set.scheme;
	h->hash = r->set.hash;
	h->points_hash = r->set.points_hash;
	h->hash_flags = r->set.hash_flags;
	h->hash_tag = r->set.hash_tag;
	h->stale_after = r->stale_after;
	h->dead = r->dead;
	h->failover_ttl = r->failover_ttl;
	memcpy(h->pool, r->pool, strlen(r->pool));
}

static void
fill_fixed(unsigned char *fixed, struct mcshm_header *h,
    const struct making *m)
{
	const size_t roster = (size_t)h->servers * h->roster_stride;
	const struct scheme_tables tables = {
		(void *)(fixed + h->buckets_off),
		(void *)(fixed + h->ring_off),
		(void *)(fixed + h->ring_index_off), m->scratch };

	memcpy(fixed + h->roster_off, m->roster, roster);
	scheme_build(&m->plan, &m->size, &tables);
	h->roster_sum = mcshm_sum(fixed + h->roster_off, roster, 0);
	h->table_sum = mcshm_table_sum(fixed, h);
}

int
image_fixed(unsigned char **fixed, struct mcshm_header *h,
    const struct publish_roster *r, uint32_t page)
{
	struct making m;
	int err = making_init(&m, r);

	*fixed = NULL;
	if (err == 0 && !image_layout(h, r->servers.n, &m.size, page))
		err = EINVAL;
	if (err == 0) {
		*fixed = calloc(1, image_fixed_size(h));
		err = *fixed != NULL ? 0 : ENOMEM;
	}
	if (err == 0) {
		fill_header(h, r);
		fill_fixed(*fixed, h, &m);
	}
	making_free(&m);
	return err;
}

void
image_seal(struct mcshm_header *h, const uint64_t random[3], uint64_t created)
{
	h->file_id[0] = random[0];
	h->file_id[1] = random[1];
	h->roster_id = random[2] & ~MCSHM_ROSTER_EPOCH;
	if (h->roster_id == 0)
		h->roster_id = MCSHM_ROSTER_EPOCH + 1;
	h->created = created;
	h->header_sum = mcshm_header_sum(h);
}

bool
image_same(const struct mcshm_header *a, const struct mcshm_header *b)
{
	struct mcshm_header c = *a;

	memcpy(c.file_id, b->file_id, sizeof c.file_id);
	c.roster_id = b->roster_id;
	c.created = b->created;
	return memcmp(&c, b, MCSHM_SUM_A_LEN) == 0 &&
	    memcmp((char *)&c + MCSHM_SUM_B_OFF,
		(const char *)b + MCSHM_SUM_B_OFF, MCSHM_SUM_B_LEN) == 0;
}

static bool
kind_known(uint32_t kind)
{
	return kind == MCSHM_KIND_IPV4 || kind == MCSHM_KIND_IPV6 ||
	    kind == MCSHM_KIND_UNIX || kind == MCSHM_KIND_NAME;
}

/* Both texts end within their fields, and what is there can be ours: every
 * scheme has an identity for it. */
static bool
roster_sane(const struct mcshm_roster *r)
{
	return memchr(r->name, 0, sizeof r->name) != NULL &&
	    memchr(r->host, 0, sizeof r->host) != NULL &&
	    r->host[0] != '\0' && kind_known(r->kind) &&
	    r->port <= 65535 && r->weight >= 1;
}

int
image_servers(struct servers *s, const unsigned char *fixed,
    const struct mcshm_header *h)
{
	const struct mcshm_roster *r = (const void *)(fixed + h->roster_off);
	int err = 0;

	*s = (struct servers){ 0 };
	for (uint32_t i = 0; i < h->servers && err == 0; i++, r++) {
		struct server one = { .weight = r->weight };

		if (!roster_sane(r)) {
			err = EINVAL;
			break;
		}
		memcpy(one.name, r->name, sizeof one.name);
		memcpy(one.address.host, r->host, sizeof one.address.host);
		one.address.kind = r->kind;
		one.address.port = r->port;
		err = servers_add(s, &one);
	}
	if (err != 0)
		servers_free(s);
	return err;
}

/* Sections ----------------------------------------------------------------- */

static struct mcshm_entry *
entry_of(void *section, const struct mcshm_header *h, uint32_t slot)
{
	return (void *)((unsigned char *)section + h->entries_off +
	    (size_t)slot * h->entry_stride);
}

static uint64_t *
bitmap_of(void *section, const struct mcshm_header *h, unsigned which)
{
	return (uint64_t *)(void *)((unsigned char *)section + h->bitmap_off) +
	    (size_t)which * h->words;
}

static void
set_bit(uint64_t *bitmap, uint32_t slot, bool on)
{
	const uint64_t bit = UINT64_C(1) << (slot & 63);

	if (on)
		bitmap[slot / 64] |= bit;
	else
		bitmap[slot / 64] &= ~bit;
}

/* Who obeys an operator and who believes a probe: both must say yes. */
static void
set_bits(void *section, const struct mcshm_header *h, uint32_t slot,
    const struct publish_entry *e)
{
	const bool ready = e->admin == MCSHM_READY;

	set_bit(bitmap_of(section, h, MCSHM_BITMAP_USABLE), slot,
	    ready && (e->open || verdict_usable(&e->verdict)));
	set_bit(bitmap_of(section, h, MCSHM_BITMAP_HELD), slot,
	    ready && !e->open && e->verdict.state == MCSHM_HELD);
	set_bit(bitmap_of(section, h, MCSHM_BITMAP_READY), slot, ready);
}

/* A client's connections depend on the address in use: each change of that one
 * is an epoch. */
static void
set_addresses(struct mcshm_section *head, struct mcshm_entry *to,
    const struct publish_entry *e)
{
	if ((to->addresses == 0) != (e->addresses == 0) ||
	    memcmp(to->address, e->address, sizeof to->address[0]) != 0)
		head->address_epoch++;
	to->addresses = e->addresses;
	memcpy(to->address, e->address, sizeof to->address);
}

static uint64_t
judged_of(const struct verdict *v)
{
	return (v->proven ? MCSHM_JUDGED_PROVEN : 0) |
	    (v->newcomer ? MCSHM_JUDGED_NEWCOMER : 0);
}

/* Of who it is and how it fares, beside the verdict. */
static void
set_condition(struct mcshm_entry *to, const struct publish_entry *e)
{
	const struct recovery_identity *who = &e->identity;

	to->degraded = e->degraded;
	to->rtt_usual_us = e->rtt_usual_us;
	to->threads = e->threads;
	to->workers_stuck = e->workers_stuck;
	to->connections = e->connections;
	to->max_connections = e->max_connections;
	to->tls_expiry = e->tls_expiry;
	to->server_pid = who->pid;
	to->server_start = who->start;
	to->server_clock = who->clock;
	to->cmd_flush = who->cmd_flush;
	to->curr_items = who->curr_items;
	to->identified = who->at;
	to->returned = e->returned;
	to->flushed = e->flushed;
	to->admin_since = e->admin_since;
	to->admin_until = e->admin_until;
	memcpy(to->admin_who, e->admin_who, sizeof to->admin_who);
	memcpy(to->admin_why, e->admin_why, sizeof to->admin_why);
}

void
image_set(void *section, const struct mcshm_header *h, uint32_t slot,
    const struct publish_entry *e)
{
	struct mcshm_entry *to = entry_of(section, h, slot);
	struct mcshm_section *head = section;

	head->down -= to->verdict == MCSHM_DOWN;
	head->down += e->verdict.state == MCSHM_DOWN;
	to->verdict = e->verdict.state;
	to->admin = e->admin;
	to->reason = e->reason;
	to->result = e->result;
	to->history = e->verdict.history;
	to->seen = e->verdict.seen;
	to->proof = e->verdict.proof;
	to->wrong = e->verdict.wrong;
	to->since = e->verdict.since;
	to->down_since = e->verdict.down_since;
	to->back_since = e->verdict.back_since;
	to->silent_since = e->verdict.silent_since;
	to->outage_since = e->verdict.outage_since;
	to->flapped = e->verdict.flapped;
	to->flaps = e->verdict.flaps;
	to->hold_until = e->verdict.hold_until;
	to->judged = judged_of(&e->verdict);
	to->checked = e->checked;
	to->began = e->began;
	to->good_began = e->good_began;
	to->failed_began = e->failed_began;
	to->gone_began = e->gone_began;
	to->unseen_since = e->unseen_since;
	to->came_from = e->came_from;
	to->at_since = e->at_since;
	to->rtt_us = e->rtt_us;
	to->rtt_avg_us = e->rtt_avg_us;
	to->rtt_max_us = e->rtt_max_us;
	to->share = 255;
	to->probes = e->verdict.probes;
	to->failures = e->failures;
	to->local_errors = e->local_errors;
	to->transitions = e->transitions;
	memcpy(to->server_version, e->server_version,
	    sizeof to->server_version);
	set_condition(to, e);
	set_addresses(head, to, e);
	set_bits(section, h, slot, e);
}

/* What is worth knowing of a server that another daemon watched; what follows
 * from probes alone is not. */
static void
get_condition(struct publish_entry *e, const struct mcshm_entry *from)
{
	e->rtt_usual_us = from->rtt_usual_us;
	e->degraded = from->degraded & MCSHM_DEGRADED_ALL;
	e->threads = from->threads;
	e->connections = from->connections;
	e->max_connections = from->max_connections;
	e->tls_expiry = from->tls_expiry;
	e->identity = (struct recovery_identity){ .pid = from->server_pid,
		.start = from->server_start, .clock = from->server_clock,
		.cmd_flush = from->cmd_flush, .curr_items = from->curr_items,
		.at = from->identified };
	e->returned = from->returned;
	e->flushed = from->flushed;
	/* Who says so: of the ini's word nothing is inherited. */
	e->admin_since = from->admin_since;
	memcpy(e->admin_who, from->admin_who, sizeof e->admin_who - 1);
	memcpy(e->admin_why, from->admin_why, sizeof e->admin_why - 1);
}

void
image_get(struct publish_entry *e, const void *section,
    const struct mcshm_header *h, uint32_t slot)
{
	const struct mcshm_entry *from =
	    entry_of((void *)(uintptr_t)section, h, slot);

	*e = (struct publish_entry){
		/* A state of a later version: as DOWN. */
		.verdict = { .state = from->verdict <= MCSHM_RECOVERING ?
		    from->verdict : MCSHM_DOWN, .probes = from->probes,
		    .history = from->history, .proof = from->proof,
		    .wrong = from->wrong, .seen = from->seen,
		    .since = from->since, .down_since = from->down_since,
		    .back_since = from->back_since,
		    .silent_since = from->silent_since,
		    .outage_since = from->outage_since,
		    .flapped = from->flapped, .flaps = from->flaps,
		    .hold_until = from->hold_until,
		    .proven = (from->judged & MCSHM_JUDGED_PROVEN) != 0,
		    .newcomer = (from->judged & MCSHM_JUDGED_NEWCOMER) != 0 },
		.admin = from->admin, .reason = from->reason,
		.result = from->result, .checked = from->checked,
		.began = from->began, .good_began = from->good_began,
		.failed_began = from->failed_began,
		.gone_began = from->gone_began,
		.unseen_since = from->unseen_since,
		.came_from = from->came_from, .at_since = from->at_since,
		.rtt_us = from->rtt_us, .rtt_avg_us = from->rtt_avg_us,
		.rtt_max_us = from->rtt_max_us, .failures = from->failures,
		.local_errors = from->local_errors,
		.transitions = from->transitions,
	};
	memcpy(e->server_version, from->server_version,
	    sizeof e->server_version - 1);
	memcpy(e->address, from->address, sizeof e->address);
	e->addresses = from->addresses < MCSHM_ADDRESSES ?
	    from->addresses : MCSHM_ADDRESSES;
	get_condition(e, from);
}

uint64_t
image_flags(const void *section)
{
	const struct mcshm_section *head = section;

	return head->flags;
}

void
image_put_spare(void *section, const struct mcshm_header *h, unsigned word,
    uint64_t value)
{
	uint64_t *spare = (void *)((unsigned char *)section + h->spare_off);

	spare[word] = value;
}

uint64_t
image_spare(const void *section, const struct mcshm_header *h, unsigned word)
{
	const uint64_t *spare = (const void *)((const unsigned char *)section +
	    h->spare_off);

	return spare[word];
}

static uint32_t
count_bits(const uint64_t *bitmap, uint32_t words)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < words; i++)
		n += (uint32_t)__builtin_popcountll(bitmap[i]);
	return n;
}

void
image_finish(void *section, const struct mcshm_header *h, uint64_t entries,
    uint64_t generation, uint64_t flags, struct publish_time now)
{
	struct mcshm_section *head = section;

	head->usable = count_bits(bitmap_of(section, h, MCSHM_BITMAP_USABLE),
	    h->words);
	head->held = count_bits(bitmap_of(section, h, MCSHM_BITMAP_HELD),
	    h->words);
	head->ready = count_bits(bitmap_of(section, h, MCSHM_BITMAP_READY),
	    h->words);
	head->flags = flags;
	head->generation = generation;
	head->published = now.boot;
	head->published_real = now.real;
	head->sum = entries +
	    mcshm_front_sum(section, h->entries_off, h->file_id);
}

uint64_t
image_entry_sum(const void *section, const struct mcshm_header *h,
    uint32_t slot)
{
	return mcshm_entry_sum(entry_of((void *)(uintptr_t)section, h, slot),
	    h->entry_stride, slot);
}

bool
image_section_whole(const void *section, const struct mcshm_header *h)
{
	const struct mcshm_section *head = section;

	return head->generation != 0 && head->sum ==
	    mcshm_section_sum(section, h, h->file_id);
}

#define SAMPLE_KEYS 50000	/* +- 0.2 % */
#define SAMPLE_LEAST 400	/* +- 2.5 % */
#define SAMPLE_CONTESTS (UINT32_C(1) << 22)

/* Where a key's home is a contest among all servers, the work is bounded, and
 * not the error. */
uint32_t
image_sample_keys(const struct mcshm_header *h)
{
	const uint32_t keys = SAMPLE_CONTESTS / h->servers;

	if (scheme_lookup(h->scheme) != SCHEME_LOOKUP_RENDEZVOUS ||
	    keys > SAMPLE_KEYS)
		return SAMPLE_KEYS;
	return keys > SAMPLE_LEAST ? keys : SAMPLE_LEAST;
}

struct scheme_place
image_place(const unsigned char *fixed, const struct mcshm_header *h)
{
	return scheme_place_of(fixed, UINT64_MAX, h);
}
