"""The network fails for a moment: no key may move.  Shipped defaults."""
import time

import pytest

from .harness import wait_until


def begin(house):
    wire = house.wire()
    servers = house.memcacheds(4, ip=wire.far_address, netns=wire.far)
    checker = house.checker({"web": [s.line for s in servers]}, shipped=True,
                            netns=wire.near)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    client.servers()
    return wire, servers, checker, client


def blip(wire, how, seconds):
    """How long it was: "ip" may have to wait for the kernel."""
    began = time.monotonic()
    wire.cut(how)
    time.sleep(seconds)         # what is tested, no waiting
    wire.mend(how)
    return time.monotonic() - began


def all_well(checker, missed):
    """Again: that they failed is in the file, too."""
    return all(s["verdict"] == "UP" and s["history"].endswith("+++")
               and s["failures"] > missed.get(name, -1)
               for name, s in checker.servers().items())


@pytest.mark.takes(9)
@pytest.mark.parametrize("how", ["far", "drop", "near"])
@pytest.mark.parametrize("seconds", [2, 4])
def test_a_blip_of_everything_moves_no_key(house, seconds, how):
    wire, servers, checker, client = begin(house)
    before = {n: s["failures"] for n, s in checker.servers().items()}
    base = client.picks()
    for _ in range(4):
        client.run()
        log = len(checker.log())
        length = blip(wire, how, seconds)
        missed = before if how != "near" else {}
        wait_until(lambda: all_well(checker, missed), "all UP again", 20)
        run = client.stop()
        if length < 4.3:                # else the machine made it longer
            break
    for name in checker.servers():
        assert run.of(name) <= {name, "EHELD"}, run.answers
    assert run.all_said() <= set(checker.servers()) | {"EHELD", "ENONE"}
    assert run.blind == 0 and run.rosters == 0
    assert client.picks().answer == base.answer
    assert "state=DOWN" not in checker.log()[log:]
    # It was a blip: where it took 4 s some were held.
    if how != "near":
        assert seconds < 4 or checker.logged("state=HELD")


@pytest.mark.takes(6)
def test_a_server_without_a_route_is_no_dead_server(house):
    """connect() fails at once, here: own fault, which steps nothing."""
    fake = house.netns()
    checker = house.checker({"web": ["lost 10.99.0.1:11211",
                                     "lost6 [fd00::99]:11211"]}, netns=fake)
    checker.wait_logged("own fault.*Network is unreachable")
    wait_until(lambda: {s["reason"] for s in checker.servers().values()}
               == {"local"}, "local")
    # For longer than anything but a local error would need.
    time.sleep(1.5)
    for shown in checker.servers().values():
        assert shown["verdict"] == "UNKNOWN" and shown["usable"]
        assert shown["failures"] == 0
    assert house.client(checker.path()).picks(100).all_home()
    assert len(checker.logged("own fault")) == 1


@pytest.mark.takes(4)
def test_a_blip_leaves_no_dead_connection_behind(house):
    """A RST that is lost is not sent again; the server would keep its end, and
    the port would be met again."""
    wire = house.wire()
    cache = house.memcached(ip=wire.far_address, netns=wire.far)
    checker = house.checker({"web": [cache.line]}, netns=wire.near)
    checker.wait_verdicts("UP")

    def connections():
        seen = house.run(*wire.far.enter, "ss", "-Htn", "state", "established",
                         "sport", "=", f":{cache.port}")
        return seen.stdout.count("\n")

    wait_until(lambda: connections() == 1, "the kept connection alone")
    failures = checker.servers()[cache.name]["failures"]
    wire.cut("drop")
    wait_until(lambda: checker.servers()[cache.name]["failures"] > failures,
               "the kept connection was given up", 10)
    wire.mend("drop")
    checker.wait_verdicts("UP")
    wait_until(lambda: connections() == 1, "the kept connection alone", 30)
