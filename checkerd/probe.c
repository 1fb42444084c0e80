/*
 * probe.c - one try at one server.
 *
 *	         kept connection
 *	IDLE ------------------------> WAITING --> done(), IDLE
 *	  \                            ^    |
 *	   \--> CONNECTING -----------/     | kept one ended: once
 *	        ^   |  ^--------------------/
 *	QUEUED -+   v
 *	         DECIDED --> done(), IDLE	(at the next turn of the loop)
 *
 * Must not believe, log or read the clock; the deadline is the loop's timer.
 * A kept connection costs two system calls a probe beside the loop's own: one
 * send, one recv.  Its descriptor is registered once, for as long as it lives.
 */
#include "probe.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum phase { PHASE_IDLE, PHASE_CONNECTING, PHASE_QUEUED, PHASE_WAITING,
	PHASE_DECIDED };

/* Others wait for it for so long and no more: asked in its time, or not at
 * all.  They are few, and wait for nobody. */
#define NEVER_LATE (MCPROTO_ASK_FLUSH | MCPROTO_ASK_UNLOCK)
/* Flights of ours in a handshake, of whichever version; each may come late. */
#define FLIGHTS 3
/* Of TLS, a turn of the loop: a few milliseconds at most. */
#define STEPS_A_TURN 8

/* What has come of a reply: from its first byte to the result. */
struct probe_answer {
	struct probe_answer *next;
	struct mcproto_reply reply;
};

#define ANSWERS_A_CHUNK 64
struct chunk {
	struct chunk *next;
	struct probe_answer answer[ANSWERS_A_CHUNK];
};

/*
 * As many answers as there are probes, all that may be needed at once; few are,
 * and who is given back last is taken first: the others are never touched.
 */
struct probes {
	struct ev_loop *loop;
	ev_timer steps;			/* of TLS, in the next turn */
	uint32_t turns;			/* so many had some */
	TAILQ_HEAD(probe_queue, probe) going, starting;
	uint32_t probes, answers;
	struct chunk *chunks;
	struct probe_answer *rest;
	uint32_t untouched;		/* of the newest chunk */
	char in[16384];
	char out[MCPROTO_REQUEST_MAX + MCPROTO_CANARY_MAX];
};

static const struct mcproto_told told_nothing;

/* Shared memory of probes -------------------------------------------------- */

static void on_steps(struct ev_loop *loop, ev_timer *timer, int events);

struct probes *
probes_open(struct ev_loop *loop)
{
	struct probes *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->loop = loop;
	TAILQ_INIT(&s->going);
	TAILQ_INIT(&s->starting);
	ev_timer_init(&s->steps, on_steps, 0., 0.);
	s->steps.data = s;
	return s;
}

void
probes_close(struct probes *s)
{
	struct chunk *c;

	if (s == NULL)
		return;
	assert(s->probes == 0);
	ev_timer_stop(s->loop, &s->steps);
	while ((c = s->chunks) != NULL) {
		s->chunks = c->next;
		free(c);
	}
	free(s);
}

static struct probe_answer *
answer_take(struct probes *s)
{
	struct probe_answer *a = s->rest;

	if (a != NULL) {
		s->rest = a->next;
		return a;
	}
	assert(s->untouched > 0);
	return &s->chunks->answer[--s->untouched];
}

static void
answer_give(struct probes *s, struct probe_answer *a)
{
	if (a == NULL)
		return;
	a->next = s->rest;
	s->rest = a;
}

/* One more probe: is there an answer for it? */
static int
probes_grow(struct probes *s)
{
	struct chunk *c;

	if (s->probes == s->answers) {
		c = malloc(sizeof *c);
		if (c == NULL)
			return ENOMEM;
		while (s->untouched > 0)
			answer_give(s, &s->chunks->answer[--s->untouched]);
		c->next = s->chunks;
		s->chunks = c;
		s->untouched = ANSWERS_A_CHUNK;
		s->answers += ANSWERS_A_CHUNK;
	}
	s->probes++;
	return 0;
}

/* Ends -------------------------------------------------------------------- */

