/*
 * step_walk.c - the writer goes on by one instruction, everybody looks.
 *
 * One stretch is run through at full speed: moved_share(), which counts for the
 * log how many of 50000 keys have another home in the new file, some 10^8
 * instructions that only read.  That it makes no system call and leaves every
 * byte as it was is checked.
 */
#include "step_walk.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "publish_image.h"
#include "step_watch.h"

#define CAST 5
#define TRIES 5
#define FAR 100		/* steps, without a waypoint */

/* Everybody and everything in one go of a scene. */
struct stand {
	struct play play;
	const struct seen *expect;	/* [STAGES] */
	struct yard *yard;
	struct trace writer;
	struct watch cast[CAST];
	unsigned n;
	uint64_t looks;
	bool astray;			/* the writer went another way */
	bool anywhere;			/* so kill it wherever it is */
	char why[600];
};

static bool fault(struct stand *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool
fault(struct stand *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof s->why, fmt, ap);
	va_end(ap);
	return false;
}

static struct publish_time
now(void)
{
	struct timespec b, r;

	clock_gettime(CLOCK_BOOTTIME, &b);
	clock_gettime(CLOCK_REALTIME, &r);
	return (struct publish_time){
		.boot = (uint64_t)b.tv_sec * 1000000000 + (uint64_t)b.tv_nsec,
		.real = (uint64_t)r.tv_sec * 1000000000 + (uint64_t)r.tv_nsec };
}

/* Readers ------------------------------------------------------------------ */

static bool
complain(struct stand *s, const struct watch *w)
{
	return fault(s, "reader \"%s\": %s", w->name, w->why);
}

static bool
look(struct stand *s, struct watch *w, bool alive)
{
	s->looks++;
	return watch_look(w, alive) || complain(s, w);
}

static bool
enter(struct stand *s, const char *name, enum watch_what what)
{
	struct watch *w = &s->cast[s->n];

	if (!watch_open(w, name, what, &s->play, s->expect))
		return complain(s, w);
	s->n++;
	return look(s, w, true);
}

static bool
all_look(struct stand *s, bool alive)
{
	for (unsigned i = 0; i < s->n; i++)
		if (!look(s, &s->cast[i], alive))
			return false;
	return true;
}

/* A process that opens the pool in this moment; *stage: what it sees.  Where
 * somebody has removed the file, there is nothing to be opened. */
static bool
newcomer_looks(struct stand *s, bool alive, enum stage *stage)
{
	struct watch w;
	bool ok;

	if (s->play.scene->deed == DEED_REMOVED && !yard_has_file(s->yard))
		return true;
	ok = watch_open(&w, "newcomer", WATCH_ALL, &s->play, s->expect);
	if (!ok)
		return complain(s, &w);
	ok = look(s, &w, alive);
	*stage = w.stage;
	watch_close(&w);
	return ok;
}

/* Beginning and end -------------------------------------------------------- */

static bool
damage(struct stand *s)
{
	switch (s->play.scene->deed) {
	case DEED_REMOVED:
		return yard_remove_file(s->yard) || fault(s, "cannot unlink");
	case DEED_REPLACED:
		return yard_replace_file(s->yard) ||
		    fault(s, "cannot replace the file");
	default:
		return true;
	}
}

/* The copy has no daemon: nobody holds its lock. */
static bool
begin(struct stand *s, const struct part *part, struct yard *y)
{
	const struct scene *scene = part->scene;

	*s = (struct stand){ .yard = y, .expect = part->expect,
		.anywhere = s->anywhere,
		.play = { .scene = scene, .now = now() } };
	yard_clear(y);
	snprintf(s->play.path, sizeof s->play.path, "%s", y->path);
	watch_time(s->play.now.boot);
	if (!trace_start(&s->writer, scene_writer, &s->play))
		return fault(s, "%s", s->writer.why);
	if (!yard_scan(y))
		return fault(s, "cannot read the directory");
	if (!enter(s, "all", WATCH_ALL) || !enter(s, "picks", WATCH_PICKS) ||
	    !enter(s, "stay", WATCH_STAY) || !damage(s))
		return false;
	if (scene->deed == DEED_REPLACED &&
	    !enter(s, "picks, from the copy", WATCH_PICKS))
		return false;
	for (unsigned i = 0; i < 3; i++)
		s->cast[i].orphan = scene->deed >= DEED_REMOVED;
	if (!yard_scan(y))
		return fault(s, "cannot read the directory");
	return trace_fill(&s->writer) || fault(s, "%s", s->writer.why);
}

