"""Options, exit codes, and an ini with errors."""
import os

import pytest

from .harness import BUILD, ROOT

CHECKERD = BUILD / "mc-checkerd"

GOOD = """\
[checker]
directory = /tmp/somewhere
heartbeat = 500ms
[defaults]
interval = 2s
rise = 2
[pool web]
server = cache1 127.0.0.1:11211 weight=3
server = cache2 [::1]:11211 state=drain
server = unix:/tmp/mc.sock
server = cache3.example:11212
[pool pages]
scheme = libmemcached-modula
fall_ratio = 3/10
file = /tmp/pages.mcshm
server = 10.0.0.1:11211
"""


def write(house, text, name="test.ini"):
    path = house.directory / name
    path.write_text(text)
    return path


def run(house, *options):
    return house.run(CHECKERD, *options, ok=False)


def test_version_and_help(house):
    version = run(house, "--version")
    assert version.returncode == 0
    assert version.stdout.startswith("mc-checkerd 0.")
    help_text = run(house, "--help")
    assert help_text.returncode == 0 and help_text.stderr == ""
    for option in ("-c, --config", "-t, --check-config", "-T, --dump-config",
                   "-h, --help", "--version"):
        assert option in help_text.stdout
    assert run(house, "-h").stdout == help_text.stdout


@pytest.mark.parametrize("options", [
    ["--frobnicate"], ["-c"], ["what"], ["-x"], ["-t", "what"],
    ["-t", "-T"], ["-T", "-t"]])
def test_wrong_use(house, options):
    done = run(house, *options)
    assert done.returncode == 64
    assert done.stdout == "" and done.stderr.strip()


def test_a_good_file(house):
    path = write(house, GOOD)
    for option in ("-t", "--check-config"):
        done = run(house, option, "-c", path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{path}: ok, 2 pools, 5 servers\n"
    assert run(house, f"--config={path}", "-t").returncode == 0


@pytest.mark.parametrize("example", ["mc-checkerd.ini", "fast-lan.ini"])
def test_the_examples_are_good(house, example):
    done = run(house, "-t", "-c", ROOT / "conf" / example)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_dump_parses_to_itself(house):
    once = run(house, "-T", "-c", write(house, GOOD))
    assert (once.returncode, once.stderr) == (0, "")
    twice = run(house, "--dump-config", "-c",
                write(house, once.stdout, "dumped.ini"))
    assert twice.returncode == 0 and twice.stdout == once.stdout
    for line in ("server = cache1 127.0.0.1:11211 weight=3",
                 "server = cache2 [::1]:11211 state=drain",
                 "server = unix:/tmp/mc.sock", "interval = 2s", "rise = 2",
                 "fall_ratio = 3/10", "heartbeat = 500ms", "timeout = 750ms",
                 "file = /tmp/somewhere/web.mcshm",
                 "file = /tmp/pages.mcshm", "hash = one_at_a_time"):
        assert line in once.stdout.splitlines(), line


def test_all_errors_in_one_run(house):
    path = write(house, """\
[checker]
heartbeat = 1
directory = relative
[defaults]
interval = 100ms
[pool web]
timeout = 200ms
server = a 127.0.0.1:11211
server = a 127.0.0.1:11212
server = b 127.0.0.1:11211
server = c 127.0.0.1
colour = blue
[pool web]
server = 127.0.0.1:1
[pool empty]
[nonsense]
x = 1
""")
    for options in (["-t"], ["-T"], []):
        done = run(house, *options, "-c", path)
        assert done.returncode == 78 and done.stdout == ""
        lines = done.stderr.splitlines()
        assert all(line.startswith(f"{path}:") for line in lines)
        assert all("; " in line for line in lines)
        told = {int(line[len(str(path)) + 1:].split(":")[0])
                for line in lines}
        assert told == {2, 3, 7, 9, 10, 11, 12, 13, 15, 16}


def test_a_login_is_told_to_nobody(house):
    login = house.directory / "login"
    login.write_text("prober:topsecret\n")
    login.chmod(0o640)
    path = write(house, f"[defaults]\nauth_file = {login}\n"
                        "[pool a]\nserver = 127.0.0.1:1\n")
    for options in (["-t"], ["-T"]):
        done = run(house, *options, "-c", path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "secret" not in done.stdout
    assert f"\nauth_file = {login}\n" in done.stdout
    login.write_text("topsecret\n")
    done = run(house, "-t", "-c", path)
    assert done.returncode == 78 and "secret" not in done.stderr
    assert done.stderr.startswith(f"{path}:2: auth_file = {login} has no colon")
    login.unlink()
    done = run(house, "-t", "-c", path)
    assert done.returncode == 78
    assert done.stderr.startswith(
        f"{path}:2: auth_file = {login} cannot be read: No such file")


ODD = {"scheme": "libmemcached-virtual-bucket", "buckets": "0 1 0",
       "server": ["a 127.0.0.1:1 state=maint", "b 127.0.0.1:2 state=maint"]}


def test_a_warning_is_no_error(house):
    """On standard error with -t, which says ok all the same; in the log of a
    daemon that reloads."""
    checker = house.checker({"web": ["a 127.0.0.1:1 state=maint"]})
    checker.pools = {"web": ODD}
    checker.reload()
    checker.wait_logged(r" warning \S+\.ini:\d+: pool web: of its 3 buckets")
    assert not checker.logged(r" error \S+: ")
    done = run(house, "-t", "-c", checker.ini)
    assert done.returncode == 0
    assert done.stdout == f"{checker.ini}: ok, 1 pool, 2 servers\n"
    assert done.stderr.count("\n") == 1
    assert ": warning: pool web: of its 3 buckets" in done.stderr


@pytest.mark.parametrize("make", [
    lambda p: None, lambda p: p.mkdir(), lambda p: os.mkfifo(p)])
def test_what_is_no_readable_file(house, make):
    path = house.directory / "test.ini"
    make(path)
    for options in (["-t"], []):
        done = run(house, *options, "-c", path)
        assert done.returncode == 78
        assert str(path) in done.stderr


def test_a_file_that_may_not_be_read(house):
    nobody = house.other_user()
    path = write(house, GOOD)
    path.chmod(0o600)
    done = house.run(*nobody, CHECKERD, "-t", "-c", path, ok=False)
    assert done.returncode == 78
    assert "Permission denied" in done.stderr
    # Nor may the user of the daemon write where he likes.
    path.chmod(0o644)
    path.write_text(f"[pool a]\nfile = {house.directory}/a.mcshm\n"
                    "server = 127.0.0.1:1\n")
    done = house.run(*nobody, CHECKERD, "-c", path, ok=False)
    assert done.returncode == 73
    assert "Permission denied" in done.stderr


def test_no_pool_is_good(house):
    done = run(house, "-t", "-c", write(house, ""))
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 pools, 0 servers" in done.stdout


def test_output_that_can_not_be_written(house):
    path = write(house, GOOD)
    for option in ("-t", "-T"):
        done = house.run("sh", "-c", f"{CHECKERD} {option} -c {path} "
                         ">/dev/full", ok=False)
        assert done.returncode == 74
