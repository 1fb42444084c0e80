"""What a verdict may be: pure, without a clock, a file or a process.

A server's past says what a probe of it could have come to at each time: GOOD,
PROOF, SILENCE, or several of them while nobody can tell (a signal on its way,
a machine that stood still).  From that follow two questions:

may_step    was the server allowed to go from this verdict to that one, then?
overdue     should it have left this verdict by now?

Both err on the side of the daemon: a bound is what the rules say, and the
slack; a probe may always have been just before, or just after.  What they do
not forgive is a verdict for which there is no reason in the past at all.

Times are seconds of one clock, whichever.
"""
import bisect
import dataclasses

GOOD, PROOF, SILENCE = 1, 2, 4
ANY = GOOD | PROOF | SILENCE
READY, DRAIN, MAINT = 1, 2, 4           # bits; as there: 0, 1, 2
ADMINS = (READY, DRAIN, MAINT)
VERDICTS = ("UNKNOWN", "UP", "HELD", "DOWN", "RECOVERING")
USABLE = ("UNKNOWN", "UP")
OUT = ("DOWN", "RECOVERING")

EDGE = 0.03             # between two clocks' readings of one event
SLACK = 1.0             # for what has to be there by a time
LATE = 0.15             # for one probe, on a machine that is not idle
NOISE = 0.1             # of not running: a good answer may have come too late
FAR = 120.0             # what was before has no say any more
LEAVE_OPEN = 10.0       # s at or below the limit, and failing open is over
FLAPS = 3               # outages, and it flaps
FLUSHING = 20.0         # s: locks of others, a lost answer, a look in vain
WEARS = 10.0, 180.0     # s of TILT in so many: it may be worn out (tilt_for 1s)


class Past:
    """A mask over time, with steps."""

    def __init__(self, mask, at=0.0):
        self.times, self.masks = [at], [mask]

    def now(self):
        return self.masks[-1]

    def set(self, mask, before, after):
        """At some time between the two it became that one."""
        self.begin(mask, before)
        self.end(mask, after)

    def begin(self, mask, before):
        """From now on it may be that one, too."""
        self.step(before, self.masks[-1] | mask)

    def end(self, mask, after):
        """It is that one, and no other."""
        self.step(after, mask)

    def step(self, at, mask):
        if mask == self.masks[-1]:
            return
        if at <= self.times[-1]:
            self.masks[-1] |= mask
            return
        self.times.append(at)
        self.masks.append(mask)

    def at(self, t):
        return self.masks[max(bisect.bisect_right(self.times, t) - 1, 0)]

    def over(self, a, b):
        """All that it may have been in [a, b]."""
        first = max(bisect.bisect_right(self.times, a) - 1, 0)
        last = max(bisect.bisect_right(self.times, b), first + 1)
        mask = 0
        for m in self.masks[first:last]:
            mask |= m
        return mask

    def pieces(self, a, b):
        """[(from, to, mask)], without gaps, oldest first."""
        i = max(bisect.bisect_right(self.times, a) - 1, 0)
        while i < len(self.times) and (self.times[i] < b or i == 0):
            to = self.times[i + 1] if i + 1 < len(self.times) else b
            if min(to, b) > max(self.times[i], a):
                yield max(self.times[i], a), min(to, b), self.masks[i]
            i += 1

    def only_since(self, mask, t):
        """The earliest time from which on it was nothing else until t; None
        if it is not so at t."""
        i = max(bisect.bisect_right(self.times, t) - 1, 0)
        since = None
        while i >= 0 and self.masks[i] & ~mask == 0:
            since = self.times[i]
            i -= 1
        return since


class Spans:
    """Times in which something was so, and how much of it: [from, to, much].
    In the order in which they began; the last one may still be open."""

    def __init__(self):
        self.spans = []
        self.open = None

    def begin(self, at):
        if self.open is None:
            self.open = at

    def end(self, at):
        if self.open is not None:
            self.add(self.open, at)
            self.open = None

    def add(self, a, b, much=None):
        self.spans.append((a, b, b - a if much is None else much))

    def within(self, a, b):
        """[(from, to, much)] of those that touch [a, b]."""
        found = [s for s in self.spans[self.first(a):] if s[0] <= b
                 and s[1] >= a]
        if self.open is not None and self.open <= b:
            found.append((self.open, b, b - self.open))
        return found

    def first(self, a):
        """Where to begin to look: spans are short beside the 60 s here, or
        there are few."""
        if len(self.spans) < 1000:
            return 0
        return max(bisect.bisect_left(self.spans, (a - 60, 0, 0)) - 1, 0)

    def total(self, a, b):
        return sum(much for _, _, much in self.within(a, b))

    def last_end(self, t):
        """When the last one before t was over; t if one is on; None."""
        if self.open is not None and self.open <= t:
            return t
        ends = [min(b, t) for a, b, _ in self.spans if a <= t]
        return max(ends) if ends else None


