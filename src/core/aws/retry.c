/*
 * retry.c
 *		Which failures are worth another try, and after how long.
 *
 * src/core/aws/retry.c
 *
 * S3's code is more specific than the HTTP status, so it is looked up first;
 * the status decides for codes that are not in the table, and for responses
 * without a code (to HEAD, or from a proxy).
 */
#include "core/aws/retry.h"

#include <stdio.h>
#include <string.h>

#define CAP_MS 20000
#define BASE_MS 100
#define THROTTLE_BASE_MS 1000
#define RETRY_AFTER_MAX_MS 60000
#define CORRUPT_MAX 2
#define QUOTA 500
#define QUOTA_TRANSIENT 10
#define QUOTA_THROTTLE 5

typedef struct Verdict
{
	ObRetryClass class;
	ObCode code;
} Verdict;

typedef struct CodeRow
{
	const char *name; /* a "*" at the end matches any rest */
	Verdict verdict;
} CodeRow;

/*
 * Expired credentials, another region and a wrong clock are final here:
 * another try with the same credentials, host and clock would fail in the same
 * way. s3_response.c recovers from them where it can.
 */
static const CodeRow code_rows[] = {
	{"InternalError", {OB_RETRY_TRANSIENT, OB_ESERVER}},
	{"InternalErrors", {OB_RETRY_TRANSIENT, OB_ESERVER}},
	{"ServiceUnavailable", {OB_RETRY_TRANSIENT, OB_ETHROTTLE}},
	{"RequestTimeout", {OB_RETRY_TRANSIENT, OB_ETIMEOUT}},
	{"IncompleteBody", {OB_RETRY_TRANSIENT, OB_EREQUEST}},
	{"OperationAborted", {OB_RETRY_TRANSIENT, OB_EREQUEST}},

	{"SlowDown*", {OB_RETRY_THROTTLE, OB_ETHROTTLE}}, /* MinIO: SlowDownRead */
	{"Throttling*", {OB_RETRY_THROTTLE, OB_ETHROTTLE}},
	{"KMS.ThrottlingException", {OB_RETRY_THROTTLE, OB_ETHROTTLE}},
	{"TooManyRequestsException", {OB_RETRY_THROTTLE, OB_ETHROTTLE}},
	{"RequestLimitExceeded", {OB_RETRY_THROTTLE, OB_ETHROTTLE}},
	{"BandwidthLimitExceeded", {OB_RETRY_THROTTLE, OB_ETHROTTLE}},
	{"RequestThrottled", {OB_RETRY_THROTTLE, OB_ETHROTTLE}},

	{"BadDigest", {OB_RETRY_CORRUPT, OB_EREQUEST}},
	{"XAmzContentSHA256Mismatch", {OB_RETRY_CORRUPT, OB_EREQUEST}},

	{"ExpiredToken", {OB_RETRY_FINAL, OB_ECREDS}},
	{"InvalidToken", {OB_RETRY_FINAL, OB_ECREDS}},
	{"TokenRefreshRequired", {OB_RETRY_FINAL, OB_ECREDS}},
	{"InvalidAccessKeyId", {OB_RETRY_FINAL, OB_ECREDS}},
	{"SignatureDoesNotMatch", {OB_RETRY_FINAL, OB_ECREDS}},

	{"AccessDenied", {OB_RETRY_FINAL, OB_EDENIED}},
	{"AccountProblem", {OB_RETRY_FINAL, OB_EDENIED}},
	{"AllAccessDisabled", {OB_RETRY_FINAL, OB_EDENIED}},
	{"QuotaExceeded", {OB_RETRY_FINAL, OB_EREQUEST}}, /* RGW's, a 403 */

	{"NoSuchBucket", {OB_RETRY_FINAL, OB_EMISSING}},
	{"NoSuchKey", {OB_RETRY_FINAL, OB_EMISSING}},
	{"NoSuchUpload", {OB_RETRY_FINAL, OB_EMISSING}},

	{"PreconditionFailed", {OB_RETRY_FINAL, OB_EEXISTS}},
	{"ConditionalRequestConflict", {OB_RETRY_FINAL, OB_EEXISTS}},

	{"PermanentRedirect", {OB_RETRY_FINAL, OB_EREGION}},
	{"TemporaryRedirect", {OB_RETRY_FINAL, OB_EREGION}},
	{"AuthorizationHeaderMalformed", {OB_RETRY_FINAL, OB_EREGION}},
	{"IllegalLocationConstraint*", {OB_RETRY_FINAL, OB_EREGION}},

	{"RequestTimeTooSkewed", {OB_RETRY_FINAL, OB_ESKEW}},
	{"EntityTooLarge", {OB_RETRY_FINAL, OB_ELIMIT}},
	{"NotImplemented", {OB_RETRY_FINAL, OB_ESERVER}},
};

static bool
row_matches(const CodeRow *row, const char *s3_code)
{
	size_t len = strlen(row->name);

	if (row->name[len - 1] == '*')
		return strncmp(row->name, s3_code, len - 1) == 0;
	return strcmp(row->name, s3_code) == 0;
}

/* A server error without a code may be temporary; one with a code that is not
 * in the table concerns the request, except with the four usual statuses. */
