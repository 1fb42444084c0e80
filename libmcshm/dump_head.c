/*
 * dump_head.c - the first lines of a pool: how many are usable, whether the
 * checker lives, and which scheme it is.
 *
 * Pure, but for the time zone.
 */
#include "dump_head.h"

#include <string.h>

#include "dump_line.h"
#include "dump_words.h"

void
dump_title(char to[DUMP_TITLE], const struct dump_pool *p)
{
	const char *slash = strrchr(p->file->path, '/');

	dump_text(to, DUMP_TITLE, p->file->h.pool, sizeof p->file->h.pool);
	if (to[0] == 0)
		dump_text(to, DUMP_TITLE,
		    slash != NULL ? slash + 1 : p->file->path, 60);
}

/* "5.0 % of keys rehashed, 1.7 % held" */
static void
put_shares(struct dump_line *l, const struct dump_pool *p)
{
	const struct {
		double share;
		const char *word;
	} part[] = {
		{ p->rehashed, "rehashed" }, { p->held, "held" },
		/* With none usable it is all of them, and said already. */
		{ p->usable > 0 ? p->missed : 0, "missed by policy" },
	};
	const char *sep = "; ", *of = " of keys";
	char text[DUMP_SHORT];

	for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
		if (part[i].share <= 0)
			continue;
		dump_percent(text, part[i].share);
		text[strcspn(text, "%")] = 0;
		dump_line_put(l, sep, "%s %%%s %s", text, of, part[i].word);
		sep = ", ";
		of = "";
	}
}

static void
put_counts(struct dump_line *l, const struct dump_pool *p)
{
	const uint32_t out = p->ranks[DUMP_OUT] - p->maint - p->drain;
	const struct {
		uint32_t n;
		const char *word;
	} count[] = {
		{ p->ranks[DUMP_DOWN], "DOWN" },
		{ p->ranks[DUMP_HELD], "HELD" },
		{ p->ranks[DUMP_RECOVERING], "RECOVERING" },
		{ p->ranks[DUMP_ODD], "not usable" },
		{ p->ranks[DUMP_UNSEEN], "UNSEEN" },
		{ p->maint, "MAINT" }, { p->drain, "DRAIN" },
		{ out, "taken out" },
		{ p->ranks[DUMP_DEGRADED], "DEGRADED" },
		{ p->ranks[DUMP_UNKNOWN], "UNKNOWN" },
		{ p->ranks[DUMP_FAILING], "failing" },
	};
	const char *sep = ": ";

	for (size_t i = 0; i < sizeof count / sizeof *count; i++) {
		if (count[i].n == 0)
			continue;
		dump_line_put(l, sep, "%u %s", (unsigned)count[i].n,
		    count[i].word);
		sep = ", ";
	}
}

static void
put_clock(char *to, size_t size, const struct dump_pool *p, const char *host)
{
	char date[40], name[65];

	dump_date(date, p->time.real);
	dump_text(name, sizeof name, host, 64);
	if (strlen(name) > 24)
		name[24] = 0;
	/* The day is today's. */
	snprintf(to, size, "%s  %s", name,
	    strlen(date) > 11 ? date + 11 : date);
}

static void
head_servers(FILE *out, const struct dump_pool *p,
    const struct dump_look *look)
{
	char title[DUMP_TITLE], clock[80];
	struct dump_line l;

	dump_title(title, p);
	put_clock(clock, sizeof clock, p, look->host);
	dump_colour(out, look->colour, DUMP_BOLD);
	fputs(title, out);
	dump_colour(out, look->colour, DUMP_PLAIN);
	fputs("  ", out);
	dump_line_begin(&l, out, DUMP_INDENT, (unsigned)strlen(title) + 2);
	l.right = clock;
	dump_line_put(&l, "", "%u of %u usable", (unsigned)p->usable,
	    (unsigned)p->servers);
	put_counts(&l, p);
	if (p->usable == 0)
		dump_line_put(&l, "; ", "every key is a miss");
	if (p->blind)
		dump_line_put(&l, "; ", "verdicts are not believed");
	put_shares(&l, p);
	dump_line_end(&l);
}

