/*
 * conf.h - the ini file: read, checked, dumped.
 *
 * One row of the table in conf.c is all there is to know of a key.  Every
 * error is reported, as "file:line: what is wrong; what would be right".
 * struct conf stops at main.
 */
#ifndef CONF_H
#define CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mcshm_format.h"
#include "scheme.h"
#include "servers.h"

enum conf_log_probes { CONF_LOG_NONE, CONF_LOG_FAILURES, CONF_LOG_ALL };
enum conf_probe { CONF_PROBE_VERSION, CONF_PROBE_MN, CONF_PROBE_STATS,
	CONF_PROBE_SET, CONF_PROBE_TCP };
/* What a fault makes of a server that answers. */
enum conf_policy { CONF_IGNORE, CONF_DEGRADED, CONF_DOWN };
enum conf_recovery { CONF_RECOVERY_NONE, CONF_RECOVERY_FLUSH };
enum conf_refused { CONF_REFUSED_UP, CONF_REFUSED_STAY };

/* Texts lie in the struct; "": none. */
#define CONF_TEXT_BYTES 180
#define CONF_TEXT (CONF_TEXT_BYTES + 1)
/* "user:password" and a NUL; memcached -Y takes no more of it. */
#define CONF_LOGIN 256

struct conf_pool {
	char name[MCSHM_POOL_MAX + 1];
	char *file;			/* path of its mcshm file */
	struct scheme_setting set;
	uint16_t *map;			/* buckets: slots, each below servers.n;
					 * scheme_takes_map() */
	uint32_t maps;			/* of them; 0: none were written */
	uint32_t dead;			/* enum mcshm_dead */
	uint32_t failover_ttl;		/* s */
	uint64_t interval, fast_interval, down_interval;	/* ns */
	uint64_t timeout, connect_timeout;
	uint64_t hold_after, rehash_after, min_down_time;
	uint32_t fall, rise;
	uint32_t ratio_bad, ratio_of;	/* fall_ratio; 0/0: off */
	uint32_t jitter;		/* percent */
	uint64_t down_interval_max;	/* ns */
	uint32_t probe;			/* enum conf_probe */
	uint32_t canary_size;		/* bytes */
	uint32_t fresh_every;		/* probes; 0: never */
	struct mcshm_address source[2];	/* IPv4, IPv6; kind NONE: any, port 0 */
	char auth_file[CONF_TEXT];
	char user[CONF_LOGIN], password[CONF_LOGIN];	/* that it has */
	uint32_t tls;			/* 1: yes */
	char tls_ca[CONF_TEXT], tls_cert[CONF_TEXT], tls_key[CONF_TEXT];
	char tls_name[CONF_TEXT];	/* "": the server's host */
	uint32_t tls_verify;		/* 1: yes */
	char expect_version[CONF_TEXT];	/* for fnmatch(3) */
	char maintenance_key[CONF_TEXT];
	uint64_t stats_interval, thread_scan_interval;	/* ns; 0: off */
	uint64_t slow_threshold;	/* ns; 0: off */
	uint32_t on_worker_stuck, on_listener_stuck;	/* enum conf_policy */
	uint32_t on_clock_stuck, on_maxconns, on_no_memory, on_slow;
	uint64_t flap_hold, flap_hold_max, flap_window;	/* ns */
	uint32_t awareness;		/* rehash_after times 1 + this at most */
	uint32_t max_down_percent;	/* 0: off */
	uint64_t fail_open_max;		/* ns */
	uint32_t on_recovery;		/* enum conf_recovery */
	uint32_t flush_shared;		/* 1: yes */
	uint32_t flush_refused;		/* enum conf_refused */
	uint32_t flush_percent;
	struct servers servers;
};

struct conf {
	char *path;			/* of the ini, as given */
	char *directory;		/* of the pool files */
	uint64_t heartbeat, stale_after;	/* ns */
	uint32_t log_probes;		/* enum conf_log_probes */
	uint32_t reports;		/* 1: take them from clients */
	uint64_t tilt_after, tilt_for;	/* ns */
	struct conf_pool *pool;
	uint32_t pools;
};

/*
 * What pools with TLS name is read by others, who look at one thing at a time:
 * that TLS can be had, each file by itself, and the key and the certificate
 * together, where each is good.  False, and why: "KEY = VALUE is not good; what
 * would be right".  SOON: of a certificate that is good now, false where it is
 * not so for long; and that is a warning.
 */
enum conf_tls { CONF_TLS, CONF_TLS_CA, CONF_TLS_CERT, CONF_TLS_KEY,
	CONF_TLS_PAIR, CONF_TLS_SOON };
#define CONF_WHY 400
typedef bool conf_look(const struct conf_pool *p, enum conf_tls what,
    char why[CONF_WHY]);

/*
 * Read path.  0, and lines in errors are warnings; or the number of errors,
 * each written there as a line of its own, and *c is not touched.  NULL: they
 * are thrown away.  conf_free() it.  look may be NULL.
 */
unsigned conf_load(struct conf *c, const char *path, conf_look *look,
    FILE *errors);
void conf_free(struct conf *c);

/* The effective values as an ini that loads to the same; keys that mean nothing
 * to a pool are left out, and what is in its auth_file, too. */
void conf_dump(const struct conf *c, FILE *out);

/* One key, for whoever explains them: the test of the manual does. */
struct conf_key {
	const char *name;
	bool checker, defaults, pool;	/* sections that it may stand in */
	const char *standard;	/* the default; NULL: none, or it depends */
	char range[108];	/* "10ms to 1h"; "" where there is none */
};
/* The i-th key; false past the last. */
bool conf_key(struct conf_key *k, unsigned i);

#endif
