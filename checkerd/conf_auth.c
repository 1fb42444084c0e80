/*
 * conf_auth.c - a file with a user and a password for probes.
 *
 * Must not tell anybody what is in it: messages and the dump have its path.
 *
 * The first line is "user:password", as in the file that memcached -Y reads, so
 * that the server's own can be used.  memcached takes all up to the first colon
 * for the user, and of a longer line 255 bytes.  A login is "user password",
 * which it takes for two words: no blank in either, and none is empty (tried
 * with 1.6.18).
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "conf_load.h"

/* The struct's fields, which are one value. */
struct login {
	char file[CONF_TEXT];
	char user[CONF_LOGIN], password[CONF_LOGIN];
};
static_assert(sizeof(struct login) == CONF_AUTH_SIZE &&
    offsetof(struct conf_pool, user) - offsetof(struct conf_pool, auth_file) ==
	offsetof(struct login, user) &&
    offsetof(struct conf_pool, password) -
	offsetof(struct conf_pool, auth_file) ==
	offsetof(struct login, password), "neighbours");

/* NULL, or what is wrong with a line of n bytes. */
static const char *
login_scan(struct login *to, const char *line, size_t n)
{
	const size_t text = strcspn(line, "\r\n");
	const size_t user = strcspn(line, ":");

	if (strlen(line) < n)
		return "has a byte 0x00 in its first line; write plain text";
	if (text >= CONF_LOGIN)
		return "has a longer first line than memcached reads; write "
		       "255 bytes at most";
	if (user >= text)
		return "has no colon in its first line; write USER:PASSWORD "
		       "there";
	if (user == 0 || user + 1 == text)
		return "has no user, or no password, in its first line; write "
		       "USER:PASSWORD there";
	if (memchr(line, ' ', text))
		return "has a blank in its first line, and memcached takes no "
		       "such login; choose another one";
	memcpy(to->user, line, user);
	memcpy(to->password, line + user + 1, text - user - 1);
	return NULL;
}

static const char *
login_read(struct login *to, FILE *f)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n = getline(&line, &room, f);
	const char *why;

	if (n >= 0)
		why = login_scan(to, line, (size_t)n);
	else if (ferror(f))
		why = "cannot be read; name a readable file";
	else
		why = "is empty; write USER:PASSWORD there";
	free(line);
	return why;
}

/* Whether others may read it, which is told when all else is right. */
static bool
is_exposed(FILE *f)
{
	struct stat st;

	return fstat(fileno(f), &st) == 0 && (st.st_mode & 07) != 0;
}

/* What is in to->file; false: there has been a complaint. */
static bool
login_load(struct load *l, const struct key *k, struct login *to)
{
	char words[80];
	const char *why;
	FILE *f = conf_open(to->file, &why);

	if (!f) {
		snprintf(words, sizeof words,
		    "cannot be read: %s; name a readable file", why);
		return conf_refuse(l, k, to->file, words);
	}
	why = login_read(to, f);
	l->now->exposed = is_exposed(f);
	fclose(f);
	return !why || conf_refuse(l, k, to->file, why);
}

bool
conf_auth_parse(struct load *l, const struct key *k, const char *text,
    void *field)
{
	struct login login = { "", "", "" };

	if (!conf_some_path_parse(l, k, text, login.file) ||
	    (*login.file && !login_load(l, k, &login)))
		return false;
	memcpy(field, &login, sizeof login);
	return true;
}
