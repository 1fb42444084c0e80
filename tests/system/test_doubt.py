"""The checker doubts itself: TILT, awareness, failing open."""
import struct
import time

import pytest

from .harness import BUILD, SAN, wait_until

# Silence is HELD after two probes, and DOWN after a second; nothing else is.
FAST = {"rehash_after": "1s", "fall_ratio": "off"}
CALM = {"awareness": 0, "max_down_percent": "0%"}
FAILED_BEGAN = 528      # of an entry: when the last probe that failed began


def begin(house, count, checker=None, **keys):
    fake = house.fake(count)
    daemon = house.checker({"web": fake.lines()}, checker=checker,
                           defaults=FAST | keys)
    daemon.wait_verdicts("UP")
    return fake, daemon


def shown(daemon, **keys):
    """Of mc-shmdump, until it is so."""
    def there():
        pool = daemon.pool()
        got = {k: pool[k] for k in keys}
        assert got == keys, f"{got} is not {keys}"
        return pool
    return wait_until(there, f"{keys}", 15)


def passed(one, other):
    """Seconds from one line of the log to another, half a minute at most."""
    when = [float(line.split()[1].split(":")[2]) for line in (one, other)]
    return (when[1] - when[0] + 30) % 60 - 30


def entry_words(daemon, at):
    """This word of each server's entry in the file; see mcshm(5)."""
    data = daemon.path().read_bytes()
    servers, = struct.unpack_from("I", data, 72)
    active = struct.unpack_from("Q", data, 128)[0] & 1
    section, = struct.unpack_from("Q", data, 96 + 8 * active)
    entries, stride = struct.unpack_from("II", data, 436)
    return [struct.unpack_from("Q", data, section + entries + i * stride + at)
            [0] for i in range(servers)]


# TILT.


@pytest.mark.takes(7)
def test_a_stopped_daemon_blames_nobody_for_silence(house):
    """It is stopped for longer than rehash_after: meanwhile one server is
    killed, one hangs, and one falls silent for a while."""
    servers = house.memcacheds(5)
    well, killed, hung, silent = servers[0], *servers[1:4]
    checker = house.checker({"web": [s.line for s in servers]},
                            checker={"tilt_for": "1500ms"},
                            defaults=FAST | CALM)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    client.servers()
    checker.process.stop()
    killed.kill()
    hung.stop()
    silent.stop()
    time.sleep(1.7)         # longer than rehash_after; what is tested
    silent.cont()
    log = checker.length() - checker.log_from
    client.run()
    checker.process.cont()
    wait_until(lambda: checker.servers()[hung.name]["result"] == "tilt",
               "a silence that is void")
    # Not even its beginning is kept, of which a return would make something.
    failed = entry_words(checker, FAILED_BEGAN)[2]
    assert failed == 0 or checker.logged("TILT is over")
    checker.wait_verdicts({killed.name: "DOWN"})
    assert checker.logged(r"TILT, silence counts for nothing: the loop was "
                          r"late by=[1-9]\d*\.\ds")
    # Shown as long as it lasts.
    assert checker.pool()["tilt"] or checker.logged("TILT is over")
    assert checker.servers()[killed.name]["reason"] == "refused"
    # In TILT nothing is HELD, let alone DOWN, for silence: neither line may
    # be there before it is over.
    checker.wait_verdicts({hung.name: "DOWN"})
    over = "TILT is over"
    for state in ("HELD", "DOWN"):
        text = checker.log()[log:]
        line = f"server={hung.name} pool=web state={state}"
        assert over in text[:text.index(line)], text
    shown(checker, tilt=False)
    assert checker.pool()["daemon"]["tilts"] == \
        len(checker.logged("TILT, silence"))
    checker.wait_verdicts({s.name: "UP" for s in servers
                           if s not in (killed, hung)})
    answers = client.stop()
    for one in (well, silent, servers[4]):
        assert answers.of(one.name) == {one.name}, answers.answers
        assert f"server={one.name} pool=web state=" not in \
            checker.log()[log:]


