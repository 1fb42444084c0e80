#!/usr/bin/env python3
"""storm.py - a server dies, and another one hangs: what ordinary programs go
through, side by side.

    storm.py [--quick] BUILD WORKER DIR     (tests/bench/storm runs it)

Four real memcacheds; eight processes of WORKER (storm_worker.c), a closed loop
each; in every variant the same course:

    calm        4 s
    killed      kill -9 of one server, which stays away for 5 s
    restarted   it is there again, empty, for 6 s
    stopped     SIGSTOP of another one, 10 s
    continued   SIGCONT, 9 s

Everything is on 127.0.0.1, in DIR, and of this process, which ends it by pid
whatever happens.  --quick is a fifth as long, and only shows that it works.
"""
import contextlib
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time

SERVERS, WORKERS, KEYS = 4, 8, 20000
PHASES = [("calm", 4), ("killed", 5), ("restarted", 6), ("stopped", 10),
          ("continued", 9)]
WARM, OVER = 0, len(PHASES) + 1
FIELDS = ("done", "gets", "failed", "stalled", "stalled_ns", "misses", "moved",
          "stale")
# What it is, how the worker calls it, lines of the pool.
VARIANTS = [
    ("libmemcached", "plain", None),
    ("libmemcached, ejecting", "eject", None),
    ("two lines, the checker only", "alone", ""),
    ("two lines", "tied", ""),
    ("two lines, dead = miss", "tied", "dead = miss\n"),
]
PATIENCE = 20


class Trouble(Exception):
    """The bench itself is broken, or the machine."""


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise Trouble(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


class Memcached:
    """One server; at the same port after start() again."""

    def __init__(self, port):
        self.port, self.process = port, None

    def start(self):
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0",
             "-m", "64", "-t", "2", *user], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(f"memcached at port {self.port}",
                 lambda: self.process.poll() is not None or self.answers())
        return self.process.poll() is None

    def answers(self):
        """It, and not somebody else at its port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as s:
                s.sendall(b"stats\r\n")
                return b"STAT pid %d\r\n" % self.process.pid in s.recv(4096)
        except OSError:
            return False

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def start_servers(stack):
    """Below the ports that the kernel gives to whoever connects: nobody may
    have that of a server which is dead."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        top = int(f.read().split()[0])
    port, found = 12000 + os.getpid() % max(1, top - 13000), []
    while len(found) < SERVERS:
        port += 1
        if port >= top:
            raise Trouble("no free ports")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        one = Memcached(port)
        stack.callback(one.end)
        if one.start():
            found.append(one)
    return found


def end(process):
    process.kill()
    process.wait()


def start_checker(stack, build, where, servers, lines):
    config, pool = f"{where}/storm.ini", f"{where}/run/storm.mcshm"
    with open(config, "w", encoding="ascii") as f:
        f.write(f"[checker]\ndirectory = {where}/run\n[pool storm]\n"
                f"scheme = libmemcached-ketama\n{lines}")
        for s in servers:
            f.write(f"server = 127.0.0.1:{s.port}\n")
    log = stack.enter_context(open(f"{where}/checkerd.log", "ab"))
    checker = subprocess.Popen([f"{build}/mc-checkerd", "-c", config],
                               stdin=subprocess.DEVNULL, stdout=log,
                               stderr=log)
    stack.callback(end, checker)

    def all_up():
        if checker.poll() is not None:
            raise Trouble("mc-checkerd has ended: see " + log.name)
        shown = subprocess.run([f"{build}/mc-shmdump", "--json", pool],
                               capture_output=True, check=False).stdout
        return shown.count(b'"verdict": "UP"') == SERVERS or \
            shown.count(b'"verdict":"UP"') == SERVERS

    wait_for("all servers are UP", all_up)
    return pool


class Storm:
    """The file that the workers share (storm.h)."""

    def __init__(self, stack, path):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(64 + KEYS * 16)
        f = stack.enter_context(open(path, "r+b"))
        self.memory = mmap.mmap(f.fileno(), 0)
        stack.callback(self.memory.close)

    def phase(self, number, *failing):
        ports = [s.port for s in failing] + [0, 0]
        self.memory[4:12] = struct.pack("=II", *ports[:2])
        self.memory[0:4] = struct.pack("=I", number)


