/*
 * hostile_node.c - what is no file, may not be read, or is somebody's who must
 * not be believed.
 *
 * The rule of who may be believed is written here once more, from mcshm(5).
 */
#include "hostile_family.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hostile.h"

#define UNREADABLE 3

static void
file_at(const char *path)
{
	struct mkfile f;

	mkfile_make(&f, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 2);
	mkfile_write(&f, path, f.h->file_size);
	mkfile_free(&f);
}

/* The program itself: does it end as its units say it should? */
static void
check_program(const struct hostile_plan *p, const char *path, int want)
{
	int status;
	const pid_t pid = p->shmdump == NULL ? 0 : fork();

	must(pid != -1, "fork");
	if (p->shmdump == NULL)
		return;
	if (pid == 0) {
		if (freopen("/dev/null", "w", stdout) != NULL &&
		    freopen("/dev/null", "w", stderr) != NULL)
			execl(p->shmdump, p->shmdump, "--verify", path,
			    (char *)NULL);
		_exit(127);
	}
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	must(WIFEXITED(status) && WEXITSTATUS(status) == want,
	    "mc-shmdump ends with status %x, not code %d", status, want);
}

static void
node(const struct hostile_plan *p, const char *what, const char *path,
    int want)
{
	int got;

	hostile_case("%s", what);
	got = hostile_read(path, true);
	must(got == want, "open says %d, not %d", got, want);
	must((hostile_dump(path, VIEW_VERIFY) == UNREADABLE) == (want != 0),
	    "mc-shmdump disagrees");
	hostile_dump(path, VIEW_JSON);
	check_program(p, path, want != 0 ? UNREADABLE :
	    hostile_dump(path, VIEW_VERIFY));
}

static void
make_socket(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(strlen(path) < sizeof un.sun_path, "too long a path");
	memcpy(un.sun_path, path, strlen(path));
	must(fd != -1 && bind(fd, (struct sockaddr *)&un, sizeof un) == 0,
	    "bind: %s", strerror(errno));
	close(fd);
}

static void
links(const struct hostile_plan *p)
{
	char file[200], loop[200], dangling[200];

	snprintf(file, sizeof file, "%s/file.mcshm", p->dir);
	snprintf(loop, sizeof loop, "%s/loop.mcshm", p->dir);
	snprintf(dangling, sizeof dangling, "%s/dangling.mcshm", p->dir);
	file_at(file);
	node(p, "a good file", file, 0);
	must(symlink(file, p->path) == 0 && symlink(loop, loop) == 0 &&
	    symlink("nowhere", dangling) == 0, "symlink");
	node(p, "symbolic link", p->path, MCSHM_EPERM);
	node(p, "symbolic link to itself", loop, MCSHM_EPERM);
	node(p, "dangling symbolic link", dangling, MCSHM_EPERM);
	unlink(p->path);
	must(link(file, p->path) == 0, "link");
	node(p, "hard link", p->path, 0);
	unlink(p->path);
	unlink(file);
	unlink(loop);
	unlink(dangling);
}

static void
paths(const struct hostile_plan *p)
{
	char path[PATH_MAX + 300];

	snprintf(path, sizeof path, "%s/none.mcshm", p->dir);
	node(p, "nothing", path, MCSHM_ENOENT);
	snprintf(path, sizeof path, "%s/none/web.mcshm", p->dir);
	node(p, "nothing in nothing", path, MCSHM_ENOENT);
	file_at(p->path);
	snprintf(path, sizeof path, "%s/web.mcshm/web.mcshm", p->dir);
	node(p, "a file in a file", path, MCSHM_ENOENT);
	unlink(p->path);
}

void
family_nodes(const struct hostile_plan *p)
{
	must(mkfifo(p->path, 0644) == 0, "mkfifo");
	node(p, "FIFO", p->path, MCSHM_EDAMAGED);
	unlink(p->path);
	must(mkdir(p->path, 0755) == 0, "mkdir");
	node(p, "directory", p->path, MCSHM_EDAMAGED);
	rmdir(p->path);
	make_socket(p->path);
	node(p, "socket", p->path, MCSHM_EDAMAGED);
	unlink(p->path);
	node(p, "/dev/null", "/dev/null", MCSHM_EDAMAGED);
	node(p, "/dev/zero", "/dev/zero", MCSHM_EDAMAGED);
	node(p, "/dev/full", "/dev/full", MCSHM_EDAMAGED);
	node(p, "/proc/version", "/proc/version", MCSHM_EDAMAGED);
	must(mknod(p->path, S_IFCHR | 0644, makedev(240, 77)) == 0,
	    "mknod: must be root, with CAP_MKNOD");
	node(p, "device that is not there", p->path, MCSHM_EDAMAGED);
	unlink(p->path);
	must(mknod(p->path, S_IFBLK | 0644, makedev(240, 77)) == 0, "mknod");
	node(p, "disk that is not there", p->path, MCSHM_EDAMAGED);
	unlink(p->path);
	links(p);
	paths(p);
}

