/*
 * test_s3_recover.c
 *		Corrections from responses: another region, the time, expired keys.
 *
 * test/core/test_s3_recover.c
 *
 * Other failures are retried within limits, which are tested here, too.
 */
#include "s3calls.h"

#define SKEWED XML_ERROR("RequestTimeTooSkewed")
#define REGION_ERROR(code, region)                                    \
	"<Error><Code>" code "</Code><Message>m</Message><Region>" region \
	"</Region></Error>"

static const ObCredentials own_keys = {ACCESS_KEY, SECRET_KEY, NULL};

static const ServerRequest *
nth(Fixture *fixture, int n)
{
	const ServerRequest *request =
		server_request(fixture->server, NULL, NULL, n);

	assert_non_null(request);
	return request;
}

static int
count(Fixture *fixture)
{
	return server_count(fixture->server, NULL, NULL);
}

/* Runs a verb to its end; the caller frees the call. */
static const ObError *
run_verb(Fixture *fixture, Call *call, ObS3Verb verb)
{
	call_init(call, fixture);
	start_verb(call, verb, "k");
	wait_done(call);
	return &call->call.error;
}

static bool
has_come_one(void *arg)
{
	return count(arg) > 0;
}

/* ---- the region ---- */

static void
region_is_learnt(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		ServerRule fault;
	} rows[] = {
		{"document",
		 OB_S3_CREATE,
		 {.status = 400,
		  .body = REGION_ERROR("AuthorizationHeaderMalformed", "eu-west-3")}},
		{"header",
		 OB_S3_UPLOAD_PART,
		 {.status = 301,
		  .headers = "x-amz-bucket-region: eu-west-3\r\n",
		  .body = XML_ERROR("PermanentRedirect")}},
		{"header before document",
		 OB_S3_PUT_OBJECT,
		 {.status = 400,
		  .headers = "x-amz-bucket-region: eu-west-3\r\n",
		  .body = REGION_ERROR("IllegalLocationConstraintException",
							   "ap-south-1")}},
		{"temporary",
		 OB_S3_COMPLETE,
		 {.status = 307,
		  .headers = "x-amz-bucket-region: eu-west-3\r\n",
		  .body = XML_ERROR("TemporaryRedirect")}},
		{"no document",
		 OB_S3_HEAD,
		 {.status = 301, .headers = "x-amz-bucket-region: eu-west-3\r\n"}},
		{"no document, and a bare 400",
		 OB_S3_HEAD_BUCKET,
		 {.status = 400, .headers = "x-amz-bucket-region: eu-west-3\r\n"}},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule fault = rows[i].fault;
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		fault.times = 1;
		server_rule(fixture->server, fault);
		server_rule(fixture->server, success(rows[i].verb, NULL));
		assert_string_equal(ob_s3_region(fixture->s3), "us-east-1");
		assert_row(rows[i].name,
				   run_verb(fixture, &call, rows[i].verb)->code == OB_OK);
		/* the redirect does not count as an attempt */
		assert_int_equal(call.call.error.attempts, 0);
		assert_int_equal(ob_s3_retries(fixture->s3), 1);
		assert_int_equal(count(fixture), 2);
		assert_signed(nth(fixture, 0), &own_keys, "us-east-1");
		assert_signed(nth(fixture, 1), &own_keys, "eu-west-3");
		assert_string_equal(nth(fixture, 0)->sha256, nth(fixture, 1)->sha256);
		assert_string_equal(ob_s3_region(fixture->s3), "eu-west-3");
		call_free(&call);

		/* and the client keeps it */
		run_verb(fixture, &call, rows[i].verb);
		assert_int_equal(count(fixture), 3);
		assert_signed(nth(fixture, 2), &own_keys, "eu-west-3");
		call_free(&call);
	}
}

/* The region is corrected once for each call: two servers that redirect to
 * each other end it. */
static void
region_is_learnt_once(void **state)
{
	static const ServerRule faults[] = {
		{.status = 301, .headers = "x-amz-bucket-region: us-west-2\r\n"},
		{.status = 301, .headers = "x-amz-bucket-region: eu-west-3\r\n"},
	};
	static const char *const regions[] = {"us-west-2", "eu-west-3"};
	Fixture *fixture = *state;
	Call call;

	for (int i = 0; i < 2; i++)
	{
		ServerRule fault = faults[i];

		fault.times = 1;
		server_rule(fixture->server, fault);
	}
	run_verb(fixture, &call, OB_S3_CREATE);
	assert_error(&call.call.error, OB_EREGION, "HTTP 301");
	assert_string_equal(call.call.error.region, "eu-west-3");
	assert_int_equal(call.call.error.attempts, 1);
	assert_int_equal(count(fixture), 2);
	assert_string_equal(ob_s3_region(fixture->s3), regions[0]);
	call_free(&call);
}

/* An invalid region, or the known one, changes nothing. */
static void
regions_without_effect(void **state)
{
	static const char *const regions[] = {
		"us-east-1",     "",       "eu west",    "evil.example/x",
		"a:b@evil.test", "x\x1by", "eu-west-3,", NULL};
	Fixture *fixture = *state;

	for (int i = 0; regions[i]; i++)
	{
		char headers[200];
		Call call;

		server_reset(fixture->server);
		snprintf(headers, sizeof(headers), "x-amz-bucket-region: %s\r\n",
				 regions[i]);
		server_rule(
			fixture->server,
			(ServerRule){.method = "PUT", .status = 301, .headers = headers});
		server_rule(fixture->server,
					(ServerRule){.method = "HEAD", .status = 404});
		run_verb(fixture, &call, OB_S3_PUT_OBJECT);
		assert_row(regions[i], call.call.error.code == OB_EREGION);
		assert_int_equal(server_count(fixture->server, "PUT", NULL), 1);
		assert_string_equal(ob_s3_region(fixture->s3), "us-east-1");
		call_free(&call);
	}
}

/* After a response without a region, a HEAD of the bucket looks for it,
 * once. */
static void
region_is_looked_up(void **state)
{
	static const struct
	{
		const char *name;
		ServerRule head;
		bool found;
	} rows[] = {
		{"ok",
		 {.status = 200, .headers = "x-amz-bucket-region: eu-west-3\r\n"},
		 true},
		{"refused",
		 {.status = 403, .headers = "x-amz-bucket-region: eu-west-3\r\n"},
		 true},
		{"elsewhere",
		 {.status = 301, .headers = "x-amz-bucket-region: eu-west-3\r\n"},
		 true},
		{"no region", {.status = 200}, false},
		{"where we are",
		 {.status = 200, .headers = "x-amz-bucket-region: us-east-1\r\n"},
		 false},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule head = rows[i].head;
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		server_rule(fixture->server,
					(ServerRule){.method = "PUT",
								 .times = 1,
								 .status = 301,
								 .body = XML_ERROR("PermanentRedirect")});
		head.method = "HEAD";
		server_rule(fixture->server, head);
		server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
		run_verb(fixture, &call, OB_S3_UPLOAD_PART);
		assert_row(rows[i].name,
				   (call.call.error.code == OB_OK) == rows[i].found);
		if (!rows[i].found)
		{
			/* the error is that of the request, not of the HEAD */
			assert_error(&call.call.error, OB_EREGION, "PermanentRedirect");
			assert_string_equal(call.call.error.what,
								"could not upload part 7 of \"s3://b/k\"");
			assert_int_equal(call.call.error.attempts, 1);
		}
		assert_int_equal(server_count(fixture->server, "PUT", NULL),
						 rows[i].found ? 2 : 1);
		assert_string_equal(
			server_request(fixture->server, "HEAD", NULL, 0)->target, "/b");
		assert_signature(server_request(fixture->server, "HEAD", NULL, 0));
		if (rows[i].found)
		{
			const ServerRequest *again =
				server_request(fixture->server, "PUT", NULL, 1);

			assert_int_equal(server_count(fixture->server, "HEAD", NULL), 1);
			assert_string_equal(again->body, "part");
			assert_signed(again, &own_keys, "eu-west-3");
		}
		call_free(&call);
	}
}

