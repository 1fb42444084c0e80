"""What the system tests are made of.

house    everything that one test starts; ends all of it, tells what was left
process  one process, ended by its id
checker  mc-checkerd with its ini, its log, its notifications, its files
servers  memcached, and fakemc, which misbehaves on command
client   a process that uses libmcshm
netns    network namespaces, joined by a wire that can be cut
dns      a name server of the test's own
freezer  single threads that stand still
"""
from .checker import Checker, files
from .client import Client, Picks
from .dns import Dns
from .freezer import Freezer
from .house import BUILD, ROOT, SAN, House
from .netns import Netns, Wire
from .process import wait_until
from .servers import Fake, Memcached

__all__ = ["BUILD", "ROOT", "SAN", "Checker", "Client", "Dns", "Fake",
           "Freezer", "House", "Memcached", "Netns", "Picks", "Wire", "files",
           "wait_until"]
