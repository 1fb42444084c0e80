/*
 * hostile_live.c - the file changes under those who have it mapped, and under
 * mc-shmdump, against all rules and as fast as a processor can.
 *
 * A process of its own is at it: words at random, fields at their limits with a
 * sum that fits, generations that go anywhere, retired files, other files under
 * the same name.  Between bursts the file is whole for a moment, so that
 * readers do get in.
 */
#include "hostile_family.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"

#define READERS 3u
#define FILES 4u
#define UNREADABLE 3			/* mc-shmdump's exit code */

struct vandal {
	struct mkfile f[FILES];
	unsigned char *map[FILES];
	char path[FILES][200];		/* where the others wait; the first is
					 * at the pool's */
	uint64_t r;
};

static uint64_t
next(struct vandal *v)
{
	v->r ^= v->r << 13;
	v->r ^= v->r >> 7;
	return v->r ^= v->r << 17;
}

static uint64_t
odd(struct vandal *v, uint64_t was)
{
	uint64_t value = was;

	switch (next(v) % 4) {
	case 0:
		return next(v);
	case 1:
		return next(v) >> next(v) % 64;
	default:
		while (!hostile_value(&value, was, 8, next(v) % 40))
			;
		return value;
	}
}

/* A word that hurts: of the header more often than not, of a section's head,
 * of anything. */
static uint64_t
somewhere(struct vandal *v, unsigned i)
{
	const struct mcshm_header *h = v->f[i].h;

	switch (next(v) % 4) {
	case 0:
		return h->section_off[next(v) % 2] + next(v) % 32 * 8;
	case 1:
		return next(v) % (h->file_size / 8) * 8;
	default:
		return 64 + next(v) % 64 * 8;
	}
}

static void
scatter(struct vandal *v, unsigned i, unsigned times)
{
	while (times-- > 0) {
		const uint64_t off = somewhere(v, i);

		/* turn() sees to that. */
		if (off != offsetof(struct mcshm_header, generation))
			mcshm_store(v->map[i] + off, odd(v, *(uint64_t *)
			    (void *)(v->f[i].p + off)));
	}
}

/* A header that is wrong and has the right sum. */
static void
believable(struct vandal *v, unsigned i)
{
	struct mcshm_header h = *v->f[i].h;

	for (unsigned k = 0; k < 2; k++) {
		struct hostile_field field;
		uint64_t value, was = 0;

		while (!hostile_field(&field, next(v) % 64) || field.off < 48)
			;
		memcpy(&was, (char *)&h + field.off, field.size);
		value = odd(v, was);
		memcpy((char *)&h + field.off, &value, field.size);
	}
	h.header_sum = mcshm_header_sum(&h);
	for (size_t at = 0; at < sizeof h; at += 8)
		mcshm_store(v->map[i] + at, *(uint64_t *)(void *)
		    ((char *)&h + at));
}

/* The generation moves on, to anywhere, or says that it is over. */
static void
turn(struct vandal *v, unsigned i)
{
	unsigned char *word =
	    v->map[i] + offsetof(struct mcshm_header, generation);
	const uint64_t g = mcshm_load(word);

	switch (next(v) % 16) {
	case 0:
		mcshm_store(word, odd(v, g));
		break;
	case 1:
		mcshm_store(word, g | MCSHM_RETIRED);
		break;
	case 2:
		mcshm_store(word, 0);
		break;
	default:
		mcshm_store(word, g + 1);
	}
}

static void
mend(struct vandal *v, unsigned i)
{
	const uint64_t size = v->f[i].h->file_size;

	for (uint64_t at = 0; at < size; at += 8)
		if (mcshm_load(v->map[i] + at) !=
		    *(uint64_t *)(void *)(v->f[i].p + at))
			mcshm_store(v->map[i] + at,
			    *(uint64_t *)(void *)(v->f[i].p + at));
}

static void
swap_names(struct vandal *v, const char *path)
{
	(void)renameat2(AT_FDCWD, path, AT_FDCWD,
	    v->path[1 + next(v) % (FILES - 1)], RENAME_EXCHANGE);
}

static void
vandal_init(struct vandal *v, const struct hostile_plan *p)
{
	static const struct {
		uint32_t scheme, servers;
	} kinds[FILES] = { { MCSHM_SCHEME_MAGLEV, 5 },
		{ MCSHM_SCHEME_LIBMEMCACHED_MODULA, 130 },
		{ MCSHM_SCHEME_LIBMEMCACHED_KETAMA, 20 },
		{ MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES, 9 } };

	v->r = UINT64_C(0x9e3779b97f4a7c15);
	for (unsigned i = 0; i < FILES; i++) {
		snprintf(v->path[i], sizeof v->path[i], "%s/other%u.mcshm",
		    p->dir, i);
		mkfile_make(&v->f[i], kinds[i].scheme, NULL,
		    kinds[i].servers);
		/* Whole is what is mended, and mended often. */
		mkfile_set(&v->f[i], 1, MCSHM_DOWN, MCSHM_READY);
		mkfile_create(&v->f[i], i == 0 ? p->path : v->path[i]);
		v->map[i] = v->f[i].map;
	}
}

