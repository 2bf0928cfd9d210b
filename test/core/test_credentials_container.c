/*
 * test_credentials_container.c
 *		Credentials of a container: the targets and forms of requests.
 *
 * test/core/test_credentials_container.c
 */
#include "identity.h"

#include "core/aws/credentials_intern.h"

static void
use_container(Identity *identity)
{
	identity_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s/v1/keys?a=b",
				 identity->url);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
}

/* ---- targets ---- */

static void
targets(void **state)
{
	static const struct
	{
		const char *relative;
		const char *full;
		const char *url;
	} rows[] = {
		{"/v2/credentials/1-2", NULL,
		 "http://169.254.170.2|/v2/credentials/1-2"},
		{"/a?b=c&d", "http://127.0.0.1/", "http://169.254.170.2|/a?b=c&d"},
		{"/@evil.example/", NULL, "http://169.254.170.2|/@evil.example/"},
		{NULL, "http://127.0.0.1/a", "http://127.0.0.1|/a"},
		{NULL, "http://127.9.8.7:80/", "http://127.9.8.7:80|/"},
		{NULL, "http://127.0.0.1", "http://127.0.0.1|/"},
		{NULL, "http://127.0.0.1?a=b", "http://127.0.0.1|/?a=b"},
		{NULL, "http://127.0.0.1:51679/a/../b?c=d/e?f",
		 "http://127.0.0.1:51679|/a/../b?c=d/e?f"},
		{NULL, "http://localhost:1338/x", "http://localhost:1338|/x"},
		{NULL, "HTTP://LOCALHOST/x", "http://LOCALHOST|/x"},
		{NULL, "http://[::1]:8080/x", "http://[::1]:8080|/x"},
		{NULL, "http://[0:0:0:0:0:0:0:1]/x", "http://[0:0:0:0:0:0:0:1]|/x"},
		{NULL, "http://169.254.170.2/x", "http://169.254.170.2|/x"},
		{NULL, "http://169.254.170.23/v1/credentials",
		 "http://169.254.170.23|/v1/credentials"},
		{NULL, "http://[fd00:ec2::23]/v1/credentials",
		 "http://[fd00:ec2::23]|/v1/credentials"},
		{NULL, "https://example.com/x", "https://example.com|/x"},
		{NULL, "https://169.254.169.254:8443/x",
		 "https://169.254.169.254:8443|/x"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObEndpoint endpoint;
		ObError error;
		ObBuf target;
		char url[300];

		ob_error_clear(&error);
		ob_buf_init(&target, 8192);
		assert_row(rows[i].url,
				   ob_container_target(rows[i].relative, rows[i].full,
									   &endpoint, &target, &error) == OB_OK);
		ob_endpoint_name(&endpoint, url, sizeof(url));
		strcat(url, "|");
		strcat(url, target.data);
		assert_string_equal(url, rows[i].url);
		ob_buf_free(&target);
	}
}

/* These targets are refused before any request. */
static void
refused_targets(void **state)
{
	static const char elsewhere[] = "a host that is neither this one nor";
	static const struct
	{
		const char *relative;
		const char *full;
		const char *cause;
	} rows[] = {
		{NULL, "http://example.com/canary", elsewhere},
		{NULL, "http://169.254.169.254/canary", elsewhere},
		{NULL, "http://169.254.170.3/", elsewhere},
		{NULL, "http://10.0.0.1/", elsewhere},
		{NULL, "http://0.0.0.0/", elsewhere},
		{NULL, "http://128.0.0.1/", elsewhere},
		{NULL, "http://[::]/", elsewhere},
		{NULL, "http://[::2]/", elsewhere},
		{NULL, "http://[fd00:ec2::254]/", elsewhere},
		{NULL, "http://[::ffff:127.0.0.1]/", elsewhere},
		/* names and unusual numbers that could mean this host */
		{NULL, "http://localhost.example.com/", elsewhere},
		{NULL, "http://localhost./", elsewhere},
		{NULL, "http://127.0.0.1.example.com/", elsewhere},
		{NULL, "http://127.1/", elsewhere},
		{NULL, "http://2130706433/", elsewhere},
		{NULL, "http://0x7f.0.0.1/", elsewhere},
		{NULL, "http://0177.0.0.1/", elsewhere},
		{NULL, "http://127.0.0.1@example.com/", "user information"},
		{NULL, "http://user:canary@127.0.0.1/", "user information"},
		{NULL, "http://example.com#@127.0.0.1/", elsewhere},
		{NULL, "http://example.com\\@127.0.0.1/", "user information"},
		{NULL, "http://127.0.0.1:99999/", "port"},
		{NULL, "http:///canary", "empty host"},
		{NULL, "http://[::1/canary", "in brackets"},
		{NULL, "ftp://127.0.0.1/canary", "neither https nor http"},
		{NULL, "file:///canary", "neither https nor http"},
		{NULL, "127.0.0.1/canary", "no scheme"},
		{NULL, "/canary", "no scheme"},
		{NULL, "http://127.0.0.1/canary b", "must be percent-encoded"},
		{NULL, "http://127.0.0.1/canary\r\nX: y", "must be percent-encoded"},
		{NULL, "http://127.0.0.1/canary\xC3\xA4", "must be percent-encoded"},
		{NULL, "http://127.0.0.1/canary#x", "must be percent-encoded"},
		{NULL, "http://127.0.0.1\r\n/", "a blank or a control character"},
		{"canary", NULL, "does not begin with \"/\""},
		{"@example.com/canary", NULL, "does not begin with \"/\""},
		{":80/canary", NULL, "does not begin with \"/\""},
		{"/canary b", NULL, "must be percent-encoded"},
		{"/canary\r\nX: y", NULL, "must be percent-encoded"},
		{"/canary#", NULL, "must be percent-encoded"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		unsetenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
		if (rows[i].relative)
			identity_env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "%s",
						 rows[i].relative);
		unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
		if (rows[i].full)
			identity_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s",
						 rows[i].full);
		identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s/none",
					 identity->home);
		identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
		/* the error comes at once: no request was started */
		assert_int_equal(identity_poll(identity), OB_PROVIDER_FAILED);
		assert_failed(identity, rows[i].cause);
	}
	assert_int_equal(ob_http_timeout_ms(identity->http), -1);
}

