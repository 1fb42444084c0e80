/*
 * pool.h - a pool file for benches, kept by the daemon's own writer
 * (checkerd/publish.c); servers s0, s1, ... that nobody probes.
 *
 * Whatever fails ends the program: a bench has nothing better to do.
 */
#ifndef BENCH_POOL_H
#define BENCH_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "publish.h"

struct pool {
	char path[160];
	struct publish *publish;
	struct mcshm *reader;		/* to see what others see */
	struct publish_entry *entry;
	struct publish_roster roster;
};

/* How keys are to be spread.  map as in publish_roster, which borrows it;
 * unnamed: servers are known by their addresses only. */
struct pool_plan {
	struct scheme_setting set;
	uint16_t *map;
	uint32_t maps;
	bool unnamed;
};

/* In the directory $BENCH_DIR; all servers UP; the native scheme. */
void pool_open(struct pool *p, uint32_t n);
void pool_open_as(struct pool *p, uint32_t n, const struct pool_plan *plan);
void pool_close(struct pool *p);	/* and unlink */

/* The host of server i; its port is 11211. */
void pool_host(char host[32], uint32_t i);

/* Say so of a server; in the file with the next pool_publish(). */
void pool_verdict(struct pool *p, uint32_t i, uint32_t verdict);
/* Publish at once, without waiting for it; */
void pool_publish(struct pool *p);
/* or with a heartbeat, which readers believe for 30 s, and wait until readers
 * see it. */
void pool_publish_wait(struct pool *p);

/* Its generation, as a reader sees it. */
uint64_t pool_generation(const struct pool *p);

#endif
