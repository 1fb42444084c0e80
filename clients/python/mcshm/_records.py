"""What the library tells, as values with names.

Times are seconds of the clock time.CLOCK_BOOTTIME, None for never.
"""
from __future__ import annotations

import enum
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from ._errors import Error, error_of

if TYPE_CHECKING:
    from ._mcshm import Choice, Pool

# A number that this version has no name for stays a number.

class _Named(enum.IntEnum):
    """A number that is shown by its name."""

    def __str__(self) -> str:
        return self.name

    def __format__(self, how: str) -> str:
        return format(self.name, how)


class Verdict(_Named):
    """What the checker believes of a server."""

    UNKNOWN = 0         # not decided yet; usable
    UP = 1              # usable
    HELD = 2            # silent: a miss at once, and its keys stay
    DOWN = 3            # its keys are rehashed
    RECOVERING = 4      # answers again, not trusted yet; as DOWN


class Admin(_Named):
    """What the operator says of a server."""

    READY = 0
    DRAIN = 1           # probed, not picked
    MAINT = 2           # neither probed nor picked


class Server(NamedTuple):
    """What a connection is made from.

    address is what socket.connect() takes in this family: (host, port), four
    values for IPv6, or a path; None if the name has not resolved yet.
    """

    name: str           # as in the ini; host:port if there is none
    family: int
    address: Any
    weight: int
    slot: int


class Roster(NamedTuple):
    """The servers of a file, by slot.  Compare ids for equality only."""

    id: int
    servers: tuple[Server, ...]


class State(NamedTuple):
    """Of one server.

    History has one bit a probe, the newest in bit 0.  1: good.  0: failed, by
    proof where proof has a 1, by silence where not; a wrong answer where wrong
    has a 1.  In seen, 1: counts, since the verdict changed.
    """

    verdict: Verdict | int
    admin: Admin | int
    usable: bool                # what pick() obeys
    held: bool
    reason: str | None          # of the last failure, "refused"
    reason_text: str | None     # the same in a sentence
    degraded: int               # bits
    history: int
    proof: int
    wrong: int
    seen: int
    since: float | None         # of the verdict
    checked: float | None       # end of the last finished probe
    probes: int
    failures: int
    rtt: float                  # seconds, of the last answer
    down_since: float | None    # when it last went DOWN
    back_since: float | None    # when it last came back from there
    degraded_names: tuple[str, ...]     # the bits, ("worker-stuck",)


class Status(NamedTuple):
    """Of the checker and its file."""

    roster: int
    generation: int
    heartbeat_age: float        # seconds
    servers: int
    usable: int
    alive: bool                 # a checker holds the file's lock
    hung: bool                  # alive, but its heartbeat is stale
    stale: bool                 # verdicts are ignored now
    fail_open: bool
    rebooted: bool              # written before the host's last boot
    superseded: bool            # a newer file is there that can not be opened:
    follow_error: Error | None  # that is why
    pid: int                    # of the checker, as it sees itself


class Snapshot(NamedTuple):
    """Everything, of one moment; servers and states are by slot."""

    status: Status
    servers: tuple[Server, ...]
    states: tuple[State, ...]


def cap(choice: Choice | None, expire: int) -> int:
    """The expiry time that a value may be stored with, where expire would be
    right at its home: no later than the pool's failover_ttl from now, if the
    key is away from home.  As in memcached's protocol: 0 is never, less is
    already over, and more than 30 days is a date."""
    if choice is None or not choice.failover_ttl:
        return expire
    if expire > 30 * 86400:
        expire = expire - int(time.time()) or -1
    return min(expire, choice.failover_ttl) if expire else choice.failover_ttl


# For _mcshm, which knows no more than numbers.


def _known(kind: type[enum.IntEnum], number: int) -> Any:
    try:
        return kind(number)
    except ValueError:
        return number


def _time(ns: int) -> float | None:
    return ns / 1e9 if ns else None


def state_of(verdict: int, admin: int, usable: int, held: int,
             reason: str | None, reason_text: str | None, degraded: int,
             history: int, proof: int, wrong: int, seen: int, since: int,
             checked: int, probes: int, failures: int, rtt_us: int,
             down_since: int, back_since: int,
             degraded_names: tuple[str, ...]) -> State:
    return State(
        _known(Verdict, verdict), _known(Admin, admin), bool(usable),
        bool(held), reason, reason_text, degraded, history, proof, wrong, seen,
        _time(since), _time(checked), probes, failures, rtt_us / 1e6,
        _time(down_since), _time(back_since), degraded_names)


def status_of(roster: int, generation: int, heartbeat_age: int, servers: int,
              usable: int, alive: int, hung: int, stale: int, fail_open: int,
              rebooted: int, superseded: int, follow_error: int, text: str,
              pid: int, pool: str) -> Status:
    return Status(
        roster, generation, heartbeat_age / 1e9, servers, usable, bool(alive),
        bool(hung), bool(stale), bool(fail_open), bool(rebooted),
        bool(superseded),
        error_of(follow_error, text, pool, None) if follow_error else None, pid)


def reopen(kind: type[Pool], name: str, nofollow: bool, later: bool,
           options: dict[str, Any]) -> Pool:
    """A pool that was pickled: opened anew, in the process that wants it."""
    pool = kind(name, nofollow=nofollow, later=later)
    for option, value in options.items():
        setattr(pool, option, value)
    return pool
