/*
 * storm.h - what the storm's processes share: one file in memory, made by
 * storm.py, which knows this layout.
 *
 * The oracle: of each key, which version was written last and acknowledged.
 * Writes of a key are serialized (by a lock that nobody waits for: who does not
 * get it takes another key), so that versions have one order; a read that began
 * after a write was acknowledged, and gives an older version, is stale.
 */
#ifndef BENCH_STORM_H
#define BENCH_STORM_H

#include <stdatomic.h>
#include <stdint.h>

#define STORM_KEYS 20000u

/* Phases of a run; in each a worker counts by itself. */
enum storm_phase {
	STORM_WARM,		/* not counted */
	STORM_CALM,
	STORM_KILLED,
	STORM_RESTARTED,
	STORM_STOPPED,
	STORM_CONTINUED,
	STORM_OVER,
	STORM_PHASES = STORM_OVER
};

struct storm_key {
	_Atomic uint32_t locked;
	_Atomic uint32_t next;		/* the newest version */
	_Atomic uint32_t acked;		/* the newest that is acknowledged */
	_Atomic uint32_t moved;		/* a bit a phase: was asked for at
					 * another server than its own, which
					 * was well */
};

struct storm {
	_Atomic uint32_t phase;
	_Atomic uint32_t failing[2];	/* ports of servers that are not
					 * well, or may not be yet; 0: none */
	uint32_t spare[13];
	struct storm_key key[STORM_KEYS];
};

#endif
