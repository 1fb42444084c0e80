/*
 * step_machine_other.c - machines on which nobody has taught this proof to
 * step.  It says so, and fails.
 */
#include "step_machine.h"

#include <stddef.h>

const char *
machine_trouble(void)
{
	return "single-stepping is known for x86-64 and aarch64 only";
}

bool
machine_look(pid_t tid, struct machine_at *at)
{
	(void)tid;
	(void)at;
	return false;
}

bool
machine_break(pid_t tid, uint64_t pc, long *saved)
{
	(void)tid;
	(void)pc;
	(void)saved;
	return false;
}

bool
machine_mend(pid_t tid, uint64_t pc, long saved)
{
	(void)tid;
	(void)pc;
	(void)saved;
	return false;
}
