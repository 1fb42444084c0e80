#!/usr/bin/env python3
"""tests/proof/mutants.py - is everything that holds the protocol up tested?

    tests/proof/mutants.py [--jobs N] [--only TEXT] [WORK_DIRECTORY]

Takes one thing away at a time (a fence, a check, an order), in a copy of the
tree: the switch is in the test's build, and no line of the product knows of
it.  Each removal must make the test that is named beside it fail, which must
pass in the copy as it is.  Prints the table, exits 1 if a mutant survives.
"""
import argparse
import concurrent.futures
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TREE = ["Makefile", "include", "libmcshm", "checkerd", "tests"]
TIMEOUT = 150

FORMAT = "include/mcshm_format.h"
FILE = "checkerd/publish_file.c"
PUBLISH = "checkerd/publish.c"
IMAGE = "checkerd/publish_image.c"
PICK = "libmcshm/pick.c"
READER = "libmcshm/reader.c"
DUMP = "libmcshm/dump_check.c"


def models(work):
    """The C11 model, which reads the protocol from the sources."""
    return ["sh", "-c", f"{sys.executable} "
            f"{work}/tests/proof/models/rc11.py --source {work}"]


def spin(work):
    """The spin model, which takes the order of events from the sources."""
    return ["sh", "-c", "d=$(mktemp -d) && "
            f"{sys.executable} {work}/tests/proof/models/spin.py "
            f"--source {work} --work $d; r=$?; rm -rf $d; exit $r"]


def unit(name, test):
    """A cmocka program; the test that must be among those that fail."""
    def command(work):
        return [f"{work}/build/tests/test_{name}"]
    command.needs = f"build/tests/test_{name}"
    command.test = test
    command.__doc__ = f"test_{name}: {test}"
    return command


# What is taken away: a name, the file, what stands there, what instead, and
# the test that must notice.
MUTANTS = [
    ("the release fence at the start of a publish [F]", FORMAT,
     "\tatomic_thread_fence(memory_order_release);\t/* [F], pairs with [C] */\n",
     "", models),
    ("the flip's release order [S]", FORMAT,
     r"re:(generation, g \+ 1,\n\t    )memory_order_release",
     r"\1memory_order_relaxed", models),
    ("the first load's acquire order [L]", FORMAT,
     "(const _Atomic uint64_t *)generation,\n\t    memory_order_acquire);\n}\n"
     "\nstatic inline bool",
     "(const _Atomic uint64_t *)generation,\n\t    memory_order_relaxed);\n}\n"
     "\nstatic inline bool", models),
    ("the acquire fence before the re-check [C]", FORMAT,
     "\tatomic_thread_fence(memory_order_acquire);\t/* [C], pairs with [F] */\n",
     "", models),
    ("the re-check itself", FORMAT,
     "return mcshm_load(generation) == g;",
     "return mcshm_load(generation) != 0 || g != 0;", models),
    ("equality in the re-check: one flip may pass", FORMAT,
     "return mcshm_load(generation) == g;",
     "return mcshm_load(generation) - g < 2;", models),
    ("g != 0", PICK,
     "\t\tif (g == 0)\n\t\t\tcontinue;\n\t\treader_view", "\t\treader_view",
     models),
    ("the count that a new file continues", FORMAT,
     "return ((g & ~MCSHM_RETIRED) + 4) & ~UINT64_C(1);",
     "(void)g;\n\treturn 1000;", unit("publish", "test_exchange")),
    ("the count that stands still when a file is retired again", FORMAT,
     "\tif (g & MCSHM_RETIRED)\n\t\treturn;\n", "",
     unit("format", "test_generation")),
    ("the low half that changes when a file is retired", FORMAT,
     "(g + 2) | MCSHM_RETIRED, memory_order_release",
     "g | MCSHM_RETIRED, memory_order_release",
     unit("format", "test_generation")),
    ("the checksum of the header, in the library", READER,
     "h->header_sum != mcshm_header_sum(h) ||", "",
     unit("reader", "test_refused")),
    ("the checksum of a section, at attach", IMAGE,
     re.compile(r"return head->generation != 0 && head->sum ==\n[^;]*;"),
     "(void)h;\n\treturn head->generation != 0;",
     unit("publish", "test_damaged_sections")),
    ("the checksum of a section, in mc-shmdump", DUMP,
     re.compile(r"return s->generation != 0 && s->sum ==\n[^;]*;"),
     "return s->generation != 0;", unit("dump", "test_damaged_parts")),
    ("the checksums of roster and table, at attach", FILE,
     re.compile(r"if \(mcshm_sum\(fixed \+ h->roster_off,.*?table_sum\)\n",
                re.S), "\t", unit("publish", "test_damage")),
    ("exchange before RETIRED", PUBLISH,
     re.compile(r"\terr = file_link\(&p->place, f, at, t\);\n"),
     "\tretire_old(p, at);\n\terr = file_link(&p->place, f, at, t);\n",
     spin),
    ("RETIRED before the last name goes", PUBLISH,
     "\tretire_old(p, at);\n\tif (at != NULL)\n"
     "\t\tfile_unlink_tmp(&p->place);\n",
     "\tif (at != NULL)\n\t\tfile_unlink_tmp(&p->place);\n"
     "\tretire_old(p, at);\n", spin),
    ("RETIRED, at an exchange", PUBLISH,
     "\tretire_old(p, at);\n\tif (at", "\tif (at",
     unit("publish", "test_exchange")),
    ("the sweep of what killed daemons left", PUBLISH,
     "\t\tplace_sweep(&p->place);\n", "",
     unit("publish", "test_leftovers_are_swept")),
    ("RENAME_NOREPLACE at a first creation", FILE,
     "RENAME_EXCHANGE : RENAME_NOREPLACE", "RENAME_EXCHANGE : 0",
     unit("publish", "test_started_together")),
    ("the lock", FILE,
     "return fcntl(fd, F_OFD_SETLK, &fl) == 0 ? 0 : errno;",
     "(void)fl;\n\t(void)fd;\n\treturn 0;",
     unit("publish", "test_second_daemon")),
    ("msync of a section before the flip", FILE,
     re.compile(r"(\terr = sync_range\(f, f->head.section_off\[which\].*?;\n)"
                r"(.*?)(\tmcshm_write_flip\(gen, g\);\n)", re.S), r"\3\1\2",
     unit("publish", "test_section_is_synced_before_the_flip")),
    ("the section that is not the active one", FILE,
     "const unsigned which = (g + 1) & 1;", "const unsigned which = g & 1;",
     models),
    ("the scrubbing of sections", PUBLISH,
     "file_publish(p->file, (due & DUE_BEAT) != 0,",
     "file_publish(p->file, false,",
     unit("publish", "test_sections_are_scrubbed")),
    ("the bound on tries", FORMAT,
     "#define MCSHM_TRIES_READ 8", "#define MCSHM_TRIES_READ 2000000000",
     unit("reader", "test_overtaken")),
    ("the bound on slots from the table, in a fast pick", PICK,
     "if (unlikely(slot >= LOAD(servers)))", "if (unlikely(slot > 70000))",
     unit("reader", "test_mad_table")),
    ("the guard of whoever follows", "libmcshm/follow.c",
     "\tif (who == me || (who != 0 && m->wipes))\n\t\treturn false;\n", "",
     unit("reader", "test_guard")),
    ("the boot id", "libmcshm/follow.c",
     "\tif (reader_is_rebooted(m))\n\t\treturn true;\n", "",
     unit("reader", "test_rebooted")),
]


