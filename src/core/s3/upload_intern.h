/*
 * upload_intern.h
 *		What the upload*.c files have in common.
 *
 * src/core/s3/upload_intern.h
 *
 *	   upload.c         making, writing, sending parts
 *	   upload_shared.c  one of several processes
 *	   upload_held.c    completed later, perhaps by another process
 *	   upload_end.c     completing, finding out what became of it
 *	   upload_abort.c   giving up
 */
#ifndef OB_UPLOAD_INTERN_H
#define OB_UPLOAD_INTERN_H

#include "core/s3/part.h"
#include "core/s3/upload.h"

#define OB_UPLOAD_MARKER_BYTES 16

typedef enum ObUploadState
{
	OB_UPLOAD_FILLING,
	OB_UPLOAD_FINISHING,   /* all bytes are here, parts are under way */
	OB_UPLOAD_HELD,        /* all has landed; somebody else completes it */
	OB_UPLOAD_COMPLETING,  /* the last request: Complete, or the PutObject */
	OB_UPLOAD_RECONCILING, /* finding out what the last request did */
	OB_UPLOAD_DONE,
	OB_UPLOAD_FAILED,
	OB_UPLOAD_ABORTING,
	OB_UPLOAD_ABORTED
} ObUploadState;

/* A part that has landed, beside its ETag. */
typedef struct ObLanded
{
	uint64_t len;
	uint32_t crc32;
} ObLanded;

/* Copies of pairs: names and values are ours. */
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
	int limit;       /* the same, as far as the store bears it */
	int unthrottled; /* parts that landed since the limit was changed */
	int max_parts;
	int retries_before; /* of the client, when the upload was made */
	ObRetryQuota quota;

	ObUploadState state;
	ObParts parts;
	ObPart *filling; /* NULL before the first byte and after the last */
	int sending;
	int nparts;       /* full so far */
	int last_number;  /* of them; the same unless others share the upload */
	int acknowledged; /* of them */
	uint64_t bytes;
	uint64_t acknowledged_bytes; /* in the end of all processes */
	uint64_t landed_bytes;       /* of this one */
	char **etags;                /* by part number - 1 */
	ObLanded *landed;            /* likewise */
	int landed_cap;              /* of both */
	uint32_t crc32;              /* of a PutObject's body */

	ObS3Call control; /* HEAD, Create, Complete, ListParts */
	ObS3Call closing; /* Abort and HEAD, beside a last request */
	bool checking;    /* the HEAD that everything else waits for */
	char id[OB_UPLOAD_ID_MAX];
	char marker[OB_UPLOAD_MARKER_BYTES * 2 + 1];
	int complete_tries;
	bool last_sent; /* the last request was started */
	bool multipart;
	/* while it is given up */
	ObS3Call *out;  /* the last request: its answer is to come; or NULL */
	bool lost;      /* an earlier one's never will */
	bool doubtful;  /* or told nothing certain */
	bool exists;    /* the object is there for certain */
	bool forgotten; /* the Abort has succeeded */
	const ObUploadShare *share; /* NULL: this is the only process */
	bool abort_again;           /* parts were in flight at the first Abort */
	ObError error;
	ObError abort_error;
};

/* ---- upload.c ---- */

/* The first failure ends the upload, if it had not ended. */
extern void ob_upload_fail(ObUpload *upload, const ObError *error);
extern void ob_upload_explain(const ObUpload *upload, ObError *error);
extern ObCode ob_upload_fail_memory(ObUpload *upload, ObError *error);

/* The part gets its number, and waits to be sent. */
extern ObCode ob_upload_number_part(ObUpload *upload, ObPart *part,
									ObError *error) OB_MUST_CHECK;

/* Notes a part; part->etag is copied.  False: no memory. */
extern bool ob_upload_note_landed(ObUpload *upload, int number,
								  const ObUploadPart *part);

/* Whatever can be started now is started. */
extern void ob_upload_advance_state(ObUpload *upload);

/* How large parts may get within that memory. */
extern void ob_upload_set_memory(ObUpload *upload, size_t memory);

/* ---- upload_abort.c ---- */

/* The callback of the call that gives up. */
extern void ob_upload_on_closing(ObS3Call *call);

/* While it is given up: the answer to the last request; to Create. */
extern void ob_upload_last_answered(ObUpload *upload, ObS3Call *call);
extern void ob_upload_created_late(ObUpload *upload, const ObS3Call *call);

/* ---- upload_end.c ---- */

/* What a HEAD found is what this upload has made. */
extern bool ob_upload_is_ours(const ObUpload *upload, const ObS3Call *head);

/* All parts are acknowledged: a last look at the sums, then Complete, unless
 * it is held. */
extern void ob_upload_complete(ObUpload *upload);

/* The request was refused because there is an object. */
extern bool ob_upload_found_object(const ObUpload *upload,
								   const ObError *error);

/* What became of the last request?  It found an object, which may be what an
 * earlier try has written, or its outcome is unclear.  Asks by HEAD. */
extern void ob_upload_find_out(ObUpload *upload, const ObError *error);

/* Sends the HEAD that tells whether the name is free. */
extern void ob_upload_check_name(ObUpload *upload);

/* The control call's callback. */
extern void ob_upload_on_control(ObS3Call *call);

#endif
