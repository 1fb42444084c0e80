/*
 * scheme_ring.c - rings of points, as four clients build them; pure.
 *
 * Each server has points: numbers that are hashes of its text, a sign between
 * and a number, "10.0.0.1-0".
 *
 *	libmemcached-ketama	100, by points_hash
 *	libmemcached-ketama-weighted, twemproxy-ketama
 *				the four words of each MD5; how many: below
 *	dalli			floor(160 * n * weight / weights), the first
 *				word of each SHA1 of "text:number"
 *	php-memcache-consistent	160 * weight, by points_hash
 *
 * Points of the same value stand in the order of their servers.  libmemcached
 * sorts by that order.  The others leave it to qsort(3) or qsort_r(3), which in
 * glibc merge, and so keep the order in which points were added: that of the
 * servers, in twemproxy that of their names (scheme_build.c sees to it).  With
 * another libc the client does not know itself whom such a point belongs to.
 * Who looks up the first point that is not below a hash gets the first server
 * of them; dalli, who looks for the last one that is not above it, the last.
 */
#include <assert.h>
#include <string.h>

#include "hash.h"
#include "scheme_ring.h"

#define IDENT_MAX 271		/* bytes of a roster's ident */
#define DECIMAL_MAX 10

/* How many ---------------------------------------------------------------- */

/* A number of 24 bits at most times 2^e: IEEE's single precision. */
struct single {
	uint64_t m;
	int e;
};

/* m, not 0, rounded to it: to nearest, ties to even. */
static struct single
single(uint64_t m, int e)
{
	const int over = 64 - 24 - __builtin_clzll(m);
	uint64_t half, rest;

	if (over <= 0)
		return (struct single){ m, e };
	half = UINT64_C(1) << (over - 1);
	rest = m & (2 * half - 1);
	m >>= over;
	m += rest > half || (rest == half && (m & 1));
	return (struct single){ m, e + over };
}

/* The quotient has 38 bits or more: a last one that stands for all behind it
 * rounds as they would. */
static struct single
single_divide(struct single a, struct single b)
{
	const int shift = __builtin_clzll(a.m);
	const uint64_t m = a.m << shift, rest = m % b.m != 0;

	return single(m / b.m | rest, a.e - b.e - shift);
}

/*
 * floor((float)weight / (float)weights * 160 / 4 * (float)n + 1e-10f) * 4, with
 * every step rounded to single precision, as on machines that have just that.
 * In integers, so that no compiler, flag or processor can take a wider float,
 * a reciprocal or a fused step instead: with 25 equal servers it is 156, and
 * would be 160.  The sum with 1e-10 is left out, because it never changes the
 * result: that is less than half of what single precision can tell apart just
 * below 1, or above.
 */
static uint32_t
ketama_points(uint32_t weight, uint64_t weights, uint32_t n)
{
	struct single share;

	share = single_divide(single(weight, 0), single(weights, 0));
	share = single(share.m * 160, share.e);
	share = single(share.m * n, share.e - 2);
	return 4 * (uint32_t)(share.e < 0 ?
	    share.m >> -share.e : share.m << share.e);
}

static uint32_t
weight(const struct scheme_server *s)
{
	return s->weight > 0 ? s->weight : 1;
}

static uint64_t
weights(const struct scheme_plan *p)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < p->n; i++)
		sum += weight(&p->server[i]);
	return sum;
}

/* Points of server i; sum: of all weights. */
static uint64_t
points_of(const struct scheme_plan *p, uint32_t i, uint64_t sum)
{
	const uint32_t w = weight(&p->server[i]);

	switch (p->set.scheme) {
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA:
		return 100;
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED:
	case MCSHM_SCHEME_TWEMPROXY_KETAMA:
		return ketama_points(w, sum, p->n);
	case MCSHM_SCHEME_DALLI:
		return UINT64_C(160) * p->n * w / sum;
	case MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT:
		return UINT64_C(160) * w;
	default:
		return 0;
	}
}

uint32_t
scheme_ring_points(const struct scheme_plan *p)
{
	const uint64_t sum = weights(p);
	uint64_t points = 0;

	for (uint32_t i = 0; i < p->n; i++)
		points += points_of(p, i, sum);
	return points <= MCSHM_MAX_POINTS ? (uint32_t)points : 0;
}

/* Where ------------------------------------------------------------------- */

