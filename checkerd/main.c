/*
 * main.c - options, signals, order of start and stop, exit codes.
 *
 * The only unit that exits, and the only one that sees a struct conf: the
 * checker gets the few values that it needs.
 */
#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "checker.h"
#include "conf.h"
#include "log.h"
#include "notify.h"
#include "tls.h"

#define CONFIG SYSCONFDIR "/mc-checkerd/mc-checkerd.ini"
#define DESCRIPTORS_BESIDE 64		/* those of probes and scans */

static const char usage[] =
    "usage: mc-checkerd [-c FILE] [-v]\n"
    "       mc-checkerd -t | -T [-c FILE]\n"
    "\n"
    "Probes memcached servers and publishes which of them are alive, in one\n"
    "file for each pool.  Runs in the foreground; SIGHUP reloads.\n"
    "\n"
    "  -c, --config FILE    the configuration (" CONFIG ")\n"
    "  -t, --check-config   check it and exit: 0 good, 78 not\n"
    "  -T, --dump-config    check it, print all effective values and exit\n"
    "  -v, --verbose        say more: debug lines\n"
    "  -h, --help           this text\n"
    "      --version        the version\n"
    "\n"
    "mc-checkerd(8), mc-checkerd.ini(5)\n";

enum mode { MODE_RUN, MODE_CHECK, MODE_DUMP };

struct options {
	const char *config;
	enum mode mode;
	bool verbose;
};

struct daemon {
	const char *config;
	struct notify notify;
	struct ev_loop *loop;
	struct checker *checker;
	ev_signal hup, term, interrupt;
};

static void __attribute__((noreturn))
wrong_usage(void)
{
	fprintf(stderr, "Try 'mc-checkerd --help'.\n");
	exit(EX_USAGE);
}

static void __attribute__((noreturn))
print_and_exit(const char *text)
{
	fputs(text, stdout);
	exit(fflush(stdout) == 0 ? EX_OK : EX_IOERR);
}

static void
option_mode(struct options *o, enum mode mode)
{
	if (o->mode != MODE_RUN && o->mode != mode) {
		fprintf(stderr, "mc-checkerd: -t and -T do not go together; "
		    "-T checks, too.\n");
		wrong_usage();
	}
	o->mode = mode;
}

static struct options
options_parse(int argc, char **argv)
{
	enum { VERS = 256 };
	static const struct option names[] = {
		{ "config", required_argument, NULL, 'c' },
		{ "check-config", no_argument, NULL, 't' },
		{ "dump-config", no_argument, NULL, 'T' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, VERS },
		{ NULL, 0, NULL, 0 } };
	struct options o = { .config = CONFIG };
	int c;

	while ((c = getopt_long(argc, argv, "c:tTvh", names, NULL)) != -1) {
		if (c == 'c')
			o.config = optarg;
		else if (c == 't' || c == 'T')
			option_mode(&o, c == 't' ? MODE_CHECK : MODE_DUMP);
		else if (c == 'v')
			o.verbose = true;
		else if (c == 'h')
			print_and_exit(usage);
		else if (c == VERS)
			print_and_exit("mc-checkerd " VERSION "\n");
		else
			wrong_usage();
	}
	if (optind < argc) {
		fprintf(stderr, "mc-checkerd: what is '%s'? It takes options "
		    "only.\n", argv[optind]);
		wrong_usage();
	}
	return o;
}

/* The ini ------------------------------------------------------------------ */

static struct tls_setup
tls_setup(const struct conf_pool *p)
{
	return (struct tls_setup){ .verify = p->tls_verify,
		.ca = p->tls_ca[0] != '\0' ? p->tls_ca : NULL,
		.cert = p->tls_cert[0] != '\0' ? p->tls_cert : NULL,
		.key = p->tls_key[0] != '\0' ? p->tls_key : NULL };
}

