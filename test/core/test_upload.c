/*
 * test_upload.c
 *		Whole uploads, against a little S3 that fails on demand.
 *
 * test/core/test_upload.c
 *
 * link: -Wl,--wrap=malloc -Wl,--wrap=free
 *
 * Buffers of parts are recognized by their size, so that the tests can measure
 * the memory of an upload, and refuse it.
 */
#include "uploads.h"

#include "core/s3/upload_intern.h"

#include "core/s3/upload.h"

#include <pthread.h>

#define BUFFERS_MAX 100

/* ---- the memory of parts ---- */

extern void *__real_malloc(size_t size);
extern void *__wrap_malloc(size_t size);
extern void __real_free(void *memory);
extern void __wrap_free(void *memory);

static pthread_t main_thread;
static struct
{
	void *memory;
	size_t size;
} buffers[BUFFERS_MAX];
static size_t buffers_now;
static size_t buffers_peak;
static int buffers_made;
static bool refuse_buffers;

/* The server's threads allocate parts, too, but these do not count. */
void *
__wrap_malloc(size_t size)
{
	void *memory;
	int i = 0;

	if (size < PART || !pthread_equal(pthread_self(), main_thread))
		return __real_malloc(size);
	if (refuse_buffers)
		return NULL;
	memory = __real_malloc(size);
	while (buffers[i].memory)
		i++;
	buffers[i].memory = memory;
	buffers[i].size = size;
	buffers_now += size;
	buffers_made++;
	if (buffers_now > buffers_peak)
		buffers_peak = buffers_now;
	return memory;
}

void
__wrap_free(void *memory)
{
	if (memory && pthread_equal(pthread_self(), main_thread))
	{
		for (int i = 0; i < BUFFERS_MAX; i++)
		{
			if (buffers[i].memory == memory)
			{
				buffers_now -= buffers[i].size;
				buffers[i].memory = NULL;
				break;
			}
		}
	}
	__real_free(memory);
}

static int
setup_counted(void **state)
{
	buffers_peak = 0;
	buffers_made = 0;
	refuse_buffers = false;
	return setup(state);
}

static int
teardown_counted(void **state)
{
	int left = teardown(state);

	return left != 0 || buffers_now != 0;
}

static int
setup_all(void **state)
{
	main_thread = pthread_self();
	return setup_data(state);
}

/* ---- parts ---- */

static void
sizes_of_parts(void **state)
{
	static const struct
	{
		int max_parts;
		int n;
		size_t size; /* with a base of 5 and a maximum of 1000 */
	} rows[] = {
		{10000, 1, 5},
		{10000, 1000, 5},
		{10000, 1001, 10},
		{10000, 2000, 10},
		{10000, 2001, 20},
		{10000, 7001, 640},
		{10000, 8000, 640},
		{10000, 8001, 1000},
		{10000, 10000, 1000},
		{10000, 10001, 1000},
		{1000, 100, 5},
		{1000, 101, 10},
		{1000, 200, 10},
		{1000, 201, 20},
		{10, 1, 5},
		{10, 2, 10},
		{10, 3, 20},
		{10, 8, 640},
		{10, 9, 1000},
		{10, 10, 1000},
		{1, 1, 5},
		{1, 2, 10},
		{9, 3, 20},
		{19, 2, 10},
		{10000, 2147483647, 1000},
	};
	size_t sum = 0;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		char row[50];

		snprintf(row, sizeof(row), "%d of %d", rows[i].n, rows[i].max_parts);
		assert_row(row, ob_upload_part_size(5, 1000, rows[i].max_parts,
											rows[i].n) == rows[i].size);
	}
	/* there is no room to grow */
	assert_int_equal(ob_upload_part_size(5, 5, 10000, 9000), 5);
	/* there is no overflow, however large "largest" is */
	assert_int_equal(ob_upload_part_size(PART, SIZE_MAX / 2, 1000, 1000),
					 PART << 9);
	/* 10,000 parts, the first of 8 MiB, reach S3's limit of 5 TiB */
	for (int n = 1; n <= 10000; n++)
		sum += ob_upload_part_size(8 * MIB, (size_t) 5 << 30, 10000, n);
	assert_true(sum > (size_t) 5 << 40);
}

/* An object of that size causes only the necessary requests. */
static void
objects_around_the_part_size(void **state)
{
	static const struct
	{
		size_t size;
		size_t step;
		int parts; /* 0: a single PutObject */
		size_t last;
	} rows[] = {
		{0, 1, 0, 0},
		{1, 1, 0, 0},
		{300000, 1009, 0, 0},
		{PART - 1, 8191, 0, 0},
		{PART, 131072, 0, 0},
		{PART + 1, 131072, 2, 1},
		{PART + 1, 65537, 2, 1},
		{2 * PART, 100003, 2, PART},
		{2 * PART + 1, 131071, 3, 1},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObUploadStats stats;
		ObError error;
		int parts = rows[i].parts;

		begin(fixture);
		assert_true(ob_upload_has_room(fixture->upload));
		assert_int_equal(
			write_up_to(fixture, rows[i].size, rows[i].step, &error), OB_OK);
		finish_and_land(fixture);

		ob_upload_stats(fixture->upload, &stats);
		assert_int_equal(stats.bytes, rows[i].size);
		assert_int_equal(stats.landed, rows[i].size);
		assert_false(stats.completing);
		assert_int_equal(stats.parts, parts > 0 ? parts : 1);
		assert_int_equal(stats.in_flight, 0);
		assert_int_equal(stats.retries, 0);
		assert_int_equal(stats.multipart, parts > 0);
		assert_int_equal(count(fixture, NULL, NULL),
						 parts > 0 ? parts + 2 : 1);
		assert_int_equal(count(fixture, "PUT", NULL), parts > 0 ? parts : 1);
		assert_int_equal(count(fixture, "PUT", "partNumber"), parts);
		for (int n = 1; n <= parts; n++)
		{
			char name[50];

			snprintf(name, sizeof(name), "partNumber=%d&uploadId=", n);
			assert_int_equal(
				server_request(fixture->server, "PUT", name, 0)->body_len,
				n < parts ? PART : rows[i].last);
		}
		assert_int_equal(ob_upload_id(fixture->upload)[0] != '\0', parts > 0);
		renew(fixture);
	}
}

/* The requests have the object's headers and the marker where they belong. */
static void
headers_and_marker(void **state)
{
	static const size_t sizes[] = {10, PART + 10};
	Fixture *fixture = *state;
	char markers[2][100];
	char value[100];

	for (int i = 0; i < 2; i++)
	{
		const ServerRequest *request;

		begin(fixture);
		write_all(fixture, sizes[i]);
		finish_and_land(fixture);
		request = server_request(fixture->server, i ? "POST" : "PUT", NULL, 0);
		assert_string_equal(request->target,
							i ? "/b/dir/key?uploads=" : "/b/dir/key");
		assert_int_equal(
			server_header(request, "x-amz-meta-who", value, sizeof(value)), 1);
		assert_string_equal(value, "test");
		assert_int_equal(
			server_header(request, "Content-Type", value, sizeof(value)), 1);
		assert_string_equal(value, "text/csv");
		assert_int_equal(server_header(request, OB_S3_MARKER, markers[i], 100),
						 1);
		assert_int_equal(strlen(markers[i]), 32);
		assert_int_equal(strspn(markers[i], "0123456789abcdef"), 32);
		if (i == 1)
		{
			request = server_request(fixture->server, "PUT", NULL, 0);
			assert_null(strstr(request->head, "x-amz-meta"));
			assert_null(strstr(request->head, "text/csv"));
			request = server_request(fixture->server, "POST", "uploadId", 0);
			assert_null(strstr(request->head, "x-amz-meta"));
			assert_null(strstr(request->head, "text/csv"));
		}
		renew(fixture);
	}
	assert_string_not_equal(markers[0], markers[1]);
}

/* The caller may free the options once the upload exists. */
static void
options_are_copied(void **state)
{
	Fixture *fixture = *state;
	char bucket[] = "b";
	char key[] = "dir/key";
	char name[] = "x-amz-meta-who";
	char value[] = "me";
	ObPair header = {name, value};
	ObUploadOptions options = usual_options(fixture);
	char got[10];

	options.bucket = bucket;
	options.key = key;
	options.headers = &header;
	options.nheaders = 1;
	begin_with(fixture, &options);
	memset(bucket, 'z', strlen(bucket));
	memset(key, 'z', strlen(key));
	memset(name, 'z', strlen(name));
	memset(value, 'z', strlen(value));
	memset(&header, 0, sizeof(header));
	write_all(fixture, PART + 1);
	finish_and_land(fixture);
	assert_int_equal(
		server_header(server_request(fixture->server, "POST", "uploads", 0),
					  "x-amz-meta-who", got, sizeof(got)),
		1);
	assert_string_equal(got, "me");
}

