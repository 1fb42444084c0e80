/*
 * conf_key.c - what the values of keys may be, and how they are written.
 *
 * Must not know where a value stands, nor what goes with what.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "conf_load.h"
#include "mcshm.h"		/* enum mcshm_admin */
#include "scheme.h"

/* Plain decimal digits; where they end, or NULL. */
static const char *
digits(const char *text, uint64_t *n)
{
	const char *end = text + strspn(text, "0123456789");

	if (end == text || end - text > 12)
		return NULL;
	*n = strtoull(text, NULL, 10);
	return end;
}

static const struct {
	const char *name;
	uint64_t ns;
} units[] = { { "h", CONF_HOUR }, { "m", CONF_MINUTE }, { "s", CONF_SECOND },
	{ "ms", CONF_MS }, { "us", CONF_MS / 1000 } };
#define UNITS (sizeof units / sizeof *units)

static const char *
time_scan(const char *text, uint64_t *n)
{
	const char *unit = digits(text, n);

	if (!unit)
		return "is not a time; write a whole number and a unit, as in "
		       "1500ms";
	if (!*unit && *n == 0)
		return NULL;
	if (!*unit)
		return "has no unit; write us, ms, s, m or h behind the number";
	for (size_t i = 0; i < UNITS; i++) {
		if (strcmp(unit, units[i].name) != 0)
			continue;
		/* Beyond every range is enough. */
		*n = *n > UINT64_MAX / units[i].ns ? UINT64_MAX
						   : *n * units[i].ns;
		return NULL;
	}
	return "is not a time; write a whole number and a unit (us, ms, s, m "
	       "or h), as in 1500ms";
}

static void
time_text(char text[CONF_NUMBER_TEXT], uint64_t n)
{
	size_t i = 0;

	if (n == 0) {
		snprintf(text, CONF_NUMBER_TEXT, "0");
		return;
	}
	while (i + 1 < UNITS && n % units[i].ns)
		i++;
	snprintf(text, CONF_NUMBER_TEXT, "%" PRIu64 "%s", n / units[i].ns,
	    units[i].name);
}

/* Of a span that clients know in seconds only. */
static const char *
seconds_scan(const char *text, uint64_t *n)
{
	const char *nonsense = time_scan(text, n);

	if (nonsense)
		return text[strspn(text, "0123456789")] == '\0' ?
		    "has no unit; write s, m or h behind the number" :
		    "is not a time; write a whole number and a unit (s, m or "
		    "h), as in 60s";
	if (*n != UINT64_MAX && *n % CONF_SECOND != 0)
		return "has a part of a second; write whole seconds, as in "
		       "60s";
	*n /= CONF_SECOND;
	return NULL;
}

static void
seconds_text(char text[CONF_NUMBER_TEXT], uint64_t n)
{
	time_text(text, n * CONF_SECOND);
}

static const char *
count_scan(const char *text, uint64_t *n)
{
	const char *end = digits(text, n);

	return end && !*end ? NULL : "is not a whole number; write one";
}

static void
count_text(char text[CONF_NUMBER_TEXT], uint64_t n)
{
	snprintf(text, CONF_NUMBER_TEXT, "%" PRIu64, n);
}

static const char *
percent_scan(const char *text, uint64_t *n)
{
	const char *end = digits(text, n);

	if (end && !*end && *n == 0)
		return NULL;
	return end && strcmp(end, "%") == 0 ? NULL :
	    "is not a percentage; write a whole number and %, as in 10%";
}

static void
percent_text(char text[CONF_NUMBER_TEXT], uint64_t n)
{
	snprintf(text, CONF_NUMBER_TEXT, "%" PRIu64 "%%", n);
}

static const char *
ratio_scan(const char *text, uint64_t *n)
{
	uint32_t ratio[2] = { 0, 0 };
	uint64_t bad, of;
	const char *slash, *end;

	if (strcmp(text, "off") == 0 || strcmp(text, "0") == 0)
		goto store;
	slash = digits(text, &bad);
	end = slash && *slash == '/' ? digits(slash + 1, &of) : NULL;
	if (!end || *end)
		return "is not a ratio; write BAD/OF, as in 5/20, or off";
	if (bad < 1 || bad > of || of > 64)
		return "is out of range; write BAD/OF with BAD from 1 to OF "
		       "and OF up to 64, or off";
	ratio[0] = (uint32_t)bad;
	ratio[1] = (uint32_t)of;
store:
	memcpy(n, ratio, sizeof *n);
	return NULL;
}

