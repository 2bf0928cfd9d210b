/*
 * aws.c
 *		AWS's JSON and query calls: signed, retried, and read back.
 *
 * src/lambda/services/aws.c
 */
#include "lambda/services/aws.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "core/base/random.h"
#include "core/text/json.h"
#include "core/text/uri.h"
#include "core/text/xml.h"

#define ATTEMPTS 4
#define CONNECT_MS 2000
#define TRY_MS 15000
#define HEADERS_MAX 16
#define AUTHORIZATION_MAX (16 * 1024)

/* ---- where ---- */

/* Writes the name of a variable as AWS's SDKs do: by the service's id, which
 * may differ from the name in its hosts. */
static void
name_variable(const char *service, char *name, size_t size)
{
	size_t n = (size_t) snprintf(name, size, "AWS_ENDPOINT_URL_");

	if (strcmp(service, "secretsmanager") == 0)
		service = "secrets_manager";
	for (const char *c = service; *c && n + 1 < size; c++)
		name[n++] = (char) toupper((unsigned char) *c);
	name[n] = '\0';
}

static const char *
endpoint_variable(const char *service)
{
	const char *ignored = getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
	char name[64];
	const char *value;

	if (ignored && strcasecmp(ignored, "true") == 0)
		return NULL;
	name_variable(service, name, sizeof(name));
	value = getenv(name);
	if (!value || !value[0])
		value = getenv("AWS_ENDPOINT_URL");
	return value && value[0] ? value : NULL;
}

static ObCode
find_endpoint(const ObAwsCall *call, ObEndpoint *endpoint, ObError *error)
{
	const char *given =
		call->endpoint ? call->endpoint : endpoint_variable(call->service);

	if (given)
		return ob_endpoint_parse(endpoint, given, error);
	return ob_endpoint_service(endpoint, call->service, call->region,
							   ob_aws_variant(), error);
}

/* ---- a try ---- */

/* Returns whether a header is signed.  As in AWS's own clients, headers that
 * may change in transit are not. */
static bool
is_signed(const char *name)
{
	return strcasecmp(name, "x-amzn-trace-id") != 0;
}

static ObCode
add_headers(ObAwsCall *call, const ObPair *headers, int n,
			const char *authorization, ObError *error)
{
	ObHttpRequest *request = &call->request;

	/* the first header is Host, which libcurl writes itself */
	for (int i = 1; i < n; i++)
	{
		if (ob_http_header(request, headers[i].name, headers[i].value,
						   error) != OB_OK)
			return error->code;
	}
	for (int i = 0; i < call->nheaders; i++)
	{
		if (!is_signed(call->headers[i].name) &&
			ob_http_header(request, call->headers[i].name,
						   call->headers[i].value, error) != OB_OK)
			return error->code;
	}
	if (ob_http_header(request, "Authorization", authorization, error) !=
		OB_OK)
		return error->code;
	return ob_http_header(request, "Expect", NULL, error);
}

static ObCode
sign(ObAwsCall *call, const ObCredentials *credentials, const char *path,
	 ObError *error)
{
	time_t now = time(NULL);
	char stamp[17];
	ObPair headers[HEADERS_MAX];
	int n = 0;
	ObSignRequest request = {.method = "POST",
							 .path = path,
							 .query = call->query,
							 .headers = headers,
							 .payload_hash = call->payload_hash,
							 .region = call->region,
							 .service = call->service,
							 .when = now,
							 .double_encode = true};
	ObBuf authorization;
	ObCode code;

	if (call->nheaders + 3 > HEADERS_MAX)
		return ob_error_set(error, OB_EINVAL, "too many headers");
	ob_sigv4_timestamp(now, stamp);
	headers[n++] = (ObPair){"host", call->host};
	headers[n++] = (ObPair){"x-amz-date", stamp};
	if (credentials->session_token)
		headers[n++] =
			(ObPair){"x-amz-security-token", credentials->session_token};
	for (int i = 0; i < call->nheaders; i++)
	{
		if (is_signed(call->headers[i].name))
			headers[n++] = call->headers[i];
	}
	request.nheaders = n;
	snprintf(call->signer, sizeof(call->signer), "%s",
			 credentials->access_key_id);
	ob_buf_init(&authorization, AUTHORIZATION_MAX);
	code = ob_sigv4_sign(&call->signing_key, credentials, &request, NULL, NULL,
						 &authorization, error);
	if (code == OB_OK)
		code = add_headers(call, headers, n, authorization.data, error);
	ob_buf_wipe(&authorization);
	return code;
}

