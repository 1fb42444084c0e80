/*
 * checker_asking.c - one pool: what its probes ask with.
 *
 * Words, the request that most probes send, source addresses, TLS: made when a
 * setup is applied, before anything is changed, and never changed then.  Probes
 * point into it.  So one that is the same as the running one gives way to it;
 * for another, all connections are made anew.
 */
#include "checker_engine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"

/* As in the ini; without what the pool's faults and returns add. */
static uint32_t
asks_of(const struct checker_asking *s)
{
	uint32_t asks = 0;

	switch (s->probe) {
	case CHECKER_PROBE_VERSION:
		asks = MCPROTO_ASK_VERSION;
		break;
	case CHECKER_PROBE_MN:
		asks = MCPROTO_ASK_MN;
		break;
	case CHECKER_PROBE_STATS:
		asks = MCPROTO_ASK_STATS;
		break;
	case CHECKER_PROBE_SET:
		/* "version" comes first: a server that wants a login answers
		 * it, and hangs up on a large value. */
		asks = MCPROTO_ASK_VERSION | MCPROTO_ASK_CANARY;
		break;
	case CHECKER_PROBE_TCP:
		return 0;
	}
	if (s->expect_version[0] != '\0' && s->probe == CHECKER_PROBE_MN)
		asks |= MCPROTO_ASK_VERSION;
	if (s->maintenance_key[0] != '\0')
		asks |= MCPROTO_ASK_MAINTENANCE;
	return asks;
}

/* Visible ASCII: it goes into keys and values of servers. */
static void
host_text(char to[MCPROTO_HOST_MAX + 1], const char *host)
{
	size_t n = 0;

	for (; host[n] != '\0' && n < MCPROTO_HOST_MAX; n++)
		to[n] = host[n] > ' ' && host[n] <= '~' ? host[n] : '_';
	if (n == 0)
		to[n++] = '_';
	to[n] = '\0';
}

static void
asking_words(struct asking_words *w, const struct checker *c,
    const struct checker_asking *s)
{
	w->asks = asks_of(s);
	w->canary_size = s->canary_size;
	snprintf(w->user, sizeof w->user, "%s", s->user);
	snprintf(w->password, sizeof w->password, "%s", s->password);
	snprintf(w->maintenance_key, sizeof w->maintenance_key, "%s",
	    s->maintenance_key);
	snprintf(w->tls_name, sizeof w->tls_name, "%s", s->tls_name);
	/* No other host's, and none of another daemon's on this one. */
	snprintf(w->canary_key, sizeof w->canary_key,
	    "mc-checkerd:canary:%016" PRIx64 ":%016" PRIx64, c->host, c->seed);
	host_text(w->host, c->about.host);
	for (int i = 0; i < 2; i++)
		w->from_len[i] = address_sockaddr(&w->from[i], &s->source[i],
		    "");
}

static int
asking_request(struct asking *a)
{
	size_t len;

	/* A canary is written anew each time. */
	if (a->words.asks == 0 || a->words.asks & MCPROTO_ASK_CANARY)
		return 0;
	a->text = malloc(MCPROTO_REQUEST_MAX);
	if (a->text == NULL)
		return -1;
	len = mcproto_write(a->text, MCPROTO_REQUEST_MAX, a->words.asks,
	    &a->terms, NULL);
	a->plain = (struct probe_request){ a->words.asks, len, a->text };
	return 0;
}

static bool
ends_soon(const struct asking *a)
{
	return checker_today() + TLS_ENDS_SOON > tls_span(a->tls).until;
}

static int
asking_tls(struct asking *a, const struct checker_pool *s)
{
	char why[TLS_WHY];

	if (!s->asking.tls)
		return 0;
	if (tls_open(&a->tls, &s->asking.files, why) == 0) {
		a->soon = ends_soon(a);		/* as the ini's reader says */
		return 0;
	}
	log_err("pool %s: %s", s->roster.pool, why);
	return -1;
}

int
asking_make(struct asking **out, const struct checker *c,
    const struct checker_pool *s)
{
	struct asking *a = calloc(1, sizeof *a);
	struct asking_words *w;
	int code = EX_OSERR;

	*out = NULL;
	if (a == NULL)
		goto fail;
	w = &a->words;
	asking_words(w, c, &s->asking);
	a->terms = (struct mcproto_terms){
		.user = w->user[0] != '\0' ? w->user : NULL,
		.password = w->password, .canary_key = w->canary_key,
		.canary_size = w->canary_size,
		.maintenance_key = w->maintenance_key, .host = w->host };
	code = asking_tls(a, s) != 0 ? EX_CONFIG : EX_OK;
	if (code == EX_OK && asking_request(a) != 0)
		code = EX_OSERR;
	if (code == EX_OK) {
		*out = a;
		return EX_OK;
	}
fail:
	if (code == EX_OSERR)
		log_err("cannot take the configuration: out of memory");
	asking_free(a);
	return code;
}

void
asking_free(struct asking *a)
{
	if (a == NULL)
		return;
	tls_close(a->tls);
	free(a->text);
	free(a);
}

bool
asking_in_time(const struct pool *p)
{
	const struct tls_span good = tls_span(p->asking->tls);
	const uint64_t now = checker_today();
	bool *told = now < good.from ? &p->asking->early : &p->asking->ended;

	if (now >= good.from && now < good.until)
		return true;
	if (!*told)
		tell_ended(p, good);
	*told = true;
	return false;
}

void
asking_look(const struct checker *c)
{
	for (uint32_t i = 0; i < c->pools; i++) {
		struct asking *a = c->pool[i]->asking;

		if (a->tls == NULL || a->ended || !ends_soon(a))
			continue;
		if (checker_today() >= tls_span(a->tls).until)
			asking_in_time(c->pool[i]);
		else if (!a->soon)
			tell_soon(c->pool[i], tls_span(a->tls));
		a->soon = true;
	}
}

bool
asking_same(const struct asking *a, const struct asking *b)
{
	return memcmp(&a->words, &b->words, sizeof a->words) == 0 &&
	    tls_same(a->tls, b->tls);
}

const char *
asking_name(const struct asking *a, const struct server *server)
{
	if (a->words.tls_name[0] == '\0' &&
	    server->address.kind != MCSHM_KIND_UNIX)
		return server->address.host;
	return a->words.tls_name;
}

int
asking_peer(struct tls_peer **peer, const struct asking *a,
    const struct server *server)
{
	*peer = NULL;
	if (a->tls == NULL)
		return 0;
	*peer = tls_peer_new(a->tls, asking_name(a, server));
	return *peer != NULL ? 0 : -1;
}