static struct conn *
conn_now(struct probe *p)
{
	return &p->conn[p->now].conn;
}

static void
probe_hang_up(struct probe *p, int which)
{
	struct probe_conn *c = &p->conn[which];

	ev_io_stop(p->probes->loop, &c->io);
	conn_close(&c->conn);
}

static void
probe_arm(struct probe *p, double seconds)
{
	struct ev_loop *loop = p->probes->loop;

	ev_timer_stop(loop, &p->timer);
	ev_timer_set(&p->timer, seconds, 0.);
	ev_timer_start(loop, &p->timer);
}

static void
probe_listen(struct probe *p, int events)
{
	struct probe_conn *c = &p->conn[p->now];

	ev_io_stop(p->probes->loop, &c->io);
	ev_io_set(&c->io, c->conn.fd, events);
	ev_io_start(p->probes->loop, &c->io);
}

static bool
is_good(enum mcshm_reason reason)
{
	return reason == MCSHM_R_OK || reason == MCSHM_R_NO_MEMORY ||
	    reason == MCSHM_R_UNAUTHENTICATED ||
	    reason == MCSHM_R_LOGIN_REFUSED;
}

/* May the next probe go on it?  Only one that is in step: it has nothing more
 * to say. */
static bool
keeps_connection(const struct probe *p, enum mcshm_reason reason)
{
	if (p->answer == NULL || !p->asked)
		return false;
	return is_good(reason) && (p->answer->reply.asks == 0 ||
	    (p->asks & (p->asks - 1)) == 0);
}

/*
 * Of a kept connection that fell silent: a RST may be lost on the way, too, and
 * is not sent again.  The server would keep its end, and the port would be ours
 * to use again, for a connect that fails then.  The kernel sees a FIN through;
 * but with it all that was asked, however late: what must not come late is
 * taken back by RST, from wherever it is but the server's own receive queue.
 */
static void
probe_leave(struct probe *p)
{
	struct probe_conn *c = &p->conn[p->now];

	if (p->asks & NEVER_LATE) {
		probe_hang_up(p, p->now);
		return;
	}
	ev_io_stop(p->probes->loop, &c->io);
	conn_leave(&c->conn);
}

/* The connections after the probe. */
static void
probe_settle(struct probe *p, enum mcshm_reason reason)
{
	const bool beside = p->now != p->kept;

	if (!keeps_connection(p, reason)) {
		if (reason == MCSHM_R_TIMEOUT && !p->fresh)
			probe_leave(p);
		else
			probe_hang_up(p, p->now);
		p->result.kept = beside && probe_has_connection(p);
	} else if (beside) {
		probe_hang_up(p, p->kept);
		p->kept = p->now;
	}
	p->now = p->kept;
}

/* Whoever was told one may say it again: as an echo, or in an error that has the
 * words which it does not know. */
static bool
knows_password(const struct probe *p)
{
	return p->task.terms != NULL && p->task.terms->user != NULL;
}

/* The end of a probe.  *p may be gone, or under way again, when it returns. */
static void
probe_finish(struct probe *p, enum mcshm_reason reason)
{
	struct probes *s = p->probes;
	struct probe_answer *answer = p->answer;
	struct probe_result r;

	ev_timer_stop(s->loop, &p->timer);
	p->result.reason = reason;
	p->result.fresh = p->fresh;
	if (answer != NULL)
		p->result.told = &answer->reply.told;
	if (answer != NULL && !knows_password(p))
		p->result.said = answer->reply.said;
	if (conn_now(p)->fd >= 0) {
		p->result.tls_expiry = conn_expiry(conn_now(p));
		if (is_good(reason) && !conn_trusted(conn_now(p))) {
			p->result.reason = MCSHM_R_TLS_UNTRUSTED;
			p->result.why = conn_why(conn_now(p));
		}
	}
	probe_settle(p, reason);
	p->phase = PHASE_IDLE;
	p->answer = NULL;
	r = p->result;
	p->done(p, &r);
	answer_give(s, answer);
}