/* The HEAD fails for a while: the request is retried, and so is the HEAD. */
static void
region_is_looked_up_again(void **state)
{
	static const ServerRule heads[] = {{.status = 503},
									   {.act = SERVER_DROP, .close = true}};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(heads); i++)
	{
		ServerRule head = heads[i];
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		server_rule(fixture->server,
					(ServerRule){.method = "PUT",
								 .times = 2,
								 .status = 301,
								 .body = XML_ERROR("PermanentRedirect"),
								 .close = true});
		head.method = "HEAD";
		head.times = 1;
		server_rule(fixture->server, head);
		server_rule(
			fixture->server,
			(ServerRule){.method = "HEAD",
						 .status = 200,
						 .headers = "x-amz-bucket-region: eu-west-3\r\n"});
		server_rule(fixture->server, success(OB_S3_PUT_OBJECT, NULL));
		run_verb(fixture, &call, OB_S3_PUT_OBJECT);
		assert_int_equal(call.call.error.code, OB_OK);
		assert_int_equal(call.call.error.attempts, 1);
		assert_int_equal(server_count(fixture->server, "PUT", NULL), 3);
		assert_int_equal(server_count(fixture->server, "HEAD", NULL), 2);
		assert_signed(server_request(fixture->server, "PUT", NULL, 2),
					  &own_keys, "eu-west-3");
		call_free(&call);
	}
}

/* The HEAD always fails: the attempts are counted, and the error does not
 * blame the region. */
static void
region_cannot_be_looked_up(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_rule(fixture->server,
				(ServerRule){.method = "POST", .status = 301});
	server_rule(fixture->server,
				(ServerRule){.method = "HEAD", .status = 500});
	call_init(&call, fixture);
	start_verb(&call, OB_S3_COMPLETE, "k");
	call.call.max_attempts = 3;
	wait_done(&call);
	assert_error(&call.call.error, OB_ESERVER, "HTTP 500");
	assert_int_equal(call.call.error.attempts, 3);
	assert_false(call.call.uncertain);
	assert_int_equal(server_count(fixture->server, "POST", NULL), 3);
	assert_int_equal(server_count(fixture->server, "HEAD", NULL), 3);
	call_free(&call);
}

/* Two calls were signed for the wrong region, and the client has learnt the
 * right one from one of them before the other is refused. */
static void
region_is_learnt_by_another(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		ServerRule fault;
		int heads;
	} rows[] = {
		{"document",
		 OB_S3_COMPLETE,
		 {.status = 400,
		  .body = REGION_ERROR("AuthorizationHeaderMalformed", "eu-west-3")},
		 0},
		{"an abort",
		 OB_S3_ABORT,
		 {.status = 301, .headers = "x-amz-bucket-region: eu-west-3\r\n"},
		 0},
		{"looked up", OB_S3_PUT_OBJECT, {.status = 301}, 2},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule fault = rows[i].fault;
		Call calls[2];

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		fault.times = 1;
		fault.target = "first";
		server_rule(fixture->server, fault);
		fault.target = "second";
		fault.act = SERVER_HOLD;
		server_rule(fixture->server, fault);
		server_rule(
			fixture->server,
			(ServerRule){.method = "HEAD",
						 .status = 200,
						 .headers = "x-amz-bucket-region: eu-west-3\r\n"});
		server_rule(fixture->server, success(rows[i].verb, NULL));
		call_init(&calls[0], fixture);
		call_init(&calls[1], fixture);
		start_verb(&calls[1], rows[i].verb, "second");
		host_watch(ob_s3_http(fixture->s3), has_come_one, fixture);
		start_verb(&calls[0], rows[i].verb, "first");
		wait_done(&calls[0]);
		assert_row(rows[i].name, calls[0].call.error.code == OB_OK);
		server_release(fixture->server);
		wait_done(&calls[1]);
		assert_row(rows[i].name, calls[1].call.error.code == OB_OK);
		assert_int_equal(server_count(fixture->server, "HEAD", NULL),
						 rows[i].heads);
		assert_int_equal(server_count(fixture->server, NULL, "second"), 2);
		assert_signed(server_request(fixture->server, NULL, "second", 0),
					  &own_keys, "us-east-1");
		assert_signed(server_request(fixture->server, NULL, "second", 1),
					  &own_keys, "eu-west-3");
		call_free(&calls[0]);
		call_free(&calls[1]);
	}
}

/* Credentials never go to a host that a server has named. */
static void
redirects_to_other_hosts(void **state)
{
	static const char *const locations[] = {
		"http://127.0.0.1:%d/b/k", "http://127.0.0.1:%d", "https://evil.test/",
		"http://127.0.0.1@evil.test:%d/"};
	static const int statuses[] = {301, 307};
	Fixture *fixture = *state;
	Server *other = server_new();

	for (size_t i = 0; i < COUNT_OF(locations); i++)
	{
		for (size_t j = 0; j < COUNT_OF(statuses); j++)
		{
			char location[100];
			char headers[300];
			Call call;

			server_reset(fixture->server);
			snprintf(location, sizeof(location), locations[i],
					 server_port(other));
			snprintf(headers, sizeof(headers),
					 "Location: %s\r\nx-amz-bucket-region: eu-west-3\r\n",
					 location);
			server_rule(fixture->server, (ServerRule){.status = statuses[j],
													  .headers = headers});
			run_verb(fixture, &call, OB_S3_PUT_OBJECT);
			assert_int_equal(call.call.error.code, OB_EREGION);
			assert_string_equal(call.call.error.region, "eu-west-3");
			assert_int_equal(count(fixture), 1);
			assert_int_equal(server_accepted(other), 0);
			call_free(&call);
		}
	}
	server_free(other);
}

/* If the redirect names the same host, or none, only the region is looked
 * up. */
