/*
 * attach.c - the functions of mcshm-memcached.h.
 *
 * What a tie is, and how it lives on, is in tie.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tie.h"

/* New rosters while keys are compared. */
#define ROSTERS_MAX 8

static int
check(memcached_st *memc, struct mcshm *m, unsigned flags,
    const struct mcshm_server *v, uint32_t n, uint64_t roster, bool *same)
{
	if (flags & MCSHM_MEMCACHED_MOVE_KEYS)
		return tie_compare(memc, v, n, same);
	return tie_moves(memc, m, v, n, roster, same);
}

static int
attach(memcached_st *memc, struct tie_pool *pool, unsigned flags)
{
	int err = MCSHM_EAGAIN;

	for (int i = 0; i < ROSTERS_MAX && err == MCSHM_EAGAIN; i++) {
		struct mcshm_server *v;
		uint64_t roster;
		bool same;
		const int n = tie_fetch(pool->m, &v, &roster);

		if (n < 0)
			return n;
		err = check(memc, pool->m, flags, v, (uint32_t)n, roster,
		    &same);
		if (err == MCSHM_OK)
			err = tie_open(memc, pool, v, (uint32_t)n, roster,
			    same);
		free(v);
	}
	return err;
}

int
mcshm_memcached_attach(memcached_st *memc, const char *name, unsigned flags)
{
	struct tie_pool *pool;
	int err;

	if (memc == NULL || name == NULL || tie_of(memc) != NULL ||
	    (flags & ~MCSHM_MEMCACHED_MOVE_KEYS) != 0)
		return MCSHM_EINVAL;
	pool = calloc(1, sizeof *pool);
	if (pool == NULL)
		return MCSHM_ESYS;
	atomic_init(&pool->users, 1);
	err = mcshm_open(&pool->m, name, 0);
	if (err == MCSHM_OK) {
		pool->before = tie_bare_clone(memc);
		err = pool->before == NULL ? MCSHM_ESYS :
		    attach(memc, pool, flags);
	}
	tie_pool_leave(pool);
	return err;
}

int
mcshm_memcached_detach(memcached_st *memc)
{
	struct tie *t = memc != NULL ? tie_of(memc) : NULL;

	return t != NULL ? tie_undo(t) : MCSHM_EINVAL;
}

int
mcshm_memcached_refresh(memcached_st *memc)
{
	struct tie *t = memc != NULL ? tie_of(memc) : NULL;

	return t != NULL ? tie_refresh(t) : MCSHM_EINVAL;
}

struct mcshm *
mcshm_memcached_pool(const memcached_st *memc)
{
	const struct tie *t = memc != NULL ? tie_of(memc) : NULL;

	return t != NULL ? t->pool->m : NULL;
}

const char *
mcshm_memcached_strerror(memcached_st *memc, int err, char *buf, size_t size)
{
	char scheme[128];

	if (err != MCSHM_MEMCACHED_EMOVES || memc == NULL) {
		snprintf(buf, size, "%s", err == MCSHM_MEMCACHED_EMOVES ?
		    "keys would move" : mcshm_strerror(err));
		return buf;
	}
	tie_scheme(memc, scheme, sizeof scheme);
	snprintf(buf, size, "keys would move: the handle is set to %s, the "
	    "pool or its list of servers to something else", scheme);
	return buf;
}
