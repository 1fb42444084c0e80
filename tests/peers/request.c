/*
 * request.c - reading requests, writing answers; see request.h.
 *
 * Must not know what is chosen, or how.  A request that makes no sense is the
 * test's mistake: the program ends.
 */
#include "request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
request_fail(const char *why, ...)
{
	va_list ap;

	va_start(ap, why);
	vfprintf(stderr, why, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void *
request_grow(void *p, size_t size)
{
	p = realloc(p, size);
	if (p == NULL)
		request_fail("no memory");
	return p;
}

/* Keys -------------------------------------------------------------------- */

static size_t
read_file(const char *path, unsigned char **p)
{
	FILE *f = fopen(path, "rb");
	size_t size = 0, room = 1 << 16;

	if (f == NULL)
		request_fail("%s: it cannot be opened", path);
	*p = request_grow(*p, room);
	for (size_t n; (n = fread(*p + size, 1, room - size, f)) > 0;) {
		size += n;
		if (size == room)
			*p = request_grow(*p, room *= 2);
	}
	fclose(f);
	return size;
}

static void
set_keys(struct request *r, const char *path)
{
	const size_t size = read_file(path, &r->keys);
	size_t room = 0;

	r->key_count = 0;
	for (size_t at = 0; at + 2 <= size; r->key_count++) {
		const size_t len = r->keys[at] | (size_t)r->keys[at + 1] << 8;

		if (r->key_count == room) {
			room = room > 0 ? room * 2 : 1024;
			r->key_at = request_grow(r->key_at,
			    room * sizeof *r->key_at);
		}
		r->key_at[r->key_count] = at;
		at += 2 + len;
		if (at > size)
			request_fail("%s: the last key is cut off", path);
	}
}

const char *
request_key(const struct request *r, uint32_t i, size_t *len)
{
	const unsigned char *p = r->keys + r->key_at[r->from + i];

	*len = p[0] | (size_t)p[1] << 8;
	return (const char *)p + 2;
}

/* Servers and settings ---------------------------------------------------- */

static void
forget(struct request *r)
{
	for (uint32_t i = 0; i < r->settings; i++)
		free(r->setting[i].value);
	r->settings = 0;
	r->servers = 0;
}

static void
set_setting(struct request *r, const char *rest)
{
	const size_t len = strcspn(rest, " ");

	if (r->settings == REQUEST_SETTINGS ||
	    len >= sizeof r->setting->word)
		request_fail("a setting too many: %s", rest);
	snprintf(r->setting[r->settings].word, sizeof r->setting->word,
	    "%.*s", (int)len, rest);
	r->setting[r->settings++].value =
	    strdup(rest[len] != '\0' ? rest + len + 1 : "");
}

const char *
request_setting(const struct request *r, const char *word)
{
	for (uint32_t i = 0; i < r->settings; i++)
		if (strcmp(r->setting[i].word, word) == 0)
			return r->setting[i].value;
	return NULL;
}

uint32_t
request_number(const struct request *r, const char *word, uint32_t other)
{
	const char *value = request_setting(r, word);

	return value ? (uint32_t)strtoul(value, NULL, 10) : other;
}

static void
add_server(struct request *r, const char *rest)
{
	struct request_server *s;

	if (r->server == NULL)
		r->server = request_grow(NULL,
		    REQUEST_SERVERS * sizeof *r->server);
	if (r->servers == REQUEST_SERVERS)
		request_fail("a server too many");
	s = &r->server[r->servers++];
	*s = (struct request_server){ 0 };
	if (sscanf(rest, "%255s %u %u %63s", s->host, &s->port, &s->weight,
	    s->name) != 4)
		request_fail("no server: %s", rest);
	if (strcmp(s->name, "-") == 0)
		s->name[0] = '\0';
}

static void
set_down(struct request *r, const char *rest)
{
	const uint32_t i = (uint32_t)strtoul(rest, NULL, 10);

	if (i >= r->servers)
		request_fail("there is no server %s", rest);
	r->server[i].down = true;
}

/* Questions and answers --------------------------------------------------- */

static void
set_ask(struct request *r, const char *rest)
{
	r->store = false;
	r->tries = 1;
	if (sscanf(rest, "%u %u %u", &r->from, &r->count, &r->tries) < 2 ||
	    r->from > r->key_count || r->count > r->key_count - r->from)
		request_fail("there are no such keys: %s", rest);
	r->answer = request_grow(r->answer,
	    ((size_t)r->count * r->tries + 1) * sizeof *r->answer);
	memset(r->answer, 0xff,
	    (size_t)r->count * r->tries * sizeof *r->answer);
}

static void
set_store(struct request *r, const char *rest)
{
	set_ask(r, rest);
	r->store = true;
}

static const struct word {
	const char *word;
	void (*take)(struct request *r, const char *rest);
	bool changes;
} words[] = {
	{ "keys ", set_keys, false },
	{ "set ", set_setting, true },
	{ "server ", add_server, true },
	{ "down ", set_down, true },
	{ "ask ", set_ask, false },
	{ "store ", set_store, false },
};

static const struct word *
find_word(const char *line)
{
	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (strncmp(line, words[i].word, strlen(words[i].word)) == 0)
			return &words[i];
	request_fail("not understood: %s", line);
}

bool
request_next(struct request *r)
{
	r->changed = false;
	for (ssize_t n; (n = getline(&r->line, &r->line_size, stdin)) > 0;) {
		const struct word *w;

		r->line[n - 1] = '\0';
		if (strcmp(r->line, "new") == 0) {
			forget(r);
			r->changed = true;
			continue;
		}
		w = find_word(r->line);
		w->take(r, r->line + strlen(w->word));
		r->changed = r->changed || w->changes;
		if (w->take == set_ask || w->take == set_store)
			return true;
	}
	return false;
}

void
request_answer(struct request *r, uint32_t i, uint32_t try, uint32_t server)
{
	unsigned char *p = (unsigned char *)
	    &r->answer[(size_t)i * r->tries + try];

	p[0] = server & 0xff;
	p[1] = server >> 8 & 0xff;
}

void
request_done(struct request *r)
{
	const size_t n = (size_t)r->count * r->tries;

	if (fwrite(r->answer, sizeof *r->answer, n, stdout) != n ||
	    fflush(stdout) != 0)
		request_fail("nobody reads the answers");
}

void
request_free(struct request *r)
{
	forget(r);
	free(r->server);
	free(r->keys);
	free(r->key_at);
	free(r->answer);
	free(r->line);
}
