"""What a probe asks, and how: kinds, logins, TLS, sources, the maintenance
key, new connections beside the kept one."""
import asyncio
import contextlib
import os
import re
import socket
import ssl
import threading
import time

import pytest

from .harness import wait_until

FEW = {"thread_scan_interval": 0, "stats_interval": 0}
FAST = FEW | {"interval": "50ms", "timeout": "50ms", "fast_interval": "50ms",
              "down_interval": "50ms"}


def talk(server, text):
    """What a server answers to one request."""
    if server.unix:
        s = socket.socket(socket.AF_UNIX)
        s.connect(str(server.unix))
    else:
        s = socket.create_connection((server.ip, server.port), timeout=5)
    with s:
        s.sendall(text.encode())
        answer = b""
        while not answer.endswith((b"END\r\n", b"ED\r\n", b"FOUND\r\n")):
            piece = s.recv(65536)
            assert piece, f"{text!r}: {answer!r}, and the end"
            answer += piece
        return answer.decode()


def stats(server):
    return {line.split()[1]: line.split()[2]
            for line in talk(server, "stats\r\n").splitlines()
            if line.startswith("STAT") and len(line.split()) > 2}


def store(server, key, value, ttl=0):
    assert talk(server, f"set {key} 0 {ttl} {len(value)}\r\n{value}\r\n") == \
        "STORED\r\n"


def state(checker, pool, name):
    """(verdict, result of the last probe)"""
    s = checker.servers(pool)[name]
    return s["verdict"], s["result"]


def pool(server, **keys):
    return {"server": [server.line]} | keys


def wait_states(checker, wanted):
    def there():
        now = {p: state(checker, p, name) for p, (name, _) in wanted.items()}
        want = {p: s for p, (_, s) in wanted.items()}
        assert now == want, f"{now} is not {want}"
        return True
    wait_until(there, "states", 10)


# Kinds.

def test_kinds(house):
    server = house.memcached(name="mc")
    pools = {
        "version": pool(server), "mn": pool(server, probe="mn"),
        "stats": pool(server, probe="stats"),
        "set": pool(server, probe="set"),
        "large": pool(server, probe="set", canary_size=65536),
        "tcp": pool(server, probe="tcp"),
        "both": pool(server, probe="mn", expect_version="1.*"),
        "wrong": pool(server, expect_version="1.4.*")}
    checker = house.checker(pools, defaults=FEW | {"fresh_every": 5})
    asked = [p for p in pools if p not in ("tcp", "wrong")]
    for p in asked + ["tcp"]:
        checker.wait_verdicts("UP", p)
    version = stats(server)["version"]
    for p in ("version", "stats", "set", "large", "both"):
        assert checker.servers(p)["mc"]["server_version"] == version, p
    # Another server than was meant, by proof.
    checker.wait_verdicts("DOWN", "wrong")
    assert state(checker, "wrong", "mc")[1] == "wrong-version"
    # A canary leaves nothing behind, and no two of them meet.
    wait_until(lambda: int(stats(server)["cmd_set"]) > 10, "canaries")
    for p in ("set", "large"):
        assert checker.servers(p)["mc"]["failures"] == 0
    assert int(stats(server)["get_misses"]) == 0
    # The kernel takes connections for a server that hangs.
    server.stop()
    for p in asked:
        checker.wait_verdicts("HELD", p)
    assert state(checker, "tcp", "mc") == ("UP", "ok")
    server.cont()
    for p in asked:
        checker.wait_verdicts("UP", p)
    server.kill()
    for p in asked + ["tcp"]:
        checker.wait_verdicts("DOWN", p)
        assert checker.servers(p)["mc"]["reason"] == "refused"