static void
redirects_to_the_same_host(void **state)
{
	static const char *const locations[] = {"http://127.0.0.1:%d/elsewhere?x",
											"HTTP://127.0.0.1:%d", "/x"};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(locations); i++)
	{
		char location[100];
		char headers[300];
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		snprintf(location, sizeof(location), locations[i],
				 server_port(fixture->server));
		snprintf(headers, sizeof(headers),
				 "Location: %s\r\nx-amz-bucket-region: eu-west-3\r\n",
				 location);
		server_rule(
			fixture->server,
			(ServerRule){.times = 1, .status = 307, .headers = headers});
		server_rule(fixture->server, success(OB_S3_PUT_OBJECT, NULL));
		run_verb(fixture, &call, OB_S3_PUT_OBJECT);
		assert_row(locations[i], call.call.error.code == OB_OK);
		assert_string_equal(nth(fixture, 1)->target, "/b/k");
		call_free(&call);
	}
}

/* ---- AWS, behind a proxy ---- */

static ObS3Options
aws_options(Fixture *fixture, const char *endpoint, char *proxy)
{
	ObS3Options options = usual_s3(fixture);
	ObError error;

	ob_error_clear(&error);
	sprintf(proxy, "http://127.0.0.1:%d", server_port(fixture->server));
	options.http.proxy = proxy;
	options.http.ca_file = server_ca(fixture->server);
	if (endpoint)
		assert_int_equal(
			ob_endpoint_parse(&options.endpoint, endpoint, &error), OB_OK);
	else
		assert_int_equal(
			ob_endpoint_aws(&options.endpoint, "us-east-1", &error), OB_OK);
	return options;
}

/* On AWS, the host depends on the region. */
static void
aws_in_another_region(void **state)
{
	Fixture *fixture = *state;
	ObS3Options options;
	char proxy[64];
	char host[100];
	Call call;

	server_tls(fixture->server);
	options = aws_options(fixture, NULL, proxy);
	replace_s3(fixture, &options);
	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .status = 301,
							 .headers =
								 "x-amz-bucket-region: eu-west-3\r\n"
								 "Location: https://b.s3.eu-west-3.amazonaws"
								 ".com/k\r\n"});
	server_rule(fixture->server, success(OB_S3_PUT_OBJECT, NULL));
	run_verb(fixture, &call, OB_S3_PUT_OBJECT);
	assert_string_equal(call.call.error.cause, "");
	call_free(&call);
	run_verb(fixture, &call, OB_S3_PUT_OBJECT);
	call_free(&call);
	assert_int_equal(count(fixture), 3);
	for (int i = 0; i < 3; i++)
	{
		const char *region = i ? "eu-west-3" : "us-east-1";
		char want[100];

		snprintf(want, sizeof(want), "b.s3.%s.amazonaws.com:443", region);
		assert_string_equal(nth(fixture, i)->tunnel, want);
		*strchr(want, ':') = '\0';
		server_header(nth(fixture, i), "Host", host, sizeof(host));
		assert_string_equal(host, want);
		assert_string_equal(nth(fixture, i)->target, "/k");
		assert_signed(nth(fixture, i), &own_keys, region);
	}
	assert_string_equal(ob_s3_endpoint(fixture->s3)->host,
						"s3.eu-west-3.amazonaws.com");
	/* it still matches those options */
	assert_true(ob_s3_matches(fixture->s3, &options));
	options.region = "eu-west-3";
	assert_false(ob_s3_matches(fixture->s3, &options));
	options.endpoint = *ob_s3_endpoint(fixture->s3);
	assert_false(ob_s3_matches(fixture->s3, &options));
}

/* With such a region, the host would be another one. */
static void
aws_and_an_odd_region(void **state)
{
	Fixture *fixture = *state;
	ObS3Options options;
	char proxy[64];
	Call call;

	server_tls(fixture->server);
	options = aws_options(fixture, NULL, proxy);
	replace_s3(fixture, &options);
	server_rule(fixture->server,
				(ServerRule){.status = 301,
							 .headers = "x-amz-bucket-region: evil.test\r\n"});
	run_verb(fixture, &call, OB_S3_PUT_OBJECT);
	assert_int_equal(call.call.error.code, OB_EREGION);
	assert_int_equal(count(fixture), 1);
	assert_string_equal(ob_s3_region(fixture->s3), "us-east-1");
	call_free(&call);
}

/* A configured endpoint is kept, even one of Amazon's. */
static void
aws_endpoint_that_was_chosen(void **state)
{
	static const char endpoint[] =
		"https://s3.dualstack.us-east-1.amazonaws.com";
	Fixture *fixture = *state;
	ObS3Options options;
	char proxy[64];
	Call call;

	server_tls(fixture->server);
	options = aws_options(fixture, endpoint, proxy);
	assert_true(options.endpoint.aws);
	replace_s3(fixture, &options);
	server_rule(
		fixture->server,
		(ServerRule){.times = 1,
					 .status = 400,
					 .body = REGION_ERROR("AuthorizationHeaderMalformed",
										  "eu-west-3")});
	server_rule(fixture->server,
				(ServerRule){.status = 301,
							 .headers =
								 "x-amz-bucket-region: eu-west-3\r\n"
								 "Location: https://b.s3.eu-west-3.amazonaws"
								 ".com/k\r\n"});
	run_verb(fixture, &call, OB_S3_PUT_OBJECT);
	assert_int_equal(call.call.error.code, OB_EREGION);
	assert_int_equal(count(fixture), 2);
	for (int i = 0; i < 2; i++)
		assert_string_equal(nth(fixture, i)->tunnel,
							"b.s3.dualstack.us-east-1.amazonaws.com:443");
	assert_signed(nth(fixture, 1), &own_keys, "eu-west-3");
	call_free(&call);
}

/* ---- the clock ---- */

static const char *
date_header(int64_t offset, char *line, size_t size)
{
	time_t when = time(NULL) + offset;
	struct tm tm;

	gmtime_r(&when, &tm);
	strftime(line, size, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
	return line;
}

static void
clock_is_learnt(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		const char *body;
		int64_t offset;
	} rows[] = {
		{"ahead", OB_S3_UPLOAD_PART, SKEWED, 1200},
		{"behind", OB_S3_COMPLETE, SKEWED, -1200},
		{"years", OB_S3_CREATE, SKEWED, INT64_C(86400) * 3000},
		{"no document", OB_S3_HEAD, NULL, 1200},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		time_t begin = time(NULL);
		int64_t skew;
		char date[100];
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		date_header(rows[i].offset, date, sizeof(date));
		server_rule(fixture->server, (ServerRule){.times = 1,
												  .status = 403,
												  .headers = date,
												  .body = rows[i].body});
		server_rule(fixture->server, success(rows[i].verb, NULL));
		assert_false(ob_s3_clock_skew(fixture->s3, &skew));
		assert_int_equal(ob_s3_clock_offset(fixture->s3), 0);
		assert_row(rows[i].name,
				   run_verb(fixture, &call, rows[i].verb)->code == OB_OK);
		assert_int_equal(call.call.error.attempts, 0);
		assert_int_equal(count(fixture), 2);
		call_free(&call);
		run_verb(fixture, &call, rows[i].verb);
		assert_int_equal(count(fixture), 3);
		call_free(&call);

		assert_signature(nth(fixture, 1));
		assert_in_range(signing_time(nth(fixture, 0)), begin, begin + 60);
		for (int n = 1; n < 3; n++)
			assert_in_range(signing_time(nth(fixture, n)) - rows[i].offset,
							begin - 60, begin + 60);
		assert_in_range(ob_s3_clock_offset(fixture->s3) - rows[i].offset + 60,
						0, 120);
		assert_true(ob_s3_clock_skew(fixture->s3, &skew));
		assert_in_range(skew - rows[i].offset + 60, 0, 120);
	}
}

