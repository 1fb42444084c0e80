/*
 * checker_engine.h - what the files of the engine share.
 *
 *	checker.c	the clock, the loop's watchers, open and close
 *	checker_watch.c	one server: due -> probe -> verdict -> publish
 *	checker_task.c	one server: what the next probe is to ask, and where
 *	checker_admin.c	one server: its admin state, by the ini and by itself
 *	checker_asking.c one pool: what its probes ask with
 *	checker_fault.c	one server: what is wrong with one that answers
 *	checker_return.c one server: may one that was DOWN be trusted again?
 *	checker_left.c	servers that were taken out while they were DOWN
 *	checker_doubt.c	ourselves: TILT, awareness, failing open
 *	checker_name.c	one server: its name -> its addresses
 *	checker_pool.c	one pool: flags, first results, events of its publisher
 *	checker_report.c	what clients report: datagram -> earlier probe
 *	checker_setup.c	from one setup to the next, all or none
 *	checker_tell.c	to people: of servers, of ourselves
 *	checker_terms.c	to people: of a pool's file, and how keys are placed
 *	checker_line.c	lines, while they are made
 *	checker_supervise.c to the supervisor: READY, STATUS, WATCHDOG
 *
 * Private to checker*.c.
 */
#ifndef CHECKER_ENGINE_H
#define CHECKER_ENGINE_H

#include <stddef.h>
#include <sys/queue.h>

#include "checker.h"
#include "course.h"
#include "probe.h"
#include "reports.h"
#include "resolve.h"
#include "scan.h"
#include "span.h"

/* What of a pool speaks for a doubt, and what of a server was counted there. */
struct doubted {
	uint32_t probed, unanswered;
	uint32_t ready, silent;		/* silent: DOWN for nothing else */
};
struct counted {
	bool probed, unanswered, ready, silent;
};

/* What a pool's probes ask with: made with the pool, and left alone. */
struct asking_words {			/* compared as bytes */
	uint32_t asks;			/* of mcproto; 0: connect, no more */
	uint32_t canary_size;
	char user[256], password[256];
	char canary_key[64], maintenance_key[256];
	char host[MCPROTO_HOST_MAX + 1];
	char tls_name[256];
	struct sockaddr_storage from[2];
	socklen_t from_len[2];		/* 0: any */
};
struct asking {
	struct asking_words words;
	struct mcproto_terms terms;	/* made of them */
	struct probe_request plain;	/* for words.asks */
	char *text;			/* of it */
	struct tls *tls;		/* NULL: plain */
	bool soon, early, ended;	/* our certificate ends soon, is not good
					 * yet, has ended, as was told */
};

/* The way back of one that was DOWN; and what is needed for it before. */
struct returning {
	struct recovery recovery;
	struct recovery_contact contact;
	struct mcproto_mark mark;	/* of the probe under way */
	uint32_t asks;			/* likewise, ours of them */
	bool ask;			/* who it is */
	bool judge;			/* how it came back is not known yet */
	bool used;			/* it was UP here */
	bool told_wait;			/* that a flush has to wait */
	uint32_t waits;			/* why: MCSHM_RETURNED_WAITS_... */
	bool elsewhere;			/* another one of ours is there, too, so
					 * that it is not flushed; */
	bool open;			/* or clients used it all the time, for
					 * the pool failed open */
	uint64_t marked;		/* when we left our mark */
	uint64_t flushed;		/* by us or others, as was seen */
	uint64_t foreign;		/* since when another host has the lock,
					 * as was seen; 0: none */
	uint64_t turn_at;		/* since when it goes before others, 0 */
};

/* The server that a name led to before: who it was, and how it was left. */
struct left {
	struct mcshm_address at;
	struct recovery_identity identity;	/* clock 0: nobody is known */
	uint64_t gone;			/* the entry's gone_began */
	uint64_t since;			/* not in use, or its outage began */
};

