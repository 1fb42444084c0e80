/*
 * step_scene.c - rosters, verdicts, writers and expectations of the scenes.
 *
 * The writers use publish.h as the daemon does, and nothing else.
 */
#include "step_scene.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "publish_image.h"
#include "scheme.h"

#define SECOND UINT64_C(1000000000)

static const struct publish_about about = { .version = "1.2.3",
	.host = "app17", .config = "/etc/x.ini", .config_loaded = 77 };

size_t
scene_key(char key[SCENE_KEY_LEN], unsigned i)
{
	/* Some longer than 16 bytes: another way through pick. */
	return (size_t)snprintf(key, SCENE_KEY_LEN,
	    i % 3 == 2 ? "user:%u:and:some:more" : "user:%u", i);
}

const char *
scene_letters(const struct scene *s, enum stage stage)
{
	return stage == BEFORE ? s->before : s->after;
}

/* By the ini, that is the same in all stages. */
static uint32_t
admin_of(char letter)
{
	return letter == 'e' ? MCSHM_DRAIN : MCSHM_READY;
}

struct publish_roster
scene_roster(const struct scene *s, enum stage stage)
{
	struct publish_roster r = { .pool = "web",
		.set.scheme = s->scheme,
		.set.hash = scheme_default_hash(s->scheme),
		.stale_after = 30 * SECOND };

	r.set.points_hash = scheme_default_points_hash(s->scheme, r.set.hash);
	for (const char *l = scene_letters(s, stage); *l != 0; l++) {
		struct server one = { .admin = admin_of(*l),
			.weight = 1 + (uint32_t)(*l - 'a') % 3 };

		snprintf(one.name, sizeof one.name, "cache-%c", *l);
		one.address.kind = MCSHM_KIND_NAME;
		one.address.port = 11211;
		snprintf(one.address.host, sizeof one.address.host,
		    "%c.example.net", *l);
		if (servers_add(&r.servers, &one) != 0)
			_exit(4);
	}
	return r;
}

/* What is said of a server ------------------------------------------------- */

static uint32_t
verdict_of(char letter, enum stage stage)
{
	static const uint8_t v[STAGES][SCENE_SERVERS] = {
		{ MCSHM_UP, MCSHM_DOWN, MCSHM_HELD, MCSHM_UP, MCSHM_UP,
		  MCSHM_DOWN, MCSHM_UP, MCSHM_UNKNOWN },
		{ MCSHM_DOWN, MCSHM_UP, MCSHM_DOWN, MCSHM_HELD, MCSHM_UP,
		  MCSHM_UP, MCSHM_HELD, MCSHM_UP },
		{ MCSHM_UP, MCSHM_HELD, MCSHM_UP, MCSHM_DOWN, MCSHM_DOWN,
		  MCSHM_UP, MCSHM_UP, MCSHM_DOWN },
	};

	return v[stage][letter - 'a'];
}

/* One server changes its address between the stages, the others keep theirs. */
static struct mcshm_address
address_of(char letter, enum stage stage)
{
	return (struct mcshm_address){ .kind = MCSHM_KIND_IPV4, .port = 11211,
		.ip = { 127, 0, letter == 'd' ? (uint8_t)(stage + 1) : 1,
		    (uint8_t)(letter - 'a' + 1) } };
}

/* Every field has a value of its own, that no other stage has. */
static struct publish_entry
entry_of(char letter, enum stage stage)
{
	const uint64_t n = 1000 * (uint64_t)(stage + 1) +
	    (uint64_t)(letter - 'a') * 100;
	struct publish_entry e = {
		.verdict = { .state = verdict_of(letter, stage),
		    .probes = n + 1, .history = n * 0x9e3779b97f4a7c15,
		    .proof = n * 0xbf58476d1ce4e5b9,
		    .wrong = n * 0x94d049bb133111eb, .seen = ~n,
		    .since = n + 2, .down_since = n + 3, .back_since = n + 4,
		    .silent_since = n + 5 },
		.admin = admin_of(letter),
		.reason = MCSHM_R_REFUSED, .result = MCSHM_R_TIMEOUT,
		.checked = n + 6, .began = n + 7, .good_began = n + 8,
		.rtt_us = (uint32_t)n + 9, .rtt_avg_us = (uint32_t)n + 10,
		.rtt_max_us = (uint32_t)n + 11, .failures = n + 12,
		.local_errors = n + 13, .transitions = n + 14,
		.addresses = 1, .address = { address_of(letter, stage) },
	};

	snprintf(e.server_version, sizeof e.server_version, "1.6.%u",
	    (unsigned)n);
	return e;
}

