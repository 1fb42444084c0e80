"""Names are resolved beside the loop: they hang, fail, come back, and move."""
import time

import pytest

from .harness import BUILD, Dns, wait_until

PORT = 11211
OLD, NEW = "127.0.1.1", "127.0.1.2"
HOLE = "127.0.1.3"              # packets that go there vanish
ELSE = "127.0.1.4"              # nobody is there


class World:
    """Servers s0, s1, ... with a fake each at OLD and at NEW, names for them,
    and whoever is to use these."""

    def __init__(self, house, servers, hole=False):
        self.house = house
        self.netns = house.netns()
        if hole:
            self.netns.nft("add", "table", "inet", "hole")
            self.netns.nft("add chain inet hole in { type filter hook input "
                           "priority 0; }")
            self.netns.nft(f"add rule inet hole in ip daddr {HOLE} drop")
        self.dns = Dns(house, self.netns)
        self.old, self.new = (
            house.fake(servers, netns=self.netns, ip=ip, port=PORT)
            for ip in (OLD, NEW))
        self.names = [f"s{i}" for i in range(servers)]

    def checker(self, names=None, **more):
        return self.house.checker(
            {"web": [f"{n} {n}.test:{self.port(n)}"
                     for n in names or self.names]},
            before=self.dns.before, netns=self.netns, **more)

    def port(self, name):
        return PORT + int(name[1:] or 0)


def in_use(checker, name):
    """The address that clients get, and the others."""
    return [a.rpartition(":")[0] for a in checker.servers()[name]["resolved"]]


def wait_in_use(checker, name, *addresses, seconds=15):
    wait_until(lambda: in_use(checker, name) == list(addresses),
               f"{name} at {addresses}", seconds)


@pytest.fixture
def ttl(house):
    """getaddrinfo(3) does not say how long an answer is good for."""
    if "libcares" not in house.run("ldd", BUILD / "mc-checkerd").stdout:
        pytest.skip("built without c-ares")


@pytest.mark.takes(6)
def test_a_resolver_that_hangs(house):
    """READY all the same, others are probed in time, and it ends at once."""
    world = World(house, 2)
    for name in world.names:
        world.dns.set(f"{name}.test", OLD, ttl=300)
    for name in ("s7.test", "s8.test", "s9.test"):
        world.dns.fail(name, "silent")
    checker = world.checker(["s0", "s1", "s7", "s8"])
    passed = checker.notifications.having("READY")[0][0] - checker.began
    assert passed < 4
    checker.wait_verdicts({n: "UP" for n in world.names})
    before = world.old.requests()
    # 200 ms apart, as if nothing was; a busy machine may take longer, but a
    # loop that waits for names would take for ever.
    wait_until(lambda: min(n - m for n, m
                           in zip(world.old.requests(), before))
               >= 8, "probes", 6)
    shown = checker.servers()["s7"]
    assert shown["verdict"] == "UNKNOWN" and shown["failures"] == 0
    # A reload asks again, beside those who still hang.
    checker.pools["web"].append("s9 s9.test:11220")
    checker.reload()
    checker.wait_logged("pool web: 4 -> 5 servers", 5)
    client = house.client(checker.path())
    assert len(client.picks().shares()) == 5
    began = time.monotonic()
    assert checker.stop() == 0
    assert time.monotonic() - began < 1


@pytest.mark.takes(5)
def test_a_name_that_resolves_later(house):
    world = World(house, 2)
    world.dns.set("s0.test", OLD, ttl=300)
    checker = world.checker()
    checker.wait_verdicts({"s0": "UP"})
    checker.wait_logged("server=s1 .*resolved=no")
    wait_until(lambda: checker.servers()["s1"]["reason"], "it in the file")
    shown = checker.servers()["s1"]
    # Own fault: usable, as far as anybody knows.
    assert (shown["verdict"], shown["reason"], shown["usable"]) == \
        ("UNKNOWN", "unresolved", True)
    client = house.client(checker.path())
    assert [s["address"] for s in client.servers()][1] is None
    world.dns.set("s1.test", OLD)
    checker.wait_verdicts("UP", seconds=15)
    checker.wait_logged("server=s1 .*resolved=yes")
    assert [s["address"] for s in client.servers()][1] == f"{OLD} {PORT + 1}"
    assert client.picks().all_home()


