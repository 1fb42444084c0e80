/*
 * candidates.c - mcshm_candidates(): the servers of a key, in order.
 *
 * The order is the scheme's (scheme_order()); here is who takes part.
 */
#include "reader.h"

/* Those who may be asked, one class behind the other. */
enum class { USABLE, SUSPECT, SILENT, DRAINED, CLASSES };

static const uint32_t class_flags[CLASSES] = {
	[SUSPECT] = MCSHM_SUSPECT,
	[SILENT] = MCSHM_SILENT,
	[DRAINED] = MCSHM_DRAINED,
};

struct listing {
	struct mcshm *m;
	struct reader_view v;
	struct scheme_key key;
	struct mcshm_choice *to;
	size_t n, room;
	uint32_t flags, ttl;
	/* In this class or one before: they are read one after the other, while
	 * a writer or another thread may be at it. */
	uint64_t listed[MCSHM_MAX_WORDS];
};

static uint64_t
bitmap_word(const struct listing *l, unsigned bitmap, uint32_t word)
{
	const struct scheme_place *p = &l->v.place;

	return reader_load(l->m, p->bits_off +
	    ((uint64_t)bitmap * p->words + word) * 8);
}

static uint32_t
entry_word(const struct listing *l, uint32_t slot, size_t field)
{
	return reader_load32(l->m, reader_entry(l->m, &l->v, slot) + field);
}

/* Probed, drained, and not known to be dead. */
static bool
is_drained(const struct listing *l, uint32_t slot)
{
	const uint32_t verdict = entry_word(l, slot,
	    offsetof(struct mcshm_entry, verdict));

	return entry_word(l, slot, offsetof(struct mcshm_entry, admin)) ==
	    MCSHM_DRAIN && (l->v.place.blind ||
	    (verdict != MCSHM_DOWN && verdict != MCSHM_RECOVERING));
}

/* Among those that are not READY. */
static uint64_t
drained_word(const struct listing *l, uint32_t word)
{
	const uint32_t servers = l->v.place.servers;
	uint64_t drained = 0;

	for (uint32_t i = 0; i < 64 && word * 64 + i < servers; i++) {
		const uint64_t bit = UINT64_C(1) << i;

		if (!(bitmap_word(l, MCSHM_BITMAP_READY, word) & bit) &&
		    is_drained(l, word * 64 + i))
			drained |= bit;
	}
	return drained;
}

static uint64_t
class_word(const struct listing *l, enum class class, uint32_t word)
{
	const struct scheme_place *p = &l->v.place;
	const uint64_t usable = bitmap_word(l, p->blind ?
	    MCSHM_BITMAP_READY : MCSHM_BITMAP_USABLE, word);
	const uint64_t suspect = p->suspect == NULL ? 0 :
	    atomic_load_explicit(&p->suspect[word], memory_order_relaxed);

	switch (class) {
	case USABLE:
		return usable & ~suspect;
	case SUSPECT:
		return usable;
	case SILENT:
		return p->blind ? 0 : bitmap_word(l, MCSHM_BITMAP_HELD, word);
	default:
		return drained_word(l, word);
	}
}

static uint32_t
flags_of(const struct listing *l, enum class class, uint32_t slot)
{
	uint32_t flags = l->flags | class_flags[class];

	if (class == DRAINED && !l->v.place.blind && entry_word(l, slot,
	    offsetof(struct mcshm_entry, verdict)) == MCSHM_HELD)
		flags |= MCSHM_SILENT;
	return flags;
}

static void
list_class(struct listing *l, enum class class)
{
	const struct scheme_place *p = &l->v.place;
	uint64_t set[MCSHM_MAX_WORDS] = { 0 }, any = 0;
	struct scheme_order order;
	struct scheme_choice sc;

	for (uint32_t w = 0; w < p->words; w++) {
		any |= set[w] = class_word(l, class, w) & ~l->listed[w];
		l->listed[w] |= set[w];
	}
	if (any == 0)
		return;
	scheme_order(&order, p, &l->key, set);
	while (l->n < l->room && scheme_order_next(&order, &sc))
		l->to[l->n++] = (struct mcshm_choice){
			.roster = l->v.roster,
			.slot = sc.slot,
			.home = sc.home,
			.tries = sc.tries,
			.flags = flags_of(l, class, sc.slot),
			.failover_ttl = sc.slot != sc.home ? l->ttl : 0,
		};
}

static void
list(struct listing *l, const void *key, size_t len)
{
	struct scheme_place *p = &l->v.place;

	l->n = 0;
	l->flags = 0;
	memset(l->listed, 0, sizeof l->listed);
	p->blind = p->blind || reader_is_stale(l->m);
	if (p->blind || (l->v.flags & MCSHM_SECTION_FAIL_OPEN))
		l->flags = MCSHM_BLIND;
	l->ttl = reader_load32(l->m, READER_HEADER(failover_ttl));
	l->key = scheme_key(&p->set, key, len);
	p->suspect = suspect_words(l->m, &l->v);
	suspect_apply(l->m, &l->v);
	for (int class = USABLE; class < CLASSES && l->n < l->room; class++)
		list_class(l, (enum class)class);
}

static int
list_strictly(struct listing *l, const void *key, size_t len)
{
	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(l->m));

		if (g == 0)
			continue;
		reader_view(l->m, g, &l->v);
		list(l, key, len);
		if (mcshm_read_ok(reader_generation(l->m), g))
			return l->n > 0 ? (int)l->n : MCSHM_ENONE;
	}
	/* As a pick: all that was read was true an instant ago. */
	for (size_t i = 0; i < l->n; i++)
		l->to[i].flags |= MCSHM_BLIND;
	return l->n > 0 ? (int)l->n : reader_failed(l->m);
}

int
mcshm_candidates(struct mcshm *m, const void *key, size_t len,
    struct mcshm_choice *c, size_t k)
{
	struct listing l = { .m = m, .to = c,
		.room = k < MCSHM_MAX_SERVERS ? k : MCSHM_MAX_SERVERS };
	int n;

	if (m == NULL || c == NULL || k == 0 || (key == NULL && len > 0))
		return MCSHM_EINVAL;
	reader_catch_up(m);
	n = list_strictly(&l, key, len);
	/* As mcshm_pick(): an orphan's reader looks where its file went. */
	if (l.v.place.blind && !(m->flags & MCSHM_NOFOLLOW) && reader_look(m))
		n = list_strictly(&l, key, len);
	return n;
}
