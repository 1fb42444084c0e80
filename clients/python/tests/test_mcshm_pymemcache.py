"""pymemcache's HashClient by the pool file: real memcacheds, a real checker."""
import functools
import logging
import os
import socket
import threading

import pytest
from harness import wait_until
from pymemcache.client.hash import HashClient as PlainClient
from pymemcache.exceptions import MemcacheError, MemcacheUnexpectedCloseError

import mcshm
import mcshm.pymemcache
from mcshm.pymemcache import HashClient, Hasher, ServersDiffer

KEYS = [f"key:{i}" for i in range(120)]
# So patient that a busy machine is not taken for a dead server.
CALM = {"hold_after": "5s", "rehash_after": "600s"}
QUICK = CALM | {"hold_after": "400ms"}
# As long as the checker itself finds nothing out.
ASLEEP = {"interval": "60s", "fast_interval": "60s", "down_interval": "60s",
          "timeout": "10s", "connect_timeout": "10s"}


class World:
    """Memcacheds, their checker, and the client."""

    def __init__(self, house, n=4, defaults=CALM, **pool):
        self.house = house
        self.servers = house.memcacheds(n)
        self.pool = {"server": [s.line for s in self.servers]} | pool
        self.checker = house.checker({"web": self.pool}, defaults=defaults)
        if defaults is not ASLEEP:
            self.checker.wait_verdicts("UP")
        self.path = str(self.checker.path())

    def client(self, **options):
        client = HashClient(self.path, **({"default_noreply": False,
                                           "timeout": 20} | options))
        client.pool.suspect_time = 600
        return client

    def hurry(self, client, slot):
        """It waits for no answer of this server."""
        one = client.clients[f"127.0.0.1:{self.servers[slot].port}"]
        one.timeout = 0.1
        if one.sock:
            one.sock.settimeout(0.1)

    def slot(self, client, key):
        """Where it goes now."""
        return client.pool.pick(key).slot

    def keys_of(self, client, slot):
        return [k for k in KEYS if client.pool.pick(k).home == slot]

    def holds(self, slot, key):
        """Does this server, asked without the client, have the key?"""
        with socket.create_connection(("127.0.0.1", self.servers[slot].port),
                                      10) as s:
            s.sendall(f"get {key}\r\n".encode())
            return s.recv(4096).startswith(b"VALUE")


@pytest.fixture
def world(house):
    return World(house)


def fill(client):
    for key in KEYS:
        assert client.set(key, f"of {key}", noreply=False)


def where(world, client):
    return {k: world.slot(client, k) for k in KEYS}


def only_moved(world, client, before, *slots):
    after = where(world, client)
    assert all(after[k] == s for k, s in before.items() if s not in slots)
    assert not {after[k] for k in KEYS} & set(slots)


# All is well.

def test_every_command(world):
    c = world.client()
    assert c.set("a", "1") and c.get("a") == b"1"
    assert c.get("none", "else") == "else"
    assert c.incr("a", 2) == 3 and c.decr("a", 1) == 2
    assert c.add("a", "9") is False and c.replace("a", "5") is True
    assert c.append("a", "6") and c.prepend("a", "4") and \
        c.get("a") == b"456"
    value, cas = c.gets("a")
    assert c.cas("a", "7", cas) is True and c.cas("a", "8", cas) is False
    assert c.touch("a", 100) is True and c.delete("a") is True
    assert c.set_many({k: k for k in KEYS}) == []
    assert c.get_many(KEYS) == {k: k.encode() for k in KEYS}
    assert set(c.gets_many(KEYS)) == set(KEYS)
    assert c.delete_many(KEYS) and c.get_multi(KEYS) == {}
    assert c.set_multi({"b": "1"}) == [] and c.get("b") == b"1"
    c.flush_all(noreply=False)
    assert c.get("b") is None
    c.close()
    assert c.set(b"bytes", "1") and c.get(b"bytes") == b"1"
    c.quit()


def test_keys_are_where_the_pool_says(world):
    c = world.client()
    fill(c)
    for key in KEYS[:20]:
        assert [world.holds(s, key) for s in range(4)] == [
            s == world.slot(c, key) for s in range(4)]


def test_clients_of_a_pool_share_a_handle(world):
    a, b = world.client(), world.client()
    assert a.pool is b.pool
    a.pool.close()
    assert not world.client().pool.closed
    own = mcshm.Pool(world.path)
    assert HashClient(own).pool is own
    assert HashClient([world.path]).pool is world.client().pool


