/*
 * pool_state.c - what the checker believes, of one moment; and waiting for
 * another one.
 */
#include <time.h>

#include "choice.h"
#include "pool.h"
#include "record.h"

/* One snapshot ---------------------------------------------------------- */

struct snapshot {
	struct mcshm_state *v;	/* PyMem_Free() it */
	int n;
	struct mcshm_status status;
};

/* How many, or MCSHM_E...; MCSHM_ESYS with an exception set, too. */
static int
take_snapshot(struct mcshm *m, struct snapshot *s)
{
	int room, n = mcshm_snapshot(m, NULL, 0, sizeof *s->v, &s->status,
	    sizeof s->status);

	do {
		if (n < 0)
			return n;
		room = n;
		s->v = PyMem_Malloc((size_t)room * sizeof *s->v);
		if (s->v == NULL) {
			PyErr_NoMemory();
			return MCSHM_ESYS;
		}
		n = mcshm_snapshot(m, s->v, (size_t)room, sizeof *s->v,
		    &s->status, sizeof s->status);
		if (n != room)
			PyMem_Free(s->v);
	} while (n != room);
	return s->n = n;
}

static PyObject *
tuple_of(const struct module *mod, const struct snapshot *s)
{
	PyObject *tuple = PyTuple_New(s->n);

	for (int i = 0; tuple != NULL && i < s->n; i++) {
		PyObject *state = record_state(mod, &s->v[i]);

		if (state == NULL)
			Py_CLEAR(tuple);
		else
			PyTuple_SetItem(tuple, i, state);
	}
	return tuple;
}

/* The record of a snapshot of the roster met last. */
static PyObject *
snapshot_record(const struct pool *p, const struct snapshot *s)
{
	PyObject *servers = p->servers, *status, *states, *record = NULL;

	Py_INCREF(servers);
	status = record_status(p->mod, &s->status, p->name);
	states = status != NULL ? tuple_of(p->mod, s) : NULL;
	if (states != NULL)
		record = PyObject_CallFunctionObjArgs(p->mod->snapshot, status,
		    servers, states, NULL);
	Py_XDECREF(states);
	Py_XDECREF(status);
	Py_DECREF(servers);
	return record;
}

#define ROSTERS_MAX 8

PyObject *
pool_snapshot(PyObject *o, PyObject *none)
{
	struct pool *p = (struct pool *)o;
	struct mcshm *m = pool_enter(p);
	int err = MCSHM_EAGAIN;
	PyObject *answer = NULL;
	struct snapshot s;

	(void)none;
	if (m == NULL)
		return NULL;
	for (int i = 0; i < ROSTERS_MAX && err == MCSHM_EAGAIN; i++) {
		err = take_snapshot(m, &s);
		if (err < 0)
			continue;
		err = pool_meet(p, m);
		if (err == MCSHM_OK && s.status.roster != p->roster)
			err = MCSHM_EAGAIN;
		if (err == MCSHM_OK)
			answer = snapshot_record(p, &s);
		PyMem_Free(s.v);
	}
	pool_leave(p);
	if (err < 0 && !PyErr_Occurred())
		module_raise(p->mod, err, p->name, NULL);
	return answer;
}

PyObject *
pool_status(PyObject *o, PyObject *none)
{
	struct pool *p = (struct pool *)o;
	struct mcshm *m = pool_enter(p);
	struct mcshm_status status;

	(void)none;
	if (m == NULL)
		return NULL;
	/* It is written also where this fails. */
	(void)mcshm_snapshot(m, NULL, 0, sizeof(struct mcshm_state), &status,
	    sizeof status);
	pool_leave(p);
	return record_status(p->mod, &status, p->name);
}

PyObject *
pool_state(PyObject *o, PyObject *choice)
{
	struct pool *p = (struct pool *)o;
	const struct mcshm_choice *c = choice_value(p->mod, choice);
	struct mcshm_state state;
	struct mcshm *m;
	int err;

	m = c == NULL ? NULL : pool_enter(p);
	if (m == NULL)
		return NULL;
	err = mcshm_server_state(m, c, &state, sizeof state);
	pool_leave(p);
	return err == MCSHM_OK ? record_state(p->mod, &state) :
	    module_raise(p->mod, err, p->name, NULL);
}

/* Waiting ----------------------------------------------------------------- */

#define SECOND UINT64_C(1000000000)

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

/* Seconds, or None for ever; false with an exception set. */
static bool
timeout_ns(PyObject *timeout, uint64_t *ns)
{
	double seconds;

	*ns = UINT64_MAX;
	if (timeout == Py_None)
		return true;
	seconds = PyFloat_AsDouble(timeout);
	if (PyErr_Occurred())
		return false;
	if (!(seconds > 0))
		seconds = 0;
	if (seconds < 9e9)
		*ns = (uint64_t)(seconds * SECOND);
	return true;
}

/* A second at a time, so that a waiter sees that its pool was closed.  1 and
 * *now, 0: time is over, -1 with an exception set. */
static int
wait_for(struct pool *p, struct mcshm *m, uint64_t generation,
    uint64_t patience, uint64_t *now)
{
	const uint64_t began = now_ns();
	uint64_t spent = 0, left;
	int err;

	do {
		left = patience == UINT64_MAX ? SECOND : patience - spent;
		Py_BEGIN_ALLOW_THREADS
		err = mcshm_wait(m, generation, left < SECOND ? left : SECOND,
		    now);
		Py_END_ALLOW_THREADS
		if (err == 1)
			return 1;
		if (err < 0 && err != MCSHM_ENOENT) {
			module_raise(p->mod, err, p->name, NULL);
			return -1;
		}
		if (PyErr_CheckSignals() == -1)
			return -1;
		if (p->m != m) {
			PyErr_Format(PyExc_ValueError, "the pool %U was closed "
			    "meanwhile", p->name);
			return -1;
		}
		spent = now_ns() - began;
	} while (patience == UINT64_MAX || spent < patience);
	return 0;
}

PyObject *
pool_wait(PyObject *o, PyObject *args, PyObject *keywords)
{
	static const char *names[] = { "generation", "timeout", NULL };
	struct pool *p = (struct pool *)o;
	unsigned long long generation = 0;
	PyObject *timeout = Py_None;
	uint64_t now, patience;
	struct mcshm *m;
	int changed;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "|KO:wait",
	    (char **)names, &generation, &timeout) ||
	    !timeout_ns(timeout, &patience))
		return NULL;
	m = pool_enter(p);
	if (m == NULL)
		return NULL;
	changed = wait_for(p, m, generation, patience, &now);
	pool_leave(p);
	return changed == -1 ? NULL :
	    PyLong_FromUnsignedLongLong(changed == 1 ? now : generation);
}
