/*
 * stream.c
 *		A stream: the sink chain as a backend drives it.
 *
 * src/pg/store/stream.c
 */
#include "postgres.h"

#include <time.h>

#include "miscadmin.h"
#include "utils/memutils.h"

#include "pg/store/client.h"
#include "pg/store/object_headers.h"
#include "pg/base/errors.h"
#include "pg/store/stream.h"
#include "pg/base/wait.h"

#define ABORT_MS 5000
#define AGAIN_MS 200
/* The time to look for an object of one request, which has no upload to abort.
 */
#define LOOK_MS 1000
/* The time between two pumps while rows come slowly. */
#define PUMP_MS 10

struct ObStream
{
	ObOut out; /* first: ObOut's callback gets the stream by it */
	const ObServer *server;
	ObS3 *s3;
	ObHttp *http;
	ObUpload *upload;
	ObSink *terminal;
	ObSink *chain; /* the codec, or the terminal */
	const ObCodec *codec;
	char *window;    /* out.ptr at the beginning of the window */
	int64 pumped_at; /* coarse clock, ms */
	bool shared;     /* other processes write, too: parts end where rows do */
	ObRaw piece;     /* if shared: the piece that is being written */

	const ObEncoder *encoder; /* NULL: there is none yet */
	/* counted where windows are handed on, not for each row */
	uint64 raw_bytes;
	void (*add_others)(ObFigures *figures, void *arg); /* from ObStreamShare */
	void *others;
	ObProgress *progress; /* NULL: not shown */
	bool ending;          /* no more rows come */
	MemoryContextCallback callback;
};

/* Returns the time, exact to about 4 ms, at a tenth of the cost of the exact
 * clock. */
static int64
coarse_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
make_figures(const ObStream *stream, const ObUploadStats *stats,
			 ObFigures *figures)
{
	*figures = (ObFigures){
		.rows = stream->encoder ? stream->encoder->rows : 0,
		.raw_bytes = stream->raw_bytes,
		.bytes = stats->landed,
		.parts = stats->parts,
		.retries = stats->retries,
	};
	if (stream->add_others)
		stream->add_others(figures, stream->others);
}

void
ob_stream_figures(const ObStream *stream, ObFigures *figures)
{
	ObUploadStats stats;

	ob_upload_stats(stream->upload, &stats);
	make_figures(stream, &stats, figures);
}

static void
raise_upload_error(const ObStream *stream)
{
	const ObError *error = ob_upload_error(stream->upload);

	if (error)
		ob_report(error);
}

static void
show(const ObStream *stream)
{
	ObPhase phase = stream->ending ? OB_PHASE_UPLOAD : OB_PHASE_QUERY;
	ObUploadStats stats;
	ObFigures figures;

	if (!stream->progress)
		return;
	ob_upload_stats(stream->upload, &stats);
	make_figures(stream, &stats, &figures);
	ob_progress_show(stream->progress,
					 stats.completing ? OB_PHASE_COMPLETE : phase, &figures,
					 stats.in_flight);
}

static void
pump(ObStream *stream)
{
	ob_wait_pump(stream->http);
	stream->pumped_at = coarse_ms();
	show(stream);
	raise_upload_error(stream);
}

static void
wait_once(ObStream *stream)
{
	show(stream);
	ob_wait(stream->http);
	raise_upload_error(stream);
}

/* Hands the bytes written so far to the chain. */
static void
flush(ObStream *stream)
{
	ObError error;
	size_t len = stream->out.ptr - stream->window;

	/* the memory behind it may be in use, perhaps by all processes */
	if (unlikely(stream->out.ptr > stream->out.end))
		elog(PANIC, "rows were written beyond their buffer");
	if (len == 0)
		return;
	ob_error_clear(&error);
	if (stream->shared && stream->codec->crc32)
		stream->piece.crc32 =
			ob_crc32(stream->piece.crc32, stream->window, len);
	stream->piece.len += len;
	stream->window = stream->out.ptr;
	stream->raw_bytes += len;
	if (ob_sink_advance(stream->chain, len, &error) != OB_OK)
		ob_report(&error);
}

static void
wait_for_room(ObStream *stream)
{
	while (!ob_upload_has_room(stream->upload))
	{
		ob_upload_want_room(stream->upload);
		wait_once(stream);
	}
}

