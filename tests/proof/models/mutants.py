"""mutants - the protocol with one thing else, each of which must be caught.

A mutant changes a copy of a Protocol (source.py), or is a flag of mcshm.pml.
"""
from source import Op


def without(ops, kind):
    return [op for op in ops if op.kind != kind]


def weaker(ops, kind):
    return [op._replace(order="relaxed") if op.kind == kind else op
            for op in ops]


def moved(steps, what, where):
    rest = [s for s in steps if s != what]
    return [what] + rest if where == "first" else rest + [what]


def all_readers(change):
    def mutate(p):
        p.readers = {n: change(steps) for n, steps in p.readers.items()}
    return mutate


def setting(**fields):
    def mutate(p):
        for name, change in fields.items():
            setattr(p, name, change(getattr(p, name)))
    return mutate


def late_fence(ops):
    """The re-load before the fence."""
    fences = [op for op in ops if op.kind == "fence"]
    return [op for op in ops if op.kind == "load"] + fences + \
        [op for op in ops if op.kind == "return"]


def early_fence(ops):
    """The fence before the generation is loaded."""
    return [op for op in ops if op.kind == "fence"] + without(ops, "fence")


def early_flip(steps):
    rest = [s for s in steps if s != "mcshm_write_flip"]
    return [rest[0], "mcshm_write_flip"] + rest[1:]


def returned(value):
    return lambda ops: [op._replace(value=value) if op.kind == "return" else op
                        for op in ops]


MUTANTS = {
    "no fence at the start of publish":
        setting(begin=lambda ops: without(ops, "fence")),
    "that fence before the generation is loaded": setting(begin=early_fence),
    "flip is a relaxed store": setting(flip=lambda ops: weaker(ops, "store")),
    "flip before the section is filled": setting(publish=early_flip),
    "the active section is filled": setting(which=lambda w: "g & 1"),
    "the first load is relaxed":
        setting(read_begin=lambda ops: weaker(ops, "load")),
    "no acquire fence before the re-check":
        setting(read_ok=lambda ops: without(ops, "fence")),
    "that fence behind the re-check": setting(read_ok=late_fence),
    "no re-check": setting(read_ok=returned("1")),
    "re-check lets one flip pass": setting(read_ok=returned("loaded0 - g < 2")),
    "a new file counts from the start again":
        setting(counts_on=lambda yes: False),
    "a new file goes on at the same count":
        setting(after=lambda ops: [Op("return", value="g & ~RETIRED")]),
    "generation 0 is accepted":
        all_readers(lambda steps: [s for s in steps if s != "nonzero"]),
    "fixed parts are read before the first load":
        all_readers(lambda steps: moved(steps, "fixed", "first")),
    "fixed parts are read behind the re-check":
        all_readers(lambda steps: moved(steps, "fixed", "last")),
}

CACHE_MUTANTS = {
    "cache: no fence [P] before it is filled":
        setting(cache_store=lambda ops: without(ops, "fence")),
    "cache: its generation is a relaxed store [Q]":
        setting(cache_store=lambda ops: weaker(ops, "store")),
    "cache: its generation is loaded relaxed":
        setting(cached=lambda order: "relaxed"),
    "cache: filled without another look at the generation":
        setting(cache_fill=lambda s: [x for x in s if x[0] != "ok"]),
    "cache: the pick has no re-check":
        setting(read_ok=returned("1")),
}

DUMP_MUTANTS = {
    "mc-shmdump: no fence behind its first look":
        setting(dump=lambda s: [x for i, x in enumerate(s) if i != 1]),
    "mc-shmdump: no fence before its second look":
        setting(dump=lambda s: [x for i, x in enumerate(s) if i != 4]),
    "mc-shmdump: no second look": setting(dump=lambda s: s[:4]),
}


# Those of spin: name, change, flags, the scene that must catch it.

def nothing(p):
    """All is in the flags."""


def swapped(a, b):
    """Two neighbours in a list of steps."""
    def change(steps):
        i, j = steps.index(a), steps.index(b)
        found = list(steps)
        found[i], found[j] = b, a
        return found
    return change


def dropped(step):
    return lambda steps: [s for s in steps if s != step]


def again(ops):
    """Retiring twice counts twice."""
    return [op._replace(value="g & ~RETIRED")
            if op.kind == "let" else op for op in ops if op.kind != "stop"]


KILLED, REPLACED = "publishing, killed", "exchange, killed"
THREADS = "exchange, two threads"

# Of those that rc11.py catches too, these are worth a quick run of spin.
SPIN_QUICK = ["no fence at the start of publish", "flip is a relaxed store",
              "generation 0 is accepted"]

SPIN_MUTANTS = [
    ("no fence at the start of publish",
     MUTANTS["no fence at the start of publish"], (), KILLED),
    ("flip is a relaxed store", MUTANTS["flip is a relaxed store"], (),
     KILLED),
    ("the active section is filled",
     MUTANTS["the active section is filled"], (), KILLED),
    ("flip before the section is filled",
     MUTANTS["flip before the section is filled"], (), KILLED),
    ("no re-check", MUTANTS["no re-check"], (), KILLED),
    ("re-check lets one flip pass", MUTANTS["re-check lets one flip pass"],
     (), KILLED),
    ("a reader waits for the daemon", nothing, ("WAITS",), KILLED),
    ("a reader tries without end", nothing, ("TRIES_ON",), KILLED),
    ("RETIRED before the exchange",
     setting(exchange=swapped("file_link", "file_retire")), (), REPLACED),
    ("RETIRED is a relaxed store",
     setting(retire=lambda ops: weaker(ops, "store")), (), REPLACED),
    ("unlink before RETIRED",
     setting(exchange=swapped("file_retire", "file_unlink_tmp")), (),
     REPLACED),
    ("the replaced file is not RETIRED",
     setting(exchange=dropped("file_retire")), (), REPLACED),
    ("a starting daemon does not sweep",
     setting(sweep=lambda steps: ["lock_try"]), (), REPLACED),
    ("a starting daemon unlinks, and does not retire",
     setting(sweep=dropped("retire_fd")), (), REPLACED),
    ("a file that is retired twice counts twice",
     setting(retire=again), (), "exchange, two killed"),
    ("a new file counts from the start again",
     setting(counts_on=lambda yes: False), (), REPLACED),
    ("a new file goes on at the same count",
     MUTANTS["a new file goes on at the same count"], (), REPLACED),
    ("fixed parts are read before the first load",
     MUTANTS["fixed parts are read before the first load"], (), THREADS),
    ("fixed parts are read behind the re-check",
     MUTANTS["fixed parts are read behind the re-check"], (), THREADS),
    ("generation 0 is accepted", MUTANTS["generation 0 is accepted"], (),
     "no file at first"),
    ("a stale file's path is not looked at", nothing, ("NO_LOOK",),
     REPLACED),
]
