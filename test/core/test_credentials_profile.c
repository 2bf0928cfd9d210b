/*
 * test_credentials_profile.c
 *		Profiles: their files, their keys, and their roles.
 *
 * test/core/test_credentials_profile.c
 */
#include "identity.h"

#include <sys/stat.h>
#include <unistd.h>

#define KEYS(id) \
	"aws_access_key_id = " id "\naws_secret_access_key = " SECRET "\n"
#define ROLE2 "arn:aws:iam::123456789012:role/second"

static void
use_profile(Identity *identity, const char *profile)
{
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_PROFILE,
									.profile = profile,
									.region = "eu-west-1",
									.sts_endpoint = identity->url};

	identity_use(identity, &options);
}

/* ---- files ---- */

static void
files_of_profiles(void **state)
{
	Identity *identity = *state;

	identity_file(identity, ".aws/credentials",
				  "[default]\n" KEYS("AKDEFAULT") "[x]\n" KEYS("AKX"));
	identity_file(identity, ".aws/config",
				  "[profile y]\n" KEYS("AKY") "aws_session_token=" TOKEN "\n");
	use_profile(identity, NULL);
	assert_ready(identity, "AKDEFAULT", SECRET, NULL);
	assert_string_equal(ob_provider_origin(identity->provider),
						"profile \"default\"");
	use_profile(identity, "x");
	assert_ready(identity, "AKX", SECRET, NULL);
	use_profile(identity, "y");
	assert_ready(identity, "AKY", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"profile \"y\"");
	identity_env("AWS_PROFILE", "y");
	use_profile(identity, NULL);
	assert_ready(identity, "AKY", SECRET, TOKEN);

	identity_env("AWS_SHARED_CREDENTIALS_FILE", "%s",
				 identity_file(identity, "other", "[y]\n" KEYS("AKOTHER")));
	use_profile(identity, NULL);
	assert_ready(identity, "AKOTHER", SECRET, NULL);
	identity_file(identity, "config2", "[profile z]\n" KEYS("AKZ"));
	identity_env("AWS_CONFIG_FILE", "~/config2");
	use_profile(identity, "z");
	assert_ready(identity, "AKZ", SECRET, NULL);
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);
}

/* The three values belong together: a token of one file is not combined with
 * the keys of the other. */
static void
keys_of_one_file(void **state)
{
	Identity *identity = *state;

	identity_file(identity, ".aws/credentials", "[x]\n" KEYS("AKONE"));
	identity_file(identity, ".aws/config",
				  "[profile x]\n" KEYS("AKTWO") "aws_session_token=" TOKEN);
	use_profile(identity, "x");
	assert_ready(identity, "AKONE", SECRET, NULL);
}

/* A file that other programs renew is read for each export. */
static void
changed_files(void **state)
{
	Identity *identity = *state;

	identity_file(identity, ".aws/credentials", "[default]\n" KEYS("AKONE"));
	use_profile(identity, NULL);
	assert_ready(identity, "AKONE", SECRET, NULL);
	assert_false(ob_provider_refused(identity->provider, "AKONE"));
	identity_file(identity, ".aws/credentials", "[default]\n" KEYS("AKTWO"));
	assert_ready(identity, "AKONE", SECRET, NULL);
	assert_true(ob_provider_refused(identity->provider, "AKONE"));
	assert_ready(identity, "AKTWO", SECRET, NULL);
	identity_file(identity, ".aws/credentials", "[default]\n" KEYS("AKTHREE"));
	ob_provider_reset(identity->provider);
	assert_ready(identity, "AKTHREE", SECRET, NULL);
}

/* AWS's own tools treat both as a file without profiles. */
static void
empty_files(void **state)
{
	Identity *identity = *state;

	identity_file(identity, ".aws/config", "[default]\n" KEYS(ID));
	identity_file(identity, ".aws/credentials", "");
	use_profile(identity, NULL);
	assert_ready(identity, ID, SECRET, NULL);

	identity_env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
	use_profile(identity, NULL);
	assert_ready(identity, ID, SECRET, NULL);

	identity_env("AWS_CONFIG_FILE", "/dev/null");
	use_profile(identity, NULL);
	assert_failed(identity, "profile \"default\" is neither in \"/dev/null");
}

