/*
 * report.c - tell the checker of a server that failed: one datagram, which asks
 * for a probe.
 *
 * Keeps no descriptor: it is rare, and a handle has to work after fork, chroot
 * and close-all.  Never waits; what can not be sent is not sent.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "reader.h"

#define PER_SECOND 20u
#define AGAIN (READER_SECOND / 4)

#define SOCKET_NAME "/.report"		/* and what goes on from there */

/* Whoever may write the file names a socket, and we send to it with the rights
 * of our process: to none but a checker's. */
static bool
is_path(const char path[sizeof((struct sockaddr_un *)0)->sun_path])
{
	return path[0] == '/' &&
	    memchr(path, '\0', sizeof((struct sockaddr_un *)0)->sun_path) &&
	    strncmp(strrchr(path, '/'), SOCKET_NAME,
		sizeof SOCKET_NAME - 1) == 0;
}

/* The path of the socket and the server's identity, of one moment. */
static bool
compose(const struct mcshm *m, uint32_t slot, struct sockaddr_un *to,
    struct mcshm_report *r)
{
	struct reader_view v;
	char path[sizeof((struct mcshm_header *)0)->report];

	static_assert(sizeof path >= sizeof to->sun_path, "all of it");
	for (int t = 0; t < MCSHM_TRIES_READ; t++) {
		const uint64_t g = mcshm_read_begin(reader_generation(m));

		if (g == 0)
			continue;
		reader_view(m, g, &v);
		reader_copy(m, READER_HEADER(report), path, sizeof path / 8);
		reader_copy(m, READER_HEADER(pool), r->pool,
		    sizeof r->pool / 8);
		r->ident_hash = reader_load(m, v.place.roster_off +
		    (uint64_t)slot * v.place.roster_stride +
		    offsetof(struct mcshm_roster, ident_hash));
		if (!mcshm_read_ok(reader_generation(m), g))
			continue;
		if (slot >= v.place.servers)
			return false;
		if (!is_path(path))
			return false;
		strcpy(to->sun_path, path);
		return true;
	}
	return false;
}

/* Not too often for this server, nor in all. */
static bool
is_time(struct mcshm *m, uint32_t slot)
{
	struct reader_suspects *s = reader_suspects(m);
	const uint64_t now = m->clock(), second = now / READER_SECOND;
	uint64_t last = atomic_load_explicit(&s->reported[slot],
	    memory_order_relaxed);

	if (last != 0 && (last >= now || now - last < AGAIN))
		return false;
	if (!atomic_compare_exchange_strong_explicit(&s->reported[slot], &last,
	    now, memory_order_relaxed, memory_order_relaxed))
		return false;
	if (atomic_exchange_explicit(&s->second, second,
	    memory_order_relaxed) != second)
		atomic_store_explicit(&s->reports, 0, memory_order_relaxed);
	return atomic_fetch_add_explicit(&s->reports, 1,
	    memory_order_relaxed) < PER_SECOND;
}

/* The path is the checker's.  In a container the directory may be mounted
 * elsewhere: the socket lies beside the pool's file there, too. */
static bool
beside(const struct mcshm *m, struct sockaddr_un *to)
{
	char name[sizeof to->sun_path];
	const char *slash = strrchr(to->sun_path, '/');

	strcpy(name, slash + 1);
	return snprintf(to->sun_path, sizeof to->sun_path, "%s/%s", m->dir,
	    name) < (int)sizeof to->sun_path;
}

static bool
send_to(int fd, const struct mcshm_report *r, const struct sockaddr_un *to)
{
	return sendto(fd, r, sizeof *r, MSG_DONTWAIT | MSG_NOSIGNAL,
	    (const struct sockaddr *)to, sizeof *to) != -1;
}

void
report_send(struct mcshm *m, uint32_t slot)
{
	struct mcshm_report r = { .magic = MCSHM_REPORT_MAGIC, .version = 1 };
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd, cancel;

	if (!m->options.reports || slot >= MCSHM_MAX_SERVERS ||
	    !compose(m, slot, &to, &r) || !is_time(m, slot))
		return;
	/* A thread that ends at one of these calls would leave a descriptor. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd != -1) {
		if (!send_to(fd, &r, &to) && errno != EAGAIN && beside(m, &to))
			(void)send_to(fd, &r, &to);
		close(fd);
	}
	pthread_setcancelstate(cancel, NULL);
}
