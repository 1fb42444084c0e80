"""What clients report: one probe early, told at once, and nothing else."""
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from .harness import wait_until
from .harness.house import SAN

MAGIC = 0x4d435250
# No probe by itself after the first, no news before they are due: what happens
# all the same, a report has done.
SELDOM = {"interval": "1h", "down_interval": "1h", "timeout": "500ms",
          "fast_interval": "100ms",
          # A request is a probe.
          "stats_interval": "0", "thread_scan_interval": "0"}
QUIET = {"heartbeat": "20s", "stale_after": "1m"}


class PoolFile:
    """By the offsets of mcshm(5)."""

    def __init__(self, checker, pool="web"):
        self.path = checker.path(pool)

    @staticmethod
    def text(data, at, size):
        return data[at:at + size].partition(b"\0")[0].decode()

    def read(self):
        """Header, roster and active section of one moment."""
        def look(f, at, size):
            f.seek(at)
            return f.read(size)

        with open(self.path, "rb", buffering=0) as f:
            for _ in range(1000):
                head = look(f, 0, 1968)
                number = struct.Struct("=Q").unpack_from
                active = number(head, 128)[0] & 1
                roster = look(f, number(head, 416)[0],
                              768 * struct.unpack_from("=I", head, 72)[0])
                section = look(f, number(head, 96 + 8 * active)[0],
                               number(head, 424)[0])
                if look(f, 128, 8) == head[128:136]:
                    return head, roster, section
        raise AssertionError("never at rest")

    @property
    def report(self):
        return self.text(self.read()[0], 1456, 112)

    def idents(self):
        """{server: what its identity hashes to}"""
        roster = self.read()[1]
        return {self.text(roster, at + 32, 64):
                struct.unpack_from("=Q", roster, at)[0]
                for at in range(0, len(roster), 768)}

    def entries(self):
        head, roster, section = self.read()
        first, stride = struct.unpack_from("=II", head, 436)
        words = {"since": 56, "silent_since": 80, "began": 96,
                 "good_began": 104, "probes": 128}
        return {self.text(roster, 768 * i + 32, 64):
                {k: struct.unpack_from("=Q", section,
                                       first + i * stride + at)[0]
                 for k, at in words.items()}
                for i in range(len(roster) // 768)}

    def entry(self, name):
        return self.entries()[name]

    def probes(self):
        return {n: e["probes"] for n, e in self.entries().items()}


def datagram(ident, pool="web", magic=MAGIC, version=1, more=b""):
    return struct.pack("=IIQ64s", magic, version, ident, pool.encode()) + more


def tell(path, data, tries=200):
    """As a client, but one that comes again when the queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        for _ in range(tries):
            try:
                return s.sendto(data, path)
            except BlockingIOError:
                time.sleep(0.01)
    raise AssertionError("nobody reads them")


def report(checker, *names, pool="web"):
    file = PoolFile(checker, pool)
    idents = file.idents()
    for name in names:
        tell(file.report, datagram(idents[name], pool))


def wait_probes(file, **wanted):
    """So many probes, and published."""
    def there():
        now = file.probes()
        got = {n: now[n] for n in wanted}
        assert got == wanted, f"{got} is not {wanted}"
        return True
    wait_until(there, f"probes {wanted}")


def has_socket(checker):
    """The file says where it is, and it is there."""
    path = PoolFile(checker).report
    return path if path and os.path.exists(path) else None


def begin(house, n=2, servers=None, defaults=None, checker=None, **more):
    """Each server had one probe, and will not have another soon."""
    servers = servers or house.memcacheds(n)
    daemon = house.checker({"web": [s.line for s in servers]},
                           checker=QUIET | (checker or {}),
                           defaults=SELDOM | (defaults or {}), **more)
    daemon.wait_verdicts("UP")
    file = PoolFile(daemon)
    wait_until(lambda: has_socket(daemon), "a socket")
    assert set(file.probes().values()) == {1}
    return servers, daemon, file


# A report asks for one probe.

def test_one_report_is_one_probe(house):
    """And what it finds out is published before the next heartbeat."""
    _, checker, file = begin(house, 3)
    assert file.report == str(checker.directory / ".report")
    assert os.stat(file.report).st_mode & 0o777 == 0o666
    before = file.entry("cache1")
    report(checker, "cache1")
    wait_probes(file, cache0=1, cache1=2, cache2=1)
    after = file.entry("cache1")
    assert after["good_began"] > before["good_began"]
    assert after["since"] == before["since"]
    # Not one more for it, while others get theirs.
    report(checker, "cache2")
    wait_probes(file, cache0=1, cache1=2, cache2=2)
    report(checker, "cache0", "cache2")
    wait_probes(file, cache0=2, cache1=2, cache2=3)
    assert not checker.logged("state=DOWN|state=HELD")


def test_a_client_of_the_library_reports(house):
    """Once, though it meets many failures in a moment."""
    _, checker, file = begin(house, 2)
    client = house.client(checker.path())
    picks = client.picks(50)
    key = picks.home.index("cache0")
    for _ in range(20):
        assert client.ask(f"fail k{key}")["failed"] == 0
    wait_probes(file, cache0=2)
    # It is suspect no longer: a probe that began since has succeeded.
    wait_until(lambda: client.picks(50).all_home(), "the mark is lifted")
    assert file.probes()["cache0"] == 2


def test_no_sooner_than_fast_interval(house):
    """After the last probe, whoever asks how often."""
    _, checker, file = begin(house, 2, defaults={"fast_interval": "30s"})
    report(checker, *["cache0"] * 50, *["cache1"] * 50)
    tell(file.report, b"")      # served after those
    checker.wait_logged("no report")
    assert file.probes() == {"cache0": 1, "cache1": 1}


def test_reports_while_a_probe_is_under_way(house):
    """It may have begun before the failure: one more follows it."""
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()}, checker=QUIET,
                            defaults=SELDOM | {"timeout": "20s"})
    checker.wait_verdicts("UP")
    wait_until(lambda: has_socket(checker), "a socket")
    fake.set(0, "late")
    report(checker, "fake0")
    wait_until(lambda: fake.requests() == [2], "a probe is under way")
    report(checker, *["fake0"] * 5)
    tell(PoolFile(checker).report, b"")         # served after those
    checker.wait_logged("no report")
    assert fake.requests() == [2]
    fake.set(0, "ok")                           # now it answers
    wait_probes(PoolFile(checker), fake0=3)
    assert fake.requests() == [3]


# Rules are not shortened.

@pytest.mark.takes(3)
def test_a_server_that_resets_is_down_after_the_probes_that_prove_it(house):
    """Nobody would have looked for an hour."""
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()},
                            checker=QUIET | {"log_probes": "all"},
                            defaults=SELDOM | {"fall": 4})
    checker.wait_verdicts("UP")
    wait_until(lambda: has_socket(checker), "a socket")
    fake.set(0, "reset")
    assert checker.verdicts()["fake0"] == "UP"
    report(checker, "fake0")
    checker.wait_verdicts({"fake0": "DOWN", "fake1": "UP"})
    lines = checker.logged("server=fake0 .*(result=reset|state=DOWN)")
    assert len([s for s in lines if "result=reset" in s]) == 4
    assert PoolFile(checker).probes() == {"fake0": 5, "fake1": 1}


@pytest.mark.takes(3)
def test_a_killed_server(house):
    """Its connection ends, clients report it: three refusals, no less."""
    servers, checker, file = begin(house, 3, checker={"log_probes": "all"},
                                   defaults={"fall": 3})
    servers[1].kill()
    report(checker, "cache1")
    checker.wait_verdicts({"cache0": "UP", "cache1": "DOWN", "cache2": "UP"})
    assert len(checker.logged("server=cache1 .*result=refused")) == 3
    assert file.probes() == {"cache0": 1, "cache1": 4, "cache2": 1}
    servers[1].restart()
    checker.verify = False


class Flood:
    """A few processes that send these for ever, waiting for room: the queue is
    full all the time."""

    PROGRAM = """
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
data = [bytes.fromhex(h) for h in sys.argv[2:]]
n = 0
try:
    print("on", flush=True)
    while True:
        s.sendto(data[n % len(data)], sys.argv[1])
        n += 1
except (KeyboardInterrupt, OSError):
    print(n)
"""

    def __init__(self, path, *data, senders=1):
        self.senders = [subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, path,
             *(d.hex() for d in data)], text=True, stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL) for _ in range(senders)]
        self.began = time.monotonic()
        for one in self.senders:
            assert one.stdout.readline() == "on\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.senders:
            one.kill()
            one.wait(10)
            one.stdout.close()

    def stop(self):
        """How many got through."""
        for one in self.senders:
            one.send_signal(signal.SIGINT)
        said = [one.communicate(timeout=10)[0] for one in self.senders]
        self.seconds = time.monotonic() - self.began
        return sum(map(int, said))


@pytest.mark.takes(5)
def test_a_stopped_server_under_a_flood(house):
    """HELD and DOWN when silence has lasted, and not before."""
    servers, checker, file = begin(house, 2, defaults={
        "hold_after": "700ms", "rehash_after": "2s", "timeout": "100ms",
        "fall_ratio": "off"})
    with Flood(file.report, *map(datagram, file.idents().values())):
        servers[0].stop()
        checker.wait_verdicts({"cache0": "HELD"})
        held = file.entry("cache0")
        checker.wait_verdicts({"cache0": "DOWN"})
        down = file.entry("cache0")
        # Now that it is DOWN nobody makes us look: in an hour, as ever.
        before = file.probes()
        wait_until(lambda: file.probes()["cache1"] > before["cache1"] + 5,
                   "the other one is probed")
        assert file.probes()["cache0"] <= before["cache0"] + 1
    assert held["since"] - held["silent_since"] >= 700_000_000
    assert down["since"] - held["silent_since"] >= 2_000_000_000
    assert down["silent_since"] == held["silent_since"]
    servers[0].cont()


@pytest.mark.takes(3)
def test_maintenance_is_not_probed(house):
    fake = house.fake(3)
    checker = house.checker(
        {"web": [fake.line(0, "state=maint"), fake.line(1, "state=drain"),
                 fake.line(2)]}, checker=QUIET, defaults=SELDOM)
    checker.wait_verdicts({"fake1": "UP", "fake2": "UP"})
    wait_until(lambda: has_socket(checker), "a socket")
    report(checker, "fake0", "fake1", "fake2")
    wait_probes(PoolFile(checker), fake0=0, fake1=2, fake2=2)
    assert fake.requests() == [0, 2, 2]


def test_one_address_under_several_names(house):
    """Weight by repetition: all of them are the server that failed."""
    fake = house.fake(2)
    port = fake.ports[0]
    checker = house.checker({"web": {
        "scheme": "libmemcached-ketama",
        "server": [f"a 127.0.0.1:{port}", f"b 127.0.0.1:{port}",
                   fake.line(1)]}}, checker=QUIET, defaults=SELDOM)
    checker.wait_verdicts("UP")
    wait_until(lambda: has_socket(checker), "a socket")
    file = PoolFile(checker)
    idents = file.idents()
    assert idents["a"] == idents["b"] != idents["fake1"]
    report(checker, "a")
    wait_probes(file, a=2, b=2, fake1=1)


# Useless to who means harm.

@pytest.mark.takes(6)
def test_a_flood(house):
    """100 000 at once, and then as many as it takes: probes of all servers
    keep their schedule, and the daemon does not work itself to death."""
    servers = house.memcacheds(4)
    checker = house.checker({"web": [s.line for s in servers]},
                            checker={"log_probes": "all"})

    def probes():
        return {s.name: len(checker.logged(f"server={s.name} .*result=ok"))
                for s in servers}

    checker.wait_verdicts("UP")
    file = PoolFile(checker)
    wait_until(lambda: has_socket(checker), "a socket")
    path, data = file.report, datagram(file.idents()["cache0"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        for _ in range(100_000):
            try:
                s.sendto(data, path)
            except BlockingIOError:
                pass
    began, cpu = time.monotonic(), checker.process.cpu_seconds()
    before = probes()
    with Flood(path, data, senders=3) as flood:
        wait_until(lambda: probes()["cache1"] - before["cache1"] > 10,
                   "the others are probed")
        now = probes()
        seconds = time.monotonic() - began
        taken = flood.stop()
    cpu = checker.process.cpu_seconds() - cpu
    done = {n: now[n] - before[n] for n in now}
    # 200 ms apart, with 10 % jitter; 50 ms where clients ask for it.
    assert max(done[f"cache{i}"] for i in (1, 2, 3)) <= seconds / 0.18 + 2
    assert min(done.values()) >= 8
    assert done["cache0"] <= seconds / 0.045 + 5
    assert taken <= 1600 * flood.seconds + 1000
    assert cpu <= 0.25 * seconds + 0.2 or SAN
    assert set(checker.verdicts().values()) == {"UP"}
    assert not checker.logged("state=DOWN|state=HELD")


@pytest.mark.takes(4)
def test_a_flood_sets_no_pace_for_the_publisher(house):
    """Answers that change nothing are news, but not one by one."""
    fake = house.fake(30)
    checker = house.checker({"web": fake.lines()}, checker=QUIET,
                            defaults=SELDOM | {"fast_interval": "10ms"})
    checker.wait_verdicts("UP")
    file = PoolFile(checker)
    path = wait_until(lambda: has_socket(checker), "a socket")
    data = [datagram(i) for i in file.idents().values()]

    def generation():
        return struct.unpack_from("=Q", file.read()[0], 128)[0] >> 1

    before, probes = generation(), sum(file.probes().values())
    began = time.monotonic()
    with Flood(path, *data, senders=2) as flood:
        wait_until(lambda: sum(file.probes().values()) - probes > 1500,
                   "many answers")
        published = generation() - before
        seconds = time.monotonic() - began
        flood.stop()
    # At most one in 20 ms, however long that took; and all get out.
    assert published <= seconds / 0.02 + 5
    report(checker, "fake0")
    last = file.probes()["fake0"]
    wait_until(lambda: file.probes()["fake0"] > last, "the last one, too")


def test_garbage_of_all_sizes(house):
    """Dropped; one line in a minute; what is none of it is still heard."""
    _, checker, file = begin(house, 2)
    ident = file.idents()["cache0"]
    good = datagram(ident)
    descriptors = checker.process.descriptors()
    garbage = [bytes(n) for n in range(0, 300, 7)]
    garbage += [good[:n] for n in range(0, 80, 3)]
    garbage += [os.urandom(n) for n in (79, 80, 81, 4096, 60000)]
    garbage += [datagram(ident, magic=MAGIC ^ 1), datagram(ident, version=0),
                datagram(ident, version=2), datagram(ident, pool=""),
                datagram(ident, pool="w" * 64),
                datagram(ident, pool="w" * 41)]
    path = file.report
    for data in garbage:
        tell(path, data)
    # Pools and servers that we do not have, in the form of a report.
    tell(file.report, datagram(ident, pool="none"))
    tell(file.report, datagram(ident ^ 1))
    tell(file.report, datagram(ident, pool="we"))
    tell(file.report, datagram(0))
    # All of that was for nothing, by the time that others are served.
    for n in 2, 3:
        report(checker, "cache1")
        wait_probes(file, cache0=1, cache1=n)
    # A later version of this datagram may be longer.
    tell(file.report, datagram(ident, more=bytes(100)))
    wait_probes(file, cache0=2, cache1=3)
    assert len(checker.logged("sends what is no report")) == 1
    assert checker.process.descriptors() <= descriptors


def test_descriptors_sent_along_are_not_kept(house):
    _, checker, file = begin(house, 1)
    before = checker.process.descriptors()
    data = datagram(file.idents()["cache0"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, \
            open(os.devnull) as null:
        for _ in range(20):
            s.connect(file.report)
            socket.send_fds(s, [data], [null.fileno()] * 10)
    wait_until(lambda: file.probes()["cache0"] >= 2, "probed")
    tell(file.report, b"")
    checker.wait_logged("no report")
    assert checker.process.descriptors() <= before


# Who may report, and from where.

SEND = "import socket, sys; socket.socket(socket.AF_UNIX, " \
    "socket.SOCK_DGRAM).sendto(bytes.fromhex(sys.argv[2]), sys.argv[1])"


def test_nobody_reports_from_a_read_only_mount(house):
    """As a client in a container does."""
    before = house.other_user()
    _, checker, file = begin(house, 1)
    directory = checker.directory
    data = datagram(file.idents()["cache0"]).hex()
    command = [sys.executable, "-c", SEND, file.report, data]
    house.run(*before, *command)
    wait_probes(file, cache0=2)
    script = 'mount --bind -o ro "$0" "$0" && ! touch "$0"/x && exec "$@"'
    house.privileged("unshare", "--mount", "true")
    house.run("unshare", "--mount", "--net", "sh", "-c", script, directory,
              *before, *command)
    wait_probes(file, cache0=3)


# Reload, restart, loss.

@pytest.mark.takes(4)
def test_reports_during_reloads(house):
    """Servers come and go under a stream of reports about all of them."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    wait_until(lambda: has_socket(checker), "a socket")
    file = PoolFile(checker)
    inode, idents = os.stat(file.report).st_ino, file.idents()
    data = [datagram(i, pool) for i in idents.values()
            for pool in ("web", "more")]
    with Flood(file.report, *data) as flood:
        for which in ((0, 1), (1, 2, 3), (3,), (0, 1, 2, 3)):
            checker.pools["web"] = fake.lines(which)
            if len(which) == 3:
                checker.pools["more"] = fake.lines()
            else:
                checker.pools.pop("more", None)
            checker.reload()
            wait_until(lambda: set(file.idents()) ==
                       {f"fake{i}" for i in which}, "the new roster")
            checker.wait_verdicts("UP")
            assert os.stat(file.report).st_ino == inode
        flood.stop()
    assert not checker.logged("state=DOWN|state=HELD")


def test_a_server_that_stays_is_found_in_the_new_roster(house):
    """By its identity, whatever its place is now."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()}, checker=QUIET,
                            defaults=SELDOM)
    checker.wait_verdicts("UP")
    wait_until(lambda: has_socket(checker), "a socket")
    file = PoolFile(checker)
    old, inode = file.idents(), checker.inode()
    checker.pools["web"] = fake.lines([2, 0])
    checker.reload()
    wait_until(lambda: checker.inode() != inode, "the new file")
    assert file.report == str(checker.directory / ".report")
    tell(file.report, datagram(old["fake1"]))   # is gone
    tell(file.report, datagram(old["fake2"]))
    wait_probes(file, fake2=2, fake0=1)
    assert fake.requests() == [1, 1, 2]


def test_switched_off_and_on(house):
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()},
                            checker={"reports": "no"})
    checker.wait_verdicts("UP")
    file = PoolFile(checker)
    assert file.report == ""
    assert os.listdir(checker.directory) == ["web.mcshm"]
    checker.checker["reports"] = "yes"
    checker.reload()
    path = wait_until(lambda: has_socket(checker), "a socket")
    checker.checker["reports"] = "no"
    checker.reload()
    wait_until(lambda: file.report == "", "said in the file")
    assert not os.path.exists(path)
    assert not checker.logged("report failures")


def test_the_directory_is_another(house):
    """The socket goes there, though the pool's file stays."""
    fake = house.fake(1)
    place = house.directory / "place"
    place.mkdir()
    web = {"file": place / "web.mcshm", "server": fake.lines()}
    checker = house.checker({"web": web})
    old, checker.directory = checker.directory, place
    checker.wait_verdicts("UP")
    file = PoolFile(checker)
    wait_until(lambda: file.report == str(old / ".report"), "the first one")
    checker.checker["directory"] = place
    checker.reload()
    wait_until(lambda: has_socket(checker) == str(place / ".report"),
               "the second one")
    assert os.listdir(old) == []
    # One that can not be made, until somebody has made the one above it.
    checker.checker["directory"] = place / "sub/sub"
    checker.reload()
    assert len(checker.logged("cannot report failures, no socket: "
                              f"directory={place}/sub/sub error=")) == 1
    wait_until(lambda: file.report == "", "said in the file")
    (place / "sub").mkdir()
    wait_until(lambda: has_socket(checker) == str(place / "sub/sub/.report"),
               "the third one")
    assert os.stat(place / "sub/sub").st_mode & 0o7777 == 0o755
    assert len(checker.logged("can report failures again")) == 1
    assert len(checker.logged("cannot report failures")) == 1


@pytest.mark.takes(3)
def test_the_socket_is_lost(house):
    """Made anew with a heartbeat, whatever has become of it."""
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    path = wait_until(lambda: has_socket(checker), "a socket")
    file = PoolFile(checker)
    os.unlink(path)
    wait_until(lambda: os.path.exists(path), "made anew")
    report(checker, "fake0")
    # Somebody's file is in its place: that stays.
    os.rename(path, path + "x")
    with open(path, "w") as f:
        f.write("mine")
    wait_until(lambda: file.report == path + ".1", "another name")
    report(checker, "fake0")
    with open(path) as f:
        assert f.read() == "mine"
    os.unlink(path)
    os.unlink(path + "x")
    # All of the directory is gone.
    for name in os.listdir(checker.directory):
        os.unlink(checker.directory / name)
    checker.directory.rmdir()
    wait_until(lambda: checker.path().exists() and has_socket(checker),
               "all made anew")
    report(checker, "fake0")
    checker.wait_verdicts("UP")


@pytest.mark.takes(3)
@pytest.mark.parametrize("end", ["TERM", "KILL"])
def test_the_next_daemon_takes_the_name(house, end):
    _, checker, file = begin(house, 1, checker={"heartbeat": "100ms"})
    path, inode = file.report, os.stat(file.report).st_ino
    if end == "KILL":
        checker.kill()
        assert os.path.exists(path)
        with pytest.raises(ConnectionRefusedError):
            tell(path, b"")
    else:
        assert checker.stop() == 0
        assert not os.path.exists(path)
    checker.start()
    wait_until(lambda: os.path.exists(path) and
               os.stat(path).st_ino != inode, "its own")
    wait_until(lambda: file.report == path, "said in the file")
    wait_probes(file, cache0=2)         # inherited, and the first of its own
    report(checker, "cache0")
    wait_probes(file, cache0=3)
    assert checker.stop() == 0
    assert os.listdir(checker.directory) == ["web.mcshm"]


def test_two_daemons_in_one_directory(house):
    """Each has its own, whoever ends."""
    fake = house.fake(2)
    shared = house.directory / "shared"
    shared.mkdir(mode=0o755)
    one = house.checker({"a": [fake.line(0)]}, directory=shared,
                        checker=QUIET, defaults=SELDOM)
    wait_until(lambda: PoolFile(one, "a").report, "the first one's")
    two = house.checker({"b": [fake.line(1)]}, directory=shared,
                        checker=QUIET, defaults=SELDOM)
    wait_until(lambda: PoolFile(two, "b").report, "the second one's")
    assert PoolFile(one, "a").report == str(shared / ".report")
    assert PoolFile(two, "b").report == str(shared / ".report.1")
    one.wait_verdicts("UP", "a")
    two.wait_verdicts("UP", "b")
    report(one, "fake0", pool="a")
    report(two, "fake1", pool="b")
    wait_probes(PoolFile(one, "a"), fake0=2)
    wait_probes(PoolFile(two, "b"), fake1=2)
    # A stopped daemon is alive.
    one.process.stop()
    two.reload()
    assert sorted(os.listdir(shared)) == [".report", ".report.1", "a.mcshm",
                                          "b.mcshm"]
    one.process.cont()
    assert one.stop() == 0
    assert sorted(os.listdir(shared)) == [".report.1", "a.mcshm", "b.mcshm"]


def test_a_directory_that_is_too_long(house):
    """No reports, one line, and all else works."""
    fake = house.fake(1)
    deep = house.directory / ("d" * (92 - len(str(house.directory))))
    deep.mkdir(mode=0o755)
    assert len(str(deep)) > 90
    checker = house.checker({"web": fake.lines()}, directory=deep)
    checker.wait_verdicts("UP")
    assert PoolFile(checker).report == ""
    wait_until(lambda: checker.servers()["fake0"]["probes"] > 2, "heartbeats")
    lines = checker.logged("cannot report failures")
    assert len(lines) == 1 and "File name too long" in lines[0]
    assert os.listdir(deep) == ["web.mcshm"]
