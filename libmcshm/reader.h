/*
 * reader.h - the handle, and how all functions of the library read the file
 * under it.  Private to libmcshm.
 *
 * A handle reserves one range of MCSHM_MAX_FILE bytes for its life.  The file
 * is mapped over its start, a newer file over the older one, and what is behind
 * the file is anonymous memory: no offset that is masked to the range can
 * fault, no mapping is ever added, and no reader needs to know that there was
 * an exchange but by the generation.
 *
 * All that is loaded from the range, fixed parts too, counts only between
 * mcshm_read_begin() and mcshm_read_ok().
 */
#ifndef READER_H
#define READER_H

#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "mcshm.h"
#include "mcshm_format.h"
#include "scheme.h"
#include "scheme_inline.h"

#define READER_MASK (MCSHM_MAX_FILE - 1)
/* Sections begin at a page; so what is in their head needs no further mask. */
#define READER_PAGES (READER_MASK & ~UINT64_C(4095))

#define READER_HEADER(field) offsetof(struct mcshm_header, field)
#define READER_SECTION(field) offsetof(struct mcshm_section, field)

#define READER_SECOND UINT64_C(1000000000)

/*
 * What is true of one generation for ever, worked out once by the first pick
 * that meets it, and bounded: so that later ones need nothing but the key's
 * bucket, its server's bit, and the generation itself.
 *
 * Filled by one thread at a time (`filling`; nobody waits for it), read by all:
 *
 *	filler	read generation g strictly; see that it is g still
 *		release fence					[P]
 *		relaxed stores
 *		release store of `generation` = g		[Q]
 *	reader	acquire load of the file's generation: g
 *		acquire load of `generation`: g, or it is no use; pairs with [Q]
 *		relaxed loads, here and in the file
 *		mcshm_read_ok(): pairs with [P]
 *
 * A word here that belongs to a later generation was stored behind a [P] whose
 * thread had seen that generation: mcshm_read_ok() sees it too, and fails.
 *
 * The page is wiped in a child (MADV_WIPEONFORK): a fork while somebody fills
 * it, or has the guard, costs the child nothing.
 */
#define READER_PLACE_WORDS (sizeof(struct scheme_place) / 8)
static_assert(sizeof(struct scheme_place) % 8 == 0, "copied by words");

struct reader_cache {
	_Atomic uint64_t generation;	/* 0: nothing is here */
	_Atomic uint64_t native;	/* the same, if scheme and hash are */
	_Atomic(const unsigned char *) buckets_at;
	_Atomic(const unsigned char *) usable_at;	/* the bitmap */
	_Atomic uint64_t roster;
	_Atomic uint32_t buckets, servers;
	/* Of schemes that are no more than a hash of the key, and a bucket or a
	 * point: else 0, and the rest as it was.  Each word is bounded by
	 * itself: the next one may be of another generation. */
	_Atomic uint32_t simple;
	_Atomic uint32_t lookup;	/* enum scheme_lookup */
	_Atomic uint32_t hash, hash_flags;
	_Atomic(const unsigned char *) ring_at, ring_index_at;
	_Atomic uint32_t ring_points, ring_shift;
	/* The whole struct scheme_place: where nothing else will do. */
	_Atomic uint64_t place[READER_PLACE_WORDS];

	_Atomic uint32_t filling;

	/* The pid whose thread is about to follow or looks at the path, 0:
	 * nobody.  That thread is not in a child, which finds 0; where the
	 * kernel can not wipe, a pid that is not its own. */
	_Atomic uint64_t guard;
};

/*
 * One mapping: the handle, the cache, the range; so pick has no pointers to
 * load.  Whole pages, however large they are.
 */
#define READER_CACHE 65536u
#define READER_SUSPECTS 131072u
#define READER_RANGE 655360u

/*
 * Servers that failed in this process's hands (suspect.c): of one roster, that
 * of the newest mark.  Marks are advice: what threads do here at the same time
 * can at worst lose one.
 */
struct reader_suspects {
	_Atomic uint64_t until;		/* the last mark is over; 0: none */
	_Atomic uint64_t roster;	/* without its epoch */
	_Atomic uint64_t word[MCSHM_MAX_WORDS];		/* the bitmap */
	_Atomic uint64_t since[MCSHM_MAX_SERVERS];
	/* Reports: when the last one of each server was sent, and how many in
	 * this second. */
	_Atomic uint64_t reported[MCSHM_MAX_SERVERS];
	_Atomic uint64_t second, reports;
};
static_assert(READER_SUSPECTS + sizeof(struct reader_suspects) <=
    READER_RANGE, "it fits");

