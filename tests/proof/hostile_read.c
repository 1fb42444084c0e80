/*
 * hostile_read.c - the library, on a file that nobody should believe.
 */
#include "hostile.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "reader.h"

#define KEYS 48u
/* Candidates: fewer than a pool has, and more than most have. */
#define FEW 2u
#define MANY 200u
#define BEHIND (MCSHM_SILENT | MCSHM_DRAINED | MCSHM_SUSPECT)
#define HANG 60u			/* seconds of one case */

/* Cases -------------------------------------------------------------------- */

/* Of this process; a fuzzer has no other. */
static struct desk {
	char own[HOSTILE_TEXT];
	char *text;
	uint64_t *cases;
	_Atomic uint64_t calls;
} desk;

void
hostile_watch(char text[HOSTILE_TEXT], uint64_t *cases)
{
	desk.text = text;
	desk.cases = cases;
}

void
hostile_case(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(desk.text != NULL ? desk.text : desk.own, HOSTILE_TEXT, fmt,
	    ap);
	va_end(ap);
	if (desk.cases == NULL)
		return;
	++*desk.cases;
	alarm(HANG);
}

void
hostile_fault(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "hostile: %s: ",
	    desk.text != NULL ? desk.text : desk.own);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	fflush(stderr);
	abort();
}

uint64_t
hostile_calls(void)
{
	return desk.calls;
}

/* A clock that stands still: an answer must not depend on when a slow machine
 * came to ask. */
static uint64_t
still_clock(void)
{
	static _Atomic uint64_t now;

	if (now == 0)
		now = mkfile_boottime();
	return now;
}

/* Picks -------------------------------------------------------------------- */

static size_t
key(char k[300], uint32_t i)
{
	static const uint16_t len[] = { 0, 1, 3, 4, 8, 9, 16, 17, 64, 128, 129,
		240, 241, 250, 255, 300 };
	const size_t n = len[i % (sizeof len / sizeof *len)];

	memset(k, (int)(i * 37), n);
	if (n >= 4)
		memcpy(k, &i, 4);
	return n;
}

static void
check_bounds(const struct mcshm_choice *c)
{
	must(c->slot < MCSHM_MAX_SERVERS && c->home < MCSHM_MAX_SERVERS,
	    "slot %u, home %u", c->slot, c->home);
	must(c->tries <= MCSHM_MAX_SERVERS, "%u tries", c->tries);
}

static void
check_server(const struct mcshm_server *s)
{
	must(memchr(s->name, 0, sizeof s->name) != NULL, "a name without end");
	must(s->addrlen <= sizeof s->addr, "an address of %u bytes",
	    (unsigned)s->addrlen);
	if (s->addrlen > 0 && s->addr.ss_family == AF_UNIX)
		must(memchr(((const struct sockaddr_un *)&s->addr)->sun_path,
			0, sizeof ((struct sockaddr_un *)0)->sun_path) != NULL,
		    "a path without end");
}

static void
check_choice(int err, const struct mcshm_choice *c)
{
	must(err == MCSHM_OK || err == MCSHM_ENONE || err == MCSHM_EHELD ||
	    err == MCSHM_EMISS || err == MCSHM_EDOWN || err == MCSHM_EAGAIN ||
	    err == MCSHM_ENOENT, "pick says %d", err);
	check_bounds(c);
	must((c->flags & ~MCSHM_BLIND) == 0, "pick has flags %x", c->flags);
}

/* One that the library gave: so its server can be asked for. */
static void
check_lookups(struct mcshm *m, const struct mcshm_choice *c, bool still)
{
	struct mcshm_server s;
	struct mcshm_state st = { .usable = 0 };
	int err = mcshm_server(m, c, &s, sizeof s);

	desk.calls++;
	must(err == MCSHM_OK || err == MCSHM_EROSTER || err == MCSHM_EAGAIN ||
	    err == MCSHM_ENOENT, "server says %d", err);
	if (err == MCSHM_OK)
		check_server(&s);
	err = mcshm_server_state(m, c, &st, sizeof st);
	must(err == MCSHM_OK || err == MCSHM_EROSTER || err == MCSHM_EAGAIN ||
	    err == MCSHM_ENOENT, "server_state says %d", err);
	must(st.usable <= 1 && st.held <= 1, "usable %u, held %u", st.usable,
	    st.held);
	must(err == MCSHM_OK || !still, "no state of slot %u: %d", c->slot,
	    err);
}

