/*
 * test_probe.c - one try at one server, on scripted servers in the same loop.
 *
 * A script has a letter for each connection, the last one for all that follow:
 *
 *	v  answers each request		s  says nothing
 *	V  answers, and closes		e  closes instead of answering
 *	r  resets instead of answering	c  closes at once
 *	g  speaks HTTP			h  half a reply, then closes
 *	d  a byte each 20 ms		m  too many connections
 *	u  wants a login		x  answers with an error
 *	2  answers twice		M  as a memcached with one item
 *	X  answers with an error, and closes
 *	a  answers with a text of the test's	A  and closes
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"

#define MS UINT64_C(1000000)
#define LONG (5000 * MS)		/* a timeout that shall not matter */
#define COUNT(a) (sizeof (a) / sizeof (a)[0])
#define BYTES(s) s, sizeof s - 1

/* Scripted servers --------------------------------------------------------- */

struct peer {				/* one connection of a server */
	ev_io io;
	ev_timer drip;
	char kind;
	const char *rest;		/* still to drip */
	size_t in_len;			/* M: no whole request yet */
	char in[80000];
};

struct fake {
	struct ev_loop *loop;
	ev_io io;
	const char *script;
	unsigned accepted, requests;
	bool reset_seen;		/* the last peer ended by RST */
	unsigned resets;
	char asked[4096];		/* the last request, or how it began */
	size_t asked_len;
	size_t value_len;		/* M: its item */
	char value[70000];
	const char *answer;		/* a, A */
	struct sockaddr_storage from;	/* of the last connection */
	struct peer peer[16];
	struct sockaddr_storage ss;
	socklen_t len;
};

