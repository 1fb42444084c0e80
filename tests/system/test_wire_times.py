"""How long servers take, as it is published: they, and not we."""
import re
import statistics

import pytest

from .harness import BUILD, SAN, wait_until

N = 60


@pytest.mark.skipif(bool(SAN), reason="preloads a library of its own")
@pytest.mark.takes(2)
def test_our_own_time_is_not_theirs(house):
    """We connect to all of them in a few turns of the loop, each of which takes
    long; answers lie there until it is over."""
    fake = house.fake(N)
    checker = house.checker(
        {"web": fake.lines()}, checker={"log_probes": "all"}, shipped=True,
        defaults={"interval": "200ms", "timeout": "200ms", "fresh_every": 0,
                  "stats_interval": 0, "thread_scan_interval": 0},
        env={"LD_PRELOAD": str(BUILD / "tests/slow_connect.so")})
    checker.wait_verdicts("UP")
    wait_until(lambda: min(s["probes"] for s in checker.servers().values()) > 5,
               "probes on kept connections")
    took = [max(took_ms(checker, name)) for name in fake.names()]
    shown = [checker.servers()[name] for name in fake.names()]
    # The first ones seemed to take many milliseconds.
    seemed = statistics.median(took) * 1000
    assert seemed > 10000
    assert statistics.median(s["rtt_max_us"] for s in shown) < seemed / 3
    assert statistics.median(s["rtt_avg_us"] for s in shown) < seemed / 5


def took_ms(checker, name):
    """Of each probe, by the log."""
    return [float(re.search(r" took=([\d.]+)ms", line)[1])
            for line in checker.logged(f" server={name} .* result=ok ")]