/* What may have come up within probe_start(): told by the timer. */
static void
probe_decide(struct probe *p, struct conn_failure why)
{
	p->result.reason = why.reason;
	p->result.sys_errno = why.sys_errno;
	p->result.refuses = why.refuses;
	p->result.ours = why.ours;
	p->result.why = why.why;
	p->phase = PHASE_DECIDED;
	probe_arm(p, 0.);
}

/* The request ------------------------------------------------------------- */

/* A new connection has to log in; but a password is for the server only. */
static uint32_t
probe_asks(struct probe *p)
{
	const struct mcproto_terms *t = p->task.terms;

	if (p->task.asks != 0 && t != NULL && t->user != NULL &&
	    conn_trusted(conn_now(p)))
		return p->task.asks | MCPROTO_ASK_LOGIN;
	return p->task.asks;
}

static const char *
probe_request(struct probe *p, size_t *len)
{
	const struct probe_request *plain = p->task.plain;
	struct probes *s = p->probes;

	if (plain != NULL && plain->asks == p->asks) {
		*len = plain->len;
		return plain->text;
	}
	*len = mcproto_write(s->out, sizeof s->out, p->asks, p->task.terms,
	    &p->task.once);
	assert(*len != 0);
	return s->out;
}

/*
 * Up to where it is sent at once.  memcached 1.6 with TLS reads a value that is
 * longer than its buffer straight into the item, and forgets what else came in
 * the value's last record until there is something new to read: so what follows
 * such a value is a record of its own.
 */
static size_t
probe_part(const struct probe *p, size_t len)
{
	size_t set;

	if (p->task.tls == NULL || !(p->asks & MCPROTO_ASK_CANARY))
		return len;
	set = mcproto_canary_set(p->asks, p->task.terms, &p->task.once);
	return p->sent < set ? set : len;
}

static void probe_broken(struct probe *p, int err);

/*
 * It takes no more.  But before it hung up it may have answered, and that lies
 * there unread: the loop tells of it, as of the end.  Nothing was asked yet on a
 * kept connection: what lies there is no answer.
 */
static void
probe_unsent(struct probe *p, int err)
{
	if ((err != EPIPE && err != ECONNRESET) || (!p->fresh && p->sent == 0)) {
		probe_broken(p, err);
		return;
	}
	p->broken = err;
	if (p->conn[p->now].io.events & EV_WRITE)
		probe_listen(p, EV_READ);
}

/* All of it, or as much as goes now. */
static void
probe_send(struct probe *p)
{
	size_t len, part;
	const char *text = probe_request(p, &len);
	ssize_t n;

	do {
		part = probe_part(p, len);
		n = conn_send(conn_now(p), text + p->sent, part - p->sent);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			probe_unsent(p, errno);
			return;
		}
		if (n > 0)
			p->sent += (uint32_t)n;
	} while (p->sent == part && part < len);
	p->asked = p->sent == len;
	if (!p->asked)
		probe_listen(p, EV_READ | EV_WRITE);
	else if (p->conn[p->now].io.events & EV_WRITE)
		probe_listen(p, EV_READ);
}

/* Nothing of it is sent yet. */
static void
probe_ask(struct probe *p)
{
	p->sent = 0;
	p->broken = 0;
	p->asked = false;
	p->phase = PHASE_WAITING;
	probe_send(p);
}

/* There is a connection: from now on it is `timeout`, but for a probe that
 * goes on with the deadline that it had. */
static void
probe_established(struct probe *p)
{
	if (!p->again || !ev_is_active(&p->timer))
		probe_arm(p, p->task.timeout);
	p->asks = probe_asks(p);
	if (p->asks == 0) {
		probe_decide(p, (struct conn_failure){ .reason = MCSHM_R_OK });
		return;
	}
	probe_listen(p, EV_READ);
	probe_ask(p);
}

static void probe_connect(struct probe *p);

/* No connection came of it.  Who takes no more of them says so before any TLS. */
static void
probe_failed(struct probe *p, struct conn_failure why)
{
	if (why.again) {
		probe_connect(p);
		return;
	}
	p->result.greeted = mcproto_turns_away(why.plain, why.plain_len);
	probe_decide(p, why);
}