static const ObCredentials *
get_credentials(ObAwsCall *call, ObError *error)
{
	ObProviderState state = ob_provider_poll(call->provider, error);

	call->no_credentials = state == OB_PROVIDER_BUSY;
	if (state == OB_PROVIDER_READY)
		return ob_provider_get(call->provider);
	ob_error_set(error, OB_ECREDS, "there are no credentials");
	return NULL;
}

/* The request's prepare callback. */
static ObCode
prepare(ObHttpRequest *request, ObError *error)
{
	ObAwsCall *call = request->arg;
	const ObCredentials *credentials = get_credentials(call, error);
	ObEndpoint endpoint;
	char path[1024];

	if (!credentials || find_endpoint(call, &endpoint, error) != OB_OK)
		return error->code;
	if (call->payload_hash[0] == '\0' &&
		ob_sha256_hex(call->body, call->len, call->payload_hash, error) !=
			OB_OK)
		return error->code;
	if (endpoint.port)
		snprintf(call->host, sizeof(call->host), "%s:%d", endpoint.host,
				 endpoint.port);
	else
		snprintf(call->host, sizeof(call->host), "%s", endpoint.host);
	if (snprintf(path, sizeof(path), "%s%s", endpoint.base, call->path) >=
		(int) sizeof(path))
		return ob_error_set(error, OB_EINVAL, "the path is too long");
	ob_buf_addf(&request->url, "%s://%s%s%s%s",
				endpoint.https ? "https" : "http", call->host, path,
				call->query[0] ? "?" : "", call->query);
	return sign(call, credentials, path, error);
}

/* ---- the response ---- */

/* Copies the code: "com.amazonaws.x#NotFound:http://..." is NotFound. */
static void
copy_code(ObError *error, const char *type)
{
	const char *hash = strchr(type, '#');
	size_t len;

	if (hash)
		type = hash + 1;
	len = strcspn(type, ":,");
	ob_error_copy(error->s3_code, sizeof(error->s3_code), type, len);
}

static void
copy_message(ObError *error, const char *text)
{
	ob_error_set(error, ob_retry_code(error->http_status, error->s3_code),
				 "%s answered HTTP %d%s%s%s%s", "AWS", error->http_status,
				 error->s3_code[0] ? " " : "", error->s3_code,
				 text[0] ? ": " : "", text);
}

/* Reads the error of a response, whose format does not always depend on the
 * service. */
static void
read_failure(const ObAwsCall *call, ObError *error)
{
	const ObBuf *body = &call->request.response;
	ObJsonField fields[] = {
		{"__type", NULL}, {"message", NULL}, {"Message", NULL}};
	char type[128] = "";
	const char *message = "";
	ObError ignored;
	ObXmlError xml;

	memset(&xml, 0, sizeof(xml));
	ob_error_clear(&ignored);
	error->http_status = call->request.status;
	ob_http_response_header(&call->request, "x-amzn-RequestId",
							error->request_id, sizeof(error->request_id));
	ob_http_response_header(&call->request, "x-amzn-ErrorType", type,
							sizeof(type));
	copy_code(error, type);
	if (ob_json_read(body->data ? body->data : "", body->len, fields, 3,
					 &ignored) == OB_OK)
	{
		if (fields[0].value)
			copy_code(error, fields[0].value);
		message = fields[1].value   ? fields[1].value
				  : fields[2].value ? fields[2].value
									: "";
	}
	else if (body->len > 0 && ob_xml_read_sts_error(body->data, body->len,
													&xml, &ignored) == OB_OK)
	{
		copy_code(error, xml.code);
		message = xml.message;
	}
	copy_message(error, message);
	ob_json_free(fields, 3);
}

