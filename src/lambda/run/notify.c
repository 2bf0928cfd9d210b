/*
 * notify.c
 *		One SNS message for a run that failed.
 *
 * src/lambda/run/notify.c
 *
 * See https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
 */
#include "lambda/run/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/services/aws.h"
#include "lambda/report/log.h"

#define FORM_MAX (1024 * 1024)
#define RESPONSE_MAX (64 * 1024)

static void
write_form(ObBuf *form, const OblAws *aws, const OblResult *result,
		   const char *message)
{
	char subject[100];
	ObBuf query;
	ObPair pairs[] = {{"Action", "Publish"},
					  {"Version", "2010-03-31"},
					  {"TopicArn", aws->config->topic},
					  {"Subject", subject},
					  {"Message", message}};

	ob_buf_init(&query, FORM_MAX);
	snprintf(subject, sizeof(subject), "onboard: run %s %s",
			 obl_result_state(result), result->run_id);
	ob_sigv4_query(&query, pairs, sizeof(pairs) / sizeof(pairs[0]));
	/* a form encodes a blank as a plus */
	for (const char *p = query.data; p && *p; p++)
	{
		bool blank = strncmp(p, "%20", 3) == 0;

		ob_buf_addc(form, blank ? '+' : *p);
		p += blank ? 2 : 0;
	}
	ob_buf_free(&query);
}

static void
publish(ObAwsCall *call, const OblAws *aws, const ObBuf *form, ObError *error)
{
	static const ObPair headers[] = {
		{"content-type", "application/x-www-form-urlencoded; charset=utf-8"}};
	call->http = aws->loop->http;
	call->provider = aws->provider;
	call->region = aws->config->region;
	call->service = "sns";
	call->path = "/";
	call->headers = headers;
	call->nheaders = 1;
	call->body = form->data;
	call->len = form->len;
	call->response_max = RESPONSE_MAX;
	call->deadline_ms = aws->deadline_ms;
	ob_aws_call_start(call);
	while (!call->ended)
	{
		if (!obl_loop_step(aws->loop, aws->deadline_ms, error))
			return;
		if (!call->ended && ob_http_now_ms() >= aws->deadline_ms)
		{
			ob_error_set(error, OB_ETIMEOUT, "deadline exceeded");
			return;
		}
	}
	if (call->error.code != OB_OK)
		*error = call->error;
}

void
obl_notify(const OblAws *aws, const OblResult *result)
{
	char *message = obl_result_json(result);
	ObAwsCall call;
	ObError error;
	ObBuf form;

	ob_error_clear(&error);
	ob_aws_call_init(&call);
	ob_error_what(&error, "could not publish to \"%s\"", aws->config->topic);
	ob_error_what(&call.error, "could not publish to \"%s\"",
				  aws->config->topic);
	ob_buf_init(&form, FORM_MAX);
	if (message)
		write_form(&form, aws, result, message);
	if (!message || ob_buf_check(&form, &error) != OB_OK)
		ob_error_set(&error, OB_ENOMEM, "out of memory");
	else
		publish(&call, aws, &form, &error);
	if (error.code != OB_OK)
		obl_log_error(OBL_ERROR, "notification failed", &error);
	else
		obl_log(OBL_INFO, "notified", "topic", aws->config->topic, NULL);
	ob_aws_call_free(&call);
	ob_buf_free(&form);
	free(message);
}
