/*
 * functions_jobs.c
 *		The SQL functions of jobs: arguments in, run ids out.
 *
 * src/pg/sql/functions_jobs.c
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "pg/sql/functions.h"
#include "pg/run/job.h"
#include "pg/catalog/run_status.h"

PG_FUNCTION_INFO_V1(onboard_submit);
PG_FUNCTION_INFO_V1(onboard_submit_all);
PG_FUNCTION_INFO_V1(onboard_status);
PG_FUNCTION_INFO_V1(onboard_wait);

/* onboard_submit(name, query, bucket, options, run_id) -> run_id */
Datum
onboard_submit(PG_FUNCTION_ARGS)
{
	ObJobRequest *job = palloc0(sizeof(ObJobRequest));

	ob_require_no_parallel("onboard_submit");
	job->schema = own_schema(fcinfo);
	job->role = GetUserId();
	job->name = text_argument(fcinfo, 0);
	if (!job->name || !job->name[0])
		ereport(ERROR,
				(errcode(job->name ? ERRCODE_INVALID_PARAMETER_VALUE
								   : ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name must not be %s", job->name ? "empty" : "null"),
				 errhint("It is the export's name: a table, if no query is "
						 "given.")));
	job->query = text_argument(fcinfo, 1);
	job->bucket = text_argument(fcinfo, 2);
	job->options = jsonb_argument(fcinfo, 3);
	job->given_id = ob_run_id_argument(fcinfo, 4, &job->run_id);
	ob_job_submit(job);
	PG_RETURN_UUID_P(&job->run_id);
}

/* onboard_submit_all(pattern, options, run_id) -> run_id */
Datum
onboard_submit_all(PG_FUNCTION_ARGS)
{
	ObJobRequest *job = palloc0(sizeof(ObJobRequest));

	ob_require_no_parallel("onboard_submit_all");
	job->schema = own_schema(fcinfo);
	job->role = GetUserId();
	job->all = true;
	job->name = text_argument(fcinfo, 0);
	job->options = jsonb_argument(fcinfo, 1);
	job->given_id = ob_run_id_argument(fcinfo, 2, &job->run_id);
	ob_job_submit(job);
	PG_RETURN_UUID_P(&job->run_id);
}

#define STATUS_COLUMNS 9

static Datum
status_row(FunctionCallInfo fcinfo, const pg_uuid_t *run_id)
{
	ObRunStatus status = {0};
	TupleDesc desc;
	Oid role;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (run_id && ob_run_find_role(own_schema(fcinfo), run_id, &role))
		ob_run_status(own_schema(fcinfo), run_id, role, &status);
	{
		bool nulls[STATUS_COLUMNS] = {
			[0] = status.status == NULL,
			[7] = status.started == 0,
			[8] = status.ended == 0,
		};
		Datum values[STATUS_COLUMNS] = {
			status.status ? CStringGetTextDatum(status.status) : (Datum) 0,
			Int64GetDatum(status.tables),
			Int64GetDatum(status.done),
			Int64GetDatum(status.empty),
			Int64GetDatum(status.failed),
			Int64GetDatum(status.rows),
			Int64GetDatum(status.bytes),
			TimestampTzGetDatum(status.started),
			TimestampTzGetDatum(status.ended),
		};

		return HeapTupleGetDatum(
			heap_form_tuple(BlessTupleDesc(desc), values, nulls));
	}
}

/* onboard_status(run_id) -> how far a run is */
Datum
onboard_status(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(
		status_row(fcinfo, PG_ARGISNULL(0) ? NULL : PG_GETARG_UUID_P(0)));
}

/* Returns milliseconds, or -1 for no limit. */
static int64
timeout_argument(FunctionCallInfo fcinfo, int n)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz end;

	if (PG_ARGISNULL(n))
		return -1;
	end = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												  TimestampTzGetDatum(now),
												  PG_GETARG_DATUM(n)));
	if (TIMESTAMP_IS_NOEND(end))
		return -1;
	return end <= now ? 0 : (end - now) / 1000;
}

static void
wait_for_run(FunctionCallInfo fcinfo)
{
	const pg_uuid_t *run_id;
	int64 timeout;
	Oid role;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("run_id must not be null")));
	run_id = PG_GETARG_UUID_P(0);
	timeout = timeout_argument(fcinfo, 1);
	if (ob_run_find_role(own_schema(fcinfo), run_id, &role))
		(void) ob_job_wait(run_id, role, timeout);
}

/* onboard_wait(run_id, timeout) -> how it has ended, or how far it is */
Datum
onboard_wait(PG_FUNCTION_ARGS)
{
	wait_for_run(fcinfo);
	PG_RETURN_DATUM(status_row(fcinfo, PG_GETARG_UUID_P(0)));
}