/* "tls_cert = PATH ended at 2026-11-23 06:00 UTC; put a new one there" */
static bool
cert_refuse(char why[CONF_WHY], const char *path, const char *what,
    uint64_t when)
{
	const time_t real = (time_t)when;
	char date[40] = "another time";
	struct tm tm;

	if (gmtime_r(&real, &tm) != NULL)
		strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &tm);
	snprintf(why, CONF_WHY, "tls_cert = %s %s %s; put a new one there",
	    path, what, date);
	return false;
}

/*
 * Servers that look at our certificate would refuse us for one that has ended.
 * One that is not good yet is a warning only: a host's clock may be behind when
 * it starts, and nobody would start us again.
 */
static bool
cert_look(const char *path, struct tls_span good, bool soon, char why[CONF_WHY])
{
	const uint64_t now = checker_today();

	if (!soon && now >= good.until)
		return cert_refuse(why, path, "ended at", good.until);
	if (soon && now < good.from)
		return cert_refuse(why, path, "is not good before", good.from);
	if (soon && now + TLS_ENDS_SOON > good.until)
		return cert_refuse(why, path, "ends at", good.until);
	return true;
}

/* What an ini names for TLS is looked at while it is read: one thing at a
 * time, so that all are told. */
static bool
tls_look(const struct conf_pool *p, enum conf_tls what, char why[CONF_WHY])
{
	const struct tls_setup all = tls_setup(p);
	const bool pair = what == CONF_TLS_PAIR, soon = what == CONF_TLS_SOON;
	const struct tls_setup one = { .verify = all.verify, .look = true,
		.ca = what == CONF_TLS_CA ? all.ca : NULL,
		.cert = pair || soon || what == CONF_TLS_CERT ? all.cert : NULL,
		.key = pair || what == CONF_TLS_KEY ? all.key : NULL };
	struct tls *tls;
	bool good;

	static_assert(TLS_WHY <= CONF_WHY, "it has room");
	good = tls_open(&tls, &one, why) == 0;
	if (good && one.cert != NULL && !pair)
		good = cert_look(one.cert, tls_span(tls), soon, why);
	tls_close(tls);
	return good;
}

/* The log says itself which of them are warnings. */
static void
log_warning_line(char *line)
{
	static const char word[] = ": warning: ";
	char *at = strstr(line, word);

	if (at == NULL)
		log_warning("%s", line);
	else
		log_warning("%.*s: %s", (int)(at - line), line,
		    at + sizeof word - 1);
}

static void
log_lines(char *text, bool wrong)
{
	char *rest = text;

	for (char *line; (line = strsep(&rest, "\n")) != NULL; ) {
		if (line[0] == '\0')
			continue;
		if (wrong)
			log_err("%s", line);
		else
			log_warning_line(line);
	}
}

/* As conf_load(), but errors and warnings go to the log. */
static unsigned
load_logged(struct conf *conf, const char *path)
{
	char *text = NULL;
	size_t len = 0;
	FILE *errors = open_memstream(&text, &len);
	const unsigned wrong = conf_load(conf, path, tls_look, errors);

	if (errors != NULL)
		fclose(errors);
	if (text != NULL)
		log_lines(text, wrong != 0);
	free(text);
	return wrong;
}

static unsigned long
conf_servers(const struct conf *conf)
{
	unsigned long n = 0;

	for (uint32_t i = 0; i < conf->pools; i++)
		n += conf->pool[i].servers.n;
	return n;
}

/* "2 pools, 120 servers" */
static const char *
conf_size(char text[64], const struct conf *conf)
{
	const unsigned long servers = conf_servers(conf);

	snprintf(text, 64, "%" PRIu32 " pool%s, %lu server%s", conf->pools,
	    conf->pools == 1 ? "" : "s", servers, servers == 1 ? "" : "s");
	return text;
}

/* From the ini to the engine --------------------------------------------- */

