/*
 * s3.c
 *		S3's verbs: signed, retried, and read back.
 *
 * src/core/s3.c
 *
 * One table says how each verb looks on the wire; prepare() builds and signs a
 * try from it, on_done() reads the answer and decides what comes next.
 */
#include "s3.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIST_RESPONSE_MAX (8 * 1024 * 1024)
#define RESPONSE_MAX (64 * 1024)
#define COMPLETE_STALL_MS (15 * 60 * 1000)
#define HOST_MAX 512
#define PATH_MAX_LEN (OB_KEY_MAX * 3 + 1024)
#define QUERY_MAX (OB_KEY_MAX * 6 + OB_UPLOAD_ID_MAX * 6)
#define HEADERS_MAX 64

struct ObS3
{
	ObEndpoint endpoint;
	ObAddressing addressing;
	char *region;
	ObProvider *provider;
	ObSigningKey signing_key;
	int64_t retry_deadline_ms;
	char *ca_file;
	char *proxy;
	int connect_timeout_ms;
	int stall_timeout_ms;
	int max_connections;
	uint64_t random; /* state of the jitter's generator */
	int retries;
	bool clock_known;
	int64_t clock_skew; /* seconds that the store's clock is ahead */
	ObHttp *http;
};

typedef struct VerbInfo
{
	const char *method;
	int max_attempts;
	int response_max;
	const char *what; /* with %s for "part N of " */
} VerbInfo;

static const VerbInfo verbs[] = {
	[OB_S3_PUT_OBJECT] = {"PUT", 8, RESPONSE_MAX, "could not upload"},
	[OB_S3_CREATE] = {"POST", 8, RESPONSE_MAX,
					  "could not start the upload of"},
	[OB_S3_UPLOAD_PART] = {"PUT", 8, RESPONSE_MAX, "could not upload"},
	[OB_S3_COMPLETE] = {"POST", 10, RESPONSE_MAX,
						"could not complete the upload of"},
	[OB_S3_ABORT] = {"DELETE", 2, RESPONSE_MAX,
					 "could not abort the upload of"},
	[OB_S3_HEAD] = {"HEAD", 8, RESPONSE_MAX, "could not look up"},
	[OB_S3_LIST_PARTS] = {"GET", 8, LIST_RESPONSE_MAX,
						  "could not list the parts of"},
	[OB_S3_LIST_UPLOADS] = {"GET", 8, LIST_RESPONSE_MAX,
							"could not list the unfinished uploads of"},
	[OB_S3_HEAD_BUCKET] = {"HEAD", 8, RESPONSE_MAX, "could not look up"},
	[OB_S3_GET_ENCRYPTION] = {"GET", 8, RESPONSE_MAX,
							  "could not get the encryption of"},
};

/* ---- the client ---- */

static char *
copy_text(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;

	if (text && !copy)
		*failed = true;
	return copy;
}

ObS3 *
ob_s3_new(const ObS3Options *options, ObError *error)
{
	ObS3 *s3 = calloc(1, sizeof(ObS3));
	bool failed = false;

	if (!s3)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	s3->endpoint = options->endpoint;
	s3->addressing = options->addressing;
	s3->retry_deadline_ms = options->retry_deadline_ms;
	s3->connect_timeout_ms = options->http.connect_timeout_ms;
	s3->stall_timeout_ms = options->http.stall_timeout_ms;
	s3->max_connections = options->http.max_connections;
	s3->ca_file = copy_text(options->http.ca_file, &failed);
	s3->proxy = copy_text(options->http.proxy, &failed);
	s3->region = copy_text(options->region, &failed);
	if (RAND_bytes((unsigned char *) &s3->random, sizeof(s3->random)) != 1)
		s3->random = (uint64_t) ob_http_now_ms();
	s3->random |= 1; /* xorshift must not begin at 0 */
	if (failed)
		ob_error_set(error, OB_ENOMEM, "out of memory");
	else
		s3->http = ob_http_new(&options->http, error);
	if (s3->http)
		s3->provider = ob_provider_new(s3->http, &options->credentials, error);
	if (!s3->provider)
	{
		ob_s3_free(s3);
		return NULL;
	}
	return s3;
}

