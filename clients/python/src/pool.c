/*
 * pool.c - mcshm.Pool: opening, closing, and its table of methods.
 */
#include <stddef.h>

#include "pool.h"
#include <structmember.h>

/* Opening ----------------------------------------------------------------- */

/* What mcshm_open() is to open, as bytes: a name, or a path.  A path-like
 * object is a path, also without a slash. */
static PyObject *
target_of(PyObject *pool)
{
	PyObject *path, *bytes;

	if (PyUnicode_Check(pool))
		return PyUnicode_EncodeFSDefault(pool);
	path = PyOS_FSPath(pool);
	if (path == NULL)
		return NULL;
	if (!PyUnicode_FSConverter(path, &bytes))
		bytes = NULL;
	Py_DECREF(path);
	if (bytes == NULL || PyBytes_Check(pool) ||
	    strchr(PyBytes_AsString(bytes), '/') != NULL)
		return bytes;
	path = PyBytes_FromFormat("./%s", PyBytes_AsString(bytes));
	Py_DECREF(bytes);
	return path;
}

static bool
open_handle(struct pool *p, PyObject *pool)
{
	PyObject *target = target_of(pool);
	char *text;
	int err;

	/* The second says so if there is a NUL in it. */
	if (target == NULL || PyBytes_AsStringAndSize(target, &text, NULL)) {
		Py_XDECREF(target);
		return false;
	}
	p->name = PyUnicode_DecodeFSDefault(text);
	err = mcshm_open(&p->m, text, p->flags);
	Py_DECREF(target);
	if (err == MCSHM_OK)
		return p->name != NULL;
	p->m = NULL;
	if (p->name != NULL)
		module_raise(p->mod, err, p->name, NULL);
	return false;
}

static PyObject *
pool_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
	static const char *names[] = { "pool", "nofollow", "later", NULL };
	const allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
	PyObject *pool;
	int nofollow = 0, later = 0;
	struct pool *p;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "O|$pp:Pool",
	    (char **)names, &pool, &nofollow, &later))
		return NULL;
	p = (struct pool *)alloc(type, 0);
	if (p == NULL)
		return NULL;
	p->flags = (nofollow ? MCSHM_NOFOLLOW : 0) | (later ? MCSHM_LATER : 0);
	p->mod = module_of(type);
	if (p->mod == NULL || !open_handle(p, pool)) {
		Py_DECREF(p);
		return NULL;
	}
	pool_option_init(p);
	return (PyObject *)p;
}

/* Another process opens it anew. */
PyObject *
pool_reduce(PyObject *o, PyObject *none)
{
	const struct pool *p = (struct pool *)o;
	PyObject *options = PyDict_New();

	(void)none;
	for (const PyGetSetDef *g = pool_attributes; options && g->name; g++) {
		PyObject *value;

		if (g->set == NULL)
			continue;
		value = PyObject_GetAttrString(o, g->name);
		if (value == NULL ||
		    PyDict_SetItemString(options, g->name, value) == -1)
			Py_CLEAR(options);
		Py_XDECREF(value);
	}
	return options == NULL ? NULL : Py_BuildValue("O(OONNN)",
	    p->mod->reopen, (PyObject *)Py_TYPE(o), p->name,
	    PyBool_FromLong(p->flags & MCSHM_NOFOLLOW),
	    PyBool_FromLong(p->flags & MCSHM_LATER), options);
}

/* Closing ----------------------------------------------------------------- */

struct mcshm *
pool_enter(struct pool *p)
{
	if (p->m == NULL)
		PyErr_Format(PyExc_ValueError, "the pool %U is closed",
		    p->name);
	else
		p->inside++;
	return p->m;
}

void
pool_leave(struct pool *p)
{
	if (--p->inside == 0 && p->parting != NULL) {
		mcshm_close(p->parting);
		p->parting = NULL;
	}
}

static PyObject *
pool_close(PyObject *o, PyObject *none)
{
	struct pool *p = (struct pool *)o;
	struct mcshm *m = p->m;

	(void)none;
	p->m = NULL;
	if (p->inside > 0 && m != NULL)
		p->parting = m;
	else
		mcshm_close(m);
	Py_RETURN_NONE;
}

static PyObject *
pool_exit(PyObject *o, PyObject *args)
{
	(void)args;
	return pool_close(o, NULL);
}

static PyObject *
pool_self(PyObject *o, PyObject *none)
{
	struct pool *p = (struct pool *)o;

	(void)none;
	if (pool_enter(p) == NULL)
		return NULL;
	pool_leave(p);
	Py_INCREF(o);
	return o;
}

