"""A pymemcache client writes while a server hangs, and reads when it is back."""
import itertools

import pytest
from harness import wait_until

from mcshm.pymemcache import HashClient

SHORT = {"interval": "100ms", "fast_interval": "50ms",
         "down_interval": "100ms", "down_interval_max": "100ms",
         "timeout": "100ms", "connect_timeout": "200ms",
         "hold_after": "300ms", "rehash_after": "1s", "rise": 2,
         "min_down_time": "100ms", "stats_interval": "100ms",
         "flap_hold": 0, "awareness": 0}
KEYS = [f"k{i}" for i in range(40)]


class Writer:
    """Values are numbers that grow; it knows what it has stored."""

    def __init__(self, path):
        self.cache = HashClient(str(path), timeout=0.1, connect_timeout=0.1,
                                ignore_exc=True)
        self.numbers = itertools.count(1)
        self.stored = dict.fromkeys(KEYS, 0)

    def store(self):
        for key in KEYS:
            number = next(self.numbers)
            if self.cache.set(key, str(number), noreply=False):
                self.stored[key] = number

    def old(self):
        """Keys for which it is given less than it has stored."""
        found = {key: self.cache.get(key) for key in KEYS}
        assert any(found.values())
        return [key for key, value in found.items()
                if value and int(value) < self.stored[key]]


@pytest.mark.parametrize("recovery", ["none", "flush-if-stale"])
def test_a_server_hangs_and_returns(house, recovery):
    servers = house.memcacheds(3)
    checker = house.checker({"web": [s.line for s in servers]},
                            defaults=SHORT | {"on_recovery": recovery})
    checker.wait_verdicts("UP")
    wait_until(lambda: all(s["server_pid"] for s in
                           checker.servers().values()), "all identified")
    writer = Writer(checker.path())
    writer.store()
    assert writer.old() == []
    servers[0].stop()
    writer.store()              # what it gives up on waits in the server
    checker.wait_verdicts({"cache0": "DOWN"})
    writer.store()
    assert writer.old() == []
    servers[0].cont()
    checker.wait_verdicts({"cache0": "UP"}, seconds=20)
    old = writer.old()
    shown = checker.servers()["cache0"]
    if recovery == "none":
        assert old              # or this test would see nothing
        assert shown["returned"] == ["same"]
    else:
        assert old == []
        assert shown["returned"] == ["same", "flushed"]
    writer.store()
    assert writer.old() == []
    writer.cache.close()
