"""checker_world.py - what the bench of the checkers starts: servers, a network
that can fail, mc-checkerd and who reads its file, HAProxy.

All of it lives in one network namespace of its own, and ends with the stack
that it was given, by pid, whatever happens.  Nothing here measures.
"""
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

PATIENCE = 60
FAKES_IN_ONE = 2500             # of the descriptors that a process may have
FIRST_FAKE, FIRST_MEMCACHED, TLS_PORT = 10000, 20000, 30000
TLS_NAME = "cache.test"


class Trouble(Exception):
    """The bench itself is broken, or the machine."""


def wait_for(what, condition, patience=PATIENCE):
    """what: a text, or what gives one in the end."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            what = what() if callable(what) else what
            raise Trouble(f"not within {patience} s: {what}")
        time.sleep(0.02)


def end(process):
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def start(stack, log, command, **more):
    with open(log, "ab") as f:
        process = subprocess.Popen(
            [str(c) for c in command], stderr=f,
            **{"stdin": subprocess.DEVNULL, "stdout": f} | more)
    stack.callback(end, process)
    return process


class Fakes:
    """Servers of tests/fakemc, as many as wanted; i is at port[i]."""

    def __init__(self, stack, world, count):
        self.port = list(range(FIRST_FAKE, FIRST_FAKE + count))
        self.process = []
        for first in range(0, count, FAKES_IN_ONE):
            n = min(FAKES_IN_ONE, count - first)
            p = start(stack, world.log,
                      [world.build + "/tests/fakemc", "--count", n, "--port",
                       FIRST_FAKE + first], stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, text=True)
            if not p.stdout.readline().startswith("ports: "):
                raise Trouble("fakemc does not start")
            self.process.append(p)

    def tell(self, process, line):
        process.stdin.write(line + "\n")
        process.stdin.flush()

    def set(self, i, mode):
        p = self.process[i // FAKES_IN_ONE]
        self.tell(p, f"{i % FAKES_IN_ONE} {mode}")
        if p.stdout.readline() != "ok\n":
            raise Trouble(f"fakemc does not know {mode}")

    def requests(self):
        """[of each server]"""
        rows = []
        for p in self.process:
            self.tell(p, "stats")
        for p in self.process:
            while (line := p.stdout.readline()) not in ("end\n", ""):
                rows.append(int(line.split()[2]))
        return rows


class Memcacheds:
    """Real ones: they can be killed, and stopped, one by one."""

    def __init__(self, stack, world, count):
        self.world, self.stack = world, stack
        self.port = list(range(FIRST_MEMCACHED, FIRST_MEMCACHED + count))
        self.process = [None] * count
        for i in range(count):
            self.start(i)
        for i in range(count):
            wait_for(f"memcached {i}", lambda: self.answers(i))

    def start(self, i):
        self.process[i] = start(
            self.stack, self.world.log,
            ["memcached", "-l", "127.0.0.1", "-p", self.port[i], "-U", 0,
             "-m", 8, "-t", 2, "-u", "root"])

    def answers(self, i):
        try:
            with socket.create_connection(("127.0.0.1", self.port[i]), 1):
                return True
        except OSError:
            return False

    def kill(self, i):
        self.process[i].kill()
        self.process[i].wait()


class TlsServers:
    """One real memcached with TLS, by as many addresses as wanted: i is at
    port[i], which has the address before it."""

    @staticmethod
    def missing(world):
        """What there is none of, or None."""
        def says(*command):
            return subprocess.run(command, capture_output=True, text=True,
                                  check=False).stdout

        if not shutil.which("openssl"):
            return "openssl"
        if "--enable-ssl" not in says("memcached", "-h"):
            return "memcached with TLS"
        if "libssl" not in says("ldd", world.build + "/mc-checkerd"):
            return "mc-checkerd with TLS"
        return None

    def __init__(self, stack, world, count):
        self.port = [f"127.1.{i // 250}.{1 + i % 250}:{TLS_PORT}"
                     for i in range(count)]
        self.ca = self.certificates(world)
        # The port without TLS tells how many connections there were.
        start(stack, world.log,
              ["memcached", "-l", f"0.0.0.0:{TLS_PORT},"
               f"notls:127.0.0.1:{TLS_PORT + 1}", "-U", 0, "-m", 8, "-t", 2,
               "-u", "root", "-c", 4 * count + 100, "-Z", "-o",
               f"ssl_chain_cert={world.directory}/mc.pem,"
               f"ssl_key={world.directory}/mc.key"])
        wait_for("memcached with TLS", self.listens)

    @staticmethod
    def certificates(world):
        """The authority's, its path; and one of it."""
        def openssl(*arguments):
            done = subprocess.run(["openssl", *arguments], text=True,
                                  cwd=world.directory, capture_output=True,
                                  check=False)
            if done.returncode != 0:
                raise Trouble(f"openssl {arguments[0]}: {done.stderr}")

        def key(name):
            return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", f"{name}.key"]

        with open(f"{world.directory}/mc.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName=DNS:{TLS_NAME}\n")
        openssl("req", "-x509", *key("ca"), "-out", "ca.pem", "-days", "9",
                "-subj", "/CN=bench")
        openssl("req", *key("mc"), "-out", "mc.csr", "-subj", "/CN=mc")
        openssl("x509", "-req", "-in", "mc.csr", "-CA", "ca.pem", "-CAkey",
                "ca.key", "-CAcreateserial", "-days", "9", "-extfile",
                "mc.ext", "-out", "mc.pem")
        return f"{world.directory}/ca.pem"

    def listens(self):
        try:
            self.connections()
            return True
        except OSError:
            return False

    def connections(self):
        """So many were made so far, this one included."""
        with socket.create_connection(("127.0.0.1", TLS_PORT + 1), 5) as s:
            s.sendall(b"stats\r\n")
            text = b""
            while not text.endswith(b"END\r\n"):
                more = s.recv(65536)
                if not more:
                    raise OSError("memcached hung up")
                text += more
        return int(re.search(rb"STAT total_connections (\d+)", text)[1])