void
ob_s3_free(ObS3 *s3)
{
	if (!s3)
		return;
	ob_provider_free(s3->provider);
	ob_http_free(s3->http);
	ob_sigv4_forget(&s3->signing_key);
	free(s3->ca_file);
	free(s3->proxy);
	free(s3->region);
	free(s3);
}

static bool
same_text(const char *a, const char *b)
{
	if (!a || !b)
		return a == b;
	return strcmp(a, b) == 0;
}

static bool
same_endpoint(const ObEndpoint *a, const ObEndpoint *b)
{
	return a->https == b->https && a->aws == b->aws && a->port == b->port &&
		   same_text(a->host, b->host) && same_text(a->base, b->base);
}

bool
ob_s3_matches(const ObS3 *s3, const ObS3Options *options)
{
	const ObHttpOptions *http = &options->http;

	return same_endpoint(&s3->endpoint, &options->endpoint) &&
		   s3->addressing == options->addressing &&
		   s3->retry_deadline_ms == options->retry_deadline_ms &&
		   s3->connect_timeout_ms == http->connect_timeout_ms &&
		   s3->stall_timeout_ms == http->stall_timeout_ms &&
		   s3->max_connections == http->max_connections &&
		   same_text(s3->ca_file, http->ca_file) &&
		   same_text(s3->proxy, http->proxy) &&
		   same_text(s3->region, options->region) &&
		   ob_provider_matches(s3->provider, &options->credentials);
}

void
ob_s3_reset(ObS3 *s3)
{
	ob_provider_reset(s3->provider);
}

ObProvider *
ob_s3_provider(const ObS3 *s3)
{
	return s3->provider;
}

const char *
ob_s3_region(const ObS3 *s3)
{
	return s3->region;
}

bool
ob_s3_clock_skew(const ObS3 *s3, int64_t *seconds)
{
	*seconds = s3->clock_skew;
	return s3->clock_known;
}

ObHttp *
ob_s3_http(const ObS3 *s3)
{
	return s3->http;
}

int
ob_s3_retries(const ObS3 *s3)
{
	return s3->retries;
}

/* xorshift64*, good enough to spread retries; in [0, 1) */
static double
next_random(ObS3 *s3)
{
	s3->random ^= s3->random >> 12;
	s3->random ^= s3->random << 25;
	s3->random ^= s3->random >> 27;
	return (double) ((s3->random * 2685821657736338717ULL) >> 11) /
		   (double) (1ULL << 53);
}

/* ---- a try: building and signing ---- */

static void
build_query(const ObS3Call *call, ObBuf *query)
{
	ObPair pairs[5];
	int n = 0;
	char number[16];

#define ADD(n_, v_) (pairs[n++] = (ObPair){n_, v_})
	if (call->verb == OB_S3_CREATE || call->verb == OB_S3_LIST_UPLOADS)
		ADD("uploads", NULL);
	if (call->verb == OB_S3_GET_ENCRYPTION)
		ADD("encryption", NULL);
	if (call->verb == OB_S3_UPLOAD_PART)
	{
		snprintf(number, sizeof(number), "%d", call->part_number);
		ADD("partNumber", number);
	}
	if (call->upload_id)
		ADD("uploadId", call->upload_id);
	if (call->verb == OB_S3_LIST_UPLOADS)
	{
		/*
		 * No encoding-type: Ceph RGW then encodes the keys, but does not say
		 * that it did.  What XML cannot hold, our own keys do not have.
		 */
		if (call->prefix && call->prefix[0])
			ADD("prefix", call->prefix);
		if (call->key_marker)
			ADD("key-marker", call->key_marker);
		if (call->key_marker && call->id_marker)
			ADD("upload-id-marker", call->id_marker);
	}
#undef ADD
	ob_sigv4_query(query, pairs, n);
}

static ObCode
add_headers(ObS3Call *call, const ObPair *headers, int n,
			const char *authorization, ObError *error)
{
	ObHttpRequest *request = &call->request;

	for (int i = 0; i < n; i++)
	{
		/* libcurl writes Host itself, the same one from the URL */
		if (strcasecmp(headers[i].name, "host") != 0 &&
			ob_http_header(request, headers[i].name, headers[i].value,
						   error) != OB_OK)
			return error->code;
	}
	if (ob_http_header(request, "Authorization", authorization, error) !=
			OB_OK ||
		/* libcurl would ask for a 100 Continue above 1 MiB and wait for it */
		ob_http_header(request, "Expect", NULL, error) != OB_OK)
		return error->code;
	/* and would say that a POST is a form */
	if (strcmp(request->method, "POST") == 0)
	{
		bool given = false;

		for (int i = 0; i < n; i++)
			if (strcasecmp(headers[i].name, "content-type") == 0)
				given = true;
		if (!given)
			return ob_http_header(request, "Content-Type", NULL, error);
	}
	return OB_OK;
}

