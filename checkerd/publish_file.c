/*
 * publish_file.c - pool files as the kernel sees them.
 *
 * A file is never truncated and never changes its size: readers have it
 * mapped.  It gets its name whole, or not at all.
 */
#include "publish_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

static int trouble(struct publish_trouble *t, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
trouble(struct publish_trouble *t, int error, const char *fmt, ...)
{
	va_list ap;

	t->error = error;
	va_start(ap, fmt);
	vsnprintf(t->what, sizeof t->what, fmt, ap);
	va_end(ap);
	return error;
}

/* The place ---------------------------------------------------------------- */

/* File systems on which two hosts, or two mappings, see different bytes. */
static bool
is_remote(const struct statfs *fs)
{
	static const uint32_t remote[] = { 0x6969 /* NFS */,
		0xff534d42 /* CIFS */, 0xfe534d42 /* SMB2 */,
		0x517b /* SMB */, 0x01021997 /* 9P */, 0x65735546 /* FUSE */,
		0x00c36400 /* CEPH */ };

	for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
		if ((uint32_t)fs->f_type == remote[i])
			return true;
	return false;
}

int
place_reopen(struct place *w, struct publish_trouble *t)
{
	struct statfs fs;
	bool ours;
	int fd;

	/* Its parents are the operator's business. */
	ours = mkdir(w->dir, 0755) == 0;
	if (!ours && errno != EEXIST)
		return trouble(t, errno, "cannot make directory %s", w->dir);
	fd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd == -1)
		return trouble(t, errno, "cannot open directory %s", w->dir);
	if (ours && fchmod(fd, 0755) == -1) {	/* whatever the umask says */
		close(fd);
		return trouble(t, errno, "cannot open %s to readers", w->dir);
	}
	if (fstatfs(fd, &fs) == -1)
		fs.f_type = 0;
	if (is_remote(&fs)) {
		close(fd);
		return trouble(t, EOPNOTSUPP, "%s is on a file system without "
		    "coherent mmap (network, FUSE); choose a local directory",
		    w->dir);
	}
	w->on_disk = fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC;
	if (w->dirfd != -1)
		close(w->dirfd);
	w->dirfd = fd;
	return 0;
}

int
place_open(struct place *w, const char *path, struct publish_trouble *t)
{
	const size_t suffix = strlen(MCSHM_SUFFIX);
	const char *slash = strrchr(path, '/');
	size_t stem;
	bool plain;

	w->dirfd = -1;
	if (slash == NULL || slash[1] == 0 || strlen(path) >= sizeof w->path ||
	    strlen(slash + 1) > NAME_MAX - 32)
		return trouble(t, EINVAL, "%s: not the path of a file", path);
	strcpy(w->path, path);
	memcpy(w->dir, path, (size_t)(slash - path));
	w->dir[slash - path] = 0;
	if (slash == path)
		strcpy(w->dir, "/");
	strcpy(w->name, slash + 1);
	/* x and x.mcshm are two files: no pool's name has an @. */
	stem = strlen(w->name);
	plain = stem <= suffix ||
	    strcmp(w->name + stem - suffix, MCSHM_SUFFIX) != 0;
	snprintf(w->tmp, sizeof w->tmp, ".%.*s%s.tmp.%ld",
	    (int)(plain ? stem : stem - suffix), w->name, plain ? "@" : "",
	    (long)getpid());
	return place_reopen(w, t);
}

void
place_close(struct place *w)
{
	if (w->dirfd != -1)
		close(w->dirfd);
	w->dirfd = -1;
}

bool
place_has(const struct place *w, const struct file *f)
{
	struct stat st;

	return lstat(w->path, &st) == 0 && st.st_dev == f->dev &&
	    st.st_ino == f->ino;
}

bool
place_lost(const struct place *w, const struct file *f)
{
	errno = 0;
	return !place_has(w, f) && errno != EIO && errno != ENOMEM;
}

/* Locks -------------------------------------------------------------------- */

/*
 * An open file description's lock: not lost when another descriptor of the
 * file is closed, and seen by readers from a read-only one (F_OFD_GETLK).
 */
