/*
 * step_walk.h - one scene, walked through instruction by instruction with
 * readers looking after each; and the same with the writer killed on the way.
 */
#ifndef STEP_WALK_H
#define STEP_WALK_H

#include "step_scene.h"
#include "step_yard.h"

#define WALK_STEPS 400000u
#define WALK_WAYS 4096u

/*
 * A waypoint: a place on the way to which another child gets faster than by
 * single steps, since it is the next of its kind there.
 */
enum way_kind {
	WAY_CALL,		/* a system call is over */
	WAY_PC,			/* the instruction at pc is done, for the n-th
				 * time since the last waypoint: one that has
				 * changed a file, or is done the first time */
	WAY_RUN			/* the end of a stretch that is run through */
};
struct way {
	enum way_kind kind;
	uint64_t pc;
	uint32_t n;
};

/* One instruction of the walk. */
struct walk_step {
	uint64_t pc;		/* where the thread stood after it */
	uint32_t ways;		/* waypoints passed */
	uint32_t after;		/* instructions since the last of them */
	bool call;
	bool file, other;	/* it changed what clients can see; something
				 * else in the directory */
};

/* What a walk found out, for the kills. */
struct walk {
	uint32_t steps, ways;
	uint64_t looks;		/* by readers */
	uint32_t changed;	/* steps that changed the file */
	uint32_t seen;		/* the step after which AFTER was first seen */
	struct way way[WALK_WAYS];
	struct walk_step step[WALK_STEPS];
};

/* A scene, and what its readers must see. */
struct part {
	const struct scene *scene;
	struct seen expect[STAGES];
};
void part_of(struct part *part, const struct scene *scene);

/* Both: false, and why. */
bool walk_through(struct walk *walk, const struct part *part, struct yard *y,
    bool full, char why[700]);
struct walk_kills {
	uint32_t kills;
	uint32_t elsewhere;	/* of them: where the writer could not be
				 * brought to the same place again (an allocator
				 * that acts by the clock, say: a sanitizer's)
				 * and was killed where it was */
	uint64_t looks;
};
/* Killed when it has done `step` instructions. */
bool walk_kill(const struct walk *walk, uint32_t step, const struct part *part,
    struct yard *y, struct walk_kills *sum, char why[700]);

#endif
