/*
 * upload_intern.h
 *		The state of an upload, which upload.c changes and tests look at.
 *
 * src/core/s3/upload_intern.h
 */
#ifndef OB_UPLOAD_INTERN_H
#define OB_UPLOAD_INTERN_H

#include "core/s3/part.h"
#include "core/s3/upload.h"

#define OB_UPLOAD_MARKER_BYTES 16

/*
 * upload.c says how one state leads to the next.  The order matters, since
 * states are compared with < and >=: from DONE on, the upload has ended; from
 * ABORTING on, the host has aborted it.
 */
typedef enum ObUploadState
{
	OB_UPLOAD_FILLING,
	OB_UPLOAD_FINISHING, /* the input has ended; parts are in flight */
	OB_UPLOAD_HELD, /* all parts have landed; another upload completes it */
	OB_UPLOAD_COMPLETING,  /* the last request: Complete, or the PutObject */
	OB_UPLOAD_RECONCILING, /* finding out what the last request did */
	OB_UPLOAD_DONE,
	OB_UPLOAD_FAILED,
	OB_UPLOAD_ABORTING,
	OB_UPLOAD_ABORTED
} ObUploadState;

/* Copies of pairs, which own their names and values. */
typedef struct ObPairs
{
	ObPair *pairs;
	int n;
} ObPairs;

struct ObUpload
{
	ObS3 *s3;
	char *bucket;
	char *key;
	ObPairs headers; /* the marker is the last */
	ObPairs common;
	ObChecksum checksum; /* never AUTO */
	bool keep_existing;
	bool hold;
	size_t part_size;
	size_t largest_part;
	bool equal_parts;
	int connections;
	int allowed;     /* parts in flight now: see ob_upload_want_room() */
	int limit;       /* the same, as throttling allows */
	int unthrottled; /* parts that landed since the limit was changed */
	int max_parts;
	int retries_before; /* the client's retries when the upload was made */
	ObRetryQuota quota;

	ObUploadState state;
	ObParts parts;
	ObPart *filling; /* NULL before the first byte and after the last */
	int sending;
	int nparts;       /* full so far */
	int last_number;  /* the last one's number; differs from nparts in
					   * a shared upload */
	int acknowledged; /* full and landed */
	uint64_t bytes;
	uint64_t acknowledged_bytes; /* at the end: those of all processes */
	uint64_t landed_bytes;       /* of this one */
	ObUploadPart *landed;        /* by part number - 1 */
	int landed_cap;
	uint32_t crc32;         /* the CRC-32 of a PutObject's body */
	char etag[OB_ETAG_MAX]; /* of the object: see ObUploadObject */

	ObS3Call control; /* HEAD, Create, Complete, ListParts */
	ObS3Call closing; /* Abort and HEAD, beside a last request */
	bool checking; /* the HEAD for keep_existing is in flight, before anything
					* else */
	char id[OB_UPLOAD_ID_MAX];
	char marker[OB_UPLOAD_MARKER_BYTES * 2 + 1];
	int complete_tries;
	bool last_sent; /* the last request was started */
	bool multipart;
	/* while it is aborted */
	ObS3Call *last;             /* the last request, while its response is
								 * pending; else NULL */
	bool response_lost;         /* the response to an earlier try was lost */
	bool doubtful;              /* its outcome is not certain */
	bool exists;                /* the object is known to exist */
	bool forgotten;             /* the Abort has succeeded */
	const ObUploadShare *share; /* NULL: this is the only process */
	bool abort_again;           /* parts were in flight at the first Abort */
	ObError error;
	ObError abort_error;
};

#endif
