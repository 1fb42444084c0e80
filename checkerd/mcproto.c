/*
 * mcproto.c - the little of memcached's text protocol that probes speak.
 *
 * Pure: bytes in, results out; no sockets.
 *
 * A reply is judged as soon as it can only be one thing: what can no longer
 * become a line of memcached is garbage at once, not a timeout later.  The
 * verdict must not depend on how the bytes came in pieces.
 */
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "mcproto.h"

#define LOGIN_KEY "mc-checkerd:login"
#define LOCK_KEY "mc-checkerd:lock"
#define FLUSHED_KEY "mc-checkerd:flushed"
#define MARK_KEY "mc-checkerd:mark:"	/* and a digit */
#define NOTE_KEY "mc-checkerd:note:"	/* likewise; as long */
#define WITNESS_KEY "mc-checkerd:witness:"	/* and the host */

/* Requests ---------------------------------------------------------------- */

struct text {
	char *p;
	size_t len, cap;
};

/* What does not fit makes it longer than it can be: seen at the end. */
static void
text_bytes(struct text *x, const char *bytes, size_t len)
{
	if (x->len < x->cap && len <= x->cap - x->len)
		memcpy(x->p + x->len, bytes, len);
	x->len += len;
}

static void
text_add(struct text *x, const char *s)
{
	text_bytes(x, s, strlen(s));
}

static void
text_number(struct text *x, uint64_t n)
{
	char digits[20];
	size_t i = sizeof digits;

	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	text_bytes(x, digits + i, sizeof digits - i);
}

static void
text_store(struct text *x, const char *verb, const char *key, const char *ttl,
    size_t len)
{
	text_add(x, verb);
	text_add(x, key);
	text_add(x, ttl);
	text_number(x, len);
	text_add(x, "\r\n");
}

/*
 * The keys that a login has mean nothing to a memcached with -Y.  One without
 * stores what it is sent: so it is sent as expired.
 */
static void
write_login(struct text *x, const struct mcproto_terms *t)
{
	text_store(x, "set ", LOGIN_KEY, " 0 -1 ",
	    strlen(t->user) + 1 + strlen(t->password));
	text_add(x, t->user);
	text_add(x, " ");
	text_add(x, t->password);
	text_add(x, "\r\n");
}

/* "canary_key:number", and its length. */
static size_t
canary_key(char key[MCPROTO_KEY_BYTES + 1], const struct mcproto_terms *t,
    uint32_t number)
{
	struct text x = { key, 0, MCPROTO_KEY_BYTES };

	text_add(&x, t->canary_key);
	text_add(&x, ":");
	text_number(&x, number);
	assert(x.len <= x.cap);
	key[x.len] = '\0';
	return x.len;
}

static void
write_canary_set(struct text *x, const struct mcproto_terms *t,
    uint32_t number)
{
	const size_t key = strlen(t->canary_key);
	char full[MCPROTO_KEY_BYTES + 1];

	canary_key(full, t, number);
	text_store(x, "set ", full, " 0 60 ", t->canary_size);
	for (size_t at = 0; at < t->canary_size; at += key)
		text_bytes(x, t->canary_key, t->canary_size - at < key ?
		    t->canary_size - at : key);
	text_add(x, "\r\n");
}

static void
write_canary(struct text *x, const struct mcproto_terms *t, uint32_t number)
{
	char key[MCPROTO_KEY_BYTES + 1];

	canary_key(key, t, number);
	write_canary_set(x, t, number);
	text_add(x, "get ");
	text_add(x, key);
	text_add(x, "\r\ndelete ");
	text_add(x, key);
	text_add(x, "\r\n");
}

static void
write_host(struct text *x, const char *verb, const char *key, const char *ttl,
    const char *host)
{
	text_store(x, verb, key, ttl, strlen(host));
	text_add(x, host);
	text_add(x, "\r\n");
}

static void
write_digits(struct text *x, const char *key)
{
	for (char i = 0; i < (char)MCPROTO_MARKS; i++) {
		const char digit = (char)('0' + i);

		text_add(x, key);
		text_bytes(x, &digit, 1);
	}
}

static void
write_marks(struct text *x, const char *host)
{
	text_add(x, "get");
	write_digits(x, " " MARK_KEY);
	write_digits(x, " " NOTE_KEY);
	text_add(x, " " FLUSHED_KEY " " LOCK_KEY " " WITNESS_KEY);
	text_add(x, host);
	text_add(x, "\r\n");
}

