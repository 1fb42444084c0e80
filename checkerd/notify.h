/*
 * notify.h - sd_notify(3)'s datagrams to $NOTIFY_SOCKET, without libsystemd.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

struct notify {
	int fd;				/* -1: nobody wants to know */
	uint64_t watchdog;		/* ns between WATCHDOG=1 that systemd
					 * allows, 0: none wanted */
};

/* From $NOTIFY_SOCKET ("/path" or "@abstract"), $WATCHDOG_USEC and
 * $WATCHDOG_PID.  0, or an errno where the socket is named but unusable; then,
 * too, n may be used and says nothing. */
int notify_open(struct notify *n);
void notify_close(struct notify *n);

/* One datagram, such as "READY=1\nSTATUS=...".  Never blocks.  False: the
 * supervisor's queue is full, it was not sent. */
bool notify_send(const struct notify *n, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif
