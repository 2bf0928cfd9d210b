/*
 * task.c
 *		From what a caller asked for to an export that is ready to run.
 *
 * src/pg/export/task.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlogrecovery.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "core/text/place.h"
#include "pg/base/subtransaction.h"
#include "pg/config/key.h"
#include "pg/export/manifest.h"
#include "pg/base/query.h"
#include "pg/base/errors.h"
#include "pg/catalog/run_lock.h"
#include "pg/export/task.h"
#include "pg/catalog/notify.h"
#include "pg/export/manifest_withdraw.h"

#define PLACE_MAX 8192

/* The registry's options first, then the call's over them. */
static ObOptions *
read_options(const ObRequest *request)
{
	ObOptions *options = ob_options_new();

	if (request->entry && request->entry->options)
		ob_options_read(
			options, request->entry->options, OB_OPTIONS_REGISTRY,
			psprintf("options of registered table \"%s\"", request->name));
	if (request->options)
		ob_options_read(options, request->options, request->options_for,
						"options");
	ob_options_finish(options);
	return options;
}

char *
ob_task_key(const ObRequest *request, const ObOptions *options,
			const ObServer *server)
{
	ObKeyFields fields = {
		.prefix = server->prefix,
		.name = request->name,
		.database = get_database_name(MyDatabaseId),
		.when = options->as_of ? options->moment : request->when,
		.zone = options->timezone,
		.run_id = DatumGetCString(
			DirectFunctionCall1(uuid_out, UUIDPGetDatum(&request->run_id))),
		.ext = psprintf("%s%s", options->copy.format->extension,
						options->codec->extension),
	};
	char *key;

	key = ob_key_expand(options->key, &fields);
	ob_key_check_own(key, server->prefix);
	return key;
}

void
ob_task_recall(const ObRequest *request, ObTask *task)
{
	ObRun *run;

	if (!request->given_id)
		return;
	run = palloc0(sizeof(ObRun));
	run->run_id = request->run_id;
	run->name = request->name;
	if (ob_history_recall(request->schema, run))
		task->earlier = run;
}

/*
 * Callers repeat a run under its id when one of its tables failed, or when
 * they lost the connection.  An increment that the run has landed before is
 * only reported again: replacing its object by newer rows would lose the old
 * ones.
 */
static bool
has_landed(const ObRequest *request, ObTask *task)
{
	const ObRun *run = task->earlier;

	if (!run || strcmp(run->status, OB_STATUS_DONE) != 0)
		return false;
	if (task->export.options->together)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the run has landed an increment of \"%s\" before",
						request->name),
				 errdetail("Its object is visible already, so it cannot be "
						   "published together with others: \"%s\", %llu "
						   "rows.",
						   run->uri, (unsigned long long) run->rows),
				 errhint("Give another run_id, or none.")));
	task->landed = run;
	return true;
}

/* It would replace the object that the watermark counts on, or take its place
 * in the history. */
static void
refuse_after_increment(const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_DUPLICATE_OBJECT),
		 errmsg("the run has landed an increment of \"%s\" before", name),
		 errdetail("What is exported now is not one, and must not take its "
				   "place."),
		 errhint("Give another run_id, or none.")));
}

void
ob_task_spare_increments(const ObRequest *request, ObTask *const *tasks, int n)
{
	const char **uris = palloc(sizeof(char *) * n);
	const char *name;
	int plain = 0;

	for (int i = 0; i < n; i++)
	{
		if (!tasks[i]->export.options->watermark)
			uris[plain++] = tasks[i]->uri;
	}
	if (!request->given_id || plain == 0)
		return;
	name =
		ob_history_increment(request->schema, &request->run_id, uris, plain);
	if (name)
		refuse_after_increment(name);
}