static void
end(struct stand *s)
{
	trace_kill(&s->writer);
	while (s->n > 0)
		watch_close(&s->cast[--s->n]);
	yard_clear(s->yard);
}

/* Name the instruction at which something was wrong. */
static bool
say_where(char why[700], const struct stand *s, uint32_t step)
{
	Dl_info in = { .dli_fname = "?" };

	dladdr((void *)(uintptr_t)s->writer.at.pc, &in);
	snprintf(why, 700, "after instruction %u (before %s+%#jx): %s", step,
	    in.dli_fname, (uintmax_t)(s->writer.at.pc -
	    (uintptr_t)in.dli_fbase), s->why);
	return false;
}

/* Walking ------------------------------------------------------------------ */

static uint64_t
address(void (*function)(void))
{
	return (uint64_t)(uintptr_t)function;
}

/* moved_share() begins with the first of these, and is followed by the second
 * in exchange(); neither is called in a turn's earlier stretch of the same
 * kind, that is to say, after the last system call before it. */
#define RUN_FROM address((void (*)(void))image_place)
#define RUN_TO address((void (*)(void))servers_match)

static bool
run_through(struct stand *s)
{
	const struct yard_sum before = yard_sum(s->yard);
	struct yard_sum after;

	if (!trace_run_to(&s->writer, RUN_TO))
		return fault(s, "%s", s->writer.why);
	after = yard_sum(s->yard);
	return memcmp(&before, &after, sizeof after) == 0 ||
	    fault(s, "what should only read has written");
}

/* Where the walk goes on from. */
struct at {
	struct yard_sum sum;
	uint64_t pc;
	uint32_t after;		/* instructions since the last waypoint */
};

static bool
pass_waypoint(struct stand *s, struct walk *walk, struct way way, struct at *at)
{
	if (walk->ways == WALK_WAYS)
		return fault(s, "too many system calls and stores");
	walk->way[walk->ways++] = way;
	at->after = 0;
	return true;
}

/* How often the last instruction was executed since the last waypoint. */
static uint32_t
times(const struct walk *walk, const struct at *at)
{
	uint32_t n = 1;

	for (uint32_t i = 2; i <= at->after && i <= walk->steps; i++)
		n += walk->step[walk->steps - i].pc == at->pc;
	return n;
}

/* The instruction just done, at at->pc. */
static bool
note(struct stand *s, struct walk *walk, bool call, const struct yard_sum *is,
    struct at *at)
{
	struct walk_step step = { .pc = s->writer.at.pc, .call = call,
		.file = is->file != at->sum.file,
		.other = is->other != at->sum.other };
	struct way way = { .kind = WAY_CALL };

	if (walk->steps == WALK_STEPS)
		return fault(s, "does not come to its end");
	at->after++;
	if (!call && (step.file || step.other || at->after >= FAR))
		way = (struct way){ WAY_PC, at->pc, times(walk, at) };
	if ((call || step.file || step.other || way.n == 1) &&
	    !pass_waypoint(s, walk, way, at))
		return false;
	step.ways = walk->ways;
	step.after = at->after;
	walk->step[walk->steps++] = step;
	walk->changed += step.file;
	return true;
}

static bool
step_once(struct stand *s, struct walk *walk, struct at *at,
    enum trace_result *r, bool *changed)
{
	/* The stop that it begins with is the entry of a call. */
	const bool call = s->writer.at.call || s->writer.entered;
	struct yard_sum is;

	*r = trace_step(&s->writer);
	if (*r == TRACE_LOST)
		return fault(s, "%s", s->writer.why);
	if (call && !yard_scan(s->yard))
		return fault(s, "cannot read the directory");
	is = yard_sum(s->yard);
	*changed = memcmp(&is, &at->sum, sizeof is) != 0;
	if (!note(s, walk, call, &is, at))
		return false;
	at->sum = is;
	at->pc = s->writer.at.pc;
	return true;
}

