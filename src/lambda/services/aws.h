/*
 * aws.h
 *		AWS's JSON and query calls: signed, retried, and read back.
 *
 * src/lambda/services/aws.h
 *
 * This is for services whose calls are one small POST each: Secrets Manager,
 * Lambda's Invoke, SNS.  A call is one request as its caller sees it: signed
 * again for each try with the provider's credentials, and retried by class, at
 * most 4 times.  Starting one cannot fail; every failure is reported to
 * "done", which runs inside ob_http_drive().
 */
#ifndef OB_AWS_H
#define OB_AWS_H

#include "core/aws/credentials.h"
#include "core/http/http.h"
#include "core/aws/retry.h"
#include "core/aws/sigv4.h"

typedef struct ObAwsCall ObAwsCall;

struct ObAwsCall
{
	/* set by the owner, all borrowed until "done" */
	ObHttp *http;
	ObProvider *provider;
	const char *region;
	const char *service;   /* "secretsmanager", "lambda", "sns" */
	const char *endpoint;  /* NULL: AWS_ENDPOINT_URL_<SERVICE>'s, else
							* AWS_ENDPOINT_URL's, else AWS's own; the service
							* as in AWS's SDKs: SECRETS_MANAGER */
	const char *path;      /* encoded */
	const char *query;     /* from ob_sigv4_query(); "" if none */
	const ObPair *headers; /* content type, target, ...; all are signed */
	int nheaders;
	const char *body;
	size_t len;
	size_t response_max;
	int64_t deadline_ms; /* in ob_http_now_ms(): no try begins after it */
	void (*done)(ObAwsCall *call); /* NULL: the caller looks at "ended" */
	void *arg;

	bool ended;

	/* the outcome: OB_OK for a 2xx, else what went wrong; error.s3_code has
	 * AWS's code (from __type, X-Amzn-ErrorType, or XML), error.what is the
	 * caller's to set before it starts */
	ObError error;
	/* request.response and ob_http_response_header() have the rest */

	/* private */
	ObHttpRequest request;
	ObRetryState retry;
	ObProviderWait wait;
	ObSigningKey signing_key;
	char payload_hash[OB_SHA256_HEX];
	char host[300];
	char signer[129];    /* the access key id of the last try */
	bool no_credentials; /* credentials are being fetched */
	bool refused;        /* the credentials were refused once */
};

extern void ob_aws_call_init(ObAwsCall *call);
extern void ob_aws_call_start(ObAwsCall *call);
/* Cancels a running call, and wipes the response, which may be secret. */
extern void ob_aws_call_free(ObAwsCall *call);

#endif
