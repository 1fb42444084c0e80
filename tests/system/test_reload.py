"""SIGHUP: servers and pools come and go, and what stays keeps its past."""
import re
import time

import pytest

from .harness import SAN, wait_until

HOMES = r"pool web: {} -> {} servers, (\d+\.\d) % of keys get another home"


def begin(house, n=4, spare=2, **more):
    """n servers of the fakes are in the pool; a client has seen them."""
    fake = house.fake(n + spare)
    checker = house.checker({"web": fake.lines(range(n))}, **more)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    return fake, checker, client, client.picks()


def moved_homes(before, after):
    return [i for i, (a, b) in enumerate(zip(before.home, after.home))
            if a != b]


def percent(checker, before, after):
    line = checker.wait_logged(HOMES.format(before, after))[-1]
    return float(re.search(HOMES.format(before, after), line).group(1))


@pytest.mark.takes(3)
def test_a_server_is_added(house):
    fake, checker, client, base = begin(house)
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    past, inode = checker.servers(), checker.inode()
    running = house.client(checker.path())
    running.servers()
    running.run()

    checker.pools["web"] = fake.lines(range(5))
    checker.reload()
    share = percent(checker, 4, 5)
    wait_until(lambda: len(client.picks().shares()) == 5, "followed")
    assert checker.inode() != inode
    picks = client.picks()
    assert picks.blind == 0
    # Its fair share, and few keys besides.
    moved = moved_homes(base, picks)
    assert 12 < share < 30
    assert abs(len(moved) / len(base) * 100 - share) < 5
    assert sum(picks.home[i] == "fake4" for i in moved) > len(moved) * 0.8
    # It was probed before anybody was sent there.
    shown = checker.servers()
    assert shown["fake4"]["verdict"] == "UP"
    for name in ("fake0", "fake1", "fake2", "fake3"):
        assert shown[name]["probes"] >= past[name]["probes"]
        assert shown[name]["since_ms"] >= past[name]["since_ms"]
        assert past[name]["history"][-5:] in shown[name]["history"]
    assert shown["fake1"]["verdict"] == "DOWN"
    assert len(checker.logged("server=fake1 .*state=DOWN")) == 1
    assert not checker.logged("server=fake[0-3] .*was=(UP|HELD).*state=UP")
    run = running.stop()
    assert run.blind == 0 and run.rosters > 0
    checker.wait_files("web.mcshm")


@pytest.mark.takes(3)
def test_a_dead_server_is_added(house):
    """Readers go on to the new roster after its first result at most."""
    fake, checker, client, base = begin(house)
    fake.set(4, "hang")
    checker.pools["web"] = fake.lines(range(5))
    checker.reload()
    wait_until(lambda: "fake4" in checker.servers(), "there", 4)
    checker.wait_verdicts({"fake4": "DOWN"})
    picks = client.picks()
    picks.only_moved("fake4")
    assert "fake4" not in picks.answer


@pytest.mark.takes(3)
def test_a_server_is_removed(house):
    fake, checker, client, base = begin(house)
    open_before = [row[2] for row in fake.stats()]
    assert open_before[2] == 1
    checker.pools["web"] = fake.lines([0, 1, 3])
    checker.reload()
    share = percent(checker, 4, 3)
    assert 18 < share < 36
    wait_until(lambda: len(client.picks().shares()) == 3, "followed")
    picks = client.picks()
    strays = [i for i in moved_homes(base, picks)
              if base.home[i] != "fake2"]
    assert len(strays) < len(base) * 0.05
    wait_until(lambda: fake.stats()[2][2] == 0, "its connection is closed")
    requests = fake.requests()
    wait_until(lambda: fake.requests()[0] > requests[0] + 3, "probes")
    assert fake.requests()[2] == requests[2]


@pytest.mark.takes(3)
def test_servers_in_another_order(house):
    """maglev: the order means nothing; no key moves."""
    fake, checker, client, base = begin(house)
    checker.pools["web"] = fake.lines([3, 1, 0, 2])
    checker.reload()
    assert percent(checker, 4, 4) == 0
    wait_until(lambda: client.picks().roster != base.roster, "followed")
    assert client.picks().answer == base.answer
    assert [s["name"] for s in client.servers()] == \
        ["fake3", "fake1", "fake0", "fake2"]


