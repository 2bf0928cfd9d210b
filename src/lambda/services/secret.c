/*
 * secret.c
 *		The database's address and password, from Secrets Manager.
 *
 * src/lambda/services/secret.c
 *
 * See
 * https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html
 */
#include "lambda/services/secret.h"

#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lambda/services/aws.h"

#define KEPT_MS (5 * 60 * 1000)
#define RESPONSE_MAX (256 * 1024)

static void
wipe(char **text)
{
	if (*text)
		OPENSSL_cleanse(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void
obl_secret_wipe(OblSecret *secret)
{
	wipe(&secret->host);
	wipe(&secret->port);
	wipe(&secret->user);
	wipe(&secret->password);
	wipe(&secret->dbname);
	wipe(&secret->sslmode);
	wipe(&secret->sslrootcert);
	secret->version[0] = '\0';
	secret->fetched_ms = 0;
}

/* ---- reading it ---- */

/* Sets an error whose cause never repeats a value. */
static ObCode
refuse(ObError *error, const char *name, const char *why)
{
	return ob_error_set(error, OB_EPROTO, "its field \"%s\" %s", name, why);
}

static ObCode
read_text(const json_t *object, const char *name, bool needed, char **out,
		  ObError *error)
{
	const json_t *value = json_object_get(object, name);

	if (!value || json_is_null(value))
		return needed ? refuse(error, name, "is missing") : OB_OK;
	if (json_is_integer(value))
	{
		char number[32];

		snprintf(number, sizeof(number), "%lld",
				 (long long) json_integer_value(value));
		*out = strdup(number);
	}
	else if (json_is_string(value) &&
			 json_string_length(value) == strlen(json_string_value(value)))
		*out = strdup(json_string_value(value));
	else
		return refuse(error, name, "is no text");
	if (!*out)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return needed && (*out)[0] == '\0' ? refuse(error, name, "is empty")
									   : OB_OK;
}

static ObCode
check(const OblSecret *secret, const json_t *object, ObError *error)
{
	static const char *const modes[] = {"disable", "allow",     "prefer",
										"require", "verify-ca", "verify-full"};
	const char *engine = json_string_value(json_object_get(object, "engine"));
	char *end;

	if (engine && strncmp(engine, "postgres", strlen("postgres")) != 0 &&
		strncmp(engine, "aurora-postgres", strlen("aurora-postgres")) != 0)
		return refuse(error, "engine", "is not PostgreSQL");
	if (secret->port)
	{
		long port = strtol(secret->port, &end, 10);

		if (*end != '\0' || port < 1 || port > 65535)
			return refuse(error, "port", "is no port");
	}
	if (!secret->sslmode)
		return OB_OK;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
	{
		if (strcmp(secret->sslmode, modes[i]) == 0)
			return OB_OK;
	}
	return refuse(error, "sslmode", "is not one of libpq's modes");
}

static ObCode
read_fields(OblSecret *secret, const json_t *object, ObError *error)
{
	const json_t *given = json_object_get(object, "dbname");
	const char *dbname =
		(!given || json_is_null(given)) && json_object_get(object, "database")
			? "database"
			: "dbname";

	if (!json_is_object(object))
		return ob_error_set(error, OB_EPROTO, "it is not a JSON object");
	if (read_text(object, "host", true, &secret->host, error) != OB_OK ||
		read_text(object, "port", false, &secret->port, error) != OB_OK ||
		read_text(object, "username", true, &secret->user, error) != OB_OK ||
		read_text(object, "password", true, &secret->password, error) !=
			OB_OK ||
		read_text(object, dbname, true, &secret->dbname, error) != OB_OK ||
		read_text(object, "sslmode", false, &secret->sslmode, error) !=
			OB_OK ||
		read_text(object, "sslrootcert", false, &secret->sslrootcert, error) !=
			OB_OK)
		return error->code;
	return check(secret, object, error);
}

/* Reads the response, which has the secret as a text in its JSON. */
static ObCode
read_response(OblSecret *secret, const ObBuf *response, char *version,
			  ObError *error)
{
	json_t *root = json_loadb(response->data, response->len, 0, NULL);
	const json_t *text = json_object_get(root, "SecretString");
	const char *id = json_string_value(json_object_get(root, "VersionId"));
	json_t *object = NULL;
	ObCode code;

	snprintf(version, sizeof(secret->version), "%s", id ? id : "");
	if (json_is_string(text))
		object = json_loadb(json_string_value(text), json_string_length(text),
							0, NULL);
	if (!json_is_string(text))
		code = ob_error_set(error, OB_EPROTO, "it has no SecretString");
	else
		code = read_fields(secret, object, error);
	/* jansson does not wipe the memory that it frees */
	if (json_is_string(text))
		OPENSSL_cleanse((char *) json_string_value(text),
						json_string_length(text));
	json_decref(object);
	json_decref(root);
	return code;
}

/* ---- fetching it ---- */

static char *
request_body(const char *id)
{
	json_t *object = json_pack("{s:s}", "SecretId", id);
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	return text;
}

static ObCode
send_request(ObAwsCall *call, const OblAws *aws, const char *body,
			 ObError *error)
{
	static const ObPair headers[] = {
		{"content-type", "application/x-amz-json-1.1"},
		{"x-amz-target", "secretsmanager.GetSecretValue"}};
	call->http = aws->loop->http;
	call->provider = aws->provider;
	call->region = aws->config->region;
	call->service = "secretsmanager";
	call->path = "/";
	call->headers = headers;
	call->nheaders = 2;
	call->body = body;
	call->len = strlen(body);
	call->response_max = RESPONSE_MAX;
	call->deadline_ms = aws->deadline_ms;
	ob_aws_call_start(call);
	while (!call->ended)
	{
		if (!obl_loop_step(aws->loop, aws->deadline_ms, error))
			return error->code;
		if (!call->ended && ob_http_now_ms() >= aws->deadline_ms)
			return ob_error_set(error, OB_ETIMEOUT, "deadline exceeded");
	}
	if (call->error.code != OB_OK)
		*error = call->error;
	return error->code;
}

static ObCode
fetch(OblSecret *secret, const OblAws *aws, char *version, ObError *error)
{
	char *body = request_body(secret->id);
	ObAwsCall call;
	ObCode code;

	ob_aws_call_init(&call);
	ob_error_what(&call.error, "could not get the secret \"%s\"", secret->id);
	ob_error_what(error, "could not get the secret \"%s\"", secret->id);
	if (body)
		code = send_request(&call, aws, body, error);
	else
		code = ob_error_set(error, OB_ENOMEM, "out of memory");
	if (code == OB_OK)
	{
		obl_secret_wipe(secret);
		code = read_response(secret, &call.request.response, version, error);
	}
	ob_aws_call_free(&call);
	free(body);
	return code;
}

ObCode
obl_secret_get(OblSecret *secret, const OblAws *aws, bool refresh,
			   bool *changed, ObError *error)
{
	int64_t now = ob_http_now_ms();
	char before[sizeof(secret->version)];
	char version[sizeof(secret->version)];

	if (changed)
		*changed = false;
	if (!refresh && secret->fetched_ms > 0 &&
		now - secret->fetched_ms < KEPT_MS)
		return OB_OK;
	memcpy(before, secret->version, sizeof(before));
	if (fetch(secret, aws, version, error) != OB_OK)
	{
		obl_secret_wipe(secret);
		return error->code;
	}
	if (!secret->sslrootcert && aws->config->ca_file)
		secret->sslrootcert = strdup(aws->config->ca_file);
	memcpy(secret->version, version, sizeof(version));
	secret->fetched_ms = now;
	if (changed)
		*changed = strcmp(before, version) != 0;
	return OB_OK;
}
