/*
 * test_dump_picture.c - what a person and a program get to see, to the letter.
 *
 * Time, host and zone are fixed; so are the ids that the file has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "dump_detail.h"
#include "dump_json.h"
#include "dump_line.h"
#include "dump_picture.h"
#include "mkfile.h"

#define NS_S UINT64_C(1000000000)
#define REAL (UINT64_C(1795313201) * NS_S)	/* 2026-11-22 03:06:41 +0100 */
#define BOOT (UINT64_C(50000000) * NS_S)

struct scene {
	char path[64];
	struct mkfile made;
	struct dump_file file;
	struct dump_pool pool;
	struct dump_look look;
	char *text;
};

/* A healthy pool, as of BOOT. */
static void
scene_make(struct scene *s, const struct mkfile_server *v, uint32_t n)
{
	struct mcshm_header *h;

	mkfile_make(&s->made, MCSHM_SCHEME_LIBMEMCACHED_MODULA, v, n);
	h = s->made.h;
	strcpy(h->pool, "web");
	strcpy(h->daemon_version, "0.3.1");
	strcpy(h->config, "/etc/mc-checkerd/mc-checkerd.ini");
	h->config_loaded = REAL - 2 * 86400 * NS_S;
	strcpy(h->report, "/run/mc-checkerd/.report");
	h->pid = 812;
	h->roster_id = UINT64_C(0x7f3a000000000000);
	h->generation = 1842;
	mkfile_beat(&s->made, BOOT - NS_S / 10);
	s->made.flags = MCSHM_SECTION_SWEPT;
	for (uint32_t i = 0; i < n; i++) {
		struct mcshm_entry *e = mkfile_entry(&s->made, i);

		e->history = ~UINT64_C(0);
		e->probes = 64;
		e->since = BOOT - (1000000 + i) * NS_S;
		e->rtt_us = 90 + i;
	}
}

static void
set_probes(struct mcshm_entry *e, const char *probes)
{
	e->probes = e->history = e->proof = e->wrong = 0;
	for (; *probes != 0; probes++, e->probes++) {
		e->history = e->history << 1 | (*probes == '+');
		e->proof = e->proof << 1 | (*probes == 'x' || *probes == 'e');
		e->wrong = e->wrong << 1 | (*probes == 'e');
	}
}

static void
set_trouble(struct scene *s, uint32_t slot, uint32_t verdict, uint32_t reason,
    unsigned ago, const char *probes)
{
	struct mcshm_entry *e = mkfile_entry(&s->made, slot);

	e->verdict = verdict;
	e->reason = e->result = reason;
	e->since = e->silent_since = BOOT - ago * NS_S;
	set_probes(e, probes);
}

/* Through a file, with a checker that holds it, as everywhere. */
static void
scene_read(struct scene *s)
{
	struct dump_time now = { .boot = BOOT, .real = REAL };
	struct dump_trouble t;

	memcpy(now.boot_id, s->made.h->boot_id, sizeof now.boot_id);
	if (s->made.map == NULL)
		mkfile_create(&s->made, s->path);
	assert_int_equal(dump_file_read(&s->file, s->path, &t), 0);
	assert_int_equal(dump_pool_init(&s->pool, &s->file, now), 0);
}

/* The same file, with other things in it. */
static void
scene_change(struct scene *s)
{
	dump_pool_free(&s->pool);
	dump_file_free(&s->file);
	s->pool = (struct dump_pool){ 0 };
	s->file = (struct dump_file){ 0 };
	if (s->made.map != NULL)
		mkfile_publish(&s->made);
	scene_read(s);
}

static uint64_t *
spare(struct scene *s, unsigned word)
{
	return (uint64_t *)(void *)(s->made.p + s->made.h->section_off[0] +
	    s->made.h->spare_off) + word;
}

static const char *
scene_picture(struct scene *s, enum dump_exit code)
{
	struct dump_legend legend = { 0 };
	size_t size;
	FILE *out;

	free(s->text);
	out = open_memstream(&s->text, &size);
	dump_picture(out, &s->pool, &s->look, &legend);
	dump_picture_legend(out, &s->look, &legend, code);
	fclose(out);
	return s->text;
}

static int
scene_open(void **state)
{
	struct scene *s = calloc(1, sizeof *s);

	setenv("TZ", "XXY-1", 1);
	tzset();
	strcpy(s->path, "/tmp/test_dump_picture.XXXXXX");
	close(mkstemp(s->path));
	s->look.host = "app17";
	*state = s;
	return 0;
}

static int
scene_close(void **state)
{
	struct scene *s = *state;

	dump_pool_free(&s->pool);
	dump_file_free(&s->file);
	mkfile_free(&s->made);
	unlink(s->path);
	free(s->text);
	free(s);
	return 0;
}

static void
assert_text(const char *got, const char *want)
{
	if (strcmp(got, want) == 0)
		return;
	fprintf(stderr, "--- got\n%s--- want\n%s", got, want);
	fail();
}

static void
assert_in(const char *text, const char *part)
{
	assert_non_null(text);
	if (strstr(text, part) == NULL)
		fail_msg("no '%s' in\n%s", part, text);
}

static void
assert_width(const char *text)
{
	while (*text != 0) {
		const size_t len = strcspn(text, "\n");

		if (len > DUMP_WIDTH)
			fail_msg("%zu columns: %.*s", len, (int)len, text);
		text += len;
		text += *text == '\n';
	}
}

/* Pictures ---------------------------------------------------------------- */

static void
make_night(struct scene *s)
{
	static char name[60][16], host[60][16];
	struct mkfile_server v[60];
	struct mcshm_entry *e;

	for (unsigned i = 0; i < 60; i++) {
		snprintf(name[i], sizeof name[i], "cache%02u", i + 1);
		snprintf(host[i], sizeof host[i], "10.1.0.%u", i + 1);
		v[i] = (struct mkfile_server){ name[i], host[i],
			MCSHM_KIND_IPV4, 11211, 1 };
	}
	scene_make(s, v, 60);
	set_trouble(s, 30, MCSHM_DOWN, MCSHM_R_REFUSED, 43,
	    "++++++++++++++++++xxxx");
	set_trouble(s, 6, MCSHM_DOWN, MCSHM_R_TIMEOUT, 270,
	    "++++++++tttttttttttt");
	set_trouble(s, 49, MCSHM_HELD, MCSHM_R_CONNECT_TIMEOUT, 2, "+++tt");
	e = mkfile_entry(&s->made, 11);
	e->admin = MCSHM_MAINT;
	e->admin_since = REAL / NS_S - 46800;
	e->admin_until = REAL / NS_S + 17599;
	strcpy(e->admin_who, "ina");
	strcpy(e->admin_why, "CHG-4711 DIMM swap");
	e = mkfile_entry(&s->made, 39);
	e->degraded = 1;
	e->workers_stuck = 1;
	e->threads = 4;
	e->rtt_us = 412;
	set_probes(e, "+++++++++++t++++++++");
	mkfile_entry(&s->made, 21)->since = BOOT - 187200 * NS_S;
}

