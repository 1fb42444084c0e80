"""source - the protocol as the C files have it, for the models to be made from.

Functions of a few lines are read as they stand: which accesses they make to
the generation, in which order, with which memory_order, and what they compute.
Of longer ones only the order of the calls that matter is read.  What is not
understood is an error: a model of something else would prove nothing.
"""
import collections
import pathlib
import re

ORDERS = ("relaxed", "acquire", "release", "acq_rel", "seq_cst")

# One access or step.  kind: load (into dst), store (of value), fence, let
# (dst = value), stop (the function, if value), return.  Values are expressions that C, Python and Promela
# read alike; RETIRED is the only constant with a name.
Op = collections.namedtuple("Op", "kind dst order value",
                            defaults=(None, None, None))


class NotUnderstood(Exception):
    """The C files say something that the models do not know."""


def acquires(order):
    return order in ("acquire", "acq_rel", "seq_cst")


def releases(order):
    return order in ("release", "acq_rel", "seq_cst")


def balanced(text, at):
    """The index behind the bracket that closes the one at text[at]."""
    pair = {"(": ")", "{": "}", "[": "]"}
    depth, opening, closing = 0, text[at], pair[text[at]]
    for i in range(at, len(text)):
        depth += (text[i] == opening) - (text[i] == closing)
        if depth == 0:
            return i + 1
    raise NotUnderstood(f"no end of {text[at:at + 30]!r}")


def arguments(text):
    """'a, f(b, c)' -> ['a', 'f(b, c)']"""
    found, depth, begin = [], 0, 0
    for i, c in enumerate(text + ","):
        depth += (c in "([{") - (c in ")]}")
        if c == "," and depth == 0:
            found.append(" ".join(text[begin:i].split()))
            begin = i + 1
    return found


def call_in(text, names):
    """The first call of one of names: (begin, end, name, arguments)."""
    m = re.search(r"\b(%s)\s*\(" % "|".join(names), text)
    if not m:
        return None
    end = balanced(text, m.end() - 1)
    return m.start(), end, m.group(1), arguments(text[m.end():end - 1])


def order_of(word):
    m = re.fullmatch(r"memory_order_(\w+)", word)
    if not m or m.group(1) not in ORDERS:
        raise NotUnderstood(f"{word!r} is no memory_order")
    return m.group(1)


