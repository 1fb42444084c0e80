/*
 * mcshm.h - which live memcached server holds this key?
 *
 * mc-checkerd(8) probes a pool of memcached servers and publishes what it
 * believes about each of them in one small file.  This library maps that file
 * read-only and answers from it, in nanoseconds.
 *
 *	struct mcshm *m;
 *	struct mcshm_choice c;
 *	int err = mcshm_open(&m, "web", 0);
 *
 *	if (err == 0)
 *		err = mcshm_pick(m, "user:42", 7, &c);
 *	if (err < 0)
 *		fprintf(stderr, "user:42: %s\n", mcshm_strerror(err));
 *
 * Conventions that hold for every function below:
 *
 *   errors   0 or more is success; below 0 is one of the MCSHM_E codes, and
 *            mcshm_strerror() says it in words.  errno is not part of the API.
 *   threads  any number may use one handle at the same time; only
 *            mcshm_close() needs the others to have finished.
 *   fork     a handle works in parent and child, whoever was inside it.
 *   structs  a function that fills structs is told their size in the caller's
 *            build, so that they can grow at the end.  Set none of them up.
 *   time     nanoseconds of CLOCK_BOOTTIME of this host, 0 for never.
 *   keys     are (pointer, length), any bytes, not NUL-terminated.
 *
 * The file must not be truncated by anybody while it is mapped: the kernel
 * answers that with SIGBUS in every reader.  mc-checkerd never does it; replace
 * such a file with mv, never with cp.
 */
#ifndef MCSHM_H
#define MCSHM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of header and library; MAJOR is the SONAME's number. */
#define MCSHM_VERSION_MAJOR 0
#define MCSHM_VERSION_MINOR 1
#define MCSHM_VERSION_PATCH 0

struct mcshm;			/* a mapped pool file; opaque */

/* Numbers are part of the ABI: append only. */
enum mcshm_error {
	MCSHM_OK = 0,
	MCSHM_ENONE = -1,	/* no server of the pool is usable */
	MCSHM_EROSTER = -2,	/* not the current roster: fetch it again */
	MCSHM_EAGAIN = -3,	/* the writer was faster, eight times */
	MCSHM_EINVAL = -4,	/* an argument that makes no sense */
	MCSHM_ENOENT = -5,	/* no such pool file (yet) */
	MCSHM_EPERM = -6,	/* may not be read, or its owner or mode can
				 * not be trusted */
	MCSHM_EDAMAGED = -7,	/* not a pool file, or a damaged one */
	MCSHM_EVERSION = -8,	/* format or scheme newer than this library */
	MCSHM_ESYS = -9,	/* out of memory, descriptors or the like */
	MCSHM_EHELD = -10,	/* the key's server is silent: take it as a
				 * miss, store the key nowhere */
	MCSHM_EMISS = -11,	/* it is down or suspect, and the pool says
				 * dead = miss */
	MCSHM_EDOWN = -12,	/* the same, and dead = error */
	MCSHM_EFAILED = -13	/* the server failed in the caller's hands */
};
#define MCSHM_ERROSTER MCSHM_EROSTER

/* An error in words, for people; never NULL, static. */
const char *mcshm_strerror(int err);

/*
 * Open a pool.  A pool with a '/' in it is the path of a pool file; without,
 * it is the name of a pool in the default directory, which is $MCSHM_DIR (not
 * in set-user-ID programs), else /run/mc-checkerd.
 *
 * flags: MCSHM_NOFOLLOW, MCSHM_LATER, or 0.
 *
 * *m is written on success only; release it with mcshm_close().
 * MCSHM_ENOENT, EPERM, EDAMAGED, EVERSION, ESYS, EINVAL.
 */
#define MCSHM_NOFOLLOW 1u	/* only mcshm_refresh() goes on to a new file:
				 * for those who rebuild connections first */
#define MCSHM_LATER 2u		/* the file need not be there yet; pick says
				 * MCSHM_ENOENT until it is.  What else is in
				 * the way still fails here */
int mcshm_open(struct mcshm **m, const char *pool, unsigned flags);

/* No other thread may be inside the handle.  NULL is allowed. */
void mcshm_close(struct mcshm *m);

