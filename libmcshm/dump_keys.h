/*
 * dump_keys.h - a list of keys, and where each lives and goes.
 *
 * Keys are bytes of any kind.
 */
#ifndef DUMP_KEYS_H
#define DUMP_KEYS_H

#include <stdio.h>

#include "dump_pool.h"

struct dump_key {
	char *bytes;
	size_t len;
};

struct dump_keys {
	struct dump_key *v;
	size_t n, room;
};

/* A copy of the key; 0 or -1: no memory. */
int dump_keys_add(struct dump_keys *k, const void *key, size_t len);
/* One key a line, without a CR at its end; empty lines left out.  0, or -1 and
 * errno. */
int dump_keys_read(struct dump_keys *k, FILE *from);
void dump_keys_free(struct dump_keys *k);

/* The scheme, and one line a key: its hash, its home, each rehash step (of a
 * long way the first ones and the last), and where it ends. */
void dump_keys_text(FILE *out, const struct dump_pool *p,
    const struct dump_keys *k);

#endif
