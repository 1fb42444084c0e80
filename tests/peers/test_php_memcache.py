"""php's memcache extension (not memcached, which is libmemcached)."""
import pytest

from peerlib import Question, ask_all, downs, mixed, plain, weighted

pytestmark = pytest.mark.xdist_group("peers-php")

LISTS = [plain(1), plain(2), mixed(3), plain(7, 11212), mixed(10), mixed(25),
         plain(47), mixed(100), plain(1000), weighted(mixed(3)),
         weighted(plain(10)), weighted(mixed(100)),
         plain(3) + mixed(4) + plain(2)]
HASHES = {"crc32": "crc32a", "fnv": "fnv1a_32"}
EVERY = [(strategy, hash) for strategy in ("standard", "consistent")
         for hash in HASHES]


def question(strategy, hash, servers, down=()):
    return Question(servers,
                    {"scheme": f"php-memcache-{strategy}",
                     "hash": HASHES[hash]},
                    {"strategy": strategy, "function": hash}, down)


@pytest.fixture
def peer(pair):
    return pair("php-memcache")


@pytest.mark.parametrize("strategy, hash", EVERY)
def test_home(peer, keys, strategy, hash):
    ask_all(peer, keys("protocol"),
            [question(strategy, hash, v) for v in LISTS])


@pytest.mark.parametrize("strategy, hash", EVERY)
def test_past_the_dead(peer, keys, strategy, hash):
    """Where it gives up, it goes on with a server that is dead; we find one
    that lives."""
    asked = [question(strategy, hash, v, down)
             for v in LISTS for down in downs(v)]
    assert ask_all(peer, keys("protocol"), asked, gives_up=True) > 0