static void
files_that_cannot_be_used(void **state)
{
	Identity *identity = *state;
	char path[200];

	use_profile(identity, NULL);
	assert_failed(identity, "profile \"default\" is neither in \"");
	assert_failed(identity, "/.aws/credentials\" nor in \"");
	assert_failed(identity, "/.aws/config\"");

	unsetenv("HOME");
	use_profile(identity, NULL);
	assert_failed(identity, "no files for profile \"default\"");
	identity_env("HOME", "%s", identity->home);

	identity_file(identity, ".aws/credentials", "[default]\ncanary\n");
	use_profile(identity, NULL);
	assert_failed(identity, "/.aws/credentials\": line 2 is neither");

	/* neither a folder nor a pipe is waited for */
	identity_env("AWS_SHARED_CREDENTIALS_FILE", "%s", identity->home);
	use_profile(identity, NULL);
	assert_failed(identity, "is not a regular file");
	snprintf(path, sizeof(path), "%s/pipe", identity->home);
	assert_int_equal(mkfifo(path, 0600), 0);
	identity_env("AWS_SHARED_CREDENTIALS_FILE", "%s", path);
	use_profile(identity, NULL);
	assert_failed(identity, "is not a regular file");
	identity_env("AWS_SHARED_CREDENTIALS_FILE", "/dev/zero");
	use_profile(identity, NULL);
	assert_failed(identity, "\"/dev/zero\" is not a regular file");

	/* the loop of links replaces a file that may not be opened: tests run as
	 * root */
	snprintf(path, sizeof(path), "%s/loop", identity->home);
	assert_int_equal(symlink(path, path), 0);
	identity_env("AWS_SHARED_CREDENTIALS_FILE", "%s", path);
	use_profile(identity, NULL);
	assert_failed(identity, "/loop\": Too many levels");
}

static void
huge_file(void **state)
{
	Identity *identity = *state;
	size_t len = (size_t) 1024 * 1024 + 1;
	char *text = test_malloc(len + 1);

	memset(text, '#', len);
	text[len] = '\0';
	identity_file(identity, ".aws/credentials", text);
	use_profile(identity, NULL);
	assert_failed(identity, "is longer than 1048576 bytes");
	text[len - 1] = '\0';
	identity_file(identity, ".aws/credentials", text);
	ob_provider_reset(identity->provider);
	assert_failed(identity, "profile \"default\" is neither in");
	test_free(text);
}

/* The name is not UTF-8, and too long: the error must still be valid. */
static void
odd_names(void **state)
{
	Identity *identity = *state;
	char name[2000];

	identity_env("AWS_PROFILE", "M\xFCller\x1b[2J");
	use_profile(identity, NULL);
	assert_failed(identity, "profile \"M?ller?[2J\"");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	use_profile(identity, name);
	assert_failed(identity, "profile \"xxx");
	identity_env("AWS_CONFIG_FILE", "/%s", name);
	use_profile(identity, name);
	assert_failed(identity, "the path of AWS's config is too long");
}

/* ---- refusals ---- */