/* What the maintenance key in a server says. */
struct key_admin {
	uint32_t admin;			/* enum mcshm_admin; READY: no key */
	uint64_t since;			/* REALTIME s */
};

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
	uint64_t late;			/* the checker's, then */
	bool told;			/* had a result from us */
	bool reported;			/* by a client, since `began` */
	bool replies;			/* the probe under way was asked for by
					 * a report */
	bool inherited;			/* its entry is of an earlier daemon */
	bool recalled;			/* or was left when it was taken out */
	bool vague;			/* its average time began with one that
					 * may be our own */
	struct counted counted;
	struct tls_peer *peer;		/* NULL: no TLS */
	const char *tls_why;		/* what was wrong with it last; NULL */
	bool tls_cert;			/* that is about the server's
					 * certificate */
	const char *tls_told;		/* likewise, as was told */
	struct mcshm_address met;	/* where it last spoke TLS */
	struct key_admin key_admin;
	uint32_t fresh_in;		/* probes; 0: not counted yet */
	const struct finding *found;	/* is being judged, or NULL */

	struct returning returning;
	struct left left;

	struct faults faults;
	struct look *look;		/* a scan of it is under way, or NULL */
	bool stats_asked;		/* with the probe under way */

	struct question *question;	/* under way, NULL: none */
	uint64_t asked;			/* when it was last asked, 0: never */
	uint64_t ask_at;		/* again; 0: not before it is answered */
	uint32_t unanswered;		/* failures in a row */
	uint32_t searched;		/* questions since it last answered */
	bool astray;			/* its name does not lead to the address
					 * in use any more */
	bool unrouted;			/* this host has no way to the address
					 * in use, as the last probe found */
	bool unheard;			/* the last probe ended without a good
					 * answer, of whatever kind */
	struct course course;		/* what its name's answers say of that */
	uint32_t moves;			/* since it was last well for a while */
	uint64_t settle_until;		/* no trial before */
	struct trial *trial;		/* NULL: none was needed so far */
};

/* What one probe has found, on its way to the verdict. */
struct finding {
	const struct probe_result *probe;
	enum mcshm_reason reason;	/* what it comes to */
	enum verdict_class class;
	bool cleared;			/* a server that was DOWN may be UP: but
					 * for rise and times */
	bool fresh_start;		/* it was restarted, and is empty */
	uint64_t busy;			/* ns of that may be our own time */
	bool doubtful;			/* the loop was late, or the host slept:
					 * times and silence say nothing */
	uint64_t began, ended;
};

/* A scan under way, or room for one; some for all servers. */
struct look {
	struct scan scan;
	struct watch *watch;		/* NULL: not in use */
	uint64_t began;
};

/* A name under way to the resolver; outlives a watch that goes. */
struct question {
	LIST_ENTRY(question) list;
	struct watch *watch;
};

/* What a pool has to say: a few lines, then one a second for the rest. */
enum tell_kind { TELL_UNKNOWN, TELL_UP, TELL_RECOVERING,
	TELL_HELD, TELL_DOWN, TELL_UNRESOLVED,
	TELL_RESOLVED, TELL_ASTRAY, TELL_MOVED, TELL_DEGRADED, TELL_WHOLE,
	TELL_ADMIN, TELL_RETURNED, TELL_STALE, TELL_KINDS };
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
	uint32_t usable, held, down, recovering, drain, maint;
};

struct pool {
	struct checker *c;
	char *path;
	struct publish_roster roster;	/* servers are our own copy */
	struct verdict_rule verdict;
	struct schedule_rule schedule;
	struct faults_rule faults;
	struct failopen_rule failopen_rule;
	struct checker_return returns;
	uint32_t flushes;		/* of its servers, within a minute */
	uint64_t counted_at;		/* these */
	uint32_t turn;			/* nor is this server's flush, or one
					 * beyond it, next */
	uint32_t awareness_most;
	struct asking *asking;
	uint32_t fresh_every;
	char expect_version[256];	/* "": any */
	bool mn_told;			/* that a server knows none */
	struct tls_peer **peer;		/* [roster.servers.n], for watches that
					 * are taken; NULL */
	uint64_t timeout, connect_timeout;
	struct publish *publish;
	struct watch **watch;		/* [roster.servers.n] */
	struct ident *ident;		/* [roster.servers.n], sorted */
	ev_io events;			/* of the publisher */
	ev_timer patience;		/* with servers that were added */
	ev_timer answers;		/* to reports, held back */
	uint64_t published;		/* when, at once */
	bool added;			/* readers shall not be on this roster
					 * yet */
	char trouble[400];		/* why they are not, though they shall */
	bool changed;			/* count it, before the loop sleeps */
	bool inherits;			/* verdicts of an earlier daemon */
	uint32_t untold;		/* probed servers without a result */
	uint32_t awaited;		/* and without an inherited one */
	uint64_t flags;			/* of its section */
	struct failopen failopen;
	uint32_t awareness;
	struct doubted doubted;
	struct pool_count count;
	bool none;			/* is usable, as was told */
	struct tell tell;
};

