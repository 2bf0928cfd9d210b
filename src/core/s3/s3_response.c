/*
 * s3_response.c
 *		The response to a try: reading it, and whether to try again.
 *
 * src/core/s3/s3_response.c
 *
 * A call recovers from four refusals, once from each: an expired session, a
 * bucket in another region, a wrong clock, a store that requires an MD5.  The
 * client keeps what it has found out for all later requests.  A response to
 * HEAD has no document, so recovery from it depends on the status alone.
 */
#include "core/s3/s3_intern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/random.h"
#include "core/text/timestamp.h"

/* The time for which resolving a host name is retried. */
#define RESOLVE_DEADLINE_MS 10000

/* A smaller difference cannot have caused the refusal, since S3 allows 15
 * minutes. */
#define SKEW_MIN_S 60
#define SKEW_MAX_S (14 * 60)

static void
set_what(ObS3Call *call)
{
	char part[32] = "";

	call->error.read_only = call->verb == OB_S3_HEAD ||
							call->verb == OB_S3_GET_OBJECT ||
							call->verb == OB_S3_SUM_OBJECT;
	if (call->verb == OB_S3_UPLOAD_PART)
		snprintf(part, sizeof(part), " part %d of", call->part_number);
	ob_error_what(&call->error, "%s%s \"s3://%s%s%s\"",
				  ob_s3_verbs[call->verb].what, part, call->bucket,
				  call->key ? "/" : "", call->key ? call->key : "");
}

/* Clears a field that repeats a secret. */
static void
clear_secret(ObS3Call *call, char *field)
{
	if (ob_s3_repeats_secret(call, field))
		field[0] = '\0';
}

/*
 * Removes the texts of the store and of libcurl that repeat a secret of the
 * request.  All texts are also checked together, since a secret may begin in
 * one and end in the next.
 */
static void
hide_secrets(ObS3Call *call)
{
	ObError *error = &call->error;
	char all[sizeof(error->cause) + sizeof(error->request_id) +
			 sizeof(error->region)];
	ObCode code = error->code;

	clear_secret(call, error->s3_code);
	clear_secret(call, error->request_id);
	clear_secret(call, error->region);
	snprintf(all, sizeof(all), "%s%s%s", error->cause, error->request_id,
			 error->region);
	if (!ob_s3_repeats_secret(call, all))
		return;
	error->request_id[0] = error->region[0] = '\0';
	error->code = OB_OK;
	if (error->http_status == 0)
		ob_error_set(
			error, code,
			"the cause is not shown, since it repeats a secret of the "
			"request");
	else
		ob_error_set(error, code,
					 "S3 answered HTTP %d%s%s; the rest is not shown, since "
					 "it repeats a secret of the request",
					 error->http_status, error->s3_code[0] ? " " : "",
					 error->s3_code);
}

static void
end_call(ObS3Call *call)
{
	call->error.attempts = call->retry.attempts;
	if (call->error.code == OB_OK)
		ob_outage_over(call->s3);
	ob_outage_leave(call);
	if (call->error.code != OB_OK)
	{
		hide_secrets(call);
		set_what(call);
	}
	else if (call->quota)
		ob_retry_quota_give(call->quota, call->spent);
	call->done(call);
}

static void
give_up(ObS3Call *call, const ObError *failure)
{
	call->error = *failure;
	end_call(call);
}

/* ---- what has failed ---- */

static void
describe_refusal(const ObS3Call *call, const ObXmlError *xml, ObError *failure)
{
	const ObHttpRequest *request = &call->request;

	ob_error_clear(failure);
	failure->http_status = request->status;
	ob_error_copy(failure->s3_code, sizeof(failure->s3_code), xml->code,
				  strlen(xml->code));
	/* the header is about the bucket, the document about the request */
	if (!ob_http_response_header(request, "x-amz-bucket-region",
								 failure->region, sizeof(failure->region)))
		ob_error_copy(failure->region, sizeof(failure->region), xml->region,
					  strlen(xml->region));
	ob_error_copy(failure->request_id, sizeof(failure->request_id),
				  xml->request_id, strlen(xml->request_id));
	if (failure->request_id[0] == '\0')
		ob_http_response_header(request, "x-amz-request-id",
								failure->request_id,
								sizeof(failure->request_id));
	ob_error_set(failure, ob_retry_code(request->status, xml->code),
				 "S3 answered HTTP %d%s%s%s%s", request->status,
				 xml->code[0] ? " " : "", xml->code,
				 xml->message[0] ? ": " : "", xml->message);
}

