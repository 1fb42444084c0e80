/*
 * conf_probe.c - keys that say how a server is probed and judged: which of them
 * mean anything, what they are when nobody writes them, what does not go
 * together.
 *
 * Must not probe, nor know how that is done.
 */
#include <string.h>

#include "conf_load.h"

/* Keys that mean something with one value of another key only. */
static const struct meaning {
	enum conf_key_id id, with;
	uint32_t value;
} meanings[] = {
	{ KEY_canary_size, KEY_probe, CONF_PROBE_SET },
	{ KEY_tls_ca, KEY_tls, 1 },
	{ KEY_tls_cert, KEY_tls, 1 },
	{ KEY_tls_key, KEY_tls, 1 },
	{ KEY_tls_name, KEY_tls, 1 },
	{ KEY_tls_verify, KEY_tls, 1 },
	{ KEY_flush_shared, KEY_on_recovery, CONF_RECOVERY_FLUSH },
	{ KEY_flush_refused, KEY_on_recovery, CONF_RECOVERY_FLUSH },
	{ KEY_flush_percent, KEY_on_recovery, CONF_RECOVERY_FLUSH },
};
#define MEANINGS (sizeof meanings / sizeof *meanings)

/* Keys that, from a value on, have no effect where another key is 0. */
static const struct idle {
	enum conf_key_id id;
	uint64_t from;
	enum conf_key_id with;
} idles[] = {
	{ KEY_thread_scan_interval, 1, KEY_stats_interval },
	{ KEY_on_worker_stuck, CONF_DEGRADED, KEY_thread_scan_interval },
	{ KEY_on_worker_stuck, CONF_DEGRADED, KEY_stats_interval },
	{ KEY_on_clock_stuck, CONF_DEGRADED, KEY_stats_interval },
	{ KEY_on_slow, CONF_DEGRADED, KEY_slow_threshold },
	{ KEY_flap_hold_max, 1, KEY_flap_hold },
	{ KEY_flap_window, 1, KEY_flap_hold },
	{ KEY_fail_open_max, 1, KEY_max_down_percent },
};
#define IDLES (sizeof idles / sizeof *idles)

static uint64_t
number_of(const struct conf_pool *p, enum conf_key_id id)
{
	const struct key *k = &conf_keys[id];

	return conf_number(k, (const char *)p + k->offset);
}

static bool
is_idle(const struct conf_pool *p, const struct idle *i)
{
	return number_of(p, i->id) >= i->from && number_of(p, i->with) == 0;
}

static bool
meaning_holds(const struct conf_pool *p, const struct meaning *m)
{
	return number_of(p, m->with) == m->value;
}

bool
conf_probe_means(const struct conf_pool *p, enum conf_key_id id)
{
	size_t i = 0;

	while (i < MEANINGS && meanings[i].id != id)
		i++;
	if (i < MEANINGS)
		return meaning_holds(p, &meanings[i]);
	for (i = 0; i < IDLES; i++)
		if (idles[i].id == id && is_idle(p, &idles[i]))
			return false;
	return true;
}

/* Written, and not to say that it is none. */
static bool
is_meant(struct load *l, struct draft *d, enum conf_key_id id)
{
	const struct key *k = &conf_keys[id];
	char value[CONF_FILE_BYTES + 1];

	if (!conf_has(d, id))
		return false;
	conf_value(value, k, conf_field(l, k, d));
	return strcmp(value, "none") != 0;
}

/* Two keys of which the first is not longer than the second: a default gives
 * way. */
static void
pair_compute(const struct draft *d, enum conf_key_id shorter, uint64_t *least,
    enum conf_key_id longer, uint64_t *most)
{
	if (*most >= *least)
		return;
	if (!conf_has(d, longer))
		*most = *least;
	else if (!conf_has(d, shorter))
		*least = *most;
}

/* [defaults] may say it to pools that have no use for it. */
static void
idle_compute(struct load *l, struct draft *d, enum conf_key_id id)
{
	const struct key *k = &conf_keys[id];

	if (conf_inherited(l, d, id))
		k->kind->parse(l, k, k->standard, conf_field(l, k, d));
}

