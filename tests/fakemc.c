/*
 * fakemc.c - a fake memcached that misbehaves on command: as many servers as
 * wanted, each with a mode of its own, in one process.
 *
 * For tests and benches of the checker.  It answers what probes ask: version,
 * mn, stats, get, set, add, delete, flush_all and quit; all else with ERROR.
 * What it says of itself in stats can be set.
 *
 *	$ fakemc --count 3
 *	ports: 40001 40002 40003
 *	1 hang				<- a command on stdin
 *	ok
 *
 * fakemc --help lists commands and modes; the modes are the rows of one table.
 * What a mode can not do, it can not do by itself: there is no mode that goes
 * on to another after a time.  Tests say when.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "mcproto.h"

#define VERSION_TEXT "1.6.18"
#define SERVERS_MAX 20000u
#define OUT_MAX (256u << 10)	/* a peer that lets more pile up is reset */
#define IN_MAX (MCPROTO_VALUE_MAX + 4096u)
#define MS UINT64_C(1000000)

/* Modes ------------------------------------------------------------------- */

enum ending { STAY, FIN, RST };		/* of the connection, once it is said */

enum {
	REFUSES = 1,	/* nobody listens */
	GREETS = 2,	/* says it at accept; requests get the right answer */
	WAITS = 4,	/* arg ms before the answer */
	TRICKLES = 8,	/* a byte every arg ms */
	HALVES = 16,	/* the first half, never the second */
	DOUBLES = 32,	/* the answer twice */
	WITHHOLDS = 64,	/* the answer, when the mode changes */
	NEEDS_ARG = 128,
	FULL = 256,	/* stores nothing */
	SPOILS = 512,	/* values */
	FORBIDS = 1024,	/* flush_all */
	ODD = 2048,	/* statistics of others' kind */
	CONFUSES = 4096	/* statistics with something else */
};

static const struct mode {
	const char *name;
	const char *says;	/* NULL: the right answer */
	enum ending then;
	unsigned flags;
	const char *help;
} modes[] = {
	{ "ok", NULL, STAY, 0, "as a memcached" },
	{ "hang", "", STAY, 0, "accepts, reads, never answers" },
	{ "refuse", "", STAY, REFUSES,
	  "connections refused, the open ones reset" },
	{ "reset", "", RST, 0, "RST instead of an answer" },
	{ "close", "", FIN, 0, "FIN instead of an answer" },
	{ "close-after", NULL, FIN, 0, "answers, then FIN" },
	{ "slow", NULL, STAY, WAITS | NEEDS_ARG, "answers after ARG ms" },
	{ "garbage", "\xde\xad\xbe\xef no memcached\r\n", STAY, 0,
	  "answers with bytes of another kind" },
	{ "http", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
	  "Content-Length: 0\r\n\r\n", FIN, 0, "answers as a web server" },
	{ "error", "ERROR\r\n", STAY, 0, "ERROR" },
	{ "server-error", "SERVER_ERROR out of memory\r\n", STAY, 0,
	  "SERVER_ERROR" },
	{ "unauth", "CLIENT_ERROR unauthenticated\r\n", STAY, 0,
	  "wants a login" },
	{ "maxconns", "ERROR Too many open connections\r\n", FIN, GREETS,
	  "new connections: too many, FIN; answers on old ones" },
	{ "partial", NULL, STAY, HALVES, "half an answer, then silence" },
	{ "late", NULL, STAY, WITHHOLDS,
	  "answers when the next mode is set, not before" },
	{ "double", NULL, STAY, DOUBLES, "two answers to one request" },
	{ "no-memory", NULL, STAY, FULL, "has no memory to store" },
	{ "spoils", NULL, STAY, SPOILS, "gives back other values" },
	{ "no-flush", NULL, STAY, FORBIDS, "flush_all is not allowed" },
	{ "odd-stats", NULL, STAY, ODD,
	  "statistics have a long line, and one of other bytes" },
	{ "no-stats", NULL, STAY, CONFUSES,
	  "statistics are none, but of another kind" },
	{ "bytewise", NULL, STAY, TRICKLES,
	  "a byte at a time, one every ARG ms (1)" },
};
#define MODES (sizeof modes / sizeof modes[0])

