/*
 * recovery_marks.h - what is known of a server from before, and by others.
 *
 * Pure: no I/O, no clock, no allocation, no globals.  Private to recovery*.c.
 */
#ifndef RECOVERY_MARKS_H
#define RECOVERY_MARKS_H

#include "recovery.h"

/* The server's clock at a time; or a little before that. */
uint64_t recovery_clock_least(const struct recovery_identity *is, uint64_t at);
/* Or a little after that. */
uint64_t recovery_clock_most(const struct recovery_identity *is, uint64_t at);

/* It has what it had: was is known, and it is no other. */
bool recovery_is_same(const struct recovery_identity *was,
    const struct recovery_identity *is);
/* And its counters go on. */
bool recovery_is_counting(const struct recovery_identity *was,
    const struct recovery_identity *is);
/* When the outage began, at the earliest. */
uint64_t recovery_began(const struct recovery_outage *o);
/* Another process, and it began during the outage. */
bool recovery_is_newborn(const struct recovery_outage *o,
    const struct recovery_identity *is);

/* Until when other hosts wait, as notes in the server say, and who for the
 * longest. */
uint64_t recovery_notes_until(const struct mcproto_told *told, const char *host,
    const char **by);
/* What our own says; 0: it is not there. */
uint64_t recovery_note_of(const struct mcproto_told *told, const char *host);

/* Who reached it meanwhile; NULL: nobody, as far as can be seen.  *maybe: who
 * may yet say so; r->row until when. */
const char *recovery_reached_by(struct recovery *r,
    const struct recovery_outage *o, const struct recovery_look *look,
    const char **maybe);
/* It began in the outage: who has stored in it meanwhile, as far as marks tell
 * now; and has anybody?  That stays so. */
const char *recovery_used_by(const struct recovery *r,
    const struct recovery_outage *o, const struct recovery_look *look);
bool recovery_is_used(struct recovery *r, const struct recovery_outage *o,
    const struct recovery_look *look);

#endif