static const char *
checker_word(const struct dump_pool *p)
{
	if (p->alive)
		return p->hung ? "HUNG" : "alive";
	return p->file->h.clean_exit != 0 ? "ENDED" : "DEAD";
}

static void
put_checker(struct dump_line *l, const struct dump_pool *p)
{
	const struct mcshm_header *h = &p->file->h;
	char version[4 * sizeof h->daemon_version + 1], age[DUMP_SHORT];

	DUMP_FIELD(version, h->daemon_version);
	dump_line_put(l, "", "checker %s (%spid %llu%s%s)", checker_word(p),
	    p->alive ? "" : "was ", (unsigned long long)h->pid,
	    version[0] != 0 ? ", v" : "", version);
	dump_seconds(age, p->heartbeat_age);
	if (p->never)
		dump_line_put(l, ", ", "no heartbeat yet");
	else if (p->rebooted)
		dump_line_put(l, ", ", "heartbeat of an earlier boot");
	else
		dump_line_put(l, ", ", "heartbeat %s", age);
}

/* What a silent checker means to clients, now or soon. */
static void
put_belief(struct dump_line *l, const struct dump_pool *p)
{
	const uint64_t after = p->file->h.stale_after;
	char age[DUMP_SHORT];

	if (p->stale) {
		dump_line_put(l, "; ", "STALE: clients ignore all verdicts "
		    "and use every READY server");
	} else if (!p->alive) {
		dump_seconds(age, after - p->heartbeat_age);
		dump_line_put(l, "; ", "clients believe it for another %s",
		    age);
	}
	if (p->sightless)
		dump_line_put(l, "; ", "BLIND: it can look at none of the "
		    "servers in use, see its log");
	if (p->file->retired)
		dump_line_put(l, "; ", "RETIRED: replaced, but no new file is "
		    "here");
	if (p->file->refused != NULL)
		dump_line_put(l, "; ", "clients refuse this file: %s",
		    p->file->refused);
}

static void
put_faults(struct dump_line *l, const struct dump_pool *p)
{
	const struct mcshm_header *h = &p->file->h;
	const uint64_t flags = p->section->flags;
	char worst[DUMP_SHORT];

	dump_line_put(l, "; ", "own faults %llu",
	    (unsigned long long)h->local_errors);
	if (h->tilts != 0)
		dump_line_put(l, ", ", "tilts %llu",
		    (unsigned long long)h->tilts);
	if (h->sync_errors != 0) {
		dump_seconds(worst, h->sync_worst);
		dump_line_put(l, ", ", "msync errors %llu (longest %s)",
		    (unsigned long long)h->sync_errors, worst);
	}
	dump_line_put(l, "; ", p->fail_open ?
	    "FAIL-OPEN: silent servers are used" : "fail-open no");
	if ((flags & MCSHM_SECTION_TILT) != 0)
		dump_line_put(l, "; ", "TILT: it doubts itself");
	if (p->awareness != 0)
		dump_line_put(l, "; ", "many are silent: rehash_after x %llu",
		    (unsigned long long)p->awareness + 1);
	if ((flags & MCSHM_SECTION_INHERITED) != 0)
		dump_line_put(l, "; ", "verdicts inherited");
	if ((flags & MCSHM_SECTION_SWEPT) == 0)
		dump_line_put(l, "; ", "first sweep not done");
}

static void
put_config(struct dump_line *l, const struct dump_pool *p)
{
	const struct mcshm_header *h = &p->file->h;
	char path[4 * sizeof h->config + 1], cut[64], age[DUMP_SHORT];

	if (h->config_loaded == 0)
		return;
	DUMP_FIELD(path, h->config);
	dump_cut(cut, 60, path);
	dump_age(age, p->time.real > h->config_loaded ?
	    p->time.real - h->config_loaded : 0);
	dump_line_put(l, "; ", "ini %s%sread %s ago", cut,
	    cut[0] != 0 ? " " : "", age);
}

