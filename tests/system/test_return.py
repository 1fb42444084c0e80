"""A server that was cut off comes back with what it had.

Clients write all the time and know what they have stored; where they are given
less than that, it was an old value.  Real memcacheds, real partitions.
"""
import ctypes
import json
import re
import signal
import socket
import threading
import time

import pytest

from .harness import BUILD, wait_until
from .harness.checker import BEAT
from .harness.netns import Netns
from .harness.process import Process

# The whole way, in seconds.
SHORT = {"interval": "100ms", "fast_interval": "50ms",
         "down_interval": "100ms", "down_interval_max": "100ms",
         "timeout": "100ms", "connect_timeout": "200ms",
         "hold_after": "300ms", "rehash_after": "1s", "rise": 2,
         "min_down_time": "100ms", "stats_interval": "200ms",
         "thread_scan_interval": 0, "flap_hold": 0, "awareness": 0,
         "max_down_percent": 0}
FLUSH = SHORT | {"on_recovery": "flush-if-stale", "flush_percent": "100%"}


MARKS = "get " + " ".join(f"mc-checkerd:mark:{i}" for i in range(8)) + "\r\n"


class Writer:
    """tests/system/writer.c, at work."""

    def __init__(self, house, path, keys=40, rate=200, netns=None):
        self.process = Process(house, f"writer{next(house.numbers)}",
                               [BUILD / "tests/writer", path, keys, rate],
                               talks=True, netns=netns)
        self.process.read()

    def tell(self):
        """What happened since the last time it was asked."""
        self.process.write("tell")
        return json.loads(self.process.read())

    def wait_sets(self, n, seconds=10):
        """Nothing has to be wrong meanwhile; what happened since."""
        told = self.tell()

        def done():
            more = self.tell()
            for key, value in more.items():
                if key == "stale":
                    for name, count in value.items():
                        told["stale"][name] += count
                else:
                    told[key] += value
            return told["sets"] >= n
        wait_until(done, f"{n} sets", seconds)
        return told


def connect(server):
    """From where the server is, past whatever was cut."""
    socket_there = []

    def enter():
        if server.netns:
            with open(f"/run/netns/{server.netns.name}") as f:
                assert ctypes.CDLL(None).setns(f.fileno(), 0) == 0
        ip = "127.0.0.1" if server.ip == "0.0.0.0" else server.ip
        socket_there.append(
            socket.create_connection((ip, server.port), 5))

    thread = threading.Thread(target=enter)     # a thread's namespace ends
    thread.start()                              # with it
    thread.join()
    return socket_there[0]


def ask(server, request):
    """What the server answers to somebody beside us all."""
    ends = ("END\r\n", "OK\r\n", "STORED\r\n", "ERROR\r\n")
    with connect(server) as s:
        s.sendall(request.encode())
        answer = ""
        while not answer.endswith(ends):
            more = s.recv(1 << 16)
            assert more, answer
            answer += more.decode()
    return answer


def stats(server):
    lines = [line.split(None, 2) for line in
             ask(server, "stats\r\n").splitlines()]
    return {line[1]: line[2] for line in lines if len(line) == 3}


def flushes(server):
    return int(stats(server)["cmd_flush"])


