/*
 * schedule.c - when is a server due for its next probe?
 *
 * Pure: time and randomness are arguments.
 */
#include <assert.h>

#include "schedule.h"
#include "span.h"

#define SLOT (SECOND / 100)
#define SLOTS_LEAST 20			/* in an interval */

/* Every bit of x reaches every bit of the result; one to one.  The constants
 * are those of splitmix64. */
static uint64_t
stir(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t
schedule_mix(uint64_t a, uint64_t b)
{
	/* The golden ratio: stir() alone leaves 0 as it is. */
	return stir(stir(a + UINT64_C(0x9e3779b97f4a7c15)) + b);
}

/* FNV-1a, stirred: by itself its high bits know little of the last bytes. */
uint64_t
schedule_text(const char *text)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		h = (h ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return stir(h);
}

/* Short ones are parts of long ones, so that all pools meet in them. */
static uint64_t
slot(uint64_t interval)
{
	uint64_t slot = SLOT;

	while (slot > 1 && slot > interval / SLOTS_LEAST)
		slot /= 2;
	return slot;
}

/* The slot that `at` falls into, or the first one that is not before least. */
static uint64_t
in_slot(uint64_t at, uint64_t least, uint64_t slot)
{
	at -= at % slot;
	return at >= least ? at : (least + slot - 1) / slot * slot;
}

uint64_t
schedule_first(const struct schedule_rule *r, uint64_t host_hash,
    uint64_t server_hash, uint64_t now)
{
	const uint64_t within = r->interval < SECOND ? r->interval : SECOND;

	assert(within != 0);
	return in_slot(now + schedule_mix(host_hash, server_hash) % within,
	    now, slot(within));
}

static uint64_t
down_interval(const struct schedule_rule *r, unsigned failures)
{
	uint64_t interval = r->down_interval;

	while (failures-- > 0 && interval < r->down_interval_max)
		interval += interval / 2;
	return interval < r->down_interval_max ||
	    r->down_interval_max < r->down_interval ? interval :
	    r->down_interval_max;
}

static uint64_t
interval(const struct schedule_rule *r, enum schedule_pace pace,
    unsigned failures)
{
	switch (pace) {
	case SCHEDULE_FAST:
		return r->fast_interval;
	case SCHEDULE_DOWN:
		return down_interval(r, failures);
	default:
		return r->interval;
	}
}

uint64_t
schedule_next(const struct schedule_rule *r, enum schedule_pace pace,
    unsigned failures, uint64_t began, uint64_t ended, uint64_t random)
{
	const uint64_t steady = interval(r, pace, failures);
	const uint64_t spread = steady / 100 * r->jitter;
	const uint64_t at = began + steady - spread +
	    random % (2 * spread + 1);

	assert(r->jitter <= 50);
	/* The nearest: half a slot later each time would be a longer
	 * interval. */
	return in_slot(at + slot(steady) / 2, ended, slot(steady));
}

uint64_t
schedule_early(const struct schedule_rule *r, uint64_t began, uint64_t now)
{
	return began == 0 ? now : span_most(began + r->fast_interval, now);
}
