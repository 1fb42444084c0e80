"""What systemd and its journal get to hear."""
import os
import re
import statistics
import time

import pytest

from .harness import wait_until


@pytest.mark.parametrize("abstract", [False, True])
def test_ready_status_and_stopping(house, abstract):
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()}, abstract=abstract)
    # With the first result of each server.
    assert any("web 3/3 usable" in s for s in checker.told("STATUS"))
    assert checker.told("READY") == ["1"]
    fake.set(0, "refuse")
    wait_until(lambda: any("web 2/3 usable: 1 DOWN" in s
                           for s in checker.told("STATUS")), "the status")
    assert checker.stop() == 0
    assert checker.told("STOPPING") == ["1"]
    assert checker.path().exists()


@pytest.mark.takes(5)
def test_ready_does_not_wait_for_ever(house):
    """Servers that do not answer for long do not hold up the boot."""
    fake = house.fake(2)
    fake.set(0, "hang")
    checker = house.checker({"web": fake.lines()}, defaults={
        "interval": "30s", "timeout": "20s", "connect_timeout": "20s",
        "rehash_after": "60s"}, ready=False)
    checker.wait_until_ready(6)
    passed = checker.notifications.having("READY")[0][0] - checker.began
    assert 1.5 < passed < 4


def test_ready_waits_for_first_results(house):
    fake = house.fake(2)
    fake.set(0, "slow 700")
    checker = house.checker({"web": fake.lines()}, defaults={
        "interval": "3s", "timeout": "3s"})
    passed = checker.notifications.having("READY")[0][0] - checker.began
    assert 0.6 < passed < 4
    if passed < 2:              # else the machine is too busy to tell
        checker.wait_verdicts("UP", seconds=1)


def test_no_pools(house):
    """A fresh package starts, and takes pools later."""
    checker = house.checker({}, shipped=True)
    assert list(checker.directory.iterdir()) == []
    assert any("no pools" in s for s in checker.told("STATUS"))
    fake = house.fake(1)
    checker.pools["web"] = fake.lines()
    checker.reload()
    checker.wait_verdicts("UP")


def test_reloading_as_systemd_wants_it(house):
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()})
    before = time.monotonic_ns() // 1000
    checker.reload()
    after = time.monotonic_ns() // 1000
    told = [m for _, m in checker.notifications.messages]
    at = next(i for i, m in enumerate(told) if "RELOADING" in m)
    assert told[at]["RELOADING"] == "1"
    assert before <= int(told[at]["MONOTONIC_USEC"]) <= after
    assert "READY" not in told[at]
    assert any(m.get("READY") == "1" for m in told[at + 1:])


def test_a_supervisor_that_is_slow_to_listen_misses_nothing(house):
    """It waits for these words; a queue that is full will have room again."""
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()})
    fake.set(0, "hang")
    checker.notifications.settle()
    heard = len(checker.notifications.messages)
    # One datagram may still be taken by who listened already.
    checker.notifications.stop_listening()
    time.sleep(0.3)
    checker.notifications.stop_listening()
    checker.configure()
    checker.hang_up()
    checker.wait_logged("reloaded: ")
    checker.wait_verdicts("HELD")
    checker.notifications.listen_again()
    wait_until(lambda: checker.notifications.having("READY")[1:], "READY=1")
    told = [m for _, m in checker.notifications.messages[heard:]
            if "FULL" not in m]
    assert "RELOADING" in told[0]
    assert told[1]["READY"] == "1"
    wait_until(lambda: "1 HELD" in checker.told("STATUS")[-1], "the status")


@pytest.mark.takes(5)
def test_the_watchdog_is_fed_by_a_loop_that_is_in_time(house):
    """Also while nothing is probed; not by a loop that hangs."""
    fake = house.fake(1)
    # So slow that turns of the loop for other reasons do not feed it.
    checker = house.checker({"web": fake.lines()}, watchdog=1000000, checker={
        "heartbeat": "10s"}, defaults={"interval": "30s", "timeout": "1s",
                                       "rehash_after": "60s"})
    wait_until(lambda: len(checker.told("WATCHDOG")) >= 6, "fed", 5)
    times = [when for when, _ in checker.notifications.having("WATCHDOG")]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert statistics.median(gaps) < 0.6
    checker.process.stop()
    fed = len(checker.told("WATCHDOG"))
    time.sleep(1.5)             # more than systemd would allow
    assert len(checker.told("WATCHDOG")) == fed
    went_on = time.monotonic()
    checker.process.cont()
    wait_until(lambda: len(checker.told("WATCHDOG")) > fed + 2, "fed again")
    # The first look came late, and was not passed on.
    assert checker.notifications.having("WATCHDOG")[fed][0] - went_on > 0.1


def test_a_watchdog_that_is_not_ours(house):
    """$WATCHDOG_PID names another process: of a wrapper, say."""
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()}, watchdog=100000,
                            env={"WATCHDOG_PID": "1"})
    checker.wait_verdicts("UP")
    wait_until(lambda: checker.servers()["fake0"]["probes"] > 3, "probes")
    assert checker.told("WATCHDOG") == []