static void
head_checker(FILE *out, const struct dump_pool *p,
    const struct dump_look *look)
{
	const bool bad = !p->alive || p->stale || p->fail_open ||
	    p->sightless || p->file->retired || p->file->refused != NULL;
	struct dump_line l;

	dump_colour(out, look->colour && bad, DUMP_RED);
	fputs(bad ? "!!" : "  ", out);
	dump_line_begin(&l, out, DUMP_INDENT, 2);
	put_checker(&l, p);
	put_belief(&l, p);
	dump_colour(out, look->colour && bad, DUMP_PLAIN);
	put_faults(&l, p);
	if (p->file->h.report[0] == '\0')
		dump_line_put(&l, "; ", "takes no reports");
	put_config(&l, p);
	dump_line_end(&l);
}

/* What people read in the ini is not what clients have. */
static void
head_vain(FILE *out, const struct dump_pool *p, const struct dump_look *look)
{
	char age[DUMP_SHORT];
	struct dump_line l;
	uint64_t ns;

	if (p->vain == 0)
		return;
	dump_colour(out, look->colour, DUMP_RED);
	fputs("!!", out);
	dump_line_begin(&l, out, DUMP_INDENT, 2);
	if (dump_pool_age(p, p->vain, &ns)) {
		dump_seconds(age, ns);
		dump_line_put(&l, "", "a newer configuration waits for "
		    "%s, as its file can not be made", age);
	} else {
		dump_line_put(&l, "", "a newer configuration waits, as its "
		    "file can not be made");
	}
	dump_line_put(&l, ": ", "clients still have the old servers");
	dump_line_put(&l, "; ", "see the log");
	dump_line_end(&l);
	dump_colour(out, look->colour, DUMP_PLAIN);
}

static const char *
hash_word(uint32_t hash)
{
	const char *name = scheme_hash_name(hash);

	return name != NULL ? name : "?";
}

static void
put_setting(struct dump_line *l, const struct mcshm_header *h)
{
	const char *scheme = scheme_name(h->scheme);
	const char tag[2] = { (char)(h->hash_tag & 0xff),
		(char)(h->hash_tag >> 8 & 0xff) };
	char text[4 * sizeof tag + 1];

	dump_line_put(l, "", "%s", scheme != NULL ? scheme :
	    "a scheme newer than this mc-shmdump");
	dump_line_put(l, " ", "hash=%s", hash_word(h->hash));
	if (scheme != NULL && h->points_hash !=
	    scheme_default_points_hash(h->scheme, h->hash))
		dump_line_put(l, " ", "points_hash=%s",
		    hash_word(h->points_hash));
	if ((h->hash_flags & MCSHM_HASH_UNSIGNED) != 0)
		dump_line_put(l, " ", "hash_chars=unsigned");
	DUMP_FIELD(text, tag);
	if (h->hash_tag != 0)
		dump_line_put(l, " ", "hash_tag=%s", text);
}

void
dump_head_setting(FILE *out, const struct dump_pool *p)
{
	struct dump_line l;

	dump_line_begin(&l, out, DUMP_INDENT, 0);
	put_setting(&l, &p->file->h);
	dump_line_end(&l);
}

static void
head_scheme(FILE *out, const struct dump_pool *p)
{
	static const char *const dead[] = { "rehash", "miss", "error" };
	const struct mcshm_header *h = &p->file->h;
	struct dump_line l;

	dump_line_begin(&l, out, DUMP_INDENT, 0);
	put_setting(&l, h);
	dump_line_put(&l, " ", "dead=%s", h->dead < 3 ? dead[h->dead] : "?");
	if (h->failover_ttl != 0)
		dump_line_put(&l, " ", "failover_ttl=%us",
		    (unsigned)h->failover_ttl);
	dump_line_put(&l, "; ", "roster %04x", (unsigned)(h->roster_id >> 48));
	dump_line_put(&l, ", ", "generation %llu",
	    (unsigned long long)p->generation);
	dump_line_put(&l, ", ", "section %u", p->file->active);
	dump_line_end(&l);
}

void
dump_head(FILE *out, const struct dump_pool *p,
    const struct dump_look *look)
{
	head_servers(out, p, look);
	head_checker(out, p, look);
	head_vain(out, p, look);
	head_scheme(out, p);
}
