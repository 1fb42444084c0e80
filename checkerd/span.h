/*
 * span.h - moments, and how long it is from one to another; in nanoseconds, or
 * whatever both are in.
 *
 * Pure.  Clocks differ, and go back: what is to come has lasted for no time.
 */
#ifndef SPAN_H
#define SPAN_H

#include <stdint.h>

#define SECOND UINT64_C(1000000000)	/* ns */

static inline uint64_t
span_passed(uint64_t since, uint64_t now)
{
	return now > since ? now - since : 0;
}

static inline uint64_t
span_most(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t
span_least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
