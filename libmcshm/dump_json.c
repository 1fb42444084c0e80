/*
 * dump_json.c - the same facts for programs.
 *
 * Every value is made by one of the functions of the first part, which turn
 * lack of memory into NULL; jansson's "o" formats free what they can not take
 * and give NULL in turn, so that it is enough to look at the end.
 */
#include "dump_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "dump_detail.h"
#include "dump_head.h"
#include "dump_route.h"
#include "dump_words.h"
#include "mcshm.h"

#define NS_MS UINT64_C(1000000)

struct dump_json {
	json_t *root, *pools;
	bool failed;
};

/* Values ------------------------------------------------------------------- */

/* A number that programs may not hold exactly: as text. */
static json_t *
text_of(uint64_t n)
{
	return json_sprintf("%llu", (unsigned long long)n);
}

static json_t *
count(uint64_t n)
{
	return json_integer((json_int_t)(n <= INT64_MAX ? n : INT64_MAX));
}

static json_t *
count_or_null(uint64_t n)
{
	return n != 0 ? count(n) : json_null();
}

static json_t *
field_text(const char *field, size_t max)
{
	char text[DUMP_LABEL];

	dump_text(text, sizeof text, field, max);
	return json_string(text);
}

/* How long ago; null where it never was, or nobody can tell. */
static json_t *
age_ms(const struct dump_pool *p, uint64_t boot)
{
	uint64_t age;

	return dump_pool_age(p, boot, &age) ? count(age / NS_MS) : json_null();
}

static json_t *
share(const struct dump_pool *p, double part)
{
	return p->placed ? json_real(part) : json_null();
}

/* A path or a key: as it is where that is UTF-8, else with \xNN for what is
 * not plain, and for the backslash, so that nothing else looks like it. */
static json_t *
bytes(const char *p, size_t len)
{
	json_t *whole = json_stringn(p, len), *escaped;
	char *text = NULL;
	size_t size;
	FILE *out;

	if (whole != NULL)
		return whole;
	out = open_memstream(&text, &size);
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < len; i++)
		if (p[i] == '\\')
			fputs("\\\\", out);
		else
			dump_bytes(out, p + i, 1);
	escaped = fclose(out) == 0 ? json_stringn(text, size) : NULL;
	free(text);
	return escaped;
}

static json_t *
server_name(const struct dump_server *s)
{
	char label[DUMP_LABEL];

	dump_label(label, s->roster);
	return json_string(label);
}

static json_t *
word(void (*say)(char *, uint32_t), uint32_t number)
{
	char text[DUMP_SHORT];

	say(text, number);
	return json_string(text);
}

static json_t *
reason_or_null(uint32_t reason)
{
	return reason != MCSHM_R_OK ? word(dump_reason, reason) : json_null();
}

/* Append to an array that may be NULL; NULL when either is. */
static json_t *
append(json_t *array, json_t *value)
{
	if (json_array_append_new(array, value) == 0)
		return array;
	json_decref(array);
	return NULL;
}

/* Set a key of an object, in the same way. */
static json_t *
with(json_t *object, const char *key, json_t *value)
{
	if (json_object_set_new(object, key, value) == 0)
		return object;
	json_decref(object);
	return NULL;
}

/* Servers ------------------------------------------------------------------ */

static json_t *
addresses(const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;
	json_t *list = json_array();
	char text[DUMP_LABEL];

	for (uint32_t i = 0; i < e->addresses && i < MCSHM_ADDRESSES; i++) {
		dump_resolved(text, &e->address[i], s->roster);
		list = append(list, json_string(text));
	}
	return list;
}

static json_t *
server_identity(const struct dump_server *s)
{
	const struct mcshm_roster *r = s->roster;
	char address[DUMP_LABEL];

	dump_address(address, r);
	return json_pack("{s:i, s:o, s:s, s:o, s:I, s:o}", "slot",
	    (int)s->slot, "name", server_name(s), "address", address,
	    "resolved", addresses(s), "weight", (json_int_t)r->weight,
	    "identity", field_text(r->ident, sizeof r->ident));
}

