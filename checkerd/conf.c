/*
 * conf.c - the ini file: read, checked, dumped.
 *
 * Must not keep anything of a file that has an error, nor look at the host
 * (names, interfaces, directories): a file that is right on one host is right
 * on all.
 */
#include <stdlib.h>
#include <string.h>

#include "conf_load.h"

static void
pool_free(struct conf_pool *p)
{
	free(p->file);
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
	}
	free(l->pool);
	for (size_t i = 0; i < l->names; i++)
		free(l->name[i]);
	free(l->name);
	conf_free(&l->conf);
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
		memset(&l->pool[i].pool, 0, sizeof l->pool[i].pool);
	}
	c->pools = l->pools;
}

unsigned
conf_load(struct conf *c, const char *path, FILE *errors)
{
	struct load l = { .out = errors, .path = path };

	if (conf_read(&l, path, false)) {
		conf_checker_finish(&l);
		conf_defaults_finish(&l);
		for (uint32_t i = 0; l.conf.directory && i < l.pools; i++)
			conf_pool_finish(&l, &l.pool[i]);
	}
	if (l.errors == 0)
		load_take(&l);
	if (l.errors == 0) {
		*c = l.conf;
		l.conf = (struct conf){ 0 };
	}
	load_free(&l);
	return l.errors;
}

/* The keys of a section that have one value each. */
static void
section_dump(unsigned section, const void *base, FILE *out)
{
	char value[CONF_FILE_BYTES + 1];

	for (size_t i = 0; i < KEYS; i++) {
		const struct key *k = &conf_keys[i];

		if (!(k->sections & section) || !k->kind->size)
			continue;
		conf_value(value, k, (const char *)base + k->offset);
		fprintf(out, "%s = %s\n", k->name, value);
	}
}

void
conf_dump(const struct conf *c, FILE *out)
{
	fprintf(out, "[checker]\n");
	section_dump(CONF_CHECKER, c, out);
	for (uint32_t i = 0; i < c->pools; i++) {
		const struct conf_pool *p = &c->pool[i];

		fprintf(out, "\n[pool %s]\n", p->name);
		section_dump(CONF_POOL, p, out);
		for (uint32_t j = 0; j < p->servers.n; j++)
			conf_server_dump(&p->servers.v[j], out);
	}
}