/* Servers that are in no pool any more, and how they were when they went. */
struct removed {
	struct servers servers;
	struct publish_entry *entry;	/* [servers.n] */
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
	struct probes *probes;		/* what they share */
	uint32_t canaries;		/* so many had a number */
	struct resolve *resolve;
	LIST_HEAD(, question) questions;
	uint32_t trials;		/* of addresses, under way */
	struct look *look;		/* [LOOKS], in checker_fault.c */
	struct pool **pool;
	uint32_t pools;
	struct removed removed;
	uint64_t heartbeat;
	enum checker_log log_probes;
	struct publish_about about;
	uint64_t host;			/* hash of its name */
	uint64_t seed, drawn;		/* jitter */

	struct doubt doubt;
	struct doubt_rule tilt;
	uint64_t tilt_told;		/* when, */
	bool worn_told;			/* and that it was worn out */
	ev_timer tick;
	uint64_t ticks;

	uint64_t now;			/* of this turn; as ev_now() */
	uint64_t turned;		/* when this turn began, */
	uint64_t settled;		/* when the last one ended, */
	uint64_t busy;			/* and how long it took; 0: the loop has
					 * slept since, and nothing waited */
	uint64_t late;			/* how long all took that took long */
	ev_check turn;
	ev_prepare settle;
	ev_timer beat;
	ev_io answers;			/* of the resolver */
	struct hearing hearing;
	ev_timer grace;			/* READY at last */
	ev_timer feed;			/* WATCHDOG */
	uint64_t feed_at;		/* planned */

	bool ready, reloading, reloaded;
	bool owes_ready, owes_status;	/* not received by the supervisor yet, */
	uint64_t owes_reloading;	/* nor this: MONOTONIC us, 0 */
	uint64_t local_errors;		/* own faults, in all */
	uint64_t fault_told, faults_told;	/* when, and how many by then */
	char status[512];
};

/* checker.c */
uint64_t checker_clock(clockid_t which);
/* Bring the turn's time up to date: before deadlines, after long work.  The
 * time by the clock, BOOTTIME. */
uint64_t checker_refresh(struct checker *c);
uint64_t checker_random(struct checker *c);

/* checker_watch.c */
struct watch *watch_new(struct pool *pool, const struct server *server,
    uint64_t now);
void watch_free(struct watch *w);
const struct server *watch_server(const struct watch *w);
bool watch_is_probed(const struct watch *w);
/* Connections are to be made anew, with this TLS; a probe under way, again. */
void watch_reconnect(struct watch *w, struct tls_peer *peer);
/* This result steps a verdict up. */
bool watch_is_good(enum mcshm_reason reason);
/* Begin to probe it.  hurry: readers wait for its first result; the probe is
 * still spread, but within an eighth of a second. */
void watch_start(struct watch *w, bool hurry);
void watch_first(struct watch *w, bool hurry);
void watch_stop(struct watch *w);
bool watch_is_started(const struct watch *w);
/* It goes to maintenance: not probed, and what is left is no evidence. */
void watch_rest(struct watch *w);
/* We did not run, and it is overdue with all others. */
void watch_spread(struct watch *w);
/* The schedule's rules are others now. */
void watch_again(struct watch *w);
/* Another address is to be probed, what is under way is of no use; early: as
 * soon as fast_interval allows. */
void watch_moved(struct watch *w, bool early);
void watch_due(struct watch *w, uint64_t at);
/* It has a result, or none can be had. */
void watch_told(struct watch *w);
/* It failed in a client's hands: look, as soon as fast_interval allows. */
void watch_reported(struct watch *w);
/* A probe, or a question for its name, failed for this reason. */
void watch_reason(struct watch *w, enum mcshm_reason reason);
/* It could not be looked at, for a fault of ours: at this time, and maybe
 * before. */
