/*
 * subtransaction.c
 *		A step whose failure is not the whole statement's.
 *
 * src/pg/base/subtransaction.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "pg/base/subtransaction.h"

/*
 * Interrupts are raised in postgres.c, a file name that no SQL can give to an
 * error, by functions whose names differ between versions; no other error
 * there has these codes.  An error of a parallel worker has its place, but no
 * message id.  A lock timeout is an error of the step alone.
 */
bool
ob_attempt_interrupted(const ErrorData *error)
{
	if (error->message_id == NULL || error->filename == NULL ||
		strcmp(error->filename, "postgres.c") != 0)
		return false;
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		   error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

ErrorData *
ob_attempt(void (*step)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error && ob_attempt_interrupted(error))
		ReThrowError(error);
	return error;
}