class Source:
    """The tree under root."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.texts = {}

    def text(self, path):
        """Without comments."""
        if path not in self.texts:
            c = (self.root / path).read_text()
            self.texts[path] = re.sub(r"/\*.*?\*/|//[^\n]*", " ", c, flags=re.S)
        return self.texts[path]

    def body(self, path, name):
        text = self.text(path)
        found = [m for m in re.finditer(r"^%s\s*\(" % name, text, re.M)
                 if text[balanced(text, m.end() - 1):].lstrip()
                 .startswith("{")]
        if len(found) != 1:
            raise NotUnderstood(f"{path}: {len(found)} functions {name}")
        opening = text.index("{", balanced(text, found[0].end() - 1))
        return text[opening + 1:balanced(text, opening) - 1]

    def functions(self, path):
        """The names of those that are defined there."""
        text = self.text(path)
        return [m.group(1) for m in re.finditer(r"^(\w+)\s*\(", text, re.M)
                if text[balanced(text, m.end() - 1):].lstrip()
                .startswith("{")]

    def calls(self, path, name, wanted):
        """[(function, arguments)] of wanted ones, as the text has them."""
        text, found = self.body(path, name), []
        while call := call_in(text, wanted):
            begin, end, called, args = call
            found.append((called, args))
            text = text[text.index("(", begin) + 1:]
        return found

    def steps(self, path, name, wanted, needed=None):
        """Names only; each of needed must be there, exactly once."""
        found = [c for c, _ in self.calls(path, name, wanted)]
        for step in wanted if needed is None else needed:
            if found.count(step) != 1:
                raise NotUnderstood(
                    f"{path}: {name} calls {step} {found.count(step)} times")
        return found

    def expression(self, path, name, what):
        """The value that a local variable is set to in a function."""
        m = re.search(r"\b%s\s*=\s*([^;]+);" % re.escape(what),
                      self.body(path, name))
        if not m:
            raise NotUnderstood(f"{path}: {name} sets no {what}")
        return plain(m.group(1))

    # Short functions, whole ------------------------------------------------

    def access(self, path, name):
        """The memory_order of a function that does one access."""
        orders = re.findall(r"memory_order_\w+", self.body(path, name))
        if len(orders) != 1:
            raise NotUnderstood(f"{path}: {name} is not one access")
        return order_of(orders[0])

    def ops(self, path, name):
        """A function of straight-line code over one word, as Ops."""
        found = []
        for statement in self.body(path, name).split(";"):
            statement = " ".join(statement.split())
            if statement:
                found += self.statement(path, statement)
        return found

    def statement(self, path, s):
        m = re.fullmatch(r"if \(([\w &]+)\) return", s)
        if m:
            return [Op("stop", value=plain(m.group(1)))]
        call = call_in(s, ("atomic_thread_fence", "atomic_store_explicit"))
        if call and call[:2] == (0, len(s)):
            args = call[3]
            if call[2] == "atomic_thread_fence":
                return [Op("fence", order=order_of(args[0]))]
            before, value = self.value(path, args[1])
            return before + [Op("store", order=order_of(args[2]),
                                value=value)]
        m = re.fullmatch(r"(?:return|(?:const )?uint64_t (\w+) =) (.+)", s)
        if not m:
            raise NotUnderstood(f"{path}: {s}")
        before, value = self.value(path, m.group(2))
        return before + [Op("let", dst=m.group(1), value=value) if m.group(1)
                         else Op("return", value=value)]

    def value(self, path, text):
        """An expression, and the loads that it makes first."""
        loads = []
        while call := call_in(text, ("atomic_load_explicit", "mcshm_load")):
            begin, end, name, args = call
            order = order_of(args[1]) if len(args) > 1 else \
                self.access(path, name)
            loads.append(Op("load", dst=f"loaded{len(loads)}", order=order))
            text = text[:begin] + loads[-1].dst + text[end:]
        return loads, plain(text)


def plain(text):
    """An expression without casts and C's ways to write numbers."""
    text = " ".join(text.split())
    text = re.sub(r"UINT64_C\((\w+)\)", r"\1", text)
    text = re.sub(r"\b(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]+\b", r"\1", text)
    text = text.replace("MCSHM_RETIRED", "RETIRED")
    if not re.fullmatch(r"[\w\s+\-&|~^<>=()]+", text):
        raise NotUnderstood(f"expression {text!r}")
    return text


HEADER = "include/mcshm_format.h"
FILE = "checkerd/publish_file.c"
PUBLISH = "checkerd/publish.c"
PICK = "libmcshm/pick.c"
DUMP = "libmcshm/dump_file.c"

# All functions that read the file strictly, and what each step of one loads:
# fixed parts, the first and the second word of the active section.
READERS = {
    "answer_strictly": (PICK, {"reader_view": ["fixed"],
                               "answer": ["first", "second"]}),
    "server_at": ("libmcshm/snapshot.c", {"reader_view": ["fixed"],
                                          "load_server": ["second"]}),
    "snapshot_try": ("libmcshm/snapshot.c",
                     {"reader_view": ["fixed"],
                      "load_states": ["first", "second"],
                      "load_status": ["fixed"]}),
    "roster_now": ("libmcshm/follow.c", {"reader_view": ["fixed"]}),
    "mcshm_server_state": ("libmcshm/snapshot.c",
                           {"reader_view": ["fixed"],
                            "load_state": ["first", "second"]}),
    "list_strictly": ("libmcshm/candidates.c",
                      {"reader_view": ["fixed"],
                       "list": ["first", "second"]}),
    "check_choice": ("libmcshm/run.c", {"reader_view": ["fixed"]}),
    "compose": ("libmcshm/report.c", {"reader_view": ["fixed"]}),
}
# Those that read by pick's cache, or fill it.
CACHE_READERS = {"cache_fill", "pick_slot", "pick_chain"}


