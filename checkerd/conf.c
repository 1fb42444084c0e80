/*
 * conf.c - the ini file: read, checked, dumped.
 *
 * Must not keep anything of a file that has an error, nor look at the host
 * (names, interfaces, directories): a file that is right on one host is right
 * on all where the files are that it says are to be read.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "conf_load.h"
#include "scheme.h"

static void
pool_free(struct conf_pool *p)
{
	free(p->file);
	free(p->map);
	servers_free(&p->servers);
}

void
conf_free(struct conf *c)
{
	for (uint32_t i = 0; i < c->pools; i++)
		pool_free(&c->pool[i]);
	free(c->pool);
	free(c->directory);
	free(c->path);
	*c = (struct conf){ 0 };
}

static void
load_free(struct load *l)
{
	for (uint32_t i = 0; i < l->pools; i++) {
		pool_free(&l->pool[i].pool);
		free(l->pool[i].server_at);
		free(l->pool[i].bucket_line);
	}
	free(l->pool);
	for (size_t i = 0; i < l->names; i++)
		free(l->name[i]);
	free(l->name);
	conf_free(&l->conf);
}

static void
load_warn(struct load *l)
{
	conf_probe_warn(l, &l->defaults);
	for (uint32_t i = 0; i < l->pools; i++) {
		conf_probe_warn(l, &l->pool[i]);
		conf_buckets_warn(l, &l->pool[i]);
	}
	conf_servers_warn(l);
}

/* The drafts become the configuration. */
static void
load_take(struct load *l)
{
	struct conf *c = &l->conf;

	c->path = strdup(l->path);
	c->pool = calloc(l->pools + 1, sizeof *c->pool);
	if (!c->path || !c->pool) {
		conf_complain_memory(l);
		return;
	}
	for (uint32_t i = 0; i < l->pools; i++) {
		c->pool[i] = l->pool[i].pool;
		assert(scheme_setting_valid(&c->pool[i].set));
		memset(&l->pool[i].pool, 0, sizeof l->pool[i].pool);
	}
	c->pools = l->pools;
}

unsigned
conf_load(struct conf *c, const char *path, conf_look *look, FILE *errors)
{
	struct load l = { .out = errors, .path = path, .look = look };

	if (conf_read(&l, path, false)) {
		conf_checker_finish(&l);
		conf_defaults_finish(&l);
		for (uint32_t i = 0; l.conf.directory && i < l.pools; i++)
			conf_pool_finish(&l, &l.pool[i]);
	}
	if (l.errors == 0)
		load_warn(&l);
	if (l.errors == 0)
		load_take(&l);
	if (l.errors == 0) {
		*c = l.conf;
		l.conf = (struct conf){ 0 };
	}
	load_free(&l);
	return l.errors;
}

static void
key_dump(const struct key *k, const void *base, FILE *out)
{
	char value[CONF_FILE_BYTES + 1];

	conf_value(value, k, (const char *)base + k->offset);
	fprintf(out, "%s = %s\n", k->name, value);
}

/* The keys of a section that have one value each. */
static void
checker_dump(const struct conf *c, FILE *out)
{
	fprintf(out, "[checker]\n");
	for (size_t i = 0; i < KEYS; i++)
		if (conf_keys[i].sections == CONF_CHECKER)
			key_dump(&conf_keys[i], c, out);
}

/* Without those that mean nothing there. */
static void
pool_dump(const struct conf_pool *p, FILE *out)
{
	fprintf(out, "\n[pool %s]\n", p->name);
	for (size_t i = 0; i < KEYS; i++)
		if ((conf_keys[i].sections & CONF_POOL) &&
		    conf_keys[i].kind->size > 0 &&
		    conf_scheme_means(&p->set, (enum conf_key_id)i) &&
		    conf_probe_means(p, (enum conf_key_id)i))
			key_dump(&conf_keys[i], p, out);
	for (uint32_t i = 0; i < p->servers.n; i++)
		conf_server_dump(&p->servers.v[i], out);
	conf_buckets_dump(p, out);
}

void
conf_dump(const struct conf *c, FILE *out)
{
	checker_dump(c, out);
	for (uint32_t i = 0; i < c->pools; i++)
		pool_dump(&c->pool[i], out);
}
