/*
 * checker_setup.c - from one setup to the next, at start and at reload.
 *
 * A pool of the new setup is one of three:
 *
 *	stays	the same file: its publisher goes on to the new roster
 *	moved	the same name, another file: a new publisher, the old states
 *	new	a new publisher; states from the file, if one was left there
 *
 * Everything that can fail comes first, in plans that nothing else knows of:
 * memory, files, threads.  Only then are watches moved from old pools to new
 * ones, and old files removed.
 */
#include "checker_engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "log.h"

#define INHERIT_INTERVALS 10		/* older evidence counts no more */

struct plan {
	struct pool *pool;		/* to be */
	struct pool *old;		/* whose watches it takes, or NULL */
	bool stays;			/* with old's publisher */
	bool roster;			/* the file has to get its roster */
	bool done;			/* it has; for one that stays: or its
					 * old one is kept */
	uint32_t *from;			/* servers_match() with old */
};

struct setup {
	struct checker *c;
	struct plan *plan;
	uint32_t plans;
	struct removed removed;		/* with this setup, or before */
	bool *back;			/* [removed.servers.n]; are in it */
};

void
pool_free(struct pool *p)
{
	if (p == NULL)
		return;
	pool_unwatch_events(p);
	tell_stop(p);
	for (uint32_t i = 0; p->watch != NULL && i < p->roster.servers.n; i++)
		watch_free(p->watch[i]);
	for (uint32_t i = 0; p->peer != NULL && i < p->roster.servers.n; i++)
		tls_peer_free(p->peer[i]);
	asking_free(p->asking);
	free(p->peer);
	publish_roster_free(&p->roster);
	free(p->ident);
	free(p->watch);
	free(p->path);
	free(p);
}

/* asking is its own, also where there is no pool. */
static struct pool *
pool_new(struct checker *c, const struct checker_pool *s,
    struct asking *asking)
{
	struct pool *p = calloc(1, sizeof *p);

	if (p == NULL) {
		asking_free(asking);
		return NULL;
	}
	p->c = c;
	p->asking = asking;
	p->fresh_every = s->asking.fresh_every;
	snprintf(p->expect_version, sizeof p->expect_version, "%s",
	    s->asking.expect_version);
	p->verdict = s->verdict;
	p->schedule = s->schedule;
	p->faults = s->faults;
	p->failopen_rule = s->failopen;
	p->returns = s->returns;
	p->awareness_most = s->awareness;
	p->timeout = s->timeout;
	p->connect_timeout = s->connect_timeout;
	p->path = strdup(s->path);
	p->watch = calloc((size_t)s->roster.servers.n + 1, sizeof *p->watch);
	p->peer = calloc((size_t)s->roster.servers.n + 1, sizeof *p->peer);
	tell_init(p);
	if (p->path == NULL || p->watch == NULL || p->peer == NULL ||
	    publish_roster_copy(&p->roster, &s->roster) != 0 ||
	    report_index(p) != 0) {
		pool_free(p);
		return NULL;
	}
	return p;
}

/* The pool of the running setup that s goes on from. */
static struct pool *
setup_old(const struct checker *c, const struct checker_setup *s,
    const struct checker_pool *one, bool *stays)
{
	struct pool *named = NULL;

	*stays = false;
	for (uint32_t i = 0; i < c->pools; i++) {
		if (strcmp(c->pool[i]->path, one->path) == 0) {
			*stays = true;
			return c->pool[i];
		}
		if (strcmp(c->pool[i]->roster.pool, one->roster.pool) == 0)
			named = c->pool[i];
	}
	/* Its file may stay under another name; then so do its states. */
	for (uint32_t i = 0; named != NULL && i < s->pools; i++)
		if (strcmp(s->pool[i].path, named->path) == 0)
			return NULL;
	return named;
}

/* Watches for the servers that no old pool has. */
static int
plan_watches(struct plan *n)
{
	struct pool *p = n->pool;
	const struct servers *now = &p->roster.servers;
	const struct servers none = { 0 };

	n->from = calloc((size_t)now->n + 1, sizeof *n->from);
	if (n->from == NULL || servers_match(n->from, now,
	    n->old != NULL ? &n->old->roster.servers : &none) != 0)
		return ENOMEM;
	for (uint32_t i = 0; i < now->n; i++) {
		if (asking_peer(&p->peer[i], p->asking, &now->v[i]) != 0)
			return ENOMEM;
		if (n->from[i] != UINT32_MAX)
			continue;
		p->watch[i] = watch_new(p, &now->v[i], p->c->now);
		if (p->watch[i] == NULL)
			return ENOMEM;
		p->watch[i]->i = i;
		p->watch[i]->peer = p->peer[i];
		p->peer[i] = NULL;
	}
	return 0;
}

