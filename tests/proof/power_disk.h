/*
 * power_disk.h - what a disk may hold, as the journal tells it, and one case of
 * it.
 *
 *	power.c		the journal, and all cases of it
 *	power_recover.c	one case: the files, and what comes back from them
 */
#ifndef POWER_DISK_H
#define POWER_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm_format.h"
#include "power.h"

#define POWER_NONE UINT32_MAX
#define POWER_PAGES 256u		/* of a file */
#define POWER_FILES 256u
#define POWER_OPS 8u		/* changes of names between two fsyncs */
#define POWER_SECTOR 512u	/* what a disk writes whole */

struct power_version {
	unsigned char byte[POWER_PAGE];
};

struct power_page {
	struct power_version *v;	/* v[0]: durable */
	uint32_t n;
	bool lost;		/* an msync failed: the kernel may have dropped
				 * it, and calls it clean */
};

/* A state that was published: the whole section. */
struct power_state {
	uint64_t generation;
	unsigned char *section;
};

struct power_file {
	struct power_page page[POWER_PAGES];
	uint32_t pages;
	struct power_state *state;
	uint32_t states;
	bool foreign;		/* state[0] is of another boot */
};

struct power_op {
	uint32_t kind, at;	/* at: the name, where it is one */
	uint32_t file;		/* created, or moved to the path, */
	uint32_t other;		/* in exchange for this */
};

struct power {
	const char *dir, *shmdump;
	char path[256], tmp[256];
	uint64_t limit, every, seed;
	struct power_file file[POWER_FILES];
	uint32_t name[POWER_NAMES];	/* durable, */
	uint32_t live[POWER_NAMES];	/* and as the daemon sees them */
	struct power_op op[POWER_OPS];
	uint32_t ops;
	/* This case: of each page of the file at the path a version; of the
	 * torn one, so many sectors of it, and the others of another. */
	uint32_t pick[POWER_PAGES];
	struct {
		uint32_t page, sectors, rest;	/* page: NONE if none is */
	} torn;
	/* All of them. */
	uint64_t points, drawn;		/* drawn: by lot, too many for all */
	uint64_t cases, old, new, unmade, torns, damaged, rebooted, verified;
	uint64_t states, failures, kept;
};

_Noreturn void power_die(const char *what);
void *power_need(void *p);	/* or die for want of memory */
/* A number by lot. */
uint64_t power_draw(struct power *p);
/* This case is not as it should be.  path: the file there, or NONE. */
void power_failed(struct power *p, uint32_t path, const char *what);

const struct power_version *power_newest(const struct power_file *f,
    uint32_t page);
struct mcshm_header power_header(const struct power_version *v);
bool power_this_boot(const struct mcshm_header *h);
/* The disk may have less than has been published. */
bool power_file_failed(const struct power_file *f);

/* Lay out this case, with these names, and recover from it. */
void power_recover(struct power *p, const uint32_t name[POWER_NAMES]);

#endif