class Host:
    """A network namespace with a name, and a wire to where the servers are."""

    numbers = iter(range(1, 200))

    def __init__(self, house, far, name):
        self.house, self.far, self.name = house, far, name
        self.netns = Netns(house)
        self.net = f"10.79.{next(self.numbers)}"
        # Short, and not the same in two tests at a time.
        end = f"r{self.netns.name[-8:]}"
        self.netns.ip("link", "add", "wire", "type", "veth", "peer", "name",
                      end, "netns", far.name)
        self.netns.ip("addr", "add", f"{self.net}.1/24", "dev", "wire")
        far.ip("addr", "add", f"{self.net}.2/24", "dev", end)
        self.netns.ip("link", "set", "wire", "up")
        far.ip("link", "set", end, "up")

    def line(self, server, more=""):
        return f"{server.name} {self.net}.2:{server.port} {more}".rstrip()

    def cut(self, server):
        """What this host sends to the server vanishes."""
        self.far.nft(f"add chain inet cut {self.netns.name} "
                     "{ type filter hook input priority 0; }")
        self.far.nft(f"add rule inet cut {self.netns.name} ip saddr "
                     f"{self.net}.1 tcp dport {server.port} drop")

    def mend(self):
        self.far.nft("delete", "chain", "inet", "cut", self.netns.name)

    def checker(self, servers, defaults):
        """mc-checkerd there, under this host's name."""
        return self.house.checker(
            {"web": [self.line(s) for s in servers]}, name=self.name,
            defaults=defaults, netns=self.netns,
            before=["unshare", "--uts", "sh", "-c",
                    f"hostname {self.name}; exec \"$@\"", "sh"])


def site(house, servers, *names):
    """Servers in a place of their own, and hosts."""
    far = house.netns()
    far.nft("add", "table", "inet", "cut")
    return house.memcacheds(servers, ip="0.0.0.0", netns=far), \
        [Host(house, far, name) for name in names]



def out_of_reach(checker, host, server, seconds):
    """A partition of one host and one server, and for how long it was DOWN's
    cause; it is over when this returns."""
    host.cut(server)
    began = time.monotonic()
    checker.wait_verdicts({server.name: "DOWN"})
    time.sleep(max(0, seconds - (time.monotonic() - began)))
    host.mend()


def settled(checker, server, *returned):
    """It is UP again, and came back like this."""
    checker.wait_verdicts({server.name: "UP"}, seconds=25)
    shown = checker.servers()[server.name]
    assert shown["returned"] == list(returned), shown
    return shown


# One host --------------------------------------------------------------------

@pytest.mark.takes(12)
@pytest.mark.parametrize("recovery", ["none", "flush-if-stale"])
def test_clients_write_through_a_partition(house, recovery):
    servers, (host,) = site(house, 3, "ann")
    lost = servers[0]
    checker = host.checker(servers, FLUSH | {"on_recovery": recovery})
    checker.wait_verdicts("UP")
    writer = Writer(house, checker.path(), netns=host.netns)
    before = writer.wait_sets(200)
    assert before["hits"] and not any(before["stale"].values())
    out_of_reach(checker, host, lost, 3.5)
    back = time.monotonic()
    if recovery == "none":
        shown = settled(checker, lost, "same")
    else:
        checker.wait_verdicts({lost.name: "RECOVERING"})
        assert "to be flushed" in checker.shmdump(
            "--server", lost.name, checker.path()).stdout
        shown = settled(checker, lost, "same", "flushed")
        # Not before what was sent in the outage can have come.
        assert time.monotonic() - back > 3
    # All keys, and a late set for one that has just been read.
    time.sleep(max(0, 4 - (time.monotonic() - back)))
    told = writer.wait_sets(100)
    assert told["given_up"] and told["nowhere"]
    stale = told["stale"].pop(lost.name)
    assert not any(told["stale"].values())
    if recovery == "none":
        assert stale > 0        # or this test would see nothing
        assert "stale-risk" in shown["degraded_names"]
        assert checker.dump_code() == 0
        assert checker.logged("old values are possible: server=cache0 "
                              "pool=web returned=same")
        assert flushes(lost) == 0
    else:
        assert stale == 0
        assert "stale-risk" not in shown["degraded_names"]
        assert checker.dump_code() == 0
        assert checker.logged("was flushed by us: server=cache0 pool=web "
                              "returned=same,flushed")
        assert not checker.logged("waits for another host")
        assert [flushes(s) for s in servers] == [1, 0, 0]


# Two hosts -------------------------------------------------------------------