static int
no_memory(void)
{
	log_err("cannot take the configuration: %s", strerror(ENOMEM));
	return EX_OSERR;
}

/* 0, or an exit code and told. */
static int
setup_plan(struct setup *u, const struct checker_setup *s)
{
	u->plan = calloc((size_t)s->pools + 1, sizeof *u->plan);
	if (u->plan == NULL)
		return no_memory();
	u->plans = s->pools;
	for (uint32_t i = 0; i < s->pools; i++) {
		struct plan *n = &u->plan[i];
		struct asking *asking;
		const int code = asking_make(&asking, u->c, &s->pool[i]);

		if (code != 0)
			return code;
		n->old = setup_old(u->c, s, &s->pool[i], &n->stays);
		n->roster = n->stays;
		n->pool = pool_new(u->c, &s->pool[i], asking);
		if (n->pool == NULL || plan_watches(n) != 0)
			return no_memory();
	}
	return 0;
}

static struct publish_time
setup_time(const struct checker *c)
{
	return (struct publish_time){ .boot = c->now,
		.real = checker_clock(CLOCK_REALTIME) };
}

/* What a daemon of an earlier version did not say of an outage, other words of
 * its file do, as far as they were not overwritten since. */
static void
inherit_outage(struct publish_entry *e, const struct publish_entry *left)
{
	if (verdict_out(&left->verdict) && e->gone_began == 0)
		e->gone_began = left->good_began;
	if (e->failed_began == 0 && left->verdict.probes != 0 &&
	    (left->verdict.history & 1) == 0)
		e->failed_began = left->began;
}

/* What an earlier daemon believed.  A literal address is the ini's; one that
 * came from a name is good until the resolver knows better. */
static void
watch_inherit(struct watch *w, const struct publish_entry *left)
{
	const struct publish_entry own = w->entry;
	struct publish_entry *e = &w->entry;

	*e = *left;
	admin_merge(e, own.admin, (struct key_admin){ .admin = MCSHM_READY });
	admin_inherit(w, left);
	e->rtt_max_us = 0;
	if (own.addresses != 0 || e->addresses > MCSHM_ADDRESSES) {
		memcpy(e->address, own.address, sizeof e->address);
		e->addresses = own.addresses;
		e->came_from = own.came_from;
		e->at_since = own.at_since;
	}
	e->verdict = verdict_inherit(left->verdict, left->checked,
	    w->pool->c->now, INHERIT_INTERVALS * w->pool->schedule.interval);
	inherit_outage(e, left);
	w->returning.used = e->gone_began != 0;
	w->inherited = left->verdict.probes != 0;
}

static int
plan_inherit(struct plan *n)
{
	const struct publish_left *left = publish_left(n->pool->publish);
	const struct servers *now = &n->pool->roster.servers;
	uint32_t *from;
	int err;

	n->roster = !left->kept;
	if (n->old != NULL || left->entry == NULL)
		return 0;
	from = calloc((size_t)now->n + 1, sizeof *from);
	err = from == NULL ? ENOMEM : servers_match(from, now, &left->servers);
	for (uint32_t i = 0; err == 0 && i < now->n; i++)
		if (from[i] != UINT32_MAX) {
			watch_inherit(n->pool->watch[i], &left->entry[from[i]]);
			n->pool->inherits |= n->pool->watch[i]->inherited;
		}
	free(from);
	if (err == 0)
		doubt_inherit(n->pool, left);
	return err;
}

static int
tell_trouble(const struct publish_trouble *t, const char *path)
{
	if (t->error == EWOULDBLOCK && t->pid > 0)
		log_err("another daemon (pid %lld) has %s", (long long)t->pid,
		    path);
	else if (t->error == EWOULDBLOCK)
		log_err("another daemon has %s", path);
	else
		log_err("%s: %s", t->what, strerror(t->error));
	if (t->error == EWOULDBLOCK)
		return EX_UNAVAILABLE;
	return t->error == ENOMEM ? EX_OSERR : EX_CANTCREAT;
}

/* All files that are new to us, or none. */
static int
setup_files(struct setup *u)
{
	struct publish_trouble t;
	int err = 0;

	for (uint32_t i = 0; i < u->plans; i++) {
		struct pool *p = u->plan[i].pool;

		if (u->plan[i].stays)
			continue;
		t = (struct publish_trouble){ 0 };
		if (publish_open(&p->publish, p->path, &p->roster, &u->c->about,
		    setup_time(u->c), &t) != 0)
			return tell_trouble(&t, p->path);
		if (plan_inherit(&u->plan[i]) != 0)
			err = ENOMEM;
	}
	return err == 0 ? 0 : no_memory();
}

