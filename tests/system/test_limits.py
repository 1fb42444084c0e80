"""Faults of our own host never step a verdict."""
import time

import pytest

from .harness import wait_until
from .test_doubt import FAILED_BEGAN, entry_words

# No probe shall time out because the machine is busy.
CALM = {"interval": "500ms", "timeout": "500ms", "connect_timeout": "1s"}
PATIENT = {"interval": "1s", "timeout": "1s", "connect_timeout": "1s"}


@pytest.mark.takes(5)
def test_too_few_descriptors_at_the_start(house):
    """Some servers are not probed; none of them is blamed for it."""
    fake = house.fake(60)
    checker = house.checker({"web": fake.lines()}, defaults=CALM, before=[
        "prlimit", "--nofile=40:40", "--"], ready=False)
    checker.wait_until_ready()
    checker.wait_logged("too few file descriptors")
    checker.wait_logged("own fault.*Too many open files")
    wait_until(lambda: max(s["probes"] for s in checker.servers().values())
               > 3, "some probes")
    shown = checker.servers()
    verdicts = [s["verdict"] for s in shown.values()]
    assert set(verdicts) == {"UP", "UNKNOWN"}
    assert all(s["usable"] and s["failures"] == 0 for s in shown.values())
    assert any(s["reason"] == "local" for s in shown.values())
    client = house.client(checker.path())
    assert client.picks().all_home()
    assert not checker.logged("state=(DOWN|HELD)")
    assert len(checker.logged("own fault")) <= 2


@pytest.mark.takes(5)
def test_descriptors_run_out_later(house):
    """Connections are lost and can not be made again; then they can."""
    fake = house.fake(10)
    checker = house.checker({"web": fake.lines()}, defaults=CALM)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    house.run("prlimit", "--pid", checker.pid, "--nofile=8:1024")
    fake.set("all", "drop-idle")
    checker.wait_logged("own fault.*Too many open files")
    before = {n: s["failures"] for n, s in checker.servers().items()}
    wait_until(lambda: checker.servers()["fake0"]["reason"] == "local",
               "local")
    # It goes on for longer than anything but a local error would need.
    time.sleep(1.5)
    shown = checker.servers()
    assert {s["verdict"] for s in shown.values()} == {"UP"}
    assert {n: s["failures"] for n, s in shown.items()} == before
    assert client.picks().answer == base.answer
    # Verdicts still get through: a server that is really dead is not seen,
    # but the loop lives, publishes, and obeys.
    assert client.status()["stale"] == 0
    house.run("prlimit", "--pid", checker.pid, "--nofile=1024:1024")
    requests = fake.requests()
    wait_until(lambda: min(n - m for n, m in zip(fake.requests(), requests))
               > 2, "probed again")
    fake.set(3, "refuse")
    checker.wait_verdicts({"fake3": "DOWN"})
    assert not checker.logged("server=fake[0124-9] .*state=(DOWN|HELD)")


def doze(checker, meanwhile=lambda: None):
    """As a debugger, a snapshot of the machine or a busy host do it: longer
    than a timeout, and than the time between probes."""
    checker.process.stop()
    meanwhile()
    time.sleep(1.1)
    checker.process.cont()
    probes = max(s["probes"] for s in checker.servers().values())
    wait_until(lambda: min(s["probes"] for s in checker.servers().values())
               > probes, "all are probed again")


def nobody_is_blamed(checker):
    shown = checker.servers().values()
    assert {s["verdict"] for s in shown} == {"UP"}
    assert {s["failures"] for s in shown} == {0}


@pytest.mark.takes(9)
def test_answers_that_came_in_while_we_dozed(house):
    """Before a timeout is judged, what is there is read."""
    fake = house.fake(8)
    fake.set("all", "slow 300")         # many of them have one under way
    checker = house.checker({"web": fake.lines()}, defaults=PATIENT,
                            checker={"tilt_after": "1m"})
    checker.wait_verdicts("UP")
    for _ in range(3):
        doze(checker)
        nobody_is_blamed(checker)


@pytest.mark.takes(7)
def test_connections_that_ended_while_we_dozed(house):
    """The next probe is due when their end is seen: it goes on with another
    connection, and proves nothing by the old one."""
    fake = house.fake(8)
    checker = house.checker({"web": fake.lines()}, defaults=PATIENT,
                            checker={"tilt_after": "1m"})
    checker.wait_verdicts("UP")
    for _ in range(2):
        doze(checker, lambda: fake.set("all", "drop-idle"))
        nobody_is_blamed(checker)
    assert min(row[1] for row in fake.stats()) >= 3


@pytest.mark.takes(3)
def test_no_port_is_left_for_connections(house):
    """The kept connection has the only one; each probe wants another."""
    ns = house.netns()
    fake = house.fake(3, netns=ns)
    house.run(*ns.enter, "sh", "-c", "echo 40000 40000 "
              ">/proc/sys/net/ipv4/ip_local_port_range")
    checker = house.checker({"web": fake.lines()}, netns=ns, defaults={
        "fresh_every": 1, "stats_interval": 0, "thread_scan_interval": 0})
    checker.wait_verdicts("UP")
    checker.wait_logged("own fault.*Cannot assign requested address")
    wait_until(lambda: min(s["local_errors"] for s in
                           checker.servers().values()) > 5, "own faults")
    for shown in checker.servers().values():
        assert (shown["verdict"], shown["failures"]) == ("UP", 0)
        assert shown["result"] == "local"
    assert len(checker.logged("own fault")) == 1
    fake.set(0, "refuse")               # is still seen, if it is
    checker.wait_verdicts({"fake0": "DOWN"})


@pytest.mark.takes(5)
def test_own_faults_do_not_say_why_a_server_is_down(house):
    """The reason of DOWN and HELD is that of the evidence."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()}, defaults={
        **CALM, "rehash_after": "1m"})
    checker.wait_verdicts("UP")
    fake.set(0, "refuse")
    fake.set(1, "hang")
    checker.wait_verdicts({"fake0": "DOWN", "fake1": "HELD"})
    house.run("prlimit", "--pid", checker.pid, "--nofile=8:1024")
    fake.set(2, "drop-idle")
    wait_until(lambda: {s["result"] for s in checker.servers().values()}
               == {"local"}, "own faults")
    shown = checker.servers()
    assert {n: (s["verdict"], s["reason"]) for n, s in shown.items()} == {
        "fake0": ("DOWN", "refused"), "fake1": ("HELD", "timeout"),
        "fake2": ("UP", "local")}
    # While we can not look, it is not silent for any longer, and no probe
    # fails.
    began, was = time.monotonic(), checker.servers()["fake1"]
    failed = entry_words(checker, FAILED_BEGAN)
    wait_until(lambda: checker.servers()["fake1"]["local_errors"] >
               was["local_errors"] + 20, "20 own faults")
    silent = checker.servers()["fake1"]["silent_since_ms"] - \
        was["silent_since_ms"]
    assert silent < (time.monotonic() - began) * 1000 - 500
    assert min(failed[:2]) > 0
    assert entry_words(checker, FAILED_BEGAN) == failed
    house.run("prlimit", "--pid", checker.pid, "--nofile=1024:1024")
    wait_until(lambda: checker.servers()["fake1"]["result"] == "timeout",
               "silent again")
