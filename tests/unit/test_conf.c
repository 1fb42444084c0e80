/*
 * test_conf.c - the ini: pairs of files and what becomes of them, traps that no
 * file in the tree can hold, the shipped example, the manual, and noise.
 *
 * Runs in the top directory of the tree.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf.h"

#define COUNT(a) (sizeof (a) / sizeof (a)[0])
#define PAIRS "tests/conf"
#define EXAMPLE "conf/mc-checkerd.ini"
#define MANUAL "checkerd/mc-checkerd.ini.5"

/* The longest line, as inih has room for 200 bytes. */
#define LINE_BYTES 198

/* What a load gave: the dump, or the errors. */
struct outcome {
	unsigned errors;
	char *text;
};

static char *
dump(const struct conf *c)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	conf_dump(c, f);
	fclose(f);
	return text;
}

static struct outcome
load(const char *path)
{
	struct outcome o = { 0 };
	struct conf c, untouched;
	char *errors = NULL;
	size_t n;
	FILE *f = open_memstream(&errors, &n);

	assert_non_null(f);
	memset(&c, 0x5a, sizeof c);
	untouched = c;
	o.errors = conf_load(&c, path, NULL, f);
	fclose(f);
	if (o.errors) {
		assert_memory_equal(&c, &untouched, sizeof c);
		o.text = errors;
		return o;
	}
	assert_string_equal(errors, "");
	assert_string_equal(c.path, path);
	free(errors);
	o.text = dump(&c);
	conf_free(&c);
	return o;
}

static unsigned
lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static char *
slurp(const char *path)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = fopen(path, "r");

	if (!f)
		fail_msg("no %s", path);
	if (getdelim(&text, &n, 0, f) < 0) {
		free(text);
		text = strdup("");
	}
	fclose(f);
	return text;
}

static void
spill(const char *path, const void *bytes, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void
spill_text(const char *path, const char *text)
{
	spill(path, text, strlen(text));
}

/* A directory for files of a test, ours to remove. */
static char scratch[64];

static const char *
in_scratch(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", scratch, name);
	return path;
}

static struct outcome
load_bytes(const void *bytes, size_t n)
{
	struct outcome o;

	spill(in_scratch("x.ini"), bytes, n);
	o = load(in_scratch("x.ini"));
	unlink(in_scratch("x.ini"));
	return o;
}

static struct outcome
load_text(const char *text)
{
	return load_bytes(text, strlen(text));
}

/* One error, in this line, with these words. */
static void
expect_error(const char *text, size_t n, unsigned line, const char *words)
{
	struct outcome o = load_bytes(text, n);
	char where[160];

	snprintf(where, sizeof where, "x.ini:%u: ", line);
	print_message("%s", o.text);
	assert_int_equal(o.errors, 1);
	assert_int_equal(lines(o.text), 1);
	assert_non_null(strstr(o.text, where));
	assert_non_null(strstr(o.text, words));
	assert_non_null(strchr(o.text, ';'));
	free(o.text);
}

/* Pairs ----------------------------------------------------------------- */

static char *
with_end(const char *name, const char *end)
{
	static char other[300];

	snprintf(other, sizeof other, "%.*s%s",
	    (int)(strrchr(name, '.') - name), name, end);
	return other;
}

static void
check_good(const char *name)
{
	struct outcome o = load(name), again;
	char *ok = slurp(with_end(name, ".ok"));

	assert_int_equal(o.errors, 0);
	assert_string_equal(o.text, ok);
	/* The dump is an ini that means the same. */
	again = load(with_end(name, ".ok"));
	assert_int_equal(again.errors, 0);
	assert_string_equal(again.text, ok);
	free(o.text);
	free(again.text);
	free(ok);
}

static void
check_bad(const char *name)
{
	struct outcome o = load(name);
	char *err = slurp(with_end(name, ".err"));

	assert_string_equal(o.text, err);
	assert_int_equal(o.errors, lines(err));
	free(o.text);
	free(err);
}

/* Errors name files as they were given: from there. */
static int
pairs_enter(void **state)
{
	*state = getcwd(NULL, 0);
	return *state && chdir(PAIRS) == 0 ? 0 : -1;
}

static int
pairs_leave(void **state)
{
	int err = chdir(*state);

	free(*state);
	return err;
}

static void
test_pairs(void **state)
{
	unsigned good = 0, bad = 0, answers = 0;
	DIR *d = opendir(".");
	struct dirent *e;

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d))) {
		const char *end = strrchr(e->d_name, '.');

		answers += end && (!strcmp(end, ".ok") || !strcmp(end, ".err"));
		if (!end || strcmp(end, ".ini") != 0)
			continue;
		print_message("%s\n", e->d_name);
		if (strncmp(e->d_name, "bad_", 4) == 0) {
			check_bad(e->d_name);
			bad++;
		} else {
			check_good(e->d_name);
			good++;
		}
	}
	closedir(d);
	assert_true(good >= 12 && bad >= 16);
	assert_int_equal(answers, good + bad);
}

/* Each line of an error says where, what is wrong, and what would be right. */
static void
test_form_of_errors(void **state)
{
	DIR *d = opendir(PAIRS);
	struct dirent *e;

	(void)state;
	assert_non_null(d);
	while ((e = readdir(d))) {
		const char *end = strrchr(e->d_name, '.');
		char path[400], *err, *line, *rest;

		if (!end || strcmp(end, ".err") != 0)
			continue;
		snprintf(path, sizeof path, PAIRS "/%s", e->d_name);
		rest = err = slurp(path);
		while ((line = strsep(&rest, "\n")) && *line) {
			char file[100];
			unsigned number;

			assert_int_equal(sscanf(line, "%99[^:]:%u: ", file,
			    &number), 2);
			assert_true(number > 0);
			assert_non_null(strstr(line, "; "));
		}
		free(err);
	}
	closedir(d);
}

/* Lines ----------------------------------------------------------------- */

#define POOL "[pool web]\nserver = 10.0.0.1:11211\n"

static void
test_line_ends(void **state)
{
	static const char *const same[] = {
		POOL "fall = 5\n",
		POOL "fall = 5",
		"[pool web]\r\nserver = 10.0.0.1:11211\r\nfall = 5\r\n",
		"\xef\xbb\xbf" POOL "fall = 5\n",
		"\xef\xbb\xbf; comment\n" POOL "fall = 5\n",
		"\n\n \t\n" POOL "\n   fall = 5   \t\n\n",
		"[ pool\t web ]\n\tserver=10.0.0.1:11211\n \tfall\t=\t5\n",
		POOL "fall = 5 ; \xc3\xa9 = [x]\n# \xff\n",
		POOL "fall = 5\t;comment\n",
	};
	struct outcome first = load_text(same[0]);

	(void)state;
	assert_int_equal(first.errors, 0);
	assert_non_null(strstr(first.text, "\nfall = 5\n"));
	for (size_t i = 1; i < COUNT(same); i++) {
		struct outcome o = load_text(same[i]);

		print_message("%zu\n", i);
		assert_string_equal(o.text, first.text);
		free(o.text);
	}
	free(first.text);
}

