/*
 * open.c - what a new process pays before its first key: mcshm_open(), one
 * mcshm_pick(), mcshm_close(), of a pool of 1000 servers, native and with a
 * ring; and what it keeps in private memory.
 *
 * Every process of a site with libmemcached builds a ring of its own instead;
 * open_peer.c says what that takes with 100 servers, and its answers, ns and
 * KiB, are our arguments ("-": there is no libmemcached here).
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "keys.h"
#include "mcshm.h"
#include "pool.h"

#define SERVERS 1000
#define KEYS 1000

static const struct pool_plan native = { .set = {
	.scheme = MCSHM_SCHEME_MAGLEV,
	.hash = MCSHM_HASH_XXH3, .points_hash = MCSHM_HASH_XXH3 } };
static const struct pool_plan ketama = { .set = {
	.scheme = MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED,
	.hash = MCSHM_HASH_MD5, .points_hash = MCSHM_HASH_MD5 } };

static void
must(int e, const char *path)
{
	if (e < 0)
		errx(1, "%s: %s", path, mcshm_strerror(e));
}

static double
open_once(const void *path)
{
	const uint64_t began = bench_ns();
	struct mcshm_choice c;
	struct mcshm *m;

	must(mcshm_open(&m, path, 0), path);
	must(mcshm_pick(m, "user:42", 7, &c), path);
	mcshm_close(m);
	return (double)(bench_ns() - began);
}

/* KiB that a process has for itself alone once it has opened the pool and
 * picked with all keys. */
static double
private_memory(const char *path)
{
	static struct keys_one key[KEYS];
	struct mcshm_choice c;
	struct mcshm *m;
	double before, after;

	keys_make(key, KEYS);
	before = bench_private_kib();
	must(mcshm_open(&m, path, 0), path);
	for (int i = 0; i < KEYS; i++)
		must(mcshm_pick(m, key[i].text, key[i].len, &c), path);
	after = bench_private_kib();
	mcshm_close(m);
	return after - before;
}

static void
ring_row(const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct mcshm_header h;
	char size[32];

	if (fd < 0 || pread(fd, &h, sizeof h, 0) != sizeof h)
		err(1, "%s", path);
	close(fd);
	snprintf(size, sizeof size, "%.0f KiB",
	    (h.ring_points * (double)sizeof(struct mcshm_point) +
		4. * ((1 << h.ring_index_bits) + 1)) / 1024);
	bench_row("  the ring in the file, for all processes", size, "", 0,
	    NULL, 0, 0);
	printf("  (it has %u points)\n", (unsigned)h.ring_points);
}

/* peer_ns and peer_kib: 0 where there is no peer. */
static void
opening(const char *what, const struct pool_plan *plan, size_t n,
    double peer_ns, double peer_kib)
{
	char memory[32], theirs[32] = "";
	struct pool p;
	double ns, kib;

	pool_open_as(&p, SERVERS, plan);
	ns = bench_median(open_once, p.path, n);
	kib = private_memory(p.path);
	bench_row(what, bench_time(ns), "", 0, "< 100 us", ns, 100e3);
	if (peer_ns > 0)
		bench_row("  against libmemcached's ring of 100",
		    bench_time(ns), bench_time(peer_ns), ns / peer_ns,
		    "< 1/50", ns / peer_ns, 1 / 50.);
	snprintf(memory, sizeof memory, "%.0f KiB", kib);
	if (peer_kib > 0)
		snprintf(theirs, sizeof theirs, "%.0f KiB", peer_kib);
	bench_row("  private memory", memory, theirs,
	    peer_kib > 0 ? kib / peer_kib : 0, "<= 64", kib, 64);
	if (scheme_has_ring(plan->set.scheme))
		ring_row(p.path);
	pool_close(&p);
}

int
main(int argc, char **argv)
{
	const double ns = argc > 2 ? atof(argv[argc - 2]) : 0;
	const double kib = argc > 2 ? atof(argv[argc - 1]) : 0;
	const size_t n = bench_is_quick(argc, argv) ? 20 : 200;

	opening("open, pick, close, 1000 servers", &native, n, ns, kib);
	opening("  the same with a ketama-weighted ring", &ketama, n, ns,
	    kib);
	if (ns <= 0)
		printf("  (libmemcached's ring: left out, no"
		    " libmemcached-dev here)\n");
	return 0;
}