@pytest.mark.takes(5)
def test_a_hang_that_ends(house):
    """So it does when another name server is asked from now on."""
    world = World(house, 1)
    world.dns.fail("s0.test", "silent")
    checker = world.checker()
    wait_until(lambda: world.dns.asked("s0.test"), "a question")
    assert checker.verdicts() == {"s0": "UNKNOWN"}
    world.dns.start("127.0.0.54")
    world.dns.set("s0.test", OLD)
    world.dns.ask("127.0.0.54")
    checker.wait_verdicts("UP", seconds=15)


@pytest.mark.takes(3)
def test_an_address_outlives_the_resolver(house):
    """A daemon that starts while names do not resolve goes on with the
    addresses of the last one."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD)
    checker = world.checker()
    checker.wait_verdicts("UP")
    checker.kill()
    world.dns.fail("s0.test", "silent")
    world.old.set(0, "refuse")
    checker.start(before=world.dns.before, netns=world.netns)
    checker.wait_verdicts("DOWN")
    assert checker.servers()["s0"]["reason"] == "refused"
    world.old.set(0, "ok")
    checker.wait_verdicts("UP")


@pytest.mark.takes(2)
def test_hosts(house):
    """What /etc/hosts has is not asked for."""
    world = World(house, 1)
    world.dns.hosts.write_text(f"{OLD} other S0.test s0.alias\n")
    checker = world.checker()
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0") == [OLD]
    assert world.dns.asked("s0.test") == 0


@pytest.mark.takes(8)
def test_servers_that_are_well_stay(house, ttl):
    """Whatever is said of their names; but where another one answers."""
    world = World(house, 10, hole=True)
    dns = world.dns
    for name in world.names:
        dns.set(f"{name}.test", OLD)
    dns.set("s7.test", NEW)
    dns.set("s8.test", OLD, ttl=3600)
    dns.set("a9.test", NEW, ttl=3600)
    checker = world.checker(world.names + ["a9"])
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    before, home = checker.pool(), client.picks().home
    asked = {n: dns.asked(f"{n}.test") for n in world.names}
    dns.set("s1.test", NEW)
    dns.set("s2.test", HOLE)
    dns.fail("s3.test", "nxdomain")
    dns.fail("s4.test", "servfail")
    dns.fail("s5.test", "silent")
    dns.set("s6.test")
    dns.set("s7.test", OLD, NEW)
    dns.set("s9.test", NEW)
    # The new one was probed first.
    checker.wait_logged(f"server=s1 .*address={NEW}:11212 was={OLD}:11212", 20)
    checker.wait_logged(f"server=s2 .*address={OLD}:11213 "
                        f"elsewhere={HOLE}:11213")
    # Where s9 is to be there is another one.
    checker.wait_logged(f"server=s9 .*address={OLD}:11220 "
                        f"elsewhere={NEW}:11220")
    for name in ("s3", "s4", "s6"):
        checker.wait_logged(f"server={name} .*resolved=no", 20)
    for name in world.names[:8]:
        wait_until(lambda: dns.asked(f"{name}.test") > asked[name],
                   f"{name} asked again")
    wait_in_use(checker, "s7", NEW, OLD)
    wait_in_use(checker, "s1", NEW)
    assert dns.asked("s8.test") == asked["s8"]
    after = checker.pool()
    for one, other in zip(before["servers"], after["servers"]):
        assert other["verdict"] == "UP"
        assert one["transitions"] == other["transitions"], one["name"]
    assert int(after["address_epoch"]) == int(before["address_epoch"]) + 1
    assert in_use(checker, "s2") == [OLD, HOLE]
    assert in_use(checker, "s3") == [OLD]
    assert [s["address"].split()[0] for s in client.servers()] == \
        [OLD, NEW] + 5 * [OLD] + [NEW, OLD, OLD, NEW]
    picks = client.picks()
    assert picks.home == home and picks.all_home()
    assert world.new.requests()[2:7] == [0] * 5


@pytest.mark.takes(6)
def test_servers_that_die_are_followed(house):
    world = World(house, 2, hole=True)
    for name in world.names:
        world.dns.set(f"{name}.test", OLD, ttl=3600)
    checker = world.checker()
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    home = client.picks().home
    world.dns.set("s0.test", NEW)
    world.dns.set("s1.test", HOLE)
    world.old.set("all", "refuse")
    # Nobody is there; and nobody may come back where it was.
    checker.wait_logged(f"server=s1 .*address={HOLE}:11212 was={OLD}:11212")
    wait_in_use(checker, "s0", NEW)
    world.old.set("all", "ok")
    checker.wait_verdicts({"s0": "UP", "s1": "DOWN"})
    assert in_use(checker, "s1") == [HOLE]
    world.dns.set("s1.test", NEW)
    checker.wait_verdicts("UP", seconds=20)
    assert in_use(checker, "s1") == [NEW]
    assert world.old.stats()[0][2] == 0
    picks = client.picks()
    assert picks.home == home and picks.all_home()


@pytest.mark.takes(3)
def test_more_addresses_than_are_known(house):
    """Its own is the highest: it is not given up for not being heard of."""
    world = World(house, 1)
    world.dns.hosts.write_text(f"{OLD} s0.test\n")
    checker = world.checker()
    checker.wait_verdicts("UP")
    world.dns.hosts.write_text("".join(
        f"{ip} s0.test\n" for ip in
        [OLD, *(f"127.0.0.{i}" for i in range(60, 100))]))
    world.old.set(0, "refuse")
    checker.wait_verdicts("DOWN")
    wait_until(lambda: len(in_use(checker, "s0")) == 4, "others")
    before = checker.servers()["s0"]["failures"]
    wait_until(lambda: checker.servers()["s0"]["failures"] >= before + 5,
               "probes")
    assert in_use(checker, "s0")[0] == OLD
    world.old.set(0, "ok")
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0")[0] == OLD and moves(checker) == 0


@pytest.mark.takes(4)
def test_several_addresses(house):
    """One that answers is found, whatever the family, and stays in use."""
    world = World(house, 1)
    third = house.fake(1, netns=world.netns, ip="::1", port=PORT)
    world.dns.set("s0.test", OLD, NEW, "::1", ttl=3600)
    world.old.set(0, "refuse")
    world.new.set(0, "hang")
    checker = world.checker()
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0")[0] == "[::1]"
    client = house.client(checker.path())
    assert client.servers()[0]["address"].split()[0] == "::1"
    world.old.set(0, "ok")
    before = third.requests()[0]
    wait_until(lambda: third.requests()[0] >= before + 3, "probes")
    assert in_use(checker, "s0")[0] == "[::1]"
    third.set(0, "hang")
    wait_until(lambda: in_use(checker, "s0")[0] == OLD, "the first one", 10)
    checker.wait_verdicts("UP")
    world.old.set(0, "refuse")
    checker.wait_verdicts("DOWN")
    world.new.set(0, "ok")
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0")[0] == NEW


@pytest.mark.takes(12)
def test_answers_that_contradict_each_other(house, ttl):
    """All servers are well: nobody is moved to and fro, but where it is DOWN;
    and somebody is told of it."""
    world = World(house, 3)
    for name in world.names:
        world.dns.set(f"{name}.test", OLD)
    checker = world.checker()
    checker.wait_verdicts("UP")
    before = checker.pool()
    for name in ("s0.test", "s1.test"):
        world.dns.turns(name, OLD, NEW)
    # Elsewhere, and elsewhere again.
    world.dns.turns("s2.test", NEW, ELSE)
    for name in ("s0", "s1"):
        checker.wait_logged(f"server={name} .*address={OLD}:\\d+ "
                            f"elsewhere={NEW}:.*", 25)
        wait_until(lambda: checker.servers()[name]["degraded_names"] ==
                   ["address"], "it in the file")
    checker.wait_logged(f"server=s2 .*contradict.* address={OLD}:")
    assert moves(checker) == 0
    after = checker.pool()
    assert after["address_epoch"] == before["address_epoch"]
    assert checker.servers()["s0"]["degraded_names"] == ["address"]
    assert len(checker.logged("server=s0 .*elsewhere=")) == 1
    # The dead are not kept waiting.
    world.old.set(1, "refuse")
    wait_until(lambda: in_use(checker, "s1")[0] == NEW, "s1 at the new one",
               20)
    checker.wait_verdicts("UP")
    assert moves(checker) == 0
    assert in_use(checker, "s2")[0] == OLD


@pytest.mark.takes(2)
def test_a_family_without_a_route(house):
    """That is our own fault, and steps no verdict; but the other family may
    have one."""
    world = World(house, 1)
    third = house.fake(1, netns=world.netns, ip="::1", port=PORT)
    world.dns.set("s0.test", "192.0.2.1", "::1", ttl=3600)
    checker = world.checker()
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0") == ["[::1]", "192.0.2.1"]
    before = third.requests()[0]
    wait_until(lambda: third.requests()[0] >= before + 3, "probes")
    shown = checker.servers()["s0"]
    assert in_use(checker, "s0")[0] == "[::1]" and shown["failures"] == 0


FLUSH = {"on_recovery": "flush-if-stale"}


@pytest.mark.takes(4)
def test_one_answer_for_all_names(house):
    """Nobody moves to where another server of the pool is, however dead it is
    where it was; and nobody is flushed for it."""
    world = World(house, 1)
    for name, address in (("a0", OLD), ("b0", NEW)):
        world.dns.set(f"{name}.test", address)
    checker = world.checker(["a0", "b0"], defaults=FLUSH)
    checker.wait_verdicts("UP")
    world.dns.set("a0.test", NEW)
    world.old.set(0, "refuse")
    checker.wait_verdicts({"a0": "DOWN"})
    checker.wait_logged(f"server=a0 .*address={OLD}:11211 "
                        f"elsewhere={NEW}:11211")
    before = checker.servers()["a0"]["failures"]
    wait_until(lambda: checker.servers()["a0"]["failures"] >= before + 5,
               "probes")
    shown = checker.servers()
    assert shown["a0"]["verdict"] == "DOWN"
    assert in_use(checker, "a0") == [OLD, NEW]
    assert shown["b0"]["verdict"] == "UP" and not shown["b0"]["transitions"] > 1
    assert not checker.logged("flush")


@pytest.mark.takes(3)
def test_names_that_are_swapped(house):
    """Nobody is there any more: then neither is in the other's way."""
    world = World(house, 1)
    world.dns.set("a0.test", OLD)
    world.dns.set("b0.test", NEW)
    checker = world.checker(["a0", "b0"])
    checker.wait_verdicts("UP")
    for fake in (world.old, world.new):
        fake.set(0, "refuse")
    world.dns.set("a0.test", NEW)
    world.dns.set("b0.test", OLD)
    wait_in_use(checker, "a0", NEW, seconds=20)
    wait_in_use(checker, "b0", OLD, seconds=20)
    for fake in (world.old, world.new):
        fake.set(0, "ok")
    checker.wait_verdicts("UP")