/*
 * Look whether the file was replaced, and go on to the new one.  1: there is a
 * new roster or a new address since the last call (or since mcshm_open), 0:
 * nothing new, below 0: why a newer file can not be opened (the handle stays
 * usable as it was).  Makes system calls.  Needed with MCSHM_NOFOLLOW only:
 * otherwise every function follows by itself.
 */
int mcshm_refresh(struct mcshm *m);

/*
 * One choice.  slot and home are indices into the roster `roster`.  When that
 * is not the roster you hold connections for, call mcshm_servers() and pick
 * again.  Compare rosters for equality only; 0 is never one.
 */
struct mcshm_choice {
	uint64_t roster;
	uint32_t slot;		/* the server to ask */
	uint32_t home;		/* the key's server when all are up */
	uint32_t tries;		/* rehash steps taken; 0: slot is home */
	uint32_t flags;		/* MCSHM_BLIND ... */
	uint32_t failover_ttl;	/* seconds; where slot != home, cap the TTL of
				 * what you store at this; 0: no cap */
	uint32_t reserved[7];
};

/*
 * Nobody vouches for this choice: the checker is dead or hung (stale), failing
 * open, or its newer file can not be opened, so every READY server was taken
 * as usable; or the writer overtook us eight times and the last bits stand.
 */
#define MCSHM_BLIND 1u
/* Why a candidate comes behind the usable ones: it is silent (HELD); the
 * operator drains it; it failed in this process a moment ago. */
#define MCSHM_SILENT 2u
#define MCSHM_DRAINED 4u
#define MCSHM_SUSPECT 8u

/*
 * Which server for this key?
 *
 * 0 and *c; MCSHM_ENONE with c->roster set; MCSHM_EHELD with roster, home and
 * slot set (slot is the silent server); MCSHM_EMISS, MCSHM_EDOWN likewise;
 * MCSHM_ENOENT before the first file (MCSHM_LATER).
 *
 * Wait-free: no lock, no allocation and no system call, but in the one call
 * that follows a replaced file (at most one in 100 ms) and, where the home is
 * not usable and for one key in 256, a reading of the clock (for all keys,
 * while a server is suspect: mcshm_failed()).  Keys of usable
 * servers never move, whatever happens to the others.
 *
 * Safe in a signal handler with MCSHM_NOFOLLOW.
 */
int mcshm_pick(struct mcshm *m, const void *key, size_t len,
    struct mcshm_choice *c);

/*
 * The servers of this key, in the order in which they are to be asked: those
 * that can be used, each the one that the key goes to when those before it are
 * down; then what is suspect, silent, draining.  Servers that are DOWN or in
 * MAINT are not among them.  Writes k at most, all distinct, and returns how
 * many.  The first one is mcshm_pick()'s answer where that is 0.
 *
 * For replicas (write to the first two), for deletes that must not leave a copy
 * behind, and for the question who held a key while its home was down: the
 * second one did, if only the home was (mcshm_server_state() says since when it
 * is back).
 *
 * flags of each say what is the matter with it, and MCSHM_BLIND as in
 * mcshm_pick().  Errors as there, but for EHELD, EMISS and EDOWN; MCSHM_ENONE
 * where there is none to ask.  MCSHM_EINVAL for a k of 0.
 */
int mcshm_candidates(struct mcshm *m, const void *key, size_t len,
    struct mcshm_choice *c, size_t k);

/* What a connection is made from: a copy, good whatever happens to the file. */
struct mcshm_server {
	uint32_t slot;
	uint32_t weight;
	socklen_t addrlen;	/* 0: the name has not resolved yet */
	struct sockaddr_storage addr;
	char name[272];		/* as in the ini; host:port if none is there */
};

/*
 * The whole roster of one moment, in slot order, and its id.
 *
 * v: room for n structs, each size_of_one bytes as the caller's compiler sees
 * struct mcshm_server.  Returns the number of servers of the pool, also when
 * that is more than n: then only n were written.  roster may be NULL.
 * MCSHM_EAGAIN, MCSHM_ENOENT, MCSHM_EINVAL.
 */
int mcshm_servers(struct mcshm *m, struct mcshm_server *v, size_t n,
    size_t size_of_one, uint64_t *roster);

/*
 * The server of a choice just made.  0, or MCSHM_EROSTER when the roster has
 * moved on since: then pick again.
 */
