/*
 * resolve.c - questions that wait, and answers that are fetched.
 *
 * How a question becomes an answer is the way's (resolve_way.h).  Must not
 * call into the loop, log, or read the clock.
 */
#include "resolve.h"

#include <assert.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "resolve_way.h"

/* IPv4 first, then by number: every host of a fleet begins with the same one of
 * a server's addresses. */
static int
address_order(const struct mcshm_address *x, const struct mcshm_address *y)
{
	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->scope != y->scope)
		return x->scope < y->scope ? -1 : 1;
	return memcmp(x->ip, y->ip, sizeof x->ip);
}

/* 0.0.0.0 leads to this host, whoever is meant; nobody alone has a broadcast or
 * multicast address. */
static bool
is_host_ipv4(const uint8_t ip[4])
{
	static const uint8_t none[4], all[4] = { 255, 255, 255, 255 };

	return memcmp(ip, none, 4) != 0 && memcmp(ip, all, 4) != 0 &&
	    (ip[0] & 0xf0) != 0xe0;
}

static bool
is_host(const struct mcshm_address *one)
{
	static const uint8_t none[16], mapped[12] = { [10] = 0xff, 0xff };

	if (one->kind == MCSHM_KIND_IPV4)
		return is_host_ipv4(one->ip);
	if (memcmp(one->ip, mapped, sizeof mapped) == 0)
		return is_host_ipv4(one->ip + sizeof mapped);
	return memcmp(one->ip, none, sizeof none) != 0 && one->ip[0] != 0xff;
}

void
answer_add(struct ask *a, const struct sockaddr *sa)
{
	struct resolve_answer *r = &a->answer;
	struct mcshm_address one;
	uint32_t at = 0;

	if (!address_from_sockaddr(&one, sa, a->port))
		return;
	if (!is_host(&one)) {
		a->dropped = one.kind;
		return;
	}
	while (at < r->n && address_order(&r->address[at], &one) < 0)
		at++;
	if (at == RESOLVE_ADDRESSES ||
	    (at < r->n && address_order(&r->address[at], &one) == 0))
		return;
	if (r->n < RESOLVE_ADDRESSES)
		r->n++;
	memmove(&r->address[at + 1], &r->address[at],
	    (r->n - at - 1) * sizeof one);
	r->address[at] = one;
}

static bool
answer_has_kind(const struct resolve_answer *r, uint32_t kind)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (r->address[i].kind == kind)
			return true;
	return false;
}

void
answer_end(struct ask *a)
{
	struct resolve_answer *r = &a->answer;

	if (a->dropped == 0)
		return;
	if (r->n == 0)
		r->error = "no address of a server, but 0.0.0.0, ::, or one "
		    "of broadcast or multicast";
	else if (r->unknown == 0 && !answer_has_kind(r, a->dropped))
		r->unknown = a->dropped;
}

int
family_wanted(void)
{
	struct ifaddrs *list;
	bool v4 = false, v6 = false;

	if (getifaddrs(&list) != 0)
		return AF_UNSPEC;
	for (const struct ifaddrs *i = list; i != NULL; i = i->ifa_next) {
		if (i->ifa_addr == NULL || (i->ifa_flags & IFF_LOOPBACK) != 0)
			continue;
		v4 |= i->ifa_addr->sa_family == AF_INET;
		v6 |= i->ifa_addr->sa_family == AF_INET6;
	}
	freeifaddrs(list);
	if (v4 == v6)
		return AF_UNSPEC;
	return v4 ? AF_INET : AF_INET6;
}

uint32_t
family_untold(int wanted)
{
	return wanted == AF_INET ? MCSHM_KIND_IPV6 :
	    wanted == AF_INET6 ? MCSHM_KIND_IPV4 : 0;
}

struct ask *
ask_next(struct resolve *r)
{
	struct ask *a = STAILQ_FIRST(&r->asked);

	if (a == NULL)
		return NULL;
	STAILQ_REMOVE_HEAD(&r->asked, next);
	r->waiting--;
	return a;
}

void
ask_back(struct resolve *r, struct ask *a)
{
	STAILQ_INSERT_HEAD(&r->asked, a, next);
	r->waiting++;
}

void
ask_answered(struct resolve *r, struct ask *a)
{
	const uint64_t one = 1;

	STAILQ_INSERT_TAIL(&r->answered, a, next);
	/* Can not fail: the counter never gets near its end. */
	if (write(r->fd, &one, sizeof one) < 0)
		assert(errno == EAGAIN);
}

int
way_thread(pthread_t *id, bool detached, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	if (detached)
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(id, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return err;
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

void
resolve_free(struct resolve *r)
{
	asks_free(&r->asked);
	asks_free(&r->answered);
	close(r->fd);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

int
resolve_open(struct resolve **out, unsigned at_once)
{
	struct resolve *r = calloc(1, sizeof *r);
	int err;

	assert(at_once > 0);
	if (r == NULL)
		return ENOMEM;
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->fd < 0) {
		err = errno;
		free(r);
		return err;
	}
	pthread_mutex_init(&r->lock, NULL);
	STAILQ_INIT(&r->asked);
	STAILQ_INIT(&r->answered);
	r->at_once = at_once;
	err = way_open(r);
	if (err != 0) {
		resolve_free(r);
		return err;
	}
	*out = r;
	return 0;
}

void
resolve_close(struct resolve *r)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->closed = true;
	way_close(r);
}

int
resolve_fd(const struct resolve *r)
{
	return r->fd;
}

int
resolve_ask(struct resolve *r, uint64_t cookie, const char *host, uint32_t port)
{
	struct ask *a = calloc(1, sizeof *a);
	const size_t len = strlen(host);
	int err;

	assert(len < sizeof a->host);
	if (a == NULL)
		return ENOMEM;
	a->answer.cookie = cookie;
	a->answer.ttl = RESOLVE_NO_TTL;
	a->port = port;
	memcpy(a->host, host, len + 1);

	pthread_mutex_lock(&r->lock);
	err = way_wake(r);
	if (err == 0) {
		STAILQ_INSERT_TAIL(&r->asked, a, next);
		r->waiting++;
	}
	pthread_mutex_unlock(&r->lock);
	if (err != 0)
		free(a);
	return err != 0 ? ENOMEM : 0;
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
