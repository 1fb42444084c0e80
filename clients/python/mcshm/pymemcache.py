"""pymemcache goes by the pool file.

    from mcshm.pymemcache import HashClient

    cache = HashClient("web", ignore_exc=True)
    cache.set("user:42", "...")

This HashClient is pymemcache's own, of all servers of the pool "web".  A key
goes to the server that mc-checkerd's file says: at once past a server that is
down, and back when it returns; keys of other servers never move.  Servers that
the pool gets or loses are followed.  A server that fails in the client's hands
is passed over in this process, and the checker is told.

Who has to keep a client of his own gives it a Hasher:

    pymemcache.HashClient(servers, hasher=partial(Hasher, "web"))

Made for pymemcache 3.5 to 4.0.
"""
from __future__ import annotations

import contextlib
import functools
import logging
import os
import socket
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from pymemcache.client.base import Client as _Client, PooledClient
from pymemcache.client.hash import HashClient as _HashClient
from pymemcache.exceptions import MemcacheUnexpectedCloseError

from . import Error, Held, Miss, Pool, Server, Unavailable, cap

__all__ = ["Client", "HashClient", "Hasher", "ServersDiffer"]

logger = logging.getLogger(__name__)

# As patient as the checker is: a lost SYN, two lost packets.  pymemcache's own
# default is to wait for ever.
CONNECT_TIMEOUT, TIMEOUT = 1.5, 0.75

# New rosters between picking a slot and learning whose it is.
ROSTERS_MAX = 8


class ServersDiffer(Error, ValueError):
    """The client's servers are not the pool's."""


_opened: weakref.WeakValueDictionary[str, Pool] = weakref.WeakValueDictionary()


def _pool_of(pool: Pool | str) -> Pool:
    """One handle a process for all clients of a pool: what one of them finds
    out about a server, the others know."""
    if isinstance(pool, Pool):
        return pool
    handle = _opened.get(pool)
    if handle is None or handle.closed:
        handle = _opened[pool] = Pool(pool, later=True)
    return handle


def _text(key: Any) -> str | bytes:
    """A key as the pool takes it; pymemcache formats whatever it gets."""
    return key if isinstance(key, (str, bytes)) else str(key)


# Servers and nodes, which is what pymemcache calls them: "host:port", or the
# path of a socket.

def _address_node(server: Server) -> str | None:
    if server.family == socket.AF_UNIX:
        return str(server.address)
    if server.address is None:
        return None
    return "%s:%s" % _host_and_port(server)


def _host_and_port(server: Server) -> tuple[str, int]:
    host, port, *rest = server.address
    return (f"{host}%{rest[1]}" if rest and rest[1] else host), port


def _texts(server: Server) -> Iterable[str]:
    """What a client may call a server."""
    yield server.name.replace("[", "").replace("]", "")
    node = _address_node(server)
    if node is not None:
        yield node
        if server.family != socket.AF_UNIX:
            yield f"{server.name}:{server.address[1]}"


def _addresses(node: str) -> set[Any]:
    """What the host of a node resolves to."""
    host, _, port = node.rpartition(":")
    if not host or not port.isdigit():
        return set()
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        return set()
    return {address[:2] for *_, address in found}


def _match(servers: Iterable[Server], nodes: dict[str, None]) \
        -> list[str | None]:
    """Of each server, the client's node; None where there is none.  By text,
    and what is left by what its name resolves to.  A pool may have one server
    several times, for its weight."""
    found = [next((t for t in _texts(server) if t in nodes), None)
             for server in servers]
    resolved = {node: _addresses(node) for node in nodes.keys() - set(found)} \
        if None in found else {}
    for slot, server in enumerate(servers):
        if found[slot] is None and server.address is not None:
            found[slot] = next((n for n, a in resolved.items()
                                if server.address[:2] in a), None)
    return found


class _Table(NamedTuple):
    """The nodes of a roster, by slot."""

    roster: int
    servers: tuple[Server, ...]
    nodes: list[str | None]


