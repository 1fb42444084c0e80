/*
 * dump_why.h - why a server is as it is, and what to expect of it, in words.
 *
 * Pure.
 */
#ifndef DUMP_WHY_H
#define DUMP_WHY_H

#include "dump_line.h"
#include "dump_pool.h"

/* True if there is anything to say; nothing is said of a healthy server. */
bool dump_why(struct dump_line *l, const struct dump_pool *p,
    const struct dump_server *s);

#endif
