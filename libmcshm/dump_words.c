/*
 * dump_words.c - values of a pool file as short texts, for people.
 *
 * Pure, but for the time zone.  Must not let a byte of the file through to the
 * terminal that is not printable ASCII.
 */
#include "dump_words.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "address.h"
#include "mcshm.h"

#define NS_S UINT64_C(1000000000)

static bool
printable(unsigned char c)
{
	return c >= 0x20 && c < 0x7f;
}

void
dump_text(char *to, size_t size, const char *field, size_t max)
{
	size_t at = 0;

	for (size_t i = 0; i < max && field[i] != 0 && at + 5 <= size; i++) {
		const unsigned char c = (unsigned char)field[i];

		if (printable(c))
			to[at++] = (char)c;
		else
			at += (size_t)snprintf(to + at, 5, "\\x%02x", c);
	}
	to[at] = 0;
}

void
dump_bytes(FILE *out, const void *p, size_t len)
{
	const unsigned char *c = p;

	for (size_t i = 0; i < len; i++)
		if (printable(c[i]))
			putc(c[i], out);
		else
			fprintf(out, "\\x%02x", c[i]);
}

/* Servers ------------------------------------------------------------------ */

void
dump_address(char to[DUMP_LABEL], const struct mcshm_roster *r)
{
	struct address a = { .kind = r->kind, .port = r->port & 0xffff };
	char raw[ADDRESS_TEXT];

	static_assert(sizeof a.host == sizeof r->host, "one text, two homes");
	memcpy(a.host, r->host, sizeof a.host - 1);
	address_format(raw, &a);
	dump_text(to, DUMP_LABEL, raw, sizeof raw);
}

void
dump_label(char to[DUMP_LABEL], const struct mcshm_roster *r)
{
	if (r->name[0] != 0)
		dump_text(to, DUMP_LABEL, r->name, sizeof r->name);
	else
		dump_address(to, r);
}

void
dump_resolved(char to[DUMP_LABEL], const struct mcshm_address *a,
    const struct mcshm_roster *r)
{
	char ip[INET6_ADDRSTRLEN] = "";

	switch (a->kind) {
	case MCSHM_KIND_UNIX:
		dump_address(to, r);
		return;
	case MCSHM_KIND_IPV4:
		inet_ntop(AF_INET, a->ip, ip, sizeof ip);
		snprintf(to, DUMP_LABEL, "%s:%u", ip, a->port);
		return;
	case MCSHM_KIND_IPV6:
		inet_ntop(AF_INET6, a->ip, ip, sizeof ip);
		if (a->scope == 0)
			snprintf(to, DUMP_LABEL, "[%s]:%u", ip, a->port);
		else
			snprintf(to, DUMP_LABEL, "[%s%%%u]:%u", ip,
			    (unsigned)a->scope, a->port);
		return;
	default:
		snprintf(to, DUMP_LABEL, "not resolved");
	}
}

static void
name_or_number(char to[DUMP_SHORT], const char *name, uint32_t number)
{
	if (name != NULL)
		snprintf(to, DUMP_SHORT, "%s", name);
	else
		snprintf(to, DUMP_SHORT, "%u", (unsigned)number);
}

void
dump_verdict(char to[DUMP_SHORT], uint32_t verdict)
{
	name_or_number(to, mcshm_verdict_name(verdict), verdict);
}

void
dump_admin(char to[DUMP_SHORT], uint32_t admin)
{
	name_or_number(to, mcshm_admin_name(admin), admin);
}

void
dump_reason(char to[DUMP_SHORT], uint32_t reason)
{
	name_or_number(to, mcshm_reason_name(reason), reason);
}

void
dump_state(char to[DUMP_SHORT], const struct mcshm_entry *e)
{
	if (e->admin != MCSHM_READY)
		dump_admin(to, e->admin);
	else
		dump_verdict(to, e->verdict);
}

const char *
dump_reason_text(uint32_t reason)
{
	const char *text = mcshm_reason_text(reason);

	return text != NULL ? text : "failed in a way that is newer than this "
	    "mc-shmdump";
}

/* Old values are the danger of a return: who was restarted has none. */
const char *
dump_reason_outlook(uint32_t reason)
{
	switch (reason) {
	case MCSHM_R_REFUSED:
	case MCSHM_R_NO_SOCKET:
		return "will come back empty";
	case MCSHM_R_RESET:
	case MCSHM_R_CLOSED:
		return "restarting or overloaded: may come back empty";
	case MCSHM_R_TIMEOUT:
		return "holds OLD values if it goes on without a restart";
	case MCSHM_R_CONNECT_TIMEOUT:
	case MCSHM_R_UNREACHABLE:
		return "holds OLD values if only the network was cut";
	case MCSHM_R_GARBAGE:
	case MCSHM_R_ERROR_REPLY:
		return "look what listens there";
	case MCSHM_R_MAXCONNS:
	case MCSHM_R_WORKER_STUCK:
	case MCSHM_R_LISTENER_STUCK:
	case MCSHM_R_CLOCK_STUCK:
	case MCSHM_R_NO_MEMORY:
	case MCSHM_R_SLOW:
		return "DOWN by the pool's policy for this; it holds what it "
		    "has";
	default:
		return NULL;
	}
}

