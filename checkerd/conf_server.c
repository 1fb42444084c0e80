/*
 * conf_server.c - server lines of the ini, and what servers of a pool may not
 * have in common.
 *
 * Must not look a name up.
 */
#include <stdlib.h>
#include <string.h>

#include "conf_load.h"
#include "mcshm.h"		/* enum mcshm_admin */
#include "scheme.h"

/* Lines ----------------------------------------------------------------- */

/* The next word of a line, which is cut up; NULL at its end. */
static char *
next_word(char **rest)
{
	char *word = *rest + strspn(*rest, CONF_BLANKS);
	size_t n = strcspn(word, CONF_BLANKS);

	if (n == 0)
		return NULL;
	*rest = word + n + (word[n] != '\0');
	word[n] = '\0';
	return word;
}

/* key=value, and not a unix path with a = in it. */
static bool
is_option(const char *word)
{
	return word[strspn(word, CONF_WORD "_-.")] == '=';
}

static bool
server_option(struct load *l, struct server *s, bool seen[CONF_OPTIONS],
    char *word)
{
	char *value = strchr(word, '=');
	struct hint hint;
	size_t i = 0;

	if (!value) {
		conf_complain(l, "'%s' after a server's address; write "
		    "weight=N, state=STATE or nothing", word);
		return false;
	}
	*value++ = '\0';
	while (i < CONF_OPTIONS && strcmp(conf_options[i].name, word) != 0)
		i++;
	if (i == CONF_OPTIONS) {
		hint = conf_hint(word);
		for (i = 0; i < CONF_OPTIONS; i++)
			conf_hint_offer(&hint, conf_options[i].name);
		conf_complain(l, "servers have no '%s'; %s%s", word,
		    hint.nearest ? "did you mean " : "write weight or state",
		    hint.nearest ? hint.nearest : "");
		return false;
	}
	if (seen[i] || !*value) {
		conf_complain(l, seen[i] ? "%s twice for one server; write it "
		    "once" : "%s has no value; write one or leave it out",
		    word);
		return false;
	}
	seen[i] = true;
	return conf_options[i].kind->parse(l, &conf_options[i], value,
	    (char *)s + conf_options[i].offset);
}

static bool
server_name(struct load *l, struct server *s, const char *name)
{
	if (!conf_name_is_good(name, SERVER_NAME_MAX)) {
		conf_complain(l, "'%s' is not a server's name; write "
		    "[NAME] HOST:PORT with a NAME of letters, digits, . _ and "
		    "-, %d at most, a letter or digit first",
		    name, SERVER_NAME_MAX);
		return false;
	}
	memcpy(s->name, name, strlen(name) + 1);
	return true;
}

/* [NAME] ADDRESS [key=value ...]; at least one word.  No name is an address:
 * that has a colon. */
static bool
server_words(struct load *l, struct server *s, char *rest)
{
	char *word = next_word(&rest), *next = next_word(&rest);
	bool seen[CONF_OPTIONS] = { false }, good = true;
	const char *why;

	why = address_parse(&s->address, word);
	if (why && next && !is_option(next)) {
		good = server_name(l, s, word);
		word = next;
		next = next_word(&rest);
		why = address_parse(&s->address, word);
	}
	if (why) {
		conf_complain(l, "'%s' is not an address: %s", word, why);
		good = false;
	}
	for (; next; next = next_word(&rest))
		good = server_option(l, s, seen, next) && good;
	return good;
}

static bool
server_keep(struct load *l, struct draft *d, const struct server *s)
{
	const uint32_t n = d->pool.servers.n;
	struct spot *at;

	if (n == MCSHM_MAX_SERVERS) {
		/* Once: the others have nothing else to say. */
		if (!d->at[KEY_server].bad)
			conf_complain(l, "more than %u servers in pool %s; "
			    "make two pools", MCSHM_MAX_SERVERS, d->pool.name);
		return false;
	}
	/* Doubled whenever n is a power of two. */
	if ((n & (n - 1)) == 0) {
		at = realloc(d->server_at, (n ? 2 * n : 1) * sizeof *at);
		if (!at)
			return conf_complain_memory(l);
		d->server_at = at;
	}
	if (servers_add(&d->pool.servers, s) != 0)
		return conf_complain_memory(l);
	d->server_at[n] = conf_here(l);
	return true;
}

