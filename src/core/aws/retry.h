/*
 * retry.h
 *		Which failures are worth another try, and after how long.
 *
 * src/core/aws/retry.h
 *
 * Pure: no clock and no random numbers of its own.  The classes follow AWS's
 * error responses page,
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and
 * its SDKs' retry behaviour; see docs/reference.md, "Retries".
 */
#ifndef OB_RETRY_H
#define OB_RETRY_H

#include <stdint.h>

#include "core/base/error.h"

typedef enum ObRetryClass
{
	OB_RETRY_FINAL,
	OB_RETRY_TRANSIENT, /* 500, 502, 503, 504, 408, lost connections */
	OB_RETRY_THROTTLE,  /* SlowDown, 429, Throttling* */
	OB_RETRY_CORRUPT,   /* a damaged payload, a broken handshake: retried
						 * twice only */
	OB_RETRY_OUTAGE     /* an outage of a store that was reached before: not
						 * counted, ends only at the deadline */
} ObRetryClass;

typedef struct ObRetryPolicy
{
	int max_attempts;    /* the first one counts */
	int64_t deadline_ms; /* measured from the first failure; 0: none */
	int probes; /* for OB_RETRY_OUTAGE: the tries of all requests since the
				 * outage began; 0: only this request's */
} ObRetryPolicy;

/*
 * A budget of tries for all requests of one upload, so that a store which
 * fails all the time does not get requests for hours. 500 tokens at first, and
 * at most; a try costs 10 after a transient failure and 5 after a throttled
 * one; a success gives back what the tries of that request cost, and 1.
 */
typedef struct ObRetryQuota
{
	int tokens;
} ObRetryQuota;

extern void ob_retry_quota_init(ObRetryQuota *quota);

/* Takes the cost of a try from the quota; returns the cost, or 0 if too little
 * is left. */
extern int ob_retry_quota_take(ObRetryQuota *quota, ObRetryClass class);

/* Gives back the cost of the tries of a request that succeeded. */
extern void ob_retry_quota_give(ObRetryQuota *quota, int spent);

/* Zero it for each request. */
typedef struct ObRetryState
{
	int attempts; /* that have failed */
	int corrupt;  /* those of class OB_RETRY_CORRUPT */
	int outage;   /* those of class OB_RETRY_OUTAGE */
	int64_t first_failure_ms;
} ObRetryState;

/*
 * The class of a response with a status of 300 or more, or an <Error> inside a
 * 200 (then status is 200). s3_code is "" if there was none to read.
 */
extern ObRetryClass ob_retry_class(int http_status, const char *s3_code);

/* The code under which such a response is reported. */
extern ObCode ob_retry_code(int http_status, const char *s3_code);

/*
 * The class of a failure of the transport (OB_ECONNECT, OB_ETIMEOUT, ...).
 * OB_ETLS means an interrupted handshake: a lost connection like any other if
 * the server is known to speak TLS, otherwise perhaps a port that does not.  A
 * rejected certificate sets ObHttpRequest.final instead.  OB_EPROTO means that
 * the peer did not speak HTTP.
 */
extern ObRetryClass ob_retry_transport_class(ObCode code, bool speaks_tls);

/*
 * Counts a failure, and decides whether to try again and after how many
 * milliseconds: random * min(20 s, base * 2^n), with a base of 100 ms; after a
 * throttled try the base is 1 s, and only half of the pause is random, so that
 * eight tries outlast a storm of 30 s. retry_after_ms (-1: none; at most 60 s
 * is honoured) is a floor. random is in [0, 1).  Returns false if the attempts
 * or the deadline would be exceeded, for OB_RETRY_FINAL, for OB_RETRY_CORRUPT
 * from the third time on, and for OB_RETRY_OUTAGE without a deadline.  The
 * last pause of OB_RETRY_OUTAGE ends at the deadline.
 */
extern bool ob_retry_next(const ObRetryPolicy *policy, ObRetryState *state,
						  ObRetryClass class, int64_t now_ms,
						  int64_t retry_after_ms, double random,
						  int64_t *delay_ms);

/* Parses a header that is a number of units of unit_ms milliseconds (1000:
 * seconds, as in Retry-After); returns milliseconds, or -1 for anything
 * else. */
extern int64_t ob_retry_after(const char *value, int unit_ms);

#endif
