/*
 * step_trace.c - ptrace(2) on one thread of a child.
 *
 * Knows no file and no publication.
 */
#include "step_trace.h"

#include <dirent.h>
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool lost(struct trace *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool
lost(struct trace *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(t->why, sizeof t->why, fmt, ap);
	va_end(ap);
	return false;
}

/* The child's side --------------------------------------------------------- */

static void
say(const struct child *c)
{
	if (write(c->out, "", 1) != 1)
		_exit(3);
}

static void
hear(const struct child *c)
{
	char byte;

	if (read(c->in, &byte, 1) != 1)
		_exit(3);
}

void
child_ready(const struct child *c)
{
	say(c);
	hear(c);
}

void
child_done(const struct child *c)
{
	say(c);
	hear(c);
}

/* Waiting ------------------------------------------------------------------ */

/* The next stop of the thread.  False where it ended. */
static bool
stop(struct trace *t, int *status)
{
	if (waitpid(t->tid, status, __WALL) != t->tid)
		return lost(t, "waitpid: %s", strerror(errno));
	if (WIFSTOPPED(*status))
		return true;
	t->tid = 0;
	return lost(t, "the writer ended by itself (status %#x)", *status);
}

static bool
go(struct trace *t, int how, int *status)
{
	if (ptrace(how, t->tid, NULL, NULL) == -1)
		return lost(t, "ptrace: %s", strerror(errno));
	return stop(t, status);
}

static bool
look(struct trace *t)
{
	return machine_look(t->tid, &t->at) ||
	    lost(t, "cannot read the writer's registers: %s", strerror(errno));
}

static bool
is_call(int status)
{
	return WSTOPSIG(status) == (SIGTRAP | 0x80);
}

static bool
waits(const struct machine_at *at, long call)
{
	const int command = (int)at->arg[1] &
	    ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);

	return call == SYS_futex &&
	    (command == FUTEX_WAIT || command == FUTEX_WAIT_BITSET);
}

/* Starting ----------------------------------------------------------------- */

static bool
heard(struct trace *t)
{
	char byte;

	return read(t->from, &byte, 1) == 1 ||
	    lost(t, "the writer's child failed before it was stepped");
}

/* The thread that is not the child's first. */
static bool
find_thread(struct trace *t)
{
	char path[64];
	struct dirent *de;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", (int)t->pid);
	dir = opendir(path);
	if (dir == NULL)
		return lost(t, "%s: %s", path, strerror(errno));
	while ((de = readdir(dir)) != NULL)
		if (atoi(de->d_name) > 0 && atoi(de->d_name) != t->pid)
			t->tid = atoi(de->d_name);
	closedir(dir);
	return t->tid != 0 || lost(t, "the writer has no publisher thread");
}

/* To the entry of the call in which it waits for work. */
static bool
to_idle(struct trace *t)
{
	int status;

	do {
		do
			if (!go(t, PTRACE_SYSCALL, &status))
				return false;
		while (!is_call(status));
		t->entered = !t->entered;
		if (!look(t))
			return false;
	} while (!t->entered || !waits(&t->at, t->at.entered));
	return true;
}

static bool
seize(struct trace *t)
{
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	int status;

	if (!find_thread(t))
		return false;
	if (ptrace(PTRACE_SEIZE, t->tid, NULL, (void *)options) == -1 ||
	    ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL) == -1)
		return lost(t, "cannot trace a child of ours: %s (needs "
		    "ptrace(2); in a container: CAP_SYS_PTRACE or a seccomp "
		    "profile that allows it)", strerror(errno));
	return stop(t, &status) && to_idle(t);
}

bool
trace_spawn(struct trace *t, void (*run)(const struct child *, void *),
    void *arg)
{
	const pid_t tracer = getpid();
	int to[2], from[2];

	*t = (struct trace){ .to = -1, .from = -1 };
	if (pipe(to) == -1 || pipe(from) == -1)
		return lost(t, "pipe: %s", strerror(errno));
	t->pid = fork();
	if (t->pid == 0) {
		const struct child c = { to[0], from[1] };

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(to[1]);
		close(from[0]);
		if (getppid() == tracer)
			run(&c, arg);
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	t->to = to[1];
	t->from = from[0];
	if (t->pid == -1)
		return lost(t, "fork: %s", strerror(errno));
	return heard(t);
}

bool
trace_start(struct trace *t, void (*run)(const struct child *, void *),
    void *arg)
{
	return trace_spawn(t, run, arg) && seize(t);
}

bool
trace_fill(struct trace *t)
{
	if (write(t->to, "", 1) != 1)
		return lost(t, "the writer's child is gone");
	return heard(t);
}

/* Going on ----------------------------------------------------------------- */

enum trace_result
trace_step(struct trace *t)
{
	int status;

	if (!go(t, PTRACE_SINGLESTEP, &status) || !look(t))
		return TRACE_LOST;
	t->entered = false;
	if (WSTOPSIG(status) != SIGTRAP) {
		lost(t, "the writer got signal %d", WSTOPSIG(status));
		return TRACE_LOST;
	}
	return t->at.call && waits(&t->at, t->at.next) ? TRACE_IDLE : TRACE_ON;
}

bool
trace_call(struct trace *t)
{
	int status;

	do {
		if (!go(t, PTRACE_SYSCALL, &status))
			return false;
		if (!is_call(status))
			return lost(t, "the writer got signal %d before a "
			    "system call", WSTOPSIG(status));
		t->entered = !t->entered;
	} while (t->entered);
	return look(t);
}

bool
trace_run_to(struct trace *t, uint64_t pc)
{
	long saved;
	int status;

	if (!machine_break(t->tid, pc, &saved))
		return lost(t, "cannot set a breakpoint: %s", strerror(errno));
	if (!go(t, PTRACE_SYSCALL, &status))
		return false;
	if (WSTOPSIG(status) != SIGTRAP)
		return lost(t, "a stop (%#x) where there should be none",
		    status);
	if (!machine_mend(t->tid, pc, saved))
		return lost(t, "the breakpoint was not met");
	return look(t);
}

/* Ending ------------------------------------------------------------------- */

static void
leave(struct trace *t)
{
	close(t->to);
	close(t->from);
	t->to = t->from = -1;
	t->pid = t->tid = 0;
}

void
trace_kill(struct trace *t)
{
	if (t->pid > 0) {
		kill(t->pid, SIGKILL);
		/* The traced thread first: until it is gone, so is not the
		 * process. */
		if (t->tid > 0)
			waitpid(t->tid, NULL, __WALL);
		waitpid(t->pid, NULL, 0);
	}
	leave(t);
}

bool
trace_end(struct trace *t)
{
	int status = 0;

	if (t->tid > 0)
		ptrace(PTRACE_DETACH, t->tid, NULL, NULL);
	if (write(t->to, "", 1) != 1)
		status = -1;
	if (waitpid(t->pid, status == 0 ? &status : NULL, 0) != t->pid)
		status = -1;
	leave(t);
	return status == 0 || lost(t, "the writer ended badly (%#x)", status);
}
