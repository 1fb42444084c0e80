/*
 * reader.c - handles and their memory: mcshm_open(), mcshm_close(), which
 * files may be believed, and mapping one over another.
 *
 * Knows no path but the handle's own, and follows nothing (follow.c).
 */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static uint64_t
boottime(void)
{
	struct timespec t = { 0, 0 };

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * READER_SECOND + (uint64_t)t.tv_nsec;
}

/* Which files may be mapped ----------------------------------------------- */

static bool
fits(uint64_t off, uint64_t size, uint64_t whole)
{
	return off <= whole && size <= whole - off;
}

/* n records of known size or larger, in whole words. */
static bool
records_fit(uint64_t off, uint64_t n, uint64_t stride, uint64_t known,
    uint64_t whole)
{
	return off % 8 == 0 && stride % 8 == 0 && stride >= known &&
	    stride <= MCSHM_MAX_FILE && fits(off, n * stride, whole);
}

static bool
header_identity_sane(const struct mcshm_header *h, uint64_t size)
{
	return h->file_size <= MCSHM_MAX_FILE && h->file_size <= size &&
	    4096 <= h->page_size && h->page_size <= MCSHM_MAX_FILE &&
	    (h->page_size & (h->page_size - 1)) == 0 &&
	    h->header_size % h->page_size == 0 &&
	    fits(sizeof *h, h->header_size - sizeof *h, h->file_size) &&
	    h->generation != 0 && h->roster_id != 0 &&
	    (h->roster_id & MCSHM_ROSTER_EPOCH) == 0;
}

static bool
header_fixed_sane(const struct mcshm_header *h)
{
	return 1 <= h->servers && h->servers <= MCSHM_MAX_SERVERS &&
	    h->words == (h->servers + 63) / 64 &&
	    h->buckets <= MCSHM_MAX_BUCKETS &&
	    h->buckets + (uint64_t)h->ring_points > 0 &&
	    h->roster_off >= h->header_size &&
	    records_fit(h->roster_off, h->servers, h->roster_stride,
		sizeof(struct mcshm_roster), h->file_size) &&
	    h->buckets_off >= h->header_size && h->buckets_off % 2 == 0 &&
	    fits(h->buckets_off, 2 * (uint64_t)h->buckets, h->file_size);
}

static bool
header_ring_sane(const struct mcshm_header *h)
{
	const uint64_t record = sizeof(struct mcshm_point);

	if (h->ring_points == 0)
		return true;
	if (h->ring_points > MCSHM_MAX_POINTS ||
	    h->ring_index_bits > MCSHM_MAX_INDEX_BITS ||
	    h->ring_off < h->header_size || !records_fit(h->ring_off,
		h->ring_points, record, record, h->file_size))
		return false;
	return h->ring_index_bits == 0 ||
	    (h->ring_index_off >= h->header_size &&
		h->ring_index_off % 4 == 0 && fits(h->ring_index_off,
		    mcshm_index_size(h->ring_index_bits), h->file_size));
}

static bool
header_sections_sane(const struct mcshm_header *h)
{
	const uint64_t a = h->section_off[0], b = h->section_off[1];
	const uint64_t size = h->section_size;

	return size % h->page_size == 0 &&
	    a % h->page_size == 0 && b % h->page_size == 0 &&
	    a >= h->header_size && b >= h->header_size &&
	    fits(a, size, h->file_size) && fits(b, size, h->file_size) &&
	    (fits(a, size, b) || fits(b, size, a)) &&
	    h->bitmap_off >= sizeof(struct mcshm_section) &&
	    records_fit(h->bitmap_off, MCSHM_BITMAPS * (uint64_t)h->words, 8, 8,
		size) &&
	    records_fit(h->spare_off, MCSHM_SECTION_SPARE, 8, 8, size) &&
	    records_fit(h->entries_off, h->servers, h->entry_stride,
		sizeof(struct mcshm_entry), size);
}

