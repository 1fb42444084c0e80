/*
 * test_resolve.c - names beside the loop, by getaddrinfo(3).
 *
 * getaddrinfo() here is the test's own: it says what a name's text asks for,
 * and hangs until it is let go, so that no network is needed and nothing is
 * left to luck.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "resolving.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned inside;	/* threads that hang */
	unsigned let_go;	/* that need not any longer */
	struct addrinfo hints;	/* as last asked */
	const struct ifaddrs *host;	/* what this host has */
} dns = { .lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER };

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

static void
hang(void)
{
	pthread_mutex_lock(&dns.lock);
	dns.inside++;
	pthread_cond_broadcast(&dns.changed);
	while (dns.let_go == 0)
		pthread_cond_wait(&dns.changed, &dns.lock);
	dns.let_go--;
	dns.inside--;
	pthread_cond_broadcast(&dns.changed);
	pthread_mutex_unlock(&dns.lock);
}

static void
let_go(unsigned n)
{
	pthread_mutex_lock(&dns.lock);
	dns.let_go += n;
	pthread_cond_broadcast(&dns.changed);
	pthread_mutex_unlock(&dns.lock);
}

static void
wait_inside(unsigned n)
{
	pthread_mutex_lock(&dns.lock);
	while (dns.inside != n)
		pthread_cond_wait(&dns.changed, &dns.lock);
	pthread_mutex_unlock(&dns.lock);
}

/* One address in front of a list. */
static struct addrinfo *
with(const char *text, struct addrinfo *rest)
{
	struct addrinfo *ai = calloc(1, sizeof *ai);
	struct sockaddr_in6 *v6 = calloc(1, sizeof *v6);
	struct sockaddr_in *v4 = (struct sockaddr_in *)v6;

	assert_true(ai != NULL && v6 != NULL);
	if (strchr(text, ':') != NULL) {
		v6->sin6_family = AF_INET6;
		assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
	} else {
		v4->sin_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &v4->sin_addr), 1);
	}
	ai->ai_family = v6->sin6_family;
	ai->ai_addr = (struct sockaddr *)v6;
	ai->ai_addrlen = sizeof *v6;
	ai->ai_next = rest;
	return ai;
}

/* 10.0.0.100 and so on, forwards or backwards; more than there is room for. */
static struct addrinfo *
many(bool up)
{
	const int n = RESOLVE_ADDRESSES + 8;
	struct addrinfo *list = NULL;
	char one[16];

	for (int i = 0; i < n; i++) {
		snprintf(one, sizeof one, "10.0.0.%d", 100 +
		    (up ? n - 1 - i : i));
		list = with(one, list);
	}
	return list;
}

/* "hang" hangs; "no" is not known; "up" and "down" have many; else addresses
 * between commas. */
int
getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **res)
{
	char copy[256], *rest = copy, *one;

	assert_null(service);
	if (strcmp(node, "hang") == 0)
		hang();
	if (strcmp(node, "no") == 0 || strcmp(node, "hang") == 0)
		return EAI_NONAME;
	pthread_mutex_lock(&dns.lock);
	dns.hints = *hints;
	pthread_mutex_unlock(&dns.lock);
	*res = NULL;
	if (strcmp(node, "up") == 0 || strcmp(node, "down") == 0) {
		*res = many(node[0] == 'u');
		return 0;
	}
	snprintf(copy, sizeof copy, "%s", node);
	while ((one = strsep(&rest, ",")) != NULL)
		if (one[0] != '\0')
			*res = with(one, *res);
	return 0;
}

void
freeaddrinfo(struct addrinfo *ai)
{
	struct addrinfo *next;

	for (; ai != NULL; ai = next) {
		next = ai->ai_next;
		free(ai->ai_addr);
		free(ai);
	}
}

static void
test_one(void **state)
{
	struct resolve *r;
	struct resolve_answer a;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	assert_false(readable(r, 0));
	assert_false(resolve_fetch(r, &a));
	a = ask(r, "10.1.0.7");
	assert_null(a.error);
	assert_int_equal(a.ttl, RESOLVE_NO_TTL);
	assert_int_equal(a.unknown, 0);
	assert_int_equal(a.n, 1);
	assert_address(&a.address[0], "10.1.0.7");
	assert_int_equal(dns.hints.ai_socktype, SOCK_STREAM);
	assert_int_equal(dns.hints.ai_family, AF_UNSPEC);
	/* Nothing is left, and fd says so. */
	assert_false(resolve_fetch(r, &a));
	assert_false(readable(r, 0));
	resolve_close(r);
}

static void
test_errors(void **state)
{
	struct resolve *r;
	struct resolve_answer a;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	a = ask(r, "no");
	assert_string_equal(a.error, gai_strerror(EAI_NONAME));
	assert_int_equal(a.n, 0);
	/* Known, but without an address. */
	a = ask(r, ",");
	assert_string_equal(a.error, gai_strerror(EAI_NONAME));
	assert_int_equal(a.n, 0);
	resolve_close(r);
}

