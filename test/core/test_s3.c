/*
 * test_s3.c
 *		S3's verbs over the wire: signed, retried, read back.
 *
 * test/core/test_s3.c
 *
 * Calls that wait for their next attempt run concurrently, so a table of calls
 * takes as long as its slowest row.
 */
#include "s3calls.h"

/* The names of headers in their order, in lower case, without those that every
 * request has. */
static void
assert_header_names(const ServerRequest *request, const char *want)
{
	char names[1000] = "";
	size_t len = 0;

	for (const char *line = request->head; *line;
		 line = strstr(line, "\r\n") + 2)
		len += (size_t) snprintf(names + len, sizeof(names) - len, "%.*s ",
								 (int) strcspn(line, ":"), line);
	assert_string_equal(names, want);
}

static void
requests_of_all_verbs(void **state)
{
#define ETAG "ETag: \"etag-1\"\r\n"
#define HEAD "Host User-Agent Accept x-amz-content-sha256 x-amz-date "
	static const ObPair headers[] = {{"x-amz-meta-a", "  b   c "},
									 {"Content-Type", "text/csv"},
									 {"x-amz-acl", "private"}};
	static const char key[] = "d\xC3\xBC/a b+c%&?=#~.csv";
	static const char path[] = "/b/d%C3%BC/a%20b%2Bc%25%26%3F%3D%23~.csv";
	static const char id[] = "uploadId=2~id%2Fwith%2Bodd%3D%26chars";
	static const struct
	{
		ObS3Verb verb;
		const char *method;
		const char *query; /* without the id */
		bool id;
		const char *body;
		const char *names;
	} rows[] = {
		{OB_S3_PUT_OBJECT, "PUT", "", false, "object",
		 HEAD "x-amz-meta-a Content-Type x-amz-acl Authorization "
			  "Content-Length "},
		{OB_S3_CREATE, "POST", "?uploads=", false, "",
		 HEAD "x-amz-meta-a Content-Type x-amz-acl Authorization "
			  "Content-Length "},
		{OB_S3_UPLOAD_PART, "PUT", "?partNumber=7&", true, "part",
		 HEAD "Authorization Content-Length "},
		{OB_S3_COMPLETE, "POST", "?", true,
		 "<CompleteMultipartUpload "
		 "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
		 "<Part><PartNumber>1</PartNumber><ETag>\"e1\"</ETag></Part>"
		 "<Part><PartNumber>2</PartNumber><ETag>\"e&lt;2&gt;\"</ETag>"
		 "</Part></CompleteMultipartUpload>",
		 HEAD "Authorization Content-Length "},
		{OB_S3_ABORT, "DELETE", "?", true, "", HEAD "Authorization "},
		{OB_S3_HEAD, "HEAD", "", false, "", HEAD "Authorization "},
		{OB_S3_LIST_PARTS, "GET", "?", true, "", HEAD "Authorization "},
		{OB_S3_HEAD_BUCKET, "HEAD", "", false, "", HEAD "Authorization "},
		{OB_S3_GET_ENCRYPTION, "GET", "?encryption=", false, "",
		 HEAD "Authorization "},
		{OB_S3_GET_OBJECT, "GET", "", false, "", HEAD "Authorization "},
		{OB_S3_SUM_OBJECT, "GET", "", false, "", HEAD "Authorization "},
		{OB_S3_DELETE_OBJECT, "DELETE", "", false, "", HEAD "Authorization "},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		const ServerRequest *request;
		char target[500];
		Call call;

		server_rule(fixture->server, success(rows[i].verb, NULL));
		call_init(&call, fixture);
		if (rows[i].verb == OB_S3_PUT_OBJECT)
			ob_s3_put_object(&call.call, "b", key, headers, 3, "object", 6,
							 NULL);
		else if (rows[i].verb == OB_S3_CREATE)
			ob_s3_create(&call.call, "b", key, headers, 3);
		else
			start_verb(&call, rows[i].verb, key);
		wait_done(&call);
		assert_string_equal(call.call.error.cause, "");
		assert_int_equal(call.call.error.code, OB_OK);
		assert_string_equal(call.call.error.what, "");
		assert_int_equal(call.call.error.attempts, 0);

		request = server_request(fixture->server, NULL, NULL, 0);
		snprintf(target, sizeof(target), "%s%s%s",
				 rows[i].verb >= OB_S3_HEAD_BUCKET ? "/b" : path,
				 rows[i].query, rows[i].id ? id : "");
		assert_string_equal(request->method, rows[i].method);
		assert_string_equal(request->target, target);
		assert_string_equal(request->body, rows[i].body);
		assert_header_names(request, rows[i].names);
		assert_signature(request);
		assert_in_range(signing_time(request), time(NULL) - 10, time(NULL));
		assert_no_secret(request->head, strlen(request->head));
		if (rows[i].verb == OB_S3_PUT_OBJECT ||
			rows[i].verb == OB_S3_UPLOAD_PART)
			assert_string_equal(call.call.etag, "\"etag-1\"");
		if (rows[i].verb == OB_S3_CREATE)
			assert_string_equal(call.call.new_id, "2~new");
		call_free(&call);
		server_reset(fixture->server);
	}
}

static void
list_uploads_queries(void **state)
{
	static const struct
	{
		const char *prefix;
		const char *key_marker;
		const char *id_marker;
		const char *target;
	} rows[] = {
		{NULL, NULL, NULL, "/b?uploads="},
		{"", NULL, NULL, "/b?uploads="},
		{"a/\xC3\xBC &=", NULL, NULL,
		 "/b?prefix=a%2F%C3%BC%20%26%3D&uploads="},
		{"p", "k+1", NULL, "/b?key-marker=k%2B1&prefix=p&uploads="},
		{"p", "k", "2~i/d",
		 "/b?key-marker=k&prefix=p&upload-id-marker=2~i%2Fd"
		 "&uploads="},
		{NULL, NULL, "alone", "/b?uploads="},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		const ServerRequest *request;
		Call call;

		server_rule(fixture->server,
					(ServerRule){.status = 200, .body = "<the/>"});
		call_init(&call, fixture);
		ob_s3_list_uploads(&call.call, "b", rows[i].prefix, rows[i].key_marker,
						   rows[i].id_marker, false);
		wait_done(&call);
		assert_int_equal(call.call.error.code, OB_OK);
		assert_string_equal(call.call.request.response.data, "<the/>");
		request = server_request(fixture->server, "GET", NULL, 0);
		assert_string_equal(request->target, rows[i].target);
		assert_signature(request);
		call_free(&call);
		server_reset(fixture->server);
	}
}