static void
test_night(void **state)
{
	struct scene *s = *state;

	make_night(s);
	scene_read(s);
	scene_picture(s, dump_pool_exit(&s->pool));
	assert_width(s->text);
	assert_text(s->text,
"web  56 of 60 usable: 2 DOWN, 1 HELD, 1 MAINT, 1 DEGRADED;                     app17  03:06:41 +0100\n"
"     4.9 % of keys rehashed, 1.8 % held\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER   ADDRESS          STATE  SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! cache07  10.1.0.7:11211   DOWN   03:02:11   4m30s  ++++++++tttttttttttt      -   1.7%      0\n"
"      connects, no answer: hung or stopped; holds OLD values if it goes on without a restart\n"
"!! cache31  10.1.0.31:11211  DOWN   03:05:58     43s  ++++++++++++++++xxxx      -   1.7%      0\n"
"      connection refused: not running; will come back empty\n"
"!! cache50  10.1.0.50:11211  HELD   03:06:39      2s  +++tt                     -   1.7%      0\n"
"      no answer to connect: host or network gone, or backlog full; holds OLD values if only the\n"
"      network was cut; silent for 2.0 s; its keys are misses and stored nowhere until it answers or\n"
"      is DOWN\n"
"-- cache12  10.1.0.12:11211  MAINT  Sat 14:06    13h  (not probed)              -   1.7%      0\n"
"      by ina until 08:00: \"CHG-4711 DIMM swap\"\n"
" ~ cache40  10.1.0.40:11211  UP     2026-11-10   11d  +++++++++++t++++++++  412us   1.7%   1.8%\n"
"      DEGRADED: 1 of 4 workers silent\n"
"   55 more UP; rtt 90..149 us; last change 2d4h ago (cache22)                      91.7%  96.5%\n"
"+ ok  t timeout  x refused  e other  more: --server cache07  --key KEY  --all  --clients      exit 1\n");
}

/* Nothing to see: three lines, and one more. */
static void
test_quiet(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 60);
	scene_read(s);
	scene_picture(s, dump_pool_exit(&s->pool));
	assert_text(s->text,
"web  60 of 60 usable                                                           app17  03:06:41 +0100\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"     60 UP; rtt 90..149 us; last change 11d ago (10.9.0.1:11211)\n");
}

static void
test_all(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 3);
	set_trouble(s, 1, MCSHM_UNKNOWN, MCSHM_R_UNRESOLVED, 3, "");
	mkfile_entry(&s->made, 1)->rtt_us = 0;
	set_trouble(s, 2, MCSHM_UP, MCSHM_R_GARBAGE, 4000000, "++++e");
	s->look.all = true;
	scene_read(s);
	scene_picture(s, dump_pool_exit(&s->pool));
	assert_text(s->text,
"web  3 of 3 usable: 1 UNKNOWN, 1 failing                                       app17  03:06:41 +0100\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          STATE    SINCE             PROBES old..new         RTT   HOME    NOW\n"
" ~ 10.9.0.2:11211  UNKNOWN  03:06:38      3s  (no result yet)           -  33.3%  33.3%\n"
"      its name does not resolve; not decided yet: picks use it\n"
" ~ 10.9.0.3:11211  UP       2026-10-06   46d  ++++e                  92us  33.3%  33.3%\n"
"      the last probe failed: answered, but not as a memcached does\n"
"   10.9.0.1:11211  UP       2026-11-10   11d  ++++++++++++++++++++   90us  33.3%  33.3%\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --clients                exit 0\n");
}

static void
test_dead_checker(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 2);
	mkfile_beat(&s->made, BOOT - 12 * NS_S);
	mkfile_seal(&s->made);
	mkfile_write(&s->made, s->path, s->made.h->file_size);
	s->made.map = (void *)1;	/* nobody holds it */
	scene_read(s);
	s->made.map = NULL;
	scene_picture(s, 2);
	assert_text(s->text,
"web  2 of 2 usable                                                             app17  03:06:41 +0100\n"
"!!   checker DEAD (was pid 812, v0.3.1), heartbeat 12.0 s; clients believe it for another 18.0 s;\n"
"     own faults 0; fail-open no; ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"     2 UP; rtt 90..91 us; last change 11d ago (10.9.0.1:11211)\n");
}

static void
test_hung_checker(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 2);
	set_trouble(s, 0, MCSHM_DOWN, MCSHM_R_RESET, 1000, "xxxxx");
	mkfile_beat(&s->made, BOOT - 192 * NS_S);
	s->made.h->local_errors = 5;
	s->made.h->tilts = 1;
	s->made.h->sync_errors = 2;
	s->made.h->sync_worst = 1670000000;
	s->made.flags = MCSHM_SECTION_TILT | MCSHM_SECTION_INHERITED;
	scene_read(s);
	scene_picture(s, 2);
	assert_width(s->text);
	assert_text(s->text,
"web  2 of 2 usable: 1 DOWN; verdicts are not believed                          app17  03:06:41 +0100\n"
"!!   checker HUNG (pid 812, v0.3.1), heartbeat 3m12s;\n"
"     STALE: clients ignore all verdicts and use every READY server; own faults 5, tilts 1,\n"
"     msync errors 2 (longest 1.7 s); fail-open no; TILT: it doubts itself; verdicts inherited;\n"
"     first sweep not done; ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          STATE  SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! 10.9.0.1:11211  DOWN   02:50:01  16m40s  xxxxx                     -  50.0%  50.0%\n"
"      connection reset by the server; restarting or overloaded: may come back empty\n"
"   1 more UP; rtt 91us; last change 11d ago (10.9.0.2:11211)             50.0%  50.0%\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --all  --clients         exit 2\n");
}

