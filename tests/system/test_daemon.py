"""The daemon ends, dies, hangs, and comes in twos; clients go on picking."""
import signal
import struct
import time

import pytest

from .harness import files, wait_until


def begin(house, **more):
    """Four servers, fake1 DOWN, a client that picks all the time."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()}, **more)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    fake.set(1, "refuse")
    wait_until(lambda: client.verdicts()["fake1"] == "DOWN", "fake1 DOWN")
    away = client.picks()
    away.only_moved("fake1")
    running = house.client(checker.path())
    running.servers()
    running.run()
    return fake, checker, client, base, away, running


def header(checker, offset, pool="web"):
    """A 64-bit word of the file's header, see mcshm(5)."""
    with open(checker.path(pool), "rb") as f:
        f.seek(offset)
        return struct.unpack("=Q", f.read(8))[0]


def nothing_wrong(run):
    assert run.blind == 0 and run.rosters == 0 and run.changes == 0
    for name in ("fake0", "fake2", "fake3"):
        assert run.of(name) == {name}
    assert run.of("fake1") == {"fake0", "fake2", "fake3"}


def test_signals_that_are_meant_for_others(house):
    """As scripts of logrotate send them."""
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()})
    for name in ("USR1", "USR2", "ALRM", "PIPE"):
        checker.process.signal(getattr(signal, f"SIG{name}"))
    fake.set(0, "refuse")
    checker.wait_verdicts("DOWN")


@pytest.mark.takes(4)
@pytest.mark.parametrize("end", ["TERM", "INT", "KILL"])
def test_a_new_daemon_goes_on_where_the_old_one_ended(house, end):
    fake, checker, client, base, away, running = begin(house)
    wait_until(lambda: checker.servers()["fake0"]["probes"] > 12, "a past")
    before, inode = checker.servers(), checker.inode()
    generation = client.status()["generation"]
    if end == "KILL":
        checker.kill()
        assert header(checker, 352) == 0
    else:
        assert checker.stop(getattr(signal, f"SIG{end}")) == 0
        assert header(checker, 352) == 1        # clean_exit
        assert checker.told("STOPPING") == ["1"]
    assert checker.inode() == inode
    assert client.picks().answer == away.answer
    status = client.status()
    assert not status["alive"] and status["usable"] == 3
    # Nobody is unprotected before the file is stale, but somebody should look.
    assert checker.dump_code() == 2

    checker.start()
    assert checker.inode() == inode
    after = checker.servers()
    assert {n: s["verdict"] for n, s in after.items()} == \
        {n: s["verdict"] for n, s in before.items()}
    for name, was in before.items():
        now = after[name]
        assert now["probes"] >= was["probes"]
        assert now["since_ms"] >= was["since_ms"]
        # The old history is the older part of the new one.
        assert was["history"][-6:] in now["history"]
    assert not checker.logged("state=")
    assert client.status()["generation"] >= generation
    wait_until(lambda: checker.servers()["fake1"]["probes"]
               > after["fake1"]["probes"] + 2, "more probes")
    assert not checker.logged("state=")
    nothing_wrong(running.stop())
    assert client.picks().answer == away.answer

    fake.set(1, "ok")
    checker.wait_verdicts("UP")
    assert client.picks().answer == base.answer
    assert client.status()["alive"]


@pytest.mark.takes(3)
def test_a_server_that_came_back_meanwhile_still_has_to_rise(house):
    fake, checker, client, base, away, running = begin(
        house, defaults={"rise": 4})
    checker.kill()
    fake.set(1, "ok")
    checker.start()
    # Its first answer does not make it UP: it was DOWN.
    checker.wait_verdicts("UP")
    lines = checker.logged("state=")
    assert len(lines) == 1 and "server=fake1" in lines[0] and \
        "was=DOWN" in lines[0]
    history = checker.servers()["fake1"]["history"]
    assert "xxx" in history and history.endswith("++++")
    run = running.stop()
    assert run.blind == 0
    for name in ("fake0", "fake2", "fake3"):
        assert run.of(name) == {name}


