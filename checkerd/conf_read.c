/*
 * conf_read.c - an ini and what it includes, line by line, into drafts.
 *
 * Must not stop at the first error, nor wait for a file that never ends.
 *
 *	file -> line_read() -> inih -> key_handle() -> the key's parse()
 *
 * inih (ini.h) has traps, which line_read() stands in front of: an indented
 * line goes on with the key above, long lines fall apart into two, section
 * names are cut, sections without keys and junk after "]" are not told, ":" is
 * as good as "=", and nobody says which line it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_load.h"

#define FILE_BYTES (16 << 20)

/* [A-Za-z0-9][A-Za-z0-9._-]*, of pools and servers. */
bool
conf_name_is_good(const char *name, size_t most)
{
	size_t n = strlen(name);

	return n > 0 && n <= most && strspn(name, CONF_WORD) > 0 &&
	    strspn(name, CONF_WORD "._-") == n;
}

/* Keys ------------------------------------------------------------------ */

/* The section that is being read, as it would be written. */
static void
section_text(char text[64], const struct load *l)
{
	const char *name = l->section == CONF_CHECKER ? "checker" : "defaults";

	if (l->section == CONF_POOL)
		snprintf(text, 64, "[pool %s]", l->now->pool.name);
	else
		snprintf(text, 64, "[%s]", name);
}

/*
 * A line that is none of ours may be anybody's: an include, or the ini itself,
 * may lead to a file with passwords, and errors go to logs.  Of an included file
 * nothing is repeated; of the ini, the first word.
 */
#define SHOWN 20		/* the longest key */
static const char *
line_shown(char to[SHOWN + 8], const struct load *l, const char *text)
{
	const size_t n = strspn(text, CONF_WORD "_-.");

	if (l->source->included || n == 0 || n > SHOWN ||
	    !strchr(CONF_BLANKS "=:", text[n]))
		return "the line";
	snprintf(to, SHOWN + 8, "'%.*s%s'", (int)n, text, text[n] ? " ..." :
	    "");
	return to;
}

/* It may be a key that somebody meant. */
static bool
is_like_key(const char *name)
{
	const size_t n = strlen(name);

	return n <= SHOWN && strspn(name, CONF_WORD "_-") == n;
}

static void
key_none(struct load *l, const char *section)
{
	conf_complain(l, "no such key in %s; mc-checkerd.ini(5) has them all",
	    section);
}

/* No such key in this section: why not. */
static void
key_unknown(struct load *l, const char *name, const struct key *elsewhere)
{
	struct hint hint = conf_hint(name);
	char section[64];

	section_text(section, l);
	if (!is_like_key(name)) {
		key_none(l, section);
		return;
	}
	if (elsewhere) {
		conf_complain(l, "%s does not belong in %s; write it in %s",
		    name, section, elsewhere->sections == CONF_CHECKER ?
		    "[checker]" : elsewhere->sections == CONF_POOL ?
		    "[pool NAME]" : "[defaults] or [pool NAME]");
		return;
	}
	for (size_t i = 0; i < KEYS; i++)
		if (conf_keys[i].sections & l->section)
			conf_hint_offer(&hint, conf_keys[i].name);
	if (hint.nearest == NULL && l->source->included) {
		key_none(l, section);
		return;
	}
	conf_complain(l, "no key '%s' in %s; %s%s", name, section,
	    hint.nearest ? "did you mean " : "mc-checkerd.ini(5) has them all",
	    hint.nearest ? hint.nearest : "");
}

static const struct key *
key_find(struct load *l, const char *name)
{
	size_t i = 0;

	while (i < KEYS && strcmp(conf_keys[i].name, name) != 0)
		i++;
	if (i < KEYS && (conf_keys[i].sections & l->section))
		return &conf_keys[i];
	key_unknown(l, name, i < KEYS ? &conf_keys[i] : NULL);
	return NULL;
}

void *
conf_field(struct load *l, const struct key *k, struct draft *d)
{
	char *base = k->sections == CONF_CHECKER ? (char *)&l->conf
						    : (char *)&d->pool;

	return base + k->offset;
}

