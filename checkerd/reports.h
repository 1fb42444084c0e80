/*
 * reports.h - the socket on which clients say that a server failed in their
 * hands.
 *
 * Effects, no belief: what comes in is checked for its form, and handed on.
 * Anybody on this host may write there, so a report can be no more than a
 * question; what to make of it is the caller's.  Nothing here waits.
 */
#ifndef REPORTS_H
#define REPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mcshm_format.h"

/* One report: which server, in which pool. */
struct report {
	uint64_t ident_hash;		/* as in the pool's roster */
	char pool[MCSHM_POOL_MAX + 1];
};

/* A datagram's bytes as a report; false: they are none. */
bool reports_parse(struct report *r, const void *datagram, size_t len);

/* The longest path that a unix socket can have, and its NUL. */
#define REPORTS_PATH 108

struct reports {
	int fd;				/* -1: closed */
	dev_t dev;
	ino_t ino;
	char path[REPORTS_PATH];	/* "": closed */
};

/* Closed. */
void reports_init(struct reports *r);

/*
 * Listen in a directory: at DIRECTORY/.report, or where another daemon that
 * lives has that, at .report.1 and so on.  The name appears when everybody may
 * write there, not before.  What daemons that were killed left is removed.  The
 * directory is made if it is not there, but not those above it.
 *
 * 0, or an errno: ENAMETOOLONG, EADDRINUSE (no name is left), ENOENT (nor can
 * the directory be made) ...
 */
int reports_open(struct reports *r, const char *directory);
/* Somebody has removed the socket, or put another in its place: open it anew.
 * Where that can not be told for the moment, it is not lost. */
bool reports_lost(const struct reports *r);
/* Remove it, if it is still ours. */
void reports_close(struct reports *r);

enum reports_got {
	REPORTS_NONE,			/* waits to be read */
	REPORTS_ONE,			/* *one */
	REPORTS_GARBAGE			/* a datagram that is no report */
};
enum reports_got reports_read(const struct reports *r, struct report *one);

#endif
