/*
 * publish.h - the only writer of a pool's file.
 *
 * One struct publish is one pool: its file, the lock on it, and a thread that
 * does everything that can wait for a disk (see mcshm_format.h and mcshm(5)
 * for the file, docs/architecture.md for why a thread).  The loop's side never
 * waits: it leaves what it believes in a mailbox, latest wins.
 *
 * The thread never reads the clock and never logs: time comes with the beat,
 * and what has happened goes back as events.
 *
 *	loop                          thread
 *	publish_set(), _now() --\
 *	publish_beat()  ---------> mailbox --> section, msync, flip, wake, msync
 *	publish_roster() -------/              or a new file: build, exchange
 *	publish_event() <------- events <----/
 */
#ifndef PUBLISH_H
#define PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm_format.h"
#include "recovery.h"
#include "scheme.h"
#include "servers.h"
#include "verdict.h"

struct publish;

/* What a file is made for; two that are equal share an inode. */
struct publish_roster {
	char pool[MCSHM_POOL_MAX + 1];
	struct servers servers;		/* borrowed: copied by whoever keeps it */
	struct scheme_setting set;
	uint16_t *map;			/* scheme_takes_map(): slots; borrowed
					 * as servers are */
	uint32_t maps;			/* of them */
	uint32_t dead;			/* enum mcshm_dead */
	uint32_t failover_ttl;		/* s, 0: no cap */
	uint64_t stale_after;		/* ns */
};
/* A deep copy, 0 or ENOMEM; and its end. */
int publish_roster_copy(struct publish_roster *to,
    const struct publish_roster *from);
void publish_roster_free(struct publish_roster *r);

/* In the header: for people, and where clients may send reports to. */
struct publish_about {
	char version[32], host[64], config[256];
	char report[112];		/* path of a socket; "": nowhere */
	uint64_t config_loaded;		/* REALTIME ns */
};

/* What the checker says of one server.  All a client sees is made from this. */
struct publish_entry {
	struct verdict verdict;
	uint32_t admin;			/* enum mcshm_admin */
	uint32_t reason;		/* of the last failure, 0 none since UP */
	uint32_t result;		/* of the last probe */
	uint64_t checked, began, good_began;	/* BOOTTIME ns */
	uint64_t failed_began;		/* of the last that failed, and was not
					 * void; 0: not known */
	uint64_t gone_began;		/* of the last good one before its last
					 * outage, or failure in use; 0: not
					 * known */
	struct mcshm_address came_from;	/* in use before address[0] is, */
	uint64_t at_since;		/* which is since then; BOOTTIME ns, 0:
					 * was ever */
	uint64_t unseen_since;		/* could not be looked at, for a fault
					 * of ours, since; 0: it can */
	uint32_t rtt_us, rtt_avg_us, rtt_max_us;
	uint64_t failures, local_errors, transitions;
	char server_version[32];
	uint32_t addresses;
	struct mcshm_address address[MCSHM_ADDRESSES];
	uint64_t degraded;		/* enum mcshm_degraded, bits */
	uint32_t rtt_usual_us;
	uint32_t threads, workers_stuck, connections, max_connections;
	uint64_t tls_expiry;		/* REALTIME s, 0: no TLS */
	struct recovery_identity identity;	/* when it was last UP */
	uint64_t returned;		/* enum mcshm_returned, bits */
	uint64_t flushed;		/* BOOTTIME ns, 0 never */
	uint64_t admin_since, admin_until;	/* REALTIME s */
	char admin_who[32], admin_why[64];
	bool open;			/* usable whatever the verdict: the pool
					 * fails open */
};

/* What an earlier daemon left behind.  Owned by the publish until the first
 * publish_roster(). */
struct publish_left {
	struct servers servers;
	struct publish_entry *entry;	/* one a server; NULL: nothing to inherit
					 * (no file, another boot, damage) */
	uint64_t flags;			/* of its section, */
	uint64_t fail_open;		/* and since when; BOOTTIME ns, 0: not */
	bool kept;			/* its file was made for this roster */
};

struct publish_time {
	uint64_t boot, real;		/* BOOTTIME, REALTIME, ns */
};

/* Why publish_open() failed, for one log line. */
struct publish_trouble {
	int error;			/* errno; EWOULDBLOCK: another daemon has
					 * the file */
	int64_t pid;			/* of that daemon, 0 if not known */
	char what[320];			/* "cannot create /run/.../web.mcshm" */
};

/*
 * Take the file at path for this roster: attach to the one that is there, or
 * create one (servers UNKNOWN, or what *left says once it is set).  Waits up to
 * 0.2 s for a lock; synchronous, without a thread: all pools are opened, or none.
 * 0, or -1 and *t.
 *
 * A file of another roster stays in place, and clients on it, until
 * publish_exchange().
 */
