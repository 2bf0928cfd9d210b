/*
 * s3.h
 *		S3's verbs: signed, retried, and read back.
 *
 * src/core/s3/s3.h
 *
 * A call is one request as its caller sees it: it waits for credentials, is
 * signed again for each try, and retried by class (retry.h) until there is a
 * final response, which is parsed.  A call recovers once from each of these:
 * an expired session, a bucket in another region, a wrong clock, a store that
 * requires an MD5.  Starting one cannot fail; every failure is reported to
 * "done", which runs inside ob_http_drive().  See
 * https://docs.aws.amazon.com/AmazonS3/latest/API/
 */
#ifndef OB_S3_H
#define OB_S3_H

#include "core/base/hash.h"
#include "core/aws/credentials.h"
#include "core/http/http.h"
#include "core/base/leak.h"
#include "core/aws/retry.h"
#include "core/aws/sigv4.h"
#include "core/text/uri.h"
#include "core/s3/s3_documents.h"

/* An access key id has 128 characters at most. */
#define OB_S3_SIGNER_MAX 132

typedef struct ObS3 ObS3;
typedef struct ObS3Call ObS3Call;

/* The destination, the identity and the time-outs of a client. */
typedef struct ObS3Options
{
	ObEndpoint endpoint;
	ObAddressing addressing;
	const char *region;
	ObCredentialsOptions credentials;
	int64_t retry_deadline_ms; /* 0: only the attempts bound a call */
	bool content_md5;          /* as another client has found out; see below */
	ObHttpOptions http;
} ObS3Options;

/* Copies the options; NULL on error. */
extern ObS3 *ob_s3_new(const ObS3Options *options, ObError *error);

/* Returns whether the client was made from equal options ("known" credentials
 * and content_md5 are not compared).  It may then be reused, with its
 * connections and with what it knows about the store. */
extern bool ob_s3_matches(const ObS3 *s3, const ObS3Options *options);

/* Wipes the secrets; all calls must be freed before.  NULL is allowed. */
extern void ob_s3_free(ObS3 *s3);

/* Prepares the client for another export: see ob_provider_reset().  Earlier
 * responses no longer count as a sign that the store can be reached. */
extern void ob_s3_reset(ObS3 *s3);

/* Notes that the store has served another client for the same export or run.
 * This client then waits during an outage, as if it had been served since
 * ob_s3_reset(). */
extern void ob_s3_note_served(ObS3 *s3);

/* The requests that the host waits for. */
extern ObHttp *ob_s3_http(const ObS3 *s3);

/* Returns the client's provider of credentials; borrowed. */
extern ObProvider *ob_s3_provider(const ObS3 *s3);

/*
 * What we know about the store, kept as long as the client.
 *
 * Region: the region that requests are signed for, which is the given one
 * until a redirect names another; borrowed until the next drive.  With an
 * endpoint that ob_endpoint_aws() makes, the host follows; any other endpoint
 * stays, so credentials never go to a host that a server has named.  Other
 * processes of the same export begin with both.
 *
 * Content-MD5: whether the store requires one with each body, as it may where
 * objects are locked.
 *
 * Clock skew: how far the store's clock is ahead of ours, in seconds, from its
 * last response; false before the first.
 *
 * Clock offset: the seconds that are added to our clock in signatures, because
 * the store refused a request for its time; 0 until then.  A host should
 * report it when it changes.
 */
extern const ObEndpoint *ob_s3_endpoint(const ObS3 *s3);
extern const char *ob_s3_region(const ObS3 *s3);
extern bool ob_s3_content_md5(const ObS3 *s3);
extern bool ob_s3_clock_skew(const ObS3 *s3, int64_t *seconds);
extern int64_t ob_s3_clock_offset(const ObS3 *s3);

/* Returns the number of retries so far. */
extern int ob_s3_retries(const ObS3 *s3);

