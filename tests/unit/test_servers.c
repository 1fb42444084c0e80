/*
 * test_servers.c - lists of servers, and who stays who from one list to the
 * next.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "servers.h"

#define COUNT(a) (sizeof (a) / sizeof (a)[0])
#define NEW UINT32_MAX

static struct server
server(const char *name, const char *address)
{
	struct server s = { .weight = 1 };

	snprintf(s.name, sizeof s.name, "%s", name);
	assert_null(address_parse(&s.address, address));
	return s;
}

static void
add(struct servers *list, const char *name, const char *address)
{
	struct server s = server(name, address);

	assert_int_equal(servers_add(list, &s), 0);
}

/* Letters: a server each, the small ones with a name; 'A' and 'a' live at the
 * same address, '1' has the name of 'a' and another address. */
static struct servers
list_of(const char *letters)
{
	struct servers list = { 0 };
	char name[16], address[32];

	for (; *letters; letters++) {
		const char c = *letters;
		const bool named = c >= 'a';
		const bool moved = c < 'A';

		snprintf(name, sizeof name, "%c",
		    moved ? 'a' + (c - '1') : named ? c : 0);
		snprintf(address, sizeof address, "10.0.%d.1:%d", moved,
		    moved ? 1 : (c | 0x20) - 'a' + 1);
		add(&list, name, address);
	}
	return list;
}

static void
test_add_and_free(void **state)
{
	struct servers list = { 0 };
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "s%u", i);
		add(&list, name, "10.0.0.1:11211");
		assert_int_equal(list.n, i + 1);
	}
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof name, "s%u", i);
		assert_string_equal(list.v[i].name, name);
		assert_int_equal(servers_find_name(&list, name), i);
	}
	servers_free(&list);
	assert_null(list.v);
	assert_int_equal(list.n, 0);
	servers_free(&list);
}

/* A copy of any size is a list of its own, which grows like another. */
static void
test_copy(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 70; n++) {
		struct servers list = { 0 }, copy;

		for (unsigned i = 0; i < n; i++)
			add(&list, "a", "10.0.0.1:11211");
		servers_copy(&copy, &list);
		assert_int_equal(copy.n, n);
		assert_ptr_equal(copy.v, list.v);
		for (unsigned i = 0; i < 70; i++)
			add(&copy, "b", "10.0.0.2:11211");
		for (unsigned i = 0; i < n; i++) {
			assert_string_equal(copy.v[i].name, "a");
			list.v[i].name[0] = 'x';
			assert_string_equal(copy.v[i].name, "a");
		}
		assert_string_equal(copy.v[n + 69].name, "b");
		servers_free(&list);
		servers_free(&copy);
	}
}

static void
test_label(void **state)
{
	static const struct {
		const char *name, *address, *label;
	} rows[] = {
		{ "cache07", "10.0.0.7:11211", "cache07" },
		{ "", "10.0.0.7:11211", "10.0.0.7:11211" },
		{ "", "[::1]:11211", "[::1]:11211" },
		{ "", "unix:/run/m.sock", "/run/m.sock" },
	};
	char label[272];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct server s = server(rows[i].name, rows[i].address);

		server_label(label, &s);
		assert_string_equal(label, rows[i].label);
	}
}

static void
test_same(void **state)
{
	struct server a = server("a", "10.0.0.1:1");
	struct server b = server("a", "10.0.0.1:1");
	struct server moved = server("a", "10.0.0.2:1");
	struct server renamed = server("b", "10.0.0.1:1");

	(void)state;
	/* What the operator tunes does not make it another server. */
	b.weight = 7;
	b.admin = 2;
	assert_true(server_same(&a, &b));
	assert_false(server_same(&a, &moved));
	assert_false(server_same(&a, &renamed));
}

static void
test_find(void **state)
{
	struct servers list = list_of("aBcb");
	struct address where;

	(void)state;
	assert_int_equal(servers_find_name(&list, "a"), 0);
	assert_int_equal(servers_find_name(&list, "c"), 2);
	assert_int_equal(servers_find_name(&list, "d"), 4);
	/* No name is no name to be found by. */
	assert_int_equal(servers_find_name(&list, ""), 4);
	assert_null(address_parse(&where, "10.0.0.1:2"));
	assert_int_equal(servers_find_address(&list, &where), 1);
	assert_null(address_parse(&where, "10.0.0.1:9"));
	assert_int_equal(servers_find_address(&list, &where), 4);
	servers_free(&list);
}