int publish_open(struct publish **p, const char *path,
    const struct publish_roster *roster, const struct publish_about *about,
    struct publish_time now, struct publish_trouble *t);
const struct publish_left *publish_left(const struct publish *p);
/* The file is on a disk's file system: each publish waits for the disk, for
 * seconds at times (readers do not).  Say so to the operator. */
bool publish_on_disk(const struct publish *p);
/* Start the thread.  0 or an errno. */
int publish_start(struct publish *p);

/* Believe this of a server (index in the newest roster).  Goes into the file
 * with the next beat, */
void publish_set(struct publish *p, uint32_t i, const struct publish_entry *e);
/* or at once. */
void publish_now(struct publish *p);
/* Flags of the section: MCSHM_SECTION_... */
void publish_flags(struct publish *p, uint64_t flags);
/* Since when it fails open, BOOTTIME ns; 0: it does not.  Goes with the next
 * flags. */
void publish_fail_open_since(struct publish *p, uint64_t since);
/* Flags, and who is `open`, a bit each: at once, and in one generation. */
void publish_fail_open(struct publish *p, uint64_t flags,
    const uint64_t *open);
/* The section's MCSHM_SPARE_AWARENESS, MCSHM_SPARE_UNSEEN. */
void publish_awareness(struct publish *p, uint64_t score);
void publish_unseen(struct publish *p, uint64_t after);
/* Own-fault counters of the header. */
void publish_faults(struct publish *p, uint64_t local_errors, uint64_t tilts);
/* Clients may send reports to the socket at this path; "": nowhere. */
void publish_report(struct publish *p, const char *path);
/* The loop is alive at this time: each turn (cheap: one store), */
void publish_clock(struct publish *p, uint64_t boot);
/* and each heartbeat: stores it, publishes what is due, looks at the path. */
void publish_beat(struct publish *p, struct publish_time now);

/*
 * From now on the indices are those of this roster; entry[roster->servers.n].
 * The thread makes the file ready; readers stay on the old one, which goes on
 * being published, until publish_exchange().  An equal roster keeps the file.
 * 0 or ENOMEM, then nothing has changed.
 */
int publish_roster(struct publish *p, const struct publish_roster *roster,
    const struct publish_about *about, const struct publish_entry *entry);
/* Readers may go on to the newest roster, as soon as its file is ready. */
void publish_exchange(struct publish *p);
/* Are they there?  Where that changes, publish_fd() is readable. */
enum publish_progress {
	PUBLISH_PENDING,
	PUBLISH_VAIN,			/* not yet, for its file can not be made;
					 * tried again each beat.  Servers that
					 * it does not have are UNKNOWN in the
					 * old one, if they were usable: nobody
					 * looks at them */
	PUBLISH_DONE
};
enum publish_progress publish_progress(struct publish *p);

/*
 * Retire and unlink the pool files in a directory that the ini `config` made
 * (by the path in their headers) for pools which it does not have any more:
 * those that are none of keep[keeps], and that no daemon holds.  Calls removed()
 * for each; how many there were.
 */
unsigned publish_clean(const char *directory, const char *config,
    const char *const *keep, uint32_t keeps,
    void (*removed)(void *arg, const char *path), void *arg);

enum publish_kind {
	PUBLISH_EXCHANGED,	/* readers are on a new roster: before, after,
				 * moved, was, is */
	PUBLISH_REMADE,		/* the file was gone or not ours: made anew */
	PUBLISH_FAILED,		/* error, what, vain; it is tried again each
				 * beat; told once until something succeeds,
				 * and for each new roster */
	PUBLISH_WORKS		/* again */
};
/* What of a roster decides how keys are placed and taken, but its servers. */
struct publish_terms {
	struct scheme_setting set;
	uint32_t dead, failover_ttl;	/* as in the roster */
	uint64_t map;			/* a sum of it, 0: each server is
					 * a bucket */
};
struct publish_terms publish_roster_terms(const struct publish_roster *r);

struct publish_event {
	enum publish_kind kind;
	int error;
	bool vain;			/* the newest roster is not published
					 * for it */
	char what[320];
	uint32_t before, after;		/* servers */
	double moved;			/* share of keys with another home, 0..1 */
	struct publish_terms was, is;
};
/* Readable when there is an event. */
int publish_fd(const struct publish *p);
bool publish_event(struct publish *p, struct publish_event *ev);

/* Publish what is left, mark a clean end, stop the thread, let go of the lock.
 * The file stays for the next daemon. */
void publish_close(struct publish *p);
/* As publish_close(), but nobody shall believe the file any more: the pool is
 * gone from the ini.  Retires and unlinks it. */
void publish_remove(struct publish *p);
/* After a publish_open() of which nothing comes: removes a file that it
 * created, leaves one that it found. */
void publish_abandon(struct publish *p);

#endif
