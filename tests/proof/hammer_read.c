/*
 * hammer_read.c - readers that believe nothing.
 *
 * They note what is wrong on the board and end the phase; else they go on until
 * it is over.
 */
#include "hammer.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reader.h"

#define KEYS 64u
#define THREADS 4u
#define WARM 20u			/* files, before memory is measured */
#define CHILD_SECONDS 120u		/* then it has hung */

/* One thread that reads. */
struct reader {
	struct board *board;
	struct mcshm *m;
	const struct fact_place *place;		/* one a roster */
	uint64_t known;			/* file of known_roster, 0: none */
	unsigned known_roster;
	uint64_t round;			/* the last that was seen */
	uint64_t file;			/* of the last pick */
	uint64_t files;			/* gone on to */
	bool only_picks;
	struct mcshm_choice kept;	/* of kept_roster; roster 0: none */
	unsigned kept_roster;
	struct mcshm_state state[SERVERS_MAX];
	struct mcshm_server server[SERVERS_MAX];
};

/* Clocks ------------------------------------------------------------------- */

static struct board *the_board;		/* for clocks, which have no argument */

static uint64_t
boottime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * READER_SECOND + (uint64_t)t.tv_nsec;
}

/* Each look is a tenth of a second later: it is time for everything. */
static uint64_t
fast_clock(void)
{
	static _Atomic uint64_t ahead;

	return boottime() + atomic_fetch_add(&ahead, READER_SECOND / 10) %
	    (600 * READER_SECOND);
}

static uint64_t
skewed_clock(void)
{
	return boottime() + the_board->skew;
}

/* Checks ------------------------------------------------------------------- */

static size_t
key(char k[32], uint32_t i)
{
	return (size_t)snprintf(k, 32, "key:%u%s", i,
	    i % 3 ? "" : ":and:some:more");
}

/* Which roster is this file's?  Ask, and be told another's perhaps. */
static bool
know(struct reader *r, uint64_t file)
{
	uint64_t id;
	int n;

	if (r->known == file)
		return true;
	for (unsigned i = 0; i < 64; i++)
		if (r->board->known[i].file == file) {
			r->known_roster = r->board->known[i].roster;
			r->known = file;
			return true;
		}
	if (r->only_picks)
		return false;
	n = mcshm_servers(r->m, r->server, SERVERS_MAX, sizeof *r->server, &id);
	if (n < 0 || (id & ROSTER_BITS) != file)
		return false;
	r->known_roster = fact_roster_of((uint32_t)n);
	if (r->known_roster == ROSTERS) {
		hammer_fault(r->board, "a file of %d servers", n);
		return false;
	}
	r->known = file;
	return true;
}

static void
read_pick(struct reader *r, uint32_t i)
{
	struct mcshm_choice c;
	char k[32];
	const size_t len = key(k, i % KEYS);
	const int err = mcshm_pick(r->m, k, len, &c);
	const char *wrong;
	uint64_t file = c.roster & ROSTER_BITS;
	const struct fact_place *p;
	struct scheme_key hashed;

	r->board->picks++;
	if (c.slot >= SERVERS_MAX || c.home >= SERVERS_MAX)
		hammer_fault(r->board, "slot %u, home %u", c.slot, c.home);
	if (c.flags & MCSHM_BLIND) {
		r->board->blind++;
		return;
	}
	if (file != r->file)
		r->files++;
	r->file = file;
	if (!know(r, file)) {
		r->board->unverified++;
		return;
	}
	p = &r->place[r->known_roster];
	hashed = scheme_key(&p->place.set, k, len);
	wrong = fact_check_choice(p, &hashed, err, &c, r->board->unknown);
	if (wrong != NULL)
		hammer_fault(r->board, "%s: key %u of %u servers: error %d, "
		    "home %u, slot %u, tries %u", wrong, i % KEYS,
		    p->place.servers, err, c.home, c.slot, c.tries);
}

static void
read_snapshot(struct reader *r, bool with_status)
{
	struct mcshm_status st = { 0 };
	const int n = mcshm_snapshot(r->m, r->state, SERVERS_MAX,
	    sizeof *r->state, with_status ? &st : NULL, sizeof st);
	const char *wrong;
	uint64_t round;
	uint32_t at;

	if (n == MCSHM_EAGAIN) {
		r->board->again++;
		return;
	}
	if (n <= 0 || fact_roster_of((uint32_t)n) == ROSTERS) {
		hammer_fault(r->board, "a snapshot of %d", n);
		return;
	}
	wrong = fact_check_states(r->state, (uint32_t)n,
	    r->board->removing, &round, &at);
	if (wrong == NULL && round < r->round && !r->board->unknown)
		wrong = "went back";
	if (wrong != NULL)
		hammer_fault(r->board, "%s: round %llu after %llu, %d servers, "
		    "slot %u has %llu", wrong, (unsigned long long)round,
		    (unsigned long long)r->round, n, at, (unsigned long long)
		    r->state[at % SERVERS_MAX].checked);
	if (with_status && st.servers != (uint32_t)n)
		hammer_fault(r->board, "a status of %u servers with %d states",
		    st.servers, n);
	r->round = round;
	r->board->snapshots++;
}

