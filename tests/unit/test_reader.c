/*
 * test_reader.c - handles on files: which are believed, what is picked from
 * them, and how a handle lives through all that happens to a file.
 *
 * Files are mkfile's; time is a variable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <linux/futex.h>
#include <unistd.h>

#include "mkfile.h"
#include "mkplace.h"
#include "reader.h"

#define SECOND UINT64_C(1000000000)
#define MAGLEV MCSHM_SCHEME_MAGLEV
#define MODULA MCSHM_SCHEME_LIBMEMCACHED_MODULA
#define KETAMA MCSHM_SCHEME_LIBMEMCACHED_KETAMA

/* What takes a second takes half a minute under TSan. */
#ifdef __SANITIZE_THREAD__
#define FEWER(n) ((n) / 20)
#else
#define FEWER(n) (n)
#endif

/* A test's world: a directory, a pool "web" in it, a handle, a clock. */
static char dir[64], path[96];
static struct mkfile file;
static struct mcshm *m;
static uint64_t now;

static uint64_t
fake_clock(void)
{
	return now;
}

static void
use_fake_clock(void)
{
	m->clock = fake_clock;
}

static void
open_web(unsigned flags)
{
	assert_int_equal(mcshm_open(&m, "web", flags), MCSHM_OK);
	use_fake_clock();
}

/* n servers, all UP, in a file, opened. */
static void
start_as(const struct scheme_setting *set, uint32_t n)
{
	mkfile_make_as(&file, set, NULL, n);
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	open_web(0);
}

static void
start(uint32_t scheme, uint32_t n)
{
	const struct scheme_setting set = { .scheme = scheme };

	start_as(&set, n);
}

static void
publish_one(uint32_t slot, uint32_t verdict, uint32_t admin)
{
	mkfile_set(&file, slot, verdict, admin);
	mkfile_publish(&file);
}

/* The file is replaced as a daemon does it. */
static void
replace(uint32_t n)
{
	struct mkfile next;

	mkfile_make(&next, MAGLEV, NULL, n);
	mkfile_beat(&next, now);
	mkfile_replace(&next, &file, path);
	file = next;
}

static int
pick(unsigned i, struct mcshm_choice *c)
{
	char key[32];
	const int len = snprintf(key, sizeof key, "user:%u", i);

	return mcshm_pick(m, key, (size_t)len, c);
}

/* A key that has its home in this slot (and is or is not one of those that
 * look at the clock anyway: those of other hashes go by other bits). */
static unsigned
key_of(uint32_t slot, bool sample)
{
	const struct scheme_place p = mkfile_place(&file);
	const bool known = p.set.hash <= MCSHM_HASH_ONE_AT_A_TIME;

	for (unsigned i = 0; i < 10000000; i++) {
		char key[32];
		const int len = snprintf(key, sizeof key, "user:%u", i);
		const struct scheme_key k =
		    scheme_key(&p.set, key, (size_t)len);

		if (scheme_home(&p, &k) == slot &&
		    (!known || ((k.h & 0xff000000) == 0) == sample))
			return i;
	}
	fail();
	return 0;
}

static struct mcshm_status
status(void)
{
	struct mcshm_status st;

	assert_true(mcshm_snapshot(m, NULL, 0, 0, &st, sizeof st) >= 0);
	return st;
}

static int
setup(void **state)
{
	const char *tmp = getenv("MC_TEST_TMP");

	(void)state;
	snprintf(dir, sizeof dir, "%s/test_reader.XXXXXX",
	    tmp != NULL ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(path, sizeof path, "%s/web.mcshm", dir);
	setenv("MCSHM_DIR", dir, 1);
	m = NULL;
	file = (struct mkfile){ .fd = -1 };
	return 0;
}

static void
empty_directory(const char *name)
{
	DIR *d = opendir(name);
	struct dirent *e;

	if (d == NULL)
		return;
	while ((e = readdir(d)) != NULL)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			unlinkat(dirfd(d), e->d_name,
			    e->d_type == DT_DIR ? AT_REMOVEDIR : 0);
	closedir(d);
}

static int
teardown(void **state)
{
	(void)state;
	mcshm_close(m);
	mkfile_free(&file);
	empty_directory(dir);
	rmdir(dir);
	return 0;
}

/* Opening ----------------------------------------------------------------- */

static void
test_open_arguments(void **state)
{
	char name[64];

	(void)state;
	assert_int_equal(mcshm_open(NULL, "web", 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, NULL, 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, "web", 4), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, "", 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, ".web", 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, "-web", 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, "we b", 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, "w\xc3\xa9", 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_open(&m, "/tmp/", 0), MCSHM_EINVAL);
	memset(name, 'a', 41);
	name[41] = '\0';
	assert_int_equal(mcshm_open(&m, name, 0), MCSHM_EINVAL);
	name[40] = '\0';
	assert_int_equal(mcshm_open(&m, name, 0), MCSHM_ENOENT);
	assert_int_equal(mcshm_open(&m, "W.e-b_1", 0), MCSHM_ENOENT);
	assert_int_equal(mcshm_open(&m, "/nowhere/web", 0), MCSHM_ENOENT);
	assert_null(m);			/* written on success only */
	mcshm_close(NULL);
}

static void
test_open_paths(void **state)
{
	struct mcshm_choice c;

	(void)state;
	start(MAGLEV, 3);
	assert_int_equal(pick(1, &c), 0);
	mcshm_close(m);
	assert_int_equal(mcshm_open(&m, path, 0), 0);
	mcshm_close(m);
	/* Relative ones stay true when the working directory changes. */
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mcshm_open(&m, "./web.mcshm", 0), 0);
	use_fake_clock();
	mcshm_close(m);
	setenv("MCSHM_DIR", ".", 1);
	open_web(0);
	assert_int_equal(chdir("/"), 0);
	close(m->dirfd);
	replace(5);
	now += SECOND;
	assert_int_equal(pick(1, &c), 0);
	assert_int_equal(status().servers, 5);
}

static void
write_and_expect(int want)
{
	struct mcshm *other;
	int err;

	mkfile_write(&file, path, file.h->file_size);
	err = mcshm_open(&other, "web", 0);
	if (err == MCSHM_OK)
		mcshm_close(other);
	assert_int_equal(err, want);
}

static void
test_trust(void **state)
{
	(void)state;
	mkfile_make(&file, MAGLEV, NULL, 3);
	write_and_expect(MCSHM_OK);
	chmod(path, 0664);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EPERM);
	chmod(path, 0646);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EPERM);
	chmod(path, 0644);

	if (geteuid() != 0)
		skip();
	/* Another's file in root's directory; in its owner's; in everybody's */
	assert_int_equal(chown(path, 4711, 4711), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EPERM);
	assert_int_equal(chown(dir, 4711, 4711), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_OK);
	mcshm_close(m);
	m = NULL;
	chmod(dir, 01777);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EPERM);
	/* one's own there; */
	assert_int_equal(seteuid(4711), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_OK);
	mcshm_close(m);
	m = NULL;
	assert_int_equal(seteuid(0), 0);
	/* root's, for anybody; and one that may not be read. */
	assert_int_equal(chown(path, 0, 0), 0);
	assert_int_equal(seteuid(4712), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_OK);
	mcshm_close(m);
	m = NULL;
	assert_int_equal(seteuid(0), 0);
	chmod(path, 0600);
	assert_int_equal(seteuid(4712), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EPERM);
	assert_int_equal(seteuid(0), 0);
}

static void
test_not_a_file(void **state)
{
	(void)state;
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EDAMAGED);
	unlink(path);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EDAMAGED);
	rmdir(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EPERM);
	unlink(path);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EDAMAGED);
	assert_int_equal(mcshm_open(&m, "web", MCSHM_LATER), MCSHM_EDAMAGED);
}

/* Who is out of descriptors has not found out whether the file is there: the
 * program is told at once, also if it can wait for the file. */
static void
test_no_descriptors(void **state)
{
	struct rlimit whole, none;
	int err, later;

	(void)state;
	mkfile_make(&file, MAGLEV, NULL, 3);
	mkfile_create(&file, path);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &whole), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = whole.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	err = mcshm_open(&m, "web", 0);
	later = mcshm_open(&m, "web", MCSHM_LATER);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &whole), 0);
	assert_int_equal(err, MCSHM_ESYS);
	assert_int_equal(later, MCSHM_ESYS);
	assert_null(m);
}

/* A directory above the file may not be searched. */
static void
test_no_way(void **state)
{
	char below[80], hidden[128];
	int err, later;

	(void)state;
	if (geteuid() != 0)
		skip();
	snprintf(below, sizeof below, "%s/below", dir);
	snprintf(hidden, sizeof hidden, "%s/web.mcshm", below);
	assert_int_equal(mkdir(below, 0755), 0);
	mkfile_make(&file, MAGLEV, NULL, 3);
	mkfile_create(&file, hidden);
	chmod(dir, 0700);
	assert_int_equal(seteuid(65534), 0);
	err = mcshm_open(&m, hidden, 0);
	later = mcshm_open(&m, hidden, MCSHM_LATER);
	assert_int_equal(seteuid(0), 0);
	empty_directory(below);
	assert_int_equal(err, MCSHM_EPERM);
	assert_int_equal(later, MCSHM_EPERM);
	assert_null(m);
}

