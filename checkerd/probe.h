/*
 * probe.h - one try at one server: connect if need be, send, read, judge.
 *
 * Effects, no belief: a probe has a result and nothing more.  The connection
 * is kept between probes; after a failure it is closed (with RST), so that a
 * late answer can never be taken for the next probe's.
 *
 * One deadline for the whole probe: connect_timeout until connected, and
 * timeout from then on (from the start, on a kept connection).  Before a
 * timeout is judged the socket is read once more, without waiting: libev may
 * run a due timer before a readable socket.
 *
 * End of file while idle proves nothing: where a kept connection ends before
 * any byte of the reply, the same probe goes on once, on a new connection and
 * with the deadline that it had.
 *
 * Callbacks: done() exactly once a probe_start(), as the last thing that the
 * probe does, never from within probe_start(); lost() when an idle connection
 * ends, or says something unasked.
 */
#ifndef PROBE_H
#define PROBE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "mcproto.h"

struct probe;

struct probe_result {
	enum mcshm_reason reason;
	int sys_errno;			/* behind LOCAL, UNREACHABLE; or 0 */
	bool fresh;			/* on a connection made for it */
	char version[32];		/* of the server, "" if not learnt */
};

/* A probe to be made. */
struct probe_task {
	struct sockaddr_storage to;
	socklen_t len;
	uint64_t connect_timeout, timeout;	/* ns */
};

typedef void probe_done_fn(struct probe *p, const struct probe_result *r);
typedef void probe_lost_fn(struct probe *p);

/* Part of the caller's struct; its members are the probe's own. */
struct probe {
	struct ev_loop *loop;
	ev_io io;
	ev_timer timer;
	probe_done_fn *done;
	probe_lost_fn *lost;
	int fd;				/* -1: no connection */
	uint8_t phase;			/* enum, in probe.c */
	bool fresh;			/* fd was made for this probe */
	bool again;			/* after a kept one that had ended */
	struct mcproto_reply reply;
	struct probe_result result;	/* so far; a failure is told at the next
					 * turn of the loop */
	double connect_timeout, timeout;	/* seconds */
	socklen_t len;
	struct sockaddr_storage server;	/* to connect to */
};

void probe_init(struct probe *p, struct ev_loop *loop, probe_done_fn *done,
    probe_lost_fn *lost);
/* Only when no probe is under way. */
void probe_start(struct probe *p, const struct probe_task *task);
bool probe_busy(const struct probe *p);
/* Give the connection up, and a probe that is under way without calling back.
 * The server's address is about to change, or the server to go. */
void probe_drop(struct probe *p);

#endif
