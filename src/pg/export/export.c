/*
 * export.c
 *		One export, from its query to the landed object.
 *
 * src/pg/export/export.c
 *
 * The query is planned and run here, as COPY does it, not by SPI: so that what
 * is changed in its plan is beyond doubt its plan.  It runs into our receiver,
 * whose encoder writes each row into a stream (stream.h), the sink chain with
 * an upload at its end:
 *
 *	   executor -> receiver -> encoder -> [codec] -> upload -> S3
 *
 * Where the plan allows it, that is moved below the plan's Gather, so that
 * parallel workers do the same with their rows, and what the receiver gets are
 * only the workers' last bytes (parallel.h).
 *
 * All of an export hangs on one memory context.  The core's objects are freed
 * by the reset callbacks of a child of it, which do no network traffic.
 * What must be said to S3 when an export fails is said before, in give_up().
 */
#include "postgres.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "pg/base/compat.h"
#include "pg/export/export.h"
#include "pg/parallel/parallel.h"
#include "pg/catalog/progress.h"
#include "pg/base/query.h"
#include "pg/parallel/receiver.h"
#include "pg/base/errors.h"
#include "pg/store/stream.h"
#include "pg/base/unwind.h"

/*
 * A query may export, and that export's query, too.  Each has buffers and
 * connections of its own.
 */
#define NESTED_MAX 8

typedef struct Job Job;
struct Job
{
	const ObExport *export;
	ObExportResult *result;
	void (*work)(Job *job, ObExportResult *result);
	ObStream *stream;
	ObParallel *parallel;
	ObProgress *progress;
	MemoryContext context;
	MemoryContext core; /* the stream and its client, in that one */
	int64 retries;      /* of a stream before this one */
	ObFate *fate;       /* NULL: nobody wants to know */
	bool fate_shared;
	char *place; /* "s3://bucket/key", for warnings */
};

/* How many of this session's exports are under way. */
static int nested = 0;

/* ---- running ---- */

/* The query sees the caller's snapshot, as SPI does it for what only reads. */
static void
run_plan(Job *job, PlannedStmt *plan, ObReceiver *receiver)
{
	const ObExport *export = job->export;
	QueryDesc *query = CreateQueryDesc(
		plan, export->query, GetActiveSnapshot(), InvalidSnapshot,
		&receiver->base, export->parameters, NULL, 0);

	ExecutorStart(query, 0);
	ob_parallel_attach(job->parallel, query->planstate);
	ob_executor_run(query);
	ExecutorFinish(query);
	ExecutorEnd(query);
	FreeQueryDesc(query);
}

static void
run_query(Job *job, ObReceiver *receiver)
{
	const ObExport *export = job->export;
	MemoryContext context = AllocSetContextCreate(
		job->context, "onboard query", ALLOCSET_DEFAULT_SIZES);
	MemoryContext before = MemoryContextSwitchTo(context);
	ErrorContextCallback error_context;

	ob_query_context(&error_context, export->query);
	run_plan(
		job,
		ob_parallel_plan(job->parallel, export->query, export->parameters),
		receiver);
	error_context_stack = error_context.previous;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}

static void
open_stream(Job *job)
{
	MemoryContext before = MemoryContextSwitchTo(job->core);

	job->stream = ob_stream_open(job->export);
	job->stream->progress = job->progress;
	MemoryContextSwitchTo(before);
}

/* A multipart upload was begun for nothing: what little there is to an empty
 * object starts anew, as a PutObject. */
static ObEncoder *
start_anew(Job *job)
{
	const ObExport *export = job->export;
	ObEncoder *encoder;
	ObFigures figures;

	ob_stream_figures(job->stream, &figures);
	job->retries = figures.retries;
	(void) ob_stream_abort(job->stream, job->place);
	job->stream = NULL;
	MemoryContextReset(job->core);
	if (!export->options->write_empty)
		return NULL;
	open_stream(job);
	job->stream->ending = true;
	encoder =
		ob_encoder_new(&export->options->copy, ob_parallel_desc(job->parallel),
					   &job->stream->out);
	job->stream->rows = &encoder->rows;
	ob_encoder_start(encoder);
	return encoder;
}

/* The query has ended; false: there is nothing to land. */
static bool
finish(Job *job, ObEncoder *encoder)
{
	bool pushed = ob_parallel_pushed(job->parallel);
	ObFigures figures;

	job->stream->ending = true;
	ob_stream_figures(job->stream, &figures);
	if (pushed && figures.rows > 0)
	{
		ob_parallel_finish(job->parallel);
		return true;
	}
	if (pushed)
		encoder = start_anew(job);
	if (figures.rows == 0 && !job->export->options->write_empty)
		return false;
	ob_encoder_end(encoder);
	ob_stream_finish(job->stream);
	return true;
}

