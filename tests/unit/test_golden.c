/*
 * test_golden.c - files of version 1, kept for ever in tests/golden.
 *
 *	v1-NAME.mcshm	made by the writer that this version began with
 *	v1-NAME.answers	what the library says of it
 *	v1-NAME.json	what mc-shmdump says of it
 *
 * All later versions have to read them the same way, attach to them, and write
 * no field elsewhere.  They are never made again: a test that fails here has
 * found a change of the format.
 *
 * What a writer takes from the world (random numbers, its pid, the boot id) is
 * fixed below, so that it can be asked for the same files again.
 *
 *	test_golden make DIR	makes files and answers of today, in DIR
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "dump_json.h"
#include "publish.h"
#include "reader.h"

#define GOLDEN "tests/golden"
#define BOOT (1000 * READER_SECOND)
#define REAL UINT64_C(1750000000000000000)
#define TEXT_MAX 65536

/* Later ones are small, and say more in their headers. */
static const struct golden {
	const char *name;
	struct scheme_setting set;
	uint32_t servers, keys;
	uint32_t dead, failover_ttl;
} goldens[] = {
	{ "maglev", { MCSHM_SCHEME_MAGLEV, MCSHM_HASH_XXH3, MCSHM_HASH_XXH3,
	  0, 0 }, 10, 200, MCSHM_DEAD_REHASH, 0 },
	{ "modula", { MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	  MCSHM_HASH_ONE_AT_A_TIME, MCSHM_HASH_ONE_AT_A_TIME, 0, 0 },
	  10, 200, MCSHM_DEAD_REHASH, 0 },
	{ "ketama", { MCSHM_SCHEME_LIBMEMCACHED_KETAMA, MCSHM_HASH_MD5,
	  MCSHM_HASH_ONE_AT_A_TIME, MCSHM_HASH_UNSIGNED, 0 },
	  4, 60, MCSHM_DEAD_REHASH, 60 },
	{ "ketama-weighted", { MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED,
	  MCSHM_HASH_MD5, MCSHM_HASH_MD5, 0, 0 },
	  4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "virtual-bucket", { MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET,
	  MCSHM_HASH_MURMUR, MCSHM_HASH_MURMUR, 0, 0 },
	  4, 60, MCSHM_DEAD_MISS, 0 },
	{ "twemproxy-ketama", { MCSHM_SCHEME_TWEMPROXY_KETAMA,
	  MCSHM_HASH_FNV1A_64, MCSHM_HASH_MD5, 0, '{' | '}' << 8 },
	  4, 60, MCSHM_DEAD_REHASH, 3600 },
	{ "twemproxy-modula", { MCSHM_SCHEME_TWEMPROXY_MODULA,
	  MCSHM_HASH_CRC16, MCSHM_HASH_CRC16, 0, 0 },
	  4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "cache-memcached", { MCSHM_SCHEME_CACHE_MEMCACHED, MCSHM_HASH_CRC,
	  MCSHM_HASH_CRC, 0, 0 }, 4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "python-memcached", { MCSHM_SCHEME_PYTHON_MEMCACHED, MCSHM_HASH_CRC,
	  MCSHM_HASH_CRC, 0, 0 }, 4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "pymemcache-rendezvous", { MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS,
	  MCSHM_HASH_MURMUR3_ZERO, MCSHM_HASH_MURMUR3_ZERO, 0, 0 },
	  4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "pymemcache-rendezvous-bytes", {
	  MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES, MCSHM_HASH_MURMUR3_ZERO,
	  MCSHM_HASH_MURMUR3_ZERO, 0, 0 }, 4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "php-memcache-standard", { MCSHM_SCHEME_PHP_MEMCACHE_STANDARD,
	  MCSHM_HASH_FNV1A_32, MCSHM_HASH_FNV1A_32, 0, 0 },
	  4, 60, MCSHM_DEAD_REHASH, 0 },
	{ "php-memcache-consistent", { MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT,
	  MCSHM_HASH_CRC32A, MCSHM_HASH_CRC32A, 0, 0 },
	  4, 60, MCSHM_DEAD_ERROR, 0 },
	{ "dalli", { MCSHM_SCHEME_DALLI, MCSHM_HASH_CRC32A, MCSHM_HASH_SHA1,
	  0, 0 }, 4, 60, MCSHM_DEAD_REHASH, 0 },
};
#define GOLDENS (sizeof goldens / sizeof *goldens)

