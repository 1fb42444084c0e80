"""How a probe connects, after a reload."""
import pytest

from .harness import wait_until

ONLY_PROBES = {"stats_interval": 0, "thread_scan_interval": 0,
               "interval": "50ms", "timeout": "50ms", "fast_interval": "50ms"}


@pytest.mark.takes(1)
def test_new_connections_begin_with_the_reload(house):
    """However many probes were to be made without, by the old setup."""
    fake = house.fake()
    checker = house.checker(
        {"web": {"server": fake.lines(), "fresh_every": 1000000}},
        defaults=ONLY_PROBES)
    checker.wait_verdicts("UP")
    requests = fake.requests()[0]
    wait_until(lambda: fake.requests()[0] > requests + 3, "it is counted")
    assert fake.stats()[0][1] == 1
    checker.pools["web"]["fresh_every"] = 2
    checker.reload()
    wait_until(lambda: fake.stats()[0][1] > 3, "new connections")
    checker.pools["web"]["fresh_every"] = 0
    checker.reload()
    requests, connections, _ = fake.stats()[0]
    wait_until(lambda: fake.requests()[0] > requests + 5, "probes")
    assert fake.stats()[0][1] <= connections + 1    # that was under way
