/*
 * functions_verify.c
 *		The SQL functions that verify what has landed.
 *
 * src/pg/sql/functions_verify.c
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/memutils.h"

#include "pg/sql/functions.h"
#include "pg/verify/verify.h"

PG_FUNCTION_INFO_V1(onboard_verify);
PG_FUNCTION_INFO_V1(onboard_verify_manifest);

static void
add_verified(const ObVerified *verified, void *arg)
{
	ReturnSetInfo *result = arg;
	bool nulls[4] = {false, false, !verified->known, verified->detail == NULL};
	Datum values[4] = {
		CStringGetTextDatum(verified->object->name),
		CStringGetTextDatum(verified->object->uri), BoolGetDatum(verified->ok),
		verified->detail ? CStringGetTextDatum(verified->detail) : (Datum) 0};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Both functions have the arguments (what, deep, options). */
static Datum
verify(FunctionCallInfo fcinfo, const char *function, bool manifest)
{
	/* the context also holds the client, which ends before this returns */
	MemoryContext context = AllocSetContextCreate(
		CurTransactionContext, "onboard verify", ALLOCSET_DEFAULT_SIZES);
	Jsonb *given = jsonb_argument(fcinfo, 2);
	ObOptions *options = ob_options_new();
	ObVerification wanted = {
		.schema = own_schema(fcinfo),
		.deep = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1),
		.options = options,
		.found = add_verified,
	};
	MemoryContext before;

	ob_require_no_parallel(function);
	InitMaterializedSRF(fcinfo, 0);
	wanted.arg = fcinfo->resultinfo;
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null",
							   manifest ? "manifest" : "run_id")));
	if (given)
		ob_options_read(options, given, OB_OPTIONS_VERIFY, "options");
	before = MemoryContextSwitchTo(context);
	if (manifest)
		ob_verify_manifest(&wanted, text_argument(fcinfo, 0));
	else
		ob_verify_run(&wanted, PG_GETARG_UUID_P(0));
	MemoryContextSwitchTo(before);
	MemoryContextDelete(context);
	return (Datum) 0;
}

/* onboard_verify(run_id, deep, options) -> a row for each object */
Datum
onboard_verify(PG_FUNCTION_ARGS)
{
	return verify(fcinfo, "onboard_verify", false);
}

/* onboard_verify_manifest(manifest, deep, options) -> a row for each object */
Datum
onboard_verify_manifest(PG_FUNCTION_ARGS)
{
	return verify(fcinfo, "onboard_verify_manifest", true);
}
