/*
 * tie_servers.c - the servers of a roster as those of a memcached_st.
 *
 * Addresses are the checker's: nobody but it resolves names.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "tie.h"

#define TRIES 8
/* Nothing can ever be below a file that is no directory. */
#define NOWHERE "/dev/null/mc-checkerd-says-down-or-silent"

int
tie_fetch(struct mcshm *m, struct mcshm_server **v, uint64_t *roster)
{
	int n = MCSHM_EAGAIN;

	for (int t = 0; t < TRIES; t++) {
		int got;

		n = mcshm_servers(m, NULL, 0, 0, NULL);
		if (n <= 0)
			return n < 0 ? n : MCSHM_ENONE;
		*v = calloc((size_t)n, sizeof **v);
		if (*v == NULL)
			return MCSHM_ESYS;
		got = mcshm_servers(m, *v, (size_t)n, sizeof **v, roster);
		if (got == n)
			return n;
		free(*v);
	}
	return MCSHM_EAGAIN;
}

struct tie_where
tie_where(const struct mcshm_server *s)
{
	struct tie_where w = { .len = s->addrlen };

	w.addr = s->addr;
	return w;
}

/* Addresses of any origin: what pads them does not count. */
bool
tie_same(const struct tie_where *a, const struct tie_where *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)&a->addr;
	const struct sockaddr_in *b4 = (const struct sockaddr_in *)&b->addr;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)&a->addr;
	const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)&b->addr;

	if (a->len == 0 || b->len == 0 ||
	    a->addr.ss_family != b->addr.ss_family)
		return false;
	switch (a->addr.ss_family) {
	case AF_INET:
		return a4->sin_port == b4->sin_port &&
		    a4->sin_addr.s_addr == b4->sin_addr.s_addr;
	case AF_INET6:
		return a6->sin6_port == b6->sin6_port &&
		    a6->sin6_scope_id == b6->sin6_scope_id &&
		    memcmp(&a6->sin6_addr, &b6->sin6_addr,
			sizeof a6->sin6_addr) == 0;
	case AF_UNIX:
		return strcmp(((const struct sockaddr_un *)a4)->sun_path,
		    ((const struct sockaddr_un *)b4)->sun_path) == 0;
	default:
		return false;
	}
}

bool
tie_host(const struct tie_where *w, char *host, size_t size)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)&w->addr;

	if (w->len == 0)
		return false;
	if (w->addr.ss_family != AF_UNIX)
		return getnameinfo((const struct sockaddr *)&w->addr, w->len,
		    host, (socklen_t)size, NULL, 0, NI_NUMERICHOST) == 0;
	if (strlen(un->sun_path) >= size)
		return false;
	strcpy(host, un->sun_path);
	return true;
}

memcached_return_t
tie_add(memcached_st *memc, const struct tie_where *w, const char *host,
    uint32_t weight)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)&w->addr;

	if (w->addr.ss_family == AF_UNIX)
		return memcached_server_add_unix_socket_with_weight(memc, host,
		    weight);
	/* The port is at the same place in both families. */
	return memcached_server_add_with_weight(memc, host,
	    ntohs(in->sin_port), weight);
}

/* What is not resolved keeps its place: the others' indices are slots. */
static bool
add_where(memcached_st *memc, const struct tie_where *w)
{
	char host[NI_MAXHOST];

	if (!tie_host(w, host, sizeof host))
		return memcached_server_add_unix_socket(memc, NOWHERE) ==
		    MEMCACHED_SUCCESS;
	return tie_add(memc, w, host, 1) == MEMCACHED_SUCCESS;
}

static bool
add_all(struct tie *t, bool keep)
{
	memcached_st *memc = t->memc;
	bool ok = true;

	if (!keep)
		memcached_servers_reset(memc);
	for (uint32_t i = 0; ok && !keep && i < t->servers; i++)
		ok = add_where(memc, &t->where[i]);
	for (uint32_t r = 0; ok && r < t->replicas; r++)
		ok = add_where(memc, &t->where[r % t->servers]);
	for (uint32_t r = 0; ok && r <= t->replicas; r++)
		ok = memcached_server_add_unix_socket(memc, NOWHERE) ==
		    MEMCACHED_SUCCESS;
	/* Rather none than some: they would be sent the others' keys. */
	if (!ok)
		memcached_servers_reset(memc);
	return ok;
}