def test_pymemcache_s_own_choice(house):
    """Who adopts the hasher moves no key: rendezvous, str and bytes."""
    many = [f"user:{i}" for i in range(2000)] + ["gr\u00fcn", "\u20ac:1", "a"]
    servers = house.memcacheds(5)
    addresses = [("127.0.0.1", s.port) for s in servers]
    checker = house.checker({
        name: {"server": [s.line for s in servers], "scheme": scheme}
        for name, scheme in (("text", "pymemcache-rendezvous"),
                             ("bytes", "pymemcache-rendezvous-bytes"))})
    plain = PlainClient(addresses, allow_unicode_keys=True)
    for name, keys in (("text", many),
                       ("bytes", [k.encode() for k in many])):
        ours = PlainClient(addresses, allow_unicode_keys=True,
                           hasher=functools.partial(
                               Hasher, str(checker.path(name))))
        expected = [plain.hasher.get_node(k) for k in keys]
        assert [ours.hasher.get_node(k) for k in keys] == expected
        assert len(set(expected)) == 5
        # The same by the client that has all servers of the pool.
        whole = HashClient(str(checker.path(name)))
        assert [whole.hasher.get_node(k) for k in keys] == expected


# A server dies.

@pytest.mark.parametrize("options", [{}, {"use_pooling": True}])
def test_killed(house, options):
    """One request fails; from then on its keys are elsewhere, at once, though
    the checker knows nothing yet.  Keys of others never move."""
    world = World(house, defaults=ASLEEP)
    client = world.client(**options)
    fill(client)
    before = where(world, client)
    key, *others = world.keys_of(client, 1)
    world.servers[1].kill()
    with pytest.raises((OSError, MemcacheUnexpectedCloseError)):
        client.get(key)
    only_moved(world, client, before, 1)
    for k in (key, *others):
        assert client.get(k) is None and client.set(k, "new") is True
        assert client.get(k) == b"new"
    assert client.get_many(KEYS) == {
        k: b"new" if before[k] == 1 else f"of {k}".encode() for k in KEYS}


def test_killed_and_back(world):
    """By the checker's word, and its keys return."""
    client = world.client(ignore_exc=True)
    fill(client)
    before = where(world, client)
    world.servers[1].kill()
    world.checker.wait_verdicts({"cache1": "DOWN"})
    only_moved(world, client, before, 1)
    key = world.keys_of(client, 1)[0]
    assert client.set(key, "away") and client.get(key) == b"away"
    world.servers[1].restart()
    world.checker.wait_verdicts("UP")
    wait_until(lambda: where(world, client) == before, "all are home")
    assert client.get(key) is None
    assert client.set(key, "home") and world.holds(1, key)


def test_with_ignore_exc_a_failure_is_a_miss(house):
    world = World(house, defaults=ASLEEP)
    client = world.client(ignore_exc=True)
    fill(client)
    key, other = world.keys_of(client, 2)[:2]
    world.servers[2].kill()
    assert client.get_many([key, other]) == {}
    assert client.set_many({key: "1", other: "2"}) == []
    assert client.get_many([key, other]) == {key: b"1", other: b"2"}


def test_stopped(house):
    """A server that is silent: one request waits for it, no other does."""
    world = World(house, defaults=ASLEEP)
    client = world.client()
    fill(client)
    before = where(world, client)
    key = world.keys_of(client, 0)[0]
    world.servers[0].stop()
    world.hurry(client, 0)
    with pytest.raises(TimeoutError):
        client.get(key)
    only_moved(world, client, before, 0)
    assert client.get(key) is None and client.set(key, "new") is True
    world.servers[0].cont()


