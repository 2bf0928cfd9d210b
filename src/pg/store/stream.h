/*
 * stream.h
 *		From an encoder's bytes to S3: the sink chain as a backend drives it.
 *
 * src/pg/store/stream.h
 *
 * A stream is an ObOut over a chain that ends in an upload.  It hands windows
 * to the encoder, keeps transfers moving, waits when all buffers are busy, and
 * raises what goes wrong.  It lives in a memory context, whose reset frees the
 * core's objects without any network traffic; a caller that gives up must
 *abort the upload before, with ob_stream_abort().
 */
#ifndef OB_STREAM_H
#define OB_STREAM_H

#include "core/s3/upload_sink.h"
#include "pg/encode/encode.h"
#include "pg/store/export_spec.h"
#include "pg/catalog/fate.h"
#include "pg/catalog/progress.h"
#include "pg/config/server.h"

/* All borrowed. */
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
	bool crc32;  /* the upload computes the object's CRC-32 */
	bool hold;   /* the upload is held, not completed */
	bool served; /* the store has served the run: if away, it is waited for */
	const ObCodec *codec;
	int compression_level;
	size_t part_size;
	size_t memory;
	int connections;
} ObStreamOptions;

typedef struct ObStream ObStream;

/* Makes one in the current memory context.  Nothing is sent yet, except
 * requests for credentials.  Its progress is shown there, if that is not NULL;
 * borrowed. */
extern ObStream *ob_stream_new(const ObStreamOptions *options,
							   ObProgress *progress);

/* What an export's stream is made with, with all of the memory and connections
 * that it may use; palloc'd or borrowed from the export. */
extern void ob_stream_options(const ObExportSpec *export,
							  ObStreamOptions *options);

/* Makes the stream that an export writes into, likewise. */
extern ObStream *ob_stream_open(const ObExportSpec *export,
								ObProgress *progress);

/* Makes an encoder that writes into the stream, whose rows are the stream's
 * from now on. */
extern ObEncoder *ob_stream_encoder(ObStream *stream,
									const ObCopyOptions *options,
									TupleDesc desc);

/* Where bytes are written that are no rows. */
extern ObOut *ob_stream_out(ObStream *stream);

/* Its client, which the store may have taught something. */
extern ObS3 *ob_stream_client(const ObStream *stream);

/* What it has done, and the processes that it is shared with; no files. */
extern void ob_stream_figures(const ObStream *stream, ObFigures *figures);

/* Moves transfers after each row, and ends parts of a shared upload. */
extern void ob_stream_after_row(ObStream *stream);

/* No more rows come: the progress shows that the rest is sent. */
extern void ob_stream_end_rows(ObStream *stream);

/* All is written: sends the rest, and waits until S3 has the object, or all
 * parts of one that is held. */
extern void ob_stream_finish(ObStream *stream);

/* The object's CRC-32 and a held upload, once it is finished: what
 * ob_upload_crc32() and ob_upload_hand_over() say. */
extern uint32 ob_stream_crc32(const ObStream *stream);
extern void ob_stream_hand_over(const ObStream *stream, ObUploadHeld *held);

typedef struct ObStreamShare
{
	const ObUploadShare *upload; /* borrowed, longer than this struct */
	const char *id; /* of the upload; NULL: this process begins it */
	/* this process's part of what the export may use */
	size_t memory;
	int connections;
	/* what the object begins with, before compression, if this process is to
	 * count it */
	size_t head_len;
	/* NULL, or adds what other processes have done; arg is upload->arg */
	void (*add_others)(ObFigures *figures, void *arg);
} ObStreamShare;

/* ob_upload_begin_shared(), raising. */
extern void ob_stream_share(ObStream *stream, const ObStreamShare *share);

/* Waits for the id of a shared upload that this process began. */
extern const char *ob_stream_upload_id(ObStream *stream);

/* What was written so far becomes a piece of the object (core/sink/sink.h). */
extern void ob_stream_end_piece(ObStream *stream);

/* Ends the part if it has at least so many bytes; at a piece's end only. */
extern void ob_stream_end_part(ObStream *stream, size_t at_least);

/* Adds another process's piece, as it is. */
extern void ob_stream_append(ObStream *stream, const char *data, size_t len,
							 const ObRaw *raw);

/* Adds what the object ends with; raw is of all parts before the one that is
 * being filled. */
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

/* What this process has written into the object. */
extern uint64 ob_stream_bytes(const ObStream *stream);

/* Aborts the upload, as long as that takes; raises if it fails. */
extern void ob_stream_undo(ObStream *stream);

/*
 * Gives up: aborts the upload, in bounded time.  Raises nothing;
 * says in a WARNING what may be left behind, or may have been written.  place
 * is "s3://bucket/key", in the database's encoding.
 */
extern ObFate ob_stream_abort(ObStream *stream, const char *place);

#endif
