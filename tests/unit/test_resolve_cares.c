/*
 * test_resolve_cares.c - names by c-ares, with a name server of the test's own.
 *
 * ares_init_options() here is the test's, and goes on to the real one: channels
 * that it makes ask that server, on a port of loopback that was free.  What it
 * answers stands in the name itself, so that nothing is left to luck.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ares.h>
#include <arpa/inet.h>
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "resolving.h"

#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_AAAA 28

int ares_init_options(ares_channel *channel, struct ares_options *o, int mask);

/* The name server: a thread, a socket, and what it was asked. */
static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fd;
	unsigned port, silenced;
	const struct ifaddrs *host;	/* what this host has */
	char **domains;			/* to search, NULL: none */
	int ndomains, ndots, error;	/* of a new channel */
	bool in_file;			/* /etc/hosts has a name after all */
	char asked[16][256];		/* names, of IPv4 */
	unsigned names;
} dns = { .lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER };

int
ares_init_options(ares_channel *channel, struct ares_options *o, int mask)
{
	int (*real)(ares_channel *, struct ares_options *, int);
	void *symbol = dlsym(RTLD_NEXT, "ares_init_options");
	char server[32];
	int err;

	if (dns.error != 0)
		return dns.error;
	memcpy(&real, &symbol, sizeof real);
	o->domains = dns.domains;
	o->ndomains = dns.ndomains;
	o->ndots = dns.ndots != 0 ? dns.ndots : 1;
	mask |= ARES_OPT_DOMAINS | ARES_OPT_NDOTS;
	err = real(channel, o, mask);
	if (err != ARES_SUCCESS)
		return err;
	snprintf(server, sizeof server, "127.0.0.1:%u", dns.port);
	return ares_set_servers_ports_csv(*channel, server);
}

/* The second look at /etc/hosts. */
int
ares_gethostbyname_file(ares_channel channel, const char *name, int family,
    struct hostent **host)
{
	int (*real)(ares_channel, const char *, int, struct hostent **);
	void *symbol = dlsym(RTLD_NEXT, "ares_gethostbyname_file");

	memcpy(&real, &symbol, sizeof real);
	return real(channel, dns.in_file ? "localhost" : name, family, host);
}

/* It goes by what the test says, not by where it runs. */
int
getifaddrs(struct ifaddrs **list)
{
	memcpy(list, &dns.host, sizeof *list);
	return 0;
}

void
freeifaddrs(struct ifaddrs *list)
{
	(void)list;
}

/* A message under construction. */
struct message {
	size_t len;
	unsigned char b[2048];
};

static void
put(struct message *m, const void *bytes, size_t n)
{
	assert(m->len + n <= sizeof m->b);
	memcpy(m->b + m->len, bytes, n);
	m->len += n;
}

static void
put16(struct message *m, unsigned n)
{
	put(m, (const unsigned char[]){ n >> 8 & 255, n & 255 }, 2);
}

/* Of the name that the question has. */
static void
put_record(struct message *m, unsigned type, unsigned ttl, const void *data,
    unsigned n)
{
	put16(m, 0xc00c);
	put16(m, type);
	put16(m, 1);
	put16(m, ttl >> 16);
	put16(m, ttl);
	put16(m, n);
	put(m, data, n);
}

/*
 * A name is words between dashes: "4" and "6", each followed by the last byte
 * of an address, or 256 for 0.0.0.0 or ::; "ttl" and seconds; "x" and an error code, "x4" and "x6" for one
 * family only; "alias" and a TTL of one; "silent".  The rest of it, after the
 * first dot, does not matter; but of "host.WORDS" these are the words.
 */
struct wish {
	unsigned address[2][64], n[2], code[2], ttl, alias;
	bool silent;
};

static void
wish_read(struct wish *w, char *name)
{
	char *rest = name, *word, *arg;

	*w = (struct wish){ .ttl = 300 };
	while ((word = strsep(&rest, "-")) != NULL) {
		if (strcmp(word, "silent") == 0) {
			w->silent = true;
			continue;
		}
		arg = strsep(&rest, "-");
		if (arg == NULL)
			break;
		if (strcmp(word, "4") == 0)
			w->address[0][w->n[0]++] = (unsigned)atoi(arg);
		else if (strcmp(word, "6") == 0)
			w->address[1][w->n[1]++] = (unsigned)atoi(arg);
		else if (strcmp(word, "ttl") == 0)
			w->ttl = (unsigned)atoi(arg);
		else if (strcmp(word, "alias") == 0)
			w->alias = (unsigned)atoi(arg);
		if (strcmp(word, "x") == 0 || strcmp(word, "x4") == 0)
			w->code[0] = (unsigned)atoi(arg);
		if (strcmp(word, "x") == 0 || strcmp(word, "x6") == 0)
			w->code[1] = (unsigned)atoi(arg);
	}
}

