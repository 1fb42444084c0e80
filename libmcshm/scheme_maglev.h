/*
 * scheme_maglev.h - the placement table of the native scheme.  Pure.
 */
#ifndef SCHEME_MAGLEV_H
#define SCHEME_MAGLEV_H

#include "scheme.h"

uint32_t scheme_maglev_buckets(void);
size_t scheme_maglev_scratch(uint32_t n);
void scheme_maglev_build(const struct scheme_server *server, uint32_t n,
    uint16_t *bucket, void *scratch);

#endif
