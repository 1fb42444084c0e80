/*
 * dump_picture.h - a pool as a person wants to see it at night.
 *
 * 100 columns, trouble first, the healthy in one line.  Pure, but for the time
 * zone: the host's name and the time come from outside.
 */
#ifndef DUMP_PICTURE_H
#define DUMP_PICTURE_H

#include <stdbool.h>
#include <stdio.h>

#include "dump_head.h"
#include "dump_pool.h"

/* What the line below all pools needs to know. */
struct dump_legend {
	bool wanted;		/* there is a table above it */
	char name[13];		/* a server in trouble, for the example */
};

/* Notes in *legend what it needs; begin with an empty one. */
void dump_picture(FILE *out, const struct dump_pool *p,
    const struct dump_look *look, struct dump_legend *legend);
/* What the marks mean, what to ask next, and the exit code. */
void dump_picture_legend(FILE *out, const struct dump_look *look,
    const struct dump_legend *legend, enum dump_exit code);

#endif