int
reader_check_header(const struct mcshm_header *h, uint64_t size)
{
	if (memcmp(h->magic, MCSHM_MAGIC_BYTES, sizeof h->magic) != 0 ||
	    h->endian != MCSHM_ENDIAN)
		return MCSHM_EDAMAGED;
	if (h->version >> 16 != MCSHM_FORMAT_MAJOR || h->incompat != 0)
		return MCSHM_EVERSION;
	if (h->header_sum != mcshm_header_sum(h) ||
	    !header_identity_sane(h, size) || !header_fixed_sane(h) ||
	    !header_ring_sane(h) || !header_sections_sane(h))
		return MCSHM_EDAMAGED;
	if (!scheme_known(h))
		return MCSHM_EVERSION;
	return scheme_fits(h) ? MCSHM_OK : MCSHM_EDAMAGED;
}

int
reader_error(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return MCSHM_ENOENT;
	case EACCES:
	case EPERM:
	case ELOOP:		/* a symbolic link */
		return MCSHM_EPERM;
	case ENXIO:		/* a socket, or a device that is not there */
	case ENODEV:
		return MCSHM_EDAMAGED;
	default:
		return MCSHM_ESYS;
	}
}

/*
 * Only those who could lie to us anyway: root, ourselves, or who owns the
 * directory, if not everybody may put files there in his place.
 */
static int
check_owner(const struct stat *st, int dirfd)
{
	struct stat dir;

	if (!S_ISREG(st->st_mode))
		return MCSHM_EDAMAGED;
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return MCSHM_EPERM;
	if (st->st_uid == 0 || st->st_uid == geteuid())
		return MCSHM_OK;
	if (fstat(dirfd, &dir) != 0)
		return MCSHM_ESYS;
	return dir.st_uid == st->st_uid && !(dir.st_mode & S_IWOTH) ?
	    MCSHM_OK : MCSHM_EPERM;
}

static int
check_content(struct reader_file *f)
{
	const ssize_t n = pread(f->fd, &f->header, sizeof f->header, 0);

	if (n < 0)
		return reader_error(errno);
	if ((size_t)n < sizeof f->header)
		return MCSHM_EDAMAGED;
	return reader_check_header(&f->header, (uint64_t)f->st.st_size);
}

int
reader_file_open(struct reader_file *f, int dirfd, const char *name)
{
	int err;

	/* O_NONBLOCK: a FIFO in the way must not hold us up. */
	f->fd = openat(dirfd, name,
	    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd == -1)
		return reader_error(errno);
	err = fstat(f->fd, &f->st) == 0 ? MCSHM_OK : reader_error(errno);
	if (err == MCSHM_OK)
		err = check_owner(&f->st, dirfd);
	if (err == MCSHM_OK)
		err = check_content(f);
	if (err != MCSHM_OK)
		close(f->fd);
	return err;
}

/* Memory ------------------------------------------------------------------ */

/*
 * mmap(2) over a range that others read, by the raw system call: TSan's
 * interceptor takes the call for a write to the whole range, and reports a race
 * that is none.  The calls differ: mmap2 is what 32-bit machines have (offsets
 * are 0 here, so its unit does not matter), s390's takes its arguments in
 * memory, which libc had better do.
 */
#if defined(SYS_mmap2)
#define RAW_MMAP SYS_mmap2
#elif !defined(__s390__)
#define RAW_MMAP SYS_mmap
#endif

static void *
mmap_over(void *at, size_t size, int flags, int fd)
{
#ifdef RAW_MMAP
	/* All six are taken as longs: the upper half of an int that is passed
	 * on the stack is anything. */
	return (void *)syscall(RAW_MMAP, at, size, (long)PROT_READ,
	    (long)(flags | MAP_FIXED), (long)fd, 0L);
#else
	return mmap(at, size, PROT_READ, flags | MAP_FIXED, fd, 0);
#endif
}

int
reader_map(struct mcshm *m, const struct reader_file *f)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t size = (f->header.file_size + page - 1) / page * page;

	if (mmap_over(reader_base(m), size, MAP_SHARED, f->fd) == MAP_FAILED)
		return MCSHM_ESYS;
	/* Head first: a reader that still has the old offsets will fail its
	 * generation check.  Should this one fail, the end of a larger old
	 * file stays, which does no harm. */
	if (size < MCSHM_MAX_FILE)
		mmap_over(reader_base(m) + size, MCSHM_MAX_FILE - size,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	atomic_store_explicit(&m->dev, f->st.st_dev, memory_order_relaxed);
	atomic_store_explicit(&m->ino, f->st.st_ino, memory_order_relaxed);
	return MCSHM_OK;
}

