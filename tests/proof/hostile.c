/*
 * hostile.c - proof_hostile: files that are damaged, or made to do harm, in
 * front of the library, mc-shmdump and the daemon.
 *
 *	proof_hostile --reduced|--quick|--full [SHMDUMP [FAMILY...]]
 *
 * SHMDUMP is the path of that program; "-": its units only.  Each family of
 * cases runs in a process of its own, two at a time, in a directory of its own.
 * A crash, a hang, a wrong answer: the case is named, and the exit code is 1.
 */
#include "hostile_family.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "hostile.h"

static const struct family {
	const char *name;
	void (*run)(const struct hostile_plan *p);
	bool in_memory;		/* syncs at every turn */
} families[] = {
	{ "truncated", family_truncated, false },
	{ "flipped", family_flipped, false },
	{ "fields", family_fields, false },
	{ "words", family_words, false },
	{ "versions", family_versions, false },
	{ "texts", family_texts, false },
	{ "large", family_large, false },
	{ "last", family_last, false },
	{ "attach", family_attach, true },
	{ "nodes", family_nodes, false },
	{ "owners", family_owners, false },
	{ "live", family_live, false },
	{ "shrinking", family_shrinking, false },
};
#define FAMILIES (sizeof families / sizeof *families)

/* What a child leaves behind, however it ends. */
struct legacy {
	char text[HOSTILE_TEXT];
	uint64_t cases;
	bool done;
};

struct run {
	struct hostile_plan plan;
	char top[2][64];		/* on the disk, in memory */
	struct legacy *legacy;		/* one a family */
	pid_t pid[FAMILIES];
	unsigned running, failed;
	uint64_t cases;
};

/* Somebody wants an end: wait4() comes back. */
static void
interrupt(int signal)
{
	(void)signal;
}

static void
on_signal(void (*handler)(int))
{
	const struct sigaction act = { .sa_handler = handler };

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
}

static void
start(struct run *r, size_t i)
{
	struct hostile_plan plan = r->plan;
	char dir[128];

	snprintf(dir, sizeof dir, "%s/%s", r->top[families[i].in_memory],
	    families[i].name);
	plan.dir = dir;
	snprintf(plan.path, sizeof plan.path, "%s/web.mcshm", dir);
	if (mkdir(dir, 0755) != 0) {
		perror(dir);
		exit(1);
	}
	fflush(NULL);
	r->pid[i] = fork();
	if (r->pid[i] == 0) {
		on_signal(SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		hostile_watch(r->legacy[i].text, &r->legacy[i].cases);
		families[i].run(&plan);
		r->legacy[i].done = true;
		exit(0);
	}
	r->running += r->pid[i] != -1;
}

static void
ended(struct run *r, size_t i, int status, const struct rusage *use)
{
	const struct legacy *l = &r->legacy[i];
	const bool ok = status == 0 && l->done;

	printf("%-10s %8llu cases %5ld s of processor%s", families[i].name,
	    (unsigned long long)l->cases,
	    (long)(use->ru_utime.tv_sec + use->ru_stime.tv_sec),
	    ok ? "\n" : ", FAILED in: ");
	if (!ok && WIFSIGNALED(status))
		printf("%s: %s\n", l->text, strsignal(WTERMSIG(status)));
	else if (!ok)
		printf("%s: exit code %d\n", l->text, WEXITSTATUS(status));
	fflush(stdout);
	r->cases += l->cases;
	r->failed += !ok;
}

static bool
reap(struct run *r)
{
	struct rusage use;
	int status;
	const pid_t pid = wait4(-1, &status, 0, &use);

	for (size_t i = 0; i < FAMILIES; i++)
		if (r->pid[i] == pid) {
			r->running--;
			r->pid[i] = 0;
			ended(r, i, status, &use);
		}
	return pid != -1;
}

static bool
wanted(const char *name, char **list)
{
	if (*list == NULL)
		return true;
	for (; *list != NULL; list++)
		if (strcmp(*list, name) == 0)
			return true;
	return false;
}

static void
end_all(struct run *r)
{
	for (size_t i = 0; i < FAMILIES; i++)
		if (r->pid[i] > 0)
			kill(r->pid[i], SIGKILL);
	while (wait(NULL) != -1 || errno == EINTR)
		;
	r->running = 0;
	r->failed++;
	printf("hostile: interrupted\n");
}

static int
usage(void)
{
	fprintf(stderr, "usage: proof_hostile --reduced|--quick|--full "
	    "[SHMDUMP|- [FAMILY...]]\n");
	return 64;
}

static void
remove_all(const char *top)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf '%s'", top);
	if (system(command) != 0)
		fprintf(stderr, "hostile: %s is left\n", top);
}

int
main(int argc, char **argv)
{
	struct run r = { .top = { "/tmp/proof_hostile.XXXXXX",
		"/dev/shm/proof_hostile.XXXXXX" } };
	static char *all[] = { NULL };
	bool good = true;
	char **list = argc > 3 ? argv + 3 : all;

	if (argc < 2)
		return usage();
	if (strcmp(argv[1], "--full") == 0)
		r.plan.depth = DEPTH_FULL;
	else if (strcmp(argv[1], "--quick") == 0)
		r.plan.depth = DEPTH_QUICK;
	else if (strcmp(argv[1], "--reduced") != 0)
		return usage();
	r.plan.shmdump = argc > 2 && strcmp(argv[2], "-") != 0 ? argv[2] : NULL;
	r.legacy = mmap(NULL, FAMILIES * sizeof *r.legacy,
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned i = 0; i < 2; i++)
		if (r.legacy == MAP_FAILED || mkdtemp(r.top[i]) == NULL ||
		    chmod(r.top[i], 0755) != 0) {
			perror(r.top[i]);
			return 1;
		}
	on_signal(interrupt);
	for (size_t i = 0; i < FAMILIES && good; i++)
		if (wanted(families[i].name, list)) {
			if (r.running == 2)
				good = reap(&r);
			if (good)
				start(&r, i);
		}
	while (r.running > 0 && good)
		good = reap(&r);
	if (!good)
		end_all(&r);
	for (unsigned i = 0; i < 2; i++)
		remove_all(r.top[i]);
	if (r.failed > 0)
		printf("hostile: %u families failed\n", r.failed);
	else
		printf("hostile: ok, %llu cases\n",
		    (unsigned long long)r.cases);
	return r.failed > 0;
}
