/*
 * scan.c - some new connections to one server at once, each asked once.
 *
 *	       all connected, or          all answered, or
 *	       connect_timeout            timeout
 *	CONNECTING ----------> ASKING ----------------> done()
 *
 * Must not believe, log or read the clock; deadlines are the loop's timer.
 */
#include "scan.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

static void scan_on_io(struct ev_loop *loop, ev_io *io, int events);

/* One connection ----------------------------------------------------------- */

/* Lines are touched when they are used first: few servers have many workers. */
static void
line_init(struct scan_line *l, struct scan *s)
{
	l->scan = s;
	l->connecting = false;
	conn_init(&l->conn);
	ev_init(&l->io, scan_on_io);
	l->io.data = l;
}

/* It is over, and counts as this. */
static void
line_end(struct scan_line *l, uint32_t *count)
{
	struct scan *s = l->scan;

	++*count;
	ev_io_stop(s->loop, &l->io);
	conn_close(&l->conn);
	s->open--;
	s->connecting -= l->connecting;
	l->connecting = false;
}

static void
line_wait(struct scan_line *l, int events)
{
	ev_io_stop(l->scan->loop, &l->io);
	ev_io_set(&l->io, l->conn.fd, events);
	ev_io_start(l->scan->loop, &l->io);
}

static void
line_failed(struct scan_line *l, const struct conn_failure *why)
{
	struct scan_result *r = &l->scan->result;
	const bool far = why->reason == MCSHM_R_CONNECT_TIMEOUT ||
	    why->reason == MCSHM_R_TIMEOUT ||
	    why->reason == MCSHM_R_UNREACHABLE;
	/* Where it may be tried again, a session of ours was the trouble. */
	const bool ours = why->reason == MCSHM_R_LOCAL || why->again;
	const bool tls = why->reason == MCSHM_R_TLS_FAILED;
	uint32_t *const count =
	    mcproto_turns_away(why->plain, why->plain_len) ? &r->full :
	    far ? &r->unreached : ours ? &r->failed :
	    tls ? &r->no_tls : &r->proof;

	if (count == &r->no_tls)
		r->why = why->why;
	line_end(l, count);
}

static bool line_read(struct scan_line *l);

/* It does not take the request.  Before it hung up it may have answered. */
static void
line_unsent(struct scan_line *l, ssize_t sent)
{
	const int err = errno;
	struct conn_failure why;

	if (sent >= 0 || err == EAGAIN || err == EINTR) {
		line_end(l, &l->scan->result.failed);
	} else if (!line_read(l)) {
		why = conn_ended(&l->conn, err);
		line_failed(l, &why);
	}
}

/* No password for who may be somebody else: an answer is all that is wanted. */
static void
line_ask(struct scan_line *l)
{
	const struct scan *s = l->scan;
	const size_t skip = conn_trusted(&l->conn) ? 0 : s->login;
	const ssize_t len = (ssize_t)(s->len - skip);
	ssize_t sent;

	l->connecting = false;
	l->scan->connecting--;
	line_wait(l, EV_READ);
	mcproto_expect(&l->reply, MCPROTO_ASK_VERSION |
	    (s->login != skip ? MCPROTO_ASK_LOGIN : 0));
	sent = conn_send(&l->conn, s->request + skip, (size_t)len);
	if (sent != len)
		line_unsent(l, sent);
}

static void
line_connect(struct scan_line *l, enum conn_state state,
    const struct conn_failure *why)
{
	l->wants = (uint8_t)state;
	switch (state) {
	case CONN_READY:
		line_ask(l);
		return;
	case CONN_WANTS_READ:
		line_wait(l, EV_READ);
		return;
	case CONN_WANTS_WRITE:
		line_wait(l, EV_WRITE);
		return;
	case CONN_FAILED:
		line_failed(l, why);
		return;
	}
}

static void
line_open(struct scan_line *l, const struct conn_place *place)
{
	struct conn_failure why;

	l->connecting = true;
	l->scan->connecting++;
	l->scan->open++;
	line_connect(l, conn_open(&l->conn, place, &why), &why);
}

static void
line_go_on(struct scan_line *l)
{
	struct conn_failure why;

	/* Who fails is closed, and its watcher must not outlive it. */
	ev_io_stop(l->scan->loop, &l->io);
	line_connect(l, conn_go_on(&l->conn, &why), &why);
}

/* False: nothing decided. */
static bool
line_read(struct scan_line *l)
{
	const struct mcproto_terms none = { 0 };	/* to compare with */
	struct scan_result *r = &l->scan->result;
	char bytes[MCPROTO_LINE_MAX];
	const ssize_t n = conn_recv(&l->conn, bytes, sizeof bytes);
	struct conn_failure why;
	int got;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		why = conn_ended(&l->conn, n < 0 ? errno : 0);
		line_failed(l, &why);
		return true;
	}
	got = mcproto_feed(&l->reply, &none, bytes, (size_t)n);
	if (got == MCPROTO_MORE)
		return conn_has_more(&l->conn) && line_read(l);
	line_end(l, got == MCSHM_R_MAXCONNS ? &r->full : &r->answered);
	return true;
}