@pytest.mark.takes(3)
def test_a_trial_that_ends_too_late(house):
    """It was to help a server that has come back by then, which stays."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD, NEW, ttl=3600)
    checker = world.checker(defaults={"interval": "5s", "timeout": "5s"})
    checker.wait_verdicts("UP")

    def tried():
        return world.house.run(*world.netns.enter, "ss", "-tnH", "state",
                               "established", "dst", NEW).stdout
    world.new.process.stop()            # the kernel takes the connection
    world.old.set(0, "refuse")
    wait_until(tried, "a trial")
    world.old.set(0, "ok")
    wait_until(lambda: "x+" in checker.servers()["s0"]["history"],
               "it is back")
    world.new.process.cont()
    wait_until(lambda: not tried(), "its end")
    assert in_use(checker, "s0") == [OLD, NEW] and moves(checker) == 0


@pytest.mark.takes(8)
def test_a_move_makes_a_new_server(house, ttl):
    """At once, whatever the pace: its first answer counts, and the outage of
    the old one says nothing of it.  A trial that finds it full is no reason to
    leave one that is well."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD)
    checker = world.checker(defaults=FLUSH | {
        "down_interval": "30s", "rise": 5, "min_down_time": "20s"})
    checker.wait_verdicts("UP")
    world.new.set(0, "maxconns")
    world.dns.set("s0.test", NEW)
    checker.wait_logged(f"address={OLD}:11211 elsewhere={NEW}:11211", 20)
    wait_until(lambda: world.new.stats()[0][1] >= 3, "trials")
    assert in_use(checker, "s0") == [OLD, NEW]
    world.old.set(0, "refuse")
    checker.wait_verdicts("DOWN")
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0") == [NEW]
    assert checker.servers()["s0"]["returned"] == []
    assert not checker.logged("flush")