@pytest.mark.takes(7)
def test_silence_that_began_before_is_void(house):
    """Servers are silent when the daemon falls asleep: that is forgotten, at
    whatever point of a probe and of the daemon's own clock it fell asleep.
    (Of more servers than four not all would be told by a line each.)"""
    fake, checker = begin(house, 4, {"tilt_for": "0"}, **CALM)
    silence(fake, range(4))
    checker.wait_verdicts("HELD")
    for phase in (0, 0.27, 0.52):
        # That clock ticks each 250 ms, and has just ticked once or twice since
        # TILT was over: timeouts of 200 ms are due before it ticks again.
        time.sleep(phase)
        seen = len(checker.logged("TILT is over"))
        checker.process.stop()
        before = len(checker.log())
        time.sleep(1.2)         # longer than rehash_after; what is tested
        checker.process.cont()
        wait_until(lambda: len(checker.logged("TILT is over")) > seen, "TILT")
        text = checker.log()[before:]
        assert "state=DOWN" not in text[:text.index("TILT, silence")], text
    # They stay HELD; what it takes to be DOWN begins anew, and takes as long.
    checker.wait_verdicts("DOWN")
    tilt = None
    for line in checker.log().splitlines():
        if "TILT, silence" in line:
            tilt = line
        assert not tilt or "state=DOWN" not in line or \
            passed(tilt, line) > 0.99, checker.log()


def test_answers_of_a_late_loop_say_nothing_of_speed(house):
    fake, checker = begin(house, 1, {"tilt_for": "100ms"}, timeout="1500ms",
                          interval="1500ms", fast_interval="100ms")
    before = checker.servers()["fake0"]["rtt_max_us"]
    fake.set(0, "slow 300")
    requests = fake.requests()[0]
    wait_until(lambda: fake.requests()[0] > requests, "a probe")
    checker.process.stop()
    time.sleep(1.2)
    checker.process.cont()
    fake.set(0, "ok")
    checker.wait_logged("TILT is over")
    after = checker.servers()["fake0"]
    assert after["verdict"] == "UP" and after["failures"] == 0
    assert after["rtt_max_us"] in range(before, 700_000), after


def last_probes(daemon):
    """When the last probe of each server was, in seconds."""
    return [when / 1e9 for when in entry_words(daemon, 96)]


@pytest.mark.takes(4)
def test_what_was_due_meanwhile_is_spread_again(house):
    """All of it is due when the daemon goes on: not in one moment, then and
    ever after."""
    fake, checker = begin(house, 100, {"tilt_for": "0"}, interval="1s",
                          timeout="500ms", jitter="1%")
    checker.process.stop()
    time.sleep(1.5)
    checker.process.cont()
    checker.wait_logged("TILT is over")
    since = max(last_probes(checker))
    wait_until(lambda: min(last_probes(checker)) > since, "all asked again")
    # Not all in one part of the second: no half of it is empty.
    phases = sorted(t % 1 for t in last_probes(checker))
    gaps = [b - a for a, b in zip(phases, phases[1:] + [phases[0] + 1])]
    assert max(gaps) < 0.5, phases


@pytest.mark.takes(4)
def test_a_host_that_is_busy_is_no_tilt(house):
    """Starved for a moment, again and again: less than tilt_after."""
    fake, checker = begin(house, 20, {"tilt_after": "1s"})
    for _ in range(6):
        # Its clock, which ticks each 250 ms, is late each time; by much more
        # than tilt_after in all.
        checker.process.stop()
        time.sleep(0.45)
        checker.process.cont()
        time.sleep(0.02)
    assert not checker.logged("TILT")
    assert checker.pool()["daemon"]["tilts"] == 0
    assert set(checker.verdicts().values()) == {"UP"}