/* The document has the time, too, in case a gateway drops or changes Date. */
static void
clock_from_the_document(void **state)
{
	Fixture *fixture = *state;
	time_t when = time(NULL) + 1200;
	int64_t skew;
	char body[500];
	struct tm tm;
	Call call;

	gmtime_r(&when, &tm);
	strftime(body, sizeof(body),
			 "<Error><Code>RequestTimeTooSkewed</Code><ServerTime>"
			 "%Y-%m-%dT%H:%M:%SZ</ServerTime></Error>",
			 &tm);
	server_rule(fixture->server, (ServerRule){.times = 1,
											  .status = 403,
											  .headers = "Date: today\r\n",
											  .body = body});
	server_rule(fixture->server, success(OB_S3_CREATE, NULL));
	assert_int_equal(run_verb(fixture, &call, OB_S3_CREATE)->code, OB_OK);
	assert_in_range(signing_time(nth(fixture, 1)), when - 60, when + 60);
	assert_in_range(ob_s3_clock_offset(fixture->s3), 1140, 1260);
	assert_false(ob_s3_clock_skew(fixture->s3, &skew));
	call_free(&call);
}

static void
clocks_without_effect(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		const char *date; /* NULL: offset */
		int64_t offset;
		const char *body;
		ObCode code;
	} rows[] = {
		{"the same", OB_S3_CREATE, NULL, 3, SKEWED, OB_ESKEW},
		{"none", OB_S3_CREATE, "", 0, SKEWED, OB_ESKEW},
		{"odd", OB_S3_CREATE, "Date: Sun, 31 Foo 2030 00:00:00 GMT\r\n", 0,
		 SKEWED, OB_ESKEW},
		{"local", OB_S3_CREATE, "Date: Sun, 06 Nov 1994 08:49:37 EST\r\n", 0,
		 SKEWED, OB_ESKEW},
		{"obsolete", OB_S3_CREATE, "Date: Sunday, 06-Nov-94 08:49:37 GMT\r\n",
		 0, SKEWED, OB_ESKEW},
		{"another refusal", OB_S3_CREATE, NULL, 1200,
		 XML_ERROR("AccessDenied"), OB_EDENIED},
		{"no right to look", OB_S3_HEAD, NULL, 300, NULL, OB_EDENIED},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char date[100];
		Call call;

		server_reset(fixture->server);
		date_header(rows[i].offset, date, sizeof(date));
		server_rule(fixture->server,
					(ServerRule){.status = 403,
								 .headers = rows[i].date ? rows[i].date : date,
								 .body = rows[i].body});
		run_verb(fixture, &call, rows[i].verb);
		assert_row(rows[i].name, call.call.error.code == rows[i].code);
		assert_row(rows[i].name, count(fixture) == 1);
		assert_int_equal(ob_s3_clock_offset(fixture->s3), 0);
		call_free(&call);
	}
}

/* The clock is corrected once; a second refusal is final. */
static void
clock_is_learnt_once(void **state)
{
	Fixture *fixture = *state;
	char near[100];
	char far[100];
	Call call;

	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .status = 403,
							 .headers = date_header(1200, near, sizeof(near)),
							 .body = SKEWED});
	server_rule(fixture->server,
				(ServerRule){.status = 403,
							 .headers = date_header(5000, far, sizeof(far)),
							 .body = SKEWED});
	run_verb(fixture, &call, OB_S3_CREATE);
	assert_error(&call.call.error, OB_ESKEW, "RequestTimeTooSkewed");
	assert_int_equal(count(fixture), 2);
	assert_in_range(ob_s3_clock_offset(fixture->s3), 1140, 1260);
	call_free(&call);
	/* but the next call may correct it again */
	run_verb(fixture, &call, OB_S3_CREATE);
	assert_int_equal(count(fixture), 4);
	assert_in_range(ob_s3_clock_offset(fixture->s3), 4940, 5060);
	call_free(&call);
}

/* Any response shows the difference, even without a refusal. */
static void
skew_of_any_response(void **state)
{
	static const int statuses[] = {200, 500, 404};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(statuses); i++)
	{
		char date[100];
		int64_t skew;
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server,
					(ServerRule){.times = 1,
								 .status = statuses[i],
								 .headers = date_header(100 * (int) i + 100,
														date, sizeof(date))});
		server_rule(fixture->server, success(OB_S3_HEAD, NULL));
		run_verb(fixture, &call, OB_S3_HEAD);
		assert_true(ob_s3_clock_skew(fixture->s3, &skew));
		assert_in_range(skew, 100 * i + 40, 100 * i + 160);
		assert_int_equal(ob_s3_clock_offset(fixture->s3), 0);
		call_free(&call);
	}
}

/* ---- credentials ---- */

static void
set_keys(const char *id, const char *secret, const char *token)
{
	setenv("AWS_ACCESS_KEY_ID", id, 1);
	setenv("AWS_SECRET_ACCESS_KEY", secret, 1);
	setenv("AWS_SESSION_TOKEN", token, 1);
}

static void
unset_keys(void)
{
	unsetenv("AWS_ACCESS_KEY_ID");
	unsetenv("AWS_SECRET_ACCESS_KEY");
	unsetenv("AWS_SESSION_TOKEN");
}

static void
use_environment(Fixture *fixture)
{
	ObS3Options options = usual_s3(fixture);

	options.credentials = (ObCredentialsOptions){
		.source = OB_CREDENTIALS_ENVIRONMENT, .region = "us-east-1"};
	replace_s3(fixture, &options);
}

static bool
is_held(void *arg)
{
	return count(arg) > 0;
}

/* A session has expired, and there is a new one. */
static void
credentials_are_renewed(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		ServerRule fault;
	} rows[] = {
		{"expired",
		 OB_S3_UPLOAD_PART,
		 {.status = 400, .body = XML_ERROR("ExpiredToken")}},
		{"expired, forbidden",
		 OB_S3_CREATE,
		 {.status = 403, .body = XML_ERROR("ExpiredToken")}},
		{"invalid",
		 OB_S3_PUT_OBJECT,
		 {.status = 400, .body = XML_ERROR("InvalidToken")}},
		{"to be refreshed",
		 OB_S3_LIST_PARTS,
		 {.status = 400, .body = XML_ERROR("TokenRefreshRequired")}},
		{"in a 200",
		 OB_S3_COMPLETE,
		 {.status = 200, .body = XML_ERROR("ExpiredToken")}},
		{"no document", OB_S3_HEAD, {.status = 400}},
	};
	static const ObCredentials old = {"AKIAOLD", "old-secret", "old"};
	static const ObCredentials new = {"AKIANEW", "new-secret", "new"};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule fault = rows[i].fault;
		Call call;

		server_reset(fixture->server);
		set_keys("AKIAOLD", "old-secret", "old");
		use_environment(fixture);
		fault.act = SERVER_HOLD;
		fault.times = 1;
		server_rule(fixture->server, fault);
		server_rule(fixture->server, success(rows[i].verb, NULL));
		call_init(&call, fixture);
		start_verb(&call, rows[i].verb, "k");
		host_watch(ob_s3_http(fixture->s3), is_held, fixture);
		set_keys("AKIANEW", "new-secret", "new");
		server_release(fixture->server);
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == OB_OK);
		assert_int_equal(call.call.error.attempts, 0);
		assert_int_equal(count(fixture), 2);
		assert_signed(nth(fixture, 0), &old, "us-east-1");
		assert_signed(nth(fixture, 1), &new, "us-east-1");
		call_free(&call);
	}
	unset_keys();
}

