/*
 * course.c - is what a name says to be followed?
 *
 * Pure: time is an argument.
 */
#include "course.h"

#define RUN_LEAST 2u		/* answers; twice as many after each turn */
#define TURNS_MOST 8u

static bool
is_long(const struct course *c, uint64_t now)
{
	return c->run >= RUN_LEAST && now > c->since &&
	    now - c->since >= COURSE_LONG;
}

/* One that denies, and then one that does not, is a contradiction; the other
 * way round it may be a server that moves, but for one that moves back. */
static bool
is_turn(const struct course *c, bool denies, bool back)
{
	return denies ? back : c->denies;
}

void
course_step(struct course *c, bool denies, bool back, uint64_t now)
{
	if (c->run == 0 || c->denies != denies) {
		c->turns += is_turn(c, denies, back) && c->turns < TURNS_MOST;
		c->run = 1;
		c->denies = denies;
		c->since = c->last = now;
	} else if (now >= c->last + COURSE_APART) {
		c->run += c->run < UINT32_MAX;
		c->last = now;
	}
	if (!denies && is_long(c, now))
		c->turns = 0;
}

void
course_moved(struct course *c)
{
	c->run = 0;
	c->denies = false;
}

bool
course_is_sure(const struct course *c, uint64_t now)
{
	return c->denies && (c->run >= RUN_LEAST << c->turns ||
	    is_long(c, now));
}

bool
course_wavers(const struct course *c)
{
	return c->turns != 0;
}
