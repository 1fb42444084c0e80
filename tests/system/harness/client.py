"""A process that uses libmcshm, and what it was answered."""
import collections
import json
import time

from .process import Process

ERRORS = {0: "OK", -1: "ENONE", -2: "EROSTER", -3: "EAGAIN", -4: "EINVAL",
          -5: "ENOENT", -6: "EPERM", -7: "EDAMAGED", -8: "EVERSION",
          -9: "ESYS", -10: "EHELD", -11: "EMISS", -12: "EDOWN"}


class Picks:
    """Keys k0 .. kN-1 at one moment: home[i] and answer[i] are names of
    servers; instead of an answer there may be an error's name."""

    def __init__(self, reply, names):
        def name(slot):
            return None if slot < 0 else names[slot]

        self.home = [name(h) for h in reply["home"]]
        self.error = [ERRORS[e] for e in reply["err"]]
        self.answer = [name(s) if e == 0 else ERRORS[e]
                       for s, e in zip(reply["slot"], reply["err"])]
        self.tries = reply["tries"]
        self.blind = reply["blind"]
        self.roster = reply["roster"]

    def __len__(self):
        return len(self.home)

    def of(self, name):
        """Answers of the keys that have their home there, counted."""
        return collections.Counter(a for h, a in zip(self.home, self.answer)
                                   if h == name)

    def shares(self):
        return collections.Counter(self.home)

    def all_home(self):
        return self.home == self.answer

    def only_moved(self, *names):
        """Keys of all other servers are where they belong."""
        strays = [(i, h, a) for i, (h, a)
                  in enumerate(zip(self.home, self.answer))
                  if h not in names and h != a]
        assert not strays, f"keys of servers that are usable: {strays[:10]}"


class Run:
    """What a client was answered while it did nothing but pick."""

    def __init__(self, reply, names):
        self.picks, self.blind = reply["picks"], reply["blind"]
        self.rosters, self.changes = reply["rosters"], reply["changes"]
        self.worst_us = reply["worst_us"]
        self.answers = {}
        names = dict(enumerate(names))  # of the roster when it stopped
        for home, slot, err, count in reply["answers"]:
            home = names.get(home)
            answer = ERRORS[err] if err else names.get(slot, f"slot {slot}")
            self.answers.setdefault(home, {})[answer] = count

    def all_said(self):
        return {a for row in self.answers.values() for a in row}

    def of(self, name):
        return set(self.answers.get(name, {}))


class Client:
    def __init__(self, house, pool, later=False, nofollow=False, env=None,
                 before=()):
        from .house import BUILD
        options = ["--later"] * later + ["--nofollow"] * nofollow
        self.process = Process(house, f"client{next(house.numbers)}",
                               [BUILD / "tests/client", *options, pool],
                               talks=True, env=env, before=before)
        self.opened = json.loads(self.process.read())
        self.names, self.roster = [], None
        self.slowest = (0, "")

    def ask(self, line, seconds=20):
        began = time.monotonic()
        self.process.write(line)
        reply = json.loads(self.process.read(seconds))
        self.slowest = max(self.slowest, (time.monotonic() - began, line))
        return reply

    def servers(self):
        """[{slot, name, weight, address}]"""
        reply = self.ask("servers")
        assert "servers" in reply, reply
        self.names = [s["name"] for s in reply["servers"]]
        self.roster = reply["roster"]
        return reply["servers"]

    def picks(self, n=2000):
        """All of one roster."""
        for _ in range(10):
            reply = self.ask(f"picks {n}")
            if reply["roster"] != self.roster and \
                    int(reply["roster"], 16) != 0:
                self.servers()
            if reply["rosters"] == 1 and reply["roster"] == self.roster:
                return Picks(reply, self.names)
            if int(reply["roster"], 16) == 0:
                return Picks(reply, self.names)
        raise AssertionError("ten different rosters")

    def states(self):
        """{name: state}"""
        servers = self.servers()
        reply = self.ask("states")
        assert "states" in reply, reply
        return {s["name"]: state for s, state
                in zip(servers, reply["states"])}

    def verdicts(self):
        return {n: s["verdict"] for n, s in self.states().items()}

    def status(self):
        return self.ask("status")

    def self(self):
        return self.ask("self")

    def run(self, rate=2000, keys=500):
        """Pick these keys for ever, and do nothing else."""
        assert self.ask(f"run {rate} {keys}") == {"running": True}

    def stop(self):
        reply = self.ask("stop")
        if not self.names:
            self.servers()
        return Run(reply, self.names)