static void
write_witness(struct text *x, const char *host)
{
	text_add(x, "set " WITNESS_KEY);
	text_add(x, host);
	text_add(x, " 0 300 1\r\n1\r\n");
}

/* FNV-1a, folded: the same on every host. */
static uint32_t
mark_of(const char *host)
{
	uint32_t h = UINT32_C(2166136261);

	for (; *host != '\0'; host++)
		h = (h ^ (uint8_t)*host) * UINT32_C(16777619);
	return (h ^ h >> 16) % MCPROTO_MARKS;
}

/* "host time since gap" */
static void
write_mark(struct text *x, const char *verb, const char *key, const char *ttl,
    const char *host, const struct mcproto_mark *mark)
{
	const uint64_t number[] = { mark->time, mark->since, mark->gap };
	char value[3 * 21];
	struct text v = { value, 0, sizeof value };

	for (size_t i = 0; i < 3; i++) {
		text_add(&v, " ");
		text_number(&v, number[i]);
	}
	text_store(x, verb, key, ttl, strlen(host) + v.len);
	text_add(x, host);
	text_bytes(x, value, v.len);
	text_add(x, "\r\n");
}

static void
write_own_mark(struct text *x, const char *host,
    const struct mcproto_mark *mark)
{
	char key[] = MARK_KEY "0", note[] = NOTE_KEY "0";
	char *const own = mark->since != 0 ? key : note;

	own[sizeof key - 2] = (char)('0' + mark_of(host));
	write_mark(x, "set ", own, " 0 60 ", host, mark);
}

static void
write_ask(struct text *x, enum mcproto_ask ask, const struct mcproto_terms *t,
    const struct mcproto_once *once)
{
	switch (ask) {
	case MCPROTO_ASK_LOGIN:
		write_login(x, t);
		return;
	case MCPROTO_ASK_VERSION:
		text_add(x, "version\r\n");
		return;
	case MCPROTO_ASK_MN:
		text_add(x, "mn\r\n");
		return;
	case MCPROTO_ASK_CANARY:
		write_canary(x, t, once->canary);
		return;
	case MCPROTO_ASK_MAINTENANCE:
		text_add(x, "get ");
		text_add(x, t->maintenance_key);
		text_add(x, "\r\n");
		return;
	case MCPROTO_ASK_MARKS:
		write_marks(x, t->host);
		return;
	case MCPROTO_ASK_LOCK:
	case MCPROTO_ASK_RELOCK:
		write_host(x, "add ", LOCK_KEY, " 0 10 ", t->host);
		return;
	case MCPROTO_ASK_STATS:
		text_add(x, "stats\r\n");
		return;
	case MCPROTO_ASK_UNLOCK:
		text_add(x, "delete " LOCK_KEY "\r\n");
		return;
	case MCPROTO_ASK_FLUSH:
		text_add(x, "flush_all\r\n");
		return;
	case MCPROTO_ASK_FLUSHED:
	case MCPROTO_ASK_SEEN:
		write_mark(x, ask == MCPROTO_ASK_SEEN ? "add " : "set ",
		    FLUSHED_KEY, " 0 300 ", t->host, once->mark);
		return;
	case MCPROTO_ASK_MARK:
		write_own_mark(x, t->host, once->mark);
		return;
	case MCPROTO_ASK_WITNESS:
		write_witness(x, t->host);
		return;
	}
}

/* The first of them; as written, so answered. */
static enum mcproto_ask
first_of(uint32_t asks)
{
	return (enum mcproto_ask)(asks & -asks);
}

size_t
mcproto_write(char *buf, size_t cap, uint32_t asks,
    const struct mcproto_terms *t, const struct mcproto_once *once)
{
	struct text x = { buf, 0, cap };

	for (uint32_t rest = asks & MCPROTO_ASKS; rest != 0; rest &= rest - 1)
		write_ask(&x, first_of(rest), t, once);
	return x.len <= cap ? x.len : 0;
}

size_t
mcproto_canary_set(uint32_t asks, const struct mcproto_terms *t,
    const struct mcproto_once *once)
{
	struct text x = { NULL, 0, 0 };

	for (uint32_t rest = asks & (MCPROTO_ASK_CANARY - 1); rest != 0;
	    rest &= rest - 1)
		write_ask(&x, first_of(rest), t, once);
	write_canary_set(&x, t, once->canary);
	return x.len;
}

/* Lines ------------------------------------------------------------------- */

