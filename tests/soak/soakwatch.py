"""What readers see, beside the model.

Each reader is a process with a thread of ours that takes its lines; they are
judged later, in one thread, when all that was done before is on record.
"""
import collections
import os
import threading
import time

import soakmodel as model
from soakmodel import (ADMINS, EDGE, LEAVE_OPEN, MAINT, PROOF, READY,
                       SILENCE, USABLE, VERDICTS, Past, Spans)

FEW = 5                 # servers, and a pool never fails open
BLIND_LATE = 0.3        # s; how far a picker may be behind the file
USABLE_BIT, NOT_USABLE, HELD_BIT, NOT_HELD = 1, 2, 4, 8
ANSWERED, ANSWERED_BLIND, AWAY, AWAY_BLIND, HELD, OTHER = (1 << i
                                                          for i in range(6))


def boottime():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Reader:
    """One process of reader.c: whole lines, split, in order."""

    def __init__(self, house, *arguments):
        from harness import BUILD
        from harness.process import Process
        self.what = arguments[0]
        self.process = Process(house, f"{'-'.join(arguments[:1])}"
                               f"{next(house.numbers)}",
                               [BUILD / "tests/soak_reader", *arguments],
                               talks=True)
        self.lines = collections.deque()
        self.newest = []        # roster that has come in, judged or not
        self.thread = threading.Thread(target=self.take, daemon=True)
        self.thread.start()

    def take(self):
        for line in self.process.popen.stdout:
            words = line.split()
            if words[0] == b"R":
                self.newest = [key.decode() for key in words[2:]]
            self.lines.append(words)


class Noise(threading.Thread):
    """When this machine did not run what wanted to run: a thread that wants
    to each 10 ms, and what the kernel says of processes that we depend on."""

    def __init__(self, daemon):
        super().__init__(daemon=True)
        self.daemon_model = daemon
        self.pids = {}          # pid: (when looked, ns of waiting by then)
        self.over = False
        self.worst = 0.0
        self.start()

    def watch(self, *pids):
        self.pids = {p: None for p in pids}

    def run(self):
        last, turn = boottime(), 0
        while not self.over:
            time.sleep(0.01)
            now = boottime()
            if now - last > 0.05:
                self.note(last, now, now - last - 0.01)
            last, turn = now, turn + 1
            if turn % 5 == 0:
                self.ask()

    def note(self, a, b, much):
        self.daemon_model.noise.add(a, b, much)
        self.worst = max(self.worst, much)

    def ask(self):
        for pid, before in list(self.pids.items()):
            try:
                with open(f"/proc/{pid}/schedstat") as f:
                    waited = int(f.read().split()[1]) / 1e9
            except (OSError, IndexError):
                continue
            now = boottime()
            if before and waited - before[1] > 0.02:
                self.note(before[0], now, waited - before[1])
            self.pids[pid] = (now, waited)


class Flags(threading.Thread):
    """TILT and failing open, as they stand in the files."""

    def __init__(self, paths):
        super().__init__(daemon=True)
        self.paths = paths      # {pool: path}
        self.tilt = {p: Spans() for p in paths}
        self.open = {p: Spans() for p in paths}
        self.over = False
        self.start()

    def run(self):
        while not self.over:
            for pool, path in self.paths.items():
                self.look(pool, path)
            time.sleep(0.03)

    def look(self, pool, path):
        before = boottime()
        try:
            with open(path, "rb") as f:
                head = f.read(136)
                generation = int.from_bytes(head[128:136], "little")
                at = 96 + 8 * (generation & 1)
                section = int.from_bytes(head[at:at + 8], "little")
                flags = int.from_bytes(
                    os.pread(f.fileno(), 8, section + 16), "little")
        except OSError:
            return
        for bit, spans in ((1, self.open[pool]), (2, self.tilt[pool])):
            if flags & bit:
                spans.begin(before)
            else:
                spans.end(boottime())


class Seen:
    """What the file has shown of one server."""

    def __init__(self, subject, t):
        self.subject = subject
        self.verdict, self.since = "UNKNOWN", None
        self.first = True
        self.state = Past(USABLE_BIT | NOT_USABLE | HELD_BIT | NOT_HELD, 0.0)
        self.counts = None      # (when, probes, failures) as last told in full
        self.steps = 0          # shown
        self.dumped = None      # (steps, transitions, local errors) at a rest
        self.run = None         # (when, probes): steady since then
        self.told = None        # verdict and since that were complained about
        self.past = collections.deque(maxlen=60)        # for people
        self.used = False       # it was UP


