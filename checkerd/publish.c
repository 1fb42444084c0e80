/*
 * publish.c - the only writer of a pool's file: mailbox, thread, events.
 *
 * The loop's side takes a mutex that the thread holds for memory work only,
 * never across a system call on the file.  The thread's side owns the files:
 * `file`, which readers are on, and `next`, which is made for a newer roster
 * and waits to be exchanged for it.  Both are kept up to date meanwhile: each
 * entry goes into both, wherever its server stands there.
 */
#include "publish.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "publish_file.h"

#define NOWHERE UINT32_MAX	/* a server that a file does not have */
#define EVENTS 16
#define PATIENCE 10		/* with a held lock, steps of 20 ms */
/* News that is no verdict goes out once a second, give or take a tick. */
#define NEWS_APART UINT64_C(950000000)

enum {				/* what the mailbox asks for */
	DUE_SOON = 1,		/* news, for the next beat */
	DUE_NOW = 2,		/* news, for now */
	DUE_BEAT = 4,
	DUE_ROSTER = 8,		/* box.roster is newer than the thread's */
	DUE_EXCHANGE = 16,
	DUE_STOP = 32,
	DUE_REPORT = 64		/* about.report is newer than the file's */
};

/* Between loop and thread, under the lock. */
struct box {
	unsigned due;
	struct publish_entry *entry;	/* of the newest roster */
	uint64_t *dirty;		/* entries that the thread has not seen */
	uint32_t n;
	bool may_exchange;
	uint64_t flags, local_errors, tilts, awareness, fail_open, unseen;
	struct publish_time time;
	struct publish_roster roster;
	struct publish_about about;
	enum publish_progress progress;	/* of the newest roster */
	struct publish_event event[EVENTS];
	unsigned events;
};

struct publish {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct box box;
	int eventfd;
	_Atomic uint64_t clock;		/* BOOTTIME of the loop's last turn */

	/* The thread's own, before it starts and after it ends the caller's. */
	struct place place;
	uint64_t boot_id[2];
	struct publish_roster roster;
	struct publish_about about;
	struct file *file, *next;
	bool build;			/* next is wanted and not there yet */
	bool starved;			/* no memory for a roster: wait */
	bool failing, failed;		/* since some turn; in this one */
	bool told, told_vain;		/* so; and that a roster waits for it */
	bool vain;			/* the newest one does, */
	uint64_t vain_since;		/* and others before it; BOOTTIME, 0 */
	uint64_t flags;
	struct publish_time time;
	uint64_t started;		/* BOOTTIME, for the header */
	uint64_t published;		/* BOOTTIME of the last news */

	struct publish_left left;
	bool created;			/* by publish_open() */
	bool foreign;			/* what it says of servers is of another
					 * boot, or of nobody */
	bool running;
	pthread_t thread;
};

/* Small things ------------------------------------------------------------- */

void
publish_roster_free(struct publish_roster *r)
{
	servers_free(&r->servers);
	free(r->map);
	*r = (struct publish_roster){ 0 };
}

int
publish_roster_copy(struct publish_roster *to,
    const struct publish_roster *from)
{
	const size_t size = from->maps * sizeof *from->map;
	struct publish_roster r = *from;

	r.map = NULL;
	if (size > 0 && (r.map = malloc(size)) == NULL)
		return ENOMEM;
	if (size > 0)
		memcpy(r.map, from->map, size);
	servers_copy(&r.servers, &from->servers);
	*to = r;
	return 0;
}

/* A file says in the same words that each server is a bucket, and that nothing
 * else was wanted. */
static bool
has_map(const struct publish_roster *r)
{
	if (r->maps != r->servers.n)
		return r->maps != 0;
	for (uint32_t i = 0; i < r->maps; i++)
		if (r->map[i] != i)
			return true;
	return false;
}

struct publish_terms
publish_roster_terms(const struct publish_roster *r)
{
	return (struct publish_terms){ .set = r->set, .dead = r->dead,
		.failover_ttl = r->failover_ttl, .map = !has_map(r) ? 0 :
		    scheme_text_hash(r->map, r->maps * sizeof *r->map) };
}

