/*
 * open_peer.c - how long libmemcached takes from nothing to its first answer,
 * with a ketama ring of 100 servers: prints the median in ns, and the KiB of
 * private memory that such a handle has.
 *
 * As kind to it as can be: the servers come in one list, so that the ring is
 * built once.  (It aborts with more than 100.)
 */
#include <err.h>
#include <stdio.h>

#include <libmemcached-1.0/memcached.h>

#include "bench.h"

#define SERVERS 100

static memcached_server_list_st
server_list(void)
{
	memcached_server_list_st list = NULL;
	memcached_return_t rc;

	for (int i = 0; i < SERVERS; i++) {
		char host[32];

		snprintf(host, sizeof host, "127.1.0.%d", i);
		list = memcached_server_list_append(list, host, 11211, &rc);
		if (list == NULL)
			errx(1, "libmemcached: no list");
	}
	return list;
}

static memcached_st *
ring(const memcached_server_list_st *list)
{
	memcached_st *m = memcached_create(NULL);

	if (m == NULL ||
	    memcached_behavior_set(m, MEMCACHED_BEHAVIOR_DISTRIBUTION,
	    MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA) != MEMCACHED_SUCCESS ||
	    memcached_server_push(m, *list) != MEMCACHED_SUCCESS ||
	    memcached_generate_hash(m, "user:42", 7) >= SERVERS)
		errx(1, "libmemcached: no ring");
	return m;
}

static double
open_once(const void *list)
{
	const uint64_t began = bench_ns();

	memcached_free(ring(list));
	return (double)(bench_ns() - began);
}

/* In a process that has built none before, as its memory would be there. */
static double
private_memory(const memcached_server_list_st *list)
{
	const double before = bench_private_kib();
	memcached_st *m = ring(list);
	const double after = bench_private_kib();

	memcached_free(m);
	return after - before;
}

int
main(int argc, char **argv)
{
	const memcached_server_list_st list = server_list();
	const double kib = private_memory(&list);

	printf("%.0f %.0f\n", bench_median(open_once, &list,
	    bench_is_quick(argc, argv) ? 3 : 21), kib);
	memcached_server_list_free(list);
	return 0;
}
