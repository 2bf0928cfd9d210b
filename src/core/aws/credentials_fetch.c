/*
 * credentials_fetch.c
 *		Carrying out a plan, one request after another.
 *
 * src/core/aws/credentials_fetch.c
 *
 * Time-outs use the clock that runs while the host drives, so that a query
 * which computes in the meantime does not make a service look dead.
 */
#include "core/aws/credentials_intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/random.h"
#include "core/text/timestamp.h"

#define TARGET_MAX ((size_t) 8 * 1024)
/* a token may need encoding */
#define BODY_MAX (4 * OB_TOKEN_MAX)
#define ATTEMPTS 3
/* No further try is made with less time left. */
#define TRY_MIN_MS 200

/* ---- requests ---- */

static void
wipe_response(ObCredentialRequest *request)
{
	ob_buf_wipe(&request->http_request.response);
	ob_buf_wipe(&request->http_request.headers);
}

static void
finish_request(ObCredentialRequest *request, const ObError *failure)
{
	ObError error;

	ob_error_clear(&error);
	if (failure->code == OB_ENOMEM)
		ob_error_set(&error, OB_ENOMEM, "%s", failure->cause);
	else if (failure->code != OB_OK && request->retry.attempts > 1)
		ob_error_set(&error, OB_ECREDS, "%s: %s (after %d attempts)",
					 request->label, failure->cause, request->retry.attempts);
	else if (failure->code != OB_OK)
		ob_error_set(&error, OB_ECREDS, "%s: %s", request->label,
					 failure->cause);
	request->done(request, &error);
}

/* Starts a try after the delay; returns false if there is no time for it. */
static bool
start_try(ObCredentialRequest *request, int64_t delay_ms)
{
	int64_t left =
		request->give_up_at - ob_http_clock_ms(request->http) - delay_ms;

	if (left < TRY_MIN_MS)
		return false;
	request->http_request.timeout_ms =
		left < request->try_ms ? (int) left : request->try_ms;
	ob_http_start(request->http, &request->http_request, delay_ms);
	return true;
}

static void
retry(ObCredentialRequest *request, ObRetryClass class, const ObError *failure)
{
	const ObRetryPolicy policy = {.max_attempts = ATTEMPTS};
	int64_t delay;

	if (!ob_retry_next(&policy, &request->retry, class,
					   ob_http_clock_ms(request->http), -1,
					   ob_random_fraction(), &delay) ||
		!start_try(request, delay))
		finish_request(request, failure);
}

static void
on_response(ObHttpRequest *http_request)
{
	ObCredentialRequest *request = http_request->arg;
	ObRetryClass class = OB_RETRY_FINAL;
	ObError error = http_request->error;

	if (error.code == OB_OK)
		request->read(request, &class, &error);
	else if (!http_request->final)
		class = ob_retry_transport_class(error.code, true);
	wipe_response(request);
	ob_fetch_hide_secrets(request->arg, &error);
	if (error.code != OB_OK)
		retry(request, class, &error);
	else
		finish_request(request, &error);
}

static ObCode
on_prepare(ObHttpRequest *http_request, ObError *error)
{
	ObCredentialRequest *request = http_request->arg;

	return request->prepare(request, error);
}

void
ob_credential_request_init(ObCredentialRequest *request, ObHttp *http,
						   void *arg)
{
	memset(request, 0, sizeof(*request));
	ob_http_request_init(&request->http_request, on_prepare, on_response,
						 request);
	request->http = http;
	request->arg = arg;
	request->http_request.response_max = OB_CREDENTIALS_RESPONSE_MAX;
	request->http_request.system_ca = true;
}

void
ob_credential_request_start(ObCredentialRequest *request)
{
	ObError error;

	memset(&request->retry, 0, sizeof(request->retry));
	if (start_try(request, 0))
		return;
	ob_error_clear(&error);
	ob_error_set(&error, OB_ETIMEOUT, "timed out");
	finish_request(request, &error);
}

void
ob_credential_request_free(ObCredentialRequest *request)
{
	wipe_response(request);
	ob_http_request_free(&request->http_request);
}

/* ---- a fetch ---- */

int64_t
ob_fetch_now(const ObFetch *fetch)
{
	return (int64_t) time(NULL) + fetch->clock_offset;
}

void
ob_fetch_init(ObFetch *fetch)
{
	ob_credential_request_init(&fetch->request, fetch->http, fetch);
	ob_buf_init(&fetch->target, TARGET_MAX);
	ob_buf_init(&fetch->body, BODY_MAX);
	ob_buf_init(&fetch->sent_secret, OB_TOKEN_MAX);
}

/* Clears the state of one fetch, but not its outcome. */
static void
clear(ObFetch *fetch)
{
	ob_plan_wipe(&fetch->plan);
	ob_buf_wipe(&fetch->target);
	ob_buf_wipe(&fetch->body);
	ob_buf_wipe(&fetch->sent_secret);
	ob_sigv4_forget(&fetch->signing_key);
	fetch->retried = fetch->restart = false;
	fetch->roles_done = 0;
}

void
ob_fetch_free(ObFetch *fetch)
{
	ob_credential_request_free(&fetch->request);
	clear(fetch);
	ob_keys_wipe(&fetch->keys);
	ob_secret_free(fetch->instance_token);
	fetch->instance_token = NULL;
	fetch->running = false;
}

static void
finish(ObFetch *fetch)
{
	if (fetch->error.code == OB_OK && fetch->keys.expires != 0 &&
		fetch->keys.expires <= ob_fetch_now(fetch))
		ob_error_set(&fetch->error, OB_ECREDS,
					 "%s returned credentials that have expired, according "
					 "to this host's clock",
					 fetch->origin);
	if (fetch->error.code != OB_OK)
		ob_keys_wipe(&fetch->keys);
	clear(fetch);
	fetch->running = false;
	fetch->done(fetch);
}

