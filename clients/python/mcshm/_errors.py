"""The library's codes as exceptions: one class a code, all of them Errors.

Those under Unavailable mean that there is no server to ask for this key just
now.  For a cache that is a miss, and what is looked up elsewhere is stored
nowhere.  Whoever wants no more than that gives pick() a default.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._mcshm import Choice


class Error(Exception):
    """Whatever libmcshm has to say; its code is that of mcshm.h."""

    code = 0
    choice: Choice | None = None    # where there is one: which server it was


class Unavailable(Error):
    """There is no server to ask for this key now: a miss, stored nowhere."""


class NoServer(Unavailable):
    """No server of the pool is usable."""

    code = -1


class RosterChanged(Error):
    """The choice is one of an earlier roster: pick again."""

    code = -2


class Busy(Error):
    """No one moment could be had: the checker writes without a pause."""

    code = -3


class Invalid(Error, ValueError):
    """An argument that makes no sense."""

    code = -4


class NoPool(Unavailable, FileNotFoundError):
    """There is no such pool file (yet, with later=True)."""

    code = -5


class NotTrusted(Error, PermissionError):
    """The file may not be read, or its owner or mode can not be trusted."""

    code = -6


class Damaged(Error):
    """Not a pool file, or a damaged one."""

    code = -7


class TooNew(Error):
    """A format or scheme that this libmcshm does not know."""

    code = -8


class SystemTrouble(Error, OSError):
    """Out of memory, of descriptors or the like."""

    code = -9


class Held(Unavailable):
    """The key's server is silent: nobody waits for it, its keys stay."""

    code = -10


class Miss(Unavailable):
    """The key's server is down, and the pool says dead = miss."""

    code = -11


class Down(Unavailable):
    """The key's server is down, and the pool says dead = error."""

    code = -12


class ServerFailed(Error, ConnectionError):
    """The server failed in the hands of the function that run() called, and no
    other was tried, or all that were.  __cause__ is what the function raised
    last."""

    code = -13


class NotSent(ConnectionError):
    """For functions of run() to raise: the server failed, and no byte had been
    sent.  ConnectionRefusedError says the same."""


# What run() blames the server for, unless it is told otherwise.
FAILURES = (OSError, EOFError)

_BY_CODE = {c.code: c for c in (
    NoServer, RosterChanged, Busy, Invalid, NoPool, NotTrusted, Damaged, TooNew,
    SystemTrouble, Held, Miss, Down, ServerFailed)}


def error_of(code: int, text: str, pool: str, choice: Choice | None) -> Error:
    """The exception of a code, not raised."""
    where = f"{pool}: {choice.server.name}" if choice and choice.server \
        else pool
    e = _BY_CODE.get(code, Error)(f"{where}: {text}")
    e.code, e.choice = code, choice
    return e