static const uint16_t map[8] = { 0, 1, 2, 3, 3, 1, 0, 2 };
static const uint64_t boot_id[2] = { 0x0123456789abcdef, 0xfedcba9876543210 };
static const struct publish_time now = { BOOT, REAL };
static const struct publish_about about = { .version = "0.1.0",
	.host = "golden", .config = "/etc/mc-checkerd/mc-checkerd.ini",
	.config_loaded = REAL - 1 };

/* The world, as it was ---------------------------------------------------- */

static uint64_t random_state;

ssize_t
getrandom(void *to, size_t size, unsigned flags)
{
	(void)flags;
	for (size_t i = 0; i < size; i++) {
		random_state = random_state * UINT64_C(6364136223846793005) +
		    UINT64_C(1442695040888963407);
		((unsigned char *)to)[i] = (unsigned char)(random_state >> 56);
	}
	return (ssize_t)size;
}

pid_t
getpid(void)
{
	return 4711;
}

void
mcshm_boot_id(uint64_t id[2])
{
	memcpy(id, boot_id, sizeof boot_id);
}

static uint64_t clock_now;

static uint64_t
clock_of_reader(void)
{
	return clock_now;
}

/* What the files are about ------------------------------------------------ */

static const struct {
	const char *name, *address;
	uint32_t weight, admin, state, reason;
	uint64_t history, proof, wrong, seen, probes;
} facts[] = {
	{ "alpha", "10.0.0.1:11211", 1, MCSHM_READY, MCSHM_UP, 0,
	  UINT64_MAX, 0, 0, UINT64_MAX, 86400 },
	{ "beta", "10.0.0.2:11211", 3, MCSHM_READY, MCSHM_DOWN,
	  MCSHM_R_REFUSED, UINT64_C(0xfffffffffffffff8), 7, 0, 0, 86401 },
	{ "", "10.0.0.3:11212", 1, MCSHM_READY, MCSHM_HELD, MCSHM_R_TIMEOUT,
	  UINT64_C(0xffffffffffffff0c), 0x30, 0x20, 3, 70 },
	{ "delta", "[2001:db8::4]:11211", 2, MCSHM_READY, MCSHM_UP,
	  MCSHM_R_GARBAGE, UINT64_C(0xfffffffffffffffe), 1, 1, 1, 64 },
	{ "epsilon", "cache05.example.net:11211", 1, MCSHM_READY,
	  MCSHM_UNKNOWN, MCSHM_R_UNRESOLVED, 0, 0, 0, 0, 0 },
	{ "zeta", "unix:/run/memcached/6.sock", 1, MCSHM_READY, MCSHM_UP, 0,
	  0x15, 0xa, 0, 0x1f, 5 },
	{ "eta", "cache07.example.net:11211", 10, MCSHM_READY, MCSHM_UP, 0,
	  0x7, 0, 0, 0x7, 3 },
	{ "theta", "10.0.0.8:11211", 1, MCSHM_DRAIN, MCSHM_UP, 0, 1, 0, 0, 1,
	  1 },
	{ "iota", "10.0.0.9:11211", 1, MCSHM_MAINT, MCSHM_UNKNOWN, 0, 0, 0, 0,
	  0, 0 },
	{ "", "cache10.example.net:11299", 1, MCSHM_READY, MCSHM_DOWN,
	  MCSHM_R_CONNECT_TIMEOUT, 0, 0, 0, 0, UINT64_C(1) << 40 },
};
#define SERVERS ((uint32_t)(sizeof facts / sizeof *facts))

