/*
 * rule.h - the rules of all schemes a second time, for tests: as slowly and
 * plainly as they can be said.  Nothing here is libmcshm's code: divisions for
 * multiplications, strings for hashes that go on, one point after the other
 * for an index, logarithms of libm for integers.
 *
 * Key hashes are taken as they are: test_hash.c and the peers have those.
 */
#ifndef RULE_H
#define RULE_H

#include "mkplace.h"

#define RULE_STEPS 257u

/* The home, and each try of the chain; how many, at most RULE_STEPS. */
uint32_t rule_way(const struct mkplace *p, const struct scheme_key *k,
    uint32_t slot[RULE_STEPS]);

/* The best of the servers that are not DOWN; the number of servers if there is
 * none. */
uint32_t rule_tail(const struct mkplace *p, const struct scheme_key *k);

/* How many tries that is: behind all of the chain, or the server's rank where
 * there is none. */
uint32_t rule_tail_tries(const struct mkplace *p, const struct scheme_key *k,
    uint32_t steps, uint32_t slot);

#endif
