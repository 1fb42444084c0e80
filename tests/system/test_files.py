"""The pool's file: no room for it, removed, replaced, damaged, left over."""
import os
import shutil

import pytest

from .harness import files as names, wait_until


def test_no_room_at_the_start(house):
    """Clear words, exit 73, and nothing is left."""
    fake = house.fake(2)
    small = house.tmpfs("64k")
    checker = house.checker({"web": fake.lines()}, start=False,
                            directory=small)
    checker.start(ready=False)
    assert checker.process.wait() == 73
    checker.expected_code = 73
    said = checker.logged("No space left on device")
    assert len(said) == 1 and str(small) in said[0]
    assert checker.told("READY") == []
    assert names(small) == []


def size_of_a_file(house, lines):
    """What a pool of so many servers takes, in bytes."""
    checker = house.checker({"web": lines})
    checker.stop()
    return checker.path().stat().st_size


def test_no_room_for_the_second_of_two_pools(house):
    fake = house.fake(2)
    small = house.tmpfs(size_of_a_file(house, fake.lines()) * 3 // 2)
    checker = house.checker({"a": fake.lines(), "b": fake.lines()},
                            start=False, directory=small)
    checker.start(ready=False)
    assert checker.process.wait() == 73
    checker.expected_code = 73
    assert names(small) == []


@pytest.mark.takes(5)
def test_no_room_for_a_bigger_roster(house):
    """The old file goes on and is kept up; it heals by itself."""
    fake = house.fake(5)
    small = house.tmpfs(size_of_a_file(house, fake.lines()) * 3 // 2)
    checker = house.checker({"web": fake.lines(range(4))}, directory=small)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base, inode = client.picks(), checker.inode()
    checker.pools["web"] = fake.lines()
    checker.reload()
    checker.wait_logged("cannot publish.*No space left on device")
    assert checker.inode() == inode
    # Readers on the old file see what happens meanwhile.
    fake.set(1, "refuse")
    wait_until(lambda: client.verdicts()["fake1"] == "DOWN", "DOWN")
    picks = client.picks()
    picks.only_moved("fake1")
    assert picks.blind == 0 and picks.home == base.home
    assert "fake1" not in picks.answer
    fake.set(1, "ok")
    wait_until(lambda: client.verdicts()["fake1"] == "UP", "UP")
    assert len(checker.logged("No space left")) == 1
    wait_until(lambda: names(small) == ["web.mcshm"], "between two tries")

    house.run("mount", "-o", "remount,size=16m", small)
    checker.wait_logged("pool web: 4 -> 5 servers")
    checker.wait_logged("publishes again")
    wait_until(lambda: len(client.picks().shares()) == 5, "followed")
    assert checker.inode() != inode
    assert client.picks().blind == 0


@pytest.mark.takes(4)
@pytest.mark.parametrize("what", ["file", "directory"])
def test_it_is_removed_while_we_run(house, what):
    """Made anew; a client that only picks follows by itself."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()},
                            checker={"stale_after": "1s"})
    checker.wait_verdicts("UP")
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    client = house.client(checker.path())
    base = client.picks()
    running = house.client(checker.path())
    running.servers()
    running.run()
    inode, past = checker.inode(), checker.servers()
    if what == "file":
        checker.path().unlink()
    else:
        shutil.rmtree(checker.directory)
    checker.wait_logged("made anew")
    wait_until(lambda: checker.path().exists(), "it is there again")
    assert checker.inode() != inode
    shown = checker.servers()
    assert shown["fake1"]["verdict"] == "DOWN"
    assert past["fake0"]["history"][-5:] in shown["fake0"]["history"]
    fake.set(1, "ok")
    checker.wait_verdicts("UP")
    wait_until(lambda: client.picks().all_home(), "followed", 15)
    assert client.picks().blind == 0
    assert client.picks().home == base.home
    assert running.stop().all_said() <= set(fake.names())
    checker.wait_files("web.mcshm")


def test_it_was_cut(house):
    """That killed all who had it mapped; who starts makes a new one."""
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    checker.kill()
    os.truncate(checker.path(), 100)
    checker.start()
    checker.wait_verdicts("UP")


def test_it_is_another_users(house):
    """Of a daemon that somebody started as root."""
    nobody = house.other_user()
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()})
    checker.stop()
    checker.ini.chmod(0o644)
    checker.start(ready=False, before=nobody)
    assert checker.process.wait() == 73
    checker.expected_code = 73
    assert checker.logged(r"web.mcshm: it is uid 0's \(root\), and we are uid "
                          "65534; remove it .*Permission denied")


@pytest.mark.takes(4)
def test_clients_leave_an_orphan(house):
    """The daemon was killed, the file removed: nobody can tell those who have
    it mapped.  They see that it is stale, and look at the path."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines()},
                            checker={"stale_after": "1s"})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    checker.kill()
    checker.path().unlink()
    fake.set(1, "refuse")
    checker.start()
    checker.wait_verdicts({"fake1": "DOWN"})

    def followed():
        picks = client.picks()
        return picks.blind == 0 and "fake1" not in picks.answer
    wait_until(followed, "followed", 10)
    assert client.picks().home == base.home


@pytest.mark.takes(4)
def test_another_pool_file_is_put_there(house):
    """By "cp -p", say: it is not the one that we publish into."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    other = checker.directory / "other"
    shutil.copy(checker.path(), other)
    other.rename(checker.path())
    checker.wait_logged("made anew")
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    wait_until(lambda: "fake0" not in client.picks().answer, "followed")
    assert client.picks().home == base.home
    checker.wait_files("web.mcshm")


@pytest.mark.takes(4)
def test_somebody_elses_file_is_put_there(house):
    """What is no pool file is nobody's to destroy: said once, and healed
    once it is gone."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()
    other = checker.directory / "other"
    text = os.urandom(8192)
    other.write_bytes(text)
    other.rename(checker.path())
    checker.wait_logged("cannot publish.*not a pool file")
    requests = fake.requests()
    wait_until(lambda: fake.requests()[0] > requests[0] + 5, "it probes")
    assert checker.path().read_bytes() == text
    assert len(checker.logged("not a pool file")) == 1
    checker.path().rename(other)
    checker.wait_logged("made anew|publishes again")
    fake.set(0, "refuse")
    checker.wait_verdicts({"fake0": "DOWN"})
    wait_until(lambda: "fake0" not in client.picks().answer, "followed")
    assert client.picks().home == base.home
    checker.wait_files("other", "web.mcshm")


@pytest.mark.takes(3)
@pytest.mark.parametrize("what", ["empty", "damaged"])
def test_what_lies_there_at_the_start_is_replaced(house, what):
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, start=False)
    path = checker.path()
    if what == "empty":
        path.touch()
    else:
        checker.start()
        checker.wait_verdicts("UP")
        checker.kill()
        content = bytearray(path.read_bytes())
        content[64] ^= 0xff         # the scheme; header_sum no longer fits
        path.write_bytes(content)
    path.chmod(0o644)
    checker.start()
    checker.wait_verdicts("UP")
    assert house.client(path).picks().all_home()
    checker.wait_files("web.mcshm")