/* Who was in use until now is not any more as it was left before that. */
static void
removed_outdate(const struct removed *before, const struct pool *p,
    const bool *stays, bool *gone)
{
	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		if (stays[i] || verdict_out(&p->watch[i]->entry.verdict))
			continue;
		for (uint32_t j = 0; j < before->servers.n; j++)
			gone[j] |= server_same(&before->servers.v[j],
			    &p->roster.servers.v[i]);
	}
}

/* Servers that no plan takes over, and that are to be known again; gone: those
 * of before that are not. */
static int
setup_removes(struct setup *u, const struct pool *p, bool *gone)
{
	bool *stays = calloc((size_t)p->roster.servers.n + 1, sizeof *stays);
	int err = ENOMEM;

	if (stays == NULL)
		return err;
	for (uint32_t i = 0; i < u->plans; i++) {
		const struct plan *n = &u->plan[i];

		for (uint32_t j = 0; n->old == p &&
		    j < n->pool->roster.servers.n; j++)
			if (n->from[j] != UINT32_MAX)
				stays[n->from[j]] = true;
	}
	removed_outdate(&u->c->removed, p, stays, gone);
	err = removed_pool(&u->removed, p, stays);
	free(stays);
	return err;
}

/* New ones that were there before: as they were left. */
static int
plan_recall(struct plan *n, struct setup *u)
{
	const struct servers *now = &n->pool->roster.servers;
	uint32_t *from = calloc((size_t)now->n + 1, sizeof *from);
	int err = from == NULL ? ENOMEM : servers_match(from, now,
	    &u->removed.servers);

	for (uint32_t i = 0; err == 0 && i < now->n; i++) {
		struct watch *w = n->pool->watch[i];

		if (n->from[i] != UINT32_MAX || from[i] == UINT32_MAX)
			continue;
		u->back[from[i]] = true;
		if (w->inherited)
			continue;
		watch_inherit(w, &u->removed.entry[from[i]]);
		w->recalled = true;
		/* Others may have used it all the time: for us, it was out of
		 * reach until now. */
		if (w->entry.verdict.state == MCSHM_DOWN)
			w->entry.failed_began = w->pool->c->now;
	}
	free(from);
	return err;
}

/*
 * One that was DOWN when it was taken out is not a new one when it is put back,
 * be it in another pool: what it had it may still have.
 */
static int
setup_recall(struct setup *u)
{
	const struct removed *before = &u->c->removed;
	bool *gone = calloc((size_t)before->servers.n + 1, sizeof *gone);
	int err = gone == NULL ? ENOMEM : 0;

	for (uint32_t i = 0; err == 0 && i < u->c->pools; i++)
		err = setup_removes(u, u->c->pool[i], gone);
	if (err == 0)
		err = removed_rest(&u->removed, before, gone);
	free(gone);
	u->back = calloc((size_t)u->removed.servers.n + 1, sizeof *u->back);
	if (u->back == NULL)
		err = ENOMEM;
	for (uint32_t i = 0; err == 0 && u->removed.servers.n != 0 &&
	    i < u->plans; i++)
		err = plan_recall(&u->plan[i], u);
	return err == 0 ? 0 : no_memory();
}

/* What the key in a server said is good for as long as there is that key. */
static struct key_admin
plan_key_admin(const struct plan *n, const struct watch *w)
{
	const struct key_admin none = { .admin = MCSHM_READY };

	return strcmp(n->old->asking->words.maintenance_key,
	    n->pool->asking->words.maintenance_key) == 0 ? w->key_admin : none;
}

/* What a watch of the pool to be will believe; it may still be the old's. */
static struct publish_entry
plan_entry(const struct plan *n, uint32_t i)
{
	struct publish_entry e;

	if (n->from[i] == UINT32_MAX)
		return n->pool->watch[i]->entry;
	e = n->old->watch[n->from[i]]->entry;
	admin_merge(&e, n->pool->roster.servers.v[i].admin,
	    plan_key_admin(n, n->old->watch[n->from[i]]));
	return e;
}

