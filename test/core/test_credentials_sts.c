/*
 * test_credentials_sts.c
 *		Roles: AssumeRole with any source's credentials, and web identities.
 *
 * test/core/test_credentials_sts.c
 */
#include "identity.h"

#define JWT "canary.eyJhbGciOiJSUzI1NiJ9.sig-+_~ &="

static void
use_role(Identity *identity)
{
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_KEYS,
									.keys = {"AKBASE", SECRET, TOKEN},
									.role_arn = ROLE,
									.region = "eu-west-1",
									.sts_endpoint = identity->url};

	identity_use(identity, &options);
}

/* The environment of a pod with IRSA. */
static void
set_web_identity(Identity *identity, const char *token)
{
	identity_env("AWS_ROLE_ARN", ROLE);
	identity_env("AWS_WEB_IDENTITY_TOKEN_FILE", "%s",
				 identity_file(identity, "token", token));
}

#define STS_ERROR(code, message)                                          \
	"<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">" \
	"<Error><Type>Sender</Type><Code>" code "</Code><Message>" message    \
	"</Message></Error><RequestId>req-1</RequestId></ErrorResponse>"

/* ---- AssumeRole ---- */

static void
assume_role(void **state)
{
	Identity *identity = *state;
	const ServerRequest *request;
	char value[100];

	identity_sts(identity, 0, ID, 3600);
	use_role(identity);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with user mapping");
	assert_in_range(ob_provider_expires(identity->provider), time(NULL) + 3590,
					time(NULL) + 3600);
	assert_signed(identity, 0, "AKBASE", SECRET, TOKEN);
	request = server_request(identity->server, NULL, NULL, 0);
	assert_string_equal(request->method, "POST");
	assert_string_equal(request->target, "/");
	assert_int_equal(
		server_header(request, "Content-Type", value, sizeof(value)), 1);
	assert_string_equal(value,
						"application/x-www-form-urlencoded; charset=utf-8");
	assert_string_equal(identity_form(request, "Action"), "AssumeRole");
	assert_string_equal(identity_form(request, "RoleArn"), ROLE);
	assert_string_equal(identity_form(request, "RoleSessionName"), "onboard");
	assert_null(strstr(request->body, "ExternalId"));
	assert_null(strstr(request->body, "DurationSeconds"));
	assert_null(strstr(request->body, "canary"));
	/* the mapping's keys stay valid; the role's can be fetched again */
	assert_true(ob_provider_refused(identity->provider, ID));
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
}

/* The signature has the store's time. */
static void
another_clock(void **state)
{
	Identity *identity = *state;
	char stamp[32];
	struct tm tm = {0};

	identity_sts(identity, 0, ID, 7200);
	use_role(identity);
	ob_provider_set_clock_offset(identity->provider, 1200);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_signed(identity, 0, "AKBASE", SECRET, TOKEN);
	server_header(server_request(identity->server, NULL, NULL, 0),
				  "x-amz-date", stamp, sizeof(stamp));
	assert_non_null(strptime(stamp, "%Y%m%dT%H%M%SZ", &tm));
	assert_in_range(timegm(&tm), time(NULL) + 1190, time(NULL) + 1200);
}

/* Our clock is wrong by some seconds, as STS's response shows. */
static void
refuse_date(Identity *identity, int times, const char *code, int skew)
{
	char headers[100];
	char body[500];
	char date[64];
	time_t now = time(NULL) + skew;
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	snprintf(headers, sizeof(headers), "Date: %s\r\n", date);
	snprintf(body, sizeof(body), STS_ERROR("%s", "Signature expired"), code);
	server_rule(identity->server, (ServerRule){.times = times,
											   .status = 403,
											   .headers = headers,
											   .body = body});
}

/* After a wrong clock, the request is signed once more with STS's time, which
 * is kept. */
