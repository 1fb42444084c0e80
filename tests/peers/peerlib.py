"""What the tests of peers are made of.

Server      one of a list, as the ini has it
Keys        as many as wanted, always the same ones
Driver      a program that chooses servers when asked (request.h)
Question    a list and settings: the same for us and for a peer
"""
import array
import dataclasses
import os
import pathlib
import random
import select
import struct
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/peers"
BUILD = (ROOT / os.environ.get("BUILD", "build")).resolve()
PATIENCE = 120          # s for an answer
NOBODY = 0xffff

# For each scheme, with all of its hashes and lists together; in a file.
KEYS = int(os.environ.get("PEERS_KEYS", "10000"))
BLOCK = min(KEYS, 20000)


# Lists ---------------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Server:
    host: str
    port: int = 11211
    weight: int = 1
    name: str = "-"

    @property
    def ini(self):
        where = f"unix:{self.host}" if self.host[0] == "/" else \
            f"[{self.host}]:{self.port}" if ":" in self.host else \
            f"{self.host}:{self.port}"
        words = [where] if self.name == "-" else [self.name, where]
        if self.weight != 1:
            words.append(f"weight={self.weight}")
        return " ".join(words)


def plain(n, port=11211):
    return [Server(f"10.1.{i // 250}.{i % 250 + 1}", port) for i in range(n)]


def mixed(n, seed=0, unix=True, v6=True, names=False):
    """All the ways in which a server is written, by turns."""
    rng = random.Random(f"{n} {seed}")
    found = []
    for i in range(n):
        port = rng.choice((11211, 11211, 11212, 80, 40000 + i % 1000, 65535))
        kind = rng.randrange(6)
        if kind == 0 and v6:
            one = Server(f"fd00:{i:x}::{rng.randrange(1, 0xffff):x}", port)
        elif kind == 1 and unix:
            one = Server(f"/run/memcached/m{i}.sock", 0)
        elif kind == 2:
            one = Server(f"cache{i}.example.net", port)
        else:
            one = Server(f"10.{rng.randrange(2, 200)}.{i // 250}."
                         f"{i % 250 + 1}", port)
        if names and rng.randrange(3):
            one = dataclasses.replace(one, name=f"node-{i:03}")
        found.append(one)
    return found


def weighted(servers, seed=0, most=10):
    rng = random.Random(f"weights {len(servers)} {seed}")
    return [dataclasses.replace(s, weight=rng.randint(1, most))
            for s in servers]


def points(weights):
    """Points a server on a weighted ketama ring: floats of 32 bits, in the
    order in which libmemcached and twemproxy take them."""
    def f32(x):
        return struct.unpack("f", struct.pack("f", x))[0]

    total = f32(sum(weights))
    share = (f32(f32(w) / total) for w in weights)
    return [4 * int(f32(f32(f32(f32(s * 160) / 4) * len(weights)) + 1e-10))
            for s in share]


