/*
 * scheme.c - the schemes that there are: names, hashes, identities; pure.
 *
 * One row of the table is all there is to know of a scheme, but its placement
 * (scheme_build.c) and its choice (scheme_choose.c).
 */
#include "scheme.h"

#include <stdio.h>
#include <string.h>

#include "hash_xxh3.h"

#define HASH(name) (UINT32_C(1) << MCSHM_HASH_##name)

/* All that libmemcached has; twemproxy has one less and two more. */
#define LIBHASHKIT							\
	(HASH(ONE_AT_A_TIME) | HASH(MD5) | HASH(CRC) | HASH(FNV1_64) |	\
	    HASH(FNV1A_64) | HASH(FNV1_32) | HASH(FNV1A_32) |		\
	    HASH(HSIEH) | HASH(MURMUR) | HASH(MURMUR3) | HASH(JENKINS))
#define TWEMPROXY							\
	((LIBHASHKIT & ~HASH(MURMUR3)) | HASH(CRC16) | HASH(CRC32A))
#define PECL (HASH(CRC32A) | HASH(FNV1A_32))

/* What servers are called where a scheme hashes their names. */
enum ident {
	IDENT_ADDRESS,		/* nothing is hashed: host:port */
	IDENT_NAME,		/* the name, else host:port */
	IDENT_TWEMPROXY,	/* the name, else as HOST_SHORT; unix: path: */
	IDENT_HOST_SHORT,	/* host, and :port unless that is 11211; unix:
				 * path:0 */
	IDENT_HOST_PORT,	/* host:port, no brackets; unix: the path */
	IDENT_PHP,		/* as ADDRESS; unix: unix://path:0 */
};

struct scheme {
	const char *name;
	uint32_t hash;		/* the default */
	uint32_t hashes;	/* those that it takes, a bit each */
	uint32_t points;	/* hash of its points; 0: that of the key */
	enum ident ident;
	bool points_free;	/* the ini may name another one */
	bool repeats, weights, tag, map;
};

static const struct scheme schemes[MCSHM_SCHEMES] = {
	[MCSHM_SCHEME_MAGLEV] = { "maglev",
		MCSHM_HASH_XXH3, HASH(XXH3), .ident = IDENT_NAME,
		.weights = true },
	[MCSHM_SCHEME_LIBMEMCACHED_MODULA] = { "libmemcached-modula",
		MCSHM_HASH_ONE_AT_A_TIME, LIBHASHKIT, .repeats = true },
	[MCSHM_SCHEME_LIBMEMCACHED_KETAMA] = { "libmemcached-ketama",
		MCSHM_HASH_ONE_AT_A_TIME, LIBHASHKIT,
		.ident = IDENT_HOST_SHORT, .points_free = true,
		.repeats = true },
	[MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED] = {
		"libmemcached-ketama-weighted",
		MCSHM_HASH_MD5, LIBHASHKIT, MCSHM_HASH_MD5,
		.ident = IDENT_HOST_SHORT, .repeats = true, .weights = true },
	[MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET] = {
		"libmemcached-virtual-bucket",
		MCSHM_HASH_ONE_AT_A_TIME, LIBHASHKIT, .repeats = true,
		.map = true },
	[MCSHM_SCHEME_TWEMPROXY_KETAMA] = { "twemproxy-ketama",
		MCSHM_HASH_FNV1A_64, TWEMPROXY, MCSHM_HASH_MD5,
		.ident = IDENT_TWEMPROXY, .repeats = true, .weights = true,
		.tag = true },
	[MCSHM_SCHEME_TWEMPROXY_MODULA] = { "twemproxy-modula",
		MCSHM_HASH_FNV1A_64, TWEMPROXY,
		.ident = IDENT_TWEMPROXY, .repeats = true, .weights = true,
		.tag = true },
	[MCSHM_SCHEME_CACHE_MEMCACHED] = { "cache-memcached",
		MCSHM_HASH_CRC, HASH(CRC), .repeats = true, .weights = true },
	[MCSHM_SCHEME_PYTHON_MEMCACHED] = { "python-memcached",
		MCSHM_HASH_CRC, HASH(CRC), .repeats = true, .weights = true },
	[MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS] = { "pymemcache-rendezvous",
		MCSHM_HASH_MURMUR3_ZERO, HASH(MURMUR3_ZERO),
		.ident = IDENT_HOST_PORT },
	[MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS_BYTES] = {
		"pymemcache-rendezvous-bytes",
		MCSHM_HASH_MURMUR3_ZERO, HASH(MURMUR3_ZERO),
		.ident = IDENT_HOST_PORT },
	[MCSHM_SCHEME_PHP_MEMCACHE_STANDARD] = { "php-memcache-standard",
		MCSHM_HASH_CRC32A, PECL, .repeats = true, .weights = true },
	[MCSHM_SCHEME_PHP_MEMCACHE_CONSISTENT] = { "php-memcache-consistent",
		MCSHM_HASH_CRC32A, PECL, .ident = IDENT_PHP,
		.repeats = true, .weights = true },
	[MCSHM_SCHEME_DALLI] = { "dalli",
		MCSHM_HASH_CRC32A, HASH(CRC32A), MCSHM_HASH_SHA1,
		.ident = IDENT_HOST_PORT, .weights = true },
};

