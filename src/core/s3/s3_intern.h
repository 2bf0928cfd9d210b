/*
 * s3_intern.h
 *		Declarations that the s3*.c files share.
 *
 * src/core/s3/s3_intern.h
 *
 *	   s3.c           the client; starting calls
 *	   s3_request.c   a try: building, signing and sending it
 *	   s3_response.c  reading the response, recovering, trying again
 *	   s3_outage.c    a store that goes away in the middle
 */
#ifndef OB_S3_INTERN_H
#define OB_S3_INTERN_H

#include "core/s3/s3.h"

/* The state of an outage; private to s3_outage.c except for "reached". */
typedef struct ObOutage
{
	bool reached; /* a response was received since ob_s3_reset() */
	bool served;  /* a response from the store itself was received since then,
				   * perhaps by another client */
	int failures; /* failed tries of all calls since the last success */
	int probes;   /* those failures that the pauses depend on */
	ObS3Call
		*probe;     /* the only call that is tried; NULL: there is no outage */
	ObS3Call *held; /* the other calls, linked by next_held */
} ObOutage;

struct ObS3
{
	ObEndpoint given_endpoint;
	ObEndpoint endpoint;
	bool regional; /* the endpoint is AWS's own of the region */
	ObAddressing addressing;
	char *given_region;
	char corrected_region[OB_REGION_MAX + 1]; /* "": none */
	ObProvider *provider;
	ObSigningKey signing_key;
	int64_t retry_deadline_ms;
	char *ca_file;
	char *proxy;
	int connect_timeout_ms;
	int stall_timeout_ms;
	int max_connections;
	int retries;
	ObOutage outage;
	bool clock_known;
	int64_t clock_skew;
	int64_t clock_offset;
	bool content_md5;
	ObHttp *http;
};

typedef struct ObS3VerbInfo
{
	const char *method;
	int max_attempts;
	int response_max;
	const char *what;
} ObS3VerbInfo;

extern const ObS3VerbInfo ob_s3_verbs[];

/* Returns the verb of the current try. */
extern ObS3Verb ob_s3_try_verb(const ObS3Call *call);

/* Makes the next try after a delay. */
extern void ob_s3_try(ObS3Call *call, int64_t delay_ms);

/* Returns whether the body of the try is a part of the object. */
extern bool ob_s3_sends_data(const ObS3Call *call);

/* Builds and signs the try; only called by the request's prepare callback. */
extern ObCode ob_s3_build(ObS3Call *call, ObError *error);

/* The done callback of a call's request. */
extern void ob_s3_on_response(ObHttpRequest *request);

/* ---- s3_outage.c ---- */

/* Returns whether the store has responded before, to this client or for this
 * upload. */
extern bool ob_outage_reached(const ObS3Call *call);

/* Called when a try failed as it does in an outage.  Returns whether it is
 * one: the failure then has class OB_RETRY_OUTAGE. */
extern bool ob_outage_failed(ObS3Call *call);

/* Called instead of ob_s3_try() after such a failure: the call is queued, and
 * the first call of the queue is tried after the pause. */
extern void ob_outage_wait(ObS3Call *call, int64_t delay_ms);

/* Called before each try.  Returns true if the try must not be made, and the
 * call is held instead. */
extern bool ob_outage_holds(ObS3Call *call);

/* Called when a call ends or is cancelled: another one may become the
 * probe. */
extern void ob_outage_leave(ObS3Call *call);

/* Called when the store has responded to any call: ends the outage. */
extern void ob_outage_over(ObS3 *s3);

/* Clears the state of the outage; only called while no call runs. */
extern void ob_outage_forget(ObS3 *s3);

#endif
