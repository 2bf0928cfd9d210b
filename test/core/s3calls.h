/*
 * s3calls.h
 *		Shared code of the tests of calls to S3: a client, calls, responses.
 *
 * test/core/s3calls.h
 */
#ifndef OB_TEST_S3CALLS_H
#define OB_TEST_S3CALLS_H

#include "testing.h"

#include <unistd.h>

#include "core/s3/s3.h"
#include "server.h"

#define ACCESS_KEY "AKIATESTTESTTEST"
#define SECRET_KEY "secret/Canary+0123456789"
#define TOKEN "token/Canary+9876543210=="
#define UPLOAD_ID "2~id/with+odd=&chars"

typedef struct Fixture
{
	Server *server;
	ObS3 *s3;
	int descriptors;
} Fixture;

typedef struct Call
{
	ObS3Call call;
	Fixture *fixture;
	int done;
	char key[32];
} Call;

static const ObUploadPart parts[] = {{.etag = "\"e1\""}, {.etag = "\"e<2>\""}};

/* ---- calls ---- */

/* No field of an error may contain a secret. */
static inline void
assert_no_secret(const void *memory, size_t len)
{
	assert_null(memmem(memory, len, SECRET_KEY, strlen(SECRET_KEY)));
	assert_null(memmem(memory, len, TOKEN, strlen(TOKEN)));
	assert_null(memmem(memory, len, "Canary", 6));
}

static inline void
on_done(ObS3Call *call)
{
	Call *own = call->arg;

	assert_false(ob_s3_call_running(call));
	assert_no_secret(&call->error, sizeof(call->error));
	own->done++;
}

static inline void
call_init(Call *call, Fixture *fixture)
{
	memset(call, 0, sizeof(*call));
	ob_s3_call_init(&call->call, fixture->s3, on_done, call);
	call->fixture = fixture;
}

static inline void
call_free(Call *call)
{
	ob_s3_call_free(&call->call);
}

static inline bool
is_done(void *arg)
{
	return !ob_s3_call_running(&((Call *) arg)->call);
}

static inline void
wait_done(Call *call)
{
	host_drive(ob_s3_http(call->fixture->s3), is_done, call);
	assert_int_equal(call->done, 1);
}

static inline void
start_verb(Call *call, ObS3Verb verb, const char *key)
{
	ObS3Call *c = &call->call;

	call->done = 0;
	switch (verb)
	{
		case OB_S3_PUT_OBJECT:
			ob_s3_put_object(c, "b", key, NULL, 0, "object", 6, NULL);
			break;
		case OB_S3_CREATE:
			ob_s3_create(c, "b", key, NULL, 0);
			break;
		case OB_S3_UPLOAD_PART:
			ob_s3_upload_part(c, "b", key, UPLOAD_ID, 7, "part", 4, NULL);
			break;
		case OB_S3_COMPLETE:
			ob_s3_complete(c, "b", key, UPLOAD_ID, parts, 2);
			break;
		case OB_S3_ABORT:
			ob_s3_abort(c, "b", key, UPLOAD_ID);
			break;
		case OB_S3_HEAD:
			ob_s3_head(c, "b", key);
			break;
		case OB_S3_LIST_PARTS:
			ob_s3_list_parts(c, "b", key, UPLOAD_ID);
			break;
		case OB_S3_LIST_UPLOADS:
			ob_s3_list_uploads(c, "b", key, NULL, NULL, false);
			break;
		case OB_S3_HEAD_BUCKET:
			ob_s3_head_bucket(c, "b");
			break;
		case OB_S3_GET_ENCRYPTION:
			ob_s3_get_encryption(c, "b");
			break;
		case OB_S3_GET_OBJECT:
			ob_s3_get_object(c, "b", key);
			break;
		case OB_S3_SUM_OBJECT:
			c->sum_max = 100;
			ob_s3_sum_object(c, "b", key);
			break;
		case OB_S3_DELETE_OBJECT:
			ob_s3_delete_object(c, "b", key);
			break;
	}
}

