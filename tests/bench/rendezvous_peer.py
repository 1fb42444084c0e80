"""rendezvous_peer.py - pymemcache's choice of a server, and that of our Python
client, timed when asked.

Commands on stdin, an answer on stdout each:

    keys KEY ...        those that are used from now on
    nodes NODE ...      servers, in slot order
    pool PATH           a pool file of the same servers
    slots N             slots of the first N keys, as pymemcache has them
    peer N, ours N      processor time, ns, of N choices
"""
import sys
import time

from pymemcache.client.rendezvous import RendezvousHash

try:
    import mcshm
except ImportError:         # clients/python was not built
    mcshm = None

keys, nodes, hasher, pool = [], [], None, None


def timed(choose, n):
    began = time.thread_time_ns()
    for key in keys[:n]:
        choose(key)
    return time.thread_time_ns() - began


for line in sys.stdin:
    command, *words = line.split()
    answer = "ok"
    if command == "keys":
        keys = words
    elif command == "nodes":
        nodes, hasher = words, RendezvousHash(list(words))
    elif command == "pool":
        pool = mcshm and mcshm.Pool(words[0])
        answer = "ok" if pool else "none"
    elif command == "slots":
        answer = " ".join(str(nodes.index(hasher.get_node(key)))
                          for key in keys[:int(words[0])])
    elif command == "peer":
        answer = timed(hasher.get_node, int(words[0]))
    elif command == "ours":
        answer = timed(pool.pick, int(words[0]))
    print(answer, flush=True)
