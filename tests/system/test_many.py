"""Three hundred servers; and thousands."""
import os
import re
import resource
import struct
import time

import pytest

from .harness import BUILD, SAN, wait_until

N = 300
# A request is a probe, and goes on the connection that there is.
COUNTED = {"stats_interval": "0", "thread_scan_interval": "0",
           "fresh_every": "0"}
CALM = {"interval": "500ms", "fast_interval": "100ms", "timeout": "400ms",
        "connect_timeout": "500ms", "down_interval": "500ms",
        "hold_after": "600ms", "rehash_after": "1500ms"} | COUNTED


def begin(house):
    fake = house.fake(N)
    checker = house.checker({"web": fake.lines()}, defaults=CALM)
    checker.wait_verdicts("UP")
    wait_until(lambda: told(checker, "UP") == N, "all of them told")
    return fake, checker


def told(checker, verdict):
    """How many servers the log says got it: in lines of their own, or in the
    sum of a second in which there were more."""
    return len(checker.logged(f" server=[^,]* state={verdict}(?! .*first:)")) \
        - len(checker.logged(f"first: server=.* state={verdict}")) \
        + sum(int(n) for line in checker.logged("more servers")
              for n in re.findall(rf"(\d+) (?:more servers )?{verdict}\b",
                                  line))


def sample(fake, seconds):
    """(time passed, [probes of each server], [all probes of each 50 ms],
    the longest of these 50 ms)"""
    began = last = time.monotonic()
    before = fake.requests()
    so_far, steps, longest = sum(before), [], 0
    while last - began < seconds:
        time.sleep(0.05)        # a clock, no waiting
        now, all_of_them = time.monotonic(), fake.requests()
        longest = max(longest, now - last)
        steps.append(sum(all_of_them) - so_far)
        last, so_far = now, sum(all_of_them)
    return (last - began, [n - m for n, m in zip(all_of_them, before)], steps,
            longest)


@pytest.mark.takes(8)
def test_all_are_probed_in_time_and_apart(house):
    fake, checker = begin(house)
    for _ in range(4):
        cpu = checker.process.cpu_seconds()
        passed, probes, steps, longest = sample(fake, 4)
        cpu = checker.process.cpu_seconds() - cpu
        if longest < 0.1:       # else the machine stalled: no measurement
            break
    expected = passed / 0.5
    assert min(probes) >= expected * 0.75 - 1
    assert max(probes) <= expected * 1.25 + 1
    # Never all at once: of 600 a second, 50 ms get 30.
    assert longest >= 0.1 or max(steps) < N / 2
    assert cpu / passed < 0.3
    assert set(checker.verdicts().values()) == {"UP"}
    assert not checker.logged("state=(DOWN|HELD)")
    # Connections are kept (but for those of probes that a stall has cost).
    assert sum(row[1] for row in fake.stats()) < 1.2 * N