class Watch:
    """One pool, as reader.c's watch tells it."""

    def __init__(self, soak, pool, reader):
        self.soak, self.pool, self.reader = soak, pool, reader
        self.rosters, self.keys = {}, []
        self.roster = None
        self.seen = {}
        self.looked = None      # (from, to) of the last look
        self.before = None      # of the one before it
        self.generation, self.stale = 0, False
        self.asked = 0.0        # when last whether anything is overdue
        self.beats = collections.deque(maxlen=4000)     # (to, age)
        self.steps = collections.Counter()
        self.looks, self.judged, self.missed, self.flushes = 0, 0, 0, 0
        self.downs = collections.deque(maxlen=200)      # (when, share)
        self.above = None       # since when more are DOWN than it takes
        self.rate = [0.0, 0.0]  # probes that were due, that were made

    def judge(self, until):
        """Take all looks that were over by then."""
        lines = self.reader.lines
        while lines:
            line = lines[0]
            if line[0] == b"T" and int(line[2]) / 1e9 > until:
                break
            lines.popleft()
            {b"R": self.take_roster, b"T": self.take_look,
             b"V": self.take_state}[line[0]](line)

    def take_roster(self, line):
        self.rosters[line[1]] = [k.decode() for k in line[2:]]

    def take_look(self, line):
        a, b = int(line[1]) / 1e9, int(line[2]) / 1e9
        generation = int(line[4])
        if generation < self.generation:
            self.soak.blame(self.pool, None, b, f"generation {generation} "
                            f"after {self.generation}")
        self.generation = generation
        self.before, self.looked = self.looked or (a, b), (a, b)
        self.beats.append((b, int(line[6]) / 1e9))
        self.stale = line[8] == b"1"
        self.looks += 1
        if line[3] != self.roster:
            self.take_over(line[3], a)
        if b - self.asked > 0.2:
            self.asked = b
            for s in self.seen.values():
                self.check_overdue(s, b)
            self.check_open(b)

    # Failing open.

    def share(self, what):
        """Of the servers that the operator has not taken out."""
        ready = [s for s in self.seen.values()
                 if s.subject.admin.now() == READY]
        found = [s for s in ready if what(s)]
        return len(found) / len(ready) if len(ready) >= FEW else 0.0

    def check_open(self, t):
        """Is it as the verdicts are?"""
        rule = self.soak.rules[self.pool].now()
        spans = self.soak.flags.open[self.pool]
        calm = (self.soak.daemon.looks_since(t) or t) < t - 2 and \
            self.soak.rules[self.pool].changed(t) < t - 2 and \
            self.soak.last_reload < t - 2
        silent = self.share(lambda s: self.is_silent(s, t))
        down = self.share(lambda s: s.verdict == "DOWN")
        self.downs.append((t, down))
        if not calm or silent <= rule.max_down or rule.max_down == 0:
            self.above = None
        elif self.above is None:
            self.above = t
        opened = spans.within(t - 0.1, t)
        if not calm or not rule.max_down:
            return
        if self.above and t - self.above > 2 and not spans.within(
                self.above - rule.open_max - LEAVE_OPEN, t):
            self.above = None
            self.soak.blame(self.pool, None, t, f"{silent:.0%} DOWN by "
                            "silence, and it does not fail open")
        if opened and down <= rule.max_down and not self.was_above(t):
            self.soak.blame(self.pool, None, t, f"fails open with {down:.0%} "
                            "DOWN")
        if opened and t - opened[0][0] > rule.open_max + LEAVE_OPEN + 4 and \
                down > rule.max_down and \
                self.soak.daemon.looks_since(t) < opened[0][0] and \
                self.soak.last_reload < opened[0][0]:
            self.soak.blame(self.pool, None, t, "fails open for "
                            f"{t - opened[0][0]:.1f} s")

    def is_silent(self, s, t):
        """DOWN for nothing else, in all of its outage: it may have been
        RECOVERING meanwhile."""
        past, downs = s.subject.past, s.subject.downs
        since = past.only_since(SILENCE, t)
        if s.verdict != "DOWN" or since is None or since >= s.since:
            return False
        well = min([since] + downs[-1:]) - 2
        return s.subject.born < well and past.over(well, since) & PROOF == 0

    def was_above(self, t):
        """At some time since which it need not have noticed."""
        long = t - LEAVE_OPEN - 4
        limit = self.soak.rules[self.pool].now().max_down
        looks = self.soak.daemon.looks_since(t) or t
        return max(looks, self.soak.last_reload) > long or \
            self.downs[0][0] > long or \
            any(down > limit for at, down in self.downs if at > long)

    def take_over(self, roster, t):
        self.roster = roster
        self.keys = self.rosters[roster]
        now = {}
        for key in self.keys:
            subject = self.soak.subject(self.pool, key, t)
            if subject is None:
                self.soak.blame(self.pool, None, t, f"{key} is in no ini")
                subject = self.soak.stranger(self.pool, key, t)
            old = self.seen.get(key)
            now[key] = old if old and old.subject is subject else \
                Seen(subject, t)
        self.seen = now

    def check_overdue(self, s, t):
        if s.first or s.told == (s.verdict, s.since):
            return
        why = s.subject.overdue(s.verdict, s.since or 0.0, t)
        if why:
            s.told = (s.verdict, s.since)
            self.soak.blame(self.pool, s, t, why)

    def take_state(self, line):
        key = self.keys[int(line[1])]
        s = self.seen[key]
        number, admin = int(line[2]), int(line[3])
        verdict = VERDICTS[number]
        usable, held = line[4] == b"1", line[5] == b"1"
        since = int(line[6]) / 1e9
        t = self.looked[1]
        self.check_step(s, verdict, since, t)
        self.check_bits(s, verdict, admin, usable, held, t)
        self.check_counts(s, int(line[9]), int(line[10]), t)
        mask = (USABLE_BIT if usable else NOT_USABLE) | \
            (HELD_BIT if held else NOT_HELD)
        s.state.set(mask, self.before[0], t)

    # The verdict.

    def check_step(self, s, verdict, since, t):
        if not s.first and (verdict, since) == (s.verdict, s.since):
            return
        why = None
        if s.first and verdict == "UNKNOWN":
            pass
        elif s.first and since < s.subject.born:
            why = None          # we began to look late
        else:
            why = self.step_trouble(s, verdict, since, t)
        self.steps[s.verdict, verdict] += 1
        self.judged += 1
        s.past.append((since, f"{s.verdict} -> {verdict}"))
        was = s.verdict
        if verdict == "DOWN" and was != "RECOVERING":
            s.subject.downs.append(since)
        s.first, s.verdict, s.since = False, verdict, since
        s.steps += 1
        if why:
            self.soak.blame(self.pool, s, since, f"{was} -> {verdict}: {why}")
        if (was, verdict) == ("RECOVERING", "UP"):
            self.check_flush(s)
        s.used |= verdict == "UP"

    def check_flush(self, s):
        """One that kept what it had was flushed before it was UP; but not one
        that was never UP before."""
        server = s.subject.server
        n = self.soak.flushed(server)
        if n is None:
            return
        if s.used and n <= server.flushes and not s.subject.restarted(s.since):
            self.soak.blame(self.pool, s, s.since, f"UP with what it had: "
                            f"cmd_flush was {server.flushes}, is {n}")
        server.flushes = n
        self.flushes += 1

    def step_trouble(self, s, verdict, since, t):
        noise = self.soak.daemon.noise.total(since - 2, t)
        if (s.verdict, verdict) == ("RECOVERING", "DOWN") and \
                self.soak.daemon.blind.within(self.before[0] - 1, t):
            s.steps -= 1        # not taken over as such: no transition
            return None
        if since > t + EDGE:
            return f"it is {verdict} since a time to come"
        if since < self.before[0] - 0.5 - 2 * noise and not s.first:
            return (f"{s.verdict} -> {verdict} was "
                    f"{self.before[0] - since:.3f} s old when it was shown")
        certain = verdict != s.verdict and self.looked[1] - \
            self.before[0] < 0.3 and noise < 0.2
        return s.subject.may_step(s.verdict, verdict, since, s.since, certain)

    # What clients obey.

    def check_bits(self, s, verdict, admin, usable, held, t):
        bit = ADMINS[admin]
        if not s.subject.admin.over(self.before[0] - 0.7, t) & bit:
            self.soak.blame(self.pool, s, t, f"admin state {admin}")
        opened = self.soak.flags.open[self.pool].within(
            self.before[0] - 0.5, t + 0.5)
        ready = bit == READY
        if self.stale:          # nobody vouches for any verdict
            fine = usable == ready and not held
        elif opened:
            fine = not usable or ready and (
                verdict in USABLE or not self.is_guilty(s, verdict, t))
        else:
            fine = usable == (ready and verdict in USABLE) and \
                held == (ready and verdict == "HELD")
        if not fine:
            self.soak.blame(
                self.pool, s, t, f"{verdict}, admin {admin}, usable {usable}, "
                f"held {held}, failing open {bool(opened)}")

    def is_guilty(self, s, verdict, t):
        """DOWN by nothing but proof: that is no doubt in our favour."""
        since = s.subject.past.only_since(PROOF, t)
        return verdict == "RECOVERING" or verdict == "DOWN" and \
            since is not None and s.since > since + 1 and \
            t - s.since > 1

    # Counters.

    def check_counts(self, s, probes, failures, t):
        before, s.counts = s.counts, (t, probes, failures)
        if before is None or t <= before[0]:
            return
        dt, dp, df = t - before[0], probes - before[1], failures - before[2]
        if dp < 0 or df < 0 or df > dp:
            self.soak.blame(self.pool, s, t, f"in {dt:.2f} s {dp} probes, "
                            f"{df} failures")
        subject, rule = s.subject, s.subject.rules.over(t, t)[-1]
        far = before[0] - rule.probe - 1.0
        calm = subject.rules.changed(t) < far and not subject.admin.over(
            far, t) & MAINT and subject.born < far and (
            self.soak.daemon.looks_since(t) or t) < far and \
            self.soak.daemon.noise.total(far, t) < 0.02
        env = subject.past.over(far, t)
        if not calm:
            s.run = None
            return
        if env == model.GOOD and df:
            self.soak.blame(self.pool, s, t, f"{df} failures of a server that "
                            f"answered all the time")
        if env & model.GOOD == 0 and df != dp:
            self.soak.blame(self.pool, s, t, f"{dp - df} good answers of a "
                            f"server that gave none")
        plain = env == model.GOOD and s.verdict == "UP" and \
            s.since < far and self.soak.is_plain(subject, far, t)
        self.check_rate(s, plain, rule, probes, t)

    def check_rate(self, s, plain, rule, probes, t):
        """Over five seconds: what the file says is a little old, sometimes."""
        if not plain:
            s.run = None
        elif s.run is None:
            s.run = (t, probes)
        elif t - s.run[0] >= 5:
            self.rate[0] += (t - s.run[0]) / rule.interval
            self.rate[1] += probes - s.run[1]
            s.run = (t, probes)


