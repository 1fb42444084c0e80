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

#include "notify.h"
#include "publish.h"
#include "schedule.h"
#include "servers.h"
#include "verdict.h"

struct checker;

/* One pool, as main takes it from the ini; copied by the checker. */
struct checker_pool {
	const char *path;		/* of its file */
	struct publish_roster roster;	/* name, servers, scheme, ... */
	struct verdict_rule verdict;
	struct schedule_rule schedule;
	uint64_t timeout, connect_timeout;	/* ns */
};

enum checker_log { CHECKER_LOG_NONE, CHECKER_LOG_FAILURES, CHECKER_LOG_ALL };

struct checker_setup {
	const struct checker_pool *pool;
	uint32_t pools;
	const char *directory;		/* of pool files; "about" says whose */
	bool reports;			/* take them, at a socket in there */
	uint64_t heartbeat;		/* ns */
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

/* End probes and threads, leave the files to the next daemon. */
void checker_close(struct checker *c);

#endif
