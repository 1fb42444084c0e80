/*
 * hash_one_at_a_time.h - Jenkins' one-at-a-time hash, 32 bits, as libmemcached
 * computes it by default.  Pure.
 */
#ifndef HASH_ONE_AT_A_TIME_H
#define HASH_ONE_AT_A_TIME_H

#include <stddef.h>
#include <stdint.h>

uint32_t hash_one_at_a_time(const void *p, size_t len);

#endif