class Pick:
    """One pool, as reader.c's pick tells it, beside what the watch saw."""

    def __init__(self, soak, pool, reader, watch):
        self.soak, self.pool, self.reader = soak, pool, reader
        self.watch = watch
        self.rosters = {}
        self.picks, self.worst, self.blind, self.checked = 0, 0, 0, 0
        self.worst_at = 0.0

    def judge(self, until):
        lines = self.reader.lines
        while lines:
            line = lines[0]
            if line[0] == b"W" and int(line[2]) / 1e9 > until - BLIND_LATE:
                break
            lines.popleft()
            if line[0] == b"R":
                self.rosters[line[1]] = [k.decode() for k in line[2:]]
            else:
                self.take_window(line)

    def take_window(self, line):
        a, b = int(line[1]) / 1e9, int(line[2]) / 1e9
        self.picks += int(line[4])
        if int(line[5]) > self.worst:
            self.worst, self.worst_at = int(line[5]), b
        keys = self.rosters.get(line[3])
        if not keys:
            return
        noise = self.soak.daemon.noise.total(a - 1, b)
        slack = 0.06 + 2 * noise
        for key, bits in zip(keys, line[7:]):
            if bits != b"0":
                self.check(key, int(bits, 16), a, b, slack)

    def check(self, key, bits, a, b, slack):
        self.checked += 1
        s = self.watch.seen.get(key)
        if bits & (ANSWERED_BLIND | AWAY_BLIND):
            self.blind += 1
            if not self.may_be_blind(a, b, slack):
                self.soak.blame(self.pool, s, b, f"{key}: blind, although the "
                                "daemon was there all the time")
        if s is None or s.subject.born > a - 2:
            return
        state = s.state.over(a - slack, b + slack)
        if self.may_be_blind(a, b, slack):
            state = 15
        why = None
        if bits & ANSWERED and not state & USABLE_BIT:
            why = "picked, but the file said not to"
        if bits & (AWAY | HELD | OTHER) and not state & NOT_USABLE:
            why = "not picked, but it was usable"
        if bits & HELD and not state & HELD_BIT:
            why = "a miss for its keys, but it was not held"
        if bits & (ANSWERED | ANSWERED_BLIND) and s.subject.admin.over(
                a - 2, b) & READY == 0:
            why = "picked, but the operator took it out"
        if why:
            self.soak.blame(self.pool, s, b, f"{key}: {why}")

    def may_be_blind(self, a, b, slack):
        """Nobody vouched for the file for stale_after, near there."""
        near = [age for t, age in self.watch.beats
                if a - slack - 0.2 <= t <= b + slack + 0.2]
        if not near or max(near) > self.soak.stale_after - 0.5:
            return True
        return bool(self.soak.flags.open[self.pool].within(a - slack - 0.5,
                                                           b + slack))
