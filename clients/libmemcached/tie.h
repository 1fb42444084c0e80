/*
 * tie.h - what ties one memcached_st to a pool.  Private to the adapter, which
 * knows nothing of libmcshm but mcshm.h.
 *
 *	memcached_st --hashkit--> tie_choose(tie): an index of its servers
 *	tie --> tie_pool: the mapped file; shared by a handle and its clones
 *
 * The handle's servers are the roster's, in its order, and behind them
 *
 *	0 .. slots-1		the servers
 *	.. + replicas		the first ones again: libmemcached's replica r of
 *				a key is at (index + r) modulo their number
 *	.. + replicas + 1	nowhere: an address that nobody can listen at;
 *				who is sent there fails at once
 *
 * Servers of a live handle change between operations only, never in the hash
 * function: what libmemcached has worked out from their number would be wrong.
 * In between, the slots of a newer roster are found among the servers that
 * there are, by address.
 */
#ifndef TIE_H
#define TIE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "mcshm-memcached.h"

struct tie_pool {
	struct mcshm *m;
	memcached_st *before;		/* the handle, as it was */
	_Atomic unsigned users;
};

/* The address of a server. */
struct tie_where {
	socklen_t len;			/* 0: not known */
	struct sockaddr_storage addr;
};

struct tie {
	memcached_st *memc;
	struct tie_pool *pool;

	/* The handle's servers. */
	uint32_t servers;		/* of the roster it was built from */
	uint32_t replicas;
	struct tie_where *where;	/* of each */
	const char **error;		/* what was seen of each; with replicas */
	uint32_t last, turn;		/* asked by the last operation; to be
					 * looked at next */

	/* A roster's slots among them; `nowhere` where it is none. */
	uint64_t roster;
	uint32_t slots;
	uint32_t *index;
	bool behind;			/* has servers that the handle has not */
	bool blocked;			/* for now all keys go nowhere */
	bool busy;			/* within one of its operations */

	/* The program's own. */
	memcached_clone_fn on_clone;
	memcached_cleanup_fn on_cleanup;
	memcached_trigger_key_fn on_miss;
};

/* tie.c ------------------------------------------------------------------- */

/* The tie of a handle; NULL: it has none. */
struct tie *tie_of(const memcached_st *memc);
/* Tie it: the pool is used once more.  Where this fails it is as it was. */
int tie_open(memcached_st *memc, struct tie_pool *pool,
    const struct mcshm_server *v, uint32_t n, uint64_t roster, bool keep);
/* As it was before; then there is no tie. */
int tie_undo(struct tie *t);
/* The handle without callbacks, connections and (virtual) buckets. */
memcached_st *tie_bare_clone(memcached_st *memc);
void tie_pool_leave(struct tie_pool *pool);

/* tie_servers.c ----------------------------------------------------------- */

/* All servers of the newest roster: their number, *v to be freed; or below 0. */
int tie_fetch(struct mcshm *m, struct mcshm_server **v, uint64_t *roster);
struct tie_where tie_where(const struct mcshm_server *s);
bool tie_same(const struct tie_where *a, const struct tie_where *b);
/* Host as libmemcached takes it, and whether there is one. */
bool tie_host(const struct tie_where *w, char *host, size_t size);
memcached_return_t tie_add(memcached_st *memc, const struct tie_where *w,
    const char *host, uint32_t weight);
/* Give the handle these servers; keep: the first n are there already. */
int tie_set(struct tie *t, const struct mcshm_server *v, uint32_t n,
    uint64_t roster, bool keep);
/* The handle's servers are new to it: nothing was asked of them yet. */
void tie_restart(struct tie *t);
/* Go on to the newest roster: 1, 0 or below, as mcshm_memcached_refresh(). */
int tie_refresh(struct tie *t);
/* Find the newest roster's slots among the servers that there are. */
int tie_translate(struct tie *t);

/* tie_choose.c ------------------------------------------------------------ */

/* The hash function: the index of the server to ask. */
uint32_t tie_choose(const char *key, size_t len, void *tie);
uint32_t tie_nowhere(const struct tie *t);

/* tie_moves.c ------------------------------------------------------------- */

/* Would the handle's keys move?  0, MCSHM_MEMCACHED_EMOVES, or below.  *same:
 * its servers are the pool's, in the pool's order. */
int tie_moves(memcached_st *memc, struct mcshm *m,
    const struct mcshm_server *v, uint32_t n, uint64_t roster, bool *same);
/* The same question is not asked; *same only. */
int tie_compare(memcached_st *memc, const struct mcshm_server *v, uint32_t n,
    bool *same);
/* The lines of the ini that mean what the handle is set to. */
void tie_scheme(memcached_st *memc, char *buf, size_t size);

#endif