/* Damage ------------------------------------------------------------------ */

static void
exercise(struct mcshm *h)
{
	struct mcshm_server servers[4];
	struct mcshm_state states[4];
	struct mcshm_status st;
	struct mcshm_choice c;
	uint64_t roster;

	for (unsigned i = 0; i < 300; i++) {
		char key[300] = { 0 };
		const int len = snprintf(key, sizeof key, "user:%u", i);

		if (mcshm_pick(h, key, i % 11 ? (size_t)len : i, &c) ==
		    MCSHM_OK) {
			assert_true(c.slot < MCSHM_MAX_SERVERS);
			mcshm_server(h, &c, servers, sizeof *servers);
		}
	}
	assert_true(mcshm_servers(h, servers, 4, sizeof *servers, &roster) <=
	    (int)MCSHM_MAX_SERVERS);
	mcshm_snapshot(h, states, 4, sizeof *states, &st, sizeof st);
}

/* Values that a field of this size may be damaged to. */
static uint64_t
damaged(uint64_t old, int how)
{
	switch (how) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return old + 1;
	case 3:
		return old - 1;
	case 4:
		return old * 2;
	case 5:
		return UINT64_C(1) << 63;
	case 6:
		return MCSHM_MAX_FILE;
	case 7:
		return 1;
	default:
		return old + 8;
	}
}

static const struct field {
	const char *name;
	size_t off, size;
	int want;		/* what opening must say to 0, all ones and one
				 * more or less; 1: nothing in particular */
} fields[] = {
#define F(f, want) { #f, offsetof(struct mcshm_header, f), \
	sizeof ((struct mcshm_header *)0)->f, want }
	F(endian, MCSHM_EDAMAGED), F(version, 1), F(incompat, 1), F(compat, 1),
	F(file_size, 1), F(header_size, MCSHM_EDAMAGED),
	F(page_size, MCSHM_EDAMAGED), F(scheme, 1), F(hash, 1),
	F(servers, 1), F(words, MCSHM_EDAMAGED), F(buckets, 1),
	F(bitmap_off, MCSHM_EDAMAGED), F(buckets_off, 1),
	F(section_off[0], MCSHM_EDAMAGED), F(section_off[1], MCSHM_EDAMAGED),
	F(roster_id, MCSHM_EDAMAGED), F(roster_stride, MCSHM_EDAMAGED),
	F(roster_off, MCSHM_EDAMAGED), F(section_size, MCSHM_EDAMAGED),
	F(spare_off, 1), F(entries_off, 1), F(entry_stride, MCSHM_EDAMAGED),
	F(stale_after, 1), F(dead, 1), F(failover_ttl, 1), F(ring_points, 1),
	F(ring_off, 1), F(ring_index_off, 1), F(ring_index_bits, 1),
	F(points_hash, 1), F(hash_flags, 1), F(hash_tag, 1), F(roster_sum, 1),
	F(table_sum, 1), F(boot_id[0], 1),
	F(heartbeat, 1),
#undef F
};

static void
check_field(const struct field *f, int how)
{
	unsigned char *p = file.p + f->off;
	const uint64_t old = f->size == 8 ?
	    *(uint64_t *)(void *)p : *(uint32_t *)(void *)p;
	const uint64_t value = damaged(old, how);
	struct mcshm *h;
	int err;

	if (f->size == 8)
		*(uint64_t *)(void *)p = value;
	else
		*(uint32_t *)(void *)p = (uint32_t)value;
	file.h->header_sum = mcshm_header_sum(file.h);
	mkfile_write(&file, path, file.size);
	err = mcshm_open(&h, "web", 0);
	if (err == MCSHM_OK) {
		exercise(h);
		mcshm_close(h);
	}
	if (f->want < 0 && how < 4 && err != f->want)
		fail_msg("%s, damage %d: %d", f->name, how, err);
	if (f->size == 8)
		*(uint64_t *)(void *)p = old;
	else
		*(uint32_t *)(void *)p = (uint32_t)old;
}

static void
test_damaged_fields(void **state)
{
	static const uint32_t schemes[] = { MAGLEV, KETAMA,
		MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS };

	(void)state;
	for (size_t s = 0; s < 3; s++) {
		mkfile_make(&file, schemes[s], NULL, 70);
		for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
			for (int how = 0; how < 9; how++)
				check_field(&fields[i], how);
		mkfile_free(&file);
	}
}

/* Particular ones, with the reason. */
static void
test_refused(void **state)
{
	struct mcshm_header good;

	(void)state;
	mkfile_make(&file, MAGLEV, NULL, 70);
	good = *file.h;
#define REFUSED(change, want) do {					\
	*file.h = good;							\
	change;								\
	file.h->header_sum = mcshm_header_sum(file.h);			\
	mkfile_write(&file, path, good.file_size);			\
	assert_int_equal(mcshm_open(&m, "web", 0), want);		\
} while (0)
	REFUSED(file.h->magic[0] = 'm', MCSHM_EDAMAGED);
	REFUSED(file.h->endian = 0x04030201, MCSHM_EDAMAGED);
	REFUSED(file.h->version = 2 << 16, MCSHM_EVERSION);
	REFUSED(file.h->version = 0, MCSHM_EVERSION);
	REFUSED(file.h->incompat = 1, MCSHM_EVERSION);
	REFUSED(file.h->scheme = MCSHM_SCHEMES, MCSHM_EVERSION);
	REFUSED(file.h->scheme = KETAMA, MCSHM_EVERSION);
	REFUSED(file.h->points_hash = MCSHM_HASH_MD5, MCSHM_EVERSION);
	REFUSED(file.h->hash_flags = 2, MCSHM_EVERSION);
	REFUSED(file.h->hash_tag = '{' | '}' << 8, MCSHM_EVERSION);
	REFUSED(file.h->hash = MCSHM_HASH_ONE_AT_A_TIME, MCSHM_EVERSION);
	REFUSED(file.h->generation = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->roster_id |= 1, MCSHM_EDAMAGED);
	REFUSED(file.h->servers = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->servers = 129, MCSHM_EDAMAGED);
	REFUSED(file.h->servers = MCSHM_MAX_SERVERS + 1, MCSHM_EDAMAGED);
	REFUSED(file.h->buckets = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->buckets = MCSHM_MAX_BUCKETS + 1, MCSHM_EDAMAGED);
	REFUSED(file.h->buckets_off++, MCSHM_EDAMAGED);
	REFUSED(file.h->buckets_off = good.file_size - 2, MCSHM_EDAMAGED);
	REFUSED(file.h->entries_off += 4, MCSHM_EDAMAGED);
	REFUSED(file.h->entries_off = (uint32_t)good.section_size,
	    MCSHM_EDAMAGED);
	REFUSED(file.h->spare_off = (uint32_t)good.section_size - 8,
	    MCSHM_EDAMAGED);
	REFUSED(file.h->section_off[1] = good.section_off[0], MCSHM_EDAMAGED);
	REFUSED(file.h->section_off[0] = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->section_off[1] += 4096, MCSHM_EDAMAGED);
	REFUSED(file.h->file_size++, MCSHM_EDAMAGED);
	REFUSED(file.h->file_size = MCSHM_MAX_FILE + 1, MCSHM_EDAMAGED);
	/* What a later minor version may do. */
	REFUSED((file.h->version++, file.h->compat = 8), MCSHM_OK);
	mcshm_close(m);
	m = NULL;
	/* The sum itself. */
	*file.h = good;
	file.h->header_sum ^= 1;
	mkfile_write(&file, path, good.file_size);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EDAMAGED);
	/* Where the ring is, and its index. */
	mkfile_free(&file);
	mkfile_make(&file, KETAMA, NULL, 5);
	good = *file.h;
	REFUSED(file.h->ring_points = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_points = MCSHM_MAX_POINTS + 1, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_points = (uint32_t)good.file_size / 8,
	    MCSHM_EDAMAGED);
	REFUSED(file.h->ring_off += 4, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_off = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_off = UINT64_MAX - 7, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_off = good.file_size - 8 * good.ring_points + 8,
	    MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_bits = MCSHM_MAX_INDEX_BITS + 1,
	    MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_bits = 20, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_bits = UINT32_MAX, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_off += 2, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_off = 0, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_off = good.file_size -
	    (UINT64_C(4) << good.ring_index_bits), MCSHM_EDAMAGED);
	REFUSED(file.h->ring_index_off = UINT64_MAX - 3, MCSHM_EDAMAGED);
	/* Tables that are there, but not those of the scheme. */
	REFUSED((file.h->ring_points = 0, file.h->buckets = 100),
	    MCSHM_EDAMAGED);
	mkfile_free(&file);
	mkfile_make(&file, MODULA, NULL, 5);
	good = *file.h;
	REFUSED((file.h->buckets = 0, file.h->ring_off = good.header_size,
	    file.h->ring_points = 5), MCSHM_EDAMAGED);
	mkfile_free(&file);
	mkfile_make(&file, MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS, NULL, 5);
	good = *file.h;
	REFUSED(file.h->ring_points = 9, MCSHM_EDAMAGED);
	REFUSED(file.h->ring_points = 10, MCSHM_OK);
	mcshm_close(m);
	m = NULL;
