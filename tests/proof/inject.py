#!/usr/bin/env python3
"""inject.py - the real daemon, killed, stopped and failed at every system call
with which it publishes, creates, exchanges and attaches.

    inject.py --quick | --full [--only PHASE] [--jobs N]

Which calls there are is not written here: each phase is run once under strace,
and what the publisher does in it is the list.  After every case: clients are
right at once and get to the file that has the name, the next daemon attaches,
is believed and ends with 0, and nothing is left over.  See inject_lane.py.

--quick takes each call of each phase once, with KILL and one error; --full all
of them, with all errors that fit and with STOP.  A case that hits another call
than it was meant for is tried again, never counted for it.
"""
import argparse
import os
import sys
import time
import traceback

import inject_slow
from inject_lane import (PATIENCE, PERIODIC, PHASES, SYSEXITS, Header, House,
                         Lane, Strace, end_all, wait_until, workers)

# What can fail, and how.  The first one is --quick's.
ERRORS = {
    "mkdir": ["EACCES", "EIO", "ENOSPC"],
    "openat directory": ["EMFILE", "EACCES", "EINTR"],
    "fstatfs": ["EIO"], "openat list": ["EMFILE"], "fcntl flags": ["EINVAL"],
    "getdents64": ["EIO"], "openat file": ["EIO", "EMFILE", "EINTR"],
    "openat tmp": ["ENOSPC", "EMFILE", "EIO", "EINTR"], "fstat": ["EIO", "ENOMEM"],
    "fcntl lock": ["ENOLCK", "EINTR"], "lstat path": ["EIO", "ENOMEM"],
    "fchmod": ["EIO", "EPERM"], "getrandom": ["ENOSYS"],
    "pwrite64": ["ENOSPC", "EIO", "EINTR"], "pread64": ["EIO", "EINTR"],
    "mmap file": ["ENOMEM"], "mmap memory": ["ENOMEM"],
    "fsync": ["EIO", "ENOSPC", "EINTR"], "renameat2": ["EIO", "ENOSPC"],
    "unlinkat": ["EIO"], "msync section": ["EIO", "ENOSPC", "EINTR"],
    "msync header": ["EIO", "ENOSPC", "EINTR", "ENOMEM"],
    "msync retire": ["EIO", "ENOSPC", "EINTR"],
    "clone3": ["EAGAIN"],
}
ATTEMPTS = 40
ENOUGH = 3                  # failures of one part of a phase
AROUND = (0, 2, -2, 1, -1, 3, 4, -3, -4, 5, 6)      # where another got between


class Missed(Exception):
    """The phase is over, and the call did not come."""


def over_or_not(phase, lane):
    try:
        return phase.done(lane)
    except OSError:
        return False


class Target:
    def __init__(self, label, nth, name, number):
        self.label, self.nth, self.name = label, nth, name  # 0: any of them
        self.number = number        # of its name, when it was last seen

    def __str__(self):
        return self.label if self.nth <= 1 else f"{self.label} #{self.nth}"

    def find(self, calls):
        """The call that is meant, in this trace."""
        same = [c for c in calls if c.label == self.label]
        if self.nth == 0:
            return same[-1] if same else None
        return same[self.nth - 1] if len(same) >= self.nth else None

    def hit(self, calls):
        hurt = [c for c in calls if c.hurt]
        if not hurt:
            return False
        return hurt[0].label == self.label if self.nth == 0 else \
            self.find(calls) is hurt[0]


def targets(calls, phase):
    """What can be hurt in this phase."""
    where = phase.where
    if where == "exec":
        first = next(i for i, c in enumerate(calls) if c.label == "mkdir")
        last = next(i for i, c in enumerate(calls)
                    if i > first and c.label == "clone3")
    elif where == "main":       # before it the ini was read
        first = next(i for i, c in enumerate(calls)
                     if c.label == "lstat path")
        last = len(calls)
    else:
        first, last = 0, len(calls)
    found, seen = [], {}
    for i, c in enumerate(calls[:last + 1]):
        if c.label is None:
            continue
        seen[c.label] = nth = seen.get(c.label, 0) + 1
        if i < first:
            continue
        if where != "exec" and c.label == "mmap memory":
            continue            # malloc's, now and then
        if where == "publisher" and c.label in PERIODIC and \
                c.label not in phase.again:
            continue
        if where != "exec" and c.label in (*PERIODIC, "munmap", "close"):
            if c.label not in [t.label for t in found]:     # any of them
                found.append(Target(c.label, 0, c.name, c.number))
        else:
            found.append(Target(c.label, nth, c.name, c.number))
    return found


