/*
 * test_retry.c
 *		Which failures are retried, when, and with which error code.
 *
 * test/core/test_retry.c
 */
#include "testing.h"

#include "core/aws/retry.h"

#define RANDOM_MAX 0x1.fffffffffffffp-1 /* the largest double below 1 */

static const struct
{
	int status;
	const char *s3_code;
	ObRetryClass class;
	ObCode code;
} verdicts[] = {
	/* transient */
	{500, "InternalError", OB_RETRY_TRANSIENT, OB_ESERVER},
	{500, "InternalErrors", OB_RETRY_TRANSIENT, OB_ESERVER},
	{500, "", OB_RETRY_TRANSIENT, OB_ESERVER},
	{500, "SomethingNew", OB_RETRY_TRANSIENT, OB_ESERVER},
	{502, "", OB_RETRY_TRANSIENT, OB_ESERVER},
	{503, "ServiceUnavailable", OB_RETRY_TRANSIENT, OB_ETHROTTLE},
	{503, "", OB_RETRY_TRANSIENT, OB_ETHROTTLE},
	{503, "SomethingNew", OB_RETRY_TRANSIENT, OB_ETHROTTLE},
	{504, "", OB_RETRY_TRANSIENT, OB_ESERVER},
	{520, "", OB_RETRY_TRANSIENT, OB_ESERVER},
	{599, "", OB_RETRY_TRANSIENT, OB_ESERVER},
	{408, "", OB_RETRY_TRANSIENT, OB_ETIMEOUT},
	{400, "RequestTimeout", OB_RETRY_TRANSIENT, OB_ETIMEOUT},
	{400, "IncompleteBody", OB_RETRY_TRANSIENT, OB_EREQUEST},
	{409, "OperationAborted", OB_RETRY_TRANSIENT, OB_EREQUEST},

	/* throttled */
	{503, "SlowDown", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{503, "SlowDownRead", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{503, "SlowDownWrite", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{429, "", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{429, "SomethingNew", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{400, "Throttling", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{400, "ThrottlingException", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{400, "KMS.ThrottlingException", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{400, "TooManyRequestsException", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{503, "RequestLimitExceeded", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{503, "BandwidthLimitExceeded", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{503, "RequestThrottled", OB_RETRY_THROTTLE, OB_ETHROTTLE},

	/* damaged on the way */
	{400, "BadDigest", OB_RETRY_CORRUPT, OB_EREQUEST},
	{400, "XAmzContentSHA256Mismatch", OB_RETRY_CORRUPT, OB_EREQUEST},

	/* credentials and privileges */
	{400, "ExpiredToken", OB_RETRY_FINAL, OB_ECREDS},
	{403, "ExpiredToken", OB_RETRY_FINAL, OB_ECREDS},
	{400, "InvalidToken", OB_RETRY_FINAL, OB_ECREDS},
	{400, "TokenRefreshRequired", OB_RETRY_FINAL, OB_ECREDS},
	{403, "InvalidAccessKeyId", OB_RETRY_FINAL, OB_ECREDS},
	{403, "SignatureDoesNotMatch", OB_RETRY_FINAL, OB_ECREDS},
	{401, "", OB_RETRY_FINAL, OB_ECREDS},
	{403, "AccessDenied", OB_RETRY_FINAL, OB_EDENIED},
	{403, "AccountProblem", OB_RETRY_FINAL, OB_EDENIED},
	{403, "AllAccessDisabled", OB_RETRY_FINAL, OB_EDENIED},
	{403, "", OB_RETRY_FINAL, OB_EDENIED},
	{403, "QuotaExceeded", OB_RETRY_FINAL, OB_EREQUEST},
	{403, "RequestTimeTooSkewed", OB_RETRY_FINAL, OB_ESKEW},

	/* missing, already there, elsewhere */
	{404, "NoSuchBucket", OB_RETRY_FINAL, OB_EMISSING},
	{404, "NoSuchKey", OB_RETRY_FINAL, OB_EMISSING},
	{404, "NoSuchUpload", OB_RETRY_FINAL, OB_EMISSING},
	{404, "", OB_RETRY_FINAL, OB_EMISSING},
	{412, "PreconditionFailed", OB_RETRY_FINAL, OB_EEXISTS},
	{412, "", OB_RETRY_FINAL, OB_EEXISTS},
	{409, "ConditionalRequestConflict", OB_RETRY_FINAL, OB_EEXISTS},
	{301, "PermanentRedirect", OB_RETRY_FINAL, OB_EREGION},
	{307, "TemporaryRedirect", OB_RETRY_FINAL, OB_EREGION},
	{301, "", OB_RETRY_FINAL, OB_EREGION},
	{307, "", OB_RETRY_FINAL, OB_EREGION},
	{400, "AuthorizationHeaderMalformed", OB_RETRY_FINAL, OB_EREGION},
	{400, "IllegalLocationConstraint", OB_RETRY_FINAL, OB_EREGION},
	{400, "IllegalLocationConstraintException", OB_RETRY_FINAL, OB_EREGION},

	/* refused */
	{400, "EntityTooLarge", OB_RETRY_FINAL, OB_ELIMIT},
	{400, "EntityTooSmall", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "InvalidPart", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "InvalidPartOrder", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "InvalidArgument", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "InvalidRequest", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "MalformedXML", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "KeyTooLongError", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "KMS.DisabledException", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "KMS.NotFoundException", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "InvalidDigest", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "", OB_RETRY_FINAL, OB_EREQUEST},
	{405, "MethodNotAllowed", OB_RETRY_FINAL, OB_EREQUEST},
	{409, "BucketAlreadyExists", OB_RETRY_FINAL, OB_EREQUEST},
	{409, "", OB_RETRY_FINAL, OB_EREQUEST},
	{411, "MissingContentLength", OB_RETRY_FINAL, OB_EREQUEST},
	{413, "", OB_RETRY_FINAL, OB_EREQUEST},
	{417, "", OB_RETRY_FINAL, OB_EREQUEST},
	{501, "NotImplemented", OB_RETRY_FINAL, OB_ESERVER},
	{501, "", OB_RETRY_FINAL, OB_ESERVER},
	{507, "XMinioStorageFull", OB_RETRY_FINAL, OB_ESERVER},

	/* not S3's responses */
	{300, "", OB_RETRY_FINAL, OB_EPROTO},
	{302, "", OB_RETRY_FINAL, OB_EPROTO},
	{308, "", OB_RETRY_FINAL, OB_EPROTO},

	/* an error inside a 200 */
	{200, "InternalError", OB_RETRY_TRANSIENT, OB_ESERVER},
	{200, "SlowDown", OB_RETRY_THROTTLE, OB_ETHROTTLE},
	{200, "ServiceUnavailable", OB_RETRY_TRANSIENT, OB_ETHROTTLE},
	{200, "AccessDenied", OB_RETRY_FINAL, OB_EDENIED},
	{200, "NoSuchUpload", OB_RETRY_FINAL, OB_EMISSING},
	{200, "PreconditionFailed", OB_RETRY_FINAL, OB_EEXISTS},
	{200, "InvalidPart", OB_RETRY_FINAL, OB_ESERVER},
	{200, "", OB_RETRY_FINAL, OB_ESERVER},

	/* names are compared completely, and are case-sensitive */
	{400, "internalerror", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "InternalErrorX", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "Internal", OB_RETRY_FINAL, OB_EREQUEST},
	{400, "Slow", OB_RETRY_FINAL, OB_EREQUEST},
};

static void
codes_and_statuses(void **state)
{
	for (size_t i = 0; i < COUNT_OF(verdicts); i++)
	{
		char row[100];

		snprintf(row, sizeof(row), "%d %s", verdicts[i].status,
				 verdicts[i].s3_code);
		assert_row(row,
				   ob_retry_class(verdicts[i].status, verdicts[i].s3_code) ==
					   verdicts[i].class);
		assert_row(row,
				   ob_retry_code(verdicts[i].status, verdicts[i].s3_code) ==
					   verdicts[i].code);
	}
}

/* Any status has a class, and none of them is a success. */
static void
every_status_is_a_failure(void **state)
{
	for (int status = 0; status < 1000; status++)
	{
		assert_int_not_equal(ob_retry_code(status, ""), OB_OK);
		assert_int_not_equal(ob_retry_code(status, "?"), OB_OK);
		if (ob_retry_class(status, "") == OB_RETRY_THROTTLE)
			assert_int_equal(ob_retry_code(status, ""), OB_ETHROTTLE);
	}
}

static void
transport_failures(void **state)
{
	for (int code = OB_OK; code <= OB_EIO; code++)
	{
		ObRetryClass expected = OB_RETRY_FINAL;

		if (code == OB_ECONNECT || code == OB_ETIMEOUT)
			expected = OB_RETRY_TRANSIENT;
		else if (code == OB_ETLS || code == OB_EPROTO)
			expected = OB_RETRY_CORRUPT;
		assert_int_equal(ob_retry_transport_class((ObCode) code, false),
						 expected);
		/* here, an interrupted handshake is a lost connection */
		if (code == OB_ETLS)
			expected = OB_RETRY_TRANSIENT;
		assert_int_equal(ob_retry_transport_class((ObCode) code, true),
						 expected);
	}
}

/* ---- ob_retry_next ---- */

static void
attempts_are_counted(void **state)
{
	for (int max = 0; max < 10; max++)
	{
		ObRetryPolicy policy = {.max_attempts = max};
		ObRetryState retry = {0};
		int64_t delay;
		int tries = 1;

		while (ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0, -1, 0.5,
							 &delay))
			tries++;
		assert_int_equal(tries, max < 1 ? 1 : max);
		assert_int_equal(retry.attempts, tries);
		assert_int_equal(delay, 0);
	}
}

static void
final_is_final(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 8};
	ObRetryState retry = {0};
	int64_t delay = 77;

	assert_false(
		ob_retry_next(&policy, &retry, OB_RETRY_FINAL, 5, 1000, 0.5, &delay));
	assert_int_equal(retry.attempts, 1);
	assert_int_equal(delay, 0);
}

static void
corrupt_is_tried_twice_more(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 100};
	ObRetryState retry = {0};
	int64_t delay;

	assert_true(
		ob_retry_next(&policy, &retry, OB_RETRY_CORRUPT, 0, -1, 0.5, &delay));
	/* other failures in between change nothing */
	for (int i = 0; i < 5; i++)
		assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0, -1,
								  0.5, &delay));
	assert_true(
		ob_retry_next(&policy, &retry, OB_RETRY_CORRUPT, 0, -1, 0.5, &delay));
	assert_false(
		ob_retry_next(&policy, &retry, OB_RETRY_CORRUPT, 0, -1, 0.5, &delay));
	assert_int_equal(retry.corrupt, 3);
	assert_int_equal(retry.attempts, 8);
}

static void
jitter_stays_in_its_bounds(void **state)
{
	static const struct
	{
		ObRetryClass class;
		int64_t fixed; /* 1: half of it is not random */
		int64_t ceilings[10];
	} rows[] = {
		{OB_RETRY_TRANSIENT,
		 0,
		 {100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000}},
		{OB_RETRY_CORRUPT, 0, {100, 200}},
		{OB_RETRY_OUTAGE,
		 0,
		 {100, 200, 400, 800, 1600, 3200, 6400, 12800, 20000, 20000}},
		{OB_RETRY_THROTTLE,
		 1,
		 {1000, 2000, 4000, 8000, 16000, 20000, 20000, 20000, 20000, 20000}},
	};
	ObRetryPolicy policy = {.max_attempts = 100, .deadline_ms = 1000000};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObRetryState low = {0};
		ObRetryState middle = {0};
		ObRetryState high = {0};
		int64_t delay;

		for (int n = 0; n < 10 && rows[i].ceilings[n] > 0; n++)
		{
			int64_t ceiling = rows[i].ceilings[n];
			int64_t fixed = rows[i].fixed * ceiling / 2;

			assert_true(ob_retry_next(&policy, &low, rows[i].class, 0, -1, 0.0,
									  &delay));
			assert_int_equal(delay, fixed);
			assert_true(ob_retry_next(&policy, &middle, rows[i].class, 0, -1,
									  0.5, &delay));
			assert_int_equal(delay, fixed + (ceiling - fixed) / 2);
			assert_true(ob_retry_next(&policy, &high, rows[i].class, 0, -1,
									  RANDOM_MAX, &delay));
			assert_int_equal(delay, ceiling - 1);
		}
	}
}

/* If a part has all its attempts, all throttled, that takes longer than this,
 * even if all pauses are as short as possible. */
static void
throttled_tries_outlast_a_storm(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 8};
	ObRetryState retry = {0};
	int64_t sum = 0;
	int64_t delay;

	while (
		ob_retry_next(&policy, &retry, OB_RETRY_THROTTLE, 0, -1, 0.0, &delay))
		sum += delay;
	assert_int_equal(retry.attempts, 8);
	assert_true(sum > 30000);
}

/* While the network is down, only the deadline counts; afterwards, all
 * attempts are available, and pauses start over. */
static void
attempts_of_an_outage_are_not_counted(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 3, .deadline_ms = 100000};
	ObRetryState retry = {0};
	int64_t delay;

	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0, -1,
							  RANDOM_MAX, &delay));
	for (int i = 0; i < 50; i++)
		assert_true(ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 1000 * i,
								  -1, 0.5, &delay));
	assert_int_equal(delay, 10000);
	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 50000, -1,
							  RANDOM_MAX, &delay));
	assert_int_equal(delay, 199);
	assert_false(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 50000, -1,
							   0.5, &delay));
	assert_int_equal(retry.attempts, 53);

	memset(&retry, 0, sizeof(retry));
	assert_true(
		ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 0, -1, 0.0, &delay));
	assert_false(ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 100001, -1,
							   0.0, &delay));
	/* without a deadline, nothing would ever end it */
	policy.deadline_ms = 0;
	memset(&retry, 0, sizeof(retry));
	assert_false(
		ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 0, -1, 0.0, &delay));
}

