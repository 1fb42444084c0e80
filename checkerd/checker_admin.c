/*
 * checker_admin.c - one server: its admin state, by the ini and by the server.
 *
 * An operator may store the maintenance key in a server: "drain", or anything
 * else for maintenance.  The stronger of that and the ini's state is what
 * counts.  Only the server that was meant is believed, with its certificate
 * trusted and its version as expected; until it answers that the key is gone:
 * deleted, expired, or lost in a restart.  In the key's maintenance the server
 * is asked for the key, and for nothing else.
 */
#include "checker_engine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char who_server[] = "server";

bool
admin_is_resting(const struct watch *w)
{
	return w->entry.admin == MCSHM_MAINT &&
	    watch_server(w)->admin != MCSHM_MAINT;
}

/* In an entry that may be for another roster: the key's part is the server's,
 * the other the ini's. */
void
admin_merge(struct publish_entry *e, uint32_t ini, struct key_admin key)
{
	e->admin = key.admin > ini ? key.admin : ini;
	e->admin_since = e->admin_until = 0;
	if (key.admin > ini) {
		e->admin_since = key.since;
		snprintf(e->admin_who, sizeof e->admin_who, "%s", who_server);
		snprintf(e->admin_why, sizeof e->admin_why,
		    "maintenance key");
		return;
	}
	memset(e->admin_who, 0, sizeof e->admin_who);
	memset(e->admin_why, 0, sizeof e->admin_why);
}

void
admin_inherit(struct watch *w, const struct publish_entry *left)
{
	if (!(w->pool->asking->words.asks & MCPROTO_ASK_MAINTENANCE) ||
	    strcmp(left->admin_who, who_server) != 0)
		return;
	w->key_admin = (struct key_admin){
		.admin = left->admin <= MCSHM_MAINT ? left->admin : MCSHM_READY,
		.since = left->admin_since };
	admin_merge(&w->entry, watch_server(w)->admin, w->key_admin);
}

static uint32_t
admin_of(enum mcproto_maintenance said)
{
	switch (said) {
	case MCPROTO_KEY_DRAIN:
		return MCSHM_DRAIN;
	case MCPROTO_KEY_MAINT:
		return MCSHM_MAINT;
	case MCPROTO_NO_KEY:
		break;
	}
	return MCSHM_READY;
}

/* Before it, nothing is believed of a server that rested; in it, of one that
 * rests. */
static void
admin_change(struct watch *w)
{
	struct publish_entry *e = &w->entry;
	const uint32_t was = e->admin;

	admin_merge(e, watch_server(w)->admin, w->key_admin);
	if (e->admin == was)
		return;
	if (e->admin == MCSHM_MAINT) {
		e->verdict = verdict_forget(e->verdict);
		fault_rest(w);
	}
	w->pool->changed = true;
	doubt_recount(w->pool);
	watch_publish(w, true);
	tell_admin(w, was);
}

static void
admin_key(struct watch *w, uint32_t admin)
{
	if (w->key_admin.admin == admin)
		return;
	w->key_admin = (struct key_admin){ .admin = admin,
		.since = checker_clock(CLOCK_REALTIME) / SECOND };
}

/* Another server than was meant can not ask to be left alone; but where it has
 * no key, the key that there was is gone. */
static bool
admin_believes(const struct finding *f)
{
	return f->probe->told->maintenance == MCPROTO_NO_KEY ||
	    (f->reason != MCSHM_R_WRONG_VERSION &&
	    f->reason != MCSHM_R_TLS_UNTRUSTED);
}

bool
admin_finding(struct watch *w, const struct finding *f)
{
	const struct mcproto_told *told = f->probe->told;
	const bool rested = admin_is_resting(w);
	const uint32_t ask = MCPROTO_ASK_MAINTENANCE;

	if (told->answered & ask && !(told->refused & ask) &&
	    admin_believes(f)) {
		admin_key(w, admin_of(told->maintenance));
		admin_change(w);
	}
	/* It was asked for the key alone, or will be. */
	return rested || admin_is_resting(w);
}
