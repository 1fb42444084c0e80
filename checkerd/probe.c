/*
 * probe.c - one try at one server.
 *
 *	         kept connection
 *	IDLE ------------------------> WAITING --> done(), IDLE
 *	  \                            ^    |
 *	   \--> CONNECTING -----------/     | kept one ended: once
 *	            |  ^--------------------/
 *	            v
 *	         FAILED --> done(), IDLE	(at the next turn of the loop)
 *
 * Must not believe, log or read the clock; the deadline is the loop's timer.
 * A kept connection costs two system calls a probe beside the loop's own: one
 * send, one recv.
 */
#include "probe.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum phase { PHASE_IDLE, PHASE_CONNECTING, PHASE_WAITING, PHASE_FAILED };

/* Close with RST: a probed server shall not keep TIME_WAITs, and what it still
 * has to say is of no interest.  Means nothing to a unix socket. */
static void
probe_hang_up(struct probe *p)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (p->fd < 0)
		return;
	ev_io_stop(p->loop, &p->io);
	setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(p->fd);
	p->fd = -1;
}

static void
probe_arm(struct probe *p, double seconds)
{
	ev_timer_stop(p->loop, &p->timer);
	ev_timer_set(&p->timer, seconds, 0.);
	ev_timer_start(p->loop, &p->timer);
}

static void
probe_listen(struct probe *p, int events)
{
	ev_io_stop(p->loop, &p->io);
	ev_io_set(&p->io, p->fd, events);
	ev_io_start(p->loop, &p->io);
}

static bool
keeps_connection(enum mcshm_reason reason)
{
	return reason == MCSHM_R_OK || reason == MCSHM_R_UNAUTHENTICATED;
}

/* The end of a probe.  *p may be gone, or under way again, when it returns. */
static void
probe_finish(struct probe *p, enum mcshm_reason reason)
{
	struct probe_result r = p->result;

	r.reason = reason;
	r.fresh = p->fresh;
	ev_timer_stop(p->loop, &p->timer);
	p->phase = PHASE_IDLE;
	if (!keeps_connection(reason))
		probe_hang_up(p);
	p->done(p, &r);
}

/* A failure that may have come up within probe_start(): told by the timer. */
static void
probe_fail(struct probe *p, enum mcshm_reason reason, int sys_errno)
{
	probe_hang_up(p);
	p->result.reason = reason;
	if (reason == MCSHM_R_LOCAL || reason == MCSHM_R_UNREACHABLE)
		p->result.sys_errno = sys_errno;
	p->phase = PHASE_FAILED;
	probe_arm(p, 0.);
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

/* What the network reported later. */
static enum mcshm_reason
reason_later(int err, enum mcshm_reason timeout)
{
	switch (err) {
	case ECONNREFUSED:
		return MCSHM_R_REFUSED;
	case ECONNRESET:
	case EPIPE:
		return MCSHM_R_RESET;
	case ETIMEDOUT:
		return timeout;
	case ENOBUFS:
	case ENOMEM:
	case ENETDOWN:
		return MCSHM_R_LOCAL;
	}
	return MCSHM_R_UNREACHABLE;
}

static void probe_send(struct probe *p);

/* There is a connection: from now on it is `timeout`, but for a probe that
 * goes on with the deadline that it had. */
static void
probe_established(struct probe *p)
{
	probe_listen(p, EV_READ);
	if (!p->again || !ev_is_active(&p->timer))
		probe_arm(p, p->timeout);
	probe_send(p);
}

static void
probe_connect(struct probe *p)
{
	const struct sockaddr *sa = (const struct sockaddr *)&p->server;
	const int on = 1;
	int err;

	p->fresh = true;
	p->fd = socket(sa->sa_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0) {
		probe_fail(p, MCSHM_R_LOCAL, errno);
		return;
	}
	if (sa->sa_family != AF_UNIX)
		setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (connect(p->fd, sa, p->len) == 0) {
		probe_established(p);
		return;
	}
	err = errno;
	if (err != EINPROGRESS) {
		probe_fail(p, reason_at_once(sa->sa_family, err), err);
		return;
	}
	p->phase = PHASE_CONNECTING;
	probe_listen(p, EV_WRITE);
}

/*
 * The connection ended (err 0: end of file).  A kept one that ends before a
 * byte of the reply may have been ended for idleness, or by a restart that is
 * long over: only a new one proves anything.
 */
static void
probe_broken(struct probe *p, int err)
{
	if (!p->fresh && p->reply.len == 0) {
		probe_hang_up(p);
		p->again = true;
		if (!ev_is_active(&p->timer)) {	/* seen at the deadline */
			p->again = false;
			probe_arm(p, p->connect_timeout);
		}
		probe_connect(p);
		return;
	}
	probe_fail(p, err == 0 ? MCSHM_R_CLOSED :
	    reason_later(err, MCSHM_R_TIMEOUT), err);
}

static void
probe_send(struct probe *p)
{
	ssize_t n;

	p->phase = PHASE_WAITING;
	n = send(p->fd, mcproto_version_request, MCPROTO_VERSION_REQUEST_LEN,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n == MCPROTO_VERSION_REQUEST_LEN)
		return;
	/* An empty send queue that does not take nine bytes: no memory. */
	probe_broken(p, n < 0 && errno != EAGAIN ? errno : ENOBUFS);
}

static void
probe_connected(struct probe *p)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		err = errno;
	if (err != 0) {
		probe_fail(p, reason_later(err, MCSHM_R_CONNECT_TIMEOUT), err);
		return;
	}
	probe_established(p);
}