/* ---- responses ---- */

#define CREATED                                             \
	"<?xml version=\"1.0\"?><InitiateMultipartUploadResult" \
	" xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"   \
	"<UploadId>2~new</UploadId></InitiateMultipartUploadResult>"
#define COMPLETED                                           \
	"<?xml version=\"1.0\"?><CompleteMultipartUploadResult" \
	" xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"   \
	"<ETag>&quot;x-2&quot;</ETag></CompleteMultipartUploadResult>"
#define XML_ERROR(code)                                                \
	"<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>why " \
	"not</Message><RequestId>req-7</RequestId><HostId>h</HostId>"      \
	"</Error>"
#define BAD_GATEWAY "<html><body><h1>502 Bad Gateway</h1></body></html>"

static inline const char *
verb_method(ObS3Verb verb)
{
	switch (verb)
	{
		case OB_S3_PUT_OBJECT:
		case OB_S3_UPLOAD_PART:
			return "PUT";
		case OB_S3_CREATE:
		case OB_S3_COMPLETE:
			return "POST";
		case OB_S3_ABORT:
		case OB_S3_DELETE_OBJECT:
			return "DELETE";
		case OB_S3_HEAD:
		case OB_S3_HEAD_BUCKET:
			return "HEAD";
		default:
			return "GET";
	}
}

/* The rule with which a verb succeeds. */
static inline ServerRule
success(ObS3Verb verb, const char *key)
{
	ServerRule rule = {.target = key, .status = 200};

	rule.method = verb_method(verb);
	rule.headers = "ETag: \"etag-1\"\r\nX-Amz-Request-Id: req-ok\r\n";
	if (verb == OB_S3_CREATE)
		rule.body = CREATED;
	else if (verb == OB_S3_COMPLETE)
		rule.body = COMPLETED;
	else if (verb == OB_S3_ABORT || verb == OB_S3_DELETE_OBJECT)
		rule.status = 204;
	return rule;
}

/* ---- fixtures ---- */

/* A client of the test's server with the options of most tests. */
static inline ObS3Options
usual_s3(Fixture *fixture)
{
	ObS3Options options = {
		.region = "us-east-1",
		.credentials = {.keys = {ACCESS_KEY, SECRET_KEY, NULL}},
		.http = {.user_agent = "onboard-test/1",
				 .connect_timeout_ms = 5000,
				 .stall_timeout_ms = 20000,
				 .max_connections = 8},
	};
	char url[64];
	ObError error;

	ob_error_clear(&error);
	snprintf(url, sizeof(url), "http://127.0.0.1:%d",
			 server_port(fixture->server));
	assert_int_equal(ob_endpoint_parse(&options.endpoint, url, &error), OB_OK);
	return options;
}

/* Replaces the fixture's client. */
static inline void
replace_s3(Fixture *fixture, const ObS3Options *options)
{
	ObError error;

	ob_error_clear(&error);
	ob_s3_free(fixture->s3);
	fixture->s3 = ob_s3_new(options, &error);
	assert_non_null(fixture->s3);
}

static inline void
use_s3(Fixture *fixture, const char *token, int deadline_ms)
{
	char region[] = "us-east-1";
	char access_key[] = ACCESS_KEY;
	char secret[] = SECRET_KEY;
	char own_token[sizeof(TOKEN)] = "";
	ObS3Options options = usual_s3(fixture);

	if (token)
		strcpy(own_token, token);
	options.region = region;
	options.credentials.keys =
		(ObCredentials){access_key, secret, token ? own_token : NULL};
	options.retry_deadline_ms = deadline_ms;
	replace_s3(fixture, &options);
	/* the client has copied everything */
	memset(region, '?', strlen(region));
	memset(access_key, '?', strlen(access_key));
	memset(secret, '?', strlen(secret));
	memset(own_token, '?', sizeof(own_token));
	memset(&options, '?', sizeof(options));
}

