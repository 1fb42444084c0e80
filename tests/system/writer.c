/*
 * writer.c - a client that knows what it has stored, and sees when it is given
 * something older.
 *
 *	writer POOL KEYS RATE
 *
 * Gets and sets its keys in turn, so many a second, on the servers that
 * libmcshm chooses, over connections that it keeps: LANES of them to each, as
 * so many processes would have.  A server that does not answer within TIMEOUT is
 * given up on, as clients do: the connection is closed, and what was sent stays
 * in the kernel's queue.  Each value is a number greater than all before it.  A get that finds less than what was last stored,
 * and said to be, was given an old value.
 *
 * What is stored away from home gets failover_ttl.  One line on stdin, one
 * line of JSON on stdout:
 *
 *	tell	what happened since the last line
 *	quit	(or the end of stdin)
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mcshm.h"

#define SERVERS_MAX 16
#define KEYS_MAX 4096
#define TIMEOUT 50		/* ms */
#define LANES 16		/* the first one for gets */

struct counts {
	unsigned gets, hits, sets, given_up, nowhere;
	unsigned stale[SERVERS_MAX];
};

struct writer {
	struct mcshm *m;
	struct mcshm_server server[SERVERS_MAX];
	int servers;
	int fd[SERVERS_MAX][LANES];	/* -1: none */
	uint32_t lane;			/* of the last set */
	uint32_t keys, next;
	uint64_t value;			/* the last one that was sent */
	uint64_t stored[KEYS_MAX];	/* surely */
	struct counts counts;
};

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool
ready(int fd, short what, uint64_t until)
{
	const uint64_t now = now_ms();
	struct pollfd p = { fd, what, 0 };

	return poll(&p, 1, until > now ? (int)(until - now) : 0) == 1;
}

static void
give_up(struct writer *w, uint32_t slot, uint32_t lane)
{
	int *fd = &w->fd[slot][lane];

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	w->counts.given_up++;
}

static bool
connected(const struct mcshm_server *s, int *fd, uint64_t until)
{
	int err = 0;
	socklen_t len = sizeof err;

	if (*fd >= 0)
		return true;
	*fd = socket(s->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(*fd, (const struct sockaddr *)&s->addr,
	    s->addrlen) != 0 && errno != EINPROGRESS)
		return false;
	return ready(*fd, POLLOUT, until) &&
	    getsockopt(*fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 &&
	    err == 0;
}

/* A request and its answer, which ends with `end`. */
static bool
asked(struct writer *w, uint32_t slot, uint32_t lane, const char *request,
    const char *end, char *answer, size_t size)
{
	int *fd = &w->fd[slot][lane];
	const uint64_t until = now_ms() + TIMEOUT;
	size_t have = 0;

	if (!connected(&w->server[slot], fd, until) ||
	    send(*fd, request, strlen(request), MSG_NOSIGNAL) !=
	    (ssize_t)strlen(request))
		return false;
	while (have + 1 < size && ready(*fd, POLLIN, until)) {
		const ssize_t n = recv(*fd, answer + have,
		    size - 1 - have, 0);

		if (n <= 0)
			return false;
		have += (size_t)n;
		answer[have] = '\0';
		if (have >= strlen(end) &&
		    strcmp(answer + have - strlen(end), end) == 0)
			return true;
	}
	return false;
}

static void
do_get(struct writer *w, uint32_t key, uint32_t slot)
{
	char request[64], answer[256];
	uint64_t found;

	snprintf(request, sizeof request, "get k%" PRIu32 "\r\n", key);
	w->counts.gets++;
	if (!asked(w, slot, 0, request, "END\r\n", answer, sizeof answer)) {
		give_up(w, slot, 0);
		return;
	}
	if (sscanf(answer, "VALUE %*s %*u %*u\r\n%" SCNu64, &found) != 1)
		return;
	w->counts.hits++;
	if (found < w->stored[key])
		w->counts.stale[slot]++;
}

static void
do_set(struct writer *w, uint32_t key, const struct mcshm_choice *c)
{
	char request[128], value[24], answer[64];
	const uint64_t sent = ++w->value;

	snprintf(value, sizeof value, "%" PRIu64, sent);
	snprintf(request, sizeof request, "set k%" PRIu32 " 0 %" PRIu32
	    " %zu\r\n%s\r\n", key, c->slot == c->home ? 0 : c->failover_ttl,
	    strlen(value), value);
	w->counts.sets++;
	w->lane = w->lane % (LANES - 1) + 1;
	if (!asked(w, c->slot, w->lane, request, "\r\n", answer,
	    sizeof answer) || strcmp(answer, "STORED\r\n") != 0)
		give_up(w, c->slot, w->lane);
	else
		w->stored[key] = sent;
}

static void
turn(struct writer *w)
{
	const uint32_t key = w->next;
	struct mcshm_choice c;
	char name[32];

	w->next = (w->next + 1) % w->keys;
	snprintf(name, sizeof name, "k%" PRIu32, key);
	if (mcshm_pick(w->m, name, strlen(name), &c) != 0) {
		w->counts.nowhere++;	/* a miss: nobody is asked */
		return;
	}
	do_get(w, key, c.slot);
	if (mcshm_pick(w->m, name, strlen(name), &c) == 0)
		do_set(w, key, &c);
}

static void
tell(struct writer *w)
{
	const struct counts *c = &w->counts;

	printf("{\"gets\":%u,\"hits\":%u,\"sets\":%u,\"given_up\":%u,"
	    "\"nowhere\":%u,\"stale\":{", c->gets, c->hits, c->sets,
	    c->given_up, c->nowhere);
	for (int i = 0; i < w->servers; i++)
		printf("%s\"%s\":%u", i > 0 ? "," : "", w->server[i].name,
		    c->stale[i]);
	printf("}}\n");
	fflush(stdout);
	w->counts = (struct counts){ 0 };
}

/* A line from stdin, if there is one within ms; false: it is over. */
static bool
listens(struct writer *w, int ms)
{
	struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
	char line[16];
	ssize_t n;

	if (poll(&in, 1, ms) != 1)
		return true;
	n = read(STDIN_FILENO, line, sizeof line - 1);
	if (n <= 0)
		return false;
	line[n] = '\0';
	if (strcmp(line, "tell\n") == 0)
		tell(w);
	return strcmp(line, "quit\n") != 0;
}

static bool
opened(struct writer *w, const char *pool)
{
	const int err = mcshm_open(&w->m, pool, 0);

	if (err != 0) {
		fprintf(stderr, "%s: %s\n", pool, mcshm_strerror(err));
		return false;
	}
	w->servers = mcshm_servers(w->m, w->server, SERVERS_MAX,
	    sizeof w->server[0], NULL);
	memset(w->fd, -1, sizeof w->fd);
	return w->servers > 0 && w->servers <= SERVERS_MAX;
}

int
main(int argc, char **argv)
{
	struct writer w = { 0 };
	int pause;

	if (argc != 4 || !opened(&w, argv[1]))
		return 1;
	w.keys = (uint32_t)atoi(argv[2]);
	pause = 1000 / atoi(argv[3]);
	if (w.keys == 0 || w.keys > KEYS_MAX)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	printf("{}\n");
	fflush(stdout);
	while (listens(&w, pause))
		turn(&w);
	mcshm_close(w.m);
	return 0;
}
