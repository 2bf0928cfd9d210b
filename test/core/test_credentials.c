/*
 * test_credentials.c
 *		Providers: sources that need no request, their order, and renewal.
 *
 * test/core/test_credentials.c
 */
#include "identity.h"

#define HOUR 3600

static void
set_keys(const char *id)
{
	identity_env("AWS_ACCESS_KEY_ID", "%s", id);
	identity_env("AWS_SECRET_ACCESS_KEY", SECRET);
}

/* A container whose keys have this lifetime; times 0: always. */
static void
serve_container(Identity *identity, int times, const char *id, int expires_in)
{
	identity_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s/keys",
				 identity->url);
	identity_json(identity, "/keys", times, id, expires_in);
}

/* ---- keys and environment ---- */

static void
given_keys(void **state)
{
	Identity *identity = *state;
	char id[] = ID;
	char secret[] = SECRET;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_KEYS,
									.keys = {id, secret, NULL}};
	ObCredentialsOptions other = options;

	identity_use(identity, &options);
	other.keys.session_token = TOKEN;
	assert_false(ob_provider_matches(identity->provider, &other));
	other = options;
	other.keys.secret_access_key = "canary";
	assert_false(ob_provider_matches(identity->provider, &other));
	/* they were copied */
	memset(id, 'x', sizeof(id) - 1);
	memset(secret, 'x', sizeof(secret) - 1);
	assert_null(ob_provider_get(identity->provider));
	assert_string_equal(ob_provider_origin(identity->provider), "");
	assert_int_equal(identity_poll(identity), OB_PROVIDER_READY);
	assert_ready(identity, ID, SECRET, NULL);
	assert_string_equal(ob_provider_origin(identity->provider),
						"user mapping");
	assert_int_equal(ob_provider_expires(identity->provider), 0);
	/* no other credentials can be expected */
	assert_false(ob_provider_refused(identity->provider, ID));
	assert_ready(identity, ID, SECRET, NULL);
	ob_provider_reset(identity->provider);
	assert_ready(identity, ID, SECRET, NULL);
}

static void
keys_that_no_header_takes(void **state)
{
	static const ObCredentials rows[] = {
		{"AK ID", SECRET, NULL},
		{ID, "canary\n1", NULL},
		{ID, SECRET, "canary\r\n"},
		{"", SECRET, NULL},
		{ID, "", NULL},
		{ID, "canary\xC3\xA4", NULL},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObCredentialsOptions options = {.source = OB_CREDENTIALS_KEYS,
										.keys = rows[i]};
		ObError error;

		ob_error_clear(&error);
		assert_null(ob_provider_new(identity->http, &options, &error));
		assert_error(&error, OB_ECREDS, "the user mapping's");
		assert_null(strstr(error.cause, "canary"));
	}
}

static void
environment(void **state)
{
	Identity *identity = *state;

	set_keys(ID);
	identity_use_source(identity, OB_CREDENTIALS_ENVIRONMENT);
	assert_ready(identity, ID, SECRET, NULL);
	assert_string_equal(ob_provider_origin(identity->provider), "environment");
	/* the environment is read again for the next export, not before */
	identity_env("AWS_SESSION_TOKEN", TOKEN);
	assert_ready(identity, ID, SECRET, NULL);
	ob_provider_reset(identity->provider);
	assert_ready(identity, ID, SECRET, TOKEN);
	/* the same keys again are no new credentials, other keys are */
	assert_false(ob_provider_refused(identity->provider, ID));
	set_keys("AKOTHER");
	assert_true(ob_provider_refused(identity->provider, ID));
	assert_ready(identity, "AKOTHER", SECRET, TOKEN);
	/* a refusal of older keys arrives late */
	assert_true(ob_provider_refused(identity->provider, ID));
	assert_ready(identity, "AKOTHER", SECRET, TOKEN);
}

static void
environment_with_a_gap(void **state)
{
	Identity *identity = *state;

	identity_use_source(identity, OB_CREDENTIALS_ENVIRONMENT);
	assert_failed(identity, "the environment has no AWS_ACCESS_KEY_ID and no "
							"AWS_SECRET_ACCESS_KEY");
	/* a failure is kept until the next export */
	set_keys(ID);
	assert_failed(identity, "the environment has no");
	ob_provider_reset(identity->provider);
	assert_ready(identity, ID, SECRET, NULL);

	identity_env("AWS_ACCESS_KEY_ID", "%s", "");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "the environment has no AWS_ACCESS_KEY_ID");
	identity_env("AWS_ACCESS_KEY_ID", ID);
	identity_env("AWS_SECRET_ACCESS_KEY", "%s", "");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "the environment has no AWS_SECRET_ACCESS_KEY");
	identity_env("AWS_SECRET_ACCESS_KEY", "canary\n");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "the environment's secret access key is not of "
							"printable ASCII");
}

