"""A server comes back to one host, and another one has had it all the time, or
has it before."""
import time

import pytest

from .harness import wait_until
from .test_return import FLUSH, MARKS, ask, flushes, identified, settled, site


@pytest.mark.takes(19)
def test_one_of_two_is_cut_off(house):
    """At the default times, and hardly for longer than it takes to be DOWN: what
    the other one uses is not flushed."""
    after = (0, 1)              # s more than it takes to be DOWN
    servers, hosts = site(house, 1 + len(after), "ann", "bob")
    ann, bob = hosts
    anns, bobs = (house.checker(
        {"web": [h.line(s) for s in servers]}, name=h.name, shipped=True,
        defaults={"on_recovery": "flush-if-stale", "flush_percent": "100%"},
        netns=h.netns, before=["unshare", "--uts", "sh", "-c",
                               f"hostname {h.name}; exec \"$@\"", "sh"])
        for h in hosts)
    for checker in (anns, bobs):
        checker.wait_verdicts("UP")
        identified(checker)
    # His row is older than her outage for certain.
    wait_until(lambda: all("bob" in ask(s, MARKS) for s in servers), "marks")
    far = ann.far
    lost = dict(zip(servers, after))
    for server in lost:
        far.nft(f"add chain inet cut {server.name} "
                "{ type filter hook input priority 0; }")
        far.nft(f"add rule inet cut {server.name} ip saddr {ann.net}.1 "
                f"tcp dport {server.port} drop")
    for server, seconds in lost.items():
        anns.wait_logged(f"server={server.name} .*state=DOWN")
        time.sleep(seconds)
        far.nft("delete", "chain", "inet", "cut", server.name)
    for server in lost:
        settled(anns, server, "same", "our-fault")
    assert not bobs.logged("state=(HELD|DOWN)")
    assert [flushes(s) for s in servers] == [0] * len(servers)


@pytest.mark.takes(18)
def test_it_is_held_back_and_others_use_it(house):
    """It was restarted, and is empty.  Bob uses it, ann's clients store
    elsewhere, for it has failed too often on her side."""
    servers, (ann, bob) = site(house, 1, "ann", "bob")
    server, = servers
    anns, bobs = (h.checker(servers, FLUSH | {"flap_hold": hold})
                  for h, hold in ((ann, "30s"), (bob, "0s")))
    for checker in (anns, bobs):
        checker.wait_verdicts("UP")
        identified(checker)
    wait_until(lambda: "bob" in ask(server, MARKS), "bob's mark")
    for _ in range(2):          # outages of hers alone
        ann.cut(server)
        anns.wait_verdicts("DOWN")
        ann.mend()
        anns.wait_verdicts("UP", seconds=25)
    known = flushes(server)
    server.kill()
    for checker in (anns, bobs):
        checker.wait_verdicts("DOWN")
    server.restart()
    settled(bobs, server, "restarted")
    anns.wait_logged("was restarted, and another host uses it, and is not UP "
                     "here yet: .*server=cache0 .*by=bob", seconds=20)
    wait_until(lambda: anns.servers()[server.name]["returned"] ==
               ["restarted", "our-fault"], "it is shown")
    shown = anns.servers()[server.name]
    assert shown["verdict"] in ("DOWN", "RECOVERING")
    assert "stale-risk" in shown["degraded_names"]
    assert known == flushes(server) == 0
