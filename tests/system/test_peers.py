"""Servers that answer in all the wrong ways, and some strange right ones."""
import re
import socket
import statistics
import time

import pytest

from .harness import wait_until

# mode: verdict, reason (of the last failure; none while it is UP)
PEERS = {
    "ok": ("UP", None),
    "bytewise": ("UP", None),
    "slow 60": ("UP", None),            # just below the timeout of 200 ms
    "close-after": ("UP", None),
    "unauth": ("UP", None),             # a login is wanted: somebody lives
    "maxconns": ("UP", None),           # too many connections: likewise
    "refuse": ("DOWN", "refused"),
    "reset": ("DOWN", "reset"),
    "close": ("DOWN", "closed"),
    "garbage": ("DOWN", "garbage"),
    "http": ("DOWN", "garbage"),
    "double": ("DOWN", "garbage"),
    "error": ("DOWN", "error-reply"),
    "server-error": ("DOWN", "error-reply"),
    "hang": ("DOWN", "timeout"),
    "partial": ("DOWN", "timeout"),
    # Each answer arrives while a later probe waits for its own.
    "slow 700": ("DOWN", "timeout"),
}


NAMES = {mode: f"fake{i}" for i, mode in enumerate(PEERS)}


def set_modes(fake):
    for i, mode in enumerate(PEERS):
        fake.set(i, mode)
        fake.set(i, "drop-idle")


@pytest.mark.takes(6)
def test_from_the_start(house):
    fake = house.fake(len(PEERS))
    set_modes(fake)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts({NAMES[m]: v for m, (v, _) in PEERS.items()},
                          seconds=15)
    shown = checker.servers()
    dead = {m: r for m, (v, r) in PEERS.items() if v == "DOWN"}
    assert {m: shown[NAMES[m]]["reason"] for m in dead} == dead
    picks = house.client(checker.path()).picks()
    picks.only_moved(*(NAMES[m] for m in dead))
    assert set(picks.answer) == {NAMES[m] for m in set(PEERS) - set(dead)}


@pytest.mark.takes(8)
def test_later_and_back(house):
    fake = house.fake(len(PEERS))
    # Three pools: in one, so many transitions would not be told one by one.
    pools = {"well": [], "proof": [], "silence": []}
    for i, (verdict, reason) in enumerate(PEERS.values()):
        pool = "well" if verdict == "UP" else \
            "silence" if reason == "timeout" else "proof"
        pools[pool].append(fake.line(i))
    checker = house.checker(pools)
    clients = {pool: house.client(checker.path(pool)) for pool in pools}
    for pool in pools:
        checker.wait_verdicts("UP", pool)
    base = {pool: client.picks() for pool, client in clients.items()}
    time.sleep(1.1)             # ten lines a second are told one by one
    set_modes(fake)
    checker.wait_verdicts("DOWN", "proof")
    checker.wait_verdicts("DOWN", "silence")
    wait_until(lambda: min(s["probes"] for s
                           in checker.servers("well").values()) > 15, "probes")
    checker.wait_verdicts("UP", "well")
    assert not checker.logged("pool=well .*was=UP")
    # By proof nobody is held before he is down; by silence all are.
    assert not checker.logged("pool=proof .*state=HELD")
    assert len(checker.logged("pool=proof .*state=DOWN was=UP")) == \
        len(pools["proof"])
    assert len(checker.logged("pool=silence .*state=HELD was=UP")) == \
        len(checker.logged("pool=silence .*state=DOWN was=HELD")) == \
        len(pools["silence"])
    assert clients["well"].picks().answer == base["well"].answer
    assert set(clients["proof"].picks().answer) == {"ENONE"}
    fake.set("all", "ok")
    for pool, client in clients.items():
        checker.wait_verdicts("UP", pool)
        assert client.picks().answer == base[pool].answer


@pytest.mark.takes(5)
def test_late_answers_are_not_the_next_probes(house):
    """Answers come long after the timeout of 200 ms: each would fit a later
    probe's."""
    fake = house.fake(2)
    fake.set(0, "slow 700")
    checker = house.checker({"web": fake.lines()}, defaults={
        "rehash_after": "30s"})
    checker.wait_verdicts({"fake0": "HELD", "fake1": "UP"})
    requests = fake.requests()[0]
    wait_until(lambda: fake.requests()[0] > requests + 8, "eight more probes")
    shown = checker.servers()["fake0"]
    assert "+" not in shown["history"] and set(shown["history"]) == {"t"}
    assert not checker.logged("server=fake0 .*state=UP")
    assert not checker.logged("garbage")


def test_unasked_words_cost_a_connection_only(house):
    """The second answer of a double one comes while the connection idles, or
    with the first: never a success of the next probe."""
    fake = house.fake(1, mode="ok")
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    fake.set(0, "late")
    wait_until(lambda: checker.servers()["fake0"]["failures"] >= 2, "late")
    fake.set(0, "hang")
    fake.set(0, "ok")
    checker.wait_verdicts("UP")
    assert checker.servers()["fake0"]["reason"] in (None, "", "ok", "timeout")
    assert not checker.logged("garbage")