#undef REFUSED
}

static void
test_truncated(void **state)
{
	(void)state;
	mkfile_make(&file, MAGLEV, NULL, 3);
	for (size_t size = 0; size < file.h->file_size;
	     size += size < 2100 ? 67 : 4097) {
		mkfile_write(&file, path, size);
		assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EDAMAGED);
	}
	mkfile_write(&file, path, file.h->file_size - 1);
	assert_int_equal(mcshm_open(&m, "web", 0), MCSHM_EDAMAGED);
}

/* Who owns the file goes mad while it is mapped. */
static void
check_mad_writer(uint32_t scheme, unsigned rounds)
{
	uint64_t random = 99;

	start(scheme, 70);
	for (unsigned i = 0; i < rounds; i++) {
		const size_t hot = i % 2 ? 1968 : file.map_size;
		uint64_t off, bits;

		random = scheme_mix(random + i);
		off = random % hot & ~UINT64_C(7);
		bits = scheme_mix(random);
		if (i % 3 == 0)
			bits &= 0xff;
		if (i % 5 == 0)
			bits = UINT64_MAX << (bits & 63);
		mcshm_store(file.map + off, bits);
		/* A generation that makes them look. */
		mcshm_store(file.map + READER_HEADER(generation),
		    (scheme_mix(bits) >> 2) + 1);
		exercise(m);
		now += SECOND / 7;
		if (i % 50 == 0)
			for (size_t j = 0; j < file.map_size; j += 8)
				mcshm_store(file.map + j,
				    mcshm_load(file.p + j));
	}
	teardown(NULL);
	setup(NULL);
}

static void
test_mad_writer(void **state)
{
	(void)state;
	check_mad_writer(MAGLEV, FEWER(3000));
	for (uint32_t scheme = MODULA; scheme < MCSHM_SCHEMES; scheme++)
		check_mad_writer(scheme, FEWER(300));
}

/* A table that leads to slots which are not there, and bits that say they are
 * usable. */
static void
test_mad_table(void **state)
{
	static const uint64_t slots[] = { 70, 127, 128, 16383, 16384, 65535 };

	(void)state;
	for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
		start(MAGLEV, 70);
		for (uint32_t b = 0; b < file.h->buckets; b++)
			((uint16_t *)(file.map + file.h->buckets_off))[b] =
			    (uint16_t)slots[i];
		for (int part = 0; part < 2; part++)
			memset(file.map + file.h->section_off[part] +
			    file.h->bitmap_off, 0xff, 1000);
		for (unsigned k = 0; k < 1000; k++) {
			struct mcshm_choice c;

			assert_int_equal(pick(k, &c), MCSHM_OK);
			assert_true(c.slot < 70 && c.home < 70);
		}
		teardown(NULL);
		setup(NULL);
	}
}

/* The same of a ring; with an index that leads to where no point is. */
static void
test_mad_ring(void **state)
{
	static const uint32_t schemes[] = { KETAMA, MCSHM_SCHEME_DALLI };

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct mcshm_point *ring;
		uint32_t *cell;

		start(schemes[i], 70);
		ring = (void *)(file.map + file.h->ring_off);
		cell = (void *)(file.map + file.h->ring_index_off);
		for (uint32_t p = 0; p < file.h->ring_points; p++)
			ring[p] = (struct mcshm_point){ p * 2654435761u,
				70 + p % 7 * 16384 };
		for (uint32_t c = 0; c >> file.h->ring_index_bits == 0; c++)
			cell[c] = c % 3 ? UINT32_MAX - c : c * 1000003;
		for (int part = 0; part < 2; part++)
			memset(file.map + file.h->section_off[part] +
			    file.h->bitmap_off, 0xff, 1000);
		for (unsigned k = 0; k < 1000; k++) {
			struct mcshm_choice c;

			assert_int_equal(pick(k, &c), MCSHM_OK);
			assert_true(c.slot < 70 && c.home < 70);
		}
		teardown(NULL);
		setup(NULL);
	}
}

/* Picking ----------------------------------------------------------------- */

/* A ring of which a hash of 15 bits meets but the first few points. */
static bool
is_stuck(const struct scheme_setting *set)
{
	return scheme_has_ring(set->scheme) && set->hash == MCSHM_HASH_CRC;
}

static void
test_pick(void **state)
{
	struct mcshm_choice c;
	struct scheme_setting set;

	(void)state;
	for (unsigned s = 0; mkplace_some(&set, s); s++) {
		unsigned k0, held;
		int err;

		if (is_stuck(&set))
			continue;
		start_as(&set, 16);
		k0 = key_of(4, false);
		held = key_of(5, false);
		for (int again = 0; again < 3; again++) {
			memset(&c, 0xff, sizeof c);
			assert_int_equal(pick(k0, &c), MCSHM_OK);
			assert_true(c.roster == file.h->roster_id);
			assert_int_equal(c.slot, 4);
			assert_int_equal(c.home, 4);
			assert_int_equal(c.tries, 0);
			assert_int_equal(c.flags, 0);
			assert_int_equal(c.failover_ttl, 0);
			for (size_t i = 0; i < 7; i++)
				assert_int_equal(c.reserved[i], 0);
		}
		publish_one(4, MCSHM_DOWN, MCSHM_READY);
		mkfile_set(&file, 6, MCSHM_UP, MCSHM_DRAIN);
		publish_one(5, MCSHM_HELD, MCSHM_READY);
		memset(&c, 0xff, sizeof c);
		err = pick(k0, &c);
		assert_int_equal(err == MCSHM_EHELD, c.slot == 5);
		assert_int_equal(c.home, 4);
		assert_true(c.slot != 4 && c.slot != 6 && c.tries > 0);
		assert_int_equal(c.flags, 0);
		assert_int_equal(pick(held, &c), MCSHM_EHELD);
		assert_int_equal(c.slot, 5);
		assert_int_equal(c.home, 5);
		assert_true(c.roster == file.h->roster_id);
		/* Back, and home. */
		mkfile_set_all(&file, MCSHM_UP, MCSHM_READY);
		mkfile_publish(&file);
		assert_int_equal(pick(k0, &c), MCSHM_OK);
		assert_int_equal(c.slot, 4);
		assert_int_equal(pick(held, &c), MCSHM_OK);
		assert_int_equal(c.slot, 5);
		teardown(NULL);
		setup(NULL);
	}
}

/* Of every length, the same as scheme_pick() over the file's own bytes: the
 * fast path and the slow one are one function. */
static void
test_fast_path_is_slow_path(void **state)
{
	unsigned char key[300];
	struct scheme_setting set;

	(void)state;
	for (unsigned s = 0; mkplace_some(&set, s); s++) {
		start_as(&set, 10);
		publish_one(3, MCSHM_DOWN, MCSHM_READY);
		for (unsigned i = 0; i < FEWER(s < 2 ? 30000 : 6000); i++) {
			const size_t len = i % sizeof key;
			struct scheme_choice want;
			struct mcshm_choice c;
			struct scheme_key k;
			struct reader_view v;

			for (size_t j = 0; j < len; j++)
				key[j] = (unsigned char)(i * 31 + j * j * i);
			reader_view(m, file.h->generation, &v);
			k = scheme_key(&v.place.set, key, len);
			assert_int_equal(mcshm_pick(m, key, len, &c),
			    scheme_pick(&v.place, &k, &want));
			assert_int_equal(c.slot, want.slot);
			assert_int_equal(c.home, want.home);
			assert_int_equal(c.tries, want.tries);
		}
		teardown(NULL);
		setup(NULL);
	}
}

/* All processes that see the same generation choose the same. */
static _Noreturn void
pick_elsewhere(int fd, unsigned keys)
{
	struct mcshm *other = NULL;
	struct mcshm_choice c;

	if (mcshm_open(&other, "web", 0) != 0)
		_exit(1);
	other->clock = fake_clock;
	for (unsigned i = 0; i < keys; i++) {
		char key[32];
		const int len = snprintf(key, sizeof key, "user:%u", i);
		const int err = mcshm_pick(other, key, (size_t)len, &c);

		if (write(fd, &err, sizeof err) != sizeof err ||
		    write(fd, &c, sizeof c) != sizeof c)
			_exit(2);
	}
	_exit(0);
}

static void
compare_with(int fd, unsigned keys)
{
	for (unsigned i = 0; i < keys; i++) {
		struct mcshm_choice c, theirs;
		int err;

		assert_int_equal(read(fd, &err, sizeof err), sizeof err);
		assert_int_equal(read(fd, &theirs, sizeof theirs),
		    sizeof theirs);
		assert_int_equal(pick(i, &c), err);
		assert_memory_equal(&c, &theirs, sizeof c);
	}
}