# One case -------------------------------------------------------------------

def spec(fault):
    return "signal=" + fault if fault in ("KILL", "STOP") else \
        "error=" + fault


def wait_fired(fired, over, what):
    """Until it has; Missed once the phase has been over for a while."""
    since, deadline = None, time.monotonic() + PATIENCE
    while not fired():
        if since is None and over():
            since = time.monotonic()
        if since is not None and time.monotonic() - since > 1.5:
            if fired():
                return
            raise Missed(what)
        assert time.monotonic() < deadline, f"neither hurt nor done: {what}"
        time.sleep(0.003)


def stopped(lane):
    return lane.checker.alive and lane.checker.process.state() in "Tt" and \
        "SIGSTOP" in traced_stop(lane)


def traced_stop(lane):
    log = lane.log if lane.log else lane.strace.log
    return log.read_text(errors="replace") if log.exists() else ""


class Later:
    """A client that was there before the first file."""

    def __init__(self, lane):
        self.lane = lane
        self.client = lane.house.client(lane.path, later=True)

    def right(self):
        reply = self.client.ask("pick k1")
        # Between the two looks the daemon may make it.
        if reply["err"] == -5:
            return
        assert reply["err"] == 0 and reply["slot"] == reply["home"], reply

    def follows(self):
        wait_until(lambda: self.client.ask("pick k1")["err"] == 0,
                   "the first file is found", PATIENCE)
        self.client.picks(100).only_moved("fake1")

    def end(self):
        self.client.process.end()


def says(error):
    return os.strerror(getattr(__import__("errno"), error))


def ended_with_reason(lane, fault):
    """A start that fails says why, in one line, and how in its exit code."""
    code = lane.checker.process.code
    assert code in SYSEXITS, f"exit {code}\n{lane.checker.log()}"
    # A thread without memory for its stack has EAGAIN.
    words = {says(fault)} | ({says("EAGAIN")} if fault == "ENOMEM" else set())
    assert any(lane.checker.logged(word) for word in words), \
        f"no word of {words}:\n{lane.checker.log()}"
    assert not lane.checker.logged("another daemon"), lane.checker.log()
    lane.checker.expected_code = code


def hurt_start(lane, phase, target, fault):
    """Its calls after the case, as far as traced."""
    phase.prepare(lane)
    later = Later(lane) if lane.reader is None else None
    right = later.right if later else lane.right
    lane.start(f"{target.name}:{spec(fault)}:when={target.number}")
    checker = lane.checker
    if fault == "KILL":
        wait_fired(lambda: not checker.alive, lambda: False, str(target))
        lane.killed()
    elif fault == "STOP":
        wait_fired(lambda: stopped(lane), lambda: False, str(target))
        stopped_start(lane, right)
    else:
        wait_until(lambda: not checker.alive or checker.told("READY"),
                   "it is ready, or ends", PATIENCE)
        if checker.alive:
            lane.descriptors = lane.files()
            assert lane.descriptors[0] == "/dev/null"
            lane.sound()
            lane.stop()
        else:
            ended_with_reason(lane, fault)
    right()
    lane.next_daemon()
    if later:
        later.follows()
        later.end()
    return lane.calls()