static struct publish_roster
roster(const struct golden *of)
{
	struct publish_roster r = { .stale_after = 30 * READER_SECOND,
		.set = of->set, .dead = of->dead,
		.failover_ttl = of->failover_ttl };

	if (scheme_takes_map(of->set.scheme)) {
		r.maps = sizeof map / sizeof *map;
		r.map = malloc(sizeof map);
		memcpy(r.map, map, sizeof map);
	}
	snprintf(r.pool, sizeof r.pool, "%s", of->name);
	for (uint32_t i = 0; i < of->servers; i++) {
		struct server s = { .weight = facts[i].weight,
			.admin = facts[i].admin };

		strcpy(s.name, facts[i].name);
		assert_null(address_parse(&s.address, facts[i].address));
		assert_int_equal(servers_add(&r.servers, &s), 0);
	}
	return r;
}

/* eta: two addresses that were resolved, one of them link-local. */
static void
resolve(struct publish_entry *e)
{
	static const uint8_t link_local[16] = { 0xfe, 0x80, [15] = 7 };

	e->addresses = 2;
	e->address[0] = (struct mcshm_address){ MCSHM_KIND_IPV6, 11211, 3,
		{ 0 } };
	memcpy(e->address[0].ip, link_local, sizeof link_local);
	e->address[1] = (struct mcshm_address){ MCSHM_KIND_IPV4, 11211, 0,
		{ 10, 0, 0, 7 } };
}

static struct publish_entry
entry(const struct publish_roster *r, uint32_t i)
{
	const uint64_t t = BOOT - (i + 1) * READER_SECOND;
	struct publish_entry e = { .admin = facts[i].admin,
		.reason = facts[i].reason, .result = facts[i].reason,
		.checked = t + 1, .began = t + 2, .good_began = t + 3,
		.rtt_us = 100 + i, .rtt_avg_us = 200 + i, .rtt_max_us = 300 + i,
		.failures = 5 * i, .local_errors = 6 * i, .transitions = 7 * i,
		.server_version = "1.6.18" };

	e.verdict = (struct verdict){ .state = facts[i].state,
		.probes = facts[i].probes, .history = facts[i].history,
		.proof = facts[i].proof, .wrong = facts[i].wrong,
		.seen = facts[i].seen, .since = t - 1, .down_since = t - 2,
		.back_since = t - 3, .silent_since = t - 4 };
	e.addresses = address_literal(&r->servers.v[i].address, &e.address[0]);
	if (strcmp(facts[i].name, "eta") == 0)
		resolve(&e);
	return e;
}

/* The writer -------------------------------------------------------------- */

static uint64_t
generation(const char *path)
{
	const int fd = open(path, O_RDONLY);
	uint64_t g = 0;

	assert_int_equal(pread(fd, &g, sizeof g,
	    offsetof(struct mcshm_header, generation)), sizeof g);
	close(fd);
	return g;
}

/* Ten seconds at most; what comes then says what is wrong. */
static void
wait_for(const char *path, uint64_t g)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	for (int i = 0; i < 10000 && generation(path) != g; i++)
		nanosleep(&ms, NULL);
	assert_int_equal(generation(path), g);
}

static struct publish *
open_file(const char *path, const struct publish_roster *r)
{
	struct publish_trouble t;
	struct publish *p = NULL;

	if (publish_open(&p, path, r, &about, now, &t) != 0)
		fail_msg("%s: %s", t.what, strerror(t.error));
	return p;
}

/* All facts, with the next generation; one of them wrong in the one before, so
 * that the two sections differ. */
static void
publish_facts(struct publish *p, const struct publish_roster *r,
    const char *path, bool all)
{
	const uint64_t g = generation(path);

	for (uint32_t i = 0; i < r->servers.n; i++) {
		struct publish_entry e = entry(r, i);

		if (!all && i == 0)
			e.verdict.state = MCSHM_DOWN;
		publish_set(p, i, &e);
	}
	publish_flags(p, MCSHM_SECTION_SWEPT);
	publish_faults(p, 3, 1);
	publish_now(p);
	wait_for(path, g + 1);
}

