/*
 * mc-shmdump.c - shows what is in pool files: options, order, exit code.
 *
 * The only place of this program that exits.  It changes nothing, and maps
 * nothing.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dump_show.h"
#include "mcshm_format.h"

#define EXIT_USAGE 64

static const char help[] =
"usage: mc-shmdump [OPTION...] [FILE|POOL...]\n"
"Show what mc-checkerd(8) publishes about memcached servers.\n"
"\n"
"  FILE                 the file of a pool: has a '/' in it\n"
"  POOL                 the name of a pool; none: all pools of the directory\n"
"  -d, --directory DIR  where pools are; else $MCSHM_DIR, else\n"
"                       " MCSHM_DEFAULT_DIR "\n"
"  -a, --all            show healthy servers one by one, too\n"
"  -s, --server NAME    show all about one server\n"
"  -k, --key KEY        show where this key lives and where it goes now; may\n"
"                       be given several times\n"
"  -K, --keys FILE      the same for a file of keys, one a line; -: stdin\n"
"  -C, --clients        show the processes that have the file mapped\n"
"  -V, --verify         check the file, part by part\n"
"  -j, --json           print one JSON document\n"
"  -w, --watch          show it again each second\n"
"      --color WHEN     auto, always or never\n"
"  -h, --help           this text\n"
"      --version        the version\n"
"\n"
"Exit code: 0 nothing to do; 1 a server is in trouble; 2 clients are not\n"
"protected (checker dead, stale or failing open, or no server usable); 3 no\n"
"file, unreadable or damaged; 64 wrong use.  Of several pools the worst.\n";

struct options {
	const char *dir, *server, *color, *keys_file;
	struct dump_keys keys;
	bool keys_asked, all, json, verify, clients, watch, help, version;
};

enum { OPT_COLOR = 256, OPT_VERSION };

/* Wrong use, in one line. */
static int __attribute__((format(printf, 1, 2)))
usage(const char *fmt, ...)
{
	va_list ap;

	fputs("mc-shmdump: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("; mc-shmdump --help lists the options\n", stderr);
	return EXIT_USAGE;
}

static int
trouble(const char *what, const char *why)
{
	fprintf(stderr, "mc-shmdump: %s: %s\n", what, why);
	return DUMP_EXIT_UNREADABLE;
}

/* Options ------------------------------------------------------------------ */

static int
set_text(const char **to, const char *name, const char *value)
{
	if (*to != NULL)
		return usage("%s is given twice", name);
	if (value[0] == 0)
		return usage("%s needs a text that is not empty", name);
	*to = value;
	return 0;
}

static int
set_color(struct options *o, const char *when)
{
	if (strcmp(when, "auto") != 0 && strcmp(when, "always") != 0 &&
	    strcmp(when, "never") != 0)
		return usage("--color is auto, always or never, not '%s'",
		    when);
	o->color = when;
	return 0;
}

static int
add_key(struct options *o, const char *key)
{
	o->keys_asked = true;
	if (key[0] == 0)
		return usage("a key is at least one byte long");
	if (dump_keys_add(&o->keys, key, strlen(key)) < 0)
		return trouble("keys", strerror(ENOMEM));
	return 0;
}

static int
set_keys_file(struct options *o, const char *path)
{
	o->keys_asked = true;
	return set_text(&o->keys_file, "--keys", path);
}

static int
set_flag(struct options *o, int opt)
{
	switch (opt) {
	case 'a':
		o->all = true;
		break;
	case 'C':
		o->clients = true;
		break;
	case 'V':
		o->verify = true;
		break;
	case 'j':
		o->json = true;
		break;
	case 'w':
		o->watch = true;
		break;
	case 'h':
		o->help = true;
		break;
	case OPT_VERSION:
		o->version = true;
		break;
	}
	return 0;
}

/* getopt says no more than optopt: 0 for a long one that it does not know or
 * that is not clear, one of ours for a long one with an argument too much. */
static int
unknown(const char *arg)
{
	if (optopt == 0)
		return usage("there is no option '%s'", arg);
	if (optopt >= 256 || strchr("aCVjwh", optopt) != NULL)
		return usage("'%s' takes no argument", arg);
	return usage("there is no option '-%c'", optopt);
}

static int
set_option(struct options *o, int opt, char **argv)
{
	switch (opt) {
	case 'd':
		return set_text(&o->dir, "--directory", optarg);
	case 's':
		return set_text(&o->server, "--server", optarg);
	case 'k':
		return add_key(o, optarg);
	case 'K':
		return set_keys_file(o, optarg);
	case OPT_COLOR:
		return set_color(o, optarg);
	case ':':
		return usage("%s needs an argument", argv[optind - 1]);
	case '?':
		return unknown(argv[optind - 1]);
	default:
		return set_flag(o, opt);
	}
}

static int
parse(struct options *o, int argc, char **argv)
{
	static const struct option options[] = {
		{ "directory", required_argument, NULL, 'd' },
		{ "all", no_argument, NULL, 'a' },
		{ "server", required_argument, NULL, 's' },
		{ "key", required_argument, NULL, 'k' },
		{ "keys", required_argument, NULL, 'K' },
		{ "clients", no_argument, NULL, 'C' },
		{ "verify", no_argument, NULL, 'V' },
		{ "json", no_argument, NULL, 'j' },
		{ "watch", no_argument, NULL, 'w' },
		{ "color", required_argument, NULL, OPT_COLOR },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ NULL, 0, NULL, 0 }
	};
	int opt, err;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":d:as:k:K:CVjwh", options,
	    NULL)) != -1) {
		err = set_option(o, opt, argv);
		if (err != 0)
			return err;
	}
	if (o->json && o->watch)
		return usage("--json and --watch do not go together");
	return 0;
}

