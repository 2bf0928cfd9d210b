/*
 * functions_progress.c
 *		The SQL function behind the view onboard_progress.
 *
 * src/pg/sql/functions_progress.c
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "pg/sql/functions.h"
#include "pg/base/own_query.h"
#include "pg/catalog/progress.h"

PG_FUNCTION_INFO_V1(onboard_progress_rows);

#define PROGRESS_COLUMNS 13

/* ---- names that are too long for shared memory ---- */

typedef struct Naming
{
	const ObProgressRow *row;
	MemoryContext context;
	char *name; /* NULL: not found */
} Naming;

static void
find_name(Oid schema, void *arg)
{
	Naming *naming = arg;
	const ObProgressRow *row = naming->row;
	ObParameters parameters = {0};
	const ObOwnQuery query = {
		.sql = "SELECT name FROM %s.onboard_history WHERE run_id = $1 AND "
			   "pid = $2 AND ended IS NULL AND starts_with(name, $3) AND "
			   "least(octet_length(name), 65535) = $4 LIMIT 2",
		.parameters = &parameters,
		.result = SPI_OK_SELECT,
	};
	MemoryContext before;

	ob_parameter_uuid(&parameters, &row->run_id);
	ob_parameter_add(&parameters, INT8OID, Int64GetDatum(row->pid), true);
	ob_parameter_text(&parameters, row->name);
	ob_parameter_add(&parameters, INT4OID, Int32GetDatum(row->name_len), true);
	if (ob_own_query(schema, &query) != 1)
		return;
	before = MemoryContextSwitchTo(naming->context);
	naming->name = ob_own_text(0, 1);
	MemoryContextSwitchTo(before);
}

/* Returns the whole name from the history, if the table has a row of a worker
 * there; else its beginning. */
static const char *
whole_name(Oid schema, const ObProgressRow *row)
{
	Naming naming = {row, CurrentMemoryContext, NULL};
	Oid table = get_relname_relid("onboard_history", schema);

	if (strlen(row->name) < row->name_len && OidIsValid(table) &&
		pg_class_aclcheck(table, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		ob_as_caller(schema, find_name, &naming);
	return naming.name ? naming.name : row->name;
}

/* ---- rows ---- */

static int64
bytes_per_second(const ObProgressRow *row)
{
	TimestampTz taken = GetCurrentTimestamp() - row->started;

	return (int64) rint((double) row->figures.raw_bytes /
						Max((double) taken / USECS_PER_SEC, 0.001));
}

/* progress() -> the rows of the view onboard_progress */
Datum
onboard_progress_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid schema = ob_extension_schema();
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, ob_progress_list())
	{
		ObProgressRow *row = lfirst(cell);
		const ObFigures *figures = &row->figures;
		bool nulls[PROGRESS_COLUMNS] = {false};
		Datum values[PROGRESS_COLUMNS] = {
			Int32GetDatum(row->pid),
			UUIDPGetDatum(&row->run_id),
			CStringGetTextDatum(whole_name(schema, row)),
			CStringGetTextDatum(ob_phase_name(row->phase)),
			Int64GetDatum((int64) figures->rows),
			Int64GetDatum((int64) figures->raw_bytes),
			Int64GetDatum((int64) figures->bytes),
			Int32GetDatum((int32) figures->parts),
			Int32GetDatum(row->in_flight),
			Int32GetDatum((int32) figures->retries),
			Int64GetDatum(bytes_per_second(row)),
			Int64GetDatum(row->estimated_bytes),
			TimestampTzGetDatum(row->started),
		};

		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}