/* What a line says; bits, for what is allowed when. */
enum says {
	SAYS_NOTHING = 0,
	SAYS_MAXCONNS = 1, SAYS_ERROR = 2, SAYS_UNAUTHENTICATED = 4,
	SAYS_CLIENT_ERROR = 8, SAYS_SERVER_ERROR = 16,
	SAYS_ERRORS = 31,
	SAYS_VERSION = 32, SAYS_MN = 64, SAYS_STORED = 128,
	SAYS_NOT_STORED = 256, SAYS_VALUE = 512, SAYS_END = 1024,
	SAYS_DELETED = 2048, SAYS_NOT_FOUND = 4096, SAYS_STAT = 8192,
	SAYS_OK = 16384
};

/*
 * What a line begins with: followed by a space or by nothing; or, alone, what
 * it is.  The first that fits counts.
 */
static const struct opening {
	const char *text;
	enum says says;
	bool alone;
} openings[] = {
	{ "VERSION", SAYS_VERSION, false },
	{ "ERROR Too many open connections", SAYS_MAXCONNS, false },
	{ "ERROR", SAYS_ERROR, false },
	{ "CLIENT_ERROR unauthenticated", SAYS_UNAUTHENTICATED, false },
	{ "CLIENT_ERROR", SAYS_CLIENT_ERROR, false },
	{ "SERVER_ERROR", SAYS_SERVER_ERROR, false },
	{ "MN", SAYS_MN, true },
	{ "STORED", SAYS_STORED, true },
	{ "NOT_STORED", SAYS_NOT_STORED, true },
	{ "VALUE", SAYS_VALUE, false },
	{ "END", SAYS_END, true },
	{ "DELETED", SAYS_DELETED, true },
	{ "NOT_FOUND", SAYS_NOT_FOUND, true },
	{ "STAT", SAYS_STAT, false },
	{ "OK", SAYS_OK, true },
};
#define OPENINGS (sizeof openings / sizeof openings[0])

static bool
fits(const struct opening *o, const char *line, size_t len)
{
	const size_t n = strlen(o->text);

	return len >= n && memcmp(line, o->text, n) == 0 &&
	    (len == n || (line[n] == ' ' && !o->alone));
}

/* May more bytes make it fit? */
static bool
may_fit(const struct opening *o, const char *line, size_t len)
{
	return len <= strlen(o->text) ? memcmp(line, o->text, len) == 0 :
	    fits(o, line, len);
}

/* A whole line, without its CRLF; nothing, where that may not come now. */
static enum says
says(uint32_t allowed, const char *line, size_t len)
{
	for (size_t i = 0; i < OPENINGS; i++)
		if (fits(&openings[i], line, len))
			return openings[i].says & allowed;
	return SAYS_NOTHING;
}

/* What may come now. */
static uint32_t
allowed(const struct mcproto_reply *r)
{
	static const uint32_t canary[] = {
		SAYS_STORED | SAYS_NOT_STORED, SAYS_VALUE | SAYS_END,
		SAYS_DELETED | SAYS_NOT_FOUND };

	switch (first_of(r->asks)) {
	case MCPROTO_ASK_VERSION:
		return SAYS_ERRORS | SAYS_VERSION;
	case MCPROTO_ASK_MN:
		return SAYS_ERRORS | SAYS_MN;
	case MCPROTO_ASK_CANARY:
		return SAYS_ERRORS | canary[r->part];
	case MCPROTO_ASK_MAINTENANCE:
	case MCPROTO_ASK_MARKS:
		return SAYS_ERRORS | SAYS_VALUE | SAYS_END;
	case MCPROTO_ASK_STATS:
		return SAYS_ERRORS | SAYS_STAT | SAYS_END;
	case MCPROTO_ASK_UNLOCK:
		return SAYS_ERRORS | SAYS_DELETED | SAYS_NOT_FOUND;
	case MCPROTO_ASK_FLUSH:
		return SAYS_ERRORS | SAYS_OK;
	case MCPROTO_ASK_LOGIN:
	case MCPROTO_ASK_LOCK:
	case MCPROTO_ASK_FLUSHED:
	case MCPROTO_ASK_MARK:
	case MCPROTO_ASK_WITNESS:
	case MCPROTO_ASK_RELOCK:
	case MCPROTO_ASK_SEEN:
		return SAYS_ERRORS | SAYS_STORED | SAYS_NOT_STORED;
	}
	return SAYS_NOTHING;
}

/*
 * What follows "STAT " is what others wrote, too: mcrouter has its whole command
 * line there.  It is as long as it likes, and of any bytes, up to its LF.
 */
static bool
is_stat(const struct mcproto_reply *r)
{
	static const char stat[] = "STAT ";
	const size_t len = sizeof stat - 1;

	return first_of(r->asks) == MCPROTO_ASK_STATS && r->len >= len &&
	    memcmp(r->line, stat, len) == 0;
}

