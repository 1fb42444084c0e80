/*
 * checker.c - the engine's clock, its watchers on the loop, its life.
 *
 * One turn of the loop: the time is read (turn), due timers and readable
 * sockets are served with it, what changed is counted and told (settle), the
 * loop sleeps.  The heartbeat is the loop's: a loop that hangs stops vouching.
 *
 * The only unit that reads the clock, here, in one place.  Must not do what
 * can wait: files are the publisher's threads', names the resolver's.
 */
#include "checker_engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

#define NAMES_AT_ONCE 64u		/* with the resolver */
#define READY_AFTER 2.0			/* s; servers that do not answer must
					 * not hold up the boot */
#define LATE (SECOND / 1000)
#define SLEPT (LATE / 5)		/* what asks for events, and needs not
					 * wait for one, is back sooner */

uint64_t
checker_clock(clockid_t which)
{
	struct timespec t;

	clock_gettime(which, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

uint64_t
checker_today(void)
{
	return checker_clock(CLOCK_REALTIME) / SECOND;
}

uint64_t
checker_refresh(struct checker *c)
{
	const uint64_t now = checker_clock(CLOCK_BOOTTIME);

	if (now - c->now >= LATE) {
		ev_now_update(c->loop);
		c->now = now;
	}
	return now;
}

uint64_t
checker_random(struct checker *c)
{
	return schedule_mix(c->seed, ++c->drawn);
}

static void
on_turn(struct ev_loop *loop, ev_check *w, int events)
{
	struct checker *c = w->data;
	const uint64_t last = c->turned;

	(void)loop;
	(void)events;
	c->now = c->turned = checker_clock(CLOCK_BOOTTIME);
	/* What has come in came just now, and waited for nobody. */
	if (c->turned - c->settled > SLEPT)
		c->busy = 0;
	doubt_turn(c, last);
	for (uint32_t i = 0; i < c->pools; i++)
		publish_clock(c->pool[i]->publish, c->now);
}

static void
on_settle(struct ev_loop *loop, ev_prepare *w, int events)
{
	struct checker *c = w->data;

	(void)loop;
	(void)events;
	supervise_settle(c);
	c->settled = checker_clock(CLOCK_BOOTTIME);
	c->busy = c->settled - c->turned;
	if (c->busy >= LATE)
		c->late += c->busy;
}

static void
on_beat(struct ev_loop *loop, ev_timer *w, int events)
{
	struct checker *c = w->data;
	const struct publish_time now = { .boot = c->now,
		.real = checker_clock(CLOCK_REALTIME) };

	(void)loop;
	(void)events;
	report_check(c);
	asking_look(c);
	for (uint32_t i = 0; i < c->pools; i++)
		publish_beat(c->pool[i]->publish, now);
}

static void
on_answers(struct ev_loop *loop, ev_io *w, int events)
{
	(void)loop;
	(void)events;
	name_answers(w->data);
}

/* READY does not wait any longer; settle says it. */
static void
on_grace(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)w;
	(void)events;
}

static void
on_feed(struct ev_loop *loop, ev_timer *w, int events)
{
	(void)loop;
	(void)events;
	supervise_feed(w->data);
}

static void
watchers_init(struct checker *c)
{
	ev_check_init(&c->turn, on_turn);
	ev_prepare_init(&c->settle, on_settle);
	ev_timer_init(&c->beat, on_beat, 0., 0.);
	ev_timer_init(&c->grace, on_grace, READY_AFTER, 0.);
	ev_timer_init(&c->feed, on_feed, 0., 0.);
	ev_io_init(&c->answers, on_answers, resolve_fd(c->resolve), EV_READ);
	c->turn.data = c->settle.data = c->beat.data = c->answers.data =
	    c->grace.data = c->feed.data = c;
	/* Everything else in a turn needs its time. */
	ev_set_priority(&c->turn, EV_MAXPRI);
	report_init(c);
}

static void
beat_restart(struct checker *c)
{
	ev_timer_stop(c->loop, &c->beat);
	ev_timer_set(&c->beat, 0., (double)c->heartbeat / 1e9);
	ev_timer_start(c->loop, &c->beat);
}

static void
watchers_start(struct checker *c)
{
	ev_check_start(c->loop, &c->turn);
	ev_prepare_start(c->loop, &c->settle);
	ev_timer_start(c->loop, &c->grace);
	ev_io_start(c->loop, &c->answers);
	beat_restart(c);
	doubt_start(c);
	if (c->notify->watchdog != 0)
		supervise_feed(c);
}

static void
watchers_stop(struct checker *c)
{
	ev_check_stop(c->loop, &c->turn);
	ev_prepare_stop(c->loop, &c->settle);
	ev_timer_stop(c->loop, &c->beat);
	ev_timer_stop(c->loop, &c->grace);
	ev_timer_stop(c->loop, &c->feed);
	doubt_stop(c);
	ev_io_stop(c->loop, &c->answers);
	report_close(c);
}

static void
checker_free(struct checker *c)
{
	struct question *q;

	while ((q = LIST_FIRST(&c->questions)) != NULL) {
		LIST_REMOVE(q, list);
		free(q);
	}
	resolve_close(c->resolve);
	probes_close(c->probes);
	fault_close(c);
	removed_free(&c->removed);
	free(c->pool);
	free(c);
}

/* What of a setup is not a pool's. */
static void
checker_take(struct checker *c, const struct checker_setup *s)
{
	c->heartbeat = s->heartbeat;
	c->tilt = s->tilt;
	c->log_probes = s->log_probes;
	c->about = s->about;
	c->about.config_loaded = checker_clock(CLOCK_REALTIME);
	memcpy(c->about.report, c->hearing.reports.path, REPORTS_PATH);
	c->host = schedule_text(s->about.host);
}

int
checker_open(struct checker **out, struct ev_loop *loop,
    const struct checker_setup *s, const struct notify *notify)
{
	struct checker *c = calloc(1, sizeof *c);
	int err = ENOMEM;

	if (c != NULL && (err = fault_open(c)) == 0)
		err = (c->probes = probes_open(loop)) == NULL ? ENOMEM :
		    resolve_open(&c->resolve, NAMES_AT_ONCE);
	if (err != 0) {
		log_err("cannot start: %s", strerror(err));
		if (c != NULL) {
			probes_close(c->probes);
			fault_close(c);
		}
		free(c);
		return EX_OSERR;
	}
	c->loop = loop;
	c->notify = notify;
	LIST_INIT(&c->questions);
	c->turned = checker_refresh(c);
	c->seed = schedule_mix(c->now, (uint64_t)getpid());
	checker_take(c, s);
	watchers_init(c);
	err = setup_apply(c, s);
	if (err != 0) {
		checker_free(c);
		return err;
	}
	setup_clean(c, s);
	report_apply(c, s);
	watchers_start(c);
	*out = c;
	return 0;
}

/* An ini that lost all its pools is half written, most likely; and what is
 * removed is removed under the clients. */
static bool
gives_up_all(const struct checker *c, const struct checker_setup *s)
{
	if (s->pools != 0 || c->pools == 0)
		return false;
	log_err("no pool is left; a running checker does not give up all its "
	    "pools for that: stop it instead");
	return true;
}

bool
checker_reload(struct checker *c, const struct checker_setup *s)
{
	const struct publish_about about = c->about;
	const uint64_t heartbeat = c->heartbeat, host = c->host;
	const enum checker_log log_probes = c->log_probes;
	const struct doubt_rule tilt = c->tilt;

	supervise_reloading(c);
	checker_take(c, s);
	if (gives_up_all(c, s) || setup_apply(c, s) != 0) {
		c->about = about;
		c->heartbeat = heartbeat;
		c->host = host;
		c->log_probes = log_probes;
		c->tilt = tilt;
		log_err("reload refused, the old configuration stays");
		supervise_refused(c);
		return false;
	}
	setup_clean(c, s);
	report_apply(c, s);
	if (c->heartbeat != heartbeat)
		beat_restart(c);
	return true;
}

void
checker_reload_refused(struct checker *c)
{
	supervise_reloading(c);
	supervise_refused(c);
}

void
checker_close(struct checker *c)
{
	notify_send(c->notify, "STOPPING=1\nSTATUS=stopping");
	watchers_stop(c);
	for (uint32_t i = 0; i < c->pools; i++) {
		struct publish *publish = c->pool[i]->publish;

		pool_free(c->pool[i]);
		publish_close(publish);
	}
	checker_free(c);
}
