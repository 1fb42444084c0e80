/*
 * dump_words.h - values of a pool file as short texts, for people.
 *
 * Pure, but for the time zone.  What comes from the file is bytes that anybody
 * may have written: all functions here give printable ASCII only, the rest as
 * \xNN.
 */
#ifndef DUMP_WORDS_H
#define DUMP_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mcshm_format.h"

#define DUMP_LABEL 1088		/* a name or an address, all bytes escaped */
#define DUMP_SHORT 24		/* a time, an age, a share */
#define DUMP_SENTENCE 160

/* A field of at most max bytes, which need not end with NUL. */
void dump_text(char *to, size_t size, const char *field, size_t max);
#define DUMP_FIELD(to, field) dump_text(to, sizeof(to), field, sizeof(field))
/* Bytes of any length. */
void dump_bytes(FILE *out, const void *p, size_t len);

/* host:port, [v6]:port or the unix path, as in the ini; */
void dump_address(char to[DUMP_LABEL], const struct mcshm_roster *r);
/* the name, or the address where none was given; */
void dump_label(char to[DUMP_LABEL], const struct mcshm_roster *r);
/* an address that was resolved. */
void dump_resolved(char to[DUMP_LABEL], const struct mcshm_address *a,
    const struct mcshm_roster *r);

/* MAINT, DRAIN, else the verdict; a number where it has no name. */
void dump_state(char to[DUMP_SHORT], const struct mcshm_entry *e);
void dump_verdict(char to[DUMP_SHORT], uint32_t verdict);
void dump_admin(char to[DUMP_SHORT], uint32_t admin);
void dump_reason(char to[DUMP_SHORT], uint32_t reason);
/* A reason as a sentence, and what to expect of the server then; NULL. */
const char *dump_reason_text(uint32_t reason);
const char *dump_reason_outlook(uint32_t reason);
/* It, of a server that answers again; NULL where nothing is to be said. */
const char *dump_reason_past(uint32_t reason);

/* A bit of `degraded` as a word; a number where it has none. */
void dump_degraded(char to[DUMP_SHORT], unsigned bit);
/* What it says of this server: a sentence, with what goes with it. */
void dump_degraded_text(char to[DUMP_SENTENCE], const struct mcshm_entry *e,
    unsigned bit);

/* A bit of `returned` as a word, and as a sentence; a number, NULL. */
void dump_returned(char to[DUMP_SHORT], unsigned bit);
const char *dump_returned_text(unsigned bit);

/* The newest n results, oldest first: + t x e. */
void dump_history(char to[65], const struct mcshm_entry *e, unsigned n);

/* "43s", "4m30s", "2h05m", "13h", "2d4h", "12d" */
void dump_age(char to[DUMP_SHORT], uint64_t ns);
/* "0.1 s", and as dump_age() from 100 s on */
void dump_seconds(char to[DUMP_SHORT], uint64_t ns);
/* "03:02:11", "Tue 14:10", "2026-11-10": what is short and clear at now. */
void dump_when(char to[DUMP_SHORT], uint64_t real, uint64_t now);
/* "2026-11-22 03:02:11 +0100" */
void dump_date(char to[40], uint64_t real);
/* "412us", "1.2ms", "1.23s" */
void dump_rtt(char to[DUMP_SHORT], uint32_t us);
/* "1.7%", "0", "0.006%" */
void dump_percent(char to[DUMP_SHORT], double share);

/* Text of at most width bytes: a longer one loses its middle. */
void dump_cut(char *to, size_t width, const char *text);

#endif
