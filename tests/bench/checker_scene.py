"""checker_scene.py - fifty real memcacheds, and five checkers beside each other
that watch them: the same faults for all, at the same moment.
"""
import contextlib

from checker_world import (Checker, Client, Haproxy, Memcacheds, Network,
                           wait_for)

SERVERS, KEYS = 50, 2000
# What a sensible operator writes: timeouts as ours; then the same pace, too,
# while it is open what a server is; then that of fast-lan.ini.
HAPROXY = {
    "plain": ("inter 1s", "1s", "750ms"),
    "fastinter": ("inter 1s fastinter 250ms", "1s", "750ms"),
    "fast": ("inter 100ms fastinter 50ms downinter 500ms", "100ms", "100ms"),
}
TITLES = {"plain": "HAProxy, inter 1s",
          "fastinter": "HAProxy, fastinter 250ms",
          "fast": "HAProxy, inter 100ms"}


class Column:
    """One checker, as somebody sees it who depends on it: of ours a program
    that picks, of HAProxy its log."""

    def __init__(self, title, process, checker=None, events=None):
        self.title, self.process = title, process
        self.checker, self.events = checker, events
        self.client = None

    def open(self, stack):
        if self.checker:
            self.client = Client(stack, self.checker, KEYS)
            self.events = self.client.events

    def close(self):
        """(keys, ever sent elsewhere, ever misses); None: HAProxy has none."""
        return self.client.finish() if self.client else None


class Scene:
    def __init__(self, world):
        self.world = world
        self.stack = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.stack.close()
            raise
        return self

    def begin(self):
        world, stack = self.world, self.stack
        self.network = Network()
        stack.callback(self.network.close)
        self.memcacheds = m = Memcacheds(stack, world, SERVERS)
        ours = [Checker(stack, world, "defaults", "", m.port),
                Checker(stack, world, "fast-lan", world.fast_lan, m.port)]
        haproxy = Haproxy(stack, world, HAPROXY, m.port)
        self.columns = [Column("mc-checkerd", ours[0].process, ours[0]),
                        Column("  with fast-lan.ini", ours[1].process,
                               ours[1])]
        self.columns += [Column(TITLES[b], haproxy.process,
                                events=haproxy.events[b]) for b in HAPROXY]
        up = {f"s{i}": "UP" for i in range(SERVERS)}
        for one in ours:
            one.wait_verdicts(up)
        for b in HAPROXY:
            wait_for(f"HAProxy, {b}", lambda: haproxy.verdicts(b) == up)

    def __exit__(self, *why):
        self.stack.close()

    @contextlib.contextmanager
    def clients(self):
        """Of all columns; then nothing is amiss."""
        with contextlib.ExitStack() as stack:
            for c in self.columns:
                c.open(stack)
            self.all_well()
            yield

    def all_well(self):
        wait_for(lambda: "all servers are UP for all, but " + "; ".join(
            f"{c.title}: {c.events.away}" for c in self.columns
            if c.events.away),
            lambda: not any(c.events.away for c in self.columns))

    def processes(self):
        return {c.process.pid: c.process for c in self.columns}.values()
