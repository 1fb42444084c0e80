"""mc-checkerd: its ini, its log, what it tells systemd, its files."""
import json
import re
import signal
import socket
import threading
import time

from .process import Process, wait_until

# Fast enough to see many things in a second, slow enough for a busy machine.
QUICK = {"interval": "200ms", "fast_interval": "50ms",
         "down_interval": "200ms", "timeout": "200ms",
         "connect_timeout": "300ms", "hold_after": "400ms",
         "rehash_after": "2s", "rise": 2, "min_down_time": "300ms",
         "flap_hold": "0"}
BEAT = {"heartbeat": "100ms"}


def files(directory):
    """Names of what is in it, but for the sockets for reports."""
    return sorted(p.name for p in directory.iterdir()
                  if not re.fullmatch(r"\.report(\.\d)?", p.name))


class Notifications:
    """The other end of $NOTIFY_SOCKET: [(when, {key: value})]"""

    def __init__(self, address):
        self.messages = []
        self.mark = None
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.over = False
        self.listens = threading.Event()
        self.listens.set()
        self.socket.settimeout(0.2)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        """All the time: what finds the queue full is lost."""
        while not self.over:
            self.listens.wait()
            try:
                text = self.socket.recv(4096).decode()
            except TimeoutError:
                continue
            except OSError:
                return
            if text.startswith("MARK="):
                self.mark = text
                continue
            self.messages.append((time.monotonic(), dict(
                line.split("=", 1) for line in text.splitlines())))

    def stop_listening(self):
        """The queue is full, and stays so."""
        self.listens.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.setblocking(False)
            try:
                while True:
                    s.sendto(b"FULL=1", self.address)
            except BlockingIOError:
                pass

    def listen_again(self):
        self.listens.set()

    def having(self, key):
        return [(when, m[key]) for when, m in list(self.messages) if key in m]

    def settle(self):
        """All that has been sent so far is in messages."""
        mark = f"MARK={time.monotonic_ns()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(mark.encode(), self.address)
        wait_until(lambda: self.mark == mark, mark)

    def close(self):
        self.over = True
        self.listens.set()
        self.thread.join(2)
        self.socket.close()


