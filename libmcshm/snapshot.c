/*
 * snapshot.c - the file's content as values: rosters, states, status; and
 * waiting for other ones.
 *
 * Every value that is given away was read between two equal generations.
 */
#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "reader.h"

/* Between looks for a file that is not there yet, ns. */
#define FIRST_AGAIN (READER_SECOND / 10)

/* A struct of ours into a caller's, who may know less of it, or more. */
static void
put(void *to, size_t size, const void *ours, size_t our_size)
{
	const size_t both = size < our_size ? size : our_size;

	memcpy(to, ours, both);
	memset((char *)to + both, 0, size - both);
}

/* Servers ----------------------------------------------------------------- */

static void
set_address(struct mcshm_server *s, const struct mcshm_address *a)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&s->addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&s->addr;

	if (a->kind == MCSHM_KIND_IPV4) {
		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, a->ip, sizeof in->sin_addr);
		s->addrlen = sizeof *in;
	} else if (a->kind == MCSHM_KIND_IPV6) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(a->port);
		in6->sin6_scope_id = a->scope;
		memcpy(&in6->sin6_addr, a->ip, sizeof in6->sin6_addr);
		s->addrlen = sizeof *in6;
	}
}

static void
set_path(struct mcshm_server *s, const char *path)
{
	struct sockaddr_un *un = (struct sockaddr_un *)&s->addr;
	const size_t len = strlen(path);

	if (len == 0 || len >= sizeof un->sun_path)
		return;
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, path, len + 1);
	s->addrlen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
	    len + 1);
}

static void
set_name(struct mcshm_server *s, const struct mcshm_roster *r)
{
	const unsigned port = r->port & 0xffff;

	if (r->name[0] != '\0')
		snprintf(s->name, sizeof s->name, "%s", r->name);
	else if (r->kind == MCSHM_KIND_UNIX)
		snprintf(s->name, sizeof s->name, "%s", r->host);
	else if (r->kind == MCSHM_KIND_IPV6)
		snprintf(s->name, sizeof s->name, "[%s]:%u", r->host, port);
	else
		snprintf(s->name, sizeof s->name, "%s:%u", r->host, port);
}

/* What mcshm_server() and mcshm_servers() load of one server. */
struct server_words {
	struct mcshm_roster roster;	/* without ident and spare */
	uint32_t addresses;
	struct mcshm_address address;
};

static void
load_server(const struct mcshm *m, const struct reader_view *v, uint32_t slot,
    struct server_words *w)
{
	const uint64_t roster = v->place.roster_off +
	    (uint64_t)slot * v->place.roster_stride;
	const uint64_t entry = reader_entry(m, v, slot);

	reader_copy(m, roster, &w->roster,
	    offsetof(struct mcshm_roster, ident) / 8);
	w->addresses = reader_load32(m,
	    entry + offsetof(struct mcshm_entry, addresses));
	reader_copy(m, entry + offsetof(struct mcshm_entry, address),
	    &w->address, sizeof w->address / 8);
}

static void
make_server(struct mcshm_server *s, uint32_t slot, struct server_words *w)
{
	struct mcshm_roster *r = &w->roster;

	r->name[sizeof r->name - 1] = '\0';
	r->host[sizeof r->host - 1] = '\0';
	memset(s, 0, sizeof *s);
	s->slot = slot;
	s->weight = r->weight;
	set_name(s, r);
	if (r->kind == MCSHM_KIND_UNIX)
		set_path(s, r->host);
	else if (w->addresses > 0)
		set_address(s, &w->address);
}

/* The server in a slot, and of which roster it is and how large that is: of
 * one moment.  No server in that slot: s->addrlen and s->name are empty. */
static int
server_at(const struct mcshm *m, uint32_t slot, struct mcshm_server *s,
    uint64_t *roster, uint32_t *servers)
{
	struct server_words w;
	struct reader_view v;

	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(m));

		if (g == 0)
			continue;
		reader_view(m, g, &v);
		memset(&w, 0, sizeof w);
		if (slot < v.place.servers)
			load_server(m, &v, slot, &w);
		if (!mcshm_read_ok(reader_generation(m), g))
			continue;
		make_server(s, slot, &w);
		*roster = v.roster;
		*servers = v.place.servers;
		return MCSHM_OK;
	}
	return reader_failed(m);
}

/*
 * All servers.  The verdicts may change while we are at it; but a roster's id
 * grows with each address that does, so servers of one id are of one list.
 */
static int
servers_try(const struct mcshm *m, struct mcshm_server *v, size_t n,
    size_t size, uint64_t *roster)
{
	struct mcshm_server s;
	uint64_t id;
	uint32_t servers, again;
	int err = server_at(m, 0, &s, roster, &servers);

	if (err != MCSHM_OK)
		return err;
	for (uint32_t i = 0; i < servers && i < n; i++) {
		err = server_at(m, i, &s, &id, &again);
		if (err != MCSHM_OK)
			return err;
		if (id != *roster || again != servers)
			return MCSHM_EAGAIN;
		put((char *)v + i * size, size, &s, sizeof s);
	}
	return (int)servers;
}