static void
as_a_sink(void **state)
{
	Fixture *fixture = *state;
	ObError error;
	ObSink *sink;

	ob_error_clear(&error);
	begin(fixture);
	sink = ob_sink_upload_new(fixture->upload, &error);
	assert_non_null(sink);
	assert_int_equal(ob_chain_open(sink, &error), OB_OK);
	while (fixture->written < PART + 1000)
	{
		host_drive(fixture->http, has_room_or_failed, fixture);
		assert_int_equal(
			ob_sink_write(sink, data + fixture->written, 1000, &error), OB_OK);
		fixture->written += 1000;
	}
	assert_int_equal(sink->bytes, fixture->written);
	assert_int_equal(ob_chain_close(sink, &error), OB_OK);
	host_drive(fixture->http, is_ended, fixture);
	ob_chain_release(sink);
	assert_landed(fixture);
}

static void
no_bytes_after_the_end(void **state)
{
	Fixture *fixture = *state;
	ObError error;
	size_t avail;

	begin(fixture);
	ob_error_clear(&error);
	/* an advance needs a window */
	assert_int_equal(ob_upload_advance(fixture->upload, 0, &error), OB_EINVAL);
	write_all(fixture, 10);
	finish(fixture);
	for (int i = 0; i < 2; i++)
	{
		ob_error_clear(&error);
		assert_null(ob_upload_window(fixture->upload, &avail, &error));
		assert_error(&error, OB_EINVAL, "takes no more bytes");
		ob_error_clear(&error);
		assert_int_equal(ob_upload_advance(fixture->upload, 1, &error),
						 OB_EINVAL);
		ob_error_clear(&error);
		assert_int_equal(ob_upload_finish(fixture->upload, &error), OB_EINVAL);
		assert_error(&error, OB_EINVAL, "takes no more bytes");
		host_drive(fixture->http, is_ended, fixture);
	}
	assert_landed(fixture);
}

static void
too_many_parts(void **state)
{
	static const struct
	{
		int max_parts;
		size_t fits;
	} rows[] = {{1, PART}, {2, 2 * PART}, {3, 3 * PART}};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObUploadOptions options = usual_options(fixture);
		const ObError *failure;
		char cause[100];
		ObError error;
		ObCode code;

		/* parts cannot grow */
		options.memory = 2 * PART;
		options.max_parts = rows[i].max_parts;
		begin_with(fixture, &options);
		write_all(fixture, rows[i].fits);
		finish_and_land(fixture);
		renew(fixture);

		options = usual_options(fixture);
		options.memory = 2 * PART;
		options.max_parts = rows[i].max_parts;
		begin_with(fixture, &options);
		code = write_up_to(fixture, rows[i].fits + 1, 100003, &error);
		/* the last byte may wait behind the part */
		if (code == OB_OK)
			code = ob_upload_finish(fixture->upload, &error);
		assert_int_not_equal(code, OB_OK);
		assert_int_equal(error.code, OB_ELIMIT);
		failure = ob_upload_error(fixture->upload);
		assert_non_null(failure);
		snprintf(cause, sizeof(cause),
				 "the object would need more than %d parts",
				 rows[i].max_parts);
		assert_error(failure, OB_ELIMIT, cause);
		assert_string_equal(failure->what,
							"could not upload \"s3://b/dir/key\"");
		assert_false(ob_upload_may_exist(fixture->upload));
		abort_and_wait(fixture);
		assert_nothing_landed(fixture);
		renew(fixture);
	}
}

/* ---- memory ---- */

/* Writes until there is no room, with a check after each megabyte. */
static void
write_until_full(Fixture *fixture)
{
	ObError error;

	ob_error_clear(&error);
	while (ob_upload_has_room(fixture->upload))
	{
		assert_int_equal(
			write_some(fixture, DATA_SIZE, OB_SINK_WINDOW_MAX, &error), OB_OK);
		if (fixture->written % MIB == 0)
			host_drive_for(fixture->http, 1);
		assert_in_range(fixture->written, 1, DATA_SIZE - 1);
	}
}

/* The server does not respond: memory fills up, and not further. */
static void
memory_is_bounded(void **state)
{
	static const struct
	{
		size_t memory;
		int connections;
		int buffers;
	} rows[] = {
		{10 * MIB, 8, 2}, /* less than two parts with their slack */
		{2 * (PART + SLACK), 8, 2},
		{3 * (PART + SLACK) - 1, 8, 2},
		{3 * (PART + SLACK), 8, 3},
		{100 * MIB, 2, 3}, /* one more than connections */
		{100 * MIB, 1, 2},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObUploadOptions options = usual_options(fixture);
		ObUploadStats stats;
		size_t full;

		server_rule(fixture->server, (ServerRule){.target = "partNumber",
												  .act = SERVER_HOLD,
												  .store = true});
		options.memory = rows[i].memory;
		options.connections = rows[i].connections;
		buffers_peak = 0;
		begin_with(fixture, &options);
		write_until_full(fixture);
		full = (size_t) rows[i].buffers;
		assert_int_equal(buffers_peak, full * (PART + SLACK));
		/* writing stops when the last buffer cannot take a megabyte more */
		assert_in_range(fixture->written, full * PART - OB_SINK_ROOM,
						full * PART);
		wait_for_request(fixture, "PUT", NULL, (int) full - 1);
		ob_upload_stats(fixture->upload, &stats);
		assert_int_equal(stats.in_flight, full - 1);
		assert_false(ob_upload_has_room(fixture->upload));

		server_release(fixture->server);
		write_all(fixture, (full + 1) * PART + 1);
		finish_and_land(fixture);
		assert_int_equal(buffers_peak, full * (PART + SLACK));
		renew(fixture);
	}
}

/* With parts of half the memory, one is filled while one is sent. */
static void
parts_of_half_the_memory(void **state)
{
	Fixture *fixture = *state;
	ObUploadOptions options = usual_options(fixture);

	options.memory = 2 * PART;
	options.connections = 8;
	begin_with(fixture, &options);
	write_all(fixture, 5 * PART + 1);
	finish_and_land(fixture);
	assert_int_equal(buffers_peak, 2 * (PART + SLACK));
	/* the buffers were reused */
	assert_int_equal(buffers_made, 2);
}

/* This holds for any number of waiting parts, and for a single connection. */
static void
parts_go_out_in_order(void **state)
{
	Fixture *fixture = *state;
	ObUploadOptions options = usual_options(fixture);
	ObUploadStats stats;

	server_rule(
		fixture->server,
		(ServerRule){.target = "uploads=", .act = SERVER_HOLD, .store = true});
	options.connections = 1;
	begin_with(fixture, &options);
	write_all(fixture, PART + 1);
	finish(fixture);
	wait_for_request(fixture, "POST", "uploads=", 1);
	ob_upload_stats(fixture->upload, &stats);
	assert_int_equal(stats.in_flight, 0);
	server_release(fixture->server);
	while (count(fixture, "PUT", NULL) < 2)
	{
		host_drive_for(fixture->http, 2);
		ob_upload_stats(fixture->upload, &stats);
		assert_in_range(stats.in_flight, 0, 1);
	}
	host_drive(fixture->http, is_ended, fixture);
	assert_landed(fixture);
	assert_non_null(
		strstr(server_request(fixture->server, "PUT", NULL, 0)->target,
			   "partNumber=1&"));
	assert_non_null(
		strstr(server_request(fixture->server, "PUT", NULL, 1)->target,
			   "partNumber=2&"));
}

/* Buffers are replaced by larger ones when the parts grow. */
static void
parts_grow_within_memory(void **state)
{
	static const size_t memories[] = {24 * MIB, 64 * MIB};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(memories); i++)
	{
		size_t largest = memories[i] / 2 - SLACK;
		ObUploadOptions options = usual_options(fixture);
		size_t left = 39 * MIB;
		int parts = 0;

		options.memory = memories[i];
		options.max_parts = 10;
		buffers_peak = 0;
		begin_with(fixture, &options);
		write_all(fixture, left);
		finish_and_land(fixture);
		for (int n = 1; left > 0; n++)
		{
			size_t size = ob_upload_part_size(PART, largest, 10, n);
			char name[50];

			snprintf(name, sizeof(name), "partNumber=%d&", n);
			assert_int_equal(
				server_request(fixture->server, "PUT", name, 0)->body_len,
				left < size ? left : size);
			left -= left < size ? left : size;
			parts++;
		}
		assert_int_equal(count(fixture, "PUT", NULL), parts);
		assert_in_range(buffers_peak, 2 * (PART + SLACK), memories[i]);
		renew(fixture);
	}
}

