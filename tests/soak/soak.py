#!/usr/bin/env python3
"""soak.py - an hour of random faults, beside a model of what verdicts may be.

    soak.py [--seconds N] [--seed N] [--fakes N] [--settle S] [--keep DIR]

Fifty fakes and a few real memcacheds fail in all ways that there are; the ini
changes, the daemon is stopped and killed, files are removed; clients watch and
pick all the time.  soakplan.py says what is done, soakwatch.py takes what the
readers see, soakmodel.py says what they may.  Every few minutes all is put at
rest and measured: nothing may have grown.

The seed is told at the beginning; with the same one the same is done again.
What a failure needs to be understood is kept in a directory, which is told.
"""
import argparse
import collections
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import socket
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "system")]

import soakmodel as model                               # noqa: E402
import soakplan as plan                                 # noqa: E402
from harness import BUILD, SAN, House, files            # noqa: E402
from harness.process import wait_until                  # noqa: E402
from soakmodel import (DRAIN, MAINT, PROOF, READY,      # noqa: E402
                       SILENCE)
from soakwatch import (Flags, Noise, Pick, Reader,      # noqa: E402
                       Watch, boottime)

STATES = {"ready": READY, "drain": DRAIN, "maint": MAINT}
STALE_AFTER = 3.0
CHECKER = {"heartbeat": "200ms", "stale_after": f"{STALE_AFTER:.0f}s",
           "tilt_for": "1s"}
BLAMES = 10             # and it is over
CALM = 2.0              # s that a rest is watched for
RELOADED = re.compile(rb" reloaded: | reload refused")
WARM = 10               # reloads, until a daemon has all that it needs


def milliseconds(seconds):
    return f"{round(seconds * 1000)}ms" if seconds else "0"


def keys_of(rule):
    """As in the ini."""
    return {
        "interval": milliseconds(rule.interval),
        "fast_interval": milliseconds(rule.fast),
        "down_interval": milliseconds(rule.down),
        "timeout": milliseconds(rule.timeout),
        "connect_timeout": milliseconds(rule.connect),
        "hold_after": milliseconds(rule.hold),
        "rehash_after": milliseconds(rule.rehash),
        "min_down_time": milliseconds(rule.min_down),
        "fall": rule.fall, "rise": rule.rise,
        "fall_ratio": "5/20" if rule.ratio else "off",
        "down_interval_max": milliseconds(rule.down_max),
        "awareness": rule.awareness,
        "max_down_percent": f"{rule.max_down * 100:.0f}%",
        "flap_hold": milliseconds(rule.flap_hold),
        **({"fail_open_max": milliseconds(rule.open_max or 60)}
           if rule.max_down else {}),
        **({"flap_hold_max": milliseconds(rule.flap_max),
            "flap_window": milliseconds(rule.flap_window or 60)}
           if rule.flap_hold else {}),
        "on_recovery": "flush-if-stale" if rule.recovery else "none",
        "stats_interval": "2s", "thread_scan_interval": "3s",
    }


class Server:
    """A fake or a real memcached, and its past."""

    def __init__(self, port, mode="ok"):
        self.port, self.mode = port, mode
        self.past = model.Past(model.GOOD)
        self.restarts = []
        self.flushes = 0        # cmd_flush when it was last UP
        self.touched = 0.0      # when it was last told to do anything


