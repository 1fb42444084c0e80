"""pymemcache, python-memcached, Cache::Memcached: clients in Python and
Perl."""
import pytest

from peerlib import KEYS, Question, ask_all, downs, mixed, plain, weighted

pytestmark = [pytest.mark.xdist_group("peers-scripted"), pytest.mark.takes(8)]

LISTS = [plain(1), plain(2), mixed(3), plain(7, 11212), mixed(10), mixed(25),
         plain(47), mixed(100), plain(1000)]
BUCKETS = LISTS + [weighted(mixed(3)), weighted(plain(10)),
                   weighted(mixed(100)), plain(3) + mixed(4) + plain(2)]


# pymemcache ----------------------------------------------------------------

RENDEZVOUS = {"pymemcache": "pymemcache-rendezvous",
              "pymemcache-bytes": "pymemcache-rendezvous-bytes"}


def rendezvous(client, servers, down=(), **more):
    return Question(servers, {"scheme": RENDEZVOUS[client], **more},
                    {"client": client}, down)


@pytest.mark.parametrize("client", RENDEZVOUS)
def test_pymemcache(pair, keys, client):
    """str and bytes keys.  It costs them 15 us a key and server."""
    lists = LISTS + [plain(3), mixed(5, seed=1)]
    ask_all(pair("python"), keys("text"),
            [rendezvous(client, v) for v in lists],
            [len(v) + 3 for v in lists])


def test_pymemcache_bytes_of_any_kind(pair, keys):
    """repr() has quotes and escapes of its own."""
    ask_all(pair("python"), keys("protocol"),
            [rendezvous("pymemcache-bytes", v) for v in (plain(3), mixed(5))])


@pytest.mark.parametrize("client", RENDEZVOUS)
def test_pymemcache_order(pair, keys, client):
    """remove_node() of the best, and again: all of the key's servers."""
    pair("python").compare(rendezvous(client, mixed(7), order=None),
                           keys("text"), 0, 300, tries=7)


@pytest.mark.parametrize("client", RENDEZVOUS)
def test_pymemcache_without_the_dead(pair, keys, client):
    ask_all(pair("python"), keys("text"),
            [rendezvous(client, v, down) for v in (mixed(3), plain(10))
             for down in downs(v, client)], total=KEYS // 5)


# Chains of tries -----------------------------------------------------------

CHAINS = {
    # driver, its client, scheme, tries it makes
    "python-memcached": ("python", "python-memcached", 10),
    "cache-memcached": ("cache-memcached", None, 20),
}


def chain(scheme, servers, down=()):
    client = CHAINS[scheme][1]
    return Question(servers, {"scheme": scheme},
                    {"client": client} if client else {}, down)


@pytest.mark.parametrize("scheme", CHAINS)
def test_home(pair, keys, scheme):
    ask_all(pair(CHAINS[scheme][0]), keys("any"),
            [chain(scheme, v) for v in BUCKETS])


@pytest.mark.parametrize("scheme", CHAINS)
def test_chain(pair, keys, scheme):
    """Every try of every key."""
    ask_all(pair(CHAINS[scheme][0]), keys("any"),
            [chain(scheme, v) for v in BUCKETS if len(v) > 1],
            tries=CHAINS[scheme][2], total=KEYS // 2)


@pytest.mark.parametrize("scheme", CHAINS)
def test_past_the_dead(pair, keys, scheme):
    """Where they give up, we still find a server that lives."""
    given_up = ask_all(
        pair(CHAINS[scheme][0]), keys("any"),
        [chain(scheme, v, down) for v in BUCKETS for down in downs(v, scheme)],
        gives_up=True)
    assert given_up > 0
