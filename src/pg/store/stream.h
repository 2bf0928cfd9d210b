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
	bool crc32; /* the upload computes the object's CRC-32 */
	bool hold;  /* the upload is held, not completed */
	const ObCodec *codec;
	int compression_level;
	size_t part_size;
	size_t memory;
	int connections;
} ObStreamOptions;

typedef struct ObStream
{
	ObOut out; /* first: the encoder hands it back to us */
	const ObServer *server;
	ObS3 *s3;
	ObHttp *http;
	ObUpload *upload;
	ObSink *terminal;
	ObSink *chain; /* the codec, or the terminal */
	const ObCodec *codec;
	char *window;    /* where out.ptr began */
	int64 pumped_at; /* coarse clock, ms */
	bool shared;     /* with other processes: parts end where rows do */
	ObRaw piece;     /* if shared: of the piece that is being written */

	/* Counted where windows are handed on, not for each row. */
	const uint64 *rows; /* the encoder's; NULL: there is none yet */
	uint64 raw_bytes;
	/* NULL, or adds what other processes have done. */
	void (*add_others)(ObFigures *figures, void *arg);
	void *others;
	/* NULL: not reported.  Borrowed; set after the stream was made. */
	ObProgress *progress;
	bool ending; /* no more rows come */
	MemoryContextCallback callback;
} ObStream;

/* Makes one in the current memory context.  Nothing is sent yet, except
 * requests for credentials. */
extern ObStream *ob_stream_new(const ObStreamOptions *options);

/* What an export's stream is made with, with all of the memory and connections
 * that it may use; palloc'd or borrowed from the export. */
extern void ob_stream_options(const ObExportSpec *export,
							  ObStreamOptions *options);

/* Makes the stream that an export writes into, likewise. */
extern ObStream *ob_stream_open(const ObExportSpec *export);

/* What it has done, and with add_others the others; no files. */
extern void ob_stream_figures(const ObStream *stream, ObFigures *figures);

/* Moves transfers after each row, and ends parts of a shared upload. */
extern void ob_stream_after_row(ObOut *out);

/* All is written: sends the rest, and waits until S3 has the object, or all
 * parts of one that is held. */
extern void ob_stream_finish(ObStream *stream);

/* ob_upload_begin_shared(), raising. */
extern void ob_stream_share(ObStream *stream, const ObUploadShare *share,
							const char *id, size_t memory, int connections);

/* Waits for the id of a shared upload that this process began. */
extern const char *ob_stream_upload_id(ObStream *stream);

/* What was written so far becomes a piece of the object (core/sink/sink.h). */
extern void ob_stream_end_piece(ObStream *stream);

/* Ends the part if it has at least so many bytes; at a piece's end only. */
extern void ob_stream_end_part(ObStream *stream, size_t at_least);

/* Adds another process's piece, as it is. */
extern void ob_stream_append(ObStream *stream, const char *data, size_t len,
							 const ObRaw *raw);

/* Adds what the object ends with; raw is of all of it. */
extern void ob_stream_end_object(ObStream *stream, const ObRaw *raw);

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