def stopped_start(lane, right):
    """While it is stopped another daemon starts: one of the two has the file,
    the other says so and ends with 69."""
    right()
    rival = lane.rival
    rival.pools = lane.checker.pools
    rival.configure()
    rival.start(ready=False)
    wait_until(lambda: not rival.alive or rival.told("READY"),
               "the rival is ready, or ends", PATIENCE)
    won = rival.alive
    if not won:
        assert rival.process.code == 69, rival.log()
        rival.expected_code = 69
    right()
    lane.checker.process.cont()
    wait_until(lambda: not lane.checker.alive or lane.checker.told("READY"),
               "it is ready, or ends", PATIENCE)
    right()
    if won:
        assert lane.checker.process.code == 69, \
            f"{lane.checker.process.code}: {lane.checker.log()}"
        lane.checker.expected_code = 69
        assert Header(lane.path).pid == rival.pid
        assert rival.stop(seconds=PATIENCE) == 0, rival.log()
    else:
        assert lane.checker.alive, lane.checker.log()
        lane.stop()


def hurt_running(lane, phase, target, fault):
    phase.prepare(lane)
    lane.log = None
    tid = lane.checker.pid if phase.where == "main" else lane.publisher()
    s = lane.strace = Strace(
        lane, tid, f"{target.name}:{spec(fault)}:when={max(target.number, 1)}")
    phase.trigger(lane)

    def over():
        return over_or_not(phase, lane)
    try:
        if fault == "KILL":
            wait_fired(lambda: not lane.checker.alive, over, str(target))
            killed_running(lane)
        elif fault == "STOP":
            wait_fired(lambda: stopped(lane), over, str(target))
            stopped_running(lane, phase, over)
        else:
            wait_fired(lambda: s.hurt(), over, str(target))
            failed_running(lane, phase, over)
    except Missed:
        s.detach()
        settle(lane, phase)
        return s.calls()
    finally:
        s.detach()
    if fault != "KILL":
        settle(lane, phase)
    return s.calls()


def killed_running(lane):
    lane.killed()
    lane.right()
    if lane.path.exists():
        lane.follows(blind=True)
    lane.right()
    lane.next_daemon()


def stopped_running(lane, phase, over):
    lane.right()
    if lane.path.exists():
        lane.follows(blind=True)
    lane.right()
    lane.checker.process.cont()
    wait_until(over, "it goes on", PATIENCE)


def failed_running(lane, phase, over):
    """Tried again until it works, with the clients right all the time."""
    lane.right()
    wait_until(over, "it is done at last", PATIENCE)


def settle(lane, phase):
    """After a case that did not end the daemon, or where the phase does."""
    name = type(phase).__name__
    if name == "End":
        lane.checker.process.wait(PATIENCE)
        assert lane.checker.process.code == 0, lane.checker.log()
        lane.right()
        lane.next_daemon()
        return
    lane.right()
    if phase.beside:
        lane.settled()
        lane.checker.pools = lane.pools()
        lane.checker.reload()
    lane.follows()
    lane.sound()
    # A leftover that could not be unlinked is the next daemon's to sweep.
    if not lane.clean():
        lane.stop()
        lane.next_daemon()


# A phase --------------------------------------------------------------------

def reference(lane, phase):
    """The same without harm: which calls there are."""
    phase.prepare(lane)
    if phase.where == "exec":
        later = Later(lane) if lane.reader is None else None
        lane.start("getpid:delay_enter=1:when=60000")
        lane.ready()
        calls = wait_until(lambda: [c for c in lane.calls()] if any(
            c.label == "clone3" for c in lane.calls()) else None,
            "a whole trace", PATIENCE)
        lane.stop()
        if later:
            later.follows()
            later.end()
        return calls
    tid = lane.checker.pid if phase.where == "main" else lane.publisher()
    s = Strace(lane, tid)
    phase.trigger(lane)
    wait_until(lambda: over_or_not(phase, lane), "the phase", PATIENCE)
    s.detach()
    settle(lane, phase)
    return s.calls()


def faults(target, full):
    if target.label == "mmap memory":
        return ERRORS[target.label] if full else []
    errors = ERRORS.get(target.label, [])
    return ["KILL", "STOP"] + errors if full else ["KILL"] + errors[:1]


