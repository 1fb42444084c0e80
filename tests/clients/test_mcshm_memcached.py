"""libmcshm-memcached: real libmemcached, real memcacheds, a real mc-checkerd."""
import json
import os
import re
import subprocess

import pytest

from harness import BUILD, ROOT, SAN, wait_until
from harness.process import Process

KEYS = 10000
EMOVES, EINVAL, ENOENT = -201, -4, -5
MOVE_KEYS = 1
NOWHERE = "/dev/null/mc-checkerd-says-down-or-silent:0"
DISABLED = "SERVER HAS FAILED AND IS DISABLED UNTIL TIMED RETRY"
MODULA, CONSISTENT, RANDOM, SPY, WEIGHTED, BUCKET = 0, 1, 3, 4, 5, 6
# As libmemcached numbers them; Debian's has no hsieh (7).
HASHES = {"one_at_a_time": 0, "md5": 1, "crc": 2, "fnv1_64": 3, "fnv1a_64": 4,
          "fnv1_32": 5, "fnv1a_32": 6, "murmur": 8, "jenkins": 9,
          "murmur3": 10}


class Program:
    """tests/clients/memc.c"""

    def __init__(self, house, before=()):
        self.process = Process(
            house, f"memc{next(house.numbers)}",
            [*before, BUILD / "tests/memc"], talks=True)

    def ask(self, line, seconds=60):
        self.process.write(line)
        return json.loads(self.process.read(seconds))

    def obey(self, *lines):
        for line in lines:
            assert self.ask(line) == {"rc": "SUCCESS"}, line

    def servers(self, servers, weight=None):
        """As a program adds them."""
        for i, s in enumerate(servers):
            w = weight[i] if weight else 0
            self.obey(f"server {s.unix or s.ip} {s.port or 0} {w}")

    def homes(self, n=KEYS):
        return self.ask(f"homes {n}")["homes"]

    def attach(self, path, flags=0):
        return self.ask(f"attach {path} {flags}")["err"]

    def key(self, server):
        """One that lives there."""
        return f"key:{self.homes(1000).index(where(server))}"

    def end(self):
        """By itself: all handles are freed."""
        self.process.popen.stdin.close()
        return self.process.wait(60)


def where(server):
    return f"{server.unix}:0" if server.unix else \
        f"{server.ip}:{server.port}"


def pool(servers, scheme="libmemcached-modula", **more):
    return {"scheme": scheme, "server": [s.line for s in servers]} | more


@pytest.fixture
def memcacheds(house):
    return house.memcacheds(4)


@pytest.fixture
def program(house):
    return Program(house)


@pytest.fixture
def checker(house, memcacheds):
    """One pool, of a program that never chose: modula."""
    checker = house.checker({"web": pool(memcacheds)})
    checker.wait_verdicts("UP")
    return checker


@pytest.fixture
def attached(program, memcacheds, checker):
    program.servers(memcacheds)
    assert program.attach(checker.path()) == 0
    return program


# The day of adoption --------------------------------------------------------

MAP = [3, 0, 2, 1, 1, 0, 3, 2]
WEIGHTS = [1, 3, 1, 7]