static bool
want_colour(const char *color)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (color != NULL && strcmp(color, "auto") != 0)
		return strcmp(color, "always") == 0;
	return isatty(STDOUT_FILENO) && (no == NULL || no[0] == 0) &&
	    (term == NULL || strcmp(term, "dumb") != 0);
}

static int
read_keys(struct options *o)
{
	const char *path = o->keys_file;
	FILE *f;
	int err;

	if (path == NULL)
		return 0;
	f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	if (f == NULL)
		return trouble(path, strerror(errno));
	err = dump_keys_read(&o->keys, f) < 0 ?
	    trouble(path, strerror(errno)) : 0;
	if (f != stdin)
		fclose(f);
	return err;
}

/* Pools -------------------------------------------------------------------- */

static int
find_operands(struct dump_paths *paths, const char *dir, char **operand)
{
	for (; *operand != NULL; operand++) {
		const char *wrong = dump_find_one(paths, dir, *operand);

		if (wrong != NULL)
			return usage("'%s' %s", *operand, wrong);
	}
	return 0;
}

/* Nothing to show is no success: somebody expects pools here. */
static int
no_pools(const char *dir, int err)
{
	if (err != 0)
		return trouble(dir, strerror(err));
	fprintf(stderr, "mc-shmdump: no pool files in %s: is mc-checkerd "
	    "running, and has its ini a [pool]?  Another directory: "
	    "--directory DIR or $MCSHM_DIR\n", dir);
	return DUMP_EXIT_UNREADABLE;
}

static int
find(struct dump_paths *paths, const struct options *o, char **operand)
{
	const char *dir = o->dir;

	if (dir == NULL)
		dir = secure_getenv("MCSHM_DIR");
	if (dir == NULL || dir[0] == 0)
		dir = MCSHM_DEFAULT_DIR;
	if (*operand != NULL)
		return find_operands(paths, dir, operand);
	if (dump_find_all(paths, dir) < 0)
		return no_pools(dir, errno == ENOENT ? 0 : errno);
	return paths->n == 0 ? no_pools(dir, 0) : 0;
}

/* What remains to be said at the end. */
static int
finish(const struct dump_ask *a, const struct dump_shown *shown, int code)
{
	/* A pool that could not be read may be the one that has it. */
	const bool stranger = a->server != NULL && !shown->server_found &&
	    code < DUMP_EXIT_UNREADABLE;
	int err = 0;

	if (stranger)
		code = EXIT_USAGE;
	if (a->json != NULL) {
		err = dump_json_end(a->json, stdout, code);
	} else if (!stranger) {
		if (shown->legend.wanted)
			putchar('\n');
		dump_picture_legend(stdout, &a->look, &shown->legend,
		    (enum dump_exit)code);
	}
	if (fflush(stdout) != 0 || ferror(stdout))
		return trouble("stdout", strerror(errno));
	if (err != 0)
		return trouble("JSON", strerror(ENOMEM));
	return stranger ?
	    usage("no pool here has a server '%s'", a->server) : code;
}

/* All that was asked for, once. */
static int
show(const struct options *o, const char *host, char **operand)
{
	struct dump_ask a = { .parts = o->verify, .clients = o->clients,
		.server = o->server, .keys = o->keys_asked ? &o->keys : NULL,
		.look = { .host = host, .all = o->all,
		    .colour = want_colour(o->color) } };
	struct dump_paths paths = { 0 };
	struct dump_shown shown = { 0 };
	int code;

	code = find(&paths, o, operand);
	if (code != EXIT_USAGE && o->json)
		a.json = dump_json_begin(host);
	if (code != EXIT_USAGE && o->json && a.json == NULL)
		code = trouble("JSON", strerror(ENOMEM));
	else if (code == 0)
		dump_show(&shown, &a, &paths);
	if (code == 0)
		code = shown.code;
	dump_find_free(&paths);
	return code == EXIT_USAGE ? code : finish(&a, &shown, code);
}

/* Until somebody ends it, or nobody can see it any more. */
static int
watch(const struct options *o, const char *host, char **operand)
{
	const struct timespec second = { .tv_sec = 1 };
	const bool terminal = isatty(STDOUT_FILENO);
	int code;

	for (;;) {
		if (terminal)
			fputs("\033[H\033[J", stdout);
		code = show(o, host, operand);
		if (code == EXIT_USAGE || ferror(stdout))
			return code;
		nanosleep(&second, NULL);
		if (!terminal)
			putchar('\n');
	}
}

static int
print(const char *text)
{
	fputs(text, stdout);
	return fflush(stdout) == 0 ? 0 : trouble("stdout", strerror(errno));
}

int
main(int argc, char **argv)
{
	struct options o = { 0 };
	char host[256] = "";
	int code = parse(&o, argc, argv);

	if (code == 0 && o.help)
		code = print(help);
	else if (code == 0 && o.version)
		code = print("mc-shmdump " VERSION "\n");
	else if (code == 0 && (code = read_keys(&o)) == 0) {
		if (gethostname(host, sizeof host - 1) < 0)
			strcpy(host, "?");
		code = o.watch ? watch(&o, host, argv + optind) :
		    show(&o, host, argv + optind);
	}
	dump_keys_free(&o.keys);
	return code;
}
