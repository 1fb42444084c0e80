"""Servers that answer, and are sick: faults that a plain probe does not see."""
import contextlib
import re
import socket
import threading
import time

import pytest

from .harness import Freezer, wait_until

# Nothing but a version probe on one connection, now and then on a new one.
PLAIN = {"stats_interval": "0", "thread_scan_interval": "0",
         "slow_threshold": "0", "fresh_every": 4}
FAST = {"stats_interval": "100ms", "thread_scan_interval": "300ms",
        "fresh_every": 4, "flap_hold": "0s"}


class Client:
    """A connection to a memcached, by hand."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.ip, server.port), 5)
        self.rest = b""

    def ask(self, text):
        """The first line of the answer; of a hit, the value."""
        self.socket.sendall(text.encode() + b"\r\n")
        line = self.line()
        if not line.startswith("VALUE"):
            return line
        value = self.line()
        assert self.line() == "END"
        return value

    def line(self):
        while b"\r\n" not in self.rest:
            more = self.socket.recv(65536)
            assert more, "end of file"
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line.decode(errors="replace")

    def close(self):
        self.socket.close()


def workers(server):
    """Ids of its worker threads."""
    tids = [int(p.name) for p in server.process.proc("task").iterdir()
            if (p / "comm").read_text().strip() == "mc-worker"]
    if not tids:
        pytest.skip("this memcached does not name its threads")
    return sorted(tids)


def wait_degraded(checker, wanted, pool="web", seconds=15, name="cache"):
    """Its bits, by name, are these."""
    def there():
        got = checker.servers(pool)[name]["degraded_names"]
        assert got == wanted, f"{got} is not {wanted}"
        return True
    wait_until(there, f"{pool}: degraded {wanted}", seconds)
    return checker.servers(pool)[name]


def wait_probes(checker, n, pool="web", name="cache"):
    """So many more of them, and the server was UP after all."""
    def probes():
        shown = checker.servers(pool)[name]
        assert shown["verdict"] in ("UP", "HELD"), shown
        return shown["probes"]
    first = probes()
    wait_until(lambda: probes() >= first + n, f"{n} probes")


def detail(checker, pool="web", name="cache"):
    return checker.shmdump("--server", name, checker.path(pool)).stdout


@pytest.mark.takes(6)
def test_a_stuck_worker(house):
    """One of four: a quarter of all clients hangs, and the server is UP."""
    server = house.memcached(name="cache", options=["-t", "4"])
    freezer = Freezer(house)
    checker = house.checker({
        "web": {"server": server.line},
        "plain": {"server": server.line, "thread_scan_interval": "0"},
        "strict": {"server": server.line, "on_worker_stuck": "down"}},
        defaults=FAST)
    for pool in ("web", "plain", "strict"):
        checker.wait_verdicts("UP", pool)
    wait_until(lambda: checker.servers()["cache"]["workers"] == 4, "stats")

    stuck = workers(server)[2]
    freezer.freeze(stuck)
    shown = wait_degraded(checker, ["worker-stuck"])
    assert (shown["verdict"], shown["usable"]) == ("UP", True)
    assert (shown["workers"], shown["workers_stuck"]) == (4, 1)
    assert re.search("1 of 4 workers", checker.shmdump(
        checker.path()).stdout)
    assert "worker-stuck" in detail(checker)
    checker.wait_logged("server=cache pool=web degraded=worker-stuck was=none "
                        "workers=1/4")
    # By policy it is DOWN, and stays there, and is looked after.
    checker.wait_verdicts("DOWN", "strict")
    assert checker.servers("strict")["cache"]["reason"] == "worker-stuck"
    # Who does not scan, does not see.
    wait_probes(checker, 8, "plain")
    shown = checker.servers("plain")["cache"]
    assert shown["degraded_names"] == [] and shown["verdict"] != "DOWN"
    # Nor does who scans no more know that it is still so.
    strict = checker.pools["strict"]
    checker.pools["strict"] = {"server": server.line,
                               "thread_scan_interval": "0"}
    checker.reload()
    checker.wait_logged("pool=strict degraded=none was=worker-stuck")
    checker.wait_verdicts("UP", "strict")
    checker.pools["strict"] = strict
    checker.reload()
    checker.wait_verdicts("DOWN", "strict")

    freezer.thaw(stuck)
    wait_degraded(checker, [])
    checker.wait_logged("server=cache pool=web degraded=none "
                        "was=worker-stuck")
    checker.wait_verdicts("UP", "strict")
    assert not checker.logged("state=(DOWN|HELD).*pool=plain")


@pytest.mark.takes(8)
def test_a_stuck_main_thread(house):
    """No new client gets in, and nothing expires: the old ones are answered,
    with values that should be gone."""
    server = house.memcached(name="cache", options=["-t", "4"])
    freezer = Freezer(house)
    checker = house.checker({
        "web": {"server": server.line, "on_clock_stuck": "degraded"},
        "plain": {"server": server.line, **PLAIN, "fresh_every": 0},
        "strict": {"server": server.line, "on_listener_stuck": "down",
                   "on_clock_stuck": "degraded"},
        "shipped": {"server": server.line}}, defaults=FAST)
    for pool in ("web", "plain", "strict", "shipped"):
        checker.wait_verdicts("UP", pool)
    client = Client(server)
    assert client.ask("set k 0 1 5\r\nvalue") == "STORED"

    freezer.freeze(server.process.pid)
    frozen = time.monotonic()
    wait_degraded(checker, ["listener-stuck"])
    shown = wait_degraded(checker, ["listener-stuck", "clock-stuck"])
    assert shown["verdict"] == "UP"
    # Two seconds are over, and more.
    assert time.monotonic() - frozen > 3
    assert client.ask("get k") == "value"
    for word in ("listener-stuck", "clock-stuck"):
        assert word in detail(checker)
    for pool, reason in (("shipped", "clock-stuck"),
                         ("strict", "listener-stuck")):
        checker.wait_verdicts("DOWN", pool)
        shown = checker.servers(pool)["cache"]
        assert shown["reason"] == reason and not shown["usable"], pool
    shown = checker.servers("plain")["cache"]
    assert (shown["verdict"], shown["degraded_names"]) == ("UP", [])

    freezer.thaw(server.process.pid)
    wait_degraded(checker, [])
    for pool in ("shipped", "strict"):
        checker.wait_verdicts("UP", pool)
    wait_until(lambda: client.ask("get k") == "END", "k expires")
    client.close()


@pytest.mark.takes(4)
@pytest.mark.parametrize("way", ["maxconns_fast", "no_maxconns_fast"])
def test_too_many_connections(house, way):
    """Old clients are served, new ones are not: it is no reason to move
    keys."""
    server = house.memcached(name="cache",
                             options=["-c", "80", "-o", way])
    checker = house.checker({
        "web": {"server": server.line},
        "plain": {"server": server.line, **PLAIN, "fresh_every": 0},
        "strict": {"server": server.line, "on_maxconns": "down"}},
        defaults=FAST)
    for pool in ("web", "plain", "strict"):
        checker.wait_verdicts("UP", pool)
    wait_until(lambda: checker.servers()["cache"]["max_connections"] == 80,
               "stats")
    crowd = [Client(server) for _ in range(80)]
    shown = wait_degraded(checker, ["maxconns"])
    assert shown["verdict"] == "UP" and shown["connections"] > 20
    assert "maxconns" in detail(checker)
    checker.wait_logged("pool=web degraded=maxconns was=none "
                        r"(connections=\d+/|max_connections=)80")
    checker.wait_verdicts("DOWN", "strict")
    assert checker.servers("strict")["cache"]["reason"] == "maxconns"
    shown = checker.servers("plain")["cache"]
    assert (shown["verdict"], shown["degraded_names"]) == ("UP", [])

    for client in crowd:
        client.close()
    wait_degraded(checker, [])
    checker.wait_verdicts("UP", "strict")
    assert not checker.logged("degraded=listener-stuck")


LARGE = "x" * 60000


def fill(client):
    """Keys of what was stored, until one was not."""
    stored = []
    while client.ask(f"set k{len(stored)} 0 0 {len(LARGE)}\r\n{LARGE}") \
            == "STORED":
        stored.append(f"k{len(stored)}")
        assert len(stored) < 100
    assert stored
    return stored


def keep_failing(client, done):
    """Clients go on; what they store is not stored."""
    def tried():
        client.ask(f"set k 0 0 {len(LARGE)}\r\n{LARGE}")
        return done()
    wait_until(tried, "the end of it")


@pytest.mark.takes(2)
def test_no_memory_for_one_value(house):
    """That may be nobody's fault but the value's."""
    server = house.memcached(name="cache", options=["-M", "-m", "2"])
    checker = house.checker({"web": {"server": server.line,
                                     "on_no_memory": "down"}}, defaults=FAST)
    checker.wait_verdicts("UP")
    wait_until(lambda: checker.servers()["cache"]["workers"], "stats")
    client = Client(server)
    fill(client)
    wait_probes(checker, 8)
    assert checker.servers()["cache"]["degraded_names"] == []
    assert not checker.logged("state=(HELD|DOWN)|degraded=")
    keep_failing(client, lambda: checker.verdicts()["cache"] == "DOWN")
    assert checker.servers()["cache"]["reason"] == "no-memory"
    client.close()


@pytest.mark.takes(2)
def test_no_memory_left(house):
    """A small canary is stored all the same: the counter tells, or a canary
    of the size that is wanted."""
    server = house.memcached(name="cache", options=["-M", "-m", "2"])
    checker = house.checker({
        "web": {"server": server.line, "stats_interval": "200ms"},
        "large": {"server": server.line, "stats_interval": "0",
                  "probe": "set", "canary_size": 60000,
                  "on_no_memory": "down"},
        "small": {"server": server.line, **PLAIN, "probe": "set",
                  "canary_size": 10},
        "plain": {"server": server.line, **PLAIN}}, defaults=FAST)
    for pool in ("web", "large", "small", "plain"):
        checker.wait_verdicts("UP", pool)
    client = Client(server)
    stored = fill(client)
    keep_failing(client, lambda: checker.logged("pool=web degraded"))
    checker.wait_logged("server=cache pool=web degraded=no-memory was=none")
    checker.wait_verdicts("DOWN", "large")
    assert checker.servers("large")["cache"]["reason"] == "no-memory"
    for pool in ("small", "plain"):
        shown = checker.servers(pool)["cache"]
        assert (shown["verdict"], shown["degraded_names"]) == ("UP", [])

    for key in stored:
        assert client.ask(f"delete {key}") == "DELETED"
    wait_degraded(checker, [])
    checker.wait_verdicts("UP", "large")
    client.close()


@pytest.mark.takes(5)
def test_a_slow_server(house):
    """Against the threshold, and against what it is used to."""
    fake = house.fake(1, name="cache")
    terms = {"server": fake.line(0), "slow_threshold": "20ms"}
    checker = house.checker({
        "web": terms, "strict": terms | {"on_slow": "down"},
        "ignored": terms | {"on_slow": "ignore"},
        "fresh": terms | {"fresh_every": 1},
        "plain": {"server": fake.line(0), **PLAIN}}, defaults=FAST)
    pools = ("web", "strict", "ignored", "fresh", "plain")
    for pool in pools:
        checker.wait_verdicts("UP", pool)
        wait_until(lambda: checker.servers(pool)["cache0"]["probes"] > 6,
                   "history")
    fake.set(0, "slow 60")
    shown = wait_degraded(checker, ["slow"], name="cache0")
    assert shown["verdict"] == "UP" and shown["rtt_usual_us"] < 20000
    checker.wait_logged(r"pool=web degraded=slow was=none rtt=\d+us "
                        r"usual=\d+us")
    assert "usually" in detail(checker, name="cache0")
    # Where no connection is kept, against others that were not.
    wait_degraded(checker, ["slow"], "fresh", name="cache0")
    checker.wait_verdicts("DOWN", "strict")
    assert checker.servers("strict")["cache0"]["reason"] == "slow"
    for pool in ("ignored", "plain"):
        shown = checker.servers(pool)["cache0"]
        assert (shown["verdict"], shown["degraded_names"]) == ("UP", [])

    fake.set(0, "ok")
    wait_degraded(checker, [], name="cache0")
    checker.wait_verdicts("UP", "strict")


@contextlib.contextmanager
def out_of_breath(server):
    """It stands still for 60 ms, again and again, and works for 5 between."""
    over = threading.Event()

    def pulse():
        while not over.is_set():
            server.process.stop()
            over.wait(0.06)
            server.process.cont()
            over.wait(0.005)

    thread = threading.Thread(target=pulse)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.takes(5)
def test_a_real_server_that_is_slow(house):
    """It takes up to 60 ms for what it did in one, however little it is."""
    server = house.memcached(name="cache")
    terms = {"server": server.line, "slow_threshold": "10ms"}
    checker = house.checker({
        "web": terms, "strict": terms | {"on_slow": "down"}},
        defaults=FAST | {"thread_scan_interval": "0"})
    for pool in ("web", "strict"):
        wait_until(lambda: checker.servers(pool)["cache"]["probes"] > 6,
                   "history")
        wait_degraded(checker, [], pool)
    with out_of_breath(server):
        shown = wait_degraded(checker, ["slow"])
        assert shown["verdict"] == "UP" and shown["usable"]
        assert shown["rtt_usual_us"] < 10000
        checker.wait_logged(r"pool=web degraded=slow was=none rtt=\d+us "
                            r"usual=\d+us")
        checker.wait_verdicts("DOWN", "strict")
        assert checker.servers("strict")["cache"]["reason"] == "slow"
    wait_degraded(checker, [])
    checker.wait_verdicts("UP", "strict")


@pytest.mark.takes(2)
def test_who_is_let_in_is_asked_for_statistics(house):
    """At once, and not when it would have been their turn."""
    login = house.directory / "login"
    login.write_text("ann:secret\n")
    login.chmod(0o600)
    server = house.memcached(name="cache", options=["-Y", login])
    login.write_text("ann:guess\n")
    checker = house.checker({"web": {
        "server": server.line, "auth_file": login}},
        defaults=FAST | {"stats_interval": "10m"})
    wait_degraded(checker, ["unauthenticated"])
    checker.wait_logged("degraded=unauthenticated was=none login=refused")
    wait_probes(checker, 3)
    login.write_text("ann:secret\n")
    checker.reload()
    wait_degraded(checker, [])
    wait_until(lambda: checker.servers()["cache"]["workers"], "stats")


@pytest.mark.takes(3)
def test_a_crowded_server_is_not_scanned(house):
    """Its last connections are its clients'."""
    server = house.memcached(name="cache", options=["-c", "300", "-t", "4"])
    checker = house.checker({"web": {"server": server.line}},
                            defaults=FAST, options=["-v"])
    checker.wait_verdicts("UP")
    crowd = [Client(server) for _ in range(240)]
    checker.wait_logged("no thread scan.*server=cache")
    wait_probes(checker, 10)
    assert len(checker.logged("no thread scan")) == 1
    assert checker.servers()["cache"]["degraded_names"] == []
    for client in crowd:
        client.close()


@pytest.mark.takes(6)
def test_faults_outlive_the_daemon(house):
    """What was DOWN for a fault is not UP for a moment at each restart."""
    server = house.memcached(name="cache", options=["-t", "4"])
    freezer = Freezer(house)
    checker = house.checker({"web": {"server": server.line,
                                     "on_worker_stuck": "down"}},
                            defaults=FAST)
    checker.wait_verdicts("UP")
    wait_until(lambda: checker.servers()["cache"]["workers"] == 4, "stats")
    stuck = workers(server)[0]
    freezer.freeze(stuck)
    checker.wait_verdicts("DOWN")
    checker.stop()
    checker.start()
    probes = checker.servers()["cache"]["probes"]
    wait_until(lambda: checker.servers()["cache"]["probes"] > probes + 10,
               "ten probes")
    shown = checker.servers()["cache"]
    assert (shown["verdict"], shown["degraded_names"]) == \
        ("DOWN", ["worker-stuck"])
    assert not checker.logged("state=UP")
    freezer.thaw(stuck)
    checker.wait_verdicts("UP")
