/*
 * call.c
 *		A single call of S3's, and waiting for it.
 *
 * src/pg/store/call.c
 */
#include "postgres.h"

#include "pg/store/call.h"
#include "pg/base/wait.h"

static void
free_call(void *arg)
{
	ob_s3_call_free(&((ObCall *) arg)->core);
}

static void
on_done(ObS3Call *core)
{
	((ObCall *) core->arg)->done = true;
}

ObCall *
ob_call_new(ObS3 *s3, const ObPair *common, int ncommon)
{
	ObCall *call = palloc0(sizeof(ObCall));

	ob_s3_call_init(&call->core, s3, on_done, call);
	call->core.common = common;
	call->core.ncommon = ncommon;
	/* registered after the client's, so it runs before it */
	call->callback.func = free_call;
	call->callback.arg = call;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &call->callback);
	return call;
}

void
ob_call_wait(ObCall *call)
{
	while (!call->done)
		ob_wait(ob_s3_http(call->core.s3));
	call->done = false;
}
