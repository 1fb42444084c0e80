/*
 * power.h - the journal between the recorder, which is in the daemon, and the
 * enumerator: all that would have been on its way to the disk, in order.
 */
#ifndef POWER_H
#define POWER_H

#include <stdint.h>

#define POWER_PAGE 4096u

enum power_kind {
	POWER_DATA = 1,		/* a page has become this: at, its number;
				 * POWER_PAGE bytes follow */
	POWER_SIZE,		/* the file has this size */
	POWER_SYNC,		/* at, size: durable, as it is now */
	POWER_FSYNC,		/* all of it, and its size */
	POWER_FAILED,		/* an msync that gave an error */
	POWER_DIRSYNC,		/* names are durable as they are now */
	POWER_CREATE,		/* name `at` leads to the file */
	POWER_RENAME,		/* the temporary name became the path */
	POWER_EXCHANGE,		/* of the two names */
	POWER_UNLINK,		/* name `at` is gone */
	POWER_FOUND		/* the path leads to the file since before the
				 * journal; all that it became so far is what
				 * it was found as */
};

enum power_name { POWER_PATH, POWER_TMP, POWER_NAMES };

struct power_record {
	uint32_t kind;
	uint32_t file;		/* in the order in which they were met */
	uint64_t at, size;
};

#endif