bool
conf_server_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	struct server s = { .weight = 1, .admin = MCSHM_READY };
	char *copy = strdup(text);
	bool good;

	(void)k, (void)field;
	if (!copy)
		return conf_complain_memory(l);
	good = server_words(l, &s, copy);
	free(copy);
	return good && server_keep(l, l->now, &s);
}

/* Twins ----------------------------------------------------------------- */

#define TWIN_TEXT (SERVER_NAME_MAX + 1 + ADDRESS_TEXT)

struct twin {
	char text[TWIN_TEXT];
	uint32_t i;
};
typedef void twin_text_fn(char text[TWIN_TEXT], const struct conf_pool *p,
    const struct server *s);

static void
twin_name(char text[TWIN_TEXT], const struct conf_pool *p,
    const struct server *s)
{
	(void)p;
	snprintf(text, TWIN_TEXT, "%s", s->name);
}

/* One text for the spellings of one address: names in lower case, without dot
 * at the end; numbers as bytes. */
static void
place_text(char text[ADDRESS_TEXT], const struct address *a)
{
	struct mcshm_address literal;
	struct address plain = *a;
	size_t n = strlen(plain.host);
	int at = 0;

	if (a->kind == MCSHM_KIND_IPV6 && address_literal(a, &literal)) {
		for (size_t i = 0; i < sizeof literal.ip; i++)
			at += snprintf(text + at, ADDRESS_TEXT - (size_t)at,
			    "%02x", literal.ip[i]);
		snprintf(text + at, ADDRESS_TEXT - (size_t)at, "%%%u:%u",
		    literal.scope, a->port);
		return;
	}
	if (a->kind == MCSHM_KIND_NAME) {
		if (plain.host[n - 1] == '.')
			plain.host[n - 1] = '\0';
		for (char *c = plain.host; *c; c++)
			if (*c >= 'A' && *c <= 'Z')
				*c = (char)(*c - 'A' + 'a');
	}
	address_format(text, &plain);
}

/* Where repeats are allowed, it takes a name of one's own. */
static void
twin_place(char text[TWIN_TEXT], const struct conf_pool *p,
    const struct server *s)
{
	char place[ADDRESS_TEXT];

	place_text(place, &s->address);
	snprintf(text, TWIN_TEXT, "%s %s",
	    scheme_allows_repeats(p->set.scheme) ? s->name : "", place);
}

static void
twin_ident(char text[TWIN_TEXT], const struct conf_pool *p,
    const struct server *s)
{
	const struct scheme_where where = { s->name, s->address.host,
		s->address.kind, s->address.port };
	char ident[272];

	*text = '\0';
	if (!scheme_allows_repeats(p->set.scheme) &&
	    scheme_ident(p->set.scheme, &where, ident) >= 0)
		snprintf(text, TWIN_TEXT, "%s", ident);
}

static int
twin_order(const void *left, const void *right)
{
	const struct twin *a = left, *b = right;
	int d = strcmp(a->text, b->text);

	return d ? d : (a->i > b->i) - (a->i < b->i);
}

/* A way of being the same. */
struct twin_way {
	twin_text_fn *text;
	const char *what, *cure;
};

/* What was found for a server: the first one that it is the same as. */
struct twin_found {
	const struct twin_way *way;
	uint32_t first;
};

/* Neighbours in a sorted v; what was found in another way before stays. */
static void
twins_find(struct twin_found *found, struct twin *v, const struct conf_pool *p,
    const struct twin_way *way)
{
	const uint32_t n = p->servers.n;
	uint32_t first = 0;

	for (uint32_t i = 0; i < n; i++) {
		way->text(v[i].text, p, &p->servers.v[i]);
		v[i].i = i;
	}
	qsort(v, n, sizeof *v, twin_order);
	for (uint32_t i = 1; i < n; i++) {
		if (!*v[i].text || strcmp(v[i].text, v[first].text) != 0)
			first = i;
		else if (!found[v[i].i].way)
			found[v[i].i] = (struct twin_found){ way, v[first].i };
	}
}

