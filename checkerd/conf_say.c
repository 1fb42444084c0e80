/*
 * conf_say.c - what is wrong with an ini, where, and what was meant.
 *
 * Must not decide what is wrong.
 */
#include "conf_load.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define HINT_BYTES 32		/* nobody means a key by more */

struct spot
conf_here(const struct load *l)
{
	struct spot s = { l->path, 0, false };

	if (l->source)
		s = (struct spot){ l->source->file, l->source->line, false };
	return s;
}

static void
say(struct load *l, struct spot at, const char *what, const char *fmt,
    va_list ap)
{
	if (!l->out)
		return;
	if (at.line)
		fprintf(l->out, "%s:%u: ", at.file, at.line);
	else
		fprintf(l->out, "%s: ", at.file);
	fputs(what, l->out);
	vfprintf(l->out, fmt, ap);
	fputc('\n', l->out);
}

void
conf_complain_at(struct load *l, struct spot at, const char *fmt, ...)
{
	va_list ap;

	l->errors++;
	va_start(ap, fmt);
	say(l, at, "", fmt, ap);
	va_end(ap);
}

void
conf_warn_at(struct load *l, struct spot at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(l, at, "warning: ", fmt, ap);
	va_end(ap);
}

void
conf_complain(struct load *l, const char *fmt, ...)
{
	va_list ap;

	if (l->source && l->now)
		l->now->refused = true;
	l->errors++;
	va_start(ap, fmt);
	say(l, conf_here(l), "", fmt, ap);
	va_end(ap);
}

bool
conf_complain_memory(struct load *l)
{
	conf_complain(l, "%s", strerror(ENOMEM));
	return false;
}

bool
conf_refuse(struct load *l, const struct key *k, const char *text,
    const char *why)
{
	conf_complain(l, "%s = %s %s", k->name, text, why);
	return false;
}

static size_t
least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Letters to insert, remove or change (Levenshtein). */
static size_t
distance(const char *a, const char *b)
{
	size_t row[HINT_BYTES], n = strlen(b);

	if (n >= HINT_BYTES)
		return SIZE_MAX;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t corner = row[0]++;

		for (size_t j = 0; j < n; j++) {
			size_t changed = corner + (a[i] != b[j]);

			corner = row[j + 1];
			row[j + 1] = least(changed, corner + 1, row[j] + 1);
		}
	}
	return row[n];
}

struct hint
conf_hint(const char *text)
{
	/* A third of it wrong is a slip; more is another word. */
	return (struct hint){ text, NULL, strlen(text) / 3 + 2 };
}

void
conf_hint_offer(struct hint *h, const char *word)
{
	size_t d = strlen(h->text) < HINT_BYTES ? distance(h->text, word)
						: SIZE_MAX;

	if (d < h->distance) {
		h->distance = d;
		h->nearest = word;
	}
}

const char *
conf_lower(char to[CONF_WORD_BYTES], const char *text, size_t n)
{
	size_t i;

	for (i = 0; i < n && i + 1 < CONF_WORD_BYTES; i++)
		to[i] = (char)tolower((unsigned char)text[i]);
	to[i] = '\0';
	return to;
}
