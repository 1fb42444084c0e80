"""rc11 - every execution of the file protocol that the C11 memory model allows.

RC11 without load buffering, as views: each location has a list of messages
(value, view); a thread knows for each location the oldest message that it may
still read.  An acquire load takes over the view of what it reads, an acquire
fence those of all reads before it; a release store gives away what the thread
knows, a relaxed one what it knew at its last release fence.  Exact here: no
thread reads from one whose stores depend on its own, so the writer runs first,
to each of its possible ends, and then a reader chooses what it reads in all
possible ways.  (seq_cst is taken for acquire and release, which is weaker.)

Who dies leaves its stores in place; the next daemon reads the newest message of
each location.  It also knows what the dead one knew, for the kernel took the
lock from the one and gave it to the other; but the first runs do without that,
to show that what is published needs no such help.

A replaced file appears under a reader by a switch for each word of its own,
which can happen at any time after the exchange; what is read at one word says
nothing about the switches of others, but by the same acquire rules.  That is
weaker than any machine's page tables.

    rc11.py [--full] [--only-source] [--source DIR]
"""
import argparse
import collections
import concurrent.futures
import copy
import itertools
import pathlib
import re
import sys
import time

from mutants import CACHE_MUTANTS, DUMP_MUTANTS, MUTANTS
from source import NotUnderstood, Protocol, acquires, releases

MASK = (1 << 64) - 1
FILES = 4				# that daemons can make; 0 is none yet
FIRST = 6				# where the first one counts from: even
WORDS = ("generation", "fixed", "first0", "second0", "first1", "second1")
CACHE = ("native", "generation", "usable_at", "roster", "place", "filling")


def numbers():
    """A number for each location: those of files, switches, the cache."""
    names = [(f, w) for f in range(1, FILES + 1) for w in WORDS]
    names += [("switch", w) for w in WORDS] + [("cache", c) for c in CACHE]
    return {name: i for i, name in enumerate(names)}


LOC = numbers()
NOTHING = (0,) * len(LOC)


def join(a, b):
    return a if a == b else tuple(map(max, a, b))


def with_time(view, loc, at):
    return view[:loc] + (at,) + view[loc + 1:]


def content(n):
    """What publish n has in its two words; neighbours share the second."""
    return n + 1, (n >> 2) + 1


def compiled(text, cache={}):
    if text not in cache:
        cache[text] = compile(text, text, "eval")
    return cache[text]


# The writer --------------------------------------------------------------

class Killed(Exception):
    pass


class World:
    """The files, and what was published in truth."""

    def __init__(self, protocol, first):
        self.p = protocol
        self.memory = {loc: [(0, NOTHING)] for loc in range(len(LOC))}
        self.truth = collections.defaultdict(set)
        self.files = self.path = self.tmp = 0
        self.publishes = 0
        self.linked = set()		# was at the path once
        self.heir = NOTHING		# what the dead one knew
        self.new_file(first)
        self.link()

    def new_file(self, generation):
        """Filled before anybody can find it: its first messages."""
        self.files += 1
        self.publishes += 1
        words = {"generation": generation, "fixed": self.files}
        words["first0"], words["second0"] = content(self.publishes)
        for word, v in words.items():
            self.memory[LOC[self.files, word]] = [(v, NOTHING)]
        self.made = generation, self.state(self.files)
        self.tmp = self.files

    def copy(self):
        w = copy.copy(self)
        w.memory = {loc: list(m) for loc, m in self.memory.items()}
        w.truth = collections.defaultdict(
            set, {g: set(v) for g, v in self.truth.items()})
        w.linked = set(self.linked)
        return w

    def state(self, file):
        return (file, *content(self.publishes))

    def link(self):
        """The exchange: from now on, readers may find it under their feet."""
        self.path, self.tmp = self.tmp, self.path
        self.linked.add(self.path)
        self.publish(*self.made)
        view = list(NOTHING)
        for w in WORDS:
            view[LOC["switch", w]] = len(self.memory[LOC["switch", w]])
        for w in WORDS:
            self.memory[LOC["switch", w]].append((self.path, tuple(view)))

    def publish(self, generation, state):
        self.truth[generation & ~self.p.retired].add(state)

    def last(self, file, word):
        return self.memory[LOC[file, word]][-1][0]


