/*
 * receiver.h
 *		The DestReceiver that feeds a query's rows to an encoder.
 *
 * src/pg/parallel/receiver.h
 */
#ifndef OB_RECEIVER_H
#define OB_RECEIVER_H

#include "tcop/dest.h"

#include "pg/encode/encode.h"

/* The parts of the export that the receiver uses. */
typedef struct ObReceiverHooks
{
	const ObCopyOptions *copy;
	struct ObStream *stream;
	struct ObParallel *parallel;
	struct ObProgress *progress; /* gets the planner's estimate */
	MemoryContext context;       /* outlives the query's execution */
} ObReceiverHooks;

typedef struct ObReceiver
{
	DestReceiver base;
	ObReceiverHooks hooks;
	ObEncoder *encoder; /* NULL until the query's columns are known, and if
						 * workers encode: then rows are the workers' tails */
} ObReceiver;

extern void ob_receiver_init(ObReceiver *receiver,
							 const ObReceiverHooks *hooks);

#endif