/* What a file was made for, as a roster; servers and map borrowed. */
static struct publish_roster
roster_of(const struct file *f)
{
	const struct mcshm_header *h = &f->head;
	struct publish_roster r = { .servers = f->servers,
		.set = scheme_setting_of(h),
		.dead = h->dead, .failover_ttl = h->failover_ttl,
		.stale_after = h->stale_after };

	if (scheme_takes_map(h->scheme)) {
		r.map = (void *)(f->map + h->buckets_off);
		r.maps = h->buckets;
	}
	memcpy(r.pool, h->pool, sizeof r.pool - 1);
	return r;
}

static struct publish_entry
entry_unknown(const struct server *s, uint64_t now)
{
	struct publish_entry e = { .verdict = verdict_init(now),
		.admin = s->admin };

	e.addresses = address_literal(&s->address, &e.address[0]);
	return e;
}

static size_t
words(uint32_t n)
{
	return ((size_t)n + 63) / 64;
}

static void
mark(uint64_t *bitmap, uint32_t i)
{
	bitmap[i / 64] |= UINT64_C(1) << (i & 63);
}

static void
mark_all(struct box *b)
{
	for (uint32_t i = 0; i < b->n; i++)
		mark(b->dirty, i);
}

/* Events ------------------------------------------------------------------- */

static void
poke(struct publish *p)
{
	const uint64_t one = 1;
	const ssize_t n = write(p->eventfd, &one, sizeof one);

	(void)n;		/* full: then it is readable anyway */
}

static void
tell(struct publish *p, const struct publish_event *ev)
{
	pthread_mutex_lock(&p->lock);
	if (p->box.events < EVENTS)
		p->box.event[p->box.events++] = *ev;
	pthread_mutex_unlock(&p->lock);
	poke(p);
}

/* Told once; what fails is tried again each beat.  vain: and the newest roster
 * waits for it. */
static void
fail_for(struct publish *p, const struct publish_trouble *t, bool vain)
{
	struct publish_event ev = { .kind = PUBLISH_FAILED, .error = t->error,
		.vain = vain };
	bool *const told = vain ? &p->told_vain : &p->told;

	p->failing = p->failed = true;
	p->vain |= vain;
	if (*told)
		return;
	*told = true;
	snprintf(ev.what, sizeof ev.what, "%s", t->what);
	tell(p, &ev);
}

static void
fail(struct publish *p, const struct publish_trouble *t)
{
	fail_for(p, t, false);
}

static void
fail_roster(struct publish *p, const struct publish_trouble *t)
{
	fail_for(p, t, true);
}

int
publish_fd(const struct publish *p)
{
	return p->eventfd;
}

bool
publish_event(struct publish *p, struct publish_event *ev)
{
	uint64_t n;
	bool any;

	pthread_mutex_lock(&p->lock);
	any = p->box.events > 0;
	if (any) {
		*ev = p->box.event[0];
		p->box.events--;
		memmove(p->box.event, p->box.event + 1,
		    p->box.events * sizeof *ev);
	} else if (read(p->eventfd, &n, sizeof n) == -1) {
		n = 0;		/* nothing was there */
	}
	pthread_mutex_unlock(&p->lock);
	return any;
}

/* Entries into files ------------------------------------------------------- */

static void
put(struct publish *p, uint32_t i)
{
	const struct publish_entry *e = &p->box.entry[i];
	struct file *f = p->file;

	if (i < f->slots_of && f->slot_of[i] != NOWHERE)
		file_set(f, f->slot_of[i], e);
	if (p->next != NULL)
		file_set(p->next, i, e);
}

static void
put_dirty(struct publish *p)
{
	struct box *b = &p->box;

	for (size_t w = 0; w < words(b->n); w++)
		for (; b->dirty[w] != 0; b->dirty[w] &= b->dirty[w] - 1)
			put(p, (uint32_t)(w * 64 +
			    (size_t)__builtin_ctzll(b->dirty[w])));
}

/* Where the servers of the newest roster stand in f. */
static int
file_match(struct file *f, const struct servers *newest)
{
	uint32_t *slot_of = calloc(newest->n, sizeof *slot_of);
	int err = slot_of == NULL ? ENOMEM : 0;

	if (err == 0)
		err = servers_match(slot_of, newest, &f->servers);
	if (err != 0) {
		free(slot_of);
		return err;
	}
	free(f->slot_of);
	f->slot_of = slot_of;
	f->slots_of = newest->n;
	return 0;
}