static ObRetryClass
transport_class(const ObS3Call *call)
{
	const ObHttpRequest *request = &call->request;

	return request->final ? OB_RETRY_FINAL
						  : ob_retry_transport_class(request->error.code,
													 ob_outage_reached(call));
}

/* ---- whether to try again ---- */

/* Returns whether the server may or may not have carried out the request. */
static bool
is_unclear(const ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	if (call->verb != OB_S3_COMPLETE)
		return false;
	/* a status beside an error: a response came that we could not read */
	if (failure->http_status == 0)
		return call->request.sent || call->request.status > 0;
	if (failure->code == OB_EPROTO)
		return true;
	/* an earlier transmission may have succeeded: libcurl sends a request
	 * again if a reused connection dies */
	if (strcmp(xml->code, "NoSuchUpload") == 0 ||
		(failure->http_status == 404 && xml->code[0] == '\0') ||
		(failure->code == OB_EEXISTS && call->if_none_match &&
		 strcmp(xml->code, "ConditionalRequestConflict") != 0))
		return true;
	return failure->http_status >= 500 && xml->code[0] == '\0';
}

static int64_t
read_pause(const ObS3Call *call, const char *name, int unit_ms)
{
	char value[64];

	if (!ob_http_response_header(&call->request, name, value, sizeof(value)))
		return -1;
	return ob_retry_after(value, unit_ms);
}

/* Returns the pause that the store asks for, in ms; -1: none. */
static int64_t
requested_pause(const ObS3Call *call)
{
	int64_t seconds = read_pause(call, "Retry-After", 1000);
	int64_t ms = read_pause(call, "x-amz-retry-after", 1);

	return seconds > ms ? seconds : ms;
}

/* Returns whether a failure looks like an outage: no response, or one of a
 * gateway.  A response of the store itself concerns the request. */
static bool
looks_unavailable(const ObError *failure, ObRetryClass class,
				  const ObXmlError *xml)
{
	int status = failure->http_status;

	if (class != OB_RETRY_TRANSIENT)
		return false;
	return status == 0 || (status >= 502 && status <= 504) ||
		   (status >= 500 && xml->code[0] == '\0');
}

/* Takes the cost of a try from the upload's quota.  Returns false, and says so
 * in the failure, if the quota is used up. */
static bool
take_quota(ObS3Call *call, ObError *failure, ObRetryClass class)
{
	size_t len = strlen(failure->cause);
	int taken;

	if (!call->quota || class == OB_RETRY_OUTAGE)
		return true;
	taken = ob_retry_quota_take(call->quota, class);
	call->spent += taken;
	if (taken == 0)
		snprintf(failure->cause + len, sizeof(failure->cause) - len,
				 "; it is not tried again, since too many requests of this "
				 "upload failed");
	return taken > 0;
}

/* Returns false if the failure is final. */
static bool
try_again(ObS3Call *call, ObError *failure, ObRetryClass class,
		  const ObXmlError *xml)
{
	ObS3 *s3 = call->s3;
	ObRetryPolicy policy = {call->max_attempts, s3->retry_deadline_ms, 0};
	bool away = looks_unavailable(failure, class, xml);
	int64_t delay;

	if (!away && failure->http_status > 0 && failure->http_status != 500)
		ob_outage_over(s3);
	if (away && ob_outage_failed(call))
	{
		class = OB_RETRY_OUTAGE;
		policy.probes = s3->outage.probes;
	}
	else if (call->request.unresolved &&
			 (policy.deadline_ms == 0 ||
			  policy.deadline_ms > RESOLVE_DEADLINE_MS))
		policy.deadline_ms = RESOLVE_DEADLINE_MS;
	if (!ob_retry_next(&policy, &call->retry, class, ob_http_now_ms(),
					   requested_pause(call), ob_random_fraction(), &delay) ||
		!take_quota(call, failure, class))
		return false;
	s3->retries++;
	if (class == OB_RETRY_THROTTLE && call->throttled)
		call->throttled(call);
	/* a kept connection may hold more of the invalid response */
	call->request.fresh = class == OB_RETRY_CORRUPT;
	if (class == OB_RETRY_OUTAGE)
		ob_outage_wait(call, delay);
	else
		ob_s3_try(call, delay);
	return true;
}

