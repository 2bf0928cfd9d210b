/*
 * s3_intern.h
 *		What the s3*.c files have in common.
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

/* Whether the store is away; private to s3_outage.c except for "reached". */
typedef struct ObOutage
{
	bool reached;    /* a response has come since ob_s3_reset() */
	bool served;     /* a response of the store has come since then, perhaps
					  * to another client */
	int failures;    /* failed tries of all calls since the last success */
	int probes;      /* those of them on which the pauses depend */
	ObS3Call *probe; /* the only one that is tried; NULL: there is no outage */
	ObS3Call *held;  /* the others, by next_held */
} ObOutage;

struct ObS3
{
	ObEndpoint given_endpoint;
	ObEndpoint endpoint;
	bool regional; /* the endpoint is AWS's own of the region */
	ObAddressing addressing;
	char *given_region;
	char learnt_region[OB_REGION_MAX + 1]; /* "": none */
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

/* The verb of the call's try. */
extern ObS3Verb ob_s3_try_verb(const ObS3Call *call);

/* Makes the next try after a delay. */
extern void ob_s3_try(ObS3Call *call, int64_t delay_ms);

/* Whether its body is some of the object. */
extern bool ob_s3_sends_data(const ObS3Call *call);

/* Builds and signs the try; from the request's prepare callback only. */
extern ObCode ob_s3_build(ObS3Call *call, ObError *error);

/* The done callback of a call's request. */
extern void ob_s3_on_response(ObHttpRequest *request);

/* ---- s3_outage.c ---- */

/* Whether the store was there before, for this client or this upload. */
extern bool ob_outage_reached(const ObS3Call *call);

/* A try failed as it does when the store is away.  True: it is, so the failure
 * is of class OB_RETRY_CUT_OFF. */
extern bool ob_outage_failed(ObS3Call *call);

/* Called instead of ob_s3_try() after such a failure: some call is tried after
 * the pause, this one when it is its turn. */
extern void ob_outage_wait(ObS3Call *call, int64_t delay_ms);

/* Called before each try.  True: it is not made, and the call is held. */
extern bool ob_outage_holds(ObS3Call *call);

/* Called when a call ends or is cancelled: another one may become the
 * probe. */
extern void ob_outage_leave(ObS3Call *call);

/* The store has responded to some call. */
extern void ob_outage_over(ObS3 *s3);

/* Forgets the outage, while no call runs. */
extern void ob_outage_forget(ObS3 *s3);

#endif
