/*
 * conf_text.c - values that are texts: paths, words, addresses of our own.
 *
 * Must not look whether what is named is there.
 *
 * What can not stand in [defaults] may be memory of its own, as a path is.  All
 * others lie in the struct, which inherits them by copying bytes; "" is none.
 */
#include <arpa/inet.h>
#include <string.h>

#include "conf_load.h"

static bool
is_none(const char *text)
{
	return strcmp(text, "none") == 0;
}

/* Whether it has room. */
static bool
length_check(struct load *l, const struct key *k, const char *text)
{
	char why[64];

	if (strlen(text) <= k->max)
		return true;
	snprintf(why, sizeof why, "is too long; write %u bytes at most",
	    (unsigned)k->max);
	return conf_refuse(l, k, text, why);
}

/* Paths ------------------------------------------------------------------- */

/* "//", "/./" and what is at the end of a path without changing it, so that two
 * spellings of one file are one text. */
static void
path_tidy(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		size_t n = strcspn(from + 1, "/") + 1;	/* "/word" */

		if (n > 1 && !(n == 2 && from[1] == '.')) {
			memmove(to, from, n);
			to += n;
		}
		from += n;
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
}

static bool
path_has_parent(const char *path)
{
	for (; (path = strstr(path, "/..")); path += 3)
		if (path[3] == '/' || path[3] == '\0')
			return true;
	return false;
}

static bool
path_check(struct load *l, const struct key *k, const char *text)
{
	const size_t n = strlen(text);

	if (*text != '/')
		return conf_refuse(l, k, text,
		    "is not absolute; write a path that begins with /");
	if (path_has_parent(text))
		return conf_refuse(l, k, text,
		    "has .. in it; write the path that it leads to");
	if (k != &conf_keys[KEY_directory] &&
	    (text[n - 1] == '/' || (n > 1 && strcmp(text + n - 2, "/.") == 0)))
		return conf_refuse(l, k, text,
		    "is a directory; write the file's name too");
	return length_check(l, k, text);
}

bool
conf_path_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	char *path;

	if (!path_check(l, k, text))
		return false;
	path = strdup(text);
	if (!path)
		return conf_complain_memory(l);
	path_tidy(path);
	memcpy(field, &path, sizeof path);
	return true;
}

void
conf_path_write(char text[CONF_FILE_BYTES + 1], const void *field)
{
	const char *path;

	memcpy(&path, field, sizeof path);
	snprintf(text, CONF_FILE_BYTES + 1, "%s", path);
}

bool
conf_some_path_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	char path[CONF_TEXT] = "none";

	if (!is_none(text)) {
		if (!path_check(l, k, text))
			return false;
		memcpy(path, text, strlen(text) + 1);
		path_tidy(path);
	}
	return conf_text_parse(l, k, path, field);
}

/* Texts ------------------------------------------------------------------- */

bool
conf_text_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	if (!length_check(l, k, text))
		return false;
	memset(field, 0, CONF_TEXT);
	if (!is_none(text))
		memcpy(field, text, strlen(text));
	return true;
}

void
conf_text_write(char text[CONF_FILE_BYTES + 1], const void *field)
{
	const char *value = field;

	snprintf(text, CONF_FILE_BYTES + 1, "%s", *value ? value : "none");
}

/* A key in servers.  Those that the daemon itself stores there come and go. */
bool
conf_word_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	static const char ours[] = "mc-checkerd:";

	if (strpbrk(text, CONF_BLANKS))
		return conf_refuse(l, k, text,
		    "has a blank in it; write one word");
	if (strncmp(text, ours, sizeof ours - 1) == 0)
		return conf_refuse(l, k, text, "begins as the daemon's own "
		    "keys do; write one that does not begin with mc-checkerd:");
	return conf_text_parse(l, k, text, field);
}

/* Where the ] of a [ is; NULL: there is none. */
static const char *
bracket_end(const char *p)
{
	p += p[1] == '!' || p[1] == '^' ? 2 : 1;
	p += *p == ']';
	while (p && *p && *p != ']') {
		const char *class = p[0] == '[' && p[1] == ':' ?
		    strstr(p + 2, ":]") : NULL;

		p = class ? class + 2 : p + 1;
	}
	return *p ? p : NULL;
}

