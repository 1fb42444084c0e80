"""Pool: the whole API, on a file that does as it is told."""
import gc
import multiprocessing
import os
import pathlib
import pickle
import signal
import socket
import sys
import threading
import time
import tracemalloc
import weakref

import pytest
from harness import wait_until

import mcshm

KEYS = [f"key:{i}" for i in range(200)]


@pytest.fixture
def pool(file):
    with mcshm.Pool(file.path) as pool:
        yield pool


def home_of(pool, slot):
    """A key that lives there."""
    return next(k for k in KEYS if pool.candidates(k, 1)[0].home == slot)


# Choices.

def test_a_choice(pool):
    c = pool.pick("user:42")
    assert c.slot == c.home and c.tries == 0 and c.roster > 2**32
    assert (c.blind, c.silent, c.drained, c.suspect) == (False,) * 4
    assert c.failover_ttl == 0
    assert c.server is pool.servers()[c.slot]
    assert c.server.name in repr(c) and "slot=" in repr(c)
    with pytest.raises(AttributeError):
        c.slot = 1
    with pytest.raises(TypeError):
        mcshm.Choice()


def test_keys_are_str_or_bytes(pool):
    for key in ("user:42", "gr\u00fcn", "\U0001f40d", "", "a\0b"):
        assert pool.pick(key).slot == pool.pick(key.encode()).slot
    for key in (None, 1, bytearray(b"x"), ("a",)):
        with pytest.raises(TypeError, match="a key is str or bytes"):
            pool.pick(key)
    with pytest.raises(UnicodeEncodeError):
        pool.pick("\ud800")
    for arguments in ((), ("a", None, None)):
        with pytest.raises(TypeError):
            pool.pick(*arguments)


def test_servers(pool):
    servers = pool.servers()
    assert [s.slot for s in servers] == [0, 1, 2, 3]
    assert [s.name for s in servers] == ["cache01", "cache02", "cache03",
                                         "cache04"]
    assert servers[2][1:4] == (socket.AF_INET, ("10.1.0.3", 11211), 1)
    roster = pool.roster()
    assert roster.servers is servers
    assert roster.id == pool.pick("x").roster == pool.status().roster


def test_every_key_is_somewhere_and_none_moves(file, pool):
    before = {k: pool.pick(k).slot for k in KEYS}
    assert set(before.values()) == {0, 1, 2, 3}
    file.verdicts(1, 3, 1, 1)
    for key, slot in before.items():
        c = pool.pick(key)
        assert c.home == slot
        assert c.slot == slot if slot != 1 else c.slot != 1 and c.tries > 0
    file.verdicts(1, 1, 1, 1)
    assert {k: pool.pick(k).slot for k in KEYS} == before


def test_candidates(file, pool):
    for key in KEYS:
        order = pool.candidates(key, 3)
        assert order[0].slot == pool.pick(key).slot
        assert len({c.slot for c in order}) == 3
    assert len(pool.candidates("x", 100)) == 4
    second = pool.candidates(home_of(pool, 1), k=2)[1]
    key = home_of(pool, 1)
    file.verdicts(1, 3, 1, 1)
    assert pool.pick(key).slot == second.slot
    file.verdicts(2, 3, 3, 1)
    assert [(c.slot, c.silent) for c in pool.candidates("x", 4)] == [
        (3, False), (0, True)]
    file.verdicts(3, 3, 3, 3)
    assert pool.candidates("x", 4) == []
    for k in (0, -1):
        with pytest.raises(ValueError):
            pool.candidates("x", k)


def test_a_large_pool(make_file):
    with mcshm.Pool(make_file(servers=1000).path) as pool:
        assert len(pool.servers()) == len(pool.snapshot().states) == 1000
        assert len(pool.candidates("x", 10**9)) == 1000
        assert len({pool.pick(f"{i}").slot for i in range(9999)}) > 990


# No answer.

def test_a_default_is_instead_of_no_answer(file, pool):
    key = home_of(pool, 1)
    nothing = object()
    for verdicts, kind in (((1, 2, 1, 1), mcshm.Held),
                           ((3, 3, 3, 3), mcshm.NoServer)):
        file.verdicts(*verdicts)
        assert pool.pick(key, nothing) is nothing
        with pytest.raises(kind) as caught:
            pool.pick(key)
        e = caught.value
        assert isinstance(e, mcshm.Unavailable) and e.code == kind.code
        assert pool.name in str(e)
    assert e.choice is None