/* The faults that have this policy. */
static uint64_t
faults_of(const struct conf_pool *p, enum conf_policy policy)
{
	const struct { uint64_t bit; uint32_t policy; } of[] = {
		{ MCSHM_DEGRADED_WORKER_STUCK, p->on_worker_stuck },
		{ MCSHM_DEGRADED_LISTENER_STUCK, p->on_listener_stuck },
		{ MCSHM_DEGRADED_CLOCK_STUCK, p->on_clock_stuck },
		{ MCSHM_DEGRADED_MAXCONNS, p->on_maxconns },
		{ MCSHM_DEGRADED_NO_MEMORY, p->on_no_memory },
		{ MCSHM_DEGRADED_SLOW, p->on_slow } };
	uint64_t bits = 0;

	for (size_t i = 0; i < sizeof of / sizeof of[0]; i++)
		if (of[i].policy == (uint32_t)policy)
			bits |= of[i].bit;
	return bits;
}

static int
show_config(const struct conf *conf, enum mode mode)
{
	char size[64];

	if (mode == MODE_DUMP)
		conf_dump(conf, stdout);
	else
		printf("%s: ok, %s\n", conf->path, conf_size(size, conf));
	return fflush(stdout) == 0 && !ferror(stdout) ? EX_OK : EX_IOERR;
}

static enum checker_probe
probe_kind(const struct conf_pool *p)
{
	switch ((enum conf_probe)p->probe) {
	case CONF_PROBE_VERSION:
		break;
	case CONF_PROBE_MN:
		return CHECKER_PROBE_MN;
	case CONF_PROBE_STATS:
		return CHECKER_PROBE_STATS;
	case CONF_PROBE_SET:
		return CHECKER_PROBE_SET;
	case CONF_PROBE_TCP:
		return CHECKER_PROBE_TCP;
	}
	return CHECKER_PROBE_VERSION;
}

static struct checker_asking
asking_setup(const struct conf_pool *from)
{
	return (struct checker_asking){ .probe = probe_kind(from),
		.canary_size = from->canary_size,
		.fresh_every = from->fresh_every,
		.user = from->user, .password = from->password,
		.expect_version = from->expect_version,
		.maintenance_key = from->maintenance_key,
		.source = { from->source[0], from->source[1] },
		.tls = from->tls, .files = tls_setup(from),
		.tls_name = from->tls_name };
}

static struct checker_pool
pool_setup(const struct conf *conf, const struct conf_pool *from)
{
	struct checker_pool p = {
		.path = from->file,
		.roster = { .servers = from->servers, .set = from->set,
		    .map = from->map, .maps = from->maps,
		    .dead = from->dead, .failover_ttl = from->failover_ttl,
		    .stale_after = conf->stale_after },
		.verdict = { .rise = (uint8_t)from->rise,
		    .fall = (uint8_t)from->fall,
		    .ratio_bad = (uint8_t)from->ratio_bad,
		    .ratio_of = (uint8_t)from->ratio_of,
		    .hold_after = from->hold_after,
		    .rehash_after = from->rehash_after,
		    .min_down_time = from->min_down_time,
		    .recovery = from->on_recovery == CONF_RECOVERY_FLUSH ?
			RECOVERY_MOST : 0,
		    .flap_hold = from->flap_hold,
		    .flap_hold_max = from->flap_hold_max,
		    .flap_window = from->flap_window },
		.schedule = { .interval = from->interval,
		    .fast_interval = from->fast_interval,
		    .down_interval = from->down_interval,
		    .down_interval_max = from->down_interval_max,
		    .jitter = from->jitter },
		.failopen = { .percent = from->max_down_percent,
		    .max = from->fail_open_max },
		.returns = { .flush =
			from->on_recovery == CONF_RECOVERY_FLUSH,
		    .shared = from->flush_shared,
		    .stay = from->flush_refused == CONF_REFUSED_STAY,
		    .percent = from->flush_percent },
		.awareness = from->awareness,
		.asking = asking_setup(from),
		.faults = { .stats_interval = from->stats_interval,
		    .scan_interval = from->thread_scan_interval,
		    .slow_threshold = from->slow_threshold,
		    .connects = from->probe == CONF_PROBE_TCP,
		    .canary = from->probe == CONF_PROBE_SET,
		    .ignored = faults_of(from, CONF_IGNORE),
		    .down = faults_of(from, CONF_DOWN) },
		.timeout = from->timeout,
		.connect_timeout = from->connect_timeout,
	};

	memcpy(p.roster.pool, from->name, sizeof p.roster.pool);
	return p;
}

