/*
 * dump_detail.c - all that the file says about one server; and whether the
 * file's parts are whole.
 *
 * Pure, but for the time zone.
 */
#include "dump_detail.h"

#include <stdarg.h>
#include <string.h>

#include "dump_head.h"
#include "dump_line.h"
#include "dump_why.h"
#include "dump_words.h"
#include "mcshm.h"

#define NAMES 16		/* column of the fields' names */
#define NS_S UINT64_C(1000000000)

typedef unsigned long long ull;

static void
field(struct dump_line *l, FILE *out, const char *name)
{
	const int n = fprintf(out, "  %-*s", NAMES - 2, name);

	dump_line_begin(l, out, NAMES, (unsigned)n);
}

/* "2026-11-22 03:02:11 +0100 (4m30s ago)", or "never" */
static void
put_time(struct dump_line *l, const char *sep, const struct dump_pool *p,
    uint64_t boot)
{
	char date[40], age[DUMP_SHORT];
	uint64_t real;

	if (!dump_pool_real(p, boot, &real)) {
		dump_line_put(l, sep, "never");
		return;
	}
	dump_date(date, real);
	dump_seconds(age, real < p->time.real ? p->time.real - real : 0);
	dump_line_put(l, sep, "%s (%s ago)", date, age);
}

static void
field_time(FILE *out, const char *name, const struct dump_pool *p,
    uint64_t boot)
{
	struct dump_line l;

	field(&l, out, name);
	put_time(&l, "", p, boot);
	dump_line_end(&l);
}

static void
detail_address(FILE *out, const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;
	const uint32_t n = e->addresses < MCSHM_ADDRESSES ? e->addresses :
	    MCSHM_ADDRESSES;
	char text[DUMP_LABEL];
	struct dump_line l;

	field(&l, out, "address");
	dump_address(text, s->roster);
	dump_line_words(&l, "", text);
	dump_line_end(&l);
	field(&l, out, "resolved");
	if (n == 0)
		dump_line_put(&l, "", "not yet");
	for (uint32_t i = 0; i < n; i++) {
		dump_resolved(text, &e->address[i], s->roster);
		dump_line_words(&l, ", ", text);
	}
	dump_line_end(&l);
}

static void
detail_place(FILE *out, const struct dump_pool *p, const struct dump_server *s)
{
	const size_t size = sizeof s->roster->ident;
	char ident[DUMP_LABEL], home[DUMP_SHORT], now[DUMP_SHORT];
	struct dump_line l;

	dump_text(ident, sizeof ident, s->roster->ident, size);
	field(&l, out, "identity");
	dump_line_words(&l, "", ident);
	dump_line_put(&l, ", ", "weight %u", (unsigned)s->roster->weight);
	dump_line_end(&l);
	field(&l, out, "keys");
	if (p->placed) {
		dump_percent(home, s->home);
		dump_percent(now, s->now);
		dump_line_put(&l, "", "home of %s, now %s", home, now);
	} else {
		dump_line_words(&l, "", "not known: a scheme newer than this "
		    "mc-shmdump");
	}
	if (s->entry->share != 255)
		dump_line_put(&l, "; ", "share %u/255",
		    (unsigned)s->entry->share);
	dump_line_end(&l);
}

static void
detail_state(FILE *out, const struct dump_pool *p, const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;
	char text[DUMP_SHORT];
	struct dump_line l;

	field(&l, out, "verdict");
	dump_verdict(text, e->verdict);
	dump_line_put(&l, "", "%s", text);
	if (e->since != 0)
		put_time(&l, " since ", p, e->since);
	dump_line_put(&l, "; ", "%s", s->usable ? "picks use it" :
	    s->held ? "held: picks answer with a miss" :
	    "picks do not use it");
	dump_line_end(&l);
	field(&l, out, "admin");
	dump_admin(text, e->admin);
	dump_line_put(&l, "", "%s", text);
	if (e->admin_since != 0 && e->admin_since < UINT64_MAX / NS_S) {
		char date[40];

		dump_date(date, e->admin_since * NS_S);
		dump_line_put(&l, " since ", "%s", date);
	}
	dump_line_end(&l);
}

