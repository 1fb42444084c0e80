/*
 * tls_none.c - built instead of tls.c where OpenSSL is missing.
 *
 * There is no context, so there are no peers and connections of one.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "tls.h"

int
tls_open(struct tls **t, const struct tls_setup *s, char why[TLS_WHY])
{
	(void)s;
	*t = NULL;
	snprintf(why, TLS_WHY, "tls = yes needs OpenSSL, which this "
	    "mc-checkerd was built without; write tls = no");
	return -1;
}

void
tls_close(struct tls *t)
{
	assert(t == NULL);
}

struct tls_span
tls_span(const struct tls *t)
{
	assert(t == NULL);
	return (struct tls_span){ 0, UINT64_MAX };
}

bool
tls_same(const struct tls *a, const struct tls *b)
{
	return a == b;
}

struct tls_peer *
tls_peer_new(struct tls *t, const char *name)
{
	(void)t;
	(void)name;
	return NULL;
}

void
tls_peer_free(struct tls_peer *p)
{
	assert(p == NULL);
}

void
tls_peer_anew(struct tls_peer *p)
{
	(void)p;
}

struct tls_conn *
tls_conn_new(struct tls_peer *p, int fd)
{
	(void)p;
	(void)fd;
	return NULL;
}

void
tls_conn_free(struct tls_conn *c)
{
	assert(c == NULL);
}

enum tls_state
tls_handshake(struct tls_conn *c)
{
	(void)c;
	errno = EPROTO;
	return TLS_FAILED;
}

size_t
tls_plain(struct tls_conn *c, char *bytes, size_t size, bool *more)
{
	(void)c;
	(void)bytes;
	(void)size;
	*more = false;
	return 0;
}

bool
tls_forget(struct tls_conn *c)
{
	(void)c;
	return false;
}

ssize_t
tls_send(struct tls_conn *c, const char *bytes, size_t len)
{
	(void)c;
	(void)bytes;
	(void)len;
	errno = EPROTO;
	return -1;
}

ssize_t
tls_recv(struct tls_conn *c, char *bytes, size_t len)
{
	(void)c;
	(void)bytes;
	(void)len;
	errno = EPROTO;
	return -1;
}

bool
tls_has_more(const struct tls_conn *c)
{
	(void)c;
	return false;
}

bool
tls_trusted(const struct tls_conn *c)
{
	(void)c;
	return true;
}

uint64_t
tls_expiry(const struct tls_conn *c)
{
	(void)c;
	return 0;
}

enum tls_alert
tls_alert(const struct tls_conn *c)
{
	(void)c;
	return TLS_NO_ALERT;
}

const char *
tls_why(const struct tls_conn *c)
{
	(void)c;
	return NULL;
}
