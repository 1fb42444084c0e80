"""The three tables of the mail that all this began with, with real memcacheds
and real clients: a plain one of those days for the first, one of the library
for the others; reports; candidates.

Keys are found for the parts that the mail gives them.  The wave of misses after
a server's return is another test's (tests/laws/test_law_manual.py).
"""
import socket
import zlib

import pytest

from .harness import wait_until

FAILED, HELD, MISS, DOWN = -13, -10, -11, -12
RESUBMIT, REPORTS = 1, 5


class Cast:
    """Four servers, a client, and a key for each server."""

    def __init__(self, house, shipped=True, **more):
        self.house = house
        self.servers = house.memcacheds(4)
        self.checker = house.checker({"web": [s.line for s in self.servers]},
                                     shipped=shipped, **more)
        self.checker.wait_verdicts("UP")
        self.client = self.another()
        self.keys = {}
        for n in range(200):
            home = self.client.ask(f"pick AAA{n}")["home"]
            self.keys.setdefault(home, []).append(f"AAA{n}")
        assert len(self.keys) == 4

    def another(self):
        return self.house.client(self.checker.path())

    def key(self, slot):
        return self.keys[slot][0]

    def fill(self):
        for slot in range(4):
            done = self.client.ask(f"set {self.key(slot)} value{slot}")
            assert (done["err"], done["tried"]) == (1, [slot])

    def home_is(self, client, slot):
        got = client.ask(f"get {self.key(slot)}")
        return (got["err"], got["tried"]) == (1, [slot])


class Removing:
    """A client as most were: hash % live, and a server that fails is removed
    from those that live."""

    def __init__(self, servers):
        self.servers = servers
        self.live = list(range(len(servers)))

    @staticmethod
    def hash(key):
        return zlib.crc32(key.encode()) >> 16 & 0x7fff

    def slot(self, key):
        return self.live[self.hash(key) % len(self.live)]

    def talk(self, slot, request):
        with socket.create_connection((self.servers[slot].ip,
                                       self.servers[slot].port), 5) as s:
            s.sendall(request.encode())
            with s.makefile("rb") as answer:
                line = answer.readline()
        if not line:
            raise ConnectionError("it has ended")
        assert line == b"STORED\r\n" or line[:6] in (b"VALUE ", b"END\r\n")
        return "miss" if line == b"END\r\n" else "hit"

    def ask(self, key, request):
        """(slot, "hit", "miss" or "error")"""
        slot = self.slot(key)
        try:
            return slot, self.talk(slot, request)
        except OSError:
            self.live.remove(slot)
            return slot, "error"

    def set(self, key):
        return self.ask(key, f"set {key} 0 0 5\r\nvalue\r\n")

    def get(self, key):
        return self.ask(key, f"get {key}\r\n")


def test_table_one_healthy_keys_move(house):
    """What is lost without us: AAA was on a server that never failed."""
    servers = house.memcacheds(4)
    client = Removing(servers)
    keys = [f"key{n}" for n in range(2000)]
    aaa = next(k for k in keys if client.hash(k) % 12 == 3)
    bbb = next(k for k in keys if client.hash(k) % 12 == 1)
    for key in keys:
        assert client.set(key)[1] == "hit"
    assert client.get(aaa) == (3, "hit")
    servers[1].kill()
    assert client.get(bbb) == (1, "error")
    assert client.get(bbb) == (2, "miss")
    assert client.get(aaa) == (0, "miss")
    # And so two of three keys of healthy servers.
    home = {k: client.hash(k) % 4 for k in keys}
    healthy = [k for k in keys if home[k] != 1]
    lost = [k for k in healthy if client.get(k)[1] == "miss"]
    assert len(lost) == sum(client.slot(k) != home[k] for k in healthy)
    assert len(lost) > len(healthy) / 2


@pytest.fixture
def alone(house):
    """A cast whose checker is stopped: nothing but the client's own knowledge
    is at work."""
    cast = Cast(house)
    cast.fill()
    assert cast.client.ask(f"ctl {REPORTS} 0")["ctl"] == 0
    cast.checker.process.stop()
    yield cast
    cast.checker.process.cont()


def test_table_two_an_error_then_rehashed(alone):
    cast = alone
    cast.servers[1].kill()
    failed = cast.client.ask(f"get {cast.key(1)}")
    assert (failed["err"], failed["tried"]) == (FAILED, [1])
    # The checker knows nothing yet; this process does.
    again = cast.client.ask(f"get {cast.key(1)}")
    assert again["err"] == 0 and again["choice"]["home"] == 1
    assert len(again["tried"]) == 1 and again["tried"] != [1]
    for slot in (0, 2, 3):
        assert cast.home_is(cast.client, slot)


