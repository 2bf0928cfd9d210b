/*
 * functions_history.c
 *		The SQL functions that make the history, and that read it.
 *
 * src/pg/sql/functions_history.c
 *
 * They are in C because in SQL each operator would have to be resolved in a
 * schema that others may write.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "pg/sql/functions.h"
#include "pg/catalog/run_lock.h"
#include "pg/catalog/run_status.h"

PG_FUNCTION_INFO_V1(onboard_role_id);
PG_FUNCTION_INFO_V1(onboard_role_name);
PG_FUNCTION_INFO_V1(onboard_run_status);
PG_FUNCTION_INFO_V1(onboard_run_pid);
PG_FUNCTION_INFO_V1(onboard_prune);

/* PostgreSQL 15 has a function for this, but keeps it to itself. */
Oid
ob_extension_schema(void)
{
	Oid extension = get_extension_oid("onboard", false);
	Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
	Oid schema = InvalidOid;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(extension));
	scan =
		systable_beginscan(catalog, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		schema = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return schema;
}

/*
 * role_id(role) -> oid; 0: there is no such role
 *
 * Rows of the history belong to roles by this id.  The function is marked
 * IMMUTABLE because a generated column uses it: the id is made when the row is
 * written or a dump is restored, and not when a role changes later.
 */
Datum
onboard_role_id(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (strlen(name) >= NAMEDATALEN)
		PG_RETURN_OID(InvalidOid);
	PG_RETURN_OID(get_role_oid(name, true));
}

/* role_name(role_id, role) -> its name, or the stored one if there is no such
 * role any more */
Datum
onboard_role_name(PG_FUNCTION_ARGS)
{
	char *name = GetUserNameFromId(PG_GETARG_OID(0), true);

	PG_RETURN_TEXT_P(name ? cstring_to_text(name) : PG_GETARG_TEXT_P(1));
}

/*
 * run_status(run_id, role_id, name, status) -> status
 *
 * The view onboard_runs calls it.  A table that a statement sees as running
 * may have ended since, and so may its process; so the row is read again.
 */
Datum
onboard_run_status(PG_FUNCTION_ARGS)
{
	char *status = text_to_cstring(PG_GETARG_TEXT_PP(3));

	if (ob_status_is_open(status) &&
		ob_run_is_lost(ob_extension_schema(), PG_GETARG_UUID_P(0),
					   PG_GETARG_OID(1),
					   text_to_cstring(PG_GETARG_TEXT_PP(2))))
		PG_RETURN_TEXT_P(cstring_to_text(OB_STATUS_LOST));
	PG_RETURN_DATUM(PG_GETARG_DATUM(3));
}

/* run_pid(run_id) -> the process that works on the run, or null */
Datum
onboard_run_pid(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *run_id = PG_GETARG_UUID_P(0);
	Oid role;
	int pid = 0;

	if (ob_run_find_role(ob_extension_schema(), run_id, &role))
		pid = ob_run_pid(role, run_id);
	if (pid == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(pid);
}

#define PRUNE_HINT "Give the least age of rows to delete, such as '90 days'."

/* onboard_prune(older_than) -> number of deleted rows */
Datum
onboard_prune(PG_FUNCTION_ARGS)
{
	Interval none = {0};
	TimestampTz before;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("older_than must not be null"), errhint(PRUNE_HINT)));
	if (DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(0),
										 IntervalPGetDatum(&none))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("older_than must not be negative"),
						errhint(PRUNE_HINT)));
	before = DatumGetTimestampTz(DirectFunctionCall2(
		timestamptz_mi_interval,
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()),
		PG_GETARG_DATUM(0)));
	PG_RETURN_INT64((int64) ob_history_prune(own_schema(fcinfo), before));
}