/* If all parts must have one size, they do not grow. */
static void
parts_of_one_size(void **state)
{
	Fixture *fixture = *state;
	ObUploadOptions options = usual_options(fixture);

	options.memory = 64 * MIB;
	options.max_parts = 10;
	options.equal_parts = true;
	begin_with(fixture, &options);
	write_all(fixture, 6 * PART + 1);
	finish_and_land(fixture);
	for (int n = 1; n <= 7; n++)
	{
		char name[50];

		snprintf(name, sizeof(name), "partNumber=%d&", n);
		assert_int_equal(
			server_request(fixture->server, "PUT", name, 0)->body_len,
			n < 7 ? PART : 1);
	}
	assert_int_equal(count(fixture, "PUT", NULL), 7);
}

/* However much memory there is, no part is larger than S3 allows. */
static void
no_part_is_too_large(void **state)
{
	Fixture *fixture = *state;
	ObUploadOptions options = usual_options(fixture);

	options.memory = 2048 * 1024 * MIB;
	begin_with(fixture, &options);
	assert_int_equal(fixture->upload->largest_part, OB_PART_MAX);
	assert_int_equal(OB_PART_MAX, 5120 * MIB);
}

static void
no_memory_for_parts(void **state)
{
	Fixture *fixture = *state;
	const ObError *failure;
	ObError error;
	size_t avail;

	/* memory lacks for the first part */
	begin(fixture);
	refuse_buffers = true;
	ob_error_clear(&error);
	assert_null(ob_upload_window(fixture->upload, &avail, &error));
	assert_error(&error, OB_ENOMEM, "out of memory");
	assert_non_null(ob_upload_error(fixture->upload));
	abort_and_wait(fixture);
	assert_int_equal(server_accepted(fixture->server), 0);
	renew(fixture);

	/* memory lacks for a later part, while another is being sent */
	refuse_buffers = false;
	server_rule(fixture->server, (ServerRule){.target = "partNumber",
											  .act = SERVER_HOLD,
											  .store = true});
	begin(fixture);
	write_all(fixture, PART + 1);
	ob_error_clear(&error);
	assert_non_null(ob_upload_window(fixture->upload, &avail, &error));
	wait_for_request(fixture, "PUT", NULL, 1);
	refuse_buffers = true;
	assert_int_equal(write_up_to(fixture, 3 * PART, 100003, &error),
					 OB_ENOMEM);
	failure = ob_upload_error(fixture->upload);
	assert_error(failure, OB_ENOMEM, "out of memory");
	assert_string_equal(failure->what, "could not upload \"s3://b/dir/key\"");
	assert_false(ob_upload_may_exist(fixture->upload));
	abort_and_wait(fixture);
	assert_nothing_landed(fixture);
}

/* ---- failing parts ---- */

static void
parts_are_tried_again(void **state)
{
	Fixture *fixture = *state;
	ObUploadStats stats;

	server_rule(fixture->server,
				(ServerRule){.target = "uploads=", .times = 1, .status = 503});
	server_rule(
		fixture->server,
		(ServerRule){.target = "partNumber=1&", .times = 1, .status = 500});
	server_rule(fixture->server, (ServerRule){.target = "partNumber=2&",
											  .times = 1,
											  .act = SERVER_DROP,
											  .read = 3 * MIB});
	/* the part is stored, but the response is lost */
	server_rule(fixture->server, (ServerRule){.target = "partNumber=3&",
											  .times = 1,
											  .act = SERVER_CUT,
											  .store = true,
											  .status = 500,
											  .body = "12345",
											  .cut = 1});
	server_rule(fixture->server,
				(ServerRule){.target = "uploadId",
							 .method = "POST",
							 .times = 1,
							 .status = 200,
							 .body = XML_ERROR("InternalError")});
	begin(fixture);
	write_all(fixture, 3 * PART + 5);
	finish_and_land(fixture);
	ob_upload_stats(fixture->upload, &stats);
	assert_int_equal(stats.parts, 4);
	assert_in_range(stats.retries, 4, 5);
	assert_in_range(count(fixture, "PUT", NULL), 7, 8);

	/* retries of another upload by the same client do not count */
	ob_upload_free(fixture->upload);
	begin(fixture);
	write_all(fixture, 5);
	finish_and_land(fixture);
	ob_upload_stats(fixture->upload, &stats);
	assert_int_equal(stats.retries, 0);
}

static void
figures_show_the_progress(void **state)
{
	Fixture *fixture = *state;
	ObUploadStats stats;

	server_rule(fixture->server, (ServerRule){.method = "POST",
											  .target = "uploadId",
											  .act = SERVER_HOLD,
											  .store = true});
	begin(fixture);
	write_all(fixture, 2 * PART + 5);
	ob_upload_stats(fixture->upload, &stats);
	assert_int_equal(stats.bytes, 2 * PART + 5);
	assert_in_range(stats.landed, 0, 2 * PART);
	assert_false(stats.completing);
	finish(fixture);
	wait_for_request(fixture, "POST", "uploadId", 1);
	ob_upload_stats(fixture->upload, &stats);
	assert_true(stats.completing);
	assert_int_equal(stats.landed, 2 * PART + 5);
	assert_int_equal(stats.parts, 3);
	assert_int_equal(stats.in_flight, 0);
	server_release(fixture->server);
	host_drive(fixture->http, is_ended, fixture);
	ob_upload_stats(fixture->upload, &stats);
	assert_false(stats.completing);
	assert_landed(fixture);
}

static void
put_object_is_tried_again(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server, (ServerRule){.times = 1, .status = 500});
	server_rule(fixture->server,
				(ServerRule){.times = 1, .act = SERVER_DROP, .store = true});
	begin(fixture);
	write_all(fixture, MIB);
	finish_and_land(fixture);
	assert_in_range(count(fixture, "PUT", NULL), 3, 4);
}

static void
part_is_refused(void **state)
{
	Fixture *fixture = *state;
	const ObError *failure;
	ObError error;
	size_t avail;
	char id[OB_UPLOAD_ID_MAX];

	server_rule(fixture->server, (ServerRule){
									 .target = "partNumber=2&",
									 .status = 403,
									 .body = XML_ERROR("AccessDenied"),
								 });
	begin(fixture);
	write_all(fixture, 2 * PART + 200000);
	failure = wait_for_error(fixture);
	assert_error(failure, OB_EDENIED, "AccessDenied");
	assert_string_equal(failure->what,
						"could not upload part 2 of \"s3://b/dir/key\"");
	assert_int_equal(failure->http_status, 403);
	assert_false(ob_upload_may_exist(fixture->upload));
	/* every call returns the same error now */
	ob_error_clear(&error);
	assert_null(ob_upload_window(fixture->upload, &avail, &error));
	assert_memory_equal(&error, failure, sizeof(error));
	ob_error_clear(&error);
	assert_int_not_equal(ob_upload_advance(fixture->upload, 1, &error), OB_OK);
	assert_int_equal(error.code, OB_EDENIED);
	ob_error_clear(&error);
	assert_int_not_equal(ob_upload_finish(fixture->upload, &error), OB_OK);
	assert_int_equal(error.code, OB_EDENIED);

	strcpy(id, ob_upload_id(fixture->upload));
	assert_string_equal(id, "2~up/load+1");
	abort_and_wait(fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
	assert_true(count(fixture, "DELETE", "uploadId=2~up%2Fload%2B1") >= 1);
	assert_int_equal(count(fixture, "POST", "uploadId"), 0);
	assert_string_equal(ob_upload_id(fixture->upload), id);
	assert_nothing_landed(fixture);
}

/* Several parts fail at the same time: the first error stays. */
static void
first_error_wins(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.target = "partNumber=2&",
							 .status = 403,
							 .body = XML_ERROR("AccessDenied")});
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber",
							 .act = SERVER_HOLD,
							 .status = 400,
							 .body = XML_ERROR("InvalidPart")});
	begin(fixture);
	write_all(fixture, 3 * PART + 200000);
	finish(fixture);
	assert_int_equal(wait_for_error(fixture)->code, OB_EDENIED);
	wait_for_request(fixture, "PUT", NULL, 3);
	server_release(fixture->server);
	for (ObUploadStats stats;;)
	{
		ob_upload_stats(fixture->upload, &stats);
		if (stats.in_flight == 0)
			break;
		host_drive_for(fixture->http, 5);
	}
	assert_int_equal(ob_upload_error(fixture->upload)->code, OB_EDENIED);
	abort_and_wait(fixture);
	/* no part was in flight: one Abort is enough */
	assert_int_equal(count(fixture, "DELETE", NULL), 1);
	assert_nothing_landed(fixture);
}

