/*
 * visible.c - from a verdict to another process that acts on it.
 *
 * The writer says "server 0 is DOWN" (or UP again) and asks to publish, as the
 * checker does; a reader in another process, which only picks, notes when its
 * key goes elsewhere (or home).  In between lie the mailbox, the publisher
 * thread's waking, the section, two msyncs on tmpfs, the flip.  The second
 * kind of reader sleeps in mcshm_wait() until it is woken.
 *
 * Medians of rounds; the round with the least median counts, and its p99: what
 * else the machine does can only make a round slower.
 */
#include <err.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "mcshm.h"
#include "pool.h"

#define ROUNDS 5u
#define SAMPLES_MAX 400u		/* a round */
#define PATIENCE UINT64_C(5000000000)

struct shared {
	_Atomic uint64_t seen_at;	/* 0: not yet */
	_Atomic uint32_t want_home;	/* what to look for: 1, 0; 2: end */
	_Atomic uint32_t round;
	bool asleep;
	char key[24];
};

static bool
is_home(struct mcshm *m, const struct shared *s)
{
	struct mcshm_choice c;

	if (mcshm_pick(m, s->key, sizeof s->key, &c) < 0)
		errx(1, "no server");
	return c.slot == c.home;
}

/* Returns when the key is where it is wanted. */
static void
await(struct mcshm *m, const struct shared *s, bool home)
{
	uint64_t g = 0;

	while (is_home(m, s) != home)
		if (s->asleep && mcshm_wait(m, g, PATIENCE, &g) < 0)
			errx(1, "mcshm_wait");
}

static void
reader(const char *path, struct shared *s)
{
	struct mcshm *m;
	uint32_t done = 0;
	const int e = mcshm_open(&m, path, 0);

	if (e < 0)
		errx(1, "%s: %s", path, mcshm_strerror(e));
	for (;;) {
		uint32_t home;

		while (atomic_load(&s->round) == done)
			;
		done++;
		home = atomic_load(&s->want_home);
		if (home == 2)
			return;
		await(m, s, home);
		atomic_store(&s->seen_at, bench_ns());
	}
}

/* A key whose home is server 0. */
static void
find_key(struct pool *p, struct shared *s)
{
	struct mcshm_choice c;

	for (unsigned i = 0; i < 1000000; i++) {
		snprintf(s->key, sizeof s->key, "key:%u", i);
		if (mcshm_pick(p->reader, s->key, sizeof s->key, &c) == 0 &&
		    c.home == 0)
			return;
	}
	errx(1, "no key has server 0 as its home");
}

static double
sample(struct pool *p, struct shared *s, bool home)
{
	uint64_t began;

	atomic_store(&s->want_home, home);
	atomic_store(&s->seen_at, 0);
	atomic_fetch_add(&s->round, 1);
	/* As between two probes: nobody is in the middle of anything. */
	usleep(500 + (unsigned)rand() % 500);
	began = bench_ns();
	pool_verdict(p, 0, home ? MCSHM_UP : MCSHM_DOWN);
	pool_publish(p);
	while (atomic_load(&s->seen_at) == 0) {
		usleep(50);
		if (bench_ns() - began > PATIENCE)
			errx(1, "the reader saw nothing in 5 s");
	}
	return (double)(atomic_load(&s->seen_at) - began);
}

static void
report(uint32_t n, bool asleep, double median, double p99)
{
	char what[64];

	snprintf(what, sizeof what, "verdict to %s, %u servers",
	    asleep ? "a mcshm_wait()" : "another's pick", (unsigned)n);
	bench_row(what, bench_time(median), bench_time(p99), 0,
	    asleep ? NULL : "< 50 us", median, 50e3);
}

static pid_t
reader_start(const char *path, struct shared *s)
{
	const pid_t parent = getpid(), pid = fork();

	if (pid == -1)
		err(1, "fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			reader(path, s);
		_exit(0);
	}
	return pid;
}

static void
reader_end(struct shared *s, pid_t pid)
{
	int status;

	atomic_store(&s->want_home, 2);
	atomic_fetch_add(&s->round, 1);
	if (waitpid(pid, &status, 0) == -1 || status != 0)
		errx(1, "the reader failed");
}

static void
measure(uint32_t n, bool asleep, unsigned samples)
{
	struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double v[SAMPLES_MAX], median = 0, p99 = 0;
	struct pool p;
	pid_t pid;

	if (s == MAP_FAILED)
		err(1, "mmap");
	pool_open(&p, n);
	find_key(&p, s);
	s->asleep = asleep;
	pid = reader_start(p.path, s);
	for (unsigned round = 0; round < ROUNDS; round++) {
		pool_publish_wait(&p);
		for (unsigned i = 0; i < samples; i++)
			v[i] = sample(&p, s, i % 2);
		if (round == 0 || bench_quantile(v, samples, 0.5) < median) {
			median = bench_quantile(v, samples, 0.5);
			p99 = bench_quantile(v, samples, 0.99);
		}
	}
	reader_end(s, pid);
	pool_close(&p);
	report(n, asleep, median, p99);
	munmap(s, sizeof *s);
}

int
main(int argc, char **argv)
{
	const unsigned samples = bench_is_quick(argc, argv) ? 20 : SAMPLES_MAX;

	measure(10, false, samples);
	measure(100, false, samples);
	measure(1000, false, samples);
	measure(100, true, samples);
	return 0;
}