@pytest.mark.takes(7)
def test_a_peer_that_closes_after_each_answer(house):
    """Shipped defaults: never DOWN, and probed no faster than
    fast_interval."""
    fake = house.fake(2, mode="close-after")
    checker = house.checker({"web": fake.lines()}, shipped=True)
    checker.wait_verdicts("UP")
    began, before = time.monotonic(), fake.requests()
    wait_until(lambda: min(fake.requests()) >= min(before) + 5,
               "five probes more", 15)
    passed = time.monotonic() - began
    probes = max(n - m for n, m in zip(fake.requests(), before))
    assert probes <= passed / 0.25 + 2
    assert set(checker.verdicts().values()) == {"UP"}
    assert not checker.logged("was=UP")
    assert checker.process.cpu_seconds() < 1


@pytest.mark.takes(3)
def test_connections_that_end_while_idle_prove_nothing(house):
    fake = house.fake(2)
    checker = house.checker(
        {"web": fake.lines([0]),
         "often": {"server": fake.lines([1]), "interval": "100ms",
                   "timeout": "100ms"}},
        checker={"log_probes": "all"}, options=["-v"],
        # One request a probe, and no probe without cause.
        defaults={"interval": "1s", "fast_interval": "50ms", "timeout": "1s",
                  "stats_interval": 0, "thread_scan_interval": 0,
                  "jitter": "0%"})
    checker.wait_verdicts("UP")
    checker.wait_verdicts("UP", "often")
    began, before = time.monotonic(), fake.requests()[0]
    for _ in range(20):
        accepted = fake.stats()[0][1]
        fake.set(0, "drop-idle")
        wait_until(lambda: fake.stats()[0][1] > accepted, "a new connection")
    probes = fake.requests()[0] - before
    passed = time.monotonic() - began
    # Not sooner than it may be.  (The last connection may have been counted
    # before its request.)
    assert 19 <= probes <= passed / 0.05 + 2
    # But long before it is due, which is ten probes of the other one later: by
    # the order of events, which a slow machine does not change.
    others = [round.count(" result=ok") for round in re.findall(
        r"kept connection ended[^\n]*\n(.*?)server=fake0 ", checker.log(),
        re.S)]
    assert len(others) >= 19 and statistics.median(others) <= 2, others
    shown = checker.servers()["fake0"]
    # The new connection, too, may be idle still when the order to drop those
    # comes late: that is a failure, and no more than a few of twenty are.
    assert shown["verdict"] == "UP" and shown["failures"] <= 3
    assert "x" not in shown["history"]


@pytest.mark.takes(5)
def test_a_full_backlog_is_silence(house):
    """Connects that nobody accepts: half open, then no answer to SYN."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(full.getsockname())
            waiting.append(s)
        try:
            port = full.getsockname()[1]
            checker = house.checker({"web": [f"full 127.0.0.1:{port}"]})
            checker.wait_verdicts("HELD")
            assert checker.servers()["full"]["reason"] == "connect-timeout"
            checker.wait_verdicts("DOWN")
            assert checker.servers()["full"]["reason"] == "connect-timeout"
        finally:
            for s in waiting:
                s.close()


def test_real_memcached_out_of_connections(house):
    """maxconns_fast closes what is too much, with a word: it lives."""
    server = house.memcached(name="full", options=["-c", "64"])
    friends = []
    try:
        for _ in range(60):
            s = socket.create_connection((server.ip, server.port), 5)
            friends.append(s)
        friends[-1].settimeout(5)
        assert b"Too many open connections" in friends[-1].recv(100)
        checker = house.checker({"web": [server.line]})
        checker.wait_verdicts("UP")
        wait_until(lambda: checker.servers()["full"]["probes"] > 5, "probes")
        assert checker.verdicts() == {"full": "UP"}
        assert not checker.logged("state=(DOWN|HELD)")
    finally:
        for s in friends:
            s.close()


def test_real_memcached_that_wants_a_login(house):
    users = house.directory / "users"
    users.write_text("somebody:secret\n")
    server = house.memcached(name="shy", options=["-Y", users])
    checker = house.checker({"web": [server.line]})
    checker.wait_verdicts("UP")


@pytest.mark.takes(5)
def test_real_memcached_with_idle_timeout(house):
    """-o idle_timeout closes our connection again and again."""
    server = house.memcached(name="strict", options=["-o", "idle_timeout=1"])
    checker = house.checker({"web": [server.line]}, defaults={
        "interval": "3s", "timeout": "3s"})
    checker.wait_verdicts("UP")
    wait_until(lambda: checker.servers()["strict"]["probes"] >= 3, "probes",
               12)
    shown = checker.servers()["strict"]
    assert shown["verdict"] == "UP" and shown["failures"] == 0