@pytest.mark.takes(3)
def test_order_is_the_placement_of_modula(house):
    fake, checker, client, base = begin(
        house, defaults={"scheme": "libmemcached-modula"})
    checker.pools["web"] = fake.lines([1, 0, 2, 3])
    checker.reload()
    assert 40 < percent(checker, 4, 4) < 60
    wait_until(lambda: client.picks().roster != base.roster, "followed")
    swap = {"fake0": "fake1", "fake1": "fake0"}
    assert client.picks().home == [swap.get(h, h) for h in base.home]


@pytest.mark.takes(3)
def test_a_weight_changes(house):
    fake, checker, client, base = begin(house)
    past = checker.servers()["fake0"]
    checker.pools["web"] = [fake.line(0, "weight=3"), *fake.lines([1, 2, 3])]
    checker.reload()
    assert 15 < percent(checker, 4, 4) < 45
    wait_until(lambda: client.picks().roster != base.roster, "followed")
    shares = client.picks().shares()
    assert 0.42 < shares["fake0"] / len(base) < 0.58
    shown = checker.servers()["fake0"]
    assert shown["weight"] == 3
    assert shown["probes"] >= past["probes"]
    assert shown["since_ms"] >= past["since_ms"]


@pytest.mark.takes(4)
def test_only_intervals_change(house):
    """The file stays, verdicts stay, probes come at the new pace."""
    fake, checker, client, base = begin(house, defaults={"interval": "3s"})
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    inode, past = checker.inode(), checker.servers()
    roster = checker.pool()["roster"]
    checker.defaults |= {"interval": "50ms", "down_interval": "50ms",
                         "timeout": "50ms"}
    checker.reload()
    before = fake.requests()
    wait_until(lambda: fake.requests()[0] > before[0] + 20, "faster")
    assert checker.inode() == inode and checker.pool()["roster"] == roster
    shown = checker.servers()
    assert shown["fake1"]["verdict"] == "DOWN"
    assert shown["fake1"]["since_ms"] >= past["fake1"]["since_ms"]
    assert not checker.logged("of keys get another home")
    # And slower again; accepted connections show that none was given up.
    accepted = fake.stats()[0][1]
    checker.defaults |= {"interval": "30s", "down_interval": "30s"}
    checker.reload()
    checker.wait_logged("reloaded")
    wait_until(lambda: quiet(fake), "slower", 5)
    assert fake.stats()[0][1] == accepted
    assert client.status()["stale"] == 0


def quiet(fake):
    """No request for 0.3 s."""
    before = fake.requests()
    time.sleep(0.3)
    return fake.requests() == before


@pytest.mark.takes(3)
def test_pools_come_and_go(house):
    fake, checker, client, base = begin(house)
    checker.pools["two"] = fake.lines([4, 5])
    inode = checker.inode()
    checker.reload()
    wait_until(lambda: checker.path("two").exists(), "the second file")
    checker.wait_verdicts("UP", "two")
    second = house.client(checker.path("two"))
    assert set(second.picks().answer) == {"fake4", "fake5"}
    assert checker.inode() == inode
    assert client.picks().answer == base.answer
    assert [p["pool"] for p in checker.dump()["pools"]] == ["two", "web"]
    fake.set(4, "refuse")
    checker.wait_verdicts({"fake4": "DOWN"}, "two")

    del checker.pools["two"]
    checker.reload()
    wait_until(lambda: not checker.path("two").exists(), "it goes")
    # Nobody vouches for it now: all READY servers are as good as any.
    wait_until(lambda: second.picks().blind == 2000, "blind")
    assert set(second.picks().answer) == {"fake4", "fake5"}
    checker.wait_files("web.mcshm")
    assert client.picks().answer == base.answer
    requests = fake.requests()
    wait_until(lambda: fake.requests()[0] > requests[0] + 3, "probes")
    assert fake.requests()[5] == requests[5]

    # It comes back, with nothing of its past.
    checker.pools["two"] = fake.lines([4, 5])
    checker.reload()
    wait_until(lambda: second.picks().blind == 0, "followed")
    checker.wait_verdicts({"fake4": "DOWN", "fake5": "UP"}, "two")
    assert set(second.picks().answer) == {"fake5"}