static void
test_bytes_that_are_no_text(void **state)
{
	static const char nul[] = POOL "fall = 5\0" "0\n";
	static const char nul_comment[] = POOL "; a\0b\n";

	(void)state;
	expect_error(nul, sizeof nul - 1, 3, "0x00");
	expect_error(nul_comment, sizeof nul_comment - 1, 3, "0x00");
	expect_error(POOL "fall = \x1b" "5\n", strlen(POOL) + 10, 3, "0x1b");
	expect_error(POOL "fall = 5\x7f\n", strlen(POOL) + 10, 3, "0x7f");
	/* As on an old Mac: all of it would be one comment. */
	expect_error("; x\r[pool web]\r", 15, 1, "0x0d");
}

/* A file that ends inside a line, at any place: no crash, no leak. */
static void
test_every_prefix(void **state)
{
	char *text = slurp(PAIRS "/all.ini");

	(void)state;
	for (size_t n = strlen(text); n > 0; n--) {
		struct outcome o = load_bytes(text, n - 1);

		free(o.text);
	}
	free(text);
}

/* The longest line is read as a whole; one byte more is an error, and what is
 * behind it is not taken for a line. */
static void
test_long_lines(void **state)
{
	char text[2000], line[LINE_BYTES + 2] = "server = ";
	const char *end = " 10.0.0.1:11211 weight=7";
	struct outcome o;
	size_t n = strlen(line);

	(void)state;
	memset(line + n, ' ', sizeof line - n);
	line[n] = 'a';
	strcpy(line + LINE_BYTES - strlen(end), end);
	snprintf(text, sizeof text, "[pool web]\n%s\n", line);
	o = load_text(text);
	assert_int_equal(o.errors, 0);
	assert_non_null(strstr(o.text, "\nserver = a 10.0.0.1:11211 weight=7"));
	free(o.text);

	memmove(line + n + 1, line + n, strlen(line + n) + 1);
	line[n] = 'b';
	snprintf(text, sizeof text, "[pool web]\n%s\n", line);
	expect_error(text, strlen(text), 2, "199 bytes");

	/* Where inih would see a second line. */
	snprintf(text, sizeof text, POOL "directory = %0185d fall = 9\n", 0);
	expect_error(text, strlen(text), 3, "bytes");
	/* Blanks that mean nothing, and comments, may be as long as they
	 * like. */
	snprintf(text, sizeof text,
	    "%500s" POOL "%500sfall%500s= 5%200s\n;%200s\n", "", "", "", "",
	    "x");
	o = load_text(text);
	assert_int_equal(o.errors, 0);
	assert_non_null(strstr(o.text, "\nfall = 5\n"));
	free(o.text);
}

/* All the room for names and paths is there, and its dump can be read. */
static void
test_longest_names(void **state)
{
	char dir[145], pool[41], name[64], sock[108], text[1200];
	struct outcome o, again;

	(void)state;
	snprintf(dir, sizeof dir, "/%0143d", 0);
	snprintf(pool, sizeof pool, "%040d", 0);
	snprintf(name, sizeof name, "%063d", 0);
	snprintf(sock, sizeof sock, "/%0106d", 0);
	snprintf(text, sizeof text, "[checker]\ndirectory = %s\n[pool %s]\n"
	    "server = %s unix:%s weight=900\n", dir, pool, name, sock);
	o = load_text(text);
	assert_int_equal(o.errors, 0);
	snprintf(text, sizeof text, "\nfile = %s/%s.mcshm\n", dir, pool);
	assert_non_null(strstr(o.text, text));
	snprintf(text, sizeof text, "\nserver = %s unix:%s weight=900\n", name,
	    sock);
	assert_non_null(strstr(o.text, text));
	again = load_text(o.text);
	assert_int_equal(again.errors, 0);
	assert_string_equal(again.text, o.text);
	free(o.text);
	free(again.text);
}

/* Files ----------------------------------------------------------------- */

static void
expect_unreadable(const char *path, const char *words)
{
	struct outcome o = load(path);

	print_message("%s", o.text);
	assert_int_equal(o.errors, 1);
	assert_int_equal(strncmp(o.text, path, strlen(path)), 0);
	assert_non_null(strstr(o.text, words));
	free(o.text);
}

static void
test_what_is_no_file(void **state)
{
	struct outcome o;

	(void)state;
	expect_unreadable("/nonexistent/x.ini", "No such file");
	expect_unreadable(scratch, "not a regular file");
	expect_unreadable("/dev/zero", "not a regular file");
	/* Nobody ever writes into it: must not wait. */
	assert_int_equal(mkfifo(in_scratch("fifo"), 0600), 0);
	expect_unreadable(in_scratch("fifo"), "not a regular file");
	o = load_text("[pool web]\ninclude = fifo\ninclude = fi*\n");
	assert_int_equal(o.errors, 2);
	assert_non_null(strstr(o.text, "x.ini:2: "));
	assert_non_null(strstr(o.text, "x.ini:3: "));
	free(o.text);
	unlink(in_scratch("fifo"));
	/* A directory that cannot be read is not one without matches. */
	assert_int_equal(symlink("loop", in_scratch("loop")), 0);
	expect_error("[pool web]\ninclude = loop/*\n", 28, 2, "directory");
	unlink(in_scratch("loop"));
	/* Nothing but a hole. */
	spill_text(in_scratch("large"), "");
	assert_int_equal(truncate(in_scratch("large"), 17 << 20), 0);
	expect_unreadable(in_scratch("large"), "16 MiB");
	unlink(in_scratch("large"));
}

/* Nobody wants to hear it. */
static void
test_errors_to_nowhere(void **state)
{
	struct conf c;

	(void)state;
	assert_int_equal(conf_load(&c, PAIRS "/bad_timeout.ini", NULL, NULL),
	    2);
}

/* An include begins at the directory of its file, whatever that is called. */
static void
test_include_beside_the_file(void **state)
{
	static const char *const dirs[] = { "plain", "[a]*?\\" };

	(void)state;
	for (size_t i = 0; i < COUNT(dirs); i++) {
		char dir[100], ini[120], inc[120];
		struct outcome o;

		snprintf(dir, sizeof dir, "%s/%s", scratch, dirs[i]);
		snprintf(ini, sizeof ini, "%s/x.ini", dir);
		snprintf(inc, sizeof inc, "%s/y.inc", dir);
		assert_int_equal(mkdir(dir, 0700), 0);
		spill_text(ini, "[pool a]\ninclude = y.inc\n"
		    "[pool b]\ninclude = *.inc\n");
		spill_text(inc, "server = s 10.0.0.1:1\n");
		o = load(ini);
		print_message("%s", o.text);
		assert_int_equal(o.errors, 0);
		assert_non_null(strstr(o.text, "server = s 10.0.0.1:1"));
		free(o.text);
		unlink(ini);
		unlink(inc);
		rmdir(dir);
	}
}

static char *
many_servers(unsigned n, const char *more)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	fprintf(f, "[pool web]\n");
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "server = s%u 10.0.%u.%u:11211\n", i, i >> 8,
		    i & 255);
	fputs(more, f);
	fclose(f);
	return text;
}

static void
test_largest_pool(void **state)
{
	char *text = many_servers(MCSHM_MAX_SERVERS, "");
	struct outcome o = load_text(text);

	(void)state;
	assert_int_equal(o.errors, 0);
	assert_int_equal(lines(o.text), MCSHM_MAX_SERVERS + 8 + 43);
	free(text);
	free(o.text);

	text = many_servers(MCSHM_MAX_SERVERS + 20, "");
	expect_error(text, strlen(text), MCSHM_MAX_SERVERS + 2, "16384");
	free(text);

	text = many_servers(MCSHM_MAX_SERVERS - 1,
	    "server = last 10.0.17.0:11211\n");
	expect_error(text, strlen(text), MCSHM_MAX_SERVERS + 1, "x.ini:4354");
	free(text);
}