/* Most are silent: picks use them, but not the one that is dead. */
static void
test_fail_open(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;

	scene_make(s, NULL, 6);
	for (uint32_t i = 0; i < 3; i++)
		set_trouble(s, i, MCSHM_DOWN, MCSHM_R_TIMEOUT, 20,
		    "+++++tttttt");
	set_trouble(s, 3, MCSHM_HELD, MCSHM_R_TIMEOUT, 2, "+++tt");
	set_trouble(s, 4, MCSHM_DOWN, MCSHM_R_REFUSED, 43, "+++xxxx");
	e = mkfile_entry(&s->made, 2);
	set_trouble(s, 2, MCSHM_DOWN, MCSHM_R_TIMEOUT, 20, "+++++tttttt++");
	e->flaps = 4;
	e->flapped = BOOT - 20 * NS_S;
	e->hold_until = BOOT + 40 * NS_S;
	s->made.flags = MCSHM_SECTION_FAIL_OPEN | MCSHM_SECTION_SWEPT;
	*(uint64_t *)(void *)(s->made.p + s->made.h->section_off[0] +
	    s->made.h->spare_off) = 3;
	scene_read(s);
	scene_picture(s, 2);
	assert_width(s->text);
	assert_text(s->text,
"web  5 of 6 usable: 4 DOWN, 1 HELD; 16.7 % of keys rehashed                    app17  03:06:41 +0100\n"
"!!   checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0;\n"
"     FAIL-OPEN: silent servers are used; many are silent: rehash_after x 4;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          STATE  SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! 10.9.0.1:11211  DOWN   03:06:21     20s  +++++tttttt               -  16.7%  20.1%\n"
"      connects, no answer: hung or stopped; holds OLD values if it goes on without a restart; used\n"
"      all the same: too many are silent\n"
"!! 10.9.0.2:11211  DOWN   03:06:21     20s  +++++tttttt               -  16.7%  20.0%\n"
"      connects, no answer: hung or stopped; holds OLD values if it goes on without a restart; used\n"
"      all the same: too many are silent\n"
"!! 10.9.0.3:11211  DOWN   03:06:21     20s  +++++tttttt++             -  16.7%  20.0%\n"
"      connected, and did not answer; used all the same: too many are silent; answers again (2 in a\n"
"      row); held for flapping: went down 4 times, not used for another 40.0 s\n"
"!! 10.9.0.5:11211  DOWN   03:05:58     43s  +++xxxx                   -  16.7%      0\n"
"      connection refused: not running; will come back empty\n"
"!! 10.9.0.4:11211  HELD   03:06:39      2s  +++tt                     -  16.7%  20.0%\n"
"      connects, no answer: hung or stopped; holds OLD values if it goes on without a restart;\n"
"      silent for 2.0 s; used all the same: too many are silent\n"
"   1 more UP; rtt 95us; last change 11d ago (10.9.0.6:11211)             16.7%  20.0%\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --all  --clients         exit 2\n");
}

/* Ways back from DOWN: one waits, one can not be flushed, one was not away, and
 * one, long flushed, is well. */
static void
test_returns(void **state)
{
	static const uint64_t returned[] = { MCSHM_RETURNED_SAME,
		MCSHM_RETURNED_SAME | MCSHM_RETURNED_REFUSED,
		MCSHM_RETURNED_SAME | MCSHM_RETURNED_OUR_FAULT,
		MCSHM_RETURNED_SAME | MCSHM_RETURNED_FLUSHED };
	struct scene *s = *state;

	scene_make(s, NULL, 4);
	for (uint32_t i = 0; i < 4; i++) {
		struct mcshm_entry *e = mkfile_entry(&s->made, i);

		e->returned = returned[i];
		e->since = BOOT - 20 * NS_S;
		e->outage_since = BOOT - 52 * NS_S;
		if (i < 2)
			set_trouble(s, i, MCSHM_RECOVERING, MCSHM_R_TIMEOUT,
			    20, "+++ttt+++");
	}
	mkfile_entry(&s->made, 2)->degraded = MCSHM_DEGRADED_STALE_RISK;
	scene_read(s);
	scene_picture(s, 1);
	assert_width(s->text);
	assert_non_null(strstr(s->text,
"!! 10.9.0.1:11211  RECOVERING  03:06:21     20s  +++ttt+++              90us  25.0%      0\n"
"      answers again, not trusted yet; has what it had: to be flushed after another 12.0 s\n"));
	assert_non_null(strstr(s->text,
"      answers again, not trusted yet; can not be flushed, waits for a restart\n"));
	assert_non_null(strstr(s->text,
"      DEGRADED: came back with what it had: old values may be among it; another host reached it\n"
"      meanwhile\n"));
}

/* For the same bit of DEGRADED: two that somebody has to look at, two that
 * nobody has. */
static void
test_risks(void **state)
{
	static const struct {
		uint64_t returned;
		enum dump_exit code;
		const char *why;
	} one[] = {
		{ 0, DUMP_EXIT_OK, "among it\n" },
		{ MCSHM_RETURNED_SHARED, DUMP_EXIT_OK,
		    "among it; not flushed, since another\n"
		    "      pool or name has it, too\n" },
		{ MCSHM_RETURNED_REFUSED, DUMP_EXIT_TROUBLE,
		    "among it; it can not be flushed\n" },
		{ MCSHM_RETURNED_OUR_FAULT, DUMP_EXIT_TROUBLE,
		    "among it; another host reached it\n"
		    "      meanwhile\n" },
	};
	struct scene *s = *state;
	struct mcshm_entry *e;

	scene_make(s, NULL, 2);
	e = mkfile_entry(&s->made, 0);
	e->degraded = MCSHM_DEGRADED_STALE_RISK;
	for (size_t i = 0; i < sizeof one / sizeof *one; i++) {
		e->returned = MCSHM_RETURNED_SAME | one[i].returned;
		scene_change(s);
		assert_int_equal(dump_pool_exit(&s->pool), one[i].code);
		assert_in(scene_picture(s, one[i].code), one[i].why);
	}
}

/* It went down again and again, and answers: it is running, then. */
static void
test_flapping(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;

	scene_make(s, NULL, 2);
	set_trouble(s, 0, MCSHM_DOWN, MCSHM_R_REFUSED, 20, "++xxx+++++");
	e = mkfile_entry(&s->made, 0);
	e->flaps = 4;
	e->hold_until = BOOT + 40 * NS_S;
	scene_change(s);
	assert_in(scene_picture(s, 1),
"      refused connections; answers again (5 in a row); held for flapping: went down 4 times, not\n"
"      used for another 40.0 s\n");
	e->verdict = MCSHM_RECOVERING;
	scene_change(s);
	assert_in(scene_picture(s, 1), "answers again, not trusted yet; held "
	    "for flapping: went down 4 times");
}

/* As long as it was away it is waited for; probes come when they come. */
static void
test_flush_is_due(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;

	scene_make(s, NULL, 2);
	set_trouble(s, 0, MCSHM_RECOVERING, MCSHM_R_TIMEOUT, 8, "ttt+++");
	e = mkfile_entry(&s->made, 0);
	e->outage_since = e->since - 7 * NS_S;
	e->returned = MCSHM_RETURNED_SAME;
	scene_change(s);
	assert_in(scene_picture(s, 1), "has what it had: to be flushed by one "
	    "of the next probes");
}

