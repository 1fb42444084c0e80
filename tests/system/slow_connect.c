/*
 * slow_connect.c - a daemon that is started with this preloaded is slow itself:
 * each of its calls of connect() takes 5 ms more.
 */
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int
connect(int fd, const struct sockaddr *to, socklen_t len)
{
	const struct timespec t = { .tv_nsec = 5000000 };

	nanosleep(&t, NULL);
	return (int)syscall(SYS_connect, fd, to, len);
}
