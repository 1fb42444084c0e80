/*
 * request.h - what a test asks of a program that chooses servers: ours, or the
 * driver of a peer written in C.
 *
 * Lines on stdin; drivers in other languages understand the same ones:
 *
 *	keys PATH			a file of keys: two bytes length, low
 *					one first, then the key
 *	new				forget servers and settings
 *	set WORD [VALUE]
 *	server HOST PORT WEIGHT NAME	NAME "-": none; HOST "/...": a unix
 *					socket
 *	down I				server I does not answer
 *	ask FROM COUNT TRIES
 *
 *	store FROM COUNT		the client itself, over the network
 *
 * Each "ask" is answered with COUNT * TRIES numbers on stdout, two bytes each,
 * low one first: the server of the key and of each try after it.  NOBODY where
 * there is no such try.  A "store" is answered with COUNT numbers, 1 where the
 * client was told that it is stored.  Nothing else is written there.  Who can
 * not answer says why on stderr, and ends.
 */
#ifndef REQUEST_H
#define REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REQUEST_NOBODY 0xffffu
#define REQUEST_SERVERS 16384u
#define REQUEST_SETTINGS 16u

struct request_server {
	char host[256], name[64];	/* name: "" where it has none */
	uint32_t port, weight;
	bool down;
};

struct request {
	struct request_server *server;
	uint32_t servers;
	struct {
		char word[32];
		char *value;		/* "" where there is none */
	} setting[REQUEST_SETTINGS];
	uint32_t settings;
	bool changed;			/* since the last one */
	uint32_t from, count, tries;
	bool store;

	/* For request.c. */
	unsigned char *keys;
	size_t *key_at;
	uint32_t key_count;
	uint16_t *answer;
	char *line;
	size_t line_size;
};

/* The next "ask" or "store"; false at the end of stdin. */
bool request_next(struct request *r);
/* The setting's value; NULL: it was not set. */
const char *request_setting(const struct request *r, const char *word);
/* The same as a number; other: what it is where it was not set. */
uint32_t request_number(const struct request *r, const char *word,
    uint32_t other);
/* Key i of the "ask". */
const char *request_key(const struct request *r, uint32_t i, size_t *len);
/* What its try is answered. */
void request_answer(struct request *r, uint32_t i, uint32_t try,
    uint32_t server);
/* All that was answered goes to the test. */
void request_done(struct request *r);
void request_free(struct request *r);

/* Says why on stderr; does not come back. */
void request_fail(const char *why, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

#endif
