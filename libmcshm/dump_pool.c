/*
 * dump_pool.c - the facts about a pool: what a file says, seen at one moment.
 *
 * Pure.  What "stale" and "blind" mean is what they mean to the library.
 */
#include "dump_pool.h"

#include <stdlib.h>
#include <string.h>

#include "dump_share.h"
#include "dump_words.h"
#include "mcshm.h"

#define FUTURE_ALLOWED UINT64_C(1000000000)	/* of a heartbeat, ns */

/* The checker -------------------------------------------------------------- */

static bool
other_boot(const struct mcshm_header *h, const struct dump_time *now)
{
	/* Who can not read it, here or there, says 0. */
	if ((now->boot_id[0] | now->boot_id[1]) == 0 ||
	    (h->boot_id[0] | h->boot_id[1]) == 0)
		return false;
	return memcmp(h->boot_id, now->boot_id, sizeof h->boot_id) != 0;
}

static void
set_heartbeat(struct dump_pool *p)
{
	const struct mcshm_header *h = &p->file->h;

	p->never = h->heartbeat == 0;
	p->rebooted = !p->never && other_boot(h, &p->time);
	p->stale = p->never || p->rebooted;
	if (p->stale)
		return;
	if (h->heartbeat > p->time.boot)
		p->stale = h->heartbeat - p->time.boot > FUTURE_ALLOWED;
	else
		p->heartbeat_age = p->time.boot - h->heartbeat;
	if (p->heartbeat_age > h->stale_after)
		p->stale = true;
}

static void
set_checker(struct dump_pool *p)
{
	const struct dump_file *f = p->file;

	set_heartbeat(p);
	p->alive = f->lock == DUMP_LOCK_HELD ||
	    (f->lock == DUMP_LOCK_UNKNOWN && !p->stale);
	p->hung = p->alive && p->stale;
	p->fail_open = (p->section->flags & MCSHM_SECTION_FAIL_OPEN) != 0;
	p->awareness = dump_file_spare(f, MCSHM_SPARE_AWARENESS);
	p->vain = dump_file_spare(f, MCSHM_SPARE_VAIN);
	p->blind = p->stale || f->retired;
}

/* Servers ------------------------------------------------------------------ */

/* A probe that could not be made is nothing; but what is said of a server whose
 * probes have failed on this side for long is of before.  In TILT the checker
 * knows that it does not know. */
static bool
is_unseen(const struct dump_pool *p, const struct mcshm_entry *e)
{
	const uint64_t after = dump_file_spare(p->file, MCSHM_SPARE_UNSEEN);

	return e->unseen_since != 0 && after != 0 && !p->blind &&
	    (p->section->flags & MCSHM_SECTION_TILT) == 0 &&
	    p->time.boot > e->unseen_since &&
	    p->time.boot - e->unseen_since > after;
}

static enum dump_rank
rank_of(const struct dump_pool *p, const struct mcshm_entry *e, uint32_t slot)
{
	if (e->admin != MCSHM_READY)
		return DUMP_OUT;
	switch (e->verdict) {
	case MCSHM_DOWN:
		return DUMP_DOWN;
	case MCSHM_HELD:
		return DUMP_HELD;
	case MCSHM_RECOVERING:
		return DUMP_RECOVERING;
	}
	if (!dump_file_bit(p->file, MCSHM_BITMAP_USABLE, slot))
		return DUMP_ODD;
	if (is_unseen(p, e))
		return DUMP_UNSEEN;
	if (e->degraded != 0)
		return DUMP_DEGRADED;
	if (e->verdict != MCSHM_UP)
		return DUMP_UNKNOWN;
	return e->probes > 0 && (e->history & 1) == 0 ?
	    DUMP_FAILING : DUMP_HEALTHY;
}

/* It came back with what it had, and is well: nobody has to mend anything.
 * One that would not be flushed, or that others reached while we did not, is
 * another matter. */
static bool
is_risk_alone(const struct mcshm_entry *e)
{
	return e->degraded == MCSHM_DEGRADED_STALE_RISK &&
	    (e->returned & (MCSHM_RETURNED_REFUSED |
		MCSHM_RETURNED_OUR_FAULT)) == 0;
}

