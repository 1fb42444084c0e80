"""The servers that are watched: real ones, and fakes that misbehave."""
import os
import re
import socket

from .process import Process, wait_until


class Memcached:
    """A real memcached; restarted, it has the same address."""

    def __init__(self, house, name=None, ip="127.0.0.1", unix=None,
                 netns=None, options=()):
        self.house = house
        self.name = name or f"memcached{next(house.numbers)}"
        self.ip, self.unix, self.netns = ip, unix, netns
        self.options = list(options)
        self.process = None
        self.port = None
        for _ in range(5):
            if not unix:
                self.port = house.port()
            if self.launch():
                return
        raise AssertionError(f"{self.name} does not start")

    @property
    def address(self):
        if self.unix:
            return f"unix:{self.unix}"
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else \
            f"{self.ip}:{self.port}"

    @property
    def line(self):
        """As in the ini."""
        return f"{self.name} {self.address}"

    def command(self):
        where = ["-s", self.unix] if self.unix else \
            ["-l", self.ip, "-p", self.port, "-U", "0"]
        user = ["-u", "root"] if os.geteuid() == 0 else []
        return ["memcached", *where, "-t", "2", "-m", "8", *user,
                *self.options]

    def launch(self):
        """False if somebody has its port."""
        told = self.house.directory / f"port{next(self.house.numbers)}"
        self.process = Process(
            self.house, f"{self.name}-{next(self.house.numbers)}",
            self.command(), env={"MEMCACHED_PORT_FILENAME": str(told)},
            netns=self.netns, gentle=False)
        wait_until(lambda: not self.process.alive or self.listens(told),
                   f"{self.name} listens")
        return self.process.alive

    def listens(self, told):
        if not self.unix:
            return told.exists()
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(str(self.unix)) == 0

    def kill(self):
        self.process.kill()

    def restart(self):
        if self.process.alive:
            self.kill()
        assert self.launch(), f"{self.name}: its port is taken"

    def stop(self):
        self.process.stop()

    def cont(self):
        self.process.cont()


class Fake:
    """fakemc: server i of it is in a mode that set() changes."""

    def __init__(self, house, count=1, mode="ok", unix=(), name="fake",
                 netns=None, ip="127.0.0.1", port=0):
        from .house import BUILD
        options = ["--count", count, "--mode", mode, "--address", ip]
        if port:
            options += ["--port", port]
        for path in unix:
            options += ["--unix", path]
        self.name = name
        self.process = Process(house, f"fakemc{next(house.numbers)}",
                               [BUILD / "tests/fakemc", *options],
                               talks=True, netns=netns)
        ready = self.process.read()
        assert ready.startswith("ports: "), ready
        self.ports = [int(p) for p in ready.split()[1:1 + count]]

    def names(self):
        return [f"{self.name}{i}" for i in range(len(self.ports))]

    def line(self, i, more=""):
        return f"{self.name}{i} 127.0.0.1:{self.ports[i]} {more}".rstrip()

    def lines(self, which=None):
        which = range(len(self.ports)) if which is None else which
        return [self.line(i) for i in which]

    def set(self, i, mode):
        self.process.write(f"{i} {mode}")
        answer = self.process.read()
        assert answer == "ok", f"{i} {mode}: {answer}"

    def stats(self):
        """[(requests, connections accepted, open)], one a server."""
        self.process.write("stats")
        rows = []
        while (line := self.process.read()) != "end":
            assert re.fullmatch(r"\d+ \S+ \d+ \d+ \d+", line), line
            rows.append(tuple(int(n) for n in line.split()[2:]))
        return rows

    def requests(self):
        return [row[0] for row in self.stats()]
