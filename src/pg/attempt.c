/*
 * attempt.c
 *		A step whose failure is not the whole statement's.
 *
 * src/pg/attempt.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "pg/attempt.h"

/*
 * Interrupts are raised by two functions of postgres.c (one, before 16), which
 * no SQL can claim to be.  An error of a parallel worker has its place, but no
 * message id.  A wait for a lock that has lasted too long is its step's.
 */
bool
ob_attempt_interrupted(const ErrorData *error)
{
	const char *function = error->funcname;

	if (error->message_id == NULL || function == NULL ||
		error->filename == NULL || strcmp(error->filename, "postgres.c") != 0)
		return false;
	return (strcmp(function, "ProcessInterrupts") == 0 ||
			strcmp(function, "ProcessRecoveryConflictInterrupt") == 0) &&
		   error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE;
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