/* A filter's, or somebody's mistake: nobody has it. */
static void
test_no_hosts_address(void **state)
{
	static const char *const none[] = { "0.0.0.0", "::",
		"255.255.255.255", "224.0.0.1", "239.255.255.255", "ff02::1",
		"::ffff:0.0.0.0", "0.0.0.0,::", "::ffff:224.0.0.1" };
	static const char *const others[] = { "0.0.0.1", "1.0.0.0",
		"223.255.255.255", "240.0.0.1", "255.255.255.254", "127.0.0.1",
		"::1", "fe80::1", "fe00::", "::ffff:10.0.0.1" };
	struct resolve *r;
	struct resolve_answer a;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		a = ask(r, none[i]);
		assert_int_equal(a.n, 0);
		assert_non_null(strstr(a.error, "0.0.0.0"));
	}
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		a = ask(r, others[i]);
		assert_null(a.error);
		assert_int_equal(a.unknown, 0);
		assert_address(&a.address[0], others[i]);
	}
	/* Beside others it says nothing; of its family, where it is alone. */
	a = ask(r, "0.0.0.0,10.0.0.1,ff02::1,fe80::1");
	assert_null(a.error);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.unknown, 0);
	a = ask(r, "0.0.0.0,fe80::1");
	assert_int_equal(a.n, 1);
	assert_int_equal(a.unknown, MCSHM_KIND_IPV4);
	a = ask(r, "::,10.0.0.1");
	assert_int_equal(a.unknown, MCSHM_KIND_IPV6);
	resolve_close(r);
}

/* What this host has no use for is not asked for, and so not known. */
static void
test_families(void **state)
{
	struct sockaddr v4 = { .sa_family = AF_INET },
	    v6 = { .sa_family = AF_INET6 };
	struct ifaddrs one = { .ifa_addr = &v4 };
	struct resolve *r;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	dns.host = &one;
	assert_int_equal(ask(r, "10.1.0.7").unknown, MCSHM_KIND_IPV6);
	assert_int_equal(dns.hints.ai_family, AF_INET);
	one.ifa_addr = &v6;
	assert_int_equal(ask(r, "fd00::1").unknown, MCSHM_KIND_IPV4);
	assert_int_equal(dns.hints.ai_family, AF_INET6);
	dns.host = NULL;
	resolve_close(r);
}

/* The same set is the same answer, in whatever order it came. */
static void
test_sorted(void **state)
{
	static const char *const same[] = {
		"10.0.0.1,10.0.0.2,fe80::1", "fe80::1,10.0.0.2,10.0.0.1",
		"10.0.0.2,fe80::1,10.0.0.1,10.0.0.2,10.0.0.1" };
	struct resolve_answer first, a;
	struct resolve *r;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	first = ask(r, same[0]);
	assert_int_equal(first.n, 3);
	assert_address(&first.address[0], "10.0.0.1");
	assert_address(&first.address[1], "10.0.0.2");
	assert_address(&first.address[2], "fe80::1");
	for (size_t i = 1; i < 3; i++) {
		a = ask(r, same[i]);
		assert_int_equal(a.n, first.n);
		assert_memory_equal(a.address, first.address,
		    sizeof a.address);
	}
	resolve_close(r);
}

/* Of more than there is room for, the same ones are taken. */
static void
test_many(void **state)
{
	struct resolve_answer a, b;
	struct resolve *r;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	a = ask(r, "up");
	b = ask(r, "down");
	assert_int_equal(a.n, RESOLVE_ADDRESSES);
	assert_address(&a.address[0], "10.0.0.100");
	assert_address(&a.address[RESOLVE_ADDRESSES - 1], "10.0.0.131");
	assert_memory_equal(a.address, b.address, sizeof a.address);
	resolve_close(r);
}

/* A name server that hangs holds up one thread, and nobody else. */
static void
test_hang(void **state)
{
	struct resolve *r;
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	assert_int_equal(resolve_ask(r, 1000, "hang", 1), 0);
	wait_inside(1);
	for (uint64_t i = 1; i <= 50; i++)
		assert_int_equal(resolve_ask(r, i, "10.0.0.1", 11211), 0);
	for (int i = 0; i < 50; i++)
		sum += answer(r).cookie;
	assert_int_equal(sum, 50 * 51 / 2);
	let_go(1);
	assert_int_equal(answer(r).cookie, 1000);
	resolve_close(r);
}

/* No more threads than allowed; what waits is answered in the end. */
static void
test_bounded(void **state)
{
	struct resolve *r;
	struct resolve_answer a;

	(void)state;
	assert_int_equal(resolve_open(&r, 3), 0);
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(resolve_ask(r, i, "hang", 1), 0);
	assert_int_equal(resolve_ask(r, 99, "10.0.0.1", 11211), 0);
	wait_inside(3);
	assert_false(readable(r, 50));
	let_go(10);
	for (int i = 0; i < 10; i++)
		assert_true(answer(r).cookie != 99 || i >= 8);
	answer(r);
	assert_false(resolve_fetch(r, &a));
	resolve_close(r);
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Closing does not wait for a thread that hangs; when it comes back, it frees
 * what was shared (the eventfd is the visible part). */
static void
test_close_while_hanging(void **state)
{
	const struct timespec ms = { .tv_nsec = 1000000 };
	const uint64_t until = now_ms() + PATIENCE;
	struct resolve *r;
	int fd;

	(void)state;
	assert_int_equal(resolve_open(&r, 2), 0);
	fd = resolve_fd(r);
	for (uint64_t i = 0; i < 4; i++)
		assert_int_equal(resolve_ask(r, i, "hang", 1), 0);
	wait_inside(2);
	resolve_close(r);
	assert_true(fcntl(fd, F_GETFD) >= 0);
	let_go(2);
	while (fcntl(fd, F_GETFD) >= 0) {
		assert_true(now_ms() < until);
		nanosleep(&ms, NULL);
	}
	wait_inside(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_no_hosts_address),
		cmocka_unit_test(test_families),
		cmocka_unit_test(test_sorted),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_hang),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_close_while_hanging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