static void
ratio_text(char text[CONF_NUMBER_TEXT], uint64_t n)
{
	uint32_t ratio[2];

	memcpy(ratio, &n, sizeof ratio);
	if (ratio[1] == 0)
		snprintf(text, CONF_NUMBER_TEXT, "off");
	else
		snprintf(text, CONF_NUMBER_TEXT, "%u/%u", ratio[0], ratio[1]);
}

/* What a hash_tag begins with in the low byte, what it ends with above. */
static const char *
tag_scan(const char *text, uint64_t *n)
{
	const unsigned char from = (unsigned char)text[0];
	const unsigned char to = from ? (unsigned char)text[1] : 0;

	*n = 0;
	if (strcmp(text, "none") == 0)
		return NULL;
	if (from <= ' ' || from > '~' || to <= ' ' || to > '~' || text[2])
		return "is not two characters; write two visible ones of "
		       "ASCII with nothing around them, as in {}, or none";
	*n = from | (uint64_t)to << 8;
	return NULL;
}

static void
tag_text(char text[CONF_NUMBER_TEXT], uint64_t n)
{
	if (n == 0)
		snprintf(text, CONF_NUMBER_TEXT, "none");
	else
		snprintf(text, CONF_NUMBER_TEXT, "%c%c", (int)(n & 0xff),
		    (int)(n >> 8));
}

/* "10ms to 1h", "" where there is nothing to say. */
void
conf_range(char text[CONF_RANGE_TEXT], const struct key *k)
{
	char min[CONF_NUMBER_TEXT], max[CONF_NUMBER_TEXT];

	*text = '\0';
	if (!k->kind->number || k->max == 0)
		return;
	k->kind->number(min, k->min);
	k->kind->number(max, k->max);
	snprintf(text, CONF_RANGE_TEXT, "%s to %s", min, max);
}

uint64_t
conf_number(const struct key *k, const void *field)
{
	uint64_t n = 0;
	uint32_t n32 = 0;

	if (k->kind->size == sizeof n32) {
		memcpy(&n32, field, sizeof n32);
		return n32;
	}
	memcpy(&n, field, sizeof n);
	return n;
}

void
conf_value(char text[CONF_FILE_BYTES + 1], const struct key *k,
    const void *field)
{
	char number[CONF_NUMBER_TEXT];
	const char *path;

	if (k->kind->number) {
		k->kind->number(number, conf_number(k, field));
		snprintf(text, CONF_FILE_BYTES + 1, "%s", number);
	} else if (k->kind->name) {
		snprintf(text, CONF_FILE_BYTES + 1, "%s",
		    k->kind->name((uint32_t)conf_number(k, field)));
	} else {
		memcpy(&path, field, sizeof path);
		snprintf(text, CONF_FILE_BYTES + 1, "%s", path);
	}
}

static void
field_store(const struct key *k, void *field, uint64_t n)
{
	const uint32_t n32 = (uint32_t)n;

	if (k->kind->size == sizeof n32)
		memcpy(field, &n32, sizeof n32);
	else
		memcpy(field, &n, sizeof n);
}

static bool
number_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	char range[CONF_RANGE_TEXT], why[CONF_RANGE_TEXT + 32];
	const char *nonsense;
	uint64_t n;

	nonsense = k->kind->scan(text, &n);
	if (nonsense)
		return conf_refuse(l, k, text, nonsense);
	if (k->max > 0 && (n < k->min || n > k->max)) {
		conf_range(range, k);
		snprintf(why, sizeof why, "is out of range; write %s", range);
		return conf_refuse(l, k, text, why);
	}
	field_store(k, field, n);
	return true;
}

