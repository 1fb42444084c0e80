/*
 * dump_show.h - from paths of pool files to what was asked for about them.
 *
 * Reads the files and the clock, writes to stdout, and what can not be read to
 * stderr.  Never exits.
 */
#ifndef DUMP_SHOW_H
#define DUMP_SHOW_H

#include <stdbool.h>

#include "dump_find.h"
#include "dump_head.h"
#include "dump_json.h"
#include "dump_keys.h"
#include "dump_picture.h"

/* What was asked for; with none of the first five, the picture. */
struct dump_ask {
	bool parts, clients;
	const char *server;		/* its name, or NULL */
	const struct dump_keys *keys;	/* or NULL */
	struct dump_json *json;		/* all of it into this; NULL: as text */
	struct dump_look look;
};

/* What came of it. */
struct dump_shown {
	enum dump_exit code;		/* the worst */
	bool server_found;
	bool begun;			/* some text is above */
	struct dump_legend legend;
};

void dump_show(struct dump_shown *shown, const struct dump_ask *ask,
    const struct dump_paths *paths);

#endif