/* The object is there, or held: then it is not ours to abort any more. */
static void
hand_over(Job *job, ObExportResult *result)
{
	const ObExport *export = job->export;
	ObUploadHeld held;

	result->crc32 = ob_upload_crc32(job->stream->upload);
	if (!export->held)
		return;
	ob_upload_hand_over(job->stream->upload, &held);
	export->held(export->held_arg, &held);
	job->stream = NULL;
}

static void
run(Job *job, ObExportResult *result)
{
	ObReceiver receiver;
	ObReceiverHooks hooks = {&job->export->options->copy, job->stream,
							 job->parallel, job->context};
	Oid user = GetUserId();

	ob_receiver_init(&receiver, &hooks);
	run_query(job, &receiver);
	/* the role whose rights counted owns the row of the history */
	if (GetUserId() != user)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_STATE),
						errmsg("the query has changed the role"),
						errhint("SET ROLE before the export.")));
	if (finish(job, receiver.encoder))
	{
		ob_stream_figures(job->stream, &result->figures);
		result->figures.files = 1;
		hand_over(job, result);
	}
	result->figures.retries += job->retries;
}

/*
 * Runs on an error and when the backend is terminated: must not raise, and
 * must come to an end.  Workers go first: a part of theirs that lands after
 * the abort would stay behind.  Buffers and connections go here, too: the rest
 * stays until a failed transaction is rolled back.
 */
static void
give_up(void *arg)
{
	Job *job = arg;

	nested--;
	if (job->parallel)
		ob_parallel_end_workers(job->parallel);
	if (job->stream)
	{
		ObFate fate = ob_stream_abort(job->stream, job->place);

		if (job->fate && (job->fate_shared || !proc_exit_inprogress))
			*job->fate = fate;
	}
	job->stream = NULL;
	MemoryContextDelete(job->core);
}

/* Context of all errors, and the hint that some of them need. */
static void
name_export(void *arg)
{
	const Job *job = arg;

	errcontext("export of \"%s\"", job->export->name);
	if (job->parallel && ob_parallel_pushed(job->parallel) &&
		geterrcode() == ERRCODE_INVALID_TRANSACTION_STATE)
		errhint("A function that the query calls is marked PARALLEL SAFE, but "
				"is not. Mark it PARALLEL UNSAFE, or use the option "
				"{\"parallel\": \"off\"} (parallel => off).");
}

static void
export_query(Job *job, ObExportResult *result)
{
	const ObExport *export = job->export;
	ObProgressLabel label = {export->run_id, export->name, MyProcPid,
							 GetCurrentTimestamp()};

	job->progress = ob_progress_begin(&label);
	open_stream(job);
	job->parallel = ob_parallel_new(export->options, export, job->stream);
	run(job, result);
	ob_progress_end(job->progress);
}

/* Nobody feeds it, but only a shared upload begins before it is fed. */
static void
rehearse(Job *job, ObExportResult *result)
{
	static const ObUploadShare nobody;

	open_stream(job);
	ob_stream_share(job->stream, &nobody, NULL,
					(size_t) onboard_upload_memory * 1024, 1);
	ob_stream_upload_id(job->stream);
	ob_stream_undo(job->stream);
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
	Job *job = arg;

	job->work(job, job->result);
}

/* Does work(job), and cleans up whichever way it ends. */
static void
run_job(const ObExport *export, void (*work)(Job *job, ObExportResult *result),
		ObExportResult *result)
{
	MemoryContext before = CurrentMemoryContext;
	/* after an error it goes with the (sub)transaction, before any handler */
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard export", ALLOCSET_DEFAULT_SIZES);
	ErrorContextCallback error_context;
	Job *job;

	MemoryContextSwitchTo(context);
	job = palloc0(sizeof(Job));
	job->export = export;
	job->fate = export->fate;
	job->fate_shared = export->fate_shared;
	job->result = result;
	job->work = work;
	job->context = context;
	job->core =
		AllocSetContextCreate(context, "onboard stream", ALLOCSET_SMALL_SIZES);
	job->place =
		psprintf("s3://%s/%s", export->bucket, ob_report_text(export->key));
	error_context.callback = name_export;
	error_context.arg = job;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	check_depth();
	nested++;
	ob_unwind(do_work, give_up, job);
	nested--;
	error_context_stack = error_context.previous;
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
}

void
ob_export_run(const ObExport *export, ObExportResult *result)
{
	memset(result, 0, sizeof(*result));
	ob_query_check(export->query);
	run_job(export, export_query, result);
}

void
ob_export_rehearse(const ObExport *export)
{
	run_job(export, rehearse, NULL);
}