static int
lock_try(int fd)
{
	struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
		.l_start = MCSHM_LOCK_BYTE, .l_len = 1 };

	return fcntl(fd, F_OFD_SETLK, &fl) == 0 ? 0 : errno;
}

/* A child between fork and exec still has its parent's lock: be patient. */
static int
lock_wait(int fd, unsigned patience)
{
	const struct timespec step = { .tv_nsec = 20000000 };
	int err;

	while ((err = lock_try(fd)) == EAGAIN && patience-- > 0)
		nanosleep(&step, NULL);
	return err;
}

static void
wake(unsigned char *map)
{
	syscall(SYS_futex, mcshm_generation_low(
	    map + offsetof(struct mcshm_header, generation)), FUTEX_WAKE,
	    INT_MAX, NULL, NULL, 0);
}

static void
retire(unsigned char *map)
{
	mcshm_write_retire(map + offsetof(struct mcshm_header, generation));
	wake(map);
	msync(map, sizeof(struct mcshm_header), MS_SYNC);
}

/* Sweeping ----------------------------------------------------------------- */

/* RETIRED into a file that may be anything, and is not mapped. */
static void
retire_fd(int fd)
{
	unsigned char *map;
	struct stat st;

	if (fstat(fd, &st) == -1 ||
	    st.st_size < (off_t)sizeof(struct mcshm_header))
		return;
	map = mmap(NULL, sizeof(struct mcshm_header), PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return;
	if (memcmp(map, MCSHM_MAGIC_BYTES, 8) == 0)
		retire(map);
	munmap(map, sizeof(struct mcshm_header));
}

/* A leftover that nobody holds: its readers, if it has any, must move on. */
static void
sweep_one(int dirfd, const char *name)
{
	const int fd = openat(dirfd, name,
	    O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd == -1)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && lock_try(fd) == 0) {
		retire_fd(fd);
		unlinkat(dirfd, name, 0);
	}
	close(fd);
}