class Checker:
    """pools: {name: [server line, ...]}, or {name: {key: value}} where the
    key "server" has the lines.  Rewritten and read again by reload()."""

    def __init__(self, house, pools, checker=None, defaults=None,
                 shipped=False, start=True, directory=None, name=None,
                 **more):
        self.house = house
        self.name = name or f"checker{next(house.numbers)}"
        self.own = house.directory / self.name
        self.own.mkdir(mode=0o755)
        self.directory = directory or self.own / "run"
        if not directory:
            self.directory.mkdir(mode=0o755)
        self.ini = self.own / "mc-checkerd.ini"
        self.pools, self.shipped = pools, shipped
        # shipped: nothing but defaults, or what the test says.
        self.checker = {} if shipped else dict(BEAT)
        self.checker |= {"directory": self.directory} | (checker or {})
        self.defaults = {} if shipped else dict(QUICK)
        self.defaults |= defaults or {}
        self.process, self.notifications = None, None
        self.expected_code = 0
        self.verify = True
        house.checkers.append(self)
        self.configure()
        if start:
            self.start(**more)

    # The ini.

    def text(self):
        def section(heading, keys):
            if not self.shipped and "down_interval" in keys:
                # No back-off, where the test does not ask for it.
                keys = {"down_interval_max": keys["down_interval"]} | keys
            lines = [f"[{heading}]"]
            for key, value in keys.items():
                values = value if isinstance(value, list) else [value]
                lines += [f"{key} = {v}" for v in values]
            return "\n".join(lines) + "\n"

        text = section("checker", self.checker)
        text += section("defaults", self.defaults)
        for name, pool in self.pools.items():
            keys = pool if isinstance(pool, dict) else {"server": pool}
            text += section(f"pool {name}", keys)
        return text

    def configure(self, text=None):
        """All of it or nothing, should a daemon read it just now: half an ini
        may well be a good one."""
        new = self.ini.with_suffix(".new")
        new.write_text(self.text() if text is None else text)
        new.rename(self.ini)

    # Its life.

    def start(self, ready=True, env=None, before=(), netns=None,
              abstract=False, watchdog=None, options=()):
        if self.notifications:
            self.notifications.close()
        address = f"{self.house.directory}/n{next(self.house.numbers)}"
        if abstract:
            address = "@" + address
        self.notifications = Notifications(
            "\0" + address[1:] if abstract else address)
        environment = {"NOTIFY_SOCKET": address}
        if watchdog:
            environment["WATCHDOG_USEC"] = str(watchdog)
        self.began = time.monotonic()
        self.log_from = self.length()
        self.process = Process(
            self.house, self.name,
            [self.program("mc-checkerd"), "-c", self.ini, *options],
            env=environment | (env or {}), before=before, netns=netns)
        self.expected_code = 0
        if ready:
            self.wait_until_ready()

    def program(self, name):
        from .house import BUILD
        return BUILD / name

    @property
    def pid(self):
        return self.process.pid

    @property
    def alive(self):
        return self.process.alive

    def told(self, key, after=0):
        """Values of key in what it has told systemd so far."""
        self.notifications.settle()
        return [v for when, v in self.notifications.having(key)
                if when >= after]

    def wait_until_ready(self, seconds=10, after=0):
        def ready():
            assert self.alive, \
                f"{self.name} has ended with {self.process.code}"
            return self.told("READY", after)
        try:
            wait_until(ready, f"{self.name}: READY=1", seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\n{self.log()}") from None

    def hang_up(self):
        self.process.signal(signal.SIGHUP)

    def reload(self, text=None):
        """Write the ini anew, SIGHUP, wait until it says that it is done."""
        self.configure(text)
        began = time.monotonic()
        self.hang_up()
        wait_until(lambda: self.told("RELOADING", began), "RELOADING=1")
        wait_until(lambda: self.told("READY", began), "READY=1 again")

    def stop(self, number=signal.SIGTERM, seconds=5):
        """Its exit code."""
        self.process.signal(number)
        return self.process.wait(seconds)

    def kill(self):
        self.process.kill()
        self.expected_code = -signal.SIGKILL

    def finish(self):
        """For the house: the end of a daemon, and what it leaves behind, must
        be as they should be in every test."""
        if self.process and self.alive:
            self.process.cont()
            if self.verify and not self.process.ended_by_test:
                self.check_files()
            self.stop()
        if self.process and self.process.code != self.expected_code:
            self.house.problems.append(
                f"{self.name} ended with {self.process.code}, not with "
                f"{self.expected_code}")
        if self.notifications:
            self.notifications.close()

    def check_files(self):
        files = [str(f) for f in self.directory.glob("*.mcshm")]
        if files:
            done = self.shmdump("--verify", *files)
            if done.returncode == 3:
                self.house.problems.append(f"damaged: {done.stdout}")

    # Its log.

    def length(self):
        log = self.house.directory / f"{self.name}.log"
        return log.stat().st_size if log.exists() else 0

    def log(self):
        """Of the daemon started last."""
        path = self.house.directory / f"{self.name}.log"
        return path.read_bytes()[self.log_from:].decode(errors="replace")

    def logged(self, pattern):
        """Lines that match."""
        return [line for line in self.log().splitlines()
                if re.search(pattern, line)]

    def wait_logged(self, pattern, seconds=10):
        return wait_until(lambda: self.logged(pattern),
                          f"in the log: {pattern}", seconds)

    # Its files.

    def path(self, pool="web"):
        return self.directory / f"{pool}.mcshm"

    def wait_files(self, *names):
        """These and no others are in the directory.  (A replaced file has its
        temporary name for a moment after its readers have left it.)"""
        wait_until(lambda: files(self.directory) == sorted(names),
                   f"nothing but {names}")

    def inode(self, pool="web"):
        return self.path(pool).stat().st_ino

    def shmdump(self, *options):
        return self.house.run(self.program("mc-shmdump"), *options, ok=False)

    def dump(self, *pools):
        """What mc-shmdump --json says of them (of all)."""
        files = [self.path(p) for p in pools] or \
            sorted(self.directory.glob("*.mcshm"))
        done = self.shmdump("--json", *files)
        assert done.returncode in (0, 1, 2), done.stdout + done.stderr
        return json.loads(done.stdout)

    def dump_code(self, pool="web"):
        """Its exit code: 0 well, 1 trouble, 2 unprotected."""
        return self.shmdump(self.path(pool)).returncode

    def pool(self, pool="web"):
        return self.dump(pool)["pools"][0]

    def servers(self, pool="web"):
        """{name: what mc-shmdump says of the server}"""
        return {s["name"]: s for s in self.pool(pool)["servers"]}

    def verdicts(self, pool="web"):
        return {n: s["verdict"] for n, s in self.servers(pool).items()}

    def wait_verdicts(self, wanted, pool="web", seconds=10):
        """wanted: {name: verdict}; servers that are not in it may have any.
        Or one verdict for all."""
        def there():
            now = self.verdicts(pool)
            want = wanted if isinstance(wanted, dict) else \
                dict.fromkeys(now, wanted)
            got = {n: now.get(n) for n in want}
            assert got == want, f"{got} is not {want}"
            return True
        wait_until(there, f"verdicts {wanted}", seconds)

    # For whoever reads that it failed.

    def story(self):
        yield f"{self.name}: ini", self.text()[:8000]
        if self.process:
            yield f"{self.name}: log", self.process.text()[-8000:]
            yield f"{self.name}: told", "\n".join(
                f"{when - self.began:8.3f} {m}"
                for when, m in self.notifications.messages[-40:])
        files = sorted(self.directory.glob("*.mcshm"))
        if files:
            yield f"{self.name}: mc-shmdump", \
                self.shmdump("--all", *files).stdout[:16000]