/* The example ----------------------------------------------------------- */

/* The file with its keys and its pool switched on: lines "#key = value". */
static char *
example_switched_on(void)
{
	char *text = slurp(EXAMPLE), *to = text;

	for (const char *from = text; *from; from++)
		if (!(*from == '#' && (from == text || from[-1] == '\n') &&
		    from[1] != ' ' && from[1] != '\t' && from[1] != '\n'))
			*to++ = *from;
	*to = '\0';
	return text;
}

static void
test_example_is_all_defaults(void **state)
{
	struct outcome o = load(EXAMPLE);
	char *ok = slurp(PAIRS "/empty.ok");

	(void)state;
	assert_int_equal(o.errors, 0);
	assert_string_equal(o.text, ok);
	free(o.text);
	free(ok);
}

static void
test_example_shows_the_defaults(void **state)
{
	char *text = example_switched_on(), *servers, *first;
	struct outcome on = load_text(text), off;

	(void)state;
	print_message("%s", on.text);
	assert_int_equal(on.errors, 0);
	/* The same pool with nothing but its servers. */
	first = strstr(text, "[pool web]");
	assert_non_null(first);
	servers = strstr(first, "server");
	memmove(first + 11, servers, strlen(servers) + 1);
	off = load_text(first);
	assert_string_equal(on.text, off.text);
	free(text);
	free(on.text);
	free(off.text);
}

/* Those that the default scheme does not take are shown in a pool that is not
 * switched on. */
static bool
is_of_some_scheme(const struct conf_key *k)
{
	return strcmp(k->name, "points_hash") == 0 ||
	    strcmp(k->name, "buckets") == 0;
}

static void
test_example_has_every_key(void **state)
{
	char *text = slurp(EXAMPLE);
	struct conf_key k;
	unsigned i;

	(void)state;
	for (i = 0; conf_key(&k, i); i++) {
		char line[200];

		snprintf(line, sizeof line, "\n#%s%s = %s%s",
		    is_of_some_scheme(&k) ? "\t" : "", k.name,
		    k.standard ? k.standard : "", k.standard ? "\n" : "");
		print_message("%s", line + 1);
		assert_non_null(strstr(text, line));
		if (is_of_some_scheme(&k))
			continue;
		/* After a sentence. */
		assert_true(strstr(text, line)[-1] != '\n');
	}
	assert_true(i >= 63);
	free(text);
}

/* The manual ------------------------------------------------------------ */

static void
test_manual_has_every_key(void **state)
{
	char *text = slurp(MANUAL), *line, *rest;
	unsigned keys = 0, items = 0;
	struct conf_key k;

	(void)state;
	for (unsigned i = 0; conf_key(&k, i); i++, keys++) {
		char item[200], *entry, *end;

		snprintf(item, sizeof item, "\n.It Ic %s%s%s\n", k.name,
		    k.standard ? " = " : "", k.standard ? k.standard : "");
		if (strcmp(k.name, "server") == 0)
			strcpy(item, "\n.It Ic server = Oo Ar NAME Oc ");
		if (strcmp(k.name, "include") == 0)
			strcpy(item, "\n.It Ic include = Ar PATH\n");
		if (strcmp(k.name, "buckets") == 0)
			strcpy(item, "\n.It Ic buckets = Ar N ...\n");
		print_message("%s: %s\n", k.name, k.range);
		entry = strstr(text, item);
		assert_non_null(entry);
		end = strstr(entry + 1, "\n.It Ic ");
		if (end)
			*end = '\0';
		assert_non_null(strstr(entry, k.range));
		if (end)
			*end = '\n';
	}
	for (rest = text; (line = strsep(&rest, "\n"));)
		items += strncmp(line, ".It Ic ", 7) == 0;
	assert_int_equal(items, keys);
	free(text);
}

/* What the table of clients says can be written, each row in a pool of its own,
 * with two servers where it has none. */
static void
expect_row(const char *keys, bool servers)
{
	char text[1000];
	struct outcome o;

	if (!*keys)
		return;
	snprintf(text, sizeof text, "[pool web]\n%s%s", keys, servers ? "" :
	    "server = 10.0.0.1:11211\nserver = 10.0.0.2:11211\n");
	o = load_text(text);
	if (o.errors)
		print_message("%s%s", text, o.text);
	assert_int_equal(o.errors, 0);
	free(o.text);
}

static void
test_manual_rows(void **state)
{
	char *text = slurp(MANUAL), *line, row[600] = "";
	char *rest = strstr(text, "\n.Ss Clients and their lines\n");
	bool servers = false, all[MCSHM_SCHEMES] = { false };
	unsigned rows = 0;

	(void)state;
	assert_non_null(rest);
	for (rest++; (line = strsep(&rest, "\n")) &&
	    strncmp(line, ".Sh ", 4) != 0;) {
		char scheme[100] = "";

		if (strncmp(line, ".Dl ", 4) != 0) {
			rows += *row != '\0';
			expect_row(row, servers);
			*row = '\0';
			servers = false;
			continue;
		}
		line += 4;
		servers = servers || strncmp(line, "server ", 7) == 0;
		if (sscanf(line, "scheme = %99s", scheme) == 1)
			all[scheme_by_name(scheme)] = true;
		assert_true(strlen(row) + strlen(line) + 2 < sizeof row);
		strcat(strcat(row, line), "\n");
	}
	assert_true(rows >= 30);
	for (uint32_t i = 1; i < MCSHM_SCHEMES; i++)
		assert_true(all[i] != (i == MCSHM_SCHEME_MAGLEV));
	free(text);
}

/* A column of the table of texts is what each scheme makes of an address, if
 * its name begins as the row does. */
static void
expect_texts(const char *row, char *column[3])
{
	static const struct scheme_where where[] = {
		{ "", "10.0.0.7", MCSHM_KIND_IPV4, 11211 },
		{ "", "fd00::7", MCSHM_KIND_IPV6, 80 },
		{ "", "/m", MCSHM_KIND_UNIX, 0 } };
	unsigned schemes = 0;

	for (uint32_t i = 1; i < MCSHM_SCHEMES; i++) {
		char ident[272];

		if (strncmp(scheme_name(i), row, strlen(row)) != 0)
			continue;
		for (size_t j = 0; j < COUNT(where); j++) {
			assert_true(scheme_ident(i, &where[j], ident) > 0);
			assert_string_equal(column[j], ident);
		}
		schemes++;
	}
	assert_true(schemes > 0);
}

static void
test_manual_texts(void **state)
{
	char *text = slurp(MANUAL), *line;
	char *rest = strstr(text, "\n.Ss The text of a server\n");
	unsigned rows = 0;

	(void)state;
	assert_non_null(rest);
	for (rest++; (line = strsep(&rest, "\n")) &&
	    strncmp(line, ".El", 3) != 0;) {
		char row[40], column[3][40];

		if (sscanf(line, ".It Cm %39s Ta %39s Ta %39s Ta %39s", row,
		    column[0], column[1], column[2]) != 4)
			continue;
		expect_texts(row, (char *[]){ column[0], column[1],
		    column[2] });
		rows++;
	}
	assert_int_equal(rows, 6);
	free(text);
}

