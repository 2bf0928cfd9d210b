/*
 * credentials_fetch.c
 *		Carrying out a plan, one question after the other.
 *
 * src/core/credentials_fetch.c
 */
#include "credentials_intern.h"

#include <string.h>

static void
finish(ObFetch *fetch)
{
	ob_plan_wipe(&fetch->plan);
	if (fetch->error.code != OB_OK)
		ob_keys_wipe(&fetch->keys);
	fetch->running = false;
	fetch->done(fetch);
}

void
ob_fetch_start(ObFetch *fetch)
{
	fetch->running = true;
	ob_error_clear(&fetch->error);
	if (ob_plan_make(&fetch->plan, fetch->options, &fetch->error) == OB_OK)
	{
		ob_keys_move(&fetch->keys, &fetch->plan.keys);
		memcpy(fetch->origin, fetch->plan.origin, sizeof(fetch->origin));
	}
	finish(fetch);
}

void
ob_fetch_free(ObFetch *fetch)
{
	ob_plan_wipe(&fetch->plan);
	ob_keys_wipe(&fetch->keys);
	fetch->running = false;
}