typedef enum ObS3Verb
{
	OB_S3_PUT_OBJECT,
	OB_S3_CREATE,
	OB_S3_UPLOAD_PART,
	OB_S3_COMPLETE,
	OB_S3_ABORT,
	OB_S3_HEAD,
	OB_S3_LIST_PARTS,
	OB_S3_GET_OBJECT,
	OB_S3_SUM_OBJECT,
	OB_S3_DELETE_OBJECT,
	OB_S3_LIST_UPLOADS,
	OB_S3_HEAD_BUCKET,
	OB_S3_GET_ENCRYPTION
} ObS3Verb;

/*
 * The caller's memory; it must stay in place while the call runs.  Pointers
 * set by the starting functions are borrowed until "done".
 */
struct ObS3Call
{
	ObS3 *s3;
	void (*done)(ObS3Call *call);
	void *arg;
	int max_attempts; /* the verb's default when a call starts */
	int delay_ms;     /* before the first try; set before a call starts */

	/* set by the owner, before a call starts; borrowed, may be empty */
	const ObPair *common; /* headers of each call: bucket owner, payer */
	int ncommon;
	ObRetryQuota *quota; /* shared by the calls of an upload; NULL: none */
	/* Called when a throttled try will be made again; may be NULL. */
	void (*throttled)(ObS3Call *call);
	ObChecksum checksum;  /* PutObject, Create, parts, Complete; never AUTO.
						   * SHA256 at first */
	uint32_t crc32;       /* with CRC32: the body's; Complete: the object's;
						   * SumObject: its outcome */
	uint64_t object_size; /* Complete, for AWS to compare; 0: not sent */
	uint64_t sum_max;     /* SumObject: a longer object is OB_EPROTO */
	bool if_none_match;  /* PutObject and Complete: do not replace an object */
	bool no_outage_wait; /* do not wait for the end of an outage, since a user
						  * is waiting */

	/* set by the starting functions */
	ObS3Verb verb;
	const char *bucket;
	const char *key; /* UTF-8 */
	const char *upload_id;
	const char *prefix;
	const char *key_marker;
	const char *id_marker;
	bool encode; /* a list: percent-encoded keys */
	int part_number;
	const ObPair *headers; /* object headers, x-amz-meta-* and such */
	int nheaders;

	/* the outcome: OB_OK, or an error whose "what" names the action */
	ObError error;
	bool uncertain; /* the call failed, but a try may have been carried out,
					 * and no response of the store rules it out */
	bool doubtful;  /* the store reported an error of its own for a try, which
					 * may have been carried out nevertheless */
	char etag[OB_ETAG_MAX];        /* PutObject, UploadPart, Complete, HEAD,
									* SumObject; as the store writes it, "" if it
									* does not */
	char new_id[OB_UPLOAD_ID_MAX]; /* CreateMultipartUpload */
	char marker[64];               /* HEAD: x-amz-meta-onboard-upload */
	int64_t content_length;        /* HEAD; -1 if not known.  SumObject: the
									* number of bytes that came */
	/* lists: request.response holds the document */

	/* private, but request.response may be read once the call is done */
	ObHttpRequest request;
	ObProviderWait wait; /* for credentials */
	ObRetryState retry;
	int spent; /* of the quota */
	const char *body;
	size_t body_len;
	char payload_hash[OB_SHA256_HEX]; /* "" until computed */
	char md5[OB_MD5_TEXT];            /* "" until wanted and computed */
	ObBuf document;                   /* Complete's body */
	/* of the last try */
	int64_t signed_at;
	char signer[OB_S3_SIGNER_MAX]; /* access key id */
	/* the region of the last try other than a lookup of the region */
	char signed_region[OB_REGION_MAX + 1];
	ObBuf secrets; /* each with a NUL */
	ObLeaks leaks; /* made from the secrets once it is needed */
	bool leaks_known;
	bool no_credentials; /* the try was not made: credentials are being
						  * fetched */
	bool held;           /* the try was not made: another call is the probe */
	ObS3Call *next_held;
	bool locating; /* the try is a lookup of the bucket's region */
	/* done once in a call */
	bool renewed;
	bool clock_set;
	bool relocated;
	bool located;
};

