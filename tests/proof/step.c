/*
 * step.c - proof, by single-stepping, that no reader ever sees anything but an
 * old or a new state, wherever the writer is in its publication, and wherever
 * it is killed.
 *
 *	proof_step --quick	every instruction is stepped; readers look after
 *				each that changed a byte; killed at each that
 *				changed the file, the one before, the one after
 *	proof_step --full	readers look after every instruction; killed at
 *				many more, of one scene at every one
 *
 * The writer is a child with the daemon's own publish.c in it, stepped from the
 * filled mailbox to its thread's next sleep.  To stop it somewhere is the same
 * as to look between two of its steps.
 *
 * This file shares the work out among processes and sums it up.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "step_walk.h"

#define WORKERS_MAX 8
#define SCENES (sizeof scenes / sizeof *scenes)

static const struct scene scenes[] = {
	{ "publish", MCSHM_SCHEME_MAGLEV, "abcd", "abcd", DEED_PUBLISH },
	{ "publish, two pages", MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	  "abcdefgh", "abcdefgh", DEED_PUBLISH },
	{ "exchange, larger", MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	  "abc", "fcadbe", DEED_EXCHANGE },
	{ "exchange, smaller", MCSHM_SCHEME_LIBMEMCACHED_KETAMA,
	  "abcdefg", "gb", DEED_EXCHANGE },
	{ "removed and made anew", MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	  "abc", "abc", DEED_REMOVED },
	{ "a copy put over it", MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	  "abc", "abc", DEED_REPLACED },
};

/* A process's share: a scene's walk, or some of its kills. */
struct job {
	const struct scene *scene;
	struct walk *walk;		/* shared, as is this struct */
	bool kills, full;
	uint32_t share, shares;		/* this one's, of the kills */
	pid_t pid;
	char dir[80];
	/* Its outcome. */
	bool ok;
	struct walk_kills sum;
	char why[700];
};

struct crew {
	struct job *v;
	unsigned n, started, width;
	bool failed;
	time_t deadline;
};

/* In a job's process ------------------------------------------------------- */

/* The system call by which another file gets the name. */
static uint32_t
renamed(const struct walk *walk)
{
	uint32_t i = 0;

	while (i < walk->steps && !(walk->step[i].file && walk->step[i].call))
		i++;
	return i;
}

/*
 * What a kill leaves is what the last instruction before it left that changed
 * the directory or a byte in it: each of those, and some others.
 *
 *	quick	what clients can see, with neighbours; system calls; of the
 *		stores to a file that has no name yet, one in 16
 *	full	all of the first scene; of replacements, all from the rename
 *		on; each change, and one in 32 of the rest
 */
static bool
is_due(const struct job *j, uint32_t i, uint32_t rename)
{
	const struct walk_step *s = j->walk->step;
	const uint32_t last = j->walk->steps - 1;
	const uint32_t a = i > 0 ? i - 1 : i, b = i < last ? i + 1 : i;

	if (i == 0 || i == last || s[a].file || s[i].file || s[b].file ||
	    s[i].call || (s[i].other && (j->full || i % 16 == 0)))
		return true;
	return j->full && (j->scene == &scenes[0] ||
	    (j->scene->deed != DEED_PUBLISH && i >= rename) || i % 32 == 0);
}

static bool
job_kills(struct job *j, const struct part *part, struct yard *y)
{
	const uint32_t rename = renamed(j->walk);
	uint32_t due = 0;

	for (uint32_t i = 0; i < j->walk->steps; i++) {
		if (!is_due(j, i, rename) ||
		    due++ % j->shares != j->share)
			continue;
		if (!walk_kill(j->walk, i, part, y, &j->sum, j->why))
			return false;
	}
	return true;
}

static void
job_run(struct job *j)
{
	struct part part;
	struct yard y;

	part_of(&part, j->scene);
	if (!yard_open(&y, j->dir)) {
		snprintf(j->why, sizeof j->why, "cannot make %s: %s", j->dir,
		    strerror(errno));
		return;
	}
	if (j->kills)
		j->ok = job_kills(j, &part, &y);
	else
		j->ok = walk_through(j->walk, &part, &y, j->full,
		    j->why);
	yard_close(&y);
}