static ObCode
sign(ObS3Call *call, const char *host, const char *path, const char *query,
	 ObError *error)
{
	ObS3 *s3 = call->s3;
	const ObCredentials *credentials;
	time_t now = time(NULL);
	char stamp[17];
	ObPair headers[HEADERS_MAX];
	int n = 0;
	ObBuf authorization;
	ObSignRequest sign_request;
	ObCode code;

	if (call->nheaders + 4 > HEADERS_MAX)
		return ob_error_set(error, OB_EINVAL, "too many object headers");
	if (ob_provider_poll(s3->provider, error) == OB_PROVIDER_FAILED)
		return error->code;
	credentials = ob_provider_get(s3->provider);
	if (!credentials)
		return ob_error_set(error, OB_ECREDS, "there are no credentials yet");
	ob_sigv4_timestamp(now, stamp);
	headers[n++] = (ObPair){"host", host};
	headers[n++] = (ObPair){"x-amz-content-sha256", call->payload_hash};
	headers[n++] = (ObPair){"x-amz-date", stamp};
	if (credentials->session_token)
		headers[n++] =
			(ObPair){"x-amz-security-token", credentials->session_token};
	for (int i = 0; i < call->nheaders; i++)
		headers[n++] = call->headers[i];

	sign_request = (ObSignRequest){
		call->request.method, path,       query, headers, n,
		call->payload_hash,   s3->region, "s3",  now,     false};
	ob_buf_init(&authorization, 16 * 1024);
	code = ob_sigv4_sign(&s3->signing_key, credentials, &sign_request, NULL,
						 NULL, &authorization, error);
	if (code == OB_OK)
		code = add_headers(call, headers, n, authorization.data, error);
	ob_buf_free(&authorization);
	return code;
}

/* The request's prepare callback. */
static ObCode
prepare(ObHttpRequest *request, ObError *error)
{
	ObS3Call *call = request->arg;
	const ObEndpoint *endpoint = &call->s3->endpoint;
	ObBuf host, path, query;
	ObCode code = OB_OK;

	if (call->payload_hash[0] == '\0')
		code = ob_sha256_hex(request->body ? request->body : "",
							 request->body_len, call->payload_hash, error);
	ob_buf_init(&host, HOST_MAX);
	ob_buf_init(&path, PATH_MAX_LEN);
	ob_buf_init(&query, QUERY_MAX);
	ob_uri_target(endpoint, call->s3->addressing, call->bucket, call->key,
				  &host, &path);
	build_query(call, &query);
	if (code == OB_OK)
		code = ob_buf_check(&host, error);
	if (code == OB_OK)
		code = ob_buf_check(&path, error);
	if (code == OB_OK)
		code = ob_buf_check(&query, error);
	if (code == OB_OK)
	{
		ob_buf_addf(&request->url, "%s://%s%s%s%s",
					endpoint->https ? "https" : "http", host.data, path.data,
					query.len > 0 ? "?" : "", query.data);
		code = sign(call, host.data, path.data, query.data, error);
	}
	ob_buf_free(&host);
	ob_buf_free(&path);
	ob_buf_free(&query);
	return code;
}

/* ---- the answer ---- */

static void
say_what(ObS3Call *call)
{
	char part[32] = "";

	if (call->verb == OB_S3_UPLOAD_PART)
		snprintf(part, sizeof(part), " part %d of", call->part_number);
	ob_error_what(&call->error, "%s%s \"s3://%s%s%s\"", verbs[call->verb].what,
				  part, call->bucket, call->key ? "/" : "",
				  call->key ? call->key : "");
}

static void
end_call(ObS3Call *call)
{
	call->error.attempts = call->retry.attempts;
	if (call->error.code != OB_OK)
		say_what(call);
	call->done(call);
}

