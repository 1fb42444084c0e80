/*
 * choice.h - mcshm.Choice: a struct mcshm_choice, and the server in its slot.
 * A value: nothing can change it.
 */
#ifndef CHOICE_H
#define CHOICE_H

#include "module.h"

PyTypeObject *choice_type(PyObject *m);

/* server: a mcshm.Server or None. */
PyObject *choice_new(const struct module *mod, const struct mcshm_choice *c,
    PyObject *server);

/* What is inside; NULL with a TypeError if o is no Choice. */
const struct mcshm_choice *choice_value(const struct module *mod, PyObject *o);

#endif
