"""Servers die, hang and come back; shipped defaults where time is the point."""
import collections
import json
import re

import pytest

from .harness import wait_until

# Each probe is in the log, and then what follows from it: how long it took to
# be known is told in probes, whatever the machine does meanwhile.
TELLS = {"checker": {"log_probes": "all"}, "options": ["-v"]}


def four(house, **more):
    servers = house.memcacheds(4)
    checker = house.checker({"web": [s.line for s in servers]}, **TELLS,
                            **more)
    checker.wait_verdicts("UP")
    return servers, checker, house.client(checker.path())


def led_to(checker, name, verdict):
    """[(result, seconds)] of the probes that failed, one after the other,
    until it first was that."""
    failed = []
    for line in checker.logged(f"server={name} "):
        if m := re.search(r" result=(\S+) took=([\d.]+)ms", line):
            failed.append((m[1], float(m[2]) / 1000))
            if m[1] == "ok":
                failed.clear()
        elif f" state={verdict} " in line:
            return failed
    raise AssertionError(f"{name} was never {verdict}")


def at_once(checker, name, verdict, limit):
    """The first probe that could say that it was silent for so long has said
    it: those before it did not take so long.  HELD, for one, needs two."""
    failed = led_to(checker, name, verdict)
    assert len(failed) >= 2
    assert len(failed) == 2 or checker.logged("TILT, silence") or \
        sum(seconds for _, seconds in failed[:-1]) < limit, failed
    return [result for result, _ in failed]


@pytest.mark.takes(9)
def test_a_killed_server_is_rehashed_and_comes_home(house):
    servers, checker, client = four(house, shipped=True)
    base = client.picks()
    assert base.all_home() and len(base.shares()) == 4
    client_running = house.client(checker.path())
    client_running.servers()
    client_running.run()

    servers[2].kill()
    wait_until(lambda: client.verdicts()["cache2"] == "DOWN", "cache2 DOWN")
    # The third failure, and no other.
    assert len(led_to(checker, "cache2", "DOWN")) == 3

    shown = checker.servers()["cache2"]
    assert shown["verdict"] == shown["state"] == "DOWN"
    assert (shown["reason"], shown["usable"], shown["held"]) == \
        ("refused", False, False)
    assert shown["history"].endswith("xxx") and "+" in shown["history"]
    assert shown["share_now"] == 0 and 0.2 < shown["share_home"] < 0.3
    assert checker.dump_code() == 1
    assert len(checker.logged("server=cache2 .*state=DOWN was=UP "
                              "reason=refused")) == 1

    away = client.picks()
    assert away.home == base.home
    away.only_moved("cache2")
    # They spread over all the others, evenly.
    spread = away.of("cache2")
    assert set(spread) == {"cache0", "cache1", "cache3"}
    assert min(spread.values()) > sum(spread.values()) / 6

    servers[2].restart()
    wait_until(lambda: client.verdicts()["cache2"] == "UP", "cache2 UP", 15)
    # It began empty: two answers will do, and min_down_time means nothing.
    shown = checker.servers()["cache2"]
    assert shown["returned"] == ["restarted"]
    assert "x++" in shown["history"]
    assert client.picks().answer == base.answer
    assert checker.dump_code() == 0

    run = client_running.stop()
    assert run.blind == 0 and run.rosters == 0
    for name in ("cache0", "cache1", "cache3"):
        assert run.of(name) == {name}
    # Each of its keys left once and came back once.
    assert run.of("cache2") == {"cache0", "cache1", "cache2", "cache3"}
    assert run.changes == 2 * base.home[:500].count("cache2")