static void
peer_end(struct peer *p, bool reset)
{
	const struct linger rst = { 1, 0 };
	struct fake *f = p->io.data;

	ev_io_stop(f->loop, &p->io);
	ev_timer_stop(f->loop, &p->drip);
	if (reset)
		setsockopt(p->io.fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
	if (p->io.fd >= 0)
		close(p->io.fd);
	p->io.fd = -1;
}

static void
peer_say(struct peer *p, const char *text)
{
	/* The probe may have hung up meanwhile: not our business. */
	if (send(p->io.fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		assert_true(errno == ECONNRESET || errno == EPIPE);
}

static void
on_drip(struct ev_loop *loop, ev_timer *w, int events)
{
	struct peer *p = w->data;

	(void)loop;
	(void)events;
	if (*p->rest != '\0' &&
	    send(p->io.fd, p->rest++, 1, MSG_NOSIGNAL) != 1)
		peer_end(p, false);
}

static void
peer_answer(struct peer *p)
{
	static const char version[] = "VERSION 1.6.18\r\n";
	struct fake *f = p->io.data;

	switch (p->kind) {
	case 'v':
		peer_say(p, version);
		return;
	case 'V':
		peer_say(p, version);
		peer_end(p, false);
		return;
	case '2':
		peer_say(p, "VERSION 1\r\nVERSION 2\r\n");
		return;
	case 'u':
		peer_say(p, "CLIENT_ERROR unauthenticated\r\n");
		return;
	case 'x':
	case 'X':
		peer_say(p, "SERVER_ERROR out of memory\r\n");
		if (p->kind == 'X')
			peer_end(p, false);
		return;
	case 'a':
	case 'A':
		peer_say(p, f->answer);
		if (p->kind == 'A')
			peer_end(p, false);
		return;
	case 'g':
		peer_say(p, "HTTP/1.1 400 Bad Request\r\n\r\n");
		return;
	case 'h':
		peer_say(p, "VERSI");
		peer_end(p, false);
		return;
	case 'e':
	case 'r':
		peer_end(p, p->kind == 'r');
		return;
	case 'd':
		p->rest = version;
		ev_timer_set(&p->drip, 0.02, 0.02);
		ev_timer_start(f->loop, &p->drip);
		return;
	}
}

static void
peer_serve(struct peer *p, enum mcproto_command command,
    const struct mcproto_call *call)
{
	struct fake *f = p->io.data;
	char head[64];

	switch (command) {
	case MCPROTO_VERSION:
		peer_say(p, "VERSION 1.6.18\r\n");
		return;
	case MCPROTO_MN:
		peer_say(p, "MN\r\n");
		return;
	case MCPROTO_STATS:
		peer_say(p, "STAT pid 7\r\nSTAT threads 4\r\nEND\r\n");
		return;
	case MCPROTO_SET:
		assert_true(call->value_len < sizeof f->value);
		memcpy(f->value, call->value, call->value_len);
		f->value[f->value_len = call->value_len] = '\0';
		peer_say(p, "STORED\r\n");
		return;
	case MCPROTO_GET:
		snprintf(head, sizeof head, "VALUE %.*s 0 %zu\r\n",
		    (int)call->key_len, call->key, f->value_len);
		peer_say(p, head);
		peer_say(p, f->value);
		peer_say(p, "\r\nEND\r\n");
		return;
	case MCPROTO_DELETE:
		peer_say(p, "DELETED\r\n");
		return;
	default:
		fail_msg("asked for %d", command);
	}
}

/* All whole requests. */
static void
peer_requests(struct peer *p)
{
	struct mcproto_call call;
	size_t at = 0, used;

	for (;;) {
		const enum mcproto_command command = mcproto_request(p->in + at,
		    p->in_len - at, &used, &call);

		if (command == MCPROTO_INCOMPLETE)
			break;
		peer_serve(p, command, &call);
		at += used;
	}
	memmove(p->in, p->in + at, p->in_len -= at);
}

static void
on_peer(struct ev_loop *loop, ev_io *w, int events)
{
	struct peer *p = (struct peer *)w;
	struct fake *f = w->data;
	char *bytes = p->in + p->in_len;
	const ssize_t n = recv(w->fd, bytes, sizeof p->in - p->in_len,
	    MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n <= 0) {
		f->reset_seen = n < 0 && errno == ECONNRESET;
		f->resets += f->reset_seen;
		peer_end(p, false);
		return;
	}
	f->requests++;
	f->asked_len = (size_t)n < sizeof f->asked ? (size_t)n :
	    sizeof f->asked;
	memcpy(f->asked, bytes, f->asked_len);
	if (p->kind == 'M') {
		p->in_len += (size_t)n;
		peer_requests(p);
		return;
	}
	assert_int_equal(n % 9, 0);
	assert_memory_equal(bytes + n - 9, "version\r\n", 9);
	peer_answer(p);
}

static void
on_accept(struct ev_loop *loop, ev_io *w, int events)
{
	struct fake *f = w->data;
	const size_t last = strlen(f->script) - 1;
	struct peer *p = &f->peer[f->accepted];
	socklen_t len = sizeof f->from;
	int fd;

	(void)events;
	assert_true(f->accepted < COUNT(f->peer));
	p->kind = f->script[f->accepted < last ? f->accepted : last];
	f->accepted++;
	p->in_len = 0;
	fd = accept(w->fd, (struct sockaddr *)&f->from, &len);
	assert_true(fd >= 0);
	ev_io_init(&p->io, on_peer, fd, EV_READ);
	ev_init(&p->drip, on_drip);
	p->io.data = f;
	p->drip.data = p;
	ev_io_start(loop, &p->io);
	if (p->kind == 'm')
		peer_say(p, "ERROR Too many open connections\r\n");
	if (p->kind == 'm' || p->kind == 'c')
		peer_end(p, false);
}

static void
fake_listen(struct fake *f, int family, int backlog)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&f->ss;
	struct sockaddr_un *un = (struct sockaddr_un *)&f->ss;
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	f->len = family == AF_INET ? sizeof *in : sizeof *un;
	f->ss.ss_family = (sa_family_t)family;
	if (family == AF_INET)
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		snprintf(un->sun_path, sizeof un->sun_path,
		    "/tmp/test_probe.%ld.sock", (long)getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&f->ss, f->len), 0);
	if (family == AF_INET)
		getsockname(fd, (struct sockaddr *)&f->ss, &f->len);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	ev_io_init(&f->io, on_accept, fd, EV_READ);
	f->io.data = f;
}

/* From now on nobody gets in; the caller closes fd[n] in the end. */
static void
fill_backlog(const struct fake *f, int *fd, size_t n)
{
	assert_int_equal(listen(f->io.fd, 0), 0);
	for (size_t i = 0; i < n; i++) {
		fd[i] = socket(f->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fd[i], (const struct sockaddr *)&f->ss, f->len);
	}
}

static void
fake_close(struct fake *f)
{
	for (unsigned i = 0; i < f->accepted; i++)
		peer_end(&f->peer[i], false);
	ev_io_stop(f->loop, &f->io);
	close(f->io.fd);
	if (f->ss.ss_family == AF_UNIX)
		unlink(((struct sockaddr_un *)&f->ss)->sun_path);
}

static const struct mcproto_terms terms = { .canary_key = "canary",
	.canary_size = 65536, .host = "h" };
static const struct mcproto_terms login = { .user = "u", .password = "p",
	.canary_key = "canary", .canary_size = 10, .host = "h" };

/* A probe and what it said ------------------------------------------------- */

struct test {
	struct probe probe;		/* first: done() casts */
	struct probes *probes;
	struct ev_loop *loop;
	struct fake fake;
	unsigned done, lost;
	unsigned again;			/* probes to start from within done() */
	struct probe_result result;
	struct mcproto_told told;
	struct probe_task task;		/* what it is to ask, and how */
	uint64_t connect_timeout, timeout;
	bool starting;
};

static void
start(struct test *t)
{
	const unsigned done = t->done;

	t->task.to = t->fake.ss;
	t->task.len = t->fake.len;
	t->task.connect_timeout = t->connect_timeout;
	t->task.timeout = t->timeout;
	t->starting = true;
	probe_start(&t->probe, &t->task);
	t->starting = false;
	assert_int_equal(t->done, done);
	assert_true(probe_busy(&t->probe));
}

static void
on_done(struct probe *p, const struct probe_result *r)
{
	struct test *t = (struct test *)p;

	assert_false(t->starting);
	assert_false(probe_busy(p));
	t->result = *r;
	t->told = *r->told;
	t->done++;
	if (t->again > 0) {
		t->again--;
		start(t);
	}
}

static void
on_lost(struct probe *p)
{
	struct test *t = (struct test *)p;

	assert_false(t->starting);
	assert_false(probe_busy(p));
	t->lost++;
}

static int
setup_with(void **state, int family)
{
	struct test *t = calloc(1, sizeof *t);

	t->loop = ev_loop_new(EVFLAG_NOENV);
	t->connect_timeout = t->timeout = LONG;
	t->task.asks = MCPROTO_ASK_VERSION;
	t->task.terms = &terms;
	t->fake.loop = t->loop;
	t->fake.script = "v";
	fake_listen(&t->fake, family, 16);
	ev_io_start(t->loop, &t->fake.io);
	t->probes = probes_open(t->loop);
	assert_non_null(t->probes);
	assert_int_equal(probe_init(&t->probe, t->probes, on_done, on_lost,
	    NULL), 0);
	*state = t;
	return 0;
}

static int
setup(void **state)
{
	return setup_with(state, AF_INET);
}

static int
setup_unix(void **state)
{
	return setup_with(state, AF_UNIX);
}

static int
teardown(void **state)
{
	struct test *t = *state;

	probe_close(&t->probe);
	probes_close(t->probes);
	fake_close(&t->fake);
	ev_loop_destroy(t->loop);
	free(t);
	return 0;
}

static void
on_guard(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)w;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

/* Run the loop until *n reaches want; it must. */
static void
run_until(struct test *t, const unsigned *n, unsigned want)
{
	ev_timer guard;
	const double most = 10.;

	ev_timer_init(&guard, on_guard, most, 0.);
	ev_now_update(t->loop);
	ev_timer_start(t->loop, &guard);
	while (*n < want && ev_is_active(&guard))
		ev_run(t->loop, EVRUN_ONCE);
	ev_timer_stop(t->loop, &guard);
	assert_int_equal(*n, want);
}

static void
probe(struct test *t)
{
	const unsigned want = t->done + 1;

	start(t);
	run_until(t, &t->done, want);
}

static void
assert_result(const struct test *t, enum mcshm_reason reason, bool fresh)
{
	assert_int_equal(t->result.reason, reason);
	assert_int_equal(t->result.fresh, fresh);
}

/* Tests -------------------------------------------------------------------- */

static void
kept(struct test *t)
{
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	assert_string_equal(t->told.version, "1.6.18");
	for (int i = 0; i < 3; i++) {
		probe(t);
		assert_result(t, MCSHM_R_OK, false);
	}
	assert_int_equal(t->fake.accepted, 1);
	assert_int_equal(t->fake.requests, 4);
	assert_int_equal(t->lost, 0);
}

static void
test_kept(void **state)
{
	kept(*state);
}

/* What one connection gives, and whether the next probe is on the same one. */
static void
test_replies(void **state)
{
	static const struct {
		const char *script;
		enum mcshm_reason reason;
		bool keeps;
	} cases[] = {
		{ "v", MCSHM_R_OK, true },
		{ "u", MCSHM_R_UNAUTHENTICATED, true },
		{ "m", MCSHM_R_MAXCONNS, false },
		{ "x", MCSHM_R_ERROR_REPLY, false },
		{ "g", MCSHM_R_GARBAGE, false },
		{ "2", MCSHM_R_GARBAGE, false },
		{ "e", MCSHM_R_CLOSED, false },
		{ "c", MCSHM_R_CLOSED, false },
		{ "h", MCSHM_R_CLOSED, false },
		{ "r", MCSHM_R_RESET, false },
	};
	struct test *t = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const unsigned before = t->fake.accepted = 0;

		t->fake.script = cases[i].script;
		probe(t);
		/* Closed at accept: our request may find that out first. */
		if (cases[i].script[0] == 'c' || cases[i].script[0] == 'm')
			assert_true(t->result.reason == cases[i].reason ||
			    t->result.reason == MCSHM_R_RESET);
		else
			assert_int_equal(t->result.reason, cases[i].reason);
		assert_true(t->result.fresh);
		assert_int_equal(t->fake.accepted, before + 1);
		probe(t);
		assert_int_equal(t->result.fresh, !cases[i].keeps);
		probe_drop(&t->probe);
		while (t->fake.accepted > 0)
			peer_end(&t->fake.peer[--t->fake.accepted], false);
	}
}

