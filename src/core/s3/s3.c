/*
 * s3.c
 *		S3's verbs: signed, retried, and read back.
 *
 * src/core/s3/s3.c
 *
 * This file has the client and starts calls; s3_intern.h lists the files for
 * the rest of a call's life.
 */
#include "core/s3/s3.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/text.h"
#include "core/s3/s3_intern.h"

#define SECRETS_MAX ((size_t) 64 * 1024)

/* ---- the client ---- */

static bool
same_endpoint(const ObEndpoint *a, const ObEndpoint *b)
{
	return a->https == b->https && a->aws == b->aws && a->port == b->port &&
		   a->variant == b->variant && ob_text_equal(a->host, b->host) &&
		   ob_text_equal(a->base, b->base);
}

/* Returns whether the host depends on the region. */
static bool
is_regional(const ObS3Options *options)
{
	ObEndpoint endpoint;
	ObError ignored;

	ob_error_clear(&ignored);
	return options->region &&
		   ob_endpoint_service(&endpoint, "s3", options->region,
							   options->endpoint.variant, &ignored) == OB_OK &&
		   same_endpoint(&endpoint, &options->endpoint);
}

ObS3 *
ob_s3_new(const ObS3Options *options, ObError *error)
{
	ObS3 *s3 = calloc(1, sizeof(ObS3));
	ObCredentialsOptions credentials = options->credentials;

	if (!s3)
	{
		ob_error_set(error, OB_ENOMEM, "out of memory");
		return NULL;
	}
	s3->given_endpoint = s3->endpoint = options->endpoint;
	s3->regional = is_regional(options);
	s3->addressing = options->addressing;
	s3->retry_deadline_ms = options->retry_deadline_ms;
	s3->connect_timeout_ms = options->http.connect_timeout_ms;
	s3->stall_timeout_ms = options->http.stall_timeout_ms;
	s3->max_connections = options->http.max_connections;
	s3->content_md5 = options->content_md5;
	if (ob_text_copy(&s3->ca_file, options->http.ca_file, error) == OB_OK &&
		ob_text_copy(&s3->proxy, options->http.proxy, error) == OB_OK &&
		ob_text_copy(&s3->given_region, options->region, error) == OB_OK)
		s3->http = ob_http_new(&options->http, error);
	if (s3->http)
	{
		credentials.variant = options->endpoint.variant;
		credentials.store_is_aws = options->endpoint.aws;
		s3->provider = ob_provider_new(s3->http, &credentials, error);
	}
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
	free(s3->given_region);
	free(s3);
}

bool
ob_s3_matches(const ObS3 *s3, const ObS3Options *options)
{
	const ObHttpOptions *http = &options->http;

	return same_endpoint(&s3->given_endpoint, &options->endpoint) &&
		   s3->addressing == options->addressing &&
		   s3->retry_deadline_ms == options->retry_deadline_ms &&
		   s3->connect_timeout_ms == http->connect_timeout_ms &&
		   s3->stall_timeout_ms == http->stall_timeout_ms &&
		   s3->max_connections == http->max_connections &&
		   ob_text_equal(s3->ca_file, http->ca_file) &&
		   ob_text_equal(s3->proxy, http->proxy) &&
		   ob_text_equal(s3->given_region, options->region) &&
		   ob_provider_matches(s3->provider, &options->credentials);
}

void
ob_s3_reset(ObS3 *s3)
{
	ob_provider_reset(s3->provider);
	ob_outage_forget(s3);
}

ObProvider *
ob_s3_provider(const ObS3 *s3)
{
	return s3->provider;
}

const ObEndpoint *
ob_s3_endpoint(const ObS3 *s3)
{
	return &s3->endpoint;
}

bool
ob_s3_content_md5(const ObS3 *s3)
{
	return s3->content_md5;
}

bool
ob_s3_clock_skew(const ObS3 *s3, int64_t *seconds)
{
	*seconds = s3->clock_skew;
	return s3->clock_known;
}