/* The first name of a hash is the one that is shown. */
static const struct {
	const char *name;
	uint32_t hash;
} hashes[] = {
	{ "xxh3", MCSHM_HASH_XXH3 },
	{ "one_at_a_time", MCSHM_HASH_ONE_AT_A_TIME },
	{ "default", MCSHM_HASH_ONE_AT_A_TIME },
	{ "md5", MCSHM_HASH_MD5 },
	{ "crc", MCSHM_HASH_CRC },
	{ "fnv1_64", MCSHM_HASH_FNV1_64 },
	{ "fnv1a_64", MCSHM_HASH_FNV1A_64 },
	{ "fnv1_32", MCSHM_HASH_FNV1_32 },
	{ "fnv1a_32", MCSHM_HASH_FNV1A_32 },
	{ "hsieh", MCSHM_HASH_HSIEH },
	{ "murmur", MCSHM_HASH_MURMUR },
	{ "murmur3", MCSHM_HASH_MURMUR3 },
	{ "jenkins", MCSHM_HASH_JENKINS },
	{ "crc16", MCSHM_HASH_CRC16 },
	{ "crc32a", MCSHM_HASH_CRC32A },
	{ "murmur3_zero", MCSHM_HASH_MURMUR3_ZERO },
	{ "sha1", MCSHM_HASH_SHA1 },
};

#define ROWS(table) (sizeof(table) / sizeof *(table))

static_assert(MCSHM_HASHES <= 32, "a bit each");

/* Names ------------------------------------------------------------------- */

static const struct scheme *
scheme_row(uint32_t scheme)
{
	if (scheme >= MCSHM_SCHEMES || schemes[scheme].name == NULL)
		return NULL;
	return &schemes[scheme];
}

uint32_t
scheme_by_name(const char *name)
{
	for (uint32_t i = 1; i < MCSHM_SCHEMES; i++)
		if (strcmp(schemes[i].name, name) == 0)
			return i;
	return 0;
}

const char *
scheme_name(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row ? row->name : NULL;
}

uint32_t
scheme_hash_by_name(const char *name)
{
	for (size_t i = 0; i < ROWS(hashes); i++)
		if (strcmp(hashes[i].name, name) == 0)
			return hashes[i].hash;
	return 0;
}

const char *
scheme_hash_name(uint32_t hash)
{
	for (size_t i = 0; i < ROWS(hashes); i++)
		if (hashes[i].hash == hash)
			return hashes[i].name;
	return NULL;
}

/* What goes together ------------------------------------------------------ */

uint32_t
scheme_default_hash(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row ? row->hash : 0;
}

bool
scheme_takes_hash(uint32_t scheme, uint32_t hash)
{
	const struct scheme *row = scheme_row(scheme);

	return row && hash < MCSHM_HASHES && (row->hashes >> hash & 1);
}

uint32_t
scheme_default_points_hash(uint32_t scheme, uint32_t hash)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->points != 0 ? row->points : hash;
}

