/*
 * mkpool.c - a pool file that a test commands, without a daemon.
 *
 *	mkpool PATH SCHEME SERVERS [NAME-FORMAT]
 *
 * Makes the file with all servers UP, holds its lock as a checker does, says
 * "ready", and obeys lines on stdin, each answered with "ok":
 *
 *	set SLOT VERDICT ADMIN		the next four for the next publish
 *	all VERDICT ADMIN
 *	probes SLOT STRING		"++tx": its history, oldest first
 *	last SLOT REASON SECONDS RTT	of the last failure; since; rtt in us
 *	degraded SLOT BITS
 *	flags BITS			of the section
 *	publish
 *	beat SECONDS			a heartbeat of so long ago
 *	scribble			half a publish: the inactive section is
 *					left with another sum
 *	replace SERVERS			by a file for so many, as a daemon does
 *	retire				without a successor
 *
 * The lock is held until the end of stdin.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scheme.h"
#include "unit/mkfile.h"

#define NS_S UINT64_C(1000000000)

static void
name_servers(struct mkfile *f, uint32_t scheme, uint32_t n, const char *format)
{
	struct mkfile_server *v = calloc(n, sizeof *v);
	char (*text)[2][32] = calloc(n, sizeof *text);

	for (uint32_t i = 0; i < n; i++) {
		snprintf(text[i][0], 32, format, i + 1);
		snprintf(text[i][1], 32, "10.1.%u.%u", i / 250, i % 250 + 1);
		v[i] = (struct mkfile_server){ text[i][0], text[i][1],
			MCSHM_KIND_IPV4, 11211, 1 };
	}
	mkfile_make(f, scheme, v, n);
	free(text);
	free(v);
}

static void
make(struct mkfile *f, uint32_t scheme, uint32_t n, const char *format)
{
	name_servers(f, scheme, n, format);
	snprintf(f->h->pool, sizeof f->h->pool, "web");
	snprintf(f->h->daemon_version, sizeof f->h->daemon_version, "0.0.1");
	f->flags = MCSHM_SECTION_SWEPT;
	for (uint32_t i = 0; i < n; i++) {
		struct mcshm_entry *e = mkfile_entry(f, i);

		e->history = ~UINT64_C(0);
		e->probes = 100;
		e->since = f->h->heartbeat;
		e->rtt_us = 100 + i;
	}
}

static void
set_probes(struct mcshm_entry *e, const char *s)
{
	e->probes = e->history = e->proof = e->wrong = 0;
	for (; *s != 0; s++, e->probes++) {
		e->history = e->history << 1 | (*s == '+');
		e->proof = e->proof << 1 | (*s == 'x' || *s == 'e');
		e->wrong = e->wrong << 1 | (*s == 'e');
	}
}

static void
set_last(struct mcshm_entry *e, unsigned reason, unsigned ago, unsigned rtt)
{
	e->reason = e->result = reason;
	e->since = mkfile_boottime() - ago * NS_S;
	e->silent_since = e->since;
	e->rtt_us = rtt;
}

/* The inactive section, with a byte changed. */
static void
scribble(struct mkfile *f)
{
	unsigned char *gen = f->map + offsetof(struct mcshm_header, generation);
	const unsigned idle = (mcshm_load(gen) & 1) ^ 1;

	f->map[f->h->section_off[idle] + f->h->entries_off] ^= 1;
}

/* In place of the old one; both under the daemon's names. */
static void
replace(struct mkfile *f, const char *path, uint32_t n, const char *format)
{
	const char *name = strrchr(path, '/') + 1;
	struct mkfile next;
	char tmp[PATH_MAX];

	make(&next, f->h->scheme, n, format);
	snprintf(tmp, sizeof tmp, "%.*s.%.*s.tmp.%ld", (int)(name - path),
	    path, (int)strcspn(name, "."), name, (long)getpid());
	next.h->generation = mcshm_generation_after(mcshm_load(f->map +
	    offsetof(struct mcshm_header, generation)));
	mkfile_create(&next, tmp);
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path,
	    RENAME_EXCHANGE) != 0)
		abort();
	mcshm_write_retire(f->map + offsetof(struct mcshm_header, generation));
	unlink(tmp);
	mkfile_free(f);
	*f = next;
}

static bool
obey(struct mkfile *f, const char *path, const char *format, const char *line)
{
	unsigned a, b, c, d;
	char text[80];

	if (sscanf(line, "set %u %u %u", &a, &b, &c) == 3)
		mkfile_set(f, a, b, c);
	else if (sscanf(line, "all %u %u", &a, &b) == 2)
		mkfile_set_all(f, a, b);
	else if (sscanf(line, "probes %u %70s", &a, text) == 2)
		set_probes(mkfile_entry(f, a), text);
	else if (sscanf(line, "last %u %u %u %u", &a, &b, &c, &d) == 4)
		set_last(mkfile_entry(f, a), b, c, d);
	else if (sscanf(line, "degraded %u %u", &a, &b) == 2)
		mkfile_entry(f, a)->degraded = b;
	else if (sscanf(line, "flags %u", &a) == 1)
		f->flags = a;
	else if (sscanf(line, "beat %u", &a) == 1)
		mkfile_beat(f, mkfile_boottime() - a * NS_S);
	else if (strcmp(line, "publish\n") == 0)
		mkfile_publish(f);
	else if (strcmp(line, "scribble\n") == 0)
		scribble(f);
	else if (sscanf(line, "replace %u", &a) == 1)
		replace(f, path, a, format);
	else if (strcmp(line, "retire\n") == 0)
		mcshm_write_retire(f->map +
		    offsetof(struct mcshm_header, generation));
	else
		return false;
	return true;
}

int
main(int argc, char **argv)
{
	const char *format = argc == 5 ? argv[4] : "cache%02u";
	const uint32_t scheme = argc >= 4 ? scheme_by_name(argv[2]) : 0;
	char line[256];
	struct mkfile f;

	if (scheme == 0 || argc > 5 || strchr(argv[1], '/') == NULL) {
		fprintf(stderr, "usage: mkpool PATH SCHEME SERVERS [FORMAT]\n");
		return 64;
	}
	make(&f, scheme, (uint32_t)strtoul(argv[3], NULL, 10), format);
	mkfile_create(&f, argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof line, stdin) != NULL)
		puts(obey(&f, argv[1], format, line) ? "ok" : "error");
	mkfile_free(&f);
	return 0;
}