char *
ob_task_place(const ObExport *export, const char *key)
{
	char *text = NULL;
	ObBuf place;

	ob_buf_init(&place, PLACE_MAX);
	ob_place(&export->server->endpoint, export->bucket, key, &place);
	if (!place.failed)
		text = MemoryContextAllocExtended(CurrentMemoryContext, place.len + 1,
										  MCXT_ALLOC_NO_OOM);
	if (text)
		memcpy(text, place.data, place.len + 1);
	ob_buf_free(&place);
	if (!text)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	return text;
}

/* Its query is the registered one, so that of a call cannot be bounded. */
static void
prepare_watermark(const ObRequest *request, ObTask *task)
{
	const ObOptions *options = task->export.options;
	ObWatermarkRequest wanted = {
		.name = request->name,
		.run_id = request->run_id,
		.options = options,
		.in_worker = request->in_worker,
	};

	if (!options->watermark)
	{
		const ObRun *earlier = task->earlier;

		/* the option was removed since */
		if (earlier && earlier->increment &&
			strcmp(earlier->status, OB_STATUS_DONE) == 0)
			refuse_after_increment(request->name);
		return;
	}
	task->run.increment = true;
	if (request->query)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the increments of \"%s\" are those of its registered "
						"query",
						request->name),
				 errhint("Leave the query out, or export it under another "
						 "name.")));
	if (has_landed(request, task))
		return;
	if (request->entry)
		wanted.origin.table_id = request->entry->id;
	wanted.origin.query = task->export.query;
	wanted.origin.destination = ob_task_place(&task->export, "");
	task->watermark = ob_watermark_get(request->schema, &wanted);
}

XLogRecPtr
ob_task_lsn(void)
{
	/* a record's changes are seen before it counts as replayed */
	if (RecoveryInProgress())
		return GetCurrentReplayRecPtr(NULL);
	return GetXLogInsertRecPtr();
}

/* A run does not notice what ALTER SERVER changes after its begin. */
typedef struct KnownServer
{
	const char *name; /* as options have it; NULL: not at all */
	ObServer *server;
} KnownServer;