int mcshm_server(struct mcshm *m, const struct mcshm_choice *c,
    struct mcshm_server *s, size_t size);

/*
 * What the checker believes (verdict), and what the operator says (admin).
 * They are stored in files: append only; show a value that you do not know as
 * a number.
 */
enum mcshm_verdict {
	MCSHM_UNKNOWN = 0,	/* not decided yet; usable */
	MCSHM_UP = 1,		/* usable */
	MCSHM_HELD = 2,		/* silent: do not wait for it, do not move its
				 * keys: a miss at once, stored nowhere */
	MCSHM_DOWN = 3,		/* its keys are rehashed */
	MCSHM_RECOVERING = 4	/* answers again, not trusted yet: as DOWN */
};
enum mcshm_admin {
	MCSHM_READY = 0,
	MCSHM_DRAIN = 1,	/* probed, not picked */
	MCSHM_MAINT = 2		/* neither probed nor picked */
};

struct mcshm_state {
	uint8_t verdict;	/* enum mcshm_verdict */
	uint8_t admin;		/* enum mcshm_admin */
	uint8_t usable;		/* what pick obeys */
	uint8_t held;
	uint32_t reason;	/* of the last failure, 0: none; mcshm_reason_name() */
	uint64_t degraded;	/* bits; mcshm_degraded_name() */
	/* Probes, newest in bit 0.  1 in history: good.  0: failed, by proof
	 * (something came from the server's side) where proof has a 1, by
	 * silence where not; a wrong answer where wrong has a 1.  As many
	 * bits count as there were probes, 64 at most. */
	uint64_t history, proof, wrong;
	uint64_t seen;		/* 1: counts, since the verdict changed */
	uint64_t since;		/* of the verdict */
	uint64_t checked;	/* end of the last finished probe */
	uint64_t probes, failures;
	uint32_t rtt_us;	/* of the last answer, microseconds */
	uint32_t reserved;
	uint64_t down_since;	/* when it last went DOWN; 0: never seen */
	uint64_t back_since;	/* when it last came back from there */
};

struct mcshm_status {
	uint64_t roster, generation;
	uint64_t heartbeat_age;	/* ns */
	uint32_t servers, usable;
	uint8_t alive;		/* a checker holds the file's lock */
	uint8_t hung;		/* alive, but its heartbeat is stale */
	uint8_t stale;		/* verdicts are ignored now */
	uint8_t fail_open;
	uint8_t rebooted;	/* written before the host's last boot */
	uint8_t superseded;	/* a newer file is there that can not be
				 * opened; follow_error says why */
	uint8_t pad[2];
	int32_t follow_error;	/* MCSHM_E..., 0: none */
	uint32_t reserved;
	int64_t pid;		/* of the checker, as it sees itself */
};

/*
 * The states of all servers at one moment, in slot order.  Count as in
 * mcshm_servers(); MCSHM_EAGAIN if no one moment could be had.  v (with n 0)
 * or st may be NULL.  Makes a few system calls when st is asked for.
 *
 * *st is written also where this fails (but for MCSHM_EINVAL): follow_error
 * and alive are right then, the rest is of no one moment, or 0 where there is
 * no file.
 */
int mcshm_snapshot(struct mcshm *m, struct mcshm_state *v, size_t n,
    size_t size_of_one, struct mcshm_status *st, size_t st_size);

/*
 * The state of the one server of a choice just made.  0, MCSHM_EROSTER as in
 * mcshm_server(), MCSHM_EAGAIN.  No system call.
 */
int mcshm_server_state(struct mcshm *m, const struct mcshm_choice *c,
    struct mcshm_state *s, size_t size);

/*
 * What the caller finds out by itself ------------------------------------
 *
 * Between a server's death and the checker's verdict lie some tenths of a
 * second (seconds, if it hangs).  A caller that met the failure knows better:
 *
 *	suspect mark	this handle passes over the server, as if it were DOWN,
 *			until a probe that began since has succeeded, or for
 *			MCSHM_SUSPECT_TIME.  Where all usable servers are
 *			suspect, suspicion is ignored
 *	report		one datagram to the checker, which then probes at once;
 *			its verdict reaches every process of the host.  By each
 *			handle four a second for each server at most, and
 *			twenty in all
 *
 * mcshm_failed() does both for the server of a choice, mcshm_run() calls it.
 * 0, or MCSHM_EROSTER: the roster has moved on, and nothing was marked.
 */
