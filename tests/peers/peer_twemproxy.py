#!/usr/bin/python3
"""peer_twemproxy.py - the servers that nutcracker sends keys to; request.h has
the words that it is asked with.

    set distribution ketama | modula
    set hash NAME
    set hash_tag XY
    set eject           auto_eject_hosts, at the first failure, for a day

The real nutcracker runs between a client and servers that answer with their own
number, all three in a network namespace that nobody else sees (the caller made
it: unshare --net --mount): every address is local there, and every port free.
A server that is down does not listen.  Keys have to be such as the protocol
carries.  TRIES is 1.  To store, the servers are there already.
"""
import os
import re
import resource
import selectors
import socket
import struct
import subprocess
import sys
import time

REPLY = b"VALUE x 0 5\r\n%05d\r\nEND\r\n"
REPLIES = re.compile(rb"VALUE x 0 5\r\n(\d{5})\r\nEND\r\n"
                     rb"|(STORED\r\n|\w*ERROR[^\n]*\n)")
PATIENCE = 60           # s without any progress
IP_FREEBIND = 15
CHUNK = 1 << 17


def run(*command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL,
                   stdout=sys.stderr)


def everything_is_local():
    """In this namespace."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo")
    run("ip", "-6", "route", "add", "local", "::/0", "dev", "lo")


class Servers:
    """Those of the list that are up; each connection's answer is its server's
    number, once for each line that came."""

    def __init__(self, selector, hosts_file):
        self.selector = selector
        self.hosts_file = hosts_file
        self.open = {}          # socket: its answer, None: it listens

    def start(self, servers, down):
        names = [host for host, *_ in servers if re.search(r"[g-z]", host)
                 and host[0] != "/"]
        address = {name: f"10.255.{i // 250}.{i % 250 + 1}"
                   for i, name in enumerate(dict.fromkeys(names))}
        with open(self.hosts_file, "w") as f:
            f.writelines(f"{ip} {name}\n" for name, ip in address.items())
        taken = set()
        for i, (host, port, *_) in enumerate(servers):
            if i not in down and (host, port) not in taken:
                taken.add((host, port))
                self.listen(i, address.get(host, host), port)

    def listen(self, i, host, port):
        family = socket.AF_UNIX if host[0] == "/" else \
            socket.AF_INET6 if ":" in host else socket.AF_INET
        s = socket.socket(family, socket.SOCK_STREAM)
        if family != socket.AF_UNIX:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        else:
            os.makedirs(os.path.dirname(host), exist_ok=True)
            if os.path.exists(host):
                os.unlink(host)
        s.bind(host if family == socket.AF_UNIX else (host, port))
        s.listen(16)
        self.add(s, lambda s: self.accept(s, i))

    def add(self, s, then):
        s.setblocking(False)
        self.open[s] = bytearray()
        self.selector.register(s, selectors.EVENT_READ, then)

    def accept(self, listening, i):
        s, _ = listening.accept()
        self.add(s, lambda s: self.answer(s, REPLY % i))

    def answer(self, s, reply):
        """What the proxy does not take at once waits for the next turn."""
        try:
            came = s.recv(CHUNK)
        except BlockingIOError:
            came = None
        waiting = self.open[s]
        if came == b"":
            return self.forget(s)
        if came:
            waiting += reply * came.count(b"\n")
        try:
            del waiting[:s.send(waiting)]
        except BlockingIOError:
            pass
        self.selector.modify(
            s, selectors.EVENT_READ | (selectors.EVENT_WRITE if waiting else 0),
            self.selector.get_key(s).data)

    def forget(self, s):
        self.selector.unregister(s)
        s.close()
        del self.open[s]

    def stop(self):
        for s in list(self.open):
            self.forget(s)


class Proxy:
    def __init__(self, directory):
        self.directory = directory
        self.socket = f"{directory}/proxy"
        self.process = None

    def configure(self, servers, settings):
        def line(host, port, weight, name):
            where = f"{host}:{weight}" if host[0] == "/" else \
                f"{host}:{port}:{weight}"
            return f"   - {where} {name}" if name != "-" else f"   - {where}"

        text = ["peers:", f"  listen: {self.socket}", "  preconnect: false",
                f"  distribution: {settings['distribution']}",
                f"  hash: {settings['hash']}"]
        if "hash_tag" in settings:
            text.append(f"  hash_tag: \"{settings['hash_tag']}\"")
        if "eject" in settings:
            text += ["  auto_eject_hosts: true", "  server_failure_limit: 1",
                     "  server_retry_timeout: 86400000"]
        text += ["  servers:"] + [line(*s) for s in servers]
        with open(f"{self.directory}/conf", "w") as f:
            f.write("\n".join(text) + "\n")

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        log = open(f"{self.directory}/log", "wb")
        with log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "nutcracker",
                 "-c", f"{self.directory}/conf", "-v", "0"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(self.socket)
                return s
            except OSError:
                s.close()
            if self.process.poll() is not None or time.monotonic() > deadline:
                with open(f"{self.directory}/log") as f:
                    sys.exit(f"nutcracker does not run: {f.read()}")
            time.sleep(0.002)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Pass:
    """All keys once, and what was answered."""

    def __init__(self, selector, s, keys, request=b"get %s\r\n"):
        self.selector, self.socket = selector, s
        self.out = memoryview(b"".join(request % k for k in keys))
        self.wanted, self.came, self.replies = len(keys), bytearray(), []

    def run(self):
        self.socket.setblocking(False)
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        self.selector.register(self.socket, both, None)
        while len(self.replies) < self.wanted:
            events = self.selector.select(PATIENCE)
            if not events:
                sys.exit(f"nutcracker: {len(self.replies)} replies to "
                         f"{self.wanted} keys, then none")
            for key, mask in events:
                if key.fileobj is not self.socket:
                    key.data(key.fileobj)
                    continue
                if mask & selectors.EVENT_WRITE:
                    self.write()
                if mask & selectors.EVENT_READ:
                    self.read()
        self.selector.unregister(self.socket)
        return self.replies

    def write(self):
        try:
            self.out = self.out[self.socket.send(self.out[:CHUNK]):]
        except BlockingIOError:
            return
        if not self.out:
            self.selector.modify(self.socket, selectors.EVENT_READ, None)

    def read(self):
        came = self.socket.recv(CHUNK)
        if not came:
            sys.exit("nutcracker: the connection ended after "
                     f"{len(self.replies)} replies")
        self.came += came
        end = 0
        for m in REPLIES.finditer(self.came):
            if m.start() != end:
                sys.exit(f"nutcracker: {bytes(self.came[end:end + 99])}")
            self.replies.append(m.group(2) or int(m.group(1)))
            end = m.end()
        del self.came[:end]


class Peer:
    def __init__(self, directory):
        self.selector = selectors.DefaultSelector()
        self.servers = Servers(self.selector, "/etc/hosts")
        self.proxy = Proxy(directory)
        self.client = None
        self.keys = []
        self.forget()

    def forget(self):
        self.list, self.down, self.settings = [], set(), {}
        self.stop()

    def stop(self):
        if self.client:
            self.client.close()
        self.client = None
        self.proxy.stop()
        self.servers.stop()

    def read_keys(self, path):
        with open(path, "rb") as f:
            everything = f.read()
        self.keys, at = [], 0
        while at < len(everything):
            n, = struct.unpack_from("<H", everything, at)
            self.keys.append(everything[at + 2:at + 2 + n])
            at += 2 + n

    def ask(self, start, count, tries):
        """The first pass in which nobody failed: who fails is ejected, and
        from then on keys go elsewhere."""
        if tries != 1:
            sys.exit("one try only")
        if not self.client:
            self.servers.start(self.list, self.down)
            self.connect()
        for _ in range(2 * len(self.down) + 2):
            replies = Pass(self.selector, self.client,
                           self.keys[start:start + count]).run()
            failed = [r for r in replies if isinstance(r, bytes)]
            if not failed:
                break
        else:
            sys.exit(f"nutcracker: {failed[:3]}")
        return replies

    def store(self, start, count):
        if not self.client:
            self.connect()
        replies = Pass(self.selector, self.client,
                       self.keys[start:start + count],
                       b"set %s 0 0 1\r\n1\r\n").run()
        return [reply == b"STORED\r\n" for reply in replies]

    def connect(self):
        self.proxy.configure(self.list, self.settings)
        self.client = self.proxy.start()

    def obey(self, word, *rest):
        if word == "new":
            self.forget()
        elif word == "keys":
            self.read_keys(*rest)
        elif word == "set":
            self.settings[rest[0]] = " ".join(rest[1:])
        elif word == "server":
            self.list.append((rest[0], int(rest[1]), int(rest[2]), rest[3]))
        elif word == "down":
            self.down.add(int(rest[0]))
        elif word in ("ask", "store"):
            numbers = getattr(self, word)(*map(int, rest))
            sys.stdout.buffer.write(struct.pack(f"<{len(numbers)}H", *numbers))
            sys.stdout.buffer.flush()
        else:
            sys.exit(f"not understood: {word}")


def main():
    """In the current directory, which is ours; all that is mounted goes with
    the namespace."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    everything_is_local()
    with open("hosts", "w"):
        pass
    run("mount", "--bind", "hosts", "/etc/hosts")
    run("mount", "-t", "tmpfs", "tmpfs", "/run")    # for unix sockets
    peer = Peer(os.getcwd())
    try:
        for line in sys.stdin:
            peer.obey(*line.split())
    finally:
        peer.stop()


if __name__ == "__main__":
    main()