static int
plan_publish(struct plan *n)
{
	struct publish *publish = n->stays ? n->old->publish :
	    n->pool->publish;
	const uint32_t servers = n->pool->roster.servers.n;
	struct publish_entry *entry;
	int err = ENOMEM;

	entry = calloc((size_t)servers + 1, sizeof *entry);
	if (entry == NULL)
		return ENOMEM;
	for (uint32_t i = 0; i < servers; i++)
		entry[i] = plan_entry(n, i);
	/* Who is usable for a doubt, and that it is one, in one. */
	if (!n->stays)
		publish_flags(publish, doubt_flags(n->old != NULL ? n->old :
		    n->pool));
	if (n->roster) {
		err = publish_roster(publish, &n->pool->roster,
		    &n->pool->c->about, entry);
	} else {
		for (uint32_t i = 0; i < servers; i++)
			publish_set(publish, i, &entry[i]);
		publish_now(publish);
		err = 0;
	}
	free(entry);
	n->done = err == 0;
	return err;
}

/*
 * What a new publisher's first section says is what it was told before it
 * started: flags, and who is open, with the verdicts that were left.
 */
static int
plan_publisher(struct plan *n)
{
	int err = plan_publish(n);

	if (err == 0)
		err = publish_start(n->pool->publish);
	if (err == 0)
		return 0;
	log_err("cannot publish pool %s: %s", n->pool->roster.pool,
	    strerror(err));
	return EX_OSERR;
}

/*
 * Tell every publisher the new roster.  Without memory for one of those that
 * are already at work, there may be none for the way back either: that pool
 * then stays as it is.
 */
static int
setup_publish(struct setup *u)
{
	int code = 0;

	for (uint32_t i = 0; i < u->plans && code == 0; i++)
		if (!u->plan[i].stays)
			code = plan_publisher(&u->plan[i]);
	if (code != 0)
		return code;
	for (uint32_t i = 0; i < u->plans; i++)
		if (u->plan[i].stays && plan_publish(&u->plan[i]) != 0)
			log_err("pool %s: stays as it was: %s",
			    u->plan[i].pool->roster.pool, strerror(ENOMEM));
	return 0;
}

/* Nothing has happened. */
static void
setup_undo(struct setup *u)
{
	for (uint32_t i = 0; i < u->plans; i++) {
		struct pool *p = u->plan[i].pool;

		if (p != NULL && p->publish != NULL)
			publish_abandon(p->publish);
		pool_free(p);
	}
}

static bool
same_schedule(const struct schedule_rule *a, const struct schedule_rule *b)
{
	return a->interval == b->interval &&
	    a->fast_interval == b->fast_interval &&
	    a->down_interval == b->down_interval &&
	    a->down_interval_max == b->down_interval_max &&
	    a->jitter == b->jitter;
}

/* Probes that are under way point into what they ask with. */
static void
plan_asking(struct plan *n)
{
	struct pool *p = n->pool, *old = n->old;
	struct asking *running = old->asking;

	if (asking_same(running, p->asking)) {
		old->asking = p->asking;
		p->asking = running;
		return;
	}
	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		if (n->from[i] == UINT32_MAX)
			continue;
		watch_reconnect(p->watch[i], p->peer[i]);
		p->peer[i] = NULL;
	}
}

/* What it came back as, with nothing to be done, is to be looked at again; not
 * what others use by now. */
static void
plan_forget(struct watch *w)
{
	if (verdict_out(&w->entry.verdict) && (w->entry.returned &
	    (MCSHM_RETURNED_FLUSHED | MCSHM_RETURNED_OUR_FAULT)) == 0)
		return_forget(w);
}

static void
plan_take(struct plan *n)
{
	struct pool *p = n->pool, *old = n->old;

	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		struct watch *w;

		if (n->from[i] == UINT32_MAX)
			continue;
		w = old->watch[n->from[i]];
		old->watch[n->from[i]] = NULL;
		w->pool = p;
		w->i = i;
		if (p->returns.flush && !old->returns.flush)
			plan_forget(w);
		w->key_admin = plan_key_admin(n, w);
		admin_merge(&w->entry, p->roster.servers.v[i].admin,
		    w->key_admin);
		p->watch[i] = w;
	}
	plan_asking(n);
	p->failopen = old->failopen;
	p->awareness = old->awareness;
	p->inherits = old->inherits;
	p->none = old->none;
	if (n->stays) {
		p->publish = old->publish;
		p->flags = old->flags;
		old->publish = NULL;
	}
}

/* Start those who are new, stop those in maintenance, and give the others
 * their new rules. */
