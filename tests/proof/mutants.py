#!/usr/bin/env python3
"""tests/proof/mutants.py - is everything that holds the protocol up tested?

    tests/proof/mutants.py [--quick|--full] [--jobs N] [--only TEXT]

Takes one thing away at a time (a fence, a check, an order), in a copy of the
tree: the switch is in the test's build, and no line of the product knows of
it.  Each removal must make the test that is named beside it fail, which must
pass in the copy as it is.  Prints the table, and what each test said; exits 1
if a mutant survives, hangs its test, does not build, or is none any more since
the sources have changed.  --quick looks for that last one only.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
TREE = ["Makefile", "include", "libmcshm", "checkerd", "tests"]
LIMIT = 60                  # s, of a build or a test that takes two at most

FORMAT = "include/mcshm_format.h"
FILE = "checkerd/publish_file.c"
PUBLISH = "checkerd/publish.c"
IMAGE = "checkerd/publish_image.c"
PICK = "libmcshm/pick.c"
SNAPSHOT = "libmcshm/snapshot.c"
FOLLOW = "libmcshm/follow.c"
READER = "libmcshm/reader.c"
VIEW = "libmcshm/reader.h"
DUMP = "libmcshm/dump_check.c"
DUMP_FILE = "libmcshm/dump_file.c"


class Broken(Exception):
    """Neither caught nor survived: the table has to be mended."""


class Model:
    """One of tests/proof/models, which reads the protocol from the sources: it
    must show an execution that is bad, not just fail to understand them."""

    def __init__(self, name, wrong):
        self.name, self.wrong, self.target = name, wrong, None

    def command(self, work):
        own = ["--work", f"{work}/tmp"] if self.name == "spin" else []
        return [sys.executable, f"{work}/tests/proof/models/{self.name}.py",
                "--only-source", "--source", work, *own]

    def judge(self, code, text):
        """What it says against the protocol; None: nothing."""
        if code == 0:
            return None
        said = re.search(r"^%s: FAILED: [^:]*: ((?:%s).*)$" % (
            self.name, self.wrong), text, re.M)
        if not said:
            raise Broken(text[-2000:])
        return said.group(1)


class Unit:
    """One test of a cmocka program."""

    def __init__(self, program, test):
        self.name = f"test_{program}: {test}"
        self.program, self.test = f"build/tests/test_{program}", test
        self.target = self.program

    def command(self, work):
        return [f"{work}/{self.program}", self.test]

    def judge(self, code, text):
        """What has failed; None: nothing."""
        def line(what):
            return re.search(rf"^\[ *{what} *\] {self.test}$", text, re.M)
        if not line("RUN"):
            raise Broken(f"there is no {self.test}:\n{text[-2000:]}")
        if line("OK") and code == 0:
            return None
        if code < 0:
            return signal.Signals(-code).name
        if not line("FAILED") and not line("ERROR"):
            raise Broken(f"exit code {code}:\n{text[-2000:]}")
        where = re.search(r"\[ *LINE *\] --- .*?(\w+\.c:\d+:)", text)
        what = re.search(r"^(?:\[ *ERROR *\] --- (?!\[)|ERROR: )(.*)$", text,
                         re.M)
        return " ".join(m.group(1) for m in (where, what) if m)


RC11 = Model("rc11", "generation |never read")
SPIN = Model("spin", "assertion violated|invalid end state")


# What is taken away: a name, the file (or where to look for it), what stands
# there, what instead, and the test that must notice.
MUTANTS = [
    # Fences and orders.  x86 has most of them anyway; the models do not.
    ("the release fence at the start of a publish [F]", FORMAT,
     re.compile(r"\tatomic_thread_fence\(\w+\);\t/\* \[F\], pairs .*\n"),
     "", RC11),
    ("the flip's release order [S]", FORMAT,
     re.compile(r"(generation, g \+ 1,\n\t    )memory_order_release"),
     r"\1memory_order_relaxed", RC11),
    ("the first load's acquire order [L]", FORMAT,
     re.compile(r"(/\* \[L\], pairs with \[S\]\. \*/\n[^;]*)"
                r"memory_order_acquire"), r"\1memory_order_relaxed", RC11),
    ("the acquire fence before the re-check [C]", FORMAT,
     re.compile(r"\tatomic_thread_fence\(\w+\);\t/\* \[C\], pairs .*\n"),
     "", RC11),
    ("RETIRED's release order", FORMAT,
     "(g + 2) | MCSHM_RETIRED, memory_order_release",
     "(g + 2) | MCSHM_RETIRED, memory_order_relaxed", SPIN),
    ("the release fence before pick's cache is filled [P]", PICK,
     "\tatomic_thread_fence(memory_order_release);\t/* [P] */\n", "", RC11),
    ("the release order of the cache's generation [Q]", PICK,
     re.compile(r"(&cache->generation, g,\n\t    )memory_order_release"),
     r"\1memory_order_relaxed", RC11),
    ("the release order of the cache's native generation [Q]", PICK,
     re.compile(r"(&cache->native, is_native\(p\) \? g : 0,\n\t    )"
                r"memory_order_release"), r"\1memory_order_relaxed", RC11),
    ("the acquire order by which the cache is found", PICK,
     "atomic_load_explicit(generation, memory_order_acquire)",
     "atomic_load_explicit(generation, memory_order_relaxed)", RC11),
    ("the acquire fence behind mc-shmdump's first look", DUMP_FILE,
     re.compile(r"\t\tatomic_thread_fence\(memory_order_acquire\);\n"
                r"(\t\tif \(read_all)"), r"\1", RC11),
    ("the acquire fence before mc-shmdump's second look", DUMP_FILE,
     re.compile(r"\t\tatomic_thread_fence\(memory_order_acquire\);\n"
                r"(\t\tif \(read_generation)"), r"\1", RC11),

    # What a read is checked by.
    ("the re-check itself", FORMAT,
     "return mcshm_load(generation) == g;", "return 1;", RC11),
    ("equality in the re-check: one flip may pass", FORMAT,
     "return mcshm_load(generation) == g;",
     "return mcshm_load(generation) - g < 2;", RC11),
    ("another look before the cache is filled", PICK,
     "\tif (mcshm_read_ok(reader_generation(m), g))\n\t\tcache_store(",
     "\t\tcache_store(", RC11),
    ("mc-shmdump's second look", DUMP_FILE,
     "\t\tif (g == f->h.generation)\n", "", Unit("dump", "test_overtaken")),
    ("g != 0, in a pick", PICK,
     re.compile(r"(\nanswer_strictly\(.*?)\t\tif \(g == 0\)\n"
                r"\t\t\tcontinue;\n", re.S), r"\1", RC11),
    ("g != 0, in a fast pick", PICK,
     "g != cached(&cache->native) || g == 0 ||",
     "g != cached(&cache->native) ||", Unit("reader", "test_later")),
    ("g != 0, in a fast pick by other schemes", PICK,
     "g != cached(&cache->generation) || g == 0))",
     "g != cached(&cache->generation)))", Unit("reader", "test_zero")),
    ("g != 0, for a server", SNAPSHOT,
     re.compile(r"(\nserver_at\(.*?)\t\tif \(g == 0\)\n\t\t\tcontinue;\n",
                re.S), r"\1", RC11),
    ("g != 0, in a snapshot", SNAPSHOT,
     "\tif (g == 0)\n\t\treturn reader_failed(m);\n", "", RC11),
    ("g != 0, for the roster's id", FOLLOW,
     re.compile(r"(\nroster_now\(.*?)\t\tif \(g == 0\)\n\t\t\tcontinue;\n",
                re.S), r"\1", RC11),
    ("the bound on tries", FORMAT,
     "#define MCSHM_TRIES_READ 8", "#define MCSHM_TRIES_READ 2000000000",
     Unit("reader", "test_overtaken")),

    ("the bound on mc-shmdump's tries", DUMP_FILE,
     re.compile(r"(#define TRIES_READ) \d+\b"), r"\1 2000000000",
     Unit("dump", "test_overtaken")),

    # Counting.
    ("the count that a new file continues", FORMAT,
     "return ((g & ~MCSHM_RETIRED) + 4) & ~UINT64_C(1);",
     "(void)g;\n\treturn 1000;", Unit("publish", "test_exchange")),
    ("the count that stands still when a file is retired again", FORMAT,
     "\tif (g & MCSHM_RETIRED)\n\t\treturn;\n", "",
     Unit("format", "test_generation")),
    ("the low half that changes when a file is retired", FORMAT,
     "(g + 2) | MCSHM_RETIRED, memory_order_release",
     "g | MCSHM_RETIRED, memory_order_release",
     Unit("format", "test_generation")),
    ("the section that is not the active one", FILE,
     "const unsigned which = (g + 1) & 1;", "const unsigned which = g & 1;",
     RC11),

    # Checksums.
    ("the checksum of the header, in the library", READER,
     "h->header_sum != mcshm_header_sum(h) ||", "",
     Unit("reader", "test_refused")),
    ("the checksum of the header, at attach", FILE,
     "h->header_sum != mcshm_header_sum(h) ||", "",
     Unit("publish", "test_damage")),
    ("the checksum of a section, at attach", IMAGE,
     re.compile(r"return head->generation != 0 && head->sum ==\n[^;]*;"),
     "(void)h;\n\treturn head->generation != 0;",
     Unit("publish", "test_damaged_sections")),
    ("the checksums of roster and table, at attach", FILE,
     re.compile(r"if \(mcshm_sum\(fixed \+ h->roster_off,.*?table_sum\)\n",
                re.S), "\t", Unit("publish", "test_damage")),
    ("the checksum of a section, in mc-shmdump", DUMP,
     re.compile(r"return s->generation != 0 && s->sum ==\n[^;]*;"),
     "return s->generation != 0;", Unit("dump", "test_damaged_parts")),

    # The order of things, on the writer's side.
    ("exchange before RETIRED", PUBLISH,
     re.compile(r"(\terr = file_link\(&p->place, f, at, t\);\n.*?)"
                r"(\tretire_old\(p, at\);\n)", re.S), r"\2\1", SPIN),
    ("RETIRED before the last name goes", PUBLISH,
     "\tretire_old(p, at);\n\tif (at != NULL)\n"
     "\t\tfile_unlink_tmp(&p->place);\n",
     "\tif (at != NULL)\n\t\tfile_unlink_tmp(&p->place);\n"
     "\tretire_old(p, at);\n", SPIN),
    ("RETIRED, at an exchange", PUBLISH,
     "\tretire_old(p, at);\n\tif (at", "\tif (at",
     Unit("publish", "test_exchange")),
    ("the sweep of what killed daemons left", PUBLISH,
     "\t\tplace_sweep(&p->place);\n", "",
     Unit("publish", "test_leftovers_are_swept")),
    ("RENAME_NOREPLACE at a first creation", FILE,
     "RENAME_EXCHANGE : RENAME_NOREPLACE", "RENAME_EXCHANGE : 0",
     Unit("publish", "test_created_together")),
    ("the lock", FILE,
     "return fcntl(fd, F_OFD_SETLK, &fl) == 0 ? 0 : errno;",
     "(void)fl;\n\t(void)fd;\n\treturn 0;",
     Unit("publish", "test_second_daemon")),
    ("msync of a section before the flip", FILE,
     re.compile(r"(\terr = sync_range\(f, f->head.section_off\[which\].*?;\n)"
                r"(.*?)(\tmcshm_write_flip\(gen, g\);\n)", re.S), r"\3\1\2",
     Unit("publish", "test_section_is_synced_before_the_flip")),
    ("the scrubbing of sections", PUBLISH,
     "file_publish(p->file, (due & DUE_BEAT) != 0,",
     "file_publish(p->file, false,",
     Unit("publish", "test_sections_are_scrubbed")),

    # Bounds of what is read.
    ("the bound on slots from the table, in a fast pick", PICK,
     "if (unlikely(slot >= LOAD(servers)))", "if (unlikely(slot > 70000))",
     Unit("reader", "test_mad_table")),
    ("the bound on slots from the table, in the slow path",
     "libmcshm/scheme*.c", "return slot < p->servers ? slot : 0;",
     "return slot;", Unit("reader", "test_mad_table")),
    ("the mask that keeps offsets in the reservation", "libmcshm/scheme*.h",
     "return mcshm_load(base + (off & mask & ~UINT64_C(7)));",
     "(void)mask;\n\treturn mcshm_load(base + (off & ~UINT64_C(7)));",
     Unit("reader", "test_mad_writer")),
    ("the mask of a section's offset", VIEW,
     "v->section = READER_PAGES & mcshm_load(h +",
     "v->section = mcshm_load(h +", Unit("reader", "test_mad_writer")),
    ("the bound on servers", VIEW,
     ".servers = servers < MCSHM_MAX_SERVERS ?\n\t\t    servers : "
     "MCSHM_MAX_SERVERS,", ".servers = servers,",
     Unit("reader", "test_mad_writer")),
    ("the bounds of what the cache takes", PICK,
     re.compile(r"    p->buckets <= MCSHM_MAX_BUCKETS &&\n.*?;\n", re.S),
     "    1;\n", Unit("reader", "test_mad_writer")),

    # Following.
    ("the guard of whoever follows", FOLLOW,
     "\tif (who == me || (who != 0 && m->wipes))\n\t\treturn false;\n", "",
     Unit("reader", "test_guard")),
    ("the boot id", FOLLOW,
     "\tif (reader_is_rebooted(m))\n\t\treturn true;\n", "",
     Unit("reader", "test_rebooted")),
]


def change(tree, path, old, new, write=True):
    """The mutant's one difference; it must be there exactly once."""
    count = 0
    for name in sorted(glob.glob(os.path.join(tree, path))):
        with open(name) as f:
            text = f.read()
        if isinstance(old, str):
            n, text = text.count(old), text.replace(old, new)
        else:
            text, n = old.subn(new, text)
        count += n
        if n and write:
            with open(name, "w") as f:
                f.write(text)
    if count != 1:
        raise Broken(f"{path} has {count} of {old!r}")


