"""mc-shmdump as its users call it: on pool files that a test commands, and on
those of a daemon."""
import json
import os
import pty
import re
import signal
import subprocess

import pytest

from .harness import BUILD, wait_until
from .harness.process import Process

SHMDUMP = BUILD / "mc-shmdump"
UP, HELD, DOWN, READY, DRAIN, MAINT = 1, 2, 3, 0, 1, 2


class Pool:
    """A file that tests/mkpool holds as a checker would."""

    def __init__(self, house, servers=4, scheme="maglev", name="web"):
        self.house = house
        self.path = house.directory / f"{name}.mcshm"
        self.process = Process(
            house, f"mkpool{next(house.numbers)}",
            [BUILD / "tests/mkpool", self.path, scheme, servers], talks=True)
        assert self.process.read() == "ready"

    def obey(self, *lines):
        for line in lines:
            self.process.write(line)
            assert self.process.read() == "ok", line

    def dump(self, *options, code=0, **more):
        done = self.house.run(SHMDUMP, *options, self.path, ok=False, **more)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def json(self, *options, code=0):
        done = json.loads(self.dump("--json", *options, code=code))
        assert done["version"] == 1 and done["exit"] == code
        return done["pools"][0]

    def poke(self, offset, byte=None):
        with open(self.path, "r+b") as f:
            f.seek(offset)
            old = f.read(1)[0]
            f.seek(offset)
            f.write(bytes([old ^ 0x10 if byte is None else byte]))

    def word(self, offset, size=8):
        data = self.path.read_bytes()[offset:offset + size]
        return int.from_bytes(data, "little")


@pytest.fixture
def pool(house):
    return Pool(house)


def run(house, *options, **more):
    return house.run(SHMDUMP, *options, ok=False, **more)


# Options.