/* The rows agree with themselves: a default is in its range, and the dump of a
 * pool has each key once.  Of three pools: keys that a pool of defaults has no
 * use for are not in its dump. */
static void
test_table(void **state)
{
	struct outcome o[] = { load_text(POOL),
		load_text(POOL "scheme = twemproxy-ketama\n"),
		load_text(POOL "probe = set\ntls = yes\n"
		    "on_recovery = flush-if-stale\n") };
	struct conf_key k;

	(void)state;
	for (unsigned i = 0; conf_key(&k, i); i++) {
		char line[200], *at = NULL;

		assert_true(k.checker != k.pool);
		assert_true(!k.defaults || k.pool);
		for (size_t j = 0; j < COUNT(o) && k.standard; j++) {
			assert_int_equal(o[j].errors, 0);
			snprintf(line, sizeof line, "\n%s = %s\n", k.name,
			    k.standard);
			at = strstr(o[j].text, line);
			snprintf(line, sizeof line, "\n%s = ", k.name);
			if (at) {
				assert_null(strstr(at + 1, line));
				break;
			}
		}
		assert_true(!k.standard || at);
	}
	for (size_t j = 0; j < COUNT(o); j++)
		free(o[j].text);
}

/* Choice ---------------------------------------------------------------- */

static struct outcome
load_choice(const char *scheme, const char *key, const char *value)
{
	char text[200];

	snprintf(text, sizeof text, POOL "scheme = %s\n%s = %s\n", scheme, key,
	    value);
	return load_text(text);
}

/* Every scheme with every hash: what scheme.h says is what an ini may say, and
 * an error names all that it may. */
static void
test_every_scheme_and_hash(void **state)
{
	unsigned good = 0;

	(void)state;
	for (uint32_t i = 1; i < MCSHM_SCHEMES; i++) {
		for (uint32_t h = 1; h < MCSHM_HASHES; h++) {
			struct outcome o = load_choice(scheme_name(i), "hash",
			    scheme_hash_name(h));

			assert_int_equal(o.errors, !scheme_takes_hash(i, h));
			good += o.errors == 0;
			for (uint32_t t = 1; o.errors && t < MCSHM_HASHES; t++)
				if (scheme_takes_hash(i, t))
					assert_non_null(strstr(o.text,
					    scheme_hash_name(t)));
			free(o.text);
		}
	}
	assert_true(good > 60);
}

/* The same of points. */
static void
test_every_points_hash(void **state)
{
	unsigned good = 0;

	(void)state;
	for (uint32_t i = 1; i < MCSHM_SCHEMES; i++) {
		for (uint32_t h = 1; h < MCSHM_HASHES; h++) {
			struct outcome o = load_choice(scheme_name(i),
			    "points_hash", scheme_hash_name(h));

			if (o.errors == 0) {
				assert_true(scheme_takes_points_hash(i,
				    scheme_default_hash(i), h));
				assert_non_null(strstr(o.text,
				    "\npoints_hash = "));
				good++;
			}
			free(o.text);
		}
	}
	assert_int_equal(good, 11);
}

/* Second names are read, and never written. */
static void
test_second_names(void **state)
{
	struct outcome o = load_choice("libmemcached-ketama",
	    "points_hash = default\nhash", "default");

	(void)state;
	assert_int_equal(o.errors, 0);
	assert_non_null(strstr(o.text, "\nhash = one_at_a_time\n"));
	assert_non_null(strstr(o.text, "\npoints_hash = one_at_a_time\n"));
	free(o.text);
}

/* What a char is stands in the file only where it changes a hash: of keys, or
 * of points. */
static void
test_chars(void **state)
{
	static const char *const changed[] = { "one_at_a_time", "fnv1_64",
		"fnv1a_64", "fnv1_32", "fnv1a_32", "hsieh" };
	unsigned n = 0;

	(void)state;
	for (uint32_t h = 1; h < MCSHM_HASHES; h++) {
		const char *name = scheme_hash_name(h);
		struct outcome o;
		bool wanted = false;

		if (!scheme_takes_hash(MCSHM_SCHEME_LIBMEMCACHED_KETAMA, h))
			continue;
		for (size_t i = 0; i < COUNT(changed); i++)
			wanted = wanted || strcmp(name, changed[i]) == 0;
		for (unsigned points = 0; points < 2; points++) {
			o = load_choice("libmemcached-ketama", points ?
			    "hash = md5\nhash_chars = unsigned\npoints_hash" :
			    "points_hash = md5\nhash_chars = unsigned\nhash",
			    name);
			assert_int_equal(o.errors, 0);
			assert_int_equal(wanted, strstr(o.text,
			    "\nhash_chars = unsigned\n") != NULL);
			assert_int_equal(wanted,
			    strstr(o.text, "hash_chars") != NULL);
			free(o.text);
		}
		n += wanted;
	}
	assert_int_equal(n, COUNT(changed));
}

/* As numbers of the file. */
static void
test_what_main_gets(void **state)
{
	static const char text[] = "[pool web]\n"
	    "scheme = libmemcached-virtual-bucket\n"
	    "hash = fnv1_32\nhash_chars = unsigned\n"
	    "dead = error\nfailover_ttl = 2m\n"
	    "server = a:1\nserver = b:1\nbuckets = 1 0\nbuckets = 1,1\n"
	    "[pool tagged]\nserver = a:1\nscheme = twemproxy-modula\n"
	    "hash_tag = <>\n"
	    "[pool indifferent]\nserver = a:1\nhash_chars = unsigned\n";
	const struct conf_pool *p;
	struct conf c;

	(void)state;
	spill_text(in_scratch("x.ini"), text);
	assert_int_equal(conf_load(&c, in_scratch("x.ini"), NULL, stderr), 0);
	unlink(in_scratch("x.ini"));
	p = &c.pool[0];
	assert_int_equal(p->set.scheme,
	    MCSHM_SCHEME_LIBMEMCACHED_VIRTUAL_BUCKET);
	assert_int_equal(p->set.hash, MCSHM_HASH_FNV1_32);
	assert_int_equal(p->set.hash_flags, MCSHM_HASH_UNSIGNED);
	assert_int_equal(p->set.hash_tag, 0);
	assert_int_equal(p->dead, MCSHM_DEAD_ERROR);
	assert_int_equal(p->failover_ttl, 120);
	assert_int_equal(p->maps, 4);
	assert_memory_equal(p->map, ((uint16_t[]){ 1, 0, 1, 1 }), 8);
	p++;
	assert_int_equal(p->set.hash_tag, '<' | '>' << 8);
	assert_int_equal(p->dead, MCSHM_DEAD_REHASH);
	assert_int_equal(p->failover_ttl, 0);
	assert_int_equal(p->maps, 0);
	/* Not stored where it changes nothing: no new file for it. */
	assert_int_equal(p[1].set.hash_flags, 0);
	conf_free(&c);
}

