"""Laws about the manual: it is whole, it is true, its programs work."""
import re
import subprocess

import pytest

from lawlib import BUILD, ROOT, SAN, code, compiler, run, text, wait_until
from test_law_library import declared

PAGES = {
    "mc-checkerd": "checkerd/mc-checkerd.8",
    "mc-checkerd.ini": "checkerd/mc-checkerd.ini.5",
    "mc-shmdump": "libmcshm/mc-shmdump.1",
    "libmcshm": "libmcshm/libmcshm.3",
    "mcshm": "libmcshm/mcshm.5",
}


def plain(roff):
    """What a reader of the page's source would type."""
    for escape, meant in ((r"\-", "-"), (r"\(aq", "'"), (r"\(dq", '"'),
                          (r"\&", ""), (r"\e", "\\")):
        roff = roff.replace(escape, meant)
    return roff


def displays(page):
    return [plain(d) for d in re.findall(
        r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text(page), re.M | re.S)]


@pytest.mark.parametrize("page", PAGES.values())
def test_page_has_no_lint(page):
    done = run("mandoc", "-T", "lint", "-W", "warning", ROOT / page, ok=False)
    assert (done.returncode, done.stdout) == (0, "")


# Every public function, and nothing else, has its lines.

def test_each_function_has_its_lines():
    page = text(PAGES["libmcshm"])
    synopsis = page.split(".Sh SYNOPSIS")[1].split(".Sh DESCRIPTION")[0]
    named = set(re.findall(r"^(?:\.Ft.*\n)\.F[no] (\w+)", synopsis, re.M))
    assert named == declared()
    assert set(re.findall(r"^\.Nm (\w+)", page.split(".Sh LIB")[0], re.M)) \
        == declared()
    described = page.split(".Sh DESCRIPTION")[1].split(".Sh EXAMPLES")[0]
    assert set(re.findall(r"^\.Fn (\w+)", described, re.M)) == declared()


def test_prototypes_are_those_of_the_header():
    def shape(types):
        return re.sub(r"\s*\*\s*", " *", re.sub(r"\s+", " ", types)).strip()

    header = {}
    for m in re.finditer(r"^(?!typedef)((?:\w+\s+)+\**)(mcshm_\w+)"
                         r"\((.*?)\);",
                         code("include/mcshm.h"), re.M | re.S):
        header[m.group(2)] = (shape(m.group(1)),
                              [shape(a) for a in m.group(3).split(",")])
    synopsis = text(PAGES["libmcshm"]).split(".Sh SYNOPSIS")[1]
    synopsis = synopsis.split(".Sh DESCRIPTION")[0]
    page = {}
    for m in re.finditer(r"^\.Ft (.*)\n\.F(?:n (\w+) (.*)|o (\w+)\n"
                         r"((?:\.Fa .*\n)*)\.Fc)", synopsis, re.M):
        arguments = re.findall(r'"([^"]*)"', m.group(3) or m.group(5))
        page[m.group(2) or m.group(4)] = (shape(m.group(1)),
                                          [shape(a) for a in arguments])
    assert page == header


def test_each_error_has_its_lines():
    enum = re.search(r"enum mcshm_error \{(.*?)\}", code("include/mcshm.h"),
                     re.S).group(1)
    names = set(re.findall(r"MCSHM_E\w+", enum))
    section = text(PAGES["libmcshm"]).split(".Sh ERRORS")[1]
    assert set(re.findall(r"^\.It Dv (MCSHM_\w+)", section, re.M)) == names


# The file's page: each field at its place, none left out.

STRUCTS = ("mcshm_header", "mcshm_roster", "mcshm_point", "mcshm_section",
           "mcshm_entry", "mcshm_address", "mcshm_report")

def fields():
    """Rows of the tables of fields: [offset, size, name, content]"""
    page = text(PAGES["mcshm"]).splitlines()
    rows = [line[4:].split(" Ta ") for line in page if line.startswith(".It ")]
    return [r for r in rows if len(r) == 4 and r[0].isdigit()
            and r[1].isdigit()]


def structs():
    """{struct: [field, ...]} of the format's header."""
    header = code("include/mcshm_format.h")
    found = {}
    for m in re.finditer(r"^struct (\w+) \{(.*?)^\}", header, re.M | re.S):
        fields = []
        for declaration in m.group(2).split(";")[:-1]:
            names = re.sub(r"\[[^\]]*\]", "", declaration).split(",")
            fields += [re.findall(r"\w+", n)[-1] for n in names]
        found[m.group(1)] = fields
    return found


