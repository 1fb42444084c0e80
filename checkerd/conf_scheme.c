/*
 * conf_scheme.c - keys that say how a key finds its server: what they are when
 * nobody writes them, which of them mean anything, what does not go together.
 *
 * Must not know a scheme by name: scheme.h says what each one takes.
 */
#include "conf_load.h"
#include "scheme.h"

bool
conf_points_are_free(uint32_t scheme)
{
	const uint32_t given = scheme_default_points_hash(scheme, 0);

	for (uint32_t id = 1; id < MCSHM_HASHES; id++)
		if (id != given && scheme_takes_points_hash(scheme, 0, id))
			return true;
	return false;
}

/* Whether it matters to this hash what a char is: a third one that is no ASCII,
 * the only one where some look, gives another number. */
static bool
hash_has_chars(struct scheme_setting set, uint32_t hash)
{
	static const char text[] = "ab\xff";
	uint64_t as_signed;

	set.hash = hash;
	set.hash_tag = 0;
	set.hash_flags = 0;
	as_signed = scheme_key(&set, text, 3).h;
	set.hash_flags = MCSHM_HASH_UNSIGNED;
	return scheme_key(&set, text, 3).h != as_signed;
}

bool
conf_scheme_means(const struct scheme_setting *set, enum conf_key_id id)
{
	switch (id) {
	case KEY_points_hash:
		return conf_points_are_free(set->scheme);
	case KEY_hash_tag:
		return scheme_takes_hash_tag(set->scheme);
	case KEY_hash_chars:
		return hash_has_chars(*set, set->hash) ||
		    hash_has_chars(*set, set->points_hash);
	default:
		return true;
	}
}

void
conf_scheme_compute(struct draft *d)
{
	struct scheme_setting *set = &d->pool.set;

	if (!conf_has(d, KEY_hash))
		set->hash = scheme_default_hash(set->scheme);
	if (!conf_has(d, KEY_points_hash))
		set->points_hash = scheme_default_points_hash(set->scheme,
		    set->hash);
	/* [defaults] may say it to pools that do not care. */
	if (!conf_scheme_means(set, KEY_hash_chars))
		set->hash_flags = 0;
}

/* Conflicts --------------------------------------------------------------- */

#define CURE_TEXT (CONF_LIST_TEXT + 80)

static void
hash_conflict(struct load *l, struct draft *d)
{
	const uint32_t scheme = d->pool.set.scheme;
	const bool from_defaults = conf_inherited(l, d, KEY_hash);
	const struct conf_choices taken = {
		scheme_hash_name, scheme_takes_hash, scheme };
	char list[CONF_LIST_TEXT], cure[CURE_TEXT];

	conf_list(list, &taken);
	snprintf(cure, sizeof cure, from_defaults ?
	    "write hash = %s in the pool" :
	    "write hash = %s, or leave it out", list);
	conf_conflict(l, d, KEY_hash, KEY_scheme, "does not go with", cure);
}

/* The first scheme that takes a key; there is one. */
static const char *
taker(bool (*takes)(uint32_t scheme))
{
	uint32_t scheme = 1;

	while (scheme + 1 < MCSHM_SCHEMES && !takes(scheme))
		scheme++;
	return scheme_name(scheme);
}

static void
points_conflict(struct load *l, struct draft *d)
{
	char cure[CURE_TEXT];

	snprintf(cure, sizeof cure, conf_inherited(l, d, KEY_points_hash) ?
	    "write points_hash in the pools with scheme = %s only" :
	    "leave it out, or write scheme = %s", taker(conf_points_are_free));
	conf_conflict(l, d, KEY_points_hash, KEY_scheme, "does not go with",
	    cure);
}

static void
tag_conflict(struct load *l, struct draft *d)
{
	conf_conflict(l, d, KEY_hash_tag, KEY_scheme, "does not go with",
	    conf_inherited(l, d, KEY_hash_tag) ?
	    "write hash_tag = none in the pool" : "leave it out");
}

static void
buckets_conflict(struct load *l, struct draft *d)
{
	char cure[CURE_TEXT];

	snprintf(cure, sizeof cure, "leave them out, or write scheme = %s",
	    taker(scheme_takes_map));
	conf_conflict(l, d, KEY_buckets, KEY_scheme, "do not go with", cure);
}

void
conf_scheme_conflicts(struct load *l, struct draft *d)
{
	const struct scheme_setting *set = &d->pool.set;

	if (!scheme_takes_hash(set->scheme, set->hash))
		hash_conflict(l, d);
	if (conf_has(d, KEY_points_hash) &&
	    !conf_points_are_free(set->scheme))
		points_conflict(l, d);
	if (set->hash_tag != 0 && !scheme_takes_hash_tag(set->scheme))
		tag_conflict(l, d);
	if (d->pool.maps > 0 && !scheme_takes_map(set->scheme))
		buckets_conflict(l, d);
}