static void
test_refused(void **state)
{
	struct test *t = *state;

	/* Bound, so that nobody else gets the port, but not listening. */
	fake_close(&t->fake);
	memset(&t->fake.ss, 0, sizeof t->fake.ss);
	fake_listen(&t->fake, AF_INET, -1);
	for (int i = 0; i < 3; i++) {
		probe(t);
		assert_result(t, MCSHM_R_REFUSED, true);
		assert_int_equal(t->result.sys_errno, 0);
	}
	assert_int_equal(t->done, 3);
}

static double
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Silence; and the late answer is not taken for the next probe's. */
static void
test_timeout(void **state)
{
	struct test *t = *state;
	const double began = now();

	t->fake.script = "sv";
	t->timeout = 100 * MS;
	probe(t);
	assert_result(t, MCSHM_R_TIMEOUT, true);
	assert_true(now() - began >= 0.099);
	assert_false(probe_has_connection(&t->probe));
	t->timeout = LONG;
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	assert_int_equal(t->fake.accepted, 2);
}

/* What must not be done late is taken back with the connection, by RST; the
 * rest is left to be seen through. */
static void
test_never_late(void **state)
{
	static const struct { uint32_t ask; bool reset; } cases[] = {
		{ MCPROTO_ASK_FLUSH, true }, { MCPROTO_ASK_UNLOCK, true },
		{ MCPROTO_ASK_STATS, false } };
	struct test *t = *state;
	ev_timer tick;

	for (unsigned i = 0; i < COUNT(cases); i++) {
		struct peer *peer = &t->fake.peer[i];
		const struct probe_request silent = { MCPROTO_ASK_VERSION |
			cases[i].ask, 9, "version\r\n" };

		t->timeout = LONG;
		t->task.plain = NULL;
		t->task.asks = MCPROTO_ASK_VERSION;
		probe(t);
		assert_result(t, MCSHM_R_OK, true);
		peer->kind = 's';
		t->task.asks = silent.asks;
		t->task.plain = &silent;
		t->timeout = 50 * MS;
		probe(t);
		assert_result(t, MCSHM_R_TIMEOUT, false);
		ev_timer_init(&tick, on_guard, 5., 0.);
		ev_timer_start(t->loop, &tick);
		while (peer->io.fd >= 0 && ev_is_active(&tick))
			ev_run(t->loop, EVRUN_ONCE);
		ev_timer_stop(t->loop, &tick);
		assert_int_equal(peer->io.fd, -1);
		assert_int_equal(t->fake.reset_seen, cases[i].reset);
	}
}

/* One deadline for the whole probe: bytes that trickle in do not extend it. */
static void
test_trickle(void **state)
{
	struct test *t = *state;
	const double began = now();

	t->fake.script = "d";		/* would take 16 * 20 ms */
	t->timeout = 100 * MS;
	probe(t);
	assert_result(t, MCSHM_R_TIMEOUT, true);
	assert_true(now() - began < 0.3);
	t->timeout = LONG;
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
}

