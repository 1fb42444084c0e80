/*
 * memc.c - a program that uses libmemcached, and does what it is told: one
 * command a line, one line of JSON in answer to each.
 *
 *	set BEHAVIOR NUMBER	memcached_behavior_set()
 *	namespace TEXT
 *	server HOST PORT WEIGHT, map I I I ...
 *	attach POOL FLAGS, detach, refresh, ctl OPTION NUMBER
 *	clone, use N, free N	handle 0 is the first one
 *	homes COUNT		servers of key:0 ..., by generate_hash()
 *	store KEY VALUE, get KEY, delete KEY, flush, version, quit, reset
 *	mget KEY KEY ...	{key: value} and the codes of mget and fetch
 *	fill COUNT, look COUNT	key:0 ... : codes, counted
 *	callbacks		count calls of callbacks of our own
 *	workers THREADS COUNT	gets by a memcached_pool_st of handle 0
 */
#include <libmemcached/memcached.h>
#include <libmemcached/util.h>
#include <libhashkit/hashkit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mcshm-memcached.h"

#define HANDLES 32
#define WORDS 4096

struct program {
	memcached_st *handle[HANDLES];
	int handles, used;
	char *word[WORDS];
	int words;
};

static unsigned clones, cleanups, misses;

static uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static memcached_st *
memc(const struct program *p)
{
	return p->handle[p->used];
}

static const char *
code(memcached_return_t rc)
{
	return memcached_strerror(NULL, rc);
}

static const char *
arg(const struct program *p, int i)
{
	return i < p->words ? p->word[i] : "";
}

static void
do_set(struct program *p)
{
	for (int b = 0; b < MEMCACHED_BEHAVIOR_MAX; b++) {
		const char *name = libmemcached_string_behavior(
		    (memcached_behavior_t)b);

		if (strcmp(name + strlen("MEMCACHED_BEHAVIOR_"),
			arg(p, 1)) == 0) {
			printf("{\"rc\": \"%s\"}\n", code(
			    memcached_behavior_set(memc(p),
				(memcached_behavior_t)b,
				strtoull(arg(p, 2), NULL, 10))));
			return;
		}
	}
	printf("{\"rc\": \"no such behavior\"}\n");
}

static void
do_namespace(struct program *p)
{
	printf("{\"rc\": \"%s\"}\n", code(memcached_callback_set(memc(p),
	    MEMCACHED_CALLBACK_NAMESPACE, arg(p, 1))));
}

static void
do_server(struct program *p)
{
	const char *host = arg(p, 1);
	const uint32_t weight = (uint32_t)atoi(arg(p, 3));

	printf("{\"rc\": \"%s\"}\n", code(host[0] == '/' ?
	    memcached_server_add_unix_socket_with_weight(memc(p), host,
		weight) :
	    memcached_server_add_with_weight(memc(p), host,
		(in_port_t)atoi(arg(p, 2)), weight)));
}

static void
do_map(struct program *p)
{
	uint32_t map[WORDS];

	for (int i = 1; i < p->words; i++)
		map[i - 1] = (uint32_t)atoi(p->word[i]);
	printf("{\"rc\": \"%s\"}\n", code(memcached_bucket_set(memc(p), map,
	    NULL, (uint32_t)p->words - 1, 0)));
}

static void
say(struct program *p, int err)
{
	char text[512];

	printf("{\"err\": %d, \"text\": \"", err);
	for (const char *c = mcshm_memcached_strerror(memc(p), err, text,
	    sizeof text); *c != '\0'; c++)
		printf("%s%c", *c == '"' ? "\\" : "", *c);
	printf("\", \"servers\": %u}\n", memcached_server_count(memc(p)));
}

static void
do_attach(struct program *p)
{
	say(p, mcshm_memcached_attach(memc(p), arg(p, 1),
	    (unsigned)atoi(arg(p, 2))));
}

static void
do_detach(struct program *p)
{
	say(p, mcshm_memcached_detach(memc(p)));
}

static void
do_refresh(struct program *p)
{
	say(p, mcshm_memcached_refresh(memc(p)));
}

static void
do_ctl(struct program *p)
{
	say(p, mcshm_ctl(mcshm_memcached_pool(memc(p)), atoi(arg(p, 1)),
	    strtoull(arg(p, 2), NULL, 10)));
}

static void
do_clone(struct program *p)
{
	p->handle[p->handles] = memcached_clone(NULL, memc(p));
	p->used = p->handles++;
	printf("{\"handle\": %d}\n", p->used);
}

