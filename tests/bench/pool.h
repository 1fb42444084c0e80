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

/* In the directory $BENCH_DIR; all servers UP. */
void pool_open(struct pool *p, uint32_t n);
void pool_close(struct pool *p);	/* and unlink */

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
