/*
 * module.c - the module mcshm._mcshm: its types, and what it takes from the
 * package's Python files.  No state outside of the module's own.
 */
#include "choice.h"
#include "module.h"
#include "pool.h"

static int module_exec(PyObject *m);
static int module_traverse(PyObject *m, visitproc visit, void *arg);
static int module_clear(PyObject *m);
static void module_free(void *m);

static PyModuleDef_Slot slots[] = {
	{ Py_mod_exec, (void *)module_exec },
	{ 0, NULL }
};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "mcshm._mcshm",
	.m_doc = "libmcshm as it is; see the package mcshm.",
	.m_size = sizeof(struct module),
	.m_slots = slots,
	.m_traverse = module_traverse,
	.m_clear = module_clear,
	.m_free = module_free,
};

struct module *
module_of(PyTypeObject *type)
{
	for (; type != NULL; type = PyType_GetSlot(type, Py_tp_base)) {
		PyObject *m = PyType_GetModule(type);

		if (m != NULL && PyModule_GetDef(m) == &definition)
			return PyModule_GetState(m);
		PyErr_Clear();
	}
	PyErr_SetString(PyExc_TypeError, "not a type of mcshm");
	return NULL;
}

PyObject *
module_raise(const struct module *mod, int code, PyObject *name,
    PyObject *choice)
{
	PyObject *e = PyObject_CallFunction(mod->error_of, "isOO", code,
	    mcshm_strerror(code), name, choice != NULL ? choice : Py_None);

	if (e != NULL)
		PyErr_SetObject((PyObject *)Py_TYPE(e), e);
	Py_XDECREF(e);
	return NULL;
}

/* Setting up -------------------------------------------------------------- */

static bool
take(PyObject **to, PyObject *from, const char *name)
{
	*to = PyObject_GetAttrString(from, name);
	return *to != NULL;
}

static bool
take_errors(struct module *mod)
{
	PyObject *m = PyImport_ImportModule("mcshm._errors");
	const bool ok = m != NULL && take(&mod->error_of, m, "error_of") &&
	    take(&mod->not_sent, m, "NotSent") &&
	    take(&mod->failures, m, "FAILURES");

	Py_XDECREF(m);
	return ok;
}

static bool
take_records(struct module *mod)
{
	PyObject *m = PyImport_ImportModule("mcshm._records");
	const bool ok = m != NULL && take(&mod->server, m, "Server") &&
	    take(&mod->roster, m, "Roster") &&
	    take(&mod->snapshot, m, "Snapshot") &&
	    take(&mod->state_of, m, "state_of") &&
	    take(&mod->status_of, m, "status_of") &&
	    take(&mod->reopen, m, "reopen");

	Py_XDECREF(m);
	return ok;
}

static int
module_exec(PyObject *m)
{
	struct module *mod = PyModule_GetState(m);

	if (!take_errors(mod) || !take_records(mod))
		return -1;
	mod->choice_type = choice_type(m);
	if (mod->choice_type == NULL ||
	    PyModule_AddType(m, mod->choice_type) == -1)
		return -1;
	mod->pool_type = pool_type(m);
	if (mod->pool_type == NULL ||
	    PyModule_AddType(m, mod->pool_type) == -1)
		return -1;
	return PyModule_AddStringConstant(m, "VERSION", VERSION);
}

static int
module_traverse(PyObject *m, visitproc visit, void *arg)
{
	const struct module *mod = PyModule_GetState(m);

	Py_VISIT(mod->pool_type);
	Py_VISIT(mod->choice_type);
	Py_VISIT(mod->error_of);
	Py_VISIT(mod->not_sent);
	Py_VISIT(mod->failures);
	Py_VISIT(mod->server);
	Py_VISIT(mod->roster);
	Py_VISIT(mod->snapshot);
	Py_VISIT(mod->state_of);
	Py_VISIT(mod->status_of);
	Py_VISIT(mod->reopen);
	return 0;
}

static int
module_clear(PyObject *m)
{
	struct module *mod = PyModule_GetState(m);

	Py_CLEAR(mod->pool_type);
	Py_CLEAR(mod->choice_type);
	Py_CLEAR(mod->error_of);
	Py_CLEAR(mod->not_sent);
	Py_CLEAR(mod->failures);
	Py_CLEAR(mod->server);
	Py_CLEAR(mod->roster);
	Py_CLEAR(mod->snapshot);
	Py_CLEAR(mod->state_of);
	Py_CLEAR(mod->status_of);
	Py_CLEAR(mod->reopen);
	return 0;
}

static void
module_free(void *m)
{
	module_clear(m);
}

PyMODINIT_FUNC PyInit__mcshm(void);

PyMODINIT_FUNC
PyInit__mcshm(void)
{
	return PyModuleDef_Init(&definition);
}