static bool
look_around(struct stand *s, struct walk *walk)
{
	enum stage stage;

	if (!all_look(s, true) || !newcomer_looks(s, true, &stage))
		return false;
	if (walk->seen == 0 && s->cast[0].stage == AFTER)
		walk->seen = walk->steps;
	return true;
}

/* Each instruction, and a look by each reader after it; but where no byte has
 * changed, no answer can have: then only if it is to be full. */
static bool
walk_all(struct stand *s, struct walk *walk, bool full)
{
	struct at at = { .sum = yard_sum(s->yard), .pc = s->writer.at.pc };
	enum trace_result r = TRACE_ON;
	bool changed = false;

	while (r != TRACE_IDLE) {
		if (!step_once(s, walk, &at, &r, &changed) ||
		    ((full || changed) && !look_around(s, walk)))
			return false;
		if (at.pc != RUN_FROM)
			continue;
		if (!run_through(s) || !pass_waypoint(s, walk,
			(struct way){ .kind = WAY_RUN }, &at))
			return false;
		at.pc = s->writer.at.pc;
	}
	return true;
}

/* It sleeps again: everybody has arrived, by themselves. */
static bool
arrived(struct stand *s)
{
	for (unsigned i = 0; i < s->n; i++) {
		struct watch *w = &s->cast[i];

		if (w->what == WATCH_STAY && w->replaced &&
		    mcshm_refresh(w->m) != 1)
			return fault(s, "mcshm_refresh() finds nothing new");
		if (!look(s, w, true))
			return false;
		if (w->stage != AFTER)
			return fault(s, "reader \"%s\" has not seen the new "
			    "state", w->name);
	}
	if (!yard_is_tidy(s->yard))
		return fault(s, "something is left over");
	return trace_end(&s->writer) || fault(s, "%s", s->writer.why);
}

void
part_of(struct part *part, const struct scene *scene)
{
	part->scene = scene;
	for (enum stage i = BEFORE; i < STAGES; i++)
		scene_expect(&part->expect[i], scene, i);
}

bool
walk_through(struct walk *walk, const struct part *part, struct yard *y,
    bool full, char why[700])
{
	struct stand s = { .n = 0 };
	bool ok;

	walk->steps = walk->ways = walk->changed = walk->seen = 0;
	ok = begin(&s, part, y) && walk_all(&s, walk, full) && arrived(&s);
	walk->looks = s.looks;
	if (!ok)
		say_where(why, &s, walk->steps);
	end(&s);
	return ok;
}

/* Killing ------------------------------------------------------------------ */

static bool
go_to(struct trace *t, const struct way *way)
{
	switch (way->kind) {
	case WAY_CALL:
		return trace_call(t);
	case WAY_RUN:
		return trace_run_to(t, RUN_TO);
	case WAY_PC:
		break;
	}
	for (uint32_t i = 0; i < way->n; i++)
		if ((t->at.pc != way->pc && !trace_run_to(t, way->pc)) ||
		    trace_step(t) == TRACE_LOST)
			return false;
	return true;
}

/* A call is met whatever comes before it: other waypoints count behind the last
 * one only. */
static uint32_t
last_sure_way(const struct walk *walk, uint32_t ways)
{
	while (ways > 0 && walk->way[ways - 1].kind == WAY_PC)
		ways--;
	return ways;
}

static bool
go_there(struct trace *t, const struct walk *walk, const struct walk_step *to)
{
	const uint32_t sure = last_sure_way(walk, to->ways);

	for (uint32_t i = 0; i < to->ways; i++)
		if ((i >= sure || walk->way[i].kind != WAY_PC) &&
		    !go_to(t, &walk->way[i]))
			return false;
	for (uint32_t i = 0; i < to->after; i++)
		if (trace_step(t) == TRACE_LOST)
			return false;
	if (t->at.pc == to->pc)
		return true;
	snprintf(t->why, sizeof t->why, "not where the walk was (%#jx)",
	    (uintmax_t)to->pc);
	return false;
}