/* Credentials that another process of the export has fetched are used as they
 * are. */
static void
known_already(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {
		.source = OB_CREDENTIALS_CONTAINER,
		.known = {"AKKNOWN", SECRET, TOKEN},
		.known_expires = time(NULL) + HOUR,
	};

	serve_container(identity, 0, ID, 6 * HOUR);
	identity_use(identity, &options);
	assert_ready(identity, "AKKNOWN", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider), "container");
	assert_int_equal(ob_provider_expires(identity->provider),
					 options.known_expires);
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);
	ob_provider_set_clock_offset(identity->provider, HOUR + 1);
	assert_ready(identity, ID, SECRET, TOKEN);
}

static void
names_of_sources(void **state)
{
	ObCredentialsSource source;

	for (int i = 0; i <= OB_CREDENTIALS_CHAIN; i++)
	{
		const char *name = ob_credentials_source_name((ObCredentialsSource) i);

		assert_non_null(name);
		assert_true(ob_credentials_source_parse(name, &source));
		assert_int_equal(source, i);
	}
	assert_null(ob_credentials_source_name((ObCredentialsSource) 99));
	assert_false(ob_credentials_source_parse("Mapping", &source));
	assert_false(ob_credentials_source_parse("", &source));
}

/* ---- the chain ---- */

/* All sources are configured; they are removed one by one. */
static void
chain_in_order(void **state)
{
	Identity *identity = *state;

	set_keys(ID);
	identity_file(identity, ".aws/credentials",
				  "[default]\naws_access_key_id = AKFILE\n"
				  "aws_secret_access_key = " SECRET "\n");
	identity_env("AWS_ROLE_ARN", ROLE);
	identity_env("AWS_WEB_IDENTITY_TOKEN_FILE", "%s",
				 identity_file(identity, "token", "canary.jwt\n"));
	identity_sts(identity, 0, "AKWEB", HOUR);
	serve_container(identity, 0, "AKCONTAINER", HOUR);
	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s", identity->url);
	identity_refuse(identity, "/latest/api/token", 0, 200, "canary-token");
	identity_json(identity, "/security-credentials/lake", 0, "AKINSTANCE",
				  HOUR);
	identity_refuse(identity, "/security-credentials/", 0, 200, "lake");

	identity_use_source(identity, OB_CREDENTIALS_CHAIN);
	assert_ready(identity, ID, SECRET, NULL);
	assert_string_equal(ob_provider_origin(identity->provider), "environment");

	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	ob_provider_reset(identity->provider);
	assert_ready(identity, "AKFILE", SECRET, NULL);
	assert_string_equal(ob_provider_origin(identity->provider),
						"profile \"default\"");
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);

	/* a profile without credentials does not count in the chain */
	identity_file(identity, ".aws/credentials", "[default]\nregion = x\n");
	ob_provider_reset(identity->provider);
	assert_ready(identity, "AKWEB", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with web identity");

	unsetenv("AWS_WEB_IDENTITY_TOKEN_FILE");
	identity_use_source(identity, OB_CREDENTIALS_CHAIN);
	assert_ready(identity, "AKCONTAINER", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider), "container");

	unsetenv("AWS_CONTAINER_CREDENTIALS_FULL_URI");
	identity_use_source(identity, OB_CREDENTIALS_CHAIN);
	assert_ready(identity, "AKINSTANCE", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"instance metadata (role lake)");

	identity_env("AWS_EC2_METADATA_DISABLED", "true");
	identity_use_source(identity, OB_CREDENTIALS_CHAIN);
	assert_failed(identity, "switched off by AWS_EC2_METADATA_DISABLED");
	assert_int_equal(server_unexpected(identity->server), 0);
}

/* A source that is configured but fails is not skipped. */
static void
chain_stops_at_a_failure(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 0, "AKCONTAINER", HOUR);
	identity_env("AWS_ACCESS_KEY_ID", ID);
	identity_use_source(identity, OB_CREDENTIALS_CHAIN);
	assert_failed(identity, "the environment has no AWS_SECRET_ACCESS_KEY");

	unsetenv("AWS_ACCESS_KEY_ID");
	identity_env("AWS_PROFILE", "nobody");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "profile \"nobody\" is neither in");

	unsetenv("AWS_PROFILE");
	identity_file(identity, ".aws/config",
				  "[default]\ncredential_process = /bin/canary\n");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "profile \"default\" has a credential_process");

	identity_file(identity, ".aws/config", "[default\n");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "/.aws/config\": line 1 has a \"[\"");

	identity_file(identity, ".aws/config", "[default]\n");
	identity_env("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "the environment has no AWS_ROLE_ARN");

	identity_env("AWS_ROLE_ARN", ROLE);
	ob_provider_reset(identity->provider);
	assert_failed(identity, "could not open file \"/nonexistent/token\"");
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);
}