class Daemon:
    """One life of the daemon: `left` accesses long, or to the script's end."""

    def __init__(self, world, left):
        self.w, self.p, self.left = world, world.p, left
        self.view = self.acquired = self.released = world.heir

    def tick(self):
        if self.left == 0:
            raise Killed
        self.left -= 1

    def load(self, loc, order):
        self.tick()
        value, view = self.w.memory[loc][-1]
        self.view = with_time(self.view, loc, len(self.w.memory[loc]) - 1)
        self.acquired = join(join(self.acquired, self.view), view)
        if acquires(order):
            self.view = join(self.view, view)
        return value

    def store(self, loc, value, order):
        self.tick()
        at = len(self.w.memory[loc])
        self.view = with_time(self.view, loc, at)
        self.acquired = join(self.acquired, self.view)
        view = self.view if releases(order) else \
            with_time(self.released, loc, at)
        self.w.memory[loc].append((value & MASK, view))

    def fence(self, order):
        if acquires(order):
            self.view = self.acquired
        if releases(order):
            self.released = self.view

    def run(self, ops, file, **names):
        """A function of the header on the generation of a file."""
        loc = LOC[file, "generation"]
        names["RETIRED"] = self.p.retired
        for op in ops:
            value = eval(compiled(op.value), {}, names) if op.value else None
            if op.kind == "load":
                names[op.dst] = self.load(loc, op.order)
            elif op.kind == "store":
                self.store(loc, value, op.order)
            elif op.kind == "fence":
                self.fence(op.order)
            elif op.kind == "let":
                names[op.dst] = value
            elif op.kind == "return" or value:
                return value
        return None

    def publish(self):
        """file_publish()"""
        w, g = self.w, None
        w.publishes += 1
        for step in self.p.publish:
            if step == "mcshm_write_begin":
                g = self.run(self.p.begin, w.path)
            elif step == "fill_section":
                base = g if g is not None else w.last(w.path, "generation")
                self.fill(eval(compiled(self.p.which), {}, {"g": base}))
            else:
                base = g if g is not None else w.last(w.path, "generation")
                self.run(self.p.flip, w.path, g=base)
                w.publish(w.last(w.path, "generation"), w.state(w.path))

    def fill(self, section):
        new = dict(zip(("first", "second"), content(self.w.publishes)))
        for word in self.p.fill:
            if word == "number":
                continue
            loc = LOC[self.w.path, f"{word}{section}"]
            if self.load(loc, self.p.load) != new[word]:
                self.store(loc, new[word], self.p.store)

    def exchange(self):
        """take_over(), with the generation that exchange() gives it"""
        w, old = self.w, self.w.path
        g = self.load(LOC[old, "generation"], self.p.load)
        g = self.run(self.p.after, old, g=g) & MASK
        g = eval(compiled(self.p.seed), {},
                 {"generation": g, "RETIRED": self.p.retired})
        for step in self.p.exchange:
            if step == "file_seed":
                w.new_file(g if self.p.counts_on else FIRST)
            elif step == "file_link":
                self.tick()
                w.link()
            elif step == "file_retire":
                self.retire(old)
            else:
                self.tick()
                w.tmp = 0

    def retire(self, file):
        w, before = self.w, self.w.last(file, "generation")
        self.run(self.p.retire, file)
        for state in set(w.truth[before & ~self.p.retired]):
            w.publish(w.last(file, "generation"), state)

    def begin(self):
        """What a starting daemon does with what a dead one left."""
        if self.w.tmp:
            if self.w.tmp in self.w.linked:
                self.retire(self.w.tmp)
            self.tick()
            self.w.tmp = 0


def live(world, script, left=-1):
    """True if it was killed after `left` accesses."""
    d = Daemon(world, left)
    try:
        d.begin()
        for deed in script:
            d.publish() if deed == "P" else d.exchange()
    except Killed:
        return True
    finally:
        if world.p.lock_tells:
            world.heir = d.view
    return False