def test_what_a_canary_finds(house):
    fake = house.fake(3)
    checker = house.checker({"web": {"server": fake.lines(), "probe": "set"}},
                            defaults=FEW)
    checker.wait_verdicts("UP")
    fake.set(0, "no-memory")
    fake.set(1, "spoils")
    checker.wait_verdicts({"fake0": "UP", "fake1": "DOWN", "fake2": "UP"})
    wait_until(lambda: state(checker, "web", "fake0") == ("UP", "no-memory"),
               "no memory")
    assert state(checker, "web", "fake1") == ("DOWN", "wrong-value")


def test_an_old_server_knows_no_mn(house):
    fake = house.fake(2, mode="error")
    checker = house.checker({"web": {"server": fake.lines(), "probe": "mn"}},
                            defaults=FEW)
    checker.wait_verdicts("DOWN")
    assert state(checker, "web", "fake0")[1] == "error-reply"
    assert len(checker.logged(r"before 1\.5\.19.*probe = version")) == 1


def test_unix_and_ipv6(house):
    servers = [house.memcached(name="u", unix=house.directory / "mc.sock"),
               house.memcached(name="six", ip="::1")]
    lines = [s.line for s in servers]
    checker = house.checker(
        {k: {"server": lines, "probe": k, "canary_size": 30000}
         if k == "set" else {"server": lines, "probe": k}
         for k in ("version", "mn", "stats", "set", "tcp")},
        defaults=FEW | {"fresh_every": 2, "source": "127.0.0.1 ::1"})
    for p in checker.pools:
        checker.wait_verdicts("UP", p)


def test_sources(house):
    """All that a server sees of us comes from the address that was said: kept
    connections, new ones, and those of scans."""
    space = house.netns()
    space.ip("addr", "add", "fd00::2/128", "dev", "lo")
    sources = {"ip": "127.0.0.2", "ip6": "fd00::2"}
    servers = [house.memcached(name=name, ip=ip, netns=space)
               for name, ip in (("ip", "127.0.0.1"), ("ip6", "::1"))]
    space.nft("add", "table", "inet", "seen")
    space.nft("add chain inet seen in { type filter hook input priority 0; }")
    for s in servers:
        to = f"add rule inet seen in tcp dport {s.port}"
        space.nft(f"{to} {s.name} saddr {sources[s.name]} counter accept")
        space.nft(f"{to} counter")
    checker = house.checker(
        {"web": {"server": [s.line for s in servers]}},
        defaults={"source": " ".join(sources.values()), "fresh_every": 2,
                  "stats_interval": "200ms", "thread_scan_interval": "300ms"},
        netns=space)
    checker.wait_verdicts("UP")

    def packets():
        """From the source and from elsewhere, for one and for the other."""
        rules = house.run(*space.enter, "nft", "list", "chain", "inet", "seen",
                          "in").stdout
        return [int(n) for n in re.findall(r"counter packets (\d+)", rules)]

    before = checker.servers()
    wait_until(lambda: all(s["probes"] > before[name]["probes"] + 6
                           for name, s in checker.servers().items()), "probes")
    four, others, six, others6 = packets()
    assert (others, others6) == (0, 0)
    assert min(four, six) > 20


def test_statistics_of_another_kind(house):
    """They are the server's own, and no reason to think ill of it."""
    fake = house.fake(3)
    fake.set(1, "odd-stats")
    fake.set(2, "no-stats")
    checker = house.checker(
        {"web": {"server": fake.lines(), "stats_interval": "200ms"},
         "asked": {"server": fake.lines(), "probe": "stats"}}, defaults=FEW)
    checker.wait_verdicts("UP")
    checker.wait_verdicts({"fake0": "UP", "fake1": "UP", "fake2": "DOWN"},
                          "asked")
    assert checker.servers("asked")["fake2"]["result"] == "garbage"
    before = [s["probes"] for s in checker.servers().values()]
    wait_until(lambda: all(s["probes"] > b + 10 for s, b in zip(
        checker.servers().values(), before)), "probes")
    for name, s in checker.servers().items():
        assert (s["verdict"], s["result"]) == ("UP", "ok"), name
        assert s["failures"] == 0, name
    assert not checker.logged("pool=web .*state=(HELD|DOWN)")
    pids = {n: s["server_pid"] for n, s in checker.servers("asked").items()}
    assert pids["fake0"] == pids["fake1"] == fake.process.pid


