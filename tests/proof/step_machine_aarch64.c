/*
 * step_machine_aarch64.c - stopped threads on 64-bit ARM.
 */
#include "step_machine.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#define SVC 0xd4000001u
#define BRK 0xd4200000u
#define ATOMICS (1ul << 8)	/* HWCAP_ATOMICS */

/* A step takes the monitor away between a load-exclusive and its store: a
 * mutex taken by such a pair would be tried for ever. */
const char *
machine_trouble(void)
{
	return (getauxval(AT_HWCAP) & ATOMICS) != 0 ? NULL :
	    "this processor has no atomic instructions that can be stepped "
	    "through (ARMv8.1 LSE)";
}

static bool
registers(pid_t tid, struct user_regs_struct *r)
{
	struct iovec v = { r, sizeof *r };

	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &v) == 0;
}

bool
machine_look(pid_t tid, struct machine_at *at)
{
	struct user_regs_struct r;
	long word;

	if (!registers(tid, &r))
		return false;
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, tid, (void *)r.pc, NULL);
	if (errno != 0)
		return false;
	*at = (struct machine_at){ .pc = r.pc,
		.call = (uint32_t)word == SVC,
		.next = (long)r.regs[8], .entered = (long)r.regs[8],
		.arg = { r.regs[0], r.regs[1] } };
	return true;
}

bool
machine_break(pid_t tid, uint64_t pc, long *saved)
{
	errno = 0;
	*saved = ptrace(PTRACE_PEEKTEXT, tid, (void *)pc, NULL);
	return errno == 0 && ptrace(PTRACE_POKETEXT, tid, (void *)pc,
	    (void *)(((unsigned long)*saved & ~0xfffffffful) | BRK)) == 0;
}

bool
machine_mend(pid_t tid, uint64_t pc, long saved)
{
	struct user_regs_struct r;

	return registers(tid, &r) && r.pc == pc &&
	    ptrace(PTRACE_POKETEXT, tid, (void *)pc, (void *)saved) == 0;
}