static void
test_processes_agree(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned s = 0; mkplace_some(&set, s); s++) {
		int ends[2], code;
		pid_t pid;

		start_as(&set, 30);
		for (uint32_t i = 0; i < 30; i++)
			mkfile_set(&file, i, i * 7 % 4, MCSHM_READY);
		mkfile_publish(&file);
		assert_int_equal(pipe(ends), 0);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			pick_elsewhere(ends[1], 500);
		close(ends[1]);
		compare_with(ends[0], 500);
		close(ends[0]);
		assert_int_equal(waitpid(pid, &code, 0), pid);
		assert_int_equal(code, 0);
		teardown(NULL);
		setup(NULL);
	}
}

/* None usable: no key is hashed; this one can not be. */
static void
check_none(const struct scheme_setting *set)
{
	struct mcshm_choice c;

	start_as(set, 10);
	mkfile_set_all(&file, MCSHM_DOWN, MCSHM_READY);
	mkfile_publish(&file);
	for (int again = 0; again < 3; again++) {
		memset(&c, 0xff, sizeof c);
		assert_int_equal(mcshm_pick(m, NULL, 100, &c), MCSHM_ENONE);
		assert_true(c.roster == file.h->roster_id);
	}
	mkfile_set(&file, 2, MCSHM_HELD, MCSHM_READY);
	mkfile_publish(&file);
	assert_int_equal(mcshm_pick(m, NULL, 100, &c), MCSHM_ENONE);
	mkfile_set_all(&file, MCSHM_UP, MCSHM_MAINT);
	mkfile_publish(&file);
	assert_int_equal(mcshm_pick(m, NULL, 100, &c), MCSHM_ENONE);
	/* Stale, and still none that the operator wants. */
	now += 31 * SECOND;
	assert_int_equal(mcshm_pick(m, NULL, 100, &c), MCSHM_ENONE);
	assert_int_equal(c.flags, MCSHM_BLIND);
	teardown(NULL);
	setup(NULL);
}

static void
test_none(void **state)
{
	struct scheme_setting set;

	(void)state;
	for (unsigned i = 0; mkplace_some(&set, i); i++)
		check_none(&set);
}

static void
check_dead_policy(const struct scheme_setting *set, uint32_t dead, int want)
{
	struct mcshm_choice c;
	unsigned down, held, up, drained;

	mkfile_make_as(&file, set, NULL, 16);
	mkfile_set(&file, 3, MCSHM_UP, MCSHM_DRAIN);
	file.h->dead = dead;
	file.h->failover_ttl = 60;
	mkfile_set(&file, 1, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, 2, MCSHM_HELD, MCSHM_READY);
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	open_web(0);
	up = key_of(0, false);
	down = key_of(1, false);
	held = key_of(2, false);
	drained = key_of(3, false);
	assert_int_equal(pick(up, &c), MCSHM_OK);
	assert_int_equal(c.failover_ttl, 0);
	assert_int_equal(pick(held, &c), MCSHM_EHELD);
	assert_int_equal(c.slot, 2);
	/* It may be silence that the key goes on to. */
	assert_true(pick(down, &c) == want ||
	    (want == MCSHM_OK && pick(down, &c) == MCSHM_EHELD));
	assert_int_equal(c.home, 1);
	assert_true(c.roster != 0);
	assert_int_equal(c.slot != 1, want == MCSHM_OK);
	assert_int_equal(c.failover_ttl, want == MCSHM_OK ? 60 : 0);
	assert_true(pick(drained, &c) == want ||
	    (want == MCSHM_OK && pick(drained, &c) == MCSHM_EHELD));
	/* Stale: nobody says that it is down. */
	now += 31 * SECOND;
	assert_int_equal(pick(drained, &c), MCSHM_OK);
	assert_true(c.slot != 3 && c.flags == MCSHM_BLIND);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_int_equal(c.slot, 1);
	assert_int_equal(c.flags, MCSHM_BLIND);
	teardown(NULL);
	setup(NULL);
}

static void
test_dead_policy(void **state)
{
	const struct {
		uint32_t dead;
		int want;
	} rows[] = { { MCSHM_DEAD_REHASH, MCSHM_OK },
		{ MCSHM_DEAD_MISS, MCSHM_EMISS },
		{ MCSHM_DEAD_ERROR, MCSHM_EDOWN }, { 77, MCSHM_OK } };
	struct scheme_setting set;

	(void)state;
	for (unsigned s = 0; mkplace_some(&set, s); s++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
			if (!is_stuck(&set))
				check_dead_policy(&set, rows[i].dead,
				    rows[i].want);
}

static void
test_fail_open(void **state)
{
	struct mcshm_choice c;
	unsigned home;

	(void)state;
	start(MAGLEV, 10);
	home = key_of(7, false);
	file.flags = MCSHM_SECTION_FAIL_OPEN;
	mkfile_set_all(&file, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, 3, MCSHM_DOWN, MCSHM_DRAIN);
	mkfile_publish(&file);
	assert_int_equal(pick(home, &c), MCSHM_OK);
	assert_int_equal(c.slot, 7);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(pick(key_of(3, false), &c), MCSHM_OK);
	assert_true(c.slot != 3);
	assert_int_equal(status().fail_open, 1);
	/* One that is down for certain is not used. */
	mkfile_entry(&file, 5)->proof = 1;
	mkfile_publish(&file);
	assert_int_equal(status().usable, 8);
	assert_int_equal(pick(key_of(5, false), &c), MCSHM_OK);
	assert_int_equal(c.home, 5);
	assert_true(c.slot != 5 && c.tries > 0);
	assert_int_equal(c.flags, MCSHM_BLIND);
	file.flags = 0;
	mkfile_set_all(&file, MCSHM_UP, MCSHM_READY);
	mkfile_publish(&file);
	assert_int_equal(pick(home, &c), MCSHM_OK);
	assert_int_equal(c.flags, 0);
}

/* Whose home is not usable all the same gets what the pool says: it is down for
 * certain, or was taken out. */
static void
test_fail_open_and_dead(void **state)
{
	struct mcshm_choice c;

	(void)state;
	mkfile_make(&file, MAGLEV, NULL, 10);
	file.h->dead = MCSHM_DEAD_MISS;
	file.flags = MCSHM_SECTION_FAIL_OPEN;
	mkfile_set(&file, 7, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, 5, MCSHM_DOWN, MCSHM_READY);
	mkfile_entry(&file, 5)->proof = 1;
	mkfile_set(&file, 3, MCSHM_UP, MCSHM_MAINT);
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	open_web(0);
	assert_int_equal(pick(key_of(7, false), &c), MCSHM_OK);
	assert_int_equal(c.slot, 7);
	assert_int_equal(pick(key_of(5, false), &c), MCSHM_EMISS);
	assert_int_equal(c.slot, 5);
	assert_int_equal(pick(key_of(3, false), &c), MCSHM_EMISS);
	assert_int_equal(c.flags, MCSHM_BLIND);
}

/* Stale ------------------------------------------------------------------- */

static void
test_stale(void **state)
{
	struct mcshm_choice c;
	unsigned down, held, drained;

	(void)state;
	start(MAGLEV, 10);
	down = key_of(1, false);
	held = key_of(2, false);
	drained = key_of(3, false);
	mkfile_set(&file, 1, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, 2, MCSHM_HELD, MCSHM_READY);
	mkfile_set(&file, 3, MCSHM_UP, MCSHM_DRAIN);
	mkfile_publish(&file);
	now += 30 * SECOND;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.slot != 1 && c.flags == 0);
	assert_int_equal(pick(held, &c), MCSHM_EHELD);
	now++;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.slot == 1 && c.flags == MCSHM_BLIND);
	assert_int_equal(pick(held, &c), MCSHM_OK);
	assert_true(c.slot == 2 && c.flags == MCSHM_BLIND);
	assert_int_equal(pick(drained, &c), MCSHM_OK);
	assert_true(c.slot != 3 && c.flags == MCSHM_BLIND);
	/* A heartbeat, and all is as it was. */
	mkfile_beat(&file, now);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.slot != 1 && c.flags == 0);
	/* A second of future is allowed, more is another clock's. */
	mkfile_beat(&file, now + SECOND);
	assert_int_equal(pick(held, &c), MCSHM_EHELD);
	mkfile_beat(&file, now + SECOND + 1);
	assert_int_equal(pick(held, &c), MCSHM_OK);
}

static void
test_rebooted(void **state)
{
	struct mcshm_choice c;
	unsigned down;

	(void)state;
	start(MAGLEV, 10);
	down = key_of(1, false);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_int_equal(c.flags, 0);
	assert_int_equal(status().rebooted, 0);
	mcshm_store(file.map + offsetof(struct mcshm_header, boot_id[1]),
	    file.h->boot_id[1] ^ 1);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.slot == 1 && c.flags == MCSHM_BLIND);
	assert_int_equal(status().rebooted, 1);
	assert_int_equal(status().stale, 1);
	/* Who can not read /proc does not know. */
	m->boot_id[0] = m->boot_id[1] = 0;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_int_equal(c.flags, 0);
}

/* Following --------------------------------------------------------------- */