static json_t *
degraded_names(uint64_t bits)
{
	json_t *list = json_array();
	char name[DUMP_SHORT];

	for (unsigned bit = 0; bit < 64; bit++) {
		if ((bits >> bit & 1) == 0)
			continue;
		dump_degraded(name, bit);
		list = append(list, json_string(name));
	}
	return list;
}

static json_t *
server_state(json_t *o, const struct dump_pool *p, const struct dump_server *s)
{
	const struct mcshm_entry *e = s->entry;
	char state[DUMP_SHORT];

	dump_state(state, e);
	o = with(o, "state", json_string(state));
	o = with(o, "verdict", word(dump_verdict, e->verdict));
	o = with(o, "admin", word(dump_admin, e->admin));
	o = with(o, "usable", json_boolean(s->usable));
	o = with(o, "held", json_boolean(s->held));
	o = with(o, "reason", reason_or_null(e->reason));
	o = with(o, "result", e->probes != 0 || e->result != 0 ?
	    word(dump_reason, e->result) : json_null());
	o = with(o, "degraded", text_of(e->degraded));
	o = with(o, "degraded_names", degraded_names(e->degraded));
	o = with(o, "since_ms", age_ms(p, e->since));
	o = with(o, "down_since_ms", age_ms(p, e->down_since));
	o = with(o, "back_since_ms", age_ms(p, e->back_since));
	o = with(o, "silent_since_ms", age_ms(p, e->silent_since));
	o = with(o, "checked_ms", age_ms(p, e->checked));
	o = with(o, "last_good_ms", age_ms(p, e->good_began));
	o = with(o, "unseen", json_boolean(s->rank == DUMP_UNSEEN));
	o = with(o, "unseen_ms", age_ms(p, e->unseen_since));
	o = with(o, "flaps", count(e->flaps));
	return with(o, "hold_left_ms",
	    count_or_null(dump_pool_left(p, e->hold_until) / NS_MS));
}

static json_t *
returned_names(uint64_t bits)
{
	json_t *list = json_array();
	char name[DUMP_SHORT];

	for (unsigned bit = 0; bit < 64; bit++) {
		if ((bits >> bit & 1) == 0)
			continue;
		dump_returned(name, bit);
		list = append(list, json_string(name));
	}
	return list;
}

/* The last outage, and the process that was there before it. */
static json_t *
server_return(json_t *o, const struct dump_pool *p, const struct mcshm_entry *e)
{
	o = with(o, "outage_since_ms", age_ms(p, e->outage_since));
	o = with(o, "returned", returned_names(e->returned));
	o = with(o, "flushed_ms", age_ms(p, e->flushed));
	o = with(o, "server_pid", count_or_null(e->server_pid));
	o = with(o, "server_start", count_or_null(e->server_start));
	o = with(o, "cmd_flush", dump_pool_identified(e) ?
	    count(e->cmd_flush) : json_null());
	o = with(o, "curr_items", dump_pool_identified(e) ?
	    count(e->curr_items) : json_null());
	return with(o, "identified_ms", age_ms(p, e->identified));
}

static json_t *
server_counts(json_t *o, const struct mcshm_entry *e)
{
	char history[65];

	dump_history(history, e, 64);
	o = with(o, "rtt_us", count_or_null(e->rtt_us));
	o = with(o, "rtt_avg_us", count_or_null(e->rtt_avg_us));
	o = with(o, "rtt_max_us", count_or_null(e->rtt_max_us));
	o = with(o, "rtt_usual_us", count_or_null(e->rtt_usual_us));
	o = with(o, "workers", count_or_null(e->threads));
	o = with(o, "workers_stuck", count(e->workers_stuck));
	o = with(o, "connections", count_or_null(e->connections));
	o = with(o, "max_connections", count_or_null(e->max_connections));
	o = with(o, "tls_expiry", count_or_null(e->tls_expiry));
	o = with(o, "probes", count(e->probes));
	o = with(o, "failures", count(e->failures));
	o = with(o, "local_errors", count(e->local_errors));
	o = with(o, "transitions", count(e->transitions));
	return with(o, "history", json_string(history));
}