def ways(memcacheds):
    """{pool: (what it says, how a handle is set, its weights)}"""
    found = {}
    for h, n in HASHES.items():
        found[f"modula-{h}"] = (
            pool(memcacheds, hash=h), [f"set HASH {n}"], None)
        found[f"ketama-{h}"] = (
            pool(memcacheds, "libmemcached-ketama", hash=h),
            [f"set HASH {n}", f"set DISTRIBUTION {CONSISTENT}"], None)
        heavy = pool(memcacheds, "libmemcached-ketama-weighted", hash=h)
        heavy["server"] = [f"{s.line} weight={w}"
                           for s, w in zip(memcacheds, WEIGHTS)]
        found[f"weighted-{h}"] = (
            heavy, ["set KETAMA_WEIGHTED 1", f"set HASH {n}"], WEIGHTS)
        bucket = pool(memcacheds, "libmemcached-virtual-bucket", hash=h)
        found[f"bucket-{h}"] = (
            bucket, [f"set DISTRIBUTION {BUCKET}", f"set HASH {n}"], None)
        slots = " ".join(map(str, MAP))
        found[f"map-{h}"] = (
            bucket | {"buckets": slots},
            [f"map {slots}", f"set HASH {n}"], None)
    # The hash set last: the points of the ring keep the old one.
    found["points"] = (
        pool(memcacheds, "libmemcached-ketama", hash="md5",
             points_hash="one_at_a_time"),
        ["server", f"set DISTRIBUTION {CONSISTENT}", "set HASH 1"], None)
    return found


def set_up(program, memcacheds, settings, weights):
    program.obey("reset")
    if settings[0] == "server":
        settings = settings[1:]
        program.servers(memcacheds, weights)
        program.obey(*settings)
    else:
        program.obey(*settings)
        program.servers(memcacheds, weights)


@pytest.mark.takes(20)
def test_no_key_moves(house, memcacheds, program):
    """Each distribution and hash: 10 000 keys, and stored ones are found."""
    all_ways = ways(memcacheds)
    checker = house.checker({name: w[0] for name, w in all_ways.items()},
                            shipped=True)
    for name, (_, settings, weights) in all_ways.items():
        set_up(program, memcacheds, settings, weights)
        before = program.homes()
        # Some hashes make poor rings.
        assert len(set(before)) == 4 or "-crc" in name or "fnv" in name
        assert program.ask("fill 200") == {"SUCCESS": 200}, name
        attached = program.ask(f"attach {checker.path(name)} 0")
        assert attached["err"] == 0, f"{name}: {attached}"
        assert program.homes() == before, name
        assert program.ask("look 200") == {"SUCCESS": 200}, name
        assert program.ask("detach")["err"] == 0, name
        # libmemcached makes the points anew, by the hash that there is now.
        assert program.homes() == before or name == "points", name
        assert program.ask("flush") == {"rc": "SUCCESS"}, name


def test_a_handle_that_is_set_otherwise_is_refused(house, memcacheds, program):
    """Each way is another one's wrong way."""
    all_ways = {n: w for n, w in ways(memcacheds).items()
                if n in ("points", "modula-md5", "modula-crc",
                         "map-md5", "ketama-md5", "ketama-crc",
                         "weighted-md5", "weighted-crc")}
    checker = house.checker({name: w[0] for name, w in all_ways.items()},
                            shipped=True)
    lines = {"modula": "modula", "map": "virtual-bucket", "points": "ketama",
             "ketama": "ketama", "weighted": "ketama-weighted"}
    for name, (_, settings, weights) in all_ways.items():
        set_up(program, memcacheds, settings, weights)
        before = program.homes()
        kind, _, hash = name.partition("-")
        for other in all_ways:
            if other == name:
                continue
            refused = program.ask(f"attach {checker.path(other)} 0")
            assert refused["err"] == EMOVES, f"{name} {other}: {refused}"
            assert f'"scheme = libmemcached-{lines[kind]}"' in refused["text"]
            assert f'"hash = {hash or "md5"}"' in refused["text"]
            assert program.homes() == before
        assert program.attach(checker.path(other), MOVE_KEYS) == 0
        assert other == name or program.homes() != before


