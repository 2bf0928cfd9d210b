/*
 * test_upload_options.c
 *		Uploads with checksums, with an existing object that must stay, and
 *		to a store that throttles.
 *
 * test/core/test_upload_options.c
 *
 * The little S3 verifies all checksums of bodies and objects.
 */
#include "uploads.h"

#include "core/s3/upload_intern.h"

#define COMPLETE_TARGET .method = "POST", .target = "uploadId"
#define COMPLETED                                   \
	"<CompleteMultipartUploadResult><ETag>x</ETag>" \
	"</CompleteMultipartUploadResult>"
#define OTHERS_OBJECT                                       \
	.status = 200, .headers = "x-amz-meta-onboard-upload: " \
							  "0123456789abcdef0123456789abcdef\r\n"

static const ServerRequest *
nth(Fixture *fixture, const char *method, const char *target, int n)
{
	const ServerRequest *request =
		server_request(fixture->server, method, target, n);

	assert_non_null(request);
	return request;
}

static const char *
header(const ServerRequest *request, const char *name)
{
	static char value[200];

	server_header(request, name, value, sizeof(value));
	return value;
}

/* ---- checksums ---- */

static const struct
{
	const char *name;
	Where where;
	ObChecksum checksum;
	bool hashed;
	bool crc32;
	bool md5;
} sums[] = {
	{"http, auto", PLAIN, OB_CHECKSUM_AUTO, true, false, false},
	{"http, sha256", PLAIN, OB_CHECKSUM_SHA256, true, false, false},
	{"http, crc32", PLAIN, OB_CHECKSUM_CRC32, true, true, false},
	{"http, md5", PLAIN, OB_CHECKSUM_MD5, true, false, true},
	{"http, none", PLAIN, OB_CHECKSUM_NONE, true, false, false},
	{"https, auto", TLS, OB_CHECKSUM_AUTO, true, false, false},
	{"https, sha256", TLS, OB_CHECKSUM_SHA256, true, false, false},
	{"https, crc32", TLS, OB_CHECKSUM_CRC32, false, true, false},
	{"https, md5", TLS, OB_CHECKSUM_MD5, false, false, true},
	{"https, none", TLS, OB_CHECKSUM_NONE, false, false, false},
	{"AWS, auto", AWS, OB_CHECKSUM_AUTO, false, true, false},
	{"AWS, sha256", AWS, OB_CHECKSUM_SHA256, true, false, false},
};

static void
assert_sums(Fixture *fixture, size_t i, bool multipart)
{
	char size[32];

	for (int n = 0; n < count(fixture, "PUT", NULL); n++)
	{
		const ServerRequest *request = nth(fixture, "PUT", NULL, n);

		assert_row(sums[i].name,
				   strcmp(header(request, "x-amz-content-sha256"),
						  sums[i].hashed ? request->sha256
										 : "UNSIGNED-PAYLOAD") == 0);
		assert_row(sums[i].name, (header(request, "x-amz-checksum-crc32")[0] !=
								  '\0') == sums[i].crc32);
		/* the little S3 verifies it */
		assert_row(sums[i].name, strlen(header(request, "Content-MD5")) ==
									 (sums[i].md5 ? OB_MD5_TEXT - 1 : 0));
	}
	for (int n = 0; n < count(fixture, "POST", NULL); n++)
		assert_row(sums[i].name, header(nth(fixture, "POST", NULL, n),
										"Content-MD5")[0] == '\0');
	if (!multipart)
		return;
	assert_row(sums[i].name, strcmp(header(nth(fixture, "POST", "uploads=", 0),
										   "x-amz-checksum-algorithm"),
									sums[i].crc32 ? "CRC32" : "") == 0);
	assert_row(sums[i].name,
			   (header(nth(fixture, "POST", "uploadId", 0),
					   "x-amz-checksum-crc32")[0] != '\0') == sums[i].crc32);
	snprintf(size, sizeof(size), "%zu", fixture->written);
	assert_row(sums[i].name, strcmp(header(nth(fixture, "POST", "uploadId", 0),
										   "x-amz-mp-object-size"),
									sums[i].where == AWS ? size : "") == 0);
}

static void
checksums(void **state)
{
	static const size_t sizes[] = {0, 1000, PART, 2 * PART + 7};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(sums); i++)
	{
		for (size_t j = 0; j < COUNT_OF(sizes); j++)
		{
			ObUploadOptions options;

			renew_at(fixture, sums[i].where);
			options = usual_options(fixture);
			options.checksum = sums[i].checksum;
			begin_with(fixture, &options);
			write_all(fixture, sizes[j]);
			finish_and_land(fixture);
			assert_sums(fixture, i, sizes[j] > PART);
		}
	}
}