/* There are no new keys, or they are refused as well. */
static void
credentials_stay_expired(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_rule(fixture->server,
				(ServerRule){.act = SERVER_HOLD,
							 .status = 400,
							 .body = XML_ERROR("ExpiredToken")});
	/* given keys, and an environment that still has the old ones */
	set_keys("AKIAOLD", "old-secret", "old");
	server_release(fixture->server);
	for (int i = 0; i < 2; i++)
	{
		if (i == 1)
			use_environment(fixture);
		run_verb(fixture, &call, OB_S3_CREATE);
		assert_error(&call.call.error, OB_ECREDS, "ExpiredToken");
		assert_int_equal(call.call.error.attempts, 1);
		assert_int_equal(count(fixture), 1 + i);
		call_free(&call);
	}

	/* new keys, which are refused like the old ones: this does not go on for
	 * ever */
	server_reset(fixture->server);
	server_rule(fixture->server,
				(ServerRule){.act = SERVER_HOLD,
							 .status = 400,
							 .body = XML_ERROR("ExpiredToken")});
	call_init(&call, fixture);
	start_verb(&call, OB_S3_CREATE, "k");
	host_watch(ob_s3_http(fixture->s3), is_held, fixture);
	set_keys("AKIANEW", "new-secret", "new");
	server_release(fixture->server);
	wait_done(&call);
	assert_error(&call.call.error, OB_ECREDS, "ExpiredToken");
	assert_int_equal(count(fixture), 2);
	call_free(&call);
	unset_keys();
}

/* There are no credentials: nothing is sent, and the drive calls "done". */
static void
no_credentials(void **state)
{
	Fixture *fixture = *state;
	Call calls[3];

	unset_keys();
	use_environment(fixture);
	for (int i = 0; i < 3; i++)
	{
		call_init(&calls[i], fixture);
		start_verb(&calls[i],
				   (ObS3Verb[]){OB_S3_CREATE, OB_S3_COMPLETE, OB_S3_ABORT}[i],
				   "k");
		assert_int_equal(calls[i].done, 0);
	}
	for (int i = 0; i < 3; i++)
	{
		wait_done(&calls[i]);
		/* a Complete that was never sent is not unclear */
		assert_int_equal(calls[i].call.error.code, OB_ECREDS);
		assert_true(calls[i].call.error.cause[0] != '\0');
		assert_true(calls[i].call.error.what[0] != '\0');
		assert_false(calls[i].call.uncertain);
		call_free(&calls[i]);
	}
	assert_int_equal(server_accepted(fixture->server), 0);

	/* the sources are tried again only when the client is used again */
	set_keys("AKIANEW", "new-secret", "new");
	run_verb(fixture, &calls[0], OB_S3_CREATE);
	assert_int_equal(calls[0].call.error.code, OB_ECREDS);
	call_free(&calls[0]);
	ob_s3_reset(fixture->s3);
	server_rule(fixture->server, success(OB_S3_CREATE, NULL));
	run_verb(fixture, &calls[0], OB_S3_CREATE);
	assert_int_equal(calls[0].call.error.code, OB_OK);
	call_free(&calls[0]);
	unset_keys();
}

/* Three faults at the same time: the call recovers from each. */
static void
several_faults_at_once(void **state)
{
	Fixture *fixture = *state;
	static const ObCredentials new = {"AKIANEW", "new-secret", "new"};
	char date[100];
	Call call;

	set_keys("AKIAOLD", "old-secret", "old");
	use_environment(fixture);
	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .act = SERVER_HOLD,
							 .status = 400,
							 .body = XML_ERROR("ExpiredToken")});
	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .status = 301,
							 .headers = "x-amz-bucket-region: eu-west-3\r\n"});
	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .status = 403,
							 .headers = date_header(1200, date, sizeof(date)),
							 .body = SKEWED});
	server_rule(fixture->server, (ServerRule){.times = 1, .status = 500});
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	call_init(&call, fixture);
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	call.call.max_attempts = 2;
	host_watch(ob_s3_http(fixture->s3), is_held, fixture);
	set_keys("AKIANEW", "new-secret", "new");
	server_release(fixture->server);
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_OK);
	assert_int_equal(call.call.error.attempts, 1);
	assert_int_equal(count(fixture), 5);
	assert_signed(nth(fixture, 4), &new, "eu-west-3");
	call_free(&call);
	unset_keys();
}

/* ---- credentials that have to be fetched ---- */

#define GIVEN(id)                                                   \
	"{\"AccessKeyId\": \"" id "\", \"SecretAccessKey\": \"given\"," \
	" \"Token\": \"token\", \"Expiration\": \"2099-01-01T00:00:00Z\"}"

static const ObCredentials first_given = {"AKIAFIRST", "given", "token"};
static const ObCredentials second_given = {"AKIASECOND", "given", "token"};

/* The server is also the source of credentials. */
static void
use_container(Fixture *fixture)
{
	ObS3Options options = usual_s3(fixture);
	char uri[100];

	snprintf(uri, sizeof(uri), "http://127.0.0.1:%d/source",
			 server_port(fixture->server));
	setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri, 1);
	options.credentials = (ObCredentialsOptions){
		.source = OB_CREDENTIALS_CONTAINER, .region = "us-east-1"};
	replace_s3(fixture, &options);
}

static void
rule_source(Fixture *fixture, ServerAct act, int times, const char *body)
{
	server_rule(fixture->server, (ServerRule){.target = "/source",
											  .act = act,
											  .times = times,
											  .status = 200,
											  .body = body});
}

static int
requests_for_credentials(Fixture *fixture)
{
	return server_count(fixture->server, "GET", "/source");
}

static bool
is_requested(void *arg)
{
	return requests_for_credentials(arg) > 0;
}

static bool
is_requested_twice(void *arg)
{
	return requests_for_credentials(arg) > 1;
}

/* Credentials are fetched once for any number of calls; no other request is
 * sent in the meantime. */