/*
 * Notes whether the server may have carried out a try that failed: the
 * response was lost, came from a gateway, or reported success, but is
 * unreadable; or the store reported an internal error.  Only a refusal, even
 * one within a 200, rules it out.
 */
static void
note_uncertainty(ObS3Call *call, ObRetryClass class, const ObXmlError *xml)
{
	const ObHttpRequest *request = &call->request;

	if (!request->sent || (request->status >= 300 && request->status < 500))
		return;
	if (xml->code[0] == '\0')
		call->uncertain = true;
	else if (request->status >= 500 || class != OB_RETRY_FINAL)
		call->doubtful = true;
}

/* Tries again after a failure, or ends the call. */
static void
fail(ObS3Call *call, ObError *failure, ObRetryClass class,
	 const ObXmlError *xml)
{
	note_uncertainty(call, class, xml);
	if (is_unclear(call, failure, xml))
	{
		call->retry.attempts++;
		failure->code = OB_EUNKNOWN;
		give_up(call, failure);
	}
	else if (!try_again(call, failure, class, xml))
		give_up(call, failure);
}

/* ---- recovering from a refusal ---- */

static bool
is_head(const ObS3Call *call)
{
	return call->verb == OB_S3_HEAD || call->verb == OB_S3_HEAD_BUCKET;
}

static bool
is_one_of(const char *code, const char *const *codes)
{
	for (; *codes; codes++)
		if (strcmp(code, *codes) == 0)
			return true;
	return false;
}

/* ---- recovering: credentials ---- */

static bool
renew_credentials(ObS3Call *call, const ObError *failure,
				  const ObXmlError *xml)
{
	static const char *const codes[] = {"ExpiredToken", "InvalidToken",
										"TokenRefreshRequired", NULL};

	if (call->renewed)
		return false;
	if (!is_one_of(xml->code, codes) &&
		!(is_head(call) && failure->http_status == 400))
		return false;
	call->renewed = true;
	return ob_provider_refused(call->s3->provider, call->signer);
}

/* ---- recovering: the clock ---- */

static int64_t
response_date(const ObS3Call *call)
{
	char text[64];

	if (!ob_http_response_header(&call->request, "Date", text, sizeof(text)))
		return 0;
	return (int64_t) ob_timestamp_parse_http(text);
}

static void
note_date(ObS3Call *call)
{
	int64_t date = response_date(call);

	if (date <= 0)
		return;
	call->s3->clock_known = true;
	call->s3->clock_skew = date - (int64_t) time(NULL);
}

static bool
set_clock(ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	ObS3 *s3 = call->s3;
	bool named = strcmp(xml->code, "RequestTimeTooSkewed") == 0;
	int64_t date = response_date(call);
	int64_t error;

	if (call->clock_set ||
		(!named && !(is_head(call) && failure->http_status == 403)))
		return false;
	if (date <= 0)
		date = (int64_t) xml->server_time;
	error = date - call->signed_at;
	if (date <= 0 || llabs(error) < (named ? SKEW_MIN_S : SKEW_MAX_S))
		return false;
	call->clock_set = true;
	s3->clock_offset = date - (int64_t) time(NULL);
	ob_provider_set_clock_offset(s3->provider, s3->clock_offset);
	return true;
}

/* ---- recovering: the region ---- */

/* Returns whether a redirect names another host than the request's. */
static bool
redirects_to_other_host(const ObS3Call *call)
{
	const ObHttpRequest *request = &call->request;
	char location[1024];
	size_t len;

	if (!ob_http_response_header(request, "Location", location,
								 sizeof(location)) ||
		strstr(location, "://") == NULL)
		return false;
	/* scheme, host and port */
	len = (size_t) (strstr(location, "://") - location) + 3;
	len += strcspn(location + len, "/?#");
	return strncasecmp(location, request->url.data, len) != 0 ||
		   strchr("/?#", request->url.data[len]) == NULL;
}