/* As numbers and bytes of the struct. */
static void
test_what_probes_get(void **state)
{
	static const char text[] = "[checker]\ntilt_after = 1s\ntilt_for = 2m\n"
	    "[defaults]\ncanary_size = 7\ntls_name = a.b\n"
	    "flush_percent = 3%\nflush_refused = stay\n"
	    "[pool a]\nserver = a:1\n"
	    "source = fe80::9%7 10.1.2.3\nprobe = stats\n"
	    "[pool b]\nserver = a:1\nsource = ::ffff:10.1.2.3\n"
	    "probe = set\ntls = yes\non_recovery = flush-if-stale\n"
	    "on_slow = ignore\non_maxconns = down\n"
	    "maintenance_key = m:1\nexpect_version = 1.6.*\n";
	const struct conf_pool *p;
	struct conf c;

	(void)state;
	spill_text(in_scratch("x.ini"), text);
	assert_int_equal(conf_load(&c, in_scratch("x.ini"), NULL, stderr), 0);
	unlink(in_scratch("x.ini"));
	assert_int_equal(c.tilt_after, UINT64_C(1000000000));
	assert_int_equal(c.tilt_for, UINT64_C(120000000000));
	p = &c.pool[0];
	assert_int_equal(p->source[0].kind, MCSHM_KIND_IPV4);
	assert_memory_equal(p->source[0].ip, ((uint8_t[]){ 10, 1, 2, 3 }), 4);
	assert_int_equal(p->source[0].port, 0);
	assert_int_equal(p->source[1].kind, MCSHM_KIND_IPV6);
	assert_memory_equal(p->source[1].ip, ((uint8_t[]){ 0xfe, 0x80, 0, 0, 0,
	    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9 }), 16);
	assert_int_equal(p->source[1].scope, 7);
	assert_int_equal(p->source[1].port, 0);
	assert_int_equal(p->probe, CONF_PROBE_STATS);
	/* Of no use to it: not what [defaults] have, but the default. */
	assert_int_equal(p->canary_size, 1024);
	assert_string_equal(p->tls_name, "");
	assert_int_equal(p->flush_percent, 20);
	assert_int_equal(p->flush_refused, CONF_REFUSED_UP);
	assert_int_equal(p->on_recovery, CONF_RECOVERY_NONE);
	assert_int_equal(p->on_clock_stuck, CONF_DOWN);
	p++;
	assert_int_equal(p->source[0].kind, MCSHM_KIND_NONE);
	assert_int_equal(p->source[1].kind, MCSHM_KIND_IPV6);
	assert_int_equal(p->canary_size, 7);
	assert_int_equal(p->tls, 1);
	assert_int_equal(p->tls_verify, 1);
	assert_string_equal(p->tls_name, "a.b");
	assert_int_equal(p->on_recovery, CONF_RECOVERY_FLUSH);
	assert_int_equal(p->flush_percent, 3);
	assert_int_equal(p->flush_refused, CONF_REFUSED_STAY);
	assert_int_equal(p->on_slow, CONF_IGNORE);
	assert_int_equal(p->on_maxconns, CONF_DOWN);
	assert_int_equal(p->on_worker_stuck, CONF_DEGRADED);
	assert_string_equal(p->maintenance_key, "m:1");
	assert_string_equal(p->expect_version, "1.6.*");
	conf_free(&c);
}

/* Any two characters that can be seen, but for a comment's beginning. */
static void
test_every_tag(void **state)
{
	(void)state;
	for (char c = '!'; c <= '~'; c++) {
		char tag[3] = { c, (char)('!' + '~' - c), 0 };
		struct outcome o = load_choice("twemproxy-ketama", "hash_tag",
		    tag);
		char line[40];

		assert_int_equal(o.errors, c == ';');
		snprintf(line, sizeof line, "\nhash_tag = %s\n", tag);
		assert_true(c == ';' || strstr(o.text, line));
		free(o.text);
	}
}

/* Lists of buckets may be long: none of a dump's lines is too long to read, and
 * all of them come back. */
static void
test_many_buckets(void **state)
{
	char *text = many_servers(MCSHM_MAX_SERVERS,
	    "scheme = libmemcached-virtual-bucket\n"), *whole = NULL;
	struct outcome o, again;
	size_t size;
	FILE *f = open_memstream(&whole, &size);

	(void)state;
	fputs(text, f);
	for (unsigned i = 0; i < 1 << 17; i++)
		fprintf(f, "%s%u%s", i % 20 ? ", " : "buckets = ",
		    i % MCSHM_MAX_SERVERS, i % 20 == 19 ? "\n" : "");
	fclose(f);
	o = load_text(whole);
	assert_int_equal(o.errors, 0);
	assert_non_null(strstr(o.text, "\nbuckets = 0 1 2 3 4 5 6 "));
	assert_string_equal(strrchr(o.text, ' '), " 16383\n");
	again = load_text(o.text);
	assert_int_equal(again.errors, 0);
	assert_string_equal(again.text, o.text);
	free(text);
	free(whole);
	free(o.text);
	free(again.text);
}

/* What is read, but not likely meant. */
static char *
warnings_of(const char *text)
{
	char *told = NULL;
	struct conf c;
	size_t n;
	FILE *f = open_memstream(&told, &n);

	assert_non_null(f);
	spill_text(in_scratch("x.ini"), text);
	assert_int_equal(conf_load(&c, in_scratch("x.ini"), NULL, f), 0);
	unlink(in_scratch("x.ini"));
	fclose(f);
	conf_free(&c);
	return told;
}

/* "x.ini:4" for "/tmp/.../x.ini:4". */
static void
unplace(char *text)
{
	const size_t n = strlen(in_scratch(""));

	for (char *at; (at = strstr(text, in_scratch(""))); )
		memmove(at, at + n, strlen(at + n) + 1);
}

#define BUCKETS								\
	"[pool web]\nscheme = libmemcached-virtual-bucket\n"		\
	"server = a:1\nserver = b:1\nserver = c:1\n"

#define SHARES								\
	"[pool web]\non_recovery = flush-if-stale\n"			\
	"server = one 10.0.0.1:11211\n"					\
	"server = two cache.example.net:11211\n"			\
	"server = [fd00::1]:11211\nserver = unix:/run/mc\n[pool b]\n"