static void
key_set(struct load *l, const struct key *k, const char *value)
{
	struct spot *at = &l->now->at[k - conf_keys];
	struct spot was = *at;

	if (was.line && k->kind->size) {
		conf_complain(l, "%s again; it is in %s:%u already, leave "
		    "one out", k->name, was.file, was.line);
		return;
	}
	/* A list is bad when one of its lines is. */
	*at = conf_here(l);
	at->bad = was.bad;
	if (!k->kind->parse(l, k, value, conf_field(l, k, l->now)))
		at->bad = true;
}

/* inih's handler; the section is ours, since inih's is cut. */
static int
key_handle(void *user, const char *section, const char *name,
    const char *value)
{
	struct load *l = user;
	const struct key *k;

	(void)section;
	if (l->skip)
		return 1;
	if (!l->section) {
		conf_complain(l, "%s before any section; begin with "
		    "[checker], [defaults] or [pool NAME]",
		    is_like_key(name) ? name : "a line");
		return 1;
	}
	k = key_find(l, name);
	if (!k)
		return 1;
	if (!*value)
		conf_complain(l, "%s has no value%s; write one or leave the "
		    "line out", name, l->source->comment ?
		    ", as ; begins a comment there" : "");
	else if (strstr(value, " #") || strstr(value, "\t#"))
		conf_complain(l, "# after a value begins no comment; "
		    "write ; for it, or give it a line of its own");
	else
		key_set(l, k, value);
	return 1;
}

/* Sections -------------------------------------------------------------- */

static struct draft *
pool_add(struct load *l, const char *name)
{
	struct draft *v = realloc(l->pool, (l->pools + 1) * sizeof *v);

	if (!v) {
		conf_complain_memory(l);
		return NULL;
	}
	l->pool = v;
	v += l->pools++;
	memset(v, 0, sizeof *v);
	snprintf(v->pool.name, sizeof v->pool.name, "%s", name);
	return v;
}

/* The pool's draft; NULL: there is none, or it has been told why not. */
static struct draft *
section_pool(struct load *l, const char *name)
{
	if (!conf_name_is_good(name, MCSHM_POOL_MAX)) {
		conf_complain(l, "'%s' is not a pool's name; write "
		    "[pool NAME] with a NAME of letters, digits, . _ and -, "
		    "%d at most, a letter or digit first",
		    name, MCSHM_POOL_MAX);
		return NULL;
	}
	for (uint32_t i = 0; i < l->pools; i++)
		if (strcmp(l->pool[i].pool.name, name) == 0)
			return &l->pool[i];
	return pool_add(l, name);
}

/* No such section; what was meant may be a pool's. */
static void
section_unknown(struct load *l, const char *name)
{
	const size_t n = strcspn(name, CONF_BLANKS);
	const char *rest = name + n + strspn(name + n, CONF_BLANKS);
	char lower[CONF_WORD_BYTES];
	struct hint hint = conf_hint(conf_lower(lower, name, n));
	const char *pool = "pool";

	conf_hint_offer(&hint, pool);
	if (!*rest) {
		conf_hint_offer(&hint, "checker");
		conf_hint_offer(&hint, "defaults");
	}
	if (!hint.nearest)
		conf_complain(l, "no section [%s]; sections are [checker], "
		    "[defaults] and [pool NAME]", name);
	else
		conf_complain(l, "no section [%s]; did you mean [%s%s%s]",
		    name, hint.nearest, hint.nearest == pool ? " " : "",
		    hint.nearest != pool ? "" : *rest ? rest : "NAME");
}

static struct draft *
section_find(struct load *l, const char *name)
{
	if (strcmp(name, "checker") == 0) {
		l->section = CONF_CHECKER;
		return &l->checker;
	}
	if (strcmp(name, "defaults") == 0) {
		l->section = CONF_DEFAULTS;
		return &l->defaults;
	}
	if (strncmp(name, "pool", 4) == 0 && strchr(CONF_BLANKS, name[4])) {
		l->section = CONF_POOL;
		return section_pool(l,
		    name + 4 + strspn(name + 4, CONF_BLANKS));
	}
	section_unknown(l, name);
	return NULL;
}

