/*
 * functions_all.c
 *		The SQL function onboard_all(): a row as each table ends.
 *
 * src/pg/sql/functions_all.c
 *
 * PostgreSQL stores all rows of a function in FROM before it returns the first
 * one, so they are put into a tuplestore.  In a target list each call returns
 * one row, and anything may happen between two calls, as with a cursor: the
 * caller may fetch no more (then a callback of the query's expression context
 * is called), or an error may end the query (see workers.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

#include "pg/base/errors.h"
#include "pg/sql/functions.h"
#include "pg/catalog/registry.h"
#include "pg/run/run.h"
#include "pg/catalog/run_lock.h"
#include "pg/catalog/notify.h"

PG_FUNCTION_INFO_V1(onboard_all);

#define ERROR_TEXT OB_RESULT_COLUMNS
#define DETAIL (OB_RESULT_COLUMNS + 1)
#define COLUMNS (OB_RESULT_COLUMNS + 2)

/* A run whose rows are given one by one. */
typedef struct Stream
{
	ObRun *run;
	TupleDesc desc;
	Oid user;
	int security_context;
	ExprContext *query;
} Stream;

/* Begins the run.  It is allocated in the current memory context. */
static ObRun *
begin(FunctionCallInfo fcinfo)
{
	Oid schema = own_schema(fcinfo);
	char *pattern = text_argument(fcinfo, 0);
	Jsonb *options = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P_COPY(1);
	List *entries;
	ObExportRequest common = {.schema = schema,
							  .when = GetCurrentTransactionStartTimestamp(),
							  .lsn = ob_task_lsn()};

	ob_require_no_parallel("onboard_all");
	entries = ob_registry_list(schema, pattern);
	if (entries == NIL)
		ereport(NOTICE,
				(errmsg("no enabled table is registered%s%s%s",
						pattern ? " that matches \"" : "",
						pattern ? pattern : "", pattern ? "\"" : ""),
				 errhint("Register tables with onboard_register() or INSERT "
						 "INTO onboard_tables.")));
	common.given_id = ob_run_id_argument(fcinfo, 2, &common.run_id);
	if (!ob_run_lock(GetUserId(), &common.run_id))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("another process works on that run"),
						errhint("See onboard_runs and onboard_wait().")));
	return ob_run_begin(entries, options, &common);
}

static void
set_text(Datum *values, bool *nulls, int number, const char *text)
{
	nulls[number] = text == NULL;
	values[number] =
		text ? CStringGetTextDatum(ob_report_client_text(text)) : (Datum) 0;
}

/* A text may quote data in characters that the client's encoding lacks.  An
 * error about that would end a run whose other tables have landed. */
static void
row_values(const ObHistoryRow *row, Datum *values, bool *nulls)
{
	ob_result_values(row, values, nulls);
	set_text(values, nulls, ERROR_TEXT, row->error);
	set_text(values, nulls, DETAIL, row->error ? row->detail : NULL);
}

/* ---- all rows at once ---- */

static Datum
materialize(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const ObHistoryRow *row;
	ObRun *run;

	InitMaterializedSRF(fcinfo, 0);
	run = begin(fcinfo);
	while ((row = ob_run_next(run)) != NULL)
	{
		Datum values[COLUMNS];
		bool nulls[COLUMNS];

		row_values(row, values, nulls);
		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}

/* ---- one by one ---- */

/* Stops the run when the query ends, or begins again, before the last row. */
static void
stop(Datum arg)
{
	const Stream *stream = (const Stream *) DatumGetPointer(arg);
	int left = ob_run_stop(stream->run);

	if (left > 0)
		ereport(WARNING,
				(errmsg("the run was ended before its last table"),
				 errdetail("No more rows were fetched, so %d %s left out.",
						   left, left == 1 ? "table was" : "tables were"),
				 errhint("Fetch all rows, or call it in FROM: SELECT * FROM "
						 "onboard_all().")));
}

static Stream *
begin_stream(FunctionCallInfo fcinfo, MemoryContext context)
{
	MemoryContext before = MemoryContextSwitchTo(context);
	Stream *stream = palloc0(sizeof(Stream));

	stream->query = ((ReturnSetInfo *) fcinfo->resultinfo)->econtext;
	if (get_call_result_type(fcinfo, NULL, &stream->desc) !=
		TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	stream->desc = BlessTupleDesc(stream->desc);
	GetUserIdAndSecContext(&stream->user, &stream->security_context);
	stream->run = begin(fcinfo);
	/* registered after that of SRF_FIRSTCALL_INIT, so it runs before it */
	RegisterExprContextCallback(stream->query, stop, PointerGetDatum(stream));
	MemoryContextSwitchTo(before);
	return stream;
}

/* Raises if the role has changed, since the run was prepared with the rights
 * of the role that began it. */
static void
require_same_role(const Stream *stream)
{
	Oid user;
	int security_context;

	GetUserIdAndSecContext(&user, &security_context);
	if (user != stream->user || security_context != stream->security_context)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the role has changed since the run began"),
						errhint("Fetch all rows as the role that has fetched "
								"the first one.")));
}

static Datum
stream_rows(FunctionCallInfo fcinfo)
{
	FuncCallContext *call;
	const ObHistoryRow *row;
	Stream *stream;

	if (SRF_IS_FIRSTCALL())
	{
		call = SRF_FIRSTCALL_INIT();
		call->user_fctx = begin_stream(fcinfo, call->multi_call_memory_ctx);
	}
	call = SRF_PERCALL_SETUP();
	stream = call->user_fctx;
	require_same_role(stream);
	/* the row before this one must not wait for this one */
	ob_notify_flush();
	row = ob_run_next(stream->run);
	if (row)
	{
		Datum values[COLUMNS];
		bool nulls[COLUMNS];

		row_values(row, values, nulls);
		SRF_RETURN_NEXT(call, HeapTupleGetDatum(heap_form_tuple(
								  stream->desc, values, nulls)));
	}
	UnregisterExprContextCallback(stream->query, stop,
								  PointerGetDatum(stream));
	SRF_RETURN_DONE(call);
}

/* onboard_all(pattern, options, run_id) -> the columns of onboard_table(),
 * error and detail */
Datum
onboard_all(PG_FUNCTION_ARGS)
{
	const ReturnSetInfo *result = (const ReturnSetInfo *) fcinfo->resultinfo;

	if (result && IsA(result, ReturnSetInfo) &&
		(result->allowedModes & SFRM_ValuePerCall) != 0 &&
		(result->allowedModes & SFRM_Materialize_Preferred) == 0)
		return stream_rows(fcinfo);
	return materialize(fcinfo);
}
