/*
 * uploads.h
 *		Shared code of the tests of uploads: a little S3, a client, an upload.
 *
 * test/core/uploads.h
 */
#ifndef OB_TEST_UPLOADS_H
#define OB_TEST_UPLOADS_H

#include "testing.h"

#include <unistd.h>

#include "core/sink/sink.h"
#include "core/s3/upload.h"
#include "server.h"

#define MIB ((size_t) 1024 * 1024)
#define PART OB_PART_MIN
#define SLACK ((size_t) OB_SINK_WINDOW_MAX)
#define DATA_SIZE (40 * MIB)

#define XML_ERROR(code)                                            \
	"<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>" \
	"m</Message></Error>"

typedef struct Fixture
{
	Server *server;
	ObS3 *s3;
	ObHttp *http;
	ObUpload *upload;
	int descriptors;
	size_t written;
} Fixture;

/* The uploaded data: its first bytes. */
static char *data;

/* ---- fixtures ---- */

#define BACKBLAZE_URL "https://s3.eu-central-003.backblazeb2.com"

/* All except PLAIN need server_tls(). */
typedef enum Where
{
	PLAIN,    /* http://127.0.0.1 */
	TLS,      /* https://127.0.0.1 */
	AWS,      /* through the server as a proxy */
	BACKBLAZE /* through the proxy, too */
} Where;

static inline ObS3Options
s3_options(void)
{
	return (ObS3Options){
		.region = "us-east-1",
		.credentials = {.keys = {"AKIATEST", "secret", NULL}},
		.http = {.user_agent = "onboard-test/1",
				 .connect_timeout_ms = 5000,
				 .stall_timeout_ms = 20000,
				 .max_connections = 9},
	};
}

/* Sets the endpoint of the options, and the proxy and certificates that it
 * needs. */
static inline void
new_s3_with(Fixture *fixture, Where where, ObS3Options options)
{
	char url[64];
	ObError error;

	ob_error_clear(&error);
	snprintf(url, sizeof(url), "%s://127.0.0.1:%d",
			 where == TLS ? "https" : "http", server_port(fixture->server));
	if (where == AWS || where == BACKBLAZE)
		options.http.proxy = url;
	if (where == AWS)
		assert_int_equal(
			ob_endpoint_aws(&options.endpoint, "us-east-1", &error), OB_OK);
	else
		assert_int_equal(ob_endpoint_parse(
							 &options.endpoint,
							 where == BACKBLAZE ? BACKBLAZE_URL : url, &error),
						 OB_OK);
	if (where != PLAIN)
		options.http.ca_file = server_ca(fixture->server);
	fixture->s3 = ob_s3_new(&options, &error);
	assert_non_null(fixture->s3);
	fixture->http = ob_s3_http(fixture->s3);
}

static inline int
setup(void **state)
{
	Fixture *fixture = test_calloc(1, sizeof(Fixture));

	alarm(60);
	fixture->descriptors = host_descriptors();
	fixture->server = server_new();
	server_s3(fixture->server);
	new_s3_with(fixture, PLAIN, s3_options());
	*state = fixture;
	return 0;
}

static inline int
teardown(void **state)
{
	Fixture *fixture = *state;
	int left;

	ob_upload_free(fixture->upload);
	ob_s3_free(fixture->s3);
	server_free(fixture->server);
	left = host_descriptors() - fixture->descriptors;
	test_free(fixture);
	return left;
}

static inline int
setup_data(void **state)
{
	data = test_malloc(DATA_SIZE);
	for (size_t i = 0; i < DATA_SIZE; i += sizeof(uint64_t))
	{
		uint64_t x = next_random();

		memcpy(data + i, &x, sizeof(x));
	}
	return 0;
}

static inline int
free_data(void **state)
{
	test_free(data);
	return 0;
}

/* ---- uploads ---- */

static inline ObUploadOptions
usual_options(const Fixture *fixture)
{
	static const ObPair headers[] = {{"x-amz-meta-who", "test"},
									 {"Content-Type", "text/csv"}};

	return (ObUploadOptions){
		.s3 = fixture->s3,
		.bucket = "b",
		.key = "dir/key",
		.headers = headers,
		.nheaders = 2,
		.part_size = PART,
		.memory = 4 * (PART + SLACK),
		.connections = 3,
		.max_parts = OB_PARTS_MAX,
	};
}

static inline void
begin_with(Fixture *fixture, const ObUploadOptions *options)
{
	ObError error;

	ob_error_clear(&error);
	fixture->written = 0;
	fixture->upload = ob_upload_new(options, &error);
	assert_non_null(fixture->upload);
}

static inline void
begin(Fixture *fixture)
{
	ObUploadOptions options = usual_options(fixture);

	begin_with(fixture, &options);
}

static inline bool
has_room_or_failed(void *arg)
{
	const Fixture *fixture = arg;

	return ob_upload_has_room(fixture->upload) ||
		   ob_upload_error(fixture->upload);
}