const char *
dump_reason_past(uint32_t reason)
{
	switch (reason) {
	case MCSHM_R_REFUSED:
		return "refused connections";
	case MCSHM_R_RESET:
		return "reset connections";
	case MCSHM_R_CLOSED:
		return "closed connections instead of answering";
	case MCSHM_R_TIMEOUT:
		return "connected, and did not answer";
	case MCSHM_R_CONNECT_TIMEOUT:
		return "did not answer to connect";
	case MCSHM_R_UNREACHABLE:
		return "was not to be reached";
	case MCSHM_R_NO_SOCKET:
		return "had no unix socket";
	default:
		return NULL;
	}
}

void
dump_degraded(char to[DUMP_SHORT], unsigned bit)
{
	name_or_number(to, mcshm_degraded_name(bit), bit);
}

static void
slow_text(char to[DUMP_SENTENCE], const struct mcshm_entry *e)
{
	char now[DUMP_SHORT], usual[DUMP_SHORT];

	dump_rtt(now, e->rtt_avg_us);
	dump_rtt(usual, e->rtt_usual_us);
	snprintf(to, DUMP_SENTENCE, "slow: %s, usually %s", now, usual);
}

/* When its certificate ends says by itself whether that was, or is soon. */
static void
tls_text(char to[DUMP_SENTENCE], const struct mcshm_entry *e)
{
	const time_t when = (time_t)e->tls_expiry;
	const bool untrusted = e->result == MCSHM_R_TLS_UNTRUSTED;
	struct tm tm;
	char day[24];

	if (e->tls_expiry == 0 || gmtime_r(&when, &tm) == NULL ||
	    strftime(day, sizeof day, "%Y-%m-%d", &tm) == 0)
		snprintf(to, DUMP_SENTENCE, "%s", untrusted ?
		    "its certificate is not trusted" :
		    "TLS fails with new connections to it");
	else if (untrusted)
		snprintf(to, DUMP_SENTENCE, "its certificate, good until %s, "
		    "is not trusted: its time, its name or its authority, as "
		    "the log says", day);
	else
		snprintf(to, DUMP_SENTENCE, "its certificate ends on %s, or "
		    "TLS fails with new connections to it", day);
}

/* Stats may be older than its being full. */
static void
maxconns_text(char to[DUMP_SENTENCE], const struct mcshm_entry *e,
    const char *text)
{
	if (e->connections >= e->max_connections / 2)
		snprintf(to, DUMP_SENTENCE, "%s: %u of %u", text,
		    (unsigned)e->connections, (unsigned)e->max_connections);
	else
		snprintf(to, DUMP_SENTENCE, "%s: it takes %u", text,
		    (unsigned)e->max_connections);
}

void
dump_degraded_text(char to[DUMP_SENTENCE], const struct mcshm_entry *e,
    unsigned bit)
{
	const char *text = mcshm_degraded_text(bit);

	if (UINT64_C(1) << bit == MCSHM_DEGRADED_WORKER_STUCK &&
	    e->workers_stuck != 0)
		snprintf(to, DUMP_SENTENCE, "%u of %u workers silent",
		    (unsigned)e->workers_stuck, (unsigned)e->threads);
	else if (UINT64_C(1) << bit == MCSHM_DEGRADED_MAXCONNS &&
	    e->max_connections != 0)
		maxconns_text(to, e, text);
	else if (UINT64_C(1) << bit == MCSHM_DEGRADED_TLS)
		tls_text(to, e);
	else if (UINT64_C(1) << bit == MCSHM_DEGRADED_SLOW)
		slow_text(to, e);
	else if (text != NULL)
		snprintf(to, DUMP_SENTENCE, "%s", text);
	else
		snprintf(to, DUMP_SENTENCE, "in a way that is newer than this "
		    "mc-shmdump (bit %u)", bit);
}

static const struct {
	const char *name, *text;
} returned[] = {
#define X(bit, id, name, text) [bit] = { name, text },
	MCSHM_RETURNED_BITS(X)
#undef X
};

