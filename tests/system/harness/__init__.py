"""What the system tests are made of.

house    everything that one test starts; ends all of it, tells what was left
process  one process, ended by its id
checker  mc-checkerd with its ini, its log, its notifications, its files
servers  memcached, and fakemc, which misbehaves on command
client   a process that uses libmcshm
netns    network namespaces, joined by a wire that can be cut
"""
from .checker import Checker, files
from .client import Client, Picks
from .house import BUILD, ROOT, SAN, House
from .netns import Netns, Wire
from .process import wait_until
from .servers import Fake, Memcached

__all__ = ["BUILD", "ROOT", "SAN", "Checker", "Client", "Fake", "House",
           "Memcached", "Netns", "Picks", "Wire", "files", "wait_until"]
