/*
 * checker_return.c - one server: may one that was DOWN be trusted again?
 *
 * Must not step a verdict.
 */
#include "checker_engine.h"

uint32_t
return_asks(struct watch *w)
{
	(void)w;
	return 0;
}

void
return_finding(struct watch *w, struct finding *f)
{
	(void)w;
	f->cleared = true;
}