@pytest.mark.parametrize("what", ["text", "directory", "fifo"])
def test_what_is_no_pool_file_is_left_alone(house, what):
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, start=False)
    path = checker.path()
    if what == "text":
        path.write_text("precious\n" * 1000)
    elif what == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    checker.start(ready=False)
    assert checker.process.wait() == 73
    checker.expected_code = 73
    assert len(checker.logged(str(path))) == 1
    if what == "text":
        assert path.read_text() == "precious\n" * 1000
    checker.wait_files("web.mcshm")


def test_what_a_dead_daemon_left_is_swept(house):
    fake = house.fake(2)
    checker = house.checker({"web": fake.lines()}, start=False)
    left = checker.directory / ".web.tmp.4000000"
    left.write_bytes(bytes(8192))
    mine = checker.directory / "notes.txt"
    mine.write_text("not yours")
    checker.start()
    checker.wait_verdicts("UP")
    checker.wait_files("notes.txt", "web.mcshm")


@pytest.mark.takes(3)
def test_a_file_of_another_roster(house):
    """The ini changed while no daemon ran: states by name and address."""
    fake = house.fake(4)
    checker = house.checker({"web": fake.lines([0, 1, 2])})
    checker.wait_verdicts("UP")
    fake.set(1, "refuse")
    checker.wait_verdicts({"fake1": "DOWN"})
    client = house.client(checker.path())
    client.picks()
    checker.stop()
    checker.pools["web"] = fake.lines([3, 1, 0])
    checker.configure()
    checker.start()
    wait_until(lambda: list(checker.servers()) == ["fake3", "fake1", "fake0"],
               "the new roster")
    assert checker.verdicts()["fake1"] == "DOWN"
    assert not checker.logged("server=fake1 .*state=")
    wait_until(lambda: set(client.picks().answer) == {"fake0", "fake3"},
               "followed")
    checker.wait_files("web.mcshm")


def test_a_directory_that_is_not_there(house):
    """Made, if its parent is; else told."""
    fake = house.fake(1)
    checker = house.checker({"web": fake.lines()}, start=False)
    checker.directory.rmdir()
    checker.start()
    checker.wait_verdicts("UP")
    checker.stop()
    lost = house.checker({"web": fake.lines()}, start=False, checker={
        "directory": house.directory / "not" / "there"})
    lost.start(ready=False)
    assert lost.process.wait() == 73
    lost.expected_code = 73
    assert lost.logged("not/there.*No such file")


def test_a_damaged_file_is_seen(house):
    """mc-shmdump --verify, and a client that opens it."""
    fake = house.fake(3)
    checker = house.checker({"web": fake.lines()})
    checker.wait_verdicts("UP")
    assert checker.shmdump("--verify", checker.path()).returncode == 0
    content = bytearray(checker.path().read_bytes())
    content[2048 + 2048 + 400] ^= 1         # in the roster
    copy = house.directory / "copy.mcshm"
    copy.write_bytes(content)
    copy.chmod(0o644)
    assert checker.shmdump("--verify", copy).returncode == 3
    content[64] ^= 1
    copy.write_bytes(content)
    assert "error" in house.client(copy).opened
