/*
 * step_watch.h - readers that look at a file with the library as it is, and
 * know what they may see.
 *
 * Each is a handle of its own.  What it sees must be, whole, what one stage of
 * the scene says, under one roster id and one generation; never an earlier one
 * than it has seen before.
 */
#ifndef STEP_WATCH_H
#define STEP_WATCH_H

#include "step_scene.h"

enum watch_what {
	WATCH_PICKS,		/* calls nothing but mcshm_pick() */
	WATCH_ALL,		/* everything, in one look */
	WATCH_STAY		/* MCSHM_NOFOLLOW: all but the status */
};

struct watch {
	const char *name;
	enum watch_what what;
	struct mcshm *m;
	const struct seen *expect;	/* [STAGES] */
	enum stage stage;		/* as last seen */
	enum stage limit;		/* the last one that may be seen */
	/* Of the stage seen last; the generation only where it is asked for. */
	uint64_t roster, generation;
	bool replaced;			/* AFTER is another file than BEFORE */
	bool lost;			/* BEFORE is not at the path any more:
					 * whether its daemon lives can not
					 * be said */
	bool orphan;			/* its inode has no name any more */
	bool restated;			/* the same may be said again, as a new
					 * generation */
	bool bereft;			/* the heir found no file: its count
					 * begins anew */
	char why[400];
};

/* What the clock of all handles in this process shows from now on: it stands
 * still, so that however slow this proof is made, nothing gets stale. */
void watch_time(uint64_t boot);

/* The file has stage BEFORE.  False: w->why. */
bool watch_open(struct watch *w, const char *name, enum watch_what what,
    const struct play *play, const struct seen expect[STAGES]);
void watch_close(struct watch *w);
/* One look.  alive: there is a daemon. */
bool watch_look(struct watch *w, bool alive);
/* Looks until it sees this stage, with the clock going forward as far as a
 * reader may need to find out. */
bool watch_until(struct watch *w, enum stage stage, bool alive);

#endif
