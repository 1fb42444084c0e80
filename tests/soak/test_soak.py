"""The soak's model, beside a checker of a few lines: it must have nothing to
say about one that obeys the rules, and must not overlook one that does not."""
import pathlib
import random
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import soakmodel as model                               # noqa: E402
import soakplan as plan                                 # noqa: E402
from soakmodel import GOOD, MAINT, PROOF, READY, SILENCE, Rule  # noqa: E402

HOUR = 3600.0


class Checker:
    """One server's verdict, probe for probe; what is wrong with it is in
    `flaw`."""

    def __init__(self, rule, rng, flaw=""):
        self.rule, self.rng, self.flaw = rule, rng, flaw
        self.state, self.since = "UNKNOWN", 0.0
        self.run = []           # since the state changed, newest last
        self.silent = None
        self.spell = 0          # probes for which it sees what is not there

    def probe(self, began, env):
        """What came of it, and when."""
        if self.flaw == "deaf" and env == PROOF:
            env = GOOD
        if self.flaw in ("nervous", "impatient"):
            self.spell = 6 if self.rng.random() < 0.01 else self.spell - 1
            if self.spell > 0:
                env = PROOF if self.flaw == "nervous" else SILENCE
        if env == SILENCE:
            return env, began + self.rule.timeout
        return env, began + self.rng.uniform(0.0002, 0.01)

    def step(self, began, result, now):
        self.run.append(result)
        if result == GOOD:
            self.silent = None
        elif result == SILENCE and self.silent is None:
            self.silent = began
        state = self.good(now) if result == GOOD else self.bad(now)
        if state != self.state:
            self.state, self.since, self.run = state, now, []
            return True
        return False

    def last(self, n, result):
        return len(self.run) >= n and all(r == result for r in self.run[-n:])

    def good(self, now):
        if self.state != "DOWN":
            return "UP"
        if self.flaw == "stuck":
            return "DOWN"
        patient = now - self.since >= self.rule.min_down
        if self.last(self.rule.rise, GOOD) and (
                patient or self.flaw == "hasty"):
            return "UP"
        return "DOWN"

    def bad(self, now):
        rule = self.rule
        if self.state == "DOWN" or self.last(
                1 if self.flaw == "rash" else rule.fall, PROOF):
            return "DOWN"
        silent = now - self.silent if self.silent else 0.0
        tail = self.run[len(self.run) - self.failures():]
        due = self.state == "HELD" or (tail.count(SILENCE) >= 2 and
                                       silent >= rule.hold)
        if not due or self.flaw == "blind":
            return self.state
        if silent >= (0.5 if self.flaw == "early" else 1) * (
                rule.rehash or rule.hold) and self.flaw != "never":
            return "DOWN"
        return "HELD"

    def failures(self):
        n = 0
        while n < len(self.run) and self.run[-1 - n] != GOOD:
            n += 1
        return n

    def pace(self):
        moving = self.state in ("UNKNOWN", "HELD") or (
            self.run and (self.run[-1] == GOOD) == (self.state == "DOWN"))
        base = self.rule.fast if moving else \
            self.rule.down if self.state == "DOWN" else self.rule.interval
        return base * self.rng.uniform(1 - self.rule.jitter,
                                       1 + self.rule.jitter)


def weather(rng, past, until):
    """A server's life."""
    t = 0.0
    while t < until:
        t += rng.choice([0.05, 0.2, 0.5, 2.0, 10.0]) * rng.random()
        past.set(rng.choice([GOOD, GOOD, PROOF, SILENCE]), t,
                 t + rng.uniform(0, 0.02))


def outages(rng, daemon, until):
    t = 0.0
    while t < until:
        t += rng.uniform(10, 100)
        daemon.blind.add(t, t + rng.choice([0.1, 1.0, 5.0]))
        t = daemon.blind.spans[-1][1]


def certain(past, t):
    """What it is at t, where both are possible."""
    mask = past.at(t)
    return next(c for c in (GOOD, PROOF, SILENCE) if mask & c)