def deaths(world, scripts):
    """All worlds that daemons, one after the other, can leave: each but the
    last one killed after each of its accesses, or ending by itself."""
    if not scripts:
        yield world
        return
    last = len(scripts) == 1
    for left in [-1] if last else itertools.count():
        w = world.copy()
        killed = live(w, scripts[0], left)
        yield from deaths(w, scripts[1:])
        if not killed:
            return


# Threads that choose what they read ---------------------------------------

Step = collections.namedtuple("Step", "kind a b c d", defaults=(None,) * 4)


def expression(text):
    """Over the registers, r."""
    text = re.sub(r"\b(?!RETIRED\b)([A-Za-z]\w*)", r'r["\1"]', text)
    return text


class Program:
    """Steps, assembled: registers by name, skips as step numbers."""

    def __init__(self, protocol):
        self.p, self.steps = protocol, []

    def add(self, kind, *args):
        self.steps.append(Step(kind, *args))

    def header(self, ops, into):
        """A function of the header on the generation of the mapped file."""
        for op in ops:
            if op.kind == "load":
                self.add("map", op.dst, "generation", op.order)
            elif op.kind == "fence":
                self.add("fence", op.order)
            else:
                name = into if op.kind == "return" else op.dst
                self.add("let", name, op.value)

    def read(self, steps, last=False):
        """One try to read strictly.  Its end is where all fails lead."""
        first = len(self.steps)
        for s in steps:
            if s == "begin":
                self.header(self.p.read_begin, "g")
            elif s == "nonzero":
                self.add("need", "g != 0")
            elif s == "ok":
                self.header(self.p.read_ok, "ok")
                self.add("need", "ok")
            elif s == "fixed":
                self.add("map", "fixed", "fixed", self.p.load)
            else:
                self.add("map", s, s, self.p.load, "g & 1")
        return first

    def close(self, first):
        """Fails since `first` lead here."""
        for i in range(first, len(self.steps)):
            if self.steps[i].kind == "need" and self.steps[i].b is None:
                self.steps[i] = self.steps[i]._replace(b=len(self.steps))


def reader(protocol, name, tries):
    """A thread that reads as this function of the library does, tries times."""
    prog = Program(protocol)
    for _ in range(tries):
        first = prog.read(protocol.readers[name])
        prog.add("accept")
        prog.close(first)
        prog.add("forget")
    return prog.steps


def filler(protocol):
    """A thread that reads strictly, and then fills the cache of pick.c."""
    p, prog = protocol, Program(protocol)
    prog.read(p.readers["answer_strictly"])
    for what, order in p.cache_fill:
        if what == "met":
            prog.add("cache", "met", "generation", p.cache_orders["LOAD"])
            prog.add("need", "met != g")
        elif what == "lock":
            locked = len(prog.steps)
            prog.add("lock", "filling", order)
        elif what == "ok":
            prog.header(p.read_ok, "ok")
            prog.add("need", "ok")
        elif what == "fence":
            prog.add("fence", order)
        elif what == "clear":
            cache_clear(p, prog)
        elif what == "unlock":
            prog.close(locked)
            prog.add("put", "filling", "0", order)
        else:
            cache_store(p, prog)
    prog.close(0)
    return prog.steps


def cache_store(p, prog):
    value = {"usable_at": "g & 1", "roster": "fixed", "place": "g & 1"}
    for op in p.cache_store:
        if op.kind == "fence":
            prog.add("fence", op.order)
        else:
            v = value.get(op.dst) or ("0" if op.value == "0" else "g")
            prog.add("put", op.dst, v, op.order)


def cache_clear(p, prog):
    """Or not: some server may be marked."""
    prog.add("maybe", len(p.cache_clear))
    for op in p.cache_clear:
        prog.add("put", op.dst, "0", op.order)


