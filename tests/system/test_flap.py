"""A server that goes down again and again; and how often one that is DOWN is
asked."""
import time

import pytest

from .harness import wait_until

FAST = {"interval": "100ms", "fast_interval": "20ms", "timeout": "100ms",
        "connect_timeout": "200ms", "down_interval": "50ms", "fall": 1,
        "rise": 1, "fall_ratio": "off", "min_down_time": "0",
        "flap_hold": "400ms", "flap_hold_max": "1s", "flap_window": "1s"}
FLAPPING = 1 << 9       # of the bits of degraded


def begin(house, **keys):
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, defaults=FAST | keys)
    checker.wait_verdicts("UP")
    return fake, checker


def outage(fake, checker):
    """How long it was DOWN, in ms; it is repaired at once."""
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    fake.set(0, "ok")
    checker.wait_verdicts({"fake0": "UP"})
    s = checker.servers()["fake0"]
    return s["down_since_ms"] - s["back_since_ms"]


@pytest.mark.takes(6)
def test_the_hold_grows_and_decays(house):
    fake, checker = begin(house, flap_window="4s")
    lasted = [outage(fake, checker) for _ in range(5)]
    # Ages are whole ms.
    assert lasted[2] >= 399 and lasted[3] >= 799 and lasted[4] >= 999, lasted
    shown = checker.servers()["fake0"]
    assert shown["flaps"] in (3, 4, 5)
    assert int(shown["degraded"]) & FLAPPING
    # Why it is not UP, though it answers, and for how long.
    assert len(checker.logged("state=DOWN .*reason=refused")) == 3
    checker.wait_logged(r"state=DOWN .* outages=3 hold=0\.4s address=")
    checker.wait_logged(r"warning server=fake0 pool=web degraded=\S*flapping "
                        r"was=\S+ outages=3 hold=0\.4s address=")
    detail = checker.shmdump("--server", "fake0", checker.path()).stdout
    assert "outages not forgotten" in detail
    assert checker.servers()["fake1"]["flaps"] == 0
    # A window without an outage for each of them.
    checker.defaults["flap_window"] = "1s"
    checker.reload()
    wait_until(lambda: checker.servers()["fake0"]["flaps"] == 0,
               "forgotten", 15)
    assert outage(fake, checker) is not None
    assert checker.servers()["fake0"]["flaps"] == 1
    assert checker.logged(r"notice .*degraded=\S+ was=\S*flapping address=")
    assert int(checker.servers()["fake0"]["degraded"]) & FLAPPING == 0


@pytest.mark.takes(4)
def test_a_hold_outlives_the_daemon(house):
    fake, checker = begin(house, flap_hold="1500ms", flap_hold_max="1500ms",
                          flap_window="1m")
    for _ in range(2):
        outage(fake, checker)
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    fake.set(0, "ok")
    checker.kill()
    checker.start()
    wait_until(lambda: checker.servers()["fake0"]["history"].endswith("++"),
               "it answers")
    held = checker.servers()["fake0"]
    late = held["down_since_ms"] > 1200
    assert late or (held["verdict"] == "DOWN" and held["hold_left_ms"] > 0)
    assert late or "stays DOWN for another" in \
        checker.shmdump(checker.path()).stdout
    checker.wait_verdicts({"fake0": "UP"})
    back = checker.servers()["fake0"]
    assert back["flaps"] == 3
    assert back["down_since_ms"] - back["back_since_ms"] >= 1499


def test_a_reload_may_end_a_hold(house):
    fake, checker = begin(house, flap_hold="1m", flap_hold_max="1m",
                          flap_window="1m")
    for _ in range(2):
        outage(fake, checker)
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    fake.set(0, "ok")
    wait_until(lambda: checker.servers()["fake0"]["history"].endswith("++"),
               "it answers")
    assert checker.verdicts()["fake0"] == "DOWN"
    checker.defaults["flap_hold"] = "0"
    checker.reload()
    checker.wait_verdicts({"fake0": "UP"})


@pytest.mark.takes(5)
def test_who_is_down_is_asked_less_and_less(house):
    fake, checker = begin(house, down_interval="50ms", jitter="0%",
                          down_interval_max="800ms")
    fake.set(0, "close")
    checker.wait_verdicts({"fake0": "DOWN"})
    first = checker.servers()["fake0"]
    # 50, 75, 112, 168, 253, 379, 569, 800, 800, ...
    time.sleep(4)
    shown = checker.servers()["fake0"]
    seconds = (shown["down_since_ms"] - first["down_since_ms"]) / 1000
    asked = shown["probes"] - first["probes"]
    assert 4 <= asked <= 9 + (seconds - 1.6) / 0.8, (asked, seconds)
    fake.set(0, "ok")
    checker.wait_verdicts({"fake0": "UP"}, seconds=5)
    assert checker.servers()["fake1"]["probes"] > 4 * asked
