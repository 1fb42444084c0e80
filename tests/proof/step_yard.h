/*
 * step_yard.h - the directory of one run, and whether anything in it changed.
 */
#ifndef STEP_YARD_H
#define STEP_YARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define YARD_FILES 8

/* An inode, mapped. */
struct yard_file {
	ino_t inode;			/* 0: no file here */
	const unsigned char *map;	/* NULL: empty */
	size_t size;
	bool named;			/* by some name in the directory */
	bool ours;			/* has, or had, the pool file's name */
};

struct yard {
	char dir[96], path[128];	/* of the pool's file */
	struct yard_file file[YARD_FILES];
	uint64_t names, other_names;	/* sums: who has the file's name; who
					 * any other */
};

struct yard_sum {
	uint64_t file;		/* what clients have mapped or can open */
	uint64_t other;		/* what else is there */
};

/* dir: to be made. */
bool yard_open(struct yard *y, const char *dir);
/* Nothing is in it, nothing mapped. */
void yard_clear(struct yard *y);
/* Remove it. */
void yard_close(struct yard *y);
/* Read the directory: only system calls can change what it says. */
bool yard_scan(struct yard *y);
/* Of all bytes, as they are in this moment. */
struct yard_sum yard_sum(const struct yard *y);
/* Exactly one file, of the right name. */
bool yard_is_tidy(const struct yard *y);
bool yard_has_file(const struct yard *y);
/* What an operator should not do. */
bool yard_remove_file(const struct yard *y);
bool yard_replace_file(const struct yard *y);

#endif