static void
detail_why(FILE *out, const struct dump_pool *p, const struct dump_server *s)
{
	char reason[DUMP_SHORT], result[DUMP_SHORT];
	struct dump_line l;

	dump_reason(reason, s->entry->reason);
	dump_reason(result, s->entry->result);
	field(&l, out, "reason");
	if (s->entry->reason == MCSHM_R_OK)
		dump_line_put(&l, "", "none: no failure since it is UP");
	else
		dump_line_put(&l, "", "%s", reason);
	dump_line_put(&l, "; ", "last result: %s", result);
	dump_line_end(&l);
	if (s->rank == DUMP_HEALTHY)
		return;
	dump_line_begin(&l, out, NAMES, 0);
	dump_why(&l, p, s);
	dump_line_end(&l);
}

static void
detail_degraded(FILE *out, const struct mcshm_entry *e)
{
	char name[DUMP_SHORT], text[DUMP_SENTENCE];
	const char *title = "degraded";
	struct dump_line l;

	for (unsigned bit = 0; bit < 64; bit++) {
		if ((e->degraded >> bit & 1) == 0)
			continue;
		field(&l, out, title);
		title = "";
		dump_degraded(name, bit);
		dump_degraded_text(text, e, bit);
		dump_line_put(&l, "", "%s:", name);
		dump_line_words(&l, " ", text);
		dump_line_end(&l);
	}
}

static void
detail_history(FILE *out, const struct mcshm_entry *e)
{
	char all[65];
	struct dump_line l;
	const unsigned n = e->probes < 64 ? (unsigned)e->probes : 64;
	const uint64_t known = n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;

	dump_history(all, e, 64);
	field(&l, out, "probes");
	dump_line_put(&l, "", "%s", all[0] != 0 ? all : "none yet");
	dump_line_end(&l);
	dump_line_begin(&l, out, NAMES, 0);
	dump_line_words(&l, "", "oldest first: + ok, t timeout, x refused or "
	    "reset, e other");
	dump_line_put(&l, "; ", "%d count since the verdict changed",
	    __builtin_popcountll(e->seen & known));
	dump_line_end(&l);
}

static void
detail_counts(FILE *out, const struct mcshm_entry *e)
{
	char last[DUMP_SHORT], average[DUMP_SHORT], worst[DUMP_SHORT];
	struct dump_line l;

	field(&l, out, "counts");
	dump_line_put(&l, "", "%llu probes", (ull)e->probes);
	dump_line_put(&l, ", ", "%llu failures", (ull)e->failures);
	dump_line_put(&l, ", ", "%llu local errors", (ull)e->local_errors);
	dump_line_put(&l, ", ", "%llu changes of verdict", (ull)e->transitions);
	dump_line_end(&l);
	field(&l, out, "rtt");
	dump_rtt(last, e->rtt_us);
	dump_rtt(average, e->rtt_avg_us);
	dump_rtt(worst, e->rtt_max_us);
	dump_line_put(&l, "", e->rtt_us == 0 ? "no answer yet" :
	    "%s, average %s, worst %s", last, average, worst);
	if (e->rtt_usual_us != 0) {
		dump_rtt(last, e->rtt_usual_us);
		dump_line_put(&l, ", ", "usually %s", last);
	}
	dump_line_end(&l);
}

static void
detail_flaps(FILE *out, const struct dump_pool *p, const struct mcshm_entry *e)
{
	const uint64_t left = dump_pool_left(p, e->hold_until);
	char rest[DUMP_SHORT];
	struct dump_line l;

	if (e->flaps == 0)
		return;
	field(&l, out, "flaps");
	dump_line_put(&l, "", "%u outage%s not forgotten", (unsigned)e->flaps,
	    e->flaps == 1 ? "" : "s");
	put_time(&l, ", the last change ", p, e->flapped);
	dump_seconds(rest, left);
	if (left != 0)
		dump_line_put(&l, "; ", "stays DOWN for another %s", rest);
	dump_line_end(&l);
}

/* How it came back the last time, one line a bit. */
static void
detail_returned(FILE *out, const struct mcshm_entry *e)
{
	const char *title = "returned";
	char name[DUMP_SHORT];
	struct dump_line l;

	for (unsigned bit = 0; bit < 64; bit++) {
		const char *text = dump_returned_text(bit);

		if ((e->returned >> bit & 1) == 0)
			continue;
		field(&l, out, title);
		title = "";
		dump_returned(name, bit);
		dump_line_put(&l, "", "%s", name);
		if (text != NULL)
			dump_line_words(&l, ": ", text);
		dump_line_end(&l);
	}
}

