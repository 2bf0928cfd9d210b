/*
 * functions.c
 *		SQL functions (arguments in, rows out) that need no file of their own.
 *
 * src/pg/sql/functions.c
 */
#include "postgres.h"

#include "access/xact.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/sql/check.h"
#include "pg/export/explain.h"
#include "pg/sql/functions.h"
#include "pg/catalog/registry.h"
#include "pg/base/errors.h"
#include "pg/sql/sweep.h"
#include "pg/export/task.h"
#include "pg/catalog/notify.h"

PG_FUNCTION_INFO_V1(onboard_table);
PG_FUNCTION_INFO_V1(onboard_register);
PG_FUNCTION_INFO_V1(onboard_abort_uploads);
PG_FUNCTION_INFO_V1(onboard_explain);
PG_FUNCTION_INFO_V1(onboard_reset_watermark);
PG_FUNCTION_INFO_V1(onboard_check);

#define NAME_HINT "It is the export's name: a table, if no query is given."
#define AGE_HINT "Give the least age of uploads to abort, such as '1 day'."

static void
new_run_id(pg_uuid_t *run_id)
{
	LOCAL_FCINFO(call, 0);

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	*run_id = *DatumGetUUIDP(gen_random_uuid(call));
}

bool
ob_run_id_argument(FunctionCallInfo fcinfo, int n, pg_uuid_t *run_id)
{
	if (PG_ARGISNULL(n))
	{
		new_run_id(run_id);
		return false;
	}
	*run_id = *PG_GETARG_UUID_P(n);
	ob_history_require_own(own_schema(fcinfo), run_id);
	return true;
}

static void
require(const void *argument, const char *name, const char *hint)
{
	if (!argument)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name), errhint("%s", hint)));
}

char *
ob_export_name_argument(FunctionCallInfo fcinfo, int n)
{
	char *name = text_argument(fcinfo, n);

	require(name, "name", NAME_HINT);
	if (name[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("name must not be empty"), errhint(NAME_HINT)));
	return name;
}

void
ob_result_values(const ObHistoryRow *row, Datum *values, bool *nulls)
{
	memset(nulls, 0, sizeof(bool) * OB_RESULT_COLUMNS);
	values[0] = UUIDPGetDatum(&row->run_id);
	values[1] = CStringGetTextDatum(row->name);
	values[2] = CStringGetTextDatum(row->status);
	nulls[3] = row->uri == NULL;
	values[3] = row->uri ? CStringGetTextDatum(row->uri) : (Datum) 0;
	values[4] = Int32GetDatum((int32) row->figures.files);
	values[5] = Int64GetDatum((int64) row->figures.rows);
	values[6] = Int64GetDatum((int64) row->figures.bytes);
	values[7] =
		DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(row->ended),
							TimestampTzGetDatum(row->started));
	values[8] = BoolGetDatum(row->increment);
}

void
ob_require_no_parallel(const char *function)
{
	if (!IsInParallelMode())
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
		 errmsg("cannot execute %s() during a parallel operation", function),
		 errhint("Mark the function that calls it PARALLEL UNSAFE.")));
}

/*
 * onboard_table(name, query, bucket, options, run_id) -> one onboard_result
 *
 * It returns a set of one row, since (onboard_table(...)).* would call another
 * function once for each column.
 */
Datum
onboard_table(PG_FUNCTION_ARGS)
{
	ObExportRequest request = {.options_for = OB_OPTIONS_TABLE};
	ObTableExport task;
	ObTotals totals = {0};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[OB_RESULT_COLUMNS];
	bool nulls[OB_RESULT_COLUMNS];

	ob_require_no_parallel("onboard_table");
	request.name = ob_export_name_argument(fcinfo, 0);
	request.query = text_argument(fcinfo, 1);
	request.bucket = text_argument(fcinfo, 2);
	request.options = jsonb_argument(fcinfo, 3);
	request.entry = ob_registry_find(own_schema(fcinfo), request.name);
	InitMaterializedSRF(fcinfo, 0);
	request.given_id = ob_run_id_argument(fcinfo, 4, &request.run_id);
	request.schema = own_schema(fcinfo);
	request.when = GetCurrentTransactionStartTimestamp();
	memset(&task, 0, sizeof(task));
	task.row.run_id = request.run_id;
	task.row.name = request.name;
	ob_task_recall(&request, &task);
	ob_task_prepare(&request, &task);
	ob_task_spare_increments(&request, (ObTableExport *[]){&task}, 1);
	ob_task_run(&task);
	ob_task_end_or_warn(request.schema, &task);
	ob_totals_add(&totals, &task.row);
	ob_notify_run(&totals);
	ob_notify_client(&totals, &task.row);
	ob_result_values(&task.row, values, nulls);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}

