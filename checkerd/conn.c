/*
 * conn.c - one connection to a server: socket, source address, TLS, its end by
 * RST.
 */
#include "conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tls.h"

/* PLAIN: it has begun to say something that is no TLS. */
enum phase { PHASE_CONNECTING, PHASE_HANDSHAKE, PHASE_PLAIN, PHASE_READY };

void
conn_init(struct conn *c)
{
	*c = (struct conn){ .fd = -1 };
}

void
conn_leave(struct conn *c)
{
	if (c->fd < 0)
		return;
	tls_conn_free(c->tls);
	close(c->fd);
	conn_init(c);
}

/* Linger means nothing to a unix socket. */
void
conn_close(struct conn *c)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (c->fd >= 0 && c->family != AF_UNIX)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	conn_leave(c);
}

/* What connect() said at once: whatever did not come from a server is ours. */
static enum mcshm_reason
reason_at_once(int family, int err)
{
	switch (err) {
	case ECONNREFUSED:
		return MCSHM_R_REFUSED;
	case ECONNRESET:
		return MCSHM_R_RESET;
	case ENOENT:
		return family == AF_UNIX ? MCSHM_R_NO_SOCKET : MCSHM_R_LOCAL;
	case EAGAIN:		/* unix: its backlog is full */
		return family == AF_UNIX ? MCSHM_R_CONNECT_TIMEOUT :
		    MCSHM_R_LOCAL;
	}
	return MCSHM_R_LOCAL;
}

/* What the network, or TLS, reported later. */
static enum mcshm_reason
reason_later(int err, enum mcshm_reason timeout)
{
	switch (err) {
	case 0:
		return MCSHM_R_CLOSED;
	case ECONNREFUSED:
		return MCSHM_R_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return MCSHM_R_RESET;
	case EPROTO:
		return MCSHM_R_TLS_FAILED;
	case ETIMEDOUT:
		return timeout;
	case ENOBUFS:
	case ENOMEM:
	case ENETDOWN:
	case EADDRNOTAVAIL:
	case EPERM:		/* a packet filter, on the way out */
		return MCSHM_R_LOCAL;
	}
	return MCSHM_R_UNREACHABLE;
}

/* The reader of a log wants the errno where the reason says nothing of it. */
static struct conn_failure
failure(enum mcshm_reason reason, int err)
{
	const bool says = reason == MCSHM_R_LOCAL ||
	    reason == MCSHM_R_UNREACHABLE;

	return (struct conn_failure){ .reason = reason,
		.sys_errno = says ? err : 0 };
}

struct conn_failure
conn_ended(const struct conn *c, int err)
{
	struct conn_failure why = failure(reason_later(err, MCSHM_R_TIMEOUT),
	    err);

	if (c->tls != NULL && why.reason == MCSHM_R_TLS_FAILED) {
		why.refuses = tls_alert(c->tls) != TLS_NO_ALERT;
		why.ours = tls_alert(c->tls) == TLS_ALERT_OURS;
		why.why = tls_why(c->tls);
	}
	return why;
}

static enum conn_state
conn_fail(struct conn *c, struct conn_failure *why, enum mcshm_reason reason,
    int err)
{
	*why = failure(reason, err);
	conn_close(c);
	return CONN_FAILED;
}

/* TLS came to nothing.  Only TLS can be at odds with a session, not who speaks
 * something else; and that may come in pieces. */
static enum conn_state
conn_no_tls(struct conn *c, struct conn_failure *why, int err)
{
	char plain[CONN_PLAIN];
	bool more;
	const size_t len = tls_plain(c->tls, plain, sizeof plain, &more);

	if (more) {
		c->phase = PHASE_PLAIN;
		return CONN_WANTS_READ;
	}
	*why = len == 0 ? conn_ended(c, err) :
	    (struct conn_failure){ .reason = MCSHM_R_TLS_FAILED,
		.why = "it does not speak TLS" };
	why->again = err == EPROTO && len == 0 && tls_forget(c->tls);
	why->plain_len = (uint8_t)len;
	memcpy(why->plain, plain, len);
	conn_close(c);
	return CONN_FAILED;
}