/* fnmatch(3) takes a [ without its ] for itself, and a \ at the end for nothing
 * at all: no version is like that. */
static bool
pattern_is_whole(const char *p)
{
	for (; *p; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '[')
			p = bracket_end(p);
		if (!p || !*p)
			return false;
	}
	return true;
}

bool
conf_pattern_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	if (!pattern_is_whole(text))
		return conf_refuse(l, k, text, "is not a whole pattern; write "
		    "the ] that its [ needs, or what is behind its \\");
	return conf_text_parse(l, k, text, field);
}

bool
conf_host_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	if (!conf_name_is_good(text, strlen(text)))
		return conf_refuse(l, k, text, "is not a host's name; write "
		    "letters, digits, . and -, a letter or digit first");
	return conf_text_parse(l, k, text, field);
}

/* Addresses ---------------------------------------------------------------- */

/* n bytes of text, an address without a port.  Read as the other ones are, with
 * the port that those have. */
static bool
address_scan(struct mcshm_address *to, const char *text, size_t n)
{
	const bool v6 = memchr(text, ':', n) != NULL;
	struct address a;
	char with[ADDRESS_TEXT];

	if (n > 60)
		return false;
	snprintf(with, sizeof with, v6 ? "[%.*s]:1" : "%.*s:1", (int)n, text);
	if (address_parse(&a, with) || !address_literal(&a, to))
		return false;
	to->port = 0;
	return true;
}

/* Of what address_scan() did not take: is it right but for its zone? */
static bool
zone_is_wrong(const char *text, size_t n)
{
	char bare[INET6_ADDRSTRLEN];
	struct in6_addr ip;

	n = strcspn(text, "%") < n ? strcspn(text, "%") : n;
	if (n >= sizeof bare)
		return false;
	memcpy(bare, text, n);
	bare[n] = '\0';
	return inet_pton(AF_INET6, bare, &ip) == 1;
}

static bool
source_refuse(struct load *l, const struct key *k, const char *text,
    bool zone)
{
	return conf_refuse(l, k, text, zone ? "is not a source: link-local "
	    "addresses, and no others, have a zone; write the interface's "
	    "number, as in fe80::1%2" : "is not a source; write an IPv4 "
	    "address, an IPv6 address, or both with a blank between, without "
	    "[ ] and port");
}

/* One of a family: "10.0.0.9", "fd00::9", or both. */
bool
conf_source_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	struct mcshm_address found[2] = { { 0 }, { 0 } }, one;
	const char *rest = text;

	while (!is_none(text) && *rest) {
		const size_t n = strcspn(rest, CONF_BLANKS);
		struct mcshm_address *to;

		if (!address_scan(&one, rest, n))
			return source_refuse(l, k, text,
			    zone_is_wrong(rest, n));
		to = &found[one.kind == MCSHM_KIND_IPV6];
		if (to->kind != MCSHM_KIND_NONE)
			return conf_refuse(l, k, text, "has two addresses of "
			    "one kind; write one IPv4 and one IPv6 address at "
			    "most");
		*to = one;
		rest += n + strspn(rest + n, CONF_BLANKS);
	}
	memcpy(field, found, sizeof found);
	return true;
}

void
conf_source_write(char text[CONF_FILE_BYTES + 1], const void *field)
{
	char v4[INET_ADDRSTRLEN] = "", v6[INET6_ADDRSTRLEN] = "";
	char scope[12] = "";
	struct mcshm_address from[2];

	memcpy(from, field, sizeof from);
	if (from[0].kind != MCSHM_KIND_NONE)
		inet_ntop(AF_INET, from[0].ip, v4, sizeof v4);
	if (from[1].kind != MCSHM_KIND_NONE)
		inet_ntop(AF_INET6, from[1].ip, v6, sizeof v6);
	if (from[1].scope != 0)
		snprintf(scope, sizeof scope, "%%%u", from[1].scope);
	snprintf(text, CONF_FILE_BYTES + 1, "%s%s%s%s", v4,
	    *v4 && *v6 ? " " : "", v6, scope);
	if (!*text)
		snprintf(text, CONF_FILE_BYTES + 1, "none");
}
