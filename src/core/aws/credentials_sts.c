/*
 * credentials_sts.c
 *		Roles: STS's AssumeRole and AssumeRoleWithWebIdentity.
 *
 * src/core/aws/credentials_sts.c
 *
 * See https://docs.aws.amazon.com/STS/latest/APIReference/ A role is assumed
 * with the keys that the fetch has so far, by a signed request, or with a
 * token from a file, by an unsigned one.  Both are POSTs, since the token must
 * not be in a URL, which would end up in logs.
 */
#include "core/aws/credentials_intern.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/text/timestamp.h"
#include "core/text/xml.h"

#define CONNECT_MS 2000
#define TRY_MS 10000
#define WHOLE_MS 20000
#define FORM "application/x-www-form-urlencoded; charset=utf-8"
#define PAIRS_MAX 8
#define SKEW_MIN_S 60 /* no signature is refused for a smaller difference */

/* The role that is being assumed. */
static const ObRole *
current_role(const ObFetch *fetch)
{
	return &fetch->plan.roles[fetch->roles_done - 1];
}

/* ---- where ---- */

static ObCode
choose_endpoint(ObFetch *fetch, ObError *error)
{
	ObEndpoint *endpoint = &fetch->endpoint;
	const char *given = fetch->plan.sts_endpoint;
	ObError fault;
	ObCode code;

	if (!fetch->options->region)
		return ob_error_set(error, OB_ECREDS,
							"a region is required to assume a role");
	ob_error_clear(&fault);
	if (given)
		code = ob_endpoint_parse(endpoint, given, &fault);
	else
		code = ob_endpoint_service(endpoint, "sts", fetch->options->region,
								   fetch->options->variant, &fault);
	if (code != OB_OK)
		return ob_error_set(error, OB_ECREDS, "no STS endpoint: %s",
							fault.cause);
	return OB_OK;
}

/*
 * ca_file verifies STS if both it and the store are private hosts.  If both
 * are AWS's, a ca_file is that of an intercepting proxy, which STS is reached
 * through as well.  AWS's STS is not verified by the authority of a private
 * store.
 */
static bool
needs_system_ca(const ObFetch *fetch)
{
	return ob_host_is_aws(fetch->endpoint.host, "sts") !=
		   fetch->options->store_is_aws;
}

/* ---- the request ---- */

/* The token is the file's content without trailing line breaks. */
static ObCode
read_token(const char *path, ObBuf *token, ObError *error)
{
	ObCode code = ob_file_read(path, OB_TOKEN_MAX, token, NULL, error);

	if (code != OB_OK)
		return code;
	while (token->len > 0 && strchr(" \t\r\n", token->data[token->len - 1]))
		token->data[--token->len] = '\0';
	if (token->len > 0)
		return OB_OK;
	ob_buf_wipe(token);
	return ob_error_set(error, OB_ECREDS, "file \"%s\" is empty", path);
}

static ObCode
write_form(ObFetch *fetch, const char *token, ObError *error)
{
	const ObRole *role = current_role(fetch);
	ObPair pairs[PAIRS_MAX];
	char duration[16];
	int n = 0;

	pairs[n++] = (ObPair){"Version", "2011-06-15"};
	pairs[n++] =
		(ObPair){"Action", token ? "AssumeRoleWithWebIdentity" : "AssumeRole"};
	pairs[n++] = (ObPair){"RoleArn", role->arn};
	pairs[n++] = (ObPair){"RoleSessionName",
						  role->session_name ? role->session_name : "onboard"};
	if (token)
		pairs[n++] = (ObPair){"WebIdentityToken", token};
	else if (role->external_id)
		pairs[n++] = (ObPair){"ExternalId", role->external_id};
	if (role->duration_s > 0)
	{
		snprintf(duration, sizeof(duration), "%d", role->duration_s);
		pairs[n++] = (ObPair){"DurationSeconds", duration};
	}
	ob_buf_wipe(&fetch->body);
	ob_sigv4_query(&fetch->body, pairs, n);
	fetch->request.http_request.body = fetch->body.data;
	fetch->request.http_request.body_len = fetch->body.len;
	return ob_buf_check(&fetch->body, error);
}

