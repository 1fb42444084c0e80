#!/usr/bin/python3
"""peer_python.py - the servers that pymemcache and python-memcached choose;
request.h has the words that it is asked with.

    set client pymemcache | pymemcache-bytes | python-memcached
    set namespace TEXT      to store: key_prefix

All that chooses is the clients' own; no connection is opened, but to store.  A
server that is down was taken out of pymemcache's hasher, as HashClient does it,
or is one that python-memcached holds for dead.
"""
import struct
import sys
import time

import memcache
from pymemcache.client.hash import HashClient

NOBODY = 0xffff
FOR_EVER = 1 << 40


class Pymemcache:
    """More tries: what it comes to when each one is taken out in turn."""

    def __init__(self, servers, down, as_bytes, prefix):
        self.as_bytes = as_bytes
        self.client = HashClient([host if host[0] == "/" else (host, port)
                                  for host, port, _ in servers],
                                 allow_unicode_keys=True, retry_attempts=0,
                                 dead_timeout=FOR_EVER, ignore_exc=True,
                                 key_prefix=prefix)
        self.slot = {node: i for i, node in enumerate(self.client.clients)}
        self.node = list(self.client.clients)
        for i in down:
            self.client.hasher.remove_node(self.node[i])

    def tries(self, key, tries):
        if not self.as_bytes:
            key = key.decode()
        if tries == 1:
            return [self.slot[self.node_of(self.client._get_client(key))]]
        hasher, order = self.client.hasher, []
        while hasher.nodes and len(order) < tries:
            order.append(hasher.get_node(key))
            hasher.remove_node(order[-1])
        for node in order:
            hasher.add_node(node)
        return [self.slot[node] for node in order]

    def store(self, key):
        return self.client.set(key if self.as_bytes else key.decode(), b"1",
                               noreply=False)

    def node_of(self, client):
        return self.client._make_client_key(client.server)


class PythonMemcached:
    """More tries: all that are made when nobody answers."""

    def __init__(self, servers, down, prefix, connected):
        self.prefix = prefix
        self.client = memcache.Client([
            (self.text(host, port), weight) for host, port, weight in servers],
            dead_retry=FOR_EVER)
        for i, server in enumerate(self.client.servers):
            server.slot = i
            if connected:
                server.socket = True    # it looks no further
            if i in down:
                server.deaduntil = time.time() + FOR_EVER

    @staticmethod
    def text(host, port):
        if host[0] == "/":
            return f"unix:{host}"
        return f"inet6:[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def tries(self, key, tries):
        if tries == 1:
            server, _ = self.client._get_server(key)
            return [server.slot] if server else []
        tried = []
        # An instance's own connect() hides that of the class.
        for server in self.client.servers:
            server.connect = lambda slot=server.slot: tried.append(slot)
        self.client._get_server(key)
        for server in self.client.servers:
            del server.connect
        return tried

    def store(self, key):
        if not self.prefix:
            return self.client.set(key, b"1")
        return not self.client.set_multi({key: b"1"}, key_prefix=self.prefix)


class Peer:
    def __init__(self):
        self.keys = []
        self.forget()

    def forget(self):
        self.client, self.servers, self.down = None, [], set()
        self.settings = {}

    def read_keys(self, path):
        with open(path, "rb") as f:
            everything = f.read()
        self.keys, at = [], 0
        while at < len(everything):
            n, = struct.unpack_from("<H", everything, at)
            self.keys.append(everything[at + 2:at + 2 + n])
            at += 2 + n

    def build(self, connected):
        client = self.settings["client"]
        prefix = self.settings.get("namespace", "").encode()
        if client == "python-memcached":
            return PythonMemcached(self.servers, self.down, prefix, connected)
        return Pymemcache(self.servers, self.down,
                          client == "pymemcache-bytes", prefix)

    def ask(self, start, count, tries):
        self.client = self.client or self.build(connected=True)
        answer = []
        for key in self.keys[start:start + count]:
            tried = self.client.tries(key, tries)[:tries]
            answer.extend(tried + [NOBODY] * (tries - len(tried)))
        return answer

    def store(self, start, count):
        self.client = self.client or self.build(connected=False)
        return [bool(self.client.store(key))
                for key in self.keys[start:start + count]]

    def obey(self, word, *rest):
        if word == "new":
            self.forget()
        elif word == "keys":
            self.read_keys(*rest)
        elif word == "set":
            self.settings[rest[0]] = " ".join(rest[1:])
        elif word == "server":
            self.servers.append((rest[0], int(rest[1]), int(rest[2])))
        elif word == "down":
            self.down.add(int(rest[0]))
        elif word in ("ask", "store"):
            numbers = getattr(self, word)(*map(int, rest))
            sys.stdout.buffer.write(struct.pack(f"<{len(numbers)}H", *numbers))
            sys.stdout.buffer.flush()
        else:
            sys.exit(f"not understood: {word}")


def main():
    peer = Peer()
    for line in sys.stdin:
        peer.obey(*line.split())


if __name__ == "__main__":
    main()
