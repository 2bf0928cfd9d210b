/*
 * parallel_scan.c
 *		The Custom Scan that exports its child's rows, and returns none.
 *
 * src/pg/parallel/parallel_scan.c
 *
 * The leader writes into the export's own stream and returns nothing.  A
 * worker makes a stream of its own from the data in dynamic shared memory, and
 * returns one row at the end: the bytes that were too few for a part.
 *
 * The order of calls is, in the leader: Begin, EstimateDSM, InitializeDSM,
 * Exec, Shutdown, End; in a worker: Begin, InitializeWorker, Exec, Shutdown,
 * End.  The shared memory is gone after the leader's Shutdown.  There is none
 * at all when the executor runs the plan without workers, in which case the
 * leader does all the work.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "utils/memutils.h"

#include "pg/base/compat.h"
#include "pg/parallel/parallel_intern.h"
#include "pg/base/errors.h"

/* The plan_node_id of our node; those of the planner are small. */
#define PLAN_NODE_ID 0x0B0A0D

typedef struct SinkScan
{
	CustomScanState base;
	ObParallel *parallel; /* set in the leader */
	ObShared *shared;     /* set in a worker */
	List *columns; /* numbers of the child's columns that make up the result */
	bool done;
	MemoryContext context; /* context of a worker's stream */
	ObStream *stream;
	ObProgress *progress;
	ObUploadShare share;
} SinkScan;

/* ---- the plan ---- */

static Node *create_state(CustomScan *scan);

static const CustomScanMethods scan_methods = {"OnboardSink", create_state};

/* Describes the result for the workers: {columns, names, types, typmods},
 * what. */
static List *
describe(List *columns, TupleDesc desc, const char *what)
{
	List *names = NIL;
	List *types = NIL;
	List *typmods = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		names =
			lappend(names, makeString(pstrdup(NameStr(attribute->attname))));
		types = lappend_oid(types, attribute->atttypid);
		typmods = lappend_int(typmods, attribute->atttypmod);
	}
	return list_make5(columns, names, types, typmods,
					  makeString(pstrdup(what)));
}

Plan *
ob_sink_scan_plan(Plan *child, List *columns, TupleDesc desc, const char *what)
{
	CustomScan *scan = makeNode(CustomScan);
	Plan *plan = &scan->scan.plan;

	/* costs and parameters are those of the child */
	*plan = *child;
	plan->type = T_CustomScan;
	plan->lefttree = NULL;
	plan->righttree = NULL;
	plan->qual = NIL;
	plan->initPlan = NIL;
	plan->parallel_aware = true;
	plan->parallel_safe = true;
	plan->plan_node_id = PLAN_NODE_ID;
	plan->targetlist = list_make1(makeTargetEntry(
		(Expr *) makeVar(INDEX_VAR, 1, BYTEAOID, -1, InvalidOid, 0), 1, "tail",
		false));
	scan->custom_scan_tlist = list_make1(makeTargetEntry(
		(Expr *) makeNullConst(BYTEAOID, -1, InvalidOid), 1, "tail", false));
	scan->custom_plans = list_make1(child);
	scan->custom_private = describe(columns, desc, what);
	scan->methods = &scan_methods;
	return (Plan *) scan;
}

static TupleDesc
described(const CustomScan *scan)
{
	List *names = lsecond(scan->custom_private);
	List *types = lthird(scan->custom_private);
	List *typmods = lfourth(scan->custom_private);
	TupleDesc desc = CreateTemplateTupleDesc(list_length(names));

	for (int i = 0; i < list_length(names); i++)
		TupleDescInitEntry(desc, i + 1, strVal(list_nth(names, i)),
						   list_nth_oid(types, i), list_nth_int(typmods, i),
						   0);
	ob_tuple_desc_end(desc);
	return desc;
}

/* Returns the export that the scan was attached to.  A plan of ours that
 * another extension has kept has none. */
static ObParallel *
export_of(const SinkScan *scan)
{
	if (!scan->parallel)
		elog(ERROR, "the plan of an export was run by something else");
	return scan->parallel;
}

/* ---- rows ---- */

/* Whether the result is the child's row without changes. */
static bool
is_whole_row(const SinkScan *scan, TupleDesc desc)
{
	int number = 0;
	ListCell *cell;

	if (list_length(scan->columns) != desc->natts)
		return false;
	foreach (cell, scan->columns)
	{
		if (lfirst_int(cell) != ++number)
			return false;
	}
	return true;
}

static void
choose_columns(const SinkScan *scan, TupleTableSlot *from, TupleTableSlot *to)
{
	int i = 0;
	ListCell *cell;

	ExecClearTuple(to);
	slot_getallattrs(from);
	foreach (cell, scan->columns)
	{
		int column = lfirst_int(cell) - 1;

		to->tts_values[i] = from->tts_values[column];
		to->tts_isnull[i] = from->tts_isnull[column];
		i++;
	}
	ExecStoreVirtualTuple(to);
}