def test_held(house):
    """Nobody waits for a server that is held; its keys are misses, and are
    stored nowhere."""
    world = World(house, defaults=QUICK)
    client = world.client(timeout=None, connect_timeout=None)
    fill(client)
    before = where(world, client)
    keys = world.keys_of(client, 3)
    world.servers[3].stop()
    world.checker.wait_verdicts({"cache3": "HELD"})
    fresh = PlainClient([("127.0.0.1", s.port) for s in world.servers],
                        hasher=functools.partial(Hasher, world.path))
    k = keys[0]
    answers = [client.get(k), client.get(k, "else"), client.set(k, "1"),
               client.add(k, "1"), client.delete(k), client.incr(k, 1),
               client.gets(k), client.touch(k), client.get_many(keys),
               client.set_many({k: "1"}), client.delete_many(keys)]
    assert answers == [None, "else", False, False, False, None, (None, None),
                       False, {}, [k], True]
    with pytest.raises(MemcacheError):
        fresh.get(k)
    fresh.ignore_exc = True
    assert fresh.get(k, "else") == "else"
    world.servers[3].cont()
    world.checker.wait_verdicts("UP")
    wait_until(lambda: where(world, client) == before, "all are home")
    assert client.get(k) == f"of {k}".encode()


def test_all_down(world):
    client = world.client()
    for server in world.servers:
        server.kill()
    world.checker.wait_verdicts("DOWN")
    with pytest.raises(MemcacheError, match="All servers"):
        client.get("x")
    client.ignore_exc = True
    assert client.get("x", "else") == "else" and client.set("x", "1") is False


@pytest.mark.parametrize("dead, with_error", [("miss", False), ("error", True)])
def test_dead_as_the_pool_says(house, dead, with_error):
    world = World(house, n=2, dead=dead)
    client = world.client()
    key = world.keys_of(client, 0)[0]
    world.servers[0].kill()
    world.checker.wait_verdicts({"cache0": "DOWN"})
    if with_error:
        with pytest.raises(MemcacheError):
            client.get(key)
        client.ignore_exc = True
    assert client.get(key, "else") == "else" and client.set(key, "1") is False


# Connections that end, of servers that are well.

def test_a_restarted_server_fails_nobody(house):
    """The old connection has ended; what may be repeated is."""
    world = World(house, n=1, defaults=ASLEEP)
    client = world.client()
    commands = [lambda: client.set("a", "1"), lambda: client.get("a"),
                lambda: client.get_many(["a"]), lambda: client.touch("a"),
                lambda: client.delete("a")]
    for command in commands:
        assert client.set("b", "1")
        world.servers[0].restart()
        command()
    assert not client.pool.candidates("a", 1)[0].suspect
    # What may not is not; the next one is.
    assert client.set("n", "1")
    world.servers[0].restart()
    with pytest.raises((ConnectionError, MemcacheUnexpectedCloseError)):
        client.incr("n", 1)
    assert not client.pool.candidates("a", 1)[0].suspect
    assert client.incr("n", 1) is None


def test_the_checker_is_told(house):
    """It probes once a minute, and a server that is stopped says nothing."""
    world = World(house, defaults=QUICK | {"interval": "60s"})
    client = world.client()
    key = world.keys_of(client, 1)[0]
    client.get(key)
    world.servers[1].stop()
    world.hurry(client, 1)
    with pytest.raises(TimeoutError):
        client.get(key)
    world.checker.wait_verdicts({"cache1": "HELD"})
    world.servers[1].cont()


# The pool changes.

def test_servers_come_and_go(world):
    client = world.client()
    fill(client)
    new = world.house.memcached(name="new")
    world.servers.append(new)
    world.pool["server"].append(new.line)
    world.checker.reload()
    wait_until(lambda: len(client.pool.servers()) == 5, "followed")
    fill(client)
    assert {world.slot(client, k) for k in KEYS} == {0, 1, 2, 3, 4}
    assert world.holds(4, world.keys_of(client, 4)[0])
    # Two fewer, and those that are left are asked by their connections of yore.
    old = client.clients[f"127.0.0.1:{world.servers[2].port}"]
    del world.pool["server"][0:2]
    del world.servers[0:2]
    world.checker.reload()
    wait_until(lambda: len(client.pool.servers()) == 3, "followed")
    fill(client)
    assert client.get_many(KEYS) == {k: f"of {k}".encode() for k in KEYS}
    assert old in client.clients.values() and len(client.clients) == 3


def test_a_client_that_was_there_first(house):
    server = house.memcached(name="cache0")
    checker = house.checker({"web": [server.line]}, start=False)
    client = HashClient(str(checker.path()), ignore_exc=True)
    assert client.get("x") is None and client.set("x", "1") is False
    checker.start()
    wait_until(lambda: client.set("x", "1"), "the pool is there")
    assert client.get("x") == b"1"