static void
profiles_that_are_refused(void **state)
{
	static const struct
	{
		const char *config;
		const char *cause;
	} rows[] = {
		{"", "profile \"x\" has no credentials"},
		{"region = a", "profile \"x\" has no credentials"},
		{"aws_access_key_id = " ID,
		 "profile \"x\": its secret access key is missing"},
		{"aws_secret_access_key = " SECRET,
		 "profile \"x\": its access key id is missing"},
		{KEYS(ID) "  canary", "profile \"x\": its secret access key is not"},
		{KEYS(ID) "aws_session_token = canary canary",
		 "profile \"x\": its session token is not"},
		{"credential_process = canary", "has a credential_process, which"},
		{KEYS(ID) "credential_process = canary",
		 "has a credential_process, which"},
		{"sso_session = canary", "uses SSO"},
		{"sso_start_url = canary", "uses SSO"},
		{KEYS(ID) "sso_start_url = canary", "uses SSO"},
		{"web_identity_token_file = /canary",
		 "profile \"x\" has no credentials"},
		{"role_arn = " ROLE, "has a role_arn and none of"},
		{"role_arn = " ROLE "\n" KEYS(ID), "has a role_arn and none of"},
		{"role_arn = " ROLE "\nsource_profile = base\n"
		 "credential_source = Environment",
		 "has a role_arn and more than one of"},
		{"role_arn = " ROLE "\nsource_profile = base\n"
		 "web_identity_token_file = /canary",
		 "has a role_arn and more than one of"},
		{"role_arn = " ROLE "\nsource_profile = base\nmfa_serial = canary",
		 "requires a second factor (mfa_serial)"},
		{"role_arn = " ROLE "\nsource_profile = nobody",
		 "source_profile \"nobody\" of profile \"x\" does not exist"},
		{"role_arn = " ROLE "\nsource_profile = empty",
		 "profile \"empty\" has no credentials"},
		{"role_arn = " ROLE "\nsource_profile = process",
		 "profile \"process\" has a credential_process"},
		{"role_arn = " ROLE "\ncredential_source = environment",
		 "credential_source of profile \"x\" is not one of"},
		{"role_arn = " ROLE "\ncredential_source = Environment",
		 "the environment has no AWS_ACCESS_KEY_ID"},
		{"role_arn = " ROLE "\ncredential_source = EcsContainer",
		 "the environment has no AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"},
		{"role_arn = arn aws\nsource_profile = base", "ARN is not of"},
		{"role_arn = " ROLE "\nsource_profile = base\n"
		 "duration_seconds = 899",
		 "duration_seconds is not a number from 900 to 43200"},
		{"role_arn = " ROLE "\nsource_profile = base\n"
		 "duration_seconds = 43201",
		 "duration_seconds is not"},
		{"role_arn = " ROLE "\nsource_profile = base\n"
		 "duration_seconds = 3600s",
		 "duration_seconds is not"},
		{"role_arn = " ROLE "\nsource_profile = base\n"
		 "duration_seconds = 99999999999999999999",
		 "duration_seconds is not"},
		/* circular references */
		{"role_arn = " ROLE "\nsource_profile = x",
		 "profile \"x\" refers to itself"},
		{"role_arn = " ROLE "\nsource_profile = a",
		 "refers to itself through source_profile"},
		{"role_arn = " ROLE "\nsource_profile = loop1",
		 "profile \"loop1\" refers to itself"},
		{"role_arn = " ROLE "\nsource_profile = r1",
		 "leads to more than 6 roles"},
	};
	static const char others[] = "[profile base]\n" KEYS(
		"AKBASE") "[profile empty]\nregion = a\n"
				  "[profile process]\ncredential_process = canary\n"
				  "[profile a]\nrole_arn = " ROLE "\nsource_profile = b\n"
				  "[profile b]\nrole_arn = " ROLE "\nsource_profile = x\n"
				  "[profile loop1]\nrole_arn = " ROLE
				  "\nsource_profile = loop2\n"
				  "[profile loop2]\nrole_arn = " ROLE
				  "\nsource_profile = loop1\n"
				  "[profile r1]\nrole_arn = " ROLE "\nsource_profile = r2\n"
				  "[profile r2]\nrole_arn = " ROLE "\nsource_profile = r3\n"
				  "[profile r3]\nrole_arn = " ROLE "\nsource_profile = r4\n"
				  "[profile r4]\nrole_arn = " ROLE "\nsource_profile = r5\n"
				  "[profile r5]\nrole_arn = " ROLE "\nsource_profile = r6\n"
				  "[profile r6]\nrole_arn = " ROLE "\nsource_profile = base\n";
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char config[4000];

		snprintf(config, sizeof(config), "[profile x]\n%s\n%s", rows[i].config,
				 others);
		identity_file(identity, ".aws/config", config);
		use_profile(identity, "x");
		assert_failed(identity, rows[i].cause);
	}
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);
}

/* The credentials file has priority over a credential_process, as in AWS's
 * tools. */
static void
keys_before_a_process(void **state)
{
	Identity *identity = *state;

	identity_file(identity, ".aws/credentials", "[x]\n" KEYS(ID));
	identity_file(identity, ".aws/config",
				  "[profile x]\ncredential_process = canary\n");
	use_profile(identity, "x");
	assert_ready(identity, ID, SECRET, NULL);
}

/* ---- roles ---- */

static void
role_with_a_source_profile(void **state)
{
	Identity *identity = *state;
	const ServerRequest *request;

	identity_file(identity, ".aws/credentials", "[base]\n" KEYS("AKBASE"));
	identity_file(identity, ".aws/config",
				  "[profile x]\nrole_arn = " ROLE "\nsource_profile = base\n"
				  "external_id = a/b c=1\nrole_session_name = nightly\n"
				  "duration_seconds = 900\n");
	identity_sts(identity, 0, ID, 900);
	use_profile(identity, "x");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with profile \"base\"");
	assert_signed(identity, 0, "AKBASE", SECRET, NULL);
	request = server_request(identity->server, NULL, NULL, 0);
	assert_string_equal(identity_form(request, "Action"), "AssumeRole");
	assert_string_equal(identity_form(request, "Version"), "2011-06-15");
	assert_string_equal(identity_form(request, "RoleArn"), ROLE);
	assert_string_equal(identity_form(request, "ExternalId"), "a/b c=1");
	assert_string_equal(identity_form(request, "RoleSessionName"), "nightly");
	assert_string_equal(identity_form(request, "DurationSeconds"), "900");
}

