/*
 * address.c - "HOST:PORT", "[v6]:PORT", "unix:/path", as texts and as parts.
 *
 * Must not resolve anything, nor look at this host's interfaces: what is an
 * address here is one everywhere.
 */
#include "address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX "unix:"
#define UNIX_MAX (sizeof ((struct sockaddr_un *)0)->sun_path - 1)
#define LABEL_MAX 63

static_assert(UNIX_MAX == 107, "address.h promises it");
static_assert(UNIX_MAX <= ADDRESS_HOST_MAX, "a path is kept as host");

/* The ctype of the C locale, whatever the program's. */
static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Blanks end a word in the ini; the others would garble logs. */
static bool
is_graphic(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text <= ' ' || *text == 0x7f)
			return false;
	return true;
}

/* Decimal digits, without sign or leading zeros, up to max; 0 if not so. */
static uint32_t
number(const char *text, uint32_t max)
{
	uint64_t n = 0;

	if (*text == '0')
		return 0;
	for (; is_digit(*text); text++) {
		n = n * 10 + (uint64_t)(*text - '0');
		if (n > max)
			return 0;
	}
	return *text ? 0 : (uint32_t)n;
}

static const char *
port_parse(struct address *a, const char *text)
{
	a->port = number(text, 65535);
	return a->port ? NULL : "its port is not 1..65535; write one that is";
}

static const char *
unix_parse(struct address *a, const char *path)
{
	size_t n = strlen(path);

	if (*path != '/')
		return "its path is not absolute; write unix:/path";
	if (n > UNIX_MAX)
		return "its path has more than 107 bytes; no unix socket's "
		       "can";
	if (path[n - 1] == '/')
		return "its path is a directory; write unix:/path";
	if (!is_graphic(path))
		return "its path has blanks or unprintable bytes; write one "
		       "without";
	a->kind = MCSHM_KIND_UNIX;
	memcpy(a->host, path, n + 1);
	return NULL;
}

/* "fe80::1%3" to its 16 bytes and the scope, or why not. */
static const char *
ipv6_parse(const char *host, struct in6_addr *ip, uint32_t *scope)
{
	char text[INET6_ADDRSTRLEN];
	const char *zone = strchr(host, '%');
	size_t n = zone ? (size_t)(zone - host) : strlen(host);

	if (n >= sizeof text)
		return "there is no IPv6 address in its brackets";
	memcpy(text, host, n);
	text[n] = '\0';
	if (inet_pton(AF_INET6, text, ip) != 1)
		return "there is no IPv6 address in its brackets";
	*scope = zone ? number(zone + 1, UINT32_MAX) : 0;
	if (IN6_IS_ADDR_LINKLOCAL(ip) ? *scope == 0 : zone != NULL)
		return "link-local addresses, and no others, have a zone; "
		       "write the interface's number, as in [fe80::1%2]:11211";
	return NULL;
}

static const char *
bracket_parse(struct address *a, const char *text)
{
	const char *end = strchr(text, ']');
	struct in6_addr ip;
	uint32_t scope;
	const char *why;
	size_t n;

	if (!end || end[1] != ':')
		return "it has no port; write [IPV6]:PORT, as in [::1]:11211";
	n = (size_t)(end - text) - 1;
	if (n > ADDRESS_HOST_MAX)
		return "there is no IPv6 address in its brackets";
	a->kind = MCSHM_KIND_IPV6;
	memcpy(a->host, text + 1, n);
	a->host[n] = '\0';
	why = ipv6_parse(a->host, &ip, &scope);
	return why ? why : port_parse(a, end + 2);
}

/*
 * No name ends in a label of digits, or of hexadecimal ones after 0x (RFC
 * 1123): a resolver would take it for an old spelling of an IPv4 address.
 */
static bool
is_numeric(const char *label, size_t n)
{
	const char *digits = "0123456789";

	if (n >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X')) {
		digits = "0123456789abcdefABCDEF";
		label += 2;
		n -= 2;
	}
	return strspn(label, digits) >= n;
}

static const char *
name_check(const char *host)
{
	const char *label = host;
	size_t n;

	for (;;) {
		n = strcspn(label, ".");
		if (n == 0 || n > LABEL_MAX)
			return "its host is not a name; between dots write 1 "
			       "to 63 letters, digits, - or _";
		for (size_t i = 0; i < n; i++)
			if (!is_alnum(label[i]) && label[i] != '-' &&
			    label[i] != '_')
				return "its host is not a name; write letters, "
				       "digits, . - and _ only";
		if (label[0] == '-' || label[n - 1] == '-')
			return "its host is not a name; write - only between "
			       "letters or digits";
		if (!label[n] || !label[n + 1])
			break;
		label += n + 1;
	}
	if (is_numeric(label, n))
		return "its host is no IPv4 address, and no name ends in a "
		       "number; write four numbers, 0..255, or a name";
	return NULL;
}