# New connections.

def test_a_fresh_one_replaces_the_kept_one(house):
    space = house.netns()
    fake = house.fake(1, netns=space)
    checker = house.checker(
        {"web": fake.lines()}, netns=space,
        defaults=FAST | {"fresh_every": 4})
    checker.wait_verdicts("UP")
    before = fake.stats()[0]
    wait_until(lambda: fake.stats()[0][0] > before[0] + 40, "probes")
    requests, accepted, there = (
        b - a for a, b in zip(before, fake.stats()[0]))
    assert requests // 4 - 1 <= accepted <= requests // 4 + 1
    assert fake.stats()[0][2] <= 2 and there <= 1
    # Closed by RST: nobody keeps them in mind (state 06 is TIME_WAIT).
    table = house.run(*space.enter, "cat", "/proc/net/tcp").stdout
    assert " 06 " not in table
    assert "connection" not in " ".join(checker.logged("warning"))


def test_too_many_connections_for_the_fresh_one(house):
    fake = house.fake(1)
    checker = house.checker(
        {"web": fake.lines()},
        defaults=FAST | {"fresh_every": 3})
    checker.wait_verdicts("UP")
    fake.set(0, "maxconns")
    checker.wait_logged("degraded=maxconns")
    # The kept one stays, and answers.
    wait_until(lambda: checker.servers()["fake0"]["result"] == "ok", "kept")
    assert checker.verdicts() == {"fake0": "UP"}
    assert fake.stats()[0][2] == 1
    assert not checker.logged("state=(HELD|DOWN)")


def test_reloads_and_connections(house):
    fake = house.fake(2)
    checker = house.checker(
        {"web": fake.lines()}, defaults=FEW | {"fresh_every": 0,
                                               "rehash_after": "60s"})
    checker.wait_verdicts("UP")
    fake.set(1, "hang")
    checker.wait_verdicts({"fake1": "HELD"})
    accepted = fake.stats()[0][1]
    # Probes under way, to the one that hangs, live through it.
    for _ in range(4):
        checker.reload()
    assert fake.stats()[0][1] == accepted
    # What they ask is another thing now: new connections.
    checker.pools["web"] = {"server": fake.lines(), "maintenance_key": "rest",
                            "probe": "set"}
    for _ in range(3):
        checker.reload()
    wait_until(lambda: fake.stats()[0][1] == accepted + 1, "a new connection")
    assert checker.verdicts() == {"fake0": "UP", "fake1": "HELD"}
    fake.set(1, "ok")
    checker.wait_verdicts("UP")


# Logins.

def test_logins(house):
    def auth(name, text):
        path = house.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    right = auth("right", "ann:secret\n")
    wrong = auth("wrong", "ann:guess\n")
    server = house.memcached(name="mc", options=["-Y", right])
    plain = house.memcached(name="free")
    checker = house.checker({
        "right": pool(server, auth_file=right),
        "set": pool(server, auth_file=right, probe="set"),
        "wrong": pool(server, auth_file=wrong),
        "none": pool(server),
        "noset": pool(server, probe="set", canary_size=65536),
        "free": pool(plain, auth_file=right)}, defaults=FEW)
    wait_states(checker, {
        "right": ("mc", ("UP", "ok")), "set": ("mc", ("UP", "ok")),
        "wrong": ("mc", ("UP", "login-refused")),
        "none": ("mc", ("UP", "unauthenticated")),
        "noset": ("mc", ("UP", "unauthenticated")),
        "free": ("free", ("UP", "ok"))})
    # What nobody asked for is not kept: the password is no item.
    assert "END" == talk(plain, "get mc-checkerd:login\r\n").strip()
    # Another password, at a reload; a wrong one never takes a server down.
    wrong.write_text("ann:secret\n")
    right.write_text("ann:other\n")
    checker.reload()
    wait_states(checker, {"wrong": ("mc", ("UP", "ok")),
                          "right": ("mc", ("UP", "login-refused"))})
    assert not checker.logged("state=(HELD|DOWN)")