/* For ever. */
static _Noreturn void
vandal_run(struct vandal *v, const char *path)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		const unsigned i = next(v) % FILES;

		for (unsigned k = next(v) % 64; k > 0; k--) {
			scatter(v, i, 1 + next(v) % 16);
			if (next(v) % 4 == 0)
				turn(v, i);
		}
		if (next(v) % 8 == 0)
			believable(v, i);
		if (next(v) % 4 == 0)
			swap_names(v, path);
		if (next(v) % 4 != 0)
			mend(v, i);
	}
}

/* Readers ------------------------------------------------------------------ */

struct reading {
	const struct hostile_plan *plan;
	struct mcshm *m;
	uint32_t rounds;
	_Atomic uint64_t opened, answered;
};

static void
count(struct reading *r)
{
	struct mcshm_status st;
	struct mcshm_choice c;

	r->answered += mcshm_pick(r->m, "k", 1, &c) == 0 &&
	    mcshm_snapshot(r->m, NULL, 0, 0, &st, sizeof st) > 0;
}

static void *
read_on(void *arg)
{
	struct reading *r = arg;

	for (uint32_t i = 0; i < r->rounds; i++) {
		hostile_read_handle(r->m, false);
		count(r);
		r->opened += hostile_read(r->plan->path, false) == 0;
	}
	return NULL;
}

static void
read_all(struct reading *r)
{
	pthread_t t[READERS];

	for (unsigned i = 0; i < READERS; i++)
		must(pthread_create(&t[i], NULL, read_on, r) == 0, "thread");
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(t[i], NULL);
}

void
family_live(const struct hostile_plan *p)
{
	const uint32_t rounds = plan_of(p, 10, 800, 60000);
	struct reading r = { .plan = p, .rounds = 50 };
	struct vandal *v = calloc(1, sizeof *v);
	uint32_t done = 0;
	pid_t pid;
	int err;

	hostile_case("mapped while it changes");
	vandal_init(v, p);
	err = mcshm_open(&r.m, p->path, 0);
	must(err == 0, "open says %d", err);
	pid = fork();
	must(pid != -1, "fork");
	if (pid == 0)
		vandal_run(v, p->path);
	/* Until enough has been read, and some of it was an answer. */
	while (done < rounds || r.opened < 20 || r.answered < 20) {
		hostile_case("mapped while it changes, round %u", done);
		if (p->depth == DEPTH_REDUCED)
			r.rounds = 2;
		read_all(&r);
		for (unsigned view = 0; view < VIEWS; view++)
			hostile_dump(p->path, (enum hostile_view)view);
		done += r.rounds;
		must(done < 1000 * rounds, "nobody ever gets in: opened %u, "
		    "answered %u", (unsigned)r.opened, (unsigned)r.answered);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	mcshm_close(r.m);
	for (unsigned i = 0; i < FILES; i++)
		mkfile_free(&v->f[i]);
	free(v);
}

/* mc-shmdump, on a file that shrinks and grows: it maps nothing. */
void
family_shrinking(const struct hostile_plan *p)
{
	const uint32_t rounds = plan_of(p, 20, 1500, 30000);
	struct mkfile f;
	uint32_t shown = 0;
	pid_t pid;

	hostile_case("cut while it is read");
	mkfile_make(&f, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 100);
	mkfile_write(&f, p->path, f.h->file_size);
	pid = fork();
	must(pid != -1, "fork");
	if (pid == 0) {
		const int fd = open(p->path, O_RDWR);
		uint64_t r = 1;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			const uint64_t size = f.h->file_size;

			r = r * UINT64_C(6364136223846793005) + 1;
			if (ftruncate(fd, (off_t)((r >> 33) % size)) != 0 ||
			    pwrite(fd, f.p, size, 0) != (ssize_t)size)
				_exit(1);
		}
	}
	for (uint32_t i = 0; i < rounds || shown < 5; i++) {
		hostile_case("cut while it is read, round %u", i);
		shown += hostile_dump(p->path, i % VIEWS) != UNREADABLE;
		must(i < 1000 * rounds, "never whole");
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	mkfile_free(&f);
}