@pytest.mark.takes(5)
def test_a_hung_daemon_makes_clients_blind(house):
    fake, checker, client, base, away, running = begin(
        house, checker={"heartbeat": "200ms", "stale_after": "1s"})
    checker.process.stop()
    began = time.monotonic()
    wait_until(lambda: client.status()["stale"], "stale", 6)
    assert time.monotonic() - began > 0.5
    status = client.status()
    assert status["alive"] and status["hung"]
    picks = client.picks()
    # Nobody vouches for it: its keys go home, and that is said.
    assert picks.answer == base.answer
    assert picks.blind >= list(picks.home).count("fake1")
    shown = checker.pool()
    assert shown["daemon"]["stale"] and shown["daemon"]["alive"]
    assert checker.dump_code() == 2
    run = running.stop()
    assert run.blind > 0
    for name in ("fake0", "fake2", "fake3"):
        assert run.of(name) == {name}

    checker.process.cont()
    wait_until(lambda: not client.status()["stale"], "heals")
    picks = client.picks()
    assert picks.blind == 0 and picks.answer == away.answer
    assert checker.dump_code() == 1
    assert checker.verdicts()["fake1"] == "DOWN"
    # A daemon that slept does not blame its servers.
    assert not checker.logged("server=fake[023] .*state=(DOWN|HELD)")


@pytest.mark.takes(4)
def test_a_dead_daemon_makes_clients_blind_in_the_end(house):
    fake, checker, client, base, away, running = begin(
        house, checker={"heartbeat": "100ms", "stale_after": "1s"})
    checker.kill()
    assert client.picks().answer == away.answer
    wait_until(lambda: client.status()["stale"], "stale", 6)
    status = client.status()
    assert not status["alive"] and not status["hung"]
    assert client.picks().answer == base.answer
    checker.start()
    wait_until(lambda: not client.status()["stale"], "heals")
    assert client.picks().answer == away.answer
    assert client.picks().blind == 0


@pytest.mark.takes(5)
def test_two_daemons_that_start_together(house):
    """Exactly one stays, whoever it is, with and without a file there."""
    fake = house.fake(2)
    directory = house.directory / "shared"
    directory.mkdir(mode=0o755)
    two = [house.checker({"web": fake.lines()}, start=False,
                         directory=directory) for _ in range(2)]
    for turn in range(4):
        for one in two:
            one.start(ready=False)

        def decided():
            return [one for one in two if not one.alive] and \
                [one for one in two if one.told("READY")]
        wait_until(decided, "one is ready, one has ended", 10)
        loser = next(one for one in two if not one.alive)
        winner = two[1 - two.index(loser)]
        assert winner.alive and not loser.told("READY")
        assert loser.process.wait() == 69
        loser.expected_code = 69
        said = loser.logged("another daemon")
        assert len(said) == 1
        assert str(winner.path()) in said[0]
        if turn:        # at first nobody may have written his pid yet
            assert f"pid {winner.pid}" in said[0]
        winner.wait_verdicts("UP")
        assert files(directory) == ["web.mcshm"]
        assert winner.stop() == 0
        winner.expected_code = 0
        if turn == 1:
            winner.path().unlink()


@pytest.mark.takes(3)
def test_all_pools_or_none(house):
    """One of three files is held by another daemon: nothing is left of us."""
    fake = house.fake(1)
    directory = house.directory / "shared"
    directory.mkdir(mode=0o755)
    holder = house.checker({"b": fake.lines()}, directory=directory)
    inode = holder.inode("b")
    late = house.checker({n: fake.lines() for n in "abc"}, start=False,
                         directory=directory)
    late.start(ready=False)
    assert late.process.wait() == 69
    late.expected_code = 69
    assert late.logged(rf"another daemon \(pid {holder.pid}\) has "
                       rf"{holder.path('b')}")
    assert files(directory) == ["b.mcshm"]
    assert holder.inode("b") == inode
    assert late.told("READY") == []
    # What was there before us stays, too.
    assert holder.stop() == 0
    late.start()
    assert files(directory) == ["a.mcshm", "b.mcshm", "c.mcshm"]
    assert late.inode("b") == inode