/* Informs those who must know where the rows are of a part that has ended. */
static void
note_part(SinkScan *scan, ObEncoder *encoder, ObStream *stream, int *last)
{
	const ObFormat *format = encoder->options->format;
	int number = ob_stream_last_part(stream);

	if (!format->part_ended || number == *last)
		return;
	*last = number;
	format->part_ended(encoder, number);
	if (scan->parallel)
		ob_parallel_part_ended(scan->parallel, number);
}

/* Encodes all rows that this process gets.  A worker's last part ends if it is
 * large enough.  Returns the format's description of all parts, with len 0 if
 * it has none. */
static StringInfo
export_rows(SinkScan *scan, ObStream *stream, const ObCopyOptions *copy,
			TupleDesc desc)
{
	PlanState *child = linitial(scan->base.custom_ps);
	ObEncoder *encoder = ob_stream_encoder(stream, copy, desc);
	int last = ob_stream_last_part(stream);
	StringInfo description = makeStringInfo();
	TupleTableSlot *chosen = NULL;

	encoder->part_start = ob_stream_pending(stream);
	if (!is_whole_row(scan, ExecGetResultType(child)))
		chosen = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	for (;;)
	{
		TupleTableSlot *slot;

		CHECK_FOR_INTERRUPTS();
		slot = ExecProcNode(child);
		if (TupIsNull(slot))
			break;
		if (chosen)
		{
			choose_columns(scan, slot, chosen);
			slot = chosen;
		}
		ob_encoder_row(encoder, slot);
		ob_stream_after_row(stream);
		note_part(scan, encoder, stream, &last);
	}
	if (chosen)
		ExecDropSingleTupleTableSlot(chosen);
	if (copy->format->flush)
		copy->format->flush(encoder);
	ob_stream_end_piece(stream);
	if (!scan->parallel)
		ob_stream_end_part(stream, OB_PART_MIN);
	note_part(scan, encoder, stream, &last);
	if (copy->format->describe)
		copy->format->describe(encoder, description);
	return description;
}

/* All full parts are sent before this returns, since they must not wait while
 * the leader waits for its workers.  The rest goes with the workers' tails. */
static void
export_in_leader(SinkScan *scan)
{
	ObParallel *parallel = export_of(scan);
	MemoryContext before = MemoryContextSwitchTo(parallel->context);
	StringInfo description;

	description =
		export_rows(scan, parallel->stream, &parallel->copy, parallel->desc);
	ob_parallel_describe(parallel, description->data, description->len, 0);
	ob_stream_drain(parallel->stream);
	MemoryContextSwitchTo(before);
}

static void
open_stream(SinkScan *scan, const ObSharedView *view)
{
	const ObShared *shared = scan->shared;
	ObProgressLabel label = {shared->run_id, "", shared->leader, 0};
	const ObStreamShare share = {
		.upload = &scan->share,
		.id = view->upload_id,
		.memory = shared->memory,
		.connections = shared->connections,
	};

	scan->progress = ob_progress_begin(&label);
	scan->stream = ob_stream_new(&view->stream, scan->progress);
	scan->share.take_number = ob_shared_take_number;
	scan->share.landed = ob_shared_landed;
	scan->share.arg = &scan->shared;
	scan->share.head =
		ob_codec_head_of(view->stream.codec, view->head, view->head_len);
	ob_stream_share(scan->stream, &share);
}

/* Returns the rest of this process's bytes, for the leader to send: see
 * ObTail. */
static bytea *
take_tail(ObStream *stream, const StringInfoData *description)
{
	ObTail tail = {.described = description->len};
	size_t len;
	const char *bytes = ob_stream_take_tail(stream, &len, &tail.raw);
	Size size = VARHDRSZ + sizeof(tail) + description->len + len;
	bytea *result;
	char *to;

	if (!AllocSizeIsValid(size))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the row groups of a parallel worker are too many"),
				 errhint("Raise \"row_group_size\" and \"part_size\".")));
	result = palloc(size);
	SET_VARSIZE(result, size);
	to = VARDATA(result);
	memcpy(to, &tail, sizeof(tail));
	to += sizeof(tail);
	memcpy(to, description->data, description->len);
	if (len > 0)
		memcpy(to + description->len, bytes, len);
	return result;
}

