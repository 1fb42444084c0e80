"""Network namespaces, and a wire between two of them."""
import os


class Netns:
    """Has a loopback that is up, and nothing else."""

    def __init__(self, house):
        self.house = house
        self.name = f"mc{os.getpid()}n{next(house.numbers)}"
        self.enter = ["nsenter", f"--net=/run/netns/{self.name}"]
        house.privileged("ip", "netns", "add", self.name)
        house.namespaces.append(self)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments):
        self.house.run("ip", "-n", self.name, *arguments)

    def nft(self, *arguments):
        self.house.run(*self.enter, "nft", *arguments)

    def remove(self):
        self.house.run("ip", "netns", "del", self.name)


class Wire:
    """near ---- far: the checker lives near, its servers far away."""

    near_address, far_address = "10.77.0.1", "10.77.0.2"

    def __init__(self, house):
        self.near, self.far = Netns(house), Netns(house)
        self.near.ip("link", "add", "near", "type", "veth", "peer", "name",
                     "far", "netns", self.far.name)
        self.near.ip("addr", "add", f"{self.near_address}/24", "dev", "near")
        self.far.ip("addr", "add", f"{self.far_address}/24", "dev", "far")
        self.near.ip("link", "set", "near", "up")
        self.far.ip("link", "set", "far", "up")
        self.far.nft("add", "table", "inet", "cut")

    def cut(self, how):
        """far: the other end loses its link; near: ours does; drop: packets
        vanish on the way."""
        if how == "drop":
            self.far.nft("add chain inet cut in { type filter hook input "
                         "priority 0; policy drop; }")
        else:
            getattr(self, how).ip("link", "set", how, "down")

    def mend(self, how):
        if how == "drop":
            self.far.nft("delete", "chain", "inet", "cut", "in")
        else:
            getattr(self, how).ip("link", "set", how, "up")
