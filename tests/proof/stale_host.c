/*
 * stale_host.c - another host for the program that it is preloaded into: its
 * boot id, and a CLOCK_BOOTTIME that is ahead of (or behind) this host's.
 *
 * Both stand in the file $STALE_HOST, which a test changes while the program
 * runs: 8 bytes, the offset in nanoseconds; then the text of the boot id, or
 * nothing where it shall not be readable.  Must change nothing else: timers go
 * by CLOCK_MONOTONIC, which stands still while a host sleeps.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define SIZE 64			/* of the file */

struct host {
	_Atomic int64_t offset;
	char boot_id[SIZE - 8];
};

static const struct host *
host(void)
{
	static _Atomic(const struct host *) known;
	const struct host *h = atomic_load(&known);
	int (*really_open)(const char *, int, ...);
	int fd;

	if (h != NULL)
		return h;
	*(void **)&really_open = dlsym(RTLD_NEXT, "open");
	fd = really_open(getenv("STALE_HOST"), O_RDONLY | O_CLOEXEC);
	h = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
	if (fd == -1 || h == MAP_FAILED)
		abort();
	atomic_store(&known, h);
	return h;
}

int
clock_gettime(clockid_t which, struct timespec *t)
{
	const int64_t second = 1000000000;
	int (*really)(clockid_t, struct timespec *);
	int64_t ns;

	*(void **)&really = dlsym(RTLD_NEXT, "clock_gettime");
	if (really(which, t) != 0)
		return -1;
	if (which != CLOCK_BOOTTIME)
		return 0;
	ns = t->tv_sec * second + t->tv_nsec + atomic_load(&host()->offset);
	t->tv_sec = ns / second;
	t->tv_nsec = ns % second;
	return 0;
}

/* A file that has the boot id. */
static int
open_boot_id(void)
{
	const struct host *h = host();
	const size_t len = strnlen(h->boot_id, sizeof h->boot_id);
	int fd;

	if (len == 0) {
		errno = ENOENT;
		return -1;
	}
	fd = memfd_create("boot_id", MFD_CLOEXEC);
	if (fd == -1 || pwrite(fd, h->boot_id, len, 0) != (ssize_t)len)
		abort();
	return fd;
}

int
open(const char *path, int flags, ...)
{
	int (*really)(const char *, int, ...);
	mode_t mode;
	va_list ap;

	if (strcmp(path, BOOT_ID) == 0)
		return open_boot_id();
	*(void **)&really = dlsym(RTLD_NEXT, "open");
	va_start(ap, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return really(path, flags, mode);
}