def test_a_reload_does_not_take_what_another_daemon_has(house):
    fake = house.fake(1)
    directory = house.directory / "shared"
    directory.mkdir(mode=0o755)
    one = house.checker({"a": fake.lines()}, directory=directory)
    two = house.checker({"b": fake.lines()}, directory=directory)
    two.pools["c"] = two.pools["a"] = fake.lines()
    two.reload()
    assert two.logged(rf"another daemon \(pid {one.pid}\) has")
    assert files(directory) == ["a.mcshm", "b.mcshm"]
    assert any("refused" in s for s in two.told("STATUS"))
    one.wait_verdicts("UP", "a")
    two.wait_verdicts("UP", "b")


@pytest.mark.takes(3)
def test_many_clients_see_the_same(house):
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    clients = [house.client(checker.path()) for _ in range(6)]
    fake.set(2, "refuse")
    for c in clients:
        wait_until(lambda: c.verdicts()["fake2"] == "DOWN", "DOWN")
    answers = {tuple(c.picks().answer) for c in clients}
    assert len(answers) == 1


@pytest.mark.takes(3)
def test_counters_go_with_the_beat(house):
    """Probes that change no verdict do not publish one by one."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()},
                            checker={"heartbeat": "500ms"},
                            defaults={"interval": "40ms", "timeout": "40ms",
                                      "fast_interval": "20ms",
                                      "fall_ratio": "20/20",
                                      "hold_after": "30s",
                                      "rehash_after": "60s"})
    checker.wait_verdicts("UP")
    began, before = time.monotonic(), header(checker, 128)
    probes = sum(fake.requests())
    wait_until(lambda: sum(fake.requests()) > probes + 200, "probes")
    flips = header(checker, 128) - before
    assert 1 <= flips <= (time.monotonic() - began) / 0.5 + 1


@pytest.mark.takes(2)
def test_a_heartbeat_alone_publishes_nothing(house):
    checker = house.checker({"web": ["idle 127.0.0.1:1 state=maint"]},
                            checker={"heartbeat": "20ms"})
    wait_until(lambda: header(checker, 304) > 3, "beats")
    beats, before = header(checker, 304), header(checker, 128)
    heartbeat = header(checker, 256)
    wait_until(lambda: header(checker, 304) > beats + 10, "beats")
    assert header(checker, 128) == before
    assert header(checker, 256) > heartbeat


def test_a_client_that_waits_is_woken(house):
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, checker={
        "heartbeat": "10s"})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    client.status()
    fake.set(0, "refuse")
    began = time.monotonic()
    assert client.ask("wait 8000")["wait"] == 1
    assert time.monotonic() - began < 5
    wait_until(lambda: client.verdicts()["fake0"] == "DOWN", "DOWN")
    client.status()
    assert client.ask("wait 50")["wait"] == 0


def test_a_client_that_was_first(house):
    """MCSHM_LATER: it waits for a file that is not there yet."""
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, start=False)
    client = house.client(checker.path(), later=True)
    assert set(client.picks(50).answer) == {"ENOENT"}
    checker.start()
    wait_until(lambda: set(client.picks(50).answer) == {"fake0", "fake1"},
               "it follows")
    by_name = house.client("web", env={"MCSHM_DIR": str(checker.directory)})
    assert by_name.opened == {"open": True}
    assert by_name.picks().answer == client.picks().answer


def test_a_client_that_is_nobody(house):
    """Without privileges it reads a file of root's."""
    fake = house.fake(2)
    nobody = house.other_user()
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    assert checker.path().stat().st_mode & 0o777 == 0o644
    client = house.client(checker.path(), before=nobody)
    base = client.picks()
    assert base.all_home()
    fake.set(0, "refuse")
    wait_until(lambda: set(client.picks().answer) == {"fake1"}, "followed")
    assert client.status()["alive"]
