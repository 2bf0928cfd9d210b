/*
 * export.c
 *		One export, from its query to the object.
 *
 * src/pg/export/export.c
 *
 * The query is planned and run here, as COPY does it, instead of by SPI,
 * because its plan is changed.  It runs into our receiver, whose encoder
 * writes each row into a stream (stream.h), the sink chain with an upload at
 * its end:
 *
 *	   executor -> receiver -> encoder -> [codec] -> upload -> S3
 *
 * If the plan allows it, the encoder and the stream are moved below the plan's
 * Gather, so that parallel workers do the same with their rows, and the
 * receiver gets only the workers' last bytes (parallel.h).
 *
 * All memory of an export hangs on one memory context.  The objects of the
 * core are freed by the reset callbacks of a child context, which do no
 * network traffic: requests that follow a failure are sent before, by
 * give_up().
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/base/compat.h"
#include "pg/base/json_writer.h"
#include "pg/export/export.h"
#include "pg/parallel/parallel.h"
#include "pg/catalog/progress.h"
#include "pg/base/query.h"
#include "pg/parallel/receiver.h"
#include "pg/base/errors.h"
#include "pg/store/stream.h"
#include "pg/base/unwind.h"

/* The query of an export may export, too, and so may the query of that export.
 * Each has buffers and connections of its own. */
#define NESTED_MAX 8

typedef struct ExportState ExportState;
struct ExportState
{
	const ObExportSpec *export;
	ObExportResult *result;
	void (*work)(ExportState *state, ObExportResult *result);
	ObStream *stream;
	ObParallel *parallel;
	ObProgress *progress;
	MemoryContext caller; /* context of the result */
	MemoryContext context;
	MemoryContext core; /* context of the stream and its client, in that one */
	int64 retries;      /* number of retries of a stream before this one */
	ObFate *fate;       /* NULL: not reported */
	bool fate_shared;
	char *place; /* "s3://bucket/key", for warnings */
};

/* The number of this session's exports that are under way. */
static int nested = 0;

/* ---- running ---- */

/* The query sees the caller's snapshot, as a read-only query of SPI does. */
static void
run_plan(ExportState *state, PlannedStmt *plan, ObReceiver *receiver)
{
	const ObExportSpec *export = state->export;
	QueryDesc *query = CreateQueryDesc(
		plan, export->query, GetActiveSnapshot(), InvalidSnapshot,
		&receiver->base, export->parameters, NULL, 0);

	ExecutorStart(query, 0);
	ob_parallel_attach(state->parallel, query->planstate);
	ob_executor_run(query);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

static void
run_query(ExportState *state, ObReceiver *receiver)
{
	const ObExportSpec *export = state->export;
	MemoryContext context = AllocSetContextCreate(
		state->context, "onboard query", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	ErrorContextCallback error_context;

	ob_query_context(&error_context, export->query);
	run_plan(
		state,
		ob_parallel_plan(state->parallel, export->query, export->parameters),
		receiver);
	error_context_stack = error_context.previous;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}

static void
open_stream(ExportState *state)
{
	MemoryContext before = MemoryContextSwitchTo(state->core);

	state->stream = ob_stream_open(state->export, state->progress);
	MemoryContextSwitchTo(before);
}

/* A multipart upload was begun, but there are no rows.  So it is aborted, and
 * the object, which has at most a header, is written by a PutObject. */
static ObEncoder *
start_again(ExportState *state)
{
	const ObExportSpec *export = state->export;
	ObEncoder *encoder;
	ObFigures figures;

	ob_stream_figures(state->stream, &figures);
	state->retries = figures.retries;
	(void) ob_stream_abort(state->stream, state->place);
	state->stream = NULL;
	MemoryContextReset(state->core);
	if (!export->options->write_empty)
		return NULL;
	open_stream(state);
	ob_stream_end_rows(state->stream);
	encoder = ob_stream_encoder(state->stream, &export->options->copy,
								ob_parallel_desc(state->parallel));
	encoder->origin = ob_parallel_origin(state->parallel);
	ob_encoder_start(encoder);
	return encoder;
}

/* Notes what a manifest is to say of the object.  A failure comes before the
 * object is complete. */
static void
summarize(ExportState *state, const ObEncoder *encoder)
{
	const ObExportSpec *export = state->export;
	const ObFormat *format = export->options->copy.format;
	StringInfoData json;

	if (export->summary_max == 0 || !format->summarize)
		return;
	initStringInfo(&json);
	ob_json_open(&json, NULL, '{');
	format->summarize(encoder, &json, export->summary_max);
	ob_json_close(&json, '}');
	state->result->summary = MemoryContextStrdup(state->caller, json.data);
}

/* Lands the object when the query has ended.  Returns false if there is
 * nothing to land. */
static bool
finish(ExportState *state, ObEncoder *encoder)
{
	bool pushed_down = ob_parallel_is_pushed_down(state->parallel);
	ObFigures figures;

	ob_stream_end_rows(state->stream);
	ob_stream_figures(state->stream, &figures);
	/* after a failure, the other processes are not asked any more */
	state->result->figures.rows = figures.rows;
	if (pushed_down && figures.rows > 0)
	{
		summarize(state, ob_parallel_end(state->parallel));
		ob_parallel_finish(state->parallel);
		return true;
	}
	if (pushed_down)
		encoder = start_again(state);
	if (figures.rows == 0 && !state->export->options->write_empty)
		return false;
	ob_encoder_end(encoder);
	summarize(state, encoder);
	ob_stream_finish(state->stream);
	return true;
}

/* Notes what is known of the object, which exists or is held. */
static void
describe(const ExportState *state)
{
	ob_stream_object(state->stream, &state->result->object);
	state->result->described = true;
}

/* Passes a held upload on: it must not be aborted here any more. */
static void
hand_over(ExportState *state, ObExportResult *result)
{
	const ObExportSpec *export = state->export;
	ObUploadHeld held;

	if (!export->held)
		return;
	ob_stream_hand_over(state->stream, &held);
	export->held(export->held_arg, &held);
	state->stream = NULL;
}

static void
run(ExportState *state, ObExportResult *result)
{
	ObReceiver receiver;
	ObReceiverHooks hooks = {&state->export->options->copy, state->stream,
							 state->parallel, state->progress, state->context};
	Oid user = GetUserId();

	ob_receiver_init(&receiver, &hooks);
	run_query(state, &receiver);
	/* the role whose rights counted owns the row of the history */
	if (GetUserId() != user)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE),
						errmsg("the query has changed the role"),
						errhint("SET ROLE before the export.")));
	if (finish(state, receiver.encoder))
	{
		ob_stream_figures(state->stream, &result->figures);
		result->figures.files = 1;
		describe(state);
		hand_over(state, result);
	}
	result->figures.retries += state->retries;
}

