"""checker_cost.py - what a probe costs: processor time, system calls, memory,
and whether the schedule is kept at that price.

Many fake servers, nearly all of them well, or one real one with TLS by many
addresses; one checker after the other, the same servers and the same interval.
"""
import collections
import contextlib
import os
import re
import shutil
import subprocess
import textwrap
import time

from checker_world import (TLS_NAME, Checker, Fakes, Haproxy, TlsServers,
                           Trouble, wait_for)

CALLS = ["sendto", "recvfrom", "epoll_wait", "epoll_ctl", "socket", "connect",
         "setsockopt", "getsockopt", "fcntl", "close", "clock_gettime"]
BAD = 10                        # servers that hang; as many that refuse
# What probes do beside asking, switched off.
MINIMAL = """[defaults]
fresh_every = 0
stats_interval = 0
thread_scan_interval = 0
"""
# interval in s; who is measured, of COLUMNS
Run = collections.namedtuple("Run", "count interval who tls",
                             defaults=(False,))
RUNS = [Run(1000, 1, ("defaults", "haproxy")),
        Run(5000, 1, ("defaults", "minimal", "haproxy")),
        Run(10000, 1, ("defaults", "haproxy")),
        Run(1000, 0.1, ("fast-lan", "haproxy")),
        Run(5000, 0.1, ("fast-lan", "haproxy", "haproxy-4")),
        Run(1000, 1, ("defaults", "minimal", "haproxy"), tls=True),
        Run(1000, 0.1, ("fast-lan",), tls=True)]
QUICK = [Run(1000, 1, ("defaults", "minimal", "haproxy", "haproxy-4")),
         Run(200, 1, ("defaults", "haproxy"), tls=True)]
GOALS = [Run(5000, 1, ("defaults", "haproxy"))]


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
    def __init__(self, stack, world, servers, run, settings):
        lines = {"defaults": "[defaults]\n", "minimal": MINIMAL,
                 "fast-lan": world.fast_lan}[settings]
        if run.tls:
            lines += f"\ntls = yes\ntls_ca = {servers.ca}\n" \
                f"tls_name = {TLS_NAME}\n"
        self.title = {"defaults": "mc-checkerd", "minimal": "  asks only",
                      "fast-lan": "  with fast-lan.ini"}[settings]
        self.checker = Checker(
            stack, world, f"cost{run.count}{run.interval}{settings}{run.tls}",
            lines, servers.port)
        self.process = self.checker.process

    def verdicts(self):
        return self.checker.verdicts()

    def probes(self):
        shown = self.checker.servers()
        return [shown[f"s{i}"]["probes"] for i in range(len(shown))]


class Theirs:
    def __init__(self, stack, world, servers, run, settings):
        ms = int(run.interval * 1000)
        threads = 4 if settings == "haproxy-4" else 1
        self.title = "HAProxy" if threads == 1 else f"  nbthread {threads}"
        self.servers = servers
        line = f"inter {ms}ms"
        if run.tls:
            line += f" check-ssl verify required verifyhost {TLS_NAME}" \
                f" check-sni {TLS_NAME} ca-file {servers.ca}"
        # It waits no longer than `inter` for a connection, whatever it is told.
        self.haproxy = Haproxy(stack, world, {"bench": (
            line, f"{min(ms, 1500)}ms", f"{min(ms, 750)}ms")},
            servers.port, threads)
        self.process = self.haproxy.process

    def verdicts(self):
        return self.haproxy.verdicts("bench")

    def probes(self):
        if isinstance(self.servers, Fakes):
            return self.servers.requests()
        # A check is a connection; whose it was is not known.
        n = len(self.servers.port)
        return [self.servers.connections() / n] * n


COLUMNS = {"defaults": Ours, "minimal": Ours, "fast-lan": Ours,
           "haproxy": Theirs, "haproxy-4": Theirs}


def wanted(count, bad):
    """Of a checker that is right."""
    return {f"s{i}": "DOWN" if i < bad else "UP" for i in range(count)}


def measure(world, run, settings, speed):
    bad = 0 if run.tls else 2 * BAD
    with contextlib.ExitStack() as stack:
        servers = (TlsServers if run.tls else Fakes)(stack, world, run.count)
        for i in range(bad):
            servers.set(i, "refuse" if i % 2 else "hang")
        one = COLUMNS[settings](stack, world, servers, run, settings)
        want = wanted(run.count, bad)
        wait_for(f"verdicts of {one.title}", lambda: one.verdicts() == want)
        time.sleep(4 * speed)
        pid, began = one.process.pid, time.monotonic()
        probes, cpu = one.probes(), cpu_ns(pid)
        time.sleep(16 * speed)
        seconds = time.monotonic() - began
        after, cpu = one.probes(), cpu_ns(pid) - cpu
        each = [b - a for a, b in zip(probes, after)][bad:]
        row = {"title": one.title, "run": run, "seconds": seconds,
               "least": round(min(each)), "most": round(max(each)),
               "us": cpu / 1e3 / sum(each), "share": cpu / 1e9 / seconds,
               "memory": memory_kib(pid) / 1024,
               "files": len(os.listdir(f"/proc/{pid}/fd")),
               "wrong": sum(v != want[s] for s, v in one.verdicts().items())}
        row["calls"] = system_calls(world, pid, max(1, round(4 * speed)),
                                    sum(each) / seconds)
        return row


def place(run):
    return f"{run.count} in {run.interval:g} s" + (", TLS" if run.tls else "")


def show(rows):
    print(f"\n{'What a probe costs':39} {'CPU':>9} {'calls':>5} {'core':>6}"
          f" {'memory':>10} {'files':>5} {'probes of each':>16} wrong")
    before = None
    for r in rows:
        where = place(r["run"]) if r["run"] is not before else ""
        before = r["run"]
        print(f"{where:18} {r['title']:20} {r['us']:6.1f} us"
              f" {sum(r['calls'].values()):5.1f} {r['share'] * 100:4.1f} %"
              f" {r['memory']:6.1f} MiB {r['files']:5}"
              f" {r['least']:>4}-{r['most']:<3} of"
              f" {r['seconds'] / r['run'].interval:5.1f} {r['wrong']:5}")
    print("\nCalls of a probe")
    for r in rows:
        calls = sorted(r["calls"].items(), key=lambda c: -c[1])
        print(textwrap.fill(
            f"{place(r['run'])}, {r['title'].strip()}: "
            + ", ".join(f"{name} {n:.2f}" for name, n in calls if n >= 0.01),
            80, subsequent_indent="    "))


def run(world, runs, speed):
    rows = []
    for one in runs:
        missing = TlsServers.missing(world) if one.tls else None
        if missing:
            print(f"  ({place(one)}: left out, no {missing} here)")
            continue
        for settings in one.who:
            rows.append(measure(world, one, settings, speed))
    return rows
