"""The mail's three tables, with real memcacheds: what becomes of key BBB when
its server 2 is broken, and of AAA, which lives on server 4."""
import socket
import zlib

import pytest

import mcshm

# As long as the checker itself finds nothing out.
ASLEEP = {"interval": "60s", "fast_interval": "60s", "timeout": "10s",
          "connect_timeout": "10s"}


class Connections:
    """A client: get and set on the server that it is given."""

    def __init__(self):
        self.open = {}
        self.asked = []

    def talk(self, server, timeout, request):
        self.asked.append(server.name)
        connection = self.open.pop(server.name, None)
        if connection is None:
            connection = socket.create_connection(server.address, timeout)
        connection.settimeout(timeout)
        with connection:
            connection.sendall(request)
            answer = connection.recv(4096)
            if not answer:
                raise EOFError
            self.open[server.name] = connection.dup()
        return answer

    def set(self, key, value):
        request = f"set {key} 0 0 {len(value)}\r\n{value}\r\n".encode()
        return lambda choice, timeout: self.talk(choice.server, timeout,
                                                 request)

    def close(self):
        for connection in self.open.values():
            connection.close()


@pytest.fixture
def client():
    client = Connections()
    yield client
    client.close()


@pytest.fixture
def servers(house):
    return house.memcacheds(4)


@pytest.fixture
def pool(house, servers):
    checker = house.checker({"web": [s.line for s in servers]},
                            defaults=ASLEEP)
    with mcshm.Pool(checker.path()) as pool:
        pool.suspect_time = 600
        pool.resubmit_deadline = 20
        yield pool


def key_on(pool, slot):
    return next(k for i in range(999)
                if pool.pick(k := f"key:{i}").slot == slot)


def test_current(pool, client, servers):
    """hash % live servers: AAA -> 4; BBB -> 2 broken, removed, error; BBB ->
    3; AAA -> 1."""
    live = list(pool.servers())

    def run(key):
        server = live[zlib.crc32(key.encode()) % len(live)]
        try:
            return client.set(key, "1")(Choice(server), 1)
        except (OSError, EOFError):
            live.remove(server)
            raise

    class Choice:
        def __init__(self, server):
            self.server = server

    def key(slot, then):
        return next(k for i in range(999) if zlib.crc32(
            (k := f"key:{i}").encode()) % 4 == slot
            and zlib.crc32(k.encode()) % 3 == then)

    aaa, bbb = key(3, 0), key(1, 1)
    run(aaa)
    servers[1].kill()
    with pytest.raises((OSError, EOFError)):
        run(bbb)
    run(bbb)
    run(aaa)
    assert client.asked == ["cache3", "cache1", "cache2", "cache0"]


def test_rehashing(pool, client, servers):
    """AAA -> 4; BBB -> 2 broken, marked down, error; BBB -> 2 is down ->
    rehash -> 3; AAA -> 4."""
    aaa, bbb = key_on(pool, 3), key_on(pool, 1)
    other = pool.candidates(bbb, 2)[1].server.name
    pool.run(aaa, client.set(aaa, "1"), repeatable=True)
    servers[1].kill()
    with pytest.raises(mcshm.ServerFailed, match="cache1"):
        pool.run(bbb, client.set(bbb, "1"), repeatable=True)
    pool.run(bbb, client.set(bbb, "1"), repeatable=True)
    pool.run(aaa, client.set(aaa, "1"), repeatable=True)
    assert client.asked == ["cache3", "cache1", other, "cache3"]


def test_resubmit(pool, client, servers):
    """AAA -> 4; BBB -> 2 broken, marked down -> rehash -> 3 (same call);
    BBB -> 3; AAA -> 4."""
    aaa, bbb = key_on(pool, 3), key_on(pool, 1)
    other = pool.candidates(bbb, 2)[1].server.name
    pool.resubmit_on_error = True
    pool.run(aaa, client.set(aaa, "1"), repeatable=True)
    servers[1].kill()
    for key in (bbb, bbb, aaa):
        assert pool.run(key, client.set(key, "1"),
                        repeatable=True) == b"STORED\r\n"
    assert client.asked == ["cache3", "cache1", other, other, "cache3"]


def test_resubmit_of_what_may_not_be_repeated(pool, client, servers):
    """A server that is stopped may have done it."""
    bbb = key_on(pool, 1)
    pool.resubmit_on_error = True
    pool.resubmit_deadline = 0.3
    servers[1].stop()
    with pytest.raises(mcshm.ServerFailed) as caught:
        pool.run(bbb, client.set(bbb, "1"))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert client.asked == ["cache1"]
    servers[1].cont()
    # One that is not there has not.
    servers[1].kill()
    pool.suspect_time = 0
    pool.resubmit_deadline = 20
    assert pool.run(bbb, client.set(bbb, "1")) == b"STORED\r\n"
