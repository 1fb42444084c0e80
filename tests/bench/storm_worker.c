/*
 * storm_worker.c - an ordinary program of libmemcached's, as there are many on
 * a host: one of the storm's processes.
 *
 *	storm_worker FILE NUMBER OF VARIANT POOL PORT...
 *
 *	FILE	what they share (storm.h)
 *	NUMBER	0 to OF - 1; they divide the first writes among them
 *	VARIANT	plain	libmemcached, as it is set up below
 *		eject	its best settings against servers that fail
 *		tied	two lines more, those of our adapter: POOL
 *		alone	tied, but for what it finds out by itself: no suspect
 *			marks, no reports; only the checker's word
 *
 * A closed loop: 90 % get, 10 % set, then a pause of THINK; a miss is refilled
 * by a set, an error is counted and not tried again.  Prints "ready" once its
 * keys are stored, and at the end a line of numbers for each phase: done, gets,
 * failed, stalled, stalled ns, misses, moved, stale.
 */
#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <libmemcached/memcached.h>
#include <mcshm-memcached.h>

#include "bench.h"
#include "storm.h"

#define THINK 200000			/* ns */
#define STALL 100000000			/* ns */
#define TIMEOUT 250			/* ms */
#define VALUE 100			/* bytes */

struct count {
	uint64_t done, gets, failed, stalled, stalled_ns, misses, moved, stale;
};

struct worker {
	struct storm *storm;
	memcached_st *memc;
	uint64_t random;
	uint16_t home[STORM_KEYS];	/* ports */
	struct count count[STORM_PHASES];
};

/* The client -------------------------------------------------------------- */

static void
behave(memcached_st *m, memcached_behavior_t b, uint64_t value)
{
	if (memcached_behavior_set(m, b, value) != MEMCACHED_SUCCESS)
		errx(1, "libmemcached: %s", libmemcached_string_behavior(b));
}

static memcached_st *
client(char **port)
{
	memcached_st *m = memcached_create(NULL);

	behave(m, MEMCACHED_BEHAVIOR_DISTRIBUTION,
	    MEMCACHED_DISTRIBUTION_CONSISTENT);
	behave(m, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1);
	behave(m, MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, TIMEOUT);
	behave(m, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, TIMEOUT);
	behave(m, MEMCACHED_BEHAVIOR_SND_TIMEOUT, TIMEOUT * 1000);
	behave(m, MEMCACHED_BEHAVIOR_RCV_TIMEOUT, TIMEOUT * 1000);
	behave(m, MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 2);
	for (; *port != NULL; port++)
		if (memcached_server_add(m, "127.0.0.1",
		    (in_port_t)atoi(*port)) != MEMCACHED_SUCCESS)
			errx(1, "libmemcached: 127.0.0.1:%s", *port);
	return m;
}

static void
eject(memcached_st *m)
{
	behave(m, MEMCACHED_BEHAVIOR_AUTO_EJECT_HOSTS, 1);
	behave(m, MEMCACHED_BEHAVIOR_SERVER_FAILURE_LIMIT, 1);
	behave(m, MEMCACHED_BEHAVIOR_DEAD_TIMEOUT, 2);
}

static void
tie(memcached_st *m, const char *pool, bool alone)
{
	char why[256];
	const int e = mcshm_memcached_attach(m, pool, 0);

	if (e != 0)
		errx(1, "%s: %s", pool,
		    mcshm_memcached_strerror(m, e, why, sizeof why));
	if (!alone)
		return;
	mcshm_ctl(mcshm_memcached_pool(m), MCSHM_SUSPECT_TIME, 0);
	mcshm_ctl(mcshm_memcached_pool(m), MCSHM_REPORTS, 0);
}

static uint16_t
port_of(struct worker *w, const char *key, size_t len)
{
	memcached_return_t rc;
	const memcached_instance_st *s =
	    memcached_server_by_key(w->memc, key, len, &rc);

	return s != NULL ? (uint16_t)memcached_server_port(s) : 0;
}

/* Operations -------------------------------------------------------------- */

static size_t
key_text(char key[32], uint32_t i)
{
	return (size_t)snprintf(key, 32, "page:%u", (unsigned)i);
}

static bool
write_version(struct worker *w, const char *key, size_t len, uint32_t version)
{
	char value[VALUE + 1];

	snprintf(value, sizeof value, "%-*u", VALUE, (unsigned)version);
	return memcached_set(w->memc, key, len, value, VALUE, 0, 0) ==
	    MEMCACHED_SUCCESS;
}

/* 1: stored, 0: not, below 0: somebody else is writing it. */
static int
set(struct worker *w, uint32_t i)
{
	struct storm_key *k = &w->storm->key[i];
	char key[32];
	const size_t len = key_text(key, i);
	uint32_t version;
	bool stored;

	if (atomic_exchange(&k->locked, 1) != 0)
		return -1;
	version = atomic_fetch_add(&k->next, 1) + 1;
	stored = write_version(w, key, len, version);
	if (stored)
		atomic_store(&k->acked, version);
	atomic_store(&k->locked, 0);
	return stored;
}