static json_t *
server_admin(json_t *o, const struct mcshm_entry *e)
{
	o = with(o, "admin_since", count_or_null(e->admin_since));
	o = with(o, "admin_until", count_or_null(e->admin_until));
	o = with(o, "admin_who", field_text(e->admin_who,
	    sizeof e->admin_who));
	o = with(o, "admin_why", field_text(e->admin_why,
	    sizeof e->admin_why));
	return with(o, "server_version", field_text(e->server_version,
	    sizeof e->server_version));
}

static json_t *
server_object(const struct dump_pool *p, const struct dump_server *s)
{
	json_t *o = server_identity(s);

	o = server_state(o, p, s);
	o = server_counts(o, s->entry);
	o = server_return(o, p, s->entry);
	o = server_admin(o, s->entry);
	o = with(o, "share_home", share(p, s->home));
	return with(o, "share_now", share(p, s->now));
}

static json_t *
servers(const struct dump_pool *p, const struct dump_server *only)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < p->servers; i++)
		if (only == NULL || only == &p->server[i])
			list = append(list, server_object(p, &p->server[i]));
	return list;
}

/* The pool ----------------------------------------------------------------- */

static json_t *
daemon_object(const struct dump_pool *p)
{
	const struct mcshm_header *h = &p->file->h;
	json_t *o = json_object();

	o = with(o, "pid", count_or_null(h->pid));
	o = with(o, "alive", json_boolean(p->alive));
	o = with(o, "heartbeat_age_ms", p->never || p->rebooted ? json_null() :
	    count(p->heartbeat_age / NS_MS));
	o = with(o, "stale", json_boolean(p->stale));
	o = with(o, "hung", json_boolean(p->hung));
	o = with(o, "rebooted", json_boolean(p->rebooted));
	o = with(o, "clean_exit", json_boolean(h->clean_exit != 0));
	o = with(o, "version", field_text(h->daemon_version,
	    sizeof h->daemon_version));
	o = with(o, "host", field_text(h->host, sizeof h->host));
	o = with(o, "config", field_text(h->config, sizeof h->config));
	o = with(o, "config_age_ms", h->config_loaded == 0 ? json_null() :
	    count(p->time.real > h->config_loaded ?
	    (p->time.real - h->config_loaded) / NS_MS : 0));
	o = with(o, "report", h->report[0] == '\0' ? json_null() :
	    field_text(h->report, sizeof h->report));
	o = with(o, "stale_after_ms", count(h->stale_after / NS_MS));
	o = with(o, "local_errors", count(h->local_errors));
	o = with(o, "tilts", count(h->tilts));
	o = with(o, "sync_errors", count(h->sync_errors));
	return with(o, "publishes", count(h->publishes));
}

static json_t *
policy_word(uint32_t dead)
{
	static const char *const words[] = { "rehash", "miss", "error" };

	return dead < 3 ? json_string(words[dead]) :
	    json_sprintf("%u", (unsigned)dead);
}

static json_t *
name_or_number(const char *name, uint32_t number)
{
	return name != NULL ? json_string(name) :
	    json_sprintf("%u", (unsigned)number);
}

static json_t *
tag_or_null(uint32_t tag)
{
	const char bytes_of[2] = { (char)(tag & 0xff), (char)(tag >> 8) };

	return tag != 0 ? bytes(bytes_of, sizeof bytes_of) : json_null();
}

