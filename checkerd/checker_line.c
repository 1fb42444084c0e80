/*
 * checker_line.c - lines of the log while they are made.
 *
 * Must not log them, nor know what is worth a line.
 */
#include "checker_line.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "log.h"

void
line_add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->text + l->len, sizeof l->text - l->len, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	l->len += (size_t)n;
	if (l->len >= sizeof l->text)
		l->len = sizeof l->text - 1;
}

void
line_value(struct line *l, const char *key, const char *value)
{
	char quoted[600];

	line_add(l, "%s%s=%s", l->len != 0 ? " " : "", key,
	    log_quote(quoted, sizeof quoted, value));
}

void
line_server(struct line *l, const struct watch *w)
{
	char label[272];

	server_label(label, watch_server(w));
	line_value(l, "server", label);
	line_value(l, "pool", w->pool->roster.pool);
}

/* One of a name's addresses, where it has any, not the name. */
void
line_resolved(struct line *l, const char *key, const struct watch *w,
    const struct mcshm_address *to)
{
	struct address a = watch_server(w)->address;
	char text[ADDRESS_TEXT];

	if (a.kind == MCSHM_KIND_NAME && w->entry.addresses != 0) {
		a.kind = to->kind;
		inet_ntop(to->kind == MCSHM_KIND_IPV6 ? AF_INET6 : AF_INET,
		    to->ip, a.host, sizeof a.host);
	}
	address_format(text, &a);
	line_value(l, key, text);
}

/* Where the server is probed. */
void
line_address(struct line *l, const struct watch *w)
{
	line_resolved(l, "address", w, &w->entry.address[0]);
}

/* A number that will get a name, in a later version. */
void
line_reason(struct line *l, const char *key, uint32_t reason)
{
	const char *name = mcshm_reason_name(reason);

	if (name != NULL)
		line_value(l, key, name);
	else
		line_add(l, " %s=%u", key, reason);
}