static unsigned
put_answers(struct message *m, const struct wish *w, int family)
{
	const unsigned to = w->alias != 0 ? 1 : 0;
	unsigned char ip[16] = { 0xfd };

	/* An alias for itself: its TTL is all that is wanted. */
	if (to != 0)
		put_record(m, TYPE_CNAME, w->alias,
		    (const unsigned char[]){ 0xc0, 12 }, 2);
	for (unsigned i = 0; i < w->n[family]; i++) {
		ip[0] = family == 0 ? 10 : 0xfd;
		ip[family == 0 ? 3 : 15] =
		    (unsigned char)w->address[family][i];
		if (w->address[family][i] > 255)
			memset(ip, 0, sizeof ip);
		put_record(m, family == 0 ? TYPE_A : TYPE_AAAA, w->ttl, ip,
		    family == 0 ? 4 : 16);
	}
	return to + w->n[family];
}

/* What was asked for, as text. */
static void
name_read(char *name, const unsigned char *q)
{
	for (; *q != 0; q += 1u + *q) {
		memcpy(name, q + 1, *q);
		name += *q;
		*name++ = '.';
	}
	*name = '\0';
}

static void
name_note(const char *name)
{
	pthread_mutex_lock(&dns.lock);
	if (dns.names < 16)
		strcpy(dns.asked[dns.names++], name);
	pthread_mutex_unlock(&dns.lock);
}

/* False: it says nothing. */
static bool
dns_answer(struct message *m, const unsigned char *q, size_t n)
{
	char name[256];
	unsigned type, answers = 0;
	size_t at = 12;
	char *words;
	struct wish w;
	int family;

	name_read(name, q + 12);
	while (q[at] != 0)
		at += 1u + q[at];
	type = q[at + 2];
	assert(at + 5 <= n && (type == TYPE_A || type == TYPE_AAAA));
	family = type == TYPE_A ? 0 : 1;
	if (family == 0)
		name_note(name);
	words = strncmp(name, "host.", 5) == 0 ? name + 5 : name;
	words[strcspn(words, ".")] = '\0';
	wish_read(&w, words);
	m->len = 0;
	put(m, q, 2);
	put16(m, 0x8180 | w.code[family]);
	put16(m, 1);
	put16(m, 0);
	put16(m, 0);
	put16(m, 0);
	put(m, q + 12, at + 5 - 12);
	if (w.code[family] == 0)
		answers = put_answers(m, &w, family);
	m->b[7] = (unsigned char)answers;
	return !w.silent;
}

static void *
dns_run(void *arg)
{
	struct sockaddr_in who;
	unsigned char q[512];
	struct message m;
	socklen_t len;
	ssize_t n;

	(void)arg;
	for (;;) {
		len = sizeof who;
		n = recvfrom(dns.fd, q, sizeof q, 0, (struct sockaddr *)&who,
		    &len);
		if (n < 12)		/* the end of the test */
			return NULL;
		if (dns_answer(&m, q, (size_t)n)) {
			sendto(dns.fd, m.b, m.len, 0, (struct sockaddr *)&who,
			    len);
			continue;
		}
		pthread_mutex_lock(&dns.lock);
		dns.silenced++;
		pthread_cond_broadcast(&dns.changed);
		pthread_mutex_unlock(&dns.lock);
	}
}

/* Since the last time. */
static void
wait_silenced(unsigned n)
{
	pthread_mutex_lock(&dns.lock);
	while (dns.silenced < n)
		pthread_cond_wait(&dns.changed, &dns.lock);
	dns.silenced = 0;
	pthread_mutex_unlock(&dns.lock);
}

static int
dns_start(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof sa;

	(void)state;
	dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (dns.fd < 0 ||
	    bind(dns.fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
	    getsockname(dns.fd, (struct sockaddr *)&sa, &len) != 0)
		return -1;
	dns.port = ntohs(sa.sin_port);
	return pthread_create(&dns.thread, NULL, dns_run, NULL);
}

static int
dns_stop(void **state)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)dns.port),
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	sendto(fd, "", 1, 0, (struct sockaddr *)&sa, sizeof sa);
	close(fd);
	pthread_join(dns.thread, NULL);
	close(dns.fd);
	return 0;
}