class Protocol:
    """What the models are made of; mutants are copies with one thing else."""

    def __init__(self, root):
        s = Source(root)
        self.counts_on = True		# a new file goes on from the old one
        self.lock_tells = True		# what the dead daemon knew
        self.retired = self.bit(s)
        self.begin = s.ops(HEADER, "mcshm_write_begin")
        self.flip = s.ops(HEADER, "mcshm_write_flip")
        self.retire = s.ops(HEADER, "mcshm_write_retire")
        self.after = s.ops(HEADER, "mcshm_generation_after")
        self.read_begin = s.ops(HEADER, "mcshm_read_begin")
        self.read_ok = s.ops(HEADER, "mcshm_read_ok")
        self.tries = int(re.search(r"define\s+MCSHM_TRIES_READ\s+(\d+)",
                                   s.text(HEADER)).group(1))
        self.load = s.access(HEADER, "mcshm_load")
        for narrow in ("mcshm_load32", "mcshm_load16"):
            if s.access(HEADER, narrow) != self.load:
                raise NotUnderstood(f"{narrow} is not as mcshm_load")
        self.store = s.access(HEADER, "mcshm_store")
        self.writer(s)
        self.no_other_readers(s)
        self.readers = {name: self.reader(s, name) for name in READERS}
        self.cache(s)
        self.dump = self.dump_steps(s)

    @staticmethod
    def bit(s):
        m = re.search(r"define\s+MCSHM_RETIRED\s+\(UINT64_C\(1\)\s*<<\s*(\d+)",
                      s.text(HEADER))
        return 1 << int(m.group(1))

    def writer(self, s):
        self.publish = s.steps(
            FILE, "file_publish",
            ["mcshm_write_begin", "fill_section", "mcshm_write_flip"])
        self.which = s.expression(FILE, "file_publish", "which")
        self.fill = [self.part(name, args) for name, args in s.calls(
            FILE, "fill_section", ["mcshm_store", "store_words"])]
        if self.fill.count("first") != 1 or self.fill.count("second") != 1:
            raise NotUnderstood(f"{FILE}: fill_section stores {self.fill}")
        s.steps(FILE, "store_words", ["mcshm_load", "mcshm_store"])
        if "mcshm_write_retire" not in s.body(FILE, "retire"):
            raise NotUnderstood(f"{FILE}: retire does not")
        self.seed = s.expression(FILE, "file_seed", "const uint64_t g")
        self.exchange = s.steps(
            PUBLISH, "take_over",
            ["file_seed", "file_link", "retire_old", "file_unlink_tmp"])
        if "file_retire(p->file)" not in s.body(PUBLISH, "retire_old"):
            raise NotUnderstood(f"{PUBLISH}: retire_old does not")
        self.exchange = ["file_retire" if step == "retire_old" else step
                         for step in self.exchange]
        if not {"take_over", "mcshm_generation_after", "file_generation"} <= \
                {c for c, _ in s.calls(PUBLISH, "exchange", [
                    "take_over", "mcshm_generation_after", "file_generation"])}:
            raise NotUnderstood(f"{PUBLISH}: exchange counts otherwise")
        self.start = s.steps(PUBLISH, "publish_open",
                             ["place_sweep", "open_once"])
        self.sweep = s.steps(FILE, "sweep_one",
                             ["lock_try", "retire_fd", "unlinkat"])

    @staticmethod
    def part(name, args):
        """Which part of a section a store in fill_section is: the words before
        and behind its own generation stand for the two words of the models."""
        if args[0] == "to + at":
            return "number"		# for --verify; no reader looks
        known = {"to": "first", "to + at + 8": "second"}
        if name != "store_words" or args[0] not in known:
            raise NotUnderstood(f"{FILE}: fill_section: {name} {args}")
        return known[args[0]]

    @staticmethod
    def no_other_readers(s):
        """Who reads strictly and is not modelled is not proven."""
        for path in sorted(s.root.glob("libmcshm/*.c")):
            path = path.relative_to(s.root)
            for name in s.functions(path):
                if "mcshm_read_ok" in s.body(path, name) and \
                        name not in {*READERS, *CACHE_READERS}:
                    raise NotUnderstood(
                        f"{path}: {name} reads strictly, and is in no model")

    @staticmethod
    def reader(s, name):
        """A strict read as steps: begin, nonzero, what it loads, ok."""
        path, loads = READERS[name]
        text = s.body(path, name)
        steps = {"mcshm_read_begin": ["begin"], "mcshm_read_ok": ["ok"],
                 **loads}
        found = []
        s.steps(path, name, list(steps))
        test = re.search(r"if \(g == 0\)\s*(continue|return)\b", text)
        zero = test.start() if test else None
        for m in re.finditer(r"\b(%s)\s*\(" % "|".join(steps), text):
            if zero is not None and m.start() > zero:
                found.append("nonzero")
                zero = None
            found += steps[m.group(1)]
        return found

    @staticmethod
    def dump_steps(s):
        """mc-shmdump's: pread(2), which orders nothing, and fences."""
        known = {"read_publisher": ["look"], "read_generation": ["again"],
                 "read_all": ["first", "second"]}
        found = []
        for name, args in s.calls(DUMP, "read_active",
                                  ["atomic_thread_fence", *known]):
            found += known.get(name) or [Op("fence", order=order_of(args[0]))]
        if [f for f in found if not isinstance(f, Op)] != \
                ["look", "first", "second", "again"] or not re.search(
                    r"if \(g == f->h.generation\)\s*return 0;",
                    s.body(DUMP, "read_active")):
            raise NotUnderstood(f"{DUMP}: read_active does {found}")
        return found

    def cache(self, s):
        """What pick remembers of a generation (libmcshm/reader.h)."""
        text = s.text(PICK)
        self.cache_orders = {
            m.group(1): order_of(m.group(2)) for m in re.finditer(
                r"define\s+(LOAD|STORE)\((?:[^\n]|\\\n)*?"
                r"(memory_order_\w+)", text)}
        if set(self.cache_orders) != {"LOAD", "STORE"}:
            raise NotUnderstood(f"{PICK}: LOAD and STORE")
        self.cached = s.access(PICK, "cached")
        clear = self.cache_stores(s.body(PICK, "cache_clear"), "")
        if {(op.kind, op.dst, op.value) for op in clear} != \
                {("store", "native", "0"), ("store", "generation", "0")}:
            raise NotUnderstood(f"{PICK}: cache_clear does {clear}")
        self.cache_clear = clear
        place = self.cache_stores(s.body(PICK, "cache_place"), "")
        if [op.dst for op in place] != ["place"]:
            raise NotUnderstood(f"{PICK}: cache_place does {place}")
        self.cache_store = self.whole(self.cache_stores(
            s.body(PICK, "cache_store"),
            {"cache_clear": clear, "cache_place": place}))
        self.cache_fill = self.cache_steps(s)
        self.cache_read = self.cache_reads(s)
        self.forgetting(s)

    def cache_stores(self, text, parts):
        """Its fences and stores, with those of the functions in parts."""
        found = []
        names = ["atomic_thread_fence", "STORE", "atomic_store_explicit",
                 *parts]
        while call := call_in(text, names):
            _, end, name, args = call
            if name in parts:
                found += parts[name]
            elif name == "atomic_thread_fence":
                found.append(Op("fence", order=order_of(args[0])))
            elif name == "STORE":
                found.append(Op("store", dst=args[0].split("[")[0],
                                value=args[1],
                                order=self.cache_orders["STORE"]))
            else:
                found.append(Op("store", dst=args[0].split("->")[-1],
                                value=args[1], order=order_of(args[2])))
            text = text[end:]
        return found

    @staticmethod
    def whole(found):
        """Of the words that lead into the file, these are modelled."""
        wanted = {"native", "generation", "usable_at", "roster", "place"}
        if not wanted <= {op.dst for op in found if op.kind == "store"}:
            raise NotUnderstood(f"{PICK}: cache_store")
        return [op for op in found if op.kind == "fence" or op.dst in wanted]

    @staticmethod
    def cache_steps(s):
        known = {"LOAD": "met", "atomic_exchange_explicit": "lock",
                 "mcshm_read_ok": "ok", "cache_store": "store",
                 "atomic_thread_fence": "fence", "cache_clear": "clear",
                 "atomic_store_explicit": "unlock"}
        found = [(known[name], order_of(args[-1])
                  if args[-1].startswith("memory_order") else None)
                 for name, args in s.calls(PICK, "cache_fill", list(known))]
        # All but the other look, without which we would not be right.
        if sorted({n for n, _ in found} | {"ok"}) != sorted(known.values()):
            raise NotUnderstood(f"{PICK}: cache_fill does {found}")
        return found

    @staticmethod
    def cache_reads(s):
        """All ways of a pick by the cache, {(guard, way): what it loads}: of
        the native scheme, of simple ones, of others, and on from a home that is
        not usable.  "file" is what the chain reads there, by the place."""
        def loads(name):
            found = [args[0].split("[")[0] if called == "LOAD" else
                     {"chain": "file", "mcshm_read_ok": "ok"}[called]
                     for called, args in s.calls(
                         PICK, name, ["LOAD", "chain", "mcshm_read_ok"])]
            return [f for f in found if f in ("usable_at", "roster", "place",
                                              "file", "ok")]

        begin = ["mcshm_read_begin", "cached"]
        home, chain = loads("pick_slot"), loads("pick_chain")
        place = loads("cached_place")
        away = s.steps(PICK, "pick_away", ["cached_place", "pick_chain"])
        other = s.steps(PICK, "pick_other", [
            "cached_place", "pick_slot", "pick_chain"])
        simple = s.steps(PICK, "pick_simple", ["pick_slot"])
        ways = ["pick_other", "pick_simple", "pick_away"]
        taken = s.steps(PICK, "pick_any", begin + ways, begin)
        if s.steps(PICK, "mcshm_pick", begin) != begin or \
                sorted(home) != ["ok", "roster", "usable_at"] or \
                sorted(chain) != ["file", "ok", "roster"] or \
                place != ["place"] or \
                away != ["cached_place", "pick_chain"] or \
                other != ["cached_place", "pick_slot", "pick_chain"] or \
                simple != ["pick_slot"] or taken[:2] != begin or \
                sorted({*taken[2:]}) != sorted(ways):
            raise NotUnderstood(f"{PICK}: a pick reads {home}, {chain}")
        return {("native", "home"): home, ("native", "chain"): place + chain,
                ("generation", "simple"): home,
                ("generation", "home"): place + home,
                ("generation", "chain"): place + chain}

    @staticmethod
    def forgetting(s):
        """Store buffering: who fills the cache looks for marks behind it, and
        who marks a server clears it behind the mark, each with a fence
        between; so one of the two sees the other."""
        fill = [args[0] if name == "atomic_thread_fence" else name
                for name, args in s.calls(PICK, "cache_fill", [
                    "suspect_any", "cache_store", "atomic_thread_fence",
                    "cache_clear"])]
        forget = [args[0] if name == "atomic_thread_fence" else name
                  for name, args in s.calls(PICK, "pick_forget", [
                      "atomic_thread_fence", "cache_clear"])]
        mark = s.steps("libmcshm/suspect.c", "suspect_mark",
                       ["atomic_store_explicit", "pick_forget"])
        if fill != ["suspect_any", "cache_store", "memory_order_seq_cst",
                    "suspect_any", "cache_clear"] or \
                forget != ["memory_order_seq_cst", "cache_clear"] or \
                mark != ["atomic_store_explicit", "pick_forget"]:
            raise NotUnderstood(f"{PICK}: marks: {fill}, {forget}, {mark}")
