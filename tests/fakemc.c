/*
 * fakemc.c - a fake memcached that misbehaves on command: as many servers as
 * wanted, each with a mode of its own, in one process.
 *
 * For tests and benches of the checker.  It knows no data: version, mn, stats
 * and quit are answered, all else with ERROR.
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
	NEEDS_ARG = 128
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
	char in[2048], out[4096];
	size_t in_len, out_len, sent;
	uint64_t due;			/* of the next byte, 0: now */
	unsigned trickle;		/* ms between bytes, 0: all at once */
	bool withheld;
	bool owes;			/* a request was not answered in full */
	bool blocked;			/* the peer does not read */
	enum ending then;
};
LIST_HEAD(conns, conn);

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
};

struct fakemc {
	struct source commands, signals;
	int epoll, signalfd;
	struct server *server;
	unsigned servers;
	struct conns delayed, dead;
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
	c->out_len = c->sent = 0;
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
	if (len > sizeof c->out - c->out_len)
		return false;
	memcpy(c->out + c->out_len, text, len);
	c->out_len += len;
	return true;
}

static size_t
stats_text(const struct server *s, char *text, size_t size)
{
	struct timespec up;

	clock_gettime(CLOCK_MONOTONIC, &up);
	return (size_t)snprintf(text, size,
	    "STAT pid %d\r\n"
	    "STAT uptime %lld\r\n"
	    "STAT time %lld\r\n"
	    "STAT version " VERSION_TEXT "\r\n"
	    "STAT max_connections 1024\r\n"
	    "STAT curr_connections %u\r\n"
	    "STAT total_connections %llu\r\n"
	    "STAT threads 4\r\n"
	    "END\r\n",
	    (int)getpid(), (long long)up.tv_sec, (long long)time(NULL),
	    s->open, (unsigned long long)s->accepted);
}

/* As memcached; its length. */
static size_t
right_answer(const struct server *s, enum mcproto_command command, char *text,
    size_t size)
{
	switch (command) {
	case MCPROTO_VERSION:
		return (size_t)snprintf(text, size,
		    "VERSION " VERSION_TEXT "\r\n");
	case MCPROTO_MN:
		return (size_t)snprintf(text, size, "MN\r\n");
	case MCPROTO_STATS:
		return stats_text(s, text, size);
	case MCPROTO_QUIT:
		return 0;
	default:
		return (size_t)snprintf(text, size, "ERROR\r\n");
	}
}

static void
conn_answer(struct conn *c, enum mcproto_command command)
{
	const struct server *s = c->server;
	const struct mode *m = s->mode;
	const bool right = m->says == NULL || m->flags & GREETS;
	char text[1024];
	size_t n = right ? right_answer(s, command, text, sizeof text) :
	    (size_t)snprintf(text, sizeof text, "%s", m->says);

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
	if (!conn_say(c, text, n) ||
	    (m->flags & DOUBLES && !conn_say(c, text, n)))
		conn_reset(c);
	else if (n > 0 || c->then != STAY)
		conn_flush(c);
}

static void
conn_requests(struct conn *c)
{
	size_t from = 0;

	while (c->fd >= 0 && c->then == STAY) {
		size_t used;
		const enum mcproto_command command = mcproto_request(
		    c->in + from, c->in_len - from, &used);

		if (command == MCPROTO_INCOMPLETE)
			break;
		from += used;
		c->server->requests++;
		conn_answer(c, command);
	}
	memmove(c->in, c->in + from, c->in_len - from);
	c->in_len -= from;
	if (c->in_len == sizeof c->in)
		conn_reset(c);
}

static void
conn_ready(struct source *source)
{
	struct conn *c = (struct conn *)source;
	ssize_t n;

	if (c->fd < 0)
		return;
	n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, 0);
	if (n > 0) {
		c->in_len += (size_t)n;
		conn_requests(c);
	} else if (n == 0 || errno != EAGAIN) {
		conn_close(c);
	}
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

static void
server_close(struct server *s)
{
	struct conn *c;

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

/* SERVER MODE [ARG], SERVER drop-idle.  NULL, or what is wrong. */
static const char *
command_server(struct fakemc *f, const char *which, const char *what,
    const char *arg)
{
	struct server *s = f->server;
	unsigned n = f->servers, i;

	if (strcmp(which, "all") != 0) {
		if (!number(which, UINT32_MAX, &i) || i >= f->servers)
			return "no such server";
		s += i;
		n = 1;
	}
	return strcmp(what, "drop-idle") == 0 ? drop_idle(s, n, arg) :
	    set_mode(s, n, what, arg);
}

static void
command(struct fakemc *f, char *line)
{
	char *save;
	char *word[4] = { strtok_r(line, " \t\r", &save) };
	const char *wrong;

	for (int i = 1; i < 4 && word[i - 1] != NULL; i++)
		word[i] = strtok_r(NULL, " \t\r", &save);
	if (word[0] == NULL)
		return;
	if (strcmp(word[0], "stats") == 0 && word[1] == NULL) {
		print_stats(f);
		return;
	}
	wrong = word[1] == NULL || word[3] != NULL ?
	    "not a command: SERVER MODE [ARG], SERVER drop-idle, stats" :
	    command_server(f, word[0], word[1], word[2]);
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
	struct fakemc f = { 0 };

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
