/*
 * bootid.c - which boot of the host is this?
 *
 * A file on a disk outlives a reboot, and CLOCK_BOOTTIME begins anew with each:
 * times in it mean nothing to a reader of another boot.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "mcshm_format.h"

void
mcshm_boot_id(uint64_t id[2])
{
	static const char hex[] = "0123456789abcdef";
	const int fd = open("/proc/sys/kernel/random/boot_id",
	    O_RDONLY | O_CLOEXEC);
	unsigned nibbles = 0;
	char text[40] = "";

	id[0] = id[1] = 0;
	if (fd == -1)
		return;
	if (read(fd, text, sizeof text - 1) <= 0)
		text[0] = 0;
	close(fd);
	for (const char *c = text; *c != 0 && nibbles < 32; c++) {
		const char *at = strchr(hex, *c);

		if (at == NULL)
			continue;
		id[nibbles / 16] = id[nibbles / 16] << 4 | (uint64_t)(at - hex);
		nibbles++;
	}
}