static void
clock_is_wrong(void **state)
{
	static const struct
	{
		const char *code;
		int skew;
		bool mended;
	} rows[] = {
		{"SignatureDoesNotMatch", 1200, true},
		{"SignatureDoesNotMatch", -1200, true},
		{"RequestTimeTooSkewed", 7000, true},
		{"SignatureDoesNotMatch", 5, false},
		{"SignatureDoesNotMatch", -5, false},
		{"AccessDenied", 1200, false},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char stamp[32];
		struct tm tm = {0};

		server_reset(identity->server);
		refuse_date(identity, 1, rows[i].code, rows[i].skew);
		identity_sts(identity, 1, ID, 9000);
		identity_sts(identity, 1, "AKSECOND", 9000);
		use_role(identity);
		if (!rows[i].mended)
		{
			assert_failed(identity, "Signature expired");
			assert_int_equal(server_count(identity->server, NULL, NULL), 1);
			continue;
		}
		assert_ready(identity, ID, SECRET, TOKEN);
		assert_true(ob_provider_refused(identity->provider, ID));
		assert_ready(identity, "AKSECOND", SECRET, TOKEN);
		for (int n = 1; n < 3; n++)
		{
			assert_signed(identity, n, "AKBASE", SECRET, TOKEN);
			server_header(server_request(identity->server, NULL, NULL, n),
						  "x-amz-date", stamp, sizeof(stamp));
			assert_non_null(strptime(stamp, "%Y%m%dT%H%M%SZ", &tm));
			assert_in_range(timegm(&tm) - time(NULL) - rows[i].skew + 10, 0,
							11);
		}
	}
	/* it is reported only once */
	server_reset(identity->server);
	refuse_date(identity, 0, "SignatureDoesNotMatch", 1200);
	use_role(identity);
	assert_failed(identity, "SignatureDoesNotMatch, Signature expired");
	assert_int_equal(server_count(identity->server, NULL, NULL), 2);
}

static void
role_without_a_region(void **state)
{
	Identity *identity = *state;
	ObCredentialsOptions options = {.source = OB_CREDENTIALS_KEYS,
									.keys = {"AKBASE", SECRET, TOKEN},
									.role_arn = ROLE,
									.sts_endpoint = identity->url};

	identity_use(identity, &options);
	assert_failed(identity, "a region is required");
	options.region = "EU/west";
	options.sts_endpoint = NULL;
	identity_use(identity, &options);
	assert_failed(identity, "no STS endpoint: ");
	options.sts_endpoint = "http://user:canary@127.0.0.1/";
	identity_use(identity, &options);
	assert_failed(identity, "no STS endpoint: ");
	options.role_arn = "arn:aws:iam::1:role/a b";
	identity_use(identity, &options);
	assert_failed(identity, "ARN is not of printable ASCII");
	assert_int_equal(server_count(identity->server, NULL, NULL), 0);
}