/* A full backlog: the kernel does not answer at all. */
static void
test_connect_timeout(void **state)
{
	struct test *t = *state;
	int fd[3];

	ev_io_stop(t->loop, &t->fake.io);
	fill_backlog(&t->fake, fd, COUNT(fd));
	t->connect_timeout = 100 * MS;
	probe(t);
	assert_result(t, MCSHM_R_CONNECT_TIMEOUT, true);
	for (size_t i = 0; i < COUNT(fd); i++)
		close(fd[i]);
}

static void
test_unix(void **state)
{
	kept(*state);
}

/* connect() is done at once: from then on it is `timeout`, be that the shorter
 * or the longer one. */
static void
test_unix_timeout(void **state)
{
	struct test *t = *state;
	double began = now();

	t->fake.script = "s";
	t->timeout = 100 * MS;
	probe(t);
	assert_result(t, MCSHM_R_TIMEOUT, true);
	assert_true(now() - began >= 0.099);
	assert_true(now() - began < 2.);
	t->connect_timeout = 50 * MS;
	t->timeout = 400 * MS;
	began = now();
	probe(t);
	assert_result(t, MCSHM_R_TIMEOUT, true);
	assert_true(now() - began >= 0.399);
}

static void
test_unix_failures(void **state)
{
	struct test *t = *state;
	struct sockaddr_un *un = (struct sockaddr_un *)&t->fake.ss;
	int fd[4];

	/* Backlog full: silence, as with TCP. */
	ev_io_stop(t->loop, &t->fake.io);
	fill_backlog(&t->fake, fd, COUNT(fd));
	probe(t);
	assert_result(t, MCSHM_R_CONNECT_TIMEOUT, true);
	for (size_t i = 0; i < COUNT(fd); i++)
		close(fd[i]);

	/* Left behind by a server that died. */
	close(t->fake.io.fd);
	probe(t);
	assert_result(t, MCSHM_R_REFUSED, true);
	unlink(un->sun_path);
	probe(t);
	assert_result(t, MCSHM_R_NO_SOCKET, true);
	t->fake.io.fd = dup(0);		/* for fake_close() */
}

/* Our own fault: nothing about the server. */
static void
test_local(void **state)
{
	struct test *t = *state;
	struct sockaddr_in *in = (struct sockaddr_in *)&t->fake.ss;
	struct rlimit before, none = { 0 };

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none.rlim_max = before.rlim_max;
	setrlimit(RLIMIT_NOFILE, &none);
	start(t);
	setrlimit(RLIMIT_NOFILE, &before);
	run_until(t, &t->done, 1);
	assert_result(t, MCSHM_R_LOCAL, true);
	assert_int_equal(t->result.sys_errno, EMFILE);

	/* What connect() refuses at once never left this host. */
	in->sin_addr.s_addr = htonl(INADDR_BROADCAST);
	probe(t);
	assert_result(t, MCSHM_R_LOCAL, true);
	assert_int_not_equal(t->result.sys_errno, 0);
}

/* An idle connection ends: one lost() and no result. */
static void
test_lost(void **state)
{
	struct test *t = *state;

	probe(t);
	peer_end(&t->fake.peer[0], false);
	run_until(t, &t->lost, 1);
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	peer_end(&t->fake.peer[1], true);
	run_until(t, &t->lost, 2);
	assert_int_equal(t->done, 2);
	/* Or says something unasked: out of step, not to be used. */
	probe(t);
	peer_say(&t->fake.peer[2], "VERSION 9\r\n");
	run_until(t, &t->lost, 3);
	assert_false(probe_has_connection(&t->probe));
	probe(t);
	assert_string_equal(t->told.version, "1.6.18");
	assert_int_equal(t->done, 4);
}

/* A server that closes after each answer is alive each time. */
static void
test_closes_after(void **state)
{
	struct test *t = *state;

	t->fake.script = "V";
	for (unsigned i = 1; i <= 5; i++) {
		probe(t);
		assert_result(t, MCSHM_R_OK, true);
		run_until(t, &t->lost, i);
	}
	assert_int_equal(t->done, 5);
}

/*
 * The kept connection ends while, or just before, the request is sent: the
 * same probe goes on with a new connection, once.
 */
static void
test_reconnects(void **state)
{
	static const struct {
		const char *script;
		bool reset;
		enum mcshm_reason reason;
	} cases[] = {
		{ "vv", false, MCSHM_R_OK },
		{ "vv", true, MCSHM_R_OK },
		{ "ve", false, MCSHM_R_CLOSED },
		{ "vr", true, MCSHM_R_RESET },
	};
	struct test *t = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		t->fake.script = cases[i].script;
		probe(t);
		assert_result(t, MCSHM_R_OK, true);
		/* The loop does not get to see the end first. */
		peer_end(&t->fake.peer[0], cases[i].reset);
		probe(t);
		assert_result(t, cases[i].reason, true);
		assert_int_equal(t->fake.accepted, 2);
		assert_int_equal(t->lost, 0);
		probe_drop(&t->probe);
		peer_end(&t->fake.peer[1], false);
		t->fake.accepted = 0;
	}
}

/* And when nobody listens any more, that is what the probe says. */
static void
test_reconnect_refused(void **state)
{
	struct test *t = *state;

	probe(t);
	peer_end(&t->fake.peer[0], false);
	ev_io_stop(t->loop, &t->fake.io);
	/* As a kill -9 does it; the port stays ours. */
	assert_int_equal(shutdown(t->fake.io.fd, SHUT_RDWR), 0);
	probe(t);
	assert_result(t, MCSHM_R_REFUSED, true);
	assert_int_equal(t->lost, 0);
}

