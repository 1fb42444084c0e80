"""One lane of the injection proof: a daemon that is hurt again and again, a
directory that lives through it, and clients that stay all the time.

Knows how to bring the daemon into each phase of its life, how to hurt it there
by strace, and what must be true afterwards.  Which cases there are is
inject.py's.
"""
import multiprocessing
import os
import re
import shutil
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "system"))
sys.dont_write_bytecode = True

from harness import House, wait_until               # noqa: E402,F401
from harness.process import Process                         # noqa: E402

RETIRED = 1 << 63
PATIENCE = 30           # s; nothing here takes more than two on an idle machine
SYSEXITS = (71, 73)     # cannot start, cannot create

# Comes again and again while the daemon runs.
PERIODIC = ("msync section", "msync header", "futex wake", "lstat path",
            "write event")

FAST = {"interval": "50ms", "fast_interval": "30ms", "down_interval": "50ms",
        "timeout": "50ms", "connect_timeout": "300ms", "fall": 1, "rise": 1,
        # A machine that is too busy to answer in time is nobody's fault here.
        "min_down_time": "0ms", "hold_after": "10m", "rehash_after": "20m",
        "fall_ratio": "64/64"}
CHECKER = {"heartbeat": "100ms", "stale_after": "1s", "reports": "no"}


class Header:
    """What of a pool file's header a proof looks at, as it lies there now."""

    def __init__(self, path):
        with open(path, "rb") as f:
            b = f.read(512)
        self.servers, = struct.unpack_from("=I", b, 72)
        self.roster, = struct.unpack_from("=Q", b, 112)
        self.generation, self.heartbeat = struct.unpack_from("=Q", b, 128) + \
            struct.unpack_from("=Q", b, 256)
        self.pid, _, self.epoch = struct.unpack_from("=3Q", b, 280)
        self.clean_exit, = struct.unpack_from("=Q", b, 352)


def poke(path, offset, value):
    """A word of the file, by a hand that is not the daemon's."""
    with open(path, "r+b") as f:
        os.pwrite(f.fileno(), struct.pack("=Q", value), offset)


# What is left ---------------------------------------------------------------

def end_all(house):
    """After a failure, or a signal: all that was started, whatever state it is
    in, and its directory."""
    if not house.directory.exists():
        return                  # closed already
    for process in house.processes:
        if process.alive:
            os.kill(process.pid, signal.SIGKILL)
    house.close()


