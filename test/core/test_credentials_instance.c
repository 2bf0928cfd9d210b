/*
 * test_credentials_instance.c
 *		EC2's metadata service, version 2, and all its ways to fail.
 *
 * test/core/test_credentials_instance.c
 */
#include "identity.h"

#include <unistd.h>

#include "core/aws/credentials_intern.h"

#define TOKEN_PATH "/latest/api/token"
#define ROLES_PATH "/latest/meta-data/iam/security-credentials/"
#define SESSION "canary-imds-token=="

static void
use_instance(Identity *identity)
{
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s", identity->url);
	identity_use_source(identity, OB_CREDENTIALS_INSTANCE);
}

/* The three responses, this number of times. */
static void
serve_token(Identity *identity, int times, const char *token)
{
	server_rule(identity->server,
				(ServerRule){.method = "PUT",
							 .target = TOKEN_PATH,
							 .times = times,
							 .status = 200,
							 .headers = "Content-Type: text/plain\r\n"
										"x-aws-ec2-metadata-token-ttl-seconds:"
										" 21600\r\n",
							 .body = token});
}

static void
serve_instance(Identity *identity, const char *id, int expires_in)
{
	serve_token(identity, 0, SESSION);
	identity_json(identity, ROLES_PATH "lake", 0, id, expires_in);
	identity_refuse(identity, ROLES_PATH, 0, 200, "lake");
}

static const char *
header(Identity *identity, int n, const char *name)
{
	static char value[100];

	server_header(server_request(identity->server, NULL, NULL, n), name, value,
				  sizeof(value));
	return value;
}

/* The requests so far are these, as "PUT /a;GET /b;", and no others. */
static void
assert_requests(Identity *identity, const char *wanted)
{
	char got[2000] = "";
	const ServerRequest *request;

	for (int n = 0;
		 (request = server_request(identity->server, NULL, NULL, n)); n++)
		sprintf(got + strlen(got), "%s %s;", request->method, request->target);
	assert_string_equal(got, wanted);
	assert_int_equal(server_unexpected(identity->server), 0);
}

#define ASK_TOKEN "PUT " TOKEN_PATH ";"
#define ASK_ROLE "GET " ROLES_PATH ";"
#define ASK_KEYS "GET " ROLES_PATH "lake;"

/* ---- the usual case ---- */

static void
three_requests(void **state)
{
	Identity *identity = *state;

	serve_instance(identity, ID, 6 * 3600);
	use_instance(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"instance metadata (role lake)");
	assert_in_range(ob_provider_expires(identity->provider),
					time(NULL) + 6 * 3600 - 10, time(NULL) + 6 * 3600);
	assert_requests(identity, ASK_TOKEN ASK_ROLE ASK_KEYS);
	assert_string_equal(
		header(identity, 0, "x-aws-ec2-metadata-token-ttl-seconds"), "21600");
	assert_string_equal(header(identity, 0, "x-aws-ec2-metadata-token"), "");
	assert_string_equal(header(identity, 0, "content-length"), "0");
	for (int n = 1; n < 3; n++)
		assert_string_equal(header(identity, n, "x-aws-ec2-metadata-token"),
							SESSION);
}

/* In an outage of its own, the service returns expired keys, which are used
 * for some minutes each time. */
static void
expired_ones_are_used(void **state)
{
	Identity *identity = *state;

	serve_instance(identity, ID, -3600);
	use_instance(identity);
	for (int i = 0; i < 20; i++)
	{
		int64_t now = time(NULL);

		assert_ready(identity, ID, SECRET, TOKEN);
		assert_in_range(ob_provider_expires(identity->provider), now + 300,
						now + 700);
		use_instance(identity);
	}
}