def test_traps_of_order_and_settings(house, memcacheds, program):
    """Settings that libmemcached keeps to itself, or that would lead keys
    astray behind the hook."""
    checker = house.checker({"web": pool(memcacheds)}, shipped=True)
    path = checker.path()
    first = sorted(memcacheds, key=lambda s: s.port)

    # With one server libmemcached calls no hash function.
    program.servers(first[:1])
    assert program.ask(f"attach {path} 0")["servers"] == 5
    assert len(set(program.homes(100))) == 4
    program.obey("reset", "set SORT_HOSTS 1")
    program.servers(reversed(first))
    sorted_homes = program.homes(1000)
    assert program.attach(path) == 0
    assert program.homes(1000) == sorted_homes

    program.obey("reset", "set DISTRIBUTION 0", "set AUTO_EJECT_HOSTS 1",
                 "set RETRY_TIMEOUT 30", "set SERVER_FAILURE_LIMIT 1",
                 "namespace app:")
    program.servers(first)
    plain = program.homes(1000)
    assert program.ask("fill 100") == {"SUCCESS": 100}
    assert program.attach(path) == 0
    assert program.homes(1000) == plain
    assert program.ask("look 100") == {"SUCCESS": 100}
    # A namespace that is hashed is part of the key for us, too.
    program.obey("reset", "namespace app:", "set HASH_WITH_PREFIX_KEY 1")
    program.servers(first)
    assert program.homes(1000) != plain
    plain = program.homes(1000)
    assert program.ask("fill 100") == {"SUCCESS": 100}
    assert program.attach(path) == 0
    assert program.homes(1000) == plain
    assert program.ask("look 100") == {"SUCCESS": 100}

    for distribution in (RANDOM, SPY):
        program.obey("reset")
        program.servers(first)
        program.obey(f"set DISTRIBUTION {distribution}")
        refused = program.ask(f"attach {path} 0")
        assert refused["err"] == EMOVES
        assert "what no scheme of a pool means" in refused["text"]


def test_replicas_stay_where_they_are(house, memcacheds, program):
    """The last server's replicas are on the first one."""
    checker = house.checker({"web": pool(memcacheds)}, shipped=True)
    program.obey("set BINARY_PROTOCOL 1", "set NUMBER_OF_REPLICAS 2")
    program.servers(memcacheds)
    assert program.attach(checker.path()) == 0
    assert program.ask("fill 400") == {"SUCCESS": 400}
    other = Program(house)
    other.obey("set BINARY_PROTOCOL 1", "set NUMBER_OF_REPLICAS 2")
    other.servers(memcacheds)
    assert other.homes(400) == program.homes(400)

    def items():
        found = []
        for s in memcacheds:
            stats = talk(s, "stats items\r\n") + talk(s, "stats\r\n")
            found.append(int(re.search(r"curr_items (\d+)", stats).group(1)))
        return found

    # What replicas are sent waits in a buffer, which is emptied here.
    program.ask("quit")
    wait_until(lambda: sum(items()) > 2.9 * 400, "all are stored")
    ours = items()
    assert other.ask("flush") == {"rc": "SUCCESS"}
    assert other.ask("fill 400") == {"SUCCESS": 400}
    other.ask("quit")
    wait_until(lambda: items() == ours, "as many on each as before")


def talk(server, line):
    import socket
    with socket.create_connection((server.ip, server.port), 10) as s:
        s.sendall(line.encode())
        answer = b""
        while not answer.endswith(b"END\r\n"):
            answer += s.recv(4096)
        return answer.decode()


def test_servers_that_differ(house, memcacheds, program):
    """A blank handle is given all; a ring's list is completed, since no key
    that the pool's other clients know moves; a modula handle with fewer
    servers is not what the pool is."""
    checker = house.checker({
        "ring": pool(memcacheds, "libmemcached-ketama"),
        "web": pool(memcacheds), "native": pool(memcacheds, "maglev")},
        shipped=True)
    for name in ("native", "ring", "web"):
        program.obey("reset")
        assert program.ask(f"attach {checker.path(name)} 0")["servers"] == 5
        assert program.ask("fill 100") == {"SUCCESS": 100}
    program.obey("reset", f"set DISTRIBUTION {CONSISTENT}")
    program.servers(memcacheds[1:])
    assert program.attach(checker.path("ring")) == 0
    ours = program.homes()
    program.obey("reset", f"set DISTRIBUTION {CONSISTENT}")
    program.servers(memcacheds)
    assert program.homes() == ours
    # Another order is another list to modula, and the same to a ring.
    program.obey("reset", f"set DISTRIBUTION {CONSISTENT}")
    program.servers(memcacheds[::-1])
    assert program.attach(checker.path("ring")) == 0
    assert program.homes() == ours
    program.obey("reset")
    program.servers(memcacheds[::-1])
    assert program.attach(checker.path()) == EMOVES
    # Names are resolved to see whether they are the pool's, and stay.
    program.obey("reset")
    for s in memcacheds:
        program.obey(f"server localhost {s.port} 0")
    before = program.homes()
    assert program.attach(checker.path()) == 0
    assert program.homes() == before and before[0].startswith("localhost:")


