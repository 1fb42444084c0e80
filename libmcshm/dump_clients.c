/*
 * dump_clients.c - which processes have a pool's file mapped.
 *
 * A line of /proc/PID/maps:
 *
 *	7f0c..-7f0d.. r--s 00000000 00:1a 4711      /run/mc-checkerd/web.mcshm
 *	7f0c..-7f0d.. r--s 00000000 00:1a 4700      ... /.web.tmp.812 (deleted)
 *
 * The inode of the path now is current, seen from any mount; one that lies, or
 * lay, in its place or under its temporary name is orphaned.
 */
#include "dump_clients.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "dump_words.h"
#include "mcshm_format.h"

/* What is looked for. */
struct target {
	char path[PATH_MAX];	/* without symbolic links */
	char tmp[PATH_MAX];	/* DIR/.NAME.tmp. */
	dev_t dev;
	ino_t ino;
};

/* One line of maps. */
struct mapping {
	dev_t dev;
	ino_t ino;
	bool writable;
	const char *path;
};

static int
target_init(struct target *t, const char *path, dev_t dev, ino_t ino)
{
	size_t len, end = strlen(MCSHM_SUFFIX);
	char *slash;

	if (realpath(path, t->path) == NULL)
		return -1;
	t->dev = dev;
	t->ino = ino;
	slash = strrchr(t->path, '/');
	len = strlen(slash + 1);
	if (len > end && strcmp(slash + 1 + len - end, MCSHM_SUFFIX) == 0)
		len -= end;
	if ((size_t)snprintf(t->tmp, sizeof t->tmp, "%.*s.%.*s.tmp.",
	    (int)(slash + 1 - t->path), t->path, (int)len, slash + 1) <
	    sizeof t->tmp)
		return 0;
	errno = ENAMETOOLONG;
	return -1;
}

static bool
parse(struct mapping *m, char *line)
{
	unsigned dev_major, dev_minor;
	unsigned long long ino;
	char perms[5];
	int path = 0;

	if (sscanf(line, "%*x-%*x %4s %*x %x:%x %llu %n", perms, &dev_major,
	    &dev_minor, &ino, &path) != 4 || ino == 0 || path == 0)
		return false;
	line[strcspn(line, "\n")] = 0;
	*m = (struct mapping){ .dev = makedev(dev_major, dev_minor),
		.ino = (ino_t)ino, .writable = strchr(perms, 'w') != NULL,
		.path = line + path };
	return true;
}

/* The path is enough on file systems whose device numbers are their own. */
static bool
is_current(const struct target *t, const struct mapping *m)
{
	return m->ino == t->ino &&
	    (m->dev == t->dev || strcmp(m->path, t->path) == 0);
}

static bool
is_orphaned(const struct target *t, const struct mapping *m)
{
	static const char deleted[] = " (deleted)";
	const size_t len = strlen(t->path);

	if (strncmp(m->path, t->tmp, strlen(t->tmp)) == 0)
		return true;
	return strncmp(m->path, t->path, len) == 0 &&
	    strcmp(m->path + len, deleted) == 0;
}

static int
client_add(struct dump_clients *c, const struct dump_client *one)
{
	const size_t room = c->room > 0 ? 2 * c->room : 64;

	if (c->n == c->room) {
		struct dump_client *v = realloc(c->v, room * sizeof *v);

		if (v == NULL)
			return -1;
		c->v = v;
		c->room = room;
	}
	c->v[c->n++] = *one;
	return 0;
}

/* A process counts once for the file and once for orphans. */
static int
client_note(struct dump_clients *c, size_t first, pid_t pid, bool orphaned,
    bool writable)
{
	const struct dump_client one = { .pid = pid, .orphaned = orphaned,
		.checker = writable };

	for (size_t i = first; i < c->n; i++)
		if (c->v[i].orphaned == orphaned) {
			c->v[i].checker |= writable;
			return 0;
		}
	return client_add(c, &one);
}

