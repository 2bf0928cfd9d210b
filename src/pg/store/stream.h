/*
 * stream.h
 *		A stream: the sink chain as a backend drives it.
 *
 * src/pg/store/stream.h
 *
 * A stream is an ObOut over a chain that ends in an upload.  It hands windows
 * to the encoder, keeps transfers moving, waits when all buffers are busy, and
 * raises errors.  It lives in a memory context, whose reset frees the core's
 * objects without any network traffic; a caller that gives up must abort the
 * upload before, with ob_stream_abort().
 */
#ifndef OB_STREAM_H
#define OB_STREAM_H

#include "core/s3/upload.h"
#include "pg/encode/encode.h"
#include "pg/store/export_spec.h"
#include "pg/catalog/fate.h"
#include "pg/catalog/progress.h"
#include "pg/config/server.h"

/* All pointers are borrowed. */
typedef struct ObStreamOptions
{
	const ObServer *server;
	const char *bucket;
	const char *key; /* UTF-8 */
	const ObPair *headers;
	int nheaders;
	const ObPair *common; /* headers of all requests */
	int ncommon;
	ObChecksum checksum;
	bool keep_existing;
	bool hold;   /* the upload is held, not completed */
	bool served; /* the store has served the run: if away, it is waited for */
	const ObCodec *codec;
	int compression_level;
	size_t part_size;
	size_t memory;
	int connections;
} ObStreamOptions;

typedef struct ObStream ObStream;

/* Makes a stream in the current memory context.  Nothing is sent yet, except
 * requests for credentials.  The stream reports to progress, which is
 * borrowed, unless that is NULL. */
extern ObStream *ob_stream_new(const ObStreamOptions *options,
							   ObProgress *progress);

/* Fills the options of an export's stream, with all memory and connections
 * that the export may use; palloc'd or borrowed from the export. */
extern void ob_stream_options(const ObExportSpec *export,
							  ObStreamOptions *options);

/* Makes the stream that an export writes into, in the same way. */
extern ObStream *ob_stream_open(const ObExportSpec *export,
								ObProgress *progress);

/* Makes an encoder that writes into the stream.  The stream counts its rows.
 */
extern ObEncoder *ob_stream_encoder(ObStream *stream,
									const ObCopyOptions *options,
									TupleDesc desc);

/* Returns where bytes are written that are not rows. */
extern ObOut *ob_stream_out(ObStream *stream);

/* Returns the stream's client, which may have learnt from the store. */
extern ObS3 *ob_stream_client(const ObStream *stream);

/* Returns the figures of this process and of those that it shares the upload
 * with, without files. */
extern void ob_stream_figures(const ObStream *stream, ObFigures *figures);

/* Moves transfers after each row, and ends parts of a shared upload. */
extern void ob_stream_after_row(ObStream *stream);

/* Marks the end of rows: the progress shows that the rest is sent. */
extern void ob_stream_end_rows(ObStream *stream);

/* Sends the rest, and waits until S3 has the object, or all parts of a held
 * one. */
extern void ob_stream_finish(ObStream *stream);

/* Describe the object (see ob_upload_object()) and a held upload, after
 * ob_stream_finish(). */
extern void ob_stream_object(const ObStream *stream, ObUploadObject *object);
extern void ob_stream_hand_over(const ObStream *stream, ObUploadHeld *held);

typedef struct ObStreamShare
{
	const ObUploadShare *upload; /* borrowed, longer than this struct */
	const char *id; /* id of the upload; NULL: this process begins it */
	/* the part of the export's memory and connections that this process may
	 * use */
	size_t memory;
	int connections;
	/* length of the object's beginning before compression, if this process is
	 * to count it */
	size_t head_len;
	/* NULL, or adds what other processes have done; arg is upload->arg */
	void (*add_others)(ObFigures *figures, void *arg);
} ObStreamShare;

/* Calls ob_upload_begin_shared(); raises on failure. */
extern void ob_stream_share(ObStream *stream, const ObStreamShare *share);

/* Waits for the id of a shared upload that this process has begun. */
extern const char *ob_stream_upload_id(ObStream *stream);

/* Ends a piece of the object (core/sink/sink.h) with the bytes written so far.
 */
extern void ob_stream_end_piece(ObStream *stream);

/* Ends the part if it has at least so many bytes.  Must follow the end of a
 * piece. */
extern void ob_stream_end_part(ObStream *stream, size_t at_least);

/* Returns the number of the part that this process has ended last; 0: none. */
extern int ob_stream_last_part(const ObStream *stream);

/* Returns how many bytes the part has that is being filled, after the end of a
 * piece. */
extern uint64 ob_stream_pending(const ObStream *stream);

/* Adds a piece that another process has made, without changes. */
extern void ob_stream_append(ObStream *stream, const char *data, size_t len,
							 const ObRaw *raw);

/* Adds the end of the object.  raw is the sum of all parts before the one that
 * is being filled. */
extern void ob_stream_end_object(ObStream *stream, const ObRaw *raw);

/* Takes the bytes that are too few for a part, for another process to append:
 * see ob_upload_take_tail(). */
extern const char *ob_stream_take_tail(ObStream *stream, size_t *len,
									   ObRaw *raw);

/* Waits until all parts that were ended have landed. */
extern void ob_stream_drain(ObStream *stream);

/* Completes a shared upload from the parts of all processes. */
extern void ob_stream_finish_shared(ObStream *stream,
									const ObUploadPart *parts, int nparts,
									uint64 bytes);

/* Returns how many bytes this process has written into the object. */
extern uint64 ob_stream_bytes(const ObStream *stream);

/* Aborts the upload, however long that takes; raises if it fails. */
extern void ob_stream_undo(ObStream *stream);

/*
 * Gives up: aborts the upload, in bounded time.  Raises nothing, but warns of
 * an upload that may be left behind, and of an object that may have been
 * written.  place is "s3://bucket/key", in the database's encoding.
 */
extern ObFate ob_stream_abort(ObStream *stream, const char *place);

#endif