/* Whether we can only guess what the server did. */
static bool
is_unclear(const ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	if (call->verb != OB_S3_COMPLETE)
		return false;
	if (failure->http_status == 0)
		/* (with a status, an answer came that was too much for our memory) */
		return call->request.status > 0 ||
			   (failure->code != OB_ETLS && failure->code != OB_ENOMEM &&
				failure->code != OB_EINVAL);
	if (failure->code == OB_EPROTO)
		return true;
	/* it may have been done by the try before this one, which libcurl has made
	 * if a connection died that was used before: it then sends once more */
	if (strcmp(xml->code, "NoSuchUpload") == 0 ||
		(failure->http_status == 404 && xml->code[0] == '\0'))
		return true;
	return failure->http_status >= 500 && xml->code[0] == '\0';
}

/* A try failed: again, or for good. */
static void
fail(ObS3Call *call, const ObError *failure, ObRetryClass class,
	 const ObXmlError *xml)
{
	ObS3 *s3 = call->s3;
	ObRetryPolicy policy = {call->max_attempts, s3->retry_deadline_ms};
	char header[64];
	int64_t after = -1;
	int64_t delay;

	if (is_unclear(call, failure, xml))
	{
		call->retry.attempts++;
		call->error = *failure;
		call->error.code = OB_EUNKNOWN;
		end_call(call);
		return;
	}
	if (ob_http_response_header(&call->request, "Retry-After", header,
								sizeof(header)))
		after = ob_retry_after(header);
	if (ob_retry_next(&policy, &call->retry, class, ob_http_now_ms(), after,
					  next_random(s3), &delay))
	{
		s3->retries++;
		ob_http_start(s3->http, &call->request, delay);
		return;
	}
	call->error = *failure;
	end_call(call);
}

static void
fail_transport(ObS3Call *call)
{
	const ObHttpRequest *request = &call->request;
	static const ObXmlError none;

	if (request->sent && request->status == 0)
		call->uncertain = true;
	fail(call, &request->error,
		 request->final ? OB_RETRY_FINAL
						: ob_retry_transport_class(request->error.code),
		 &none);
}

/* The server answered with an error: a status, an <Error>, or both. */
static void
fail_answer(ObS3Call *call, const ObXmlError *xml)
{
	const ObHttpRequest *request = &call->request;
	ObError failure;

	ob_error_clear(&failure);
	failure.http_status = request->status;
	ob_error_copy(failure.s3_code, sizeof(failure.s3_code), xml->code,
				  strlen(xml->code));
	ob_error_copy(failure.region, sizeof(failure.region), xml->region,
				  strlen(xml->region));
	ob_error_copy(failure.request_id, sizeof(failure.request_id),
				  xml->request_id, strlen(xml->request_id));
	if (failure.region[0] == '\0')
		ob_http_response_header(request, "x-amz-bucket-region", failure.region,
								sizeof(failure.region));
	if (failure.request_id[0] == '\0')
		ob_http_response_header(request, "x-amz-request-id",
								failure.request_id,
								sizeof(failure.request_id));
	ob_error_set(&failure, ob_retry_code(request->status, xml->code),
				 "S3 answered HTTP %d%s%s%s%s", request->status,
				 xml->code[0] ? " " : "", xml->code,
				 xml->message[0] ? ": " : "", xml->message);
	fail(call, &failure, ob_retry_class(request->status, xml->code), xml);
}

/* A success that is not one: what came cannot be from S3, or is cut. */
static void
fail_protocol(ObS3Call *call, const char *cause)
{
	static const ObXmlError none;
	ObError failure;

	ob_error_clear(&failure);
	failure.http_status = call->request.status;
	ob_http_response_header(&call->request, "x-amz-request-id",
							failure.request_id, sizeof(failure.request_id));
	ob_error_set(&failure, OB_EPROTO, "%s", cause);
	/* cut answers happen: tried again, but not for long */
	fail(call, &failure,
		 call->retry.attempts < 2 ? OB_RETRY_TRANSIENT : OB_RETRY_FINAL,
		 &none);
}

static void
read_complete(ObS3Call *call)
{
	const ObBuf *body = &call->request.response;
	ObXmlError xml;

	memset(&xml, 0, sizeof(xml));
	switch (ob_xml_read_complete(body->data, body->len, &xml))
	{
		case OB_COMPLETE_DONE:
			end_call(call);
			return;
		case OB_COMPLETE_ERROR:
			fail_answer(call, &xml);
			return;
		case OB_COMPLETE_UNCLEAR:
			fail_protocol(call, "the answer is not one to "
								"CompleteMultipartUpload");
			return;
	}
}

