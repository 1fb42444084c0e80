/*
 * pool.c - a pool file for benches, kept by the daemon's own writer.
 */
#include "pool.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mcshm.h"
#include "scheme.h"

#define SECOND UINT64_C(1000000000)

static uint64_t
clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static struct publish_time
now(void)
{
	return (struct publish_time){ .boot = clock_ns(CLOCK_BOOTTIME),
		.real = clock_ns(CLOCK_REALTIME) };
}

void
pool_host(char host[32], uint32_t i)
{
	snprintf(host, 32, "127.1.%u.%u", (unsigned)(i / 250),
	    (unsigned)(i % 250));
}

static void
pool_servers(struct pool *p, uint32_t n, bool unnamed)
{
	for (uint32_t i = 0; i < n; i++) {
		struct server s = { .weight = 1, .admin = MCSHM_READY };

		if (!unnamed)
			snprintf(s.name, sizeof s.name, "s%u", (unsigned)i);
		pool_host(s.address.host, i);
		s.address.kind = MCSHM_KIND_IPV4;
		s.address.port = 11211;
		if (servers_add(&p->roster.servers, &s) != 0)
			err(1, "servers");
	}
}

void
pool_open(struct pool *p, uint32_t n)
{
	static const struct pool_plan native = { .set = {
		.scheme = MCSHM_SCHEME_MAGLEV, .hash = MCSHM_HASH_XXH3,
		.points_hash = MCSHM_HASH_XXH3 } };

	pool_open_as(p, n, &native);
}

void
pool_open_as(struct pool *p, uint32_t n, const struct pool_plan *plan)
{
	const char *dir = getenv("BENCH_DIR");
	const struct publish_about about = { .version = "bench" };
	struct publish_trouble t;
	int e;

	*p = (struct pool){ .roster = { .pool = "bench", .set = plan->set,
		.map = plan->map, .maps = plan->maps,
		.stale_after = 30 * SECOND } };
	if (dir == NULL)
		errx(1, "BENCH_DIR is not set");
	snprintf(p->path, sizeof p->path, "%s/bench%u.mcshm", dir,
	    (unsigned)n);
	pool_servers(p, n, plan->unnamed);
	if ((p->entry = calloc(n, sizeof *p->entry)) == NULL)
		err(1, "calloc");
	if (publish_open(&p->publish, p->path, &p->roster, &about, now(),
		&t) != 0)
		errx(1, "%s: %s", t.what, strerror(t.error));
	if ((e = publish_start(p->publish)) != 0)
		errx(1, "%s: %s", p->path, strerror(e));
	if ((e = mcshm_open(&p->reader, p->path, 0)) < 0)
		errx(1, "%s: %s", p->path, mcshm_strerror(e));
	for (uint32_t i = 0; i < n; i++)
		pool_verdict(p, i, MCSHM_UP);
	pool_publish_wait(p);
}

void
pool_close(struct pool *p)
{
	mcshm_close(p->reader);
	publish_remove(p->publish);
	servers_free(&p->roster.servers);
	free(p->entry);
}

void
pool_verdict(struct pool *p, uint32_t i, uint32_t verdict)
{
	struct publish_entry *e = &p->entry[i];

	if (e->verdict.state != verdict) {
		e->verdict.state = verdict;
		e->verdict.since = clock_ns(CLOCK_BOOTTIME);
	}
	e->verdict.history = e->verdict.history << 1 | (verdict == MCSHM_UP);
	e->verdict.probes++;
	publish_set(p->publish, i, e);
}

void
pool_publish(struct pool *p)
{
	publish_now(p->publish);
}

void
pool_publish_wait(struct pool *p)
{
	const uint64_t before = pool_generation(p);

	publish_beat(p->publish, now());
	publish_now(p->publish);
	for (int ms = 0; pool_generation(p) == before; ms++) {
		if (ms == 10000)
			errx(1, "%s: nothing is published", p->path);
		usleep(1000);
	}
}

uint64_t
pool_generation(const struct pool *p)
{
	struct mcshm_status st;

	if (mcshm_snapshot(p->reader, NULL, 0, sizeof(struct mcshm_state), &st,
		sizeof st) < 0)
		errx(1, "%s: no snapshot", p->path);
	return st.generation;
}
