/*
 * run.c
 *		A run: from an event and a deadline to a result, in each mode.
 *
 * src/lambda/run/run.c
 */
#include "lambda/run/run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

/* Makes the options of ONBOARD_OPTIONS, with the landing place and format of
 * the program that onboard replaces. */
static char *
make_options(const OblConfig *config)
{
	json_t *options =
		config->options ? json_loads(config->options, 0, NULL) : json_object();
	char *key = NULL;
	char *text;

	if (config->as_predecessor && !json_object_get(options, "format"))
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
		return obl_run_fanout(run, error);
	/* workers have connections of their own */
	obl_run_disconnect(run);
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
	obl_run_disconnect(run);
	return code;
}

void
obl_run_free(OblRun *run)
{
	obl_run_disconnect(run);
	free(run->options);
	run->options = NULL;
	obl_result_free(&run->result);
}
