/*
 * record.h - structs of the library as mcshm/_records.py has them.  Each
 * returns a new reference, or NULL with an exception set.
 */
#ifndef RECORD_H
#define RECORD_H

#include "module.h"

PyObject *record_server(const struct module *mod, const struct mcshm_server *s);
PyObject *record_state(const struct module *mod, const struct mcshm_state *s);
/* name: the pool's, for what may be wrong with it. */
PyObject *record_status(const struct module *mod, const struct mcshm_status *s,
    PyObject *name);

#endif
