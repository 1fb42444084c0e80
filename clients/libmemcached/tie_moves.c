/*
 * tie_moves.c - would keys move if this handle were attached?
 *
 * Not by comparing settings, which have traps (the order in which they were
 * set, a namespace that is hashed, weights, maps), but by asking both sides
 * where some thousand keys live.
 */
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "tie.h"

#define KEYS 4096
/* More servers on a ring, and libmemcached ends the process. */
#define RING_MAX 100

static bool
is_ring(memcached_st *memc)
{
	return memcached_behavior_get(memc, MEMCACHED_BEHAVIOR_KETAMA) != 0 ||
	    memcached_behavior_get_distribution(memc) ==
		MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA_SPY;
}

/* Never told which servers, nor how to choose one. */
static bool
is_blank(memcached_st *memc)
{
	return memcached_server_count(memc) == 0 &&
	    memcached_behavior_get_distribution(memc) ==
		MEMCACHED_DISTRIBUTION_MODULA &&
	    memcached_behavior_get_key_hash(memc) == MEMCACHED_HASH_DEFAULT;
}

/* Servers of the handle among the pool's ---------------------------------- */

#define NO_SLOT UINT32_MAX

static uint32_t
slot_of(const struct tie_where *w, uint32_t i, const struct mcshm_server *v,
    uint32_t n, const bool *taken)
{
	/* Its own first: one address may be there several times. */
	for (uint32_t k = 0; k < n; k++) {
		const uint32_t slot = i < n ? (i + k) % n : k;
		const struct tie_where its = tie_where(&v[slot]);

		if (!taken[slot] && tie_same(w, &its))
			return slot;
	}
	return NO_SLOT;
}

static uint32_t
slot_by_path(const char *path, uint32_t i, const struct mcshm_server *v,
    uint32_t n, const bool *taken)
{
	struct tie_where w = { .len = sizeof(struct sockaddr_un) };
	struct sockaddr_un *un = (struct sockaddr_un *)&w.addr;

	un->sun_family = AF_UNIX;
	snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
	return slot_of(&w, i, v, n, taken);
}

/* A name may have several addresses, and the checker takes one. */
static uint32_t
slot_by_name(const char *host, unsigned port, uint32_t i,
    const struct mcshm_server *v, uint32_t n, const bool *taken)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	uint32_t slot = NO_SLOT;
	char service[8];

	snprintf(service, sizeof service, "%u", port & 0xffff);
	if (getaddrinfo(host, service, &hints, &list) != 0)
		return NO_SLOT;
	for (const struct addrinfo *a = list; a != NULL && slot == NO_SLOT;
	    a = a->ai_next) {
		struct tie_where w = { .len = a->ai_addrlen };

		memcpy(&w.addr, a->ai_addr, a->ai_addrlen);
		slot = slot_of(&w, i, v, n, taken);
	}
	freeaddrinfo(list);
	return slot;
}

/* slots[i]: where the handle's server i is in the pool.  True: they are the
 * pool's servers, all of them and no others. */
static bool
match(memcached_st *memc, const struct mcshm_server *v, uint32_t n,
    uint32_t *slots, bool *taken)
{
	if (memcached_server_count(memc) != n)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const memcached_instance_st *s =
		    memcached_server_instance_by_position(memc, i);
		const char *host = memcached_server_name(s);

		slots[i] = host[0] == '/' ?
		    slot_by_path(host, i, v, n, taken) :
		    slot_by_name(host, memcached_server_port(s), i, v, n,
			taken);
		if (slots[i] == NO_SLOT)
			return false;
		taken[slots[i]] = true;
	}
	return true;
}

/* NULL: they are others, or there is no memory; then *err. */
static uint32_t *
match_all(memcached_st *memc, const struct mcshm_server *v, uint32_t n,
    int *err)
{
	uint32_t *slots = calloc(n, sizeof *slots);
	bool *taken = calloc(n, sizeof *taken);

	*err = slots == NULL || taken == NULL ? MCSHM_ESYS : MCSHM_OK;
	if (*err != MCSHM_OK || !match(memc, v, n, slots, taken)) {
		free(slots);
		slots = NULL;
	}
	free(taken);
	return slots;
}

