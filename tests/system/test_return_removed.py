"""A server is taken out of the ini while it is DOWN, and put back later: what
others did with it meanwhile, on this host and on others, is what counts."""
import re

import pytest

from .harness import wait_until
from .test_return import (FLUSH, MARKS, SHORT, ask, flushes, settled, site,
                          stats)


def known(checker, *pools):
    """All are UP, and have said who they are."""
    for pool in pools:
        checker.wait_verdicts("UP", pool)
    wait_until(lambda: all(s["server_pid"] for p in pools
                           for s in checker.servers(p).values()), "identified")


def reload(checker, pools):
    checker.pools = pools
    checker.reload()


def bobs_row(server):
    """Until when bob has answers in a row, and since when, by its clock."""
    row = re.search(r"^bob (\d+) (\d+) ", ask(server, MARKS), re.M)
    return (int(row[1]), int(row[2])) if row else (0, 0)


@pytest.mark.takes(19)
def test_others_have_it_meanwhile(house):
    """Out of ann's ini.  Bob had lost it, too, and has flushed it, or it was
    restarted; he uses it, and it is not emptied for her."""
    servers, (ann, bob) = site(house, 3, "ann", "bob")
    old, new, other = servers
    anns, bobs = (h.checker(servers, FLUSH) for h in (ann, bob))
    for checker in (anns, bobs):
        known(checker, "web")
    gone = int(stats(old)["time"])
    bob.far.nft("add chain inet cut lost "
                "{ type filter hook input priority 0; }")
    bob.far.nft("add rule inet cut lost tcp dport", old.port,
                "reject with tcp reset")
    new.kill()
    for checker in (anns, bobs):
        checker.wait_verdicts({old.name: "DOWN", new.name: "DOWN"})
    lines = anns.pools["web"]
    reload(anns, {"web": lines[2:]})
    bob.far.nft("delete chain inet cut lost")
    wait_until(lambda: int(stats(other)["time"]) > gone + 1,
               "a process that starts now has another start")
    new.restart()
    settled(bobs, new, "restarted")
    settled(bobs, old, "same", "flushed")

    def is_used():
        """For most of the time, as far as whole seconds can tell."""
        until, since = bobs_row(old)
        return since > gone and 2 * (until - since) > until - gone + 2
    wait_until(is_used, "bob has it for longer than he had not", 25)
    for server in (old, new):
        ask(server, "set k 0 0 3\r\nbob\r\n")
    reload(anns, {"web": lines})
    for server, returned in ((old, "same"), (new, "restarted")):
        shown = settled(anns, server, returned, "our-fault")
        assert "stale-risk" in shown["degraded_names"]
        assert "bob" in ask(server, "get k\r\n")
    assert [flushes(s) for s in servers] == [1, 0, 0]


@pytest.mark.takes(5)
def test_it_was_put_back_and_is_well(house):
    """In two pools, and out of both while it was DOWN: how it was left is
    forgotten once it is back in one of them."""
    s, other = (house.memcached(name=n) for n in ("s", "other"))
    both, rest = [s.line, other.line], [other.line]
    checker = house.checker({"web": both, "pages": both},
                            defaults=FLUSH | {"flush_shared": "yes"})
    known(checker, "web", "pages")
    s.stop()
    for pool in ("web", "pages"):
        checker.wait_verdicts({"s": "DOWN"}, pool)
    reload(checker, {"web": rest, "pages": rest})
    s.cont()
    reload(checker, {"web": both, "pages": rest})
    checker.wait_verdicts({"s": "UP"}, "web", seconds=25)
    assert checker.servers("web")["s"]["returned"] == ["same", "flushed"]
    for pools in ({"web": both, "pages": both}, {"web": rest, "pages": both},
                  {"web": both, "pages": both}):
        reload(checker, pools)
        for pool in pools:
            assert checker.verdicts(pool).get("s", "UP") in ("UP", "UNKNOWN")
    known(checker, "web", "pages")
    for pool in ("web", "pages"):
        assert checker.servers(pool)["s"]["returned"] == []
    assert flushes(s) == 1


@pytest.mark.takes(1)
def test_another_pool_had_it_meanwhile(house):
    """Out of one pool while it was DOWN; well in the other one for long, and
    that one gets another name."""
    s, other = (house.memcached(name=n) for n in ("s", "other"))
    checker = house.checker({"web": [s.line, other.line],
                             "pages": [s.line, other.line]}, defaults=SHORT)
    known(checker, "web", "pages")
    s.kill()
    for pool in ("web", "pages"):
        checker.wait_verdicts({"s": "DOWN"}, pool)
    reload(checker, {"web": [other.line], "pages": [s.line, other.line]})
    s.restart()
    checker.wait_verdicts("UP", "pages", seconds=25)
    reload(checker, {"web": [other.line], "site": [s.line, other.line]})
    shown = checker.servers("site")["s"]
    assert shown["usable"] and shown["verdict"] != "DOWN"
    known(checker, "site")
    assert checker.servers("site")["s"]["returned"] == []


@pytest.mark.takes(3)
def test_many_are_put_back_at_once(house):
    """How they were left does not say that they are silent now."""
    servers = house.memcacheds(6)
    lines = [s.line for s in servers]
    checker = house.checker({"web": lines},
                            defaults=SHORT | {"max_down_percent": "50%"})
    known(checker, "web")
    for some in (servers[:2], servers[2:4]):    # never most of those there
        for server in some:
            server.stop()
        checker.wait_verdicts({s.name: "DOWN" for s in some})
        lines = lines[2:]
        reload(checker, {"web": lines})
    for server in servers[:4]:
        server.cont()
    reload(checker, {"web": [s.line for s in servers]})
    checker.wait_verdicts("UP", seconds=25)
    for server in servers[:4]:
        assert checker.servers()[server.name]["returned"] == ["same"]
    assert not checker.logged("(?i)fails open")