static bool
same_name(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static ObServer *
find_server(const ObRequest *request, const char *name)
{
	KnownServer *found;
	ListCell *cell;

	if (request->server)
		return ob_server_image_get(request->server);
	if (!request->servers)
		return ob_server_get(name);
	foreach (cell, *request->servers)
	{
		found = lfirst(cell);
		if (same_name(found->name, name))
			return found->server;
	}
	found = palloc(sizeof(KnownServer));
	*found = (KnownServer){name, ob_server_get(name)};
	foreach (cell, *request->servers)
	{
		ObServer *other = ((KnownServer *) lfirst(cell))->server;

		if (other->serverid == found->server->serverid)
			found->server = other;
	}
	*request->servers = lappend(*request->servers, found);
	return found->server;
}

void
ob_task_prepare(const ObRequest *request, ObTask *task)
{
	const ObEntry *entry = request->entry;
	const char *query = request->query;
	const char *bucket = request->bucket;
	ObOptions *options;
	const ObServer *server;

	task->run.lsn = request->lsn ? request->lsn : ob_task_lsn();
	ob_history_require(request->schema);
	options = read_options(request);
	if (!query && entry)
		query = entry->query;
	if (!query)
		query = ob_query_of_table(request->name);
	ob_query_check(query);
	if (!bucket && entry)
		bucket = entry->bucket;

	server = find_server(request, options->server);
	task->export.run_id = request->run_id;
	if (!task->export.fate)
		task->export.fate = &task->fate;
	task->alone = request->options_for == OB_OPTIONS_TABLE;
	task->given_id = request->given_id;
	task->export.name = request->name;
	task->export.query = query;
	task->run.query = query;
	task->export.options = options;
	task->export.server = server;
	task->export.bucket = ob_server_bucket(server, bucket);
	task->export.key = ob_task_key(request, options, server);
	task->uri = psprintf("s3://%s/%s", task->export.bucket,
						 ob_report_text(task->export.key));
	task->schema = request->schema;
	prepare_watermark(request, task);
}

/* False: there is nothing to land, and nothing shall be. */
static bool
bound(ObTask *task)
{
	return !task->watermark ||
		   ob_watermark_bound(task->schema, task->watermark, &task->export) ||
		   task->export.options->write_empty;
}

/*
 * Two processes that land an increment under one run id use one key.  Some
 * stores ignore the condition on large objects, so the later process could
 * replace the object of the other.  A lock excludes that.
 */
static void
require_alone(const ObTask *task)
{
	const pg_uuid_t *run_id = &task->export.run_id;

	if (ob_run_hold_table(GetUserId(), run_id, task->export.name) &&
		!(task->alone && ob_run_is_held(GetUserId(), run_id)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("another process works on that run's increment of \"%s\"",
					task->export.name),
			 errhint("Give another run_id, or none.")));
}

/* The usual hint, another key or "overwrite": "replace", does not help an
 * increment. */
static void
hint_at_run_id(void *arg)
{
	if (geterrcode() == ERRCODE_DUPLICATE_FILE)
		errhint("An increment never replaces an object: give another run_id, "
				"or none.");
}

static void export(const ObTask *task, ObExportResult *result)
{
	ErrorContextCallback context = {error_context_stack, hint_at_run_id, NULL};

	if (task->watermark)
		error_context_stack = &context;
	ob_export_run(&task->export, result);
	error_context_stack = context.previous;
}

/* Reports what the run has landed before.  Nothing is written or sent. */
static void
tell_again(ObTask *task)
{
	task->run = *task->landed;
	ereport(
		NOTICE,
		(errmsg("the run has landed an increment of \"%s\" before",
				ob_report_client_text(task->run.name)),
		 errdetail("It is at \"%s\". Rows that have come since are left to "
				   "the next run.",
				   ob_report_client_text(task->run.uri))));
}

/*
 * What an earlier attempt has said of the run goes before anything is sent,
 * and after all that can fail without that.  Two calls of one run at a time
 * would each not see what the other one says.
 */
static void
begin_run(const ObTask *task)
{
	if (!task->given_id)
		return;
	if (!ob_run_hold(GetUserId(), &task->run.run_id))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("another process works on that run"),
						errhint("See onboard_runs and onboard_wait().")));
	ob_withdraw(task->schema, &task->export, &task->run.name, 1);
}

void
ob_task_run(ObTask *task)
{
	ObExportResult result = {.empty = true};
	TupleDesc columns = NULL;
	bool lands;

	if (task->landed)
	{
		tell_again(task);
		return;
	}
	/* onboard_all() may have prepared it hours ago */
	ob_server_require_usage(task->export.server);
	ob_server_renew_keys(task->export.server);
	task->run.started = GetCurrentTimestamp();
	if (task->export.options->manifest)
		columns = ob_query_describe(task->run.query);
	if (task->watermark)
		require_alone(task);
	lands = bound(task);
	if (task->export.options->manifest && task->alone)
		begin_run(task);
	if (lands)
		export(task, &result);
	/* what fails from here on does not take it away */
	if (!result.empty && !task->export.held)
		*task->export.fate = OB_FATE_WRITTEN;
	if (columns)
		task->details = ob_manifest_details(task, columns, &result);
	task->run.ended = GetCurrentTimestamp();
	task->run.rows = result.rows;
	task->run.raw_bytes = result.raw_bytes;
	task->run.bytes = result.bytes;
	task->run.parts = result.parts;
	task->run.retries = result.retries;
	task->run.files = result.empty ? 0 : 1;
	task->run.status = result.empty ? OB_STATUS_EMPTY : OB_STATUS_DONE;
	task->run.uri = result.empty ? NULL : task->uri;
	if (columns && task->alone)
		ob_manifest_write_one(task);
}

/* Nothing of it is there, or nothing that counts.  Its URI may be in memory
 * that is gone. */