static const struct mode *
mode_find(const char *name)
{
	for (size_t i = 0; i < MODES; i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}

/* What epoll watches.  The first member of whatever is watched. */
struct source {
	void (*ready)(struct source *source);
};

struct conn {
	struct source source;
	LIST_ENTRY(conn) link;		/* of the server's, or of the dead */
	LIST_ENTRY(conn) delayed;	/* where due is not 0 */
	struct server *server;
	int fd;				/* -1: dead */
	char *in, *out;			/* allocated for what is there */
	size_t in_len, out_len, out_room, sent;
	uint64_t due;			/* of the next byte, 0: now */
	unsigned trickle;		/* ms between bytes, 0: all at once */
	bool withheld;
	bool owes;			/* a request was not answered in full */
	bool blocked;			/* the peer does not read */
	enum ending then;
};
LIST_HEAD(conns, conn);

struct item {
	LIST_ENTRY(item) link;
	char *key, *value;
	size_t key_len, value_len;
	uint64_t expires;		/* clock_now(), UINT64_MAX: never */
};

/* A value of stats that a test wants. */
struct stat_value {
	LIST_ENTRY(stat_value) link;
	char name[40], value[40];
};

struct server {
	struct source source;
	struct fakemc *fakemc;
	struct sockaddr_storage address;
	socklen_t address_len;
	int listener;
	bool listens;
	const struct mode *mode;
	unsigned arg;
	uint64_t requests, accepted;
	unsigned open;
	struct conns conns;
	LIST_HEAD(, item) items;
	LIST_HEAD(, stat_value) stats;
	uint64_t began;
	uint64_t curr_items, total_items, flushes, no_memory;
};

struct fakemc {
	struct source commands, signals;
	int epoll, signalfd;
	struct server *server;
	unsigned servers;
	struct conns delayed, dead;
	char in[64 << 10];		/* what has just come in */
	char answer[OUT_MAX];
	size_t answer_len;
	char line[512];			/* of commands, so far */
	size_t line_len;
	bool always_readable;		/* stdin is a file: no epoll for it */
	bool over;
};

static void
die(const char *what)
{
	fprintf(stderr, "fakemc: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t
clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 * MS + (uint64_t)t.tv_nsec;
}

static int
watch(const struct fakemc *f, int op, int fd, uint32_t events,
    struct source *source)
{
	struct epoll_event ev = { .events = events, .data.ptr = source };

	return epoll_ctl(f->epoll, op, fd, &ev);
}

/* Connections ------------------------------------------------------------- */

/* Buried later: this turn of the loop may still hold an event of it. */
static void
conn_close(struct conn *c)
{
	if (c->fd < 0)
		return;
	close(c->fd);
	c->fd = -1;
	c->server->open--;
	if (c->due != 0)
		LIST_REMOVE(c, delayed);
	LIST_REMOVE(c, link);
	LIST_INSERT_HEAD(&c->server->fakemc->dead, c, link);
}

static void
conn_reset(struct conn *c)
{
	const struct linger at_once = { 1, 0 };

	if (c->fd >= 0)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once,
		    sizeof at_once);
	conn_close(c);
}

static void
conn_delay(struct conn *c, uint64_t due)
{
	if (c->due == 0 && due != 0)
		LIST_INSERT_HEAD(&c->server->fakemc->delayed, c, delayed);
	else if (c->due != 0 && due == 0)
		LIST_REMOVE(c, delayed);
	c->due = due;
}

static void
conn_end(struct conn *c)
{
	free(c->out);
	c->out = NULL;
	c->out_len = c->out_room = c->sent = 0;
	c->trickle = 0;
	if (c->then == RST)
		conn_reset(c);
	else if (c->then == FIN)
		conn_close(c);
}

static void
conn_block(struct conn *c, bool blocked)
{
	if (c->blocked == blocked)
		return;
	c->blocked = blocked;
	watch(c->server->fakemc, EPOLL_CTL_MOD, c->fd,
	    blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, &c->source);
}

/* Send what may be sent now; at the end of it, the connection's end. */
static void
conn_flush(struct conn *c)
{
	while (c->sent < c->out_len) {
		const size_t n = c->trickle ? 1 : c->out_len - c->sent;
		ssize_t sent;

		if (c->withheld || c->due != 0)
			return;
		sent = send(c->fd, c->out + c->sent, n, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) {
			conn_block(c, true);
			return;
		}
		if (sent < 0) {
			conn_close(c);
			return;
		}
		c->sent += (size_t)sent;
		if (c->trickle && c->sent < c->out_len)
			conn_delay(c, clock_now() + c->trickle * MS);
	}
	conn_block(c, false);
	conn_end(c);
}

/* Put it behind what is still to be sent; false if the peer let it pile up. */
static bool
conn_say(struct conn *c, const char *text, size_t len)
{
	char *out;

	if (len > OUT_MAX - c->out_len)
		return false;
	if (len > c->out_room - c->out_len) {
		out = realloc(c->out, c->out_len + len);
		if (out == NULL)
			die("out of memory");
		c->out = out;
		c->out_room = c->out_len + len;
	}
	if (len > 0)
		memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
	return true;
}

/* Items ------------------------------------------------------------------- */

static void
item_free(struct server *s, struct item *it)
{
	LIST_REMOVE(it, link);
	s->curr_items--;
	free(it->key);
	free(it->value);
	free(it);
}

/* NULL: there is none, or no more. */
static struct item *
item_find(struct server *s, const char *key, size_t len)
{
	struct item *it;

	LIST_FOREACH(it, &s->items, link)
		if (it->key_len == len && memcmp(it->key, key, len) == 0)
			break;
	if (it != NULL && it->expires <= clock_now()) {
		item_free(s, it);
		return NULL;
	}
	return it;
}

static char *
copy(const char *bytes, size_t len)
{
	char *p = malloc(len + 1);

	if (p == NULL)
		die("out of memory");
	memcpy(p, bytes, len);
	return p;
}

static uint64_t
expires(int64_t exptime)
{
	if (exptime < 0)
		return 0;
	return exptime == 0 ? UINT64_MAX :
	    clock_now() + (uint64_t)exptime * 1000 * MS;
}

static void
item_store(struct server *s, const struct mcproto_call *call)
{
	struct item *it = item_find(s, call->key, call->key_len);

	if (it != NULL)
		item_free(s, it);
	it = calloc(1, sizeof *it);
	if (it == NULL)
		die("out of memory");
	it->key = copy(call->key, call->key_len);
	it->key_len = call->key_len;
	it->value = copy(call->value, call->value_len);
	it->value_len = call->value_len;
	it->expires = expires(call->exptime);
	LIST_INSERT_HEAD(&s->items, it, link);
	s->curr_items++;
	s->total_items++;
}

static void
items_forget(struct server *s)
{
	struct item *it;

	while ((it = LIST_FIRST(&s->items)) != NULL)
		item_free(s, it);
}

/* Answers ----------------------------------------------------------------- */

static void
answer_bytes(struct fakemc *f, const char *bytes, size_t len)
{
	if (len > sizeof f->answer - f->answer_len)
		return;
	memcpy(f->answer + f->answer_len, bytes, len);
	f->answer_len += len;
}

static void
answer(struct fakemc *f, const char *format, ...)
{
	char text[400];
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	answer_bytes(f, text, (size_t)n);
}

static struct stat_value *
stat_find(const struct server *s, const char *name)
{
	struct stat_value *v;

	LIST_FOREACH(v, &s->stats, link)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

static void
answer_stat(const struct server *s, const char *name, uint64_t value)
{
	if (stat_find(s, name) == NULL)
		answer(s->fakemc, "STAT %s %llu\r\n", name,
		    (unsigned long long)value);
}

/* As mcrouter has them: its command line, whatever is in it. */
static void
answer_odd(struct server *s)
{
	char value[4000];

	memset(value, 'x', sizeof value);
	answer(s->fakemc, "STAT commandargs -p 5000 --config-str={\t");
	answer_bytes(s->fakemc, value, sizeof value);
	answer(s->fakemc, "}\r\nSTAT name \xc3\xa9\x1b[31m\r\n");
}

/* As memcached's, but for what was set. */
static void
answer_stats(struct server *s)
{
	struct stat_value *v;

	if (s->mode->flags & ODD)
		answer_odd(s);
	if (s->mode->flags & CONFUSES) {
		answer(s->fakemc, "HEALTH good\r\nEND\r\n");
		return;
	}
	answer_stat(s, "pid", (uint64_t)getpid());
	answer_stat(s, "uptime", (clock_now() - s->began) / (1000 * MS));
	answer_stat(s, "time", (uint64_t)time(NULL));
	if (stat_find(s, "version") == NULL)
		answer(s->fakemc, "STAT version " VERSION_TEXT "\r\n");
	answer_stat(s, "max_connections", 1024);
	answer_stat(s, "curr_connections", s->open);
	answer_stat(s, "total_connections", s->accepted);
	answer_stat(s, "rejected_connections", 0);
	answer_stat(s, "cmd_flush", s->flushes);
	answer_stat(s, "accepting_conns", 1);
	answer_stat(s, "listen_disabled_num", 0);
	answer_stat(s, "threads", 4);
	answer_stat(s, "curr_items", s->curr_items);
	answer_stat(s, "total_items", s->total_items);
	answer_stat(s, "store_no_memory", s->no_memory);
	answer_stat(s, "evictions", 0);
	LIST_FOREACH(v, &s->stats, link)
		answer(s->fakemc, "STAT %s %s\r\n", v->name, v->value);
	answer(s->fakemc, "END\r\n");
}

static void
answer_get(struct server *s, const struct mcproto_call *call)
{
	const char *p = call->key, *end = call->key + call->key_len;

	while (p < end) {
		const size_t blanks = strspn(p, " ");
		const struct item *it;
		size_t len;

		/* The line's end stops both: it is in the buffer. */
		p += blanks;
		len = strcspn(p, " \r\n");
		if (len == 0)
			break;
		it = item_find(s, p, len);
		p += len;
		if (it == NULL)
			continue;
		answer(s->fakemc, "VALUE %.*s 0 %zu\r\n", (int)it->key_len,
		    it->key, it->value_len);
		answer_bytes(s->fakemc, it->value, it->value_len);
		if (s->mode->flags & SPOILS && it->value_len > 0)
			s->fakemc->answer[s->fakemc->answer_len - 1] ^= 1;
		answer(s->fakemc, "\r\n");
	}
	answer(s->fakemc, "END\r\n");
}

static void
answer_store(struct server *s, const struct mcproto_call *call, bool add)
{
	if (s->mode->flags & FULL) {
		s->no_memory++;
		answer(s->fakemc,
		    "SERVER_ERROR out of memory storing object\r\n");
	} else if (add && item_find(s, call->key, call->key_len) != NULL) {
		answer(s->fakemc, "NOT_STORED\r\n");
	} else {
		item_store(s, call);
		answer(s->fakemc, "STORED\r\n");
	}
}

static void
answer_delete(struct server *s, const struct mcproto_call *call)
{
	struct item *it = item_find(s, call->key, call->key_len);

	if (it != NULL)
		item_free(s, it);
	answer(s->fakemc, it != NULL ? "DELETED\r\n" : "NOT_FOUND\r\n");
}

static void
answer_flush(struct server *s)
{
	if (s->mode->flags & FORBIDS) {
		answer(s->fakemc, "CLIENT_ERROR flush_all not allowed\r\n");
		return;
	}
	items_forget(s);
	s->flushes++;
	answer(s->fakemc, "OK\r\n");
}

static void
right_answer(struct server *s, enum mcproto_command command,
    const struct mcproto_call *call)
{
	switch (command) {
	case MCPROTO_VERSION:
		answer(s->fakemc, "VERSION " VERSION_TEXT "\r\n");
		return;
	case MCPROTO_MN:
		answer(s->fakemc, "MN\r\n");
		return;
	case MCPROTO_STATS:
		answer_stats(s);
		return;
	case MCPROTO_GET:
		answer_get(s, call);
		return;
	case MCPROTO_SET:
	case MCPROTO_ADD:
		answer_store(s, call, command == MCPROTO_ADD);
		return;
	case MCPROTO_DELETE:
		answer_delete(s, call);
		return;
	case MCPROTO_FLUSH:
		answer_flush(s);
		return;
	case MCPROTO_QUIT:
	case MCPROTO_INCOMPLETE:
		return;
	case MCPROTO_OTHER:
		answer(s->fakemc, "ERROR\r\n");
	}
}

static void
conn_answer(struct conn *c, enum mcproto_command command,
    const struct mcproto_call *call)
{
	struct server *s = c->server;
	struct fakemc *f = s->fakemc;
	const struct mode *m = s->mode;
	const bool right = m->says == NULL || m->flags & GREETS;
	size_t n;

	if (m->flags & HALVES && c->owes)
		return;			/* silence */
	f->answer_len = 0;
	if (right)
		right_answer(s, command, call);
	else
		answer(f, "%s", m->says);
	n = f->answer_len;
	if (right && command == MCPROTO_QUIT)
		c->then = FIN;
	else if (!(m->flags & GREETS))
		c->then = m->then;
	if (m->flags & HALVES)
		n /= 2;
	if (m->flags & WAITS && c->out_len == 0)
		conn_delay(c, clock_now() + s->arg * MS);
	c->trickle = m->flags & TRICKLES ? s->arg : 0;
	c->withheld = m->flags & WITHHOLDS;
	c->owes = n == 0 || m->flags & (HALVES | WITHHOLDS);
	if (!conn_say(c, f->answer, n) ||
	    (m->flags & DOUBLES && !conn_say(c, f->answer, n)))
		conn_reset(c);
}

/* The whole requests in there; how many bytes they are. */
static size_t
conn_requests(struct conn *c, const char *bytes, size_t len)
{
	size_t from = 0;

	while (c->fd >= 0 && c->then == STAY) {
		size_t used;
		struct mcproto_call call;
		const enum mcproto_command command = mcproto_request(
		    bytes + from, len - from, &used, &call);

		if (command == MCPROTO_INCOMPLETE)
			break;
		from += used;
		c->server->requests++;
		conn_answer(c, command, &call);
	}
	if (c->fd >= 0 && (c->out_len > 0 || c->then != STAY))
		conn_flush(c);
	return from;
}

/* Keep what is no whole request yet. */
static void
conn_keep(struct conn *c, const char *bytes, size_t len)
{
	char *in = NULL;

	if (len > IN_MAX) {
		conn_reset(c);
		len = 0;
	}
	if (len > 0) {
		in = malloc(len);
		if (in == NULL)
			die("out of memory");
		memcpy(in, bytes, len);
	}
	free(c->in);
	c->in = in;
	c->in_len = len;
}

static void
conn_take(struct conn *c, const char *bytes, size_t len)
{
	size_t used;
	char *in;

	if (c->in_len == 0) {
		used = conn_requests(c, bytes, len);
		conn_keep(c, bytes + used, len - used);
		return;
	}
	in = realloc(c->in, c->in_len + len);
	if (in == NULL)
		die("out of memory");
	c->in = in;
	memcpy(c->in + c->in_len, bytes, len);
	c->in_len += len;
	used = conn_requests(c, c->in, c->in_len);
	conn_keep(c, c->in + used, c->in_len - used);
}

static void
conn_ready(struct source *source)
{
	struct conn *c = (struct conn *)source;
	struct fakemc *f = c->server->fakemc;
	ssize_t n;

	if (c->fd < 0)
		return;
	n = recv(c->fd, f->in, sizeof f->in, 0);
	if (n > 0)
		conn_take(c, f->in, (size_t)n);
	else if (n == 0 || errno != EAGAIN)
		conn_close(c);
	if (c->fd >= 0 && c->blocked)
		conn_flush(c);
}

static bool
conn_idle(const struct conn *c)
{
	return !c->owes && c->out_len == 0 && c->in_len == 0;
}

static void
conn_open(struct server *s, int fd)
{
	const int yes = 1;
	struct conn *c = calloc(1, sizeof *c);

	if (c == NULL)
		die("out of memory");
	/* Each byte in a packet of its own, where they trickle. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
	c->source.ready = conn_ready;
	c->server = s;
	c->fd = fd;
	LIST_INSERT_HEAD(&s->conns, c, link);
	s->accepted++;
	s->open++;
	if (watch(s->fakemc, EPOLL_CTL_ADD, fd, EPOLLIN, &c->source) < 0)
		die("epoll_ctl");
	if (s->mode->flags & GREETS) {
		c->then = s->mode->then;
		conn_say(c, s->mode->says, strlen(s->mode->says));
		conn_flush(c);
	}
}

/* Servers ----------------------------------------------------------------- */

static void
server_ready(struct source *source)
{
	struct server *s = (struct server *)source;
	int fd;

	while (s->listens && (fd = accept4(s->listener, NULL, NULL,
	    SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		conn_open(s, fd);
	if (s->listens && errno != EAGAIN && errno != ECONNABORTED)
		die("accept");
}

static const char *
server_path(const struct server *s)
{
	return s->address.ss_family == AF_UNIX ?
	    ((const struct sockaddr_un *)&s->address)->sun_path : NULL;
}

static unsigned
server_port(const struct server *s)
{
	/* sin_port and sin6_port stand at the same place. */
	return ntohs(((const struct sockaddr_in *)&s->address)->sin_port);
}

/* Another socket with the same address, not listening; -1 and errno. */
static int
server_bind(const struct server *s)
{
	const int yes = 1;
	const int fd = socket(s->address.ss_family,
	    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (server_path(s) != NULL)
		unlink(server_path(s));
	if (bind(fd, (const struct sockaddr *)&s->address,
	    s->address_len) == 0)
		return fd;
	close(fd);
	return -1;
}

/*
 * A port that the kernel chose is given back when the socket no longer
 * listens; one that was asked for is kept.  So ask for the one that it chose.
 */
static int
server_choose_port(struct server *s)
{
	const int chosen = server_bind(s);
	socklen_t len = sizeof s->address;
	int err;

	if (chosen < 0 ||
	    getsockname(chosen, (struct sockaddr *)&s->address, &len) < 0)
		return -1;
	s->listener = server_bind(s);
	err = errno;
	close(chosen);
	errno = err;
	return s->listener < 0 ? -1 : 0;
}

/* 0, or -1 and errno. */
static int
server_listen(struct server *s)
{
	if (s->listens)
		return 0;
	if (s->listener < 0 && (s->listener = server_bind(s)) < 0)
		return -1;
	if (listen(s->listener, SOMAXCONN) < 0 || watch(s->fakemc,
	    EPOLL_CTL_ADD, s->listener, EPOLLIN, &s->source) < 0)
		return -1;
	s->listens = true;
	return 0;
}

/*
 * Connections shall be refused; but the port remains ours, or a client's own
 * socket could get it and be connected to itself.  (shutdown() does not work
 * both ways with unix sockets; there the path in the file system remains.)
 */
static void
server_refuse(struct server *s)
{
	struct conn *c;

	if (s->listens) {
		watch(s->fakemc, EPOLL_CTL_DEL, s->listener, 0, NULL);
		shutdown(s->listener, SHUT_RDWR);
	}
	if (s->listens && server_path(s) != NULL) {
		close(s->listener);
		s->listener = -1;
	}
	s->listens = false;
	while ((c = LIST_FIRST(&s->conns)) != NULL)
		conn_reset(c);
}

/* The mode that withheld them is over. */
static void
server_release(struct server *s)
{
	struct conn *c, *next;

	for (c = LIST_FIRST(&s->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (!c->withheld)
			continue;
		c->withheld = c->owes = false;
		conn_flush(c);
	}
}

static int
server_set(struct server *s, const struct mode *mode, unsigned arg)
{
	if (mode->flags & REFUSES)
		server_refuse(s);
	else if (server_listen(s) < 0)
		return -1;
	s->mode = mode;
	s->arg = arg;
	server_release(s);
	return 0;
}

static void
server_drop_idle(struct server *s)
{
	struct conn *c, *next;

	for (c = LIST_FIRST(&s->conns); c != NULL; c = next) {
		next = LIST_NEXT(c, link);
		if (conn_idle(c))
			conn_close(c);
	}
}

/* As after a kill -9 and a start: empty, and with no connections. */
static void
server_restart(struct server *s)
{
	struct conn *c;

	while ((c = LIST_FIRST(&s->conns)) != NULL)
		conn_reset(c);
	items_forget(s);
	s->began = clock_now();
	s->accepted = s->total_items = s->flushes = s->no_memory = 0;
}

static void
server_close(struct server *s)
{
	struct stat_value *v;
	struct conn *c;

	items_forget(s);
	while ((v = LIST_FIRST(&s->stats)) != NULL) {
		LIST_REMOVE(v, link);
		free(v);
	}
	while ((c = LIST_FIRST(&s->conns)) != NULL)
		conn_close(c);
	if (s->listener >= 0)
		close(s->listener);
	if (server_path(s) != NULL)
		unlink(server_path(s));
}

/* Commands ---------------------------------------------------------------- */

static void
say(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static void
print_place(const struct server *s)
{
	if (server_path(s) != NULL)
		printf(" %s", server_path(s));
	else
		printf(" %u", server_port(s));
}

static void
print_stats(const struct fakemc *f)
{
	for (unsigned i = 0; i < f->servers; i++) {
		const struct server *s = &f->server[i];

		printf("%u", i);
		print_place(s);
		printf(" %llu %llu %u\n", (unsigned long long)s->requests,
		    (unsigned long long)s->accepted, s->open);
	}
	say("end");
}

/* A whole number up to max; false for anything else. */
static bool
number(const char *text, unsigned max, unsigned *value)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 ||
	    n > max)
		return false;
	*value = (unsigned)n;
	return true;
}

/* NULL, or what is wrong. */
static const char *
parse_mode(const char *name, const char *arg, const struct mode **mode,
    unsigned *value)
{
	const struct mode *m = mode_find(name);

	if (m == NULL)
		return "no such mode";
	if (arg == NULL && m->flags & NEEDS_ARG)
		return "the mode needs a number of ms";
	if (arg != NULL && !(m->flags & (WAITS | TRICKLES)))
		return "the mode takes no argument";
	*value = 1;
	if (arg != NULL && !number(arg, 3600000, value))
		return "not a number of ms, 3600000 at most";
	*mode = m;
	return NULL;
}

static const char *
set_mode(struct server *s, unsigned n, const char *name, const char *arg)
{
	const struct mode *mode;
	unsigned value;
	const char *wrong = parse_mode(name, arg, &mode, &value);

	if (wrong != NULL)
		return wrong;
	for (unsigned i = 0; i < n; i++)
		if (server_set(&s[i], mode, value) < 0)
			return strerror(errno);
	return NULL;
}

static const char *
drop_idle(struct server *s, unsigned n, const char *arg)
{
	if (arg != NULL)
		return "drop-idle takes no argument";
	for (unsigned i = 0; i < n; i++)
		server_drop_idle(&s[i]);
	return NULL;
}

static const char *
restart(struct server *s, unsigned n, const char *arg)
{
	if (arg != NULL)
		return "restart takes no argument";
	for (unsigned i = 0; i < n; i++)
		server_restart(&s[i]);
	return NULL;
}

static void
stat_set(struct server *s, const char *name, const char *value)
{
	struct stat_value *v = stat_find(s, name);

	if (value == NULL) {
		if (v != NULL)
			LIST_REMOVE(v, link);
		free(v);
		return;
	}
	if (v == NULL) {
		v = calloc(1, sizeof *v);
		if (v == NULL)
			die("out of memory");
		LIST_INSERT_HEAD(&s->stats, v, link);
	}
	snprintf(v->name, sizeof v->name, "%s", name);
	snprintf(v->value, sizeof v->value, "%s", value);
}

static const char *
set_stat(struct server *s, unsigned n, const char *name, const char *value)
{
	if (name == NULL)
		return "stat needs a name";
	if (strlen(name) > 39 || (value != NULL && strlen(value) > 39))
		return "stat: too long";
	for (unsigned i = 0; i < n; i++)
		stat_set(&s[i], name, value);
	return NULL;
}

/* SERVER MODE [ARG], SERVER drop-idle, SERVER stat NAME [VALUE], ...  NULL, or
 * what is wrong. */
static const char *
command_server(struct fakemc *f, const char *which, const char *what,
    const char *arg, const char *more)
{
	struct server *s = f->server;
	unsigned n = f->servers, i;

	if (strcmp(which, "all") != 0) {
		if (!number(which, UINT32_MAX, &i) || i >= f->servers)
			return "no such server";
		s += i;
		n = 1;
	}
	if (strcmp(what, "stat") == 0)
		return set_stat(s, n, arg, more);
	if (more != NULL)
		return "too many words";
	if (strcmp(what, "restart") == 0)
		return restart(s, n, arg);
	return strcmp(what, "drop-idle") == 0 ? drop_idle(s, n, arg) :
	    set_mode(s, n, what, arg);
}

static void
command(struct fakemc *f, char *line)
{
	char *save;
	char *word[5] = { strtok_r(line, " \t\r", &save) };
	const char *wrong;

	for (int i = 1; i < 5 && word[i - 1] != NULL; i++)
		word[i] = strtok_r(NULL, " \t\r", &save);
	if (word[0] == NULL)
		return;
	if (strcmp(word[0], "stats") == 0 && word[1] == NULL) {
		print_stats(f);
		return;
	}
	wrong = word[1] == NULL || word[4] != NULL ?
	    "not a command: SERVER MODE [ARG], SERVER drop-idle, stats" :
	    command_server(f, word[0], word[1], word[2], word[3]);
	if (wrong == NULL)
		say("ok");
	else
		say("error: %s", wrong);
}

/* Whole lines out of the buffer. */
static void
commands_run(struct fakemc *f)
{
	char *from = f->line, *end;
	size_t left = f->line_len;

	while ((end = memchr(from, '\n', left)) != NULL) {
		*end = '\0';
		command(f, from);
		left -= (size_t)(end + 1 - from);
		from = end + 1;
	}
	if (left == sizeof f->line) {
		say("error: line too long");
		left = 0;
	}
	memmove(f->line, from, left);
	f->line_len = left;
}

static void
commands_read(struct fakemc *f)
{
	const ssize_t n = read(STDIN_FILENO, f->line + f->line_len,
	    sizeof f->line - f->line_len);

	if (n > 0) {
		f->line_len += (size_t)n;
		commands_run(f);
	} else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
		f->over = true;
	}
}

static void
commands_ready(struct source *source)
{
	commands_read((struct fakemc *)((char *)source -
	    offsetof(struct fakemc, commands)));
}

/* The loop ---------------------------------------------------------------- */

static void
signals_ready(struct source *source)
{
	struct fakemc *f = (struct fakemc *)((char *)source -
	    offsetof(struct fakemc, signals));

	f->over = true;
}

/* ms until the first delayed byte, rounded up; -1: for ever. */
static int
loop_wait(const struct fakemc *f)
{
	const struct conn *c;
	uint64_t first = UINT64_MAX, now;

	if (f->always_readable)
		return 0;
	LIST_FOREACH(c, &f->delayed, delayed)
		if (c->due < first)
			first = c->due;
	if (first == UINT64_MAX)
		return -1;
	now = clock_now();
	return first > now ? (int)((first - now + MS - 1) / MS) : 0;
}

static void
loop_delayed(struct fakemc *f)
{
	const uint64_t now = LIST_EMPTY(&f->delayed) ? 0 : clock_now();
	struct conn *c, *next;

	for (c = LIST_FIRST(&f->delayed); c != NULL; c = next) {
		next = LIST_NEXT(c, delayed);
		if (c->due > now)
			continue;
		conn_delay(c, 0);
		conn_flush(c);
	}
}

static void
loop_bury(struct fakemc *f)
{
	struct conn *c;

	while ((c = LIST_FIRST(&f->dead)) != NULL) {
		LIST_REMOVE(c, link);
		free(c->in);
		free(c->out);
		free(c);
	}
}

static void
loop_run(struct fakemc *f)
{
	while (!f->over) {
		struct epoll_event ev[64];
		const int n = epoll_wait(f->epoll, ev, 64, loop_wait(f));

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			struct source *source = ev[i].data.ptr;

			source->ready(source);
		}
		if (f->always_readable)
			commands_read(f);
		loop_delayed(f);
		loop_bury(f);
	}
}

/* The start --------------------------------------------------------------- */

struct options {
	unsigned count, port;
	bool counted, no_stdin;
	const char *address;
	const char *mode;
	char **path;			/* of unix sockets */
	unsigned paths;
};

static void
usage(FILE *out)
{
	fputs("usage: fakemc [--count N] [--port BASE] [--address IP]"
	    " [--unix PATH]...\n"
	    "              [--mode 'MODE [ARG]'] [--no-stdin]\n"
	    "\n"
	    "Fake memcached servers on IP (127.0.0.1): N (1, with --unix 0)"
	    " on ports BASE,\n"
	    "BASE+1, ... (any free ones), then one for each PATH."
	    "  Writes \"ports: PORT...\n"
	    "PATH...\" when ready, obeys commands on stdin, and ends with it"
	    " or at SIGTERM.\n"
	    "\n"
	    "commands, one a line, answered with \"ok\" or \"error: ...\";"
	    " SERVER is 0, 1, ...\n"
	    "or all:\n"
	    "  SERVER MODE [ARG]  from now on\n"
	    "  SERVER drop-idle   closes connections that wait for nothing\n"
	    "  SERVER restart     resets connections, forgets all items\n"
	    "  SERVER stat NAME [VALUE]\n"
	    "                     what stats says; without VALUE: as ever\n"
	    "  stats              a line for each server, then \"end\":\n"
	    "                     INDEX PORT REQUESTS ACCEPTED OPEN\n"
	    "\n"
	    "modes:\n", out);
	for (size_t i = 0; i < MODES; i++)
		fprintf(out, "  %-18s %s\n", modes[i].name, modes[i].help);
}

static void
wrong_usage(const char *what)
{
	fprintf(stderr, "fakemc: %s; see fakemc --help\n", what);
	exit(2);
}

static void
parse_option(struct options *o, int c)
{
	switch (c) {
	case 'c':
		o->counted = true;
		if (!number(optarg, SERVERS_MAX, &o->count))
			wrong_usage("--count: a number up to 20000");
		break;
	case 'p':
		if (!number(optarg, 65535, &o->port))
			wrong_usage("--port: a number up to 65535");
		break;
	case 'a':
		o->address = optarg;
		break;
	case 'u':
		o->path[o->paths++] = optarg;
		break;
	case 'm':
		o->mode = optarg;
		break;
	case 'n':
		o->no_stdin = true;
		break;
	case 'h':
		usage(stdout);
		exit(0);
	default:
		exit(2);
	}
}

static void
parse_options(struct options *o, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "count", required_argument, NULL, 'c' },
		{ "port", required_argument, NULL, 'p' },
		{ "address", required_argument, NULL, 'a' },
		{ "unix", required_argument, NULL, 'u' },
		{ "mode", required_argument, NULL, 'm' },
		{ "no-stdin", no_argument, NULL, 'n' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 }
	};
	int c;

	o->path = calloc((size_t)argc, sizeof *o->path);
	if (o->path == NULL)
		die("out of memory");
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1)
		parse_option(o, c);
	if (optind < argc)
		wrong_usage("no arguments but options");
	if (!o->counted)
		o->count = o->paths > 0 ? 0 : 1;
	if (o->port + o->count > 65536 && o->port != 0)
		wrong_usage("--port, --count: not that many ports");
	if (o->count + o->paths == 0)
		wrong_usage("no servers");
}

static void
set_address(struct server *s, const char *ip, unsigned port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&s->address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->address;

	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		s->address_len = sizeof *v4;
	} else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		s->address_len = sizeof *v6;
	} else {
		wrong_usage("--address: an IP address");
	}
}

