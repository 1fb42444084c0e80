"""What lies on the wire beside the answer: before TLS, behind the answer, and
without end."""
import contextlib
import socket
import ssl
import threading

import pytest

from .harness import wait_until
from .test_kinds import pool, tls   # noqa: F401 (a fixture)

ONLY_PROBES = {"stats_interval": 0, "thread_scan_interval": 0}
FAST = {"interval": "50ms", "timeout": "50ms", "fast_interval": "50ms",
        "down_interval": "50ms"}
VERSION = b"VERSION 1.6.18\r\n"


class Server:
    """A thread for each connection, which runs serve(connection)."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.line = f"mc 127.0.0.1:{self.listener.getsockname()[1]}"
        self.connections, self.threads = [], []
        self.thread = threading.Thread(target=self.accept)

    def __enter__(self):
        self.thread.start()
        return self

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.connections.append(connection)
                self.threads.append(threading.Thread(target=self.run,
                                                     args=(connection,)))
                self.threads[-1].start()

    def run(self, connection):
        with contextlib.suppress(OSError):
            self.serve(connection)

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        for connection in self.connections:
            connection.close()


# Full, before any TLS.

class Crowd:
    """Clients that have all the connections there are."""

    def __init__(self, server):
        self.server = server
        self.clients = []
        self.fill()

    def fill(self):
        """Some in a row are too many: what is being closed is closed."""
        def full():
            return all(refused() for _ in range(4))

        def refused():
            one = socket.create_connection(
                (self.server.ip, self.server.port), 5)
            self.clients.append(one)
            one.settimeout(0.05)
            try:
                return one.recv(100).startswith(b"ERROR Too many")
            except TimeoutError:
                return False
        wait_until(full, "it is full")

    def leave(self):
        for one in self.clients:
            one.close()
        self.clients = []


@pytest.mark.takes(4)
def test_a_full_server_with_tls(house, tls):    # noqa: F811
    """It greets in plain text who is one too many: it lives, as one without
    TLS does, whether there is a connection to it already or not."""
    tls.certificate("good", "IP:127.0.0.1")
    cert = f"ssl_chain_cert={tls.path('good')},ssl_key=" \
        f"{tls.path('good', 'key')}"
    server = house.memcached(name="mc", options=[
        "-Z", "-c", "40", "-o", f"{cert},maxconns_fast"])
    by = {"tls": "yes", "tls_ca": tls.path("ca")}
    checker = house.checker(
        {"web": pool(server, **by),
         "strict": pool(server, on_maxconns="down", **by),
         "scans": pool(server, fresh_every=0, thread_scan_interval="100ms",
                       stats_interval="100ms", **by)},
        checker={"log_probes": "failures"},
        defaults=ONLY_PROBES | FAST | {"fresh_every": 2})

    def wait_full(name):
        def full():
            crowd.fill()        # takes what the daemon leaves
            return checker.servers(name)["mc"]["degraded_names"] == \
                ["maxconns"]
        wait_until(full, f"{name} is full")
        assert checker.verdicts(name) == {"mc": "UP"}

    for name in ("web", "strict", "scans"):
        checker.wait_verdicts("UP", name)
    crowd = Crowd(server)
    wait_full("web")
    checker.wait_verdicts("DOWN", "strict")
    assert checker.servers("strict")["mc"]["reason"] == "maxconns"
    wait_full("scans")
    # A daemon that finds it so has no connection of its own.
    checker.stop()
    crowd.fill()
    checker.start()
    wait_full("web")
    wait_until(lambda: checker.servers()["mc"]["result"] == "maxconns",
               "a new probe says so")
    assert not checker.logged("result=tls-failed")
    assert not checker.logged("pool=(web|scans) .*state=(HELD|DOWN)")
    crowd.leave()
    for name in ("web", "strict"):
        wait_until(lambda: "maxconns" not in
                   checker.servers(name)["mc"]["degraded_names"],
                   f"{name} has room")
        checker.wait_verdicts("UP", name)


# Behind the answer.

def tls_server(authority, serve):
    """serve(end, until, flush): what end has written is sent by flush(), all
    of it at once; until(step) is for what has to read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.path("good"),
                            authority.path("good", "key"))

    def one(connection):
        come, go = ssl.MemoryBIO(), ssl.MemoryBIO()
        end = context.wrap_bio(come, go, server_side=True)

        def until(step):
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    connection.sendall(go.read())
                    more = connection.recv(65536)
                    if not more:
                        raise OSError("it has hung up") from None
                    come.write(more)

        def flush():
            connection.sendall(go.read())

        try:
            until(end.do_handshake)
            serve(end, until, flush)
        except ssl.SSLError as e:
            raise OSError(e) from e
    return Server(one)


@pytest.mark.takes(3)
def test_answers_that_nobody_asked_for_yet(house, tls):     # noqa: F811
    """TLS has read them already; they are no answers to later probes."""
    tls.certificate("good", "IP:127.0.0.1")

    def doubles(end, until, flush):
        until(lambda: end.read(1000))
        for _ in range(40):
            end.write(VERSION)
        flush()
        while True:
            until(lambda: end.read(1000))       # and never answers again

    def answers(end, until, flush):
        """Nothing more, and the connection stays."""
        while True:
            until(lambda: end.read(1000))
            end.write(VERSION)
            flush()

    with tls_server(tls, doubles) as twice, tls_server(tls, answers) as once:
        by = {"tls": "yes", "tls_ca": tls.path("ca")}
        checker = house.checker(
            {"twice": pool(twice, **by), "once": pool(once, **by)},
            defaults=ONLY_PROBES | FAST | {"fresh_every": 0})
        checker.wait_verdicts("UP", "once")
        checker.wait_verdicts("DOWN", "twice")
        shown = checker.servers("twice")["mc"]
        assert shown["reason"] == "garbage"
        assert shown["probes"] == shown["failures"]
        assert len(once.connections) == 1


# Without end.

@pytest.mark.takes(2)
@pytest.mark.parametrize("goes_on", [
    b"VALUE rest 0 1\r\nx\r\n",
    b"VALUE rest 0 1073741824\r\n" + b"x" * 65536],
    ids=["values", "value"])
def test_an_answer_without_end(house, goes_on):
    """However good it began."""
    def streams(connection):
        connection.recv(1000)
        connection.sendall(VERSION + goes_on)
        more = goes_on * (1 + 65536 // len(goes_on))
        while True:
            connection.sendall(more)

    with Server(streams) as server:
        checker = house.checker(
            {"web": pool(server, maintenance_key="rest")},
            defaults=ONLY_PROBES | FAST)
        checker.wait_verdicts("DOWN")
        shown = checker.servers()["mc"]
        assert shown["reason"] == "garbage" and shown["admin"] == "READY"
