/*
 * dump_pool.h - the facts about a pool: what a file says, seen at one moment.
 *
 * Pure: no I/O, no clock, no text.  Text picture, details, JSON and keys are
 * all made from this, so that they agree.
 */
#ifndef DUMP_POOL_H
#define DUMP_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "dump_file.h"

struct dump_time {
	uint64_t boot, real;		/* BOOTTIME, REALTIME, ns */
	uint64_t boot_id[2];		/* 0, 0: not known */
};

/* How much a server wants to be seen; the order of the picture. */
enum dump_rank {
	DUMP_DOWN,
	DUMP_HELD,
	DUMP_RECOVERING,
	DUMP_ODD,		/* not usable, for a reason not known here */
	DUMP_UNSEEN,		/* used, and the checker can not look at it */
	DUMP_OUT,		/* the operator took it out: MAINT, DRAIN */
	DUMP_DEGRADED,
	DUMP_UNKNOWN,
	DUMP_FAILING,		/* UP, but its last probe failed */
	DUMP_HEALTHY,
	DUMP_RANKS
};

struct dump_server {
	const struct mcshm_roster *roster;
	const struct mcshm_entry *entry;
	uint32_t slot;
	enum dump_rank rank;
	bool usable, held;	/* as a pick sees it at this moment */
	double home, now;	/* shares of keys, 0..1 */
};

struct dump_pool {
	const struct dump_file *file;
	const struct mcshm_section *section;	/* the active one */
	struct scheme_place place;		/* as a pick sees it */
	struct dump_server *server;		/* in slot order */
	uint32_t servers;
	uint32_t usable;			/* as a pick counts them */
	uint32_t ranks[DUMP_RANKS], maint, drain;
	uint32_t risks;		/* DEGRADED by old values alone, which nobody
				 * was to flush */

	bool alive, hung;	/* a checker has the lock; but does not beat */
	bool stale;		/* clients ignore the verdicts */
	bool rebooted;		/* written before this host's last boot */
	bool never;		/* no heartbeat yet */
	bool fail_open;
	uint64_t awareness;	/* MCSHM_SPARE_AWARENESS */
	uint64_t vain;		/* MCSHM_SPARE_VAIN */
	bool sightless;		/* it can look at none of those in use */
	bool blind;		/* nobody vouches: every READY server is used */
	uint64_t heartbeat_age;	/* ns; 0 where rebooted or never */
	uint64_t generation;	/* without its RETIRED bit */
	struct dump_time time;

	bool placed;		/* its scheme is known: the next are, too */
	double rehashed;	/* share of keys that are not at home, */
	double held;		/* whose chain ends at a silent server */
	double missed;		/* that have no server by dead=, or by none */
};

/* Exit codes, as Nagios has them; the worst of all pools counts. */
enum dump_exit {
	DUMP_EXIT_OK = 0,
	DUMP_EXIT_TROUBLE = 1,		/* of servers */
	DUMP_EXIT_UNPROTECTED = 2,	/* of the checker, or all down */
	DUMP_EXIT_UNREADABLE = 3
};

/* f must outlive p.  0, or -1: no memory. */
int dump_pool_init(struct dump_pool *p, const struct dump_file *f,
    struct dump_time now);
void dump_pool_free(struct dump_pool *p);
enum dump_exit dump_pool_exit(const struct dump_pool *p);

/* A BOOTTIME stored by the checker: how long ago, and when by the calendar.
 * False if it is 0, or can not be known. */
bool dump_pool_age(const struct dump_pool *p, uint64_t boot, uint64_t *age);
/* How much of a time that is still to come is left; 0: none. */
uint64_t dump_pool_left(const struct dump_pool *p, uint64_t boot);
bool dump_pool_real(const struct dump_pool *p, uint64_t boot, uint64_t *real);

/* Did the server say anything of itself when it was asked who it is? */
bool dump_pool_identified(const struct mcshm_entry *e);

/* The server with this name, or this address where it has none or in place of
 * it; NULL if there is none. */
const struct dump_server *dump_pool_find(const struct dump_pool *p,
    const char *name);

#endif