def workers(jobs):
    """Processes that clean up where a signal ends us."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return multiprocessing.Pool(
        jobs, initializer=lambda: signal.signal(signal.SIGINT,
                                                signal.SIG_IGN))


# strace ---------------------------------------------------------------------

LINE = re.compile(r"^(\w+)\((.*)$")
AFTER_PATH = re.compile(r'"[^"]*/([^/"]*)"|"([^"]*)"')


def label(name, rest, last, directory):
    """What a system call is to the publisher; None: it is not the publisher's.
    last: the label before it."""
    path = AFTER_PATH.search(rest)
    leaf = (path.group(1) or path.group(2) or "") if path else ""
    if name == "openat":
        what = {".": "list", directory: "directory", "web.mcshm": "file"}
        return "openat " + what[leaf] if leaf in what else \
            "openat tmp" if leaf.startswith(".web.tmp.") else None
    if name == "newfstatat":
        return "fstat" if '"", ' in rest else \
            "lstat path" if leaf == "web.mcshm" else None
    if name == "fcntl":
        return "fcntl lock" if "F_OFD_SETLK" in rest else "fcntl flags"
    if name == "msync":
        return "msync retire" if ", 1968, " in rest else \
            "msync header" if last == "futex wake" else "msync section"
    if name == "futex":
        return None if "FUTEX_WAKE, 2147483647" not in rest else \
            "futex wake" if last == "msync section" else "futex retire"
    if name == "mmap":
        return "mmap file" if "MAP_SHARED" in rest else "mmap memory"
    if name == "write":
        return "write event" if r"\1\0\0\0\0\0\0\0" in rest else None
    if name in ("mkdir", "fstatfs", "pread64", "fchmod", "getrandom",
                "pwrite64", "fsync", "renameat2", "unlinkat", "getdents64",
                "clone3", "munmap", "close"):
        return name
    return None


class Call:
    """One system call in a trace: which of its name, what it is, and whether
    strace has hurt it."""

    def __init__(self, name, number, label, hurt):
        self.name, self.number, self.label = name, number, label
        self.hurt = hurt


def read_trace(path, directory):
    calls, count, last = [], {}, None
    for line in path.read_text(errors="replace").splitlines():
        m = LINE.match(line)
        if not m:
            if calls and ("killed by SIGKILL" in line
                          or "--- SIGSTOP" in line):
                calls[-1].hurt = True
            continue
        name, rest = m.groups()
        count[name] = count.get(name, 0) + 1
        what = label(name, rest, last, directory)
        last = what or last
        calls.append(Call(name, count[name], what, "(INJECTED)" in rest
                          or "(DELAYED)" in rest))
    return calls


class Strace:
    """On one thread of the daemon, from now on."""

    def __init__(self, lane, tid, inject=None):
        self.lane = lane
        self.log = lane.house.directory / f"trace{next(lane.house.numbers)}"
        self.process = Process(lane.house, self.log.name + "-strace",
                               ["strace", "-p", tid, "-o", self.log,
                                *options(inject)])
        wait_until(lambda: self.attached(tid), "strace is attached", PATIENCE)

    def attached(self, tid):
        """Or it was: what it does may have ended the thread already."""
        said = self.process.text()
        assert self.process.alive or "attached" in said, said
        return f"Process {tid} attached" in said

    def calls(self):
        return read_trace(self.log, self.lane.checker.directory.name)

    def hurt(self):
        return [c for c in self.calls() if c.hurt]

    def detach(self):
        if self.process.alive:
            self.process.signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


def options(inject):
    return ["-e", "inject=" + inject] if inject else []


# The lane -------------------------------------------------------------------

class Lane:
    """beside: a second pool lives beside the one that is hurt."""

    def __init__(self, house, thorough, beside=False):
        self.house = house
        self.thorough = thorough
        self.fake = self.house.fake(4)
        self.small, self.large = self.fake.lines([0, 1, 2]), self.fake.lines()
        self.beside = {"beside": self.house.fake(2).lines()} if beside else {}
        self.checker = self.house.checker(self.pools(), start=False,
                                          checker=CHECKER, defaults=FAST)
        self.rival = self.house.checker(
            self.pools(), start=False, checker=CHECKER, defaults=FAST,
            directory=self.checker.directory)
        for checker in (self.checker, self.rival):
            checker.verify = False      # we look closer
        self.reader = self.picker = self.neighbour = None
        self.log = self.strace = None

    def pools(self, servers=None):
        """An ini's: the one that is hurt, with these servers, and its
        neighbour."""
        return {"web": servers or self.small} | self.beside

    def close(self):
        if self.picker:
            self.check_picker()
        self.house.close()
        assert not self.house.problems, "\n".join(self.house.problems)

    # The daemon.

    @property
    def path(self):
        return self.checker.path()

    def names(self):
        return sorted(p.name for p in self.checker.directory.iterdir())

    def publishers(self):
        """One thread a pool."""
        return [int(t) for t in os.listdir(f"/proc/{self.checker.pid}/task")
                if int(t) != self.checker.pid]

    def publisher(self):
        """Its thread."""
        def found():
            tids = self.publishers()
            assert len(tids) <= 1, "a thread that is not the publisher's"
            return tids
        return wait_until(found, "the publisher's thread", PATIENCE)[0]

    def start(self, inject=None):
        """Not yet ready; with inject, under strace from its first instruction,
        main thread only."""
        before = []
        if inject is not None:
            self.log = self.house.directory / \
                f"trace{next(self.house.numbers)}"
            before = ["strace", "-D", "-o", self.log, *options(inject)]
        self.checker.configure()
        self.checker.start(ready=False, before=before)

    def calls(self):
        return read_trace(self.log, self.checker.directory.name) \
            if self.log.exists() else []

    def ready(self):
        self.checker.wait_until_ready(PATIENCE)

    def files(self):
        """What it has open, but the sockets of its probes: {fd: what}"""
        found = {}
        for fd in os.listdir(f"/proc/{self.checker.pid}/fd"):
            try:
                what = os.readlink(f"/proc/{self.checker.pid}/fd/{fd}")
            except FileNotFoundError:
                continue
            if not what.startswith("socket:"):
                found[int(fd)] = what
        return found

    def steady(self, servers=None):
        """It runs, on this roster, all is well, and the clients know it."""
        if not (self.checker.process and self.checker.alive):
            self.fake.set("all", "ok")
            if servers:
                self.checker.pools = self.pools(servers)
            self.start()
            self.ready()
        elif servers and self.checker.pools != self.pools(servers):
            self.checker.pools = self.pools(servers)
            self.checker.reload()
        self.fake.set("all", "ok")
        if not self.reader:
            self.reader = self.house.client(self.path)
            self.picker = self.house.client(self.path)
            self.picker.run(300, 200)
        if self.beside and not self.neighbour:
            self.neighbour = self.house.client(self.checker.path("beside"))
        self.settled()
        self.descriptors = self.files()

    def settled(self):
        """The clients are on the file of this ini, all is well, and nothing
        lies beside it."""
        pools = self.checker.pools

        def clean():
            assert self.clean(), self.names()
            return "web" not in pools or \
                Header(self.path).servers == len(pools["web"])
        wait_until(clean, "the files, and nothing else", PATIENCE)
        if "web" in pools:
            self.follows()
            self.wait_verdict("UP")
        else:
            self.left_alone()

    def clean(self):
        """The files of this ini, and nothing else."""
        return self.names() == sorted(f"{pool}.mcshm"
                                      for pool in self.checker.pools)

    def tell(self, number):
        """A signal, unless what was injected was faster."""
        if self.checker.alive:
            os.kill(self.checker.pid, number)

    def stop(self):
        if self.checker.process and self.checker.alive:
            assert self.checker.stop(seconds=PATIENCE) == 0, self.checker.log()

    def killed(self):
        self.checker.expected_code = -signal.SIGKILL

    # What the clients see.

    def wait_verdict(self, verdict):
        wait_until(lambda: self.reader.verdicts().get("fake1") == verdict,
                   f"fake1 {verdict}", PATIENCE)

    def right(self):
        """At once, without waiting: whole states, and no key of a server that
        never failed anywhere but at home."""
        picks = self.reader.picks(300)
        picks.only_moved("fake1")
        assert set(picks.error) == {"OK"}, set(picks.error)
        states = self.reader.states()
        assert set(states) in ({"fake0", "fake1", "fake2"},
                               {"fake0", "fake1", "fake2", "fake3"}), states
        for name, s in states.items():
            allowed = ("UP", "UNKNOWN", "DOWN") if name == "fake1" else \
                ("UP", "UNKNOWN")
            assert s["verdict"] in allowed and s["admin"] == "READY", states
            assert s["usable"] or name == "fake1", states
            assert s["usable"] or s["verdict"] == "DOWN", states
        self.check_file()
        if self.neighbour:
            picks = self.neighbour.picks(300)
            assert picks.all_home(), picks.answer

    def check_file(self):
        """What lies at the path, if anything does, is whole."""
        try:
            if self.path.stat().st_size == 0:
                return
        except FileNotFoundError:
            return
        done = self.checker.shmdump("--verify", self.path)
        # It may have gone while we looked.
        assert done.returncode != 3 or not self.path.exists(), \
            done.stdout + done.stderr

    def follows(self, blind=False):
        """Who does nothing but pick gets to the file that has the name now."""
        def there():
            roster = Header(self.path).roster
            # As many keys as it takes for one that looks at the clock.
            picks = self.reader.picks(2000)
            assert int(picks.roster, 16) & ~0xffffff == roster, \
                f"{picks.roster}, not {roster:016x}"
            assert blind or picks.blind == 0, "blind"
            return True
        wait_until(there, "the client follows", PATIENCE)

    def left_alone(self):
        """The pool is gone, and its client knows: nobody vouches for what it
        has, so every server is as good as the others."""
        def knows():
            picks = self.reader.picks(300)
            assert picks.blind == len(picks), f"{picks.blind} blind"
            return picks.all_home()
        wait_until(knows, "the client knows that its pool is gone", PATIENCE)

    def check_picker(self):
        """All that one client was told, over all cases of this lane."""
        wait_until(lambda: self.picker.ask("pick k1")["err"] == 0, "a pick")
        reply = self.picker.ask("stop")
        wrong = [(home, slot, err, n) for home, slot, err, n
                 in reply["answers"]
                 if err != 0 or (home != 1 and home != slot)]
        assert not wrong, f"home, slot, error, count: {wrong}"
        assert reply["picks"] > 0

    # After each case.

    def next_daemon(self):
        """Attaches to what is there, is believed, leaves nothing, ends well: at
        once, or when the next case (or the end of all) wants that."""
        if not self.reader:
            self.steady()
        else:
            self.fake.set("all", "ok")
            self.start()
            self.ready()
            self.settled()
        self.right()
        if self.thorough:
            self.stop()

    def sound(self):
        """The daemon lives on as if nothing had happened."""
        assert self.checker.alive, self.checker.log()

        def none_leaked_nor_lost():
            now = self.files()
            assert len(now) == len(self.descriptors) and \
                now.get(0) == self.descriptors[0], \
                f"{self.descriptors} became {now}"
            return True
        wait_until(none_leaked_nor_lost, "its descriptors", PATIENCE)
        assert not self.checker.logged("another daemon"), self.checker.log()

    def fresh(self):
        """No daemon, no file, no client."""
        self.stop()
        if self.picker:
            self.check_picker()
        for client in (self.reader, self.picker, self.neighbour):
            if client:
                client.process.end()
        self.reader = self.picker = self.neighbour = None
        for path in self.checker.directory.iterdir():
            path.unlink()


# Phases ---------------------------------------------------------------------
# prepare(lane): until just before; trigger(lane): what starts it; done(lane):
# whether it has got where it should, at last.

class Phase:
    again = ()          # which of the periodic calls are its own
    beside = False      # whether the daemon has another pool, too


class Create(Phase):
    """No file: the first one."""
    where = "exec"

    def prepare(self, lane):
        lane.fresh()
        lane.checker.pools = lane.pools()


class Attach(Phase):
    """The file of a killed daemon, and the remains of another one."""
    where = "exec"

    def prepare(self, lane):
        lane.steady(lane.small)
        lane.checker.kill()
        shutil.copy(lane.path, lane.path.parent / ".web.tmp.4000000")


class Replace(Phase):
    """A file that is RETIRED, without a successor."""
    where = "exec"

    def prepare(self, lane):
        lane.steady(lane.small)
        lane.checker.kill()
        poke(lane.path, 128, Header(lane.path).generation + 2 | RETIRED)


class Reboot(Phase):
    """A file of another boot: its verdicts are overwritten first."""
    where = "exec"

    def prepare(self, lane):
        lane.steady(lane.small)
        lane.checker.kill()
        poke(lane.path, 264, 0x1234)


class Publish(Phase):
    """A verdict changes."""
    where = "publisher"
    again = PERIODIC

    def prepare(self, lane):
        lane.steady()

    def trigger(self, lane):
        lane.fake.set(1, "refuse")

    def done(self, lane):
        return lane.reader.verdicts()["fake1"] == "DOWN"


class Exchange(Phase):
    """Reload with another roster: to and fro."""
    where = "publisher"

    def prepare(self, lane):
        lane.steady()
        self.now = lane.large if lane.checker.pools == lane.pools() \
            else lane.small

    def trigger(self, lane):
        lane.checker.pools = lane.pools(self.now)
        lane.checker.configure()
        lane.tell(signal.SIGHUP)

    def done(self, lane):
        return Header(lane.path).servers == len(self.now)


class Remake(Phase):
    """The file was removed."""
    where = "publisher"

    def prepare(self, lane):
        lane.steady()

    def trigger(self, lane):
        lane.path.unlink()

    def done(self, lane):
        return lane.path.exists()


class Retake(Phase):
    """Another pool file was put in its place, by cp -p and mv."""
    where = "publisher"

    def prepare(self, lane):
        lane.steady()

    def trigger(self, lane):
        copy = lane.house.directory / "copy"
        shutil.copy(lane.path, copy)
        self.inode = copy.stat().st_ino
        copy.rename(lane.path)

    def done(self, lane):
        return lane.path.stat().st_ino != self.inode


class End(Phase):
    """SIGTERM; the thread's part."""
    where = "publisher"
    again = ("msync section",)

    def prepare(self, lane):
        lane.steady()

    def trigger(self, lane):
        lane.tell(signal.SIGTERM)

    def done(self, lane):
        return not lane.checker.alive


class Remove(Phase):
    """Reload without the pool, which another one outlives."""
    where = "main"
    beside = True

    def prepare(self, lane):
        lane.steady(lane.small)
        self.reloads = len(lane.checker.logged("reloaded:"))

    def trigger(self, lane):
        lane.checker.pools = lane.beside
        lane.checker.configure()
        lane.tell(signal.SIGHUP)

    def done(self, lane):
        return len(lane.checker.logged("reloaded:")) > self.reloads and \
            not lane.path.exists() and len(lane.publishers()) == 1


PHASES = {c.__name__.lower(): c for c in (
    Create, Attach, Replace, Reboot, Publish, Exchange, Remake, Retake, Remove,
    End)}
