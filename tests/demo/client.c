/*
 * client.c - a small memcached client that asks libmcshm where to go.
 *
 *	client POOL	get and set keys, as told on stdin
 *	client ask PORT	talk to one memcached, without libmcshm
 *
 * The first form is how an application would do it, and what the demo is
 * about: it opens the pool once and then only picks.  That a server died,
 * hangs or came back it is told by nobody but mcshm_pick().  It must not look
 * at the pool in any other way.
 *
 * Of memcached's protocol it has the least that shows this: one connection a
 * server, one request at a time, one timeout.
 *
 * A command is a line "where|get|set KEYS OUT": do it with every key of the
 * file KEYS, write what came of each to the file OUT, then answer "done N" on
 * stdout.  A line of OUT is
 *
 *	KEY HOME SERVER TRIES RESULT NANOSECONDS
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <mcshm.h>

#define TIMEOUT_MS 250		/* for each connect, send and receive */
#define COMMAND_SECONDS 60	/* a command that takes longer ends us */
#define KEY_MAX 250		/* memcached's own limit */
#define TEXT_MAX 2048		/* a line, of whatever kind */

/* One connection to a memcached -------------------------------------------- */

struct conn {
	int fd;				/* -1: none */
	size_t used, have;		/* of in: read by us, received */
	char in[4096];
};

static void
conn_close(struct conn *c)
{
	if (c->fd != -1)
		close(c->fd);
	c->fd = -1;
	c->used = c->have = 0;
}

static bool
conn_open(struct conn *c, const struct sockaddr *addr, socklen_t len)
{
	const struct timeval t = { .tv_usec = TIMEOUT_MS * 1000 };
	const int one = 1;

	if (c->fd != -1)
		return true;
	c->fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd == -1)
		return false;
	/* The first two hold for connect(2), too; the third has no meaning for
	 * a unix socket, and may fail. */
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(c->fd, addr, len) == 0)
		return true;
	conn_close(c);
	return false;
}