def test_held_says_who(file, pool):
    key = home_of(pool, 1)
    file.verdicts(1, 2, 1, 1)
    with pytest.raises(mcshm.Held, match="cache02") as caught:
        pool.pick(key)
    assert caught.value.choice.server.name == "cache02"


@pytest.mark.parametrize("kind, also", [
    (mcshm.Invalid, ValueError), (mcshm.NoPool, FileNotFoundError),
    (mcshm.NotTrusted, PermissionError), (mcshm.SystemTrouble, OSError),
    (mcshm.ServerFailed, ConnectionError), (mcshm.Held, mcshm.Unavailable),
    (mcshm.Down, mcshm.Unavailable), (mcshm.Miss, mcshm.Unavailable),
    (mcshm.NoServer, mcshm.Unavailable), (mcshm.NoPool, mcshm.Unavailable)])
def test_errors_are_what_they_are_like(kind, also):
    assert issubclass(kind, also) and issubclass(kind, mcshm.Error)


def test_each_code_of_the_library_has_its_class():
    from mcshm import _errors
    assert sorted(_errors._BY_CODE) == list(range(-13, 0))
    unknown = _errors.error_of(-99, "news", "web", None)
    assert type(unknown) is mcshm.Error and unknown.code == -99


def test_what_can_not_be_opened(tmp_path):
    bad = tmp_path / "bad.mcshm"
    with pytest.raises(mcshm.NoPool, match="bad.mcshm"):
        mcshm.Pool(bad)
    bad.write_bytes(b"x" * 8192)
    with pytest.raises(mcshm.Damaged):
        mcshm.Pool(bad)
    bad.chmod(0o666)
    with pytest.raises(mcshm.NotTrusted):
        mcshm.Pool(bad)
    with pytest.raises(mcshm.Invalid):
        mcshm.Pool("")
    for wrong in (None, 7):
        with pytest.raises(TypeError):
            mcshm.Pool(wrong)
    with pytest.raises(ValueError, match="null"):
        mcshm.Pool("a\0b")


def test_names_and_paths(file, monkeypatch):
    path = pathlib.Path(file.path)
    monkeypatch.setenv("MCSHM_DIR", str(path.parent))
    monkeypatch.chdir(path.parent)
    name = path.stem
    for pool in (name, str(path), bytes(path), os.fsencode(name), path,
                 pathlib.Path(path.name), f"./{path.name}"):
        with mcshm.Pool(pool) as p:
            assert p.pick("x").server.name.startswith("cache")
    assert mcshm.Pool(name).name == name
    with pytest.raises(mcshm.NoPool):
        mcshm.Pool(path.name)       # a name, in $MCSHM_DIR: web.mcshm.mcshm


# What the checker believes.

def test_a_snapshot(file, pool):
    file.obey("probes 1 ++xt")
    file.verdicts(1, 3, 2, 1)
    status, servers, states = pool.snapshot()
    assert (status.servers, status.usable) == (4, 2)
    assert (status.alive, status.hung, status.stale) == (True, False, False)
    assert status.follow_error is None and status.heartbeat_age >= 0
    assert servers is pool.servers()
    V = mcshm.Verdict
    assert [s.verdict for s in states] == [V.UP, V.DOWN, V.HELD, V.UP]
    assert [s.usable for s in states] == [True, False, False, True]
    assert [s.held for s in states] == [False, False, True, False]
    assert {s.admin for s in states} == {mcshm.Admin.READY}
    assert states[0].reason is None and states[0].down_since is None
    assert bin(states[1].history & 0b1111) == "0b1100"
    assert 0 < states[0].since <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_number_without_a_name_stays_one(file, pool):
    file.obey("set 0 77 5", "publish")
    state = pool.snapshot().states[0]
    assert state.verdict == 77 and state.admin == 5