/* The other host has all that was sent.  A unix socket's is this one. */
static bool
line_is_heard(const struct scan_line *l)
{
	int unsent = 0;

	return l->conn.family == AF_UNIX ||
	    ioctl(l->conn.fd, SIOCOUTQ, &unsent) < 0 || unsent == 0;
}

/* Time is over; but what has come in by now has come in time. */
static void
line_judge(struct scan_line *l)
{
	struct scan_result *r = &l->scan->result;

	if (!line_read(l))
		line_end(l, line_is_heard(l) ? &r->silent : &r->unreached);
}

/* The scan ----------------------------------------------------------------- */

static bool
line_is_open(const struct scan_line *l)
{
	return l->conn.fd >= 0;
}

static void
scan_arm(struct scan *s, double seconds)
{
	ev_timer_stop(s->loop, &s->timer);
	ev_timer_set(&s->timer, seconds, 0.);
	ev_timer_start(s->loop, &s->timer);
}

/* *s may be gone, or under way again, when it returns. */
static void
scan_finish(struct scan *s)
{
	const struct scan_result r = s->result;

	ev_timer_stop(s->loop, &s->timer);
	s->busy = false;
	s->done(s, &r);
}

/* After any news of a line. */
static void
scan_go_on(struct scan *s)
{
	if (s->open == 0) {
		scan_finish(s);
	} else if (s->connecting == 0 && !s->asking) {
		s->asking = true;
		scan_arm(s, s->timeout);
	}
}

static void
scan_on_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct scan_line *l = io->data;

	(void)loop;
	(void)events;
	if (l->connecting)
		line_go_on(l);
	else
		line_read(l);
	scan_go_on(l->scan);
}

/* Who is not connected by now will not be. */
static void
scan_stop_connecting(struct scan *s)
{
	for (uint32_t i = 0; i < s->result.asked; i++) {
		struct scan_line *l = &s->line[i];

		if (l->connecting && conn_is_due(&l->conn,
		    (enum conn_state)l->wants))
			line_go_on(l);
		if (l->connecting)
			line_end(l, conn_too_long(&l->conn) ==
			    MCSHM_R_TLS_FAILED ? &s->result.no_tls :
			    &s->result.unreached);
	}
}

static void
scan_on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct scan *s = timer->data;

	(void)loop;
	(void)events;
	if (s->connecting != 0) {
		scan_stop_connecting(s);
	} else {
		for (uint32_t i = 0; i < s->result.asked; i++)
			if (line_is_open(&s->line[i]))
				line_judge(&s->line[i]);
	}
	scan_go_on(s);
}

void
scan_init(struct scan *s, struct ev_loop *loop, scan_done_fn *done)
{
	s->loop = loop;
	s->done = done;
	s->busy = false;
	ev_init(&s->timer, scan_on_timer);
	s->timer.data = s;
}

static void
scan_write(struct scan *s, const struct scan_task *task)
{
	s->login = !task->login ? 0 : mcproto_write(s->request,
	    sizeof s->request, MCPROTO_ASK_LOGIN, task->terms, 0);
	s->len = s->login + mcproto_write(s->request + s->login,
	    sizeof s->request - s->login, MCPROTO_ASK_VERSION, task->terms, 0);
}

void
scan_start(struct scan *s, const struct scan_task *task)
{
	assert(!s->busy);
	assert(task->connections > 0 && task->connections <= SCAN_MOST);
	scan_write(s, task);
	s->timeout = (double)task->timeout / 1e9;
	s->result = (struct scan_result){ .asked = task->connections };
	s->busy = true;
	s->open = s->connecting = 0;
	for (uint32_t i = 0; i < task->connections; i++) {
		line_init(&s->line[i], s);
		line_open(&s->line[i], &task->place);
	}
	s->asking = s->connecting == 0;
	/* Where none is left, that is told at the next turn of the loop. */
	scan_arm(s, s->open == 0 ? 0. : s->asking ? s->timeout :
	    (double)task->connect_timeout / 1e9);
}

bool
scan_busy(const struct scan *s)
{
	return s->busy;
}

void
scan_drop(struct scan *s)
{
	if (!s->busy)
		return;
	ev_timer_stop(s->loop, &s->timer);
	for (uint32_t i = 0; i < s->result.asked; i++) {
		ev_io_stop(s->loop, &s->line[i].io);
		conn_close(&s->line[i].conn);
	}
	s->busy = false;
}
