/*
 * run_submit.c
 *		Mode submit: the database exports, and we watch the progress.
 *
 * src/lambda/run/run_submit.c
 *
 * All registered tables are one job, under one snapshot, whose run id is the
 * event's.  Named tables and tables of the file are a job each, several at a
 * time, and so are tables that failed in an earlier delivery of the event. The
 * run id of such a job is derived from the event's and the table's name; that
 * of a further try, from the id of the try before.  Jobs that have not ended
 * at the deadline continue in the database; a status event shows them later.
 *
 * A run belongs to a role: rows of another role with the same id, which ours
 * may be able to see, are ignored.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/report/log.h"
#include "lambda/run/run.h"

#define POLL_MIN_MS 1000
#define POLL_MAX_MS 10000
#define JOBS_MAX 8 /* jobs of one table in a run */

static const char submit_all[] =
	"SELECT onboard_submit_all(NULL, $1::jsonb, $2::uuid)";
static const char submit_one[] =
	"SELECT onboard_submit($1, $2, $3, $4::jsonb, $5::uuid)";
/* the run's own row, whose name is empty, only matters if the run has
 * failed */
static const char rows_of_run[] =
	"SELECT name, status, rows, bytes, coalesce(sqlstate, ''),"
	" coalesce(error, ''), coalesce(detail, '') FROM onboard_runs"
	" WHERE run_id = $1::uuid AND role = current_user"
	" AND (name <> '' OR status IN ('failed', 'lost')) ORDER BY name";
static const char rows_of_jobs[] =
	"SELECT name, status, rows, bytes, coalesce(sqlstate, ''),"
	" coalesce(error, ''), coalesce(detail, '') FROM onboard_runs"
	" WHERE run_id = ANY ($1::uuid[]) AND role = current_user";

/* Stores rows of the history in the result, whose tables may not be known
 * yet. */
static ObCode
read_rows(OblRun *run, const PGresult *rows, ObError *error)
{
	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *name = PQgetvalue(rows, i, 0);
		OblTable *table = obl_result_find(&run->result, name);

		if (!table)
		{
			if (!obl_result_add(&run->result, name, NULL, 0))
				return ob_error_set(error, OB_ENOMEM, "out of memory");
			table = obl_result_find(&run->result, name);
		}
		table->attempts = 1;
		obl_table_read_row(table, PQgetvalue(rows, i, 1),
						   PQgetvalue(rows, i, 2), PQgetvalue(rows, i, 3),
						   PQgetvalue(rows, i, 4), PQgetvalue(rows, i, 5),
						   PQgetvalue(rows, i, 6));
	}
	return OB_OK;
}

static bool
has_lost_row(const PGresult *rows)
{
	for (int i = 0; i < PQntuples(rows); i++)
	{
		if (strcmp(PQgetvalue(rows, i, 1), "lost") == 0)
			return true;
	}
	return false;
}

/* Reads rows of the history into the result.  If a job ends while the view is
 * read, it appears lost: the snapshot has its old row, but its lock is gone.
 * So the rows are read again if one is lost. */
static ObCode
read_history(OblRun *run, const char *sql, const char *ids, ObError *error)
{
	const char *values[] = {ids};
	PGresult *rows = NULL;
	ObCode code = obl_run_query(run, sql, 1, values, &rows, error);

	if (code == OB_OK && has_lost_row(rows))
	{
		PQclear(rows);
		code = obl_run_query(run, sql, 1, values, &rows, error);
	}

	if (code == OB_OK)
		code = read_rows(run, rows, error);
	PQclear(rows);
	return code;
}

static bool
pause_until(OblRun *run, int64_t until, ObError *error)
{
	if (until > run->deadline_ms)
		until = run->deadline_ms;
	while (ob_http_now_ms() < until)
	{
		if (!obl_loop_step(run->aws.loop, until, error))
			return false;
	}
	return true;
}

static int
open_tables(const OblRun *run)
{
	return obl_result_count(&run->result, OBL_TABLE_QUEUED) +
		   obl_result_count(&run->result, OBL_TABLE_RUNNING);
}