def life(rule, seed, seconds, flaw=""):
    """What the model has to say about it."""
    rng = random.Random(seed)
    daemon = model.Daemon()
    past = model.Past(GOOD)
    weather(rng, past, seconds)
    outages(rng, daemon, seconds)
    subject = model.Subject("p", "s", past, model.Rules(rule), daemon)
    checker = Checker(rule, rng, flaw)
    blames, t, asked = [], 0.1, 0.0
    while t < seconds:
        for a, b, _ in daemon.blind.within(t, t):
            t = max(t, b)
        was, since = checker.state, checker.since
        result, end = checker.probe(t, certain(past, t))
        for a, b, _ in daemon.blind.within(t, end):
            end = max(end, b)           # judged when it runs again
        if checker.step(t, result, end):
            why = subject.may_step(was, checker.state, end, since)
            if why:
                blames.append((end, was, checker.state, why))
        elif end - asked > 0.3:
            asked = end
            why = subject.overdue(checker.state, checker.since, end)
            if why:
                blames.append((end, checker.state, why))
        t = max(t + checker.pace(), end)
    return blames


RULES = [Rule(), Rule(interval=0.5, hold=0.6, rehash=0.0, fall=1, rise=1),
         Rule(interval=0.1, timeout=0.1, down=0.1, fall=4, rise=4, hold=0.4,
              rehash=0.4, min_down=1.0)]


@pytest.mark.parametrize("rule", RULES)
def test_a_checker_that_obeys_is_not_blamed(rule):
    for seed in range(3):
        assert life(rule, seed, HOUR / 3) == []


@pytest.mark.parametrize("flaw", ["deaf", "nervous", "impatient", "stuck",
                                  "hasty", "rash", "blind", "early", "never"])
def test_one_that_does_not_is(flaw):
    assert life(Rule(fall=4, min_down=1.0), 7, HOUR / 6, flaw)


def test_maintenance_is_no_time_for_verdicts():
    subject = model.Subject("p", "s", model.Past(PROOF),
                            model.Rules(Rule()), model.Daemon())
    assert subject.may_step("UP", "DOWN", 50.0, 1.0) is None
    assert subject.overdue("UP", 1.0, 50.0)
    subject.admin.set(MAINT, 40.0, 40.1)
    assert subject.may_step("UP", "DOWN", 50.0, 1.0)
    assert subject.overdue("UP", 1.0, 50.0) is None
    subject.admin.set(READY, 60.0, 60.1)
    assert subject.overdue("UP", 1.0, 61.0) is None
    assert subject.overdue("UP", 1.0, 69.0)


def test_what_a_machine_did_not_run_is_nobodys_fault():
    subject = model.Subject("p", "s", model.Past(GOOD), model.Rules(Rule()),
                            model.Daemon())
    assert subject.may_step("UP", "HELD", 50.0, 1.0)
    subject.daemon.noise.add(49.3, 49.9, 0.6)
    assert subject.may_step("UP", "HELD", 50.0, 1.0) is None


def test_silence_in_tilt_is_void():
    daemon = model.Daemon()
    daemon.tilt["p"] = tilt = model.Spans()
    subject = model.Subject("p", "s", model.Past(SILENCE),
                            model.Rules(Rule()), daemon)
    assert subject.may_step("UP", "HELD", 50.0, 1.0) is None
    tilt.add(45.0, 49.9)
    assert subject.may_step("UP", "HELD", 50.0, 1.0)
    assert subject.may_step("UP", "HELD", 50.5, 1.0) is None
    assert subject.overdue("UP", 1.0, 50.5) is None
    assert subject.overdue("UP", 1.0, 59.0)
    # But not where there is no end of it.
    for n in range(12):
        tilt.add(52.0 + 2 * n, 53.0 + 2 * n)
    assert subject.may_step("UP", "HELD", 75.2, 1.0) is None


def test_a_seed_is_a_plan():
    def made(seed):
        return list(plan.Plan(random.Random(seed), plan.Size(settle=60.0),
                              600.0))

    one, two = made(5), made(5)
    assert one == two != made(6)
    times = [step[0] for step in one]
    assert times == sorted(times)
    verbs = {step[1] for step in one}
    assert {"fake", "reload", "stop_daemon", "kill_daemon", "remove",
            "kill_real", "stop_fakes", "settle"} <= verbs


@pytest.mark.takes(10)
def test_soak_for_a_moment(tmp_path):
    done = subprocess.run(
        [sys.executable, HERE / "soak.py", "--seconds=3", "--seed=1",
         "--fakes=12", "--reals=3", "--pace=0.1", "--settle=5",
         "--churn=1", f"--keep={tmp_path}"],
        stdin=subprocess.DEVNULL, text=True, timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    told = "".join(p.read_text() for p in sorted(tmp_path.glob("*/story")))
    assert done.returncode == 0, done.stdout + told