/* Returns true if further requests go to that region. */
static bool
switch_region(ObS3Call *call, const char *region)
{
	ObS3 *s3 = call->s3;
	ObEndpoint endpoint;
	ObError ignored;

	/* the region is shown in errors */
	if (!ob_region_is_valid(region) || ob_s3_repeats_secret(call, region))
		return false;
	/* a concurrent call may have set the client's region after this one was
	 * signed */
	if (strcmp(region, ob_s3_region(s3)) == 0)
		return strcmp(region, call->signed_region) != 0;
	if (s3->regional)
	{
		ob_error_clear(&ignored);
		if (ob_endpoint_service(&endpoint, "s3", region,
								s3->given_endpoint.variant, &ignored) != OB_OK)
			return false;
		s3->endpoint = endpoint;
	}
	strcpy(s3->corrected_region, region);
	return true;
}

static bool
is_in_other_region(const ObS3Call *call, const ObError *failure)
{
	if (failure->code == OB_EREGION)
		return call->s3->regional || !redirects_to_other_host(call);
	return is_head(call) && failure->http_status == 400 &&
		   failure->region[0] != '\0';
}

/* Returns true if another try follows, in another region or to look up the
 * region. */
static bool
relocate(ObS3Call *call, const ObError *failure)
{
	if (call->relocated || !is_in_other_region(call, failure))
		return false;
	if (failure->region[0] != '\0')
	{
		call->relocated = true;
		return switch_region(call, failure->region);
	}
	if (call->located || call->verb == OB_S3_HEAD_BUCKET)
		return false;
	/* the failure that is reported if the region stays unknown */
	call->error = *failure;
	call->located = true;
	call->locating = true;
	return true;
}

/* Describes why the HEAD did not find the region; OB_RETRY_FINAL if another
 * try would get the same response. */
static ObRetryClass
read_lookup(const ObS3Call *call, ObError *failure)
{
	static const ObXmlError none;
	const ObHttpRequest *request = &call->request;

	if (request->error.code == OB_OK)
	{
		describe_refusal(call, &none, failure);
		return ob_retry_class(request->status, "");
	}
	*failure = request->error;
	return transport_class(call);
}

static void
on_located(ObS3Call *call)
{
	static const ObXmlError none;
	ObError redirect = call->error;
	ObError failure;
	ObRetryClass class = read_lookup(call, &failure);

	call->locating = false;
	ob_error_clear(&call->error);
	if (call->request.status > 0 &&
		ob_http_response_header(&call->request, "x-amz-bucket-region",
								redirect.region, sizeof(redirect.region)) &&
		switch_region(call, redirect.region))
	{
		call->relocated = true;
		call->s3->retries++;
		ob_s3_try(call, 0);
	}
	else if (class == OB_RETRY_FINAL)
	{
		call->retry.attempts++;
		give_up(call, &redirect);
	}
	else
	{
		/* the region may be looked up again */
		call->located = false;
		if (!try_again(call, &failure, class, &none))
			give_up(call, &failure);
	}
}

/* ---- recovering: MD5 ---- */

/*
 * Stores require Content-MD5, or another checksum, with each body for locked
 * objects, and have no specific error code for that.  See
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock-managing.html
 */
static bool
add_md5(ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	if (failure->http_status != 400 || !ob_s3_sends_data(call) ||
		call->md5[0] != '\0' || !strcasestr(xml->message, "Content-MD5"))
		return false;
	call->s3->content_md5 = true;
	return true;
}

/* ---- recovering: all of them ---- */

static bool
recover(ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	/* a 400 without a code can mean two things; a region in the response is
	 * the more certain sign */
	if (!relocate(call, failure) && !renew_credentials(call, failure, xml) &&
		!set_clock(call, failure, xml) && !add_md5(call, failure, xml))
		return false;
	if (!call->locating)
		call->s3->retries++;
	ob_s3_try(call, 0);
	return true;
}

/* ---- failures ---- */

static void
fail_transport(ObS3Call *call)
{
	static const ObXmlError none;
	ObError failure = call->request.error;

	fail(call, &failure, transport_class(call), &none);
}

/* Returns whether S3 has refused one of two simultaneous writes, whether or
 * not the object exists.  A PutObject is retried, as AWS advises; a Complete
 * would need another upload. */