def downs(servers, seed=0):
    """Some of them down, at random: one, two, half, all but one.  Of one
    address all are."""
    rng = random.Random(f"downs {len(servers)} {seed}")
    where = [(s.host, s.port) for s in servers]
    every = sorted(set(where))
    for n in sorted({1, 2, len(every) // 2, len(every) - 1}):
        if 0 < n < len(every):
            dead = rng.sample(every, n)
            yield tuple(i for i, w in enumerate(where) if w in dead)


# Keys ----------------------------------------------------------------------

class Keys:
    """A sequence without end of one kind, in files of BLOCK keys.

    usual       short, ASCII, such as programs have
    protocol    what memcached's text protocol carries: 1 to 250 bytes, none
                of them a blank or a control character; some from 0x80 on
    text        the same, in UTF-8
    tagged      the same, full of braces and colons
    any         all bytes, up to 1000 of them, and the empty key
    """

    # For every question.  From page:29058 on: of 15 bits of CRC32 or FNV-1a,
    # as clients take them, nothing is left but 0, at once or at a later try.
    FIRST = [b"foo", b"bar", b"baz", b"user:42", b"session:abc", b"0", b"'",
             b"\\", b"'\"", "caf\u00e9".encode(), b"x" * 250, b"page:29058",
             b"page:40759", b"page:43869", b"page:8932", b"page:7225"]
    MORE = {
        "any": [b"", b"x" * 1000, bytes(range(256)), b"\0", b"\n"],
        "protocol": [bytes([*range(0x21, 0x7f), *range(0x80, 0x100)]),
                     b"\xff" * 250],
        "tagged": [b"{}", b"{}{a}", b"{a", b"a}", b"}{", b"}a{b}c", b"{{a}}",
                   b"{a}{b}", b":", b"::", b":a:", b"ab", b"a", b"xaybz"],
    }

    def __init__(self, kind, directory):
        self.kind, self.directory = kind, pathlib.Path(directory)
        self.first = [] if kind == "usual" else \
            self.FIRST + self.MORE.get(kind, [])
        self.blocks = {}

    def make(self, block):
        rng = random.Random(f"{self.kind} {block}")
        return [getattr(self, self.kind)(rng, rng.randrange(10))
                for _ in range(BLOCK)]

    def made(self, name, keys):
        """These and no others; drivers know them by this name."""
        special = Keys(name, self.directory)
        special.first, special.make = [], lambda block: keys
        return special

    @staticmethod
    def usual(rng, kind=0):
        return (b"user:%d", b"session:%x", b"v2/page/%d/body", b"%d",
                b"app.cache.%x.meta")[rng.randrange(5)] % rng.getrandbits(40)

    def protocol(self, rng, kind):
        if kind < 6:
            return self.usual(rng)
        n = rng.randint(1, 250) if kind == 6 else rng.randint(1, 24)
        return bytes(b if b > 0x20 and b != 0x7f else 0x21 + b % 0x5e
                     for b in rng.randbytes(n))

    def tagged(self, rng, kind):
        return bytes(rng.choice(b"{}{}::abcdef") for _ in
                     range(rng.randint(1, 16)))

    def text(self, rng, kind):
        if kind < 5:
            return self.usual(rng)
        n = rng.randint(1, 60) if kind == 5 else rng.randint(1, 12)
        most = (0x7e, 0xff, 0x7ff, 0xffff, 0x1ffff)[rng.randrange(5)]
        points = (rng.randint(0x21, most) for _ in range(n))
        return "".join(chr(p) for p in points
                       if not (0x7f <= p <= 0xa0 or 0xd800 <= p <= 0xdfff
                               or chr(p).isspace())).encode() or b"'"

    def any(self, rng, kind):
        if kind < 5:
            return self.usual(rng)
        return rng.randbytes(rng.randint(0, 1000 if kind == 5 else 40))

    def block(self, i):
        """The file, and the keys in it: the first ones, then this block's."""
        if i not in self.blocks:
            self.forget()       # one at a time: a million is much
            keys = self.first + self.make(i)
            path = self.directory / f"{self.kind}{i}"
            path.write_bytes(b"".join(struct.pack("<H", len(k)) + k
                                      for k in keys))
            self.blocks[i] = path, keys
        return self.blocks[i]

    def forget(self):
        for path, _ in self.blocks.values():
            path.unlink()
        self.blocks.clear()

    def pieces(self, start, count):
        """[(file, its keys that are meant, from)]; the first keys come
        always."""
        extra = len(self.first)
        while count > 0:
            at = start % BLOCK + len(self.first)
            n = min(count, BLOCK - start % BLOCK)
            path, keys = self.block(start // BLOCK)
            if extra:
                yield path, keys[:extra], 0
                extra = 0
            yield path, keys[at:at + n], at
            start, count = start + n, count - n


def shares(costs, total=None, least=50):
    """How many keys each one of a row of questions gets, where asking one key
    costs so much: all together total, the same time for each."""
    total = total or KEYS
    one = total / sum(1 / c for c in costs)
    return [max(least, round(one / c)) for c in costs]


# Who is asked --------------------------------------------------------------

class Driver:
    def __init__(self, name, command, directory):
        self.name, self.keys = name, None
        self.errors = open(directory / f"{name}.err", "w+")
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, cwd=directory)

    def send(self, lines):
        try:
            self.process.stdin.write("".join(f"{line}\n" for line in lines)
                                     .encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            self.fail("has gone")

    def ask(self, path, start, count, tries):
        lines = [f"keys {path}"] if path != self.keys else []
        self.keys = path
        self.send([*lines, f"ask {start} {count} {tries}"])

    def store(self, path, start, count):
        """Whether the client was told so, of each key."""
        lines = [f"keys {path}"] if path != self.keys else []
        self.keys = path
        self.send([*lines, f"store {start} {count}"])
        return [bool(n) for n in self.answer(count)]

    def answer(self, count):
        """That many numbers."""
        got, deadline = bytearray(), time.monotonic() + PATIENCE
        stdout = self.process.stdout.fileno()
        while len(got) < 2 * count:
            left = max(deadline - time.monotonic(), 0)
            if not select.select([stdout], [], [], left)[0]:
                self.fail(f"has not answered for {PATIENCE} s")
            came = os.read(stdout, 1 << 20)
            if not came:
                self.fail(f"ended with {self.process.wait(PATIENCE)}")
            got += came
        assert len(got) == 2 * count
        numbers = array.array("H", bytes(got))
        if sys.byteorder == "big":
            numbers.byteswap()
        return numbers

    def fail(self, what):
        self.errors.seek(0)
        pytest.fail(f"{self.name} {what}\n{self.errors.read()[-4000:]}",
                    pytrace=False)

    def close(self):
        """None is left: at the end of its stdin it has to end by itself."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


PYTHON = "/usr/bin/python3"
COMMANDS = {
    "ours": [BUILD / "tests/peers_ours"],
    "libmemcached": [BUILD / "tests/peers_libmemcached"],
    "python": [PYTHON, HERE / "peer_python.py"],
    "cache-memcached": ["perl", HERE / "peer_cache_memcached.pl"],
    "dalli": ["ruby", HERE / "peer_dalli.rb"],
    "php-memcache": ["php", "-d", "memory_limit=-1",
                     HERE / "peer_php_memcache.php"],
    "twemproxy": ["unshare", "--net", "--mount", PYTHON,
                  HERE / "peer_twemproxy.py"],
    "shelves": [PYTHON, HERE / "peer_shelves.py"],
}


class Drivers:
    """Each is started when it is asked for, and ended with the others."""

    def __init__(self, tmp_path_factory, before=()):
        self.running, self.before = {}, before
        self.directories = tmp_path_factory

    def get(self, name):
        if name not in self.running:
            command = COMMANDS[name]
            if self.before and command[0] == "unshare":
                command = ["unshare", "--mount", *command[3:]]
            self.running[name] = Driver(
                name, [*self.before, *command],
                self.directories.mktemp("peer"))
        return self.running[name]

    def close(self):
        for one in self.running.values():
            one.close()


# What is asked -------------------------------------------------------------

@dataclasses.dataclass
class Question:
    """ours, theirs: settings, {word: value}; value None: the word alone."""
    servers: list
    ours: dict
    theirs: dict
    down: tuple = ()

    def lines(self, settings):
        yield "new"
        for word, value in settings.items():
            yield f"set {word}" if value is None else f"set {word} {value}"
        for s in self.servers:
            yield f"server {s.host} {s.port} {s.weight} {s.name}"
        for i in self.down:
            yield f"down {i}"

    def canonical(self):
        """Servers that are one address are one; None: there are none."""
        first = {}
        for i, s in enumerate(self.servers):
            first.setdefault((s.host, s.port), i)
        if len(first) == len(self.servers):
            return None
        return [first[s.host, s.port] for s in self.servers]

    def __str__(self):
        shown = [f"{i}: {s.ini}" for i, s in enumerate(self.servers)]
        if len(shown) > 12:
            shown[6:-6] = ["..."]
        return (f"ours {self.ours}\ntheirs {self.theirs}\n"
                f"{len(self.servers)} servers: {'; '.join(shown)}\n"
                f"down: {list(self.down)}")


class Pair:
    """We and a peer, asked the same."""

    def __init__(self, ours, theirs):
        self.ours, self.theirs = ours, theirs

    def both(self, question, keys, start, count, tries=1):
        """Piece by piece: (keys, what we say, what they say)."""
        self.ours.send(question.lines(question.ours))
        self.theirs.send(question.lines(question.theirs))
        for path, piece, first in keys.pieces(start, count):
            n = len(piece)
            self.ours.ask(path, first, n, tries)
            self.theirs.ask(path, first, n, tries)
            yield piece, self.ours.answer(n * tries), \
                self.theirs.answer(n * tries)

    def compare(self, question, keys, start, count, tries=1, gives_up=False):
        """gives_up: they find nobody, or end at a server that is down, where
        we find somebody.  How many keys that was."""
        given_up = 0
        for piece, ours, theirs in self.both(question, keys, start, count,
                                             tries):
            same = question.canonical()
            if same:
                ours, theirs = ([same[s] if s != NOBODY else s for s in side]
                                for side in (ours, theirs))
            if ours == theirs:
                continue
            bad = [i for i in range(len(piece))
                   if ours[i * tries:(i + 1) * tries]
                   != theirs[i * tries:(i + 1) * tries]]
            if gives_up:
                beaten = [i for i in bad
                          if theirs[i] in (NOBODY, *question.down)
                          and ours[i] not in (NOBODY, *question.down)]
                given_up += len(beaten)
                bad = sorted(set(bad) - set(beaten))
            if bad:
                self.tell(question, piece, ours, theirs, tries, bad)
        return given_up

    def tell(self, question, keys, ours, theirs, tries, bad):
        def show(answers, i):
            return ", ".join("nobody" if s == NOBODY else str(s)
                             for s in answers[i * tries:(i + 1) * tries])

        lines = [f"{keys[i]!r}: ours {show(ours, i)}; "
                 f"theirs {show(theirs, i)}" for i in bad[:8]]
        pytest.fail(f"{self.theirs.name}: {len(bad)} of {len(keys)} keys go "
                    f"elsewhere\n{question}\n" + "\n".join(lines),
                    pytrace=False)


def ask_all(pair, keys, questions, costs=None, total=None, **more):
    """Each question its share of the keys.  What compare() said, summed."""
    start, given_up = 0, 0
    counts = shares(costs or [1] * len(questions), total)
    for question, count in zip(questions, counts):
        given_up += pair.compare(question, keys, start, count, **more)
        start += count
    return given_up
