/*
 * dump_picture.c - a pool as a person wants to see it at night.
 *
 * Pure, but for the time zone.  Says only what struct dump_pool says; decides
 * nothing but what goes where.
 */
#include "dump_picture.h"

#include <string.h>

#include "dump_head.h"
#include "dump_line.h"
#include "dump_why.h"
#include "dump_words.h"
#include "mcshm.h"

#define NS_S UINT64_C(1000000000)
#define PROBES 20		/* in the table; --server has 64 */
#define SINCE 16
#define NUMBER 6		/* columns RTT, HOME, NOW */

/* Table -------------------------------------------------------------------- */

struct table {
	size_t name, address, state;	/* widths of columns; address 0: there
					 * is none */
	bool below;			/* addresses stand below their server */
};

static bool
shown(const struct dump_server *s, const struct dump_look *look)
{
	return look->all || s->rank != DUMP_HEALTHY;
}

static size_t
longer(size_t width, const char *text)
{
	const size_t len = strlen(text);

	return len > width ? len : width;
}

static void
table_widen(struct table *t, const struct dump_server *s)
{
	char text[DUMP_LABEL], state[DUMP_SHORT];

	dump_label(text, s->roster);
	t->name = longer(t->name, text);
	dump_state(state, s->entry);
	t->state = longer(t->state, state);
	if (s->roster->name[0] == 0)
		return;
	dump_address(text, s->roster);
	t->address = longer(longer(t->address, "ADDRESS"), text);
}

static size_t
table_room(const struct table *t)
{
	return DUMP_WIDTH - t->state - (3 + 2 + 2 + SINCE + 2 + PROBES +
	    3 * (NUMBER + 1)) - (t->address > 0 ? 2 : 0);
}

/* The shorter one gets all it wants, if that is less than half. */
static void
table_share(struct table *t, size_t room)
{
	const size_t half = room / 2;

	if (t->address == 0)
		t->name = room;
	else if (t->name <= half)
		t->address = room - t->name;
	else if (t->address <= half)
		t->name = room - t->address;
	else
		t->name = room - (t->address = half);
}

/* Servers in trouble have a line of words, too, where addresses find room. */
static void
table_fit(struct table *t, const struct dump_look *look)
{
	if (t->name + t->address > table_room(t) && t->address > 0 &&
	    !look->all) {
		t->address = 0;
		t->below = true;
	}
	if (t->name + t->address > table_room(t))
		table_share(t, table_room(t));
}

static size_t
table_measure(struct table *t, const struct dump_pool *p,
    const struct dump_look *look)
{
	size_t rows = 0;

	*t = (struct table){ .name = strlen("SERVER"), .state = 5 };
	for (uint32_t i = 0; i < p->servers; i++)
		if (shown(&p->server[i], look)) {
			table_widen(t, &p->server[i]);
			rows++;
		}
	table_fit(t, look);
	return rows;
}

static void
table_header(FILE *out, const struct table *t)
{
	fprintf(out, "   %-*s  ", (int)t->name, "SERVER");
	if (t->address > 0)
		fprintf(out, "%-*s  ", (int)t->address, "ADDRESS");
	fprintf(out, "%-*s  %-*s  %-*s %*s %*s %*s\n", (int)t->state, "STATE",
	    SINCE, "SINCE", PROBES, "PROBES old..new", NUMBER, "RTT",
	    NUMBER, "HOME", NUMBER, "NOW");
}

static const char *
mark_of(enum dump_rank rank)
{
	switch (rank) {
	case DUMP_DOWN:
	case DUMP_HELD:
	case DUMP_RECOVERING:
	case DUMP_ODD:
	case DUMP_UNSEEN:
		return "!!";
	case DUMP_OUT:
		return "--";
	case DUMP_HEALTHY:
		return "  ";
	default:
		return " ~";
	}
}

static enum dump_colour
colour_of(enum dump_rank rank)
{
	switch (rank) {
	case DUMP_DOWN:
	case DUMP_HELD:
	case DUMP_ODD:
	case DUMP_UNSEEN:
		return DUMP_RED;
	case DUMP_OUT:
		return DUMP_DIM;
	case DUMP_HEALTHY:
		return DUMP_PLAIN;
	default:
		return DUMP_YELLOW;
	}
}

/* When the state began: of an operator's by the calendar, else the verdict. */
static bool
since_of(const struct dump_pool *p, const struct mcshm_entry *e, uint64_t *real)
{
	if (e->admin == MCSHM_READY)
		return dump_pool_real(p, e->since, real);
	*real = e->admin_since * NS_S;
	return e->admin_since != 0 && e->admin_since < UINT64_MAX / NS_S;
}

