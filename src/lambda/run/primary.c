/*
 * primary.c
 *		Statements of a run, on one connection to the primary.
 *
 * src/lambda/run/primary.c
 */
#include "lambda/run/run.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/random.h"
#include "lambda/report/log.h"

#define TRIES 3
#define DELAY_BASE_MS 100
#define DELAY_MAX_MS 5000

typedef struct Statement
{
	bool ended;
	PGresult *result;
} Statement;

static void
on_done(OblConnection *connection, PGresult *result)
{
	Statement *statement = connection->arg;

	statement->ended = true;
	if (result)
		statement->result =
			PQcopyResult(result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
}

static ObCode
wait_for(OblRun *run, Statement *statement, ObError *error)
{
	OblConnection *connection = run->primary;

	while (!statement->ended)
	{
		if (!obl_loop_step(run->aws.loop, run->deadline_ms, error))
			return error->code;
		if (!statement->ended && ob_http_now_ms() >= run->deadline_ms)
			return ob_error_set(error, OB_ETIMEOUT, "deadline exceeded");
	}
	if (connection->class == OBL_CLASS_OK)
		return OB_OK;
	ob_error_copy(error->s3_code, sizeof(error->s3_code), connection->sqlstate,
				  strlen(connection->sqlstate));
	return ob_error_set(error, OB_ECONNECT, "%s%s%s", connection->message,
						connection->sqlstate[0] ? ", SQLSTATE " : "",
						connection->sqlstate);
}

void
obl_run_disconnect(OblRun *run)
{
	if (run->primary)
		obl_connection_close(run->primary);
	free(run->primary);
	run->primary = NULL;
}

static ObCode
open_once(OblRun *run, ObError *error)
{
	Statement statement = {false, NULL};

	obl_run_disconnect(run);
	run->primary = calloc(1, sizeof(OblConnection));
	if (!run->primary)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	run->primary->loop = run->aws.loop;
	run->primary->done = on_done;
	run->primary->arg = &statement;
	obl_connection_open(run->primary, &run->secrets[0], run->request_id,
						run->deadline_ms);
	return wait_for(run, &statement, error);
}

/* Connects with the cached secret, and once more with a new one. */
static ObCode
open_primary(OblRun *run, ObError *error)
{
	bool changed;
	ObError again;

	if (obl_secret_get(&run->secrets[0], &run->aws, false, NULL, error) !=
		OB_OK)
		return error->code;
	ob_error_what(error, "could not connect to the database of \"%s\"",
				  run->secrets[0].id);
	if (open_once(run, error) == OB_OK ||
		run->primary->class != OBL_CLASS_LOGIN)
		return error->code;
	ob_error_clear(&again);
	if (obl_secret_get(&run->secrets[0], &run->aws, true, &changed, &again) !=
		OB_OK)
	{
		*error = again;
		return error->code;
	}
	if (!changed)
		return error->code;
	ob_error_clear(error);
	ob_error_what(error, "could not connect to the database of \"%s\"",
				  run->secrets[0].id);
	return open_once(run, error);
}

static ObCode
query_once(OblRun *run, const char *sql, int nparams,
		   const char *const *values, PGresult **result, ObError *error)
{
	Statement statement = {false, NULL};

	if ((!run->primary || run->primary->class != OBL_CLASS_OK) &&
		open_primary(run, error) != OB_OK)
		return error->code;
	ob_error_what(error, "could not query the database of \"%s\"",
				  run->secrets[0].id);
	run->primary->arg = &statement;
	obl_connection_send(run->primary, sql, nparams, values);
	if (wait_for(run, &statement, error) == OB_OK && !statement.result)
		ob_error_set(error, OB_ENOMEM, "out of memory");
	*result = statement.result;
	return error->code;
}

int64_t
obl_run_delay(int n)
{
	int64_t ceiling = DELAY_BASE_MS;

	for (int i = 1; i < n && ceiling < DELAY_MAX_MS; i++)
		ceiling *= 2;
	if (ceiling > DELAY_MAX_MS)
		ceiling = DELAY_MAX_MS;
	return (int64_t) (ob_random_fraction() * (double) (ceiling + 1));
}

static void
pause_for(OblRun *run, int64_t ms)
{
	int64_t until = ob_http_now_ms() + ms;
	ObError ignored;

	ob_error_clear(&ignored);
	while (ob_http_now_ms() < until &&
		   obl_loop_step(run->aws.loop, until, &ignored))
		;
}

ObCode
obl_run_query(OblRun *run, const char *sql, int nparams,
			  const char *const *values, PGresult **result, ObError *error)
{
	for (int try = 1;; try++)
	{
		OblClass class;

		*result = NULL;
		if (query_once(run, sql, nparams, values, result, error) == OB_OK)
			return OB_OK;
		PQclear(*result);
		*result = NULL;
		class = run->primary ? run->primary->class : OBL_CLASS_FINAL;
		if ((class != OBL_CLASS_AGAIN && class != OBL_CLASS_FULL) ||
			error->code == OB_ETIMEOUT || try == TRIES)
			return error->code;
		obl_log_error(OBL_WARN, "trying again", error);
		ob_error_clear(error);
		pause_for(run, obl_run_delay(try));
	}
}
