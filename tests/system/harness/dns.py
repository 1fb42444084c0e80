"""A name server that says what a test tells it, and who is to believe it."""
import pathlib
import sys

from .process import Process

SERVER = pathlib.Path(__file__).resolve().parents[1] / "dns_server.py"

# A mount namespace of its own, with these files over those of the system.
OVER = """
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit; shift 2; done
shift; exec "$@"
"""


class Dns:
    """In a network namespace: DNS on 127.0.0.53, and a daemon that is started
    with before=dns.before, netns=dns.netns asks it and no other."""

    def __init__(self, house, netns, address="127.0.0.53"):
        self.house, self.netns = house, netns
        house.privileged("unshare", "-m", "true")
        self.resolv = house.directory / "resolv.conf"
        self.hosts = house.directory / "hosts"
        self.ask(address)
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.before = ["unshare", "-m", "sh", "-c", OVER, "sh",
                       str(self.resolv), "/etc/resolv.conf",
                       str(self.hosts), "/etc/hosts", "--"]
        self.start(address)

    def start(self, address):
        self.process = Process(
            self.house, f"dns{next(self.house.numbers)}",
            [sys.executable, SERVER, address], talks=True, netns=self.netns,
            gentle=False)
        assert self.process.read() == "ready"

    def ask(self, *addresses, search=()):
        """These are the name servers of the system."""
        with open(self.resolv, "w") as f:
            if search:
                f.write(f"search {' '.join(search)}\n")
            for address in addresses:
                f.write(f"nameserver {address}\n")

    def tell(self, line):
        self.process.write(line)
        return self.process.read()

    def set(self, name, *addresses, ttl=1):
        """Its addresses; IPv6 have colons."""
        for kind, those in (("a", [a for a in addresses if ":" not in a]),
                            ("aaaa", [a for a in addresses if ":" in a])):
            assert self.tell(f"set {name} {kind} {ttl} "
                             f"{' '.join(those)}") == "ok"

    def turns(self, name, *addresses, ttl=1):
        """Now this one, now that one."""
        assert self.tell(f"turns {name} {ttl} {' '.join(addresses)}") == "ok"

    def fail(self, name, how, kind=""):
        """nxdomain, servfail, silent; for a or aaaa only"""
        assert self.tell(f"fail {name} {how} {kind}") == "ok"

    def asked(self, name):
        return int(self.tell(f"asked {name}"))