@pytest.mark.takes(15)
def test_a_stopped_server_is_held_then_rehashed_and_comes_home(house):
    servers, checker, client = four(house, shipped=True)
    base = client.picks()
    running = house.client(checker.path())
    running.servers()
    running.run()

    servers[1].stop()
    wait_until(lambda: client.verdicts()["cache1"] == "HELD", "HELD")
    picks = client.picks()
    picks.only_moved("cache1")
    assert set(picks.of("cache1")) == {"EHELD"}
    shown = checker.servers()["cache1"]
    assert shown["silent_since_ms"] - shown["since_ms"] >= 1000 - 1
    assert at_once(checker, "cache1", "HELD", 1) == ["timeout"] * 2
    assert (shown["state"], shown["held"], shown["usable"]) == \
        ("HELD", True, False)
    assert shown["reason"] == "timeout" and shown["history"].endswith("tt")
    assert checker.dump_code() == 1

    wait_until(lambda: client.verdicts()["cache1"] == "DOWN", "DOWN")
    shown = checker.servers()["cache1"]
    assert shown["silent_since_ms"] - shown["since_ms"] >= 5000 - 1
    at_once(checker, "cache1", "DOWN", 5)
    picks = client.picks()
    picks.only_moved("cache1")
    assert "EHELD" not in picks.answer and "cache1" not in picks.answer

    servers[1].cont()
    wait_until(lambda: client.verdicts()["cache1"] == "UP", "UP", 15)
    shown = checker.servers()["cache1"]
    assert shown["down_since_ms"] - shown["back_since_ms"] >= 5000 - 1
    assert client.picks().answer == base.answer
    assert [line.split("state=")[1].split()[0] for line
            in checker.logged("server=cache1 .*was=[UHD]")] == \
        ["UP", "HELD", "DOWN", "UP"]

    run = running.stop()
    assert run.blind == 0
    for name in ("cache0", "cache2", "cache3"):
        assert run.of(name) == {name}
    assert run.of("cache1") == {"cache0", "cache1", "cache2", "cache3",
                                "EHELD"}


@pytest.mark.takes(5)
def test_packets_are_lost_on_the_way(house):
    """To one of two, and nobody is told.  Two probes are not long enough."""
    wire = house.wire()
    near = house.memcached(name="near", ip=wire.near_address, netns=wire.near)
    far = house.memcached(name="far", ip=wire.far_address, netns=wire.far)
    checker = house.checker(
        {"web": [near.line, far.line]}, **TELLS, netns=wire.near,
        defaults={"timeout": "150ms", "connect_timeout": "300ms",
                  "hold_after": "600ms", "rehash_after": "2s",
                  "fresh_every": 0, "stats_interval": 0,
                  "thread_scan_interval": 0, "awareness": 0})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    wire.cut("drop")

    checker.wait_verdicts({"far": "HELD"})
    shown = checker.servers()["far"]
    assert shown["reason"] == "connect-timeout" and shown["held"]
    assert shown["silent_since_ms"] - shown["since_ms"] >= 600 - 1
    # The kept connection falls silent, and there is no other to be had.
    assert at_once(checker, "far", "HELD", 0.6) == \
        ["timeout", "connect-timeout", "connect-timeout"]
    picks = client.picks()
    picks.only_moved("far")
    assert set(picks.of("far")) == {"EHELD"}

    checker.wait_verdicts({"far": "DOWN"})
    shown = checker.servers()["far"]
    assert shown["reason"] == "connect-timeout" and not shown["usable"]
    assert shown["silent_since_ms"] - shown["since_ms"] >= 2000 - 1
    results = at_once(checker, "far", "DOWN", 2)
    assert set(results[1:]) == {"connect-timeout"}
    assert set(client.picks().of("far")) == {"near"}

    wire.mend("drop")
    checker.wait_verdicts("UP")
    assert client.picks().answer == base.answer