/* The old place of each, one digit a server, '-' where it is new. */
static const struct {
	const char *now, *old, *from;
} changes[] = {
	{ "", "", "" },
	{ "abc", "", "---" },
	{ "", "abc", "" },
	{ "abc", "abc", "012" },
	{ "cab", "abc", "201" },	/* reordered */
	{ "abdc", "abc", "01-2" },	/* added */
	{ "ac", "abc", "02" },		/* removed */
	{ "xbyz", "abc", "-1--" },
	{ "ABC", "ABC", "012" },	/* without names */
	{ "CBA", "ABC", "210" },
	{ "Abc", "abc", "-12" },	/* lost its name */
	{ "aBc", "ABc", "-12" },	/* got one */
	{ "1bc", "abc", "-12" },	/* the same name elsewhere */
	{ "AAB", "ABA", "021" },	/* twice: an old one is given once */
	{ "AAA", "A", "0--" },
	{ "A", "AAA", "0" },
	{ "BAAB", "AB", "10--" },
};

static void
test_match(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(changes); i++) {
		struct servers now = list_of(changes[i].now);
		struct servers old = list_of(changes[i].old);
		uint32_t from[8];
		char got[9] = "";

		assert_int_equal(servers_match(from, &now, &old), 0);
		for (uint32_t j = 0; j < now.n; j++)
			got[j] = from[j] == NEW ? '-' : (char)('0' + from[j]);
		print_message("%s after %s: %s\n", changes[i].now,
		    changes[i].old, got);
		assert_string_equal(got, changes[i].from);
		servers_free(&now);
		servers_free(&old);
	}
}

/* The obvious way: the first equal one that is not taken yet. */
static void
match_slowly(uint32_t *from, const struct servers *now,
    const struct servers *old)
{
	bool taken[64] = { false };

	for (uint32_t i = 0; i < now->n; i++) {
		from[i] = NEW;
		for (uint32_t j = 0; j < old->n && from[i] == NEW; j++)
			if (!taken[j] && server_same(&now->v[i], &old->v[j])) {
				from[i] = j;
				taken[j] = true;
			}
	}
}

static void
test_match_any_lists(void **state)
{
	static const char alphabet[] = "aAbBcCdDeE12";
	uint64_t seed = 1;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		struct servers lists[2];
		uint32_t from[64], slowly[64];

		for (unsigned k = 0; k < 2; k++) {
			char letters[16];
			unsigned n = 0, m;

			seed = seed * 6364136223846793005u + 1;
			m = (seed >> 33) % 15;
			while (n < m) {
				seed = seed * 6364136223846793005u + 1;
				letters[n++] = alphabet[(seed >> 33) %
				    (sizeof alphabet - 1)];
			}
			letters[n] = '\0';
			lists[k] = list_of(letters);
		}
		assert_int_equal(servers_match(from, &lists[0], &lists[1]), 0);
		match_slowly(slowly, &lists[0], &lists[1]);
		assert_memory_equal(from, slowly,
		    lists[0].n * sizeof *from);
		servers_free(&lists[0]);
		servers_free(&lists[1]);
	}
}

/* The largest pool there is: a reload must not stop the probes. */
static void
test_match_many(void **state)
{
	struct servers now = { 0 }, old = { 0 };
	uint32_t *from = malloc(MCSHM_MAX_SERVERS * sizeof *from);
	char name[16];

	(void)state;
	assert_non_null(from);
	for (unsigned i = 0; i < MCSHM_MAX_SERVERS; i++) {
		snprintf(name, sizeof name, "s%u", i);
		add(&old, name, "10.0.0.1:11211");
		snprintf(name, sizeof name, "s%u", MCSHM_MAX_SERVERS - i);
		add(&now, name, "10.0.0.1:11211");
	}
	assert_int_equal(servers_match(from, &now, &old), 0);
	assert_int_equal(from[0], NEW);
	for (unsigned i = 1; i < MCSHM_MAX_SERVERS; i++)
		assert_int_equal(from[i], MCSHM_MAX_SERVERS - i);
	servers_free(&now);
	servers_free(&old);
	free(from);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add_and_free),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_label),
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_match),
		cmocka_unit_test(test_match_any_lists),
		cmocka_unit_test(test_match_many),
	};

	return cmocka_run_group_tests_name("servers", tests, NULL, NULL);
}
