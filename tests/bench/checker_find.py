"""checker_find.py - how soon is a server found out that fails?

One fault after the other at random moments; several servers fail at a time, a
tenth of them at most, so that nobody has to think that it is the network.
"""
import random
import signal
import time

from checker_scene import SERVERS
from checker_world import wait_for

AT_ONCE = 5


class Kill:
    title = "kill -9"

    def __init__(self, scene):
        self.memcacheds = scene.memcacheds

    def begin(self, i):
        self.memcacheds.kill(i)

    def end(self, i):
        self.memcacheds.start(i)


class Stop:
    title = "SIGSTOP"

    def __init__(self, scene):
        self.process = scene.memcacheds.process

    def begin(self, i):
        self.process[i].send_signal(signal.SIGSTOP)

    def end(self, i):
        self.process[i].send_signal(signal.SIGCONT)


class Cut:
    title = "all packets lost"

    def __init__(self, scene):
        self.network, self.port = scene.network, scene.memcacheds.port

    def begin(self, i):
        self.network.cut(self.port[i])

    def end(self, i):
        self.network.mend(self.port[i])


def quantile(values, q):
    values = sorted(values)
    at = q * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (at - low)


def trials(scene, fault, n):
    """{(column, event): [s]}"""
    found = {}
    servers = random.sample(range(SERVERS), n)
    with scene.clients():
        for some in [servers[i:i + AT_ONCE] for i in range(0, n, AT_ONCE)]:
            began = {}
            for i in some:
                time.sleep(random.uniform(0.05, 0.45))
                began[i] = time.monotonic_ns()
                fault.begin(i)
            wait_for(f"{fault.title} is seen by all", lambda: all(
                c.events.first(f"s{i}", ("moved",), began[i]) is not None
                for c in scene.columns for i in some))
            for c in scene.columns:
                for event, words in EVENTS.items():
                    if event == "HELD" and not c.checker:
                        continue
                    found.setdefault((c.title, event), []).extend(
                        c.events.first(f"s{i}", words, began[i]) / 1e9
                        for i in some)
            for i in some:
                fault.end(i)
            scene.all_well()
    return found


# A server that is DOWN at once was never HELD, and nobody waits for it either.
EVENTS = {"HELD": ("held", "moved", "none"), "DOWN": ("moved",)}
FAULTS = (Kill, Stop, Cut)


def show(results):
    print(f"\n{'How soon it is found out, s':46} {'min':>6} {'median':>7}"
          f" {'p90':>6} {'max':>6}  of")
    for title, found in results.items():
        print(title)
        for (column, event), values in found.items():
            print(f"  {column:26} {'to ' + event:15}  "
                  + " ".join(f"{quantile(values, q):{w}.2f}" for q, w in
                             ((0, 6), (0.5, 7), (0.9, 6), (1, 6)))
                  + f"  {len(values)}")


def run(scene, faults, n):
    return {fault.title: trials(scene, fault(scene), n) for fault in faults}
