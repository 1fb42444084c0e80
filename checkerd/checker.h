/*
 * checker.h - the engine: due -> probe -> verdict -> publish -> log.
 *
 * Runs on one libev loop, in one thread.  The only unit that reads the clock.
 */
#ifndef CHECKER_H
#define CHECKER_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "doubt.h"
#include "failopen.h"
#include "faults.h"
#include "notify.h"
#include "publish.h"
#include "schedule.h"
#include "servers.h"
#include "tls.h"
#include "verdict.h"

struct checker;

enum checker_probe { CHECKER_PROBE_VERSION, CHECKER_PROBE_MN,
	CHECKER_PROBE_STATS, CHECKER_PROBE_SET, CHECKER_PROBE_TCP };

/* What a pool's probes ask with.  Texts: "" for none. */
struct checker_asking {
	enum checker_probe probe;
	uint32_t canary_size;
	uint32_t fresh_every;		/* probes; 0: never */
	const char *user, *password;
	const char *expect_version;	/* for fnmatch(3) */
	const char *maintenance_key;
	struct mcshm_address source[2];	/* IPv4, IPv6; kind NONE: any */
	bool tls;
	struct tls_setup files;
	const char *tls_name;		/* "": each server's host */
};

/* What is done about servers that come back with old values. */
struct checker_return {
	bool flush;			/* flush-if-stale */
	bool shared;			/* those of other pools, too */
	bool stay;			/* RECOVERING, where it is refused */
	uint32_t percent;		/* of the pool, within a minute */
};

/* One pool, as main takes it from the ini; copied by the checker. */
struct checker_pool {
	const char *path;		/* of its file */
	struct publish_roster roster;	/* name, servers, scheme, ... */
	struct verdict_rule verdict;
	struct schedule_rule schedule;
	struct faults_rule faults;
	struct failopen_rule failopen;
	struct checker_return returns;
	uint32_t awareness;		/* the most */
	struct checker_asking asking;
	uint64_t timeout, connect_timeout;	/* ns */
};

/* Connections of thread scans, of all pools together, at most. */
#define CHECKER_SCANNED 512u

enum checker_log { CHECKER_LOG_NONE, CHECKER_LOG_FAILURES, CHECKER_LOG_ALL };

struct checker_setup {
	const struct checker_pool *pool;
	uint32_t pools;
	const char *directory;		/* of pool files; "about" says whose */
	bool reports;			/* take them, at a socket in there */
	uint64_t heartbeat;		/* ns */
	struct doubt_rule tilt;
	enum checker_log log_probes;
	struct publish_about about;	/* but config_loaded, report: ours */
};

/*
 * Take all pool files, or none, and begin to probe once the loop runs.  Logs
 * why not.  0, or an exit code of sysexits.h: EX_UNAVAILABLE (69) where another
 * daemon has a file, EX_CANTCREAT (73), EX_OSERR (71).
 */
int checker_open(struct checker **c, struct ev_loop *loop,
    const struct checker_setup *s, const struct notify *notify);

/* Go on with another setup; servers that stayed keep verdict and history.
 * True, or false and logged: then nothing has changed.  One without pools is
 * refused while there are any. */
bool checker_reload(struct checker *c, const struct checker_setup *s);
/* The new ini was refused: tell the supervisor that we run on the old one. */
void checker_reload_refused(struct checker *c);

/* REALTIME s: for main, which is to know whether a certificate has ended. */
uint64_t checker_today(void);

/* End probes and threads, leave the files to the next daemon. */
void checker_close(struct checker *c);

#endif
