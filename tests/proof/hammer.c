/*
 * hammer.c - proof_hammer: readers of all kinds against a writer that never
 * rests.
 *
 *	proof_hammer --quick|--full [--threads]
 *
 * Phases, each until so much has happened, however long that takes (minutes
 * at most, or an hour):
 *
 *	flat-out	publications as fast as they go
 *	1-kHz		and at a steady pace
 *	replaced	files for other rosters, larger and smaller, removed and
 *			made anew; readers of every kind
 *	orphaned	the writer killed, its file removed, another writer;
 *			clients that only pick find it
 *
 * --threads: the third only, with threads on one handle; for TSan.
 */
#include "hammer.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READERS_MAX 8u
struct goals {
	uint64_t snapshots, paced, replaced, limited, held, orphans;
	time_t patience;		/* seconds a phase may take */
	bool threads;			/* nothing but threads on one handle */
};

static const struct goals quick = { .snapshots = 200000, .paced = 20000,
	.replaced = 60, .limited = 30, .held = 10, .orphans = 3,
	.patience = 300 };
static const struct goals full = { .snapshots = 50000000, .paced = 10000000,
	.replaced = 3000, .limited = 2000, .held = 300, .orphans = 60,
	.patience = 3600 };
static const struct goals quick_threads = { .replaced = 15, .patience = 300,
	.threads = true };
static const struct goals full_threads = { .replaced = 600, .patience = 3600,
	.threads = true };

struct phase {
	struct board *b;
	const struct goals *goals;
	pid_t writer, reader[READERS_MAX];
	unsigned readers;
	time_t began;
};

/* Somebody wants an end: it is a fault like any other. */
static volatile sig_atomic_t interrupted;

static void
interrupt(int signal)
{
	interrupted = signal;
}

static void
nap(long ns)
{
	const struct timespec t = { .tv_nsec = ns };

	nanosleep(&t, NULL);
}

/* Writers ------------------------------------------------------------------ */

static void
write_flat_out(struct board *b)
{
	struct writer w;

	for (writer_open(&w, b, 0); !b->over;)
		writer_publish(&w);
	writer_close(&w);
}

static void
write_paced(struct board *b)
{
	struct writer w;

	for (writer_open(&w, b, 3); !b->over; nap(1000000))
		writer_publish(&w);
	writer_close(&w);
}

static void
write_replaced(struct board *b)
{
	struct writer w;

	writer_open(&w, b, 0);
	for (unsigned i = 1; !b->over; i++) {
		writer_publish(&w);
		writer_replace(&w, i * 7 % 5 % ROSTERS);
		writer_publish(&w);
		if (i % 8 == 0)
			writer_remove(&w);
	}
	writer_close(&w);
}

/* Until it is killed. */
static void
write_orphan(struct board *b)
{
	struct mcshm_choice c;
	struct writer w;

	writer_open(&w, b, b->removed % ROSTERS);
	writer_publish(&w);
	mcshm_pick(w.watch, "k", 1, &c);
	b->heir = c.roster & ROSTER_BITS;
	for (;;) {
		writer_publish(&w);
		nap(1000000);
	}
}

/* Processes ---------------------------------------------------------------- */

/* It ends with its parent, and where nobody can end it. */
static void
child_begin(const struct phase *p)
{
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm((unsigned)p->goals->patience + 60);
}

static void
start_reader(struct phase *p, enum reader_kind kind)
{
	fflush(NULL);
	p->reader[p->readers] = fork();
	if (p->reader[p->readers] == 0) {
		child_begin(p);
		reader_run(p->b, kind);
		exit(0);
	}
	p->readers++;
}

static struct phase
phase_begin(struct board *b, const struct goals *goals)
{
	*b = (struct board){ 0 };
	return (struct phase){ .b = b, .goals = goals, .began = time(NULL) };
}

static void
ended(struct phase *p, pid_t pid, const char *who)
{
	int status;

	if (pid <= 0)
		return;
	waitpid(pid, &status, 0);
	if (status != 0)
		hammer_fault(p->b, "%s ended with %x", who, status);
}

/* A process that has died early is seen here, and one that says no more. */
static bool
goes_on(struct phase *p)
{
	siginfo_t info = { 0 };

	nap(2000000);
	if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	    info.si_pid != 0)
		hammer_fault(p->b, "process %d ended with %d",
		    (int)info.si_pid, info.si_status);
	if (interrupted)
		hammer_fault(p->b, "signal %d", (int)interrupted);
	if (time(NULL) - p->began > p->goals->patience)
		hammer_fault(p->b, "not done after %ld s",
		    (long)p->goals->patience);
	return !p->b->over;
}

static void
start_writer(struct phase *p, void (*run)(struct board *b))
{
	const uint64_t before = p->b->publishes;

	fflush(NULL);
	p->writer = fork();
	if (p->writer == 0) {
		child_begin(p);
		run(p->b);
		_exit(0);
	}
	/* Readers begin when something has been published. */
	while (p->b->publishes == before && goes_on(p))
		;
}

