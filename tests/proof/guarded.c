/*
 * guarded.c - mmap(2) that gives a handle's range no neighbours.
 *
 * Linked with -Wl,--wrap: what the library maps lies in the middle of address
 * space that nobody may touch, so that an access beyond it faults instead of
 * meeting whatever lies there.  No sanitizer sees that by itself.
 */
#include <stddef.h>
#include <sys/mman.h>

#define GUARD ((size_t)1 << 30)
#define RANGE ((size_t)1 << 26)		/* a handle's is larger, little else */

void *__real_mmap(void *at, size_t size, int prot, int flags, int fd,
    off_t off);
int __real_munmap(void *at, size_t size);
void *__wrap_mmap(void *at, size_t size, int prot, int flags, int fd,
    off_t off);
int __wrap_munmap(void *at, size_t size);

void *
__wrap_mmap(void *at, size_t size, int prot, int flags, int fd, off_t off)
{
	char *whole;

	if (at != NULL || size <= RANGE)
		return __real_mmap(at, size, prot, flags, fd, off);
	whole = __real_mmap(NULL, size + 2 * GUARD, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (whole == MAP_FAILED)
		return whole;
	return __real_mmap(whole + GUARD, size, prot, flags | MAP_FIXED, fd,
	    off);
}

int
__wrap_munmap(void *at, size_t size)
{
	if (size <= RANGE)
		return __real_munmap(at, size);
	return __real_munmap((char *)at - GUARD, size + 2 * GUARD);
}