@pytest.mark.takes(17)
def test_the_fault_was_ours(house):
    """Bob is cut off, ann is not: ann's clients keep what they have."""
    servers, (ann, bob) = site(house, 1, "ann", "bob")
    server = servers[0]
    anns, bobs = (h.checker(servers, FLUSH) for h in (ann, bob))
    for checker in (anns, bobs):
        checker.wait_verdicts("UP")
    # Ann's row of answers has to be older than what it is to prove.
    wait_until(lambda: "ann" in ask(server, MARKS), "ann's mark")
    time.sleep(3)
    writer = Writer(house, anns.path(), netns=ann.netns)
    out_of_reach(bobs, bob, server, 5)
    shown = settled(bobs, server, "same", "our-fault")
    assert "stale-risk" in shown["degraded_names"]
    assert bobs.logged("is not flushed, another host reached it meanwhile"
                       ".*: server=cache0 .*by=ann")
    assert flushes(server) == 0
    # Nothing to wait for, once that is known: it would have been 5 s and more.
    for line in bobs.logged("state=UP was=RECOVERING"):
        assert float(re.search(r"was_for=([\d.]+)s", line).group(1)) < 5
    told = writer.tell()
    assert told["hits"] and not told["given_up"]
    assert anns.verdicts() == {"cache0": "UP"}
    assert not anns.logged("state=(HELD|DOWN)")


@pytest.mark.takes(12)
def test_two_hosts_flush_once(house):
    """Both are cut off, and one comes back a while after the other."""
    servers, (ann, bob) = site(house, 1, "ann", "bob")
    server = servers[0]
    hosts = {ann: ann.checker(servers, FLUSH), bob: bob.checker(servers, FLUSH)}
    for checker in hosts.values():
        checker.wait_verdicts("UP")
    for host in hosts:
        host.cut(server)
    for checker in hosts.values():
        checker.wait_verdicts("DOWN")
    ann.mend()
    hosts[ann].wait_verdicts("RECOVERING")
    bob.mend()
    for checker in hosts.values():
        settled(checker, server, "same", "flushed")
    assert flushes(server) == 1
    said = [len(c.logged("was flushed by us")) for c in hosts.values()]
    assert sorted(said) == [0, 1]
    assert sum(len(c.logged("was flushed by another host.*by=(ann|bob)"))
               for c in hosts.values()) == 1


@pytest.mark.takes(10)
def test_it_was_restarted_and_used(house):
    """While bob is cut off it is restarted, and ann uses it: it is new, and not
    empty."""
    servers, (ann, bob) = site(house, 1, "ann", "bob")
    server = servers[0]
    anns, bobs = (h.checker(servers, FLUSH) for h in (ann, bob))
    for checker in (anns, bobs):
        checker.wait_verdicts("UP")
        identified(checker)
    bob.cut(server)
    bobs.wait_verdicts("DOWN")
    server.kill()
    anns.wait_verdicts("DOWN")
    server.restart()
    settled(anns, server, "restarted")
    # Till her mark says so, for two seconds by its clock.
    wait_until(lambda: [m for m in re.findall(
        r"ann (\d+) (\d+) \d+", ask(server, MARKS)) if
        abs(int(m[0]) - int(m[1])) > 2], "ann's row")
    bob.mend()
    shown = settled(bobs, server, "restarted", "our-fault")
    assert "stale-risk" in shown["degraded_names"]
    assert flushes(server) == 0


# What a server can be --------------------------------------------------------

def stopped(checker, servers, seconds=1.6):
    """They hang for a while, and are DOWN for it."""
    for server in servers:
        server.stop()
    checker.wait_verdicts({s.name: "DOWN" for s in servers})
    for server in servers:
        server.cont()


def identified(checker):
    wait_until(lambda: all(s["server_pid"] for s in
                           checker.servers().values()), "all identified")