def test_offsets_in_the_page_are_those_of_the_file(tmp_path):
    rows = fields()
    names = structs()
    assert set(STRUCTS) == set(names)
    expected = [(s, f) for s in STRUCTS for f in names[s]]
    assert [row[2] for row in rows] == [f for _, f in expected]
    source = tmp_path / "offsets.c"
    source.write_text(
        '#include <stdio.h>\n#include "mcshm_format.h"\nint main(void) {\n' +
        "".join(f'printf("%zu %zu {s}.{f}\\n", offsetof(struct {s}, {f}), '
                f"sizeof(((struct {s} *)0)->{f}));\n" for s, f in expected) +
        "return 0; }\n")
    run(*compiler(), "-std=c11", "-D_GNU_SOURCE", "-I", ROOT / "include", "-o",
        tmp_path / "offsets", source)
    real = run(tmp_path / "offsets").stdout.splitlines()
    page = [f"{row[0]} {row[1]} {s}.{f}"
            for row, (s, f) in zip(rows, expected)]
    assert page == real


def test_reasons_in_the_page_are_those_of_the_file():
    header = text("include/mcshm_format.h").replace("\\\n", " ")
    reasons = re.findall(r'X\((\d+), \w+, "([^"]+)", (\w+),\s*"([^"]+)"\)',
                         header)
    assert len(reasons) >= 14
    rows = re.findall(r"^\.It (\d+) Ta ([a-z][\w-]*) Ta (good|proof|silence|local)"
                      r" Ta (.*)$", text(PAGES["mcshm"]), re.M)
    assert rows == [(n, name, c.lower(), t) for n, name, c, t in reasons]


# Each option of a program's help is in its page, and the other way round.

@pytest.mark.parametrize("program", ["mc-checkerd", "mc-shmdump"])
def test_options_are_in_the_page(program):
    told = run(BUILD / program, "--help").stdout
    page = plain(text(PAGES[program]))
    long = set(re.findall(r"(?<![\w-])--([a-z][\w-]+)", told))
    assert {"help", "version"} <= long
    described = set(re.findall(r"(?:Fl Fl |--)([a-z][\w-]+)", page))
    assert long == described
    short = set(re.findall(r"(?<![\w-])-([A-Za-z])\b", told))
    assert short <= set(re.findall(r"Fl ([A-Za-z])\b", page))


# Examples are programs, and they work.

def programs():
    readme = re.findall(r"```c\n(.*?)```", text("README.md"), re.S)
    found = [("libmcshm.3", s) for s in
             (displays(PAGES["libmcshm"])) if "\nmain(" in s]
    found += [("README.md", s) for s in readme if "\nmain(" in s]
    return found


def test_all_of_them_are_found():
    assert [where for where, _ in programs()] == [
        "libmcshm.3", "libmcshm.3", "libmcshm.3", "README.md"]


def build(tmp_path, source):
    (tmp_path / "example.c").write_text(source)
    sanitizer = [f"-fsanitize={SAN}"] if SAN else []
    run(*compiler(), "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra",
        "-Werror", *sanitizer, "-I", ROOT / "include", "-o",
        tmp_path / "example", tmp_path / "example.c", BUILD / "libmcshm.a")
    return tmp_path / "example"


def test_the_first_example_says_where_a_key_lives(tmp_path, pool):
    where = build(tmp_path, programs()[0][1])
    env = {"MCSHM_DIR": str(pool.directory)}
    out = run(where, "web", "user:42", env=env).stdout
    assert re.fullmatch(r"user:42: cache[012]\n", out)
    done = run(where, "none", "user:42", env=env, ok=False)
    assert done.returncode == 1 and done.stderr


def test_the_second_example_shows_all_servers(tmp_path, pool):
    """It prints at once; it ends when nothing has happened for 10 s, or we
    do not wait for that."""
    source = programs()[1][1].replace("10000000000", "300000000")
    show = build(tmp_path, source)
    out = run(show, "web", env={"MCSHM_DIR": str(pool.directory)}).stdout
    assert re.match(r"3 of 3 usable\ncache0 +\w+\ncache1 +\w+\ncache2 +\w+\n",
                    out)


