/*
 * credentials_container.c
 *		Credentials of a container: ECS, EKS Pod Identity, and others.
 *
 * src/core/aws/credentials_container.c
 *
 * See
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
 * Without TLS, only this host and the addresses of ECS and EKS are allowed,
 * and only as numbers, since looking up a name would block. libcurl resolves
 * "localhost" by itself.
 */
#include "core/aws/credentials_intern.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_MS 2000
#define TRY_MS 5000
#define WHOLE_MS 12000
#define RELATIVE_BASE "http://169.254.170.2"

/* ---- where ---- */

static bool
is_allowed_ipv4(const char *host)
{
	struct in_addr address;
	uint32_t number;

	if (inet_pton(AF_INET, host, &address) != 1)
		return false;
	number = ntohl(address.s_addr);
	return number >> 24 == 127 || number == 0xA9FEAA02 /* 169.254.170.2 */ ||
		   number == 0xA9FEAA17 /* 169.254.170.23 */;
}

/* Reads an IPv6 address in brackets, as an endpoint has it. */
static bool
is_allowed_ipv6(const char *host)
{
	static const char *const allowed[] = {"::1", "fd00:ec2::23"};
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;
	struct in6_addr other;
	size_t len = strlen(host);

	if (host[0] != '[' || len < 3 || len - 2 >= sizeof(text))
		return false;
	memcpy(text, host + 1, len - 2);
	text[len - 2] = '\0';
	if (inet_pton(AF_INET6, text, &address) != 1)
		return false;
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (inet_pton(AF_INET6, allowed[i], &other) == 1 &&
			memcmp(&address, &other, sizeof(address)) == 0)
			return true;
	return false;
}

static bool
is_allowed_host(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || is_allowed_ipv4(host) ||
		   is_allowed_ipv6(host);
}

/* Splits the URL before its path, which may have characters that endpoints do
 * not allow, and may be a secret. */
static ObCode
split_full(const char *full, ObEndpoint *endpoint, ObBuf *target,
		   ObError *error)
{
	const char *host = strstr(full, "://");
	size_t len;
	ObError fault;
	ObBuf base;
	ObCode code;

	host = host ? host + 3 : full;
	len = (size_t) (host - full) + strcspn(host, "/?#");
	ob_buf_init(&base, OB_ORIGIN_MAX);
	ob_buf_add(&base, full, len);
	ob_error_clear(&fault);
	code = ob_buf_check(&base, &fault);
	if (code == OB_OK)
		code = ob_endpoint_parse(endpoint, base.data, &fault);
	ob_buf_free(&base);
	if (code == OB_ENOMEM)
		return ob_error_set(error, code, "%s", fault.cause);
	if (code != OB_OK)
		return ob_error_set(error, OB_ECREDS,
							"AWS_CONTAINER_CREDENTIALS_FULL_URI is not a URL: "
							"%s",
							fault.cause);
	if (!endpoint->https && !is_allowed_host(endpoint->host))
		return ob_error_set(error, OB_ECREDS,
							"AWS_CONTAINER_CREDENTIALS_FULL_URI leads, "
							"without TLS, to a host that is neither this one "
							"nor ECS's or EKS's (127.0.0.0/8, localhost, ::1, "
							"169.254.170.2, 169.254.170.23, fd00:ec2::23)");
	if (full[len] != '/')
		ob_buf_addc(target, '/');
	ob_buf_adds(target, full + len);
	return OB_OK;
}

ObCode
ob_container_target(const char *relative, const char *full,
					ObEndpoint *endpoint, ObBuf *target, ObError *error)
{
	const char *path;

	ob_buf_reset(target);
	if (relative)
	{
		if (relative[0] != '/')
			return ob_error_set(error, OB_ECREDS,
								"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does "
								"not begin with \"/\"");
		ob_buf_adds(target, relative);
		if (ob_endpoint_parse(endpoint, RELATIVE_BASE, error) != OB_OK)
			return error->code;
	}
	else if (split_full(full ? full : "", endpoint, target, error) != OB_OK)
		return error->code;
	path = target->data;
	if (target->failed && !target->full)
		return ob_buf_check(target, error);
	if (target->full || !ob_is_plain(path) || strchr(path, '#'))
		return ob_error_set(error, OB_ECREDS,
							"the path of AWS_CONTAINER_CREDENTIALS_%s_URI is "
							"too long, or has characters that must be "
							"percent-encoded",
							relative ? "RELATIVE" : "FULL");
	return OB_OK;
}

