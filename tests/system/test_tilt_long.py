"""A host that stalls again and again: who is silent is seen all the same."""
import time

import pytest


@pytest.mark.takes(6)
def test_a_silent_server_beside_a_host_that_stalls(house):
    """After 12 times tilt_for it is DOWN, though no time without a stall is as
    long as rehash_after; the others are not, though the daemon is stopped while
    they are probed."""
    servers = house.memcacheds(3)
    checker = house.checker(
        {"web": [s.line for s in servers]},
        checker={"tilt_after": "100ms", "tilt_for": "100ms"},
        defaults={"interval": "100ms", "timeout": "50ms",
                  "fast_interval": "50ms", "connect_timeout": "50ms",
                  "hold_after": "200ms", "rehash_after": "700ms",
                  "awareness": 0, "max_down_percent": "0%",
                  "fall_ratio": "off"})
    checker.wait_verdicts("UP")
    servers[1].stop()
    began, stalls = time.monotonic(), 0
    while not checker.logged("server=cache1 .*state=DOWN"):
        assert time.monotonic() - began < 16, "not seen in time"
        checker.process.stop()
        time.sleep(0.4)         # longer than tilt_after; what is tested
        checker.process.cont()
        time.sleep(0.35)        # it runs for longer than tilt_for
        stalls += 1
    text = checker.log()
    before = text[:text.index("server=cache1 pool=web state=DOWN")]
    assert "TILT, silence counts for nothing: the loop was late" in before
    assert before.count("TILT again and again, silence counts") == 1
    assert before.count("TILT is over") < stalls
    assert checker.verdicts() == {"cache0": "UP", "cache1": "DOWN",
                                  "cache2": "UP"}
    for name in ("cache0", "cache2"):
        assert checker.servers()[name]["transitions"] == 1
