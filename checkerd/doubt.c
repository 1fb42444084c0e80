/*
 * doubt.c - can we be trusted to hear?
 *
 * Pure: no I/O, no clock, no allocation, no globals.
 */
#include "doubt.h"

#define FEW_SERVERS 5u		/* in fewer, each says too much */
#define SILENT_LEAST 3u

/* By the shorter way round: what is compared are differences of clocks, and on
 * a host that never slept those are 0, give or take how they were read. */
static uint64_t
apart(uint64_t a, uint64_t b)
{
	return a - b < b - a ? a - b : b - a;
}

struct doubt
doubt_init(const struct doubt_clocks *now, uint64_t planned)
{
	return (struct doubt){ .looked = *now, .planned = planned };
}

bool
doubt_is_late(const struct doubt *d, const struct doubt_rule *rule,
    uint64_t now)
{
	return now > d->planned && now - d->planned > rule->after;
}

/* The first cause of all that can be seen: a host that slept makes us late. */
static enum doubt_sign
sign_of(const struct doubt *d, const struct doubt_rule *rule,
    const struct doubt_clocks *now, uint64_t *by)
{
	const struct doubt_clocks *was = &d->looked;
	const uint64_t slept = apart(now->boot - now->mono,
	    was->boot - was->mono);
	const uint64_t jumped = apart(now->real - now->boot,
	    was->real - was->boot);
	const uint64_t late = now->boot > d->planned ?
	    now->boot - d->planned : 0;

	if (slept > rule->after) {
		*by = slept;
		return DOUBT_SLEPT;
	}
	if (late > rule->after) {
		*by = late;
		return DOUBT_LATE;
	}
	*by = jumped;
	return jumped > rule->after ? DOUBT_JUMPED : DOUBT_NONE;
}

/* A sign.  How long it was for which nobody looked says nothing: it may have
 * been a night. */
static void
see(struct doubt *d, const struct doubt_rule *rule, uint64_t seen, uint64_t now)
{
	const bool begins = !d->tilt;

	d->tilt = true;
	d->signs = now;
	if (begins)
		d->since = seen;
	if (begins || d->worn)
		d->from = seen;
	d->bare = d->worn;
	d->until = d->worn ? now : now + rule->lasts;
}

/* No sign since the last look. */
static void
spend(struct doubt *d, const struct doubt_rule *rule, uint64_t now)
{
	const uint64_t time = now - d->looked.boot;
	const uint64_t most = DOUBT_MOST * rule->lasts;

	if (d->tilt)
		d->spent += time;
	else
		d->spent -= time / 4 < d->spent ? time / 4 : d->spent;
	if (d->spent == 0 || most == 0) {
		d->spent = 0;
		d->worn = false;
	} else if (d->spent >= most) {
		d->spent = most;
		d->worn = true;
		if (d->until > now)
			d->until = now;
	}
	if (now >= d->signs + rule->lasts)
		d->tilt = false;
}

struct doubt
doubt_look(struct doubt d, const struct doubt_rule *rule, uint64_t seen,
    const struct doubt_clocks *now, uint64_t planned)
{
	uint64_t by;
	const enum doubt_sign sign = sign_of(&d, rule, now, &by);

	if (sign != DOUBT_NONE && !d.tilt) {
		d.tilts++;
		d.sign = sign;
		d.by = by;
	}
	if (sign != DOUBT_NONE)
		see(&d, rule, seen, now->boot);
	else
		spend(&d, rule, now->boot);
	d.looked = *now;
	d.planned = planned;
	return d;
}

bool
doubt_covers(const struct doubt *d, uint64_t began, uint64_t ended)
{
	return began < d->until && ended > d->from;
}

enum doubt_worth
doubt_silence(const struct doubt *d, uint64_t silent, uint64_t began,
    uint64_t ended)
{
	if (d->bare)
		return doubt_covers(d, began, ended) ? DOUBT_SAYS_LESS :
		    DOUBT_SAYS;
	return doubt_covers(d, silent != 0 && silent < began ? silent : began,
	    ended) ? DOUBT_SAYS_NOTHING : DOUBT_SAYS;
}

const char *
doubt_sign_text(enum doubt_sign sign)
{
	switch (sign) {
	case DOUBT_LATE:
		return "the loop was late";
	case DOUBT_SLEPT:
		return "the host slept";
	case DOUBT_JUMPED:
		return "the clock was set";
	default:
		return "no sign";
	}
}

uint32_t
doubt_awareness(uint32_t score, uint32_t most, uint32_t servers,
    uint32_t silent)
{
	const bool many = servers >= FEW_SERVERS && silent >= SILENT_LEAST &&
	    (uint64_t)silent * 4 >= servers;

	if (score > most)
		return most;
	if (many)
		return score < most ? score + 1 : most;
	return score > 0 ? score - 1 : 0;
}

uint64_t
doubt_patience(uint64_t rehash_after, uint32_t score)
{
	return rehash_after * (score + 1);
}
