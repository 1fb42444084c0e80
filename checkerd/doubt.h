/*
 * doubt.h - can we be trusted to hear?
 *
 * Pure: no I/O, no clock, no allocation, no globals.  Two answers, both about
 * silence only; proof is proof, whoever looks.
 *
 * TILT: we were not looking.  The loop was later than it had planned, or the
 * host slept, or the clock was set (a suspended VM is set right again), each by
 * more than `after`.  Silence of a probe that overlaps the time from our last
 * look before it to `lasts` after the last such sign is nobody's fault.
 *
 * A host that stalls again and again would never see a silent server so: what
 * comes after signs is TILT for DOUBT_MOST times `lasts` in all.  It is worn
 * out then, until four times as long has passed without a TILT: there is no
 * silence in the time of a sign itself, and what is silent before and after it
 * counts.
 *
 * Awareness: many servers of a pool are silent at once, which is seldom the
 * servers.  A score rises by one a second while it is so, and falls by one a
 * second when it is not; who is silent is waited for that much longer.
 */
#ifndef DOUBT_H
#define DOUBT_H

#include <stdbool.h>
#include <stdint.h>

struct doubt_rule {
	uint64_t after, lasts;		/* ns */
};

/* Three clocks, read one right after the other; ns. */
struct doubt_clocks {
	uint64_t boot;			/* BOOTTIME: runs while the host sleeps */
	uint64_t mono;			/* MONOTONIC: stands still meanwhile */
	uint64_t real;			/* REALTIME: is set, now and then */
};

enum doubt_sign { DOUBT_NONE, DOUBT_LATE, DOUBT_SLEPT, DOUBT_JUMPED };

struct doubt {
	struct doubt_clocks looked;	/* last */
	uint64_t planned;		/* BOOTTIME of the next look, at latest */
	uint64_t from, until;		/* what can not be judged, the last time;
					 * 0, 0: all can */
	bool bare;			/* and that is a sign, and no more */
	uint64_t spent;			/* ns of TILT beside signs, for which
					 * time without a TILT does not stand */
	bool worn;			/* that was too much */
	bool tilt;			/* has not been seen to end */
	uint64_t since, signs;		/* it began; its last sign ended */
	enum doubt_sign sign;		/* that began it */
	uint64_t by;			/* how late, how long, how far; ns */
	uint64_t tilts;
};
#define DOUBT_MOST 12u

/* What silence is worth. */
enum doubt_worth {
	DOUBT_SAYS,			/* it is the server's, for what we know */
	DOUBT_SAYS_LESS,		/* nobody looked for a part of it */
	DOUBT_SAYS_NOTHING,		/* nor does any since the last answer */
};

/* Looks now, and will look again at `planned`. */
struct doubt doubt_init(const struct doubt_clocks *now, uint64_t planned);

/* A turn of the loop: is it so late that it has to look at once? */
bool doubt_is_late(const struct doubt *d, const struct doubt_rule *rule,
    uint64_t now);
/* seen: BOOTTIME when the loop was last known to serve what was due. */
struct doubt doubt_look(struct doubt d, const struct doubt_rule *rule,
    uint64_t seen, const struct doubt_clocks *now, uint64_t planned);

/* What was between these two times can not be judged. */
bool doubt_covers(const struct doubt *d, uint64_t began, uint64_t ended);
/* A probe between these times was silent, and so were all since `silent`; 0: it
 * is the first. */
enum doubt_worth doubt_silence(const struct doubt *d, uint64_t silent,
    uint64_t began, uint64_t ended);
/* "the loop was late" */
const char *doubt_sign_text(enum doubt_sign sign);

/* Of so many servers that are probed, as many have not answered, and are not
 * out for it yet: the score a second later. */
uint32_t doubt_awareness(uint32_t score, uint32_t most, uint32_t servers,
    uint32_t silent);
/* What a rehash_after comes to. */
uint64_t doubt_patience(uint64_t rehash_after, uint32_t score);

#endif
