/*
 * test_aws.c
 *		Calls to AWS's services: their hosts, and their retries.
 *
 * test/core/test_aws.c
 *
 * The server is a proxy, whose tunnels lead to itself, so it plays each host.
 */
#include "testing.h"

#include <unistd.h>

#include "lambda/services/aws.h"
#include "core/text/uri.h"
#include "server.h"

typedef struct Fixture
{
	Server *server;
	ObHttp *http;
	ObProvider *provider;
	char url[64];
} Fixture;

static const char *const variables[] = {
	"AWS_ENDPOINT_URL",      "AWS_ENDPOINT_URL_SECRETS_MANAGER",
	"AWS_ENDPOINT_URL_SNS",  "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
	"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT",
};

static void
clear_environment(void)
{
	for (size_t i = 0; i < COUNT_OF(variables); i++)
		unsetenv(variables[i]);
}

static int
setup(void **state)
{
	Fixture *fixture = test_calloc(1, sizeof(Fixture));
	ObHttpOptions http = {.user_agent = "onboard-test/1",
						  .proxy = fixture->url,
						  .connect_timeout_ms = 5000,
						  .stall_timeout_ms = 20000,
						  .max_connections = 4};
	ObCredentialsOptions credentials = {.source = OB_CREDENTIALS_KEYS,
										.keys = {"AKIATEST", "secret", NULL}};
	ObError error;

	alarm(60);
	clear_environment();
	fixture->server = server_new();
	server_tls(fixture->server);
	server_rule(fixture->server, (ServerRule){.status = 200, .body = "{}"});
	sprintf(fixture->url, "http://127.0.0.1:%d", server_port(fixture->server));
	http.ca_file = server_ca(fixture->server);
	ob_error_clear(&error);
	fixture->http = ob_http_new(&http, &error);
	assert_non_null(fixture->http);
	fixture->provider = ob_provider_new(fixture->http, &credentials, &error);
	assert_non_null(fixture->provider);
	*state = fixture;
	return 0;
}

static int
teardown(void **state)
{
	Fixture *fixture = *state;

	ob_provider_free(fixture->provider);
	ob_http_free(fixture->http);
	server_free(fixture->server);
	test_free(fixture);
	clear_environment();
	return 0;
}

static bool
has_ended(void *arg)
{
	return ((ObAwsCall *) arg)->ended;
}

/* Runs a request; its outcome is in "error". */
static void
run(Fixture *fixture, const char *service, const char *region, ObError *error)
{
	ObAwsCall call;

	ob_aws_call_init(&call);
	call.http = fixture->http;
	call.provider = fixture->provider;
	call.region = region;
	call.service = service;
	call.path = "/";
	call.body = "{}";
	call.len = 2;
	call.response_max = 1000;
	call.deadline_ms = ob_http_now_ms() + 30000;
	ob_aws_call_start(&call);
	host_drive(fixture->http, has_ended, &call);
	*error = call.error;
	ob_aws_call_free(&call);
}

static const char *
last_host(Fixture *fixture)
{
	int n = server_count(fixture->server, NULL, NULL);

	assert_true(n > 0);
	return server_request(fixture->server, NULL, NULL, n - 1)->tunnel;
}

static void
hosts(void **state)
{
	static const struct
	{
		const char *service;
		const char *region;
		const char *variable; /* NULL: none */
		const char *host;
	} rows[] = {
		{"secretsmanager", "us-east-1", NULL,
		 "secretsmanager.us-east-1.amazonaws.com:443"},
		{"sns", "eusc-de-east-1", NULL, "sns.eusc-de-east-1.amazonaws.eu:443"},
		{"lambda", "eusc-de-east-1", NULL,
		 "lambda.eusc-de-east-1.amazonaws.eu:443"},
		{"secretsmanager", "us-east-1", "AWS_USE_FIPS_ENDPOINT",
		 "secretsmanager-fips.us-east-1.amazonaws.com:443"},
		{"sns", "us-east-1", "AWS_USE_DUALSTACK_ENDPOINT",
		 "sns.us-east-1.api.aws:443"},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObError error;

		clear_environment();
		if (rows[i].variable)
			setenv(rows[i].variable, "true", 1);
		run(fixture, rows[i].service, rows[i].region, &error);
		assert_string_equal(error.cause, "");
		assert_string_equal(last_host(fixture), rows[i].host);
	}
}

/* The variables are named after the service's id, as in AWS's SDKs. */
static void
endpoints_of_the_environment(void **state)
{
	Fixture *fixture = *state;
	char url[100];
	ObError error;

	sprintf(url, "https://localhost:%d", server_port(fixture->server));
	setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1", 1);
	setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url, 1);
	run(fixture, "secretsmanager", "us-east-1", &error);
	assert_string_equal(error.cause, "");
	assert_string_equal(last_host(fixture), url + strlen("https://"));
	setenv("AWS_ENDPOINT_URL", url, 1);
	run(fixture, "sns", "us-east-1", &error);
	assert_string_equal(last_host(fixture), url + strlen("https://"));
	setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true", 1);
	run(fixture, "sns", "us-east-1", &error);
	assert_string_equal(last_host(fixture), "sns.us-east-1.amazonaws.com:443");
}

static void
use_no_proxy(Fixture *fixture)
{
	ObHttpOptions http = {.user_agent = "onboard-test/1",
						  .ca_file = server_ca(fixture->server),
						  .connect_timeout_ms = 5000,
						  .stall_timeout_ms = 20000,
						  .max_connections = 4};
	ObCredentialsOptions credentials = {.source = OB_CREDENTIALS_KEYS,
										.keys = {"AKIATEST", "secret", NULL}};
	ObError error;

	ob_provider_free(fixture->provider);
	ob_http_free(fixture->http);
	ob_error_clear(&error);
	fixture->http = ob_http_new(&http, &error);
	assert_non_null(fixture->http);
	fixture->provider = ob_provider_new(fixture->http, &credentials, &error);
	assert_non_null(fixture->provider);
}

/* They are retried as often as other lost connections. */
static void
handshakes_that_break_off(void **state)
{
	Fixture *fixture = *state;
	char url[100];
	ObError error;

	use_no_proxy(fixture);
	sprintf(url, "https://localhost:%d", server_port(fixture->server));
	setenv("AWS_ENDPOINT_URL", url, 1);
	for (int broken = 3; broken <= 4; broken++)
	{
		server_break(fixture->server, broken);
		run(fixture, "sns", "us-east-1", &error);
		assert_int_equal(error.code, broken == 3 ? OB_OK : OB_ETLS);
		assert_int_equal(error.attempts, broken == 3 ? 0 : 4);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(hosts),
		TEST(endpoints_of_the_environment),
		TEST(handshakes_that_break_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