static void
detail_times(FILE *out, const struct dump_pool *p, const struct mcshm_entry *e)
{
	field_time(out, "last probe", p, e->checked);
	field_time(out, "  began", p, e->began);
	field_time(out, "  good one", p, e->good_began);
	if (e->unseen_since != 0)
		field_time(out, "unseen since", p, e->unseen_since);
	field_time(out, "silent since", p, e->silent_since);
	if (e->outage_since != 0)
		field_time(out, "outage since", p, e->outage_since);
	field_time(out, "went DOWN", p, e->down_since);
	field_time(out, "came back", p, e->back_since);
	detail_returned(out, e);
	if (e->flushed != 0)
		field_time(out, "flushed by us", p, e->flushed);
}

/* What the server said of itself; most of it only where it was asked. */
static void
detail_server(FILE *out, const struct mcshm_entry *e)
{
	char version[4 * sizeof e->server_version + 1];
	struct dump_line l;

	DUMP_FIELD(version, e->server_version);
	field(&l, out, "memcached");
	dump_line_words(&l, "", version[0] != 0 ? version :
	    "version not known");
	if (dump_pool_identified(e)) {
		if (e->server_pid != 0)
			dump_line_put(&l, ", ", "pid %llu",
			    (ull)e->server_pid);
		dump_line_put(&l, ", ", "items %llu", (ull)e->curr_items);
		dump_line_put(&l, ", ", "flushes %llu", (ull)e->cmd_flush);
	}
	if (e->threads != 0)
		dump_line_put(&l, ", ", "%u workers", (unsigned)e->threads);
	if (e->max_connections != 0)
		dump_line_put(&l, ", ", "%u of %u connections",
		    (unsigned)e->connections, (unsigned)e->max_connections);
	dump_line_end(&l);
}

static void
detail_stamp(FILE *out, const char *name, uint64_t seconds)
{
	char date[40];

	if (seconds == 0 || seconds >= UINT64_MAX / NS_S)
		return;
	dump_date(date, seconds * NS_S);
	fprintf(out, "  %-*s%s\n", NAMES - 2, name, date);
}

void
dump_detail(FILE *out, const struct dump_pool *p, const struct dump_server *s)
{
	char label[DUMP_LABEL], title[DUMP_TITLE];
	struct dump_line l;

	dump_label(label, s->roster);
	dump_title(title, p);
	dump_line_begin(&l, out, 0, 0);
	dump_line_words(&l, "", label);
	dump_line_put(&l, "  ", "slot %u of %u in pool %s", (unsigned)s->slot,
	    (unsigned)p->servers, title);
	dump_line_end(&l);
	detail_address(out, s);
	detail_place(out, p, s);
	detail_state(out, p, s);
	detail_why(out, p, s);
	detail_degraded(out, s->entry);
	detail_history(out, s->entry);
	detail_counts(out, s->entry);
	detail_flaps(out, p, s->entry);
	detail_times(out, p, s->entry);
	detail_server(out, s->entry);
	detail_stamp(out, "started", s->entry->server_start);
	detail_stamp(out, "TLS until", s->entry->tls_expiry);
}

/* Parts -------------------------------------------------------------------- */

const char *
dump_detail_section(const struct dump_file *f, const struct dump_parts *parts,
    unsigned section)
{
	if (section != f->active && parts->section[section] == DUMP_PART_OK)
		return "whole";
	return dump_part_text(parts->section[section]);
}

static void __attribute__((format(printf, 4, 5)))
part_line(FILE *out, const char *name, const char *state, const char *fmt, ...)
{
	va_list ap;

	fprintf(out, "  %-10s %-13s ", name, state);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	putc('\n', out);
}

void
dump_detail_parts(FILE *out, const struct dump_file *f,
    const struct dump_parts *parts)
{
	part_line(out, "header", "ok", "format %u.%u",
	    (unsigned)(f->h.version >> 16),
	    (unsigned)(f->h.version & 0xffff));
	part_line(out, "roster", dump_part_text(parts->roster), "%u servers",
	    (unsigned)f->h.servers);
	part_line(out, "table", dump_part_text(parts->table), "%u %s",
	    (unsigned)(f->h.buckets > 0 ? f->h.buckets : f->h.ring_points),
	    f->h.buckets > 0 ? "buckets" :
	    scheme_has_ring(f->h.scheme) ? "points" : "records");
	for (unsigned i = 0; i < 2; i++)
		part_line(out, i == 0 ? "section 0" : "section 1",
		    dump_detail_section(f, parts, i), "%s, generation %llu",
		    i == f->active ? "active" : "inactive",
		    (ull)dump_file_section(f, i)->generation);
}
