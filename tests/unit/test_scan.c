/*
 * test_scan.c - new connections to scripted servers in the same loop.
 *
 * A script has a letter for each connection, the last one for all that follow:
 *
 *	v  answers			s  says nothing
 *	c  closes at once		r  resets instead of answering
 *	m  too many connections		g  speaks HTTP
 *	u  wants a login		x  answers with an error
 *	h  half a reply			l  answers a login, and then
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "scan.h"

#define MS UINT64_C(1000000)
#define LONG (5000 * MS)		/* a timeout that shall not matter */

/* Scripted servers --------------------------------------------------------- */

struct peer {
	ev_io io;
	char kind;
};

struct fake {
	struct ev_loop *loop;
	ev_io io;
	const char *script;
	unsigned accepted, resets;
	char asked[256];		/* by the last one that did */
	struct peer peer[SCAN_MOST];
	struct sockaddr_storage ss;
	socklen_t len;
};

static void
peer_end(struct peer *p, bool reset)
{
	const struct linger rst = { 1, 0 };
	struct fake *f = p->io.data;

	ev_io_stop(f->loop, &p->io);
	if (reset)
		setsockopt(p->io.fd, SOL_SOCKET, SO_LINGER, &rst, sizeof rst);
	close(p->io.fd);
	p->io.fd = -1;
}

static void
peer_answer(struct peer *p)
{
	static const struct { char kind; const char *text; } says[] = {
		{ 'v', "VERSION 1.6.18\r\n" }, { 'h', "VERS" },
		{ 'g', "HTTP/1.1 400 Bad Request\r\n\r\n" },
		{ 'u', "CLIENT_ERROR unauthenticated\r\n" },
		{ 'x', "ERROR\r\n" },
		{ 'l', "STORED\r\nVERSION 1.6.18\r\n" } };

	for (size_t i = 0; i < sizeof says / sizeof says[0]; i++)
		if (says[i].kind == p->kind)
			send(p->io.fd, says[i].text, strlen(says[i].text),
			    MSG_NOSIGNAL);
}

static void
on_peer(struct ev_loop *loop, ev_io *io, int events)
{
	struct peer *p = (struct peer *)io;
	struct fake *f = io->data;
	const ssize_t n = recv(io->fd, f->asked, sizeof f->asked - 1,
	    MSG_DONTWAIT);

	(void)loop;
	(void)events;
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		f->resets += n < 0 && errno == ECONNRESET;
		peer_end(p, false);
		return;
	}
	f->asked[n] = '\0';
	if (p->kind == 'r')
		peer_end(p, true);
	else
		peer_answer(p);
}

static void
on_accept(struct ev_loop *loop, ev_io *io, int events)
{
	static const char full[] = "ERROR Too many open connections\r\n";
	struct fake *f = io->data;
	struct peer *p = &f->peer[f->accepted++];
	const int fd = accept(io->fd, NULL, NULL);

	(void)events;
	assert_true(fd >= 0);
	p->kind = *f->script;
	if (f->script[1] != '\0')
		f->script++;
	ev_io_init(&p->io, on_peer, fd, EV_READ);
	p->io.data = f;
	ev_io_start(loop, &p->io);
	if (p->kind == 'm')
		send(fd, full, sizeof full - 1, MSG_NOSIGNAL);
	if (p->kind == 'c' || p->kind == 'm')
		peer_end(p, false);
}

static void
fake_bind(struct fake *f, const char *path)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&f->ss;
	struct sockaddr_un *un = (struct sockaddr_un *)&f->ss;
	int fd;

	memset(&f->ss, 0, sizeof f->ss);
	if (path != NULL) {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
		f->len = sizeof *un;
		unlink(path);
	} else {
		in->sin_family = AF_INET;
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		f->len = sizeof *in;
	}
	fd = socket(f->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&f->ss, f->len), 0);
	if (path == NULL)
		getsockname(fd, (struct sockaddr *)&f->ss, &f->len);
	ev_io_init(&f->io, on_accept, fd, EV_READ);
	f->io.data = f;
}

static void
fake_open(struct fake *f, struct ev_loop *loop, const char *script,
    const char *path)
{
	f->loop = loop;
	f->script = script;
	f->accepted = f->resets = 0;
	fake_bind(f, path);
	listen(f->io.fd, 128);
	ev_io_start(loop, &f->io);
}

static void
fake_close(struct fake *f)
{
	for (unsigned i = 0; i < f->accepted; i++)
		if (f->peer[i].io.fd >= 0)
			peer_end(&f->peer[i], false);
	ev_io_stop(f->loop, &f->io);
	close(f->io.fd);
	if (f->ss.ss_family == AF_UNIX)
		unlink(((struct sockaddr_un *)&f->ss)->sun_path);
}

