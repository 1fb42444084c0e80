/*
 * reports.c - the socket on which clients say that a server failed them.
 *
 * A datagram is taken as it comes, from whoever sent it: no credentials, no
 * answer, no memory of the sender.  Must not wait, log, or know what a report
 * leads to.
 */
#include "reports.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NAME ".report"
#define NAMES 8			/* daemons that may share a directory: one
				 * digit */

static_assert(sizeof((struct sockaddr_un *)0)->sun_path == REPORTS_PATH,
    "a path that can be bound");
static_assert(sizeof((struct mcshm_header *)0)->report >= REPORTS_PATH,
    "and published");

/* Form --------------------------------------------------------------------- */

bool
reports_parse(struct report *r, const void *datagram, size_t len)
{
	struct mcshm_report d;
	size_t name;

	if (len < sizeof d)
		return false;
	memcpy(&d, datagram, sizeof d);
	name = strnlen(d.pool, sizeof d.pool);
	if (d.magic != MCSHM_REPORT_MAGIC || d.version != 1 || name == 0 ||
	    name >= sizeof r->pool)
		return false;
	r->ident_hash = d.ident_hash;
	memcpy(r->pool, d.pool, name + 1);
	return true;
}

/* The socket --------------------------------------------------------------- */

static int address(struct sockaddr_un *at, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* 0, or ENAMETOOLONG. */
static int
address(struct sockaddr_un *at, const char *fmt, ...)
{
	va_list ap;
	int n;

	*at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	va_start(ap, fmt);
	n = vsnprintf(at->sun_path, sizeof at->sun_path, fmt, ap);
	va_end(ap);
	return n >= 0 && (size_t)n < sizeof at->sun_path ? 0 : ENAMETOOLONG;
}

static int
listener(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A socket that nobody listens on any more. */
static bool
is_left(const struct sockaddr_un *at)
{
	struct stat st;
	bool left;
	int fd;

	if (lstat(at->sun_path, &st) == -1 || !S_ISSOCK(st.st_mode))
		return false;
	fd = listener();
	if (fd == -1)
		return false;
	left = connect(fd, (const struct sockaddr *)at, sizeof *at) == -1 &&
	    errno == ECONNREFUSED;
	close(fd);
	return left;
}

/* Exactly what is made here: .report, .report.1, .report@0123abcd */
static bool
is_name(const char *name)
{
	const size_t len = sizeof NAME - 1;
	const char *end = name + len;

	if (strncmp(name, NAME, len) != 0)
		return false;
	if (*end == '\0')
		return true;
	if (*end++ == '.')
		return '1' <= end[0] && end[0] < '0' + NAMES && end[1] == '\0';
	return end[-1] == '@' && strlen(end) == 8 &&
	    strspn(end, "0123456789abcdef") == 8;
}

/* Two daemons that sweep at the same moment may take a name from each other
 * that has just become somebody's: he finds it lost, and makes another. */
static void
sweep(const char *directory)
{
	DIR *dir = opendir(directory);
	struct sockaddr_un at;
	struct dirent *de;

	if (dir == NULL)
		return;
	while ((de = readdir(dir)) != NULL)
		if (is_name(de->d_name) &&
		    address(&at, "%s/%s", directory, de->d_name) == 0 &&
		    is_left(&at))
			unlink(at.sun_path);
	closedir(dir);
}

/* Bound under a temporary name, and open to everybody; 0 or an errno. */
static int
make(struct reports *r, const struct sockaddr_un *tmp)
{
	struct stat st;

	r->fd = listener();
	if (r->fd == -1 ||
	    bind(r->fd, (const struct sockaddr *)tmp, sizeof *tmp) == -1)
		return errno;
	if (fchmodat(AT_FDCWD, tmp->sun_path, 0666, AT_SYMLINK_NOFOLLOW) ==
	    -1 || lstat(tmp->sun_path, &st) == -1)
		return errno;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	return 0;
}

static int
take_name(struct reports *r, const char *directory,
    const struct sockaddr_un *tmp)
{
	struct sockaddr_un at;
	int err = EEXIST;

	for (unsigned i = 0; i < NAMES && err == EEXIST; i++) {
		err = i == 0 ? address(&at, "%s/" NAME, directory) :
		    address(&at, "%s/" NAME ".%u", directory, i);
		if (err == 0 && renameat2(AT_FDCWD, tmp->sun_path, AT_FDCWD,
		    at.sun_path, RENAME_NOREPLACE) == -1)
			err = errno;
	}
	if (err == 0)
		memcpy(r->path, at.sun_path, sizeof r->path);
	return err == EEXIST ? EADDRINUSE : err;
}

/* As publish does for a pool's file; whoever has made it opens it to all. */
static void
make_directory(const char *directory)
{
	if (mkdir(directory, 0755) == 0)
		(void)fchmodat(AT_FDCWD, directory, 0755, 0);
}

void
reports_init(struct reports *r)
{
	*r = (struct reports){ .fd = -1 };
}

int
reports_open(struct reports *r, const char *directory)
{
	struct reports new = { .fd = -1 };
	struct sockaddr_un tmp;
	uint32_t random;
	int err;

	if (getrandom(&random, sizeof random, 0) == -1)
		return errno;
	/* No pool's name has an @, so this is no pool's temporary name. */
	err = address(&tmp, "%s/" NAME "@%08" PRIx32, directory, random);
	if (err != 0)
		return err;
	make_directory(directory);
	sweep(directory);
	err = make(&new, &tmp);
	if (err == 0)
		err = take_name(&new, directory, &tmp);
	if (err != 0) {
		if (new.fd != -1) {
			unlink(tmp.sun_path);
			close(new.fd);
		}
		return err;
	}
	*r = new;
	return 0;
}

bool
reports_lost(const struct reports *r)
{
	struct stat st;

	if (lstat(r->path, &st) == -1)
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_dev != r->dev || st.st_ino != r->ino;
}

void
reports_close(struct reports *r)
{
	if (r->fd == -1)
		return;
	if (!reports_lost(r))
		unlink(r->path);
	close(r->fd);
	reports_init(r);
}

enum reports_got
reports_read(const struct reports *r, struct report *one)
{
	struct mcshm_report d;
	const ssize_t n = recv(r->fd, &d, sizeof d, MSG_DONTWAIT);

	if (n < 0)
		return REPORTS_NONE;
	return reports_parse(one, &d, (size_t)n) ? REPORTS_ONE :
	    REPORTS_GARBAGE;
}