/* Could more bytes make a line of this?  A CR at its end is taken as the
 * line's end. */
static bool
hopeful(const struct mcproto_reply *r)
{
	const uint32_t may = allowed(r);
	const size_t len = r->len;

	if (is_stat(r))
		return true;
	if (len == MCPROTO_LINE_MAX)
		return false;
	if (len > 0 && r->line[len - 1] == '\r')
		return says(may, r->line, len - 1) != SAYS_NOTHING;
	for (size_t i = 0; i < OPENINGS; i++)
		if (openings[i].says & may &&
		    may_fit(&openings[i], r->line, len))
			return true;
	return false;
}

/*
 * May c be the next byte of the line?  Printable ASCII, then CR, then LF:
 * memcached sends nothing else, and what it sends goes to logs and terminals.
 */
static bool
acceptable(const struct mcproto_reply *r, char c)
{
	if (r->len == sizeof r->line)
		return false;
	if (r->len > 0 && r->line[r->len - 1] == '\r')
		return c == '\n';
	return c == '\r' || (c >= ' ' && c <= '~');
}

/* Words of a line --------------------------------------------------------- */

struct word {
	const char *p;
	size_t len;
};

/* The next word of a line; len 0 past the last. */
static struct word
word_next(const char **p, const char *end)
{
	struct word w;

	while (*p < end && **p == ' ')
		++*p;
	w.p = *p;
	while (*p < end && **p != ' ')
		++*p;
	w.len = (size_t)(*p - w.p);
	return w;
}

static bool
word_is(struct word w, const char *text)
{
	return w.len == strlen(text) && memcmp(w.p, text, w.len) == 0;
}