/* Rows have the bucket's place, and the Host header. */
static void
addressing(void **state)
{
	static const struct
	{
		const char *url;
		ObAddressing addressing;
		const char *target;
		const char *host;
	} rows[] = {
		{"http://127.0.0.1:%d/base/x/", OB_ADDRESSING_AUTO, "/base/x/buc/k/1",
		 "127.0.0.1:%d"},
		{"http://localhost:%d", OB_ADDRESSING_VIRTUAL, "/k/1",
		 "buc.localhost:%d"},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObS3Options options = {
			.addressing = rows[i].addressing,
			.region = "us-east-1",
			.credentials = {.keys = {ACCESS_KEY, SECRET_KEY, NULL}},
			.http = {.user_agent = "a",
					 .connect_timeout_ms = 5000,
					 .stall_timeout_ms = 20000,
					 .max_connections = 1},
		};
		const ServerRequest *request;
		char text[64];
		char host[64];
		ObError error;
		Call call;

		ob_error_clear(&error);
		snprintf(text, sizeof(text), rows[i].url,
				 server_port(fixture->server));
		assert_int_equal(ob_endpoint_parse(&options.endpoint, text, &error),
						 OB_OK);
		ob_s3_free(fixture->s3);
		fixture->s3 = ob_s3_new(&options, &error);
		server_rule(fixture->server, success(OB_S3_HEAD, NULL));
		call_init(&call, fixture);
		ob_s3_head(&call.call, "buc", "k/1");
		wait_done(&call);
		assert_string_equal(call.call.error.cause, "");
		request = server_request(fixture->server, "HEAD", NULL, 0);
		assert_string_equal(request->target, rows[i].target);
		snprintf(text, sizeof(text), rows[i].host,
				 server_port(fixture->server));
		assert_int_equal(server_header(request, "Host", host, sizeof(host)),
						 1);
		assert_string_equal(host, text);
		assert_signature(request);
		call_free(&call);
		server_reset(fixture->server);
	}
}

/* Each attempt is signed again when it is sent. */
static void
tries_are_signed_again(void **state)
{
	Fixture *fixture = *state;
	char authorizations[2][1000];
	char signed_names[500];
	char value[100];
	Call call;

	use_s3(fixture, TOKEN, 0);
	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .status = 429,
							 .headers = "Retry-After: 1\r\n"});
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	call_init(&call, fixture);
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_OK);
	assert_int_equal(call.call.error.attempts, 1);
	assert_int_equal(ob_s3_retries(fixture->s3), 1);
	assert_int_equal(server_count(fixture->server, NULL, NULL), 2);
	for (int i = 0; i < 2; i++)
	{
		const ServerRequest *request =
			server_request(fixture->server, "PUT", NULL, i);

		assert_int_equal(server_header(request, "x-amz-security-token", value,
									   sizeof(value)),
						 1);
		assert_string_equal(value, TOKEN);
		assert_int_equal(server_header(request, "authorization",
									   authorizations[i],
									   sizeof(authorizations[i])),
						 1);
		part_of(authorizations[i], "SignedHeaders=", ',', signed_names,
				sizeof(signed_names));
		assert_string_equal(
			signed_names,
			"host;x-amz-content-sha256;x-amz-date;x-amz-security-token");
		assert_no_secret(authorizations[i], sizeof(authorizations[i]));
		assert_string_equal(request->body, "part");
	}
	assert_string_not_equal(authorizations[0], authorizations[1]);
	assert_true(signing_time(server_request(fixture->server, "PUT", NULL, 1)) >
				signing_time(server_request(fixture->server, "PUT", NULL, 0)));
	call_free(&call);
}

/* ---- retries ---- */

