/*
 * test_address.c - what is an address, and what is said of what is none.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "address.h"

#define COUNT(a) (sizeof (a) / sizeof (a)[0])

#define L31 "0123456789abcdefghijklmnopqrstu"
#define L63 L31 "-" L31

static const struct {
	const char *text;
	uint32_t kind;
	const char *host;
	uint32_t port;
} good[] = {
	{ "10.0.0.1:11211", MCSHM_KIND_IPV4, "10.0.0.1", 11211 },
	{ "255.255.255.255:1", MCSHM_KIND_IPV4, "255.255.255.255", 1 },
	{ "0.0.0.0:65535", MCSHM_KIND_IPV4, "0.0.0.0", 65535 },
	{ "[::1]:11211", MCSHM_KIND_IPV6, "::1", 11211 },
	{ "[2001:DB8::7]:1", MCSHM_KIND_IPV6, "2001:DB8::7", 1 },
	{ "[::ffff:10.0.0.1]:1", MCSHM_KIND_IPV6, "::ffff:10.0.0.1", 1 },
	{ "[fe80::1%1]:1", MCSHM_KIND_IPV6, "fe80::1%1", 1 },
	{ "[fe80::1%4294967295]:1", MCSHM_KIND_IPV6, "fe80::1%4294967295", 1 },
	{ "localhost:11211", MCSHM_KIND_NAME, "localhost", 11211 },
	{ "Cache-07.example.net.:1", MCSHM_KIND_NAME, "Cache-07.example.net.",
	    1 },
	{ "my_app_memcached_1:1", MCSHM_KIND_NAME, "my_app_memcached_1", 1 },
	{ "a:1", MCSHM_KIND_NAME, "a", 1 },
	{ "1a:1", MCSHM_KIND_NAME, "1a", 1 },
	{ "10.0.0.0x1g:1", MCSHM_KIND_NAME, "10.0.0.0x1g", 1 },
	{ "10.0.0.1.example:1", MCSHM_KIND_NAME, "10.0.0.1.example", 1 },
	{ L63 "." L63 "." L63 "." L63 ":1", MCSHM_KIND_NAME,
	    L63 "." L63 "." L63 "." L63, 1 },
	{ "unix:/run/memcached.sock", MCSHM_KIND_UNIX, "/run/memcached.sock",
	    0 },
	{ "unix:/a;b=c:d[e]", MCSHM_KIND_UNIX, "/a;b=c:d[e]", 0 },
};

/* A part of what is said. */
static const struct {
	const char *text, *why;
} bad[] = {
	{ "", "no port" },
	{ "10.0.0.1", "no port" },
	{ "cache", "no port" },
	{ ":11211", "no host" },
	{ ":", "no host" },
	{ "cache:", "1..65535" },
	{ "cache:0", "1..65535" },
	{ "cache:65536", "1..65535" },
	{ "cache:4294967297", "1..65535" },
	{ "cache:99999999999999999999999", "1..65535" },
	{ "cache:-1", "1..65535" },
	{ "cache:+1", "1..65535" },
	{ "cache: 1", "1..65535" },
	{ "cache:1 ", "1..65535" },
	{ "cache:011211", "1..65535" },
	{ "cache:0x10", "1..65535" },
	{ "cache:memcache", "1..65535" },
	{ "::1", "brackets" },
	{ "::1:11211", "brackets" },
	{ "fe80::1%2:11211", "brackets" },
	{ "cache:1:2", "brackets" },
	{ "[::1]", "no port" },
	{ "[::1", "no port" },
	{ "[::1]11211", "no port" },
	{ "[::1]:", "1..65535" },
	{ "[::1]:0", "1..65535" },
	{ "[]:1", "no IPv6" },
	{ "[10.0.0.1]:1", "no IPv6" },
	{ "[::1::]:1", "no IPv6" },
	{ "[cache]:1", "no IPv6" },
	{ "[[::1]]:1", "no port" },
	{ "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1",
	    "no IPv6" },
	{ "[fe80::1]:1", "zone" },
	{ "[fe80::1%]:1", "zone" },
	{ "[fe80::1%0]:1", "zone" },
	{ "[fe80::1%eth0]:1", "zone" },
	{ "[fe80::1%4294967296]:1", "zone" },
	{ "[::1%1]:1", "zone" },
	{ "10.1.2:1", "IPv4" },
	{ "300.1.1.1:1", "IPv4" },
	{ "10.0.0.01:1", "IPv4" },
	{ "10.0.0.1.:1", "IPv4" },
	{ "167772161:1", "IPv4" },
	{ "0xa000001:1", "IPv4" },
	{ "10.0.0.0X1:1", "IPv4" },
	{ "10.0.0.0x:1", "IPv4" },
	{ "cache.7:1", "IPv4" },
	{ "cache!:1", "not a name" },
	{ "cache 7:1", "not a name" },
	{ "caf\xc3\xa9:1", "not a name" },
	{ "http//cache:1", "not a name" },
	{ "a..b:1", "not a name" },
	{ ".a:1", "not a name" },
	{ ".:1", "not a name" },
	{ "a..:1", "not a name" },
	{ "-a:1", "not a name" },
	{ "a-:1", "not a name" },
	{ "a.-b:1", "not a name" },
	{ L63 "x:1", "not a name" },
	{ L63 "." L63 "." L63 "." L63 ".:1", "255 bytes" },
	{ "/run/memcached.sock", "unix:/path" },
	{ "unix:", "absolute" },
	{ "unix:run", "absolute" },
	{ "unix:/", "directory" },
	{ "unix:/run/", "directory" },
	{ "unix:/a b", "blanks" },
	{ "unix:/a\tb", "blanks" },
	{ "unix:/a\x7f" "b", "blanks" },
};

