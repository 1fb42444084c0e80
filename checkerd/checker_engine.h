/*
 * checker_engine.h - what the files of the engine share.
 *
 *	checker.c	the clock, the loop's watchers, open and close
 *	checker_watch.c	one server: due -> probe -> verdict -> publish
 *	checker_task.c	one server: what the next probe is to ask, and where
 *	checker_fault.c	one server: what is wrong with one that answers
 *	checker_return.c one server: may one that was DOWN be trusted again?
 *	checker_doubt.c	ourselves: TILT, awareness, failing open
 *	checker_name.c	one server: its name -> its addresses
 *	checker_pool.c	one pool: flags, first results, events of its publisher
 *	checker_report.c	what clients report: datagram -> earlier probe
 *	checker_setup.c	from one setup to the next, all or none
 *	checker_tell.c	to people and to the supervisor: lines, READY, STATUS
 *
 * Private to checker*.c.
 */
#ifndef CHECKER_ENGINE_H
#define CHECKER_ENGINE_H

#include <stddef.h>
#include <sys/queue.h>

#include "checker.h"
#include "probe.h"
#include "reports.h"
#include "resolve.h"

#define SECOND UINT64_C(1000000000)	/* ns */

/* One server under watch: what is believed of it, and how it is found out. */
struct watch {
	struct pool *pool;
	uint32_t i;			/* in the pool's roster */
	struct publish_entry entry;
	struct probe probe;
	ev_timer due;			/* the next probe; without an address,
					 * the next question for one */
	uint64_t due_at;
	uint64_t began;			/* the last probe started, 0: none */
	bool told;			/* had a result from us */
	bool reported;			/* by a client, since `began` */
	bool replies;			/* the probe under way was asked for by
					 * a report */
	bool inherited;			/* its entry is of an earlier daemon */

	struct question *question;	/* under way, NULL: none */
	uint64_t asked;			/* when it was last asked, 0: never */
	uint64_t ask_at;		/* after a failure; 0: none */
	uint32_t unanswered;		/* failures in a row */
};

/* What one probe has found, on its way to the verdict. */
struct finding {
	const struct probe_result *probe;
	enum mcshm_reason reason;	/* what it comes to */
	enum verdict_class class;
	bool cleared;			/* a server that was DOWN may be UP: but
					 * for rise and times */
	uint64_t began, ended;
};

/* A name under way to the resolver; outlives a watch that goes. */
struct question {
	LIST_ENTRY(question) list;
	struct watch *watch;
};

/* What a pool has to say: a few lines, then one a second for the rest. */
enum tell_kind { TELL_UNKNOWN, TELL_UP, TELL_HELD, TELL_DOWN, TELL_UNRESOLVED,
	TELL_RESOLVED, TELL_KINDS };
struct tell {
	ev_timer second;
	uint32_t lines;			/* told one by one */
	uint32_t held_back, rest[TELL_KINDS];
	char first[1024];		/* of those held back */
};

/* A server by its identity, as reports name it. */
struct ident {
	uint64_t hash;
	uint32_t i;			/* in the roster */
};

struct pool_count {
	uint32_t usable, held, down, drain, maint;
};

struct pool {
	struct checker *c;
	char *path;
	struct publish_roster roster;	/* servers are our own copy */
	struct verdict_rule verdict;
	struct schedule_rule schedule;
	uint64_t timeout, connect_timeout;
	struct publish *publish;
	struct watch **watch;		/* [roster.servers.n] */
	struct ident *ident;		/* [roster.servers.n], sorted */
	ev_io events;			/* of the publisher */
	ev_timer patience;		/* with servers that were added */
	ev_timer answers;		/* to reports, held back */
	uint64_t published;		/* when, at once */
	bool added;			/* readers are not on this roster yet */
	bool changed;			/* count it, before the loop sleeps */
	bool inherits;			/* verdicts of an earlier daemon */
	uint32_t untold;		/* probed servers without a result */
	uint32_t awaited;		/* and without an inherited one */
	uint64_t flags;			/* of its section */
	struct pool_count count;
	bool none;			/* is usable, as was told */
	struct tell tell;
};

/* What clients tell us. */
struct hearing {
	bool wanted;
	char directory[REPORTS_PATH];	/* where the socket is to be; longer
					 * ones are cut, and too long as cut */
	struct reports reports;
	int error;			/* why there is no socket, as was told */
	ev_io datagrams;
	ev_timer rest;			/* after a few of them */
	uint64_t garbage, unknown;	/* since that was told */
	uint64_t garbage_told;		/* when, 0: never */
};

struct checker {
	struct ev_loop *loop;
	const struct notify *notify;
	struct resolve *resolve;
	LIST_HEAD(, question) questions;
	struct pool **pool;
	uint32_t pools;
	uint64_t heartbeat;
	enum checker_log log_probes;
	struct publish_about about;
	uint64_t host;			/* hash of its name */
	uint64_t seed, drawn;		/* jitter */

	uint64_t now;			/* of this turn; as ev_now() */
	ev_check turn;
	ev_prepare settle;
	ev_timer beat;
	ev_io answers;			/* of the resolver */
	struct hearing hearing;
	ev_timer grace;			/* READY at last */
	ev_timer feed;			/* WATCHDOG */
	uint64_t feed_at;		/* planned */

