/*
 * follow.c - the slow path: is the mapped file still the one that counts, and
 * if not, going on to the one that does.
 *
 * Only one thread of a process is in here for a handle at a time; the others do
 * not wait, they use what is mapped.  Nothing here can lose the mapped file:
 * where the newer one can not be had, the older one stays.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "reader.h"

#define FOLLOW_AGAIN (READER_SECOND / 10)	/* ns between attempts */
#define LOOK_AGAIN READER_SECOND
#define FUTURE READER_SECOND		/* a heartbeat may be that far ahead */
#define TRIES_PAST 5

static uint64_t
load(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static void
store(_Atomic uint64_t *p, uint64_t v)
{
	atomic_store_explicit(p, v, memory_order_relaxed);
}

/* The guard --------------------------------------------------------------- */

struct guard {
	int cancelstate;
};

/* A thread that is cancelled in open(2) would keep the guard for ever.  Pids
 * return: what stands there is another process's only where it may have been
 * inherited. */
static bool
guard_take(struct mcshm *m, struct guard *guard)
{
	_Atomic uint64_t *const word = &reader_cache(m)->guard;
	const uint64_t me = (uint64_t)getpid();
	uint64_t who = load(word);

	if (who == me || (who != 0 && m->wipes))
		return false;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &guard->cancelstate);
	if (atomic_compare_exchange_strong_explicit(word, &who, me,
		memory_order_acquire, memory_order_relaxed))
		return true;
	pthread_setcancelstate(guard->cancelstate, NULL);
	return false;
}

static void
guard_leave(struct mcshm *m, const struct guard *guard)
{
	atomic_store_explicit(&reader_cache(m)->guard, 0,
	    memory_order_release);
	pthread_setcancelstate(guard->cancelstate, NULL);
}

/* Whether it is time, by a clock that may be set back in a test or a moved
 * container. */
static bool
is_due(uint64_t now, uint64_t next, uint64_t gap)
{
	return now >= next || next - now > gap;
}

/* The path ---------------------------------------------------------------- */

/* A program that closes all descriptors may have put its own in this place. */
static bool
dir_is_ours(const struct mcshm *m)
{
	struct stat st;

	return m->dirfd != -1 && fstat(m->dirfd, &st) == 0 &&
	    st.st_dev == m->dir_dev && st.st_ino == m->dir_ino;
}

/* What the directory's path leads to now; -1 and errno if nowhere. */
static int
dir_open(const struct mcshm *m, struct stat *st)
{
	const int fd = open(m->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd != -1 && fstat(fd, st) != 0) {
		const int why = errno;

		close(fd);
		errno = why;
		return -1;
	}
	return fd;
}

static void
dir_renew(struct mcshm *m, int fd, const struct stat *st)
{
	if (dir_is_ours(m))
		close(m->dirfd);
	m->dirfd = fd;
	m->dir_dev = st->st_dev;
	m->dir_ino = st->st_ino;
}

void
reader_leave(struct mcshm *m)
{
	if (dir_is_ours(m))
		close(m->dirfd);
	m->dirfd = -1;
}

static bool
is_mapped(const struct mcshm *m, const struct stat *st)
{
	return load(&m->ino) == st->st_ino && load(&m->dev) == st->st_dev;
}