static void
read_command(char *to, size_t size, const char *proc, const char *pid)
{
	char path[PATH_MAX], raw[64] = "";
	FILE *f;

	snprintf(path, sizeof path, "%s/%s/comm", proc, pid);
	f = fopen(path, "re");
	if (f != NULL && fgets(raw, sizeof raw, f) != NULL)
		raw[strcspn(raw, "\n")] = 0;
	if (f != NULL)
		fclose(f);
	dump_text(to, size, raw[0] != 0 ? raw : "?", sizeof raw);
}

static int
scan_maps(struct dump_clients *c, FILE *maps, pid_t pid,
    const struct target *t)
{
	const size_t first = c->n;
	char *line = NULL;
	size_t room = 0;
	int err = 0;

	while (err == 0 && getline(&line, &room, maps) > 0) {
		struct mapping m;

		if (!parse(&m, line))
			continue;
		if (is_current(t, &m))
			err = client_note(c, first, pid, false, m.writable);
		else if (is_orphaned(t, &m))
			err = client_note(c, first, pid, true, m.writable);
	}
	/* Some kernels let others open the file, but not read it. */
	if (ferror(maps) && (errno == EACCES || errno == EPERM))
		c->unreadable++;
	free(line);
	return err;
}

static int
scan_process(struct dump_clients *c, const char *proc, const char *pid,
    const struct target *t)
{
	const size_t first = c->n;
	char path[PATH_MAX];
	FILE *maps;
	int err;

	snprintf(path, sizeof path, "%s/%s/maps", proc, pid);
	maps = fopen(path, "re");
	if (maps == NULL) {
		/* One that has ended meanwhile is no matter. */
		c->unreadable += errno == EACCES || errno == EPERM;
		return 0;
	}
	err = scan_maps(c, maps, (pid_t)strtol(pid, NULL, 10), t);
	fclose(maps);
	for (size_t i = first; i < c->n; i++)
		read_command(c->v[i].command, sizeof c->v[i].command, proc,
		    pid);
	return err;
}

static int
by_pid(const void *a, const void *b)
{
	const struct dump_client *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return (int)x->orphaned - (int)y->orphaned;
}

int
dump_clients_scan(struct dump_clients *c, const char *proc, const char *path,
    dev_t dev, ino_t ino)
{
	struct target t;
	struct dirent *e;
	DIR *d;
	int err = 0;

	*c = (struct dump_clients){ 0 };
	if (target_init(&t, path, dev, ino) < 0)
		return -1;
	d = opendir(proc);
	if (d == NULL)
		return -1;
	while (err == 0 && (e = readdir(d)) != NULL)
		if (isdigit((unsigned char)e->d_name[0]))
			err = scan_process(c, proc, e->d_name, &t);
	closedir(d);
	if (c->n > 0)
		qsort(c->v, c->n, sizeof *c->v, by_pid);
	return err;
}

void
dump_clients_free(struct dump_clients *c)
{
	free(c->v);
	*c = (struct dump_clients){ 0 };
}

static size_t
count_readers(const struct dump_clients *c, bool orphaned)
{
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++)
		n += c->v[i].orphaned == orphaned && !c->v[i].checker;
	return n;
}

void
dump_clients_text(FILE *out, const struct dump_clients *c)
{
	const size_t current = count_readers(c, false);

	fprintf(out, "  %zu client%s on this file, %zu on an orphaned one\n",
	    current, current == 1 ? "" : "s", count_readers(c, true));
	if (c->n > 0)
		fprintf(out, "  %10s  %-16s  FILE\n", "PID", "COMMAND");
	for (size_t i = 0; i < c->n; i++) {
		const struct dump_client *one = &c->v[i];

		fprintf(out, "  %10ld  %-16s  %s%s\n", (long)one->pid,
		    one->command, one->orphaned ? "orphaned" : "current",
		    one->checker ? " (checker)" : "");
	}
	if (c->unreadable > 0)
		fprintf(out, "  not seen: %zu process%s of other users\n",
		    c->unreadable, c->unreadable == 1 ? "" : "es");
}
