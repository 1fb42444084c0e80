/*
 * hammer.h - one writer that never rests, many readers that believe nothing.
 *
 * Every field of every entry of one publication is a function of a number (the
 * round) and the slot, so that a reader who sees two rounds in one snapshot
 * knows it, without asking the writer.
 *
 *	hammer_fact.c	rounds, rosters, and what a reader may see of them
 *	hammer_write.c	the daemon's publish.c, driven
 *	hammer_read.c	processes and threads that read, and check
 *	hammer.c	phases
 */
#ifndef HAMMER_H
#define HAMMER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mcshm.h"
#include "publish.h"
#include "publish_image.h"

/* What all processes of a phase share. */
struct board {
	_Atomic bool over;
	_Atomic bool unknown;		/* files may be there that nobody has
					 * published anything in */
	_Atomic bool removing;		/* the path may lead nowhere */
	_Atomic uint64_t round;		/* published */
	_Atomic uint64_t publishes, replaced, removed;
	_Atomic uint64_t snapshots, picks, lists, again, blind, unverified;
	_Atomic uint64_t limited;	/* files that the limited reader went
					 * on to */
	_Atomic uint64_t forks, held;	/* children; with the guard held */
	_Atomic uint64_t skew;		/* ns that some clocks are ahead */
	_Atomic uint64_t reached;	/* readers on the last orphan's heir */
	_Atomic uint64_t heir;		/* its file: roster id without epoch */
	/* Of the last files, by the writer: who they are. */
	struct {
		_Atomic uint64_t file;
		_Atomic unsigned roster;
	} known[64];
	_Atomic uint32_t faults;
	char fault[300];		/* the first */
	char path[100];
};

/* Note a fault, of which the first is told. */
void hammer_fault(struct board *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* hammer_fact.c ------------------------------------------------------------ */

#define ROSTERS 5u
#define SERVERS_MAX 500u
#define ROSTER_BITS (~MCSHM_ROSTER_EPOCH)

uint32_t fact_servers(unsigned roster);
/* The roster with so many servers; ROSTERS if there is none. */
unsigned fact_roster_of(uint32_t servers);
struct publish_roster fact_roster(unsigned roster);
/* Of the same server, in each roster another. */
uint32_t fact_weight(unsigned roster, uint32_t slot);
struct publish_entry fact_entry(uint64_t round, uint32_t slot);

/* Where keys live in a roster, by private memory. */
struct fact_place {
	unsigned char *fixed;
	struct scheme_place place;
};
void fact_place(struct fact_place *p, unsigned roster);

/* Of one snapshot: all is of one round, or the servers that the next roster
 * does not have are of an earlier one.  NULL, or what is wrong, in slot *at.
 * Blind is who was late, and found the next file removed. */
const char *fact_check_states(const struct mcshm_state *v, uint32_t n,
    bool may_be_blind, uint64_t *round, uint32_t *at);
const char *fact_check_servers(const struct mcshm_server *v, uint32_t n);
/* A choice that is not BLIND, in the roster that it says. */
const char *fact_check_choice(const struct fact_place *p,
    const struct scheme_key *k, int err, const struct mcshm_choice *c,
    bool unknown);

/* hammer_write.c ----------------------------------------------------------- */

struct writer {
	struct board *board;
	struct publish *p;
	struct mcshm *watch;		/* to see what is published */
	unsigned roster;
	uint64_t round;
};

void writer_open(struct writer *w, struct board *b, unsigned roster);
void writer_publish(struct writer *w);	/* one round; until it is visible */
void writer_replace(struct writer *w, unsigned roster);
/* Remove the file, until it is made anew. */
void writer_remove(struct writer *w);
void writer_close(struct writer *w);

/* hammer_read.c ------------------------------------------------------------ */

enum reader_kind {
	READER_PLAIN,			/* all calls */
	READER_FAST,			/* the same, by a clock that runs */
	READER_PICKS,			/* only picks */
	READER_THREADS,			/* four threads on one handle */
	READER_LIMITED,			/* in no more memory than at first */
	READER_FORKS,			/* children that go on by themselves */
	READER_ORPHAN			/* picks only, until on the heir */
};

/* Until the phase is over. */
void reader_run(struct board *b, enum reader_kind kind);

#endif
