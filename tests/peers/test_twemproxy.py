"""nutcracker, twemproxy's program, between a client and servers that answer
with their own number."""
import functools
import hashlib
import itertools
import struct
import subprocess

import pytest

from peerlib import (KEYS, Question, Server, ask_all, mixed, plain, points,
                     weighted)

# Name here, name in libmcshm.
HASHES = {"one_at_a_time": "one_at_a_time", "md5": "md5", "crc16": "crc16",
          "crc32": "crc", "crc32a": "crc32a", "fnv1_64": "fnv1_64",
          "fnv1a_64": "fnv1a_64", "fnv1_32": "fnv1_32",
          "fnv1a_32": "fnv1a_32", "hsieh": "hsieh", "murmur": "murmur",
          "jenkins": "jenkins"}

pytestmark = [pytest.mark.xdist_group("peers-twemproxy"), pytest.mark.takes(8)]


def needs_unshare():
    done = subprocess.run(["unshare", "--net", "--mount", "true"], text=True,
                          capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"unshare does not work here: {done.stderr.strip()}")


@pytest.fixture
def peer(pair):
    needs_unshare()
    return pair("twemproxy")


def question(servers, distribution, hash="fnv1a_64", down=(), **more):
    ours = {"scheme": f"twemproxy-{distribution}", "hash": HASHES[hash], **more}
    theirs = {"distribution": distribution, "hash": hash, **more}
    if down:
        theirs["eject"] = None
    return Question(servers, ours, theirs, down)


@pytest.mark.parametrize("distribution", ["ketama", "modula"])
def test_hashes(peer, keys, distribution):
    ask_all(peer, keys("protocol"), [
        question(mixed(10, names=True), distribution, hash)
        for hash in HASHES])


LISTS = [plain(1), mixed(2), plain(3), plain(3, 11212), mixed(7, names=True),
         plain(10), mixed(25, names=True), plain(47), mixed(100),
         plain(1000), weighted(mixed(3)), weighted(mixed(10, names=True)),
         weighted(plain(100)), weighted(plain(10), most=1000)]


@pytest.mark.parametrize("distribution", ["ketama", "modula"])
def test_lists(peer, keys, distribution):
    ask_all(peer, keys("protocol"),
            [question(v, distribution) for v in LISTS])


@pytest.mark.parametrize("distribution", ["ketama", "modula"])
@pytest.mark.parametrize("tag", ["{}", "::", "ab"])
def test_hash_tag(peer, keys, distribution, tag):
    """Of all keys with a tag, and of those between."""
    for kind in ("protocol", "tagged"):
        ask_all(peer, keys(kind),
                [question(plain(7), distribution, hash_tag=tag)],
                total=KEYS // 4)


def md5_words(text):
    return struct.unpack("<4I", hashlib.md5(text.encode()).digest())


@functools.lru_cache
def keys_before_ties():
    """Of 1000 servers: keys, hashed by md5, whose point has two owners."""
    ring = sorted(point for s in plain(1000) for j in range(40)
                  for point in md5_words(f"{s.host}-{j}"))
    gaps = [(ring[i - 1], ring[i]) for i in range(1, len(ring) - 1)
            if ring[i - 1] < ring[i] == ring[i + 1]]
    assert gaps
    found = (key for key in map("key:{}".format, itertools.count())
             if any(a < md5_words(key)[0] <= b for a, b in gaps))
    return [key.encode() for key in itertools.islice(found, 3)]


@pytest.mark.parametrize("turned", [False, True])
def test_points_of_two_servers(peer, keys, turned):
    """Of 160 000 points some are equal.  Whose they are depends on the order
    in which nutcracker has its servers: that of their names, not ours."""
    servers = plain(1000)[::-1 if turned else 1]
    assert set(points([1] * 1000)) == {160}
    ties = keys("protocol").made("ties", keys_before_ties())
    peer.compare(question(servers, "ketama", "md5"), ties, 0, 3)


def test_ejection(peer, keys):
    """auto_eject_hosts: the ring without the points of the dead, as long as
    the numbers of the others' points stay what they were."""
    cases = [(plain(2), (1,)), (plain(3), (0,)), (mixed(10, names=True), (3,)),
             (mixed(10), (0, 1, 9)), (plain(99), (17,)),
             (plain(1000), (17, 801))]
    for servers, down in cases:
        left = [s.weight for i, s in enumerate(servers) if i not in down]
        assert set(points(left)) == set(points([s.weight for s in servers]))
    ask_all(peer, keys("protocol"),
            [question(v, "ketama", down=down) for v, down in cases])


def moved(peer, keys, servers, distribution, down):
    """Of the keys whose server lives, how many does who move?"""
    count = min(KEYS, 10000)
    up = question(servers, distribution)
    less = question(servers, distribution, down=down)
    home = [h for _, h, _ in peer.both(up, keys("protocol"), 0, count)]
    after = [pair[1:] for pair in peer.both(less, keys("protocol"), 0, count)]
    live = [(h, mine, its) for homes, (ours, theirs) in zip(home, after)
            for h, mine, its in zip(homes, ours, theirs) if h not in down]
    return (sum(mine != h for h, mine, _ in live),
            sum(its != h for h, _, its in live), len(live))


def test_modula_ejection_moves_keys(peer, keys):
    """The list is shorter by one: nearly all keys have another server.  We
    move none of a server that lives: in this alone we differ."""
    ours, theirs, live = moved(peer, keys, plain(10), "modula", (4,))
    assert ours == 0 and theirs > 0.8 * live


def test_weighted_ejection_moves_keys(peer, keys):
    """As libmemcached's."""
    for servers in (plain(25), weighted(plain(10))):
        ours, theirs, live = moved(peer, keys, servers, "ketama", (4,))
        assert ours == 0 and 0 < theirs < 0.5 * live


def test_names_are_what_counts(peer, keys):
    """Who has a name is known by it, wherever it is."""
    here = [Server(f"10.1.0.{i + 1}", name=f"cache{i}") for i in range(5)]
    there = [Server(f"fd00::{i}", 4000 + i, name=f"cache{i}")
             for i in range(5)]
    answers = []
    for servers in (here, there):
        pieces = list(peer.both(question(servers, "ketama"),
                                keys("protocol"), 0, 1000))
        assert all(ours == theirs for _, ours, theirs in pieces)
        answers.append([ours for _, ours, _ in pieces])
    assert answers[0] == answers[1]