static void
faults_that_pass(void **state)
{
	static const struct
	{
		ObS3Verb verb;
		ServerRule fault;
	} rows[] = {
		{OB_S3_UPLOAD_PART,
		 {.status = 500, .body = XML_ERROR("InternalError")}},
		{OB_S3_UPLOAD_PART, {.status = 500}},
		{OB_S3_UPLOAD_PART, {.status = 502, .body = BAD_GATEWAY}},
		{OB_S3_UPLOAD_PART, {.status = 503, .body = XML_ERROR("SlowDown")}},
		{OB_S3_UPLOAD_PART, {.status = 504}},
		{OB_S3_UPLOAD_PART,
		 {.status = 400, .body = XML_ERROR("RequestTimeout"), .close = true}},
		{OB_S3_UPLOAD_PART, {.status = 400, .body = XML_ERROR("BadDigest")}},
		{OB_S3_UPLOAD_PART, {.status = 408}},
		{OB_S3_UPLOAD_PART, {.status = 200}}, /* no ETag */
		{OB_S3_UPLOAD_PART, {.status = 200, .headers = "ETag:\r\n"}},
		{OB_S3_UPLOAD_PART,
		 {.status = 200, .headers = ETAG, .body = XML_ERROR("InternalError")}},
		{OB_S3_UPLOAD_PART, {.status = 202, .headers = ETAG}},
		{OB_S3_UPLOAD_PART, {.act = SERVER_DROP}},
		{OB_S3_UPLOAD_PART, {.act = SERVER_DROP, .read = 2}},
		{OB_S3_UPLOAD_PART,
		 {.act = SERVER_CUT, .status = 500, .body = "12345", .cut = 2}},
		{OB_S3_UPLOAD_PART,
		 {.act = SERVER_CUT,
		  .status = 400,
		  .body = XML_ERROR("RequestTimeout"),
		  .cut = 30}},
		{OB_S3_PUT_OBJECT, {.status = 503, .body = XML_ERROR("SlowDown")}},
		{OB_S3_PUT_OBJECT, {.status = 200}},
		{OB_S3_PUT_OBJECT,
		 {.status = 200, .headers = ETAG, .body = XML_ERROR("SlowDown")}},
		{OB_S3_PUT_OBJECT, {.status = 204, .headers = ETAG}},
		{OB_S3_PUT_OBJECT, {.act = SERVER_DROP}},
		{OB_S3_CREATE, {.status = 500, .body = XML_ERROR("InternalError")}},
		{OB_S3_CREATE, {.status = 200, .body = XML_ERROR("InternalError")}},
		{OB_S3_CREATE,
		 {.status = 200,
		  .body = "<InitiateMultipartUploadResult><UploadId>2~"}},
		{OB_S3_CREATE, {.status = 200}},
		{OB_S3_CREATE,
		 {.act = SERVER_CUT, .status = 200, .body = CREATED, .cut = 50}},
		{OB_S3_ABORT, {.status = 500, .body = XML_ERROR("InternalError")}},
		{OB_S3_ABORT, {.act = SERVER_DROP}},
		{OB_S3_HEAD, {.status = 503}},
		{OB_S3_LIST_PARTS, {.status = 500}},
		{OB_S3_LIST_UPLOADS, {.status = 502, .body = BAD_GATEWAY}},
	};
	Fixture *fixture = *state;
	Call calls[COUNT_OF(rows)];

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule fault = rows[i].fault;

		call_init(&calls[i], fixture);
		snprintf(calls[i].key, sizeof(calls[i].key), "row%02zu", i);
		fault.target = calls[i].key;
		fault.times = 1;
		server_rule(fixture->server, fault);
		server_rule(fixture->server, success(rows[i].verb, calls[i].key));
		start_verb(&calls[i], rows[i].verb, calls[i].key);
	}
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		wait_done(&calls[i]);
		assert_row(calls[i].key, calls[i].call.error.code == OB_OK);
		assert_row(calls[i].key, calls[i].call.error.attempts == 1);
		assert_row(calls[i].key,
				   server_count(fixture->server, NULL, calls[i].key) == 2);
		if (rows[i].verb == OB_S3_CREATE)
			assert_string_equal(calls[i].call.new_id, "2~new");
		assert_string_equal(
			server_request(fixture->server, NULL, calls[i].key, 1)->sha256,
			rows[i].fault.read
				? server_request(fixture->server, NULL, "row00", 0)->sha256
				: server_request(fixture->server, NULL, calls[i].key, 0)
					  ->sha256);
		call_free(&calls[i]);
	}
	assert_int_equal(ob_s3_retries(fixture->s3), COUNT_OF(rows));
	assert_int_equal(server_unexpected(fixture->server), 0);
}

static void
attempts_are_bounded(void **state)
{
	static const struct
	{
		ObS3Verb verb;
		ServerRule fault;
		int max; /* 0: the verb's default */
		ObCode code;
		int attempts;
	} rows[] = {
		{OB_S3_UPLOAD_PART, {.status = 500}, 3, OB_ESERVER, 3},
		{OB_S3_UPLOAD_PART, {.status = 503}, 1, OB_ETHROTTLE, 1},
		{OB_S3_UPLOAD_PART, {.act = SERVER_DROP}, 4, OB_ECONNECT, 4},
		{OB_S3_PUT_OBJECT, {.status = 408}, 2, OB_ETIMEOUT, 2},
		/* by their class */
		{OB_S3_ABORT, {.status = 500}, 0, OB_ESERVER, 2},
		{OB_S3_UPLOAD_PART, {.status = 200}, 0, OB_EPROTO, 3},
		{OB_S3_PUT_OBJECT,
		 {.status = 202, .headers = ETAG, .body = "queued"},
		 0,
		 OB_EPROTO,
		 3},
		{OB_S3_PUT_OBJECT,
		 {.act = SERVER_RAW, .body = "220 smtp.example.com ready\r\n"},
		 0,
		 OB_EPROTO,
		 3},
		{OB_S3_CREATE, {.status = 200, .body = "<x/>"}, 0, OB_EPROTO, 3},
		{OB_S3_UPLOAD_PART,
		 {.status = 400, .body = XML_ERROR("BadDigest")},
		 0,
		 OB_EREQUEST,
		 3},
	};
	static const int defaults[] = {
		[OB_S3_PUT_OBJECT] = 8,   [OB_S3_CREATE] = 8,
		[OB_S3_UPLOAD_PART] = 8,  [OB_S3_COMPLETE] = 10,
		[OB_S3_ABORT] = 2,        [OB_S3_HEAD] = 8,
		[OB_S3_LIST_PARTS] = 8,   [OB_S3_LIST_UPLOADS] = 8,
		[OB_S3_HEAD_BUCKET] = 8,  [OB_S3_GET_ENCRYPTION] = 8,
		[OB_S3_GET_OBJECT] = 8,   [OB_S3_SUM_OBJECT] = 8,
		[OB_S3_DELETE_OBJECT] = 8};
	Fixture *fixture = *state;
	Call calls[COUNT_OF(rows)];
	Call other;
	int retries = 0;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule fault = rows[i].fault;

		call_init(&calls[i], fixture);
		snprintf(calls[i].key, sizeof(calls[i].key), "row%02zu", i);
		fault.target = calls[i].key;
		server_rule(fixture->server, fault);
		start_verb(&calls[i], rows[i].verb, calls[i].key);
		if (rows[i].max > 0)
			calls[i].call.max_attempts = rows[i].max;
	}
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		const ObError *error = &calls[i].call.error;

		wait_done(&calls[i]);
		assert_row(calls[i].key, error->code == rows[i].code);
		assert_row(calls[i].key, error->attempts == rows[i].attempts);
		assert_int_equal(error->http_status, rows[i].fault.status);
		/* libcurl itself repeats requests on connections that it reuses */
		assert_true(server_count(fixture->server, NULL, calls[i].key) ==
						rows[i].attempts ||
					rows[i].fault.act == SERVER_DROP);
		retries += rows[i].attempts - 1;
		call_free(&calls[i]);
	}
	assert_int_equal(ob_s3_retries(fixture->s3), retries);
	call_init(&other, fixture);
	for (size_t i = 0; i < COUNT_OF(defaults); i++)
	{
		start_verb(&other, (ObS3Verb) i, "k");
		assert_int_equal(other.call.max_attempts, defaults[i]);
		ob_s3_call_cancel(&other.call);
	}
	call_free(&other);
}