static void
probe_connecting(struct probe *p, enum conn_state state,
    const struct conn_failure *why)
{
	p->wants = (uint8_t)state;
	switch (state) {
	case CONN_READY:
		probe_established(p);
		return;
	case CONN_FAILED:
		probe_failed(p, *why);
		return;
	case CONN_WANTS_READ:
	case CONN_WANTS_WRITE:
		p->phase = PHASE_CONNECTING;
		probe_listen(p, state == CONN_WANTS_READ ? EV_READ : EV_WRITE);
		return;
	}
}

static void
probe_connect(struct probe *p)
{
	const struct conn_place place = {
		.to = &p->task.to.sa, .len = p->task.len,
		.from = p->task.from, .from_len = p->task.from_len,
		.tls = p->task.tls };
	struct conn_failure why;
	enum conn_state state;

	p->fresh = true;
	state = conn_open(conn_now(p), &place, &why);
	probe_connecting(p, state, &why);
}

static void
probe_go_on(struct probe *p)
{
	struct probe_conn *c = &p->conn[p->now];
	struct conn_failure why;
	enum conn_state state;

	/* It may close the descriptor, which the loop must not know then. */
	ev_io_stop(p->probes->loop, &c->io);
	state = conn_go_on(&c->conn, &why);
	probe_connecting(p, state, &why);
}

/* Steps of TLS ------------------------------------------------------------ */

static struct probe_queue *
queue_of(struct probe *p)
{
	return conn_in_handshake(conn_now(p)) ? &p->probes->going :
	    &p->probes->starting;
}

static bool
is_put_off(const struct probe *p)
{
	return p->task.tls != NULL && (p->task.asks & NEVER_LATE) == 0;
}

/* In the next turn of the loop. */
static void
steps_due(struct probes *s)
{
	if (ev_is_active(&s->steps))
		return;
	ev_timer_set(&s->steps, 0., 0.);
	ev_timer_start(s->loop, &s->steps);
}

/* What it waited for is there; it goes on when it is its turn. */
static void
probe_queue(struct probe *p)
{
	struct probes *s = p->probes;

	p->left = ev_timer_remaining(s->loop, &p->timer);
	ev_timer_stop(s->loop, &p->timer);
	ev_io_stop(s->loop, &p->conn[p->now].io);
	p->phase = PHASE_QUEUED;
	p->queued = s->turns;
	TAILQ_INSERT_TAIL(queue_of(p), p, queue);
	steps_due(s);
}

/* Its time may have passed before it was asked, for we were late.  Half of it is
 * left in any case; but a few times, or who sends a byte at a time would have no
 * end. */
static double
probe_left(struct probe *p)
{
	const double least = (p->again ? p->task.timeout :
	    p->task.connect_timeout) / 2;

	if (p->left >= least || p->longer == FLIGHTS)
		return p->left > 0. ? p->left : 0.;
	p->longer++;
	return least;
}

static void
probe_step(struct probe *p)
{
	struct probes *s = p->probes;

	TAILQ_REMOVE(queue_of(p), p, queue);
	p->phase = PHASE_CONNECTING;
	if (!conn_in_handshake(conn_now(p)) && s->turns - p->queued > 1 &&
	    p->began != NULL)
		p->began(p);
	probe_arm(p, probe_left(p));
	probe_go_on(p);
}

static void
on_steps(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct probes *s = timer->data;
	struct probe *p = NULL;

	(void)loop;
	(void)events;
	s->turns++;
	for (int i = 0; i <= STEPS_A_TURN; i++) {
		p = TAILQ_FIRST(&s->going);
		if (p == NULL)
			p = TAILQ_FIRST(&s->starting);
		if (p == NULL)
			return;
		if (i < STEPS_A_TURN)
			probe_step(p);
	}
	steps_due(s);
}

