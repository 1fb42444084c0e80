/*
 * hostile_attach.c - the daemon finds such a file at its path.
 *
 * It attaches, or puts a new one in its place, or says that this is none of its
 * own.  In the first two cases clients have a file that they can believe, those
 * who had the old one go on to it, and nothing else is left in the directory.
 */
#include "hostile_family.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"
#include "publish.h"

static struct publish_time
now(void)
{
	struct timespec r;

	clock_gettime(CLOCK_REALTIME, &r);
	return (struct publish_time){ .boot = mkfile_boottime(),
		.real = (uint64_t)r.tv_sec * 1000000000 +
		    (uint64_t)r.tv_nsec };
}

#define SERVERS 3u

static struct publish_roster
roster(uint32_t scheme)
{
	const uint32_t hash = scheme_default_hash(scheme);
	struct publish_roster r = { .pool = "web",
		.set = { .scheme = scheme, .hash = hash,
		    .points_hash = scheme_default_points_hash(scheme, hash) },
		.stale_after = UINT64_C(30000000000) };

	for (uint32_t i = 0; i < SERVERS; i++) {
		struct server s = { .weight = 1 };

		snprintf(s.name, sizeof s.name, "s%u", i);
		s.address.kind = MCSHM_KIND_IPV4;
		s.address.port = 11211;
		snprintf(s.address.host, sizeof s.address.host, "10.1.0.%u",
		    i + 1);
		must(servers_add(&r.servers, &s) == 0, "no memory");
	}
	return r;
}

static int
attach(struct publish **p, const char *path, const struct publish_roster *r)
{
	static const struct publish_about about = { .version = "1",
		.host = "h", .config = "c" };
	struct publish_trouble t;

	*p = NULL;
	if (publish_open(p, path, r, &about, now(), &t) == 0)
		return 0;
	must(t.error != 0 && strlen(t.what) > 0, "fails, and does not say why");
	return t.error;
}

/* All that is left is the file. */
static void
check_directory(const char *dir, unsigned want)
{
	DIR *d = opendir(dir);
	unsigned n = 0;
	const struct dirent *de;

	must(d != NULL, "opendir");
	while ((de = readdir(d)) != NULL)
		n += strcmp(de->d_name, ".") != 0 &&
		    strcmp(de->d_name, "..") != 0;
	closedir(d);
	must(n == want, "%u files in the directory, not %u", n, want);
}

/* A client opens it, and sees what a daemon has just said. */
static void
check_new(const char *path)
{
	struct mcshm_state v[SERVERS];
	struct mcshm_status st;
	struct mcshm *m = NULL;
	int err = mcshm_open(&m, path, 0);

	must(err == 0, "clients can not open it: %d", err);
	err = mcshm_snapshot(m, v, SERVERS, sizeof *v, &st, sizeof st);
	must(err == (int)SERVERS, "snapshot says %d", err);
	must(st.alive && !st.stale && !st.rebooted && !st.superseded,
	    "alive %d stale %d rebooted %d superseded %d", st.alive, st.stale,
	    st.rebooted, st.superseded);
	for (unsigned i = 0; i < SERVERS; i++)
		must(v[i].verdict <= MCSHM_DOWN, "verdict %u", v[i].verdict);
	mcshm_close(m);
}

/* So many generations later it is still what it was. */
static void
check_goes_on(struct publish *p, struct mcshm *m)
{
	struct mcshm_status a, b;
	struct publish_entry e = { .verdict = verdict_init(1) };

	e.verdict.state = MCSHM_DOWN;
	must(mcshm_snapshot(m, NULL, 0, 0, &a, sizeof a) >= 0, "snapshot");
	for (unsigned i = 0; i < 12; i++) {
		const struct timespec ms = { .tv_nsec = 200000 };

		publish_set(p, i % SERVERS, &e);
		publish_now(p);
		b = a;
		while (b.generation == a.generation) {
			must(mcshm_snapshot(m, NULL, 0, 0, &b, sizeof b) >= 0,
			    "snapshot");
			must(!b.superseded, "superseded by nobody");
			if (b.generation == a.generation)
				nanosleep(&ms, NULL);
		}
		a = b;
	}
	must(b.usable == 0, "%u usable", b.usable);
}

/* Who had it open, and only picks, is where those are who open it now. */
static void
check_picks(const char *path, struct mcshm *m)
{
	struct mcshm *fresh = NULL;
	struct mcshm_choice a, b;

	must(mcshm_open(&fresh, path, 0) == 0, "open");
	mcshm_pick(fresh, "k", 1, &a);
	mcshm_pick(m, "k", 1, &b);
	must(a.roster == b.roster, "who only picks has another file");
	mcshm_close(fresh);
}

/* m: a client that had the file open before, or NULL. */
static void
check_readers(struct publish *p, const char *path, struct mcshm *m)
{
	struct mcshm *fresh = NULL;

	check_new(path);
	if (m != NULL) {
		struct mcshm_status st;

		check_picks(path, m);
		must(mcshm_refresh(m) >= 0, "who had it open can not go on");
		must(mcshm_snapshot(m, NULL, 0, 0, &st, sizeof st) ==
		    (int)SERVERS && st.alive && !st.stale,
		    "who had it open has something else");
	}
	must(mcshm_open(&fresh, path, 0) == 0, "open");
	check_goes_on(p, fresh);
	mcshm_close(fresh);
}