/* Role x needs the role of y, which needs the keys of z. */
static void
chain_of_roles(void **state)
{
	Identity *identity = *state;

	identity_file(identity, ".aws/config",
				  "[profile x]\nrole_arn = " ROLE "\nsource_profile = y\n"
				  "[profile y]\nrole_arn = " ROLE2 "\nsource_profile = z\n"
				  "[profile z]\n" KEYS("AKBASE"));
	identity_sts(identity, 1, "AKSECOND", 3600);
	identity_sts(identity, 1, ID, 1800);
	use_profile(identity, "x");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with role " ROLE2
						" assumed with profile \"z\"");
	assert_signed(identity, 0, "AKBASE", SECRET, NULL);
	assert_signed(identity, 1, "AKSECOND", SECRET, TOKEN);
	assert_string_equal(
		identity_form(server_request(identity->server, NULL, NULL, 0),
					  "RoleArn"),
		ROLE2);
	assert_string_equal(
		identity_form(server_request(identity->server, NULL, NULL, 1),
					  "RoleArn"),
		ROLE);
	assert_in_range(ob_provider_expires(identity->provider), time(NULL) + 1790,
					time(NULL) + 1800);
	/* a renewal repeats the whole chain */
	identity_sts(identity, 1, "AKSECOND", 3600);
	identity_sts(identity, 1, "AKTHIRD", 7200);
	ob_provider_set_clock_offset(identity->provider, 1600);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_drive(identity, 4);
	assert_ready(identity, "AKTHIRD", SECRET, TOKEN);
}

/* The profile has keys of its own, and a source profile that has a role as
 * well. */
static void
keys_before_roles(void **state)
{
	Identity *identity = *state;

	identity_file(
		identity, ".aws/config",
		"[profile self]\n" KEYS(
			"AKSELF") "role_arn = " ROLE "\nsource_profile = self\n"
					  "[profile x]\nrole_arn = " ROLE "\nsource_profile = y\n"
					  "[profile y]\n" KEYS("AKBASE") "role_arn = " ROLE2
													 "\nsource_profile = x\n");
	identity_sts(identity, 0, ID, 3600);
	use_profile(identity, "self");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 0, "AKSELF", SECRET, NULL);
	use_profile(identity, "x");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 1, "AKBASE", SECRET, NULL);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
}

static void
role_with_a_credential_source(void **state)
{
	Identity *identity = *state;

	identity_file(
		identity, ".aws/config",
		"[profile e]\nrole_arn = " ROLE "\ncredential_source = Environment\n"
		"[profile c]\nrole_arn = " ROLE "\ncredential_source = EcsContainer\n"
		"[profile i]\nrole_arn = " ROLE
		"\ncredential_source = Ec2InstanceMetadata\n");
	identity_sts(identity, 0, ID, 3600);
	identity_env("AWS_ACCESS_KEY_ID", "AKENV");
	identity_env("AWS_SECRET_ACCESS_KEY", SECRET);
	use_profile(identity, "e");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 0, "AKENV", SECRET, NULL);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with environment");

	identity_env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s/keys",
				 identity->url);
	identity_json(identity, "/keys", 0, "AKCONTAINER", 3600);
	use_profile(identity, "c");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 2, "AKCONTAINER", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with container");

	identity_env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s", identity->url);
	identity_refuse(identity, "/latest/api/token", 0, 200, "canary-token");
	identity_json(identity, "/security-credentials/lake", 0, "AKINSTANCE",
				  3600);
	identity_refuse(identity, "/security-credentials/", 0, 200, "lake");
	use_profile(identity, "i");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 6, "AKINSTANCE", SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE
						" assumed with instance metadata (role lake)");
}

