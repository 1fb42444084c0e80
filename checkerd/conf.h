/*
 * conf.h - the ini file: read, checked, dumped.
 *
 * One row of the table in conf.c is all there is to know of a key.  Every
 * error is reported, as "file:line: what is wrong; what would be right".
 * struct conf stops at main.
 */
#ifndef CONF_H
#define CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mcshm_format.h"
#include "scheme.h"
#include "servers.h"

enum conf_log_probes { CONF_LOG_NONE, CONF_LOG_FAILURES, CONF_LOG_ALL };

struct conf_pool {
	char name[MCSHM_POOL_MAX + 1];
	char *file;			/* path of its mcshm file */
	struct scheme_setting set;
	uint16_t *map;			/* buckets: slots, each below servers.n;
					 * scheme_takes_map() */
	uint32_t maps;			/* of them; 0: none were written */
	uint32_t dead;			/* enum mcshm_dead */
	uint32_t failover_ttl;		/* s */
	uint64_t interval, fast_interval, down_interval;	/* ns */
	uint64_t timeout, connect_timeout;
	uint64_t hold_after, rehash_after, min_down_time;
	uint32_t fall, rise;
	uint32_t ratio_bad, ratio_of;	/* fall_ratio; 0/0: off */
	uint32_t jitter;		/* percent */
	struct servers servers;
};

struct conf {
	char *path;			/* of the ini, as given */
	char *directory;		/* of the pool files */
	uint64_t heartbeat, stale_after;	/* ns */
	uint32_t log_probes;		/* enum conf_log_probes */
	uint32_t reports;		/* 1: take them from clients */
	struct conf_pool *pool;
	uint32_t pools;
};

/*
 * Read path.  0, and lines in errors are warnings; or the number of errors,
 * each written there as a line of its own, and *c is not touched.  NULL: they
 * are thrown away.  conf_free() it.
 */
unsigned conf_load(struct conf *c, const char *path, FILE *errors);
void conf_free(struct conf *c);

/* The effective values as an ini that loads to the same; keys that mean nothing
 * to a pool's scheme are left out. */
void conf_dump(const struct conf *c, FILE *out);

/* One key, for whoever explains them: the test of the manual does. */
struct conf_key {
	const char *name;
	bool checker, defaults, pool;	/* sections that it may stand in */
	const char *standard;	/* the default; NULL: none, or it depends */
	char range[100];	/* "10ms to 1h"; "" where there is none */
};
/* The i-th key; false past the last. */
bool conf_key(struct conf_key *k, unsigned i);

#endif