static bool
conn_send(struct conn *c, const char *data, size_t len)
{
	while (len > 0) {
		const ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
conn_fill(struct conn *c)
{
	ssize_t n;

	memmove(c->in, c->in + c->used, c->have - c->used);
	c->have -= c->used;
	c->used = 0;
	if (c->have == sizeof c->in) {
		errno = EMSGSIZE;
		return false;
	}
	n = recv(c->fd, c->in + c->have, sizeof c->in - c->have, 0);
	if (n <= 0) {
		errno = n == 0 ? ECONNRESET : errno;
		return false;
	}
	c->have += (size_t)n;
	return true;
}

/* The next line, without its CRLF; NULL with errno set where there is none.
 * Good until the next call. */
static const char *
conn_line(struct conn *c)
{
	for (;;) {
		char *line = c->in + c->used;
		char *end = memchr(line, '\n', c->have - c->used);

		if (end != NULL) {
			c->used = (size_t)(end - c->in) + 1;
			if (end > line && end[-1] == '\r')
				end--;
			*end = '\0';
			return line;
		}
		if (!conn_fill(c))
			return NULL;
	}
}

/* One request, and what came of it ----------------------------------------- */

enum request { WHERE, GET, SET, REQUESTS };
static const char *const request_name[] = { "where", "get", "set" };

enum outcome { HIT, MISS, STORED, WRONG, REFUSED, TIMEOUT, BROKEN,
	HELD, NONE, USABLE, NO_PICK };
static const char *const outcome_name[] = {
	[HIT] = "hit", [MISS] = "miss", [STORED] = "stored",
	[WRONG] = "wrong",		/* an answer that it should not give */
	[REFUSED] = "refused", [TIMEOUT] = "timeout", [BROKEN] = "broken",
	[HELD] = "held",		/* a miss, without asking anybody */
	[NONE] = "none",		/* no server is usable */
	[USABLE] = "usable",		/* what "where" says */
	[NO_PICK] = "no-pick",		/* any other trouble of libmcshm */
};

/* Whatever is still on its way must not be taken for the next answer. */
static enum outcome
failure(struct conn *c)
{
	const int why = errno;

	conn_close(c);
	switch (why) {
	case ECONNREFUSED:
		return REFUSED;
	case EAGAIN:
	case EINPROGRESS:
	case ETIMEDOUT:
		return TIMEOUT;
	default:
		return BROKEN;
	}
}

/* Keys and values are one line of text each; the value follows from the key,
 * so that a wrong one is seen. */
static void
value_of(char value[TEXT_MAX], const char *key)
{
	snprintf(value, TEXT_MAX, "the value of %s", key);
}

static enum outcome
conn_get(struct conn *c, const char *key)
{
	char request[TEXT_MAX], value[TEXT_MAX], head[TEXT_MAX];
	const char *line;
	enum outcome got;

	value_of(value, key);
	snprintf(request, sizeof request, "get %s\r\n", key);
	snprintf(head, sizeof head, "VALUE %s 0 %zu", key, strlen(value));
	if (!conn_send(c, request, strlen(request)) ||
	    (line = conn_line(c)) == NULL)
		return failure(c);
	if (strcmp(line, "END") == 0)
		return MISS;
	got = strcmp(line, head) == 0 ? HIT : WRONG;
	if ((line = conn_line(c)) == NULL)
		return failure(c);
	if (strcmp(line, value) != 0)
		got = WRONG;
	if ((line = conn_line(c)) == NULL)
		return failure(c);
	return strcmp(line, "END") == 0 ? got : WRONG;
}

static enum outcome
conn_set(struct conn *c, const char *key, uint32_t ttl)
{
	char request[2 * TEXT_MAX], value[TEXT_MAX];
	const char *line;

	value_of(value, key);
	snprintf(request, sizeof request, "set %s 0 %u %zu\r\n%s\r\n", key,
	    (unsigned)ttl, strlen(value), value);
	if (!conn_send(c, request, strlen(request)) ||
	    (line = conn_line(c)) == NULL)
		return failure(c);
	return strcmp(line, "STORED") == 0 ? STORED : WRONG;
}

/* A pool of them ----------------------------------------------------------- */

struct client {
	struct mcshm *m;
	uint64_t roster;		/* that the next two are for */
	struct mcshm_server *server;
	struct conn *conn;
	int servers;
};

static bool
same_server(const struct mcshm_server *a, const struct mcshm_server *b)
{
	return strcmp(a->name, b->name) == 0 && a->addrlen == b->addrlen &&
	    memcmp(&a->addr, &b->addr, a->addrlen) == 0;
}

/* A connection for s: the one that we had, if we had one. */
static struct conn
client_take(struct client *c, const struct mcshm_server *s)
{
	for (int i = 0; i < c->servers; i++) {
		if (c->conn[i].fd != -1 && same_server(&c->server[i], s)) {
			const struct conn had = c->conn[i];

			c->conn[i].fd = -1;
			return had;
		}
	}
	return (struct conn){ .fd = -1 };
}

static void
client_drop(struct client *c)
{
	for (int i = 0; i < c->servers; i++)
		conn_close(&c->conn[i]);
	free(c->conn);
	free(c->server);
}

/* Fetch the roster, and keep the connections to servers that stayed. */
static int
client_rebuild(struct client *c)
{
	struct client now = { .m = c->m };
	int n, room = 0;

	for (;;) {
		n = mcshm_servers(c->m, now.server, (size_t)room,
		    sizeof *now.server, &now.roster);
		if (n < 0 || n <= room)
			break;
		free(now.server);
		room = n;
		now.server = calloc((size_t)room, sizeof *now.server);
		if (now.server == NULL)
			err(1, "calloc");
	}
	if (n < 0) {
		free(now.server);
		return n;
	}
	now.conn = calloc((size_t)n + 1, sizeof *now.conn);
	if (now.conn == NULL)
		err(1, "calloc");
	for (now.servers = 0; now.servers < n; now.servers++)
		now.conn[now.servers] =
		    client_take(c, &now.server[now.servers]);
	client_drop(c);
	*c = now;
	return 0;
}

/* Where to go with this key.  A roster that is not ours means that the servers
 * have changed: fetch them, and pick again. */
static int
client_pick(struct client *c, const char *key, struct mcshm_choice *p)
{
	for (;;) {
		int e;

		*p = (struct mcshm_choice){ 0 };
		e = mcshm_pick(c->m, key, strlen(key), p);
		if (p->roster == 0 || p->roster == c->roster)
			return e;
		if ((e = client_rebuild(c)) < 0)
			return e;
	}
}

static enum outcome
client_no_server(int e)
{
	switch (e) {
	case MCSHM_EHELD:	/* it may come back: a miss, stored nowhere */
		return HELD;
	case MCSHM_ENONE:
		return NONE;
	default:
		return NO_PICK;
	}
}

static enum outcome
client_do(struct client *c, enum request what, const char *key,
    struct mcshm_choice *p)
{
	const int e = client_pick(c, key, p);
	const struct mcshm_server *s;
	struct conn *conn;

	if (e < 0)
		return client_no_server(e);
	if (what == WHERE)
		return USABLE;
	s = &c->server[p->slot];
	conn = &c->conn[p->slot];
	if (!conn_open(conn, (const struct sockaddr *)&s->addr, s->addrlen))
		return failure(conn);
	/* A key away from home lives no longer than the pool allows. */
	return what == GET ? conn_get(conn, key) :
	    conn_set(conn, key, p->slot == p->home ? 0 : p->failover_ttl);
}

/* Commands ----------------------------------------------------------------- */

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void
client_report(struct client *c, enum request what, const char *key, FILE *out)
{
	struct mcshm_choice p;
	const long long began = now_ns();
	const enum outcome o = client_do(c, what, key, &p);
	const long long ended = now_ns();
	const bool chosen = o != NONE && o != NO_PICK;

	fprintf(out, "%s %s %s %u %s %lld\n", key,
	    chosen ? c->server[p.home].name : "-",
	    chosen ? c->server[p.slot].name : "-",
	    (unsigned)p.tries, outcome_name[o], ended - began);
}

static FILE *
file_open(const char *path, const char *mode)
{
	FILE *f = fopen(path, mode);

	if (f == NULL)
		err(1, "%s", path);
	return f;
}

static int
client_each(struct client *c, enum request what, const char *from,
    const char *to)
{
	FILE *keys = file_open(from, "r"), *out = file_open(to, "w");
	char key[KEY_MAX + 2];
	int n = 0;

	for (; fgets(key, sizeof key, keys) != NULL; n++) {
		key[strcspn(key, "\n")] = '\0';
		client_report(c, what, key, out);
	}
	fclose(keys);
	if (fclose(out) != 0)
		err(1, "%s", to);
	return n;
}

static void
client_command(struct client *c, const char *line)
{
	char name[8], from[TEXT_MAX], to[TEXT_MAX];
	int what = REQUESTS;

	if (sscanf(line, "%7s %2047s %2047s", name, from, to) == 3)
		for (what = 0; what < REQUESTS; what++)
			if (strcmp(name, request_name[what]) == 0)
				break;
	if (what == REQUESTS)
		errx(64, "not a command: %s", line);
	alarm(COMMAND_SECONDS);
	printf("done %d\n", client_each(c, (enum request)what, from, to));
	alarm(0);
}

static int
client_run(const char *pool)
{
	struct client c = { 0 };
	char line[2 * TEXT_MAX];
	const int e = mcshm_open(&c.m, pool, 0);

	if (e < 0)
		errx(1, "%s: %s", pool, mcshm_strerror(e));
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("pid %ld\n", (long)getpid());
	while (fgets(line, sizeof line, stdin) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		client_command(&c, line);
	}
	client_drop(&c);
	mcshm_close(c.m);
	return 0;
}

/* Without libmcshm --------------------------------------------------------- */

static bool
answer_goes_on(const char *line)
{
	return strncmp(line, "STAT ", 5) == 0 ||
	    strncmp(line, "VALUE ", 6) == 0 ||
	    strncmp(line, "the value of ", 13) == 0;
}

/* Each line of stdin to the memcached at this port, its answer to stdout. */
static int
ask(const char *port)
{
	const struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct conn c = { .fd = -1 };
	char request[TEXT_MAX];
	const char *line;

	if (!conn_open(&c, (const struct sockaddr *)&sin, sizeof sin))
		err(1, "port %s", port);
	while (fgets(request, sizeof request - 2, stdin) != NULL) {
		strcpy(request + strcspn(request, "\n"), "\r\n");
		if (!conn_send(&c, request, strlen(request)))
			err(1, "port %s", port);
		do {
			if ((line = conn_line(&c)) == NULL)
				err(1, "port %s", port);
			puts(line);
		} while (answer_goes_on(line));
	}
	conn_close(&c);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "ask") == 0)
		return ask(argv[2]);
	if (argc == 2)
		return client_run(argv[1]);
	fprintf(stderr, "usage: client POOL\n       client ask PORT\n");
	return 64;
}