static void
read_servers(struct reader *r)
{
	const int n = mcshm_servers(r->m, r->server, SERVERS_MAX,
	    sizeof *r->server, NULL);
	const char *wrong;

	if (n == MCSHM_EAGAIN) {
		r->board->again++;
		return;
	}
	if (n <= 0 || fact_roster_of((uint32_t)n) == ROSTERS) {
		hammer_fault(r->board, "a list of %d", n);
		return;
	}
	wrong = fact_check_servers(r->server, (uint32_t)n);
	if (wrong != NULL)
		hammer_fault(r->board, "%s: of %d servers", wrong, n);
	r->board->lists++;
}

/* The server of a choice is of its roster, or it says that it is not; also of a
 * choice that was made some files ago. */
static void
read_server(struct reader *r, uint32_t i)
{
	struct mcshm_server s;
	char k[32], name[16];
	int err;

	if (r->kept.roster == 0 || i % 512 == 0) {
		err = mcshm_pick(r->m, k, key(k, i % KEYS), &r->kept);
		if (err != MCSHM_OK || !know(r, r->kept.roster & ROSTER_BITS))
			r->kept.roster = 0;
		r->kept_roster = r->known_roster;
	}
	if (r->kept.roster == 0 ||
	    mcshm_server(r->m, &r->kept, &s, sizeof s) != MCSHM_OK)
		return;
	snprintf(name, sizeof name, "s%u", r->kept.slot);
	if (strcmp(s.name, name) != 0 || s.slot != r->kept.slot ||
	    s.weight != fact_weight(r->kept_roster, r->kept.slot))
		hammer_fault(r->board, "server %s of weight %u for slot %u of "
		    "%u servers", s.name, s.weight, r->kept.slot,
		    fact_servers(r->kept_roster));
}

static void
read_turn(struct reader *r, uint32_t i)
{
	read_pick(r, i);
	if (r->only_picks)
		return;
	read_snapshot(r, i % 64 == 0);
	if (i % 16 == 0) {
		read_servers(r);
		read_server(r, i);
	}
	if (i % 256 == 0)
		mcshm_refresh(r->m);
}

/* Kinds -------------------------------------------------------------------- */

static struct reader *
reader_new(struct board *b, struct mcshm *m, const struct fact_place *place)
{
	struct reader *r = calloc(1, sizeof *r);

	if (r == NULL)
		abort();
	r->board = b;
	r->m = m;
	r->place = place;
	return r;
}

static void *
read_on(void *arg)
{
	struct reader *r = arg;

	for (uint32_t i = 0; !r->board->over; i++)
		read_turn(r, i);
	return NULL;
}