@dataclasses.dataclass(frozen=True)
class Rule:
    """The keys of a pool, in seconds."""
    interval: float = 0.2
    fast: float = 0.05
    down: float = 0.2
    down_max: float = 0.0
    jitter: float = 0.1
    timeout: float = 0.2
    connect: float = 0.3
    fall: int = 3
    rise: int = 2
    hold: float = 0.4
    rehash: float = 2.0
    min_down: float = 0.3
    ratio: bool = False
    awareness: int = 0
    flap_hold: float = 0.0
    flap_max: float = 0.0
    flap_window: float = 0.0
    recovery: float = 0.0       # most of the time before a flush; 0: none
    max_down: float = 0.0       # a share; 0: never fails open
    open_max: float = 0.0

    @property
    def probe(self):
        """As long as a probe may take."""
        return self.timeout + self.connect

    def most(self, pace):
        """From a probe's start to the next one's, at most."""
        return max(pace * (1 + self.jitter), self.probe) + LATE

    @property
    def steady_most(self):
        return self.most(self.interval)

    @property
    def fast_most(self):
        return self.most(self.fast)

    @property
    def down_most(self):
        return self.most(max(self.down, self.down_max))


class Rules:
    """Which ones held when."""

    def __init__(self, rule, at=0.0):
        self.steps = [(at, at, rule)]

    def now(self):
        return self.steps[-1][2]

    def set(self, rule, before, after):
        if rule != self.now():
            self.steps.append((before, after, rule))

    def over(self, a, b):
        found = []
        for i, (before, _, rule) in enumerate(self.steps):
            until = self.steps[i + 1][1] if i + 1 < len(self.steps) else b
            if before <= b and until >= a:
                found.append(rule)
        return found or [self.steps[0][2]]

    def changed(self, t):
        return max(after for _, after, _ in self.steps if after <= t or
                   len(self.steps) == 1)


class Daemon:
    """What the checker itself went through, as far as all servers go."""

    def __init__(self):
        self.blind = Spans()    # stopped, dead, starting: does not look
        self.short = Spans()    # of descriptors: can not look everywhere
        self.noise = Spans()    # the machine did not run what wanted to run
        self.tilt = {}          # pool: Spans, as it publishes it

    def back(self, t, far):
        """The time before t since when it has looked for that long."""
        x = t - far
        for _ in range(3):
            x = t - far - self.blind.total(x, t) - self.noise.total(x, t)
        return x

    def looks_since(self, t):
        """Since when it has looked all the time; None: it does not."""
        end = 0.0
        for spans in (self.blind, self.short):
            last = spans.last_end(t)
            if last is not None and last >= t:
                return None
            end = max(end, last or 0.0)
        return end