@pytest.mark.takes(4)
def test_one_answer_ends_held(house):
    """It was silent for a moment: nothing moves, nothing is waited for."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()},
                            defaults={"rehash_after": "30s"})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    fake.set(0, "hang")
    checker.wait_verdicts({"fake0": "HELD"})
    failures = checker.servers()["fake0"]["failures"]
    wait_until(lambda: checker.servers()["fake0"]["failures"]
               > failures + 5, "more silence")
    assert checker.verdicts()["fake0"] == "HELD"
    fake.set(0, "ok")
    checker.wait_verdicts("UP")
    assert client.picks().answer == base.answer
    assert not checker.logged("state=DOWN")


@pytest.mark.takes(5)
def test_all_servers_silent_then_down(house):
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    assert checker.dump_code() == 0

    fake.set("all", "hang")
    wait_until(lambda: set(client.verdicts().values()) == {"HELD"}, "HELD")
    assert set(client.picks().answer) == {"ENONE"}
    wait_until(lambda: set(client.verdicts().values()) == {"DOWN"}, "DOWN")
    assert set(client.picks().answer) == {"ENONE"}
    assert client.status()["usable"] == 0
    assert checker.dump_code() == 2
    shown = checker.pool()
    assert all(s["state"] == "DOWN" and not s["usable"]
               for s in shown["servers"])
    checker.wait_logged("no server is usable")
    wait_until(lambda: any("0/3 usable" in s for s in checker.told("STATUS")),
               "it in the status")

    fake.set("all", "refuse")
    fake.set(1, "ok")
    checker.wait_verdicts({"fake1": "UP"})
    assert set(client.picks().answer) == {"fake1"}
    checker.wait_logged("usable again")
    fake.set("all", "ok")
    checker.wait_verdicts("UP")
    assert client.picks().answer == base.answer


@pytest.mark.takes(6)
@pytest.mark.parametrize("scheme", ["maglev", "libmemcached-modula"])
def test_every_state_of_four_servers(house, scheme):
    """2^4 states in the order of a Gray code, and around the corner: no usable
    server's key ever moves, and a key that can be served is."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()}, defaults={
        "scheme": scheme, "interval": "40ms", "fast_interval": "20ms",
        "down_interval": "40ms", "timeout": "40ms", "hold_after": "2s",
        "rehash_after": "4s", "fall": 1, "rise": 1, "min_down_time": "0ms"})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    assert base.all_home()

    names = fake.names()
    up = set(names)
    seen = {frozenset(up): base.answer}
    for step in range(1, 17):
        gray, was = (n ^ n >> 1 for n in (step % 16, step - 1))
        changed = (gray ^ was).bit_length() - 1
        name = names[changed]
        up ^= {name}
        fake.set(changed, "ok" if name in up else "refuse")
        wait_until(lambda: {n for n, s in client.states().items()
                            if s["usable"]} == up, f"only {up} usable")
        picks = client.picks()
        # The same state gives the same answers, whatever was before.
        assert seen.setdefault(frozenset(up), picks.answer) == picks.answer
        if not up:              # answered without a look at the key
            assert set(picks.answer) == {"ENONE"}
            continue
        assert picks.home == base.home
        picks.only_moved(*set(names) - up)
        assert set(picks.answer) <= up
        for down in set(names) - up:
            for other in up:
                assert picks.of(down)[other] > \
                    len(base) / 4 / len(up) / 2
    assert len(seen) == 16


@pytest.mark.takes(8)
def test_the_last_state_is_that_of_a_fresh_start(house):
    """Two walks to the same state end in the same answers, in two processes
    and after a restart of the daemon."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    fake.set(3, "refuse")
    checker.wait_verdicts({"fake3": "DOWN"})
    one = client.picks().answer
    checker.stop()
    checker.path().unlink()
    checker.start()
    checker.wait_verdicts({"fake0": "UP", "fake1": "DOWN", "fake2": "UP",
                           "fake3": "DOWN"})
    wait_until(lambda: client.picks().blind == 0, "the client follows")
    assert client.picks().answer == one
    assert house.client(checker.path()).picks().answer == one


def test_weights(house):
    fake = house.fake(3)
    lines = [fake.line(0, "weight=4"), fake.line(1), fake.line(2)]
    checker = house.checker({"web": lines})
    checker.wait_verdicts("UP")
    shares = house.client(checker.path()).picks(4000).shares()
    assert 0.6 < shares["fake0"] / 4000 < 0.73
    shown = checker.servers()
    assert shown["fake0"]["weight"] == 4
    assert abs(shown["fake0"]["share_home"] - 4 / 6) < 0.01


def test_keys_as_the_tools_see_them(house):
    """mc-shmdump --key and a client agree, key by key."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    picks = house.client(checker.path()).picks(200)
    keys = house.directory / "keys"
    keys.write_text("".join(f"k{i}\n" for i in range(200)))
    shown = json.loads(checker.shmdump("--json", "--keys", keys,
                                       checker.path()).stdout)
    rows = shown["pools"][0]["keys"]
    assert [r["key"] for r in rows] == [f"k{i}" for i in range(200)]
    assert [r["home"] for r in rows] == picks.home
    assert [r["now"] for r in rows] == picks.answer
    assert collections.Counter(r["now"] for r in rows)["fake0"] == 0