static inline bool
is_ended(void *arg)
{
	const Fixture *fixture = arg;

	return ob_upload_done(fixture->upload) || ob_upload_error(fixture->upload);
}

static inline bool
is_aborted(void *arg)
{
	return ob_upload_aborted(((Fixture *) arg)->upload);
}

/* Writes one window, at most "step" bytes, without waiting. */
static inline ObCode
write_some(Fixture *fixture, size_t total, size_t step, ObError *error)
{
	size_t avail;
	char *window = ob_upload_window(fixture->upload, &avail, error);

	if (!window)
		return error->code;
	assert_in_range(avail, OB_SINK_WINDOW_MIN, OB_SINK_WINDOW_MAX);
	if (avail > step)
		avail = step;
	if (avail > total - fixture->written)
		avail = total - fixture->written;
	memcpy(window, data + fixture->written, avail);
	fixture->written += avail;
	return ob_upload_advance(fixture->upload, avail, error);
}

/* Writes as a host does, up to that many bytes in all. */
static inline ObCode
write_up_to(Fixture *fixture, size_t total, size_t step, ObError *error)
{
	ObCode code = OB_OK;

	ob_error_clear(error);
	while (code == OB_OK && fixture->written < total)
	{
		host_drive(fixture->http, has_room_or_failed, fixture);
		code = write_some(fixture, total, step, error);
	}
	return code;
}

static inline void
write_all(Fixture *fixture, size_t total)
{
	ObError error;

	assert_int_equal(write_up_to(fixture, total, 100003, &error), OB_OK);
}

static inline void
finish(Fixture *fixture)
{
	ObError error;

	ob_error_clear(&error);
	assert_int_equal(ob_upload_finish(fixture->upload, &error), OB_OK);
	assert_false(ob_upload_has_room(fixture->upload) &&
				 ob_upload_done(fixture->upload));
}

static inline void
assert_landed(Fixture *fixture)
{
	const char *object;
	size_t len;

	if (ob_upload_error(fixture->upload))
		print_error("%s\n", ob_upload_error(fixture->upload)->cause);
	assert_true(ob_upload_done(fixture->upload));
	assert_null(ob_upload_error(fixture->upload));
	object = server_object(fixture->server, "dir/key", &len);
	assert_non_null(object);
	assert_int_equal(len, fixture->written);
	assert_int_equal(memcmp(object, data, len), 0);
	assert_int_equal(server_uploads(fixture->server), 0);
	assert_int_equal(server_unexpected(fixture->server), 0);
}

static inline void
assert_nothing_landed(Fixture *fixture)
{
	size_t len;

	assert_false(ob_upload_done(fixture->upload));
	assert_null(server_object(fixture->server, "dir/key", &len));
	assert_int_equal(server_uploads(fixture->server), 0);
}

static inline void
finish_and_land(Fixture *fixture)
{
	finish(fixture);
	host_drive(fixture->http, is_ended, fixture);
	assert_landed(fixture);
}

static inline const ObError *
wait_for_error(Fixture *fixture)
{
	host_drive(fixture->http, is_ended, fixture);
	assert_false(ob_upload_done(fixture->upload));
	assert_non_null(ob_upload_error(fixture->upload));
	return ob_upload_error(fixture->upload);
}

static inline void
abort_and_wait(Fixture *fixture)
{
	ob_upload_abort(fixture->upload, 0);
	host_drive(fixture->http, is_aborted, fixture);
	assert_null(ob_upload_error(fixture->upload));
}

/* A new server, and a client with these options. */
static inline void
renew_with(Fixture *fixture, Where where, ObS3Options options)
{
	ob_upload_free(fixture->upload);
	fixture->upload = NULL;
	ob_s3_free(fixture->s3);
	server_free(fixture->server);
	fixture->server = server_new();
	server_s3(fixture->server);
	if (where != PLAIN)
		server_tls(fixture->server);
	new_s3_with(fixture, where, options);
}

static inline void
renew_at(Fixture *fixture, Where where)
{
	renew_with(fixture, where, s3_options());
}

static inline void
renew(Fixture *fixture)
{
	renew_at(fixture, PLAIN);
}

/* Waits until the server has received such a request. */
typedef struct Awaited
{
	Server *server;
	const char *method;
	const char *target;
	int n;
} Awaited;

static inline bool
has_come(void *arg)
{
	const Awaited *awaited = arg;

	return server_count(awaited->server, awaited->method, awaited->target) >=
		   awaited->n;
}

static inline void
wait_for_request(Fixture *fixture, const char *method, const char *target,
				 int n)
{
	Awaited awaited = {fixture->server, method, target, n};

	host_watch(fixture->http, has_come, &awaited);
}

static inline int
count(Fixture *fixture, const char *method, const char *target)
{
	return server_count(fixture->server, method, target);
}

#endif