/* Scans -------------------------------------------------------------------- */

struct bed {
	struct scan scan;
	struct scan_result result;
	unsigned done;
	struct fake fake;
};

static void
on_done(struct scan *s, const struct scan_result *r)
{
	struct bed *b = (struct bed *)((char *)s - offsetof(struct bed, scan));

	assert_false(scan_busy(s));
	b->result = *r;
	b->done++;
	ev_break(s->loop, EVBREAK_ALL);
}

static struct bed *
bed_open(const char *script, const char *path)
{
	struct bed *b = calloc(1, sizeof *b);
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);

	fake_open(&b->fake, loop, script, path);
	scan_init(&b->scan, loop, on_done);
	return b;
}

static void
bed_close(struct bed *b)
{
	struct ev_loop *loop = b->scan.loop;

	scan_drop(&b->scan);
	assert_false(scan_busy(&b->scan));
	fake_close(&b->fake);
	ev_loop_destroy(loop);
	free(b);
}

static void
start(struct bed *b, uint32_t n, uint64_t connect_timeout, uint64_t timeout,
    const struct mcproto_terms *terms)
{
	const struct mcproto_terms none = { 0 };
	const struct scan_task task = { .connections = n,
		.place = { .to = (struct sockaddr *)&b->fake.ss,
		    .len = b->fake.len },
		.connect_timeout = connect_timeout, .timeout = timeout,
		.login = terms != NULL, .terms = terms != NULL ? terms : &none };

	scan_start(&b->scan, &task);
	assert_int_equal(b->done, 0);
	assert_true(scan_busy(&b->scan));
}

static void
finish(struct bed *b)
{
	const struct scan_result *r = &b->result;

	ev_run(b->scan.loop, 0);
	assert_int_equal(b->done, 1);
	assert_int_equal(r->answered + r->silent + r->unreached + r->full +
	    r->proof + r->no_tls + r->failed, r->asked);
}

/* What the other side is to see. */
static void
wait_for(struct bed *b, const unsigned *count, unsigned n)
{
	for (unsigned i = 0; *count < n && i < 1000; i++) {
		ev_run(b->scan.loop, EVRUN_NOWAIT);
		usleep(*count < n ? 1000 : 0);
	}
	assert_int_equal(*count, n);
}

static struct scan_result
scan(const char *script, uint32_t n, uint64_t timeout)
{
	struct bed *b = bed_open(script, NULL);
	struct scan_result r;

	start(b, n, LONG, timeout, NULL);
	finish(b);
	r = b->result;
	assert_int_equal(r.asked, n);
	bed_close(b);
	return r;
}

static void
test_all_answer(void **state)
{
	struct bed *b = bed_open("v", NULL);

	(void)state;
	start(b, SCAN_MOST, LONG, LONG, NULL);
	finish(b);
	assert_int_equal(b->result.answered, SCAN_MOST);
	assert_int_equal(b->fake.accepted, SCAN_MOST);
	assert_string_equal(b->fake.asked, "version\r\n");
	wait_for(b, &b->fake.resets, SCAN_MOST);	/* no TIME_WAIT */
	bed_close(b);
}

static void
test_some_are_silent(void **state)
{
	struct scan_result r = scan("vsvv", 4, 100 * MS);

	(void)state;
	assert_int_equal(r.answered, 3);
	assert_int_equal(r.silent, 1);
	r = scan("s", 8, 100 * MS);
	assert_int_equal(r.silent, 8);
	r = scan("hv", 4, 100 * MS);	/* half an answer is none */
	assert_int_equal(r.silent, 1);
	assert_int_equal(r.answered, 3);
}

static void
test_what_is_an_answer(void **state)
{
	struct scan_result r = scan("vux", 5, LONG);

	(void)state;
	assert_int_equal(r.answered, 5);
	r = scan("vm", 4, LONG);
	assert_int_equal(r.full, 3);
	r = scan("m", 4, LONG);
	assert_int_equal(r.full, 4);
	r = scan("gcrv", 4, LONG);
	assert_int_equal(r.proof, 2);
	assert_int_equal(r.answered, 2);
}

static void
test_nobody_listens(void **state)
{
	struct bed *b = bed_open("v", NULL);

	(void)state;
	ev_io_stop(b->fake.loop, &b->fake.io);
	close(b->fake.io.fd);
	b->fake.io.fd = open("/dev/null", 0);
	start(b, 4, LONG, LONG, NULL);
	finish(b);
	assert_int_equal(b->result.proof, 4);
	bed_close(b);
}

