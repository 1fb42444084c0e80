/*
 * schedule.h - when is a server due for its next probe?
 *
 * Pure: time and randomness are arguments.  All times ns.
 *
 * Dues are multiples of a slot of 10 ms, less for short intervals: probes that
 * fall into one share a wake-up of the loop.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdint.h>

struct schedule_rule {
	uint64_t interval;		/* start to start, when UP */
	uint64_t fast_interval;		/* in transition */
	uint64_t down_interval;		/* when DOWN; half as much more after */
	uint64_t down_interval_max;	/* each failure, up to this */
	uint32_t jitter;		/* percent of the interval, 0..50 */
};

enum schedule_pace { SCHEDULE_STEADY, SCHEDULE_FAST, SCHEDULE_DOWN };

/*
 * The first probe of a server: now + a phase within min(interval, 1 s), the
 * same for the same host and server, so that a thousand hosts do not probe one
 * server together, nor one host all its servers at once.
 */
uint64_t schedule_first(const struct schedule_rule *r, uint64_t host_hash,
    uint64_t server_hash, uint64_t now);

/*
 * The probe after one that started at began and ended at ended.  Start to
 * start, never before the last one's end; +- jitter by `random`, any 64 bits.
 * failures: in a row, for SCHEDULE_DOWN.
 */
uint64_t schedule_next(const struct schedule_rule *r, enum schedule_pace pace,
    unsigned failures, uint64_t began, uint64_t ended, uint64_t random);

/* An early probe that somebody asked for: now, but not before fast_interval
 * after the last start (0: there was none). */
uint64_t schedule_early(const struct schedule_rule *r, uint64_t began,
    uint64_t now);

/* A 64-bit mix for phases and jitter: of two numbers, of a text. */
uint64_t schedule_mix(uint64_t a, uint64_t b);
uint64_t schedule_text(const char *text);

#endif