static void
read_create(ObS3Call *call)
{
	const ObBuf *body = &call->request.response;
	ObError error;
	ObXmlError xml;

	ob_error_clear(&error);
	if (ob_xml_read_create(body->data, body->len, call->new_id,
						   sizeof(call->new_id), &error) == OB_OK)
	{
		end_call(call);
		return;
	}
	memset(&xml, 0, sizeof(xml));
	ob_error_clear(&error);
	if (ob_xml_read_error(body->data, body->len, &xml, &error) == OB_OK)
		fail_answer(call, &xml);
	else
		fail_protocol(call, "the answer is not one to "
							"CreateMultipartUpload");
}

static void
read_head(ObS3Call *call)
{
	char length[32];

	call->content_length = -1;
	if (ob_http_response_header(&call->request, "Content-Length", length,
								sizeof(length)))
		call->content_length = strtoll(length, NULL, 10);
	if (!ob_http_response_header(&call->request, OB_S3_MARKER, call->marker,
								 sizeof(call->marker)))
		call->marker[0] = '\0';
	end_call(call);
}

static void
read_success(ObS3Call *call)
{
	switch (call->verb)
	{
		case OB_S3_COMPLETE:
			read_complete(call);
			return;
		case OB_S3_CREATE:
			read_create(call);
			return;
		case OB_S3_HEAD:
			read_head(call);
			return;
		case OB_S3_PUT_OBJECT:
		case OB_S3_UPLOAD_PART:
			if (!ob_http_response_header(&call->request, "ETag", call->etag,
										 sizeof(call->etag)) ||
				call->etag[0] == '\0')
			{
				fail_protocol(call, "the answer has no ETag");
				return;
			}
			end_call(call);
			return;
		default:
			end_call(call);
			return;
	}
}

/* The request's done callback. */
static void
on_done(ObHttpRequest *request)
{
	ObS3Call *call = request->arg;
	ObXmlError xml;
	ObError ignored;

	if (request->error.code != OB_OK)
	{
		fail_transport(call);
		return;
	}
	if (request->status >= 200 && request->status < 300)
	{
		read_success(call);
		return;
	}
	ob_error_clear(&ignored);
	memset(&xml, 0, sizeof(xml));
	if (ob_xml_read_error(request->response.data, request->response.len, &xml,
						  &ignored) != OB_OK)
		memset(&xml, 0, sizeof(xml)); /* a proxy's HTML: the status decides */
	if (call->verb == OB_S3_ABORT && request->status == 404 &&
		strcmp(xml.code, "NoSuchBucket") != 0)
	{
		call->error.http_status = 404;
		end_call(call);
		return;
	}
	fail_answer(call, &xml);
}

/* ---- calls ---- */

void
ob_s3_call_init(ObS3Call *call, ObS3 *s3, void (*done)(ObS3Call *call),
				void *arg)
{
	memset(call, 0, sizeof(*call));
	call->s3 = s3;
	call->done = done;
	call->arg = arg;
	ob_http_request_init(&call->request);
	call->request.arg = call;
	call->request.prepare = prepare;
	call->request.done = on_done;
	/* 10,000 parts with their ETags take about 1 MB */
	ob_buf_init(&call->document, 8 * 1024 * 1024);
}

void
ob_s3_call_free(ObS3Call *call)
{
	ob_http_request_free(&call->request);
	ob_buf_free(&call->document);
}

void
ob_s3_call_cancel(ObS3Call *call)
{
	ob_http_cancel(call->s3->http, &call->request);
}

bool
ob_s3_call_running(const ObS3Call *call)
{
	return ob_http_running(&call->request);
}