static void
twins_tell(struct load *l, const struct draft *d,
    const struct twin_found *found)
{
	char label[272];

	for (uint32_t i = 0; i < d->pool.servers.n; i++) {
		const struct spot *at = &d->server_at[found[i].first];

		if (!found[i].way)
			continue;
		server_label(label, &d->pool.servers.v[i]);
		conf_complain_at(l, d->server_at[i], "server %s has the %s of "
		    "the one in %s:%u; %s", label, found[i].way->what,
		    at->file, at->line, found[i].way->cure);
	}
}

static void
twins_check(struct load *l, const struct draft *d)
{
	const struct twin_way ways[] = {
		{ twin_name, "name", "give it another name" },
		{ twin_place, "address",
		    scheme_allows_repeats(d->pool.set.scheme) ?
		    "leave one out, or give one a name if clients have both" :
		    "leave one out" },
		{ twin_ident, "identity", "give one another name" },
	};
	const uint32_t n = d->pool.servers.n;
	struct twin *v = malloc(n * sizeof *v);
	struct twin_found *found = calloc(n, sizeof *found);

	if (v && found) {
		for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
			twins_find(found, v, &d->pool, &ways[i]);
		twins_tell(l, d, found);
	} else {
		conf_complain_memory(l);
	}
	free(v);
	free(found);
}

/* What a scheme says to one server. */
static void
server_check(struct load *l, struct spot at, const struct server *s,
    uint32_t scheme)
{
	const struct scheme_where where = { s->name, s->address.host,
		s->address.kind, s->address.port };
	char label[272], ident[272];

	server_label(label, s);
	if (s->weight != 1 && !scheme_has_weights(scheme))
		conf_complain_at(l, at, "server %s has weight=%u, and scheme "
		    "%s has no weights; leave it out", label, s->weight,
		    scheme_name(scheme));
	if (scheme_ident(scheme, &where, ident) < 0)
		conf_complain_at(l, at, "server %s is too long a text for "
		    "scheme %s; give it a name", label, scheme_name(scheme));
}

/* Some placements grow with weights. */
static void
weights_check(struct load *l, const struct draft *d)
{
	const struct conf_pool *p = &d->pool;
	const uint32_t n = p->servers.n;
	struct scheme_server *v = calloc(n, sizeof *v);
	const struct scheme_plan plan = { p->set, v, n, p->map, p->maps };
	struct scheme_size size;
	uint64_t sum = 0;

	if (!v) {
		conf_complain_memory(l);
		return;
	}
	/* Identities say where points are, not how many. */
	for (uint32_t i = 0; i < n; i++) {
		v[i] = (struct scheme_server){ "", 0, p->servers.v[i].weight };
		sum += v[i].weight;
	}
	if (!scheme_measure(&plan, &size))
		conf_complain_at(l, d->heading, "pool %s: its weights, %llu "
		    "together, are more than a file can hold with scheme %s; "
		    "write smaller ones", p->name, (unsigned long long)sum,
		    scheme_name(p->set.scheme));
	free(v);
}

void
conf_servers_check(struct load *l, const struct draft *d)
{
	const struct conf_pool *p = &d->pool;

	if (p->servers.n == 0 && !d->refused)
		conf_complain_at(l, d->heading, "pool %s has no server; write "
		    "server = HOST:PORT, or leave the pool out", p->name);
	/* What is right depends on a scheme that was not understood. */
	if (p->servers.n == 0 || d->at[KEY_scheme].bad)
		return;
	for (uint32_t i = 0; i < p->servers.n; i++)
		server_check(l, d->server_at[i], &p->servers.v[i],
		    p->set.scheme);
	twins_check(l, d);
	weights_check(l, d);
}

/* Shared ------------------------------------------------------------------ */

/* A server of any pool, by where it is. */
struct shared {
	char place[ADDRESS_TEXT];
	const struct draft *d;
	uint32_t i;
};

