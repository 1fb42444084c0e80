"""spin - the file protocol under kill -9, by the model checker spin.

Makes protocol.pml from the C files (source.py), and for each scene and each
mutant a checker of its own from mcshm.pml; runs as many at a time as there are
processors.  All states of a scene must be good, each mutant must be caught.

    spin.py [--full] [--only-source] [--source DIR] --work DIR
"""
import argparse
import collections
import concurrent.futures
import copy
import os
import pathlib
import re
import subprocess
import sys
import time

from mutants import MUTANTS, SPIN_MUTANTS, SPIN_QUICK
from source import NotUnderstood, Protocol, releases

HERE = pathlib.Path(__file__).resolve().parent
MEMORY = 2500				# MiB that one checker may have
TRIES = 2				# of a reader: as a bound, not as a speed

# How often things happen, at most; each daemon may be killed anywhere.
Scene = collections.namedtuple(
    "Scene", "name publishes exchanges kills removals readers reads flags")
QUICK = [
    Scene("publishing, killed", 2, 0, 1, 0, 2, 1, ()),
    Scene("exchange, killed", 1, 1, 1, 0, 1, 1, ()),
    Scene("exchange, two killed", 1, 1, 2, 0, 1, 1, ()),
    Scene("exchange, two threads", 1, 1, 0, 0, 2, 1, ()),
    Scene("file removed, killed", 1, 0, 1, 1, 1, 1, ()),
    Scene("no file at first", 1, 0, 1, 0, 1, 1, ("EMPTY",)),
    Scene("after power loss", 2, 0, 0, 0, 1, 1, ("DAMAGED",)),
]
FULL = [
    Scene("publishing, two killed, two threads", 3, 0, 2, 0, 2, 1, ()),
    Scene("exchange, two killed, two threads", 1, 1, 2, 0, 2, 1, ()),
    Scene("exchange, two killed, two reads", 2, 1, 2, 0, 1, 2, ()),
    Scene("two exchanges, killed", 1, 2, 1, 0, 1, 1, ()),
    Scene("file removed, killed", 1, 0, 1, 1, 2, 1, ()),
    Scene("no file at first, killed", 2, 1, 1, 0, 1, 1, ("EMPTY",)),
    Scene("after power loss, killed", 2, 0, 1, 0, 1, 1, ("DAMAGED",)),
]

# protocol.pml ---------------------------------------------------------------

def expression(text, **names):
    """With the model's variables for the code's."""
    return re.sub(r"[A-Za-z]\w*", lambda m: names.get(m[0], m[0]), text)


def inline(name, lines):
    return f"inline {name}\n{{\n" + ";\n".join(
        "\t" + line for line in lines or ["skip"]) + "\n}\n\n"


def writes(ops, **names):
    """A function of the header on the generation of file f."""
    lines = []
    for i, op in enumerate(ops):
        value = op.value and expression(op.value, loaded0="d_g", **names)
        if op.kind == "load":
            lines.append("d_g = OWN_GEN(f)")
        elif op.kind == "fence" and releases(op.order):
            lines.append("fence()")
        elif op.kind == "store":
            kind = "_release" if releases(op.order) else ""
            lines.append(f"store_gen{kind}(f, ({value}))")
        elif op.kind == "stop":
            rest = ";\n\t".join(writes(ops[i + 1:], **names))
            lines.append(f"if\n\t:: {value} -> skip\n\t:: else -> {rest}\n"
                         "\tfi")
            break
        elif op.kind == "let" and value != "d_g":
            lines.append(f"d_g = {value}")
    return lines


def publish(p, flags):
    steps = {"mcshm_write_begin": "write_begin(own)",
             "fill_section": "fill(%s)" % expression(p.which, g="d_g"),
             "mcshm_write_flip": "write_flip(own, d_g)"}
    lines = ["published++"] + [steps[s] for s in p.publish]
    if "mcshm_write_begin" != p.publish[0]:
        raise NotUnderstood("a publish that does not begin")
    return ["busy = true", *lines, "busy = false"] if "WAITS" in flags \
        else lines


def fill(p):
    words = {"first": "store_word(d_i, CONTENT0(published))",
             "second": "store_word(d_i + 1, CONTENT1(published))"}
    return ["d_i = (section) * 2"] + [words[w] for w in p.fill if w in words]


def exchange(p):
    steps = {"file_seed": "seed(SEED(AFTER(d_g)))", "file_link": "link()",
             "file_retire": "retire(own)", "file_unlink_tmp": "unlink()"}
    return ["d_g = OWN_GEN(own)"] + [steps[s] for s in p.exchange] + \
        ["own = d_new"]


def sweep(p):
    steps = {"lock_try": "skip", "retire_fd": "retire(tmp)",
             "unlinkat": "unlink()"}
    return ["if\n\t:: tmp != NONE -> " +
            ";\n\t\t".join(steps[s] for s in p.sweep) + "\n\t:: else\n\tfi"]


def strict_read(p, steps):
    """One try of a reader; what follows a test is inside it."""
    lines = []
    for i, s in enumerate(steps):
        if s == "begin":
            lines.append("load_gen(r_g)")
        elif s == "fixed":
            lines.append("load_fixed()")
        elif s in ("first", "second"):
            lines.append(f"load_word((r_g & 1) * 2 + {int(s == 'second')}, "
                         f"r_{s})")
        else:
            test, before = "r_g != 0", []
            if s == "ok":
                test = "r_ok"
                before = ["load_gen(r_ok)"] + [
                    "r_ok = (%s)" % expression(op.value, loaded0="r_ok",
                                               g="r_g")
                    for op in p.read_ok if op.kind == "return"]
            rest = strict_read(p, steps[i + 1:]) or []
            if s == "ok" or "ok" not in steps[i:]:
                rest.append("accept()")
            rest = ";\n\t".join(rest)
            return lines + before + [f"if\n\t:: {test} -> {rest}\n"
                                     "\t:: else\n\tfi"]
    return lines