/* A byte is damaged in transit: the part is sent again if it has any
 * checksum. */
static void
damaged_parts(void **state)
{
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(sums); i++)
	{
		bool seen = sums[i].hashed || sums[i].crc32 || sums[i].md5;
		ObUploadOptions options;
		size_t len;

		renew_at(fixture, sums[i].where);
		server_rule(fixture->server, (ServerRule){.target = "partNumber=1&",
												  .times = 1,
												  .flip = true,
												  .store = true});
		options = usual_options(fixture);
		options.checksum = sums[i].checksum;
		begin_with(fixture, &options);
		write_all(fixture, PART + 1);
		finish(fixture);
		host_drive(fixture->http, is_ended, fixture);
		assert_true(ob_upload_done(fixture->upload));
		assert_row(sums[i].name,
				   (memcmp(server_object(fixture->server, "dir/key", &len),
						   data, PART + 1) == 0) == seen);
		assert_int_equal(count(fixture, "PUT", "partNumber=1&"), 1 + seen);
	}
}

/* The part is always damaged: three attempts. */
static void
always_damaged(void **state)
{
	Fixture *fixture = *state;

	server_rule(
		fixture->server,
		(ServerRule){.target = "partNumber=1&", .flip = true, .store = true});
	begin(fixture);
	write_all(fixture, PART + 200000);
	assert_error(wait_for_error(fixture), OB_EREQUEST,
				 "XAmzContentSHA256Mismatch");
	assert_int_equal(ob_upload_error(fixture->upload)->attempts, 3);
	abort_and_wait(fixture);
	assert_nothing_landed(fixture);
}

/* ---- headers of all requests ---- */

static void
common_headers(void **state)
{
	char owner[] = "123456789012";
	ObPair common[] = {{"x-amz-expected-bucket-owner", owner},
					   {"x-amz-request-payer", "requester"}};
	Fixture *fixture = *state;
	ObUploadOptions options = usual_options(fixture);

	/* HEAD, Create, parts, Complete, HEAD, ListParts, Complete, Abort,
	 * HEAD */
	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .times = 1, .status = 502});
	server_rule(fixture->server, (ServerRule){COMPLETE_TARGET, .status = 403});
	options.common = common;
	options.ncommon = 2;
	options.keep_existing = true;
	begin_with(fixture, &options);
	memset(owner, '?', strlen(owner));
	memset(common, 0, sizeof(common));
	write_all(fixture, PART + 1);
	finish(fixture);
	assert_int_equal(wait_for_error(fixture)->code, OB_EDENIED);
	abort_and_wait(fixture);
	assert_int_equal(count(fixture, NULL, NULL), 10);
	for (int i = 0; i < 10; i++)
	{
		const ServerRequest *request = nth(fixture, NULL, NULL, i);

		assert_string_equal(header(request, "x-amz-expected-bucket-owner"),
							"123456789012");
		assert_string_equal(header(request, "x-amz-request-payer"),
							"requester");
	}
	assert_nothing_landed(fixture);
}

/* ---- existing objects that must not be replaced ---- */

static void
begin_careful(Fixture *fixture)
{
	ObUploadOptions options = usual_options(fixture);

	options.keep_existing = true;
	begin_with(fixture, &options);
}

static void
put_other(Fixture *fixture)
{
	begin(fixture);
	write_all(fixture, 10);
	finish_and_land(fixture);
	ob_upload_free(fixture->upload);
	server_reset(fixture->server);
}

static void
assert_exists(Fixture *fixture, const char *cause, bool may_be_ours)
{
	const ObError *error = wait_for_error(fixture);

	assert_error(error, OB_EEXISTS, cause);
	assert_non_null(strstr(error->what, "\"s3://b/dir/key\""));
	assert_int_equal(ob_upload_may_exist(fixture->upload), may_be_ours);
}

/* The object is detected before anything is sent, while rows still come. */
static void
object_exists(void **state)
{
	Fixture *fixture = *state;
	size_t len;

	put_other(fixture);
	begin_careful(fixture);
	assert_null(ob_upload_error(fixture->upload));
	assert_exists(fixture, "an object of that name exists already", false);
	abort_and_wait(fixture);
	assert_int_equal(count(fixture, NULL, NULL), 1);
	assert_int_equal(count(fixture, "HEAD", "/b/dir/key"), 1);
	assert_non_null(server_object(fixture->server, "dir/key", &len));
	assert_int_equal(len, 10);
}

