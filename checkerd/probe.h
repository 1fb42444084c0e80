/*
 * probe.h - one try at one server: connect if need be, send, read, judge.
 *
 * Effects, no belief: a probe has a result and nothing more.  What it asks is
 * written in one go and answered in order.  The connection is kept between
 * probes; after a failure it is closed (with RST), so that a late answer can
 * never be taken for the next probe's.
 *
 * A fresh probe goes on a new connection beside the kept one.  If it is good,
 * that replaces the kept one; if not, the kept one is still there: the next
 * probe tells a server that takes no new connections from one that is silent.
 *
 * One deadline for the whole probe: connect_timeout until connected (TLS
 * included), and timeout from then on (from the start, on a kept connection).
 * Before a timeout is judged the socket is read once more, without waiting:
 * libev may run a due timer before a readable socket.
 *
 * A step of a TLS handshake takes a good part of a millisecond of ours, and a
 * thousand servers may be ready for theirs at once.  So all probes make a few
 * of them a turn of the loop, and those that are under way go first.  Whoever is
 * put off has no deadline meanwhile: it is we who are late.  A server that hangs
 * is not ready, and is in nobody's way.
 *
 * End of file while idle proves nothing: where a kept connection ends before
 * any byte of the reply, the same probe goes on once, on a new connection and
 * with the deadline that it had.
 *
 * Where a reply is cut short by the connection's end, by the deadline or by
 * garbage, what the probe is about (mcproto_enough()) decides if it was answered
 * by then.
 *
 * Callbacks: done() exactly once a probe_start(), as the last thing that the
 * probe does, never from within probe_start(); lost() when an idle connection
 * ends, or says something unasked; began() before done(), where TLS was put off:
 * the server was asked nothing so far, and is to answer from now on.
 */
#ifndef PROBE_H
#define PROBE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "conn.h"
#include "mcproto.h"

struct probe;
struct probes;
struct tls_peer;

struct probe_result {
	enum mcshm_reason reason;
	int sys_errno;			/* behind LOCAL, UNREACHABLE; or 0 */
	bool fresh;			/* on a connection made for it */
	bool kept;			/* it failed on one made beside the
					 * kept one, which is still there */
	bool partial;			/* what it is about was answered;
					 * something asked along was not */
	bool greeted;			/* TLS_FAILED: it says in plain text that
					 * it takes no more connections; if it
					 * is the server that was meant */
	bool refuses, ours;		/* TLS_FAILED: as conn_failure's */
	const char *why;		/* behind TLS_FAILED, TLS_UNTRUSTED, for
					 * ever; or NULL */
	const struct mcproto_told *told;	/* valid during done() */
	const char *said;		/* likewise: GARBAGE, ERROR_REPLY: how
					 * that begins, any bytes; "": it is
					 * not to be told, for a password may
					 * be in it */
	uint64_t tls_expiry;		/* of the certificate, REALTIME s, 0 */
};

/* A request that was written before: without login. */
struct probe_request {
	uint32_t asks;
	size_t len;
	const char *text;
};

/* A probe to be made.  Pointers: until it is done. */
struct probe_task {
	struct sockaddr_storage to;
	socklen_t len;
	const struct sockaddr *from;	/* source, of to's family; NULL: any */
	socklen_t from_len;
	struct tls_peer *tls;		/* NULL: plain */
	uint64_t connect_timeout, timeout;	/* ns */
	uint32_t asks;			/* LOGIN is added where it is due, once
					 * a connection; 0: connect, no more */
	const struct mcproto_terms *terms;
	uint32_t canary;		/* for CANARY, another each time */
	const struct mcproto_mark *mark;	/* for MARK, FLUSHED; or NULL */
	const struct probe_request *plain;	/* used for its asks; NULL */
	bool fresh;			/* beside the kept connection */
};

typedef void probe_done_fn(struct probe *p, const struct probe_result *r);
typedef void probe_lost_fn(struct probe *p);
typedef void probe_began_fn(struct probe *p);

struct probe_conn {
	ev_io io;
	struct conn conn;
};

/* Part of the caller's struct; its members are the probe's own. */
struct probe {
	struct probes *probes;
	probe_done_fn *done;
	probe_lost_fn *lost;
	probe_began_fn *began;
	struct probe_conn conn[2];	/* the kept one; at times another */
	ev_timer timer;
	TAILQ_ENTRY(probe) queue;	/* for a step of TLS, */
	uint32_t queued;		/* since this turn, */
	double left;			/* s of the deadline then */
	uint8_t phase;			/* enum, in probe.c */
	uint8_t kept;			/* which of the two */
	uint8_t now;			/* the one that is probed */
	uint8_t wants;			/* enum conn_state, while connecting */
	bool fresh;			/* made for this probe */
	bool again;			/* after a kept one that had ended */
	bool asked;			/* all of the request is sent */
	uint8_t longer;			/* times: the deadline, for we were
					 * late */
	uint32_t asks;			/* on this connection */
	uint32_t sent;			/* bytes of the request */
	int broken;			/* errno of sending more; 0 */
	struct probe_answer *answer;	/* so far; NULL: no byte of it */
	struct probe_result result;	/* so far; a failure is told at the next
					 * turn of the loop */
	struct {			/* of the task, to go on with */
		uint32_t asks;
		socklen_t len, from_len;
		const struct sockaddr *from;
		struct tls_peer *tls;
		const struct mcproto_terms *terms;
		const struct probe_request *plain;
		struct mcproto_once once;
		double connect_timeout, timeout;	/* seconds */
		union {
			struct sockaddr sa;
			struct sockaddr_in in;
			struct sockaddr_in6 in6;
			struct sockaddr_un un;
		} to;
	} task;
};

/* What the probes of a loop share: buffers.  NULL: no memory. */
struct probes *probes_open(struct ev_loop *loop);
/* When all of them are closed. */
void probes_close(struct probes *s);

/* 0 or ENOMEM: all memory that it will need.  began: NULL, if nobody wants to
 * know. */
int probe_init(struct probe *p, struct probes *s, probe_done_fn *done,
    probe_lost_fn *lost, probe_began_fn *began);
/* Only when no probe is under way. */
void probe_start(struct probe *p, const struct probe_task *task);
bool probe_busy(const struct probe *p);
/* Is there a kept connection? */
bool probe_has_connection(const struct probe *p);
/* Give the connections up, and a probe that is under way without calling back.
 * The server's address is about to change, or the server to go. */
void probe_drop(struct probe *p);
/* The same for good. */
void probe_close(struct probe *p);

#endif