static void
picks(struct mcshm *m, uint32_t servers, bool still)
{
	for (uint32_t i = 0; i < KEYS; i++) {
		struct mcshm_choice a, b;
		char k[300];
		const size_t len = key(k, i);
		const int err = mcshm_pick(m, k, len, &a);

		desk.calls++;
		check_choice(err, &a);
		/* Once more, when the first has filled the cache. */
		must(mcshm_pick(m, k, len, &b) == err || !still,
		    "the same key, another error");
		if (still) {
			must(memcmp(&a, &b, sizeof a) == 0,
			    "the same key, another choice");
			must(a.slot < servers && a.home < servers,
			    "slot %u, home %u of %u servers", a.slot, a.home,
			    servers);
		}
		if (i % 8 == 0)
			check_lookups(m, &a, still);
	}
}

/* Candidates --------------------------------------------------------------- */

/* The stack as another caller may have left it. */
static __attribute__((noinline)) void
scribble(int byte)
{
	volatile unsigned char room[16384];

	for (size_t i = 0; i < sizeof room; i++)
		room[i] = (unsigned char)byte;
}

/* Not listed before; usable, or said not to be. */
static void
check_candidate(struct mcshm *m, const struct mcshm_choice *c, uint64_t seen[],
    bool still)
{
	const uint64_t bit = UINT64_C(1) << c->slot % 64;
	struct mcshm_state st;

	check_bounds(c);
	must((c->flags & ~(BEHIND | MCSHM_BLIND)) == 0,
	    "a candidate has flags %x", c->flags);
	must((seen[c->slot / 64] & bit) == 0, "slot %u is a candidate twice",
	    c->slot);
	seen[c->slot / 64] |= bit;
	if (!still)
		return;
	must(mcshm_server_state(m, c, &st, sizeof st) == MCSHM_OK,
	    "a candidate without a state: slot %u", c->slot);
	must((c->flags & BEHIND) != 0 || st.usable,
	    "a candidate that is not usable: slot %u", c->slot);
}

/* Up to k of them, in room for k to the byte. */
static int
candidates(struct mcshm *m, uint32_t i, size_t k, struct mcshm_choice **v)
{
	char text[300];
	const size_t len = key(text, i);
	int n;

	*v = malloc(k * sizeof **v);
	must(*v != NULL, "memory");
	n = mcshm_candidates(m, text, len, *v, k);
	desk.calls++;
	must((0 < n && (size_t)n <= k) || n == MCSHM_ENONE ||
	    n == MCSHM_EAGAIN || n == MCSHM_ENOENT, "candidates says %d", n);
	return n;
}

static void
list(struct mcshm *m, uint32_t i, size_t k, uint32_t servers, bool still)
{
	uint64_t seen[MCSHM_MAX_WORDS] = { 0 };
	struct mcshm_choice *a, *b;
	int n, again;

	scribble(0);
	n = candidates(m, i, k, &a);
	scribble(0xff);
	again = candidates(m, i, k, &b);
	must(n == again || !still, "%d candidates, then %d", n, again);
	for (int j = 0; j < n; j++)
		check_candidate(m, &a[j], seen, still);
	if (still && n > 0) {
		must((uint32_t)n <= servers, "%d candidates of %u", n, servers);
		must(memcmp(a, b, (size_t)n * sizeof *a) == 0,
		    "other candidates");
	}
	for (int j = 0; still && j < n; j++)
		must(a[j].slot < servers && a[j].home < servers,
		    "candidate %u, home %u of %u servers", a[j].slot,
		    a[j].home, servers);
	free(a);
	free(b);
}

static void
lists(struct mcshm *m, uint32_t servers, bool still)
{
	list(m, 0, FEW, servers, still);
	list(m, 7, FEW, servers, still);
	list(m, 3, MANY, servers, still);
}

/* All that mcshm_failed() changes; what it did is over when this returns, or
 * the handle is not used any more. */