static const char *
host_parse(struct address *a, const char *text)
{
	const char *colon = strchr(text, ':');
	struct in_addr ip;
	const char *why;
	size_t n;

	if (!colon)
		return "it has no port; write HOST:PORT";
	if (strchr(colon + 1, ':'))
		return "it has more than one colon; write IPv6 addresses in "
		       "brackets, as in [::1]:11211";
	n = (size_t)(colon - text);
	if (n == 0)
		return "it has no host; write HOST:PORT";
	if (n > ADDRESS_HOST_MAX)
		return "its host has more than 255 bytes; no name has";
	memcpy(a->host, text, n);
	a->host[n] = '\0';
	a->kind = MCSHM_KIND_IPV4;
	if (inet_pton(AF_INET, a->host, &ip) != 1) {
		a->kind = MCSHM_KIND_NAME;
		why = name_check(a->host);
		if (why)
			return why;
	}
	return port_parse(a, colon + 1);
}

const char *
address_parse(struct address *a, const char *text)
{
	memset(a, 0, sizeof *a);
	if (strncmp(text, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
		return unix_parse(a, text + strlen(UNIX_PREFIX));
	if (*text == '/')
		return "it is a path; write unix:/path";
	if (*text == '[')
		return bracket_parse(a, text);
	return host_parse(a, text);
}

void
address_format(char text[ADDRESS_TEXT], const struct address *a)
{
	switch (a->kind) {
	case MCSHM_KIND_UNIX:
		snprintf(text, ADDRESS_TEXT, "%s", a->host);
		break;
	case MCSHM_KIND_IPV6:
		snprintf(text, ADDRESS_TEXT, "[%s]:%u", a->host, a->port);
		break;
	default:
		snprintf(text, ADDRESS_TEXT, "%s:%u", a->host, a->port);
	}
}

bool
address_literal(const struct address *a, struct mcshm_address *out)
{
	struct in6_addr ip;

	memset(out, 0, sizeof *out);
	out->kind = (uint16_t)a->kind;
	out->port = (uint16_t)a->port;
	switch (a->kind) {
	case MCSHM_KIND_UNIX:
		return true;
	case MCSHM_KIND_IPV4:
		return inet_pton(AF_INET, a->host, out->ip) == 1;
	case MCSHM_KIND_IPV6:
		if (ipv6_parse(a->host, &ip, &out->scope))
			return false;
		memcpy(out->ip, &ip, sizeof ip);
		return true;
	}
	return false;
}

static socklen_t
sockaddr_unix(struct sockaddr_storage *ss, const char *path)
{
	struct sockaddr_un *un = (struct sockaddr_un *)ss;
	size_t n = strnlen(path, UNIX_MAX + 1);

	if (n == 0 || n > UNIX_MAX)
		return 0;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, n);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
}

socklen_t
address_sockaddr(struct sockaddr_storage *ss, const struct mcshm_address *a,
    const char *host)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof *ss);
	switch (a->kind) {
	case MCSHM_KIND_UNIX:
		return sockaddr_unix(ss, host);
	case MCSHM_KIND_IPV4:
		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip, sizeof in->sin_addr);
		return sizeof *in;
	case MCSHM_KIND_IPV6:
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		in6->sin6_scope_id = a->scope;
		memcpy(&in6->sin6_addr, a->ip, sizeof in6->sin6_addr);
		return sizeof *in6;
	}
	return 0;
}

bool
address_from_sockaddr(struct mcshm_address *out, const struct sockaddr *sa,
    uint32_t port)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

	memset(out, 0, sizeof *out);
	out->port = (uint16_t)port;
	switch (sa->sa_family) {
	case AF_INET:
		out->kind = MCSHM_KIND_IPV4;
		memcpy(out->ip, &in->sin_addr, sizeof in->sin_addr);
		return true;
	case AF_INET6:
		out->kind = MCSHM_KIND_IPV6;
		out->scope = in6->sin6_scope_id;
		memcpy(out->ip, &in6->sin6_addr, sizeof in6->sin6_addr);
		return true;
	}
	return false;
}

bool
address_equal(const struct address *a, const struct address *b)
{
	return a->kind == b->kind && a->port == b->port &&
	    strcmp(a->host, b->host) == 0;
}
