/*
 * hammer_fact.c - what is published in a round, and what may be seen of it.
 */
#include "hammer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheme.h"

static const struct {
	uint32_t servers, scheme, hash;
} rosters[ROSTERS] = {
	{ 40, MCSHM_SCHEME_MAGLEV, MCSHM_HASH_XXH3 },
	{ 3, MCSHM_SCHEME_LIBMEMCACHED_MODULA, MCSHM_HASH_ONE_AT_A_TIME },
	{ 500, MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED, MCSHM_HASH_MD5 },
	{ 200, MCSHM_SCHEME_MAGLEV, MCSHM_HASH_XXH3 },
	{ 90, MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS, MCSHM_HASH_MURMUR3_ZERO },
};

void
hammer_fault(struct board *b, const char *fmt, ...)
{
	va_list ap;

	if (atomic_fetch_add(&b->faults, 1) == 0) {
		va_start(ap, fmt);
		vsnprintf(b->fault, sizeof b->fault, fmt, ap);
		va_end(ap);
	}
	b->over = true;
}

uint32_t
fact_servers(unsigned roster)
{
	return rosters[roster].servers;
}

unsigned
fact_roster_of(uint32_t servers)
{
	unsigned i = 0;

	while (i < ROSTERS && rosters[i].servers != servers)
		i++;
	return i;
}

/* What stays, of a slot ---------------------------------------------------- */

static uint32_t
admin_of(uint32_t slot)
{
	return slot % 16 == 5 ? MCSHM_DRAIN : slot % 16 == 6 ? MCSHM_MAINT :
	    MCSHM_READY;
}

static bool
always_up(uint32_t slot)
{
	return slot % 8 == 0;
}

static bool
always_down(uint32_t slot)
{
	return slot % 8 == 3;
}

/* What changes with the round ---------------------------------------------- */

static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 33) * UINT64_C(0xff51afd7ed558ccd);
	z = (z ^ z >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return z ^ z >> 33;
}

static uint64_t
fact(uint64_t round, uint32_t slot, unsigned field)
{
	return mix(round * 1048576 + slot * 64 + field);
}

static uint32_t
verdict_of(uint64_t round, uint32_t slot)
{
	if (always_up(slot))
		return MCSHM_UP;
	if (always_down(slot))
		return MCSHM_DOWN;
	return (uint32_t)(fact(round, slot, 0) % 4);
}

/* Addresses change now and then, all of them in one round. */
static void
address(uint8_t ip[16], uint64_t round, uint32_t slot)
{
	ip[0] = (uint8_t)(round >> 6);
	ip[1] = (uint8_t)(round >> 14);
	ip[2] = (uint8_t)(slot >> 8);
	ip[3] = (uint8_t)slot;
}

struct publish_entry
fact_entry(uint64_t round, uint32_t slot)
{
	struct publish_entry e = { .admin = admin_of(slot),
		.reason = (uint32_t)(fact(round, slot, 1) % MCSHM_R_COUNT),
		.checked = round, .rtt_us = (uint32_t)fact(round, slot, 2),
		.failures = fact(round, slot, 3), .addresses = 1 };

	e.verdict = (struct verdict){ .state = verdict_of(round, slot),
		.probes = fact(round, slot, 4),
		.history = fact(round, slot, 5),
		.proof = fact(round, slot, 6), .wrong = fact(round, slot, 7),
		.seen = fact(round, slot, 8), .since = fact(round, slot, 9) };
	e.address[0].kind = MCSHM_KIND_IPV4;
	e.address[0].port = 11211;
	address(e.address[0].ip, round, slot);
	return e;
}

/* Rosters ------------------------------------------------------------------ */

uint32_t
fact_weight(unsigned roster, uint32_t slot)
{
	return 1 + (roster + slot) % ROSTERS;
}

struct publish_roster
fact_roster(unsigned roster)
{
	struct publish_roster r = { .pool = "web",
		.set = { .scheme = rosters[roster].scheme,
		    .hash = rosters[roster].hash },
		/* No verdict here may depend on a slow machine. */
		.stale_after = UINT64_C(3600000000000) };

	r.set.points_hash = scheme_default_points_hash(r.set.scheme,
	    r.set.hash);
	for (uint32_t i = 0; i < rosters[roster].servers; i++) {
		struct server s = { .weight = fact_weight(roster, i),
			.admin = admin_of(i) };

		snprintf(s.name, sizeof s.name, "s%u", i);
		s.address.kind = MCSHM_KIND_NAME;
		s.address.port = 11211;
		snprintf(s.address.host, sizeof s.address.host, "s%u.example",
		    i);
		if (servers_add(&r.servers, &s) != 0)
			abort();
	}
	return r;
}

void
fact_place(struct fact_place *p, unsigned roster)
{
	struct publish_roster r = fact_roster(roster);
	struct mcshm_header h;

	if (image_fixed(&p->fixed, &h, &r, 4096) != 0)
		abort();
	p->place = image_place(p->fixed, &h);
	servers_free(&r.servers);
}

