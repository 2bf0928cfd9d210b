/*
 * call.h
 *		A single call of S3's, and waiting for it.
 *
 * src/pg/store/call.h
 */
#ifndef OB_CALL_H
#define OB_CALL_H

#include "core/s3/s3.h"

/* core is to be started by the caller, again and again if he likes. */
typedef struct ObCall
{
	ObS3Call core;
	bool done;
	MemoryContextCallback callback;
} ObCall;

/*
 * In the current memory context, in which the client must have been made
 * before; it ends with it.  common is borrowed: headers of each call.
 */
extern ObCall *ob_call_new(ObS3 *s3, const ObPair *common, int ncommon);

/* Waits until what was started is done; its outcome is in core.error.  Answers
 * interrupts, so it may raise. */
extern void ob_call_wait(ObCall *call);

#endif
