/*
 * dump_head.h - the first lines of a pool: how many are usable, whether the
 * checker lives, and which scheme it is.
 *
 * Pure, but for the time zone: the host's name and the time come from outside.
 */
#ifndef DUMP_HEAD_H
#define DUMP_HEAD_H

#include <stdio.h>

#include "dump_pool.h"

#define DUMP_TITLE 260		/* a pool's name, all bytes escaped */
#define DUMP_INDENT 5		/* of all lines of a pool but its first */

struct dump_look {
	const char *host;	/* this one's name */
	bool colour;
	bool all;		/* the healthy servers one by one, too */
};

void dump_head(FILE *out, const struct dump_pool *p,
    const struct dump_look *look);
/* How its keys become servers, in the words of the ini: all that is not as the
 * scheme has it by itself. */
void dump_head_setting(FILE *out, const struct dump_pool *p);
/* What people call the pool. */
void dump_title(char to[DUMP_TITLE], const struct dump_pool *p);

#endif