/* Faults of this host ------------------------------------------------------ */

static void
test_unseen(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;

	scene_make(s, NULL, 4);
	*spare(s, MCSHM_SPARE_UNSEEN) = 9 * NS_S;
	e = mkfile_entry(&s->made, 0);
	e->result = e->reason = MCSHM_R_LOCAL;
	e->unseen_since = BOOT - 38 * NS_S;
	e = mkfile_entry(&s->made, 1);
	e->verdict = MCSHM_UNKNOWN;
	e->result = e->reason = MCSHM_R_UNRESOLVED;
	e->unseen_since = BOOT - 90 * NS_S;
	e->probes = 0;
	/* One probe that could not be made is nothing. */
	e = mkfile_entry(&s->made, 2);
	e->result = e->reason = MCSHM_R_LOCAL;
	e->unseen_since = BOOT - 9 * NS_S;
	scene_change(s);
	assert_int_equal(dump_pool_exit(&s->pool), DUMP_EXIT_TROUBLE);
	scene_picture(s, 1);
	assert_width(s->text);
	assert_text(s->text,
"web  4 of 4 usable: 2 UNSEEN                                                   app17  03:06:41 +0100\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          STATE    SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! 10.9.0.1:11211  UP       2026-11-10   11d  ++++++++++++++++++++      -  25.0%  25.0%\n"
"      not looked at for 38.0 s: a fault of this host, see the log\n"
"!! 10.9.0.2:11211  UNKNOWN  2026-11-10   11d  (no result yet)           -  25.0%  25.0%\n"
"      not looked at for 90.0 s: its name does not resolve, see the log\n"
"   2 more UP; rtt 92..93 us; last change 11d ago (10.9.0.3:11211)          50.0%  50.0%\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --all  --clients         exit 1\n");
}

/* Where nothing that picks use is looked at, nobody is protected; but not where
 * it may be otherwise. */
static void
test_sightless(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 3);
	*spare(s, MCSHM_SPARE_UNSEEN) = 9 * NS_S;
	for (uint32_t i = 0; i < 2; i++)
		mkfile_entry(&s->made, i)->unseen_since = BOOT - 38 * NS_S;
	set_trouble(s, 2, MCSHM_DOWN, MCSHM_R_REFUSED, 43, "+++xxxx");
	scene_change(s);
	assert_true(s->pool.sightless);
	assert_int_equal(dump_pool_exit(&s->pool), DUMP_EXIT_UNPROTECTED);
	assert_in(scene_picture(s, 2), "!!   checker alive");
	assert_in(s->text, "BLIND: it can look at none of the servers in use, "
	    "see its log");
	/* The bound is not known: the file of another daemon. */
	*spare(s, MCSHM_SPARE_UNSEEN) = 0;
	scene_change(s);
	assert_int_equal(s->pool.ranks[DUMP_UNSEEN], 0);
	/* A doubt is no fault yet. */
	*spare(s, MCSHM_SPARE_UNSEEN) = 9 * NS_S;
	s->made.flags |= MCSHM_SECTION_TILT;
	scene_change(s);
	assert_int_equal(s->pool.ranks[DUMP_UNSEEN], 0);
	/* A time that is still to come. */
	s->made.flags = MCSHM_SECTION_SWEPT;
	for (uint32_t i = 0; i < 2; i++)
		mkfile_entry(&s->made, i)->unseen_since = BOOT + NS_S;
	scene_change(s);
	assert_int_equal(s->pool.ranks[DUMP_UNSEEN], 0);
	/* Nobody looks at what the operator took out. */
	for (uint32_t i = 0; i < 2; i++) {
		mkfile_entry(&s->made, i)->unseen_since = 1;
		mkfile_entry(&s->made, i)->admin = MCSHM_MAINT;
	}
	scene_change(s);
	assert_int_equal(s->pool.ranks[DUMP_UNSEEN], 0);
}

static void
test_vain(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 2);
	*spare(s, MCSHM_SPARE_VAIN) = BOOT - 40 * NS_S;
	scene_change(s);
	assert_int_equal(dump_pool_exit(&s->pool), DUMP_EXIT_UNPROTECTED);
	scene_picture(s, 2);
	assert_width(s->text);
	assert_in(s->text,
"!!   a newer configuration waits for 40.0 s, as its file can not be made:\n"
"     clients still have the old servers; see the log\n");
}

static void
test_all_down(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 2);
	set_trouble(s, 0, MCSHM_DOWN, MCSHM_R_NO_SOCKET, 100000, "xx");
	set_trouble(s, 1, MCSHM_DOWN, MCSHM_R_TIMEOUT, 7500, "ttt++");
	mkfile_entry(&s->made, 1)->result = 0;
	scene_read(s);
	scene_picture(s, dump_pool_exit(&s->pool));
	assert_text(s->text,
"web  0 of 2 usable: 2 DOWN; every key is a miss                                app17  03:06:41 +0100\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          STATE  SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! 10.9.0.1:11211  DOWN   Fri 23:20   1d3h  xx                        -  50.0%      0\n"
"      its unix socket does not exist; will come back empty\n"
"!! 10.9.0.2:11211  DOWN   01:01:41   2h05m  ttt++                     -  50.0%      0\n"
"      connected, and did not answer; answers again (2 in a row): waits for rise and min_down_time\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --all  --clients         exit 2\n");
}

/* Columns follow their content, up to 100; what was cut stands below. */
static void
make_long_names(struct scene *s)
{
	static const struct mkfile_server v[] = {
		{ "cache-eu-west-1a-production-pages-0007",
		    "2001:db8::1234:5678", MCSHM_KIND_IPV6, 11211, 1 },
		{ "c2", "memcached-08.pages.production.example.net",
		    MCSHM_KIND_NAME, 11211, 1 },
		{ "", "/run/memcached/a-very-long-directory-name/pages.sock",
		    MCSHM_KIND_UNIX, 0, 1 },
	};

	scene_make(s, v, 3);
	for (uint32_t i = 0; i < 3; i++)
		set_trouble(s, i, MCSHM_DOWN, MCSHM_R_REFUSED, 10, "++xxx");
	strcpy(s->made.h->pool, "a-pool-with-the-longest-name-that-it-can");
	s->look.host = "a-host-with-a-name-that-has-no-end.example.net";
}