# The maintenance key.

def test_the_maintenance_key(house):
    servers = house.memcacheds(3)
    checker = house.checker(
        {"web": {"server": [s.line for s in servers],
                 "maintenance_key": "mc:rest"}}, defaults=FEW)
    checker.wait_verdicts("UP")
    client = house.client(checker.path())
    base = client.picks()

    def admin(i, want):
        def there():
            s = checker.servers()[f"cache{i}"]
            return s["admin"] == want and s
        return wait_until(there, f"cache{i} {want}")

    store(servers[0], "mc:rest", "drain")
    store(servers[1], "mc:rest", "Ann, until noon", ttl=1)
    s = admin(0, "DRAIN")
    assert (s["admin_who"], s["admin_why"]) == ("server", "maintenance key")
    assert s["admin_since"] > 1600000000 and s["verdict"] == "UP"
    admin(1, "MAINT")
    wait_until(lambda: set(client.picks().answer) == {"cache2"}, "one left")
    text = checker.shmdump("--server", "cache0", checker.path()).stdout
    assert "maintenance key" in text and "server" in text
    # It expires: back again, and the keys come home.
    admin(1, "READY")
    checker.wait_verdicts("UP")
    assert len(checker.logged("server=cache1 .*admin=MAINT was=READY")) == 1
    assert len(checker.logged("server=cache1 .*admin=READY was=MAINT")) == 1
    # The ini's state is the stronger, where it is.
    line = checker.pools["web"]["server"]
    line[0] += " state=maint"
    checker.reload()
    assert admin(0, "MAINT")["admin_who"] in (None, "")
    line[0] = servers[0].line
    checker.reload()
    admin(0, "DRAIN")
    # A daemon that starts believes what was so; and what is so, soon.
    checker.stop()
    checker.start(ready=False)
    assert checker.servers()["cache0"]["admin"] == "DRAIN"
    checker.wait_until_ready()
    probes = checker.servers()["cache0"]["probes"]
    wait_until(lambda: checker.servers()["cache0"]["probes"] > probes + 1,
               "it is asked")
    assert not checker.logged("admin=")
    # Deleted; and lost in a restart, out of maintenance too.
    assert talk(servers[0], "delete mc:rest\r\n") == "DELETED\r\n"
    admin(0, "READY")
    store(servers[2], "mc:rest", "on")
    admin(2, "MAINT")
    servers[2].kill()
    down = checker.servers()["cache2"]["probes"]
    wait_until(lambda: checker.servers()["cache2"]["result"] == "refused",
               "it was asked in vain")
    assert checker.servers()["cache2"]["probes"] == down
    assert checker.servers()["cache2"]["admin"] == "MAINT"
    servers[2].restart()
    admin(2, "READY")
    checker.wait_verdicts("UP")
    wait_until(lambda: client.picks().answer == base.answer, "all at home")


def test_a_key_in_another_server_than_was_meant(house):
    server = house.memcached(name="mc")
    store(server, "mc:rest", "on")
    by = {"maintenance_key": "mc:rest"}
    checker = house.checker(
        {"right": pool(server, expect_version="1.*", **by),
         "wrong": pool(server, expect_version="1.4.*", **by)}, defaults=FAST)
    wait_until(lambda: checker.servers("right")["mc"]["admin"] == "MAINT",
               "maintenance")
    checker.wait_verdicts("DOWN", "wrong")
    s = checker.servers("wrong")["mc"]
    assert (s["admin"], s["result"]) == ("READY", "wrong-version")
    assert not checker.logged("pool=wrong .*admin=")


