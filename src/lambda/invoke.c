/*
 * invoke.c
 *		Asking the function itself, asynchronously, for tables of a run.
 *
 * src/lambda/invoke.c
 *
 * See https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
 * That a child was accepted (202) says nothing about its table: the child
 * writes that into the database's history.
 */
#include "lambda/invoke.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/aws.h"
#include "core/text/uri.h"
#include "lambda/log.h"

#define CHILDREN_MAX 1000
#define ANSWER_MAX (64 * 1024)

typedef struct Child
{
	ObAwsCall call;
	bool running;
	OblTable **tables; /* within the crowd's */
	int ntables;
	char *body;
	struct Crowd *crowd;
} Child;

typedef struct Crowd
{
	OblRun *run;
	char *path;
	ObPair headers[3];
	int nheaders;
	OblTable **tables; /* that have not landed, and may */
	int ntables;
	int each; /* of them for a child */
	int next; /* to be asked for next */
	int running;
	Child children[OBL_INVOKE_IN_FLIGHT];
} Crowd;

static void
mark(Child *child)
{
	const ObError *error = &child->call.error;

	for (int i = 0; i < child->ntables; i++)
	{
		OblTable *table = child->tables[i];

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
	Child *child = call->arg;

	mark(child);
	child->running = false;
	child->crowd->running--;
}

static char *
child_event(const Child *child)
{
	const OblRun *run = child->crowd->run;
	char **names = calloc(child->ntables, sizeof(char *));
	char *text;

	if (!names)
		return NULL;
	for (int i = 0; i < child->ntables; i++)
		names[i] = child->tables[i]->name;
	text = obl_event_child(run->result.run_id, names, child->ntables,
						   run->event->depth + 1);
	free(names);
	return text;
}

static ObCode
start(Crowd *crowd, Child *child, ObError *error)
{
	const OblRun *run = crowd->run;
	ObAwsCall *call = &child->call;
	int left = crowd->ntables - crowd->next;

	ob_aws_call_free(call);
	free(child->body);
	child->crowd = crowd;
	child->tables = &crowd->tables[crowd->next];
	child->ntables = left < crowd->each ? left : crowd->each;
	child->body = child_event(child);
	if (!child->body)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	ob_aws_call_init(call);
	ob_error_what(&call->error, "could not invoke the function for \"%s\"",
				  child->tables[0]->name);
	call->http = run->aws.loop->http;
	call->provider = run->aws.provider;
	call->region = run->config->region;
	call->service = "lambda";
	call->path = crowd->path;
	call->headers = crowd->headers;
	call->nheaders = crowd->nheaders;
	call->body = child->body;
	call->len = strlen(child->body);
	call->response_max = ANSWER_MAX;
	call->deadline_ms = run->deadline_ms;
	call->done = on_done;
	call->arg = child;
	child->running = true;
	crowd->running++;
	crowd->next += child->ntables;
	ob_aws_call_start(call);
	return OB_OK;
}

static ObCode
start_more(Crowd *crowd, ObError *error)
{
	for (int i = 0; i < OBL_INVOKE_IN_FLIGHT; i++)
	{
		if (crowd->next < crowd->ntables && !crowd->children[i].running &&
			start(crowd, &crowd->children[i], error) != OB_OK)
			return error->code;
	}
	return OB_OK;
}

static ObCode
invoke_all(Crowd *crowd, ObError *error)
{
	OblRun *run = crowd->run;

	for (;;)
	{
		bool late = ob_http_now_ms() >= run->deadline_ms;

		if (!late && start_more(crowd, error) != OB_OK)
			return error->code;
		if (crowd->running == 0)
			return OB_OK;
		/* those under way end by their own time-outs */
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
free_crowd(Crowd *crowd)
{
	for (int i = 0; i < OBL_INVOKE_IN_FLIGHT; i++)
	{
		ob_aws_call_free(&crowd->children[i].call);
		free(crowd->children[i].body);
	}
	free(crowd->tables);
	free(crowd->path);
	free(crowd);
}

static void
choose_tables(Crowd *crowd, OblResult *result)
{
	for (int i = 0; i < result->ntables; i++)
	{
		if (result->tables[i].state == OBL_TABLE_WAITING)
			crowd->tables[crowd->ntables++] = &result->tables[i];
	}
	crowd->each = (crowd->ntables + CHILDREN_MAX - 1) / CHILDREN_MAX;
}

ObCode
obl_invoke_children(OblRun *run, ObError *error)
{
	Crowd *crowd = calloc(1, sizeof(*crowd));
	ObCode code;

	if (!crowd)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	crowd->run = run;
	crowd->path = invoke_path(run->config->function_name);
	crowd->tables = calloc(run->result.ntables + 1, sizeof(OblTable *));
	if (!crowd->path || !crowd->tables)
	{
		free_crowd(crowd);
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	}
	choose_tables(crowd, &run->result);
	crowd->headers[crowd->nheaders++] =
		(ObPair){"content-type", "application/json"};
	crowd->headers[crowd->nheaders++] =
		(ObPair){"x-amz-invocation-type", "Event"};
	/* Lambda's detection of loops counts by it */
	if (run->trace_id && run->trace_id[0])
		crowd->headers[crowd->nheaders++] =
			(ObPair){"x-amzn-trace-id", run->trace_id};
	code = invoke_all(crowd, error);
	free_crowd(crowd);
	return code;
}
