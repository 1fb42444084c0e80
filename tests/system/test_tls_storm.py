"""All servers of a pool are new at once, and TLS takes its time: ours."""
import statistics
import time

import pytest

from .harness import wait_until
from .test_kinds import tls     # noqa: F401 (a fixture)

N = 600
# Much less than all handshakes take together.
SHORT = {"interval": "100ms", "fast_interval": "50ms",
         "down_interval": "500ms", "timeout": "100ms",
         "connect_timeout": "100ms", "hold_after": "300ms",
         "rehash_after": "3s", "fall_ratio": "10/20"}


@pytest.mark.takes(5)
def test_who_waits_for_us_is_not_blamed(house, tls):    # noqa: F811
    """One memcached by many addresses, which is well.  That we are late says
    nothing of it, nor is it time that it took."""
    tls.certificate("good", "DNS:cache.test")
    netns = house.netns()
    server = house.memcached(ip="0.0.0.0", netns=netns, options=[
        "-c", str(4 * N), "-Z", "-o",
        f"ssl_chain_cert={tls.path('good')},ssl_key={tls.path('good', 'key')}"])
    began = time.monotonic()
    checker = house.checker(
        {"web": [f"s{i} 127.1.{i // 250}.{1 + i % 250}:{server.port}"
                 for i in range(N)]}, netns=netns, shipped=True,
        defaults=SHORT | {"tls": "yes", "tls_ca": tls.path("ca"),
                          "tls_name": "cache.test",
                          "on_listener_stuck": "down"})
    checker.wait_verdicts("UP", seconds=20)
    took = time.monotonic() - began
    rtt = [s["rtt_avg_us"] for s in checker.servers().values()]
    assert statistics.median(rtt) / 1e6 < took / 10

    def fresh():
        """Each had new connections again, at least one."""
        return min(s["probes"] for s in checker.servers().values()) > 12
    wait_until(fresh, "probes", 20)
    shown = checker.servers().values()
    assert {s["verdict"] for s in shown} == {"UP"}
    assert not checker.logged("state=(HELD|DOWN)|listener-stuck")