static void
cell_since(char to[2 * DUMP_SHORT], const struct dump_pool *p,
    const struct mcshm_entry *e)
{
	char when[DUMP_SHORT], age[DUMP_SHORT];
	uint64_t real;
	int gap;

	if (!since_of(p, e, &real)) {
		snprintf(to, 2 * DUMP_SHORT, "-");
		return;
	}
	dump_when(when, real, p->time.real);
	dump_age(age, real < p->time.real ? p->time.real - real : 0);
	gap = SINCE - (int)strlen(when);
	snprintf(to, 2 * DUMP_SHORT, "%s%*s", when, gap > 0 ? gap : 0, age);
}

static void
cell_probes(char to[65], const struct mcshm_entry *e)
{
	if (e->admin == MCSHM_MAINT)
		snprintf(to, 65, "(not probed)");
	else if (e->probes == 0)
		snprintf(to, 65, "(no result yet)");
	else
		dump_history(to, e, PROBES);
}

/* Of a server that does not answer the last one is history. */
static void
cell_rtt(char to[DUMP_SHORT], const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;

	if (e->rtt_us == 0 ||
	    (s->rank <= DUMP_OUT && s->rank != DUMP_RECOVERING))
		snprintf(to, DUMP_SHORT, "-");
	else
		dump_rtt(to, e->rtt_us);
}

static void
cell_share(char to[DUMP_SHORT], const struct dump_pool *p, double share)
{
	if (p->placed)
		dump_percent(to, share);
	else
		snprintf(to, DUMP_SHORT, "-");
}

static void
put_cut(FILE *out, const char *text, size_t width)
{
	char cut[DUMP_WIDTH + 1];

	dump_cut(cut, width, text);
	fprintf(out, "%-*s  ", (int)width, cut);
}

static void
row_numbers(FILE *out, const struct dump_pool *p, const struct dump_server *s)
{
	char probes[65], since[2 * DUMP_SHORT], rtt[DUMP_SHORT];
	char home[DUMP_SHORT], now[DUMP_SHORT];

	cell_since(since, p, s->entry);
	cell_probes(probes, s->entry);
	cell_rtt(rtt, s);
	cell_share(home, p, s->home);
	cell_share(now, p, s->now);
	fprintf(out, "  %-*s  %-*s %*s %*s %*s\n", SINCE, since, PROBES, probes,
	    NUMBER, rtt, NUMBER, home, NUMBER, now);
}

static void
row(FILE *out, const struct dump_pool *p, const struct dump_server *s,
    const struct table *t, const struct dump_look *look)
{
	const bool colour = look->colour && s->rank != DUMP_HEALTHY;
	char text[DUMP_LABEL], state[DUMP_SHORT];

	dump_colour(out, colour, colour_of(s->rank));
	fprintf(out, "%s ", mark_of(s->rank));
	dump_label(text, s->roster);
	put_cut(out, text, t->name);
	dump_colour(out, colour, DUMP_PLAIN);
	if (t->address > 0) {
		dump_address(text, s->roster);
		put_cut(out, s->roster->name[0] != 0 ? text : "", t->address);
	}
	dump_state(state, s->entry);
	dump_colour(out, colour, colour_of(s->rank));
	fprintf(out, "%-*s", (int)t->state, state);
	dump_colour(out, colour, DUMP_PLAIN);
	row_numbers(out, p, s);
}

/* What was cut above, in full, then the reason. */
static void
row_words(FILE *out, const struct dump_pool *p, const struct dump_server *s,
    const struct table *t)
{
	char name[DUMP_LABEL], address[DUMP_LABEL];
	struct dump_line l;

	if (s->rank == DUMP_HEALTHY)
		return;
	dump_line_begin(&l, out, DUMP_INDENT + 1, 0);
	dump_label(name, s->roster);
	dump_address(address, s->roster);
	if (strlen(name) > t->name)
		dump_line_words(&l, "; ", name);
	if (s->roster->name[0] != 0 &&
	    (t->below || (t->address > 0 && strlen(address) > t->address)))
		dump_line_words(&l, "; ", address);
	dump_why(&l, p, s);
	dump_line_end(&l);
}

/* The healthy -------------------------------------------------------------- */

/* All of them in one line. */
struct fold {
	uint32_t servers, rtt_min, rtt_max;
	uint64_t since;
	const struct dump_server *last;		/* that changed */
	double home, now;
};

static void
fold_add(struct fold *f, const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;

	f->servers++;
	f->home += s->home;
	f->now += s->now;
	if (e->rtt_us != 0) {
		if (f->rtt_min == 0 || e->rtt_us < f->rtt_min)
			f->rtt_min = e->rtt_us;
		if (e->rtt_us > f->rtt_max)
			f->rtt_max = e->rtt_us;
	}
	if (e->since > f->since) {
		f->since = e->since;
		f->last = s;
	}
}