static enum conn_state
conn_handshake(struct conn *c, struct conn_failure *why)
{
	switch (tls_handshake(c->tls)) {
	case TLS_READY:
		c->phase = PHASE_READY;
		return CONN_READY;
	case TLS_WANTS_READ:
		return CONN_WANTS_READ;
	case TLS_WANTS_WRITE:
		return CONN_WANTS_WRITE;
	case TLS_FAILED:
		break;
	}
	return conn_no_tls(c, why, errno);
}

static enum conn_state
conn_connected(struct conn *c, struct conn_failure *why)
{
	if (c->peer == NULL) {
		c->phase = PHASE_READY;
		return CONN_READY;
	}
	c->phase = PHASE_HANDSHAKE;
	c->tls = tls_conn_new(c->peer, c->fd);
	if (c->tls == NULL)
		return conn_fail(c, why, MCSHM_R_LOCAL, ENOMEM);
	return conn_handshake(c, why);
}

/* No port is taken before connect() knows the other end: as many connections
 * as ever may come from one address. */
static int
conn_bind(const struct conn *c, const struct conn_place *place)
{
	const int on = 1;

	if (place->from == NULL)
		return 0;
	setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
	return bind(c->fd, place->from, place->from_len);
}

enum conn_state
conn_open(struct conn *c, const struct conn_place *place,
    struct conn_failure *why)
{
	const int on = 1;
	int err;

	conn_init(c);
	c->family = place->to->sa_family;
	c->peer = place->tls;
	c->phase = PHASE_CONNECTING;
	c->fd = socket(c->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
	    0);
	if (c->fd < 0 || conn_bind(c, place) < 0)
		return conn_fail(c, why, MCSHM_R_LOCAL, errno);
	if (c->family != AF_UNIX)
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	err = connect(c->fd, place->to, place->len) == 0 ? 0 : errno;
	if (err == EINPROGRESS || (err == 0 && c->peer != NULL))
		return CONN_WANTS_WRITE;
	if (err == 0)
		return conn_connected(c, why);
	return conn_fail(c, why, reason_at_once(c->family, err), err);
}

enum conn_state
conn_go_on(struct conn *c, struct conn_failure *why)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (c->phase == PHASE_HANDSHAKE)
		return conn_handshake(c, why);
	if (c->phase == PHASE_PLAIN)
		return conn_no_tls(c, why, EPROTO);
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err != 0)
		return conn_fail(c, why, reason_later(err,
		    MCSHM_R_CONNECT_TIMEOUT), err);
	return conn_connected(c, why);
}

bool
conn_is_due(const struct conn *c, enum conn_state wants)
{
	struct pollfd p = { .fd = c->fd,
		.events = wants == CONN_WANTS_READ ? POLLIN : POLLOUT };

	return poll(&p, 1, 0) > 0;
}

bool
conn_in_handshake(const struct conn *c)
{
	return c->phase == PHASE_HANDSHAKE || c->phase == PHASE_PLAIN;
}

enum mcshm_reason
conn_too_long(const struct conn *c)
{
	switch ((enum phase)c->phase) {
	case PHASE_CONNECTING:
		return MCSHM_R_CONNECT_TIMEOUT;
	case PHASE_PLAIN:
		return MCSHM_R_TLS_FAILED;
	case PHASE_HANDSHAKE:
	case PHASE_READY:
		break;
	}
	return MCSHM_R_TIMEOUT;
}

ssize_t
conn_send(struct conn *c, const char *bytes, size_t len)
{
	if (c->tls != NULL)
		return tls_send(c->tls, bytes, len);
	return send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t
conn_recv(struct conn *c, char *bytes, size_t len)
{
	if (c->tls != NULL)
		return tls_recv(c->tls, bytes, len);
	return recv(c->fd, bytes, len, MSG_DONTWAIT);
}

bool
conn_has_more(const struct conn *c)
{
	return c->tls != NULL && tls_has_more(c->tls);
}

bool
conn_trusted(const struct conn *c)
{
	return c->tls == NULL || tls_trusted(c->tls);
}

const char *
conn_why(const struct conn *c)
{
	return c->tls != NULL ? tls_why(c->tls) : NULL;
}

uint64_t
conn_expiry(const struct conn *c)
{
	return c->tls != NULL ? tls_expiry(c->tls) : 0;
}