static void
pool_dealloc(PyObject *o)
{
	struct pool *p = (struct pool *)o;
	PyTypeObject *type = Py_TYPE(o);
	const freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	if (p->weak != NULL)
		PyObject_ClearWeakRefs(o);
	/* Who is inside has a reference: nobody is. */
	mcshm_close(p->m);
	Py_XDECREF(p->name);
	Py_XDECREF(p->servers);
	release(o);
	Py_DECREF(type);
}

/* The type ---------------------------------------------------------------- */

static PyObject *
pool_repr(PyObject *o)
{
	const struct pool *p = (struct pool *)o;

	return PyUnicode_FromFormat("<mcshm.Pool %R%s>", p->name,
	    p->m == NULL ? " closed" : "");
}

/* By way of void *: each is called as its flags say. */
#define METHOD(name, function, flags, doc) \
	{ name, (PyCFunction)(void (*)(void))(function), flags, doc }
#define KEYWORDS (METH_VARARGS | METH_KEYWORDS)

static PyMethodDef methods[] = {
	METHOD("pick", pool_pick, METH_FASTCALL,
	    "pick(key[, default]) -> Choice\n\n"
	    "The server of this key.  Where there is none to ask now, default "
	    "if it is given,\nelse an exception: NoServer, Held, Miss, Down, "
	    "or NoPool."),
	METHOD("candidates", pool_candidates, KEYWORDS,
	    "candidates(key, k) -> list of Choice\n\n"
	    "The servers of this key, k at most, in the order in which they "
	    "are to be asked."),
	METHOD("roster", pool_roster, METH_NOARGS,
	    "roster() -> Roster\n\nThe pool's servers of now, and their id."),
	METHOD("servers", pool_servers, METH_NOARGS,
	    "servers() -> tuple of Server\n\nThe pool's servers, by slot."),
	METHOD("snapshot", pool_snapshot, METH_NOARGS,
	    "snapshot() -> Snapshot\n\nAll there is to know of one moment."),
	METHOD("status", pool_status, METH_NOARGS,
	    "status() -> Status\n\nOf the checker and its file."),
	METHOD("state", pool_state, METH_O,
	    "state(choice) -> State\n\nOf the server of a choice just made; "
	    "else RosterChanged."),
	METHOD("refresh", pool_refresh, METH_NOARGS,
	    "refresh() -> bool\n\nGo on to a newer file; True: other servers "
	    "or addresses since the last call."),
	METHOD("wait", pool_wait, KEYWORDS,
	    "wait(generation=0, timeout=None) -> int\n\n"
	    "Sleep until the generation is another one; which one it is now.  "
	    "The same: time is over."),
	METHOD("failed", pool_failed, METH_O,
	    "failed(choice_or_server) -> bool\n\n"
	    "This server failed in my hands: pass over it, tell the checker.  "
	    "False: the\nroster has moved on, nothing was done."),
	METHOD("run", pool_run, KEYWORDS,
	    "run(key, function, *, repeatable=False, failures=(OSError, "
	    "EOFError))\n\n"
	    "function(choice, timeout) on the key's server, and with "
	    "resubmit_on_error on the\nnext ones; what it returns."),
	METHOD("close", pool_close, METH_NOARGS,
	    "close()\n\nUnmap the file.  Who is inside ends first."),
	METHOD("__enter__", pool_self, METH_NOARGS, NULL),
	METHOD("__exit__", pool_exit, METH_VARARGS, NULL),
	METHOD("__reduce__", pool_reduce, METH_NOARGS, NULL),
	{ NULL, NULL, 0, NULL }
};

static PyMemberDef members[] = {
	{ "name", T_OBJECT, offsetof(struct pool, name), READONLY,
	    "The name or path that was opened." },
	{ "__weaklistoffset__", T_PYSSIZET, offsetof(struct pool, weak),
	    READONLY, NULL },
	{ NULL, 0, 0, 0, NULL }
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, (void *)"Pool(pool, *, nofollow=False, later=False)\n\n"
	    "A pool file, mapped.  pool: the name of a pool in the default "
	    "directory ($MCSHM_DIR,\nelse /run/mc-checkerd), or, with a slash "
	    "in it or path-like, the path of a file." },
	{ Py_tp_new, (void *)pool_new },
	{ Py_tp_dealloc, (void *)pool_dealloc },
	{ Py_tp_repr, (void *)pool_repr },
	{ Py_tp_methods, methods },
	{ Py_tp_members, members },
	{ Py_tp_getset, pool_attributes },
	{ 0, NULL }
};

static PyType_Spec spec = {
	.name = "mcshm.Pool",
	.basicsize = sizeof(struct pool),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE |
	    Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};

PyTypeObject *
pool_type(PyObject *m)
{
	return (PyTypeObject *)PyType_FromModuleAndSpec(m, &spec, NULL);
}
