/*
 * mcproto.h - the little of memcached's text protocol that probes speak, both
 * sides of it: the client's for the checker, the server's for tests/fakemc.
 *
 * Pure: bytes in, results out; no sockets.
 */
#ifndef MCPROTO_H
#define MCPROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcshm_format.h"	/* enum mcshm_reason */

/* A reply line that is longer is garbage; but a STAT line is only cut. */
#define MCPROTO_LINE_MAX 256
/* Bytes of all lines of a reply, and of each value beside them; one that is
 * longer may never end. */
#define MCPROTO_REPLY_MAX (1u << 20)
#define MCPROTO_VALUE_MAX (1u << 20)

/* Client's side ----------------------------------------------------------- */

/*
 * What a probe asks in one go: written in this order as one pipelined request,
 * answered in this order.  Bits.
 *
 * An error is the probe's result where it answers VERSION, MN or CANARY; or
 * STATS, where none of these three was asked.  What is asked beside that may be
 * refused: it is only not known then (told.refused).
 */
enum mcproto_ask {
	MCPROTO_ASK_LOGIN = 1,		/* "set" with user and password (-Y) */
	MCPROTO_ASK_VERSION = 2,
	MCPROTO_ASK_MN = 4,		/* of 1.5.19 and later */
	MCPROTO_ASK_CANARY = 8,		/* set, get, delete of a value */
	MCPROTO_ASK_MAINTENANCE = 16,	/* get of the maintenance key */
	MCPROTO_ASK_MARKS = 32,		/* get of all marks and notes, of the
					 * marker, the lock and our witness */
	MCPROTO_ASK_LOCK = 64,		/* add of the flush lock, TTL 10 s */
	MCPROTO_ASK_STATS = 128,
	MCPROTO_ASK_UNLOCK = 256,	/* delete of the lock */
	MCPROTO_ASK_FLUSH = 512,	/* flush_all */
	MCPROTO_ASK_FLUSHED = 1024,	/* set of the marker, TTL 300 s */
	MCPROTO_ASK_MARK = 2048,	/* set of our mark, or, without since,
					 * of our note; TTL 60 s */
	MCPROTO_ASK_WITNESS = 4096,	/* set of our witness, TTL 300 s */
	MCPROTO_ASK_RELOCK = 8192,	/* LOCK again, behind FLUSH */
	MCPROTO_ASK_SEEN = 16384	/* add of the marker: who flushed it has
					 * the first word */
};
#define MCPROTO_ASKS 0x7fffu

/* Mark keys, and as many for notes; a host uses those that a hash of its name
 * says.  A witness has its host's whole name. */
#define MCPROTO_MARKS 8u

#define MCPROTO_KEY_BYTES 250u		/* of a key, at most */
#define MCPROTO_HOST_MAX 64u
#define MCPROTO_CANARY_MAX 65536u
/* A request without CANARY fits; with it, canary_size more. */
#define MCPROTO_REQUEST_MAX 4096u

/* The texts that requests are made of.  Those that are not asked for may be
 * NULL. */
struct mcproto_terms {
	const char *user, *password;	/* LOGIN; no blanks, <= 255 */
	const char *canary_key;		/* of this host and daemon; <= 200 */
	uint32_t canary_size;		/* of its value: that, repeated */
	const char *maintenance_key;
	const char *host;		/* visible ASCII, <= MCPROTO_HOST_MAX:
					 * whose mark and lock */
};

/*
 * A host's word on a server, left in it.  Times are s, by the server's own
 * clock (stats' time).  What it means is recovery.h's matter.
 */
struct mcproto_mark {
	char host[MCPROTO_HOST_MAX + 1];	/* "": there is none */
	uint64_t time, since;
	uint64_t gap;			/* s */
};

/* What is one probe's own. */
struct mcproto_once {
	/* CANARY's key ends with it: what is left of another probe, be it a
	 * late one's, is never taken for this one's. */
	uint32_t canary;
	/* MARK, FLUSHED and SEEN; its host is that of the terms. */
	const struct mcproto_mark *mark;
};

/* The request for these asks, and its length; 0 where cap is too small.  once:
 * NULL without CANARY, MARK, FLUSHED and SEEN. */
size_t mcproto_write(char *buf, size_t cap, uint32_t asks,
    const struct mcproto_terms *t, const struct mcproto_once *once);
/* Bytes of it up to the end of CANARY's set. */
size_t mcproto_canary_set(uint32_t asks, const struct mcproto_terms *t,
    const struct mcproto_once *once);

/* "stats"; what was not sent is 0. */
struct mcproto_stats {
	uint64_t pid, uptime, time, cmd_flush, curr_items, threads,
	    curr_connections, max_connections, rejected_connections,
	    listen_disabled_num, accepting_conns, store_no_memory, evictions;
	bool whole;			/* END was reached */
};
enum mcproto_maintenance { MCPROTO_NO_KEY, MCPROTO_KEY_MAINT,
	MCPROTO_KEY_DRAIN };