/*
 * Runs on an error and when the backend is terminated, so it must not raise,
 * and must come to an end.  Workers end first: if a part of theirs landed
 * after the abort, it would stay behind.  Buffers and connections are freed
 * here, too, since all else stays until a failed transaction is rolled back.
 */
static void
give_up(void *arg)
{
	ExportState *state = arg;

	nested--;
	if (state->parallel)
		ob_parallel_end_workers(state->parallel);
	if (state->stream)
	{
		ObFate fate = ob_stream_abort(state->stream, state->place);

		if (state->fate && (state->fate_shared || !proc_exit_inprogress))
			*state->fate = fate;
		if (fate == OB_FATE_WRITTEN && !proc_exit_inprogress)
			describe(state);
	}
	state->stream = NULL;
	MemoryContextDelete(state->core);
}

/* Adds the context of all errors, and the hint that some of them need. */
static void
name_export(void *arg)
{
	const ExportState *state = arg;

	errcontext("export of \"%s\"", state->export->name);
	if (state->parallel && ob_parallel_is_pushed_down(state->parallel) &&
		geterrcode() == ERRCODE_INVALID_TRANSACTION_STATE)
		errhint("A function that the query calls is marked PARALLEL SAFE, but "
				"is not. Mark it PARALLEL UNSAFE, or use the option "
				"{\"parallel\": \"off\"} (parallel => off).");
}

static void
export_query(ExportState *state, ObExportResult *result)
{
	const ObExportSpec *export = state->export;
	ObProgressLabel label = {export->run_id, export->name, MyProcPid,
							 GetCurrentTimestamp()};

	state->progress = ob_progress_begin(&label);
	open_stream(state);
	state->parallel = ob_parallel_new(export->options, export, state->stream);
	run(state, result);
	ob_progress_end(state->progress);
}

/* Begins an upload without data.  It is a shared upload, because only that one
 * sends CreateMultipartUpload before the first part. */
static void
rehearse(ExportState *state, ObExportResult *result)
{
	static const ObUploadShare unshared;
	const ObStreamShare share = {
		.upload = &unshared,
		.memory = (size_t) onboard_upload_memory * 1024,
		.connections = 1,
	};

	open_stream(state);
	ob_stream_share(state->stream, &share);
	ob_stream_upload_id(state->stream);
	ob_stream_undo(state->stream);
}

static void
check_depth(void)
{
	if (nested < NESTED_MAX)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("exports are nested too deeply"),
			 errdetail("The queries of %d exports are under way in this "
					   "session.",
					   nested),
			 errhint("A query that is exported may export itself, but not "
					 "deeper.")));
}

static void
do_work(void *arg)
{
	ExportState *state = arg;

	state->work(state, state->result);
}

/* Calls work(state), and cleans up in any case. */
static void
run_work(const ObExportSpec *export,
		 void (*work)(ExportState *state, ObExportResult *result),
		 ObExportResult *result)
{
	MemoryContext before = CurrentMemoryContext;
	/* an error frees the context with the (sub)transaction, before any handler
	 * runs */
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard export", ALLOCSET_DEFAULT_SIZES);
	ErrorContextCallback error_context;
	ExportState *state;

	MemoryContextSwitchTo(context);
	state = palloc0(sizeof(ExportState));
	state->export = export;
	state->fate = export->fate;
	state->fate_shared = export->fate_shared;
	state->result = result;
	state->work = work;
	state->caller = before;
	state->context = context;
	state->core =
		AllocSetContextCreate(context, "onboard stream", ALLOCSET_SMALL_SIZES);
	state->place =
		psprintf("s3://%s/%s", export->bucket, ob_report_text(export->key));
	error_context.callback = name_export;
	error_context.arg = state;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	check_depth();
	nested++;
	ob_unwind(do_work, give_up, state);
	nested--;
	error_context_stack = error_context.previous;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}

void
ob_export_run(const ObExportSpec *export, ObExportResult *result)
{
	memset(result, 0, sizeof(*result));
	ob_query_check(export->query);
	run_work(export, export_query, result);
}

void
ob_export_rehearse(const ObExportSpec *export)
{
	run_work(export, rehearse, NULL);
}
