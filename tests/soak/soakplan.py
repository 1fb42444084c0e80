"""What is done to the servers and to the daemon, and when: pure.

A plan comes from a seed alone, so that a failure can be repeated: it keeps a
picture of the world of its own and never asks the real one.  Who carries it
out may be late, but leaves nothing out and changes no order.
"""
import copy
import dataclasses
import heapq
import itertools

from soakmodel import GOOD, PROOF, SILENCE, Rule

# What probes come to while a fake is in this mode.
MODES = {
    "ok": GOOD, "hang": SILENCE, "refuse": PROOF, "reset": PROOF,
    "close": PROOF, "slow 30": GOOD,
    "close-after": GOOD | PROOF,        # of two requests in one, one only
    "slow 30000": SILENCE, "garbage": PROOF, "http": PROOF, "error": PROOF,
    "server-error": GOOD | PROOF,       # out of memory: to a set, not well
    "unauth": GOOD, "maxconns": GOOD,
    "partial": SILENCE, "late": SILENCE, "double": GOOD | PROOF,
    "bytewise 1": GOOD | SILENCE,       # statistics are long
    "no-memory": GOOD, "spoils": GOOD | PROOF,
}
FAULTS = ["hang"] * 6 + ["refuse"] * 6 + ["reset", "close"] * 2 + \
    [m for m in MODES if m not in ("ok", "hang", "refuse")]


@dataclasses.dataclass(frozen=True)
class Line:
    """A server in the ini.  at: the number of a fake, or mN, a real one."""
    name: str
    at: object
    weight: int = 1
    state: str = "ready"


@dataclasses.dataclass
class Pool:
    scheme: str
    rule: Rule
    lines: list
    keys: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Size:
    """How much of everything there is."""
    fakes: int = 50         # in the pools at the beginning
    spare: int = 10
    reals: int = 5
    pace: float = 0.25      # s from one thing to the next, on average
    settle: float = 180.0   # s from one rest to the next
    churn: int = 10         # new rosters before each: what leaks is seen