static void
create_is_refused(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.method = "POST",
							 .status = 404,
							 .body = XML_ERROR("NoSuchBucket")});
	begin(fixture);
	write_all(fixture, PART + 200000);
	assert_error(wait_for_error(fixture), OB_EMISSING, "NoSuchBucket");
	assert_string_equal(ob_upload_error(fixture->upload)->what,
						"could not start the upload of \"s3://b/dir/key\"");
	abort_and_wait(fixture);
	assert_int_equal(count(fixture, NULL, NULL), 1);
	assert_nothing_landed(fixture);
}

static void
put_object_is_refused(void **state)
{
	Fixture *fixture = *state;

	server_rule(
		fixture->server,
		(ServerRule){.status = 403, .body = XML_ERROR("AccessDenied")});
	begin(fixture);
	write_all(fixture, 100);
	finish(fixture);
	assert_error(wait_for_error(fixture), OB_EDENIED, "AccessDenied");
	assert_false(ob_upload_may_exist(fixture->upload));
	abort_and_wait(fixture);
	assert_false(ob_upload_may_exist(fixture->upload));
	assert_int_equal(count(fixture, NULL, NULL), 1);
}

static void
complete_is_refused(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.method = "POST",
							 .target = "uploadId",
							 .status = 200,
							 .body = XML_ERROR("AccessDenied")});
	begin(fixture);
	write_all(fixture, PART + 1);
	finish(fixture);
	assert_error(wait_for_error(fixture), OB_EDENIED, "AccessDenied");
	assert_false(ob_upload_may_exist(fixture->upload));
	abort_and_wait(fixture);
	assert_int_equal(count(fixture, "DELETE", NULL), 1);
	assert_nothing_landed(fixture);
}

/* ---- giving up ---- */

#define COMPLETE_TARGET .method = "POST", .target = "uploadId"

static void
abort_before_anything_was_sent(void **state)
{
	static const size_t sizes[] = {0, 1000, PART, PART + 1000};
	Fixture *fixture = *state;

	/* the last one has bytes beyond the part, but no window was requested
	 * since: the upload is not known to be multipart */
	for (size_t i = 0; i < COUNT_OF(sizes); i++)
	{
		ObError error;

		begin(fixture);
		while (fixture->written < sizes[i])
		{
			ob_error_clear(&error);
			assert_int_equal(write_some(fixture, sizes[i], 131072, &error),
							 OB_OK);
		}
		assert_false(ob_upload_aborted(fixture->upload));
		ob_upload_abort(fixture->upload, 0);
		assert_true(ob_upload_aborted(fixture->upload));
		assert_false(ob_upload_may_exist(fixture->upload));
		assert_null(ob_upload_abort_error(fixture->upload));
		ob_upload_abort(fixture->upload, 0);
		host_drive_for(fixture->http, 10);
		assert_int_equal(server_accepted(fixture->server), 0);
		assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
		ob_upload_free(fixture->upload);
		fixture->upload = NULL;
	}
}

/* The response has the id of the upload that must be aborted. */
static void
abort_while_create_is_under_way(void **state)
{
	Fixture *fixture = *state;

	for (int refused = 0; refused < 2; refused++)
	{
		server_rule(fixture->server,
					(ServerRule){.method = "POST",
								 .act = SERVER_HOLD,
								 .store = !refused,
								 .status = refused ? 403 : 0});
		begin(fixture);
		write_all(fixture, 2 * PART + 200000);
		wait_for_request(fixture, "POST", "uploads=", 1);
		ob_upload_abort(fixture->upload, 0);
		host_drive_for(fixture->http, 20);
		assert_false(ob_upload_aborted(fixture->upload));
		assert_int_equal(count(fixture, "DELETE", NULL), 0);
		ob_upload_abort(fixture->upload, 0);
		server_release(fixture->server);
		host_drive(fixture->http, is_aborted, fixture);
		assert_null(ob_upload_abort_error(fixture->upload));
		assert_int_equal(count(fixture, "DELETE", "uploadId"), !refused);
		assert_int_equal(count(fixture, "PUT", NULL), 0);
		assert_false(ob_upload_may_exist(fixture->upload));
		assert_nothing_landed(fixture);
		renew(fixture);
	}
}

/* A part that was in flight may land after the first Abort. */
static void
abort_while_parts_are_under_way(void **state)
{
	Fixture *fixture = *state;
	ObUploadStats stats;

	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .act = SERVER_HOLD});
	begin(fixture);
	write_all(fixture, 3 * PART + 200000);
	/* two at first, and one more each time that the host has to wait */
	wait_for_request(fixture, "PUT", NULL, 2);
	ob_upload_stats(fixture->upload, &stats);
	assert_int_equal(stats.in_flight, 2);
	ob_upload_want_room(fixture->upload);
	wait_for_request(fixture, "PUT", NULL, 3);
	abort_and_wait(fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
	assert_int_equal(count(fixture, "DELETE", "uploadId=2~up%2Fload%2B1"), 2);
	assert_nothing_landed(fixture);
	/* the server's response to them is ignored */
	server_release(fixture->server);
	host_drive_for(fixture->http, 30);
	ob_upload_stats(fixture->upload, &stats);
	assert_int_equal(stats.in_flight, 0);
	assert_int_equal(stats.parts, 0);
	assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
}

/* The server reports an aborted upload as present until its parts are
 * removed. */
static void
abort_twice_with_success(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .act = SERVER_HOLD});
	server_rule(
		fixture->server,
		(ServerRule){.method = "DELETE", .store = true, .status = 204});
	begin(fixture);
	write_all(fixture, PART + 200000);
	wait_for_request(fixture, "PUT", NULL, 1);
	abort_and_wait(fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
	assert_int_equal(count(fixture, "DELETE", NULL), 2);
	server_release(fixture->server);
}

static void
abort_fails(void **state)
{
	Fixture *fixture = *state;
	const ObError *failure;

	server_rule(fixture->server,
				(ServerRule){.method = "DELETE",
							 .status = 403,
							 .body = XML_ERROR("AccessDenied")});
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .status = 400});
	begin(fixture);
	write_all(fixture, PART + 200000);
	assert_int_equal(wait_for_error(fixture)->code, OB_EREQUEST);
	abort_and_wait(fixture);
	failure = ob_upload_abort_error(fixture->upload);
	assert_non_null(failure);
	assert_error(failure, OB_EDENIED, "AccessDenied");
	assert_string_equal(failure->what,
						"could not abort the upload of \"s3://b/dir/key\"");
	assert_int_equal(server_uploads(fixture->server), 1);
	assert_string_equal(ob_upload_id(fixture->upload), "2~up/load+1");
}

/* An Abort without a response is retried. */
static void
abort_is_tried_again(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.method = "DELETE", .times = 1, .status = 500});
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .status = 400});
	begin(fixture);
	write_all(fixture, PART + 200000);
	wait_for_error(fixture);
	abort_and_wait(fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
	assert_int_equal(count(fixture, "DELETE", NULL), 2);
	assert_nothing_landed(fixture);
}

/* The response to the last request is awaited, within a limit. */
#define PATIENT 20000

