/*
 * client.c - a client of libmcshm, driven by lines on stdin.
 *
 *	client [--later] [--nofollow] POOL
 *
 * Answers each line with one line of JSON on stdout, so that a test sees what
 * a real process sees: one that stays, and follows by itself.  Must not ask
 * the library for anything but what the line says; while "run" is on it calls
 * mcshm_pick() and nothing else of the library.
 *
 *	pick KEY	one choice
 *	picks N		choices for the keys k0 .. kN-1
 *	run RATE N	go on picking these keys, RATE a second, until
 *	stop		... which tells what was answered meanwhile
 *	servers		names, weights and addresses
 *	states		mcshm_snapshot() of the servers
 *	status		mcshm_snapshot() of the file
 *	wait MS		mcshm_wait() from the last generation seen
 *	refresh		mcshm_refresh()
 *	candidates N KEY	mcshm_candidates()
 *	fail KEY	pick, and mcshm_failed() of that choice
 *	ctl OPTION VALUE	mcshm_ctl()
 *	get KEY		mcshm_run() of a get, a set, an incr, on the real
 *	set KEY VALUE	server over a new connection: who was tried, and how it
 *	incr KEY	ended
 *	self		memory, descriptors and mappings of this process
 *	quit		(or the end of stdin)
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mcshm.h"

#define SERVERS_MAX 2048
#define KEYS_MAX 4096
#define ROWS 64			/* homes that a run tells apart */
#define COLUMNS 128		/* slots below 64, then errors */
#define NOWHERE UINT32_MAX

/* What mcshm_pick() said while "run" was on. */
struct run {
	bool on;
	uint64_t rate;
	uint32_t keys, next;
	uint64_t began, picks, blind, rosters, changes, worst;
	uint64_t roster;
	uint64_t count[ROWS + 1][COLUMNS];	/* the last row: no home */
	int last[KEYS_MAX];			/* column of each key's answer */
};

struct session {
	struct mcshm *m;
	struct mcshm_server *server;	/* SERVERS_MAX each */
	struct mcshm_state *state;
	uint64_t generation;
	struct run run;
	char line[4096];
	size_t len;
};

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

static void
print_text(const char *text)
{
	putchar('"');
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\')
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	putchar('"');
}

static void
print_error(int err)
{
	printf("{\"error\":%d,\"text\":", err);
	print_text(mcshm_strerror(err));
	printf("}\n");
}

/* One pick; slots that nobody set are NOWHERE. */
static int
pick(struct mcshm *m, const char *key, struct mcshm_choice *c)
{
	int err;

	memset(c, 0, sizeof *c);
	c->slot = c->home = NOWHERE;
	err = mcshm_pick(m, key, strlen(key), c);
	if (err == MCSHM_ENONE || err == MCSHM_ENOENT || err == MCSHM_EAGAIN)
		c->slot = c->home = NOWHERE;
	return err;
}

static void
do_pick(struct session *s, const char *key)
{
	struct mcshm_choice c;
	const int err = pick(s->m, key, &c);

	printf("{\"err\":%d,\"home\":%d,\"slot\":%d,\"tries\":%" PRIu32
	    ",\"blind\":%s,\"roster\":\"%016" PRIx64 "\"}\n", err, (int)c.home,
	    (int)c.slot, c.tries, c.flags & MCSHM_BLIND ? "true" : "false",
	    c.roster);
}

static void
print_column(const char *name, const int *v, uint32_t n)
{
	printf("\"%s\":[", name);
	for (uint32_t i = 0; i < n; i++)
		printf("%s%d", i ? "," : "", v[i]);
	printf("],");
}

