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
	snprintf(text, CONF_RANGE_TEXT, "%s%s to %s",
	    k->kind->off ? "0, or " : "", min, max);
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

	if (k->kind->number) {
		k->kind->number(number, conf_number(k, field));
		snprintf(text, CONF_FILE_BYTES + 1, "%s", number);
	} else if (k->kind->name) {
		snprintf(text, CONF_FILE_BYTES + 1, "%s",
		    k->kind->name((uint32_t)conf_number(k, field)));
	} else {
		k->kind->write(text, field);
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
	if (k->max > 0 && (n < k->min || n > k->max) &&
	    !(k->kind->off && n == 0)) {
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
probe_name(uint32_t id)
{
	static const char *const name[] = { [CONF_PROBE_VERSION] = "version",
		[CONF_PROBE_MN] = "mn", [CONF_PROBE_STATS] = "stats",
		[CONF_PROBE_SET] = "set", [CONF_PROBE_TCP] = "tcp" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
policy_name(uint32_t id)
{
	static const char *const name[] = { [CONF_IGNORE] = "ignore",
		[CONF_DEGRADED] = "degraded", [CONF_DOWN] = "down" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
recovery_name(uint32_t id)
{
	static const char *const name[] = { [CONF_RECOVERY_NONE] = "none",
		[CONF_RECOVERY_FLUSH] = "flush-if-stale" };

	return id < sizeof name / sizeof *name ? name[id] : NULL;
}

static const char *
refused_name(uint32_t id)
{
	static const char *const name[] = { [CONF_REFUSED_UP] = "up",
		[CONF_REFUSED_STAY] = "stay" };

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
	char lower[CONF_WORD_BYTES];
	struct hint hint = conf_hint(conf_lower(lower, text, strlen(text)));

	/* They are shorter than keys, and nearer to each other. */
	hint.distance = strlen(text) / 8 + 2;
	for (uint32_t id = 0; id < CONF_CHOICES; id++) {
		const char *name = k->kind->name(id);

		if (!name)
			continue;
		conf_hint_offer(&hint, name);
		if (strcmp(name, text) != 0)
			continue;
		field_store(k, field, id);
		return true;
	}
	conf_list(list, &all);
	snprintf(why, sizeof why, "is not known; %s %s", hint.nearest ?
	    "did you mean" : "write", hint.nearest ? hint.nearest : list);
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

/* The tables ------------------------------------------------------------ */

/* What kinds have in common: numbers, choices, texts. */
#define NUMBER(as, bytes)						\
	{ .parse = number_parse, .scan = as##_scan, .number = as##_text,	\
	    .size = bytes }
#define CHOICE(as) { .parse = choice_parse, .name = as##_name, .size = 4 }
#define TEXT(as, how, bytes)						\
	{ .parse = conf_##as##_parse, .write = conf_##how##_write,	\
	    .size = bytes }
#define LIST(as) { .parse = conf_##as##_parse }

static const struct kind
    kind_time = NUMBER(time, 8),
    kind_period = { .parse = number_parse, .scan = time_scan,
	    .number = time_text, .off = true, .size = 8 },
    kind_seconds = NUMBER(seconds, 4),
    kind_count = NUMBER(count, 4),
    kind_percent = NUMBER(percent, 4),
    kind_ratio = NUMBER(ratio, 8),
    kind_tag = NUMBER(tag, 4),
    kind_log = CHOICE(log),
    kind_yes = CHOICE(yes),
    kind_admin = CHOICE(admin),
    kind_scheme = CHOICE(scheme),
    kind_hash = { .parse = hash_parse, .name = hash_name, .size = 4 },
    kind_points = { .parse = hash_parse, .name = points_name, .size = 4 },
    kind_chars = CHOICE(chars),
    kind_dead = CHOICE(dead),
    kind_probe = CHOICE(probe),
    kind_policy = CHOICE(policy),
    kind_recovery = CHOICE(recovery),
    kind_refused = CHOICE(refused),
    kind_path = TEXT(path, path, sizeof(char *)),
    kind_some_path = TEXT(some_path, text, CONF_TEXT),
    kind_auth = TEXT(auth, text, CONF_AUTH_SIZE),
    kind_word = TEXT(word, text, CONF_TEXT),
    kind_pattern = TEXT(pattern, text, CONF_TEXT),
    kind_host = TEXT(host, text, CONF_TEXT),
    kind_source = TEXT(source, source, 2 * sizeof(struct mcshm_address)),
    kind_include = LIST(include),
    kind_server = LIST(server),
    kind_buckets = LIST(buckets);

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
