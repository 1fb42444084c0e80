/*
 * resolve_libc.c - getaddrinfo(3) in threads, where there is no c-ares.
 *
 * A thread that hangs in a name server can not be stopped: what threads share
 * is freed by whoever leaves last.
 */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#include "resolve_way.h"

#define THREADS 16u			/* there may be */

struct way {
	pthread_cond_t work;
	unsigned threads;		/* that there are */
	unsigned idle;			/* of them, not looking anything up */
};

/* As with AI_ADDRCONFIG, but so that we know what was not asked for.  Where one
 * of two families fails, it does not tell: that looks like one without an
 * address. */
static void
ask_look_up(struct ask *a)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_family = family_wanted() };
	struct addrinfo *list = NULL;
	const int err = getaddrinfo(a->host, NULL, &hints, &list);

	if (err != 0) {
		a->answer.error = gai_strerror(err);
		return;
	}
	for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next)
		answer_add(a, ai->ai_addr);
	freeaddrinfo(list);
	a->answer.unknown = family_untold(hints.ai_family);
	if (a->answer.n == 0)
		a->answer.error = gai_strerror(EAI_NONAME);
	answer_end(a);
}

static void
way_free(struct resolve *r)
{
	pthread_cond_destroy(&r->way->work);
	free(r->way);
	resolve_free(r);
}

static void *
way_run(void *arg)
{
	struct resolve *r = arg;
	struct way *way = r->way;
	struct ask *a;
	bool last;

	pthread_mutex_lock(&r->lock);
	while (!r->closed) {
		if ((a = ask_next(r)) == NULL) {
			way->idle++;
			pthread_cond_wait(&way->work, &r->lock);
			way->idle--;
			continue;
		}
		pthread_mutex_unlock(&r->lock);
		ask_look_up(a);
		pthread_mutex_lock(&r->lock);
		ask_answered(r, a);
	}
	last = --way->threads == 0;
	pthread_mutex_unlock(&r->lock);
	if (last)
		way_free(r);
	return NULL;
}

int
way_open(struct resolve *r)
{
	r->way = calloc(1, sizeof *r->way);
	if (r->way == NULL)
		return ENOMEM;
	pthread_cond_init(&r->way->work, NULL);
	return 0;
}

int
way_wake(struct resolve *r)
{
	struct way *way = r->way;
	pthread_t id;
	int err = 0;

	if (r->waiting >= way->idle && way->threads < r->at_once &&
	    way->threads < THREADS) {
		err = way_thread(&id, true, way_run, r);
		if (err == 0)
			way->threads++;
	}
	pthread_cond_signal(&way->work);
	return way->threads > 0 ? 0 : err;
}

void
way_close(struct resolve *r)
{
	const bool last = r->way->threads == 0;

	pthread_cond_broadcast(&r->way->work);
	pthread_mutex_unlock(&r->lock);
	if (last)
		way_free(r);
}