static void
long_paths(void **state)
{
	ObEndpoint endpoint;
	ObBuf target;
	char path[3000];

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	for (size_t max = sizeof(path) - 2; max < sizeof(path); max++)
	{
		ObError error;
		bool fits = max == sizeof(path) - 1;

		ob_error_clear(&error);
		ob_buf_init(&target, max);
		assert_int_equal(
			ob_container_target(path, NULL, &endpoint, &target, &error),
			fits ? OB_OK : OB_ECREDS);
		ob_buf_free(&target);
	}
}

/* ---- requests ---- */

static void
ecs(void **state)
{
	Identity *identity = *state;
	const ServerRequest *request;
	char value[100];

	identity_json(identity, "/v1/keys?a=b", 0, ID, 3600);
	use_container(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider), "container");
	assert_in_range(ob_provider_expires(identity->provider), time(NULL) + 3590,
					time(NULL) + 3600);
	request = server_request(identity->server, NULL, NULL, 0);
	assert_string_equal(request->method, "GET");
	assert_string_equal(request->target, "/v1/keys?a=b");
	assert_int_equal(server_header(request, "Accept", value, sizeof(value)),
					 1);
	assert_string_equal(value, "application/json");
	assert_int_equal(
		server_header(request, "Authorization", value, sizeof(value)), 0);
}

/* Neither a proxy in the options nor one in the environment is used. */
static void
never_through_a_proxy(void **state)
{
	Identity *identity = *state;
	ObHttpOptions options = {.user_agent = "a",
							 .proxy = "http://127.0.0.1:1",
							 .ca_file = "/nonexistent",
							 .connect_timeout_ms = 5000,
							 .stall_timeout_ms = 5000,
							 .max_connections = 1};

	identity_use_http(identity, &options);
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	identity_json(identity, "/v1/keys", 0, ID, 3600);
	use_container(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
	unsetenv("http_proxy");
}

static const char *
authorization(Identity *identity, int n)
{
	static char value[100];

	server_header(server_request(identity->server, NULL, NULL, n),
				  "Authorization", value, sizeof(value));
	return value;
}

/* The file has priority, and is read for each attempt. */
static void
authorization_tokens(void **state)
{
	Identity *identity = *state;

	identity_refuse(identity, "/keys", 1, 500, "");
	identity_json(identity, "/keys", 1, ID, 3600);
	identity_json(identity, "/keys", 0, "AKSECOND", 7200);
	identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic canary=");
	use_container(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(authorization(identity, 0), "Basic canary=");
	assert_string_equal(authorization(identity, 1), "Basic canary=");

	identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s",
				 identity_file(identity, "token", "canary-one"));
	use_container(identity);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_string_equal(authorization(identity, 2), "canary-one");

	identity_file(identity, "token", "canary-two");
	ob_provider_set_clock_offset(identity->provider, 7000);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	identity_drive(identity, 4);
	assert_string_equal(authorization(identity, 3), "canary-two");
}

static void
tokens_that_no_header_takes(void **state)
{
	static const char *const tokens[] = {
		"canary\n",   "canary\r\nX-Evil: 1", "canary\r",
		"canary\tab", "canary\x7f",          "canary\xC3\xA4",
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(tokens); i++)
	{
		identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "%s", tokens[i]);
		use_container(identity);
		assert_failed(identity, "the authorization token has a line break or "
								"another character");
		identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s",
					 identity_file(identity, "token", tokens[i]));
		use_container(identity);
		assert_failed(identity, "the authorization token has a line break");
		unsetenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
	}
	identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s",
				 identity_file(identity, "token", ""));
	use_container(identity);
	assert_failed(identity, "/token\" is empty");
	identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/nonexistent");
	use_container(identity);
	assert_failed(identity, "could not open file \"/nonexistent\"");
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);
}