static void
make(const struct golden *of, const char *path)
{
	struct publish_roster r = roster(of);
	struct publish *p;
	uint64_t g;

	random_state = (uint64_t)of->name[1] | (of->servers < SERVERS ?
	    (uint64_t)of->set.scheme << 8 : 0);
	p = open_file(path, &r);
	g = generation(path);
	assert_int_equal(publish_start(p), 0);
	wait_for(path, g + 1);		/* what it begins with */
	publish_facts(p, &r, path, false);
	publish_facts(p, &r, path, true);
	publish_close(p);
	publish_roster_free(&r);
}

/* Answers ----------------------------------------------------------------- */

static size_t
key(char k[300], uint32_t i, const struct golden *of)
{
	const bool tag = of->servers < SERVERS && i % 5 == 3;
	const bool latin = of->servers < SERVERS && i % 5 == 4;

	if (i > 2 && tag)
		return (size_t)snprintf(k, 300, "page:{user:%u}:%u", i / 10,
		    i);
	if (i > 2 && latin)
		return (size_t)snprintf(k, 300, "caf\xc3\xa9:%u", i);
	switch (i) {
	case 0:
		return 0;
	case 1:
		memset(k, 0xff, 250);
		return 250;
	case 2:
		memcpy(k, "a\0b\r\n", 5);
		return 5;
	default:
		return (size_t)snprintf(k, 300, "user:%u%s", i,
		    i % 7 == 0 ? ":profile:picture:large:version:3:tiles" : "");
	}
}

static void
say_picks(FILE *out, struct mcshm *m, const struct golden *of)
{
	for (uint32_t i = 0; i < of->keys; i++) {
		struct mcshm_choice c;
		char k[300];
		const size_t len = key(k, i, of);
		const int err = mcshm_pick(m, k, len, &c);

		fprintf(out, "pick %u: %d slot %u home %u tries %u flags %u "
		    "ttl %u roster %llx\n", i, err, c.slot, c.home, c.tries,
		    c.flags, c.failover_ttl, (unsigned long long)c.roster);
	}
}

static void
say_servers(FILE *out, struct mcshm *m)
{
	struct mcshm_server v[SERVERS];
	const int n = mcshm_servers(m, v, SERVERS, sizeof *v, NULL);

	fprintf(out, "servers %d\n", n);
	for (int i = 0; i < n; i++) {
		const unsigned char *a = (const unsigned char *)&v[i].addr;

		fprintf(out, "server %u weight %u name %s addr ", v[i].slot,
		    v[i].weight, v[i].name);
		for (socklen_t b = 0; b < v[i].addrlen; b++)
			fprintf(out, "%02x", a[b]);
		fprintf(out, "\n");
	}
}

#define LL(x) (unsigned long long)(x)

static void
say_states(FILE *out, struct mcshm *m)
{
	struct mcshm_state v[SERVERS];
	struct mcshm_status st;
	const int n = mcshm_snapshot(m, v, SERVERS, sizeof *v, &st, sizeof st);

	fprintf(out, "status %d roster %llx generation %llu age %llu servers "
	    "%u usable %u alive %d hung %d stale %d fail_open %d rebooted %d "
	    "superseded %d error %d pid %lld\n", n, LL(st.roster),
	    LL(st.generation), LL(st.heartbeat_age), st.servers, st.usable,
	    st.alive, st.hung, st.stale, st.fail_open, st.rebooted,
	    st.superseded, st.follow_error, (long long)st.pid);
	for (int i = 0; i < n; i++)
		fprintf(out, "state %d verdict %u admin %u usable %u held %u "
		    "reason %u degraded %llx history %llx proof %llx wrong "
		    "%llx seen %llx since %llu checked %llu probes %llu "
		    "failures %llu rtt %u\n", i, v[i].verdict, v[i].admin,
		    v[i].usable, v[i].held, v[i].reason, LL(v[i].degraded),
		    LL(v[i].history), LL(v[i].proof), LL(v[i].wrong),
		    LL(v[i].seen), LL(v[i].since), LL(v[i].checked),
		    LL(v[i].probes), LL(v[i].failures), v[i].rtt_us);
}

