/*
 * resolve.c - getaddrinfo(3) in threads of its own.
 *
 *	resolve_ask() -> asked -> thread: getaddrinfo -> answered -> _fetch()
 *	                                       eventfd -> the loop
 *
 * An ask is allocated whole, with room for its answer, so that nothing can
 * fail behind the loop's back.  A thread that hangs in a name server can not
 * be stopped: what threads share is freed by whoever leaves last.
 *
 * Must not call into the loop, log, or read the clock.
 */
#include "resolve.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "address.h"

struct ask {
	STAILQ_ENTRY(ask) next;
	uint32_t port;
	struct resolve_answer answer;
	char host[ADDRESS_HOST_MAX + 1];
};

STAILQ_HEAD(asks, ask);

struct resolve {
	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t work;
	struct asks asked, answered;
	unsigned most;			/* threads that there may be */
	unsigned threads;		/* that there are */
	unsigned idle;			/* of them, not looking anything up */
	unsigned waiting;		/* asks in `asked` */
	bool closed;
	int fd;				/* eventfd: `answered` is not empty */
};

/* IPv4 first, then by number: every host of a fleet probes, and gives to its
 * clients, the same one of a server's addresses. */
static int
address_order(const void *a, const void *b)
{
	const struct mcshm_address *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->scope != y->scope)
		return x->scope < y->scope ? -1 : 1;
	return memcmp(x->ip, y->ip, sizeof x->ip);
}

/* Keep the MCSHM_ADDRESSES that sort first, each once. */
static void
answer_add(struct resolve_answer *r, const struct mcshm_address *one)
{
	uint32_t at = 0;

	while (at < r->n && address_order(&r->address[at], one) < 0)
		at++;
	if (at == MCSHM_ADDRESSES ||
	    (at < r->n && address_order(&r->address[at], one) == 0))
		return;
	if (r->n < MCSHM_ADDRESSES)
		r->n++;
	memmove(&r->address[at + 1], &r->address[at],
	    (r->n - at - 1) * sizeof *one);
	r->address[at] = *one;
}

static void
ask_look_up(struct ask *a)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = AI_ADDRCONFIG };
	struct addrinfo *list = NULL;

	a->answer.error = getaddrinfo(a->host, NULL, &hints, &list);
	if (a->answer.error != 0)
		return;
	for (const struct addrinfo *ai = list; ai != NULL; ai = ai->ai_next) {
		struct mcshm_address one;

		if (address_from_sockaddr(&one, ai->ai_addr, a->port))
			answer_add(&a->answer, &one);
	}
	freeaddrinfo(list);
	if (a->answer.n == 0)
		a->answer.error = EAI_NONAME;
}

static void
asks_free(struct asks *list)
{
	struct ask *a;

	while ((a = STAILQ_FIRST(list)) != NULL) {
		STAILQ_REMOVE_HEAD(list, next);
		free(a);
	}
}

static void
resolve_free(struct resolve *r)
{
	asks_free(&r->asked);
	asks_free(&r->answered);
	close(r->fd);
	pthread_cond_destroy(&r->work);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

/* With the lock held. */
static void
ask_answered(struct resolve *r, struct ask *a)
{
	const uint64_t one = 1;

	STAILQ_INSERT_TAIL(&r->answered, a, next);
	/* Can not fail: the counter never gets near its end. */
	if (write(r->fd, &one, sizeof one) < 0)
		assert(errno == EAGAIN);
}

static void *
resolve_thread(void *arg)
{
	struct resolve *r = arg;
	struct ask *a;
	bool last;

	pthread_mutex_lock(&r->lock);
	while (!r->closed) {
		if ((a = STAILQ_FIRST(&r->asked)) == NULL) {
			r->idle++;
			pthread_cond_wait(&r->work, &r->lock);
			r->idle--;
			continue;
		}
		STAILQ_REMOVE_HEAD(&r->asked, next);
		r->waiting--;
		pthread_mutex_unlock(&r->lock);
		ask_look_up(a);
		pthread_mutex_lock(&r->lock);
		ask_answered(r, a);
	}
	last = --r->threads == 0;
	pthread_mutex_unlock(&r->lock);
	if (last)
		resolve_free(r);
	return NULL;
}

int
resolve_open(struct resolve **out, unsigned threads)
{
	struct resolve *r = calloc(1, sizeof *r);
	int err;

	assert(threads > 0);
	if (r == NULL)
		return ENOMEM;
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->fd < 0) {
		err = errno;
		free(r);
		return err;
	}
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->work, NULL);
	STAILQ_INIT(&r->asked);
	STAILQ_INIT(&r->answered);
	r->most = threads;
	*out = r;
	return 0;
}

void
resolve_close(struct resolve *r)
{
	bool last;

	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->closed = true;
	last = r->threads == 0;
	pthread_cond_broadcast(&r->work);
	pthread_mutex_unlock(&r->lock);
	if (last)
		resolve_free(r);
}

int
resolve_fd(const struct resolve *r)
{
	return r->fd;
}

/* One more thread, deaf to signals: they are the loop's.  Lock held. */
static int
thread_start(struct resolve *r)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t id;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&id, &attr, resolve_thread, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (err == 0)
		r->threads++;
	return err;
}

int
resolve_ask(struct resolve *r, uint64_t cookie, const char *host, uint32_t port)
{
	struct ask *a = calloc(1, sizeof *a);
	const size_t len = strlen(host);
	bool taken;
	int err = 0;

	assert(len < sizeof a->host);
	if (a == NULL)
		return ENOMEM;
	a->answer.cookie = cookie;
	a->port = port;
	memcpy(a->host, host, len + 1);

	pthread_mutex_lock(&r->lock);
	if (r->waiting >= r->idle && r->threads < r->most)
		err = thread_start(r);
	taken = err == 0 || r->threads > 0;
	if (taken) {
		STAILQ_INSERT_TAIL(&r->asked, a, next);
		r->waiting++;
		pthread_cond_signal(&r->work);
	}
	pthread_mutex_unlock(&r->lock);
	if (!taken)
		free(a);
	return taken ? 0 : ENOMEM;
}

bool
resolve_fetch(struct resolve *r, struct resolve_answer *answer)
{
	struct ask *a;
	uint64_t count;

	pthread_mutex_lock(&r->lock);
	a = STAILQ_FIRST(&r->answered);
	if (a != NULL)
		STAILQ_REMOVE_HEAD(&r->answered, next);
	else if (read(r->fd, &count, sizeof count) < 0)
		assert(errno == EAGAIN);
	pthread_mutex_unlock(&r->lock);
	if (a == NULL)
		return false;
	*answer = a->answer;
	free(a);
	return true;
}
