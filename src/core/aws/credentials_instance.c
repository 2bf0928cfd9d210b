/*
 * credentials_instance.c
 *		Credentials of an EC2 instance: its metadata service, version 2.
 *
 * src/core/aws/credentials_instance.c
 *
 * See
 * https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
 * There are three requests: for a token, for the name of the role, for the
 * role's credentials.  Version 1 needs no token, and so gives its secrets to
 * any process that can make a host send a GET; we never fall back to it.  All
 * requests together take less than 5 s, because nothing responds outside of
 * EC2.
 */
#include "core/aws/credentials_intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/random.h"
#include "core/base/text.h"

#define CONNECT_MS 1000
#define TRY_MS 2000
#define WHOLE_MS 4500
#define TOKEN_TTL_S 21600
#define TOKEN_MARGIN_S 5
/* Expired credentials are used for this time, and up to twice as long. */
#define EXPIRED_S 300
#define ROLES_PATH "/latest/meta-data/iam/security-credentials/"

static void request_token(ObFetch *fetch);
static void request_role(ObFetch *fetch);

static void
finish(ObFetch *fetch, const ObError *error)
{
	fetch->error = *error;
	ob_fetch_continue(fetch);
}

static ObCode
set_url(ObCredentialRequest *request, const char *path, const char *name,
		ObError *error)
{
	const ObFetch *fetch = request->arg;
	char base[300];

	ob_endpoint_name(&fetch->endpoint, base, sizeof(base));
	ob_buf_addf(&request->http_request.url, "%s%s%s", base,
				fetch->endpoint.base, path);
	ob_uri_encode(&request->http_request.url, name, strlen(name), false);
	return ob_buf_check(&request->http_request.url, error);
}

static void
send(ObFetch *fetch, const char *method,
	 ObCode (*prepare)(ObCredentialRequest *request, ObError *error),
	 ObCode (*read)(ObCredentialRequest *request, ObRetryClass *class,
					ObError *error),
	 void (*done)(ObCredentialRequest *request, const ObError *error))
{
	ObCredentialRequest *request = &fetch->request;

	request->http_request.method = method;
	request->prepare = prepare;
	request->read = read;
	request->done = done;
	ob_credential_request_start(request);
}

/* ---- the token ---- */

static void
forget_token(ObFetch *fetch)
{
	ob_secret_free(fetch->instance_token);
	fetch->instance_token = NULL;
}

static ObCode
prepare_token(ObCredentialRequest *request, ObError *error)
{
	char ttl[16];

	snprintf(ttl, sizeof(ttl), "%d", TOKEN_TTL_S);
	if (set_url(request, "/latest/api/token", "", error) != OB_OK)
		return error->code;
	return ob_http_header(&request->http_request,
						  "x-aws-ec2-metadata-token-ttl-seconds", ttl, error);
}

static ObCode
read_token(ObCredentialRequest *request, ObRetryClass *class, ObError *error)
{
	ObFetch *fetch = request->arg;
	const char *token = request->http_request.response.data;
	int ttl = TOKEN_TTL_S;
	char text[16];

	if (request->http_request.status != 200)
		return ob_fetch_status(fetch, NULL, class, error);
	if (strlen(token) != request->http_request.response.len ||
		!ob_is_plain(token))
		return ob_error_set(error, OB_ECREDS,
							"its token is not of printable ASCII characters "
							"without blanks");
	if (ob_http_response_header(&request->http_request,
								"x-aws-ec2-metadata-token-ttl-seconds", text,
								sizeof(text)) &&
		atoi(text) > 0 && atoi(text) < ttl)
		ttl = atoi(text);
	fetch->instance_token_until = ob_fetch_now(fetch) + ttl - TOKEN_MARGIN_S;
	return ob_text_copy(&fetch->instance_token, token, error);
}

static void
token_done(ObCredentialRequest *request, const ObError *error)
{
	ObFetch *fetch = request->arg;
	ObError fuller;

	if (error->code == OB_OK)
	{
		request_role(fetch);
		return;
	}
	ob_error_clear(&fuller);
	if (error->code == OB_ECREDS && request->http_request.status == 0)
		ob_error_set(&fuller, OB_ECREDS,
					 "%s; nothing answers outside of EC2, nor in a container "
					 "if the hop limit is 1",
					 error->cause);
	finish(fetch, fuller.code != OB_OK ? &fuller : error);
}

static void
request_token(ObFetch *fetch)
{
	forget_token(fetch);
	send(fetch, "PUT", prepare_token, read_token, token_done);
}

/* ---- the role and its credentials ---- */

static ObCode
prepare_get(ObCredentialRequest *request, ObError *error)
{
	ObFetch *fetch = request->arg;

	ob_fetch_note_secret(fetch, fetch->instance_token);
	if (set_url(request, ROLES_PATH, fetch->target.data, error) != OB_OK)
		return error->code;
	return ob_http_header(&request->http_request, "x-aws-ec2-metadata-token",
						  fetch->instance_token, error);
}

/* Returns whether the token was refused for the first time, which is not a
 * failure: "done" starts over. */
