/*
 * conf_key.h - the keys of the ini: one row is all there is to know of one.
 *
 * Private to conf*.c.  Reading, defaults, ranges, messages, the dump and the
 * test of the manual come from here; a key is in no other list.
 */
#ifndef CONF_KEY_H
#define CONF_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf.h"

#define CONF_MS UINT64_C(1000000)
#define CONF_SECOND (1000 * CONF_MS)
#define CONF_MINUTE (60 * CONF_SECOND)
#define CONF_HOUR (60 * CONF_MINUTE)

/* "file = DIR/NAME.mcshm" has to fit into a line of inih's. */
#define CONF_FILE_BYTES 191
#define CONF_DIRECTORY_BYTES						\
	(CONF_FILE_BYTES - 1 - MCSHM_POOL_MAX - (sizeof MCSHM_SUFFIX - 1))

/* memcached takes what is longer for a date: 30 days. */
#define CONF_TTL_SECONDS (30 * 24 * 3600)

#define CONF_VERSION_BYTES 60
#define CONF_MAINTENANCE_BYTES 150	/* of 250 that memcached has */

/* auth_file and what it has are one value. */
#define CONF_AUTH_SIZE (CONF_TEXT + 2 * CONF_LOGIN)

enum {			/* bits: the sections that a key may stand in */
	CONF_CHECKER = 1,
	CONF_DEFAULTS = 2,
	CONF_POOL = 4,
	CONF_BOTH = CONF_DEFAULTS | CONF_POOL
};
/* And the struct that has its field. */
#define CONF_CHECKER_BASE conf
#define CONF_POOL_BASE conf_pool
#define CONF_BOTH_BASE conf_pool

/*
 * section, name, field, kind, least, most, default.  Bounds are in ns, seconds,
 * percent or pieces; of a path, in bytes.  No default: conf_check.c has it, or
 * conf_scheme.c.
 */
#define CONF_KEYS(X)							\
	X(CHECKER, directory, directory, path,				\
	    0, CONF_DIRECTORY_BYTES, MCSHM_DEFAULT_DIR)			\
	X(CHECKER, heartbeat, heartbeat, time,				\
	    10 * CONF_MS, CONF_MINUTE, "1s")				\
	X(CHECKER, stale_after, stale_after, time,			\
	    100 * CONF_MS, CONF_HOUR, "30s")				\
	X(CHECKER, log_probes, log_probes, log, 0, 0, "none")		\
	X(CHECKER, reports, reports, yes, 0, 0, "yes")			\
	X(CHECKER, tilt_after, tilt_after, time,			\
	    100 * CONF_MS, CONF_MINUTE, "500ms")			\
	X(CHECKER, tilt_for, tilt_for, time, 0, 10 * CONF_MINUTE, "5s")	\
	X(POOL, file, file, path, 0, CONF_FILE_BYTES, NULL)		\
	X(BOTH, scheme, set.scheme, scheme, 0, 0, "maglev")		\
	X(BOTH, hash, set.hash, hash, 0, 0, NULL)			\
	X(BOTH, points_hash, set.points_hash, points, 0, 0, NULL)	\
	X(BOTH, hash_chars, set.hash_flags, chars, 0, 0, "signed")	\
	X(BOTH, hash_tag, set.hash_tag, tag, 0, 0, "none")		\
	X(BOTH, dead, dead, dead, 0, 0, "rehash")			\
	X(BOTH, failover_ttl, failover_ttl, seconds,			\
	    0, CONF_TTL_SECONDS, "0")					\
	X(BOTH, interval, interval, time,				\
	    10 * CONF_MS, CONF_HOUR, "1s")				\
	X(BOTH, fast_interval, fast_interval, time,			\
	    10 * CONF_MS, CONF_HOUR, "250ms")				\
	X(BOTH, down_interval, down_interval, time,			\
	    10 * CONF_MS, CONF_HOUR, "1s")				\
	X(BOTH, timeout, timeout, time, CONF_MS, CONF_MINUTE, "750ms")	\
	X(BOTH, connect_timeout, connect_timeout, time,			\
	    CONF_MS, CONF_MINUTE, "1500ms")				\
	X(BOTH, fall, fall, count, 1, 64, "3")				\
	X(BOTH, rise, rise, count, 1, 64, "3")				\
	X(BOTH, fall_ratio, ratio_bad, ratio, 0, 0, "5/20")		\
	X(BOTH, hold_after, hold_after, time, 0, CONF_HOUR, "1s")	\
	X(BOTH, rehash_after, rehash_after, time, 0, CONF_HOUR, "5s")	\
	X(BOTH, min_down_time, min_down_time, time, 0, CONF_HOUR, "5s") \
	X(BOTH, jitter, jitter, percent, 0, 50, "10%")			\
	X(BOTH, down_interval_max, down_interval_max, time,		\
	    10 * CONF_MS, CONF_HOUR, "5s")				\
	X(BOTH, probe, probe, probe, 0, 0, "version")			\
	X(BOTH, canary_size, canary_size, count, 1, 65536, "1024")	\
	X(BOTH, fresh_every, fresh_every, count, 0, 1000000, "10")	\
	X(BOTH, source, source, source, 0, 0, "none")			\
	X(BOTH, auth_file, auth_file, auth, 0, CONF_TEXT_BYTES, "none")	\
	X(BOTH, tls, tls, yes, 0, 0, "no")				\
	X(BOTH, tls_ca, tls_ca, some_path, 0, CONF_TEXT_BYTES, "none")	\
	X(BOTH, tls_cert, tls_cert, some_path,				\
	    0, CONF_TEXT_BYTES, "none")					\
	X(BOTH, tls_key, tls_key, some_path,				\
	    0, CONF_TEXT_BYTES, "none")					\
	X(BOTH, tls_name, tls_name, host, 0, CONF_TEXT_BYTES, "none")	\
	X(BOTH, tls_verify, tls_verify, yes, 0, 0, "yes")		\
	X(BOTH, expect_version, expect_version, pattern,		\
	    0, CONF_VERSION_BYTES, "none")				\
	X(BOTH, maintenance_key, maintenance_key, word,			\
	    0, CONF_MAINTENANCE_BYTES, "none")				\
	X(BOTH, stats_interval, stats_interval, period,			\
	    100 * CONF_MS, CONF_HOUR, "10s")				\
	X(BOTH, thread_scan_interval, thread_scan_interval, period,	\
	    100 * CONF_MS, CONF_HOUR, "30s")				\
	X(BOTH, slow_threshold, slow_threshold, time,			\
	    0, CONF_MINUTE, "100ms")					\
	X(BOTH, on_worker_stuck, on_worker_stuck, policy,		\
	    0, 0, "degraded")						\
	X(BOTH, on_listener_stuck, on_listener_stuck, policy,		\
	    0, 0, "degraded")						\
	X(BOTH, on_clock_stuck, on_clock_stuck, policy, 0, 0, "down")	\
	X(BOTH, on_maxconns, on_maxconns, policy, 0, 0, "degraded")	\
	X(BOTH, on_no_memory, on_no_memory, policy, 0, 0, "degraded")	\
	X(BOTH, on_slow, on_slow, policy, 0, 0, "degraded")		\
	X(BOTH, flap_hold, flap_hold, time, 0, CONF_HOUR, "30s")	\
	X(BOTH, flap_hold_max, flap_hold_max, time, 0, CONF_HOUR, "5m")	\
	X(BOTH, flap_window, flap_window, time,				\
	    CONF_SECOND, 24 * CONF_HOUR, "5m")				\
	X(BOTH, awareness, awareness, count, 0, 8, "3")			\
	X(BOTH, max_down_percent, max_down_percent, percent,		\
	    0, 100, "50%")						\
	X(BOTH, fail_open_max, fail_open_max, time,			\
	    100 * CONF_MS, 24 * CONF_HOUR, "1m")			\
	X(BOTH, on_recovery, on_recovery, recovery, 0, 0, "none")	\
	X(BOTH, flush_shared, flush_shared, yes, 0, 0, "no")		\
	X(BOTH, flush_refused, flush_refused, refused, 0, 0, "up")	\
	X(BOTH, flush_percent, flush_percent, percent, 1, 100, "20%")	\
	X(POOL, include, servers, include, 0, 0, NULL)			\
	X(POOL, server, servers, server, 0, 0, NULL)			\
	X(POOL, buckets, map, buckets, 0, 0, NULL)