/* What is hashed, and how much of it does not change. */
struct text {
	char byte[IDENT_MAX + 1 + DECIMAL_MAX];
	size_t stem;
};

static void
text_init(struct text *t, const struct scheme_server *s, char sign)
{
	assert(s->len <= IDENT_MAX);
	memcpy(t->byte, s->ident, s->len);
	t->byte[s->len] = sign;
	t->stem = s->len + 1;
}

/* Its length with this number. */
static size_t
text_number(struct text *t, uint32_t n)
{
	size_t digits = 1;

	for (uint32_t m = n; m >= 10; m /= 10)
		digits++;
	for (size_t i = digits; i-- > 0; n /= 10)
		t->byte[t->stem + i] = (char)('0' + n % 10);
	return t->stem + digits;
}

/* The points that one text gives; how many. */
static uint32_t
text_points(const struct scheme_setting *set, const struct text *t, size_t len,
    uint32_t word[5])
{
	switch (set->scheme) {
	case MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED:
	case MCSHM_SCHEME_TWEMPROXY_KETAMA:
		hash_md5(t->byte, len, word);
		return 4;
	case MCSHM_SCHEME_DALLI:
		hash_sha1(t->byte, len, word);
		return 1;
	default:
		word[0] = (uint32_t)hash_key(set->points_hash,
		    set->hash_flags, t->byte, len);
		return 1;
	}
}

/* n points of a server; the place behind them. */
static struct mcshm_point *
add_points(const struct scheme_plan *p, uint32_t slot, uint32_t n,
    struct mcshm_point *ring)
{
	const bool dalli = p->set.scheme == MCSHM_SCHEME_DALLI;
	struct text t;
	uint32_t word[5];

	text_init(&t, &p->server[slot], dalli ? ':' : '-');
	for (uint32_t number = 0; n > 0; number++) {
		const size_t len = text_number(&t, number);
		const uint32_t got = text_points(&p->set, &t, len, word);

		for (uint32_t i = 0; i < got; i++)
			*ring++ = (struct mcshm_point){ word[i], slot };
		n -= got;
	}
	return ring;
}

/* By value, a byte of it after the other, the last one first; points of the
 * same value stay in their order. */
static void
sort(struct mcshm_point *ring, uint32_t n, struct mcshm_point *other)
{
	for (unsigned shift = 0; shift < 32; shift += 8) {
		struct mcshm_point *const from = shift % 16 ? other : ring;
		struct mcshm_point *const to = shift % 16 ? ring : other;
		uint32_t at[257] = { 0 };

		for (uint32_t i = 0; i < n; i++)
			at[(from[i].point >> shift & 0xff) + 1]++;
		for (uint32_t i = 1; i < 256; i++)
			at[i] += at[i - 1];
		for (uint32_t i = 0; i < n; i++)
			to[at[from[i].point >> shift & 0xff]++] = from[i];
	}
}

void
scheme_ring_build(const struct scheme_plan *p, struct mcshm_point *ring,
    uint32_t points, void *scratch)
{
	const uint64_t sum = weights(p);
	struct mcshm_point *end = ring;

	for (uint32_t i = 0; i < p->n; i++)
		end = add_points(p, i, (uint32_t)points_of(p, i, sum), end);
	assert(end == ring + points);
	sort(ring, points, scratch);
}

/* The index --------------------------------------------------------------- */

/*
 * One and a half to three points a cell: a lookup reads a cell and four points,
 * most often of one cache line or two, and seldom has to go on.  A larger index
 * was measured to be no faster with few points, and slower with many, where
 * more of it is far away.
 */
#define POINTS_A_CELL UINT64_C(3)

uint32_t
scheme_ring_index_bits(uint32_t points)
{
	uint32_t bits = 1;

	while (bits < MCSHM_MAX_INDEX_BITS && POINTS_A_CELL << bits < points)
		bits++;
	return bits;
}

void
scheme_ring_index(const struct mcshm_point *ring, uint32_t points,
    uint32_t *index, uint32_t bits)
{
	const uint32_t cells = UINT32_C(1) << bits;
	uint32_t at = 0;

	for (uint32_t i = 0; i < cells; i++) {
		while (at < points && ring[at].point >> (32 - bits) < i)
			at++;
		index[i] = at;
	}
	index[cells] = points;
}
