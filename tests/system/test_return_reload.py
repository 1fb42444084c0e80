"""A server comes back, and a reload finds it on the way: under another rule, in
another pool, or put back into the ini."""
import re
import time

import pytest

from .harness import wait_until
from .test_return import (FLUSH, MARKS, SHORT, ask, flushes, identified,
                          settled, stats, stopped)


def settled_in(checker, pool, name):
    checker.wait_verdicts({name: "UP"}, pool, seconds=25)
    return checker.servers(pool)[name]["returned"]


@pytest.mark.takes(5)
def test_a_refusal_that_stays_no_longer(house):
    server = house.memcached(name="stubborn", options=["-F"])
    checker = house.checker({"web": [server.line]},
                            defaults=FLUSH | {"flush_refused": "stay"})
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    checker.wait_logged("can not be flushed .*, and stays RECOVERING")
    checker.defaults["flush_refused"] = "up"
    checker.reload()
    shown = settled(checker, server, "same", "refused")
    assert "stale-risk" in shown["degraded_names"]
    assert checker.logged("can not be flushed .*: old values are possible")


@pytest.mark.takes(5)
def test_it_is_to_be_flushed_from_now_on(house):
    """It has answered, and nothing was to be done about it, but for
    min_down_time it is DOWN."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]},
                            defaults=SHORT | {"min_down_time": "1h"})
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    checker.wait_logged("old values are possible")
    assert checker.verdicts() == {"cache0": "DOWN"}
    checker.defaults |= FLUSH
    checker.reload()
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1


@pytest.mark.takes(7)
def test_it_is_cleared_and_the_rule_comes_back(house):
    """Somebody flushed it in time, and for min_down_time it is not UP all
    the same: it is not flushed once more because the rule was another one."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]},
                            defaults=FLUSH | {"min_down_time": "1h"})
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])

    def late():
        """By its clock our note has ended."""
        notes = re.findall(r"^\S+ (\d+) 0 ", ask(
            server, MARKS.replace(":mark:", ":note:")), re.M)
        return notes and int(stats(server)["time"]) > max(map(int, notes))
    wait_until(late, "old sets can not come any more", 15)
    ask(server, "flush_all\r\n")
    wait_until(lambda: checker.servers()["cache0"]["returned"] ==
               ["same", "flushed"], "that is seen")
    assert checker.verdicts() == {"cache0": "RECOVERING"}
    wait_until(lambda: "VALUE" in ask(server, "get mc-checkerd:flushed\r\n"),
               "it is signed")
    # As it is when that has expired.
    ask(server, "delete mc-checkerd:flushed\r\nget k\r\n")
    checker.defaults["on_recovery"] = "none"
    checker.reload()
    checker.defaults |= FLUSH
    checker.reload()
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1


@pytest.mark.takes(7)
def test_it_is_taken_out_and_put_back(house):
    """While it is DOWN; and one is RECOVERING while its pool gets another name.
    What they had they still have."""
    dead, other, moved = (house.memcached(name=n)
                          for n in ("dead", "other", "moved"))
    checker = house.checker({"web": [dead.line, other.line],
                             "pages": [moved.line]}, defaults=FLUSH)
    for pool in ("web", "pages"):
        checker.wait_verdicts("UP", pool)
    wait_until(lambda: all(s["server_pid"] for p in ("web", "pages")
                           for s in checker.servers(p).values()), "identified")
    dead.stop()
    moved.stop()
    checker.wait_verdicts({"dead": "DOWN"}, "web")
    checker.wait_verdicts("DOWN", "pages")
    checker.pools["web"] = [other.line]
    checker.reload()
    assert list(checker.servers("web")) == ["other"]
    dead.cont()
    moved.cont()
    checker.wait_verdicts("RECOVERING", "pages")
    del checker.pools["pages"]
    checker.pools["site"] = [moved.line]
    checker.pools["web"] = [dead.line, other.line]
    checker.reload()
    assert checker.servers("site")["moved"]["verdict"] == "RECOVERING"
    assert checker.servers("web")["dead"]["verdict"] in ("DOWN", "RECOVERING")
    assert settled_in(checker, "web", "dead") == ["same", "flushed"]
    assert settled_in(checker, "site", "moved") == ["same", "flushed"]
    assert [flushes(s) for s in (dead, other, moved)] == [1, 0, 1]
    # Who was well is as new.
    checker.pools["web"] = [dead.line]
    checker.reload()
    checker.pools["web"] = [dead.line, other.line]
    checker.reload()
    checker.wait_verdicts("UP", "web")
    assert checker.servers("web")["other"]["returned"] == []