static void
on_hang_up(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)events;
	peer_end(w->data, false);
}

/* The deadline is the one that the probe began with, however late the kept
 * connection ends. */
static void
reconnect_deadline(struct test *t)
{
	ev_timer hang_up;
	double began;

	t->fake.script = "vs";
	t->timeout = 1000 * MS;
	probe(t);
	t->fake.peer[0].kind = 's';
	ev_timer_init(&hang_up, on_hang_up, 0.7, 0.);
	hang_up.data = &t->fake.peer[0];
	ev_now_update(t->loop);
	ev_timer_start(t->loop, &hang_up);
	began = now();
	probe(t);
	assert_result(t, MCSHM_R_TIMEOUT, true);
	assert_int_equal(t->fake.accepted, 2);
	assert_true(now() - began >= 0.99);
	assert_true(now() - began < 1.5);
}

static void
test_reconnect_deadline(void **state)
{
	reconnect_deadline(*state);
}

static void
test_unix_reconnect_deadline(void **state)
{
	reconnect_deadline(*state);
}

/* Half a reply, and then the end: the server's own doing, kept or not. */
static void
test_half_on_kept(void **state)
{
	struct test *t = *state;

	probe(t);
	t->fake.peer[0].kind = 'h';
	probe(t);
	assert_result(t, MCSHM_R_CLOSED, false);
	assert_int_equal(t->fake.accepted, 1);
}

/*
 * We were late: the deadline is over, but the answer is there.  libev runs the
 * timer first.
 */
static void
test_late_loop(void **state)
{
	const struct timespec late = { .tv_nsec = 150 * 1000000 };
	struct test *t = *state;
	char bytes[16];
	int fd;

	probe(t);
	fd = t->fake.peer[0].io.fd;
	ev_io_stop(t->loop, &t->fake.peer[0].io);
	t->timeout = 50 * MS;
	for (int i = 0; i < 5; i++) {
		start(t);
		assert_int_equal(recv(fd, bytes, sizeof bytes, 0), 9);
		assert_int_equal(send(fd, "VERSION 2\r\n", 11, 0), 11);
		nanosleep(&late, NULL);
		run_until(t, &t->done, t->done + 1);
		assert_result(t, MCSHM_R_OK, false);
		assert_string_equal(t->told.version, "2");
	}
}

/* Late again, and the connection was made meanwhile. */
static void
test_late_connect(void **state)
{
	const struct timespec late = { .tv_nsec = 150 * 1000000 };
	struct test *t = *state;

	t->connect_timeout = 50 * MS;
	start(t);
	nanosleep(&late, NULL);
	run_until(t, &t->done, 1);
	assert_result(t, MCSHM_R_OK, true);
}

/* Late, and an idle connection's end came with the deadline. */
static void
test_late_end(void **state)
{
	const struct timespec late = { .tv_nsec = 150 * 1000000 };
	struct test *t = *state;

	probe(t);
	t->timeout = 50 * MS;
	start(t);
	peer_end(&t->fake.peer[0], true);
	nanosleep(&late, NULL);
	t->probe.task.timeout = 5.;		/* the new connection's own */
	run_until(t, &t->done, 2);
	assert_result(t, MCSHM_R_OK, true);
}

/* The same, but the new connection is not made: that has a deadline too. */
static void
test_late_end_silent(void **state)
{
	const struct timespec late = { .tv_nsec = 150 * 1000000 };
	struct test *t = *state;
	int fd[3];

	probe(t);
	t->timeout = 50 * MS;
	t->connect_timeout = 100 * MS;
	start(t);
	peer_end(&t->fake.peer[0], true);
	ev_io_stop(t->loop, &t->fake.io);
	fill_backlog(&t->fake, fd, COUNT(fd));
	nanosleep(&late, NULL);
	run_until(t, &t->done, 2);
	assert_result(t, MCSHM_R_CONNECT_TIMEOUT, true);
	for (size_t i = 0; i < COUNT(fd); i++)
		close(fd[i]);
}

/* Dropped under way: no word of it, and the next probe is as ever. */
static void
test_drop(void **state)
{
	struct test *t = *state;

	t->fake.script = "sv";
	start(t);
	probe_drop(&t->probe);
	assert_false(probe_busy(&t->probe));
	probe(t);
	assert_int_equal(t->done, 1);
	assert_result(t, MCSHM_R_OK, true);
	/* While it waits, while it fails. */
	start(t);
	probe_drop(&t->probe);
	((struct sockaddr_in *)&t->fake.ss)->sin_addr.s_addr =
	    htonl(INADDR_BROADCAST);
	start(t);
	probe_drop(&t->probe);
	for (int i = 0; i < 10; i++)
		ev_run(t->loop, EVRUN_NOWAIT);
	assert_int_equal(t->done, 1);
	assert_int_equal(t->lost, 0);
}

/* No TIME_WAIT is left on a server that we probed. */
static void
test_hangs_up_with_reset(void **state)
{
	struct test *t = *state;
	ev_timer tick;

	probe(t);
	probe_drop(&t->probe);
	ev_timer_init(&tick, on_guard, 5., 0.);
	ev_timer_start(t->loop, &tick);
	while (t->fake.peer[0].io.fd >= 0 && ev_is_active(&tick))
		ev_run(t->loop, EVRUN_ONCE);
	ev_timer_stop(t->loop, &tick);
	assert_true(t->fake.reset_seen);
}

/* done() is the last thing that a probe does: it may start the next one. */
static void
test_again_from_done(void **state)
{
	struct test *t = *state;

	t->again = 3;
	start(t);
	run_until(t, &t->done, 4);
	assert_result(t, MCSHM_R_OK, false);
	t->fake.script = "e";
	probe_drop(&t->probe);
	t->again = 3;
	start(t);
	run_until(t, &t->done, 8);
	assert_result(t, MCSHM_R_CLOSED, true);
}

