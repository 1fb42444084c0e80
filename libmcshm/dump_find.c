/*
 * dump_find.c - from what the user wrote to paths of pool files.
 */
#include "dump_find.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mcshm_format.h"

#define LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define DIGITS "0123456789"

static bool
pool_name(const char *name)
{
	const size_t len = strlen(name);

	return 1 <= len && len <= MCSHM_POOL_MAX &&
	    strspn(name, LETTERS DIGITS) > 0 &&
	    strspn(name, LETTERS DIGITS "._-") == len;
}

/* Takes path over, also when it fails. */
static bool
add(struct dump_paths *p, char *path)
{
	char **v = path != NULL ?
	    realloc(p->v, (p->n + 1) * sizeof *v) : NULL;

	if (v == NULL) {
		free(path);
		return false;
	}
	p->v = v;
	p->v[p->n++] = path;
	return true;
}

static char *
join(const char *dir, const char *name, const char *suffix)
{
	char *path;

	return asprintf(&path, "%s/%s%s", dir, name, suffix) < 0 ? NULL : path;
}

/* The same file, however it is called; two that are not there, by their
 * names. */
static bool
same(const char *a, const char *b)
{
	struct stat x, y;

	if (strcmp(a, b) == 0)
		return true;
	return lstat(a, &x) == 0 && lstat(b, &y) == 0 &&
	    x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static bool
is_there(const struct dump_paths *p, const char *path)
{
	for (size_t i = 0; i < p->n; i++)
		if (same(p->v[i], path))
			return true;
	return false;
}

const char *
dump_find_one(struct dump_paths *p, const char *dir, const char *operand)
{
	char *path;

	if (strchr(operand, '/') != NULL)
		path = strdup(operand);
	else if (pool_name(operand))
		path = join(dir, operand, MCSHM_SUFFIX);
	else
		return "is no name of a pool; a file has a '/' in it";
	if (path != NULL && is_there(p, path)) {
		free(path);
		return NULL;
	}
	return add(p, path) ? NULL : "no memory";
}

/* DIR/NAME.mcshm; temporary ones begin with a dot. */
static bool
is_pool_file(const char *name)
{
	const size_t len = strlen(name), end = strlen(MCSHM_SUFFIX);

	return len > end && name[0] != '.' &&
	    strcmp(name + len - end, MCSHM_SUFFIX) == 0;
}

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int
dump_find_all(struct dump_paths *p, const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (d == NULL)
		return -1;
	while ((errno = 0, e = readdir(d)) != NULL) {
		if (!is_pool_file(e->d_name))
			continue;
		if (!add(p, join(dir, e->d_name, ""))) {
			errno = ENOMEM;
			break;
		}
	}
	if (errno != 0) {
		const int err = errno;

		closedir(d);
		errno = err;
		return -1;
	}
	closedir(d);
	if (p->n > 0)
		qsort(p->v, p->n, sizeof *p->v, by_text);
	return 0;
}

void
dump_find_free(struct dump_paths *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i]);
	free(p->v);
	*p = (struct dump_paths){ 0 };
}