/* Makes room for the encoder: the callback of ObOut. */
static void
refill(ObOut *out)
{
	ObStream *stream = (ObStream *) out;
	ObError error;
	size_t avail;

	CHECK_FOR_INTERRUPTS();
	flush(stream);
	pump(stream);
	wait_for_room(stream);
	ob_error_clear(&error);
	stream->window = ob_sink_window(stream->chain, &avail, &error);
	if (!stream->window)
		ob_report(&error);
	out->ptr = stream->window;
	out->end = stream->window + avail;
}

ObEncoder *
ob_stream_encoder(ObStream *stream, const ObCopyOptions *options,
				  TupleDesc desc)
{
	ObEncoder *encoder = ob_encoder_new(options, desc, &stream->out);

	stream->encoder = encoder;
	return encoder;
}

ObOut *
ob_stream_out(ObStream *stream)
{
	return &stream->out;
}

ObS3 *
ob_stream_client(const ObStream *stream)
{
	return stream->s3;
}

void
ob_stream_end_rows(ObStream *stream)
{
	stream->ending = true;
}

void
ob_stream_after_row(ObStream *stream)
{
	if (stream->shared && ob_upload_part_full(stream->upload))
	{
		ob_stream_end_piece(stream);
		ob_stream_end_part(stream, OB_PART_MIN);
		pump(stream);
	}
	else if (coarse_ms() - stream->pumped_at >= PUMP_MS)
		pump(stream);
}

/* ---- making a stream ---- */

static void
free_core(void *arg)
{
	ObStream *stream = arg;

	ob_chain_release(stream->chain);
	ob_upload_free(stream->upload);
	stream->chain = NULL;
	stream->upload = NULL;
}

static void
make_chain(ObStream *stream, const ObStreamOptions *options)
{
	ObError error;

	ob_error_clear(&error);
	stream->terminal = ob_sink_upload_new(stream->upload, &error);
	stream->chain = stream->terminal;
	if (stream->chain && options->codec->create)
	{
		ObSink *codec = options->codec->create(
			stream->chain, options->compression_level, &error);

		if (codec)
			stream->chain = codec;
	}
	if (error.code != OB_OK || ob_chain_open(stream->chain, &error) != OB_OK)
		ob_report(&error);
}

ObStream *
ob_stream_new(const ObStreamOptions *options, ObProgress *progress)
{
	ObStream *stream = palloc0(sizeof(ObStream));
	ObS3 *s3 = ob_client_new(options->server, options->connections);
	ObUploadOptions upload = {
		.s3 = s3,
		.bucket = options->bucket,
		.key = options->key,
		.headers = options->headers,
		.nheaders = options->nheaders,
		.common = options->common,
		.ncommon = options->ncommon,
		.checksum = options->checksum,
		.keep_existing = options->keep_existing,
		.hold = options->hold,
		.part_size = options->part_size,
		.memory = options->memory,
		.connections = options->connections,
		.max_parts = options->server->max_parts,
		.equal_parts = options->server->equal_parts,
	};
	ObError error;

	/* registered after the client's, so it runs before it */
	stream->callback.func = free_core;
	stream->callback.arg = stream;
	MemoryContextRegisterResetCallback(CurrentMemoryContext,
									   &stream->callback);
	stream->server = options->server;
	stream->codec = options->codec;
	stream->progress = progress;
	stream->s3 = s3;
	stream->http = ob_s3_http(s3);
	stream->out.refill = refill;
	ob_error_clear(&error);
	stream->upload = ob_upload_new(&upload, &error);
	if (!stream->upload)
		ob_report(&error);
	make_chain(stream, options);
	ob_client_wait_credentials(s3, options->server);
	/* the client has forgotten it, or was never used by the run */
	if (options->served)
		ob_s3_note_served(s3);
	return stream;
}