int64_t
ob_s3_clock_offset(const ObS3 *s3)
{
	return s3->clock_offset;
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

/* ---- calls ---- */

/* The prepare callback of a call's request. */
static ObCode
prepare(ObHttpRequest *request, ObError *error)
{
	ObS3Call *call = request->arg;

	if (ob_outage_holds(call))
		return ob_error_set(error, OB_ECONNECT, "the store is unavailable");
	return ob_s3_build(call, error);
}

/* Called when there are credentials, or the fetch has failed. */
static void
wake(ObProviderWait *wait)
{
	ob_s3_try(wait->arg, 0);
}

void
ob_s3_call_init(ObS3Call *call, ObS3 *s3, void (*done)(ObS3Call *call),
				void *arg)
{
	memset(call, 0, sizeof(*call));
	call->s3 = s3;
	call->done = done;
	call->arg = arg;
	call->checksum = OB_CHECKSUM_SHA256;
	call->wait.wake = wake;
	call->wait.arg = call;
	ob_http_request_init(&call->request, prepare, ob_s3_on_response, call);
	ob_buf_init(&call->secrets, SECRETS_MAX);
	/* 10,000 parts with their ETags take about 1 MB */
	ob_buf_init(&call->document, 8 * 1024 * 1024);
}

void
ob_s3_call_cancel(ObS3Call *call)
{
	ob_outage_leave(call);
	ob_provider_cancel(call->s3->provider, &call->wait);
	ob_http_cancel(call->s3->http, &call->request);
}

void
ob_s3_call_free(ObS3Call *call)
{
	if (call->s3)
		ob_s3_call_cancel(call);
	ob_http_request_free(&call->request);
	ob_buf_free(&call->document);
	/* a call of zeros was never initialised */
	if (call->secrets.data)
		ob_buf_wipe(&call->secrets);
	ob_leaks_free(&call->leaks);
}

bool
ob_s3_call_running(const ObS3Call *call)
{
	return call->held || call->wait.waiting || ob_http_running(&call->request);
}

void
ob_s3_call_last_try(ObS3Call *call)
{
	call->max_attempts = 1;
	call->renewed = call->clock_set = call->relocated = call->located = true;
}

static void
start(ObS3Call *call, ObS3Verb verb, const char *bucket, const char *key,
	  const char *body, size_t len, const char *sha256)
{
	call->verb = verb;
	call->bucket = bucket;
	call->key = key;
	call->max_attempts = ob_s3_verbs[verb].max_attempts;
	call->body = body;
	call->body_len = len;
	snprintf(call->payload_hash, sizeof(call->payload_hash), "%s",
			 sha256 ? sha256 : "");
	call->md5[0] = '\0';
	call->uncertain = call->doubtful = false;
	call->etag[0] = '\0';
	call->new_id[0] = '\0';
	call->marker[0] = '\0';
	call->spent = 0;
	call->locating = false;
	call->renewed = false;
	call->clock_set = false;
	call->relocated = false;
	call->located = false;
	memset(&call->retry, 0, sizeof(call->retry));
	ob_error_clear(&call->error);
	ob_s3_try(call, call->delay_ms);
}

/* Starts a request without a body. */
static void
start_empty(ObS3Call *call, ObS3Verb verb, const char *bucket, const char *key)
{
	start(call, verb, bucket, key, NULL, 0, OB_SHA256_EMPTY);
}

/* Clears what another verb has left in a call that is reused. */
static void
clear_target(ObS3Call *call)
{
	call->upload_id = NULL;
	call->prefix = NULL;
	call->key_marker = NULL;
	call->id_marker = NULL;
	call->encode = false;
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
	start_empty(call, OB_S3_CREATE, bucket, key);
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
			   const char *upload_id, const ObUploadPart *parts, int nparts)
{
	clear_target(call);
	call->upload_id = upload_id;
	ob_buf_reset(&call->document);
	ob_xml_write_complete(&call->document, parts, nparts);
	start(call, OB_S3_COMPLETE, bucket, key, call->document.data,
		  call->document.len, NULL);
}

void
ob_s3_abort(ObS3Call *call, const char *bucket, const char *key,
			const char *upload_id)
{
	clear_target(call);
	call->upload_id = upload_id;
	start_empty(call, OB_S3_ABORT, bucket, key);
}

void
ob_s3_head(ObS3Call *call, const char *bucket, const char *key)
{
	clear_target(call);
	start_empty(call, OB_S3_HEAD, bucket, key);
}

void
ob_s3_get_object(ObS3Call *call, const char *bucket, const char *key)
{
	clear_target(call);
	start_empty(call, OB_S3_GET_OBJECT, bucket, key);
}

void
ob_s3_sum_object(ObS3Call *call, const char *bucket, const char *key)
{
	clear_target(call);
	start_empty(call, OB_S3_SUM_OBJECT, bucket, key);
}

void
ob_s3_delete_object(ObS3Call *call, const char *bucket, const char *key)
{
	clear_target(call);
	start_empty(call, OB_S3_DELETE_OBJECT, bucket, key);
}

void
ob_s3_list_parts(ObS3Call *call, const char *bucket, const char *key,
				 const char *upload_id)
{
	clear_target(call);
	call->upload_id = upload_id;
	start_empty(call, OB_S3_LIST_PARTS, bucket, key);
}

void
ob_s3_list_uploads(ObS3Call *call, const char *bucket, const char *prefix,
				   const char *key_marker, const char *id_marker, bool encode)
{
	clear_target(call);
	call->encode = encode;
	call->prefix = prefix;
	call->key_marker = key_marker;
	call->id_marker = id_marker;
	start_empty(call, OB_S3_LIST_UPLOADS, bucket, NULL);
}

void
ob_s3_head_bucket(ObS3Call *call, const char *bucket)
{
	clear_target(call);
	start_empty(call, OB_S3_HEAD_BUCKET, bucket, NULL);
}

void
ob_s3_get_encryption(ObS3Call *call, const char *bucket)
{
	clear_target(call);
	start_empty(call, OB_S3_GET_ENCRYPTION, bucket, NULL);
}
