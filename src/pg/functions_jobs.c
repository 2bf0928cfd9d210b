/*
 * functions_jobs.c
 *		The SQL functions of jobs: arguments in, run ids out.
 *
 * src/pg/functions_jobs.c
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "pg/functions_intern.h"
#include "pg/job.h"

PG_FUNCTION_INFO_V1(onboard_submit);
PG_FUNCTION_INFO_V1(onboard_submit_all);
PG_FUNCTION_INFO_V1(onboard_await);

/* The given id, or a new one. */
static pg_uuid_t
run_id_argument(FunctionCallInfo fcinfo, int n)
{
	LOCAL_FCINFO(call, 0);

	if (!PG_ARGISNULL(n))
		return *PG_GETARG_UUID_P(n);
	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	return *DatumGetUUIDP(gen_random_uuid(call));
}

/* onboard_submit(name, query, bucket, options, run_id) -> run_id */
Datum
onboard_submit(PG_FUNCTION_ARGS)
{
	ObJob *job = palloc0(sizeof(ObJob));

	ob_require_no_parallel("onboard_submit");
	job->schema = get_func_namespace(fcinfo->flinfo->fn_oid);
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
	job->options = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	job->run_id = run_id_argument(fcinfo, 4);
	ob_job_submit(job);
	PG_RETURN_UUID_P(&job->run_id);
}

/* onboard_submit_all(pattern, options, run_id) -> run_id */
Datum
onboard_submit_all(PG_FUNCTION_ARGS)
{
	ObJob *job = palloc0(sizeof(ObJob));

	ob_require_no_parallel("onboard_submit_all");
	job->schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	job->all = true;
	job->name = text_argument(fcinfo, 0);
	job->options = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	job->run_id = run_id_argument(fcinfo, 2);
	ob_job_submit(job);
	PG_RETURN_UUID_P(&job->run_id);
}

/* onboard_await(run_id, timeout) -> whether it has ended */
Datum
onboard_await(PG_FUNCTION_ARGS)
{
	int64 timeout = -1;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("run_id must not be null")));
	if (!PG_ARGISNULL(1))
	{
		TimestampTz now = GetCurrentTimestamp();
		TimestampTz end = DatumGetTimestampTz(
			DirectFunctionCall2(timestamptz_pl_interval,
								TimestampTzGetDatum(now), PG_GETARG_DATUM(1)));

		if (TIMESTAMP_IS_NOBEGIN(end) || end < now)
			timeout = 0;
		else if (!TIMESTAMP_IS_NOEND(end))
			timeout = (end - now) / 1000;
	}
	PG_RETURN_BOOL(ob_job_wait(PG_GETARG_UUID_P(0), timeout));
}
