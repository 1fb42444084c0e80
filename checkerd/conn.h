/*
 * conn.h - one connection to a server: socket, source address, TLS, its end by
 * RST.
 *
 * Never waits.  Must not know the loop, a deadline or the protocol: who has a
 * connection watches its descriptor, and goes on when it is what it wants.
 */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "mcshm_format.h"	/* enum mcshm_reason */

struct tls_conn;
struct tls_peer;

/* Where to, and how.  Used in conn_open() only, but for tls. */
struct conn_place {
	const struct sockaddr *to;
	socklen_t len;
	const struct sockaddr *from;	/* source, of to's family; NULL: any */
	socklen_t from_len;
	struct tls_peer *tls;		/* NULL: plain */
};

struct conn {
	int fd;				/* -1: there is none */
	uint8_t phase;			/* enum, in conn.c */
	sa_family_t family;
	struct tls_peer *peer;
	struct tls_conn *tls;
};

/* What it waits for until it is ready. */
enum conn_state { CONN_READY, CONN_WANTS_READ, CONN_WANTS_WRITE, CONN_FAILED };

#define CONN_PLAIN 64

struct conn_failure {
	enum mcshm_reason reason;
	int sys_errno;			/* behind LOCAL, UNREACHABLE; or 0 */
	bool again;			/* what made it fail is gone: open it
					 * once more */
	bool refuses;			/* TLS_FAILED: it says so; */
	bool ours;			/* and that it is for our certificate, or
					 * for want of one */
	const char *why;		/* behind TLS_FAILED, for ever; or NULL */
	uint8_t plain_len;		/* TLS_FAILED: what it said that is no
					 * TLS, or how that begins; a line is
					 * waited for */
	char plain[CONN_PLAIN];
};

void conn_init(struct conn *c);
/* FAILED: *why, and there is no connection. */
/* No TLS is begun here: that takes its time, and is the caller's to put off. */
enum conn_state conn_open(struct conn *c, const struct conn_place *place,
    struct conn_failure *why);
/* What it wanted is there. */
enum conn_state conn_go_on(struct conn *c, struct conn_failure *why);
/* Is it?  For deadlines: a system call. */
bool conn_is_due(const struct conn *c, enum conn_state wants);
/* TLS has begun, and has not come to an end. */
bool conn_in_handshake(const struct conn *c);
/* It took too long: was there an answer to connect, and did that begin as
 * TLS? */
enum mcshm_reason conn_too_long(const struct conn *c);

/* As send() and recv(), without waiting. */
ssize_t conn_send(struct conn *c, const char *bytes, size_t len);
ssize_t conn_recv(struct conn *c, char *bytes, size_t len);
/* Bytes that no descriptor will tell of: receive again. */
bool conn_has_more(const struct conn *c);
/* Why it ended: an errno of theirs, 0: end of file. */
struct conn_failure conn_ended(const struct conn *c, int err);

/* Of a ready one: may it be told what only the server should know? */
bool conn_trusted(const struct conn *c);
/* Why not; for ever, NULL. */
const char *conn_why(const struct conn *c);
/* When its certificate ends, REALTIME s; 0: there is none. */
uint64_t conn_expiry(const struct conn *c);

/* With RST: a probed server shall not keep TIME_WAITs, and what it still has
 * to say is of no interest.  Not open: nothing. */
void conn_close(struct conn *c);
/* The same with FIN, which the kernel repeats until it has arrived. */
void conn_leave(struct conn *c);

#endif