class Clocks:
    """Of a daemon, as the test wants them: see other_clock.c."""

    def __init__(self, house):
        self.path = house.directory / "clocks"
        self.path.write_bytes(bytes(32))
        self.env = {"LD_PRELOAD": str(BUILD / "tests/other_clock.so"),
                    "OTHER_CLOCK": str(self.path)}

    def write(self, at, a, b):
        with open(self.path, "r+b") as f:
            f.seek(at)
            f.write(struct.pack("qq", a, b))

    def ahead(self, real=0., boot=0.):
        self.write(0, int(real * 1e9), int(boot * 1e9))

    def stand_still(self, seconds, after):
        self.write(16, int(seconds * 1e9), after)


@pytest.mark.takes(5)
def test_it_stands_still_in_the_middle_of_a_turn(house):
    """For longer than rehash_after, just when a silent server is looked at:
    that comes to nothing before it is known."""
    if SAN:
        pytest.skip("nothing can be preloaded")
    clocks = Clocks(house)
    fake = house.fake(2)
    checker = house.checker(
        {"web": fake.lines()}, checker={"tilt_for": "0"},
        defaults=FAST | CALM | {"rehash_after": "2s", "hold_after": "200ms",
                                "thread_scan_interval": "0"},
        env=clocks.env)
    checker.wait_verdicts("UP")
    fake.set(0, "hang")
    checker.wait_verdicts({"fake0": "HELD"})
    clocks.stand_still(2.5, 1)
    tilt = "TILT, silence counts for nothing: the loop was late"
    checker.wait_logged(tilt)
    checker.wait_verdicts({"fake0": "DOWN"})
    # Its silence is counted anew, and that takes two seconds.  (On a host that
    # is very slow it was DOWN before.)
    after = passed(checker.logged(tilt)[0],
                   checker.logged("server=fake0 .*state=DOWN")[0])
    assert after >= 1.99 or after < -2.4, checker.log()


@pytest.mark.takes(4)
def test_the_host_slept_and_the_clock_was_set(house):
    """No silence before that counts for anything after it."""
    if SAN:
        pytest.skip("nothing can be preloaded")
    clocks = Clocks(house)
    ahead = clocks.ahead
    fake = house.fake(2)
    checker = house.checker(
        {"web": fake.lines()}, checker={"tilt_for": "300ms"},
        defaults=FAST | CALM | {"rehash_after": "1m"}, env=clocks.env)
    checker.wait_verdicts("UP")
    fake.set(0, "hang")
    checker.wait_verdicts({"fake0": "HELD"})
    for real, boot, why in ((5, 0, "the clock was set by=5.0s"),
                            (-60, 0, "the clock was set by=65.0s"),
                            (-60, 0.9, "the host slept by=0.9s")):
        ahead(real, boot)
        began = time.monotonic()
        checker.wait_logged(f"TILT, silence counts for nothing: {why}")
        shown(checker, tilt=True)
        shown(checker, tilt=False)
        # It has begun anew since (by a clock that was not turned).
        since = checker.servers()["fake0"]["silent_since_ms"]
        assert boot or since is None or \
            since <= (time.monotonic() - began) * 1000
    assert checker.verdicts() == {"fake0": "HELD", "fake1": "UP"}
    assert checker.pool()["daemon"]["tilts"] >= 3


# Failing open.


def silence(fake, which):
    for i in which:
        fake.set(i, "hang")


def heal(fake, which):
    for i in which:
        fake.set(i, "ok")