/* A whole number, up to max. */
static bool
word_number(struct word w, uint64_t max, uint64_t *n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < w.len; i++) {
		const unsigned digit = (unsigned)(w.p[i] - '0');

		if (digit > 9 || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*n = v;
	return w.len > 0;
}

/* It goes to logs and terminals. */
static void
take_version(char version[32], const char *text, size_t len)
{
	const size_t n = len < 31 ? len : 31;

	for (size_t i = 0; i < n; i++)
		if (text[i] < ' ' || text[i] > '~')
			return;
	memcpy(version, text, n);
	version[n] = '\0';
}

#define STAT(name) { #name, offsetof(struct mcproto_stats, name) }
static const struct {
	const char *name;
	size_t at;
} stats[] = {
	STAT(pid), STAT(uptime), STAT(time), STAT(cmd_flush),
	STAT(curr_items), STAT(threads), STAT(curr_connections),
	STAT(max_connections), STAT(rejected_connections),
	STAT(listen_disabled_num), STAT(accepting_conns),
	STAT(store_no_memory), STAT(evictions),
};
#undef STAT

/* "STAT name value"; others than ours are not looked at. */
static void
take_stat(struct mcproto_told *told, const char *line, size_t len)
{
	const char *p = line, *end = line + len;
	struct word name, value;
	uint64_t n;

	word_next(&p, end);
	name = word_next(&p, end);
	value = word_next(&p, end);
	if (word_is(name, "version"))
		take_version(told->version, value.p, value.len);
	for (size_t i = 0; i < sizeof stats / sizeof stats[0]; i++)
		if (word_is(name, stats[i].name) &&
		    word_number(value, UINT64_MAX, &n))
			memcpy((char *)&told->stats + stats[i].at, &n,
			    sizeof n);
}

/* Answers ----------------------------------------------------------------- */

/* The server lives and says what is wrong. */
static bool
is_mild(uint8_t reason)
{
	return reason == MCSHM_R_OK || reason == MCSHM_R_NO_MEMORY;
}

/* The first that is wrong is the result, the graver before the milder. */
static void
note(struct mcproto_reply *r, enum mcshm_reason reason)
{
	if (r->noted == MCSHM_R_OK || (is_mild(r->noted) && !is_mild(reason)))
		r->noted = (uint8_t)reason;
}

/* The ask at the head is done with. */
static int
answered(struct mcproto_reply *r)
{
	const uint32_t ask = first_of(r->asks);

	r->told.answered |= ask;
	r->asks &= ~ask;
	r->part = 0;
	r->values = 0;
	return r->asks == 0 ? r->noted : MCPROTO_MORE;
}

static int
take_set(struct mcproto_reply *r, bool stored)
{
	r->stored = stored;
	r->part = 1;
	if (!stored) {
		r->told.no_memory = true;
		note(r, MCSHM_R_NO_MEMORY);
	}
	return MCPROTO_MORE;
}

/* For people: what is no answer of a memcached, up to the line's end.  Its first
 * bytes may have come before. */
static void
take_said(struct mcproto_reply *r, const char *bytes, size_t len)
{
	size_t n = strlen(r->said);

	for (size_t i = 0; i < len && n < MCPROTO_SAID - 1 &&
	    bytes[i] != '\r' && bytes[i] != '\n'; i++)
		r->said[n++] = bytes[i] != '\0' ? bytes[i] : '?';
	r->said[n] = '\0';
}

static int
take_error(struct mcproto_reply *r, enum says what)
{
	const uint32_t ask = first_of(r->asks);

	/* It is the last that these say, whatever else was asked. */
	if (what == SAYS_MAXCONNS && r->told.answered == 0)
		return MCSHM_R_MAXCONNS;
	if (ask == MCPROTO_ASK_LOGIN && what & (SAYS_CLIENT_ERROR |
	    SAYS_UNAUTHENTICATED))
		return MCSHM_R_LOGIN_REFUSED;
	if (what == SAYS_UNAUTHENTICATED)
		return r->told.answered & MCPROTO_ASK_LOGIN ?
		    MCSHM_R_LOGIN_REFUSED : MCSHM_R_UNAUTHENTICATED;
	if (ask == MCPROTO_ASK_CANARY && r->part == 0 &&
	    what == SAYS_SERVER_ERROR)
		return take_set(r, false);
	r->told.refused |= ask;
	if (ask & r->weighs) {
		note(r, MCSHM_R_ERROR_REPLY);
		if (r->said[0] == '\0')
			take_said(r, r->line, r->len);
	}
	if (ask == MCPROTO_ASK_CANARY && r->part < 2) {
		r->part++;
		return MCPROTO_MORE;
	}
	return answered(r);
}

/* Whose value of MARKS it is: the place of a mark, that of a note and NOTES,
 * MARKER, WITNESS or OWNER. */
enum { NOTES = MCPROTO_MARKS, MARKER = 2 * MCPROTO_MARKS, WITNESS, OWNER,
	NO_VALUE };

static uint8_t
value_of(const struct mcproto_terms *t, struct word key)
{
	const size_t n = sizeof MARK_KEY - 1, w = sizeof WITNESS_KEY - 1;
	const bool note = key.len == n + 1 && memcmp(key.p, NOTE_KEY, n) == 0;
	const unsigned digit = key.len == n + 1 ? (unsigned)(key.p[n] - '0') :
	    MCPROTO_MARKS;

	if (word_is(key, FLUSHED_KEY))
		return MARKER;
	if (word_is(key, LOCK_KEY))
		return OWNER;
	if (key.len > w && memcmp(key.p, WITNESS_KEY, w) == 0 &&
	    word_is((struct word){ key.p + w, key.len - w }, t->host))
		return WITNESS;
	if (digit >= MCPROTO_MARKS ||
	    (!note && memcmp(key.p, MARK_KEY, n) != 0))
		return NO_VALUE;
	return (uint8_t)(digit + (note ? NOTES : 0));
}

/* Is it one of the keys that we asked for? */
static bool
key_asked(struct mcproto_reply *r, const struct mcproto_terms *t,
    struct word key)
{
	char canary[MCPROTO_KEY_BYTES + 1];

	r->mark = 0;
	switch (first_of(r->asks)) {
	case MCPROTO_ASK_CANARY:
		canary_key(canary, t, r->canary);
		return word_is(key, canary);
	case MCPROTO_ASK_MAINTENANCE:
		return word_is(key, t->maintenance_key);
	default:
		r->mark = value_of(t, key);
		return r->mark != NO_VALUE;
	}
}

/* It goes on where it should have ended. */
static int
exceed(struct mcproto_reply *r)
{
	r->excess = true;
	return MCSHM_R_GARBAGE;
}

/* "VALUE key flags bytes": the value is to come.  Each key was asked for once,
 * so there is an end to them. */
static int
take_head(struct mcproto_reply *r, const struct mcproto_terms *t, size_t len)
{
	const char *p = r->line, *end = r->line + len;
	struct word key;
	uint64_t flags, bytes;

	word_next(&p, end);
	key = word_next(&p, end);
	if (!word_number(word_next(&p, end), UINT32_MAX, &flags) ||
	    !word_number(word_next(&p, end), UINT32_C(1) << 30, &bytes) ||
	    word_next(&p, end).len != 0 || !key_asked(r, t, key))
		return MCSHM_R_GARBAGE;
	if (bytes > MCPROTO_VALUE_MAX || r->values & UINT32_C(1) << r->mark)
		return exceed(r);
	r->values |= UINT32_C(1) << r->mark;
	if (first_of(r->asks) == MCPROTO_ASK_CANARY && r->stored &&
	    bytes != t->canary_size)
		note(r, MCSHM_R_WRONG_VALUE);
	r->left = (uint32_t)bytes + 2;
	r->value_at = 0;
	return MCPROTO_MORE;
}

static int
take_canary(struct mcproto_reply *r, enum says what)
{
	if (r->part == 0)
		return take_set(r, what == SAYS_STORED);
	if (r->part == 2)
		return answered(r);
	if (r->stored && r->values == 0)
		note(r, MCSHM_R_WRONG_VALUE);
	r->part = 2;
	return MCPROTO_MORE;
}

/* A line that may come now. */
static int
take_line(struct mcproto_reply *r, const struct mcproto_terms *t, size_t len)
{
	const enum says what = says(allowed(r), r->line, len);
	const enum mcproto_ask ask = first_of(r->asks);

	if (what == SAYS_NOTHING)
		return MCSHM_R_GARBAGE;
	if (what & SAYS_ERRORS)
		return take_error(r, what);
	if (what == SAYS_VALUE)
		return take_head(r, t, len);
	if (what == SAYS_STAT)
		return MCPROTO_MORE;
	if (ask == MCPROTO_ASK_CANARY)
		return take_canary(r, what);
	if (what == SAYS_VERSION && len > sizeof "VERSION " - 1)
		take_version(r->told.version, r->line + sizeof "VERSION " - 1,
		    len - (sizeof "VERSION " - 1));
	r->told.stats.whole |= ask == MCPROTO_ASK_STATS;
	r->told.locked |= ask == MCPROTO_ASK_LOCK && what == SAYS_STORED;
	r->told.flushed |= ask == MCPROTO_ASK_FLUSH;
	return answered(r);
}

/* Values ------------------------------------------------------------------ */

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

/* "drain", or anything else. */
static enum mcproto_maintenance
maintenance(const char *value, size_t len)
{
	static const char drain[] = "drain";

	while (len > 0 && strchr(" \t\r\n", value[len - 1]) != NULL)
		len--;
	if (len != sizeof drain - 1)
		return MCPROTO_KEY_MAINT;
	for (size_t i = 0; i < len; i++)
		if (lower(value[i]) != drain[i])
			return MCPROTO_KEY_MAINT;
	return MCPROTO_KEY_DRAIN;
}

/* It goes to logs and terminals. */
static bool
take_host(char host[MCPROTO_HOST_MAX + 1], struct word w)
{
	if (w.len == 0 || w.len > MCPROTO_HOST_MAX)
		return false;
	for (size_t i = 0; i < w.len; i++)
		if (w.p[i] <= ' ' || w.p[i] > '~')
			return false;
	memcpy(host, w.p, w.len);
	host[w.len] = '\0';
	return true;
}

/* "host time since gap"; what is none of ours is no mark. */
static void
take_mark(struct mcproto_mark *m, const char *value, size_t len)
{
	const char *p = value, *end = value + len;
	const struct word host = word_next(&p, end);
	uint64_t time, since, gap;

	if (!word_number(word_next(&p, end), UINT64_MAX, &time) ||
	    !word_number(word_next(&p, end), UINT64_MAX, &since) ||
	    !word_number(word_next(&p, end), UINT64_MAX, &gap) ||
	    !take_host(m->host, host))
		return;
	m->time = time;
	m->since = since;
	m->gap = gap;
}

/* A value of MARKS. */
static void
take_kept(struct mcproto_told *told, uint8_t whose, const char *value,
    size_t len)
{
	if (whose == WITNESS)
		told->witness = true;
	else if (whose == OWNER)
		take_host(told->owner, (struct word){ value, len });
	else if (whose == MARKER)
		take_mark(&told->marker, value, len);
	else if (whose >= NOTES)
		take_mark(&told->note[whose - NOTES], value, len);
	else
		take_mark(&told->mark[whose], value, len);
}

/* The whole value; its first bytes are kept in the line. */
static void
take_value(struct mcproto_reply *r)
{
	const size_t len = r->value_at == r->len ? r->len : 0;

	switch (first_of(r->asks)) {
	case MCPROTO_ASK_MAINTENANCE:
		r->told.maintenance = maintenance(r->line, len);
		break;
	case MCPROTO_ASK_MARKS:
		take_kept(&r->told, r->mark, r->line, len);
		break;
	default:
		break;
	}
	r->len = 0;
}

/* The canary's value repeats its key. */
static bool
canary_same(const struct mcproto_terms *t, const char *bytes, size_t len,
    uint32_t at)
{
	const size_t key = strlen(t->canary_key);
	size_t k = at % key;

	if (at + len > t->canary_size)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] != t->canary_key[k])
			return false;
		k = k + 1 == key ? 0 : k + 1;
	}
	return true;
}