@pytest.mark.takes(8)
def test_thirty_of_them_fail(house):
    fake, checker = begin(house)
    client = house.client(checker.path())
    base = client.picks(4000)
    assert len(base.shares()) == N
    modes = ["refuse", "hang", "reset"]
    bad = {i: modes[i // 10 % 3] for i in range(0, N, 10)}
    lines = len(checker.log().splitlines())
    for i, mode in bad.items():
        fake.set(i, mode)
    want = {f"fake{i}": "DOWN" if i in bad else "UP" for i in range(N)}
    checker.wait_verdicts(want, seconds=15)
    picks = client.picks(4000)
    picks.only_moved(*(f"fake{i}" for i in bad))
    assert not {f"fake{i}" for i in bad} & set(picks.answer)
    assert not [a for a in picks.answer if a.startswith("E")]
    assert client.status()["usable"] == N - 30
    assert not checker.logged("server=fake.*[1-9] .*state=(DOWN|HELD)")
    shown = checker.servers()
    reasons = {"refuse": "refused", "hang": "timeout", "reset": "reset"}
    assert {i: shown[f"fake{i}"]["reason"] for i in bad} == \
        {i: reasons[m] for i, m in bad.items()}
    assert len(checker.log().splitlines()) - lines < 55
    assert any("270/300 usable: 30 DOWN" in s for s in checker.told("STATUS"))
    fake.set("all", "ok")
    checker.wait_verdicts("UP", seconds=15)
    assert client.picks(4000).answer == base.answer


@pytest.mark.takes(6)
def test_a_mass_change_is_a_few_lines(house):
    fake, checker = begin(house)
    assert told(checker, "UP") == N
    before = len(checker.log().splitlines())
    fake.set("all", "refuse")
    checker.wait_verdicts("DOWN", seconds=15)
    # None is forgotten: single lines and sums make up all.
    wait_until(lambda: told(checker, "DOWN") == N, "all of them told")
    lines = checker.log().splitlines()[before:]
    assert len(lines) < 40, lines
    assert checker.logged(r"warning pool=web \d+ more servers DOWN, first: "
                          "server=fake.* state=DOWN was=UP reason=refused")
    assert checker.logged("no server is usable")


THOUSANDS = 5000


def affordable(wanted):
    """As many servers as one process may have connections and sockets."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        return wanted
    return min(wanted, (most - 200) // 3)


def memory_kib(process):
    with open(f"/proc/{process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1])


def probed(checker):
    """[(when the last probe began, in s, and how many there were)], one a
    server; see mcshm(5).  Both are of one moment, which may be a second ago."""
    data = checker.path().read_bytes()
    servers, = struct.unpack_from("I", data, 72)
    active = struct.unpack_from("Q", data, 128)[0] & 1
    section, = struct.unpack_from("Q", data, 96 + 8 * active)
    entries, stride = struct.unpack_from("II", data, 436)
    at = [section + entries + i * stride for i in range(servers)]
    return [(struct.unpack_from("Q", data, a + 96)[0] / 1e9,
             struct.unpack_from("Q", data, a + 128)[0]) for a in at]


def paces(checker, which, probes):
    """{server: seconds from start to start}, the mean of so many probes at
    least, that came one after the other."""
    before = probed(checker)
    wait_until(lambda: all(now[1] - was[1] >= probes for i, (was, now) in
                           enumerate(zip(before, probed(checker)))
                           if i in which), f"{probes} probes of each", 30)
    after = probed(checker)
    return {i: (after[i][0] - before[i][0]) / (after[i][1] - before[i][1])
            for i in which}


def in_time(checker, which, probes, interval):
    """They keep the schedule: none of the three times it is looked, else the
    machine stalled, and that was no measurement."""
    for _ in range(3):
        found = paces(checker, which, probes).values()
        mean = sum(found) / len(found)
        if min(found) > 0.85 * interval and max(found) < 1.25 * interval \
                and abs(mean - interval) < 0.05 * interval:
            return
    raise AssertionError(f"every {min(found)} to {max(found)} s, {mean} on "
                         f"average, not {interval}")


class Crowd:
    """Many fakes, one in forty of them bad, and a daemon."""

    MODES = ["hang", "refuse", "reset", "hang"]

    def __init__(self, house, wanted, **more):
        n, pid = affordable(wanted), os.getpid()
        # An address of its own has all ports of its own.
        ip = f"127.77.{pid >> 8 & 255}.{pid & 255}"
        fake = house.fake(n, ip=ip)
        self.bad = {i: self.MODES[i // 40 % 4] for i in range(0, n, 40)}
        for i, mode in self.bad.items():
            fake.set(i, mode)
        self.good = [i for i in range(n) if i not in self.bad]
        self.checker = house.checker({"web": [
            f"fake{i} {ip}:{port}" for i, port in enumerate(fake.ports)]},
            **more)

    def wait_known(self, silent):
        """Verdicts are right; of who hangs only if it is time for that."""
        want = {f"fake{i}": "UP" for i in self.good} | {
            f"fake{i}": "DOWN" for i, mode in self.bad.items()
            if silent or mode != "hang"}

        def wrong():
            now = self.checker.verdicts()
            return {n: now[n] for n in want if now[n] != want[n]}
        wait_until(lambda: not wrong(), "verdicts", 20)

    def blamed(self):
        good = "|".join(f"fake{i}" for i in self.good)
        return self.checker.logged(f"server=({good}) .*state=(DOWN|HELD)")


@pytest.mark.takes(12)
def test_thousands_and_one_in_forty_is_bad(house):
    """As it is shipped.  Who hangs delays nobody else's probe, and nothing
    grows."""
    crowd = Crowd(house, THOUSANDS, shipped=True)
    checker, n = crowd.checker, len(crowd.good) + len(crowd.bad)
    crowd.wait_known(silent=False)
    files, memory = checker.process.descriptors(), memory_kib(checker.process)
    in_time(checker, crowd.good, 3, 1.)
    crowd.wait_known(silent=True)
    assert not crowd.blamed()
    # One connection each, and what new ones, scans and those that are bad
    # need now and then.
    assert checker.process.descriptors() <= n + 200
    assert checker.process.descriptors() - files < 2 * len(crowd.bad) + 50
    # The file, which it has mapped, is the larger part.
    now = memory_kib(checker.process)
    assert SAN or (now - memory < 1024 and now < 10 * n), now


@pytest.mark.takes(5)
def test_a_thousand_ten_times_a_second(house):
    """Hangs of fakemc's, too, are shorter than hold_after."""
    crowd = Crowd(house, 1000, shipped=True, defaults={
        "interval": "100ms", "fast_interval": "50ms", "down_interval": "500ms",
        "connect_timeout": "200ms", "rehash_after": "2s", "hold_after": "1s",
        "fall_ratio": "off"})
    crowd.wait_known(silent=False)
    in_time(crowd.checker, crowd.good, 20, 0.1)
    crowd.wait_known(silent=True)
    assert not crowd.blamed()


@pytest.mark.takes(4)
def test_a_probe_needs_no_memory(house):
    """All of it is there when the daemon starts: for probes of each kind, on
    kept connections and on new ones, with answers and without, for scans and
    for what is published.  (Not by TLS: OpenSSL takes buffers and gives them
    back, so that idle connections are small.)"""
    if SAN:
        pytest.skip("nothing can be preloaded")
    counter = house.directory / "calls"
    counter.write_bytes(bytes(8))
    fake = house.fake(20)
    fake.set(0, "hang")
    fake.set(1, "refuse")
    kinds = {"version": {}, "mn": {}, "stats": {}, "set": {"canary_size": 100},
             "tcp": {}}
    checker = house.checker(
        {kind: {"server": fake.lines(), "probe": kind} | more
         for kind, more in kinds.items()},
        defaults={"interval": "50ms", "timeout": "50ms",
                  "fast_interval": "50ms", "down_interval": "50ms",
                  "rehash_after": "1s", "stats_interval": "200ms",
                  "thread_scan_interval": "300ms", "fresh_every": 5},
        env={"LD_PRELOAD": str(BUILD / "tests/count_malloc.so"),
             "COUNT_MALLOC": str(counter)})
    for kind in kinds:
        checker.wait_verdicts({"fake1": "DOWN", "fake2": "UP"}, kind)

    def calls():
        return struct.unpack("Q", counter.read_bytes())[0]

    def probes():
        return sum(s["probes"] for kind in kinds
                   for s in checker.servers(kind).values())

    def until(n):
        wait_until(lambda: probes() >= n, f"{n} probes")

    began = calls()
    assert began > 100          # they are counted
    until(probes() + 500)
    before, first = calls(), probes()
    until(first + 1000)
    # libev makes room for as many events at once as there ever were; else it
    # would be none at all.
    assert calls() - before <= 8
