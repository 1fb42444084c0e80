/*
 * peer_libmemcached.c - the servers that libmemcached chooses.
 *
 * set distribution modula | consistent | weighted | bucket
 * set hash NAME		the key's, as libhashkit names it
 * set points NAME		of the points of "consistent"; else as hash
 * set map I I I ...		of "bucket": memcached_bucket_set()
 * set digest			the hash itself, in two halves (two tries)
 *
 * set eject			who fails once is ejected, when storing
 * set namespace TEXT		to store; "set hash_namespace": it is hashed
 *
 * When asked opens no connection, and a server that is down is ejected by
 * memcached_instance_next_retry() and REMOVE_FAILED_SERVERS.  TRIES is 1.
 */
#include <libhashkit/hashkit.h>
#include <libmemcached/memcached.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "request.h"

#define DISTRIBUTION MEMCACHED_BEHAVIOR_DISTRIBUTION
#define MAP_MAX 65536u
#define DAY 86400

static void
need(memcached_return_t rc, const char *what)
{
	if (rc != MEMCACHED_SUCCESS)
		request_fail("libmemcached: %s: %s", what,
		    memcached_strerror(NULL, rc));
}

static void
behave(memcached_st *m, memcached_behavior_t b, uint64_t value)
{
	need(memcached_behavior_set(m, b, value),
	    libmemcached_string_behavior(b));
}

static memcached_hash_t
hash_by_name(const char *name)
{
	static const struct {
		const char *name;
		memcached_hash_t hash;
	} hashes[] = {
		{ "default", MEMCACHED_HASH_DEFAULT },
		{ "one_at_a_time", MEMCACHED_HASH_DEFAULT },
		{ "md5", MEMCACHED_HASH_MD5 },
		{ "crc", MEMCACHED_HASH_CRC },
		{ "fnv1_64", MEMCACHED_HASH_FNV1_64 },
		{ "fnv1a_64", MEMCACHED_HASH_FNV1A_64 },
		{ "fnv1_32", MEMCACHED_HASH_FNV1_32 },
		{ "fnv1a_32", MEMCACHED_HASH_FNV1A_32 },
		{ "hsieh", MEMCACHED_HASH_HSIEH },
		{ "murmur", MEMCACHED_HASH_MURMUR },
		{ "murmur3", MEMCACHED_HASH_MURMUR3 },
		{ "jenkins", MEMCACHED_HASH_JENKINS },
	};

	for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++)
		if (strcmp(hashes[i].name, name) == 0)
			return hashes[i].hash;
	request_fail("libhashkit has no hash %s", name);
}

static memcached_hash_t
hash_setting(const struct request *r, const char *word, memcached_hash_t other)
{
	const char *name = request_setting(r, word);

	return name ? hash_by_name(name) : other;
}

static void
add_servers(memcached_st *m, const struct request *r)
{
	for (uint32_t i = 0; i < r->servers; i++) {
		const struct request_server *s = &r->server[i];

		if (s->host[0] == '/')
			need(memcached_server_add_unix_socket_with_weight(m,
			    s->host, s->weight), s->host);
		else
			need(memcached_server_add_with_weight(m, s->host,
			    (in_port_t)s->port, s->weight), s->host);
	}
}

static void
set_map(memcached_st *m, const char *map)
{
	uint32_t *host = calloc(MAP_MAX, sizeof *host), n = 0;

	for (char *end; *map != '\0' && n < MAP_MAX; map = end)
		host[n++] = (uint32_t)strtoul(map, &end, 10);
	need(memcached_bucket_set(m, host, NULL, n, 0), "bucket_set");
	free(host);
}

/* The hash of the key is set last: setting it before the distribution would
 * be setting that of the points, too. */