static enum checker_log
log_probes(const struct conf *conf)
{
	switch ((enum conf_log_probes)conf->log_probes) {
	case CONF_LOG_NONE:
		return CHECKER_LOG_NONE;
	case CONF_LOG_FAILURES:
		return CHECKER_LOG_FAILURES;
	case CONF_LOG_ALL:
		return CHECKER_LOG_ALL;
	}
	return CHECKER_LOG_NONE;
}

/* For people who look at a file and ask where it comes from. */
static struct publish_about
about_us(const struct conf *conf)
{
	struct publish_about about = { .version = VERSION };
	char full[PATH_MAX], host[HOST_NAME_MAX + 1];

	if (gethostname(host, sizeof host) == 0)
		snprintf(about.host, sizeof about.host, "%.63s", host);
	snprintf(about.config, sizeof about.config, "%.255s",
	    realpath(conf->path, full) != NULL ? full : conf->path);
	return about;
}

/* One for each server, and one for each new connection beside a kept one: if
 * all of them hang, a probe takes as long as some intervals. */
static rlim_t
descriptors(const struct conf *conf)
{
	rlim_t n = 4ul * conf->pools + DESCRIPTORS_BESIDE + CHECKER_SCANNED;

	for (uint32_t i = 0; i < conf->pools; i++) {
		const struct conf_pool *p = &conf->pool[i];
		const rlim_t servers = p->servers.n;
		const rlim_t beside = p->fresh_every == 0 ? 0 :
		    (3 * servers + p->fresh_every - 1) / p->fresh_every;

		n += servers + (beside < servers ? beside : servers);
	}
	return n;
}

/* As many as we are allowed. */
static void
raise_descriptors(const struct conf *conf)
{
	const rlim_t want = descriptors(conf);
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			getrlimit(RLIMIT_NOFILE, &limit);
	}
	if (limit.rlim_cur < want)
		log_warning("too few file descriptors, some servers may not "
		    "be probed; raise LimitNOFILE: allowed=%llu wanted=%llu",
		    (unsigned long long)limit.rlim_cur,
		    (unsigned long long)want);
}

/* Open the checker, or let it go on with another configuration.  0 or an exit
 * code. */
static int
daemon_apply(struct daemon *d, const struct conf *conf)
{
	struct checker_pool *pool = calloc((size_t)conf->pools + 1,
	    sizeof *pool);
	struct checker_setup s = { .pool = pool, .pools = conf->pools,
		.directory = conf->directory, .reports = conf->reports,
		.heartbeat = conf->heartbeat,
		.tilt = { .after = conf->tilt_after,
		    .lasts = conf->tilt_for },
		.log_probes = log_probes(conf), .about = about_us(conf) };
	int code;

	if (pool == NULL) {
		log_err("cannot take the configuration: %s", strerror(ENOMEM));
		return EX_OSERR;
	}
	for (uint32_t i = 0; i < conf->pools; i++)
		pool[i] = pool_setup(conf, &conf->pool[i]);
	raise_descriptors(conf);
	if (d->checker == NULL)
		code = checker_open(&d->checker, d->loop, &s, &d->notify);
	else
		code = checker_reload(d->checker, &s) ? EX_OK : EX_OSERR;
	free(pool);
	return code;
}

/* The ini as it was read is of no more use; nor is the memory that it took to
 * get from there to the files.  With thousands of servers that is as much as
 * stays. */
