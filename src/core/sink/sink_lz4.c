/*
 * sink_lz4.c
 *		A codec: lz4 frames by liblz4.
 *
 * src/core/sink/sink_lz4.c
 *
 * Frames of independent blocks of 64 KiB with a checksum of the content.
 * Linked blocks would be smaller by a tenth, but some widely used decoders
 * (lz4-java's LZ4FrameInputStream) refuse them.  Larger blocks would be
 * smaller too, but a block is compressed in one call, which nothing can
 * cancel: with 256 KiB, level 12 and a bad case (random, of an alphabet of two
 * letters), for over two seconds.  With 64 KiB it is 0.06 s at level 11, and
 * 0.19 s at 12, which is too long and so not offered: on tables it is no
 * smaller than 11.
 *
 * liblz4 wants room for the worst case of a whole call, more than the next
 * sink's window may have, so it writes into a staging buffer of that size and
 * the result is copied.
 *
 * Why the output fits in OB_SINK_ROOM: liblz4 holds back less than one block
 * of input and no output.  A block that does not compress is stored, with 4
 * bytes before it, and behind it where blocks have checksums.  So 128 KiB of
 * input and an end or two together give at most 192 KiB and a few bytes of
 * framing.
 */
#include "core/sink/sink.h"

#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#define LZ4_SINK_WINDOW (64 * 1024)
#define LZ4_END_MARK 4 /* bytes that end a frame without a checksum */

typedef struct ObLz4Sink
{
	ObSink base;
	LZ4F_preferences_t preferences;
	LZ4F_cctx *context;
	char *staging;
	size_t staging_size;
	bool begun; /* a frame that has no end yet */
	bool in_pieces;
	char window[LZ4_SINK_WINDOW];
} ObLz4Sink;

static ObCode lz4_in_pieces(ObSink *sink, ObError *error);
static char *lz4_window(ObSink *sink, size_t *avail, ObError *error);
static ObCode lz4_advance(ObSink *sink, size_t len, ObError *error);
static ObCode lz4_end(ObSink *sink, ObError *error);
static void lz4_release(ObSink *sink);

static const ObSinkOps lz4_ops = {
	.name = "lz4",
	.in_pieces = lz4_in_pieces,
	.window = lz4_window,
	.advance = lz4_advance,
	.cut = lz4_end,
	.close = lz4_end,
	.release = lz4_release,
};

static ObCode
lz4_fail(ObCode code, const char *cause, ObError *error)
{
	ob_error_what(error, "could not compress with lz4");
	return ob_error_set(error, code, "%s", cause);
}

/* Room for the worst case of each call that we make, in pieces or not. */
static size_t
lz4_staging_size(LZ4F_preferences_t preferences)
{
	size_t update;
	size_t end;

	preferences.frameInfo.blockChecksumFlag = LZ4F_blockChecksumEnabled;
	update = LZ4F_compressBound(LZ4_SINK_WINDOW, &preferences);
	end = LZ4F_compressBound(0, &preferences);
	/* Each is over 64 KiB, and so more than the header of a frame. */
	return update > end ? update : end;
}

ObSink *
ob_sink_lz4_new(ObSink *next, int level, ObError *error)
{
	ObLz4Sink *lz4 = calloc(1, sizeof(*lz4));

	if (lz4 == NULL)
	{
		lz4_fail(OB_ENOMEM, "out of memory", error);
		return NULL;
	}
	lz4->base.ops = &lz4_ops;
	lz4->base.next = next;
	lz4->preferences.frameInfo.blockSizeID = LZ4F_max64KB;
	lz4->preferences.frameInfo.blockMode = LZ4F_blockIndependent;
	lz4->preferences.frameInfo.contentChecksumFlag =
		LZ4F_contentChecksumEnabled;
	lz4->preferences.compressionLevel = level;

	lz4->staging_size = lz4_staging_size(lz4->preferences);
	lz4->staging = malloc(lz4->staging_size);
	if (lz4->staging == NULL || LZ4F_isError(LZ4F_createCompressionContext(
									&lz4->context, LZ4F_VERSION)))
	{
		lz4_fail(OB_ENOMEM, "out of memory", error);
		lz4_release(&lz4->base);
		return NULL;
	}
	return &lz4->base;
}

