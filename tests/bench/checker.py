#!/usr/bin/env python3
"""checker.py - mc-checkerd beside HAProxy, the same servers and the same
faults.

    checker.py [--quick] [--rows] [--part=cost|find|noise]... BUILD FAST DIR

tests/bench/checker runs it, in a network namespace of its own.  FAST is
conf/fast-lan.ini.  --quick is shorter, and only shows that it works; --rows
prints nothing but what there are goals for, as rows of the table of
tests/bench/run.
"""
import os
import signal
import subprocess
import sys

import checker_cost
import checker_find
import checker_noise
from checker_scene import Scene
from checker_world import Trouble, World

PARTS = ("cost", "find", "noise")


def machine():
    """What the figures were made with, in a line."""
    def first(*command):
        done = subprocess.run(command, capture_output=True, text=True,
                              check=False)
        return done.stdout.splitlines()[0] if done.stdout else command[0]

    with open("/proc/cpuinfo", encoding="ascii") as f:
        cpu = next((line.split(":")[1].strip() for line in f
                    if line.startswith("model name")), os.uname().machine)
    return f"{cpu}, {os.cpu_count()} cores, Linux {os.uname().release}; " \
        f"{first('haproxy', '-v')}; {first('memcached', '--version')}"


def tables(world, parts, quick):
    print(machine())
    if quick:
        print("\nToo short for verdicts: it only shows that it works.")
    if "cost" in parts:
        runs = checker_cost.QUICK if quick else checker_cost.RUNS
        checker_cost.show(checker_cost.run(world, runs, 0.25 if quick else 1))
    if not {"find", "noise"} & set(parts):
        return
    with Scene(world) as scene:
        if "find" in parts:
            checker_find.show(checker_find.run(
                scene, checker_find.FAULTS, 5 if quick else 40))
        if "noise" in parts:
            checker_noise.show(checker_noise.run(
                scene, checker_noise.QUICK if quick else checker_noise.RUNS))


def row(what, measured, against, unit, goal, at_most):
    """As bench_row() has them."""
    ratio = measured / against
    print(f"{what:46} {f'{measured:.3g} {unit}':>9} "
          f" {f'{against:.3g} {unit}':>9}  {ratio:5.2f}  {goal:8} "
          f"{'ok' if ratio <= at_most else 'MISSED'}", flush=True)


def rows(world):
    ours, theirs = checker_cost.run(world, checker_cost.GOALS, 0.75)
    what = "of a probe, 5000 servers"
    row("processor time " + what, ours["us"], theirs["us"], "us", "1/4", 0.25)
    row("  system calls", sum(ours["calls"].values()),
        sum(theirs["calls"].values()), "", "", 1)
    row("  memory of the checker", ours["memory"], theirs["memory"], "MiB",
        "1/3", 0.334)
    with Scene(world) as scene:
        found = checker_find.trials(scene, checker_find.Kill(scene), 15)
    ours, theirs = (checker_find.quantile(found[title, "DOWN"], 0.5) for title
                    in (scene.columns[0].title, scene.columns[2].title))
    row("kill -9 to a client", ours, theirs, "s", "1/2", 0.5)


def main(argv):
    options = [a for a in argv[1:] if a.startswith("--")]
    rest = [a for a in argv[1:] if not a.startswith("--")]
    if len(rest) != 3:
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 64
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    world = World(*rest)
    if "--rows" in options:
        rows(world)
    else:
        tables(world, [o[7:] for o in options if o.startswith("--part=")]
               or PARTS, "--quick" in options)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv))
    except (Trouble, OSError) as trouble:
        print(f"checker: {trouble}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
