/*
 * rendezvous.c - what a pick costs in the scheme pymemcache-rendezvous, beside
 * pymemcache's RendezvousHash.get_node(): the same keys, the same servers, the
 * same answers.
 *
 *	rendezvous [-q] PEER...		rows of the table
 *
 * PEER is the command that runs rendezvous_peer.py.  Both sides take turns of
 * some milliseconds, in the processor time of each; what counts is the median.
 * Where our Python client was built, it is a third side, beside pymemcache as a
 * Python program sees it.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "keys.h"
#include "mcshm.h"
#include "pool.h"

#define KEYS 1024u
#define ROUNDS_MAX 25u

struct peer {
	pid_t pid;
	FILE *to, *from;
};

struct scene {
	uint32_t n;		/* servers */
	uint32_t turn;		/* keys that pymemcache does in a turn */
};

static void
peer_start(struct peer *p, char **argv)
{
	int to[2], from[2];

	if (pipe(to) != 0 || pipe(from) != 0 || (p->pid = fork()) < 0)
		err(1, "%s", argv[0]);
	if (p->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		for (int i = 0; i < 2; i++) {
			close(to[i]);
			close(from[i]);
		}
		execvp(argv[0], argv);
		err(1, "%s", argv[0]);
	}
	close(to[0]);
	close(from[1]);
	p->to = fdopen(to[1], "w");
	p->from = fdopen(from[0], "r");
	if (p->to == NULL || p->from == NULL)
		err(1, "fdopen");
}

/* The answer to what was written; static. */
static const char *
peer_answer(struct peer *p)
{
	static char line[8192];

	fputc('\n', p->to);
	if (fflush(p->to) != 0 || fgets(line, sizeof line, p->from) == NULL)
		errx(1, "pymemcache: no answer");
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void
peer_stop(struct peer *p)
{
	int status;

	fclose(p->to);
	fclose(p->from);
	if (waitpid(p->pid, &status, 0) < 0 || status != 0)
		errx(1, "pymemcache: ended with %d", status);
}

static double
peer_turn(struct peer *p, const char *side, uint32_t keys)
{
	fprintf(p->to, "%s %u", side, (unsigned)keys);
	return atof(peer_answer(p)) / keys;
}

static uint32_t
pick(struct mcshm *m, const struct keys_one *k)
{
	struct mcshm_choice c;

	if (mcshm_pick(m, k->text, k->len, &c) < 0)
		errx(1, "%s: no server", k->text);
	return c.slot;
}

static double
our_turn(struct mcshm *m, const struct keys_one *key)
{
	const uint64_t began = bench_cpu_ns();
	uint64_t sum = 0;
	double ns;

	for (uint32_t i = 0; i < KEYS; i++)
		sum += pick(m, &key[i]);
	ns = (double)(bench_cpu_ns() - began) / KEYS;
	return sum < UINT64_MAX ? ns : 0;
}

/* They choose alike, or what is measured here would mean nothing. */
static void
same_answers(struct peer *p, struct mcshm *m, const struct keys_one *key,
    uint32_t keys)
{
	const char *at;
	char *end;

	fprintf(p->to, "slots %u", (unsigned)keys);
	at = peer_answer(p);
	for (uint32_t i = 0; i < keys; i++, at = end)
		if (strtoul(at, &end, 10) != pick(m, &key[i]))
			errx(1, "%s: another server", key[i].text);
}

static void
keys_send(struct peer *p, const struct keys_one *key)
{
	fputs("keys", p->to);
	for (uint32_t i = 0; i < KEYS; i++)
		fprintf(p->to, " %s", key[i].text);
	peer_answer(p);
}

static bool
pool_send(struct peer *p, const struct pool *pool, uint32_t n)
{
	fputs("nodes", p->to);
	for (uint32_t i = 0; i < n; i++) {
		char host[32];

		pool_host(host, i);
		fprintf(p->to, " %s:11211", host);
	}
	peer_answer(p);
	fprintf(p->to, "pool %s", pool->path);
	return strcmp(peer_answer(p), "ok") == 0;
}

static void
row(const char *what, double *ours, double *peer, unsigned rounds)
{
	const double a = bench_quantile(ours, rounds, 0.5);
	const double b = bench_quantile(peer, rounds, 0.5);

	bench_row(what, bench_time(a), bench_time(b), a / b, NULL, 0, 0);
}

static void
compare(struct peer *p, const struct keys_one *key, const struct scene *scene,
    unsigned rounds)
{
	static const struct pool_plan plan = { .unnamed = true, .set = {
		.scheme = MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS,
		.hash = MCSHM_HASH_MURMUR3_ZERO,
		.points_hash = MCSHM_HASH_MURMUR3_ZERO } };
	double c[ROUNDS_MAX], python[ROUNDS_MAX], peer[ROUNDS_MAX];
	struct pool pool;
	struct mcshm *m;
	char what[64];
	bool there;
	int e;

	pool_open_as(&pool, scene->n, &plan);
	if ((e = mcshm_open(&m, pool.path, 0)) < 0)
		errx(1, "%s: %s", pool.path, mcshm_strerror(e));
	there = pool_send(p, &pool, scene->n);
	same_answers(p, m, key, scene->turn);
	for (unsigned i = 0; i < rounds; i++) {
		c[i] = our_turn(m, key);
		if (there)
			python[i] = peer_turn(p, "ours", KEYS);
		peer[i] = peer_turn(p, "peer", scene->turn);
	}
	snprintf(what, sizeof what, "pymemcache-rendezvous, %u",
	    (unsigned)scene->n);
	row(what, c, peer, rounds);
	if (there)
		row("  both as Python sees them", python, peer, rounds);
	mcshm_close(m);
	pool_close(&pool);
}

int
main(int argc, char **argv)
{
	static const struct scene scenes[] = {
		{ 10, 64 }, { 100, 16 }, { 1000, 2 } };
	static struct keys_one key[KEYS];
	const bool quick = bench_is_quick(argc, argv);
	struct peer p;

	if (argc < 2 + quick)
		errx(64, "usage: rendezvous [-q] PEER...");
	keys_make(key, KEYS);
	peer_start(&p, argv + 1 + quick);
	keys_send(&p, key);
	for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
		compare(&p, key, &scenes[i], quick ? 3 : ROUNDS_MAX);
	peer_stop(&p);
	return 0;
}
