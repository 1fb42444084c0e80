"""Laws about the text of the tree: floors, clock, exits, sizes, tidiness."""
import re
import statistics

import pytest

from lawlib import ROOT, code, sources, text

CODE = sources("include", "libmcshm", "checkerd", "clients")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)


def includes(path):
    """[(is it <...>, header)]"""
    return [(kind == "<", name)
            for kind, name in INCLUDE.findall(text(path))]


def layers():
    """tests/layers as {file: set of headers}, and its row of libc headers."""
    table, row = {}, None
    for line in text("tests/layers").splitlines():
        line = line.split("#")[0]
        if not line.strip():
            continue
        if not line[0].isspace():
            name, _, line = line.partition(":")
            row = table.setdefault(name.strip(), set())
        row.update(line.split())
    return table, table.pop("libc")


def floor(heading):
    """The files below this heading of tests/layers."""
    below = text("tests/layers").split(f"\n\n# {heading}", 1)[1]
    return re.findall(r"^([\w/.-]+):", below.split("\n\n# ")[0], re.M)


PURE, EFFECTS = floor("Floor 1: pure."), floor("Floor 2: effects")


def unit(path):
    """conf_read.c is of conf; as headers and files are called."""
    return re.split(r"[_.]", path.rsplit("/", 1)[-1])[0]


def headers(paths):
    return {p.rsplit("/", 1)[1] for p in paths if p.endswith(".h")}


def users(header):
    return {p for p in CODE if header in (name for _, name in includes(p))}


def calls(*names):
    """{file: [what it calls of these]}"""
    call = re.compile(r"(?<![\w.>])(%s)[ \t]*\(" % "|".join(names))
    found = {p: call.findall(code(p)) for p in CODE if p.endswith(".c")}
    return {p: what for p, what in found.items() if what}


# 1. Who may include whom.

def test_every_include_is_in_the_table():
    table, libc = layers()
    wrong = [f"{path} includes {name}" for path in CODE
             for system, name in includes(path)
             if name not in table.get(path, set())
             and not (system and name in libc)]
    assert wrong == []


def test_the_table_has_no_idle_rows():
    table, _ = layers()
    assert sorted(table) == sorted(CODE)
    idle = [f"{path}: {name}" for path in CODE
            for name in table[path] - {n for _, n in includes(path)}]
    assert idle == []


def test_libev_stays_in_the_engine():
    engine = r"checkerd/(probe|scan|checker\w*|control|main)\.[ch]"
    assert all(re.fullmatch(engine, p) for p in users("ev.h"))


def test_inih_stays_in_conf():
    assert all(re.fullmatch(r"checkerd/conf\w*\.c", p) for p in users("ini.h"))


def test_daemon_and_library_meet_in_include_and_scheme_only():
    """Only pure schemes, hashes and include/ are common ground."""
    ours = {p.split("/")[1] for p in CODE if p.startswith("libmcshm/")}
    common = re.compile(r"(scheme|hash)_?\w*\.h")
    wrong = [(p, n) for p in CODE if p.startswith("checkerd/")
             for _, n in includes(p) if n in ours and not common.fullmatch(n)]
    assert wrong == []
    theirs = {p.split("/")[1] for p in CODE if p.startswith("checkerd/")}
    # mc-shmdump shares address.h, which is pure.
    wrong = [(p, n) for p in CODE if not p.startswith("checkerd/")
             for _, n in includes(p) if n in theirs
             and not (n == "address.h"
                      and re.match(r"libmcshm/(mc-shmdump|dump_)", p))]
    assert wrong == []


# But connections, which all who make some have in common, and TLS for these.
SHARED = {("probe", "conn.h"), ("scan", "conn.h"), ("conn", "tls.h")}


def test_no_effect_knows_another():
    """A unit and its own parts, floor 1, include/ and schemes only."""
    below = headers(PURE) | headers(sources("include")) | {"scheme.h"}
    others = {p.rsplit("/", 1)[1] for p in CODE} - below
    wrong = [(p, n) for p in EFFECTS for _, n in includes(p)
             if n in others and unit(n) != unit(p)
             and (unit(p), n) not in SHARED]
    assert len({unit(p) for p in EFFECTS}) > 5
    assert wrong == []


def test_each_file_of_the_daemon_has_its_floor():
    floors = [PURE, EFFECTS, floor("Floor 3: the engine."), floor("Roof.")]
    assert sorted(sum(floors, [])) == \
        [p for p in sorted(CODE) if p.startswith("checkerd/")]
    # And the Makefile the same ones.
    row = dict(re.findall(r"^(pure|effect|top) +:= ((?:.*\\\n)*.*)",
                          text("Makefile"), re.M))
    for name, files in (("pure", PURE), ("top", floors[2] + floors[3])):
        assert sorted(row[name].replace("\\\n", " ").split()) == \
            sorted(p[9:-2] for p in files if p.endswith(".c"))


