/*
 * identity.c
 *		Shared code of the tests of credentials.
 *
 * test/core/identity.c
 */
#include "identity.h"

#include <ftw.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static const char *const variables[] = {
	"HOME",
	"AWS_ACCESS_KEY_ID",
	"AWS_SECRET_ACCESS_KEY",
	"AWS_SESSION_TOKEN",
	"AWS_PROFILE",
	"AWS_SHARED_CREDENTIALS_FILE",
	"AWS_CONFIG_FILE",
	"AWS_ROLE_ARN",
	"AWS_ROLE_SESSION_NAME",
	"AWS_WEB_IDENTITY_TOKEN_FILE",
	"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
	"AWS_CONTAINER_CREDENTIALS_FULL_URI",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN",
	"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"AWS_EC2_METADATA_DISABLED",
	"AWS_EC2_METADATA_SERVICE_ENDPOINT",
	"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
	"AWS_ENDPOINT_URL_STS",
	"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
};

/* ---- the environment ---- */

static void
clear_environment(void)
{
	for (size_t i = 0; i < COUNT_OF(variables); i++)
		unsetenv(variables[i]);
}

void
identity_env(const char *name, const char *format, ...)
{
	char value[4096];
	bool known = false;
	va_list args;

	for (size_t i = 0; i < COUNT_OF(variables); i++)
		known = known || strcmp(variables[i], name) == 0;
	assert_true(known);
	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	setenv(name, value, 1);
}