class Hasher:
    """For pymemcache's HashClient: hasher=functools.partial(Hasher, pool).

    The client's servers must be the pool's, or ServersDiffer says which are
    not; servers that the pool gets later are misses until the client is made
    anew.  pymemcache takes a miss for an error unless it has ignore_exc=True.
    """

    # The node for keys of servers that nobody is to wait for.
    nowhere: str | None = None

    def __init__(self, pool: Pool | str) -> None:
        self.pool = _pool_of(pool)
        self._nodes: dict[str, None] = {}
        self._table = _Table(0, (), [])

    def add_node(self, node: str) -> None:
        if node not in self._nodes:
            self._nodes[node] = None
            self._table = _Table(0, (), [])

    def remove_node(self, node: str) -> None:
        """Which servers can be used is not for this process to say."""

    def get_node(self, key: Any) -> str | None:
        """A node that was added; None: no server to ask."""
        for _ in range(ROSTERS_MAX):
            try:
                choice = self.pool.pick(_text(key))
            except (Held, Miss):
                return self.nowhere
            except Unavailable:
                return None
            table = self._table
            if choice.roster == table.roster:
                node = table.nodes[choice.slot]
                return self.nowhere if node is None else node
            self._learn()
        return None

    def _learn(self) -> None:
        roster = self.pool.roster()
        nodes = self._find(roster.servers)
        self._table = _Table(roster.id, roster.servers, nodes)

    def _find(self, servers: tuple[Server, ...]) -> list[str | None]:
        nodes = _match(servers, self._nodes)
        extra = self._nodes.keys() - set(nodes)
        missing = [s.name for s, node in zip(servers, nodes) if node is None]
        if not extra and not missing:
            return nodes
        message = f"{self.pool.name}: " + "; ".join(
            [f"the client has {n}, the pool has not" for n in sorted(extra)] +
            [f"the pool has {n}, the client has not" for n in missing])
        if self._table.roster == 0:
            raise ServersDiffer(message)
        if missing:
            logger.warning("%s: keys of servers that the client has not are "
                           "misses", message)
        return nodes

    def failed(self, node: str) -> None:
        """This server failed in the client's hands."""
        table = self._table
        # The client's own error is what its caller is to see.
        with contextlib.suppress(Error, ValueError):
            for server, its_node in zip(table.servers, table.nodes):
                if its_node == node:
                    self.pool.failed(server)


# A client that tells.

# What may be sent twice.
_REPEATABLE = {"get", "get_many", "get_multi", "gets", "gets_many", "gat",
               "gats", "set", "set_many", "set_multi", "delete", "delete_many",
               "delete_multi", "touch", "version", "stats"}
_OTHERS = {"add", "replace", "append", "prepend", "cas", "incr", "decr",
           "flush_all"}
# A connection that was open has ended: perhaps the server is well, and the
# connection was idle for too long, or the server was restarted.
_ENDED = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError,
          MemcacheUnexpectedCloseError)


class Client(_Client):
    """pymemcache's Client, of one server; failed(server) is called when the
    server fails.

    Where a connection that was open before has ended, it first tries whether a
    new one can be had, and repeats what may be repeated.  A connection that a
    parent process has made is not used.
    """

    def __init__(self, server: Any, *args: Any,
                 failed: Callable[[Any], None] = lambda server: None,
                 **options: Any) -> None:
        super().__init__(server, *args, **options)
        self._failed = failed
        self._process = os.getpid()

    def __del__(self) -> None:
        if getattr(self, "sock", None) is not None:
            self.close()

    def _attempt(self, method: Callable[..., Any], *args: Any,
                 **options: Any) -> Any:
        try:
            return method(self, *args, **options)
        except (OSError, MemcacheUnexpectedCloseError):
            self._failed(self.server)
            raise

    def _again(self, method: Callable[..., Any], *args: Any,
               **options: Any) -> Any:
        """On a connection that was open before."""
        try:
            return method(self, *args, **options)
        except _ENDED:
            if method.__name__ not in _REPEATABLE:
                self._attempt(_Client.version)
                raise
        except OSError:
            self._failed(self.server)
            raise
        return self._attempt(method, *args, **options)