@pytest.mark.takes(11)
def test_intervals_that_are_longer_than_a_lock(house):
    """Who has the lock does not wait for them."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]}, defaults=FLUSH)
    checker.wait_verdicts("UP")
    identified(checker)
    stopped(checker, [server])
    ask(server, "set mc-checkerd:lock 0 0 4\r\nthem\r\n")
    wait_until(lambda: checker.servers()["cache0"]["returned"] ==
               ["same", "waits-lock"], "nothing else is missing", 15)
    checker.defaults |= {"interval": "5500ms", "jitter": 0,
                         "fast_interval": "5500ms"}
    checker.reload()
    ask(server, "delete mc-checkerd:lock\r\nget k\r\n")
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1
    assert len(checker.logged("was flushed by us")) == 1


# People ----------------------------------------------------------------------

@pytest.mark.takes(5)
def test_people_have_taken_it_out(house):
    """By a key in it: a flush would put it back."""
    server, = house.memcacheds(1)
    checker = house.checker({"web": [server.line]}, defaults=FLUSH |
                            {"maintenance_key": "service"})
    checker.wait_verdicts("UP")
    identified(checker)
    ask(server, "set service 0 0 5\r\ndrain\r\n")
    wait_until(lambda: checker.servers()["cache0"]["admin"] == "DRAIN",
               "it is drained")
    stopped(checker, [server])
    wait_until(lambda: checker.servers()["cache0"]["returned"] ==
               ["same", "waits-key"], "it waits for them", 15)
    assert "it would erase the maintenance key" in checker.shmdump(
        "--server", "cache0", checker.path()).stdout
    assert checker.logged("flush waits, it would erase the maintenance key")
    assert flushes(server) == 0
    assert checker.servers()["cache0"]["admin"] == "DRAIN"
    ask(server, "delete service\r\nget service\r\n")
    settled(checker, server, "same", "flushed")
    assert flushes(server) == 1
    assert checker.servers()["cache0"]["admin"] == "READY"


# What a server can be --------------------------------------------------------

@pytest.mark.takes(6)
def test_logins_and_unix_sockets(house):
    login = house.directory / "login"
    login.write_text("ann:secret\n")
    login.chmod(0o600)
    closed = house.memcached(name="closed", options=["-Y", login])
    near = house.memcached(name="near", unix=str(house.directory / "near"))
    checker = house.checker({
        "closed": {"server": [closed.line], "auth_file": login},
        "near": [near.line]}, defaults=FLUSH)
    for pool, server in (("closed", closed), ("near", near)):
        checker.wait_verdicts("UP", pool)
        wait_until(lambda: checker.servers(pool)[pool]["server_pid"],
                   "identified")
        server.stop()
    for pool, server in (("closed", closed), ("near", near)):
        checker.wait_verdicts("DOWN", pool)
        server.cont()
    for pool in ("closed", "near"):
        assert settled_in(checker, pool, pool) == ["same", "flushed"]
        assert checker.logged(f"was flushed by us: server={pool} ")


# The pool fails open ---------------------------------------------------------

@pytest.mark.takes(10)
def test_it_was_down_before_all_were(house):
    """Its keys were elsewhere before the pool failed open; that others are
    silent, too, makes it no better.  They have been used all the time."""
    servers = house.memcacheds(8)
    first, last = servers[0], servers[6]
    checker = house.checker({"web": [s.line for s in servers]}, defaults=FLUSH |
                            {"max_down_percent": "50%", "fail_open_max": "4s"})
    checker.wait_verdicts("UP")
    identified(checker)
    first.stop()
    checker.wait_verdicts({first.name: "DOWN"})
    time.sleep(0.6)             # longer than what makes it HELD
    for server in servers[1:7]:
        server.stop()
    wait_until(lambda: checker.pool()["fail_open"], "it fails open", 15)
    checker.wait_verdicts({s.name: "DOWN" for s in servers[:7]})
    first.cont()
    last.cont()
    checker.wait_verdicts({first.name: "RECOVERING"})
    assert not checker.servers()[first.name]["usable"]
    shown = settled(checker, last, "same")
    assert "stale-risk" in shown["degraded_names"]
    assert not checker.logged("clients used it all the time: .*server=cache0")
    # It does not for ever.
    settled(checker, first, "same", "flushed")
    assert [flushes(s) for s in (first, last)] == [1, 0]
    for server in servers[1:6]:
        server.cont()
