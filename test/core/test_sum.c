/*
 * test_sum.c
 *		Tests of SumObject: an object is read, and nothing of it kept.
 *
 * test/core/test_sum.c
 */
#include "s3calls.h"

#include <zlib.h>

#define SIZE (3 * 1024 * 1024)
#define KEPT "ETag: \"etag-1\"\r\n"

static char data[SIZE + 1];

static void
fill(void)
{
	for (size_t i = 0; i < SIZE; i += 8)
	{
		uint64_t number = next_random();

		memcpy(data + i, &number, 8);
	}
}

static ServerRule
object(size_t len)
{
	return (ServerRule){
		.status = 200, .headers = KEPT, .body = data, .body_len = len};
}

static void
sum(Call *call, uint64_t max)
{
	call->done = 0;
	call->call.sum_max = max;
	ob_s3_sum_object(&call->call, "b", "k");
}

static void
assert_sum(Call *call, size_t len)
{
	char etag[OB_ETAG_MAX];

	assert_string_equal(call->call.error.cause, "");
	assert_int_equal(call->call.error.code, OB_OK);
	assert_int_equal(call->call.content_length, len);
	assert_int_equal(call->call.crc32,
					 crc32_z(0, (const unsigned char *) data, len));
	ob_s3_plain_etag(&call->call, etag);
	assert_string_equal(etag, "etag-1");
	assert_int_equal(call->call.request.response.len, 0);
}

static void
objects_of_all_sizes(void **state)
{
	static const size_t sizes[] = {1, 16383, 16384, 16385, 300000, SIZE};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(sizes); i++)
	{
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, object(sizes[i]));
		call_init(&call, fixture);
		sum(&call, sizes[i] + i % 2);
		wait_done(&call);
		assert_sum(&call, sizes[i]);
		assert_int_equal(server_count(fixture->server, "GET", "/b/k"), 1);
		call_free(&call);
	}
}

static void
an_empty_object(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_rule(fixture->server,
				(ServerRule){.status = 200, .headers = KEPT, .body = ""});
	call_init(&call, fixture);
	sum(&call, 0);
	wait_done(&call);
	assert_sum(&call, 0);
	call_free(&call);
}

/* It is not read to its end, nor again. */
static void
an_object_that_is_too_long(void **state)
{
	static const size_t limits[] = {0, 1, 16384, SIZE - 1};
	Fixture *fixture = *state;

	server_rule(fixture->server, object(SIZE));
	for (size_t i = 0; i < COUNT_OF(limits); i++)
	{
		char cause[64];
		Call call;

		call_init(&call, fixture);
		sum(&call, limits[i]);
		wait_done(&call);
		snprintf(cause, sizeof(cause), "longer than %zu bytes", limits[i]);
		assert_error(&call.call.error, OB_EPROTO, cause);
		assert_in_range(call.call.content_length, 0, limits[i]);
		assert_int_equal(server_count(fixture->server, NULL, NULL), i + 1);
		call_free(&call);
	}
}

/* The document of a refusal is kept, whatever the limit. */
static void
refusals(void **state)
{
	static const struct
	{
		const char *name;
		int status;
		const char *body;
		ObCode code;
		const char *s3_code;
		int requests;
	} rows[] = {
		{"not there", 404, XML_ERROR("NoSuchKey"), OB_EMISSING, "NoSuchKey",
		 1},
		{"denied", 403, XML_ERROR("AccessDenied"), OB_EDENIED, "AccessDenied",
		 1},
		{"archived", 403, XML_ERROR("InvalidObjectState"), OB_EDENIED,
		 "InvalidObjectState", 1},
		{"a part of it", 206, "", OB_EPROTO, "", 3},
		{"nothing", 204, NULL, OB_EPROTO, "", 3},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		Call call;

		server_reset(fixture->server);
		server_rule(fixture->server, (ServerRule){.status = rows[i].status,
												  .body = rows[i].body});
		call_init(&call, fixture);
		sum(&call, 0);
		wait_done(&call);
		assert_row(rows[i].name, call.call.error.code == rows[i].code);
		assert_row(rows[i].name,
				   strcmp(call.call.error.s3_code, rows[i].s3_code) == 0);
		assert_row(rows[i].name, call.call.error.read_only);
		assert_row(rows[i].name, server_count(fixture->server, NULL, NULL) ==
									 rows[i].requests);
		call_free(&call);
	}
}