static ObCode
lz4_in_pieces(ObSink *sink, ObError *error)
{
	LZ4F_frameInfo_t *frame = &((ObLz4Sink *) sink)->preferences.frameInfo;

	((ObLz4Sink *) sink)->in_pieces = true;
	frame->contentChecksumFlag = LZ4F_noContentChecksum;
	frame->blockChecksumFlag = LZ4F_blockChecksumEnabled;
	return OB_OK;
}

/* Passes on what a call of liblz4 left in the staging buffer; status is what
 * the call returned. */
static ObCode
lz4_forward(ObLz4Sink *lz4, size_t status, ObError *error)
{
	if (LZ4F_isError(status))
		return lz4_fail(OB_EIO, LZ4F_getErrorName(status), error);
	return ob_sink_write(lz4->base.next, lz4->staging, status, error);
}

static ObCode
lz4_begin(ObLz4Sink *lz4, ObError *error)
{
	size_t status;

	if (lz4->begun)
		return OB_OK;
	lz4->begun = true;
	status = LZ4F_compressBegin(lz4->context, lz4->staging, lz4->staging_size,
								&lz4->preferences);

	/* It allocates, and with enough room nothing else can fail. */
	if (LZ4F_isError(status))
		return lz4_fail(OB_ENOMEM, LZ4F_getErrorName(status), error);
	return lz4->in_pieces ? OB_OK : lz4_forward(lz4, status, error);
}

static char *
lz4_window(ObSink *sink, size_t *avail, ObError *error)
{
	ObLz4Sink *lz4 = (ObLz4Sink *) sink;

	*avail = sizeof(lz4->window);
	return lz4->window;
}

static ObCode
lz4_advance(ObSink *sink, size_t len, ObError *error)
{
	ObLz4Sink *lz4 = (ObLz4Sink *) sink;
	ObCode code;
	size_t status;

	/* A frame that nothing follows would get no end: see ob_chain_close. */
	if (len == 0)
		return OB_OK;
	code = lz4_begin(lz4, error);
	if (code != OB_OK)
		return code;
	status = LZ4F_compressUpdate(lz4->context, lz4->staging, lz4->staging_size,
								 lz4->window, len, NULL);
	return lz4_forward(lz4, status, error);
}

/* Ends a frame, which is empty without any input.  A piece is all of the frame
 * but the header and the end mark. */
static ObCode
lz4_end(ObSink *sink, ObError *error)
{
	ObLz4Sink *lz4 = (ObLz4Sink *) sink;
	ObCode code = lz4_begin(lz4, error);
	size_t status;

	if (code != OB_OK)
		return code;
	lz4->begun = false;
	status =
		LZ4F_compressEnd(lz4->context, lz4->staging, lz4->staging_size, NULL);
	if (lz4->in_pieces && !LZ4F_isError(status))
		status -= LZ4_END_MARK;
	return lz4_forward(lz4, status, error);
}

static void
lz4_release(ObSink *sink)
{
	ObLz4Sink *lz4 = (ObLz4Sink *) sink;

	(void) LZ4F_freeCompressionContext(lz4->context);
	free(lz4->staging);
	free(lz4);
}

/* ---- a frame in pieces ---- */

ObCode
ob_lz4_head(int level, const void *raw, size_t len, ObBuf *out, ObError *error)
{
	/* Version 1, independent blocks of 64 KiB with checksums, and a checksum
	 * of this. */
	ob_buf_add(out, "\x04\x22\x4d\x18\x70\x40\xad", 7);
	if (len > 0)
		return ob_codec_piece(ob_sink_lz4_new, level, raw, len, out, error);
	return ob_buf_check(out, error);
}

size_t
ob_lz4_end(const ObRaw *raw, char *out)
{
	memset(out, 0, LZ4_END_MARK);
	return LZ4_END_MARK;
}
