/*
 * credentials_fetch.c
 *		Carrying out a plan, one question after the other.
 *
 * src/core/aws/credentials_fetch.c
 */
#include "core/aws/credentials_intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/text/timestamp.h"

#define TARGET_MAX ((size_t) 8 * 1024)
/* a token may have to be encoded */
#define BODY_MAX (4 * OB_TOKEN_MAX)

int64_t
ob_fetch_now(const ObFetch *fetch)
{
	return (int64_t) time(NULL) + fetch->clock_offset;
}

void
ob_fetch_init(ObFetch *fetch)
{
	ob_ask_init(&fetch->ask, fetch->http, fetch);
	ob_buf_init(&fetch->target, TARGET_MAX);
	ob_buf_init(&fetch->body, BODY_MAX);
	ob_buf_init(&fetch->told, OB_TOKEN_MAX);
}

/* Forgets what belongs to one fetch; the outcome stays. */
static void
clear(ObFetch *fetch)
{
	ob_plan_wipe(&fetch->plan);
	ob_buf_wipe(&fetch->target);
	ob_buf_wipe(&fetch->body);
	ob_buf_wipe(&fetch->told);
	ob_sigv4_forget(&fetch->signing_key);
	fetch->again = fetch->restart = false;
	fetch->roles_done = 0;
}

void
ob_fetch_free(ObFetch *fetch)
{
	ob_ask_free(&fetch->ask);
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
					 "%s gave credentials that have expired already, if the "
					 "clock of this host is right",
					 fetch->origin);
	if (fetch->error.code != OB_OK)
		ob_keys_wipe(&fetch->keys);
	clear(fetch);
	fetch->running = false;
	fetch->done(fetch);
}

void
ob_fetch_go_on(ObFetch *fetch)
{
	if (fetch->error.code == OB_OK && fetch->roles_done < fetch->plan.nroles)
		ob_role_start(fetch, &fetch->plan.roles[fetch->roles_done++]);
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
			ob_container_start(fetch);
			break;
		case OB_CREDENTIALS_INSTANCE:
			ob_instance_start(fetch);
			break;
		default:
			ob_keys_move(&fetch->keys, &fetch->plan.keys);
			ob_fetch_go_on(fetch);
			break;
	}
}

/* ---- what services answer ---- */

void
ob_fetch_tell(ObFetch *fetch, const char *secret)
{
	ob_buf_wipe(&fetch->told);
	ob_buf_adds(&fetch->told, secret);
}

bool
ob_fetch_repeats_secret(const ObFetch *fetch, const char *text)
{
	const ObKeys *keys = &fetch->keys;

	return ob_secret_leaks(text, fetch->told.data) ||
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
				 "what it answers is not shown, since it repeats what it was "
				 "told in confidence");
}

/* Whether a server's word can go into an error. */
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
	int status = fetch->ask.request.status;

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
		return ob_error_set(error, OB_ECREDS, "the answer's Code is %s",
							is_code(fetch, code) ? code : "not Success");
	if (expiration && (expires = ob_timestamp_parse(expiration)) <= 0)
		return ob_error_set(error, OB_ECREDS,
							"the answer's Expiration is unreadable");
	if (found.session_token && found.session_token[0] == '\0')
		found.session_token = NULL;
	return ob_keys_set(&fetch->keys, &found, expires, "the answer's", error);
}

ObCode
ob_fetch_read_json(ObFetch *fetch, ObError *error)
{
	const ObBuf *answer = &fetch->ask.request.response;
	ObJsonField fields[NFIELDS] = {
		[FIELD_CODE] = {"Code", NULL},
		[FIELD_ID] = {"AccessKeyId", NULL},
		[FIELD_SECRET] = {"SecretAccessKey", NULL},
		[FIELD_TOKEN] = {"Token", NULL},
		[FIELD_EXPIRATION] = {"Expiration", NULL},
	};
	ObCode code =
		ob_json_read(answer->data, answer->len, fields, NFIELDS, error);

	if (code == OB_OK)
		code = take_fields(fetch, fields, error);
	ob_json_free(fields, NFIELDS);
	return code;
}