def forgetter(protocol):
    """A thread that marks a server: pick_forget(), whoever fills the cache."""
    prog = Program(protocol)
    cache_clear(protocol, prog)
    return prog.steps


def picker(protocol, guard, way, tries):
    """A thread that picks by the cache: pick_slot(), pick_chain()."""
    p, prog = protocol, Program(protocol)
    for _ in range(tries):
        first = len(prog.steps)
        prog.header(p.read_begin, "g")
        prog.add("cache", "met", guard, p.cached)
        prog.add("need", "(met == g) & (g != 0)")
        for what in p.cache_read[guard, way]:
            if what == "ok":
                prog.header(p.read_ok, "ok")
                prog.add("need", "ok")
            elif what == "file":
                prog.add("map", "first", "first", p.load, "place")
            else:
                into = "fixed" if what == "roster" else what
                prog.add("cache", into, what, p.cache_orders["LOAD"])
                if what == "usable_at":
                    prog.add("map", "first", "first", p.load, what)
        prog.add("accept")
        prog.close(first)
        prog.add("forget")
    return prog.steps


def dumper(protocol):
    """A thread that copies the active section as mc-shmdump does, from a file
    that it has opened."""
    p, prog = protocol, Program(protocol)
    prog.add("map", "opened", "generation", "acquire")
    prog.add("need", "opened != 0")
    for s in p.dump:
        if s == "look":
            prog.add("map", "g", "generation", "relaxed")
        elif s == "again":
            prog.add("map", "again", "generation", "relaxed")
            prog.add("need", "again == g")
        elif s in ("first", "second"):
            prog.add("map", s, s, "relaxed", "g & 1")
        else:
            prog.add("fence", s.order)
    prog.add("accept")
    prog.close(0)
    return prog.steps


# One state of the search: which thread is at which step, with which registers
# and views; the cache's messages, which are the only ones still to come; and
# the count of what was accepted last.
State = collections.namedtuple(
    "State", "thread pc regs view acquired released cache last")
CACHE0 = LOC["cache", CACHE[0]]


class Torn(Exception):
    """An accepted read that is no published state, or an older one."""


