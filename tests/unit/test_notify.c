/*
 * test_notify.c - datagrams for the supervisor, and when there is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "notify.h"

static char dir[] = "/tmp/test_notify.XXXXXX";

static int
setup(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return 0;
}

/* A supervisor's ear at "/path" or "@name". */
static int
listen_at(const char *name)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const size_t len = strlen(name);
	socklen_t size = sizeof un;
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0 && len < sizeof un.sun_path);
	memcpy(un.sun_path, name, len);
	if (name[0] == '@') {
		un.sun_path[0] = '\0';
		size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		    len);
	}
	assert_int_equal(bind(fd, (struct sockaddr *)&un, size), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void
assert_heard(int fd, const char *want)
{
	char got[4096];
	const ssize_t n = recv(fd, got, sizeof got - 1, MSG_DONTWAIT);

	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void
hears(const char *name)
{
	const int fd = listen_at(name);
	struct notify n;

	assert_int_equal(notify_open(&n), 0);
	assert_true(n.fd >= 0);
	notify_send(&n, "READY=1\nSTATUS=%s %d/%d", "web", 3, 4);
	notify_send(&n, "WATCHDOG=1");
	assert_heard(fd, "READY=1\nSTATUS=web 3/4");
	assert_heard(fd, "WATCHDOG=1");
	notify_close(&n);
	assert_int_equal(n.fd, -1);
	close(fd);
}

static void
test_path(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof name, "%s/path", dir);
	hears(name);
	unlink(name);
}

static void
test_abstract(void **state)
{
	char name[64];

	(void)state;
	snprintf(name, sizeof name, "@test_notify-%ld", (long)getpid());
	hears(name);
}

static void
test_nobody(void **state)
{
	struct notify n;

	(void)state;
	setenv("WATCHDOG_USEC", "1000000", 1);
	assert_int_equal(notify_open(&n), 0);
	assert_int_equal(n.fd, -1);
	assert_true(n.watchdog == 0);
	notify_send(&n, "READY=1");
	notify_close(&n);
}

static void
test_unusable(void **state)
{
	static const char *const names[] = { "relative/path", "/", "@",
		"vsock:2:1234" };
	char longest[200];
	struct notify n;

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		setenv("NOTIFY_SOCKET", names[i], 1);
		assert_int_equal(notify_open(&n), EINVAL);
		assert_int_equal(n.fd, -1);
		notify_send(&n, "READY=1");
	}
	memset(longest, 'x', sizeof longest);
	longest[0] = '/';
	longest[sizeof longest - 1] = '\0';
	setenv("NOTIFY_SOCKET", longest, 1);
	assert_int_equal(notify_open(&n), EINVAL);
	setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
	assert_int_equal(notify_open(&n), ENOENT);
	assert_int_equal(n.fd, -1);
}

static uint64_t
watchdog(const char *usec, const char *pid)
{
	struct notify n;
	uint64_t w;

	setenv("WATCHDOG_USEC", usec, 1);
	if (pid != NULL)
		setenv("WATCHDOG_PID", pid, 1);
	else
		unsetenv("WATCHDOG_PID");
	assert_int_equal(notify_open(&n), 0);
	w = n.watchdog;
	notify_close(&n);
	return w;
}

static void
test_watchdog(void **state)
{
	char name[64], pid[32];
	int fd;

	(void)state;
	snprintf(name, sizeof name, "@test_notify-wd-%ld", (long)getpid());
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	fd = listen_at(name);
	assert_true(watchdog("10000000", NULL) == UINT64_C(10000000000));
	assert_true(watchdog("10000000", pid) == UINT64_C(10000000000));
	/* Meant for our parent. */
	assert_true(watchdog("10000000", "1") == 0);
	assert_true(watchdog("10s", NULL) == 0);
	assert_true(watchdog("-1", NULL) == 0);
	assert_true(watchdog("", NULL) == 0);
	assert_true(watchdog("99999999999999999999", NULL) == 0);
	assert_true(watchdog("18446744073709551615", NULL) == 0);
	close(fd);
}

/* A supervisor that does not listen, or is gone, holds nobody up. */
static void
test_never_blocks(void **state)
{
	char name[64];
	struct notify n;
	int fd;

	(void)state;
	snprintf(name, sizeof name, "@test_notify-nb-%ld", (long)getpid());
	fd = listen_at(name);
	assert_int_equal(notify_open(&n), 0);
	assert_true(notify_send(&n, "STATUS=first"));
	for (int i = 0; notify_send(&n, "STATUS=%d", i); i++)
		assert_true(i < 100000);
	assert_false(notify_send(&n, "STATUS=later"));
	assert_heard(fd, "STATUS=first");
	assert_true(notify_send(&n, "STATUS=again"));
	close(fd);
	assert_true(notify_send(&n, "STATUS=to nobody"));
	notify_close(&n);
}

static void
test_long(void **state)
{
	char name[64], *text = malloc(9000), got[9000];
	struct notify n;
	int fd;

	(void)state;
	memset(text, 'x', 8999);
	text[8999] = '\0';
	snprintf(name, sizeof name, "@test_notify-long-%ld", (long)getpid());
	fd = listen_at(name);
	assert_int_equal(notify_open(&n), 0);
	notify_send(&n, "STATUS=%s", text);
	assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), 2047);
	assert_memory_equal(got, "STATUS=xxx", 10);
	notify_close(&n);
	close(fd);
	free(text);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_path, setup),
		cmocka_unit_test_setup(test_abstract, setup),
		cmocka_unit_test_setup(test_nobody, setup),
		cmocka_unit_test_setup(test_unusable, setup),
		cmocka_unit_test_setup(test_watchdog, setup),
		cmocka_unit_test_setup(test_never_blocks, setup),
		cmocka_unit_test_setup(test_long, setup),
	};
	int failed;

	if (mkdtemp(dir) == NULL)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
