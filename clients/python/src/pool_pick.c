/*
 * pool_pick.c - which server?  Choices, each with the Server in its slot.
 *
 * The one file whose speed matters: a pick of a roster met before makes one
 * object and calls no Python code.
 */
#include "choice.h"
#include "pool.h"

/* New rosters between picking a slot and learning whose it is. */
#define ROSTERS_MAX 8
/* Candidates without an allocation. */
#define FEW 16

bool
pool_key(PyObject *key, const char **s, size_t *len)
{
	Py_ssize_t n;
	char *bytes;

	if (PyUnicode_Check(key)) {
		*s = PyUnicode_AsUTF8AndSize(key, &n);
		if (*s == NULL)
			return false;
	} else if (PyBytes_Check(key)) {
		if (PyBytes_AsStringAndSize(key, &bytes, &n) == -1)
			return false;
		*s = bytes;
	} else {
		PyErr_Format(PyExc_TypeError, "a key is str or bytes, not %R",
		    (PyObject *)Py_TYPE(key));
		return false;
	}
	*len = (size_t)n;
	return true;
}

/* Borrowed; None where there is none: a file may say anything. */
static PyObject *
server_at(PyObject *servers, uint32_t slot)
{
	return servers != NULL && slot < (size_t)PyTuple_Size(servers) ?
	    PyTuple_GetItem(servers, (Py_ssize_t)slot) : Py_None;
}

PyObject *
pool_server_of(const struct pool *p, const struct mcshm_choice *c)
{
	return p->roster == c->roster ? server_at(p->servers, c->slot) :
	    Py_None;
}

/* Is there no server to ask just now, for reasons that pass? */
static bool
is_no_answer(int err)
{
	return err == MCSHM_ENONE || err == MCSHM_EHELD ||
	    err == MCSHM_EMISS || err == MCSHM_EDOWN || err == MCSHM_ENOENT;
}

/* Does *c say which slot? */
static bool
has_slot(int err)
{
	return err == MCSHM_OK || err == MCSHM_EHELD || err == MCSHM_EMISS ||
	    err == MCSHM_EDOWN || err == MCSHM_EFAILED;
}

PyObject *
pool_raise(const struct pool *p, int err, const struct mcshm_choice *c)
{
	PyObject *choice = has_slot(err) ?
	    choice_new(p->mod, c, pool_server_of(p, c)) : NULL;

	module_raise(p->mod, err, p->name, choice);
	Py_XDECREF(choice);
	return NULL;
}

/* mcshm_pick(), and p->servers are of its roster where that matters; 1 and an
 * exception set. */
static int
pick_known(struct pool *p, struct mcshm *m, const char *key, size_t len,
    bool want_slot, struct mcshm_choice *c)
{
	int err, trouble;

	for (int i = 0; i < ROSTERS_MAX; i++) {
		err = mcshm_pick(m, key, len, c);
		if (!has_slot(err) || c->roster == p->roster ||
		    (err != MCSHM_OK && !want_slot))
			return err;
		trouble = pool_meet(p, m);
		if (trouble != MCSHM_OK && trouble != MCSHM_EAGAIN)
			return trouble;
	}
	return MCSHM_EROSTER;
}

PyObject *
pool_pick(PyObject *o, PyObject *const *args, Py_ssize_t n)
{
	struct pool *p = (struct pool *)o;
	PyObject *answer = NULL;
	struct mcshm_choice c;
	struct mcshm *m;
	const char *key;
	size_t len;
	int err;

	if (n != 1 && n != 2)
		return PyErr_Format(PyExc_TypeError,
		    "pick() takes a key and perhaps a default, not %zd "
		    "arguments", n);
	if (!pool_key(args[0], &key, &len))
		return NULL;
	m = pool_enter(p);
	if (m == NULL)
		return NULL;
	err = pick_known(p, m, key, len, n == 1, &c);
	if (err == MCSHM_OK)
		answer = choice_new(p->mod, &c, pool_server_of(p, &c));
	else if (n == 2 && is_no_answer(err))
		Py_INCREF(answer = args[1]);
	else if (err < 0)
		pool_raise(p, err, &c);
	pool_leave(p);
	return answer;
}

/* Choices of the roster met last. */
static PyObject *
list_of(const struct pool *p, const struct mcshm_choice *v, int n)
{
	PyObject *servers = p->servers, *list;

	Py_XINCREF(servers);
	list = PyList_New(n);
	for (int i = 0; list != NULL && i < n; i++) {
		PyObject *choice = choice_new(p->mod, &v[i],
		    server_at(servers, v[i].slot));

		if (choice == NULL)
			Py_CLEAR(list);
		else
			PyList_SetItem(list, i, choice);
	}
	Py_XDECREF(servers);
	return list;
}

/* Into v, which has room for k; how many, or an error as of pool_meet(). */
static int
candidates_known(struct pool *p, struct mcshm *m, const char *key, size_t len,
    struct mcshm_choice *v, size_t k)
{
	int n, trouble;

	for (int i = 0; i < ROSTERS_MAX; i++) {
		n = mcshm_candidates(m, key, len, v, k);
		if (n <= 0 || v[0].roster == p->roster)
			return n;
		trouble = pool_meet(p, m);
		if (trouble == 1)
			return MCSHM_OK;
		if (trouble != MCSHM_OK && trouble != MCSHM_EAGAIN)
			return trouble;
	}
	return MCSHM_EROSTER;
}

static PyObject *
list_candidates(struct pool *p, struct mcshm *m, const char *key, size_t len,
    size_t k)
{
	struct mcshm_choice few[FEW], *v = few;
	PyObject *list = NULL;
	int n;

	if (k > FEW) {
		n = mcshm_servers(m, NULL, 0, sizeof(struct mcshm_server),
		    NULL);
		if (n < FEW)
			n = FEW;
		if (k > (size_t)n)
			k = (size_t)n;
		v = PyMem_Malloc(k * sizeof *v);
		if (v == NULL)
			return PyErr_NoMemory();
	}
	n = candidates_known(p, m, key, len, v, k);
	if (n == MCSHM_ENONE || n == MCSHM_ENOENT)
		n = 0;
	if (n < 0)
		module_raise(p->mod, n, p->name, NULL);
	else if (!PyErr_Occurred())
		list = list_of(p, v, n);
	if (v != few)
		PyMem_Free(v);
	return list;
}

PyObject *
pool_candidates(PyObject *o, PyObject *args, PyObject *keywords)
{
	static const char *names[] = { "key", "k", NULL };
	struct pool *p = (struct pool *)o;
	PyObject *object, *list;
	struct mcshm *m;
	const char *key;
	size_t len;
	Py_ssize_t k;

	if (!PyArg_ParseTupleAndKeywords(args, keywords, "On:candidates",
	    (char **)names, &object, &k) || !pool_key(object, &key, &len))
		return NULL;
	if (k < 1) {
		PyErr_SetString(PyExc_ValueError, "k is 1 or more");
		return NULL;
	}
	m = pool_enter(p);
	if (m == NULL)
		return NULL;
	list = list_candidates(p, m, key, len, (size_t)k);
	pool_leave(p);
	return list;
}
