/*
 * functions_watch.c
 *		The SQL functions that tell of exports under way.
 *
 * src/pg/functions_watch.c
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "pg/progress.h"

PG_FUNCTION_INFO_V1(onboard_progress_rows);

#define PROGRESS_COLUMNS 13

/* onboard_progress_rows() -> what the view onboard_progress is made of */
Datum
onboard_progress_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
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
			CStringGetTextDatum(row->name),
			Int32GetDatum(row->name_len),
			CStringGetTextDatum(ob_phase_name(row->phase)),
			Int64GetDatum((int64) figures->rows),
			Int64GetDatum((int64) figures->raw_bytes),
			Int64GetDatum((int64) figures->bytes),
			Int32GetDatum(figures->parts),
			Int32GetDatum(figures->in_flight),
			Int32GetDatum(figures->retries),
			Int64GetDatum(row->estimated_bytes),
			TimestampTzGetDatum(row->started),
		};

		tuplestore_putvalues(result->setResult, result->setDesc, values,
							 nulls);
	}
	return (Datum) 0;
}
