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

/* Keys that, from a value on, have no effect where another key is this; or
 * where two are. */
static const struct idle {
	enum conf_key_id id;
	uint64_t from;
	enum conf_key_id with;
	uint64_t value;
	enum conf_key_id also;
	uint64_t also_value;
} idles[] = {
#define IDLE(id, from, with, value)					\
	{ KEY_##id, from, KEY_##with, value, KEY_##with, value }
#define IDLE_BOTH(id, from, with, value, also, also_value)		\
	{ KEY_##id, from, KEY_##with, value, KEY_##also, also_value }
	IDLE(stats_interval, 1, probe, CONF_PROBE_TCP),
	IDLE(thread_scan_interval, 1, probe, CONF_PROBE_TCP),
	IDLE(thread_scan_interval, 1, stats_interval, 0),
	IDLE(on_worker_stuck, CONF_DEGRADED, probe, CONF_PROBE_TCP),
	IDLE(on_worker_stuck, CONF_DEGRADED, thread_scan_interval, 0),
	IDLE(on_worker_stuck, CONF_DEGRADED, stats_interval, 0),
	/* Somebody has to make a new connection beside the kept one. */
	IDLE(on_listener_stuck, CONF_DEGRADED, probe, CONF_PROBE_TCP),
	IDLE_BOTH(on_listener_stuck, CONF_DEGRADED, fresh_every, 0,
	    thread_scan_interval, 0),
	IDLE_BOTH(on_listener_stuck, CONF_DEGRADED, fresh_every, 0,
	    stats_interval, 0),
	IDLE_BOTH(on_listener_stuck, CONF_DEGRADED, fresh_every, 0,
	    on_worker_stuck, CONF_IGNORE),
	IDLE(on_clock_stuck, CONF_DEGRADED, probe, CONF_PROBE_TCP),
	IDLE(on_clock_stuck, CONF_DEGRADED, stats_interval, 0),
	IDLE(on_maxconns, CONF_DEGRADED, probe, CONF_PROBE_TCP),
	/* A canary is another way to see it. */
	IDLE(on_no_memory, CONF_DEGRADED, probe, CONF_PROBE_TCP),
	IDLE_BOTH(on_no_memory, CONF_DEGRADED, stats_interval, 0,
	    probe, CONF_PROBE_VERSION),
	IDLE_BOTH(on_no_memory, CONF_DEGRADED, stats_interval, 0,
	    probe, CONF_PROBE_MN),
	IDLE_BOTH(on_no_memory, CONF_DEGRADED, stats_interval, 0,
	    probe, CONF_PROBE_STATS),
	IDLE(on_slow, CONF_DEGRADED, slow_threshold, 0),
	IDLE(flap_hold_max, 1, flap_hold, 0),
	IDLE(flap_window, 1, flap_hold, 0),
	IDLE(fail_open_max, 1, max_down_percent, 0),
#undef IDLE
#undef IDLE_BOTH
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
	return number_of(p, i->id) >= i->from &&
	    number_of(p, i->with) == i->value &&
	    number_of(p, i->also) == i->also_value;
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

/* What takes an answer of the server, or is said to it. */
static void
tcp_conflicts(struct load *l, struct draft *d)
{
	static const enum conf_key_id talk[] = { KEY_auth_file,
		KEY_expect_version, KEY_maintenance_key, KEY_on_recovery };

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

/* Files ------------------------------------------------------------------- */

/* Of a value that is in [defaults] once for all. */
static void
look_refuse(struct load *l, struct draft *d, enum conf_key_id id,
    const char *why)
{
	conf_complain_at(l, d->at[id], "%s", why);
	if (conf_inherited(l, d, id))
		l->defaults.at[id].bad = true;
	d->at[id].bad = true;
}

/* What [defaults] say is looked at once, for all pools. */
static bool
look_at(struct load *l, struct draft *d, enum conf_key_id id,
    enum conf_tls what)
{
	const uint32_t mark = conf_inherited(l, d, id) ?
	    UINT32_C(1) << what : 0;
	char why[CONF_WHY];

	if (d->at[id].bad)
		return false;
	if (l->looked & mark)
		return true;
	if (!l->look(&d->pool, what, why)) {
		look_refuse(l, d, id, why);
		return false;
	}
	l->looked |= mark;
	return true;
}

/* Said of the pool that has written one of the two. */
static void
look_at_pair(struct load *l, struct draft *d)
{
	const uint32_t mark = conf_inherited(l, d, KEY_tls_cert) &&
	    conf_inherited(l, d, KEY_tls_key) ?
	    UINT32_C(1) << CONF_TLS_PAIR : 0;
	char why[CONF_WHY];

	if (l->looked & mark)
		return;
	if (l->look(&d->pool, CONF_TLS_PAIR, why))
		l->looked |= mark;
	else if (mark != 0)
		look_refuse(l, d, KEY_tls_key, why);
	else
		conf_conflict(l, d, KEY_tls_key, KEY_tls_cert,
		    "is not the key of", "name the one of that certificate");
}

void
conf_probe_look(struct load *l, struct draft *d)
{
	const struct conf_pool *p = &d->pool;
	bool cert, key;

	if (!l->look || !p->tls || !look_at(l, d, KEY_tls, CONF_TLS))
		return;
	if (*p->tls_ca)
		look_at(l, d, KEY_tls_ca, CONF_TLS_CA);
	cert = *p->tls_cert && look_at(l, d, KEY_tls_cert, CONF_TLS_CERT);
	key = *p->tls_key && look_at(l, d, KEY_tls_key, CONF_TLS_KEY);
	if (cert && key)
		look_at_pair(l, d);
}

/* Warnings ---------------------------------------------------------------- */

/* The pool's two values are both of [defaults]: said once, of the first one. */
static bool
is_said(struct load *l, const struct draft *d, enum conf_key_id id,
    enum conf_key_id with, uint32_t *said)
{
	const uint32_t mark = UINT32_C(1) << (id - KEY_auth_file);

	static_assert(KEY_tls_cert - KEY_auth_file < 32, "a bit for each");
	if (!conf_inherited(l, d, id) || !conf_inherited(l, d, with))
		return false;
	if (*said & mark)
		return true;
	*said |= mark;
	return false;
}

static void
warn_soon(struct load *l, struct draft *d)
{
	char why[CONF_WHY];

	if (l->look && *d->pool.tls_cert &&
	    !is_said(l, d, KEY_tls_cert, KEY_tls_cert, &l->warned) &&
	    !l->look(&d->pool, CONF_TLS_SOON, why))
		conf_warn_at(l, d->at[KEY_tls_cert], "%s", why);
}

/* Who answers is not looked at: what is there for it to be looked at with?  And
 * whoever it is gets the password. */
static void
warn_unverified(struct load *l, struct draft *d)
{
	const struct conf_pool *p = &d->pool;
	const struct spot at = d->at[KEY_tls_verify];

	if (*p->tls_ca &&
	    !is_said(l, d, KEY_tls_ca, KEY_tls_verify, &l->warned))
		conf_warn_at(l, at, "pool %s: tls_verify = no, and tls_ca = %s "
		    "is not used; write tls_verify = yes, or leave tls_ca out",
		    p->name, p->tls_ca);
	if (*p->auth_file &&
	    !is_said(l, d, KEY_auth_file, KEY_tls_verify, &l->warned))
		conf_warn_at(l, at, "pool %s: tls_verify = no, and the "
		    "password in auth_file = %s is told to whoever answers at "
		    "a server's address; write tls_verify = yes", p->name,
		    p->auth_file);
}

static void
warn_tls(struct load *l, struct draft *d)
{
	if (!d->pool.tls || d == &l->defaults)
		return;
	warn_soon(l, d);
	if (!d->pool.tls_verify)
		warn_unverified(l, d);
}

/* There are servers of other kinds whose version is of two words, and the first
 * is a name. */
static void
warn_version(struct load *l, struct draft *d)
{
	const char *pattern = d->pool.expect_version;

	if (conf_has(d, KEY_expect_version) &&
	    !conf_inherited(l, d, KEY_expect_version) &&
	    strpbrk(pattern, CONF_BLANKS) && *pattern >= '0' && *pattern <= '9')
		conf_warn_at(l, d->at[KEY_expect_version], "expect_version = %s "
		    "is one pattern, with a blank in it, and no version of "
		    "memcached's has one; write one for all of them, as 1.[56]"
		    ".*", pattern);
}

void
conf_probe_warn(struct load *l, struct draft *d)
{
	warn_tls(l, d);
	warn_version(l, d);
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
