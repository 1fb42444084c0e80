/*
 * test_probe_tls.c - many probes with TLS at once, which takes its time.
 *
 * The TLS is one of the test's own: "hello" is sent, "hello" comes back, byte by
 * byte if need be, and each step takes as long as the test wants.  Where it is
 * about deadlines, the clock is the test's own, too, and servers have unix
 * sockets, which hand on at once: a machine that stands still is never late.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "probe.h"
#include "tls.h"

#define MS UINT64_C(1000000)
#define LONG (5000 * MS)		/* a timeout that shall not matter */
#define MANY 60
#define HELLO "hello"
#define STEPS 8u			/* a turn, as probe.c has it */

/* The clock ---------------------------------------------------------------- */

/* While it is the test's own: what TLS takes, and a little for each look, for a
 * timer of libev's is due when its time has passed. */
static struct {
	bool own;
	uint64_t now;
} test_clock;

/* libev's too. */
int
clock_gettime(clockid_t which, struct timespec *t)
{
	if (!test_clock.own)
		return (int)syscall(SYS_clock_gettime, which, t);
	test_clock.now += MS / 1000;
	t->tv_sec = (time_t)(test_clock.now / (1000 * MS));
	t->tv_nsec = (long)(test_clock.now % (1000 * MS));
	return 0;
}

static void
time_passes(uint64_t ns)
{
	const struct timespec t = { .tv_nsec = (long)ns };

	if (test_clock.own)
		test_clock.now += ns;
	else if (ns != 0)
		nanosleep(&t, NULL);
}

/* The server --------------------------------------------------------------- */

struct peer {
	ev_io io;
	ev_timer drip;
};

struct fake {
	struct ev_loop *loop;
	ev_io io;
	char kind;			/* v answers, s says nothing, d bytes of
					 * no end each millisecond */
	unsigned accepted;
	uint64_t flushed;		/* ns, on the test's own clock */
	struct peer peer[2 * MANY];
	struct sockaddr_storage ss;
	socklen_t len;
};

static void
peer_end(struct fake *f, struct peer *p)
{
	ev_io_stop(f->loop, &p->io);
	ev_timer_stop(f->loop, &p->drip);
	if (p->io.fd >= 0)
		close(p->io.fd);
	p->io.fd = -1;
}