static void
test_warnings(void **state)
{
	static const struct {
		const char *text, *told;	/* "": nothing */
	} cases[] = {
		{ BUCKETS "buckets = 0 1\nbuckets = 2 0 1 2\n",
		    "x.ini:6: warning: pool web: of its 6 buckets clients use "
		    "4 only; " },
		{ BUCKETS "buckets = 0 1 2 0\n", "" },
		{ BUCKETS "buckets = 2\n", "" },
		{ BUCKETS, "x.ini:1: warning: pool web: without buckets, "
		    "clients use 2 of its 3 servers only; " },
		{ BUCKETS "server = d:1\n", "" },
		{ POOL, "" },
		{ POOL "probe = tcp\n", "x.ini:3: warning: probes by tcp " },
		/* Once, where it stands. */
		{ "[defaults]\nprobe = tcp\n" POOL
		    "[pool b]\nserver = b:1\n",
		    "x.ini:2: warning: probes by tcp " },
		{ "[defaults]\nprobe = tcp\n" POOL "probe = set\n",
		    "x.ini:2: warning: probes by tcp " },
		{ POOL "probe = version\n", "" },
		/* Other kinds of servers have versions of two words. */
		{ POOL "expect_version = 1.5.* 1.6.*\n",
		    "x.ini:3: warning: expect_version = 1.5.* 1.6.* is one "
		    "pattern, with a blank in it" },
		{ POOL "expect_version = mcrouter *\n", "" },
		{ POOL "tls = yes\ntls_verify = no\ntls_name = a\n", "" },
		{ POOL "tls = yes\ntls_verify = no\ntls_ca = /ca\n",
		    "x.ini:4: warning: pool web: tls_verify = no, and tls_ca = "
		    "/ca is not used; " },
		{ "[defaults]\ntls_ca = /ca\ntls_verify = no\n" POOL
		    "[pool b]\nserver = b:1\ntls = yes\n[pool c]\n"
		    "server = c:1\ntls = yes\n",
		    "x.ini:3: warning: pool b: tls_verify = no, and " },
		/* One address, however written, in two pools. */
		{ SHARES "server = one CACHE.example.net.:11211\n",
		    "x.ini:4: warning: pool web: server two is in pool b "
		    "(x.ini:8), too: on_recovery = flush-if-stale leaves " },
		{ SHARES "server = [fd00::0001]:11211\n"
		    "server = cache.example.net:11211\n"
		    "server = unix:/run/mc\n",
		    "(x.ini:9), too, and 2 more are in others: on_recovery" },
		{ SHARES "server = cache.example.net:11212\n", "" },
		{ SHARES "server = cache.example.net:11211\n"
		    "[defaults]\nflush_shared = yes\n", "" },
		{ "[pool web]\nserver = a:1\n[pool b]\nserver = a:1\n", "" },
		{ POOL "on_recovery = flush-if-stale\n", "" },
	};
	struct outcome o = load_text(BUCKETS "fall = 0\n");

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char *told = warnings_of(cases[i].text);

		print_message("%s", told);
		assert_int_equal(lines(told), *cases[i].told != '\0');
		unplace(told);
		assert_non_null(strstr(told, cases[i].told));
		free(told);
	}
	/* Where there are errors, there is nothing else. */
	assert_int_equal(o.errors, 1);
	assert_null(strstr(o.text, "warning"));
	free(o.text);
}

/* Logins ---------------------------------------------------------------- */

static const char *
login_path(void)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/login", scratch);
	return path;
}

/* A file of n bytes, and an ini that names it: in [defaults], and in a pool. */
static void
login_spill(const char *bytes, size_t n, bool inherited)
{
	char text[500];

	spill(login_path(), bytes, n);
	assert_int_equal(chmod(login_path(), 0640), 0);
	snprintf(text, sizeof text, inherited ?
	    "[defaults]\nauth_file = %s\n" POOL :
	    POOL "auth_file = %s\n", login_path());
	spill_text(in_scratch("x.ini"), text);
}

static void
login_remove(void)
{
	unlink(in_scratch("x.ini"));
	unlink(login_path());
}

static void
expect_login(const char *bytes, size_t n, const char *user,
    const char *password)
{
	for (unsigned inherited = 0; inherited < 2; inherited++) {
		struct conf c;
		char *text;

		login_spill(bytes, n, inherited);
		assert_int_equal(conf_load(&c, in_scratch("x.ini"), NULL,
		    stderr), 0);
		assert_string_equal(c.pool[0].auth_file, login_path());
		assert_string_equal(c.pool[0].user, user);
		assert_string_equal(c.pool[0].password, password);
		/* What is in it is told to nobody. */
		text = dump(&c);
		assert_non_null(strstr(text, login_path()));
		assert_true(strlen(password) < 5 || !strstr(text, password));
		free(text);
		conf_free(&c);
		login_remove();
	}
}

static void
expect_no_login(const char *bytes, size_t n, const char *words)
{
	struct outcome o;

	login_spill(bytes, n, false);
	o = load(in_scratch("x.ini"));
	print_message("%s", o.text);
	assert_int_equal(o.errors, 1);
	assert_non_null(strstr(o.text, "x.ini:3: auth_file = "));
	assert_non_null(strstr(o.text, words));
	assert_null(strstr(o.text, "secret"));
	free(o.text);
	login_remove();
}

#define BYTES(text) text, sizeof text - 1

/* What logs in at memcached -Y, and nothing that does not. */
static void
test_logins(void **state)
{
	(void)state;
	expect_login(BYTES("probe:secret9\n"), "probe", "secret9");
	expect_login(BYTES("probe:secret9"), "probe", "secret9");
	expect_login(BYTES("probe:secret9\r\nother:x\n"), "probe", "secret9");
	expect_login(BYTES("probe:a\tsecret:of#2;\nother:x\n"), "probe",
	    "a\tsecret:of#2;");
	expect_no_login(BYTES(""), "is empty; ");
	expect_no_login(BYTES("\nprobe:secret\n"), "no colon");
	expect_no_login(BYTES("secret\nprobe:secret\n"), "no colon");
	expect_no_login(BYTES("secret\rprobe:secret\n"), "no colon");
	expect_no_login(BYTES(":secret\n"), "no user");
	expect_no_login(BYTES("probe:\nsecret\n"), "no password");
	expect_no_login(BYTES("a user:secret\n"), "blank");
	expect_no_login(BYTES("user:a secret\n"), "blank");
	expect_no_login(BYTES("user:secret \n"), "blank");
	expect_no_login(BYTES("probe:se\0cret\n"), "0x00");
	expect_no_login(BYTES("probe\0:secret\n"), "0x00");
}

/* 255 bytes, however they are divided, and whatever their end is. */
static void
test_long_logins(void **state)
{
	static const char *const end[] = { "", "\n", "\r\n", "\n:\n" };
	char line[600], user[255], password[255];

	(void)state;
	for (size_t at = 1; at < 254; at += at < 252 ? 125 : 1) {
		snprintf(user, sizeof user, "%0*d", (int)at, 0);
		snprintf(password, sizeof password, "%0*d", (int)(254 - at), 0);
		for (size_t i = 0; i < COUNT(end); i++) {
			snprintf(line, sizeof line, "%s:%s%s", user, password,
			    end[i]);
			expect_login(line, strlen(line), user, password);
			snprintf(line, sizeof line, "%s:%s0%s", user, password,
			    end[i]);
			expect_no_login(line, strlen(line),
			    "255 bytes at most");
		}
	}
}

/* A pool may have another one than [defaults], or none. */
static void
test_logins_of_their_own(void **state)
{
	char other[128], text[900];
	struct conf c;

	(void)state;
	snprintf(other, sizeof other, "%s", in_scratch("other"));
	spill_text(other, "two:second\n");
	spill_text(login_path(), "one:first\n");
	chmod(other, 0600);
	chmod(login_path(), 0600);
	snprintf(text, sizeof text, "[defaults]\nauth_file = %s\n" POOL
	    "[pool b]\nserver = b:1\nauth_file = %s\n"
	    "[pool c]\nserver = c:1\nauth_file = none\n",
	    login_path(), other);
	spill_text(in_scratch("x.ini"), text);
	assert_int_equal(conf_load(&c, in_scratch("x.ini"), NULL, stderr), 0);
	assert_string_equal(c.pool[0].user, "one");
	assert_string_equal(c.pool[0].password, "first");
	assert_string_equal(c.pool[1].user, "two");
	assert_string_equal(c.pool[1].password, "second");
	assert_string_equal(c.pool[2].user, "");
	assert_string_equal(c.pool[2].password, "");
	assert_string_equal(c.pool[2].auth_file, "");
	conf_free(&c);
	login_remove();
	unlink(other);
}

