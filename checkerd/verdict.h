/*
 * verdict.h - from single results to a belief about a server.
 *
 * Pure: no I/O, no clock, no allocation, no globals.  A verdict is a value;
 * stepping one gives the next.
 *
 *	           first success                    one success
 *	UNKNOWN ------------------> UP <----------------------------- HELD
 *	   |                        |  \--- silence >= hold_after ---> |
 *	   |  fall proofs in a row, |       (two silences at least)    | as UP,
 *	   |  or ratio by proof     v                                  | or silence
 *	   +--------------------> DOWN <-------------------------------+ >= rehash_after
 *	                            |  rise successes in a row, times over,
 *	                            +-> UP   nothing to be cleared
 *
 * Where what a server still has may be old (rule.recovery), it is not trusted
 * at once: the first success leads from DOWN to RECOVERING, the rest of rise,
 * the times and `recovery` from there to UP, and what would make an UP server
 * HELD or DOWN, back to DOWN.  It is one outage all the time.
 *
 * A server that goes down again and again is kept DOWN for longer (flap_hold,
 * from the third outage on, twice as long each time); one outage is forgotten
 * in each flap_window without one.
 *
 * Evidence has two classes.  Proof came from the server's side (refused, reset,
 * closed, a wrong answer).  Silence may be the network's fault, or ours: keys
 * of a silent server are not moved until rehash_after.  What is our own fault
 * for certain (local) steps nothing: probes count on both sides of it, and the
 * time in which we could not look is not the server's.  Where we can not tell
 * who was silent (void), no silence since the last answer counts, and the next
 * one is a new one.  Proofs and answers stay what they are.
 */
#ifndef VERDICT_H
#define VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm.h"		/* enum mcshm_verdict */

enum verdict_class { VERDICT_GOOD, VERDICT_PROOF, VERDICT_SILENCE,
	VERDICT_LOCAL,			/* could not be made; for our fault */
	VERDICT_VOID,			/* silence, maybe of our own doing */
	VERDICT_BLIND			/* we did not look for a part of it: as
					 * LOCAL */
};

struct verdict_rule {
	uint8_t rise, fall;		/* 1..64 in a row */
	uint8_t ratio_bad, ratio_of;	/* bad of the last, 1..64; 0/0: off */
	uint64_t hold_after;		/* ns of silence */
	uint64_t rehash_after;		/* 0: DOWN when HELD is due; else at
					 * least hold_after */
	uint64_t min_down_time;
	uint64_t recovery;		/* RECOVERING for as long as the outage,
					 * and this at most; 0: never */
	uint64_t flap_hold;		/* 0: none */
	uint64_t flap_hold_max;		/* at least flap_hold */
	uint64_t flap_window;
};
#define VERDICT_FLAPS 3u		/* outages that make it flapping */

/* One finished probe. */
struct verdict_probe {
	enum verdict_class class;
	bool wrong;			/* an answer, but a wrong one */
	bool cleared;			/* nothing but rise and times speaks
					 * against going UP */
	bool fresh_start;		/* it was restarted, and is empty: rise
					 * is 2 at most, and its keys need not
					 * wait */
	uint64_t began, ended;		/* BOOTTIME ns */
};

struct verdict {
	uint32_t state;			/* enum mcshm_verdict */
	uint64_t probes;		/* that stepped it */
	/* Newest probe in bit 0; min(probes, 64) bits count. */
	uint64_t history;		/* 1 good */
	uint64_t proof;			/* 1 failed by proof */
	uint64_t wrong;			/* 1 wrong answer (with proof) */
	uint64_t seen;			/* 1 counts: since the state last
					 * changed, and not void */
	uint64_t since;			/* of the state; 0: since ever */
	uint64_t down_since;		/* when it last went DOWN, 0 never */
	uint64_t back_since;		/* when it last came back, 0 never */
	uint64_t silent_since;		/* began of the first unanswered probe
					 * since the last success or void one,
					 * and for as long later as we could
					 * not look since; 0 none */
	uint64_t blind_since;		/* nobody has looked since: began of the
					 * last result, if that is local or
					 * blind, or verdict_blind(); 0 */
	uint64_t failing_since;		/* began of the first failed one since
					 * the last success that is not void */
	uint64_t outage_since;		/* that, of the last outage; 0 never */
	uint64_t flapped;		/* when flaps last changed */
	uint64_t hold_until;		/* by flap_hold; 0: not */
	uint32_t flaps;			/* outages that are not forgotten */
	bool newcomer;			/* another server than the one that came
					 * to this state; did not answer yet */
	bool proven;			/* it failed by proof, in this outage or
					 * since the last answer before it */
};

/* UNKNOWN, since now. */
struct verdict verdict_init(uint64_t now);

struct verdict verdict_step(struct verdict v, const struct verdict_rule *rule,
    const struct verdict_probe *probe);

/*
 * Nobody has looked for a while: what came before no longer counts toward any
 * rule (seen is cleared, the silence begins anew); state, times and history
 * stay.
 */
struct verdict verdict_forget(struct verdict v);

/* Nobody looks since then: until the next probe, nobody is silent. */
struct verdict verdict_blind(struct verdict v, uint64_t since);

/*
 * Nobody looks any more, and picks still go by it.  What was usable is UNKNOWN;
 * what was not stays so, lest it is used again unseen: its keys have moved, or,
 * if it was silent, would have moved soon.
 */
struct verdict verdict_unseen(struct verdict v, uint64_t now);

/*
 * It is another server from now on.  Its predecessor's state stays, for want of
 * a better one; its first answer decides, as one does out of UNKNOWN.
 */
struct verdict verdict_replace(struct verdict v);

/*
 * It is one from now on that was there before, and was not in use since
 * `outage`.  recovering: it has to come back from that as from any outage.
 */
struct verdict verdict_rejoin(struct verdict v, uint64_t outage,
    bool recovering, uint64_t now);

/*
 * A verdict taken over from an earlier daemon.  While nobody looked nobody was
 * silent (so that it needs no blind_since: `checked` is of that probe, too).
 * Where the last probe is longer ago than max_gap it is forgotten, and who was
 * RECOVERING is DOWN again: it may have had another outage meanwhile.
 */
struct verdict verdict_inherit(struct verdict v, uint64_t checked, uint64_t now,
    uint64_t max_gap);

/* Picks may go there (whatever the operator says): UNKNOWN, UP. */
bool verdict_usable(const struct verdict *v);
/* DOWN, or RECOVERING: its keys are elsewhere. */
bool verdict_out(const struct verdict *v);
/* DOWN for nothing but silence, in all of this outage. */
bool verdict_silent(const struct verdict *v);
/* Has not answered, and is not out for it yet. */
bool verdict_unanswered(const struct verdict *v);
/* Goes down again and again. */
bool verdict_flapping(const struct verdict *v);
/* How many probes in a row have failed since the state last changed; 64: or
 * more. */
unsigned verdict_failures(const struct verdict *v);
/* On the way from one state to another: probe it at the fast interval. */
bool verdict_in_transition(const struct verdict *v);

#endif
