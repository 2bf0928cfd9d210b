/*
 * s3_mend.c
 *		What an answer teaches: credentials, region, clock, MD5.
 *
 * src/core/s3/s3_mend.c
 *
 * Four refusals can be mended by us, and are, each once in a call: the session
 * has expired, the bucket is in another region, our clock is wrong, the store
 * wants an MD5.  What was learnt is kept for all later requests of the client.
 *
 * An answer to HEAD has no document, so there a bare status must do.
 */
#include "core/s3/s3_intern.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/text/timestamp.h"

/* A correction by less than this cannot be what was wrong: S3 allows 15
 * minutes. */
#define SKEW_MIN_S 60
#define SKEW_MAX_S (14 * 60)

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

/* ---- credentials ---- */

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

/* ---- the clock ---- */

static int64_t
answer_date(const ObS3Call *call)
{
	char text[64];

	if (!ob_http_response_header(&call->request, "Date", text, sizeof(text)))
		return 0;
	return (int64_t) ob_timestamp_parse_http(text);
}

void
ob_s3_note_date(ObS3Call *call)
{
	int64_t date = answer_date(call);

	if (date <= 0)
		return;
	call->s3->clock_known = true;
	call->s3->clock_skew = date - (int64_t) time(NULL);
}

static bool
set_clock(ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	ObS3 *s3 = call->s3;
	bool told = strcmp(xml->code, "RequestTimeTooSkewed") == 0;
	int64_t date = answer_date(call);
	int64_t error;

	if (call->clock_set ||
		(!told && !(is_head(call) && failure->http_status == 403)))
		return false;
	if (date <= 0)
		date = (int64_t) xml->server_time;
	error = date - call->signed_at;
	if (date <= 0 || llabs(error) < (told ? SKEW_MIN_S : SKEW_MAX_S))
		return false;
	call->clock_set = true;
	s3->clock_offset = date - (int64_t) time(NULL);
	ob_provider_set_clock_offset(s3->provider, s3->clock_offset);
	return true;
}

/* ---- the region ---- */

/* It goes into signatures and, on AWS, into a host's name. */
static bool
is_region(const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz"
							  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return len > 0 && text[len] == '\0';
}

/* Whether a redirect names another server than the one that was asked. */
static bool
leads_away(const ObS3Call *call)
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

/* True: requests will go there from now on. */
static bool
move_to(ObS3Call *call, const char *region)
{
	ObS3 *s3 = call->s3;
	ObEndpoint endpoint;
	ObError ignored;

	/* errors show the region */
	if (!is_region(region) || ob_s3_repeats_secret(call, region) ||
		strlen(region) >= OB_S3_REGION_MAX ||
		strcmp(region, ob_s3_region(s3)) == 0)
		return false;
	if (s3->regional)
	{
		ob_error_clear(&ignored);
		if (ob_endpoint_service(&endpoint, "s3", region,
								s3->given_endpoint.variant, &ignored) != OB_OK)
			return false;
		s3->endpoint = endpoint;
	}
	strcpy(s3->learnt_region, region);
	return true;
}

static bool
is_elsewhere(const ObS3Call *call, const ObError *failure)
{
	if (failure->code == OB_EREGION)
		return call->s3->regional || !leads_away(call);
	return is_head(call) && failure->http_status == 400 &&
		   failure->region[0] != '\0';
}

/* True: another try was begun, in another region or to ask for it. */
static bool
relocate(ObS3Call *call, const ObError *failure)
{
	if (call->relocated || !is_elsewhere(call, failure))
		return false;
	if (failure->region[0] != '\0')
	{
		call->relocated = true;
		return move_to(call, failure->region);
	}
	if (call->located || call->verb == OB_S3_HEAD_BUCKET)
		return false;
	/* what is reported if nobody tells */
	call->error = *failure;
	call->located = true;
	call->locating = true;
	return true;
}

void
ob_s3_located(ObS3Call *call)
{
	ObError failure = call->error;

	call->locating = false;
	call->relocated = true;
	if (call->request.status > 0 &&
		ob_http_response_header(&call->request, "x-amz-bucket-region",
								failure.region, sizeof(failure.region)) &&
		move_to(call, failure.region))
	{
		ob_error_clear(&call->error);
		call->s3->retries++;
		ob_s3_try(call, 0);
		return;
	}
	call->retry.attempts++;
	ob_s3_give_up(call, &failure);
}

/* ---- MD5 ---- */

/*
 * Where objects are locked, stores want Content-MD5 or a checksum of theirs
 * with each body; they have no code of its own for that.  See
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

/* ---- all of them ---- */

bool
ob_s3_mend(ObS3Call *call, const ObError *failure, const ObXmlError *xml)
{
	/* a bare 400 can be read in two ways; a named region is the surer one */
	if (!relocate(call, failure) && !renew_credentials(call, failure, xml) &&
		!set_clock(call, failure, xml) && !add_md5(call, failure, xml))
		return false;
	if (!call->locating)
		call->s3->retries++;
	ob_s3_try(call, 0);
	return true;
}