def test_ipv6_and_unix(house, tmp_path, program):
    servers = [house.memcached(name="six", ip="::1"),
               house.memcached(name="path", unix=tmp_path / "m.sock"),
               house.memcached(name="four")]
    checker = house.checker({"web": pool(servers, "libmemcached-ketama")})
    checker.wait_verdicts("UP")
    program.obey(f"set DISTRIBUTION {CONSISTENT}")
    program.servers(servers)
    before = program.homes()
    assert set(before) == {where(s) for s in servers}
    assert program.ask("fill 300") == {"SUCCESS": 300}
    assert program.attach(checker.path()) == 0
    assert program.homes() == before
    program.obey("reset")
    assert program.attach(checker.path()) == 0
    assert program.homes() == before
    assert program.ask("look 300") == {"SUCCESS": 300}


# Trouble --------------------------------------------------------------------

def test_killed(attached, memcacheds, checker):
    """Other keys never move, the dead one's go elsewhere; return restores."""
    before = attached.homes()
    assert attached.ask("fill 400") == {"SUCCESS": 400}
    memcacheds[1].kill()
    checker.wait_verdicts({"cache1": "DOWN"})
    after = attached.homes()
    dead = where(memcacheds[1])
    assert all(a == b for a, b in zip(after, before) if b != dead)
    assert {a for a, b in zip(after, before) if b == dead} == \
        {where(m) for m in memcacheds} - {dead}
    lost = before[:400].count(dead)
    assert attached.ask("look 400") == {"SUCCESS": 400 - lost,
                                        "NOT FOUND": lost}
    assert attached.ask("fill 400") == {"SUCCESS": 400}
    assert attached.ask("look 400") == {"SUCCESS": 400}
    memcacheds[1].restart()
    checker.wait_verdicts("UP")
    # The old connection fails when it is used, and so suspicion falls on the
    # server until it has answered another probe.
    wait_until(lambda: attached.ask("look 400") == {
        "SUCCESS": 400 - lost, "NOT FOUND": lost}, "its keys are back, lost")
    assert attached.homes() == before


def test_this_process_knows_first(attached, memcacheds, checker):
    """One operation fails, and the next one for that key goes elsewhere,
    though the checker has not said a word."""
    key = attached.key(memcacheds[2])
    assert attached.ask(f"store {key} x")["rc"] == "SUCCESS"
    checker.process.stop()
    memcacheds[2].kill()
    codes = []
    while not codes or codes[-1] not in ("NOT FOUND", "SUCCESS"):
        codes.append(attached.ask(f"get {key}")["rc"])
        assert len(codes) < 4, codes
    assert attached.ask(f"store {key} elsewhere")["rc"] == "SUCCESS"
    assert attached.ask(f"get {key}")["value"] == "elsewhere"
    checker.process.cont()