/* The wait for the next attempt counts, too. */
static void
deadline_is_kept(void **state)
{
	Fixture *fixture = *state;
	int64_t begin;
	Call calls[2];

	use_s3(fixture, NULL, 400);
	server_rule(fixture->server,
				(ServerRule){.target = "late",
							 .status = 503,
							 .headers = "Retry-After: 1\r\n"});
	server_rule(fixture->server, (ServerRule){.status = 500});
	for (int i = 0; i < 2; i++)
		call_init(&calls[i], fixture);
	begin = ob_http_now_ms();
	start_verb(&calls[0], OB_S3_UPLOAD_PART, "late");
	start_verb(&calls[1], OB_S3_UPLOAD_PART, "soon");
	calls[1].call.max_attempts = 1000;
	wait_done(&calls[0]);
	assert_int_equal(calls[0].call.error.code, OB_ETHROTTLE);
	assert_int_equal(calls[0].call.error.attempts, 1);
	wait_done(&calls[1]);
	assert_int_equal(calls[1].call.error.code, OB_ESERVER);
	assert_in_range(calls[1].call.error.attempts, 1, 100);
	assert_true(ob_http_now_ms() - begin < 900);
	call_free(&calls[0]);
	call_free(&calls[1]);
}

/* ---- final failures ---- */

static void
refusals_of_all_verbs(void **state)
{
	static const struct
	{
		ObS3Verb verb;
		const char *what;
	} rows[] = {
		{OB_S3_PUT_OBJECT, "could not upload \"s3://b/the key\""},
		{OB_S3_CREATE, "could not start the upload of \"s3://b/the key\""},
		{OB_S3_UPLOAD_PART, "could not upload part 7 of \"s3://b/the key\""},
		{OB_S3_COMPLETE,
		 "could not complete the upload of \"s3://b/the key\""},
		{OB_S3_ABORT, "could not abort the upload of \"s3://b/the key\""},
		{OB_S3_HEAD, "could not look up \"s3://b/the key\""},
		{OB_S3_LIST_PARTS, "could not list the parts of \"s3://b/the key\""},
		{OB_S3_LIST_UPLOADS,
		 "could not list the unfinished uploads of \"s3://b\""},
		{OB_S3_HEAD_BUCKET, "could not look up \"s3://b\""},
		{OB_S3_GET_ENCRYPTION, "could not read the encryption of \"s3://b\""},
		{OB_S3_GET_OBJECT, "could not read \"s3://b/the key\""},
		{OB_S3_SUM_OBJECT, "could not read \"s3://b/the key\""},
		{OB_S3_DELETE_OBJECT, "could not delete \"s3://b/the key\""},
	};
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.status = 403,
							 .headers = "x-amz-request-id: req-head\r\n",
							 .body = XML_ERROR("AccessDenied")});
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		bool head = strcmp(verb_method(rows[i].verb), "HEAD") == 0;
		const ObError *error;
		Call call;

		call_init(&call, fixture);
		start_verb(&call, rows[i].verb, "the key");
		wait_done(&call);
		error = &call.call.error;
		assert_int_equal(error->code, OB_EDENIED);
		assert_int_equal(error->http_status, 403);
		assert_int_equal(error->attempts, 1);
		assert_string_equal(error->what, rows[i].what);
		assert_string_equal(error->s3_code, head ? "" : "AccessDenied");
		/* the id in the document, or else in the header */
		assert_string_equal(error->request_id, head ? "req-head" : "req-7");
		assert_string_equal(
			error->cause, head ? "S3 answered HTTP 403"
							   : "S3 answered HTTP 403 AccessDenied: why not");
		call_free(&call);
	}
	assert_int_equal(server_count(fixture->server, NULL, NULL),
					 COUNT_OF(rows));
	assert_int_equal(ob_s3_retries(fixture->s3), 0);
}

