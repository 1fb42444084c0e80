/*
 * module.h - what the parts of mcshm._mcshm share: the module's own objects,
 * and how a code of the library becomes an exception.
 *
 * The extension moves values between libmcshm and Python, holds the interpreter
 * lock but where mcshm_wait() sleeps, and decides nothing: names, records and
 * exceptions are Python's (mcshm/_records.py, mcshm/_errors.py).
 *
 * Only the stable ABI: one binary serves every Python from 3.10 on.
 */
#ifndef MODULE_H
#define MODULE_H

#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030a0000
#endif
#include <Python.h>
#include <mcshm.h>

struct module {
	PyTypeObject *pool_type, *choice_type;
	PyObject *error_of;		/* _errors.error_of */
	PyObject *not_sent;		/* _errors.NotSent */
	PyObject *failures;		/* exceptions that blame the server */
	/* _records: classes, and functions. */
	PyObject *server, *roster, *snapshot;
	PyObject *state_of, *status_of, *reopen;
};

/* The module that this type, or one that it is derived from, is of; NULL with
 * an exception set. */
struct module *module_of(PyTypeObject *type);

/* Set the exception of an MCSHM_E code, about the pool of this name; choice may
 * be NULL.  Returns NULL, for callers to return. */
PyObject *module_raise(const struct module *mod, int code, PyObject *name,
    PyObject *choice);

#endif