/* No name is resolved here; the error shows the name that would have been. */
static void
endpoints_of_aws(void **state)
{
	static const struct
	{
		const char *region;
		const char *host;
	} rows[] = {
		{"xx-test-1", "https://sts.xx-test-1.amazonaws.com:"},
		{"cn-test-1", "https://sts.cn-test-1.amazonaws.com.cn:"},
		{"eusc-test-1", "https://sts.eusc-test-1.amazonaws.eu:"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObHttpOptions http = {.user_agent = "a",
							  .proxy = "http://127.0.0.1:1",
							  .connect_timeout_ms = 5000,
							  .stall_timeout_ms = 5000,
							  .max_connections = 1};
		ObCredentialsOptions options = {.source = OB_CREDENTIALS_KEYS,
										.keys = {"AKBASE", SECRET, TOKEN},
										.role_arn = ROLE,
										.region = rows[i].region};

		/* a proxy that does not exist keeps the request on this machine */
		identity_use_http(identity, &http);
		identity_use(identity, &options);
		assert_failed(identity, rows[i].host);
		assert_failed(identity, "after 3 attempts");
	}
}

/* ---- refusals ---- */

static void
refusals(void **state)
{
	static const struct
	{
		int status;
		const char *body;
		int requests;
		const char *cause;
	} rows[] = {
		{403,
		 STS_ERROR("AccessDenied", "User: arn:aws:iam::1:user/x is not "
								   "authorized to perform: sts:AssumeRole"),
		 1,
		 "AccessDenied, User: arn:aws:iam::1:user/x is not authorized to "
		 "perform: sts:AssumeRole (HTTP status 403, request id req-1)"},
		{403, STS_ERROR("ExpiredToken", ""), 1,
		 "ExpiredToken (HTTP status 403"},
		{400, STS_ERROR("ValidationError", "bad"), 1, "ValidationError, bad"},
		{400, STS_ERROR("IDPCommunicationError", ""), 3,
		 "IDPCommunicationError (HTTP status 400, request id req-1) (after 3 "
		 "attempts)"},
		{400, STS_ERROR("Throttling", "Rate exceeded"), 3,
		 "Throttling, Rate exceeded"},
		{500, STS_ERROR("InternalFailure", ""), 3, "InternalFailure"},
		{503, "<html>busy</html>", 3, "HTTP status 503 (after 3 attempts)"},
		{403, "", 1, "HTTP status 403"},
		{403, "{\"Error\": {}}", 1, "HTTP status 403"},
		{307, "", 1, "HTTP status 307"},
		/* the error repeats nothing of the request or its secrets */
		{403, STS_ERROR("AccessDenied", "your token is " TOKEN), 1,
		 "HTTP status 403"},
		{403, STS_ERROR("AccessDenied", "and ends in /secret+1="), 1,
		 "HTTP status 403"},
		{403, STS_ERROR(TOKEN, ""), 1, "HTTP status 403"},
		{403, STS_ERROR("a&#10;b", "not &lt;&gt; \xC3\xA4 %s%n"), 1,
		 "a?b, not <> ?? %s%n"},
		/* a 200 without the required elements */
		{200, "", 1, "the response is empty"},
		{200, "<AssumeRoleResponse>", 1, "malformed"},
		{200, "{}", 1, "malformed"},
		{200, STS_ERROR("AccessDenied", ""), 1, "no credentials"},
		{200,
		 "<AssumeRoleResponse><AssumeRoleResult><Credentials>"
		 "<AccessKeyId>AK ID</AccessKeyId><SecretAccessKey>canary"
		 "</SecretAccessKey><SessionToken>canary</SessionToken><Expiration>"
		 "2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult>"
		 "</AssumeRoleResponse>",
		 1, "the response's access key id is not"},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(identity->server);
		identity_refuse(identity, "/", 0, rows[i].status, rows[i].body);
		use_role(identity);
		assert_failed(identity, rows[i].cause);
		assert_failed(identity, "role " ROLE " could not be assumed by STS at "
								"http://127.0.0.1:");
		assert_int_equal(server_count(identity->server, NULL, NULL),
						 rows[i].requests);
	}
}

static void
responses_of_odd_sizes(void **state)
{
	Identity *identity = *state;
	size_t len = 70000;
	char *body = test_malloc(len + 1);

	memset(body, 'x', len);
	body[len] = '\0';
	for (int status = 200; status <= 500; status += 300)
	{
		server_reset(identity->server);
		server_rule(
			identity->server,
			(ServerRule){.status = status, .body = body, .body_len = len});
		use_role(identity);
		assert_failed(identity, "longer than 65536 bytes");
		assert_int_equal(server_count(identity->server, NULL, NULL), 1);
	}
	test_free(body);
}

/* A lost connection, a truncated response, and a transient error. */
static void
faults_that_pass(void **state)
{
	static const ServerRule rows[] = {
		{.act = SERVER_DROP},
		{.act = SERVER_CUT, .status = 200, .body = "<AssumeRole", .cut = 5},
		{.status = 500, .body = "oops"},
		{.status = 503},
		{.status = 400, .body = STS_ERROR("Throttling", "slower")},
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule rule = rows[i];

		server_reset(identity->server);
		rule.times = 2;
		server_rule(identity->server, rule);
		identity_sts(identity, 0, ID, 3600);
		use_role(identity);
		assert_ready(identity, ID, SECRET, TOKEN);
		assert_int_equal(server_count(identity->server, NULL, NULL), 3);
		assert_signed(identity, 2, "AKBASE", SECRET, TOKEN);
	}
}

/* ---- web identity ---- */

static void
web_identity(void **state)
{
	Identity *identity = *state;
	const ServerRequest *request;
	char value[100];

	set_web_identity(identity, JWT "\n");
	identity_env("AWS_ROLE_SESSION_NAME", "pod-1");
	identity_sts(identity, 0, ID, 3600);
	identity_use_source(identity, OB_CREDENTIALS_WEB_IDENTITY);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_string_equal(ob_provider_origin(identity->provider),
						"role " ROLE " assumed with web identity");
	request = server_request(identity->server, NULL, NULL, 0);
	assert_string_equal(request->method, "POST");
	assert_string_equal(request->target, "/");
	assert_int_equal(
		server_header(request, "Authorization", value, sizeof(value)), 0);
	assert_string_equal(identity_form(request, "Action"),
						"AssumeRoleWithWebIdentity");
	assert_string_equal(identity_form(request, "Version"), "2011-06-15");
	assert_string_equal(identity_form(request, "RoleArn"), ROLE);
	assert_string_equal(identity_form(request, "RoleSessionName"), "pod-1");
	assert_string_equal(identity_form(request, "WebIdentityToken"), JWT);
}

/* Kubernetes replaces the token in the file from time to time. */
static void
token_is_read_again(void **state)
{
	Identity *identity = *state;

	set_web_identity(identity, "canary-one");
	identity_sts(identity, 1, ID, 3600);
	identity_sts(identity, 1, "AKSECOND", 7200);
	identity_use_source(identity, OB_CREDENTIALS_WEB_IDENTITY);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_file(identity, "token", "canary-two");
	ob_provider_set_clock_offset(identity->provider, 3400);
	assert_ready(identity, ID, SECRET, TOKEN);
	identity_drive(identity, 2);
	assert_ready(identity, "AKSECOND", SECRET, TOKEN);
	assert_string_equal(
		identity_form(server_request(identity->server, NULL, NULL, 0),
					  "WebIdentityToken"),
		"canary-one");
	assert_string_equal(
		identity_form(server_request(identity->server, NULL, NULL, 1),
					  "WebIdentityToken"),
		"canary-two");
}

/* The token was replaced after the file was read: the request is repeated, but
 * only once. */
static void
token_is_refused(void **state)
{
	static const char *const codes[] = {
		"InvalidIdentityToken", "ExpiredTokenException", "ExpiredToken"};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(codes); i++)
	{
		char body[1000];

		server_reset(identity->server);
		snprintf(body, sizeof(body), STS_ERROR("%s", "No."), codes[i]);
		set_web_identity(identity, JWT);
		identity_refuse(identity, "/", 1, 400, body);
		identity_sts(identity, 1, ID, 3600);
		identity_use_source(identity, OB_CREDENTIALS_WEB_IDENTITY);
		assert_ready(identity, ID, SECRET, TOKEN);
		assert_int_equal(server_count(identity->server, NULL, NULL), 2);

		server_reset(identity->server);
		identity_refuse(identity, "/", 0, 400, body);
		identity_use_source(identity, OB_CREDENTIALS_WEB_IDENTITY);
		assert_failed(identity, "No. (HTTP status 400");
		assert_failed(identity, codes[i]);
		assert_int_equal(server_count(identity->server, NULL, NULL), 2);
	}
}

