"""Three hundred servers; and thousands."""
import os
import re
import resource
import time

import pytest

from .harness import SAN, wait_until

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


THOUSANDS = 4000
# A second each, and long enough for a machine that is busy with other tests.
SECOND = {"interval": "1s", "fast_interval": "250ms", "timeout": "700ms",
          "connect_timeout": "700ms", "down_interval": "1s",
          "hold_after": "700ms", "rehash_after": "1500ms"} | COUNTED


def affordable():
    """As many servers as one process may have connections and sockets."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most == resource.RLIM_INFINITY:
        return THOUSANDS
    return min(THOUSANDS, (most - 200) // 3)


def memory_kib(process):
    with open(f"/proc/{process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s*(\d+)", f.read())[1])


def window(fake, seconds):
    """(time passed, [probes of each server])"""
    began, before = time.monotonic(), fake.requests()
    time.sleep(seconds)         # what is measured, no waiting
    after = fake.requests()
    return (time.monotonic() - began,
            [n - m for n, m in zip(after, before)])


def differences(checker, want):
    return {name: verdict for name, verdict in checker.verdicts().items()
            if verdict != want[name]}


@pytest.mark.takes(14)
def test_thousands_and_one_in_forty_is_bad(house):
    """Who hangs delays nobody else's probe, and nothing grows."""
    n, pid = affordable(), os.getpid()
    # An address of its own has all ports of its own.
    ip = f"127.77.{pid >> 8 & 255}.{pid & 255}"
    fake = house.fake(n, ip=ip)
    modes = ["hang", "refuse", "reset", "hang"]
    bad = {i: modes[i // 40 % 4] for i in range(0, n, 40)}
    for i, mode in bad.items():
        fake.set(i, mode)
    checker = house.checker({"web": [
        f"fake{i} {ip}:{port}" for i, port in enumerate(fake.ports)]},
        defaults=SECOND)
    want = {f"fake{i}": "DOWN" if i in bad else "UP" for i in range(n)}
    wait_until(lambda: not differences(checker, want), "verdicts", 20)
    files, memory = checker.process.descriptors(), memory_kib(checker.process)
    for _ in range(3):
        passed, probes = window(fake, 4)
        due = [p for i, p in enumerate(probes) if i not in bad]
        if min(due) >= passed * 0.7 - 1:
            break               # else the machine stalled: no measurement
    assert min(due) >= passed * 0.7 - 1
    assert max(due) <= passed * 1.3 + 2
    assert abs(sum(due) / len(due) - passed) <= passed * 0.15 + 1
    assert differences(checker, want) == {}
    good = "|".join(f"fake{i}" for i in range(n) if i not in bad)
    assert not checker.logged(f"server=({good}) .*state=(DOWN|HELD)")
    # One connection each, and what those that are bad need now and then.
    assert checker.process.descriptors() <= n + 100
    assert checker.process.descriptors() - files < 2 * len(bad) + 20
    assert SAN or memory_kib(checker.process) - memory < 1024
