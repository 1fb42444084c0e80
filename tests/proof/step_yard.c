/*
 * step_yard.c - a directory and the bytes in it; nothing here knows what a pool
 * file is.
 */
#include "step_yard.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mcshm_format.h"

#define FILE_NAME "web" MCSHM_SUFFIX

bool
yard_open(struct yard *y, const char *dir)
{
	memset(y, 0, sizeof *y);
	snprintf(y->dir, sizeof y->dir, "%s", dir);
	snprintf(y->path, sizeof y->path, "%s/" FILE_NAME, y->dir);
	return mkdir(dir, 0755) == 0;
}

static bool
is_entry(const struct dirent *de)
{
	return strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0;
}

static void
forget(struct yard_file *f)
{
	if (f->map != NULL)
		munmap((void *)(uintptr_t)f->map, f->size);
	*f = (struct yard_file){ .inode = 0 };
}

void
yard_clear(struct yard *y)
{
	DIR *dir = opendir(y->dir);
	struct dirent *de;

	while (dir != NULL && (de = readdir(dir)) != NULL)
		if (is_entry(de))
			unlinkat(dirfd(dir), de->d_name, 0);
	if (dir != NULL)
		closedir(dir);
	for (unsigned i = 0; i < YARD_FILES; i++)
		forget(&y->file[i]);
}

void
yard_close(struct yard *y)
{
	yard_clear(y);
	rmdir(y->dir);
}

/* Looking ------------------------------------------------------------------ */

/* The place of an inode, or a free one; NULL if there is none. */
static struct yard_file *
find(struct yard *y, ino_t inode)
{
	struct yard_file *room = NULL;

	for (unsigned i = 0; i < YARD_FILES; i++) {
		if (y->file[i].inode == inode)
			return &y->file[i];
		if (y->file[i].inode == 0 && room == NULL)
			room = &y->file[i];
	}
	if (room != NULL)
		room->inode = inode;
	return room;
}

/* The inode as it is now: a file under work still grows. */
static bool
look_at(struct yard *y, int dir, const char *name)
{
	const int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	struct yard_file *f = NULL;
	struct stat st;

	if (fd == -1)
		return false;
	if (fstat(fd, &st) == 0 && (f = find(y, st.st_ino)) != NULL) {
		if (f->size != (size_t)st.st_size) {
			if (f->map != NULL)
				munmap((void *)(uintptr_t)f->map, f->size);
			f->size = (size_t)st.st_size;
			f->map = mmap(NULL, f->size, PROT_READ, MAP_SHARED, fd,
			    0);
		}
		f->named = true;
		f->ours |= strcmp(name, FILE_NAME) == 0;
	}
	close(fd);
	return f != NULL && f->map != MAP_FAILED;
}

static void
sum_name(struct yard *y, const struct dirent *de)
{
	const uint64_t sum =
	    mcshm_sum(de->d_name, strlen(de->d_name), de->d_ino);

	if (strcmp(de->d_name, FILE_NAME) == 0)
		y->names ^= sum;
	else
		y->other_names ^= sum;
}

bool
yard_scan(struct yard *y)
{
	DIR *dir = opendir(y->dir);
	struct dirent *de;
	bool ok = dir != NULL;

	y->names = y->other_names = 0;
	for (unsigned i = 0; i < YARD_FILES; i++)
		y->file[i].named = false;
	while (ok && (de = readdir(dir)) != NULL)
		if (is_entry(de)) {
			sum_name(y, de);
			ok = look_at(y, dirfd(dir), de->d_name);
		}
	if (dir != NULL)
		closedir(dir);
	/* What had the name is somebody's, as long as we live. */
	for (unsigned i = 0; i < YARD_FILES; i++)
		if (!y->file[i].named && !y->file[i].ours)
			forget(&y->file[i]);
	return ok;
}

struct yard_sum
yard_sum(const struct yard *y)
{
	struct yard_sum sum = { y->names, y->other_names };

	for (unsigned i = 0; i < YARD_FILES; i++) {
		const struct yard_file *f = &y->file[i];

		if (f->inode == 0 || f->size == 0)
			continue;
		if (f->ours)
			sum.file ^= mcshm_sum(f->map, f->size, f->inode);
		else
			sum.other ^= mcshm_sum(f->map, f->size, f->inode);
	}
	return sum;
}

bool
yard_is_tidy(const struct yard *y)
{
	DIR *dir = opendir(y->dir);
	unsigned ours = 0, others = 0;
	struct dirent *de;

	while (dir != NULL && (de = readdir(dir)) != NULL)
		if (strcmp(de->d_name, FILE_NAME) == 0)
			ours++;
		else
			others += is_entry(de);
	if (dir != NULL)
		closedir(dir);
	return ours == 1 && others == 0;
}

bool
yard_has_file(const struct yard *y)
{
	return access(y->path, F_OK) == 0;
}

/* Meddling ----------------------------------------------------------------- */

bool
yard_remove_file(const struct yard *y)
{
	return unlink(y->path) == 0;
}

static bool
copy_fd(int to, int from)
{
	char block[4096];
	ssize_t n;

	while ((n = read(from, block, sizeof block)) > 0)
		if (write(to, block, (size_t)n) != n)
			return false;
	return n == 0;
}

bool
yard_replace_file(const struct yard *y)
{
	char copy[160];
	const int from = open(y->path, O_RDONLY | O_CLOEXEC);
	bool ok;
	int to;

	snprintf(copy, sizeof copy, "%s/copy", y->dir);
	to = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ok = from != -1 && to != -1 && copy_fd(to, from);
	if (from != -1)
		close(from);
	if (to != -1)
		close(to);
	return ok && rename(copy, y->path) == 0;
}