void
conf_probe_compute(struct load *l, struct draft *d)
{
	struct conf_pool *p = &d->pool;

	pair_compute(d, KEY_down_interval, &p->down_interval,
	    KEY_down_interval_max, &p->down_interval_max);
	pair_compute(d, KEY_flap_hold, &p->flap_hold,
	    KEY_flap_hold_max, &p->flap_hold_max);
	for (size_t i = 0; i < MEANINGS; i++)
		if (!meaning_holds(p, &meanings[i]))
			idle_compute(l, d, meanings[i].id);
	for (size_t i = 0; i < IDLES; i++)
		if (is_idle(p, &idles[i]))
			idle_compute(l, d, idles[i].id);
}

/* Conflicts --------------------------------------------------------------- */

#define CURE_TEXT 120

/* Whoever writes it in a pool believes that it has an effect there. */
static void
meaning_conflict(struct load *l, struct draft *d, const struct meaning *m)
{
	const struct key *with = &conf_keys[m->with];
	char cure[CURE_TEXT];

	if (d == &l->defaults || conf_inherited(l, d, m->id) ||
	    !is_meant(l, d, m->id) || meaning_holds(&d->pool, m))
		return;
	snprintf(cure, sizeof cure, "leave it out, or write %s = %s",
	    with->name, with->kind->name(m->value));
	conf_conflict(l, d, m->id, m->with, "does not go with", cure);
}

static void
idle_conflict(struct load *l, struct draft *d, const struct idle *i)
{
	const struct key *with = &conf_keys[i->with];
	char cure[CURE_TEXT];

	if (d == &l->defaults || conf_inherited(l, d, i->id) ||
	    !conf_has(d, i->id) || !is_idle(&d->pool, i))
		return;
	snprintf(cure, sizeof cure, "leave it out, or write %s = %s",
	    with->name, with->standard);
	conf_conflict(l, d, i->id, i->with, "does not go with", cure);
}

/* What takes an answer of the server. */
static void
tcp_conflicts(struct load *l, struct draft *d)
{
	static const enum conf_key_id talk[] = { KEY_expect_version,
		KEY_maintenance_key, KEY_on_recovery };

	char cure[CURE_TEXT];

	for (size_t i = 0; i < sizeof talk / sizeof *talk; i++) {
		if (!is_meant(l, d, talk[i]))
			continue;
		snprintf(cure, sizeof cure, conf_inherited(l, d, talk[i]) ?
		    "write %s = none in the pool, or probe = version" :
		    "leave %s out, or write probe = version",
		    conf_keys[talk[i]].name);
		conf_conflict(l, d, talk[i], KEY_probe, "does not go with",
		    cure);
	}
}

static void
certificate_conflict(struct load *l, struct draft *d)
{
	const bool cert = *d->pool.tls_cert != '\0';

	conf_conflict(l, d, cert ? KEY_tls_cert : KEY_tls_key,
	    cert ? KEY_tls_key : KEY_tls_cert, "does not go with",
	    "write both, or none of them");
}

void
conf_probe_conflicts(struct load *l, struct draft *d)
{
	const struct conf_pool *p = &d->pool;

	for (size_t i = 0; i < MEANINGS; i++)
		meaning_conflict(l, d, &meanings[i]);
	for (size_t i = 0; i < IDLES; i++)
		idle_conflict(l, d, &idles[i]);
	if (p->down_interval_max < p->down_interval)
		conf_conflict(l, d, KEY_down_interval_max, KEY_down_interval,
		    "is shorter than", "write a longer down_interval_max or a "
		    "shorter down_interval");
	if (p->flap_hold_max < p->flap_hold)
		conf_conflict(l, d, KEY_flap_hold_max, KEY_flap_hold,
		    "is shorter than", "write a longer flap_hold_max or a "
		    "shorter flap_hold");
	if (p->probe == CONF_PROBE_TCP)
		tcp_conflicts(l, d);
	if (p->tls && !*p->tls_cert != !*p->tls_key)
		certificate_conflict(l, d);
}

/* Warnings ---------------------------------------------------------------- */

void
conf_probe_warn(struct load *l, struct draft *d)
{
	if (conf_has(d, KEY_probe) && !conf_inherited(l, d, KEY_probe) &&
	    d->pool.probe == CONF_PROBE_TCP)
		conf_warn_at(l, d->at[KEY_probe], "probes by tcp see no server "
		    "that hangs: the kernel takes connections for it; write "
		    "probe = version");
	if (d->exposed)
		conf_warn_at(l, d->at[KEY_auth_file], "auth_file = %s, with a "
		    "password in it, is open to everybody on this host; take "
		    "that away with chmod o=", d->pool.auth_file);
}
