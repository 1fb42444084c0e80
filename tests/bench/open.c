/*
 * open.c - what a new process pays before its first key: mcshm_open(), one
 * mcshm_pick(), mcshm_close(), of a pool of 1000 servers.
 *
 * Every process of a site with libmemcached builds a ring of its own instead;
 * open_peer.c says how long that takes it with 100 servers, and its answer, in
 * ns, is our argument ("-": there is no libmemcached here).
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "mcshm.h"
#include "pool.h"

static double
open_once(const void *path)
{
	const uint64_t began = bench_ns();
	struct mcshm_choice c;
	struct mcshm *m;
	int e = mcshm_open(&m, path, 0);

	if (e == 0)
		e = mcshm_pick(m, "user:42", 7, &c);
	if (e < 0)
		errx(1, "%s: %s", (const char *)path, mcshm_strerror(e));
	mcshm_close(m);
	return (double)(bench_ns() - began);
}

int
main(int argc, char **argv)
{
	const char *peer = argc > 1 ? argv[argc - 1] : "-";
	struct pool p;
	double ns;

	pool_open(&p, 1000);
	ns = bench_median(open_once, p.path,
	    bench_is_quick(argc, argv) ? 20 : 200);
	pool_close(&p);
	bench_row("open, pick, close, 1000 servers", bench_time(ns), "", 0,
	    "< 100 us", ns, 100e3);
	if (atof(peer) > 0)
		bench_row("  against libmemcached's ring of 100",
		    bench_time(ns), bench_time(atof(peer)), ns / atof(peer),
		    "< 1/50", ns / atof(peer), 1 / 50.);
	else
		printf("  (libmemcached's ring: left out, no"
		    " libmemcached-dev here)\n");
	return 0;
}