const char *
identity_file(Identity *identity, const char *name, const char *text)
{
	static char path[200];
	char folder[100];
	FILE *file;

	snprintf(folder, sizeof(folder), "%s/.aws", identity->home);
	mkdir(folder, 0700);
	snprintf(path, sizeof(path), "%s/%s", identity->home, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	return path;
}

static int
remove_one(const char *path, const struct stat *info, int type,
		   struct FTW *where)
{
	return remove(path);
}

/* ---- the fixture ---- */

int
identity_setup(void **state)
{
	static const ObHttpOptions options = {
		.user_agent = "onboard-test/1",
		.connect_timeout_ms = 5000,
		.stall_timeout_ms = 20000,
		.max_connections = 4,
	};
	Identity *identity = test_calloc(1, sizeof(Identity));
	ObError error;

	alarm(120);
	clear_environment();
	identity->descriptors = host_descriptors();
	strcpy(identity->home, "/tmp/onboard-identity-XXXXXX");
	if (!mkdtemp(identity->home))
		return -1;
	identity_env("HOME", "%s", identity->home);
	identity->server = server_new();
	snprintf(identity->url, sizeof(identity->url), "http://127.0.0.1:%d",
			 server_port(identity->server));
	ob_error_clear(&error);
	identity->http = ob_http_new(&options, &error);
	*state = identity;
	return identity->http ? 0 : -1;
}

int
identity_teardown(void **state)
{
	Identity *identity = *state;
	int left;

	ob_provider_free(identity->provider);
	ob_http_free(identity->http);
	server_free(identity->server);
	nftw(identity->home, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	clear_environment();
	left = host_descriptors() - identity->descriptors;
	if (left != 0)
		print_error("%d descriptors are left\n", left);
	test_free(identity);
	return left;
}

/* ---- the provider ---- */

static void
on_wake(ObProviderWait *wait)
{
	((Identity *) wait->arg)->woken++;
}

void
identity_use_http(Identity *identity, const ObHttpOptions *options)
{
	ObError error;

	ob_provider_free(identity->provider);
	identity->provider = NULL;
	ob_http_free(identity->http);
	ob_error_clear(&error);
	identity->http = ob_http_new(options, &error);
	assert_non_null(identity->http);
}

void
identity_use(Identity *identity, const ObCredentialsOptions *options)
{
	ObError error;

	ob_provider_free(identity->provider);
	ob_error_clear(&error);
	identity->provider = ob_provider_new(identity->http, options, &error);
	assert_string_equal(error.cause, "");
	assert_non_null(identity->provider);
	assert_true(ob_provider_matches(identity->provider, options));
	identity->wait = (ObProviderWait){.wake = on_wake, .arg = identity};
	identity->woken = 0;
}

void
identity_use_source(Identity *identity, ObCredentialsSource source)
{
	ObCredentialsOptions options = {.source = source,
									.region = "eu-west-1",
									.sts_endpoint = identity->url};

	identity_use(identity, &options);
}

ObProviderState
identity_poll(Identity *identity)
{
	ob_error_clear(&identity->error);
	return ob_provider_poll(identity->provider, &identity->error);
}

static bool
is_woken(void *arg)
{
	return !((Identity *) arg)->wait.waiting;
}

ObProviderState
identity_wait(Identity *identity)
{
	ObProviderState state;

	while ((state = identity_poll(identity)) == OB_PROVIDER_BUSY)
	{
		int before = identity->woken;

		ob_provider_wait(identity->provider, &identity->wait);
		host_drive(identity->http, is_woken, identity);
		assert_int_equal(identity->woken, before + 1);
	}
	return state;
}

typedef struct Count
{
	Server *server;
	int n;
} Count;

static bool
is_counted(void *arg)
{
	const Count *count = arg;

	return server_count(count->server, NULL, NULL) >= count->n;
}

void
identity_drive(Identity *identity, int n)
{
	Count count = {identity->server, n};

	host_watch(identity->http, is_counted, &count);
	host_drive_for(identity->http, 20);
}

/* ---- the server's rules ---- */

const char *
identity_time(int seconds)
{
	static char text[32];
	time_t when = time(NULL) + seconds;
	struct tm tm;

	gmtime_r(&when, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return text;
}

void
identity_json(Identity *identity, const char *target, int times,
			  const char *id, int expires_in)
{
	char body[1000];

	snprintf(body, sizeof(body),
			 "{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : "
			 "\"2026-01-01T00:00:00Z\",\n  \"Type\" : \"AWS-HMAC\",\n"
			 "  \"AccessKeyId\" : \"%s\",\n  \"SecretAccessKey\" : \"%s\",\n"
			 "  \"Token\" : \"%s\",\n  \"Expiration\" : \"%s\"\n}",
			 id, SECRET, TOKEN, identity_time(expires_in));
	server_rule(identity->server, (ServerRule){.method = "GET",
											   .target = target,
											   .times = times,
											   .status = 200,
											   .body = body});
}

void
identity_sts(Identity *identity, int times, const char *id, int expires_in)
{
	char body[1500];

	snprintf(body, sizeof(body),
			 "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/"
			 "2011-06-15/\"><AssumeRoleResult><Credentials><AccessKeyId>%s"
			 "</AccessKeyId><SecretAccessKey>%s</SecretAccessKey>"
			 "<SessionToken>%s</SessionToken><Expiration>%s</Expiration>"
			 "</Credentials></AssumeRoleResult></AssumeRoleResponse>",
			 id, SECRET, TOKEN, identity_time(expires_in));
	server_rule(identity->server, (ServerRule){.method = "POST",
											   .times = times,
											   .status = 200,
											   .body = body});
}

void
identity_refuse(Identity *identity, const char *target, int times, int status,
				const char *body)
{
	server_rule(identity->server, (ServerRule){.target = target,
											   .times = times,
											   .status = status,
											   .body = body});
}

/* ---- assertions ---- */

static bool
same(const char *a, const char *b)
{
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

void
assert_ready_at(Identity *identity, const char *id, const char *secret,
				const char *token, const char *file, int line)
{
	ObProviderState state = identity_wait(identity);
	const ObCredentials *keys = ob_provider_get(identity->provider);

	if (state == OB_PROVIDER_READY && keys && same(keys->access_key_id, id) &&
		same(keys->secret_access_key, secret) &&
		same(keys->session_token, token) &&
		ob_provider_origin(identity->provider)[0] != '\0')
		return;
	print_error("state %d, \"%s\", keys %s %s %s\n", (int) state,
				identity->error.cause, keys ? keys->access_key_id : "-",
				keys ? keys->secret_access_key : "-",
				keys && keys->session_token ? keys->session_token : "-");
	_fail(file, line);
}

void
assert_failed_at(Identity *identity, const char *part, const char *file,
				 int line)
{
	ObProviderState state = identity_wait(identity);
	const ObError *error = &identity->error;

	if (state == OB_PROVIDER_FAILED && error->code == OB_ECREDS &&
		strstr(error->cause, part) && !strstr(error->cause, "canary") &&
		!strstr(error->what, "canary") && error->s3_code[0] == '\0' &&
		!ob_provider_get(identity->provider))
		return;
	print_error("state %d, code %s, \"%s\", wanted \"%s\"\n", (int) state,
				ob_code_name(error->code), error->cause, part);
	_fail(file, line);
}

const char *
identity_form(const ServerRequest *request, const char *name)
{
	static char values[4][4096];
	static int next;
	char *value = values[next++ % 4];
	char *to = value;
	size_t len = strlen(name);
	const char *at = request->body;

	while (at && !(strncmp(at, name, len) == 0 && at[len] == '='))
		at = strchr(at, '&') ? strchr(at, '&') + 1 : NULL;
	for (at = at ? at + len + 1 : ""; *at != '\0' && *at != '&'; at++)
	{
		unsigned byte;

		if (*at == '%' && sscanf(at + 1, "%2x", &byte) == 1)
		{
			*to++ = (char) byte;
			at += 2;
		}
		else
			*to++ = *at;
	}
	*to = '\0';
	return value;
}

/* Signs the received request with the same keys, and compares. */
void
assert_signed_at(Identity *identity, int n, const char *id, const char *secret,
				 const char *token, const char *file, int line)
{
	const ServerRequest *request =
		server_request(identity->server, NULL, NULL, n);
	char values[4][600];
	char sent[2000];
	struct tm tm = {0};
	ObPair headers[] = {{"host", values[0]},
						{"content-type", values[1]},
						{"x-amz-date", values[2]},
						{"x-amz-security-token", values[3]}};
	ObCredentials keys = {id, secret, token};
	ObSignRequest sign = {.method = "POST",
						  .path = "/",
						  .query = "",
						  .headers = headers,
						  .nheaders = token ? 4 : 3,
						  .region = "eu-west-1",
						  .service = "sts"};
	ObSigningKey cache = {0};
	ObBuf authorization;
	ObError error = {0};
	bool good = request && strcmp(request->target, "/") == 0;

	if (!good)
		_fail(file, line);
	for (int i = 0; i < 4; i++)
		server_header(request, headers[i].name, values[i], sizeof(values[i]));
	server_header(request, "authorization", sent, sizeof(sent));
	assert_non_null(strptime(values[2], "%Y%m%dT%H%M%SZ", &tm));
	sign.when = timegm(&tm);
	sign.payload_hash = request->sha256;
	ob_buf_init(&authorization, 4096);
	assert_int_equal(ob_sigv4_sign(&cache, &keys, &sign, NULL, NULL,
								   &authorization, &error),
					 OB_OK);
	good = strcmp(values[3], token ? token : "") == 0 &&
		   strcmp(sent, authorization.data) == 0;
	if (!good)
		print_error("signed %s\nwanted %s\n", sent, authorization.data);
	ob_buf_free(&authorization);
	if (!good)
		_fail(file, line);
}
