/*
 * hostile_dump.c - mc-shmdump, on a file that nobody should believe: its units
 * in this process, with stdout and stderr in memory.
 */
#include "hostile.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dump_show.h"

struct paper {				/* what is printed into */
	FILE *old, *now;
	char *text;
	size_t size;
};

static void
paper_lay(struct paper *p, FILE **stream)
{
	p->old = *stream;
	p->text = NULL;
	p->now = *stream = open_memstream(&p->text, &p->size);
}

static void
paper_take(struct paper *p, FILE **stream)
{
	fclose(p->now);
	*stream = p->old;
}

/* What goes to a terminal must not command it. */
static void
check_printable(const struct paper *p)
{
	for (size_t i = 0; i < p->size; i++)
		must(p->text[i] == '\n' ||
		    (' ' <= p->text[i] && p->text[i] < 0x7f),
		    "mc-shmdump prints byte %02x", (unsigned char)p->text[i]);
}

static void
check_json(const struct paper *p)
{
	json_error_t e;
	json_t *j = json_loadb(p->text, p->size, JSON_ALLOW_NUL, &e);

	must(j != NULL, "no JSON: %s", e.text);
	must(json_array_size(json_object_get(j, "pools")) == 1,
	    "JSON of another number of pools");
	json_decref(j);
}

static void
ask(struct dump_ask *a, enum hostile_view view, struct dump_keys *keys)
{
	*a = (struct dump_ask){ .look = { .host = "host" } };
	a->look.all = view == VIEW_ALL;
	a->parts = view == VIEW_VERIFY || view == VIEW_JSON;
	if (view == VIEW_SERVER)
		a->server = "10.9.0.1:11211";
	if (view == VIEW_KEYS || view == VIEW_JSON) {
		for (unsigned i = 0; i < 20; i++)
			must(dump_keys_add(keys, &i, 1 + i % sizeof i) == 0,
			    "no memory");
		a->keys = keys;
	}
	if (view == VIEW_JSON)
		a->json = dump_json_begin("host");
}

int
hostile_dump_text(char **text, const char *path, enum hostile_view view)
{
	struct dump_paths paths = { (char *[]){ (char *)(uintptr_t)path }, 1 };
	struct dump_keys keys = { 0 };
	struct dump_shown shown;
	struct paper out, err;
	struct dump_ask a;

	ask(&a, view, &keys);
	paper_lay(&out, &stdout);
	paper_lay(&err, &stderr);
	dump_show(&shown, &a, &paths);
	if (a.json != NULL)
		dump_json_end(a.json, stdout, shown.code);
	else
		dump_picture_legend(stdout, &a.look, &shown.legend,
		    shown.code);
	paper_take(&err, &stderr);
	paper_take(&out, &stdout);
	must((int)shown.code >= 0 && shown.code <= DUMP_EXIT_UNREADABLE,
	    "mc-shmdump ends with %d", (int)shown.code);
	check_printable(&out);
	check_printable(&err);
	if (a.json != NULL)
		check_json(&out);
	must(shown.code != DUMP_EXIT_UNREADABLE || a.json != NULL ||
	    err.size > 0, "unreadable, and nobody says why");
	free(err.text);
	dump_keys_free(&keys);
	*text = out.text;
	return (int)shown.code;
}

int
hostile_dump(const char *path, enum hostile_view view)
{
	char *text;
	const int code = hostile_dump_text(&text, path, view);

	free(text);
	return code;
}

int
hostile_dump_all(const char *path)
{
	const int code = hostile_dump(path, VIEW_VERIFY);

	for (unsigned v = 0; v < VIEWS; v++)
		if (v != VIEW_VERIFY)
			hostile_dump(path, (enum hostile_view)v);
	return code;
}