/* By a handle for which the file is so old; another boot id: rebooted. */
static void
say_at(FILE *out, const struct golden *of, const char *path, const char *when,
    uint64_t age, bool rebooted)
{
	struct mcshm *m = NULL;
	const int err = mcshm_open(&m, path, 0);

	fprintf(out, "open %d: %s\n", err, when);
	if (err != 0)
		return;
	m->clock = clock_of_reader;
	m->boot_id[0] ^= rebooted;
	clock_now = BOOT + age;
	say_picks(out, m, of);
	say_servers(out, m);
	say_states(out, m);
	mcshm_close(m);
}

static char *
answers(const struct golden *of, const char *path)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	say_at(out, of, path, "fresh", READER_SECOND, false);
	say_at(out, of, path, "stale", 31 * READER_SECOND, false);
	say_at(out, of, path, "rebooted", READER_SECOND, true);
	fclose(out);
	return text;
}

/* As mc-shmdump --json --verify --key does it, ten seconds later. */
static char *
json(const struct golden *of, const char *path)
{
	struct dump_time t = { .boot = BOOT + 10 * READER_SECOND,
		.real = REAL + 10 * READER_SECOND };
	struct dump_json *j = dump_json_begin("golden");
	struct dump_keys k = { 0 };
	struct dump_trouble trouble;
	struct dump_parts parts;
	struct dump_file f;
	struct dump_pool p;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	memcpy(t.boot_id, boot_id, sizeof boot_id);
	for (uint32_t i = 3; i < 23; i++) {
		char bytes[300];
		const size_t len = key(bytes, i, of);

		assert_int_equal(dump_keys_add(&k, bytes, len), 0);
	}
	if (dump_file_read(&f, path, &trouble) != 0)
		fail_msg("%s", trouble.text);
	parts = dump_check_parts(&f);
	assert_false(dump_check_damage(&f, &parts, &trouble));
	assert_int_equal(dump_pool_init(&p, &f, t), 0);
	dump_json_pool(j, &p, NULL, &k, &parts, NULL);
	assert_int_equal(dump_json_end(j, out, dump_pool_exit(&p)), 0);
	fclose(out);
	dump_pool_free(&p);
	dump_file_free(&f);
	dump_keys_free(&k);
	return text;
}

/* Files ------------------------------------------------------------------- */

static char *
slurp(const char *path, size_t *size)
{
	char *p = calloc(1, 1u << 20);
	FILE *f = fopen(path, "re");

	if (f == NULL)
		fail_msg("%s: %s", path, strerror(errno));
	*size = fread(p, 1, (1u << 20) - 1, f);
	fclose(f);
	return p;
}

static void
spill(const char *path, const void *p, size_t size)
{
	FILE *f = fopen(path, "wxe");

	if (f == NULL || fwrite(p, 1, size, f) != size || fclose(f) != 0)
		fail_msg("%s: %s", path, strerror(errno));
}

static const char *
golden(char path[100], const char *name, const char *kind)
{
	snprintf(path, 100, GOLDEN "/v1-%s.%s", name, kind);
	return path;
}

struct copy {
	char dir[64], path[96];
};

static struct copy
copy_make(void)
{
	struct copy c = { .dir = "/tmp/test_golden.XXXXXX" };

	if (mkdtemp(c.dir) == NULL || chmod(c.dir, 0755) != 0)
		fail_msg("%s: %s", c.dir, strerror(errno));
	snprintf(c.path, sizeof c.path, "%s/web.mcshm", c.dir);
	return c;
}

static void
copy_remove(const struct copy *c)
{
	unlink(c->path);
	assert_int_equal(rmdir(c->dir), 0);
}

/* Tests ------------------------------------------------------------------- */

