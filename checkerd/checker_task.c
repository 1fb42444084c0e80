/*
 * checker_task.c - one server: what the next probe is to ask, and where.
 *
 * Must not judge, nor make the probe.
 */
#include "checker_engine.h"

bool
task_make(struct watch *w, struct probe_task *task)
{
	*task = (struct probe_task){
		.connect_timeout = w->pool->connect_timeout,
		.timeout = w->pool->timeout,
	};
	task->len = address_sockaddr(&task->to, &w->entry.address[0],
	    watch_server(w)->address.host);
	return task->len != 0;
}
