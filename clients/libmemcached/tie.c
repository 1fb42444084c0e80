/*
 * tie.c - the life of a tie: made by attach and by each clone, ended by detach
 * and by memcached_free(), all of which libmemcached tells by its callbacks.
 *
 * The program may have such callbacks, too: they are called after ours.
 */
#include <stdlib.h>
#include <string.h>

#include "tie.h"

/* ISO C has no cast between the two; POSIX says that it works. */
union callback {
	const void *data;
	memcached_clone_fn clone;
	memcached_cleanup_fn cleanup;
	memcached_trigger_key_fn miss;
};

static union callback
get_callback(memcached_st *memc, memcached_callback_t which)
{
	memcached_return_t rc;
	union callback cb;

	cb.data = memcached_callback_get(memc, which, &rc);
	return cb;
}

static void
set_callback(memcached_st *memc, memcached_callback_t which, union callback cb)
{
	memcached_callback_set(memc, which, cb.data);
}

static void
behave(memcached_st *memc, memcached_behavior_t which, uint64_t value)
{
	memcached_behavior_set(memc, which, value);
}

struct tie *
tie_of(const memcached_st *memc)
{
	const hashkit_st *kit = memcached_get_hashkit(memc);
	struct tie *t;

	if (kit == NULL || kit->base_hash.function != tie_choose)
		return NULL;
	/* A clone that is not finished has the tie of its source. */
	t = kit->base_hash.context;
	return t->memc == memc ? t : NULL;
}

void
tie_pool_leave(struct tie_pool *pool)
{
	if (atomic_fetch_sub(&pool->users, 1) != 1)
		return;
	memcached_free(pool->before);
	mcshm_close(pool->m);
	free(pool);
}

static void
tie_free(struct tie *t)
{
	tie_pool_leave(t->pool);
	free(t->where);
	free(t->index);
	free(t->error);
	free(t);
}

static bool
set_hook(memcached_st *memc, struct tie *t)
{
	hashkit_st kit;
	bool ok;

	if (hashkit_clone(&kit, memcached_get_hashkit(memc)) == NULL)
		return false;
	ok = hashkit_set_custom_function(&kit, tie_choose, t) ==
		HASHKIT_SUCCESS &&
	    memcached_set_hashkit(memc, &kit) == MEMCACHED_SUCCESS;
	hashkit_free(&kit);
	return ok;
}

/* The callbacks ----------------------------------------------------------- */

static struct tie *
tie_copy(const struct tie *from, memcached_st *memc)
{
	const size_t errors = (size_t)from->servers + from->replicas;
	struct tie *t = malloc(sizeof *t);

	if (t == NULL)
		return NULL;
	*t = *from;
	t->memc = memc;
	t->where = calloc(t->servers, sizeof *t->where);
	t->index = calloc(t->slots, sizeof *t->index);
	t->error = calloc(errors, sizeof *t->error);
	atomic_fetch_add(&t->pool->users, 1);
	if (t->where == NULL || t->index == NULL || t->error == NULL ||
	    !set_hook(memc, t)) {
		tie_free(t);
		return NULL;
	}
	memcpy(t->where, from->where, t->servers * sizeof *t->where);
	memcpy(t->index, from->index, t->slots * sizeof *t->index);
	return t;
}

/* A clone has no connections yet: now is the time for new servers. */
static memcached_return_t
on_clone(memcached_st *memc, const memcached_st *source)
{
	const struct tie *from = tie_of(source);
	struct tie *t;

	if (from == NULL)
		return MEMCACHED_SUCCESS;
	t = tie_copy(from, memc);
	if (t == NULL) {
		/* Its hook would outlive the source's tie. */
		memcached_set_hashkit(memc, (hashkit_st *)
		    memcached_get_hashkit(from->pool->before));
		memcached_servers_reset(memc);
		return MEMCACHED_MEMORY_ALLOCATION_FAILURE;
	}
	if (t->behind)
		tie_refresh(t);
	else
		tie_restart(t);
	return from->on_clone != NULL ?
	    from->on_clone(memc, source) : MEMCACHED_SUCCESS;
}

static memcached_return_t
on_cleanup(const memcached_st *memc)
{
	struct tie *t = tie_of(memc);
	memcached_cleanup_fn next;

	if (t == NULL)
		return MEMCACHED_SUCCESS;
	next = t->on_cleanup;
	tie_free(t);
	return next != NULL ? next(memc) : MEMCACHED_SUCCESS;
}

/* memcached_get() is over but for this: no answer is waited for. */
static memcached_return_t
on_miss(const memcached_st *memc, const char *key, size_t len,
    memcached_result_st *result)
{
	struct tie *t = tie_of(memc);

	if (t == NULL)
		return MEMCACHED_NOTFOUND;
	if (t->behind) {
		t->busy = true;
		tie_refresh(t);
		t->busy = false;
	}
	return t->on_miss != NULL ?
	    t->on_miss(memc, key, len, result) : MEMCACHED_NOTFOUND;
}

