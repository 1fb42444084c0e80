"""dns_server.py - a name server that says what a test tells it.

    dns_server.py IP        listens on IP:53, UDP; says "ready"

Commands, one a line on stdin, each answered with "ok" or a number:

    set NAME TYPE TTL [DATA...]  TYPE a, aaaa or cname; no DATA: no address
    turns NAME TTL DATA...       an IPv4 address at a time, in turn
    fail NAME nxdomain|servfail|silent [TYPE]
                                 with a TYPE: questions for that
    asked NAME                   how many questions there were

NAME may be "*": all that are not said otherwise.  A name has either answers or
a failure; one that nobody has heard of does not exist.
"""
import selectors
import socket
import struct
import sys

TYPES = {"a": 1, "cname": 5, "aaaa": 28}
CODES = {"nxdomain": 3, "servfail": 2}


def to_wire(name):
    labels = (bytes([len(p)]) + p.encode() for p in name.split("."))
    return b"".join(labels) + b"\0"


def question_of(packet):
    """(name, type, the question as it came)"""
    at, labels = 12, []
    while packet[at]:
        labels.append(packet[at + 1:at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    kind = struct.unpack_from("!H", packet, at + 1)[0]
    return ".".join(labels).lower(), kind, packet[12:at + 5]


def data_of(kind, text):
    if kind == TYPES["cname"]:
        return to_wire(text)
    family = socket.AF_INET if kind == TYPES["a"] else socket.AF_INET6
    return socket.inet_pton(family, text)


class Zone:
    def __init__(self):
        self.records = {}       # {name: {type: (ttl, [text])}}
        self.failures = {}      # {name: how}
        self.broken = {}        # {(name, type): how}
        self.asked = {}         # {name: how often}
        self.turns = set()      # names

    def known(self, table, name):
        return table.get(name, table.get("*"))

    def find(self, name, kind):
        """[(owner, type, ttl, text)], from name along its aliases."""
        found = []
        while True:
            here = self.known(self.records, name) or {}
            ttl, texts = here.get(kind, (0, []))
            if kind == TYPES["a"] and name in self.turns:
                texts[:] = texts[1:] + texts[:1]
                texts = texts[:1]
            if texts:
                return found + [(name, kind, ttl, t) for t in texts]
            ttl, texts = here.get(TYPES["cname"], (0, []))
            if not texts:
                return found
            found.append((name, TYPES["cname"], ttl, texts[0]))
            name = texts[0]

    def answer(self, packet):
        """None: silence."""
        name, kind, question = question_of(packet)
        self.asked[name] = self.asked.get(name, 0) + 1
        how = self.failures.get(name)
        if name not in self.records and how is None:
            how = self.failures.get("*")
        if how is None and not self.known(self.records, name):
            how = "nxdomain"
        how = self.broken.get((name, kind), how)
        if how == "silent":
            return None
        found = [] if how else self.find(name, kind)
        flags = 0x8180 | CODES.get(how, 0)
        reply = packet[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
        reply += question
        for owner, one, ttl, text in found:
            data = data_of(one, text)
            reply += to_wire(owner) + struct.pack(
                "!HHIH", one, 1, ttl, len(data)) + data
        return reply

    def obey(self, line):
        word, name, *rest = line.split()
        if word == "asked":
            return str(self.asked.get(name, 0))
        if word == "turns":
            self.turns.add(name)
            rest = ["a", *rest]
        elif word == "set" and rest[0] == "a":
            self.turns.discard(name)
        if word in ("set", "turns"):
            kind, ttl, *texts = rest
            self.failures.pop(name, None)
            self.records.setdefault(name, {})[TYPES[kind]] = (int(ttl), texts)
        elif word == "fail" and len(rest) == 2:
            self.broken[name, TYPES[rest[1]]] = rest[0]
        elif word == "fail":
            self.records.pop(name, None)
            self.failures[name] = rest[0]
        return "ok"


def main():
    zone = Zone()
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[1], 53))
    wait = selectors.DefaultSelector()
    wait.register(server, selectors.EVENT_READ)
    wait.register(sys.stdin, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in wait.select():
            if key.fileobj is server:
                packet, who = server.recvfrom(4096)
                reply = zone.answer(packet)
                if reply:
                    server.sendto(reply, who)
            else:
                line = sys.stdin.readline()
                if not line:
                    return
                print(zone.obey(line), flush=True)


main()