static void
section_enter(struct load *l, const char *name)
{
	struct draft *d = section_find(l, name);

	/* Keys of a section that is none would all be errors too. */
	l->skip = true;
	if (!d)
		return;
	if (d->heading.line) {
		conf_complain(l, "[%s] again; it is in %s:%u already, "
		    "write its keys there", name, d->heading.file,
		    d->heading.line);
		return;
	}
	d->heading = conf_here(l);
	l->now = d;
	l->skip = false;
}

/* Lines ----------------------------------------------------------------- */

static void
trim_end(char *text)
{
	size_t n = strlen(text);

	while (n > 0 && strchr(CONF_BLANKS "\r\n", text[n - 1]))
		n--;
	text[n] = '\0';
}

/* A line that begins with [. */
static void
line_heading(struct load *l, char *text)
{
	char *name = text + 1 + strspn(text + 1, CONF_BLANKS);
	char *end = strchr(name, ']');
	const char *rest;

	if (l->source->included) {
		conf_complain(l, "a section in an included file; it has "
		    "lines of [pool %s] only, write the section elsewhere",
		    l->now->pool.name);
		l->skip = true;
		return;
	}
	/* What is wrong from here on is not wrong with the section above. */
	l->now = NULL;
	if (!end) {
		conf_complain(l, "'%s' has no ]; write [SECTION]", text);
		l->skip = true;
		return;
	}
	rest = end + 1 + strspn(end + 1, CONF_BLANKS);
	if (*rest && *rest != ';' && *rest != '#')
		conf_complain(l, "'%s' after ]; write it on a line of its "
		    "own", rest);
	*end = '\0';
	trim_end(name);
	section_enter(l, name);
}

/* "key = value" for inih, in as few bytes as can be; else str stays "". */
static void
line_key(struct load *l, char *text, char *str, int room)
{
	char *eq = text + strcspn(text, "=:");
	char shown[SHOWN + 8];
	const char *value;
	int n;

	/* inih ends the line at a comment, wherever that begins. */
	for (char *c = text; c < eq; c++)
		if (c[0] == ';' && strchr(CONF_BLANKS, c[-1]))
			eq = text;
	if (*eq == '\0' || eq == text) {
		conf_complain(l, "%s is not KEY = VALUE; write that, or a "
		    "comment on a line of its own", line_shown(shown, l, text));
		return;
	}
	if (*eq == ':') {
		conf_complain(l, "%s has : before =; write KEY = VALUE",
		    line_shown(shown, l, text));
		return;
	}
	*eq = '\0';
	trim_end(text);
	value = eq + 1 + strspn(eq + 1, CONF_BLANKS);
	l->source->comment = *value == ';';
	n = snprintf(str, (size_t)room, "%s = %s\n", text, value);
	if (n >= room) {
		conf_complain(l, "the line has %d bytes; write %d at most%s",
		    n - 1, room - 2, strcmp(text, "buckets") == 0 ?
		    ", and go on in another line with buckets =" : "");
		*str = '\0';
	}
}

/* Unprintable bytes in it: they would garble logs, or end the line early. */
static bool
line_is_text(struct load *l, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const unsigned char c = (unsigned char)text[i];
		const bool end = c == '\n' ||
		    (c == '\r' && i + 1 < n && text[i + 1] == '\n');

		if ((c >= ' ' && c != 0x7f) || c == '\t' || end)
			continue;
		conf_complain(l, "byte 0x%02x in the line; write plain text",
		    c);
		return false;
	}
	return true;
}

/* inih's reader: a line a call, "" in place of those that it shall not see. */
static char *
line_read(char *str, int room, void *user)
{
	struct load *l = user;
	struct source *s = l->source;
	ssize_t n = getline(&s->text, &s->room, s->f);
	char *text = s->text;

	if (n < 0)
		return NULL;
	*str = '\0';
	s->line++;
	if (!line_is_text(l, text, (size_t)n))
		return str;
	if (s->line == 1 && strncmp(text, "\xef\xbb\xbf", 3) == 0)
		text += 3;	/* some editors begin a file with this mark */
	text += strspn(text, CONF_BLANKS);
	trim_end(text);
	if (*text == '[')
		line_heading(l, text);
	else if (*text && *text != ';' && *text != '#')
		line_key(l, text, str, room);
	return str;
}