/* These responses end a call at once. */
static const struct
{
	const char *name;
	ObS3Verb verb;
	ServerRule fault;
	ObCode code;
	const char *cause;
	const char *region;
} refusals[] = {
	{"redirect",
	 OB_S3_PUT_OBJECT,
	 {.status = 307,
	  .headers = "Location: http://127.0.0.1:1/\r\n",
	  .body = XML_ERROR("TemporaryRedirect")},
	 OB_EREGION,
	 "TemporaryRedirect",
	 ""},
	{"no object", OB_S3_HEAD, {.status = 404}, OB_EMISSING, "404", ""},
	{"no bucket",
	 OB_S3_CREATE,
	 {.status = 404, .body = XML_ERROR("NoSuchBucket")},
	 OB_EMISSING,
	 "NoSuchBucket: why not",
	 ""},
	{"no upload",
	 OB_S3_UPLOAD_PART,
	 {.status = 404, .body = XML_ERROR("NoSuchUpload")},
	 OB_EMISSING,
	 "NoSuchUpload",
	 ""},
	{"key id",
	 OB_S3_PUT_OBJECT,
	 {.status = 403, .body = XML_ERROR("InvalidAccessKeyId")},
	 OB_ECREDS,
	 "InvalidAccessKeyId",
	 ""},
	{"expired",
	 OB_S3_PUT_OBJECT,
	 {.status = 400, .body = XML_ERROR("ExpiredToken")},
	 OB_ECREDS,
	 "ExpiredToken",
	 ""},
	{"clock",
	 OB_S3_PUT_OBJECT,
	 {.status = 403, .body = XML_ERROR("RequestTimeTooSkewed")},
	 OB_ESKEW,
	 "RequestTimeTooSkewed",
	 ""},
	{"condition",
	 OB_S3_PUT_OBJECT,
	 {.status = 412, .body = XML_ERROR("PreconditionFailed")},
	 OB_EEXISTS,
	 "PreconditionFailed",
	 ""},
	{"too large",
	 OB_S3_PUT_OBJECT,
	 {.status = 400, .body = XML_ERROR("EntityTooLarge")},
	 OB_ELIMIT,
	 "EntityTooLarge",
	 ""},
	{"HTML",
	 OB_S3_PUT_OBJECT,
	 {.status = 400, .body = "<html><body>Error</body></html>"},
	 OB_EREQUEST,
	 "S3 answered HTTP 400",
	 ""},
	{"an error in a 200",
	 OB_S3_CREATE,
	 {.status = 200, .body = XML_ERROR("AccessDenied")},
	 OB_EDENIED,
	 "S3 answered HTTP 200 AccessDenied: why not",
	 ""},
	{"a refusal that is cut",
	 OB_S3_CREATE,
	 {.act = SERVER_CUT,
	  .status = 403,
	  .body = XML_ERROR("AccessDenied"),
	  .cut = 40},
	 OB_EDENIED,
	 "S3 answered HTTP 403",
	 ""},
	{"a refusal of Complete that is cut",
	 OB_S3_COMPLETE,
	 {.act = SERVER_CUT,
	  .status = 403,
	  .body = XML_ERROR("AccessDenied") "    ",
	  .cut = sizeof(XML_ERROR("AccessDenied"))},
	 OB_EDENIED,
	 "S3 answered HTTP 403 AccessDenied: why not",
	 ""},
	{"an error in a 200 with an ETag",
	 OB_S3_PUT_OBJECT,
	 {.status = 200, .headers = ETAG, .body = XML_ERROR("AccessDenied")},
	 OB_EDENIED,
	 "S3 answered HTTP 200 AccessDenied: why not",
	 ""},
	{"control characters",
	 OB_S3_PUT_OBJECT,
	 {.status = 403,
	  .headers = "x-amz-request-id: a\x1B[31m\r\n",
	  .body = "<Error><Code>AccessDenied</Code><Message>a\n&#9;b\xC2\x9B"
			  "</Message></Error>"},
	 OB_EDENIED,
	 "S3 answered HTTP 403 AccessDenied: a??b??",
	 ""},
};

static void
final_responses(void **state)
{
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(refusals); i++)
	{
		const ObError *error;
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, refusals[i].fault);
		call_init(&call, fixture);
		start_verb(&call, refusals[i].verb, "k");
		wait_done(&call);
		error = &call.call.error;
		if (error->code != refusals[i].code)
			print_error("%s: %s\n", ob_code_name(error->code), error->cause);
		assert_row(refusals[i].name, error->code == refusals[i].code);
		assert_row(refusals[i].name, strstr(error->cause, refusals[i].cause));
		assert_row(refusals[i].name,
				   strcmp(error->region, refusals[i].region) == 0);
		assert_row(refusals[i].name, error->attempts == 1);
		assert_row(refusals[i].name,
				   server_count(fixture->server, NULL, NULL) == 1);
		assert_null(strchr(error->request_id, '\x1B'));
		call_free(&call);
	}
}

/* Long texts of a document are clipped to the size of the fields. */
static void
long_error_texts(void **state)
{
	Fixture *fixture = *state;
	char *document = test_malloc(60000);
	char *key = test_malloc(OB_KEY_MAX + 1);
	const ObError *error;
	Call call;
	size_t len;

	/* expat's texts end at 4 KiB */
	len = (size_t) sprintf(document, "<Error><Code>AccessDenied</Code>"
									 "<Message>");
	for (int i = 0; i < 1500; i++)
		len += (size_t) sprintf(document + len, "\xC3\xBC");
	sprintf(document + len, "</Message></Error>");
	for (int i = 0; i < OB_KEY_MAX; i++)
		key[i] = i % 2 ? '\xBC' : '\xC3';
	key[OB_KEY_MAX] = '\0';
	server_rule(fixture->server,
				(ServerRule){.status = 403, .body = document});
	call_init(&call, fixture);
	start_verb(&call, OB_S3_UPLOAD_PART, key);
	wait_done(&call);
	error = &call.call.error;
	assert_int_equal(error->code, OB_EDENIED);
	assert_string_equal(error->s3_code, "AccessDenied");
	assert_in_range(strlen(error->cause), 400, sizeof(error->cause) - 1);
	assert_non_null(strstr(error->what, key));
	call_free(&call);
	test_free(document);
	test_free(key);
}

static void
response_beyond_its_cap(void **state)
{
	Fixture *fixture = *state;
	size_t len = 9 * 1024 * 1024;
	char *body = test_malloc(len);
	Call call;

	memset(body, ' ', len);
	server_rule(fixture->server,
				(ServerRule){.status = 200, .body = body, .body_len = len});
	call_init(&call, fixture);
	start_verb(&call, OB_S3_LIST_UPLOADS, "k");
	wait_done(&call);
	assert_error(&call.call.error, OB_EPROTO, "longer than 8388608 bytes");
	assert_int_equal(call.call.error.attempts, 1);
	assert_string_equal(call.call.error.what,
						"could not list the unfinished uploads of \"s3://b\"");
	call_free(&call);
	test_free(body);
}

static void
no_listener(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_free(fixture->server);
	fixture->server = NULL;
	call_init(&call, fixture);
	start_verb(&call, OB_S3_CREATE, "k");
	call.call.max_attempts = 2;
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_ECONNECT);
	assert_int_equal(call.call.error.attempts, 2);
	assert_int_equal(call.call.error.http_status, 0);
	assert_string_equal(call.call.error.what,
						"could not start the upload of \"s3://b/k\"");
	call_free(&call);
}

