/*
 * dump_line.h - text that flows into lines of a fixed width.
 *
 * Knows columns, indents and colours; nothing of pools.
 */
#ifndef DUMP_LINE_H
#define DUMP_LINE_H

#include <stdbool.h>
#include <stdio.h>

#define DUMP_WIDTH 100

struct dump_line {
	FILE *out;
	unsigned column, indent;
	bool fresh;		/* nothing on this line yet that wants a sep */
	const char *right;	/* goes to the right edge of the first line; it
				 * must live until dump_line_end() */
};

/* Begin with this much indent; the caller may have written up to column. */
void dump_line_begin(struct dump_line *l, FILE *out, unsigned indent,
    unsigned column);
/* A piece that is not broken, after sep ("; ") if something is before it on its
 * line; where it does not fit any more, the next line begins with it. */
void dump_line_put(struct dump_line *l, const char *sep, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Sentences: broken at any space. */
void dump_line_words(struct dump_line *l, const char *sep, const char *text);
void dump_line_end(struct dump_line *l);

enum dump_colour { DUMP_PLAIN, DUMP_RED, DUMP_YELLOW, DUMP_DIM, DUMP_BOLD };

/* Switch to a colour, and back with DUMP_PLAIN; nothing where on is false. */
void dump_colour(FILE *out, bool on, enum dump_colour colour);

#endif