/* Returns the tail in the scan's slot. */
static TupleTableSlot *
export_in_worker(SinkScan *scan)
{
	TupleTableSlot *slot = scan->base.ss.ss_ScanTupleSlot;
	MemoryContext before = MemoryContextSwitchTo(scan->context);
	ObSharedView view;
	ObFigures figures;
	StringInfo description;
	bytea *tail;

	ob_shared_read(scan->shared, &view);
	open_stream(scan, &view);
	description = export_rows(scan, scan->stream, &view.copy,
							  described((CustomScan *) scan->base.ss.ps.plan));
	ob_stream_drain(scan->stream);
	ob_stream_figures(scan->stream, &figures);
	ob_progress_end(scan->progress);
	ob_shared_add(scan->shared, &figures);
	tail = take_tail(scan->stream, description);
	pfree(description->data);
	pg_atomic_fetch_add_u64(&scan->shared->bytes,
							(int64) ob_stream_bytes(scan->stream));
	/* an empty one also informs the leader that this worker has ended */
	ExecClearTuple(slot);
	slot->tts_values[0] = PointerGetDatum(tail);
	slot->tts_isnull[0] = false;
	ExecStoreVirtualTuple(slot);
	MemoryContextSwitchTo(before);
	return slot;
}

/* ---- the executor's calls ---- */

static void
begin_scan(CustomScanState *node, EState *estate, int eflags)
{
	SinkScan *scan = (SinkScan *) node;
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;

	scan->columns = linitial(plan->custom_private);
	/* functions that walk over plans reach the child only through this list */
	node->custom_ps =
		list_make1(ExecInitNode(linitial(plan->custom_plans), estate, eflags));
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	if (IsParallelWorker())
		scan->context = AllocSetContextCreate(
			CurTransactionContext, "onboard worker", ALLOCSET_DEFAULT_SIZES);
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	SinkScan *scan = (SinkScan *) node;

	if (scan->done)
		return NULL;
	scan->done = true;
	if (!scan->shared)
	{
		export_in_leader(scan);
		return NULL;
	}
	/* the leader has failed meanwhile, and is about to end this worker */
	if (ob_shared_is_wiped(scan->shared))
		return NULL;
	return export_in_worker(scan);
}

static void
end_scan(CustomScanState *node)
{
	SinkScan *scan = (SinkScan *) node;

	ExecEndNode(linitial(node->custom_ps));
	if (scan->context)
		MemoryContextDelete(scan->context);
	scan->context = NULL;
}

static void
rescan(CustomScanState *node)
{
	elog(ERROR, "an export cannot be scanned again");
}

static Size
estimate_dsm(CustomScanState *node, ParallelContext *pcxt)
{
	ObParallel *parallel = export_of((SinkScan *) node);

	parallel->shared_size =
		ob_shared_estimate(parallel, ob_stream_upload_id(parallel->stream));
	return parallel->shared_size;
}

static void
initialize_dsm(CustomScanState *node, ParallelContext *pcxt, void *coordinate)
{
	ObParallel *parallel = export_of((SinkScan *) node);

	ob_shared_fill(coordinate, parallel, ob_stream_upload_id(parallel->stream),
				   parallel->shared_size);
	parallel->shared = coordinate;
	parallel->pcxt = pcxt;
}

static void
initialize_worker(CustomScanState *node, shm_toc *toc, void *coordinate)
{
	((SinkScan *) node)->shared = coordinate;
}

/* Takes the state back from shared memory, which is about to go since the
 * workers have ended. */
static void
shutdown_scan(CustomScanState *node)
{
	ObParallel *parallel = ((SinkScan *) node)->parallel;
	ObShared *shared;

	if (!parallel || !parallel->pcxt)
		return;
	shared = parallel->shared;
	ob_shared_wipe(shared);
	parallel->shared = MemoryContextAlloc(parallel->context, shared->image);
	memcpy(parallel->shared, shared, shared->image);
	parallel->pcxt = NULL;
}

static void
explain_scan(CustomScanState *node, List *ancestors, ExplainState *es)
{
	CustomScan *plan = (CustomScan *) node->ss.ps.plan;

	ExplainPropertyText("Sink", strVal(list_nth(plan->custom_private, 4)), es);
}

static const CustomExecMethods exec_methods = {
	.CustomName = "OnboardSink",
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan,
	.EstimateDSMCustomScan = estimate_dsm,
	.InitializeDSMCustomScan = initialize_dsm,
	.InitializeWorkerCustomScan = initialize_worker,
	.ShutdownCustomScan = shutdown_scan,
	.ExplainCustomScan = explain_scan,
};

void
ob_parallel_attach(ObParallel *parallel, PlanState *top)
{
	PlanState *child = IsA(top, GatherState) ? outerPlanState(top) : NULL;

	if (!parallel->scan)
		return;
	if (!child || child->plan != parallel->scan ||
		!IsA(child, CustomScanState) ||
		((CustomScanState *) child)->methods != &exec_methods)
		elog(ERROR, "the plan of the export was replaced when it was started");
	((SinkScan *) child)->parallel = parallel;
	ob_parallel_begin(parallel);
}

static Node *
create_state(CustomScan *scan)
{
	SinkScan *state = palloc0(sizeof(SinkScan));

	NodeSetTag(state, T_CustomScanState);
	state->base.methods = &exec_methods;
	return (Node *) state;
}

void
ob_parallel_init(void)
{
	RegisterCustomScanMethods(&scan_methods);
}
