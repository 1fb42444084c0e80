"""Real clients store keys in real memcacheds: each key must lie where
mcshm_pick() says, and, once a server has been killed and mc-checkerd says so,
where it says then, with the client's own failover on."""
import dataclasses
import os
import sys

import pytest

from peerlib import HERE, Drivers, Question, Server
from test_twemproxy import needs_unshare

sys.path.insert(0, os.path.join(HERE, "..", "system"))

from harness import House                                   # noqa: E402

pytestmark = [pytest.mark.xdist_group("peers-live"), pytest.mark.takes(8)]

COUNT = 300             # keys of each client
KILLED = 2

# Pool: driver, what the pool has, what the client is told.
CLIENTS = {
    "libmemcached": ("libmemcached",
                     {"scheme": "libmemcached-ketama-weighted", "hash": "md5"},
                     {"distribution": "weighted", "hash": "md5",
                      "eject": None}),
    "libmemcached-ketama": ("libmemcached", {"scheme": "libmemcached-ketama"},
                            {"distribution": "consistent",
                             "hash": "one_at_a_time", "eject": None}),
    "twemproxy": ("twemproxy", {"scheme": "twemproxy-ketama"},
                  {"distribution": "ketama", "hash": "fnv1a_64",
                   "eject": None}),
    "pymemcache": ("python", {"scheme": "pymemcache-rendezvous"},
                   {"client": "pymemcache"}),
    "pymemcache-bytes": ("python", {"scheme": "pymemcache-rendezvous-bytes"},
                         {"client": "pymemcache-bytes"}),
    "python-memcached": ("python", {"scheme": "python-memcached"},
                         {"client": "python-memcached"}),
    "cache-memcached": ("cache-memcached", {"scheme": "cache-memcached"}, {}),
    "php-standard": ("php-memcache", {"scheme": "php-memcache-standard"},
                     {"strategy": "standard", "function": "crc32"}),
    "php-consistent": ("php-memcache", {"scheme": "php-memcache-consistent"},
                       {"strategy": "consistent", "function": "crc32"}),
    "dalli": ("dalli", {"scheme": "dalli"}, {}),
}


# With a namespace or prefix of the client's own: is it hashed with the key, so
# that mcshm_pick() has to be given both?
NAMESPACE = "app1"
HASHED = {"libmemcached": False, "pymemcache": False, "pymemcache-bytes": False,
          "python-memcached": True, "cache-memcached": False,
          "php-standard": True, "php-consistent": True, "dalli": True}


class Fleet:
    """Four memcacheds in a network of their own, their checker, and a client
    of each kind."""

    def __init__(self, house, tmp_path_factory, keys):
        netns = house.netns()
        self.drivers = Drivers(tmp_path_factory, netns.enter)
        self.keys, self.homes = keys, {}
        self.memcacheds = house.memcacheds(4, netns=netns)
        self.servers = [Server(m.ip, m.port, name=m.name)
                        for m in self.memcacheds]
        lines = [m.line for m in self.memcacheds]
        self.checker = house.checker(
            {pool: ours | {"server": lines}
             for pool, (_, ours, _) in CLIENTS.items()}, netns=netns)
        for pool in CLIENTS:
            self.checker.wait_verdicts("UP", pool)

    def ask(self, name, question, settings, piece):
        path, keys, start = piece
        driver = self.drivers.get(name)
        driver.send(question.lines(settings))
        driver.ask(path, start, len(keys), 1)
        return list(driver.answer(len(keys)))

    def kill(self):
        self.memcacheds[KILLED].kill()
        for pool in CLIENTS:
            self.checker.wait_verdicts({f"cache{KILLED}": "DOWN"}, pool)

    def forget(self, question):
        shelves = self.drivers.get("shelves")
        shelves.send([*question.lines({}), "flush"])
        shelves.answer(1)

    def store(self, pool, piece, down=(), **settings):
        """One that died has to be met before it is left out: the second time
        counts."""
        name, _, theirs = CLIENTS[pool]
        path, keys, start = piece
        question = Question(self.servers, {}, theirs | settings)
        client = self.drivers.get(name)
        client.send(question.lines(question.theirs))
        for _ in range(2):
            self.forget(dataclasses.replace(question, down=down))
            stored = client.store(path, start, len(keys))
        assert all(stored), f"{stored.count(False)} are not stored"

    def compare(self, pool, picked, looked_for, down=()):
        """What we say of the one, and where the other is."""
        question = Question(self.servers, {}, {}, down)
        said = self.ask("ours", question,
                        {"pool": self.checker.path(pool)}, picked)
        lies = self.ask("shelves", question, {}, looked_for)
        wrong = [f"{k}: ours {s}, theirs {t}"
                 for k, s, t in zip(picked[1], said, lies) if s != t]
        assert not wrong, f"{len(wrong)} of {len(said)}: {wrong[:5]}"
        return said

    def some_keys(self):
        piece, = self.keys.pieces(0, COUNT)
        return piece

    def prefixed(self, prefix):
        keys = [prefix.encode() + k for k in self.some_keys()[1]]
        return next(self.keys.made(prefix, keys).pieces(0, COUNT))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, keys):
    needs_unshare()
    house = House("peers")
    fleet = None
    try:
        fleet = Fleet(house, tmp_path_factory, keys("usual"))
        yield fleet
    finally:
        if fleet:
            fleet.drivers.close()
        house.close()
    assert not house.problems, house.problems


@pytest.fixture(scope="module")
def killed(fleet):
    fleet.kill()


@pytest.mark.parametrize("pool", CLIENTS)
def test_all_up(fleet, pool):
    keys = fleet.some_keys()
    fleet.store(pool, keys)
    fleet.homes[pool] = fleet.compare(pool, keys, keys)
    assert set(fleet.homes[pool]) == set(range(4))


def look_for_namespace(fleet, pool, hashed, **settings):
    keys = fleet.some_keys()
    fleet.store(pool, keys, namespace=NAMESPACE, **settings)
    both = fleet.prefixed(NAMESPACE + (":" if pool == "dalli" else ""))
    fleet.compare(pool, both if hashed else keys, both)


@pytest.mark.parametrize("pool", HASHED)
def test_namespace(fleet, pool):
    look_for_namespace(fleet, pool, HASHED[pool])


def test_namespace_that_is_hashed(fleet):
    look_for_namespace(fleet, "libmemcached", True, hash_namespace=None)


@pytest.mark.parametrize("pool", CLIENTS)
def test_one_is_down(fleet, killed, pool):
    keys = fleet.some_keys()
    fleet.store(pool, keys, down=(KILLED,))
    said = fleet.compare(pool, keys, keys, down=(KILLED,))
    assert all(now == was for now, was in zip(said, fleet.homes[pool])
               if was != KILLED)
