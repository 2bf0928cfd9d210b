/*
 * s3_request.c
 *		A try of a call to S3: building, signing and sending it.
 *
 * src/core/s3/s3_request.c
 *
 * Each try is built when it is sent, with the credentials, the region and the
 * clock of that moment.  A table describes each verb's request.
 */
#include "core/s3/s3_intern.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HOST_MAX 512
#define PATH_MAX_LEN (OB_KEY_MAX * 3 + 1024)
#define QUERY_MAX (OB_KEY_MAX * 6 + OB_UPLOAD_ID_MAX * 6)
#define HEADERS_MAX 96 /* an object may have 50 metadata headers */
#define UNSIGNED_PAYLOAD "UNSIGNED-PAYLOAD"
#define LIST_RESPONSE_MAX (8 * 1024 * 1024)
#define RESPONSE_MAX (64 * 1024)
#define OBJECT_RESPONSE_MAX (16 * 1024 * 1024)
/* S3 may process a Complete for minutes before it sends the first byte. */
#define COMPLETE_TIMEOUT_MS (15 * 60 * 1000)
/* The time for other requests, which grows with each 64 KiB of the body, and
 * of what may come. */
#define TIMEOUT_MS (120 * 1000)
#define TIMEOUT_MS_PER_64_KIB 1000

const ObS3VerbInfo ob_s3_verbs[] = {
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
							  "could not read the encryption of"},
	[OB_S3_GET_OBJECT] = {"GET", 8, OBJECT_RESPONSE_MAX, "could not read"},
	[OB_S3_SUM_OBJECT] = {"GET", 8, RESPONSE_MAX, "could not read"},
	[OB_S3_DELETE_OBJECT] = {"DELETE", 8, RESPONSE_MAX, "could not delete"},
};

const char *
ob_s3_region(const ObS3 *s3)
{
	return s3->corrected_region[0] ? s3->corrected_region : s3->given_region;
}

/* ---- the query ---- */

