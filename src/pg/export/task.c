/*
 * task.c
 *		The task of one table: from a caller's request to its outcome.
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "core/base/text.h"
#include "core/text/place.h"
#include "pg/base/subtransaction.h"
#include "pg/config/key.h"
#include "pg/ddl/schema.h"
#include "pg/export/manifest.h"
#include "pg/export/objects.h"
#include "pg/export/schema_file.h"
#include "pg/base/query.h"
#include "pg/base/errors.h"
#include "pg/catalog/run_lock.h"
#include "pg/export/task.h"
#include "pg/catalog/notify.h"
#include "pg/export/manifest_withdraw.h"

#define PLACE_MAX 8192

/* Reads the registry's options, then the call's over them. */
static ObOptions *
read_options(const ObExportRequest *request)
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

static ObKeyFields
key_fields(const ObExportRequest *request, const ObOptions *options,
		   const ObServer *server)
{
	return (ObKeyFields){
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
}

char *
ob_task_key(const ObExportRequest *request, const ObOptions *options,
			const ObServer *server)
{
	ObKeyFields fields = key_fields(request, options, server);
	char *key;

	key = ob_key_expand(options->key, &fields);
	ob_key_check_own(key, server->prefix);
	return key;
}

List *
ob_task_key_pieces(const ObExportRequest *request, const ObOptions *options,
				   const ObServer *server)
{
	ObKeyFields fields = key_fields(request, options, server);

	return ob_key_pieces(options->key, &fields);
}

void
ob_task_recall(const ObExportRequest *request, ObTableExport *task)
{
	ObHistoryRow *row;

	if (!request->given_id)
		return;
	row = palloc0(sizeof(ObHistoryRow));
	row->run_id = request->run_id;
	row->name = request->name;
	if (ob_history_recall(request->schema, row))
		task->earlier = row;
}

/*
 * Whether the run has landed this increment.  Callers repeat a run under its
 * id when one of its tables failed, or when they lost the connection.  An
 * increment that has landed is only reported again: newer rows in its object
 * would replace the old ones.
 */
static bool
has_landed(const ObExportRequest *request, ObTableExport *task)
{
	const ObHistoryRow *row = task->earlier;

	if (!row || strcmp(row->status, OB_STATUS_DONE) != 0)
		return false;
	if (task->export.options->together)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("the run has landed an increment of \"%s\" before",
						request->name),
				 errdetail("Its object is visible already, so it cannot be "
						   "published together with others: \"%s\", %llu "
						   "rows.",
						   row->uri, (unsigned long long) row->figures.rows),
				 errhint("Give another run_id, or none.")));
	task->landed = row;
	return true;
}

/* The export would replace the object that the watermark counts on, or take
 * its place in the history. */
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
ob_task_spare_increments(const ObExportRequest *request,
						 ObTableExport *const *tasks, int n)
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
ob_task_place(const ObExportSpec *export, const char *key)
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

/* An increment is one of the registered query, so the query of a call cannot
 * be bounded. */
static void
prepare_watermark(const ObExportRequest *request, ObTableExport *task)
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
		const ObHistoryRow *earlier = task->earlier;

		/* the option was removed since */
		if (earlier && earlier->increment &&
			strcmp(earlier->status, OB_STATUS_DONE) == 0)
			refuse_after_increment(request->name);
		return;
	}
	task->row.increment = true;
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
	/* a record's changes are visible before it counts as replayed */
	if (RecoveryInProgress())
		return GetCurrentReplayRecPtr(NULL);
	return GetXLogInsertRecPtr();
}

/* A server that the run has read.  The run does not notice what ALTER SERVER
 * changes later. */
typedef struct KnownServer
{
	const char *name; /* name in the options; NULL: they have none */
	ObServer *server;
} KnownServer;