/* The thread --------------------------------------------------------------- */

static void
drop_next(struct publish *p)
{
	if (p->next == NULL)
		return;
	file_unlink_tmp(&p->place);
	file_close(p->next);
	p->next = NULL;
}

/* Share of keys whose home is another server in `next` than in `file`. */
static double
moved_share(const struct file *old, const struct file *now)
{
	const struct scheme_place a = image_place(old->map, &old->head);
	const struct scheme_place b = image_place(now->map, &now->head);
	const uint32_t of_a = image_sample_keys(&old->head);
	const uint32_t of_b = image_sample_keys(&now->head);
	const uint32_t keys = of_a < of_b ? of_a : of_b;
	uint32_t moved = 0;
	char key[24];

	for (uint32_t i = 0; i < keys; i++) {
		const size_t len = (size_t)snprintf(key, sizeof key,
		    "sample:%u", i);
		const struct scheme_key ka = scheme_key(&a.set, key, len);
		const struct scheme_key kb = scheme_key(&b.set, key, len);
		const uint32_t from = scheme_home(&a, &ka);
		const uint32_t to = scheme_home(&b, &kb);

		moved += to >= old->slots_of || old->slot_of[to] != from;
	}
	return (double)moved / keys;
}

/* A file for the newest roster, beside the one in use. */
static void
build_next(struct publish *p)
{
	struct publish_trouble t = { 0 };
	bool same;

	drop_next(p);
	if (file_serves(p->file, &p->roster, &same) != 0 ||
	    (!same && file_make(&p->next, &p->place, &p->roster,
		mcshm_generation_after(file_generation(p->file)), p->time,
		&t) != 0)) {
		if (t.error == 0)
			t.error = ENOMEM;
		fail_roster(p, &t);
		return;
	}
	p->build = false;
	if (same)
		return;
	pthread_mutex_lock(&p->lock);
	if ((p->box.due & DUE_ROSTER) == 0)	/* else it is old already */
		for (uint32_t i = 0; i < p->box.n; i++)
			put(p, i);
	pthread_mutex_unlock(&p->lock);
}

/* Readers of our file, and of what had its path. */
static void
retire_old(const struct publish *p, struct file *at)
{
	file_retire(p->file);
	if (at != NULL && at != p->file)
		file_retire(at);
}

/* Put f, which lies under the temporary name, where p->file is or was, in place
 * of what has the path now: `at`, NULL where nothing has. */
static int
take_over(struct publish *p, struct file *f, struct file *at,
    uint64_t generation, struct publish_trouble *t)
{
	int err;

	file_seed(f, generation, p->flags, p->time);
	file_own(f, &p->about, p->time, p->started, p->boot_id);
	if (file_sync(f) != 0) {
		t->error = errno;
		snprintf(t->what, sizeof t->what, "cannot write %.240s",
		    p->place.path);
		return t->error;
	}
	err = file_link(&p->place, f, at, t);
	if (err != 0)
		return err;
	/* Only now: who sees RETIRED must find the successor.  And before the
	 * last name goes: nobody could retire a file without one. */
	retire_old(p, at);
	if (at != NULL)
		file_unlink_tmp(&p->place);
	return 0;
}

/* Readers go on to the newest roster. */
static void
exchange(struct publish *p)
{
	const struct publish_roster was = roster_of(p->file);
	struct publish_event ev = { .kind = PUBLISH_EXCHANGED,
		.before = p->file->servers.n, .after = p->next->servers.n,
		.was = publish_roster_terms(&was),
		.is = publish_roster_terms(&p->roster) };
	struct publish_trouble t = { 0 };

	ev.moved = moved_share(p->file, p->next);
	if (file_match(p->next, &p->roster.servers) != 0) {
		t.error = ENOMEM;
		fail_roster(p, &t);
		return;
	}
	if (take_over(p, p->next, p->file,
		mcshm_generation_after(file_generation(p->file)), &t) != 0) {
		fail_roster(p, &t);
		return;
	}
	file_close(p->file);
	p->file = p->next;
	p->next = NULL;
	tell(p, &ev);
}