/* One recv.  False: nothing decided, go on waiting; else *p is not to be
 * touched any more. */
static bool
probe_receive(struct probe *p)
{
	char bytes[MCPROTO_LINE_MAX];
	const ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
	int got;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		probe_broken(p, n < 0 ? errno : 0);
		return true;
	}
	got = mcproto_feed(&p->reply, bytes, (size_t)n, p->result.version);
	if (got == MCPROTO_MORE)
		return false;
	probe_finish(p, (enum mcshm_reason)got);
	return true;
}

/* An idle connection has nothing to say: it ended, or is out of step. */
static void
probe_unasked(struct probe *p)
{
	char byte;

	if (recv(p->fd, &byte, 1, MSG_DONTWAIT) < 0 &&
	    (errno == EAGAIN || errno == EINTR))
		return;
	probe_hang_up(p);
	p->lost(p);
}

static void
probe_on_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct probe *p = io->data;

	(void)loop;
	(void)events;
	switch ((enum phase)p->phase) {
	case PHASE_IDLE:
		probe_unasked(p);
		return;
	case PHASE_CONNECTING:
		probe_connected(p);
		return;
	case PHASE_WAITING:
		probe_receive(p);
		return;
	case PHASE_FAILED:
		return;
	}
}

/* The deadline; but what has come in by now has come in time: it may be we who
 * are late. */
static void
probe_on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct probe *p = timer->data;
	struct pollfd writable = { .fd = p->fd, .events = POLLOUT };

	(void)loop;
	(void)events;
	switch ((enum phase)p->phase) {
	case PHASE_IDLE:
		return;
	case PHASE_FAILED:
		probe_finish(p, p->result.reason);
		return;
	case PHASE_CONNECTING:
		if (poll(&writable, 1, 0) > 0)
			probe_connected(p);
		else
			probe_finish(p, MCSHM_R_CONNECT_TIMEOUT);
		return;
	case PHASE_WAITING:
		if (!probe_receive(p))
			probe_finish(p, MCSHM_R_TIMEOUT);
		return;
	}
}

void
probe_init(struct probe *p, struct ev_loop *loop, probe_done_fn *done,
    probe_lost_fn *lost)
{
	memset(p, 0, sizeof *p);
	p->loop = loop;
	p->done = done;
	p->lost = lost;
	p->fd = -1;
	ev_init(&p->io, probe_on_io);
	ev_init(&p->timer, probe_on_timer);
	p->io.data = p->timer.data = p;
}

void
probe_start(struct probe *p, const struct probe_task *task)
{
	assert(p->phase == PHASE_IDLE);
	assert(task->len <= sizeof p->server);
	memcpy(&p->server, &task->to, task->len);
	p->len = task->len;
	p->connect_timeout = (double)task->connect_timeout / 1e9;
	p->timeout = (double)task->timeout / 1e9;
	p->fresh = p->again = false;
	p->reply.len = 0;
	p->result = (struct probe_result){ .reason = MCSHM_R_OK };
	if (p->fd >= 0) {
		probe_arm(p, p->timeout);
		probe_send(p);
	} else {
		probe_arm(p, p->connect_timeout);
		probe_connect(p);
	}
}

bool
probe_busy(const struct probe *p)
{
	return p->phase != PHASE_IDLE;
}

void
probe_drop(struct probe *p)
{
	ev_timer_stop(p->loop, &p->timer);
	probe_hang_up(p);
	p->phase = PHASE_IDLE;
}