static void
daemon_forget(struct conf *conf)
{
	conf_free(conf);
	malloc_trim(0);
}

/* Signals ------------------------------------------------------------------ */

static void
daemon_reload(struct daemon *d)
{
	struct conf conf;
	char size[64];
	const unsigned wrong = load_logged(&conf, d->config);

	if (wrong != 0) {
		log_err("reload refused: %u error%s, the old configuration "
		    "stays", wrong, wrong == 1 ? "" : "s");
		checker_reload_refused(d->checker);
		return;
	}
	if (daemon_apply(d, &conf) == 0)
		log_notice("reloaded: %s config=%s", conf_size(size, &conf),
		    conf.path);
	daemon_forget(&conf);
}

static void
on_hup(struct ev_loop *loop, ev_signal *w, int events)
{
	(void)loop;
	(void)events;
	daemon_reload(w->data);
}

static void
on_end(struct ev_loop *loop, ev_signal *w, int events)
{
	(void)events;
	log_notice("ends: signal=%s", w->signum == SIGTERM ? "TERM" : "INT");
	ev_break(loop, EVBREAK_ALL);
}

/* SIG_BLOCK: a hangup waits.  It shall not end a daemon that is still reading
 * its ini, nor be lost.  SIG_UNBLOCK: now it is welcome. */
static void
hangup_mask(int how)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(how, &set, NULL);
}

/* To other daemons some of them mean "reopen your log" or the like: one that
 * comes by mistake kills nobody. */
static void
signals_ignore(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGALRM, SIG_IGN);
}

/* Before anything that takes its time: a signal that comes early is served
 * when the loop runs, and kills nobody. */
static void
signals_start(struct daemon *d)
{
	ev_signal_init(&d->hup, on_hup, SIGHUP);
	ev_signal_init(&d->term, on_end, SIGTERM);
	ev_signal_init(&d->interrupt, on_end, SIGINT);
	d->hup.data = d;
	ev_signal_start(d->loop, &d->hup);
	ev_signal_start(d->loop, &d->term);
	ev_signal_start(d->loop, &d->interrupt);
	hangup_mask(SIG_UNBLOCK);
}

static int
daemon_run(struct daemon *d, struct conf *conf)
{
	char size[64];
	int code;

	d->loop = ev_default_loop(EVFLAG_NOENV);
	if (d->loop == NULL) {
		log_err("cannot make an event loop: %s", strerror(errno));
		return EX_OSERR;
	}
	signals_start(d);
	code = notify_open(&d->notify);
	if (code != 0)
		log_warning("cannot tell the supervisor anything: "
		    "$NOTIFY_SOCKET: %s", strerror(code));
	code = daemon_apply(d, conf);
	if (code == 0) {
		log_notice("mc-checkerd " VERSION " checks %s config=%s",
		    conf_size(size, conf), conf->path);
		daemon_forget(conf);
		ev_run(d->loop, 0);
		checker_close(d->checker);
	}
	notify_close(&d->notify);
	ev_loop_destroy(d->loop);
	return code;
}

int
main(int argc, char **argv)
{
	const struct options o = options_parse(argc, argv);
	const bool journal = log_stderr_is_journal();
	struct daemon d = { .config = o.config };
	struct conf conf;
	unsigned wrong;
	int code;

	log_open(o.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, journal);
	if (o.mode == MODE_RUN) {
		hangup_mask(SIG_BLOCK);
		signals_ignore();
	}
	/* To people the lines say enough as they are. */
	wrong = journal ? load_logged(&conf, o.config) :
	    conf_load(&conf, o.config, tls_look, stderr);
	if (wrong != 0)
		return EX_CONFIG;
	if (o.mode == MODE_RUN)
		code = daemon_run(&d, &conf);
	else
		code = show_config(&conf, o.mode);
	conf_free(&conf);
	return code;
}
