/*
 * mkplace.h - placements for tests, in memory of their own, without a file.
 *
 *	struct mkplace *p = mkplace_new(&set, 12, NULL);
 *	mkplace_set(p, 3, MKPLACE_DOWN);
 *	scheme_pick(&p->place, &k, &c);
 *	mkplace_free(p);
 *
 * The memory is exactly as large as the place's mask says, so that ASan sees
 * what is outside of it.  Nothing here can fail: it aborts.
 */
#ifndef MKPLACE_H
#define MKPLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheme.h"

struct mkplace {
	struct scheme_place place;
	struct scheme_plan plan;
	struct scheme_size size;
	struct scheme_server *server;	/* plan.server; may be changed before
					 * mkplace_build() */
	char (*ident)[272];
	unsigned char *memory;
	/* In it: */
	uint64_t *usable, *held, *ready;
	struct mcshm_roster *roster;
	uint16_t *bucket;
	struct mcshm_point *ring;
	uint32_t *index;
};

enum mkplace_state { MKPLACE_DOWN, MKPLACE_USABLE, MKPLACE_HELD };

/* The scheme with its own hashes. */
struct scheme_setting mkplace_setting(uint32_t scheme);

/* All schemes, some of them a second time with hashes that are not their own;
 * false: there are no more. */
bool mkplace_some(struct scheme_setting *set, unsigned i);

/* n servers, 10.1.x.y:11211, all DOWN.  weight: of server i; NULL: 1. */
struct mkplace *mkplace_new(const struct scheme_setting *set, uint32_t n,
    uint32_t (*weight)(uint32_t i));
/* Once more, after p->server or p->plan has changed; n not above what it was
 * made for. */
void mkplace_build(struct mkplace *p);
void mkplace_free(struct mkplace *p);

void mkplace_set(struct mkplace *p, uint32_t i, enum mkplace_state state);
void mkplace_set_all(struct mkplace *p, enum mkplace_state state);
enum mkplace_state mkplace_state(const struct mkplace *p, uint32_t i);

/* Key number i: "user:42", in memory of the caller's. */
struct scheme_key mkplace_key(const struct mkplace *p, char text[32],
    unsigned i);

#endif
