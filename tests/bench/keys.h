/*
 * keys.h - keys such as sites have them, the same in every bench.
 */
#ifndef BENCH_KEYS_H
#define BENCH_KEYS_H

#include <stdint.h>

/* 10 to 20 bytes; beside each other, so that none has to be looked for. */
struct keys_one {
	uint32_t len;
	char text[28];
};

void keys_make(struct keys_one *key, uint32_t n);

#endif
