/*
 * sink_zlib.c
 *		A codec: gzip by zlib.
 *
 * src/core/sink/sink_zlib.c
 *
 * Each member has a header with neither a name nor a time: equal input gives
 * equal output.
 *
 * Why the output fits in OB_SINK_ROOM: zlib holds back at most its 64 KiB of
 * sliding window, one block of 16,383 symbols not yet encoded (31 bits each
 * at most, so under 64 KiB) and 64 KiB of encoded bytes.  What does not
 * compress is stored, which adds less than 1%.  So 128 KiB of input and an
 * end or two together give less than 330 KiB.
 */
#include "core/sink/sink.h"

#include <stdlib.h>
#include <zlib.h>

#define ZLIB_WINDOW_MAX (64 * 1024)
#define ZLIB_WINDOW_BITS (15 + 16) /* 32 KiB of history, gzip's framing */
#define ZLIB_WINDOW_BITS_RAW (-15) /* the same without framing */
#define ZLIB_MEM_LEVEL 8           /* zlib's own default */

typedef struct ObZlibSink
{
	ObSink base;
	z_stream stream;
	int level;
	bool in_pieces;
	size_t window_size;
	char window[ZLIB_WINDOW_MAX];
} ObZlibSink;

static ObCode zlib_in_pieces(ObSink *sink, ObError *error);
static char *zlib_window(ObSink *sink, size_t *avail, ObError *error);
static ObCode zlib_advance(ObSink *sink, size_t len, ObError *error);
static ObCode zlib_cut(ObSink *sink, ObError *error);
static ObCode zlib_close(ObSink *sink, ObError *error);
static void zlib_release(ObSink *sink);

static const ObSinkOps zlib_ops = {
	.name = "zlib",
	.in_pieces = zlib_in_pieces,
	.window = zlib_window,
	.advance = zlib_advance,
	.cut = zlib_cut,
	.close = zlib_close,
	.release = zlib_release,
};

static ObCode
zlib_fail(int status, ObError *error)
{
	ob_error_what(error, "could not compress with gzip");
	if (status == Z_MEM_ERROR)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return ob_error_set(error, OB_EIO, "zlib returned status %d", status);
}

/* The window for which the worst data (random, of an alphabet of two letters)
 * takes 50 ms on the machine of the measurement; 64 KiB take 200 ms at level
 * 9. */
static size_t
zlib_window_size(int level)
{
	if (level <= 7)
		return ZLIB_WINDOW_MAX;
	return level == 8 ? 32 * 1024 : 16 * 1024;
}

static int
zlib_init(ObZlibSink *zlib, int window_bits)
{
	return deflateInit2(&zlib->stream, zlib->level, Z_DEFLATED, window_bits,
						ZLIB_MEM_LEVEL, Z_DEFAULT_STRATEGY);
}

ObSink *
ob_sink_zlib_new(ObSink *next, int level, ObError *error)
{
	ObZlibSink *zlib = calloc(1, sizeof(*zlib));
	int status;

	if (zlib == NULL)
	{
		zlib_fail(Z_MEM_ERROR, error);
		return NULL;
	}
	zlib->base.ops = &zlib_ops;
	zlib->base.next = next;
	zlib->level = level;
	zlib->window_size = zlib_window_size(level);

	status = zlib_init(zlib, ZLIB_WINDOW_BITS);
	if (status != Z_OK)
	{
		zlib_fail(status, error);
		free(zlib);
		return NULL;
	}
	return &zlib->base;
}

/* zlib cannot change the framing of an existing stream. */
static ObCode
zlib_in_pieces(ObSink *sink, ObError *error)
{
	ObZlibSink *zlib = (ObZlibSink *) sink;
	int status;

	(void) deflateEnd(&zlib->stream);
	status = zlib_init(zlib, ZLIB_WINDOW_BITS_RAW);
	zlib->in_pieces = true;
	return status == Z_OK ? OB_OK : zlib_fail(status, error);
}

static char *
zlib_window(ObSink *sink, size_t *avail, ObError *error)
{
	ObZlibSink *zlib = (ObZlibSink *) sink;

	*avail = zlib->window_size;
	return zlib->window;
}

/*
 * One call of zlib, straight into the window of the next sink.  Z_BUF_ERROR
 * ("no progress") cannot happen here, since there always is room for output
 * and either input or an end to write; were it let through, it would loop.
 */
static ObCode
zlib_step(ObZlibSink *zlib, int flush, int *status, ObError *error)
{
	z_stream *stream = &zlib->stream;
	size_t avail;
	char *out = ob_sink_window(zlib->base.next, &avail, error);

	if (out == NULL)
		return error->code;
	stream->next_out = (Bytef *) out;
	stream->avail_out = (uInt) avail;
	*status = deflate(stream, flush);
	if (*status != Z_OK && *status != Z_STREAM_END)
		return zlib_fail(*status, error);
	return ob_sink_advance(zlib->base.next, avail - stream->avail_out, error);
}

static ObCode
zlib_advance(ObSink *sink, size_t len, ObError *error)
{
	ObZlibSink *zlib = (ObZlibSink *) sink;
	int status;

	zlib->stream.next_in = (Bytef *) zlib->window;
	zlib->stream.avail_in = (uInt) len;
	while (zlib->stream.avail_in > 0)
	{
		ObCode code = zlib_step(zlib, Z_NO_FLUSH, &status, error);

		if (code != OB_OK)
			return code;
	}
	return OB_OK;
}

static ObCode
zlib_cut(ObSink *sink, ObError *error)
{
	ObZlibSink *zlib = (ObZlibSink *) sink;
	ObCode code = zlib_close(sink, error);
	int status;

	if (code != OB_OK)
		return code;
	status = deflateReset(&zlib->stream);
	return status == Z_OK ? OB_OK : zlib_fail(status, error);
}

/*
 * Ends a member; of a piece, the last block, at a byte's end.  zlib has given
 * all of that when it leaves room; if its end filled a window exactly, the
 * next call gives another empty block of five bytes, which does no harm.
 */
static ObCode
zlib_close(ObSink *sink, ObError *error)
{
	ObZlibSink *zlib = (ObZlibSink *) sink;
	int flush = zlib->in_pieces ? Z_FULL_FLUSH : Z_FINISH;
	bool ended;

	do
	{
		int status;
		ObCode code = zlib_step(zlib, flush, &status, error);

		if (code != OB_OK)
			return code;
		ended = zlib->in_pieces ? zlib->stream.avail_out > 0
								: status == Z_STREAM_END;
	} while (!ended);
	return OB_OK;
}

static void
zlib_release(ObSink *sink)
{
	ObZlibSink *zlib = (ObZlibSink *) sink;

	/* Its only complaint is that input was dropped: true after an error. */
	(void) deflateEnd(&zlib->stream);
	free(zlib);
}