def pools(size):
    """The world as it is at rest."""
    alpha = size.fakes * 3 // 5
    beta = range(alpha - size.fakes // 10, size.fakes)   # some are in both
    reals = [Line(f"real{i}", f"m{i}") for i in range(size.reals)]
    fakes = Rule(down_max=1.0, awareness=3, max_down=0.5, open_max=15.0)
    return {
        "alpha": Pool("maglev", fakes,
                      [Line(f"fake{i}", i) for i in range(alpha)]),
        "beta": Pool("libmemcached-ketama-weighted", dataclasses.replace(
            fakes, interval=0.3, down=0.3, hold=0.5, rehash=1.5, rise=3,
            ratio=True, open_max=5.0, flap_hold=1.0, flap_max=4.0,
            flap_window=30.0), [Line(f"f{i}", i) for i in beta] + reals[:2]),
        "gamma": Pool("maglev", Rule(down_max=1.0, recovery=120.0),
                      reals[1:], {"flush_shared": "yes",
                                  "flush_percent": "100%"}),
    }


def renamed(pools):
    """No server stays what it is."""
    pools = copy.deepcopy(pools)
    for pool in pools.values():
        pool.lines = [dataclasses.replace(line, name=f"{line.name}x")
                      for line in pool.lines]
    return pools


class Plan:
    """Iterate over it: (at, verb, argument...), at in seconds."""

    def __init__(self, rng, size, seconds):
        self.rng, self.size, self.seconds = rng, size, seconds
        self.rest = pools(size)
        self.pools = copy.deepcopy(self.rest)
        self.names = itertools.count()
        self.pending, self.order = [], itertools.count()
        self.mode = {i: "ok" for i in range(size.fakes + size.spare)}
        self.real = {f"m{i}": "runs" for i in range(size.reals)}
        self.stopped = False            # all fakes at once
        self.daemon = "runs"

    def __iter__(self):
        at, settle = 0.0, self.size.settle
        yield from self.calm(at)
        while at < self.seconds:
            at += self.rng.expovariate(1 / self.size.pace)
            while self.pending and self.pending[0][0] <= at:
                when, _, what = heapq.heappop(self.pending)
                yield from self.carry_out(when, what)
            if at >= settle:
                yield from self.calm(at)
                settle += self.size.settle
                continue
            yield from ((at, *step) for step in self.draw(at))
        yield from self.calm(at)

    def calm(self, at):
        """Everything is as it was at the beginning, and has been anew."""
        pending, self.pending = sorted(self.pending), []
        for _, _, what in pending:
            if what[0] in ENDS:
                yield from self.carry_out(at, what)
        self.mode = dict.fromkeys(self.mode, "ok")
        self.pools = copy.deepcopy(self.rest)
        for _ in range(self.size.churn):
            yield at, "reload", renamed(self.pools)
            yield at, "reload", copy.deepcopy(self.pools)
        yield at, "settle"

    def carry_out(self, when, what):
        verb, *arguments = what
        if verb in ENDS:
            kind, state = ENDS[verb]
            if kind == "real":
                self.real[arguments[0]] = state
            elif kind == "fakes":
                self.stopped = False
            else:
                self.daemon = state
        elif verb == "fake":
            self.mode[arguments[0]] = arguments[1]
        yield (when, *what)

    def later(self, at, *what):
        heapq.heappush(self.pending, (at, next(self.order), what))

    # What may happen next.

    def draw(self, at):
        kinds = [(60, self.one_fake), (4, self.flap), (12, self.one_real),
                 (3, self.drop_idle), (0.8, self.many_fakes),
                 (1, self.stop_fakes)]
        if self.daemon == "runs":
            kinds += [(6, self.reload), (0.7, self.bad_reload),
                      (0.5, self.hang_up), (1, self.remove),
                      (1.5, self.stop_daemon), (0.7, self.few_descriptors)]
        # In the others it lives long enough to be seen growing.
        if self.daemon == "runs" and int(at / self.size.settle) % 3 == 1:
            kinds += [(1.5, self.kill_daemon), (1, self.end_daemon)]
        weights, acts = zip(*kinds)
        return self.rng.choices(acts, weights)[0](at)

    def any_fake(self):
        return self.rng.choice(sorted(self.mode))

    def one_fake(self, at):
        i = self.any_fake()
        self.mode[i] = self.rng.choice(FAULTS) if self.mode[i] == "ok" \
            else self.rng.choice(["ok"] * 3 + FAULTS)
        if self.mode[i] != "ok" and self.rng.random() < 0.9:
            self.later(at + self.rng.expovariate(1 / 3), "fake", i, "ok")
        return [("fake", i, self.mode[i])]

    def flap(self, at):
        i, mode = self.any_fake(), self.rng.choice(["hang", "refuse"])
        for n in range(self.rng.randrange(2, 10)):
            self.later(at, "fake", i, mode if n % 2 == 0 else "ok")
            at += self.rng.uniform(0.02, 1.5)
        self.later(at, "fake", i, "ok")
        return []

    def many_fakes(self, at):
        share = self.rng.choice([0.3, 0.7, 0.9])
        mode = self.rng.choice(["hang", "hang", "refuse"])
        lasts = self.rng.choice([1.0, 4.0, 20.0])
        steps = []
        for i in sorted(self.mode):
            if self.rng.random() < share:
                self.mode[i] = mode
                steps.append(("fake", i, mode))
                self.later(at + lasts + self.rng.random(), "fake", i, "ok")
        return steps

    def drop_idle(self, at):
        return [("fake", self.any_fake(), "drop-idle")]

    def stop_fakes(self, at):
        if self.stopped:
            return []
        self.stopped = True
        self.later(at + self.rng.choice([0.1, 0.3, 1, 3, 6]), "cont_fakes")
        return [("stop_fakes",)]

    def one_real(self, at):
        if not self.real:
            return []
        which = self.rng.choice(sorted(self.real))
        if self.real[which] != "runs":
            return []
        lasts = self.rng.expovariate(1 / 3)
        if self.rng.random() < 0.5:
            self.real[which] = "dead"
            self.later(at + lasts, "start_real", which)
            return [("kill_real", which)]
        self.real[which] = "stopped"
        if self.rng.random() < 0.1:     # and is killed in its sleep
            self.later(at + lasts, "kill_real", which)
            self.later(at + lasts + 1, "start_real", which)
        else:
            self.later(at + lasts, "cont_real", which)
        return [("stop_real", which)]

    # The daemon.

    def stop_daemon(self, at):
        self.daemon = "stopped"
        self.later(at + self.rng.choice([0.1, 0.3, 1, 2, 4, 7]),
                   "cont_daemon")
        return [("stop_daemon",)]

    def kill_daemon(self, at):
        self.daemon = "dead"
        self.later(at + self.rng.choice([0, 0, 0.5, 2, 5]), "start_daemon")
        return [("kill_daemon",)]

    def end_daemon(self, at):
        self.daemon = "dead"
        self.later(at + self.rng.choice([0, 0, 0.5]), "start_daemon")
        return [("end_daemon",)]

    def few_descriptors(self, at):
        self.daemon = "short"
        self.later(at + self.rng.uniform(0.5, 3), "free_descriptors")
        return [("few_descriptors",)]

    def remove(self, at):
        return [("remove", self.rng.choice(sorted(self.pools)))]

    def bad_reload(self, at):
        return [("bad_reload",)]

    def hang_up(self, at):
        return [("hang_up", self.rng.randrange(2, 6))]

    def reload(self, at):
        for _ in range(self.rng.randrange(1, 4)):
            name = self.rng.choice(sorted(self.pools))
            acts = [self.rename, self.weigh, self.judge, self.judge,
                    self.shuffle, self.turn_keys]
            if name != "gamma":         # there are real ones only
                acts += [self.add, self.take_away, self.move]
            self.rng.choice(acts)(self.pools[name])
        return [("reload", copy.deepcopy(self.pools))]

    def fresh(self, pool):
        """Fakes that are not in this pool."""
        there = {line.at for line in pool.lines}
        return [i for i in sorted(self.mode) if i not in there]

    def add(self, pool):
        spare = self.fresh(pool)
        if spare:
            pool.lines.insert(
                self.rng.randrange(len(pool.lines) + 1),
                Line(f"new{next(self.names)}", self.rng.choice(spare)))

    def take_away(self, pool):
        if len(pool.lines) > 8:
            pool.lines.pop(self.rng.randrange(len(pool.lines)))

    def change(self, pool, **what):
        i = self.rng.randrange(len(pool.lines))
        pool.lines[i] = dataclasses.replace(pool.lines[i], **what)

    def rename(self, pool):
        self.change(pool, name=f"other{next(self.names)}")

    def move(self, pool):
        spare = self.fresh(pool)
        if spare:
            self.change(pool, at=self.rng.choice(spare))

    def weigh(self, pool):
        self.change(pool, weight=self.rng.randrange(1, 5))

    def judge(self, pool):
        self.change(pool, state=self.rng.choice(
            ["ready", "ready", "drain", "maint"]))

    def shuffle(self, pool):
        self.rng.shuffle(pool.lines)

    def turn_keys(self, pool):
        interval = self.rng.choice([0.1, 0.2, 0.3, 0.5])
        hold = self.rng.choice([0.0, 0.4, 0.6])
        pool.rule = dataclasses.replace(
            pool.rule, interval=interval, down=interval,
            fall=self.rng.randrange(1, 5), rise=self.rng.randrange(1, 5),
            down_max=max(pool.rule.down_max, interval),
            hold=hold, rehash=self.rng.choice([0.0, hold or 1.0, 1.5, 3.0]),
            min_down=self.rng.choice([0.0, 0.3, 1.0]),
            timeout=self.rng.choice([0.1, 0.2]) if interval < 0.2 else 0.2,
            ratio=self.rng.random() < 0.3)
        pool.keys["probe"] = self.rng.choice(["version", "mn", "stats",
                                               "set"])
        pool.keys["fresh_every"] = self.rng.choice([0, 1, 5, 10])
        if interval < pool.rule.timeout:
            pool.rule = dataclasses.replace(pool.rule, timeout=0.1)


# What ends a state of the plan's own picture: whose, and what it is then.
ENDS = {
    "cont_fakes": ("fakes", None),
    "start_real": ("real", "runs"), "cont_real": ("real", "runs"),
    "kill_real": ("real", "dead"),
    "cont_daemon": ("daemon", "runs"), "start_daemon": ("daemon", "runs"),
    "free_descriptors": ("daemon", "runs"),
}
