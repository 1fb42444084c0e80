/*
 * step_machine_x86_64.c - stopped threads on x86-64.
 */
#include "step_machine.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#define SYSCALL 0x050fu
#define INT3 0xccu

const char *
machine_trouble(void)
{
	return NULL;
}

static bool
registers(pid_t tid, struct user_regs_struct *r, bool set)
{
	struct iovec v = { r, sizeof *r };

	return ptrace(set ? PTRACE_SETREGSET : PTRACE_GETREGSET, tid,
	    (void *)NT_PRSTATUS, &v) == 0;
}

bool
machine_look(pid_t tid, struct machine_at *at)
{
	struct user_regs_struct r;
	long word;

	if (!registers(tid, &r, false))
		return false;
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, tid, (void *)r.rip, NULL);
	if (errno != 0)
		return false;
	*at = (struct machine_at){ .pc = r.rip,
		.call = ((unsigned long)word & 0xffff) == SYSCALL,
		.next = (long)r.rax, .entered = (long)r.orig_rax,
		.arg = { r.rdi, r.rsi } };
	return true;
}

bool
machine_break(pid_t tid, uint64_t pc, long *saved)
{
	errno = 0;
	*saved = ptrace(PTRACE_PEEKTEXT, tid, (void *)pc, NULL);
	return errno == 0 && ptrace(PTRACE_POKETEXT, tid, (void *)pc,
	    (void *)(((unsigned long)*saved & ~0xfful) | INT3)) == 0;
}

bool
machine_mend(pid_t tid, uint64_t pc, long saved)
{
	struct user_regs_struct r;

	/* The trap comes after the breakpoint's one byte. */
	if (!registers(tid, &r, false) || r.rip != pc + 1)
		return false;
	r.rip = pc;
	return registers(tid, &r, true) &&
	    ptrace(PTRACE_POKETEXT, tid, (void *)pc, (void *)saved) == 0;
}
