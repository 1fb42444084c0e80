"""Unix sockets, IPv6, names, and what the operator says of a server."""
import socket

from .harness import wait_until


def test_unix_sockets(house):
    here = house.memcached(name="here", unix=house.directory / "mc.sock")
    other = house.memcached(name="other", unix=house.directory / "mc2.sock")
    checker = house.checker({"web": [here.line, other.line]},
                            defaults={"rehash_after": "30s"})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    assert {s["address"] for s in client.servers()} == {"unix"}
    here.kill()
    checker.wait_verdicts({"here": "DOWN"})
    assert checker.servers()["here"]["reason"] == "refused"
    here.unix.unlink()
    wait_until(lambda: checker.servers()["here"]["reason"] == "no-socket",
               "its socket is missed")
    assert set(client.picks().answer) == {"other"}
    other.stop()
    checker.wait_verdicts({"other": "HELD"})
    assert set(client.picks().answer) == {"ENONE"}
    other.cont()
    here.restart()
    checker.wait_verdicts("UP")
    assert client.picks().answer == base.answer


def test_a_unix_socket_with_a_full_backlog_is_silence(house):
    path = house.directory / "full.sock"
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(str(path))
        full.listen(0)
        friends = []
        for _ in range(3):
            s = socket.socket(socket.AF_UNIX)
            s.setblocking(False)
            s.connect_ex(str(path))
            friends.append(s)
        checker = house.checker({"web": [f"full unix:{path}"]},
                                defaults={"rehash_after": "30s"})
        checker.wait_verdicts("HELD")
        assert checker.servers()["full"]["reason"] == "connect-timeout"
        for s in friends:
            s.close()


def test_ipv6(house):
    server = house.memcached(name="six", ip="::1")
    checker = house.checker({"web": [server.line]})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    assert client.servers()[0]["address"] == f"::1 {server.port}"
    assert checker.servers()["six"]["address"] == f"[::1]:{server.port}"
    server.kill()
    checker.wait_verdicts("DOWN")


def test_servers_without_names_are_called_by_address(house):
    fake = house.fake(2)
    lines = [line.split()[1] for line in fake.lines()]
    checker = house.checker({"web": lines})
    checker.wait_verdicts("UP")
    assert sorted(checker.servers()) == sorted(lines)
    client = house.client(checker.path())
    assert set(client.picks().answer) == set(lines)


def test_maint_is_not_probed_and_drain_is_not_picked(house):
    fake = house.fake(4)
    lines = [fake.line(0), fake.line(1, "state=drain"),
             fake.line(2, "state=maint"), fake.line(3)]
    checker = house.checker({"web": lines})
    checker.wait_verdicts({"fake0": "UP", "fake1": "UP", "fake3": "UP"})
    client = house.client(checker.path())
    picks = client.picks()
    assert set(picks.home) == set(fake.names())
    picks.only_moved("fake1", "fake2")
    assert set(picks.answer) == {"fake0", "fake3"}
    before = fake.requests()
    wait_until(lambda: fake.requests()[1] > before[1] + 5, "DRAIN is probed")
    assert fake.stats()[2][:2] == (0, 0)
    shown = checker.servers()
    assert [shown[n]["state"] for n in fake.names()] == \
        ["UP", "DRAIN", "MAINT", "UP"]
    assert [shown[n]["admin"] for n in fake.names()] == \
        ["READY", "DRAIN", "MAINT", "READY"]
    assert [shown[n]["usable"] for n in fake.names()] == \
        [True, False, False, True]
    assert checker.dump_code() == 0     # the operator knows
    assert any("1 DRAIN" in s and "1 MAINT" in s
               for s in checker.told("STATUS"))


def test_drain_and_maint_hold_when_the_file_is_stale(house):
    fake = house.fake(3)
    lines = [fake.line(0), fake.line(1, "state=drain"),
             fake.line(2, "state=maint")]
    checker = house.checker({"web": lines}, checker={"stale_after": "500ms"})
    checker.wait_verdicts({"fake0": "UP", "fake1": "UP"})
    client = house.client(checker.path())
    checker.stop()
    wait_until(lambda: client.status()["stale"], "stale")
    picks = client.picks()
    assert picks.blind and set(picks.answer) == {"fake0"}
