/*
 * fuzz_conf.c - an ini from the fuzzer.
 *
 * Each error is one line that begins with the file.  What loads is dumped; the
 * dump loads, and dumps to itself.  Two files lie beside it to be included, one
 * of them itself; no path may lead out of the directory, for there is no
 * telling what an open(2) does there.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[200], ini[216], dumped[216], more[216];

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_conf: %s\n", what);
	abort();
}

static void
clean_up(void)
{
	unlink(ini);
	unlink(dumped);
	unlink(more);
	must(rmdir(dir) == 0, "something is left");
}

static void
put(const char *name, const void *p, size_t size)
{
	FILE *f = fopen(name, "we");

	must(f != NULL && fwrite(p, 1, size, f) == size && fclose(f) == 0,
	    name);
}

static void
settle(void)
{
	static const char text[] =
	    "server = m1 10.8.8.8:1\nserver = 10.8.8.9:1 weight=7\n";
	const char *tmp = getenv("TMPDIR");

	if (dir[0] != 0)
		return;
	snprintf(dir, sizeof dir, "%s/fuzz.XXXXXX",
	    tmp != NULL ? tmp : "/dev/shm");
	must(mkdtemp(dir) != NULL, "no directory");
	snprintf(ini, sizeof ini, "%s/a.ini", dir);
	snprintf(dumped, sizeof dumped, "%s/dump.ini", dir);
	snprintf(more, sizeof more, "%s/more.ini", dir);
	put(more, text, sizeof text - 1);
	atexit(clean_up);
}

/* Paths of what is read stay here: no '/' in such a line. */
static void
write_tame(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);

	must(copy != NULL, "memory");
	memcpy(copy, data, size);
	for (size_t from = 0, to; from < size; from = to + 1) {
		for (to = from; to < size && copy[to] != '\n'; to++)
			;
		if (memmem(copy + from, to - from, "nclude", 6) == NULL &&
		    memmem(copy + from, to - from, "uth_file", 8) == NULL)
			continue;
		for (size_t i = from; i < to; i++)
			if (copy[i] == '/')
				copy[i] = '_';
	}
	put(ini, copy, size);
	free(copy);
}

static void
check_errors(const char *text, unsigned errors)
{
	unsigned lines = 0;

	for (; *text != 0; text++)
		lines += *text == '\n';
	must(lines >= errors, "an error without a line");
}

static unsigned
load(struct conf *c, const char *name)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	const unsigned errors = conf_load(c, name, NULL, out);

	fclose(out);
	must(size > 0 || errors == 0, "errors and lines do not agree");
	check_errors(text, errors);
	free(text);
	return errors;
}

static char *
dump(const struct conf *c)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	conf_dump(c, out);
	fclose(out);
	return text;
}

static void
check_pool(const struct conf_pool *a, const struct conf_pool *b)
{
	const size_t from = offsetof(struct conf_pool, interval);
	const size_t to = offsetof(struct conf_pool, servers);

	must(strcmp(a->name, b->name) == 0 && strcmp(a->file, b->file) == 0,
	    "another pool comes back");
	must(memcmp((const char *)a + from, (const char *)b + from,
	    to - from) == 0, "other values come back");
	must(memcmp(&a->set, &b->set, sizeof a->set) == 0 &&
	    a->maps == b->maps && (a->maps == 0 ||
	    memcmp(a->map, b->map, a->maps * sizeof *a->map) == 0) &&
	    a->dead == b->dead && a->failover_ttl == b->failover_ttl,
	    "another choice comes back");
	must(a->servers.n == b->servers.n, "other servers come back");
	for (uint32_t i = 0; i < a->servers.n; i++) {
		const struct server *s = &a->servers.v[i];
		const struct server *t = &b->servers.v[i];

		must(server_same(s, t) && s->weight == t->weight &&
		    s->admin == t->admin, "another server comes back");
	}
}

static void
check_same(const struct conf *a, const struct conf *b)
{
	must(strcmp(a->directory, b->directory) == 0 &&
	    a->heartbeat == b->heartbeat && a->stale_after == b->stale_after &&
	    a->log_probes == b->log_probes && a->pools == b->pools &&
	    a->tilt_after == b->tilt_after && a->tilt_for == b->tilt_for,
	    "another checker comes back");
	for (uint32_t i = 0; i < a->pools; i++)
		check_pool(&a->pool[i], &b->pool[i]);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf c, again;
	char *one, *two;

	settle();
	write_tame(data, size);
	if (load(&c, ini) > 0)
		return 0;
	one = dump(&c);
	put(dumped, one, strlen(one));
	must(load(&again, dumped) == 0, "the dump does not load");
	check_same(&c, &again);
	two = dump(&again);
	must(strcmp(one, two) == 0, "the dump is not the dump of itself");
	free(one);
	free(two);
	conf_free(&again);
	conf_free(&c);
	return 0;
}