static void
token_is_not_repeated(void **state)
{
	static const char *const messages[] = {
		JWT,
		"your eyJhbGciOi is bad",
		"canary",
		"..." JWT "...",
	};
	Identity *identity = *state;

	for (size_t i = 0; i < COUNT_OF(messages); i++)
	{
		char body[1000];

		server_reset(identity->server);
		snprintf(body, sizeof(body),
				 "<Error><Code>Bad</Code><Message><![CDATA[%s]]></Message>"
				 "<RequestId>eyJhbGciOi</RequestId></Error>",
				 messages[i]);
		set_web_identity(identity, JWT);
		identity_refuse(identity, "/", 0, 400, body);
		identity_use_source(identity, OB_CREDENTIALS_WEB_IDENTITY);
		assert_failed(identity, "HTTP status 400");
		assert_null(strstr(identity->error.cause, "eyJhbGciOi"));
	}
}

static void
web_identity_with_a_gap(void **state)
{
	static const char *const empties[] = {"", "\n", " \r\n"};
	Identity *identity = *state;
	FILE *file;
	char *huge;

	identity_use_source(identity, OB_CREDENTIALS_WEB_IDENTITY);
	assert_failed(identity, "for a web identity, the environment has no "
							"AWS_WEB_IDENTITY_TOKEN_FILE");
	identity_env("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token");
	ob_provider_reset(identity->provider);
	assert_failed(identity, "the environment has no AWS_ROLE_ARN");
	identity_env("AWS_ROLE_ARN", ROLE);
	ob_provider_reset(identity->provider);
	assert_failed(identity, "could not open file \"/nonexistent/token\": No "
							"such file");
	for (size_t i = 0; i < COUNT_OF(empties); i++)
	{
		set_web_identity(identity, empties[i]);
		ob_provider_reset(identity->provider);
		assert_failed(identity, "/token\" is empty");
	}
	file = fopen(identity_file(identity, "token", ""), "w");
	assert_int_equal(fwrite("canary\0x", 1, 8, file), 8);
	fclose(file);
	ob_provider_reset(identity->provider);
	assert_failed(identity, "/token\" has a NUL byte");
	huge = test_malloc(65538);
	memset(huge, 'x', 65537);
	huge[65537] = '\0';
	set_web_identity(identity, huge);
	ob_provider_reset(identity->provider);
	assert_failed(identity, "/token\" is longer than 65536 bytes");
	/* but a token that is one byte shorter can be sent */
	huge[65536] = '\0';
	set_web_identity(identity, huge);
	identity_sts(identity, 0, ID, 3600);
	ob_provider_reset(identity->provider);
	assert_ready(identity, ID, SECRET, TOKEN);
	assert_int_equal(server_count(identity->server, NULL, NULL), 1);
	test_free(huge);
}

