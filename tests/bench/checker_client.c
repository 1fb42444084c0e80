/*
 * checker_client.c - what a program sees of a checker that is measured: it
 * picks the same keys again and again, and says when an answer is another one.
 *
 *	checker_client POOL KEYS
 *
 * Lines on stdout; times are CLOCK_MONOTONIC, ns:
 *
 *	ready NAME=KEYS ...	all keys were at home; how many live where
 *	TIME NAME home		keys of this server are sent to it again
 *	TIME NAME held		they are misses
 *	TIME NAME moved		they are sent elsewhere
 *	TIME NAME none		they are misses, as no server is usable
 *	sum KEYS MOVED MISSED	at the end of stdin: how many keys there are,
 *				how many of them were ever sent elsewhere, and
 *				how many were misses
 *
 * It makes one sweep of all keys in STEP, which is how exact the times are, and
 * calls mcshm_pick() for it and nothing else: no reports, no waiting.
 */
#include <err.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"
#include "mcshm.h"

#define STEP 500000			/* ns */
#define SERVERS_MAX 1024
#define PATIENCE 600			/* s, for all keys to be at home */

enum state { HOME, HELD, MOVED, NONE };
static const char *const state_name[] = { "home", "held", "moved", "none" };

struct key {
	char text[24];
	uint32_t len, home;
	unsigned ever;			/* bits, 1 << state */
};

struct client {
	struct mcshm *pool;
	struct key *key;
	size_t keys;
	int servers;
	struct mcshm_server server[SERVERS_MAX];
	enum state last[SERVERS_MAX];	/* by the last key that was looked at */
};

static enum state
client_ask(struct client *c, struct key *k)
{
	struct mcshm_choice choice;
	const int e = mcshm_pick(c->pool, k->text, k->len, &choice);

	if (e != 0 && e != MCSHM_ENONE && e != MCSHM_EHELD)
		errx(1, "mcshm_pick: %s", mcshm_strerror(e));
	if (e == MCSHM_ENONE)
		return NONE;
	k->home = choice.home;
	if (choice.slot != choice.home)
		return MOVED;
	return e == MCSHM_EHELD ? HELD : HOME;
}

static void
client_open(struct client *c, const char *pool, size_t keys)
{
	int e = mcshm_open(&c->pool, pool, 0);

	if (e != 0)
		errx(1, "%s: %s", pool, mcshm_strerror(e));
	e = mcshm_servers(c->pool, c->server, SERVERS_MAX,
	    sizeof c->server[0], NULL);
	if (e < 1 || e > SERVERS_MAX)
		errx(1, "%s: %d servers", pool, e);
	c->servers = e;
	c->keys = keys;
	c->key = calloc(keys, sizeof *c->key);
	if (c->key == NULL)
		err(1, "keys");
	for (size_t i = 0; i < keys; i++)
		c->key[i].len = (uint32_t)snprintf(c->key[i].text,
		    sizeof c->key[i].text, "key:%zu", i);
}

/* True once all keys are at home; then their homes are known. */
static int
client_all_home(struct client *c)
{
	size_t home = 0;

	for (size_t i = 0; i < c->keys; i++)
		home += client_ask(c, &c->key[i]) == HOME;
	return home == c->keys;
}

static void
client_ready(const struct client *c)
{
	size_t n[SERVERS_MAX] = { 0 };

	for (size_t i = 0; i < c->keys; i++)
		n[c->key[i].home]++;
	printf("ready");
	for (int s = 0; s < c->servers; s++)
		printf(" %s=%zu", c->server[s].name, n[s]);
	putchar('\n');
	fflush(stdout);
}

static void
client_sweep(struct client *c)
{
	for (size_t i = 0; i < c->keys; i++) {
		struct key *k = &c->key[i];
		const uint32_t home = k->home;
		const enum state s = client_ask(c, k);

		k->ever |= 1u << s;
		if (s == c->last[home])
			continue;
		c->last[home] = s;
		printf("%" PRIu64 " %s %s\n", bench_ns(),
		    c->server[home].name, state_name[s]);
	}
	fflush(stdout);
}

static void
client_sum(const struct client *c)
{
	size_t moved = 0, missed = 0;

	for (size_t i = 0; i < c->keys; i++) {
		moved += (c->key[i].ever & 1u << MOVED) != 0;
		missed += (c->key[i].ever & (1u << HELD | 1u << NONE)) != 0;
	}
	printf("sum %zu %zu %zu\n", c->keys, moved, missed);
}

static int
input_over(void)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char byte;

	return poll(&in, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

int
main(int argc, char **argv)
{
	static struct client c;
	uint64_t next = bench_ns();
	const uint64_t late = next + PATIENCE * UINT64_C(1000000000);

	if (argc != 3 || strtoul(argv[2], NULL, 10) == 0)
		errx(64, "usage: checker_client POOL KEYS");
	client_open(&c, argv[1], strtoul(argv[2], NULL, 10));
	while (!client_all_home(&c) && !input_over()) {
		if (bench_ns() > late)
			errx(1, "keys are not at home for %d s", PATIENCE);
		bench_sleep_until(next += STEP);
	}
	client_ready(&c);
	for (next = bench_ns(); !input_over(); next += STEP) {
		client_sweep(&c);
		bench_sleep_until(next);
	}
	client_sum(&c);
	free(c.key);
	mcshm_close(c.pool);
	return 0;
}