def test_the_state_of_one_server(file, pool):
    key = home_of(pool, 2)
    c = pool.pick(key)
    assert pool.state(c).verdict == mcshm.Verdict.UP
    file.obey("last 2 1 60 4321")
    file.verdicts(1, 1, 3, 1)
    state = pool.state(c)
    assert state.verdict == mcshm.Verdict.DOWN and state.rtt == 0.004321
    assert state.reason and len(state.reason_text) > len(state.reason)
    assert (state.degraded, state.degraded_names) == (0, ())
    file.obey("degraded 2 33", "publish")
    state = pool.state(c)
    assert state.degraded_names == ("worker-stuck", "slow")
    file.obey("degraded 2 2147483648", "publish")
    assert pool.state(c).degraded_names == ("31",)
    with pytest.raises(TypeError, match="mcshm.Choice"):
        pool.state("cache01")
    file.obey("replace 5")
    pool.pick(key)
    with pytest.raises(mcshm.RosterChanged):
        pool.state(c)


def test_status_without_a_file(tmp_path):
    with mcshm.Pool(tmp_path / "none.mcshm", later=True) as pool:
        status = pool.status()
        assert (status.servers, status.alive) == (0, False)
        assert isinstance(status.follow_error, mcshm.NoPool)
        with pytest.raises(mcshm.NoPool):
            pool.snapshot()


def test_a_stale_file_is_believed_no_more(file, pool):
    key = home_of(pool, 1)
    file.verdicts(1, 3, 1, 1)
    assert not pool.pick(key).blind
    file.obey("beat 60")
    c = pool.pick(key)
    assert c.blind and c.slot == 1 and "blind" in repr(c)
    assert pool.status().stale


# Other files.

def test_a_replaced_file_is_followed(file, pool):
    before, servers = pool.pick("x"), pool.servers()
    file.obey("replace 6")
    after = pool.pick("x")
    assert sys.getrefcount(servers) == 2        # ours, and the call's
    assert after.roster != before.roster and len(pool.servers()) == 6
    assert after.server is pool.servers()[after.slot]
    assert before.server.name.startswith("cache")


def test_nofollow_goes_on_when_it_is_told(file):
    with mcshm.Pool(file.path, nofollow=True) as pool:
        assert pool.refresh() is False
        roster = pool.pick("x").roster
        file.obey("replace 6")
        assert pool.pick("x").roster == roster and len(pool.servers()) == 4
        assert pool.refresh() is True
        assert pool.pick("x").roster != roster and len(pool.servers()) == 6


def test_later(make_file, tmp_path):
    path = tmp_path / "later.mcshm"
    with pytest.raises(mcshm.NoPool):
        mcshm.Pool(path)
    with mcshm.Pool(path, later=True) as pool:
        assert pool.pick("x", None) is None and pool.candidates("x", 2) == []
        with pytest.raises(mcshm.NoPool):
            pool.pick("x")
        with pytest.raises(mcshm.NoPool):
            pool.servers()
        assert pool.wait(timeout=0) == 0
        make_file(path)
        wait_until(lambda: pool.pick("x", None), "the pool is there")
        assert pool.wait() != 0


# Waiting.

def test_wait(file, pool):
    now = pool.wait()
    assert now == pool.status().generation
    assert pool.wait(now, timeout=0.01) == now == pool.wait(now, -1)
    file.verdicts(1, 1, 1, 3)
    assert pool.wait(now) != now
    with pytest.raises(TypeError):
        pool.wait(now, "soon")


def sleeps_in(path, thread):
    """Does it wait for a change of this file?  (Not for Python's lock.)"""
    with open(f"/proc/self/task/{thread}/syscall") as f:
        words = f.read().split()
    if len(words) < 2:
        return False                    # running
    with open("/proc/self/maps") as f:
        ranges = [line.split()[0] for line in f if str(path) in line]
    return any(int(first, 16) <= int(words[1], 16) < int(last, 16)
               for first, last in (r.split("-") for r in ranges))


class Waiter(threading.Thread):
    """Waits for another generation; .outcome says what came of it."""

    def __init__(self, pool):
        super().__init__(daemon=True)
        self.pool, self.outcome = pool, None
        self.now = pool.wait()
        self.start()
        wait_until(lambda: sleeps_in(pool.name, self.native_id), "it sleeps")

    def run(self):
        try:
            self.outcome = self.pool.wait(self.now)
        except ValueError as e:
            self.outcome = e


def test_who_waits_holds_nobody_up(file, pool):
    waiters = [Waiter(pool) for _ in range(3)]
    assert [pool.pick(k).tries for k in KEYS] == [0] * len(KEYS)
    assert [w.outcome for w in waiters] == [None] * 3
    file.verdicts(1, 1, 1, 3)
    for waiter in waiters:
        waiter.join(10)
        assert waiter.outcome not in (None, waiter.now)


