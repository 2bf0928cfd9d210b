/*
 * runtime.h
 *		The Lambda Runtime API: the next event, and its outcome.
 *
 * src/lambda/report/runtime.h
 *
 * See https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
 */
#ifndef OBL_RUNTIME_H
#define OBL_RUNTIME_H

#include "lambda/base/event.h"
#include "lambda/base/loop.h"

typedef struct OblInvocation
{
	char request_id[64];
	char function_arn[256];
	char trace_id[512];
	int64_t deadline_unix_ms;
	ObBuf payload;
} OblInvocation;

/* Waits for the next event, without a time-out.  A failure (403, 500, a broken
 * connection) is retried a few times, with growing delays; then it is an error
 * that ends the program. */
extern ObCode obl_runtime_next(OblLoop *loop, const char *api,
							   OblInvocation *invocation,
							   ObError *error) OB_MUST_CHECK;
extern ObCode obl_runtime_respond(OblLoop *loop, const char *api,
								  const char *request_id, const char *json,
								  ObError *error) OB_MUST_CHECK;
/* type: "Onboard.TablesFailed" and such. */
extern ObCode obl_runtime_fail(OblLoop *loop, const char *api,
							   const char *request_id, const char *type,
							   const char *message,
							   ObError *error) OB_MUST_CHECK;
/* Reports an error before the first event. */
extern ObCode obl_runtime_init_error(OblLoop *loop, const char *api,
									 const char *type, const char *message,
									 ObError *error) OB_MUST_CHECK;

#endif