/* mcshm_ctl() */
struct reader_options {
	uint64_t deadline, suspect_time;	/* ns */
	uint32_t tries;
	bool resubmit, reports;
};

struct mcshm {
	uint64_t (*clock)(void);	/* CLOCK_BOOTTIME, ns; tests have
					 * their own */
	uint64_t boot_id[2];		/* 0, 0: not known */
	unsigned flags;			/* of mcshm_open() */
	struct reader_options options;

	bool wipes;			/* the kernel does, in a child */

	_Atomic uint64_t next_follow;	/* not before */
	_Atomic uint64_t next_look;
	_Atomic int follow_error;	/* of the last attempt */
	_Atomic uint64_t dev, ino;	/* of the mapped file; 0, 0: none yet */
	_Atomic uint64_t reported;	/* roster, by mcshm_refresh() */

	/* The directory, under the guard; -1: not open. */
	int dirfd;
	dev_t dir_dev;
	ino_t dir_ino;
	const char *dir;		/* absolute */
	const char *name;		/* of the file in it */
	char text[];			/* both */
};

static_assert(sizeof(struct mcshm) + 2 * 4096 <= READER_CACHE, "and paths");

static inline unsigned char *
reader_base(const struct mcshm *m)
{
	return (unsigned char *)m + READER_RANGE;
}

static inline struct reader_cache *
reader_cache(const struct mcshm *m)
{
	return (struct reader_cache *)((unsigned char *)m + READER_CACHE);
}

static inline struct reader_suspects *
reader_suspects(const struct mcshm *m)
{
	return (struct reader_suspects *)((unsigned char *)m + READER_SUSPECTS);
}

/* reader.c ---------------------------------------------------------------- */

/* A file that was opened and may be mapped. */
struct reader_file {
	int fd;
	struct stat st;
	struct mcshm_header header;	/* private copy, checked */
};

/* An errno of open(2) and the like as MCSHM_E... */
int reader_error(int error);
/* What is wrong with this header of a file of this size: 0 or MCSHM_E... */
int reader_check_header(const struct mcshm_header *h, uint64_t size);
/* Open and check; 0 or MCSHM_E..., then there is nothing to close. */
int reader_file_open(struct reader_file *f, int dirfd, const char *name);
/* Over what is mapped.  0 or MCSHM_ESYS, then nothing has changed. */
int reader_map(struct mcshm *m, const struct reader_file *f);

/* suspect.c --------------------------------------------------------------- */

struct reader_view;
/* Any marks, of whatever roster? */
bool suspect_any(const struct mcshm *m);
/* Mark, and let go of the cache: picks have to look. */
void suspect_mark(struct mcshm *m, uint64_t roster, uint32_t slot);
/* The bitmap for v->place, less the marks that are over; NULL: none is left. */
const _Atomic uint64_t *suspect_words(struct mcshm *m,
    const struct reader_view *v);
/* As above; also NULL where no usable server would be left. */
void suspect_apply(struct mcshm *m, struct reader_view *v);

/* report.c ---------------------------------------------------------------- */

/* One datagram to the checker, if it is not too early for one. */
void report_send(struct mcshm *m, uint32_t slot);

/* pick.c ------------------------------------------------------------------ */

/* No pick goes by what was cached before this. */
void pick_forget(struct mcshm *m);

/* follow.c ---------------------------------------------------------------- */

/* The first file of a handle that nobody else has yet. */
int reader_first(struct mcshm *m);
/* The mapped file is retired, or there is none: go on to what the path leads
 * to, if it is not too early for another attempt.  True: there is another file
 * now. */
bool reader_follow(struct mcshm *m);
/* The mapped file is stale: the same, if the path leads to another one; looks
 * at most once a second. */
bool reader_look(struct mcshm *m);
/* As either, at once.  0 or why not. */
int reader_follow_now(struct mcshm *m);
/* Does the path lead to another file than the mapped one?  Does not follow. */
bool reader_is_replaced(struct mcshm *m);
/* Does a writer live?  1: it has the lock on the mapped file, 0: no, or the
 * path leads elsewhere, below 0: could not be asked. */
int reader_alive(struct mcshm *m);
/* Close what follow.c has open. */
void reader_leave(struct mcshm *m);

/* Nobody keeps the mapped file up to date any more. */
bool reader_is_stale(const struct mcshm *m);
bool reader_is_rebooted(const struct mcshm *m);

/* Loads, here ------------------------------------------------------------- */

static inline void *
reader_generation(const struct mcshm *m)
{
	return reader_base(m) + READER_HEADER(generation);
}

static inline uint64_t
reader_load(const struct mcshm *m, uint64_t off)
{
	return scheme_load(reader_base(m), READER_MASK, off);
}

