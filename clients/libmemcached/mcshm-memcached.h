/*
 * mcshm-memcached.h - a libmemcached handle that asks a pool file of
 * mc-checkerd(8) which server has a key.
 *
 *	#include <mcshm-memcached.h>
 *	...
 *	err = mcshm_memcached_attach(memc, "web", 0);
 *
 * From there on memc has the servers of the pool, in the pool's order, and each
 * of its operations goes where mcshm_pick() says.  A server that is down is
 * passed over and one that is silent is not waited for, by all processes of the
 * host at once.  Copies that memcached_clone() and memcached_pool(3) make are
 * attached, too; memcached_free() lets go of the pool.
 *
 * Conventions are those of mcshm.h, but: a memcached_st is for one thread at a
 * time, and so is each function here that takes one.  The pool file behind it
 * is shared by the copies, whatever threads they are in.
 */
#ifndef MCSHM_MEMCACHED_H
#define MCSHM_MEMCACHED_H

#include <libmemcached/memcached.h>
#include <mcshm.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Beside the codes of mcshm.h: with this handle's settings keys are sent other
 * ways than the pool sends them. */
#define MCSHM_MEMCACHED_EMOVES (-201)

/*
 * Tie memc to a pool: a name or a path, as mcshm_open() takes it.
 *
 * Set distribution, hash and all other behaviors before this, and neither
 * distribution, hash nor servers after it.  Servers that the handle has are
 * left as they are where they are the pool's, and replaced where not.
 *
 * Refuses a handle that would send keys another way than the pool does:
 * MCSHM_MEMCACHED_EMOVES; mcshm_memcached_strerror() says which lines of the
 * ini mean what the handle is set to.  A handle that has neither servers nor a
 * distribution nor a hash of its own has nothing to lose, and is taken.
 *
 * flags: MCSHM_MEMCACHED_MOVE_KEYS, or 0.
 *
 * 0; EMOVES; as mcshm_open(); MCSHM_EAGAIN; MCSHM_EINVAL also where it is
 * attached already.  When it fails the handle is as it was.
 */
#define MCSHM_MEMCACHED_MOVE_KEYS 1u	/* take the pool's way in any case */
int mcshm_memcached_attach(memcached_st *memc, const char *pool,
    unsigned flags);

/* The handle gets back the servers and settings that it had.  0, or
 * MCSHM_EINVAL: it is not attached; MCSHM_ESYS: it has no servers now. */
int mcshm_memcached_detach(memcached_st *memc);

/*
 * Take the servers of the pool's newest roster.  1: there were other ones, and
 * all connections are new; 0: it had them; MCSHM_EINVAL: it is not attached
 * (any more: was its hash set?); MCSHM_EAGAIN; MCSHM_ESYS.
 *
 * Costs next to nothing where nothing is new.  It may only be called between
 * operations: not before memcached_fetch() has come to an end.
 *
 * Without it a memcached_get() that misses does the same.  Until either is
 * called, keys of servers that the handle does not have yet are misses at once;
 * all others are sent by the new roster.
 */
int mcshm_memcached_refresh(memcached_st *memc);

/* The pool that it is attached to, for mcshm_ctl(), mcshm_pick() and so on; as
 * long as it or a copy of it is.  NULL: it is not. */
struct mcshm *mcshm_memcached_pool(const memcached_st *memc);

/* An error of these functions in words, for people: written to buf, which is
 * returned.  EMOVES is told by what memc is set to. */
const char *mcshm_memcached_strerror(memcached_st *memc, int err, char *buf,
    size_t size);

#ifdef __cplusplus
}
#endif
#endif