static void
object_does_not_exist(void **state)
{
	static const size_t sizes[] = {1000, PART + 1};
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		renew(fixture);
		begin_careful(fixture);
		write_all(fixture, sizes[i]);
		finish_and_land(fixture);
		assert_int_equal(count(fixture, "HEAD", NULL), 1);
		for (int n = 0; n < count(fixture, NULL, NULL); n++)
		{
			const ServerRequest *request = nth(fixture, NULL, NULL, n);
			bool last = n == count(fixture, NULL, NULL) - 1;

			assert_string_equal(header(request, "If-None-Match"),
								last ? "*" : "");
		}
	}
}

/* No other request is sent before the response to the HEAD. */
static void
head_comes_first(void **state)
{
	static const size_t sizes[] = {1000, PART + 200000};
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		renew(fixture);
		server_rule(
			fixture->server,
			(ServerRule){.method = "HEAD", .act = SERVER_HOLD, .status = 404});
		begin_careful(fixture);
		write_all(fixture, sizes[i]);
		finish(fixture);
		wait_for_request(fixture, "HEAD", NULL, 1);
		host_drive_for(fixture->http, 30);
		assert_int_equal(count(fixture, NULL, NULL), 1);
		server_release(fixture->server);
		host_drive(fixture->http, is_ended, fixture);
		assert_landed(fixture);
	}
}

static void
head_fails(void **state)
{
	Fixture *fixture = *state;

	/* transient failures */
	server_rule(fixture->server,
				(ServerRule){.method = "HEAD", .times = 1, .status = 500});
	begin_careful(fixture);
	write_all(fixture, 1000);
	finish_and_land(fixture);
	assert_int_equal(count(fixture, "HEAD", NULL), 2);

	/* final failures: landing no object is better than replacing another
	 * writer's */
	renew(fixture);
	server_rule(fixture->server,
				(ServerRule){.method = "HEAD", .status = 403});
	begin_careful(fixture);
	write_all(fixture, PART + 200000);
	assert_error(wait_for_error(fixture), OB_EDENIED, "HTTP 403");
	assert_string_equal(ob_upload_error(fixture->upload)->what,
						"could not look up \"s3://b/dir/key\"");
	abort_and_wait(fixture);
	assert_int_equal(count(fixture, NULL, NULL), 1);
	assert_nothing_landed(fixture);
}

static void
giving_up_during_head(void **state)
{
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		renew(fixture);
		server_rule(fixture->server,
					(ServerRule){.method = "HEAD", .act = SERVER_HOLD});
		begin_careful(fixture);
		write_all(fixture, PART + 200000);
		wait_for_request(fixture, "HEAD", NULL, 1);
		if (i == 0)
		{
			ob_upload_abort(fixture->upload, 0);
			assert_true(ob_upload_aborted(fixture->upload));
			assert_false(ob_upload_may_exist(fixture->upload));
		}
		else
		{
			ob_upload_free(fixture->upload);
			fixture->upload = NULL;
		}
		assert_int_equal(ob_http_timeout_ms(fixture->http), -1);
		server_release(fixture->server);
		host_drive_for(fixture->http, 20);
		assert_int_equal(count(fixture, NULL, NULL), 1);
	}
}

/* AWS honours the condition on every request, so no HEAD is sent first.
 * Another writer's object is distinguished from ours after the refusal. */
static void
condition_on_aws(void **state)
{
	static const size_t sizes[] = {1000, PART + 1};
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		renew_at(fixture, AWS);
		begin_careful(fixture);
		write_all(fixture, sizes[i]);
		finish_and_land(fixture);
		assert_int_equal(count(fixture, "HEAD", NULL), 0);
		ob_upload_free(fixture->upload);

		begin_careful(fixture);
		write_all(fixture, sizes[i]);
		finish(fixture);
		assert_exists(fixture, "an object of that name exists already", false);
		assert_int_equal(ob_upload_error(fixture->upload)->http_status, 412);
		assert_int_equal(count(fixture, "HEAD", NULL), 1);
		abort_and_wait(fixture);
		assert_false(ob_upload_may_exist(fixture->upload));
		assert_int_equal(server_uploads(fixture->server), 0);
	}
}