def place(port):
    """A port of this host, or what has an address before it."""
    return port if isinstance(port, str) else f"127.0.0.1:{port}"


class Network:
    """The loopback of this namespace: a packet can be lost on it, once on its
    way, which neither end is told."""

    def __init__(self):
        for rule in ("add table inet bench",
                     "add set inet bench gone { type inet_service; }",
                     "add chain inet bench loss",
                     "add chain inet bench in { type filter hook input "
                     "priority 0; }",
                     "add rule inet bench in tcp dport @gone drop",
                     "add rule inet bench in tcp sport @gone drop",
                     "add rule inet bench in meta l4proto tcp jump loss"):
            self.nft(rule)

    @staticmethod
    def nft(rule):
        done = subprocess.run(["nft", rule], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise Trouble(f"nft {rule}: {done.stderr}")

    def close(self):
        self.nft("delete table inet bench")

    def cut(self, port):
        self.nft(f"add element inet bench gone {{ {port} }}")

    def mend(self, port):
        self.nft(f"delete element inet bench gone {{ {port} }}")

    def lose(self, percent):
        self.nft("add rule inet bench loss numgen random mod 100 < "
                 f"{percent} drop")

    def lose_all(self):
        self.nft("add rule inet bench loss drop")

    def lose_none(self):
        self.nft("flush chain inet bench loss")


class Events:
    """[(when in ns, server, what)], in the order in which they came; who is
    not at home, or not UP, now."""

    def __init__(self):
        self.list, self.away = [], {}

    def add(self, when, server, what):
        self.list.append((when, server, what))
        if what == "home":
            self.away.pop(server, None)
        else:
            self.away[server] = what

    def first(self, server, what, after):
        """ns after `after`, or None."""
        return next((t - after for t, s, w in list(self.list)
                     if t >= after and s == server and w in what), None)

    def times(self, what, after):
        return sum(1 for t, _, w in list(self.list)
                   if t >= after and w in what)

    def spent(self, what, begin, until):
        """Seconds of all servers together; all were at home at `begin`."""
        total, since = 0, {}
        for t, s, w in [e for e in list(self.list) if begin <= e[0] <= until]:
            if s in since:
                total += t - since.pop(s)
            if w in what:
                since[s] = t
        return (total + sum(until - t for t in since.values())) / 1e9


class Checker:
    """mc-checkerd with the lines of an ini, as they are."""

    def __init__(self, stack, world, name, lines, ports):
        where = f"{world.directory}/{name}"
        os.mkdir(where)
        with open(f"{where}/ini", "w", encoding="ascii") as f:
            f.write(f"[checker]\ndirectory = {where}/run\n{lines}\n"
                    "[pool bench]\n")
            f.writelines(f"server = s{i} {place(port)}\n"
                         for i, port in enumerate(ports))
        self.name, self.world, self.stack = name, world, stack
        self.pool = f"{where}/run/bench.mcshm"
        self.process = start(stack, world.log,
                             [world.build + "/mc-checkerd", "-c",
                              f"{where}/ini"])
        wait_for(f"{name} publishes", lambda: self.process.poll() is not None
                 or os.path.exists(self.pool))
        if self.process.poll() is not None:
            raise Trouble(f"mc-checkerd has ended: see {world.log}")

    def servers(self):
        """What mc-shmdump says of them, by name."""
        done = subprocess.run([self.world.build + "/mc-shmdump", "--json",
                               self.pool], capture_output=True, check=False)
        if done.returncode > 2:
            raise Trouble(f"mc-shmdump: {done.stderr.decode()}")
        return {s["name"]: s for s in
                json.loads(done.stdout)["pools"][0]["servers"]}

    def verdicts(self):
        return {n: s["verdict"] for n, s in self.servers().items()}

    def wait_verdicts(self, wanted):
        wait_for(f"verdicts of {self.name}", lambda: self.verdicts() == wanted)


class Client:
    """Picks from the file of a Checker, all the time."""

    def __init__(self, stack, checker, keys):
        world = checker.world
        self.events, self.sum = Events(), None
        self.process = start(stack, world.log,
                             [world.build + "/bench/checker_client",
                              checker.pool, keys], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().split()
        if ready[:1] != ["ready"]:
            raise Trouble(f"checker_client has ended: see {world.log}")
        self.keys = {name: int(n) for name, n in
                     (word.split("=") for word in ready[1:])}
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        for line in self.process.stdout:
            word = line.split()
            if word[0] == "sum":
                self.sum = [int(w) for w in word[1:]]
            else:
                self.events.add(int(word[0]), word[1], word[2])

    def finish(self):
        """(keys, ever sent elsewhere, ever misses)"""
        self.process.stdin.close()
        self.thread.join(PATIENCE)
        if self.process.wait(PATIENCE) != 0 or self.sum is None:
            raise Trouble("checker_client has failed")
        self.process.stdin = None
        return self.sum


class Haproxy:
    """backends: {name: (what a server line has behind "check", timeout
    connect, timeout check)}; all of them watch all servers."""

    CHECK = """
    mode tcp
    log global
    option tcp-check
    tcp-check send version\\r\\n
    tcp-check expect string VERSION
    timeout server 10s
"""
    CHANGE = re.compile(rb"Server (\w+)/(\w+) is (UP|DOWN)")

    def __init__(self, stack, world, backends, ports, threads=1):
        where = f"{world.directory}/haproxy{random.getrandbits(32):x}"
        os.mkdir(where)
        self.over, self.name = False, "haproxy"
        self.events = {name: Events() for name in backends}
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"{where}/log")
        self.socket.settimeout(0.2)
        self.control = f"{where}/control"
        with open(f"{where}/cfg", "w", encoding="ascii") as f:
            f.write(f"global\n    nbthread {threads}\n    maxconn 100\n"
                    f"    stats socket {self.control} mode 600\n"
                    f"    log {where}/log local0\n")
            for name, (line, connect, check) in backends.items():
                f.write(f"backend {name}{self.CHECK}"
                        f"    timeout connect {connect}\n"
                        f"    timeout check {check}\n"
                        f"    default-server {line}\n")
                f.writelines(f"    server s{i} {place(port)} check\n"
                             for i, port in enumerate(ports))
        self.process = start(stack, world.log,
                             ["haproxy", "-db", "-q", "-f", f"{where}/cfg"])
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        stack.callback(self.close)
        wait_for("haproxy answers", lambda: self.process.poll() is not None
                 or os.path.exists(self.control))
        if self.process.poll() is not None:
            raise Trouble(f"haproxy has ended: see {world.log}")

    def listen(self):
        while not self.over:
            try:
                line = self.socket.recv(4096)
            except TimeoutError:
                continue
            now, m = time.monotonic_ns(), self.CHANGE.search(line)
            if m:
                self.events[m[1].decode()].add(
                    now, m[2].decode(), {b"UP": "home", b"DOWN": "moved"}[m[3]])

    def close(self):
        self.over = True
        self.thread.join(2)
        self.socket.close()

    def verdicts(self, backend):
        """As its "show stat" has them; one that was not checked yet is "no
        check"."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.control)
            s.sendall(b"show stat -1 4 -1\n")
            text = b"".join(iter(lambda: s.recv(1 << 20), b"")).decode()
        rows = [line.split(",") for line in text.splitlines() if line]
        head = rows[0]
        name, status, check = (head.index(h) for h in
                               ("svname", "status", "check_status"))
        return {r[name]: r[status] if r[check] not in ("INI", "UNK") else
                "unchecked" for r in rows[1:] if r[0] == backend}


class World:
    """What all of them need to know."""

    def __init__(self, build, fast_lan, directory):
        self.build, self.directory = build, directory
        self.log = f"{directory}/log"
        with open(fast_lan, encoding="ascii") as f:
            self.fast_lan = f.read()
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # HAProxy throws away what its log has no room for.
        with open("/proc/sys/net/unix/max_dgram_qlen", "w",
                  encoding="ascii") as f:
            f.write("4096")