class Soak:
    def __init__(self, house, options):
        self.house, self.options = house, options
        self.size = plan.Size(fakes=options.fakes,
                              spare=max(options.fakes // 5, 3),
                              reals=options.reals, settle=options.settle,
                              pace=options.pace, churn=options.churn)
        self.plan = plan.Plan(random.Random(options.seed), self.size,
                              options.seconds)
        self.daemon = model.Daemon()
        self.noise = Noise(self.daemon)
        self.stale_after = STALE_AFTER
        self.did = collections.Counter()
        self.history = collections.deque(maxlen=20000)
        self.blames = []
        self.rests = []
        self.waiting = []       # for fakes that do not listen to us now
        self.stopped = False
        self.last_reload = boottime()
        self.start_servers()
        self.start_daemon()
        self.start_readers()

    # The world at the beginning.

    def start_servers(self):
        count = self.size.fakes + self.size.spare
        self.fake = self.house.fake(count)
        self.servers = {i: Server(p) for i, p in enumerate(self.fake.ports)}
        self.reals = {}
        for i in range(self.size.reals):
            self.reals[f"m{i}"] = real = self.house.memcached(name=f"m{i}")
            self.servers[f"m{i}"] = Server(real.port)

    def start_daemon(self):
        now = boottime()
        self.pools = plan.pools(self.size)
        self.rules = {p: model.Rules(pool.rule, now)
                      for p, pool in self.pools.items()}
        self.subjects = {}      # (pool, name@port): [subject, ...]
        self.take_pools(self.pools, now, now)
        self.checker = self.house.checker(
            self.ini(self.pools), shipped=True, checker=CHECKER,
            name="daemon")
        self.checker.verify = True
        self.pid_changed()

    def pid_changed(self):
        self.noise.watch(self.checker.pid, self.fake.process.pid)
        self.rest_of_life = None        # how it was at the first rest
        self.reloads_before = self.did["reload"]

    def start_readers(self):
        paths = {p: self.checker.path(p) for p in self.pools}
        self.flags = Flags(paths)
        self.daemon.tilt = self.flags.tilt
        self.tilts = dict.fromkeys(paths, 0)    # spans looked at
        self.watches, self.picks, self.readers = {}, {}, []
        self.looks = {}                         # by the last rest
        for p, path in paths.items():
            watcher = Reader(self.house, "watch", str(path))
            picker = Reader(self.house, "pick", str(path), "1000", "4000")
            self.readers += [watcher, picker]
            self.watches[p] = Watch(self, p, watcher)
            self.picks[p] = Pick(self, p, picker, self.watches[p])

    def ini(self, pools):
        def line(one):
            port = self.servers[one.at].port
            weight = f" weight={one.weight}" if one.weight != 1 else ""
            return f"{one.name} 127.0.0.1:{port}{weight} state={one.state}"

        return {name: {"scheme": pool.scheme} | keys_of(pool.rule) | pool.keys
                | {"server": [line(one) for one in pool.lines]}
                for name, pool in pools.items()}

    def key(self, line):
        return f"{line.name}@{self.servers[line.at].port}"

    def take_pools(self, pools, before, after):
        """These came into force between the two times."""
        for name, pool in pools.items():
            self.rules[name].set(pool.rule, before, after)
            for line in pool.lines:
                self.take_line(name, line, before, after)
        there = {(n, self.key(line)) for n, pool in self.pools.items()
                 for line in pool.lines}
        stay = {(n, self.key(line)) for n, pool in pools.items()
                for line in pool.lines}
        for gone in there - stay:
            self.subjects[gone][-1].died = after
        self.pools = pools

    def take_line(self, pool, line, before, after):
        server = self.servers[line.at]
        known = self.subjects.setdefault((pool, self.key(line)), [])
        if not known or known[-1].died is not None:
            subject = model.Subject(
                pool, self.key(line), server.past, self.rules[pool],
                self.daemon, STATES[line.state], before, server.restarts)
            subject.died, subject.server = None, server
            known.append(subject)
        known[-1].admin.set(STATES[line.state], before, after)

    def subject(self, pool, key, t):
        """The one that was in the ini then."""
        known = self.subjects.get((pool, key), [])
        return next((s for s in reversed(known) if s.born <= t + 0.1), None)

    def stranger(self, pool, key, t):
        """One that nobody has ordered; of it anything may be true."""
        subject = model.Subject(pool, key, model.Past(model.ANY),
                                self.rules[pool], self.daemon, born=t)
        subject.admin = model.Past(READY | DRAIN | MAINT)
        subject.died, subject.server = None, Server(0)
        self.subjects.setdefault((pool, key), []).append(subject)
        return subject

    def is_plain(self, subject, a, b):
        """Nothing but the schedule asked for probes then."""
        server = subject.server
        return server.mode == "ok" and server.touched < a and \
            self.last_reload < a and self.flags_quiet(subject.pool, a, b)

    def flushed(self, server):
        """How often it was by now; None: it does not say."""
        try:
            with socket.create_connection(("127.0.0.1", server.port),
                                          0.5) as s:
                s.sendall(b"stats\r\n")
                text = b""
                while not text.endswith(b"END\r\n"):
                    more = s.recv(65536)
                    if not more:
                        return None
                    text += more
        except OSError:
            return None
        return int(re.search(rb"cmd_flush (\d+)", text).group(1))

    def flags_quiet(self, pool, a, b):
        return not self.flags.tilt[pool].within(a, b)

    # Carrying it out.

    def run(self):
        self.began = boottime()
        for at, verb, *arguments in self.plan:
            self.wait_for(at)
            if len(self.blames) >= BLAMES:
                break
            self.did[verb] += 1
            self.tell(verb, *arguments)
            getattr(self, "do_" + verb)(*arguments)
            self.judge()

    def tell(self, verb, *arguments):
        text = "..." if verb == "reload" else " ".join(map(str, arguments))
        self.history.append((boottime(), verb, text))

    def wait_for(self, at):
        """The plan's time; ours goes on where a rest or the machine took
        longer."""
        behind = boottime() - self.began - at
        if behind > 1:
            self.began += behind
        while boottime() - self.began < at:
            time.sleep(min(0.02, max(at - (boottime() - self.began), 0.001)))
            self.judge()

    def judge(self):
        now = boottime() - 0.05
        for p in self.watches:
            self.watches[p].judge(now)
            self.picks[p].judge(now)

    # Servers.

    def mask_of(self, i):
        mode = self.servers[i].mode
        if not self.stopped:
            return plan.MODES[mode]
        return PROOF if mode == "refuse" else SILENCE

    def do_fake(self, i, mode):
        if self.stopped:
            self.waiting.append((i, mode))
            return
        server = self.servers[i]
        before = boottime()
        server.touched = before
        if mode == "drop-idle":
            self.fake.set(i, mode)
            return
        # What it withheld comes now.
        late = model.GOOD if server.mode == "late" else 0
        server.mode = mode
        server.past.begin(self.mask_of(i) | late, before)
        self.fake.set(i, mode)
        server.past.end(self.mask_of(i), boottime())
        server.touched = boottime()

    def all_fakes(self, act):
        fakes = range(self.size.fakes + self.size.spare)
        before = boottime()
        for i in fakes:
            self.servers[i].past.begin(self.mask_of(i), before)
        act()
        after = boottime()
        for i in fakes:
            self.servers[i].past.end(self.mask_of(i), after)
            self.servers[i].touched = after

    def do_stop_fakes(self):
        self.stopped = True
        self.all_fakes(self.fake.process.stop)

    def do_cont_fakes(self):
        self.stopped = False

        def go_on():
            self.fake.process.cont()
            self.fake.stats()           # it answers us
        self.all_fakes(go_on)
        for i, mode in self.waiting:
            self.do_fake(i, mode)
        self.waiting = []

    def real(self, name, mask, act):
        server = self.servers[name]
        server.past.begin(mask, boottime())
        act()
        server.past.end(mask, boottime())
        server.touched = boottime()

    def do_kill_real(self, name):
        self.real(name, PROOF, self.reals[name].kill)

    def do_start_real(self, name):
        self.servers[name].restarts.append(boottime())
        self.servers[name].flushes = 0
        self.real(name, model.GOOD, self.reals[name].restart)

    def do_stop_real(self, name):
        self.real(name, SILENCE, self.reals[name].stop)

    def do_cont_real(self, name):
        self.real(name, model.GOOD, self.reals[name].cont)

    # The daemon.

    def do_stop_daemon(self):
        self.daemon.blind.begin(boottime())
        self.checker.process.stop()

    def do_cont_daemon(self):
        self.checker.process.cont()
        self.daemon.blind.end(boottime())

    def do_kill_daemon(self):
        self.daemon.blind.begin(boottime())
        self.checker.kill()

    def do_end_daemon(self):
        self.daemon.blind.begin(boottime())
        code = self.checker.stop()
        if code != 0:
            self.blame("daemon", None, boottime(), f"ended with {code}")

    def do_start_daemon(self):
        self.checker.start()
        self.daemon.blind.end(boottime())
        self.pid_changed()

    def do_few_descriptors(self):
        pid = self.checker.pid
        self.daemon.short.begin(boottime())
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        now = self.checker.process.descriptors()
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (now, hard))

    def do_free_descriptors(self):
        pid = self.checker.pid
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        self.daemon.short.end(boottime())

    def do_reload(self, pools):
        before = boottime()
        self.checker.pools = self.ini(pools)
        self.reload()
        after = self.last_reload = boottime()
        self.take_pools(pools, before, after)
        self.wait_rosters()

    def reload(self, text=None):
        """By the log: a word to systemd can find its queue full."""
        self.checker.configure(text)
        log = self.checker.process.log
        length = log.stat().st_size
        self.checker.hang_up()
        wait_until(lambda: self.reloads(log, length), "reloaded, in the log")

    def reloads(self, log, length):
        """How many there were since the log was that long."""
        assert self.checker.alive, f"ended with {self.checker.process.code}"
        with open(log, "rb") as f:
            f.seek(length)
            return len(RELOADED.findall(f.read()))

    def wait_rosters(self):
        """The readers have gone on to it."""
        for name, pool in self.pools.items():
            want = [self.key(line) for line in pool.lines]
            try:
                wait_until(lambda: self.watches[name].reader.newest == want,
                           f"readers of {name} on the new roster", 10)
            except AssertionError as e:
                self.blame(name, None, boottime(), str(e))

    def do_bad_reload(self):
        self.reload(self.checker.text() + "[pool broken]\nhm = 1\n")
        self.checker.configure()

    def do_hang_up(self, times):
        log = self.checker.process.log
        length = log.stat().st_size
        for _ in range(times):
            self.checker.hang_up()
        wait_until(lambda: self.reloads(log, length), "reloaded, in the log")
        time.sleep(0.1)                 # the last one may be under way
        self.last_reload = boottime()

    def do_remove(self, pool):
        self.checker.path(pool).unlink()
        wait_until(self.checker.path(pool).exists, f"{pool} is there again")

    # At rest.

    def do_settle(self):
        for i in range(self.size.fakes + self.size.spare):
            if self.servers[i].mode != "ok":
                self.do_fake(i, "ok")
        self.wait_all_up()
        end = boottime() + min(CALM, self.size.settle / 10)
        while boottime() < end:
            time.sleep(0.02)
            self.judge()
        self.measure()

    def wait_all_up(self):
        def up():
            self.judge()
            return all(s.verdict == "UP" for w in self.watches.values()
                       for s in w.seen.values())
        try:
            wait_until(up, "all servers UP at rest", 60)
        except AssertionError as e:
            self.blame("all", None, boottime(), str(e))

    def check_witnesses(self):
        """Who has stopped to look has nothing to complain about."""
        threads = {"noise": self.noise, "flags": self.flags}
        for reader in self.readers:
            threads[reader.process.name] = reader.thread
        for name, thread in threads.items():
            if not thread.is_alive():
                self.blame(name, None, boottime(), "no longer looks")
        for name, watch in self.watches.items():
            if watch.looks == self.looks.get(name):
                self.blame(name, None, boottime(), "nothing was seen")
            self.looks[name] = watch.looks

    def measure(self):
        # Connections of scans come and go.
        looks = []
        for _ in range(20):
            looks.append(footprint(self.checker.pid))
            time.sleep(0.05)
        rest = {"daemon": min(looks, key=lambda look: look["fds"])}
        for reader in self.readers:
            rest[reader.process.name] = footprint(reader.process.pid)
        rest["at"] = round(boottime() - getattr(self, "began", boottime()))
        self.rests.append(rest)
        self.compare(rest)
        self.check_witnesses()
        self.check_tidy()
        self.check_counters()
        self.check_tilts()
        print("{at:6} s: {blames} blames, daemon {daemon[rss]} KiB "
              "{daemon[fds]} fds {daemon[threads]} threads {daemon[maps]} maps"
              .format(blames=len(self.blames), **rest), flush=True)

    def compare(self, rest):
        """With the first rest: of all, and of this daemon's life, after it
        has once had what reloads and outages take."""
        if self.rest_of_life is None and \
                self.did["reload"] - self.reloads_before >= WARM:
            self.rest_of_life = rest["daemon"]
        if self.rest_of_life:
            self.grown("daemon", self.rest_of_life, rest["daemon"], 384, 6)
        for name in rest:
            if name == "daemon":
                self.grown(name, self.rests[0][name], rest[name], 4096, 40)
            elif name != "at":
                self.grown(name, self.rests[0][name], rest[name], 512, 4)

    def grown(self, name, then, now, kib, maps):
        for what, room in (("fds", 2), ("threads", 0), ("maps", maps),
                           ("rss", 1 << 30 if SAN else kib)):
            if now[what] > then[what] + room:
                self.blame(name, None, boottime(), f"{what}: {then[what]} at "
                           f"the first rest, now {now[what]}")

    def check_tidy(self):
        want = sorted(f"{p}.mcshm" for p in self.pools)
        try:
            self.checker.wait_files(*want)
        except AssertionError:
            self.blame("daemon", None, boottime(),
                       f"left lying: {files(self.checker.directory)}")
        done = self.checker.shmdump(
            "--verify", *(str(self.checker.path(p)) for p in self.pools))
        if done.returncode == 3:
            self.blame("daemon", None, boottime(), done.stdout)

    def check_counters(self):
        """Transitions are those that were seen; own faults were made by us."""
        short = self.did["few_descriptors"]
        for name, watch in self.watches.items():
            for s in self.checker.pool(name)["servers"]:
                key = f"{s['name']}@{s['address'].rpartition(':')[2]}"
                seen = watch.seen.get(key)
                if seen is None:
                    continue
                now = (seen.steps, s["transitions"], s["local_errors"], short)
                then, seen.dumped = seen.dumped, now
                if then:
                    self.check_counter(watch, seen, then, now)

    def check_counter(self, watch, seen, then, now):
        steps, transitions, errors, short = (b - a for a, b in zip(then, now))
        watch.missed += max(transitions - steps, 0)
        if not steps <= transitions <= steps + 2 + steps // 10:
            self.blame(watch.pool, seen, boottime(), f"{transitions} "
                       f"transitions since the last rest, {steps} were seen")
        if errors and not short:
            self.blame(watch.pool, seen, boottime(),
                       f"{errors} local errors, none was made")

    def check_tilts(self):
        """Each for a reason."""
        for pool, spans in self.flags.tilt.items():
            for a, b, _ in spans.spans[self.tilts[pool]:]:
                stood = self.daemon.blind.within(a - 1.5, a + 0.1)
                if not stood and self.daemon.noise.total(a - 1.5, a) < 0.3:
                    self.blame(pool, None, a, "TILT for no reason")
            self.tilts[pool] = len(spans.spans)

    # What is wrong.

    def blame(self, where, seen, t, why):
        name = seen.subject.name if seen else ""
        text = f"{t:.3f} {where} {name}: {why}"
        self.blames.append(text)
        print("BLAME", text, flush=True)
        self.keep(where, seen, t, text)

    def keep(self, where, seen, t, text):
        """What it takes to understand it."""
        directory = pathlib.Path(self.options.keep) / \
            f"{self.options.seed}-{len(self.blames)}"
        directory.mkdir(parents=True, exist_ok=True)
        for path in self.checker.directory.glob("*.mcshm"):
            shutil.copyfile(path, directory / path.name)
        (directory / "daemon.log").write_text("\n".join(
            self.checker.log().splitlines()[-500:]) + "\n")
        (directory / "mc-checkerd.ini").write_text(self.checker.text())
        (directory / "story").write_text(
            "\n".join([text, f"seed {self.options.seed}", ""]
                      + list(self.story(seen, t))) + "\n")

    def story(self, seen, t):
        if seen:
            s = seen.subject
            yield f"rule: {s.rules.now()}"
            yield f"in the ini since {s.born:.3f}"
            yield "what probes could come to (1 good, 2 proof, 4 silence):"
            for a, b, m in s.past.pieces(t - 60, t + 1):
                yield f"  {a:.3f} to {b:.3f}: {m}"
            yield "what the file showed:"
            for at, step in seen.past:
                yield f"  {at:.3f} {step}"
            yield f"admin: {list(s.admin.pieces(t - 60, t + 1))}"
            yield f"tilt: {s.tilt.within(t - 60, t + 1)}"
        for word in ("blind", "short", "noise"):
            spans = getattr(self.daemon, word).within(t - 30, t + 1)
            yield f"{word}: " + " ".join(
                f"{a:.3f}-{b:.3f}({much:.3f})" for a, b, much in spans)
        yield "what was done:"
        for at, verb, what in self.history:
            if t - 60 < at < t + 1:
                yield f"  {at:.3f} {verb} {what}"

    # The end.

    def report(self):
        looks = sum(w.looks for w in self.watches.values())
        steps = sum((w.steps for w in self.watches.values()),
                    collections.Counter())
        print("did: " + ", ".join(f"{n} {v}" for v, n in
                                  self.did.most_common()))
        print("steps: " + ", ".join(f"{a}->{b} {n}" for (a, b), n in
                                    sorted(steps.items())))
        for p, watch in self.watches.items():
            pick = self.picks[p]
            due, made = watch.rate
            print(f"{p}: {watch.looks} looks, {watch.judged} steps judged, "
                  f"{watch.missed} not seen, "
                  f"{pick.picks} picks, worst {pick.worst / 1e6:.1f} ms, "
                  f"{pick.checked} checked, {pick.blind} blind; probes "
                  f"{made:.0f} of {due:.0f} due")
            if due > 200 and not 0.85 < made / due < 1.15:
                self.blame(p, None, boottime(), "the schedule drifts")
        noise = self.daemon.noise.total(0, boottime())
        print(f"noise: {noise:.1f} s, longest {self.noise.worst:.2f} s; "
              f"{looks} looks; tilts: " + ", ".join(
                  f"{p} {len(s.spans)}" for p, s in self.flags.tilt.items())
              + "; failing open: " + ", ".join(
                  f"{p} {len(s.spans)}" for p, s in self.flags.open.items()))

    def close(self):
        self.noise.over = self.flags.over = True