/* A try that broke off, or was refused, leaves nothing in the sum. */
static void
it_begins_again(void **state)
{
	static const ServerRule faults[] = {
		{.act = SERVER_CUT,
		 .status = 200,
		 .body = data,
		 .body_len = SIZE,
		 .cut = 100000},
		{.act = SERVER_CUT,
		 .status = 200,
		 .body = data,
		 .body_len = SIZE,
		 .cut = SIZE - 1},
		{.status = 500, .body = XML_ERROR("InternalError")},
		{.status = 503, .body = BAD_GATEWAY},
		{.act = SERVER_DROP},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(faults); i++)
	{
		ServerRule fault = faults[i];
		Call call;

		server_reset(fixture->server);
		fault.times = 2;
		server_rule(fixture->server, fault);
		server_rule(fixture->server, object(SIZE));
		call_init(&call, fixture);
		sum(&call, SIZE);
		wait_done(&call);
		assert_sum(&call, SIZE);
		assert_int_equal(server_count(fixture->server, NULL, NULL), 3);
		call_free(&call);
	}
}

static void
it_breaks_off_each_time(void **state)
{
	Fixture *fixture = *state;
	ServerRule cut = object(SIZE);
	Call call;

	cut.act = SERVER_CUT;
	cut.cut = 200000;
	server_rule(fixture->server, cut);
	call_init(&call, fixture);
	sum(&call, SIZE);
	call.call.max_attempts = 3;
	wait_done(&call);
	assert_error(&call.call.error, OB_ECONNECT, "");
	assert_int_equal(call.call.error.attempts, 3);
	assert_int_equal(server_count(fixture->server, NULL, NULL), 3);
	call_free(&call);
}

static bool
has_begun(void *arg)
{
	return ((Call *) arg)->call.content_length > 0;
}

static void
cancelled_in_the_middle(void **state)
{
	Fixture *fixture = *state;
	ServerRule half = object(SIZE);
	Call call;

	half.act = SERVER_HALF;
	half.cut = SIZE / 2;
	server_rule(fixture->server, half);
	call_init(&call, fixture);
	sum(&call, SIZE);
	host_drive(ob_s3_http(fixture->s3), has_begun, &call);
	ob_s3_call_cancel(&call.call);
	assert_false(ob_s3_call_running(&call.call));
	server_release(fixture->server);
	host_drive_for(ob_s3_http(fixture->s3), 20);
	assert_int_equal(call.done, 0);
	call_free(&call);
}

/* What another verb reads afterwards is kept, and not summed. */
static void
a_call_that_is_used_again(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_rule(fixture->server, object(1000));
	call_init(&call, fixture);
	for (int i = 0; i < 2; i++)
	{
		sum(&call, 1000);
		wait_done(&call);
		assert_sum(&call, 1000);
		start_verb(&call, OB_S3_GET_OBJECT, "k");
		wait_done(&call);
		assert_int_equal(call.call.request.response.len, 1000);
		assert_memory_equal(call.call.request.response.data, data, 1000);
	}
	call_free(&call);
}

/* The lookup of a region is not the object. */
static void
in_another_region(void **state)
{
	Fixture *fixture = *state;
	Call call;

	server_rule(fixture->server,
				(ServerRule){.method = "GET",
							 .times = 1,
							 .status = 301,
							 .headers = "x-amz-bucket-region: eu-west-1\r\n",
							 .body = XML_ERROR("PermanentRedirect")});
	server_rule(fixture->server, object(1000));
	call_init(&call, fixture);
	sum(&call, 1000);
	wait_done(&call);
	assert_sum(&call, 1000);
	assert_string_equal(ob_s3_region(fixture->s3), "eu-west-1");
	call_free(&call);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(objects_of_all_sizes),
		TEST(an_empty_object),
		TEST(an_object_that_is_too_long),
		TEST(refusals),
		TEST(it_begins_again),
		TEST(it_breaks_off_each_time),
		TEST(cancelled_in_the_middle),
		TEST(a_call_that_is_used_again),
		TEST(in_another_region),
	};

	fill();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
