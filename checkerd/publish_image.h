/*
 * publish_image.h - a pool file's content, in private memory.
 *
 * Pure but for memory: geometry, the fixed parts (header, roster, tables), and
 * sections made from what the checker believes.  publish_file.c puts them into a file.
 * Private to publish*.c.
 */
#ifndef PUBLISH_IMAGE_H
#define PUBLISH_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "publish.h"
#include "scheme.h"

/* The geometry of a file for n servers and tables of this size: all of *h that
 * follows from them; the rest is 0.  False where no such file can be (no
 * servers, too many, too large). */
bool image_layout(struct mcshm_header *h, uint32_t n,
    const struct scheme_size *size, uint32_t page);

/* Bytes before the first section: header, roster, tables. */
size_t image_fixed_size(const struct mcshm_header *h);

/*
 * The fixed parts for a roster, image_fixed_size(h) bytes, to be freed; and *h,
 * which does not yet stand in them and wants file_id, roster_id, created and
 * header_sum: image_seal() does those.  0, ENOMEM, or EINVAL where no file can
 * hold it.
 */
int image_fixed(unsigned char **fixed, struct mcshm_header *h,
    const struct publish_roster *r, uint32_t page);
void image_seal(struct mcshm_header *h, const uint64_t random[3],
    uint64_t created);

/* Two files that serve the same roster the same way: all fixed words are
 * equal but ids and time. */
bool image_same(const struct mcshm_header *a, const struct mcshm_header *b);

/* The roster of a file, from its fixed parts.  0, ENOMEM, or EINVAL where a
 * record makes no sense. */
int image_servers(struct servers *s, const unsigned char *fixed,
    const struct mcshm_header *h);

/* A section, as a private copy of h->section_size bytes. ------------------- */

void image_set(void *section, const struct mcshm_header *h, uint32_t slot,
    const struct publish_entry *e);
void image_get(struct publish_entry *e, const void *section,
    const struct mcshm_header *h, uint32_t slot);
uint64_t image_entry_sum(const void *section, const struct mcshm_header *h,
    uint32_t slot);
uint64_t image_flags(const void *section);
/* How far the checker doubts what it does not hear. */
/* One of its spare words: MCSHM_SPARE_... */
void image_put_spare(void *section, const struct mcshm_header *h,
    unsigned word, uint64_t value);
uint64_t image_spare(const void *section, const struct mcshm_header *h,
    unsigned word);
/* The head, counts and sum included: the last thing before it is published.
 * entries: the sum of image_entry_sum() over all of them. */
void image_finish(void *section, const struct mcshm_header *h,
    uint64_t entries, uint64_t generation, uint64_t flags,
    struct publish_time now);
bool image_section_whole(const void *section, const struct mcshm_header *h);

/* By how many keys to tell what share of them moves: a heartbeat is due while
 * they are looked for. */
uint32_t image_sample_keys(const struct mcshm_header *h);

/* A placement over memory that holds the fixed parts. */
struct scheme_place image_place(const unsigned char *fixed,
    const struct mcshm_header *h);

#endif
