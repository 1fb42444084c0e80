/*
 * checker_terms.c - to people: what became of a pool's file, and of the terms
 * on which keys are placed.
 *
 * Must not change what it tells of.
 */
#include "checker_line.h"

#include <stdio.h>
#include <string.h>

#include "log.h"
#include "scheme.h"

static void
line_change(struct line *l, const char *key, const char *was, const char *is)
{
	if (strcmp(was, is) != 0)
		line_add(l, " %s=%s->%s", key, was, is);
}

static void
line_tags(struct line *l, uint32_t was, uint32_t is)
{
	char text[2][5] = { "none", "none" };
	const uint32_t tag[2] = { was, is };

	for (int i = 0; i < 2; i++)
		if (tag[i] != 0)
			snprintf(text[i], sizeof text[i], "%c%c",
			    (int)(tag[i] & 0xff), (int)(tag[i] >> 8));
	line_change(l, "hash_tag", text[0], text[1]);
}

static void
line_seconds(struct line *l, const char *key, uint32_t was, uint32_t is)
{
	if (was != is)
		line_add(l, " %s=%us->%us", key, was, is);
}

static const char *
chars_word(const struct scheme_setting *set)
{
	return set->hash_flags & MCSHM_HASH_UNSIGNED ? "unsigned" : "signed";
}

/* As the ini says it. */
static const char *
dead_word(uint32_t dead)
{
	switch (dead) {
	case MCSHM_DEAD_MISS:
		return "miss";
	case MCSHM_DEAD_ERROR:
		return "error";
	default:
		return "rehash";
	}
}

/* What places keys, in the words of the ini.  A ring's hash is said where it
 * is not the key's. */
static void
line_placement(struct line *l, const struct publish_terms *was,
    const struct publish_terms *is)
{
	const struct scheme_setting *a = &was->set, *b = &is->set;

	line_change(l, "scheme", scheme_name(a->scheme),
	    scheme_name(b->scheme));
	line_change(l, "hash", scheme_hash_name(a->hash),
	    scheme_hash_name(b->hash));
	if (a->points_hash != a->hash || b->points_hash != b->hash)
		line_change(l, "points_hash", scheme_hash_name(a->points_hash),
		    scheme_hash_name(b->points_hash));
	line_change(l, "hash_chars", chars_word(a), chars_word(b));
	line_tags(l, a->hash_tag, b->hash_tag);
	if (was->map != is->map)
		line_add(l, " buckets=changed");
}

/* True: keys are placed in another way. */
static bool
line_terms(struct line *l, const struct publish_terms *was,
    const struct publish_terms *is)
{
	const size_t before = l->len;
	size_t placed;

	line_placement(l, was, is);
	placed = l->len;
	line_change(l, "dead", dead_word(was->dead), dead_word(is->dead));
	line_seconds(l, "failover_ttl", was->failover_ttl, is->failover_ttl);
	return placed != before;
}

static void
tell_exchanged(const struct pool *p, const struct publish_event *e)
{
	struct line l = { 0 };

	line_add(&l, "pool %s: %u -> %u servers, %.1f %% of keys get "
	    "another home", p->roster.pool, e->before, e->after,
	    e->moved * 100);
	tell_at(line_terms(&l, &e->was, &e->is), l.text);
}

void
tell_event(const struct pool *p, const struct publish_event *e)
{
	switch (e->kind) {
	case PUBLISH_EXCHANGED:
		tell_exchanged(p, e);
		return;
	case PUBLISH_REMADE:
		log_warning("pool %s: file was gone or not ours, made anew "
		    "file=%s", p->roster.pool, p->path);
		return;
	case PUBLISH_FAILED:
		log_err("pool %s: cannot publish%s, tried again each heartbeat: "
		    "%s: %s", p->roster.pool, e->vain ? " what was read, "
		    "clients still have the old servers" : "", e->what,
		    strerror(e->error));
		return;
	case PUBLISH_WORKS:
		log_notice("pool %s: publishes again", p->roster.pool);
		return;
	}
}

void
tell_moved(const struct pool *p, const struct pool *old, bool same)
{
	const struct publish_terms was = publish_roster_terms(&old->roster);
	const struct publish_terms is = publish_roster_terms(&p->roster);
	struct line l = { 0 };
	size_t head;
	bool placed;

	line_add(&l, "pool %s: %u -> %u servers", p->roster.pool,
	    old->roster.servers.n, p->roster.servers.n);
	head = l.len;
	placed = line_terms(&l, &was, &is);
	if (!same || l.len != head)
		tell_at(placed, l.text);
	log_warning("pool %s: file is now %s; clients that have the old one "
	    "open fall back to all READY servers until they open the new one",
	    p->roster.pool, p->path);
}