#define CALLBACKS 3

static const struct {
	memcached_callback_t which;
	union callback ours;
} callbacks[CALLBACKS] = {
	{ MEMCACHED_CALLBACK_CLONE_FUNCTION, { .clone = on_clone } },
	{ MEMCACHED_CALLBACK_CLEANUP_FUNCTION, { .cleanup = on_cleanup } },
	{ MEMCACHED_CALLBACK_GET_FAILURE, { .miss = on_miss } },
};

static void
take_callbacks(struct tie *t)
{
	union callback theirs[CALLBACKS];

	for (int i = 0; i < CALLBACKS; i++) {
		theirs[i] = get_callback(t->memc, callbacks[i].which);
		set_callback(t->memc, callbacks[i].which, callbacks[i].ours);
	}
	t->on_clone = theirs[0].clone;
	t->on_cleanup = theirs[1].cleanup;
	t->on_miss = theirs[2].miss;
}

/* What the program has set since stays. */
static void
give_callbacks(struct tie *t)
{
	const union callback theirs[CALLBACKS] = { { .clone = t->on_clone },
		{ .cleanup = t->on_cleanup }, { .miss = t->on_miss } };

	for (int i = 0; i < CALLBACKS; i++)
		if (get_callback(t->memc, callbacks[i].which).data ==
		    callbacks[i].ours.data)
			set_callback(t->memc, callbacks[i].which, theirs[i]);
}

/* To tie and to untie ----------------------------------------------------- */

memcached_st *
tie_bare_clone(memcached_st *memc)
{
	const union callback none = { .data = NULL };
	union callback theirs[CALLBACKS];
	memcached_st *bare;

	for (int i = 0; i < CALLBACKS; i++) {
		theirs[i] = get_callback(memc, callbacks[i].which);
		set_callback(memc, callbacks[i].which, none);
	}
	bare = memcached_clone(NULL, memc);
	for (int i = 0; i < CALLBACKS; i++)
		set_callback(memc, callbacks[i].which, theirs[i]);
	return bare;
}

/* What else would lead keys astray.  Which server rests, and for how long, is
 * the checker's to say: retry at once, by a time that is past. */
static void
set_behaviors(memcached_st *memc)
{
	behave(memc, MEMCACHED_BEHAVIOR_REMOVE_FAILED_SERVERS, 0);
	behave(memc, MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, (uint64_t)-1);
	behave(memc, MEMCACHED_BEHAVIOR_DISTRIBUTION,
	    MEMCACHED_DISTRIBUTION_MODULA);
	behave(memc, MEMCACHED_BEHAVIOR_SORT_HOSTS, 0);
}

static void
copy_behavior(memcached_st *to, memcached_st *from, memcached_behavior_t which)
{
	behave(to, which, memcached_behavior_get(from, which));
}

/* The distribution before the servers: their weights may switch it. */
static bool
give_back(memcached_st *memc, memcached_st *before)
{
	memcached_servers_reset(memc);
	memcached_set_hashkit(memc,
	    (hashkit_st *)memcached_get_hashkit(before));
	copy_behavior(memc, before, MEMCACHED_BEHAVIOR_RETRY_TIMEOUT);
	copy_behavior(memc, before, MEMCACHED_BEHAVIOR_DISTRIBUTION);
	copy_behavior(memc, before, MEMCACHED_BEHAVIOR_SORT_HOSTS);
	copy_behavior(memc, before, MEMCACHED_BEHAVIOR_REMOVE_FAILED_SERVERS);
	return memcached_push(memc, before) == MEMCACHED_SUCCESS;
}

int
tie_open(memcached_st *memc, struct tie_pool *pool,
    const struct mcshm_server *v, uint32_t n, uint64_t roster, bool keep)
{
	struct tie *t = calloc(1, sizeof *t);
	int err;

	if (t == NULL)
		return MCSHM_ESYS;
	t->memc = memc;
	t->pool = pool;
	atomic_fetch_add(&pool->users, 1);
	if (!set_hook(memc, t)) {
		tie_free(t);
		return MCSHM_ESYS;
	}
	take_callbacks(t);
	set_behaviors(memc);
	err = tie_set(t, v, n, roster, keep);
	if (err != MCSHM_OK)
		tie_undo(t);
	return err;
}

int
tie_undo(struct tie *t)
{
	const bool ok = give_back(t->memc, t->pool->before);

	give_callbacks(t);
	tie_free(t);
	return ok ? MCSHM_OK : MCSHM_ESYS;
}
