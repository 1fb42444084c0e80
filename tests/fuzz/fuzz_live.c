/*
 * fuzz_live.c - a pool file that becomes what the fuzzer says (fuzz_file.c says
 * how), over and over, while the library has it mapped, and while mc-shmdump
 * reads it.
 *
 * A thread puts the file into one state after another: whole, changed, changed
 * with sums that fit, or changed in a burst that never stands still; under the
 * same generation, a later one, or RETIRED.  In each it stays until the reader
 * has made so many more calls, none at times and hundreds at others: what
 * happens between two states is met, and what a reader does that has opened,
 * cached and believed one of them, too.
 */
#include "fuzz_file.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../proof/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PASSES 3
#define BURST 8
#define YIELDS 10000

struct vandal {
	const uint8_t *data;
	size_t size;
	const struct mkfile *whole;
	unsigned char *fitted, *unfitted;	/* content, as the input says */
	uint64_t r;
	_Atomic bool over;
};

static uint64_t
next(struct vandal *v)
{
	v->r ^= v->r << 13;
	v->r ^= v->r >> 7;
	return v->r ^= v->r << 17;
}

/* All but the generation, of which the count goes on. */
static void
become(const struct vandal *v, const unsigned char *content)
{
	unsigned char *map = v->whole->map;

	for (size_t i = 0; i < v->whole->size; i += 8)
		if (i != offsetof(struct mcshm_header, generation) &&
		    mcshm_load(map + i) != mcshm_load(content + i))
			mcshm_store(map + i, mcshm_load(content + i));
}

static void
burst(const struct vandal *v)
{
	for (unsigned i = 0; i < BURST && !v->over; i++) {
		fuzz_file_change(v->whole->map, v->whole->size, v->data + 1,
		    v->size - 1);
		become(v, v->whole->p);
	}
}

/* Mostly as the protocol wants it; or as the input has it, or not at all. */
static void
turn(struct vandal *v, const unsigned char *content)
{
	const size_t at = offsetof(struct mcshm_header, generation);
	unsigned char *word = v->whole->map + at;
	const uint64_t g = mcshm_load(word);

	switch (next(v) % 16) {
	case 0:
		mcshm_store(word, g | MCSHM_RETIRED);
		break;
	case 1:
	case 2:
		mcshm_store(word, mcshm_load(content + at));
		break;
	case 3:
	case 4:
		break;
	default:
		mcshm_write_flip(word, g & ~MCSHM_RETIRED);
	}
}

/* mc-shmdump makes no calls: it gets another state now and then. */
static void
dwell(struct vandal *v)
{
	const uint64_t until = hostile_calls() +
	    (next(v) % 4 == 0 ? 0 : UINT64_C(1) << next(v) % 10);

	for (unsigned i = 0; i < YIELDS && !v->over; i++) {
		if (hostile_calls() >= until)
			break;
		sched_yield();
	}
}

static void *
live(void *arg)
{
	struct vandal *v = arg;

	while (!v->over) {
		const unsigned char *content = v->whole->p;

		switch (next(v) % 8) {
		case 0:
			burst(v);
			break;
		case 1:
			break;
		case 2:
		case 3:
			content = v->unfitted;
			break;
		default:
			content = v->fitted;
		}
		become(v, content);
		turn(v, content);
		dwell(v);
	}
	return NULL;
}

/* The input's content, with or without sums that fit. */
static unsigned char *
content(const struct vandal *v, bool fits)
{
	unsigned char *p = malloc(v->whole->size);
	uint8_t *data = malloc(v->size);

	must(p != NULL && data != NULL, "memory");
	memcpy(data, v->data, v->size);
	data[0] = fuzz_file_ways(data[0], fits);
	fuzz_file_fill(p, v->whole->size, v->whole, data, v->size);
	free(data);
	return p;
}

static void
read_on(struct vandal *v, const char *path)
{
	struct mcshm *m = NULL;
	pthread_t t;

	must(mcshm_open(&m, path, 0) == 0, "open");
	must(pthread_create(&t, NULL, live, v) == 0, "thread");
	for (unsigned i = 0; i < PASSES; i++) {
		hostile_read_handle(m, false);
		hostile_read(path, false);
	}
	hostile_dump(path, (enum hostile_view)(v->data[1] % VIEWS));
	v->over = true;
	pthread_join(t, NULL);
	mcshm_close(m);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *path = fuzz_file_path();
	struct vandal v = { .data = data, .size = size };
	struct mkfile f;

	if (size < 5)
		return 0;
	hostile_case("from the fuzzer, while it changes");
	fuzz_file_base(&f, data[0]);
	mkfile_create(&f, path);
	v.whole = &f;
	v.r = mcshm_sum(data, size, 1) | 1;
	v.fitted = content(&v, true);
	v.unfitted = content(&v, false);
	read_on(&v, path);
	free(v.fitted);
	free(v.unfitted);
	mkfile_free(&f);
	return 0;
}
