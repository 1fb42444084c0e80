"""Which live memcached server holds this key?

mc-checkerd(8) probes a pool of memcached servers and publishes what it believes
about each of them in one small file.  This package maps that file, by way of
libmcshm, and answers from it in a fraction of a microsecond:

    import mcshm

    pool = mcshm.Pool("web")
    choice = pool.pick("user:42", None)     # None: a miss, store it nowhere
    if choice is not None:
        ask(choice.server.address)

A pool may be used by any number of threads, and by the children of a process
that forks.  For pymemcache there is mcshm.pymemcache.
"""
from ._errors import (Busy, Damaged, Down, Error, Held, Invalid, Miss, NoPool,
                      NoServer, NotSent, NotTrusted, RosterChanged,
                      ServerFailed, SystemTrouble, TooNew, Unavailable)

try:
    from ._mcshm import VERSION as __version__, Choice, Pool
except ImportError as e:
    if "libmcshm" not in str(e):
        raise
    raise ImportError(
        f"libmcshm, the library that mcshm is made on, can not be loaded "
        f"({e}): run \"make install\" in its source tree and ldconfig, or set "
        f"LD_LIBRARY_PATH to where libmcshm.so.0 is") from e

from ._records import (Admin, Roster, Server, Snapshot, State, Status, Verdict,
                       cap)

__all__ = [
    "Admin", "Busy", "Choice", "Damaged", "Down", "Error", "Held", "Invalid",
    "Miss", "NoPool", "NoServer", "NotSent", "NotTrusted", "Pool", "Roster",
    "RosterChanged", "Server", "ServerFailed", "Snapshot", "State", "Status",
    "SystemTrouble", "TooNew", "Unavailable", "Verdict", "__version__", "cap",
]