static void
test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		char text[ADDRESS_TEXT], with[ADDRESS_TEXT + 8];
		struct address a, again;

		print_message("%.70s\n", good[i].text);
		assert_null(address_parse(&a, good[i].text));
		assert_int_equal(a.kind, good[i].kind);
		assert_string_equal(a.host, good[i].host);
		assert_int_equal(a.port, good[i].port);
		/* And back, but for the mark of unix paths. */
		address_format(text, &a);
		snprintf(with, sizeof with, "%s%s",
		    a.kind == MCSHM_KIND_UNIX ? "unix:" : "", text);
		assert_string_equal(with, good[i].text);
		assert_null(address_parse(&again, with));
		assert_true(address_equal(&a, &again));
	}
}

static void
test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct address a;
		const char *why = address_parse(&a, bad[i].text);

		print_message("%.40s: %s\n", bad[i].text, why ? why : "good");
		assert_non_null(why);
		assert_non_null(strstr(why, bad[i].why));
	}
}

static void
test_unix_path_of_107_bytes(void **state)
{
	char text[ADDRESS_TEXT] = "unix:/";
	struct address a;
	struct mcshm_address where;
	struct sockaddr_storage ss;
	const struct sockaddr_un *un = (const struct sockaddr_un *)&ss;

	(void)state;
	memset(text + 6, 'x', 107);
	assert_non_null(strstr(address_parse(&a, text), "107"));
	text[5 + 107] = '\0';
	assert_null(address_parse(&a, text));
	assert_int_equal(strlen(a.host), 107);
	assert_true(address_literal(&a, &where));
	assert_int_equal(where.kind, MCSHM_KIND_UNIX);
	assert_int_equal(address_sockaddr(&ss, &where, a.host), sizeof *un);
	assert_int_equal(un->sun_family, AF_UNIX);
	assert_string_equal(un->sun_path, a.host);
	/* Paths that address_parse() has not seen. */
	assert_int_equal(address_sockaddr(&ss, &where, ""), 0);
	assert_int_equal(address_sockaddr(&ss, &where, text), 0);
}

