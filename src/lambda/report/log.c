/*
 * log.c
 *		One JSON object a line on stdout; metrics in CloudWatch's embedded
 * format.
 *
 * src/lambda/report/log.c
 */
#include "lambda/report/log.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lambda/report/result.h"

static const char *context_request;
static const char *context_run;

void
obl_log_context(const char *request_id, const char *run_id)
{
	context_request = request_id;
	context_run = run_id;
}

/* Adds a text; one that is not UTF-8 is logged as "(not UTF-8)", rather than
 * left out. */
static void
add(json_t *line, const char *name, const char *text)
{
	json_t *value;

	if (!text)
		return;
	value = json_string(text);
	if (!value)
		value = json_string("(not UTF-8)");
	json_object_set_new(line, name, value);
}

static json_t *
new_line(OblLevel level, const char *event)
{
	static const char *const levels[] = {"INFO", "WARN", "ERROR"};
	json_t *line = json_object();
	struct timespec now;
	struct tm utc;
	char seconds[32];
	char stamp[48];

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(seconds, sizeof(seconds), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(stamp, sizeof(stamp), "%s.%03ldZ", seconds,
			 now.tv_nsec / 1000000);
	add(line, "timestamp", stamp);
	add(line, "level", levels[level]);
	add(line, "event", event);
	add(line, "requestId", context_request);
	add(line, "run_id", context_run);
	return line;
}

static void
write_line(json_t *line)
{
	char *text = json_dumps(line, JSON_COMPACT);

	/* one write, so that lines of several processes do not mix */
	if (text)
		printf("%s\n", text);
	fflush(stdout);
	free(text);
	json_decref(line);
}

void
obl_log(OblLevel level, const char *event, ...)
{
	json_t *line = new_line(level, event);
	const char *name;
	va_list args;

	va_start(args, event);
	while ((name = va_arg(args, const char *)) != NULL)
		add(line, name, va_arg(args, const char *));
	va_end(args);
	write_line(line);
}

void
obl_log_error(OblLevel level, const char *event, const ObError *error)
{
	obl_log(level, event, "code", ob_code_name(error->code), "what",
			error->what[0] ? error->what : NULL, "cause", error->cause,
			"awsCode", error->s3_code[0] ? error->s3_code : NULL,
			"awsRequestId", error->request_id[0] ? error->request_id : NULL,
			NULL);
}

/* ---- metrics ---- */

static void
define_metric(json_t *metrics, json_t *line, const char *name,
			  const char *unit, int64_t value)
{
	json_array_append_new(metrics,
						  json_pack("{s:s, s:s}", "Name", name, "Unit", unit));
	json_object_set_new(line, name, json_integer(value));
}

void
obl_log_metrics(const char *function_name, const OblResult *result)
{
	json_t *line = new_line(OBL_INFO, "metrics");
	json_t *metrics = json_array();
	struct timespec now;
	int64_t rows = 0;
	int64_t bytes = 0;

	for (int i = 0; i < result->ntables; i++)
	{
		rows += result->tables[i].rows;
		bytes += result->tables[i].bytes;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	define_metric(metrics, line, "Exported", "Count",
				  obl_result_count(result, OBL_TABLE_DONE));
	define_metric(metrics, line, "Empty", "Count",
				  obl_result_count(result, OBL_TABLE_EMPTY));
	define_metric(metrics, line, "Failed", "Count",
				  obl_result_count(result, OBL_TABLE_FAILED));
	define_metric(metrics, line, "Rows", "Count", rows);
	define_metric(metrics, line, "Bytes", "Bytes", bytes);
	define_metric(metrics, line, "Duration", "Milliseconds",
				  result->ended_ms - result->started_ms);
	add(line, "Function", function_name ? function_name : "");
	json_object_set_new(
		line, "_aws",
		json_pack("{s:I, s:[{s:s, s:[[s]], s:o}]}", "Timestamp",
				  (json_int_t) now.tv_sec * 1000 + now.tv_nsec / 1000000,
				  "CloudWatchMetrics", "Namespace", "Onboard", "Dimensions",
				  "Function", "Metrics", metrics));
	write_line(line);
}