static const char *
log_name(uint32_t id)
{
	static const char *const name[] = { [CONF_LOG_NONE] = "none",
		[CONF_LOG_FAILURES] = "failures", [CONF_LOG_ALL] = "all" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
yes_name(uint32_t id)
{
	static const char *const name[] = { "no", "yes" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
admin_name(uint32_t id)
{
	static const char *const name[] = { [MCSHM_READY] = "ready",
		[MCSHM_DRAIN] = "drain", [MCSHM_MAINT] = "maint" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
dead_name(uint32_t id)
{
	static const char *const name[] = { [MCSHM_DEAD_REHASH] = "rehash",
		[MCSHM_DEAD_MISS] = "miss", [MCSHM_DEAD_ERROR] = "error" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
chars_name(uint32_t flags)
{
	static const char *const name[] = { [0] = "signed",
		[MCSHM_HASH_UNSIGNED] = "unsigned" };

	return flags < sizeof name / sizeof *name ? name[flags] : NULL;
}

/* Of a hash that some scheme takes for keys. */
static const char *
hash_name(uint32_t id)
{
	for (uint32_t scheme = 1; scheme < MCSHM_SCHEMES; scheme++)
		if (scheme_takes_hash(scheme, id))
			return scheme_hash_name(id);
	return NULL;
}

/* Of a hash that may be written for points. */
static const char *
points_name(uint32_t id)
{
	for (uint32_t scheme = 1; scheme < MCSHM_SCHEMES; scheme++)
		if (conf_points_are_free(scheme) &&
		    scheme_takes_points_hash(scheme, 0, id))
			return scheme_hash_name(id);
	return NULL;
}

static_assert(MCSHM_SCHEMES <= CONF_CHOICES && MCSHM_HASHES <= CONF_CHOICES,
    "all of them are choices");

void
conf_list(char text[CONF_LIST_TEXT], const struct conf_choices *c)
{
	const char *last = NULL;
	size_t n = 0;

	*text = '\0';
	for (uint32_t id = 0; id < CONF_CHOICES; id++) {
		if (!c->name(id) || (c->among && !c->among(c->of, id)))
			continue;
		if (last && n < CONF_LIST_TEXT)
			n += (size_t)snprintf(text + n, CONF_LIST_TEXT - n,
			    "%s%s", n ? ", " : "", last);
		last = c->name(id);
	}
	if (last && n < CONF_LIST_TEXT)
		snprintf(text + n, CONF_LIST_TEXT - n, "%s%s", n ? " or " : "",
		    last);
}

static bool
choice_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	const struct conf_choices all = { k->kind->name, NULL, 0 };
	char list[CONF_LIST_TEXT], why[CONF_LIST_TEXT + 40];
	const char *meant = NULL;

	for (uint32_t id = 0; id < CONF_CHOICES; id++) {
		const char *name = k->kind->name(id);

		if (!name || strcasecmp(name, text) != 0)
			continue;
		meant = name;
		if (strcmp(name, text) != 0)
			continue;
		field_store(k, field, id);
		return true;
	}
	conf_list(list, &all);
	snprintf(why, sizeof why, "is not known; %s %s",
	    meant ? "did you mean" : "write", meant ? meant : list);
	return conf_refuse(l, k, text, why);
}

/* A hash may be written by any of its names; what people call crc32 is one of
 * two. */
static bool
hash_parse(struct load *l, const struct key *k, const char *text, void *field)
{
	const char *first = scheme_hash_name(scheme_hash_by_name(text));

	if (strcasecmp(text, "crc32") == 0)
		return conf_refuse(l, k, text, "means two things; write crc "
		    "for 15 bits of it (libmemcached's crc, twemproxy's crc32) "
		    "or crc32a for all 32 (twemproxy's crc32a, pecl-memcache, "
		    "dalli)");
	return choice_parse(l, k, first ? first : text, field);
}

/* "//", "/./" and what is at the end of a path without changing it, so that two
 * spellings of one file are one text. */
static void
path_tidy(char *path)
{
	char *to = path;

	for (const char *from = path; *from;) {
		size_t n = strcspn(from + 1, "/") + 1;	/* "/word" */

		if (n > 1 && !(n == 2 && from[1] == '.')) {
			memmove(to, from, n);
			to += n;
		}
		from += n;
	}
	if (to == path)
		*to++ = '/';
	*to = '\0';
}

static bool
path_has_parent(const char *path)
{
	for (; (path = strstr(path, "/..")); path += 3)
		if (path[3] == '/' || path[3] == '\0')
			return true;
	return false;
}

static bool
path_parse(struct load *l, const struct key *k, const char *text, void *field)
{
	size_t n = strlen(text);
	char why[64], *path;

	if (*text != '/')
		return conf_refuse(l, k, text,
		    "is not absolute; write a path that begins with /");
	if (path_has_parent(text))
		return conf_refuse(l, k, text,
		    "has .. in it; write the path that it leads to");
	if (k == &conf_keys[KEY_file] &&
	    (text[n - 1] == '/' || (n > 1 && strcmp(text + n - 2, "/.") == 0)))
		return conf_refuse(l, k, text,
		    "is a directory; write the file's name too");
	if (n > k->max) {
		snprintf(why, sizeof why, "is too long; write %u bytes at most",
		    (unsigned)k->max);
		return conf_refuse(l, k, text, why);
	}
	path = strdup(text);
	if (!path)
		return conf_complain_memory(l);
	path_tidy(path);
	memcpy(field, &path, sizeof path);
	return true;
}

/* The tables ------------------------------------------------------------ */

static const struct kind
    kind_time = { number_parse, time_scan, time_text, NULL, 8 },
    kind_count = { number_parse, count_scan, count_text, NULL, 4 },
    kind_percent = { number_parse, percent_scan, percent_text, NULL, 4 },
    kind_ratio = { number_parse, ratio_scan, ratio_text, NULL, 8 },
    kind_log = { choice_parse, NULL, NULL, log_name, 4 },
    kind_yes = { choice_parse, NULL, NULL, yes_name, 4 },
    kind_admin = { choice_parse, NULL, NULL, admin_name, 4 },
    kind_scheme = { choice_parse, NULL, NULL, scheme_name, 4 },
    kind_hash = { hash_parse, NULL, NULL, hash_name, 4 },
    kind_points = { hash_parse, NULL, NULL, points_name, 4 },
    kind_chars = { choice_parse, NULL, NULL, chars_name, 4 },
    kind_tag = { number_parse, tag_scan, tag_text, NULL, 4 },
    kind_dead = { choice_parse, NULL, NULL, dead_name, 4 },
    kind_seconds = { number_parse, seconds_scan, seconds_text, NULL, 4 },
    kind_path = { path_parse, NULL, NULL, NULL, sizeof(char *) },
    kind_include = { conf_include_parse, NULL, NULL, NULL, 0 },
    kind_server = { conf_server_parse, NULL, NULL, NULL, 0 },
    kind_buckets = { conf_buckets_parse, NULL, NULL, NULL, 0 };

/* A ratio is read and written as one value. */
static_assert(offsetof(struct conf_pool, ratio_of) ==
    offsetof(struct conf_pool, ratio_bad) + 4, "neighbours");

const struct key conf_keys[KEYS] = {
#define X(section, name, field, kind, min, max, standard)		\
	{ #name, &kind_##kind, CONF_##section,				\
	    offsetof(struct CONF_##section##_BASE, field),		\
	    min, max, standard },
	CONF_KEYS(X)
#undef X
};

const struct key conf_options[CONF_OPTIONS] = {
	{ "weight", &kind_count, 0, offsetof(struct server, weight),
	    1, SERVER_WEIGHT_MAX, "1" },
	{ "state", &kind_admin, 0, offsetof(struct server, admin),
	    0, 0, "ready" },
};

bool
conf_key(struct conf_key *k, unsigned i)
{
	if (i >= KEYS)
		return false;
	*k = (struct conf_key){
		.name = conf_keys[i].name,
		.checker = conf_keys[i].sections & CONF_CHECKER,
		.defaults = conf_keys[i].sections & CONF_DEFAULTS,
		.pool = conf_keys[i].sections & CONF_POOL,
		.standard = conf_keys[i].standard,
	};
	conf_range(k->range, &conf_keys[i]);
	return true;
}
