/*
 * dump_json.h - the same facts for programs.
 *
 * One document: {"version":1,"host":...,"exit":...,"pools":[...]}.  Numbers
 * that may need more than 53 bits are texts, ages are milliseconds, shares are
 * fractions of 1.
 */
#ifndef DUMP_JSON_H
#define DUMP_JSON_H

#include <stdio.h>

#include "dump_check.h"
#include "dump_clients.h"
#include "dump_keys.h"
#include "dump_pool.h"

struct dump_json;

/* NULL: no memory.  From then on lack of memory makes dump_json_end() fail. */
struct dump_json *dump_json_begin(const char *host);
/* A pool; only server, where that is not NULL, of its servers.  keys, parts and
 * clients may be NULL: not asked for. */
void dump_json_pool(struct dump_json *j, const struct dump_pool *p,
    const struct dump_server *only, const struct dump_keys *keys,
    const struct dump_parts *parts, const struct dump_clients *clients);
/* A pool that can not be shown; but its parts, if f is not NULL. */
void dump_json_trouble(struct dump_json *j, const char *path,
    const struct dump_trouble *t, const struct dump_file *f,
    const struct dump_parts *parts);
/* Write it and free it; 0 or -1.  code: what the program exits with. */
int dump_json_end(struct dump_json *j, FILE *out, int code);

#endif