/* A request that is sent late in an outage does not begin with short
 * pauses. */
static void
pauses_of_an_outage(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 3, .deadline_ms = 100000};
	int64_t delay;

	for (int probes = 1; probes < 12; probes++)
	{
		int64_t ceiling = probes > 8 ? 20000 : 100 << (probes - 1);
		ObRetryState retry = {0};

		policy.probes = probes;
		assert_true(ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 0, -1, 0.5,
								  &delay));
		assert_int_equal(delay, ceiling / 2);
		/* other failures in between are counted as usual */
		assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0, -1,
								  0.5, &delay));
		assert_int_equal(delay, 50);
	}
}

/* However long the pause would be, the last attempt is made at the
 * deadline. */
static void
outage_lasts_until_the_deadline(void **state)
{
	ObRetryPolicy policy = {.deadline_ms = 100000, .probes = 20};
	ObRetryState retry = {0};
	int64_t delay;

	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 1000, -1, 0.5,
							  &delay));
	assert_int_equal(delay, 10000);
	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 98000, 60000,
							  0.5, &delay));
	assert_int_equal(delay, 3000);
	assert_false(ob_retry_next(&policy, &retry, OB_RETRY_OUTAGE, 101000, -1,
							   0.5, &delay));
}

static void
many_attempts_do_not_overflow(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 2000};
	ObRetryState retry = {0};
	int64_t delay;

	for (int i = 1; i < 2000; i++)
	{
		assert_true(ob_retry_next(&policy, &retry, OB_RETRY_THROTTLE, i, -1,
								  RANDOM_MAX, &delay));
		assert_in_range(delay, 0, 20000);
	}
	assert_false(
		ob_retry_next(&policy, &retry, OB_RETRY_THROTTLE, 0, -1, 0.5, &delay));
}

