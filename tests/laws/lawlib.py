"""What the laws need: the tree as text, the build, and a pool that runs."""
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / "build")).resolve()
SAN = os.environ.get("SAN", "")


def run(*command, ok=True, **more):
    """Run a command without make's variables; its result, text mode."""
    env = {k: v for k, v in os.environ.items()
           if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    env.update(more.pop("env", {}))
    done = subprocess.run([str(c) for c in command], env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=more.pop("timeout", 60), **more)
    if ok and done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}: ended with "
                    f"{done.returncode}\n{done.stdout}{done.stderr}")
    return done


def compiler(language="c"):
    name, default = ("CXX", "g++") if language == "c++" else ("CC", "cc")
    return os.environ.get(name, default).split()


def sources(*directories, ends=(".c", ".h")):
    """Paths of the project's files, relative to the root."""
    found = []
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*")):
            if path.name.endswith(ends) and path.is_file():
                found.append(path.relative_to(ROOT).as_posix())
    return found


def text(path):
    return (ROOT / path).read_text()


def code(path):
    """C with comments and the content of literals blanked, lines kept."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'
                       r"|'(?:\\.|[^'\\\n])*'", re.S)

    def blank(m):
        inside = re.sub(r"[^\n]", " ", m.group()[1:-1])
        return m.group()[0] + inside + m.group()[-1] \
            if m.group()[0] in "\"'" else re.sub(r"[^\n]", " ", m.group())

    return token.sub(blank, text(path))


def wait_until(true, what, seconds=10):
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)


class Pool:
    """Three real memcacheds and a mc-checkerd that watches them."""

    def __init__(self, directory):
        self.directory = directory
        self.processes = []
        self.ports = []

    def start(self, servers=3):
        for i in range(servers):
            self.ports.append(self.memcached(i))
        ini = self.directory / "mc-checkerd.ini"
        ini.write_text(f"[checker]\ndirectory = {self.directory}\n"
                       "[pool web]\n" +
                       "".join(f"server = cache{i} 127.0.0.1:{port}\n"
                               for i, port in enumerate(self.ports)))
        self.spawn([BUILD / "mc-checkerd", "-c", ini])
        wait_until((self.directory / "web.mcshm").exists, "the pool's file")

    def memcached(self, i, port=-1):
        told = self.directory / f"port{i}"
        told.unlink(missing_ok=True)
        command = ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0",
                   "-m", "8"]
        if os.geteuid() == 0:
            command += ["-u", "root"]
        self.spawn(command, env=os.environ | {
            "MEMCACHED_PORT_FILENAME": str(told)})
        wait_until(told.exists, "memcached's port")
        port = int(re.search(r"TCP INET: (\d+)", told.read_text()).group(1))
        socket.create_connection(("127.0.0.1", port), 5).close()
        return port

    def kill(self, i):
        """A memcached that has run since the start."""
        self.processes[i].kill()
        self.processes[i].wait()

    def restart(self, i):
        self.memcached(i, self.ports[i])

    def spawn(self, command, **more):
        log = open(self.directory / f"log{len(self.processes)}", "wb")
        with log:
            self.processes.append(subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **more))

    def stop(self):
        for p in reversed(self.processes):
            p.terminate()
        for p in self.processes:
            try:
                p.wait(10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
