/*
 * export.c
 *		One export, from its query to the landed object.
 *
 * src/pg/export.c
 *
 * SPI runs the query into our receiver, whose encoder writes each row into a
 * stream (stream.h), the sink chain with an upload at its end:
 *
 *	   SPI -> receiver -> encoder -> [codec] -> upload -> S3
 *
 * Where the plan allows it, that is moved below the plan's Gather, so that
 * parallel workers do the same with their rows, and what the receiver gets are
 * only the workers' last bytes (parallel.h).
 *
 * All of an export hangs on one memory context.  The core's objects are freed
 * by its reset callbacks, which do no network traffic.  What must be said to
 * S3 when an export fails is said before, at the one place that catches
 * errors: PG_ENSURE_ERROR_CLEANUP also runs when the backend is terminated.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "pg/export.h"
#include "pg/headers.h"
#include "pg/parallel.h"
#include "pg/progress.h"
#include "pg/query.h"
#include "pg/receiver.h"
#include "pg/report.h"
#include "pg/stream.h"

typedef struct Job
{
	const ObExport *export;
	ObStream *stream;
	ObParallel *parallel;
	ObProgress *progress;
	bool requested; /* it is what planning is for */
	ObParallel *outer;
	MemoryContext context;
	int retries; /* of a stream before this one */
	char *place; /* "s3://bucket/key", for warnings */
} Job;

/* ---- setting up ---- */

ObStream *
ob_export_open(const ObExport *export)
{
	const ObOptions *options = export->options;
	ObPair headers[OB_OBJECT_HEADERS_MAX];
	ObPair common[OB_COMMON_HEADERS_MAX];
	ObStreamOptions stream = {
		.server = export->server,
		.bucket = export->bucket,
		.key = export->key,
		.headers = headers,
		.nheaders = ob_headers_of_object(options, headers),
		.common = common,
		.ncommon = ob_headers_common(options, common),
		.checksum = options->checksum,
		.keep_existing = options->keep_existing,
		.crc32 = options->manifest,
		.hold = export->held != NULL,
		.codec = options->codec,
		.compression_level = options->compression_level,
		.part_size = options->part_size,
		.memory = (size_t) onboard_upload_memory * 1024,
		.connections = options->connections,
	};

	return ob_stream_new(&stream);
}

/* ---- running ---- */

static void
withdraw(Job *job)
{
	if (job->requested)
		ob_parallel_request(job->outer);
	job->requested = false;
}

static void
run_query(Job *job, ObReceiver *receiver)
{
	SPIExecuteOptions options = {
		/* keeps the caller's snapshot */
		.read_only = true,
		.params = job->export->parameters,
		.dest = &receiver->base,
	};
	int result;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	job->outer = ob_parallel_request(job->parallel);
	job->requested = true;
	result = SPI_execute_extended(job->export->query, &options);
	withdraw(job);
	if (result != SPI_OK_SELECT)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("query did not run as a SELECT: %s",
							   SPI_result_code_string(result))));
	SPI_finish();
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
	ob_stream_abort(job->stream, job->place);
	job->stream = NULL;
	if (!export->options->write_empty)
		return NULL;
	job->stream = ob_export_open(export);
	job->stream->progress = job->progress;
	job->stream->ending = true;
	encoder =
		ob_encoder_new(&export->options->copy, ob_parallel_desc(job->parallel),
					   &job->stream->out);
	job->stream->rows = &encoder->rows;
	ob_encoder_start(encoder);
	return encoder;
}

/* The query has ended; true: there is nothing to land. */
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
		return false;
	}
	if (pushed)
		encoder = start_anew(job);
	if (figures.rows == 0 && !job->export->options->write_empty)
		return true;
	ob_encoder_end(encoder);
	ob_stream_finish(job->stream);
	return false;
}

static void
tell(const Job *job, ObExportResult *result)
{
	ObFigures figures = {0};

	if (!result->empty)
		ob_stream_figures(job->stream, &figures);
	result->rows = figures.rows;
	result->raw_bytes = figures.raw_bytes;
	result->bytes = figures.bytes;
	result->parts = figures.parts;
	result->retries = job->retries + figures.retries;
}

/* The object is there, or held: then it is not ours to abort any more. */
static void
hand_over(Job *job, ObExportResult *result)
{
	const ObExport *export = job->export;

	result->crc32 = ob_upload_crc32(job->stream->upload);
	if (!export->held)
		return;
	export->held(export->held_arg, job->stream->upload);
	job->stream = NULL;
}

static void
run(Job *job, ObExportResult *result)
{
	ObReceiver receiver;
	ObReceiverHooks hooks = {&job->export->options->copy, job->stream,
							 job->parallel, job->context};

	ob_receiver_init(&receiver, &hooks);
	run_query(job, &receiver);
	result->empty = finish(job, receiver.encoder);
	tell(job, result);
	if (!result->empty)
		hand_over(job, result);
}

/*
 * Runs on an error and when the backend is terminated: must not raise, and
 * must come to an end.  Workers go first: a part of theirs that lands after
 * the abort would stay behind.
 */
static void
give_up(int code, Datum arg)
{
	Job *job = (Job *) DatumGetPointer(arg);

	withdraw(job);
	if (job->parallel)
		ob_parallel_end_workers(job->parallel);
	if (job->stream)
		ob_stream_abort(job->stream, job->place);
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
	job->stream = ob_export_open(export);
	job->stream->progress = job->progress;
	job->parallel = ob_parallel_new(export->options, export, job->stream);
	run(job, result);
	ob_progress_end(job->progress);
}

/* Nobody feeds it, but only a shared upload begins before it is fed. */
static void
rehearse(Job *job, ObExportResult *result)
{
	static const ObUploadShare nobody;

	job->stream = ob_export_open(job->export);
	ob_stream_share(job->stream, &nobody, NULL,
					(size_t) onboard_upload_memory * 1024, 1);
	ob_stream_upload_id(job->stream);
	ob_stream_undo(job->stream);
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
	job->context = context;
	job->place =
		psprintf("s3://%s/%s", export->bucket, ob_report_text(export->key));
	error_context.callback = name_export;
	error_context.arg = job;
	error_context.previous = error_context_stack;
	error_context_stack = &error_context;
	PG_ENSURE_ERROR_CLEANUP(give_up, PointerGetDatum(job));
	{
		work(job, result);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up, PointerGetDatum(job));
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