static void
too_many_object_headers(void **state)
{
	Fixture *fixture = *state;
	ObPair headers[100];
	Call call;

	for (int i = 0; i < 100; i++)
		headers[i] = (ObPair){"x-amz-meta-a", "b"};
	call_init(&call, fixture);
	ob_s3_create(&call.call, "b", "k", headers, 100);
	wait_done(&call);
	assert_error(&call.call.error, OB_EINVAL, "too many object headers");
	assert_string_equal(call.call.error.what,
						"could not start the upload of \"s3://b/k\"");
	assert_int_equal(server_accepted(fixture->server), 0);
	call_free(&call);
}

/* ---- Complete ---- */

/* One or two responses to Complete, and the outcome. */
static const struct
{
	const char *name;
	ServerRule first;
	ServerRule second; /* status 0: there is none */
	ObCode code;
	int attempts;
} outcomes[] = {
	{"done", {.status = 200, .body = COMPLETED}, {0}, OB_OK, 0},
	{"kept alive with blanks",
	 {.status = 200,
	  .body = "<?xml version=\"1.0\"?>\n   \n  \n<CompleteMultipart"
			  "UploadResult><ETag>x</ETag></CompleteMultipart"
			  "UploadResult>"},
	 {0},
	 OB_OK,
	 0},
	{"empty ETag",
	 {.status = 200,
	  .body = "<CompleteMultipartUploadResult><Location>l</Location>"
			  "<ETag></ETag></CompleteMultipartUploadResult>"},
	 {0},
	 OB_OK,
	 0},
	{"another root",
	 {.status = 200,
	  .body = "<CompleteMultipartUploadResponse><ETag>x</ETag>"
			  "</CompleteMultipartUploadResponse>"},
	 {0},
	 OB_OK,
	 0},
	{"error in a 200, then done",
	 {.status = 200, .body = XML_ERROR("InternalError")},
	 {.status = 200, .body = COMPLETED},
	 OB_OK,
	 1},
	{"error in a 500, then done",
	 {.status = 500, .body = XML_ERROR("InternalError")},
	 {.status = 200, .body = COMPLETED},
	 OB_OK,
	 1},
	{"refusal in a 200",
	 {.status = 200, .body = XML_ERROR("AccessDenied")},
	 {0},
	 OB_EDENIED,
	 1},
	{"refusal",
	 {.status = 403, .body = XML_ERROR("AccessDenied")},
	 {0},
	 OB_EDENIED,
	 1},
	{"wrong part",
	 {.status = 400, .body = XML_ERROR("InvalidPart")},
	 {0},
	 OB_EREQUEST,
	 1},
	{"condition",
	 {.status = 412, .body = XML_ERROR("PreconditionFailed")},
	 {0},
	 OB_EEXISTS,
	 1},
	{"no bucket",
	 {.status = 404, .body = XML_ERROR("NoSuchBucket")},
	 {0},
	 OB_EMISSING,
	 1},
	{"cut document",
	 {.status = 200, .body = "<CompleteMultipartUploadResult><ETag>x</ETag>"},
	 {0},
	 OB_EUNKNOWN,
	 1},
	{"cut response",
	 {.act = SERVER_CUT, .status = 200, .body = COMPLETED, .cut = 40},
	 {0},
	 OB_EUNKNOWN,
	 1},
	{"empty document", {.status = 200}, {0}, OB_EUNKNOWN, 1},
	{"another document",
	 {.status = 200, .body = "<html/>"},
	 {0},
	 OB_EUNKNOWN,
	 1},
	{"lost response", {.act = SERVER_DROP}, {0}, OB_EUNKNOWN, 1},
	{"gateway", {.status = 502, .body = BAD_GATEWAY}, {0}, OB_EUNKNOWN, 1},
	{"gateway's time-out", {.status = 504}, {0}, OB_EUNKNOWN, 1},
	{"redirect", {.status = 302}, {0}, OB_EUNKNOWN, 1},
	{"not HTTP", {.act = SERVER_RAW, .body = "?\n"}, {0}, OB_EUNKNOWN, 1},
	{"no upload",
	 {.status = 404, .body = XML_ERROR("NoSuchUpload")},
	 {0},
	 OB_EUNKNOWN,
	 1},
	{"no upload the second time",
	 {.status = 500, .body = XML_ERROR("InternalError")},
	 {.status = 404, .body = XML_ERROR("NoSuchUpload")},
	 OB_EUNKNOWN,
	 2},
	{"nothing the second time",
	 {.status = 500, .body = XML_ERROR("InternalError")},
	 {.status = 404},
	 OB_EUNKNOWN,
	 2},
};

static void
outcomes_of_complete(void **state)
{
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(outcomes); i++)
	{
		ServerRule first = outcomes[i].first;
		const ObError *error;
		Call call;

		/* Complete uses a connection of its own: see the next test for
		 * others */
		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		first.times = 1;
		server_rule(fixture->server, first);
		if (outcomes[i].second.status > 0)
			server_rule(fixture->server, outcomes[i].second);
		call_init(&call, fixture);
		start_verb(&call, OB_S3_COMPLETE, "k");
		wait_done(&call);
		error = &call.call.error;
		if (error->code != outcomes[i].code)
			print_error("%s: %s\n", ob_code_name(error->code), error->cause);
		assert_row(outcomes[i].name, error->code == outcomes[i].code);
		assert_row(outcomes[i].name, error->attempts == outcomes[i].attempts);
		assert_row(outcomes[i].name,
				   server_count(fixture->server, "POST", NULL) ==
					   1 + (outcomes[i].second.status > 0));
		assert_row(outcomes[i].name, server_unexpected(fixture->server) == 0);
		if (error->code != OB_OK)
		{
			assert_string_equal(error->what, "could not complete the upload "
											 "of \"s3://b/k\"");
			assert_true(error->cause[0] != '\0');
		}
		call_free(&call);
	}
}