static void
set_path(struct server *s, const char *path)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&s->address;

	if (strlen(path) >= sizeof un->sun_path)
		wrong_usage("--unix: the path is too long");
	un->sun_family = AF_UNIX;
	strcpy(un->sun_path, path);
	s->address_len = sizeof *un;
}

static void
start_server(struct fakemc *f, unsigned i, const struct options *o)
{
	struct server *s = &f->server[i];

	s->source.ready = server_ready;
	s->fakemc = f;
	s->mode = &modes[0];
	LIST_INIT(&s->conns);
	LIST_INIT(&s->items);
	LIST_INIT(&s->stats);
	s->began = clock_now();
	if (i >= o->count)
		set_path(s, o->path[i - o->count]);
	else
		set_address(s, o->address, o->port ? o->port + i : 0);
	s->listener = -1;
	if (i < o->count && o->port == 0 && server_choose_port(s) < 0)
		die("bind");
	/* For a moment also where it refuses: the address must be good. */
	if (server_listen(s) < 0)
		die("bind, listen");
}

/* All of them listen before the first gets another mode. */
static void
start_servers(struct fakemc *f, const struct options *o)
{
	char line[256];
	char *name, *arg, *save;
	const char *wrong;

	f->servers = o->count + o->paths;
	f->server = calloc(f->servers, sizeof *f->server);
	if (f->server == NULL)
		die("out of memory");
	for (unsigned i = 0; i < f->servers; i++)
		start_server(f, i, o);
	snprintf(line, sizeof line, "%s", o->mode);
	name = strtok_r(line, " ", &save);
	arg = strtok_r(NULL, " ", &save);
	wrong = name == NULL || strtok_r(NULL, " ", &save) != NULL ?
	    "--mode: MODE [ARG]" : set_mode(f->server, f->servers, name, arg);
	if (wrong != NULL)
		wrong_usage(wrong);
	printf("ports:");
	for (unsigned i = 0; i < f->servers; i++)
		print_place(&f->server[i]);
	say("");
}

