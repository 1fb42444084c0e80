/*
 * log.c - lines to stderr.
 *
 * A line is one write(2), so that lines of several processes on one stderr do
 * not mix.  Reads the wall clock, for the eye only, where journald does not
 * stamp the line itself.  Must not know what is logged, nor decide what is
 * worth it.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE 2048

static enum log_level log_most = LOG_LEVEL_INFO;
static bool log_priorities;

void
log_open(enum log_level most, bool priorities)
{
	log_most = most;
	log_priorities = priorities;
}

bool
log_wants(enum log_level level)
{
	return level <= log_most;
}

static const char *
level_name(enum log_level level)
{
	switch (level) {
	case LOG_LEVEL_ERR:
		return "error";
	case LOG_LEVEL_WARNING:
		return "warning";
	case LOG_LEVEL_NOTICE:
		return "notice";
	case LOG_LEVEL_INFO:
		return "info";
	case LOG_LEVEL_DEBUG:
		return "debug";
	}
	return "?";
}

static size_t
line_begin(char *line, size_t size, enum log_level level)
{
	struct timespec now;
	struct tm tm;
	size_t n;

	if (log_priorities)
		return (size_t)snprintf(line, size, "<%d>", (int)level);
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &tm);
	n = strftime(line, size, "%Y-%m-%d %H:%M:%S", &tm);
	return n + (size_t)snprintf(line + n, size - n, ".%03ld %s ",
	    now.tv_nsec / 1000000, level_name(level));
}

/* An event is one line, whatever is in it: a forged second one would be read
 * as ours. */
static void
line_flatten(char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)line[i];

		if (c < ' ' || c == 0x7f)
			line[i] = c == '\n' || c == '\t' ? ' ' : '?';
	}
}

static void
log_line(enum log_level level, const char *fmt, va_list ap)
{
	char line[LOG_LINE];
	size_t at, room, len;
	int n;

	if (!log_wants(level))
		return;
	at = line_begin(line, sizeof line, level);
	room = sizeof line - at - 1;	/* for the newline */
	n = vsnprintf(line + at, room, fmt, ap);
	if (n < 0)
		return;
	len = (size_t)n;
	if (len >= room) {
		len = room - 1;
		memcpy(line + at + len - 3, "...", 3);
	}
	line_flatten(line + at, len);
	line[at + len] = '\n';
	/* A stderr that takes nothing is no reason to stop checking. */
	if (write(STDERR_FILENO, line, at + len + 1) < 0)
		return;
}

#define LOG_FUNCTION(name, level)					\
void									\
name(const char *fmt, ...)						\
{									\
	va_list ap;							\
									\
	va_start(ap, fmt);						\
	log_line(level, fmt, ap);					\
	va_end(ap);							\
}

LOG_FUNCTION(log_err, LOG_LEVEL_ERR)
LOG_FUNCTION(log_warning, LOG_LEVEL_WARNING)
LOG_FUNCTION(log_notice, LOG_LEVEL_NOTICE)
LOG_FUNCTION(log_info, LOG_LEVEL_INFO)
LOG_FUNCTION(log_debug, LOG_LEVEL_DEBUG)

bool
log_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	int used = 0;

	if (stream == NULL ||
	    sscanf(stream, "%llu:%llu%n", &dev, &ino, &used) != 2 ||
	    stream[used] != '\0' || fstat(STDERR_FILENO, &st) < 0)
		return false;
	return st.st_dev == dev && st.st_ino == ino;
}

static bool
needs_quotes(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	if (*c == '\0')
		return true;
	for (; *c != '\0'; c++)
		if (*c <= ' ' || *c >= 0x7f || *c == '"')
			return true;
	return false;
}

/* One byte of a quoted value; its length. */
static unsigned
escape(char out[5], unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (unsigned)snprintf(out, 5, "\\%c", c);
	case '\n':
		return (unsigned)snprintf(out, 5, "\\n");
	case '\t':
		return (unsigned)snprintf(out, 5, "\\t");
	}
	if (c < ' ' || c >= 0x7f)
		return (unsigned)snprintf(out, 5, "\\%03o", c);
	out[0] = (char)c;
	return 1;
}

const char *
log_quote(char *out, unsigned size, const char *text)
{
	unsigned at = 0;
	char one[5];

	if (size < 3) {
		if (size > 0)
			out[0] = '\0';
		return out;
	}
	if (!needs_quotes(text)) {
		snprintf(out, size, "%s", text);
		return out;
	}
	out[at++] = '"';
	for (; *text != '\0'; text++) {
		const unsigned len = escape(one, (unsigned char)*text);

		if (at + len + 2 > size)	/* the quote and the NUL */
			break;
		memcpy(out + at, one, len);
		at += len;
	}
	out[at++] = '"';
	out[at] = '\0';
	return out;
}