@pytest.mark.takes(3)
def test_a_bad_file_changes_nothing(house):
    fake, checker, client, base = begin(house)
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    inode, good = checker.inode(), checker.text()
    bad = good + "server = fake9 127.0.0.1:99999\nfrobnicate = 1\n" \
        "interval = 7\n"
    lines = good.count("\n")
    checker.reload(bad)
    for n, what in ((1, "port"), (2, "frobnicate"), (3, "interval|unit")):
        assert checker.logged(rf"{checker.ini}:{lines + n}: .*({what})")
    assert checker.logged("reload refused: 3 errors, the old configuration "
                          "stays")
    assert any("refused" in s for s in checker.told("STATUS"))
    assert checker.inode() == inode
    assert checker.verdicts()["fake1"] == "DOWN"
    requests = fake.requests()
    wait_until(lambda: fake.requests()[0] > requests[0] + 3, "goes on")
    # No file at all is as bad.
    checker.ini.unlink()
    checker.hang_up()
    checker.wait_logged("reload refused: 1 error,")
    # A good one takes the refusal out of the status.
    fake.set(1, "ok")
    checker.reload()
    checker.wait_verdicts("UP")
    assert "refused" not in checker.told("STATUS")[-1]
    assert client.picks().answer == base.answer


@pytest.mark.takes(3)
def test_includes(house):
    fake = house.fake(4)
    checker = house.checker({}, start=False)
    lists = checker.own / "lists"
    lists.mkdir()
    (lists / "a.servers").write_text(f"server = {fake.line(0)}\n")
    (lists / "b.servers").write_text(f"server = {fake.line(1)}\n")
    checker.pools["web"] = {"include": "lists/*.servers"}
    checker.configure()
    checker.start()
    checker.wait_verdicts({"fake0": "UP", "fake1": "UP"})
    (lists / "c.servers").write_text(f"server = {fake.line(2)}\n")
    checker.hang_up()
    checker.wait_logged("pool web: 2 -> 3 servers")
    # An error in one of them is told with its own place.
    (lists / "b.servers").write_text("# two\n\nserver = nonsense\n")
    checker.hang_up()
    checker.wait_logged("reload refused")
    assert checker.logged(r"lists/b\.servers:3: ")
    assert len(checker.servers()) == 3


@pytest.mark.takes(4)
def test_reloads_in_quick_succession(house):
    """The last one wins, whatever the others were."""
    fake, checker, client, base = begin(house)
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    for last in ([0, 1, 2, 3, 4, 5], [5, 4, 1], [1, 2]):
        checker.pools["web"] = fake.lines(range(5))
        checker.configure()
        checker.hang_up()
        checker.pools["web"] = fake.lines([0, 1])
        checker.configure()
        checker.hang_up()
        checker.pools["web"] = fake.lines(last)
        checker.reload()
        wait_until(lambda: [s["name"] for s in checker.pool()["servers"]]
                   == [f"fake{i}" for i in last], f"{last}")
        # The path leads to the one file that is kept up.
        wait_until(lambda: set(client.picks().shares())
                   == {f"fake{i}" for i in last}, "followed")
        assert checker.verdicts()["fake1"] == "DOWN"
        assert "fake1" not in client.picks().answer
    assert len(checker.logged("server=fake1 .*state=DOWN")) == 1
    checker.wait_files("web.mcshm")
    fake.set(1, "ok")
    checker.wait_verdicts("UP")
    assert set(client.picks().answer) == {"fake1", "fake2"}


@pytest.mark.takes(6)
def test_twenty_reloads_under_a_client_that_only_picks(house):
    """It follows by itself and does not grow.  (A unit test replaces the file
    a thousand times.)"""
    fake, checker, client, base = begin(house)
    running = house.client(checker.path())
    running.servers()
    running.picks(10)
    before = running.self()
    daemon = checker.process.descriptors(), checker.process.threads()
    running.run(rate=20000)
    inodes = {checker.inode()}
    for turn in range(20):
        checker.pools["web"] = fake.lines(range(4 + turn % 2, -1, -1))
        checker.reload()
        n = len(checker.pools["web"])
        wait_until(lambda: len(checker.servers()) == n, "exchanged")
        wait_until(lambda: len(client.servers()) == n, "followed")
        inodes.add(checker.inode())
        fake.set(2, "refuse" if turn % 2 else "ok")
    checker.wait_verdicts({"fake2": "DOWN"})
    wait_until(lambda: "fake2" not in client.picks().answer, "followed")
    run = running.stop()
    after = running.self()
    assert len(inodes) > 5 and run.rosters >= 10
    assert run.blind == 0
    assert not {a for a in run.all_said() if a.startswith("E")} - {"EHELD"}
    assert after["fds"] == before["fds"]
    if not SAN:
        assert after["maps"] <= before["maps"] + 2
        assert after["own_kib"] <= before["own_kib"] + 256
        assert after["size_kib"] <= before["size_kib"] + 256
    assert running.picks().answer == client.picks().answer
    # Nor does the daemon.  (One descriptor a server of the last roster.)
    fake.set(2, "ok")
    checker.pools["web"] = fake.lines(range(4))
    checker.reload()
    checker.wait_verdicts(dict.fromkeys(fake.names()[:4], "UP"))
    wait_until(lambda: (checker.process.descriptors(),
                        checker.process.threads()) == daemon,
               f"descriptors, threads: {daemon}")


