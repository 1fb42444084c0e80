"""What lies on the wire beside the answer: before TLS, behind the answer, and
without end."""
import contextlib
import socket
import ssl
import threading
import time

import pytest

from .harness import wait_until
from .test_kinds import Authority, pool, tls   # noqa: F401 (a fixture)

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


GREETING = b"ERROR Too many open connections\r\n"


@pytest.mark.takes(3)
def test_a_greeting_proves_no_tls(house, tls):      # noqa: F811
    """Whoever has the port can greet so: who never spoke TLS is not UP for it,
    and does not come back from DOWN; nor does it go there. In one piece or in
    two."""
    says = {"new": [GREETING], "down": [b"ERROR\r\n"],
            "pieces": [GREETING[:20], GREETING[20:]]}

    def greets(name):
        def serve(connection):
            connection.recv(1000)
            for piece in says[name]:
                connection.sendall(piece)
                time.sleep(0.002)       # a packet of its own; or is not
            connection.shutdown(socket.SHUT_RDWR)
        return Server(serve)

    def probed(name, n):
        since = checker.servers(name)["mc"]["probes"]
        seen = len(checker.logged(f"pool={name} .*result=maxconns"))
        wait_until(lambda: len(checker.logged(
            f"pool={name} .*result=maxconns")) >= seen + n, "it greets")
        # It says nothing of the server, good or bad.
        assert checker.servers(name)["mc"]["probes"] == since

    by = {"tls": "yes", "tls_ca": tls.path("ca")}
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(greets(name)) for name in says}
        checker = house.checker(
            {name: pool(server, **by) for name, server in servers.items()},
            checker={"log_probes": "failures"},
            defaults=ONLY_PROBES | FAST | {
                "fresh_every": 0, "min_down_time": 0, "rise": 1})
        checker.wait_verdicts("DOWN", "down")
        assert checker.servers("down")["mc"]["reason"] == "tls-failed"
        says["down"] = says["new"]
        wait_until(lambda: checker.servers("down")["mc"]["result"] ==
                   "maxconns", "it greets")
        for name, verdict in {"new": "UNKNOWN", "pieces": "UNKNOWN",
                              "down": "DOWN"}.items():
            probed(name, 5)
            assert checker.verdicts(name) == {"mc": verdict}
        assert not checker.logged("pool=(new|pieces) .*result=tls-failed")


@pytest.mark.takes(3)
def test_a_greeting_of_who_spoke_tls(house, tls):   # noqa: F811
    """There, to this daemon, is as good as an answer; and whom an earlier one
    left UP is not blamed for being full."""
    tls.certificate("good", "IP:127.0.0.1")

    def answers(end, until, flush):
        while True:
            until(lambda: end.read(1000))
            end.write(VERSION)
            flush()

    server = tls_server(tls, answers)
    speaks, mode = server.serve, []

    def serve(connection):
        if mode[-1] == "speaks":
            speaks(connection)
        connection.recv(1000)
        if mode[-1] == "greets":
            connection.sendall(GREETING)
        if mode[-1] == "hangs":
            connection.recv(1000)       # until it is left
        connection.shutdown(socket.SHUT_RDWR)

    def turn(to):
        mode.append(to)
        for connection in list(server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def wait_greeting():
        wait_until(lambda: checker.servers()["mc"]["result"] == "maxconns",
                   "it greets")
        seen = len(checker.logged("result=maxconns"))
        wait_until(lambda: len(checker.logged("result=maxconns")) > seen + 3,
                   "again and again")

    server.serve = serve
    turn("speaks")
    with server:
        checker = house.checker(
            {"web": pool(server, tls="yes", tls_ca=tls.path("ca"))},
            checker={"log_probes": "all"},
            defaults=ONLY_PROBES | FAST | {
                "fresh_every": 0, "min_down_time": 0, "rise": 1,
                "rehash_after": "20s"})
        for how in ("speaks", "greets"):
            turn("speaks")
            checker.wait_verdicts("UP")
            turn("ends")
            checker.wait_verdicts("DOWN")
            turn(how)
            checker.wait_verdicts("UP")
        checker.stop()
        checker.start()
        wait_greeting()
        assert checker.verdicts() == {"mc": "UP"}
        turn("hangs")
        checker.wait_verdicts("HELD")
        turn("greets")
        checker.wait_verdicts("UP")
        turn("ends")
        checker.wait_verdicts("DOWN")
        turn("greets")          # and it never spoke TLS to this one
        wait_greeting()
        assert checker.verdicts() == {"mc": "DOWN"}
        turn("speaks")
        checker.wait_verdicts("UP")


@pytest.mark.takes(4)
def test_our_certificate_is_refused(house, tls):    # noqa: F811
    """As one that has ended: all servers of the pool refuse it on new
    connections, while kept ones go on, and nobody is DOWN for that."""
    other = Authority(house, "other")
    for name in ("good", "client"):
        tls.certificate(name, "IP:127.0.0.1")
    wants = [tls]

    def serve(end, until, flush):
        while True:
            asked = until(lambda: end.read(1000))
            end.write(VERSION)
            if b"stats" in asked:
                end.write(b"STAT pid 1\r\nSTAT threads 4\r\nEND\r\n")
            flush()

    by = {"tls": "yes", "tls_ca": tls.path("ca"), "on_listener_stuck": "down",
          "tls_cert": tls.path("client"),
          "tls_key": tls.path("client", "key")}
    with tls_server(tls, serve, lambda: wants[-1]) as server:
        checker = house.checker(
            {"web": pool(server, fresh_every=5, **by),
             "scans": pool(server, **by | {
                 "fresh_every": 0, "stats_interval": "100ms",
                 "thread_scan_interval": "100ms"})},
            checker={"log_probes": "failures"}, defaults=ONLY_PROBES | FAST)

        def wait_degraded(names, why):
            for name in ("web", "scans"):
                wait_until(lambda: checker.servers(name)["mc"][
                    "degraded_names"] == names, f"{name}: {why}")
                assert checker.verdicts(name) == {"mc": "UP"}

        for name in ("web", "scans"):
            checker.wait_verdicts("UP", name)
        wants.append(other)
        wait_degraded(["tls"], "new connections fail")
        fails = "result=(local|tls-failed|reset)"       # local: for ours
        failed = len(checker.logged(fails))
        since = len(server.connections)
        wait_until(lambda: len(checker.logged(fails)) > failed + 6 and
                   len(server.connections) > since + 30, "again and again")
        wait_degraded(["tls"], "they still do")
        wants.append(tls)
        wait_degraded([], "they do not any more")
    assert not checker.logged("pool=.* state=(HELD|DOWN)")


# Behind the answer.

def tls_server(authority, serve, wants=lambda: None):
    """serve(end, until, flush): what end has written is sent by flush(), all
    of it at once; until(step) is for what has to read. wants(): by whom a
    certificate of the client has to be signed, if any."""
    def context_of(client):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority.path("good"),
                                authority.path("good", "key"))
        if client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client.path("ca"))
        return context

    def one(connection):
        context = context_of(wants())
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
            flush()                 # an alert
            connection.close()
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