class Search:
    """All executions of some threads, one after the other, in one world."""

    def __init__(self, world, threads):
        self.w, self.threads = world, threads
        self.names = {"RETIRED": world.p.retired}
        self.seen, self.accepted = set(), set()

    def run(self):
        empty = tuple(((0, NOTHING),) for _ in CACHE)
        todo = [State(0, 0, (), NOTHING, NOTHING, NOTHING, empty, 0)]
        while todo:
            s = todo.pop()
            for following in self.follow(s):
                if following not in self.seen:
                    self.seen.add(following)
                    todo.append(following)

    def follow(self, s):
        steps = self.threads[s.thread]
        if s.pc < len(steps):
            return getattr(self, steps[s.pc].kind)(s, steps[s.pc])
        if s.thread + 1 < len(self.threads):
            return [State(s.thread + 1, 0, (), NOTHING, NOTHING, NOTHING,
                          s.cache, 0)]
        return []

    def value(self, s, text):
        names = {**dict(s.regs), **self.names}
        return int(eval(compiled(text), {}, names)) & MASK

    def set(self, s, name, value):
        regs = dict(s.regs)
        regs[name] = value
        return s._replace(pc=s.pc + 1, regs=tuple(sorted(regs.items())))

    # Steps: each gives the states that can come of it.

    def let(self, s, step):
        return [self.set(s, step.a, self.value(s, step.b))]

    def need(self, s, step):
        good = self.value(s, step.a)
        return [s._replace(pc=s.pc + 1 if good else step.b)]

    def maybe(self, s, step):
        """The next ones, or what is behind them."""
        return [s._replace(pc=s.pc + 1), s._replace(pc=s.pc + 1 + step.a)]

    def forget(self, s, step):
        return [s._replace(pc=s.pc + 1, regs=())]

    def fence(self, s, step):
        view = s.acquired if acquires(step.a) else s.view
        released = view if releases(step.a) else s.released
        return [s._replace(pc=s.pc + 1, view=view, released=released)]

    def map(self, s, step):
        """A load from what is mapped: which file, then which message."""
        word = step.b if step.d is None else f"{step.b}{self.value(s, step.d)}"
        for file, t in self.load(s, LOC["switch", word], step.c):
            if file == 0:
                yield self.set(t, step.a, 0)
                continue
            for value, u in self.load(t, LOC[file, word], step.c):
                yield self.set(u, step.a, value)

    def cache(self, s, step):
        for value, t in self.load(s, LOC["cache", step.b], step.c):
            yield self.set(t, step.a, value)

    def messages(self, s, loc):
        return s.cache[loc - CACHE0] if loc >= CACHE0 else self.w.memory[loc]

    def load(self, s, loc, order):
        messages = self.messages(s, loc)
        for at in range(s.view[loc], len(messages)):
            value, given = messages[at]
            view = with_time(s.view, loc, at)
            acquired = join(join(s.acquired, view), given)
            if acquires(order):
                view = join(view, given)
            yield value, s._replace(view=view, acquired=acquired)

    def put(self, s, step):
        return [self.stored(s, step.a, self.value(s, step.b), step.c)]

    def stored(self, s, word, value, order):
        loc = LOC["cache", word]
        at = len(self.messages(s, loc))
        view = with_time(s.view, loc, at)
        given = view if releases(order) else with_time(s.released, loc, at)
        i = loc - CACHE0
        messages = s.cache[i] + ((value, given),)
        return s._replace(pc=s.pc + 1, view=view,
                          acquired=join(s.acquired, view),
                          cache=s.cache[:i] + (messages,) + s.cache[i + 1:])

    def lock(self, s, step):
        """atomic_exchange() finds 0: the last one has unlocked."""
        *_, (value, t) = self.load(s, LOC["cache", step.a], step.b)
        assert value == 0 or s.thread == 0
        return [self.stored(t, step.a, 1, step.b)]

    def accept(self, s, step):
        r = dict(s.regs)
        count = r["g"] & ~self.w.p.retired
        got = tuple(r.get(n) for n in ("fixed", "first", "second"))
        if not any(all(x is None or x == y for x, y in zip(got, true))
                   for true in self.w.truth.get(count, ())):
            raise Torn(f"generation {self.say(r['g'])} read as {got}, "
                       f"published {sorted(self.w.truth.get(count, ()))}")
        if count < s.last:
            raise Torn(f"generation {self.say(r['g'])} after {s.last}")
        self.accepted.add(r["g"])
        return [s._replace(pc=s.pc + 1, last=count)]

    def say(self, g):
        return f"{g & ~self.w.p.retired}" + "R" * bool(g & self.w.p.retired)


# What is run ----------------------------------------------------------------

def worlds(protocol, scripts):
    """Each different one, once."""
    seen = set()
    for w in deaths(World(protocol, FIRST), scripts):
        key = tuple(tuple(m) for m in w.memory.values())
        if key not in seen:
            seen.add(key)
            yield w


def check(protocol, scripts, *threads):
    """All threads in all worlds: how many worlds, states, generations read."""
    n = states = 0
    read = set()
    for w in worlds(protocol, scripts):
        search = Search(w, threads)
        search.run()
        there = {g for f in w.linked
                 for g, _ in w.memory[LOC[f, "generation"]]}
        if len(threads) == 1 and search.accepted != there:
            raise Torn(f"never read: {sorted(there - search.accepted)}")
        n += 1
        states += len(search.seen)
        read |= search.accepted
    return n, states, read


PLAIN = ["PPP", "PP"]			# killed anywhere, replaced
CHANGE = ["PXP", "P"]			# the same with an exchange in it
# Two are killed.
LONG, THREE, CHANGES = ["PPXPP", "PX", "PP"], ["PPPP", "PPP", "PP"], \
    ["PXP", "PX", "PX"]


def helpless(p):
    """The next daemon learns nothing by getting the lock."""
    p = copy.copy(p)
    p.lock_tells = False
    return p