# What does nothing but compute, and shapes of addresses.
PURE_HEADERS = {"arpa/inet.h", "assert.h", "ctype.h", "errno.h", "inttypes.h",
                "limits.h", "netinet/in.h", "stdbool.h", "stddef.h",
                "stdint.h", "string.h", "sys/socket.h", "sys/un.h"}
# snprintf(); and rosters, which are values that several share.
PURE_BESIDE = {"checkerd/address.c": {"stdio.h"}, "checkerd/servers.h": {},
               "checkerd/servers.c": {"stdatomic.h", "stdio.h", "stdlib.h"}}
IMPURE = ("printf", "fprintf", "dprintf", "puts", "fputs", "fopen", "perror",
          "getenv", "rand", "random", "system", "exit", "abort", "socket",
          "bind", "connect", "send", "sendto", "recv", "recvfrom", "read",
          "write", "open", "close", "getpid", "malloc", "calloc", "realloc",
          "free", "strdup")
SCHEMES = re.compile(r"libmcshm/(scheme|hash_|sums|names)\w*\.[ch]")
WORLD = {"unistd.h", "fcntl.h", "time.h", "pthread.h", "poll.h", "signal.h",
         "sys/mman.h", "sys/stat.h", "sys/time.h", "sys/syscall.h", "netdb.h",
         "ev.h", "ini.h"}


def test_the_pure_floor_touches_nothing():
    assert len(PURE) > 15
    assert [(p, n) for p in PURE for system, n in includes(p) if system
            and n not in PURE_HEADERS | set(PURE_BESIDE.get(p, ()))] == []
    found = {p: set(c) for p, c in calls(*IMPURE).items() if p in PURE}
    assert found.pop("checkerd/servers.c") <= {"malloc", "realloc", "free"}
    assert found == {}
    assert [(p, n) for p in CODE if SCHEMES.fullmatch(p)
            for _, n in includes(p) if n in WORLD] == []


# 2. Clock, exits, logging.

CLOCKS = ("clock_gettime", "clock_nanosleep", "gettimeofday", "time", "times",
          "ev_time", "ev_now", "ev_now_update", "timespec_get")
# Beside the checker: a reader judges the heartbeat's age, on both sides of the
# API; mc-shmdump shows ages; a log line without journald has a time; a client's
# wait that is made of several ends on time.
MAY_READ_THE_CLOCK = re.compile(
    r"checkerd/(checker\w*|log)\.c"
    r"|libmcshm/(reader|follow|snapshot|mc-shmdump|dump_show)\.c"
    r"|clients/python/src/pool_state\.c")


def test_only_the_checker_reads_the_clock():
    assert {p: c for p, c in calls(*CLOCKS).items()
            if not MAY_READ_THE_CLOCK.fullmatch(p)} == {}


def test_only_main_exits():
    exits = calls("exit", "_exit", "_Exit", "quick_exit", "abort", "err",
                  "errx", "verr", "verrx")
    assert set(exits) <= {"checkerd/main.c", "libmcshm/mc-shmdump.c"}


def test_only_the_upper_floor_logs():
    logs = calls("log_err", "log_warning", "log_notice", "log_info",
                 "log_debug", "syslog", "perror", "warn", "warnx")
    assert all(re.fullmatch(r"checkerd/(checker\w*|control\w*|main|log)\.c", p)
               for p in logs), logs


# 3. The configuration stops at main.

def test_conf_stops_at_main():
    roof = re.compile(r"checkerd/(conf\w*|main)\.[ch]")
    assert [p for p in users("conf.h") if not roof.fullmatch(p)] == []
    named = [p for p in CODE if re.search(r"\bstruct conf\b", code(p))]
    assert [p for p in named if not roof.fullmatch(p)] == []


# 5. What is believed.

# A rule is no belief.  Nor is what a file has of a server, on its way in or
# out.
NO_BELIEF = {("main.c", "{ .rise"), ("checker_setup.c", "s->verdict;"),
             ("publish_image.c", "{ .state"),
             ("publish_image.c", "e->verdict.state;")}


def beliefs():
    """[(file, what a verdict or a part of one becomes)], but for verdict.c"""
    becomes = re.compile(r"(?<!\w )\bverdict(?:\.\w+)?"
                         r"\s*(?:[-+|&^*/%]|<<|>>)?=(?!=)\s*([^;]*;?)")
    return [(p.split("/")[1], " ".join(to.split())) for p in CODE
            if p.startswith("checkerd/") and unit(p) != "verdict"
            for to in becomes.findall(code(p))]