def moves(checker):
    return len(checker.logged(f"server=s0 .*was=({OLD}|{NEW}):"))


@pytest.mark.takes(3)
def test_what_a_move_does_not_cure(house):
    """A server that answers, and answers wrong."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD, NEW, ttl=3600)
    checker = world.checker(defaults={"expect_version": "1.4.*"})
    checker.wait_verdicts("DOWN")
    assert checker.servers()["s0"]["reason"] == "wrong-version"
    world.new.set(0, "garbage")
    before = checker.servers()["s0"]["failures"]
    wait_until(lambda: checker.servers()["s0"]["failures"] >= before + 5,
               "probes")
    assert moves(checker) == 0


@pytest.mark.takes(3)
def test_a_sick_server_stays(house):
    """A fault for which it is to be DOWN, at each of its addresses."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD, NEW, ttl=3600)
    for fake in (world.old, world.new):
        fake.set(0, "no-memory")
    checker = world.checker(defaults={"probe": "set", "on_no_memory": "down"})
    checker.wait_verdicts("DOWN")
    before = checker.servers()["s0"]["failures"]
    wait_until(lambda: checker.servers()["s0"]["failures"] >= before + 5,
               "probes")
    assert moves(checker) == 0


@pytest.mark.takes(4)
def test_moves_do_not_go_on_and_on(house):
    """Where a trial gets through, and a probe does not."""
    world = World(house, 1, hole=True)
    world.dns.set("s0.test", OLD, NEW, ttl=3600)
    world.netns.nft("add rule inet hole in ip daddr 127.0.1.0/24 "
                    "meta length > 400 drop")
    checker = world.checker(defaults={
        "probe": "set", "canary_size": "1000", "interval": "100ms",
        "timeout": "50ms", "down_interval": "100ms"})
    checker.wait_verdicts("DOWN")
    assert moves(checker) > 0
    before = checker.pool()
    wait_until(lambda: checker.servers()["s0"]["failures"] >=
               before["servers"][0]["failures"] + 16, "probes")
    # Not one after each; the pauses are 1.6 s and more by now.
    assert int(checker.pool()["address_epoch"]) <= \
        int(before["address_epoch"]) + 8