static void
build_query(const ObS3Call *call, ObBuf *query)
{
	ObPair pairs[6];
	int n = 0;
	char number[16];

	if (call->locating)
		return;
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
		if (call->encode)
			ADD("encoding-type", "url");
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

/* ---- headers ---- */

static ObCode
add_headers(ObS3Call *call, const ObPair *headers, int n,
			const char *authorization, ObError *error)
{
	ObHttpRequest *request = &call->request;

	for (int i = 0; i < n; i++)
	{
		/* libcurl writes the same Host header itself, from the URL */
		if (strcasecmp(headers[i].name, "host") != 0 &&
			ob_http_header(request, headers[i].name, headers[i].value,
						   error) != OB_OK)
			return error->code;
	}
	if (ob_http_header(request, "Authorization", authorization, error) !=
			OB_OK ||
		/* libcurl would expect a 100 Continue above 1 MiB and wait for it */
		ob_http_header(request, "Expect", NULL, error) != OB_OK)
		return error->code;
	/* libcurl would declare a POST to be a form */
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

/* All headers of a request, before they are signed. */
typedef struct HeaderList
{
	ObPair pairs[HEADERS_MAX];
	int n;
	bool full;
	char stamp[17];
	char crc32[OB_CRC32_TEXT];
	char size[24];
} HeaderList;

static void
add(HeaderList *list, const char *name, const char *value)
{
	if (list->n == HEADERS_MAX)
		list->full = true;
	else
		list->pairs[list->n++] = (ObPair){name, value};
}

static bool
writes_object(const ObS3Call *call)
{
	return call->verb == OB_S3_PUT_OBJECT || call->verb == OB_S3_COMPLETE;
}

/* Adds the CRC of the try's body, or of the object that it completes. */
static void
add_checksum(const ObS3Call *call, HeaderList *list)
{
	if (call->checksum != OB_CHECKSUM_CRC32)
		return;
	if (call->verb == OB_S3_CREATE)
		add(list, "x-amz-checksum-algorithm", "CRC32");
	if (call->verb == OB_S3_CREATE || call->verb == OB_S3_COMPLETE)
		add(list, "x-amz-checksum-type", "FULL_OBJECT");
	if (writes_object(call) || call->verb == OB_S3_UPLOAD_PART)
	{
		ob_crc32_text(call->crc32, list->crc32);
		add(list, "x-amz-checksum-crc32", list->crc32);
	}
}

bool
ob_s3_sends_data(const ObS3Call *call)
{
	return call->verb == OB_S3_PUT_OBJECT || call->verb == OB_S3_UPLOAD_PART;
}

static void
add_own(const ObS3Call *call, HeaderList *list)
{
	for (int i = 0; i < call->nheaders; i++)
		add(list, call->headers[i].name, call->headers[i].value);
	add_checksum(call, list);
	if (call->md5[0] != '\0')
		add(list, "Content-MD5", call->md5);
	if (call->verb == OB_S3_COMPLETE && call->object_size > 0)
	{
		snprintf(list->size, sizeof(list->size), "%llu",
				 (unsigned long long) call->object_size);
		add(list, "x-amz-mp-object-size", list->size);
	}
	if (call->if_none_match && writes_object(call))
		add(list, "If-None-Match", "*");
}

static ObCode
list_headers(const ObS3Call *call, const ObCredentials *credentials,
			 const char *host, const char *payload_hash, HeaderList *list,
			 ObError *error)
{
	list->n = 0;
	list->full = false;
	ob_sigv4_timestamp((time_t) call->signed_at, list->stamp);
	add(list, "host", host);
	add(list, "x-amz-content-sha256", payload_hash);
	add(list, "x-amz-date", list->stamp);
	if (credentials->session_token)
		add(list, "x-amz-security-token", credentials->session_token);
	if (!call->locating)
		add_own(call, list);
	for (int i = 0; i < call->ncommon; i++)
		add(list, call->common[i].name, call->common[i].value);
	if (list->full)
		return ob_error_set(error, OB_EINVAL, "too many object headers");
	return OB_OK;
}

/* ---- signing ---- */

/* Computes the value of Content-MD5. */
static ObCode
compute_md5(ObS3Call *call, ObError *error)
{
	if (call->md5[0] != '\0' || !ob_s3_sends_data(call) ||
		(call->checksum != OB_CHECKSUM_MD5 && !call->s3->content_md5) ||
		ob_md5_text(call->body ? call->body : "", call->body_len, call->md5))
		return OB_OK;
	return ob_error_set(error, OB_EINVAL,
						"this host's OpenSSL has no MD5, which %s",
						call->s3->content_md5 ? "the store asks for"
											  : "the checksum would be");
}

/* Computes the value of x-amz-content-sha256. */
static ObCode
hash_payload(ObS3Call *call, ObError *error)
{
	if (ob_s3_sends_data(call) &&
		!ob_checksum_is_signed(call->checksum, call->s3->endpoint.https))
		strcpy(call->payload_hash, UNSIGNED_PAYLOAD);
	if (call->payload_hash[0] != '\0')
		return OB_OK;
	return ob_sha256_hex(call->body ? call->body : "", call->body_len,
						 call->payload_hash, error);
}

/* Notes the secrets that the try sends or is signed with: no error may repeat
 * them. */
static void
note_secrets(ObS3Call *call, const ObCredentials *credentials,
			 const char *authorization)
{
	const char *signature = strstr(authorization, "Signature=");
	const char *secrets[] = {credentials->access_key_id,
							 credentials->secret_access_key,
							 credentials->session_token,
							 signature ? strchr(signature, '=') + 1 : NULL};

	if (call->secrets.data)
		ob_buf_wipe(&call->secrets);
	ob_leaks_free(&call->leaks);
	call->leaks_known = false;
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		if (secrets[i])
			ob_buf_add(&call->secrets, secrets[i], strlen(secrets[i]) + 1);
}

bool
ob_s3_repeats_secret(ObS3Call *call, const char *text)
{
	const ObBuf *secrets = &call->secrets;

	if (!call->leaks_known)
		for (size_t at = 0; at < secrets->len;
			 at += strlen(secrets->data + at) + 1)
			ob_leaks_add(&call->leaks, secrets->data + at);
	call->leaks_known = true;
	return secrets->failed || ob_leaks_found(&call->leaks, text);
}

static ObCode
sign(ObS3Call *call, const ObCredentials *credentials, const char *host,
	 const char *path, const char *query, ObError *error)
{
	ObS3 *s3 = call->s3;
	const char *payload_hash =
		call->locating ? OB_SHA256_EMPTY : call->payload_hash;
	HeaderList list;
	ObSignRequest sign_request;
	ObBuf authorization;
	ObCode code;

	call->signed_at = (int64_t) time(NULL) + s3->clock_offset;
	snprintf(call->signer, sizeof(call->signer), "%s",
			 credentials->access_key_id);
	if (!call->locating)
		snprintf(call->signed_region, sizeof(call->signed_region), "%s",
				 ob_s3_region(s3));
	if (list_headers(call, credentials, host, payload_hash, &list, error) !=
		OB_OK)
		return error->code;
	sign_request = (ObSignRequest){call->request.method,
								   path,
								   query,
								   list.pairs,
								   list.n,
								   payload_hash,
								   ob_s3_region(s3),
								   "s3",
								   (time_t) call->signed_at,
								   false};
	ob_buf_init(&authorization, 16 * 1024);
	code = ob_sigv4_sign(&s3->signing_key, credentials, &sign_request, NULL,
						 NULL, &authorization, error);
	if (code == OB_OK)
		note_secrets(call, credentials, authorization.data);
	if (code == OB_OK)
		code =
			add_headers(call, list.pairs, list.n, authorization.data, error);
	ob_buf_wipe(&authorization);
	return code;
}

/* Returns NULL, with the error set, if there are no credentials, or none
 * yet. */
static const ObCredentials *
get_credentials(ObS3Call *call, ObError *error)
{
	ObProvider *provider = call->s3->provider;
	const ObCredentials *credentials = NULL;
	ObError failure;

	ob_error_clear(&failure);
	switch (ob_provider_poll(provider, &failure))
	{
		case OB_PROVIDER_READY:
			credentials = ob_provider_get(provider);
			break;
		case OB_PROVIDER_BUSY:
			call->no_credentials = true;
			break;
		case OB_PROVIDER_FAILED:
			/* an upload is aborted with the credentials that it was made with,
			 * if they are still known */
			if (call->verb == OB_S3_ABORT)
				credentials = ob_provider_get(provider);
			break;
	}
	if (!credentials && failure.code != OB_OK)
		*error = failure;
	else if (!credentials)
		ob_error_set(error, OB_ECREDS, "there are no credentials");
	return credentials;
}

static ObCode
write_request(ObS3Call *call, const ObCredentials *credentials, ObBuf *host,
			  ObBuf *path, ObBuf *query, ObError *error)
{
	const ObEndpoint *endpoint = &call->s3->endpoint;

	if (ob_buf_check(host, error) != OB_OK ||
		ob_buf_check(path, error) != OB_OK ||
		ob_buf_check(query, error) != OB_OK ||
		ob_buf_check(&call->document, error) != OB_OK)
		return error->code;
	ob_buf_addf(&call->request.url, "%s://%s%s%s%s",
				endpoint->https ? "https" : "http", host->data, path->data,
				query->len > 0 ? "?" : "", query->data);
	return sign(call, credentials, host->data, path->data, query->data, error);
}

ObCode
ob_s3_build(ObS3Call *call, ObError *error)
{
	const ObCredentials *credentials;
	ObBuf host, path, query;
	ObCode code;

	credentials = get_credentials(call, error);
	if (!credentials || hash_payload(call, error) != OB_OK ||
		compute_md5(call, error) != OB_OK)
		return error->code;
	ob_buf_init(&host, HOST_MAX);
	ob_buf_init(&path, PATH_MAX_LEN);
	ob_buf_init(&query, QUERY_MAX);
	ob_uri_target(&call->s3->endpoint, call->s3->addressing, call->bucket,
				  call->locating ? NULL : call->key, &host, &path);
	build_query(call, &query);
	code = write_request(call, credentials, &host, &path, &query, error);
	ob_buf_free(&host);
	ob_buf_free(&path);
	ob_buf_free(&query);
	return code;
}

/* ---- sending ---- */

ObS3Verb
ob_s3_try_verb(const ObS3Call *call)
{
	return call->locating ? OB_S3_HEAD_BUCKET : call->verb;
}

/* Returns the time-out of a try as a whole; len is the number of bytes that it
 * may take. */
static int
try_timeout(ObS3Verb verb, uint64_t len)
{
	uint64_t timeout = TIMEOUT_MS + len / (64 * 1024) * TIMEOUT_MS_PER_64_KIB;

	if (verb == OB_S3_COMPLETE)
		return COMPLETE_TIMEOUT_MS;
	return timeout < INT_MAX ? (int) timeout : INT_MAX;
}

/* The receive callback of a SumObject. */
static void
sum(ObHttpRequest *request, const char *data, size_t len)
{
	ObS3Call *call = request->arg;

	call->crc32 = ob_crc32(call->crc32, data, len);
	call->content_length += (int64_t) len;
}

static void
begin_sum(ObS3Call *call)
{
	call->crc32 = 0;
	call->content_length = 0;
	call->request.receive = sum;
	call->request.receive_max = call->sum_max;
}

void
ob_s3_try(ObS3Call *call, int64_t delay_ms)
{
	ObHttpRequest *request = &call->request;
	ObS3Verb verb = ob_s3_try_verb(call);

	request->method = ob_s3_verbs[verb].method;
	request->body = call->locating ? NULL : call->body;
	request->body_len = call->locating ? 0 : call->body_len;
	request->response_max = (size_t) ob_s3_verbs[verb].response_max;
	request->stall_timeout_ms =
		verb == OB_S3_COMPLETE ? COMPLETE_TIMEOUT_MS : 0;
	request->receive = NULL;
	if (verb == OB_S3_SUM_OBJECT)
		begin_sum(call);
	request->timeout_ms = try_timeout(
		verb, request->receive ? request->receive_max : request->body_len);
	ob_http_start(call->s3->http, request, delay_ms);
}