def test_a_server_that_refused_is_asked_again(house, memcacheds, program,
                                              checker):
    """As soon as the checker says so, whatever libmemcached's own rules."""
    plain = Program(house)
    plain.servers(memcacheds)
    program.obey("set RETRY_TIMEOUT 3600", "set SERVER_FAILURE_LIMIT 1")
    program.servers(memcacheds)
    assert program.attach(checker.path()) == 0
    key = program.key(memcacheds[1])
    checker.process.stop()
    memcacheds[1].kill()
    assert program.ask(f"get {key}")["rc"] == "CONNECTION FAILURE"
    memcacheds[1].restart()
    assert plain.ask(f"store {key} home")["rc"] == "SUCCESS"
    checker.process.cont()
    wait_until(lambda: program.ask(f"get {key}")["value"] == "home",
               "it is asked again")
    assert program.ask("detach")["err"] == 0


def test_stopped(house, attached, memcacheds, checker):
    """HELD is a miss at once; a plain handle waits."""
    plain = Program(house)
    plain.servers(memcacheds)
    plain.obey("set POLL_TIMEOUT 700")
    assert attached.ask("fill 400") == {"SUCCESS": 400}
    key, held = attached.key(memcacheds[3]), where(memcacheds[3])
    lost = attached.homes(400).count(held)
    checker.defaults["rehash_after"] = "10m"
    checker.reload()
    memcacheds[3].stop()
    checker.wait_verdicts({"cache3": "HELD"})
    waited = plain.ask(f"get {key}")
    ours = attached.ask(f"get {key}")
    assert waited["rc"] != "SUCCESS" and ours["rc"] == DISABLED
    assert ours["us"] < waited["us"]
    assert attached.ask("look 400") == {"SUCCESS": 400 - lost,
                                        DISABLED: lost}
    # Stored nowhere.
    assert attached.ask(f"store {key} late")["rc"] == DISABLED
    assert attached.ask(f"delete {key}")["rc"] == DISABLED
    many = attached.ask("mget " + " ".join(f"key:{i}" for i in range(50)))
    home = attached.homes(50)
    assert set(many["values"]) == {f"key:{i}" for i in range(50)
                                   if home[i] in map(where, memcacheds)}
    assert (many["sent"], many["rc"]) == ("SUCCESS", "SERVER END")
    # The server that is nowhere is one of those that are asked for all.
    memcacheds[3].cont()
    checker.wait_verdicts("UP")
    assert attached.ask("version") == {"rc": "SOME ERRORS WERE REPORTED"}
    assert attached.ask(f"get {key}")["value"] == "1"
    assert attached.ask("flush") == {"rc": "SOME ERRORS WERE REPORTED"}
    assert attached.ask("look 400") == {"NOT FOUND": 400}


@pytest.mark.parametrize("dead", ["miss", "error"])
def test_dead_is_a_miss_at_once(house, memcacheds, program, dead):
    checker = house.checker({"web": pool(memcacheds)},
                            defaults={"dead": dead})
    checker.wait_verdicts("UP")
    assert program.attach(checker.path()) == 0
    assert program.ask("fill 100") == {"SUCCESS": 100}
    lost = program.homes(100).count(where(memcacheds[0]))
    memcacheds[0].kill()
    checker.wait_verdicts({"cache0": "DOWN"})
    for _ in range(2):
        assert program.ask("look 100") == {"SUCCESS": 100 - lost,
                                           DISABLED: lost}


def test_nobody_is_usable(house, memcacheds, program, checker):
    assert program.attach(checker.path()) == 0
    for m in memcacheds:
        m.kill()
    checker.wait_verdicts("DOWN")
    assert program.ask("look 50") == {DISABLED: 50}
    # A program that starts now gets its servers, and finds them later.
    other = Program(house)
    other.servers(memcacheds)
    assert other.attach(checker.path()) == 0
    for m in memcacheds:
        m.restart()
    checker.wait_verdicts("UP")
    for one in (program, other):
        assert one.ask("fill 50") == {"SUCCESS": 50}