static ObCode
add_signature(ObFetch *fetch, const char *host, const char *path,
			  ObError *error)
{
	ObHttpRequest *request = &fetch->request.http_request;
	ObCredentials keys = {fetch->keys.access_key_id,
						  fetch->keys.secret_access_key,
						  fetch->keys.session_token};
	char hash[OB_SHA256_HEX];
	char stamp[17];
	/* libcurl sends the host, and prepare() the content type */
	ObPair headers[4] = {{"host", host}, {"content-type", FORM}};
	ObSignRequest sign = {.method = "POST",
						  .path = path,
						  .query = "",
						  .headers = headers,
						  .nheaders = 3,
						  .payload_hash = hash,
						  .region = fetch->options->region,
						  .service = "sts",
						  .when = (time_t) ob_fetch_now(fetch),
						  .double_encode = true};
	ObBuf authorization;
	const char *signature;
	ObCode code =
		ob_sha256_hex(fetch->body.data, fetch->body.len, hash, error);

	ob_sigv4_timestamp(sign.when, stamp);
	headers[2] = (ObPair){"x-amz-date", stamp};
	if (keys.session_token)
		headers[sign.nheaders++] =
			(ObPair){"x-amz-security-token", keys.session_token};
	ob_buf_init(&authorization, OB_CREDENTIALS_RESPONSE_MAX);
	if (code == OB_OK)
		code = ob_sigv4_sign(&fetch->signing_key, &keys, &sign, NULL, NULL,
							 &authorization, error);
	if (code == OB_OK)
	{
		signature = strstr(authorization.data, "Signature=");
		ob_fetch_note_secret(fetch,
							 signature ? strchr(signature, '=') + 1 : "");
		code = ob_http_header(request, "Authorization", authorization.data,
							  error);
	}
	for (int i = 2; i < sign.nheaders && code == OB_OK; i++)
		code =
			ob_http_header(request, headers[i].name, headers[i].value, error);
	ob_buf_wipe(&authorization);
	return code;
}

static ObCode
prepare(ObCredentialRequest *request, ObError *error)
{
	ObFetch *fetch = request->arg;
	const ObEndpoint *endpoint = &fetch->endpoint;
	int usual = endpoint->https ? 443 : 80;
	char name[300];
	char host[300];
	char path[300];

	ob_endpoint_name(endpoint, name, sizeof(name));
	snprintf(path, sizeof(path), "%s/", endpoint->base);
	ob_buf_addf(&request->http_request.url, "%s%s", name, path);
	/* as libcurl writes it */
	if (endpoint->port != 0 && endpoint->port != usual)
		snprintf(host, sizeof(host), "%s:%d", endpoint->host, endpoint->port);
	else
		snprintf(host, sizeof(host), "%s", endpoint->host);
	if (ob_http_header(&request->http_request, "Content-Type", FORM, error) !=
			OB_OK ||
		ob_http_header(&request->http_request, "Expect", NULL, error) != OB_OK)
		return error->code;
	if (current_role(fetch)->token_file)
		return OB_OK;
	return add_signature(fetch, host, path, error);
}

/* ---- the response ---- */

/* The name of the document's root depends on the action. */
static ObCode
role_element(void *arg, const char *path, const char *text, ObError *error)
{
	ObXmlRole *out = arg;
	const char *below = strchr(path + 1, '/');

	below = below != NULL ? strchr(below + 1, '/') : NULL;
	if (strncmp(path, "/AssumeRole", strlen("/AssumeRole")) != 0 ||
		below == NULL)
		return OB_OK;
	if (strcmp(below, "/Credentials/AccessKeyId") == 0)
		return ob_xml_copy_whole(out->access_key_id,
								 sizeof(out->access_key_id), text, error);
	if (strcmp(below, "/Credentials/SecretAccessKey") == 0)
		return ob_xml_copy_whole(out->secret_access_key,
								 sizeof(out->secret_access_key), text, error);
	if (strcmp(below, "/Credentials/SessionToken") == 0)
		return ob_xml_copy_whole(out->session_token,
								 sizeof(out->session_token), text, error);
	if (strcmp(below, "/Credentials/Expiration") == 0)
		out->expires = ob_timestamp_parse(text);
	return OB_OK;
}

ObCode
ob_xml_read_role(const char *data, size_t len, ObXmlRole *out, ObError *error)
{
	ObXmlReader reader = {.element = role_element, .arg = out, .error = error};
	ObCode code;

	memset(out, 0, sizeof(*out));
	code = ob_xml_read_document(&reader, data, len);
	OPENSSL_cleanse(reader.text, sizeof(reader.text));
	if (code == OB_OK &&
		(out->access_key_id[0] == '\0' || out->secret_access_key[0] == '\0' ||
		 out->session_token[0] == '\0' || out->expires <= 0))
		code = ob_error_set(error, OB_EPROTO,
							"the XML response has no credentials, or "
							"incomplete ones");
	if (code != OB_OK)
		OPENSSL_cleanse(out, sizeof(*out));
	return code;
}

static ObCode
read_role(ObFetch *fetch, ObError *error)
{
	const ObBuf *response = &fetch->request.http_request.response;
	ObXmlRole *role = malloc(sizeof(*role));
	ObCredentials found;
	ObCode code;

	if (!role)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	found = (ObCredentials){role->access_key_id, role->secret_access_key,
							role->session_token};
	code = ob_xml_read_role(response->data, response->len, role, error);
	if (code == OB_OK)
		code = ob_keys_set(&fetch->keys, &found, role->expires,
						   "the response's", error);
	OPENSSL_cleanse(role, sizeof(*role));
	free(role);
	return code;
}

/* STS's message names the role that lacks a right; but it is the server's
 * text. */
