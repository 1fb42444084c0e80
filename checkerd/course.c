/*
 * course.c - is what a name says to be followed?
 *
 * Pure: time is an argument.
 */
#include "course.h"

#define RUN_LEAST 2u		/* answers; twice as many after each turn */
#define TURNS_MOST 8u
#define TURNS_LONG 3u		/* of them count for answers in a long time */

/* Time alone proves nothing where an answer is good for an hour, nor does a
 * number of answers that all came in a minute. */
static bool
is_long(const struct course *c, uint32_t turns, uint64_t now)
{
	const uint32_t most = turns < TURNS_LONG ? turns : TURNS_LONG;

	return c->run >= RUN_LEAST << most && now > c->since &&
	    now - c->since >= COURSE_LONG << turns;
}

/* One that denies, and then one that does not, is a contradiction; the other
 * way round it is a server that moves, but for one that has just moved. */
static bool
is_turn(const struct course *c, enum course_says says)
{
	if (says == COURSE_AGREES)
		return c->denies;
	return c->denies ? says == COURSE_ANEW : c->moved;
}

void
course_step(struct course *c, enum course_says says, uint64_t apart,
    uint64_t now)
{
	const bool denies = says != COURSE_AGREES;

	c->turns += is_turn(c, says) && c->turns < TURNS_MOST;
	if (c->run == 0 || c->denies != denies || says == COURSE_ANEW) {
		c->run = 1;
		c->denies = denies;
		c->since = c->last = now;
	} else if (now >= c->last + apart) {
		c->run += c->run < UINT32_MAX;
		c->last = now;
	}
	if (denies || !is_long(c, c->turns, now))
		return;
	c->turns = 0;
	c->moved = false;
}

void
course_moved(struct course *c, bool well)
{
	c->run = 0;
	c->denies = false;
	c->moved = well;
}

bool
course_is_sure(const struct course *c, uint64_t now)
{
	return c->denies && (c->run >= RUN_LEAST << c->turns ||
	    is_long(c, c->turns, now));
}

bool
course_wavers(const struct course *c)
{
	return c->turns != 0;
}

/* Nobody is to be troubled for two days by what is mended; but it is not
 * forgotten so soon. */
bool
course_is_calm(const struct course *c, uint64_t now)
{
	const uint32_t turns = c->turns < TURNS_LONG ? c->turns : TURNS_LONG;

	return c->turns == 0 || (!c->denies && is_long(c, turns, now));
}