static Verdict
status_verdict(int http_status, bool has_code)
{
	switch (http_status)
	{
		case 301:
		case 307:
			return (Verdict){OB_RETRY_FINAL, OB_EREGION};
		case 401:
			return (Verdict){OB_RETRY_FINAL, OB_ECREDS};
		case 403:
			return (Verdict){OB_RETRY_FINAL, OB_EDENIED};
		case 404:
			return (Verdict){OB_RETRY_FINAL, OB_EMISSING};
		case 408:
			return (Verdict){OB_RETRY_TRANSIENT, OB_ETIMEOUT};
		case 412:
			return (Verdict){OB_RETRY_FINAL, OB_EEXISTS};
		case 429:
			return (Verdict){OB_RETRY_THROTTLE, OB_ETHROTTLE};
		case 500:
		case 502:
		case 504:
			return (Verdict){OB_RETRY_TRANSIENT, OB_ESERVER};
		case 501:
			return (Verdict){OB_RETRY_FINAL, OB_ESERVER};
		case 503:
			return (Verdict){OB_RETRY_TRANSIENT, OB_ETHROTTLE};
	}
	if (http_status >= 500)
		return (Verdict){has_code ? OB_RETRY_FINAL : OB_RETRY_TRANSIENT,
						 OB_ESERVER};
	if (http_status >= 400)
		return (Verdict){OB_RETRY_FINAL, OB_EREQUEST};
	if (http_status >= 300)
		return (Verdict){OB_RETRY_FINAL, OB_EPROTO}; /* S3 sends no other */
	return (Verdict){OB_RETRY_FINAL, OB_ESERVER};    /* an error in a 200 */
}

static Verdict
find_verdict(int http_status, const char *s3_code)
{
	for (size_t i = 0; i < sizeof(code_rows) / sizeof(code_rows[0]); i++)
		if (row_matches(&code_rows[i], s3_code))
			return code_rows[i].verdict;
	return status_verdict(http_status, s3_code[0] != '\0');
}

ObRetryClass
ob_retry_class(int http_status, const char *s3_code)
{
	return find_verdict(http_status, s3_code).class;
}

ObCode
ob_retry_code(int http_status, const char *s3_code)
{
	return find_verdict(http_status, s3_code).code;
}

ObRetryClass
ob_retry_transport_class(ObCode code, bool speaks_tls)
{
	if (code == OB_ECONNECT || code == OB_ETIMEOUT ||
		(code == OB_ETLS && speaks_tls))
		return OB_RETRY_TRANSIENT;
	if (code == OB_ETLS || code == OB_EPROTO)
		return OB_RETRY_CORRUPT;
	return OB_RETRY_FINAL;
}

/* The pause before the next try, after n failures of this kind. */
static int64_t
pause_after(ObRetryClass class, int n, double random)
{
	bool throttled = class == OB_RETRY_THROTTLE;
	int64_t ceiling = throttled ? THROTTLE_BASE_MS : BASE_MS;

	for (int i = 1; i < n && ceiling < CAP_MS; i++)
		ceiling *= 2;
	if (ceiling > CAP_MS)
		ceiling = CAP_MS;
	if (throttled)
		return ceiling / 2 + (int64_t) (random * (double) (ceiling / 2));
	return (int64_t) (random * (double) ceiling);
}

/* Returns the number of failures that the pause depends on. */
static int
count_failures(const ObRetryPolicy *policy, const ObRetryState *state,
			   ObRetryClass class)
{
	if (class != OB_RETRY_OUTAGE)
		return state->attempts - state->outage;
	return policy->probes > 0 ? policy->probes : state->outage;
}

bool
ob_retry_next(const ObRetryPolicy *policy, ObRetryState *state,
			  ObRetryClass class, int64_t now_ms, int64_t retry_after_ms,
			  double random, int64_t *delay_ms)
{
	bool outage = class == OB_RETRY_OUTAGE;
	int counted;
	int64_t left;
	int64_t delay;

	*delay_ms = 0;
	if (state->attempts == 0)
		state->first_failure_ms = now_ms;
	state->attempts++;
	if (class == OB_RETRY_CORRUPT)
		state->corrupt++;
	if (outage)
		state->outage++;
	counted = state->attempts - state->outage;
	if (class == OB_RETRY_FINAL || state->corrupt > CORRUPT_MAX ||
		(outage ? policy->deadline_ms == 0 : counted >= policy->max_attempts))
		return false;

	if (retry_after_ms > RETRY_AFTER_MAX_MS)
		retry_after_ms = RETRY_AFTER_MAX_MS;
	delay = pause_after(class, count_failures(policy, state, class), random);
	if (delay < retry_after_ms)
		delay = retry_after_ms;

	left = state->first_failure_ms + policy->deadline_ms - now_ms;
	if (outage && left > 0 && delay > left)
		delay = left;
	if (policy->deadline_ms > 0 && delay > left)
		return false;
	*delay_ms = delay;
	return true;
}

int64_t
ob_retry_after(const char *value, int unit_ms)
{
	int64_t units = 0;
	const char *c;

	if (value == NULL)
		return -1;
	value += strspn(value, " \t");
	for (c = value; *c >= '0' && *c <= '9'; c++)
		if (units < INT32_MAX)
			units = units * 10 + (*c - '0');
	if (c == value || c[strspn(c, " \t")] != '\0')
		return -1;
	return units * unit_ms;
}

/* ---- the quota ---- */

void
ob_retry_quota_init(ObRetryQuota *quota)
{
	quota->tokens = QUOTA;
}

int
ob_retry_quota_take(ObRetryQuota *quota, ObRetryClass class)
{
	int cost = class == OB_RETRY_THROTTLE ? QUOTA_THROTTLE : QUOTA_TRANSIENT;

	if (quota->tokens < cost)
		return 0;
	quota->tokens -= cost;
	return cost;
}

void
ob_retry_quota_give(ObRetryQuota *quota, int spent)
{
	quota->tokens += spent + 1;
	if (quota->tokens > QUOTA)
		quota->tokens = QUOTA;
}
