#!/usr/bin/env python3
"""stale.py - hosts that slept or were booted, daemons that were stopped, and
files that went away or became others meanwhile; on the real daemon.

    stale.py --quick | --full [--only SCENE]

In each scene: what pick does, what the library's status says, what mc-shmdump
says and exits with.  Boot id and CLOCK_BOOTTIME are stale_host.c's; nothing
waits for a time to pass.

Four servers: fake0 and fake2 are well, fake1 is DOWN, fake3 in DRAIN, which
holds whatever becomes of the verdicts.  --full does every scene many times.
"""
import argparse
import ctypes
import json
import os
import shutil
import struct
import sys
import time
import traceback

from inject_lane import (CHECKER, FAST, PATIENCE, Header, House, Strace,
                         end_all, poke, wait_until, workers)
from harness import BUILD

SECOND = 10 ** 9
HOUR = 3600 * SECOND
FULL_ROUNDS = 8
BOOT = ["11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222"]


class Host:
    """What programs are told about time and boot."""

    def __init__(self, house):
        self.path = house.directory / f"host{next(house.numbers)}"
        self.path.write_bytes(bytes(64))
        self.env = {"LD_PRELOAD": str(BUILD / "tests/proof_stale.so"),
                    "STALE_HOST": str(self.path)}
        self.offset = 0
        self.booted(BOOT[0])

    def put(self, at, what):
        with open(self.path, "r+b") as f:
            os.pwrite(f.fileno(), what, at)

    def jump(self, ns):
        """As far as anybody can see, that much time has passed."""
        self.offset += ns
        self.put(0, struct.pack("=q", self.offset))

    def booted(self, boot_id):
        """"" : it can not be read."""
        self.put(8, boot_id.encode().ljust(56, b"\0"))


class Scene:
    def __init__(self, house):
        self.house = house
        self.host = Host(self.house)
        self.fake = self.house.fake(4)
        lines = self.fake.lines([0, 1, 2]) + [
            self.fake.line(3, "state=drain")]
        self.checker = self.house.checker({"web": lines}, start=False,
                                          checker=CHECKER, defaults=FAST)
        self.rival = self.house.checker(
            {"web": list(lines)}, start=False, checker=CHECKER, defaults=FAST,
            directory=self.checker.directory)
        for checker in (self.checker, self.rival):
            checker.verify = False
        self.path = self.checker.path()
        self.cases = 0

    def start(self, checker=None, **more):
        checker = checker or self.checker
        checker.start(env=self.host.env, **more)
        return checker

    def steady(self):
        """Runs; fake1 is DOWN, and a client knows it."""
        self.start()
        self.client = self.open()
        self.fake.set(1, "refuse")
        self.believed()
        return self

    def open(self):
        return self.house.client(self.path, env=self.host.env)

    # What is seen, in three ways.

    def picks(self, client, blind):
        """How many picks knew that nobody vouches, as it should be."""
        picks = client.picks(2000)
        assert "fake3" not in picks.answer, "DRAIN is not obeyed"
        assert set(picks.error) == {"OK"}, set(picks.error)
        picks.only_moved("fake1", "fake3")
        away = picks.home.count("fake1") + picks.home.count("fake3")
        if blind:
            assert set(picks.of("fake1")) == {"fake1"}, picks.of("fake1")
            assert picks.blind >= away, f"{picks.blind} of {away} blind"
        else:
            assert "fake1" not in picks.answer, "a dead server is picked"
            assert picks.blind == 0, f"{picks.blind} blind"

    def status(self):
        done = self.house.run(sys.executable, __file__, "--status", self.path,
                              env=self.host.env)
        return json.loads(done.stdout)

    def dumped(self):
        done = self.house.run(BUILD / "mc-shmdump", "--json", self.path,
                              ok=False, env=self.host.env)
        text = self.house.run(BUILD / "mc-shmdump", self.path, ok=False,
                              env=self.host.env)
        assert done.returncode == text.returncode
        pool = json.loads(done.stdout)["pools"][0]
        return done.returncode, pool, text.stdout

    def seen(self, blind, alive, hung=False, rebooted=False, code=None,
             word="", clients=()):
        """All three of them say so."""
        def agreed():
            for client in clients or (self.client,):
                self.picks(client, blind)
            st = self.status()
            want = {"stale": blind, "alive": alive, "hung": hung,
                    "rebooted": rebooted}
            assert {k: bool(st[k]) for k in want} == want, (st, want)
            exit_code, pool, text = self.dumped()
            daemon = pool["daemon"]
            assert {k: daemon[k] for k in want} == want, (daemon, want)
            assert exit_code == (code or (2 if blind else 1)), text
            assert word in " ".join(text.split()), (word, text)
            usable = {s["name"] for s in pool["servers"] if s["usable"]}
            assert usable == ({"fake0", "fake1", "fake2"} if blind
                              else {"fake0", "fake2"}), usable
            return True
        wait_until(agreed, f"blind {blind}, alive {alive}, hung {hung}",
                   PATIENCE)
        self.cases += 1

    def believed(self, **more):
        self.seen(blind=False, alive=True, word="checker alive", **more)

    # What a daemon does.

    def stop_it(self):
        self.checker.process.stop()

    def ends(self, checker=None):
        assert (checker or self.checker).stop(seconds=PATIENCE) == 0

    def beats(self, checker, n=5):
        """It has gone through so many heartbeats from now on: as told by what
        it does each of them, a look at the path."""
        tid = [int(t) for t in os.listdir(f"/proc/{checker.pid}/task")
               if int(t) != checker.pid][0]
        look = Looks(self.house, checker, tid)
        try:
            wait_until(lambda: look.count() >= n, "heartbeats", PATIENCE)
        finally:
            look.detach()

    def names(self):
        return sorted(p.name for p in self.checker.directory.iterdir())

    def close(self):
        for checker in (self.rival, self.checker):
            if checker.process and checker.alive:
                self.ends(checker)
        assert self.names() == ["web.mcshm"], self.names()
        self.house.close()
        assert not self.house.problems, "\n".join(self.house.problems)


