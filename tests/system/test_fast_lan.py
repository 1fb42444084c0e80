"""conf/fast-lan.ini does what it says: who hangs is found out at once."""
import configparser
import time

import pytest

from .harness import ROOT, wait_until

FAST_LAN = ROOT / "conf/fast-lan.ini"


def keys():
    ini = configparser.ConfigParser()
    ini.read(FAST_LAN)
    assert ini.sections() == ["defaults"]
    return dict(ini["defaults"])


def begin(house):
    servers = house.memcacheds(4)
    checker = house.checker({"web": [s.line for s in servers]}, shipped=True,
                            defaults=keys())
    checker.wait_verdicts("UP")
    return servers, checker


def spent(checker, name, verdict):
    """Seconds until it was that."""
    began = time.monotonic()
    wait_until(lambda: checker.verdicts()[name] == verdict,
               f"{name} is {verdict}")
    return time.monotonic() - began


# Where the machine was in the way, once more: with another server, as one that
# fails again and again stays away for longer each time.

@pytest.mark.takes(6)
def test_who_hangs_is_held_at_once_and_its_keys_move_later(house):
    servers, checker = begin(house)
    client = house.client(checker.path())
    base = client.picks()
    for one in servers[:3]:
        one.stop()
        held = spent(checker, one.name, "HELD")
        picks = client.picks()
        if held < 1:
            break
        one.cont()
        checker.wait_verdicts("UP")
    assert held < 1
    picks.only_moved(one.name)
    assert set(picks.of(one.name)) == {"EHELD"}
    moved = spent(checker, one.name, "DOWN")
    assert moved > 1            # never for a pause of a second
    client.picks().only_moved(one.name)
    one.cont()
    checker.wait_verdicts("UP")
    assert client.picks().answer == base.answer


@pytest.mark.takes(3)
def test_who_dies_is_down_at_once(house):
    servers, checker = begin(house)
    for one in servers[:3]:
        one.kill()
        if (down := spent(checker, one.name, "DOWN")) < 0.5:
            break
    assert down < 0.5
    assert checker.verdicts()["cache3"] == "UP"
