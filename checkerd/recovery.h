/*
 * recovery.h - may a server that was DOWN be trusted again?
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 *
 * A server that was cut off, and not restarted, still has what it had; meanwhile
 * its keys were changed elsewhere.  So it is flushed, once, by one host, when
 * nothing old can arrive any more:
 *
 *	NONE ---> WAIT ---------> FLUSH --> VERIFY --> DONE
 *	  first     the lock is     flush_all   cmd_flush    the marker,
 *	  answer    ours, nobody                has grown,   no lock
 *	            flushed it yet              our witness
 *	                                        is gone
 *
 *	restarted and empty; another host reached it meanwhile; never used
 *	from here; a flush by somebody: DONE at once, from anywhere
 *
 * Late sets.  What a client gave up on may still lie in its host's send queue.
 * It is sent again after pauses that double, up to 120 s: so it can arrive as
 * long after the network is back as the network was away.  A flush before that
 * (`late`) covers nothing.  Whatever happens - lost answers, other hosts, other
 * people - a server that kept its process is cleared only by a flush of which is
 * known that it came after `late`:
 *
 *	- cmd_flush has grown since a look after it, and our witness, a key of
 *	  this host that was there at that look, is gone (memcached counts a
 *	  flush that it refuses, and one that is to come, too), or
 *	- a marker in the server says so, with the server's time from before it.
 *	  Who flushes it sets it behind the flush, with `since`: not verified yet.
 *	  Who has verified it, be it another host, for the first may be gone,
 *	  sets it without.
 *
 * Several hosts.  Each that waits leaves a note in the server, until when; who
 * has the lock flushes only when nobody waits any more (RECOVERY_MOST longer
 * than itself at most), so that one flush does for all.  The lock is in the
 * server, too, is erased by the flush that it guards, and set again right
 * behind it, until the marker is there.  A lost answer only means to look again,
 * and to wait until the lock is forgotten.
 *
 * Our fault.  A host that reaches a server marks it: "answers in a row from
 * `since` to `time`, never more than `gap` apart".  Where such a row goes along
 * with our outage to its end, it was us who were away: then others use it, and a
 * flush would hurt them.  The same goes for one that was restarted meanwhile, and
 * used.  Nor is one flushed that was never UP here: there is nothing that its
 * keys were before.
 *
 * Clocks.  The server's own clock, in whole seconds, is the only one that hosts
 * share.  What is compared is rounded to the safe side.
 */
#ifndef RECOVERY_H
#define RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "mcproto.h"

#define RECOVERY_MOST (120 * UINT64_C(1000000000))	/* ns; TCP's longest
							 * pause */

/* Who a server is, by its own word (stats); pid 0: not known. */
struct recovery_identity {
	uint64_t pid, start;		/* s, by its clock */
	uint64_t clock;			/* the same clock, at `at` */
	uint64_t cmd_flush, curr_items;
	uint64_t at;			/* BOOTTIME ns */
};
/* From its statistics, which were there at this time. */
struct recovery_identity recovery_identity(const struct mcproto_stats *stats,
    uint64_t at);
/* It is another process than it was, which began with nothing. */
bool recovery_is_new(const struct recovery_identity *was,
    const struct recovery_identity *is);

struct recovery_rule {
	bool flush;			/* false: never touch it, only say */
	bool stay;			/* where it can not be flushed: it is
					 * not cleared */
	uint64_t slack;			/* ns; what we see of an outage may be
					 * so much shorter than it was */
	uint64_t pause;			/* ns, between looks while it waits */
};

/* The outage that it comes back from.  BOOTTIME ns. */
struct recovery_outage {
	uint64_t gone;			/* start of the last good one before it,
					 * 0: not known */
	uint64_t since;			/* start of the first failed probe that
					 * was not void */
	uint64_t failed;		/* start of the last, 0: not known */
	uint64_t first;			/* end of the first answer since, where
					 * that was seen by another daemon; 0 */
	const struct recovery_identity *before;
	bool used;			/* it was UP here once */
	const char *host;		/* ours */
};

/* Before a probe. */
struct recovery_now {
	uint64_t now;			/* BOOTTIME ns */
	bool due;			/* if it is cleared, it is UP */
	bool may_flush;			/* we are calm, and the pool has not had
					 * too many flushes */
	bool left;			/* it is cleared for a while, and not
					 * UP here: others may use it */
};

/* A good answer. */
struct recovery_look {
	uint32_t asks;			/* of recovery_asks() */
	const struct mcproto_told *told;
	uint64_t began, ended;		/* BOOTTIME ns */
	bool full;			/* no connection is left for us: told is
					 * nothing */
};

enum recovery_step { RECOVERY_NONE, RECOVERY_WAIT, RECOVERY_FLUSH,
	RECOVERY_VERIFY, RECOVERY_DONE };

