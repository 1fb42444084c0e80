"""A disk that takes two seconds for every msync: probes keep their schedule,
the heartbeat does not go stale, and the newest state is published once.

Nothing here depends on how fast the machine is: what is slow is measured
against a second daemon that has the same to do at the same time, and how many
publishes there may be follows from the delay, which is a lower bound.
"""
import os
import signal
import time

from inject_lane import PATIENCE, Header, House, Process, wait_until

DELAY = 2.0                 # s, of each msync; a publish has two
QUICK = {"interval": "50ms", "fast_interval": "30ms", "down_interval": "50ms",
         "down_interval_max": "50ms", "flap_hold": "0",
         "timeout": "50ms", "fall": 1, "rise": 1, "min_down_time": "0ms",
         "hold_after": "10m", "rehash_after": "20m", "fall_ratio": "64/64"}
CHECKER = {"heartbeat": "200ms", "stale_after": "10s"}


class Slow:
    def __init__(self, house):
        self.house, self.worst = house, 0.0
        self.fake, self.other_fake = house.fake(3), house.fake(3)
        self.checker = house.checker({"web": self.fake.lines()},
                                     checker=CHECKER, defaults=QUICK)
        self.other = house.checker({"web": self.other_fake.lines()},
                                   checker=CHECKER, defaults=QUICK)
        for checker in (self.checker, self.other):
            checker.wait_verdicts("UP")
        self.reader = house.client(self.checker.path())
        tid = [t for t in os.listdir(f"/proc/{self.checker.pid}/task")
               if int(t) != self.checker.pid][0]
        self.strace = Process(
            house, "slow-strace",
            ["strace", "-p", tid, "-o", house.directory / "slow-trace", "-e",
             f"inject=msync:delay_enter={int(DELAY * 1e6)}"])
        wait_until(lambda: "attached" in self.strace.text(),
                   "strace is attached", PATIENCE)

    def requests(self):
        """Of the servers that are well: ours, the other daemon's."""
        return [sum(fake.requests()[::2])
                for fake in (self.fake, self.other_fake)]

    def generation(self):
        return Header(self.checker.path()).generation

    def decided(self):
        """What the daemon last said of its servers, whatever is published.
        (Its log folds lines of a server that changes this often.)"""
        return "1 DOWN" if "1 DOWN" in self.checker.told("STATUS")[-1] else "UP"

    def change_often(self, times):
        """fake1 goes down and up, and is down at the end."""
        for i in range(times):
            mode, verdict = ("ok", "UP") if i % 2 else ("refuse", "1 DOWN")
            self.fake.set(1, mode)
            wait_until(lambda: self.decided() == verdict,
                       f"the daemon sees {mode}", PATIENCE)

    def check(self, status):
        assert status["stale"] == 0, f"stale: {status}"
        self.worst = max(self.worst, status["heartbeat_age"])


def wait_published(slow):
    """Until clients see the last state.  [(generation, verdict of fake1)]"""
    seen = []

    def there():
        slow.check(slow.reader.status())
        verdict = slow.reader.verdicts()["fake1"]
        seen.append((slow.generation(), verdict))
        return verdict == "DOWN" and len(seen) > 1
    wait_until(there, "the newest state", PATIENCE)
    return seen


def newest_once(slow):
    """Decisions pile up behind a slow msync; what follows it is the last one,
    not each of them."""
    times = 9
    wait_until(lambda: slow.reader.verdicts()["fake1"] == "UP", "UP", PATIENCE)
    began, first = time.monotonic(), slow.generation()
    slow.change_often(times)
    decided = time.monotonic()
    seen = wait_published(slow)
    took = time.monotonic() - began
    published = slow.generation() - first
    # One under way, one with the newest, and those that the delay had time for.
    most = 2 + int(took / (2 * DELAY))
    assert 1 <= published <= most, \
        f"{published} publishes in {took:.1f} s, {most} would fit: {seen}"
    print(f"slow      {times} verdicts in {decided - began:.1f} s while msync "
          f"took {DELAY:.0f} s: {published} publishes in {took:.1f} s")
    # Once it is out it stays: no older state comes after it.
    last = slow.generation()
    wait_until(lambda: slow.generation() > last, "one more", PATIENCE)
    assert slow.reader.verdicts()["fake1"] == "DOWN"
    return times


def keeps_schedule(slow, before):
    """As many probes as a daemon whose disk is fast."""
    mine, others = (now - then for now, then in zip(slow.requests(), before))
    print(f"slow      {mine} probes while each msync took {DELAY:.0f} s, "
          f"{others} beside it without; oldest heartbeat {slow.worst:.1f} s")
    assert mine > others / 2, f"{mine} probes, {others} without the delay"


def run():
    """How many verdicts there were."""
    house = House("inject-slow")
    try:
        slow = Slow(house)
        before = slow.requests()
        cases = newest_once(slow)
        keeps_schedule(slow, before)
        slow.strace.signal(signal.SIGTERM)
        slow.strace.wait(PATIENCE)
    except BaseException:
        for title, text in house.story():
            print(f"--- {title}\n{text}")
        raise
    finally:
        house.close()
    assert not house.problems, house.problems
    return cases + 1
