/*
 * power_record.c - preloaded into mc-checkerd: writes a journal of every store
 * into a pool file, and of every call that makes something durable.
 *
 * The file's mapping is read-only behind the daemon's back.  A store faults:
 * the page is opened for that one instruction, compared after it, and closed
 * again, so that each version that a page ever had is in the journal.  Must not
 * change what the daemon does; but while the file $POWER_FAIL is there, msync
 * of anything but the header gives EIO and syncs nothing.
 *
 *	$POWER_JOURNAL	where to write; see power.h
 *
 * x86-64: the trap after one instruction is asked for by a flag of its own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "power.h"

#define FILES 256u
#define TRAP_FLAG 0x100		/* of EFLAGS */
#define NOBODY UINT32_MAX

struct seen {
	dev_t dev;
	ino_t ino;
	unsigned char *map;
	size_t size;
};

static struct recorder {
	int journal;		/* -1: not begun */
	bool path_is_there;
	struct seen file[FILES];
	uint32_t files;
	/* The store under way. */
	unsigned char *page;
	uint32_t page_of;
	unsigned char was[POWER_PAGE];
} recorder = { .journal = -1 };

/* libc's own. */
#define REAL(type, name, ...) \
	type (*real_##name)(__VA_ARGS__); \
	*(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static void
die(const char *what)
{
	const ssize_t n = write(2, what, strlen(what));

	(void)n;
	_exit(99);
}

/* The journal -------------------------------------------------------------- */

static void
note(uint32_t kind, uint32_t file, uint64_t at, uint64_t size,
    const void *page)
{
	struct power_record r = { kind, file, at, size };
	struct iovec v[2] = { { &r, sizeof r },
		{ (void *)(uintptr_t)page, page != NULL ? POWER_PAGE : 0 } };

	if (writev(recorder.journal, v, 2) !=
	    (ssize_t)(v[0].iov_len + v[1].iov_len))
		die("power: cannot write the journal\n");
}

static uint32_t
file_of(int fd)
{
	struct recorder *r = &recorder;
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return NOBODY;
	for (uint32_t i = 0; i < r->files; i++)
		if (r->file[i].dev == st.st_dev && r->file[i].ino == st.st_ino)
			return i;
	return NOBODY;
}

static uint32_t
file_at(const void *at)
{
	const struct recorder *r = &recorder;
	const unsigned char *p = at;

	for (uint32_t i = 0; i < r->files; i++)
		if (r->file[i].map != NULL && r->file[i].map <= p &&
		    p < r->file[i].map + r->file[i].size)
			return i;
	return NOBODY;
}

/* Stores ------------------------------------------------------------------- */

/* Not ours: as if we were not there. */
static void
not_ours(int number)
{
	signal(number, SIG_DFL);
}

static void
on_fault(int number, siginfo_t *info, void *context)
{
	struct recorder *r = &recorder;
	ucontext_t *c = context;
	unsigned char *page = (unsigned char *)
	    ((uintptr_t)info->si_addr & ~(uintptr_t)(POWER_PAGE - 1));

	r->page_of = file_at(page);
	if (r->page_of == NOBODY || r->page != NULL) {
		not_ours(number);
		return;
	}
	r->page = page;
	memcpy(r->was, page, POWER_PAGE);
	mprotect(page, POWER_PAGE, PROT_READ | PROT_WRITE);
	c->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void
on_trap(int number, siginfo_t *info, void *context)
{
	struct recorder *r = &recorder;
	ucontext_t *c = context;

	(void)info;
	if (r->page == NULL) {
		not_ours(number);
		return;
	}
	c->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
	if (memcmp(r->was, r->page, POWER_PAGE) != 0)
		note(POWER_DATA, r->page_of, (uint64_t)(r->page -
		    r->file[r->page_of].map) / POWER_PAGE, 0, r->page);
	mprotect(r->page, POWER_PAGE, PROT_READ);
	r->page = NULL;
}

static void
begin(void)
{
	struct sigaction fault = { .sa_sigaction = on_fault,
		.sa_flags = SA_SIGINFO }, trap = { .sa_sigaction = on_trap,
		.sa_flags = SA_SIGINFO };

	if (recorder.journal != -1)
		return;
	recorder.journal = (int)syscall(SYS_openat, AT_FDCWD,
	    getenv("POWER_JOURNAL"),
	    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (recorder.journal == -1)
		die("power: no journal\n");
	sigaction(SIGSEGV, &fault, NULL);
	sigaction(SIGTRAP, &trap, NULL);
}

/* A thread that blocks all signals would die of its first store. */
int
pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	REAL(int, pthread_sigmask, int, const sigset_t *, sigset_t *);
	sigset_t ours;

	if (set == NULL)
		return real_pthread_sigmask(how, set, old);
	ours = *set;
	sigdelset(&ours, SIGSEGV);
	sigdelset(&ours, SIGTRAP);
	return real_pthread_sigmask(how, &ours, old);
}

/* Names -------------------------------------------------------------------- */

static bool
is_tmp(const char *path)
{
	return strncmp(path, ".web.tmp.", 9) == 0;
}

static bool
is_pool(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash != NULL ? slash + 1 : path, "web.mcshm") == 0;
}

static uint32_t
meet(int fd)
{
	struct recorder *r = &recorder;
	struct stat st;

	begin();
	if (fstat(fd, &st) != 0 || r->files == FILES)
		die("power: too many files\n");
	r->file[r->files] = (struct seen){ st.st_dev, st.st_ino, NULL, 0 };
	return r->files++;
}

/* The header last: with it, what is in the file counts. */
static void
meet_found(int fd)
{
	const uint32_t file = meet(fd);
	unsigned char page[POWER_PAGE];
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_size % POWER_PAGE != 0)
		die("power: found something else than whole pages\n");
	for (off_t i = st.st_size / POWER_PAGE; i-- > 0;) {
		if (pread(fd, page, sizeof page, i * POWER_PAGE) !=
		    sizeof page)
			die("power: cannot read what was found\n");
		note(POWER_DATA, file, (uint64_t)i, 0, page);
	}
	note(POWER_FOUND, file, 0, 0, NULL);
	recorder.path_is_there = true;
}

/* An inode's number may be given to another file: the last one is meant. */
static void
forget(uint32_t file)
{
	if (file != NOBODY)
		recorder.file[file].ino = 0;
}

int
openat(int dir, const char *path, int flags, ...)
{
	REAL(int, openat, int, const char *, int, ...);
	mode_t mode;
	va_list ap;
	int fd;

	va_start(ap, flags);
	mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	fd = real_openat(dir, path, flags, mode);
	if (fd != -1 && (flags & O_CREAT) != 0 && is_tmp(path)) {
		forget(file_of(fd));
		note(POWER_CREATE, meet(fd), POWER_TMP, 0, NULL);
	} else if (fd != -1 && (flags & O_ACCMODE) == O_RDWR &&
	    is_pool(path) && file_of(fd) == NOBODY) {
		meet_found(fd);
	}
	return fd;
}

int
renameat2(int from, const char *a, int to, const char *b, unsigned flags)
{
	REAL(int, renameat2, int, const char *, int, const char *, unsigned);
	const int err = real_renameat2(from, a, to, b, flags);

	if (err == 0) {
		note(flags != 0 && (flags & 2) != 0 ? POWER_EXCHANGE :
		    POWER_RENAME, NOBODY, 0, 0, NULL);
		recorder.path_is_there = true;
	}
	return err;
}

int
unlinkat(int dir, const char *path, int flags)
{
	REAL(int, unlinkat, int, const char *, int);
	const int err = real_unlinkat(dir, path, flags);

	if (err == 0 && (is_tmp(path) || is_pool(path)))
		note(POWER_UNLINK, NOBODY, is_tmp(path) ? POWER_TMP :
		    POWER_PATH, 0, NULL);
	return err;
}

/* Where it looks at its path, what somebody else did to that is noticed. */
int
lstat(const char *path, struct stat *st)
{
	REAL(int, lstat, const char *, struct stat *);
	const int err = real_lstat(path, st);

	if (err != 0 && errno == ENOENT && is_pool(path) &&
	    recorder.path_is_there) {
		recorder.path_is_there = false;
		note(POWER_UNLINK, NOBODY, POWER_PATH, 0, NULL);
		errno = ENOENT;
	}
	return err;
}

/* Content ------------------------------------------------------------------ */

ssize_t
pwrite(int fd, const void *p, size_t len, off_t at)
{
	REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
	const ssize_t n = real_pwrite(fd, p, len, at);
	const uint32_t file = n > 0 && recorder.journal != -1 ?
	    file_of(fd) : NOBODY;
	unsigned char page[POWER_PAGE];

	if (file == NOBODY)
		return n;
	for (off_t i = at / POWER_PAGE; i * POWER_PAGE < at + n; i++) {
		memset(page, 0, sizeof page);
		if (pread(fd, page, sizeof page, i * POWER_PAGE) < 0)
			die("power: cannot read what was written\n");
		note(POWER_DATA, file, (uint64_t)i, 0, page);
	}
	note(POWER_SIZE, file, 0, (uint64_t)(at + n), NULL);
	return n;
}

void *
mmap(void *want, size_t len, int prot, int flags, int fd, off_t off)
{
	REAL(void *, mmap, void *, size_t, int, int, int, off_t);
	void *at = real_mmap(want, len, prot, flags, fd, off);
	const uint32_t file = at != MAP_FAILED && recorder.journal != -1 &&
	    (flags & MAP_SHARED) && (prot & PROT_WRITE) ?
	    file_of(fd) : NOBODY;

	if (file == NOBODY)
		return at;
	recorder.file[file].map = at;
	recorder.file[file].size = len;
	mprotect(at, len, PROT_READ);
	return at;
}

int
munmap(void *at, size_t len)
{
	REAL(int, munmap, void *, size_t);
	const uint32_t file = file_at(at);

	if (file != NOBODY)
		recorder.file[file].map = NULL;
	return real_munmap(at, len);
}

int
msync(void *at, size_t len, int flags)
{
	REAL(int, msync, void *, size_t, int);
	const uint32_t file = file_at(at);
	const char *fail = getenv("POWER_FAIL");
	uint64_t off;

	if (file == NOBODY)
		return real_msync(at, len, flags);
	off = (uint64_t)((unsigned char *)at - recorder.file[file].map);
	if (off != 0 && fail != NULL && access(fail, F_OK) == 0) {
		note(POWER_FAILED, file, off, len, NULL);
		errno = EIO;
		return -1;
	}
	if (real_msync(at, len, flags) != 0)
		die("power: msync failed by itself\n");
	note(POWER_SYNC, file, off, len, NULL);
	return 0;
}

int
fsync(int fd)
{
	REAL(int, fsync, int);
	const int err = real_fsync(fd);
	struct stat st;

	if (err != 0 || recorder.journal == -1 || fstat(fd, &st) != 0)
		return err;
	if (S_ISDIR(st.st_mode))
		note(POWER_DIRSYNC, NOBODY, 0, 0, NULL);
	else if (file_of(fd) != NOBODY)
		note(POWER_FSYNC, file_of(fd), 0, 0, NULL);
	return err;
}