/* Bytes of a value, and of the CRLF behind it; how many were taken, 0: that is
 * no CRLF. */
static size_t
feed_value(struct mcproto_reply *r, const struct mcproto_terms *t,
    const char *bytes, size_t len)
{
	size_t n = r->left - 2 < len ? r->left - 2 : len;

	if (r->left <= 2) {
		if (bytes[0] != "\n\r"[r->left - 1])
			return 0;
		if (--r->left == 0)
			take_value(r);
		return 1;
	}
	if (first_of(r->asks) != MCPROTO_ASK_CANARY) {
		const size_t room = sizeof r->line - r->len;

		memcpy(r->line + r->len, bytes, n < room ? n : room);
		r->len = (uint16_t)(r->len + (n < room ? n : room));
	} else if (r->stored && !canary_same(t, bytes, n, r->value_at)) {
		note(r, MCSHM_R_WRONG_VALUE);
	}
	r->value_at += (uint32_t)n;
	r->left -= (uint32_t)n;
	return n;
}

/* The reply --------------------------------------------------------------- */

void
mcproto_expect(struct mcproto_reply *r, uint32_t asks)
{
	const uint32_t first = MCPROTO_ASK_VERSION | MCPROTO_ASK_MN |
	    MCPROTO_ASK_CANARY;

	assert((asks & MCPROTO_ASKS) != 0);
	memset(r, 0, sizeof *r);
	r->asks = asks & MCPROTO_ASKS;
	r->weighs = r->asks & first ? first : MCPROTO_ASK_STATS;
}

