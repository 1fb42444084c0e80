/*
 * readers.c - what a busy writer costs those who read.
 *
 * One process for each core picks all the time.  In turns of 50 ms the writer
 * does nothing, and publishes a thousand times a second.  What counts is the
 * processor time of a pick, median over all turns: that the writer's process
 * needs some time of its own is another matter, and the second row.
 *
 * The verdicts stay as they are: so both turns have the same keys to place,
 * and differ in what the writer does to the readers' caches, and in reads that
 * have to begin again.
 */
#include <err.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "bench.h"
#include "mcshm.h"
#include "pool.h"

#define SERVERS 100u
#define TURN UINT64_C(50000000)		/* ns */
#define PERIOD UINT64_C(1000000)	/* of the writer */
#define TURNS_MAX 200u
#define READERS_MAX 256u
#define BATCH 64u
#define OVER UINT32_MAX

struct turn {
	double cpu;		/* ns a pick */
	double picks;
};

/* Between all processes. */
struct shared {
	_Atomic uint32_t turn;		/* 1, 2, ...; OVER */
	_Atomic uint32_t ready;		/* readers */
	struct turn turn_of[READERS_MAX][TURNS_MAX];
};

static void
reader_turn(struct mcshm *m, struct shared *s, uint32_t turn, struct turn *t)
{
	const uint64_t began = bench_cpu_ns();
	uint64_t picks = 0;

	while (atomic_load_explicit(&s->turn, memory_order_relaxed) == turn) {
		for (unsigned i = 0; i < BATCH; i++) {
			const uint64_t key[2] = { picks + i, i };
			struct mcshm_choice c;

			if (mcshm_pick(m, key, sizeof key, &c) < 0)
				errx(1, "no server");
		}
		picks += BATCH;
	}
	t->cpu = (double)(bench_cpu_ns() - began) / (double)(picks + !picks);
	t->picks = (double)picks;
}

static void
reader(const char *path, struct shared *s, unsigned me)
{
	struct mcshm *m;
	uint32_t turn;
	const int e = mcshm_open(&m, path, 0);

	if (e < 0)
		errx(1, "%s: %s", path, mcshm_strerror(e));
	atomic_fetch_add(&s->ready, 1);
	while ((turn = atomic_load(&s->turn)) != OVER) {
		if (turn == 0)
			sched_yield();
		else
			reader_turn(m, s, turn, &s->turn_of[me][turn - 1]);
	}
	mcshm_close(m);
}

static void
writer_turn(struct pool *p, bool busy)
{
	const uint64_t began = bench_ns();
	uint64_t due = began;

	while ((due += PERIOD) <= began + TURN) {
		bench_sleep_until(due);
		if (busy) {
			pool_verdict(p, (uint32_t)(due % SERVERS), MCSHM_UP);
			pool_publish(p);
		}
	}
}

/* The median over turns of what readers did in each, first, first + 2, ... */
static double
over_turns(const struct shared *s, unsigned readers, unsigned turns,
    unsigned first, bool cpu)
{
	double v[TURNS_MAX];
	size_t n = 0;

	for (unsigned t = first; t < turns; t += 2, n++) {
		double one[READERS_MAX], sum = 0;

		for (unsigned r = 0; r < readers; r++) {
			one[r] = s->turn_of[r][t].cpu;
			sum += s->turn_of[r][t].picks;
		}
		v[n] = cpu ? bench_quantile(one, readers, 0.5) :
		    (double)TURN * readers / sum;
	}
	return bench_quantile(v, n, 0.5);
}

static void
report(const struct shared *s, unsigned readers, unsigned turns, double rate)
{
	const double busy = over_turns(s, readers, turns, 1, true);
	const double quiet = over_turns(s, readers, turns, 0, true);
	const double wall_busy = over_turns(s, readers, turns, 1, false);
	const double wall_quiet = over_turns(s, readers, turns, 0, false);
	char what[64];

	snprintf(what, sizeof what, "pick on %u cores, %.0f flips/s",
	    readers, rate);
	bench_row(what, bench_time(busy), bench_time(quiet), busy / quiet,
	    "<= 1.1", busy / quiet, 1.1);
	bench_row("  the same by the clock on the wall",
	    bench_time(wall_busy), bench_time(wall_quiet),
	    wall_busy / wall_quiet, NULL, 0, 0);
}

static void
run(struct pool *p, struct shared *s, unsigned readers, unsigned turns)
{
	uint64_t flips = 0;

	while (atomic_load(&s->ready) < readers)
		usleep(1000);
	for (unsigned t = 0; t < turns; t++) {
		const uint64_t before = pool_generation(p);

		atomic_store(&s->turn, t + 1);
		writer_turn(p, t % 2);
		flips += pool_generation(p) - before;
		if (t % 20 == 19)
			pool_publish_wait(p);
	}
	atomic_store(&s->turn, OVER);
	while (readers-- > 0) {
		int status;

		if (wait(&status) == -1 || status != 0)
			errx(1, "a reader failed");
	}
	report(s, atomic_load(&s->ready), turns,
	    (double)flips / (turns / 2 * (TURN / 1e9)));
}

int
main(int argc, char **argv)
{
	const unsigned turns = bench_is_quick(argc, argv) ? 10 : TURNS_MAX;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const pid_t parent = getpid();
	struct pool p;

	if (s == MAP_FAILED)
		err(1, "mmap");
	cores = cores > READERS_MAX ? READERS_MAX : cores;
	pool_open(&p, SERVERS);
	for (unsigned i = 0; i < (unsigned)cores; i++) {
		const pid_t pid = fork();

		if (pid == -1)
			err(1, "fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (getppid() == parent)
				reader(p.path, s, i);
			_exit(0);
		}
	}
	run(&p, s, (unsigned)cores, turns);
	pool_close(&p);
	return 0;
}
