/*
 * dump_show.c - from paths of pool files to what was asked for about them.
 *
 * The only place of mc-shmdump that reads the clock.
 */
#include "dump_show.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "dump_check.h"
#include "dump_clients.h"
#include "dump_detail.h"
#include "dump_file.h"
#include "dump_pool.h"
#include "dump_words.h"

static uint64_t
clock_ns(clockid_t which)
{
	struct timespec t = { 0 };

	clock_gettime(which, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Read after the file: a heartbeat must not seem to be ahead of the clock. */
static struct dump_time
time_now(void)
{
	struct dump_time now = { .boot = clock_ns(CLOCK_BOOTTIME),
		.real = clock_ns(CLOCK_REALTIME) };

	mcshm_boot_id(now.boot_id);
	return now;
}

/* One pool ----------------------------------------------------------------- */

/* A pool that has been read, as far as it could be, and what was asked about
 * it. */
struct view {
	struct dump_file file;
	struct dump_pool pool;
	struct dump_parts parts;
	bool checked;				/* parts are known */
	struct dump_clients clients;
	const struct dump_server *server;	/* --server, if it is here */
};

/* 0, or -1 and *t; to be closed in either case. */
static int
view_open(struct view *v, const char *path, const struct dump_ask *a,
    struct dump_trouble *t)
{
	*v = (struct view){ .pool.file = &v->file };
	if (dump_file_read(&v->file, path, t) < 0)
		return -1;
	v->parts = dump_check_parts(&v->file);
	v->checked = true;
	if (dump_check_damage(&v->file, &v->parts, t))
		return -1;
	*t = (struct dump_trouble){ .text = "no memory" };
	if (dump_pool_init(&v->pool, &v->file, time_now()) < 0)
		return -1;
	if (a->server != NULL)
		v->server = dump_pool_find(&v->pool, a->server);
	if (a->clients && dump_clients_scan(&v->clients, "/proc", path,
	    v->file.dev, v->file.ino) < 0) {
		snprintf(t->text, sizeof t->text, "clients: %s",
		    strerror(errno));
		return -1;
	}
	return 0;
}

static void
view_close(struct view *v)
{
	dump_clients_free(&v->clients);
	dump_pool_free(&v->pool);
	dump_file_free(&v->file);
}

static void
show_keys(const struct view *v, const struct dump_ask *a)
{
	if (v->pool.placed)
		dump_keys_text(stdout, &v->pool, a->keys);
	else
		puts("  keys: not known, the scheme is newer than this "
		    "mc-shmdump");
}

static void
show_title(const struct view *v)
{
	char name[DUMP_TITLE];

	dump_title(name, &v->pool);
	printf("%s  ", name);
	dump_bytes(stdout, v->file.path, strlen(v->file.path));
	putchar('\n');
}

static void
show_asked(const struct view *v, const struct dump_ask *a, bool title)
{
	if (title || a->parts || a->clients)
		show_title(v);
	if (a->parts)
		dump_detail_parts(stdout, &v->file, &v->parts);
	if (v->server != NULL)
		dump_detail(stdout, &v->pool, v->server);
	if (a->keys != NULL)
		show_keys(v, a);
	if (a->clients)
		dump_clients_text(stdout, &v->clients);
}

static void
begin_text(struct dump_shown *shown)
{
	if (shown->begun)
		putchar('\n');
	shown->begun = true;
}

/* With nothing asked for, the picture. */
static void
show_text(const struct view *v, const struct dump_ask *a, bool title,
    struct dump_shown *shown)
{
	begin_text(shown);
	if (a->parts || a->clients || a->keys != NULL || a->server != NULL)
		show_asked(v, a, title);
	else
		dump_picture(stdout, &v->pool, &a->look, &shown->legend);
}

/* All pools ---------------------------------------------------------------- */

static void
worse(struct dump_shown *shown, enum dump_exit code)
{
	if (code > shown->code)
		shown->code = code;
}

/* Of a damaged file --verify shows what is whole and what is not. */
static void
show_trouble(const struct view *v, const char *path,
    const struct dump_trouble *t, const struct dump_ask *a,
    struct dump_shown *shown)
{
	const bool parts = a->parts && v->checked;

	worse(shown, DUMP_EXIT_UNREADABLE);
	if (a->json != NULL) {
		dump_json_trouble(a->json, path, t, parts ? &v->file : NULL,
		    &v->parts);
		return;
	}
	if (parts) {
		begin_text(shown);
		show_title(v);
		dump_detail_parts(stdout, &v->file, &v->parts);
	}
	fflush(stdout);
	fputs("mc-shmdump: ", stderr);
	dump_bytes(stderr, path, strlen(path));
	fprintf(stderr, ": %s\n", t->text);
}

static void
show_view(const struct view *v, const struct dump_ask *a, bool title,
    struct dump_shown *shown)
{
	worse(shown, dump_pool_exit(&v->pool));
	shown->server_found |= v->server != NULL;
	/* --server of another pool. */
	if (a->server != NULL && v->server == NULL)
		return;
	if (a->json == NULL)
		show_text(v, a, title, shown);
	else
		dump_json_pool(a->json, &v->pool, v->server, a->keys,
		    a->parts ? &v->parts : NULL,
		    a->clients ? &v->clients : NULL);
}

void
dump_show(struct dump_shown *shown, const struct dump_ask *ask,
    const struct dump_paths *paths)
{
	*shown = (struct dump_shown){ 0 };
	for (size_t i = 0; i < paths->n; i++) {
		struct dump_trouble t;
		struct view v;

		if (view_open(&v, paths->v[i], ask, &t) < 0)
			show_trouble(&v, paths->v[i], &t, ask, shown);
		else
			show_view(&v, ask, paths->n > 1, shown);
		view_close(&v);
	}
}
