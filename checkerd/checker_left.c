/*
 * checker_left.c - servers that were taken out of the setup while they were DOWN
 * or RECOVERING, for as long as the daemon runs.
 *
 * People take a dead server out of the ini, and put it back when it is well
 * again; or give its pool another name.  What it had then it may still have.
 * Must not touch a watch.
 */
#include "checker_engine.h"

#include <errno.h>
#include <stdlib.h>

#define REMOVED_MOST 1024u		/* more are forgotten, oldest first */

void
removed_free(struct removed *r)
{
	servers_free(&r->servers);
	free(r->entry);
	*r = (struct removed){ 0 };
}

/* 0 or ENOMEM. */
static int
removed_add(struct removed *r, const struct server *server,
    const struct publish_entry *e)
{
	const uint32_t n = r->servers.n;
	struct publish_entry *entry;

	if (n == REMOVED_MOST)
		return 0;
	for (uint32_t i = 0; i < n; i++)	/* of two pools: once */
		if (server_same(&r->servers.v[i], server))
			return 0;
	entry = realloc(r->entry, ((size_t)n + 1) * sizeof *entry);
	if (entry == NULL)
		return ENOMEM;
	r->entry = entry;
	entry[n] = *e;
	entry[n].open = false;
	return servers_add(&r->servers, server);
}

int
removed_pool(struct removed *r, const struct pool *p, const bool *stays)
{
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < p->roster.servers.n; i++)
		if (!stays[i] && verdict_out(&p->watch[i]->entry.verdict))
			err = removed_add(r, &p->roster.servers.v[i],
			    &p->watch[i]->entry);
	return err;
}

int
removed_rest(struct removed *r, const struct removed *of, const bool *back)
{
	int err = 0;

	for (uint32_t i = 0; err == 0 && i < of->servers.n; i++)
		if (!back[i])
			err = removed_add(r, &of->servers.v[i], &of->entry[i]);
	return err;
}