static bool
is_put_conflict(const ObS3Call *call, const ObXmlError *xml)
{
	return call->verb == OB_S3_PUT_OBJECT &&
		   strcmp(xml->code, "ConditionalRequestConflict") == 0;
}

/* Returns whether a truncated refusal lacks the error code that recovery
 * depends on: a 400 may concern a digest, the region or the time, while the
 * codes of other statuses hardly differ. */
static bool
lacks_error_code(const ObS3Call *call, const ObXmlError *xml)
{
	return call->request.truncated && call->request.status == 400 &&
		   xml->code[0] == '\0';
}

/* The server responded with an error: a status, an <Error>, or both. */
static void
fail_response(ObS3Call *call, const ObXmlError *xml)
{
	const ObHttpRequest *request = &call->request;
	ObRetryClass class = ob_retry_class(request->status, xml->code);
	ObError failure;

	if (is_put_conflict(call, xml) || lacks_error_code(call, xml))
		class = OB_RETRY_TRANSIENT;
	describe_refusal(call, xml, &failure);
	if (!recover(call, &failure, xml))
		fail(call, &failure, class, xml);
}

/* Fails a response that looked like a success. */
static void
fail_success(ObS3Call *call, ObRetryClass class, const char *cause)
{
	static const ObXmlError none;
	ObError failure;

	ob_error_clear(&failure);
	failure.http_status = call->request.status;
	ob_http_response_header(&call->request, "x-amz-request-id",
							failure.request_id, sizeof(failure.request_id));
	ob_error_set(&failure, OB_EPROTO, "%s", cause);
	fail(call, &failure, class, &none);
}

/* Fails a response that cannot be from S3, or is truncated. */
static void
fail_protocol(ObS3Call *call, const char *cause)
{
	/* truncated responses are retried, but only twice */
	fail_success(
		call, call->retry.attempts < 2 ? OB_RETRY_TRANSIENT : OB_RETRY_FINAL,
		cause);
}

/* ---- successes ---- */

