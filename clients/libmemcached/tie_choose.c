/*
 * tie_choose.c - the hash function of an attached handle: which of its servers
 * has the key?  And which of them have failed since?
 *
 * Called by libmemcached in the middle of an operation: it changes nothing of
 * the handle.
 */
#include "tie.h"

/* New rosters in one operation. */
#define ROSTERS_MAX 4
/* Far from now, wherever time_t ends. */
#define NEVER ((time_t)INT32_MAX)

uint32_t
tie_nowhere(const struct tie *t)
{
	return t->servers + t->replicas;
}

/* The server's fault, or that of the way to it.  "Temporarily disabled" is a
 * connect that failed again: nothing else disables, with our RETRY_TIMEOUT. */
static bool
is_failure(memcached_return_t rc)
{
	switch (rc) {
	case MEMCACHED_CONNECTION_FAILURE:
	case MEMCACHED_ERRNO:
	case MEMCACHED_PARTIAL_READ:
	case MEMCACHED_READ_FAILURE:
	case MEMCACHED_SERVER_TEMPORARILY_DISABLED:
	case MEMCACHED_TIMEOUT:
	case MEMCACHED_UNKNOWN_READ_FAILURE:
	case MEMCACHED_WRITE_FAILURE:
		return true;
	default:
		return false;
	}
}

/* Slots of a newer roster that are at this server. */
static void
report(struct tie *t, uint32_t server)
{
	struct mcshm_choice c = { .roster = t->roster };

	for (c.slot = 0; c.slot < t->slots; c.slot++)
		if (t->index[c.slot] == server)
			mcshm_failed(t->pool->m, &c);
}

/*
 * A server keeps its last error until it has another one.  That comes in memory
 * of its own: another place, another error.  (Where it happens to be the same
 * place, one failure is not seen, and the next one is.)
 */
static void
look_at(struct tie *t, uint32_t i)
{
	const memcached_instance_st *s =
	    memcached_server_instance_by_position(t->memc, i);
	const char *error = memcached_server_error(s);

	if (error == t->error[i])
		return;
	t->error[i] = error;
	if (is_failure(memcached_server_error_return(s)))
		report(t, i % t->servers);
}

/* At the server of the last operation, and at one more in turn: operations of
 * many keys have many. */
static void
look_for_failures(struct tie *t)
{
	const uint32_t n = t->servers + t->replicas;

	if (t->last < n)
		look_at(t, t->last);
	t->turn = t->turn + 1 < n ? t->turn + 1 : 0;
	look_at(t, t->turn);
}

/* Whoever is sent there is told that the server is disabled, without a system
 * call, as long as nobody closed all connections since the last one was. */
static uint32_t
go_nowhere(struct tie *t, uint32_t n)
{
	const uint32_t i = tie_nowhere(t);

	if (i < n)
		memcached_instance_next_retry(
		    memcached_server_instance_by_position(t->memc, i), NEVER);
	t->last = i;
	return i;
}

/* The index of a choice of the roster that index[] is of. */
static int
pick(struct tie *t, const char *key, size_t len, struct mcshm_choice *c)
{
	int err = t->blocked ? MCSHM_ENONE : MCSHM_EROSTER;

	for (int i = 0; i < ROSTERS_MAX && err == MCSHM_EROSTER; i++) {
		err = mcshm_pick(t->pool->m, key, len, c);
		if (err != MCSHM_OK || c->roster == t->roster)
			break;
		err = tie_translate(t);
		if (err == MCSHM_OK)
			err = MCSHM_EROSTER;
	}
	return err == MCSHM_OK && c->slot >= t->slots ? MCSHM_EROSTER : err;
}

uint32_t
tie_choose(const char *key, size_t len, void *tie)
{
	struct tie *t = tie;
	struct mcshm_choice c;
	const uint32_t n = memcached_server_count(t->memc);

	/* Else the program took servers out, which it must not. */
	if (n > tie_nowhere(t))
		look_for_failures(t);
	if (pick(t, key, len, &c) != MCSHM_OK ||
	    t->index[c.slot] >= t->servers)
		return go_nowhere(t, n);
	t->last = t->index[c.slot];
	return t->last;
}