static struct resolve *
opened(unsigned at_once)
{
	struct resolve *r;

	assert_int_equal(resolve_open(&r, at_once), 0);
	return r;
}

static void
test_one(void **state)
{
	struct resolve *r = opened(2);
	struct resolve_answer a;

	(void)state;
	assert_false(readable(r, 0));
	assert_false(resolve_fetch(r, &a));
	a = ask(r, "4-7-ttl-33.test");
	assert_null(a.error);
	assert_int_equal(a.unknown, 0);
	assert_int_equal(a.n, 1);
	assert_address(&a.address[0], "10.0.0.7");
	assert_int_equal(a.ttl, 33);
	assert_false(resolve_fetch(r, &a));
	assert_false(readable(r, 0));
	resolve_close(r);
}

/* Of all that led to the addresses. */
static void
test_shortest_ttl(void **state)
{
	struct resolve *r = opened(2);

	(void)state;
	assert_int_equal(ask(r, "4-1-ttl-70-alias-20.test").ttl, 20);
	assert_int_equal(ask(r, "4-1-ttl-20-alias-70.test").ttl, 20);
	assert_int_equal(ask(r, "4-1-ttl-0.test").ttl, 0);
	resolve_close(r);
}

/* What /etc/hosts says has no TTL; and nobody is asked for that. */
static void
test_localhost(void **state)
{
	struct resolve *r = opened(2);
	const struct resolve_answer a = ask(r, "localhost");

	(void)state;
	assert_null(a.error);
	assert_address(&a.address[0], "127.0.0.1");
	assert_int_equal(a.ttl, RESOLVE_NO_TTL);
	resolve_close(r);
}

/* The same set is the same answer, in whatever order it came. */
static void
test_sorted(void **state)
{
	struct resolve *r = opened(2);
	struct resolve_answer a = ask(r, "4-9-4-1-4-9-4-5.test"), b;

	(void)state;
	assert_int_equal(a.n, 3);
	assert_address(&a.address[0], "10.0.0.1");
	assert_address(&a.address[1], "10.0.0.5");
	assert_address(&a.address[2], "10.0.0.9");
	b = ask(r, "4-5-4-9-4-1.test");
	assert_int_equal(a.n, b.n);
	assert_memory_equal(a.address, b.address, sizeof a.address);
	resolve_close(r);
}

static void
test_errors(void **state)
{
	struct resolve *r = opened(2);
	static const char *const none[] = { "x-3.test", "x-2.test", "x-5.test",
		"nothing.test" };
	struct resolve_answer a;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		a = ask(r, none[i]);
		assert_non_null(a.error);
		assert_int_equal(a.n, 0);
	}
	/* And it goes on. */
	assert_null(ask(r, "4-1.test").error);
	resolve_close(r);
}

/* One family that fails is not one without an address. */
static void
test_partial(void **state)
{
	struct resolve *r = opened(2);
	struct resolve_answer a;

	(void)state;
	a = ask(r, "4-1-x6-2.test");
	assert_null(a.error);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.unknown, MCSHM_KIND_IPV6);
	a = ask(r, "6-1-x4-2.test");
	assert_int_equal(a.n, 1);
	assert_int_equal(a.unknown, MCSHM_KIND_IPV4);
	a = ask(r, "4-1-x6-3.test");
	assert_null(a.error);
	assert_int_equal(a.unknown, 0);
	resolve_close(r);
}

/* A channel that searches these. */
static struct resolve *
searching(char **domains, int n, int ndots)
{
	struct resolve *r = opened(2);

	dns.domains = domains;
	dns.ndomains = n;
	dns.ndots = ndots;
	dns.names = 0;
	return r;
}

static void
search_over(struct resolve *r)
{
	resolve_close(r);
	dns.domains = NULL;
	dns.ndomains = dns.ndots = 0;
}

/* Where one machine has the one family, and another one, of another domain, the
 * other: the first one is meant, whatever it has. */
