"""What the log has beside a result's name: what was seen, and never a
password."""
import pytest

from .harness import wait_until
from .test_kinds import FAST


@pytest.mark.takes(2)
def test_what_was_seen(house):
    fake = house.fake(5)
    login = house.directory / "login"
    login.write_text("ann:secret\n")
    login.chmod(0o600)
    for i, mode in enumerate(("garbage", "http", "error", "unauth", "ok")):
        fake.set(i, mode)
    checker = house.checker({
        "web": fake.lines(range(4)),
        "version": {"server": fake.lines([4]), "expect_version": "9.[13].*"},
        "login": {"server": fake.lines([0, 2]), "auth_file": login}},
        checker={"log_probes": "failures"}, defaults=FAST)
    for i, reason, seen in (
            (0, "garbage", r'said="\\336\\255\\276\\357 no memcached"'),
            (1, "garbage", 'said="HTTP/1.1 400 Bad Request"'),
            (2, "error-reply", "said=ERROR")):
        at = f"server=fake{i} pool=web "
        checker.wait_logged(f"{at}state=DOWN was=UNKNOWN reason={reason} "
                            f"{seen} was_for=")
        assert checker.logged(f"{at}result={reason} .*{seen}$")
    checker.wait_logged("server=fake4 pool=version state=DOWN was=UNKNOWN "
                        r"reason=wrong-version version=\S+ "
                        r"expected=9\.\[13\]\.\* was_for=")
    checker.wait_logged("server=fake3 pool=web degraded=unauthenticated "
                        "was=none login=none address=")
    # It may say again what it was told.
    checker.wait_verdicts("DOWN", "login")
    wait_until(lambda: checker.logged("pool=login state=DOWN"), "told")
    assert not checker.logged("pool=login .*said=")