static void
role_with_a_web_identity(void **state)
{
	Identity *identity = *state;
	const ServerRequest *request;
	char config[1000];

	snprintf(config, sizeof(config),
			 "[profile x]\nrole_arn = " ROLE "\nsource_profile = w\n"
			 "[profile w]\nrole_arn = " ROLE2 "\nrole_session_name = pod\n"
			 "web_identity_token_file = %s\n",
			 identity_file(identity, "token", "canary.jwt"));
	identity_file(identity, ".aws/config", config);
	identity_sts(identity, 1, "AKWEB", 3600);
	identity_sts(identity, 1, ID, 3600);
	use_profile(identity, "x");
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with role " ROLE2
						" assumed with web identity");
	request = server_request(identity->server, NULL, NULL, 0);
	assert_string_equal(identity_form(request, "Action"),
						"AssumeRoleWithWebIdentity");
	assert_string_equal(identity_form(request, "RoleSessionName"), "pod");
	assert_string_equal(identity_form(request, "WebIdentityToken"),
						"canary.jwt");
	assert_signed(identity, 1, "AKWEB", SECRET, TOKEN);
}

/* The options' role is assumed in addition. */
static void
role_on_top(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_PROFILE,
									.profile = "x",
									.role_arn = ROLE2,
									.external_id = "outer",
									.region = "eu-west-1",
									.sts_endpoint = identity->url};

	identity_file(identity, ".aws/config",
				  "[profile x]\nrole_arn = " ROLE "\nsource_profile = y\n"
				  "external_id = inner\n[profile y]\n" KEYS("AKBASE"));
	identity_sts(identity, 1, "AKINNER", 3600);
	identity_sts(identity, 1, ID, 3600);
	identity_use(identity, &options);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 1, "AKINNER", SECRET, TOKEN);
	assert_string_equal(
		identity_form(server_request(identity->server, NULL, NULL, 0),
					  "ExternalId"),
		"inner");
	assert_string_equal(
		identity_form(server_request(identity->server, NULL, NULL, 1),
					  "ExternalId"),
		"outer");
}

/* Six roles are allowed, including the one in the options. */
static void
too_many_roles(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_PROFILE,
									.profile = "r2",
									.role_arn = ROLE2,
									.region = "eu-west-1",
									.sts_endpoint = identity->url};
	char config[2000] = "";

	for (int i = 1; i <= 6; i++)
		sprintf(config + strlen(config),
				"[profile r%d]\nrole_arn = " ROLE "\nsource_profile = r%d\n",
				i, i + 1);
	strcat(config, "[profile r7]\n" KEYS("AKBASE"));
	identity_file(identity, ".aws/config", config);
	identity_sts(identity, 0, ID, 3600);
	identity_use(identity, &options);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 6);
	options.profile = "r1";
	identity_use(identity, &options);
	assert_failed(identity, "more than 6 roles would have to be assumed");
	assert_int_equal(server_count(identity->server, NULL, NULL), 6);
}

/* The endpoint is that of the option, the environment, or the profile. */
static void
sts_endpoints(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_PROFILE,
									.profile = "x",
									.region = "eu-west-1"};
	char config[1000];

	snprintf(
		config, sizeof(config),
		"[profile x]\nrole_arn = " ROLE "\nsource_profile = y\n"
		"services = lab\n[profile y]\n" KEYS(
			"AKBASE") "[services lab]\nsts =\n  endpoint_url = %s/profile\n",
		identity->url);
	identity_file(identity, ".aws/config", config);
	identity_sts(identity, 0, ID, 3600);
	identity_use(identity, &options);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_env("AWS_ENDPOINT_URL_STS", "%s/environment", identity->url);
	identity_use(identity, &options);
	assert_ready(identity, ID, SECRET, TOKEN);
	options.sts_endpoint = identity->url;
	identity_use(identity, &options);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, "POST", "/profile/"), 1);
	assert_int_equal(server_count(identity->server, "POST", "/environment/"),
					 1);
	assert_int_equal(server_count(identity->server, "POST", "/"), 3);
	identity_env("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
	identity_use(identity, &options);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, "POST", "/"), 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IDENTITY_TEST(files_of_profiles),
		IDENTITY_TEST(keys_of_one_file),
		IDENTITY_TEST(changed_files),
		IDENTITY_TEST(empty_files),
		IDENTITY_TEST(files_that_cannot_be_used),
		IDENTITY_TEST(huge_file),
		IDENTITY_TEST(odd_names),
		IDENTITY_TEST(profiles_that_are_refused),
		IDENTITY_TEST(keys_before_a_process),
		IDENTITY_TEST(role_with_a_source_profile),
		IDENTITY_TEST(chain_of_roles),
		IDENTITY_TEST(keys_before_roles),
		IDENTITY_TEST(role_with_a_credential_source),
		IDENTITY_TEST(role_with_a_web_identity),
		IDENTITY_TEST(role_on_top),
		IDENTITY_TEST(too_many_roles),
		IDENTITY_TEST(sts_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
