/*
 * upload.h
 *		One object, uploaded while it is being produced.
 *
 * src/core/s3/upload.h
 *
 * Bytes are written into the part that is being filled; a full part is sent
 * while the next one fills, and its buffer is kept until S3 acknowledged it.
 * An object of one part or less is a single PutObject, anything larger a
 * multipart upload.  A part only ends when there is a byte after it, so no
 * part is ever empty.
 *
 *	   new -> (window, advance)* -> finish -> done
 *	    \________________________________\___ failed -> abort -> aborted
 *
 * Nothing waits.  Before it writes, the host waits until has_room; after
 * finish, until done or an error; after an error or when it gives up, it calls
 * abort and waits until aborted, or for as long as it wants.  All progress
 * happens in ob_http_drive() of the client's ObHttp.
 *
 * The outcome of a Complete is sometimes unclear, because its response was
 * lost.  Each object carries a random marker in its metadata, by which a HEAD
 * distinguishes our object from another one of the same name.
 */
#ifndef OB_UPLOAD_H
#define OB_UPLOAD_H

#include "core/s3/s3.h"
#include "core/sink/sink.h"

#define OB_PART_MIN ((size_t) 5 * 1024 * 1024)
#define OB_PART_MAX ((size_t) 5 * 1024 * 1024 * 1024)
#define OB_PARTS_MAX 10000 /* S3's own limit */

typedef struct ObUpload ObUpload;

typedef struct ObUploadOptions
{
	ObS3 *s3; /* borrowed; must outlive the upload */
	const char *bucket;
	const char *key; /* UTF-8 */
	const ObPair *headers;
	int nheaders;
	size_t part_size; /* the size of the first parts; later ones grow */
	size_t memory;    /* for all part buffers together */
	int connections;  /* parts in flight at most; few at first */
	int max_parts;    /* OB_PARTS_MAX, or what the store allows */
	/* All parts except the last have part_size, as some stores require.  Such
	 * an upload cannot be shared. */
	bool equal_parts;

	/* Headers of every request: expected bucket owner, requester pays. */
	const ObPair *common;
	int ncommon;
	ObChecksum checksum;
	/* An object of that name is an error (OB_EEXISTS).  The writing request
	 * carries "If-None-Match: *"; as not every store honours that on each
	 * call, a HEAD goes before, unless the endpoint is AWS's own. */
	bool keep_existing;

	/* The upload is held instead of completed: see ObUploadHeld. */
	bool hold;
} ObUploadOptions;

typedef struct ObUploadStats
{
	uint64_t bytes; /* bytes written.  In a shared upload, this process's share
					 * of the object: without a tail that was taken, and with
					 * the head, less the bytes that it replaced, if one of its
					 * parts has the head */
	uint64_t landed; /* bytes in acknowledged parts of this process */
	int parts;       /* acknowledged; 1 for a PutObject */
	int in_flight;
	int retries; /* since it was made */
	bool multipart;
	bool completing; /* all parts have landed; S3 is assembling the object */
} ObUploadStats;

/*
 * Returns the size of part n (from 1) if the first one has "base" bytes and
 * memory allows "largest": it doubles after each tenth of the parts allowed,
 * so that a stream of unknown length ends at S3's limit of parts as late as it
 * can.
 */
extern size_t ob_upload_part_size(size_t base, size_t largest, int max_parts,
								  int n);

/* Copies the options.  NULL on error.  Sends nothing, except with
 * keep_existing, where a HEAD for the object is queued. */
extern ObUpload *ob_upload_new(const ObUploadOptions *options, ObError *error);

/* Stops all requests, and sends no Abort to S3; NULL is allowed. */
extern void ob_upload_free(ObUpload *upload);

/* The functions of a sink: see sink.h. */
extern char *ob_upload_window(ObUpload *upload, size_t *avail, ObError *error);
extern ObCode ob_upload_advance(ObUpload *upload, size_t len,
								ObError *error) OB_MUST_CHECK;