@pytest.mark.takes(14)
def test_too_many_are_silent(house):
    """Four of seven: all homes again, with a flag; and back."""
    fake = house.fake(9)
    lines = fake.lines(range(7)) + [fake.line(7, "state=maint"),
                                    fake.line(8, "state=drain")]
    checker = house.checker({"web": lines}, defaults=FAST | {"awareness": 0})
    checker.wait_verdicts({f"fake{i}": "UP" for i in (*range(7), 8)})
    client = house.client(checker.path())
    client.servers()
    home = client.picks()
    fake.set(6, "refuse")
    checker.wait_verdicts({"fake6": "DOWN"})
    silence(fake, range(4))
    shown(checker, fail_open=True)
    client.run()
    fake.set(4, "hang")
    checker.wait_verdicts({f"fake{i}": "DOWN" for i in range(5)})
    fake.set(4, "ok")
    checker.wait_verdicts({"fake4": "UP"})
    # Whose turn it was to be HELD or DOWN meanwhile: used.  The one that is
    # guilty is not.
    answers = client.stop()
    for i in range(6):
        assert answers.of(f"fake{i}") == {f"fake{i}"}, answers.answers
    assert "fake6" not in answers.of("fake6")
    servers = checker.servers()
    assert [servers[f"fake{i}"]["usable"] for i in range(9)] == \
        [True] * 6 + [False] * 3
    now = client.picks()
    assert now.of("fake6").keys() & {"fake6", "fake7", "fake8"} == set()
    for name in ("fake0", "fake3", "fake5"):
        assert set(now.of(name)) == {name}
    assert now.blind
    assert client.status()["fail_open"]
    assert checker.dump_code() == 2
    assert "FAIL-OPEN: silent servers are used" in \
        checker.shmdump(checker.path()).stdout
    assert checker.logged("FAILS OPEN.*silent=4 servers=7")
    checker.notifications.settle()
    wait_until(lambda: "FAILS OPEN" in checker.told("STATUS")[-1], "STATUS")
    # It ends: ten seconds after the last one was too many.
    heal(fake, range(4))
    checker.wait_verdicts({f"fake{i}": "UP" for i in range(6)})
    began = time.monotonic()
    fake.set(6, "ok")
    shown(checker, fail_open=False)
    assert time.monotonic() - began > 7
    checker.wait_verdicts({f"fake{i}": "UP" for i in range(7)})
    assert client.picks().answer == home.answer
    assert len(checker.logged("FAILS OPEN")) == 1
    assert checker.logged("fails open no longer, few are silent")


@pytest.mark.takes(4)
def test_all_killed_is_no_doubt(house):
    fake, checker = begin(house, 6, awareness=0)
    for i in range(6):
        fake.set(i, "refuse")
    checker.wait_verdicts("DOWN")
    shown(checker, fail_open=False, usable=0)
    checker.wait_logged("no server is usable")
    client = house.client(checker.path())
    client.servers()
    assert set(client.picks().answer) == {"ENONE"}
    assert not checker.logged("FAILS OPEN")


@pytest.mark.takes(3)
def test_four_servers_are_too_few_to_doubt(house):
    fake, checker = begin(house, 4)
    silence(fake, range(4))
    checker.wait_verdicts("DOWN")
    assert not checker.pool()["fail_open"]
    assert checker.pool()["usable"] == 0


@pytest.mark.takes(6)
def test_it_is_believed_in_the_end(house):
    fake, checker = begin(house, 6, awareness=0, fail_open_max="1s")
    client = house.client(checker.path())
    client.servers()
    silence(fake, range(4))
    shown(checker, fail_open=True)
    checker.wait_logged("believes that they are DOWN silent=4 servers=6")
    pool = shown(checker, fail_open=False)
    assert pool["usable"] == 2
    assert set(client.picks().answer) == {"fake4", "fake5"}
    # A daemon that takes over believes it, too.
    client.run()
    checker.kill()
    checker.start()
    wait_until(lambda: checker.pool()["swept"], "swept")
    assert checker.pool()["usable"] == 2
    assert not checker.logged("FAILS OPEN")
    assert client.stop().all_said() == {"fake4", "fake5"}


