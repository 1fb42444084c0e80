/*
 * pool_roster.c - the pool's servers: those of the roster met last are kept, so
 * that a choice has its Server at no cost.
 */
#include "pool.h"
#include "record.h"

static PyObject *
tuple_of(const struct module *mod, const struct mcshm_server *v, int n)
{
	PyObject *tuple = PyTuple_New(n);

	for (int i = 0; tuple != NULL && i < n; i++) {
		PyObject *server = record_server(mod, &v[i]);

		if (server == NULL)
			Py_CLEAR(tuple);
		else
			PyTuple_SetItem(tuple, i, server);
	}
	return tuple;
}

/* All servers, in memory to be freed with PyMem_Free(); how many, or an error
 * as of pool_meet(). */
static int
fetch(struct mcshm *m, struct mcshm_server **v, uint64_t *roster)
{
	int room, n = mcshm_servers(m, NULL, 0, sizeof **v, NULL);

	do {
		if (n < 0)
			return n;
		room = n;
		*v = PyMem_Malloc((size_t)room * sizeof **v);
		if (*v == NULL) {
			PyErr_NoMemory();
			return MCSHM_ESYS;
		}
		n = mcshm_servers(m, *v, (size_t)room, sizeof **v, roster);
		if (n != room)
			PyMem_Free(*v);
	} while (n != room);
	return n;
}

int
pool_meet(struct pool *p, struct mcshm *m)
{
	PyObject *servers, *old;
	struct mcshm_server *v;
	uint64_t roster;
	int n;

	n = mcshm_servers(m, NULL, 0, sizeof *v, &roster);
	if (n >= 0 && roster == p->roster && p->servers != NULL)
		return MCSHM_OK;
	n = fetch(m, &v, &roster);
	if (n < 0)
		return PyErr_Occurred() ? 1 : n;
	servers = tuple_of(p->mod, v, n);
	PyMem_Free(v);
	if (servers == NULL)
		return 1;
	/* Another thread may have been here meanwhile. */
	old = p->servers;
	p->servers = servers;
	p->roster = roster;
	Py_XDECREF(old);
	return MCSHM_OK;
}

/* Of one moment: both, as new references. */
static bool
current(struct pool *p, uint64_t *roster, PyObject **servers)
{
	struct mcshm *m = pool_enter(p);
	int err;

	if (m == NULL)
		return false;
	err = pool_meet(p, m);
	if (err == MCSHM_OK) {
		*roster = p->roster;
		Py_INCREF(*servers = p->servers);
	} else if (err != 1) {
		module_raise(p->mod, err, p->name, NULL);
	}
	pool_leave(p);
	return err == MCSHM_OK;
}

PyObject *
pool_roster(PyObject *o, PyObject *none)
{
	struct pool *p = (struct pool *)o;
	PyObject *servers;
	uint64_t roster;

	(void)none;
	if (!current(p, &roster, &servers))
		return NULL;
	return PyObject_CallFunction(p->mod->roster, "KN",
	    (unsigned long long)roster, servers);
}

PyObject *
pool_servers(PyObject *o, PyObject *none)
{
	PyObject *servers;
	uint64_t roster;

	(void)none;
	return current((struct pool *)o, &roster, &servers) ? servers : NULL;
}

PyObject *
pool_refresh(PyObject *o, PyObject *none)
{
	struct pool *p = (struct pool *)o;
	struct mcshm *m = pool_enter(p);
	int changed;

	(void)none;
	if (m == NULL)
		return NULL;
	changed = mcshm_refresh(m);
	pool_leave(p);
	return changed < 0 ? module_raise(p->mod, changed, p->name, NULL) :
	    PyBool_FromLong(changed);
}