/* An object appears between the HEAD and the write. */
static void
object_appears_meanwhile(void **state)
{
	static const struct
	{
		const char *name;
		size_t size;
		ServerRule head; /* the second HEAD */
		bool may_be_ours;
	} rows[] = {
		{"small", 1000, {OTHERS_OBJECT}, false},
		{"small, and gone", 1000, {.status = 404}, false},
		{"small, and HEAD is denied", 1000, {.status = 403}, true},
		{"large", PART + 1, {OTHERS_OBJECT}, false},
		{"large, and HEAD is denied", PART + 1, {.status = 403}, true},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ServerRule head = rows[i].head;

		renew(fixture);
		server_rule(fixture->server,
					(ServerRule){.method = "HEAD", .times = 1, .status = 404});
		head.method = "HEAD";
		server_rule(fixture->server, head);
		server_rule(
			fixture->server,
			(ServerRule){.method = rows[i].size > PART ? "POST" : "PUT",
						 .target = rows[i].size > PART ? "uploadId" : NULL,
						 .status = 412,
						 .body = XML_ERROR("PreconditionFailed")});
		begin_careful(fixture);
		write_all(fixture, rows[i].size);
		finish(fixture);
		assert_exists(fixture, "an object of that name exists already",
					  rows[i].may_be_ours);
		assert_string_equal(ob_upload_error(fixture->upload)->s3_code,
							"PreconditionFailed");
		assert_int_equal(count(fixture, "HEAD", NULL), 2);
		abort_and_wait(fixture);
		assert_nothing_landed(fixture);
	}
}

/* The object that the retry finds is the one that the first attempt made. */
static void
object_is_our_own(void **state)
{
	static const struct
	{
		const char *name;
		size_t size;
		ServerRule rules[2];
		int heads;
	} rows[] = {
		{"Complete, error after the fact, in a 200",
		 PART + 1,
		 {{COMPLETE_TARGET, .times = 1, .store = true, .status = 500,
		   .body = XML_ERROR("InternalError")},
		  {COMPLETE_TARGET, .times = 1, .status = 200,
		   .body = XML_ERROR("PreconditionFailed")}},
		 2},
		{"PutObject, lost response",
		 1000,
		 {{.method = "PUT", .times = 1, .store = true, .act = SERVER_DROP}},
		 2},
		{"PutObject, error after the fact",
		 1000,
		 {{.method = "PUT", .times = 1, .store = true, .status = 500}},
		 2},
		{"Complete, error after the fact",
		 PART + 1,
		 {{COMPLETE_TARGET, .times = 1, .store = true, .status = 500,
		   .body = XML_ERROR("InternalError")},
		  {COMPLETE_TARGET, .times = 1, .status = 412,
		   .body = XML_ERROR("PreconditionFailed")}},
		 2},
		{"Complete, lost response",
		 PART + 1,
		 {{COMPLETE_TARGET, .times = 1, .store = true, .act = SERVER_DROP}},
		 2},
	};
	Fixture *fixture = *state;

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObUploadStats stats;

		renew(fixture);
		for (int n = 0; n < 2 && rows[i].rules[n].method; n++)
			server_rule(fixture->server, rows[i].rules[n]);
		begin_careful(fixture);
		write_all(fixture, rows[i].size);
		finish_and_land(fixture);
		assert_row(rows[i].name,
				   count(fixture, "HEAD", NULL) == rows[i].heads);
		ob_upload_stats(fixture->upload, &stats);
		assert_int_equal(stats.parts, rows[i].size > PART ? 2 : 1);
		assert_int_equal(stats.landed, rows[i].size);
		assert_null(ob_upload_error(fixture->upload));
	}
}

/* A response is lost, the retry is refused, and it is unknown whose object
 * exists. */
static void
object_may_be_our_own(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server, (ServerRule){.method = "PUT",
											  .times = 1,
											  .store = true,
											  .act = SERVER_DROP});
	server_rule(fixture->server,
				(ServerRule){.method = "HEAD", .times = 1, .status = 404});
	server_rule(fixture->server,
				(ServerRule){.method = "HEAD", .status = 403});
	begin_careful(fixture);
	write_all(fixture, 1000);
	finish(fixture);
	assert_error(wait_for_error(fixture), OB_EEXISTS, "exists already");
	assert_true(ob_upload_may_exist(fixture->upload));
	abort_and_wait(fixture);
	assert_true(ob_upload_may_exist(fixture->upload));
}

