/*
 * fuzz_file.h - from a fuzzer's input to a pool file.
 */
#ifndef FUZZ_FILE_H
#define FUZZ_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../unit/mkfile.h"

/* Where this process keeps its file; its directory goes with the process. */
const char *fuzz_file_path(void);
/* A good file, by the first byte of the input. */
void fuzz_file_base(struct mkfile *f, uint8_t ways);
/* Make the changes to room bytes, word by word as others see them. */
void fuzz_file_change(unsigned char *to, size_t room, const uint8_t *data,
    size_t size);
/* The input (all len bytes of it, 4 at least) as size bytes of content: base's,
 * or where the input is the file, its own.  At p is room for a header. */
void fuzz_file_fill(unsigned char *p, size_t size, const struct mkfile *base,
    const uint8_t *data, size_t len);
/* Whether inputs of these ways have all sums as their readers want them. */
bool fuzz_file_fits(uint8_t ways);
/* The same ways, for changes, with or without such sums. */
uint8_t fuzz_file_ways(uint8_t ways, bool fits);
/* The input as a file; false: it is none. */
bool fuzz_file_write(const char *path, const uint8_t *data, size_t size);

#endif
