/*
 * checker_doubt.c - ourselves: TILT, awareness, failing open.
 *
 * Must not know how a server is probed.
 */
#include "checker_engine.h"

void
doubt_finding(struct watch *w, struct finding *f)
{
	(void)w;
	(void)f;
}
