/*
 * test_xml_sts.c
 *		STS's responses: those of AWS, Ceph and MinIO, and hostile ones.
 *
 * test/core/test_xml_sts.c
 */
#include "testing.h"

#include "core/aws/credentials_intern.h"
#include "core/text/timestamp.h"
#include "core/text/xml.h"

#define XMLNS " xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\""

/* from AWS's documentation of AssumeRole */
static const char aws_role[] =
	"<AssumeRoleResponse" XMLNS ">\n  <AssumeRoleResult>\n"
	"  <SourceIdentity>DevUser123</SourceIdentity>\n    <AssumedRoleUser>\n"
	"      <Arn>arn:aws:sts::123456789012:assumed-role/demo/TestAR</Arn>\n"
	"      <AssumedRoleId>ARO123EXAMPLE123:TestAR</AssumedRoleId>\n"
	"    </AssumedRoleUser>\n    <Credentials>\n"
	"      <AccessKeyId>ASIAIOSFODNN7EXAMPLE</AccessKeyId>\n"
	"      <SecretAccessKey>wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY"
	"</SecretAccessKey>\n      "
	"<SessionToken>AQoDYXdzEPT//////////wEXAMPLEtc764"
	"bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8"
	"YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQ"
	"DYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+"
	"xo0rKwT38xVqr7ZD0u0iP"
	"PkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICC"
	"R/oLxBA==</SessionToken>\n"
	"      <Expiration>2019-11-09T13:34:41Z</Expiration>\n"
	"    </Credentials>\n    <PackedPolicySize>6</PackedPolicySize>\n"
	"  </AssumeRoleResult>\n  <ResponseMetadata>\n"
	"    <RequestId>c6104cbe-af31-11e0-8154-cbc7ccf896c7</RequestId>\n"
	"  </ResponseMetadata>\n</AssumeRoleResponse>\n";

#define ROLE(root, result, credentials)                                \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?><" root "><" result ">" \
	"<Credentials>" credentials "</Credentials></" result "></" root ">"

#define FOUR                                                           \
	"<AccessKeyId>id</AccessKeyId><SecretAccessKey>secret"             \
	"</SecretAccessKey><SessionToken>token</SessionToken><Expiration>" \
	"2030-01-02T03:04:05.678Z</Expiration>"

static void
roles(void **state)
{
	static const char *const rows[] = {
		ROLE("AssumeRoleResponse", "AssumeRoleResult", FOUR),
		ROLE("AssumeRoleWithWebIdentityResponse",
			 "AssumeRoleWithWebIdentityResult", FOUR),
	};
	ObXmlRole role;
	ObError error = {0};

	assert_int_equal(
		ob_xml_read_role(aws_role, strlen(aws_role), &role, &error), OB_OK);
	assert_string_equal(role.access_key_id, "ASIAIOSFODNN7EXAMPLE");
	assert_string_equal(role.secret_access_key,
						"wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY");
	assert_int_equal(strlen(role.session_token), 336);
	assert_int_equal(role.expires, 1573306481);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		assert_int_equal(
			ob_xml_read_role(rows[i], strlen(rows[i]), &role, &error), OB_OK);
		assert_string_equal(role.access_key_id, "id");
		assert_string_equal(role.secret_access_key, "secret");
		assert_string_equal(role.session_token, "token");
		assert_int_equal(role.expires, 1893553445);
	}
}

static void
assert_no_role(const char *row, const char *data, size_t len)
{
	static const ObXmlRole none;
	ObXmlRole role;
	ObError error = {0};

	assert_row(row, ob_xml_read_role(data, len, &role, &error) == OB_EPROTO);
	assert_row(row, memcmp(&role, &none, sizeof(role)) == 0);
	assert_row(row, !strstr(error.cause, "canary"));
}