static void
start_source(ObFetch *fetch, const ObSourceOps *ops)
{
	ObCredentialRequest *request = &fetch->request;

	request->prepare = ops->prepare;
	request->read = ops->read;
	request->done = ops->done;
	request->http_request.method = ops->method;
	request->http_request.body = NULL;
	request->http_request.body_len = 0;
	request->http_request.direct = ops->local;
	request->http_request.link_local = ops->local;
	request->http_request.system_ca = true;
	request->http_request.connect_timeout_ms = ops->connect_ms;
	request->try_ms = ops->try_ms;
	request->give_up_at = ob_http_clock_ms(fetch->http) + ops->whole_ms;
	ops->start(fetch);
}

void
ob_fetch_continue(ObFetch *fetch)
{
	if (fetch->error.code == OB_OK && fetch->roles_done < fetch->plan.nroles)
	{
		fetch->roles_done++;
		start_source(fetch, fetch->sources->role);
	}
	else
		finish(fetch);
}

void
ob_fetch_start(ObFetch *fetch)
{
	fetch->running = true;
	ob_error_clear(&fetch->error);
	ob_keys_wipe(&fetch->keys);
	fetch->origin[0] = '\0';
	if (ob_plan_make(&fetch->plan, fetch->options, &fetch->error) != OB_OK)
	{
		finish(fetch);
		return;
	}
	memcpy(fetch->origin, fetch->plan.origin, sizeof(fetch->origin));
	switch (fetch->plan.base)
	{
		case OB_CREDENTIALS_CONTAINER:
			start_source(fetch, fetch->sources->container);
			break;
		case OB_CREDENTIALS_INSTANCE:
			start_source(fetch, fetch->sources->instance);
			break;
		default:
			ob_keys_move(&fetch->keys, &fetch->plan.keys);
			ob_fetch_continue(fetch);
			break;
	}
}

/* ---- responses ---- */

void
ob_fetch_note_secret(ObFetch *fetch, const char *secret)
{
	ob_buf_wipe(&fetch->sent_secret);
	ob_buf_adds(&fetch->sent_secret, secret);
}

bool
ob_fetch_repeats_secret(const ObFetch *fetch, const char *text)
{
	const ObKeys *keys = &fetch->keys;

	return ob_secret_leaks(text, fetch->sent_secret.data) ||
		   ob_secret_leaks(text, keys->access_key_id) ||
		   ob_secret_leaks(text, keys->secret_access_key) ||
		   ob_secret_leaks(text, keys->session_token);
}

void
ob_fetch_hide_secrets(const ObFetch *fetch, ObError *error)
{
	ObCode code = error->code;

	if (code == OB_OK || !ob_fetch_repeats_secret(fetch, error->cause))
		return;
	error->code = OB_OK;
	ob_error_set(error, code,
				 "the response is not shown, since it repeats a secret of the "
				 "request");
}

/* Returns whether a server's error code may be shown in an error. */
static bool
is_code(const ObFetch *fetch, const char *code)
{
	return code && ob_is_plain(code) && strlen(code) < 64 &&
		   !ob_fetch_repeats_secret(fetch, code);
}

ObCode
ob_fetch_status(const ObFetch *fetch, const char *code, ObRetryClass *class,
				ObError *error)
{
	int status = fetch->request.http_request.status;

	if (!is_code(fetch, code))
		code = "";
	*class = ob_retry_class(status, code);
	if (code[0] != '\0')
		return ob_error_set(error, OB_ECREDS, "HTTP status %d, %s", status,
							code);
	return ob_error_set(error, OB_ECREDS, "HTTP status %d", status);
}

typedef enum JsonField
{
	FIELD_CODE,
	FIELD_ID,
	FIELD_SECRET,
	FIELD_TOKEN,
	FIELD_EXPIRATION,
	NFIELDS
} JsonField;

static ObCode
take_fields(ObFetch *fetch, const ObJsonField *fields, ObError *error)
{
	ObCredentials found = {fields[FIELD_ID].value, fields[FIELD_SECRET].value,
						   fields[FIELD_TOKEN].value};
	const char *code = fields[FIELD_CODE].value;
	const char *expiration = fields[FIELD_EXPIRATION].value;
	int64_t expires = 0;

	if (code && strcmp(code, "Success") != 0)
		return ob_error_set(error, OB_ECREDS, "the response's Code is %s",
							is_code(fetch, code) ? code : "not Success");
	if (expiration && (expires = ob_timestamp_parse(expiration)) <= 0)
		return ob_error_set(error, OB_ECREDS,
							"the response's Expiration is invalid");
	if (found.session_token && found.session_token[0] == '\0')
		found.session_token = NULL;
	return ob_keys_set(&fetch->keys, &found, expires, "the response's", error);
}

ObCode
ob_fetch_read_json(ObFetch *fetch, ObError *error)
{
	const ObBuf *response = &fetch->request.http_request.response;
	ObJsonField fields[NFIELDS] = {
		[FIELD_CODE] = {"Code", NULL},
		[FIELD_ID] = {"AccessKeyId", NULL},
		[FIELD_SECRET] = {"SecretAccessKey", NULL},
		[FIELD_TOKEN] = {"Token", NULL},
		[FIELD_EXPIRATION] = {"Expiration", NULL},
	};
	ObCode code =
		ob_json_read(response->data, response->len, fields, NFIELDS, error);

	if (code == OB_OK)
		code = take_fields(fetch, fields, error);
	ob_json_free(fields, NFIELDS);
	return code;
}
