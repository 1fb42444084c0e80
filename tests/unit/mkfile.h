/*
 * mkfile.h - pool files for tests, made and published without the daemon.
 *
 *	struct mkfile f;
 *	mkfile_make(&f, MCSHM_SCHEME_MAGLEV, NULL, 4);	in memory, all UP
 *	mkfile_set(&f, 2, MCSHM_DOWN, MCSHM_READY);
 *	mkfile_create(&f, "/tmp/x/web.mcshm");		on disk
 *	mkfile_set(&f, 2, MCSHM_UP, MCSHM_READY);
 *	mkfile_publish(&f);				by the protocol
 *	mkfile_free(&f);
 *
 * f.h and what mkfile_entry() and mkfile_roster() give may be changed by hand
 * at any time; mkfile_seal() (which creating and publishing do) makes counts,
 * bitmaps and sums fit.  Nothing here can fail: it aborts.
 */
#ifndef MKFILE_H
#define MKFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcshm.h"
#include "mcshm_format.h"
#include "scheme.h"

struct mkfile_server {
	const char *name;		/* or "" */
	const char *host;
	uint32_t kind, port, weight;	/* MCSHM_KIND_... */
};

struct mkfile {
	unsigned char *p;		/* the whole file, in private memory */
	struct mcshm_header *h;		/* its header */
	uint64_t flags;			/* of the section: MCSHM_SECTION_... */
	uint64_t address_epoch;
	bool unsealed;			/* leave sums, counts and bitmaps as
					 * they are: for damage */
	unsigned char *map;		/* the file on disk, writable; or
					 * NULL */
	size_t map_size;
	int fd;
	size_t size;			/* of the memory at p */
};

/* v: n servers, or NULL for 10.9.x.y:11211 without a name.  All UP and READY,
 * addresses resolved where the host is one, heartbeat now, of this boot. */
void mkfile_make(struct mkfile *f, uint32_t scheme,
    const struct mkfile_server *v, uint32_t n);
/* The same with hashes and all; set->hash 0: the scheme's own. */
void mkfile_make_as(struct mkfile *f, const struct scheme_setting *set,
    const struct mkfile_server *v, uint32_t n);
/* Another one with the same content, not on disk; no new ids. */
void mkfile_copy(struct mkfile *f, const struct mkfile *from);
void mkfile_free(struct mkfile *f);

struct mcshm_roster *mkfile_roster(const struct mkfile *f, uint32_t slot);
struct mcshm_entry *mkfile_entry(const struct mkfile *f, uint32_t slot);
/* The placement and the verdicts as they are in memory. */
struct scheme_place mkfile_place(const struct mkfile *f);
/* enum mcshm_verdict and mcshm_admin; for the next seal. */
void mkfile_set(struct mkfile *f, uint32_t slot, uint32_t verdict,
    uint32_t admin);
void mkfile_set_all(struct mkfile *f, uint32_t verdict, uint32_t admin);
/* Both sections and all sums, in memory. */
void mkfile_seal(struct mkfile *f);
/* Of buckets, ring and index, where the header says that they are. */
uint64_t mkfile_table_sum(const struct mkfile *f);

/* Seal it and give it this name, which may be taken; then it is mapped, and
 * locked as a daemon locks it. */
void mkfile_create(struct mkfile *f, const char *path);
/* The same without map and lock, after any change to f->p: size bytes. */
void mkfile_write(const struct mkfile *f, const char *path, size_t size);
/* The next generation. */
void mkfile_publish(struct mkfile *f);
void mkfile_beat(struct mkfile *f, uint64_t boottime);
/* As a daemon does with a new roster: f, not yet on disk, goes on from old's
 * count and takes its name; old is retired, unlinked and freed. */
void mkfile_replace(struct mkfile *f, struct mkfile *old, const char *path);

uint64_t mkfile_boottime(void);

#endif