/* Two writers at the same time: the refusal of a Complete is final. */
static void
conflicting_completes(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){COMPLETE_TARGET, .status = 409,
							 .body = XML_ERROR("ConditionalRequestConflict")});
	begin_careful(fixture);
	write_all(fixture, PART + 1);
	finish(fixture);
	assert_exists(fixture,
				  "another request was writing an object of that name", false);
	assert_int_equal(count(fixture, "POST", "uploadId"), 1);
	assert_int_equal(count(fixture, "HEAD", NULL), 1);
	abort_and_wait(fixture);
	assert_nothing_landed(fixture);
}

/* A PutObject is retried, and succeeds, or finds the other writer's object. */
static void
conflicting_puts(void **state)
{
	Fixture *fixture = *state;

	for (int i = 0; i < 3; i++)
	{
		renew(fixture);
		server_rule(
			fixture->server,
			(ServerRule){.method = "PUT",
						 .times = i < 2 ? 2 : 0,
						 .status = 409,
						 .body = XML_ERROR("ConditionalRequestConflict")});
		if (i == 1)
			server_rule(fixture->server,
						(ServerRule){.method = "PUT",
									 .status = 412,
									 .body = XML_ERROR("PreconditionFailed")});
		begin_careful(fixture);
		if (i == 2)
			fixture->upload->parts.parts[0].call.max_attempts = 3;
		write_all(fixture, 1000);
		if (i == 0)
		{
			finish_and_land(fixture);
			assert_int_equal(count(fixture, "PUT", NULL), 3);
			continue;
		}
		finish(fixture);
		host_drive(fixture->http, is_ended, fixture);
		assert_int_equal(ob_upload_error(fixture->upload)->code, OB_EEXISTS);
		abort_and_wait(fixture);
		assert_nothing_landed(fixture);
	}
}

/* Backblaze requires it for locked objects. */
static void
md5_at_backblaze(void **state)
{
	Fixture *fixture = *state;
	ObS3Options options = s3_options();

	options.region = "eu-central-003";
	renew_with(fixture, BACKBLAZE, options);
	begin(fixture);
	write_all(fixture, 1000);
	finish(fixture);
	host_drive(fixture->http, is_ended, fixture);
	assert_true(ob_upload_done(fixture->upload));
	assert_int_equal(
		strlen(header(nth(fixture, "PUT", NULL, 0), "Content-MD5")),
		OB_MD5_TEXT - 1);
	assert_string_equal(
		header(nth(fixture, "PUT", NULL, 0), "x-amz-content-sha256"),
		"UNSIGNED-PAYLOAD");
}

/* ---- a store that throttles ---- */

static void
begin_wide(Fixture *fixture, int connections)
{
	ObUploadOptions options = usual_options(fixture);

	options.part_size = 5 * MIB / 4;
	options.connections = connections;
	options.memory = 64 * MIB;
	begin_with(fixture, &options);
	for (int i = 0; i < connections; i++)
		ob_upload_want_room(fixture->upload);
}

static int
in_flight(Fixture *fixture)
{
	ObUploadStats stats;

	ob_upload_stats(fixture->upload, &stats);
	return stats.in_flight;
}

static bool
has_retried(void *arg)
{
	return ob_s3_retries(((Fixture *) arg)->s3) > 0;
}

static void
throttled_once(Fixture *fixture, int connections)
{
	server_rule(fixture->server, (ServerRule){.target = "partNumber=1&",
											  .times = 1,
											  .status = 503,
											  .body = XML_ERROR("SlowDown")});
	begin_wide(fixture, connections);
	write_all(fixture, 5 * MIB / 4 + 200000);
	/* the window after the part's end cuts it */
	host_drive(fixture->http, has_retried, fixture);
	assert_int_equal(in_flight(fixture), 1);
}

/* Half as many parts at a time as there were connections. */
static void
throttled_parts(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server, (ServerRule){.target = "partNumber=1&",
											  .times = 1,
											  .status = 503,
											  .body = XML_ERROR("SlowDown")});
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .act = SERVER_HOLD});
	throttled_once(fixture, 8);
	write_all(fixture, 9 * MIB);
	/* the throttled one again, and three more */
	wait_for_request(fixture, "PUT", "partNumber", 5);
	host_drive_for(fixture->http, 30);
	assert_int_equal(count(fixture, "PUT", "partNumber"), 5);
	assert_int_equal(in_flight(fixture), 4);
	server_release(fixture->server);
}

/* At least one part is sent at a time, and more after a while without
 * throttling. */
