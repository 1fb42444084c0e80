/*
 * resolve_cares.c - c-ares, in one thread, many names at a time.
 *
 * /etc/hosts first, then the name servers of resolv.conf.  The two address
 * families are asked for on their own, so that one which fails is not taken for
 * one without an address; and both under one full name, the first of the search
 * list that has an address of either, so that not two machines are taken for
 * one.  A resolv.conf that has changed makes a new channel, and what was under
 * way is asked again, on that.
 *
 * The thread and c-ares share nothing with the loop but the two queues.
 */
#include <ares.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "resolve_way.h"

#define SERVERS_FILE "/etc/resolv.conf"
#define HOSTS_FILE "/etc/hosts"
#define TIMEOUT_MS 2000			/* then the next server, or again */
#define TRIES 2				/* with each server */
#define LOOK_MS 1000			/* for other servers, while under way */
#define EVENTS 16
#define NAME_MAX_LEN 255		/* of DNS */

struct way {
	struct resolve *r;
	pthread_t thread;
	bool running;
	int wake;			/* eventfd: a question, or the end */
	int epoll;
	ares_channel files, dns;	/* NULL: not to be had */
	const char *without;		/* why */
	struct ares_options search;	/* of dns: domains and ndots */
	struct stat servers;		/* file that dns was made of */
	unsigned under_way;
};

/* One question: a full name after the other, of two parts each. */
struct lookup {
	struct way *way;
	struct ask *ask;
	int family;			/* AF_UNSPEC: both */
	int turn;			/* which name */
	unsigned parts;			/* under way, and one while it begins */
	int status[2];			/* of IPv4, IPv6 */
	int failed;			/* the worst status of all names */
	bool again;			/* its channel went */
};

/* A channel ---------------------------------------------------------------- */

static void
on_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	const struct way *way = arg;
	struct epoll_event e = { .data.fd = fd };

	if (readable)
		e.events |= EPOLLIN;
	if (writable)
		e.events |= EPOLLOUT;
	if (e.events == 0)
		epoll_ctl(way->epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(way->epoll, EPOLL_CTL_MOD, fd, &e) != 0)
		epoll_ctl(way->epoll, EPOLL_CTL_ADD, fd, &e);
}

/* A file of the system could not be read. */
static const char *
unreadable(const char *file, const char *why)
{
	const int fd = open(file, O_RDONLY | O_CLOEXEC);
	const int err = errno;

	if (fd >= 0)
		close(fd);
	else if (err == EMFILE || err == ENFILE)
		return "no file descriptors left";
	return why;
}