/* A response with a header that does not fit leaves the outcome unclear. */
static void
complete_with_a_huge_header(void **state)
{
	static const char begin[] = "HTTP/1.1 200 OK\r\nX-Long: ";
	Fixture *fixture = *state;
	size_t len = 200 * 1024;
	char *raw = test_malloc(len);
	Call call;

	memset(raw, 'a', len);
	memcpy(raw, begin, strlen(begin));
	memcpy(raw + len - 4, "\r\n\r\n", 4);
	server_rule(fixture->server, (ServerRule){
									 .act = SERVER_RAW,
									 .body = raw,
									 .body_len = len,
								 });
	call_init(&call, fixture);
	start_verb(&call, OB_S3_COMPLETE, "k");
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_EUNKNOWN);
	call_free(&call);
	test_free(raw);
}

/* When a reused connection dies after the request, libcurl itself sends it
 * again.  The first request has completed the upload. */
static void
complete_on_a_dying_connection(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_rule(
		fixture->server,
		(ServerRule){.method = "POST", .times = 1, .act = SERVER_DROP});
	server_rule(fixture->server,
				(ServerRule){.method = "POST",
							 .status = 404,
							 .body = XML_ERROR("NoSuchUpload")});
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	call_init(&call, fixture);
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	wait_done(&call);
	start_verb(&call, OB_S3_COMPLETE, "k");
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_EUNKNOWN);
	call_free(&call);
}

/* ---- Abort and HEAD ---- */

static void
outcomes_of_abort(void **state)
{
	static const struct
	{
		const char *name;
		int status;
		const char *body;
		ObCode code;
		int http_status;
	} rows[] = {
		{"done", 204, NULL, OB_OK, 0},
		{"done by a 200", 200, NULL, OB_OK, 0},
		{"no upload", 404, XML_ERROR("NoSuchUpload"), OB_OK, 404},
		{"nothing", 404, NULL, OB_OK, 404},
		{"no bucket", 404, XML_ERROR("NoSuchBucket"), OB_EMISSING, 404},
		{"refusal", 403, XML_ERROR("AccessDenied"), OB_EDENIED, 403},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.status = rows[i].status,
												  .body = rows[i].body});
		call_init(&call, fixture);
		start_verb(&call, OB_S3_ABORT, "k");
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == rows[i].code);
		assert_row(rows[i].name,
				   call.call.error.http_status == rows[i].http_status);
		assert_row(rows[i].name,
				   server_count(fixture->server, "DELETE", NULL) == 1);
		call_free(&call);
	}
}

static void
responses_to_head(void **state)
{
	static const struct
	{
		const char *name;
		const char *raw;
		const char *marker;
		int64_t length;
	} rows[] = {
		{"both",
		 "HTTP/1.1 200 OK\r\nX-AMZ-Meta-Onboard-Upload: 0123456789abcdef0123"
		 "456789abcdef\r\nContent-Length: 5497558138880\r\n\r\n",
		 "0123456789abcdef0123456789abcdef", INT64_C(5497558138880)},
		{"no marker", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 0},
		{"no length",
		 "HTTP/1.1 200 OK\r\nx-amz-meta-onboard-upload: m\r\n\r\n", "m", -1},
		{"long marker",
		 "HTTP/1.1 200 OK\r\nx-amz-meta-onboard-upload: "
		 "0123456789012345678901234567890123456789012345678901234567890123456"
		 "\r\nContent-Length: 1\r\n\r\n",
		 "012345678901234567890123456789012345678901234567890123456789012", 1},
	};
	Fixture *fixture = *state;
	Call call;

	/* the same call: nothing of an earlier response may remain */
	call_init(&call, fixture);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		server_reset(fixture->server);
		server_rule(fixture->server,
					(ServerRule){.act = SERVER_RAW, .body = rows[i].raw});
		start_verb(&call, OB_S3_HEAD, "k");
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == OB_OK);
		assert_string_equal(call.call.marker, rows[i].marker);
		assert_int_equal(call.call.content_length, rows[i].length);
	}
	call_free(&call);
}

/* ---- buckets ---- */

/* The requests of onboard_check(): any response is an outcome, even a
 * refusal. */
static void
outcomes_about_buckets(void **state)
{
	static const char rules[] = "<ServerSideEncryptionConfiguration><Rule/>"
								"</ServerSideEncryptionConfiguration>";
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		int status;
		const char *body;
		ObCode code;
		const char *s3_code;
	} rows[] = {
		{"bucket", OB_S3_HEAD_BUCKET, 200, NULL, OB_OK, ""},
		{"no bucket", OB_S3_HEAD_BUCKET, 404, NULL, OB_EMISSING, ""},
		{"no right", OB_S3_HEAD_BUCKET, 403, NULL, OB_EDENIED, ""},
		{"encryption", OB_S3_GET_ENCRYPTION, 200, rules, OB_OK, ""},
		{"no encryption", OB_S3_GET_ENCRYPTION, 404,
		 XML_ERROR("ServerSideEncryptionConfigurationNotFoundError"),
		 OB_EMISSING, "ServerSideEncryptionConfigurationNotFoundError"},
		{"not known", OB_S3_GET_ENCRYPTION, 501, XML_ERROR("NotImplemented"),
		 OB_ESERVER, "NotImplemented"},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.status = rows[i].status,
												  .body = rows[i].body});
		call_init(&call, fixture);
		start_verb(&call, rows[i].verb, NULL);
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == rows[i].code);
		assert_row(rows[i].name,
				   strcmp(call.call.error.s3_code, rows[i].s3_code) == 0);
		assert_row(rows[i].name,
				   server_count(fixture->server, NULL, NULL) == 1);
		if (rows[i].verb == OB_S3_GET_ENCRYPTION)
			assert_string_equal(call.call.request.response.data, rows[i].body);
		call_free(&call);
	}
}

/* ---- PutObject, GetObject and DeleteObject of small objects ---- */

