/*
 * conf_check.c - what no line says by itself: defaults, what one key means for
 * another, and what does not go together.
 *
 * Must not call a default wrong: it gives way to what was written.
 */
#include <string.h>

#include "conf_load.h"

bool
conf_has(const struct draft *d, enum conf_key_id id)
{
	return d->at[id].line && !d->at[id].bad;
}

static bool
spot_same(const struct spot *a, const struct spot *b)
{
	return a->file == b->file && a->line == b->line;
}

bool
conf_inherited(const struct load *l, const struct draft *d,
    enum conf_key_id id)
{
	return d != &l->defaults && l->defaults.at[id].line &&
	    spot_same(&d->at[id], &l->defaults.at[id]);
}

/* "interval = 1s in web.ini:8", the place only where it is not `at`; of a list
 * its name only. */
static void
said(char text[512], struct load *l, struct draft *d, enum conf_key_id id,
    const struct spot *at)
{
	const struct key *k = &conf_keys[id];
	const struct spot *own = &d->at[id];
	char value[3 + CONF_FILE_BYTES + 1] = "";

	if (k->kind->size > 0) {
		memcpy(value, " = ", 3);
		conf_value(value + 3, k, conf_field(l, k, d));
	}
	if (!own->line)
		snprintf(text, 512, "the default %s%s", k->name, value);
	else if (spot_same(own, at))
		snprintf(text, 512, "%s%s", k->name, value);
	else
		snprintf(text, 512, "%s%s in %s:%u", k->name, value,
		    own->file, own->line);
}

void
conf_conflict(struct load *l, struct draft *d, enum conf_key_id id,
    enum conf_key_id with, const char *why, const char *cure)
{
	const struct spot *at = &d->at[id];
	char one[512], two[512];
	const char *pool = d->pool.name;

	if (at->bad || d->at[with].bad ||
	    (conf_inherited(l, d, id) && conf_inherited(l, d, with)) ||
	    (d == &l->defaults && (!at->line || !d->at[with].line)))
		return;
	if (d->at[with].line && (!at->line || conf_inherited(l, d, id)))
		at = &d->at[with];
	said(one, l, d, id, at);
	said(two, l, d, with, at);
	conf_complain_at(l, *at, "%s%s%s%s %s %s; %s",
	    *pool ? "pool " : "", pool, *pool ? ": " : "", one, why, two, cure);
}

static void
pool_conflicts(struct load *l, struct draft *d)
{
	const struct conf_pool *p = &d->pool;

	if (p->timeout > p->interval)
		conf_conflict(l, d, KEY_timeout, KEY_interval, "is longer than",
		    "write a shorter timeout or a longer interval");
	if (p->fast_interval > p->interval)
		conf_conflict(l, d, KEY_fast_interval, KEY_interval,
		    "is longer than",
		    "write a shorter fast_interval or a longer interval");
	if (p->rehash_after > 0 && p->rehash_after < p->hold_after)
		conf_conflict(l, d, KEY_rehash_after, KEY_hold_after,
		    "is shorter than", "write a longer rehash_after, or 0 for "
		    "the same time");
	conf_scheme_conflicts(l, d);
	conf_probe_conflicts(l, d);
}

/* What is wrong in [defaults] by itself. */
void
conf_defaults_finish(struct load *l)
{
	pool_conflicts(l, &l->defaults);
}

/* What a key is when nobody has written it so that it could be read. */
static void
fill_standards(struct load *l, struct draft *d, unsigned section)
{
	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &conf_keys[i];

		if ((k->sections & section) && k->standard &&
		    !conf_has(d, (enum conf_key_id)i))
			k->kind->parse(l, k, k->standard, conf_field(l, k, d));
	}
}

static void
pool_inherit(struct load *l, struct draft *d)
{
	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &conf_keys[i];

		if (!(k->sections & CONF_DEFAULTS) || d->at[i].line)
			continue;
		d->at[i] = l->defaults.at[i];
		if (conf_has(d, (enum conf_key_id)i))
			memcpy(conf_field(l, k, d),
			    conf_field(l, k, &l->defaults), k->kind->size);
	}
}

/* Defaults give way to what was written: only that can be in conflict. */
static void
pool_compute(struct load *l, struct draft *d)
{
	struct conf_pool *p = &d->pool;

	if (!conf_has(d, KEY_timeout) && p->timeout > p->interval)
		p->timeout = p->interval;
	if (!conf_has(d, KEY_fast_interval) && p->fast_interval > p->interval)
		p->fast_interval = p->interval;
	if (!conf_has(d, KEY_rehash_after) && p->rehash_after < p->hold_after)
		p->rehash_after = p->hold_after;
	if (!conf_has(d, KEY_hold_after) && p->rehash_after > 0 &&
	    p->hold_after > p->rehash_after)
		p->hold_after = p->rehash_after;
	conf_scheme_compute(d);
	conf_probe_compute(l, d);
	if (!conf_has(d, KEY_file) && asprintf(&p->file, "%s/%s" MCSHM_SUFFIX,
	    strcmp(l->conf.directory, "/") == 0 ? "" : l->conf.directory,
	    p->name) < 0) {
		p->file = NULL;
		conf_complain_memory(l);
	}
}

static const struct spot *
file_spot(const struct draft *d)
{
	return conf_has(d, KEY_file) ? &d->at[KEY_file] : &d->heading;
}

static void
files_check(struct load *l, const struct draft *d)
{
	for (const struct draft *e = l->pool; e < d; e++) {
		const struct draft *at = conf_has(d, KEY_file) ? d : e;
		const struct draft *other = at == d ? e : d;

		if (!d->pool.file || !e->pool.file ||
		    strcmp(d->pool.file, e->pool.file) != 0)
			continue;
		conf_complain_at(l, *file_spot(at), "file %s is that of pool "
		    "%s (%s:%u) too; give each pool a file of its own",
		    d->pool.file, other->pool.name, file_spot(other)->file,
		    file_spot(other)->line);
		return;
	}
}

void
conf_pool_finish(struct load *l, struct draft *d)
{
	pool_inherit(l, d);
	fill_standards(l, d, CONF_POOL);
	pool_compute(l, d);
	pool_conflicts(l, d);
	conf_probe_look(l, d);
	conf_servers_check(l, d);
	conf_buckets_check(l, d);
	files_check(l, d);
}

/* Three lost heartbeats, before anybody calls the file stale. */
void
conf_checker_finish(struct load *l)
{
	struct draft *d = &l->checker;
	struct conf *c = &l->conf;

	fill_standards(l, d, CONF_CHECKER);
	if (!conf_has(d, KEY_stale_after) && c->stale_after < 3 * c->heartbeat)
		c->stale_after = 3 * c->heartbeat;
	if (!conf_has(d, KEY_heartbeat) && c->heartbeat > c->stale_after / 3)
		c->heartbeat = c->stale_after / 3 / CONF_MS * CONF_MS;
	if (c->stale_after < 3 * c->heartbeat)
		conf_conflict(l, d, KEY_stale_after, KEY_heartbeat,
		    "is less than three times",
		    "write a longer stale_after or a shorter heartbeat");
}