/* Files ----------------------------------------------------------------- */

/* A regular file: others may never end, or never begin. */
FILE *
conf_open(const char *path, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	FILE *f;

	*why = NULL;
	if (fd >= 0 && fstat(fd, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			*why = "not a regular file";
		else if (st.st_size > FILE_BYTES)
			*why = "more than 16 MiB";
		else if ((f = fdopen(fd, "r")))
			return f;
	}
	if (!*why)
		*why = strerror(errno);
	if (fd >= 0)
		close(fd);
	return NULL;
}

/* Errors of opening it are at the spot that asked for it. */
bool
conf_read(struct load *l, const char *path, bool included)
{
	struct source s = { .file = path, .included = included };
	struct source *outer = l->source;
	const char *why;
	int bad;

	s.f = conf_open(path, &why);
	if (!s.f) {
		conf_complain(l, "cannot read %s: %s; name a readable file",
		    included ? path : "it", why);
		return false;
	}
	l->source = &s;
	bad = ini_parse_stream(line_read, l, key_handle, l);
	if (!feof(s.f))
		conf_complain(l, "cannot read on: %s", strerror(errno));
	else if (bad)
		conf_complain_at(l, (struct spot){ path, (unsigned)bad, false },
		    "inih cannot read the line; write KEY = VALUE");
	l->source = outer;
	free(s.text);
	fclose(s.f);
	return true;
}

/* The same section goes on, whatever the included file did. */
static bool
include_file(struct load *l, const char *path)
{
	const unsigned before = l->errors;
	char **v = realloc(l->name, (l->names + 1) * sizeof *v);

	if (!v)
		return conf_complain_memory(l);
	l->name = v;
	v[l->names] = strdup(path);
	if (!v[l->names])
		return conf_complain_memory(l);
	conf_read(l, v[l->names++], true);
	l->skip = false;
	return l->errors == before;
}

/* glob(3) cannot read a directory: shall it give up? */
static int
include_trouble(const char *path, int error)
{
	(void)path;
	return error != ENOENT && error != ENOTDIR;
}

static bool
include_glob(struct load *l, const struct key *k, const char *text,
    const char *pattern)
{
	bool good = true;
	glob_t g = { 0 };

	/* glob(3)'s order is that of bytes: mc-checkerd sets no locale. */
	switch (glob(pattern, 0, include_trouble, &g)) {
	case 0:
		for (size_t i = 0; i < g.gl_pathc; i++)
			good = include_file(l, g.gl_pathv[i]) && good;
		break;
	case GLOB_NOMATCH:
		break;
	case GLOB_NOSPACE:
		good = conf_complain_memory(l);
		break;
	default:
		good = conf_refuse(l, k, text,
		    "leads to a directory that cannot be read; name one that "
		    "can");
	}
	globfree(&g);
	return good;
}

/* text, seen from the directory of the file that has it; quoted for glob(3)
 * there, but not in text. */
static char *
include_path(const char *file, const char *text, bool quoted)
{
	const char *slash = strrchr(file, '/');
	size_t n = *text == '/' || !slash ? 0 : (size_t)(slash - file) + 1;
	char *path = malloc(2 * n + strlen(text) + 1), *to = path;

	if (!path)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (quoted && strchr("*?[]\\", file[i]))
			*to++ = '\\';
		*to++ = file[i];
	}
	strcpy(to, text);
	return path;
}

bool
conf_include_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	const bool pattern = strpbrk(text, "*?[") != NULL;
	char *path;
	bool good;

	(void)field;
	if (l->source->included)
		return conf_refuse(l, k, text,
		    "is in an included file; write it where the pool is");
	path = include_path(l->source->file, text, pattern);
	if (!path)
		return conf_complain_memory(l);
	good = pattern ? include_glob(l, k, text, path) : include_file(l, path);
	free(path);
	return good;
}