/* onboard_register(config) -> number of tables */
Datum
onboard_register(PG_FUNCTION_ARGS)
{
	char *config = text_argument(fcinfo, 0);
	Datum parsed;

	require(config, "config",
			"Give {\"Tables\": [{\"table_name\": ..., \"sql_query\": ...}]}.");
	parsed = DirectFunctionCall1(jsonb_in, CStringGetDatum(config));
	PG_RETURN_INT32(
		ob_registry_load(own_schema(fcinfo), DatumGetJsonbP(parsed)));
}

/* onboard_reset_watermark(name, keep) -> number of watermarks */
Datum
onboard_reset_watermark(PG_FUNCTION_ARGS)
{
	char *name = text_argument(fcinfo, 0);

	require(name, "name", "It is the name of a registered table.");
	PG_RETURN_INT32(ob_watermark_reset(own_schema(fcinfo), name,
									   !PG_ARGISNULL(1) && PG_GETARG_BOOL(1)));
}

/* Adds a row for an upload that a sweep has aborted. */
static void
add_swept(const ObSwept *one, void *arg)
{
	ReturnSetInfo *result = arg;
	bool nulls[3] = {false, false, false};
	Datum values[3] = {CStringGetTextDatum(ob_report_text(one->key)),
					   CStringGetTextDatum(one->upload_id),
					   TimestampTzGetDatum(one->initiated)};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* onboard_abort_uploads(bucket, prefix, older_than, server, options) */
Datum
onboard_abort_uploads(PG_FUNCTION_ARGS)
{
	char *bucket = text_argument(fcinfo, 0);
	char *prefix = text_argument(fcinfo, 1);
	char *name = text_argument(fcinfo, 3);
	Jsonb *given = jsonb_argument(fcinfo, 4);
	ObOptions *options = ob_options_new();
	TimestampTz now = GetCurrentTimestamp();
	MemoryContext context;
	MemoryContext before;
	TimestampTz limit;
	ObServer *server;
	char *utf8;

	ob_require_no_parallel("onboard_abort_uploads");
	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(2))
		require(NULL, "older_than", AGE_HINT);
	limit = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
													TimestampTzGetDatum(now),
													PG_GETARG_DATUM(2)));
	if (limit > now)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("older_than must not be negative"),
						errhint(AGE_HINT)));
	if (given)
		ob_options_read(options, given, OB_OPTIONS_ABORT, "options");
	/* the context also holds the client, which ends before this returns */
	context = AllocSetContextCreate(CurTransactionContext, "onboard sweep",
									ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	server = ob_server_get(name);
	bucket = ob_server_bucket(server, bucket);
	if (!prefix)
		prefix = server->prefix;
	utf8 = pg_server_to_any(prefix, strlen(prefix), PG_UTF8);
	if (strlen(utf8) > OB_KEY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("prefix has %zu bytes", strlen(utf8)),
				 errhint("A key has at most %d in UTF-8.", OB_KEY_MAX)));
	ob_sweep(server, bucket, utf8, limit, options, add_swept,
			 fcinfo->resultinfo);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	return (Datum) 0;
}

static void
add_finding(const ObFinding *finding, void *arg)
{
	ReturnSetInfo *result = arg;
	bool nulls[3] = {false, finding->verdict == OB_CHECK_UNKNOWN, false};
	Datum values[3] = {CStringGetTextDatum(finding->item),
					   BoolGetDatum(finding->verdict == OB_CHECK_OK),
					   CStringGetTextDatum(finding->detail)};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* onboard_check(bucket, options) -> what was found */
Datum
onboard_check(PG_FUNCTION_ARGS)
{
	char *bucket = text_argument(fcinfo, 0);
	Jsonb *options = jsonb_argument(fcinfo, 1);
	MemoryContext context;
	MemoryContext before;
	pg_uuid_t run_id;

	ob_require_no_parallel("onboard_check");
	InitMaterializedSRF(fcinfo, 0);
	new_run_id(&run_id);
	/* the context also holds the client, which ends before this returns */
	context = AllocSetContextCreate(CurTransactionContext, "onboard check",
									ALLOCSET_DEFAULT_SIZES);
	before = MemoryContextSwitchTo(context);
	ob_check(bucket, options, &run_id, add_finding, fcinfo->resultinfo);
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	return (Datum) 0;
}

/* onboard_explain(query, options) -> lines */
Datum
onboard_explain(PG_FUNCTION_ARGS)
{
	char *query = text_argument(fcinfo, 0);
	Jsonb *given = jsonb_argument(fcinfo, 1);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ObOptions *options = ob_options_new();
	ListCell *cell;

	ob_require_no_parallel("onboard_explain");
	require(query, "query", "Give the query that would be exported.");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (given)
		ob_options_read(options, given, OB_OPTIONS_TABLE, "options");
	ob_options_finish(options);
	foreach (cell, ob_explain(query, options))
	{
		Datum value = CStringGetTextDatum(lfirst(cell));
		bool isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value,
							 &isnull);
	}
	return (Datum) 0;
}