static void
do_picks(struct session *s, const char *argument)
{
	static const char *const names[] = { "err", "home", "slot", "tries" };
	const uint32_t n = (uint32_t)strtoul(argument, NULL, 10);
	int *v = calloc(4 * ((size_t)n + 1), sizeof *v);
	uint32_t blind = 0, rosters = 1;
	uint64_t roster = 0;

	for (uint32_t i = 0; v && i < n; i++) {
		struct mcshm_choice c;
		char key[16];

		snprintf(key, sizeof key, "k%" PRIu32, i);
		v[i] = pick(s->m, key, &c);
		v[n + i] = (int)c.home;
		v[2 * n + i] = (int)c.slot;
		v[3 * n + i] = (int)c.tries;
		blind += (c.flags & MCSHM_BLIND) != 0;
		rosters += i > 0 && c.roster != roster;
		roster = c.roster;
	}
	putchar('{');
	for (uint32_t i = 0; v && i < 4; i++)
		print_column(names[i], v + i * n, n);
	printf("\"blind\":%" PRIu32 ",\"rosters\":%" PRIu32
	    ",\"roster\":\"%016" PRIx64 "\"}\n", blind, rosters, roster);
	free(v);
}

/* Run --------------------------------------------------------------------- */

static void
run_one(struct session *s)
{
	struct run *r = &s->run;
	struct mcshm_choice c;
	char key[16];
	uint64_t began;
	uint32_t row;
	int err, column;

	snprintf(key, sizeof key, "k%" PRIu32, r->next);
	began = now_ns();
	err = pick(s->m, key, &c);
	began = now_ns() - began;
	if (began > r->worst)
		r->worst = began;
	row = c.home < ROWS ? c.home : ROWS;
	column = err ? 64 - err : (int)(c.slot & 63);
	if (column < 0 || column >= COLUMNS)
		column = COLUMNS - 1;
	r->count[row][column]++;
	r->changes += r->last[r->next] >= 0 && r->last[r->next] != column;
	r->last[r->next] = column;
	r->rosters += r->roster != 0 && c.roster != r->roster;
	r->roster = c.roster;
	r->blind += (c.flags & MCSHM_BLIND) != 0;
	r->picks++;
	r->next = (r->next + 1) % r->keys;
}

/* As many as are due since it began; a late turn makes up for it. */
static void
run_due(struct session *s)
{
	struct run *r = &s->run;
	const uint64_t due = (now_ns() - r->began) / 1000 * r->rate / 1000000;

	while (r->picks < due)
		run_one(s);
}

static void
do_run(struct session *s, const char *argument)
{
	struct run *r = &s->run;
	char *end;

	memset(r, 0, sizeof *r);
	r->rate = strtoull(argument, &end, 10);
	r->keys = (uint32_t)strtoul(end, NULL, 10);
	if (r->keys == 0 || r->keys > KEYS_MAX || r->rate == 0) {
		print_error(MCSHM_EINVAL);
		return;
	}
	memset(r->last, 0xff, sizeof r->last);
	r->began = now_ns();
	r->on = true;
	printf("{\"running\":true}\n");
}

static void
do_stop(struct session *s, const char *argument)
{
	struct run *r = &s->run;
	bool more = false;

	(void)argument;
	r->on = false;
	/* Each key once more: what is so now was answered in any case. */
	for (uint32_t i = 0; i < r->keys; i++)
		run_one(s);
	printf("{\"picks\":%" PRIu64 ",\"seconds\":%.3f,\"blind\":%" PRIu64
	    ",\"rosters\":%" PRIu64 ",\"changes\":%" PRIu64
	    ",\"worst_us\":%" PRIu64 ",\"answers\":[", r->picks,
	    (double)(now_ns() - r->began) / 1e9, r->blind, r->rosters,
	    r->changes, r->worst / 1000);
	for (int i = 0; i <= ROWS; i++)
		for (int j = 0; j < COLUMNS; j++) {
			if (r->count[i][j] == 0)
				continue;
			printf("%s[%d,%d,%d,%" PRIu64 "]", more ? "," : "",
			    i < ROWS ? i : -1, j < 64 ? j : -1,
			    j < 64 ? 0 : 64 - j, r->count[i][j]);
			more = true;
		}
	printf("]}\n");
}

/* What the library says of servers and file ------------------------------- */