static void
test_follow(void **state)
{
	struct mcshm_choice c;
	uint64_t first;

	(void)state;
	start(MAGLEV, 10);
	assert_int_equal(pick(1, &c), 0);
	first = c.roster;
	/* Larger, smaller, much larger, of another scheme. */
	replace(300);
	assert_int_equal(pick(1, &c), 0);
	assert_true(c.roster == file.h->roster_id && c.roster != first);
	assert_int_equal(status().servers, 300);
	now += SECOND;
	replace(3);
	assert_int_equal(pick(1, &c), 0);
	assert_true(c.roster == file.h->roster_id && c.slot < 3);
	now += SECOND;
	replace(5000);
	publish_one(4999, MCSHM_DOWN, MCSHM_READY);
	assert_int_equal(pick(1, &c), 0);
	assert_true(c.roster == file.h->roster_id);
	assert_int_equal(status().usable, 4999);
	assert_int_equal(status().superseded, 0);
}

static unsigned
open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* VmRSS and mappings. */
static void
memory_now(long *rss_kb, unsigned *mappings)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[8192];

	for (*mappings = 0; fgets(line, sizeof line, f) != NULL;)
		++*mappings;
	fclose(f);
	f = fopen("/proc/self/status", "r");
	while (fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "VmRSS: %ld", rss_kb) == 1)
			break;
	fclose(f);
}

/* A child that does nothing but pick, while its parent replaces the file: the
 * writer's memory does not count. */
static void
picker(int in, int out)
{
	long rss[2] = { 0, 0 };
	unsigned maps[2] = { 0, 0 }, fds[2] = { 0, 0 };
	char byte;

	for (int i = 0; read(in, &byte, 1) == 1; i++) {
		struct mcshm_choice c;

		for (unsigned k = 0; k < 200; k++)
			if (pick(k, &c) != MCSHM_OK)
				_exit(1);
		if (write(out, &c.roster, sizeof c.roster) != sizeof c.roster)
			_exit(2);
		if (i <= 100) {		/* what they need is there then */
			memory_now(&rss[0], &maps[0]);
			fds[0] = open_fds();
		}
		now += SECOND;
		/* The beats are the parent's; this clock is not. */
		if (now > file.h->heartbeat + 20 * SECOND)
			now = file.h->heartbeat;
	}
	memory_now(&rss[1], &maps[1]);
	fds[1] = open_fds();
	_exit(fds[0] != fds[1] ? 3 : maps[0] != maps[1] ? 4 :
	    rss[1] > rss[0] + 600 ? 5 : 0);
}

static void
test_thousand_replacements(void **state)
{
	int to[2], from[2], how;
	pid_t child;

	(void)state;
	start(MAGLEV, 10);
	assert_int_equal(pipe(to) | pipe(from), 0);
	child = fork();
	if (child == 0) {
		close(to[1]);
		close(from[0]);
		picker(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	for (int i = 0; i < FEWER(1100); i++) {
		uint64_t roster;

		replace(i % 2 ? 3 : 66);
		assert_int_equal(write(to[1], "", 1), 1);
		assert_int_equal(read(from[0], &roster, sizeof roster),
		    sizeof roster);
		assert_true(roster == file.h->roster_id);
	}
	close(to[1]);
	close(from[0]);
	assert_int_equal(waitpid(child, &how, 0), child);
	assert_true(WIFEXITED(how));
	assert_int_equal(WEXITSTATUS(how), 0);
}

/* Removed and made anew by a daemon that never met the old file. */
static void
make_anew(uint32_t n)
{
	assert_int_equal(unlink(path), 0);
	mkfile_free(&file);
	mkfile_make(&file, MAGLEV, NULL, n);
	mkfile_beat(&file, now);
	mkfile_create(&file, path);
}

static void
test_removed_and_made_anew(void **state)
{
	struct mcshm_choice c;
	unsigned down, sample;

	(void)state;
	start(MAGLEV, 10);
	down = key_of(1, false);
	sample = key_of(3, true);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	make_anew(12);
	/* Nobody has told us: the orphan is good until it is stale. */
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster != file.h->roster_id);
	now += 31 * SECOND;
	mkfile_beat(&file, now);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id && c.flags == 0);

	/* A process that meets no dead server has the sampled keys. */
	sample = key_of(3, true);
	make_anew(14);
	now += 31 * SECOND;
	mkfile_beat(&file, now);
	assert_int_equal(pick(key_of(4, false), &c), MCSHM_OK);
	assert_int_equal(pick(sample, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);

	/* Gone: what we have is all there is. */
	assert_int_equal(unlink(path), 0);
	now += 31 * SECOND;
	assert_int_equal(pick(key_of(3, true), &c), MCSHM_OK);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(status().alive, 0);
	assert_int_equal(status().stale, 1);
}

static void
test_directory_made_anew(void **state)
{
	struct mcshm_choice c;
	char moved[80];

	(void)state;
	start(MAGLEV, 10);
	/* As a RuntimeDirectory that is not kept; the first one gone, */
	unlink(path);
	rmdir(dir);
	assert_int_equal(mkdir(dir, 0755), 0);
	mkfile_free(&file);
	mkfile_make(&file, MAGLEV, NULL, 12);
	now += 31 * SECOND;
	mkfile_beat(&file, now);
	mkfile_create(&file, path);
	assert_int_equal(pick(key_of(0, true), &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
	/* then moved away with its file. */
	snprintf(moved, sizeof moved, "%s.moved", dir);
	assert_int_equal(rename(dir, moved), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	mkfile_free(&file);
	mkfile_make(&file, MAGLEV, NULL, 13);
	now += 31 * SECOND;
	mkfile_beat(&file, now);
	mkfile_create(&file, path);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(pick(0, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
	empty_directory(moved);
	rmdir(moved);
	/* What is in the new directory is followed as ever. */
	replace(14);
	now += SECOND;
	assert_int_equal(pick(0, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
}

/* The successor is damaged: the old roster, every READY server, BLIND. */
static void
test_bad_successor(void **state)
{
	struct mkfile next;
	struct mcshm_choice c;
	struct mcshm_status st;
	unsigned down, drained;
	uint64_t roster;

	(void)state;
	start(MAGLEV, 10);
	down = key_of(1, false);
	drained = key_of(2, false);
	mkfile_set(&file, 1, MCSHM_DOWN, MCSHM_READY);
	publish_one(2, MCSHM_UP, MCSHM_DRAIN);
	roster = file.h->roster_id;
	mkfile_make(&next, MAGLEV, NULL, 12);
	mkfile_beat(&next, now);
	next.h->version = 2 << 16;
	mkfile_replace(&next, &file, path);
	file = next;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == roster && c.slot == 1);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(pick(drained, &c), MCSHM_OK);
	assert_true(c.slot != 2 && c.flags == MCSHM_BLIND);
	assert_int_equal(mcshm_refresh(m), MCSHM_EVERSION);
	st = status();
	assert_true(st.roster == roster && st.generation & MCSHM_RETIRED);
	assert_int_equal(st.superseded, 1);
	assert_int_equal(st.follow_error, MCSHM_EVERSION);
	assert_int_equal(st.usable, 9);
	assert_int_equal(st.alive, 0);

	/* It is tried again after 100 ms, not before. */
	mkfile_make(&next, MAGLEV, NULL, 12);
	mkfile_beat(&next, now);
	mkfile_replace(&next, &file, path);
	file = next;
	now += SECOND / 20;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == roster && c.flags == MCSHM_BLIND);
	now += SECOND / 20;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id && c.flags == 0);
	assert_int_equal(status().follow_error, 0);
}

/* The pool is gone from the ini: retired, unlinked, no successor. */
static void
test_pool_removed(void **state)
{
	struct mcshm_choice c;
	unsigned down;

	(void)state;
	start(MAGLEV, 10);
	down = key_of(1, false);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	mcshm_write_retire(file.map + READER_HEADER(generation));
	/* Before the unlink somebody opens it. */
	mcshm_close(m);
	open_web(0);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.slot == 1 && c.flags == MCSHM_BLIND);
	assert_int_equal(status().superseded, 1);
	unlink(path);
	now += SECOND;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(mcshm_refresh(m), MCSHM_ENOENT);
	/* And it comes back. */
	mkfile_free(&file);
	mkfile_make(&file, MAGLEV, NULL, 4);
	mkfile_beat(&file, now);
	mkfile_create(&file, path);
	now += SECOND;
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id && c.flags == 0);
	assert_int_equal(mcshm_refresh(m), 1);
}

static void
test_nofollow(void **state)
{
	struct mcshm_choice c;
	unsigned down;
	uint64_t roster;

	(void)state;
	start(MAGLEV, 10);
	mcshm_close(m);
	open_web(MCSHM_NOFOLLOW);
	down = key_of(1, false);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	roster = file.h->roster_id;
	replace(12);
	/* The last verdicts stay, */
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == roster && c.slot != 1 && c.flags == 0);
	assert_int_equal(mcshm_servers(m, NULL, 0, 0, NULL), 10);
	assert_true(status().roster == roster);
	/* as long as they are fresh. */
	now += 31 * SECOND;
	mkfile_beat(&file, now);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == roster && c.slot == 1);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(mcshm_refresh(m), 0);
	assert_int_equal(pick(down, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id && c.flags == 0);
}

/* A thread that goes by the words of one generation may meet those of the next:
 * each has to be good by itself, also where the scheme has no use for it. */
static void
test_cache_is_whole(void **state)
{
	(void)state;
	for (uint32_t scheme = MAGLEV; scheme < MCSHM_SCHEMES; scheme++) {
		const enum scheme_lookup lookup = scheme_lookup(scheme);
		const struct reader_cache *cache;
		struct mcshm_choice c;

		start(scheme, 4);
		cache = reader_cache(m);
		pick(1, &c);
		assert_true(cache->generation == file.h->generation);
		assert_non_null(cache->ring_at);
		assert_non_null(cache->ring_index_at);
		assert_in_range(cache->ring_shift,
		    32 - MCSHM_MAX_INDEX_BITS, 32);
		assert_true(cache->simple == (scheme != MAGLEV &&
		    lookup != SCHEME_LOOKUP_RENDEZVOUS));
		assert_true((cache->native != 0) == (scheme == MAGLEV));
		teardown(NULL);
		setup(NULL);
	}
}

/* Generation 0 is of no file, though all the rest be good: not even for a pick
 * that has met no other generation yet. */
static void
test_zero(void **state)
{
	static const uint32_t schemes[] = { MAGLEV, MODULA };
	struct mcshm_choice c;

	(void)state;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		start(schemes[i], 4);
		mcshm_store(file.map + READER_HEADER(generation), 0);
		for (unsigned k = 0; k < 1000; k++)
			assert_int_equal(pick(k, &c), MCSHM_EAGAIN);
		teardown(NULL);
		setup(NULL);
	}
}

static void
test_later(void **state)
{
	struct mcshm_choice c;
	struct mcshm_status st;
	uint64_t g;

	(void)state;
	open_web(MCSHM_LATER);
	now = mkfile_boottime();
	assert_int_equal(pick(1, &c), MCSHM_ENOENT);
	assert_int_equal(mcshm_servers(m, NULL, 0, 0, NULL), MCSHM_ENOENT);
	assert_int_equal(mcshm_refresh(m), MCSHM_ENOENT);
	assert_int_equal(mcshm_wait(m, 0, 0, &g), MCSHM_ENOENT);
	memset(&st, 0xff, sizeof st);
	assert_int_equal(mcshm_snapshot(m, NULL, 0, 0, &st, sizeof st),
	    MCSHM_ENOENT);
	assert_int_equal(st.generation, 0);
	assert_int_equal(st.follow_error, MCSHM_ENOENT);
	c.roster = 0;
	assert_int_equal(mcshm_server(m, &c, &(struct mcshm_server){ 0 }, 1),
	    MCSHM_ENOENT);
	mkfile_make(&file, MAGLEV, NULL, 5);
	mkfile_beat(&file, now);
	mkfile_create(&file, path);
	now += SECOND;
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(mcshm_refresh(m), 0);
}

static void
test_refresh(void **state)
{
	struct mcshm_choice c;

	(void)state;
	start(MAGLEV, 5);
	assert_int_equal(mcshm_refresh(m), 0);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	assert_int_equal(mcshm_refresh(m), 0);	/* verdicts are not news */
	file.address_epoch = 3;
	mkfile_publish(&file);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(mcshm_refresh(m), 0);
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == (file.h->roster_id | 3));
	/* Also what a pick has followed. */
	replace(6);
	now += SECOND;
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(mcshm_refresh(m), 0);
	assert_int_equal(mcshm_refresh(NULL), MCSHM_EINVAL);
	/* Replaced by who never heard of RETIRED. */
	make_anew(7);
	assert_int_equal(mcshm_refresh(m), 1);
	/* Rubbish in its place: fresh as it is, the old one goes on. */
	mkfile_free(&file);
	mkfile_make(&file, MAGLEV, NULL, 8);
	mkfile_write(&file, path, 100);
	assert_int_equal(mcshm_refresh(m), MCSHM_EDAMAGED);
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_int_equal(c.flags, 0);
	assert_int_equal(status().superseded, 1);
}

