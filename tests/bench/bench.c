/*
 * bench.c - clocks, quantiles, and the rows of the table.
 */
#include "bench.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static uint64_t
clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t
bench_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t
bench_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

void
bench_sleep_until(uint64_t ns)
{
	const struct timespec t = { .tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000) };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

double
bench_private_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	double kib = -1;

	if (f == NULL)
		err(1, "/proc/self/smaps_rollup");
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "Anonymous: %lf", &kib) == 1)
			break;
	fclose(f);
	return kib;
}

static int
by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double
bench_quantile(double *v, size_t n, double q)
{
	qsort(v, n, sizeof *v, by_value);
	return v[(size_t)(q * (double)(n - 1) + 0.5)];
}

double
bench_median(double (*once)(const void *), const void *arg, size_t n)
{
	double *v = calloc(n, sizeof *v), least = 0;

	if (v == NULL)
		err(1, "calloc");
	for (int round = 0; round < 5; round++) {
		double median;

		for (size_t i = 0; i < n; i++)
			v[i] = once(arg);
		median = bench_quantile(v, n, 0.5);
		if (round == 0 || median < least)
			least = median;
	}
	free(v);
	return least;
}

const char *
bench_time(double ns)
{
	static char text[4][32];
	static unsigned next;
	char *to = text[next++ % 4];
	const char *unit = "ns";

	if (ns >= 1e6) {
		ns /= 1e6;
		unit = "ms";
	} else if (ns >= 1e3) {
		ns /= 1e3;
		unit = "us";
	}
	snprintf(to, sizeof text[0], "%.*f %s", ns < 10 ? 2 : ns < 100 ? 1 : 0,
	    ns, unit);
	return to;
}

void
bench_row(const char *what, const char *measured, const char *against,
    double ratio, const char *goal, double value, double at_most)
{
	char r[16] = "";

	if (ratio != 0)
		snprintf(r, sizeof r, ratio < 0.1 ? "%.3f" : "%.2f", ratio);
	printf("%-46s %9s  %9s  %5s  %-8s %s\n", what, measured, against, r,
	    goal == NULL ? "" : goal,
	    goal == NULL ? "" : value <= at_most ? "ok" : "MISSED");
	fflush(stdout);
}

bool
bench_is_quick(int argc, char **argv)
{
	return argc > 1 && strcmp(argv[1], "-q") == 0;
}