static ObServer *
find_server(const ObExportRequest *request, const char *name)
{
	KnownServer *found;
	ListCell *cell;

	if (request->server)
		return ob_server_get_row(request->server);
	if (!request->servers)
		return ob_server_get(name);
	foreach (cell, *request->servers)
	{
		found = lfirst(cell);
		if (ob_text_equal(found->name, name))
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
ob_task_aim(const ObExportRequest *request, ObExportSpec *export)
{
	const ObEntry *entry = request->entry;
	const char *query = request->query;
	const char *bucket = request->bucket;
	ObOptions *options = read_options(request);

	if (!query && entry)
		query = entry->query;
	if (!query)
		query = ob_query_of_table(request->name);
	ob_query_check(query);
	if (!bucket && entry)
		bucket = entry->bucket;
	export->run_id = request->run_id;
	export->name = request->name;
	export->query = query;
	export->options = options;
	export->server = find_server(request, options->server);
	export->bucket = ob_server_bucket(export->server, bucket);
	export->key = ob_task_key(request, options, export->server);
}

void
ob_task_prepare(const ObExportRequest *request, ObTableExport *task)
{
	ObExportSpec *export = &task->export;

	task->row.lsn = request->lsn ? request->lsn : ob_task_lsn();
	ob_history_require(request->schema);
	ob_task_aim(request, export);
	export->lsn = task->row.lsn;
	if (!export->fate)
		export->fate = &task->fate;
	task->alone = request->options_for == OB_OPTIONS_TABLE;
	task->given_id = request->given_id;
	task->row.query = export->query;
	if (export->options->manifest)
		export->summary_max = ob_manifest_share(request->tables);
	task->uri =
		psprintf("s3://%s/%s", export->bucket, ob_report_text(export->key));
	task->schema = request->schema;
	if (export->options->schema)
		ob_schema_file_check(export);
	prepare_watermark(request, task);
}

/* Bounds the query.  Returns false if there is nothing to land, not even an
 * empty object. */
static bool
bound(ObTableExport *task)
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
require_alone(const ObTableExport *task)
{
	const pg_uuid_t *run_id = &task->export.run_id;

	if (ob_run_lock_table(GetUserId(), run_id, task->export.name) &&
		!(task->alone && ob_run_is_locked(GetUserId(), run_id)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("another process works on that run's increment of \"%s\"",
					task->export.name),
			 errhint("Give another run_id, or none.")));
}

/*
 * Another process may have landed the same increment between this task's
 * preparation and its lock, and that process's row must not be replaced.  The
 * history is read in its latest state: the transaction's snapshot may be
 * older.
 */
static void
require_not_landed(const ObTableExport *task)
{
	ObHistoryRow row = {
		.run_id = task->row.run_id,
		.name = task->row.name,
	};
	bool found;

	if (!task->given_id)
		return;
	PushActiveSnapshot(GetLatestSnapshot());
	found = ob_history_recall(task->schema, &row);
	PopActiveSnapshot();
	if (!found || strcmp(row.status, OB_STATUS_DONE) != 0)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_IN_USE),
		 errmsg("another process has landed that run's increment of \"%s\"",
				row.name),
		 errdetail("It ended after this run had begun: \"%s\", %llu rows.",
				   row.uri, (unsigned long long) row.figures.rows),
		 errhint("Repeat the run to have that increment reported, or give "
				 "another run_id.")));
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

static void export(const ObTableExport *task, ObExportResult *result)
{
	ErrorContextCallback context = {error_context_stack, hint_at_run_id, NULL};

	if (task->watermark)
		error_context_stack = &context;
	ob_export_run(&task->export, result);
	error_context_stack = context.previous;
}

/* Reports what the run has landed before.  Nothing is written or sent. */
static void
report_earlier(ObTableExport *task)
{
	task->row = *task->landed;
	ereport(
		NOTICE,
		(errmsg("the run has landed an increment of \"%s\" before",
				ob_report_client_text(task->row.name)),
		 errdetail("It is at \"%s\". Rows that have come since are left to "
				   "the next run.",
				   ob_report_client_text(task->row.uri))));
}

/*
 * Deletes the manifest of an earlier attempt before anything is sent, and
 * after all errors that can come without that.  Two calls of one run at the
 * same time would not notice each other, so there is a lock.
 */
static void
begin_run(const ObTableExport *task)
{
	if (!task->given_id)
		return;
	if (!ob_run_lock(GetUserId(), &task->row.run_id))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("another process works on that run"),
						errhint("See onboard_runs and onboard_wait().")));
	ob_withdraw(task->schema, &task->export, &task->row.name, 1);
}

void
ob_task_run(ObTableExport *task)
{
	ObExportResult *result = &task->result;
	const ObOptions *options = task->export.options;
	const char *schema = NULL;
	const char *details = NULL;
	bool lands;
	bool landed;

	if (task->landed)
	{
		report_earlier(task);
		return;
	}
	/* onboard_all() may have prepared the export hours ago */
	ob_server_require_usage(task->export.server);
	ob_server_renew_keys(task->export.server);
	task->row.started = GetCurrentTimestamp();
	if (options->manifest || options->schema)
		schema = ob_schema_members(
			task->row.query, ob_query_describe(task->row.query), options);
	if (task->watermark)
	{
		require_alone(task);
		require_not_landed(task);
	}
	lands = bound(task);
	if (options->manifest && task->alone)
		begin_run(task);
	if (lands)
		export(task, result);
	/* later failures do not undo that */
	landed = result->figures.files > 0;
	if (landed && !task->export.held)
		*task->export.fate = OB_FATE_WRITTEN;
	if (schema)
		details = ob_manifest_details(task, schema, result);
	if (options->manifest)
		task->details = details;
	task->row.ended = GetCurrentTimestamp();
	task->row.figures = result->figures;
	task->row.status = landed ? OB_STATUS_DONE : OB_STATUS_EMPTY;
	task->row.uri = landed ? task->uri : NULL;
	if (landed && !task->export.held)
		task->row.objects = ob_task_objects(task);
	if (options->schema && landed && !task->export.held)
		ob_schema_file_write(task, details);
	if (options->manifest && task->alone)
		ob_manifest_write_one(task);
}