static void
test_long_names(void **state)
{
	struct scene *s = *state;

	make_long_names(s);
	scene_read(s);
	scene_picture(s, 2);
	assert_width(s->text);
	assert_text(s->text,
"a-pool-with-the-longest-name-that-it-can  0 of 3 usable:    a-host-with-a-name-that-  03:06:41 +0100\n"
"     3 DOWN; every key is a miss\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER                         STATE  SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! cache-eu-west..ion-pages-0007  DOWN   03:06:31     10s  ++xxx                     -  33.3%      0\n"
"      cache-eu-west-1a-production-pages-0007; [2001:db8::1234:5678]:11211; connection refused: not\n"
"      running; will come back empty\n"
"!! c2                             DOWN   03:06:31     10s  ++xxx                     -  33.3%      0\n"
"      memcached-08.pages.production.example.net:11211; connection refused: not running; will come\n"
"      back empty\n"
"!! /run/memcache..ame/pages.sock  DOWN   03:06:31     10s  ++xxx                     -  33.3%      0\n"
"      /run/memcached/a-very-long-directory-name/pages.sock; connection refused: not running; will\n"
"      come back empty\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --all  --clients         exit 2\n");
}

static void
test_long_names_all(void **state)
{
	struct scene *s = *state;

	make_long_names(s);
	s->look.all = true;
	scene_read(s);
	scene_picture(s, 2);
	assert_width(s->text);
	assert_text(s->text,
"a-pool-with-the-longest-name-that-it-can  0 of 3 usable:    a-host-with-a-name-that-  03:06:41 +0100\n"
"     3 DOWN; every key is a miss\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     libmemcached-modula hash=one_at_a_time dead=rehash; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          ADDRESS        STATE  SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! cache-..s-0007  [2001..:11211  DOWN   03:06:31     10s  ++xxx                     -  33.3%      0\n"
"      cache-eu-west-1a-production-pages-0007; [2001:db8::1234:5678]:11211; connection refused: not\n"
"      running; will come back empty\n"
"!! c2              memca..:11211  DOWN   03:06:31     10s  ++xxx                     -  33.3%      0\n"
"      memcached-08.pages.production.example.net:11211; connection refused: not running; will come\n"
"      back empty\n"
"!! /run/m..s.sock                 DOWN   03:06:31     10s  ++xxx                     -  33.3%      0\n"
"      /run/memcached/a-very-long-directory-name/pages.sock; connection refused: not running; will\n"
"      come back empty\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --clients                exit 2\n");
}

/* Of a later version: numbers where there is no name yet. */
static void
test_unknown_numbers(void **state)
{
	struct scene *s = *state;

	scene_make(s, NULL, 4);
	s->made.h->scheme = 99;
	s->made.h->hash = 98;
	s->made.h->dead = 97;
	mkfile_entry(&s->made, 0)->verdict = 96;
	mkfile_entry(&s->made, 1)->admin = 95;
	set_trouble(s, 2, MCSHM_DOWN, 94, 10, "t");
	mkfile_entry(&s->made, 3)->verdict = MCSHM_RECOVERING;
	scene_read(s);
	scene_picture(s, 1);
	assert_text(s->text,
"web  0 of 4 usable: 1 DOWN, 1 RECOVERING, 1 not usable, 1 taken out;           app17  03:06:41 +0100\n"
"     every key is a miss\n"
"     checker alive (pid 812, v0.3.1), heartbeat 0.1 s; own faults 0; fail-open no;\n"
"     ini /etc/mc-checkerd/mc-checkerd.ini read 2d ago\n"
"     a scheme newer than this mc-shmdump hash=? dead=?; roster 7f3a, generation 1842, section 0\n"
"\n"
"   SERVER          STATE       SINCE             PROBES old..new         RTT   HOME    NOW\n"
"!! 10.9.0.3:11211  DOWN        03:06:31     10s  t                         -      -      -\n"
"      failed in a way that is newer than this mc-shmdump\n"
"!! 10.9.0.4:11211  RECOVERING  2026-11-10   11d  ++++++++++++++++++++   93us      -      -\n"
"      answers again, not trusted yet\n"
"!! 10.9.0.1:11211  96          2026-11-10   11d  ++++++++++++++++++++      -      -      -\n"
"      not usable, for a reason that is newer than this mc-shmdump\n"
"-- 10.9.0.2:11211  95          -                 ++++++++++++++++++++      -      -      -\n"
"      by the operator\n"
"+ ok  t timeout  x refused  e other  more: --server NAME  --key KEY  --all  --clients         exit 1\n");
}

/* Bytes that would talk to the terminal. */
static void
test_hostile_texts(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;

	scene_make(s, NULL, 1);
	e = mkfile_entry(&s->made, 0);
	e->admin = MCSHM_MAINT;
	memset(e->admin_why, 0x9b, sizeof e->admin_why);
	memset(e->admin_who, 'w', sizeof e->admin_who);
	e->admin_until = UINT64_MAX;
	e->admin_since = UINT64_MAX;
	memset(s->made.h->pool, '\033', sizeof s->made.h->pool);
	memset(s->made.h->config, '\n', sizeof s->made.h->config);
	memset(s->made.h->daemon_version, 7, 32);
	s->made.h->config_loaded = UINT64_MAX;
	scene_read(s);
	scene_picture(s, 1);
	for (const char *c = s->text; *c != 0; c++)
		assert_true(*c == '\n' || (*c >= ' ' && *c < 0x7f));
}

static void
test_colour(void **state)
{
	struct scene *s = *state;
	char *plain, *c, *to;

	make_night(s);
	scene_read(s);
	plain = strdup(scene_picture(s, 1));
	assert_null(strchr(plain, '\033'));
	s->look.colour = true;
	scene_picture(s, 1);
	assert_in(s->text, "\033[31;1m!! cache07");
	/* Without its colours it is the same. */
	for (c = to = s->text; (*to = *c) != 0; c++)
		if (*c == '\033')
			c += strcspn(c, "m");
		else
			to++;
	assert_text(s->text, plain);
	free(plain);
}

/* One server -------------------------------------------------------------- */