def test_a_pool_may_be_closed_under_a_waiter(file, pool):
    waiter = Waiter(pool)
    pool.close()
    waiter.join(10)
    assert "closed" in str(waiter.outcome)


def test_a_signal_ends_a_wait(file, pool):
    class Enough(Exception):
        pass

    def enough(number, frame):
        raise Enough

    before = signal.signal(signal.SIGUSR1, enough)
    main, over, late = threading.get_ident(), threading.Event(), []
    now = pool.wait()

    def send():
        wait_until(lambda: sleeps_in(pool.name, os.getpid()), "a wait")
        signal.pthread_kill(main, signal.SIGUSR1)
        if not over.wait(20):
            late.append(True)
            file.verdicts(1, 1, 1, 3)

    sender = threading.Thread(target=send)
    try:
        sender.start()
        with pytest.raises(Enough):
            pool.wait(now)
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)
    assert not late


# Closing.

def maps(path):
    with open("/proc/self/maps") as f:
        return sum(str(path) in line for line in f)


def test_close(file):
    pool = mcshm.Pool(file.path)
    assert maps(file.path) > 0 and not pool.closed
    pool.close()
    assert maps(file.path) == 0 and pool.closed and "closed" in repr(pool)
    pool.close()
    choice = None
    for use in (lambda: pool.pick("x"), lambda: pool.pick("x", None),
                lambda: pool.candidates("x", 1), pool.servers, pool.roster,
                pool.snapshot, pool.status, pool.refresh, pool.wait,
                lambda: pool.run("x", print), lambda: pool.failed(choice),
                pool.__enter__):
        with pytest.raises(ValueError, match="is closed"):
            use()
    with pytest.raises(ValueError, match="is closed"):
        pool.resubmit_on_error = True
    with pytest.raises(ValueError, match="is closed"):
        with pool:
            pass


def test_who_forgets_to_close_leaves_nothing(file):
    pool = mcshm.Pool(file.path)
    there = weakref.ref(pool)
    choice = pool.pick("x")
    del pool
    assert there() is None and maps(file.path) == 0
    assert choice.server.name.startswith("cache")
    with pytest.raises(RuntimeError), mcshm.Pool(file.path):
        raise RuntimeError
    assert maps(file.path) == 0


def test_closed_by_a_function_of_run(file, pool):
    def close(choice, timeout):
        pool.close()
        return choice.server.name

    assert pool.run("x", close).startswith("cache")
    assert pool.closed and maps(file.path) == 0


# Failures of servers.

def test_failed(file, pool):
    key = home_of(pool, 1)
    assert pool.failed(pool.pick(key)) is True
    second = pool.pick(key)
    assert second.slot != 1 and second.home == 1
    assert pool.candidates(key, 4)[-1].suspect
    pool.suspect_time = 0
    assert pool.pick(key).slot == 1
    for wrong in (None, 1, "cache01"):
        with pytest.raises(TypeError, match="mcshm.Choice"):
            pool.failed(wrong)


def test_failed_by_server(file, pool):
    server = pool.servers()[1]
    assert pool.failed(server) is True
    assert pool.pick(home_of(pool, 1)).slot != 1
    assert pool.failed(server._replace(name="another")) is False


def test_failed_of_another_roster(file, pool):
    choice = pool.pick("x")
    file.obey("replace 5")
    pool.pick("x")
    assert pool.failed(choice) is False


def test_options(file, pool):
    defaults = {"resubmit_on_error": False, "resubmit_max": 3,
                "resubmit_deadline": 1.0, "suspect_time": 10.0,
                "reports": True}
    assert {name: getattr(pool, name) for name in defaults} == defaults
    for name, value in (("resubmit_on_error", True), ("resubmit_max", 16),
                        ("resubmit_deadline", 0.25), ("suspect_time", 0.0),
                        ("reports", False)):
        setattr(pool, name, value)
        assert getattr(pool, name) == value
        with pytest.raises(AttributeError):
            delattr(pool, name)
    for name, value in (("resubmit_max", 0), ("resubmit_max", 17),
                        ("resubmit_deadline", 0)):
        with pytest.raises(mcshm.Invalid):
            setattr(pool, name, value)
    for name, value in (("resubmit_max", "3"), ("suspect_time", None)):
        with pytest.raises(TypeError):
            setattr(pool, name, value)
    assert pool.resubmit_max == 16