int
mcshm_servers(struct mcshm *m, struct mcshm_server *v, size_t n,
    size_t size_of_one, uint64_t *roster)
{
	uint64_t id;
	int got = MCSHM_EAGAIN;

	if (m == NULL || (n > 0 && (v == NULL || size_of_one == 0)))
		return MCSHM_EINVAL;
	reader_catch_up(m);
	for (int t = 0; t < MCSHM_TRIES_READ && got == MCSHM_EAGAIN; t++)
		got = servers_try(m, v, n, size_of_one, &id);
	if (got >= 0 && roster != NULL)
		*roster = id;
	return got;
}

int
mcshm_server(struct mcshm *m, const struct mcshm_choice *c,
    struct mcshm_server *s, size_t size)
{
	struct mcshm_server ours;
	uint64_t roster;
	uint32_t servers;
	int err;

	if (m == NULL || c == NULL || s == NULL || size == 0)
		return MCSHM_EINVAL;
	err = server_at(m, c->slot, &ours, &roster, &servers);
	if (err != MCSHM_OK)
		return err;
	if (c->roster != roster || c->slot >= servers)
		return MCSHM_EROSTER;
	put(s, size, &ours, sizeof ours);
	return MCSHM_OK;
}

/* States ------------------------------------------------------------------ */

static bool
bit(const struct reader_view *v, unsigned bitmap, uint32_t slot)
{
	return scheme_bit(v->place.base, v->place.mask, v->place.bits_off +
	    (uint64_t)bitmap * v->place.words * 8, slot);
}

#define ENTRY(field) (entry + offsetof(struct mcshm_entry, field))

static void
load_state(const struct mcshm *m, const struct reader_view *v, uint64_t entry,
    uint32_t slot, struct mcshm_state *s)
{
	const bool blind = v->place.blind;

	*s = (struct mcshm_state){
		.verdict = (uint8_t)reader_load32(m, ENTRY(verdict)),
		.admin = (uint8_t)reader_load32(m, ENTRY(admin)),
		.usable = bit(v, blind ? MCSHM_BITMAP_READY :
		    MCSHM_BITMAP_USABLE, slot),
		.held = !blind && bit(v, MCSHM_BITMAP_HELD, slot),
		.reason = reader_load32(m, ENTRY(reason)),
		.degraded = reader_load(m, ENTRY(degraded)),
		.history = reader_load(m, ENTRY(history)),
		.proof = reader_load(m, ENTRY(proof)),
		.wrong = reader_load(m, ENTRY(wrong)),
		.seen = reader_load(m, ENTRY(seen)),
		.since = reader_load(m, ENTRY(since)),
		.checked = reader_load(m, ENTRY(checked)),
		.probes = reader_load(m, ENTRY(probes)),
		.failures = reader_load(m, ENTRY(failures)),
		.rtt_us = reader_load32(m, ENTRY(rtt_us)),
		.down_since = reader_load(m, ENTRY(down_since)),
		.back_since = reader_load(m, ENTRY(back_since)),
	};
}

static void
load_states(const struct mcshm *m, const struct reader_view *v,
    struct mcshm_state *to, size_t n, size_t size)
{
	const uint64_t stride = reader_load32(m, READER_HEADER(entry_stride));
	uint64_t entry = v->section +
	    reader_load32(m, READER_HEADER(entries_off));

	for (uint32_t i = 0; i < v->place.servers && i < n; i++) {
		struct mcshm_state s;

		load_state(m, v, entry, i, &s);
		put((char *)to + i * size, size, &s, sizeof s);
		entry += stride;
	}
}

int
mcshm_server_state(struct mcshm *m, const struct mcshm_choice *c,
    struct mcshm_state *s, size_t size)
{
	struct mcshm_state ours;
	struct reader_view v;

	if (m == NULL || c == NULL || s == NULL || size == 0)
		return MCSHM_EINVAL;
	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(m));

		if (g == 0)
			continue;
		reader_view(m, g, &v);
		v.place.blind = v.superseded || reader_is_stale(m);
		if (c->slot < v.place.servers)
			load_state(m, &v, reader_entry(m, &v, c->slot),
			    c->slot, &ours);
		if (!mcshm_read_ok(reader_generation(m), g))
			continue;
		if (c->roster != v.roster || c->slot >= v.place.servers)
			return MCSHM_EROSTER;
		put(s, size, &ours, sizeof ours);
		return MCSHM_OK;
	}
	return reader_failed(m);
}

static uint64_t
heartbeat_age(const struct mcshm *m)
{
	const uint64_t beat = mcshm_read_begin(
	    reader_base(m) + READER_HEADER(heartbeat));
	const uint64_t now = m->clock();

	return beat < now ? now - beat : 0;
}