@pytest.mark.takes(4)
def test_failing_open_outlives_the_daemon(house):
    """What it took over is never published without the flag."""
    fake, checker = begin(house, 6, awareness=0)
    client = house.client(checker.path())
    client.servers()
    silence(fake, range(4))
    shown(checker, fail_open=True)
    checker.wait_verdicts({f"fake{i}": "DOWN" for i in range(4)})
    client.run()
    checker.kill()
    checker.start()
    wait_until(lambda: checker.pool()["swept"], "swept")
    shown(checker, fail_open=True)
    answers = client.stop()
    for i in range(6):
        assert answers.of(f"fake{i}") == {f"fake{i}"}, answers.answers
    # Nor over a reload.
    client.run()
    checker.defaults["fall"] = 4
    checker.reload()
    published = checker.pool()["daemon"]["publishes"]
    wait_until(lambda: checker.pool()["daemon"]["publishes"] > published + 1,
               "published twice")
    shown(checker, fail_open=True)
    assert len(checker.logged("FAILS OPEN")) == 1
    answers = client.stop()
    for i in range(6):
        assert answers.of(f"fake{i}") == {f"fake{i}"}, answers.answers


def opened_for(checker):
    """How long it is to fail open at most, as it said."""
    line, = checker.logged("FAILS OPEN")
    return float(line.rpartition("for=")[2].rstrip("s"))


@pytest.mark.takes(7)
def test_no_daemon_begins_it_anew(house):
    """One that is started again and again believes it in the end, too; and
    one that can not start says nothing of it."""
    most = 4
    fake, checker = begin(house, 6, awareness=0, fail_open_max=f"{most}s")
    silence(fake, range(4))
    shown(checker, fail_open=True)
    opened = time.monotonic()
    other = house.checker({"other": fake.lines([5])})
    checker.kill()
    checker.pools["other"] = {"server": fake.lines([5]),
                              "file": other.path("other")}
    checker.configure()
    checker.start(ready=False)
    checker.expected_code = 69
    assert checker.process.wait() == 69
    assert not checker.logged("(?i)fails open")
    del checker.pools["other"]
    checker.configure()
    for _ in range(4):
        # It waited for a lock, for 0.2 s: each of the next has less than all.
        gone = time.monotonic() - opened
        assert gone > 0.19
        checker.start()
        wait_until(lambda: checker.logged("FAILS OPEN|believes"), "a word")
        if checker.logged("believes"):
            break
        assert opened_for(checker) < most - gone + 0.1
        checker.wait_verdicts({f"fake{i}": "DOWN" for i in range(4)})
        checker.kill()
    else:
        checker.start()
    checker.wait_logged("believes that they are DOWN silent=4 servers=6")
    shown(checker, fail_open=False, usable=2)


RECOVER = FAST | {"on_recovery": "flush-if-stale", "stats_interval": "200ms",
                  "min_down_time": "500ms", "thread_scan_interval": "0",
                  "awareness": 0, "flush_percent": "20%"}


def recoverable(house, count):
    servers = house.memcacheds(count)
    checker = house.checker({"web": [s.line for s in servers]},
                            defaults=RECOVER)
    checker.wait_verdicts("UP")
    wait_until(lambda: all(s["server_pid"] for s in
                           checker.servers().values()), "all identified")
    return servers, checker


@pytest.mark.takes(6)
def test_it_stays_open_while_they_come_back(house):
    """Clients have used them all the time: nobody takes them away because
    they answer, and nothing is flushed."""
    servers, checker = recoverable(house, 5)
    client = house.client(checker.path())
    client.servers()
    for s in servers:
        s.stop()
    shown(checker, fail_open=True)
    checker.wait_verdicts("DOWN")
    client.run()
    for s in servers:
        s.cont()
    checker.wait_verdicts("UP")
    answers = client.stop()
    for s in servers:
        assert answers.of(s.name) == {s.name}, answers.answers
    assert "state=RECOVERING" not in checker.log()
    assert len(checker.logged("is not flushed because the pool fails open.*"
                              "returned=same")) == 5
    for s in checker.servers().values():
        assert s["returned"] == ["same"]
        assert "stale-risk" in s["degraded_names"]


