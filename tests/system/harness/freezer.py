"""Single threads of a process that stand still, and go on.

Run as a program it is the tracer: a process of its own, for what it stops goes
on by itself when it ends.  It reads "freeze TID" or "thaw TID", and says "ok"
or what is wrong.
"""
import ctypes
import os
import sys

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
STOPPED = 0x7f


class Freezer:
    """For a test: threads by their ids, of a process that the test started."""

    def __init__(self, house):
        from .process import Process
        self.process = Process(house, f"freezer{next(house.numbers)}",
                               [sys.executable, __file__], talks=True)

    def tell(self, what, tid):
        self.process.write(f"{what} {tid}")
        answer = self.process.read()
        assert answer == "ok", f"{what} {tid}: {answer}"

    def freeze(self, *tids):
        for tid in tids:
            self.tell("freeze", tid)

    def thaw(self, *tids):
        for tid in tids:
            self.tell("thaw", tid)


def ptrace(request, tid):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(tid),
                   ctypes.c_void_p(0), ctypes.c_void_p(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def freeze(tid):
    ptrace(SEIZE, tid)
    ptrace(INTERRUPT, tid)
    status = os.waitpid(tid, WALL)[1]
    if status & 0xff != STOPPED:
        raise OSError(0, f"did not stop: {status:#x}")


def thaw(tid):
    ptrace(DETACH, tid)


def main():
    for line in sys.stdin:
        what, tid = line.split()
        try:
            {"freeze": freeze, "thaw": thaw}[what](int(tid))
            print("ok", flush=True)
        except OSError as e:
            print(e, flush=True)


if __name__ == "__main__":
    main()