/* ---- trust ---- */

/* STS is verified with the store's file of authorities, if both are AWS's, or
 * neither is. */
static void
authorities(void **state)
{
	static const struct
	{
		const char *name;
		bool store_is_aws;
		bool sts_is_aws;
		bool trusted;
	} rows[] = {
		{"both private", false, false, true},
		{"both AWS's, by an intercepting proxy", true, true, true},
		{"AWS's STS", false, true, false},
		{"a private STS", true, false, false},
	};
	Identity *identity = *state;
	char url[64];
	char https[64];

	server_tls(identity->server);
	identity_sts(identity, 0, ID, 3600);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d",
			 server_port(identity->server));
	snprintf(https, sizeof(https), "https://127.0.0.1:%d",
			 server_port(identity->server));
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObHttpOptions http = {.user_agent = "onboard-test/1",
							  .ca_file = server_ca(identity->server),
							  .proxy = rows[i].sts_is_aws ? url : NULL,
							  .connect_timeout_ms = 5000,
							  .stall_timeout_ms = 20000,
							  .max_connections = 4};
		ObCredentialsOptions options = {.source = OB_CREDENTIALS_KEYS,
										.keys = {"AKBASE", SECRET, TOKEN},
										.role_arn = ROLE,
										.region = "us-east-1",
										.sts_endpoint =
											rows[i].sts_is_aws ? NULL : https,
										.store_is_aws = rows[i].store_is_aws};

		identity_use_http(identity, &http);
		identity_use(identity, &options);
		if (rows[i].trusted)
			assert_ready(identity, ID, SECRET, TOKEN);
		else
			assert_failed(identity, "certificate");
		assert_row(rows[i].name, true);
	}
	/* the tunnel's host is AWS's */
	assert_string_equal(
		server_request(identity->server, NULL, NULL, 1)->tunnel,
		"sts.us-east-1.amazonaws.com:443");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		IDENTITY_TEST(assume_role),
		IDENTITY_TEST(another_clock),
		IDENTITY_TEST(clock_is_wrong),
		IDENTITY_TEST(role_without_a_region),
		IDENTITY_TEST(endpoints_of_aws),
		IDENTITY_TEST(refusals),
		IDENTITY_TEST(responses_of_odd_sizes),
		IDENTITY_TEST(faults_that_pass),
		IDENTITY_TEST(web_identity),
		IDENTITY_TEST(token_is_read_again),
		IDENTITY_TEST(authorities),
		IDENTITY_TEST(token_is_refused),
		IDENTITY_TEST(token_is_not_repeated),
		IDENTITY_TEST(web_identity_with_a_gap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
