/*
 * resolve_way.h - between the queue of questions and who finds out.
 *
 *	resolve_ask() -> asked -> way -> answered -> resolve_fetch()
 *	                                    eventfd -> the loop
 *
 * Private to resolve*.c.  A question is allocated whole, with room for its
 * answer, so that nothing can fail behind the loop's back.
 */
#ifndef RESOLVE_WAY_H
#define RESOLVE_WAY_H

#include <pthread.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "address.h"
#include "resolve.h"

struct ask {
	STAILQ_ENTRY(ask) next;
	uint32_t port;
	uint32_t dropped;	/* kind of one that was no host's; 0: none */
	struct resolve_answer answer;
	char host[ADDRESS_HOST_MAX + 1];
};
STAILQ_HEAD(asks, ask);

struct way;			/* each has its own */

struct resolve {
	pthread_mutex_t lock;	/* guards all below, and what a way says */
	struct asks asked, answered;
	unsigned waiting;	/* in `asked` */
	unsigned at_once;
	bool closed;
	int fd;			/* eventfd: `answered` is not empty */
	struct way *way;
};

/* resolve.c */
/* Families that this host has addresses of, but for loopback: it can not reach
 * the others.  AF_UNSPEC: of both, or of none. */
int family_wanted(void);
/* The kind of address that is not asked for then, 0: none. */
uint32_t family_untold(int wanted);
/* All but answer_...() with the lock held. */
/* The next question, NULL: none waits. */
struct ask *ask_next(struct resolve *r);
/* It could not be answered after all: the next one again. */
void ask_back(struct resolve *r, struct ask *a);
void ask_answered(struct resolve *r, struct ask *a);
/* The addresses that sort first are kept, each once; not those that no host
 * has, by which a filter says that it blocks a name. */
void answer_add(struct ask *a, const struct sockaddr *sa);
/* All are added: what those that were not kept come to. */
void answer_end(struct ask *a);
/* Start a thread that is deaf to signals: they are the loop's. */
int way_thread(pthread_t *id, bool detached, void *(*run)(void *), void *arg);
/* When no thread uses it any longer, without the lock. */
void resolve_free(struct resolve *r);

/* The way. */
/* 0 or an errno. */
int way_open(struct resolve *r);
/* With the lock held: there will be one more question.  0 or an errno: nobody
 * is there to look. */
int way_wake(struct resolve *r);
/* With r->closed set, and the lock held, which it lets go of: end, with
 * resolve_free() as the last thing. */
void way_close(struct resolve *r);

#endif