/* ---- the question ---- */

static ObCode
add_authorization(ObFetch *fetch, const char *token, ObError *error)
{
	for (const char *c = token; *c != '\0'; c++)
		if ((unsigned char) *c < 0x20 || (unsigned char) *c > 0x7E)
			return ob_error_set(error, OB_ECREDS,
								"the authorization token has a line break or "
								"another character that headers cannot have");
	ob_fetch_note_secret(fetch, token);
	return ob_http_header(&fetch->request.http_request, "Authorization", token,
						  error);
}

/* The token's file is read for each try, since it is renewed from outside. */
static ObCode
add_token(ObFetch *fetch, ObError *error)
{
	const char *path = ob_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	const char *token = ob_env("AWS_CONTAINER_AUTHORIZATION_TOKEN");
	ObBuf content;
	ObCode code;

	if (!path)
		return token ? add_authorization(fetch, token, error) : OB_OK;
	code = ob_file_read(path, OB_TOKEN_MAX, &content, NULL, error);
	if (code == OB_OK)
		code = add_authorization(fetch, content.data, error);
	ob_buf_wipe(&content);
	return code;
}

static ObCode
prepare(ObCredentialRequest *request, ObError *error)
{
	ObFetch *fetch = request->arg;
	char name[300];

	ob_endpoint_name(&fetch->endpoint, name, sizeof(name));
	ob_buf_addf(&request->http_request.url, "%s%s", name, fetch->target.data);
	if (ob_http_header(&request->http_request, "Accept", "application/json",
					   error) != OB_OK)
		return error->code;
	return add_token(fetch, error);
}

/* ECS sends {"code": ...} with its errors. */
static ObCode
read_failure(ObFetch *fetch, ObRetryClass *class, ObError *error)
{
	const ObBuf *response = &fetch->request.http_request.response;
	ObJsonField field = {"code", NULL};
	ObError ignored;
	ObCode code;

	ob_error_clear(&ignored);
	if (ob_json_read(response->data, response->len, &field, 1, &ignored) !=
		OB_OK)
		field.value = NULL;
	code = ob_fetch_status(fetch, field.value, class, error);
	ob_json_free(&field, 1);
	return code;
}

static ObCode
read_response(ObCredentialRequest *request, ObRetryClass *class,
			  ObError *error)
{
	if (request->http_request.status != 200)
		return read_failure(request->arg, class, error);
	return ob_fetch_read_json(request->arg, error);
}

static void
done(ObCredentialRequest *request, const ObError *error)
{
	ObFetch *fetch = request->arg;

	fetch->error = *error;
	ob_fetch_continue(fetch);
}

static void
start(ObFetch *fetch)
{
	ObCredentialRequest *request = &fetch->request;
	char name[200];

	if (ob_container_target(ob_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
							ob_env("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
							&fetch->endpoint, &fetch->target,
							&fetch->error) != OB_OK)
	{
		ob_fetch_continue(fetch);
		return;
	}
	ob_endpoint_name(&fetch->endpoint, name, sizeof(name));
	snprintf(request->label, sizeof(request->label),
			 "the container's credentials, from %s", name);
	ob_credential_request_start(request);
}

const ObSourceOps ob_container_source = {
	.method = "GET",
	.local = true,
	.connect_ms = CONNECT_MS,
	.try_ms = TRY_MS,
	.whole_ms = WHOLE_MS,
	.prepare = prepare,
	.read = read_response,
	.done = done,
	.start = start,
};