static void
outcomes_of_small_objects(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		int status;
		const char *body;
		ObCode code;
	} rows[] = {
		{"there", OB_S3_GET_OBJECT, 200, "{\"success\": true}", OB_OK},
		{"empty", OB_S3_GET_OBJECT, 200, "", OB_OK},
		{"not there", OB_S3_GET_OBJECT, 404, XML_ERROR("NoSuchKey"),
		 OB_EMISSING},
		{"not to be read", OB_S3_GET_OBJECT, 403, XML_ERROR("AccessDenied"),
		 OB_EDENIED},
		{"deleted", OB_S3_DELETE_OBJECT, 204, NULL, OB_OK},
		{"deleted, with 200", OB_S3_DELETE_OBJECT, 200, NULL, OB_OK},
		{"was not there", OB_S3_DELETE_OBJECT, 404, XML_ERROR("NoSuchKey"),
		 OB_OK},
		{"no bucket", OB_S3_DELETE_OBJECT, 404, XML_ERROR("NoSuchBucket"),
		 OB_EMISSING},
		{"not to be deleted", OB_S3_DELETE_OBJECT, 403,
		 XML_ERROR("AccessDenied"), OB_EDENIED},
		{"not deleted, with 200", OB_S3_DELETE_OBJECT, 200,
		 XML_ERROR("AccessDenied"), OB_EDENIED},
		{"to be deleted later", OB_S3_DELETE_OBJECT, 202, NULL, OB_EPROTO},
		{"not aborted, with 200", OB_S3_ABORT, 200, XML_ERROR("AccessDenied"),
		 OB_EDENIED},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.status = rows[i].status,
												  .body = rows[i].body});
		call_init(&call, fixture);
		start_verb(&call, rows[i].verb, "k");
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == rows[i].code);
		assert_row(rows[i].name, server_count(fixture->server, NULL, "/b/k") ==
									 (rows[i].status == 202 ? 3 : 1));
		if (rows[i].verb == OB_S3_GET_OBJECT && rows[i].code == OB_OK)
			assert_string_equal(call.call.request.response.data, rows[i].body);
		call_free(&call);
	}
}

/* ---- calls as memory ---- */

static void
one_call_for_all_verbs(void **state)
{
	static const ObPair headers[] = {{"x-amz-meta-a", "b"}};
	Fixture *fixture = *state;
	Call call;

	call_init(&call, fixture);
	for (int round = 0; round < 3; round++)
	{
		for (int verb = OB_S3_PUT_OBJECT; verb <= OB_S3_GET_ENCRYPTION; verb++)
		{
			const ServerRequest *request;

			server_reset(fixture->server);
			if (round == 1)
				server_rule(fixture->server,
							(ServerRule){.status = 403,
										 .body = XML_ERROR("AccessDenied")});
			server_rule(fixture->server, success((ObS3Verb) verb, NULL));
			start_verb(&call, (ObS3Verb) verb, "k");
			wait_done(&call);
			assert_int_equal(call.call.error.code,
							 round == 1 ? OB_EDENIED : OB_OK);
			request = server_request(fixture->server, NULL, NULL, 0);
			assert_int_equal(
				strstr(request->target, "uploadId=") != NULL,
				verb == OB_S3_UPLOAD_PART || verb == OB_S3_COMPLETE ||
					verb == OB_S3_ABORT || verb == OB_S3_LIST_PARTS);
			assert_null(strstr(request->head, "x-amz-meta"));
			assert_signature(request);

			/* leaves headers behind for the next verb */
			server_rule(fixture->server, success(OB_S3_CREATE, NULL));
			call.done = 0;
			ob_s3_create(&call.call, "b", "k", headers, 1);
			wait_done(&call);
		}
	}
	call_free(&call);
}

static bool
is_received(void *arg)
{
	return server_count(((Call *) arg)->fixture->server, NULL, NULL) > 0;
}

static void
cancel_at_any_time(void **state)
{
	Fixture *fixture = *state;
	ObHttp *http = ob_s3_http(fixture->s3);
	Call call;

	/* before it is sent */
	call_init(&call, fixture);
	start_verb(&call, OB_S3_COMPLETE, "k");
	assert_true(ob_s3_call_running(&call.call));
	ob_s3_call_cancel(&call.call);
	assert_false(ob_s3_call_running(&call.call));
	ob_s3_call_cancel(&call.call);

	/* while it waits for a response */
	server_rule(fixture->server, (ServerRule){.act = SERVER_HOLD});
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	host_watch(http, is_received, &call);
	ob_s3_call_cancel(&call.call);
	server_release(fixture->server);

	/* while it waits for its next attempt */
	server_reset(fixture->server);
	server_rule(fixture->server,
				(ServerRule){.status = 503, .headers = "Retry-After: 30\r\n"});
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	host_watch(http, is_received, &call);
	while (ob_s3_retries(fixture->s3) == 0)
		host_drive_for(http, 5);
	assert_in_range(ob_http_timeout_ms(http), 20000, 30000);
	ob_s3_call_cancel(&call.call);
	host_drive_for(http, 20);
	assert_int_equal(call.done, 0);

	/* by freeing it */
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	host_drive_for(http, 5);
	call_free(&call);
	host_drive_for(http, 20);
	assert_int_equal(call.done, 0);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(requests_of_all_verbs),
		TEST(list_uploads_queries),
		TEST(addressing),
		TEST(tries_are_signed_again),
		TEST(faults_that_pass),
		TEST(attempts_are_bounded),
		TEST(deadline_is_kept),
		TEST(refusals_of_all_verbs),
		TEST(final_responses),
		TEST(long_error_texts),
		TEST(response_beyond_its_cap),
		TEST(no_listener),
		TEST(too_many_object_headers),
		TEST(outcomes_of_complete),
		TEST(complete_with_a_huge_header),
		TEST(complete_on_a_dying_connection),
		TEST(outcomes_of_abort),
		TEST(responses_to_head),
		TEST(outcomes_about_buckets),
		TEST(outcomes_of_small_objects),
		TEST(one_call_for_all_verbs),
		TEST(cancel_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