static bool
in_order(const uint32_t *slots, uint32_t n)
{
	for (uint32_t i = 0; slots != NULL && i < n; i++)
		if (slots[i] != i)
			return false;
	return slots != NULL;
}

int
tie_compare(memcached_st *memc, const struct mcshm_server *v, uint32_t n,
    bool *same)
{
	int err;
	uint32_t *slots = match_all(memc, v, n, &err);

	*same = in_order(slots, n);
	free(slots);
	return err;
}

/* Where keys live --------------------------------------------------------- */

/* A key of which the last bytes are what the handle is given; the first ones
 * are a namespace, where the handle hashes that, too. */
struct sample {
	char key[MEMCACHED_MAX_KEY];
	size_t prefix, len;
};

static void
set_prefix(struct sample *s, memcached_st *memc)
{
	const char *prefix = memcached_callback_get(memc,
	    MEMCACHED_CALLBACK_NAMESPACE, NULL);

	s->prefix = 0;
	if (prefix != NULL && memcached_behavior_get(memc,
		MEMCACHED_BEHAVIOR_HASH_WITH_PREFIX_KEY) != 0)
		s->prefix = (size_t)snprintf(s->key, sizeof s->key / 2, "%s",
		    prefix);
}

/* One in four has bytes that are negative in a char. */
static void
set_key(struct sample *s, unsigned i)
{
	s->len = s->prefix + (size_t)snprintf(s->key + s->prefix, 32,
	    i % 4 ? "mcshm:%u" : "\xc3\xbc:%u", i);
}

/* Both say the same server, be it another slot of it. */
static bool
agree(uint32_t index, const struct mcshm_choice *c, const uint32_t *slots,
    const struct mcshm_server *v, uint32_t n)
{
	struct tie_where a, b;

	if (index >= n || c->home >= n)
		return false;
	if (slots != NULL)
		index = slots[index];
	a = tie_where(&v[index]);
	b = tie_where(&v[c->home]);
	return index == c->home || tie_same(&a, &b);
}

static int
compare_keys(memcached_st *memc, struct mcshm *m, const uint32_t *slots,
    const struct mcshm_server *v, uint32_t n, uint64_t roster)
{
	struct sample s;

	set_prefix(&s, memc);
	for (unsigned i = 0; i < KEYS; i++) {
		struct mcshm_choice c;
		int err;

		set_key(&s, i);
		err = mcshm_pick(m, s.key, s.len, &c);
		/* No key has a home while no server is usable: nobody can
		 * tell, and nothing is there to be found. */
		if (err == MCSHM_ENONE)
			return MCSHM_OK;
		if (err != MCSHM_OK && err != MCSHM_EHELD &&
		    err != MCSHM_EMISS && err != MCSHM_EDOWN)
			return err;
		if (c.roster != roster)
			return MCSHM_EAGAIN;
		if (!agree(memcached_generate_hash(memc, s.key + s.prefix,
			s.len - s.prefix), &c, slots, v, n))
			return MCSHM_MEMCACHED_EMOVES;
	}
	return MCSHM_OK;
}

/* The host as the ini has it, if no name hides it: rings are made of it. */
static bool
host_of(const struct mcshm_server *s, const struct tie_where *w, char *host,
    size_t size)
{
	char port[8];
	const char *colon = strrchr(s->name, ':');
	const bool bracket = s->name[0] == '[';
	size_t len;

	if (!tie_host(w, host, size))
		return false;
	if (w->addr.ss_family == AF_UNIX || colon == NULL ||
	    getnameinfo((const struct sockaddr *)&w->addr, w->len, NULL, 0,
		port, sizeof port, NI_NUMERICSERV) != 0 ||
	    strcmp(colon + 1, port) != 0)
		return true;
	len = (size_t)(colon - s->name) - 2 * bracket;
	if (len < size)
		snprintf(host, size, "%.*s", (int)len, s->name + bracket);
	return true;
}

