/*
 * conf_load.h - an ini while it is read, and how its errors are told.
 *
 * Private to conf*.c:
 *
 *	conf_read.c	files, lines, sections, keys	-> drafts
 *	conf_key.c	the table's values: numbers, choices
 *	conf_text.c	and texts
 *	conf_auth.c	the file with a user and a password
 *	conf_server.c	server lines, and twins among servers
 *	conf_buckets.c	lines of buckets
 *	conf_check.c	defaults, conflicts		-> whole pools
 *	conf_scheme.c	the same, of the keys that choose a server
 *	conf_probe.c	and of those that say how it is probed
 *	conf_say.c	complaints
 *	conf.c		load, free, dump
 */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "conf_key.h"

/* Where something was written; line 0: nowhere. */
struct spot {
	const char *file;
	unsigned line;
	bool bad;		/* and was refused */
};

/* A line of buckets: those of the pool from first on, up to the next line's. */
struct bucket_line {
	struct spot at;
	uint32_t first;
};

/* A section, before defaults and checks. */
struct draft {
	struct conf_pool pool;
	struct spot heading;
	struct spot at[KEYS];
	struct spot *server_at;	/* of pool.servers */
	struct bucket_line *bucket_line;	/* of pool.map */
	uint32_t bucket_lines;
	bool refused;		/* a line of it was: what is missing may have
				 * been there */
	bool exposed;		/* others may read its auth_file */
};

struct source {			/* a file that is being read */
	FILE *f;
	const char *file;
	unsigned line;
	bool included;
	bool comment;		/* begins where the value should be */
	char *text;		/* the line, as getline(3) has it */
	size_t room;
};

struct load {
	FILE *out;
	const char *path;
	conf_look *look;	/* at files for TLS; NULL: nobody does */
	uint32_t looked;	/* 1 << enum conf_tls: what [defaults] name, and
				 * is good */
	uint32_t warned;	/* likewise, of what there were warnings */
	unsigned errors;
	struct source *source;	/* NULL: all is read */
	unsigned section;	/* 0: none yet */
	bool skip;		/* a section that was refused */
	struct draft *now;	/* of section; NULL: of none */
	struct draft checker, defaults;
	struct draft *pool;
	uint32_t pools;
	char **name;		/* of included files; spots point to them */
	size_t names;
	struct conf conf;
};

/* conf_say.c */

/* The line that is being read. */
struct spot conf_here(const struct load *l);
/* One line to the user, of the line that is being read, or of another: "what is
 * wrong; what would be right". */
void conf_complain(struct load *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void conf_complain_at(struct load *l, struct spot at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Not an error, but most likely not what was meant: "warning: ...".  Only where
 * nothing is wrong. */
void conf_warn_at(struct load *l, struct spot at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* No memory: a reason like any other why there is no configuration.  False,
 * as the next one. */
bool conf_complain_memory(struct load *l);
/* Of a value: "KEY = TEXT why". */
bool conf_refuse(struct load *l, const struct key *k, const char *text,
    const char *why);

/* What was meant by text?  The nearest of the words that are offered, NULL if
 * none is near. */
struct hint {
	const char *text, *nearest;
	size_t distance;
};
struct hint conf_hint(const char *text);
void conf_hint_offer(struct hint *h, const char *word);
/* n bytes of text in lower case, as far as there is room; to. */
#define CONF_WORD_BYTES 40
const char *conf_lower(char to[CONF_WORD_BYTES], const char *text, size_t n);

/* conf_read.c */

/* False: the file itself could not be read. */
bool conf_read(struct load *l, const char *path, bool included);
bool conf_include_parse(struct load *l, const struct key *k, const char *text,
    void *field);
#define CONF_BLANKS " \t"
#define CONF_WORD							\
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
/* [A-Za-z0-9][A-Za-z0-9._-]*, of pools and servers. */
bool conf_name_is_good(const char *name, size_t most);
/* A key's field in a section's draft. */
void *conf_field(struct load *l, const struct key *k, struct draft *d);

/* A regular file, for reading; NULL and why not. */
FILE *conf_open(const char *path, const char **why);

/* conf_text.c */

bool conf_path_parse(struct load *l, const struct key *k, const char *text,
    void *field);
void conf_path_write(char text[CONF_FILE_BYTES + 1], const void *field);
/* In the struct; these take none. */
bool conf_some_path_parse(struct load *l, const struct key *k,
    const char *text, void *field);
bool conf_text_parse(struct load *l, const struct key *k, const char *text,
    void *field);
bool conf_word_parse(struct load *l, const struct key *k, const char *text,
    void *field);
bool conf_pattern_parse(struct load *l, const struct key *k, const char *text,
    void *field);
bool conf_host_parse(struct load *l, const struct key *k, const char *text,
    void *field);
void conf_text_write(char text[CONF_FILE_BYTES + 1], const void *field);
bool conf_source_parse(struct load *l, const struct key *k, const char *text,
    void *field);
void conf_source_write(char text[CONF_FILE_BYTES + 1], const void *field);

/* conf_auth.c */

bool conf_auth_parse(struct load *l, const struct key *k, const char *text,
    void *field);

/* conf_server.c */

bool conf_server_parse(struct load *l, const struct key *k, const char *text,
    void *field);
void conf_servers_check(struct load *l, const struct draft *d);
/* Of pools that are right. */
void conf_servers_warn(struct load *l);
void conf_server_dump(const struct server *s, FILE *out);

/* conf_buckets.c */

bool conf_buckets_parse(struct load *l, const struct key *k, const char *text,
    void *field);
void conf_buckets_check(struct load *l, const struct draft *d);
void conf_buckets_dump(const struct conf_pool *p, FILE *out);
/* Of a pool that is right. */
void conf_buckets_warn(struct load *l, const struct draft *d);

/* conf_scheme.c */

/* Whether the hash of a ring's points can be chosen. */
bool conf_points_are_free(uint32_t scheme);
/* Whether a key changes anything there. */
bool conf_scheme_means(const struct scheme_setting *set, enum conf_key_id id);
void conf_scheme_compute(struct draft *d);
void conf_scheme_conflicts(struct load *l, struct draft *d);

/* conf_probe.c */

/* Whether a key changes anything there. */
bool conf_probe_means(const struct conf_pool *p, enum conf_key_id id);
void conf_probe_compute(struct load *l, struct draft *d);
void conf_probe_conflicts(struct load *l, struct draft *d);
/* At the files that a pool names. */
void conf_probe_look(struct load *l, struct draft *d);
/* Of a pool, or [defaults], that is right. */
void conf_probe_warn(struct load *l, struct draft *d);

/* conf_check.c */

/* Written, and understood. */
bool conf_has(const struct draft *d, enum conf_key_id id);
/* Written in [defaults] only. */
bool conf_inherited(const struct load *l, const struct draft *d,
    enum conf_key_id id);
/*
 * Two values do not go together: "timeout = 2s is longer than ...; cure".
 * Said where the pool itself has written one of them; what is wrong within
 * [defaults] is said there once, and not again for each pool.
 */
void conf_conflict(struct load *l, struct draft *d, enum conf_key_id id,
    enum conf_key_id with, const char *why, const char *cure);
void conf_checker_finish(struct load *l);
void conf_defaults_finish(struct load *l);
void conf_pool_finish(struct load *l, struct draft *d);

#endif