	bool ready, reloading;
	uint64_t local_errors;		/* own faults, in all */
	uint64_t fault_told, faults_told;	/* when, and how many by then */
	char status[512];
};

/* checker.c */
uint64_t checker_clock(clockid_t which);
/* Bring the turn's time up to date: before deadlines, after long work. */
void checker_refresh(struct checker *c);
uint64_t checker_random(struct checker *c);

/* checker_watch.c */
struct watch *watch_new(struct pool *pool, const struct server *server,
    uint64_t now);
void watch_free(struct watch *w);
const struct server *watch_server(const struct watch *w);
bool watch_is_probed(const struct watch *w);
/* Begin to probe it.  hurry: readers wait for its first result; the probe is
 * still spread, but within an eighth of a second. */
void watch_start(struct watch *w, bool hurry);
void watch_first(struct watch *w, bool hurry);
void watch_stop(struct watch *w);
bool watch_is_started(const struct watch *w);
/* It goes to maintenance: not probed, and what is left is no evidence. */
void watch_rest(struct watch *w);
/* The schedule's rules are others now. */
void watch_again(struct watch *w);
void watch_due(struct watch *w, uint64_t at);
/* It has a result, or none can be had. */
void watch_told(struct watch *w);
/* It failed in a client's hands: look, as soon as fast_interval allows. */
void watch_reported(struct watch *w);
/* A probe, or a question for its name, failed for this reason. */
void watch_reason(struct watch *w, enum mcshm_reason reason);
/* Publish its entry, now or with the next beat. */
void watch_publish(struct watch *w, bool now);
/* Another verdict than it had: published at once, told. */
void watch_changed(struct watch *w, const struct verdict *was);

/* checker_task.c */
/* The next probe's asks, address and terms; false: there is no address to be
 * used. */
bool task_make(struct watch *w, struct probe_task *task);

/* checker_fault.c */
/* What of mcproto's asks it needs from the next probe. */
uint32_t fault_asks(const struct watch *w);
/* Learn from a result; a fault whose policy is `down` is made its reason. */
void fault_finding(struct watch *w, struct finding *f);

/* checker_return.c */
uint32_t return_asks(struct watch *w);
/* Learn who answers; f->cleared unless it is to wait. */
void return_finding(struct watch *w, struct finding *f);

/* checker_doubt.c */
/* Silence that may be our own doing is made void. */
void doubt_finding(struct watch *w, struct finding *f);

/* checker_name.c */
/* Ask if it is time to; at once; never mind. */
void name_check(struct watch *w);
void name_ask(struct watch *w);
void name_forget(struct watch *w);
/* Take what the resolver has found out. */
void name_answers(struct checker *c);

/* checker_pool.c */
void pool_count(struct pool *p);
void pool_first_results(struct pool *p);
void pool_flags(struct pool *p);
/* Readers shall go on to the pool's roster once the added servers had their
 * chance of a first result. */
void pool_exchange_soon(struct pool *p);
/* Publish what is known, at once. */
void pool_publish(struct pool *p);
/* The same for what a report asked for and what changes no verdict; soon, where
 * that was done a moment ago: who sends many reports sets no pace. */
void pool_answers(struct pool *p);
void pool_watch_events(struct pool *p);
void pool_unwatch_events(struct pool *p);

/* checker_report.c */
void report_init(struct checker *c);
/* Listen, or not, as the setup wants it; and tell the publishers where. */
void report_apply(struct checker *c, const struct checker_setup *s);
/* Each heartbeat: the socket may be gone, or could not be had so far. */
void report_check(struct checker *c);
void report_close(struct checker *c);
/* Know the pool's servers by their identities; 0 or ENOMEM. */
int report_index(struct pool *p);

/* checker_setup.c */
int setup_apply(struct checker *c, const struct checker_setup *s);
/* Remove the files of pools that the ini had once, in s->directory. */
void setup_clean(const struct checker *c, const struct checker_setup *s);
void pool_free(struct pool *p);

/* checker_tell.c */
void tell_init(struct pool *p);
void tell_stop(struct pool *p);
void tell_changed(struct watch *w, const struct verdict *was);
void tell_probe(const struct watch *w, const struct finding *f);
void tell_debug(const struct watch *w, const char *what);
void tell_fault(struct watch *w, int sys_errno);
void tell_name(struct watch *w, enum tell_kind kind, const char *why);
void tell_event(const struct pool *p, const struct publish_event *e);
/* Clients can not report any more: why; or can again. */
void tell_deaf(const struct checker *c, int error);
void tell_hears(const struct checker *c);
/* Somebody sends what is no report. */
void tell_garbage(struct checker *c);
/* It was old, with another file; same: its servers are those of old. */
void tell_moved(const struct pool *p, const struct pool *old, bool same);
/* Count changed pools: STATUS, READY, "no server is usable". */
void tell_settle(struct checker *c);
/* A reload begins; it was refused, and the old setup stays. */
void tell_reloading(struct checker *c);
void tell_refused(struct checker *c);
/* The loop is alive and in time: the supervisor's watchdog. */
void tell_feed(struct checker *c);

#endif
