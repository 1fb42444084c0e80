/*
 * scheme_maglev.c - the placement table of the native scheme; pure.
 *
 * Maglev hashing (Eisenbud et al., NSDI 2016, part 3.4): each server has a
 * permutation of all buckets, made from its identity alone, and in turn takes
 * the next bucket of it that is still free.  A server that leaves gives away
 * its own buckets, and few others change hands.
 *
 * Weights: there are rounds, and a server of weight w has its turn r (from 0)
 * in the first round k where k * w / heaviest >= r + 1/2: so after k rounds it
 * has had its share of turns, rounded.  Only a server whose share would be less
 * than half a bucket has its first turn earlier, in the last round that is
 * sure to come.
 *
 * The result must depend on identities and weights only, so servers start in
 * the order of their identities' hashes, and queue.
 */
#include <assert.h>
#include <string.h>

#include "hash_xxh3.h"
#include "scheme_maglev.h"

/*
 * A prime, so that every step but 0 visits every bucket.  One size for all
 * pools, whatever their number of servers: with another size nearly every key
 * has another home, and a site that adds its 65th server would lose its caches.
 * 512 KiB stay in a core's cache; see docs/architecture.md for what was
 * measured with more and with less.
 */
#define BUCKETS 262147u
static_assert(BUCKETS <= MCSHM_MAX_BUCKETS, "the format's bound");
static_assert(BUCKETS >= MCSHM_MAX_SERVERS, "one bucket each");

#define WEIGHT_MAX 1000u
/* From one turn to the next it is at most 3/2 * WEIGHT_MAX rounds (after an
 * early first turn); a power of two above that. */
#define WHEEL 2048u
static_assert(WHEEL > WEIGHT_MAX * 3 / 2 + 1, "turns would meet on the wheel");

#define NOBODY UINT32_MAX

struct turn {
	const struct scheme_server *server;
	uint64_t hash;
	uint32_t slot;
	uint32_t weight;
	uint32_t at, step;	/* in its permutation */
	uint32_t turns;		/* had */
	uint32_t next;		/* in its queue */
};

/* Who has a turn in the round k waits in queue[k % WHEEL]. */
struct queue {
	uint32_t first, last;
};

struct scratch {
	struct queue queue[WHEEL];
	uint64_t taken[(BUCKETS + 63) / 64];
	struct turn turn[];
};

uint32_t
scheme_maglev_buckets(void)
{
	return BUCKETS;
}

size_t
scheme_maglev_scratch(uint32_t n)
{
	return sizeof(struct scratch) + n * sizeof(struct turn);
}

static void
turn_init(struct turn *t, const struct scheme_server *s, uint32_t slot,
    uint32_t buckets)
{
	const uint64_t at = hash_xxh3(s->ident, s->len, 1);
	const uint64_t step = hash_xxh3(s->ident, s->len, 2);

	t->server = s;
	t->hash = hash_xxh3(s->ident, s->len, 0);
	t->slot = slot;
	t->weight = s->weight < 1 ? 1 :
	    s->weight > WEIGHT_MAX ? WEIGHT_MAX : s->weight;
	t->at = (uint32_t)(at % buckets);
	t->step = 1 + (uint32_t)(step % (buckets - 1));
	t->turns = 0;
	t->next = NOBODY;
}

static bool
turn_before(const struct turn *a, const struct turn *b)
{
	const struct scheme_server *s = a->server, *t = b->server;
	int cmp;

	if (a->hash != b->hash)
		return a->hash < b->hash;
	cmp = memcmp(s->ident, t->ident, s->len < t->len ? s->len : t->len);
	if (cmp != 0)
		return cmp < 0;
	return s->len != t->len ? s->len < t->len : a->slot < b->slot;
}

/* Shell's sort: qsort(3) may allocate. */
static void
turns_sort(struct turn *turn, uint32_t n)
{
	uint32_t gap = 1;

	while (gap < n / 3)
		gap = 3 * gap + 1;
	for (; gap > 0; gap /= 3) {
		for (uint32_t i = gap; i < n; i++) {
			const struct turn t = turn[i];
			uint32_t j = i;

			for (; j >= gap && turn_before(&t, &turn[j - gap]);
			     j -= gap)
				turn[j] = turn[j - gap];
			turn[j] = t;
		}
	}
}

/* The round of a server's next turn. */
static uint64_t
turn_round(const struct turn *t, uint32_t heaviest)
{
	const uint64_t half = 2 * (uint64_t)t->weight;

	return ((2 * (uint64_t)t->turns + 1) * heaviest + half - 1) / half;
}

static void
queue_add(struct scratch *s, uint32_t i, uint64_t round)
{
	struct queue *q = &s->queue[round % WHEEL];

	s->turn[i].next = NOBODY;
	if (q->first == NOBODY)
		q->first = i;
	else
		s->turn[q->last].next = i;
	q->last = i;
}

/* The next free bucket of its permutation. */
static uint32_t
turn_take(struct turn *t, uint64_t *taken, uint32_t buckets)
{
	uint32_t at = t->at;
	const uint32_t step = t->step;

	while (taken[at / 64] >> at % 64 & 1) {
		at += step;
		if (at >= buckets)
			at -= buckets;
	}
	taken[at / 64] |= UINT64_C(1) << at % 64;
	t->at = at;
	t->turns++;
	return at;
}

/*
 * Everybody's first turn is in the queue.  In the rounds up to this one no
 * more than the buckets there are can be taken, even if each server has one
 * turn more than its share; so all first turns fit.
 */
static void
turns_start(struct scratch *s, uint32_t n, uint32_t buckets, uint32_t heaviest)
{
	uint64_t sum = 0, sure;

	for (uint32_t i = 0; i < n; i++)
		sum += s->turn[i].weight;
	sure = (uint64_t)(buckets - n) * heaviest / sum;
	for (uint32_t i = 0; i < n; i++) {
		const uint64_t round = turn_round(&s->turn[i], heaviest);

		queue_add(s, i, round < sure ? round : sure);
	}
}

void
scheme_maglev_build(const struct scheme_server *server, uint32_t n,
    uint16_t *bucket, void *scratch)
{
	const uint32_t buckets = BUCKETS;
	struct scratch *s = scratch;
	uint32_t heaviest = 1, left = buckets;

	memset(s->queue, 0xff, sizeof s->queue);
	memset(s->taken, 0, sizeof s->taken);
	for (uint32_t i = 0; i < n; i++) {
		turn_init(&s->turn[i], &server[i], i, buckets);
		if (s->turn[i].weight > heaviest)
			heaviest = s->turn[i].weight;
	}
	turns_sort(s->turn, n);
	turns_start(s, n, buckets, heaviest);
	for (uint64_t round = 0; left > 0; round++) {
		uint32_t i = s->queue[round % WHEEL].first;

		s->queue[round % WHEEL].first = NOBODY;
		while (i != NOBODY && left > 0) {
			struct turn *t = &s->turn[i];
			const uint32_t next = t->next;

			bucket[turn_take(t, s->taken, buckets)] =
			    (uint16_t)t->slot;
			left--;
			queue_add(s, i, turn_round(t, heaviest));
			i = next;
		}
	}
}