def runs(p, full):
    """(what, scripts, threads)"""
    for name in p.readers:
        yield (f"{name}, killed writers, no help from the lock",
               helpless(p), PLAIN,
               [reader(p, name, 2)])
        yield f"{name}, replaced files", p, CHANGE, [reader(p, name, 2)]
        if full:
            yield f"{name}, three daemons", p, LONG, [reader(p, name, 3)]
            yield (f"{name}, three daemons, no help from the lock",
                   helpless(p), THREE, [reader(p, name, 3)])
            yield (f"{name}, files replaced by each of three", p, CHANGES,
                   [reader(p, name, 2)])
    yield ("mc-shmdump, killed writers, no help from the lock", helpless(p),
           THREE if full else PLAIN, [dumper(p)])
    for guard, way in p.cache_read:
        what = f"by the cache ({guard}, {way})"
        for scripts in [CHANGE, PLAIN] if full else [["PXP"]]:
            yield (f"pick {what}, filled twice", p, scripts,
                   [filler(p), filler(p), picker(p, guard, way, 1)])
        if full or (guard, way) == ("generation", "home"):
            yield (f"pick {what}, filled and forgotten", p, ["PXP"],
                   [filler(p), forgetter(p), filler(p),
                    picker(p, guard, way, 1)])
        if full:
            yield (f"two picks {what}", p, ["PXP"],
                   [filler(p), filler(p), picker(p, guard, way, 2)])


# Mutants ----------------------------------------------------------------------

EVERY_MUTANT = {**MUTANTS, **CACHE_MUTANTS, **DUMP_MUTANTS}


def attempts(p, name):
    """The runs that may catch a mutant, cheapest first."""
    if name in CACHE_MUTANTS:
        for guard, way in p.cache_read:
            yield p, ["PXP"], [filler(p), filler(p),
                               picker(p, guard, way, 1)]
        return
    if name in DUMP_MUTANTS:
        yield helpless(p), PLAIN, [dumper(p)]
        return
    for scripts in (["PPP"], ["PXP"], PLAIN, CHANGE):
        for reads in (1, 2):
            for r in p.readers:
                yield p, scripts, [reader(p, r, reads)]
    for r in p.readers:
        yield helpless(p), PLAIN, [reader(p, r, 1)]


def caught(protocol, name, mutate):
    p = copy.copy(protocol)
    mutate(p)
    for q, scripts, threads in attempts(p, name):
        try:
            check(q, scripts, *threads)
        except Torn as torn:
            return str(torn)
    return None


def prove(protocol, full, i):
    """Run i of the protocol as it is: whether it is good, and a line."""
    what, p, scripts, threads = list(runs(protocol, full))[i]
    began = time.monotonic()
    try:
        n, states, read = check(p, scripts, *threads)
    except Torn as torn:
        return False, f"rc11: FAILED: {what}: {torn}"
    return True, (f"rc11: {what}: {n} histories, {states} states, "
                  f"{len(read)} generations read, none torn "
                  f"({time.monotonic() - began:.1f} s)")


def try_mutant(protocol, name):
    how = caught(protocol, name, EVERY_MUTANT[name])
    if how:
        return True, f"rc11: mutant caught: {name}: {how}"
    return False, f"rc11: FAILED: mutant survives: {name}"


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--full", action="store_true")
    a.add_argument("--only-source", action="store_true",
                   help="no mutants of its own")
    a.add_argument("--source",
                   default=pathlib.Path(__file__).resolve().parents[3])
    args = a.parse_args()
    try:
        protocol = Protocol(args.source)
    except NotUnderstood as e:
        print(f"rc11: FAILED: the models do not understand {e}")
        return 1
    good = True
    with concurrent.futures.ProcessPoolExecutor() as pool:
        jobs = [pool.submit(prove, protocol, args.full, i)
                for i, _ in enumerate(runs(protocol, args.full))]
        jobs += [pool.submit(try_mutant, protocol, name)
                 for name in EVERY_MUTANT if not args.only_source]
        for job in jobs:
            ok, line = job.result()
            good = good and ok
            print(line, flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
