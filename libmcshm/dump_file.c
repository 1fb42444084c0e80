/*
 * dump_file.c - a pool file, read into private memory and checked.
 *
 * The reader's half of the strict generation of mcshm_format.h, with pread in
 * the place of loads.  Must never map the file, and never use a number from it
 * that dump_check_header() has not passed.
 */
#include "dump_file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "dump_check.h"

#define TRIES_READ 64		/* of a section, while a writer flips */
#define TRIES_OPEN 20		/* of a file that is being replaced */
#define TRIES_OPEN_NS 5000000	/* between two of them */

static int __attribute__((format(printf, 2, 3)))
fail(struct dump_trouble *t, const char *fmt, ...)
{
	va_list ap;

	t->damaged = false;
	va_start(ap, fmt);
	vsnprintf(t->text, sizeof t->text, fmt, ap);
	va_end(ap);
	return -1;
}

/* All of len bytes, or -1; errno 0: the file ends before. */
static int
read_all(int fd, void *to, uint64_t len, uint64_t off)
{
	char *p = to;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? 0 : errno;
			return -1;
		}
		p += n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int
read_failed(struct dump_trouble *t)
{
	if (errno != 0)
		return fail(t, "can not be read: %s", strerror(errno));
	fail(t, "damaged: truncated while it was read");
	t->damaged = true;
	return -1;
}

/* The memory that the placement's masked offsets stay in. */
static uint64_t
power_of_two(uint64_t n)
{
	uint64_t p = 4096;

	while (p < n)
		p <<= 1;
	return p;
}

/* The header, checked; nothing else in this file can be believed before. */
static int
read_header(struct dump_file *f, int fd, struct dump_trouble *t)
{
	char head[sizeof f->h] = { 0 };

	/* A shorter file is no pool file, whatever its first bytes say. */
	if (f->size < sizeof f->h)
		return fail(t, f->size == 0 ? "empty: not a pool file" :
		    "not a pool file: too short for a header");
	if (read_all(fd, head, sizeof head, 0) < 0)
		return read_failed(t);
	memcpy(&f->h, head, sizeof f->h);
	return dump_check_header(&f->h, f->size, t) ? 0 : -1;
}

/* What the publisher rewrites: all up to the fixed words behind it. */
static int
read_publisher(struct dump_file *f, int fd)
{
	const uint64_t off = offsetof(struct mcshm_header, generation);

	return read_all(fd, &f->h.generation, MCSHM_SUM_B_OFF - off, off);
}

static int
read_generation(int fd, uint64_t *g)
{
	return read_all(fd, g, sizeof *g,
	    offsetof(struct mcshm_header, generation));
}

/*
 * The active section of one moment: it counts only if the generation is the
 * same before and after.  The fence keeps the second look behind the section's
 * bytes, as [C] does for those who map the file.
 */
static int
read_active(struct dump_file *f, int fd, struct dump_trouble *t)
{
	for (int i = 0; i < TRIES_READ; i++) {
		uint64_t g, off;

		if (read_publisher(f, fd) < 0)
			return read_failed(t);
		off = f->h.section_off[f->h.generation & 1];
		atomic_thread_fence(memory_order_acquire);
		if (read_all(fd, f->image + off, f->h.section_size, off) < 0)
			return read_failed(t);
		atomic_thread_fence(memory_order_acquire);
		if (read_generation(fd, &g) < 0)
			return read_failed(t);
		if (g == f->h.generation)
			return 0;
	}
	return fail(t, "changes too fast to be read");
}

static int
read_content(struct dump_file *f, int fd, struct dump_trouble *t)
{
	const uint64_t size = power_of_two(f->h.file_size);

	f->image = calloc(1, size);
	if (f->image == NULL)
		return fail(t, "no memory for its %llu bytes",
		    (unsigned long long)f->h.file_size);
	f->mask = size - 1;
	if (read_all(fd, f->image, f->h.file_size, 0) < 0)
		return read_failed(t);
	if (read_active(f, fd, t) < 0)
		return -1;
	if ((f->h.generation & ~MCSHM_RETIRED) == 0)
		return fail(t, "nobody has published anything in it yet");
	f->active = f->h.generation & 1;
	f->retired = (f->h.generation & MCSHM_RETIRED) != 0;
	return 0;
}

/* A read lock would conflict with the writer's: nobody else takes one. */
static enum dump_lock
lock_state(int fd)
{
	struct flock fl = { .l_type = F_RDLCK, .l_whence = SEEK_SET,
		.l_start = MCSHM_LOCK_BYTE, .l_len = 1 };

	if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
		return DUMP_LOCK_UNKNOWN;
	return fl.l_type == F_UNLCK ? DUMP_LOCK_FREE : DUMP_LOCK_HELD;
}

/* The library's rule who may be believed, for this user. */
static const char *
why_refused(const struct stat *st, const char *path)
{
	char copy[4096];
	struct stat dir;

	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return "group or others may write it";
	if (st->st_uid == 0 || st->st_uid == geteuid())
		return NULL;
	snprintf(copy, sizeof copy, "%s", path);
	if (stat(dirname(copy), &dir) < 0 || dir.st_uid != st->st_uid)
		return "its owner is neither root nor its directory's";
	if ((dir.st_mode & S_IWOTH) != 0)
		return "everybody may write its directory";
	return NULL;
}