static void
test_login_that_is_open(void **state)
{
	static const mode_t open_to_all[] = { 0644, 0602, 0661 };

	(void)state;
	for (unsigned i = 0; i < 2 * COUNT(open_to_all); i++) {
		char *text, *told;

		login_spill(BYTES("probe:secret\n"), i % 2);
		text = slurp(in_scratch("x.ini"));
		assert_int_equal(chmod(login_path(), open_to_all[i / 2]), 0);
		told = warnings_of(text);
		print_message("%s", told);
		assert_int_equal(lines(told), 1);
		assert_non_null(strstr(told, i % 2 ? "x.ini:2: warning: " :
		    "x.ini:3: warning: "));
		assert_non_null(strstr(told, login_path()));
		free(told);
		free(text);
		login_remove();
	}
}

static void
test_login_of_tcp(void **state)
{
	char text[500];
	struct outcome o;

	(void)state;
	spill_text(login_path(), "one:first\n");
	for (unsigned inherited = 0; inherited < 2; inherited++) {
		snprintf(text, sizeof text, inherited ?
		    "[defaults]\nauth_file = %s\n" POOL "probe = tcp\n" :
		    POOL "auth_file = %s\nprobe = tcp\n", login_path());
		o = load_text(text);
		assert_int_equal(o.errors, 1);
		assert_non_null(strstr(o.text, inherited ?
		    "does not go with probe = tcp; write auth_file = none in "
		    "the pool, or probe = version\n" :
		    "does not go with probe = tcp in "));
		free(o.text);
	}
	login_remove();
}

/* What [defaults] say of faults is no error of a pool that only connects, and
 * not in its dump. */
static void
test_idle_policies_of_tcp(void **state)
{
	struct conf c;
	char *text, *told = warnings_of("[defaults]\non_worker_stuck = down\n"
	    "on_listener_stuck = down\non_clock_stuck = down\n"
	    "on_maxconns = down\non_no_memory = down\nstats_interval = 1s\n"
	    "thread_scan_interval = 1s\non_slow = down\n"
	    POOL "probe = tcp\n");

	(void)state;
	assert_int_equal(lines(told), 1);	/* of tcp itself */
	free(told);
	spill_text(in_scratch("x.ini"), POOL "probe = tcp\non_slow = down\n");
	assert_int_equal(conf_load(&c, in_scratch("x.ini"), NULL, NULL), 0);
	unlink(in_scratch("x.ini"));
	text = dump(&c);
	conf_free(&c);
	assert_non_null(strstr(text, "on_slow = down\n"));
	assert_null(strstr(text, "_stuck"));
	assert_null(strstr(text, "on_maxconns"));
	assert_null(strstr(text, "on_no_memory"));
	assert_null(strstr(text, "stats_interval"));
	free(text);
}

/* Files for TLS --------------------------------------------------------- */

/* As they are called: a key that begins as its certificate does is its own. */
static bool
look_at_names(const struct conf_pool *p, enum conf_tls what,
    char why[CONF_WHY])
{
	const char *const path[] = { [CONF_TLS] = "", [CONF_TLS_CA] = p->tls_ca,
		[CONF_TLS_CERT] = p->tls_cert, [CONF_TLS_KEY] = p->tls_key };

	assert_true(p->tls);
	if (what == CONF_TLS_SOON) {
		snprintf(why, CONF_WHY, "%s ends; renew it", p->tls_cert);
		return strstr(p->tls_cert, "soon") == NULL;
	}
	snprintf(why, CONF_WHY, "what=%d is bad; name another", (int)what);
	if (what == CONF_TLS_PAIR)
		return p->tls_key[1] == p->tls_cert[1];
	assert_true(what == CONF_TLS || *path[what]);
	return strstr(path[what], "bad") == NULL;
}

static bool
look_in_vain(const struct conf_pool *p, enum conf_tls what, char why[CONF_WHY])
{
	(void)p;
	assert_int_equal(what, CONF_TLS);
	snprintf(why, CONF_WHY, "no TLS here; write tls = no");
	return false;
}

static void
expect_looks(conf_look *look, const char *text, const char *told)
{
	char *errors = NULL;
	struct conf c;
	size_t n;
	FILE *f = open_memstream(&errors, &n);

	assert_non_null(f);
	spill_text("x.ini", text);
	assert_int_equal(conf_load(&c, "x.ini", look, f), lines(told));
	unlink("x.ini");
	fclose(f);
	assert_string_equal(errors, told);
	free(errors);
	if (!*told)
		conf_free(&c);
}

/* Errors name files as they were given: from there. */
static int
scratch_enter(void **state)
{
	*state = getcwd(NULL, 0);
	return *state && chdir(scratch) == 0 ? 0 : -1;
}

static unsigned looks[CONF_TLS_SOON + 1];

static bool
look_and_count(const struct conf_pool *p, enum conf_tls what,
    char why[CONF_WHY])
{
	looks[what]++;
	return look_at_names(p, what, why);
}

/* A daemon with many pools reads what all of them inherit once. */
static void
test_tls_files_once(void **state)
{
	(void)state;
	expect_looks(look_and_count, "[defaults]\ntls = yes\ntls_ca = /ca\n"
	    "tls_cert = /a\ntls_key = /a\n" POOL
	    "[pool b]\nserver = b:1\n[pool c]\nserver = c:1\n"
	    "tls_ca = /other\n[pool d]\nserver = d:1\ntls_key = /a2\n", "");
	assert_int_equal(looks[CONF_TLS], 1);
	assert_int_equal(looks[CONF_TLS_CA], 2);
	assert_int_equal(looks[CONF_TLS_CERT], 1);
	assert_int_equal(looks[CONF_TLS_KEY], 2);
	assert_int_equal(looks[CONF_TLS_PAIR], 2);
	assert_int_equal(looks[CONF_TLS_SOON], 1);
}

/* A certificate that is good, and not for long: no error, and said once. */
static void
test_tls_soon(void **state)
{
	struct conf c;
	char *told = NULL;
	size_t n;
	FILE *f = open_memstream(&told, &n);

	(void)state;
	assert_non_null(f);
	spill_text("x.ini", "[defaults]\ntls_cert = /soon\ntls_key = /soon\n"
	    POOL "tls = yes\n[pool b]\nserver = b:1\ntls = yes\n"
	    "[pool c]\nserver = c:1\n[pool d]\nserver = d:1\ntls = yes\n"
	    "tls_cert = /so-soon\ntls_key = /so-soon\n"
	    "[pool e]\nserver = e:1\ntls = yes\n"
	    "tls_cert = /late\ntls_key = /late\n");
	assert_int_equal(conf_load(&c, "x.ini", look_at_names, f), 0);
	unlink("x.ini");
	fclose(f);
	assert_string_equal(told,
	    "x.ini:2: warning: /soon ends; renew it\n"
	    "x.ini:15: warning: /so-soon ends; renew it\n");
	free(told);
	conf_free(&c);
}

/* A file of passwords or keys, included by mistake: errors, none of which has
 * a word of it. */