/* A handle with these settings and the pool's servers. */
static memcached_st *
model(memcached_st *memc, const struct mcshm_server *v, uint32_t n)
{
	memcached_st *other = tie_bare_clone(memc);
	bool ok = other != NULL;

	if (ok)
		memcached_servers_reset(other);
	for (uint32_t i = 0; ok && i < n; i++) {
		const struct tie_where w = tie_where(&v[i]);
		char host[NI_MAXHOST];

		ok = host_of(&v[i], &w, host, sizeof host) &&
		    tie_add(other, &w, host, v[i].weight) == MEMCACHED_SUCCESS;
	}
	if (!ok) {
		memcached_free(other);
		other = NULL;
	}
	return other;
}

static int
compare_model(memcached_st *memc, struct mcshm *m,
    const struct mcshm_server *v, uint32_t n, uint64_t roster)
{
	memcached_st *other;
	int err;

	if (is_ring(memc) && n > RING_MAX)
		return MCSHM_MEMCACHED_EMOVES;
	other = model(memc, v, n);
	if (other == NULL)
		return MCSHM_MEMCACHED_EMOVES;
	err = compare_keys(other, m, NULL, v, n, roster);
	memcached_free(other);
	return err;
}

int
tie_moves(memcached_st *memc, struct mcshm *m, const struct mcshm_server *v,
    uint32_t n, uint64_t roster, bool *same)
{
	int err;
	uint32_t *slots = match_all(memc, v, n, &err);

	*same = in_order(slots, n);
	if (slots != NULL)
		err = compare_keys(memc, m, slots, v, n, roster);
	else if (err == MCSHM_OK && !is_blank(memc))
		err = compare_model(memc, m, v, n, roster);
	free(slots);
	return err;
}

/* In words ---------------------------------------------------------------- */

static const char *
hash_name(memcached_hash_t hash)
{
	static const struct {
		memcached_hash_t hash;
		const char *name;
	} names[] = {
		{ MEMCACHED_HASH_DEFAULT, "one_at_a_time" },
		{ MEMCACHED_HASH_MD5, "md5" },
		{ MEMCACHED_HASH_CRC, "crc" },
		{ MEMCACHED_HASH_FNV1_64, "fnv1_64" },
		{ MEMCACHED_HASH_FNV1A_64, "fnv1a_64" },
		{ MEMCACHED_HASH_FNV1_32, "fnv1_32" },
		{ MEMCACHED_HASH_FNV1A_32, "fnv1a_32" },
		{ MEMCACHED_HASH_HSIEH, "hsieh" },
		{ MEMCACHED_HASH_MURMUR, "murmur" },
		{ MEMCACHED_HASH_MURMUR3, "murmur3" },
		{ MEMCACHED_HASH_JENKINS, "jenkins" },
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].hash == hash)
			return names[i].name;
	return NULL;
}

static const char *
scheme_name(memcached_st *memc)
{
	switch (memcached_behavior_get_distribution(memc)) {
	case MEMCACHED_DISTRIBUTION_MODULA:
		return "modula";
	case MEMCACHED_DISTRIBUTION_CONSISTENT:
	case MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA:
	case MEMCACHED_DISTRIBUTION_CONSISTENT_WEIGHTED:
		return memcached_behavior_get(memc,
		    MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED) != 0 ?
		    "ketama-weighted" : "ketama";
	case MEMCACHED_DISTRIBUTION_VIRTUAL_BUCKET:
		return "virtual-bucket";
	default:
		return NULL;
	}
}

void
tie_scheme(memcached_st *memc, char *buf, size_t size)
{
	const char *scheme = scheme_name(memc);
	const char *hash = hash_name(memcached_behavior_get_key_hash(memc));

	if (scheme == NULL || hash == NULL)
		snprintf(buf, size, "what no scheme of a pool means (%s, %s)",
		    libmemcached_string_distribution(
			memcached_behavior_get_distribution(memc)),
		    libmemcached_string_hash(
			memcached_behavior_get_key_hash(memc)));
	else
		snprintf(buf, size,
		    "\"scheme = libmemcached-%s\", \"hash = %s\"", scheme,
		    hash);
}
