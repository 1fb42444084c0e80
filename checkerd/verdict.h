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
 *	                            |  rise successes in a row, and
 *	                            +-> UP   min_down_time over
 *
 * Evidence has two classes.  Proof came from the server's side (refused, reset,
 * closed, a wrong answer).  Silence may be the network's fault, or ours: keys
 * of a silent server are not moved until rehash_after.  What is our own fault
 * for certain (local) steps nothing; and a silence that it comes into is void,
 * for while we can not look, no time is the server's.  The next silence is a
 * new one.  Proofs and answers stay what they are.
 */
#ifndef VERDICT_H
#define VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm.h"		/* enum mcshm_verdict */

enum verdict_class { VERDICT_GOOD, VERDICT_PROOF, VERDICT_SILENCE, VERDICT_LOCAL };

struct verdict_rule {
	uint8_t rise, fall;		/* 1..64 in a row */
	uint8_t ratio_bad, ratio_of;	/* bad of the last, 1..64; 0/0: off */
	uint64_t hold_after;		/* ns of silence */
	uint64_t rehash_after;		/* 0: DOWN when HELD is due; else at
					 * least hold_after */
	uint64_t min_down_time;
};

/* One finished probe. */
struct verdict_probe {
	enum verdict_class class;
	bool wrong;			/* an answer, but a wrong one */
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
	uint64_t back_since;		/* when it last left DOWN, 0 never */
	uint64_t silent_since;		/* began of the first unanswered probe
					 * since the last success or local
					 * result, 0 none */
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

/*
 * A verdict taken over from an earlier daemon; where its last probe is longer
 * ago than max_gap, forgotten.
 */
struct verdict verdict_inherit(struct verdict v, uint64_t checked, uint64_t now,
    uint64_t max_gap);

/* Picks may go there (whatever the operator says): UNKNOWN, UP. */
bool verdict_usable(const struct verdict *v);
/* On the way from one state to another: probe it at the fast interval. */
bool verdict_in_transition(const struct verdict *v);

#endif