/* In the first process ----------------------------------------------------- */

static void *
shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		perror("proof_step: mmap");
		exit(1);
	}
	return p;
}

static void
job_start(struct job *j)
{
	const pid_t parent = getpid();
	sigset_t none;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == -1) {
		perror("proof_step: fork");
		exit(1);
	}
	if (pid != 0) {
		j->pid = pid;	/* shared: not the child's to write */
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (getppid() == parent)
		job_run(j);
	_exit(0);
}

/* Of a job that did not come to its end. */
static void
job_clean(const struct job *j)
{
	struct yard y = { .names = 0 };

	snprintf(y.dir, sizeof y.dir, "%s", j->dir);
	yard_close(&y);
}

static void
job_ended(struct crew *c, struct job *j, int status)
{
	j->pid = 0;
	job_clean(j);
	if (c->failed && j->why[0] == 0)
		return;			/* we have stopped it */
	if (status != 0 && j->why[0] == 0)
		snprintf(j->why, sizeof j->why, "its process ended with "
		    "status %#x", status);
	if (j->ok && status == 0)
		return;
	printf("%s%s: %s\n", j->scene->name, j->kills ? ", killed" : "",
	    j->why);
	c->failed = true;
}

static unsigned
running(const struct crew *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->started; i++)
		n += c->v[i].pid != 0;
	return n;
}

/* Wait until one ends, or somebody wants us to. */
static void
reap(struct crew *c, const sigset_t *signals)
{
	const struct timespec second = { .tv_sec = 1 };
	const int signo = sigtimedwait(signals, NULL, &second);
	int status;

	if (signo == SIGINT || signo == SIGTERM || time(NULL) > c->deadline) {
		printf("%s\n", signo == SIGINT || signo == SIGTERM ?
		    "interrupted" : "not at its end in time");
		c->failed = true;
	}
	for (unsigned i = 0; i < c->started; i++) {
		struct job *j = &c->v[i];

		if (j->pid != 0 && c->failed)
			kill(j->pid, SIGKILL);
		if (j->pid != 0 && waitpid(j->pid, &status,
			c->failed ? 0 : WNOHANG) == j->pid)
			job_ended(c, j, status);
	}
}

/* All of them, as many at a time as there are processors. */
static bool
crew_work(struct crew *c)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	while (running(c) > 0 || (c->started < c->n && !c->failed)) {
		while (!c->failed && c->started < c->n &&
		    running(c) < c->width)
			job_start(&c->v[c->started++]);
		reap(c, &signals);
	}
	return !c->failed;
}

static bool
walk_scenes(struct crew *c, const char *dir, struct walk *const *walks,
    bool full)
{
	c->n = SCENES;
	for (unsigned i = 0; i < SCENES; i++) {
		c->v[i] = (struct job){ .scene = &scenes[i], .walk = walks[i],
			.full = full };
		snprintf(c->v[i].dir, sizeof c->v[i].dir, "%s/%u", dir, i);
	}
	if (!crew_work(c))
		return false;
	for (unsigned i = 0; i < SCENES; i++)
		printf("%s: %u instructions, %u of them changed the file; "
		    "%ju looks: old or new, new after %u\n", scenes[i].name,
		    walks[i]->steps, walks[i]->changed,
		    (uintmax_t)walks[i]->looks, walks[i]->seen);
	return true;
}

/* The shares of one scene, together. */
static bool
say_kills(const struct job *j, unsigned shares)
{
	struct walk_kills all = { .kills = 0 };

	for (unsigned i = 0; i < shares; i++) {
		all.kills += j[i].sum.kills;
		all.elsewhere += j[i].sum.elsewhere;
		all.looks += j[i].sum.looks;
	}
	printf("%s: killed at %u of %u instructions, an heir each time; %ju "
	    "looks\n", j->scene->name, all.kills, j->walk->steps,
	    (uintmax_t)all.looks);
	if (all.elsewhere > 0)
		printf("%s: %u of the kills were not where they should be\n",
		    j->scene->name, all.elsewhere);
	return all.elsewhere <= all.kills / 4;
}

