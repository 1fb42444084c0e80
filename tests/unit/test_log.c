/*
 * test_log.c - what a line looks like, and that it is always one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

/* What reaches stderr between begin and end. */
struct capture {
	int before, fd;
	char text[8192];
};

static void
capture_begin(struct capture *c)
{
	c->before = dup(STDERR_FILENO);
	c->fd = memfd_create("stderr", 0);
	assert_true(c->before >= 0 && c->fd >= 0);
	dup2(c->fd, STDERR_FILENO);
}

static const char *
capture_end(struct capture *c)
{
	ssize_t n;

	dup2(c->before, STDERR_FILENO);
	close(c->before);
	n = pread(c->fd, c->text, sizeof c->text - 1, 0);
	close(c->fd);
	assert_true(n >= 0);
	c->text[n] = '\0';
	return c->text;
}

static bool
matches(const char *text, const char *pattern)
{
	regex_t re;
	int no;

	assert_int_equal(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
	no = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return no == 0;
}

static void
test_priorities(void **state)
{
	struct capture c;

	(void)state;
	log_open(LOG_LEVEL_DEBUG, true);
	capture_begin(&c);
	log_err("e=%d", 1);
	log_warning("w");
	log_notice("n");
	log_info("i");
	log_debug("d");
	assert_string_equal(capture_end(&c),
	    "<3>e=1\n<4>w\n<5>n\n<6>i\n<7>d\n");
}

static void
test_time(void **state)
{
	struct capture c;

	(void)state;
	log_open(LOG_LEVEL_INFO, false);
	capture_begin(&c);
	log_warning("state=%s", "DOWN");
	assert_true(matches(capture_end(&c), "^[0-9]{4}-[0-9]{2}-[0-9]{2} "
	    "[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3} warning state=DOWN\n$"));
}

static void
test_levels(void **state)
{
	struct capture c;

	(void)state;
	log_open(LOG_LEVEL_NOTICE, true);
	assert_true(log_wants(LOG_LEVEL_ERR));
	assert_true(log_wants(LOG_LEVEL_NOTICE));
	assert_false(log_wants(LOG_LEVEL_INFO));
	capture_begin(&c);
	log_info("no");
	log_debug("no");
	log_notice("yes");
	assert_string_equal(capture_end(&c), "<5>yes\n");
}

/* What a name server or a server says must not make a line of its own. */
static void
test_one_line(void **state)
{
	struct capture c;

	(void)state;
	log_open(LOG_LEVEL_INFO, true);
	capture_begin(&c);
	log_info("a%sb", "\n<0>forged\r\x1b[2J\x7f\t");
	assert_string_equal(capture_end(&c), "<6>a <0>forged??[2J? b\n");
}

static void
test_long_line(void **state)
{
	struct capture c;
	char *text = malloc(5000);
	const char *got;

	(void)state;
	memset(text, 'x', 4999);
	text[4999] = '\0';
	log_open(LOG_LEVEL_INFO, true);
	capture_begin(&c);
	log_info("%s", text);
	log_info("next");
	got = capture_end(&c);
	assert_int_equal(strlen(got), 2047 + strlen("<6>next\n"));
	assert_true(matches(got, "^<6>x+\\.\\.\\.\n<6>next\n$"));
	free(text);
}

/* A closed stderr must not matter. */
static void
test_no_stderr(void **state)
{
	const int before = dup(STDERR_FILENO);

	(void)state;
	log_open(LOG_LEVEL_INFO, true);
	close(STDERR_FILENO);
	log_err("into the void");
	dup2(before, STDERR_FILENO);
	close(before);
}

static void
test_journal(void **state)
{
	struct capture c;
	struct stat st;
	char stream[64];
	bool same, other, junk, more, none;

	(void)state;
	capture_begin(&c);
	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof stream, "%llu:%llu",
	    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	same = log_stderr_is_journal();
	strcat(stream, "x");
	setenv("JOURNAL_STREAM", stream, 1);
	more = log_stderr_is_journal();
	/* A parent's, inherited by a child whose stderr goes elsewhere. */
	snprintf(stream, sizeof stream, "%llu:%llu",
	    (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	other = log_stderr_is_journal();
	setenv("JOURNAL_STREAM", "yes", 1);
	junk = log_stderr_is_journal();
	unsetenv("JOURNAL_STREAM");
	none = log_stderr_is_journal();
	capture_end(&c);
	assert_true(same);
	assert_false(more);
	assert_false(other);
	assert_false(junk);
	assert_false(none);
}

static void
test_quote(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{ "cache07", "cache07" },
		{ "10.1.0.7:11211", "10.1.0.7:11211" },
		{ "[::1]:11211", "[::1]:11211" },
		{ "a=b", "a=b" },
		{ "C:\\x", "C:\\x" },
		{ "", "\"\"" },
		{ "two words", "\"two words\"" },
		{ "say \"no\"", "\"say \\\"no\\\"\"" },
		{ "back\\slash ed", "\"back\\\\slash ed\"" },
		{ "a\nb\tc", "\"a\\nb\\tc\"" },
		{ "\x01\x7f\xc3", "\"\\001\\177\\303\"" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_string_equal(log_quote(out, sizeof out, cases[i].text),
		    cases[i].want);
}

/* Cut to fit, but never in the middle of an escape, nor without its quote. */
static void
test_quote_cut(void **state)
{
	static const struct {
		unsigned size;
		const char *text, *want;
	} cases[] = {
		{ 4, "abcdef", "abc" },
		{ 8, "a b c d e", "\"a b c\"" },
		{ 8, "a b\n\n", "\"a b\\n\"" },
		{ 7, "a b\n\n", "\"a b\"" },
		{ 3, "\n", "\"\"" },
		{ 2, "\n", "" },
		{ 1, "abc", "" },
	};
	char out[16];

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		memset(out, '#', sizeof out);
		assert_string_equal(log_quote(out, cases[i].size,
		    cases[i].text), cases[i].want);
		assert_int_equal(out[cases[i].size], '#');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_priorities),
		cmocka_unit_test(test_time),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_one_line),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_no_stderr),
		cmocka_unit_test(test_journal),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_quote_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