class Looks:
    """strace on a publisher, for the calls with which it looks at its path."""

    def __init__(self, house, checker, tid):
        self.house, self.checker = house, checker
        self.strace = Strace(self, tid)

    def count(self):
        text = self.strace.log.read_text(errors="replace")
        return text.count("AT_SYMLINK_NOFOLLOW")

    def detach(self):
        self.strace.detach()


# Scenes ---------------------------------------------------------------------

def asleep(s):
    """The host slept for an hour, daemon and clients with it."""
    s.stop_it()
    s.host.jump(HOUR)
    s.seen(blind=True, alive=True, hung=True, word="STALE")
    s.checker.process.cont()
    s.believed()
    assert not s.checker.logged("server=fake[02] .*was=UP"), s.checker.log()
    s.picks(s.open(), blind=False)


def stopped(s):
    """The daemon is stopped for just longer than stale_after, and goes on."""
    s.stop_it()
    s.host.jump(SECOND + SECOND // 2)
    s.seen(blind=True, alive=True, hung=True, word="HUNG")
    s.rival.start(env=s.host.env, ready=False)
    assert s.rival.process.wait(PATIENCE) == 69
    s.rival.expected_code = 69
    assert s.rival.logged(rf"another daemon \(pid {s.checker.pid}\)")
    s.checker.process.cont()
    s.believed()


def behind(s):
    """A client whose clock is behind the daemon's: up to a second is allowed,
    as it may have been held up between two looks."""
    other = Host(s.house)
    s.checker.checker["stale_after"] = "10m"    # however long we take
    s.checker.reload()
    s.believed()
    s.stop_it()
    mine, s.host = s.host, other
    s.client = s.open()
    other.jump(-SECOND // 2)
    s.seen(blind=False, alive=True)
    # The heartbeat stands still: it is the daemon's last one.
    other.jump(-HOUR)
    s.seen(blind=True, alive=True, hung=True, word="STALE")
    s.host = mine
    s.checker.process.cont()
    s.client = s.open()
    s.believed()


def killed(s):
    """Killed, and nobody comes."""
    s.checker.kill()
    s.host.jump(2 * SECOND)
    s.seen(blind=True, alive=False, word="DEAD")
    s.start()
    s.believed()


def rebooted(s, ahead=0):
    """Booted, with the file on a disk: the last boot's verdicts are nobody's."""
    before = Header(s.path)
    s.checker.kill()
    s.client.process.end()
    s.fake.set("all", "hang")
    s.host.booted(BOOT[1])
    s.host.jump(ahead)
    s.client = s.open()
    s.seen(blind=True, alive=False, rebooted=True, word="earlier boot")
    # Its daemon knows nothing yet, and says so: UNKNOWN is usable.
    s.start()
    assert Header(s.path).roster == before.roster, "another file"
    wait_until(lambda: s.client.verdicts() == dict.fromkeys(
        s.fake.names(), "UNKNOWN"), "UNKNOWN", PATIENCE)
    assert not s.status()["stale"] and not s.status()["rebooted"]
    s.fake.set("all", "ok")
    s.fake.set(1, "refuse")
    s.believed()


def rebooted_later(s):
    """The same; the new boot's clock is ahead of the old heartbeat."""
    rebooted(s, ahead=HOUR)


def rebooted_earlier(s):
    """The same; the old heartbeat is in the new boot's future."""
    s.host.jump(-HOUR // 60)
    rebooted(s, ahead=-SECOND * 600)


def no_boot_id(s):
    """Where no boot id can be read (a chroot without /proc), the heartbeat is
    all there is, and is enough."""
    s.host.booted("")
    s.client = s.open()
    s.believed()
    s.stop_it()
    s.host.jump(2 * SECOND)
    s.seen(blind=True, alive=True, hung=True, word="STALE")
    s.checker.process.cont()
    s.believed()


def removed(s):
    """The file is removed under a stopped daemon; it makes it anew."""
    inode, generation = s.checker.inode(), Header(s.path).generation
    s.stop_it()
    s.path.unlink()
    s.host.jump(2 * SECOND)
    s.picks(s.client, blind=True)       # stale, and nowhere to go
    s.checker.process.cont()
    wait_until(s.path.exists, "made anew", PATIENCE)
    assert s.checker.inode() != inode
    assert Header(s.path).generation > generation
    s.believed(clients=(s.client, s.open()))


def replaced(s):
    """Another pool file is put there under a stopped daemon; the path is its
    own, and it takes it back."""
    copy = s.house.directory / "copy"
    s.stop_it()
    shutil.copy(s.path, copy)
    inode = copy.stat().st_ino
    copy.rename(s.path)
    s.checker.process.cont()
    wait_until(lambda: s.checker.inode() != inode, "taken back", PATIENCE)
    s.believed(clients=(s.client, s.open()))


def holder(s, directory=False):
    """The file is removed under a stopped daemon, and another daemon starts on
    the path: it is that one's, also when the first goes on."""
    s.stop_it()
    if directory:
        shutil.rmtree(s.checker.directory)
        s.checker.directory.mkdir(mode=0o755)
    else:
        s.path.unlink()
    s.start(s.rival)
    s.host.jump(2 * SECOND)             # clients of the first one are stale
    s.believed(clients=(s.client, s.open()))
    stays_with(s, s.rival)
    # The path is free again: the first one takes it, and goes on from there.
    generation = Header(s.path).generation
    s.ends(s.rival)
    wait_until(lambda: Header(s.path).pid == s.checker.pid, "taken", PATIENCE)
    assert Header(s.path).generation > generation
    s.believed(clients=(s.client, s.open()))


def stays_with(s, owner):
    """The stopped daemon goes on beside one that has the path: writes nothing
    into its file, takes nothing away, does not end."""
    inode = s.path.stat().st_ino
    owner.process.stop()                # so that every change is the other's
    content = s.path.read_bytes()
    s.checker.process.cont()
    s.checker.wait_logged("cannot publish.*(another daemon|another file)",
                          PATIENCE)
    s.beats(s.checker)
    assert s.path.stat().st_ino == inode, "the path was taken"
    assert s.path.read_bytes() == content, "written into another's file"
    assert s.checker.alive
    owner.process.cont()
    s.believed()
    assert Header(s.path).pid == owner.pid and s.names() == ["web.mcshm"]


def holder_of_directory(s):
    """The same, with the directory."""
    holder(s, directory=True)


def in_exchange(s):
    """Stopped after it looked at the path and before it exchanges the file:
    meanwhile the path has become another daemon's."""
    # The second fsync is that of the file that is about to be exchanged.
    strace = stopped_at(s, "fsync", 2)
    s.path.unlink()
    s.start(s.rival)
    inode = s.path.stat().st_ino
    strace.detach()
    stays_with(s, s.rival)
    assert s.path.stat().st_ino == inode
    s.ends(s.rival)
    wait_until(lambda: Header(s.path).pid == s.checker.pid, "taken", PATIENCE)
    wait_until(lambda: s.checker.servers()["fake0"]["weight"] == 3,
               "the new roster", PATIENCE)
    s.believed(clients=(s.client, s.open()))


def stopped_at(s, name, nth):
    """A reload, and the publisher stopped at this call of it."""
    tid = [int(t) for t in os.listdir(f"/proc/{s.checker.pid}/task")
           if int(t) != s.checker.pid][0]
    strace = Strace(s, tid, f"{name}:signal=STOP:when={nth}")
    s.checker.pools["web"][0] = s.fake.line(0, "weight=3")
    s.checker.configure()
    s.checker.hang_up()
    wait_until(lambda: "--- SIGSTOP" in strace.log.read_text()
               and s.checker.process.state() in "Tt",
               "it is stopped", PATIENCE)
    return strace


def retired(s):
    """A file that is RETIRED and has no successor: every READY server is
    usable, and mc-shmdump says what is wrong."""
    s.checker.kill()
    poke(s.path, 128, Header(s.path).generation + 2 | 1 << 63)

    def blind():
        s.picks(s.client, blind=True)
        return s.status()["superseded"]
    wait_until(blind, "blind", PATIENCE)
    code, pool, text = s.dumped()
    assert code == 2 and "RETIRED" in text, text
    s.cases += 1
    s.start()
    s.believed(clients=(s.client, s.open()))


SCENES = [asleep, stopped, behind, killed, rebooted, rebooted_later,
          rebooted_earlier, no_boot_id, removed, replaced, holder,
          holder_of_directory, in_exchange, retired]


# Running --------------------------------------------------------------------

class Status(ctypes.Structure):
    """struct mcshm_status of mcshm.h"""
    _fields_ = [("roster", ctypes.c_uint64), ("generation", ctypes.c_uint64),
                ("heartbeat_age", ctypes.c_uint64),
                ("servers", ctypes.c_uint32), ("usable", ctypes.c_uint32)] + \
        [(name, ctypes.c_uint8) for name in (
            "alive", "hung", "stale", "fail_open", "rebooted", "superseded",
            "pad0", "pad1")] + \
        [("follow_error", ctypes.c_int32), ("reserved", ctypes.c_uint32),
         ("pid", ctypes.c_int64)]


def print_status(path):
    """What the library says to a process that opens the file now."""
    library = ctypes.CDLL(str(BUILD / "libmcshm.so.0"))
    handle, st = ctypes.c_void_p(), Status()
    err = library.mcshm_open(ctypes.byref(handle), path.encode(), 0)
    assert err == 0, err
    n = library.mcshm_snapshot(handle, None, ctypes.c_size_t(0),
                               ctypes.c_size_t(0), ctypes.byref(st),
                               ctypes.c_size_t(ctypes.sizeof(st)))
    assert n >= 0, n
    print(json.dumps({name: getattr(st, name) for name, _ in st._fields_}))


def play(number):
    """(name, cases, what went wrong, seconds)"""
    scene, began = SCENES[number], time.monotonic()
    house, cases, text = House(f"stale-{scene.__name__}"), 0, None
    try:
        s = Scene(house)
        scene(s.steady())
        s.close()
        cases = s.cases
    except Exception:
        text = traceback.format_exc()
        text += "".join(f"\n--- {title}\n{what}"
                        for title, what in house.story())
    finally:                    # also where a signal ends us
        end_all(house)
    return scene.__name__, cases, text, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser()
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--quick", action="store_true")
    mode.add_argument("--full", action="store_true")
    mode.add_argument("--status", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=[s.__name__ for s in SCENES])
    o = parser.parse_args()
    if o.status:
        print_status(o.status)
        return
    numbers = [i for i, s in enumerate(SCENES)
               if o.only in (None, s.__name__)] * \
        (FULL_ROUNDS if o.full else 1)
    seen, failed = {}, 0
    with workers(8) as pool:
        for name, cases, wrong, took in pool.imap_unordered(play, numbers):
            before = seen.get(name, (0, 0.))
            seen[name] = before[0] + cases, before[1] + took
            if wrong:
                failed += 1
                print(f"FAILED {name}: {wrong}", flush=True)
    for name, (cases, took) in seen.items():
        what = " ".join(globals()[name].__doc__.split()).split(":")[0]
        print(f"stale     {name:20} {what[:60]:60} {cases:3} cases "
              f"{took:5.1f} s")
    total = sum(cases for cases, _ in seen.values())
    if failed or not total:
        print(f"stale: {failed} scenes failed")
        sys.exit(1)
    print(f"stale: ok, {total} cases")


if __name__ == "__main__":
    main()