/* Somebody removed our file, or put another there: the same one, anew. */
static int
remake_at(struct publish *p, struct file *at, uint64_t other,
    struct publish_trouble *t)
{
	const struct publish_roster r = roster_of(p->file);
	uint64_t g = mcshm_generation_after(file_generation(p->file));
	struct file *f;
	int err = file_make(&f, &p->place, &r, g, p->time, t);

	if (err != 0)
		return err;
	if (mcshm_generation_after(other) > g)
		g = mcshm_generation_after(other);
	file_set_all(f, p->file);
	err = take_over(p, f, at, g, t);
	if (err != 0) {
		file_unlink_tmp(&p->place);
		file_close(f);
		return err;
	}
	f->slot_of = p->file->slot_of;
	f->slots_of = p->file->slots_of;
	p->file->slot_of = NULL;
	file_close(p->file);
	p->file = f;
	return 0;
}

/* True: the path is ours again. */
static bool
remake(struct publish *p)
{
	struct publish_event ev = { .kind = PUBLISH_REMADE };
	struct publish_trouble t = { 0 };
	struct file *other = calloc(1, sizeof *other);
	enum file_found found = FILE_TROUBLE;
	uint64_t g = 0;
	bool ours;

	if (p->next != NULL)		/* it has the temporary name */
		p->build = true;
	drop_next(p);
	t.error = ENOMEM;
	if (other != NULL)
		other->fd = -1;
	if (other != NULL && place_reopen(&p->place, &t) == 0)
		found = file_attach(other, &p->place, 0, &g, &t);
	ours = found != FILE_TROUBLE &&
	    remake_at(p, found != FILE_NONE ? other : NULL, g, &t) == 0;
	if (ours)
		tell(p, &ev);
	else
		fail_for(p, &t, p->build);
	file_close(other);
	return ours;
}

/* The newest roster and its news, out of the mailbox; the lock is held. */
static void
take_roster(struct publish *p)
{
	struct publish_roster copy = { 0 };

	if (publish_roster_copy(&copy, &p->box.roster) != 0 ||
	    file_match(p->file, &p->box.roster.servers) != 0) {
		/* No memory: nothing fits together now, next beat. */
		publish_roster_free(&copy);
		p->box.due |= DUE_ROSTER;
		p->starved = true;
		return;
	}
	p->starved = false;
	publish_roster_free(&p->roster);
	p->roster = copy;
	p->about = p->box.about;
	p->build = true;
	p->told = p->told_vain = p->vain = false;
}

static bool
idle(const struct publish *p)
{
	const unsigned due = p->box.due;

	if (p->starved)
		return (due & (DUE_BEAT | DUE_STOP)) == 0;
	return (due & ~(unsigned)DUE_SOON) == 0;
}

static bool
is_time_for_news(const struct publish *p, unsigned due)
{
	if (due & (DUE_NOW | DUE_STOP))
		return true;
	return (due & DUE_BEAT) && p->time.boot - p->published >= NEWS_APART;
}

static void
put_spares(const struct publish *p, struct file *f)
{
	const struct box *b = &p->box;

	file_spare(f, MCSHM_SPARE_AWARENESS, b->awareness);
	file_spare(f, MCSHM_SPARE_FAIL_OPEN, b->fail_open);
	file_spare(f, MCSHM_SPARE_UNSEEN, b->unseen);
	/* It is not about one that is to come. */
	file_spare(f, MCSHM_SPARE_VAIN, f == p->file ? p->vain_since : 0);
}

static unsigned
take(struct publish *p)
{
	struct box *b = &p->box;
	unsigned due;

	pthread_mutex_lock(&p->lock);
	while (idle(p))
		pthread_cond_wait(&p->work, &p->lock);
	due = b->due;
	b->due = 0;
	p->time = b->time;
	if ((due & DUE_SOON) && !is_time_for_news(p, due)) {
		b->due = DUE_SOON;
		due &= ~(unsigned)DUE_SOON;
	}
	p->flags = b->flags;
	file_faults(p->file, b->local_errors, b->tilts);
	put_spares(p, p->file);
	if (p->next != NULL)
		put_spares(p, p->next);
	memcpy(p->about.report, b->about.report, sizeof p->about.report);
	if (due & DUE_ROSTER) {
		drop_next(p);
		take_roster(p);
	}
	if (!p->starved)
		put_dirty(p);
	pthread_mutex_unlock(&p->lock);
	return due;
}