/* What may be seen --------------------------------------------------------- */

static bool
state_right(const struct mcshm_state *s, uint64_t round, uint32_t slot)
{
	const struct publish_entry e = fact_entry(round, slot);

	return s->verdict == e.verdict.state && s->admin == e.admin &&
	    s->reason == e.reason && s->degraded == 0 &&
	    s->history == e.verdict.history && s->proof == e.verdict.proof &&
	    s->wrong == e.verdict.wrong && s->seen == e.verdict.seen &&
	    s->since == e.verdict.since && s->checked == round &&
	    s->probes == e.verdict.probes && s->failures == e.failures &&
	    s->rtt_us == e.rtt_us;
}

/* Nobody has published anything yet. */
static bool
state_unknown(const struct mcshm_state *s, uint32_t slot)
{
	return s->verdict == MCSHM_UNKNOWN && s->admin == admin_of(slot) &&
	    s->history == 0 && s->probes == 0;
}

/* The bits that picks obey say what the entry says; blind: all READY ones are
 * usable, none is held. */
static bool
bits_right(const struct mcshm_state *s, bool blind)
{
	const bool ready = s->admin == MCSHM_READY;

	if (blind)
		return s->usable == ready && !s->held;
	return s->usable == (ready && s->verdict <= MCSHM_UP) &&
	    s->held == (ready && s->verdict == MCSHM_HELD);
}

static uint32_t
bits_right_until(const struct mcshm_state *v, uint32_t n, bool blind)
{
	uint32_t i = 0;

	while (i < n && bits_right(&v[i], blind))
		i++;
	return i;
}

/* So many servers are all of one round. */
static uint32_t
same_round(const struct mcshm_state *v, uint32_t n)
{
	uint32_t i = 1;

	while (i < n && v[i].checked == v[0].checked)
		i++;
	return i;
}

const char *
fact_check_states(const struct mcshm_state *v, uint32_t n, bool may_be_blind,
    uint64_t *round, uint32_t *at)
{
	const uint32_t same = same_round(v, n);
	uint32_t i;

	*round = v[0].checked;
	for (*at = i = 0; i < n; *at = ++i)
		if (v[i].checked == 0 ? !state_unknown(&v[i], i) :
		    !state_right(&v[i], v[i].checked, i))
			return "an entry of two rounds";
	*at = bits_right_until(v, n, false);
	if (*at < n && (!may_be_blind || bits_right_until(v, n, true) < n))
		return "bits of another round than the entry's";
	*at = same;
	/* Those whom the next roster has not stay as they were. */
	if (same < n && (fact_roster_of(same) == ROSTERS ||
		v[same].checked > *round ||
		same_round(v + same, n - same) != n - same))
		return "two rounds in one snapshot";
	return NULL;
}

const char *
fact_check_servers(const struct mcshm_server *v, uint32_t n)
{
	const unsigned char *first = NULL;

	for (uint32_t i = 0; i < n; i++) {
		/* Port and address, as an IPv4 sockaddr has them. */
		const unsigned char *a = (const unsigned char *)&v[i].addr + 4;
		char name[16];

		snprintf(name, sizeof name, "s%u", i);
		if (v[i].slot != i || strcmp(v[i].name, name) != 0 ||
		    v[i].weight != fact_weight(fact_roster_of(n), i))
			return "a server of another roster";
		if (v[i].addrlen == 0)
			continue;
		if (a[2] != (i >> 8 & 0xff) || a[3] != (i & 0xff))
			return "an address of another server";
		if (first == NULL || fact_roster_of(i) != ROSTERS)
			first = a;
		if (memcmp(a, first, 2) != 0)
			return "addresses of two epochs";
	}
	return NULL;
}

/* May a key not stay there, ever? */
static bool
never(uint32_t slot, bool unknown)
{
	return admin_of(slot) != MCSHM_READY || (always_down(slot) && !unknown);
}

const char *
fact_check_choice(const struct fact_place *p, const struct scheme_key *k,
    int err, const struct mcshm_choice *c, bool unknown)
{
	struct scheme_walk w;

	scheme_walk(&p->place, k, &w);
	if (err != MCSHM_OK && err != MCSHM_EHELD)
		return "no server, where there is always one";
	if (c->home != w.slot)
		return "another home";
	while (w.tries < c->tries) {
		if (always_up(w.slot) && admin_of(w.slot) == MCSHM_READY)
			return "went on from a server that is always up";
		if (!scheme_walk_next(&p->place, k, &w))
			break;
	}
	if (c->slot >= p->place.servers)
		return "no such server";
	if (w.tries == c->tries && c->slot != w.slot)
		return "not the server of that try";
	if (never(c->slot, unknown))
		return "a server that is always down";
	if (err == MCSHM_EHELD && always_up(c->slot))
		return "held, a server that is always up";
	return NULL;
}