@pytest.mark.takes(5)
def test_a_timeout_is_told_to_the_checker(house, memcacheds, program):
    """Probes are minutes apart: who meets a hung server says so, and other
    processes do not wait for it."""
    checker = house.checker(
        {"web": pool(memcacheds)}, shipped=True,
        defaults={"interval": "5m", "fast_interval": "250ms"})
    checker.wait_verdicts("UP")
    other = Program(house)
    for one in (program, other):
        one.obey("set POLL_TIMEOUT 300")
        assert one.attach(checker.path()) == 0
        assert one.ask("fill 50") == {"SUCCESS": 50}
    key = program.key(memcacheds[2])
    memcacheds[2].stop()
    assert program.ask(f"get {key}")["rc"] not in ("SUCCESS", "NOT FOUND")
    # The next operation, whatever it is, finds out what became of that one.
    program.ask(f"get {program.key(memcacheds[0])}")
    wait_until(lambda: other.ask(f"get {key}")["rc"] == DISABLED, "HELD", 20)


def test_one_failure_of_many_keys_is_seen(house, memcacheds, program):
    """Of a memcached_mget() to all servers the failed one is not the last."""
    checker = house.checker(
        {"web": pool(memcacheds)}, shipped=True,
        defaults={"interval": "5m", "fast_interval": "250ms"})
    checker.wait_verdicts("UP")
    program.obey("set POLL_TIMEOUT 300")
    assert program.attach(checker.path()) == 0
    assert program.ask("fill 50") == {"SUCCESS": 50}
    keys = [program.key(m) for m in memcacheds]
    memcacheds[0].stop()
    probes = checker.servers()["cache0"]["probes"]
    assert program.ask("mget " + " ".join(keys))["rc"] != "SERVER END"

    def told():
        program.ask(f"get {keys[3]}")
        return checker.servers()["cache0"]["probes"] > probes
    wait_until(told, "a probe was asked for")


# Clones, pools, other rosters -----------------------------------------------

def test_clones_outlive_their_source(attached, memcacheds, checker):
    assert attached.ask("fill 100") == {"SUCCESS": 100}
    before = attached.homes(1000)
    for n in range(3):
        assert attached.ask("clone") == {"handle": n + 1}
    attached.ask("free 0")
    memcacheds[1].kill()
    checker.wait_verdicts({"cache1": "DOWN"})
    lost = before[:100].count(where(memcacheds[1]))
    for n in (3, 1, 2):
        attached.ask(f"use {n}")
        assert attached.ask("look 100") == {"SUCCESS": 100 - lost,
                                            "NOT FOUND": lost}
    assert attached.ask("detach")["servers"] == 4
    assert attached.homes(1000) == before
    attached.ask("use 3")
    assert attached.homes(1000) != before
    attached.obey("reset")
    assert attached.ask("detach")["err"] == EINVAL
    assert attached.end() == 0


def test_callbacks_of_the_program(program, memcacheds, checker):
    program.servers(memcacheds)
    program.ask("callbacks on")
    assert program.attach(checker.path()) == 0
    assert program.ask("callbacks") == {"clones": 0, "cleanups": 0,
                                        "misses": 0}
    program.ask("clone")
    assert program.ask("get nothing")["rc"] == "NOT FOUND"
    program.ask("free 1")
    program.ask("use 0")
    counts = {"clones": 1, "cleanups": 1, "misses": 1}
    assert program.ask("callbacks") == counts
    assert program.ask("detach")["err"] == 0
    assert program.ask("clone") == {"handle": 2}
    program.ask("free 2")
    program.ask("use 0")
    assert program.ask("callbacks") == counts | {"clones": 2, "cleanups": 2}


