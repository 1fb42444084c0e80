"""libmemcached, asked by its own memcached_generate_hash().

It aborts where a ring would have more than 100 servers, so that nobody has such
a fleet; rings of more are compared with nutcracker, which builds the same ones.
"""
import dataclasses

import pytest

from peerlib import Question, ask_all, mixed, plain, points, weighted

pytestmark = pytest.mark.xdist_group("peers-libmemcached")

# Debian's has no hsieh; nutcracker has.
HASHES = ["one_at_a_time", "md5", "crc", "fnv1_64", "fnv1a_64", "fnv1_32",
          "fnv1a_32", "murmur", "murmur3", "jenkins"]
RINGS = [plain(1), mixed(2), plain(3), mixed(7), plain(10, 11212), mixed(25),
         plain(47), mixed(100), plain(100), plain(3) + mixed(4) + plain(2)]
LISTS = RINGS + [plain(1000), mixed(1000)]


def question(servers, scheme, hash, points=None, distribution=None, **more):
    ours = {"scheme": f"libmemcached-{scheme}", "hash": hash}
    theirs = {"distribution": distribution, "hash": hash}
    if points:
        ours["points_hash"] = theirs["points"] = points
    for word in ("map",):
        if word in more:
            ours[word] = theirs[word] = more.pop(word)
    return Question(servers, ours, theirs, **more)


def modula(servers, hash, **more):
    return question(servers, "modula", hash, distribution="modula", **more)


def ketama(servers, hash, **more):
    return question(servers, "ketama", hash, distribution="consistent", **more)


def ketama_weighted(servers, hash, **more):
    return question(servers, "ketama-weighted", hash, distribution="weighted",
                    **more)


def bucket(servers, hash, **more):
    return question(servers, "virtual-bucket", hash, distribution="bucket",
                    **more)


@pytest.fixture
def peer(pair):
    return pair("libmemcached")


@pytest.mark.parametrize("hash", HASHES)
def test_hashes(peer, keys, hash):
    """The numbers themselves, of keys of any length and any bytes."""
    asked = Question([], {"scheme": "libmemcached-modula", "hash": hash,
                          "digest": None}, {"hash": hash, "digest": None})
    ask_all(peer, keys("any"), [asked], tries=2)


@pytest.mark.parametrize("hash", HASHES)
def test_modula(peer, keys, hash):
    ask_all(peer, keys("any"), [modula(v, hash) for v in LISTS])


@pytest.mark.parametrize("hash", HASHES)
def test_ketama(peer, keys, hash):
    ask_all(peer, keys("any"), [ketama(v, hash) for v in RINGS])


def test_ketama_points_of_another_hash(peer, keys):
    """HASH set after the distribution: the points keep the old one."""
    ask_all(peer, keys("any"),
            [ketama(v, hash, points=old) for v in (plain(3), mixed(10))
             for hash in HASHES for old in HASHES])


@pytest.mark.parametrize("hash", HASHES)
def test_ketama_weighted(peer, keys, hash):
    """Equal weights have 160 points, or 156, by the rounding of floats."""
    lists = RINGS + [plain(n) for n in (50, 55, 61, 71, 94)]
    lists += [weighted(v) for v in RINGS]
    lists += [weighted(mixed(10), most=1000), weighted(plain(100), most=1000)]
    ask_all(peer, keys("any"), [ketama_weighted(v, hash) for v in lists])


@pytest.mark.parametrize("hash", HASHES)
def test_virtual_bucket(peer, keys, hash):
    """Without a map, too; the number of buckets need not be a power of two,
    although only some of them are reached then."""
    def spread(servers, buckets):
        return " ".join(str(i * 7 % servers) for i in range(buckets))

    ask_all(peer, keys("any"),
            [bucket(v, hash) for v in LISTS] +
            [bucket(plain(n), hash, map=spread(n, m)) for n, m in
             ((1, 4), (2, 8), (3, 8), (3, 6), (10, 1024), (1000, 4096))])


# One that is down ----------------------------------------------------------

DOWN = [(plain(2), (0,)), (plain(3), (1,)), (mixed(7), (6,)),
        (mixed(10), (2, 3, 7)), (plain(47), (11,)), (mixed(100), (0,)),
        (plain(100), tuple(range(0, 100, 3)))]


@pytest.mark.parametrize("hash", ["one_at_a_time", "md5", "crc"])
def test_ketama_ejection(peer, keys, hash):
    """AUTO_EJECT_HOSTS: the ring without the points of the dead."""
    ask_all(peer, keys("any"),
            [ketama(v, hash, down=down) for v, down in DOWN])


def ring_moves(servers, down):
    """Whether the others get other numbers of points, once these are out."""
    left = [s.weight for i, s in enumerate(servers) if i not in down]
    before = points([s.weight for s in servers])
    return points(left) != [p for i, p in enumerate(before) if i not in down]


def test_ketama_weighted_ejection(peer, keys):
    same = [(v, down) for v, down in DOWN if not ring_moves(v, down)]
    assert len(same) >= 4
    ask_all(peer, keys("any"), [ketama_weighted(v, hash, down=down)
                                for v, down in same
                                for hash in ("md5", "fnv1a_64")])


@pytest.mark.parametrize("servers, down", [
    (plain(25), (3,)),              # 156 points each; 160 without one of them
    (plain(26), (3,)),              # 160; 156
    (weighted(plain(10)), (4,)),
])
def test_ketama_weighted_ejection_moves_keys(peer, keys, servers, down):
    """Where the others' numbers of points change, libmemcached moves keys of
    servers that live.  We do not: in this alone we differ."""
    assert ring_moves(servers, down)
    up = ketama_weighted(servers, "md5")
    less = dataclasses.replace(up, down=down)
    home, ours, theirs = [], [], []
    for _, mine, _ in peer.both(up, keys("any"), 0, 10000):
        home += mine
    for _, mine, its in peer.both(less, keys("any"), 0, 10000):
        ours += mine
        theirs += its
    live = [i for i, h in enumerate(home) if h not in down]
    assert all(ours[i] == home[i] for i in live)
    assert any(theirs[i] != home[i] for i in live)
    # Of the dead one's keys most go where theirs go.
    dead = [i for i, h in enumerate(home) if h in down]
    assert sum(ours[i] == theirs[i] for i in dead) > 0.8 * len(dead)