static bool
leads_elsewhere(const struct mcshm *m, int dirfd)
{
	struct stat st;

	return fstatat(dirfd, m->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !is_mapped(m, &st);
}

static bool
path_leads_elsewhere(const struct mcshm *m)
{
	struct stat st;
	bool elsewhere;
	int fd;

	if (dir_is_ours(m) && leads_elsewhere(m, m->dirfd))
		return true;
	fd = dir_open(m, &st);
	if (fd == -1)
		return false;
	elsewhere = leads_elsewhere(m, fd);
	close(fd);
	return elsewhere;
}

static bool
is_retired(const struct reader_file *f)
{
	return (f->header.generation & MCSHM_RETIRED) != 0;
}

/*
 * The file that the path leads to: in the directory that we know (which works
 * in a changed root), else in what has its path now (which works when it was
 * removed and made anew).
 */
static int
path_file(struct mcshm *m, struct reader_file *f)
{
	const bool ours = dir_is_ours(m);
	struct stat st;
	int err = MCSHM_ENOENT, fd;

	if (ours) {
		err = reader_file_open(f, m->dirfd, m->name);
		if (err == MCSHM_OK && !is_mapped(m, &f->st) && !is_retired(f))
			return MCSHM_OK;
	}
	fd = dir_open(m, &st);
	/* In a changed root it may be out of reach, and no trouble. */
	if (fd == -1)
		return ours ? err : reader_error(errno);
	if (ours && st.st_dev == m->dir_dev && st.st_ino == m->dir_ino) {
		close(fd);
		return err;
	}
	if (err == MCSHM_OK)
		close(f->fd);
	dir_renew(m, fd, &st);
	return reader_file_open(f, m->dirfd, m->name);
}

/* Following --------------------------------------------------------------- */

static bool
is_mapped_retired(const struct mcshm *m)
{
	return (mcshm_read_begin(reader_generation(m)) & MCSHM_RETIRED) != 0;
}

/* Whether this file is, or would be, a retired one to read. */
static bool
is_past(const struct mcshm *m, const struct reader_file *f)
{
	return is_retired(f) || (is_mapped(m, &f->st) && is_mapped_retired(m));
}

/*
 * One attempt, under the guard (or before anybody else has the handle).  Who
 * retires a file has put another one in its place before: so one that is past
 * was opened an instant too early, or the pool is going away.
 */
static int
follow(struct mcshm *m)
{
	struct reader_file f;
	int err = path_file(m, &f);
	bool past = err == MCSHM_OK && is_past(m, &f);

	for (int t = 0; past && t < TRIES_PAST; t++) {
		close(f.fd);
		err = path_file(m, &f);
		past = err == MCSHM_OK && is_past(m, &f);
	}
	if (err != MCSHM_OK)
		return err;
	if (past && load(&m->ino) != 0)
		err = MCSHM_ENOENT;
	else if (!is_mapped(m, &f.st))
		err = reader_map(m, &f);
	close(f.fd);
	return err;
}

static void
set_error(struct mcshm *m, int err)
{
	atomic_store_explicit(&m->follow_error, err, memory_order_relaxed);
}

/* follow(), and whether there is another file now. */
static bool
follow_noted(struct mcshm *m)
{
	const uint64_t dev = load(&m->dev), ino = load(&m->ino);

	set_error(m, follow(m));
	return load(&m->dev) != dev || load(&m->ino) != ino;
}

static uint64_t
roster_now(const struct mcshm *m)
{
	struct reader_view v = { .roster = 0 };

	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(m));

		if (g == 0)
			continue;
		reader_view(m, g, &v);
		if (mcshm_read_ok(reader_generation(m), g))
			break;
	}
	return v.roster;
}

int
reader_first(struct mcshm *m)
{
	const int err = follow(m);

	/* A retired file is better than none; but nobody vouches for it. */
	set_error(m, err == MCSHM_OK && is_mapped_retired(m) ?
	    MCSHM_ENOENT : err);
	store(&m->reported, roster_now(m));
	return err;
}

bool
reader_follow(struct mcshm *m)
{
	const uint64_t now = m->clock();
	struct guard guard;
	bool other = false;

	if (!is_due(now, load(&m->next_follow), FOLLOW_AGAIN) ||
	    !guard_take(m, &guard))
		return false;
	/* Another thread may have been here since. */
	if (is_due(now, load(&m->next_follow), FOLLOW_AGAIN)) {
		store(&m->next_follow, now + FOLLOW_AGAIN);
		other = follow_noted(m);
	}
	guard_leave(m, &guard);
	return other;
}