/* Returns whether OB_SINK_ROOM more bytes can be written without waiting. */
extern bool ob_upload_has_room(const ObUpload *upload);

/*
 * Called when the host is about to wait for room: allows one more part in
 * flight, up to the number of connections.  So a store that keeps up with the
 * encoder gets two parts at a time, and a slow or distant one as many as it
 * needs.
 */
extern void ob_upload_want_room(ObUpload *upload);

/* Ends the input: no more bytes follow. */
extern ObCode ob_upload_finish(ObUpload *upload, ObError *error) OB_MUST_CHECK;

/* Returns whether the object exists, complete. */
extern bool ob_upload_done(const ObUpload *upload);

/* Returns the error that ended the upload, or NULL. */
extern const ObError *ob_upload_error(const ObUpload *upload);

/*
 * Several processes can feed one multipart upload.  Each has its own ObUpload,
 * which takes part numbers from a shared state, and stores ETags in it; the
 * first of them begins and completes the upload.  Parts then end only where
 * the host ends them, at the end of a row, because the next part of the object
 * may come from another process; a buffer grows if a row needs it.
 *
 * Each process has a quota of tries and a limit of parts in flight of its own.
 *
 * The callbacks run inside ob_http_drive() or ob_upload_end_part(), and must
 * not block.  The struct and its contents are borrowed, and must outlive the
 * upload.
 */
typedef struct ObUploadShare
{
	/* Returns the next part's number, from 1; raw is the sum of its pieces. */
	int (*take_number)(void *arg, const ObRaw *raw);
	/* Called when the store has acknowledged a part, which must be kept for
	 * ob_upload_finish_shared(). */
	ObCode (*landed)(void *arg, int number, const ObUploadPart *part,
					 ObError *error);
	void *arg;
	/* The beginning of the object.  It belongs to part 1, which any of the
	 * processes may send, so each buffer keeps room for it. */
	ObHead head;
} ObUploadShare;

/*
 * Shares the upload; called before the first byte. id is the upload's, or
 * NULL: then this is the first of the processes, and CreateMultipartUpload is
 * sent at once. memory and connections are this process's share of the
 * export's limits.
 */
extern ObCode ob_upload_begin_shared(ObUpload *upload,
									 const ObUploadShare *share,
									 const char *id, size_t memory,
									 int connections,
									 ObError *error) OB_MUST_CHECK;

/* Returns the number of bytes in the part that is being filled, and whether
 * the part is full. */
extern size_t ob_upload_pending(const ObUpload *upload);
extern bool ob_upload_part_full(const ObUpload *upload);

/* Ends a piece (sink.h), which began after the last piece or with the part,
 * and had these bytes before it was compressed. */
extern void ob_upload_end_piece(ObUpload *upload, const ObRaw *raw);

/* Returns the sum of the pieces in the part that is being filled. */
/* Returns the number of the part that this process has ended last; 0: none. */
extern int ob_upload_last_number(const ObUpload *upload);

extern ObRaw ob_upload_pending_raw(const ObUpload *upload);

/* Ends the part, and with it a piece; S3 requires OB_PART_MIN bytes
 * in every part but the last. */
extern ObCode ob_upload_end_part(ObUpload *upload,
								 ObError *error) OB_MUST_CHECK;

/* Returns the bytes of the part that is being filled, for another process to
 * send; borrowed until the upload is freed; NULL if there is no such part. The
 * other process's ob_upload_stats() will count them instead of this one's. */
extern const char *ob_upload_take_tail(ObUpload *upload, size_t *len);

/* Returns whether all parts that have ended have landed. */
extern bool ob_upload_idle(const ObUpload *upload);

/*
 * Completes the upload from the parts of all processes; called by the first
 * one, when all are idle and it has ended its last part (parts[i] has number i
 * + 1; all of it is copied). bytes is the sum of ObUploadStats.bytes of each
 * process at its end.  If the parts that landed do not add up to that, the
 * upload fails with OB_EPROTO.
 */