static void
fold_rtt(struct dump_line *l, const struct fold *f)
{
	char a[DUMP_SHORT], b[DUMP_SHORT];

	if (f->rtt_max == 0)
		return;
	dump_rtt(a, f->rtt_min);
	dump_rtt(b, f->rtt_max);
	if (f->rtt_min == f->rtt_max)
		dump_line_put(l, "; ", "rtt %s", a);
	else if (f->rtt_max < 1000)
		dump_line_put(l, "; ", "rtt %u..%u us", (unsigned)f->rtt_min,
		    (unsigned)f->rtt_max);
	else
		dump_line_put(l, "; ", "rtt %s..%s", a, b);
}

static void
fold_change(struct dump_line *l, const struct dump_pool *p,
    const struct fold *f)
{
	char name[DUMP_LABEL], cut[21], age[DUMP_SHORT];
	uint64_t ns;

	if (f->last == NULL || !dump_pool_age(p, f->since, &ns))
		return;
	dump_age(age, ns);
	dump_label(name, f->last->roster);
	dump_cut(cut, sizeof cut - 1, name);
	dump_line_put(l, "; ", "last change %s ago (%s)", age, cut);
}

static void
fold_line(FILE *out, const struct dump_pool *p, const struct fold *f,
    const struct table *t, bool more)
{
	const size_t edge = 3 + t->name + 2 + t->state + 2 + SINCE + 2 +
	    PROBES + 1 + NUMBER + (t->address > 0 ? t->address + 2 : 0);
	char home[DUMP_SHORT], now[DUMP_SHORT];
	struct dump_line l;
	int gap;

	dump_line_begin(&l, out, more ? 3 : DUMP_INDENT, 0);
	dump_line_put(&l, "", "%u %sUP", (unsigned)f->servers,
	    more ? "more " : "");
	fold_rtt(&l, f);
	fold_change(&l, p, f);
	gap = (int)edge - (int)l.column;
	cell_share(home, p, f->home);
	cell_share(now, p, f->now);
	if (more)
		fprintf(out, "%*s %*s %*s", gap > 0 ? gap : 0, "", NUMBER,
		    home, NUMBER, now);
	dump_line_end(&l);
}

/* The whole ---------------------------------------------------------------- */

static void
table_rows(FILE *out, const struct dump_pool *p, const struct table *t,
    const struct dump_look *look)
{
	for (int rank = 0; rank < DUMP_RANKS; rank++)
		for (uint32_t i = 0; i < p->servers; i++) {
			const struct dump_server *s = &p->server[i];

			if ((int)s->rank != rank || !shown(s, look))
				continue;
			row(out, p, s, t, look);
			row_words(out, p, s, t);
		}
}

/* The first server that somebody will want to ask for, if its name is short
 * and needs no quotes. */
static void
note_example(struct dump_legend *legend, const struct dump_pool *p)
{
	char name[DUMP_LABEL];

	for (int rank = 0; rank < DUMP_HEALTHY; rank++)
		for (uint32_t i = 0; i < p->servers; i++) {
			if ((int)p->server[i].rank != rank)
				continue;
			dump_label(name, p->server[i].roster);
			if (strlen(name) < sizeof legend->name &&
			    strpbrk(name, " \\'\"$*") == NULL)
				memcpy(legend->name, name, strlen(name) + 1);
			return;
		}
}

void
dump_picture(FILE *out, const struct dump_pool *p,
    const struct dump_look *look, struct dump_legend *legend)
{
	struct fold f = { 0 };
	struct table t;
	const size_t rows = table_measure(&t, p, look);

	dump_head(out, p, look);
	putc('\n', out);
	if (rows > 0) {
		table_header(out, &t);
		table_rows(out, p, &t, look);
		legend->wanted = true;
	}
	for (uint32_t i = 0; i < p->servers; i++)
		if (!shown(&p->server[i], look))
			fold_add(&f, &p->server[i]);
	if (f.servers > 0)
		fold_line(out, p, &f, &t, rows > 0);
	if (legend->name[0] == 0)
		note_example(legend, p);
}

void
dump_picture_legend(FILE *out, const struct dump_look *look,
    const struct dump_legend *legend, enum dump_exit code)
{
	int n;

	if (!legend->wanted)
		return;
	dump_colour(out, look->colour, DUMP_DIM);
	n = fprintf(out, "+ ok  t timeout  x refused  e other  more: "
	    "--server %s  --key KEY  %s--clients",
	    legend->name[0] != 0 ? legend->name : "NAME",
	    look->all ? "" : "--all  ");
	fprintf(out, "%*s", DUMP_WIDTH - (n > 0 ? n : 0) - 6, "");
	fprintf(out, "exit %d", (int)code);
	dump_colour(out, look->colour, DUMP_PLAIN);
	putc('\n', out);
}
