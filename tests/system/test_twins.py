"""A server that its pool has twice, by one name or by two, is in one place."""
import pytest

from .harness import wait_until
from .test_names import NEW, OLD, PORT, World, in_use, wait_in_use

NAMES = ["a", "b", "c", "d"]


def begin(house):
    """a and b have one name, for their weight; c and d are names of one."""
    world = World(house, 2)
    point(world, OLD)
    checker = house.checker(
        {"web": {"server": [f"a s0.test:{PORT}", f"b s0.test:{PORT}",
                            f"c s1.test:{PORT + 1}", f"d s2.test:{PORT + 1}"],
                 "scheme": "libmemcached-ketama", "hash": "md5"}},
        before=world.dns.before, netns=world.netns)
    checker.wait_verdicts("UP")
    return world, checker


def point(world, address):
    for name in ("s0", "s1", "s2"):
        world.dns.set(f"{name}.test", address)


def wait_moved(checker):
    for name in NAMES:
        wait_in_use(checker, name, NEW, seconds=25)
    checker.wait_verdicts("UP")
    wait_until(lambda: not any(s["degraded_names"]
                               for s in checker.servers().values()),
               "nobody degraded")


@pytest.mark.takes(5)
def test_the_dead_move_together(house):
    world, checker = begin(house)
    world.old.set("all", "refuse")
    checker.wait_verdicts("DOWN")
    point(world, NEW)
    wait_moved(checker)


@pytest.mark.takes(5)
def test_a_restart_between_the_two(house):
    """Which one came from where outlives the daemon."""
    world, checker = begin(house)
    world.old.set("all", "refuse")
    checker.wait_verdicts("DOWN")
    world.dns.set("s1.test", NEW)
    wait_in_use(checker, "c", NEW, seconds=25)
    checker.wait_verdicts({"c": "UP"})
    checker.kill()
    checker.start(before=world.dns.before, netns=world.netns)
    point(world, NEW)
    wait_moved(checker)


@pytest.mark.takes(4)
def test_those_that_are_well_move_together(house):
    """A daemon that takes over does so, too."""
    world, checker = begin(house)
    checker.kill()
    point(world, NEW)
    checker.start(before=world.dns.before, netns=world.netns)
    wait_moved(checker)
    world.old.set("all", "refuse")
    client = house.client(checker.path())
    assert client.picks().all_home()
    assert in_use(checker, "a") == in_use(checker, "d") == [NEW]
