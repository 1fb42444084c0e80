/*
 * dump_line.c - text that flows into lines of a fixed width.
 */
#include "dump_line.h"

#include <stdarg.h>
#include <string.h>

void
dump_line_begin(struct dump_line *l, FILE *out, unsigned indent,
    unsigned column)
{
	*l = (struct dump_line){ .out = out, .indent = indent,
		.column = column, .fresh = true };
	if (column < indent) {
		fprintf(out, "%*s", (int)(indent - column), "");
		l->column = indent;
	}
}

static unsigned
room(const struct dump_line *l)
{
	const size_t right = l->right != NULL ? strlen(l->right) + 2 : 0;
	const size_t taken = l->column + right;

	return taken < DUMP_WIDTH ? (unsigned)(DUMP_WIDTH - taken) : 0;
}

/* What stands at the right edge; once. */
static void
put_right(struct dump_line *l)
{
	const size_t len = l->right != NULL ? strlen(l->right) : 0;
	int gap = DUMP_WIDTH - (int)l->column - (int)len;

	if (len > 0)
		fprintf(l->out, "%*s%s", gap > 2 ? gap : 2, "", l->right);
	l->right = NULL;
}

static void
put_break(struct dump_line *l)
{
	put_right(l);
	fprintf(l->out, "\n%*s", (int)l->indent, "");
	l->column = l->indent;
	l->fresh = true;
}

static void
put_text(struct dump_line *l, const char *text, size_t len)
{
	fwrite(text, 1, len, l->out);
	l->column += (unsigned)len;
}

/* The separator stays behind on the old line, without its space. */
static void
put_piece(struct dump_line *l, const char *sep, const char *text, size_t len)
{
	size_t before = strlen(sep);

	/* One more, for a separator that may have to follow it. */
	if (!l->fresh && before + len + 1 > room(l)) {
		while (before > 0 && sep[before - 1] == ' ')
			before--;
		put_text(l, sep, before);
		put_break(l);
	}
	if (!l->fresh)
		put_text(l, sep, strlen(sep));
	put_text(l, text, len);
	l->fresh = false;
}

void
dump_line_put(struct dump_line *l, const char *sep, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	put_piece(l, sep, text, strlen(text));
}

void
dump_line_words(struct dump_line *l, const char *sep, const char *text)
{
	const size_t most = DUMP_WIDTH - l->indent - 2;

	while (*text != 0) {
		size_t len = strcspn(text, " ");

		len = len < most ? len : most;
		put_piece(l, sep, text, len);
		text += len;
		sep = *text == ' ' ? " " : "";
		text += strspn(text, " ");
	}
}

void
dump_line_end(struct dump_line *l)
{
	put_right(l);
	putc('\n', l->out);
}

void
dump_colour(FILE *out, bool on, enum dump_colour colour)
{
	static const char *const code[] = {
		[DUMP_PLAIN] = "0", [DUMP_RED] = "31;1",
		[DUMP_YELLOW] = "33", [DUMP_DIM] = "2", [DUMP_BOLD] = "1",
	};

	if (on)
		fprintf(out, "\033[%sm", code[colour]);
}