/* A name in its usual form, and with the blanks of a careless file. */
static void
names_of_roles(void **state)
{
	static const struct
	{
		const char *body;
		const char *path;
		const char *origin;
	} rows[] = {
		{"lake\n", "lake", "instance metadata (role lake)"},
		{"lake\r\nother\n", "lake", "instance metadata (role lake)"},
		{"a+b=c,d.e@f-g_h", "a%2Bb%3Dc%2Cd.e%40f-g_h",
		 "instance metadata (role a+b=c,d.e@f-g_h)"},
		{"../../user-data", "..%2F..%2Fuser-data",
		 "instance metadata (role ../../user-data)"},
		{"x?y#z", "x%3Fy%23z", "instance metadata (role x?y#z)"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char path[200];

		server_reset(identity->server);
		snprintf(path, sizeof(path), ROLES_PATH "%s", rows[i].path);
		serve_token(identity, 0, SESSION);
		identity_json(identity, path, 0, ID, 3600);
		identity_refuse(identity, ROLES_PATH, 0, 200, rows[i].body);
		use_instance(identity);
		assert_ready(identity, ID, SECRET, TOKEN);
		assert_string_equal(ob_provider_origin(identity->provider),
							rows[i].origin);
		assert_string_equal(
			server_request(identity->server, NULL, NULL, 2)->target, path);
	}
}

/* The token is kept for its lifetime, but the role is requested again. */
static void
token_is_kept(void **state)
{
	Identity *identity = *state;

	server_rule(identity->server,
				(ServerRule){.target = TOKEN_PATH,
							 .times = 1,
							 .status = 200,
							 .headers = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds:"
										" 7200\r\n",
							 .body = SESSION});
	serve_token(identity, 1, "canary-second");
	identity_json(identity, ROLES_PATH "lake", 1, ID, 3600);
	identity_json(identity, ROLES_PATH "lake", 1, "AKSECOND", 7190);
	identity_json(identity, ROLES_PATH "lake", 1, "AKTHIRD", 9000);
	identity_refuse(identity, ROLES_PATH, 0, 200, "lake");
	use_instance(identity);
	assert_ready(identity, ID, SECRET, TOKEN);

	ob_provider_set_clock_offset(identity->provider, 3500);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_drive(identity, 5);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_requests(identity, ASK_TOKEN ASK_ROLE ASK_KEYS ASK_ROLE ASK_KEYS);

	/* five seconds before its end, it counts as expired */
	ob_provider_set_clock_offset(identity->provider, 7196);
	assert_ready(identity, "AKTHIRD", SECRET, TOKEN);
	assert_requests(identity, ASK_TOKEN ASK_ROLE ASK_KEYS ASK_ROLE ASK_KEYS
								  ASK_TOKEN ASK_ROLE ASK_KEYS);
	assert_string_equal(header(identity, 7, "x-aws-ec2-metadata-token"),
						"canary-second");
}

/* A 401 leads to another token, once, for either request. */
static void
token_is_refused(void **state)
{
	static const struct
	{
		const char *path;
		int times;
		const char *requests;
		const char *cause;
	} rows[] = {
		{ROLES_PATH, 1, ASK_TOKEN ASK_ROLE ASK_TOKEN ASK_ROLE ASK_KEYS, NULL},
		{ROLES_PATH "lake", 1,
		 ASK_TOKEN ASK_ROLE ASK_KEYS ASK_TOKEN ASK_ROLE ASK_KEYS, NULL},
		{ROLES_PATH, 2, ASK_TOKEN ASK_ROLE ASK_TOKEN ASK_ROLE,
		 "HTTP status 401"},
		{ROLES_PATH "lake", 2,
		 ASK_TOKEN ASK_ROLE ASK_KEYS ASK_TOKEN ASK_ROLE ASK_KEYS,
		 "HTTP status 401"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		/* a rule for the roles also matches their names: so that comes
		 * first */
		bool named = strcmp(rows[i].path, ROLES_PATH) != 0;

		server_reset(identity->server);
		serve_token(identity, 1, "canary-first");
		serve_token(identity, 0, SESSION);
		if (!named)
			identity_json(identity, ROLES_PATH "lake", 0, ID, 3600);
		identity_refuse(identity, rows[i].path, rows[i].times, 401, "canary");
		if (named)
			identity_json(identity, ROLES_PATH "lake", 0, ID, 3600);
		identity_refuse(identity, ROLES_PATH, 0, 200, "lake");
		use_instance(identity);
		if (rows[i].cause)
			assert_failed(identity, rows[i].cause);
		else
			assert_ready(identity, ID, SECRET, TOKEN);
		assert_requests(identity, rows[i].requests);
	}
}

/* ---- endpoints ---- */

static void
endpoints(void **state)
{
	Identity *identity = *state;

	/* a path before ours, and one that ends with a slash */
	identity_json(identity, "/stub" ROLES_PATH "lake", 0, ID, 3600);
	identity_refuse(identity, "/stub" ROLES_PATH, 0, 200, "lake");
	identity_refuse(identity, "/stub" TOKEN_PATH, 0, 200, SESSION);
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s/stub/",
				 identity->url);
	/* the endpoint overrides the mode */
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6");
	identity_use_source(identity, OB_CREDENTIALS_INSTANCE);
	assert_ready(identity, ID, SECRET, TOKEN);

	unsetenv("AWS_EC2_METADATA_SERVICE_ENDPOINT");
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv5");
	identity_use_source(identity, OB_CREDENTIALS_INSTANCE);
	assert_failed(identity, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE is "
							"neither IPv4 nor IPv6");
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://u:canary@x/");
	identity_use_source(identity, OB_CREDENTIALS_INSTANCE);
	assert_failed(identity, "AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL");
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254");
	identity_use_source(identity, OB_CREDENTIALS_INSTANCE);
	assert_failed(identity, "has no scheme");
}

/* Nothing is sent there, since this machine may be an EC2 instance. */
static void
usual_endpoints(void **state)
{
	static const struct
	{
		const char *given;
		const char *mode;
		const char *url;
	} rows[] = {
		{NULL, NULL, "http://169.254.169.254"},
		{NULL, "ipv4", "http://169.254.169.254"},
		{NULL, "IPv6", "http://[fd00:ec2::254]"},
		{"https://[::1]:8443", "IPv6", "https://[::1]:8443"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error;
		char url[100];

		ob_error_clear(&error);
		assert_int_equal(ob_instance_endpoint(rows[i].given, rows[i].mode,
											  &endpoint, &error),
						 OB_OK);
		ob_endpoint_name(&endpoint, url, sizeof(url));
		assert_string_equal(url, rows[i].url);
	}
}

static void
switched_off(void **state)
{
	static const char *const values[] = {"true", "TRUE", "True"};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(values); i++)
	{
		identity_env("AWS_EC2_METADATA_DISABLED", "%s", values[i]);
		use_instance(identity);
		assert_int_equal(identity_poll(identity), OB_PROVIDER_FAILED);
		assert_failed(identity, "switched off by AWS_EC2_METADATA_DISABLED");
	}
	assert_requests(identity, "");
	identity_env("AWS_EC2_METADATA_DISABLED", "false");
	serve_instance(identity, ID, 3600);
	use_instance(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
}

static void
never_through_a_proxy(void **state)
{
	Identity *identity = *state;
	ObHttpOptions options = {.user_agent = "a",
							 .proxy = "http://127.0.0.1:1",
							 .connect_timeout_ms = 5000,
							 .stall_timeout_ms = 5000,
							 .max_connections = 1};

	identity_use_http(identity, &options);
	serve_instance(identity, ID, 3600);
	use_instance(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
}

/* ---- failures ---- */

/* Version 1 would be a GET without a token: in no case is one sent. */
static void
no_token(void **state)
{
	static const struct
	{
		int status;
		const char *body;
		int requests;
		const char *cause;
	} rows[] = {
		{400, "canary", 1, "HTTP status 400"},
		{403, "canary", 1, "HTTP status 403"},
		{404, "canary", 1, "HTTP status 404"},
		{405, "canary", 1, "HTTP status 405"},
		{301, "canary", 1, "HTTP status 301"},
		{500, "canary", 3, "HTTP status 500 (after 3 attempts)"},
		{503, "canary", 3, "HTTP status 503 (after 3 attempts)"},
		{200, "", 1, "its token is not of printable ASCII"},
		{200, "canary\r\nX-Evil: 1", 1, "its token is not of printable"},
		{200, "canary canary", 1, "its token is not of printable"},
		{200, "<html>\ncanary</html>", 1, "its token is not of printable"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(identity->server);
		identity_refuse(identity, TOKEN_PATH, 0, rows[i].status, rows[i].body);
		identity_refuse(identity, ROLES_PATH, 0, 200, "lake");
		use_instance(identity);
		assert_failed(identity, rows[i].cause);
		assert_failed(identity, "the instance metadata service at http://127");
		assert_null(strstr(identity->error.cause, "outside of EC2"));
		assert_int_equal(server_count(identity->server, NULL, NULL),
						 rows[i].requests);
		assert_int_equal(server_count(identity->server, "GET", NULL), 0);
	}
	server_reset(identity->server);
	server_rule(identity->server, (ServerRule){.target = TOKEN_PATH,
											   .status = 200,
											   .body = "canary\0x",
											   .body_len = 8});
	use_instance(identity);
	assert_failed(identity, "its token is not of printable");
}

static void
no_role(void **state)
{
	static const struct
	{
		int status;
		const char *body;
		const char *cause;
	} rows[] = {
		{404, "canary", "the instance has no role"},
		{403, "canary", "HTTP status 403"},
		{500, "canary", "HTTP status 500 (after 3 attempts)"},
		{200, "", "invalid role name in the response"},
		{200, "\nlake", "invalid role name in the response"},
		{200, "<html> canary", "invalid role name in the response"},
		{200, "la\x01ke", "invalid role name in the response"},
		{200, SESSION, "invalid role name in the response"},
		{200,
		 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
		 "invalid role name in the response"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(identity->server);
		serve_token(identity, 0, SESSION);
		identity_refuse(identity, ROLES_PATH, 0, rows[i].status, rows[i].body);
		use_instance(identity);
		assert_failed(identity, rows[i].cause);
		assert_failed(identity, "the instance metadata service at http://127");
	}
}

static void
no_keys(void **state)
{
	static const struct
	{
		int status;
		const char *body;
		const char *cause;
	} rows[] = {
		{404, "canary",
		 "it has no credentials for the instance's role \"lake\""},
		{500, "canary", "HTTP status 500 (after 3 attempts)"},
		{200, "", "the JSON response is malformed or truncated"},
		{200, "<html>canary", "the JSON response is malformed"},
		{200,
		 "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"EC2 cannot "
		 "assume the role canary\"}",
		 "the response's Code is AssumeRoleUnauthorizedAccess"},
		{200, "{\"Code\":\"" SESSION "\"}",
		 "the response's Code is not Success"},
		{200, "{\"Code\":\"Success\"}", "access key id is missing"},
		{200,
		 "{\"Code\":\"Success\",\"AccessKeyId\":\"AK\","
		 "\"SecretAccessKey\":\"canary\",\"Token\":\"canary\"}",
		 "the response has no Token or no Expiration"},
		{200,
		 "{\"Code\":\"Success\",\"AccessKeyId\":\"AK\","
		 "\"SecretAccessKey\":\"canary\","
		 "\"Expiration\":\"2099-01-01T00:00:00Z\"}",
		 "the response has no Token or no Expiration"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(identity->server);
		serve_token(identity, 0, SESSION);
		identity_refuse(identity, ROLES_PATH "lake", 0, rows[i].status,
						rows[i].body);
		identity_refuse(identity, ROLES_PATH, 0, 200, "lake");
		use_instance(identity);
		assert_failed(identity, rows[i].cause);
	}
}

/* Each of the three requests fails twice with 500, and then succeeds. */
static void
failures_that_pass(void **state)
{
	static const char *const paths[] = {TOKEN_PATH, ROLES_PATH "lake",
										ROLES_PATH};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(paths); i++)
	{
		server_reset(identity->server);
		if (i == 2)
			identity_json(identity, ROLES_PATH "lake", 0, ID, 3600);
		identity_refuse(identity, paths[i], 2, 500, "oops");
		serve_instance(identity, ID, 3600);
		use_instance(identity);
		assert_ready(identity, ID, SECRET, TOKEN);
		assert_int_equal(server_count(identity->server, NULL, NULL), 5);
	}
}

/* If the last request hangs, the error comes within 5 s and says so.  (The
 * test uses the clock of the driving, so a busy machine makes no
 * difference.) */
static void
last_request_hangs(void **state)
{
	Identity *identity = *state;
	int64_t begin = ob_http_clock_ms(identity->http);

	server_rule(identity->server,
				(ServerRule){.target = ROLES_PATH "lake", .act = SERVER_HOLD});
	serve_instance(identity, ID, 3600);
	use_instance(identity);
	assert_failed(identity, "no complete response was received within");
	assert_in_range(ob_http_clock_ms(identity->http) - begin, 4000, 5000);
}

static bool
is_requested(void *arg)
{
	Identity *identity = arg;

	return server_count(identity->server, NULL, NULL) > identity->woken;
}

/* If a host computes between its drives for longer than all time-outs, that is
 * no waiting time. */
static void
host_is_away(void **state)
{
	Identity *identity = *state;

	server_rule(identity->server, (ServerRule){.target = TOKEN_PATH,
											   .status = 200,
											   .delay_ms = 300,
											   .body = SESSION});
	serve_instance(identity, ID, 3600);
	use_instance(identity);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_BUSY);
	host_watch(identity->http, is_requested, identity);
	usleep(5000 * 1000);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_requests(identity, ASK_TOKEN ASK_ROLE ASK_KEYS);
}

static void
no_service(void **state)
{
	Identity *identity = *state;

	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
	identity_use_source(identity, OB_CREDENTIALS_INSTANCE);
	assert_failed(identity,
				  "the instance metadata service at http://127.0.0.1:1: ");
	assert_failed(identity, "(after 3 attempts); nothing answers outside of "
							"EC2");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IDENTITY_TEST(three_requests),
		IDENTITY_TEST(names_of_roles),
		IDENTITY_TEST(expired_ones_are_used),
		IDENTITY_TEST(token_is_kept),
		IDENTITY_TEST(token_is_refused),
		IDENTITY_TEST(endpoints),
		IDENTITY_TEST(usual_endpoints),
		IDENTITY_TEST(switched_off),
		IDENTITY_TEST(never_through_a_proxy),
		IDENTITY_TEST(no_token),
		IDENTITY_TEST(no_role),
		IDENTITY_TEST(no_keys),
		IDENTITY_TEST(failures_that_pass),
		IDENTITY_TEST(last_request_hangs),
		IDENTITY_TEST(host_is_away),
		IDENTITY_TEST(no_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