extern ObCode ob_upload_finish_shared(ObUpload *upload,
									  const ObUploadPart *parts, int nparts,
									  uint64_t bytes,
									  ObError *error) OB_MUST_CHECK;

/*
 * A held upload is a multipart upload even if it has one part only.  When all
 * parts have landed, it is held instead of done, and its object is not
 * visible.  The process that decides about it, perhaps another one, makes an
 * upload to the same bucket and key, which adopts it; then it publishes it,
 * and waits until done, or aborts it.
 *
 *	   new(hold) -> (window, advance)* -> finish -> held
 *	   new -> adopt -> publish -> done
 *	                \________\___ failed -> abort -> aborted
 *
 * Nothing is sent of an empty object until it is published, since no part can
 * be empty.  It is then a PutObject, so the adopting upload must have been
 * given the object's headers.
 */
typedef struct ObUploadHeld
{
	const char *id; /* "" if the object is empty */
	const char *marker;
	uint64_t bytes;
	int nparts;
	const ObUploadPart *parts; /* parts[i] has number i + 1 */
} ObUploadHeld;

#define OB_UPLOAD_MARKER 33 /* size of a marker, with its NUL */

extern bool ob_upload_held(const ObUpload *upload);

/* Describes a held upload; the description borrows from the upload. */
extern void ob_upload_hand_over(const ObUpload *upload, ObUploadHeld *held);

/* Adopts a held upload, whose description is copied; called before the first
 * byte.  A caller that only aborts it needs no parts, and may set nparts to
 * 0. */
extern ObCode ob_upload_adopt(ObUpload *upload, const ObUploadHeld *held,
							  ObError *error) OB_MUST_CHECK;

/* Completes the adopted upload. */
extern void ob_upload_publish(ObUpload *upload);

/* What is known of an object that an upload has made, or holds.  It contains
 * no pointers, so it can be in shared memory. */
typedef struct ObUploadObject
{
	uint64_t bytes;
	/* as the store has reported it, but without quotes; "" if it is held, or
	 * the store has not reported one that can be shown */
	char etag[OB_ETAG_MAX];
	uint32_t crc32; /* as gzip's, whether or not a request has carried it */
} ObUploadObject;

/* Describes the object, once it is done, held, or known to exist although the
 * upload was aborted. */
extern void ob_upload_object(const ObUpload *upload, ObUploadObject *object);

/*
 * Aborts the upload: stops all transfers, and makes S3 delete the parts.  If
 * the request that creates the object is in flight, its response is awaited
 * first, for at most patience_ms.  An upload that is freed before it is
 * aborted may leave parts behind.
 */
extern void ob_upload_abort(ObUpload *upload, int patience_ms);
extern bool ob_upload_aborted(const ObUpload *upload);

/* Returns whether S3 keeps no parts of the upload, which may be known before
 * the object's fate. */
extern bool ob_upload_forgotten(const ObUpload *upload);

/* Returns why parts may have been left behind, or NULL; an object that is
 * known to exist leaves none. */
extern const ObError *ob_upload_abort_error(const ObUpload *upload);

/* Returns whether the object may have become visible although the upload
 * failed or was aborted: its last request was in flight, and its outcome is
 * unknown.  Once aborted, ob_upload_exists() returns whether the object is
 * known to exist. */
extern bool ob_upload_may_exist(const ObUpload *upload);
extern bool ob_upload_exists(const ObUpload *upload);

/* Returns the upload's id; "" until S3 has assigned one. */
extern const char *ob_upload_id(const ObUpload *upload);

extern void ob_upload_stats(const ObUpload *upload, ObUploadStats *stats);

/* Makes the terminal of an export's chain.  It borrows the upload, which must
 * outlive the sink; NULL on error.  Its close finishes the upload, but does
 * not wait for its end. */
extern ObSink *ob_sink_upload_new(ObUpload *upload, ObError *error);

#endif