int mcshm_failed(struct mcshm *m, const struct mcshm_choice *c);

/* Options of a handle.  Set them before other threads use it. */
enum mcshm_option {
	MCSHM_RESUBMIT_ON_ERROR = 1,	/* 1: mcshm_run() goes on to the next
					 * server; 0, the default: it does not */
	MCSHM_RESUBMIT_MAX = 2,		/* servers that one call may try, the
					 * first one included: 1 to 16; 3 */
	MCSHM_RESUBMIT_DEADLINE = 3,	/* ns for all tries together; 1 s */
	MCSHM_SUSPECT_TIME = 4,		/* ns; 10 s; 0: no suspect marks */
	MCSHM_REPORTS = 5		/* 0: send none; 1 */
};
/* 0, or MCSHM_EINVAL: no such option, or not a value of it. */
int mcshm_ctl(struct mcshm *m, int option, uint64_t value);

/*
 * One operation on the server of a key, by the caller's own function:
 *
 *	timeout_ns	what is left of MCSHM_RESUBMIT_DEADLINE, never 0; take
 *			it or a shorter one of your own, for all of the try
 *	returns		0 or more: done, whatever the answer was (a miss, too);
 *			MCSHM_TRY_UNSENT: the server failed, and no byte was
 *			sent; MCSHM_TRY_FAILED: it failed later; MCSHM_TRY_OWN
 *			or less: an error of the caller's own, which is nobody's
 *			fault.  Anything else: MCSHM_EINVAL
 */
#define MCSHM_TRY_UNSENT (-101)
#define MCSHM_TRY_FAILED (-102)
#define MCSHM_TRY_OWN (-1000)
typedef int mcshm_try_fn(void *arg, const struct mcshm_choice *c,
    const struct mcshm_server *s, uint64_t timeout_ns);

/*
 * Pick, run, and where the server fails: mcshm_failed(); and with
 * MCSHM_RESUBMIT_ON_ERROR the same again on the next server, as long as
 * options allow.  An operation is only repeated after bytes were sent if flags
 * say MCSHM_REPEATABLE (a get, a set, a delete; not an incr, not an add whose
 * answer matters).
 *
 * What fn returned, if that was 0 or more or its own error; MCSHM_EFAILED: a
 * server failed, and no other one was tried, or could be, or those that were
 * failed, too; before any server failed, errors as of mcshm_pick() and
 * mcshm_server().  *c, if not NULL, is the last choice.
 */
#define MCSHM_REPEATABLE 1u
int mcshm_run(struct mcshm *m, const void *key, size_t len, unsigned flags,
    mcshm_try_fn *fn, void *arg, struct mcshm_choice *c);

/*
 * Sleep until the file's generation is no longer `generation` (from a status;
 * 0: return with the current one at once), or timeout_ns are over; UINT64_MAX
 * waits for ever.  1 and *now set: it changed; 0: timed out.  Returns 0 early
 * when a signal comes in.
 *
 * A new file counts as a change, also when nobody woke us.  With MCSHM_LATER
 * the first one does: while there is none this waits for it, and says
 * MCSHM_ENOENT with *now 0 when time is over.  With MCSHM_NOFOLLOW *now stays
 * as it was, until mcshm_refresh().
 *
 * A file that merely turns stale is no change: nobody is woken.  Who wants to
 * know looks at a status now and then.
 */
int mcshm_wait(struct mcshm *m, uint64_t generation, uint64_t timeout_ns,
    uint64_t *now);

/* Names, for people and logs; static; NULL for a number that is not known. */
const char *mcshm_reason_name(unsigned reason);	/* "refused" */
const char *mcshm_reason_text(unsigned reason);	/* "connection refused: ..." */
const char *mcshm_degraded_name(unsigned bit);	/* "worker-stuck" */
const char *mcshm_degraded_text(unsigned bit);	/* "some of its threads ..." */
const char *mcshm_verdict_name(unsigned verdict);	/* "UP" */
const char *mcshm_admin_name(unsigned admin);		/* "READY" */

#ifdef __cplusplus
}
#endif
#endif