/* The files are of a machine like most.  One of another byte order refuses
 * them, and where pages are larger, writers replace them. */
static bool
is_like_most(void)
{
	const uint32_t one = 1;

	return *(const char *)&one == 1 && sysconf(_SC_PAGESIZE) == 4096;
}

/* The first line in which two texts differ. */
static void
assert_same_lines(const char *want, const char *got)
{
	while (*want != 0 && strncmp(want, got, strcspn(want, "\n") + 1) == 0) {
		const size_t len = strcspn(want, "\n") + 1;

		want += len;
		got += len;
	}
	if (*want != 0 || *got != 0)
		fail_msg("want %.*s\n got %.*s", (int)strcspn(want, "\n"), want,
		    (int)strcspn(got, "\n"), got);
}

/*
 * Who stays at home looks at the clock now and then, and knows then that it is
 * BLIND.  By which bits of a key's hash is no matter of the file: where that is
 * stale, these do not count.
 */
static void
forget_looks(char *text)
{
	static const char home[] = " tries 0 flags 1";

	text = strstr(text, ": stale\n");
	for (; text != NULL && (text = strchr(text, '\n')) != NULL; text++) {
		char *const end = text + 1 + strcspn(text + 1, "\n");
		char *const found = strstr(text, home);
		const char *const good = strstr(text, ": 0 slot ");

		if (good != NULL && found != NULL && good < found &&
		    found < end)
			found[sizeof home - 2] = '0';
	}
}

static void
test_answers(void **state)
{
	(void)state;
	for (size_t i = 0; is_like_most() && i < GOLDENS; i++) {
		char path[100];
		size_t size;
		char *want = slurp(golden(path, goldens[i].name, "answers"),
		    &size);
		char *got = answers(&goldens[i],
		    golden(path, goldens[i].name, "mcshm"));

		forget_looks(want);
		forget_looks(got);
		assert_same_lines(want, got);
		free(got);
		free(want);
	}
}

/* All that was said is still said; there may be more now. */
static void
assert_holds(const json_t *want, const json_t *got, const char *where)
{
	const char *name;
	json_t *value;
	size_t i;

	if (json_is_object(want)) {
		json_object_foreach((json_t *)(uintptr_t)want, name, value)
			assert_holds(value, json_object_get(got, name), name);
	} else if (json_is_array(want)) {
		if (json_array_size(want) != json_array_size(got))
			fail_msg("%s: other elements", where);
		json_array_foreach(want, i, value)
			assert_holds(value, json_array_get(got, i), where);
	} else if (!json_equal(want, got)) {
		fail_msg("%s: want %s, got %s", where,
		    json_dumps(want, JSON_ENCODE_ANY),
		    got ? json_dumps(got, JSON_ENCODE_ANY) : "nothing");
	}
}

static void
test_json(void **state)
{
	(void)state;
	for (size_t i = 0; is_like_most() && i < GOLDENS; i++) {
		char path[100];
		json_t *want = json_load_file(golden(path, goldens[i].name,
		    "json"), 0, NULL);
		char *text = json(&goldens[i],
		    golden(path, goldens[i].name, "mcshm"));
		json_t *got = json_loads(text, 0, NULL);

		assert_non_null(want);
		assert_non_null(got);
		assert_holds(want, got, "document");
		json_decref(got);
		json_decref(want);
		free(text);
	}
}

static void
copy_file(const char *name, const char *to)
{
	char path[100];
	size_t size;
	char *p = slurp(golden(path, name, "mcshm"), &size);

	spill(to, p, size);
	free(p);
}

static uint64_t
word(const void *p, size_t off)
{
	uint64_t w;

	memcpy(&w, (const char *)p + off, sizeof w);
	return w;
}

/* Entries and bitmaps of the active sections of two files; only the spare words
 * may have a meaning now. */