static void
print_address(const struct mcshm_server *v)
{
	char host[NI_MAXHOST], port[NI_MAXSERV];

	if (v->addrlen == 0)
		printf("null");
	else if (v->addr.ss_family == AF_UNIX)
		print_text("unix");
	else if (getnameinfo((const struct sockaddr *)&v->addr, v->addrlen,
	    host, sizeof host, port, sizeof port,
	    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		printf("\"%s %s\"", host, port);
	else
		print_text("?");
}

static void
do_servers(struct session *s, const char *argument)
{
	uint64_t roster = 0;
	const int n = mcshm_servers(s->m, s->server, SERVERS_MAX,
	    sizeof *s->server, &roster);

	(void)argument;
	if (n < 0) {
		print_error(n);
		return;
	}
	printf("{\"roster\":\"%016" PRIx64 "\",\"servers\":[", roster);
	for (int i = 0; i < n && i < SERVERS_MAX; i++) {
		printf("%s{\"slot\":%" PRIu32 ",\"weight\":%" PRIu32
		    ",\"name\":", i ? "," : "", s->server[i].slot,
		    s->server[i].weight);
		print_text(s->server[i].name);
		printf(",\"address\":");
		print_address(&s->server[i]);
		putchar('}');
	}
	printf("]}\n");
}

static void
print_name(const char *name)
{
	if (name)
		print_text(name);
	else
		printf("null");
}

static void
do_states(struct session *s, const char *argument)
{
	const int n = mcshm_snapshot(s->m, s->state, SERVERS_MAX,
	    sizeof *s->state, NULL, 0);

	(void)argument;
	if (n < 0) {
		print_error(n);
		return;
	}
	printf("{\"states\":[");
	for (int i = 0; i < n && i < SERVERS_MAX; i++) {
		const struct mcshm_state *v = &s->state[i];

		printf("%s{\"usable\":%u,\"held\":%u,\"probes\":%" PRIu64
		    ",\"failures\":%" PRIu64 ",\"verdict\":", i ? "," : "",
		    v->usable, v->held, v->probes, v->failures);
		print_name(mcshm_verdict_name(v->verdict));
		printf(",\"admin\":");
		print_name(mcshm_admin_name(v->admin));
		printf(",\"reason\":");
		print_name(mcshm_reason_name(v->reason));
		putchar('}');
	}
	printf("]}\n");
}

static void
do_status(struct session *s, const char *argument)
{
	struct mcshm_status t;
	const int err = mcshm_snapshot(s->m, NULL, 0, 0, &t, sizeof t);

	(void)argument;
	if (err < 0) {
		print_error(err);
		return;
	}
	s->generation = t.generation;
	printf("{\"roster\":\"%016" PRIx64 "\",\"generation\":%" PRIu64
	    ",\"heartbeat_age\":%.3f,\"servers\":%" PRIu32 ",\"usable\":%"
	    PRIu32 ",\"alive\":%u,\"hung\":%u,\"stale\":%u,\"superseded\":%u,"
	    "\"fail_open\":%u,\"follow_error\":%" PRId32 ",\"pid\":%" PRId64 "}\n", t.roster,
	    t.generation, (double)t.heartbeat_age / 1e9, t.servers, t.usable,
	    t.alive, t.hung, t.stale, t.superseded, t.fail_open,
	    t.follow_error, t.pid);
}

static void
do_wait(struct session *s, const char *argument)
{
	const uint64_t ns = strtoull(argument, NULL, 10) * UINT64_C(1000000);
	uint64_t now = 0;
	const int err = mcshm_wait(s->m, s->generation, ns, &now);

	if (err == 1)
		s->generation = now;
	printf("{\"wait\":%d,\"generation\":%" PRIu64 "}\n", err,
	    s->generation);
}

static void
do_refresh(struct session *s, const char *argument)
{
	(void)argument;
	printf("{\"refresh\":%d}\n", mcshm_refresh(s->m));
}

/* What it finds out by itself --------------------------------------------- */

static void
print_choice(const struct mcshm_choice *c)
{
	printf("{\"home\":%d,\"slot\":%d,\"tries\":%" PRIu32 ",\"flags\":%"
	    PRIu32 ",\"ttl\":%" PRIu32 "}", (int)c->home, (int)c->slot,
	    c->tries, c->flags, c->failover_ttl);
}

static void
do_candidates(struct session *s, const char *argument)
{
	struct mcshm_choice c[64];
	char *key;
	const unsigned long k = strtoul(argument, &key, 10);
	const int n = mcshm_candidates(s->m, key + 1, strlen(key + 1), c,
	    k < 64 ? k : 64);

	printf("{\"n\":%d,\"candidates\":[", n);
	for (int i = 0; i < n; i++) {
		printf("%s", i > 0 ? "," : "");
		print_choice(&c[i]);
	}
	printf("]}\n");
}

static void
do_fail(struct session *s, const char *key)
{
	struct mcshm_choice c;
	const int err = pick(s->m, key, &c);

	printf("{\"err\":%d,\"failed\":%d,\"slot\":%d}\n", err,
	    err == 0 ? mcshm_failed(s->m, &c) : 0, (int)c.slot);
}

static void
do_ctl(struct session *s, const char *argument)
{
	char *value;
	const int option = (int)strtol(argument, &value, 10);

	printf("{\"ctl\":%d}\n", mcshm_ctl(s->m, option,
	    strtoull(value, NULL, 10)));
}

/* One command to a server, and the servers that were tried for it. */
struct op {
	char text[512], answer[512];
	int tried[16];
	unsigned n;
};

static int
talk(struct op *op, int fd)
{
	const size_t len = strlen(op->text);
	ssize_t n;

	if (send(fd, op->text, len, MSG_NOSIGNAL) != (ssize_t)len)
		return MCSHM_TRY_FAILED;
	n = recv(fd, op->answer, sizeof op->answer - 1, 0);
	if (n <= 0)
		return MCSHM_TRY_FAILED;
	op->answer[n] = '\0';
	return strncmp(op->answer, "END", 3) == 0 ? 0 : 1;
}

static int
try_op(void *arg, const struct mcshm_choice *c, const struct mcshm_server *sv,
    uint64_t timeout_ns)
{
	const uint64_t ns = timeout_ns < 250000000 ? timeout_ns : 250000000;
	const struct timeval t = { 0, (suseconds_t)(ns / 1000 + 1) };
	struct op *op = arg;
	const int fd = socket(sv->addr.ss_family, SOCK_STREAM, 0);
	int err = MCSHM_TRY_UNSENT;

	op->tried[op->n++ % 16] = (int)c->slot;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (connect(fd, (const struct sockaddr *)&sv->addr, sv->addrlen) == 0)
		err = talk(op, fd);
	close(fd);
	return err;
}

static void
run_op(struct session *s, struct op *op, const char *key, unsigned flags)
{
	struct mcshm_choice c = { .slot = NOWHERE, .home = NOWHERE };
	const int err = mcshm_run(s->m, key, strlen(key), flags, try_op, op,
	    &c);

	printf("{\"err\":%d,\"answer\":", err);
	print_text(op->answer);
	printf(",\"tried\":[");
	for (unsigned i = 0; i < op->n && i < 16; i++)
		printf("%s%d", i > 0 ? "," : "", op->tried[i]);
	printf("],\"choice\":");
	print_choice(&c);
	printf("}\n");
}

static void
do_get(struct session *s, const char *key)
{
	struct op op = { .n = 0 };

	snprintf(op.text, sizeof op.text, "get %s\r\n", key);
	run_op(s, &op, key, MCSHM_REPEATABLE);
}

static void
do_set(struct session *s, const char *argument)
{
	const char *value = argument + strcspn(argument, " ");
	struct op op = { .n = 0 };
	char key[256];

	snprintf(key, sizeof key, "%.*s", (int)(value - argument), argument);
	value += *value == ' ';
	snprintf(op.text, sizeof op.text, "set %s 0 0 %zu\r\n%s\r\n", key,
	    strlen(value), value);
	run_op(s, &op, key, MCSHM_REPEATABLE);
}

static void
do_incr(struct session *s, const char *key)
{
	struct op op = { .n = 0 };

	snprintf(op.text, sizeof op.text, "incr %s 1\r\n", key);
	run_op(s, &op, key, 0);
}

/* What this process costs ------------------------------------------------- */

static unsigned
count_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n - 1;		/* the directory itself */
}

static unsigned
count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	while (f && (c = getc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void
do_self(struct session *s, const char *argument)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size = 0, resident = 0, shared = 0;
	const unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE) / 1024;

	(void)s;
	(void)argument;
	if (f && fscanf(f, "%lu %lu %lu", &size, &resident, &shared) != 3)
		size = resident = shared = 0;
	if (f)
		fclose(f);
	printf("{\"size_kib\":%lu,\"own_kib\":%lu,\"fds\":%u,\"maps\":%u}\n",
	    size * page, (resident - shared) * page, count_descriptors(),
	    count_mappings());
}

/* Lines ------------------------------------------------------------------- */

static bool
obey(struct session *s, char *line)
{
	static const struct {
		const char *name;
		void (*act)(struct session *s, const char *argument);
	} commands[] = {
		{ "pick", do_pick }, { "picks", do_picks }, { "run", do_run },
		{ "stop", do_stop }, { "servers", do_servers },
		{ "states", do_states }, { "status", do_status },
		{ "wait", do_wait }, { "refresh", do_refresh },
		{ "self", do_self }, { "candidates", do_candidates },
		{ "fail", do_fail }, { "ctl", do_ctl }, { "get", do_get },
		{ "set", do_set }, { "incr", do_incr },
	};
	char *argument = line + strcspn(line, " ");

	if (*argument)
		*argument++ = '\0';
	if (strcmp(line, "quit") == 0)
		return false;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(line, commands[i].name) == 0) {
			commands[i].act(s, argument);
			fflush(stdout);
			return true;
		}
	printf("{\"error\":0,\"text\":\"no such command\"}\n");
	fflush(stdout);
	return true;
}

