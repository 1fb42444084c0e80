/*
 * mcproto.h - the little of memcached's text protocol that probes speak, both
 * sides of it: the client's for the checker, the server's for tests/fakemc.
 *
 * Pure: bytes in, results out; no sockets.
 */
#ifndef MCPROTO_H
#define MCPROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mcshm_format.h"	/* enum mcshm_reason */

#define MCPROTO_LINE_MAX 256	/* a reply line longer than this is garbage */

/* Client's side ----------------------------------------------------------- */

/* The request of a version probe, and its length. */
extern const char mcproto_version_request[];
#define MCPROTO_VERSION_REQUEST_LEN 9u

enum mcproto_more { MCPROTO_MORE = -1 };	/* beside enum mcshm_reason */

/* The reply so far.  Zero it before each probe. */
struct mcproto_reply {
	size_t len;
	char line[MCPROTO_LINE_MAX];
};

/*
 * Feed what has come in.  MCPROTO_MORE; or the result once the line is whole:
 * MCSHM_R_OK (version[32] set, cut where longer), _UNAUTHENTICATED, _MAXCONNS,
 * _ERROR_REPLY (ERROR, SERVER_ERROR, CLIENT_ERROR), _GARBAGE (no memcached; or
 * bytes beyond the one reply line).  After a result, feed no more.
 */
int mcproto_feed(struct mcproto_reply *r, const char *bytes, size_t len,
    char version[32]);

/* Server's side ----------------------------------------------------------- */

enum mcproto_command {
	MCPROTO_INCOMPLETE,	/* no whole line yet */
	MCPROTO_VERSION, MCPROTO_MN, MCPROTO_STATS, MCPROTO_QUIT,
	MCPROTO_OTHER		/* a whole line, of something else */
};

/* The first request line in the buffer; *used: its bytes with CRLF, 0 where
 * incomplete. */
enum mcproto_command mcproto_request(const char *bytes, size_t len,
    size_t *used);

#endif
