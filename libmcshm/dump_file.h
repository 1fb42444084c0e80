/*
 * dump_file.h - a pool file, read into private memory and checked.
 *
 * By pread only: a file that somebody truncates or rewrites at this moment can
 * give a wrong picture or "damaged", never SIGBUS.  Once dump_file_read() has
 * succeeded, every offset and every count in the header has been checked, and
 * the functions below can not leave the private copy.
 */
#ifndef DUMP_FILE_H
#define DUMP_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mcshm_format.h"
#include "scheme.h"

/* Why a file can not be shown, for people. */
struct dump_trouble {
	bool damaged;		/* it is a pool file, but not a whole one */
	char text[256];
};

enum dump_lock {		/* does a checker hold the file's lock? */
	DUMP_LOCK_FREE,
	DUMP_LOCK_HELD,
	DUMP_LOCK_UNKNOWN	/* this file system can not tell */
};

struct dump_file {
	const char *path;	/* the caller's */
	unsigned char *image;	/* the file; the active section of one moment */
	uint64_t mask;		/* size of the image, a power of two, less 1 */
	struct mcshm_header h;	/* fixed words checked, the others as of the
				 * active section's moment */
	uint64_t size;		/* of the file */
	dev_t dev;
	ino_t ino;
	enum dump_lock lock;
	unsigned active;	/* section */
	bool retired;		/* by now another file should be in its place */
	const char *refused;	/* why clients refuse it, NULL: they do not */
};

/*
 * Read the file at path.  0, or -1 and *t.  A file that is being replaced is
 * opened again, for a tenth of a second.
 */
int dump_file_read(struct dump_file *f, const char *path,
    struct dump_trouble *t);
void dump_file_free(struct dump_file *f);

const struct mcshm_section *dump_file_section(const struct dump_file *f,
    unsigned section);
const struct mcshm_roster *dump_file_roster(const struct dump_file *f,
    uint32_t slot);
const struct mcshm_entry *dump_file_entry(const struct dump_file *f,
    uint32_t slot);
const uint16_t *dump_file_buckets(const struct dump_file *f);
const struct mcshm_point *dump_file_ring(const struct dump_file *f);
const uint32_t *dump_file_ring_index(const struct dump_file *f);
/* A bit of the active section; bitmap: MCSHM_BITMAP_... */
bool dump_file_bit(const struct dump_file *f, unsigned bitmap, uint32_t slot);
/* A spare word of the active section; word: MCSHM_SPARE_... */
uint64_t dump_file_spare(const struct dump_file *f, unsigned word);
uint32_t dump_file_count(const struct dump_file *f, unsigned bitmap);
/* The placement as the library sees it; blind: when nobody vouches. */
struct scheme_place dump_file_place(const struct dump_file *f, bool blind);

#endif