/* Fork, threads, descriptors ---------------------------------------------- */

static void
test_guard(void **state)
{
	struct mcshm_choice c;
	uint64_t roster;
	pid_t child;
	int how;

	(void)state;
	start(MAGLEV, 10);
	roster = file.h->roster_id;
	/* A thread of ours is about to follow: the others do not wait. */
	reader_cache(m)->guard = (uint64_t)getpid();
	replace(12);
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == roster && c.flags == 0);
	/* In a child there is no such thread. */
	child = fork();
	if (child == 0) {
		if (pick(1, &c) != MCSHM_OK || c.roster != file.h->roster_id ||
		    reader_cache(m)->guard != 0)
			_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &how, 0), child);
	assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == roster);
	reader_cache(m)->guard = 0;
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
}

/* Pids come back: a child must not take a guard that it inherited for one of
 * its own because it has got the pid of who left it.  It finds none at all. */
static void
test_guard_of_a_pid_that_returns(void **state)
{
	struct mcshm_choice c;
	uint64_t roster;
	pid_t child;
	int how;

	(void)state;
	start(MAGLEV, 10);
	if (!m->wipes)
		skip();			/* an old kernel */
	roster = file.h->roster_id;
	reader_cache(m)->guard = 4711;
	replace(12);
	child = fork();
	if (child == 0)
		_exit(reader_cache(m)->guard != 0 ||
		    pick(1, &c) != MCSHM_OK || c.roster != file.h->roster_id);
	assert_int_equal(waitpid(child, &how, 0), child);
	assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
	/* Here it is a thread of ours, whatever pid it saw. */
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == roster);
	/* Where the kernel wipes nothing, only our own pid is ours. */
	m->wipes = false;
	reader_cache(m)->guard = (uint64_t)getpid();
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == roster);
	reader_cache(m)->guard = 4711;
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
}

/* A fork while the cache is being filled leaves the child a free one. */
static void
test_cache_after_fork(void **state)
{
	struct mcshm_choice c;
	pid_t child;
	int how;

	(void)state;
	start(MAGLEV, 10);
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(reader_cache(m)->generation == file.h->generation);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	reader_cache(m)->filling = 1;
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(reader_cache(m)->generation != file.h->generation);
	child = fork();
	if (child == 0) {
		if (reader_cache(m)->generation != 0)
			_exit(1);
		if (pick(1, &c) != MCSHM_OK ||
		    reader_cache(m)->generation != file.h->generation)
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &how, 0), child);
	assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

static int
file_in_place_of(int fd)
{
	const int other = open("/dev/null", O_RDONLY);

	assert_int_equal(dup2(other, fd), fd);
	close(other);
	return fd;
}

/* The program closes all descriptors, and has its own in their place. */
static void
test_foreign_descriptor(void **state)
{
	struct mcshm_choice c;
	struct stat st;
	int fd;

	(void)state;
	start(MAGLEV, 10);
	fd = file_in_place_of(m->dirfd);
	replace(12);
	assert_int_equal(pick(1, &c), MCSHM_OK);
	assert_true(c.roster == file.h->roster_id);
	assert_true(m->dirfd != fd);
	assert_int_equal(fstat(fd, &st), 0);	/* not closed */
	close(fd);
	fd = file_in_place_of(m->dirfd);
	assert_int_equal(status().alive, 1);
	mcshm_close(m);
	m = NULL;
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
}

/* Servers and states ------------------------------------------------------ */

static const struct mkfile_server kinds[] = {
	{ "c1", "10.1.0.7", MCSHM_KIND_IPV4, 11211, 1 },
	{ "", "10.1.0.7", MCSHM_KIND_IPV4, 11212, 2 },
	{ "", "fe80::1", MCSHM_KIND_IPV6, 11211, 3 },
	{ "", "/run/mc.sock", MCSHM_KIND_UNIX, 0, 4 },
	{ "", "cache.example", MCSHM_KIND_NAME, 11211, 5 },
	{ "c6", "cache.example", MCSHM_KIND_NAME, 11213, 6 },
};
#define KINDS (sizeof kinds / sizeof *kinds)

static void
start_kinds(void)
{
	mkfile_make(&file, MAGLEV, kinds, KINDS);
	mkfile_entry(&file, 2)->address[0].scope = 5;
	mkfile_entry(&file, 5)->addresses = 1;
	mkfile_entry(&file, 5)->address[0] = (struct mcshm_address){
		.kind = MCSHM_KIND_IPV4, .port = 11213,
		.ip = { 127, 0, 0, 1 } };
	now = file.h->heartbeat;
	mkfile_create(&file, path);
	open_web(0);
}

