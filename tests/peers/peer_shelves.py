#!/usr/bin/python3
"""peer_shelves.py - which server has a key, by looking at each of them;
request.h has the words that it is asked with.

    flush       all servers forget everything; answered with a 1

A server that is down is not looked at.  No client: only get and flush_all.
"""
import socket
import struct
import sys

NOBODY, SEVERAL = 0xffff, 0xfffe
PATIENCE = 20           # s


def talk(host, port, request, end):
    """All that is said until it ends so."""
    said = b""
    with socket.create_connection((host, port), PATIENCE) as s:
        s.sendall(request)
        while not said.endswith(end):
            came = s.recv(1 << 16)
            if not came:
                sys.exit(f"{host}:{port} ended the connection")
            said += came
    return said


class Peer:
    def __init__(self):
        self.keys, self.servers, self.down = [], [], set()

    def read_keys(self, path):
        with open(path, "rb") as f:
            everything = f.read()
        self.keys, at = [], 0
        while at < len(everything):
            n, = struct.unpack_from("<H", everything, at)
            self.keys.append(everything[at + 2:at + 2 + n])
            at += 2 + n

    def up(self):
        return ((i, *server) for i, server in enumerate(self.servers)
                if i not in self.down)

    def ask(self, start, count, tries):
        keys = self.keys[start:start + count]
        found = {}
        for i, host, port in self.up():
            said = talk(host, port, b"".join(b"get %s\r\n" % k for k in keys)
                        + b"mn\r\n", b"MN\r\n")
            for line in said.split(b"\r\n"):
                if line.startswith(b"VALUE "):
                    key = line.split()[1]
                    found[key] = SEVERAL if key in found else i
        return [found.get(k, NOBODY) for k in keys]

    def flush(self):
        for _, host, port in self.up():
            talk(host, port, b"flush_all\r\n", b"OK\r\n")
        return [1]

    def obey(self, word, *rest):
        if word == "new":
            self.servers, self.down = [], set()
        elif word == "keys":
            self.read_keys(*rest)
        elif word == "server":
            self.servers.append((rest[0], int(rest[1])))
        elif word == "down":
            self.down.add(int(rest[0]))
        elif word in ("ask", "flush"):
            numbers = getattr(self, word)(*map(int, rest))
            sys.stdout.buffer.write(struct.pack(f"<{len(numbers)}H", *numbers))
            sys.stdout.buffer.flush()


def main():
    peer = Peer()
    for line in sys.stdin:
        peer.obey(*line.split())


if __name__ == "__main__":
    main()
