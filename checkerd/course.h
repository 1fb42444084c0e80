/*
 * course.h - is what a name says to be followed?
 *
 * Pure: no I/O, no clock, no allocation, no globals.  Must not know addresses:
 * an answer has the one in use, or denies it.
 *
 * A name that leads elsewhere from now on says so again and again.  One whose
 * answers are one of many addresses at a time, or come from name servers that
 * differ, says now this and now that, and clients of who follows it read now
 * from one cache and now from the other.  So a server that is well is moved by
 * no single answer, but by two in a row, to one place.  Each contradiction
 *
 *	it leads elsewhere, and then it does not
 *	it leads elsewhere, and then to yet another place
 *	a server that was well is moved, and its name soon leads elsewhere again
 *
 * doubles how many it takes; so it does COURSE_LONG, after which fewer are
 * enough, 16 at most.  All is forgotten when the name has agreed with the
 * address in use for as long.  No more than eight contradictions count:
 * whatever was before, who says one thing for two days is followed (43 hours,
 * and the answer after that).  Who says nothing for good is followed nowhere,
 * as long as the server is well.
 */
#ifndef COURSE_H
#define COURSE_H

#include <stdbool.h>
#include <stdint.h>

#define COURSE_LONG (UINT64_C(600) * 1000000000)	/* ns */

enum course_says {
	COURSE_AGREES,			/* it has the address in use */
	COURSE_DENIES,			/* it leads elsewhere */
	COURSE_ANEW,			/* elsewhere, and not to where the last
					 * one that denied did */
};

struct course {
	uint32_t run;			/* answers of a kind, in a row */
	uint32_t turns;			/* contradictions, until forgotten */
	bool denies;			/* these deny the address in use */
	bool moved;			/* here from where all was well; not
					 * confirmed for long enough */
	uint64_t since, last;		/* the first of them, the last counted;
					 * ns */
};

/* Another answer.  Those of a kind that come sooner after each other than
 * `apart` are one: of a cache, maybe. */
void course_step(struct course *c, enum course_says says, uint64_t apart,
    uint64_t now);
/* Another address is in use: answers so far were about the old one, where the
 * server was well, or was not. */
void course_moved(struct course *c, bool well);
/* It leads elsewhere, without a doubt. */
bool course_is_sure(const struct course *c, uint64_t now);
/* Its answers contradict each other. */
bool course_wavers(const struct course *c);
/* They no longer do: for 80 minutes, and 16 answers, it agreed; for less if
 * there were few contradictions. */
bool course_is_calm(const struct course *c, uint64_t now);

#endif