static void
abort_and_wait_for_end(Fixture *fixture)
{
	ob_upload_abort(fixture->upload, PATIENT);
	host_drive_for(fixture->http, 20);
	assert_false(ob_upload_aborted(fixture->upload));
	assert_int_equal(count(fixture, "DELETE", NULL), 0);
	assert_int_equal(count(fixture, "HEAD", NULL), 0);
	server_release(fixture->server);
	host_drive(fixture->http, is_aborted, fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
}

/* Neither success nor failure of the Abort proves anything as long as the
 * Complete is running; the object shows that it succeeded. */
static void
abort_during_complete(void **state)
{
	static const struct
	{
		const char *name;
		bool stored;
		ServerRule abort;
		ServerRule head;
		bool exists;
	} rows[] = {
		{"not done yet", false, {0}, {0}, false},
		{"done", true, {0}, {0}, true},
		{"done, and the Abort as well",
		 true,
		 {.method = "DELETE", .status = 204},
		 {0},
		 true},
		{"done, and the Abort is refused",
		 true,
		 {.method = "DELETE",
		  .status = 403,
		  .body = XML_ERROR("AccessDenied")},
		 {0},
		 true},
		{"done, and not to be seen",
		 true,
		 {.method = "DELETE", .status = 204},
		 {.method = "HEAD", .status = 403},
		 false},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		size_t len;

		server_rule(fixture->server, (ServerRule){.method = "POST",
												  .target = "uploadId",
												  .act = SERVER_HOLD,
												  .store = rows[i].stored});
		if (rows[i].abort.method)
			server_rule(fixture->server, rows[i].abort);
		if (rows[i].head.method)
			server_rule(fixture->server, rows[i].head);
		begin(fixture);
		write_all(fixture, PART + 1);
		assert_false(ob_upload_may_exist(fixture->upload));
		finish(fixture);
		wait_for_request(fixture, "POST", "uploadId", 1);
		assert_true(ob_upload_may_exist(fixture->upload));
		abort_and_wait(fixture);
		assert_null(ob_upload_abort_error(fixture->upload));
		assert_row(rows[i].name, count(fixture, "DELETE", NULL) == 1);
		assert_row(rows[i].name, count(fixture, "HEAD", NULL) == 1);
		assert_true(ob_upload_may_exist(fixture->upload));
		assert_row(rows[i].name,
				   ob_upload_exists(fixture->upload) == rows[i].exists);
		assert_int_equal(server_object(fixture->server, "dir/key", &len) !=
							 NULL,
						 rows[i].stored);
		assert_false(ob_upload_done(fixture->upload));
		/* later responses of the server are ignored */
		server_release(fixture->server);
		host_drive_for(fixture->http, 20);
		assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
		renew(fixture);
	}
}

/* The response comes in time, and decides. */
static void
abort_after_the_response_to_complete(void **state)
{
	static const struct
	{
		const char *name;
		ServerRule complete;
		int deletes;
		int heads;
		bool may_exist;
		bool exists;
	} rows[] = {
		{"done", {.store = true}, 0, 0, true, true},
		{"refused",
		 {.status = 403, .body = XML_ERROR("AccessDenied")},
		 1,
		 0,
		 false,
		 false},
		{"not done, it says",
		 {.status = 500, .body = XML_ERROR("InternalError")},
		 1,
		 1,
		 false,
		 false},
		{"done, and it says that it was not",
		 {.store = true, .status = 500, .body = XML_ERROR("InternalError")},
		 1,
		 1,
		 true,
		 true},
		/* the response does not cause another attempt */
		{"another time",
		 {.status = 403,
		  .headers = "Date: Wed, 21 Oct 2015 07:28:00 GMT\r\n",
		  .body = XML_ERROR("RequestTimeTooSkewed")},
		 1,
		 0,
		 false,
		 false},
		{"unclear", {.status = 502}, 1, 1, true, false},
		{"done, and unclear",
		 {.store = true, .status = 502},
		 1,
		 1,
		 true,
		 true},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule rule = rows[i].complete;

		rule.method = "POST";
		rule.target = "uploadId";
		rule.act = SERVER_HOLD;
		server_rule(fixture->server, rule);
		begin(fixture);
		write_all(fixture, PART + 1);
		finish(fixture);
		wait_for_request(fixture, "POST", "uploadId", 1);
		abort_and_wait_for_end(fixture);
		assert_row(rows[i].name,
				   count(fixture, "DELETE", NULL) == rows[i].deletes);
		assert_row(rows[i].name,
				   count(fixture, "HEAD", NULL) == rows[i].heads);
		assert_row(rows[i].name,
				   ob_upload_may_exist(fixture->upload) == rows[i].may_exist);
		assert_row(rows[i].name,
				   ob_upload_exists(fixture->upload) == rows[i].exists);
		assert_row(rows[i].name, count(fixture, "POST", "uploadId") == 1);
		assert_int_equal(server_uploads(fixture->server), 0);
		assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
		renew(fixture);
	}
}

/* The wait has a limit, and a response that comes after it still counts. */
static void
abort_when_the_wait_ends(void **state)
{
	Fixture *fixture = *state;

	server_rule(
		fixture->server,
		(ServerRule){COMPLETE_TARGET, .act = SERVER_HOLD, .store = true});
	server_rule(fixture->server,
				(ServerRule){.method = "DELETE", .status = 204});
	server_rule(
		fixture->server,
		(ServerRule){.method = "HEAD", .act = SERVER_HOLD, .status = 404});
	begin(fixture);
	write_all(fixture, PART + 1);
	finish(fixture);
	wait_for_request(fixture, "POST", "uploadId", 1);
	ob_upload_abort(fixture->upload, 100);
	host_drive_for(fixture->http, 10);
	assert_int_equal(count(fixture, "DELETE", NULL), 0);
	wait_for_request(fixture, "HEAD", NULL, 1);
	assert_false(ob_upload_aborted(fixture->upload));
	assert_true(ob_upload_may_exist(fixture->upload));
	server_release(fixture->server);
	host_drive(fixture->http, is_aborted, fixture);
	assert_true(ob_upload_may_exist(fixture->upload));
	assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
}

static void
abort_during_put_object(void **state)
{
	static const struct
	{
		const char *name;
		ServerRule put;
		bool patient;
		int heads;
		bool may_exist;
		bool exists;
	} rows[] = {
		{"not done yet", {.store = false}, false, 1, true, false},
		{"done", {.store = true}, false, 1, true, true},
		{"done in time", {.store = true}, true, 0, true, true},
		{"refused in time", {.status = 403}, true, 0, false, false},
		{"fails in time",
		 {.status = 503, .body = XML_ERROR("SlowDown")},
		 true,
		 1,
		 false,
		 false},
		{"a gateway answers in time", {.status = 503}, true, 1, true, false},
		{"its response is lost", {.act = SERVER_DROP}, true, 1, true, false},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule rule = rows[i].put;

		rule.method = "PUT";
		if (rule.act != SERVER_DROP)
			rule.act = SERVER_HOLD;
		else
			rule.delay_ms = 500;
		server_rule(fixture->server, rule);
		begin(fixture);
		write_all(fixture, 1000);
		finish(fixture);
		wait_for_request(fixture, "PUT", NULL, 1);
		assert_true(ob_upload_may_exist(fixture->upload));
		if (rows[i].patient)
			abort_and_wait_for_end(fixture);
		else
			abort_and_wait(fixture);
		assert_null(ob_upload_abort_error(fixture->upload));
		assert_row(rows[i].name,
				   count(fixture, "HEAD", NULL) == rows[i].heads);
		assert_row(rows[i].name,
				   count(fixture, NULL, NULL) == rows[i].heads + 1);
		assert_row(rows[i].name,
				   ob_upload_may_exist(fixture->upload) == rows[i].may_exist);
		assert_row(rows[i].name,
				   ob_upload_exists(fixture->upload) == rows[i].exists);
		server_release(fixture->server);
		host_drive_for(fixture->http, 20);
		assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
		renew(fixture);
	}
}

/* ---- what is known of the object ---- */

static void
assert_object(const Fixture *fixture, const char *etag)
{
	ObUploadObject object;

	memset(&object, 0xAA, sizeof(object));
	ob_upload_object(fixture->upload, &object);
	assert_string_equal(object.etag, etag);
	assert_int_equal(object.bytes, fixture->written);
	assert_int_equal(object.crc32, ob_crc32(0, data, fixture->written));
}

#define SECRET "0123456789/a+secret/of+forty/characters/"

/* It is kept without its quotes, unless it cannot be shown. */
static void
etag_of_an_object(void **state)
{
	static const struct
	{
		const char *header;
		const char *etag;
	} rows[] = {
		{"ETag: \"abc-1\"\r\n", "abc-1"}, {"ETag: abc\r\n", "abc"},
		{"ETag: \"\"\r\n", ""},           {"ETag: \"\r\n", ""},
		{"ETag: \"a b\"\r\n", ""},        {"ETag: \"a\"b\"\r\n", ""},
		{"ETag: W/\"a\"\r\n", ""},        {"ETag: \"x" SECRET "x\"\r\n", ""},
	};
	ObS3Options keys = s3_options();

	keys.credentials.keys.secret_access_key = SECRET;
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObUploadOptions options;

		renew_with(*state, PLAIN, keys);
		options = usual_options(*state);
		server_rule(((Fixture *) *state)->server,
					(ServerRule){.method = "PUT",
								 .store = true,
								 .status = 200,
								 .headers = rows[i].header});
		begin_with(*state, &options);
		write_all(*state, 1000);
		finish_and_land(*state);
		assert_object(*state, rows[i].etag);
	}
}