static void
retry_after_is_a_floor(void **state)
{
	static const struct
	{
		int64_t retry_after;
		double random;
		int64_t delay;
	} rows[] = {
		{-1, 0.5, 50},           {0, 0.5, 50},
		{30, 0.5, 50}, /* the jitter exceeds it */
		{50, 0.5, 50},           {51, 0.5, 51},
		{1000, 0.0, 1000},       {59999, 0.0, 59999},
		{60000, 0.0, 60000},     {60001, 0.0, 60000},
		{INT64_MAX, 0.0, 60000}, {INT64_MIN, 0.0, 0},
	};
	ObRetryPolicy policy = {.max_attempts = 8};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
	{
		ObRetryState retry = {0};
		int64_t delay;

		assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0,
								  rows[i].retry_after, rows[i].random,
								  &delay));
		assert_int_equal(delay, rows[i].delay);
	}
}

static void
deadline_counts_from_the_first_failure(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 100, .deadline_ms = 1000};
	ObRetryState retry = {0};
	int64_t start = INT64_C(1) << 40;
	int64_t delay;

	/* at whatever time the first failure comes */
	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, start, -1,
							  0.0, &delay));
	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, start + 900,
							  100, 0.0, &delay));
	assert_int_equal(delay, 100);
	/* the wait counts, too */
	assert_false(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT,
							   start + 900, 101, 0.0, &delay));
	assert_int_equal(delay, 0);
	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT,
							  start + 1000, -1, 0.0, &delay));
	assert_false(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT,
							   start + 1001, -1, 0.0, &delay));
	assert_int_equal(retry.first_failure_ms, start);
}

