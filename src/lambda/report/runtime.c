/*
 * runtime.c
 *		The Lambda Runtime API: the next event, and what became of it.
 *
 * src/lambda/report/runtime.c
 *
 * The API is plain HTTP at an address of the sandbox, never through a proxy.
 * AWS uses 169.254.100.1, which is link-local; it used to be 127.0.0.1.  The
 * sandbox may be frozen while the program waits for the next event, so only
 * connecting has a time-out here, and a connection that died in the meantime
 * just leads to another try.
 */
#include "lambda/report/runtime.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/report/log.h"

#define PREFIX "/2018-06-01/runtime"
#define CONNECT_MS 1000
#define POST_MS 10000
#define NEXT_TRIES 4
#define POST_TRIES 3
#define ERROR_TYPE_HEADER "Lambda-Runtime-Function-Error-Type"

typedef struct ApiCall
{
	const char *api;
	const char *path;
	const char *type; /* the error's type; NULL: none */
	bool ended;
	ObHttpRequest request;
} ApiCall;

static ObCode
prepare(ObHttpRequest *request, ObError *error)
{
	ApiCall *call = request->arg;

	ob_buf_addf(&request->url, "http://%s" PREFIX "%s", call->api, call->path);
	if (ob_http_header(request, "Expect", NULL, error) != OB_OK)
		return error->code;
	if (strcmp(request->method, "POST") == 0 &&
		ob_http_header(request, "Content-Type", "application/json", error) !=
			OB_OK)
		return error->code;
	if (call->type)
		return ob_http_header(request, ERROR_TYPE_HEADER, call->type, error);
	return OB_OK;
}

static void
done(ObHttpRequest *request)
{
	((ApiCall *) request->arg)->ended = true;
}

static void
begin(ApiCall *call, const char *method, const char *api, const char *path)
{
	memset(call, 0, sizeof(*call));
	ob_http_request_init(&call->request, prepare, done, call);
	call->api = api;
	call->path = path;
	call->request.method = method;
	call->request.direct = true;
	call->request.link_local = true;
	call->request.connect_timeout_ms = CONNECT_MS;
}

/* Waits until the request has ended; returns whether a response was
 * received. */
static bool
wait_for(OblLoop *loop, ApiCall *call, int64_t delay_ms, ObError *error)
{
	call->ended = false;
	ob_http_start(loop->http, &call->request, delay_ms);
	while (!call->ended)
	{
		if (!obl_loop_step(loop, -1, error))
		{
			ob_http_cancel(loop->http, &call->request);
			return false;
		}
	}
	return call->request.error.code == OB_OK;
}

/* ---- the next event ---- */

static bool
copy_header(const ApiCall *call, const char *name, char *value, size_t size)
{
	value[0] = '\0';
	return ob_http_response_header(&call->request, name, value, size);
}

static ObCode
read_event(const ApiCall *call, OblInvocation *invocation, ObError *error)
{
	char deadline[32];

	if (!copy_header(call, "Lambda-Runtime-Aws-Request-Id",
					 invocation->request_id, sizeof(invocation->request_id)))
		return ob_error_set(error, OB_EPROTO, "an event has no request id");
	copy_header(call, "Lambda-Runtime-Invoked-Function-Arn",
				invocation->function_arn, sizeof(invocation->function_arn));
	copy_header(call, "Lambda-Runtime-Trace-Id", invocation->trace_id,
				sizeof(invocation->trace_id));
	if (!copy_header(call, "Lambda-Runtime-Deadline-Ms", deadline,
					 sizeof(deadline)))
		return ob_error_set(error, OB_EPROTO, "an event has no deadline");
	invocation->deadline_unix_ms = strtoll(deadline, NULL, 10);
	ob_buf_reset(&invocation->payload);
	ob_buf_add(&invocation->payload, call->request.response.data,
			   call->request.response.len);
	return ob_buf_check(&invocation->payload, error);
}

static void
log_no_event(const ApiCall *call)
{
	char status[16];

	snprintf(status, sizeof(status), "%d", call->request.status);
	obl_log(OBL_WARN, "no event", "status", status, "cause",
			call->request.error.code != OB_OK ? call->request.error.cause
											  : NULL,
			NULL);
}

ObCode
obl_runtime_next(OblLoop *loop, const char *api, OblInvocation *invocation,
				 ObError *error)
{
	ApiCall call;
	ObCode code = OB_EPROTO;

	ob_error_what(error, "could not get the next event");
	begin(&call, "GET", api, "/invocation/next");
	call.request.response_max = OBL_EVENT_MAX * 8;
	call.request.stall_timeout_ms = INT_MAX;
	for (int try = 0; try < NEXT_TRIES; try++)
	{
		if (wait_for(loop, &call, try ? 100 << try : 0, error) &&
			call.request.status == 200)
		{
			code = read_event(&call, invocation, error);
			ob_http_request_free(&call.request);
			return code;
		}
		if (error->code != OB_OK)
			break;
		log_no_event(&call);
		/* status 500 means that the container is broken */
		if (call.request.status == 500)
			break;
	}
	ob_error_set(error, code,
				 "the Runtime API returned no event (HTTP status %d)",
				 call.request.status);
	ob_http_request_free(&call.request);
	return error->code;
}

/* ---- the outcome ---- */

static ObCode
post(OblLoop *loop, const char *api, const char *path, const char *type,
	 const char *json, ObError *error)
{
	ApiCall call;
	bool accepted = false;

	ob_error_what(error, "could not report the outcome to the Runtime API");
	begin(&call, "POST", api, path);
	call.type = type;
	call.request.body = json;
	call.request.body_len = strlen(json);
	call.request.response_max = 64 * 1024;
	call.request.timeout_ms = POST_MS;
	for (int try = 0; try < POST_TRIES && !accepted; try++)
	{
		bool responded = wait_for(loop, &call, try ? 100 << try : 0, error);

		accepted = responded && call.request.status == 202;
		/* a refusal, for example of a stale id, is final */
		if (responded && call.request.status / 100 == 4)
			break;
	}
	if (!accepted)
		ob_error_set(error, OB_EPROTO, "HTTP status %d in the response",
					 call.request.status);
	ob_http_request_free(&call.request);
	return error->code;
}

ObCode
obl_runtime_respond(OblLoop *loop, const char *api, const char *request_id,
					const char *json, ObError *error)
{
	char path[160];

	snprintf(path, sizeof(path), "/invocation/%s/response", request_id);
	return post(loop, api, path, NULL, json, error);
}

static char *
error_document(const char *type, const char *message)
{
	json_t *object = json_pack("{s:s, s:s, s:[]}", "errorMessage", message,
							   "errorType", type, "stackTrace");
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

static ObCode
post_error(OblLoop *loop, const char *api, const char *path, const char *type,
		   const char *message, ObError *error)
{
	char *text = error_document(type, message);
	ObCode code;

	if (!text)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	code = post(loop, api, path, type, text, error);
	free(text);
	return code;
}

ObCode
obl_runtime_fail(OblLoop *loop, const char *api, const char *request_id,
				 const char *type, const char *message, ObError *error)
{
	char path[160];

	snprintf(path, sizeof(path), "/invocation/%s/error", request_id);
	return post_error(loop, api, path, type, message, error);
}

ObCode
obl_runtime_init_error(OblLoop *loop, const char *api, const char *type,
					   const char *message, ObError *error)
{
	return post_error(loop, api, "/init/error", type, message, error);
}