class Subject:
    """One server in one pool, and all that could explain its verdict."""

    def __init__(self, pool, name, past, rules, daemon, admin=READY, born=0.0,
                 restarts=()):
        self.pool, self.name = pool, name
        self.past, self.rules, self.daemon = past, rules, daemon
        self.admin = Past(admin)
        self.born = born
        self.restarts = restarts        # of the server: times
        self.downs = []                 # when its outages began, as shown

    @property
    def tilt(self):
        return self.daemon.tilt.get(self.pool) or Spans()

    # What was possible.

    def envs(self, a, b):
        """What probes between could have come to."""
        mask = self.past.over(a, b)
        if self.daemon.noise.total(a - 1, b) > NOISE:
            mask |= SILENCE
        return mask

    def doubts(self, without, a, b):
        """Times in which what probes could come to is not only the server's
        to say, [(from, to)]."""
        found = [(c, d) for c, d, _ in self.daemon.blind.within(a, b)
                 + self.daemon.short.within(a, b)]
        found += [(c, d) for c, d, m in self.admin.pieces(a, b) if m & MAINT]
        if without & SILENCE:
            found += [(c - 0.2, d + 0.2) for c, d, much
                      in self.daemon.noise.within(a, b) if much > NOISE / 2]
        return sorted(found)

    def last_certain(self, without, t, least):
        """The end of the last time, least long and before t, in which probes
        were made and could come to nothing that is in `without`; None: there
        was none that we know of."""
        first = max(self.born, t - FAR)
        breaks = self.doubts(without, first, t) + [(t, t)]
        end, run = None, None           # run: where an unbroken time began
        for a, b, mask in self.past.pieces(first, t):
            if mask & without:
                run = None
                continue
            run = a if run is None else run
            for c, d in breaks:
                if d <= run:
                    continue
                if min(c, b) - run >= least:
                    end = min(c, b)
                if c >= b:
                    break
                run = max(run, d)
        return end

    def gap(self, s):
        """In so much time a probe is made from beginning to end, whatever the
        rules were."""
        return max(r.steady_most + r.down_most + r.probe
                   for r in self.rules.over(s - FAR, s))

    # May it?

    def may_step(self, was, now, s, since, certain=True):
        """None, or why a step from `was` (there since then) to `now`, at s,
        has no reason.  certain: was is what it came from."""
        if self.admin.over(s - EDGE, s + EDGE) == MAINT:
            return "it is in maintenance"
        was_all = [was] if certain else [v for v in VERDICTS if v != now]
        why = None
        for rule in self.rules.over(s - EDGE, s + EDGE):
            for one in was_all:
                why = self.step_trouble(rule, one, now, s,
                                        since if certain else None)
                if why is None:
                    return None
        return why

    def step_trouble(self, rule, was, now, s, since):
        if now == "UP":
            return self.up_trouble(rule, was, s, since)
        if now == "RECOVERING":
            return None if was == "DOWN" and rule.recovery > 0 and \
                self.last_was(rule, GOOD, s) else "there was no answer"
        if now == "HELD":
            if was not in USABLE:
                return f"from {was} there is no way to HELD"
            return self.silence_trouble(rule, rule.hold, s)
        if now == "DOWN":
            return self.down_trouble(rule, was, s)
        return f"there is no way to {now}"

    def last_was(self, rule, classes, s):
        """May the probe that ended at s have come to one of these?"""
        return self.envs(self.daemon.back(s, rule.probe + LATE),
                         s + EDGE) & classes

    def up_trouble(self, rule, was, s, since):
        if not self.last_was(rule, GOOD, s):
            return "no good answer was to be had"
        if was not in OUT or since is None:
            return None
        why = self.return_trouble(rule, was, s, since)
        if why:
            return why
        end = self.last_certain(GOOD, s, self.gap(s))
        rise = min(rule.rise, 2) if self.restarted(s) else rule.rise
        if end is not None and s < end + (rise - 2) * 0.8 * rule.fast:
            return f"{s - end:.3f} s of good answers, rise is {rise}"
        return None

    def return_trouble(self, rule, was, s, since):
        """Has it been out for long enough?"""
        down = self.downs[-1] if self.downs else since
        out = s - down
        hold = self.flap_hold(rule, down)
        if out < hold - EDGE:
            return f"out for {out:.3f} s, flap_hold is {hold}"
        if self.restarted(s):
            return None     # it is empty, and need not wait: with rise = 1 it
                            # is RECOVERING for no time that anybody sees
        if was == "DOWN" and rule.recovery > 0:
            return "it was not RECOVERING before"
        if out < rule.min_down - EDGE:
            return f"out for {out:.3f} s, min_down_time is {rule.min_down}"
        wait = min(since - down, rule.recovery)
        if was == "RECOVERING" and s - since < wait - EDGE:
            return (f"RECOVERING for {s - since:.3f} s, the outage was "
                    f"{since - down:.3f} s at least")
        return None

    def restarted(self, s):
        """In the outage that ends at s: DOWN is late, uptimes are ahead."""
        down = self.downs[-1] if self.downs else 0.0
        return any(down - 10 <= r <= s for r in self.restarts)

    def flap_hold(self, rule, down):
        """By the outages that have been shown, this one included."""
        if rule.flap_hold == 0 or rule.flap_window == 0:
            return 0.0
        flaps, flapped = 0, 0.0
        for t in self.downs:
            if t > down:
                break
            gone = int((t - flapped) / rule.flap_window)
            flaps = max(flaps - gone, 0) + 1
            flapped = t
        if flaps < FLAPS:
            return 0.0
        return min(rule.flap_hold * 2 ** (flaps - FLAPS), rule.flap_max)

    def silence_trouble(self, rule, time, s):
        """Silent for that long at s?"""
        if not self.last_was(rule, SILENCE | PROOF, s):
            return "its last answer was good"
        if rule.ratio and self.ratio_possible(rule, s, SILENCE | PROOF):
            return None
        began = self.silent_since(rule, s)
        if began is None or s - began >= time - EDGE:
            return None
        return f"silent for {s - began:.3f} s at most, not for {time}"

    def silent_since(self, rule, s):
        """The earliest time at which a silence that lasts at s can have begun;
        None: any."""
        end = self.last_certain(SILENCE | PROOF, s, self.gap(s))
        began = None if end is None else end - rule.probe - LATE
        if self.tilt.total(s - WEARS[1], s) >= WEARS[0]:
            return began        # it voids nothing any more, maybe
        for a, b, _ in self.tilt.within(0, s):
            began = max(began or 0.0, b - EDGE - 0.1)
        return began

    def down_trouble(self, rule, was, s):
        proof = self.proof_trouble(rule, s)
        if proof is None:
            return None
        # Of a server that is RECOVERING there are no keys to be kept.
        time = rule.hold if was == "RECOVERING" else rule.rehash or rule.hold
        silence = self.silence_trouble(rule, time, s)
        if silence is None and not self.envs(
                self.daemon.back(s, rule.rehash + 3), s) & SILENCE:
            silence = "it was not silent"
        return None if silence is None else f"{proof}; {silence}"

    def proof_trouble(self, rule, s):
        if not self.last_was(rule, PROOF, s):
            return "no proof was to be had"
        if rule.ratio and self.ratio_possible(rule, s, PROOF):
            return None
        end = self.last_certain(PROOF, s, self.gap(s))
        if end is not None and s < end + (rule.fall - 2) * 0.8 * rule.fast:
            return f"{s - end:.3f} s of proof, fall is {rule.fall}"
        return None

    def ratio_possible(self, rule, s, classes):
        return self.envs(self.daemon.back(s, 20 * rule.steady_most),
                         s) & classes

    # Must it?

    def overdue(self, verdict, since, t):
        """None, or why at t it should no longer have this verdict."""
        if self.admin.over(t - EDGE, t) & MAINT:
            return None
        looks = self.daemon.looks_since(t)
        if looks is None:
            return None
        free = [b for _, b, m in self.admin.pieces(0, t) if m & MAINT]
        start = max([looks, self.born, self.rules.changed(t)] + free)
        for what, bound in ((GOOD, self.good_bound),
                            (PROOF, self.proof_bound),
                            (SILENCE, self.silence_bound)):
            env = self.past.only_since(what, t)
            if env is None:
                continue
            why = self.over_bound(bound, what, verdict, since,
                                  max(start, env), t)
            if why:
                return why
        return None

    def over_bound(self, bound, what, verdict, since, start, t):
        tilt = self.tilt.last_end(t)
        if tilt is not None and (what == SILENCE or verdict == "RECOVERING"):
            if tilt >= t:
                return None
            start = max(start, tilt)
        rules = self.rules.over(start, t)
        ends = [bound(r, verdict, since, start) for r in rules]
        if None in ends:
            return None
        noise = self.daemon.noise.total(start - 1, t)
        if t <= max(ends) + SLACK + 3 * noise:
            return None
        word = {GOOD: "good", PROOF: "failing by proof",
                SILENCE: "silent"}[what]
        return (f"{verdict} although {word} for {t - start:.3f} s; should be "
                f"over after {max(ends) - start:.3f} s (noise {noise:.3f} s)")

    def good_bound(self, rule, verdict, since, start):
        if verdict == "UP":
            return None
        if verdict in ("UNKNOWN", "HELD"):
            return start + rule.steady_most + rule.probe
        first = start + rule.probe + rule.down_most
        rise = first + (rule.rise + 1) * rule.fast_most
        down = self.downs[-1] if self.downs else since
        held = max(since, down) + max(rule.min_down, rule.flap_max)
        recovery = 0.0
        if rule.recovery:
            recovery = FLUSHING + min(rule.recovery, max(start, since) - down
                                      + 2 * rule.probe + 2 * rule.down_most)
        return max(rise, held) + recovery + 2 * rule.fast_most

    def proof_bound(self, rule, verdict, since, start):
        if verdict == "DOWN":
            return None
        return start + rule.steady_most + rule.probe + \
            rule.fall * rule.fast_most

    def silence_bound(self, rule, verdict, since, start):
        if verdict == "DOWN":
            return None
        first = start + rule.steady_most + rule.probe
        if verdict in ("HELD", "RECOVERING") or rule.rehash == 0:
            rehash = (rule.rehash or rule.hold) * (1 + rule.awareness)
            return first + rehash + 3 * rule.fast_most
        return first + rule.hold + 3 * rule.fast_most