@pytest.mark.takes(5)
def test_pool_of_handles(house, attached, memcacheds, checker):
    assert attached.ask("fill 500") == {"SUCCESS": 500}
    assert attached.ask("workers 4 4000") == {"bad": 0}
    lost = memcacheds[1]
    lost.kill()
    checker.wait_verdicts({"cache1": "DOWN"})
    assert attached.ask("fill 500") == {"SUCCESS": 500}
    assert attached.ask("workers 4 4000") == {"bad": 0}
    checker.pools["web"]["server"] = [s.line for s in memcacheds
                                      if s is not lost]
    checker.reload()
    wait_until(lambda: attached.ask("refresh")["servers"] == 4, "the third")
    assert attached.ask("fill 500") == {"SUCCESS": 500}
    assert attached.ask("workers 8 2000") == {"bad": 0}


class Change:
    """A pool of three that gets a fourth."""

    def __init__(self, house, memcacheds):
        self.memcacheds = memcacheds
        self.checker = house.checker({"web": pool(memcacheds[:3])})
        self.checker.wait_verdicts("UP")
        self.path = self.checker.path()

    def grow(self, servers):
        self.checker.pools["web"]["server"] = [s.line for s in servers]
        self.checker.reload()
        self.checker.wait_verdicts("UP")


def plain_homes(house, servers, n=1000):
    plain = Program(house)
    plain.servers(servers)
    return plain.homes(n)


def test_a_roster_that_grows(house, memcacheds, program):
    """Before the handle has the new server its keys are misses; all others
    are where the new roster has them; a miss or a call brings it."""
    change = Change(house, memcacheds)
    program.servers(memcacheds[:3])
    assert program.attach(change.path) == 0
    old = program.homes(1000)
    # Slots of all servers are others now.
    grown = [memcacheds[3], *memcacheds[:3]]
    change.grow(grown)
    new = plain_homes(house, grown)
    wait_until(lambda: NOWHERE in program.homes(1000), "it knows")
    between = program.homes(1000)
    missing = {b for b, n in zip(between, new) if n == where(memcacheds[3])}
    assert missing == {NOWHERE}
    assert all(b == n for b, n in zip(between, new)
               if n != where(memcacheds[3]))
    assert new != old
    assert program.ask("refresh") == {"err": 1, "text": "no error",
                                      "servers": 5}
    assert program.homes(1000) == new
    assert program.ask("refresh")["err"] == 0
    assert program.ask("fill 100") == {"SUCCESS": 100}


def test_two_lines_are_enough_to_follow(house, memcacheds, program):
    """memcached_get() that misses does what refresh does; so does a clone."""
    change = Change(house, memcacheds)
    assert program.attach(change.path) == 0
    program.ask("clone")
    change.grow(memcacheds[1:])
    new = plain_homes(house, memcacheds[1:])
    for handle in (0, 1):
        program.ask(f"use {handle}")
        wait_until(lambda: program.ask("get nothing") and
                   program.ask("get nobody") and program.homes(1000) == new,
                   "the new servers")
        assert program.ask("fill 100") == {"SUCCESS": 100}
        assert program.ask("refresh")["err"] == 0
    change.grow(memcacheds)
    program.ask("use 0")
    newest = plain_homes(house, memcacheds)
    wait_until(lambda: newest.count(where(memcacheds[0])) ==
               program.homes(1000).count(NOWHERE), "it knows")
    program.ask("clone")
    assert program.homes(1000) == newest


def test_wrong_uses(house, memcacheds, program, checker):
    assert program.attach(checker.path("none")) == ENOENT
    assert program.attach(checker.path(), 2) == EINVAL
    assert program.ask("refresh")["err"] == EINVAL
    assert program.ask("detach")["err"] == EINVAL
    assert program.attach(checker.path()) == 0
    assert program.attach(checker.path()) == EINVAL
    # A hash of its own ends it; nothing is read that is not there.
    program.obey("set HASH 1")
    assert program.ask("refresh")["err"] == EINVAL


# Cleanliness ----------------------------------------------------------------

