/*
 * pool_run.c - failures that the caller finds out by itself: failed(), and
 * run(), which goes on to the next server.
 *
 * A function says that the server failed by raising one of its `failures`; any
 * other exception is its own affair and ends the call.
 */
#include "choice.h"
#include "pool.h"
#include "record.h"

/* failed() ---------------------------------------------------------------- */

/* What a Server of the current roster would have been chosen by. */
static int
choice_of_server(struct pool *p, struct mcshm *m, PyObject *server,
    struct mcshm_choice *c)
{
	int err = pool_meet(p, m);
	PyObject *servers = p->servers;
	Py_ssize_t slot;

	if (err != MCSHM_OK)
		return err;
	*c = (struct mcshm_choice){ .roster = p->roster };
	Py_INCREF(servers);
	slot = PySequence_Index(servers, server);
	Py_DECREF(servers);
	if (slot == -1) {
		PyErr_Clear();
		return MCSHM_EROSTER;
	}
	c->slot = (uint32_t)slot;
	return MCSHM_OK;
}

static int
tell(struct pool *p, struct mcshm *m, PyObject *which)
{
	const struct mcshm_choice *value;
	struct mcshm_choice c;
	int err = MCSHM_OK;

	if (PyObject_IsInstance(which, p->mod->server) == 1) {
		err = choice_of_server(p, m, which, &c);
	} else {
		value = choice_value(p->mod, which);
		if (value == NULL)
			return 1;
		c = *value;
	}
	return err == MCSHM_OK ? mcshm_failed(m, &c) : err;
}

PyObject *
pool_failed(PyObject *o, PyObject *which)
{
	struct pool *p = (struct pool *)o;
	struct mcshm *m = pool_enter(p);
	int err;

	if (m == NULL)
		return NULL;
	err = tell(p, m, which);
	pool_leave(p);
	if (PyErr_Occurred())
		return NULL;
	if (err == MCSHM_OK || err == MCSHM_EROSTER)
		return PyBool_FromLong(err == MCSHM_OK);
	return module_raise(p->mod, err, p->name, NULL);
}

/* run() ------------------------------------------------------------------- */

#define OWN_ERROR (MCSHM_TRY_OWN - 1)

struct call {
	struct pool *p;
	PyObject *function, *failures;
	PyObject *result;
	/* What the last try raised. */
	PyObject *type, *value, *traceback;
};

static void
forget(struct call *call)
{
	Py_CLEAR(call->type);
	Py_CLEAR(call->value);
	Py_CLEAR(call->traceback);
}

/* No byte went out to a server that refused; nor where the function says so. */
static int
judge(const struct call *call)
{
	if (PyErr_ExceptionMatches(call->p->mod->not_sent))
		return MCSHM_TRY_UNSENT;
	if (!PyErr_ExceptionMatches(call->failures))
		return OWN_ERROR;
	return PyErr_ExceptionMatches(PyExc_ConnectionRefusedError) ?
	    MCSHM_TRY_UNSENT : MCSHM_TRY_FAILED;
}

static PyObject *
choice_for(struct pool *p, const struct mcshm_choice *c,
    const struct mcshm_server *s)
{
	PyObject *server = pool_server_of(p, c), *choice;

	if (server != Py_None)
		return choice_new(p->mod, c, server);
	server = record_server(p->mod, s);
	if (server == NULL)
		return NULL;
	choice = choice_new(p->mod, c, server);
	Py_DECREF(server);
	return choice;
}

static int
try_one(void *arg, const struct mcshm_choice *c, const struct mcshm_server *s,
    uint64_t timeout_ns)
{
	struct call *call = arg;
	PyObject *choice = choice_for(call->p, c, s);
	int result;

	forget(call);
	if (choice != NULL)
		call->result = PyObject_CallFunction(call->function, "Nd",
		    choice, (double)timeout_ns / 1e9);
	if (call->result != NULL)
		return 0;
	result = judge(call);
	PyErr_Fetch(&call->type, &call->value, &call->traceback);
	return result;
}

/* The exception that is set has the last failure as its cause. */
static void
add_cause(struct call *call)
{
	PyObject *type, *e, *traceback, *cause;

	PyErr_NormalizeException(&call->type, &call->value, &call->traceback);
	cause = call->value;
	if (call->traceback != NULL && cause != NULL)
		PyException_SetTraceback(cause, call->traceback);
	PyErr_Fetch(&type, &e, &traceback);
	PyErr_NormalizeException(&type, &e, &traceback);
	if (e != NULL && cause != NULL) {
		Py_INCREF(cause);
		PyException_SetCause(e, cause);
	}
	PyErr_Restore(type, e, traceback);
}

static void
raise_outcome(struct call *call, int err, const struct mcshm_choice *c)
{
	if (err == OWN_ERROR) {
		PyErr_Restore(call->type, call->value, call->traceback);
		call->type = call->value = call->traceback = NULL;
	} else {
		pool_raise(call->p, err, c);
		if (call->type != NULL)
			add_cause(call);
	}
	forget(call);
}

static PyObject *
run_key(struct call *call, PyObject *key, unsigned flags)
{
	struct mcshm_choice c = { 0 };
	struct mcshm *m;
	const char *s;
	size_t len;
	int err;

	if (!pool_key(key, &s, &len))
		return NULL;
	m = pool_enter(call->p);
	if (m == NULL)
		return NULL;
	/* For the Servers of choices; if it fails, mcshm_run() says why. */
	if (pool_meet(call->p, m) == 1) {
		pool_leave(call->p);
		return NULL;
	}
	err = mcshm_run(m, s, len, flags, try_one, call, &c);
	if (err < 0)
		raise_outcome(call, err, &c);
	pool_leave(call->p);
	return call->result;
}

PyObject *
pool_run(PyObject *o, PyObject *args, PyObject *keywords)
{
	static const char *names[] = { "key", "function", "repeatable",
		"failures", NULL };
	struct pool *p = (struct pool *)o;
	struct call call = { .p = p, .failures = p->mod->failures };
	int repeatable = 0;
	PyObject *key;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "OO|$pO:run",
	    (char **)names, &key, &call.function, &repeatable, &call.failures))
		return NULL;
	return run_key(&call, key, repeatable ? MCSHM_REPEATABLE : 0);
}
