"""What nobody looks at any more is not called well.

Faults of our own host step no verdict, and a file that can not be made leaves
clients on the old one.  Both are right, and both must be seen.
"""
import re

import pytest

from .harness import wait_until

NEAR = "10.9.9.1"


def unseen(checker, pool="web"):
    return {n for n, s in checker.servers(pool).items() if s["unseen"]}


def wait_unseen(checker, wanted, pool="web"):
    def there():
        now = unseen(checker, pool)
        assert now == set(wanted), f"{now} is not {set(wanted)}"
        return True
    wait_until(there, f"unseen: {wanted}")


@pytest.mark.takes(6)
def test_our_address_is_gone(house):
    """Verdicts stay, monitoring does not stay green; a name with a typo is
    one server of several."""
    space = house.netns()
    space.ip("addr", "add", f"{NEAR}/32", "dev", "lo")
    fake = house.fake(2, netns=space)
    checker = house.checker({
        "web": {"server": fake.lines(), "source": NEAR},
        "typo": fake.lines([0]) + ["lost no-such-host.invalid:11211"],
    }, netns=space)
    checker.wait_verdicts("UP")
    assert checker.dump_code() == 0
    wait_unseen(checker, {"lost"}, "typo")
    assert checker.dump_code("typo") == 1
    lost = checker.servers("typo")["lost"]
    assert lost["verdict"] == "UNKNOWN" and lost["usable"]
    picture = checker.shmdump(checker.path("typo")).stdout
    assert "1 UNSEEN" in picture
    assert re.search(r"!! lost .*UNKNOWN", picture)
    assert re.search(r"not looked at for \d[^:]*: its name does not\s+"
                     "resolve, see the log", picture)

    space.ip("addr", "del", f"{NEAR}/32", "dev", "lo")
    wait_unseen(checker, fake.names())
    fake.set(0, "refuse")
    assert checker.dump_code() == 2
    assert checker.pool()["unseen"] == 2
    assert set(checker.verdicts().values()) == {"UP"}
    picture = checker.shmdump(checker.path()).stdout
    assert "2 of 2 usable: 2 UNSEEN" in picture
    assert re.search(r"!! fake0 .* UP ", picture)
    assert re.search("BLIND: it can look at none", picture)
    assert re.search(r"not looked at for \d[^:]*: a fault of this host, "
                     "see the log", picture)
    assert "unseen since" in checker.shmdump(
        "-s", "fake1", checker.path()).stdout

    space.ip("addr", "add", f"{NEAR}/32", "dev", "lo")
    checker.wait_verdicts({"fake0": "DOWN", "fake1": "UP"})
    wait_unseen(checker, set())
    assert checker.dump_code() == 1
    fake.set(0, "ok")
    checker.wait_verdicts("UP")
    assert checker.dump_code() == 0


