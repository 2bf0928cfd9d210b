/*
 * upload.h
 *		One object, uploaded while it is being produced.
 *
 * src/core/s3/upload.h
 *
 * Bytes are written into the part that is being filled; a full part is sent
 * while the next one fills, and its buffer is kept until S3 acknowledged it.
 * An object of one part or less is a single PutObject, anything larger a
 * multipart upload.  A part is only cut when a byte beyond it exists, so no
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
	size_t part_size; /* of the first parts; later ones grow */
	size_t memory;    /* for all part buffers together */
	int connections;  /* parts in flight at most; few at first */
	int max_parts;    /* OB_PARTS_MAX, or what the store allows */
	/* All parts but the last have part_size, as some stores want it.  Such an
	 * upload cannot be shared. */
	bool equal_parts;

	/* Headers of every request: expected bucket owner, requester pays. */
	const ObPair *common;
	int ncommon;
	ObChecksum checksum;
	/* An object of that name is an error (OB_EEXISTS).  The writing request
	 * carries "If-None-Match: *"; as not every store honours that on each
	 * call, a HEAD goes before, unless the endpoint is AWS's own. */
	bool keep_existing;

	/* A CRC-32 is computed for ob_upload_crc32(), even if no request carries
	 * it. */
	bool crc32;
	/* The upload is not completed, but held: see ObUploadHeld. */
	bool hold;
} ObUploadOptions;

typedef struct ObUploadStats
{
	uint64_t bytes;  /* written into the upload.  For a shared one,
					  * its share of the object: without a tail that
					  * was taken, and with the head, less the bytes
					  * that it replaced, if its part has the head */
	uint64_t landed; /* in parts of its own that were acknowledged */
	int parts;       /* acknowledged; 1 for a PutObject */
	int in_flight;
	int retries; /* since it was made */
	bool multipart;
	bool completing; /* all parts have landed, the object is put together */
} ObUploadStats;

/*
 * The size of part n (from 1) when the first one has "base" bytes and memory
 * allows "largest": it doubles after each tenth of the parts allowed, so that
 * a stream of unknown length ends at S3's limit of parts as late as it can.
 */
extern size_t ob_upload_part_size(size_t base, size_t largest, int max_parts,
								  int n);

/* Copies the options.  NULL on error.  Sends nothing, except with
 * keep_existing, where a HEAD for the object is queued. */
extern ObUpload *ob_upload_new(const ObUploadOptions *options, ObError *error);

/* Stops everything, and sends nothing to S3; NULL is allowed. */
extern void ob_upload_free(ObUpload *upload);

/* The same functions as a sink's: see sink.h. */
extern char *ob_upload_window(ObUpload *upload, size_t *avail, ObError *error);
extern ObCode ob_upload_advance(ObUpload *upload, size_t len,
								ObError *error) OB_MUST_CHECK;

/* Whether OB_SINK_ROOM more bytes can be written without a wait. */
extern bool ob_upload_has_room(const ObUpload *upload);

/*
 * The host is about to wait for room: one more part may be in flight, up to
 * the connections allowed.  So a store that keeps up with the encoder gets two
 * parts at a time, and one that is slow or far as many as are needed.
 */
extern void ob_upload_want_room(ObUpload *upload);

/* No more bytes will come. */
extern ObCode ob_upload_finish(ObUpload *upload, ObError *error) OB_MUST_CHECK;

/* The object is there, whole. */
extern bool ob_upload_done(const ObUpload *upload);

/* The error that ended it, or NULL. */
extern const ObError *ob_upload_error(const ObUpload *upload);

/*
 * Several processes can feed one multipart upload.  Each has an ObUpload of
 * its own, that takes part numbers from, and stores ETags in, a state that
 * they share; one of them, the first, begins and completes the upload.  Parts
 * then end only where the host says so, at the end of a row, because what
 * comes next in the object may be another process's: a buffer grows if a row
 * needs it.
 *
 * Each process has a quota of tries and a limit of parts in flight of its own.
 *
 * The callbacks run inside ob_http_drive() or ob_upload_end_part(); they do
 * not block.  All of it is borrowed, and outlives the upload.
 */