static void
threads(struct board *b, struct mcshm *m, const struct fact_place *place)
{
	struct reader *r[THREADS];
	pthread_t t[THREADS];

	for (unsigned i = 0; i < THREADS; i++) {
		r[i] = reader_new(b, m, place);
		if (pthread_create(&t[i], NULL, read_on, r[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		free(r[i]);
	}
}

/* Memory ------------------------------------------------------------------- */

struct usage {
	uint64_t size, resident;	/* pages */
	unsigned descriptors, mappings;
};

static unsigned
count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

static unsigned
count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned n = 0;
	int c;

	while (f != NULL && (c = fgetc(f)) != EOF)
		n += c == '\n';
	if (f != NULL)
		fclose(f);
	return n;
}

static struct usage
usage(void)
{
	struct usage u = { 0 };
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long long size, resident;

	if (f != NULL && fscanf(f, "%llu %llu", &size, &resident) == 2) {
		u.size = size;
		u.resident = resident;
	}
	if (f != NULL)
		fclose(f);
	u.descriptors = count_entries("/proc/self/fd");
	u.mappings = count_lines("/proc/self/maps");
	return u;
}

static void
no_more_than_now(uint64_t slack)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	const struct rlimit l = { usage().size * page + slack,
		usage().size * page + slack };

	if (setrlimit(RLIMIT_AS, &l) != 0)
		abort();
}

/* Month after month: nothing grows. */
static void
limited(struct reader *r)
{
	struct usage warm = { 0 }, u;
	uint64_t measured = 0;

	usage();			/* stdio has its buffers now */
	no_more_than_now(128 * 1024);
	for (uint32_t i = 0; !r->board->over; i++) {
		read_turn(r, i);
		r->board->limited = r->files;
		if (r->files == measured)
			continue;
		measured = r->files;
		u = usage();
		if (r->files <= WARM) {
			warm.resident = u.resident > warm.resident ?
			    u.resident : warm.resident;
			warm.mappings = u.mappings > warm.mappings ?
			    u.mappings : warm.mappings;
			warm.descriptors = u.descriptors > warm.descriptors ?
			    u.descriptors : warm.descriptors;
		} else if (u.resident > warm.resident + 512 ||
		    u.mappings > warm.mappings ||
		    u.descriptors > warm.descriptors) {
			hammer_fault(r->board, "grows: %llu pages, %u mappings,"
			    " %u descriptors after %llu files; at first %llu, "
			    "%u, %u", (unsigned long long)u.resident,
			    u.mappings, u.descriptors,
			    (unsigned long long)r->files,
			    (unsigned long long)warm.resident, warm.mappings,
			    warm.descriptors);
		}
	}
}

/* Children ----------------------------------------------------------------- */

/* In a child: only picks, until another file is there.  Whoever was inside the
 * handle in the parent is not here. */
static _Noreturn void
child(struct board *b, struct mcshm *m)
{
	struct mcshm_choice c;
	uint64_t first = 0, file;

	alarm(CHILD_SECONDS);
	for (;;) {
		mcshm_pick(m, "k", 1, &c);
		file = c.roster & ROSTER_BITS;
		if (first == 0)
			first = file;
		if (b->over || (file != 0 && file != first))
			break;
	}
	_exit(0);
}

static void *
refresh_on(void *arg)
{
	struct reader *r = arg;

	while (!r->board->over)
		mcshm_refresh(r->m);
	return NULL;
}

/* As if another thread were inside, for certain; one is most of the time, and
 * then lets go. */
static void
hold_guard(struct mcshm *m)
{
	uint64_t nobody;

	do
		nobody = 0;
	while (!atomic_compare_exchange_weak(&reader_cache(m)->guard, &nobody,
	    (uint64_t)getpid()));
}

/* While another thread is inside the handle. */
static void
forks(struct reader *r)
{
	pthread_t t;
	int status;

	if (pthread_create(&t, NULL, refresh_on, r) != 0)
		abort();
	for (uint32_t i = 0; !r->board->over; i++) {
		const bool hold = i % 2;
		pid_t pid;

		if (hold)
			hold_guard(r->m);
		pid = fork();
		if (pid == 0)
			child(r->board, r->m);
		if (hold)
			atomic_store(&reader_cache(r->m)->guard, 0);
		if (pid == -1 || waitpid(pid, &status, 0) != pid ||
		    status != 0)
			hammer_fault(r->board, "a child ended with %x: it did "
			    "not go on", status);
		r->board->forks++;
		r->board->held += hold;
		read_turn(r, i);
	}
	pthread_join(t, NULL);
}

/* A file that its daemon has left: only the clock tells. */
static void
orphan(struct reader *r)
{
	uint64_t at = 0;

	r->m->clock = skewed_clock;
	r->only_picks = true;
	for (uint32_t i = 0; !r->board->over; i++) {
		struct mcshm_choice c;
		char k[32];
		const uint64_t heir = r->board->heir;

		mcshm_pick(r->m, k, key(k, i), &c);
		r->board->picks++;
		if (heir != at && (c.roster & ROSTER_BITS) == heir) {
			at = heir;
			r->board->reached++;
		}
	}
}

/* All ---------------------------------------------------------------------- */

void
reader_run(struct board *b, enum reader_kind kind)
{
	struct fact_place place[ROSTERS];
	struct mcshm *m = NULL;
	const int err = mcshm_open(&m, b->path, 0);
	struct reader *r = reader_new(b, m, place);

	the_board = b;
	if (err != 0) {
		hammer_fault(b, "open: %s", mcshm_strerror(err));
		return;
	}
	for (unsigned i = 0; i < ROSTERS; i++)
		fact_place(&place[i], i);
	if (kind == READER_FAST || kind == READER_THREADS ||
	    kind == READER_LIMITED)
		m->clock = fast_clock;
	r->only_picks = kind == READER_PICKS;
	if (kind == READER_THREADS)
		threads(b, m, place);
	else if (kind == READER_LIMITED)
		limited(r);
	else if (kind == READER_FORKS)
		forks(r);
	else if (kind == READER_ORPHAN)
		orphan(r);
	else
		read_on(r);
	for (unsigned i = 0; i < ROSTERS; i++)
		free(place[i].fixed);
	free(r);
	mcshm_close(m);
}