static void
test_servers(void **state)
{
	static const char *const names[] = { "c1", "10.1.0.7:11212",
		"[fe80::1]:11211", "/run/mc.sock", "cache.example:11211",
		"c6" };
	struct mcshm_server s[KINDS + 1];
	const struct sockaddr_in *in;
	const struct sockaddr_in6 *in6;
	const struct sockaddr_un *un;
	uint64_t roster;

	(void)state;
	start_kinds();
	assert_int_equal(mcshm_servers(m, s, KINDS + 1, sizeof *s, &roster),
	    KINDS);
	assert_true(roster == file.h->roster_id);
	for (uint32_t i = 0; i < KINDS; i++) {
		assert_int_equal(s[i].slot, i);
		assert_int_equal(s[i].weight, i + 1);
		assert_string_equal(s[i].name, names[i]);
	}
	in = (struct sockaddr_in *)&s[0].addr;
	assert_int_equal(s[0].addrlen, sizeof *in);
	assert_int_equal(in->sin_family, AF_INET);
	assert_int_equal(ntohs(in->sin_port), 11211);
	assert_int_equal(ntohl(in->sin_addr.s_addr), 0x0a010007);
	in6 = (struct sockaddr_in6 *)&s[2].addr;
	assert_int_equal(s[2].addrlen, sizeof *in6);
	assert_int_equal(in6->sin6_family, AF_INET6);
	assert_int_equal(in6->sin6_scope_id, 5);
	assert_int_equal(in6->sin6_addr.s6_addr[0], 0xfe);
	assert_int_equal(in6->sin6_addr.s6_addr[15], 1);
	un = (struct sockaddr_un *)&s[3].addr;
	assert_int_equal(un->sun_family, AF_UNIX);
	assert_string_equal(un->sun_path, "/run/mc.sock");
	assert_int_equal(s[4].addrlen, 0);
	in = (struct sockaddr_in *)&s[5].addr;
	assert_int_equal(ntohl(in->sin_addr.s_addr), 0x7f000001);
}

/* Callers of other versions have shorter structs, or longer ones. */
static void
test_servers_sizes(void **state)
{
	struct {
		struct mcshm_server s;
		unsigned char more[40];
	} large[KINDS];
	struct {
		uint32_t slot, weight;
	} small[KINDS];
	struct mcshm_server s;

	(void)state;
	start_kinds();
	memset(large, 0xff, sizeof large);
	assert_int_equal(mcshm_servers(m, &large[0].s, KINDS, sizeof *large,
	    NULL), KINDS);
	for (uint32_t i = 0; i < KINDS; i++) {
		assert_int_equal(large[i].s.weight, i + 1);
		for (size_t j = 0; j < sizeof large[i].more; j++)
			assert_int_equal(large[i].more[j], 0);
	}
	assert_int_equal(mcshm_servers(m, (struct mcshm_server *)(void *)small,
	    KINDS, sizeof *small, NULL), KINDS);
	for (uint32_t i = 0; i < KINDS; i++)
		assert_true(small[i].slot == i && small[i].weight == i + 1);
	/* Less room than servers. */
	memset(&s, 0xff, sizeof s);
	assert_int_equal(mcshm_servers(m, &s, 1, sizeof s, NULL), KINDS);
	assert_string_equal(s.name, "c1");
	assert_int_equal(mcshm_servers(m, NULL, 0, 0, NULL), KINDS);
	assert_int_equal(mcshm_servers(m, NULL, 1, 1, NULL), MCSHM_EINVAL);
	assert_int_equal(mcshm_servers(m, &s, 1, 0, NULL), MCSHM_EINVAL);
}

static void
test_server(void **state)
{
	struct mcshm_server s;
	struct mcshm_choice c;

	(void)state;
	start_kinds();
	assert_int_equal(pick(key_of(3, false), &c), MCSHM_OK);
	assert_int_equal(mcshm_server(m, &c, &s, sizeof s), MCSHM_OK);
	assert_string_equal(s.name, "/run/mc.sock");
	assert_int_equal(s.slot, 3);
	c.slot = KINDS;
	assert_int_equal(mcshm_server(m, &c, &s, sizeof s), MCSHM_EROSTER);
	c.slot = 3;
	/* A new address is a new roster. */
	file.address_epoch = 1;
	mkfile_publish(&file);
	assert_int_equal(mcshm_server(m, &c, &s, sizeof s), MCSHM_EROSTER);
	assert_int_equal(pick(key_of(3, false), &c), MCSHM_OK);
	assert_int_equal(mcshm_server(m, &c, &s, sizeof s), MCSHM_OK);
	/* A retired file is still the one of its choices. */
	replace(3);
	assert_int_equal(mcshm_server(m, &c, &s, sizeof s), MCSHM_OK);
	assert_int_equal(pick(1, &(struct mcshm_choice){ 0 }), MCSHM_OK);
	assert_int_equal(mcshm_server(m, &c, &s, sizeof s), MCSHM_EROSTER);
	assert_int_equal(mcshm_server(m, NULL, &s, sizeof s), MCSHM_EINVAL);
	assert_int_equal(mcshm_server(m, &c, NULL, sizeof s), MCSHM_EINVAL);
}

static void
test_snapshot(void **state)
{
	struct mcshm_state v[5];
	struct mcshm_entry *e;
	struct mcshm_status st;

	(void)state;
	start(MAGLEV, 5);
	e = mkfile_entry(&file, 1);
	e->reason = MCSHM_R_TIMEOUT;
	e->degraded = 4;
	e->history = 0xf0;
	e->proof = 1;
	e->wrong = 2;
	e->seen = 0xff;
	e->since = 5;
	e->checked = 6;
	e->probes = 7;
	e->failures = 8;
	e->rtt_us = 9;
	mkfile_set(&file, 1, MCSHM_HELD, MCSHM_READY);
	mkfile_set(&file, 2, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&file, 3, MCSHM_UP, MCSHM_MAINT);
	mkfile_publish(&file);
	now += 2 * SECOND;
	assert_int_equal(mcshm_snapshot(m, v, 5, sizeof *v, &st, sizeof st), 5);
	assert_true(v[0].usable && !v[0].held && v[0].verdict == MCSHM_UP);
	assert_true(!v[1].usable && v[1].held && v[1].verdict == MCSHM_HELD);
	assert_true(!v[2].usable && !v[2].held && v[2].verdict == MCSHM_DOWN);
	assert_true(!v[3].usable && v[3].admin == MCSHM_MAINT);
	assert_int_equal(v[1].reason, MCSHM_R_TIMEOUT);
	assert_int_equal(v[1].degraded, 4);
	assert_int_equal(v[1].history, 0xf0);
	assert_int_equal(v[1].proof, 1);
	assert_int_equal(v[1].wrong, 2);
	assert_int_equal(v[1].seen, 0xff);
	assert_int_equal(v[1].since, 5);
	assert_int_equal(v[1].checked, 6);
	assert_int_equal(v[1].probes, 7);
	assert_int_equal(v[1].failures, 8);
	assert_int_equal(v[1].rtt_us, 9);
	assert_true(st.roster == file.h->roster_id);
	assert_true(st.generation == file.h->generation);
	assert_true(st.heartbeat_age == 2 * SECOND);
	assert_int_equal(st.servers, 5);
	assert_int_equal(st.usable, 2);
	assert_int_equal(st.pid, getpid());
	assert_true(st.alive && !st.hung && !st.stale && !st.superseded);
	/* The checker hangs: its lock is there, its heart does not beat. */
	now += 30 * SECOND;
	assert_int_equal(mcshm_snapshot(m, v, 5, sizeof *v, &st, sizeof st), 5);
	assert_true(st.alive && st.hung && st.stale);
	assert_int_equal(st.usable, 4);
	assert_true(v[1].usable && !v[1].held && !v[3].usable);
	/* It is dead. */
	munmap(file.map, file.map_size);
	close(file.fd);
	file.map = NULL;
	file.fd = -1;
	st = status();
	assert_true(!st.alive && !st.hung && st.stale);
	assert_int_equal(mcshm_snapshot(m, NULL, 1, 1, NULL, 0), MCSHM_EINVAL);
	assert_int_equal(mcshm_snapshot(NULL, NULL, 0, 0, NULL, 0),
	    MCSHM_EINVAL);
	assert_int_equal(mcshm_snapshot(m, NULL, 0, 0, NULL, 0), 5);
}

/*
 * The writer overtakes the reader in the middle of its read (where it looks at
 * the clock): twice, so that the section which is being read is rewritten.
 * rtt says which generation a state is of.
 */
static int overtake;			/* times to do so */

static uint64_t
overtaking_clock(void)
{
	if (overtake > 0) {
		overtake--;
		for (int i = 0; i < 2; i++) {
			mkfile_entry(&file, 4)->rtt_us =
			    (uint32_t)file.h->generation + 1;
			/* In odd ones 1 is down, in even ones 2. */
			mkfile_set(&file, 1 + (file.h->generation & 1),
			    MCSHM_DOWN, MCSHM_READY);
			mkfile_set(&file, 2 - (file.h->generation & 1),
			    MCSHM_UP, MCSHM_READY);
			mkfile_publish(&file);
		}
	}
	return now;
}