static void
calls_wait_for_credentials(void **state)
{
	static const ObS3Verb verbs[] = {OB_S3_UPLOAD_PART, OB_S3_COMPLETE,
									 OB_S3_HEAD};
	Fixture *fixture = *state;
	Call calls[3];

	use_container(fixture);
	rule_source(fixture, SERVER_HOLD, 0, GIVEN("AKIAFIRST"));
	for (int i = 0; i < 3; i++)
	{
		call_init(&calls[i], fixture);
		server_rule(fixture->server, success(verbs[i], NULL));
		start_verb(&calls[i], verbs[i], "k");
	}
	host_watch(ob_s3_http(fixture->s3), is_requested, fixture);
	host_drive_for(ob_s3_http(fixture->s3), 20);
	assert_int_equal(count(fixture), 1);
	for (int i = 0; i < 3; i++)
		assert_true(ob_s3_call_running(&calls[i].call));
	server_release(fixture->server);
	for (int i = 0; i < 3; i++)
	{
		wait_done(&calls[i]);
		assert_int_equal(calls[i].call.error.code, OB_OK);
		assert_int_equal(calls[i].call.error.attempts, 0);
		assert_signed(nth(fixture, i + 1), &first_given, "us-east-1");
		call_free(&calls[i]);
	}
	assert_int_equal(requests_for_credentials(fixture), 1);
	assert_int_equal(ob_s3_retries(fixture->s3), 0);
}

static void
cancel_while_waiting_for_credentials(void **state)
{
	Fixture *fixture = *state;
	Call calls[3];

	use_container(fixture);
	rule_source(fixture, SERVER_HOLD, 0, GIVEN("AKIAFIRST"));
	server_rule(fixture->server, success(OB_S3_CREATE, NULL));
	for (int i = 0; i < 3; i++)
	{
		call_init(&calls[i], fixture);
		start_verb(&calls[i], OB_S3_CREATE, "k");
	}
	host_watch(ob_s3_http(fixture->s3), is_requested, fixture);
	ob_s3_call_cancel(&calls[0].call);
	assert_false(ob_s3_call_running(&calls[0].call));
	call_free(&calls[1]);
	server_release(fixture->server);
	wait_done(&calls[2]);
	host_drive_for(ob_s3_http(fixture->s3), 20);
	assert_int_equal(calls[0].done + calls[1].done, 0);
	assert_int_equal(server_count(fixture->server, "POST", NULL), 1);
	call_free(&calls[0]);
	call_free(&calls[2]);
}

static void
credentials_are_refused(void **state)
{
	Fixture *fixture = *state;
	Call calls[2];

	use_container(fixture);
	server_rule(fixture->server,
				(ServerRule){.target = "/source", .status = 404});
	for (int i = 0; i < 2; i++)
	{
		call_init(&calls[i], fixture);
		start_verb(&calls[i], i ? OB_S3_COMPLETE : OB_S3_CREATE, "k");
	}
	for (int i = 0; i < 2; i++)
	{
		wait_done(&calls[i]);
		assert_error(&calls[i].call.error, OB_ECREDS, "container");
		assert_true(calls[i].call.error.what[0] != '\0');
		call_free(&calls[i]);
	}
	assert_int_equal(count(fixture), requests_for_credentials(fixture));
}

/* If the store refuses credentials, all running calls continue with the next
 * ones, which are fetched once.  One of the calls was waiting for its next
 * attempt when the old credentials were dropped; that attempt is not lost. */
static void
credentials_are_fetched_again(void **state)
{
	Fixture *fixture = *state;
	ServerRule slow = {.target = "slow",
					   .times = 1,
					   .status = 503,
					   .headers = "x-amz-retry-after: 100\r\n"};
	ServerRule expired = {.target = "expired",
						  .times = 1,
						  .status = 400,
						  .body = XML_ERROR("ExpiredToken")};
	Call calls[2];

	use_container(fixture);
	rule_source(fixture, SERVER_RESPONSE, 1, GIVEN("AKIAFIRST"));
	rule_source(fixture, SERVER_HOLD, 0, GIVEN("AKIASECOND"));
	server_rule(fixture->server, slow);
	server_rule(fixture->server, expired);
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	for (int i = 0; i < 2; i++)
	{
		call_init(&calls[i], fixture);
		start_verb(&calls[i], OB_S3_UPLOAD_PART, i ? "expired" : "slow");
	}
	host_watch(ob_s3_http(fixture->s3), is_requested_twice, fixture);
	/* until the pause is over: that attempt needs credentials, too */
	wait_retries(fixture, 2);
	host_drive_for(ob_s3_http(fixture->s3), 300);
	assert_int_equal(server_count(fixture->server, "PUT", NULL), 2);
	server_release(fixture->server);
	for (int i = 0; i < 2; i++)
	{
		wait_done(&calls[i]);
		assert_string_equal(calls[i].call.error.cause, "");
		assert_int_equal(calls[i].call.error.attempts, i ? 0 : 1);
		call_free(&calls[i]);
	}
	assert_int_equal(requests_for_credentials(fixture), 2);
	assert_int_equal(server_count(fixture->server, "PUT", NULL), 4);
	for (int i = 0; i < 4; i++)
		assert_signed(server_request(fixture->server, "PUT", NULL, i),
					  i < 2 ? &first_given : &second_given, "us-east-1");
}

/* Each time there are new credentials, but all are refused: this does not go
 * on for ever. */
static void
credentials_are_fetched_again_once(void **state)
{
	Fixture *fixture = *state;
	Call call;

	use_container(fixture);
	rule_source(fixture, SERVER_RESPONSE, 1, GIVEN("AKIAFIRST"));
	rule_source(fixture, SERVER_RESPONSE, 1, GIVEN("AKIASECOND"));
	rule_source(fixture, SERVER_RESPONSE, 0, GIVEN("AKIATHIRD"));
	server_rule(
		fixture->server,
		(ServerRule){.status = 400, .body = XML_ERROR("ExpiredToken")});
	run_verb(fixture, &call, OB_S3_UPLOAD_PART);
	assert_error(&call.call.error, OB_ECREDS, "ExpiredToken");
	assert_int_equal(server_count(fixture->server, "PUT", NULL), 2);
	assert_int_equal(requests_for_credentials(fixture), 2);
	call_free(&call);
}

/* ---- MD5 ---- */

#define WANTS_MD5                                                  \
	"<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR "   \
	"x-amz-checksum- HTTP header is required for Put Object/Part " \
	"requests with Object Lock parameters</Message></Error>"

static const char *
md5_of(Fixture *fixture, int n)
{
	static char value[100];

	server_header(nth(fixture, n), "Content-MD5", value, sizeof(value));
	return value;
}