/* Other kinds -------------------------------------------------------------- */

/* One request, however large, and one reply. */
static void
test_asks(void **state)
{
	const uint32_t asks = MCPROTO_ASK_VERSION | MCPROTO_ASK_MN |
	    MCPROTO_ASK_CANARY | MCPROTO_ASK_STATS;
	struct test *t = *state;

	t->fake.script = "M";
	t->task.asks = asks;
	for (int i = 0; i < 3; i++) {
		probe(t);
		assert_result(t, MCSHM_R_OK, i == 0);
		assert_int_equal(t->told.answered, asks);
		assert_int_equal(t->told.stats.pid, 7);
		assert_int_equal(t->fake.value_len, 65536);
	}
	assert_int_equal(t->fake.accepted, 1);
	/* A send buffer that takes it a piece at a time. */
	for (int i = 0; i < 2; i++)
		setsockopt(t->probe.conn[i].conn.fd, SOL_SOCKET, SO_SNDBUF,
		    &(int){ 4096 }, sizeof(int));
	t->fake.requests = 0;
	probe(t);
	assert_result(t, MCSHM_R_OK, false);
	assert_true(t->fake.requests > 1);
	t->task.asks = MCPROTO_ASK_VERSION;
	probe(t);
	assert_result(t, MCSHM_R_OK, false);
	assert_int_equal(t->fake.accepted, 1);
}

/* The text that was written before is what is sent. */
static void
test_plain(void **state)
{
	const struct probe_request plain = { MCPROTO_ASK_VERSION, 18,
		"version\r\nversion\r\n" };
	struct test *t = *state;

	t->fake.script = "2";
	t->task.plain = &plain;
	probe(t);
	assert_int_equal(t->fake.asked_len, 18);
	t->fake.script = "M";
	t->task.asks = MCPROTO_ASK_MN;
	probe_drop(&t->probe);
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	assert_int_equal(t->fake.asked_len, 4);
}

static bool
asked(const struct test *t, const char *text)
{
	return t->fake.asked_len == strlen(text) &&
	    memcmp(t->fake.asked, text, t->fake.asked_len) == 0;
}

/* Once a connection, in the same write. */
static void
test_login(void **state)
{
	static const char both[] = "set mc-checkerd:login 0 -1 3\r\nu p\r\n"
	    "version\r\n";
	struct test *t = *state;

	t->fake.script = "M";
	t->task.terms = &login;
	probe(t);
	assert_true(asked(t, both));
	assert_result(t, MCSHM_R_OK, true);
	assert_int_equal(t->told.answered, MCPROTO_ASK_VERSION |
	    MCPROTO_ASK_LOGIN);
	probe(t);
	assert_true(asked(t, "version\r\n"));
	t->task.fresh = true;
	probe(t);
	assert_true(asked(t, both));
	/* And where the kept one ends under a probe. */
	t->task.fresh = false;
	peer_end(&t->fake.peer[1], false);
	probe(t);
	assert_true(asked(t, both));
	assert_result(t, MCSHM_R_OK, true);
	assert_int_equal(t->fake.accepted, 3);
}

/* What else was asked gets no answer: such a connection is not kept. */
static void
test_out_of_step(void **state)
{
	struct test *t = *state;

	t->fake.script = "u";
	t->task.asks = MCPROTO_ASK_VERSION | MCPROTO_ASK_MN;
	t->task.plain = &(struct probe_request){ t->task.asks, 9,
		"version\r\n" };
	probe(t);
	assert_result(t, MCSHM_R_UNAUTHENTICATED, true);
	assert_false(probe_has_connection(&t->probe));
	/* An error, and the end of file behind it. */
	t->fake.script = "X";
	probe(t);
	assert_result(t, MCSHM_R_ERROR_REPLY, true);
}

/* The version came; what was asked beside it did not, as the server hung up, or
 * not in time. */
static void
test_answered_enough(void **state)
{
	struct test *t = *state;

	t->task.asks = MCPROTO_ASK_VERSION | MCPROTO_ASK_STATS;
	t->task.plain = &(struct probe_request){ t->task.asks, 9,
		"version\r\n" };
	for (int i = 0; i < 2; i++) {
		t->fake.script = i == 0 ? "V" : "vv";
		t->timeout = i == 0 ? LONG : 100 * MS;
		probe(t);
		assert_result(t, MCSHM_R_OK, true);
		assert_int_equal(t->told.answered, MCPROTO_ASK_VERSION);
		assert_false(t->told.stats.whole);
		assert_false(probe_has_connection(&t->probe));
	}
	/* Nothing at all is another matter. */
	t->fake.script = "eee";
	probe(t);
	assert_result(t, MCSHM_R_CLOSED, true);
}

/* What is cut short has the result that it had so far: at its end, at the
 * deadline, or where something else comes. */