enum conf_key_id {
#define X(section, name, ...) KEY_##name,
	CONF_KEYS(X)
#undef X
	KEYS
};

#define CONF_LIST_TEXT 400	/* "none, failures or all" */
#define CONF_NUMBER_TEXT 48
#define CONF_RANGE_TEXT (2 * CONF_NUMBER_TEXT + 12)

struct load;
struct key;

/* How the values of a kind are read and written. */
struct kind {
	/* Into *field; false: there has been a complaint. */
	bool (*parse)(struct load *l, const struct key *k, const char *text,
	    void *field);
	/* Numbers: why text is none, or NULL and *n; and back. */
	const char *(*scan)(const char *text, uint64_t *n);
	void (*number)(char text[CONF_NUMBER_TEXT], uint64_t n);
	/* Choices: the name of each below CONF_CHOICES, NULL where there is
	 * none. */
	const char *(*name)(uint32_t id);
	/* Texts. */
	void (*write)(char text[CONF_FILE_BYTES + 1], const void *field);
	bool off;	/* numbers: 0 may be written, whatever the range */
	size_t size;	/* of the field; 0: there is no single value */
};

struct key {
	const char *name;
	const struct kind *kind;
	unsigned sections;
	size_t offset;	/* in struct conf, or in struct conf_pool */
	uint64_t min, max;	/* both 0: the kind is all there is to say */
	const char *standard;	/* the default */
};

extern const struct key conf_keys[KEYS];

/* What server lines have behind the address: keys with fields in struct
 * server. */
#define CONF_OPTIONS 2
extern const struct key conf_options[CONF_OPTIONS];

/* "none, failures or all", of the numbers below CONF_CHOICES that have a name
 * and are among them. */
#define CONF_CHOICES 64
struct conf_choices {
	const char *(*name)(uint32_t id);
	bool (*among)(uint32_t of, uint32_t id);	/* NULL: all */
	uint32_t of;
};
void conf_list(char text[CONF_LIST_TEXT], const struct conf_choices *c);

/* "10ms to 1h", "" where there is nothing to say. */
void conf_range(char text[CONF_RANGE_TEXT], const struct key *k);
/* A number or choice, of whatever size. */
uint64_t conf_number(const struct key *k, const void *field);
/* Any single value, as it would be written; room for CONF_FILE_BYTES + 1. */
void conf_value(char text[CONF_FILE_BYTES + 1], const struct key *k,
    const void *field);

#endif