/* To where the walk was after this instruction. */
static bool
bring_to(struct stand *s, const struct walk *walk, uint32_t step)
{
	s->astray = !go_there(&s->writer, walk, &walk->step[step]);
	return !s->astray || (s->anywhere && s->writer.tid > 0) ||
	    fault(s, "%s", s->writer.why);
}

/* Old or new, at once, for those who were there and for who comes now. */
static bool
dead_is_no_matter(struct stand *s, enum stage *stage)
{
	trace_kill(&s->writer);
	return all_look(s, false) && newcomer_looks(s, false, stage);
}

/* What the heir was left is what a newcomer saw. */
static bool
check_left(struct stand *s, const struct heir_found *found, bool lost,
    enum stage stage)
{
	const struct scene *scene = s->play.scene;
	const bool same = strcmp(scene_letters(scene, stage),
	    scene_letters(scene, HEIR)) == 0;

	if (found->why[0] != 0)
		return fault(s, "heir: %s", found->why);
	if (lost)
		return (!found->left && found->kept) ||
		    fault(s, "heir: found something where nothing was");
	if (!found->left || (found->stages & 1u << stage) == 0)
		return fault(s, "heir: was left %s, a newcomer saw stage %d",
		    found->left ? "another state" : "nothing", stage);
	return found->kept == same ||
	    fault(s, "heir: kept is %d", found->kept);
}

/* As long as it has nothing to say, readers see what they saw: also while it
 * publishes what it was left, as its own.  Where it was left nothing, those who
 * find its file see that nobody knows anything. */
static bool
heir_takes_over(struct stand *s, struct trace *heir, bool lost)
{
	for (unsigned i = 0; i < s->n; i++)
		s->cast[i].restated = true;
	if (!lost && !all_look(s, true))
		return false;
	if (!trace_fill(heir))
		return fault(s, "heir: %s", heir->why);
	for (int i = 0; i < 3 && !lost; i++)
		if (!all_look(s, true))
			return false;
	return true;
}

static bool
heir_comes(struct stand *s, struct heir_found *found, bool lost,
    enum stage stage)
{
	struct heir heir = { &s->play, found };
	struct trace t;
	bool ok;

	if (!trace_spawn(&t, scene_heir, &heir)) {
		trace_kill(&t);
		return fault(s, "heir: %s", t.why);
	}
	ok = check_left(s, found, lost, stage) && heir_takes_over(s, &t, lost);
	for (unsigned i = 0; i < s->n; i++)
		s->cast[i].limit = HEIR;
	if (!ok) {
		trace_kill(&t);
		return false;
	}
	return trace_end(&t) || fault(s, "heir: %s", t.why);
}

/* It has published, and ended: everybody sees that, whatever they mapped. */
static bool
heir_is_seen(struct stand *s, bool lost)
{
	for (unsigned i = 0; i < s->n; i++) {
		s->cast[i].bereft = lost;
		s->looks++;
		if (!watch_until(&s->cast[i], HEIR, false))
			return complain(s, &s->cast[i]);
	}
	return yard_is_tidy(s->yard) || fault(s, "something is left over");
}

static bool
kill_once(struct stand *s, const struct walk *walk, uint32_t step,
    const struct part *part, struct yard *y, struct heir_found *found)
{
	enum stage stage = BEFORE;
	bool lost;

	if (!begin(s, part, y) || !bring_to(s, walk, step) ||
	    !dead_is_no_matter(s, &stage))
		return false;
	lost = !yard_has_file(y);
	return heir_comes(s, found, lost, stage) && heir_is_seen(s, lost);
}

bool
walk_kill(const struct walk *walk, uint32_t step, const struct part *part,
    struct yard *y, struct walk_kills *sum, char why[700])
{
	struct heir_found *found = mmap(NULL, sizeof *found,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct stand s = { .astray = true };
	bool ok = false;

	for (int i = 1; i <= TRIES && !ok && s.astray; i++) {
		s.anywhere = i == TRIES;
		ok = kill_once(&s, walk, step, part, y, found);
		sum->looks += s.looks;
		if (!ok)
			say_where(why, &s, step);
		end(&s);
	}
	sum->kills++;
	sum->elsewhere += s.astray;
	munmap(found, sizeof *found);
	return ok;
}