@pytest.mark.takes(7)
def test_a_broken_family(house, ttl):
    """Whose questions always fail: the other one is followed all the same."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD)
    world.dns.fail("s0.test", "servfail", "aaaa")
    checker = world.checker()
    checker.wait_verdicts("UP")
    world.dns.set("s0.test", NEW)
    wait_in_use(checker, "s0", NEW, seconds=20)


@pytest.mark.takes(2)
def test_search_domains(house, ttl):
    """The first that has the name has it, in whatever family."""
    world = World(house, 1)
    third = house.fake(1, netns=world.netns, ip="::1", port=PORT)
    world.dns.ask("127.0.0.53", search=("prod.test", "dev.test"))
    world.dns.set("s0.prod.test", "::1")
    world.dns.set("s0.dev.test", OLD)
    world.dns.set("s1.prod.test", OLD)
    world.dns.set("s1.dev.test", "::1")
    checker = house.checker({"web": [f"{n} {n}:{PORT}" for n in ("s0", "s1")]},
                            before=world.dns.before, netns=world.netns)
    checker.wait_verdicts("UP")
    assert in_use(checker, "s0") == ["[::1]"]
    assert in_use(checker, "s1") == [OLD]
    assert third.requests()[0] and not world.dns.asked("s0.dev.test")


@pytest.mark.takes(4)
def test_a_reload_while_all_hangs(house):
    """A probe and a question are under way, and both are done anew."""
    world = World(house, 1)
    world.dns.set("s0.test", OLD, ttl=3600)
    checker = world.checker(defaults={"interval": "1s", "timeout": "1s",
                                      "fast_interval": "1s"})
    checker.wait_verdicts("UP")
    world.dns.fail("s0.test", "silent")
    world.old.set(0, "hang")
    wait_until(lambda: world.dns.asked("s0.test") >= 3, "a question")
    before = world.old.requests()[0]
    wait_until(lambda: world.old.requests()[0] > before, "a probe")
    checker.defaults["probe"] = "mn"
    checker.reload()
    world.old.set(0, "ok")
    before = world.old.requests()[0]
    wait_until(lambda: world.old.requests()[0] > before, "probes", 5)
    checker.wait_verdicts("UP")


def test_localhost(house):
    """A real name, the real resolver."""
    server = house.memcached(name="here")
    checker = house.checker({"web": [f"here localhost:{server.port}"]})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    assert client.servers()[0]["address"] == f"127.0.0.1 {server.port}"
    assert checker.servers()["here"]["address"] == f"localhost:{server.port}"