static bool
kill_scenes(struct crew *c, const char *dir, struct walk *const *walks,
    bool full)
{
	c->n = SCENES * c->width;
	for (unsigned i = 0; i < c->n; i++) {
		const unsigned scene = i / c->width;

		c->v[i] = (struct job){ .scene = &scenes[scene],
			.walk = walks[scene], .kills = true, .full = full,
			.share = i % c->width, .shares = c->width };
		snprintf(c->v[i].dir, sizeof c->v[i].dir, "%s/%u", dir, i);
	}
	if (!crew_work(c))
		return false;
	for (unsigned i = 0; i < c->n; i += c->width)
		if (!say_kills(&c->v[i], c->width))
			return false;
	return true;
}

static uint64_t
cases(const struct crew *walked, const struct crew *killed)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < walked->n; i++)
		n += walked->v[i].walk->steps;
	for (unsigned i = 0; i < killed->n; i++)
		n += killed->v[i].sum.kills;
	return n;
}

static bool
prove(const char *dir, bool full, uint64_t *n)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct crew walked = { .width = cpus < 1 ? 1 : cpus > WORKERS_MAX ?
		WORKERS_MAX : (unsigned)cpus }, killed;
	struct walk *walks[SCENES];

	walked.deadline = time(NULL) + (full ? 3600 : 160);
	walked.v = shared(SCENES * WORKERS_MAX * sizeof *walked.v);
	killed = walked;
	killed.v = shared(SCENES * WORKERS_MAX * sizeof *killed.v);
	for (unsigned i = 0; i < SCENES; i++)
		walks[i] = shared(sizeof *walks[i]);
	if (!walk_scenes(&walked, dir, walks, full) ||
	    !kill_scenes(&killed, dir, walks, full))
		return false;
	*n = cases(&walked, &killed);
	return true;
}

/*
 * libc clears and copies by `rep stosb` and `rep movsb` from some size on, one
 * instruction to us and one stop for each byte to the tracer: not here.
 */
static void
without_rep(char **argv)
{
	char self[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);

	if (n <= 0 || getenv("GLIBC_TUNABLES") != NULL)
		return;
	self[n] = 0;
	setenv("GLIBC_TUNABLES", "glibc.cpu.x86_rep_stosb_threshold=1000000000:"
	    "glibc.cpu.x86_rep_movsb_threshold=1000000000", 1);
	execv(self, argv);
}

/* Memory, where there is some: each case makes files and syncs them. */
static bool
make_dir(char dir[64])
{
	strcpy(dir, "/dev/shm/proof_step.XXXXXX");
	if (mkdtemp(dir) == NULL) {
		strcpy(dir, "/tmp/proof_step.XXXXXX");
		if (mkdtemp(dir) == NULL)
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	const bool full = argc == 2 && strcmp(argv[1], "--full") == 0;
	char dir[64];
	uint64_t n = 0;
	bool ok;

	if (!full && (argc != 2 || strcmp(argv[1], "--quick") != 0)) {
		fprintf(stderr, "usage: proof_step --quick | --full\n");
		return 64;
	}
	without_rep(argv);
	/* No buffer on the heap: so all children begin with the same heap, and
	 * take the same way. */
	setvbuf(stdout, NULL, _IONBF, 0);
	if (machine_trouble() != NULL || !make_dir(dir)) {
		printf("proof_step: FAILED: %s\n", machine_trouble() != NULL ?
		    machine_trouble() : strerror(errno));
		return 1;
	}
	ok = prove(dir, full, &n);
	rmdir(dir);
	if (ok)
		printf("proof_step: ok, %ju cases\n", (uintmax_t)n);
	else
		printf("proof_step: FAILED\n");
	return ok ? 0 : 1;
}
