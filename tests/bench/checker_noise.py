"""checker_noise.py - who is blamed for what no server did?

Packets are lost at random, the network is away for a moment, or the checker
itself is.  All servers are well: each that is DOWN is a false alarm.
"""
import contextlib
import signal
import time

from checker_scene import SERVERS

AFTERMATH = 10                  # s that still count
INEXACT, TRIES = 0.3, 3


def stop(scene):
    for p in scene.processes():
        p.send_signal(signal.SIGSTOP)


def go_on(scene):
    for p in scene.processes():
        p.send_signal(signal.SIGCONT)


def lost(percent):
    return (f"{percent} % of packets lost",
            lambda scene: scene.network.lose(percent),
            lambda scene: scene.network.lose_none())


AWAY = ("network away", lambda scene: scene.network.lose_all(),
        lambda scene: scene.network.lose_none())
FROZEN = ("checker stopped", stop, go_on)

# what, seconds, how often
RUNS = [(lost(5), 60, 1), (lost(20), 60, 1), (AWAY, 2, 5), (AWAY, 4, 5),
        (FROZEN, 3, 5)]
QUICK = [(lost(5), 5, 1), (AWAY, 2, 1), (FROZEN, 3, 1)]


def alarms(column, began, until):
    """What it said meanwhile; s are those of a server, on average."""
    e = column.events
    down = {s for t, s, w in list(e.list) if t >= began and w == "moved"}
    return {"alarms": e.times(("moved",), began), "moved": len(down) / SERVERS,
            "moved s": e.spent(("moved",), began, until) / SERVERS,
            "missed s": e.spent(("held", "none"), began, until) / SERVERS}


def once(scene, what, seconds):
    """(how long it was, {column: numbers})"""
    _, begin, end = what
    with scene.clients():
        began = time.monotonic_ns()
        with contextlib.ExitStack() as stack:
            stack.callback(end, scene)
            begin(scene)
            time.sleep(seconds)
        lasted = (time.monotonic_ns() - began) / 1e9
        time.sleep(AFTERMATH)
        until = time.monotonic_ns()
        rows = {c.title: alarms(c, began, until) for c in scene.columns}
        scene.all_well()
        for c in scene.columns:
            if (keys := c.close()):
                # HAProxy's are as many as its servers have on average.
                rows[c.title] |= {"moved": keys[1] / keys[0],
                                  "missed": keys[2] / keys[0]}
    return lasted, rows


def exactly(scene, what, seconds):
    """Once; again, where the machine made it longer than it was to be."""
    for _ in range(TRIES):
        lasted, rows = once(scene, what, seconds)
        if lasted < seconds + INEXACT:
            break
    return lasted, rows


def run(scene, runs):
    """{scenario: {column: numbers, the means but for alarms}}"""
    results = {}
    for what, seconds, times in runs:
        total, longest = {}, 0
        for _ in range(times):
            lasted, rows = exactly(scene, what, seconds)
            longest = max(longest, lasted)
            for column, row in rows.items():
                sums = total.setdefault(column, dict.fromkeys(row, 0))
                for k, v in row.items():
                    sums[k] += v if k == "alarms" else v / times
        results[f"{what[0]}, {longest:.1f} s" +
                (f" at most, {times} times" if times > 1 else "")] = total
    return results


def show(results):
    print(f"\n{'Whom it blames for nothing':36} {'DOWN':>5}  keys moved, for"
          f" {'':6} missed, for")
    for title, rows in results.items():
        print(title)
        for column, r in rows.items():
            line = f"  {column:34} {r['alarms']:5} {r['moved'] * 100:8.1f} %" \
                f" {r['moved s']:6.2f} s"
            if "HAProxy" not in column:     # it has no such thing
                line += f" {r['missed'] * 100:8.1f} % {r['missed s']:6.2f} s"
            print(line)