static void
throttled_and_recovered(void **state)
{
	Fixture *fixture = *state;

	/* otherwise EntityTooSmall */
	server_rule(fixture->server, (ServerRule){COMPLETE_TARGET, .status = 200,
											  .body = COMPLETED});
	server_rule(fixture->server, (ServerRule){.target = "partNumber=20&",
											  .act = SERVER_HOLD,
											  .store = true});
	server_rule(fixture->server, (ServerRule){.target = "partNumber=21&",
											  .act = SERVER_HOLD,
											  .store = true});
	throttled_once(fixture, 2);
	while (fixture->written < 19 * 5 * MIB / 4)
	{
		ObError error;

		ob_error_clear(&error);
		host_drive(fixture->http, has_room_or_failed, fixture);
		assert_int_equal(write_some(fixture, 19 * 5 * MIB / 4, 131072, &error),
						 OB_OK);
		if (count(fixture, "PUT", NULL) < 15)
			assert_in_range(in_flight(fixture), 0, 1);
	}
	write_all(fixture, 21 * 5 * MIB / 4 + 200000);
	wait_for_request(fixture, "PUT", "partNumber=20&", 1);
	wait_for_request(fixture, "PUT", "partNumber=21&", 1);
	assert_int_equal(in_flight(fixture), 2);
	server_release(fixture->server);
	finish(fixture);
	host_drive(fixture->http, is_ended, fixture);
	assert_true(ob_upload_done(fixture->upload));
}

/* Other failures do not reduce the number of concurrent parts. */
static void
not_throttled(void **state)
{
	Fixture *fixture = *state;

	server_rule(
		fixture->server,
		(ServerRule){.target = "partNumber=1&", .times = 1, .status = 500});
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .act = SERVER_HOLD});
	begin_wide(fixture, 3);
	write_all(fixture, 4 * MIB);
	wait_for_request(fixture, "PUT", "partNumber", 4);
	assert_int_equal(in_flight(fixture), 3);
	server_release(fixture->server);
}

/* All requests of an upload share one quota, but the Abort does not. */
static void
quota_of_the_upload(void **state)
{
	Fixture *fixture = *state;

	server_rule(fixture->server,
				(ServerRule){.target = "uploads=", .times = 1, .status = 500});
	server_rule(fixture->server,
				(ServerRule){.target = "partNumber", .status = 500});
	server_rule(fixture->server,
				(ServerRule){.method = "DELETE", .times = 1, .status = 500});
	begin(fixture);
	fixture->upload->quota.tokens = 24;
	write_all(fixture, PART + 200000);
	assert_error(wait_for_error(fixture), OB_ESERVER,
				 "too many requests of this upload failed");
	/* Create returned its ten tokens, and one more; then the part failed
	 * twice */
	assert_int_equal(count(fixture, "PUT", NULL), 3);
	assert_int_equal(fixture->upload->quota.tokens, 5);
	abort_and_wait(fixture);
	assert_null(ob_upload_abort_error(fixture->upload));
	assert_int_equal(count(fixture, "DELETE", NULL), 2);
	assert_nothing_landed(fixture);
}

/* ---- the final check ---- */

/* A byte gets lost in our own memory: the object must never be too short. */
static void
sums_that_differ(void **state)
{
	Fixture *fixture = *state;

	for (int i = 0; i < 2; i++)
	{
		renew(fixture);
		begin(fixture);
		write_all(fixture, PART + 1000);
		fixture->upload->bytes += i ? 1 : -1;
		finish(fixture);
		assert_error(wait_for_error(fixture), OB_EPROTO,
					 "bytes were produced, but");
		assert_int_equal(count(fixture, "POST", "uploadId"), 0);
		assert_false(ob_upload_may_exist(fixture->upload));
		abort_and_wait(fixture);
		assert_nothing_landed(fixture);
	}
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(checksums),
		TEST(damaged_parts),
		TEST(always_damaged),
		TEST(common_headers),
		TEST(object_exists),
		TEST(object_does_not_exist),
		TEST(head_comes_first),
		TEST(head_fails),
		TEST(giving_up_during_head),
		TEST(condition_on_aws),
		TEST(object_appears_meanwhile),
		TEST(object_is_our_own),
		TEST(object_may_be_our_own),
		TEST(conflicting_completes),
		TEST(conflicting_puts),
		TEST(md5_at_backblaze),
		TEST(throttled_parts),
		TEST(throttled_and_recovered),
		TEST(not_throttled),
		TEST(quota_of_the_upload),
		TEST(sums_that_differ),
	};

	return cmocka_run_group_tests(tests, setup_data, free_data);
}