void
ob_stream_options(const ObExportSpec *export, ObStreamOptions *options)
{
	const ObOptions *wanted = export->options;
	ObPair *headers = palloc(sizeof(ObPair) * OB_OBJECT_HEADERS_MAX);
	ObPair *common = palloc(sizeof(ObPair) * OB_COMMON_HEADERS_MAX);

	*options = (ObStreamOptions){
		.server = export->server,
		.bucket = export->bucket,
		.key = export->key,
		.headers = headers,
		.nheaders = ob_headers_of_object(wanted, headers),
		.common = common,
		.ncommon = ob_headers_common(wanted, common),
		.checksum = wanted->checksum,
		.keep_existing = wanted->keep_existing,
		.hold = export->held != NULL,
		.codec = wanted->codec,
		.compression_level = wanted->compression_level,
		.part_size = wanted->part_size,
		.memory = (size_t) onboard_upload_memory * 1024 -
				  wanted->copy.parquet.memory,
		.connections = wanted->connections,
	};
}

ObStream *
ob_stream_open(const ObExportSpec *export, ObProgress *progress)
{
	ObStreamOptions options;

	ob_stream_options(export, &options);
	return ob_stream_new(&options, progress);
}

/* Only the leader warns of the clock: it was the first to send something. */
static void
wait_until_done(ObStream *stream)
{
	for (;;)
	{
		raise_upload_error(stream);
		if (ob_upload_done(stream->upload) || ob_upload_held(stream->upload))
			break;
		wait_once(stream);
	}
	ob_client_warn_of_clock(stream->s3, stream->server);
}

void
ob_stream_finish(ObStream *stream)
{
	ObError error;

	flush(stream);
	pump(stream);
	wait_for_room(stream);
	ob_error_clear(&error);
	if (ob_chain_close(stream->chain, &error) != OB_OK)
		ob_report(&error);
	wait_until_done(stream);
}

void
ob_stream_object(const ObStream *stream, ObUploadObject *object)
{
	ob_upload_object(stream->upload, object);
}

void
ob_stream_hand_over(const ObStream *stream, ObUploadHeld *held)
{
	ob_upload_hand_over(stream->upload, held);
}

/* ---- shared by several processes ---- */

void
ob_stream_share(ObStream *stream, const ObStreamShare *share)
{
	ObError error;

	ob_error_clear(&error);
	stream->shared = true;
	stream->raw_bytes += share->head_len;
	stream->add_others = share->add_others;
	stream->others = share->upload->arg;
	if (ob_chain_in_pieces(stream->chain, &error) != OB_OK ||
		ob_upload_begin_shared(stream->upload, share->upload, share->id,
							   share->memory, share->connections,
							   &error) != OB_OK)
		ob_report(&error);
	pump(stream);
}

const char *
ob_stream_upload_id(ObStream *stream)
{
	for (;;)
	{
		raise_upload_error(stream);
		if (ob_upload_id(stream->upload)[0] != '\0')
			return ob_upload_id(stream->upload);
		wait_once(stream);
	}
}

void
ob_stream_end_piece(ObStream *stream)
{
	ObError error;

	flush(stream);
	wait_for_room(stream);
	ob_error_clear(&error);
	if (ob_chain_cut(stream->chain, &error) != OB_OK)
		ob_report(&error);
	/* the window is void: the next byte asks for another one */
	stream->window = stream->out.ptr = stream->out.end = NULL;
	if (stream->piece.len == 0)
		return;
	ob_upload_end_piece(stream->upload, &stream->piece);
	stream->piece = (ObRaw){0, 0};
}

void
ob_stream_end_part(ObStream *stream, size_t at_least)
{
	ObError error;

	if (ob_upload_pending(stream->upload) < at_least)
		return;
	ob_error_clear(&error);
	if (ob_upload_end_part(stream->upload, &error) != OB_OK)
		ob_report(&error);
}

/* Writes bytes that do not pass through the codec. */
static void
write_as_it_is(ObStream *stream, const char *data, size_t len)
{
	while (len > 0)
	{
		size_t now = Min(len, OB_SINK_WINDOW_MAX);
		ObError error;

		CHECK_FOR_INTERRUPTS();
		pump(stream);
		wait_for_room(stream);
		ob_error_clear(&error);
		if (ob_sink_write(stream->terminal, data, now, &error) != OB_OK)
			ob_report(&error);
		data += now;
		len -= now;
	}
}

int
ob_stream_last_part(const ObStream *stream)
{
	return ob_upload_last_number(stream->upload);
}

uint64
ob_stream_pending(const ObStream *stream)
{
	return ob_upload_pending(stream->upload);
}

