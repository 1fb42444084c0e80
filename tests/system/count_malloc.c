/*
 * count_malloc.c - how often a daemon that is started with this preloaded asks
 * for memory.
 *
 * $COUNT_MALLOC is a file with one number of 64 bits: calls of malloc() and its
 * like so far, by all threads.  glibc's own calls are in it, too: of strdup(),
 * of getaddrinfo(), of stdio.  The functions that do the work are glibc's under
 * the names that it has for this, so that nothing has to be looked up, which
 * would need memory itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static _Atomic uint64_t *calls;

static void __attribute__((constructor))
begin(void)
{
	const char *path = getenv("COUNT_MALLOC");
	const int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p;

	if (fd == -1)
		return;
	p = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
	    0);
	close(fd);
	if (p != MAP_FAILED)
		calls = p;
}

static void
count(void)
{
	if (calls != NULL)
		atomic_fetch_add_explicit(calls, 1, memory_order_relaxed);
}

void *
malloc(size_t size)
{
	count();
	return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	count();
	return __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	count();
	return __libc_realloc(p, size);
}

void *
memalign(size_t align, size_t size)
{
	count();
	return __libc_memalign(align, size);
}

void *
aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int
posix_memalign(void **p, size_t align, size_t size)
{
	void *const new = memalign(align, size);

	if (new == NULL)
		return ENOMEM;
	*p = new;
	return 0;
}