def plan(calls, phase, full):
    """[(target, fault)]"""
    found = targets(calls, PHASES[phase])
    if not full:
        # One a system call; where it is used for several things, another one
        # of them in each phase.
        turn, calls = list(PHASES).index(phase), {}
        for t in found:
            if t.label not in [u.label for u in calls.get(t.name, [])]:
                calls.setdefault(t.name, []).append(t)
        found = [same[turn % len(same)] for same in calls.values()]
    return [(t, f) for t in found for f in faults(t, full)]


def hurt(lane, phase, target, fault):
    """Until the right call was hit."""
    run = hurt_start if phase.where == "exec" else hurt_running
    base, away, hits = target.number, 0, []
    for _ in range(ATTEMPTS):
        target.number = max(1, base + AROUND[away % len(AROUND)])
        calls = run(lane, phase, target, fault)
        if target.hit(calls):
            return
        hits += [f"{target.number}: {c.label}" for c in calls if c.hurt]
        # It may have another number by now; what came before it varies.
        meant, away = target.find(calls), away + 1
        if meant and meant.number != base:
            base, away = meant.number, 0
    raise AssertionError(f"{target} was not hit, but {hits}")


class Failures:
    """Of one phase, or of a part of it; each with its story."""

    def __init__(self, name):
        self.name, self.texts = name, []

    def add(self, what, house):
        text = f"{self.name}{what}: {traceback.format_exc()}"
        self.texts.append(text + "".join(
            f"\n--- {title}\n{more}" for title, more in house.story()))


def run_part(name, part, parts, full, failures):
    """How many of its cases were well; one house lasts until a case fails."""
    planned, cases = None, 0
    while planned is None or planned:
        house, what, lane = House(f"inject-{name}"), "", None
        try:
            lane = Lane(house, full, PHASES[name].beside)
            if planned is None:
                planned = []
                planned = plan(reference(lane, PHASES[name]()), name,
                               full)[part::parts]
            while planned:
                target, fault = planned.pop(0)
                what = f": {fault} at {target}"
                hurt(lane, PHASES[name](), target, fault)
                cases, what = cases + 1, ""
            lane.stop()
            lane.close()
        except Exception:
            failures.add(what, house)
            if len(failures.texts) == ENOUGH:
                break           # each may have waited for half a minute
        finally:                # also where a signal ends us
            end_all(house)
    return cases


def run_task(task):
    """One phase, or a part of it.  (name, cases, [what failed], seconds)"""
    began, failures = time.monotonic(), Failures(task[0])
    cases = run_part(*task, failures)
    return task[0], cases, failures.texts, time.monotonic() - began


def run_slow(task):
    began = time.monotonic()
    try:
        return "slow", inject_slow.run(), [], time.monotonic() - began
    except Exception:
        return "slow", 0, [f"slow: {traceback.format_exc()}"], \
            time.monotonic() - began


def run_any(task):
    return run_slow(task) if task[0] == "slow" else run_task(task)


def main():
    parser = argparse.ArgumentParser()
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--quick", action="store_true")
    mode.add_argument("--full", action="store_true")
    parser.add_argument("--only", choices=[*PHASES, "slow"])
    parser.add_argument("--jobs", type=int, default=8)
    o = parser.parse_args()
    parts = 4 if o.full else 2
    tasks = [(name, part, parts, o.full) for name in PHASES
             for part in range(parts) if o.only in (None, name)]
    if o.only in (None, "slow"):        # first: it waits most
        tasks.insert(0, ("slow",))
    cases, failures, seconds = {}, [], {}
    with workers(o.jobs) as pool:
        for name, n, failed, took in pool.imap_unordered(run_any, tasks):
            cases[name] = cases.get(name, 0) + n
            seconds[name] = seconds.get(name, 0) + took
            failures += failed
            for text in failed:
                print(f"FAILED {text}", flush=True)
    for name, n in cases.items():
        what = PHASES[name] if name in PHASES else inject_slow
        what = what.__doc__.split(".")[0].split(":")[0]
        print(f"{name:9} {what:60}{n:5} cases {seconds[name]:6.1f} s")
    total = sum(cases.values())
    if failures or not total:
        print(f"inject: {len(failures)} failed, {total} cases were well")
        sys.exit(1)
    print(f"inject: ok, {total} cases")


if __name__ == "__main__":
    main()
