/*
 * hostile_family.h - the families of cases that proof_hostile runs, each in a
 * process of its own.
 */
#ifndef HOSTILE_FAMILY_H
#define HOSTILE_FAMILY_H

#include <stddef.h>
#include <stdint.h>

#include "../unit/mkfile.h"

enum hostile_depth {
	DEPTH_REDUCED,			/* under valgrind */
	DEPTH_QUICK, DEPTH_FULL
};

struct hostile_plan {
	enum hostile_depth depth;
	const char *dir;		/* a directory of this family's own */
	char path[160];			/* DIR/web.mcshm */
	const char *shmdump;		/* path of the program */
};

/* reduced, quick or full: how many, or one in how many. */
static inline uint32_t
plan_of(const struct hostile_plan *p, uint32_t reduced, uint32_t quick,
    uint32_t full)
{
	return p->depth == DEPTH_FULL ? full :
	    p->depth == DEPTH_QUICK ? quick : reduced;
}

/* hostile_file.c: a file as it lies there */
void family_truncated(const struct hostile_plan *p);
void family_flipped(const struct hostile_plan *p);
void family_fields(const struct hostile_plan *p);
void family_words(const struct hostile_plan *p);
void family_versions(const struct hostile_plan *p);
/* hostile_large.c: as large as a file can be */
void family_large(const struct hostile_plan *p);
void family_last(const struct hostile_plan *p);
/* hostile_text.c: texts without an end */
void family_texts(const struct hostile_plan *p);
/* hostile_attach.c: the daemon on such files */
void family_attach(const struct hostile_plan *p);
/* hostile_node.c: what is no file, and whose it is */
void family_nodes(const struct hostile_plan *p);
void family_owners(const struct hostile_plan *p);
/* hostile_live.c: while it is mapped */
void family_live(const struct hostile_plan *p);
void family_shrinking(const struct hostile_plan *p);

/* hostile_field.c */

/* A small file with something of everything in it. */
void hostile_small(struct mkfile *f);
void hostile_small_of(struct mkfile *f, uint32_t scheme);

/* Every field of the header. */
struct hostile_field {
	const char *name;
	uint32_t off, size;		/* 4 or 8 bytes */
};
/* The i-th; false past the last. */
int hostile_field(struct hostile_field *f, unsigned i);
/* The i-th odd value for a field that holds `was`; false past the last. */
int hostile_value(uint64_t *v, uint64_t was, uint32_t size, unsigned i);
/* Set it, and make the header's sum fit. */
void hostile_set(struct mkfile *f, const struct hostile_field *field,
    uint64_t v);

/* Every text of the file. */
struct hostile_text {
	const char *name;		/* also the JSON's of mc-shmdump */
	enum { TEXT_HEADER, TEXT_ROSTER, TEXT_ENTRY } part;
	uint32_t off, size;
	char own;			/* a byte that no other one is filled
					 * with, nor mc-shmdump's words have
					 * three of in a row */
};
/* The i-th; false past the last. */
int hostile_text(struct hostile_text *t, unsigned i);
/* Fill it, to its last byte, with what (len bytes, repeated); in a roster and
 * its entries for the server in this slot.  For the next seal. */
void hostile_fill(struct mkfile *f, const struct hostile_text *t,
    uint32_t slot, const char *what, size_t len);

#endif