class Runs:
    """Commands under way, each with all that it starts."""

    def __init__(self):
        self.lock, self.groups, self.over = threading.Lock(), set(), False

    def run(self, command, work):
        """(exit code, what it said); nothing of it is left."""
        os.makedirs(f"{work}/tmp", exist_ok=True)
        env = os.environ | {"MC_TEST_TMP": f"{work}/tmp"}
        # Two: in one, lines of the two would run into each other.
        with open(f"{work}/out", "w+", errors="replace") as out, \
                open(f"{work}/err", "w+", errors="replace") as err:
            with self.lock:
                if self.over:
                    raise Broken("given up")
                process = subprocess.Popen(
                    command, cwd=work, env=env, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=err, start_new_session=True)
                self.groups.add(process.pid)
            try:
                code = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                self.end_group(process.pid)
                process.wait()
            out.seek(0)
            err.seek(0)
            text = out.read() + "\n" + err.read()
        if code is None:
            raise Broken(f"hangs, or takes more than {LIMIT} s: "
                         f"{' '.join(command)}\n{text[-2000:]}")
        return code, text

    def end_group(self, leader):
        with self.lock:
            self.groups.discard(leader)
            try:
                os.killpg(leader, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def end(self):
        """No more of them."""
        with self.lock:
            self.over = True
        for leader in list(self.groups):
            self.end_group(leader)


def build(runs, work, targets):
    if not targets:
        return
    code, text = runs.run(["make", "NO_DEPS=1", "CFLAGS=-O1 -w", *targets],
                          work)
    if code != 0:
        raise Broken(f"does not build:\n{text[-1000:]}")


def copy_tree(work):
    os.mkdir(work)
    for part in TREE:
        source = os.path.join(ROOT, part)
        if os.path.isdir(source):
            shutil.copytree(source, os.path.join(work, part),
                            ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, work)


def make_base(runs, work, tests):
    """The copy as it is, built, in which all tests pass."""
    copy_tree(work)
    build(runs, work, sorted({t.target for t in tests if t.target}))
    for test in tests:
        said = test.judge(*runs.run(test.command(work), work))
        if said is not None:
            raise Broken(f"{test.name} fails as it is: {said}")


def one(runs, base, work, mutant):
    """(whether it was caught, what to print)"""
    name, path, old, new, test = mutant
    began = time.monotonic()
    try:
        shutil.copytree(base, work, symlinks=True)
        change(work, path, old, new)
        build(runs, work, [test.target] if test.target else [])
        said = test.judge(*runs.run(test.command(work), work))
    except Broken as e:
        return False, (f"BROKEN    without {name}\n"
                       f"            -> {test.name}: {e}")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    took = time.monotonic() - began
    if said is None:
        return False, (f"SURVIVED  without {name}\n"
                       f"            -> {test.name} passes")
    return True, (f"caught    without {name}\n"
                  f"            -> {test.name}: {said} ({took:.1f} s)")


def run_all(wanted, jobs):
    """How many were caught."""
    runs = Runs()
    # Under /tmp: unix paths, and those of the tests, are short.
    work = tempfile.mkdtemp(prefix="mutants.", dir="/tmp")
    caught = 0
    try:
        os.chmod(work, 0o755)       # tests become other users
        base = f"{work}/base"
        make_base(runs, base, list({m[4].name: m[4] for m in wanted}.values()))
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            try:
                for well, line in pool.map(
                        lambda n: one(runs, base, f"{work}/m{n}", wanted[n]),
                        range(len(wanted))):
                    caught += well
                    print(line, flush=True)
            except BaseException:
                runs.end()
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return caught


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--jobs", type=int,
                        default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", default="")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    wanted = [m for m in MUTANTS if options.only in m[0]]
    try:
        for _, path, old, new, _ in wanted:
            change(ROOT, path, old, new, write=False)
        if options.quick:
            print(f"mutants: ok, {len(wanted)} fit the sources; not run")
            return 0
        caught = run_all(wanted, options.jobs)
    except Broken as e:
        print(f"mutants: FAILED, mend the table: {e}")
        return 1
    well = caught == len(wanted) > 0
    print(f"mutants: {'ok' if well else 'FAILED'}, {len(wanted)} removed in "
          f"turn, {caught} caught")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