/* One return; all 0 before its first answer. */
struct recovery {
	uint8_t step;			/* enum recovery_step */
	uint8_t mute;			/* looks in a row without statistics */
	uint8_t idle;			/* looks in vain for our flush */
	bool based;			/* base is known */
	bool unlock;			/* the lock is ours, and of no use */
	bool tried;			/* we sent a flush */
	bool said_ok;			/* it said that it was done */
	bool given_up;			/* it can not be flushed */
	bool witness;			/* was there at the last look */
	bool stored;			/* was stored with the last look */
	bool blind;			/* there can be none */
	uint8_t unseen;			/* times that it was stored in vain */
	bool sign;			/* the marker is to be set, */
	bool ours;			/* for a flush of ours; */
	bool add;			/* or added: who flushed it has the
					 * first word */
	uint8_t anew;			/* flushes that were lost sight of, for
					 * its counters began anew */
	bool waits;			/* for others, as was told */
	bool full;			/* has no connection for us, as was
					 * told */
	bool stopped;			/* its clock: given up for that; */
	bool dumb;			/* or for it told nothing */
	bool unnote;			/* our note is to end */
	uint32_t returned;		/* enum mcshm_returned, so far */
	uint64_t first;			/* end of the first answer, 0: none */
	uint64_t late;			/* until then old sets may arrive */
	uint64_t late_clock;		/* that by its clock, or later; 0: not
					 * known yet */
	uint64_t witnessed;		/* start of the probe that stored it */
	struct recovery_identity base;	/* at the last look after late that
					 * found our witness */
	struct recovery_identity seen;	/* at the last look */
	struct recovery_identity used;	/* by others before we were back, though
					 * it is new */
	uint64_t until;			/* its clock: others wait until then */
	uint64_t row;			/* and until then one may yet say that
					 * it was us */
	uint64_t noted, left;		/* our note there; as it is after the
					 * last look */
	uint64_t moved;			/* start of the look that first saw its
					 * clock as it is */
	uint64_t untold;		/* start of the first look in a row that
					 * told nothing, 0 */
	uint64_t theirs;		/* when we saw another host's flush that
					 * did for us; 0: none */
	uint64_t locked;		/* start of the probe that locked it */
	uint64_t flushed;		/* by its clock, or later: what the
					 * marker is to say */
};

/* What the next probe is to ask of the server (MCPROTO_ASK_...).  mark: what it
 * has to leave there, if that is MARK or FLUSHED. */
uint32_t recovery_asks(struct recovery *r, const struct recovery_rule *rule,
    const struct recovery_now *now, struct mcproto_mark *mark);

enum recovery_event {
	RECOVERY_QUIET,			/* nothing to tell */
	RECOVERY_RESTARTED,		/* it is empty: cleared */
	RECOVERY_KEPT,			/* it has what it had; without `flush`,
					 * it is cleared all the same */
	RECOVERY_OURS,			/* the outage was ours, by their word:
					 * cleared */
	RECOVERY_STRANGE,		/* it was never used: cleared */
	RECOVERY_WAITS,			/* they wait, and so do we */
	RECOVERY_LOCKED,		/* we are to flush it */
	RECOVERY_SENT,			/* it says that it is flushed */
	RECOVERY_FLUSHED,		/* and so it is, by us: cleared */
	RECOVERY_FLUSHED_BY,		/* by them, or "": by somebody */
	RECOVERY_REFUSED,		/* it does not flush */
	RECOVERY_MUTE,			/* it does not say who it is */
	RECOVERY_FULL,			/* it has no connection to say it on */
	RECOVERY_LEFT,			/* restarted and empty, and they use it
					 * by now: not so any more */
	RECOVERY_STOPPED		/* its clock stands still */
};
/* It answered.  *by: the host that the event is about, or ""; told's. */
enum recovery_event recovery_learn(struct recovery *r,
    const struct recovery_rule *rule, const struct recovery_outage *outage,
    const struct recovery_look *look, const char **by);
/* It did not: what was asked may have happened, or not. */
void recovery_lost(struct recovery *r, uint32_t asks);

/* It is cleared, and what was asked then is done. */
void recovery_tidied(struct recovery *r, uint32_t asks);

/* May it be UP, as far as this goes? */
bool recovery_cleared(const struct recovery *r);
/* Its flush is under way, or will soon be due: it goes before others. */
bool recovery_is_next(const struct recovery *r, uint64_t now);
/* What it holds there of the lock others wait for: its next step is due soon. */
bool recovery_hurries(const struct recovery *r);
/* Its clock does not go on. */
bool recovery_stands(const struct recovery *r);
/* Another host's flush did for us, and we still keep our clients from it after
 * so long a time: the others' clients use it, and ours store elsewhere.  True
 * once. */
bool recovery_is_left(struct recovery *r, uint64_t now, uint64_t gap);
/* Old values may be in a server that came back like this. */
bool recovery_is_risk(uint32_t returned);

/* What clients of this host do with it: it is out, and their keys are elsewhere;
 * in use, and silent or not known; UP. */
enum recovery_use { RECOVERY_OUT, RECOVERY_AWAITED, RECOVERY_UP };

/* How we reach a server that is in use: answers in a row.  BOOTTIME ns, 0:
 * none. */
struct recovery_contact {
	uint64_t since, last;
};
/* A probe that began then, and its result.  Who answers and is out is used by
 * nobody here.  One that fails ends no row while it is UP: only a gap does. */
void recovery_contact(struct recovery_contact *c, uint64_t began, bool good,
    enum recovery_use use, uint64_t gap);
/* The mark that tells others; false: there is nothing to tell. */
bool recovery_vouch(struct mcproto_mark *mark, const struct recovery_contact *c,
    const struct recovery_identity *is, uint64_t gap);

#endif
