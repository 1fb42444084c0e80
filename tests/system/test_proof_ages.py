"""What was proven of a server does not grow old."""
import pytest

from .harness import wait_until


@pytest.mark.takes(5)
def test_stopped_servers_whose_hosts_are_switched_off(house):
    """They are DOWN for a proof, and stay silent for more probes than a verdict
    remembers: they are no reason to fail open, nor for the next daemon."""
    fake = house.fake(5)
    checker = house.checker(
        {"web": fake.lines()}, defaults={
            "interval": "50ms", "fast_interval": "20ms", "timeout": "20ms",
            "connect_timeout": "20ms", "down_interval": "20ms",
            "awareness": 0})
    checker.wait_verdicts("UP")
    gone = range(4)

    def outlive(probes):
        before = [s["failures"] for s in checker.servers().values()]
        wait_until(lambda: all(s["failures"] >= n + probes for s, n in
                               list(zip(checker.servers().values(),
                                        before))[:4]), "probes", 20)

    for i in gone:
        fake.set(i, "refuse")
    checker.wait_verdicts({f"fake{i}": "DOWN" for i in gone})
    for i in gone:
        fake.set(i, "hang")
    outlive(70)
    assert not checker.logged("FAILS OPEN|fails open")
    checker.kill()
    checker.start()
    outlive(10)
    assert not checker.logged("FAILS OPEN|fails open")
    pool = checker.pool()
    assert [s["usable"] for s in pool["servers"]] == 4 * [False] + [True]
    assert not pool["fail_open"]