/* What the answers said. */
struct mcproto_told {
	uint32_t answered;		/* asks that got their answer, any */
	uint32_t refused;		/* of them: an error */
	char version[32];		/* "" if not learnt, cut if longer */
	struct mcproto_stats stats;
	enum mcproto_maintenance maintenance;
	bool locked;			/* LOCK: it is ours now */
	bool flushed;			/* FLUSH: OK */
	bool no_memory;			/* CANARY: it has nowhere to store it */
	bool witness;			/* MARKS: ours is there */
	char owner[MCPROTO_HOST_MAX + 1];	/* of the lock; "": nobody */
	struct mcproto_mark mark[MCPROTO_MARKS], note[MCPROTO_MARKS];
	struct mcproto_mark marker;	/* who flushed it, and when */
};

enum mcproto_more { MCPROTO_MORE = -1 };	/* beside enum mcshm_reason */

#define MCPROTO_SAID 41u

/* The reply so far. */
struct mcproto_reply {
	uint32_t asks;			/* not answered yet */
	uint32_t weighs;		/* whose errors are the result */
	uint32_t left;			/* of a value, with its CRLF */
	uint32_t value_at;		/* of it came so far */
	uint16_t len;			/* of the line, or of the value kept */
	uint8_t part;			/* of CANARY: set, get, delete */
	uint8_t mark;			/* whose value it is, of MARKS: a mark,
					 * a note, the marker and so on; or 0 */
	uint8_t noted;			/* enum mcshm_reason so far */
	bool stored;			/* the canary */
	bool excess;			/* it is too long, or says again what it
					 * has said */
	uint32_t values;		/* that came in answer to this ask:
					 * bits, by mark */
	uint32_t all;			/* bytes of its lines so far */
	uint32_t canary;		/* as in the request; set it once it is
					 * expected */
	char line[MCPROTO_LINE_MAX];
	struct mcproto_told told;
	char said[MCPROTO_SAID];	/* of ERROR_REPLY, GARBAGE: how the line
					 * begins that is it, as far as it has
					 * come; "" where that is no line.  Any
					 * bytes: what we said may be among
					 * them, a password, too */
};
/* A reply to these asks (one at least) is to come. */
void mcproto_expect(struct mcproto_reply *r, uint32_t asks);

/*
 * Feed what has come in.  MCPROTO_MORE; or the result, once the last answer is
 * whole, or nothing better can come:
 *
 *	MCSHM_R_OK
 *	_UNAUTHENTICATED, _LOGIN_REFUSED, _MAXCONNS	at once: what else was
 *			asked gets no answer, or an end of file
 *	_NO_MEMORY	of CANARY's set
 *	_WRONG_VALUE	of CANARY's get; a miss is one, after STORED
 *	_ERROR_REPLY	ERROR, CLIENT_ERROR, SERVER_ERROR
 *	_GARBAGE	no memcached; bytes beyond the last answer; the same
 *			value twice; or a reply that is too long
 *
 * What a STAT line says is its server's own: any bytes, and any length.
 * After a result, feed no more.  It does not depend on how the bytes came in
 * pieces.  t: as the request was written with.
 */
int mcproto_feed(struct mcproto_reply *r, const struct mcproto_terms *t,
    const char *bytes, size_t len);
/* No more will come, or it is garbage: is what the probe is about answered, and
 * nothing missing but what was asked along?  Then the result is `noted`.  Not
 * so where the garbage is what was answered before: such a server is not in
 * step; nor where it goes on and on. */
bool mcproto_enough(const struct mcproto_reply *r);

/* Is it what a server that takes no more connections says to one?  It says so
 * before any TLS. */
bool mcproto_turns_away(const char *bytes, size_t len);

/* Server's side ----------------------------------------------------------- */

enum mcproto_command {
	MCPROTO_INCOMPLETE,	/* no whole request yet */
	MCPROTO_VERSION, MCPROTO_MN, MCPROTO_STATS, MCPROTO_QUIT,
	MCPROTO_GET, MCPROTO_SET, MCPROTO_ADD, MCPROTO_DELETE, MCPROTO_FLUSH,
	MCPROTO_OTHER		/* a whole line, of something else */
};

/* The arguments of a request; they lie in the buffer. */
struct mcproto_call {
	const char *key;	/* GET: all of them, blanks between */
	size_t key_len;
	int64_t exptime;	/* SET, ADD */
	const char *value;
	size_t value_len;
};

/* The first request in the buffer; *used: its bytes, 0 where incomplete. */
enum mcproto_command mcproto_request(const char *bytes, size_t len,
    size_t *used, struct mcproto_call *call);

#endif
