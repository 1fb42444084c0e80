"""The whole way: lines of an ini, mc-checkerd, its file, mcshm_pick(); and the
peer, which has never heard of us."""
import dataclasses
import os
import re
import sys

import pytest

from peerlib import HERE, KEYS, ROOT, mixed, plain, weighted
from test_dalli import question as dalli
from test_libmemcached import bucket, ketama, ketama_weighted, modula
from test_php_memcache import question as php
from test_scripted import chain, rendezvous
from test_twemproxy import needs_unshare, question as twemproxy

sys.path.insert(0, os.path.join(HERE, "..", "system"))

from harness import House                                   # noqa: E402

pytestmark = [pytest.mark.xdist_group("peers-whole-way"), pytest.mark.takes(6)]


def repeated(servers):
    """Weight by repetition: the ini wants another name for each."""
    return [dataclasses.replace(s, name=f"copy{i}")
            for i, s in enumerate(servers)]


# Pool: the peer that is asked, how it is asked, with what keys.
POOLS = {
    "modula": ("libmemcached", modula(mixed(25), "fnv1a_64"), "any"),
    "ketama": ("libmemcached", ketama(mixed(25), "one_at_a_time"), "any"),
    "points": ("libmemcached", ketama(plain(10), "md5", points="crc"), "any"),
    "repeats": ("libmemcached",
                ketama(repeated(plain(3) + plain(2)), "murmur3"), "any"),
    "weighted": ("libmemcached",
                 ketama_weighted(weighted(mixed(25)), "md5"), "any"),
    "equal": ("libmemcached", ketama_weighted(plain(100), "jenkins"), "any"),
    "bucket": ("libmemcached",
               bucket(plain(3), "crc", map="0 1 2 0 1 2 0 1"), "any"),
    "no-map": ("libmemcached", bucket(plain(10), "murmur"), "any"),
    "proxy": ("twemproxy",
              twemproxy(weighted(mixed(25, names=True)), "ketama"),
              "protocol"),
    "proxy1000": ("twemproxy", twemproxy(plain(1000), "ketama", "md5"),
                  "protocol"),
    "proxy-modula": ("twemproxy",
                     twemproxy(weighted(mixed(25, names=True)), "modula",
                               "hsieh", hash_tag="{}"), "tagged"),
    "perl": ("cache-memcached", chain("cache-memcached", weighted(mixed(25))),
             "any"),
    "python": ("python", chain("python-memcached", weighted(mixed(25))),
               "any"),
    "pymemcache": ("python", rendezvous("pymemcache", mixed(10)), "text"),
    "pymemcache-bytes": ("python", rendezvous("pymemcache-bytes", mixed(10)),
                         "protocol"),
    "php-standard": ("php-memcache",
                     php("standard", "crc32", weighted(mixed(25))),
                     "protocol"),
    "php-consistent": ("php-memcache",
                       php("consistent", "fnv", weighted(mixed(25))),
                       "protocol"),
    "php1000": ("php-memcache", php("consistent", "crc32", plain(1000)),
                "protocol"),
    "dalli": ("dalli", dalli(weighted(mixed(25))), "any"),
    "dalli1000": ("dalli", dalli(plain(1000)), "any"),
}

# Nobody is ever seen, and nobody is ever given up.
PATIENT = {"interval": "1h", "fast_interval": "1h", "down_interval": "1h",
           "fall": 64, "fall_ratio": "off", "hold_after": "1h",
           "rehash_after": "1h"}


def ini(question):
    keys = dict(question.ours)
    if "map" in keys:
        keys["buckets"] = keys.pop("map")
    return keys | {"server": [s.ini for s in question.servers]}


def with_hosts(house):
    """The beginning of a command that finds all names in /etc/hosts."""
    names = {s.host for _, q, _ in POOLS.values() for s in q.servers
             if s.host.endswith(".net")}
    hosts = house.directory / "hosts"
    hosts.write_text("".join(f"10.0.0.1 {name}\n" for name in names))
    return ["unshare", "--mount", "sh", "-c",
            f'mount --bind {hosts} /etc/hosts && exec "$@"', "sh"]


@pytest.fixture(scope="module")
def checker():
    """In a network where there is nothing."""
    needs_unshare()
    house = House("peers")
    try:
        yield house.checker({name: ini(q) for name, (_, q, _)
                             in POOLS.items()}, defaults=PATIENT,
                            netns=house.netns(), before=with_hosts(house))
    finally:
        house.close()
    assert not house.problems, house.problems


@pytest.mark.parametrize("pool", POOLS)
def test_pool(pair, keys, checker, pool):
    peer, question, kind = POOLS[pool]
    ours = dataclasses.replace(question,
                               ours={"pool": checker.path(pool)})
    pair(peer).compare(ours, keys(kind), 0, min(KEYS, 10000) // 10)


def test_every_scheme_is_among_them():
    """But our own."""
    header = (ROOT / "include/mcshm_format.h").read_text()
    schemes = {name.lower().replace("_", "-") for name in
               re.findall(r"MCSHM_SCHEME_(\w+) = \d", header)}
    assert schemes - {"maglev"} == {q.ours["scheme"]
                                    for _, q, _ in POOLS.values()}
