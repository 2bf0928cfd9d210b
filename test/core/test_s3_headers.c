/*
 * test_s3_headers.c
 *		Headers of calls: checksums, conditions, and the common ones.
 *
 * test/core/test_s3_headers.c
 */
#include "s3calls.h"

#define UNSIGNED "UNSIGNED-PAYLOAD"
#define CRC_TEXT "SQ9wxg==" /* of "part", by zlib */
#define CRC_VALUE 0x490f70c6

static void
use_tls(Fixture *fixture)
{
	ObS3Options options;

	server_tls(fixture->server);
	options = usual_s3(fixture);
	options.endpoint.https = true;
	options.http.ca_file = server_ca(fixture->server);
	replace_s3(fixture, &options);
}

/* A header of the request, "" if it is missing; it must not occur twice. */
static const char *
header(const ServerRequest *request, const char *name)
{
	static char value[200];

	assert_in_range(server_header(request, name, value, sizeof(value)), 0, 1);
	return value;
}

static void
assert_header(const char *row, const ServerRequest *request, const char *name,
			  const char *want)
{
	if (strcmp(header(request, name), want) != 0)
		print_error("row %s: %s: \"%s\" instead of \"%s\"\n", row, name,
					header(request, name), want);
	assert_string_equal(header(request, name), want);
}

static void
checksum_headers(void **state)
{
	static const struct
	{
		const char *name;
		bool tls;
		ObS3Verb verb;
		ObChecksum checksum;
		const char *payload; /* NULL: its SHA-256 */
		const char *crc32;
		const char *algorithm;
		const char *type;
	} rows[] = {
		{"http, sha256", false, OB_S3_UPLOAD_PART, OB_CHECKSUM_SHA256, NULL,
		 "", "", ""},
		{"http, none", false, OB_S3_UPLOAD_PART, OB_CHECKSUM_NONE, NULL, "",
		 "", ""},
		{"http, crc32", false, OB_S3_UPLOAD_PART, OB_CHECKSUM_CRC32, NULL,
		 CRC_TEXT, "", ""},
		{"http, crc32, object", false, OB_S3_PUT_OBJECT, OB_CHECKSUM_CRC32,
		 NULL, CRC_TEXT, "", ""},
		{"sha256", true, OB_S3_UPLOAD_PART, OB_CHECKSUM_SHA256, NULL, "", "",
		 ""},
		{"sha256, object", true, OB_S3_PUT_OBJECT, OB_CHECKSUM_SHA256, NULL,
		 "", "", ""},
		{"none", true, OB_S3_UPLOAD_PART, OB_CHECKSUM_NONE, UNSIGNED, "", "",
		 ""},
		{"none, object", true, OB_S3_PUT_OBJECT, OB_CHECKSUM_NONE, UNSIGNED,
		 "", "", ""},
		{"crc32", true, OB_S3_UPLOAD_PART, OB_CHECKSUM_CRC32, UNSIGNED,
		 CRC_TEXT, "", ""},
		{"crc32, object", true, OB_S3_PUT_OBJECT, OB_CHECKSUM_CRC32, UNSIGNED,
		 CRC_TEXT, "", ""},
		{"crc32, create", true, OB_S3_CREATE, OB_CHECKSUM_CRC32, NULL, "",
		 "CRC32", "FULL_OBJECT"},
		{"crc32, complete", true, OB_S3_COMPLETE, OB_CHECKSUM_CRC32, NULL,
		 CRC_TEXT, "", "FULL_OBJECT"},
		{"crc32, abort", true, OB_S3_ABORT, OB_CHECKSUM_CRC32, NULL, "", "",
		 ""},
		{"crc32, head", true, OB_S3_HEAD, OB_CHECKSUM_CRC32, NULL, "", "", ""},
		{"sha256, create", true, OB_S3_CREATE, OB_CHECKSUM_SHA256, NULL, "",
		 "", ""},
		{"sha256, complete", true, OB_S3_COMPLETE, OB_CHECKSUM_SHA256, NULL,
		 "", "", ""},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		const ServerRequest *request;
		Call call;

		if (rows[i].tls && strcmp(server_ca(fixture->server), "") == 0)
			use_tls(fixture);
		server_reset(fixture->server);
		server_rule(fixture->server, success(rows[i].verb, NULL));
		call_init(&call, fixture);
		call.call.checksum = rows[i].checksum;
		call.call.crc32 = CRC_VALUE;
		start_verb(&call, rows[i].verb, "k");
		wait_done(&call);
		assert_string_equal(call.call.error.cause, "");
		request = server_request(fixture->server, NULL, NULL, 0);
		assert_int_equal(request->tls, rows[i].tls);
		assert_header(rows[i].name, request, "x-amz-content-sha256",
					  rows[i].payload ? rows[i].payload : request->sha256);
		assert_header(rows[i].name, request, "x-amz-checksum-crc32",
					  rows[i].crc32);
		assert_header(rows[i].name, request, "x-amz-checksum-algorithm",
					  rows[i].algorithm);
		assert_header(rows[i].name, request, "x-amz-checksum-type",
					  rows[i].type);
		assert_signature(request);
		call_free(&call);
	}
}