/* It is sent when the store requires it, and from then on with each body. */
static void
md5_is_learnt(void **state)
{
	static const ObS3Verb verbs[] = {OB_S3_PUT_OBJECT, OB_S3_UPLOAD_PART};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(verbs); i++)
	{
		char want[OB_MD5_TEXT];
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		server_rule(
			fixture->server,
			(ServerRule){.times = 1, .status = 400, .body = WANTS_MD5});
		server_rule(fixture->server, success(verbs[i], NULL));
		assert_false(ob_s3_content_md5(fixture->s3));
		assert_int_equal(run_verb(fixture, &call, verbs[i])->code, OB_OK);
		assert_int_equal(call.call.error.attempts, 0);
		call_free(&call);
		assert_true(ob_s3_content_md5(fixture->s3));
		assert_int_equal(run_verb(fixture, &call, verbs[i])->code, OB_OK);
		call_free(&call);
		assert_int_equal(count(fixture), 3);
		assert_true(ob_md5_text(nth(fixture, 0)->body,
								nth(fixture, 0)->body_len, want));
		assert_string_equal(md5_of(fixture, 0), "");
		for (int n = 1; n < 3; n++)
		{
			assert_string_equal(md5_of(fixture, n), want);
			assert_signed(nth(fixture, n), &own_keys, "us-east-1");
		}
	}
}

/* Another client has learnt the requirement. */
static void
md5_is_known(void **state)
{
	Fixture *fixture = *state;
	ObS3Options options = usual_s3(fixture);
	Call call;

	options.content_md5 = true;
	replace_s3(fixture, &options);
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	run_verb(fixture, &call, OB_S3_UPLOAD_PART);
	assert_int_equal(strlen(md5_of(fixture, 0)), OB_MD5_TEXT - 1);
	call_free(&call);
}

/* A request that is refused in spite of it, other refusals, and other
 * requests. */
static void
md5_does_not_help(void **state)
{
	static const struct
	{
		ObS3Verb verb;
		int status;
		const char *body;
		int requests;
	} rows[] = {
		{OB_S3_UPLOAD_PART, 400, WANTS_MD5, 2},
		{OB_S3_UPLOAD_PART, 400, XML_ERROR("InvalidRequest"), 1},
		{OB_S3_UPLOAD_PART, 403, WANTS_MD5, 1},
		{OB_S3_COMPLETE, 400, WANTS_MD5, 1},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.status = rows[i].status,
												  .body = rows[i].body});
		assert_int_not_equal(run_verb(fixture, &call, rows[i].verb)->code,
							 OB_OK);
		assert_int_equal(count(fixture), rows[i].requests);
		call_free(&call);
	}
}

/* ---- failures that a client tolerates ---- */

/* Failures of a network are not counted during an outage, since the store was
 * reached before. */
static void
network_goes_away(void **state)
{
	static const ObS3Verb verbs[] = {OB_S3_UPLOAD_PART, OB_S3_COMPLETE};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(verbs); i++)
	{
		ObRetryQuota quota = {10};
		int before;
		Call call;

		use_s3(fixture, NULL, 60000);
		server_reset(fixture->server);
		server_rule(fixture->server, success(OB_S3_HEAD, NULL));
		server_rule(fixture->server, success(verbs[i], NULL));
		run_verb(fixture, &call, OB_S3_HEAD);
		call_free(&call);

		server_refuse(fixture->server);
		before = ob_s3_retries(fixture->s3);
		call_init(&call, fixture);
		call.call.quota = &quota;
		start_verb(&call, verbs[i], "k");
		call.call.max_attempts = 2;
		wait_retries(fixture, before + 4);
		assert_int_equal(call.done, 0);
		assert_int_equal(quota.tokens, 10);
		server_listen(fixture->server);
		wait_done(&call);
		assert_string_equal(call.call.error.cause, "");
		assert_in_range(call.call.error.attempts, 4, 100);
		assert_false(call.call.uncertain);
		call_free(&call);
	}
}

/* For a parallel worker's first part, its leader has reached the store. */
static void
network_reached_by_another(void **state)
{
	Fixture *fixture = *state;
	Call call;

	use_s3(fixture, NULL, 60000);
	server_reset(fixture->server);
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	server_refuse(fixture->server);
	call_init(&call, fixture);
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	call.call.max_attempts = 2;
	wait_retries(fixture, 4);
	assert_int_equal(call.done, 0);
	server_listen(fixture->server);
	wait_done(&call);
	assert_string_equal(call.call.error.cause, "");
	call_free(&call);
}

/* The store was never reached, or there is no deadline, or the call is an
 * Abort. */
static void
network_was_never_there(void **state)
{
	static const struct
	{
		const char *name;
		ObS3Verb verb;
		bool reached;
		bool reset;
		int deadline_ms;
	} rows[] = {
		{"never reached", OB_S3_CREATE, false, false, 60000},
		{"reached for another export", OB_S3_CREATE, true, true, 60000},
		{"no deadline", OB_S3_UPLOAD_PART, true, false, 0},
		{"abort", OB_S3_ABORT, true, false, 60000},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		use_s3(fixture, NULL, rows[i].deadline_ms);
		server_reset(fixture->server);
		server_rule(fixture->server, success(OB_S3_HEAD, NULL));
		if (rows[i].reached)
		{
			run_verb(fixture, &call, OB_S3_HEAD);
			call_free(&call);
		}
		if (rows[i].reset)
			ob_s3_reset(fixture->s3);
		server_refuse(fixture->server);
		call_init(&call, fixture);
		start_verb(&call, rows[i].verb, "k");
		call.call.max_attempts = 2;
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == OB_ECONNECT);
		assert_row(rows[i].name, call.call.error.attempts == 2);
		call_free(&call);
		server_listen(fixture->server);
	}
}

/* The deadline ends an outage, too. */
static void
network_stays_away(void **state)
{
	Fixture *fixture = *state;
	Call call;

	use_s3(fixture, NULL, 500);
	server_rule(fixture->server, success(OB_S3_HEAD, NULL));
	run_verb(fixture, &call, OB_S3_HEAD);
	call_free(&call);
	server_refuse(fixture->server);
	run_verb(fixture, &call, OB_S3_UPLOAD_PART);
	assert_int_equal(call.call.error.code, OB_ECONNECT);
	assert_in_range(call.call.error.attempts, 2, 100);
	call_free(&call);
}

/* A label of 64 characters is invalid, so no name is resolved. */
static void
name_that_is_not_known(void **state)
{
	Fixture *fixture = *state;
	ObS3Options options = usual_s3(fixture);
	int64_t begin = ob_http_now_ms();
	Call call;

	options.retry_deadline_ms = 600000;
	memset(options.endpoint.host, 'x', 64);
	strcpy(options.endpoint.host + 64, ".test");
	replace_s3(fixture, &options);
	call_init(&call, fixture);
	start_verb(&call, OB_S3_CREATE, "k");
	/* the deadline ends it */
	call.call.max_attempts = 1000;
	while (ob_s3_call_running(&call.call))
		host_drive_for(ob_s3_http(fixture->s3), 50);
	assert_int_equal(call.done, 1);
	assert_int_equal(call.call.error.code, OB_ECONNECT);
	assert_true(call.call.request.unresolved);
	assert_in_range(call.call.error.attempts, 2, 100);
	/* 10 s, plus the delay of a slow machine */
	assert_true(ob_http_now_ms() - begin < 20000);
	call_free(&call);
}

