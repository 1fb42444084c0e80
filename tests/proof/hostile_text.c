/*
 * hostile_text.c - texts that fill their fields to the last byte, without an
 * end, or with bytes that would command a terminal or end a JSON string.
 *
 * Behind each field stands another one that is full, too: who reads beyond the
 * first shows bytes of the second.  All sums fit.
 */
#include "hostile_family.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hostile.h"

#define SERVERS 3u
#define UNREADABLE 3			/* mc-shmdump's exit code */
#define SHOWS 3				/* so many in a row are no accident */

static const uint32_t kinds[] = { MCSHM_KIND_NONE, MCSHM_KIND_UNIX,
	MCSHM_KIND_NAME, MCSHM_KIND_IPV4, MCSHM_KIND_IPV6, 99 };
#define KINDS (sizeof kinds / sizeof *kinds)

/* Fields with bytes of their own ------------------------------------------- */

static void
fill_own(struct mkfile *f)
{
	struct hostile_text t;

	for (unsigned i = 0; hostile_text(&t, i); i++)
		for (uint32_t slot = 0; slot < SERVERS; slot++)
			hostile_fill(f, &t, slot, &t.own, 1);
}

static size_t
run_of(const char *text, char c)
{
	size_t n = 0;

	while (text[n] == c)
		n++;
	return n;
}

/* So much of one text, and not one byte of the next. */
static void
check_runs(const char *text, const struct hostile_text *t)
{
	for (size_t at = 0, n; text[at] != 0; at += n > 0 ? n : 1) {
		struct hostile_text next;

		n = run_of(text + at, t->own);
		must(n <= t->size, "%zu bytes of %s, which has %u", n, t->name,
		    (unsigned)t->size);
		for (unsigned i = 0; n >= SHOWS && hostile_text(&next, i); i++)
			must(next.own == t->own ||
			    run_of(text + at + n, next.own) < SHOWS,
			    "%s goes on into %s", t->name, next.name);
	}
}

static void
check_view(const struct hostile_plan *p, enum hostile_view view)
{
	struct hostile_text t;
	char *text;

	must(hostile_dump_text(&text, p->path, view) != UNREADABLE,
	    "mc-shmdump does not show it");
	for (unsigned i = 0; hostile_text(&t, i); i++)
		check_runs(text, &t);
	free(text);
}

/* The whole field, as a JSON string. */
static void
check_json_text(const json_t *object, const char *key, const char *field)
{
	const char *got = json_string_value(json_object_get(object, key));
	struct hostile_text t = { 0 };

	for (unsigned i = 0; hostile_text(&t, i); i++)
		if (strcmp(t.name, field) == 0)
			break;
	must(got != NULL && strlen(got) == t.size &&
	    run_of(got, t.own) == t.size, "the JSON's %s is %s", key,
	    got != NULL ? got : "not there");
}

static void
check_json_server(const json_t *server, bool named)
{
	must(server != NULL, "the JSON has no such server");
	if (named)
		check_json_text(server, "name", "name");
	check_json_text(server, "identity", "ident");
	check_json_text(server, "server_version", "server_version");
	check_json_text(server, "admin_who", "admin_who");
	check_json_text(server, "admin_why", "admin_why");
}

static void
check_json(const struct hostile_plan *p, bool named)
{
	const json_t *pool, *daemon, *servers;
	char *text;
	json_t *all;

	hostile_dump_text(&text, p->path, VIEW_JSON);
	all = json_loads(text, JSON_ALLOW_NUL, NULL);
	pool = json_array_get(json_object_get(all, "pools"), 0);
	check_json_text(pool, "pool", "pool");
	daemon = json_object_get(pool, "daemon");
	check_json_text(daemon, "version", "daemon_version");
	check_json_text(daemon, "host", "host");
	check_json_text(daemon, "config", "config");
	servers = json_object_get(pool, "servers");
	for (uint32_t slot = 0; slot < SERVERS; slot++)
		check_json_server(json_array_get(servers, slot), named);
	json_decref(all);
	free(text);
}

