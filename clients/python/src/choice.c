/*
 * choice.c - mcshm.Choice: a struct mcshm_choice, and the server in its slot.
 *
 * Numbers become Python's when somebody asks for them, so that making one is
 * cheap: every pick does.
 */
#include <stddef.h>

#include "choice.h"
#include <structmember.h>

struct choice {
	PyObject_HEAD
	struct mcshm_choice c;
	PyObject *server;
};

PyObject *
choice_new(const struct module *mod, const struct mcshm_choice *c,
    PyObject *server)
{
	struct choice *o = PyObject_New(struct choice, mod->choice_type);

	if (o == NULL)
		return NULL;
	o->c = *c;
	Py_INCREF(server);
	o->server = server;
	return (PyObject *)o;
}

const struct mcshm_choice *
choice_value(const struct module *mod, PyObject *o)
{
	if (Py_IS_TYPE(o, mod->choice_type))
		return &((struct choice *)o)->c;
	PyErr_Format(PyExc_TypeError, "a mcshm.Choice is needed, not %R",
	    (PyObject *)Py_TYPE(o));
	return NULL;
}

static void
choice_dealloc(PyObject *o)
{
	PyTypeObject *type = Py_TYPE(o);
	const freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);

	Py_DECREF(((struct choice *)o)->server);
	release(o);
	Py_DECREF(type);
}

static PyObject *
choice_repr(PyObject *o)
{
	const struct choice *choice = (struct choice *)o;
	const struct mcshm_choice *c = &choice->c;
	PyObject *name, *text;

	name = choice->server == Py_None ? PyUnicode_FromString("?") :
	    PyObject_GetAttrString(choice->server, "name");
	if (name == NULL)
		return NULL;
	text = PyUnicode_FromFormat(
	    "<mcshm.Choice %U slot=%u home=%u tries=%u%s%s%s%s>", name,
	    (unsigned)c->slot, (unsigned)c->home, (unsigned)c->tries,
	    c->flags & MCSHM_BLIND ? " blind" : "",
	    c->flags & MCSHM_SUSPECT ? " suspect" : "",
	    c->flags & MCSHM_SILENT ? " silent" : "",
	    c->flags & MCSHM_DRAINED ? " drained" : "");
	Py_DECREF(name);
	return text;
}

/* The closure is the flag. */
static PyObject *
choice_flag(PyObject *o, void *flag)
{
	return PyBool_FromLong(
	    (((struct choice *)o)->c.flags & (uintptr_t)flag) != 0);
}

static PyMemberDef members[] = {
	{ "server", T_OBJECT, offsetof(struct choice, server), READONLY,
	    "The Server to ask." },
	{ "roster", T_ULONGLONG, offsetof(struct choice, c.roster), READONLY,
	    "The id of the roster that slot and home are of." },
	{ "slot", T_UINT, offsetof(struct choice, c.slot), READONLY,
	    "The server's place in the roster." },
	{ "home", T_UINT, offsetof(struct choice, c.home), READONLY,
	    "The slot that the key has when all servers are up." },
	{ "tries", T_UINT, offsetof(struct choice, c.tries), READONLY,
	    "Rehash steps taken; 0: the slot is the home." },
	{ "failover_ttl", T_UINT, offsetof(struct choice, c.failover_ttl),
	    READONLY, "Seconds that what is stored here should live at most; "
	    "0: no cap.  See mcshm.cap()." },
	{ NULL, 0, 0, 0, NULL }
};

#define FLAG(name, flag, doc) \
	{ name, choice_flag, NULL, doc, (void *)(uintptr_t)(flag) }

static PyGetSetDef flags[] = {
	FLAG("blind", MCSHM_BLIND, "Nobody vouches for this choice: the "
	    "checker is dead, hung or failing open."),
	FLAG("silent", MCSHM_SILENT, "A candidate that is HELD."),
	FLAG("drained", MCSHM_DRAINED, "A candidate that the operator drains."),
	FLAG("suspect", MCSHM_SUSPECT,
	    "A candidate that failed in this process a moment ago."),
	{ NULL, NULL, NULL, NULL, NULL }
};

static PyType_Slot slots[] = {
	{ Py_tp_doc, (void *)"Which server for a key, and how it came to it." },
	{ Py_tp_dealloc, (void *)choice_dealloc },
	{ Py_tp_repr, (void *)choice_repr },
	{ Py_tp_members, members },
	{ Py_tp_getset, flags },
	{ 0, NULL }
};

static PyType_Spec spec = {
	.name = "mcshm.Choice",
	.basicsize = sizeof(struct choice),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION |
	    Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};

PyTypeObject *
choice_type(PyObject *m)
{
	return (PyTypeObject *)PyType_FromModuleAndSpec(m, &spec, NULL);
}