static void
set_server(struct dump_pool *p, uint32_t slot)
{
	const struct dump_file *f = p->file;
	struct dump_server *s = &p->server[slot];

	s->slot = slot;
	s->roster = dump_file_roster(f, slot);
	s->entry = dump_file_entry(f, slot);
	s->rank = rank_of(p, s->entry, slot);
	s->usable = dump_file_bit(f, p->blind ? MCSHM_BITMAP_READY :
	    MCSHM_BITMAP_USABLE, slot);
	s->held = !p->blind && dump_file_bit(f, MCSHM_BITMAP_HELD, slot);
	p->ranks[s->rank]++;
	p->risks += s->rank == DUMP_DEGRADED && is_risk_alone(s->entry);
	p->maint += s->entry->admin == MCSHM_MAINT;
	p->drain += s->entry->admin == MCSHM_DRAIN;
	p->usable += s->usable;
}

int
dump_pool_init(struct dump_pool *p, const struct dump_file *f,
    struct dump_time now)
{
	*p = (struct dump_pool){ .file = f, .servers = f->h.servers,
		.section = dump_file_section(f, f->active), .time = now,
		.generation = f->h.generation & ~MCSHM_RETIRED };
	p->server = calloc(p->servers, sizeof *p->server);
	if (p->server == NULL)
		return -1;
	set_checker(p);
	for (uint32_t i = 0; i < p->servers; i++)
		set_server(p, i);
	p->sightless = p->ranks[DUMP_UNSEEN] != 0 &&
	    p->ranks[DUMP_UNSEEN] == p->usable;
	p->place = dump_file_place(f, p->blind);
	p->placed = scheme_known(&f->h);
	if (p->placed && dump_share(p) < 0) {
		dump_pool_free(p);
		return -1;
	}
	return 0;
}

void
dump_pool_free(struct dump_pool *p)
{
	free(p->server);
	p->server = NULL;
}

enum dump_exit
dump_pool_exit(const struct dump_pool *p)
{
	if (!p->alive || p->stale || p->fail_open || p->usable == 0 ||
	    p->vain != 0 || p->sightless || p->file->retired ||
	    p->file->refused != NULL)
		return DUMP_EXIT_UNPROTECTED;
	if (p->ranks[DUMP_DOWN] + p->ranks[DUMP_HELD] +
	    p->ranks[DUMP_RECOVERING] + p->ranks[DUMP_ODD] +
	    p->ranks[DUMP_UNSEEN] + p->ranks[DUMP_DEGRADED] > p->risks)
		return DUMP_EXIT_TROUBLE;
	return DUMP_EXIT_OK;
}

/* Times -------------------------------------------------------------------- */

/*
 * After a reboot the stored times are of another clock; but each section has
 * its own publication on both clocks.
 */
uint64_t
dump_pool_left(const struct dump_pool *p, uint64_t boot)
{
	return !p->rebooted && boot > p->time.boot ? boot - p->time.boot : 0;
}

bool
dump_pool_real(const struct dump_pool *p, uint64_t boot, uint64_t *real)
{
	const uint64_t at_boot =
	    p->rebooted ? p->section->published : p->time.boot;
	const uint64_t at_real =
	    p->rebooted ? p->section->published_real : p->time.real;

	if (boot == 0)
		return false;
	if (boot >= at_boot)
		*real = at_real;
	else if (at_boot - boot > at_real)
		return false;
	else
		*real = at_real - (at_boot - boot);
	return true;
}

bool
dump_pool_age(const struct dump_pool *p, uint64_t boot, uint64_t *age)
{
	uint64_t real;

	if (!dump_pool_real(p, boot, &real))
		return false;
	*age = real < p->time.real ? p->time.real - real : 0;
	return true;
}

bool
dump_pool_identified(const struct mcshm_entry *e)
{
	return e->identified != 0 && (e->server_pid | e->server_start |
	    e->cmd_flush | e->curr_items) != 0;
}

const struct dump_server *
dump_pool_find(const struct dump_pool *p, const char *name)
{
	char text[DUMP_LABEL];

	for (uint32_t i = 0; i < p->servers; i++) {
		dump_label(text, p->server[i].roster);
		if (strcmp(text, name) == 0)
			return &p->server[i];
	}
	for (uint32_t i = 0; i < p->servers; i++) {
		dump_address(text, p->server[i].roster);
		if (strcmp(text, name) == 0)
			return &p->server[i];
	}
	return NULL;
}
