/*
 * record.c - structs of the library as mcshm/_records.py has them.
 *
 * Numbers go over as they are; what they mean is said there.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/un.h>

#include "record.h"

/* As socket.connect() takes it; None: it has not resolved yet. */
static PyObject *
address_of(const struct mcshm_server *s)
{
	const struct sockaddr_in *in = (const void *)&s->addr;
	const struct sockaddr_in6 *in6 = (const void *)&s->addr;
	const struct sockaddr_un *un = (const void *)&s->addr;
	char text[INET6_ADDRSTRLEN];

	if (s->addrlen == 0)
		Py_RETURN_NONE;
	switch (s->addr.ss_family) {
	case AF_INET:
		inet_ntop(AF_INET, &in->sin_addr, text, sizeof text);
		return Py_BuildValue("(sI)", text,
		    (unsigned)ntohs(in->sin_port));
	case AF_INET6:
		inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
		return Py_BuildValue("(sIII)", text,
		    (unsigned)ntohs(in6->sin6_port),
		    (unsigned)ntohl(in6->sin6_flowinfo),
		    (unsigned)in6->sin6_scope_id);
	case AF_UNIX:
		return PyUnicode_DecodeFSDefault(un->sun_path);
	default:
		Py_RETURN_NONE;
	}
}

PyObject *
record_server(const struct module *mod, const struct mcshm_server *s)
{
	const int family = s->addrlen == 0 ? AF_UNSPEC : s->addr.ss_family;
	PyObject *name = PyUnicode_DecodeFSDefault(s->name);
	PyObject *address = name != NULL ? address_of(s) : NULL;

	if (address == NULL) {
		Py_XDECREF(name);
		return NULL;
	}
	return PyObject_CallFunction(mod->server, "NiNII", name, family,
	    address, (unsigned)s->weight, (unsigned)s->slot);
}

/* The names of bits; a bit that has none is its number. */
static PyObject *
degraded_names(uint64_t bits)
{
	PyObject *list = PyList_New(0), *tuple;

	for (unsigned i = 0; list != NULL && i < 64; i++) {
		const char *name = mcshm_degraded_name(i);
		PyObject *text;

		if ((bits >> i & 1) == 0)
			continue;
		text = name != NULL ? PyUnicode_FromString(name) :
		    PyUnicode_FromFormat("%u", i);
		if (text == NULL || PyList_Append(list, text) < 0)
			Py_CLEAR(list);
		Py_XDECREF(text);
	}
	tuple = list != NULL ? PyList_AsTuple(list) : NULL;
	Py_XDECREF(list);
	return tuple;
}

PyObject *
record_state(const struct module *mod, const struct mcshm_state *s)
{
	const bool failed = s->reason != 0;
	PyObject *names = degraded_names(s->degraded);

	if (names == NULL)
		return NULL;
	return PyObject_CallFunction(mod->state_of, "BBBBzzKKKKKKKKKIKKN",
	    s->verdict, s->admin, s->usable, s->held,
	    failed ? mcshm_reason_name(s->reason) : NULL,
	    failed ? mcshm_reason_text(s->reason) : NULL,
	    (unsigned long long)s->degraded, (unsigned long long)s->history,
	    (unsigned long long)s->proof, (unsigned long long)s->wrong,
	    (unsigned long long)s->seen, (unsigned long long)s->since,
	    (unsigned long long)s->checked, (unsigned long long)s->probes,
	    (unsigned long long)s->failures, (unsigned)s->rtt_us,
	    (unsigned long long)s->down_since,
	    (unsigned long long)s->back_since, names);
}

PyObject *
record_status(const struct module *mod, const struct mcshm_status *s,
    PyObject *name)
{
	return PyObject_CallFunction(mod->status_of, "KKKIIBBBBBBizLO",
	    (unsigned long long)s->roster, (unsigned long long)s->generation,
	    (unsigned long long)s->heartbeat_age, (unsigned)s->servers,
	    (unsigned)s->usable, s->alive, s->hung, s->stale, s->fail_open,
	    s->rebooted, s->superseded, (int)s->follow_error,
	    mcshm_strerror(s->follow_error), (long long)s->pid, name);
}
