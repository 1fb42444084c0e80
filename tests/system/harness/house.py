"""Everything that one test starts, and its end."""
import itertools
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pytest

from . import checker, client, netns, servers

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = (ROOT / (os.environ.get("MC_BUILD") or os.environ.get("BUILD")
                 or "build")).resolve()
SAN = os.environ.get("SAN", "")     # sanitizers have memory of their own
MARK = "MC_SYSTEM_TEST"
SANITIZER = re.compile(r"Sanitizer|runtime error:")


def memory_directory():
    """Pool files belong on a tmpfs: a disk's msync can take seconds."""
    shm = "/dev/shm"
    return shm if os.access(shm, os.W_OK | os.X_OK) else None


class House:
    def __init__(self, name):
        for program in ("mc-checkerd", "mc-shmdump", "tests/fakemc",
                        "tests/client"):
            assert (BUILD / program).exists(), \
                f"no {BUILD / program}: make check-build"
        self.directory = pathlib.Path(tempfile.mkdtemp(
            prefix="mc-system-", dir=memory_directory()))
        self.name = name
        self.mark = {MARK: uuid.uuid4().hex}
        self.numbers = itertools.count()
        self.processes, self.checkers, self.clients = [], [], []
        self.namespaces, self.mounts, self.ports = [], [], {}
        self.problems = []

    # What a test can have.

    def checker(self, pools=None, **more):
        return checker.Checker(self, pools or {}, **more)

    def memcached(self, **more):
        return servers.Memcached(self, **more)

    def memcacheds(self, n, **more):
        return [self.memcached(name=f"cache{i}", **more) for i in range(n)]

    def fake(self, count=1, **more):
        return servers.Fake(self, count, **more)

    def client(self, pool, **more):
        self.clients.append(client.Client(self, pool, **more))
        return self.clients[-1]

    def netns(self):
        return netns.Netns(self)

    def wire(self):
        return netns.Wire(self)

    def port(self):
        """A TCP port that is ours until the test ends.  Below the range from
        which the kernel takes ports of its own, so that a server that is down
        finds it free again; an abstract socket keeps other tests away."""
        with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
            most = int(f.read().split()[0])
        first = 10000 + os.getpid() * 37 % 15000
        for port in itertools.chain(range(first, most), range(10000, first)):
            lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                lock.bind(f"\0mc-system-port-{port}")
                for family, ip in ((socket.AF_INET, "127.0.0.1"),
                                   (socket.AF_INET6, "::1")):
                    with socket.socket(family) as s:
                        s.setsockopt(socket.SOL_SOCKET,
                                     socket.SO_REUSEADDR, 1)
                        s.bind((ip, port))
            except OSError:
                lock.close()
                continue
            self.ports[port] = lock
            return port
        raise AssertionError("no free port")

    def tmpfs(self, size):
        """A small file system of its own."""
        where = self.directory / f"tmpfs{next(self.numbers)}"
        where.mkdir(mode=0o755)
        self.privileged("mount", "-t", "tmpfs", "-o", f"size={size},mode=755",
                        "tmpfs", where)
        self.mounts.append(where)
        return where

    def run(self, *command, ok=True, seconds=20, **more):
        """A command that ends by itself."""
        env = os.environ | self.mark | more.pop("env", {})
        done = subprocess.run([str(c) for c in command], text=True,
                              env=env, capture_output=True, timeout=seconds,
                              stdin=subprocess.DEVNULL, **more)
        assert not ok or done.returncode == 0, \
            f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def privileged(self, *command):
        """What containers and users may not be allowed: a skip with a name,
        which continuous integration does not let pass."""
        done = self.run(*command, ok=False)
        if done.returncode != 0:
            pytest.skip(f"{' '.join(map(str, command[:3]))} does not work "
                        f"here: {done.stderr.strip()}")

    def other_user(self):
        """The beginning of a command that is to be run by nobody."""
        if os.geteuid() != 0:
            pytest.skip("only root can be another user")
        self.directory.chmod(0o755)
        return ["setpriv", "--reuid=65534", "--regid=65534",
                "--clear-groups", "--"]

    # Its end.

    def close(self):
        for one in self.checkers:
            self.guard(one.finish)
        for process in reversed(self.processes):
            self.guard(process.end)
            if SANITIZER.search(process.text()):
                self.problems.append(f"{process.name}: {process.text()}")
        self.guard(self.end_leftovers)
        for namespace in self.namespaces:
            self.guard(namespace.remove)
        for where in self.mounts:
            self.guard(lambda: self.run("umount", "-l", where))
        for lock in self.ports.values():
            lock.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def guard(self, step):
        """The rest of the end has to come, too."""
        try:
            step()
        except Exception as e:
            self.problems.append(f"{type(e).__name__}: {e}")

    def leftovers(self):
        wanted = f"{MARK}={self.mark[MARK]}".encode()
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if wanted not in f.read().split(b"\0"):
                        continue
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    found[int(pid)] = f.read().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def end_leftovers(self):
        deadline = time.monotonic() + 2
        while self.leftovers() and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid, command in self.leftovers().items():
            self.problems.append(f"left behind: {pid} {command}")
            os.kill(pid, signal.SIGKILL)

    # For whoever reads that it failed.

    def story(self):
        for one in self.checkers:
            yield from one.story()
        for one in self.clients:
            yield one.process.name, "slowest answer {:.3f} s, to {}".format(
                *one.slowest)
        told = {one.process for one in self.checkers}
        for process in self.processes:
            if process not in told and process.text():
                yield process.name, process.text()[-4000:]