/* The upload has already failed too often. */
static void
quota_is_used_up(void **state)
{
	Fixture *fixture = *state;
	ObRetryQuota quota = {25};
	Call call;

	server_rule(
		fixture->server,
		(ServerRule){.status = 500, .body = XML_ERROR("InternalError")});
	call_init(&call, fixture);
	call.call.quota = &quota;
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	wait_done(&call);
	assert_error(
		&call.call.error, OB_ESERVER,
		"InternalError: why not; it is "
		"not tried again, since too many requests of this upload failed");
	assert_int_equal(call.call.error.attempts, 3);
	assert_int_equal(quota.tokens, 5);
	assert_int_equal(count(fixture), 3);

	/* a success returns its cost plus one token; a refusal costs nothing */
	server_reset(fixture->server);
	server_rule(fixture->server,
				(ServerRule){.times = 1,
							 .status = 503,
							 .headers = "x-amz-retry-after: 1\r\n",
							 .body = XML_ERROR("SlowDown")});
	server_rule(fixture->server, success(OB_S3_UPLOAD_PART, NULL));
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	wait_done(&call);
	assert_int_equal(call.call.error.code, OB_OK);
	assert_int_equal(quota.tokens, 6);
	server_reset(fixture->server);
	server_rule(fixture->server, (ServerRule){.status = 403});
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	wait_done(&call);
	assert_int_equal(quota.tokens, 6);
	call_free(&call);
}

static int throttled;

static void
on_throttled(ObS3Call *call)
{
	throttled++;
}

static void
pauses_of_retry_after(void **state)
{
	static const struct
	{
		const char *name;
		ServerRule fault;
		int least; /* ms */
		int most;
		int throttled;
	} rows[] = {
		{"seconds",
		 {.status = 500, .headers = "Retry-After: 30\r\n"},
		 20000,
		 30000,
		 0},
		{"milliseconds",
		 {.status = 503, .headers = "x-amz-retry-after: 30000\r\n"},
		 20000,
		 30000,
		 0},
		{"both",
		 {.status = 429,
		  .headers = "Retry-After: 20\r\nx-amz-retry-after: 40000\r\n"},
		 30000,
		 40000,
		 1},
		{"an hour",
		 {.status = 503,
		  .headers = "Retry-After: 3600\r\n",
		  .body = XML_ERROR("SlowDown")},
		 50000,
		 60000,
		 1},
		{"none", {.status = 500}, 0, 100, 0},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		use_s3(fixture, NULL, 0);
		server_reset(fixture->server);
		server_rule(fixture->server, rows[i].fault);
		throttled = 0;
		call_init(&call, fixture);
		call.call.throttled = on_throttled;
		start_verb(&call, OB_S3_UPLOAD_PART, "k");
		wait_retries(fixture, 1);
		assert_in_range(ob_http_timeout_ms(ob_s3_http(fixture->s3)),
						rows[i].least, rows[i].most);
		assert_row(rows[i].name, throttled == rows[i].throttled);
		call_free(&call);
	}
}

/* The time-out of a request grows with its size. */
static void
time_for_a_request(void **state)
{
	Fixture *fixture = *state;
	Call call;

	call_init(&call, fixture);
	start_verb(&call, OB_S3_UPLOAD_PART, "k");
	assert_int_equal(call.call.request.timeout_ms, 120000);
	assert_int_equal(call.call.request.stall_timeout_ms, 0);
	ob_s3_call_cancel(&call.call);
	ob_s3_upload_part(&call.call, "b", "k", "id", 1, NULL, 64 << 20, "");
	assert_int_equal(call.call.request.timeout_ms, 120000 + 1024000);
	ob_s3_call_cancel(&call.call);
	ob_s3_upload_part(&call.call, "b", "k", "id", 1, NULL, SIZE_MAX / 2, "");
	assert_int_equal(call.call.request.timeout_ms, INT32_MAX);
	ob_s3_call_cancel(&call.call);
	start_verb(&call, OB_S3_COMPLETE, "k");
	assert_int_equal(call.call.request.timeout_ms, 900000);
	assert_int_equal(call.call.request.stall_timeout_ms, 900000);
	call_free(&call);
}

/* ---- clients and their options ---- */

static void
clients_of_options(void **state)
{
	Fixture *fixture = *state;
	ObS3Options usual = usual_s3(fixture);
	ObS3Options changed[14];
	int n = 0;

	replace_s3(fixture, &usual);
	for (size_t i = 0; i < COUNT_OF(changed); i++)
		changed[i] = usual;
	strcpy(changed[n++].endpoint.host, "localhost");
	changed[n++].endpoint.https = true;
	changed[n++].endpoint.port++;
	changed[n++].addressing = OB_ADDRESSING_VIRTUAL;
	changed[n++].region = "us-east-2";
	changed[n++].retry_deadline_ms = 1;
	changed[n++].credentials.keys.secret_access_key = "other";
	changed[n++].credentials.keys.session_token = "other";
	changed[n++].credentials.source = OB_CREDENTIALS_CHAIN;
	changed[n++].http.ca_file = "/ca";
	changed[n++].http.proxy = "http://proxy";
	changed[n++].http.connect_timeout_ms++;
	changed[n++].http.stall_timeout_ms++;
	changed[n++].http.max_connections++;
	assert_int_equal(n, COUNT_OF(changed));
	assert_true(ob_s3_matches(fixture->s3, &usual));
	for (int i = 0; i < n; i++)
	{
		char row[20];

		snprintf(row, sizeof(row), "%d", i);
		assert_row(row, !ob_s3_matches(fixture->s3, &changed[i]));
	}
	/* credentials that another process has fetched make no other client */
	usual.credentials.known = (ObCredentials){"AKIAKNOWN", "known", NULL};
	assert_true(ob_s3_matches(fixture->s3, &usual));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(region_is_learnt),
		TEST(region_is_learnt_once),
		TEST(regions_without_effect),
		TEST(region_is_looked_up),
		TEST(region_is_looked_up_again),
		TEST(region_cannot_be_looked_up),
		TEST(region_is_learnt_by_another),
		TEST(redirects_to_other_hosts),
		TEST(redirects_to_the_same_host),
		TEST(aws_in_another_region),
		TEST(aws_and_an_odd_region),
		TEST(aws_endpoint_that_was_chosen),
		TEST(clock_is_learnt),
		TEST(clock_from_the_document),
		TEST(clocks_without_effect),
		TEST(clock_is_learnt_once),
		TEST(skew_of_any_response),
		TEST(credentials_are_renewed),
		TEST(credentials_stay_expired),
		TEST(no_credentials),
		TEST(several_faults_at_once),
		TEST(calls_wait_for_credentials),
		TEST(cancel_while_waiting_for_credentials),
		TEST(credentials_are_refused),
		TEST(credentials_are_fetched_again),
		TEST(credentials_are_fetched_again_once),
		TEST(md5_is_learnt),
		TEST(md5_is_known),
		TEST(md5_does_not_help),
		TEST(network_goes_away),
		TEST(network_reached_by_another),
		TEST(network_was_never_there),
		TEST(network_stays_away),
		TEST(name_that_is_not_known),
		TEST(quota_is_used_up),
		TEST(pauses_of_retry_after),
		TEST(time_for_a_request),
		TEST(clients_of_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
