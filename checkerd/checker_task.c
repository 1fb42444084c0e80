/*
 * checker_task.c - one server: what the next probe is to ask, and where; is it
 * the server that was meant?
 *
 * Must not make the probe.
 */
#include "checker_engine.h"

#include <fnmatch.h>
#include <string.h>

/* The source address of its family, if there is one. */
static void
task_from(struct probe_task *task, const struct asking_words *w)
{
	for (int i = 0; i < 2; i++) {
		if (w->from_len[i] == 0 ||
		    w->from[i].ss_family != task->to.ss_family)
			continue;
		task->from = (const struct sockaddr *)&w->from[i];
		task->from_len = w->from_len[i];
	}
}

static bool
task_to(struct watch *w, const struct mcshm_address *to,
    struct probe_task *task)
{
	const struct pool *p = w->pool;

	*task = (struct probe_task){ .tls = w->peer,
		.connect_timeout = p->connect_timeout, .timeout = p->timeout,
		.terms = &p->asking->terms, .plain = &p->asking->plain };
	/* It may have been renewed: what a session says of it is old. */
	if (w->peer != NULL && fault_tls_ends(w))
		tls_peer_anew(w->peer);
	task->len = address_sockaddr(&task->to, to,
	    watch_server(w)->address.host);
	task_from(task, &p->asking->words);
	return task->len != 0;
}

/* Somebody else may live there: nothing is stored, and no key asked for. */
bool
task_try(struct watch *w, const struct mcshm_address *to,
    struct probe_task *task)
{
	if (!task_to(w, to, task))
		return false;
	task->asks = w->pool->asking->words.asks & (MCPROTO_ASK_VERSION |
	    MCPROTO_ASK_MN | MCPROTO_ASK_STATS);
	return true;
}

bool
task_is_expected(const struct pool *p, const struct mcproto_told *told)
{
	return told->version[0] == '\0' || p->expect_version[0] == '\0' ||
	    fnmatch(p->expect_version, told->version, 0) == 0;
}

/* By count, and not for all servers at once. */
static bool
fresh_due(struct watch *w)
{
	const struct pool *p = w->pool;
	char label[272];

	if (p->fresh_every == 0)
		return false;
	/* Not yet, or of a setup that had more of them. */
	if (w->fresh_in == 0 || w->fresh_in > p->fresh_every) {
		server_label(label, watch_server(w));
		w->fresh_in = 1 + (uint32_t)(schedule_mix(p->c->host,
		    schedule_text(label)) % p->fresh_every);
	}
	if (--w->fresh_in > 0)
		return false;
	w->fresh_in = p->fresh_every;
	return !fault_wants_kept(w);
}

bool
task_make(struct watch *w, struct probe_task *task)
{
	const uint32_t asks = w->pool->asking->words.asks;

	if (!task_to(w, &w->entry.address[0], task))
		return false;
	task->fresh = fresh_due(w);
	if (admin_is_resting(w)) {	/* is it still to rest? */
		task->asks = MCPROTO_ASK_MAINTENANCE;
		return true;
	}
	/* What only connects asks nobody how he is. */
	task->asks = asks | return_asks(w);
	task->canary = ++w->pool->c->canaries;
	task->mark = &w->returning.mark;
	if (asks != 0)
		task->asks |= fault_asks(w);
	/* Others wait for it: a new connection may fail, and has its time. */
	if (task->fresh && task->asks & (MCPROTO_ASK_FLUSH |
	    MCPROTO_ASK_UNLOCK)) {
		task->fresh = false;
		w->fresh_in = 1;
	}
	return true;
}

/* The process that spoke TLS there is gone, or speaks it no more: what comes
 * next may be anybody. */
static bool
may_be_another(const struct finding *f)
{
	return !f->probe->kept && (f->reason == MCSHM_R_REFUSED ||
	    f->reason == MCSHM_R_NO_SOCKET || f->reason == MCSHM_R_TLS_FAILED);
}

/* It spoke TLS there: to an earlier daemon, where it is UP or RECOVERING, or
 * was UP and is only silent. */
static bool
has_met(const struct watch *w)
{
	const struct mcshm_address *at = &w->entry.address[0];
	const uint32_t state = w->entry.verdict.state;

	if (state == MCSHM_UP || state == MCSHM_RECOVERING ||
	    (state == MCSHM_HELD && w->returning.used))
		return true;
	return w->met.kind != MCSHM_KIND_NONE &&
	    memcmp(&w->met, at, sizeof *at) == 0;
}

/*
 * A full server says so in plain text, before any TLS; so can whoever has its
 * port.  It is taken for the server where that spoke TLS before.  Else this says
 * nothing of it, good or bad.
 */
static void
task_greeted(struct watch *w, struct finding *f)
{
	f->reason = MCSHM_R_MAXCONNS;
	f->class = has_met(w) ? VERDICT_GOOD : VERDICT_VOID;
}

/*
 * It says that it does not take our certificate, or wants one; or refuses us, in
 * whatever words, while ours has ended.  It lives, then, and serves those who
 * have a better one: the fault is ours.  Nor does it prove that it is well, who
 * came no further than that.
 */
static void
task_refused(struct watch *w, struct finding *f)
{
	const struct probe_result *r = f->probe;

	if (!r->refuses || (asking_in_time(w->pool) && !r->ours))
		return;
	f->reason = MCSHM_R_LOCAL;
	f->class = VERDICT_LOCAL;
}

/* What is wrong with its TLS, by the new connections. */
static void
task_tls_why(struct watch *w, const struct probe_result *r)
{
	const bool bad = r->reason == MCSHM_R_TLS_FAILED ||
	    r->reason == MCSHM_R_TLS_UNTRUSTED;

	if (r->fresh && watch_is_good(r->reason))
		w->tls_why = NULL;
	if (!bad || r->greeted || (!r->fresh && w->tls_why != NULL))
		return;
	w->tls_why = r->why;
	w->tls_cert = r->reason == MCSHM_R_TLS_UNTRUSTED;
}

static void
task_tls(struct watch *w, struct finding *f)
{
	task_tls_why(w, f->probe);
	if (f->reason == MCSHM_R_TLS_FAILED)
		task_refused(w, f);
	if (f->probe->greeted)
		task_greeted(w, f);
	else if (f->class == VERDICT_GOOD)
		w->met = w->entry.address[0];
	else if (may_be_another(f))
		w->met = (struct mcshm_address){ .kind = MCSHM_KIND_NONE };
}

void
task_finding(struct watch *w, struct finding *f)
{
	const struct mcproto_told *told = f->probe->told;
	struct pool *p = w->pool;

	if (w->peer == NULL)
		w->entry.tls_expiry = 0;
	else if (f->probe->tls_expiry != 0)
		w->entry.tls_expiry = f->probe->tls_expiry;
	if (w->peer != NULL)
		task_tls(w, f);
	if (f->class == VERDICT_GOOD && !task_is_expected(p, told)) {
		f->reason = MCSHM_R_WRONG_VERSION;
		f->class = VERDICT_PROOF;
	}
	if (told->refused & MCPROTO_ASK_MN && !p->mn_told) {
		p->mn_told = true;
		tell_no_mn(w);
	}
}