static void
end(ObAwsCall *call, const ObError *failure)
{
	if (failure)
	{
		ObError whole = *failure;

		whole.attempts = call->retry.attempts;
		/* the caller has set the action */
		memcpy(whole.what, call->error.what, sizeof(whole.what));
		call->error = whole;
	}
	call->ended = true;
	if (call->done)
		call->done(call);
}

static bool
are_refused(const char *code)
{
	static const char *const codes[] = {
		"ExpiredToken", "ExpiredTokenException", "InvalidToken",
		"UnrecognizedClientException", "TokenRefreshRequired"};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
	{
		if (strcmp(code, codes[i]) == 0)
			return true;
	}
	return false;
}

static void
fail(ObAwsCall *call, const ObError *failure, ObRetryClass class)
{
	ObRetryPolicy policy = {.max_attempts = ATTEMPTS};
	int64_t now = ob_http_now_ms();
	int64_t after = -1;
	int64_t delay;
	char header[64];

	if (are_refused(failure->s3_code) && !call->refused &&
		ob_provider_refused(call->provider, call->signer))
	{
		call->refused = true;
		ob_http_start(call->http, &call->request, 0);
		return;
	}
	if (ob_http_response_header(&call->request, "Retry-After", header,
								sizeof(header)))
		after = ob_retry_after(header, 1000);
	if (ob_retry_next(&policy, &call->retry, class, now, after,
					  ob_random_fraction(), &delay) &&
		now + delay < call->deadline_ms)
		ob_http_start(call->http, &call->request, delay);
	else
		end(call, failure);
}

/* The request's done callback. */
static void
on_done(ObHttpRequest *request)
{
	ObAwsCall *call = request->arg;
	ObError failure;

	if (call->no_credentials)
	{
		/* nothing was sent: wake() starts it */
		ob_provider_wait(call->provider, &call->wait);
		return;
	}
	if (request->error.code != OB_OK)
	{
		fail(call, &request->error,
			 request->final
				 ? OB_RETRY_FINAL
				 : ob_retry_transport_class(request->error.code, true));
		return;
	}
	if (request->status >= 200 && request->status < 300)
	{
		end(call, NULL);
		return;
	}
	ob_error_clear(&failure);
	read_failure(call, &failure);
	fail(call, &failure, ob_retry_class(request->status, failure.s3_code));
}

static void
wake(ObProviderWait *wait)
{
	ObAwsCall *call = wait->arg;

	ob_http_start(call->http, &call->request, 0);
}

void
ob_aws_call_init(ObAwsCall *call)
{
	memset(call, 0, sizeof(*call));
	ob_http_request_init(&call->request, prepare, on_done, call);
	ob_error_clear(&call->error);
	call->query = "";
}

void
ob_aws_call_start(ObAwsCall *call)
{
	ObHttpRequest *request = &call->request;

	request->method = "POST";
	request->body = call->body;
	request->body_len = call->len;
	request->response_max = call->response_max;
	request->connect_timeout_ms = CONNECT_MS;
	request->timeout_ms = TRY_MS;
	call->wait.wake = wake;
	call->wait.arg = call;
	call->payload_hash[0] = '\0';
	call->ended = false;
	ob_http_start(call->http, request, 0);
}

void
ob_aws_call_free(ObAwsCall *call)
{
	if (!call->http)
		return;
	if (ob_http_running(&call->request))
		ob_http_cancel(call->http, &call->request);
	ob_provider_cancel(call->provider, &call->wait);
	ob_sigv4_forget(&call->signing_key);
	ob_buf_wipe(&call->request.response);
	ob_http_request_free(&call->request);
}