@pytest.mark.takes(9)
def test_servers_that_hung(house):
    """One is flushed, drained or not; one by people, in time; one was
    restarted."""
    plain, drained, helped, restarted = servers = [
        house.memcached(name=n)
        for n in ("plain", "drained", "helped", "restarted")]
    lines = [s.line for s in servers]
    lines[1] += " state=drain"
    checker = house.checker({"web": lines}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    restarted.kill()
    stopped(checker, servers[:3])
    # Somebody has the lock of this one.
    ask(helped, "set mc-checkerd:lock 0 60 4\r\nthem\r\n")
    restarted.restart()
    shown = settled(checker, restarted, "restarted")
    assert "stale-risk" not in shown["degraded_names"]
    for server in (plain, drained):
        shown = settled(checker, server, "same", "flushed")
        assert "stale-risk" not in shown["degraded_names"]
        assert flushes(server) == 1
    # It is late enough now, and nothing but the lock is in the way.
    wait_until(lambda: checker.servers()["helped"]["returned"] ==
               ["same", "waits-lock"], "it is shown")
    assert checker.verdicts()["helped"] == "RECOVERING"
    ask(helped, "flush_all\r\n")
    settled(checker, helped, "same", "flushed")
    assert checker.logged("was flushed by somebody: server=helped")
    # There is none, and its own note makes it none.
    assert not checker.logged("waits for another host")
    assert flushes(helped) == 1
    assert flushes(restarted) == 0


@pytest.mark.takes(7)
def test_servers_that_are_not_flushed(house):
    """One does not let itself be; one stands in another pool, too."""
    refusing = house.memcached(name="refusing", options=["-F"])
    shared = house.memcached(name="shared")
    checker = house.checker({
        "web": [refusing.line, shared.line],
        "other": {"server": [shared.line], "on_recovery": "none"}},
        defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [refusing, shared])
    shown = settled(checker, refusing, "same", "refused")
    assert "stale-risk" in shown["degraded_names"]
    assert checker.logged("can not be flushed .*: old values are possible: "
                          "server=refusing")
    assert flushes(refusing) == 1       # counted, and refused
    shown = settled(checker, shared, "same", "shared")
    assert "stale-risk" in shown["degraded_names"]
    assert checker.logged("another pool has it too .*server=shared .*by=other")
    assert flushes(shared) == 0
    # Flushed by people, it has no old values any more.
    ask(shared, "flush_all\r\n")
    wait_until(lambda: "stale-risk" not in
               checker.servers()["shared"]["degraded_names"], "no risk")
    assert checker.logged("has no old values any more: server=shared")
    # Nor does what the other one has counted end its risk.
    assert "stale-risk" in checker.servers()["refusing"]["degraded_names"]


@pytest.mark.takes(9)
def test_it_goes_on_from_its_memory(house):
    """memcached -e: another process, and the items of the last one."""
    memory = house.directory / "memory"
    server = house.memcached(name="warm", options=["-m", "64", "-e", memory])
    checker = house.checker({"web": [server.line]}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    ask(server, "set k 0 0 3\r\nold\r\n")
    before = stats(server)
    server.process.signal(signal.SIGUSR1)
    server.process.wait()
    checker.wait_verdicts("DOWN")
    # It takes its memory for another's if it ended in this very second.
    meta = memory.with_suffix(".meta").read_text()
    ended = int(re.search(r"stop_time (\d+)", meta).group(1))
    wait_until(lambda: time.time() > ended + 1, "a second later")
    server.restart()
    assert "old" in ask(server, "get k\r\n")
    assert stats(server)["pid"] != before["pid"]
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1
    assert "old" not in ask(server, "get k\r\n")


@pytest.mark.takes(9)
def test_so_many_a_minute(house):
    """Three of four come back: one is flushed, the others wait until the ini
    allows more, whether any other is usable or not."""
    servers = house.memcacheds(4)
    checker = house.checker({"web": [s.line for s in servers]},
                            defaults=FLUSH | {"flush_percent": "25%"})
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, servers[:3])
    waits = "flush waits, as many servers of the pool as flush_percent allows"
    wait_until(lambda: len(checker.logged(waits)) == 2, "two wait")
    said = " ".join(checker.logged(waits))
    done, = (s for s in servers[:3] if f"server={s.name} " not in said)
    settled(checker, done, "same", "flushed")
    assert list(checker.verdicts().values()).count("RECOVERING") == 2
    wait_until(lambda: sum(s["returned"] == ["same", "waits-rate"] for s in
                           checker.servers().values()) == 2, "it is shown")
    assert "waits, as many of the pool as flush_percent allows" in \
        checker.shmdump(checker.path()).stdout.replace("\n      ", " ")
    # Another daemon knows of it, too.
    checker.stop()
    checker.start()
    wait_until(lambda: sum(s["returned"] == ["same", "waits-rate"] for s in
                           checker.servers().values()) == 2, "it is shown")
    assert sum(flushes(s) for s in servers) == 1
    checker.defaults["flush_percent"] = "50%"
    checker.reload()
    wait_until(lambda: list(checker.verdicts().values()).count("UP") == 3,
               "another one is UP")
    last, = (s for s in servers if checker.verdicts()[s.name] == "RECOVERING")
    assert flushes(last) == 0
    for server in servers:
        if server is not last:
            server.kill()
    checker.wait_verdicts({s.name: "DOWN" for s in servers if s is not last})
    assert checker.verdicts()[last.name] == "RECOVERING"
    assert flushes(last) == 0
    checker.defaults["flush_percent"] = "75%"
    checker.reload()
    settled(checker, last, "same", "flushed")


@pytest.mark.takes(9)
def test_so_many_a_minute_by_all_hosts(house):
    """Four hosts, whose waits end together, do not go for one server each."""
    servers = house.memcacheds(6)
    hosts = [house.checker(
        {"web": [s.line for s in servers]}, name=name, defaults=FLUSH |
        {"flush_percent": "16%"}, before=["unshare", "--uts", "sh", "-c",
        f"hostname {name}; exec \"$@\"", "sh"])
        for name in ("ann", "bob", "cat", "dan")]
    for checker in hosts:
        checker.wait_verdicts("UP")
        identified(checker)
    for server in servers:
        server.stop()
    for checker in hosts:
        checker.wait_verdicts("DOWN")
    for server in servers:
        server.cont()

    def waiting(checker):
        all = checker.servers().values()
        return sum(s["verdict"] == "UP" for s in all) == 1 and \
            sum("waits-rate" in s["returned"] for s in all) == 5

    for checker in hosts:
        wait_until(lambda: waiting(checker), "one is UP, all others wait", 20)
    assert sorted(flushes(s) for s in servers) == [0, 0, 0, 0, 0, 1]


@pytest.mark.takes(12)
def test_not_while_we_doubt_ourselves(house):
    """The daemon itself stood still: it is in TILT, and nothing is flushed
    before that is over."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]}, checker={
        "tilt_after": "500ms", "tilt_for": "6s", **BEAT}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    checker.wait_verdicts("RECOVERING")
    checker.process.stop()
    time.sleep(0.8)             # what is tested
    checker.process.cont()
    checker.wait_logged("flush waits, this host is in TILT")
    assert flushes(server) == 0
    tilt = checker.pool()["tilt"]
    settled(checker, server, "same", "flushed")
    assert tilt and not checker.pool()["tilt"]
    assert flushes(server) == 1


@pytest.mark.takes(8)
def test_another_daemon_goes_on(house):
    """Who the server was before the outage is in the file."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    server.stop()
    checker.wait_verdicts("DOWN")
    checker.kill()
    checker.start()
    assert checker.verdicts() == {"cache0": "DOWN"}
    server.cont()
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1


@pytest.mark.takes(4)
def test_it_was_never_used_here(house):
    """A new host, or one that has lost its file, meets a server that hangs: it
    knows nothing of it, and does not empty what others use."""
    server, = house.memcacheds(1)
    ask(server, "set k 0 0 3\r\nold\r\n")
    wait_until(lambda: int(stats(server)["uptime"]) > 3, "it is older")
    server.stop()
    checker = house.checker({"web": [server.line]}, defaults=FLUSH | {
        "interval": "1s", "stats_interval": "10s"})
    checker.wait_verdicts("DOWN")
    server.cont()
    shown = settled(checker, server, "unknown")
    assert "stale-risk" in shown["degraded_names"]
    assert checker.logged("is not flushed, it was never UP on this host: old "
                          "values are possible: server=cache0")
    assert flushes(server) == 0
    assert "old" in ask(server, "get k\r\n")
    # From now on it is, by the answer that made it UP: none came after it.
    stopped(checker, [server])
    wait_until(lambda: flushes(server) == 1, "it is flushed", 25)
    assert "old" not in ask(server, "get k\r\n")


@pytest.mark.takes(5)
@pytest.mark.parametrize("probe", ["version", "tcp"])
def test_it_is_shown_at_least(house, probe):
    """By default nothing is done; and who only connects knows nothing."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]},
                            defaults=SHORT | {"probe": probe})
    checker.wait_verdicts("UP")
    if probe == "version":
        identified(checker)
        # Where no key moved, nothing is old.
        server.stop()
        checker.wait_verdicts("HELD")
        server.cont()
        assert settled(checker, server)["degraded_names"] == []
        stopped(checker, [server])
        shown = settled(checker, server, "same")
    else:
        server.kill()
        checker.wait_verdicts("DOWN")
        server.restart()
        shown = settled(checker, server, "unknown")
        assert shown["server_pid"] is None
    assert "stale-risk" in shown["degraded_names"]
    assert stats(server)["cmd_set"] == stats(server)["cmd_flush"] == "0"
    if probe == "version":
        ask(server, "flush_all\r\n")
        wait_until(lambda: not checker.servers()["cache0"]["degraded_names"],
                   "no risk")


@pytest.mark.takes(8)
def test_a_refusal_that_stays(house):
    server = house.memcached(name="stubborn", options=["-F"])
    checker = house.checker({"web": [server.line]},
                            defaults=FLUSH | {"flush_refused": "stay"})
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    checker.wait_logged("can not be flushed .*, and stays RECOVERING")
    wait_until(lambda: checker.servers()["stubborn"]["returned"] ==
               ["same", "refused"], "it is shown")
    # It counted the flush that it refused, and that is no flush.
    assert flushes(server) == 1
    time.sleep(1)               # ten looks
    shown = checker.servers()["stubborn"]
    assert shown["verdict"] == "RECOVERING" and not shown["usable"]
    assert not checker.logged("was flushed")
    server.restart()
    settled(checker, server, "restarted")


@pytest.mark.takes(10)
@pytest.mark.parametrize("ttl", [0, 1])
def test_the_same_fault_again(house, ttl):
    """Keys of a server that is away are elsewhere for a while.  What they were
    there is old when it goes away again; unless it has expired by then."""
    servers = house.memcacheds(2)
    lost = servers[0]
    checker = house.checker({"web": [s.line for s in servers]}, defaults=FLUSH
                            | {"failover_ttl": f"{ttl}s"})
    checker.wait_verdicts("UP")
    writer = Writer(house, checker.path())
    writer.wait_sets(100)
    stopped(checker, [lost])
    settled(checker, lost, "same", "flushed")
    # Repaired; values are stored anew, at home, for longer than the TTL.
    assert not any(writer.tell()["stale"].values())
    time.sleep(ttl + 1)
    told = writer.wait_sets(100)
    assert not any(told["stale"].values())
    lost.stop()
    checker.wait_verdicts({lost.name: "DOWN"})
    # How it came back last time is no matter any more.
    wait_until(lambda: not checker.servers()[lost.name]["returned"],
               "nothing is known of its return")
    told = writer.wait_sets(100)
    if ttl == 0:
        assert told["stale"][servers[1].name] > 0
    else:
        assert not any(told["stale"].values())
    lost.cont()