static void
test_detail(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;
	size_t size;
	FILE *out;

	make_night(s);
	e = mkfile_entry(&s->made, 6);
	e->failures = 12;
	e->transitions = 3;
	e->seen = 0xfff;
	e->rtt_us = 412;
	e->rtt_avg_us = 400;
	e->rtt_max_us = 1234;
	e->checked = BOOT - NS_S / 2;
	e->began = BOOT - NS_S;
	e->good_began = BOOT - 271 * NS_S;
	e->down_since = e->since;
	e->share = 255;
	strcpy(e->server_version, "1.6.18");
	scene_read(s);
	out = open_memstream(&s->text, &size);
	dump_detail(out, &s->pool, &s->pool.server[6]);
	fclose(out);
	assert_width(s->text);
	assert_text(s->text,
"cache07  slot 6 of 60 in pool web\n"
"  address       10.1.0.7:11211\n"
"  resolved      10.1.0.7:11211\n"
"  identity      10.1.0.7:11211, weight 1\n"
"  keys          home of 1.7%, now 0\n"
"  verdict       DOWN since 2026-11-22 03:02:11 +0100 (4m30s ago); picks do not use it\n"
"  admin         READY\n"
"  reason        timeout; last result: timeout\n"
"                connects, no answer: hung or stopped; holds OLD values if it goes on without a\n"
"                restart\n"
"  probes        ++++++++tttttttttttt\n"
"                oldest first: + ok, t timeout, x refused or reset, e other;\n"
"                12 count since the verdict changed\n"
"  counts        20 probes, 12 failures, 0 local errors, 3 changes of verdict\n"
"  rtt           412us, average 400us, worst 1.2ms\n"
"  last probe    2026-11-22 03:06:40 +0100 (0.5 s ago)\n"
"    began       2026-11-22 03:06:40 +0100 (1.0 s ago)\n"
"    good one    2026-11-22 03:02:10 +0100 (4m31s ago)\n"
"  silent since  2026-11-22 03:02:11 +0100 (4m30s ago)\n"
"  went DOWN     2026-11-22 03:02:11 +0100 (4m30s ago)\n"
"  came back     never\n"
"  memcached     1.6.18\n");
}

/* Whose statistics are empty says nothing of itself. */
static void
test_detail_of_the_mute(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;
	size_t size;
	FILE *out;

	scene_make(s, NULL, 2);
	e = mkfile_entry(&s->made, 0);
	e->identified = BOOT - NS_S;
	strcpy(e->server_version, "1.6.18");
	e->unseen_since = BOOT - 38 * NS_S;
	scene_change(s);
	out = open_memstream(&s->text, &size);
	dump_detail(out, &s->pool, &s->pool.server[0]);
	fclose(out);
	assert_in(s->text, "  memcached     1.6.18\n");
	assert_in(s->text,
	    "  unseen since  2026-11-22 03:06:03 +0100 (38.0 s ago)\n");
	e->curr_items = 2;
	scene_change(s);
	free(s->text);
	out = open_memstream(&s->text, &size);
	dump_detail(out, &s->pool, &s->pool.server[0]);
	fclose(out);
	assert_in(s->text, "  memcached     1.6.18, items 2, flushes 0\n");
}

static void
test_detail_of_a_return(void **state)
{
	struct scene *s = *state;
	struct mcshm_entry *e;
	size_t size;
	FILE *out;

	make_night(s);
	e = mkfile_entry(&s->made, 6);
	e->down_since = BOOT - 260 * NS_S;
	e->outage_since = BOOT - 270 * NS_S;
	e->back_since = BOOT - 40 * NS_S;
	e->flushed = BOOT - 41 * NS_S;
	e->returned = MCSHM_RETURNED_SAME | MCSHM_RETURNED_FLUSHED |
	    UINT64_C(1) << 40;
	scene_read(s);
	out = open_memstream(&s->text, &size);
	dump_detail(out, &s->pool, &s->pool.server[6]);
	fclose(out);
	assert_width(s->text);
	assert_non_null(strstr(s->text,
"  outage since  2026-11-22 03:02:11 +0100 (4m30s ago)\n"
"  went DOWN     2026-11-22 03:02:21 +0100 (4m20s ago)\n"
"  came back     2026-11-22 03:06:01 +0100 (40.0 s ago)\n"
"  returned      same: what it had, it still has\n"
"                flushed: by the daemon, or by somebody since\n"
"                40\n"
"  flushed by us 2026-11-22 03:06:00 +0100 (41.0 s ago)\n"));
}

/* JSON -------------------------------------------------------------------- */

static json_t *
scene_json(struct scene *s, const struct dump_keys *keys)
{
	const struct dump_parts parts = dump_check_parts(&s->file);
	const struct dump_trouble t = { .damaged = true,
		.text = "damaged: table: checksum is wrong" };
	struct dump_json *j = dump_json_begin("app17");
	json_t *root;
	size_t size;
	FILE *out;

	free(s->text);
	out = open_memstream(&s->text, &size);
	assert_non_null(j);
	dump_json_pool(j, &s->pool, NULL, keys, &parts, NULL);
	dump_json_trouble(j, "/run/mc-checkerd/b\xff\\d.mcshm", &t, NULL, NULL);
	assert_int_equal(dump_json_end(j, out, 3), 0);
	fclose(out);
	root = json_loads(s->text, 0, NULL);
	assert_non_null(root);
	return root;
}

static const char *
text_at(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (text == NULL)
		fail_msg("%s is no text", key);
	return text;
}

static void
check_json_pool(json_t *pool)
{
	json_t *checker = json_object_get(pool, "daemon");
	json_t *list = json_object_get(pool, "servers");
	json_t *one = json_array_get(list, 6);
	json_int_t pid, age, slot, weight, since, probes, failures, section;
	const char *state, *verdict, *admin, *reason;
	int alive, stale, usable, held;
	double home, at_present;

	assert_string_equal(text_at(pool, "pool"), "web");
	assert_string_equal(text_at(pool, "generation"), "1842");
	assert_string_equal(text_at(pool, "roster"), "7f3a000000000000");
	assert_string_equal(text_at(pool, "scheme"), "libmemcached-modula");
	assert_string_equal(text_at(pool, "points_hash"), "one_at_a_time");
	assert_string_equal(text_at(pool, "hash_chars"), "signed");
	assert_true(json_is_null(json_object_get(pool, "hash_tag")));
	assert_int_equal(json_integer_value(json_object_get(pool, "buckets")),
	    60);
	assert_int_equal(json_unpack(pool, "{s:I}", "active_section",
	    &section), 0);
	assert_int_equal(section, 0);
	assert_int_equal(json_unpack(checker, "{s:I,s:b,s:I,s:b}", "pid", &pid,
	    "alive", &alive, "heartbeat_age_ms", &age, "stale", &stale), 0);
	assert_true(pid == 812 && alive && age == 100 && !stale);
	assert_string_equal(text_at(checker, "version"), "0.3.1");
	assert_int_equal(json_array_size(list), 60);
	assert_int_equal(json_unpack(one, "{s:I,s:I,s:s,s:s,s:s,s:b,s:b,s:s,"
	    "s:I,s:n,s:I,s:I,s:F,s:F}", "slot", &slot, "weight", &weight,
	    "state", &state, "verdict", &verdict, "admin", &admin, "usable",
	    &usable, "held", &held, "reason", &reason, "since_ms", &since,
	    "rtt_us", "probes", &probes, "failures", &failures, "share_home",
	    &home, "share_now", &at_present), 0);
	assert_true(slot == 6 && weight == 1 && !usable && !held);
	assert_true(since == 270000 && probes == 20 && failures == 0);
	assert_string_equal(state, "DOWN");
	assert_string_equal(verdict, "DOWN");
	assert_string_equal(admin, "READY");
	assert_string_equal(reason, "timeout");
	assert_string_equal(text_at(one, "name"), "cache07");
	assert_string_equal(text_at(one, "address"), "10.1.0.7:11211");
	assert_string_equal(text_at(one, "history"), "++++++++tttttttttttt");
	assert_true(home > 0.0166 && home < 0.0167 && at_present == 0);
	one = json_array_get(list, 11);
	assert_string_equal(text_at(one, "state"), "MAINT");
	assert_string_equal(text_at(one, "verdict"), "UP");
	assert_true(json_is_null(json_object_get(one, "reason")));
}

