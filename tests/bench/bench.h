/*
 * bench.h - what all benches share: clocks, quantiles, and the table's rows.
 *
 * Knows nothing of pools.  A goal that is missed is said, and is no failure.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint64_t bench_ns(void);		/* CLOCK_MONOTONIC */
uint64_t bench_cpu_ns(void);		/* of this thread */
void bench_sleep_until(uint64_t ns);	/* CLOCK_MONOTONIC */

/* KiB of memory that this process has for itself alone: no file's. */
double bench_private_kib(void);

/* Of n > 0 values, which are sorted by it; q: 0 least, 0.5 median, 1 most. */
double bench_quantile(double *v, size_t n, double q);

/*
 * The median of what once() gives, called n times, in each of five rounds: the
 * least of the five, as what else the machine does can only add to it.
 */
double bench_median(double (*once)(const void *), const void *arg, size_t n);

/* "5.3 ns", "41 us": static, good for the next three calls. */
const char *bench_time(double ns);

/*
 * One row of the table.  measured and against are texts; a ratio of 0 is left
 * out.  goal is what value may be at most, with the text that says so; NULL:
 * there is none, the row informs.
 */
void bench_row(const char *what, const char *measured, const char *against,
    double ratio, const char *goal, double value, double at_most);

/* The options of every bench: -q for a quick run. */
bool bench_is_quick(int argc, char **argv);

#endif