/* What remakes say is what was said before. */
static enum stage
told(const struct scene *s, enum stage stage)
{
	return stage == AFTER && s->deed >= DEED_REMOVED ? BEFORE : stage;
}

/* Expectations ------------------------------------------------------------- */

static void
expect_server(struct mcshm_server *v, uint32_t slot, char letter,
    enum stage stage)
{
	const struct mcshm_address a = address_of(letter, stage);
	struct sockaddr_in *in = (struct sockaddr_in *)&v->addr;

	v->slot = slot;
	v->weight = 1 + (uint32_t)(letter - 'a') % 3;
	v->addrlen = sizeof *in;
	in->sin_family = AF_INET;
	in->sin_port = htons(a.port);
	memcpy(&in->sin_addr, a.ip, sizeof in->sin_addr);
	snprintf(v->name, sizeof v->name, "cache-%c", letter);
}

static void
expect_state(struct mcshm_state *v, const struct publish_entry *e)
{
	const uint32_t state = e->verdict.state;
	const bool ready = e->admin == MCSHM_READY;

	v->verdict = (uint8_t)state;
	v->admin = (uint8_t)e->admin;
	v->usable = ready && (state == MCSHM_UP || state == MCSHM_UNKNOWN);
	v->held = ready && state == MCSHM_HELD;
	v->reason = e->reason;
	v->history = e->verdict.history;
	v->proof = e->verdict.proof;
	v->wrong = e->verdict.wrong;
	v->seen = e->verdict.seen;
	v->since = e->verdict.since;
	v->checked = e->checked;
	v->probes = e->verdict.probes;
	v->failures = e->failures;
	v->rtt_us = e->rtt_us;
	v->down_since = e->verdict.down_since;
	v->back_since = e->verdict.back_since;
}

/* A file's content in private memory, to pick from by the pure schemes. */
static unsigned char *
image(struct mcshm_header *h, const struct publish_roster *r)
{
	unsigned char *fixed, *p;

	if (image_fixed(&fixed, h, r, 4096) != 0)
		_exit(4);
	p = calloc(1, h->file_size);
	if (p == NULL)
		_exit(4);
	memcpy(p, fixed, image_fixed_size(h));
	free(fixed);
	return p;
}

static void
expect_choices(struct seen *e, const struct scene *s, enum stage stage)
{
	struct publish_roster r = scene_roster(s, stage);
	struct mcshm_header h;
	unsigned char *p = image(&h, &r);
	struct scheme_place place = image_place(p, &h);

	place.bits_off = h.section_off[0] + h.bitmap_off;
	for (uint32_t i = 0; i < r.servers.n; i++) {
		const struct publish_entry one = entry_of(
		    scene_letters(s, stage)[i], told(s, stage));

		image_set(p + h.section_off[0], &h, i, &one);
	}
	for (unsigned i = 0; i < SCENE_KEYS; i++) {
		char key[SCENE_KEY_LEN];
		const size_t len = scene_key(key, i);
		const struct scheme_key k = scheme_key(&r.set, key, len);
		struct scheme_choice c;

		e->err[i] = scheme_pick(&place, &k, &c);
		e->choice[i].slot = c.slot;
		e->choice[i].home = c.home;
		e->choice[i].tries = c.tries;
	}
	servers_free(&r.servers);
	free(p);
}

void
scene_expect(struct seen *e, const struct scene *s, enum stage stage)
{
	const char *letters = scene_letters(s, stage);

	memset(e, 0, sizeof *e);
	e->servers = (int)strlen(letters);
	e->status.servers = (uint32_t)e->servers;
	for (uint32_t i = 0; letters[i] != 0; i++) {
		const struct publish_entry one =
		    entry_of(letters[i], told(s, stage));

		expect_server(&e->server[i], i, letters[i], told(s, stage));
		expect_state(&e->state[i], &one);
		e->status.usable += e->state[i].usable;
	}
	expect_choices(e, s, stage);
}

/* The writer --------------------------------------------------------------- */

