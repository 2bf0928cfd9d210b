/*
 * sink_zstd.c
 *		A codec: zstd by libzstd's streaming interface.
 *
 * src/core/sink/sink_zstd.c
 *
 * Frames with a checksum of the content.  Compression stays in the calling
 * thread (ZSTD_c_nbWorkers is never set): a database backend must not have
 * others.
 *
 * Why the output fits in OB_SINK_ROOM: libzstd collects input into blocks of
 * at most 128 KiB, and holds back at most one such block and the output of
 * another.  What does not compress is stored, which adds 3 bytes a block and
 * is never over ZSTD_compressBound, 0.4%.  So 128 KiB of input and an end or
 * two together give at most the output of three blocks, under 400 KiB.
 *
 * A block is compressed in one call, which nothing can cancel.  From level 13
 * on, a block of 128 KiB of bad data (random, of an alphabet of four or eight
 * letters) takes over 0.1 s, at 19 0.2 s; so there we end blocks after 32 KiB
 * at most, which makes a table 0.5% larger, and the worst call is 0.06 s, at
 * 19 0.09 s.
 *
 * Memory, most of it libzstd's tables: 1.4 MB at level 1, 4 at 3, 9 at 8, 30
 * at 10 and 11, 36 to 72 at 12 to 18, and 94 at 19.
 */
#include "core/sink/sink.h"

#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_SINK_WINDOW (64 * 1024)
#define ZSTD_SLOW_LEVEL 13
#define ZSTD_SLOW_BLOCK (32 * 1024)
#define ZSTD_BLOCK_MAX (128 * 1024)

typedef struct ObZstdSink
{
	ObSink base;
	ZSTD_CCtx *context;
	bool slow;      /* end blocks early */
	size_t unended; /* input in a block without end, if slow */
	char window[ZSTD_SINK_WINDOW];
} ObZstdSink;

static char *zstd_window(ObSink *sink, size_t *avail, ObError *error);
static ObCode zstd_advance(ObSink *sink, size_t len, ObError *error);
static ObCode zstd_end(ObSink *sink, ObError *error);
static void zstd_release(ObSink *sink);

static const ObSinkOps zstd_ops = {
	.name = "zstd",
	.window = zstd_window,
	.advance = zstd_advance,
	.cut = zstd_end,
	.close = zstd_end,
	.release = zstd_release,
};

static ObCode
zstd_fail(size_t status, ObError *error)
{
	ob_error_what(error, "could not compress with zstd");
	if (ZSTD_getErrorCode(status) == ZSTD_error_memory_allocation)
		return ob_error_set(error, OB_ENOMEM, "out of memory");
	return ob_error_set(error, OB_EIO, "%s", ZSTD_getErrorName(status));
}

/*
 * How far back a match may reach, as a power of two.  These are libzstd 1.5's
 * own choices for the levels, set explicitly because its interface can set the
 * window but not limit it: a later release must not take more memory here, nor
 * require more than 8 MiB of a reader.
 */
static int
zstd_window_log(int level)
{
	if (level <= 1)
		return 19;
	if (level <= 2)
		return 20;
	if (level <= 8)
		return 21;
	if (level <= 16)
		return 22;
	return 23;
}

static size_t
zstd_configure(ZSTD_CCtx *context, int level)
{
	size_t status =
		ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);

	if (!ZSTD_isError(status))
		status = ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog,
										zstd_window_log(level));
	if (!ZSTD_isError(status))
		status = ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
	return status;
}

ObSink *
ob_sink_zstd_new(ObSink *next, int level, ObError *error)
{
	ObZstdSink *zstd = calloc(1, sizeof(*zstd));
	size_t status;

	if (zstd != NULL)
		zstd->context = ZSTD_createCCtx();
	if (zstd == NULL || zstd->context == NULL)
	{
		ob_error_what(error, "could not compress with zstd");
		ob_error_set(error, OB_ENOMEM, "out of memory");
		free(zstd);
		return NULL;
	}
	zstd->base.ops = &zstd_ops;
	zstd->base.next = next;
	zstd->slow = level >= ZSTD_SLOW_LEVEL;

	status = zstd_configure(zstd->context, level);
	if (ZSTD_isError(status))
	{
		zstd_fail(status, error);
		zstd_release(&zstd->base);
		return NULL;
	}
	return &zstd->base;
}

