/*
 * run.c
 *		A run: from an event and a deadline to a result, in each mode.
 *
 * src/lambda/run.c
 */
#include "lambda/run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lambda/invoke.h"
#include "lambda/log.h"

#define TRIES 3
#define DELAY_BASE_MS 100
#define DELAY_MAX_MS 5000
#define MARGIN_MIN_MS 2000
#define MARGIN_MAX_MS 15000

int64_t
obl_run_deadline(int64_t deadline_unix_ms)
{
	struct timespec now;
	int64_t left;
	int64_t margin;

	clock_gettime(CLOCK_REALTIME, &now);
	left = deadline_unix_ms -
		   ((int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000);
	margin = left / 20;
	if (margin < MARGIN_MIN_MS)
		margin = MARGIN_MIN_MS;
	if (margin > MARGIN_MAX_MS)
		margin = MARGIN_MAX_MS;
	return ob_http_now_ms() + left - margin;
}

int64_t
obl_run_delay(int n)
{
	int64_t ceiling = DELAY_BASE_MS;

	for (int i = 1; i < n && ceiling < DELAY_MAX_MS; i++)
		ceiling *= 2;
	if (ceiling > DELAY_MAX_MS)
		ceiling = DELAY_MAX_MS;
	return random() % (ceiling + 1);
}

/* ---- one statement at a time ---- */

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
			return ob_error_set(error, OB_ETIMEOUT,
								"the time did not suffice");
	}
	if (connection->class == OBL_CLASS_OK)
		return OB_OK;
	ob_error_copy(error->s3_code, sizeof(error->s3_code), connection->sqlstate,
				  strlen(connection->sqlstate));
	return ob_error_set(error, OB_ECONNECT, "%s%s%s", connection->message,
						connection->sqlstate[0] ? ", SQLSTATE " : "",
						connection->sqlstate);
}

static void
close_primary(OblRun *run)
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

	close_primary(run);
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

/* With the secret at hand, and once more with another one. */
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
	ob_error_what(error, "could not ask the database of \"%s\"",
				  run->secrets[0].id);
	run->primary->arg = &statement;
	obl_connection_send(run->primary, sql, nparams, values);
	if (wait_for(run, &statement, error) == OB_OK && !statement.result)
		ob_error_set(error, OB_ENOMEM, "out of memory");
	*result = statement.result;
	return error->code;
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

/* ---- tables ---- */

void
obl_run_fail(OblTable *table, const char *sqlstate, const char *message)
{
	table->state = OBL_TABLE_FAILED;
	snprintf(table->sqlstate, sizeof(table->sqlstate), "%s", sqlstate);
	free(table->message);
	table->message = strdup(message);
}

void
obl_run_read_row(OblTable *table, const char *status, const char *rows,
				 const char *bytes, const char *sqlstate, const char *message)
{
	if (strcmp(status, "done") == 0)
		table->state = OBL_TABLE_DONE;
	else if (strcmp(status, "empty") == 0)
		table->state = OBL_TABLE_EMPTY;
	else if (strcmp(status, "queued") == 0 || strcmp(status, "running") == 0)
		table->state = OBL_TABLE_QUEUED;
	else
		obl_run_fail(table, sqlstate[0] ? sqlstate : "",
					 message[0] ? message : status);
	table->rows = strtoll(rows, NULL, 10);
	table->bytes = strtoll(bytes, NULL, 10);
}

/* ---- the whole ---- */

/* ONBOARD_OPTIONS, and the first program's landing place and format. */
static char *
make_options(const OblConfig *config)
{
	json_t *options =
		config->options ? json_loads(config->options, 0, NULL) : json_object();
	char *key = NULL;
	char *text;

	if (config->as_first_program && !json_object_get(options, "format"))
		json_object_set_new(options, "format", json_string("json"));
	if (config->prefix && !json_object_get(options, "key") &&
		asprintf(&key, "%s{name}/data/inbox/{name}_data.{ext}",
				 config->prefix) >= 0)
	{
		json_object_set_new(options, "key", json_string(key));
		free(key);
	}
	text = json_dumps(options, JSON_COMPACT);
	json_decref(options);
	return text;
}

static ObCode
run_by_mode(OblRun *run, ObError *error)
{
	OblMode mode = run->event->action == OBL_ACTION_TABLE ? OBL_MODE_WAIT
														  : run->config->mode;

	if (run->event->action == OBL_ACTION_STATUS)
		return obl_run_status(run, error);
	if (mode == OBL_MODE_SUBMIT)
		return obl_run_submit(run, error);
	if (obl_run_tables(run, error) != OB_OK)
		return error->code;
	obl_result_sort(&run->result);
	if (mode == OBL_MODE_FANOUT)
		return obl_invoke_children(run, error);
	/* workers have connections of their own */
	close_primary(run);
	return obl_run_wait(run, error);
}

ObCode
obl_run(OblRun *run, ObError *error)
{
	ObCode code;

	obl_result_init(&run->result, run->event->run_id);
	run->result.started_ms = ob_http_now_ms();
	run->options = make_options(run->config);
	if (!run->options)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	code = run_by_mode(run, error);
	run->result.ended_ms = ob_http_now_ms();
	close_primary(run);
	return code;
}

void
obl_run_free(OblRun *run)
{
	close_primary(run);
	free(run->options);
	run->options = NULL;
	obl_result_free(&run->result);
}