static void
say_all(struct publish *p, const struct scene *s, enum stage stage)
{
	const char *letters = scene_letters(s, stage);

	for (uint32_t i = 0; letters[i] != 0; i++) {
		const struct publish_entry e = entry_of(letters[i], stage);

		publish_set(p, i, &e);
	}
}

static void
give_roster(struct publish *p, const struct scene *s)
{
	struct publish_entry e[SCENE_SERVERS];
	struct publish_roster r = scene_roster(s, AFTER);

	for (uint32_t i = 0; i < r.servers.n; i++)
		e[i] = entry_of(s->after[i], AFTER);
	if (publish_roster(p, &r, &about, e) != 0)
		_exit(4);
	servers_free(&r.servers);
	publish_exchange(p);
}

static void
do_deed(struct publish *p, const struct play *play)
{
	switch (play->scene->deed) {
	case DEED_PUBLISH:
		say_all(p, play->scene, AFTER);
		publish_now(p);
		break;
	case DEED_EXCHANGE:
		give_roster(p, play->scene);
		break;
	case DEED_REMOVED:
	case DEED_REPLACED:
		publish_beat(p, play->now);
		break;
	}
}

void
scene_writer(const struct child *c, void *arg)
{
	const struct play *play = arg;
	struct publish_roster r = scene_roster(play->scene, BEFORE);
	struct publish_trouble t;
	struct publish *p;

	if (publish_open(&p, play->path, &r, &about, play->now, &t) != 0) {
		fprintf(stderr, "%s: %s\n", t.what, strerror(t.error));
		_exit(4);
	}
	servers_free(&r.servers);
	/* What is set before the thread starts costs no wake-up: so each
	 * child's thread comes to its first sleep by the same way. */
	say_all(p, play->scene, BEFORE);
	if (publish_start(p) != 0)
		_exit(4);
	child_ready(c);
	do_deed(p, play);
	child_done(c);
	publish_close(p);
}

/* The heir ----------------------------------------------------------------- */

static bool
same_entry(const struct publish_entry *a, const struct publish_entry *b)
{
	const struct scheme_size none = { 1, 0, 0, 0 };
	struct mcshm_header h;
	unsigned char *p;
	bool same;

	if (!image_layout(&h, 1, &none, 4096))
		_exit(4);
	p = calloc(2, h.section_size);
	if (p == NULL)
		_exit(4);
	image_set(p, &h, 0, a);
	image_set(p + h.section_size, &h, 0, b);
	same = memcmp(p, p + h.section_size, h.section_size) == 0;
	free(p);
	return same;
}

static bool
left_is(const struct publish_left *left, const struct scene *s,
    enum stage stage)
{
	struct publish_roster r = scene_roster(s, stage);
	bool same = left->servers.n == r.servers.n;

	for (uint32_t i = 0; same && i < r.servers.n; i++) {
		const struct publish_entry e = entry_of(
		    scene_letters(s, stage)[i], told(s, stage));

		same = server_same(&left->servers.v[i], &r.servers.v[i]) &&
		    same_entry(&left->entry[i], &e);
	}
	servers_free(&r.servers);
	return same;
}

static void
look_what_is_left(struct heir_found *found, const struct publish_left *left,
    const struct scene *s)
{
	found->kept = left->kept;
	found->left = left->entry != NULL;
	for (enum stage stage = BEFORE; found->left && stage <= AFTER; stage++)
		if (left_is(left, s, stage))
			found->stages |= 1u << stage;
}

void
scene_heir(const struct child *c, void *arg)
{
	const struct heir *heir = arg;
	const struct play *play = heir->play;
	struct heir_found *found = heir->found;
	struct publish_roster r = scene_roster(play->scene, HEIR);
	struct publish_trouble t;
	struct publish *p;

	*found = (struct heir_found){ .left = false };
	if (publish_open(&p, play->path, &r, &about, play->now, &t) != 0) {
		snprintf(found->why, sizeof found->why, "%.150s: %s", t.what,
		    strerror(t.error));
		child_ready(c);
		return;
	}
	servers_free(&r.servers);
	look_what_is_left(found, publish_left(p), play->scene);
	child_ready(c);
	if (publish_start(p) != 0)
		_exit(4);
	child_done(c);
	say_all(p, play->scene, HEIR);
	publish_now(p);
	publish_exchange(p);
	publish_close(p);
}