# Where from.

def test_a_source_address(house):
    wire = house.wire()
    wire.near.ip("addr", "add", "10.77.0.9/24", "dev", "near")
    server = house.memcached(name="far", ip=wire.far_address, netns=wire.far)
    checker = house.checker({"web": pool(server, source="10.77.0.9")},
                            defaults=FEW, netns=wire.near)
    checker.wait_verdicts("UP")

    def peers():
        return house.run(*wire.far.enter, "ss", "-tnH", "state",
                         "established").stdout
    assert "10.77.0.9:" in peers() and wire.near_address + ":" not in peers()
    # It is taken from us: our own fault, which steps nothing.
    wire.near.ip("addr", "del", "10.77.0.9/24", "dev", "near")
    server.kill()
    wait_until(lambda: checker.servers()["far"]["result"] == "local",
               "no address to come from")
    assert checker.logged("own fault.*assign requested address")
    # And another, by a reload.
    server.restart()
    checker.pools["web"]["source"] = wire.near_address
    checker.reload()
    wait_until(lambda: wire.near_address + ":" in peers(), "from there")
    checker.wait_verdicts("UP")


def test_a_link_local_address(house):
    wire = house.wire()
    for space, name, ip in ((wire.near, "near", "fe80::77:1"),
                            (wire.far, "far", "fe80::77:2")):
        space.ip("addr", "add", f"{ip}/64", "dev", name, "nodad")
    server = house.memcached(name="far", ip="fe80::77:2%far", netns=wire.far)
    link = house.run("ip", "-n", wire.near.name, "-o", "link", "show", "near")
    zone = link.stdout.split(":")[0]
    checker = house.checker(
        {"web": {"server": [f"far [fe80::77:2%{zone}]:{server.port}"],
                 "probe": "set"}}, defaults=FEW, netns=wire.near)
    checker.wait_verdicts("UP")


# TLS.

class Authority:
    """Certificates of a test's own."""

    def __init__(self, house, name="ca"):
        self.house = house
        self.directory = house.directory / name
        self.directory.mkdir()
        self.openssl("req", "-x509", *self.key("ca"), "-out", self.path("ca"),
                     "-days", "30", "-subj", f"/CN={name}")

    def openssl(self, *arguments):
        self.house.run("openssl", *arguments, cwd=self.directory)

    def path(self, name, kind="pem"):
        return self.directory / f"{name}.{kind}"

    def key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-keyout", self.path(name, "key")]

    def certificate(self, name, who, days=20):
        self.openssl("req", *self.key(name), "-out", self.path(name, "csr"),
                     "-subj", f"/CN={name}")
        self.path(name, "ext").write_text(f"subjectAltName={who}\n")
        self.openssl("x509", "-req", "-in", self.path(name, "csr"), "-CA",
                     self.path("ca"), "-CAkey", self.path("ca", "key"),
                     "-CAcreateserial", "-days", str(days), "-extfile",
                     self.path(name, "ext"), "-out", self.path(name))

    def dated(self, name, who, begins, ends):
        """Seconds from now; also such as are over."""
        self.openssl("req", *self.key(name), "-out", self.path(name, "csr"),
                     "-subj", f"/CN={name}")
        (self.directory / "index").touch()
        self.path(name, "cnf").write_text(
            "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nunique_subject=no\n"
            "default_md=sha256\nrand_serial=yes\nnew_certs_dir=.\n"
            "policy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
            f"[e]\nsubjectAltName={who}\n")
        dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(
            time.time() + seconds)) for seconds in (begins, ends)]
        self.openssl("ca", "-batch", "-notext", "-config",
                     self.path(name, "cnf"), "-cert", self.path("ca"),
                     "-keyfile", self.path("ca", "key"), "-in",
                     self.path(name, "csr"), "-out", self.path(name),
                     "-startdate", dates[0], "-enddate", dates[1])

    def memcached(self, name, cert, *more, auth=None):
        options = [f"ssl_chain_cert={self.path(cert)}",
                   f"ssl_key={self.path(cert, 'key')}", *more]
        return self.house.memcached(
            name=name, options=["-Z", "-o", ",".join(options),
                                *(["-Y", auth] if auth else [])])