def talk(port, text):
    import socket
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall(text.encode())
        return s.recv(1000).decode()


def test_the_third_example_copies_what_the_substitute_has(tmp_path, pool):
    """A server dies, another one stands in, it comes back empty: the first get
    is answered by the substitute, and the key is at home again."""
    env = {"MCSHM_DIR": str(pool.directory)}
    get = build(tmp_path, programs()[2][1])
    (tmp_path / "where").mkdir()
    where = build(tmp_path / "where", programs()[0][1])

    def place(key="user:42"):
        return run(where, "web", key, env=env).stdout.split(": ")[1]

    home = int(place()[5])
    value = "set user:42 0 0 5\r\nhello\r\n"
    assert "not there" in run(get, "web", "user:42", env=env).stdout
    assert talk(pool.ports[home], value) == "STORED\r\n"
    assert "hello" in run(get, "web", "user:42", env=env).stdout
    pool.kill(home)
    assert "not there" in run(get, "web", "user:42", env=env).stdout
    wait_until(lambda: "away" in place(), "it is away from home")
    assert talk(pool.ports[int(place()[5])], value) == "STORED\r\n"
    assert "hello" in run(get, "web", "user:42", env=env).stdout
    pool.restart(home)
    wait_until(lambda: "away" not in place(), "it is home again", 20)
    assert talk(pool.ports[home], "get user:42\r\n") == "END\r\n"
    assert "hello" in run(get, "web", "user:42", env=env).stdout
    assert "hello" in talk(pool.ports[home], "get user:42\r\n")


def test_the_readme_client_gets_a_value(tmp_path, pool):
    import socket
    client = build(tmp_path, programs()[3][1])
    for port in pool.ports:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(b"set user:42 0 0 5\r\nhello\r\n")
            assert s.recv(100) == b"STORED\r\n"
    env = {"MCSHM_DIR": str(pool.directory)}
    out = run(client, "web", "user:42", "user:43", env=env).stdout
    assert out == "user:42: hello\nuser:43: a miss\n"


# A reader written from mcshm(5) alone, beside the library.

LIBRARY_PICKS = r"""
#define XXH_INLINE_ALL
#include <xxhash.h>
#include <stdio.h>
#include <string.h>
#include "mcshm.h"

int main(int n, char **v)
{
	struct mcshm_choice c;
	struct mcshm *m;

	if (mcshm_open(&m, v[1], 0) != 0)
		return 1;
	for (int i = 2; i < n; i++) {
		int err = mcshm_pick(m, v[i], strlen(v[i]), &c);

		printf("%llu %d %u\n",
		    (unsigned long long)XXH3_64bits(v[i], strlen(v[i])),
		    err, err == 0 ? c.slot : 0);
	}
	mcshm_close(m);
	return 0;
}
"""
MASK = 2**64 - 1
ENONE, EHELD = -1, -10


def mix(z):
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & MASK
    z = (z ^ z >> 27) * 0x94d049bb133111eb & MASK
    return z ^ z >> 31


def log2_of(u):
    """-log2(u / 2^64), as the page takes it in integers."""
    zeros = 64 - (u | 1).bit_length()
    m = (u | 1) << zeros
    log2 = 63 - zeros << 32
    for bit in range(31, -1, -1):
        m = m * m >> 64
        if m >= 2**63:
            log2 |= 1 << bit
        else:
            m <<= 1
    return (64 << 32) - log2


def one_at_a_time(key):
    h = 0
    for byte in key:
        h = h + (byte - 256 if byte > 127 else byte) & 0xffffffff
        h = h + (h << 10) & 0xffffffff
        h ^= h >> 6
    h = h + (h << 3) & 0xffffffff
    h ^= h >> 11
    return h + (h << 15) & 0xffffffff


