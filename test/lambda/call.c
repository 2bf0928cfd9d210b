/*
 * call.c
 *		Makes calls to AWS with core, as the orchestrator does, for tests.
 *
 * test/lambda/call.c
 *
 * The input on stdin is an array of {"service", "path", "headers": [[name,
 * value]], "body"}; the environment determines hosts and credentials.  The
 * exit status is the number of failed calls.
 */
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/services/aws.h"

#define HEADERS_MAX 8

static const char *
text_of(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static void
wait_for(ObHttp *http, const ObAwsCall *call)
{
	ObError error;

	ob_error_clear(&error);
	while (!call->ended)
	{
		struct pollfd fd = {ob_http_fd(http), POLLIN, 0};

		poll(&fd, 1, ob_http_timeout_ms(http));
		if (ob_http_drive(http, &error) != OB_OK)
			exit(EXIT_FAILURE);
	}
}

static bool
make_call(ObHttp *http, ObProvider *provider, const json_t *item)
{
	const json_t *given = json_object_get(item, "headers");
	ObPair headers[HEADERS_MAX];
	ObAwsCall call;
	bool good;

	ob_aws_call_init(&call);
	for (int i = 0; i < HEADERS_MAX && i < (int) json_array_size(given); i++)
	{
		const json_t *pair = json_array_get(given, i);

		headers[call.nheaders++] =
			(ObPair){json_string_value(json_array_get(pair, 0)),
					 json_string_value(json_array_get(pair, 1))};
	}
	call.http = http;
	call.provider = provider;
	call.region = getenv("AWS_REGION");
	call.service = text_of(item, "service");
	call.path = text_of(item, "path");
	call.headers = headers;
	call.body = text_of(item, "body");
	call.len = strlen(call.body);
	call.response_max = 1024;
	call.deadline_ms = ob_http_now_ms() + 20000;
	ob_aws_call_start(&call);
	wait_for(http, &call);
	good = call.error.code == OB_OK;
	if (!good)
		fprintf(stderr, "%s: %s\n", call.service, call.error.cause);
	ob_aws_call_free(&call);
	return good;
}

int
main(void)
{
	ObHttpOptions http_options = {.user_agent = "test",
								  .connect_timeout_ms = 5000,
								  .stall_timeout_ms = 10000,
								  .max_connections = 1};
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_ENVIRONMENT};
	json_t *calls = json_loadf(stdin, 0, NULL);
	int failed = 0;
	ObError error;
	ObHttp *http;
	ObProvider *provider;

	ob_error_clear(&error);
	http = ob_http_new(&http_options, &error);
	provider = http ? ob_provider_new(http, &options, &error) : NULL;
	if (!provider || !calls)
		return EXIT_FAILURE;
	for (size_t i = 0; i < json_array_size(calls); i++)
		failed += !make_call(http, provider, json_array_get(calls, i));
	ob_provider_free(provider);
	ob_http_free(http);
	json_decref(calls);
	return failed;
}
