/*
 * dump_find.h - from what the user wrote to paths of pool files.
 */
#ifndef DUMP_FIND_H
#define DUMP_FIND_H

#include <stddef.h>

struct dump_paths {
	char **v;
	size_t n;
};

/* A FILE (with a '/') or POOL (in directory dir), added to the list if it is
 * not there yet.  NULL, or what is wrong with it, static. */
const char *dump_find_one(struct dump_paths *p, const char *dir,
    const char *operand);
/* All pool files of dir, sorted; 0, or -1 and errno. */
int dump_find_all(struct dump_paths *p, const char *dir);
void dump_find_free(struct dump_paths *p);

#endif
