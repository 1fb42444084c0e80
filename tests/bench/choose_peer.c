/*
 * choose_peer.c - libmemcached, set up to choose as one of our schemes does.
 */
#include "choose_peer.h"

#include <err.h>
#include <stdlib.h>
#include <time.h>

#include "mcshm_format.h"
#include "pool.h"

#define DAY 86400

static void
need(memcached_return_t rc, const char *what)
{
	if (rc != MEMCACHED_SUCCESS)
		errx(1, "libmemcached: %s: %s", what,
		    memcached_strerror(NULL, rc));
}

static void
behave(memcached_st *m, memcached_behavior_t b, uint64_t value)
{
	need(memcached_behavior_set(m, b, value),
	    libmemcached_string_behavior(b));
}

static memcached_hash_t
peer_hash(uint32_t hash)
{
	switch (hash) {
	case MCSHM_HASH_ONE_AT_A_TIME:
		return MEMCACHED_HASH_DEFAULT;
	case MCSHM_HASH_MD5:
		return MEMCACHED_HASH_MD5;
	case MCSHM_HASH_CRC:
		return MEMCACHED_HASH_CRC;
	case MCSHM_HASH_FNV1A_64:
		return MEMCACHED_HASH_FNV1A_64;
	default:
		errx(1, "hash %u: libmemcached's is not known here",
		    (unsigned)hash);
	}
}

/* In one list, so that a ring is built once. */
static void
add_servers(memcached_st *m, uint32_t n)
{
	memcached_server_list_st list = NULL;
	memcached_return_t rc;

	for (uint32_t i = 0; i < n; i++) {
		char host[32];

		pool_host(host, i);
		list = memcached_server_list_append(list, host, 11211, &rc);
		need(rc, host);
	}
	need(memcached_server_push(m, list), "servers");
	memcached_server_list_free(list);
}

static void
set_map(memcached_st *m, const uint16_t *map, uint32_t maps)
{
	uint32_t *host = calloc(maps, sizeof *host);

	if (host == NULL)
		err(1, "calloc");
	for (uint32_t i = 0; i < maps; i++)
		host[i] = map[i];
	need(memcached_bucket_set(m, host, NULL, maps, 0), "buckets");
	free(host);
}

static bool
is_known(uint32_t scheme)
{
	return MCSHM_SCHEME_LIBMEMCACHED_MODULA <= scheme &&
	    scheme <= MCSHM_SCHEME_TWEMPROXY_KETAMA;
}

memcached_st *
choose_peer(const struct scheme_setting *set, uint32_t n, const uint16_t *map,
    uint32_t maps)
{
	memcached_st *m;

	if (!is_known(set->scheme) ||
	    (scheme_has_ring(set->scheme) && n > CHOOSE_PEER_RING))
		return NULL;
	if ((m = memcached_create(NULL)) == NULL)
		err(1, "libmemcached");
	behave(m, MEMCACHED_BEHAVIOR_HASH, peer_hash(set->points_hash));
	switch (set->scheme) {
	case MCSHM_SCHEME_LIBMEMCACHED_MODULA:
		break;
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA:
		behave(m, MEMCACHED_BEHAVIOR_DISTRIBUTION,
		    MEMCACHED_DISTRIBUTION_CONSISTENT);
		break;
	/* twemproxy's ring is libmemcached's with another hash of the key. */
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED:
	case MCSHM_SCHEME_TWEMPROXY_KETAMA:
		behave(m, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
		break;
	case MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET:
		set_map(m, map, maps);
		break;
	}
	add_servers(m, n);
	behave(m, MEMCACHED_BEHAVIOR_HASH, peer_hash(set->hash));
	return m;
}

bool
choose_peer_ejects(uint32_t scheme)
{
	return scheme_has_ring(scheme);
}

/* Who is not to be asked before tomorrow is left out by what builds the ring
 * anew. */
void
choose_peer_eject(memcached_st *m, uint32_t n, uint32_t step)
{
	const time_t tomorrow = time(NULL) + DAY;

	behave(m, MEMCACHED_BEHAVIOR_REMOVE_FAILED_SERVERS, 1);
	for (uint32_t i = 0; i < n; i += step)
		memcached_instance_next_retry(
		    memcached_server_instance_by_position(m, i), tomorrow);
	behave(m, MEMCACHED_BEHAVIOR_SORT_HOSTS, 0);
}
