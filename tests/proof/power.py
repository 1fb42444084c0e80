#!/usr/bin/env python3
"""power.py - power loss: all that it may leave of a pool file, and what comes
back from it.

    power.py --quick | --full

The real daemon runs with power_record.c preloaded, which writes down each store
into its file and each call that makes something durable, while verdicts change,
the roster is reloaded, the file is removed, and a disk gives errors; then
another one, in another boot, goes on with what is there.  power.c (built with
ASan and UBSan) takes that apart and recovers from each state of the disk; a few
of those are then given to the real daemon.

--full looks at more combinations where there are too many for all of them, and
at a scheme whose file is larger.
"""
import argparse
import re
import shutil
import subprocess
import sys

from inject_lane import FAST, PATIENCE, House, poke, wait_until
from harness import BUILD

SERVERS = 12            # three pages of them a section
OTHER_BOOT = 0x2222222222222222, 0x3333333333333333


class Story:
    """What the daemon lives through, and its journal."""

    def __init__(self, house, scheme):
        self.house = house
        self.journal = None
        self.broken = house.directory / f"broken-{scheme}"
        self.fake = house.fake(SERVERS + 1)
        self.checker = house.checker(
            {"web": {"scheme": scheme,
                     "server": self.fake.lines(range(SERVERS))}},
            start=False, defaults=FAST,
            checker={"heartbeat": "100ms", "stale_after": "1h",
                     "reports": "no"})

    def start(self, journal):
        self.journal = self.house.directory / journal
        self.checker.start(env={
            "LD_PRELOAD": str(BUILD / "tests/proof_power.so"),
            "POWER_JOURNAL": str(self.journal),
            "POWER_FAIL": str(self.broken)})
        self.checker.wait_verdicts("UP", seconds=PATIENCE)

    def change(self, i, mode):
        self.fake.set(i, mode)
        self.checker.wait_verdicts(
            {f"fake{i}": "UP" if mode == "ok" else "DOWN"}, seconds=PATIENCE)

    def first(self):
        """From nothing on."""
        self.start("journal-first")
        self.change(1, "refuse")
        self.change(9, "refuse")
        self.change(1, "ok")
        self.checker.pools["web"]["server"] = self.fake.lines()
        self.checker.reload()
        wait_until(lambda: len(self.checker.servers()) == SERVERS + 1,
                   "the larger roster", PATIENCE)
        self.change(SERVERS, "refuse")
        inode = self.checker.inode()
        self.checker.path().unlink()
        wait_until(lambda: self.checker.path().exists()
                   and self.checker.inode() != inode, "made anew", PATIENCE)
        self.change(9, "ok")
        # Where an msync failed, the disk may have less than clients saw.
        self.broken.touch()
        self.change(2, "refuse")
        self.broken.unlink()
        self.change(2, "ok")
        self.end()

    def next_boot(self):
        """On a file of the last boot, in which a server was DOWN."""
        path = self.checker.path()
        self.fake.set(SERVERS, "ok")
        for i, half in enumerate(OTHER_BOOT):
            poke(path, 264 + 8 * i, half)
        self.start("journal-next")
        self.change(3, "refuse")
        self.change(3, "ok")
        self.end()

    def end(self):
        assert self.checker.stop(seconds=PATIENCE) == 0, self.checker.log()


def enumerate_all(story, limit, every):
    """(directory, cases)"""
    where = story.house.directory / f"disk-{story.journal.name}"
    where.mkdir(mode=0o755)
    done = subprocess.run(
        [BUILD / "san-address-undefined/tests/proof_power", story.journal,
         where, str(limit), str(every), BUILD / "mc-shmdump"], text=True,
        capture_output=True,
        timeout=3600)
    print(done.stdout + done.stderr, end="", flush=True)
    assert done.returncode == 0, f"power ended with {done.returncode}"
    return where, int(re.search(r"(\d+) cases", done.stdout).group(1))


def start_on(story, kept):
    """The real daemon, on what was left."""
    checker = story.checker
    shutil.copy(kept, checker.path())
    checker.path().chmod(0o644)
    checker.start()
    wait_until(lambda: [p.name for p in checker.directory.iterdir()]
               == ["web.mcshm"], "the file, and nothing else", PATIENCE)
    done = checker.shmdump("--verify", checker.path())
    assert done.returncode != 3, done.stdout
    assert checker.stop(seconds=PATIENCE) == 0, checker.log()


def recover_all(story, limit, every, daemons):
    where, cases = enumerate_all(story, limit, every)
    kept = sorted(where.glob("kept*"), key=lambda p: int(p.name[4:]))
    some = kept[::max(1, len(kept) // daemons)]
    for one in some:
        start_on(story, one)
    print(f"power     the real daemon started on {len(some)} of them")
    return cases + len(some)


def prove(scheme, limit, every, daemons):
    house = House("power")
    try:
        story = Story(house, scheme)
        cases = 0
        for tell in story.first, story.next_boot:
            tell()
            story.checker.ini.write_text(story.checker.text())
            last = story.checker.path().read_bytes()
            cases += recover_all(story, limit, every, daemons)
            story.checker.path().write_bytes(last)
    except BaseException:
        for title, text in house.story():
            print(f"--- {title}\n{text}")
        raise
    finally:
        house.close()
    assert not house.problems, "\n".join(house.problems)
    return cases


def main():
    parser = argparse.ArgumentParser()
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--quick", action="store_true")
    mode.add_argument("--full", action="store_true")
    o = parser.parse_args()
    try:
        if o.full:
            cases = prove("libmemcached-modula", 20000, 1500, 60)
            cases += prove("maglev", 500, 500, 20)
        else:
            cases = prove("libmemcached-modula", 60, 150, 6)
    except AssertionError as e:
        print(f"power: failed: {e}")
        sys.exit(1)
    print(f"power: ok, {cases} cases")


if __name__ == "__main__":
    main()
