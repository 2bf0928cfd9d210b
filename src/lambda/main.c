/*
 * main.c
 *		The orchestrator: waits for events, runs them, responds.
 *
 * src/lambda/main.c
 *
 * Rows do not pass through this program: it starts exports in the database,
 * which writes the tables to S3 itself.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/text/uri.h"
#include "lambda/report/log.h"
#include "lambda/run/notify.h"
#include "lambda/run/run.h"
#include "lambda/report/runtime.h"

#define CONNECT_MS 2000
#define STALL_MS 30000
#define CONNECTIONS 32

typedef struct Program
{
	OblConfig config;
	OblLoop loop;
	ObProvider *provider;
	OblSecret secrets[OBL_SECRETS_MAX];
} Program;

/* ---- an event ---- */

static const char *
error_type(const ObError *error)
{
	switch (error->code)
	{
		case OB_ENOMEM:
			return "Onboard.OutOfMemory";
		case OB_ETIMEOUT:
			return "Onboard.Deadline";
		case OB_ECREDS:
		case OB_EDENIED:
		case OB_EMISSING:
		case OB_EPROTO:
			return "Onboard.Configuration";
		default:
			return "Onboard.RunFailed";
	}
}

static ObCode
fail_event(Program *program, const OblInvocation *invocation, const char *type,
		   const ObError *failure, ObError *error)
{
	char message[2048];

	snprintf(message, sizeof(message), "%s%s%s",
			 failure->what[0] ? failure->what : "",
			 failure->what[0] ? ": " : "", failure->cause);
	obl_log_error(OBL_ERROR, type, failure);
	return obl_runtime_fail(&program->loop, program->config.runtime_api,
							invocation->request_id, type, message, error);
}

static ObCode
respond(Program *program, const OblInvocation *invocation, OblRun *run,
		ObError *error)
{
	const OblConfig *config = &program->config;
	char *json = obl_result_json(&run->result);
	ObCode code;

	if (!json)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	obl_log(OBL_INFO, "run ended", "state", obl_result_state(&run->result),
			NULL);
	obl_log_metrics(config->function_name, &run->result);
	if (obl_result_failed(&run->result, config->fail_on))
	{
		if (config->topic)
			obl_notify(&run->aws, &run->result);
		code = obl_runtime_fail(&program->loop, config->runtime_api,
								invocation->request_id, "Onboard.TablesFailed",
								json, error);
	}
	else
		code = obl_runtime_respond(&program->loop, config->runtime_api,
								   invocation->request_id, json, error);
	free(json);
	return code;
}

static ObCode
handle(Program *program, const OblInvocation *invocation, ObError *error)
{
	OblEvent event;
	ObError failure;
	ObCode code;
	OblRun run = {.config = &program->config,
				  .secrets = program->secrets,
				  .event = &event,
				  .request_id = invocation->request_id,
				  .function_arn = invocation->function_arn,
				  .trace_id = invocation->trace_id,
				  .deadline_ms =
					  obl_run_deadline(invocation->deadline_unix_ms)};

	run.aws = (OblAws){&program->loop, program->provider, &program->config,
					   run.deadline_ms};
	ob_error_clear(&failure);
	obl_log_context(invocation->request_id, NULL);
	if (obl_event_read(&event, invocation->payload.data,
					   invocation->payload.len, invocation->request_id,
					   &failure) != OB_OK)
		return fail_event(program, invocation, "Onboard.BadEvent", &failure,
						  error);
	obl_log_context(invocation->request_id, event.run_id);
	ob_provider_reset(program->provider);
	if (obl_run(&run, &failure) != OB_OK)
		code = fail_event(program, invocation, error_type(&failure), &failure,
						  error);
	else
		code = respond(program, invocation, &run, error);
	obl_run_free(&run);
	obl_event_free(&event);
	obl_log_context(NULL, NULL);
	return code;
}

/* ---- the program ---- */