char *
ob_task_objects(const ObTableExport *task)
{
	const ObExportResult *result = &task->result;

	return ob_objects_text(task->uri,
						   result->described ? &result->object : NULL,
						   result->figures.rows);
}

void
ob_task_published(ObTableExport *task, const ObUploadObject *object)
{
	task->row.objects =
		ob_objects_text(task->uri, object, task->row.figures.rows);
}

/* Clears the figures, since no object exists, or none that counts.  The URI
 * may be in memory that is gone. */
static void
clear_outcome(ObHistoryRow *row)
{
	row->uri = NULL;
	row->objects = NULL;
	row->figures = (ObFigures){.retries = row->figures.retries};
}

void
ob_task_fail(ObTableExport *task, const ErrorData *error)
{
	clear_outcome(&task->row);
	task->row.ended = GetCurrentTimestamp();
	if (task->row.started == 0)
		task->row.started = task->row.ended;
	task->row.status = OB_STATUS_FAILED;
	if (task->export.fate)
		task->fate = *task->export.fate;
	if (task->fate == OB_FATE_NONE && task->earlier)
	{
		task->fate = OB_FATE_EARLIER;
		task->row.uri = task->earlier->uri;
	}
	else if (task->fate != OB_FATE_NONE)
		task->row.uri = task->uri;
	if (task->fate == OB_FATE_WRITTEN)
		task->row.objects = ob_task_objects(task);
	task->row.error = ob_fate_error(task->fate, error->message);
	task->row.detail = error->detail;
	task->row.sqlstate = error->sqlerrcode;
}

void
ob_task_doubt(ObTableExport *task)
{
	clear_outcome(&task->row);
	task->fate = OB_FATE_UNKNOWN;
	task->row.status = OB_STATUS_FAILED;
	task->row.uri = task->uri;
	task->row.error = "it is not known whether the object is visible";
	task->row.detail = NULL;
	task->row.sqlstate = ERRCODE_TRANSACTION_RESOLUTION_UNKNOWN;
}

void
ob_task_withhold(ObTableExport *task)
{
	clear_outcome(&task->row);
	task->row.status = OB_STATUS_WITHHELD;
	if (task->earlier)
		task->row.uri = task->earlier->uri;
}

static const char *
keep_watermark(Oid schema, const ObTableExport *task)
{
	if (!task->watermark)
		return NULL;
	return ob_watermark_keep(schema, task->watermark, &task->row);
}

const char *
ob_task_end(Oid schema, const ObTableExport *task)
{
	ob_notify_end(schema, &task->row);
	return keep_watermark(schema, task);
}

/* ---- the end, where its failure is not the export's ---- */

typedef struct Ending
{
	Oid schema;
	const ObTableExport *task;
} Ending;

static void
write_end(void *arg)
{
	const Ending *ending = arg;
	const ObTableExport *task = ending->task;
	const char *left;

	ob_history_write(ending->schema, &task->row);
	left = keep_watermark(ending->schema, task);
	if (left)
		ob_watermark_warn_left(ob_report_client_text(task->row.name),
							   ob_report_client_text(left));
}

static void
warn_unwritten(const ObTableExport *task, const ErrorData *error)
{
	const ObHistoryRow *row = &task->row;
	const char *name = ob_report_client_text(row->name);

	ereport(WARNING,
			(errcode(error ? error->sqlerrcode : ERRCODE_QUERY_CANCELED),
			 error ? errmsg("the end of \"%s\" could not be written to the "
							"history: %s",
							name, ob_report_client_text(error->message))
				   : errmsg("the end of \"%s\" was not written to the history",
							name),
			 !row->uri
				 ? errdetail("It is %s; there is no object.", row->status)
			 : row->figures.files > 0
				 ? errdetail("The object is there: \"%s\", %llu rows, %llu "
							 "bytes.",
							 ob_report_client_text(row->uri),
							 (unsigned long long) row->figures.rows,
							 (unsigned long long) row->figures.bytes)
				 : errdetail("It is %s; an object may be at \"%s\".",
							 row->status, ob_report_client_text(row->uri)),
			 task->watermark && row->figures.files > 0
				 ? errhint("The next increment will export the same rows.")
				 : 0));
}

void
ob_task_end_or_warn(Oid schema, const ObTableExport *task)
{
	Ending ending = {schema, task};
	ErrorData *volatile error = NULL;

	if (task->landed)
		return;
	ob_notify_log(&task->row);
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
	ob_notify_table(&task->row);
}
