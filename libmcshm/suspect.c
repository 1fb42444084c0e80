/*
 * suspect.c - servers that failed in this process's hands are passed over until
 * a probe that began since has succeeded, or for a bounded time.
 *
 * Costs nobody anything who suspects nobody: while there are marks pick.c goes
 * without its cache, and comes by here.  Nothing here waits or locks.
 */
#include "reader.h"

#define LOAD(p) atomic_load_explicit(p, memory_order_relaxed)
#define STORE(p, v) atomic_store_explicit(p, v, memory_order_relaxed)

bool
suspect_any(const struct mcshm *m)
{
	return LOAD(&reader_suspects(m)->until) != 0;
}

/* Marks of another roster say nothing about this one. */
static void
turn_to(struct reader_suspects *s, uint64_t roster)
{
	uint64_t other = LOAD(&s->roster);

	if (other == roster || !atomic_compare_exchange_strong_explicit(
	    &s->roster, &other, roster, memory_order_relaxed,
	    memory_order_relaxed))
		return;
	for (uint32_t w = 0; w < MCSHM_MAX_WORDS; w++)
		if (LOAD(&s->word[w]) != 0)
			STORE(&s->word[w], 0);
}

void
suspect_mark(struct mcshm *m, uint64_t roster, uint32_t slot)
{
	struct reader_suspects *s = reader_suspects(m);
	const uint64_t now = m->clock();

	if (slot >= MCSHM_MAX_SERVERS || m->options.suspect_time == 0)
		return;
	turn_to(s, roster & ~MCSHM_ROSTER_EPOCH);
	STORE(&s->since[slot], now);
	atomic_fetch_or_explicit(&s->word[slot / 64], UINT64_C(1) << slot % 64,
	    memory_order_relaxed);
	/* After the bit: who finds none left compares this. */
	atomic_store_explicit(&s->until, now + m->options.suspect_time,
	    memory_order_release);
	pick_forget(m);
}

/* A mark stands until a probe that began after it was good. */
static bool
stands(const struct mcshm *m, const struct reader_view *v, uint32_t slot,
    uint64_t now)
{
	const uint64_t since = LOAD(&reader_suspects(m)->since[slot]);

	/* Another thread may mark it after our look at the clock. */
	return (since >= now || now - since < m->options.suspect_time) &&
	    reader_load(m, reader_entry(m, v, slot) +
		offsetof(struct mcshm_entry, good_began)) <= since;
}

/* What is left of one word of marks. */
static uint64_t
prune(struct mcshm *m, const struct reader_view *v, uint32_t word, uint64_t now)
{
	struct reader_suspects *s = reader_suspects(m);
	uint64_t left = LOAD(&s->word[word]), over = 0;

	for (uint64_t bits = left; bits != 0; bits &= bits - 1) {
		const unsigned i = (unsigned)__builtin_ctzll(bits);

		if (!stands(m, v, word * 64 + i, now))
			over |= UINT64_C(1) << i;
	}
	if (over != 0)
		left = ~over & atomic_fetch_and_explicit(&s->word[word], ~over,
		    memory_order_relaxed);
	return left;
}

const _Atomic uint64_t *
suspect_words(struct mcshm *m, const struct reader_view *v)
{
	struct reader_suspects *s = reader_suspects(m);
	uint64_t until = atomic_load_explicit(&s->until, memory_order_acquire);
	uint64_t left = 0, now;

	if (until == 0)
		return NULL;
	now = m->clock();
	/* Of another roster: they say nothing about this one. */
	if (LOAD(&s->roster) == (v->roster & ~MCSHM_ROSTER_EPOCH))
		for (uint32_t w = 0; w < v->place.words; w++)
			left |= LOAD(&s->word[w]) != 0 ? prune(m, v, w, now) : 0;
	if (left != 0)
		return s->word;
	/* Back to the cache, unless there is a new mark meanwhile. */
	atomic_compare_exchange_strong_explicit(&s->until, &until, 0,
	    memory_order_relaxed, memory_order_relaxed);
	return NULL;
}

void
suspect_apply(struct mcshm *m, struct reader_view *v)
{
	struct scheme_place *p = &v->place;
	const uint64_t off = p->bits_off + (uint64_t)p->words * 8 *
	    (p->blind ? MCSHM_BITMAP_READY : MCSHM_BITMAP_USABLE);

	if (p->suspect == NULL)
		return;
	for (uint32_t w = 0; w < p->words; w++)
		if (reader_load(m, off + 8 * (uint64_t)w) &
		    ~LOAD(&p->suspect[w]))
			return;
	p->suspect = NULL;
}