/* Handles ----------------------------------------------------------------- */

static bool
is_pool_name(const char *s)
{
	static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789";
	const size_t len = strlen(s);

	return 1 <= len && len <= MCSHM_POOL_MAX &&
	    strchr(first, s[0]) != NULL &&
	    strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		"abcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

/* The path of a pool's file as the caller says it. */
static int
pool_path(char path[PATH_MAX], const char *pool)
{
	const char *dir = secure_getenv("MCSHM_DIR");
	int n;

	if (strchr(pool, '/') != NULL) {
		n = snprintf(path, PATH_MAX, "%s", pool);
	} else {
		if (!is_pool_name(pool))
			return MCSHM_EINVAL;
		if (dir == NULL || dir[0] == '\0')
			dir = MCSHM_DEFAULT_DIR;
		n = snprintf(path, PATH_MAX, "%s/%s" MCSHM_SUFFIX, dir, pool);
	}
	return n < PATH_MAX ? MCSHM_OK : MCSHM_EINVAL;
}

/* The working directory may be another one when we look again. */
static int
make_absolute(char path[PATH_MAX])
{
	char cwd[PATH_MAX];
	const size_t len = strlen(path);
	size_t n;

	if (path[0] == '/')
		return MCSHM_OK;
	if (getcwd(cwd, sizeof cwd) == NULL)
		return reader_error(errno);
	n = strlen(cwd);
	if (n + 1 + len >= PATH_MAX)
		return MCSHM_EINVAL;
	memmove(path + n + 1, path, len + 1);
	memcpy(path, cwd, n);
	path[n] = '/';
	return MCSHM_OK;
}

static struct mcshm *
handle_new(const char *path, unsigned flags)
{
	const char *slash = strrchr(path, '/');
	struct mcshm *m = mmap(NULL, READER_RANGE + MCSHM_MAX_FILE, PROT_READ,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (m == MAP_FAILED)
		return NULL;
	if (mprotect(m, READER_RANGE, PROT_READ | PROT_WRITE) != 0) {
		munmap(m, READER_RANGE + MCSHM_MAX_FILE);
		return NULL;
	}
	m->wipes = madvise(reader_cache(m), READER_SUSPECTS - READER_CACHE,
	    MADV_WIPEONFORK) == 0;
	/* Where the kernel can not do this, it is for ever being filled. */
	if (!m->wipes)
		atomic_store_explicit(&reader_cache(m)->filling, 1,
		    memory_order_relaxed);
	m->flags = flags;
	m->options = (struct reader_options){ .deadline = READER_SECOND,
		.suspect_time = 10 * READER_SECOND, .tries = 3,
		.reports = true };
	m->clock = boottime;
	m->dirfd = -1;
	/* The root keeps its slash; so there is one byte more. */
	memcpy(m->text, path, slash == path ? 1 : (size_t)(slash - path));
	m->dir = m->text;
	m->name = strcpy(m->text + strlen(m->text) + 1, slash + 1);
	mcshm_boot_id(m->boot_id);
	return m;
}

int
mcshm_open(struct mcshm **out, const char *pool, unsigned flags)
{
	char path[PATH_MAX];
	struct mcshm *m;
	int err;

	if (out == NULL || pool == NULL ||
	    (flags & ~(MCSHM_NOFOLLOW | MCSHM_LATER)) != 0)
		return MCSHM_EINVAL;
	err = pool_path(path, pool);
	if (err == MCSHM_OK)
		err = make_absolute(path);
	if (err == MCSHM_OK && path[strlen(path) - 1] == '/')
		err = MCSHM_EINVAL;
	if (err != MCSHM_OK)
		return err;
	m = handle_new(path, flags);
	if (m == NULL)
		return MCSHM_ESYS;
	err = reader_first(m);
	if (err != MCSHM_OK &&
	    !(err == MCSHM_ENOENT && (flags & MCSHM_LATER))) {
		mcshm_close(m);
		return err;
	}
	*out = m;
	return MCSHM_OK;
}

void
mcshm_close(struct mcshm *m)
{
	if (m == NULL)
		return;
	reader_leave(m);
	munmap(m, READER_RANGE + MCSHM_MAX_FILE);
}