static void
publish_due(struct publish *p, unsigned due)
{
	struct publish_trouble t = { 0 };

	file_beat(p->file, atomic_load(&p->clock));
	if ((due & (DUE_SOON | DUE_NOW)) == 0)
		return;
	p->published = p->time.boot;
	t.error = file_publish(p->file, (due & DUE_BEAT) != 0, p->flags,
	    p->time, &p->clock);
	if (t.error == 0)
		return;
	snprintf(t.what, sizeof t.what, "msync %.240s (readers see it, a "
	    "disk may not)", p->place.path);
	fail(p, &t);
}

static bool
may_exchange(struct publish *p)
{
	bool may;

	pthread_mutex_lock(&p->lock);
	may = p->box.may_exchange && (p->box.due & DUE_ROSTER) == 0;
	pthread_mutex_unlock(&p->lock);
	return may;
}

/* Servers that only the old file has: nobody looks at them any more. */
static void
put_unseen(struct publish *p)
{
	struct file *f = p->file;
	uint64_t *seen = calloc(words(f->servers.n), sizeof *seen);

	if (seen == NULL)		/* then they are as they were */
		return;
	for (uint32_t i = 0; i < f->slots_of; i++)
		if (f->slot_of[i] != NOWHERE)
			mark(seen, f->slot_of[i]);
	for (uint32_t slot = 0; slot < f->servers.n; slot++) {
		struct publish_entry e;

		if (seen[slot / 64] >> (slot & 63) & 1)
			continue;
		image_get(&e, f->work, &f->head, slot);
		e.verdict = verdict_unseen(e.verdict, p->vain_since);
		e.reason = e.result = MCSHM_R_LOCAL;
		if (e.unseen_since == 0)
			e.unseen_since = p->vain_since;
		file_set(f, slot, &e);
	}
	free(seen);
}

/* How far readers are on their way to the newest roster; at the end of a turn.
 * It waits in vain from the first failure on, whatever newer ones came. */
static void
settle(struct publish *p)
{
	const bool done = !p->build && p->next == NULL && !p->starved;
	const struct publish_trouble no_memory = { .error = ENOMEM,
		.what = "cannot take the new servers" };
	const uint64_t since = p->vain_since;
	enum publish_progress progress, was;

	if (p->starved)
		fail_roster(p, &no_memory);
	p->vain &= !done;
	progress = done ? PUBLISH_DONE : p->vain ? PUBLISH_VAIN :
	    PUBLISH_PENDING;
	if (done)
		p->vain_since = 0;
	else if (p->vain && since == 0)
		p->vain_since = p->time.boot;
	if (p->vain_since != 0)
		put_unseen(p);
	pthread_mutex_lock(&p->lock);
	was = p->box.progress;
	if ((p->box.due & DUE_ROSTER) == 0 || p->starved)
		p->box.progress = progress;
	if (p->vain_since != since)
		p->box.due |= DUE_NOW;
	pthread_mutex_unlock(&p->lock);
	if (was != progress)
		poke(p);
}

static void
own(struct publish *p)
{
	file_own(p->file, &p->about, p->time, p->started, p->boot_id);
}

static void
turn(struct publish *p, unsigned due)
{
	const struct publish_event works = { .kind = PUBLISH_WORKS };
	bool ours = true;

	p->failed = false;
	publish_due(p, due);
	if (due & DUE_REPORT)
		own(p);
	if ((due & DUE_BEAT) && place_lost(&p->place, p->file))
		ours = remake(p);
	/* A newer one is of no use where the path is somebody else's. */
	if (ours && p->build && !p->starved &&
	    (due & (DUE_ROSTER | DUE_BEAT)) != 0) {
		build_next(p);
		if (p->next == NULL && !p->build)
			own(p);
	}
	/* What has failed is tried again with the beat, not at every turn. */
	if (p->next != NULL && may_exchange(p) &&
	    (!p->failing || (due & DUE_BEAT) != 0))
		exchange(p);
	settle(p);
	if (p->failing && !p->failed && (due & DUE_BEAT)) {
		p->failing = p->told = p->told_vain = false;
		tell(p, &works);
	}
}

