/*
 * step_machine.h - the few things about a stopped thread that differ from one
 * kind of machine to another.  One step_machine_NAME.c is linked.
 */
#ifndef STEP_MACHINE_H
#define STEP_MACHINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Where a stopped thread is. */
struct machine_at {
	uint64_t pc;
	bool call;		/* the next instruction is a system call */
	long next;		/* its number, if so */
	long entered;		/* at the stop at a call's entry: its number */
	uint64_t arg[2];	/* first arguments of either */
};

/* NULL, or why threads can not be stepped on this machine. */
const char *machine_trouble(void);
bool machine_look(pid_t tid, struct machine_at *at);
/* A breakpoint at pc, what was there goes to *saved; and back, with the thread
 * at the instruction that was under it. */
bool machine_break(pid_t tid, uint64_t pc, long *saved);
bool machine_mend(pid_t tid, uint64_t pc, long saved);

#endif
