/*
 * run_submit.c
 *		Mode submit: the database does it, and we look how far it is.
 *
 * src/lambda/run_submit.c
 *
 * All registered tables are one job, under one snapshot, whose run id is the
 * event's.  Tables that were named, or that the file has, are a job each, with
 * run ids made of the event's and their names, so many at a time.  What has
 *not ended when the time is up goes on in the database; a status event asks
 *later.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/log.h"
#include "lambda/run.h"

#define POLL_MIN_MS 1000
#define POLL_MAX_MS 10000

static const char submit_all[] =
	"SELECT onboard_submit_all(NULL, $1::jsonb, $2::uuid)";
static const char submit_one[] =
	"SELECT onboard_submit($1, $2, $3, $4::jsonb, $5::uuid)";
/* the run's own row, whose name is empty, only matters if it is bad */
static const char rows_of_run[] =
	"SELECT name, status, rows, bytes, coalesce(sqlstate, ''),"
	" coalesce(error, '') FROM onboard_runs WHERE run_id = $1::uuid"
	" AND (name <> '' OR status IN ('failed', 'lost')) ORDER BY name";
static const char rows_of_jobs[] =
	"SELECT name, status, rows, bytes, coalesce(sqlstate, ''),"
	" coalesce(error, '') FROM onboard_runs WHERE run_id = ANY ($1::uuid[])";

static OblTable *
find(OblResult *result, const char *name)
{
	for (int i = 0; i < result->ntables; i++)
	{
		if (strcmp(result->tables[i].name, name) == 0)
			return &result->tables[i];
	}
	return NULL;
}

/* Rows of the history into the result, whose tables may not be known yet. */
static ObCode
read_rows(OblRun *run, const PGresult *rows, ObError *error)
{
	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *name = PQgetvalue(rows, i, 0);
		OblTable *table = find(&run->result, name);

		if (!table)
		{
			if (!obl_result_add(&run->result, name, NULL, 0))
				return ob_error_set(error, OB_ENOMEM, "out of memory");
			table = find(&run->result, name);
		}
		table->attempts = 1;
		obl_run_read_row(table, PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2),
						 PQgetvalue(rows, i, 3), PQgetvalue(rows, i, 4),
						 PQgetvalue(rows, i, 5));
	}
	return OB_OK;
}

static ObCode
look(OblRun *run, const char *sql, const char *ids, ObError *error)
{
	const char *values[] = {ids};
	PGresult *rows = NULL;
	ObCode code = obl_run_query(run, sql, 1, values, &rows, error);

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

/* ---- all tables: one job ---- */

static ObCode
submit_every(OblRun *run, ObError *error)
{
	const char *values[] = {run->options, run->result.run_id};
	PGresult *rows = NULL;
	int64_t wait = POLL_MIN_MS / 4;

	if (obl_run_query(run, submit_all, 2, values, &rows, error) != OB_OK)
		return error->code;
	PQclear(rows);
	obl_log(OBL_INFO, "submitted", NULL);
	for (;;)
	{
		if (look(run, rows_of_run, run->result.run_id, error) != OB_OK ||
			open_tables(run) == 0 || is_late(run, wait))
			return error->code;
		if (!pause_until(run, ob_http_now_ms() + wait, error))
			return error->code;
		wait = wait * 2 < POLL_MAX_MS ? wait * 2 : POLL_MAX_MS;
	}
}

/* ---- some tables: a job each ---- */

/* {"id", "id", ...} of those that have been submitted. */
static char *
ids_of_jobs(const OblRun *run)
{
	size_t room = (size_t) run->result.ntables * OBL_UUID + 3;
	char *text = malloc(room);
	size_t n = 0;

	if (!text)
		return NULL;
	text[n++] = '{';
	for (int i = 0; i < run->result.ntables; i++)
	{
		const OblTable *table = &run->result.tables[i];

		if (table->state != OBL_TABLE_QUEUED)
			continue;
		if (n > 1)
			text[n++] = ',';
		obl_uuid5(run->result.run_id, table->name, text + n);
		n += OBL_UUID - 1;
	}
	text[n++] = '}';
	text[n] = '\0';
	return text;
}

static void
submit_table(OblRun *run, OblTable *table)
{
	char id[OBL_UUID];
	const char *values[] = {table->name, table->query, run->config->bucket,
							run->options, id};
	PGresult *rows = NULL;
	ObError error;

	ob_error_clear(&error);
	obl_uuid5(run->result.run_id, table->name, id);
	table->attempts++;
	if (obl_run_query(run, submit_one, 5, values, &rows, &error) == OB_OK)
		table->state = OBL_TABLE_QUEUED;
	else
		obl_run_fail(table, run->primary ? run->primary->sqlstate : "",
					 error.cause);
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
submit_some(OblRun *run, ObError *error)
{
	int64_t wait = POLL_MIN_MS / 4;

	for (;;)
	{
		char *ids;
		int before;

		submit_more(run);
		before = open_tables(run);
		ids = ids_of_jobs(run);
		if (!ids)
			return ob_error_set(error, OB_ENOMEM, "out of memory");
		if (before > 0)
			(void) look(run, rows_of_jobs, ids, error);
		free(ids);
		if (error->code != OB_OK || is_late(run, wait))
			break;
		if (open_tables(run) == 0 &&
			obl_result_count(&run->result, OBL_TABLE_WAITING) == 0)
			return OB_OK;
		/* one has ended: the next one may begin at once */
		wait = open_tables(run) < before ? POLL_MIN_MS / 4 : wait * 2;
		if (wait > POLL_MIN_MS)
			wait = POLL_MIN_MS;
		if (open_tables(run) == before &&
			!pause_until(run, ob_http_now_ms() + wait, error))
			break;
	}
	return error->code;
}

/* ---- the modes ---- */

ObCode
obl_run_submit(OblRun *run, ObError *error)
{
	if (!run->config->tables_in_file && !run->event->tables)
		return submit_every(run, error);
	if (obl_run_tables(run, error) != OB_OK)
		return error->code;
	obl_result_sort(&run->result);
	return submit_some(run, error);
}

ObCode
obl_run_status(OblRun *run, ObError *error)
{
	if (look(run, rows_of_run, run->result.run_id, error) != OB_OK)
		return error->code;
	if (run->result.ntables > 0 ||
		(!run->config->tables_in_file && !run->event->tables))
		return OB_OK;
	/* its tables are jobs of their own */
	if (obl_run_tables(run, error) != OB_OK)
		return error->code;
	for (int i = 0; i < run->result.ntables; i++)
		run->result.tables[i].state = OBL_TABLE_QUEUED;
	{
		char *ids = ids_of_jobs(run);

		if (!ids)
			return ob_error_set(error, OB_ENOMEM, "out of memory");
		for (int i = 0; i < run->result.ntables; i++)
			run->result.tables[i].state = OBL_TABLE_WAITING;
		(void) look(run, rows_of_jobs, ids, error);
		free(ids);
	}
	return error->code;
}
