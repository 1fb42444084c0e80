/*
 * dump_share.h - which part of the keys lives where, and goes where now.
 *
 * Pure.  Home shares are exact (dump_home.h), and so is what stays at home.
 * Where the rest goes is an estimate: the real chain, run over a fixed sequence
 * of sample keys; on a ring, over the arcs of those that are away.
 */
#ifndef DUMP_SHARE_H
#define DUMP_SHARE_H

#include "dump_pool.h"

/* Sets home and now of all servers, and the pool's own shares.  p->place and
 * the servers' usable and held must be set.  0, or -1: no memory. */
int dump_share(struct dump_pool *p);

#endif