static void
test_search_first(void **state)
{
	static const struct {
		const char *first, *second, *address;
		unsigned unknown;
	} cases[] = {
		{ "4-1.test", "6-2.test", "10.0.0.1", 0 },
		{ "6-1.test", "4-2.test", "fd00::1", 0 },
		{ "none.test", "4-2.test", "10.0.0.2", 0 },
		{ "x-3.test", "6-2.test", "fd00::2", 0 },
		{ "4-1-x6-2.test", "6-2.test", "10.0.0.1", MCSHM_KIND_IPV6 },
		{ "x4-3-x6-2.test", "4-2.test", "10.0.0.2", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char first[32], second[32];
		char *domains[] = { strcpy(first, cases[i].first),
			strcpy(second, cases[i].second) };
		struct resolve *r = searching(domains, 2, 1);
		const struct resolve_answer a = ask(r, "host");

		assert_null(a.error);
		assert_int_equal(a.n, 1);
		assert_address(&a.address[0], cases[i].address);
		assert_int_equal(a.unknown, cases[i].unknown);
		search_over(r);
	}
}

/* Who blocks a name says so; and another domain has another machine. */
static void
test_no_hosts_address(void **state)
{
	static const struct {
		const char *first, *address;
		unsigned unknown;
	} cases[] = {
		{ "4-256.test", NULL, 0 }, { "6-256.test", NULL, 0 },
		{ "4-256-6-256.test", NULL, 0 },
		{ "4-256-x6-2.test", NULL, 0 },
		{ "4-256-4-1.test", "10.0.0.1", 0 },
		{ "4-256-6-1.test", "fd00::1", MCSHM_KIND_IPV4 },
		{ "4-1-6-256.test", "10.0.0.1", MCSHM_KIND_IPV6 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char first[32], second[] = "4-9.test";
		char *domains[] = { strcpy(first, cases[i].first), second };
		struct resolve *r = searching(domains, 2, 1);
		const struct resolve_answer a = ask(r, "host");

		assert_int_equal(a.n, cases[i].address != NULL);
		assert_int_equal(a.unknown, cases[i].unknown);
		if (cases[i].address != NULL)
			assert_address(&a.address[0], cases[i].address);
		else
			assert_non_null(strstr(a.error, "0.0.0.0"));
		search_over(r);
	}
}

/* It may be there, and is not looked for elsewhere: who asks by the libc finds
 * another machine by that name now and then, and nobody is helped by that. */
static void
test_search_fails(void **state)
{
	static const char *const fails[] = { "x-2.test", "x4-2.test",
		"x6-2.test" };

	(void)state;
	for (int i = 0; i < 3; i++) {
		char first[16], second[] = "4-1.test";
		char *domains[] = { strcpy(first, fails[i]), second };
		struct resolve *r = searching(domains, 2, 1);
		const struct resolve_answer a = ask(r, "host");

		assert_non_null(a.error);
		assert_string_not_equal(a.error, ares_strerror(ARES_ENOTFOUND));
		assert_int_equal(a.n, 0);
		search_over(r);
	}
}

/* Which names there are, and in what order. */
static void
test_search_order(void **state)
{
	static const struct {
		const char *host;
		int ndots;
		const char *asked[4];
	} cases[] = {
		{ "host", 1, { "host.x-3.a.", "host.b.", "host." } },
		{ "host.x-3", 1, { "host.x-3.", "host.x-3.x-3.a.",
			"host.x-3.b." } },
		{ "host.x-3", 2, { "host.x-3.x-3.a.", "host.x-3.b.",
			"host.x-3." } },
		{ "host.x-3.", 2, { "host.x-3." } },
	};
	char a[] = "x-3.a", b[] = "b.", root[] = ".";
	struct resolve *r;
	char *domains[] = { a, b };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		r = searching(domains, 2, cases[i].ndots);
		assert_non_null(ask(r, cases[i].host).error);
		for (unsigned n = 0; n < dns.names; n++)
			assert_string_equal(dns.asked[n], cases[i].asked[n]);
		assert_null(cases[i].asked[dns.names]);
		search_over(r);
	}
	domains[0] = root;
	r = searching(domains, 1, 1);
	assert_null(ask(r, "4-1").error);
	assert_string_equal(dns.asked[0], "4-1.");
	search_over(r);
}

/* The thread may not have tried again yet: soon it says this; NULL: no error. */
static void
says(struct resolve *r, const char *error)
{
	const char *said;

	do
		said = ask(r, "4-1.test").error;
	while (error == NULL ? said != NULL :
	    said == NULL || strcmp(said, error) != 0);
}

/* No channel: of what there is none is told; and it may be there later. */
static void
test_no_channel(void **state)
{
	struct rlimit was, none;
	struct resolve *r;

	(void)state;
	dns.error = ARES_ENOMEM;	/* before there can be one */
	r = opened(2);
	says(r, ares_strerror(ARES_ENOMEM));
	dns.error = ARES_EFILE;
	says(r, "/etc/resolv.conf can not be read");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ 3, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	says(r, "no file descriptors left");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	dns.error = 0;
	says(r, NULL);
	resolve_close(r);
}

/* A name that may be in /etc/hosts, for all that is known, is not asked for. */
static void
test_no_hosts(void **state)
{
	struct resolve *r = opened(2);
	struct rlimit was, none;

	(void)state;
	says(r, NULL);
	dns.names = 0;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ 3, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_string_equal(ask(r, "4-1.test").error,
	    "no file descriptors left");
	assert_string_equal(ask(r, "localhost").error,
	    "no file descriptors left");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(dns.names, 0);
	says(r, NULL);
	resolve_close(r);
}

/* The first look failed for a moment, or the name came in between. */
static void
test_hosts_that_change(void **state)
{
	struct resolve *r = opened(2);

	(void)state;
	dns.names = 0;
	dns.in_file = true;
	assert_string_equal(ask(r, "4-1.test").error,
	    "/etc/hosts has changed, or could not be read for a moment");
	assert_int_equal(dns.names, 0);
	dns.in_file = false;
	says(r, NULL);
	resolve_close(r);
}

/* A host without IPv6 has no use for an address that is, and does not ask for
 * one: then it is not known that there is none. */
static void
test_families(void **state)
{
	struct sockaddr v4 = { .sa_family = AF_INET },
	    v6 = { .sa_family = AF_INET6 };
	struct ifaddrs lo = { .ifa_flags = IFF_LOOPBACK, .ifa_addr = &v6 };
	struct ifaddrs one = { .ifa_next = &lo, .ifa_addr = &v4 };
	struct ifaddrs none = { .ifa_next = &one };
	struct resolve *r = opened(2);
	struct resolve_answer a;

	(void)state;
	a = ask(r, "4-1-6-2.test");
	assert_int_equal(a.n, 2);
	assert_address(&a.address[0], "10.0.0.1");
	assert_address(&a.address[1], "fd00::2");
	assert_int_equal(a.unknown, 0);
	dns.host = &none;
	a = ask(r, "4-1-6-2.test");
	assert_int_equal(a.n, 1);
	assert_address(&a.address[0], "10.0.0.1");
	assert_int_equal(a.unknown, MCSHM_KIND_IPV6);
	assert_int_equal(ask(r, "localhost").unknown, MCSHM_KIND_IPV6);
	one.ifa_addr = &v6;
	a = ask(r, "4-1-6-2.test");
	assert_int_equal(a.n, 1);
	assert_address(&a.address[0], "fd00::2");
	assert_int_equal(a.unknown, MCSHM_KIND_IPV4);
	assert_non_null(ask(r, "4-1.test").error);
	dns.host = NULL;
	resolve_close(r);
}

/* A name server that says nothing of one name says all of the others. */
static void
test_silence(void **state)
{
	struct resolve *r = opened(2);
	uint64_t sum = 0;

	(void)state;
	wait_silenced(0);
	assert_int_equal(resolve_ask(r, 1000, "silent.test", 1), 0);
	wait_silenced(1);
	for (uint64_t i = 1; i <= 50; i++)
		assert_int_equal(resolve_ask(r, i, "4-1.test", 11211), 0);
	for (int i = 0; i < 50; i++)
		sum += answer(r).cookie;
	assert_int_equal(sum, 50 * 51 / 2);
	resolve_close(r);	/* and does not wait for it */
}

/* No more than allowed at a time; the others wait. */
static void
test_bounded(void **state)
{
	struct resolve *r = opened(3);
	struct resolve_answer a;

	(void)state;
	wait_silenced(0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(resolve_ask(r, i, "silent.test", 1), 0);
	assert_int_equal(resolve_ask(r, 99, "4-1.test", 11211), 0);
	wait_silenced(3);
	assert_false(readable(r, 50));
	assert_false(resolve_fetch(r, &a));
	resolve_close(r);
}

/* Questions that nobody has begun with, and answers that nobody fetches. */
static void
test_close_early(void **state)
{
	struct resolve *r = opened(1);

	(void)state;
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(resolve_ask(r, i, "4-1.test", 1), 0);
	assert_true(readable(r, PATIENCE));
	resolve_close(r);
	resolve_close(opened(1));
	resolve_close(NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_shortest_ttl),
		cmocka_unit_test(test_localhost),
		cmocka_unit_test(test_sorted),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_partial),
		cmocka_unit_test(test_search_first),
		cmocka_unit_test(test_search_fails),
		cmocka_unit_test(test_no_hosts_address),
		cmocka_unit_test(test_search_order),
		cmocka_unit_test(test_no_channel),
		cmocka_unit_test(test_no_hosts),
		cmocka_unit_test(test_hosts_that_change),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_close_early),
	};

	return cmocka_run_group_tests(tests, dns_start, dns_stop);
}