def change(work, path, old, new):
    """The mutant's one difference; it must be there exactly once."""
    name = os.path.join(work, path)
    with open(name) as f:
        text = f.read()
    if isinstance(old, str) and old.startswith("re:"):
        old = re.compile(old[3:])
    if isinstance(old, str):
        count, text = text.count(old), text.replace(old, new)
    else:
        text, count = old.subn(new, text)
    if count != 1:
        raise SystemExit(f"mutants: {path} has {count} of {old!r}: "
                         "mend the table")
    with open(name, "w") as f:
        f.write(text)


def run(command, work):
    try:
        done = subprocess.run(command, cwd=work, capture_output=True,
                              text=True, errors="replace", timeout=TIMEOUT,
                              stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired:
        return -1, "took too long"


def build(work, target):
    if target is None:
        return
    code, text = run(["make", "NO_DEPS=1", "CFLAGS=-O1 -w", target], work)
    if code != 0:
        raise SystemExit(f"mutants: {work}: does not build:\n{text[-2000:]}")


def noticed(work, catch):
    """Whether the named test fails in this copy, and what it says."""
    build(work, getattr(catch, "needs", None))
    code, text = run(catch(work), work)
    test = getattr(catch, "test", None)
    if test is None:
        return code != 0, text
    return (code < 0 or bool(re.search(
        r"^\[ *(FAILED|ERROR) *\] %s" % test, text, re.M)) or
        (code != 0 and f"[       OK ] {test}" not in text)), text


def copy_tree(work):
    os.mkdir(work)
    for part in TREE:
        source = os.path.join(ROOT, part)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(work, part),
                            ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, work)


def one(work, base, mutant):
    name, path, old, new, catch = mutant
    shutil.copytree(base, work, symlinks=True)
    change(work, path, old, new)
    caught, text = noticed(work, catch)
    shutil.rmtree(work)
    by = " ".join((catch.__doc__ or "").split())
    print(f"{'caught  ' if caught else 'SURVIVED'}  without {name}\n"
          f"            -> {by}", flush=True)
    return caught


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int,
                        default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="")
    parser.add_argument("work", nargs="?")
    options = parser.parse_args()

    work = tempfile.mkdtemp(prefix="mutants.", dir=options.work)
    try:
        base = os.path.join(work, "base")
        copy_tree(base)
        wanted = [m for m in MUTANTS if options.only in m[0]]
        for catch in {m[4] for m in wanted if hasattr(m[4], "needs")}:
            build(base, catch.needs)
        checked = {}
        for catch in {m[4] for m in wanted}:
            key = getattr(catch, "needs", catch.__name__)
            if key not in checked:
                checked[key] = run(catch(base), base)
            if checked[key][0] != 0:
                print(f"mutants: {key} fails as it is:\n"
                      f"{checked[key][1][-3000:]}")
                sys.exit(1)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            caught = list(pool.map(
                lambda n: one(os.path.join(work, f"m{n}"), base, wanted[n]),
                range(len(wanted))))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    survived = caught.count(False)
    print(f"mutants: {'ok' if not survived else 'FAILED'}, "
          f"{len(caught)} removed in turn, {survived} survived")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