@pytest.mark.takes(3)
def test_nofollow_waits_for_refresh(house):
    fake, checker, client, base = begin(house)
    careful = house.client(checker.path(), nofollow=True)
    old = careful.picks()
    checker.pools["web"] = fake.lines(range(5))
    checker.reload()
    percent(checker, 4, 5)
    wait_until(lambda: client.picks().roster != base.roster, "the other")
    assert careful.picks().home == old.home
    assert careful.ask("refresh") == {"refresh": 1}
    assert careful.ask("refresh") == {"refresh": 0}
    assert careful.picks().home == client.picks().home


@pytest.mark.takes(4)
def test_drain_and_maint_by_reload(house):
    fake, checker, client, base = begin(house)
    inode = checker.inode()
    checker.pools["web"] = [fake.line(0, "state=drain"),
                            fake.line(1, "state=maint"),
                            *fake.lines([2, 3])]
    checker.reload()
    wait_until(lambda: set(client.picks().answer) == {"fake2", "fake3"},
               "not picked")
    assert client.picks().home == base.home
    assert checker.inode() == inode     # no key has another home
    wait_until(lambda: fake.stats()[1][2] == 0, "MAINT: connection closed")
    before = fake.requests()
    wait_until(lambda: fake.requests()[0] > before[0] + 4, "DRAIN: probed")
    assert fake.requests()[1] == before[1]
    checker.pools["web"] = fake.lines(range(4))
    checker.reload()
    wait_until(lambda: client.picks().answer == base.answer, "home")
    wait_until(lambda: fake.requests()[1] > before[1], "probed again")


@pytest.mark.takes(3)
def test_the_same_name_at_another_address_is_another_server(house):
    fake, checker, client, base = begin(house)
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    lines = fake.lines(range(4))
    lines[1] = f"fake1 127.0.0.1:{fake.ports[5]}"
    checker.pools["web"] = lines
    checker.reload()
    checker.wait_verdicts("UP")
    shown = checker.servers()["fake1"]
    assert "x" not in shown["history"]
    # Its name is its identity: the keys are the same.
    wait_until(lambda: client.picks().answer == base.answer, "home")


@pytest.mark.takes(3)
def test_a_pool_moves_to_another_file(house):
    fake, checker, client, base = begin(house)
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    elsewhere = checker.own / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    checker.pools["web"] = {"server": fake.lines(range(4)),
                            "file": elsewhere / "pages.mcshm"}
    checker.reload()
    wait_until((elsewhere / "pages.mcshm").exists, "the new file")
    wait_until(lambda: not checker.path().exists(), "the old one goes")
    there = house.client(elsewhere / "pages.mcshm")
    # Verdicts go along.
    wait_until(lambda: there.verdicts()["fake1"] == "DOWN", "DOWN there")
    assert len(checker.logged("server=fake1 .*state=")) == 2
    wait_until(lambda: client.picks().blind == 2000, "blind")


def test_another_scheme_is_another_roster(house):
    fake, checker, client, base = begin(house)
    checker.defaults["scheme"] = "libmemcached-modula"
    checker.reload()
    assert percent(checker, 4, 4) > 50
    wait_until(lambda: client.picks().roster != base.roster, "followed")
    assert checker.pool()["scheme"] == "libmemcached-modula"
    assert set(checker.verdicts().values()) == {"UP"}


