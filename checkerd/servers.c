/*
 * servers.c - the list of a pool's servers, as a value, and what stays the
 * same from one list to the next.
 *
 * Must not know what a server's verdict is, nor where it came from.
 */
#include "servers.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What v lies in. */
struct shared {
	_Atomic uint32_t lists;		/* that have it */
	struct server v[];
};

static struct shared *
shared_of(const struct servers *s)
{
	return (struct shared *)((char *)s->v - offsetof(struct shared, v));
}

static size_t
size_of(uint32_t servers)
{
	return sizeof(struct shared) + servers * sizeof(struct server);
}

/*
 * A list of n has room for the next power of two: so that growing by one at a
 * time costs little, and struct servers has no third member to keep true.
 */
static uint32_t
room(uint32_t n)
{
	uint32_t r = 1;

	while (r < n)
		r *= 2;
	return r;
}

int
servers_own(struct servers *s)
{
	struct shared *own;

	if (s->v == NULL || atomic_load(&shared_of(s)->lists) == 1)
		return 0;
	own = malloc(size_of(room(s->n)));
	if (own == NULL)
		return ENOMEM;
	atomic_init(&own->lists, 1);
	memcpy(own->v, s->v, s->n * sizeof *s->v);
	servers_free(&(struct servers){ s->v, s->n });
	s->v = own->v;
	return 0;
}

/* Room for one more, in a list of its own. */
static int
servers_grow(struct servers *s)
{
	struct shared *more;

	if (servers_own(s) != 0)
		return ENOMEM;
	if (s->v != NULL && room(s->n) != s->n)
		return 0;
	more = realloc(s->v != NULL ? shared_of(s) : NULL,
	    size_of(room(s->n + 1)));
	if (more == NULL)
		return ENOMEM;
	if (s->v == NULL)
		atomic_init(&more->lists, 1);
	s->v = more->v;
	return 0;
}

int
servers_add(struct servers *s, const struct server *one)
{
	if (servers_grow(s) != 0)
		return ENOMEM;
	s->v[s->n++] = *one;
	return 0;
}

void
servers_free(struct servers *s)
{
	if (s->v != NULL && atomic_fetch_sub(&shared_of(s)->lists, 1) == 1)
		free(shared_of(s));
	*s = (struct servers){ 0 };
}

void
servers_copy(struct servers *to, const struct servers *from)
{
	if (from->v != NULL)
		atomic_fetch_add(&shared_of(from)->lists, 1);
	*to = *from;
}

void
server_label(char label[272], const struct server *s)
{
	char address[ADDRESS_TEXT];

	address_format(address, &s->address);
	snprintf(label, 272, "%s", s->name[0] ? s->name : address);
}

bool
server_same(const struct server *a, const struct server *b)
{
	return strcmp(a->name, b->name) == 0 &&
	    address_equal(&a->address, &b->address);
}

uint32_t
servers_find_name(const struct servers *s, const char *name)
{
	uint32_t i = 0;

	if (!*name)
		return s->n;
	while (i < s->n && strcmp(s->v[i].name, name) != 0)
		i++;
	return i;
}

uint32_t
servers_find_address(const struct servers *s, const struct address *a)
{
	uint32_t i = 0;

	while (i < s->n && !address_equal(&s->v[i].address, a))
		i++;
	return i;
}

/* An order in which server_same() is equality. */
static int
server_order(const struct server *a, const struct server *b)
{
	int d = strcmp(a->name, b->name);

	if (d == 0)
		d = strcmp(a->address.host, b->address.host);
	if (d == 0)
		d = (a->address.port > b->address.port) -
		    (a->address.port < b->address.port);
	if (d == 0)
		d = (a->address.kind > b->address.kind) -
		    (a->address.kind < b->address.kind);
	return d;
}

/* Equal ones stay in the order of their list: pointers are into one array. */
static int
pointer_order(const void *left, const void *right)
{
	const struct server *a = *(const struct server *const *)left;
	const struct server *b = *(const struct server *const *)right;
	int d = server_order(a, b);

	return d ? d : (a > b) - (a < b);
}

static const struct server **
servers_sorted(const struct servers *s)
{
	const struct server **v = malloc((s->n + 1) * sizeof *v);

	if (!v)
		return NULL;
	for (uint32_t i = 0; i < s->n; i++)
		v[i] = &s->v[i];
	if (s->n > 1)
		qsort(v, s->n, sizeof *v, pointer_order);
	return v;
}

int
servers_match(uint32_t *from, const struct servers *now,
    const struct servers *old)
{
	const struct server **a = servers_sorted(now);
	const struct server **b = servers_sorted(old);
	uint32_t i = 0, j = 0;
	int err = ENOMEM;

	if (!a || !b)
		goto out;
	for (i = 0; i < now->n; i++)
		from[i] = UINT32_MAX;
	i = 0;
	/* Two sorted lists, walked in step. */
	while (i < now->n && j < old->n) {
		int d = server_order(a[i], b[j]);

		if (d == 0)
			from[a[i] - now->v] = (uint32_t)(b[j] - old->v);
		i += d <= 0;
		j += d >= 0;
	}
	err = 0;
out:
	free(a);
	free(b);
	return err;
}