def footprint(pid):
    """Memory of its own (KiB), descriptors, threads, mappings."""
    with open(f"/proc/{pid}/status") as f:
        rss = next(int(line.split()[1]) for line in f
                   if line.startswith("RssAnon"))
    with open(f"/proc/{pid}/maps") as f:
        maps = sum(1 for _ in f)
    return {"rss": rss, "maps": maps,
            "fds": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task"))}


def arguments(argv=None):
    parser = argparse.ArgumentParser(prog="soak.py")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--fakes", type=int, default=50)
    parser.add_argument("--reals", type=int, default=5)
    parser.add_argument("--pace", type=float, default=0.25)
    parser.add_argument("--settle", type=float, default=180)
    parser.add_argument("--churn", type=int, default=10)
    parser.add_argument("--keep", default=str(BUILD / "soak"))
    options = parser.parse_args(argv)
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    return options


def main(argv=None):
    options = arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"soak: {options.seconds:.0f} s, seed {options.seed}", flush=True)
    house, soak = House("soak"), None
    try:
        soak = Soak(house, options)
        soak.run()
        soak.report()
    except (Exception, KeyboardInterrupt) as e:
        if soak is None:
            raise
        soak.blame("soak", None, boottime(), f"{type(e).__name__}: {e}")
        raise
    finally:
        if soak:
            soak.close()
        house.close()
    for problem in house.problems:
        print(f"left: {problem}")
    if soak.blames or house.problems:
        print(f"soak: FAILED, {len(soak.blames)} blames; seed {options.seed}, "
              f"kept in {options.keep}")
        return 1
    print("soak: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
