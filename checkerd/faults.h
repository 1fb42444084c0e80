/*
 * faults.h - what is wrong with a server that answers?
 *
 * Pure: no I/O, no clock, no allocation, no globals.  Must not change a
 * verdict: where a fault's policy says so, the checker makes it a reason.
 *
 * What a plain probe on a kept connection can not see, and what shows it:
 *
 *	worker		a scan (as many new connections at once as the server
 *			has workers) of which some are not answered, twice
 *	listener	new connections that are silent, or not let in (refused,
 *			reset, closed, no socket), more in a row than it has
 *			workers, while the kept one is answered; not those that
 *			are answered wrongly, or where TLS fails
 *	clock		stats whose time stands still, for two looks
 *	maxconns	its greeting; or stats: it does not listen any more;
 *			and again, with no new connection answered since
 *	memory		stats: values that it had no room for; the canary;
 *			and again, within three looks
 *	slow		answers against the threshold and its own history
 *	tls		its certificate; or TLS fails with new connections, which
 *			may be for a certificate of ours
 *
 * Each takes more than one look to be believed, and one that is believed is
 * looked after more often, so that its end is seen.  Where rules change, and
 * nobody looks for a fault any more, it is not believed any more.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm_format.h"	/* enum mcshm_degraded, enum mcshm_reason */
#include "verdict.h"		/* enum verdict_class */

/* Those of enum mcshm_degraded that are found out here. */
#define FAULTS_BITS (MCSHM_DEGRADED_WORKER_STUCK |			\
    MCSHM_DEGRADED_LISTENER_STUCK | MCSHM_DEGRADED_CLOCK_STUCK |	\
    MCSHM_DEGRADED_MAXCONNS | MCSHM_DEGRADED_NO_MEMORY |		\
    MCSHM_DEGRADED_SLOW | MCSHM_DEGRADED_UNAUTHENTICATED |		\
    MCSHM_DEGRADED_TLS)

#define FAULTS_SCAN_MOST 64u	/* new connections of one scan */

struct faults_rule {
	uint64_t stats_interval;	/* ns; 0: never */
	uint64_t scan_interval;		/* ns; 0: never */
	uint64_t slow_threshold;	/* ns; 0: never slow */
	bool connects;			/* probes do nothing else: no stats */
	bool canary;			/* probes store a value */
	uint64_t ignored;		/* bits that are never set */
	uint64_t down;			/* bits that make a server DOWN */
};

/* What a server says of itself; what it does not say is 0. */
struct faults_stats {
	uint64_t pid;
	uint64_t uptime, time;		/* s, by its clock */
	uint64_t threads, connections, max_connections;
	uint64_t store_no_memory;
	bool deaf;			/* it has stopped to take connections */
};

/* One finished probe. */
struct faults_probe {
	enum mcshm_reason reason;
	enum verdict_class class;	/* of that reason */
	bool fresh;			/* on a connection made for it */
	bool kept;			/* it failed, beside a connection that
					 * is still there */
	bool timed;			/* what it took is the server's time, */
	uint64_t busy;			/* but for so much, which may be ours */
	bool canary;			/* a value was to be stored */
	bool stats_asked;
	bool tls_ends;			/* its certificate does, soon */
	const struct faults_stats *stats;	/* NULL: none came */
	uint64_t began, ended;		/* BOOTTIME ns */
};

/* One finished scan: new connections, asked once each. */
struct faults_scan {
	uint32_t asked;
	uint32_t answered;
	uint32_t silent;		/* have the request, do not answer */
	uint32_t unreached;		/* not connected in time, or packets
					 * were lost: may be the network */
	uint32_t full;			/* told that there are too many */
	uint32_t proof;			/* refused, or the like */
	uint32_t no_tls;		/* TLS failed: may be for our own fault */
	uint32_t failed;		/* for our own fault; void, then */
	uint64_t began, ended;
};

/* Times of kept connections, or of new ones where there are no others: what it
 * takes to connect is in these.  NONE: of an earlier daemon, or none yet. */
enum faults_timed { FAULTS_TIMED_NONE, FAULTS_TIMED_KEPT, FAULTS_TIMED_FRESH };

/* What is known of one server. */
struct faults {
	uint64_t bits;			/* enum mcshm_degraded, FAULTS_BITS */
	uint32_t threads, connections, max_connections;	/* 0: not known */
	uint32_t stuck;			/* workers, where that bit is set */
	bool begun;
	bool alive;			/* its last probe was answered */
	bool untrusted;			/* its certificate */
	bool no_tls;			/* with the last new connection */
	bool deaf;			/* as stats said last */
	bool counted;			/* no_memory is known */
	bool crowded;			/* no room for a scan, as was told */
	bool full;			/* it turned somebody away, and answered
					 * no new connection since */
	bool scarce;			/* it had no room for a value, and was
					 * not calm since */
	uint8_t refused;		/* stats that ended in a failed probe,
					 * in a row */
	uint8_t still;			/* looks at a clock that stands */
	uint8_t calm;			/* looks without want of memory */
	uint8_t clean;			/* scans without a silent worker */
	uint8_t fresh;			/* answers on new connections, in a row;
					 * to FRESH */
	uint8_t timed;			/* enum faults_timed: `usual` is of */
	uint16_t met;			/* new connections that were answered,
					 * in a row, beside a stuck worker */
	uint16_t answers;		/* that made `usual` */
	uint32_t ours;			/* canaries that were not stored, since
					 * no_memory was known */
	uint32_t bad;			/* silent in the last scan */
	uint32_t unanswered;		/* new connections, in a row */
	uint32_t waiting;		/* of a scan of which none was answered;
					 * judged with the kept connection */
	uint64_t waiting_since;
	uint64_t stats_at, scan_at;	/* due; 0: not at all */
	uint64_t phase;			/* of stats, but for the first; 0: has */
	uint64_t pid, uptime, time;	/* as stats said last */
	uint64_t moved, still_at;	/* when time last did; when it stood */
	uint64_t no_memory;
	uint64_t recent, usual;		/* ns an answer */
};

/* Begin: with bits and the usual time of an earlier daemon; phase: any number
 * of the server's own, so that not all are looked at together. */
void faults_begin(struct faults *f, const struct faults_rule *r,
    uint64_t bits, uint64_t usual, uint64_t phase, uint64_t now);
/* It is another process, or not watched: what was believed is void. */
void faults_forget(struct faults *f);
/* It is asked in another way from now on: what it refused may be answered. */
void faults_retry(struct faults *f, const struct faults_rule *r, uint64_t now);

/* The next probe should ask for stats: the first one, for a start. */
bool faults_wants_stats(const struct faults *f, const struct faults_rule *r,
    uint64_t now);
/*
 * How many connections a scan should make now, 0: none is due.  *crowded: one
 * was, but the server has no room for it, as is said once.
 */
uint32_t faults_wants_scan(struct faults *f, const struct faults_rule *r,
    uint64_t now, bool *crowded);

void faults_probe(struct faults *f, const struct faults_rule *r,
    const struct faults_probe *p);
void faults_scan(struct faults *f, const struct faults_rule *r,
    const struct faults_scan *s);

/* The reason why a server that answers is to be DOWN; MCSHM_R_OK: it is not. */
enum mcshm_reason faults_down(const struct faults *f,
    const struct faults_rule *r);

#endif