static void
plan_start(struct plan *n)
{
	struct pool *p = n->pool;
	const bool rules = n->old != NULL &&
	    !same_schedule(&n->old->schedule, &p->schedule);

	for (uint32_t i = 0; i < p->roster.servers.n; i++) {
		struct watch *w = p->watch[i];

		if (watch_server(w)->admin == MCSHM_MAINT)
			watch_rest(w);
		else if (!watch_is_started(w))
			watch_start(w, n->roster && !w->inherited);
		else if (rules)
			watch_again(w);
	}
}

/* The same servers, in whatever order. */
static bool
plan_same(const struct plan *n)
{
	const uint32_t servers = n->pool->roster.servers.n;

	for (uint32_t i = 0; i < servers; i++)
		if (n->from[i] == UINT32_MAX)
			return false;
	return servers == n->old->roster.servers.n;
}

static void
plan_commit(struct plan *n)
{
	struct pool *p = n->pool;

	if (n->old != NULL && !n->stays)
		tell_moved(p, n->old, plan_same(n));
	if (n->old != NULL)
		plan_take(n);
	pool_count(p);
	doubt_recount(p);
	publish_awareness(p->publish, p->awareness);
	publish_unseen(p->publish, pool_unseen_after(p));
	doubt_begin(p, n->old == NULL);
	pool_flags(p);
	p->changed = true;
	pool_watch_events(p);
	if (n->old != NULL)
		pool_unwatch_events(n->old);
	plan_start(n);
	if (!n->stays && publish_on_disk(p->publish))
		log_warning("pool %s: file is on a disk, and what is published "
		    "waits for it; a tmpfs does not: file=%s", p->roster.pool,
		    p->path);
	if (n->roster)
		pool_exchange_soon(p);
	pool_publish(p);	/* who is taken out is out at once */
}

static bool
setup_keeps(const struct setup *u, const struct pool *old)
{
	for (uint32_t i = 0; i < u->plans; i++)
		if (u->plan[i].pool == old)
			return true;
	return false;
}

/* Pools that are not in the new setup: nobody shall believe their files. */
static void
pool_remove(struct pool *p)
{
	struct publish *publish = p->publish;

	if (publish != NULL)
		log_notice("pool %s: removed file=%s", p->roster.pool, p->path);
	pool_free(p);
	if (publish != NULL)
		publish_remove(publish);
}

static void
setup_commit(struct setup *u, struct pool **pool)
{
	struct checker *c = u->c;

	/* Files and tables took their time; dues are counted from now. */
	checker_refresh(c);
	for (uint32_t i = 0; i < u->plans; i++) {
		struct plan *n = &u->plan[i];

		if (n->done) {
			plan_commit(n);
		} else {		/* stays as it is */
			pool_free(n->pool);
			n->pool = n->old;
		}
		pool[i] = n->pool;
	}
	for (uint32_t i = 0; i < c->pools; i++)
		if (!setup_keeps(u, c->pool[i]))
			pool_remove(c->pool[i]);
	free(c->pool);
	c->pool = pool;
	c->pools = u->plans;
	removed_free(&c->removed);
	if (removed_rest(&c->removed, &u->removed, u->back) != 0)
		log_warning("servers that were removed while they were DOWN "
		    "are forgotten: %s", strerror(ENOMEM));
}

int
setup_apply(struct checker *c, const struct checker_setup *s)
{
	struct setup u = { .c = c };
	struct pool **pool;
	int code;

	pool = calloc((size_t)s->pools + 1, sizeof *pool);
	if (pool == NULL) {
		code = no_memory();
	} else if ((code = setup_plan(&u, s)) == 0 &&
	    (code = setup_files(&u)) == 0 &&
	    (code = setup_recall(&u)) == 0 &&
	    (code = setup_publish(&u)) == 0) {
		setup_commit(&u, pool);
		pool = NULL;
	}
	if (code != 0)
		setup_undo(&u);
	for (uint32_t i = 0; i < u.plans; i++)
		free(u.plan[i].from);
	removed_free(&u.removed);
	free(u.back);
	free(u.plan);
	free(pool);
	return code;
}

static void
tell_cleaned(void *arg, const char *path)
{
	(void)arg;
	log_notice("pool of an earlier configuration: removed file=%s", path);
}

void
setup_clean(const struct checker *c, const struct checker_setup *s)
{
	const char **keep = calloc((size_t)c->pools + 1, sizeof *keep);

	if (keep == NULL)	/* the next reload will have memory */
		return;
	for (uint32_t i = 0; i < c->pools; i++)
		keep[i] = c->pool[i]->path;
	publish_clean(s->directory, c->about.config, keep, c->pools,
	    tell_cleaned, NULL);
	free(keep);
}
