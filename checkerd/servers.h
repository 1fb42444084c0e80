/*
 * servers.h - the list of a pool's servers, as a value, and what stays the
 * same from one list to the next.
 *
 * Pure, but for the list's own memory.  Copies share it, in whatever threads
 * they are: what is in a list that was copied does not change any more.
 */
#ifndef SERVERS_H
#define SERVERS_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"

#define SERVER_NAME_MAX 63
#define SERVER_WEIGHT_MAX 1000

struct server {
	char name[SERVER_NAME_MAX + 1];	/* "": none was given */
	struct address address;
	uint32_t weight;		/* 1..SERVER_WEIGHT_MAX */
	uint32_t admin;			/* enum mcshm_admin, by the ini */
};

struct servers {
	struct server *v;
	uint32_t n;
};

/* Append a copy; 0 or ENOMEM. */
int servers_add(struct servers *s, const struct server *one);
void servers_free(struct servers *s);
void servers_copy(struct servers *to, const struct servers *from);
/* Share it with no copy any more: its servers may be changed.  0 or ENOMEM. */
int servers_own(struct servers *s);

/* The name if it has one, else its address as text: what people call it. */
void server_label(char label[272], const struct server *s);

/* The same server in two lists: the same name *and* the same address as
 * written.  A name at another address is another server. */
bool server_same(const struct server *a, const struct server *b);

/* The first server of s with this name (not "") / this
 * address; s->n if none. */
uint32_t servers_find_name(const struct servers *s, const char *name);
uint32_t servers_find_address(const struct servers *s, const struct address *a);

/*
 * For each server of now its index in old, UINT32_MAX where it is new:
 * from[now->n].  An old one is given to one new one at most.  0 or ENOMEM.
 */
int servers_match(uint32_t *from, const struct servers *now,
    const struct servers *old);

#endif