/* It comes from the request that wrote the object, or from the HEAD that has
 * found it. */
static void
etag_of_a_multipart_upload(void **state)
{
	Fixture *fixture = *state;

	for (int lost = 0; lost < 2; lost++)
	{
		ObUploadOptions options = usual_options(fixture);

		if (lost)
			server_rule(fixture->server,
						(ServerRule){COMPLETE_TARGET, .times = 1,
									 .store = true, .act = SERVER_DROP});
		begin_with(fixture, &options);
		write_all(fixture, PART + 1);
		finish_and_land(fixture);
		assert_object(fixture, lost ? "found" : "whole-2");
		renew(fixture);
	}
}

/* What became of the last request, and what it was answered. */
static const struct
{
	const char *name;
	size_t size;
	ServerRule rule;
	int heads;
	bool may_exist;
	bool exists;
} last_requests[] = {
	{"done, a gateway's error",
	 1000,
	 {.store = true, .status = 504},
	 1,
	 true,
	 true},
	{"done, no ETag", 1000, {.store = true, .status = 200}, 1, true, true},
	{"done, InternalError",
	 1000,
	 {.store = true, .status = 500, .body = XML_ERROR("InternalError")},
	 1,
	 true,
	 true},
	{"done, SlowDown",
	 1000,
	 {.store = true, .status = 503, .body = XML_ERROR("SlowDown")},
	 1,
	 true,
	 true},
	{"done, an error in a 200",
	 1000,
	 {.store = true, .status = 200, .body = XML_ERROR("InternalError")},
	 1,
	 true,
	 true},
	{"done, a success that is cut",
	 1000,
	 {.store = true,
	  .act = SERVER_CUT,
	  .status = 200,
	  .headers = "ETag: \"e\"\r\n",
	  .body = "12345",
	  .cut = 2},
	 1,
	 true,
	 true},
	{"a gateway's error", 1000, {.status = 504}, 1, true, false},
	{"InternalError",
	 1000,
	 {.status = 500, .body = XML_ERROR("InternalError")},
	 1,
	 false,
	 false},
	{"refused",
	 1000,
	 {.status = 403, .body = XML_ERROR("AccessDenied")},
	 0,
	 false,
	 false},
	{"refused in a 200",
	 1000,
	 {.status = 200, .body = XML_ERROR("AccessDenied")},
	 0,
	 false,
	 false},
	{"completed, InternalError",
	 PART + 1,
	 {.store = true, .status = 500, .body = XML_ERROR("InternalError")},
	 1,
	 true,
	 true},
	{"not completed, InternalError",
	 PART + 1,
	 {.status = 500, .body = XML_ERROR("InternalError")},
	 1,
	 false,
	 false},
};

/* The last request has finally failed.  Only a refusal proves that it had no
 * effect; otherwise a HEAD looks for the object, and an object that does not
 * exist yet may still come from behind a gateway. */
static void
abort_after_the_last_request_failed(void **state)
{
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(last_requests); i++)
	{
		ServerRule rule = last_requests[i].rule;
		ObUploadOptions options = usual_options(fixture);
		bool put = last_requests[i].size < PART;
		const char *method = put ? "PUT" : "POST";
		const char *target = put ? NULL : "uploadId";

		rule.method = method;
		rule.target = target;
		rule.delay_ms = 300;
		server_rule(fixture->server, rule);
		begin_with(fixture, &options);
		write_all(fixture, last_requests[i].size);
		finish(fixture);
		wait_for_request(fixture, method, target, 1);
		ob_s3_call_last_try(put ? &fixture->upload->filling->call
								: &fixture->upload->control);
		wait_for_error(fixture);
		assert_row(last_requests[i].name,
				   ob_upload_may_exist(fixture->upload) ==
					   (last_requests[i].heads > 0));
		abort_and_wait(fixture);
		assert_row(last_requests[i].name,
				   count(fixture, "HEAD", NULL) == last_requests[i].heads);
		assert_row(last_requests[i].name,
				   ob_upload_may_exist(fixture->upload) ==
					   last_requests[i].may_exist);
		assert_row(last_requests[i].name, ob_upload_exists(fixture->upload) ==
											  last_requests[i].exists);
		if (last_requests[i].exists)
			assert_object(fixture, "found");
		assert_int_equal(server_uploads(fixture->server), 0);
		renew(fixture);
	}
}

/* A PutObject whose body was not sent completely makes no object, and is not
 * awaited. */
static void
abort_within_put_object(void **state)
{
	Fixture *fixture = *state;

	server_narrow(fixture->server);
	server_rule(
		fixture->server,
		(ServerRule){.method = "PUT", .read = 100 * 1024, .act = SERVER_HOLD});
	begin(fixture);
	write_all(fixture, PART);
	finish(fixture);
	wait_for_request(fixture, "PUT", NULL, 1);
	ob_upload_abort(fixture->upload, PATIENT);
	assert_true(ob_upload_aborted(fixture->upload));
	assert_false(ob_upload_may_exist(fixture->upload));
	assert_int_equal(count(fixture, NULL, NULL), 1);
	server_release(fixture->server);
}

/* No request is running: the store requested a pause. */
static void
abort_between_two_tries(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server, (ServerRule){.method = "PUT",
											  .status = 503,
											  .headers = "Retry-After: 30\r\n",
											  .body = XML_ERROR("SlowDown")});
	begin(fixture);
	write_all(fixture, 1000);
	finish(fixture);
	wait_for_request(fixture, "PUT", NULL, 1);
	host_drive_for(fixture->http, 50);
	ob_upload_abort(fixture->upload, PATIENT);
	host_drive(fixture->http, is_aborted, fixture);
	assert_false(ob_upload_may_exist(fixture->upload));
	assert_int_equal(count(fixture, "HEAD", NULL), 1);
}

static void
abort_after_done(void **state)
{
	Fixture *fixture = *state;

	begin(fixture);
	write_all(fixture, PART + 1);
	finish_and_land(fixture);
	ob_upload_abort(fixture->upload, 0);
	assert_true(ob_upload_aborted(fixture->upload));
	assert_true(ob_upload_exists(fixture->upload));
	host_drive_for(fixture->http, 10);
	assert_int_equal(count(fixture, "DELETE", NULL), 0);
}

/* ---- an unclear Complete ---- */

static void
start_unclear(Fixture *fixture)
{
	begin(fixture);
	write_all(fixture, PART + 1);
	finish(fixture);
}

/* The Complete succeeded, but its response got lost. */
static void
lost_response_of_complete(void **state)
{
	static const ServerRule faults[] = {
		{COMPLETE_TARGET, .times = 1, .store = true, .act = SERVER_DROP},
		{COMPLETE_TARGET, .times = 1, .store = true, .status = 502},
		{COMPLETE_TARGET, .times = 1, .store = true, .status = 200,
		 .body = "<CompleteMultipartUploadResult>"},
		{COMPLETE_TARGET, .times = 1, .store = true, .act = SERVER_CUT,
		 .status = 200, .body = "<CompleteMultipartUploadResult/>", .cut = 5},
		/* the reported attempt is the second one */
		{COMPLETE_TARGET, .times = 1, .store = true, .status = 500,
		 .body = XML_ERROR("InternalError")},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(faults); i++)
	{
		server_rule(fixture->server, faults[i]);
		start_unclear(fixture);
		host_drive(fixture->http, is_ended, fixture);
		assert_landed(fixture);
		assert_int_equal(count(fixture, "HEAD", NULL), 1);
		assert_int_equal(count(fixture, "GET", NULL), 0);
		assert_true(ob_upload_may_exist(fixture->upload));
		renew(fixture);
	}
}

/* The Complete had no effect: there is nothing, or another writer's object, or
 * one of another size.  The upload still exists, so it is completed again. */
static void
complete_was_not_done(void **state)
{
	static const char length[PART + 1];
	static const ServerRule heads[] = {
		{.method = "HEAD", .status = 404},
		{.method = "HEAD", .status = 200},
		{.method = "HEAD",
		 .status = 200,
		 .headers = "x-amz-meta-onboard-upload: "
					"0123456789abcdef0123456789abcdef\r\n",
		 /* the byte is never sent, but makes our length equal */
		 .body = length,
		 .body_len = PART + 1},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(heads); i++)
	{
		server_rule(fixture->server,
					(ServerRule){COMPLETE_TARGET, .times = 1, .status = 502});
		server_rule(fixture->server, heads[i]);
		start_unclear(fixture);
		host_drive(fixture->http, is_ended, fixture);
		assert_landed(fixture);
		assert_int_equal(count(fixture, "HEAD", "/b/dir/key"), 1);
		assert_int_equal(count(fixture, "GET", "uploadId"), 1);
		assert_int_equal(count(fixture, "POST", "uploadId"), 2);
		renew(fixture);
	}
}