# Run: what becomes of what a function does.

class Tries:
    """A function that fails as it is told, and remembers."""

    def __init__(self, *failures, then="done"):
        self.failures, self.then = list(failures), then
        self.servers = []

    def __call__(self, choice, timeout):
        assert 0 < timeout <= 60
        self.servers.append(choice.server)
        if self.failures:
            raise self.failures.pop(0)
        return self.then


def test_run_gives_what_the_function_gives(pool):
    tries = Tries(then=None)
    assert pool.run("x", tries) is None
    assert tries.servers == [pool.pick("x").server]


def test_run_off(pool):
    """The error comes back, and the next call is rehashed."""
    tries = Tries(TimeoutError("slow"))
    with pytest.raises(mcshm.ServerFailed) as caught:
        pool.run("x", tries)
    assert str(caught.value.__cause__) == "slow"
    assert caught.value.choice.server == tries.servers[0]
    assert pool.run("x", tries) == "done"
    assert tries.servers[0] != tries.servers[1]


UNSENT, SENT = ConnectionRefusedError(), ConnectionResetError()


@pytest.mark.parametrize("failures, repeatable, tried", [
    ([UNSENT, UNSENT], False, 3),
    ([mcshm.NotSent(), UNSENT], False, 3),
    ([SENT], False, 1),
    ([UNSENT, SENT], False, 2),
    ([SENT, SENT], True, 3),
    ([EOFError(), TimeoutError()], True, 3),
    ([SENT, SENT, SENT], True, 3),
    ([UNSENT, UNSENT, UNSENT], False, 3),
])
def test_run_on(pool, failures, repeatable, tried):
    pool.resubmit_on_error = True
    pool.resubmit_deadline = 60
    tries = Tries(*failures)
    if len(failures) < tried:
        assert pool.run("x", tries, repeatable=repeatable) == "done"
    else:
        with pytest.raises(mcshm.ServerFailed) as caught:
            pool.run("x", tries, repeatable=repeatable)
        assert caught.value.__cause__ is failures[-1]
    assert len(tries.servers) == len(set(tries.servers)) == tried


def test_errors_of_the_function_are_its_own(pool):
    pool.resubmit_on_error = True
    for own in (KeyError("x"), KeyboardInterrupt(), mcshm.Error("mine")):
        tries = Tries(own)
        with pytest.raises(type(own)) as caught:
            pool.run("x", tries, repeatable=True)
        assert caught.value is own and len(tries.servers) == 1
    tries = Tries(KeyError())
    assert pool.run("x", tries, repeatable=True,
                    failures=KeyError) == "done"
    assert len(tries.servers) == 2
    for own in (OSError("mine"), ConnectionRefusedError("mine")):
        with pytest.raises(OSError) as caught:
            pool.run("x", Tries(own), failures=(KeyError,))
        assert caught.value is own


def test_run_where_there_is_no_server(file, pool):
    file.verdicts(3, 3, 3, 3)
    with pytest.raises(mcshm.NoServer):
        pool.run("x", Tries())
    file.verdicts(2, 1, 1, 1)
    with pytest.raises(mcshm.Held) as caught:
        pool.run(home_of(pool, 0), Tries())
    assert caught.value.choice.slot == 0
    with pytest.raises(TypeError):
        pool.run(7, Tries())
    with pytest.raises(TypeError):
        pool.run("x", Tries(), True)


def test_a_replacement_while_a_function_runs(file, pool):
    def replace(choice, timeout):
        file.obey("replace 7")
        assert pool.pick("y").server in pool.servers()
        raise UNSENT

    with pytest.raises(mcshm.ServerFailed):
        pool.run("x", replace)
    assert len(pool.servers()) == 7


# Other processes.

def answers(pool):
    return [pool.pick(k).slot for k in KEYS]


