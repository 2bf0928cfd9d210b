/*
 * test_credentials_memory.c
 *		Providers when memory runs out: at each allocation, one by one.
 *
 * test/core/test_credentials_memory.c
 *
 * The server's threads allocate as well, so these are sources without
 * requests, and the parts of others that come before a request.
 *
 * link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup
 */
#include "identity.h"
#include "starving.h"

/* Makes a provider and polls it, with more and more memory, until the wanted
 * result is reached. */
static void
starve(Identity *identity, const ObCredentialsOptions *options,
	   ObProviderState wanted, const char *cause)
{
	int n = 0;
	ObProviderState state = OB_PROVIDER_FAILED;

	for (;; n++)
	{
		ObProvider *provider;
		ObError error;

		ob_error_clear(&error);
		budget = n;
		provider = ob_provider_new(identity->http, options, &error);
		if (provider)
			state = ob_provider_poll(provider, &error);
		budget = -1;
		ob_provider_free(provider);
		if (provider && state == wanted && error.code != OB_ENOMEM)
		{
			if (!strstr(error.cause, cause))
				fail_msg("\"%s\" instead of \"%s\"", error.cause, cause);
			break;
		}
		assert_int_equal(error.code, OB_ENOMEM);
	}
	assert_true(n > 1);
}

static void
keys(void **state)
{
	const ObCredentialsOptions options = {
		.source = OB_CREDENTIALS_KEYS,
		.keys = {ID, SECRET, TOKEN},
		.known = {ID, SECRET, TOKEN},
	};

	starve(*state, &options, OB_PROVIDER_READY, "");
}

static void
profile(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_CHAIN};

	identity_file(identity, ".aws/credentials",
				  "[default]\naws_access_key_id=" ID
				  "\naws_secret_access_key=" SECRET "\n");
	starve(*state, &options, OB_PROVIDER_READY, "");
	options.profile = "x";
	starve(*state, &options, OB_PROVIDER_FAILED, "profile \"x\" is neither");
}

/* Only up to the request, which is never sent. */
static void
roles(void **state)
{
	Identity *identity = *state;
	const ObCredentialsOptions options = {.source = OB_CREDENTIALS_PROFILE,
										  .profile = "x",
										  .role_arn = ROLE,
										  .external_id = "e",
										  .region = "eu-west-1",
										  .sts_endpoint = "http://127.0.0.1"};

	identity_file(identity, ".aws/config",
				  "[profile x]\nrole_arn=" ROLE "\nexternal_id=f\n"
				  "role_session_name=s\nsource_profile=y\nservices=z\n"
				  "[profile y]\naws_access_key_id=" ID
				  "\naws_secret_access_key=" SECRET
				  "\n[services z]\nsts=\n  endpoint_url=http://localhost\n");
	starve(identity, &options, OB_PROVIDER_BUSY, "");
}

static void
tokens(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_WEB_IDENTITY,
									.region = "eu-west-1"};

	identity_env("AWS_ROLE_ARN", ROLE);
	identity_env("AWS_WEB_IDENTITY_TOKEN_FILE", "%s",
				 identity_file(identity, "token", "canary"));
	starve(identity, &options, OB_PROVIDER_BUSY, "");
	options.source = OB_CREDENTIALS_CONTAINER;
	identity_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost/x");
	starve(identity, &options, OB_PROVIDER_BUSY, "");
	options.source = OB_CREDENTIALS_INSTANCE;
	starve(identity, &options, OB_PROVIDER_BUSY, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IDENTITY_TEST(keys),
		IDENTITY_TEST(profile),
		IDENTITY_TEST(roles),
		IDENTITY_TEST(tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