static void
test_nothing_of_other_files(void **state)
{
	static const char *const files[] = { "root:$6$SECRET$HASH=:19000:0:::",
		"machine SECRET login SECRET password SECRET", "SECRET",
		"SECRET: SECRET = SECRET", "SECRET/abc+def==",
		"SECRETxSECRETySECRETzSECRET==", "=SECRET", "; = SECRET",
		"password=SECRET", "SECRET SECRET = 1" };

	(void)state;
	for (size_t i = 0; i < COUNT(files); i++) {
		struct outcome o;

		spill_text(in_scratch("x.inc"), files[i]);
		o = load_text(POOL "include = x.inc\n");
		print_message("%s", o.text);
		assert_int_equal(o.errors, *files[i] != ';');
		assert_null(o.errors ? strstr(o.text, "SECRET") : NULL);
		assert_null(o.errors ? strstr(o.text, "$6$") : NULL);
		free(o.text);
	}
	unlink(in_scratch("x.inc"));
	/* Nor is more than a word told where the ini is such a file. */
	for (size_t i = 0; i < COUNT(files) && i != 2; i++) {
		struct outcome o = load_text(files[i]);

		assert_int_equal(o.errors, 1);
		assert_null(strstr(o.text, "SECRET"));
		free(o.text);
	}
}

/* All that is wrong, each where it stands, and once. */
static void
test_tls_files(void **state)
{
	static const struct {
		const char *text, *told;
	} cases[] = {
		{ POOL "tls = yes\ntls_ca = /ca\ntls_cert = /a\n"
		    "tls_key = /a\n", "" },
		{ POOL "tls = yes\n", "" },
		{ POOL "tls = yes\ntls_ca = /bad\ntls_cert = /bad\n"
		    "tls_key = /bad\nfall = 0\n",
		    "x.ini:7: fall = 0 is out of range; write 1 to 64\n"
		    "x.ini:4: what=1 is bad; name another\n"
		    "x.ini:5: what=2 is bad; name another\n"
		    "x.ini:6: what=3 is bad; name another\n" },
		{ "[defaults]\ntls = yes\ntls_ca = /bad\n" POOL
		    "[pool b]\nserver = b:1\n[pool c]\nserver = c:1\n"
		    "tls_ca = /worse-bad\n",
		    "x.ini:3: what=1 is bad; name another\n"
		    "x.ini:10: what=1 is bad; name another\n" },
		{ "[defaults]\ntls_ca = /bad\n" POOL, "" },
		{ POOL "tls = yes\ntls_cert = /a\ntls_key = /b\n",
		    "x.ini:5: pool web: tls_key = /b is not the key of "
		    "tls_cert = /a in x.ini:4; name the one of that "
		    "certificate\n" },
		{ "[defaults]\ntls = yes\ntls_cert = /a\ntls_key = /b\n" POOL
		    "[pool b]\nserver = b:1\n",
		    "x.ini:4: what=4 is bad; name another\n" },
		{ "[defaults]\ntls = yes\ntls_cert = /a\n" POOL
		    "tls_key = /b\n[pool b]\nserver = b:1\ntls_key = /a\n",
		    "x.ini:6: pool web: tls_key = /b is not the key of "
		    "tls_cert = /a in x.ini:3; name the one of that "
		    "certificate\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		expect_looks(look_at_names, cases[i].text, cases[i].told);
	expect_looks(look_in_vain, "[defaults]\ntls = yes\n" POOL
	    "tls_ca = /bad\n[pool b]\nserver = b:1\n",
	    "x.ini:2: no TLS here; write tls = no\n");
	expect_looks(look_in_vain, POOL, "");
}

/* Noise ----------------------------------------------------------------- */

static uint64_t
dice(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed >> 16;
}

/* Change, remove, insert, or copy from elsewhere. */
static size_t
mutate(char *text, size_t n, size_t room, uint64_t *seed)
{
	static const char likely[] = "\n\n==[]; #:/.%\t 0159aes\r\0\xff*";
	const size_t at = dice(seed) % n, m = dice(seed) % 40 % (n - at);
	const char c = likely[dice(seed) % (sizeof likely - 1)];
	size_t from;

	switch (dice(seed) % 4) {
	case 0:
		text[at] = c;
		return n;
	case 1:
		memmove(text + at, text + at + m, n - at - m);
		return n - m;
	case 2:
		if (n + 1 >= room)
			return n;
		memmove(text + at + 1, text + at, n - at);
		text[at] = c;
		return n + 1;
	default:
		from = dice(seed) % (n - m);
		memmove(text + at, text + from, m);
		return n;
	}
}

/* Whatever stands there: an answer, no leak; and what is taken is dumped as
 * something that is taken and means the same. */
static void
test_noise(void **state)
{
	char *whole = example_switched_on(), text[16384];
	unsigned good = 0;

	(void)state;
	for (uint64_t i = 1; i <= 20000; i++) {
		uint64_t seed = i * UINT64_C(0x9e3779b97f4a7c15);
		size_t n = strlen(whole);
		struct outcome o, again;

		assert_true(n < sizeof text);
		memcpy(text, whole, n);
		for (unsigned j = dice(&seed) % 6 + 1; j > 0 && n > 1; j--)
			n = mutate(text, n, sizeof text, &seed);
		o = load_bytes(text, n);
		assert_true(o.errors == 0 || lines(o.text) == o.errors);
		if (o.errors == 0) {
			good++;
			again = load_text(o.text);
			assert_int_equal(again.errors, 0);
			assert_string_equal(again.text, o.text);
			free(again.text);
		}
		free(o.text);
	}
	print_message("%u of 20000 are good\n", good);
	assert_in_range(good, 1000, 19000);
	free(whole);
}

static int
scratch_make(void **state)
{
	(void)state;
	snprintf(scratch, sizeof scratch, "/tmp/test_conf.XXXXXX");
	return mkdtemp(scratch) ? 0 : -1;
}

static int
scratch_remove(void **state)
{
	(void)state;
	return rmdir(scratch);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pairs, pairs_enter,
		    pairs_leave),
		cmocka_unit_test(test_form_of_errors),
		cmocka_unit_test(test_line_ends),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_longest_names),
		cmocka_unit_test(test_what_is_no_file),
		cmocka_unit_test(test_errors_to_nowhere),
		cmocka_unit_test(test_include_beside_the_file),
		cmocka_unit_test(test_largest_pool),
		cmocka_unit_test(test_example_is_all_defaults),
		cmocka_unit_test(test_example_shows_the_defaults),
		cmocka_unit_test(test_example_has_every_key),
		cmocka_unit_test(test_manual_has_every_key),
		cmocka_unit_test(test_manual_rows),
		cmocka_unit_test(test_manual_texts),
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_every_scheme_and_hash),
		cmocka_unit_test(test_every_points_hash),
		cmocka_unit_test(test_second_names),
		cmocka_unit_test(test_chars),
		cmocka_unit_test(test_what_main_gets),
		cmocka_unit_test(test_what_probes_get),
		cmocka_unit_test(test_every_tag),
		cmocka_unit_test(test_many_buckets),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_nothing_of_other_files),
		cmocka_unit_test(test_logins),
		cmocka_unit_test(test_long_logins),
		cmocka_unit_test(test_logins_of_their_own),
		cmocka_unit_test(test_login_that_is_open),
		cmocka_unit_test(test_login_of_tcp),
		cmocka_unit_test(test_idle_policies_of_tcp),
		cmocka_unit_test_setup_teardown(test_tls_files_once,
		    scratch_enter, pairs_leave),
		cmocka_unit_test_setup_teardown(test_tls_soon,
		    scratch_enter, pairs_leave),
		cmocka_unit_test_setup_teardown(test_tls_files, scratch_enter,
		    pairs_leave),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests_name("conf", tests, scratch_make,
	    scratch_remove);
}