static int
shared_order(const void *left, const void *right)
{
	const struct shared *a = left, *b = right;
	int d = strcmp(a->place, b->place);

	if (d == 0)
		d = (a->d > b->d) - (a->d < b->d);
	return d ? d : (a->i > b->i) - (a->i < b->i);
}

static uint32_t
shared_list(struct shared *v, const struct load *l)
{
	uint32_t n = 0;

	for (uint32_t p = 0; p < l->pools; p++) {
		const struct servers *s = &l->pool[p].pool.servers;

		for (uint32_t i = 0; i < s->n; i++, n++) {
			place_text(v[n].place, &s->v[i].address);
			v[n].d = &l->pool[p];
			v[n].i = i;
		}
	}
	qsort(v, n, sizeof *v, shared_order);
	return n;
}

/* How many servers of a pool other pools have, too; which comes first in the
 * ini, and which is the other one. */
struct shared_found {
	uint32_t count;
	const struct shared *own, *other;
};

static struct shared_found
shared_find(const struct draft *d, const struct shared *v, uint32_t n)
{
	struct shared_found found = { 0, NULL, NULL };

	for (uint32_t from = 0, to = 0; from < n; from = to) {
		const struct shared *own = NULL, *other = NULL;

		for (; to < n && strcmp(v[to].place, v[from].place) == 0;
		    to++) {
			if (v[to].d == d && !own)
				own = &v[to];
			else if (v[to].d != d && !other)
				other = &v[to];
		}
		if (!own || !other)
			continue;
		if (found.count++ == 0 || own->i < found.own->i)
			found = (struct shared_found){ found.count, own,
				other };
	}
	return found;
}

static void
shared_warn(struct load *l, const struct draft *d, const struct shared *v,
    uint32_t n)
{
	const struct shared_found found = shared_find(d, v, n);
	const struct spot *at;
	char label[272], more[40] = "";

	if (found.count == 0)
		return;
	if (found.count > 1)
		snprintf(more, sizeof more, ", and %u more are in others",
		    found.count - 1);
	at = &found.other->d->server_at[found.other->i];
	server_label(label, &d->pool.servers.v[found.own->i]);
	conf_warn_at(l, d->server_at[found.own->i], "pool %s: server %s is in "
	    "pool %s (%s:%u), too%s: on_recovery = flush-if-stale leaves "
	    "servers of several pools as they are; write flush_shared = yes, "
	    "or on_recovery = none", d->pool.name, label,
	    found.other->d->pool.name, at->file, at->line, more);
}

static bool
spares_shared(const struct conf_pool *p)
{
	return p->on_recovery == CONF_RECOVERY_FLUSH && !p->flush_shared;
}

void
conf_servers_warn(struct load *l)
{
	struct shared *v;
	uint32_t n = 0;
	bool any = false;

	for (uint32_t p = 0; p < l->pools; p++) {
		n += l->pool[p].pool.servers.n;
		any |= spares_shared(&l->pool[p].pool);
	}
	if (!any || l->pools < 2)
		return;
	v = malloc(n * sizeof *v);
	if (!v) {
		conf_complain_memory(l);
		return;
	}
	n = shared_list(v, l);
	for (uint32_t p = 0; p < l->pools; p++)
		if (spares_shared(&l->pool[p].pool))
			shared_warn(l, &l->pool[p], v, n);
	free(v);
}

void
conf_server_dump(const struct server *s, FILE *out)
{
	char address[ADDRESS_TEXT], value[CONF_FILE_BYTES + 1];

	address_format(address, &s->address);
	fprintf(out, "server = %s%s%s%s", s->name, *s->name ? " " : "",
	    s->address.kind == MCSHM_KIND_UNIX ? "unix:" : "", address);
	for (size_t i = 0; i < CONF_OPTIONS; i++) {
		const struct key *k = &conf_options[i];

		conf_value(value, k, (const char *)s + k->offset);
		if (strcmp(value, k->standard) != 0)
			fprintf(out, " %s=%s", k->name, value);
	}
	fputc('\n', out);
}
