/*
 * dump_keys.c - a list of keys, and where each lives and goes.
 */
#include "dump_keys.h"

#include <stdlib.h>
#include <string.h>

#include "dump_head.h"
#include "dump_route.h"
#include "dump_words.h"
#include "mcshm.h"

static int
make_room(struct dump_keys *k)
{
	const size_t room = k->room > 0 ? 2 * k->room : 64;
	struct dump_key *v;

	if (k->n < k->room)
		return 0;
	v = realloc(k->v, room * sizeof *v);
	if (v == NULL)
		return -1;
	k->v = v;
	k->room = room;
	return 0;
}

int
dump_keys_add(struct dump_keys *k, const void *key, size_t len)
{
	struct dump_key one = { .len = len };

	if (make_room(k) < 0)
		return -1;
	/* One more, so that an empty key has an address, too. */
	one.bytes = malloc(len + 1);
	if (one.bytes == NULL)
		return -1;
	memcpy(one.bytes, key, len);
	one.bytes[len] = 0;
	k->v[k->n++] = one;
	return 0;
}

int
dump_keys_read(struct dump_keys *k, FILE *from)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;
	int err = 0;

	while (err == 0 && (len = getline(&line, &room, from)) > 0) {
		if (line[len - 1] == '\n')
			len--;
		if (len > 0 && line[len - 1] == '\r')
			len--;
		if (len > 0)
			err = dump_keys_add(k, line, (size_t)len);
	}
	free(line);
	return err < 0 || ferror(from) ? -1 : 0;
}

void
dump_keys_free(struct dump_keys *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->v[i].bytes);
	free(k->v);
	*k = (struct dump_keys){ 0 };
}

/* Of a longer way, so many steps from its beginning and its end. */
#define FIRST_STEPS 9u
#define LAST_STEPS 2u

static void
put_step(FILE *out, const struct dump_server *s)
{
	char label[DUMP_LABEL], state[DUMP_SHORT];

	dump_label(label, s->roster);
	dump_state(state, s->entry);
	fprintf(out, "%s %s", label, state);
}

/* How it ends.  A server that is not UP can still be asked: while verdicts are
 * not believed, and while the checker fails open. */
static void
put_end(FILE *out, const struct dump_pool *p, const struct dump_route *r)
{
	const struct dump_server *last = &p->server[r->slot[r->steps - 1]];

	if (r->error == MCSHM_EHELD)
		fputs(": a miss, store nowhere", out);
	else if (r->error != MCSHM_OK)
		fprintf(out, ": %s", mcshm_strerror(r->error));
	else if (r->steps > 1)
		fprintf(out, "  (%u %s)", (unsigned)dump_route_tries(r),
		    dump_route_tries(r) == 1 ? "rehash" : "rehashes");
	if (r->error == MCSHM_OK && last->rank < DUMP_OUT)
		fputs(p->blind ? "  (used all the same: nobody vouches for "
		    "verdicts)" : "  (used all the same)", out);
}

/* Servers that were left out are none that a key could stay on: it went on. */
static void
put_steps(FILE *out, const struct dump_pool *p, const struct dump_route *r)
{
	const bool cut = r->left_out > 0 ||
	    r->steps > FIRST_STEPS + LAST_STEPS + 1;
	const uint32_t first = cut ? FIRST_STEPS : r->steps;

	for (uint32_t i = 0; i < first; i++) {
		fputs(i > 0 ? " -> " : "", out);
		put_step(out, &p->server[r->slot[i]]);
	}
	if (!cut)
		return;
	fprintf(out, " -> (%u more)", (unsigned)(dump_route_tries(r) + 1 -
	    FIRST_STEPS - LAST_STEPS));
	for (uint32_t i = r->steps - LAST_STEPS; i < r->steps; i++) {
		fputs(" -> ", out);
		put_step(out, &p->server[r->slot[i]]);
	}
}

/* As many digits as the hash has; none where there is one for each server. */
static void
put_hash(FILE *out, const struct dump_pool *p, uint64_t h)
{
	const char *name = scheme_hash_name(p->place.set.hash);

	if (scheme_lookup(p->place.set.scheme) == SCHEME_LOOKUP_RENDEZVOUS)
		return;
	fprintf(out, "  %s %0*llx", name, p->place.set.hash ==
	    MCSHM_HASH_XXH3 ? 16 : 8, (unsigned long long)h);
}

static void
put_key(FILE *out, const struct dump_pool *p, const struct dump_key *key)
{
	struct dump_route r;
	struct scheme_key k = scheme_key(&p->place.set, key->bytes, key->len);

	dump_route_key(&r, p, &k);
	dump_bytes(out, key->bytes, key->len);
	put_hash(out, p, k.h);
	fputs("  home ", out);
	put_steps(out, p, &r);
	put_end(out, p, &r);
	putc('\n', out);
}

void
dump_keys_text(FILE *out, const struct dump_pool *p, const struct dump_keys *k)
{
	dump_head_setting(out, p);
	for (size_t i = 0; i < k->n; i++)
		put_key(out, p, &k->v[i]);
}
