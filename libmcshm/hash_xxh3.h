/*
 * hash_xxh3.h - XXH3, 64 bits: native keys, identities and sums.
 *
 * Pure.  The code is libxxhash's header; this unit is where it is compiled for
 * all who are in no hurry (pick.c has it inline).
 */
#ifndef HASH_XXH3_H
#define HASH_XXH3_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_xxh3(const void *p, size_t len, uint64_t seed);

#endif