static ObCode
start(Program *program, ObError *error)
{
	ObHttpOptions http = {.user_agent = "onboard-lambda",
						  .ca_file = program->config.ca_file,
						  .connect_timeout_ms = CONNECT_MS,
						  .stall_timeout_ms = STALL_MS,
						  .max_connections = CONNECTIONS};
	ObCredentialsOptions credentials = {.source = OB_CREDENTIALS_CHAIN,
										.region = program->config.region,
										.variant = ob_aws_variant(),
										.store_is_aws = true};
	OblAws aws = {&program->loop, NULL, &program->config,
				  ob_http_now_ms() + 8000};

	for (int i = 0; i < program->config.nsecrets; i++)
		program->secrets[i].id = program->config.secrets[i];
	program->loop.http = ob_http_new(&http, error);
	if (!program->loop.http)
		return error->code;
	program->provider =
		ob_provider_new(program->loop.http, &credentials, error);
	if (!program->provider)
		return error->code;
	aws.provider = program->provider;
	/* a missing secret is reported before the first event */
	return obl_secret_get(&program->secrets[0], &aws, false, NULL, error);
}

static int
init_failed(Program *program, const ObError *failure)
{
	ObError error;
	char message[2048];

	ob_error_clear(&error);
	snprintf(message, sizeof(message), "%s: %s", failure->what,
			 failure->cause);
	obl_log_error(OBL_ERROR, "could not start", failure);
	if (program->loop.http && program->config.runtime_api &&
		obl_runtime_init_error(&program->loop, program->config.runtime_api,
							   "Onboard.Configuration", message,
							   &error) != OB_OK)
		obl_log_error(OBL_ERROR, "could not report the initialization error",
					  &error);
	return EXIT_FAILURE;
}

/* Makes an HTTP client that can report an init error even if the environment
 * is wrong. */
static void
make_http(Program *program)
{
	ObHttpOptions http = {.user_agent = "onboard-lambda",
						  .connect_timeout_ms = CONNECT_MS,
						  .stall_timeout_ms = STALL_MS,
						  .max_connections = 1};
	ObError ignored;

	ob_error_clear(&ignored);
	if (!program->loop.http)
		program->loop.http = ob_http_new(&http, &ignored);
}

static int
serve(Program *program)
{
	OblInvocation invocation;
	ObError error;

	memset(&invocation, 0, sizeof(invocation));
	ob_buf_init(&invocation.payload, OBL_EVENT_MAX * 8);
	for (;;)
	{
		ob_error_clear(&error);
		if (obl_runtime_next(&program->loop, program->config.runtime_api,
							 &invocation, &error) != OB_OK)
			break;
		if (invocation.trace_id[0])
			setenv("_X_AMZN_TRACE_ID", invocation.trace_id, 1);
		else
			unsetenv("_X_AMZN_TRACE_ID");
		ob_error_clear(&error);
		if (handle(program, &invocation, &error) != OB_OK)
			obl_log_error(OBL_ERROR, "could not respond", &error);
	}
	obl_log_error(OBL_ERROR, "ending", &error);
	ob_buf_free(&invocation.payload);
	return EXIT_FAILURE;
}

static void
stop(Program *program)
{
	for (int i = 0; i < program->config.nsecrets; i++)
		obl_secret_wipe(&program->secrets[i]);
	ob_provider_free(program->provider);
	ob_http_free(program->loop.http);
	obl_config_free(&program->config);
}

int
main(void)
{
	static Program program;
	ObError error;
	int status;

	/* a lost connection to the database must not end the program */
	signal(SIGPIPE, SIG_IGN);
	ob_error_clear(&error);
	if (obl_config_read(&program.config, &error) != OB_OK ||
		start(&program, &error) != OB_OK)
	{
		make_http(&program);
		status = init_failed(&program, &error);
	}
	else
		status = serve(&program);
	stop(&program);
	return status;
}