def test_after_fork_while_others_are_inside(file, pool):
    """In the child the same; what it does to the pool, the parent's is not."""
    waiter = Waiter(pool)
    expected = answers(pool)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            same = answers(pool) == expected
            pool.failed(pool.pick("x"))
            pool.close()
            code = 0 if same and pool.closed else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert answers(pool) == expected
    file.verdicts(1, 1, 1, 3)
    waiter.join(10)
    assert waiter.outcome not in (None, waiter.now)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(pool, method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as workers:
        assert workers.map(answers, [pool] * 4) == [answers(pool)] * 4


def test_pickle(file):
    class Mine(mcshm.Pool):
        pass

    pool = mcshm.Pool(file.path, later=True)
    pool.resubmit_on_error, pool.suspect_time = True, 2.5
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        other = pickle.loads(pickle.dumps(pool, protocol))
        assert answers(other) == answers(pool)
        assert other.resubmit_on_error and other.suspect_time == 2.5
    with pytest.raises(TypeError):
        pickle.dumps(pool.pick("x"))
    assert answers(Mine(file.path)) == answers(pool)


def test_pickled_before_it_is_there(tmp_path):
    for later, nofollow in ((True, False), (True, True)):
        pool = mcshm.Pool(tmp_path / "none", later=later, nofollow=nofollow)
        assert pickle.loads(pickle.dumps(pool)).pick("x", None) is None


def test_threads_while_files_are_replaced(file, pool):
    """Each choice has the server of its own roster."""
    over = threading.Event()
    wrong = []

    def ask():
        while not over.is_set():
            for key in KEYS:
                c = pool.pick(key, None)
                if c is None or c.server is None or c.server.slot != c.slot:
                    wrong.append(c)
            try:
                status, servers, states = pool.snapshot()
            except mcshm.Busy:
                continue
            if not status.servers == len(servers) == len(states):
                wrong.append(status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    try:
        for servers in (9, 3, 17, 2, 40):
            file.obey(f"replace {servers}")
            wait_until(lambda: len(pool.servers()) == servers, "followed")
    finally:
        over.set()
        for t in threads:
            t.join()
    assert wrong == []


def use(pool, held):
    """Everything once, well and badly; held: a key whose server is."""
    choice = pool.pick("x")
    for call in (lambda: pool.pick(held), lambda: pool.pick(held, None),
                 lambda: pool.pick(1), lambda: pool.candidates("x", 3),
                 lambda: pool.candidates("x", 99), pool.snapshot, pool.status,
                 lambda: pool.state(choice), pool.roster,
                 lambda: pool.run("x", Tries()),
                 lambda: pool.run("x", Tries(KeyError())),
                 lambda: pool.run("x", Tries(TimeoutError())),
                 lambda: pool.run("x", Tries(ConnectionRefusedError())),
                 lambda: pool.failed(choice),
                 lambda: pool.failed(choice.server), lambda: repr(choice),
                 lambda: pickle.loads(pickle.dumps(pool)).servers(),
                 lambda: mcshm.Pool("none"), lambda: pool.wait(timeout=0)):
        try:
            call()
        except (KeyError, TypeError, mcshm.Error):
            pass


def test_nothing_is_kept(file, pool):
    held = home_of(pool, 1)
    file.verdicts(1, 2, 1, 1)
    pool.resubmit_on_error = True
    pool.suspect_time = 0
    types = (type(pool), mcshm.Choice, mcshm.Server, mcshm.Roster)

    def measure():
        gc.collect()
        return [tracemalloc.get_traced_memory()[0],
                *(sys.getrefcount(o) for o in (
                    *types, pool, pool.servers(), *pool.servers()))]

    def grown(times):
        before = measure()
        for _ in range(times):
            use(pool, held)
        return [a - b for a, b in zip(measure(), before)]

    tracemalloc.start()
    try:
        grown(100)
        # Python itself keeps this and that at first; a leak is one each time.
        rounds = [grown(1000) for _ in range(3)]
    finally:
        tracemalloc.stop()
    assert min(r[0] for r in rounds) < 1000 * 28, rounds
    assert all(max(r[1:]) < 100 for r in rounds), rounds


# Storing away from home.

def test_cap(file, pool):
    class Choice:
        failover_ttl = 60

    month = 30 * 86400
    now = int(time.time())
    c = Choice()
    assert [mcshm.cap(c, e) for e in (0, 30, 60, 90, month, -1)] == [
        60, 30, 60, 60, 60, -1]
    assert mcshm.cap(c, now + 10**6) == 60
    assert 0 < mcshm.cap(c, now + 20) <= 20
    assert mcshm.cap(c, now - 20) < 0
    assert mcshm.cap(None, 99) == 99
    assert mcshm.cap(pool.pick("x"), 10**6) == 10**6