static void
distribute(memcached_st *m, const struct request *r)
{
	const char *how = request_setting(r, "distribution");
	const char *map = request_setting(r, "map");
	const memcached_hash_t hash =
	    hash_setting(r, "hash", MEMCACHED_HASH_DEFAULT);

	behave(m, MEMCACHED_BEHAVIOR_HASH, hash_setting(r, "points", hash));
	if (how == NULL || strcmp(how, "modula") == 0)
		behave(m, DISTRIBUTION, MEMCACHED_DISTRIBUTION_MODULA);
	else if (strcmp(how, "consistent") == 0)
		behave(m, DISTRIBUTION, MEMCACHED_DISTRIBUTION_CONSISTENT);
	else if (strcmp(how, "weighted") == 0)
		behave(m, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
	else if (map != NULL)
		set_map(m, map);
	else
		behave(m, DISTRIBUTION, MEMCACHED_DISTRIBUTION_VIRTUAL_BUCKET);
	behave(m, MEMCACHED_BEHAVIOR_HASH, hash);
}

/* Servers that are down are not to be asked before tomorrow; then whatever
 * rebuilds the ring leaves them out. */
static void
eject(memcached_st *m, const struct request *r)
{
	const time_t tomorrow = time(NULL) + DAY;
	bool any = false;

	if (request_setting(r, "eject")) {
		behave(m, MEMCACHED_BEHAVIOR_REMOVE_FAILED_SERVERS, 1);
		behave(m, MEMCACHED_BEHAVIOR_SERVER_FAILURE_LIMIT, 1);
		behave(m, MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, DAY);
	}
	for (uint32_t i = 0; i < r->servers; i++)
		any = any || r->server[i].down;
	if (!any)
		return;
	behave(m, MEMCACHED_BEHAVIOR_REMOVE_FAILED_SERVERS, 1);
	for (uint32_t i = 0; i < r->servers; i++)
		if (r->server[i].down)
			memcached_instance_next_retry(
			    memcached_server_instance_by_position(m, i),
			    tomorrow);
	behave(m, MEMCACHED_BEHAVIOR_SORT_HOSTS, 0);
}

static memcached_st *
build(const struct request *r)
{
	const char *namespace = request_setting(r, "namespace");
	memcached_st *m = memcached_create(NULL);

	if (namespace != NULL)
		need(memcached_callback_set(m, MEMCACHED_CALLBACK_NAMESPACE,
		    namespace), namespace);
	if (request_setting(r, "hash_namespace"))
		behave(m, MEMCACHED_BEHAVIOR_HASH_WITH_PREFIX_KEY, 1);
	add_servers(m, r);
	distribute(m, r);
	eject(m, r);
	return m;
}

static void
answer(struct request *r, const memcached_st *m)
{
	for (uint32_t i = 0; i < r->count; i++) {
		size_t len;
		const char *key = request_key(r, i, &len);

		request_answer(r, i, 0, memcached_generate_hash(m, key, len));
	}
	request_done(r);
}

static void
store(struct request *r, memcached_st *m)
{
	for (uint32_t i = 0; i < r->count; i++) {
		size_t len;
		const char *key = request_key(r, i, &len);
		const memcached_return_t rc =
		    memcached_set(m, key, len, "1", 1, 0, 0);

		request_answer(r, i, 0, rc == MEMCACHED_SUCCESS);
	}
	request_done(r);
}

static void
digest(struct request *r)
{
	const memcached_hash_t hash =
	    hash_setting(r, "hash", MEMCACHED_HASH_DEFAULT);

	for (uint32_t i = 0; i < r->count; i++) {
		size_t len;
		const char *key = request_key(r, i, &len);
		const uint32_t h = libhashkit_digest(key, len,
		    (hashkit_hash_algorithm_t)hash);

		request_answer(r, i, 0, h & 0xffff);
		request_answer(r, i, 1, h >> 16);
	}
	request_done(r);
}

int
main(void)
{
	struct request r = { 0 };
	memcached_st *m = NULL;

	while (request_next(&r)) {
		if (request_setting(&r, "digest")) {
			digest(&r);
			continue;
		}
		if (r.changed || m == NULL) {
			memcached_free(m);
			m = build(&r);
		}
		if (r.store)
			store(&r, m);
		else
			answer(&r, m);
	}
	memcached_free(m);
	request_free(&r);
	return 0;
}