@pytest.mark.takes(4)
def test_no_descriptors(house):
    """Who keeps its connection is seen, the others are not."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()},
                            defaults={"fresh_every": "1000"})
    checker.wait_verdicts("UP")
    house.run("prlimit", "--pid", checker.pid, "--nofile=5:1024")
    fake.set(0, "drop-idle")
    wait_unseen(checker, {"fake0"})
    assert checker.dump_code() == 1
    shown = checker.servers()
    assert shown["fake0"]["verdict"] == "UP"
    assert shown["fake0"]["local_errors"] > 0
    assert shown["fake0"]["unseen_ms"] > 0
    assert shown["fake1"]["unseen_ms"] is None
    fake.set(0, "ok")
    house.run("prlimit", "--pid", checker.pid, "--nofile=1024:1024")
    wait_unseen(checker, set())
    assert checker.dump_code() == 0


@pytest.mark.takes(6)
def test_a_reload_without_room(house):
    """Nobody probes a server that was removed, and its slot says so; whoever
    waits for the reload gets to hear what became of it."""
    fake = house.fake(3)
    probe = house.checker({"web": fake.lines()})
    probe.stop()
    small = house.tmpfs(probe.path().stat().st_size * 3 // 2)
    checker = house.checker({"web": fake.lines()}, directory=small)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    inode = checker.inode()
    fake.set(2, "refuse")
    checker.wait_verdicts({"fake2": "DOWN"})
    assert checker.dump_code() == 1

    checker.pools["web"] = fake.lines([1])
    checker.reload()
    assert checker.inode() == inode
    status = checker.told("STATUS")[-1]
    assert "reloaded, but pool web's file is still the old one: " in status
    assert "No space left on device" in status and "web 1/1 usable" in status
    fake.set(0, "refuse")
    wait_until(lambda: checker.verdicts() == {
        "fake0": "UNKNOWN", "fake1": "UP", "fake2": "DOWN"}, "UNKNOWN")
    shown = checker.servers()
    assert shown["fake0"]["reason"] == "local" and shown["fake0"]["usable"]
    # Who was dead is not used again because nobody looks.
    assert not shown["fake2"]["usable"]
    assert "fake2" not in client.picks().answer
    wait_unseen(checker, {"fake0"})
    assert checker.dump_code() == 2
    assert checker.pool()["vain_ms"] > 0
    picture = " ".join(checker.shmdump(checker.path()).stdout.split())
    assert re.search(r"!! a newer configuration waits for \d[^,]*, as its "
                     "file can not be made: clients still have the old "
                     "servers; see the log", picture)

    # Each reload says so again.
    assert len(checker.logged("cannot publish what was read, clients still "
                              "have the old.*No space left")) == 1
    since = checker.pool()["vain_ms"]
    checker.reload()
    wait_until(lambda: len(checker.logged("cannot publish.*No space")) == 2,
               "told again")
    assert checker.pool()["vain_ms"] >= since
    assert checker.dump_code() == 2

    house.run("mount", "-o", "remount,size=16m", small)
    checker.wait_logged("pool web: 3 -> 1 servers")
    checker.wait_logged("publishes again")
    wait_until(lambda: checker.told("STATUS")[-1] == "web 1/1 usable",
               "the status")
    assert checker.verdicts() == {"fake1": "UP"}
    assert checker.pool()["vain_ms"] is None
    assert checker.dump_code() == 0
    # What is READY is what clients have.
    inode = checker.inode()
    fake.set("all", "ok")
    checker.pools["web"] = fake.lines([0, 1])
    checker.reload()
    assert checker.inode() != inode


@pytest.mark.takes(4)
def test_a_reload_that_is_taken_back(house):
    """The old file will do, and nothing waits any more."""
    fake = house.fake(2)
    probe = house.checker({"web": fake.lines()})
    probe.stop()
    small = house.tmpfs(probe.path().stat().st_size * 3 // 2)
    checker = house.checker({"web": fake.lines()}, directory=small)
    checker.wait_verdicts("UP")
    checker.pools["web"] = fake.lines([1])
    checker.reload()
    wait_until(lambda: checker.verdicts()["fake0"] == "UNKNOWN", "UNKNOWN")
    checker.pools["web"] = fake.lines()
    checker.reload()
    assert checker.told("STATUS")[-1] == "web 2/2 usable"
    checker.wait_verdicts("UP")
    assert checker.dump_code() == 0
    assert checker.pool()["vain_ms"] is None
    checker.wait_logged("publishes again")
    # Nor can a daemon that is started anew; nobody waits for that for ever.
    checker.stop()
    checker.pools["web"] = fake.lines([1])
    checker.configure()
    checker.start()
    wait_until(lambda: re.match(
        "pool web's file is still the old one: .*; web 1/1 usable$",
        checker.told("STATUS")[-1]), "the status")
    assert checker.dump_code() == 2
    wait_until(lambda: checker.verdicts() == {"fake0": "UNKNOWN",
                                              "fake1": "UP"}, "UNKNOWN")