static void *
publish_thread(void *arg)
{
	struct publish *p = arg;
	unsigned due;

	do {
		due = take(p);
		turn(p, due);
	} while ((due & DUE_STOP) == 0);
	file_end(p->file);
	return NULL;
}

/* Opening ------------------------------------------------------------------ */

#define AGAIN (-1)		/* somebody was faster: look again */

/* A first file, or one in place of an unfit one. */
static int
open_make(struct publish *p, const struct publish_roster *r,
    const struct file *unfit, uint64_t generation, struct publish_time now,
    struct publish_trouble *t)
{
	const uint64_t g = generation == 0 ? 0 :
	    mcshm_generation_after(generation);
	int err = file_make(&p->file, &p->place, r, g, now, t);

	if (err == 0) {
		file_own(p->file, &p->about, now, p->started, p->boot_id);
		err = file_link(&p->place, p->file, unfit, t);
		if (err != 0) {
			file_unlink_tmp(&p->place);
			file_close(p->file);
			p->file = NULL;
		}
		if (err == EEXIST || err == EBUSY || err == ENOENT)
			err = AGAIN;
	}
	p->created = err == 0;
	return err;
}

/* What the last daemon believed, if that was in this life of the host. */
static int
open_left(struct publish *p, const struct file *f)
{
	struct publish_left *left = &p->left;

	servers_copy(&left->servers, &f->servers);
	if (!file_this_boot(f, p->boot_id))
		return 0;
	left->entry = calloc(f->servers.n, sizeof *left->entry);
	if (left->entry == NULL)
		return ENOMEM;
	for (uint32_t i = 0; i < f->servers.n; i++)
		image_get(&left->entry[i], f->work, &f->head, i);
	left->flags = image_flags(f->work);
	left->fail_open = image_spare(f->work, &f->head,
	    MCSHM_SPARE_FAIL_OPEN);
	return 0;
}

/* An old file of ours that can not go on: out of the way of its readers. */
static void
open_bury(struct publish *p, struct file *unfit)
{
	file_retire(unfit);
	file_unlink_tmp(&p->place);
}

/* One look at the path.  0, AGAIN, or an errno with the rest in *t. */
static int
open_once(struct publish *p, const struct publish_roster *r,
    struct publish_time now, struct publish_trouble *t)
{
	struct file *f = calloc(1, sizeof *f);
	uint64_t generation;
	enum file_found found;
	int err;

	if (f == NULL)
		return t->error = ENOMEM;
	found = file_attach(f, &p->place, PATIENCE, &generation, t);
	if (found == FILE_ATTACHED) {
		p->file = f;
		err = open_left(p, f);
		if (err == 0)
			err = file_serves(f, r, &p->left.kept);
		return t->error = err;
	}
	err = t->error;
	if (found == FILE_NONE || found == FILE_UNFIT) {
		err = open_make(p, r, found == FILE_UNFIT ? f : NULL,
		    generation, now, t);
		p->left.kept = true;
		if (err == 0 && found == FILE_UNFIT)
			open_bury(p, f);
	}
	file_close(f);
	return err;
}

/* The mailbox for roster r: what was left, or UNKNOWN. */
static int
open_box(struct publish *p, const struct publish_roster *r,
    struct publish_time now)
{
	struct box *b = &p->box;
	const uint32_t n = r->servers.n;
	uint32_t *from = calloc(n, sizeof *from);
	int err = ENOMEM;

	b->time = now;
	b->n = n;
	b->entry = calloc(n, sizeof *b->entry);
	b->dirty = calloc(words(n), sizeof *b->dirty);
	if (from != NULL && b->entry != NULL && b->dirty != NULL &&
	    (err = servers_match(from, &r->servers, &p->file->servers)) == 0 &&
	    (err = file_match(p->file, &r->servers)) == 0 &&
	    (err = publish_roster_copy(&b->roster, r)) == 0)
		err = publish_roster_copy(&p->roster, r);
	for (uint32_t i = 0; err == 0 && i < n; i++) {
		b->entry[i] = entry_unknown(&r->servers.v[i], now.boot);
		if (from[i] != NOWHERE && p->left.entry != NULL)
			b->entry[i] = p->left.entry[from[i]];
		b->entry[i].admin = r->servers.v[i].admin;
	}
	free(from);
	mark_all(b);
	b->due = DUE_NOW | (p->left.kept ? 0 : DUE_ROSTER);
	return err;
}

