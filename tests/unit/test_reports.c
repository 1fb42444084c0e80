/*
 * test_reports.c - the socket for reports, and what is taken for one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "reports.h"

static char dir[] = "/tmp/test_reports.XXXXXX";

/* What is in dir, and how many. */
static const char *
inside(const char *name)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static unsigned
names(void)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..");
	closedir(d);
	return n;
}

static int
make_empty(void **state)
{
	static const char *const left[] = { ".report", ".report.1",
		".report.2", ".report@00000001", ".report@no.tmp", "other" };

	(void)state;
	for (size_t i = 0; i < sizeof left / sizeof left[0]; i++)
		unlink(inside(left[i]));
	return names() == 0 ? 0 : -1;
}

static struct sockaddr_un
address_of(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	assert_true(strlen(path) < sizeof at.sun_path);
	strcpy(at.sun_path, path);
	return at;
}

/* A socket as a killed daemon leaves it. */
static void
leave(const char *name)
{
	const struct sockaddr_un at = address_of(inside(name));
	const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
	close(fd);
}

static struct reports
opened(const char *name)
{
	struct reports r;

	reports_init(&r);
	assert_int_equal(reports_open(&r, dir), 0);
	assert_true(r.fd >= 0);
	assert_string_equal(r.path, inside(name));
	assert_false(reports_lost(&r));
	return r;
}

/* Whoever opened it may send there. */
static bool
send_to(const char *path, const void *p, size_t len)
{
	const struct sockaddr_un at = address_of(path);
	const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	ssize_t n;

	assert_true(fd >= 0);
	n = sendto(fd, p, len, 0, (const struct sockaddr *)&at, sizeof at);
	close(fd);
	return n == (ssize_t)len;
}

static struct mcshm_report
report(const char *pool)
{
	struct mcshm_report d = { .magic = MCSHM_REPORT_MAGIC, .version = 1,
		.ident_hash = UINT64_C(0x0123456789abcdef) };

	memcpy(d.pool, pool, strlen(pool));
	return d;
}

/* Form --------------------------------------------------------------------- */

#define FORTY "a234567890b234567890c234567890d234567890"

static void
test_form(void **state)
{
	static const char *const good[] = { "w", "web", FORTY };
	struct mcshm_report d;
	struct report r;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		d = report(good[i]);
		memset(&r, 0xee, sizeof r);
		assert_true(reports_parse(&r, &d, sizeof d));
		assert_string_equal(r.pool, good[i]);
		assert_true(r.ident_hash == UINT64_C(0x0123456789abcdef));
	}
}

static void
test_no_form(void **state)
{
	struct mcshm_report d;
	struct report r;

	(void)state;
	d = report("");
	assert_false(reports_parse(&r, &d, sizeof d));
	d = report(FORTY "1");
	assert_false(reports_parse(&r, &d, sizeof d));
	d = report("");
	memset(d.pool, 'x', sizeof d.pool);
	assert_false(reports_parse(&r, &d, sizeof d));
	d = report("web");
	d.magic++;
	assert_false(reports_parse(&r, &d, sizeof d));
	d = report("web");
	d.magic = __builtin_bswap32(d.magic);
	assert_false(reports_parse(&r, &d, sizeof d));
	for (uint32_t version = 0; version < 4; version++) {
		d = report("web");
		d.version = version;
		assert_int_equal(reports_parse(&r, &d, sizeof d),
		    version == 1);
	}
}

/* A later version may have more to say. */
static void
test_sizes(void **state)
{
	struct { struct mcshm_report d; char more[48]; } longer = { 0 };
	struct report r;

	(void)state;
	longer.d = report("web");
	for (size_t n = 0; n <= sizeof longer; n++) {
		/* Not a byte behind what was sent is looked at. */
		char *exact = malloc(n + 1);

		memcpy(exact, &longer, n);
		assert_int_equal(reports_parse(&r, exact, n),
		    n >= sizeof longer.d);
		free(exact);
	}
}

/* Any bytes: what comes out is in bounds. */
static void
test_noise(void **state)
{
	uint64_t x = 88172645463325252u;
	struct mcshm_report d;
	struct report r;

	(void)state;
	for (unsigned i = 0; i < 100000; i++) {
		unsigned char *p = (unsigned char *)&d;

		for (size_t j = 0; j < sizeof d; j++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			p[j] = (unsigned char)(x % 8 == 0 ? 0 : x >> 8);
		}
		if (i % 2)
			d.magic = MCSHM_REPORT_MAGIC, d.version = 1;
		if (reports_parse(&r, &d, sizeof d))
			assert_in_range(strlen(r.pool), 1, MCSHM_POOL_MAX);
	}
}

