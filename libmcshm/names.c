/*
 * names.c - numbers in words, for people and logs.  Pure.
 */
#include "mcshm.h"
#include "mcshm_format.h"

const char *
mcshm_strerror(int err)
{
	if (err >= 0)
		return "no error";
	switch ((enum mcshm_error)err) {
	case MCSHM_OK:
		break;
	case MCSHM_ENONE:
		return "no server of the pool is usable";
	case MCSHM_EROSTER:
		return "the pool has another roster now";
	case MCSHM_EAGAIN:
		return "the writer was faster each time: try again";
	case MCSHM_EINVAL:
		return "invalid argument";
	case MCSHM_ENOENT:
		return "no such pool file";
	case MCSHM_EPERM:
		return "pool file may not be read, or its owner or mode can "
		       "not be trusted";
	case MCSHM_EDAMAGED:
		return "not a pool file, or a damaged one";
	case MCSHM_EVERSION:
		return "pool file has a format or scheme that this version "
		       "does not know";
	case MCSHM_ESYS:
		return "out of memory, descriptors or another resource of the "
		       "system";
	case MCSHM_EHELD:
		return "the key's server is silent: take it as a miss";
	case MCSHM_EMISS:
		return "the key's server is down: take it as a miss";
	case MCSHM_EDOWN:
		return "the key's server is down";
	case MCSHM_EFAILED:
		return "the server failed, and no other one was to be tried";
	}
	return "unknown error";
}

static const struct {
	const char *name, *text;
} reasons[] = {
#define X(number, id, name, class, text) [number] = { name, text },
	MCSHM_REASONS(X)
#undef X
};

const char *
mcshm_reason_name(unsigned reason)
{
	return reason < MCSHM_R_COUNT ? reasons[reason].name : NULL;
}

const char *
mcshm_reason_text(unsigned reason)
{
	return reason < MCSHM_R_COUNT ? reasons[reason].text : NULL;
}

static const struct {
	const char *name, *text;
} degraded[] = {
#define X(bit, id, name, text) [bit] = { name, text },
	MCSHM_DEGRADED_BITS(X)
#undef X
};
#define DEGRADED (sizeof degraded / sizeof degraded[0])

const char *
mcshm_degraded_name(unsigned bit)
{
	return bit < DEGRADED ? degraded[bit].name : NULL;
}

const char *
mcshm_degraded_text(unsigned bit)
{
	return bit < DEGRADED ? degraded[bit].text : NULL;
}

const char *
mcshm_verdict_name(unsigned verdict)
{
	static const char *const names[] = {
		[MCSHM_UNKNOWN] = "UNKNOWN",
		[MCSHM_UP] = "UP",
		[MCSHM_HELD] = "HELD",
		[MCSHM_DOWN] = "DOWN",
		[MCSHM_RECOVERING] = "RECOVERING",
	};

	return verdict < sizeof names / sizeof *names ? names[verdict] : NULL;
}

const char *
mcshm_admin_name(unsigned admin)
{
	static const char *const names[] = {
		[MCSHM_READY] = "READY",
		[MCSHM_DRAIN] = "DRAIN",
		[MCSHM_MAINT] = "MAINT",
	};

	return admin < sizeof names / sizeof *names ? names[admin] : NULL;
}