static inline uint32_t
reader_load32(const struct mcshm *m, uint64_t off)
{
	return scheme_load32(reader_base(m), READER_MASK, off);
}

/* `words` words at off, to memory of any alignment. */
static inline void
reader_copy(const struct mcshm *m, uint64_t off, void *to, size_t words)
{
	for (size_t i = 0; i < words; i++) {
		const uint64_t word = reader_load(m, off + i * 8);

		memcpy((unsigned char *)to + i * 8, &word, sizeof word);
	}
}

/* Nothing to be read here, or another file elsewhere. */
static inline bool
reader_must_follow(uint64_t g)
{
	return g == 0 || (g & MCSHM_RETIRED) != 0;
}

/* Before a read that is not in a hurry. */
static inline void
reader_catch_up(struct mcshm *m)
{
	if (reader_must_follow(mcshm_read_begin(reader_generation(m))) &&
	    !(m->flags & MCSHM_NOFOLLOW))
		reader_follow(m);
}

/* What to say when MCSHM_TRIES_READ reads were none. */
static inline int
reader_failed(const struct mcshm *m)
{
	return atomic_load_explicit(&m->ino, memory_order_relaxed) != 0 ?
	    MCSHM_EAGAIN : MCSHM_ENOENT;
}

/* What most reads need, of one generation. */
struct reader_view {
	struct scheme_place place;
	uint64_t section;		/* offset of the active one */
	uint64_t roster;		/* id, with the address epoch */
	uint64_t flags;
	uint32_t usable, ready;		/* servers */
	bool superseded;
};

static inline struct scheme_setting
reader_setting(const unsigned char *h)
{
	return (struct scheme_setting){
		.scheme = mcshm_load32(h + READER_HEADER(scheme)),
		.hash = mcshm_load32(h + READER_HEADER(hash)),
		.points_hash = mcshm_load32(h + READER_HEADER(points_hash)),
		.hash_flags = mcshm_load32(h + READER_HEADER(hash_flags)),
		.hash_tag = mcshm_load32(h + READER_HEADER(hash_tag)),
	};
}

static inline void
reader_view(const struct mcshm *m, uint64_t g, struct reader_view *v)
{
	const unsigned char *h = reader_base(m), *s;
	const uint32_t servers = mcshm_load32(h + READER_HEADER(servers));
	const uint32_t words = mcshm_load32(h + READER_HEADER(words));

	v->section = READER_PAGES & mcshm_load(h +
	    READER_HEADER(section_off) + 8 * (g & 1));
	s = reader_base(m) + v->section;
	v->roster = mcshm_load(h + READER_HEADER(roster_id)) |
	    (MCSHM_ROSTER_EPOCH &
		mcshm_load(s + READER_SECTION(address_epoch)));
	v->flags = mcshm_load(s + READER_SECTION(flags));
	v->usable = mcshm_load32(s + READER_SECTION(usable));
	v->ready = mcshm_load32(s + READER_SECTION(ready));
	v->superseded = (g & MCSHM_RETIRED) != 0 &&
	    atomic_load_explicit(&m->follow_error, memory_order_relaxed) != 0;
	v->place = (struct scheme_place){
		.base = reader_base(m),
		.mask = READER_MASK,
		.buckets_off = mcshm_load(h + READER_HEADER(buckets_off)),
		.bits_off = v->section +
		    mcshm_load32(h + READER_HEADER(bitmap_off)),
		.roster_off = mcshm_load(h + READER_HEADER(roster_off)),
		.roster_stride =
		    mcshm_load32(h + READER_HEADER(roster_stride)),
		.ring_off = mcshm_load(h + READER_HEADER(ring_off)),
		.ring_index_off =
		    mcshm_load(h + READER_HEADER(ring_index_off)),
		.ring_points = mcshm_load32(h + READER_HEADER(ring_points)),
		.ring_index_bits =
		    mcshm_load32(h + READER_HEADER(ring_index_bits)),
		.set = reader_setting(h),
		.buckets = mcshm_load32(h + READER_HEADER(buckets)),
		.servers = servers < MCSHM_MAX_SERVERS ?
		    servers : MCSHM_MAX_SERVERS,
		.words = words < MCSHM_MAX_WORDS ? words : MCSHM_MAX_WORDS,
		.blind = v->superseded,
	};
}

/* Offset of the entry of a slot in the active section. */
static inline uint64_t
reader_entry(const struct mcshm *m, const struct reader_view *v, uint32_t slot)
{
	return v->section + reader_load32(m, READER_HEADER(entries_off)) +
	    (uint64_t)slot * reader_load32(m, READER_HEADER(entry_stride));
}

#endif