def test_table_three_the_same_call_goes_on(alone):
    cast = alone
    assert cast.client.ask(f"ctl {RESUBMIT} 1")["ctl"] == 0
    order = [c["slot"] for c in cast.client.ask(
        f"candidates 4 {cast.key(1)}")["candidates"]]
    assert order[0] == 1 and sorted(order) == [0, 1, 2, 3]
    cast.servers[1].kill()
    stored = cast.client.ask(f"set {cast.key(1)} elsewhere")
    assert (stored["err"], stored["tried"]) == (1, order[:2])
    got = cast.client.ask(f"get {cast.key(1)}")
    assert (got["err"], got["tried"]) == (1, [order[1]])
    assert "elsewhere" in got["answer"]
    for slot in (0, 2, 3):
        assert cast.home_is(cast.client, slot)


def test_what_may_not_be_repeated_is_not(alone):
    """A stopped server takes the bytes: an incr must not go elsewhere."""
    cast = alone
    cast.client.ask(f"ctl {RESUBMIT} 1")
    cast.servers[1].stop()
    once = cast.client.ask(f"incr {cast.key(1)}")
    assert (once["err"], once["tried"]) == (FAILED, [1])
    cast.servers[1].cont()


def test_a_report_tells_all_processes(house):
    """A stopped server, between two probes that are minutes apart: one failed
    request, and the probes that prove it; no other process of the host has to
    find out by itself."""
    cast = Cast(house, defaults={"interval": "5m", "fast_interval": "250ms"})
    other = cast.another()
    probes = cast.checker.servers()["cache1"]["probes"]
    cast.servers[1].stop()
    assert cast.client.ask(f"get {cast.key(1)}")["err"] == FAILED
    wait_until(lambda: other.ask(f"pick {cast.key(1)}")["err"] == HELD,
               "another process does not wait for it", 20)
    shown = cast.checker.servers()["cache1"]
    # By silence of the same length as ever, and more than one probe.
    assert shown["verdict"] == "HELD"
    assert shown["probes"] - probes >= 2
    done = other.ask(f"get {cast.key(1)}")
    assert (done["err"], done["tried"]) == (HELD, [])
    cast.servers[1].cont()


def test_suspicion_ends_with_a_good_probe(house):
    """A failure that was the client's own fault: the report's probe finds the
    server well, and the process goes back, long before the bound in time."""
    cast = Cast(house, defaults={"interval": "30s", "fast_interval": "100ms"})
    cast.fill()
    cast.client.ask("ctl 4 600000000000")
    assert cast.client.ask(f"fail {cast.key(2)}")["failed"] == 0
    wait_until(lambda: cast.home_is(cast.client, 2), "back to cache2", 20)


def test_candidates_say_who_stands_in(house):
    cast = Cast(house)
    key = cast.key(3)
    order = [c["slot"] for c in cast.client.ask(
        f"candidates 4 {key}")["candidates"]]
    cast.servers[3].kill()
    wait_until(lambda: cast.client.verdicts()["cache3"] == "DOWN", "DOWN", 5)
    left = cast.client.ask(f"candidates 4 {key}")["candidates"]
    assert [c["slot"] for c in left] == order[1:]
    assert all(c["home"] == 3 for c in left)
    assert cast.client.ask(f"pick {key}")["slot"] == order[1]


@pytest.mark.parametrize("dead, err", [("miss", MISS), ("error", DOWN)])
def test_dead_miss_and_error(house, dead, err):
    cast = Cast(house, defaults={"dead": dead})
    cast.servers[0].kill()
    wait_until(lambda: cast.client.verdicts()["cache0"] == "DOWN", "DOWN", 5)
    assert cast.client.ask(f"pick {cast.key(0)}")["err"] == err
    for slot in (1, 2, 3):
        assert cast.client.ask(f"pick {cast.key(slot)}")["slot"] == slot


def test_failover_ttl_reaches_the_caller(house):
    cast = Cast(house, defaults={"failover_ttl": "60s"})
    key = cast.key(0)
    assert cast.client.ask(f"candidates 1 {key}")["candidates"][0]["ttl"] == 0
    cast.servers[0].kill()
    wait_until(lambda: cast.client.verdicts()["cache0"] == "DOWN", "DOWN", 5)
    got = cast.client.ask(f"get {key}")
    assert got["choice"]["ttl"] == 60
    assert cast.checker.pool()["failover_ttl"] == 60
