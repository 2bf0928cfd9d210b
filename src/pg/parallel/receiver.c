/*
 * receiver.c
 *		The DestReceiver that feeds a query's rows to an encoder.
 *
 * src/pg/parallel/receiver.c
 *
 * The executor calls rStartup in its own per-query memory, which is gone when
 * the last bytes are written after the query's end: so the encoder, and the
 * tuple descriptor it refers to, live in the export's context.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"

#include "pg/parallel/parallel.h"
#include "pg/parallel/receiver.h"
#include "pg/store/stream.h"

/* Raises unless the rows are the workers' last bytes. */
static void
check_tails(TupleDesc desc)
{
	if (desc->natts != 1 || TupleDescAttr(desc, 0)->atttypid != BYTEAOID)
		elog(ERROR, "the plan of the export does not return its workers' "
					"bytes");
}

static void
startup(DestReceiver *self, int operation, TupleDesc desc)
{
	ObReceiver *receiver = (ObReceiver *) self;
	MemoryContext before;

	ob_progress_estimate(receiver->hooks.progress,
						 ob_parallel_estimate(receiver->hooks.parallel));
	if (ob_parallel_is_pushed_down(receiver->hooks.parallel))
	{
		check_tails(desc);
		return;
	}
	before = MemoryContextSwitchTo(receiver->hooks.context);
	receiver->encoder =
		ob_stream_encoder(receiver->hooks.stream, receiver->hooks.copy,
						  CreateTupleDescCopy(desc));
	receiver->encoder->origin = ob_parallel_origin(receiver->hooks.parallel);
	ob_encoder_start(receiver->encoder);
	MemoryContextSwitchTo(before);
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	ObReceiver *receiver = (ObReceiver *) self;

	if (!receiver->encoder)
	{
		ob_parallel_tail(receiver->hooks.parallel, slot);
		return true;
	}
	ob_encoder_row(receiver->encoder, slot);
	ob_stream_after_row(receiver->hooks.stream);
	return true;
}

static void
nothing(DestReceiver *self)
{
}

void
ob_receiver_init(ObReceiver *receiver, const ObReceiverHooks *hooks)
{
	memset(receiver, 0, sizeof(*receiver));
	receiver->base.receiveSlot = receive;
	receiver->base.rStartup = startup;
	receiver->base.rShutdown = nothing;
	receiver->base.rDestroy = nothing;
	receiver->base.mydest = DestCopyOut;
	receiver->hooks = *hooks;
}