/* ---- responses ---- */

#define FOUR                                                   \
	"\"AccessKeyId\":\"" ID "\",\"SecretAccessKey\":\"" SECRET \
	"\",\"Token\":\"" TOKEN "\",\"Expiration\":\"2099-01-01T00:00:00Z\""

static void
other_responses(void **state)
{
	static const struct
	{
		const char *body;
		const char *token;
		bool expires;
	} rows[] = {
		{"{" FOUR "}", TOKEN, true},
		{"{" FOUR ",\"RoleArn\":\"x\",\"AccountId\":1,\"z\":[{}]}", TOKEN,
		 true},
		{"{\"AccessKeyId\":\"" ID "\",\"SecretAccessKey\":\"" SECRET "\"}",
		 NULL, false},
		{"{\"AccessKeyId\":\"" ID "\",\"SecretAccessKey\":\"" SECRET
		 "\",\"Token\":\"\",\"Expiration\":null}",
		 NULL, false},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(identity->server);
		identity_refuse(identity, "/keys", 0, 200, rows[i].body);
		use_container(identity);
		assert_ready(identity, ID, SECRET, rows[i].token);
		assert_int_equal(ob_provider_expires(identity->provider) > 0,
						 rows[i].expires);
		/* without an expiry they are fetched for each export */
		ob_provider_reset(identity->provider);
		assert_ready(identity, ID, SECRET, rows[i].token);
		assert_int_equal(server_count(identity->server, NULL, NULL),
						 rows[i].expires ? 1 : 2);
	}
}

static void
hostile_responses(void **state)
{
	static const struct
	{
		int status;
		const char *body;
		int requests;
		const char *cause;
	} rows[] = {
		{200, "", 1, "the JSON response is malformed or truncated"},
		{200, "canary", 1, "the JSON response is malformed"},
		{200, "<html>canary</html>", 1, "the JSON response is malformed"},
		{200, "[]", 1, "the JSON response is malformed"},
		{200, "{" FOUR, 1, "the JSON response is malformed or truncated"},
		{200, "{" FOUR "} canary", 1, "has text after its end"},
		{200, "{}", 1, "the response's access key id is missing"},
		{200, "{\"AccessKeyId\":\"AK\"}", 1,
		 "the response's secret access key is missing"},
		{200, "{\"AccessKeyId\":1}", 1, "AccessKeyId is not a text"},
		{200, "{\"SecretAccessKey\":[\"canary\"]}", 1,
		 "SecretAccessKey is not a text"},
		{200, "{\"Token\":{\"canary\":0}}", 1, "Token is not a text"},
		{200, "{\"Expiration\":4102444800}", 1, "Expiration is not a text"},
		{200, "{\"Token\":\"canary\\u0000\"}", 1, "has a NUL in a text"},
		{200, "{" FOUR ",\"Token\":\"canary\"}", 1, "Token more than once"},
		{200, "{\"AccessKeyId\":\"A\\nB\",\"SecretAccessKey\":\"canary\"}", 1,
		 "the response's access key id is not of printable"},
		{200, "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"canary\\r\\nx\"}",
		 1, "the response's secret access key is not of printable"},
		{200,
		 "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"canary\","
		 "\"Token\":\"canary canary\"}",
		 1, "the response's session token is not of printable"},
		{200,
		 "{\"AccessKeyId\":\"AK\",\"SecretAccessKey\":\"canary\","
		 "\"Expiration\":\"canary\"}",
		 1, "the response's Expiration is invalid"},
		{200, "{\"Code\":\"AccessDenied\"," FOUR "}", 1,
		 "the response's Code is AccessDenied"},
		{200, "{\"Code\":\"canary-told\"," FOUR "}", 1,
		 "the response's Code is not Success"},
		{200, "{\"Code\":\"no code\"}", 1,
		 "the response's Code is not Success"},
		{200,
		 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		 1, "malformed"},
		{200,
		 "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
		 1, "nested too deeply"},
		{400, "{\"code\":\"InvalidTaskId\",\"message\":\"canary\"}", 1,
		 "HTTP status 400, InvalidTaskId"},
		{400, "{\"code\":\"canary-told\"}", 1, "HTTP status 400"},
		{400, "{\"code\":7}", 1, "HTTP status 400"},
		{403, "canary", 1, "HTTP status 403"},
		{404, "", 1, "HTTP status 404"},
		{204, "", 1, "HTTP status 204"},
		{302, "", 1, "HTTP status 302"},
		{500, "canary", 3, "HTTP status 500 (after 3 attempts)"},
		{503, "{\"code\":\"Busy\"}", 3, "HTTP status 503, Busy (after 3"},
	};
	Identity *identity = *state;

	identity_env("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary-told");
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(identity->server);
		server_rule(
			identity->server,
			(ServerRule){.status = rows[i].status,
						 .headers = "Location: http://127.0.0.1:1/\r\n",
						 .body = rows[i].body});
		use_container(identity);
		assert_failed(identity, rows[i].cause);
		assert_failed(identity,
					  "the container's credentials, from http://127.0.0.1:");
		assert_null(strstr(identity->error.cause, "keys"));
		assert_int_equal(server_count(identity->server, NULL, NULL),
						 rows[i].requests);
	}
}

