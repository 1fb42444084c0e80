/*
 * failopen.h - so many are silent: is it all of them, or us?
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 *
 *	        above                      max over, and still above
 *	SHUT ------------> OPEN --------------------------------> BELIEVED
 *	  ^                  |  at or below for 10 s                  |
 *	  +------------------+ <-------------------------------------/
 *
 * above: more than `percent` of the servers are DOWN by silence; never in a
 * pool of fewer than 5.  While it is OPEN, who is silent is used all the same:
 * its keys stay, and clients find out by themselves.  BELIEVED: it lasts too
 * long to be a doubt; the verdicts count, and it is not OPEN again before it
 * was SHUT.
 */
#ifndef FAILOPEN_H
#define FAILOPEN_H

#include <stdint.h>

#define FAILOPEN_SERVERS 5u

struct failopen_rule {
	uint32_t percent;		/* 0: off */
	uint64_t max;			/* ns; 0: never OPEN */
};

enum failopen_state { FAILOPEN_SHUT, FAILOPEN_OPEN, FAILOPEN_BELIEVED };

struct failopen {
	enum failopen_state state;
	uint64_t since;			/* of the state; BOOTTIME ns */
	uint64_t below_since;		/* 0: is above */
};

struct failopen failopen_step(struct failopen f,
    const struct failopen_rule *rule, uint32_t servers, uint32_t silent,
    uint64_t now);

/* What an earlier daemon left, which failed open since then; 0: it did not, and
 * what was silent by its word is believed. */
struct failopen failopen_inherit(uint64_t open_since,
    const struct failopen_rule *rule, uint32_t servers, uint32_t silent,
    uint64_t now);
/* How long it stays OPEN at most; 0 where it is not. */
uint64_t failopen_left(const struct failopen *f,
    const struct failopen_rule *rule, uint64_t now);

#endif
