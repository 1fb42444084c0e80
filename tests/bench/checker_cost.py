"""checker_cost.py - what a probe costs: processor time, system calls, memory,
and whether the schedule is kept at that price.

Many fake servers, nearly all of them well; one checker after the other, the
same servers and the same interval.
"""
import contextlib
import os
import re
import shutil
import subprocess
import textwrap
import time

from checker_world import Checker, Fakes, Haproxy, Trouble, wait_for

CALLS = ["sendto", "recvfrom", "epoll_wait", "epoll_ctl", "socket", "connect",
         "setsockopt", "getsockopt", "fcntl", "close", "clock_gettime"]
BAD = 10                        # servers that hang; as many that refuse
# servers, interval in s, whose: the shipped defaults, or conf/fast-lan.ini
RUNS = [(1000, 1, "defaults"), (5000, 1, "defaults"), (10000, 1, "defaults"),
        (1000, 0.1, "fast-lan"), (5000, 0.1, "fast-lan")]
QUICK = [(1000, 1, "defaults")]
GOALS = [(5000, 1, "defaults")]


def cpu_ns(pid):
    """Of all its threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError):
            with open(f"/proc/{pid}/task/{task}/schedstat",
                      encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1])


def perf(world, pid, seconds):
    """{name: how many}, counted by the kernel, or None: it can not be had."""
    out = f"{world.directory}/perf"
    if not shutil.which("perf"):
        return None
    events = ["raw_syscalls:sys_enter"]
    events += [f"syscalls:sys_enter_{name}" for name in CALLS]
    subprocess.run(["perf", "stat", "-x,", "-e", ",".join(events), "-o", out,
                    "-p", str(pid), "sleep", str(seconds)],
                   capture_output=True, check=False)
    if not os.path.exists(out):
        return None
    with open(out, encoding="ascii") as f:
        n = [int(n) for n in
             re.findall(r"^(\d+),,\w+:sys_enter", f.read(), re.M)]
    if len(n) != len(events):
        return None
    return dict(zip(CALLS, n[1:])) | {"others": n[0] - sum(n[1:])}


def strace(world, pid, seconds):
    """The same.  Who is watched in this way is slow, and with thousands of
    probes a second late: calls that several probes share are too few."""
    out = f"{world.directory}/strace"
    subprocess.run(["timeout", "-s", "INT", str(seconds), "strace", "-c", "-f",
                    "-o", out, "-p", str(pid)], capture_output=True,
                   check=False)
    with open(out, encoding="ascii") as f:
        rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$",
                          f.read(), re.M)
    return {name: int(n) for n, name in rows if name != "total"}


def system_calls(world, pid, seconds, rate):
    """{name: a probe}, in a time of its own."""
    calls = perf(world, pid, seconds) or strace(world, pid, seconds)
    if not calls:
        raise Trouble(f"no system call of {pid} was seen")
    return {name: n / (rate * seconds) for name, n in calls.items()}


class Ours:
    def __init__(self, stack, world, fakes, interval, settings):
        lines = world.fast_lan if settings == "fast-lan" else ""
        self.title = "mc-checkerd" if not lines else "  with fast-lan.ini"
        self.checker = Checker(stack, world, f"cost{len(fakes.port)}{settings}",
                               lines, fakes.port)
        self.process = self.checker.process

    def verdicts(self):
        return self.checker.verdicts()

    def probes(self):
        shown = self.checker.servers()
        return [shown[f"s{i}"]["probes"] for i in range(len(shown))]


class Theirs:
    def __init__(self, stack, world, fakes, interval, settings):
        ms = int(interval * 1000)
        self.title = "HAProxy"
        self.fakes = fakes
        self.haproxy = Haproxy(stack, world, {"bench": (
            f"inter {ms}ms", f"{min(ms, 1500)}ms", f"{min(ms, 750)}ms")},
            fakes.port)
        self.process = self.haproxy.process

    def verdicts(self):
        return self.haproxy.verdicts("bench")

    def probes(self):
        return self.fakes.requests()


def wanted(count):
    """Of a checker that is right."""
    return {f"s{i}": "DOWN" if i < 2 * BAD else "UP" for i in range(count)}


def measure(kind, world, count, interval, settings, speed):
    with contextlib.ExitStack() as stack:
        fakes = Fakes(stack, world, count)
        for i in range(2 * BAD):
            fakes.set(i, "refuse" if i % 2 else "hang")
        one = kind(stack, world, fakes, interval, settings)
        want = wanted(count)
        wait_for(f"verdicts of {one.title}", lambda: one.verdicts() == want)
        time.sleep(4 * speed)
        pid, began = one.process.pid, time.monotonic()
        probes, cpu = one.probes(), cpu_ns(pid)
        time.sleep(16 * speed)
        seconds = time.monotonic() - began
        after, cpu = one.probes(), cpu_ns(pid) - cpu
        each = [b - a for a, b in zip(probes, after)][2 * BAD:]
        row = {"title": one.title, "count": count, "interval": interval,
               "seconds": seconds, "least": min(each), "most": max(each),
               "us": cpu / 1e3 / sum(each), "share": cpu / 1e9 / seconds,
               "memory": memory_kib(pid) / 1024,
               "files": len(os.listdir(f"/proc/{pid}/fd")),
               "wrong": sum(v != want[s] for s, v in one.verdicts().items())}
        row["calls"] = system_calls(world, pid, max(1, round(4 * speed)),
                                    sum(each) / seconds)
        return row


def show(rows):
    print(f"\n{'What a probe costs':35} {'CPU':>9} {'calls':>5} {'core':>6}"
          f" {'memory':>10} {'files':>5} {'probes of each':>16} wrong")
    for i, r in enumerate(rows):
        where = f"{r['count']} in {r['interval']:g} s" if i % 2 == 0 else ""
        print(f"{where:14} {r['title']:20} {r['us']:6.1f} us"
              f" {sum(r['calls'].values()):5.1f} {r['share'] * 100:4.1f} %"
              f" {r['memory']:6.1f} MiB {r['files']:5}"
              f" {r['least']:>4}-{r['most']:<3} of"
              f" {r['seconds'] / r['interval']:5.1f} {r['wrong']:5}")
    print("\nCalls of a probe")
    for r in rows:
        calls = sorted(r["calls"].items(), key=lambda c: -c[1])
        print(textwrap.fill(
            f"{r['count']} in {r['interval']:g} s, {r['title'].strip()}: "
            + ", ".join(f"{name} {n:.2f}" for name, n in calls if n >= 0.01),
            80, subsequent_indent="    "))


def run(world, runs, speed):
    rows = []
    for count, interval, settings in runs:
        for kind in (Ours, Theirs):
            rows.append(measure(kind, world, count, interval, settings, speed))
    return rows
