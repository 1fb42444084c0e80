"""A server comes back, and meanwhile something else has changed: the daemon was
restarted, its setup is another one, or its name leads elsewhere."""
import re
import time

import pytest

from .harness import BUILD, Dns, wait_until
from .harness.servers import Memcached
from .test_return import (FLUSH, MARKS, Writer, ask, flushes, identified,
                          settled, site, stopped)

KEPT = "came back with what it had, is flushed before it is UP"


def wait_of(line):
    """So long it has to wait, as it says."""
    return float(re.search(r"wait=([\d.]+)s", line).group(1))


def again(host, checker):
    """Another daemon there, as Host.checker() began the first one."""
    checker.start(netns=host.netns, before=[
        "unshare", "--uts", "sh", "-c",
        f"hostname {host.name}; exec \"$@\"", "sh"])


# The daemon is another one ---------------------------------------------------

@pytest.mark.takes(11)
def test_the_outage_began_while_we_were_away(house):
    """No daemon saw its beginning; old sets arrive as late all the same."""
    servers, (host,) = site(house, 2, "ann")
    lost = servers[0]
    checker = host.checker(servers, FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    writer = Writer(house, checker.path(), netns=host.netns)
    writer.wait_sets(100)
    assert checker.stop() == 0
    host.cut(lost)
    began = time.monotonic()
    # Clients go on, by what the file says, and wait for themselves.
    wait_until(lambda: writer.tell()["given_up"], "sets that are given up")
    time.sleep(max(0, 2.5 - (time.monotonic() - began)))
    again(host, checker)
    checker.wait_verdicts({lost.name: "DOWN"})
    assert checker.logged(f"server={lost.name} .*state=HELD was=UP")
    outage = time.monotonic() - began
    host.mend()
    checker.wait_logged(KEPT)
    line, = checker.logged(KEPT)
    assert wait_of(line) >= outage
    settled(checker, lost, "same", "flushed")
    assert not writer.tell()["stale"][lost.name]
    assert flushes(lost) == 1


@pytest.mark.takes(10)
def test_the_next_daemon_knows_when_it_began(house):
    """No daemon saw its beginning, and the one that saw its end is restarted
    when the server has answered: that has not become its last answer."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    began = time.monotonic()
    assert checker.stop() == 0
    server.stop()
    time.sleep(2)               # of its outage nobody sees
    checker.start()
    checker.wait_verdicts("DOWN")
    outage = time.monotonic() - began
    server.cont()
    checker.wait_verdicts("RECOVERING")
    back = time.monotonic()
    probes = checker.servers()[server.name]["probes"]
    wait_until(lambda: checker.servers()[server.name]["probes"] > probes + 2,
               "it has answered again")
    line, = checker.logged(KEPT)
    assert wait_of(line) >= outage - 0.1
    checker.kill()
    checker.start()
    checker.wait_logged(KEPT)
    line, = checker.logged(KEPT)
    assert wait_of(line) >= outage - 0.1 - (time.monotonic() - back)
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1


@pytest.mark.takes(14)
def test_another_daemon_goes_on_with_the_wait(house):
    """What was flushed at the end of it, while no daemon was there, was flushed
    for this host, too; and others use it by now."""
    servers, (ann, bob) = site(house, 1, "ann", "bob")
    server, = servers
    anns = ann.checker(servers, FLUSH)
    # A daemon that is away for ten intervals knows nothing any more.
    bobs = bob.checker(servers, FLUSH | {
        "interval": "2s", "timeout": "100ms", "down_interval": "100ms"})
    for checker in (anns, bobs):
        checker.wait_verdicts("UP")
        identified(checker)
    server.stop()
    for checker in (anns, bobs):
        checker.wait_verdicts({server.name: "DOWN"})
    server.cont()
    for checker in (anns, bobs):
        checker.wait_verdicts({server.name: "RECOVERING"})
    since = bobs.servers()[server.name]["since_ms"]
    # His note is there: ann's flush is for both.
    wait_until(lambda: "bob" in ask(server, "get " + " ".join(
        f"mc-checkerd:note:{i}" for i in range(8)) + "\r\n"), "bob's note")
    bobs.kill()
    settled(anns, server, "same", "flushed")
    assert anns.logged("was flushed by us")
    ask(server, "set fresh 0 0 3\r\nnew\r\n")
    again(bob, bobs)
    shown = bobs.servers()[server.name]
    assert shown["verdict"] in ("RECOVERING", "UP")
    assert shown["verdict"] == "UP" or shown["since_ms"] > since
    settled(bobs, server, "same", "flushed")
    assert bobs.logged("was flushed by another host.*by=ann")
    assert flushes(server) == 1
    assert "new" in ask(server, "get fresh\r\n")


# The setup is another one ----------------------------------------------------

@pytest.mark.takes(5)
@pytest.mark.parametrize("shared", ["no", "yes"])
def test_another_pool_gets_it_meanwhile(house, shared):
    """While it is RECOVERING a reload adds a pool, whose clients use it."""
    server = house.memcached(name="both")
    checker = house.checker({"web": {"server": [server.line],
                                     "flush_shared": shared}}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    checker.wait_verdicts("RECOVERING")
    checker.pools["other"] = {"server": [server.line], "on_recovery": "none"}
    checker.reload()
    wait_until(lambda: checker.servers("other")["both"]["verdict"] == "UP",
               "it is in use there")
    ask(server, "set k 0 0 3\r\nnew\r\n")
    if shared == "yes":
        settled(checker, server, "same", "flushed")
        assert flushes(server) == 1
        assert "new" not in ask(server, "get k\r\n")
        return
    shown = settled(checker, server, "same", "shared")
    assert "stale-risk" in shown["degraded_names"]
    assert checker.logged("another pool has it too .*server=both .*by=other")
    assert flushes(server) == 0
    assert "new" in ask(server, "get k\r\n")


@pytest.mark.takes(6)
def test_its_pool_has_it_twice(house):
    """Under another name it is in use, for a reload has put it there: what
    clients have stored in it by that name is not taken from them."""
    server = house.memcached(name="one")
    checker = house.checker({"web": [server.line]}, defaults=FLUSH | {
        "scheme": "libmemcached-ketama-weighted"})
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    checker.wait_verdicts("RECOVERING")
    back = time.monotonic()
    checker.pools["web"].append(f"two {server.address}")
    checker.reload()
    checker.wait_verdicts({"two": "UP"})
    shown = settled(checker, server, "same", "shared")
    assert "stale-risk" in shown["degraded_names"]
    assert checker.logged("another server of the pool has its address "
                          ".*server=one")
    assert flushes(server) == 0
    # It goes at once, and what was before its return is another outage.
    server.stop()
    checker.wait_verdicts("DOWN")       # by both names: in use by none
    server.cont()
    wait_until(lambda: len(checker.logged(KEPT + ".*server=one")) == 2,
               "it comes back again")
    assert wait_of(checker.logged(KEPT + ".*server=one")[1]) <= \
        time.monotonic() - back + 0.7


@pytest.mark.takes(11)
def test_another_pool_had_it_once(house):
    """For that it was not flushed.  The next time it goes it is restarted, and
    another host uses it: it is not taken for empty."""
    servers, (ann, bob) = site(house, 1, "ann", "bob")
    server, = servers
    anns, bobs = (h.checker(servers, FLUSH) for h in (ann, bob))
    bobs.pools["other"] = {"server": [bob.line(server)],
                           "on_recovery": "none"}
    bobs.reload()
    for checker in (anns, bobs):
        checker.wait_verdicts("UP")
        identified(checker)
    stopped(bobs, servers)
    settled(bobs, server, "same", "shared")
    assert bobs.logged("another pool has it too")
    anns.wait_verdicts("UP")
    del bobs.pools["other"]
    bobs.reload()
    bob.cut(server)
    bobs.wait_verdicts("DOWN")
    server.kill()
    anns.wait_verdicts("DOWN")
    server.restart()
    settled(anns, server, "restarted")
    wait_until(lambda: [m for m in re.findall(
        r"ann (\d+) (\d+) \d+", ask(server, MARKS)) if
        abs(int(m[0]) - int(m[1])) > 2], "ann's row")
    bob.mend()
    shown = settled(bobs, server, "restarted", "our-fault")
    assert "stale-risk" in shown["degraded_names"]


# The name leads elsewhere, and back ------------------------------------------

PORT = 11211
OLD, NEW = "127.0.1.1", "127.0.1.2"


class Here(Memcached):
    """One of two with a name in common."""

    def __init__(self, house, netns, ip):
        self.house, self.netns, self.ip = house, netns, ip
        self.name, self.unix, self.options, self.port = "s0", None, [], PORT
        assert self.launch()


def in_use(checker, ip):
    return checker.servers()["s0"]["resolved"][:1] == [f"{ip}:{PORT}"]


@pytest.mark.takes(13)
@pytest.mark.parametrize("recovery", ["none", "flush-if-stale"])
def test_a_name_leads_away_and_back(house, recovery):
    """To another server while one is away, and back to that: it still has what
    it had, and that is old."""
    if "libcares" not in house.run("ldd", BUILD / "mc-checkerd").stdout:
        pytest.skip("built without c-ares")
    netns = house.netns()
    dns = Dns(house, netns)
    away, other = (Here(house, netns, ip) for ip in (OLD, NEW))
    dns.set("s0.test", OLD, ttl=1)
    checker = house.checker(
        {"web": [f"s0 s0.test:{PORT}"]}, netns=netns, before=dns.before,
        defaults=FLUSH | {"on_recovery": recovery})
    checker.wait_verdicts("UP")
    identified(checker)
    ask(away, "set k 0 0 3\r\nold\r\n")
    dns.set("s0.test", NEW, ttl=1)
    away.stop()
    wait_until(lambda: in_use(checker, NEW), "it is followed", 20)
    checker.wait_verdicts("UP")
    identified(checker)
    ask(other, "set k 0 0 3\r\nnew\r\n")
    assert checker.servers()["s0"]["returned"] == []
    away.cont()
    dns.set("s0.test", OLD, ttl=1)
    if recovery == "none":
        # As seen from there it is well all the time.
        wait_until(lambda: in_use(checker, OLD), "it is followed back", 20)
        wait_until(lambda: checker.servers()["s0"]["returned"] == ["same"],
                   "it is known again")
        shown = checker.servers()["s0"]
        assert shown["verdict"] == "UP"
        assert "stale-risk" in shown["degraded_names"]
        assert flushes(away) == 0
        return
    other.kill()
    wait_until(lambda: in_use(checker, OLD), "it is followed back", 20)
    settled(checker, away, "same", "flushed")
    assert "old" not in ask(away, "get k\r\n")
    assert flushes(away) == 1