/* Keys whose home is a given server, by trying. */
static void
add_key_of(struct dump_keys *k, const struct dump_pool *p, uint32_t home)
{
	struct scheme_key one;
	char key[16];
	int len = 0;

	for (uint64_t i = 0; ; i++) {
		len = snprintf(key, sizeof key, "k%u", (unsigned)i);
		one = scheme_key(&p->place.set, key, (size_t)len);
		if (scheme_home(&p->place, &one) == home)
			break;
	}
	assert_int_equal(dump_keys_add(k, key, (size_t)len), 0);
}

static void
check_json_keys(json_t *keys)
{
	json_t *key = json_array_get(keys, 0), *tries;

	assert_string_equal(text_at(key, "home"), "cache01");
	assert_string_equal(text_at(key, "now"), "cache01");
	assert_int_equal(json_array_size(json_object_get(key, "tries")), 1);
	assert_true(json_is_null(json_object_get(key, "error")));
	key = json_array_get(keys, 1);
	tries = json_object_get(key, "tries");
	assert_int_equal(strlen(text_at(key, "hash")), 8);
	assert_string_equal(text_at(key, "home"), "cache07");
	assert_string_equal(json_string_value(json_array_get(tries, 0)),
	    "cache07");
	assert_string_equal(json_string_value(json_array_get(tries,
	    json_array_size(tries) - 1)), text_at(key, "now"));
	assert_string_not_equal(text_at(key, "now"), "cache07");
	assert_int_equal(json_integer_value(json_object_get(key, "rehashes")),
	    json_array_size(tries) - 1);
	key = json_array_get(keys, 2);
	assert_string_equal(text_at(key, "home"), "cache50");
	assert_true(json_is_null(json_object_get(key, "now")));
	assert_true(json_is_true(json_object_get(key, "held")));
	assert_string_equal(text_at(json_array_get(keys, 3), "key"),
	    "a\\\\b\\xff");
	assert_string_equal(text_at(json_array_get(keys, 4), "key"),
	    "gr\xc3\xbc\xc3\x9f\\e");
}

/* A checker that wants no reports, or has no socket for them. */
static void
test_takes_no_reports(void **state)
{
	struct scene *s = *state;
	json_t *root, *pool;

	make_night(s);
	scene_read(s);
	scene_picture(s, dump_pool_exit(&s->pool));
	assert_null(strstr(s->text, "reports"));
	root = scene_json(s, NULL);
	pool = json_array_get(json_object_get(root, "pools"), 0);
	assert_string_equal(text_at(json_object_get(pool, "daemon"),
	    "report"), "/run/mc-checkerd/.report");
	json_decref(root);
	dump_pool_free(&s->pool);
	dump_file_free(&s->file);
	memset(s->made.h->report, 0, sizeof s->made.h->report);
	mkfile_write(&s->made, s->path, s->made.h->file_size);
	scene_read(s);
	scene_picture(s, dump_pool_exit(&s->pool));
	assert_in(s->text, "; takes no reports;");
	root = scene_json(s, NULL);
	pool = json_array_get(json_object_get(root, "pools"), 0);
	assert_true(json_is_null(json_object_get(json_object_get(pool,
	    "daemon"), "report")));
	json_decref(root);
}

static void
test_json(void **state)
{
	struct scene *s = *state;
	struct dump_keys k = { 0 };
	json_t *root, *pools, *bad;

	make_night(s);
	mkfile_entry(&s->made, 6)->rtt_us = 0;
	scene_read(s);
	add_key_of(&k, &s->pool, 0);
	add_key_of(&k, &s->pool, 6);
	add_key_of(&k, &s->pool, 49);
	dump_keys_add(&k, "a\\b\xff", 4);
	dump_keys_add(&k, "gr\xc3\xbc\xc3\x9f\\e", 8);
	root = scene_json(s, &k);
	pools = json_object_get(root, "pools");
	assert_int_equal(json_integer_value(json_object_get(root, "version")),
	    1);
	assert_string_equal(text_at(root, "host"), "app17");
	assert_int_equal(json_array_size(pools), 2);
	check_json_pool(json_array_get(pools, 0));
	check_json_keys(json_object_get(json_array_get(pools, 0), "keys"));
	assert_string_equal(text_at(json_object_get(json_array_get(pools, 0),
	    "verify"), "table"), "ok");
	bad = json_array_get(pools, 1);
	assert_string_equal(text_at(bad, "pool"), "b\\xff\\\\d");
	assert_in(text_at(bad, "error"), "table");
	assert_in(text_at(bad, "file"), "/run/mc-checkerd/b");
	json_decref(root);
	dump_keys_free(&k);
}

/* Settings and keys in words ---------------------------------------------- */

/* A pool of its own settings, down but for the last one of n. */
static void
make_last(struct scene *s, const struct scheme_setting *set, uint32_t n)
{
	mkfile_make_as(&s->made, set, NULL, n);
	mkfile_set_all(&s->made, MCSHM_DOWN, MCSHM_READY);
	mkfile_set(&s->made, n - 1, MCSHM_UP, MCSHM_READY);
	s->made.h->roster_id = UINT64_C(0x7f3a000000000000);
	s->made.h->generation = 1842;
	mkfile_beat(&s->made, BOOT);
	s->made.h->dead = MCSHM_DEAD_REHASH;
	s->made.h->failover_ttl = 60;
}

static const char *
scene_keys(struct scene *s, const struct dump_keys *k)
{
	size_t size;
	FILE *out;

	free(s->text);
	out = open_memstream(&s->text, &size);
	dump_keys_text(out, &s->pool, k);
	fclose(out);
	return s->text;
}