typedef struct ObUploadShare
{
	/* Returns the next part's number, from 1; raw is of the pieces in it. */
	int (*take_number)(void *arg, const ObRaw *raw);
	/* The store has acknowledged a part, which is to be kept for
	 * finish_shared. */
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
 * sent at once. memory and connections are this process's part of what the
 * export may use.
 */
extern ObCode ob_upload_begin_shared(ObUpload *upload,
									 const ObUploadShare *share,
									 const char *id, size_t memory,
									 int connections,
									 ObError *error) OB_MUST_CHECK;

/* Bytes in the part that is being filled, and whether they are enough. */
extern size_t ob_upload_pending(const ObUpload *upload);
extern bool ob_upload_part_full(const ObUpload *upload);

/* Ends a piece (sink.h), which began after the last piece or with the part,
 * and had these bytes before it was compressed. */
extern void ob_upload_end_piece(ObUpload *upload, const ObRaw *raw);

/* The sum of the pieces in the part that is being filled. */
extern ObRaw ob_upload_pending_raw(const ObUpload *upload);

/* The part ends here, and with it a piece; S3 wants OB_PART_MIN bytes in all
 * but the last. */
extern ObCode ob_upload_end_part(ObUpload *upload,
								 ObError *error) OB_MUST_CHECK;

/* The bytes of the part that is being filled, for another process to send:
 * borrowed, until the upload is freed.  NULL if there is none.  They do not
 * count in ob_upload_stats() any more, as they will in that process's. */
extern const char *ob_upload_take_tail(ObUpload *upload, size_t *len);

/* All parts that were ended have landed. */
extern bool ob_upload_idle(const ObUpload *upload);

/*
 * Completes the upload from the parts of all processes; called by the first
 * one, when all are idle and it has ended its last part (parts[i] has number i
 * + 1; all of it is copied). bytes is the sum of ObUploadStats.bytes of each
 * process at its end.  If the parts that landed do not make up that, nothing
 * is completed, and the upload has failed with OB_EPROTO.
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

#define OB_UPLOAD_MARKER 33 /* bytes of a marker, with its NUL */

extern bool ob_upload_held(const ObUpload *upload);

/* Describes a held upload; borrowed from it. */
extern void ob_upload_hand_over(const ObUpload *upload, ObUploadHeld *held);

/* Adopts a held upload; called before the first byte.  All is copied.  A
 * caller that only wants to abort needs no parts: nparts 0. */
extern ObCode ob_upload_adopt(ObUpload *upload, const ObUploadHeld *held,
							  ObError *error) OB_MUST_CHECK;

/* Completes the adopted upload. */
extern void ob_upload_publish(ObUpload *upload);

/* The object's CRC-32, that of gzip, once it is done or held; it has one with
 * OB_CHECKSUM_CRC32 or options.crc32. */
extern uint32_t ob_upload_crc32(const ObUpload *upload);

/*
 * Gives up: stops all transfers, and makes S3 forget the parts.  If the
 * request that makes the object is under way, its response is waited for
 * before that, at most for patience_ms.  An upload that is freed before it is
 * aborted may leave parts behind.
 */
extern void ob_upload_abort(ObUpload *upload, int patience_ms);
extern bool ob_upload_aborted(const ObUpload *upload);

/* Whether S3 has no parts of it any more, even before the object's fate is
 * known. */
extern bool ob_upload_forgotten(const ObUpload *upload);

/* NULL, or why parts may have been left behind; there are none of an object
 * that is known to be there. */
extern const ObError *ob_upload_abort_error(const ObUpload *upload);

/* Whether the object may have become visible although we gave up: the last
 * request of the upload was under way, and its outcome is not known.
 * ob_upload_exists() is set once it is aborted, if the object is known to have
 * become visible. */
extern bool ob_upload_may_exist(const ObUpload *upload);
extern bool ob_upload_exists(const ObUpload *upload);

/* "" until S3 gave one. */
extern const char *ob_upload_id(const ObUpload *upload);

extern void ob_upload_stats(const ObUpload *upload, ObUploadStats *stats);

#endif