/* It was made for other servers: readers go on to a new one. */
static void
exchange(struct publish *p)
{
	struct publish_event ev = { .kind = PUBLISH_WORKS };

	publish_exchange(p);
	for (unsigned i = 0; ev.kind != PUBLISH_EXCHANGED; i++) {
		const struct timespec ms = { .tv_nsec = 1000000 };

		must(i < 60000, "no exchange");
		publish_beat(p, now());
		if (publish_event(p, &ev))
			must(ev.kind != PUBLISH_FAILED, "%s", ev.what);
		else
			nanosleep(&ms, NULL);
	}
}

/* Somebody's file is at the path. */
static void
found(const struct hostile_plan *plan, const struct publish_roster *r)
{
	struct mcshm *m = NULL;
	struct publish *p;
	struct stat before, after;
	int err;

	must(stat(plan->path, &before) == 0, "stat");
	mcshm_open(&m, plan->path, 0);
	err = attach(&p, plan->path, r);
	if (err == 0) {
		err = publish_start(p);
		must(err == 0, "publish_start says %d", err);
		if (!publish_left(p)->kept)
			exchange(p);
		check_readers(p, plan->path, m);
		publish_close(p);
	} else {
		must(err == EEXIST, "publish_open says %d", err);
		must(stat(plan->path, &after) == 0 &&
		    after.st_ino == before.st_ino &&
		    after.st_size == before.st_size,
		    "what is not its own is gone");
	}
	mcshm_close(m);
	check_directory(plan->dir, 1);
}

/* One that the daemon made itself, with all servers known, as a text. */
static void
own(struct mkfile *f, const struct hostile_plan *plan,
    const struct publish_roster *r)
{
	struct publish *p;
	FILE *in;

	unlink(plan->path);
	must(attach(&p, plan->path, r) == 0 && publish_start(p) == 0,
	    "no first file");
	publish_close(p);
	mkfile_make(f, r->set.scheme, NULL, SERVERS);
	in = fopen(plan->path, "re");
	must(in != NULL && fread(f->p, 1, f->size, in) == f->size &&
	    fgetc(in) == EOF, "another size than mkfile's");
	fclose(in);
	unlink(plan->path);
}

static void
fields(const struct hostile_plan *plan, const struct publish_roster *r,
    struct mkfile *f)
{
	const struct mcshm_header was = *f->h;
	const uint32_t step = plan_of(plan, 9, 2, 1);
	struct hostile_field field;
	uint64_t v;

	for (unsigned i = 0; hostile_field(&field, i); i++) {
		uint64_t old = 0;

		memcpy(&old, f->p + field.off, field.size);
		for (unsigned j = i % step; hostile_value(&v, old, field.size,
			j); j += step) {
			hostile_case("attach: %s = %#llx", field.name,
			    (unsigned long long)v);
			hostile_set(f, &field, v);
			mkfile_write(f, plan->path, f->size);
			found(plan, r);
			*f->h = was;
		}
	}
}

static void
lengths(const struct hostile_plan *plan, const struct publish_roster *r,
    struct mkfile *f)
{
	const uint32_t step = plan_of(plan, 4001, 331, 7);

	for (size_t len = 0; len < f->size; len += step) {
		hostile_case("attach: cut to %zu bytes", len);
		mkfile_write(f, plan->path, len);
		found(plan, r);
	}
}

static void
flips(const struct hostile_plan *plan, const struct publish_roster *r,
    struct mkfile *f, size_t from)
{
	const uint32_t step = plan_of(plan, 1009, 97, 3);

	for (size_t off = from; off < f->size; off += step) {
		hostile_case("attach: byte %zu", off);
		f->p[off] ^= 0xff;
		mkfile_write(f, plan->path, f->size);
		found(plan, r);
		f->p[off] ^= 0xff;
	}
}

/* One with a ring and its index. */
static void
of_ring(const struct hostile_plan *plan)
{
	struct publish_roster r =
	    roster(MCSHM_SCHEME_LIBMEMCACHED_KETAMA);
	struct mkfile f;

	hostile_case("attach: nothing is there, of a ring");
	own(&f, plan, &r);
	fields(plan, &r, &f);
	flips(plan, &r, &f, f.h->ring_off);
	mkfile_free(&f);
	servers_free(&r.servers);
}

/* Without an end; and as a file that is all right but for that. */
static void
texts(const struct hostile_plan *plan, const struct publish_roster *r,
    const struct mkfile *f)
{
	struct hostile_text t;

	for (unsigned i = 0; hostile_text(&t, i); i++) {
		struct mkfile full;

		hostile_case("attach: %s without an end", t.name);
		mkfile_copy(&full, f);
		hostile_fill(&full, &t, SERVERS - 1, &t.own, 1);
		mkfile_seal(&full);
		mkfile_write(&full, plan->path, full.size);
		found(plan, r);
		mkfile_free(&full);
	}
}

void
family_attach(const struct hostile_plan *plan)
{
	struct publish_roster r = roster(MCSHM_SCHEME_LIBMEMCACHED_MODULA);
	struct mkfile f;

	hostile_case("attach: nothing is there");
	own(&f, plan, &r);
	fields(plan, &r, &f);
	lengths(plan, &r, &f);
	flips(plan, &r, &f, 0);
	texts(plan, &r, &f);
	mkfile_free(&f);
	servers_free(&r.servers);
	if (plan->depth != DEPTH_REDUCED)
		of_ring(plan);
}