/* The object has our marker and another size: it is not what was to be
 * uploaded. */
static void
our_marker_but_another_size(void **state)
{
	Fixture *fixture = *state;
	char line[200];
	char marker[100];

	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .act = SERVER_HOLD, .times = 1,
							 .status = 502});
	start_unclear(fixture);
	wait_for_request(fixture, "POST", "uploadId", 1);
	server_header(server_request(fixture->server, "POST", "uploads=", 0),
				  OB_S3_MARKER, marker, sizeof(marker));
	snprintf(line, sizeof(line), "x-amz-meta-onboard-upload: %s\r\n", marker);
	server_rule(
		fixture->server,
		(ServerRule){.method = "HEAD", .status = 200, .headers = line});
	server_release(fixture->server);
	host_drive(fixture->http, is_ended, fixture);
	assert_landed(fixture);
	assert_int_equal(count(fixture, "POST", "uploadId"), 2);
}

/* The first Complete was still running at the HEAD, and ends before the second
 * one. */
static void
complete_was_slow(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .times = 1, .status = 504});
	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .times = 1, .store = true,
							 .status = 404,
							 .body = XML_ERROR("NoSuchUpload")});
	start_unclear(fixture);
	host_drive(fixture->http, is_ended, fixture);
	assert_landed(fixture);
	assert_int_equal(count(fixture, "HEAD", NULL), 2);
	assert_int_equal(count(fixture, "GET", NULL), 1);
	assert_int_equal(count(fixture, "POST", "uploadId"), 2);
}

static void
complete_stays_unclear(void **state)
{
	static const struct
	{
		const char *name;
		ServerRule head;
		ServerRule list;
		int completes;
	} rows[] = {
		{"neither object nor upload",
		 {.method = "HEAD", .status = 404},
		 {.method = "GET", .status = 404, .body = XML_ERROR("NoSuchUpload")},
		 1},
		{"HEAD is refused",
		 {.method = "HEAD", .status = 403},
		 {.method = "GET", .status = 200},
		 1},
		{"ListParts is refused",
		 {.method = "HEAD", .status = 404},
		 {.method = "GET", .status = 403, .body = XML_ERROR("AccessDenied")},
		 1},
		{"never clear",
		 {.method = "HEAD", .status = 404},
		 {.method = "GET", .status = 200},
		 3},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		const ObError *failure;

		server_rule(fixture->server,
					(ServerRule){COMPLETE_TARGET, .status = 502});
		server_rule(fixture->server, rows[i].head);
		server_rule(fixture->server, rows[i].list);
		start_unclear(fixture);
		failure = wait_for_error(fixture);
		assert_row(rows[i].name, failure->code == OB_EUNKNOWN);
		/* the error is that of the Complete, not of later requests */
		assert_error(failure, OB_EUNKNOWN, "HTTP 502");
		assert_string_equal(failure->what, "could not complete the upload of "
										   "\"s3://b/dir/key\"");
		assert_row(rows[i].name,
				   count(fixture, "POST", "uploadId") == rows[i].completes);
		assert_true(ob_upload_may_exist(fixture->upload));
		/* the Abort finds the upload, but a Complete may still be running */
		abort_and_wait(fixture);
		assert_true(ob_upload_may_exist(fixture->upload));
		assert_false(ob_upload_exists(fixture->upload));
		assert_nothing_landed(fixture);
		renew(fixture);
	}
}

/* The Complete succeeded without a response: the Abort finds no upload. */
static void
complete_stays_unclear_for_good(void **state)
{
	Fixture *fixture = *state;
	size_t len;

	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .store = true, .status = 502});
	server_rule(fixture->server,
				(ServerRule){.method = "HEAD", .status = 403});
	start_unclear(fixture);
	assert_int_equal(wait_for_error(fixture)->code, OB_EUNKNOWN);
	abort_and_wait(fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
	assert_true(ob_upload_may_exist(fixture->upload));
	assert_non_null(server_object(fixture->server, "dir/key", &len));
}

/* The second Complete is refused, but the first one may still succeed. */
static void
refused_after_it_was_unclear(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .times = 1, .status = 504});
	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .status = 403,
							 .body = XML_ERROR("AccessDenied")});
	start_unclear(fixture);
	assert_error(wait_for_error(fixture), OB_EDENIED, "AccessDenied");
	assert_true(ob_upload_may_exist(fixture->upload));
	abort_and_wait(fixture);
	assert_true(ob_upload_may_exist(fixture->upload));
	assert_false(ob_upload_exists(fixture->upload));
	assert_nothing_landed(fixture);
}

static void
abort_during_head(void **state)
{
	static const ServerRule holds[] = {
		{.method = "HEAD", .times = 1, .act = SERVER_HOLD, .status = 404},
		{.method = "GET", .act = SERVER_HOLD, .status = 200},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(holds); i++)
	{
		server_rule(fixture->server,
					(ServerRule){COMPLETE_TARGET, .times = 1, .status = 502});
		server_rule(fixture->server, holds[i]);
		start_unclear(fixture);
		wait_for_request(fixture, holds[i].method, NULL, 1);
		assert_null(ob_upload_error(fixture->upload));
		abort_and_wait(fixture);
		assert_int_equal(count(fixture, "DELETE", NULL), 1);
		assert_int_equal(count(fixture, "POST", "uploadId"), 1);
		assert_true(ob_upload_may_exist(fixture->upload));
		assert_false(ob_upload_exists(fixture->upload));
		assert_nothing_landed(fixture);
		server_release(fixture->server);
		renew(fixture);
	}
}

/* ---- freeing ---- */

/* An upload is freed in each state, and sends nothing to the server. */
static void
free_at_any_time(void **state)
{
	static const struct
	{
		const char *name;
		size_t size;
		ServerRule hold; /* the last request that is sent */
		bool finish;
		bool abort;
	} rows[] = {
		{"filling", 1000, {0}, false, false},
		{"creating",
		 PART + 200000,
		 {.method = "POST", .act = SERVER_HOLD},
		 false,
		 false},
		{"sending",
		 3 * PART + 200000,
		 {.method = "PUT", .act = SERVER_HOLD},
		 false,
		 false},
		{"sending the middle of a part",
		 2 * PART + 200000,
		 {.method = "PUT", .act = SERVER_HOLD, .read = 1000},
		 true,
		 false},
		{"waiting for the next try",
		 PART + 200000,
		 {.method = "PUT", .status = 503, .headers = "Retry-After: 50\r\n"},
		 false,
		 false},
		{"putting", 1000, {.method = "PUT", .act = SERVER_HOLD}, true, false},
		{"completing",
		 PART + 1,
		 {COMPLETE_TARGET, .act = SERVER_HOLD},
		 true,
		 false},
		{"finding out",
		 PART + 1,
		 {.method = "HEAD", .act = SERVER_HOLD},
		 true,
		 false},
		{"aborting while creating",
		 PART + 200000,
		 {.method = "POST", .act = SERVER_HOLD},
		 false,
		 true},
	};
	Fixture *fixture = *state;

	ob_upload_free(NULL);
	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		begin(fixture);
		if (rows[i].hold.method)
			server_rule(fixture->server, rows[i].hold);
		if (rows[i].hold.method && strcmp(rows[i].hold.method, "HEAD") == 0)
			server_rule(fixture->server,
						(ServerRule){COMPLETE_TARGET, .status = 502});
		write_all(fixture, rows[i].size);
		if (rows[i].finish)
			finish(fixture);
		if (rows[i].hold.method)
			wait_for_request(fixture, rows[i].hold.method, rows[i].hold.target,
							 1);
		if (rows[i].abort)
			ob_upload_abort(fixture->upload, 0);
		host_drive_for(fixture->http, 10);
		ob_upload_free(fixture->upload);
		fixture->upload = NULL;
		assert_int_equal(buffers_now, 0);
		host_drive_for(fixture->http, 10);
		assert_int_equal(count(fixture, "DELETE", NULL), 0);
		assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
		server_release(fixture->server);
		renew(fixture);
	}

	/* failed, and while its Abort is running */
	for (int i = 0; i < 2; i++)
	{
		server_rule(fixture->server,
					(ServerRule){.method = "PUT", .status = 403});
		server_rule(fixture->server,
					(ServerRule){.method = "DELETE", .act = SERVER_HOLD});
		begin(fixture);
		write_all(fixture, PART + 200000);
		wait_for_error(fixture);
		if (i == 1)
		{
			ob_upload_abort(fixture->upload, 0);
			wait_for_request(fixture, "DELETE", NULL, 1);
		}
		server_release(fixture->server);
		renew(fixture);
	}
}