def test_a_hundred_hangups(house):
    """Signals may come at any time: also before it is ready."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()}, ready=False)
    wait_until(lambda: checker.path().exists(), "its file")
    for _ in range(100):
        checker.hang_up()
    checker.wait_until_ready()
    checker.wait_verdicts("UP")
    assert checker.stop() == 0


@pytest.mark.takes(9)
def test_time_in_maint_is_no_silence(house):
    """A server that went to MAINT in the middle of a silence, and comes back
    silent: nobody looked at it meanwhile, so it begins anew."""
    fake, checker, client, base = begin(house, defaults={
        "hold_after": "1500ms", "rehash_after": "2s"})
    fake.set(1, "hang")
    wait_until(lambda: checker.servers()["fake1"]["history"].endswith("t"),
               "silent")
    checker.pools["web"] = [fake.line(0), fake.line(1, "state=maint"),
                            *fake.lines([2, 3])]
    checker.reload()
    away = time.monotonic()
    wait_until(lambda: checker.servers()["fake1"]["silent_since_ms"] is None,
               "no silence in MAINT")
    verdict = checker.verdicts()["fake1"]
    assert verdict in ("UP", "HELD")
    wait_until(lambda: time.monotonic() - away > 2.5, "longer than it takes")
    checker.pools["web"] = fake.lines(range(4))
    back = time.monotonic()
    checker.reload()
    checker.wait_verdicts({"fake1": "DOWN"})
    assert time.monotonic() - back > 2
    assert len(checker.logged("server=fake1 .*state=DOWN was=HELD")) == 1
    assert client.picks().home == base.home


@pytest.mark.takes(3)
def test_proofs_before_maint_do_not_add_up(house):
    fake, checker, client, base = begin(house, defaults={"fall": 4,
                                                         "jitter": "0%"})
    maint = [fake.line(0), fake.line(1, "state=maint"), *fake.lines([2, 3])]
    fake.set(1, "refuse")
    wait_until(lambda: checker.servers()["fake1"]["history"].endswith("x"),
               "a proof")
    checker.pools["web"] = maint
    checker.reload()
    shown = checker.servers()["fake1"]
    checker.pools["web"] = fake.lines(range(4))
    checker.reload()
    checker.wait_verdicts({"fake1": "DOWN"})
    if shown["verdict"] == "UP":        # else the machine was too slow
        assert checker.servers()["fake1"]["probes"] >= shown["probes"] + 4


@pytest.mark.takes(3)
def test_an_ini_that_lost_all_its_pools_is_refused(house):
    """Half written, most likely: no client shall lose its file for that."""
    fake, checker, client, base = begin(house)
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    inode = checker.inode()
    for text in ("", "[checker]\n"):
        checker.reload(text)
        assert checker.logged("no pool is left; .* stop it instead")
        assert checker.logged("reload refused, the old configuration stays")
        assert any("refused" in s for s in checker.told("STATUS"))
    assert not checker.logged("reloaded|removed")
    assert checker.inode() == inode
    assert checker.verdicts()["fake1"] == "DOWN"
    requests = fake.requests()
    wait_until(lambda: fake.requests()[0] > requests[0] + 3, "goes on")
    assert client.picks().blind == 0
    # Whole again.
    checker.pools["web"] = fake.lines(range(5))
    checker.reload()
    percent(checker, 4, 5)
    assert "refused" not in checker.told("STATUS")[-1]


def test_from_no_pool_to_no_pool(house):
    checker = house.checker({})
    checker.reload()
    checker.wait_logged("reloaded: 0 pools")
    assert not checker.logged("refused")


@pytest.mark.takes(3)
def test_a_pool_moves_and_changes(house):
    """Clients of the old file do not find the new one: that is said."""
    fake, checker, client, base = begin(house)
    there = checker.path("pages")
    checker.pools["web"] = {"server": fake.lines(range(5)), "file": there}
    checker.reload()
    wait_until(there.exists, "the new file")
    assert len(checker.logged("pool web: 4 -> 5 servers$")) == 1
    assert len(checker.logged(f"pool web: file is now {there}; clients that "
                              "have the old one open fall back to all READY "
                              "servers until they open the new one")) == 1
    checker.wait_files("pages.mcshm")
    # The servers are the same.
    checker.pools["web"] = {"server": fake.lines(range(5))}
    checker.reload()
    wait_until(checker.path().exists, "the old place")
    assert len(checker.logged("pool web: file is now ")) == 2
    assert len(checker.logged("-> [0-9]+ servers")) == 1


@pytest.mark.takes(4)
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_pool_that_is_dropped_over_a_restart(house, end):
    """Its file goes when the next daemon starts: nobody keeps it up."""
    fake, checker, client, base = begin(house)
    other = house.checker({"theirs": fake.lines([4])},
                          directory=checker.directory)
    checker.pools["two"] = fake.lines([4, 5])
    checker.reload()
    wait_until(lambda: checker.path("two").exists(), "the second file")
    second = house.client(checker.path("two"))
    inode = checker.inode()
    other.stop()                # that is nobody's, but not our business
    getattr(checker, end)()
    (checker.directory / "notes.mcshm").write_text("mine")
    (checker.directory / "two.mcshm.old").write_text("mine, too")

    del checker.pools["two"]
    checker.configure()
    checker.start()
    checker.wait_logged(f"removed file={checker.path('two')}$")
    assert len(checker.logged("removed")) == 1
    checker.wait_files("notes.mcshm", "theirs.mcshm", "two.mcshm.old",
                       "web.mcshm")
    assert checker.inode() == inode
    (checker.directory / "notes.mcshm").unlink()
    done = house.run(checker.program("mc-shmdump"), ok=False,
                     env={"MCSHM_DIR": str(checker.directory)})
    assert "two" not in done.stdout
    wait_until(lambda: second.picks().blind == 2000, "blind")
    assert client.picks().answer == base.answer


@pytest.mark.takes(3)
def test_a_file_left_behind_goes_with_a_reload(house):
    fake, checker, client, base = begin(house)
    checker.pools = {"two": fake.lines([4, 5])}
    checker.configure()
    left = checker.path().read_bytes()
    checker.reload()
    checker.wait_files("two.mcshm")
    # As an operator puts it back.
    checker.path().write_bytes(left)
    checker.reload()
    checker.wait_files("two.mcshm")
    checker.wait_verdicts("UP", "two")


def test_other_terms_are_told(house):
    """What makes every key move stands in the log, at level warning."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")

    def reload(**terms):
        checker.pools["web"] = {**terms, "server": fake.lines(range(3))}
        told = len(checker.logged(HOMES.format(3, 3)))
        checker.reload()
        return wait_until(
            lambda: checker.logged(HOMES.format(3, 3))[told:],
            "it is told")[-1]

    line = reload(dead="miss", failover_ttl="2m")
    assert line.endswith("another home dead=rehash->miss "
                         "failover_ttl=0s->120s")
    assert " notice " in line
    line = reload(scheme="libmemcached-ketama", hash="hsieh", points_hash="md5",
                  hash_chars="unsigned")
    assert line.endswith(
        "another home scheme=maglev->libmemcached-ketama hash=xxh3->hsieh "
        "points_hash=xxh3->md5 hash_chars=signed->unsigned "
        "dead=miss->rehash failover_ttl=120s->0s")
    assert " warning " in line
    line = reload(scheme="twemproxy-ketama", hash_tag="{}")
    assert "scheme=libmemcached-ketama->twemproxy-ketama" in line
    assert "hash_tag=none->{}" in line and "buckets" not in line
    reload(scheme="libmemcached-virtual-bucket")
    line = reload(scheme="libmemcached-virtual-bucket", buckets="0 1 2 1")
    assert line.endswith("another home buckets=changed")
    assert " warning " in line
    # A pool that goes to another file says it as well.
    checker.pools["web"] = {"server": fake.lines(range(3)),
                            "file": checker.directory / "other.mcshm"}
    checker.reload()
    line = checker.wait_logged("pool web: 3 -> 3 servers scheme=")[-1]
    assert "scheme=libmemcached-virtual-bucket->maglev" in line
    assert "buckets=changed" in line and " warning " in line


@pytest.mark.takes(2)
def test_what_the_operator_says_is_obeyed_at_once(house):
    """Not with the next heartbeat, which is far."""
    fake, checker, client, base = begin(
        house, checker={"heartbeat": "1m", "stale_after": "1h"})
    checker.pools["web"] = [fake.line(i, "state=maint" if i == 1 else "")
                            for i in range(4)]
    checker.reload()
    wait_until(lambda: "fake1" not in client.picks().answer, "taken out")
    checker.pools["web"] = fake.lines(range(4))
    checker.reload()
    wait_until(lambda: client.picks().all_home(), "back again")