def test_without_a_supervisor(house):
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()}, ready=False,
                            env={"NOTIFY_SOCKET": "/nonexistent/notify"})
    wait_until(lambda: checker.path().exists(), "it runs all the same")
    checker.wait_verdicts("UP")


def test_the_journal_gets_priorities(house):
    """$JOURNAL_STREAM names our stderr: <N>, and no time of our own."""
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, start=False)
    log = house.directory / f"{checker.name}.log"
    log.touch()
    name = f"{log.stat().st_dev}:{log.stat().st_ino}"
    checker.start(env={"JOURNAL_STREAM": name})
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    fake.set(0, "ok")
    checker.wait_verdicts("UP")
    checker.reload("[pool\n")
    checker.stop()
    lines = checker.log().splitlines()
    assert lines and all(re.match(r"<[3-7]>\S", line) for line in lines)
    assert all(line.startswith("<4>") for line
               in checker.logged("state=(DOWN|HELD)"))
    assert all(line.startswith("<5>") for line in checker.logged("state=UP"))
    assert all(line.startswith("<3>") for line in checker.logged("refused:"))


def test_a_terminal_gets_times(house):
    """Also where $JOURNAL_STREAM was inherited, but stderr is not it."""
    checker = house.checker({}, env={"JOURNAL_STREAM": "1:1"})
    assert checker.log()
    for line in checker.log().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \w+ ", line)


@pytest.mark.takes(3)
def test_a_quiet_log(house):
    """A line for each transition, none for a probe."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    wait_until(lambda: checker.servers()["fake0"]["probes"] > 8, "probes")
    lines = checker.log().splitlines()
    assert len(checker.logged("state=UP was=UNKNOWN")) == 4
    assert len(lines) < 10, lines


@pytest.mark.parametrize("what, expected", [
    ("all", {"ok", "refused"}), ("failures", {"refused"})])
def test_a_log_of_probes(house, what, expected):
    fake = house.fake(2)
    fake.set(1, "refuse")
    checker = house.checker({"web": fake.lines()},
                            checker={"log_probes": what})
    checker.wait_verdicts({"fake0": "UP", "fake1": "DOWN"})
    wait_until(lambda: checker.servers()["fake1"]["probes"] > 5, "probes")
    told = {re.search(r"result=(\S+)", line).group(1)
            for line in checker.logged("server=fake.* result=")}
    assert told == expected
    assert len(checker.logged("server=fake1 .*result=refused")) >= 5
    # It follows a reload.
    checker.checker["log_probes"] = "none"
    checker.reload()
    checker.wait_logged("reloaded")
    probes = checker.servers()["fake1"]["probes"]
    mark = len(checker.logged("result="))
    wait_until(lambda: checker.servers()["fake1"]["probes"] > probes + 4,
               "more probes")
    assert len(checker.logged("result=")) <= mark + 1


def journal(checker):
    """$JOURNAL_STREAM, as if its log were the journal."""
    log = checker.house.directory / f"{checker.name}.log"
    log.touch()
    return {"JOURNAL_STREAM": f"{log.stat().st_dev}:{log.stat().st_ino}"}


@pytest.mark.parametrize("options", [[], ["-t"]])
def test_the_journal_gets_errors_of_the_start(house, options):
    """With their priority, one by one."""
    checker = house.checker({}, start=False)
    checker.configure("[pool web]\nserver = nonsense\ncolour = blue\n")
    checker.start(ready=False, env=journal(checker), options=options)
    assert checker.process.wait() == 78
    checker.expected_code = 78
    lines = checker.log().splitlines()
    assert len(lines) >= 2
    assert all(re.match(rf"<3>{checker.ini}:\d+: \S", line)
               for line in lines), lines


def opens(process, path):
    """Has it the file open just now?"""
    directory = f"/proc/{process.pid}/fd"
    for fd in os.listdir(directory):
        try:
            if os.readlink(f"{directory}/{fd}") == str(path):
                return True
        except FileNotFoundError:       # closed meanwhile
            pass
    return False


@pytest.mark.takes(4)
def test_a_hangup_while_the_ini_is_read_at_the_start(house):
    """It is served later, and kills nobody."""
    fake = house.fake(1)
    checker = house.checker({}, start=False)
    remarks = checker.own / "remarks"
    remarks.write_text(f"; {'x' * 80}\n" * 190000)
    checker.pools["web"] = {"include": [remarks] * 12,
                            "server": fake.lines()}
    checker.configure()
    checker.start(ready=False)
    wait_until(lambda: opens(checker.process, remarks), "it reads")
    checker.hang_up()
    checker.wait_until_ready(20)
    checker.wait_logged("reloaded: 1 pool, 1 server", 20)
    assert checker.stop() == 0


def test_the_name_of_the_host_is_long(house):
    """As long as Linux lets it be: cut, but there."""
    name = "h" * 60 + "tail"
    house.privileged("unshare", "--uts", "true")
    checker = house.checker({"web": house.fake().lines()}, before=[
        "unshare", "--uts", "--", "sh", "-c",
        'echo "$0" >/proc/sys/kernel/hostname && exec "$@"', name])
    assert checker.pool()["daemon"]["host"] == name[:63]
