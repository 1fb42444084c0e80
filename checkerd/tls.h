/*
 * tls.h - TLS on a socket that is there already, without waiting.
 *
 * Must not connect, log or read the clock.  OpenSSL's names stay in tls.c;
 * where OpenSSL is missing, tls_none.c is built instead, and tls_open() says
 * so.
 *
 * A certificate that is not trusted ends no handshake: whoever asks may know
 * that the server lives.  What must not be said to it is the caller's to
 * know: tls_trusted().
 */
#ifndef TLS_H
#define TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tls;			/* what a pool wants: certificates, checks */
struct tls_peer;		/* a server: its name, the session to resume */
struct tls_conn;		/* a connection to it */

#define TLS_WHY 400		/* bytes of a text that says why not */

/* Paths; NULL: none.  No ca: those that the system trusts. */
struct tls_setup {
	const char *ca, *cert, *key;
	bool verify;
	bool look;			/* at the files; it is for no server, and
					 * what the system trusts, which takes
					 * its time, is not read */
};

/* Read the files.  0; or -1, and why names the first that is wrong: "tls_ca =
 * PATH is ...; what would be right".  A certificate without its key, or a key
 * without its certificate, is good for being looked at only. */
int tls_open(struct tls **t, const struct tls_setup *s, char why[TLS_WHY]);
void tls_close(struct tls *t);
#define TLS_ENDS_SOON (7 * 86400u)	/* s; of any certificate */

/* From when until when our certificate is good, REALTIME s; none of ours: for
 * ever. */
struct tls_span {
	uint64_t from, until;
};
struct tls_span tls_span(const struct tls *t);
/* Made of the same files, with the same in them? */
bool tls_same(const struct tls *a, const struct tls *b);

/* name: for SNI, and what its certificate must say; an address has no SNI.
 * "": the certificate may say any.  NULL: no memory. */
struct tls_peer *tls_peer_new(struct tls *t, const char *name);
void tls_peer_free(struct tls_peer *p);

/*
 * A resumed session shows the certificate of its first handshake.  So one is
 * resumed so often, then there is a whole handshake; and one with a certificate
 * that is not trusted is not kept.  Who must know now forgets it: the next
 * connection is made anew.
 */
#define TLS_RESUMED_MAX 16u
/* Where resuming failed, so many connections do without. */
#define TLS_ALONE 64u
void tls_peer_anew(struct tls_peer *p);

/* On a connected socket, which stays the caller's.  NULL: no memory. */
struct tls_conn *tls_conn_new(struct tls_peer *p, int fd);
void tls_conn_free(struct tls_conn *c);

enum tls_state { TLS_READY, TLS_WANTS_READ, TLS_WANTS_WRITE, TLS_FAILED };
/* FAILED: errno; 0 for end of file, EPROTO for what is no TLS, or refuses us. */
enum tls_state tls_handshake(struct tls_conn *c);
/* It failed: how the server began that does not speak TLS, up to size bytes of
 * it; 0 where it said nothing, or TLS.  *more: that is text, and the rest of its
 * line is still to come; ask again when there is something to read. */
size_t tls_plain(struct tls_conn *c, char *bytes, size_t size, bool *more);
/* It failed: may the session that was to be resumed be to blame?  Once a
 * connection.  Then that is forgotten, and for some time no other is kept: try
 * again. */
bool tls_forget(struct tls_conn *c);
/* As send() and recv(); EPROTO where it is not TLS, or refuses us: with TLS 1.3
 * it looks at our certificate after the handshake. */
ssize_t tls_send(struct tls_conn *c, const char *bytes, size_t len);
ssize_t tls_recv(struct tls_conn *c, char *bytes, size_t len);
/* Has it read more than it gave? */
bool tls_has_more(const struct tls_conn *c);

/* After the handshake: is its certificate trusted (or not to be verified), and
 * when does it end, REALTIME s, 0 if it has none? */
bool tls_trusted(const struct tls_conn *c);
uint64_t tls_expiry(const struct tls_conn *c);
/* EPROTO: did the server say that it refuses us, and is it for our certificate,
 * which it does not take, or for want of one? */
enum tls_alert { TLS_NO_ALERT, TLS_ALERT, TLS_ALERT_OURS };
enum tls_alert tls_alert(const struct tls_conn *c);
/* What was wrong: with TLS, where that failed; else with the certificate, which
 * is not trusted.  OpenSSL's words, for ever; NULL: nothing that has any. */
const char *tls_why(const struct tls_conn *c);

#endif
