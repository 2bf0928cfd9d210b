/*
 * s3_intern.h
 *		What the s3*.c files have in common.
 *
 * src/core/s3_intern.h
 *
 *	   s3.c          the client; starting calls
 *	   s3_request.c  a try: building and signing it
 *	   s3_answer.c   reading what came back, and whether to try again
 *	   s3_mend.c     what an answer teaches: credentials, region, clock
 */
#ifndef OB_S3_INTERN_H
#define OB_S3_INTERN_H

#include "s3.h"

#define OB_S3_REGION_MAX 64

struct ObS3
{
	ObEndpoint given_endpoint;
	ObEndpoint endpoint;
	bool regional; /* the endpoint is AWS's own of the region */
	ObAddressing addressing;
	char *given_region;
	char learnt_region[OB_S3_REGION_MAX]; /* "": none */
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
	bool reached; /* the store has answered, since ob_s3_reset() */
	bool clock_known;
	int64_t clock_skew;
	int64_t clock_offset;
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

/* Makes the next try, in so many milliseconds. */
extern void ob_s3_try(ObS3Call *call, int64_t delay_ms);

/* The callbacks of a call's request. */
extern ObCode ob_s3_prepare(ObHttpRequest *request, ObError *error);
extern void ob_s3_answered(ObHttpRequest *request);

/* Ends the call with this failure. */
extern void ob_s3_give_up(ObS3Call *call, const ObError *failure);

/* Notes the clock of an answer's Date. */
extern void ob_s3_note_date(ObS3Call *call);

/* True: what made the try fail has been mended, or will be, and another one
 * was begun. */
extern bool ob_s3_mend(ObS3Call *call, const ObError *failure,
					   const ObXmlError *xml);

/* The answer to a try that asked where the bucket is. */
extern void ob_s3_located(ObS3Call *call);

#endif
