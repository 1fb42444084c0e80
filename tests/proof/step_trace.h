/*
 * step_trace.h - a child with a publisher thread, and that thread under the
 * tracer's hand, one instruction at a time.
 *
 *	trace_start()	the child has published what it starts with, its thread
 *			is about to sleep in the mailbox's futex(2)
 *	trace_fill()	its other thread, which nobody traces, fills the mailbox
 *	trace_step()	one instruction of the publisher
 *	...
 *	trace_kill() or trace_end()
 *
 * A place on the way is said in waypoints (system calls, mostly), so that
 * another child is brought there fast, and in single instructions after the
 * last waypoint.
 */
#ifndef STEP_TRACE_H
#define STEP_TRACE_H

#include "step_machine.h"

enum trace_result {
	TRACE_ON,		/* stopped at the next instruction */
	TRACE_IDLE,		/* about to wait for its next work */
	TRACE_LOST		/* why */
};

struct trace {
	pid_t pid, tid;		/* of the child, of its publisher */
	int to, from;		/* pipes to its other thread */
	bool entered;		/* stopped at the entry of a system call */
	struct machine_at at;
	char why[200];
};

/* What a child does: its setup, then child_ready(), its deed, child_done(). */
struct child {
	int in, out;
};
void child_ready(const struct child *c);
void child_done(const struct child *c);

/* Fork, and wait until the child is ready; nothing is traced.  False, and
 * t->why. */
bool trace_spawn(struct trace *t, void (*run)(const struct child *, void *),
    void *arg);
/* The same, and its publisher's thread at its first wait for work. */
bool trace_start(struct trace *t, void (*run)(const struct child *, void *),
    void *arg);
bool trace_fill(struct trace *t);
enum trace_result trace_step(struct trace *t);
/* To behind the next system call. */
bool trace_call(struct trace *t);
/* On at full speed, to this function's first instruction, with no system call
 * on the way. */
bool trace_run_to(struct trace *t, uint64_t pc);
void trace_kill(struct trace *t);
/* Let the child come to its own end; false if that is not a good one. */
bool trace_end(struct trace *t);

#endif