/* Signals and commands, as events among the others. */
static void
start_loop(struct fakemc *f, bool no_stdin)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	LIST_INIT(&f->delayed);
	LIST_INIT(&f->dead);
	f->commands.ready = commands_ready;
	f->signals.ready = signals_ready;
	f->epoll = epoll_create1(EPOLL_CLOEXEC);
	f->signalfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (f->epoll < 0 || f->signalfd < 0 || watch(f, EPOLL_CTL_ADD,
	    f->signalfd, EPOLLIN, &f->signals) < 0)
		die("epoll, signalfd");
	if (no_stdin || watch(f, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN,
	    &f->commands) == 0)
		return;
	if (errno != EPERM)
		die("stdin");
	f->always_readable = true;
}

static void
all_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int
main(int argc, char **argv)
{
	struct options o = { .address = "127.0.0.1", .mode = "ok" };
	static struct fakemc f;

	parse_options(&o, argc, argv);
	all_descriptors();
	start_loop(&f, o.no_stdin);
	start_servers(&f, &o);
	loop_run(&f);
	for (unsigned i = 0; i < f.servers; i++)
		server_close(&f.server[i]);
	loop_bury(&f);
	free(f.server);
	free(o.path);
	close(f.signalfd);
	close(f.epoll);
	return 0;
}