/* ---- waiting callers ---- */

typedef struct Waiter
{
	ObProviderWait wait;
	Identity *identity;
	struct Waiter *other;
	int woken;
	bool again;
} Waiter;

static void
wake_waiter(ObProviderWait *wait)
{
	Waiter *waiter = wait->arg;

	waiter->woken++;
	if (waiter->other)
		ob_provider_cancel(waiter->identity->provider, &waiter->other->wait);
	if (waiter->again)
	{
		waiter->again = false;
		ob_provider_refused(waiter->identity->provider, ID);
		assert_int_equal(identity_poll(waiter->identity), OB_PROVIDER_BUSY);
		ob_provider_wait(waiter->identity->provider, wait);
	}
}

static bool
is_all_woken(void *arg)
{
	const Waiter *waiters = arg;

	return waiters[0].woken > 0 && !waiters[1].wait.waiting &&
		   waiters[2].woken > 0 && !waiters[2].wait.waiting;
}

/* One wait is cancelled by another's callback, one begins again. */
static void
several_wait(void **state)
{
	Identity *identity = *state;
	Waiter waiters[3];

	serve_container(identity, 1, ID, HOUR);
	serve_container(identity, 1, "AKSECOND", HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_BUSY);
	for (int i = 0; i < 3; i++)
	{
		waiters[i] = (Waiter){.wait = {.wake = wake_waiter},
							  .identity = identity,
							  .again = i == 2};
		waiters[i].wait.arg = &waiters[i];
		assert_int_equal(identity_poll(identity), OB_PROVIDER_BUSY);
		ob_provider_wait(identity->provider, &waiters[i].wait);
	}
	waiters[0].other = &waiters[1];
	host_drive(identity->http, is_all_woken, waiters);
	assert_int_equal(waiters[0].woken, 1);
	assert_int_equal(waiters[1].woken, 0);
	assert_int_equal(waiters[2].woken, 2);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
	/* cancelling a caller that does not wait does nothing */
	ob_provider_cancel(identity->provider, &waiters[0].wait);
}

static void
freed_during_a_request(void **state)
{
	Identity *identity = *state;

	server_rule(identity->server, (ServerRule){.act = SERVER_HOLD});
	serve_container(identity, 1, ID, HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_BUSY);
	identity_drive(identity, 1);
	ob_provider_wait(identity->provider, &identity->wait);
	ob_provider_cancel(identity->provider, &identity->wait);
	ob_provider_free(identity->provider);
	identity->provider = NULL;
	assert_int_equal(ob_http_timeout_ms(identity->http), -1);
	assert_int_equal(identity->woken, 0);
}

/* ---- renewal ---- */

/* Keys are renewed 5 minutes before the end, while the old ones are used. */
static void
renewal_in_time(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 1, ID, HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_in_range(ob_provider_expires(identity->provider),
					time(NULL) + HOUR - 5, time(NULL) + HOUR);

	ob_provider_set_clock_offset(identity->provider, HOUR - 310);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_READY);
	host_drive_for(identity->http, 50);
	assert_int_equal(server_count(identity->server, NULL, NULL), 1);

	server_reset(identity->server);
	serve_container(identity, 1, "AKSECOND", 3 * HOUR);
	ob_provider_set_clock_offset(identity->provider, HOUR - 299);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_READY);
	assert_string_equal(ob_provider_get(identity->provider)->access_key_id,
						ID);
	/* a second poll starts no fetch */
	assert_int_equal(identity_poll(identity), OB_PROVIDER_READY);
	identity_drive(identity, 1);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 1);
	/* the store's refusal of the old ones arrives late */
	assert_true(ob_provider_refused(identity->provider, ID));
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
}

/* If a service returns the same keys again, it does not receive requests all
 * the time. */
static void
renewal_brings_the_same(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 0, ID, 200);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_ready(identity, ID, SECRET, TOKEN);
	for (int i = 0; i < 5; i++)
	{
		assert_ready(identity, ID, SECRET, TOKEN);
		host_drive_for(identity->http, 10);
	}
	assert_int_equal(server_count(identity->server, NULL, NULL), 1);
	ob_provider_set_clock_offset(identity->provider, 35);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_drive(identity, 2);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
}

/* If the renewal fails, the old keys stay in use, and the renewal is repeated
 * after 30 s. */