/* As the socket functions see it, and back. */
static void
test_socket_addresses(void **state)
{
	static const struct {
		const char *text, *ip;
		int family;
		uint32_t scope;
	} rows[] = {
		{ "10.1.2.3:11211", "10.1.2.3", AF_INET, 0 },
		{ "[2001:db8::7]:11211", "2001:db8::7", AF_INET6, 0 },
		{ "[fe80::1%7]:11211", "fe80::1", AF_INET6, 7 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char ip[INET6_ADDRSTRLEN];
		struct address a;
		struct mcshm_address where, back;
		struct sockaddr_storage ss;
		const struct sockaddr_in *in = (struct sockaddr_in *)&ss;
		const struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&ss;

		assert_null(address_parse(&a, rows[i].text));
		assert_true(address_literal(&a, &where));
		assert_int_equal(where.kind, a.kind);
		assert_int_equal(where.port, 11211);
		assert_int_equal(where.scope, rows[i].scope);
		assert_int_equal(address_sockaddr(&ss, &where, "ignored"),
		    rows[i].family == AF_INET ? sizeof *in : sizeof *in6);
		assert_int_equal(ss.ss_family, rows[i].family);
		inet_ntop(rows[i].family, rows[i].family == AF_INET ?
		    (const void *)&in->sin_addr : &in6->sin6_addr, ip,
		    sizeof ip);
		assert_string_equal(ip, rows[i].ip);
		assert_int_equal(rows[i].family == AF_INET ? in->sin_port :
		    in6->sin6_port, htons(11211));
		assert_true(address_from_sockaddr(&back, (struct sockaddr *)&ss,
		    11211));
		assert_memory_equal(&back, &where, sizeof back);
	}
}

static void
test_what_has_no_socket_address(void **state)
{
	struct address a;
	struct mcshm_address where;
	struct sockaddr_storage ss;

	(void)state;
	assert_null(address_parse(&a, "cache:11211"));
	assert_false(address_literal(&a, &where));
	assert_int_equal(address_sockaddr(&ss, &where, a.host), 0);
	memset(&where, 0, sizeof where);
	assert_int_equal(address_sockaddr(&ss, &where, "/x"), 0);
	ss.ss_family = AF_UNIX;
	assert_false(address_from_sockaddr(&where, (struct sockaddr *)&ss, 1));
}

/* As written: nobody looks names up to find out. */
static void
test_equal(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} rows[] = {
		{ "cache:1", "cache:1", true },
		{ "cache:1", "cache:2", false },
		{ "cache:1", "cachf:1", false },
		{ "cache:1", "Cache:1", false },
		{ "[::1]:1", "[0::1]:1", false },
		{ "unix:/a", "unix:/a", true },
		{ "unix:/a", "unix:/b", false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct address a, b;

		assert_null(address_parse(&a, rows[i].a));
		assert_null(address_parse(&b, rows[i].b));
		assert_int_equal(address_equal(&a, &b), rows[i].equal);
		assert_int_equal(address_equal(&b, &a), rows[i].equal);
	}
}

/* Any text: an answer; and what is good can be written, and is the same. */
static void
test_any_text(void **state)
{
	static const char alphabet[] = "[]:.%-_/x0123456789afunix \x80";
	char text[ADDRESS_TEXT + 8], out[ADDRESS_TEXT], with[ADDRESS_TEXT + 8];
	uint64_t seed = 42;
	unsigned taken = 0;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		size_t n, at = 0;
		struct address a, b;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		n = (seed >> 33) % 14;
		if ((seed >> 50) % 8 == 0)
			at = (size_t)sprintf(text, "unix:/");
		for (size_t j = 0; j < n; j++) {
			seed = seed * 6364136223846793005u +
			    1442695040888963407u;
			text[at++] = alphabet[(seed >> 33) %
			    (sizeof alphabet - 1)];
		}
		strcpy(text + at, (seed >> 60) % 2 ? ":11211" : "");
		if (address_parse(&a, text))
			continue;
		taken++;
		address_format(out, &a);
		snprintf(with, sizeof with, "%s%s",
		    a.kind == MCSHM_KIND_UNIX ? "unix:" : "", out);
		assert_string_equal(with, text);
		assert_null(address_parse(&b, with));
		assert_true(address_equal(&a, &b));
	}
	assert_in_range(taken, 1000, 200000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_unix_path_of_107_bytes),
		cmocka_unit_test(test_socket_addresses),
		cmocka_unit_test(test_what_has_no_socket_address),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_any_text),
	};

	return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