static void
test_cut_short(void **state)
{
	static const uint32_t about = MCPROTO_ASK_CANARY | MCPROTO_ASK_STATS;
	static const struct {
		uint32_t asks;
		const char *answer;
		enum mcshm_reason ended, late, garbage;
		bool partial;
	} cases[] = {
		{ about, "SERVER_ERROR out of memory\r\nEND\r\nNOT_FOUND\r\n",
		  MCSHM_R_NO_MEMORY, MCSHM_R_NO_MEMORY, MCSHM_R_NO_MEMORY,
		  true },
		{ about, "STORED\r\nEND\r\nNOT_FOUND\r\n",
		  MCSHM_R_WRONG_VALUE, MCSHM_R_WRONG_VALUE,
		  MCSHM_R_WRONG_VALUE, true },
		{ about, "STORED\r\nEND\r\n", MCSHM_R_WRONG_VALUE,
		  MCSHM_R_WRONG_VALUE, MCSHM_R_GARBAGE, false },
		/* No memory is no excuse for what did not come. */
		{ about, "SERVER_ERROR out of memory\r\nEND\r\n",
		  MCSHM_R_CLOSED, MCSHM_R_TIMEOUT, MCSHM_R_GARBAGE, false },
		{ MCPROTO_ASK_VERSION | MCPROTO_ASK_STATS,
		  "VERSION 1\r\nSTAT pid 7\r\n", MCSHM_R_OK, MCSHM_R_OK,
		  MCSHM_R_OK, true },
		{ MCPROTO_ASK_VERSION | MCPROTO_ASK_MN, "VERSION 1\r\n",
		  MCSHM_R_CLOSED, MCSHM_R_TIMEOUT, MCSHM_R_GARBAGE, false },
	};
	struct probe_request plain = { 0, 9, "version\r\n" };
	struct test *t = *state;
	char text[100];

	t->fake.answer = text;
	t->task.plain = &plain;
	for (size_t i = 0; i < COUNT(cases) * 3; i++) {
		const size_t c = i / 3;
		const enum mcshm_reason want[] = { cases[c].ended,
			cases[c].late, cases[c].garbage };

		t->task.asks = plain.asks = cases[c].asks;
		t->timeout = i % 3 == 1 ? 100 * MS : LONG;
		t->fake.script = i % 3 == 0 ? "A" : "a";
		snprintf(text, sizeof text, "%s%s", cases[c].answer,
		    i % 3 == 2 ? "garbage" : "");
		probe(t);
		assert_result(t, want[i % 3], true);
		assert_int_equal(t->result.partial, cases[c].partial);
		assert_false(probe_has_connection(&t->probe));
		peer_end(&t->fake.peer[0], false);
		t->fake.accepted = 0;
	}
	/* Bytes beyond the last answer are nobody's. */
	snprintf(text, sizeof text, "VERSION 1\r\nEND\r\nSTAT\r\n");
	t->task.asks = plain.asks = MCPROTO_ASK_VERSION | MCPROTO_ASK_STATS;
	probe(t);
	assert_result(t, MCSHM_R_GARBAGE, true);
}

/* All that is asked is answered at once, and nothing of it read: it hangs up
 * while the request is still on its way. */
static void
answer_unread(struct test *t, const char *answer, size_t len)
{
	struct peer *peer = &t->fake.peer[0];

	t->fake.script = "M";
	t->task.asks = MCPROTO_ASK_VERSION;
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	ev_io_stop(t->loop, &peer->io);
	setsockopt(t->probe.conn[t->probe.kept].conn.fd, SOL_SOCKET, SO_SNDBUF,
	    &(int){ 4096 }, sizeof(int));
	t->task.asks = MCPROTO_ASK_CANARY | MCPROTO_ASK_STATS;
	start(t);
	assert_true(t->probe.sent > 0 && t->probe.sent < 65536);
	assert_int_equal(send(peer->io.fd, answer, len, MSG_NOSIGNAL), len);
	peer_end(peer, false);
	run_until(t, &t->done, 2);
	assert_int_equal(t->fake.accepted, 1);
	assert_false(probe_has_connection(&t->probe));
}

#define FULL "NOT_STORED\r\nEND\r\nNOT_FOUND\r\n"

static void
test_answer_before_the_end(void **state)
{
	struct test *t = *state;

	answer_unread(t, BYTES(FULL "STAT pid 7\r\nEND\r\n"));
	assert_result(t, MCSHM_R_NO_MEMORY, false);
	assert_false(t->result.partial);
	assert_int_equal(t->told.stats.pid, 7);
}

/* More than is read at once, and sending fails in between. */
static void
test_much_before_the_end(void **state)
{
	static char text[40000];
	struct test *t = *state;
	size_t len = (size_t)sprintf(text, FULL);

	while (len < 30000)
		len += (size_t)sprintf(text + len, "STAT x%zu 1\r\n", len);
	len += (size_t)sprintf(text + len, "STAT pid 7\r\nEND\r\n");
	answer_unread(t, text, len);
	assert_result(t, MCSHM_R_NO_MEMORY, false);
	assert_false(t->result.partial);
	assert_int_equal(t->told.stats.pid, 7);
}

/* An answer that is cut there ends as it would have, by what sending said. */
static void
test_half_before_the_end(void **state)
{
	struct test *t = *state;

	answer_unread(t, BYTES("NOT_STORED\r\nEND\r\n"));
	assert_result(t, MCSHM_R_RESET, false);
}

/* Connects, and says nothing. */
static void
test_connect_only(void **state)
{
	struct test *t = *state;
	unsigned unix_ends = t->fake.ss.ss_family == AF_UNIX;

	t->fake.script = "s";
	t->task.asks = 0;
	for (int i = 0; i < 3; i++) {
		probe(t);
		assert_result(t, MCSHM_R_OK, true);
		assert_false(probe_has_connection(&t->probe));
	}
	if (!unix_ends)
		run_until(t, &t->fake.resets, 3);
	assert_int_equal(t->fake.requests, 0);
}

/* Make before break -------------------------------------------------------- */

static void
test_fresh(void **state)
{
	struct test *t = *state;

	probe(t);
	for (unsigned i = 1; i < 4; i++) {
		t->task.fresh = true;
		probe(t);
		assert_result(t, MCSHM_R_OK, true);
		assert_false(t->result.kept);
		assert_int_equal(t->fake.accepted, i + 1);
		/* By RST, and not before the new one was good. */
		run_until(t, &t->fake.resets, i);
		t->task.fresh = false;
		probe(t);
		assert_result(t, MCSHM_R_OK, false);
	}
	assert_int_equal(t->lost, 0);
}

