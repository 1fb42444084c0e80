"""Clients that have a connection are served, and no other: new connections fail
by proof, at once, and only a probe that makes one sees it."""
import contextlib
import os

import pytest

from .harness import wait_until

# Nothing but version probes, each fourth on a new connection.
DEFAULTS = {"stats_interval": "0", "thread_scan_interval": "0",
            "fresh_every": 4}


class Unlinked:
    """A cleaner of temporary files has removed its unix socket."""

    reason = "no-socket"

    def __init__(self, house):
        self.path = house.directory / "socket"
        self.server = house.memcached(name="cache", unix=self.path)
        self.netns = None

    @contextlib.contextmanager
    def fault(self):
        kept = self.path.with_suffix(".kept")
        os.rename(self.path, kept)
        yield
        os.rename(kept, self.path)


class Rejected:
    """A firewall rejects who is new."""

    reason = "refused"

    def __init__(self, house):
        self.netns = house.netns()
        self.server = house.memcached(name="cache", netns=self.netns)

    @contextlib.contextmanager
    def fault(self):
        self.netns.nft("add table inet wall")
        self.netns.nft("add chain inet wall in { type filter hook input "
                       "priority 0; }")
        self.netns.nft(f"add rule inet wall in tcp dport {self.server.port} "
                       "tcp flags & (syn | ack) == syn "
                       "reject with tcp reset")
        yield
        self.netns.nft("delete table inet wall")


def is_stuck(checker, pool="web"):
    return "listener-stuck" in checker.servers(pool)["cache"]["degraded_names"]


@pytest.mark.takes(6)
@pytest.mark.parametrize("way", [Unlinked, Rejected])
def test_new_connections_fail(house, way):
    place = way(house)
    line = place.server.line
    checker = house.checker({
        "web": {"server": line},
        "strict": {"server": line, "on_listener_stuck": "down"},
        "scans": {"server": line, "fresh_every": 0, "stats_interval": "100ms",
                  "thread_scan_interval": "200ms"}},
        defaults=DEFAULTS, netns=place.netns)
    for pool in ("web", "strict", "scans"):
        checker.wait_verdicts("UP", pool)
    wait_until(lambda: checker.servers("scans")["cache"]["workers"], "stats")

    with place.fault():
        checker.wait_logged("server=cache pool=web degraded=listener-stuck "
                            f"was=none reason={place.reason}")
        checker.wait_verdicts("DOWN", "strict")
        shown = checker.servers("strict")["cache"]
        assert shown["reason"] == "listener-stuck" and not shown["usable"]
        for pool in ("web", "scans"):
            wait_until(lambda: is_stuck(checker, pool), f"{pool}: it")
        # The kept connection is well, and says so.
        failures = checker.servers()["cache"]["failures"]
        probes = checker.servers()["cache"]["probes"]
        wait_until(lambda: checker.servers()["cache"]["probes"] >= probes + 8,
                   "probes")
        shown = checker.servers()["cache"]
        assert shown["verdict"] == "UP" and shown["usable"]
        assert shown["failures"] == failures
        assert "new connections to it fail" in \
            checker.shmdump(checker.path()).stdout

    for pool in ("web", "strict", "scans"):
        wait_until(lambda: not is_stuck(checker, pool), f"{pool}: its end")
        checker.wait_verdicts("UP", pool)


@pytest.mark.takes(3)
@pytest.mark.parametrize("way", [Unlinked, Rejected])
def test_a_server_that_dies_then(house, way):
    """Nothing is left that answers: it is as dead as any other."""
    place = way(house)
    checker = house.checker({"web": {"server": place.server.line}},
                            defaults=DEFAULTS, netns=place.netns)
    checker.wait_verdicts("UP")
    with place.fault():
        wait_until(lambda: is_stuck(checker), "new connections fail")
        before = checker.servers()["cache"]["failures"]
        place.server.kill()
        checker.wait_verdicts("DOWN")
        shown = checker.servers()["cache"]
        assert shown["failures"] >= before + 3      # fall
        assert (shown["reason"], shown["degraded_names"]) == \
            (place.reason, [])