static void
clear_outcome(ObRun *run)
{
	run->uri = NULL;
	run->files = 0;
	run->rows = 0;
	run->raw_bytes = 0;
	run->bytes = 0;
	run->parts = 0;
}

void
ob_task_fail(ObTask *task, const ErrorData *error)
{
	clear_outcome(&task->run);
	task->run.ended = GetCurrentTimestamp();
	if (task->run.started == 0)
		task->run.started = task->run.ended;
	task->run.status = OB_STATUS_FAILED;
	if (task->export.fate)
		task->fate = *task->export.fate;
	if (task->fate == OB_FATE_NONE && task->earlier)
	{
		task->fate = OB_FATE_EARLIER;
		task->run.uri = task->earlier->uri;
	}
	else if (task->fate != OB_FATE_NONE)
		task->run.uri = task->uri;
	task->run.error = ob_fate_error(task->fate, error->message);
	task->run.sqlstate = error->sqlerrcode;
}

void
ob_task_doubt(ObTask *task)
{
	clear_outcome(&task->run);
	task->fate = OB_FATE_UNKNOWN;
	task->run.status = OB_STATUS_FAILED;
	task->run.uri = task->uri;
	task->run.error = "it is not known whether the object is visible";
	task->run.sqlstate = ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN;
}

void
ob_task_withhold(ObTask *task)
{
	clear_outcome(&task->run);
	task->run.status = OB_STATUS_WITHHELD;
	if (task->earlier)
		task->run.uri = task->earlier->uri;
}

static const char *
keep_watermark(Oid schema, const ObTask *task)
{
	if (!task->watermark)
		return NULL;
	return ob_watermark_keep(schema, task->watermark, &task->run);
}

const char *
ob_task_end(Oid schema, const ObTask *task)
{
	ob_history_end(schema, &task->run);
	return keep_watermark(schema, task);
}

/* ---- the end, where its failure is not the export's ---- */

typedef struct Ending
{
	Oid schema;
	const ObTask *task;
} Ending;

static void
write_end(void *arg)
{
	const Ending *ending = arg;
	const ObTask *task = ending->task;
	const char *left;

	ob_history_write_end(ending->schema, &task->run);
	left = keep_watermark(ending->schema, task);
	if (left)
		ob_watermark_warn_left(ob_report_client_text(task->run.name),
							   ob_report_client_text(left));
}

static void
warn_unwritten(const ObTask *task, const ErrorData *error)
{
	const ObRun *run = &task->run;
	const char *name = ob_report_client_text(run->name);

	ereport(WARNING,
			(errcode(error ? error->sqlerrcode : ERRCODE_QUERY_CANCELED),
			 error ? errmsg("the end of \"%s\" could not be written to the "
							"history: %s",
							name, ob_report_client_text(error->message))
				   : errmsg("the end of \"%s\" was not written to the history",
							name),
			 !run->uri
				 ? errdetail("It is %s; there is no object.", run->status)
			 : run->files > 0
				 ? errdetail("The object is there: \"%s\", %llu rows, %llu "
							 "bytes.",
							 ob_report_client_text(run->uri),
							 (unsigned long long) run->rows,
							 (unsigned long long) run->bytes)
				 : errdetail("It is %s; an object may be at \"%s\".",
							 run->status, ob_report_client_text(run->uri)),
			 task->watermark && run->files > 0
				 ? errhint("The next increment has the same rows again.")
				 : 0));
}

void
ob_task_end_or_warn(Oid schema, const ObTask *task)
{
	Ending ending = {schema, task};
	ErrorData *volatile error = NULL;

	if (task->landed)
		return;
	ob_tell_log(&task->run);
	PG_TRY();
	{
		error = ob_attempt(write_end, &ending);
	}
	PG_CATCH();
	{
		warn_unwritten(task, NULL);
		PG_RE_THROW();
	}
	PG_END_TRY();
	if (error)
		warn_unwritten(task, error);
	ob_tell_table(&task->run);
}
