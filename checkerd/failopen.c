/*
 * failopen.c - so many are silent: is it all of them, or us?
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 */
#include "failopen.h"
#include "span.h"

#include <stdbool.h>

/* As long as it takes servers that answer again to be UP, and some more. */
#define BELOW_FOR (10 * SECOND)

static bool
is_above(const struct failopen_rule *rule, uint32_t servers, uint32_t silent)
{
	return (uint64_t)silent * 100 > (uint64_t)servers * rule->percent;
}

/* It can not open: also where a reload has made it so. */
static bool
is_off(const struct failopen_rule *rule, uint32_t servers)
{
	return rule->percent == 0 || rule->max == 0 ||
	    servers < FAILOPEN_SERVERS;
}

static enum failopen_state
next(const struct failopen *f, const struct failopen_rule *rule, bool above,
    uint64_t now)
{
	if (f->state == FAILOPEN_SHUT)
		return above ? FAILOPEN_OPEN : FAILOPEN_SHUT;
	if (!above && span_passed(f->below_since, now) >= BELOW_FOR)
		return FAILOPEN_SHUT;
	if (above && f->state == FAILOPEN_OPEN &&
	    span_passed(f->since, now) >= rule->max)
		return FAILOPEN_BELIEVED;
	return f->state;
}

struct failopen
failopen_step(struct failopen f, const struct failopen_rule *rule,
    uint32_t servers, uint32_t silent, uint64_t now)
{
	const bool above = is_above(rule, servers, silent);
	enum failopen_state state = FAILOPEN_SHUT;

	if (above)
		f.below_since = 0;
	else if (f.below_since == 0)
		f.below_since = now;
	if (!is_off(rule, servers))
		state = next(&f, rule, above, now);
	if (state != f.state) {
		f.state = state;
		f.since = now;
	}
	return f;
}

struct failopen
failopen_inherit(uint64_t open_since, const struct failopen_rule *rule,
    uint32_t servers, uint32_t silent, uint64_t now)
{
	struct failopen f = { .state = FAILOPEN_SHUT, .since = now };

	if (open_since != 0) {
		f.state = FAILOPEN_OPEN;
		f.since = open_since < now ? open_since : now;
	} else if (is_above(rule, servers, silent)) {
		f.state = FAILOPEN_BELIEVED;
	}
	return failopen_step(f, rule, servers, silent, now);
}

uint64_t
failopen_left(const struct failopen *f, const struct failopen_rule *rule,
    uint64_t now)
{
	const uint64_t over = span_passed(f->since, now);

	return f->state == FAILOPEN_OPEN && over < rule->max ?
	    rule->max - over : 0;
}