/* Names of the library are all that a field can have and an end, or what it
 * makes of the host. */
static void
check_names(const struct hostile_plan *p, bool named)
{
	struct mcshm_server v[SERVERS];
	struct mcshm *m = NULL;

	must(mcshm_open(&m, p->path, 0) == 0, "not opened");
	must(mcshm_servers(m, v, SERVERS, sizeof *v, NULL) == (int)SERVERS,
	    "servers");
	for (uint32_t i = 0; i < SERVERS; i++) {
		const char *name = v[i].name;
		const size_t at = name[0] == '[';

		if (named)
			must(strlen(name) == 63 && run_of(name, '`') == 63,
			    "a name of %zu bytes", strlen(name));
		else
			must(run_of(name + at, '~') == 255 &&
			    strlen(name) <= at + 255 + sizeof "]:65535" - 1,
			    "of a host %s", name);
	}
	mcshm_close(m);
}

static void
make(struct mkfile *f)
{
	mkfile_make(f, MCSHM_SCHEME_LIBMEMCACHED_MODULA, NULL, SERVERS);
	f->h->config_loaded = 1;		/* so that its path is shown */
}

static void
own_bytes(const struct hostile_plan *p, uint32_t kind, bool named)
{
	struct mkfile f;

	hostile_case("texts without an end, hosts of kind %u, with%s names",
	    (unsigned)kind, named ? "" : "out");
	make(&f);
	fill_own(&f);
	for (uint32_t slot = 0; slot < SERVERS; slot++) {
		mkfile_roster(&f, slot)->kind = kind;
		if (!named)
			mkfile_roster(&f, slot)->name[0] = 0;
	}
	mkfile_seal(&f);
	mkfile_write(&f, p->path, f.size);
	must(hostile_read(p->path, true) == 0, "not opened");
	check_names(p, named);
	for (unsigned view = 0; view < VIEWS; view++)
		check_view(p, (enum hostile_view)view);
	check_json(p, named);
	mkfile_free(&f);
}

/* Bytes that do something -------------------------------------------------- */

static void
shown(const struct hostile_plan *p, struct mkfile *f)
{
	mkfile_seal(f);
	mkfile_write(f, p->path, f->size);
	must(hostile_read(p->path, true) == 0, "not opened");
	must(hostile_dump_all(p->path) != UNREADABLE,
	    "mc-shmdump does not show it");
}

/* One text, then all of them. */
static void
bytes(const struct hostile_plan *p, const char *what, size_t len)
{
	struct mkfile whole, f;
	struct hostile_text t;

	make(&whole);
	for (unsigned i = 0; hostile_text(&t, i); i++) {
		hostile_case("%s full of %02x", t.name,
		    (unsigned char)what[0]);
		mkfile_copy(&f, &whole);
		hostile_fill(&f, &t, SERVERS - 1, what, len);
		shown(p, &f);
		mkfile_free(&f);
	}
	hostile_case("all texts full of %02x", (unsigned char)what[0]);
	for (unsigned i = 0; hostile_text(&t, i); i++)
		hostile_fill(&whole, &t, i % SERVERS, what, len);
	shown(p, &whole);
	mkfile_free(&whole);
}

void
family_texts(const struct hostile_plan *p)
{
	/* A colour; a format; a half character at the end of each field. */
	static const struct {
		const char *text;
		size_t len;
	} several[] = { { "\33[31m", 5 }, { "%s%n", 4 }, { "\303\251x", 3 },
		{ "\0A", 2 }, { "A\0", 2 } };
	const uint32_t step = plan_of(p, 37, 5, 1);

	for (size_t i = 0; i < KINDS; i++) {
		own_bytes(p, kinds[i], true);
		own_bytes(p, kinds[i], false);
	}
	for (size_t i = 0; i < sizeof several / sizeof *several; i++)
		bytes(p, several[i].text, several[i].len);
	for (unsigned c = 1; c < 256; c += step) {
		const char byte = (char)c;

		bytes(p, &byte, 1);
	}
}
