/*
 * log.h - one line an event, "key=value" pairs after a short text, to stderr;
 * with "<N>" priorities where journald reads it.
 *
 * Only checker, control and main log; lower floors return reasons.  The level
 * is this unit's only state.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

/* priorities: begin lines with <N> ($JOURNAL_STREAM names our stderr), without
 * time; else with the local time, to the millisecond.  Lines above `most` are
 * not written. */
void log_open(enum log_level most, bool priorities);
bool log_wants(enum log_level level);

void log_err(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Whether stderr is journald's, by $JOURNAL_STREAM (systemd.exec(5)). */
bool log_stderr_is_journal(void);

/* text as a value: as it is, or in double quotes with C escapes where it has
 * blanks, quotes or unprintable bytes.  Cut to fit. */
const char *log_quote(char *out, unsigned size, const char *text);

#endif