static void
test_fresh_fails(void **state)
{
	static const struct {
		const char *script;
		enum mcshm_reason reason;
	} cases[] = {
		{ "vs", MCSHM_R_TIMEOUT }, { "vr", MCSHM_R_RESET },
		{ "ve", MCSHM_R_CLOSED }, { "vg", MCSHM_R_GARBAGE },
		{ "vx", MCSHM_R_ERROR_REPLY },
	};
	struct test *t = *state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		t->fake.accepted = 0;
		t->fake.script = cases[i].script;
		t->timeout = LONG;
		probe(t);
		t->task.fresh = true;
		t->timeout = 100 * MS;
		probe(t);
		assert_result(t, cases[i].reason, true);
		assert_true(t->result.kept);
		t->task.fresh = false;
		t->timeout = LONG;
		probe(t);
		assert_result(t, MCSHM_R_OK, false);
		assert_int_equal(t->fake.accepted, 2);
		probe_drop(&t->probe);
		while (t->fake.accepted > 0)
			peer_end(&t->fake.peer[--t->fake.accepted], false);
	}
	assert_int_equal(t->lost, 0);
}

/* Nobody takes connections any more, but the kept one answers. */
static void
test_fresh_not_taken(void **state)
{
	struct test *t = *state;
	int fd[3];

	probe(t);
	ev_io_stop(t->loop, &t->fake.io);
	fill_backlog(&t->fake, fd, COUNT(fd));
	t->task.fresh = true;
	t->connect_timeout = 100 * MS;
	probe(t);
	assert_result(t, MCSHM_R_CONNECT_TIMEOUT, true);
	assert_true(t->result.kept);
	t->task.fresh = false;
	probe(t);
	assert_result(t, MCSHM_R_OK, false);
	for (size_t i = 0; i < COUNT(fd); i++)
		close(fd[i]);
}

/* The kept one ends while the fresh one is under way: nothing is left. */
static void
test_fresh_and_kept_ends(void **state)
{
	struct test *t = *state;
	ev_timer hang_up;

	t->fake.script = "vs";
	probe(t);
	t->task.fresh = true;
	t->timeout = 200 * MS;
	ev_timer_init(&hang_up, on_hang_up, 0.05, 0.);
	hang_up.data = &t->fake.peer[0];
	ev_now_update(t->loop);
	ev_timer_start(t->loop, &hang_up);
	probe(t);
	assert_result(t, MCSHM_R_TIMEOUT, true);
	assert_false(t->result.kept);
	assert_false(probe_has_connection(&t->probe));
	assert_int_equal(t->lost, 0);
	/* The other way round. */
	t->fake.script = "vsvd";
	t->timeout = LONG;
	t->task.fresh = false;
	probe(t);
	t->task.fresh = true;
	hang_up.data = &t->fake.peer[2];
	ev_timer_start(t->loop, &hang_up);
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	assert_true(probe_has_connection(&t->probe));
	t->task.fresh = false;
	probe(t);
	assert_result(t, MCSHM_R_OK, false);
}

/* Dropped with both under way. */
static void
test_fresh_dropped(void **state)
{
	struct test *t = *state;

	t->fake.script = "vs";
	probe(t);
	t->task.fresh = true;
	start(t);
	for (int i = 0; i < 5; i++)
		ev_run(t->loop, EVRUN_NOWAIT);
	probe_drop(&t->probe);
	assert_false(probe_has_connection(&t->probe));
	t->fake.script = "v";
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	assert_int_equal(t->done, 2);
}

static void
test_source(void **state)
{
	struct test *t = *state;
	struct sockaddr_in from = { .sin_family = AF_INET };

	from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	t->task.from = (const struct sockaddr *)&from;
	t->task.from_len = sizeof from;
	probe(t);
	assert_result(t, MCSHM_R_OK, true);
	assert_int_equal(((struct sockaddr_in *)&t->fake.from)->sin_addr.s_addr,
	    from.sin_addr.s_addr);
	/* Not ours: our own fault. */
	from.sin_addr.s_addr = htonl(0xc0000201);
	t->task.fresh = true;
	probe(t);
	assert_result(t, MCSHM_R_LOCAL, true);
	assert_int_equal(t->result.sys_errno, EADDRNOTAVAIL);
	assert_true(t->result.kept);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TEST_UNIX(f) cmocka_unit_test_setup_teardown(f, setup_unix, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kept), TEST(test_replies), TEST(test_refused),
		TEST(test_timeout), TEST(test_never_late), TEST(test_trickle),
		TEST(test_connect_timeout), TEST_UNIX(test_unix),
		TEST_UNIX(test_unix_timeout),
		TEST_UNIX(test_unix_reconnect_deadline),
		TEST_UNIX(test_unix_failures), TEST(test_local),
		TEST(test_lost), TEST(test_closes_after),
		TEST(test_reconnects), TEST(test_reconnect_refused),
		TEST(test_reconnect_deadline), TEST(test_half_on_kept),
		TEST(test_late_loop), TEST(test_late_connect),
		TEST(test_late_end), TEST(test_late_end_silent),
		TEST(test_drop),
		TEST(test_hangs_up_with_reset), TEST(test_again_from_done),
		TEST(test_asks), TEST_UNIX(test_asks), TEST(test_plain),
		TEST(test_login), TEST(test_out_of_step), TEST(test_answered_enough),
		TEST(test_cut_short), TEST_UNIX(test_cut_short),
		TEST(test_answer_before_the_end),
		TEST_UNIX(test_answer_before_the_end),
		TEST(test_much_before_the_end),
		TEST_UNIX(test_much_before_the_end),
		TEST(test_half_before_the_end),
		TEST_UNIX(test_half_before_the_end),
		TEST(test_connect_only), TEST_UNIX(test_connect_only),
		TEST(test_fresh), TEST(test_fresh_fails),
		TEST(test_fresh_not_taken), TEST(test_fresh_and_kept_ends),
		TEST(test_fresh_dropped), TEST(test_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