/* Each prefix of a good response is refused, except for the whole. */
static void
responses_that_are_cut(void **state)
{
	static const char body[] = "{" FOUR "}";
	Identity *identity = *state;

	for (size_t cut = 0; cut < sizeof(body) - 1; cut += 7)
	{
		server_reset(identity->server);
		server_rule(identity->server, (ServerRule){.act = SERVER_CUT,
												   .status = 200,
												   .times = 1,
												   .body = body,
												   .cut = cut});
		server_rule(identity->server,
					(ServerRule){.status = 200, .body = body});
		use_container(identity);
		assert_ready(identity, ID, SECRET, TOKEN);
		assert_int_equal(server_count(identity->server, NULL, NULL), 2);
	}
}

static void
responses_of_odd_sizes(void **state)
{
	Identity *identity = *state;
	size_t len = 65536;
	char *body = test_malloc(len + 2);

	memset(body, ' ', len + 1);
	memcpy(body, "{" FOUR "}", strlen("{" FOUR "}"));
	for (size_t i = 0; i < 2; i++)
	{
		server_reset(identity->server);
		server_rule(
			identity->server,
			(ServerRule){.status = 200, .body = body, .body_len = len + i});
		use_container(identity);
		if (i == 0)
			assert_ready(identity, ID, SECRET, TOKEN);
		else
			assert_failed(identity, "longer than 65536 bytes");
	}
	memset(body, '\0', len);
	server_reset(identity->server);
	server_rule(identity->server,
				(ServerRule){.status = 200, .body = body, .body_len = len});
	use_container(identity);
	assert_failed(identity, "malformed");
	test_free(body);
}

static void
no_service(void **state)
{
	Identity *identity = *state;

	server_rule(identity->server, (ServerRule){.act = SERVER_DROP});
	use_container(identity);
	assert_failed(identity, "(after 3 attempts)");
	assert_int_equal(server_count(identity->server, NULL, NULL), 3);
	identity_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/x");
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_failed(identity, "the container's credentials, from "
							"http://127.0.0.1:1: ");
	unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_failed(identity, "the environment has no "
							"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and no "
							"AWS_CONTAINER_CREDENTIALS_FULL_URI");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets),
		IDENTITY_TEST(refused_targets),
		cmocka_unit_test(long_paths),
		IDENTITY_TEST(ecs),
		IDENTITY_TEST(never_through_a_proxy),
		IDENTITY_TEST(authorization_tokens),
		IDENTITY_TEST(tokens_that_no_header_takes),
		IDENTITY_TEST(other_responses),
		IDENTITY_TEST(hostile_responses),
		IDENTITY_TEST(responses_that_are_cut),
		IDENTITY_TEST(responses_of_odd_sizes),
		IDENTITY_TEST(no_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
