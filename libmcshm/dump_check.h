/*
 * dump_check.h - is this a pool file, and is it whole?
 *
 * Pure: looks at private copies only.
 */
#ifndef DUMP_CHECK_H
#define DUMP_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "dump_file.h"

/*
 * A header, of a file of this many bytes: kind, version, checksum, and all of
 * its geometry.  True, or false and *t.
 */
bool dump_check_header(const struct mcshm_header *h, uint64_t size,
    struct dump_trouble *t);

/* The state of a part of the file. */
enum dump_part {
	DUMP_PART_OK,
	DUMP_PART_SUM,		/* its checksum is wrong */
	DUMP_PART_VALUES,	/* it is right, but the values can not be */
	/* Of the inactive section only, and no damage: */
	DUMP_PART_UNUSED,	/* nobody has written it yet */
	DUMP_PART_BUSY,		/* a checker is alive and may be writing it */
	DUMP_PART_UNFINISHED	/* its writer died in the middle */
};

/* The header is not among them: without a whole one nothing can be read. */
struct dump_parts {
	enum dump_part roster, table, section[2];
};

struct dump_parts dump_check_parts(const struct dump_file *f);
/* All parts that are damaged, in words for *t; false if none is. */
bool dump_check_damage(const struct dump_file *f, const struct dump_parts *p,
    struct dump_trouble *t);
const char *dump_part_text(enum dump_part part);

#endif