def test_threads(house):
    """A server is killed and comes back under four threads: errors are the
    server's, values those that were set."""
    world = World(house)
    client = world.client(use_pooling=True)
    fill(client)
    over, strange = threading.Event(), []

    def work():
        while not over.is_set():
            for key in KEYS:
                try:
                    value = client.get(key)
                    if value is None:
                        client.set(key, f"of {key}")
                    elif value != f"of {key}".encode():
                        strange.append(value)
                except (OSError, MemcacheUnexpectedCloseError):
                    pass
                except Exception as e:
                    strange.append(e)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        world.servers[1].kill()
        world.checker.wait_verdicts({"cache1": "DOWN"})
        world.servers[1].restart()
        world.checker.wait_verdicts("UP")
        world.pool["server"] = world.pool["server"][1:]
        world.checker.reload()
        wait_until(lambda: len(client.pool.servers()) == 3, "followed")
    finally:
        over.set()
        for t in threads:
            t.join()
    assert strange == []


# failover_ttl

def ttl(world, slot, key):
    with socket.create_connection(("127.0.0.1", world.servers[slot].port),
                                  10) as s:
        s.sendall(f"mg {key} t\r\n".encode())
        return int(s.recv(4096).split()[1][1:])


def test_what_is_away_from_home_does_not_live_long(house):
    world = World(house, failover_ttl="90s")
    client = world.client()
    world.servers[1].kill()
    world.checker.wait_verdicts({"cache1": "DOWN"})
    away = world.keys_of(client, 1)[0]
    home = next(k for k in KEYS if k not in world.keys_of(client, 1))

    def stored(key):
        return ttl(world, world.slot(client, key), key)

    assert client.set(away, "1") and client.set(home, "1")
    assert 0 < stored(away) <= 90 and stored(home) == -1
    assert client.replace(away, "1", 1000) and client.add(home, "1") is False
    assert 0 < stored(away) <= 90
    assert client.touch(away, 0) and 0 < stored(away) <= 90
    assert client.cas(away, "2", client.gets(away)[1], 0)
    assert 0 < stored(away) <= 90
    assert client.delete(away) and client.add(away, "1", 10**6)
    assert 0 < stored(away) <= 90
    assert client.set_many({away: "1", home: "1"}, 1000) == []
    assert 0 < stored(away) <= 90 < stored(home) <= 1000


# A client of one's own, with the hasher.

def plain(world, addresses, **options):
    return PlainClient(addresses, hasher=functools.partial(
        Hasher, world.path), **options)


def test_the_hasher(world):
    addresses = [("127.0.0.1", s.port) for s in world.servers]
    client = plain(world, addresses, retry_attempts=0, default_noreply=False)
    whole = world.client()
    fill(client)
    assert [client.hasher.get_node(k) for k in KEYS] == [
        whole.hasher.get_node(k) for k in KEYS]
    world.servers[2].kill()
    world.checker.wait_verdicts({"cache2": "DOWN"})
    fill(client)
    assert all(client.get(k) == f"of {k}".encode() for k in KEYS)
    # pymemcache's own verdict changes nothing.
    node = client.hasher.get_node("x")
    client.hasher.remove_node(node)
    client.hasher.add_node(node)
    assert client.hasher.get_node("x") == node
    assert client.hasher.get_node(7) == client.hasher.get_node("7")


def test_servers_that_differ(world):
    addresses = [("127.0.0.1", s.port) for s in world.servers]
    with pytest.raises(ServersDiffer) as caught:
        plain(world, addresses[1:] + [("127.0.0.1", 1)]).get("x")
    assert str(caught.value) == f"{world.path}: the client has 127.0.0.1:1, " \
        "the pool has not; the pool has cache0, the client has not"
    for wrong in (addresses[1:], addresses + [("127.0.0.1", 1)]):
        with pytest.raises(ServersDiffer):
            plain(world, wrong, ignore_exc=True).get("x")