static void
suspects(struct mcshm *m, uint32_t servers, bool still)
{
	struct mcshm_choice c;
	char text[300];

	must(mcshm_ctl(m, MCSHM_REPORTS, 0) == MCSHM_OK, "no reports");
	must(mcshm_ctl(m, MCSHM_SUSPECT_TIME, UINT64_C(10000000000)) ==
	    MCSHM_OK, "suspect time");
	for (uint32_t i = 0; i < 2; i++) {
		const int err = mcshm_pick(m, text, key(text, i), &c);
		const int got = mcshm_failed(m, &c);

		check_choice(err, &c);
		must(got == MCSHM_OK || got == MCSHM_EAGAIN ||
		    got == MCSHM_ENOENT || (!still && got == MCSHM_EROSTER),
		    "failed says %d", got);
	}
	picks(m, servers, still);
	lists(m, servers, still);
	mcshm_ctl(m, MCSHM_SUSPECT_TIME, 1);
}

/* Lists -------------------------------------------------------------------- */

/* n: room for so many, to the byte. */
static int
servers(struct mcshm *m, size_t n)
{
	struct mcshm_server *v = malloc(n * sizeof *v + (n == 0));
	uint64_t roster = 0;
	const int got = mcshm_servers(m, n > 0 ? v : NULL, n, sizeof *v,
	    &roster);

	desk.calls++;
	must(got >= 0 || got == MCSHM_EAGAIN || got == MCSHM_ENOENT,
	    "servers says %d", got);
	must(got <= (int)MCSHM_MAX_SERVERS, "%d servers", got);
	for (int i = 0; i < got && (size_t)i < n; i++) {
		must(v[i].slot == (uint32_t)i, "server %d is in slot %u", i,
		    v[i].slot);
		check_server(&v[i]);
	}
	free(v);
	return got;
}

static int
snapshot(struct mcshm *m, size_t n, struct mcshm_status *st)
{
	struct mcshm_state *v = malloc(n * sizeof *v + (n == 0));
	const int got = mcshm_snapshot(m, n > 0 ? v : NULL, n, sizeof *v, st,
	    st != NULL ? sizeof *st : 0);

	desk.calls++;
	must(got >= 0 || got == MCSHM_EAGAIN || got == MCSHM_ENOENT,
	    "snapshot says %d", got);
	must(got <= (int)MCSHM_MAX_SERVERS, "snapshot of %d", got);
	for (int i = 0; i < got && (size_t)i < n; i++)
		must(v[i].usable <= 1 && v[i].held <= 1,
		    "usable %u, held %u", v[i].usable, v[i].held);
	free(v);
	return got;
}

static void
waits(struct mcshm *m, uint64_t generation)
{
	uint64_t now = 0;
	int got = mcshm_wait(m, 0, 0, &now);

	must(got == 1 || got == MCSHM_ENOENT, "wait for 0 says %d", got);
	got = mcshm_wait(m, generation, 1000, &now);
	must(got == 0 || got == 1 || got == MCSHM_ENOENT, "wait says %d", got);
}

/* All ---------------------------------------------------------------------- */

void
hostile_read_handle(struct mcshm *m, bool still)
{
	struct mcshm_status st;
	const int got = snapshot(m, 0, &st);
	const uint32_t n = got > 0 ? (uint32_t)got : 0;

	must(got > 0 || !still, "snapshot says %d", got);
	picks(m, n, still);
	lists(m, n, still);
	must(snapshot(m, n, NULL) == got || !still, "another snapshot");
	snapshot(m, n / 2, &st);
	must(servers(m, n) == got || !still, "another number of servers");
	servers(m, 0);
	servers(m, n / 2);
	if (still)
		m->clock = mkfile_boottime;
	waits(m, st.generation);
	if (still)
		m->clock = still_clock;
	must(mcshm_refresh(m) <= 1, "refresh");
	snapshot(m, MCSHM_MAX_SERVERS / 64, &st);
	picks(m, n, still);
	suspects(m, n, still);
}

int
hostile_read(const char *path, bool still)
{
	struct mcshm *m = NULL;
	const int err = mcshm_open(&m, path, 0);

	desk.calls++;
	must(err == 0 || err == MCSHM_ENOENT || err == MCSHM_EPERM ||
	    err == MCSHM_EDAMAGED || err == MCSHM_EVERSION || err == MCSHM_ESYS,
	    "open says %d", err);
	must((err == 0) == (m != NULL), "open says %d and gives %p", err,
	    (void *)m);
	if (err != 0)
		return err;
	if (still)
		m->clock = still_clock;
	hostile_read_handle(m, still);
	mcshm_close(m);
	return 0;
}
