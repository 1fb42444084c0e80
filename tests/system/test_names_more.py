"""Names, where a verdict knows nothing of who does not answer; and answers that
are no addresses."""
import sys
import time

import pytest

from .harness import wait_until
from .test_names import NEW, OLD, PORT, World, in_use, wait_in_use

KEY = {"maintenance_key": "mk"}
NOWHERE = "10.9.8.7"            # no route to it

STORE = """
import socket
s = socket.create_connection(("{}", {}), 5)
s.sendall(b"set mk 0 0 4\\r\\nrest\\r\\n")
assert s.recv(100) == b"STORED\\r\\n"
"""


def rest(world, ip):
    """By its own word."""
    done = world.house.run(*world.netns.enter, sys.executable, "-c",
                           STORE.format(ip, PORT))
    assert done.returncode == 0, done.stderr


def wait_state(checker, name, state):
    wait_until(lambda: checker.servers()[name]["state"] == state,
               f"{name} {state}", 15)


@pytest.mark.takes(4)
def test_a_server_that_rests_and_is_gone(house):
    """It was taken out, and moved: its name is asked at once, not when the
    answer of then is too old."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD, ttl=3600)
    checker = world.checker(defaults=KEY)
    checker.wait_verdicts("UP")
    rest(world, OLD)
    wait_state(checker, "s0", "MAINT")
    asked = world.dns.asked("s0.test")
    world.old.set(0, "refuse")
    world.dns.set("s0.test", NEW, ttl=3600)
    wait_in_use(checker, "s0", NEW, seconds=20)
    wait_state(checker, "s0", "UP")
    assert world.dns.asked("s0.test") > asked


@pytest.mark.takes(3)
def test_a_server_that_rests_has_another_address(house):
    world = World(house, 1)
    world.dns.set("s0.test", OLD, NEW, ttl=3600)
    checker = world.checker(defaults=KEY)
    checker.wait_verdicts("UP")
    rest(world, OLD)
    wait_state(checker, "s0", "MAINT")
    world.old.set(0, "hang")
    wait_state(checker, "s0", "UP")
    assert in_use(checker, "s0")[0] == NEW


@pytest.mark.takes(3)
def test_a_server_that_rests_is_not_hurried(house):
    """Whatever is believed of it; and is not asked for but by its TTL."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD, ttl=3600)
    rest(world, OLD)
    checker = world.checker(defaults=KEY | {
        "interval": "500ms", "fast_interval": "20ms", "timeout": "400ms"})
    wait_state(checker, "s0", "MAINT")
    assert checker.verdicts() == {"s0": "UNKNOWN"}
    asked = world.dns.asked("s0.test")
    began, before = time.monotonic(), world.old.requests()[0]
    wait_until(lambda: world.old.requests()[0] >= before + 4, "probes")
    assert time.monotonic() - began > 1
    assert world.dns.asked("s0.test") == asked


@pytest.mark.takes(4)
def test_an_address_without_a_route_is_not_kept(house):
    """Our own fault, for what is known; or somebody's who wrote the zone."""
    world = World(house, 1)
    world.dns.set("s0.test", NOWHERE, ttl=86400)
    checker = world.checker()
    wait_until(lambda: checker.servers()["s0"]["reason"] == "local", "it")
    assert in_use(checker, "s0") == [NOWHERE]
    world.dns.set("s0.test", NEW, ttl=86400)
    checker.wait_verdicts("UP", seconds=20)
    assert in_use(checker, "s0") == [NEW]


@pytest.mark.takes(3)
def test_answers_that_are_no_address(house):
    """A filter says 0.0.0.0 of what it blocks: that is this host."""
    world = World(house, 3)
    here = house.fake(1, netns=world.netns, ip="127.0.0.1", port=PORT)
    world.dns.set("s0.test", "0.0.0.0", "::", "255.255.255.255", "224.0.0.1")
    world.dns.set("s2.test", "0.0.0.0", NEW)
    world.dns.hosts.write_text("0.0.0.0 s1.test\n")
    checker = world.checker()
    checker.wait_verdicts({"s2": "UP"})
    for name in ("s0", "s1"):
        checker.wait_logged(f"server={name} .*resolved=no "
                            ".*no address of a server")
        shown = checker.servers()[name]
        assert (shown["verdict"], shown["reason"]) == \
            ("UNKNOWN", "unresolved")
        assert in_use(checker, name) == []
    assert in_use(checker, "s2") == [NEW]
    assert here.requests() == [0]
    # Where it was it stays.
    world.dns.set("s2.test", "0.0.0.0")
    world.new.set(2, "refuse")
    checker.wait_logged("server=s2 .*resolved=no")
    assert in_use(checker, "s2") == [NEW]