/* The first operation that is sent nowhere gets another error than those after
 * it, so it is ours.  Not within one of the program's. */
static void
ask_nowhere(struct tie *t)
{
	memcached_return_t rc;
	size_t len;
	uint32_t flags;

	if (t->busy)
		return;
	t->blocked = true;
	free(memcached_get(t->memc, "mcshm", 5, &len, &flags, &rc));
	t->blocked = false;
}

void
tie_restart(struct tie *t)
{
	for (uint32_t i = 0; i < t->servers + t->replicas; i++)
		t->error[i] = memcached_server_error(
		    memcached_server_instance_by_position(t->memc, i));
	t->last = t->turn = 0;
	ask_nowhere(t);
}

int
tie_set(struct tie *t, const struct mcshm_server *v, uint32_t n,
    uint64_t roster, bool keep)
{
	const uint32_t replicas = (uint32_t)memcached_behavior_get(t->memc,
	    MEMCACHED_BEHAVIOR_NUMBER_OF_REPLICAS);
	struct tie_where *where = calloc(n, sizeof *where);
	uint32_t *index = calloc(n, sizeof *index);
	const char **error = calloc((size_t)n + replicas, sizeof *error);

	if (where == NULL || index == NULL || error == NULL) {
		free(where);
		free(index);
		free(error);
		return MCSHM_ESYS;
	}
	for (uint32_t i = 0; i < n; i++) {
		where[i] = tie_where(&v[i]);
		index[i] = i;
	}
	free(t->where);
	free(t->index);
	free(t->error);
	t->where = where;
	t->index = index;
	t->error = error;
	t->servers = t->slots = n;
	t->replicas = replicas;
	t->roster = roster;
	t->behind = false;
	if (!add_all(t, keep))
		return MCSHM_ESYS;
	tie_restart(t);
	return MCSHM_OK;
}

static uint32_t
find(const struct tie *t, uint32_t slot, const struct tie_where *w)
{
	/* One address may be there several times. */
	if (slot < t->servers && tie_same(w, &t->where[slot]))
		return slot;
	for (uint32_t i = 0; i < t->servers; i++)
		if (tie_same(w, &t->where[i]))
			return i;
	return tie_nowhere(t);
}

int
tie_translate(struct tie *t)
{
	struct mcshm_server *v;
	uint64_t roster;
	const int n = tie_fetch(t->pool->m, &v, &roster);
	uint32_t *index;

	if (n < 0)
		return n;
	index = calloc((size_t)n, sizeof *index);
	if (index == NULL) {
		free(v);
		return MCSHM_ESYS;
	}
	t->behind = (uint32_t)n != t->servers;
	for (uint32_t i = 0; i < (uint32_t)n; i++) {
		const struct tie_where w = tie_where(&v[i]);

		index[i] = find(t, i, &w);
		t->behind = t->behind || (w.len != 0 && index[i] != i);
	}
	free(t->index);
	free(v);
	t->index = index;
	t->slots = (uint32_t)n;
	t->roster = roster;
	return MCSHM_OK;
}

static int
go_on(struct tie *t)
{
	struct mcshm_server *v;
	uint64_t roster;
	const int n = tie_fetch(t->pool->m, &v, &roster);
	int err;

	if (n < 0)
		return n;
	err = tie_set(t, v, (uint32_t)n, roster, false);
	free(v);
	return err == MCSHM_OK ? 1 : err;
}

int
tie_refresh(struct tie *t)
{
	uint64_t roster;
	int err = mcshm_servers(t->pool->m, NULL, 0, 0, &roster);

	if (err < 0)
		return err;
	if (roster != t->roster) {
		err = tie_translate(t);
		if (err != MCSHM_OK)
			return err;
	}
	return t->behind || memcached_server_count(t->memc) == 0 ? go_on(t) : 0;
}
