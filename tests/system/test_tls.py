"""What is wrong with TLS: told apart, and whose fault it is."""
import os
import re

import pytest

from .harness import SAN, wait_until
from .test_doubt import Clocks
from .test_kinds import FAST, pool, state, tls, wait_states

DAY = 86400
assert tls      # a fixture


def check(house, checker):
    done = house.run(checker.program("mc-checkerd"), "-t", "-c", checker.ini,
                     ok=False)
    return done.returncode, done.stderr


def client(tls, name, **more):
    return {"tls": "yes", "tls_ca": tls.path("ca"), "tls_cert": tls.path(name),
            "tls_key": tls.path(name, "key")} | more


@pytest.mark.takes(3)
def test_each_fault_has_words(house, tls):
    other = type(tls)(house, "other")
    tls.dated("good", "IP:127.0.0.1", -DAY, 30 * DAY)
    tls.dated("old", "IP:127.0.0.1", -9 * DAY, -2 * DAY)
    tls.dated("soon", "IP:127.0.0.1", -DAY, 3 * DAY)
    servers = {n: tls.memcached(n, n) for n in ("good", "old", "soon")}
    by = {"tls": "yes", "tls_ca": tls.path("ca")}
    checker = house.checker({
        "old": pool(servers["old"], **by), "soon": pool(servers["soon"], **by),
        "name": pool(servers["good"], tls_name="cache.test", **by),
        "ca": pool(servers["good"], tls="yes", tls_ca=other.path("ca"))},
        defaults=FAST)
    date = r"until=\d{4}-\d\d-\d\dT\d\d:\d\dZ"
    for name, words in (
            ("old", f'error="certificate has expired" name=127.0.0.1 {date}'),
            ("soon", date),
            ("name", f'error="[Hh]ostname mismatch" name=cache.test {date}'),
            ("ca", 'error="unable to get local issuer certificate" '
                   f"name=127.0.0.1 {date}")):
        checker.wait_logged(rf"warning server=\w+ pool={name} degraded=tls "
                            f"was=none {words} address=")
    shown = checker.shmdump(checker.path("old")).stdout
    assert re.search(r"its certificate, good until \d{4}-\d\d-\d\d, is not\s+"
                     "trusted", shown)


@pytest.mark.takes(4)
def test_our_certificate_ends(house, tls):
    """Those whom it should have been shown to are not to blame."""
    tls.dated("good", "IP:127.0.0.1", -DAY, 30 * DAY)
    server = tls.memcached("picky", "good", "ssl_verify_mode=2",
                           f"ssl_ca_cert={tls.path('ca')}")
    tls.dated("ours", "DNS:client", -DAY, 4)
    tls.dated("week", "DNS:client", -DAY, 7 * DAY + 4)
    checker = house.checker({"web": pool(server, **client(tls, "ours")),
                             "week": pool(server, **client(tls, "week"))},
                            defaults=FAST | {"fresh_every": 2})
    wait_states(checker, {"web": ("picky", ("UP", "ok"))})
    where = rf"{checker.ini}:\d+: "
    ours = f"tls_cert = {tls.path('ours')}"
    date = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC; put a new one there"
    code, told = check(house, checker)
    assert re.search(f"^{where}warning: {ours} ends at {date}\n", told, re.M)
    assert code == 0 and checker.logged(f"{where}warning: {ours} ends at ")

    checker.wait_logged("error our certificate has ended, and servers .*: "
                        r"pool=web until=\d{4}-")
    checker.wait_logged("warning our certificate ends soon; .*: pool=week "
                        r"until=\d{4}-")
    assert not checker.logged("our certificate .*soon.*: pool=web")
    checker.wait_logged("own fault, our certificate is not taken, or missed: "
                        'server=picky pool=web error=".*alert.*')
    assert checker.logged('degraded=tls was=none error=".*alert.*" address=')

    def probes():
        """Of one that is not taken nothing is counted but that."""
        shown = checker.servers()["picky"]
        return shown["probes"] + shown["local_errors"]
    before = probes()
    wait_until(lambda: probes() > before + 9, "many probes")
    assert state(checker, "web", "picky")[0] == "UP"
    assert not checker.logged("state=(HELD|DOWN)")
    assert len(checker.logged("our certificate has ended")) == 1

    del checker.pools["week"]
    checker.configure()
    code, told = check(house, checker)
    assert code == os.EX_CONFIG
    assert re.fullmatch(f"{where}{ours} ended at {date}\n", told)
    checker.reload()
    checker.wait_logged(f"error {where}{ours} ended at ")
    assert checker.logged("reload refused: 1 error,")
    # A clock that is behind is no reason to stay away.
    tls.dated("late", "DNS:client", 2 * DAY, 30 * DAY)
    checker.pools["web"] = pool(server, **client(tls, "late"))
    checker.configure()
    code, told = check(house, checker)
    assert code == 0
    assert f"warning: tls_cert = {tls.path('late')} is not good before" in told
    tls.dated("new", "DNS:client", -DAY, 30 * DAY)
    checker.pools["web"] = pool(server, **client(tls, "new"))
    checker.reload()
    wait_states(checker, {"web": ("picky", ("UP", "ok"))})
    assert check(house, checker) == (0, "")


@pytest.mark.takes(1)
def test_our_certificate_is_early_and_then_late(house, tls):
    """Each is told, and each once."""
    if SAN:
        pytest.skip("nothing can be preloaded")
    clocks = Clocks(house)
    tls.dated("good", "IP:127.0.0.1", -DAY, 30 * DAY)
    tls.dated("ours", "DNS:client", DAY, 2 * DAY)
    server = tls.memcached("picky", "good", "ssl_verify_mode=2",
                           f"ssl_ca_cert={tls.path('ca')}")
    checker = house.checker({"web": pool(server, **client(tls, "ours"))},
                            defaults=FAST, env=clocks.env)
    early = "error our certificate is not good yet, .*: pool=web from="
    ended = "error our certificate has ended, .*: pool=web until="
    checker.wait_logged(early)
    assert not checker.logged(ended)
    clocks.ahead(real=3 * DAY)
    checker.wait_logged(ended)
    assert len(checker.logged(early)) == len(checker.logged(ended)) == 1