/* Whole lines of what has come in; false: it is over. */
static bool
take_input(struct session *s)
{
	const ssize_t n = read(STDIN_FILENO, s->line + s->len,
	    sizeof s->line - 1 - s->len);
	char *end;

	if (n <= 0)
		return false;
	s->len += (size_t)n;
	s->line[s->len] = '\0';
	while ((end = strchr(s->line, '\n')) != NULL) {
		const size_t used = (size_t)(end - s->line) + 1;

		*end = '\0';
		if (!obey(s, s->line))
			return false;
		memmove(s->line, s->line + used, s->len - used + 1);
		s->len -= used;
	}
	return s->len < sizeof s->line - 1;
}

static void
serve(struct session *s)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	for (;;) {
		const int n = poll(&input, 1, s->run.on ? 1 : -1);

		if (s->run.on)
			run_due(s);
		if (n > 0 && !take_input(s))
			return;
	}
}

int
main(int argc, char **argv)
{
	struct session *s = calloc(1, sizeof *s);
	unsigned flags = 0;
	int err, i;

	for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++)
		flags |= strcmp(argv[i], "--later") == 0 ? MCSHM_LATER :
		    MCSHM_NOFOLLOW;
	if (!s || i + 1 != argc) {
		fprintf(stderr, "usage: client [--later] [--nofollow] POOL\n");
		return 64;
	}
	s->server = calloc(SERVERS_MAX, sizeof *s->server);
	s->state = calloc(SERVERS_MAX, sizeof *s->state);
	err = s->server && s->state ? mcshm_open(&s->m, argv[i], flags) :
	    MCSHM_ESYS;
	if (err == 0) {
		printf("{\"open\":true}\n");
		fflush(stdout);
		serve(s);
		mcshm_close(s->m);
	} else {
		print_error(err);
	}
	free(s->server);
	free(s->state);
	free(s);
	return err == 0 ? 0 : 1;
}
