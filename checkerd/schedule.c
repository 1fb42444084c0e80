/*
 * schedule.c - when is a server due for its next probe?
 *
 * Pure: time and randomness are arguments.
 */
#include <assert.h>

#include "schedule.h"

#define SECOND UINT64_C(1000000000)

static uint64_t
later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

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

uint64_t
schedule_first(const struct schedule_rule *r, uint64_t host_hash,
    uint64_t server_hash, uint64_t now)
{
	const uint64_t within = r->interval < SECOND ? r->interval : SECOND;

	assert(within != 0);
	return now + schedule_mix(host_hash, server_hash) % within;
}

static uint64_t
interval(const struct schedule_rule *r, enum schedule_pace pace)
{
	switch (pace) {
	case SCHEDULE_FAST:
		return r->fast_interval;
	case SCHEDULE_DOWN:
		return r->down_interval;
	default:
		return r->interval;
	}
}

uint64_t
schedule_next(const struct schedule_rule *r, enum schedule_pace pace,
    uint64_t began, uint64_t ended, uint64_t random)
{
	const uint64_t steady = interval(r, pace);
	const uint64_t spread = steady / 100 * r->jitter;

	assert(r->jitter <= 50);
	return later(began + steady - spread + random % (2 * spread + 1),
	    ended);
}

uint64_t
schedule_early(const struct schedule_rule *r, uint64_t began, uint64_t now)
{
	return began == 0 ? now : later(began + r->fast_interval, now);
}