/* Connections that the kernel takes, and then those that it does not. */
static void
test_a_full_backlog_is_not_reached(void **state)
{
	struct bed *b = bed_open("v", NULL);

	(void)state;
	ev_io_stop(b->fake.loop, &b->fake.io);
	listen(b->fake.io.fd, 2);
	start(b, 8, 200 * MS, 50 * MS, NULL);
	finish(b);
	assert_in_range(b->result.silent, 1, 7);
	assert_int_equal(b->result.silent + b->result.unreached, 8);
	bed_close(b);
}

static void
test_unix_sockets(void **state)
{
	char path[64];
	struct bed *b;

	(void)state;
	snprintf(path, sizeof path, "/tmp/mc-test-scan.%d", (int)getpid());
	b = bed_open("vsv", path);
	start(b, 4, LONG, 100 * MS, NULL);
	finish(b);
	assert_int_equal(b->result.answered, 3);
	assert_int_equal(b->result.silent, 1);
	bed_close(b);
	b = bed_open("v", path);
	ev_io_stop(b->fake.loop, &b->fake.io);
	listen(b->fake.io.fd, 1);
	start(b, 4, 100 * MS, 50 * MS, NULL);
	finish(b);
	assert_int_equal(b->result.silent, 2);
	assert_int_equal(b->result.unreached, 2);
	bed_close(b);
	b = bed_open("v", path);
	unlink(path);
	start(b, 4, LONG, LONG, NULL);
	finish(b);
	assert_int_equal(b->result.proof, 4);
	bed_close(b);
}

static void
test_a_login_goes_first(void **state)
{
	const struct mcproto_terms terms = { .user = "me", .password = "xyzzy" };
	struct bed *b = bed_open("l", NULL);

	(void)state;
	start(b, 4, LONG, LONG, &terms);
	finish(b);
	assert_int_equal(b->result.answered, 4);
	assert_memory_equal(b->fake.asked, "set ", 4);
	assert_non_null(strstr(b->fake.asked, "me xyzzy\r\nversion\r\n"));
	bed_close(b);
	b = bed_open("u", NULL);	/* it is the wrong one */
	start(b, 4, LONG, LONG, &terms);
	finish(b);
	assert_int_equal(b->result.answered, 4);
	bed_close(b);
}

static void
test_out_of_descriptors(void **state)
{
	struct bed *b = bed_open("v", NULL);
	struct rlimit was, few;
	const int next = dup(0);

	(void)state;
	close(next);
	getrlimit(RLIMIT_NOFILE, &was);
	few = was;
	few.rlim_cur = (rlim_t)next;
	setrlimit(RLIMIT_NOFILE, &few);
	start(b, 3, LONG, LONG, NULL);
	finish(b);
	setrlimit(RLIMIT_NOFILE, &was);
	assert_int_equal(b->result.failed, 3);
	bed_close(b);
}

static void
test_a_dropped_scan_is_silent_and_leaves_nothing(void **state)
{
	struct bed *b = bed_open("s", NULL);

	(void)state;
	start(b, 16, LONG, LONG, NULL);
	wait_for(b, &b->fake.accepted, 16);
	scan_drop(&b->scan);
	wait_for(b, &b->fake.resets, 16);
	assert_int_equal(b->done, 0);
	/* And it can be had again. */
	b->fake.accepted = 0;
	b->fake.script = "v";
	start(b, 4, LONG, LONG, NULL);
	finish(b);
	assert_int_equal(b->result.answered, 4);
	bed_close(b);
}

/* We were late, they were not: what is there at the end is read. */
static void
test_what_came_in_time_counts(void **state)
{
	struct bed *b = bed_open("v", NULL);

	(void)state;
	start(b, 4, LONG, 50 * MS, NULL);
	while (b->scan.connecting != 0)
		ev_run(b->scan.loop, EVRUN_ONCE);
	while (b->fake.accepted < 4)
		ev_invoke(b->fake.loop, &b->fake.io, EV_READ);
	for (unsigned i = 0; i < 4; i++)
		on_peer(b->fake.loop, &b->fake.peer[i].io, EV_READ);
	usleep(100000);
	finish(b);
	assert_int_equal(b->result.answered, 4);
	bed_close(b);
}

/* So are connections that came about in time. */
static void
test_what_connected_in_time_counts(void **state)
{
	struct bed *b = bed_open("v", NULL);

	(void)state;
	start(b, 4, 50 * MS, LONG, NULL);
	assert_int_equal(b->scan.connecting, 4);
	usleep(100000);
	finish(b);
	assert_int_equal(b->result.answered, 4);
	bed_close(b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test(test_##name)
		T(all_answer), T(some_are_silent), T(what_is_an_answer),
		T(nobody_listens), T(a_full_backlog_is_not_reached),
		T(unix_sockets), T(a_login_goes_first), T(out_of_descriptors),
		T(a_dropped_scan_is_silent_and_leaves_nothing),
		T(what_came_in_time_counts),
		T(what_connected_in_time_counts),
#undef T
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
