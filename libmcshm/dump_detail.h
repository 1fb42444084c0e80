/*
 * dump_detail.h - all that the file says about one server; and whether the
 * file's parts are whole.
 *
 * Pure, but for the time zone.
 */
#ifndef DUMP_DETAIL_H
#define DUMP_DETAIL_H

#include <stdio.h>

#include "dump_check.h"
#include "dump_pool.h"

void dump_detail(FILE *out, const struct dump_pool *p,
    const struct dump_server *s);
void dump_detail_parts(FILE *out, const struct dump_file *f,
    const struct dump_parts *parts);
/* "ok", "whole", "being written": of section 0 or 1. */
const char *dump_detail_section(const struct dump_file *f,
    const struct dump_parts *parts, unsigned section);

#endif