def test_servers_by_other_names(house):
    """As in the ini, by what the name resolves to, and by path."""
    servers = house.memcacheds(2)
    path = house.directory / "socket"
    third = house.memcached(name="third", unix=path)
    bare = house.memcached(name="bare")
    six = house.memcached(name="six", ip="::1")
    checker = house.checker({"web": [
        servers[0].line, f"localhost:{servers[1].port}", third.line,
        bare.address, six.address]})
    client = PlainClient(
        [("localhost", servers[0].port), ("localhost", servers[1].port),
         str(path), f"127.0.0.1:{bare.port}", f"[::1]:{six.port}"],
        default_noreply=False,
        hasher=functools.partial(Hasher, str(checker.path())))
    fill(client)
    assert len({client.hasher.get_node(k) for k in KEYS}) == 5
    whole = HashClient(str(checker.path()))
    assert all(whole.get(k) == f"of {k}".encode() for k in KEYS)


def test_a_server_that_is_there_twice(house):
    """Which is how some schemes have weights; it fails twice, too."""
    servers = house.memcacheds(2)
    checker = house.checker({"web": {
        "scheme": "python-memcached", "server": [
            servers[0].line, servers[1].line,
            f"again {servers[1].address}"]}}, defaults=ASLEEP)
    path = str(checker.path())
    client = PlainClient([("127.0.0.1", s.port) for s in servers],
                         hasher=functools.partial(Hasher, path))
    ours = HashClient(path, default_noreply=False)
    ours.pool.suspect_time = 600
    nodes = [client.hasher.get_node(k) for k in KEYS]
    assert nodes == [ours.hasher.get_node(k) for k in KEYS]
    assert nodes.count(f"127.0.0.1:{servers[1].port}") > len(KEYS) / 2
    fill(ours)
    key = next(k for k in KEYS if ours.pool.pick(k).slot == 2)
    servers[1].kill()
    with pytest.raises((OSError, MemcacheUnexpectedCloseError)):
        ours.get(key)
    assert {ours.pool.pick(k).slot for k in KEYS} == {0}


def test_a_server_that_the_client_has_not(world, caplog):
    client = plain(world, [("127.0.0.1", s.port) for s in world.servers],
                   ignore_exc=True, default_noreply=False)
    fill(client)
    new = world.house.memcached(name="new")
    world.pool["server"].append(new.line)
    world.checker.reload()
    with caplog.at_level(logging.WARNING):
        wait_until(lambda: client.hasher.pool.roster().servers[4:],
                   "followed")
        keys = [k for k in KEYS if client.hasher.pool.pick(k).slot == 4]
        assert {client.hasher.get_node(k) for k in keys} == {None}
        assert client.get(keys[0]) is None
    assert len(caplog.records) == 1
    assert "the pool has new, the client has not" in caplog.text


# As Django calls it.

class Backend:
    """What PyMemcacheCache does with LOCATION and OPTIONS."""

    def __init__(self, location, options):
        self.servers = location if isinstance(location, list) else [location]
        self.kind, self.options = PlainClient, {
            "allow_unicode_keys": True, "default_noreply": False} | options

    @functools.cached_property
    def client(self):
        return self.kind(self.servers, **self.options)


def test_django(world):
    site = Backend([f"127.0.0.1:{s.port}" for s in world.servers], {
        "hasher": functools.partial(Hasher, world.path), "ignore_exc": True,
        "use_pooling": True})
    fill(site.client)
    pool = Backend(world.path, {"ignore_exc": True})
    pool.kind = HashClient
    assert pool.client.get_many(KEYS) == {k: f"of {k}".encode() for k in KEYS}


def test_a_child_has_connections_of_its_own(world):
    client = world.client()
    fill(client)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for k in KEYS:
                assert client.get(k) == f"of {k}".encode()
            code = 0
        finally:
            os._exit(code)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        for k in KEYS:
            assert client.set(k, f"of {k}")
    assert client.get(KEYS[0]) == f"of {KEYS[0]}".encode()


def test_nobody_waits_for_ever_unless_told_to(world):
    c = HashClient(world.path, timeout=3)
    assert c.default_kwargs["timeout"] == 3
    assert c.default_kwargs["connect_timeout"] == 1.5
    assert HashClient(world.path).default_kwargs["timeout"] == 0.75


def test_one_pool_is_one_pool():
    with pytest.raises(ValueError, match="one pool is needed, not 2"):
        HashClient(["10.1.0.7:11211", "10.1.0.12:11211"])


def test_a_client_that_is_forgotten_closes_its_connections(world):
    client = world.client()
    fill(client)
    sockets = [c.sock for c in client.clients.values()]
    assert {s.fileno() == -1 for s in sockets} == {False}
    del client
    assert {s.fileno() for s in sockets} == {-1}