static void
do_use(struct program *p)
{
	p->used = atoi(arg(p, 1));
	printf("{\"handle\": %d}\n", p->used);
}

static void
do_free(struct program *p)
{
	const int i = atoi(arg(p, 1));

	memcached_free(p->handle[i]);
	p->handle[i] = NULL;
	printf("{}\n");
}

static void
do_reset(struct program *p)
{
	printf("{\"rc\": \"%s\"}\n", code(memcached_reset(memc(p))));
}

static void
do_quit(struct program *p)
{
	memcached_quit(memc(p));
	printf("{}\n");
}

static void
do_homes(struct program *p)
{
	const unsigned n = (unsigned)atoi(arg(p, 1));

	printf("{\"homes\": [");
	for (unsigned i = 0; i < n; i++) {
		char key[32];
		const int len = snprintf(key, sizeof key, "key:%u", i);
		const memcached_instance_st *s =
		    memcached_server_instance_by_position(memc(p),
			memcached_generate_hash(memc(p), key, (size_t)len));

		printf("%s\"%s:%d\"", i ? ", " : "", memcached_server_name(s),
		    memcached_server_port(s));
	}
	printf("]}\n");
}

static void
do_store(struct program *p)
{
	const char *key = arg(p, 1), *value = arg(p, 2);
	const uint64_t began = now_us();
	const memcached_return_t rc = memcached_set(memc(p), key, strlen(key),
	    value, strlen(value), 0, 0);

	printf("{\"rc\": \"%s\", \"us\": %llu}\n", code(rc),
	    (unsigned long long)(now_us() - began));
}

static void
do_get(struct program *p)
{
	const char *key = arg(p, 1);
	const uint64_t began = now_us();
	memcached_return_t rc;
	uint32_t flags;
	size_t len;
	char *value = memcached_get(memc(p), key, strlen(key), &len, &flags,
	    &rc);

	printf("{\"rc\": \"%s\", \"value\": \"%.*s\", \"us\": %llu}\n",
	    code(rc), value != NULL ? (int)len : 0, value != NULL ? value : "",
	    (unsigned long long)(now_us() - began));
	free(value);
}

static void
do_delete(struct program *p)
{
	printf("{\"rc\": \"%s\"}\n", code(memcached_delete(memc(p), arg(p, 1),
	    strlen(arg(p, 1)), 0)));
}

static void
do_flush(struct program *p)
{
	printf("{\"rc\": \"%s\"}\n", code(memcached_flush(memc(p), 0)));
}

static void
do_version(struct program *p)
{
	printf("{\"rc\": \"%s\"}\n", code(memcached_version(memc(p))));
}

static void
do_mget(struct program *p)
{
	size_t len[WORDS], key_len, value_len;
	char key[MEMCACHED_MAX_KEY], *value;
	const uint64_t began = now_us();
	memcached_return_t sent, rc;
	uint32_t flags;

	for (int i = 1; i < p->words; i++)
		len[i - 1] = strlen(p->word[i]);
	sent = memcached_mget(memc(p), (const char *const *)(p->word + 1), len,
	    (size_t)p->words - 1);
	printf("{\"values\": {");
	for (int i = 0; (value = memcached_fetch(memc(p), key, &key_len,
	    &value_len, &flags, &rc)) != NULL; i++) {
		printf("%s\"%.*s\": \"%.*s\"", i ? ", " : "", (int)key_len,
		    key, (int)value_len, value);
		free(value);
	}
	printf("}, \"sent\": \"%s\", \"rc\": \"%s\", \"us\": %llu}\n",
	    code(sent), code(rc), (unsigned long long)(now_us() - began));
}

static void
count_codes(struct program *p, bool store)
{
	unsigned codes[MEMCACHED_MAXIMUM_RETURN] = { 0 };
	const unsigned n = (unsigned)atoi(arg(p, 1));
	bool first = true;

	for (unsigned i = 0; i < n; i++) {
		char key[32];
		const size_t k = (size_t)snprintf(key, sizeof key, "key:%u",
		    i);
		memcached_return_t rc;
		uint32_t flags;
		size_t len;

		if (store)
			rc = memcached_set(memc(p), key, k, "1", 1, 0, 0);
		else
			free(memcached_get(memc(p), key, k, &len, &flags,
			    &rc));
		codes[rc]++;
	}
	printf("{");
	for (int i = 0; i < MEMCACHED_MAXIMUM_RETURN; i++)
		if (codes[i] != 0) {
			printf("%s\"%s\": %u", first ? "" : ", ",
			    code((memcached_return_t)i), codes[i]);
			first = false;
		}
	printf("}\n");
}