/* As set(); 1 also where it was a miss. */
static int
get(struct worker *w, struct count *c, uint32_t i)
{
	const uint32_t acked = atomic_load(&w->storm->key[i].acked);
	char key[32], *value;
	const size_t key_len = key_text(key, i);
	memcached_return_t rc;
	uint32_t flags;
	size_t len;

	value = memcached_get(w->memc, key, key_len, &len, &flags, &rc);
	if (rc == MEMCACHED_NOTFOUND) {
		c->gets++;
		c->misses++;
		return set(w, i) != 0;
	}
	if (value == NULL || rc != MEMCACHED_SUCCESS) {
		free(value);
		return 0;
	}
	c->gets++;
	c->stale += strtoul(value, NULL, 10) < acked;
	free(value);
	return 1;
}

static bool
is_well(struct storm *s, uint32_t port)
{
	return atomic_load(&s->failing[0]) != port &&
	    atomic_load(&s->failing[1]) != port;
}

static void
look_where(struct worker *w, struct count *c, uint32_t phase, uint32_t i)
{
	const uint32_t bit = UINT32_C(1) << phase;
	char key[32];
	const size_t len = key_text(key, i);

	if (is_well(w->storm, w->home[i]) &&
	    port_of(w, key, len) != w->home[i] &&
	    (atomic_fetch_or(&w->storm->key[i].moved, bit) & bit) == 0)
		c->moved++;
}

static uint64_t
next_random(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random;
}

static void
one(struct worker *w, uint32_t phase)
{
	const uint64_t r = next_random(w);
	const uint32_t i = (uint32_t)(r >> 32) % STORM_KEYS;
	struct count *c = &w->count[phase];
	uint64_t began, ns;
	int done;

	look_where(w, c, phase, i);
	began = bench_ns();
	done = r % 10 == 0 ? set(w, i) : get(w, c, i);
	ns = bench_ns() - began;
	c->done += done > 0;
	c->failed += done == 0;
	if (ns >= STALL) {
		c->stalled++;
		c->stalled_ns += ns;
	}
}

static void
run(struct worker *w)
{
	const struct timespec think = { .tv_nsec = THINK };
	uint32_t phase;

	while ((phase = atomic_load(&w->storm->phase)) != STORM_OVER) {
		one(w, phase);
		nanosleep(&think, NULL);
	}
}

/* A busy machine may make a server late for once. */
static void
store_first(struct worker *w, uint32_t i)
{
	const struct timespec pause = { .tv_nsec = STALL };

	for (int tries = 0; set(w, i) != 1; tries++) {
		if (tries == 50)
			errx(1, "page:%u: not stored", (unsigned)i);
		nanosleep(&pause, NULL);
	}
}

static void
begin(struct worker *w, uint32_t number, uint32_t of)
{
	/* All of them first: nobody has failed yet. */
	for (uint32_t i = 0; i < STORM_KEYS; i++) {
		char key[32];
		const size_t len = key_text(key, i);

		w->home[i] = port_of(w, key, len);
	}
	for (uint32_t i = number; i < STORM_KEYS; i += of)
		store_first(w, i);
	puts("ready");
	fflush(stdout);
}

static struct storm *
storm_map(const char *path)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);
	struct storm *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);

	if (fd < 0 || s == MAP_FAILED)
		err(1, "%s", path);
	close(fd);
	return s;
}

int
main(int argc, char **argv)
{
	static struct worker w;

	if (argc < 7)
		errx(64, "usage: storm_worker FILE NUMBER OF VARIANT POOL"
		    " PORT...");
	w.storm = storm_map(argv[1]);
	w.random = UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(atoi(argv[2]) + 1);
	w.memc = client(argv + 6);
	if (strcmp(argv[4], "eject") == 0)
		eject(w.memc);
	else if (strcmp(argv[4], "plain") != 0)
		tie(w.memc, argv[5], strcmp(argv[4], "alone") == 0);
	begin(&w, (uint32_t)atoi(argv[2]), (uint32_t)atoi(argv[3]));
	run(&w);
	for (int i = 0; i < STORM_PHASES; i++) {
		const struct count *c = &w.count[i];

		printf("%ju %ju %ju %ju %ju %ju %ju %ju\n",
		    (uintmax_t)c->done, (uintmax_t)c->gets,
		    (uintmax_t)c->failed, (uintmax_t)c->stalled,
		    (uintmax_t)c->stalled_ns, (uintmax_t)c->misses,
		    (uintmax_t)c->moved, (uintmax_t)c->stale);
	}
	memcached_free(w.memc);
	return 0;
}