/* The socket --------------------------------------------------------------- */

static void
test_open(void **state)
{
	const mode_t mask = umask(077);
	struct reports r = opened(".report");
	struct stat st;

	(void)state;
	umask(mask);
	assert_int_equal(lstat(r.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0666);
	assert_true(fcntl(r.fd, F_GETFD) & FD_CLOEXEC);
	assert_true(fcntl(r.fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(names(), 1);
	reports_close(&r);
	assert_int_equal(r.fd, -1);
	assert_string_equal(r.path, "");
	assert_int_equal(names(), 0);
	reports_close(&r);
}

static void
test_left_ones_are_replaced(void **state)
{
	struct reports r;

	(void)state;
	leave(".report");
	leave(".report.1");
	leave(".report@00000001");
	assert_int_equal(names(), 3);
	r = opened(".report");
	assert_int_equal(names(), 1);
	reports_close(&r);
}

static void
test_living_ones_stay(void **state)
{
	struct mcshm_report d = report("web");
	struct reports a = opened(".report"), b = opened(".report.1");
	struct report one;

	(void)state;
	assert_false(reports_lost(&a));
	assert_true(send_to(a.path, &d, sizeof d));
	assert_int_equal(reports_read(&b, &one), REPORTS_NONE);
	assert_int_equal(reports_read(&a, &one), REPORTS_ONE);
	reports_close(&a);
	assert_false(reports_lost(&b));
	a = opened(".report");
	reports_close(&b);
	reports_close(&a);
}

/* Nor is anything removed that is no socket of ours. */
static void
test_others_stay(void **state)
{
	struct sockaddr_un at = address_of(inside(".report.1"));
	struct reports r;
	int stream;

	(void)state;
	close(open(inside(".report"), O_CREAT | O_WRONLY, 0600));
	close(open(inside(".report@no.tmp"), O_CREAT | O_WRONLY, 0600));
	stream = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(stream, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(stream, 1), 0);
	leave("other");
	r = opened(".report.2");
	assert_int_equal(names(), 5);
	reports_close(&r);
	assert_int_equal(names(), 4);
	close(stream);
}

static void
test_all_names_are_taken(void **state)
{
	struct reports r[8], more;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		reports_init(&r[i]);
		assert_int_equal(reports_open(&r[i], dir), 0);
	}
	reports_init(&more);
	assert_int_equal(reports_open(&more, dir), EADDRINUSE);
	assert_int_equal(more.fd, -1);
	assert_int_equal(names(), 8);
	for (unsigned i = 0; i < 8; i++)
		reports_close(&r[i]);
	assert_int_equal(names(), 0);
}

static void
test_bad_places(void **state)
{
	char longest[160];
	struct reports r;

	(void)state;
	reports_init(&r);
	assert_int_equal(reports_open(&r, inside("none/of/them")), ENOENT);
	assert_int_equal(names(), 0);
	/* Ninety bytes are the most. */
	for (size_t n = 88; n < 93; n++) {
		memset(longest, '/', sizeof longest);
		memcpy(longest, dir, strlen(dir));
		longest[n] = '\0';
		assert_int_equal(reports_open(&r, longest),
		    n <= 90 ? 0 : ENAMETOOLONG);
		reports_close(&r);
		assert_int_equal(names(), 0);
	}
	assert_int_equal(r.fd, -1);
}

/* One step is ours, for everybody to enter. */
static void
test_makes_its_directory(void **state)
{
	const mode_t mask = umask(077);
	struct reports r;
	struct stat st;
	char path[128];

	(void)state;
	snprintf(path, sizeof path, "%s", inside("none"));
	reports_init(&r);
	assert_int_equal(reports_open(&r, path), 0);
	umask(mask);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	reports_close(&r);
	/* One that is there is left as it is. */
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(reports_open(&r, path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	reports_close(&r);
	assert_int_equal(rmdir(path), 0);
}

/* Sockets that look like ours, and are not. */
static void
test_sweeps_its_own_names_only(void **state)
{
	static const char *const theirs[] = { ".report.", ".report.0",
		".report.8", ".report.10", ".report.1x", ".report.sock",
		".report@", ".report@0123abc", ".report@0123abcd0",
		".report@0123ABCD", ".report@0123abcd.x", ".reports",
		".repor" };
	static const char *const ours[] = { ".report", ".report.1",
		".report.7", ".report@0123abcd" };
	const size_t keep = sizeof theirs / sizeof *theirs;
	struct reports r;

	(void)state;
	for (size_t i = 0; i < keep; i++)
		leave(theirs[i]);
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		leave(ours[i]);
	r = opened(".report");
	assert_int_equal(names(), keep + 1);
	reports_close(&r);
	for (size_t i = 0; i < keep; i++)
		assert_int_equal(unlink(inside(theirs[i])), 0);
}

static void
test_lost(void **state)
{
	struct reports r = opened(".report"), other;

	(void)state;
	unlink(r.path);
	assert_true(reports_lost(&r));
	other = opened(".report");
	assert_true(reports_lost(&r));
	/* What is there now is somebody else's. */
	reports_close(&r);
	assert_false(reports_lost(&other));
	reports_close(&other);
}

/* Datagrams ---------------------------------------------------------------- */

static void
test_read(void **state)
{
	struct mcshm_report d = report("web");
	char *large = calloc(1, 65536);
	struct reports r = opened(".report");
	struct report one;

	(void)state;
	assert_int_equal(reports_read(&r, &one), REPORTS_NONE);
	assert_true(send_to(r.path, &d, sizeof d));
	assert_true(send_to(r.path, "", 0));
	assert_true(send_to(r.path, &d, sizeof d - 1));
	assert_true(send_to(r.path, large, 65536));
	memcpy(large, &d, sizeof d);
	assert_true(send_to(r.path, large, 65536));
	assert_int_equal(reports_read(&r, &one), REPORTS_ONE);
	assert_string_equal(one.pool, "web");
	assert_int_equal(reports_read(&r, &one), REPORTS_GARBAGE);
	assert_int_equal(reports_read(&r, &one), REPORTS_GARBAGE);
	assert_int_equal(reports_read(&r, &one), REPORTS_GARBAGE);
	assert_int_equal(reports_read(&r, &one), REPORTS_ONE);
	assert_int_equal(reports_read(&r, &one), REPORTS_NONE);
	reports_close(&r);
	free(large);
}

/* Descriptors that somebody sends along are not ours to keep. */
static void
test_descriptors_are_not_taken(void **state)
{
	struct mcshm_report d = report("web");
	struct reports r = opened(".report");
	struct sockaddr_un at = address_of(r.path);
	union { char room[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } u;
	struct iovec iov = { &d, sizeof d };
	struct msghdr m = { .msg_name = &at, .msg_namelen = sizeof at,
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = u.room,
		.msg_controllen = sizeof u.room };
	const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct report one;
	int next;

	(void)state;
	memset(&u, 0, sizeof u);
	*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof fd) };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof fd);
	assert_int_equal(sendmsg(fd, &m, 0), sizeof d);
	next = dup(fd);
	close(next);
	assert_int_equal(reports_read(&r, &one), REPORTS_ONE);
	assert_int_equal(dup(fd), next);
	close(next);
	close(fd);
	reports_close(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_form),
		cmocka_unit_test(test_no_form),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_noise),
		cmocka_unit_test_setup(test_open, make_empty),
		cmocka_unit_test_setup(test_left_ones_are_replaced,
		    make_empty),
		cmocka_unit_test_setup(test_living_ones_stay, make_empty),
		cmocka_unit_test_setup(test_others_stay, make_empty),
		cmocka_unit_test_setup(test_all_names_are_taken, make_empty),
		cmocka_unit_test_setup(test_bad_places, make_empty),
		cmocka_unit_test_setup(test_makes_its_directory, make_empty),
		cmocka_unit_test_setup(test_sweeps_its_own_names_only,
		    make_empty),
		cmocka_unit_test_setup(test_lost, make_empty),
		cmocka_unit_test_setup(test_read, make_empty),
		cmocka_unit_test_setup(test_descriptors_are_not_taken,
		    make_empty),
	};
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (make_empty(NULL) != 0)
		failed++;
	rmdir(dir);
	return failed;
}
