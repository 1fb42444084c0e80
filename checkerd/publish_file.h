/*
 * publish_file.h - pool files as the kernel sees them: made, locked, attached
 * to, published into, exchanged, retired.
 *
 * Every function may wait for a disk; none reads the clock (but the one wait
 * for a lock, at start), none logs.  Errors are errno values, with the deed in
 * a struct publish_trouble.  Private to publish*.c.
 */
#ifndef PUBLISH_FILE_H
#define PUBLISH_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "publish_image.h"

/* Where a pool's file lives: DIR/NAME.mcshm, DIR/.NAME.tmp.PID. */
struct place {
	char path[PATH_MAX];
	char dir[PATH_MAX];
	char name[NAME_MAX + 1];
	char tmp[NAME_MAX + 1];
	int dirfd;
	bool on_disk;			/* not tmpfs or ramfs */
};

/* One inode that we hold the lock of. */
struct file {
	int fd;
	dev_t dev;
	ino_t ino;
	struct mcshm_header head;	/* private copy of the fixed words */
	unsigned char *map;		/* head.file_size bytes */
	unsigned char *work;		/* the section as last made, private */
	uint64_t *entry_sum;		/* of work, one a slot, */
	uint64_t entries_sum;		/* and of all */
	uint64_t *unsummed;		/* bitmap: entries that changed since */
	uint64_t *behind[2];		/* bitmaps: entries that a section does
					 * not have as work has them */
	struct servers servers;
	uint32_t *slot_of;		/* by index in the newest roster */
	uint32_t slots_of;
};

int place_open(struct place *w, const char *path, struct publish_trouble *t);
/* The directory anew: it may have been removed and made again. */
int place_reopen(struct place *w, struct publish_trouble *t);
void place_close(struct place *w);
/* Retire and unlink what killed daemons left under temporary names. */
void place_sweep(const struct place *w);
/* Does the path still lead to f?  Does it surely not (where it can not be asked
 * for the moment, neither)? */
bool place_has(const struct place *w, const struct file *f);
bool place_lost(const struct place *w, const struct file *f);

/* What was found at a path. */
enum file_found {
	FILE_NONE,		/* nothing */
	FILE_ATTACHED,		/* *f is it, locked */
	FILE_UNFIT,		/* ours to replace: damaged, retired, of another
				 * version; locked by *f (fd only), count in
				 * *generation (0: not known) */
	FILE_TROUBLE		/* *t */
};
/* Lock and check what is at the path.  patience: how long to try for a lock
 * that somebody holds, in steps of 20 ms. */
enum file_found file_attach(struct file *f, const struct place *w,
    unsigned patience, uint64_t *generation, struct publish_trouble *t);

/*
 * A new file for roster r under the temporary name: zeros written, locked,
 * fixed parts and first section in, fsynced; servers UNKNOWN.  Its first
 * generation is `generation` or, where that is 0, a random one.
 */
int file_make(struct file **f, const struct place *w,
    const struct publish_roster *r, uint64_t generation,
    struct publish_time now, struct publish_trouble *t);
/* Give it the name: where nobody has it (EEXIST), or in exchange for `at`, which
 * then lies under the temporary name.  EBUSY: somebody else has it by now; it
 * stays his, and f is retired. */
int file_link(const struct place *w, struct file *f, const struct file *at,
    struct publish_trouble *t);
/* Throw away whatever lies under the temporary name. */
void file_unlink_tmp(const struct place *w);

/* Does f serve roster r the way a new file would?  0 or ENOMEM. */
int file_serves(const struct file *f, const struct publish_roster *r,
    bool *same);
/* All of it to the disk; 0, or -1 and errno. */
int file_sync(struct file *f);

/* Believe this of the server in a slot; into work. */
void file_set(struct file *f, uint32_t slot, const struct publish_entry *e);
/* All that `from`, of the same geometry, believes. */
void file_set_all(struct file *f, const struct file *from);

/*
 * Publish work, at the time `now`; clock is read before and after msync for
 * the heartbeat.  whole: write what has changed, and compare all the rest, so
 * that what a foreign hand did to the section is gone; else write what has
 * changed, which a verdict of one server of thousands needs not wait longer
 * for.  0, or the errno of an msync (it is published all the same).
 */
int file_publish(struct file *f, bool whole, uint64_t flags,
    struct publish_time now, const _Atomic uint64_t *clock);
/* The same section, as the first one of a file that nobody has mapped yet. */
void file_seed(struct file *f, uint64_t generation, uint64_t flags,
    struct publish_time now);
/* This daemon's words in the header; started: BOOTTIME, which tells it from an
 * earlier one with the same pid. */
void file_own(struct file *f, const struct publish_about *about,
    struct publish_time now, uint64_t started, const uint64_t boot_id[2]);
void file_beat(struct file *f, uint64_t boot);
/* Own-fault counters. */
void file_faults(struct file *f, uint64_t local_errors, uint64_t tilts);
/* Goes out with the next section. */
void file_spare(struct file *f, unsigned word, uint64_t value);
/* This daemon ends by itself. */
void file_end(struct file *f);
uint64_t file_generation(const struct file *f);
/* Readers: this one is over.  Also for one found FILE_UNFIT. */
void file_retire(struct file *f);
/* Whether the file's verdicts are of this boot of the host. */
bool file_this_boot(const struct file *f, const uint64_t boot_id[2]);
/* Unmap, let go of the lock, free.  NULL is allowed. */
void file_close(struct file *f);

#endif