void
place_sweep(const struct place *w)
{
	const size_t prefix = (size_t)(strrchr(w->tmp, '.') + 1 - w->tmp);
	const int fd = openat(w->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd == -1 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (dir == NULL) {
		if (fd != -1)
			close(fd);
		return;
	}
	while ((de = readdir(dir)) != NULL)
		if (strncmp(de->d_name, w->tmp, prefix) == 0)
			sweep_one(w->dirfd, de->d_name);
	closedir(dir);
}

/* Cleaning ----------------------------------------------------------------- */

static bool
is_kept(const char *path, const char *const *keep, uint32_t keeps)
{
	for (uint32_t i = 0; i < keeps; i++)
		if (strcmp(path, keep[i]) == 0)
			return true;
	return false;
}

/* A pool file that was made by this ini, and that nobody holds. */
static bool
is_orphan(int fd, const char *config)
{
	struct mcshm_header h;

	return pread(fd, &h, sizeof h, 0) == (ssize_t)sizeof h &&
	    memcmp(h.magic, MCSHM_MAGIC_BYTES, sizeof h.magic) == 0 &&
	    strncmp(h.config, config, sizeof h.config - 1) == 0 &&
	    lock_try(fd) == 0;
}

static bool
clean_one(int dirfd, const char *name, const char *config)
{
	const int fd = openat(dirfd, name,
	    O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	bool gone = false;

	if (fd == -1)
		return false;
	if (is_orphan(fd, config)) {
		retire_fd(fd);
		gone = unlinkat(dirfd, name, 0) == 0;
	}
	close(fd);
	return gone;
}

unsigned
publish_clean(const char *directory, const char *config,
    const char *const *keep, uint32_t keeps,
    void (*removed)(void *arg, const char *path), void *arg)
{
	const size_t suffix = strlen(MCSHM_SUFFIX);
	DIR *dir = opendir(directory);
	char path[PATH_MAX];
	struct dirent *de;
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while ((de = readdir(dir)) != NULL) {
		const size_t len = strlen(de->d_name);

		if (len <= suffix || strcmp(de->d_name + len - suffix,
			MCSHM_SUFFIX) != 0 ||
		    snprintf(path, sizeof path, "%s/%s", directory,
			de->d_name) >= (int)sizeof path ||
		    is_kept(path, keep, keeps) ||
		    !clean_one(dirfd(dir), de->d_name, config))
			continue;
		removed(arg, path);
		n++;
	}
	closedir(dir);
	return n;
}

/* Attaching ---------------------------------------------------------------- */

#define GENERATION_ABSURD (UINT64_C(1) << 62)

static void
load_words(void *to, const unsigned char *from, size_t len)
{
	uint64_t *word = to;

	for (size_t i = 0; i < len / 8; i++)
		word[i] = mcshm_load(from + 8 * i);
}

/* Store what differs: a page without news stays clean. */
static void
store_words(unsigned char *to, const void *from, size_t len)
{
	const uint64_t *word = from;

	for (size_t i = 0; i < len / 8; i++)
		if (mcshm_load(to + 8 * i) != word[i])
			mcshm_store(to + 8 * i, word[i]);
}

/* Is this header of a file that this program could have made, so that all of
 * its geometry is known to be sound, and to be taken by readers? */
static bool
header_ours(const struct mcshm_header *h, off_t size)
{
	const struct scheme_size tables = { h->buckets, h->ring_points,
		h->ring_index_bits, 0 };
	struct mcshm_header l;

	if (h->header_sum != mcshm_header_sum(h) ||
	    h->page_size != (uint32_t)sysconf(_SC_PAGESIZE) ||
	    !image_layout(&l, h->servers, &tables, h->page_size) ||
	    (off_t)l.file_size != size)
		return false;
	/* What does not follow from the layout. */
	l.scheme = h->scheme;
	l.hash = h->hash;
	l.points_hash = h->points_hash;
	l.hash_flags = h->hash_flags;
	l.hash_tag = h->hash_tag;
	l.stale_after = h->stale_after;
	l.dead = h->dead;
	l.failover_ttl = h->failover_ttl;
	l.roster_sum = h->roster_sum;
	l.table_sum = h->table_sum;
	memcpy(l.pool, h->pool, sizeof l.pool);
	return image_same(&l, h) &&
	    scheme_fits(h) && scheme_known(h) && h->roster_id != 0 &&
	    (h->roster_id & MCSHM_ROSTER_EPOCH) == 0;
}

/* Roster and tables by their sums, and the servers from them. */
static int
attach_fixed(struct file *f)
{
	const struct mcshm_header *h = &f->head;
	unsigned char *fixed = malloc(image_fixed_size(h));
	int err = EINVAL;

	if (fixed == NULL)
		return ENOMEM;
	load_words(fixed, f->map, image_fixed_size(h));
	if (mcshm_sum(fixed + h->roster_off,
		(size_t)h->servers * h->roster_stride, 0) == h->roster_sum &&
	    mcshm_table_sum(fixed, h) == h->table_sum)
		err = image_servers(&f->servers, fixed, h);
	free(fixed);
	return err;
}

static bool
attach_section(struct file *f, uint64_t g)
{
	load_words(f->work, f->map + f->head.section_off[g & 1],
	    f->head.section_size);
	return image_section_whole(f->work, &f->head);
}

/*
 * A killed daemon leaves the active section whole.  Only power loss or a
 * foreign hand makes it otherwise: then the other one is the last good state.
 */
static int
attach_sections(struct file *f)
{
	unsigned char *gen =
	    f->map + offsetof(struct mcshm_header, generation);
	const uint64_t g = mcshm_load(gen);

	if (attach_section(f, g))
		return 0;
	if (!attach_section(f, g + 1))
		return EINVAL;
	mcshm_write_flip(gen, g);
	return 0;
}

static size_t
bitmap_words(const struct file *f)
{
	return f->head.words;
}

static void
mark_all(struct file *f)
{
	const size_t size = bitmap_words(f) * sizeof(uint64_t);
	const uint32_t odd = f->head.servers % 64;
	uint64_t *const bitmap[] = { f->unsummed, f->behind[0], f->behind[1] };

	for (size_t i = 0; i < 3; i++) {
		memset(bitmap[i], 0xff, size);
		if (odd != 0)
			bitmap[i][f->head.words - 1] >>= 64 - odd;
	}
}

/* Memory of the work section and of what is known about it. */
static int
track(struct file *f)
{
	const size_t n = f->head.servers, words = bitmap_words(f);

	f->work = aligned_alloc(8, f->head.section_size);
	f->entry_sum = calloc(n + 3 * words, sizeof *f->entry_sum);
	if (f->work == NULL || f->entry_sum == NULL)
		return ENOMEM;
	f->unsummed = f->entry_sum + n;
	f->behind[0] = f->unsummed + words;
	f->behind[1] = f->behind[0] + words;
	mark_all(f);
	return 0;
}

static int
map_file(struct file *f)
{
	f->map = mmap(NULL, f->head.file_size, PROT_READ | PROT_WRITE,
	    MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED) {
		f->map = NULL;
		return errno;
	}
	return track(f);
}

/* Of one that begins as ours do, and was cut before its count: nothing in it is
 * of use to anybody, whoever did that. */
static enum file_found
attach_stump(const struct file *f, const struct place *w, const struct stat *st,
    ssize_t n, struct publish_trouble *t)
{
	if (n < 8 || memcmp(f->head.magic, MCSHM_MAGIC_BYTES, 8) != 0)
		trouble(t, EEXIST, "%s: not a pool file; move it away, or let "
		    "the pool's file be another", w->path);
	else if (st->st_uid != geteuid())
		trouble(t, EEXIST, "%s: a pool file that somebody cut, and "
		    "that is uid %u's; remove it, clients get the new one",
		    w->path, (unsigned)st->st_uid);
	else
		return FILE_UNFIT;
	return FILE_TROUBLE;
}

static enum file_found
attach_content(struct file *f, const struct place *w, uint64_t *generation,
    struct publish_trouble *t)
{
	struct stat st;
	ssize_t n;
	int err;

	if (fstat(f->fd, &st) == -1) {
		trouble(t, errno, "cannot read %s", w->path);
		return FILE_TROUBLE;
	}
	if (!S_ISREG(st.st_mode)) {
		trouble(t, EEXIST, "%s: not a regular file", w->path);
		return FILE_TROUBLE;
	}
	/* One that clients refuse, or can not read, would be published into for
	 * nothing. */
	if (st.st_size == 0 ||
	    ((st.st_mode & 07777) != 0644 && fchmod(f->fd, 0644) == -1))
		return FILE_UNFIT;
	n = pread(f->fd, &f->head, sizeof f->head, 0);
	if (n == -1) {
		trouble(t, errno, "cannot read %s", w->path);
		return FILE_TROUBLE;
	}
	if (n < 136 || memcmp(f->head.magic, MCSHM_MAGIC_BYTES, 8) != 0)
		return attach_stump(f, w, &st, n, t);
	/* No file was ever published so often: a count that is no count is not
	 * gone on from, lest it runs into RETIRED. */
	if ((f->head.generation & ~MCSHM_RETIRED) < GENERATION_ABSURD)
		*generation = f->head.generation;
	if (n < (ssize_t)sizeof f->head || *generation == 0 ||
	    (*generation & MCSHM_RETIRED) != 0 ||
	    !header_ours(&f->head, st.st_size))
		return FILE_UNFIT;
	if ((err = map_file(f)) == 0 && (err = attach_fixed(f)) == 0)
		err = attach_sections(f);
	if (err == 0)
		return FILE_ATTACHED;
	if (err == EINVAL)
		return FILE_UNFIT;
	trouble(t, err, "cannot map %s", w->path);
	return FILE_TROUBLE;
}

/* Who holds it, for the message. */
static int64_t
holder(int fd)
{
	uint64_t pid;

	if (pread(fd, &pid, sizeof pid, offsetof(struct mcshm_header, pid)) !=
	    sizeof pid || pid > INT_MAX)
		return 0;
	return (int64_t)pid;
}

/* A file of a daemon that ran as somebody else, root most likely. */
static void
open_trouble(const struct place *w, int err, struct publish_trouble *t)
{
	struct stat st;

	if (err == EACCES && fstatat(w->dirfd, w->name, &st,
	    AT_SYMLINK_NOFOLLOW) == 0)
		trouble(t, err, "cannot open %s: it is uid %u's%s, and we are "
		    "uid %u; remove it where no daemon uses it, clients get "
		    "the new one", w->path, (unsigned)st.st_uid,
		    st.st_uid == 0 ? " (root)" : "", (unsigned)geteuid());
	else
		trouble(t, err, "cannot open %s", w->path);
}

/* Open and lock; what we locked must still be what the path leads to. */
static enum file_found
attach_lock(struct file *f, const struct place *w, unsigned patience,
    struct publish_trouble *t)
{
	struct stat st;
	int err;

	for (unsigned tries = 0; tries < 100; tries++) {
		f->fd = openat(w->dirfd, w->name,
		    O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
		if (f->fd == -1 && errno == ENOENT)
			return FILE_NONE;
		if (f->fd == -1 || fstat(f->fd, &st) == -1) {
			open_trouble(w, errno, t);
			return FILE_TROUBLE;
		}
		err = lock_wait(f->fd, patience);
		if (err != 0) {
			t->pid = holder(f->fd);
			trouble(t, err == EAGAIN ? EWOULDBLOCK : err,
			    err == EAGAIN ? "another daemon has %s" :
			    "cannot lock %s", w->path);
			return FILE_TROUBLE;
		}
		f->dev = st.st_dev;
		f->ino = st.st_ino;
		if (place_has(w, f))
			return FILE_ATTACHED;
		close(f->fd);
		f->fd = -1;
	}
	trouble(t, EBUSY, "%s is replaced all the time", w->path);
	return FILE_TROUBLE;
}

static void
file_reset(struct file *f)
{
	servers_free(&f->servers);
	free(f->work);
	free(f->entry_sum);
	free(f->slot_of);
	if (f->map != NULL)
		munmap(f->map, f->head.file_size);
	if (f->fd != -1)
		close(f->fd);
	*f = (struct file){ .fd = -1 };
}

enum file_found
file_attach(struct file *f, const struct place *w, unsigned patience,
    uint64_t *generation, struct publish_trouble *t)
{
	enum file_found found;

	*f = (struct file){ .fd = -1 };
	*t = (struct publish_trouble){ 0 };
	*generation = 0;
	found = attach_lock(f, w, patience, t);
	if (found == FILE_ATTACHED)
		found = attach_content(f, w, generation, t);
	if (found == FILE_TROUBLE)
		file_reset(f);
	return found;
}

void
file_close(struct file *f)
{
	if (f == NULL)
		return;
	file_reset(f);
	free(f);
}

/* Making ------------------------------------------------------------------- */

static int
write_all(int fd, const void *p, size_t len, off_t at)
{
	const char *from = p;

	while (len > 0) {
		const ssize_t n = pwrite(fd, from, len, at);

		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? EIO : errno;
		from += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Written zeros: a store into a hole of a full disk would be a SIGBUS. */
static int
write_zeros(int fd, uint64_t from, uint64_t to)
{
	static const char zeros[65536];
	int err = 0;

	while (from < to && err == 0) {
		const size_t n = to - from < sizeof zeros ?
		    (size_t)(to - from) : sizeof zeros;

		err = write_all(fd, zeros, n, (off_t)from);
		from += n;
	}
	return err;
}

int
file_serves(const struct file *f, const struct publish_roster *r, bool *same)
{
	struct mcshm_header h;
	unsigned char *fixed;
	const int err = image_fixed(&fixed, &h, r, f->head.page_size);

	*same = err == 0 && image_same(&h, &f->head);
	free(fixed);
	return err == ENOMEM ? err : 0;
}

/* fixed: as image_fixed() made it with f->head. */
static int
write_fixed(struct file *f, unsigned char *fixed, uint64_t created)
{
	struct mcshm_header *h = &f->head;
	uint64_t random[3];
	int err;

	/* So few bytes are never given in part. */
	if (getrandom(random, sizeof random, 0) == -1)
		return errno;
	image_seal(h, random, created);
	memcpy(fixed, h, sizeof *h);
	err = write_all(f->fd, fixed, image_fixed_size(h), 0);
	return err != 0 ? err :
	    write_zeros(f->fd, h->section_off[0], h->file_size);
}

int
file_sync(struct file *f)
{
	return fsync(f->fd);
}

/* Nobody has been asked yet: UNKNOWN, at the addresses that need no asking. */
static void
make_unknown(struct file *f, uint64_t now)
{
	memset(f->work, 0, f->head.section_size);
	for (uint32_t i = 0; i < f->servers.n; i++) {
		const struct server *s = &f->servers.v[i];
		struct publish_entry e = { .verdict = verdict_init(now),
			.admin = s->admin };

		e.addresses = address_literal(&s->address, &e.address[0]);
		file_set(f, i, &e);
	}
}

static uint64_t
random_generation(void)
{
	uint64_t g = 0;

	if (getrandom(&g, sizeof g, 0) != sizeof g)
		g = (uint64_t)getpid() << 8;
	return (g & ((UINT64_C(1) << 41) - 1)) | UINT64_C(1) << 40;
}

/*
 * A new file under the temporary name, locked.  What our own earlier try, or a
 * dead namesake, left there is swept away.  Another daemon that starts now may
 * sweep ours before it is locked: then it has no name any more, or that daemon
 * has the lock, and we begin again.
 */
static int
open_tmp(const struct place *w)
{
	struct stat st;
	int fd;

	for (unsigned tries = 0; tries < 1000; tries++) {
		fd = openat(w->dirfd, w->tmp, O_RDWR | O_CREAT | O_EXCL |
		    O_NOFOLLOW | O_CLOEXEC, 0644);
		if (fd == -1 && errno != EEXIST)
			return -1;
		if (fd == -1) {
			sweep_one(w->dirfd, w->tmp);
			continue;
		}
		if (lock_wait(fd, 5) == 0 && fstat(fd, &st) == 0 &&
		    st.st_nlink > 0)
			return fd;
		close(fd);
	}
	errno = EBUSY;
	return -1;
}

static int
make_content(struct file *f, unsigned char *fixed,
    const struct publish_roster *r, uint64_t generation,
    struct publish_time now)
{
	struct stat st;
	int err;

	if (fchmod(f->fd, 0644) == -1 || fstat(f->fd, &st) == -1)
		return errno;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	servers_copy(&f->servers, &r->servers);
	if ((err = write_fixed(f, fixed, now.real)) != 0 ||
	    (err = map_file(f)) != 0)
		return err;
	make_unknown(f, now.boot);
	file_seed(f, generation != 0 ? generation : random_generation(), 0,
	    now);
	return fsync(f->fd) == -1 ? errno : 0;
}

int
file_make(struct file **out, const struct place *w,
    const struct publish_roster *r, uint64_t generation,
    struct publish_time now, struct publish_trouble *t)
{
	struct file *f = calloc(1, sizeof *f);
	unsigned char *fixed = NULL;
	int err;

	if (f == NULL)
		return trouble(t, ENOMEM, "cannot make %s", w->path);
	f->fd = -1;
	err = image_fixed(&fixed, &f->head, r,
	    (uint32_t)sysconf(_SC_PAGESIZE));
	if (err != 0) {
		trouble(t, err, "no file for %u servers of pool %s",
		    r->servers.n, r->pool);
		goto fail;
	}
	f->fd = open_tmp(w);
	if (f->fd == -1) {
		err = trouble(t, errno, "cannot create %s/%s", w->dir, w->tmp);
		goto fail;
	}
	err = make_content(f, fixed, r, generation, now);
	if (err != 0) {
		trouble(t, err, "cannot write %s/%s (%llu bytes)", w->dir,
		    w->tmp, (unsigned long long)f->head.file_size);
		file_unlink_tmp(w);
		goto fail;
	}
	free(fixed);
	*out = f;
	return 0;
fail:
	free(fixed);
	file_close(f);
	return err;
}

static int
tmp_rename(const struct place *w, unsigned how)
{
	return renameat2(w->dirfd, w->tmp, w->dirfd, w->name, how);
}

static bool
tmp_is(const struct place *w, const struct file *f)
{
	struct stat st;

	return fstatat(w->dirfd, w->tmp, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == f->dev && st.st_ino == f->ino;
}

int
file_link(const struct place *w, struct file *f, const struct file *at,
    struct publish_trouble *t)
{
	if (tmp_rename(w, at != NULL ? RENAME_EXCHANGE : RENAME_NOREPLACE) ==
	    -1)
		return trouble(t, errno, "cannot rename %s to %s", w->tmp,
		    w->path);
	/* We may have been stopped since we looked at the path, and another
	 * daemon lives there now.  Who met f there meanwhile must leave it. */
	if (at != NULL && !tmp_is(w, at)) {
		tmp_rename(w, RENAME_EXCHANGE);
		file_retire(f);
		return trouble(t, EBUSY, "%s has become another file", w->path);
	}
	fsync(w->dirfd);
	return 0;
}

void
file_unlink_tmp(const struct place *w)
{
	unlinkat(w->dirfd, w->tmp, 0);
}

/* Publishing --------------------------------------------------------------- */

static void
file_word(struct file *f, size_t offset, uint64_t v)
{
	mcshm_store(f->map + offset, v);
}

#define WORD(f, member, v) \
	file_word((f), offsetof(struct mcshm_header, member), (v))

static uint64_t
word(const struct file *f, size_t offset)
{
	return mcshm_load(f->map + offset);
}

static void
add(struct file *f, size_t offset, uint64_t n)
{
	file_word(f, offset, word(f, offset) + n);
}

uint64_t
file_generation(const struct file *f)
{
	return word(f, offsetof(struct mcshm_header, generation));
}

void
file_beat(struct file *f, uint64_t boot)
{
	WORD(f, heartbeat, boot);
	add(f, offsetof(struct mcshm_header, beats), 1);
}

void
file_faults(struct file *f, uint64_t local_errors, uint64_t tilts)
{
	WORD(f, local_errors, local_errors);
	WORD(f, tilts, tilts);
}

void
file_spare(struct file *f, unsigned word, uint64_t value)
{
	image_put_spare(f->work, &f->head, word, value);
}

void
file_end(struct file *f)
{
	WORD(f, clean_exit, 1);
	msync(f->map, f->head.header_size, MS_SYNC);
}

/* msync with the heartbeat before and after: a slow disk is no dead daemon. */
static int
sync_range(struct file *f, uint64_t from, uint64_t len,
    const _Atomic uint64_t *clock)
{
	const size_t worst = offsetof(struct mcshm_header, sync_worst);
	const uint64_t before = atomic_load(clock);
	uint64_t after;
	int err = 0;

	file_beat(f, before);
	if (msync(f->map + from, len, MS_SYNC) == -1) {
		err = errno;
		add(f, offsetof(struct mcshm_header, sync_errors), 1);
	}
	after = atomic_load(clock);
	file_beat(f, after);
	if (after - before > word(f, worst))
		file_word(f, worst, after - before);
	return err;
}

void
file_set(struct file *f, uint32_t slot, const struct publish_entry *e)
{
	const uint64_t bit = UINT64_C(1) << slot % 64;

	image_set(f->work, &f->head, slot, e);
	f->unsummed[slot / 64] |= bit;
	f->behind[0][slot / 64] |= bit;
	f->behind[1][slot / 64] |= bit;
}

void
file_set_all(struct file *f, const struct file *from)
{
	memcpy(f->work, from->work, f->head.section_size);
	mark_all(f);
}

/* The next slot whose bit is set, which it clears; UINT32_MAX: none is left. */
static uint32_t
next_slot(uint64_t *bitmap, size_t words, size_t *word)
{
	uint32_t slot;

	while (*word < words && bitmap[*word] == 0)
		(*word)++;
	if (*word == words)
		return UINT32_MAX;
	slot = (uint32_t)(*word * 64) +
	    (uint32_t)__builtin_ctzll(bitmap[*word]);
	bitmap[*word] &= bitmap[*word] - 1;
	return slot;
}

static void
sum_entries(struct file *f)
{
	size_t word = 0;
	uint32_t slot;

	while ((slot = next_slot(f->unsummed, bitmap_words(f), &word)) !=
	    UINT32_MAX) {
		const uint64_t sum =
		    image_entry_sum(f->work, &f->head, slot);

		f->entries_sum += sum - f->entry_sum[slot];
		f->entry_sum[slot] = sum;
	}
}

static void
fill_entries(struct file *f, unsigned which, bool whole)
{
	const size_t off = f->head.entries_off, stride = f->head.entry_stride;
	unsigned char *to = f->map + f->head.section_off[which] + off;
	size_t word = 0;
	uint32_t slot;

	if (whole)
		store_words(to, f->work + off, f->head.section_size - off);
	while ((slot = next_slot(f->behind[which], bitmap_words(f), &word)) !=
	    UINT32_MAX)
		if (!whole)
			store_words(to + slot * stride,
			    f->work + off + slot * stride, stride);
}

/* Work into a section; its generation last, 0 meanwhile. */
static void
fill_section(struct file *f, unsigned which, bool whole)
{
	const size_t at = offsetof(struct mcshm_section, generation);
	unsigned char *to = f->map + f->head.section_off[which];

	mcshm_store(to + at, 0);
	store_words(to, f->work, at);
	store_words(to + at + 8, f->work + at + 8,
	    f->head.entries_off - at - 8);
	fill_entries(f, which, whole);
	store_words(to + at, f->work + at, 8);
}

int
file_publish(struct file *f, bool whole, uint64_t flags,
    struct publish_time now, const _Atomic uint64_t *clock)
{
	unsigned char *gen =
	    f->map + offsetof(struct mcshm_header, generation);
	const uint64_t g = mcshm_write_begin(gen);
	const unsigned which = (g + 1) & 1;
	int err, err2;

	sum_entries(f);
	image_finish(f->work, &f->head, f->entries_sum, g + 1, flags, now);
	fill_section(f, which, whole);
	err = sync_range(f, f->head.section_off[which], f->head.section_size,
	    clock);
	/* Also after an error: what readers see is the product, the disk is
	 * for the next boot. */
	mcshm_write_flip(gen, g);
	wake(f->map);
	add(f, offsetof(struct mcshm_header, publishes), 1);
	err2 = sync_range(f, 0, f->head.header_size, clock);
	return err != 0 ? err : err2;
}

void
file_seed(struct file *f, uint64_t generation, uint64_t flags,
    struct publish_time now)
{
	const uint64_t g = generation & ~(MCSHM_RETIRED | 1);

	sum_entries(f);
	image_finish(f->work, &f->head, f->entries_sum, g, flags, now);
	fill_section(f, 0, true);
	f->head.generation = g;
	WORD(f, generation, g);
	file_beat(f, now.boot);
}

static void
store_text(struct file *f, size_t offset, const void *text, size_t size)
{
	uint64_t copy[32];

	memcpy(copy, text, size);
	store_words(f->map + offset, copy, size);
}

void
file_own(struct file *f, const struct publish_about *about,
    struct publish_time now, uint64_t started, const uint64_t boot_id[2])
{
	const size_t pid = offsetof(struct mcshm_header, pid);
	const size_t start = offsetof(struct mcshm_header, pid_start);

	store_text(f, offsetof(struct mcshm_header, daemon_version),
	    about->version, sizeof about->version);
	store_text(f, offsetof(struct mcshm_header, host), about->host,
	    sizeof about->host);
	store_text(f, offsetof(struct mcshm_header, config), about->config,
	    sizeof about->config);
	store_text(f, offsetof(struct mcshm_header, report), about->report,
	    sizeof about->report);
	WORD(f, config_loaded, about->config_loaded);
	file_beat(f, now.boot);
	WORD(f, boot_id[0], boot_id[0]);
	WORD(f, boot_id[1], boot_id[1]);
	WORD(f, clean_exit, 0);
	/* In a container every daemon is process 1. */
	if (word(f, pid) == (uint64_t)getpid() && word(f, start) == started)
		return;
	file_word(f, pid, (uint64_t)getpid());
	file_word(f, start, started);
	add(f, offsetof(struct mcshm_header, epoch), 1);
}

void
file_retire(struct file *f)
{
	if (f->map != NULL)
		retire(f->map);
	else
		retire_fd(f->fd);
}

bool
file_this_boot(const struct file *f, const uint64_t id[2])
{
	if (id[0] == 0 && id[1] == 0)
		return true;		/* no /proc: cannot tell */
	return word(f, offsetof(struct mcshm_header, boot_id[0])) == id[0] &&
	    word(f, offsetof(struct mcshm_header, boot_id[1])) == id[1];
}