static void
start(ObS3Call *call, ObS3Verb verb, const char *bucket, const char *key,
	  const char *body, size_t len, const char *sha256)
{
	ObHttpRequest *request = &call->request;

	call->verb = verb;
	call->bucket = bucket;
	call->key = key;
	call->max_attempts = verbs[verb].max_attempts;
	snprintf(call->payload_hash, sizeof(call->payload_hash), "%s",
			 sha256 ? sha256 : "");
	call->uncertain = false;
	call->etag[0] = '\0';
	call->new_id[0] = '\0';
	call->marker[0] = '\0';
	memset(&call->retry, 0, sizeof(call->retry));
	ob_error_clear(&call->error);
	request->method = verbs[verb].method;
	request->body = body;
	request->body_len = len;
	request->response_max = (size_t) verbs[verb].response_max;
	/* S3 may work on a Complete for minutes before it says a word */
	request->stall_timeout_ms = verb == OB_S3_COMPLETE ? COMPLETE_STALL_MS : 0;
	ob_http_start(call->s3->http, request, 0);
}

/* Forgets what another verb has left in a call that is used again. */
static void
clear_target(ObS3Call *call)
{
	call->upload_id = NULL;
	call->prefix = NULL;
	call->key_marker = NULL;
	call->id_marker = NULL;
	call->headers = NULL;
	call->nheaders = 0;
}

void
ob_s3_put_object(ObS3Call *call, const char *bucket, const char *key,
				 const ObPair *headers, int nheaders, const char *body,
				 size_t len, const char *sha256)
{
	clear_target(call);
	call->headers = headers;
	call->nheaders = nheaders;
	start(call, OB_S3_PUT_OBJECT, bucket, key, body, len, sha256);
}

void
ob_s3_create(ObS3Call *call, const char *bucket, const char *key,
			 const ObPair *headers, int nheaders)
{
	clear_target(call);
	call->headers = headers;
	call->nheaders = nheaders;
	start(call, OB_S3_CREATE, bucket, key, NULL, 0, OB_SHA256_EMPTY);
}

void
ob_s3_upload_part(ObS3Call *call, const char *bucket, const char *key,
				  const char *upload_id, int part_number, const char *body,
				  size_t len, const char *sha256)
{
	clear_target(call);
	call->upload_id = upload_id;
	call->part_number = part_number;
	start(call, OB_S3_UPLOAD_PART, bucket, key, body, len, sha256);
}

void
ob_s3_complete(ObS3Call *call, const char *bucket, const char *key,
			   const char *upload_id, char *const *etags, int nparts)
{
	clear_target(call);
	call->upload_id = upload_id;
	ob_buf_reset(&call->document);
	ob_xml_write_complete(&call->document, etags, nparts);
	if (call->document.failed)
	{
		call->verb = OB_S3_COMPLETE;
		call->bucket = bucket;
		call->key = key;
		ob_error_clear(&call->error);
		ob_error_set(&call->error, OB_ENOMEM, "out of memory");
		end_call(call);
		return;
	}
	start(call, OB_S3_COMPLETE, bucket, key, call->document.data,
		  call->document.len, NULL);
}

void
ob_s3_abort(ObS3Call *call, const char *bucket, const char *key,
			const char *upload_id)
{
	clear_target(call);
	call->upload_id = upload_id;
	start(call, OB_S3_ABORT, bucket, key, NULL, 0, OB_SHA256_EMPTY);
}

void
ob_s3_head(ObS3Call *call, const char *bucket, const char *key)
{
	clear_target(call);
	start(call, OB_S3_HEAD, bucket, key, NULL, 0, OB_SHA256_EMPTY);
}

void
ob_s3_list_parts(ObS3Call *call, const char *bucket, const char *key,
				 const char *upload_id)
{
	clear_target(call);
	call->upload_id = upload_id;
	start(call, OB_S3_LIST_PARTS, bucket, key, NULL, 0, OB_SHA256_EMPTY);
}

void
ob_s3_list_uploads(ObS3Call *call, const char *bucket, const char *prefix,
				   const char *key_marker, const char *id_marker)
{
	clear_target(call);
	call->prefix = prefix;
	call->key_marker = key_marker;
	call->id_marker = id_marker;
	start(call, OB_S3_LIST_UPLOADS, bucket, NULL, NULL, 0, OB_SHA256_EMPTY);
}

void
ob_s3_head_bucket(ObS3Call *call, const char *bucket)
{
	clear_target(call);
	start(call, OB_S3_HEAD_BUCKET, bucket, NULL, NULL, 0, OB_SHA256_EMPTY);
}

void
ob_s3_get_encryption(ObS3Call *call, const char *bucket)
{
	clear_target(call);
	start(call, OB_S3_GET_ENCRYPTION, bucket, NULL, NULL, 0, OB_SHA256_EMPTY);
}