static void
first_failure_at_time_zero(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 100, .deadline_ms = 10};
	ObRetryState retry = {0};
	int64_t delay;

	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0, -1, 0.0,
							  &delay));
	assert_false(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 11, -1,
							   0.0, &delay));
}

static void
no_deadline_is_no_limit(void **state)
{
	ObRetryPolicy policy = {.max_attempts = 100};
	ObRetryState retry = {0};
	int64_t delay;

	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT, 0, -1, 0.0,
							  &delay));
	assert_true(ob_retry_next(&policy, &retry, OB_RETRY_TRANSIENT,
							  INT64_C(1) << 50, -1, 0.0, &delay));
}

/* ---- Retry-After ---- */

static void
retry_after_values(void **state)
{
	static const struct
	{
		const char *value;
		int64_t ms;
	} rows[] = {
		{"0", 0},
		{"1", 1000},
		{"007", 7000},
		{" 30\t", 30000},
		{"86400", 86400000},
		{"", -1},
		{" ", -1},
		{"-1", -1},
		{"+1", -1},
		{"1.5", -1},
		{"1s", -1},
		{"1 2", -1},
		{"0x10", -1},
		{"Wed, 21 Oct 2015 07:28:00 GMT", -1},
		{"12\n", -1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		assert_row(rows[i].value,
				   ob_retry_after(rows[i].value, 1000) == rows[i].ms);
	/* x-amz-retry-after is in ms */
	assert_int_equal(ob_retry_after("1500", 1), 1500);
	assert_int_equal(ob_retry_after(NULL, 1000), -1);
	/* a huge value stays huge */
	assert_true(ob_retry_after("99999999999999999999999999", 1000) > 60000);
	assert_true(ob_retry_after("18446744073709551616", 1000) > 60000);
}

/* ---- the quota of an upload ---- */

static void
quota_is_spent_and_given_back(void **state)
{
	ObRetryQuota quota;
	int spent = 0;

	ob_retry_quota_init(&quota);
	for (int i = 0; i < 50; i++)
	{
		assert_int_equal(ob_retry_quota_take(&quota, OB_RETRY_TRANSIENT), 10);
		spent += 10;
	}
	assert_int_equal(ob_retry_quota_take(&quota, OB_RETRY_TRANSIENT), 0);
	assert_int_equal(ob_retry_quota_take(&quota, OB_RETRY_THROTTLE), 0);
	assert_int_equal(quota.tokens, 0);

	/* a success returns one token more than it has cost */
	ob_retry_quota_give(&quota, 7);
	assert_int_equal(quota.tokens, 8);
	assert_int_equal(ob_retry_quota_take(&quota, OB_RETRY_TRANSIENT), 0);
	assert_int_equal(quota.tokens, 8);
	assert_int_equal(ob_retry_quota_take(&quota, OB_RETRY_THROTTLE), 5);
	assert_int_equal(quota.tokens, 3);
	ob_retry_quota_give(&quota, 0);
	assert_int_equal(quota.tokens, 4);

	/* but never more than the initial number */
	ob_retry_quota_give(&quota, spent);
	assert_int_equal(quota.tokens, 500);
	ob_retry_quota_give(&quota, 0);
	assert_int_equal(quota.tokens, 500);
	assert_int_equal(ob_retry_quota_take(&quota, OB_RETRY_CORRUPT), 10);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codes_and_statuses),
		cmocka_unit_test(every_status_is_a_failure),
		cmocka_unit_test(transport_failures),
		cmocka_unit_test(attempts_are_counted),
		cmocka_unit_test(final_is_final),
		cmocka_unit_test(corrupt_is_tried_twice_more),
		cmocka_unit_test(jitter_stays_in_its_bounds),
		cmocka_unit_test(throttled_tries_outlast_a_storm),
		cmocka_unit_test(attempts_of_an_outage_are_not_counted),
		cmocka_unit_test(pauses_of_an_outage),
		cmocka_unit_test(outage_lasts_until_the_deadline),
		cmocka_unit_test(many_attempts_do_not_overflow),
		cmocka_unit_test(retry_after_is_a_floor),
		cmocka_unit_test(deadline_counts_from_the_first_failure),
		cmocka_unit_test(first_failure_at_time_zero),
		cmocka_unit_test(no_deadline_is_no_limit),
		cmocka_unit_test(retry_after_values),
		cmocka_unit_test(quota_is_spent_and_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
