/*
 * notify.c - sd_notify(3)'s datagrams, sent without libsystemd.
 *
 * Must never block and never fail the daemon: the supervisor's ear is no
 * condition for checking servers.
 */
#include "notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTIFY_LEN 2048

/* $NOTIFY_SOCKET as an address; its length, 0 if it is none. */
static socklen_t
notify_address(struct sockaddr_un *un, const char *name)
{
	const size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 ||
	    len >= sizeof un->sun_path)
		return 0;
	memset(un, 0, sizeof *un);
	un->sun_family = AF_UNIX;
	memcpy(un->sun_path, name, len);
	if (name[0] == '@') {		/* abstract: no NUL at its end */
		un->sun_path[0] = '\0';
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		    len);
	}
	return sizeof *un;
}

/* A decimal number and nothing else; 0 where it is none. */
static uint64_t
env_number(const char *name)
{
	const char *text = getenv(name);
	unsigned long long n;
	char *end;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	n = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' ? n : 0;
}

/* What systemd allows, if it means us and not our parent. */
static uint64_t
watchdog_interval(void)
{
	const uint64_t usec = env_number("WATCHDOG_USEC");

	if (getenv("WATCHDOG_PID") != NULL &&
	    env_number("WATCHDOG_PID") != (uint64_t)getpid())
		return 0;
	return usec <= UINT64_MAX / 1000 ? usec * 1000 : 0;
}

int
notify_open(struct notify *n)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un;
	socklen_t len;
	int fd, err;

	*n = (struct notify){ .fd = -1 };
	if (name == NULL || name[0] == '\0')
		return 0;
	len = notify_address(&un, name);
	if (len == 0)
		return EINVAL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	if (connect(fd, (const struct sockaddr *)&un, len) < 0) {
		err = errno;
		close(fd);
		return err;
	}
	*n = (struct notify){ .fd = fd, .watchdog = watchdog_interval() };
	return 0;
}

void
notify_close(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	*n = (struct notify){ .fd = -1 };
}

bool
notify_send(const struct notify *n, const char *fmt, ...)
{
	char text[NOTIFY_LEN];
	va_list ap;
	int len;

	if (n->fd < 0)
		return true;
	va_start(ap, fmt);
	len = vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (len < 0)
		return true;
	if ((size_t)len >= sizeof text)
		len = (int)sizeof text - 1;
	/* With any other error there is nobody to be told. */
	return send(n->fd, text, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	    errno != EAGAIN;
}