static void
publish_free(struct publish *p)
{
	publish_roster_free(&p->roster);
	publish_roster_free(&p->box.roster);
	servers_free(&p->left.servers);
	free(p->left.entry);
	free(p->box.entry);
	free(p->box.dirty);
	drop_next(p);
	file_close(p->file);
	place_close(&p->place);
	if (p->eventfd != -1)
		close(p->eventfd);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

int
publish_open(struct publish **out, const char *path,
    const struct publish_roster *roster, const struct publish_about *about,
    struct publish_time now, struct publish_trouble *t)
{
	struct publish *p = calloc(1, sizeof *p);
	int err;

	*t = (struct publish_trouble){ 0 };
	snprintf(t->what, sizeof t->what, "cannot open %s", path);
	if (p == NULL) {
		t->error = ENOMEM;
		return -1;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	p->place.dirfd = -1;
	p->about = p->box.about = *about;
	atomic_store(&p->clock, now.boot);
	mcshm_boot_id(p->boot_id);
	p->started = now.boot;
	p->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = p->eventfd == -1 ? errno : place_open(&p->place, path, t);
	if (err == 0) {
		place_sweep(&p->place);
		do
			err = open_once(p, roster, now, t);
		while (err == AGAIN);
	}
	p->foreign = !p->created && p->left.entry == NULL;
	if (err == 0)
		err = open_box(p, roster, now);
	if (err != 0) {
		t->error = err;
		if (p->created)
			publish_abandon(p);
		else
			publish_free(p);
		return -1;
	}
	*out = p;
	return 0;
}

const struct publish_left *
publish_left(const struct publish *p)
{
	return &p->left;
}

bool
publish_on_disk(const struct publish *p)
{
	return p->place.on_disk;
}

/* Verdicts of another boot, and of nobody, must not look fresh: both sections
 * are overwritten while the file still has the boot id that makes it stale. */
static void
start_own(struct publish *p)
{
	struct box *b = &p->box;

	if (p->foreign) {
		for (uint32_t i = 0; i < p->file->servers.n; i++) {
			const struct publish_entry e = entry_unknown(
			    &p->file->servers.v[i], b->time.boot);

			file_set(p->file, i, &e);
		}
		file_publish(p->file, true, 0, b->time, &p->clock);
		file_publish(p->file, true, 0, b->time, &p->clock);
	}
	file_own(p->file, &p->about, b->time, p->started, p->boot_id);
}

int
publish_start(struct publish *p)
{
	sigset_t all, old;
	int err;

	start_own(p);
	/* Signals are the loop's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&p->thread, NULL, publish_thread, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	p->running = err == 0;
	return err;
}

/* The loop's side ---------------------------------------------------------- */

static void
ask(struct publish *p, unsigned due)
{
	pthread_mutex_lock(&p->lock);
	p->box.due |= due;
	if ((due & ~(unsigned)DUE_SOON) != 0)
		pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void
publish_set(struct publish *p, uint32_t i, const struct publish_entry *e)
{
	pthread_mutex_lock(&p->lock);
	if (i < p->box.n) {
		p->box.entry[i] = *e;
		mark(p->box.dirty, i);
		p->box.due |= DUE_SOON;
	}
	pthread_mutex_unlock(&p->lock);
}

void
publish_now(struct publish *p)
{
	ask(p, DUE_NOW);
}

void
publish_flags(struct publish *p, uint64_t flags)
{
	pthread_mutex_lock(&p->lock);
	if (p->box.flags != flags)
		p->box.due |= DUE_SOON;
	p->box.flags = flags;
	pthread_mutex_unlock(&p->lock);
}

void
publish_awareness(struct publish *p, uint64_t score)
{
	pthread_mutex_lock(&p->lock);
	if (p->box.awareness != score)
		p->box.due |= DUE_SOON;
	p->box.awareness = score;
	pthread_mutex_unlock(&p->lock);
}

void
publish_unseen(struct publish *p, uint64_t after)
{
	pthread_mutex_lock(&p->lock);
	if (p->box.unseen != after)
		p->box.due |= DUE_SOON;
	p->box.unseen = after;
	pthread_mutex_unlock(&p->lock);
}

void
publish_fail_open_since(struct publish *p, uint64_t since)
{
	pthread_mutex_lock(&p->lock);
	p->box.fail_open = since;
	pthread_mutex_unlock(&p->lock);
}

void
publish_fail_open(struct publish *p, uint64_t flags, const uint64_t *open)
{
	struct box *b = &p->box;

	pthread_mutex_lock(&p->lock);
	b->flags = flags;
	for (uint32_t i = 0; i < b->n; i++) {
		const bool is_open = open[i / 64] >> (i & 63) & 1;

		if (b->entry[i].open == is_open)
			continue;
		b->entry[i].open = is_open;
		mark(b->dirty, i);
	}
	b->due |= DUE_NOW;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
}

void
publish_faults(struct publish *p, uint64_t local_errors, uint64_t tilts)
{
	pthread_mutex_lock(&p->lock);
	p->box.local_errors = local_errors;
	p->box.tilts = tilts;
	pthread_mutex_unlock(&p->lock);
}

void
publish_report(struct publish *p, const char *path)
{
	pthread_mutex_lock(&p->lock);
	memset(p->box.about.report, 0, sizeof p->box.about.report);
	snprintf(p->box.about.report, sizeof p->box.about.report, "%s", path);
	pthread_mutex_unlock(&p->lock);
	ask(p, DUE_REPORT);
}

void
publish_clock(struct publish *p, uint64_t boot)
{
	atomic_store_explicit(&p->clock, boot, memory_order_relaxed);
}

void
publish_beat(struct publish *p, struct publish_time now)
{
	publish_clock(p, now.boot);
	pthread_mutex_lock(&p->lock);
	p->box.time = now;
	pthread_mutex_unlock(&p->lock);
	ask(p, DUE_BEAT);
}

int
publish_roster(struct publish *p, const struct publish_roster *roster,
    const struct publish_about *about, const struct publish_entry *entry)
{
	const uint32_t n = roster->servers.n;
	struct publish_entry *copy = calloc(n, sizeof *copy);
	uint64_t *dirty = calloc(words(n), sizeof *dirty);
	struct publish_roster r;

	if (copy == NULL || dirty == NULL || publish_roster_copy(&r, roster) != 0) {
		free(copy);
		free(dirty);
		return ENOMEM;
	}
	memcpy(copy, entry, n * sizeof *copy);
	pthread_mutex_lock(&p->lock);
	free(p->box.entry);
	free(p->box.dirty);
	publish_roster_free(&p->box.roster);
	p->box.entry = copy;
	p->box.dirty = dirty;
	p->box.n = n;
	p->box.roster = r;
	p->box.about = *about;
	p->box.may_exchange = false;
	p->box.progress = PUBLISH_PENDING;
	mark_all(&p->box);
	p->box.due |= DUE_ROSTER | DUE_SOON;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	servers_free(&p->left.servers);
	free(p->left.entry);
	p->left = (struct publish_left){ 0 };
	return 0;
}

void
publish_exchange(struct publish *p)
{
	pthread_mutex_lock(&p->lock);
	p->box.may_exchange = true;
	pthread_mutex_unlock(&p->lock);
	ask(p, DUE_EXCHANGE);
}

enum publish_progress
publish_progress(struct publish *p)
{
	enum publish_progress progress;

	pthread_mutex_lock(&p->lock);
	progress = p->box.progress;
	pthread_mutex_unlock(&p->lock);
	return progress;
}

static void
stop(struct publish *p)
{
	if (!p->running)
		return;
	ask(p, DUE_STOP);
	pthread_join(p->thread, NULL);
	p->running = false;
}

void
publish_close(struct publish *p)
{
	stop(p);
	publish_free(p);
}

void
publish_remove(struct publish *p)
{
	stop(p);
	if (place_has(&p->place, p->file))
		unlinkat(p->place.dirfd, p->place.name, 0);
	file_retire(p->file);
	publish_free(p);
}

void
publish_abandon(struct publish *p)
{
	stop(p);
	if (p->created)
		publish_remove(p);
	else
		publish_free(p);
}