def _watched(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def command(self: Client, *args: Any, **options: Any) -> Any:
        if self._process != os.getpid():
            self.close()
            self._process = os.getpid()
        how = self._attempt if self.sock is None else self._again
        return how(method, *args, **options)

    return command


for _name in _REPEATABLE | _OTHERS:
    if hasattr(_Client, _name):         # not all versions have all
        setattr(Client, _name, _watched(getattr(_Client, _name)))


class _Nowhere:
    """A client of a server that never has anything and stores nothing."""

    server = "(no server)"

    def get(self, key: Any, default: Any = None, **options: Any) -> Any:
        return default

    gat = get

    def gets(self, key: Any, default: Any = None, cas_default: Any = None,
             **options: Any) -> Any:
        return default, cas_default

    gats = gets

    def get_many(self, keys: Any) -> Any:
        return {}

    gets_many = get_many

    def set(self, key: Any, *args: Any, **options: Any) -> Any:
        return False

    add = replace = append = prepend = delete = touch = set

    def incr(self, key: Any, *args: Any, **options: Any) -> Any:
        return None

    decr = cas = incr

    def set_many(self, values: Any, *args: Any, **options: Any) -> Any:
        return list(values)


class _Clients(dict[str, Any]):
    """By node; for one that is not there (any more), nowhere's."""

    nowhere = _Nowhere()

    def __missing__(self, node: str) -> _Nowhere:
        return self.nowhere


class _Follower(Hasher):
    """The hasher of a client whose servers are always the pool's."""

    nowhere = _Nowhere.server
    adopt: Callable[[Iterable[Server]], None]

    def _find(self, servers: tuple[Server, ...]) -> list[str | None]:
        self.adopt(servers)
        return [_address_node(server) for server in servers]


class HashClient(_HashClient):
    """pymemcache's HashClient, of the servers of a pool; see above.

    pool: a name, a path or a mcshm.Pool, or a list of one such.  options are
    pymemcache's.
    """

    def __init__(self, pool: Any, **options: Any) -> None:
        if isinstance(pool, (list, tuple)):
            if len(pool) != 1:
                raise ValueError(f"one pool is needed, not {len(pool)} servers")
            pool, = pool
        follower = _Follower(pool)
        follower.adopt = _weak(self._adopt)
        self.client_class = functools.partial(Client,
                                              failed=_weak(self._failed))
        options.setdefault("connect_timeout", CONNECT_TIMEOUT)
        options.setdefault("timeout", TIMEOUT)
        options.setdefault("retry_attempts", 0)
        super().__init__([], hasher=lambda: follower, **options)
        self.clients = _Clients()
        with contextlib.suppress(Unavailable):
            follower._learn()

    @property
    def pool(self) -> Pool:
        pool: Pool = self.hasher.pool
        return pool

    def _adopt(self, servers: Iterable[Server]) -> None:
        """Clients for these servers and no others."""
        clients = _Clients()
        for server in servers:
            node = _address_node(server)
            if node is not None:
                clients[node] = self.clients.get(node) or \
                    self._client_for(server)
        self.clients = clients

    def _client_for(self, server: Server) -> Any:
        address = server.address if server.family == socket.AF_UNIX \
            else _host_and_port(server)
        if not self.use_pooling:
            return self.client_class(address, **self.default_kwargs)
        client = PooledClient(address, **self.default_kwargs)
        client.client_class = self.client_class
        return client

    def _failed(self, server: Any) -> None:
        self.hasher.failed(server if isinstance(server, str)
                           else "%s:%s" % server)

    def _mark_failed_server(self, server: Any) -> None:
        """pymemcache's own idea of who is dead is not needed."""

    def _cap(self, key: Any, expire: int) -> int:
        """What is stored away from home lives no longer than the pool says."""
        if isinstance(key, tuple) and len(key) == 2:
            key = key[0]
        return cap(self.pool.pick(_text(key), None), expire)

    def set_many(self, values: dict[Any, Any], expire: int = 0, *args: Any,
                 **options: Any) -> Any:
        parts: dict[int, dict[Any, Any]] = {}
        for key, value in values.items():
            parts.setdefault(self._cap(key, expire), {})[key] = value
        failed: list[Any] = []
        for capped, part in parts.items():
            failed += super().set_many(part, capped, *args, **options)
        return failed

    set_multi = set_many


def _weak(method: Callable[..., None]) -> Callable[..., None]:
    """Calls it if its object is still there, and does not keep it."""
    reference = weakref.WeakMethod(method)

    def call(*args: Any) -> None:
        bound = reference()
        if bound is not None:
            bound(*args)

    return call


def _capped(method: Callable[..., Any], at: int) -> Callable[..., Any]:
    """A command whose argument behind the key, counted from 1, is expire."""
    @functools.wraps(method)
    def command(self: HashClient, key: Any, *args: Any, **options: Any) -> Any:
        if len(args) >= at:
            expire = self._cap(key, args[at - 1])
            args = (*args[:at - 1], expire, *args[at:])
        else:
            options["expire"] = self._cap(key, options.get("expire", 0))
        return method(self, key, *args, **options)

    return command


for _name, _at in {"set": 2, "add": 2, "replace": 2, "cas": 3, "touch": 1,
                   "gat": 9, "gats": 9}.items():
    if hasattr(_HashClient, _name):
        setattr(HashClient, _name, _capped(getattr(_HashClient, _name), _at))