def test_only_verdict_changes_a_belief():
    found = [(p, to) for p, to in beliefs()
             if not any(p == q and to.startswith(start)
                        for q, start in NO_BELIEF)]
    assert len(found) > 5
    assert [(p, to) for p, to in found
            if not re.match(r"verdict_(init|step|forget|unseen|blind|replace|"
                            r"rejoin|inherit)\(", to)] == []
    # Nor by the address of one.
    assert [p for p in CODE if p.startswith("checkerd/")
            and unit(p) != "verdict"
            and re.search(r"(?<!const )\bstruct verdict \*", code(p))] == []


def test_a_verdict_is_stepped_in_one_place():
    assert [p for p, to in beliefs() if to.startswith("verdict_step(")] == \
        ["checker_watch.c"]


# 7. What a client sees.

def test_only_publish_writes_what_clients_see():
    stores = calls("mcshm_store", "msync")
    assert stores and all(re.fullmatch(r"checkerd/publish\w*\.c", p)
                          for p in stores), stores
    assert [p for p in CODE if p.startswith("checkerd/")
            and "PROT_WRITE" in code(p)] == ["checkerd/publish_file.c"]
    for inside in ("publish_file.h", "publish_image.h"):
        assert {unit(p) for p in users(inside)} == {"publish"}


# 8. Sizes.

def functions(path):
    """[(name, lines inside the braces)]"""
    found, name, start = [], None, None
    lines = code(path).splitlines()
    for i, line in enumerate(lines):
        if line == "{":
            start = i
            head = " ".join(lines[max(0, i - 8):i])
            names = re.findall(r"\b([a-z_]\w*)\s*\(", head.split("}")[-1])
            name = names[0] if names else "?"
        elif line == "}" and start is not None:
            found.append((name, i - start - 1))
            start = None
    return found


def test_no_function_is_longer_than_a_screen():
    long = [(p, name, n) for p in CODE for name, n in functions(p)
            if n > 80 and name != "main"]
    assert long == []


def test_most_functions_are_short():
    lengths = [n for p in CODE for _, n in functions(p)]
    assert len(lengths) > 100
    assert statistics.median(lengths) <= 15


# 9. Tidiness.

TEXTS = [p for p in sources(".", ends=(
    ".c", ".h", ".py", ".pyi", ".toml", ".md", ".ini", ".in", ".map",
    ".service", ".sysusers", ".tmpfiles", ".1", ".3", ".5", ".8", "Makefile",
    "LICENSE", "/run", "/check", "/deps", "/layers"))
    # Files that are wrong on purpose are the tests' of conf.
    if not p.startswith((".git/", "build", "tests/conf/"))]
TEXTS += [p for p in ("tests/check", "tests/deps", "tests/layers", ".ci/run",
                      "tests/demo/run", "tests/bench/run", "tests/bench/storm",
                      "tests/bench/checker")
          if (ROOT / p).exists() and p not in TEXTS]


@pytest.mark.parametrize("what, pattern", [
    ("trailing white space", r"[ \t]+$"),
    ("left to do", r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b"),
    ("a path of some machine", r"(?<![\w.])/(wo" + r"rk|ho" + r"me|ro"
     + r"ot)/"),
    ("a carriage return", "\r"),
    ("a conflict", r"^(<<<<<<<|>>>>>>>)"),
])
def test_no_file_has(what, pattern):
    wanted = re.compile(pattern, re.M)
    found = []
    for path in TEXTS:
        content = (ROOT / path).read_bytes().decode()
        found += [f"{path}:{content.count(chr(10), 0, m.start()) + 1}"
                  for m in wanted.finditer(content)]
    assert found == []


def test_every_file_ends_with_a_line_end():
    assert [p for p in TEXTS
            if not (ROOT / p).read_bytes().endswith(b"\n")] == []


def test_every_source_says_what_it_is():
    """The first line of each comment: "name.c - what it is"."""
    wrong = [p for p in CODE
             if not re.match(r"/\*\n \* %s - \S" %
                             re.escape(p.rsplit("/", 1)[1]), text(p))]
    assert wrong == []


def test_lines_fit():
    """80 columns; a comment beside a declaration may stand out a little."""
    wrong = [f"{p}:{i}" for p in CODE
             for i, line in enumerate(text(p).splitlines(), 1)
             if len(line.expandtabs(8)) > 88]
    assert wrong == []
