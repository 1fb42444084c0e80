/*
 * pool_option.c - attributes of mcshm.Pool: the options of mcshm_ctl(), and
 * whether it is closed.
 *
 * The library does not tell what it was told, so that is kept here.
 */
#include "pool.h"

#define SECOND UINT64_C(1000000000)

/* What a number of the library's is in Python. */
enum kind { SWITCH, COUNT, SECONDS };

struct option {
	int number;		/* enum mcshm_option */
	enum kind kind;
	uint64_t initially;
};

static const struct option resubmit = { MCSHM_RESUBMIT_ON_ERROR, SWITCH, 0 };
static const struct option most = { MCSHM_RESUBMIT_MAX, COUNT, 3 };
static const struct option deadline =
    { MCSHM_RESUBMIT_DEADLINE, SECONDS, SECOND };
static const struct option suspect =
    { MCSHM_SUSPECT_TIME, SECONDS, 10 * SECOND };
static const struct option reports = { MCSHM_REPORTS, SWITCH, 1 };

void
pool_option_init(struct pool *p)
{
	const struct option *all[] =
	    { &resubmit, &most, &deadline, &suspect, &reports };

	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		p->option[all[i]->number] = all[i]->initially;
		mcshm_ctl(p->m, all[i]->number, all[i]->initially);
	}
}

static PyObject *
option_get(PyObject *o, void *closure)
{
	const struct option *option = closure;
	const uint64_t v = ((struct pool *)o)->option[option->number];

	if (option->kind == SWITCH)
		return PyBool_FromLong(v != 0);
	if (option->kind == COUNT)
		return PyLong_FromUnsignedLongLong(v);
	return PyFloat_FromDouble((double)v / SECOND);
}

/* The number of the library's that a Python value stands for; false with an
 * exception set. */
static bool
number_of(PyObject *value, enum kind kind, uint64_t *v)
{
	double seconds;
	int truth;

	if (kind == SWITCH) {
		truth = PyObject_IsTrue(value);
		*v = truth == 1;
		return truth != -1;
	}
	if (kind == COUNT) {
		*v = PyLong_AsUnsignedLongLong(value);
		return !PyErr_Occurred();
	}
	seconds = PyFloat_AsDouble(value);
	if (PyErr_Occurred())
		return false;
	if (!(seconds >= 0))
		seconds = 0;
	*v = seconds < 9e9 ? (uint64_t)(seconds * SECOND) : INT64_MAX;
	return true;
}

static int
option_set(PyObject *o, PyObject *value, void *closure)
{
	const struct option *option = closure;
	struct pool *p = (struct pool *)o;
	struct mcshm *m;
	uint64_t v;
	int err;

	if (value == NULL) {
		PyErr_SetString(PyExc_AttributeError,
		    "an option can not be deleted");
		return -1;
	}
	if (!number_of(value, option->kind, &v))
		return -1;
	m = pool_enter(p);
	if (m == NULL)
		return -1;
	err = mcshm_ctl(m, option->number, v);
	pool_leave(p);
	if (err != MCSHM_OK) {
		module_raise(p->mod, err, p->name, NULL);
		return -1;
	}
	p->option[option->number] = v;
	return 0;
}

static PyObject *
closed_get(PyObject *o, void *none)
{
	(void)none;
	return PyBool_FromLong(((struct pool *)o)->m == NULL);
}

#define OPTION(name, option, doc) \
	{ name, option_get, option_set, doc, (void *)&(option) }

PyGetSetDef pool_attributes[] = {
	OPTION("resubmit_on_error", resubmit,
	    "run() goes on to the next server; False unless set."),
	OPTION("resubmit_max", most,
	    "Servers that one run() may try, 1 to 16; 3."),
	OPTION("resubmit_deadline", deadline,
	    "Seconds for all tries of one run() together; 1.0."),
	OPTION("suspect_time", suspect,
	    "Seconds that a failed server is passed over at most; 10.0; 0: "
	    "not at all."),
	OPTION("reports", reports,
	    "Is the checker told of failures?  True."),
	{ "closed", closed_get, NULL, "Was close() called?", NULL },
	{ NULL, NULL, NULL, NULL, NULL }
};