@pytest.fixture
def tls(house):
    done = house.run("memcached", "-h", ok=False)
    if "--enable-ssl" not in done.stdout:
        pytest.skip("memcached has no TLS here")
    from .harness import BUILD
    needs = house.run("ldd", BUILD / "mc-checkerd").stdout
    if "libssl" not in needs:
        pytest.skip("mc-checkerd was built without OpenSSL")
    return Authority(house)


class Resumer:
    """A server with TLS that counts whose session is resumed.  It lives, and
    its maintenance key is there where `rests` says so."""

    def __init__(self, authority, cert):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.use(authority, cert)
        self.resumed = self.whole = 0
        self.rests = False
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(asyncio.start_server(
            self.serve, "127.0.0.1", 0, ssl=self.context))
        port = self.server.sockets[0].getsockname()[1]
        self.line = f"mc 127.0.0.1:{port}"
        self.thread = threading.Thread(target=self.loop.run_forever)

    def use(self, authority, cert):
        """From now on, and its tickets stay good."""
        self.context.load_cert_chain(authority.path(cert),
                                     authority.path(cert, "key"))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.server.close()
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        self.loop.run_until_complete(
            asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    async def serve(self, reader, writer):
        reused = writer.get_extra_info("ssl_object").session_reused
        self.resumed += reused
        self.whole += not reused
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(self.answer(line))
                await writer.drain()
        writer.close()

    def answer(self, line):
        if line.startswith(b"version"):
            return b"VERSION 1.6.18\r\n"
        value = b"VALUE mc:rest 0 2\r\non\r\n" if self.rests else b""
        return value + b"END\r\n"


@pytest.mark.takes(6)
def test_sessions_and_certificates(house, tls):
    other = Authority(house, "other")
    tls.certificate("good", "IP:127.0.0.1", days=20)
    tls.certificate("renewed", "IP:127.0.0.1", days=25)
    tls.certificate("soon", "IP:127.0.0.1", days=3)
    other.certificate("foreign", "IP:127.0.0.1")
    with Resumer(tls, "good") as server:
        checker = house.checker(
            {"web": pool(server, tls="yes", tls_ca=tls.path("ca"),
                         maintenance_key="mc:rest")},
            defaults=FAST | {"fresh_every": 1})

        def mc():
            return checker.servers()["mc"]

        def wait_degraded(wanted, result):
            wait_until(lambda: (int(mc()["degraded"]) != 0, mc()["result"]) ==
                       (wanted, result), f"degraded {wanted}, {result}")

        wait_until(lambda: server.resumed > 5, "sessions are resumed")
        assert server.whole < server.resumed
        wait_degraded(False, "ok")
        # Another certificate is seen, though tickets are as good as ever.
        began = mc()["tls_expiry"]
        server.use(tls, "renewed")
        wait_until(lambda: mc()["tls_expiry"] > began, "it is renewed")
        server.use(other, "foreign")
        wait_degraded(True, "tls-untrusted")
        # It is looked at each time from then on, and where it ends soon; and
        # it is not for a foreign one to ask to be left alone.
        resumed = server.resumed
        server.rests = True
        for more in ("foreign", "soon"):
            probes = mc()["probes"]
            wait_until(lambda: mc()["probes"] > probes + 5, more)
            assert server.resumed == resumed, more
            assert mc()["admin"] == "READY", more
            server.rests = False
            server.use(tls, "soon")
            wait_degraded(True, "ok")
        # The bit stays, and the story is another.
        server.use(other, "foreign")
        checker.wait_logged('degraded=tls was=tls error="')
        server.use(tls, "renewed")
        wait_degraded(False, "ok")
        assert not checker.logged("state=DOWN")
        assert not checker.logged("admin=")


@pytest.mark.takes(6)
def test_tls(house, tls):
    other = Authority(house, "other")
    tls.certificate("good", "IP:127.0.0.1,DNS:mc.test")
    tls.certificate("soon", "IP:127.0.0.1", days=3)
    tls.certificate("client", "DNS:client")
    good = tls.memcached("good", "good")
    soon = tls.memcached("soon", "soon")
    picky = tls.memcached("picky", "good", "ssl_verify_mode=2",
                          f"ssl_ca_cert={tls.path('ca')}")
    plain = house.memcached(name="plain")
    by = {"tls": "yes", "tls_ca": tls.path("ca")}
    checker = house.checker({
        "good": pool(good, **by),
        "named": pool(good, tls_name="mc.test", **by),
        "set": pool(good, probe="set", canary_size=65536, **by),
        "tcp": pool(good, probe="tcp", **by),
        "misnamed": pool(good, tls_name="xx.test", **by),
        "untrusted": pool(good, tls="yes", tls_ca=other.path("ca")),
        "unverified": pool(good, tls="yes", tls_verify="no"),
        "soon": pool(soon, **by),
        "client": pool(picky, tls_cert=tls.path("client"),
                       tls_key=tls.path("client", "key"), **by),
        "noclient": pool(picky, **by),
        "toplain": pool(plain, **by),
        "plainto": pool(good)},
        checker={"log_probes": "failures"},
        defaults=FEW | {"fresh_every": 3})
    untrusted = ("good", ("UP", "tls-untrusted"))
    wait_states(checker, {
        "good": ("good", ("UP", "ok")), "named": ("good", ("UP", "ok")),
        "set": ("good", ("UP", "ok")), "tcp": ("good", ("UP", "ok")),
        "misnamed": untrusted, "untrusted": untrusted,
        "unverified": ("good", ("UP", "ok")), "soon": ("soon", ("UP", "ok")),
        "client": ("picky", ("UP", "ok"))})
    for p in ("toplain", "plainto"):
        checker.wait_verdicts("DOWN", p)
    assert checker.servers("toplain")["plain"]["reason"] == "tls-failed"
    checker.wait_logged("pool=toplain state=DOWN was=UNKNOWN "
                        'reason=tls-failed error="it does not speak TLS"')
    assert "never answered: is there TLS at one end only?" in " ".join(
        checker.shmdump(checker.path("plainto")).stdout.split())
    # That we have no certificate is our own fault.
    wait_states(checker, {"noclient": ("picky", ("UNKNOWN", "local"))})
    checker.wait_logged("own fault, our certificate is not taken, or missed: "
                        'server=picky pool=noclient error=".*(alert|'
                        'handshake).*" faults=')
    assert not checker.logged("pool=noclient state=")
    # New connections always work, where a session may be resumed and where
    # the server takes none back.
    began = checker.servers("client")["picky"]["probes"]
    wait_until(lambda: checker.servers("client")["picky"]["probes"] >
               began + 9, "many probes")
    assert not checker.logged("pool=(good|client) .*state=(HELD|DOWN)")
    assert not checker.logged("pool=(good|client) .*result=tls-failed")
    bits = {p: int(checker.servers(p)[n]["degraded"]) for p, n in
            (("soon", "soon"), ("untrusted", "good"), ("good", "good"))}
    assert bits["soon"] and bits["untrusted"] and not bits["good"], bits
    good.stop()
    checker.wait_verdicts("HELD", "good")
    good.cont()
    checker.wait_verdicts("UP", "good")


def test_a_password_is_for_the_server_only(house, tls):
    login = house.directory / "login"
    login.write_text("ann:secret\n")
    login.chmod(0o600)
    tls.certificate("good", "IP:127.0.0.1")
    server, strange = (tls.memcached(name, "good", auth=login)
                       for name in ("mc", "strange"))
    by = {"tls": "yes", "auth_file": login}
    checker = house.checker(
        {"web": pool(server, tls_ca=tls.path("ca"), **by),
         "strange": pool(strange, **by)}, defaults=FEW | {"fresh_every": 1})
    wait_states(checker, {"web": ("mc", ("UP", "ok")),
                          "strange": ("strange", ("UP", "tls-untrusted"))})
    wait_until(lambda: checker.servers("strange")["strange"]["probes"] > 3,
               "some probes")

    def logins(server):
        """With ours, which is needed to ask."""
        with ssl.create_default_context(cafile=tls.path("ca")).wrap_socket(
                socket.create_connection((server.ip, server.port), 5),
                server_hostname=server.ip) as s:
            s.sendall(b"set x 0 0 10\r\nann secret\r\nstats\r\n")
            answer = b""
            while not answer.endswith(b"END\r\n"):
                answer += s.recv(65536)
        return int(answer.split(b"STAT auth_cmds ")[1].split()[0])
    assert logins(strange) == 1 and logins(server) > 1


def test_tls_files_at_a_reload(house, tls):
    tls.certificate("good", "IP:127.0.0.1")
    server = tls.memcached("mc", "good")
    ca = house.directory / "ours.pem"
    ca.write_bytes(tls.path("ca").read_bytes())
    checker = house.checker({"web": pool(server, tls="yes", tls_ca=ca)},
                            defaults=FEW)
    wait_states(checker, {"web": ("mc", ("UP", "ok"))})
    # A file that is none: refused, and nothing has changed.
    ca.write_text("no certificate\n")
    checker.reload()
    assert checker.logged(rf"{checker.ini}:\d+: tls_ca = {ca} has no "
                          "certificate in it; name a PEM file")
    assert checker.logged("reload refused: 1 error,")
    assert state(checker, "web", "mc") == ("UP", "ok")
    # Another authority: new connections, which it does not vouch for.
    other = Authority(house, "other")
    ca.write_bytes(other.path("ca").read_bytes())
    checker.reload()
    wait_states(checker, {"web": ("mc", ("UP", "tls-untrusted"))})
    ca.unlink()
    done = house.run(checker.program("mc-checkerd"), "-t", "-c", checker.ini,
                     ok=False)
    assert done.returncode == os.EX_CONFIG
    missing = (rf"{checker.ini}:\d+: tls_ca = {ca} cannot be read: "
               "No such file or directory; name a PEM file")
    assert re.search(missing, done.stderr)
    # All that is wrong in one run, beside errors of other kinds.
    several = house.directory / "several.ini"
    good = tls.path("good")
    several.write_text(
        f"[defaults]\ntls = yes\ntls_ca = {ca}\n"
        f"[pool a]\nfall = 0\nserver = {server.line}\n"
        f"[pool b]\ntls_cert = {good}\ntls_key = {good}\n"
        f"server = {server.line}\n"
        f"[pool c]\ntls_ca = none\ntls_cert = {good}\n"
        f"tls_key = {tls.path('ca', 'key')}\nserver = {server.line}\n")
    done = house.run(checker.program("mc-checkerd"), "-t", "-c", several,
                     ok=False)
    assert [line.removeprefix(f"{several}:").split(" = ")[0]
            for line in done.stderr.splitlines()] == [
        "5: fall", "3: tls_ca", "9: tls_key", "14: pool c: tls_key"]
    checker.stop()
    checker.start(ready=False)
    checker.expected_code = os.EX_CONFIG
    wait_until(lambda: not checker.alive, "it does not start")
    assert checker.logged(missing)