/*
 * No more comes of the reply: because of why, if that says most.  What was asked
 * beside what the probe is about may be missing: some servers answer one thing
 * and hang up, or take their time over statistics, and are no worse for that.
 * An error, and then it hung up, or fell silent: the error says more.
 */
static enum mcshm_reason
probe_cut_short(struct probe *p, enum mcshm_reason why)
{
	enum mcshm_reason noted;

	if (p->answer == NULL)
		return why;
	noted = (enum mcshm_reason)p->answer->reply.noted;
	p->result.partial = mcproto_enough(&p->answer->reply);
	if (p->result.partial)
		return noted;
	return why == MCSHM_R_GARBAGE || is_good(noted) ? why : noted;
}

/*
 * The connection ended (err 0: end of file).  A kept one that ends before a
 * byte of the reply may have been ended for idleness, or by a restart that is
 * long over: only a new one proves anything.
 */
static void
probe_broken(struct probe *p, int err)
{
	struct conn_failure why = conn_ended(conn_now(p), err);

	probe_hang_up(p, p->now);
	if (!p->fresh && p->answer == NULL) {
		p->again = true;
		if (!ev_is_active(&p->timer)) {	/* seen at the deadline */
			p->again = false;
			probe_arm(p, p->task.connect_timeout);
		}
		probe_connect(p);
		return;
	}
	why.reason = probe_cut_short(p, why.reason);
	probe_decide(p, why);
}

/* The reply --------------------------------------------------------------- */

static int
probe_feed(struct probe *p, const char *bytes, size_t len)
{
	if (p->answer == NULL) {
		p->answer = answer_take(p->probes);
		mcproto_expect(&p->answer->reply, p->asks);
		p->answer->reply.canary = p->task.once.canary;
	}
	return mcproto_feed(&p->answer->reply, p->task.terms, bytes, len);
}

/*
 * Does TLS have more in its own buffer than the reply?  No descriptor tells of
 * that; it would be the next probe's answer.  A record that is not whole is
 * nothing yet, the rest of it will be seen.
 */
static bool
probe_says_more(struct probe *p)
{
	char byte;

	return conn_has_more(conn_now(p)) &&
	    conn_recv(conn_now(p), &byte, 1) > 0;
}

/* What came is a result, if not MORE: that of a reply which ends there. */
static int
probe_judge(struct probe *p, int got)
{
	if (got != MCPROTO_MORE && p->answer->reply.asks == 0 &&
	    probe_says_more(p))
		got = MCSHM_R_GARBAGE;
	return got == MCSHM_R_GARBAGE ? (int)probe_cut_short(p,
	    MCSHM_R_GARBAGE) : got;
}

/* One recv, but for TLS that has more in its own buffer.  False: nothing
 * decided, go on waiting; else *p is not to be touched any more. */
static bool
probe_receive(struct probe *p)
{
	struct probes *s = p->probes;

	do {
		const ssize_t n = conn_recv(conn_now(p), s->in, sizeof s->in);
		int got;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return false;
		if (n <= 0) {
			probe_broken(p, n < 0 ? errno : p->broken);
			return true;
		}
		got = probe_judge(p, probe_feed(p, s->in, (size_t)n));
		if (got != MCPROTO_MORE) {
			probe_finish(p, (enum mcshm_reason)got);
			return true;
		}
	} while (conn_has_more(conn_now(p)));
	return false;
}

/* An idle connection has nothing to say: it ended, or is out of step.  True:
 * it is no more. */
static bool
probe_unasked(struct probe *p)
{
	char byte;

	if (conn_recv(&p->conn[p->kept].conn, &byte, 1) < 0 &&
	    (errno == EAGAIN || errno == EINTR))
		return false;
	probe_hang_up(p, p->kept);
	return true;
}

static void
probe_on_io(struct ev_loop *loop, ev_io *io, int events)
{
	struct probe *p = io->data;

	(void)loop;
	if (p->phase == PHASE_IDLE) {
		if (probe_unasked(p))
			p->lost(p);
		return;
	}
	/* The kept one, while another is probed: the result tells. */
	if (io != &p->conn[p->now].io) {
		probe_unasked(p);
		return;
	}
	if (p->phase == PHASE_CONNECTING && is_put_off(p))
		probe_queue(p);
	else if (p->phase == PHASE_CONNECTING)
		probe_go_on(p);
	else if (p->phase == PHASE_WAITING && !(events & EV_READ &&
	    probe_receive(p)) && events & EV_WRITE)
		probe_send(p);
}