static void
test_settings(void **state)
{
	static const struct {
		struct scheme_setting set;
		const char *text;
	} cases[] = {
		{ { .scheme = MCSHM_SCHEME_LIBMEMCACHED_KETAMA },
		  "     libmemcached-ketama hash=one_at_a_time dead=rehash "
		  "failover_ttl=60s; " },
		{ { MCSHM_SCHEME_LIBMEMCACHED_KETAMA, MCSHM_HASH_MD5,
		    MCSHM_HASH_ONE_AT_A_TIME, MCSHM_HASH_UNSIGNED, 0 },
		  "     libmemcached-ketama hash=md5 points_hash="
		  "one_at_a_time hash_chars=unsigned dead=rehash" },
		{ { MCSHM_SCHEME_TWEMPROXY_KETAMA, MCSHM_HASH_FNV1A_64,
		    MCSHM_HASH_MD5, 0, '{' | 0xfd << 8 },
		  "     twemproxy-ketama hash=fnv1a_64 hash_tag={\\xfd dead=" },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		make_last(s, &cases[i].set, 3);
		scene_read(s);
		assert_in(scene_picture(s, DUMP_EXIT_TROUBLE), cases[i].text);
		dump_pool_free(&s->pool);
		dump_file_free(&s->file);
		mkfile_free(&s->made);
	}
}

/* The hash of a key in the form that its client's own tools have. */
static void
test_keys_text(void **state)
{
	static const struct {
		uint32_t scheme;
		const char *text;
	} cases[] = {
		{ MCSHM_SCHEME_LIBMEMCACHED_KETAMA_WEIGHTED,
		  "     libmemcached-ketama-weighted hash=md5\n"
		  "user:42  md5 18dfda56  home 10.9.0." },
		/* Here there is one for each server. */
		{ MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS,
		  "     pymemcache-rendezvous hash=murmur3_zero\n"
		  "user:42  home 10.9.0." },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < 2; i++) {
		const struct scheme_setting set = {
			.scheme = cases[i].scheme };
		struct dump_keys k = { 0 };
		const char *text;

		make_last(s, &set, 3);
		scene_read(s);
		dump_keys_add(&k, "user:42", 7);
		add_key_of(&k, &s->pool, 2);
		text = scene_keys(s, &k);
		assert_in(text, cases[i].text);
		assert_in(text, "  home 10.9.0.3:11211 UP\n");
		dump_keys_free(&k);
		dump_pool_free(&s->pool);
		dump_file_free(&s->file);
		mkfile_free(&s->made);
	}
}

/* Of a long way the beginning and the end; what all programs do with it. */
static void
check_long_key(struct scene *s, const struct dump_keys *k, unsigned tries,
    unsigned more)
{
	const char *text = scene_keys(s, k);
	char part[64];
	unsigned arrows = 0;

	for (const char *p = text; (p = strstr(p, " -> ")) != NULL; p++)
		arrows++;
	assert_int_equal(arrows, 11);
	snprintf(part, sizeof part, " DOWN -> (%u more) -> ", more);
	assert_in(text, part);
	snprintf(part, sizeof part, " UP  (%u rehashes)\n", tries);
	assert_in(text, part);
	assert_in(text, " DOWN -> 10.9.2.100:11211 UP  (");
}

static void
test_long_keys(void **state)
{
	static const uint32_t schemes[] = { MCSHM_SCHEME_LIBMEMCACHED_KETAMA,
		MCSHM_SCHEME_PYMEMCACHE_RENDEZVOUS };
	struct scene *s = *state;

	for (size_t i = 0; i < 2; i++) {
		const struct scheme_setting set = { .scheme = schemes[i] };
		struct dump_keys k = { 0 };
		json_t *root, *key;
		json_int_t tries, left_out;

		make_last(s, &set, 600);
		scene_read(s);
		/* The last but one is DOWN, and has all others before it. */
		add_key_of(&k, &s->pool, 3);
		root = scene_json(s, &k);
		key = json_array_get(json_object_get(json_array_get(
		    json_object_get(root, "pools"), 0), "keys"), 0);
		assert_int_equal(json_unpack(key, "{s:I,s:I}", "rehashes",
		    &tries, "tries_left_out", &left_out), 0);
		assert_int_equal(json_array_size(json_object_get(key,
		    "tries")) + (size_t)left_out, (size_t)tries + 1);
		check_long_key(s, &k, (unsigned)tries, (unsigned)tries - 10);
		json_decref(root);
		dump_keys_free(&k);
		dump_pool_free(&s->pool);
		dump_file_free(&s->file);
		mkfile_free(&s->made);
	}
}

/* Lines ------------------------------------------------------------------- */

static void
test_lines(void **state)
{
	struct dump_line l;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	dump_line_begin(&l, out, 5, 0);
	l.right = "right";
	dump_line_put(&l, "; ", "%080d", 1);
	dump_line_put(&l, "; ", "%s", "12345678901");
	dump_line_words(&l, "; ", "some more words");
	dump_line_end(&l);
	dump_line_begin(&l, out, 2, 0);
	dump_line_words(&l, "; ", "12345678901234567890123456789012345678901234"
	    "5678901234567890123456789012345678901234567890123456789012345678"
	    "90 end");
	dump_line_end(&l);
	fclose(out);
	assert_text(text,
"     00000000000000000000000000000000000000000000000000000000000000000000000000000001;         right\n"
"     12345678901; some more words\n"
"  123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456\n"
"  78901234567890 end\n");
	free(text);
}

#define SCENE(test) cmocka_unit_test_setup_teardown(test, scene_open, \
	scene_close)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE(test_night),
		SCENE(test_quiet),
		SCENE(test_all),
		SCENE(test_dead_checker),
		SCENE(test_hung_checker),
		SCENE(test_fail_open),
		SCENE(test_returns),
		SCENE(test_risks),
		SCENE(test_flapping),
		SCENE(test_flush_is_due),
		SCENE(test_unseen),
		SCENE(test_sightless),
		SCENE(test_vain),
		SCENE(test_all_down),
		SCENE(test_long_names),
		SCENE(test_long_names_all),
		SCENE(test_unknown_numbers),
		SCENE(test_hostile_texts),
		SCENE(test_colour),
		SCENE(test_detail),
		SCENE(test_detail_of_a_return),
		SCENE(test_detail_of_the_mute),
		SCENE(test_takes_no_reports),
		SCENE(test_json),
		SCENE(test_settings),
		SCENE(test_keys_text),
		SCENE(test_long_keys),
		cmocka_unit_test(test_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