static void
test_overtaken(void **state)
{
	struct mcshm_state v[5];
	struct mcshm_status st;
	struct mcshm_choice c;
	unsigned k;

	(void)state;
	start(MAGLEV, 5);
	m->clock = overtaking_clock;
	for (int times = 0; times < 8; times++) {
		overtake = times;
		assert_int_equal(mcshm_snapshot(m, v, 5, sizeof *v, &st,
		    sizeof st), 5);
		assert_int_equal(overtake, 0);
		assert_true(st.generation == file.h->generation);
		assert_true(times == 0 || v[4].rtt_us ==
		    (uint32_t)st.generation);
	}
	overtake = 1000;
	assert_int_equal(mcshm_snapshot(m, v, 5, sizeof *v, NULL, 0),
	    MCSHM_EAGAIN);
	/* A key that looks at the clock: right, or BLIND; never without end. */
	k = key_of(2, true);
	for (int times = 0; times < 8; times++) {
		overtake = times;
		assert_int_equal(pick(k, &c), MCSHM_OK);
		assert_int_equal(c.flags, 0);
		assert_int_equal(c.slot == 2,
		    mkfile_entry(&file, 2)->verdict == MCSHM_UP);
	}
	overtake = 1000;
	assert_int_equal(pick(k, &c), MCSHM_OK);
	assert_int_equal(c.flags, MCSHM_BLIND);
	assert_true(c.home == 2 && c.roster == file.h->roster_id);
	overtake = 0;
}

/* Waiting ----------------------------------------------------------------- */

static uint64_t
real_clock(void)
{
	return mkfile_boottime();
}

struct waiter {
	uint64_t generation;
	int got;
	_Atomic bool done;
};

static void *
waiter(void *arg)
{
	struct waiter *w = arg;

	w->got = mcshm_wait(m, w->generation, 60 * SECOND, &w->generation);
	w->done = true;
	return NULL;
}

/* Until one that sleeps on the file's generation was woken, or has seen. */
static void
wake(const struct waiter *w)
{
	while (!w->done && syscall(SYS_futex, mcshm_generation_low(file.map +
		   READER_HEADER(generation)), FUTEX_WAKE, INT_MAX, NULL, NULL,
		   0) == 0)
		usleep(100);
}

static void
test_wait(void **state)
{
	struct waiter w = { .done = false };
	uint64_t g = 0, t;
	pthread_t thread;

	(void)state;
	start(MAGLEV, 5);
	m->clock = real_clock;
	assert_int_equal(mcshm_wait(m, 0, 0, &g), 1);
	assert_true(g == file.h->generation);
	assert_int_equal(mcshm_wait(m, g - 1, UINT64_MAX, &g), 1);
	t = mkfile_boottime();
	assert_int_equal(mcshm_wait(m, g, SECOND / 20, &g), 0);
	assert_true(mkfile_boottime() - t >= SECOND / 20);
	assert_int_equal(mcshm_wait(m, g, 0, &g), 0);
	assert_int_equal(mcshm_wait(m, g, 0, NULL), MCSHM_EINVAL);
	publish_one(1, MCSHM_HELD, MCSHM_READY);
	assert_int_equal(mcshm_wait(m, g, SECOND, &g), 1);
	assert_true(g == file.h->generation);
	/* Woken for nothing, it sleeps on; so it has slept. */
	w.generation = g;
	assert_int_equal(pthread_create(&thread, NULL, waiter, &w), 0);
	wake(&w);
	assert_false(w.done);
	publish_one(1, MCSHM_DOWN, MCSHM_READY);
	t = mkfile_boottime();
	wake(&w);
	pthread_join(thread, NULL);
	assert_int_equal(w.got, 1);
	assert_true(w.generation == file.h->generation);
	assert_true(mkfile_boottime() - t < SECOND);
}

/* A new file that nobody has announced. */
static void
test_wait_for_new_file(void **state)
{
	uint64_t g, before;

	(void)state;
	start(MAGLEV, 5);
	m->clock = real_clock;
	now = mkfile_boottime();
	g = before = status().generation;
	make_anew(7);
	assert_int_equal(mcshm_wait(m, g, 5 * SECOND, &g), 1);
	assert_true(g == file.h->generation && g != before);
	mcshm_close(m);
	open_web(MCSHM_NOFOLLOW);
	m->clock = real_clock;
	g = before = status().generation;
	make_anew(8);
	assert_int_equal(mcshm_wait(m, g, 5 * SECOND, &g), 1);
	assert_true(g == before);
	assert_int_equal(mcshm_refresh(m), 1);
}

/* Until the file is there, where it need not be there yet. */
static void
test_wait_for_first_file(void **state)
{
	struct waiter w = { .generation = 0 };
	uint64_t g = 1, t;
	pthread_t thread;

	(void)state;
	open_web(MCSHM_LATER);
	m->clock = real_clock;
	t = mkfile_boottime();
	assert_int_equal(mcshm_wait(m, 0, SECOND / 5, &g), MCSHM_ENOENT);
	assert_true(mkfile_boottime() - t >= SECOND / 5);
	assert_int_equal(g, 0);
	assert_int_equal(pthread_create(&thread, NULL, waiter, &w), 0);
	mkfile_make(&file, MAGLEV, NULL, 5);
	mkfile_create(&file, path);
	pthread_join(thread, NULL);
	assert_int_equal(w.got, 1);
	assert_true(w.generation == file.h->generation);
	assert_int_equal(status().servers, 5);
	/* Who follows by himself is told that he can. */
	mcshm_close(m);
	m = NULL;
	unlink(path);
	open_web(MCSHM_LATER | MCSHM_NOFOLLOW);
	m->clock = real_clock;
	mkfile_free(&file);
	mkfile_make(&file, MAGLEV, NULL, 6);
	mkfile_create(&file, path);
	assert_int_equal(mcshm_wait(m, 0, 60 * SECOND, &g), 1);
	assert_int_equal(g, 0);
	assert_int_equal(mcshm_refresh(m), 1);
	assert_int_equal(mcshm_wait(m, 0, 0, &g), 1);
	assert_true(g == file.h->generation);
}

/* Names ------------------------------------------------------------------- */

static void
test_names(void **state)
{
	(void)state;
	for (int err = MCSHM_EDOWN; err <= MCSHM_OK; err++)
		for (int other = err + 1; other <= MCSHM_OK; other++)
			assert_string_not_equal(mcshm_strerror(err),
			    mcshm_strerror(other));
	assert_string_equal(mcshm_strerror(-99), "unknown error");
	assert_string_equal(mcshm_strerror(7), "no error");
	for (unsigned r = 0; r < MCSHM_R_COUNT; r++) {
		assert_non_null(mcshm_reason_name(r));
		assert_non_null(mcshm_reason_text(r));
	}
	assert_string_equal(mcshm_reason_name(MCSHM_R_REFUSED), "refused");
	assert_null(mcshm_reason_name(MCSHM_R_COUNT));
	assert_null(mcshm_reason_text(UINT32_MAX));
	for (unsigned bit = 0; bit < 64; bit++) {
		const uint64_t all = MCSHM_DEGRADED_ALL;
		const bool known = (all >> bit & 1) != 0;

		assert_int_equal(mcshm_degraded_name(bit) != NULL, known);
		assert_int_equal(mcshm_degraded_text(bit) != NULL, known);
	}
	assert_string_equal(mcshm_degraded_name(5), "slow");
	assert_null(mcshm_degraded_name(UINT32_MAX));
	assert_string_equal(mcshm_verdict_name(MCSHM_HELD), "HELD");
	assert_string_equal(mcshm_verdict_name(MCSHM_RECOVERING), "RECOVERING");
	assert_null(mcshm_verdict_name(5));
	assert_string_equal(mcshm_admin_name(MCSHM_MAINT), "MAINT");
	assert_null(mcshm_admin_name(3));
}

int
main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_open_arguments),
		TEST(test_open_paths),
		TEST(test_trust),
		TEST(test_not_a_file),
		TEST(test_no_descriptors),
		TEST(test_no_way),
		TEST(test_damaged_fields),
		TEST(test_refused),
		TEST(test_truncated),
		TEST(test_mad_writer),
		TEST(test_mad_table),
		TEST(test_mad_ring),
		TEST(test_pick),
		TEST(test_fast_path_is_slow_path),
		TEST(test_processes_agree),
		TEST(test_none),
		TEST(test_dead_policy),
		TEST(test_fail_open),
		TEST(test_fail_open_and_dead),
		TEST(test_stale),
		TEST(test_rebooted),
		TEST(test_follow),
		TEST(test_thousand_replacements),
		TEST(test_removed_and_made_anew),
		TEST(test_directory_made_anew),
		TEST(test_bad_successor),
		TEST(test_pool_removed),
		TEST(test_nofollow),
		TEST(test_cache_is_whole),
		TEST(test_zero),
		TEST(test_later),
		TEST(test_refresh),
		TEST(test_guard),
		TEST(test_guard_of_a_pid_that_returns),
		TEST(test_cache_after_fork),
		TEST(test_foreign_descriptor),
		TEST(test_servers),
		TEST(test_servers_sizes),
		TEST(test_server),
		TEST(test_snapshot),
		TEST(test_overtaken),
		TEST(test_wait),
		TEST(test_wait_for_new_file),
		TEST(test_wait_for_first_file),
		TEST(test_names),
	};

	if (argc > 1)			/* one test, by its name */
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