@pytest.mark.takes(8)
def test_who_came_back_before_it_opened_stays_away(house):
    """Its keys are elsewhere, and it has old values; it is flushed when the
    pool does not fail open any more."""
    servers, checker = recoverable(house, 5)
    first = servers[0]
    checker.defaults["rise"] = 60
    checker.reload()
    first.stop()
    checker.wait_verdicts({first.name: "DOWN"})
    first.cont()
    checker.wait_verdicts({first.name: "RECOVERING"})
    for s in servers[1:]:
        s.stop()
    shown(checker, fail_open=True)
    one = checker.servers()[first.name]
    assert one["verdict"] == "RECOVERING" and not one["usable"]
    for s in servers[1:]:
        s.cont()
    # It ends, and is flushed.
    checker.defaults |= {"max_down_percent": "0%", "rise": 2}
    checker.reload()
    shown(checker, fail_open=False)
    checker.wait_verdicts({first.name: "UP"})
    assert checker.servers()[first.name]["returned"] == ["same", "flushed"]


# Awareness.


@pytest.mark.takes(6)
def test_many_that_are_silent_at_once_are_waited_for(house):
    """A blip of twice rehash_after moves no key where it hits a quarter; and
    moves them where it hits one."""
    fake, checker = begin(house, 12, max_down_percent="0%")
    client = house.client(checker.path())
    client.servers()
    client.run()
    silence(fake, range(3))
    checker.wait_verdicts({f"fake{i}": "HELD" for i in range(3)})
    shown(checker, awareness=2)
    assert "rehash_after x 3" in checker.shmdump(checker.path()).stdout
    heal(fake, range(3))
    checker.wait_verdicts("UP")
    shown(checker, awareness=0)
    answers = client.stop()
    if not checker.logged("TILT"):
        assert "state=DOWN" not in checker.log()
        for i in range(12):
            assert answers.of(f"fake{i}") <= {f"fake{i}", "EHELD"}
    assert checker.logged("many are silent at once.*silent=3 servers=12")
    assert checker.logged("waited for as usual again")
    fake.set(5, "hang")
    checker.wait_verdicts({"fake5": "DOWN"})
    assert checker.pool()["awareness"] == 0


@pytest.mark.takes(8)
def test_they_are_not_waited_for_for_ever(house):
    fake, checker = begin(house, 12, max_down_percent="0%", awareness=1)
    silence(fake, range(3))
    checker.wait_verdicts({f"fake{i}": "DOWN" for i in range(3)})
    shown(checker, awareness=0)
    assert set(checker.verdicts().values()) == {"UP", "DOWN"}


# The network.


@pytest.mark.takes(8)
def test_the_network_of_most_fails(house):
    """Packets vanish; when it is mended all is as it was.  From the moment that
    it fails open no client is sent elsewhere, until all are UP again."""
    wire = house.wire()
    far = house.memcacheds(5, ip=wire.far_address, netns=wire.far)
    near = house.memcached(name="near", ip=wire.near_address, netns=wire.near)
    checker = house.checker({"web": [s.line for s in far] + [near.line]},
                            defaults=FAST | {"awareness": 0},
                            netns=wire.near)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    client.servers()
    wire.cut("drop")
    shown(checker, fail_open=True)
    client.run()
    checker.wait_verdicts({s.name: "DOWN" for s in far})
    mended = time.monotonic()
    wire.mend("drop")
    checker.wait_verdicts("UP")
    answers = client.stop()
    for one in far + [near]:
        assert answers.of(one.name) == {one.name}, answers.answers
    # For ten seconds more.
    assert checker.pool()["fail_open"] or time.monotonic() - mended > 10
    assert client.picks().all_home()
