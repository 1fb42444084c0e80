/*
 * checker_report.c - what clients report: from a datagram to an earlier probe.
 *
 * Between a server's death and its next probe lies up to an interval; a client
 * that runs into it knows at once.  Its report is worth a question to the
 * server, and nothing else: who believes it?  So it steps no verdict, and a
 * million of them are probes fast_interval apart.
 *
 * Must not serve reports before probes: few are read in a turn of the loop, and
 * then none for a while.  What the socket's queue does not take meanwhile is
 * lost, and clients do not wait for it.
 */
#include "checker_engine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheme.h"

#define A_TURN 16
#define REST 0.01			/* s; 1600 a second at most */

/* Servers by identity ------------------------------------------------------ */

static int
by_hash(const void *a, const void *b)
{
	const struct ident *x = a, *y = b;

	return (x->hash > y->hash) - (x->hash < y->hash);
}

/* As it stands in the file's roster. */
static uint64_t
ident_hash(uint32_t scheme, const struct server *s)
{
	const struct scheme_where where = { s->name, s->address.host,
		s->address.kind, s->address.port };
	char ident[272];
	const int len = scheme_ident(scheme, &where, ident);

	assert(len > 0);
	return scheme_text_hash(ident, (size_t)len);
}

int
report_index(struct pool *p)
{
	const struct servers *s = &p->roster.servers;

	p->ident = calloc((size_t)s->n + 1, sizeof *p->ident);
	if (p->ident == NULL)
		return ENOMEM;
	for (uint32_t i = 0; i < s->n; i++)
		p->ident[i] = (struct ident){
			ident_hash(p->roster.set.scheme, &s->v[i]), i };
	qsort(p->ident, s->n, sizeof *p->ident, by_hash);
	return 0;
}

/* The first ident whose hash is not below this one. */
static uint32_t
ident_find(const struct pool *p, uint64_t hash)
{
	uint32_t from = 0, to = p->roster.servers.n;

	while (from < to) {
		const uint32_t mid = from + (to - from) / 2;

		if (p->ident[mid].hash < hash)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

/* An address may stand in the roster under several names. */
static bool
pool_reported(struct pool *p, uint64_t hash)
{
	uint32_t at = ident_find(p, hash);
	bool any = false;

	for (; at < p->roster.servers.n && p->ident[at].hash == hash; at++) {
		watch_reported(p->watch[p->ident[at].i]);
		any = true;
	}
	return any;
}

static bool
reported(struct checker *c, const struct report *r)
{
	for (uint32_t i = 0; i < c->pools; i++)
		if (strcmp(c->pool[i]->roster.pool, r->pool) == 0)
			return pool_reported(c->pool[i], r->ident_hash);
	return false;
}

/* Datagrams ---------------------------------------------------------------- */

/* False: there is none left. */
static bool
take_one(struct checker *c)
{
	struct hearing *h = &c->hearing;
	struct report one;

	switch (reports_read(&h->reports, &one)) {
	case REPORTS_NONE:
		return false;
	case REPORTS_ONE:
		h->unknown += !reported(c, &one);
		return true;
	case REPORTS_GARBAGE:
		h->garbage++;
		tell_garbage(c);
		return true;
	}
	return false;
}

static void
on_datagrams(struct ev_loop *loop, ev_io *io, int events)
{
	struct checker *c = io->data;

	(void)events;
	for (unsigned n = 0; n < A_TURN && take_one(c); n++)
		;
	ev_io_stop(loop, io);
	ev_timer_set(&c->hearing.rest, REST, 0.);
	ev_timer_start(loop, &c->hearing.rest);
}

static void
on_rested(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct checker *c = timer->data;

	(void)events;
	ev_io_start(loop, &c->hearing.datagrams);
}

/* The socket --------------------------------------------------------------- */

void
report_init(struct checker *c)
{
	struct hearing *h = &c->hearing;

	reports_init(&h->reports);
	ev_init(&h->datagrams, on_datagrams);
	ev_init(&h->rest, on_rested);
	/* Probes come first. */
	ev_set_priority(&h->datagrams, EV_MINPRI);
	h->datagrams.data = h->rest.data = c;
}

void
report_close(struct checker *c)
{
	struct hearing *h = &c->hearing;

	ev_io_stop(c->loop, &h->datagrams);
	ev_timer_stop(c->loop, &h->rest);
	reports_close(&h->reports);
}

/* Files that are new have it from c->about. */
static void
report_publish(struct checker *c)
{
	const char *path = c->hearing.reports.path;

	if (strcmp(c->about.report, path) == 0)
		return;
	memcpy(c->about.report, path, REPORTS_PATH);
	for (uint32_t i = 0; i < c->pools; i++)
		publish_report(c->pool[i]->publish, path);
}

/* again: there was one, or should have been. */
static void
report_open(struct checker *c, bool again)
{
	struct hearing *h = &c->hearing;
	const int err = reports_open(&h->reports, h->directory);

	if (err == 0) {
		ev_io_set(&h->datagrams, h->reports.fd, EV_READ);
		ev_io_start(c->loop, &h->datagrams);
	}
	if (err != 0 && h->error == 0)
		tell_deaf(c, err);
	if (err == 0 && again)
		tell_hears(c);
	h->error = err;
}

void
report_check(struct checker *c)
{
	struct hearing *h = &c->hearing;
	const bool listens = h->reports.fd != -1;

	if (!h->wanted || (listens && !reports_lost(&h->reports)))
		return;
	report_close(c);
	report_open(c, listens || h->error != 0);
	report_publish(c);
}

void
report_apply(struct checker *c, const struct checker_setup *s)
{
	struct hearing *h = &c->hearing;
	char directory[sizeof h->directory];

	snprintf(directory, sizeof directory, "%s", s->directory);
	/* Nobody is there to report without a pool. */
	h->wanted = s->reports && s->pools != 0;
	if (!h->wanted || strcmp(h->directory, directory) != 0) {
		report_close(c);
		h->error = 0;
	}
	memcpy(h->directory, directory, sizeof h->directory);
	report_check(c);
	report_publish(c);
}