class Page:
    """A pool file, by the tables of the page."""

    def __init__(self, path, stale):
        self.data = path.read_bytes()
        names, rows = structs(), iter(fields())
        self.at = {(s, name): tuple(map(int, next(rows)[:2]))
                   for s in STRUCTS for name in names[s]}
        active = self.header("generation") & 1
        at = self.at["mcshm_header", "section_off"][0] + 8 * active
        self.section = self.number(at, 8)
        usable, held, ready = (self.bitmap(i) for i in range(3))
        self.usable = ready if stale else usable
        self.held = set() if stale else held
        at, size = self.at["mcshm_section", "ready" if stale else "usable"]
        self.count = self.number(self.section + at, size)
        self.tails = 0

    def number(self, at, size):
        return int.from_bytes(self.data[at:at + size], "little")

    def header(self, name):
        return self.number(*self.at["mcshm_header", name])

    def roster(self, slot, name):
        at, size = self.at["mcshm_roster", name]
        return self.number(self.header("roster_off") + at +
                           slot * self.header("roster_stride"), size)

    def bitmap(self, i):
        words = self.header("words")
        bits = self.number(self.section + self.header("bitmap_off") +
                           8 * words * i, 8 * words)
        return {s for s in range(self.header("servers")) if bits >> s & 1}

    def bucket(self, i):
        return self.number(self.header("buckets_off") + 2 * i, 2)

    def judge(self, slot):
        return (0, slot) if slot in self.usable else \
            (EHELD, 0) if slot in self.held else None

    def tail(self, h):
        self.tails += 1
        best = None
        for slot in sorted(self.usable | self.held):
            u = mix(mix(h) ^ self.roster(slot, "ident_hash"))
            mine = (log2_of(u), self.roster(slot, "weight"), u, slot)
            # Smaller by cross-multiplying; else the larger u.
            if best is None or (mine[0] * best[1], -mine[2]) < \
                    (best[0] * mine[1], -best[2]):
                best = mine
        return best[3]

    def pick(self, key, xxh3):
        if self.count == 0:
            return ENONE, 0
        buckets = self.header("buckets")
        modula = self.header("scheme") == 2
        h = one_at_a_time(key) if modula else xxh3
        slots = [self.bucket(h % buckets if modula else h * buckets >> 64)]
        slots += [self.bucket(mix(h + t * 0x9e3779b97f4a7c15 & MASK) *
                              buckets >> 64) for t in range(1, 33)]
        for slot in slots:
            if answer := self.judge(slot):
                return answer
        return self.judge(self.tail(h))


@pytest.fixture(params=["maglev", "libmemcached-modula"])
def mkpool(tmp_path, request):
    """A pool of 64 that obeys tests/mkpool's commands."""
    path = tmp_path / "web.mcshm"
    with subprocess.Popen([BUILD / "tests/mkpool", path, request.param, "64"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as process:
        def obey(*lines):
            for line in lines:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                assert process.stdout.readline() == "ok\n", line

        assert process.stdout.readline() == "ready\n"
        yield path, obey
        process.stdin.close()


HALF = [f"set {i} {2 if i % 10 == 1 else 3} 0" for i in range(0, 64)
        if i % 2 or i < 9]


def test_the_format_page_tells_how_to_choose(tmp_path, mkpool):
    """At home, away from it, at the tail's end, held, none, and stale."""
    path, obey = mkpool
    pick = build(tmp_path, LIBRARY_PICKS)
    keys = [f"key:{i}" for i in range(300)] + ["gr\u00fcn", "\u20ac" * 50]

    def compare(*lines, stale=False):
        """What the library answered, and how often at the tail's end."""
        obey(*lines, "publish", f"beat {40 if stale else 0}")
        page = Page(path, stale)
        found = []
        for key, line in zip(keys, run(pick, path, *keys).stdout.split("\n")):
            h, err, slot = map(int, line.split())
            assert page.pick(key.encode(), h) == (err, slot), (key, lines)
            found.append((err, slot))
        return found, page.tails

    home, _ = compare()
    assert {err for err, _ in home} == {0}
    away, _ = compare(*HALF)
    assert {err for err, _ in away} == {0, EHELD} and away != home
    _, tails = compare("all 3 0", "set 17 1 0", "set 40 2 0", "set 41 1 0")
    assert tails > 20
    assert set(compare("all 3 0", "set 5 2 0")[0]) == {(ENONE, 0)}
    # Stale: only the operator counts.
    assert compare("all 3 0", stale=True)[0] == home
    out, _ = compare("all 2 0", *(f"set {i} 1 {1 + i % 2}"
                                  for i in range(0, 64, 3)), stale=True)
    assert out != home and {err for err, _ in out} == {0}
    assert not {slot for _, slot in out} & set(range(0, 64, 3))
    assert set(compare("all 1 2", stale=True)[0]) == {(ENONE, 0)}