static void
invalid_roles(void **state)
{
	static const char *const rows[] = {
		"",
		"{}",
		"<AssumeRoleResponse/>",
		"<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>",
		ROLE("AssumeRoleResponse", "AssumeRoleResult", ""),
		ROLE("GetSessionTokenResponse", "GetSessionTokenResult", FOUR),
		"<AssumeRoleResponse><Credentials>" FOUR
		"</Credentials></AssumeRoleResponse>",
		ROLE("AssumeRoleResponse", "AssumeRoleResult",
			 "<AccessKeyId>canary</AccessKeyId>"),
		ROLE("AssumeRoleResponse", "AssumeRoleResult",
			 "<AccessKeyId>canary</AccessKeyId><SecretAccessKey>canary"
			 "</SecretAccessKey><SessionToken>canary</SessionToken>"),
		ROLE("AssumeRoleResponse", "AssumeRoleResult",
			 "<AccessKeyId>canary</AccessKeyId><SecretAccessKey>canary"
			 "</SecretAccessKey><SessionToken>canary</SessionToken>"
			 "<Expiration>canary</Expiration>"),
		ROLE("AssumeRoleResponse", "AssumeRoleResult",
			 "<AccessKeyId>canary</AccessKeyId><SecretAccessKey/>"
			 "<SessionToken>canary</SessionToken>"
			 "<Expiration>2030-01-02T03:04:05Z</Expiration>"),
		"<!DOCTYPE a [<!ENTITY x \"canary\">]>" ROLE("AssumeRoleResponse",
													 "AssumeRoleResult", FOUR),
		"<ErrorResponse><Error><Code>canary</Code></Error></ErrorResponse>",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_no_role(rows[i], rows[i], strlen(rows[i]));
	/* the last two bytes are ">" and a line break */
	for (size_t len = 0; len < strlen(aws_role) - 2; len++)
		assert_no_role("cut", aws_role, len);
}

/* A truncated secret would be another one. */
static void
long_texts_are_not_cut(void **state)
{
	static const struct
	{
		const char *name;
		size_t room;
	} rows[] = {
		{"AccessKeyId", 255},
		{"SecretAccessKey", 1023},
		{"SessionToken", 16383},
	};
	char *document = test_malloc(40000);
	char *value = test_malloc(20000);

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		for (size_t len = rows[i].room; len <= rows[i].room + 1; len++)
		{
			ObXmlRole role;
			ObError error = {0};
			bool fits = len == rows[i].room;

			memset(value, 'x', len);
			value[len] = '\0';
			sprintf(document,
					ROLE("AssumeRoleResponse", "AssumeRoleResult",
						 FOUR "<%s>%s</%s>"),
					rows[i].name, value, rows[i].name);
			assert_row(rows[i].name,
					   ob_xml_read_role(document, strlen(document), &role,
										&error) == (fits ? OB_OK : OB_EPROTO));
		}
	test_free(document);
	test_free(value);
}

static void
errors(void **state)
{
	static const struct
	{
		const char *document;
		const char *code;
		const char *message;
		const char *request_id;
	} rows[] = {
		/* AWS */
		{"<ErrorResponse" XMLNS ">\n  <Error>\n    <Type>Sender</Type>\n"
		 "    <Code>AccessDenied</Code>\n    <Message>User: arn:aws:iam::1:"
		 "user/x is not authorized</Message>\n  </Error>\n"
		 "  <RequestId>25b6c6ea</RequestId>\n</ErrorResponse>\n",
		 "AccessDenied", "User: arn:aws:iam::1:user/x is not authorized",
		 "25b6c6ea"},
		/* Ceph */
		{"<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AccessDenied"
		 "</Code><RequestId>tx1</RequestId><HostId>h</HostId></Error>",
		 "AccessDenied", "", "tx1"},
		{"<ErrorResponse><Error><Code>a\nb</Code></Error></ErrorResponse>",
		 "a?b", "", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObXmlError out;
		ObError error = {0};

		assert_int_equal(ob_xml_read_sts_error(rows[i].document,
											   strlen(rows[i].document), &out,
											   &error),
						 OB_OK);
		assert_string_equal(out.code, rows[i].code);
		assert_string_equal(out.message, rows[i].message);
		assert_string_equal(out.request_id, rows[i].request_id);
	}
}

static void
invalid_errors(void **state)
{
	static const char *const rows[] = {
		"",
		"denied",
		"<html><body>denied</body></html>",
		"<ErrorResponse/>",
		"<ErrorResponse><Error><Code/></Error></ErrorResponse>",
		"<ErrorResponse><Error><Code>a</Code></Error>",
		aws_role,
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObXmlError out;
		ObError error = {0};

		assert_row(rows[i], ob_xml_read_sts_error(rows[i], strlen(rows[i]),
												  &out, &error) == OB_EPROTO);
		assert_string_equal(out.code, "");
	}
}

/* test_xml.c tests other times, in S3's lists. */
static void
times(void **state)
{
	assert_int_equal(ob_timestamp_parse("2030-01-02T03:04:05Z"), 1893553445);
	assert_int_equal(ob_timestamp_parse("2030-01-02T03:04:05.1+00:00"),
					 1893553445);
	assert_int_equal(ob_timestamp_parse("2030-01-02T03:04:05+01:00"), 0);
	assert_int_equal(ob_timestamp_parse("2030-01-02"), 0);
	assert_int_equal(ob_timestamp_parse_http("Wed, 02 Jan 2030 03:04:05 GMT"),
					 1893553445);
	assert_int_equal(ob_timestamp_parse_http("Wed, 02 Jan 2030 03:04:05 CET"),
					 0);
	assert_int_equal(ob_timestamp_parse_http("2030-01-02T03:04:05Z"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(roles),
		cmocka_unit_test(invalid_roles),
		cmocka_unit_test(long_texts_are_not_cut),
		cmocka_unit_test(errors),
		cmocka_unit_test(invalid_errors),
		cmocka_unit_test(times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