void watch_unseen(struct watch *w, uint64_t began);
/* Publish its entry, now or with the next beat. */
void watch_publish(struct watch *w, bool now);
/* Another verdict than it had: published at once, told. */
void watch_changed(struct watch *w, const struct verdict *was);

/* checker_task.c */
/* The next probe's asks, address and terms; false: there is no address to be
 * used. */
bool task_make(struct watch *w, struct probe_task *task);
/* One try at another address of the server: does anybody answer there? */
bool task_try(struct watch *w, const struct mcshm_address *to,
    struct probe_task *task);

/* This is no answer of another server than was meant. */
bool task_is_expected(const struct pool *p, const struct mcproto_told *told);
/* Is it the server that was meant? */
void task_finding(struct watch *w, struct finding *f);

/* checker_asking.c */
/* EX_OK, or an exit code and told. */
int asking_make(struct asking **a, const struct checker *c,
    const struct checker_pool *s);
void asking_free(struct asking *a);
/* Connections that were made with the one will do for the other. */
bool asking_same(const struct asking *a, const struct asking *b);
/* The TLS of one server, NULL where there is none; 0, or -1: no memory. */
int asking_peer(struct tls_peer **peer, const struct asking *a,
    const struct server *server);
/* Our certificate is good now; else that is told, once. */
bool asking_in_time(const struct pool *p);
/* Each heartbeat: does one of ours end soon, or has it?  We may run for longer
 * than it is good. */
void asking_look(const struct checker *c);
/* What a server's certificate must say; "": anything. */
const char *asking_name(const struct asking *a, const struct server *server);

/* checker_admin.c */
/* In maintenance by the key in it, not by the ini: it is asked for that key. */
bool admin_is_resting(const struct watch *w);
/* The stronger of the two. */
void admin_merge(struct publish_entry *e, uint32_t ini,
    struct key_admin key);
void admin_inherit(struct watch *w, const struct publish_entry *left);
/* What the key says now, published and told; after task_finding().  True: it is
 * in maintenance, or was until now, and the result is no evidence. */
bool admin_finding(struct watch *w, const struct finding *f);

/* checker_fault.c */
/* Memory for scans: 0 or ENOMEM. */
int fault_open(struct checker *c);
void fault_close(struct checker *c);
/* No scan is under way any more; and nothing is believed either: it is not
 * watched for now, or another one. */
void fault_stop(struct watch *w);
void fault_rest(struct watch *w);
/* It is asked in another way from now on, on new connections. */
void fault_reconnect(struct watch *w);
/* New connections are known not to be answered, and are looked after
 * elsewhere: the next probe should take the one that it has. */
bool fault_wants_kept(const struct watch *w);
/* What of mcproto's asks it needs from the next probe. */
uint32_t fault_asks(struct watch *w);
/* Learn from a result; a fault whose policy is `down` is made its reason. */
void fault_finding(struct watch *w, struct finding *f);
/* Does its certificate end soon, or has it? */
bool fault_tls_ends(const struct watch *w);

/* checker_return.c */
uint32_t return_asks(struct watch *w);
/* Others wait for what it does next. */
bool return_hurries(const struct watch *w);
/* It comes back anew: by other rules, or from another outage. */
void return_forget(struct watch *w);
/* Clients used it all the time, for its pool fails open. */
bool return_was_open(const struct watch *w);
/* Its connection is lost: it may be another process. */
void return_lost(struct watch *w);
/* The probe under way ends without a result. */
void return_dropped(struct watch *w);
/* It is another server from now on, and not the one at `was`: nothing of that
 * one speaks for it.  One that was left before comes back. */
void return_replace(struct watch *w, const struct mcshm_address *was);
/* Learn who answers; f->cleared unless it is to wait. */
void return_finding(struct watch *w, struct finding *f);

/* checker_left.c */
void removed_free(struct removed *r);
/* Those of its servers that are DOWN or RECOVERING, and do not stay; 0 or
 * ENOMEM. */
int removed_pool(struct removed *r, const struct pool *p, const bool *stays);
/* Those of `of` that are not back; 0 or ENOMEM. */
int removed_rest(struct removed *r, const struct removed *of, const bool *back);