/* lookups: "f" for files, "b" for name servers.  NULL: way->without. */
static ares_channel
channel_new(struct way *way, char *lookups)
{
	struct ares_options o = { .timeout = TIMEOUT_MS, .tries = TRIES,
		.lookups = lookups, .sock_state_cb = on_socket,
		.sock_state_cb_data = way };
	ares_channel channel;
	const int status = ares_init_options(&channel, &o, ARES_OPT_TIMEOUTMS |
	    ARES_OPT_TRIES | ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);

	if (status == ARES_SUCCESS)
		return channel;
	way->without = status == ARES_EFILE ?
	    unreadable(SERVERS_FILE, SERVERS_FILE " can not be read") :
	    ares_strerror(status);
	return NULL;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
	    a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	    a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	    a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	    a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Of the servers that there are now; while they can not be had, the old. */
static void
channel_renew(struct way *way)
{
	struct stat now = { 0 };
	struct ares_options search = { 0 };
	ares_channel old = way->dns, dns;
	int mask, err;

	if (way->files == NULL)
		way->files = channel_new(way, (char[]){ "f" });
	if (stat(SERVERS_FILE, &now) != 0)
		now = (struct stat){ 0 };
	if (old != NULL && same_file(&now, &way->servers))
		return;
	dns = channel_new(way, (char[]){ "b" });
	if (dns == NULL)
		return;
	err = ares_save_options(dns, &search, &mask);
	if (err != ARES_SUCCESS) {
		way->without = ares_strerror(err);
		ares_destroy_options(&search);
		ares_destroy(dns);
		return;
	}
	ares_destroy_options(&way->search);
	way->search = search;
	way->dns = dns;
	way->servers = now;
	if (old != NULL)
		ares_destroy(old);
}

/* Full names --------------------------------------------------------------- */

static bool
is_dotted(const char *host, int ndots)
{
	for (; *host != '\0'; host++)
		if (*host == '.' && --ndots <= 0)
			return true;
	return ndots <= 0;
}

/* The domain of a name's n-th full name: "", as it is; NULL: there is none.  By
 * the rules of resolv.conf(5). */
static const char *
domain_of(const struct way *way, const char *host, int n)
{
	const struct ares_options *s = &way->search;
	const size_t len = strlen(host);
	const int first = is_dotted(host, s->ndots) ? 0 : s->ndomains;
	const char *domain;

	if (len > 0 && host[len - 1] == '.')
		return n == 0 ? "" : NULL;
	if (n == first)
		return "";
	if (n > s->ndomains)
		return NULL;
	domain = s->domains[n < first ? n : n - 1];
	return strcmp(domain, ".") == 0 ? "" : domain;
}

/* With a dot at its end: c-ares is not to search. */
static bool
full_name(char name[NAME_MAX_LEN + 2], const char *host, const char *domain)
{
	const size_t len = strlen(host), more = strlen(domain);
	const size_t dot = len > 0 && host[len - 1] == '.' ? 1 : 0;

	if (len - dot + (more != 0) + more > NAME_MAX_LEN)
		return false;
	memcpy(name, host, len - dot);
	name += len - dot;
	if (more != 0)
		*name++ = '.';
	memcpy(name, domain, more);
	name += more;
	if (more == 0 || name[-1] != '.')
		*name++ = '.';
	*name = '\0';
	return true;
}

/* A name ------------------------------------------------------------------- */

static void lookup_next(struct lookup *l);

static bool
is_none(int status)
{
	return status == ARES_ENODATA || status == ARES_ENOTFOUND;
}

/* The answer is good for as long as the shortest of its parts. */
static void
answer_ttl(struct resolve_answer *r, int ttl)
{
	if (ttl >= 0 && (uint32_t)ttl < r->ttl)
		r->ttl = (uint32_t)ttl;
}

static void
answer_take(struct ask *a, const struct ares_addrinfo *list, bool ttl)
{
	for (const struct ares_addrinfo_node *n = list->nodes; n != NULL;
	    n = n->ai_next) {
		answer_add(a, n->ai_addr);
		if (ttl)
			answer_ttl(&a->answer, n->ai_ttl);
	}
	for (const struct ares_addrinfo_cname *c = list->cnames;
	    ttl && c != NULL; c = c->next)
		answer_ttl(&a->answer, c->ttl);
}

/* Of which family is not known what there is. */
static uint32_t
family_unknown(const struct lookup *l)
{
	const uint32_t kind[] = { MCSHM_KIND_IPV4, MCSHM_KIND_IPV6 };

	for (int i = 0; i < 2; i++)
		if (l->status[i] != ARES_SUCCESS && !is_none(l->status[i]))
			return kind[i];
	return 0;
}

/* The ask is answered, or waits again. */
static void
lookup_end(struct lookup *l)
{
	struct way *way = l->way;
	struct ask *a = l->ask;
	struct resolve_answer *answer = &a->answer;
	const bool none = answer->n == 0;

	if (!none)
		answer->unknown = l->family != AF_UNSPEC ?
		    family_untold(l->family) : family_unknown(l);
	else if (!l->again)
		answer->error = ares_strerror(l->failed != ARES_SUCCESS ?
		    l->failed : ARES_ENODATA);
	if (none && l->again)
		a->dropped = 0;		/* all of it is asked again */
	answer_end(a);
	pthread_mutex_lock(&way->r->lock);
	if (none && l->again)
		ask_back(way->r, a);
	else
		ask_answered(way->r, a);
	pthread_mutex_unlock(&way->r->lock);
	way->under_way--;
	free(l);
}

/* There is nobody of this name: no such name, or none of both families. */
static bool
is_nobody(const struct lookup *l)
{
	return l->ask->answer.n == 0 && l->ask->dropped == 0 && !l->again &&
	    (l->status[0] == ARES_ENOTFOUND || l->status[1] == ARES_ENOTFOUND ||
	    family_unknown(l) == 0);
}

static void
lookup_part(struct lookup *l)
{
	if (--l->parts != 0)
		return;
	for (int i = 0; i < 2; i++)
		if (l->status[i] != ARES_SUCCESS && (is_none(l->failed) ||
		    l->failed == ARES_SUCCESS))
			l->failed = l->status[i];
	if (is_nobody(l))
		lookup_next(l);
	else
		lookup_end(l);
}

static void
lookup_answer(struct lookup *l, int part, int status,
    struct ares_addrinfo *list)
{
	l->status[part] = status;
	if (status == ARES_SUCCESS)
		answer_take(l->ask, list, true);
	l->again |= status == ARES_EDESTRUCTION;
	if (list != NULL)
		ares_freeaddrinfo(list);
	lookup_part(l);
}

static void
on_ipv4(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	(void)timeouts;
	lookup_answer(arg, 0, status, list);
}

static void
on_ipv6(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	(void)timeouts;
	lookup_answer(arg, 1, status, list);
}

static void
on_file(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	struct ask *a = arg;

	(void)timeouts;
	if (status == ARES_SUCCESS)
		answer_take(a, list, false);
	if (list != NULL)
		ares_freeaddrinfo(list);
}

/* Parts may end while it begins. */
static void
lookup_name(struct lookup *l, const char *name)
{
	static const int one[] = { AF_INET, AF_INET6 };
	const ares_addrinfo_callback on[] = { on_ipv4, on_ipv6 };

	l->parts = 1;
	l->status[0] = l->status[1] = ARES_SUCCESS;
	for (int i = 0; i < 2; i++) {
		const struct ares_addrinfo_hints hints = {
			.ai_family = one[i], .ai_flags = ARES_AI_NOSORT };

		if (l->family != AF_UNSPEC && l->family != one[i])
			continue;
		l->parts++;
		ares_getaddrinfo(l->way->dns, name, NULL, &hints, on[i], l);
	}
	lookup_part(l);
}

/* The next full name that there can be. */
static void
lookup_next(struct lookup *l)
{
	char name[NAME_MAX_LEN + 2];
	const char *domain;

	while ((domain = domain_of(l->way, l->ask->host, l->turn)) != NULL) {
		l->turn++;
		if (full_name(name, l->ask->host, domain)) {
			lookup_name(l, name);
			return;
		}
	}
	lookup_end(l);
}

static void
lookup_not(struct way *way, struct ask *a, const char *why)
{
	a->answer.error = why;
	pthread_mutex_lock(&way->r->lock);
	ask_answered(way->r, a);
	pthread_mutex_unlock(&way->r->lock);
}

/*
 * The file did not have the name: or could it not be read?  c-ares says the
 * same of both, so it is asked in another way.  NULL: the file has no such
 * name.  Where it has it now, nobody knows why it had not before.
 */
static const char *
file_failed(struct way *way, const char *host, int family)
{
	struct hostent *found = NULL;
	const int status = ares_gethostbyname_file(way->files, host, family,
	    &found);

	if (found != NULL)
		ares_free_hostent(found);
	if (status == ARES_SUCCESS)
		return HOSTS_FILE
		    " has changed, or could not be read for a moment";
	return is_none(status) ? NULL :
	    unreadable(HOSTS_FILE, HOSTS_FILE " can not be read");
}

/* What the file says is there at once. */
static void
lookup_start(struct way *way, struct ask *a)
{
	const struct ares_addrinfo_hints hints = {
		.ai_family = family_wanted(), .ai_flags = ARES_AI_NOSORT };
	const char *why = NULL;
	struct lookup *l;

	if (way->files == NULL || way->dns == NULL) {
		lookup_not(way, a, way->without);
		return;
	}
	ares_getaddrinfo(way->files, a->host, NULL, &hints, on_file, a);
	if (a->answer.n == 0 && a->dropped == 0)
		why = file_failed(way, a->host, hints.ai_family);
	if (why != NULL) {
		lookup_not(way, a, why);
		return;
	}
	l = calloc(1, sizeof *l);
	if (l == NULL) {
		lookup_not(way, a, ares_strerror(ARES_ENOMEM));
		return;
	}
	*l = (struct lookup){ .way = way, .ask = a,
		.family = hints.ai_family };
	way->under_way++;
	if (a->answer.n == 0 && a->dropped == 0)
		lookup_next(l);
	else
		lookup_end(l);
}

/* The thread --------------------------------------------------------------- */

/* The next question, if there is one and room for it; *closed: it is over. */
static struct ask *
way_next(struct way *way, bool *closed)
{
	struct resolve *r = way->r;
	struct ask *a = NULL;

	pthread_mutex_lock(&r->lock);
	*closed = r->closed;
	if (!r->closed && way->under_way < r->at_once)
		a = ask_next(r);
	pthread_mutex_unlock(&r->lock);
	return a;
}

static int
way_patience(const struct way *way)
{
	struct timeval most = { .tv_sec = LOOK_MS / 1000 }, t;
	const struct timeval *wait;

	if (way->under_way == 0)
		return -1;
	wait = ares_timeout(way->dns, &most, &t);
	return (int)(wait->tv_sec * 1000 + (wait->tv_usec + 999) / 1000);
}

static void
way_process(struct way *way, const struct epoll_event *e)
{
	const bool fails = (e->events & (EPOLLERR | EPOLLHUP)) != 0;
	const int fd = e->data.fd;
	uint64_t count;

	if (fd == way->wake) {
		if (read(fd, &count, sizeof count) < 0)
			return;		/* nothing: that is fine, too */
	} else if (way->dns != NULL) {
		ares_process_fd(way->dns,
		    fails || e->events & EPOLLIN ? fd : ARES_SOCKET_BAD,
		    e->events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	}
}

static void *
way_run(void *arg)
{
	struct way *way = arg;
	struct epoll_event e[EVENTS];
	struct ask *a;
	bool closed;
	int n;

	for (;;) {
		channel_renew(way);
		while ((a = way_next(way, &closed)) != NULL)
			lookup_start(way, a);
		if (closed)
			return NULL;
		n = epoll_wait(way->epoll, e, EVENTS, way_patience(way));
		for (int i = 0; i < n; i++)
			way_process(way, &e[i]);
		/* What has waited for too long. */
		if (way->dns != NULL)
			ares_process_fd(way->dns, ARES_SOCKET_BAD,
			    ARES_SOCKET_BAD);
	}
}

static void
way_free(struct way *way)
{
	if (way->files != NULL)
		ares_destroy(way->files);
	if (way->dns != NULL)
		ares_destroy(way->dns);
	ares_destroy_options(&way->search);
	if (way->wake >= 0)
		close(way->wake);
	if (way->epoll >= 0)
		close(way->epoll);
	ares_library_cleanup();
	free(way);
}

int
way_open(struct resolve *r)
{
	struct way *way = calloc(1, sizeof *way);
	struct epoll_event e = { .events = EPOLLIN };
	int err = 0;

	if (way == NULL || ares_library_init(ARES_LIB_INIT_ALL) != 0) {
		free(way);
		return ENOMEM;
	}
	way->r = r;
	way->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	way->epoll = epoll_create1(EPOLL_CLOEXEC);
	e.data.fd = way->wake;
	if (way->wake < 0 || way->epoll < 0 || epoll_ctl(way->epoll,
	    EPOLL_CTL_ADD, way->wake, &e) != 0)
		err = errno;
	if (err != 0) {
		way_free(way);
		return err;
	}
	r->way = way;
	return 0;
}

int
way_wake(struct resolve *r)
{
	struct way *way = r->way;
	const uint64_t one = 1;
	int err;

	if (!way->running) {
		err = way_thread(&way->thread, false, way_run, way);
		if (err != 0)
			return err;
		way->running = true;
	}
	return write(way->wake, &one, sizeof one) < 0 ? errno : 0;
}

void
way_close(struct resolve *r)
{
	struct way *way = r->way;
	const uint64_t one = 1;

	/* The thread never waits for long but for this. */
	if (way->running && write(way->wake, &one, sizeof one) < 0)
		way->running = errno == EAGAIN;
	pthread_mutex_unlock(&r->lock);
	if (way->running)
		pthread_join(way->thread, NULL);
	way_free(way);
	resolve_free(r);
}
