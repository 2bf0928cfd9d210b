/*
 * run_fanout.c
 *		Mode fanout: invoking the function itself for tables of a run.
 *
 * src/lambda/run/run_fanout.c
 *
 * See https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
 * A child that was accepted (202) has not exported its table yet; it writes
 * the outcome into the database's history.
 */
#include "lambda/run/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text/uri.h"
#include "lambda/services/aws.h"
#include "lambda/report/log.h"

#define CHILDREN_MAX 1000
#define IN_FLIGHT_MAX 16
#define RESPONSE_MAX (64 * 1024)

typedef struct Invocation
{
	ObAwsCall call;
	bool running;
	OblTable **tables; /* a slice of the fanout's tables */
	int ntables;
	char *body;
	struct Fanout *fanout;
} Invocation;

typedef struct Fanout
{
	OblRun *run;
	char *path;
	ObPair headers[3];
	int nheaders;
	OblTable **tables; /* that have not landed yet */
	int ntables;
	int each; /* tables for each child */
	int next; /* index of the next table */
	int running;
	Invocation children[IN_FLIGHT_MAX];
} Fanout;

static void
record_outcome(Invocation *invocation)
{
	const ObError *error = &invocation->call.error;

	for (int i = 0; i < invocation->ntables; i++)
	{
		OblTable *table = invocation->tables[i];

		table->attempts = error->attempts > 0 ? error->attempts : 1;
		if (error->code == OB_OK)
		{
			table->state = OBL_TABLE_QUEUED;
			continue;
		}
		table->state = OBL_TABLE_FAILED;
		free(table->message);
		table->message = strdup(error->cause);
	}
	if (error->code != OB_OK)
		obl_log_error(OBL_ERROR, "child refused", error);
}

static void
on_done(ObAwsCall *call)
{
	Invocation *invocation = call->arg;

	record_outcome(invocation);
	invocation->running = false;
	invocation->fanout->running--;
}

static char *
event_for(const Invocation *invocation)
{
	const OblRun *run = invocation->fanout->run;
	char **names = calloc(invocation->ntables, sizeof(char *));
	char *text;

	if (!names)
		return NULL;
	for (int i = 0; i < invocation->ntables; i++)
		names[i] = invocation->tables[i]->name;
	text = obl_event_child(run->result.run_id, names, invocation->ntables,
						   run->event->depth + 1);
	free(names);
	return text;
}

static ObCode
start(Fanout *fanout, Invocation *invocation, ObError *error)
{
	const OblRun *run = fanout->run;
	ObAwsCall *call = &invocation->call;
	int left = fanout->ntables - fanout->next;

	ob_aws_call_free(call);
	free(invocation->body);
	invocation->fanout = fanout;
	invocation->tables = &fanout->tables[fanout->next];
	invocation->ntables = left < fanout->each ? left : fanout->each;
	invocation->body = event_for(invocation);
	if (!invocation->body)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	ob_aws_call_init(call);
	ob_error_what(&call->error, "could not invoke the function for \"%s\"",
				  invocation->tables[0]->name);
	call->http = run->aws.loop->http;
	call->provider = run->aws.provider;
	call->region = run->config->region;
	call->service = "lambda";
	call->path = fanout->path;
	call->headers = fanout->headers;
	call->nheaders = fanout->nheaders;
	call->body = invocation->body;
	call->len = strlen(invocation->body);
	call->response_max = RESPONSE_MAX;
	call->deadline_ms = run->deadline_ms;
	call->done = on_done;
	call->arg = invocation;
	invocation->running = true;
	fanout->running++;
	fanout->next += invocation->ntables;
	ob_aws_call_start(call);
	return OB_OK;
}

static ObCode
start_more(Fanout *fanout, ObError *error)
{
	for (int i = 0; i < IN_FLIGHT_MAX; i++)
	{
		if (fanout->next < fanout->ntables && !fanout->children[i].running &&
			start(fanout, &fanout->children[i], error) != OB_OK)
			return error->code;
	}
	return OB_OK;
}

static ObCode
invoke_all(Fanout *fanout, ObError *error)
{
	OblRun *run = fanout->run;

	for (;;)
	{
		bool late = ob_http_now_ms() >= run->deadline_ms;

		if (!late && start_more(fanout, error) != OB_OK)
			return error->code;
		if (fanout->running == 0)
			return OB_OK;
		/* invocations under way end by their own time-outs */
		if (!obl_loop_step(run->aws.loop, late ? -1 : run->deadline_ms, error))
			return error->code;
	}
}

static char *
invoke_path(const char *function)
{
	ObBuf path;
	ObError error;
	char *text = NULL;

	ob_error_clear(&error);
	ob_buf_init(&path, 4096);
	ob_buf_addf(&path, "/2015-03-31/functions/");
	ob_uri_encode(&path, function, strlen(function), false);
	ob_buf_addf(&path, "/invocations");
	if (ob_buf_check(&path, &error) == OB_OK)
		text = strdup(path.data);
	ob_buf_free(&path);
	return text;
}

static void
free_fanout(Fanout *fanout)
{
	for (int i = 0; i < IN_FLIGHT_MAX; i++)
	{
		ob_aws_call_free(&fanout->children[i].call);
		free(fanout->children[i].body);
	}
	free(fanout->tables);
	free(fanout->path);
	free(fanout);
}

static void
choose_tables(Fanout *fanout, OblResult *result)
{
	for (int i = 0; i < result->ntables; i++)
	{
		if (result->tables[i].state == OBL_TABLE_WAITING)
			fanout->tables[fanout->ntables++] = &result->tables[i];
	}
	fanout->each = (fanout->ntables + CHILDREN_MAX - 1) / CHILDREN_MAX;
}

ObCode
obl_run_fanout(OblRun *run, ObError *error)
{
	Fanout *fanout = calloc(1, sizeof(*fanout));
	ObCode code;

	if (!fanout)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	fanout->run = run;
	fanout->path = invoke_path(run->config->function_name);
	fanout->tables = calloc(run->result.ntables + 1, sizeof(OblTable *));
	if (!fanout->path || !fanout->tables)
	{
		free_fanout(fanout);
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	}
	choose_tables(fanout, &run->result);
	fanout->headers[fanout->nheaders++] =
		(ObPair){"content-type", "application/json"};
	fanout->headers[fanout->nheaders++] =
		(ObPair){"x-amz-invocation-type", "Event"};
	/* Lambda's detection of recursive loops uses this header */
	if (run->trace_id && run->trace_id[0])
		fanout->headers[fanout->nheaders++] =
			(ObPair){"x-amzn-trace-id", run->trace_id};
	code = invoke_all(fanout, error);
	free_fanout(fanout);
	return code;
}