/* It gives an answer that it has given: whatever it is, it is not in step. */
static bool
repeats(const struct mcproto_reply *r)
{
	static const char *const given[] = { "VERSION", "MN" };

	for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
		const size_t n = strlen(given[i]);

		if (r->len > 0 && memcmp(r->line, given[i],
		    r->len < n ? r->len : n) == 0)
			return true;
	}
	return false;
}

bool
mcproto_enough(const struct mcproto_reply *r)
{
	return (r->told.answered & r->weighs) != 0 &&
	    (r->asks & r->weighs) == 0 && r->asks != 0 && !r->excess &&
	    !repeats(r);
}

bool
mcproto_turns_away(const char *bytes, size_t len)
{
	const char *end = memchr(bytes, '\r', len);

	return end != NULL && end + 1 < bytes + len && end[1] == '\n' &&
	    says(SAYS_MAXCONNS, bytes, (size_t)(end - bytes)) != SAYS_NOTHING;
}

/* A byte of a STAT line.  One that is cut says nothing. */
static int
feed_stat(struct mcproto_reply *r, char c)
{
	size_t len = r->len;

	if (c != '\n') {
		if (len < sizeof r->line)
			r->line[r->len++] = c;
		return MCPROTO_MORE;
	}
	if (r->line[len - 1] == '\r')
		len--;
	if (r->len < sizeof r->line)
		take_stat(&r->told, r->line, len);
	r->len = 0;
	return MCPROTO_MORE;
}

/* A byte of a line; MORE, or a result. */
static int
feed_line(struct mcproto_reply *r, const struct mcproto_terms *t, char c)
{
	int result;

	if (++r->all > MCPROTO_REPLY_MAX)
		return exceed(r);
	if (is_stat(r))
		return feed_stat(r, c);
	if (!acceptable(r, c))
		return MCSHM_R_GARBAGE;
	r->line[r->len++] = c;
	if (c != '\n')
		return MCPROTO_MORE;
	result = take_line(r, t, r->len - 2u);
	if (result != MCSHM_R_GARBAGE)
		r->len = 0;
	return result;
}

/* It is garbage: the line so far, and what came with its last byte. */
static void
feed_said(struct mcproto_reply *r, const char *bytes, size_t len)
{
	const bool whole = r->len > 0 && r->line[r->len - 1] == '\n';

	r->said[0] = '\0';
	if (r->len <= sizeof r->line)
		take_said(r, r->line, r->len);
	if (!whole)
		take_said(r, bytes, len);
}