static bool
is_token_refused(ObFetch *fetch)
{
	if (fetch->request.http_request.status != 401 || fetch->retried)
		return false;
	fetch->retried = true;
	forget_token(fetch);
	return true;
}

static ObCode
read_role(ObCredentialRequest *request, ObRetryClass *class, ObError *error)
{
	ObFetch *fetch = request->arg;
	const ObBuf *response = &request->http_request.response;
	size_t len = strcspn(response->data, "\r\n");

	if (is_token_refused(fetch))
		return OB_OK;
	if (request->http_request.status == 404)
		return ob_error_set(error, OB_ECREDS, "the instance has no role");
	if (request->http_request.status != 200)
		return ob_fetch_status(fetch, NULL, class, error);
	ob_buf_reset(&fetch->target);
	ob_buf_add(&fetch->target, response->data, len);
	if (strlen(response->data) != response->len || len > 128 ||
		!ob_is_plain(fetch->target.data) ||
		ob_fetch_repeats_secret(fetch, fetch->target.data))
		return ob_error_set(error, OB_ECREDS,
							"invalid role name in the response");
	return ob_buf_check(&fetch->target, error);
}

static ObCode
read_keys(ObCredentialRequest *request, ObRetryClass *class, ObError *error)
{
	ObFetch *fetch = request->arg;

	if (is_token_refused(fetch))
		return OB_OK;
	if (request->http_request.status == 404)
		return ob_error_set(error, OB_ECREDS,
							"it has no credentials for the instance's role "
							"\"%s\"",
							fetch->target.data);
	if (request->http_request.status != 200)
		return ob_fetch_status(fetch, NULL, class, error);
	if (ob_fetch_read_json(fetch, error) != OB_OK)
		return error->code;
	if (!fetch->keys.session_token || fetch->keys.expires == 0)
		return ob_error_set(error, OB_ECREDS,
							"the response has no Token or no Expiration");
	return OB_OK;
}

/*
 * If the service cannot renew credentials, it keeps returning expired ones,
 * which AWS's other services then accept for longer.  AWS's own clients use
 * them, and send another request some minutes later, at a random time.
 */
static void
extend_expired(ObFetch *fetch)
{
	int64_t now = ob_fetch_now(fetch);

	if (fetch->keys.expires <= now)
		fetch->keys.expires =
			now + EXPIRED_S + 1 + (int64_t) (ob_random_fraction() * EXPIRED_S);
}

static void
keys_done(ObCredentialRequest *request, const ObError *error)
{
	ObFetch *fetch = request->arg;

	if (error->code == OB_OK && !fetch->instance_token)
	{
		ob_buf_reset(&fetch->target);
		request_token(fetch);
		return;
	}
	if (error->code == OB_OK)
	{
		extend_expired(fetch);
		ob_origin_set(fetch->origin, "instance metadata (role %s)",
					  fetch->target.data);
	}
	finish(fetch, error);
}

static void
role_done(ObCredentialRequest *request, const ObError *error)
{
	ObFetch *fetch = request->arg;

	if (error->code != OB_OK)
		finish(fetch, error);
	else if (!fetch->instance_token)
		request_token(fetch);
	else
		send(fetch, "GET", prepare_get, read_keys, keys_done);
}

static void
request_role(ObFetch *fetch)
{
	ob_buf_reset(&fetch->target);
	send(fetch, "GET", prepare_get, read_role, role_done);
}

/* ---- where ---- */

ObCode
ob_instance_endpoint(const char *given, const char *mode, ObEndpoint *endpoint,
					 ObError *error)
{
	ObError fault;

	if (!given && mode && strcasecmp(mode, "IPv6") == 0)
		given = "http://[fd00:ec2::254]";
	else if (!given && mode && strcasecmp(mode, "IPv4") != 0)
		return ob_error_set(error, OB_ECREDS,
							"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is "
							"neither IPv4 nor IPv6");
	ob_error_clear(&fault);
	if (ob_endpoint_parse(endpoint, given ? given : "http://169.254.169.254",
						  &fault) != OB_OK)
		return ob_error_set(error, OB_ECREDS,
							"AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL: "
							"%s",
							fault.cause);
	return OB_OK;
}

static void
start(ObFetch *fetch)
{
	ObCredentialRequest *request = &fetch->request;
	char name[200];

	if (ob_instance_endpoint(ob_env("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
							 ob_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"),
							 &fetch->endpoint, &fetch->error) != OB_OK)
	{
		ob_fetch_continue(fetch);
		return;
	}
	ob_endpoint_name(&fetch->endpoint, name, sizeof(name));
	snprintf(request->label, sizeof(request->label),
			 "the instance metadata service at %s", name);
	if (fetch->instance_token &&
		ob_fetch_now(fetch) < fetch->instance_token_until)
		request_role(fetch);
	else
		request_token(fetch);
}

const ObSourceOps ob_instance_source = {
	.local = true,
	.connect_ms = CONNECT_MS,
	.try_ms = TRY_MS,
	.whole_ms = WHOLE_MS,
	.start = start,
};
