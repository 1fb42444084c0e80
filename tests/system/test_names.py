"""Names are resolved beside the loop: it hangs, it fails, it comes back."""
import time

import pytest

from .harness import BUILD, wait_until


class Names:
    """What getaddrinfo() says in the daemon, by LD_PRELOAD."""

    def __init__(self, house, **names):
        self.path = house.directory / "names"
        self.names = {}
        self.set(**names)
        self.env = {"TEST_NAMES": str(self.path),
                    "LD_PRELOAD": str(BUILD / "tests/slow_resolver.so"),
                    "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0"}

    def set(self, **names):
        self.names |= names
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{n}.test {what}\n"
                               for n, what in self.names.items()))
        new.rename(self.path)


@pytest.mark.takes(6)
def test_a_resolver_that_hangs(house):
    """READY all the same, others are probed in time, and it ends at once."""
    fake = house.fake(4)
    names = Names(house, lost="hang", gone="hang")
    checker = house.checker(
        {"web": fake.lines() + ["lost lost.test:11211",
                                "gone gone.test:11211"]},
        env=names.env)
    passed = checker.notifications.having("READY")[0][0] - checker.began
    assert passed < 4
    checker.wait_verdicts({n: "UP" for n in fake.names()})
    before = fake.requests()
    # 200 ms apart, as if nothing was; a busy machine may take longer, but a
    # loop that waits for names would take for ever.
    wait_until(lambda: min(n - m for n, m in zip(fake.requests(), before))
               >= 8, "probes", 6)
    shown = checker.servers()["lost"]
    assert shown["verdict"] == "UNKNOWN" and shown["failures"] == 0
    # A reload asks again, beside those who still hang.
    checker.pools["web"].append("third third.test:11211")
    names.set(third="hang")
    checker.reload()
    checker.wait_logged("pool web: 6 -> 7 servers", 5)
    client = house.client(checker.path())
    assert len(client.picks().shares()) == 7
    began = time.monotonic()
    assert checker.stop() == 0
    assert time.monotonic() - began < 1


@pytest.mark.takes(5)
def test_a_name_that_resolves_later(house):
    fake = house.fake(2)
    names = Names(house, late="fail")
    checker = house.checker(
        {"web": [fake.line(0), f"late late.test:{fake.ports[1]}"]},
        env=names.env)
    checker.wait_verdicts({"fake0": "UP"})
    checker.wait_logged("server=late .*resolved=no")
    wait_until(lambda: checker.servers()["late"]["reason"], "it in the file")
    shown = checker.servers()["late"]
    # Own fault: usable, as far as anybody knows.
    assert (shown["verdict"], shown["reason"], shown["usable"]) == \
        ("UNKNOWN", "unresolved", True)
    client = house.client(checker.path())
    assert [s["address"] for s in client.servers()][1] is None
    names.set(late="127.0.0.1")
    checker.wait_verdicts("UP", seconds=15)
    checker.wait_logged("server=late .*resolved=yes")
    assert [s["address"] for s in client.servers()][1] == \
        f"127.0.0.1 {fake.ports[1]}"
    assert client.picks().all_home()


@pytest.mark.takes(4)
def test_a_hang_that_ends(house):
    fake = house.fake(1)
    names = Names(house, slow="hang")
    checker = house.checker({"web": [f"slow slow.test:{fake.ports[0]}"]},
                            env=names.env)
    assert checker.verdicts() == {"slow": "UNKNOWN"}
    names.set(slow="127.0.0.1")
    checker.wait_verdicts("UP")


@pytest.mark.takes(3)
def test_an_address_outlives_the_resolver(house):
    """A daemon that starts while names do not resolve goes on with the
    addresses of the last one."""
    fake = house.fake(1)
    names = Names(house, cache="127.0.0.1")
    checker = house.checker({"web": [f"cache cache.test:{fake.ports[0]}"]},
                            env=names.env)
    checker.wait_verdicts("UP")
    checker.kill()
    names.set(cache="hang")
    fake.set(0, "refuse")
    checker.start(env=names.env)
    checker.wait_verdicts("DOWN")
    assert checker.servers()["cache"]["reason"] == "refused"
    fake.set(0, "ok")
    checker.wait_verdicts("UP")


def test_localhost(house):
    """A real name, the real resolver."""
    server = house.memcached(name="here")
    checker = house.checker({"web": [f"here localhost:{server.port}"]})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    assert client.servers()[0]["address"] == f"127.0.0.1 {server.port}"
    assert checker.servers()["here"]["address"] == f"localhost:{server.port}"