static ObCode
set_failure(ObFetch *fetch, const ObXmlError *xml, ObRetryClass *class,
			ObError *error)
{
	ObError fault;

	ob_error_clear(&fault);
	ob_error_set(&fault, OB_ECREDS, "%s%s%s (HTTP status %d%s%s)", xml->code,
				 xml->message[0] ? ", " : "", xml->message,
				 fetch->request.http_request.status,
				 xml->request_id[0] ? ", request id " : "", xml->request_id);
	if (xml->code[0] == '\0' || ob_fetch_repeats_secret(fetch, fault.cause))
		return ob_fetch_status(fetch, NULL, class, error);
	*class = ob_retry_class(fetch->request.http_request.status, xml->code);
	/* STS could not reach the identity's provider */
	if (strcmp(xml->code, "IDPCommunicationError") == 0)
		*class = OB_RETRY_TRANSIENT;
	return ob_error_set(error, OB_ECREDS, "%s", fault.cause);
}

/* Returns whether the token was refused: it may have been replaced after we
 * read it. */
static bool
is_token_refused(const ObFetch *fetch, const char *code)
{
	return current_role(fetch)->token_file &&
		   (strcmp(code, "InvalidIdentityToken") == 0 ||
			strcmp(code, "ExpiredToken") == 0 ||
			strcmp(code, "ExpiredTokenException") == 0);
}

/* Returns whether STS refused the date of the request, which AWS reports as a
 * signature that does not match.  The response has the correct date. */
static bool
is_clock_wrong(ObFetch *fetch, const char *code)
{
	char text[64];
	int64_t date = 0;
	int64_t error;

	if (current_role(fetch)->token_file ||
		(strcmp(code, "SignatureDoesNotMatch") != 0 &&
		 strcmp(code, "RequestTimeTooSkewed") != 0))
		return false;
	if (ob_http_response_header(&fetch->request.http_request, "Date", text,
								sizeof(text)))
		date = ob_timestamp_parse_http(text);
	error = date - ob_fetch_now(fetch);
	if (date <= 0 || (error > -SKEW_MIN_S && error < SKEW_MIN_S))
		return false;
	fetch->clock_offset += error;
	return true;
}

static ObCode
read_response(ObCredentialRequest *request, ObRetryClass *class,
			  ObError *error)
{
	ObFetch *fetch = request->arg;
	const ObBuf *response = &request->http_request.response;
	ObXmlError xml;
	ObError ignored;

	if (request->http_request.status == 200)
		return read_role(fetch, error);
	ob_error_clear(&ignored);
	if (ob_xml_read_sts_error(response->data, response->len, &xml, &ignored) !=
		OB_OK)
		xml.code[0] = '\0';
	if (!fetch->retried &&
		(is_token_refused(fetch, xml.code) || is_clock_wrong(fetch, xml.code)))
	{
		fetch->retried = fetch->restart = true;
		return OB_OK;
	}
	return set_failure(fetch, &xml, class, error);
}

static void send_request(ObFetch *fetch);

static void
done(ObCredentialRequest *request, const ObError *error)
{
	ObFetch *fetch = request->arg;
	const ObRole *role = current_role(fetch);
	char with[OB_ORIGIN_MAX];

	memcpy(with, fetch->origin, sizeof(with));
	if (error->code == OB_OK && fetch->restart)
	{
		fetch->restart = false;
		send_request(fetch);
		return;
	}
	fetch->error = *error;
	if (error->code == OB_OK)
		ob_origin_set(fetch->origin, "role %s assumed with %s", role->arn,
					  with);
	ob_fetch_continue(fetch);
}

static void
send_request(ObFetch *fetch)
{
	const ObRole *role = current_role(fetch);
	ObError *error = &fetch->error;
	ObBuf token;
	ObCode code = OB_OK;

	ob_buf_init(&token, OB_TOKEN_MAX);
	if (role->token_file)
		code = read_token(role->token_file, &token, error);
	if (code == OB_OK)
		code = write_form(fetch, role->token_file ? token.data : NULL, error);
	if (code == OB_OK)
		ob_fetch_note_secret(fetch, token.data);
	ob_buf_wipe(&token);
	if (code == OB_OK)
		ob_credential_request_start(&fetch->request);
	else
		ob_fetch_continue(fetch);
}

static void
start(ObFetch *fetch)
{
	ObCredentialRequest *request = &fetch->request;
	char name[100];

	if (choose_endpoint(fetch, &fetch->error) != OB_OK)
	{
		ob_fetch_continue(fetch);
		return;
	}
	ob_endpoint_name(&fetch->endpoint, name, sizeof(name));
	snprintf(request->label, sizeof(request->label),
			 "role %.130s could not be assumed by STS at %s",
			 current_role(fetch)->arn, name);
	request->http_request.system_ca = needs_system_ca(fetch);
	fetch->retried = false;
	send_request(fetch);
}

const ObSourceOps ob_role_source = {
	.method = "POST",
	.local = false,
	.connect_ms = CONNECT_MS,
	.try_ms = TRY_MS,
	.whole_ms = WHOLE_MS,
	.prepare = prepare,
	.read = read_response,
	.done = done,
	.start = start,
};