def start_workers(stack, worker, storm, variant, pool, servers):
    workers = []
    for i in range(WORKERS):
        p = subprocess.Popen(
            [worker, storm.path, str(i), str(WORKERS), variant, pool,
             *[str(s.port) for s in servers]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        stack.callback(p.stdout.close)
        stack.callback(end, p)
        workers.append(p)
    for p in workers:
        if p.stdout.readline() != "ready\n":
            raise Trouble(f"a worker of {variant} does not start")
    return workers


def results(workers):
    """{phase: {field: sum}}"""
    sums = {name: dict.fromkeys(FIELDS, 0) for name, _ in PHASES}
    for p in workers:
        lines = p.stdout.read().splitlines()
        if p.wait() != 0 or len(lines) != OVER:
            raise Trouble("a worker has ended with %d" % p.returncode)
        for (name, _), line in zip(PHASES, lines[1:]):
            for field, value in zip(FIELDS, line.split()):
                sums[name][field] += int(value)
    return sums


def course(storm, servers, speed):
    """What happens to the servers, while the workers run."""
    killed, stopped = servers[1], servers[2]
    happens = {
        "calm": (lambda: True, []),
        "killed": (killed.end, [killed]),
        "restarted": (killed.start, [killed]),
        "stopped": (lambda: stopped.process.send_signal(signal.SIGSTOP),
                    [stopped, killed]),
        "continued": (lambda: stopped.process.send_signal(signal.SIGCONT),
                      [stopped, killed]),
    }
    storm.phase(WARM)
    time.sleep(1 * speed)
    for number, (name, seconds) in enumerate(PHASES, 1):
        happen, failing = happens[name]
        storm.phase(number, *failing)
        if happen() is False:
            raise Trouble("a server does not start again")
        time.sleep(seconds * speed)
    storm.phase(OVER)


def play(variant, lines, build, worker, where, speed):
    """One variant with servers, checker and processes of its own."""
    os.mkdir(where)
    with contextlib.ExitStack() as stack:
        servers = start_servers(stack)
        pool = "-"
        if lines is not None:
            pool = start_checker(stack, build, where, servers, lines)
        storm = Storm(stack, f"{where}/storm")
        workers = start_workers(stack, worker, storm, variant, pool, servers)
        course(storm, servers, speed)
        return results(workers)


# Of the fault, and of the time after the server's return; moved: distinct keys
# of servers that were well; answered: of what it was before the fault.
COLUMNS = ("failed", "stalled", "worker-s", "moved", "misses", "answered",
           "then: failed", "misses", "stale")


def row(sums, fault, after):
    calm = dict(PHASES)["calm"]
    seconds = dict(PHASES)[fault]
    during, later = sums[fault], sums[after]
    rate = sums["calm"]["done"] / calm
    return (during["failed"], during["stalled"] + later["stalled"],
            "%.1f" % ((during["stalled_ns"] + later["stalled_ns"]) / 1e9),
            during["moved"] + later["moved"], during["misses"],
            "%.0f %%" % (100 * during["done"] / seconds / rate),
            later["failed"], later["misses"], later["stale"])


def table(title, rows):
    print(f"\n{title}")
    for name, cells in [("", COLUMNS), *rows]:
        print(f"{name:28}" + "".join(f" {c!s:>{max(8, len(head))}}"
                                     for c, head in zip(cells, COLUMNS)))


def main(argv):
    quick = argv[1:2] == ["--quick"]
    if len(argv) != 4 + quick:
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 64
    build, worker, directory = argv[1 + quick:]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    played = []
    for i, (name, variant, lines) in enumerate(VARIANTS):
        played.append((name, play(variant, lines, build, worker,
                                  f"{directory}/{i}", 0.2 if quick else 1)))
    if quick:
        print("\nA fifth of the times below: too short for verdicts.")
    seconds = dict(PHASES)
    table(f"kill -9, back after {seconds['killed']} s and empty",
          [(name, row(sums, "killed", "restarted")) for name, sums in played])
    table(f"SIGSTOP, continued after {seconds['stopped']} s",
          [(name, row(sums, "stopped", "continued"))
           for name, sums in played])
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (Trouble, OSError) as trouble:
        print(f"storm: {trouble}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