static bool
is_late(const OblRun *run, int64_t wait_ms)
{
	return ob_http_now_ms() + wait_ms >= run->deadline_ms;
}

/* ---- jobs of single tables ---- */

static bool
is_open(const OblTable *table)
{
	return table->state == OBL_TABLE_QUEUED ||
		   table->state == OBL_TABLE_RUNNING;
}

/* Makes {"id", "id", ...} of the jobs that are WAITING or open. */
static char *
ids_of_jobs(const OblRun *run)
{
	char *text = malloc((size_t) run->result.ntables * OBL_UUID + 3);
	size_t n = 0;

	if (!text)
		return NULL;
	text[n++] = '{';
	for (int i = 0; i < run->result.ntables; i++)
	{
		const OblTable *table = &run->result.tables[i];

		if (!table->job[0] ||
			(table->state != OBL_TABLE_WAITING && !is_open(table)))
			continue;
		if (n > 1)
			text[n++] = ',';
		memcpy(text + n, table->job, OBL_UUID - 1);
		n += OBL_UUID - 1;
	}
	text[n++] = '}';
	text[n] = '\0';
	return text;
}

static ObCode
read_jobs(OblRun *run, ObError *error)
{
	char *ids = ids_of_jobs(run);
	ObCode code;

	if (!ids)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	code = strcmp(ids, "{}") == 0
			   ? OB_OK
			   : read_history(run, rows_of_jobs, ids, error);
	free(ids);
	return code;
}

/* Returns whether the table needs another job that has not been searched for
 * yet: it has no job, or its last one failed.  A table that failed without a
 * try is not registered. */
static bool
needs_job(const OblTable *table)
{
	return (table->state == OBL_TABLE_WAITING && !table->job[0]) ||
		   (table->state == OBL_TABLE_FAILED && table->attempts > 0);
}

/*
 * Finds the last job of each table that has not landed.  Afterwards, those
 * that are WAITING have the id of a job that is yet to be submitted.
 */
static ObCode
find_jobs(OblRun *run, ObError *error)
{
	for (int n = 0; n < JOBS_MAX; n++)
	{
		bool any = false;

		for (int i = 0; i < run->result.ntables; i++)
		{
			OblTable *table = &run->result.tables[i];
			char id[OBL_UUID];

			if (!needs_job(table))
				continue;
			obl_uuid5(table->job[0] ? table->job : run->result.run_id,
					  table->name, id);
			memcpy(table->job, id, sizeof(id));
			table->state = OBL_TABLE_WAITING;
			any = true;
		}
		if (!any)
			break;
		if (read_jobs(run, error) != OB_OK)
			return error->code;
	}
	for (int i = 0; i < run->result.ntables; i++)
	{
		OblTable *table = &run->result.tables[i];

		table->landed_before =
			table->state == OBL_TABLE_DONE || table->state == OBL_TABLE_EMPTY;
	}
	return OB_OK;
}

static bool
is_for_all(const OblRun *run)
{
	return !run->config->tables_in_file && !run->event->tables;
}

static void
submit_table(OblRun *run, OblTable *table)
{
	/* for all tables, the registry has the bucket */
	const char *bucket = is_for_all(run) ? NULL : run->config->bucket;
	const char *values[] = {table->name, table->query, bucket, run->options,
							table->job};
	PGresult *rows = NULL;
	ObError error;

	ob_error_clear(&error);
	table->attempts++;
	if (obl_run_query(run, submit_one, 5, values, &rows, &error) == OB_OK)
		table->state = OBL_TABLE_QUEUED;
	else
		obl_table_fail(table, run->primary ? run->primary->sqlstate : "",
					   error.cause,
					   run->primary ? run->primary->detail : NULL);
	PQclear(rows);
}

