/*
 * mcproto.c - the little of memcached's text protocol that probes speak.
 *
 * Pure: bytes in, results out; no sockets.
 *
 * A reply is judged as soon as it can only be one thing: what can no longer
 * become a line of memcached is garbage at once, not a timeout later.  The
 * verdict must not depend on how the bytes came in pieces.
 */
#include <assert.h>
#include <string.h>

#include "mcproto.h"

const char mcproto_version_request[] = "version\r\n";
static_assert(sizeof mcproto_version_request - 1 == MCPROTO_VERSION_REQUEST_LEN,
    "without its NUL");

/*
 * What a reply begins with: followed by a space or by nothing.  The first that
 * fits counts.
 */
static const struct opening {
	const char *text;
	enum mcshm_reason reason;
} openings[] = {
	{ "VERSION", MCSHM_R_OK },
	{ "ERROR Too many open connections", MCSHM_R_MAXCONNS },
	{ "ERROR", MCSHM_R_ERROR_REPLY },
	{ "CLIENT_ERROR unauthenticated", MCSHM_R_UNAUTHENTICATED },
	{ "CLIENT_ERROR", MCSHM_R_ERROR_REPLY },
	{ "SERVER_ERROR", MCSHM_R_ERROR_REPLY },
};
#define OPENINGS (sizeof openings / sizeof openings[0])

static bool
fits(const char *opening, const char *line, size_t len)
{
	const size_t n = strlen(opening);

	return len >= n && memcmp(line, opening, n) == 0 &&
	    (len == n || line[n] == ' ');
}

/* The reason of a whole line, without its CRLF. */
static enum mcshm_reason
judge(const char *line, size_t len)
{
	for (size_t i = 0; i < OPENINGS; i++)
		if (fits(openings[i].text, line, len))
			return openings[i].reason;
	return MCSHM_R_GARBAGE;
}

/* Could more bytes make a reply of this?  A CR at its end is taken as the
 * line's end. */
static bool
hopeful(const char *line, size_t len)
{
	if (len == MCPROTO_LINE_MAX)
		return false;
	if (len > 0 && line[len - 1] == '\r')
		return judge(line, len - 1) != MCSHM_R_GARBAGE;
	for (size_t i = 0; i < OPENINGS; i++) {
		const char *text = openings[i].text;

		if (len <= strlen(text) ? memcmp(line, text, len) == 0 :
		    fits(text, line, len))
			return true;
	}
	return false;
}

/* What is after "VERSION "; nothing, if there is nothing. */
static void
take_version(char version[32], const char *line, size_t len)
{
	const size_t skip = sizeof "VERSION " - 1;
	size_t n = len > skip ? len - skip : 0;

	if (n > 31)
		n = 31;
	if (n > 0)
		memcpy(version, line + skip, n);
	version[n] = '\0';
}

/*
 * May c be the next byte of the line?  Printable ASCII, then CR, then LF:
 * memcached sends nothing else, and what it sends goes to logs and terminals.
 */
static bool
acceptable(const struct mcproto_reply *r, char c)
{
	if (r->len == sizeof r->line)
		return false;
	if (r->len > 0 && r->line[r->len - 1] == '\r')
		return c == '\n';
	return c == '\r' || (c >= ' ' && c <= '~');
}

int
mcproto_feed(struct mcproto_reply *r, const char *bytes, size_t len,
    char version[32])
{
	for (size_t i = 0; i < len; i++) {
		int reason;

		if (!acceptable(r, bytes[i]))
			return MCSHM_R_GARBAGE;
		r->line[r->len++] = bytes[i];
		if (bytes[i] != '\n')
			continue;
		/* One request, one line. */
		if (i + 1 < len)
			return MCSHM_R_GARBAGE;
		reason = judge(r->line, r->len - 2);
		if (reason == MCSHM_R_OK)
			take_version(version, r->line, r->len - 2);
		return reason;
	}
	return hopeful(r->line, r->len) ? MCPROTO_MORE : MCSHM_R_GARBAGE;
}

static const struct {
	const char *text;
	enum mcproto_command command;
} commands[] = {
	{ "version", MCPROTO_VERSION },
	{ "mn", MCPROTO_MN },
	{ "stats", MCPROTO_STATS },
	{ "quit", MCPROTO_QUIT },
};

enum mcproto_command
mcproto_request(const char *bytes, size_t len, size_t *used)
{
	const char *end = len > 0 ? memchr(bytes, '\n', len) : NULL;
	size_t n;

	*used = 0;
	if (end == NULL)
		return MCPROTO_INCOMPLETE;
	n = (size_t)(end - bytes);
	*used = n + 1;
	/* As memcached: a bare LF will do. */
	if (n > 0 && bytes[n - 1] == '\r')
		n--;
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (n == strlen(commands[i].text) &&
		    memcmp(bytes, commands[i].text, n) == 0)
			return commands[i].command;
	return MCPROTO_OTHER;
}