int
mcproto_feed(struct mcproto_reply *r, const struct mcproto_terms *t,
    const char *bytes, size_t len)
{
	size_t i = 0;

	while (i < len) {
		int result = MCPROTO_MORE;

		if (r->left > 0) {
			const size_t n = feed_value(r, t, bytes + i, len - i);

			if (n == 0)
				return MCSHM_R_GARBAGE;
			i += n;
		} else {
			result = feed_line(r, t, bytes[i++]);
		}
		if (result == MCSHM_R_GARBAGE)
			feed_said(r, bytes + i - 1, len - i + 1);
		if (result == MCPROTO_MORE)
			continue;
		/* Nothing may follow the last answer. */
		if (r->asks != 0 || i == len)
			return result;
		feed_said(r, bytes + i, len - i);
		return MCSHM_R_GARBAGE;
	}
	if (r->left > 0 || hopeful(r))
		return MCPROTO_MORE;
	feed_said(r, "", 0);
	return MCSHM_R_GARBAGE;
}

/* Server's side ----------------------------------------------------------- */

static const struct {
	const char *text;
	enum mcproto_command command;
} commands[] = {
	{ "version", MCPROTO_VERSION },
	{ "mn", MCPROTO_MN },
	{ "stats", MCPROTO_STATS },
	{ "quit", MCPROTO_QUIT },
	{ "flush_all", MCPROTO_FLUSH },
}, with_keys[] = {
	{ "get", MCPROTO_GET },
	{ "set", MCPROTO_SET },
	{ "add", MCPROTO_ADD },
	{ "delete", MCPROTO_DELETE },
};

/* "-1" is a time that is over. */
static bool
word_exptime(struct word w, int64_t *exptime)
{
	const bool minus = w.len > 0 && w.p[0] == '-';
	uint64_t n;

	w.p += minus;
	w.len -= minus;
	if (!word_number(w, INT64_MAX, &n))
		return false;
	*exptime = minus ? -(int64_t)n : (int64_t)n;
	return true;
}

/* "set key flags exptime bytes", whose value follows the line; OTHER for what
 * is none.  *used grows by the value. */
static enum mcproto_command
request_value(enum mcproto_command command, const char *p, const char *end,
    const char *rest, size_t left, size_t *used, struct mcproto_call *call)
{
	uint64_t flags, bytes;
	const struct word key = word_next(&p, end);

	if (key.len == 0 || key.len > MCPROTO_KEY_BYTES ||
	    !word_number(word_next(&p, end), UINT32_MAX, &flags) ||
	    !word_exptime(word_next(&p, end), &call->exptime) ||
	    !word_number(word_next(&p, end), MCPROTO_VALUE_MAX, &bytes) ||
	    word_next(&p, end).len != 0)
		return MCPROTO_OTHER;
	if (left < bytes + 2) {
		*used = 0;
		return MCPROTO_INCOMPLETE;
	}
	if (memcmp(rest + bytes, "\r\n", 2) != 0)
		return MCPROTO_OTHER;
	call->key = key.p;
	call->key_len = key.len;
	call->value = rest;
	call->value_len = bytes;
	*used += bytes + 2;
	return command;
}

enum mcproto_command
mcproto_request(const char *bytes, size_t len, size_t *used,
    struct mcproto_call *call)
{
	const char *end = len > 0 ? memchr(bytes, '\n', len) : NULL;
	const char *p = bytes;
	struct word verb;

	*used = 0;
	memset(call, 0, sizeof *call);
	if (end == NULL)
		return MCPROTO_INCOMPLETE;
	*used = (size_t)(end + 1 - bytes);
	/* As memcached: a bare LF will do. */
	if (end > bytes && end[-1] == '\r')
		end--;
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (word_is((struct word){ bytes, (size_t)(end - bytes) },
		    commands[i].text))
			return commands[i].command;
	verb = word_next(&p, end);
	for (size_t i = 0; i < sizeof with_keys / sizeof with_keys[0]; i++) {
		if (!word_is(verb, with_keys[i].text))
			continue;
		if (with_keys[i].command == MCPROTO_SET ||
		    with_keys[i].command == MCPROTO_ADD)
			return request_value(with_keys[i].command, p, end,
			    bytes + *used, len - *used, used, call);
		call->key = word_next(&p, end).p;
		call->key_len = (size_t)(end - call->key);
		return call->key_len > 0 ? with_keys[i].command :
		    MCPROTO_OTHER;
	}
	return MCPROTO_OTHER;
}