bool
reader_look(struct mcshm *m)
{
	const uint64_t now = m->clock();
	struct guard guard;
	bool other = false;

	if (!is_due(now, load(&m->next_look), LOOK_AGAIN) ||
	    !guard_take(m, &guard))
		return false;
	if (is_due(now, load(&m->next_look), LOOK_AGAIN)) {
		store(&m->next_look, now + LOOK_AGAIN);
		if (path_leads_elsewhere(m))
			other = follow_noted(m);
	}
	guard_leave(m, &guard);
	return other;
}

bool
reader_is_replaced(struct mcshm *m)
{
	struct guard guard;
	bool elsewhere;

	if (!guard_take(m, &guard))
		return false;
	elsewhere = path_leads_elsewhere(m);
	guard_leave(m, &guard);
	return elsewhere;
}

int
reader_follow_now(struct mcshm *m)
{
	struct guard guard;

	if (guard_take(m, &guard)) {
		if (reader_must_follow(
			mcshm_read_begin(reader_generation(m))) ||
		    path_leads_elsewhere(m))
			follow_noted(m);
		else
			set_error(m, MCSHM_OK);
		guard_leave(m, &guard);
	}
	return atomic_load_explicit(&m->follow_error, memory_order_relaxed);
}

int
mcshm_refresh(struct mcshm *m)
{
	uint64_t roster;
	int err;

	if (m == NULL)
		return MCSHM_EINVAL;
	err = reader_follow_now(m);
	if (err != MCSHM_OK)
		return err;
	roster = roster_now(m);
	return atomic_exchange_explicit(&m->reported, roster,
	    memory_order_relaxed) != roster;
}

/* Who keeps it up to date ------------------------------------------------- */

bool
reader_is_rebooted(const struct mcshm *m)
{
	const uint64_t a = reader_load(m, READER_HEADER(boot_id[0]));
	const uint64_t b = reader_load(m, READER_HEADER(boot_id[1]));

	/* Where /proc can not be read, they do not know, or we do not. */
	if ((a == 0 && b == 0) || (m->boot_id[0] == 0 && m->boot_id[1] == 0))
		return false;
	return a != m->boot_id[0] || b != m->boot_id[1];
}

bool
reader_is_stale(const struct mcshm *m)
{
	/* The heartbeat first: what comes after it is later, whatever waits
	 * between the two. */
	const uint64_t beat = mcshm_read_begin(
	    reader_base(m) + READER_HEADER(heartbeat));
	const uint64_t now = m->clock();

	if (reader_is_rebooted(m))
		return true;
	if (beat > now)
		return beat - now > FUTURE;
	return now - beat > reader_load(m, READER_HEADER(stale_after));
}

/* 1: a writer has the lock; 0: none, or it is another file; or it could not be
 * asked. */
static int
lock_is_held(const struct mcshm *m, int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = MCSHM_LOCK_BYTE, .l_len = 1 };
	struct stat st;

	if (fstat(fd, &st) != 0 || fcntl(fd, F_OFD_GETLK, &lock) != 0)
		return MCSHM_ESYS;
	return is_mapped(m, &st) && lock.l_type != F_UNLCK;
}

static int
ask_for_lock(const struct mcshm *m, int dirfd)
{
	const int fd = openat(dirfd, m->name,
	    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int held;

	if (fd == -1)
		return errno == ENOENT ? 0 : MCSHM_ESYS;
	held = lock_is_held(m, fd);
	close(fd);
	return held;
}

int
reader_alive(struct mcshm *m)
{
	struct guard guard;
	struct stat st;
	int held = MCSHM_ESYS, fd;

	if (!guard_take(m, &guard))
		return MCSHM_EAGAIN;
	if (dir_is_ours(m)) {
		held = ask_for_lock(m, m->dirfd);
	} else if ((fd = dir_open(m, &st)) != -1) {
		held = ask_for_lock(m, fd);
		close(fd);
	}
	guard_leave(m, &guard);
	return held;
}