/* No call has another one of the store's checksums, or trailers. */
static void
no_other_checksums(void **state)
{
	Fixture *fixture = *state;

	for (int verb = OB_S3_PUT_OBJECT; verb <= OB_S3_GET_ENCRYPTION; verb++)
	{
		const ServerRequest *request;
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, success((ObS3Verb) verb, NULL));
		call_init(&call, fixture);
		start_verb(&call, (ObS3Verb) verb, "k");
		wait_done(&call);
		request = server_request(fixture->server, NULL, NULL, 0);
		assert_null(strcasestr(request->head, "x-amz-checksum"));
		assert_null(strcasestr(request->head, "x-amz-sdk"));
		assert_null(strcasestr(request->head, "trailer"));
		assert_null(strcasestr(request->head, "content-md5"));
		assert_null(strcasestr(request->head, "if-none-match"));
		assert_null(strcasestr(request->head, "x-amz-mp-object-size"));
		call_free(&call);
	}
}

static void
size_of_the_object(void **state)
{
	Fixture *fixture = *state;

	for (int verb = OB_S3_PUT_OBJECT; verb <= OB_S3_HEAD; verb++)
	{
		const ServerRequest *request;
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, success((ObS3Verb) verb, NULL));
		call_init(&call, fixture);
		call.call.object_size = UINT64_C(5497558138880);
		start_verb(&call, (ObS3Verb) verb, "k");
		wait_done(&call);
		request = server_request(fixture->server, NULL, NULL, 0);
		assert_header("size", request, "x-amz-mp-object-size",
					  verb == OB_S3_COMPLETE ? "5497558138880" : "");
		assert_signature(request);
		call_free(&call);
	}
}

static void
condition_of_writes(void **state)
{
	Fixture *fixture = *state;

	for (int verb = OB_S3_PUT_OBJECT; verb <= OB_S3_GET_ENCRYPTION; verb++)
	{
		bool writes = verb == OB_S3_PUT_OBJECT || verb == OB_S3_COMPLETE;
		const ServerRequest *request;
		char signed_names[200];
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, success((ObS3Verb) verb, NULL));
		call_init(&call, fixture);
		call.call.if_none_match = true;
		start_verb(&call, (ObS3Verb) verb, "k");
		wait_done(&call);
		request = server_request(fixture->server, NULL, NULL, 0);
		assert_header("condition", request, "If-None-Match",
					  writes ? "*" : "");
		/* no proxy may remove it */
		part_of(request->head, "SignedHeaders=", ',', signed_names,
				sizeof(signed_names));
		assert_int_equal(strstr(signed_names, "if-none-match") != NULL,
						 writes);
		assert_signature(request);
		call_free(&call);
	}
}

