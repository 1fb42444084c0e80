/*
 * checker_line.h - lines of the log while they are made.
 *
 * Private to checker*.c.
 */
#ifndef CHECKER_LINE_H
#define CHECKER_LINE_H

#include "checker_engine.h"

/* A line under construction: what does not fit is cut. */
struct line {
	size_t len;
	char text[1024];
};

void line_add(struct line *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* " key=value", quoted where it has to be. */
void line_value(struct line *l, const char *key, const char *value);
/* Name and pool. */
void line_server(struct line *l, const struct watch *w);
/* An address that its name led to. */
void line_resolved(struct line *l, const char *key, const struct watch *w,
    const struct mcshm_address *to);
/* Where it is probed. */
void line_address(struct line *l, const struct watch *w);
void line_reason(struct line *l, const char *key, uint32_t reason);

#endif
