/*
 * pool.h - mcshm.Pool: a handle of the library.  Private to pool*.c, but for
 * pool_type().
 *
 * Whatever runs Python code (a callback, the making of records) or waits
 * without the interpreter lock may find the pool closed when it comes back.  It
 * therefore enters first: a handle is closed by the last one that leaves.
 */
#ifndef POOL_H
#define POOL_H

#include <stdbool.h>

#include "module.h"

/* The options of mcshm_ctl(), 1 to POOL_OPTIONS - 1. */
#define POOL_OPTIONS (MCSHM_REPORTS + 1)

struct pool {
	PyObject_HEAD
	struct mcshm *m;		/* NULL: closed */
	struct mcshm *parting;		/* closed with somebody inside */
	unsigned inside;
	const struct module *mod;	/* kept alive by the type */
	PyObject *name;			/* or path */
	unsigned flags;
	uint64_t option[POOL_OPTIONS];
	/* The roster met last: its id, 0: none yet, and its Servers. */
	uint64_t roster;
	PyObject *servers;		/* a tuple */
	PyObject *weak;
};

PyTypeObject *pool_type(PyObject *m);

/* The handle, to be left again; NULL, with a ValueError, if it is closed. */
struct mcshm *pool_enter(struct pool *p);
void pool_leave(struct pool *p);

/* A key's bytes, good as long as the key is. */
bool pool_key(PyObject *key, const char **s, size_t *len);

/* Meet the roster of now: p->roster and p->servers.  The pool must be entered.
 * 0, or MCSHM_E..., or 1 and an exception set. */
int pool_meet(struct pool *p, struct mcshm *m);
/* The Server of a choice, or None when the roster met last is another one;
 * borrowed. */
PyObject *pool_server_of(const struct pool *p, const struct mcshm_choice *c);
/* Set the exception of an error that came with this choice; NULL. */
PyObject *pool_raise(const struct pool *p, int err,
    const struct mcshm_choice *c);

/* Defaults of the options into a new handle. */
void pool_option_init(struct pool *p);

/* Methods, each in a file with what it needs. */
PyObject *pool_pick(PyObject *o, PyObject *const *args, Py_ssize_t n);
PyObject *pool_candidates(PyObject *o, PyObject *args, PyObject *keywords);
PyObject *pool_roster(PyObject *o, PyObject *none);
PyObject *pool_servers(PyObject *o, PyObject *none);
PyObject *pool_snapshot(PyObject *o, PyObject *none);
PyObject *pool_status(PyObject *o, PyObject *none);
PyObject *pool_state(PyObject *o, PyObject *choice);
PyObject *pool_refresh(PyObject *o, PyObject *none);
PyObject *pool_wait(PyObject *o, PyObject *args, PyObject *keywords);
PyObject *pool_failed(PyObject *o, PyObject *choice);
PyObject *pool_run(PyObject *o, PyObject *args, PyObject *keywords);
PyObject *pool_reduce(PyObject *o, PyObject *none);
/* Options, which have a setter, and what can only be looked at. */
extern PyGetSetDef pool_attributes[];

#endif