/* Each request has them, even the one that looks for a bucket's region. */
static void
common_headers(void **state)
{
	static const ObPair common[] = {
		{"x-amz-expected-bucket-owner", "123456789012"},
		{"x-amz-request-payer", "requester"}};
	static const ObPair own[] = {{"x-amz-meta-a", "b"}};
	Fixture *fixture = *state;
	int n;

	for (int verb = OB_S3_PUT_OBJECT; verb <= OB_S3_GET_ENCRYPTION + 1; verb++)
	{
		bool asking = verb > OB_S3_GET_ENCRYPTION;
		Call call;

		server_reset(fixture->server);
		if (asking)
		{
			server_rule(fixture->server,
						(ServerRule){.method = "PUT", .status = 301});
			server_rule(fixture->server,
						(ServerRule){.method = "HEAD", .status = 200});
		}
		else
			server_rule(fixture->server, success((ObS3Verb) verb, NULL));
		call_init(&call, fixture);
		call.call.common = common;
		call.call.ncommon = 2;
		if (asking || verb == OB_S3_PUT_OBJECT)
			ob_s3_put_object(&call.call, "b", "k", own, 1, "object", 6, NULL);
		else
			start_verb(&call, (ObS3Verb) verb, "k");
		wait_done(&call);
		assert_int_equal(call.call.error.code, asking ? OB_EREGION : OB_OK);
		n = server_count(fixture->server, NULL, NULL);
		assert_int_equal(n, asking ? 2 : 1);
		for (int i = 0; i < n; i++)
		{
			const ServerRequest *request =
				server_request(fixture->server, NULL, NULL, i);

			assert_header("owner", request, common[0].name, common[0].value);
			assert_header("payer", request, common[1].name, common[1].value);
			assert_header("own", request, own[0].name,
						  strcmp(request->method, "PUT") == 0 &&
								  (asking || verb == OB_S3_PUT_OBJECT)
							  ? "b"
							  : "");
			assert_signature(request);
		}
		call_free(&call);
	}
}

/* There are 96 headers in all, from all sources. */
static void
too_many_headers(void **state)
{
	Fixture *fixture = *state;
	ObPair headers[93];
	Call call;

	for (size_t i = 0; i < COUNT_OF(headers); i++)
		headers[i] = (ObPair){"x-amz-meta-a", "b"};
	server_rule(fixture->server, success(OB_S3_CREATE, NULL));
	call_init(&call, fixture);
	call.call.common = headers;
	call.call.ncommon = 1;
	ob_s3_create(&call.call, "b", "k", headers, 92);
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_OK);
	call.done = 0;
	call.call.ncommon = 2;
	ob_s3_create(&call.call, "b", "k", headers, 92);
	wait_done(&call);
	assert_error(&call.call.error, OB_EINVAL, "too many object headers");
	assert_int_equal(server_count(fixture->server, NULL, NULL), 1);
	call_free(&call);
}

/* ---- checksums of responses ---- */

static void
checksums_of_responses(void **state)
{
#define ETAG "ETag: \"e\"\r\n"
	static const ServerRule right = {.status = 200,
									 .headers = ETAG
									 "X-Amz-Checksum-CRC32: " CRC_TEXT "\r\n"};
	static const ServerRule wrong = {
		.status = 200, .headers = ETAG "x-amz-checksum-crc32: AAAAAA==\r\n"};
	static const ServerRule none = {.status = 200, .headers = ETAG};
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		ObChecksum checksum;
		const ServerRule *responses[2];
		int requests;
		ObCode code;
	} rows[] = {
		{"right", OB_S3_UPLOAD_PART, OB_CHECKSUM_CRC32, {&right}, 1, OB_OK},
		{"none", OB_S3_UPLOAD_PART, OB_CHECKSUM_CRC32, {&none}, 1, OB_OK},
		{"wrong once",
		 OB_S3_UPLOAD_PART,
		 OB_CHECKSUM_CRC32,
		 {&wrong, &right},
		 2,
		 OB_OK},
		{"wrong",
		 OB_S3_PUT_OBJECT,
		 OB_CHECKSUM_CRC32,
		 {&wrong, &wrong},
		 3,
		 OB_EPROTO},
		/* a store may use other checksums */
		{"not requested",
		 OB_S3_UPLOAD_PART,
		 OB_CHECKSUM_SHA256,
		 {&wrong},
		 1,
		 OB_OK},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		server_reset(fixture->server);
		for (int n = 0; n < 2 && rows[i].responses[n]; n++)
		{
			ServerRule rule = *rows[i].responses[n];

			rule.times = n == 0;
			server_rule(fixture->server, rule);
		}
		call_init(&call, fixture);
		call.call.checksum = rows[i].checksum;
		call.call.crc32 = CRC_VALUE;
		start_verb(&call, rows[i].verb, "k");
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == rows[i].code);
		assert_row(rows[i].name, server_count(fixture->server, NULL, NULL) ==
									 rows[i].requests);
		if (rows[i].code != OB_OK)
			assert_error(
				&call.call.error, rows[i].code,
				"the response's checksum is not that of what was sent");
		call_free(&call);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(checksum_headers),       TEST(no_other_checksums),
		TEST(size_of_the_object),     TEST(condition_of_writes),
		TEST(common_headers),         TEST(too_many_headers),
		TEST(checksums_of_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
