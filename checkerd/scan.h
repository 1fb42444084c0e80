/*
 * scan.h - some new connections to one server at once, each asked once.
 *
 * A memcached deals new connections to its workers in turn: as many of them as
 * it has workers, made back to back, find each worker.  A scan counts who
 * answered; it believes nothing.
 *
 * connect_timeout until all are connected (TLS included), and timeout from then
 * on.  Before the end is judged each socket is read once more, without waiting.
 * All are closed with RST.
 *
 * Callback: done() exactly once a scan_start(), as the last thing that the scan
 * does, never from within scan_start().
 */
#ifndef SCAN_H
#define SCAN_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"
#include "mcproto.h"

#define SCAN_MOST 64u		/* connections */
#define SCAN_REQUEST 1024u	/* bytes: a login and a question */

struct scan;
struct scan_task {
	struct conn_place place;	/* used by scan_start() only, but for
					 * its tls */
	uint64_t connect_timeout, timeout;	/* ns */
	uint32_t connections;		/* 1..SCAN_MOST */
	bool login;			/* first, where it may be said */
	const struct mcproto_terms *terms;	/* used by scan_start() only */
};

struct scan_result {
	uint32_t asked;
	uint32_t answered;	/* anything */
	uint32_t silent;	/* its host has the request, and no answer came */
	uint32_t unreached;	/* not connected in time, or its host has not
				 * confirmed the request: may be the network */
	uint32_t full;		/* too many connections, they said */
	uint32_t proof;		/* refused, reset, closed, no socket: by the
				 * server's side */
	uint32_t no_tls;	/* TLS came to nothing: may be for a certificate
				 * of ours, which it refuses */
	uint32_t failed;	/* any other end: our own faults */
	const char *why;	/* no_tls: of one of them, for ever; NULL */
};

typedef void scan_done_fn(struct scan *s, const struct scan_result *r);

struct scan_line {
	struct scan *scan;
	ev_io io;
	struct conn conn;
	bool connecting;
	uint8_t wants;			/* enum conn_state, while connecting */
	struct mcproto_reply reply;
};

/* Part of the caller's struct; its members are the scan's own. */
struct scan {
	struct ev_loop *loop;
	ev_timer timer;
	scan_done_fn *done;
	bool busy;
	bool asking;		/* nobody is being connected any more */
	uint32_t connecting, open;
	double timeout;		/* s */
	size_t login, len;	/* bytes of the request */
	char request[SCAN_REQUEST];
	struct scan_result result;
	struct scan_line line[SCAN_MOST];
};

void scan_init(struct scan *s, struct ev_loop *loop, scan_done_fn *done);
/* Only when none is under way. */
void scan_start(struct scan *s, const struct scan_task *task);
bool scan_busy(const struct scan *s);
/* Give it up, without calling back. */
void scan_drop(struct scan *s);

#endif