static char *
zstd_window(ObSink *sink, size_t *avail, ObError *error)
{
	ObZstdSink *zstd = (ObZstdSink *) sink;

	*avail =
		zstd->slow ? ZSTD_SLOW_BLOCK - zstd->unended : sizeof(zstd->window);
	return zstd->window;
}

/* Calls libzstd, which writes straight into the window of the next sink, until
 * it took all input and, for ZSTD_e_flush and ZSTD_e_end, gave all output. */
static ObCode
zstd_run(ObZstdSink *zstd, size_t len, ZSTD_EndDirective mode, ObError *error)
{
	ZSTD_inBuffer in = {zstd->window, len, 0};
	size_t left;

	do
	{
		ZSTD_outBuffer out = {NULL, 0, 0};
		ObCode code;

		out.dst = ob_sink_window(zstd->base.next, &out.size, error);
		if (out.dst == NULL)
			return error->code;
		left = ZSTD_compressStream2(zstd->context, &out, &in, mode);
		if (ZSTD_isError(left))
			return zstd_fail(left, error);
		code = ob_sink_advance(zstd->base.next, out.pos, error);
		if (code != OB_OK)
			return code;
	} while (mode == ZSTD_e_continue ? in.pos < in.size : left > 0);
	return OB_OK;
}

static ObCode
zstd_advance(ObSink *sink, size_t len, ObError *error)
{
	ObZstdSink *zstd = (ObZstdSink *) sink;

	if (len == 0)
		return OB_OK;
	if (!zstd->slow)
		return zstd_run(zstd, len, ZSTD_e_continue, error);

	/* The next window must not be too small. */
	zstd->unended += len;
	if (zstd->unended <= ZSTD_SLOW_BLOCK - OB_SINK_WINDOW_MIN)
		return zstd_run(zstd, len, ZSTD_e_continue, error);
	zstd->unended = 0;
	return zstd_run(zstd, len, ZSTD_e_flush, error);
}

/* Ends a frame; without any input, an empty one. */
static ObCode
zstd_end(ObSink *sink, ObError *error)
{
	ObZstdSink *zstd = (ObZstdSink *) sink;

	zstd->unended = 0;
	return zstd_run(zstd, 0, ZSTD_e_end, error);
}

static void
zstd_release(ObSink *sink)
{
	ObZstdSink *zstd = (ObZstdSink *) sink;

	(void) ZSTD_freeCCtx(zstd->context);
	free(zstd);
}

/* ---- frames in pieces ---- */

static void
zstd_add_raw_block(ObBuf *out, const void *raw, size_t len)
{
	/* Not the last one; type 0, as it is. */
	uint32_t bits = (uint32_t) len << 3;
	const char header[] = {(char) bits, (char) (bits >> 8),
						   (char) (bits >> 16)};

	ob_buf_add(out, header, sizeof(header));
	ob_buf_add(out, raw, len);
}

/*
 * The header of a frame as libzstd writes it for a level, but without a
 * checksum at the frame's end, and blocks.  A frame whose header this replaces
 * continues after them, since they do not change what the next block may
 * repeat.
 */
ObCode
ob_zstd_head(int level, const void *raw, size_t len, ObBuf *out,
			 ObError *error)
{
	const char window = (char) ((zstd_window_log(level) - 10) << 3);
	const char *from = raw;

	if (len == 0)
		return OB_OK;
	ob_buf_add(out, "\x28\xb5\x2f\xfd\0", 5);
	ob_buf_add(out, &window, 1);
	while (len > 0)
	{
		size_t n = len < ZSTD_BLOCK_MAX ? len : ZSTD_BLOCK_MAX;

		zstd_add_raw_block(out, from, n);
		from += n;
		len -= n;
	}
	return ob_buf_check(out, error);
}