@pytest.mark.takes(20)
@pytest.mark.skipif(bool(SAN), reason="a sanitizer looks itself")
def test_valgrind_finds_nothing(house, memcacheds, checker):
    log = house.directory / "valgrind"
    program = Program(house, before=[
        "valgrind", "-q", "--leak-check=full", "--error-exitcode=9",
        "--show-leak-kinds=definite,indirect,possible",
        f"--log-file={log}"])
    program.servers(memcacheds)
    assert program.attach(checker.path()) == 0
    program.ask("clone")
    assert program.ask("fill 50") == {"SUCCESS": 50}
    memcacheds[1].kill()
    program.ask("look 50")
    checker.pools["web"]["server"] = [s.line for s in memcacheds[1:]]
    checker.reload()
    program.ask("look 50")
    program.ask("workers 3 20")
    program.ask("detach")
    assert program.attach(checker.path(), MOVE_KEYS) == 0
    program.ask("clone")
    program.ask("free 0")
    code = program.end()
    assert code == 0, log.read_text()


# Two lines ------------------------------------------------------------------

ORDINARY = r"""
#include <libmemcached/memcached.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	memcached_st *memc = memcached_create(NULL);
	int found = 0, missed = 0, failed = 0;

	memcached_behavior_set(memc, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1);
	for (int i = 2; i < argc; i++)
		memcached_server_add(memc, "127.0.0.1", atoi(argv[i]));
	/* ready */
	for (int i = 0; i < 300; i++) {
		memcached_return_t rc;
		uint32_t flags;
		size_t len;
		char key[16], *value;

		snprintf(key, sizeof key, "key:%d", i);
		value = memcached_get(memc, key, strlen(key), &len, &flags,
		    &rc);
		if (rc == MEMCACHED_SUCCESS)
			found++;
		else if (rc == MEMCACHED_NOTFOUND)
			missed++;
		else
			failed++;
		free(value);
		if (rc != MEMCACHED_SUCCESS)
			memcached_set(memc, key, strlen(key), "1", 1, 0, 0);
	}
	printf("%d %d %d\n", found, missed, failed);
	memcached_free(memc);
	return 0;
}
"""


def compile_it(path, *options):
    san = [f"-fsanitize={SAN}"] if SAN else []
    subprocess.run(
        [*os.environ.get("CC", "cc").split(), "-Wall", "-Werror", *san,
         "-I", ROOT / "include", "-I", ROOT / "clients/libmemcached", "-o",
         path.with_suffix(""), path, "-L", BUILD, f"-Wl,-rpath,{BUILD}",
         *options, "-lmemcached"], check=True)
    return path.with_suffix("")


def test_an_ordinary_program_with_two_lines_more(house, memcacheds, tmp_path):
    checker = house.checker(
        {"web": pool(memcacheds, "libmemcached-ketama-weighted")})
    checker.wait_verdicts("UP")
    before, after = tmp_path / "before.c", tmp_path / "after.c"
    before.write_text(ORDINARY)
    after.write_text(subprocess.run(
        ["sed", "-e", "1i #include <mcshm-memcached.h>",
         "-e", "/ready/i mcshm_memcached_attach(memc, argv[1], 0);", before],
        check=True, text=True, capture_output=True).stdout)
    assert len(after.read_text().splitlines()) == \
        len(before.read_text().splitlines()) + 2
    plain = compile_it(before)
    ours = compile_it(after, "-lmcshm-memcached", "-lmcshm")

    def run(program):
        done = house.run(program, checker.path(),
                         *(m.port for m in memcacheds),
                         env={"LD_LIBRARY_PATH": str(BUILD)})
        return tuple(map(int, done.stdout.split()))

    assert run(plain) == (0, 300, 0)
    # What the plain one has stored is where ours looks, and the other way.
    assert run(ours) == run(plain) == (300, 0, 0)
    memcacheds[2].kill()
    checker.wait_verdicts({"cache2": "DOWN"})
    found, missed, failed = run(plain)
    assert found < 300 and failed == 300 - found
    assert run(ours) == (found, 300 - found, 0)
    assert run(ours) == (300, 0, 0)