def numbers(scene, flags):
    """What the model leaves open, for the preprocessor."""
    files = 1 + scene.exchanges + scene.kills + scene.removals
    found = {"RETIRED": 32, "FILES": files, "TRIES_BOUND": TRIES,
             "TRIES": 100 if "TRIES_ON" in flags else TRIES,
             "LOOKS": int("NO_LOOK" not in flags)}
    for name in ("publishes", "exchanges", "kills", "removals", "readers",
                 "reads"):
        found[name.upper()] = getattr(scene, name)
    return [f"-D{k}={v}" for k, v in found.items()] + \
        [f"-D{flag}" for flag in flags]


def model(p, flags):
    after = expression(p.after[-1].value, g="(g)")
    text = [
        "/* Made by spin.py. */",
        f"#define AFTER(g) ({after})",
        "#define SEED(generation) (%s)" % (
            p.seed if p.counts_on else "FIRST"),
        ""]
    return "\n".join(text) + "\n" + \
        inline("write_begin(f)", writes(p.begin, g="d_g")) + \
        inline("write_flip(f, g)", writes(p.flip, g="(g)")) + \
        inline("retire(f)", writes(p.retire, g="d_g")) + \
        inline("fill(section)", fill(p)) + \
        inline("publish()", publish(p, flags)) + \
        inline("exchange()", exchange(p)) + \
        inline("sweep()", sweep(p)) + \
        inline("strict_read()", strict_read(p, p.readers["answer_strictly"]))


# Running ----------------------------------------------------------------------

def command(args, cwd, seconds):
    done = subprocess.run(args, cwd=cwd, text=True, timeout=seconds,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def checker(p, scene, flags, directory, optimize):
    """A program that goes through all states of a scene."""
    directory.mkdir(parents=True, exist_ok=True)
    flags = (*flags, *scene.flags)
    (directory / "protocol.pml").write_text(model(p, flags))
    text = (HERE / "mcshm.pml").read_text()
    (directory / "mcshm.pml").write_text(text)
    rc, out = command(["spin", *numbers(scene, flags), "-a", "mcshm.pml"],
                      directory, 60)
    if rc == 0:
        rc, out = command(
            [*os.environ.get("CC", "cc").split(), optimize, "-w", "-DSAFETY",
             "-DCOLLAPSE", f"-DMEMLIM={MEMORY}", "-o",
             "pan", "pan.c"], directory, 120)
    if rc != 0:
        raise RuntimeError(f"{scene.name}: {out}")
    return directory / "pan"


Outcome = collections.namedtuple("Outcome", "whole error states seconds out")


def explore(p, scene, flags, directory, optimize):
    began = time.monotonic()
    pan = checker(p, scene, flags, directory, optimize)
    _, out = command([str(pan), "-m1000000", "-w20"], directory, 1800)
    error = re.search(r"^pan:\d+: (.*?)(?: \(at depth.*)?$", out, re.M)
    states = re.search(r"^\s*([\d.e+]+) states, stored", out, re.M)
    whole = "errors: 0" in out and "Search not completed" not in out and \
        "max search depth too small" not in out
    return Outcome(whole, error and error.group(1),
                   states and int(float(states.group(1))),
                   time.monotonic() - began, out)


def scene_line(p, scene, work):
    o = explore(p, scene, (), work / re.sub(r"\W+", "_", scene.name),
                "-O2" if scene in FULL else
                "-O1" if scene.readers > 1 else "-O0")
    if o.whole and o.error is None:
        return True, (f"spin: {scene.name}: {o.states} states, none bad "
                      f"({o.seconds:.1f} s)")
    return False, (f"spin: FAILED: {scene.name}: "
                   f"{o.error or 'not completed: ' + o.out}")


def mutant_line(p, mutant, work):
    name, mutate, flags, where = mutant
    q = copy.copy(p)
    mutate(q)
    scene = next(s for s in QUICK if s.name == where)
    o = explore(q, scene, flags, work / re.sub(r"\W+", "_", name), "-O0")
    if o.error:
        return True, f"spin: mutant caught: {name}: {o.error}"
    return False, f"spin: FAILED: mutant survives: {name}"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--full", action="store_true")
    a.add_argument("--only-source", action="store_true",
                   help="no mutants of its own")
    a.add_argument("--source", default=HERE.parents[2])
    a.add_argument("--work", type=pathlib.Path, required=True)
    args = a.parse_args()
    try:
        p = Protocol(args.source)
    except NotUnderstood as e:
        print(f"spin: FAILED: the models do not understand {e}")
        return 1
    scenes = FULL if args.full else QUICK
    wanted = [m for m in SPIN_MUTANTS
              if not args.only_source and
              (args.full or m[0] in SPIN_QUICK or m[0] not in MUTANTS)]
    good = True
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(scene_line, p, s, args.work) for s in scenes] + \
            [pool.submit(mutant_line, p, m, args.work) for m in wanted]
        for job in jobs:
            ok, line = job.result()
            good = good and ok
            print(line, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
