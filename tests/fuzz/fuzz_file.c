/*
 * fuzz_file.c - a pool file from the fuzzer, in front of all that the library
 * does.
 *
 * The input, after one byte of ways: either the file, or changes to a good one:
 *
 *	offset (2 bytes, in words of 8), length (1 byte, 1 to 16), bytes
 *
 * In half of the ways the header's sum is made to fit, so that what is behind
 * it is reached.  Built a second time with FUZZ_LIVE: then the changes are made
 * to the file that is mapped, over and over, by a thread, while it is read.
 */
#include "fuzz_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../proof/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#ifdef FUZZ_LIVE

struct vandal {
	const uint8_t *data;
	size_t size;
	unsigned char *map;
	size_t room;
	const struct mkfile *whole;
	_Atomic bool over;
};

static void *
live(void *arg)
{
	struct vandal *v = arg;

	while (!v->over) {
		fuzz_file_change(v->map, v->room, v->data, v->size);
		for (size_t i = 0; i < v->room; i += 8)
			mcshm_store(v->map + i,
			    mcshm_load(v->whole->p + i));
	}
	return NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file_path();
	struct vandal v = { .data = data + 1, .size = size - 1 };
	struct mcshm *m = NULL;
	struct mkfile f;
	pthread_t t;

	if (size < 5)
		return 0;
	hostile_case("from the fuzzer, while it changes");
	fuzz_file_base(&f, data[0]);
	mkfile_create(&f, path);
	v.map = f.map;
	v.room = f.size;
	v.whole = &f;
	must(mcshm_open(&m, path, 0) == 0, "open");
	must(pthread_create(&t, NULL, live, &v) == 0, "thread");
	for (int i = 0; i < 3; i++) {
		hostile_read_handle(m, false);
		hostile_read(path, false);
	}
	v.over = true;
	pthread_join(t, NULL);
	mcshm_close(m);
	mkfile_free(&f);
	return 0;
}

#else

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file_path();

	if (!fuzz_file_write(path, data, size))
		return 0;
	hostile_case("from the fuzzer");
	hostile_read(path, true);
	return 0;
}

#endif
