/*
 * task.c
 *		From what a caller asked for to an export that is ready to run.
 *
 * src/pg/task.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "pg/key.h"
#include "pg/query.h"
#include "pg/report.h"
#include "pg/task.h"

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
		.when = GetCurrentTransactionStartTimestamp(),
		.run_id = DatumGetCString(
			DirectFunctionCall1(uuid_out, UUIDPGetDatum(&request->run_id))),
		.ext = psprintf("%s%s", options->copy.format->extension,
						options->codec->extension),
	};

	return ob_key_expand(options->key, &fields);
}

void
ob_task_prepare(const ObRequest *request, ObTask *task)
{
	const ObEntry *entry = request->entry;
	const char *query = request->query;
	const char *bucket = request->bucket;
	ObOptions *options = read_options(request);
	const ObServer *server;

	if (!query && entry)
		query = entry->query;
	if (!query)
		query = ob_query_of_table(request->name);
	ob_query_check(query);
	if (!bucket && entry)
		bucket = entry->bucket;

	server = ob_server_get(options->server ? options->server : onboard_server);
	task->export.name = request->name;
	task->export.query = query;
	task->export.options = options;
	task->export.server = server;
	task->export.bucket = ob_server_bucket(server, bucket);
	task->export.key = ob_task_key(request, options, server);
	task->uri = psprintf("s3://%s/%s", task->export.bucket,
						 ob_report_text(task->export.key));
}

void
ob_task_run(ObTask *task)
{
	ObExportResult result;

	/* onboard_all() may have prepared it hours ago */
	ob_server_require_usage(task->export.server);
	task->run.started = GetCurrentTimestamp();
	ob_export_run(&task->export, &result);
	task->run.ended = GetCurrentTimestamp();
	task->run.rows = result.rows;
	task->run.bytes = result.bytes;
	task->run.files = result.empty ? 0 : 1;
	task->run.status = result.empty ? OB_STATUS_EMPTY : OB_STATUS_DONE;
	task->run.uri = result.empty ? NULL : task->uri;
}

void
ob_task_fail(ObTask *task, const ErrorData *error)
{
	task->run.ended = GetCurrentTimestamp();
	if (task->run.started == 0)
		task->run.started = task->run.ended;
	task->run.status = OB_STATUS_FAILED;
	task->run.files = 0;
	task->run.error = error->message;
	task->run.sqlstate = error->sqlerrcode;
}