bool
scheme_takes_points_hash(uint32_t scheme, uint32_t hash, uint32_t points)
{
	const struct scheme *row = scheme_row(scheme);

	if (row && row->points_free)
		return scheme_takes_hash(scheme, points);
	return points == scheme_default_points_hash(scheme, hash);
}

bool
scheme_takes_hash_tag(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->tag;
}

bool
scheme_takes_map(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->map;
}

bool
scheme_allows_repeats(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->repeats;
}

bool
scheme_has_weights(uint32_t scheme)
{
	const struct scheme *row = scheme_row(scheme);

	return row && row->weights;
}

bool
scheme_setting_valid(const struct scheme_setting *s)
{
	return scheme_takes_hash(s->scheme, s->hash) &&
	    scheme_takes_points_hash(s->scheme, s->hash, s->points_hash) &&
	    (s->hash_flags & ~MCSHM_HASH_UNSIGNED) == 0 &&
	    s->hash_tag <= 0xffff &&
	    (s->hash_tag == 0 || scheme_takes_hash_tag(s->scheme));
}

struct scheme_setting
scheme_setting_of(const struct mcshm_header *h)
{
	return (struct scheme_setting){ h->scheme, h->hash, h->points_hash,
		h->hash_flags, h->hash_tag };
}

bool
scheme_known(const struct mcshm_header *h)
{
	const struct scheme_setting set = scheme_setting_of(h);

	return scheme_setting_valid(&set);
}

/* Identities -------------------------------------------------------------- */

#define MEMCACHED_PORT 11211

/* host, [v6] or the path; a port that goes with it. */
static int
ident_address(const struct scheme_where *w, char ident[272])
{
	if (w->kind == MCSHM_KIND_UNIX)
		return snprintf(ident, 272, "%s", w->host);
	return snprintf(ident, 272, w->kind == MCSHM_KIND_IPV6 ?
	    "[%s]:%u" : "%s:%u", w->host, (unsigned)w->port);
}

static int
ident_host_short(const struct scheme_where *w, char ident[272])
{
	if (w->port == MEMCACHED_PORT)
		return snprintf(ident, 272, "%s", w->host);
	return snprintf(ident, 272, "%s:%u", w->host, (unsigned)w->port);
}

static int
ident_host_port(const struct scheme_where *w, char ident[272])
{
	if (w->kind == MCSHM_KIND_UNIX)
		return snprintf(ident, 272, "%s", w->host);
	return snprintf(ident, 272, "%s:%u", w->host, (unsigned)w->port);
}

/* What stands before the weight in its configuration: of a unix socket the
 * colon, too. */
static int
ident_twemproxy(const struct scheme_where *w, char ident[272])
{
	if (w->name[0] != '\0')
		return snprintf(ident, 272, "%s", w->name);
	if (w->kind == MCSHM_KIND_UNIX)
		return snprintf(ident, 272, "%s:", w->host);
	return ident_host_short(w, ident);
}

/* As a program has to write it for php's streams. */
static int
ident_php(const struct scheme_where *w, char ident[272])
{
	if (w->kind == MCSHM_KIND_UNIX)
		return snprintf(ident, 272, "unix://%s:0", w->host);
	return ident_address(w, ident);
}

static int
ident_name(const struct scheme_where *w, char ident[272])
{
	if (w->name[0] != '\0')
		return snprintf(ident, 272, "%s", w->name);
	return ident_address(w, ident);
}

int
scheme_ident(uint32_t scheme, const struct scheme_where *w, char ident[272])
{
	static int (*const idents[])(const struct scheme_where *, char *) = {
		[IDENT_ADDRESS] = ident_address,
		[IDENT_NAME] = ident_name,
		[IDENT_TWEMPROXY] = ident_twemproxy,
		[IDENT_HOST_SHORT] = ident_host_short,
		[IDENT_HOST_PORT] = ident_host_port,
		[IDENT_PHP] = ident_php,
	};
	const struct scheme *row = scheme_row(scheme);
	const int len = idents[row ? row->ident : IDENT_ADDRESS](w, ident);

	return len < 272 ? len : -1;
}

uint64_t
scheme_text_hash(const void *p, size_t len)
{
	return hash_xxh3(p, len, 0);
}