static bool
phase_end(struct phase *p, const char *name)
{
	struct board *b = p->b;

	b->over = true;
	for (unsigned i = 0; i < p->readers; i++)
		ended(p, p->reader[i], "a reader");
	ended(p, p->writer, "the writer");
	unlink(b->path);
	printf("%-9s %llu publications, %llu new files, %llu removed; %llu "
	    "snapshots, %llu picks (%llu blind, %llu unverified), %llu lists, "
	    "%llu too late", name, (unsigned long long)b->publishes,
	    (unsigned long long)b->replaced, (unsigned long long)b->removed,
	    (unsigned long long)b->snapshots, (unsigned long long)b->picks,
	    (unsigned long long)b->blind, (unsigned long long)b->unverified,
	    (unsigned long long)b->lists, (unsigned long long)b->again);
	if (b->forks > 0)
		printf("; %llu forks, %llu with the guard held; %llu files in "
		    "fixed memory", (unsigned long long)b->forks,
		    (unsigned long long)b->held,
		    (unsigned long long)b->limited);
	printf("\n");
	if (b->faults > 0)
		printf("hammer: %s: %s\n", name, b->fault);
	fflush(stdout);
	return b->faults == 0;
}

/* Phases ------------------------------------------------------------------- */

static void
set_path(struct board *b, const char *dir)
{
	snprintf(b->path, sizeof b->path, "%s/web.mcshm", dir);
}

static bool
flat_out(struct board *b, const struct goals *g, const char *dir)
{
	struct phase p = phase_begin(b, g);

	set_path(b, dir);
	start_writer(&p, write_flat_out);
	for (unsigned i = 0; i < 3; i++)
		start_reader(&p, READER_PLAIN);
	while ((b->snapshots < g->snapshots || b->publishes < 10000) &&
	    goes_on(&p))
		;
	return phase_end(&p, "flat-out");
}

static bool
paced(struct board *b, const struct goals *g, const char *dir)
{
	struct phase p = phase_begin(b, g);

	set_path(b, dir);
	start_writer(&p, write_paced);
	start_reader(&p, READER_PLAIN);
	start_reader(&p, READER_THREADS);
	while ((b->snapshots < g->paced || b->publishes < 500) && goes_on(&p))
		;
	return phase_end(&p, "1-kHz");
}

static bool
replaced(struct board *b, const struct goals *g, const char *dir)
{
	struct phase p = phase_begin(b, g);

	set_path(b, dir);
	b->removing = true;
	start_writer(&p, write_replaced);
	if (!g->threads) {
		start_reader(&p, READER_PLAIN);
		start_reader(&p, READER_FAST);
		start_reader(&p, READER_PICKS);
		start_reader(&p, READER_LIMITED);
		start_reader(&p, READER_FORKS);
	}
	start_reader(&p, READER_THREADS);
	while ((b->replaced < g->replaced || b->limited < g->limited ||
		b->held < g->held) && goes_on(&p))
		;
	return phase_end(&p, "replaced");
}

static bool
orphaned(struct board *b, const struct goals *g, const char *dir)
{
	struct phase p = phase_begin(b, g);

	set_path(b, dir);
	b->unknown = true;
	b->removing = true;
	start_writer(&p, write_orphan);
	start_reader(&p, READER_ORPHAN);
	start_reader(&p, READER_ORPHAN);
	for (uint64_t i = 1; i <= g->orphans && !b->over; i++) {
		while (b->reached < 2 * i && goes_on(&p))
			;
		kill(p.writer, SIGKILL);
		waitpid(p.writer, NULL, 0);
		unlink(b->path);
		start_writer(&p, write_orphan);
		b->removed++;
		/* To those who are on the old file it is an hour later. */
		b->skew += UINT64_C(4000000000000);
	}
	while (b->reached < 2 * (g->orphans + 1) && goes_on(&p))
		;
	kill(p.writer, SIGKILL);
	waitpid(p.writer, NULL, 0);
	p.writer = 0;
	return phase_end(&p, "orphaned");
}

static int
run(const struct goals *g, const char *dir)
{
	struct board *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t cases = 0;
	bool good = true;

	if (b == MAP_FAILED) {
		perror("hammer");
		return 1;
	}
	if (!g->threads) {
		good = good && flat_out(b, g, dir);
		cases += b->snapshots + b->picks + b->lists;
		good = good && paced(b, g, dir);
		cases += b->snapshots + b->picks + b->lists;
	}
	good = good && replaced(b, g, dir);
	cases += b->snapshots + b->picks + b->lists;
	if (!g->threads) {
		good = good && orphaned(b, g, dir);
		cases += b->picks;
	}
	if (good)
		printf("hammer: ok, %llu cases\n", (unsigned long long)cases);
	else
		printf("hammer: failed\n");
	return good ? 0 : 1;
}

static const struct goals *
goals_of(int argc, char **argv)
{
	const bool threads = argc == 3 && strcmp(argv[2], "--threads") == 0;

	if (argc != 2 && !threads)
		return NULL;
	if (strcmp(argv[1], "--quick") == 0)
		return threads ? &quick_threads : &quick;
	if (strcmp(argv[1], "--full") == 0)
		return threads ? &full_threads : &full;
	return NULL;
}

int
main(int argc, char **argv)
{
	char dir[] = "/dev/shm/proof_hammer.XXXXXX";
	const struct goals *g = goals_of(argc, argv);
	char command[64];
	int code;

	if (g == NULL) {
		fprintf(stderr,
		    "usage: proof_hammer --quick|--full [--threads]\n");
		return 64;
	}
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0) {
		perror(dir);
		return 1;
	}
	signal(SIGINT, interrupt);
	signal(SIGTERM, interrupt);
	code = run(g, dir);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command) != 0 ? 1 : code;
}