static void
load_status(const struct mcshm *m, const struct reader_view *v, uint64_t g,
    bool stale, struct mcshm_status *st)
{
	*st = (struct mcshm_status){
		.roster = v->roster,
		.generation = g,
		.heartbeat_age = heartbeat_age(m),
		.servers = v->place.servers,
		.usable = v->place.blind ? v->ready : v->usable,
		.stale = stale,
		.fail_open = (v->flags & MCSHM_SECTION_FAIL_OPEN) != 0,
		.rebooted = reader_is_rebooted(m),
		.pid = (int64_t)reader_load(m, READER_HEADER(pid)),
	};
}

static int
snapshot_try(const struct mcshm *m, struct mcshm_state *v, size_t n,
    size_t size, struct mcshm_status *st)
{
	const uint64_t g = mcshm_read_begin(reader_generation(m));
	struct reader_view view;
	bool stale;

	if (g == 0)
		return reader_failed(m);
	reader_view(m, g, &view);
	stale = reader_is_stale(m);
	view.place.blind = view.superseded || stale;
	load_states(m, &view, v, n, size);
	load_status(m, &view, g, stale, st);
	return mcshm_read_ok(reader_generation(m), g) ?
	    (int)view.place.servers : MCSHM_EAGAIN;
}

/* What only system calls can tell. */
static void
ask_status(struct mcshm *m, struct mcshm_status *st)
{
	const int alive = reader_alive(m);

	/* Who can not be asked is alive as long as its heart beats. */
	st->alive = alive >= 0 ? alive > 0 : !st->stale;
	st->hung = st->alive && st->stale && !st->rebooted;
	st->follow_error =
	    atomic_load_explicit(&m->follow_error, memory_order_relaxed);
	st->superseded = st->generation != 0 && st->follow_error != 0;
}

int
mcshm_snapshot(struct mcshm *m, struct mcshm_state *v, size_t n,
    size_t size_of_one, struct mcshm_status *st, size_t st_size)
{
	struct mcshm_status ours = { .generation = 0 };
	int got = MCSHM_EAGAIN;

	if (m == NULL || (n > 0 && (v == NULL || size_of_one == 0)))
		return MCSHM_EINVAL;
	if (st != NULL && !(m->flags & MCSHM_NOFOLLOW))
		reader_follow_now(m);
	else
		reader_catch_up(m);
	for (int t = 0; t < MCSHM_TRIES_READ && got == MCSHM_EAGAIN; t++)
		got = snapshot_try(m, v, n, size_of_one, &ours);
	if (st != NULL) {
		ask_status(m, &ours);
		put(st, st_size, &ours, sizeof ours);
	}
	return got;
}

/* Waiting ----------------------------------------------------------------- */

/*
 * Sleep while the low half is that of g, for ns at most.  0, or an errno.
 * Shared, not private: the writer is another process.  The kernel's timespec
 * for this call is two longs on every machine.
 */
static int
futex_wait(const struct mcshm *m, uint64_t g, uint64_t ns)
{
	const struct {
		long seconds, ns;
	} t = { (long)(ns / READER_SECOND), (long)(ns % READER_SECOND) };

	if (syscall(SYS_futex, mcshm_generation_low(reader_generation(m)),
		FUTEX_WAIT, (uint32_t)g, &t, NULL, 0) == 0)
		return 0;
	return errno;
}

/* When nobody has woken us: whether the path leads to another file that the
 * caller has to go on to by mcshm_refresh(); else we do. */
static bool
must_refresh(struct mcshm *m)
{
	if (m->flags & MCSHM_NOFOLLOW)
		return reader_is_replaced(m);
	reader_look(m);
	return false;
}

/* Nobody can wake those who wait for a first file: they look. */
static uint64_t
nap(uint64_t now, uint64_t left)
{
	const uint64_t most = now != 0 ? READER_SECOND : FIRST_AGAIN;

	return left < most ? left : most;
}

int
mcshm_wait(struct mcshm *m, uint64_t generation, uint64_t timeout_ns,
    uint64_t *now)
{
	uint64_t began, spent = 0;
	bool changed = false;

	if (m == NULL || now == NULL)
		return MCSHM_EINVAL;
	began = m->clock();
	for (;;) {
		uint64_t left;

		reader_catch_up(m);
		*now = mcshm_read_begin(reader_generation(m));
		if ((*now != 0 && *now != generation) || changed)
			return 1;
		if (timeout_ns != UINT64_MAX && spent >= timeout_ns)
			return *now != 0 ? 0 : MCSHM_ENOENT;
		left = timeout_ns == UINT64_MAX ? timeout_ns :
		    timeout_ns - spent;
		if (futex_wait(m, *now, nap(*now, left)) == EINTR)
			return 0;
		changed = must_refresh(m);
		spent = m->clock() - began;
	}
}
