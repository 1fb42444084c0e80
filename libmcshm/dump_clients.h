/*
 * dump_clients.h - which processes have a pool's file mapped: this inode, or
 * one that a newer file has replaced.
 *
 * Reads /proc/PID/maps of all processes; changes nothing.
 */
#ifndef DUMP_CLIENTS_H
#define DUMP_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

struct dump_client {
	pid_t pid;
	char command[64];	/* escaped */
	bool checker;		/* it may write the file */
	bool orphaned;		/* not the inode that the path has now */
};

struct dump_clients {
	struct dump_client *v;
	size_t n, room;
	size_t unreadable;	/* processes of other users */
};

/* proc: "/proc".  0, or -1 and errno. */
int dump_clients_scan(struct dump_clients *c, const char *proc,
    const char *path, dev_t dev, ino_t ino);
void dump_clients_free(struct dump_clients *c);

void dump_clients_text(FILE *out, const struct dump_clients *c);

#endif
