/*
 * fuzz_input.c - from a fuzzer's input to a pool file.
 */
#include "fuzz_file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {				/* bits of the first byte */
	WAY_SUM = 1,		/* make the header's sum fit */
	WAY_RAW = 2,		/* the input is the file */
	WAY_SUMS = 4,		/* make the other sums fit, too */
	WAY_MANY = 8,		/* more servers */
	WAY_MIXED = 16		/* not all of them UP */
};
#define WAY_SCHEME 5		/* from this bit on */

static const uint32_t schemes[] = { MCSHM_SCHEME_LIBMEMCACHED_MODULA,
	MCSHM_SCHEME_LIBMEMCACHED_KETAMA, MCSHM_SCHEME_DALLI,
	MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS,
	MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES,
	MCSHM_SCHEME_CACHE_MEMCACHED, MCSHM_SCHEME_TWEMPROXY_KETAMA,
	MCSHM_SCHEME_PHP_MEMCACHE_STANDARD };

static char dir[200], path[232];

static void
clean_up(void)
{
	unlink(path);
	rmdir(dir);
}

const char *
fuzz_file_path(void)
{
	const char *tmp = getenv("TMPDIR");

	if (path[0] != 0)
		return path;
	snprintf(dir, sizeof dir, "%s/fuzz.XXXXXX",
	    tmp != NULL ? tmp : "/dev/shm");
	if (mkdtemp(dir) == NULL || chmod(dir, 0755) != 0) {
		perror(dir);
		abort();
	}
	snprintf(path, sizeof path, "%s/web.mcshm", dir);
	atexit(clean_up);
	return path;
}

void
fuzz_file_base(struct mkfile *f, uint8_t ways)
{
	/* Made once: a fuzzer's time is for what comes after. */
	static struct mkfile made[2][2][8];
	const unsigned scheme = ways >> WAY_SCHEME;
	const unsigned many = (ways & WAY_MANY) != 0;
	const unsigned mixed = (ways & WAY_MIXED) != 0;
	struct mkfile *m = &made[many][mixed][scheme];

	if (m->p == NULL) {
		mkfile_make(m, schemes[scheme], NULL, many ? 70 : 3);
		/* The same for every process; the last bytes are in use. */
		m->h->generation = (UINT64_C(1) << 40) + 1;
		m->h->file_id[0] = m->h->file_id[1] = 1;
		m->h->roster_id = MCSHM_ROSTER_EPOCH + 1;
		mkfile_set(m, 1, mixed ? MCSHM_DOWN : MCSHM_UP, MCSHM_READY);
		mkfile_set(m, 2, mixed ? MCSHM_HELD : MCSHM_UP,
		    mixed ? MCSHM_DRAIN : MCSHM_READY);
		mkfile_seal(m);
	}
	*f = *m;
	f->p = malloc(m->size);
	if (f->p == NULL)
		abort();
	memcpy(f->p, m->p, m->size);
	f->h = (struct mcshm_header *)(void *)f->p;
	f->h->heartbeat = mkfile_boottime();
}

void
fuzz_file_change(unsigned char *to, size_t room, const uint8_t *data,
    size_t size)
{
	while (size > 3) {
		const size_t at = (data[0] | (size_t)data[1] << 8) * 8 % room;
		size_t len = 1 + data[2] % 16;
		uint64_t word[2];

		data += 3;
		size -= 3;
		len = len < size ? len : size;
		memcpy(word, to + at, 8);
		word[1] = at + 16 <= room ? mcshm_load(to + at + 8) : 0;
		memcpy(word, data, len);
		mcshm_store(to + at, word[0]);
		if (at + 16 <= room)
			mcshm_store(to + at + 8, word[1]);
		data += len;
		size -= len;
	}
}

/* n records of `each` bytes at off, none of it beyond size. */
static bool
lies(uint64_t off, uint64_t n, uint64_t each, uint64_t size)
{
	return off <= size && (n == 0 || each <= (size - off) / n);
}

static void
fit_section(unsigned char *p, size_t size, const struct mcshm_header *h,
    uint64_t off)
{
	uint64_t sum;

	if (off < sizeof *h || h->section_size < sizeof(struct mcshm_section) ||
	    !lies(off, 1, h->section_size, size))
		return;
	sum = mcshm_section_sum(p + off, h, h->file_id);
	memcpy(p + off + offsetof(struct mcshm_section, sum), &sum, sizeof sum);
}

static void
fit_table(const unsigned char *p, size_t size, struct mcshm_header *h)
{
	if (!lies(h->buckets_off, h->buckets, 2, size))
		return;
	h->table_sum = mcshm_sum(p + h->buckets_off, 2 * (size_t)h->buckets,
	    0);
	if (h->ring_points != 0 && lies(h->ring_off, h->ring_points, 8, size))
		h->table_sum = mcshm_sum(p + h->ring_off,
		    8 * (size_t)h->ring_points, h->table_sum);
	if (h->ring_index_bits != 0 && h->ring_index_bits < 32 &&
	    lies(h->ring_index_off, (UINT64_C(1) << h->ring_index_bits) + 1, 4,
		size))
		h->table_sum = mcshm_sum(p + h->ring_index_off,
		    4 * (((size_t)1 << h->ring_index_bits) + 1), h->table_sum);
}

/*
 * With the geometry that the file itself says, which is what its readers will
 * use: with any other the sums would not fit where the two differ, and nobody
 * would look at what is behind them.  What lies outside of the file is refused
 * before a sum is looked at.
 */
static void
fit_sums(unsigned char *p, size_t size)
{
	struct mcshm_header *h = (void *)p;

	for (unsigned i = 0; i < 2; i++)
		fit_section(p, size, h, h->section_off[i]);
	if (lies(h->roster_off, h->servers, h->roster_stride, size))
		h->roster_sum = mcshm_sum(p + h->roster_off,
		    (size_t)h->servers * h->roster_stride, 0);
	fit_table(p, size, h);
}

static bool
put_file(const char *to, const void *p, size_t size)
{
	const int fd = open(to, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	const bool good = fd != -1 && write(fd, p, size) == (ssize_t)size;

	if (fd != -1)
		close(fd);
	return good;
}

/* RETIRED costs mc-shmdump a tenth of a second; seldom is enough. */
static void
seldom_retired(unsigned char *p, uint8_t ways)
{
	uint64_t *g = (void *)(p + offsetof(struct mcshm_header, generation));

	if (ways < 250)
		*g &= ~MCSHM_RETIRED;
}

bool
fuzz_file_fits(uint8_t ways)
{
	return (ways & WAY_SUM) && (ways & WAY_SUMS);
}

uint8_t
fuzz_file_ways(uint8_t ways, bool fits)
{
	ways &= (uint8_t)~(WAY_RAW | WAY_SUM | WAY_SUMS);
	return fits ? ways | WAY_SUM | WAY_SUMS : ways;
}

void
fuzz_file_fill(unsigned char *p, size_t size, const struct mkfile *base,
    const uint8_t *data, size_t len)
{
	struct mcshm_header *h = (void *)p;
	const uint8_t ways = data[0];

	if (ways & WAY_RAW) {
		memcpy(p, data + 1, size);
	} else {
		memcpy(p, base->p, size);
		fuzz_file_change(p, size, data + 1, len - 1);
	}
	seldom_retired(p, ways);
	if (size < sizeof *h)
		return;
	if (ways & WAY_SUMS)
		fit_sums(p, size);
	if (ways & WAY_SUM)
		h->header_sum = mcshm_header_sum(h);
}

bool
fuzz_file_write(const char *to, const uint8_t *data, size_t size)
{
	unsigned char *p;
	struct mkfile f;
	bool good = false;
	size_t len;

	if (size < 4)
		return false;
	fuzz_file_base(&f, data[0]);
	len = data[0] & WAY_RAW ? size - 1 : f.size;
	p = calloc(1, len < sizeof *f.h ? sizeof *f.h : len);
	if (p != NULL) {
		fuzz_file_fill(p, len, &f, data, size);
		good = put_file(to, p, len);
	}
	free(p);
	mkfile_free(&f);
	return good;
}
