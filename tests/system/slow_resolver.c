/*
 * slow_resolver.c - getaddrinfo(3) as a test wants it, by LD_PRELOAD.
 *
 * $TEST_NAMES is a file of lines "NAME WHAT"; WHAT is a numeric address, or
 *	hang	no answer for as long as the file says so
 *	fail	EAI_NONAME
 *	again	EAI_AGAIN
 * It is read at every question, so that a test can change its mind.  Names
 * that are not in it go to the real function, which is asked for addresses
 * too.  Must not ask the network about names of the file.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int lookup_fn(const char *host, const char *port,
    const struct addrinfo *hints, struct addrinfo **list);

int getaddrinfo(const char *host, const char *port,
    const struct addrinfo *hints, struct addrinfo **list);

/* What the file says of a name; "" if nothing. */
static void
names_find(char what[256], const char *host)
{
	const char *path = getenv("TEST_NAMES");
	FILE *f = path ? fopen(path, "re") : NULL;
	char name[256];

	*what = '\0';
	while (f && fscanf(f, "%255s %255s", name, what) == 2) {
		if (strcmp(name, host) == 0)
			break;
		*what = '\0';
	}
	if (f)
		fclose(f);
}

int
getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
    struct addrinfo **list)
{
	const struct timespec moment = { .tv_nsec = 20000000 };
	lookup_fn *real;
	char what[256] = "";
	void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");

	memcpy(&real, &symbol, sizeof real);
	if (host)
		names_find(what, host);
	while (strcmp(what, "hang") == 0) {
		nanosleep(&moment, NULL);
		names_find(what, host);
	}
	if (strcmp(what, "fail") == 0)
		return EAI_NONAME;
	if (strcmp(what, "again") == 0)
		return EAI_AGAIN;
	return real(*what ? what : host, port, hints, list);
}
