/*
 * conf_buckets.c - lines of buckets: a site's own map from the hash of a key to
 * a server.
 *
 * Must not put a map right: keys go where it sends them.
 */
#include <stdlib.h>
#include <string.h>

#include "conf_load.h"
#include "scheme.h"

#define LINE_COLUMNS 76		/* of the dump */

/* Lines ------------------------------------------------------------------- */

/* Room for one more behind n, in memory that is doubled whenever n is a power
 * of two. */
static void *
grown(void *v, uint32_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return v;
	return realloc(v, (n > 0 ? 2 * (size_t)n : 1) * size);
}

static bool
line_begin(struct load *l, struct draft *d)
{
	struct bucket_line *v = grown(d->bucket_line, d->bucket_lines,
	    sizeof *v);

	if (!v)
		return conf_complain_memory(l);
	d->bucket_line = v;
	v[d->bucket_lines++] = (struct bucket_line){
		conf_here(l), d->pool.maps };
	return true;
}

static bool
bucket_add(struct load *l, struct draft *d, uint16_t slot)
{
	struct conf_pool *p = &d->pool;
	uint16_t *map;

	if (p->maps == MCSHM_MAX_BUCKETS) {
		/* Once. */
		if (!d->at[KEY_buckets].bad)
			conf_complain(l, "more than %u buckets in pool %s; "
			    "write fewer", MCSHM_MAX_BUCKETS, p->name);
		return false;
	}
	map = grown(p->map, p->maps, sizeof *map);
	if (!map)
		return conf_complain_memory(l);
	p->map = map;
	map[p->maps++] = slot;
	return true;
}

/* A server's number, the first n bytes of text; what it may be at most depends
 * on lines that are still to come. */
static bool
bucket_parse(struct load *l, const char *text, size_t n)
{
	const size_t digits = strspn(text, "0123456789");
	unsigned long slot;

	if (n == 0 || digits != n) {
		conf_complain(l, "'%.*s' is not a server's number; write "
		    "0 for the first server line, 1 for the next, with blanks "
		    "or a comma between", n > 0 ? (int)n : 1, text);
		return false;
	}
	slot = n > 9 ? MCSHM_MAX_SERVERS : strtoul(text, NULL, 10);
	if (slot >= MCSHM_MAX_SERVERS) {
		conf_complain(l, "'%.*s' is the number of no server; write "
		    "%u at most", (int)n, text, MCSHM_MAX_SERVERS - 1);
		return false;
	}
	return bucket_add(l, l->now, (uint16_t)slot);
}

/* "0 1 2", "0,1,2", "0, 1, 2,": a list may be broken anywhere. */
bool
conf_buckets_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	(void)k, (void)field;
	if (!line_begin(l, l->now))
		return false;
	while (*text) {
		const size_t n = strcspn(text, CONF_BLANKS ",");

		if (!bucket_parse(l, text, n))
			return false;
		text += n + strspn(text + n, CONF_BLANKS);
		text += *text == ',';
		text += strspn(text, CONF_BLANKS);
	}
	return true;
}

/* Checks ------------------------------------------------------------------ */

/* The first bucket of a line that no server has. */
static void
line_check(struct load *l, const struct draft *d, uint32_t line)
{
	const struct conf_pool *p = &d->pool;
	const struct bucket_line *b = &d->bucket_line[line];
	const uint32_t end = line + 1 < d->bucket_lines ? b[1].first : p->maps;
	uint32_t i = b->first;

	while (i < end && p->map[i] < p->servers.n)
		i++;
	if (i < end)
		conf_complain_at(l, b->at, "bucket %u is server %u, and the "
		    "pool's servers are 0 to %u; write one of those", i,
		    p->map[i], p->servers.n - 1);
}

void
conf_buckets_check(struct load *l, const struct draft *d)
{
	/* A server that is missing may be one that was refused. */
	if (d->refused || d->at[KEY_scheme].bad || d->pool.servers.n == 0 ||
	    !scheme_takes_map(d->pool.set.scheme))
		return;
	for (uint32_t i = 0; i < d->bucket_lines; i++)
		line_check(l, d, i);
}

/* Buckets are chosen by bits of the hash: those of n - 1. */
static uint32_t
used(uint32_t n)
{
	return UINT32_C(1) << __builtin_popcount(n - 1);
}

void
conf_buckets_warn(struct load *l, const struct draft *d)
{
	const struct conf_pool *p = &d->pool;

	if (!scheme_takes_map(p->set.scheme))
		return;
	if (p->maps > 0 && used(p->maps) < p->maps)
		conf_warn_at(l, d->bucket_line[0].at, "pool %s: of its %u "
		    "buckets clients use %u only; unless they have the same "
		    "ones, write a power of two", p->name, p->maps,
		    used(p->maps));
	if (p->maps == 0 && used(p->servers.n) < p->servers.n)
		conf_warn_at(l, d->heading, "pool %s: without buckets, clients "
		    "use %u of its %u servers only; unless they have none, "
		    "either, write buckets", p->name, used(p->servers.n),
		    p->servers.n);
}

/* Dump -------------------------------------------------------------------- */

void
conf_buckets_dump(const struct conf_pool *p, FILE *out)
{
	int column = 0;

	for (uint32_t i = 0; i < p->maps; i++) {
		if (column == 0)
			column = fprintf(out, "buckets =");
		column += fprintf(out, " %u", p->map[i]);
		if (column < LINE_COLUMNS - 6 && i + 1 < p->maps)
			continue;
		fputc('\n', out);
		column = 0;
	}
}