/* ---- held uploads ---- */

static bool
is_held(void *arg)
{
	const Fixture *fixture = arg;

	return ob_upload_held(fixture->upload) || ob_upload_error(fixture->upload);
}

/* The data that a host would hand over. */
typedef struct HandOver
{
	char id[OB_UPLOAD_ID_MAX];
	char marker[OB_UPLOAD_MARKER];
	ObUploadHeld held;
	ObUploadPart parts[16];
	ObUploadObject object;
} HandOver;

/* Holds an object of that many bytes, and frees the upload. */
static void
hold(Fixture *fixture, size_t total, HandOver *over)
{
	ObUploadOptions options = usual_options(fixture);

	options.hold = true;
	begin_with(fixture, &options);
	write_all(fixture, total);
	finish(fixture);
	host_drive(fixture->http, is_held, fixture);
	assert_true(ob_upload_held(fixture->upload));
	assert_false(ob_upload_done(fixture->upload));
	ob_upload_hand_over(fixture->upload, &over->held);
	snprintf(over->id, sizeof(over->id), "%s", over->held.id);
	snprintf(over->marker, sizeof(over->marker), "%s", over->held.marker);
	over->held.id = over->id;
	over->held.marker = over->marker;
	assert_in_range(over->held.nparts, 0, (int) COUNT_OF(over->parts));
	for (int i = 0; i < over->held.nparts; i++)
		over->parts[i] = over->held.parts[i];
	over->held.parts = over->parts;
	ob_upload_object(fixture->upload, &over->object);
	assert_string_equal(over->object.etag, "");
	ob_upload_free(fixture->upload);
	fixture->upload = NULL;
}

static void
adopt(Fixture *fixture, HandOver *over)
{
	ObUploadOptions options = usual_options(fixture);
	size_t written = fixture->written;
	ObError error;

	begin_with(fixture, &options);
	fixture->written = written;
	ob_error_clear(&error);
	assert_int_equal(ob_upload_adopt(fixture->upload, &over->held, &error),
					 OB_OK);
	assert_true(ob_upload_held(fixture->upload));
	/* only once */
	assert_int_equal(ob_upload_adopt(fixture->upload, &over->held, &error),
					 OB_EINVAL);
}

/* Nothing is visible before it is published, and then all of it. */
static void
held_and_published(void **state)
{
	static const size_t sizes[] = {1, PART - 1, PART, PART + 1, 3 * PART + 7};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(sizes); i++)
	{
		HandOver over;

		hold(fixture, sizes[i], &over);
		assert_int_equal(over.object.bytes, sizes[i]);
		assert_int_equal(over.object.crc32, ob_crc32(0, data, sizes[i]));
		assert_int_equal(server_uploads(fixture->server), 1);
		assert_int_equal(count(fixture, "PUT", "partNumber"),
						 over.held.nparts);
		assert_int_equal(count(fixture, "POST", "uploadId"), 0);
		adopt(fixture, &over);
		ob_upload_publish(fixture->upload);
		host_drive(fixture->http, is_ended, fixture);
		assert_landed(fixture);
		assert_object(fixture, "whole-2");
		assert_int_equal(count(fixture, "POST", NULL), 2);
		renew(fixture);
	}
}

/* A part has at least one byte. */
static void
held_and_empty(void **state)
{
	Fixture *fixture = *state;
	HandOver over;
	char type[100];

	hold(fixture, 0, &over);
	assert_string_equal(over.id, "");
	assert_int_equal(over.held.nparts, 0);
	assert_int_equal(count(fixture, NULL, NULL), 0);
	adopt(fixture, &over);
	ob_upload_publish(fixture->upload);
	host_drive(fixture->http, is_ended, fixture);
	assert_landed(fixture);
	assert_int_equal(count(fixture, NULL, NULL), 1);
	server_header(server_request(fixture->server, "PUT", NULL, 0),
				  "Content-Type", type, sizeof(type));
	assert_string_equal(type, "text/csv");
}

static void
held_and_aborted(void **state)
{
	Fixture *fixture = *state;
	HandOver over;

	hold(fixture, 0, &over);
	adopt(fixture, &over);
	abort_and_wait(fixture);
	assert_int_equal(count(fixture, NULL, NULL), 0);
	ob_upload_free(fixture->upload);

	hold(fixture, 2 * PART, &over);
	over.held.nparts = 0; /* an abort does not need them */
	adopt(fixture, &over);
	abort_and_wait(fixture);
	assert_false(ob_upload_may_exist(fixture->upload));
	assert_nothing_landed(fixture);
}

/* An unclear Complete is looked up by the marker of the upload that began
 * it. */
static void
held_and_unclear(void **state)
{
	Fixture *fixture = *state;
	HandOver over;

	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .times = 1, .store = true,
							 .act = SERVER_DROP});
	hold(fixture, PART + 1, &over);
	adopt(fixture, &over);
	ob_upload_publish(fixture->upload);
	host_drive(fixture->http, is_ended, fixture);
	assert_landed(fixture);
	assert_int_equal(count(fixture, "HEAD", NULL), 1);
}

static void
held_and_refused(void **state)
{
	Fixture *fixture = *state;
	HandOver over;

	hold(fixture, PART + 1, &over);
	over.held.bytes++;
	adopt(fixture, &over);
	ob_upload_publish(fixture->upload);
	assert_error(wait_for_error(fixture), OB_EPROTO, "were uploaded");
	assert_int_equal(count(fixture, "POST", "uploadId"), 0);
	ob_upload_free(fixture->upload);

	over.held.bytes--;
	adopt(fixture, &over);
	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .times = 1, .status = 403,
							 .body = XML_ERROR("AccessDenied")});
	ob_upload_publish(fixture->upload);
	assert_error(wait_for_error(fixture), OB_EDENIED, "AccessDenied");
	ob_upload_abort(fixture->upload, 0);
	host_drive(fixture->http, is_aborted, fixture);
	assert_false(ob_upload_may_exist(fixture->upload));
	assert_nothing_landed(fixture);
}

int
main(void)
{
#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, setup_counted, teardown_counted)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_of_parts),
		TEST(objects_around_the_part_size),
		TEST(headers_and_marker),
		TEST(options_are_copied),
		TEST(as_a_sink),
		TEST(no_bytes_after_the_end),
		TEST(too_many_parts),
		TEST(memory_is_bounded),
		TEST(parts_of_half_the_memory),
		TEST(parts_go_out_in_order),
		TEST(parts_grow_within_memory),
		TEST(parts_of_one_size),
		TEST(no_part_is_too_large),
		TEST(no_memory_for_parts),
		TEST(parts_are_tried_again),
		TEST(figures_show_the_progress),
		TEST(put_object_is_tried_again),
		TEST(part_is_refused),
		TEST(first_error_wins),
		TEST(create_is_refused),
		TEST(put_object_is_refused),
		TEST(complete_is_refused),
		TEST(abort_before_anything_was_sent),
		TEST(abort_while_create_is_under_way),
		TEST(abort_while_parts_are_under_way),
		TEST(abort_twice_with_success),
		TEST(abort_fails),
		TEST(abort_is_tried_again),
		TEST(abort_during_complete),
		TEST(abort_after_the_response_to_complete),
		TEST(abort_when_the_wait_ends),
		TEST(abort_during_put_object),
		TEST(abort_after_the_last_request_failed),
		TEST(abort_within_put_object),
		TEST(abort_between_two_tries),
		TEST(abort_after_done),
		TEST(lost_response_of_complete),
		TEST(complete_was_not_done),
		TEST(our_marker_but_another_size),
		TEST(complete_was_slow),
		TEST(complete_stays_unclear),
		TEST(complete_stays_unclear_for_good),
		TEST(refused_after_it_was_unclear),
		TEST(abort_during_head),
		TEST(free_at_any_time),
		TEST(etag_of_an_object),
		TEST(etag_of_a_multipart_upload),
		TEST(held_and_published),
		TEST(held_and_empty),
		TEST(held_and_aborted),
		TEST(held_and_unclear),
		TEST(held_and_refused),
	};

	return cmocka_run_group_tests(tests, setup_all, free_data);
}