static json_t *
pool_scheme(json_t *o, const struct dump_pool *p)
{
	const struct mcshm_header *h = &p->file->h;

	o = with(o, "scheme", name_or_number(scheme_name(h->scheme),
	    h->scheme));
	o = with(o, "hash", name_or_number(scheme_hash_name(h->hash),
	    h->hash));
	o = with(o, "points_hash", name_or_number(
	    scheme_hash_name(h->points_hash), h->points_hash));
	o = with(o, "hash_chars", json_string(
	    (h->hash_flags & MCSHM_HASH_UNSIGNED) != 0 ? "unsigned" :
	    "signed"));
	o = with(o, "hash_tag", tag_or_null(h->hash_tag));
	o = with(o, "buckets", count(h->buckets));
	o = with(o, "ring_points", count(scheme_has_ring(h->scheme) ?
	    h->ring_points : 0));
	o = with(o, "dead", policy_word(h->dead));
	o = with(o, "failover_ttl", count(h->failover_ttl));
	o = with(o, "generation", text_of(p->generation));
	o = with(o, "active_section", json_integer(p->file->active));
	return with(o, "roster", json_sprintf("%016llx",
	    (unsigned long long)h->roster_id));
}

static json_t *
pool_state(json_t *o, const struct dump_pool *p)
{
	const uint64_t flags = p->section->flags;

	o = with(o, "exit", json_integer(dump_pool_exit(p)));
	o = with(o, "usable", count(p->usable));
	o = with(o, "fail_open", json_boolean(p->fail_open));
	o = with(o, "blind", json_boolean(p->blind));
	o = with(o, "retired", json_boolean(p->file->retired));
	o = with(o, "refused", p->file->refused != NULL ?
	    json_string(p->file->refused) : json_null());
	o = with(o, "tilt", json_boolean(flags & MCSHM_SECTION_TILT));
	o = with(o, "awareness", count(p->awareness));
	o = with(o, "inherited", json_boolean(flags &
	    MCSHM_SECTION_INHERITED));
	o = with(o, "unseen", count(p->ranks[DUMP_UNSEEN]));
	o = with(o, "vain_ms", age_ms(p, p->vain));
	o = with(o, "swept", json_boolean(flags & MCSHM_SECTION_SWEPT));
	o = with(o, "address_epoch", text_of(p->section->address_epoch));
	o = with(o, "share_rehashed", share(p, p->rehashed));
	o = with(o, "share_held", share(p, p->held));
	return with(o, "share_missed", share(p, p->missed));
}

/* Asked for ---------------------------------------------------------------- */

/* As many digits as it has; null where there is one for each server. */
static json_t *
hash_or_null(const struct dump_pool *p, uint64_t h)
{
	if (scheme_lookup(p->place.set.scheme) == SCHEME_LOOKUP_RENDEZVOUS)
		return json_null();
	return json_sprintf("%0*llx", p->place.set.hash == MCSHM_HASH_XXH3 ?
	    16 : 8, (unsigned long long)h);
}

static json_t *
key_object(const struct dump_pool *p, const struct dump_key *key)
{
	json_t *tries = json_array(), *o = json_object();
	struct dump_route r;
	struct scheme_key k = scheme_key(&p->place.set, key->bytes, key->len);

	dump_route_key(&r, p, &k);
	for (uint32_t i = 0; i < r.steps; i++)
		tries = append(tries, server_name(&p->server[r.slot[i]]));
	o = with(o, "key", bytes(key->bytes, key->len));
	o = with(o, "hash", hash_or_null(p, r.h));
	o = with(o, "home", server_name(&p->server[r.slot[0]]));
	o = with(o, "now", r.error != MCSHM_OK ? json_null() :
	    server_name(&p->server[r.slot[r.steps - 1]]));
	o = with(o, "tries", tries);
	o = with(o, "tries_left_out", json_integer(r.left_out));
	o = with(o, "rehashes", json_integer(dump_route_tries(&r)));
	o = with(o, "held", json_boolean(r.error == MCSHM_EHELD));
	return with(o, "error", r.error == MCSHM_OK ? json_null() :
	    json_string(mcshm_strerror(r.error)));
}