def test_help_and_version(house):
    done = run(house, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    for option in ("--all", "--server", "--key", "--keys", "--clients",
                   "--verify", "--json", "--watch", "--color", "--directory",
                   "--help", "--version"):
        assert option in done.stdout
    assert re.fullmatch(r"mc-shmdump \d+\.\d+\.\d+\n",
                        run(house, "--version").stdout)
    assert run(house, "-h").stdout == done.stdout
    for option in ("--help", "--version"):
        done = house.run("sh", "-c", f"{SHMDUMP} {option} >/dev/full",
                         ok=False)
        assert done.returncode == 3 and "stdout: No space" in done.stderr


@pytest.mark.parametrize("options, says", [
    (["--frobnicate"], "'--frobnicate'"),
    (["-x"], "'-x'"),
    (["-ax"], "'-x'"),
    (["--json=1"], "takes no argument"),
    (["--server"], "needs an argument"),
    (["-s"], "needs an argument"),
    (["-s", "a", "-s", "b"], "given twice"),
    (["-k", ""], "at least one byte"),
    (["--color=green"], "auto, always or never"),
    (["--json", "--watch"], "do not go together"),
    (["no/t", "a pool"], "'a pool'"),
    ([".web"], "'.web'"),
])
def test_wrong_use(house, options, says):
    done = run(house, *options)
    assert done.returncode == 64 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr and done.stderr.startswith("mc-shmdump: ")


def test_which_pools(house, pool):
    Pool(house, name="api")
    (house.directory / "notes.txt").write_text("no pool")
    env = {"MCSHM_DIR": str(house.directory)}

    def shown(*options, **more):
        done = run(house, "--json", *options, **more)
        return [p["pool"] if "servers" in p else p["error"]
                for p in json.loads(done.stdout)["pools"]]

    assert shown("-d", house.directory) == ["web", "web"]
    assert [os.path.basename(p["file"]) for p in json.loads(
        run(house, "-j", env=env).stdout)["pools"]] == \
        ["api.mcshm", "web.mcshm"]
    assert shown("web", env=env) == ["web"]
    assert shown("./web.mcshm", cwd=house.directory) == ["web"]
    assert shown("none", env=env) == ["no such file"]
    both = run(house, "-d", house.directory).stdout
    assert both.count("4 of 4 usable") == 2


def test_the_same_pool_twice_is_shown_once(house, pool):
    Pool(house, name="api")
    (house.directory / "link").symlink_to(house.directory)
    done = run(house, "-j", "-d", house.directory, "web", "api", pool.path,
               "web", house.directory / "link/web.mcshm")
    assert [os.path.basename(p["file"]) for p in
            json.loads(done.stdout)["pools"]] == ["web.mcshm", "api.mcshm"]
    done = run(house, "-j", "-d", house.directory, "none", "none")
    assert len(json.loads(done.stdout)["pools"]) == 1


def test_a_file_named_as_a_pool(house, pool):
    hint = "a pool is named without .mcshm; a file has a '/' in it"
    done = run(house, "-d", house.directory, "web.mcshm")
    assert done.returncode == 3 and hint in done.stderr
    done = run(house, "web.mcshm", cwd=house.directory)
    assert done.returncode == 3 and hint in done.stderr
    for other in "none", "none.mcshm":
        done = run(house, "-d", house.directory, other)
        assert done.returncode == 3 and hint not in done.stderr
    pool.path.rename(house.directory / "web.mcshm.mcshm")
    assert run(house, "-d", house.directory, "web.mcshm").returncode == 0


def test_no_pools(house):
    empty = house.directory / "empty"
    empty.mkdir()
    for where in (empty, empty / "nowhere"):
        done = run(house, "-d", where)
        assert done.returncode == 3 and done.stdout == ""
        assert "no pool files in" in done.stderr
        assert "mc-checkerd" in done.stderr
        done = run(house, "--json", "-d", where)
        assert done.returncode == 3
        assert json.loads(done.stdout)["pools"] == []


def test_colour(pool):
    pool.obey("set 1 3 0", "publish")
    assert "\033[" not in pool.dump(code=1)
    assert "\033[31;1m!!" in pool.dump("--color=always", code=1)

    def on_terminal(**env):
        master, slave = pty.openpty()
        done = subprocess.Popen([SHMDUMP, pool.path], stdout=slave,
                                env=os.environ | {"TERM": "xterm"} | env)
        os.close(slave)
        text = b""
        try:
            while more := os.read(master, 4096):
                text += more
        except OSError:         # the end, on a terminal
            pass
        os.close(master)
        assert done.wait(10) == 1
        return b"\033[" in text

    assert on_terminal()
    assert not on_terminal(NO_COLOR="1")
    assert not on_terminal(TERM="dumb")


# The picture and JSON.

def test_healthy(pool):
    text = pool.dump()
    assert "4 of 4 usable" in text and "4 UP" in text
    assert "SERVER" not in text
    assert "cache03" in pool.dump("--all")


def test_trouble(pool):
    pool.obey("set 1 3 0", "probes 1 ++++xxx", "last 1 1 43 0", "publish")
    text = pool.dump(code=1)
    assert "1 DOWN; " in text and "% of keys rehashed" in text
    assert re.search(r"^!! cache02 +10\.1\.0\.2:11211 +DOWN .* 43s +\+{4}xxx",
                     text, re.M)
    assert "connection refused: not running; will come back empty" in text
    assert "3 more UP" in text and "--server cache02" in text
    assert text.rstrip().endswith("exit 1")
    assert all(len(line) <= 100 for line in text.splitlines())


def test_exit_codes(house, pool):
    pool.obey("set 0 1 2", "publish")
    pool.dump(code=0)                   # MAINT
    pool.obey("set 1 2 0", "publish")
    pool.dump(code=1)                   # HELD
    pool.obey("flags 9", "publish")
    pool.dump(code=2)                   # failing open
    pool.obey("flags 8", "all 3 0", "publish")
    pool.dump(code=2)                   # all down
    pool.obey("all 1 0", "publish")
    pool.dump(code=0)
    pool.obey("beat 31")
    assert "HUNG" in pool.dump(code=2) and pool.json(code=2)["blind"]
    pool.obey("beat 0")
    pool.dump(code=0)
    # The worst of all.
    bad = house.directory / "bad.mcshm"
    bad.write_bytes(b"no pool")
    done = run(house, bad, pool.path)
    assert done.returncode == 3 and "4 of 4 usable" in done.stdout
    assert "not a pool file" in done.stderr
    pool.process.kill()
    assert "DEAD" in pool.dump(code=2)


def test_json_has_what_is_promised(house, pool):
    pool.obey("set 2 3 0", "probes 2 +txe", "last 2 7 5 0", "set 3 1 1",
              "publish")
    root = json.loads(pool.dump("--json", code=1))
    assert root["version"] == 1 and root["host"] == os.uname().nodename
    [web] = root["pools"]
    assert set(web) >= {"pool", "file", "scheme", "generation",
                        "active_section", "roster", "daemon", "servers"}
    assert web["file"] == str(pool.path) and web["scheme"] == "maglev"
    assert isinstance(web["generation"], str)
    assert int(web["generation"]) == pool.word(128)
    assert web["active_section"] == pool.word(128) & 1
    assert int(web["roster"], 16) == pool.word(112)
    daemon = web["daemon"]
    assert set(daemon) >= {"pid", "alive", "heartbeat_age_ms", "stale",
                           "version"}
    assert daemon["pid"] == pool.process.pid and daemon["alive"]
    assert 0 <= daemon["heartbeat_age_ms"] < 20000 and not daemon["stale"]
    server = web["servers"][2]
    assert set(server) >= {
        "slot", "name", "address", "weight", "state", "verdict", "admin",
        "usable", "held", "reason", "since_ms", "rtt_us", "probes",
        "failures", "history", "share_home", "share_now"}
    assert server["history"] == "+txe" and server["reason"] == "garbage"
    assert server["state"] == "DOWN" and not server["usable"]
    assert server["rtt_us"] is None and server["share_now"] == 0
    assert 5000 <= server["since_ms"] < 25000
    assert web["servers"][3]["state"] == "DRAIN"
    assert web["servers"][3]["verdict"] == "UP"
    assert len(web["servers"][0]["history"]) == 64
    for share in ("share_home", "share_now"):
        assert abs(sum(s[share] for s in web["servers"]) - 1) < 1e-4


def test_one_server(house, pool):
    pool.obey("set 2 3 0", "probes 2 +txe", "last 2 4 5 0", "publish")
    text = pool.dump("--server", "cache03", code=1)
    assert text.startswith("cache03  slot 2 of 4 in pool web")
    for word in ("10.1.0.3:11211", "DOWN", "timeout", "+txe", "weight 1"):
        assert word in text
    assert pool.dump("-s", "10.1.0.3:11211", code=1) == text
    assert [s["name"] for s in
            pool.json("-s", "cache03", code=1)["servers"]] == ["cache03"]
    for more in [], ["--clients"]:
        done = run(house, "-s", "cache99", *more, pool.path)
        assert done.returncode == 64 and "'cache99'" in done.stderr


@pytest.mark.parametrize("options", [
    ["-s", "cache99"], ["-s", "cache99", "--clients"], ["-s", "cache03"],
    ["-s", "cache03", "--clients"], ["-V"], []])
def test_json_says_the_exit_code(house, pool, options):
    pool.obey("set 2 3 0", "publish")
    bad = house.directory / "bad.mcshm"
    for paths in [pool.path], [pool.path, bad], [bad]:
        done = run(house, "--json", *options, *paths)
        assert json.loads(done.stdout)["exit"] == done.returncode


# Keys.

def test_keys(house, pool):
    keys = [f"user:{i}" for i in range(200)]
    listed = house.directory / "keys"
    listed.write_text("\n".join(keys) + "\n")
    before = pool.json("--keys", listed)["keys"]
    assert [k["key"] for k in before] == keys
    assert all(k["home"] == k["now"] and k["tries"] == [k["home"]]
               for k in before)
    pool.obey("set 0 3 0", "set 1 2 0", "publish")
    after = pool.json("--keys", listed, code=1)["keys"]
    for old, new in zip(before, after):
        assert new["home"] == old["home"] == new["tries"][0]
        if new["held"]:
            assert new["now"] is None and new["tries"][-1] == "cache02"
            assert new["error"]
        else:
            assert new["now"] == new["tries"][-1]
            assert new["now"] in ("cache03", "cache04")
            assert set(new["tries"][:-1]) <= {"cache01"}
        if old["home"] == "cache02":
            assert new["held"]
        if old["home"] in ("cache03", "cache04"):
            assert new["now"] == old["home"]
    assert any(k["rehashes"] > 0 for k in after)
    pool.obey("all 3 0", "publish")
    for key in pool.json("--keys", listed, code=2)["keys"]:
        assert key["now"] is None and not key["held"] and key["error"]
        assert key["tries"] == [key["home"]]


def test_keys_in_words(pool):
    pool.obey("set 0 3 0", "set 1 2 0", "publish")
    text = pool.dump(*[f"-kkey{i}" for i in range(40)], code=1)
    scheme, *lines = text.splitlines()
    assert scheme.split()[1] == "hash=xxh3" and len(lines) == 40
    assert re.search(r"^key\d+  xxh3 [0-9a-f]{16}  home cache01 DOWN -> .*cache0[34] UP"
                     r"  \(\d rehash(es)?\)$", text, re.M)
    assert re.search(r"home cache02 HELD: a miss, store nowhere$", text, re.M)
    assert re.search(r"^key\d+  xxh3 \S+  home cache04 UP$", text, re.M)


def test_keys_are_bytes(house, pool):
    done = subprocess.run([SHMDUMP, "-j", "-K", "-", pool.path],
                          input=b"a\xffb\n\ngr\xc3\xbcn\nlast",
                          capture_output=True, timeout=20)
    keys = [k["key"] for k in json.loads(done.stdout)["pools"][0]["keys"]]
    assert keys == ["a\\xffb", "grün", "last"]
    done = subprocess.run([SHMDUMP, "-k", b"a\xff\033b", pool.path],
                          capture_output=True, timeout=20)
    assert b"\na\\xff\\x1bb  xxh3 " in done.stdout
    done = subprocess.run([SHMDUMP, "-j", "-K", "-", pool.path],
                          input=b"unix\ndos\r\n\r\na\rb\r\nlast\r",
                          capture_output=True, timeout=20)
    keys = [k["key"] for k in json.loads(done.stdout)["pools"][0]["keys"]]
    assert keys == ["unix", "dos", "a\rb", "last"]
    done = run(house, "-K", "/nonexistent", pool.path)
    assert done.returncode == 3 and "/nonexistent" in done.stderr


# Damage.

def test_verify(pool):
    text = pool.dump("--verify")
    assert re.search(r"section \d +ok +active", text)
    assert re.search(r"section \d +whole +inactive", text)
    pool.obey("scribble")
    assert "being written" in pool.dump("--verify")
    assert "being written" in pool.json("--verify")["verify"].values()
    pool.process.kill()
    assert "unfinished" in pool.dump("--verify", code=2)


@pytest.mark.parametrize("part", ["header", "roster", "table", "section"])
def test_damage_is_named(house, pool, part):
    active = pool.word(128) & 1
    pool.poke({"header": 600, "roster": pool.word(416) + 40,
               "table": pool.word(88) + 5,
               "section": pool.word(96 + 8 * active) + 20}[part])
    done = run(house, "--verify", pool.path)
    assert done.returncode == 3 and f"damaged: {part}" in done.stderr
    assert run(house, pool.path).returncode == 3
    root = json.loads(run(house, "--json", pool.path).stdout)
    [web] = root["pools"]
    assert web["pool"] == "web" and web["file"] == str(pool.path)
    assert web["error"].startswith(f"damaged: {part}")


def test_verify_names_all_that_is_damaged(house, pool):
    """What is whole, too; then that it is damaged."""
    pool.poke(pool.word(416) + 40)              # the roster
    active = pool.word(128) & 1
    pool.poke(pool.word(96 + 8 * active) + 20)
    done = run(house, "--verify", pool.path)
    assert done.returncode == 3
    assert done.stdout.startswith(f"web  {pool.path}\n")
    for part, state in (("header", "ok"), ("roster", "checksum is wrong"),
                        ("table", "ok"),
                        (f"section {active}", "checksum is wrong"),
                        (f"section {1 - active}", "whole")):
        assert re.search(rf"^  {part} +{state}\b", done.stdout, re.M), part
    assert done.stderr == (
        f"mc-shmdump: {pool.path}: damaged: roster: checksum is wrong; "
        f"section {active} (active): checksum is wrong\n")
    done = run(house, "--verify", "--json", pool.path)
    [web] = json.loads(done.stdout)["pools"]
    assert done.returncode == web["exit"] == 3 and web["damaged"]
    assert web["error"].startswith("damaged: roster")
    assert web["verify"] == {
        "header": "ok", "roster": "checksum is wrong", "table": "ok",
        f"section{active}": "checksum is wrong",
        f"section{1 - active}": "whole"}
    # Without being asked, the error alone.
    assert run(house, pool.path).stdout == ""
    assert "verify" not in json.loads(
        run(house, "-j", pool.path).stdout)["pools"][0]


def test_not_a_file_of_ours(house):
    path = house.directory / "web.mcshm"
    for content in (b"", b"x", b"\0" * 8192, b"MCSHM\x1a\r\n" * 2000,
                    os.urandom(65536)):
        path.write_bytes(content)
        assert run(house, path).returncode == 3
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in run(house, path, seconds=5).stderr
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert "symbolic link" in run(house, path).stderr
    done = run(house, f"{house.directory}/")
    assert done.returncode == 3
    assert "--directory DIR shows all pools of it" in done.stderr


def test_truncated(house, pool):
    whole = pool.path.read_bytes()
    copy = house.directory / "copy.mcshm"
    for size in (1, 100, 1967, 1968, 4096, len(whole) - 1):
        copy.write_bytes(whole[:size])
        assert run(house, copy).returncode == 3
    copy.write_bytes(whole)
    assert run(house, copy).returncode == 2     # whole, but nobody holds it


def test_it_never_maps_the_file(house, pool):
    """So that nobody who truncates it can kill mc-shmdump."""
    trace = house.directory / "trace"
    house.run("strace", "-f", "-o", trace, "-e", "trace=mmap,openat",
              SHMDUMP, "--all", pool.path,
              env={"ASAN_OPTIONS": "detect_leaks=0"})
    lines = trace.read_text().splitlines()
    [fd] = [line.split("= ")[1] for line in lines
            if f'"{pool.path}"' in line]
    after = lines[[f'"{pool.path}"' in line for line in lines].index(True):]
    assert not [line for line in after if re.search(
        rf"mmap\(.*, {fd}, (0|0x)", line)]


# Clients.

def test_clients(house, pool):
    client = house.client(pool.path)
    stuck = house.client(pool.path, nofollow=True)

    def seen():
        done = pool.json("--clients")
        return {c["pid"]: (c["inode"], c["checker"]) for c in done["clients"]}

    mine = {client.process.pid: ("current", False),
            stuck.process.pid: ("current", False),
            pool.process.pid: ("current", True)}
    assert seen() == mine
    text = pool.dump("-C")
    assert "2 clients on this file, 0 on an orphaned one" in text
    pool.obey("replace 5")
    client.picks(10)                    # it follows, the other one does not
    mine[stuck.process.pid] = ("orphaned", False)
    wait_until(lambda: seen() == mine, "one of them is on the old inode")
    text = pool.dump("-C")
    assert "1 client on this file, 1 on an orphaned one" in text
    assert re.search(rf"{stuck.process.pid} +client +orphaned", text)


def test_other_users_processes_are_counted(house, pool):
    house.directory.chmod(0o755)
    done = house.run("setpriv", "--reuid=65534", "--regid=65534",
                     "--clear-groups", SHMDUMP, "-C", pool.path, ok=False)
    assert re.search(r"not seen: \d+ process", done.stdout), done.stderr


# A daemon.

def test_watch(house, pool):
    done = Process(house, "watch", [SHMDUMP, "--watch", pool.path])
    wait_until(lambda: "4 of 4 usable" in done.text(), "a picture")
    pool.obey("set 1 3 0", "publish")
    wait_until(lambda: "3 of 4 usable" in done.text(), "the next one")
    done.signal(signal.SIGINT)
    assert done.wait() == -signal.SIGINT


def test_watch_ends_when_nobody_can_see_it(house, pool):
    with open("/dev/full", "w") as full:
        done = subprocess.Popen([SHMDUMP, "--watch", pool.path], stdout=full,
                                stderr=subprocess.PIPE, text=True)
    try:
        said = done.communicate(timeout=10)[1]
    finally:
        done.kill()
    assert done.returncode == 3 and "stdout: No space left" in said


@pytest.mark.takes(4)
def test_on_a_daemon(house):
    servers = house.memcacheds(3)
    checker = house.checker({"web": [s.line for s in servers]})
    checker.wait_verdicts("UP")
    web = checker.pool()
    assert checker.dump_code() == 0
    assert web["daemon"]["pid"] == checker.pid and web["daemon"]["alive"]
    assert web["daemon"]["config"] == str(checker.ini)
    assert web["daemon"]["heartbeat_age_ms"] < 5000
    for server in web["servers"]:
        assert server["resolved"] == [server["address"]]
        assert set(server["history"]) == {"+"} and server["rtt_us"] > 0
        assert abs(server["share_home"] - 1 / 3) < 0.01
    servers[1].kill()
    checker.wait_verdicts({"cache1": "DOWN"})
    assert checker.dump_code() == 1
    [one] = [s for s in checker.pool()["servers"] if s["name"] == "cache1"]
    assert one["history"].endswith("xxx") and one["reason"] == "refused"
    assert one["share_now"] == 0
    assert "will come back empty" in checker.shmdump(checker.path()).stdout
    checker.kill()
    text = checker.shmdump(checker.path()).stdout
    assert "DEAD" in text and checker.dump_code() == 2
