"""TLS beside the probes: what a thread scan tells whom, and who may be taken
for a server that spoke it."""
import contextlib
import socket
import ssl

import pytest

from .harness import wait_until
from .test_kinds import pool, tls       # noqa: F401 (a fixture)
from .test_wire import FAST, GREETING, ONLY_PROBES, VERSION, Server, \
    tls_server


def counts(authority, server):
    """Connections that it took, and values that it was told to store: a login
    is one of these."""
    context = ssl.create_default_context(cafile=authority.path("ca"))
    with context.wrap_socket(
            socket.create_connection((server.ip, server.port), 5),
            server_hostname=server.ip) as s:
        s.sendall(b"stats\r\n")
        answer = b""
        while not answer.endswith(b"END\r\n"):
            answer += s.recv(65536)
    return tuple(int(answer.split(b"STAT %s " % name)[1].split()[0])
                 for name in (b"total_connections", b"cmd_set"))


@pytest.mark.takes(3)
def test_a_scan_tells_the_server_only(house, tls):      # noqa: F811
    """The password is not for who may be somebody else."""
    login = house.directory / "login"
    login.write_text("ann:secret\n")
    login.chmod(0o600)
    tls.certificate("good", "IP:127.0.0.1")
    trusted, strange = (tls.memcached(name, "good")
                        for name in ("trusted", "strange"))
    by = {"tls": "yes", "auth_file": login}
    checker = house.checker(
        {"trusted": pool(trusted, tls_ca=tls.path("ca"), **by),
         "strange": pool(strange, **by)},
        # But for the first probe's, all connections are those of scans.
        defaults={"fresh_every": 0, "thread_scan_interval": "100ms",
                  "stats_interval": "100ms"})
    checker.wait_verdicts("UP", "trusted")
    checker.wait_verdicts("UP", "strange")
    wait_until(lambda: counts(tls, trusted)[1] > 5, "scans that log in")
    took = [counts(tls, strange)[0]]

    def scanned():
        took.append(counts(tls, strange)[0])
        # But for each of ours.
        return took[-1] - took[0] - len(took) > 12
    wait_until(scanned, "scans")
    assert counts(tls, strange)[1] == 0
    assert checker.servers("strange")["strange"]["result"] == "tls-untrusted"


def says(text):
    def serve(connection):
        connection.recv(1000)
        connection.sendall(text)
        connection.shutdown(socket.SHUT_RDWR)
    return serve


class Successor(Server):
    """Has the port of one that is gone."""

    def __init__(self, server, serve):
        super().__init__(serve)
        self.listener.close()
        self.line = server.line
        self.listener = socket.create_server(
            ("127.0.0.1", int(server.line.rpartition(":")[2])))


@pytest.mark.takes(3)
@pytest.mark.parametrize("reason", ["refused", "tls-failed"])
def test_who_spoke_tls_is_gone(house, tls, reason):     # noqa: F811
    """Nobody listens there any more, or somebody who speaks no TLS: who greets
    in plain text after that has its port, and nothing more is known of him."""
    tls.certificate("good", "IP:127.0.0.1")

    def answers(end, until, flush):
        while True:
            until(lambda: end.read(1000))
            end.write(VERSION)
            flush()

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(tls_server(tls, answers))
        checker = house.checker(
            {"web": pool(server, tls="yes", tls_ca=tls.path("ca"))},
            checker={"log_probes": "failures"},
            defaults=ONLY_PROBES | FAST | {
                "fresh_every": 0, "min_down_time": 0, "rise": 1})
        checker.wait_verdicts("UP")
        if reason == "refused":
            stack.close()
        else:
            server.serve = says(b"ERROR\r\n")
            for connection in list(server.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        checker.wait_verdicts("DOWN")
        assert checker.servers()["mc"]["reason"] == reason
        if reason == "refused":
            stack.enter_context(Successor(server, says(GREETING)))
        else:
            server.serve = says(GREETING)
        wait_until(lambda: len(checker.logged("result=maxconns")) > 5,
                   "it greets, again and again")
        assert checker.verdicts() == {"mc": "DOWN"}