/* The probe may have hung up meanwhile, or not read for long. */
static void
peer_say(struct peer *p, const char *text)
{
	if (send(p->io.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		assert_true(errno == ECONNRESET || errno == EPIPE ||
		    errno == EAGAIN);
}

static void
peer_answer(struct fake *f, struct peer *p, const char *asked)
{
	if (strcmp(asked, HELLO) == 0) {
		peer_say(p, HELLO);
		return;
	}
	peer_say(p, "VERSION 1.6.18\r\n");
	if (strstr(asked, "flush_all") == NULL)
		return;
	f->flushed = test_clock.now;
	peer_say(p, "OK\r\n");
}

static void
on_drip(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)events;
	peer_say(w->data, "...");
}

static void
on_peer(struct ev_loop *loop, ev_io *w, int events)
{
	struct peer *p = (struct peer *)w;
	struct fake *f = w->data;
	char bytes[100] = "";

	(void)events;
	if (recv(w->fd, bytes, sizeof bytes - 1, MSG_DONTWAIT) <= 0) {
		peer_end(f, p);
		return;
	}
	if (f->kind == 'v')
		peer_answer(f, p, bytes);
	if (f->kind == 'd')
		ev_timer_start(loop, &p->drip);
}

static void
peer_begin(struct fake *f, int fd)
{
	struct peer *p = &f->peer[f->accepted++];

	assert_true(f->accepted <= sizeof f->peer / sizeof f->peer[0]);
	ev_io_init(&p->io, on_peer, fd, EV_READ);
	ev_timer_init(&p->drip, on_drip, 0.001, 0.001);
	p->io.data = f;
	p->drip.data = p;
	ev_io_start(f->loop, &p->io);
}

/* All of them: its turns are long. */
static void
on_accept(struct ev_loop *loop, ev_io *w, int events)
{
	int fd;

	(void)loop;
	(void)events;
	while ((fd = accept(w->fd, NULL, NULL)) >= 0)
		peer_begin(w->data, fd);
}

static void
fake_open(struct fake *f, struct ev_loop *loop, int family, char kind)
{
	const int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct sockaddr_in *in = (struct sockaddr_in *)&f->ss;
	socklen_t len = sizeof f->ss;

	*f = (struct fake){ .loop = loop, .kind = kind };
	f->ss.ss_family = (sa_family_t)family;
	f->len = family == AF_INET ? sizeof *in : sizeof f->ss.ss_family;
	if (family == AF_INET)
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	/* A unix socket gets a name of its own, and no file. */
	assert_int_equal(bind(fd, (struct sockaddr *)&f->ss, f->len), 0);
	getsockname(fd, (struct sockaddr *)&f->ss, &len);
	f->len = len;
	assert_int_equal(listen(fd, 2 * MANY), 0);
	ev_io_init(&f->io, on_accept, fd, EV_READ);
	f->io.data = f;
	ev_io_start(loop, &f->io);
}

static void
fake_close(struct fake *f)
{
	for (unsigned i = 0; i < f->accepted; i++)
		peer_end(f, &f->peer[i]);
	ev_io_stop(f->loop, &f->io);
	close(f->io.fd);
}

/* TLS ---------------------------------------------------------------------- */

struct tls_peer {
	struct ev_loop *loop;
	uint64_t takes;			/* ns a step */
	unsigned flights;		/* hellos beside the first */
	unsigned iteration;		/* of the loop, and */
	unsigned steps, most;		/* so many steps in it; in any */
	unsigned going, crowd;		/* have said hello; at most */
};

struct tls_conn {
	struct tls_peer *peer;
	int fd;
	bool said;
	unsigned flights;
	size_t heard;
};

struct tls_conn *
tls_conn_new(struct tls_peer *p, int fd)
{
	struct tls_conn *c = calloc(1, sizeof *c);

	assert_non_null(c);
	c->peer = p;
	c->fd = fd;
	return c;
}

void
tls_conn_free(struct tls_conn *c)
{
	if (c != NULL && c->said && c->heard < strlen(HELLO))
		c->peer->going--;
	free(c);
}

static void
peer_step(struct tls_peer *p)
{
	if (p->iteration != ev_iteration(p->loop))
		p->steps = 0;
	p->iteration = ev_iteration(p->loop);
	p->most = ++p->steps > p->most ? p->steps : p->most;
	time_passes(p->takes);
}

static enum tls_state
peer_hello(const struct tls_conn *c)
{
	return send(c->fd, HELLO, strlen(HELLO), MSG_NOSIGNAL) < 0 ?
	    TLS_FAILED : TLS_WANTS_READ;
}

enum tls_state
tls_handshake(struct tls_conn *c)
{
	struct tls_peer *p = c->peer;
	char byte;

	peer_step(p);
	if (!c->said) {
		c->said = true;
		p->crowd = ++p->going > p->crowd ? p->going : p->crowd;
		return peer_hello(c);
	}
	while (c->heard < strlen(HELLO)) {
		if (recv(c->fd, &byte, 1, MSG_DONTWAIT) != 1)
			return errno == EAGAIN ? TLS_WANTS_READ : TLS_FAILED;
		if (byte == '.')
			return TLS_WANTS_READ;
		c->heard++;
	}
	if (c->flights < p->flights) {
		c->flights++;
		c->heard = 0;
		return peer_hello(c);
	}
	p->going--;
	return TLS_READY;
}

size_t
tls_plain(struct tls_conn *c, char *bytes, size_t size, bool *more)
{
	(void)c;
	(void)bytes;
	(void)size;
	return *more = false;
}

bool
tls_forget(struct tls_conn *c)
{
	(void)c;
	return false;
}

ssize_t
tls_send(struct tls_conn *c, const char *bytes, size_t len)
{
	return send(c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t
tls_recv(struct tls_conn *c, char *bytes, size_t len)
{
	return recv(c->fd, bytes, len, MSG_DONTWAIT);
}

bool
tls_has_more(const struct tls_conn *c)
{
	(void)c;
	return false;
}

bool
tls_trusted(const struct tls_conn *c)
{
	(void)c;
	return true;
}

uint64_t
tls_expiry(const struct tls_conn *c)
{
	(void)c;
	return 0;
}

enum tls_alert
tls_alert(const struct tls_conn *c)
{
	(void)c;
	return TLS_NO_ALERT;
}

const char *
tls_why(const struct tls_conn *c)
{
	(void)c;
	return NULL;
}

/* Probes ------------------------------------------------------------------- */

struct test;

struct one {
	struct probe probe;		/* first: done() casts */
	struct test *test;
	unsigned began;
	bool done;
	enum mcshm_reason reason;
};

struct test {
	struct ev_loop *loop;
	struct probes *probes;
	struct tls_peer tls;
	struct fake good, bad, near;
	unsigned done, began;
	struct one one[MANY];
};

static void
on_done(struct probe *p, const struct probe_result *r)
{
	struct one *one = (struct one *)p;

	assert_false(one->done);
	one->done = true;
	one->reason = r->reason;
	one->test->done++;
}

static void
on_lost(struct probe *p)
{
	(void)p;
	fail_msg("lost");
}

/* Before anything was asked, and once. */
static void
on_began(struct probe *p)
{
	struct one *one = (struct one *)p;

	assert_false(one->done);
	assert_null(p->conn[p->now].conn.tls);
	assert_int_equal(one->began++, 0);
	one->test->began++;
}

static int
setup(void **state)
{
	struct test *t = calloc(1, sizeof *t);

	t->loop = ev_loop_new(EVFLAG_NOENV);
	t->tls.loop = t->loop;
	t->probes = probes_open(t->loop);
	assert_non_null(t->probes);
	fake_open(&t->good, t->loop, AF_INET, 'v');
	fake_open(&t->bad, t->loop, AF_UNIX, 's');
	fake_open(&t->near, t->loop, AF_UNIX, 'v');
	for (int i = 0; i < MANY; i++) {
		t->one[i].test = t;
		assert_int_equal(probe_init(&t->one[i].probe, t->probes,
		    on_done, on_lost, on_began), 0);
	}
	*state = t;
	return 0;
}

static int
setup_clock(void **state)
{
	test_clock.own = true;
	return setup(state);
}

static int
teardown(void **state)
{
	struct test *t = *state;

	for (int i = 0; i < MANY; i++)
		probe_close(&t->one[i].probe);
	probes_close(t->probes);
	fake_close(&t->good);
	fake_close(&t->bad);
	fake_close(&t->near);
	ev_loop_destroy(t->loop);
	free(t);
	test_clock.own = false;
	return 0;
}

static void
start_task(struct test *t, int i, const struct fake *at,
    struct probe_task *task)
{
	task->to = at->ss;
	task->len = at->len;
	task->tls = &t->tls;
	t->one[i].done = false;
	t->one[i].began = 0;
	ev_now_update(t->loop);
	probe_start(&t->one[i].probe, task);
}

static void
start(struct test *t, int i, const struct fake *at, uint64_t connect_timeout)
{
	start_task(t, i, at, &(struct probe_task){
	    .connect_timeout = connect_timeout, .timeout = LONG,
	    .asks = MCPROTO_ASK_VERSION });
}

static void
start_flush(struct test *t, int i, const struct fake *at, uint64_t timeout)
{
	start_task(t, i, at, &(struct probe_task){
	    .connect_timeout = timeout, .timeout = timeout,
	    .asks = MCPROTO_ASK_VERSION | MCPROTO_ASK_FLUSH });
}

static void
on_guard(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)w;
	(void)events;
	ev_break(loop, EVBREAK_ALL);
}

/* Run the loop until so many are done; they must be.  On the test's own clock
 * time passes only while it runs. */
static void
run_until(struct test *t, unsigned want)
{
	ev_timer guard;

	ev_timer_init(&guard, on_guard, 10., 0.);
	ev_now_update(t->loop);
	ev_timer_start(t->loop, &guard);
	while (t->done < want && ev_is_active(&guard))
		ev_run(t->loop, test_clock.own ? EVRUN_NOWAIT : EVRUN_ONCE);
	ev_timer_stop(t->loop, &guard);
	assert_int_equal(t->done, want);
}

/* Tests -------------------------------------------------------------------- */

static void
assert_all_ok(const struct test *t)
{
	for (int i = 0; i < MANY; i++)
		assert_int_equal(t->one[i].reason, MCSHM_R_OK);
}

/* Ours alone takes four times as long as any server may. */
static void
test_storm(void **state)
{
	struct test *t = *state;

	t->tls.takes = 2 * MS;
	for (int i = 0; i < MANY; i++)
		start(t, i, &t->near, MANY * MS);
	run_until(t, MANY);
	assert_all_ok(t);
	assert_in_range(t->tls.most, 1, STEPS);
	/* Those that are under way go first. */
	assert_in_range(t->tls.crowd, 1, 4 * STEPS);
	assert_in_range(t->began, MANY / 2, MANY);
}

/* As TLS 1.2 has it: each of their answers finds us late. */
static void
test_storm_of_two_flights(void **state)
{
	struct test *t = *state;

	t->tls.takes = 2 * MS;
	t->tls.flights = 1;
	for (int i = 0; i < MANY; i++)
		start(t, i, &t->near, MANY * MS);
	run_until(t, MANY);
	assert_all_ok(t);
	assert_in_range(t->tls.most, 1, STEPS);
}

/* Others wait for it, and it waits for nobody.  libev may take those that are
 * ready from either end: it is in the middle. */
static void
test_flush_is_not_put_off(void **state)
{
	struct test *t = *state;
	const uint64_t timeout = 50 * MS, began = test_clock.now;

	t->tls.takes = 2 * MS;
	for (int i = 0; i < MANY; i++) {
		if (i == MANY / 2)
			start_flush(t, i, &t->near, timeout);
		else
			start(t, i, &t->near, LONG);
	}
	run_until(t, MANY);
	assert_all_ok(t);
	assert_in_range(t->near.flushed, began, began + 2 * timeout);
	assert_int_equal(t->one[MANY / 2].began, 0);
	assert_in_range(t->tls.most, 1, STEPS + 1);
}

static void
test_alone(void **state)
{
	struct test *t = *state;

	start(t, 0, &t->good, LONG);
	run_until(t, 1);
	assert_int_equal(t->one[0].reason, MCSHM_R_OK);
	assert_int_equal(t->began, 0);
}

/* There is a connection at once, but it has to wait for its turn, too. */
static void
test_unix(void **state)
{
	struct test *t = *state;

	for (int i = 0; i < MANY; i++)
		start(t, i, &t->near, LONG);
	assert_int_equal(t->tls.most, 0);
	run_until(t, MANY);
	assert_all_ok(t);
	assert_in_range(t->tls.most, 1, STEPS);
}

/* However many they are. */
static void
test_who_hangs_is_in_nobodys_way(void **state)
{
	struct test *t = *state;

	for (int i = 1; i < MANY; i++)
		start(t, i, &t->bad, 500 * MS);
	start(t, 0, &t->near, LONG);
	run_until(t, 1);
	assert_true(t->one[0].done);
	assert_int_equal(t->one[0].reason, MCSHM_R_OK);
	run_until(t, MANY);
	for (int i = 1; i < MANY; i++)
		assert_int_equal(t->one[i].reason, MCSHM_R_TIMEOUT);
}

/* There is always something to read, and it leads to nothing. */
static void
test_without_end(void **state)
{
	struct test *t = *state;

	t->bad.kind = 'd';
	t->tls.takes = 30 * MS;
	start(t, 0, &t->bad, 100 * MS);
	run_until(t, 1);
	assert_int_equal(t->one[0].reason, MCSHM_R_TIMEOUT);
}

/* While they wait for their turn. */
static void
test_drop(void **state)
{
	struct test *t = *state;

	for (int i = 0; i < MANY; i++)
		start(t, i, &t->good, LONG);
	while (t->tls.most == 0)
		ev_run(t->loop, EVRUN_ONCE);
	for (int i = 0; i < MANY; i++)
		probe_drop(&t->one[i].probe);
	for (int i = 0; i < 10; i++)
		ev_run(t->loop, EVRUN_NOWAIT);
	assert_int_equal(t->done, 0);
	assert_int_equal(t->tls.going, 0);
	for (int i = 0; i < MANY; i++)
		start(t, i, &t->good, LONG);
	run_until(t, MANY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define CLOCK(f) cmocka_unit_test_setup_teardown(f, setup_clock, teardown)
		CLOCK(test_storm), CLOCK(test_storm_of_two_flights),
		CLOCK(test_flush_is_not_put_off),
		TEST(test_alone), TEST(test_unix),
		CLOCK(test_who_hangs_is_in_nobodys_way),
		CLOCK(test_without_end), TEST(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