static void
read_complete(ObS3Call *call)
{
	const ObBuf *body = &call->request.response;
	ObXmlError xml;

	memset(&xml, 0, sizeof(xml));
	switch (ob_xml_read_complete(body->data, body->len, call->etag, &xml))
	{
		case OB_COMPLETE_DONE:
			end_call(call);
			return;
		case OB_COMPLETE_ERROR:
			fail_response(call, &xml);
			return;
		case OB_COMPLETE_UNCLEAR:
			fail_protocol(call, "the response is not one to "
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
		/* the error would show the upload's id */
		if (ob_s3_repeats_secret(call, call->new_id))
			fail_success(call, OB_RETRY_FINAL,
						 "the upload's id repeats a secret of the request");
		else
			end_call(call);
		return;
	}
	memset(&xml, 0, sizeof(xml));
	ob_error_clear(&error);
	if (ob_xml_read_error(body->data, body->len, &xml, &error) == OB_OK)
		fail_response(call, &xml);
	else
		fail_protocol(call, "the response is not one to "
							"CreateMultipartUpload");
}

static void
copy_etag(ObS3Call *call)
{
	if (!ob_http_response_header(&call->request, "ETag", call->etag,
								 sizeof(call->etag)))
		call->etag[0] = '\0';
}

static void
read_sum(ObS3Call *call)
{
	if (call->request.status != 200)
		fail_protocol(call, "the response's status is not 200");
	else
	{
		copy_etag(call);
		end_call(call);
	}
}

static void
read_head(ObS3Call *call)
{
	char length[32];

	call->content_length = -1;
	if (ob_http_response_header(&call->request, "Content-Length", length,
								sizeof(length)))
		call->content_length = strtoll(length, NULL, 10);
	copy_etag(call);
	if (!ob_http_response_header(&call->request, OB_S3_MARKER, call->marker,
								 sizeof(call->marker)))
		call->marker[0] = '\0';
	end_call(call);
}

/* Returns whether the character is one of an ETag that can be shown. */
static bool
is_shown(char c)
{
	return c > ' ' && c < 0x7F && c != '"';
}

void
ob_s3_plain_etag(ObS3Call *call, char *etag)
{
	const char *from = call->etag;
	size_t len = strlen(from);

	etag[0] = '\0';
	if (len >= 2 && from[0] == '"' && from[len - 1] == '"')
	{
		from++;
		len -= 2;
	}
	for (size_t i = 0; i < len; i++)
		if (!is_shown(from[i]))
			return;
	if (ob_s3_repeats_secret(call, call->etag))
		return;
	memcpy(etag, from, len);
	etag[len] = '\0';
}

/* Returns whether the response has another CRC than the request. */
static bool
is_corrupt(const ObS3Call *call)
{
	char sent[OB_CRC32_TEXT];
	char got[32];

	if (call->checksum != OB_CHECKSUM_CRC32 ||
		!ob_http_response_header(&call->request, "x-amz-checksum-crc32", got,
								 sizeof(got)))
		return false;
	ob_crc32_text(call->crc32, sent);
	return strcmp(sent, got) != 0;
}

static bool
is_error(const ObS3Call *call, ObXmlError *xml)
{
	const ObBuf *body = &call->request.response;
	ObError ignored;

	memset(xml, 0, sizeof(*xml));
	ob_error_clear(&ignored);
	return ob_xml_read_error(body->data, body->len, xml, &ignored) == OB_OK;
}

/* S3 and RGW report success with a 200 here.  Any other status, such as the
 * 202 of a gateway with a queue, does not guarantee that the bytes are stored,
 * and neither does a 200 with an error in its body. */
static void
read_etag(ObS3Call *call)
{
	ObXmlError xml;

	if (is_error(call, &xml))
		fail_response(call, &xml);
	else if (call->request.status != 200)
		fail_protocol(call, "the response's status is not 200");
	else if (!ob_http_response_header(&call->request, "ETag", call->etag,
									  sizeof(call->etag)) ||
			 call->etag[0] == '\0')
		fail_protocol(call, "the response has no ETag");
	else if (is_corrupt(call))
		fail_success(call, OB_RETRY_CORRUPT,
					 "the response's checksum is not that of what was sent");
	else
		end_call(call);
}

/* The same of what is to be gone: a _SUCCESS that stays would belie the run
 * that comes after it. */
static void
read_deleted(ObS3Call *call)
{
	ObXmlError xml;

	if (is_error(call, &xml))
		fail_response(call, &xml);
	else if (call->request.status != 200 && call->request.status != 204)
		fail_protocol(call, "the response's status is neither 200 nor 204");
	else
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
		case OB_S3_SUM_OBJECT:
			read_sum(call);
			return;
		case OB_S3_PUT_OBJECT:
		case OB_S3_UPLOAD_PART:
			read_etag(call);
			return;
		case OB_S3_ABORT:
		case OB_S3_DELETE_OBJECT:
			read_deleted(call);
			return;
		default:
			end_call(call);
			return;
	}
}

static void
read_failure(ObS3Call *call)
{
	const ObHttpRequest *request = &call->request;
	ObXmlError xml;
	ObError ignored;

	ob_error_clear(&ignored);
	memset(&xml, 0, sizeof(xml));
	if (ob_xml_read_error(request->response.data, request->response.len, &xml,
						  &ignored) != OB_OK)
		memset(&xml, 0, sizeof(xml)); /* a proxy's HTML: the status decides */
	if ((call->verb == OB_S3_ABORT || call->verb == OB_S3_DELETE_OBJECT) &&
		request->status == 404 && strcmp(xml.code, "NoSuchBucket") != 0)
	{
		call->error.http_status = 404;
		end_call(call);
		return;
	}
	fail_response(call, &xml);
}

/* The request's done callback. */
void
ob_s3_on_response(ObHttpRequest *request)
{
	ObS3Call *call = request->arg;

	if (call->held)
		return;
	if (call->no_credentials)
	{
		call->no_credentials = false;
		ob_provider_wait(call->s3->provider, &call->wait);
		return;
	}
	if (request->status > 0)
	{
		call->s3->outage.reached = true;
		note_date(call);
	}
	if (call->locating)
		on_located(call);
	else if (request->error.code != OB_OK)
		fail_transport(call);
	else if (request->status >= 200 && request->status < 300)
		read_success(call);
	else
		read_failure(call);
}
