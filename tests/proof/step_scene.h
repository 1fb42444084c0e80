/*
 * step_scene.h - what is published in which scene, and what a reader must
 * therefore see: made from what the writer is given, never from what a reader
 * said.
 *
 * A scene has stages: what there was (BEFORE), what the stepped writer
 * publishes (AFTER), and what the daemon that comes after a killed one
 * publishes (HEIR).  Servers are letters; all that is said of a server follows
 * from its letter and the stage.
 */
#ifndef STEP_SCENE_H
#define STEP_SCENE_H

#include <stdbool.h>
#include <stdint.h>

#include "mcshm.h"
#include "publish.h"
#include "step_trace.h"

#define SCENE_SERVERS 8
#define SCENE_KEYS 24
#define SCENE_KEY_LEN 24

enum stage { BEFORE, AFTER, HEIR, STAGES };

enum deed {
	DEED_PUBLISH,		/* other verdicts */
	DEED_EXCHANGE,		/* another roster */
	DEED_REMOVED,		/* somebody removed the file; a beat */
	DEED_REPLACED		/* somebody put a copy in its place; a beat */
};

struct scene {
	const char *name;
	uint32_t scheme;
	const char *before, *after;	/* servers */
	enum deed deed;
};

/* One go of a scene: where, and when. */
struct play {
	const struct scene *scene;
	char path[128];
	struct publish_time now;
};

/* All that the library says, as values. */
struct seen {
	uint64_t roster;
	int servers;
	struct mcshm_server server[SCENE_SERVERS];
	struct mcshm_state state[SCENE_SERVERS];
	struct mcshm_status status;
	int err[SCENE_KEYS];
	struct mcshm_choice choice[SCENE_KEYS];
};

size_t scene_key(char key[SCENE_KEY_LEN], unsigned i);
/* The servers of a stage. */
const char *scene_letters(const struct scene *s, enum stage stage);
struct publish_roster scene_roster(const struct scene *s, enum stage stage);
/* What a reader sees of a stage.  What only the run can tell is 0: roster ids,
 * generation, the heartbeat's age, the checker and whether it lives. */
void scene_expect(struct seen *e, const struct scene *s, enum stage stage);

/* The writer that is stepped, a struct child's; arg: struct play. */
void scene_writer(const struct child *c, void *arg);

/* What an heir finds: the stages (bits) whose entries and roster it was left,
 * 0 for none of them. */
struct heir_found {
	bool left;		/* something was left */
	bool kept;		/* made for the roster that it wants */
	unsigned stages;
	char why[200];		/* "" or why it could not open the file */
};
struct heir {
	const struct play *play;
	struct heir_found *found;	/* shared with the parent */
};
/* A daemon that starts after the writer was killed: opens, says what it found,
 * when told starts, when told again publishes stage HEIR and ends.  arg: struct
 * heir. */
void scene_heir(const struct child *c, void *arg);

#endif