static void
renewal_that_fails(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 1, ID, HOUR);
	identity_refuse(identity, "/keys", 1, 403, "{}");
	identity_refuse(identity, "/keys", 1, 403, "{}");
	serve_container(identity, 1, "AKSECOND", 2 * HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_ready(identity, ID, SECRET, TOKEN);

	ob_provider_set_clock_offset(identity->provider, HOUR - 200);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_READY);
	identity_drive(identity, 2);
	assert_ready(identity, ID, SECRET, TOKEN);
	ob_provider_set_clock_offset(identity->provider, HOUR - 175);
	assert_ready(identity, ID, SECRET, TOKEN);
	host_drive_for(identity->http, 50);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);

	ob_provider_set_clock_offset(identity->provider, HOUR - 165);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_drive(identity, 3);
	assert_ready(identity, ID, SECRET, TOKEN);

	/* a clock that is set back does not delay it */
	ob_provider_set_clock_offset(identity->provider, HOUR - 290);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_drive(identity, 4);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 4);
}

/* The old keys expire while the renewal is running: its failure does not
 * count, but that of a new attempt, which has the whole time limit. */
static void
end_during_a_renewal(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 1, ID, HOUR);
	server_rule(identity->server, (ServerRule){.target = "/keys",
											   .times = 1,
											   .act = SERVER_HOLD,
											   .status = 403});
	serve_container(identity, 1, "AKSECOND", 3 * HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_ready(identity, ID, SECRET, TOKEN);
	ob_provider_set_clock_offset(identity->provider, HOUR - 10);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_READY);
	identity_drive(identity, 2);
	ob_provider_set_clock_offset(identity->provider, HOUR + 10);
	assert_int_equal(identity_poll(identity), OB_PROVIDER_BUSY);
	/* the last keys are still available for an abort */
	assert_string_equal(ob_provider_get(identity->provider)->access_key_id,
						ID);
	server_release(identity->server);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
}

/* A failure is reported if no keys are valid. */
static void
end_without_a_renewal(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 1, ID, HOUR);
	identity_refuse(identity, "/keys", 1, 403, "{}");
	serve_container(identity, 1, "AKSECOND", 3 * HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_ready(identity, ID, SECRET, TOKEN);
	ob_provider_set_clock_offset(identity->provider, HOUR + 10);
	assert_int_equal(identity_wait(identity), OB_PROVIDER_FAILED);
	assert_error(&identity->error, OB_ECREDS, "HTTP status 403");
	assert_non_null(ob_provider_get(identity->provider));
	assert_int_equal(identity_wait(identity), OB_PROVIDER_FAILED);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
	ob_provider_reset(identity->provider);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
}

/* The store refuses valid keys: new ones are fetched, and the old ones are
 * kept until then. */
static void
refused_by_the_store(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 1, ID, HOUR);
	serve_container(identity, 1, "AKSECOND", HOUR);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_true(ob_provider_refused(identity->provider, ID));
	assert_string_equal(ob_provider_get(identity->provider)->access_key_id,
						ID);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	/* keys that expire are kept for the next export */
	ob_provider_reset(identity->provider);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
}

/* A request is not repeated if its keys have expired on arrival. */
static void
expired_when_they_come(void **state)
{
	Identity *identity = *state;

	serve_container(identity, 0, ID, -10);
	identity_use_source(identity, OB_CREDENTIALS_CONTAINER);
	assert_failed(identity,
				  "container returned credentials that have expired");
	assert_int_equal(server_count(identity->server, NULL, NULL), 1);
	/* but our clock was wrong */
	ob_provider_set_clock_offset(identity->provider, -60);
	ob_provider_reset(identity->provider);
	assert_ready(identity, ID, SECRET, TOKEN);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IDENTITY_TEST(given_keys),
		IDENTITY_TEST(keys_that_no_header_takes),
		IDENTITY_TEST(environment),
		IDENTITY_TEST(environment_with_a_gap),
		IDENTITY_TEST(known_already),
		IDENTITY_TEST(names_of_sources),
		IDENTITY_TEST(chain_in_order),
		IDENTITY_TEST(chain_stops_at_a_failure),
		IDENTITY_TEST(several_wait),
		IDENTITY_TEST(freed_during_a_request),
		IDENTITY_TEST(renewal_in_time),
		IDENTITY_TEST(renewal_brings_the_same),
		IDENTITY_TEST(renewal_that_fails),
		IDENTITY_TEST(end_during_a_renewal),
		IDENTITY_TEST(end_without_a_renewal),
		IDENTITY_TEST(refused_by_the_store),
		IDENTITY_TEST(expired_when_they_come),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
