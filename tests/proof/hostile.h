/*
 * hostile.h - everything that is ever done to a pool file, done to one that
 * somebody has damaged or made to do harm.
 *
 * Whatever the file holds, each call comes back soon, says one of the errors
 * that mcshm.h lists for it, and gives values within their bounds.  What is not
 * so is told with the case at hand, and aborts.  Used by proof_hostile, which
 * thinks up the files, and by the fuzzers, which find them.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcshm.h"
#include "../unit/mkfile.h"

/* What is being done, for the message, and a count of it. */
#define HOSTILE_TEXT 240
void hostile_case(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Keep both there, and take a minute without a new case for a hang: SIGALRM.
 * For a process whose parent wants to know what it died of. */
void hostile_watch(char text[HOSTILE_TEXT], uint64_t *cases);
_Noreturn void hostile_fault(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/* Calls of the library so far, for who changes a file meanwhile. */
uint64_t hostile_calls(void);
#define must(ok, ...) \
	do { \
		if (!(ok)) \
			hostile_fault(__VA_ARGS__); \
	} while (0)

/*
 * mcshm_open() and all else that the API has.  The error of mcshm_open(), 0 if
 * it opened.  still: nobody changes the file meanwhile, so that the same
 * question has the same answer.
 */
int hostile_read(const char *path, bool still);
/* The same with a handle that is open. */
void hostile_read_handle(struct mcshm *m, bool still);

/* The views of mc-shmdump. */
enum hostile_view { VIEW_PICTURE, VIEW_ALL, VIEW_VERIFY, VIEW_SERVER, VIEW_KEYS,
	VIEW_JSON, VIEWS };
/* One of them, by the units of mc-shmdump: its exit code.  Its output is
 * printable, or is JSON. */
int hostile_dump(const char *path, enum hostile_view view);
/* The same; *text is what it printed, to be freed. */
int hostile_dump_text(char **text, const char *path, enum hostile_view view);
int hostile_dump_all(const char *path);

#endif