void
ob_stream_append(ObStream *stream, const char *data, size_t len,
				 const ObRaw *raw)
{
	ob_stream_end_piece(stream);
	if (len == 0)
		return;
	write_as_it_is(stream, data, len);
	ob_upload_end_piece(stream->upload, raw);
	pump(stream);
	if (ob_upload_part_full(stream->upload))
		ob_stream_end_part(stream, OB_PART_MIN);
}

void
ob_stream_end_object(ObStream *stream, const ObRaw *raw)
{
	char end[OB_CODEC_END_MAX];
	ObRaw pending = ob_upload_pending_raw(stream->upload);
	ObRaw all = *raw;

	ob_raw_add(&all, &pending);
	write_as_it_is(stream, end, ob_codec_end(stream->codec, &all, end));
}

const char *
ob_stream_take_tail(ObStream *stream, size_t *len, ObRaw *raw)
{
	*raw = ob_upload_pending_raw(stream->upload);
	return ob_upload_take_tail(stream->upload, len);
}

void
ob_stream_drain(ObStream *stream)
{
	for (;;)
	{
		raise_upload_error(stream);
		if (ob_upload_idle(stream->upload))
			return;
		ob_upload_want_room(stream->upload);
		wait_once(stream);
	}
}

uint64
ob_stream_bytes(const ObStream *stream)
{
	ObUploadStats stats;

	ob_upload_stats(stream->upload, &stats);
	return stats.bytes;
}

void
ob_stream_finish_shared(ObStream *stream, const ObUploadPart *parts,
						int nparts, uint64 bytes)
{
	ObError error;

	ob_error_clear(&error);
	if (ob_upload_finish_shared(stream->upload, parts, nparts, bytes,
								&error) != OB_OK)
		ob_report(&error);
	wait_until_done(stream);
}

/* ---- ending without an object ---- */

void
ob_stream_undo(ObStream *stream)
{
	const ObError *error;

	ob_upload_abort(stream->upload, 0);
	while (!ob_upload_aborted(stream->upload))
		ob_wait(stream->http);
	ob_client_warn_of_clock(stream->s3, stream->server);
	error = ob_upload_abort_error(stream->upload);
	if (error)
		ob_report(error);
}

static bool
is_aborted(const void *arg)
{
	return ob_upload_aborted(arg);
}

/*
 * Aborts the upload in bounded time.  Exports that are nested fail one right
 * after the other: if the store has not responded to one abort in time, the
 * next abort is sent, but hardly waited for.  Otherwise each level would take
 * its time while interrupts are held.
 */
static bool
abort_bounded(ObStream *stream, bool multipart)
{
	static int64 timed_out = 0;
	bool again = ob_http_now_ms() - timed_out < AGAIN_MS;
	int bound = multipart ? ABORT_MS : OB_FATE_PATIENCE_MS + LOOK_MS;
	bool aborted;

	ob_upload_abort(stream->upload, again ? 0 : OB_FATE_PATIENCE_MS);
	aborted = ob_wait_bounded(stream->http, is_aborted, stream->upload,
							  again ? AGAIN_MS : bound);
	if (!aborted)
		timed_out = ob_http_now_ms();
	return aborted;
}

static void
warn_of_upload(const ObStream *stream, const char *place)
{
	const char *id = ob_upload_id(stream->upload);

	ereport(WARNING,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("could not abort the upload of \"%s\" in time",
					ob_report_plain_text(place)),
			 id[0] ? errdetail("Upload id \"%s\".", id)
				   : errdetail("The store has not sent an upload id."),
			 id[0] ? errhint("onboard_abort_uploads() removes it.")
				   : errhint("If the upload was begun, "
							 "onboard_abort_uploads() removes it.")));
}

ObFate
ob_stream_abort(ObStream *stream, const char *place)
{
	ObUploadStats stats;
	const ObError *error;
	ObFate fate;

	if (!stream->upload)
		return OB_FATE_NONE;
	HOLD_INTERRUPTS();
	ob_upload_stats(stream->upload, &stats);
	if (!abort_bounded(stream, stats.multipart) &&
		!ob_upload_forgotten(stream->upload))
		warn_of_upload(stream, place);
	else if ((error = ob_upload_abort_error(stream->upload)) != NULL)
		ob_report_not_aborted(error, place);
	fate = ob_fate_of(stream->upload);
	ob_fate_warn(fate, place);
	RESUME_INTERRUPTS();
	return fate;
}