void
dump_returned(char to[DUMP_SHORT], unsigned bit)
{
	if (bit < sizeof returned / sizeof returned[0])
		snprintf(to, DUMP_SHORT, "%s", returned[bit].name);
	else
		snprintf(to, DUMP_SHORT, "%u", bit);
}

const char *
dump_returned_text(unsigned bit)
{
	return bit < sizeof returned / sizeof returned[0] ?
	    returned[bit].text : NULL;
}

static char
result_of(const struct mcshm_entry *e, unsigned bit)
{
	if (e->history >> bit & 1)
		return '+';
	if ((e->proof >> bit & 1) == 0)
		return 't';
	return e->wrong >> bit & 1 ? 'e' : 'x';
}

void
dump_history(char to[65], const struct mcshm_entry *e, unsigned n)
{
	n = n > 64 ? 64 : n;
	n = e->probes < n ? (unsigned)e->probes : n;
	for (unsigned i = 0; i < n; i++)
		to[i] = result_of(e, n - 1 - i);
	to[n] = 0;
}

/* Times -------------------------------------------------------------------- */

void
dump_age(char to[DUMP_SHORT], uint64_t ns)
{
	const unsigned long long s = ns / NS_S, m = s / 60, h = m / 60;
	const unsigned long long d = h / 24;

	if (s < 60)
		snprintf(to, DUMP_SHORT, "%llus", s);
	else if (m < 60)
		snprintf(to, DUMP_SHORT, "%llum%02llus", m, s % 60);
	else if (h < 10)
		snprintf(to, DUMP_SHORT, "%lluh%02llum", h, m % 60);
	else if (h < 24)
		snprintf(to, DUMP_SHORT, "%lluh", h);
	else if (d < 10 && h % 24 != 0)
		snprintf(to, DUMP_SHORT, "%llud%lluh", d, h % 24);
	else
		snprintf(to, DUMP_SHORT, "%llud", d);
}

void
dump_seconds(char to[DUMP_SHORT], uint64_t ns)
{
	if (ns < 100 * NS_S)
		snprintf(to, DUMP_SHORT, "%.1f s", (double)ns / 1e9);
	else
		dump_age(to, ns);
}

static bool
local(struct tm *tm, uint64_t real)
{
	const time_t t = (time_t)(real / NS_S);

	return localtime_r(&t, tm) != NULL;
}

void
dump_when(char to[DUMP_SHORT], uint64_t real, uint64_t now)
{
	const char *format = "%Y-%m-%d";
	struct tm then, today;

	to[0] = 0;
	if (!local(&then, real) || !local(&today, now))
		return;
	if (then.tm_year == today.tm_year && then.tm_yday == today.tm_yday)
		format = "%H:%M:%S";
	else if (real < now && now - real < 6 * 86400 * NS_S)
		format = "%a %H:%M";
	if (strftime(to, DUMP_SHORT, format, &then) == 0)
		to[0] = 0;
}

void
dump_date(char to[40], uint64_t real)
{
	struct tm tm;

	if (!local(&tm, real) ||
	    strftime(to, 40, "%Y-%m-%d %H:%M:%S %z", &tm) == 0)
		snprintf(to, 40, "?");
}

/* Numbers ------------------------------------------------------------------ */

void
dump_rtt(char to[DUMP_SHORT], uint32_t us)
{
	if (us < 1000)
		snprintf(to, DUMP_SHORT, "%uus", (unsigned)us);
	else if (us < 99950)
		snprintf(to, DUMP_SHORT, "%.1fms", us / 1e3);
	else if (us < 999500)
		snprintf(to, DUMP_SHORT, "%.0fms", us / 1e3);
	else
		snprintf(to, DUMP_SHORT, "%.2fs", us / 1e6);
}

void
dump_percent(char to[DUMP_SHORT], double share)
{
	const double p = share * 100;
	const int digits = p >= 0.995 ? 1 : p >= 0.0995 ? 2 : 3;

	if (p <= 0)
		snprintf(to, DUMP_SHORT, "0");
	else if (p < 0.0005)
		snprintf(to, DUMP_SHORT, "<.001%%");
	else if (p >= 99.95)
		snprintf(to, DUMP_SHORT, "100%%");
	else
		snprintf(to, DUMP_SHORT, "%.*f%%", digits, p);
}

/* Names differ at their ends, addresses have the port there. */
void
dump_cut(char *to, size_t width, const char *text)
{
	const size_t len = strlen(text);
	size_t head, rear;

	if (len <= width || width < 4) {
		snprintf(to, width + 1, "%s", text);
		return;
	}
	head = (width - 2) / 2;
	rear = width - 2 - head;
	memcpy(to, text, head);
	memcpy(to + head, "..", 2);
	memcpy(to + head + 2, text + len - rear, rear + 1);
}