/* The deadline; but what has come in by now has come in time: it may be we who
 * are late. */
static void
probe_on_timer(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct probe *p = timer->data;

	(void)loop;
	(void)events;
	if (p->phase == PHASE_DECIDED) {
		probe_finish(p, p->result.reason);
		return;
	}
	if (p->phase == PHASE_CONNECTING &&
	    conn_is_due(conn_now(p), (enum conn_state)p->wants)) {
		if (is_put_off(p) && p->longer < FLIGHTS)
			probe_queue(p);
		else
			probe_go_on(p);
	} else if (p->phase == PHASE_WAITING && probe_receive(p)) {
		return;
	}
	/* Whoever goes on has a new deadline, or none while it is put off. */
	if (p->phase != PHASE_IDLE && p->phase != PHASE_QUEUED &&
	    !ev_is_active(&p->timer))
		probe_finish(p, probe_cut_short(p, conn_too_long(conn_now(p))));
}

/* What callers see -------------------------------------------------------- */

int
probe_init(struct probe *p, struct probes *s, probe_done_fn *done,
    probe_lost_fn *lost, probe_began_fn *began)
{
	memset(p, 0, sizeof *p);
	if (probes_grow(s) != 0)
		return ENOMEM;
	p->probes = s;
	p->done = done;
	p->lost = lost;
	p->began = began;
	for (int i = 0; i < 2; i++) {
		conn_init(&p->conn[i].conn);
		ev_init(&p->conn[i].io, probe_on_io);
		p->conn[i].io.data = p;
	}
	ev_init(&p->timer, probe_on_timer);
	p->timer.data = p;
	return 0;
}

static void
probe_take(struct probe *p, const struct probe_task *task)
{
	assert(task->len <= sizeof p->task.to);
	p->task.len = task->len;
	memcpy(&p->task.to, &task->to, task->len);
	p->task.from = task->from;
	p->task.from_len = task->from_len;
	p->task.tls = task->tls;
	p->task.asks = task->asks;
	p->task.terms = task->terms;
	p->task.plain = task->plain;
	p->task.once = (struct mcproto_once){ .canary = task->canary,
		.mark = task->mark };
	p->task.connect_timeout = (double)task->connect_timeout / 1e9;
	p->task.timeout = (double)task->timeout / 1e9;
}

void
probe_start(struct probe *p, const struct probe_task *task)
{
	const bool has = probe_has_connection(p);

	assert(p->phase == PHASE_IDLE);
	probe_take(p, task);
	p->fresh = p->again = false;
	p->longer = 0;
	p->result = (struct probe_result){ .told = &told_nothing, .said = "" };
	if (has && !task->fresh && task->asks != 0) {
		probe_arm(p, p->task.timeout);
		p->asks = task->asks;
		probe_ask(p);
		return;
	}
	if (has)
		p->now = !p->kept;
	probe_arm(p, p->task.connect_timeout);
	probe_connect(p);
}

bool
probe_busy(const struct probe *p)
{
	return p->phase != PHASE_IDLE;
}

bool
probe_has_connection(const struct probe *p)
{
	return p->conn[p->kept].conn.fd >= 0;
}

void
probe_drop(struct probe *p)
{
	ev_timer_stop(p->probes->loop, &p->timer);
	if (p->phase == PHASE_QUEUED)
		TAILQ_REMOVE(queue_of(p), p, queue);
	for (int i = 0; i < 2; i++)
		probe_hang_up(p, i);
	answer_give(p->probes, p->answer);
	p->answer = NULL;
	p->now = p->kept;
	p->phase = PHASE_IDLE;
}

void
probe_close(struct probe *p)
{
	probe_drop(p);
	p->probes->probes--;
}
