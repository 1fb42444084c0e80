/*
 * ring.c - finding a hash's point on a ring of a real pool file: by the index
 * over its leading bits, beside a plain binary search of the same points.
 *
 *	ring [-q]		rows of the table
 *	ring count SIDE N	SIDE (index, plain) once over all hashes, N
 *				servers; for callgrind, which counts what
 *				happens in measure_SIDE()
 *
 * Hashes are random.  In the first row of two they are looked up as fast as
 * they come, in the second each waits for the answer to the one before.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"
#include "pool.h"
#include "scheme_inline.h"

#define HASHES 8192u		/* a power of two */
#define ROUNDS_MAX 400u

struct side {
	struct pool pool;
	struct scheme_ring ring;
	const struct mcshm_point *point;	/* the same ring */
	uint32_t hash[HASHES];
	uint32_t first;				/* where a round begins */
	uint64_t sink;
};

/* The first point that is h or more. */
static inline uint32_t
plain_first(const struct side *s, uint32_t h)
{
	uint32_t at = 0, to = s->ring.points;

	while (at < to) {
		const uint32_t middle = at + (to - at) / 2;

		if (s->point[middle].point < h)
			at = middle + 1;
		else
			to = middle;
	}
	return at;
}

static __attribute__((noinline)) void
measure_index(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < HASHES; i++)
		sum += scheme_ring_first(&s->ring,
		    s->hash[(s->first + i) % HASHES]);
	s->sink += sum;
}

static __attribute__((noinline)) void
measure_plain(struct side *s)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < HASHES; i++)
		sum += plain_first(s, s->hash[(s->first + i) % HASHES]);
	s->sink += sum;
}

/* 0, but the processor has to see that for itself. */
static inline uint32_t
wait_for(uint32_t at)
{
	__asm__("" : "+r" (at));
	return at >> 31;
}

static __attribute__((noinline)) void
measure_index_waiting(struct side *s)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < HASHES; i++)
		at = scheme_ring_first(&s->ring,
		    s->hash[(s->first + i + wait_for(at)) % HASHES]);
	s->sink += at;
}

static __attribute__((noinline)) void
measure_plain_waiting(struct side *s)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < HASHES; i++)
		at = plain_first(s,
		    s->hash[(s->first + i + wait_for(at)) % HASHES]);
	s->sink += at;
}

/* The ring where it lies in the file. */
static void
ring_map(struct side *s)
{
	const int fd = open(s->pool.path, O_RDONLY | O_CLOEXEC);
	const struct mcshm_header *h;
	struct scheme_place p = { .mask = MCSHM_MAX_FILE - 1 };

	p.base = mmap(NULL, MCSHM_MAX_FILE, PROT_READ, MAP_SHARED, fd, 0);
	if (fd < 0 || p.base == MAP_FAILED)
		err(1, "%s", s->pool.path);
	close(fd);
	h = (const void *)p.base;
	p.ring_off = h->ring_off;
	p.ring_index_off = h->ring_index_off;
	p.ring_points = h->ring_points;
	p.ring_index_bits = h->ring_index_bits;
	s->ring = scheme_ring(&p);
	s->point = (const void *)s->ring.point;
}

static void
side_open(struct side *s, uint32_t n)
{
	static const struct pool_plan ketama = { .set = {
		.scheme = MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED,
		.hash = MCSHM_HASH_MD5, .points_hash = MCSHM_HASH_MD5 } };

	*s = (struct side){ .sink = 0 };
	pool_open_as(&s->pool, n, &ketama);
	ring_map(s);
	for (uint32_t i = 0; i < HASHES; i++) {
		s->hash[i] = (uint32_t)scheme_mix(i);
		if (scheme_ring_first(&s->ring, s->hash[i]) !=
		    plain_first(s, s->hash[i]))
			errx(1, "%u servers: another point", (unsigned)n);
	}
}

static double
turn(void (*measure)(struct side *), struct side *s)
{
	const uint64_t began = bench_cpu_ns();

	measure(s);
	return (double)(bench_cpu_ns() - began) / HASHES;
}

static void
row(struct side *s, const char *what, unsigned rounds,
    void (*index)(struct side *), void (*plain)(struct side *))
{
	double ours[ROUNDS_MAX], peer[ROUNDS_MAX], ratio;

	for (unsigned i = 0; i < rounds; i++) {
		s->first = (uint32_t)rand();
		ours[i] = turn(index, s);
		peer[i] = turn(plain, s);
	}
	ours[0] = bench_quantile(ours, rounds, 0.5);
	peer[0] = bench_quantile(peer, rounds, 0.5);
	ratio = ours[0] / peer[0];
	bench_row(what, bench_time(ours[0]), bench_time(peer[0]), ratio,
	    "< 1", ratio, 0.999);
}

static void
compare(uint32_t n, unsigned rounds)
{
	static struct side s;
	char what[64];

	side_open(&s, n);
	snprintf(what, sizeof what, "a point of %u",
	    (unsigned)s.ring.points);
	row(&s, what, rounds, measure_index, measure_plain);
	row(&s, "  each after the one before", rounds, measure_index_waiting,
	    measure_plain_waiting);
	pool_close(&s.pool);
}

static int
count(const char *which, uint32_t n)
{
	static struct side s;

	if (n < 1 || n > 1000)
		errx(64, "servers: 1 to 1000");
	side_open(&s, n);
	if (strcmp(which, "index") == 0)
		measure_index(&s);
	else
		measure_plain(&s);
	pool_close(&s.pool);
	printf("%u\n", HASHES);
	return 0;
}

int
main(int argc, char **argv)
{
	static const uint32_t pools[] = { 10, 100, 1000 };
	const unsigned rounds = bench_is_quick(argc, argv) ? 10 : ROUNDS_MAX;

	if (argc == 4 && strcmp(argv[1], "count") == 0)
		return count(argv[2], (uint32_t)atoi(argv[3]));
	for (size_t i = 0; i < 3; i++)
		compare(pools[i], rounds);
	return 0;
}