/* The header under which an object names the upload that made it. */
#define OB_S3_MARKER "x-amz-meta-onboard-upload"

extern void ob_s3_call_init(ObS3Call *call, ObS3 *s3,
							void (*done)(ObS3Call *call), void *arg);

/* Cancels a running call, and frees its memory; does nothing for a call of
 * zeros. */
extern void ob_s3_call_free(ObS3Call *call);

/* Stops a running call; "done" is not called. */
extern void ob_s3_call_cancel(ObS3Call *call);

extern bool ob_s3_call_running(const ObS3Call *call);

/* Makes the current try the last one, whatever its response. */
extern void ob_s3_call_last_try(ObS3Call *call);

/* Returns whether a text from the store repeats a secret of the last try, and
 * so must not be shown. */
extern bool ob_s3_repeats_secret(ObS3Call *call, const char *text);

/* Writes the call's ETag without quotes, at most OB_ETAG_MAX bytes; "" if
 * there is none, or none that can be shown. */
extern void ob_s3_plain_etag(ObS3Call *call, char *etag);

/* sha256 is the body's, in hexadecimal, and is copied; NULL: computed if it is
 * needed at all (ob_checksum_is_signed()). */
extern void ob_s3_put_object(ObS3Call *call, const char *bucket,
							 const char *key, const ObPair *headers,
							 int nheaders, const char *body, size_t len,
							 const char *sha256);
extern void ob_s3_create(ObS3Call *call, const char *bucket, const char *key,
						 const ObPair *headers, int nheaders);
extern void ob_s3_upload_part(ObS3Call *call, const char *bucket,
							  const char *key, const char *upload_id,
							  int part_number, const char *body, size_t len,
							  const char *sha256);

/*
 * parts[i] has number i + 1; they are copied.  A try is only retried if the
 * server reported that it was not carried out, or received nothing.  An
 * unclear outcome is OB_EUNKNOWN, which the caller must reconcile: a lost or
 * unreadable response, but also NoSuchUpload or a 412, because libcurl sends a
 * request again by itself if a reused connection dies.
 */
extern void ob_s3_complete(ObS3Call *call, const char *bucket, const char *key,
						   const char *upload_id, const ObUploadPart *parts,
						   int nparts);

/* An upload that does not exist counts as aborted; error.http_status is 404
 * then. */
extern void ob_s3_abort(ObS3Call *call, const char *bucket, const char *key,
						const char *upload_id);
extern void ob_s3_head(ObS3Call *call, const char *bucket, const char *key);

/* For small objects of our own: the bytes are in request.response.  Deleting
 * an object that does not exist succeeds. */
extern void ob_s3_get_object(ObS3Call *call, const char *bucket,
							 const char *key);
extern void ob_s3_delete_object(ObS3Call *call, const char *bucket,
								const char *key);

/* Reads an object of any size, of which nothing is kept, for its length (in
 * content_length), its CRC-32 and its ETag.  A try that breaks off begins
 * again. */
extern void ob_s3_sum_object(ObS3Call *call, const char *bucket,
							 const char *key);

/* The status is 200 or 404, or 403 without the permission. */
extern void ob_s3_head_bucket(ObS3Call *call, const char *bucket);
/* The document is in request.response. */
extern void ob_s3_get_encryption(ObS3Call *call, const char *bucket);
extern void ob_s3_list_parts(ObS3Call *call, const char *bucket,
							 const char *key, const char *upload_id);

/* Lists a page of up to 1,000 uploads; the markers are NULL for the first
 * page.  With encode, percent-encoded keys are requested; the response shows
 * whether they are. */
extern void ob_s3_list_uploads(ObS3Call *call, const char *bucket,
							   const char *prefix, const char *key_marker,
							   const char *id_marker, bool encode);

#endif