/* DIR/NAME.mcshm.mcshm: somebody has written the name of a file that is in DIR
 * or here, and meant it. */
static bool
means_file(const char *path)
{
	const size_t len = strlen(path), end = strlen(MCSHM_SUFFIX);
	char copy[4096];

	if (len < 2 * end || len >= sizeof copy ||
	    strcmp(path + len - end, MCSHM_SUFFIX) != 0)
		return false;
	memcpy(copy, path, len - end);
	copy[len - end] = '\0';
	return strcmp(copy + len - 2 * end, MCSHM_SUFFIX) == 0 &&
	    (access(copy, F_OK) == 0 || access(basename(copy), F_OK) == 0);
}

static int
open_failed(const char *path, struct dump_trouble *t)
{
	switch (errno) {
	case ELOOP:
		return fail(t, "a symbolic link: clients do not follow it");
	case ENOENT:
		return fail(t, "no such file%s", means_file(path) ?
		    "; a pool is named without .mcshm; a file has a '/' in it" :
		    "");
	default:
		return fail(t, "%s", strerror(errno));
	}
}

static int
open_file(const char *path, struct dump_trouble *t)
{
	/* O_NONBLOCK: a FIFO in its place must not hold us up. */
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK |
	    O_NOCTTY);

	return fd >= 0 ? fd : open_failed(path, t);
}

static int
read_open(struct dump_file *f, const char *path, int fd, struct dump_trouble *t)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail(t, "can not be read: %s", strerror(errno));
	if (S_ISDIR(st.st_mode))
		return fail(t, "a directory; --directory DIR shows all pools "
		    "of it");
	if (!S_ISREG(st.st_mode))
		return fail(t, "not a pool file: not a regular file");
	f->size = (uint64_t)st.st_size;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	f->refused = why_refused(&st, path);
	f->lock = lock_state(fd);
	if (read_header(f, fd, t) < 0)
		return -1;
	return read_content(f, fd, t);
}

static int
read_once(struct dump_file *f, const char *path, struct dump_trouble *t)
{
	int fd = open_file(path, t), err;

	*f = (struct dump_file){ .path = path };
	if (fd < 0)
		return -1;
	err = read_open(f, path, fd, t);
	close(fd);
	if (err < 0)
		dump_file_free(f);
	return err;
}

int
dump_file_read(struct dump_file *f, const char *path, struct dump_trouble *t)
{
	const struct timespec moment = { .tv_nsec = TRIES_OPEN_NS };

	for (int i = 0; ; i++) {
		if (read_once(f, path, t) < 0)
			return -1;
		if (!f->retired || i == TRIES_OPEN)
			return 0;
		dump_file_free(f);
		nanosleep(&moment, NULL);
	}
}

void
dump_file_free(struct dump_file *f)
{
	free(f->image);
	f->image = NULL;
}

/* Parts -------------------------------------------------------------------- */

const struct mcshm_section *
dump_file_section(const struct dump_file *f, unsigned section)
{
	return (const void *)(f->image + f->h.section_off[section]);
}

const struct mcshm_roster *
dump_file_roster(const struct dump_file *f, uint32_t slot)
{
	return (const void *)(f->image + f->h.roster_off +
	    (uint64_t)slot * f->h.roster_stride);
}

const struct mcshm_entry *
dump_file_entry(const struct dump_file *f, uint32_t slot)
{
	return (const void *)(f->image + f->h.section_off[f->active] +
	    f->h.entries_off + (uint64_t)slot * f->h.entry_stride);
}

const uint16_t *
dump_file_buckets(const struct dump_file *f)
{
	return (const void *)(f->image + f->h.buckets_off);
}

const struct mcshm_point *
dump_file_ring(const struct dump_file *f)
{
	return (const void *)(f->image + f->h.ring_off);
}

const uint32_t *
dump_file_ring_index(const struct dump_file *f)
{
	return (const void *)(f->image + f->h.ring_index_off);
}

static const uint64_t *
bitmap_of(const struct dump_file *f, unsigned bitmap)
{
	const unsigned char *section =
	    f->image + f->h.section_off[f->active] + f->h.bitmap_off;

	return (const uint64_t *)(const void *)section +
	    (size_t)bitmap * f->h.words;
}

bool
dump_file_bit(const struct dump_file *f, unsigned bitmap, uint32_t slot)
{
	return bitmap_of(f, bitmap)[slot / 64] >> (slot % 64) & 1;
}

uint64_t
dump_file_spare(const struct dump_file *f, unsigned word)
{
	const uint64_t *spare = (const void *)(f->image +
	    f->h.section_off[f->active] + f->h.spare_off);

	return spare[word];
}

uint32_t
dump_file_count(const struct dump_file *f, unsigned bitmap)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < f->h.words; i++)
		n += (uint32_t)__builtin_popcountll(bitmap_of(f, bitmap)[i]);
	return n;
}

struct scheme_place
dump_file_place(const struct dump_file *f, bool blind)
{
	struct scheme_place p = scheme_place_of(f->image, f->mask, &f->h);

	p.bits_off = f->h.section_off[f->active] + f->h.bitmap_off;
	p.blind = blind;
	return p;
}