static void
do_fill(struct program *p)
{
	count_codes(p, true);
}

static void
do_look(struct program *p)
{
	count_codes(p, false);
}

/* Callbacks of the program's own ------------------------------------------ */

static memcached_return_t
note_clone(memcached_st *to, const memcached_st *from)
{
	(void)to;
	(void)from;
	clones++;
	return MEMCACHED_SUCCESS;
}

static memcached_return_t
note_cleanup(const memcached_st *m)
{
	(void)m;
	cleanups++;
	return MEMCACHED_SUCCESS;
}

static memcached_return_t
note_miss(const memcached_st *m, const char *key, size_t len,
    memcached_result_st *result)
{
	(void)m;
	(void)key;
	(void)len;
	(void)result;
	misses++;
	return MEMCACHED_NOTFOUND;
}

static void
do_callbacks(struct program *p)
{
	if (strcmp(arg(p, 1), "on") == 0) {
		memcached_callback_set(memc(p),
		    MEMCACHED_CALLBACK_CLONE_FUNCTION,
		    (const void *)note_clone);
		memcached_callback_set(memc(p),
		    MEMCACHED_CALLBACK_CLEANUP_FUNCTION,
		    (const void *)note_cleanup);
		memcached_callback_set(memc(p),
		    MEMCACHED_CALLBACK_GET_FAILURE, (const void *)note_miss);
	}
	printf("{\"clones\": %u, \"cleanups\": %u, \"misses\": %u}\n", clones,
	    cleanups, misses);
}

/* A pool of handles ------------------------------------------------------- */

struct worker {
	pthread_t thread;
	memcached_pool_st *pool;
	unsigned count, bad;
};

static void *
work(void *context)
{
	struct worker *w = context;

	for (unsigned i = 0; i < w->count; i++) {
		char key[32];
		const size_t k = (size_t)snprintf(key, sizeof key, "key:%u",
		    i % 500);
		memcached_return_t rc;
		memcached_st *m = memcached_pool_pop(w->pool, true, &rc);
		uint32_t flags;
		size_t len;

		if (m == NULL) {
			w->bad++;
			continue;
		}
		mcshm_memcached_refresh(m);
		free(memcached_get(m, key, k, &len, &flags, &rc));
		w->bad += rc != MEMCACHED_SUCCESS;
		memcached_pool_push(w->pool, m);
	}
	return NULL;
}

static void
do_workers(struct program *p)
{
	struct worker w[16];
	const int n = atoi(arg(p, 1));
	memcached_pool_st *pool = memcached_pool_create(p->handle[0], 1,
	    (uint32_t)n);
	unsigned bad = 0;

	for (int i = 0; i < n; i++) {
		w[i] = (struct worker){ .pool = pool,
			.count = (unsigned)atoi(arg(p, 2)) };
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (int i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		bad += w[i].bad;
	}
	memcached_pool_destroy(pool);
	printf("{\"bad\": %u}\n", bad);
}

static const struct {
	const char *name;
	void (*run)(struct program *p);
} commands[] = {
	{ "set", do_set }, { "namespace", do_namespace },
	{ "server", do_server }, { "map", do_map }, { "attach", do_attach },
	{ "detach", do_detach }, { "refresh", do_refresh }, { "ctl", do_ctl },
	{ "clone", do_clone }, { "use", do_use }, { "free", do_free },
	{ "reset", do_reset }, { "quit", do_quit }, { "homes", do_homes },
	{ "store", do_store }, { "get", do_get }, { "delete", do_delete },
	{ "flush", do_flush }, { "version", do_version }, { "mget", do_mget },
	{ "fill", do_fill }, { "look", do_look },
	{ "callbacks", do_callbacks }, { "workers", do_workers },
};

static void
obey(struct program *p, char *line)
{
	p->words = 0;
	for (char *w = strtok(line, " \n"); w != NULL && p->words < WORDS;
	    w = strtok(NULL, " \n"))
		p->word[p->words++] = w;
	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
		if (strcmp(commands[i].name, arg(p, 0)) == 0) {
			commands[i].run(p);
			fflush(stdout);
			return;
		}
	printf("{\"rc\": \"no such command\"}\n");
	fflush(stdout);
}

int
main(void)
{
	static struct program p = { .handles = 1 };
	static char line[1 << 16];

	p.handle[0] = memcached_create(NULL);
	while (fgets(line, sizeof line, stdin) != NULL)
		obey(&p, line);
	for (int i = 0; i < p.handles; i++)
		memcached_free(p.handle[i]);
	return 0;
}