static inline int
setup(void **state)
{
	Fixture *fixture = test_calloc(1, sizeof(Fixture));

	alarm(60);
	fixture->descriptors = host_descriptors();
	fixture->server = server_new();
	use_s3(fixture, NULL, 0);
	*state = fixture;
	return 0;
}

static inline int
teardown(void **state)
{
	Fixture *fixture = *state;
	int left;

	ob_s3_free(fixture->s3);
	server_free(fixture->server);
	left = host_descriptors() - fixture->descriptors;
	test_free(fixture);
	return left;
}

/* ---- requests ---- */

static inline void
part_of(const char *text, const char *name, char end, char *out, size_t size)
{
	const char *at = strstr(text, name);

	assert_non_null(at);
	at += strlen(name);
	snprintf(out, size, "%.*s", (int) (strchrnul(at, end) - at), at);
}

/* The time at which a request was signed, by its header. */
static inline time_t
signing_time(const ServerRequest *request)
{
	char date[32];
	struct tm tm = {0};

	assert_int_equal(server_header(request, "x-amz-date", date, sizeof(date)),
					 1);
	assert_non_null(strptime(date, "%Y%m%dT%H%M%SZ", &tm));
	return timegm(&tm);
}

/* Signs the received request, and compares. */
static inline void
assert_signed(const ServerRequest *request, const ObCredentials *credentials,
			  const char *region)
{
	ObSigningKey key = {0};
	char authorization[2000];
	char signed_names[1000];
	char hash[100];
	char values[20][500];
	char path[4000];
	ObPair headers[20];
	ObSignRequest sign;
	ObBuf again;
	ObError error;
	int n = 0;
	char *rest = signed_names;
	char *name;

	assert_int_equal(server_header(request, "authorization", authorization,
								   sizeof(authorization)),
					 1);
	part_of(authorization, "SignedHeaders=", ',', signed_names,
			sizeof(signed_names));
	while ((name = strsep(&rest, ";")) != NULL)
	{
		assert_int_equal(
			server_header(request, name, values[n], sizeof(values[n])), 1);
		headers[n] = (ObPair){name, values[n]};
		n++;
	}
	server_header(request, "x-amz-content-sha256", hash, sizeof(hash));
	if (!request->tls || strcmp(hash, "UNSIGNED-PAYLOAD") != 0)
		assert_string_equal(hash, request->sha256);
	part_of(request->target, "", '?', path, sizeof(path));
	name = strchr(request->target, '?');
	sign = (ObSignRequest){
		request->method, path, name ? name + 1 : "",  headers, n, hash,
		region,          "s3", signing_time(request), false};
	ob_buf_init(&again, 10000);
	ob_error_clear(&error);
	assert_int_equal(
		ob_sigv4_sign(&key, credentials, &sign, NULL, NULL, &again, &error),
		OB_OK);
	assert_string_equal(again.data, authorization);
	ob_buf_free(&again);
	ob_sigv4_forget(&key);
}

static inline void
assert_signature(const ServerRequest *request)
{
	ObCredentials credentials = {ACCESS_KEY, SECRET_KEY, NULL};

	assert_signed(request, &credentials, "us-east-1");
}

/* ---- waiting ---- */

typedef struct Awaited
{
	Fixture *fixture;
	int retries;
} Awaited;

static inline bool
has_retried(void *arg)
{
	const Awaited *awaited = arg;

	return ob_s3_retries(awaited->fixture->s3) >= awaited->retries;
}

/* Drives until some attempts have failed and are scheduled again. */
static inline void
wait_retries(Fixture *fixture, int n)
{
	Awaited awaited = {fixture, n};

	host_drive(ob_s3_http(fixture->s3), has_retried, &awaited);
}

#endif