static void
assert_same_section(const void *a, const void *b)
{
	const struct mcshm_header *h = a;
	const uint64_t from = h->section_off[h->generation & 1];
	const uint64_t to = h->section_off[
	    ((const struct mcshm_header *)b)->generation & 1];

	for (uint64_t at = h->bitmap_off; at < h->section_size; at += 8)
		if (word(a, from + at) != 0 &&
		    word(a, from + at) != word(b, to + at))
			fail_msg("section + %u", (unsigned)at);
}

/* Readers of a file notice nothing of a daemon that was replaced by another. */
static void
test_daemon_attaches(void **state)
{
	(void)state;
	for (size_t i = 0; is_like_most() && i < GOLDENS; i++) {
		struct copy c = copy_make();
		struct publish_roster r = roster(&goldens[i]);
		struct publish *p;
		struct stat before, after;
		size_t size;
		uint64_t g;
		char *a, *b;

		copy_file(goldens[i].name, c.path);
		a = slurp(c.path, &size);
		g = generation(c.path);
		assert_int_equal(stat(c.path, &before), 0);
		p = open_file(c.path, &r);
		assert_true(publish_left(p)->kept);
		assert_non_null(publish_left(p)->entry);
		for (uint32_t s = 0; s < goldens[i].servers; s++)
			assert_int_equal(publish_left(p)->entry[s]
			    .verdict.state, facts[s].state);
		assert_int_equal(publish_start(p), 0);
		wait_for(c.path, g + 1);
		publish_close(p);
		assert_int_equal(stat(c.path, &after), 0);
		assert_int_equal(after.st_ino, before.st_ino);
		b = slurp(c.path, &size);
		assert_same_section(a, b);
		free(a);
		free(b);
		publish_roster_free(&r);
		copy_remove(&c);
	}
}

/* Of sums, which cover what may have a meaning now; of beats, which follow the
 * thread's turns. */
static bool
is_sum(const struct mcshm_header *h, size_t off)
{
	return off == offsetof(struct mcshm_header, beats) ||
	    off == offsetof(struct mcshm_header, header_sum) ||
	    off == offsetof(struct mcshm_header, roster_sum) ||
	    off == h->section_off[0] + offsetof(struct mcshm_section, sum) ||
	    off == h->section_off[1] + offsetof(struct mcshm_section, sum);
}

/* Where the first writer wrote something, today's writes the same. */
static void
test_writer(void **state)
{
	(void)state;
	for (size_t i = 0; is_like_most() && i < GOLDENS; i++) {
		struct copy c = copy_make();
		char path[100];
		size_t size, size2;
		char *want = slurp(golden(path, goldens[i].name, "mcshm"),
		    &size);
		char *got;

		make(&goldens[i], c.path);
		got = slurp(c.path, &size2);
		assert_int_equal(size2, size);
		for (size_t at = 0; at < size; at += 8)
			if (word(want, at) != 0 &&
			    !is_sum((const void *)want, at) &&
			    word(got, at) != word(want, at))
				fail_msg("%s + %zu: want %llx, got %llx", path,
				    at, LL(word(want, at)), LL(word(got, at)));
		free(got);
		free(want);
		copy_remove(&c);
	}
}

/* Once: the files that are to be kept. */
static void
make_one(const struct golden *of, const char *dir)
{
	char path[300], *text;

	snprintf(path, sizeof path, "%s/v1-%s.mcshm", dir, of->name);
	make(of, path);
	text = json(of, path);
	snprintf(path, sizeof path, "%s/v1-%s.json", dir, of->name);
	spill(path, text, strlen(text));
	free(text);
	snprintf(path, sizeof path, "%s/v1-%s.mcshm", dir, of->name);
	text = answers(of, path);
	snprintf(path, sizeof path, "%s/v1-%s.answers", dir, of->name);
	spill(path, text, strlen(text));
	free(text);
}

static int
make_all(const char *dir)
{
	for (size_t i = 0; i < GOLDENS; i++)
		make_one(&goldens[i], dir);
	return 0;
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_daemon_attaches),
		cmocka_unit_test(test_writer),
	};

	if (argc == 3 && strcmp(argv[1], "make") == 0)
		return make_all(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