static void
submit_more(OblRun *run)
{
	for (int i = 0; i < run->result.ntables; i++)
	{
		OblTable *table = &run->result.tables[i];

		if (table->state == OBL_TABLE_WAITING && !is_late(run, 0) &&
			open_tables(run) < run->config->concurrency)
			submit_table(run, table);
	}
}

static ObCode
submit_tables(OblRun *run, ObError *error)
{
	int64_t wait = POLL_MIN_MS / 4;

	if (find_jobs(run, error) != OB_OK)
		return error->code;
	for (;;)
	{
		int before;

		submit_more(run);
		before = open_tables(run);
		if (read_jobs(run, error) != OB_OK || is_late(run, wait))
			break;
		if (open_tables(run) == 0 &&
			obl_result_count(&run->result, OBL_TABLE_WAITING) == 0)
			return OB_OK;
		/* a job has ended, so the next one may begin at once */
		wait = open_tables(run) < before ? POLL_MIN_MS / 4 : wait * 2;
		if (wait > POLL_MIN_MS)
			wait = POLL_MIN_MS;
		if (open_tables(run) == before &&
			!pause_until(run, ob_http_now_ms() + wait, error))
			break;
	}
	return error->code;
}

/* ---- all tables: one job ---- */

/* Returns whether the run is a single job: tables that are published together,
 * or with a manifest, have no jobs of their own. */
static bool
is_one_job(const OblRun *run)
{
	json_t *options = json_loads(run->options, 0, NULL);
	bool whole = json_object_get(options, "publish") ||
				 json_object_get(options, "manifest");

	json_decref(options);
	return whole;
}

static ObCode
submit_once(OblRun *run, ObError *error)
{
	const char *values[] = {run->options, run->result.run_id};
	PGresult *rows = NULL;

	if (obl_run_query(run, submit_all, 2, values, &rows, error) == OB_OK)
		obl_log(OBL_INFO, "submitted", NULL);
	PQclear(rows);
	return error->code;
}

static ObCode
submit_run(OblRun *run, ObError *error)
{
	int64_t wait = POLL_MIN_MS / 4;
	bool again;

	if (read_history(run, rows_of_run, run->result.run_id, error) != OB_OK)
		return error->code;
	again = run->result.ntables > 0;
	if (!again && submit_once(run, error) != OB_OK)
		return error->code;
	for (;;)
	{
		if (read_history(run, rows_of_run, run->result.run_id, error) !=
				OB_OK ||
			is_late(run, wait))
			return error->code;
		if (open_tables(run) == 0)
			break;
		if (!pause_until(run, ob_http_now_ms() + wait, error))
			return error->code;
		wait = wait * 2 < POLL_MAX_MS ? wait * 2 : POLL_MAX_MS;
	}
	/* an earlier delivery has submitted the run, and some tables may have
	 * failed */
	return again && !is_one_job(run) ? submit_tables(run, error) : OB_OK;
}

/* ---- the modes ---- */

ObCode
obl_run_submit(OblRun *run, ObError *error)
{
	if (is_for_all(run))
		return submit_run(run, error);
	if (obl_run_tables(run, error) != OB_OK)
		return error->code;
	obl_result_sort(&run->result);
	return submit_tables(run, error);
}

/* Restores the state of tables that find_jobs() has prepared for another job,
 * which action status does not submit. */
static void
restore_failures(OblRun *run)
{
	for (int i = 0; i < run->result.ntables; i++)
	{
		OblTable *table = &run->result.tables[i];

		if (table->state == OBL_TABLE_WAITING && table->attempts > 0)
			table->state = OBL_TABLE_FAILED;
		table->landed_before = false;
	}
}

ObCode
obl_run_status(OblRun *run, ObError *error)
{
	if (read_history(run, rows_of_run, run->result.run_id, error) != OB_OK)
		return error->code;
	/* tables that are jobs of their own */
	if (run->result.ntables == 0 && !is_for_all(run) &&
		obl_run_tables(run, error) != OB_OK)
		return error->code;
	if (find_jobs(run, error) != OB_OK)
		return error->code;
	restore_failures(run);
	return OB_OK;
}
