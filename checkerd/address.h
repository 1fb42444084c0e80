/*
 * address.h - "HOST:PORT", "[v6]:PORT", "unix:/path", as texts and as parts.
 *
 * Pure: no resolver, no I/O, no allocation.
 */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "mcshm_format.h"

#define ADDRESS_HOST_MAX 255		/* a name; a unix path ends at 107 */
#define ADDRESS_TEXT (ADDRESS_HOST_MAX + 9)	/* "[", "]:65535", NUL */

struct address {
	uint32_t kind;		/* MCSHM_KIND_NAME, _IPV4, _IPV6, _UNIX */
	uint32_t port;		/* 0 with _UNIX */
	char host[ADDRESS_HOST_MAX + 1];	/* as written, less [ ] and unix: */
};

/*
 * Take text apart.  NULL, or what is wrong with it and what would be right, a
 * static text ("port is not 1..65535").  A port is never left out: an address
 * without one is an error.
 */
const char *address_parse(struct address *a, const char *text);

/* host:port, [v6]:port or the unix path (without "unix:"). */
void address_format(char text[ADDRESS_TEXT], const struct address *a);

/* Literal addresses and unix paths, without a resolver: true and *out; a name:
 * false. */
bool address_literal(const struct address *a, struct mcshm_address *out);

/* A stored address as a socket address; the length, 0 if it has none.  host is
 * the unix path for MCSHM_KIND_UNIX. */
socklen_t address_sockaddr(struct sockaddr_storage *ss,
    const struct mcshm_address *a, const char *host);
/* And back; false for other families. */
bool address_from_sockaddr(struct mcshm_address *out,
    const struct sockaddr *sa, uint32_t port);

bool address_equal(const struct address *a, const struct address *b);

#endif