static json_t *
keys_array(const struct dump_pool *p, const struct dump_keys *keys)
{
	json_t *list = p->placed ? json_array() : json_null();

	for (size_t i = 0; p->placed && i < keys->n; i++)
		list = append(list, key_object(p, &keys->v[i]));
	return list;
}

static json_t *
parts_object(const struct dump_file *f, const struct dump_parts *parts)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "header", "ok",
	    "roster", dump_part_text(parts->roster),
	    "table", dump_part_text(parts->table),
	    "section0", dump_detail_section(f, parts, 0),
	    "section1", dump_detail_section(f, parts, 1));
}

static json_t *
clients_array(const struct dump_clients *c)
{
	json_t *list = json_array();

	for (size_t i = 0; i < c->n; i++)
		list = append(list, json_pack("{s:I, s:s, s:s, s:b}", "pid",
		    (json_int_t)c->v[i].pid, "command", c->v[i].command,
		    "inode", c->v[i].orphaned ? "orphaned" : "current",
		    "checker", (int)c->v[i].checker));
	return list;
}

static void
add_pool(struct dump_json *j, json_t *pool)
{
	if (json_array_append_new(j->pools, pool) != 0)
		j->failed = true;
}

void
dump_json_pool(struct dump_json *j, const struct dump_pool *p,
    const struct dump_server *only, const struct dump_keys *keys,
    const struct dump_parts *parts, const struct dump_clients *clients)
{
	char title[DUMP_TITLE];
	json_t *o = json_object();

	dump_title(title, p);
	o = with(o, "pool", json_string(title));
	o = with(o, "file", bytes(p->file->path, strlen(p->file->path)));
	o = pool_scheme(o, p);
	o = pool_state(o, p);
	o = with(o, "daemon", daemon_object(p));
	o = with(o, "servers", servers(p, only));
	if (keys != NULL)
		o = with(o, "keys", keys_array(p, keys));
	if (parts != NULL)
		o = with(o, "verify", parts_object(p->file, parts));
	if (clients != NULL) {
		o = with(o, "clients", clients_array(clients));
		o = with(o, "clients_unreadable",
		    count(clients->unreadable));
	}
	add_pool(j, o);
}

/* The pool's name is the file's; what is in it can not be believed. */
void
dump_json_trouble(struct dump_json *j, const char *path,
    const struct dump_trouble *t, const struct dump_file *f,
    const struct dump_parts *parts)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;
	const size_t end = strlen(MCSHM_SUFFIX);
	size_t len = strlen(name);
	json_t *o = json_object();

	if (len > end && strcmp(name + len - end, MCSHM_SUFFIX) == 0)
		len -= end;
	o = with(o, "pool", bytes(name, len));
	o = with(o, "file", bytes(path, strlen(path)));
	o = with(o, "error", json_string(t->text));
	o = with(o, "damaged", json_boolean(t->damaged));
	if (f != NULL)
		o = with(o, "verify", parts_object(f, parts));
	add_pool(j, with(o, "exit", json_integer(DUMP_EXIT_UNREADABLE)));
}

struct dump_json *
dump_json_begin(const char *host)
{
	struct dump_json *j = calloc(1, sizeof *j);

	if (j == NULL)
		return NULL;
	j->pools = json_array();
	j->root = with(with(json_object(), "version", json_integer(1)),
	    "host", bytes(host, strlen(host)));
	return j;
}

int
dump_json_end(struct dump_json *j, FILE *out, int code)
{
	int err;

	j->root = with(j->root, "exit", json_integer(code));
	j->root = with(j->root, "pools", j->pools);
	if (j->root == NULL)
		j->failed = true;
	err = j->failed ? -1 : json_dumpf(j->root, out, JSON_COMPACT |
	    JSON_REAL_PRECISION(6));
	json_decref(j->root);
	free(j);
	return err == 0 && putc('\n', out) != EOF ? 0 : -1;
}