/* Owners ------------------------------------------------------------------- */

static const uid_t owners[] = { 0, 6001, 6002, 6003 };
static const mode_t file_modes[] = { 0644, 0600, 0444, 0664, 0646, 0666, 0604,
	0640, 0000 };
static const mode_t dir_modes[] = { 0755, 0775, 0757, 0777, 01777, 0711 };
#define ALL(v) (sizeof(v) / sizeof *(v))

static void
owned_path(char path[200], const struct hostile_plan *p, size_t d, size_t dm,
    size_t f, size_t fm)
{
	snprintf(path, 200, "%s/%zu.%zu/%zu.%zu.mcshm", p->dir, d, dm, f, fm);
}

static bool
readable(uid_t me, uid_t file, mode_t mode)
{
	return me == 0 || (mode & (file == me ? S_IRUSR : S_IROTH)) != 0;
}

static int
believed(uid_t me, uid_t file, mode_t mode, uid_t dir, mode_t dir_mode)
{
	if (!readable(me, file, mode) || (mode & 022) != 0)
		return MCSHM_EPERM;
	if (file == 0 || file == me)
		return 0;
	return file == dir && (dir_mode & 02) == 0 ? 0 : MCSHM_EPERM;
}

#define EACH_OWNED \
	for (size_t d = 0; d < ALL(owners); d++) \
		for (size_t dm = 0; dm < ALL(dir_modes); dm++) \
			for (size_t f = 0; f < ALL(owners); f++) \
				for (size_t fm = 0; fm < ALL(file_modes); fm++)

static void
make_owned(const struct hostile_plan *p)
{
	char path[200], dir[200];

	file_at(p->path);
	EACH_OWNED {
		struct mkfile m;

		snprintf(dir, sizeof dir, "%s/%zu.%zu", p->dir, d, dm);
		must(mkdir(dir, 0755) == 0 || errno == EEXIST, "mkdir");
		owned_path(path, p, d, dm, f, fm);
		mkfile_make(&m, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, 1);
		mkfile_write(&m, path, m.h->file_size);
		mkfile_free(&m);
		must(chown(path, owners[f], 6098) == 0,
		    "chown: must be root, with CAP_CHOWN");
		must(chmod(path, file_modes[fm]) == 0, "chmod");
		must(chown(dir, owners[d], 6098) == 0 &&
		    chmod(dir, dir_modes[dm]) == 0, "chown, chmod");
	}
}

/* mc-shmdump shows whatever it can read, and says so where clients refuse. */
static void
look_dumped(const char *path, bool can, bool refused)
{
	char *text;
	const int code = hostile_dump_text(&text, path, VIEW_JSON);

	must((code != UNREADABLE) == can, "mc-shmdump ends with %d", code);
	must(!can || (strstr(text, "\"refused\":null") == NULL) == refused,
	    "clients %s it, mc-shmdump says otherwise",
	    refused ? "refuse" : "believe");
	free(text);
}

/* The user that runs this process looks at all of them. */
static void
look(const struct hostile_plan *p, uid_t me)
{
	char path[200];

	EACH_OWNED {
		const int want = believed(me, owners[f], file_modes[fm],
		    owners[d], dir_modes[dm]);
		struct mcshm *m = NULL;
		int got;

		owned_path(path, p, d, dm, f, fm);
		hostile_case("for %u: file of %u %04o, directory of %u %04o",
		    (unsigned)me, (unsigned)owners[f], file_modes[fm],
		    (unsigned)owners[d], dir_modes[dm]);
		got = mcshm_open(&m, path, 0);
		must(got == want, "open says %d, not %d", got, want);
		mcshm_close(m);
		look_dumped(path, readable(me, owners[f], file_modes[fm]),
		    want != 0);
	}
}

static void
look_as(const struct hostile_plan *p, uid_t me)
{
	const pid_t pid = fork();
	int status;

	must(pid != -1, "fork");
	if (pid == 0) {
		must(setgroups(0, NULL) == 0 && setresgid(me, me, me) == 0 &&
		    setresuid(me, me, me) == 0,
		    "must be root, with CAP_SETUID");
		look(p, me);
		_exit(0);
	}
	must(waitpid(pid, &status, 0) == pid && status == 0,
	    "as user %u it ended with %x", (unsigned)me, status);
}

void
family_owners(const struct hostile_plan *p)
{
	must(geteuid() == 0, "must be root");
	must(chmod(p->dir, 0755) == 0, "chmod");
	make_owned(p);
	look_as(p, 0);
	look_as(p, 6001);
	look_as(p, 6003);
}