/* checker_doubt.c */
void doubt_start(struct checker *c);
void doubt_stop(struct checker *c);
/* First thing in a turn of the loop; last: when the one before it began. */
void doubt_turn(struct checker *c, uint64_t last);
/* What was between these two times can not be judged: we did not look. */
bool doubt_covered(const struct checker *c, uint64_t began, uint64_t ended);
/* Silence that may be our own doing is made void, or worth less. */
void doubt_finding(struct watch *w, struct finding *f);
/* w's verdict was stepped, and is not published yet. */
void doubt_verdict(struct watch *w);
/* The rule by which w's verdict is stepped now. */
struct verdict_rule doubt_rule(const struct watch *w);
uint64_t doubt_flags(const struct pool *p);
/* Neither TILT nor failing open: what we see may be acted on. */
bool doubt_is_calm(const struct pool *p);
/* Servers are others, or were given to p, or another admin state. */
void doubt_recount(struct pool *p);
/* They were left by an earlier daemon. */
void doubt_inherit(struct pool *p, const struct publish_left *left);
/* p is in use from now on; anew: no pool of the running setup was before. */
void doubt_begin(struct pool *p, bool anew);

/* checker_name.c */
/* After each probe: ask again, try another address, move there; if it is time
 * to. */
void name_check(struct watch *w);
/* Ask at once; never mind. */
void name_ask(struct watch *w);
void name_forget(struct watch *w);
/* Take what the resolver has found out. */
void name_answers(struct checker *c);

/* checker_pool.c */
void pool_count(struct pool *p);
void pool_first_results(struct pool *p);
void pool_flags(struct pool *p);
/* Flags, and who is `open`, a bit each: in one. */
void pool_fail_open(struct pool *p, const uint64_t *open);
/* Who could not be looked at for so long is unseen, ns. */
uint64_t pool_unseen_after(const struct pool *p);
/* Readers shall go on to the pool's roster once the added servers had their
 * chance of a first result. */
void pool_exchange_soon(struct pool *p);
/* How far they are; p->trouble, where that is in vain. */
enum publish_progress pool_progress(struct pool *p);
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
/* Another admin state than it had. */
void tell_admin(struct watch *w, uint32_t was);
/* It answers "mn" with an error. */
void tell_no_mn(const struct watch *w);
void tell_fault(struct watch *w, const struct finding *f);
/* Our certificate has ended, or has yet to begin; or it ends soon. */
void tell_ended(const struct pool *p, struct tls_span good);
void tell_soon(const struct pool *p, struct tls_span good);
void tell_name(struct watch *w, enum tell_kind kind, const char *why);
/* It has begun, goes on, or is over. */
void tell_tilt(const struct checker *c, const struct doubt *was);
void tell_awareness(const struct pool *p);
void tell_fail_open(const struct pool *p, enum failopen_state was);
/* Bits of `degraded` are others than they were, or for another reason. */
void tell_degraded(struct watch *w, uint64_t was);
/* A step of its way back: what; the host or pool that it is about, NULL; how
 * long it still takes, ns, 0. */
void tell_return(struct watch *w, bool bad, const char *what, const char *by,
    uint64_t wait);
/* Another of its name's addresses is in use. */
void tell_move(struct watch *w, const struct mcshm_address *was);
/* Clients can not report any more: why; or can again. */
void tell_deaf(const struct checker *c, int error);
void tell_hears(const struct checker *c);
/* Somebody sends what is no report. */
void tell_garbage(struct checker *c);
/* A line at warning, or at notice. */
void tell_at(bool bad, const char *text);

/* checker_terms.c */
void tell_event(const struct pool *p, const struct publish_event *e);
/* It was old, with another file; same: its servers are those of old. */
void tell_moved(const struct pool *p, const struct pool *old, bool same);

/* checker_supervise.c */
/* Count changed pools: STATUS, READY, "no server is usable". */
void supervise_settle(struct checker *c);
/* A reload begins; it was refused, and the old setup stays. */
void supervise_reloading(struct checker *c);
void supervise_refused(struct checker *c);
/* The loop is alive and in time: the supervisor's watchdog. */
void supervise_feed(struct checker *c);

#endif
