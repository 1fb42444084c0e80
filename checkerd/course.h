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
 * no single answer; and where they contradict each other, only by twice as many
 * in a row each time, or by all of COURSE_LONG.  That is forgotten when they
 * have agreed with the address in use for as long.
 */
#ifndef COURSE_H
#define COURSE_H

#include <stdbool.h>
#include <stdint.h>

#define COURSE_LONG (UINT64_C(600) * 1000000000)	/* ns */
/* Answers that come sooner after each other are one: of a cache, maybe. */
#define COURSE_APART (UINT64_C(5) * 1000000000)

struct course {
	uint32_t run;			/* answers of a kind, in a row */
	uint32_t turns;			/* contradictions, until forgotten */
	bool denies;			/* these deny the address in use */
	uint64_t since, last;		/* the first of them, the last counted;
					 * ns */
};

/* Another answer; back: it has an address that was left a while ago. */
void course_step(struct course *c, bool denies, bool back, uint64_t now);
/* Another address is in use: answers so far were about the old one. */
void course_moved(struct course *c);
/* It leads elsewhere, without a doubt. */
bool course_is_sure(const struct course *c, uint64_t now);
/* Its answers contradict each other. */
bool course_wavers(const struct course *c);

#endif
